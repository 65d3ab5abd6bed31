//! Proxies: which connections go through them, and what is said of those that fail.

use super::{add, assert_refused, assert_serves, behind_tls, restart_with, table, through, trusting};
use crate::support::gateway::Closed;
use crate::support::proxy::{Manner, Proxy};
use crate::support::requests::{SONNET, messages};
use crate::support::tls::{Authority, Front};
use crate::support::told::told;
use crate::support::{TestApp, simulated};
use duopool::config::InstanceTable;
use duopool::domain::secret::Secret;
use serde_json::json;

/// `Basic`, and `ada:se:cret` in base64.
const CREDENTIALS: &str = "Basic YWRhOnNlOmNyZXQ=";
/// A GitLab that only the proxy knows how to find.
const URL: &str = "https://gitlab.corp.test";

fn secret(text: &str) -> Secret<String> {
    Secret::new(text.to_owned())
}

#[actix::test]
async fn everything_for_an_instance_goes_through_its_proxy() {
    let authority = Authority::new("Corp");
    let (mut app, front) = behind_tls(authority.issue("gitlab.corp.test")).await;
    let proxy = Proxy::start(Manner::Asks(CREDENTIALS), front.address()).await;
    let ca_file = authority.file(app.folder());
    let address = format!("http://ada:se%3Acret@{}", proxy.address);
    restart_with(&mut app, vec![through(&address, trusting(URL, &ca_file))]).await;
    assert_serves(&app, URL).await;
    assert_eq!(proxy.targets(), ["gitlab.corp.test:443"]);
    let config = app.admin("GET", "/admin/v1/config").send().await.text();
    assert!(config.contains(&format!("http://***@{}", proxy.address)), "{config}");
    assert!(!config.contains("Acret") && !config.contains("YWRh"), "{config}");
}

#[actix::test]
async fn the_proxy_for_all_carries_all_but_this_machine_and_the_exceptions() {
    let authority = Authority::new("Corp");
    let (mut app, front) = behind_tls(authority.issue("gitlab.corp.test")).await;
    let proxy = Proxy::start(Manner::Opens, front.address()).await;
    let ca_file = authority.file(app.folder());
    let direct = app.gitlab_url.clone();
    app.restart(|layer| {
        layer.proxy = Some(secret(&format!("http://{}", proxy.address)));
        layer.no_proxy = Some("example.test, .direct.test:8443".to_owned());
        layer.instance = Some(vec![trusting(URL, &ca_file)]);
    })
    .await;
    assert_serves(&app, URL).await;
    assert_eq!(proxy.targets(), ["gitlab.corp.test:443"]);
    // This machine seen from a proxy is another one.
    let added = add(&app, &direct).await;
    assert_eq!(added.status, 201, "{}", added.text());
    // Names that end in `.test` lead nowhere, so whoever looks them up by itself fails in another way than by the proxy.
    let excepted = "https://gitlab.direct.test:8443";
    let problem = add(&app, excepted).await.json();
    assert!(matches!(problem["reason"].as_str(), Some("instance_unreachable" | "host_offline")), "{problem}");
    assert_eq!(proxy.targets(), ["gitlab.corp.test:443"]);
}

#[actix::test]
async fn an_instance_may_do_without_the_proxy_for_all() {
    let authority = Authority::new("Corp");
    let (mut app, front) = behind_tls(authority.issue("localhost")).await;
    let (url, ca_file) = (front.url("localhost"), authority.file(app.folder()));
    let proxy = Proxy::start(Manner::Opens, front.address()).await;
    let address = format!("http://{}", proxy.address);
    // This machine is reached through a proxy only where an instance says so.
    restart_with(&mut app, vec![through(&address, trusting(&url, &ca_file))]).await;
    assert_serves(&app, &url).await;
    assert_eq!(proxy.targets(), [&url[8..]]);
    restart_with(&mut app, vec![through("none", trusting(&url, &ca_file))]).await;
    app.restart(|layer| layer.proxy = Some(secret(&address))).await;
    let seen = proxy.heads().len();
    app.account_when("ada", |account| account["health"] == "ready").await;
    super::assert_answers(&app).await;
    assert_eq!(proxy.heads().len(), seen);
}

#[actix::test]
async fn a_proxy_may_be_spoken_to_over_tls() {
    let authority = Authority::new("Corp");
    let (mut app, front) = behind_tls(authority.issue("gitlab.corp.test")).await;
    let identity = authority.issue("localhost");
    let proxy = Proxy::start_tls(Manner::Asks(CREDENTIALS), front.address(), identity).await;
    let ca_file = authority.file(app.folder());
    let address = format!("https://ada:se%3Acret@localhost:{}", proxy.address.port());
    restart_with(&mut app, vec![through(&address, trusting(URL, &ca_file))]).await;
    assert_serves(&app, URL).await;
    // A proxy that is not trusted is told from a GitLab that is not.
    restart_with(&mut app, vec![through(&address, table(URL))]).await;
    let problem = assert_refused(&app, URL, "proxy_unreachable").await;
    assert!(problem["detail"].as_str().is_some_and(|detail| detail.contains("UnknownIssuer")), "{problem}");
    assert!(!problem.to_string().contains("Acret"), "{problem}");
}

#[actix::test]
async fn each_way_in_which_a_proxy_can_fail_is_told() {
    let app = TestApp::start(&["ada"], |_| {}).await;
    let nowhere = app.gitlab_address();
    let says = |text: &str| Manner::Says(text.as_bytes().to_vec());
    let huge = format!("HTTP/1.1 200 OK\r\nx: {}", "x".repeat(64 * 1024));
    for (manner, credentials, reason, words) in [
        (Manner::Asks(CREDENTIALS), "", "proxy_unauthorized", "wants credentials"),
        (Manner::Asks(CREDENTIALS), "ada:wrong@", "proxy_unauthorized", "does not accept the credentials"),
        (says("HTTP/1.1 403 Forbidden\r\ncontent-length: 5\r\n\r\nnever"), "", "proxy_refused", "answered 403"),
        (says("HTTP/1.0 502 Bad Gateway\r\n\r\n"), "", "proxy_refused", "answered 502"),
        (says("SSH-2.0-OpenSSH_9.2\r\n"), "", "proxy_unreachable", "not HTTP"),
        (says("HTTP/1.1 huh\r\n\r\n"), "", "proxy_unreachable", "not HTTP"),
        (says("HTTP/1.1 200 OK\r\n\r\n<html>"), "", "proxy_unreachable", "not HTTP"),
        (Manner::Says(huge.into_bytes()), "", "proxy_unreachable", "not HTTP"),
        (says("HTTP/1.1 200"), "", "proxy_unreachable", "did not answer in time"),
        (Manner::SaysAndCloses(Vec::new()), "", "proxy_unreachable", "end of file"),
    ] {
        let proxy = Proxy::start(manner, nowhere).await;
        let address = format!("http://{credentials}{}", proxy.address);
        let mut own = through(&address, table(URL));
        own.connect_timeout_s = Some(1);
        let app = TestApp::start(&["ada"], |layer| layer.instance = Some(vec![own])).await;
        let problem = assert_refused(&app, URL, reason).await;
        assert!(problem["detail"].as_str().is_some_and(|detail| detail.contains(words)), "{words}: {problem}");
        assert!(!problem.to_string().contains("wrong@"), "{problem}");
    }
}

#[actix::test]
async fn a_proxy_that_is_not_there_is_told_from_a_server_that_is_not() {
    let closed = Closed::new();
    let own = through(&closed.url, table(URL));
    let app = TestApp::start(&["ada"], |layer| layer.instance = Some(vec![own])).await;
    let problem = assert_refused(&app, URL, "proxy_unreachable").await;
    assert!(problem["detail"].as_str().is_some_and(|detail| detail.contains(&closed.url)), "{problem}");
}

#[actix::test]
async fn what_no_connection_may_lead_to_no_proxy_is_asked_for() {
    let app = TestApp::start(&["ada"], |_| {}).await;
    let proxy = Proxy::start(Manner::Opens, app.gitlab_address()).await;
    let address = format!("http://{}", proxy.address);
    let app = TestApp::start(&["ada"], |layer| layer.proxy = Some(secret(&address))).await;
    let problem = assert_refused(&app, "https://metadata.google.internal", "instance_unreachable").await;
    assert!(problem["detail"].as_str().is_some_and(|detail| detail.contains("never connects to")), "{problem}");
    assert!(proxy.heads().is_empty());
}

#[actix::test]
async fn a_proxy_that_goes_away_is_told_to_clients() {
    let authority = Authority::new("Corp");
    let (mut app, front) = behind_tls(authority.issue("gitlab.corp.test")).await;
    let ca_file = authority.file(app.folder());
    let proxy = Proxy::start(Manner::Opens, front.address()).await;
    let address = format!("http://{}", proxy.address);
    restart_with(&mut app, vec![through(&address, trusting(URL, &ca_file))]).await;
    assert_serves(&app, URL).await;
    let closed = Closed::new();
    restart_with(&mut app, vec![through(&closed.url, trusting(URL, &ca_file))]).await;
    let answer = app.ask("/v1/messages", &messages(SONNET, true)).await;
    let message = told("/v1/messages", &answer, 503, "a proxy that is not there");
    assert!(message.contains("proxy"), "{message}");
}

#[actix::test]
async fn accounts_whose_proxy_is_gone_leave_those_alone_that_reach_the_same_gateway_in_another_way() {
    let (authority, other) = (Authority::new("Corp"), simulated(&["grace"]).await);
    let front = Front::start(authority.issue("gateway.test"), other.address()).await;
    let (proxy, closed) = (Proxy::start(Manner::Opens, front.address()).await, Closed::new());
    let mut app = TestApp::start(&["ada", "alan"], |_| {}).await;
    let (corp, ca_file) = (app.gitlab_url.clone(), authority.file(app.folder()));
    // GitLab itself is on this machine, the gateway behind a proxy: for the one instance one that is not there.
    let own = |url: &str, proxy: &str| InstanceTable {
        no_proxy: Some("127.0.0.1".to_owned()),
        gateway_url: Some("https://gateway.test/ai".to_owned()),
        ..through(proxy, trusting(url, &ca_file))
    };
    let living = format!("http://{}", proxy.address);
    restart_with(&mut app, vec![own(&corp, &closed.url), own(&other.url(), &living)]).await;
    app.add("ada").await;
    app.add("alan").await;
    // The word of two accounts would close the gateway, if it were about the gateway.
    let answer = app.ask("/v1/messages", &messages(SONNET, true)).await;
    let message = told("/v1/messages", &answer, 503, "two accounts without their proxy");
    assert!(message.contains("proxy"), "{message}");
    for name in ["ada", "alan"] {
        let account = app.account_when(name, |account| account["trouble"]["reason"] == "proxy_unreachable").await;
        assert_eq!(account["trouble"]["scope"], "account", "{account}");
        assert!(account["trouble"]["fix"].as_str().is_some_and(|fix| fix.contains("`proxy`")), "{account}");
    }
    let added = app.try_add("grace", &json!({ "base_url": other.url() })).await;
    assert_eq!(added.status, 201, "{}", added.text());
    let status = app.admin("GET", "/admin/v1/status").send().await.text();
    assert!(!status.contains("gateway.test"), "{status}");
    let answer = app.ask("/v1/messages", &messages(SONNET, true)).await;
    assert_eq!((answer.status, answer.header("x-duopool-attempts")), (200, Some("1")), "{}", answer.text());
    assert_eq!(proxy.targets(), ["gateway.test:443"]);
}
