//! `duopool import`: accounts from the files of `CLIProxyAPI`, and what becomes of each file.

use std::fs;
use std::time::Duration;

use duopool::simulator::{
    Call, DEMO_CONFIDENTIAL_CLIENT_ID, DEMO_CONFIDENTIAL_CLIENT_SECRET, DEMO_PUBLIC_CLIENT_ID, Effect, Entitlement,
    Flow, Hold, Rule, Step,
};
use serde_json::{Value, json};

use crate::support::{Machine, contents, simulated, token_of};

/// A GitLab, a machine beside it, and a folder with another program's files.
struct Scene {
    gitlab: duopool::simulator::Running,
    machine: Machine,
}

impl Scene {
    async fn of(names: &[&str]) -> Self {
        let gitlab = simulated(names).await;
        let machine = Machine::beside(&gitlab);
        fs::create_dir(machine.path("auths")).expect("a folder");
        Self { gitlab, machine }
    }

    fn put(&self, name: &str, file: &Value) {
        fs::write(self.machine.path("auths").join(name), file.to_string()).expect("a file");
    }

    /// Returns the file of a user's token.
    fn pat(&self, name: &str) -> Value {
        json!({
            "type": "gitlab", "auth_method": "pat", "auth_kind": "personal_access_token", "base_url": self.gitlab.url(),
            "personal_access_token": token_of(name), "username": name, "token_preview": "glpa...6789",
        })
    }

    /// Returns the file of a user who has logged in by OAuth, whose access token ended or ends in an hour.
    fn oauth(&self, name: &str, is_over: bool) -> Value {
        let tokens =
            self.gitlab.handle.issue_tokens(name, DEMO_PUBLIC_CLIENT_ID, &["api", "read_user"]).expect("tokens");
        let now = self.gitlab.handle.now();
        let end = if is_over { now - Duration::from_mins(5) } else { now + Duration::from_hours(1) };
        json!({
            "type": "gitlab", "auth_method": "oauth", "auth_kind": "oauth", "base_url": self.gitlab.url(),
            "access_token": tokens.access_token.expose(), "refresh_token": tokens.refresh_token.expect("one").expose(),
            "token_type": "Bearer", "scope": "api read_user", "oauth_client_id": DEMO_PUBLIC_CLIENT_ID,
            "oauth_expires_at": end.to_string(), "username": name, "duo_gateway_token": "none-of-ours-0123456789",
        })
    }

    /// Imports the folder, and returns what is said and the exit code.
    async fn import(&self, more: &[&str]) -> (Value, Option<i32>) {
        let folder = self.machine.path("auths").display().to_string();
        let ended = self.machine.run(&[&["import", &folder, "--json"], more].concat()).await;
        let told = serde_json::from_str(&ended.out).unwrap_or_else(|error| panic!("{error}: {ended:?}"));
        (told, ended.code)
    }

    async fn accounts(&self) -> Vec<Value> {
        let list = self.machine.run(&["accounts", "list", "--json"]).await.json();
        list["accounts"].as_array().expect("a list").clone()
    }
}

/// Returns the outcome of each file, by its name.
fn outcomes(told: &Value) -> Vec<(String, String)> {
    let files = told["files"].as_array().expect("files").iter();
    let name = |file: &Value| file["file"].as_str().expect("a path").rsplit('/').next().expect("a name").to_owned();
    files.map(|file| (name(file), file["outcome"].as_str().expect("an outcome").to_owned())).collect()
}

fn pairs(wanted: &[(&str, &str)]) -> Vec<(String, String)> {
    wanted.iter().map(|(file, outcome)| ((*file).to_owned(), (*outcome).to_owned())).collect()
}

#[actix::test]
async fn tokens_and_logins_become_accounts_that_serve() {
    let scene = Scene::of(&["ada", "grace"]).await;
    scene.put("gitlab-ada-pat.json", &scene.pat("ada"));
    scene.put("gitlab-grace.json", &scene.oauth("grace", false));
    scene.put("codex-somebody.json", &json!({ "type": "codex" }));
    let (told, code) = scene.import(&["--pool", "team"]).await;
    assert_eq!(code, Some(0), "{told}");
    assert_eq!(outcomes(&told), pairs(&[("gitlab-ada-pat.json", "imported"), ("gitlab-grace.json", "imported")]));
    let accounts = scene.accounts().await;
    assert!(accounts.len() == 2 && accounts.iter().all(|account| account["pool"] == "team"), "{accounts:?}");
    // A login whose access token is alive is not renewed: the other program may still be stopped in good order.
    assert!(scene.gitlab.handle.requests_of(Call::Refresh).is_empty());
    for account in &accounts {
        scene.machine.run(&["accounts", "test", account["id"].as_str().expect("an id")]).await.fine();
    }
    let (again, code) = scene.import(&[]).await;
    assert_eq!((code, &again["known"], &again["unusable"]), (Some(0), &json!(2), &json!(0)), "{again}");
    assert_eq!(scene.accounts().await, accounts);
}

#[actix::test]
async fn a_login_that_has_ended_is_renewed_once_and_kept() {
    let scene = Scene::of(&["grace"]).await;
    scene.put("gitlab-grace.json", &scene.oauth("grace", true));
    let shown =
        scene.machine.run(&["import", &scene.machine.path("auths/gitlab-grace.json").display().to_string()]).await;
    assert!(
        shown.fine().starts_with("imported  ") && shown.out.contains("Do not start the other program"),
        "{}",
        shown.out
    );
    assert_eq!(scene.gitlab.handle.requests_of(Call::Refresh).len(), 1);
    let account = scene.accounts().await.remove(0);
    scene.machine.run(&["accounts", "test", account["id"].as_str().expect("an id")]).await.fine();
    // The file's own tokens are dead now, and asking again does not spend anything.
    let (again, code) = scene.import(&[]).await;
    assert_eq!((code, &again["known"]), (Some(0), &json!(1)), "{again}");
    assert_eq!(scene.gitlab.handle.requests_of(Call::Refresh).len(), 1);
}

#[actix::test]
async fn a_renewal_whose_answer_is_lost_is_kept_and_told() {
    let scene = Scene::of(&["grace"]).await;
    scene.put("gitlab-grace.json", &scene.oauth("grace", true));
    scene.gitlab.handle.add_rule(Rule::once(Effect::CloseUnprocessed).on(Call::Refresh));
    let (told, code) = scene.import(&[]).await;
    assert_eq!((code, outcomes(&told)), (Some(0), pairs(&[("gitlab-grace.json", "pending")])), "{told}");
    assert!(told["files"][0]["message"].as_str().is_some_and(|said| said.contains("stored")), "{told}");
    // A server takes it from there.
    let (server, address) = scene.machine.serve().await;
    let ready = async || crate::support::Request::new(address, "GET", "/readyz").send().await.status == 200;
    for _ in 0..2_000 {
        if ready().await {
            break;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(ready().await, "the login was lost");
    assert_eq!(server.stop("TERM").await.code, Some(0));
}

#[actix::test]
async fn every_file_that_cannot_be_used_says_why() {
    let scene = Scene::of(&["ada", "grace", "linus"]).await;
    let with = |mut file: Value, name: &str, value: Value| {
        file[name] = value;
        file
    };
    scene.put("gitlab-1.json", &json!({ "type": "claude" }));
    fs::write(scene.machine.path("auths/gitlab-2.json"), "glpat-secret").expect("a file");
    scene.put("gitlab-3.json", &with(scene.pat("ada"), "disabled", json!(true)));
    scene.put("gitlab-4.json", &with(scene.oauth("ada", false), "refresh_token", json!("")));
    scene.put("gitlab-5.json", &with(scene.oauth("ada", false), "scope", json!("read_user")));
    scene.put("gitlab-6.json", &with(scene.oauth("ada", true), "refresh_token", json!("used-up-0123456789")));
    scene.put("gitlab-7.json", &with(scene.pat("ada"), "personal_access_token", json!("glpat-wrong-0123456789")));
    scene.put("gitlab-8.json", &with(scene.pat("ada"), "base_url", json!("http://127.0.0.1:9")));
    scene.put("gitlab-9.json", &with(scene.oauth("ada", false), "base_url", json!("http://127.0.0.1:9")));
    let stale = scene.oauth("linus", false);
    scene.gitlab.handle.revoke_tokens(Some("linus")).expect("linus");
    scene.put("gitlab-a.json", &stale);
    fs::create_dir(scene.machine.path("auths/gitlab-b.json")).expect("a folder");
    fs::write(scene.machine.path("auths/gitlab-c.json"), vec![b' '; 300 * 1024]).expect("a file");
    scene.gitlab.handle.change_account("grace", |user| user.entitlement = Entitlement::NotEntitled).expect("grace");
    scene.put("gitlab-d.json", &scene.pat("grace"));
    let (told, code) = scene.import(&[]).await;
    assert_eq!((code, &told["unusable"]), (Some(1), &json!(13)), "{told}");
    let whys = [
        "no file of a GitLab login",
        "no JSON",
        "disabled there",
        "no refresh token",
        "neither the scope",
        "does not renew",
        "",
        "cannot connect",
        "cannot connect",
        "has renewed its tokens since",
        "no file",
        "larger",
        "GitLab Duo access",
    ];
    for (file, why) in told["files"].as_array().expect("files").iter().zip(whys) {
        let said = file["message"].as_str().expect("a message");
        assert!(!said.is_empty() && said.contains(why), "{why}: {file}");
    }
    assert!(!told.to_string().contains("glpat-") && !told.to_string().contains("used-up"), "{told}");
    assert!(scene.accounts().await.is_empty());
    // Nothing of it was taken from the other program.
    assert!(scene.gitlab.handle.requests_of(Call::Revoke).is_empty());
}

#[actix::test]
async fn the_secret_of_a_confidential_application_may_come_out_of_the_environment() {
    let mut scene = Scene::of(&["ada"]).await;
    let tokens = scene.gitlab.handle.issue_tokens("ada", DEMO_CONFIDENTIAL_CLIENT_ID, &["api"]).expect("tokens");
    let mut file = scene.oauth("ada", true);
    file["oauth_client_id"] = json!(DEMO_CONFIDENTIAL_CLIENT_ID);
    file["access_token"] = json!(tokens.access_token.expose());
    file["refresh_token"] = json!(tokens.refresh_token.expect("one").expose());
    scene.put("gitlab-ada.json", &file);
    let (without, code) = scene.import(&[]).await;
    assert_eq!((code, &without["unusable"]), (Some(1), &json!(1)), "{without}");
    scene.machine.set("GITLAB_OAUTH_CLIENT_ID", DEMO_CONFIDENTIAL_CLIENT_ID);
    scene.machine.set("GITLAB_OAUTH_CLIENT_SECRET", DEMO_CONFIDENTIAL_CLIENT_SECRET);
    let (with, code) = scene.import(&[]).await;
    assert_eq!((code, &with["imported"]), (Some(0), &json!(1)), "a refusal spent the tokens: {with}");
}

#[actix::test]
async fn a_dry_run_asks_nothing_and_changes_nothing() {
    let scene = Scene::of(&["ada", "grace"]).await;
    scene.machine.run_with(&["login", "--pat"], &token_of("ada")).await.fine();
    scene.put("gitlab-ada-pat.json", &scene.pat("ada"));
    scene.put("gitlab-grace.json", &scene.oauth("grace", true));
    scene.gitlab.handle.clear_requests();
    let (told, code) = scene.import(&["--dry-run"]).await;
    assert_eq!(code, Some(0), "{told}");
    assert_eq!(outcomes(&told), pairs(&[("gitlab-ada-pat.json", "known"), ("gitlab-grace.json", "importable")]));
    assert!(scene.gitlab.handle.requests().is_empty() && scene.accounts().await.len() == 1);
}

#[actix::test]
async fn no_secret_of_a_file_is_printed_or_stored_in_the_clear() {
    let scene = Scene::of(&["ada", "grace"]).await;
    let (pat, oauth) = (scene.pat("ada"), scene.oauth("grace", true));
    scene.put("gitlab-ada-pat.json", &pat);
    scene.put("gitlab-grace.json", &oauth);
    let folder = scene.machine.path("auths").display().to_string();
    let ended = scene.machine.run(&["import", &folder, "--log", "trace"]).await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let secrets = [&pat["personal_access_token"], &oauth["access_token"], &oauth["refresh_token"]];
    for secret in secrets.map(|secret| secret.as_str().expect("a text")) {
        assert!(!ended.out.contains(secret) && !ended.err.contains(secret), "{ended:?}");
        for (path, bytes) in contents(&scene.machine.data()) {
            let holds = bytes.windows(secret.len()).any(|window| window == secret.as_bytes());
            assert!(!holds, "{}", path.display());
        }
    }
}

#[actix::test]
async fn a_server_that_dies_in_the_middle_leaves_a_line_for_every_file() {
    let scene = Scene::of(&["ada", "grace", "linus"]).await;
    scene.put("gitlab-1.json", &scene.pat("ada"));
    scene.put("gitlab-2.json", &scene.oauth("grace", true));
    scene.put("gitlab-3.json", &scene.pat("linus"));
    scene.put("gitlab-4.json", &json!({ "type": "claude" }));
    let (server, _) = scene.machine.serve().await;
    scene.gitlab.handle.hold(Hold { flow: Flow::Refresh, step: Step::Committed, account: None, times: None });
    let folder = scene.machine.path("auths").display().to_string();
    let importing = scene.machine.start(&["import", &folder]);
    scene.gitlab.handle.reached(|event| event.flow == Flow::Refresh && event.step == Step::Committed).await;
    server.stop("KILL").await;
    let ended = importing.ended().await;
    assert_eq!(ended.code, Some(1), "{ended:?}");
    let begins =
        ["imported  ", "UNKNOWN   ", "          to mend it: ", "NOT ASKED ", "          to mend it: ", "NOT ASKED "];
    for (line, begin) in ended.out.lines().zip(begins) {
        assert!(line.starts_with(begin), "{begin}: {ended:?}");
    }
    assert!(ended.out.contains("may have taken it over") && ended.out.contains("Do not start the other program"));
    assert!(ended.err.contains("`duopool accounts list`"), "{ended:?}");
}

#[actix::test]
async fn a_file_that_is_named_twice_is_taken_once() {
    let scene = Scene::of(&["ada", "grace"]).await;
    scene.put("gitlab-1.json", &scene.pat("ada"));
    scene.put("gitlab-2.json", &scene.pat("grace"));
    let [first, second] = ["auths/gitlab-1.json", "auths/../auths/gitlab-2.json"]
        .map(|name| scene.machine.path(name).display().to_string());
    let (told, code) = scene.import(&["--dry-run", &second, &first]).await;
    let wanted = pairs(&[("gitlab-1.json", "importable"), ("gitlab-2.json", "importable")]);
    assert_eq!((code, outcomes(&told)), (Some(0), wanted), "{told}");
}

#[actix::test]
async fn a_folder_without_such_files_is_an_error() {
    let scene = Scene::of(&[]).await;
    let folder = scene.machine.path("auths").display().to_string();
    assert!(scene.machine.run(&["import", &folder]).await.refusal().contains("gitlab-*.json"));
    assert_eq!(scene.machine.run(&["import"]).await.code, Some(2));
    assert_eq!(scene.machine.run(&["import", "--from", "emacs", &folder]).await.code, Some(2));
    assert!(!scene.machine.data().exists());
}
