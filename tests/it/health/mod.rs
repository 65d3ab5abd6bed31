//! Health in every scope, and the operator's hands on it.

mod orders;
mod shared;

use std::sync::Arc;
use std::time::Duration;

use duopool::domain::time::{TestClock, Timestamp};
use duopool::simulator::{Call, SimulatedAccount};
use serde_json::{Value, json};

use crate::support::{Answer, TestApp, token_of};

/// 2026-11-22 00:00 UTC: the month does not turn soon.
const START: Timestamp = Timestamp::from_secs(1_795_305_600);

/// Starts with the accounts called `names`, in a world whose clock moves only when the test says so.
async fn still(names: &[&str]) -> (TestApp, TestClock) {
    let clock = TestClock::at(START);
    let app = TestApp::start_at(names, Arc::new(clock.clone()), |_| {}).await;
    for name in names {
        app.add(name).await;
    }
    (app, clock)
}

/// Adds users and accounts called `names` that share one root namespace.
async fn join_one_namespace(app: &TestApp, names: &[&str]) {
    for (number, name) in (50_u64..).zip(names) {
        app.gitlab.add_account(SimulatedAccount::new(name, number, &token_of(name)).in_namespace(9_000));
        app.add(name).await;
    }
}

async fn id_of(app: &TestApp, name: &str) -> String {
    app.account(name).await["id"].as_str().expect("an id").to_owned()
}

async fn patch(app: &TestApp, name: &str, change: &Value) -> Answer {
    let path = format!("/admin/v1/accounts/{}", id_of(app, name).await);
    app.admin("PATCH", &path).json(change).send().await
}

async fn reset(app: &TestApp, name: &str) -> Value {
    let path = format!("/admin/v1/accounts/{}/reset", id_of(app, name).await);
    let answer = app.admin("POST", &path).json(&json!({})).send().await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()
}

/// Returns what is blocked for several accounts.
async fn shared_blocks(app: &TestApp) -> Vec<Value> {
    let status = app.admin("GET", "/admin/v1/status").send().await.json();
    status["shared_blocks"].as_array().expect("a list").clone()
}

/// Waits until `wanted` is true of what is blocked for several accounts.
async fn shared_blocks_when(app: &TestApp, wanted: impl Fn(&[Value]) -> bool) -> Vec<Value> {
    // News are worked off by an actor: asked again until then, with an end.
    for _ in 0..2_000 {
        let blocks = shared_blocks(app).await;
        if wanted(&blocks) {
            return blocks;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("never came to that: {:?}", shared_blocks(app).await)
}

/// Returns how many requests to Messages reached the gateway.
fn asked(app: &TestApp) -> usize {
    app.gitlab.requests_of(Call::Messages).len()
}
