//! `duopool setup`: what it prints, what it writes into clients' files, and what it finds out.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use duopool::simulator::{Effect, Rule};
use serde_json::{Value, json};

use crate::support::{Machine, Started, contents, simulated, token_of};

const CLIENTS: [&str; 8] = ["claude-code", "codex", "opencode", "aider", "cursor", "continue", "llm", "sdk"];
const CLIENT_KEY: &str = "client-key-0123456789";

/// A machine with a server and one account.
struct Pool {
    gitlab: duopool::simulator::Running,
    machine: Machine,
    _server: Started,
    url: String,
}

async fn pool(keys: &str) -> Pool {
    let gitlab = simulated(&["ada"]).await;
    let mut machine = Machine::beside(&gitlab);
    machine.run_with(&["login", "--pat"], &token_of("ada")).await.fine();
    if !keys.is_empty() {
        machine.set("DUOPOOL_CLIENT_KEYS", keys);
    }
    let (server, address) = machine.serve().await;
    // What follows is the client's side, which has none of the server's settings.
    machine.set("DUOPOOL_CLIENT_KEYS", "");
    Pool { gitlab, machine, _server: server, url: format!("http://{address}") }
}

#[actix::test]
async fn every_client_is_told_where_the_pool_is_and_which_models_it_has() {
    let pool = pool("").await;
    for client in CLIENTS {
        let shown = pool.machine.run(&["setup", client]).await;
        assert!(shown.fine().contains(&pool.url), "{client}: {}", shown.out);
        assert!(
            shown.out.contains("claude-sonnet-") && !shown.out.contains("nobody answers"),
            "{client}: {}",
            shown.out
        );
        let told = pool.machine.run(&["setup", client, "--json", "--model", "gpt-5.4"]).await.json();
        assert_eq!((&told["url"], &told["key"]), (&json!(pool.url), &json!("any")), "{client}");
        assert!(told["models"].as_array().is_some_and(|models| models.len() > 5), "{told}");
        assert!(told["settings"].to_string().contains("gpt-5.4"), "{client}: {told}");
    }
    assert!(!pool.machine.path(".claude").exists() && !pool.machine.path(".codex").exists(), "printing wrote a file");
}

#[actix::test]
async fn settings_are_shown_before_there_is_a_server() {
    let mut machine = Machine::new();
    machine.set("DUOPOOL_LISTEN", "127.0.0.1:9");
    let shown = machine.run(&["setup", "codex"]).await;
    assert!(shown.fine().contains("base_url = \"http://127.0.0.1:9/v1\""), "{}", shown.out);
    assert!(shown.out.contains("nobody answers") && shown.out.contains("duopool serve"), "{}", shown.out);
    machine.set("DUOPOOL_CLIENT_KEYS", CLIENT_KEY);
    let shown = machine.run(&["setup", "codex"]).await;
    assert!(shown.fine().contains("env_key = \"DUOPOOL_KEY\"") && !shown.out.contains(CLIENT_KEY), "{}", shown.out);
    assert!(!machine.data().exists(), "showing settings made a data folder");
}

#[actix::test]
async fn a_file_is_merged_into_backed_up_and_then_left_alone() {
    let pool = pool("").await;
    let machine = &pool.machine;
    let path = machine.path(".claude/settings.json");
    fs::create_dir(machine.path(".claude")).expect("a folder");
    let before = "{\n  \"env\": { \"MY_SECRET\": \"hunter2\" }, // mine\n  \"permissions\": {}\n}\n";
    fs::write(&path, before).expect("a file");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).expect("rights");
    let written = machine.run(&["setup", "claude-code", "--write"]).await;
    assert!(written.fine().contains("+    \"ANTHROPIC_BASE_URL\"") && written.out.contains(".bak"), "{}", written.out);
    assert!(!written.out.contains("hunter2") && written.out.contains("\"MY_SECRET\": ***"), "{}", written.out);
    let after = fs::read_to_string(&path).expect("the file");
    assert!(after.contains("hunter2") && after.contains("// mine") && after.contains(&pool.url), "{after}");
    assert_eq!(fs::metadata(&path).expect("metadata").permissions().mode() & 0o777, 0o640);
    let there = |folder: &str| contents(&machine.path(folder));
    let backups: Vec<_> =
        there(".claude").into_iter().filter(|(path, _)| path.extension().is_some_and(|e| e == "bak")).collect();
    assert_eq!(backups.len(), 1);
    assert_eq!(backups[0].1, before.as_bytes());
    let again = machine.run(&["setup", "claude-code", "--write", "--json"]).await.json();
    assert_eq!((&again["written"]["changed"], &again["written"]["backup"]), (&json!(false), &Value::Null));
    assert_eq!((fs::read_to_string(&path).expect("the file"), there(".claude").len()), (after, 2));
}

#[actix::test]
async fn every_client_with_a_file_gets_one_where_it_looks() {
    let pool = pool("").await;
    for (client, file) in [
        ("claude-code", ".claude/settings.json"),
        ("codex", ".codex/config.toml"),
        ("opencode", ".config/opencode/opencode.json"),
        ("aider", ".aider.conf.yml"),
        ("continue", ".continue/config.yaml"),
    ] {
        pool.machine.run(&["setup", client, "--write"]).await.fine();
        let text = fs::read_to_string(pool.machine.path(file)).unwrap_or_else(|error| panic!("{client}: {error}"));
        assert!(text.contains(&pool.url), "{client}: {text}");
        let mode = fs::metadata(pool.machine.path(file)).expect("metadata").permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{client}");
        let again = pool.machine.run(&["setup", client, "--write", "--json"]).await.json();
        assert_eq!(again["written"]["changed"], json!(false), "{client}");
    }
    let named = pool.machine.path("project.yaml").display().to_string();
    pool.machine.run(&["setup", "llm", "--write", "--file", &named]).await.fine();
    assert!(fs::read_to_string(&named).expect("the file").contains("model_id: duopool/"));
}

#[actix::test]
async fn what_cannot_be_merged_is_refused_in_a_line_and_stays() {
    let pool = pool("").await;
    for (client, file, text, said) in [
        ("claude-code", "a.json", "{ \"token\": \"sk-secret\"", "not valid JSON"),
        ("codex", "b.toml", "token = sk-secret\n", "not valid TOML"),
        ("opencode", "c.json", "{ \"provider\": \"sk-secret\" }", "`provider` is there and is not an object"),
        ("aider", "d.yml", "model: sk-secret\n", "`model` is set there already in line 1"),
        ("continue", "e.yaml", "models: sk-secret\n", "not a list"),
        ("llm", "f.yaml", "sk-secret: 1\n", "not a list"),
    ] {
        let path = pool.machine.path(file);
        fs::write(&path, text).expect("a file");
        let refused = pool.machine.run(&["setup", client, "--write", "--file", &path.display().to_string()]).await;
        let line = refused.refusal();
        assert!(line.contains(said) && line.contains(file) && !line.contains("sk-secret"), "{line}");
        assert_eq!(fs::read_to_string(&path).expect("the file"), text);
    }
    for client in ["cursor", "sdk"] {
        let refused = pool.machine.run(&["setup", client, "--write"]).await;
        assert!(refused.refusal().contains(&format!("duopool setup {client}")), "{refused:?}");
    }
    let backups =
        contents(&pool.machine.path("")).into_iter().filter(|(path, _)| path.extension().is_some_and(|e| e == "bak"));
    assert_eq!(backups.count(), 0, "a refusal left a backup");
}

#[actix::test]
async fn a_check_asks_as_the_client_would() {
    let pool = pool("").await;
    for client in CLIENTS.into_iter().filter(|client| *client != "cursor") {
        pool.gitlab.handle.clear_requests();
        let checked = pool.machine.run(&["setup", client, "--check"]).await;
        assert!(checked.fine().lines().all(|line| line.starts_with("ok  ")), "{client}: {}", checked.out);
        let told = pool.machine.run(&["setup", client, "--check", "--json"]).await.json();
        let findings = told["findings"].as_array().expect("findings");
        assert!(!findings.is_empty() && findings.iter().all(|finding| finding["ok"] == json!(true)), "{told}");
        let streamed =
            pool.gitlab.handle.requests().into_iter().filter(|request| request.json()["stream"] == json!(true));
        assert_eq!(streamed.count(), 2 * findings.len(), "{client}");
    }
}

#[actix::test]
async fn a_check_says_what_fails_and_how_to_mend_it() {
    let pool = pool(CLIENT_KEY).await;
    let failing = async |machine: &Machine, arguments: &[&str]| {
        let ended = machine.run(&[&["setup", "claude-code", "--check"], arguments].concat()).await;
        assert_eq!(ended.code, Some(1), "{ended:?}");
        assert!(ended.err.contains("Claude Code will not work like this"), "{ended:?}");
        ended.out
    };
    let mut machine = pool.machine;
    let without = failing(&machine, &[]).await;
    assert!(without.contains("FAIL") && without.contains("set DUOPOOL_KEY to a client key"), "{without}");
    machine.set("DUOPOOL_KEY", "wrong-key-0123456789");
    let wrong = failing(&machine, &[]).await;
    assert!(wrong.contains("the key in DUOPOOL_KEY is not one of this pool's client keys"), "{wrong}");
    assert!(!wrong.contains("wrong-key-0123456789"), "{wrong}");
    machine.set("MY_KEY", CLIENT_KEY);
    let right = machine.run(&["setup", "claude-code", "--check", "--key-env", "MY_KEY"]).await;
    assert!(right.fine().starts_with("ok  ") && !right.out.contains(CLIENT_KEY), "{}", right.out);
    let nobody = failing(&machine, &["--url", "http://127.0.0.1:9"]).await;
    assert!(nobody.contains("nobody answers") && nobody.contains("duopool serve"), "{nobody}");
    let elsewhere = failing(&machine, &["--url", &pool.gitlab.url()]).await;
    assert!(elsewhere.contains("may not be duopool"), "{elsewhere}");
    machine.set("DUOPOOL_KEY", CLIENT_KEY);
    let model = failing(&machine, &["--model", "no-such-model"]).await;
    assert!(model.contains("--model"), "{model}");
    pool.gitlab.handle.add_rule(Rule::always(Effect::json(
        402,
        &json!({ "error": "insufficient_credits", "error_code": "USAGE_QUOTA_EXCEEDED" }),
    )));
    let poor = failing(&machine, &[]).await;
    assert!(poor.contains("FAIL") && poor.contains("duopool accounts list"), "{poor}");
}

#[actix::test]
async fn a_key_is_never_written_or_printed() {
    let pool = pool(CLIENT_KEY).await;
    let mut machine = pool.machine;
    machine.set("DUOPOOL_KEY", CLIENT_KEY);
    for client in CLIENTS {
        for arguments in [
            vec!["setup", client],
            vec!["setup", client, "--json"],
            vec!["setup", client, "--write"],
            vec!["setup", client, "--check"],
        ] {
            let ended = machine.run(&arguments).await;
            assert!(!ended.out.contains(CLIENT_KEY) && !ended.err.contains(CLIENT_KEY), "{arguments:?}: {ended:?}");
        }
    }
    for (path, bytes) in contents(&machine.path("")) {
        let holds = bytes.windows(CLIENT_KEY.len()).any(|window| window == CLIENT_KEY.as_bytes());
        assert!(!holds, "{}", path.display());
    }
}

#[actix::test]
async fn wrong_names_are_usage_errors() {
    let machine = Machine::new();
    for arguments in [
        &["setup"][..],
        &["setup", "emacs"],
        &["setup", "codex", "--model", "a b"],
        &["setup", "codex", "--key-env", "$(id)"],
        &["setup", "codex", "--url", "127.0.0.1"],
        &["setup", "codex", "--url", "http://me:you@x"],
    ] {
        assert_eq!(machine.run(arguments).await.code, Some(2), "{arguments:?}");
    }
}
