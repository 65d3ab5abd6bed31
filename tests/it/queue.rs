//! Requests that find every account busy: they wait, in turn and not for ever, and leave nothing behind.

use std::time::Duration;

use duopool::domain::secret::Secret;
use duopool::simulator::{Call, Credit, Effect, Record, Rule};
use serde_json::json;
use tokio::time::timeout;

use crate::support::requests::{HAIKU, SONNET, chat, messages};
use crate::support::{Open, TestApp};

/// Ends a test that would wait in vain.
async fn soon<T>(wait: impl Future<Output = T>) -> T {
    timeout(Duration::from_secs(20), wait).await.expect("it happens")
}

/// Starts with Ada alone, who answers one request at a time, on so many workers.
async fn ada_alone(workers: u64) -> TestApp {
    let app = TestApp::start(&["ada"], |layer| layer.workers = Some(workers)).await;
    app.add_with("ada", &json!({ "max_concurrency": 1 })).await;
    app
}

/// Takes Ada's slot with an answer that does not end.
async fn occupy(app: &TestApp) -> Open {
    app.gitlab.add_rule(Rule::once(Effect::Stall { after: 4 }).on(Call::Messages));
    let mut open = app.open("/v1/messages", &messages(SONNET, true)).await;
    open.read_until("delta").await;
    open
}

fn is_message(record: &Record) -> bool {
    record.call == Call::Messages
}

#[actix::test]
async fn a_request_that_finds_every_account_busy_waits_and_is_served_on_whichever_worker_it_is() {
    let app = ada_alone(2).await;
    let occupied = occupy(&app).await;
    let body = messages(SONNET, true);
    // Connections go to the workers in turn: the one that holds the slot and the one that does not both have somebody
    // who waits.
    let mut waiting = Vec::new();
    for _ in 0..4 {
        waiting.push(app.post("/v1/messages", &body).header("connection", "close").begin().await);
    }
    drop(occupied);
    for connection in waiting {
        let answer = soon(async { Open::on(connection).await.expect("an answer").rest().await }).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert!(answer.complete && answer.text().contains("message_stop"), "{}", answer.text());
        assert_eq!(answer.header("x-duopool-attempts"), Some("1"));
    }
    app.at_rest().await;
}

#[actix::test]
async fn the_wait_ends_with_429_when_its_time_is_up() {
    let app = TestApp::start(&["ada"], |layer| layer.queue_timeout_s = Some(1)).await;
    app.add_with("ada", &json!({ "max_concurrency": 1 })).await;
    let _occupied = occupy(&app).await;
    for (path, body) in [("/v1/messages", messages(SONNET, false)), ("/v1/chat/completions", chat(SONNET, true))] {
        let answer = soon(app.ask(path, &body)).await;
        assert_eq!(answer.status, 429, "{}", answer.text());
        assert!(answer.header("retry-after").is_some());
    }
    assert_eq!(app.gitlab.requests_of(Call::Messages).len(), 1);
}

#[actix::test]
async fn who_finds_the_queue_full_hears_so_at_once() {
    let app = TestApp::start(&["ada"], |layer| (layer.queue_max, layer.workers) = (Some(0), Some(1))).await;
    app.add_with("ada", &json!({ "max_concurrency": 1 })).await;
    let occupied = occupy(&app).await;
    let answer = soon(app.ask("/v1/messages", &messages(SONNET, true))).await;
    assert_eq!(answer.status, 429, "{}", answer.text());
    drop(occupied);
    app.at_rest().await;
    assert_eq!(app.ask("/v1/messages", &messages(SONNET, true)).await.status, 200);
}

#[actix::test]
async fn a_client_that_leaves_the_queue_frees_its_place_and_its_request_goes_nowhere() {
    let app = TestApp::start(&["ada"], |layer| (layer.queue_max, layer.workers) = (Some(1), Some(1))).await;
    app.add_with("ada", &json!({ "max_concurrency": 1 })).await;
    let occupied = occupy(&app).await;
    let marked = |text: &str| {
        let mut body = messages(SONNET, true);
        body["messages"][0]["content"] = text.into();
        body
    };
    let leaves = app.post("/v1/messages", &marked("the one that leaves")).begin().await;
    // It has the place once nobody else gets one.
    let full = async { while app.ask("/v1/messages", &marked("another")).await.status != 429 {} };
    soon(full).await;
    drop(leaves);
    let stays = async {
        loop {
            let asked = app.post("/v1/messages", &marked("the one that stays")).begin().await;
            let answer = Open::on(asked);
            // The place is free a moment after the client has left; until then the answer is a refusal at once.
            match timeout(Duration::from_millis(300), answer).await {
                Ok(Some(refused)) => assert_eq!(refused.status, 429),
                Ok(None) => panic!("the connection closed before an answer"),
                Err(_) => return,
            }
        }
    };
    soon(stays).await;
    drop(occupied);
    app.at_rest().await;
    let bodies: Vec<String> = app.gitlab.requests_of(Call::Messages).iter().map(|r| r.json().to_string()).collect();
    assert!(!bodies.iter().any(|body| body.contains("the one that leaves")), "{bodies:?}");
}

#[actix::test]
async fn a_key_with_one_request_does_not_wait_for_all_those_of_another_key() {
    let keys = ["the-busy-teams-key-01", "the-quiet-ones-key-02"];
    let app = TestApp::start(&["ada"], |layer| {
        layer.workers = Some(1);
        layer.client_keys = Some(keys.iter().map(|key| Secret::new((*key).to_owned())).collect());
    })
    .await;
    app.add_with("ada", &json!({ "max_concurrency": 1 })).await;
    let post = |key: &str, text: String| {
        let mut body = messages(SONNET, true);
        body["messages"][0]["content"] = text.into();
        app.post("/v1/messages", &body).header("authorization", &format!("Bearer {key}")).header("connection", "close")
    };
    app.gitlab.add_rule(Rule::once(Effect::Stall { after: 4 }).on(Call::Messages));
    let mut occupied = post(keys[0], "first".to_owned()).open().await;
    occupied.read_until("delta").await;
    let mut waiting = Vec::new();
    for number in 0..6 {
        waiting.push(post(keys[0], format!("busy {number}")).begin().await);
    }
    waiting.push(post(keys[1], "quiet".to_owned()).begin().await);
    // One worker takes requests in: when it answers this, all those before it are in.
    assert_eq!(app.request("GET", "/healthz").send().await.status, 200);
    drop(occupied);
    for connection in waiting {
        let answer = soon(async { Open::on(connection).await.expect("an answer").rest().await }).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
    let order: Vec<String> =
        app.gitlab.requests_of(Call::Messages).iter().map(|record| record.json()["messages"].to_string()).collect();
    let place = order.iter().position(|messages| messages.contains("quiet")).expect("it was served");
    assert!(place <= 2, "{order:?}");
}

#[actix::test]
async fn with_every_account_blocked_nobody_waits() {
    let app = TestApp::with_accounts(&["ada"]).await;
    app.gitlab.set_credit("ada", Credit::Exhausted).expect("ada is known");
    for _ in 0..3 {
        let answer = timeout(Duration::from_secs(5), app.ask("/v1/messages", &messages(SONNET, true))).await;
        let answer = answer.expect("an answer at once");
        assert_eq!(answer.status, 402, "{}", answer.text());
    }
}

#[actix::test]
async fn who_waits_for_an_account_that_runs_out_of_credit_hears_so() {
    let app = TestApp::start(&["ada"], |layer| layer.workers = Some(1)).await;
    app.add_with("ada", &json!({ "max_concurrency": 1 })).await;
    app.gitlab.set_model_credit("ada", HAIKU, Credit::Exhausted).expect("ada is known");
    let occupied = occupy(&app).await;
    let waits = app.post("/v1/messages", &messages(HAIKU, true)).begin().await;
    drop(occupied);
    let answer = soon(async { Open::on(waits).await.expect("an answer") }).await;
    assert_eq!(answer.status, 402);
    app.at_rest().await;
}

#[actix::test]
async fn an_account_that_is_added_serves_those_who_wait() {
    let app = TestApp::start(&["ada", "grace"], |_| {}).await;
    app.add_with("ada", &json!({ "max_concurrency": 1 })).await;
    let _occupied = occupy(&app).await;
    let waits = app.post("/v1/messages", &messages(SONNET, false)).begin().await;
    app.add("grace").await;
    let answer = soon(async { Open::on(waits).await.expect("an answer") }).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("x-duopool-account"), app.account("grace").await["id"].as_str());
}

#[actix::test]
async fn those_who_wait_for_an_account_that_is_removed_hear_that_there_is_none() {
    let app = TestApp::start(&["ada"], |_| {}).await;
    let id = app.add_with("ada", &json!({ "max_concurrency": 1 })).await;
    app.gitlab.add_rule(Rule::once(Effect::delay(Duration::ZERO, Duration::from_millis(60))).on(Call::Messages));
    let mut runs = app.post("/v1/messages", &messages(SONNET, true)).header("connection", "close").open().await;
    runs.read_until("delta").await;
    let waits = app.post("/v1/messages", &messages(SONNET, true)).begin().await;
    let removed = app.admin("DELETE", &format!("/admin/v1/accounts/{id}")).send().await;
    assert_eq!(removed.status, 204, "{}", removed.text());
    assert_eq!(soon(async { Open::on(waits).await.expect("an answer") }).await.status, 503);
    let answer = soon(runs.rest()).await;
    assert!(answer.complete && answer.text().contains("message_stop"), "{}", answer.text());
}

#[actix::test]
async fn what_an_account_serves_still_counts_when_it_is_removed_and_added_again() {
    let app = TestApp::start(&["ada"], |layer| layer.queue_timeout_s = Some(1)).await;
    let id = app.add_with("ada", &json!({ "max_concurrency": 1 })).await;
    let occupied = occupy(&app).await;
    let removed = app.admin("DELETE", &format!("/admin/v1/accounts/{id}")).send().await;
    assert_eq!(removed.status, 204, "{}", removed.text());
    app.add_with("ada", &json!({ "max_concurrency": 1 })).await;
    assert_eq!(app.account("ada").await["in_flight"], 1);
    assert_eq!(soon(app.ask("/v1/messages", &messages(SONNET, true))).await.status, 429);
    drop(occupied);
    app.at_rest().await;
    assert_eq!(app.ask("/v1/messages", &messages(SONNET, true)).await.status, 200);
}

#[actix::test]
async fn a_token_count_does_not_wait_but_is_estimated() {
    let app = ada_alone(1).await;
    let _occupied = occupy(&app).await;
    let body = json!({ "model": SONNET, "messages": [{ "role": "user", "content": "Hello!" }] });
    let answer = timeout(Duration::from_secs(5), app.ask("/v1/messages/count_tokens", &body)).await.expect("at once");
    assert_eq!((answer.status, answer.header("x-duopool-estimated")), (200, Some("true")), "{}", answer.text());
    assert_eq!(app.gitlab.requests().iter().filter(|record| is_message(record)).count(), 1);
}
