//! Instances that are reached in a way of their own: with an authority, a gateway, a proxy or timeouts of theirs.

mod proxies;
mod tinyproxy;
mod trust;

use std::path::Path;

use duopool::config::InstanceTable;
use duopool::domain::secret::Secret;
use serde_json::{Value, json};

use crate::support::requests::{SONNET, messages};
use crate::support::tls::{Front, Identity};
use crate::support::{Answer, TestApp};

/// What is set for the instance at `url`, whose gateway is behind the same server.
fn table(url: &str) -> InstanceTable {
    InstanceTable { url: url.to_owned(), gateway_url: Some(format!("{url}/ai")), ..InstanceTable::default() }
}

fn trusting(url: &str, ca_file: &Path) -> InstanceTable {
    InstanceTable { ca_file: Some(ca_file.to_owned()), ..table(url) }
}

fn through(proxy: &str, table: InstanceTable) -> InstanceTable {
    InstanceTable { proxy: Some(Secret::new(proxy.to_owned())), ..table }
}

/// Starts a GitLab with the user Ada whose only way in is TLS as `identity`, and a duopool that knows nothing of it yet.
async fn behind_tls(identity: Identity) -> (TestApp, Front) {
    let app = TestApp::start(&["ada"], |_| {}).await;
    let front = Front::start(identity, app.gitlab_address()).await;
    (app, front)
}

/// Starts duopool anew with `tables`.
async fn restart_with(app: &mut TestApp, tables: Vec<InstanceTable>) {
    app.restart(|layer| {
        layer.gitlab_ai_gateway_url = None;
        layer.instance = Some(tables);
    })
    .await;
}

/// Adds Ada, who lives at `url`.
async fn add(app: &TestApp, url: &str) -> Answer {
    app.try_add("ada", &json!({ "base_url": url })).await
}

/// Asserts that Ada can be added, is minted for, and is served a whole answer, a stream and a count.
async fn assert_serves(app: &TestApp, url: &str) {
    let added = add(app, url).await;
    assert_eq!(added.status, 201, "{}", added.text());
    let id = added.json()["id"].as_str().expect("an id").to_owned();
    let refreshed = app.admin("POST", &format!("/admin/v1/accounts/{id}/refresh")).send().await;
    assert_eq!(refreshed.status, 200, "{}", refreshed.text());
    assert_answers(app).await;
}

async fn assert_answers(app: &TestApp) {
    for stream in [true, false] {
        let answer = app.ask("/v1/messages", &messages(SONNET, stream)).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert!(answer.complete && (!stream || answer.text().contains("event: message_stop")), "{}", answer.text());
    }
}

/// Asserts that Ada cannot be added, for `reason`; returns the problem.
async fn assert_refused(app: &TestApp, url: &str, reason: &str) -> Value {
    let answer = add(app, url).await;
    let problem = answer.json();
    assert_eq!((answer.status, problem["reason"].as_str()), (502, Some(reason)), "{problem}");
    assert!(problem["fix"].as_str().is_some_and(|fix| !fix.is_empty()), "{problem}");
    problem
}
