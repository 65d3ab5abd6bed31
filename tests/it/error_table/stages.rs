//! Answers that do not come, or not to their end.

use std::process::Command;

use duopool::config::Layer;
use duopool::domain::secret::Secret;
use duopool::simulator::{Call, Effect, Rule};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::{all, is_ready};
use crate::support::gateway::{Closed, silent_after};
use crate::support::proxy::{Manner, Proxy};
use crate::support::requests::{SONNET, chat, messages};
use crate::support::tls::{Authority, Front, Identity};
use crate::support::told::told;
use crate::support::{ADMIN_KEY, Answer, Machine, TestApp, simulated, token_of};

const OK_STREAM: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";

fn seconds(layer: &mut Layer) {
    (layer.head_timeout_stream_s, layer.idle_timeout_s) = (Some(1), Some(1));
}

/// Asks Ada, whose gateway is `url`, and then nobody else; and once more with Grace beside her.
async fn at(url: &str, curable: bool, status: u16) {
    let app = TestApp::start(&["ada", "grace"], seconds).await;
    app.add_with("ada", &json!({ "priority": 1, "gateway_url": url })).await;
    let answer = app.ask("/v1/messages", &messages(SONNET, true)).await;
    told("/v1/messages", &answer, status, url);
    app.add("grace").await;
    let answer = app.ask("/v1/messages", &messages(SONNET, true)).await;
    assert_eq!(answer.status == 200, curable, "{url}: {}", answer.text());
    untouched(&app, "ada").await;
}

async fn untouched(app: &TestApp, name: &str) {
    app.at_rest().await;
    let account = app.account(name).await;
    assert!(is_ready(&account), "{account}");
}

/// Has the gateway treat Ada so; returns the answer to Grace's being there as well.
async fn with(effect: Effect, body: &serde_json::Value, change: impl FnOnce(&mut Layer)) -> (TestApp, Answer) {
    let app = TestApp::start(&["ada", "grace"], change).await;
    app.add_with("ada", &json!({ "priority": 1 })).await;
    app.add("grace").await;
    app.gitlab.add_rule(Rule::always(effect).on(Call::Messages).by("ada"));
    let answer = app.ask("/v1/messages", body).await;
    untouched(&app, "ada").await;
    (app, answer)
}

async fn cured(effect: Effect, stream: bool) {
    let said = format!("{effect:?}");
    let (_, answer) = with(effect, &messages(SONNET, stream), seconds).await;
    assert_eq!((answer.status, answer.header("x-duopool-attempts")), (200, Some("2")), "{said}: {}", answer.text());
}

async fn long_line() {
    let line = "x".repeat(9 * 1024 * 1024);
    let url = silent_after(&format!("{OK_STREAM}{:x}\r\ndata: {line}", line.len() + 6)).await;
    let app = TestApp::start(&["ada", "grace"], |_| {}).await;
    app.add_with("ada", &json!({ "priority": 1, "gateway_url": url })).await;
    app.add("grace").await;
    let answer = app.ask("/v1/chat/completions", &chat(SONNET, true)).await;
    told("/v1/chat/completions", &answer, 502, "long line");
    assert!(app.gitlab.requests_of(Call::Messages).is_empty());
    untouched(&app, "ada").await;
}

async fn deadline() {
    let whole = |layer: &mut Layer| layer.request_timeout_s = Some(1);
    for stream in [true, false] {
        let (app, answer) = with(Effect::Hang, &messages(SONNET, stream), whole).await;
        told("/v1/messages", &answer, 504, "deadline");
        assert_eq!(app.gitlab.requests_of(Call::Messages).len(), 1);
    }
    // A body that trickles in, or stops, does not outlive it either.
    let (_, answer) = with(Effect::Stall { after: 40 }, &messages(SONNET, false), whole).await;
    told("/v1/messages", &answer, 504, "deadline of a body");
    let (_, answer) = with(Effect::Stall { after: 4 }, &messages(SONNET, true), whole).await;
    assert!(answer.text().contains("no answer came in time"), "{}", answer.text());
}

async fn body_stall() {
    let (app, answer) = with(Effect::Stall { after: 4 }, &messages(SONNET, true), seconds).await;
    assert_eq!(answer.status, 200);
    assert!(answer.text().contains("no answer came in time"), "{}", answer.text());
    // What a client has begun to see is not begun again.
    assert_eq!(app.gitlab.requests_of(Call::Messages).len(), 1);
    cured(Effect::Stall { after: 40 }, false).await;
}

async fn head_timeout() {
    let (app, answer) = with(Effect::Hang, &messages(SONNET, true), seconds).await;
    told("/v1/messages", &answer, 504, "head");
    assert_eq!(app.gitlab.requests_of(Call::Messages).len(), 1);
}

/// Reaches the gateway or GitLab through a proxy that answers so.
async fn by_proxy(side: &str, answer: &str, reason: &str) {
    let aside = TestApp::start(&[], |_| {}).await;
    let proxy = Proxy::start(Manner::Says(answer.as_bytes().to_vec()), aside.gitlab_address()).await;
    proxied(side, &format!("http://{}", proxy.address), reason).await;
}

async fn proxied(side: &str, proxy: &str, reason: &str) {
    let change = |layer: &mut Layer| layer.proxy = Some(Secret::new(proxy.to_owned()));
    let app = TestApp::start(&["ada", "grace"], change).await;
    elsewhere(&app, side, "https://server.test", reason).await;
}

/// Reaches the gateway or GitLab over TLS as `identity`, which is looked at with the authority's certificate at hand.
async fn by_tls(side: &str, identity: Identity, ca_file: &std::path::Path, reason: &str) {
    let mut app = TestApp::start(&["ada", "grace"], |_| {}).await;
    let front = Front::start(identity, app.gitlab_address()).await;
    app.restart(|layer| layer.ca_file = Some(ca_file.to_owned())).await;
    elsewhere(&app, side, &front.url("localhost"), reason).await;
}

/// Has Ada live at `url`, or have her gateway there; with a gateway that fails so, Grace serves.
async fn elsewhere(app: &TestApp, side: &str, url: &str, reason: &str) {
    if side == "gitlab" {
        let answer = app.try_add("ada", &json!({ "base_url": url })).await;
        assert_eq!((answer.status, answer.json()["reason"].as_str()), (502, Some(reason)), "{}", answer.text());
        return;
    }
    app.add_with("ada", &json!({ "priority": 1, "gateway_url": url })).await;
    told("/v1/messages", &app.ask("/v1/messages", &messages(SONNET, true)).await, 502, reason);
    app.add("grace").await;
    let answer = app.ask("/v1/messages", &messages(SONNET, true)).await;
    assert_eq!(answer.status, 200, "{reason}: {}", answer.text());
    untouched(app, "ada").await;
}

async fn check_way(side: &str, stage: &str) {
    let (authority, folder) = (Authority::new("Corp"), tempfile::tempdir().expect("a folder"));
    let ca_file = authority.file(folder.path());
    match stage {
        "proxy" => proxied(side, &Closed::new().url, "proxy_unreachable").await,
        "proxy-credentials" => by_proxy(side, "HTTP/1.1 407 No\r\n\r\n", "proxy_unauthorized").await,
        "proxy-refused" => by_proxy(side, "HTTP/1.1 403 No\r\n\r\n", "proxy_refused").await,
        "tls-untrusted" => {
            let stranger = Authority::new("Other").issue("localhost");
            by_tls(side, stranger, &ca_file, "certificate_untrusted").await;
        }
        "tls-expired" => by_tls(side, authority.issue_expired("localhost"), &ca_file, "certificate_expired").await,
        "tls-wrong-host" => by_tls(side, authority.issue("other.test"), &ca_file, "certificate_wrong_host").await,
        stage => panic!("nobody knows how to bring {side}-{stage} about"),
    }
}

async fn gitlabs(url: Option<&str>, effect: Option<Effect>, reason: &str) {
    let app = TestApp::start(&["ada"], |_| {}).await;
    if let Some(effect) = effect {
        app.gitlab.add_rule(Rule::always(effect).on(Call::TokenSelf));
    }
    let more = url.map_or_else(|| json!({}), |url| json!({ "base_url": url }));
    let answer = app.try_add("ada", &more).await;
    assert_eq!((answer.status, answer.json()["reason"].as_str()), (502, Some(reason)), "{}", answer.text());
}

/// A name that leads to this machine, which only names of this machine may: were it connected to, nothing left it.
fn foreign(layer: &mut Layer) {
    layer.resolve = Some(vec!["gitlab.test=127.0.0.1".to_owned()]);
}

/// Returns `url` under that name.
fn at_foreign_name(url: &str) -> String {
    url.replace("http://127.0.0.1", "https://gitlab.test")
}

async fn forbidden_gateway() {
    let app = TestApp::start(&["ada", "grace"], foreign).await;
    app.add_with("ada", &json!({ "priority": 1, "gateway_url": at_foreign_name(&app.gateway_url()) })).await;
    let answer = app.ask("/v1/messages", &messages(SONNET, true)).await;
    told("/v1/messages", &answer, 502, "forbidden address");
    app.add("grace").await;
    let answer = app.ask("/v1/messages", &messages(SONNET, true)).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    untouched(&app, "ada").await;
}

async fn forbidden_gitlab() {
    let app = TestApp::start(&["ada"], foreign).await;
    let answer = app.try_add("ada", &json!({ "base_url": at_foreign_name(&app.gitlab_url) })).await;
    assert_eq!((answer.status, answer.json()["reason"].as_str()), (502, Some("instance_unreachable")));
    assert!(answer.text().contains("never connects to"), "{}", answer.text());
    assert!(app.gitlab.requests().is_empty(), "something was sent");
}

/// Asks on a connection that stays open; returns the status and the body of the answer, which must say how long it is.
async fn said_on(stream: &mut TcpStream, what: &str, body: &str) -> (u16, String) {
    let head = format!(
        "{what} HTTP/1.1\r\nhost: {}\r\nauthorization: Bearer {ADMIN_KEY}\r\ncontent-type: application/json\r\n\
         content-length: {}\r\n\r\n{body}",
        stream.peer_addr().expect("an address"),
        body.len()
    );
    stream.write_all(head.as_bytes()).await.expect("it is sent");
    let mut answer = Vec::new();
    loop {
        assert_ne!(stream.read_buf(&mut answer).await.expect("an answer"), 0, "{}", String::from_utf8_lossy(&answer));
        let text = String::from_utf8_lossy(&answer).to_lowercase();
        let Some((head, said)) = text.split_once("\r\n\r\n") else { continue };
        let length = head.split("content-length: ").nth(1).and_then(|rest| rest.lines().next()?.parse().ok());
        if length == Some(said.len()) {
            let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
            return (status, said.to_owned());
        }
    }
}

/// A server that has no file descriptor left takes requests on connections that are there, and opens no others.
async fn no_descriptor_left() {
    let gitlab = simulated(&["ada", "grace"]).await;
    let mut machine = Machine::beside(&gitlab);
    machine.run_with(&["login", "--pat"], &token_of("ada")).await.fine();
    machine.set("DUOPOOL_ADMIN_KEY", ADMIN_KEY);
    let (server, address) = machine.serve().await;
    let mut client = TcpStream::connect(address).await.expect("a server");
    let mut operator = TcpStream::connect(address).await.expect("a server");
    // Once they have been answered, what they ask needs no descriptor.
    for stream in [&mut client, &mut operator] {
        assert_eq!(said_on(stream, "GET /healthz", "").await.0, 200);
    }
    // Those that are open stay so, and there are no others.
    let none = Command::new("prlimit").args([&format!("--pid={}", server.pid()), "--nofile=3:"]).status();
    assert!(none.expect("prlimit of util-linux").success());
    let body = messages(SONNET, true).to_string();
    let (status, said) = said_on(&mut client, "POST /v1/messages", &body).await;
    assert_eq!(status, 503, "{said}");
    assert!(said.contains("file descriptors"), "{said}");
    // An instance that no connection is kept to.
    let login = json!({ "base_url": "http://127.0.0.2:1", "personal_access_token": token_of("grace") }).to_string();
    let (status, said) = said_on(&mut operator, "POST /admin/v1/accounts", &login).await;
    assert_eq!(status, 502, "{said}");
    assert!(said.contains("host_offline"), "{said}");
    server.stop("KILL").await;
}

async fn check(row: &str) {
    let plain = TestApp::start(&[], |_| {}).await;
    let closed = Closed::new();
    let not_tls = plain.gateway_url().replace("http://", "https://");
    let not_tls = not_tls.as_str();
    match row {
        "gateway-connect" => at(&closed.url, true, 502).await,
        "gateway-tls" => at(not_tls, true, 502).await,
        "gateway-broken" => cured(Effect::Close, true).await,
        "gateway-head-timeout" => head_timeout().await,
        "gateway-prelude-stall" => at(&silent_after(OK_STREAM).await, true, 504).await,
        "gateway-body-stall" => body_stall().await,
        "gateway-cut-short" => {
            cured(Effect::Cut { after: 1 }, true).await;
            cured(Effect::Cut { after: 40 }, false).await;
        }
        "gateway-unreadable" => cured(Effect::garbage(), false).await,
        "gateway-long-line" => long_line().await,
        "gateway-too-long" => {
            let (app, answer) = with(Effect::Pad { bytes: 33 << 20 }, &messages(SONNET, false), |_| {}).await;
            told("/v1/messages", &answer, 502, "too long");
            assert_eq!(app.gitlab.requests_of(Call::Messages).len(), 1);
        }
        "gateway-deadline" => deadline().await,
        "gateway-host" => no_descriptor_left().await,
        // Both sides are tried on one server.
        "gitlab-host" => {}
        "gateway-forbidden-address" => forbidden_gateway().await,
        "gitlab-forbidden-address" => forbidden_gitlab().await,
        // GitLab is given half a minute to answer, and a quarter to go on: Rails itself waits that long for its gateway.
        "gitlab-head-timeout" => gitlabs(None, Some(Effect::Hang), "instance_unreachable").await,
        "gitlab-body-stall" => gitlabs(None, Some(Effect::Stall { after: 20 }), "instance_unreachable").await,
        "gitlab-connect" => gitlabs(Some(&closed.url), None, "instance_unreachable").await,
        "gitlab-tls" => gitlabs(Some(not_tls), None, "tls_failed").await,
        "gitlab-broken" => gitlabs(None, Some(Effect::CloseUnprocessed), "instance_unexpected").await,
        "gitlab-cut-short" => gitlabs(None, Some(Effect::Cut { after: 20 }), "instance_unexpected").await,
        "gitlab-too-long" => gitlabs(None, Some(Effect::Pad { bytes: 3 << 20 }), "instance_unexpected").await,
        row => {
            let (side, stage) = row.split_once('-').expect("a side and a stage");
            check_way(side, stage).await;
        }
    }
}

#[actix::test]
async fn each_stage_at_which_an_answer_can_fail_is_what_its_row_says() {
    let rows = all().stage;
    futures::future::join_all(rows.iter().map(|row| check(row))).await;
}
