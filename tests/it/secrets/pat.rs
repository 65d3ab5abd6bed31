//! Secrets stay where they belong: not in a log, a reply or a file, whatever goes wrong and whoever quotes them.

use std::net::SocketAddr;
use std::time::Duration;

use duopool::simulator::{Call, Effect, Rule};
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};

use crate::support::{Answer, Machine, Request, contents, simulated, token_of};

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(30);
const CLIENT_KEY: &str = "client-key-kwzqj-0123456789";
const WRONG_KEY: &str = "wrong-key-vbxyq-0123456789";
/// What a user says is nobody's business but the model's.
const PROMPT: &str = "violet-walrus-prompt";
/// How every gateway token of the simulator begins.
const GRANT: &str = "eyJhbGciOiJSUzI1NiIsInR5cCI6IkpXVCJ9.";

/// A server with its log wide open, and everything that it has answered so far.
struct Watched {
    gitlab: duopool::simulator::Running,
    address: SocketAddr,
    admin_key: String,
    /// A grant of ada's that the test knows.
    grant: String,
    heard: Vec<String>,
}

impl Watched {
    async fn send(&mut self, request: Request) -> Answer {
        let answer = request.send().await;
        self.heard.push(format!("{} {:?}", answer.text(), answer));
        answer
    }

    async fn admin(&mut self, method: &str, path: &str, body: &str) -> Answer {
        let request = Request::new(self.address, method, path).bytes(body.as_bytes().to_vec());
        self.send(request.header("authorization", &format!("Bearer {}", self.admin_key))).await
    }

    async fn ask(&mut self, path: &str, body: &Value) -> Answer {
        let request = Request::new(self.address, "POST", path).json(body);
        self.send(request.header("authorization", &format!("Bearer {CLIENT_KEY}"))).await
    }

    /// Lets one kind of call go wrong with an answer that quotes the `secret` it was sent.
    fn quoting(&self, call: Call, status: u16, secret: &str) {
        let said = format!("you sent Bearer {secret}, that is {secret}");
        // A provider's error is an object; GitLab and its gateway have members of their own.
        let body = match call {
            Call::Messages => json!({ "error": { "type": "invalid_request_error", "message": said } }),
            _ => json!({ "message": said, "detail": said, "error": said }),
        };
        self.gitlab.handle.clear_rules();
        self.gitlab.handle.add_rule(Rule::always(Effect::json(status, &body)).on(call));
    }

    async fn id_of(&mut self, name: &str) -> String {
        let list = self.admin("GET", "/admin/v1/accounts", "").await.json();
        let accounts = list["accounts"].as_array().expect("a list");
        let found = accounts.iter().find(|account| account["username"] == name).expect("the account");
        found["id"].as_str().expect("an id").to_owned()
    }
}

fn messages(stream: bool) -> Value {
    json!({ "model": "claude-sonnet-4-6", "max_tokens": 50, "stream": stream, "messages": [{ "role": "user", "content": PROMPT }] })
}

/// Mints a grant as GitLab would, and lets GitLab hand out this very one to ada.
async fn known_grant(gitlab: &duopool::simulator::Running) -> String {
    let path = "/api/v4/ai/third_party_agents/direct_access";
    let request = Request::new(gitlab.address(), "POST", path).json(&json!({}));
    let minted = request.header("authorization", &format!("Bearer {}", token_of("ada"))).send().await.json();
    gitlab.handle.add_rule(Rule::always(Effect::json(201, &minted)).on(Call::ThirdPartyDirectAccess).by("ada"));
    minted["token"].as_str().expect("a token").to_owned()
}

async fn started(machine: &mut Machine, gitlab: duopool::simulator::Running) -> (crate::support::Started, Watched) {
    for (name, value) in [
        ("DUOPOOL_LOG", "trace"),
        ("DUOPOOL_CLIENT_KEYS", CLIENT_KEY),
        ("GITLAB_PERSONAL_ACCESS_TOKEN", &token_of("ada")),
    ] {
        machine.set(name, value);
    }
    let grant = known_grant(&gitlab).await;
    assert!(grant.starts_with(GRANT), "{grant}");
    let (server, address) = machine.serve().await;
    let adopted = async {
        while Request::new(address, "GET", "/readyz").send().await.status != 200 {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, adopted).await.expect("ada serves in time");
    let admin_key = std::fs::read_to_string(machine.data().join("admin.key")).expect("the admin key");
    (server, Watched { gitlab, address, admin_key: admin_key.trim().to_owned(), grant, heard: Vec::new() })
}

async fn operate(watched: &mut Watched) {
    let accounts = "/admin/v1/accounts";
    let login = |url: &str, token: &str| json!({ "base_url": url, "personal_access_token": token }).to_string();
    let url = watched.gitlab.url();
    assert_eq!(watched.admin("POST", accounts, &login(&url, &token_of("grace"))).await.status, 201);
    assert_eq!(watched.admin("POST", accounts, &login(&url, &token_of("grace"))).await.status, 409);
    assert_eq!(watched.admin("POST", accounts, &login(&url, &token_of("nobody"))).await.status, 422);
    for broken in [
        login(&url, &token_of("ada")).replace('}', ","),
        format!("[\"{}\"]", token_of("ada")),
        format!("{{\"{}\": 1}}", token_of("ada")),
    ] {
        assert_eq!(watched.admin("POST", accounts, &broken).await.status, 400);
    }
    let with_password = format!("https://me:{}@gitlab.example.com", token_of("ada"));
    assert_eq!(watched.admin("POST", accounts, &login(&with_password, &token_of("ada"))).await.status, 400);
    for (call, status) in [
        (Call::TokenSelf, 401),
        (Call::TokenSelf, 503),
        (Call::ThirdPartyDirectAccess, 403),
        (Call::ThirdPartyDirectAccess, 503),
    ] {
        let token = if call == Call::TokenSelf { token_of("nobody") } else { token_of("ada") };
        watched.quoting(call, status, &token);
        let refused = watched.admin("POST", accounts, &login(&url, &token)).await;
        assert!(matches!(refused.status, 422 | 502), "{}", refused.text());
        assert!(refused.text().contains("you sent"), "the quote does not reach the operator: {}", refused.text());
    }
    watched.gitlab.handle.clear_rules();
    let redirect = format!("{url}/?private_token={}", token_of("ada"));
    watched.gitlab.handle.add_rule(Rule::always(Effect::redirect(&redirect)).on(Call::TokenSelf));
    assert_eq!(watched.admin("POST", accounts, &login(&url, &token_of("ada"))).await.status, 502);
    watched.gitlab.handle.clear_rules();

    let grace = watched.id_of("grace").await;
    assert_eq!(watched.admin("POST", &format!("{accounts}/{grace}/refresh"), "").await.status, 200);
    assert_eq!(watched.admin("POST", &format!("{accounts}/{grace}/test"), "").await.json()["ok"], true);
    assert_eq!(watched.admin("DELETE", &format!("{accounts}/{grace}"), "").await.status, 204);

    let ada = watched.id_of("ada").await;
    for (call, secret) in [(Call::TokenSelf, token_of("ada")), (Call::CountTokens, watched.grant.clone())] {
        watched.quoting(call, 401, &secret);
        assert_eq!(watched.admin("POST", &format!("{accounts}/{ada}/test"), "").await.json()["ok"], false);
    }
    watched.quoting(Call::GraphQl, 500, &token_of("ada"));
    assert_eq!(watched.admin("POST", &format!("{accounts}/{ada}/refresh"), "").await.status, 200);
    watched.gitlab.handle.clear_rules();
    for path in
        ["/admin/v1/accounts", "/admin/v1/status", "/admin/v1/config", "/admin/v1/models", "/admin/openapi.json"]
    {
        assert_eq!(watched.admin("GET", path, "").await.status, 200);
    }
    let wrong = Request::new(watched.address, "GET", accounts).header("authorization", &format!("Bearer {WRONG_KEY}"));
    assert_eq!(watched.send(wrong).await.status, 401);
}

/// Ada has the grant that the test knows again; a refresh in between has minted another.
async fn regrant(watched: &mut Watched) {
    watched.gitlab.handle.clear_rules();
    watched.grant = known_grant(&watched.gitlab).await;
    let ada = watched.id_of("ada").await;
    assert_eq!(watched.admin("POST", &format!("/admin/v1/accounts/{ada}/refresh"), "").await.status, 200);
    watched.gitlab.handle.clear_rules();
}

/// Lets every account serve at once, whatever it has met.
async fn reset_all(watched: &mut Watched) {
    let list = watched.admin("GET", "/admin/v1/accounts", "").await.json();
    for account in list["accounts"].as_array().expect("a list") {
        let path = format!("/admin/v1/accounts/{}/reset", account["id"].as_str().expect("an id"));
        assert_eq!(watched.admin("POST", &path, "{}").await.status, 200);
    }
}

async fn serve_clients(watched: &mut Watched) {
    regrant(watched).await;
    let chat =
        json!({ "model": "claude-sonnet-4-6", "stream": true, "messages": [{ "role": "user", "content": PROMPT }] });
    for stream in [false, true] {
        assert_eq!(watched.ask("/v1/messages", &messages(stream)).await.status, 200);
    }
    assert_eq!(watched.ask("/v1/chat/completions", &chat).await.status, 200);
    for status in [400, 413, 422, 429, 500, 529] {
        watched.quoting(Call::Messages, status, &watched.grant);
        for (path, body) in [
            ("/v1/messages", messages(false)),
            ("/v1/messages", messages(true)),
            ("/v1/chat/completions", chat.clone()),
        ] {
            // A provider that has just refused is left alone for a while.
            reset_all(watched).await;
            let refused = watched.ask(path, &body).await;
            assert!(refused.status >= 400, "{status}: {}", refused.text());
            assert!(
                refused.text().contains("you sent Bearer ***"),
                "{status}: the words of the provider are lost: {}",
                refused.text()
            );
        }
    }
    for after in [0, 4] {
        let event = format!(
            "event: error\ndata: {{\"type\":\"error\",\"error\":{{\"type\":\"invalid_request_error\",\"message\":\"you sent {}\"}}}}\n\n",
            watched.grant
        );
        watched.gitlab.handle.clear_rules();
        watched
            .gitlab
            .handle
            .add_rule(Rule::always(Effect::ErrorEvent { after, event: Some(event) }).on(Call::Messages));
        for (path, body) in [("/v1/messages", messages(true)), ("/v1/chat/completions", chat.clone())] {
            let failed = watched.ask(path, &body).await;
            assert!(failed.text().contains("you sent ***"), "after {after}, {path}: {}", failed.text());
        }
    }
    watched.gitlab.handle.clear_rules();
    for request in [
        "{",
        "{\"model\":1}",
        &format!("{{\"model\":\"claude-x\",\"messages\":\"{PROMPT}\"}}"),
        &format!("\"{PROMPT}\""),
    ] {
        let request = Request::new(watched.address, "POST", "/v1/messages").bytes(request.as_bytes().to_vec());
        assert!(watched.send(request.header("x-api-key", CLIENT_KEY)).await.status >= 400);
    }
    let wrong =
        Request::new(watched.address, "POST", "/v1/messages").json(&messages(false)).header("x-api-key", WRONG_KEY);
    assert_eq!(watched.send(wrong).await.status, 401);
    // Last, since they cost the grant.
    for status in [402, 403, 401] {
        watched.quoting(Call::Messages, status, &watched.grant);
        assert!(watched.ask("/v1/messages", &messages(true)).await.status >= 400);
    }
}

#[actix::test]
async fn no_secret_is_in_a_log_a_reply_or_a_file() {
    let gitlab = simulated(&["ada", "grace"]).await;
    let mut machine = Machine::beside(&gitlab);
    let (server, mut watched) = started(&mut machine, gitlab).await;
    operate(&mut watched).await;
    serve_clients(&mut watched).await;
    let ended = server.stop("TERM").await;
    assert_eq!(ended.code, Some(0));
    assert!(ended.err.contains("DEBUG"), "the log is not as wide open as it should be:\n{}", ended.err);

    let master_key = std::fs::read_to_string(machine.data().join("master.key")).expect("the master key");
    let admin_key = watched.admin_key.clone();
    let (ada, grace, nobody) = (token_of("ada"), token_of("grace"), token_of("nobody"));
    let secrets = [&ada, &grace, &nobody, &watched.grant, GRANT, &admin_key, master_key.trim(), CLIENT_KEY, WRONG_KEY];
    let places = [("standard output", ended.out.as_str()), ("the log", &ended.err)];
    for (place, text) in places.into_iter().chain(watched.heard.iter().map(|answer| ("an answer", answer.as_str()))) {
        for secret in secrets {
            let line = text.lines().find(|line| line.contains(secret));
            assert_eq!(line, None, "`{secret}` is in {place}");
        }
    }
    assert!(
        !ended.err.contains(PROMPT),
        "what a user said is in the log: {:?}",
        ended.err.lines().find(|line| line.contains(PROMPT))
    );
    for (file, bytes) in contents(&machine.data()) {
        for secret in secrets.into_iter().chain([PROMPT]) {
            let own = (file.ends_with("admin.key") && secret == admin_key)
                || (file.ends_with("master.key") && secret == master_key.trim());
            let found = bytes.windows(secret.len()).any(|window| window == secret.as_bytes());
            assert!(!found || own, "`{secret}` is in {}", file.display());
        }
    }
}

#[actix::test]
async fn a_command_prints_no_secret_either() {
    let gitlab = simulated(&["ada"]).await;
    let mut machine = Machine::beside(&gitlab);
    machine.set("DUOPOOL_LOG", "trace");
    let mut said = Vec::new();
    for arguments in [
        &["login", "--pat"][..],
        &["login", "--pat", "--json"],
        &["accounts", "list"],
        &["accounts", "refresh", "ada"],
        &["accounts", "test", "ada"],
        &["doctor", "ada"],
        &["models"],
        &["status"],
        &["config"],
    ] {
        let ended = machine.run_with(arguments, &token_of("ada")).await;
        assert_eq!(ended.code, Some(0), "{ended:?}");
        said.push(format!("{}{}", ended.out, ended.err));
    }
    let admin_key = std::fs::read_to_string(machine.data().join("admin.key")).expect("the admin key");
    for text in said {
        for secret in [&token_of("ada"), GRANT, admin_key.trim()] {
            assert_eq!(text.lines().find(|line| line.contains(secret)), None, "`{secret}` is printed");
        }
    }
}
