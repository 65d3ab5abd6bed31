//! The whole of `duopool login` and what comes after it, against an OAuth server that is not ours: `oidc-provider`, which
//! enforces PKCE and the rotation of refresh tokens.
//!
//! `scripts/test` installs the server and names it in `DUOPOOL_OIDC_PROVIDER`; see `tests/oauth/server.mjs`.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

use super::command::free_port;
use crate::support::{Machine, Request, Started};

/// The server; it ends when its input does.
struct Foreign {
    process: Child,
    root: String,
}

impl Drop for Foreign {
    fn drop(&mut self) {
        drop(self.process.stdin.take());
        drop(self.process.wait());
    }
}

impl Foreign {
    fn start() -> Self {
        let script = std::env::var_os("DUOPOOL_OIDC_PROVIDER").expect("DUOPOOL_OIDC_PROVIDER names the server");
        let mut node = Command::new("node");
        let mut process = node.arg(script).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("node");
        let mut root = String::new();
        BufReader::new(process.stdout.take().expect("its output")).read_line(&mut root).expect("its address");
        Self { process, root: root.trim().to_owned() }
    }

    /// Returns a machine that means this server, with one of the applications that are registered there.
    fn machine(&self, client_id: &str) -> Machine {
        let mut machine = Machine::new();
        machine.set("GITLAB_BASE_URL", &self.root);
        machine.set("GITLAB_AI_GATEWAY_URL", &format!("{}/api/gateway", self.root));
        machine.set("GITLAB_OAUTH_CLIENT_ID", client_id);
        machine.set("GITLAB_OAUTH_REDIRECT_PATH", "/oauth/callback");
        machine
    }
}

/// Sends a browser to `url`, whose user says yes; returns where it is sent back to, if it is.
async fn browse(url: &str) -> Option<String> {
    let (host, path) = url.strip_prefix("http://").and_then(|rest| rest.split_once('/')).expect("an address");
    let answer = Request::new(host.parse().expect("an address"), "GET", &format!("/{path}")).send().await;
    answer.header("location").map(str::to_owned)
}

/// Starts the command so that it can be typed to; the server takes every port of loopback, as GitLab does.
async fn start(machine: &Machine, more: &[&str]) -> Started {
    let port = free_port().await.to_string();
    machine.start_open(&[&["login", "--no-browser", "--callback-port", &port], more].concat())
}

async fn shown(machine: &Machine) -> Value {
    machine.run(&["accounts", "list", "--json"]).await.json()["accounts"][0].clone()
}

/// Logs in with an address that is pasted, as over SSH.
async fn log_in(login: &mut Started) {
    let url = login.line("/oauth/authorize?").await.trim().to_owned();
    let back = browse(&url).await.expect("sent back");
    login.type_line(&back);
}

/// The login is exchanged twice more, and at last revoked.
async fn lives_on(machine: &Machine) {
    let account = shown(machine).await;
    assert_eq!((&account["username"], &account["credential"]), (&json!("ada"), &json!("oauth")), "{account}");
    for generation in 2..=3 {
        machine.let_pairs_age();
        machine.run(&["accounts", "refresh", "ada"]).await.fine();
        let account = shown(machine).await;
        let told = (&account["login_generation"], &account["login"], &account["health"]);
        assert_eq!(told, (&json!(generation), &json!("fresh"), &json!("ready")), "{account}");
        machine.run(&["accounts", "test", "ada"]).await.fine();
    }
    machine.run(&["accounts", "remove", "ada", "--revoke"]).await.fine();
    assert_eq!(machine.run(&["accounts", "list", "--json"]).await.json(), json!({ "accounts": [] }));
}

#[actix::test]
#[ignore = "needs node and oidc-provider: scripts/test runs it"]
async fn the_command_logs_in_with_a_browser_and_the_login_is_renewed_and_revoked() {
    let server = Foreign::start();
    let machine = server.machine("public-app");
    let mut login = start(&machine, &[]).await;
    log_in(&mut login).await;
    let ended = login.ended().await;
    for words in ["of ada on", "is in the pool", "scopes api", "ok    duo access"] {
        assert!(ended.fine().contains(words), "no `{words}`: {}", ended.out);
    }
    lives_on(&machine).await;
}

#[actix::test]
#[ignore = "needs node and oidc-provider: scripts/test runs it"]
async fn the_command_logs_in_through_a_confidential_application() {
    let server = Foreign::start();
    let machine = server.machine("confidential-app");
    let mut login = start(&machine, &["--client-secret-stdin"]).await;
    login.type_line("foreign-app-secret");
    log_in(&mut login).await;
    assert!(login.ended().await.fine().contains("is in the pool"));
    lives_on(&machine).await;
}

#[actix::test]
#[ignore = "needs node and oidc-provider: scripts/test runs it"]
async fn the_command_logs_in_with_a_device_code() {
    let server = Foreign::start();
    let machine = server.machine("public-app");
    let mut login = machine.start(&["login", "--device"]);
    let page = login.line("user_code=").await.split_whitespace().last().expect("an address").to_owned();
    browse(&page).await;
    assert!(login.ended().await.fine().contains("is in the pool"));
    lives_on(&machine).await;
}

#[actix::test]
#[ignore = "needs node and oidc-provider: scripts/test runs it"]
async fn an_answer_that_is_not_of_this_login_is_refused_and_nothing_is_stored() {
    let server = Foreign::start();
    let machine = server.machine("public-app");
    let mut first = start(&machine, &[]).await;
    let url = first.line("/oauth/authorize?").await.trim().to_owned();
    let back = browse(&url).await.expect("sent back");
    first.type_line(&back.replace("state=", "state=x"));
    first.line("not that of this sign-in").await;
    drop(first);
    assert_eq!(machine.run(&["accounts", "list", "--json"]).await.json(), json!({ "accounts": [] }));
}
