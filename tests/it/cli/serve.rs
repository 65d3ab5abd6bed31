//! `duopool serve`: how it starts, how it is found, how it ends, and why it does not start.

use std::os::unix::fs::PermissionsExt as _;

use duopool::simulator::Effect;
use duopool::simulator::Rule;
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::support::{Machine, Request, simulated, token_of};

/// Longer than anything here takes.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(30);

#[actix::test]
async fn a_server_adopts_the_token_of_its_environment() {
    let gitlab = simulated(&["ada"]).await;
    let mut machine = Machine::beside(&gitlab);
    machine.set("GITLAB_PERSONAL_ACCESS_TOKEN", &token_of("ada"));
    // GitLab may be down when the server starts; adopting must not keep it from serving.
    let (server, address) = machine.serve().await;
    let ready = async || Request::new(address, "GET", "/readyz").send().await.status == 200;
    let adopted = async {
        while !ready().await {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, adopted).await.expect("the account serves in time");
    let list = machine.run(&["accounts", "list", "--json"]).await.json();
    assert_eq!((&list["accounts"][0]["username"], &list["accounts"][1]), (&json!("ada"), &json!(null)));
    let ended = server.stop("TERM").await;
    assert_eq!(ended.code, Some(0));
    assert!(!ended.err.contains(&token_of("ada")) && !ended.out.contains(&token_of("ada")), "{ended:?}");

    gitlab.handle.clear_requests();
    let (server, _) = machine.serve().await;
    let again = machine.run(&["accounts", "list", "--json"]).await.json();
    assert_eq!(again["accounts"][0]["id"], list["accounts"][0]["id"]);
    let checks = gitlab.handle.requests_of(duopool::simulator::Call::TokenSelf);
    assert!(checks.is_empty(), "a token that is stored already was checked again: {checks:?}");
    assert_eq!(server.stop("TERM").await.code, Some(0));
}

#[actix::test]
async fn a_server_says_where_it_is_for_as_long_as_it_runs() {
    for signal in ["TERM", "INT"] {
        let machine = Machine::new();
        let (server, address) = machine.serve().await;
        let file = machine.data().join("run.json");
        let said: Value = serde_json::from_slice(&std::fs::read(&file).expect("run.json")).expect("JSON");
        assert_eq!(said, json!({ "address": address, "pid": server.pid() }));
        for private in ["run.json", "admin.key", "master.key"] {
            let mode = std::fs::metadata(machine.data().join(private)).expect(private).permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{private}");
        }
        assert_eq!(std::fs::metadata(machine.data()).expect("the folder").permissions().mode() & 0o777, 0o700);
        let ended = server.stop(signal).await;
        assert_eq!(ended.code, Some(0), "{signal}: {ended:?}");
        assert!(!file.exists(), "{signal}: {}", file.display());
    }
}

#[actix::test]
async fn a_stream_under_way_is_finished_before_the_server_ends() {
    let gitlab = simulated(&["ada"]).await;
    let machine = Machine::beside(&gitlab);
    machine.run_with(&["login", "--pat"], &token_of("ada")).await.fine();
    let (server, address) = machine.serve().await;
    let pace = std::time::Duration::from_millis(20);
    gitlab.handle.add_rule(Rule::always(Effect::delay(std::time::Duration::ZERO, pace)));
    let body = json!({ "model": "claude-sonnet-4-6", "max_tokens": 100, "stream": true, "messages": [{ "role": "user", "content": "Hi" }] });
    let mut open = Request::new(address, "POST", "/v1/messages").json(&body).header("connection", "close").open().await;
    open.read_until("content_block_delta").await;
    let (ended, answer) = futures::future::join(server.stop("TERM"), open.rest()).await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(answer.complete && answer.text().contains("message_stop"), "{}", answer.text());
}

#[actix::test]
async fn a_run_file_that_stayed_behind_is_ignored() {
    let gitlab = simulated(&["ada"]).await;
    let machine = Machine::beside(&gitlab);
    machine.run_with(&["login", "--pat"], &token_of("ada")).await.fine();
    let taken = tokio::net::TcpSocket::new_v4().expect("a socket");
    taken.bind(std::net::SocketAddr::from(([127, 0, 0, 1], 0))).expect("a port");
    let nobody = taken.local_addr().expect("an address").to_string();
    let somebody_else = gitlab.url().trim_start_matches("http://").to_owned();
    gitlab.handle.clear_requests();
    for address in [nobody, somebody_else] {
        let stale = json!({ "address": address, "pid": 1 }).to_string();
        std::fs::write(machine.data().join("run.json"), stale).expect("run.json");
        let status = machine.run(&["status", "--json"]).await.json();
        assert_eq!((&status["running"], &status["status"]["accounts"]), (&json!(false), &json!(1)), "{address}");
    }
    let keys = gitlab.handle.requests().into_iter().filter(|request| request.header("authorization").is_some()).count();
    assert_eq!(keys, 0, "the admin key was sent to somebody else");
    std::fs::write(machine.data().join("run.json"), "{").expect("run.json");
    assert_eq!(machine.run(&["status", "--json"]).await.json()["running"], json!(false));
    let (server, address) = machine.serve().await;
    assert_eq!(machine.run(&["status", "--json"]).await.json()["address"], json!(address));
    assert_eq!(server.stop("TERM").await.code, Some(0));
}

#[actix::test]
async fn a_server_that_others_could_reach_does_not_start_without_a_key() {
    let machine = Machine::new();
    for address in ["0.0.0.0:0", "[::]:0", "192.0.2.1:0"] {
        let refused = machine.run(&["serve", "--listen", address]).await;
        assert!(
            refused.refusal().contains("client key") && refused.refusal().contains("DUOPOOL_CLIENT_KEYS"),
            "{refused:?}"
        );
    }
    assert!(!machine.data().exists());
}

#[actix::test]
async fn one_data_folder_has_one_server() {
    let mut machine = Machine::new();
    let (server, address) = machine.serve().await;
    let refused = machine.run(&["serve", "--listen", "127.0.0.1:0"]).await;
    let line = refused.err.lines().last().unwrap_or_default();
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(line.starts_with("duopool: another duopool uses the data folder"), "{refused:?}");
    assert!(machine.data().join("run.json").exists(), "the second took the first one's run.json away");
    let listen = machine.run(&["serve", "--listen", &address.to_string(), "--data-dir", "other"]).await;
    assert!(listen.err.contains(&format!("duopool: cannot listen on {address}")), "{listen:?}");

    // A command that cannot find the server must not wait for the folder for long, nor take it.
    machine.set("DUOPOOL_ADMIN_KEY", "a-wrong-admin-key-0123");
    let wrong = machine.run(&["status"]).await;
    assert!(wrong.refusal().contains("not the admin key"), "{wrong:?}");
    std::fs::remove_file(machine.data().join("run.json")).expect("run.json");
    let lost = machine.run(&["status"]).await;
    assert!(lost.refusal().contains("another duopool uses the data folder"), "{lost:?}");
    assert_eq!(server.stop("TERM").await.code, Some(0));
}

#[actix::test]
async fn a_data_folder_that_cannot_be_is_one_line() {
    let machine = Machine::new();
    std::fs::write(machine.path("file"), "").expect("a file");
    for arguments in [
        ["serve", "--data-dir", "file"],
        ["status", "--data-dir", "file/below"],
        ["serve", "--data-dir", "/proc/duopool"],
    ] {
        let refused = machine.run(&arguments).await;
        assert!(
            refused.refusal().contains(arguments[2]) && refused.refusal().contains("cannot be used"),
            "{refused:?}"
        );
    }
}

#[actix::test]
async fn settings_that_cannot_be_are_one_line_without_the_secret() {
    let mut machine = Machine::new();
    machine.set("DUOPOOL_CLIENT_KEYS", "too-short");
    let refused = machine.run(&["serve"]).await;
    assert!(refused.refusal().contains("client_keys") && !refused.err.contains("too-short"), "{refused:?}");
    machine.set("DUOPOOL_CLIENT_KEYS", "");
    machine.set("DUOPOOL_MASTER_KEY", "not-a-master-key");
    let refused = machine.run(&["serve", "--listen", "127.0.0.1:0"]).await;
    assert!(refused.refusal().contains("master key") && !refused.err.contains("not-a-master-key"), "{refused:?}");
    machine.set("DUOPOOL_MASTER_KEY", "");
    let refused = machine.run(&["serve", "--log", "duopool=loud,,=="]).await;
    assert!(refused.refusal().contains("log filter"), "{refused:?}");
}
