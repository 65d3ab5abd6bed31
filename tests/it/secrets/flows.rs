//! What is done with secrets, from the first login to the last error.

use std::time::Duration;

use duopool::simulator::{Call, Decision, Flow, Hold, Step};
use futures::FutureExt as _;
use futures::future::LocalBoxFuture;
use futures::stream::{self, StreamExt as _};
use serde_json::json;
use tokio::net::TcpListener;
use tokio::time::{sleep, timeout};

use super::faults::{DAMAGED, Fault, QUOTES};
use super::scene::{CLIENT_KEY, CLIENT_SECRET, Scene, part};
use super::search::Shown;
use crate::support::{Request, Started, token_of};

const PASSPHRASE: &str = "backup-passphrase \"zqxwv\" /0123456789";
/// Servers of one flow at the same time.
const SIDE_BY_SIDE: usize = 8;
/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_mins(1);

type Searched = (Vec<String>, Vec<String>);
type Run = fn() -> LocalBoxFuture<'static, Searched>;

pub(super) const FLOWS: &[(&str, Run)] = &[
    ("an account's whole life", || whole_life().boxed_local()),
    ("logins on the command line", || command_line().boxed_local()),
    ("backups", || backups().boxed_local()),
    ("wrong callbacks", || wrong_callbacks().boxed_local()),
    ("requests that name a secret in the wrong place", || misplaced().boxed_local()),
    ("device logins", || devices().boxed_local()),
    ("failing exchanges of codes", || codes().boxed_local()),
    ("failing refreshes", || refreshes().boxed_local()),
    ("failing checks and mints", || checks().boxed_local()),
    ("failing personal access tokens", || personal_tokens().boxed_local()),
    ("failing revocations", || revocations().boxed_local()),
    ("sudden deaths in mid-exchange", || deaths().boxed_local()),
    ("panics", || panics().boxed_local()),
    ("bad settings", || bad_settings().boxed_local()),
    ("a wrong key and a damaged folder", || damaged_folder().boxed_local()),
];

/// Login, use, renewal, login again, removal.
async fn whole_life() -> Searched {
    let mut scene = Scene::new(&["ada"]).await;
    let account = scene.logged_in("ada").await;
    for _ in 0..2 {
        assert_eq!(scene.post(&format!("{account}/refresh"), &json!({})).await.status, 200);
    }
    assert_eq!(scene.post(&format!("{account}/test"), &json!({})).await.status, 200);
    let body =
        json!({ "model": "claude-sonnet-4-6", "max_tokens": 16, "messages": [{ "role": "user", "content": "hi" }] });
    let ask = |scene: &Scene| {
        let request = Request::new(scene.address, "POST", "/v1/messages").json(&body);
        request.header("authorization", &format!("Bearer {CLIENT_KEY}"))
    };
    let asked = ask(&scene);
    assert_eq!(scene.send(asked).await.status, 200);
    // Those that do not cost the account; what a model answers is the client's own.
    let cheap = ["an error of the gateway", "not found", "a proxy's page", "plain text"];
    for fault in QUOTES.iter().filter(|fault| cheap.contains(&fault.0)) {
        scene.gitlab.handle.clear_rules();
        scene.next(fault.1(), |rule| rule.on(Call::Messages));
        let asked = ask(&scene);
        scene.send(asked).await;
    }
    scene.gitlab.handle.clear_rules();
    scene.look_around().await;
    // Two more pairs by themselves, each with a grant of its own.
    for exchanges in 1..=2 {
        scene.serve_hours_later(|_| {}).await;
        let waiting = async {
            while scene.gitlab.handle.tally("ada").expect("ada").refreshes_committed < exchanges {
                sleep(Duration::from_millis(20)).await;
            }
        };
        timeout(PATIENCE, waiting).await.expect("an exchange");
        assert_eq!(scene.post(&format!("{account}/refresh"), &json!({})).await.status, 200);
        let asked = ask(&scene);
        assert_eq!(scene.send(asked).await.status, 200);
        scene.look_around().await;
    }
    // And one by another login of the same account.
    assert_eq!(scene.logged_in("ada").await, account);
    let seen = scene.gitlab.handle.seen_secrets();
    for (kind, at_least) in [("access_token", 4), ("refresh_token", 4), ("token", 5)] {
        let count = seen.iter().filter(|secret| secret.kind == kind).count();
        assert!(count >= at_least, "{count} of {kind}");
    }
    let removed = scene.send(scene.admin("DELETE", &format!("{account}?revoke=true"))).await;
    assert_eq!((removed.status, &removed.json()["revoked"]), (200, &json!(true)), "{}", removed.text());
    scene.searched().await
}

/// A backup of accounts and of a login under way, wrong and right passphrases, a damaged backup, a new master key.
async fn backups() -> Searched {
    let mut scene = Scene::new(&["ada", "grace"]).await;
    for passphrase in [PASSPHRASE, "a-wrong-passphrase-zqxwv"] {
        scene.secrets.add("a passphrase", passphrase, Shown::Never);
    }
    scene.logged_in("ada").await;
    let order = json!({ "base_url": scene.gitlab.url(), "personal_access_token": token_of("grace") });
    assert_eq!(scene.post("/admin/v1/accounts", &order).await.status, 201);
    scene.half_logged_in("ada").await;
    for body in [
        json!({ "passphrase": [PASSPHRASE] }),
        json!({ PASSPHRASE: 1 }),
        json!({ "passphrase": PASSPHRASE, PASSPHRASE: 1 }),
        json!({ "passphrase": PASSPHRASE }),
    ] {
        scene.post("/admin/v1/backup", &body).await;
    }
    let file = scene.machine.path("backup.json").display().to_string();
    scene.machine.set("DUOPOOL_BACKUP_PASSPHRASE", "short-z");
    assert_ne!(scene.run(&["backup", &file], "").await, Some(0));
    scene.machine.set("DUOPOOL_BACKUP_PASSPHRASE", PASSPHRASE);
    assert_eq!(scene.run(&["backup", &file], "").await, Some(0));
    assert_ne!(scene.run(&["backup", &file], "").await, Some(0));
    assert_ne!(scene.run(&["restore", &file], "").await, Some(0));
    scene.stop("TERM").await;
    let sealed = std::fs::read(&file).expect("the backup");
    for damaged in
        [&sealed[..sealed.len() / 2], &[&sealed[..sealed.len() - 40], b"AAAA", &sealed[sealed.len() - 36..]].concat()]
    {
        let path = scene.machine.path("damaged.json");
        std::fs::write(&path, damaged).expect("a file");
        assert_ne!(scene.run(&["restore", &path.display().to_string()], "").await, Some(0));
    }
    scene.machine.set("DUOPOOL_BACKUP_PASSPHRASE", "a-wrong-passphrase-zqxwv");
    assert_ne!(scene.run(&["restore", &file], "").await, Some(0));
    scene.machine.set("DUOPOOL_BACKUP_PASSPHRASE", PASSPHRASE);
    assert_eq!(scene.run(&["restore", &file, "--overwrite-newer"], "").await, Some(0));
    scene.look("after a restore");
    scene.serve().await;
    scene.look_around().await;
    scene.searched().await
}

async fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    listener.local_addr().expect("an address").port()
}

async fn address_to_open(scene: &mut Scene, login: &mut Started) -> String {
    scene.said_by_process("`login`", login);
    let url = login.line("/oauth/authorize?").await.trim().to_owned();
    scene.secrets.add("a state", part(&url, "state"), Shown::ToItsUser);
    url
}

/// Goes where GitLab sends a browser.
async fn go(scene: &mut Scene, location: &str) {
    let (host, path) = location.strip_prefix("http://").and_then(|rest| rest.split_once('/')).expect("an address");
    let request = Request::new(host.parse().expect("an address"), "GET", &format!("/{path}"));
    scene.send(request).await;
}

/// By a browser that comes back, by a pasted address, with a device, and with a secret on standard input; at a server that
/// runs, and without one.
async fn command_line() -> Searched {
    let mut scene = Scene::new(&["ada"]).await;
    for running in [true, false] {
        if !running {
            scene.stop("TERM").await;
        }
        let port = free_port().await;
        let numbered = port.to_string();
        let flags = ["login", "--callback-port", &numbered, "--no-browser"];
        let mut login = scene.machine.start(&flags);
        let url = address_to_open(&mut scene, &mut login).await;
        let location = scene.sign_in("ada", &url);
        let code = part(&location, "code");
        for strange in [
            format!("code={code}&state=made-up-by-a-stranger"),
            format!("code={code}"),
            format!("code={code}&state={0}&state={0}", part(&location, "state")),
        ] {
            go(&mut scene, &format!("http://127.0.0.1:{port}/callback?{strange}")).await;
            go(&mut scene, &format!("http://127.0.0.1:{port}/elsewhere?{strange}")).await;
        }
        go(&mut scene, &location).await;
        assert_eq!(scene.ended("login", login).await, Some(0));

        let taken = TcpListener::bind(("127.0.0.1", port)).await.expect("the port");
        let mut login = scene.machine.start_open(&[&flags[..], &["--client-secret-stdin"]].concat());
        login.type_line(CLIENT_SECRET);
        let url = address_to_open(&mut scene, &mut login).await;
        let location = scene.sign_in("ada", &url);
        for wrong in [location.replace("127.0.0.1", "evil.example.com"), location.replace("http", ":")] {
            login.type_line(&wrong);
        }
        login.line("not an address that this sign-in was sent back to").await;
        login.type_line(&location);
        assert_eq!(scene.ended("login with a pasted address", login).await, Some(0));
        drop(taken);

        let mut login = scene.machine.start(&["login", "--device"]);
        scene.said_by_process("`login --device`", &login);
        let code = user_code(&mut login).await;
        scene.secrets.add("a user code", &code, Shown::ToItsUser);
        scene.gitlab.handle.approve_device("ada", &code, Decision::Authorize).expect("GitLab's page works");
        assert_eq!(scene.ended("login --device", login).await, Some(0));

        assert_eq!(scene.run(&["login", "--pat"], &token_of("ada")).await, Some(0));
        assert_eq!(scene.run(&["login", "--client-secret", CLIENT_SECRET], "").await, Some(2));
        for arguments in [
            &["accounts", "list", "--json"][..],
            &["accounts", "refresh", "ada"],
            &["accounts", "test", "ada"],
            &["models"],
            &["status"],
            &["config"],
            &["config", "--json"],
        ] {
            assert_eq!(scene.run(arguments, "").await, Some(0), "{arguments:?}");
        }
        scene.look("after commands");
    }
    scene.searched().await
}

/// Returns the code that `login --device` shows.
async fn user_code(login: &mut Started) -> String {
    let line = login.line("user_code=").await;
    part(&line, "user_code").trim().to_owned()
}

async fn wrong_callbacks() -> Searched {
    let mut scene = Scene::new(&["ada"]).await;
    let (path, location) = scene.half_logged_in("ada").await;
    let (other, of_other) = scene.half_logged_in("ada").await;
    let (code, state) = (part(&location, "code"), part(&location, "state"));
    let base = location.split_once('?').expect("a query").0.to_owned();
    let wrong = [
        location.replace("127.0.0.1", "evil.example.com"),
        location.replace("http://", "http://user:password@"),
        location.replace("/callback", &format!("/{code}")),
        location.replace('?', "#"),
        format!("{base}?code={code}"),
        format!("{base}?code={code}&state=not-{state}"),
        format!("{base}?code={code}&state={state}&state={state}"),
        format!("{base}?code={code}&code={code}&state={state}"),
        format!("{base}?code={}&state={state}", code.repeat(100)),
        format!("{base}?{code}={state}"),
        format!("no address but {code} and {state}"),
        of_other.clone(),
    ];
    for url in &wrong {
        let answer = scene.post(&path, &json!({ "callback_url": url })).await;
        assert!((400..500).contains(&answer.status), "{}", answer.text());
    }
    // What GitLab says of a refusal is shown, but for what it quotes.
    let (code_of_other, state_of_other) = (part(&of_other, "code"), part(&of_other, "state"));
    let quoting = format!("error={code_of_other}&error_description={state_of_other}%20{code_of_other}");
    let refused = format!("{base}?{quoting}&code={code_of_other}&state={state_of_other}");
    scene.post(&other, &json!({ "callback_url": refused })).await;
    let own = [
        format!("/oauth/callback?code={code}&state=not-{state}"),
        format!("/oauth/callback?code={code}"),
        format!("/oauth/callback?{code}"),
    ];
    for target in &own {
        for method in ["GET", "POST"] {
            let request = Request::new(scene.address, method, target);
            scene.send(request).await;
        }
        for (name, value) in [("host", "evil.example.com"), ("origin", "https://evil.example.com")] {
            let request = Request::new(scene.address, "GET", target).header(name, value);
            scene.send(request).await;
        }
    }
    // The right one is taken, once.
    let body = json!({ "callback_url": location });
    assert_eq!(scene.post(&path, &body).await.json()["status"], "done");
    assert_eq!(scene.post(&path, &body).await.status, 409);
    scene.look_around().await;
    scene.searched().await
}

/// A code in a path, a secret as the name of a member: whoever mistakes it sees no echo, and the log has none.
async fn misplaced() -> Searched {
    let mut scene = Scene::new(&["ada"]).await;
    let (path, location) = scene.half_logged_in("ada").await;
    let query = location.split_once('?').expect("a query").1.to_owned();
    for body in [
        format!("{{\"callback_url\": \"{location}\""),
        format!("[[\"{location}\"]]"),
        format!("{{\"{location}\": 1}}"),
        format!("{{\"callback_url\": [\"{location}\"]}}"),
        format!("{{\"callback_url\": \"{location}\", \"{location}\": 1}}"),
        location.clone(),
    ] {
        let request = scene.admin("POST", &path).bytes(body.into_bytes());
        assert_eq!(scene.send(request).await.status, 400);
    }
    for body in [
        json!({ "client_secret": [CLIENT_SECRET] }),
        json!({ "client_secret": format!("{CLIENT_SECRET} with spaces") }),
        json!({ CLIENT_SECRET: 1 }),
        json!({ "kind": CLIENT_SECRET }),
        json!({ "priority": CLIENT_SECRET }),
        json!({ "base_url": format!("https://me:{}@gitlab.example.com", token_of("ada")) }),
        json!({ "redirect_uri": location.replace("127.0.0.1", "evil.example.com") }),
    ] {
        assert_eq!(scene.post("/admin/v1/logins", &body).await.status, 400, "a wrong beginning was taken");
    }
    // Whoever asks for it is told that it is no route; nobody else is.
    scene.secrets.add("a token in a path", "a-token-in-a-path-zqxwv", Shown::ToItsUser);
    for target in [
        format!("/nowhere?{query}"),
        format!("/admin/v1/nowhere?{query}"),
        format!("/admin/v1/accounts?{query}"),
        format!("/admin/v1/logins/{}?{query}", token_of("ada")),
        format!("/v1/models?access_token={}", token_of("ada")),
        "/v1/a-token-in-a-path-zqxwv".to_owned(),
    ] {
        for method in ["GET", "POST", "DELETE"] {
            let request = scene.admin(method, &target);
            scene.send(request).await;
        }
    }
    misplaced_in_requests(&mut scene).await;
    for (name, value) in [
        ("authorization", format!("Bearer {}", token_of("ada"))),
        ("authorization", format!("Basic {CLIENT_SECRET}")),
        ("x-api-key", token_of("ada")),
        ("x-request-id", token_of("ada")),
        ("cookie", format!("t={}", token_of("ada"))),
        ("host", token_of("ada")),
    ] {
        for path in ["/admin/v1/accounts", "/v1/models", "/v1/messages", "/healthz"] {
            let request = Request::new(scene.address, "GET", path).header(name, &value);
            // An id of a request is given back to whoever chose it, and is in the log to be found by it.
            if name != "x-request-id" {
                scene.send(request).await;
            }
        }
    }
    scene.searched().await
}

/// What a client or an operator puts in the wrong place of a request is told to nobody else.
async fn misplaced_in_requests(scene: &mut Scene) {
    for body in
        [json!({ "model": CLIENT_SECRET }), json!({ "model": "claude-sonnet-4-6", "max_tokens": CLIENT_SECRET })]
    {
        let request = Request::new(scene.address, "POST", "/v1/messages").header("x-api-key", CLIENT_KEY);
        assert!(request.json(&body).send().await.status >= 400);
    }
    for body in [
        json!({ "model": "claude-sonnet-4-6", "key": CLIENT_KEY }),
        json!({ "model": "claude-sonnet-4-6", CLIENT_SECRET: 1 }),
        json!({ "model": "claude-sonnet-4-6", "dialect": CLIENT_SECRET }),
        json!({ "model": "claude-sonnet-4-6", "conversation": CLIENT_SECRET }),
    ] {
        scene.post("/admin/v1/route", &body).await;
    }
    scene.look_around().await;
}

/// Every answer to a question for tokens; denial; too late; and codes that are not given at all.
async fn devices() -> Searched {
    let mut scene = Scene::new(&["ada"]).await;
    let device = json!({ "kind": "device" });
    for Fault(name, effect) in QUOTES {
        scene.next(effect(), |rule| rule.on(Call::AuthorizeDevice));
        let answer = scene.post("/admin/v1/logins", &device).await;
        assert!(answer.status >= 400, "{name}: {}", answer.text());
    }
    scene.all_happened().await;
    // Each of those that ask meets another fault.
    let mut begun = Vec::new();
    for Fault(_, effect) in QUOTES {
        scene.next(effect(), |rule| rule.on(Call::DevicePoll));
        begun.push(scene.begin(&device).await);
    }
    scene.all_happened().await;
    for (number, Fault(_, effect)) in DAMAGED.iter().enumerate() {
        let login = scene.begin(&device).await;
        scene.next(effect(), |rule| rule.on(Call::DevicePoll).by("ada"));
        let decision = if number == 0 { Decision::Deny } else { Decision::Authorize };
        let code = login["user_code"].as_str().expect("a code");
        scene.gitlab.handle.approve_device("ada", code, decision).expect("GitLab's page works");
    }
    scene.all_happened().await;
    scene.look_around().await;
    scene.searched().await
}

async fn codes() -> Searched {
    let mut scene = Scene::new(&["ada"]).await;
    for Fault(name, effect) in QUOTES.iter().chain(DAMAGED) {
        scene.next(effect(), |rule| rule.on(Call::CodeExchange));
        scene.log_in("ada").await;
        assert_eq!(scene.rules_left(), 0, "{name} did not happen");
    }
    scene.look_around().await;
    scene.searched().await
}

/// Each fault has a server of its own, since some of them keep all accounts of an instance waiting.
async fn refreshes() -> Searched {
    let runs = QUOTES.iter().chain(DAMAGED).map(refresh_that_fails);
    let done: Vec<Searched> = stream::iter(runs).buffer_unordered(SIDE_BY_SIDE).collect().await;
    let (found, kinds): (Vec<_>, Vec<_>) = done.into_iter().unzip();
    (found.concat(), kinds.concat())
}

async fn refresh_that_fails(Fault(name, effect): &Fault) -> Searched {
    let mut scene = Scene::new(&["ada"]).await;
    let account = scene.logged_in("ada").await;
    // The next refresh, which comes by itself, meets it.
    scene.serve_hours_later(|scene| scene.next(effect(), |rule| rule.on(Call::Refresh))).await;
    scene.all_happened().await;
    scene.look_around().await;
    assert_eq!(scene.send(scene.admin("DELETE", &account)).await.status, 204);
    let (found, kinds) = scene.searched().await;
    (found.into_iter().map(|words| format!("{name}: {words}")).collect(), kinds)
}

/// The calls by which it is found out whose tokens these are and what they are good for, at a login and later.
async fn checks() -> Searched {
    let mut scene = Scene::new(&["ada"]).await;
    let account = scene.logged_in("ada").await;
    for call in [Call::User, Call::TokenInfo, Call::ThirdPartyDirectAccess, Call::GraphQl, Call::CountTokens] {
        for Fault(_, effect) in QUOTES {
            scene.gitlab.handle.clear_rules();
            scene.next(effect(), |rule| rule.on(call));
            if call == Call::User {
                // What comes to nothing is revoked, and that may fail as well.
                scene.next(effect(), |rule| rule.on(Call::Revoke));
                scene.log_in("ada").await;
            }
            scene.post(&format!("{account}/test"), &json!({})).await;
            scene.post(&format!("{account}/refresh"), &json!({})).await;
        }
    }
    scene.gitlab.handle.clear_rules();
    scene.look_around().await;
    scene.searched().await
}

async fn personal_tokens() -> Searched {
    let mut scene = Scene::new(&["ada"]).await;
    let (url, token) = (scene.gitlab.url(), token_of("ada"));
    let order = json!({ "base_url": url, "personal_access_token": token });
    for call in [Call::TokenSelf, Call::User, Call::ThirdPartyDirectAccess] {
        for Fault(_, effect) in QUOTES {
            scene.gitlab.handle.clear_rules();
            scene.next(effect(), |rule| rule.on(call));
            scene.post("/admin/v1/accounts", &order).await;
            scene.next(effect(), |rule| rule.on(call));
            scene.run(&["login", "--pat"], &token).await;
        }
    }
    scene.searched().await
}

/// Accounts that are removed with their tokens, which GitLab does not take back.
async fn revocations() -> Searched {
    let mut scene = Scene::new(&["ada", "grace"]).await;
    let personal = json!({ "base_url": scene.gitlab.url(), "personal_access_token": token_of("grace") });
    for Fault(name, effect) in QUOTES {
        let by_login = scene.logged_in("ada").await;
        // A connection that only broke is tried again, with success.
        scene.gitlab.handle.change_account("grace", |user| user.token.revoked = false).expect("grace");
        let added = scene.post("/admin/v1/accounts", &personal).await;
        let by_token = format!("/admin/v1/accounts/{}", added.json()["id"].as_str().expect("an id"));
        for (account, call) in [(by_login, Call::Revoke), (by_token, Call::TokenSelf)] {
            scene.next(effect(), |rule| rule.on(call));
            let removed = scene.send(scene.admin("DELETE", &format!("{account}?revoke=true"))).await;
            assert_eq!((removed.status, scene.rules_left()), (200, 0), "{name}: {}", removed.text());
        }
    }
    scene.searched().await
}

/// The server dies while GitLab exchanges, and what it leaves behind has no secret in it.
async fn deaths() -> Searched {
    let mut scene = Scene::new(&["ada", "grace"]).await;
    for step in [Step::Arrived, Step::Committed] {
        for flow in [Flow::CodeExchange, Flow::Refresh, Flow::DeviceLogin, Flow::Mint] {
            let before = scene.gitlab.handle.steps().last().map_or(0, |event| event.number);
            let account = if flow == Flow::Mint { Some(scene.logged_in("grace").await) } else { None };
            let hold = Hold { flow, step, account: None, times: None };
            if flow == Flow::Refresh {
                scene.logged_in("ada").await;
                scene.serve_hours_later(|scene| _ = scene.gitlab.handle.hold(hold)).await;
            } else {
                scene.gitlab.handle.hold(hold);
            }
            // The connection stays open until the server is dead.
            let mut asked = None;
            if flow == Flow::CodeExchange {
                let (path, location) = scene.half_logged_in("grace").await;
                asked = Some(scene.admin("POST", &path).json(&json!({ "callback_url": location })).begin().await);
            } else if flow == Flow::DeviceLogin {
                let login = scene.begin(&json!({ "kind": "device" })).await;
                let code = login["user_code"].as_str().expect("a code");
                scene.gitlab.handle.approve_device("grace", code, Decision::Authorize).expect("GitLab's page works");
            } else if let Some(account) = &account {
                asked = Some(scene.admin("POST", &format!("{account}/refresh")).begin().await);
            }
            let is_it = |event: &duopool::simulator::StepEvent| {
                event.number > before && event.flow == flow && event.step == step
            };
            let reached = timeout(PATIENCE, scene.gitlab.handle.reached(is_it)).await;
            assert!(reached.is_ok(), "{flow:?} never came to {step:?}");
            scene.stop("KILL").await;
            drop(asked);
            scene.gitlab.handle.release_all();
            scene.serve().await;
            scene.look_around().await;
        }
    }
    scene.searched().await
}

/// A server that is given too few files panics where a library cannot go on: with nothing read yet, with all it has at
/// hand, and in the threads that serve. Nothing in the product is told to.
async fn panics() -> Searched {
    let mut scene = Scene::new(&["ada"]).await;
    scene.logged_in("ada").await;
    scene.half_logged_in("ada").await;
    scene.stop("TERM").await;
    let mut panicked = 0;
    for files in (6..40).step_by(4) {
        let limit = format!("ulimit -n {files}");
        let said = scene.run_briefly_behind(&limit, &["serve", "--listen", "127.0.0.1:0"]).await;
        // One of the server's own threads, which start when the credentials are in memory.
        let started = said.contains("thread 'actix-rt|");
        panicked += usize::from(started && said.contains("panicked at") && said.contains("stack backtrace:"));
        scene.look("after a panic");
    }
    assert!(panicked > 0, "no thread of the server panicked");
    scene.searched().await
}

/// Settings that do not hold are refused in words without their values.
async fn bad_settings() -> Searched {
    let mut scene = Scene::new(&["ada"]).await;
    scene.stop("TERM").await;
    let token = token_of("ada");
    let file = scene.machine.path("duopool.toml");
    for text in [
        format!("admin_key = \"{token}"),
        format!("admin_key = {token}"),
        token.clone(),
        format!("{token} = 1"),
        format!("\"{token}\" = 1"),
        format!("client_keys = \"{token}\""),
        format!("client_keys = [[\"{token}\"]]"),
        format!("client_keys = {{ a = \"{token}\" }}"),
        format!("workers = \"{token}\""),
        format!("allowed_hosts = \"{token}\""),
        format!("admin_remote = \"{token}\""),
        format!("admin_key = \"{token}\"\nadmin_key = \"{token}\""),
        format!("[admin_key]\n\"{token}\" = 1"),
        format!("gitlab_oauth_client_secret = \"{token} {token}\""),
        format!("gitlab_base_url = \"https://me:{token}@gitlab.example.com\""),
        format!("gitlab_base_url = \"{token}\""),
        format!("log = \"{token}=nonsense=x\""),
    ] {
        std::fs::write(&file, text).expect("settings");
        for arguments in [&["serve", "--listen", "127.0.0.1:0"][..], &["config"], &["accounts", "list"]] {
            // Some commands do well with some of them.
            scene.run_briefly(arguments).await;
        }
    }
    std::fs::remove_file(&file).expect("settings");
    for (number, name) in [
        "DUOPOOL_ADMIN_KEY",
        "DUOPOOL_MASTER_KEY",
        "DUOPOOL_CLIENT_KEYS",
        "GITLAB_OAUTH_CLIENT_SECRET",
        "GITLAB_PERSONAL_ACCESS_TOKEN",
        "DUOPOOL_WORKERS",
        "DUOPOOL_ADMIN_REMOTE",
        "GITLAB_BASE_URL",
    ]
    .iter()
    .enumerate()
    {
        let before = scene.machine.variable(name);
        for value in ["short-zq", "with spaces zqxwv 0123456789 ", "zqxwv=0123456789,[\"]"] {
            let value = format!("{value}{number}");
            scene.secrets.add(&format!("a wrong {name}"), &value, Shown::Never);
            scene.machine.set(name, &value);
            scene.run_briefly(&["serve", "--listen", "127.0.0.1:0"]).await;
            scene.run_briefly(&["config"]).await;
        }
        scene.machine.set(name, before.as_deref().unwrap_or_default());
    }
    scene.searched().await
}

async fn damaged_folder() -> Searched {
    let mut scene = Scene::new(&["ada"]).await;
    scene.logged_in("ada").await;
    let (_, location) = scene.half_logged_in("ada").await;
    assert!(!location.is_empty());
    scene.stop("KILL").await;
    let right = scene.machine.variable("DUOPOOL_MASTER_KEY").expect("a key");
    let other = "a".repeat(64);
    scene.secrets.add("another master key", &other, Shown::Never);
    for key in [other.as_str(), "not-a-master-key-zqxwv", ""] {
        scene.machine.set("DUOPOOL_MASTER_KEY", key);
        for arguments in [&["serve", "--listen", "127.0.0.1:0"][..], &["accounts", "list"]] {
            assert_ne!(scene.run(arguments, "").await, Some(0), "a wrong key opened the folder");
        }
    }
    scene.machine.set("DUOPOOL_MASTER_KEY", &right);
    // Each file in turn with other bytes in its middle, and with its second half missing.
    let files = crate::support::contents(&scene.machine.data());
    for (path, bytes) in files.iter().filter(|(_, bytes)| bytes.len() > 1) {
        let mut flipped = bytes.clone();
        let middle = flipped.len() / 4..flipped.len() / 4 * 3;
        flipped[middle].iter_mut().for_each(|byte| *byte ^= 0x5a);
        for damaged in [&flipped, &bytes[..bytes.len() / 2].to_vec()] {
            for (path, bytes) in &files {
                std::fs::write(path, bytes).expect("a file");
            }
            std::fs::write(path, damaged).expect("a file");
            scene.run_briefly(&["accounts", "list"]).await;
            scene.run_briefly(&["serve", "--listen", "127.0.0.1:0"]).await;
            scene.look("after damage");
        }
    }
    scene.searched().await
}
