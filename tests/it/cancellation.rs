//! Clients that leave: the upstream is let go, the slot comes back, and nobody is blamed.

use std::time::Duration;

use duopool::simulator::{Call, Effect, Ending, Rule};
use serde_json::json;
use tokio::time::timeout;

use crate::support::TestApp;
use crate::support::requests::{GPT, SONNET, chat, messages, responses};

/// Ends a test that would wait in vain.
async fn soon<T>(wait: impl Future<Output = T>) -> T {
    timeout(Duration::from_secs(20), wait).await.expect("it happens")
}

/// Asserts that Ada's slots are free again, and that nothing is held against her.
async fn assert_unharmed(app: &TestApp) {
    let ada = app.account_when("ada", |account| account["in_flight"] == 0).await;
    assert_eq!((&ada["health"], &ada["failed"], &ada["served"]), (&json!("ready"), &json!(0), &json!(0)), "{ada}");
}

#[actix::test]
async fn a_client_that_leaves_before_the_answer_begins_ends_the_request_upstream() {
    let app = TestApp::with_accounts(&["ada"]).await;
    let effects = [Effect::Hang, Effect::delay(Duration::from_mins(1), Duration::ZERO)];
    let mut left = 0;
    for effect in effects {
        for (path, body, call) in [
            ("/v1/messages", messages(SONNET, true), Call::Messages),
            ("/v1/messages", messages(SONNET, false), Call::Messages),
            ("/v1/chat/completions", chat(SONNET, true), Call::Messages),
            ("/v1/responses", responses(GPT, false), Call::Responses),
        ] {
            app.gitlab.clear_rules();
            app.gitlab.clear_requests();
            app.gitlab.add_rule(Rule::always(effect.clone()).on(call));
            let connection = app.post(path, &body).begin().await;
            soon(app.gitlab.arrived(|record| record.call == call)).await;
            drop(connection);
            left += 1;
            soon(app.gitlab.closed_early(left)).await;
            assert_unharmed(&app).await;
        }
    }
}

#[actix::test]
async fn a_client_that_leaves_a_silent_stream_ends_it_upstream() {
    let app = TestApp::with_accounts(&["ada"]).await;
    app.gitlab.add_rule(Rule::always(Effect::Stall { after: 5 }).on(Call::Messages));
    for (left, path) in [(1, "/v1/messages"), (2, "/v1/chat/completions")] {
        let mut open = app.open(path, &messages(SONNET, true)).await;
        open.read_until("delta").await;
        drop(open);
        soon(app.gitlab.closed_early(left)).await;
        assert_unharmed(&app).await;
    }
}

#[actix::test]
async fn a_client_that_leaves_while_the_prelude_is_held_back_ends_the_stream_upstream() {
    let app = TestApp::with_accounts(&["ada"]).await;
    app.gitlab.add_rule(Rule::always(Effect::Stall { after: 1 }).on(Call::Messages));
    let connection = app.post("/v1/messages", &messages(SONNET, true)).begin().await;
    soon(app.gitlab.counted(|gauges| gauges.open_streams == 1)).await;
    drop(connection);
    soon(app.gitlab.closed_early(1)).await;
    assert_unharmed(&app).await;
}

#[actix::test]
async fn a_client_that_leaves_in_the_middle_of_a_flow_ends_it_upstream() {
    let app = TestApp::with_accounts(&["ada"]).await;
    app.gitlab.change_instance(|instance| instance.text_deltas = Some(10_000));
    app.gitlab.add_rule(Rule::always(Effect::delay(Duration::ZERO, Duration::from_millis(20))).on(Call::Messages));
    let body = json!({ "model": SONNET, "max_tokens": 64_000, "stream": true,
        "messages": [{ "role": "user", "content": "Hello!" }] });
    let mut open = app.open("/v1/messages", &body).await;
    open.read_until("content_block_delta").await;
    drop(open);
    soon(app.gitlab.closed_early(1)).await;
    assert_unharmed(&app).await;
}

#[actix::test]
async fn a_client_that_leaves_a_flood_that_it_does_not_read_ends_it_upstream() {
    let app = TestApp::with_accounts(&["ada"]).await;
    app.gitlab.add_rule(Rule::always(Effect::Flood { deltas: 6_000, bytes: 16 * 1024 }).on(Call::Messages));
    let open = app.open("/v1/messages", &messages(SONNET, true)).await;
    drop(open);
    soon(app.gitlab.closed_early(1)).await;
    assert_unharmed(&app).await;
}

#[actix::test]
async fn a_client_that_leaves_while_a_grant_is_minted_does_not_end_the_mint() {
    let app = TestApp::with_accounts(&["ada"]).await;
    app.gitlab.revoke_grants(None).expect("all of them");
    app.gitlab.clear_requests();
    let slow = Effect::delay(Duration::from_millis(800), Duration::ZERO);
    app.gitlab.add_rule(Rule::always(slow).on(Call::ThirdPartyDirectAccess));
    let connection = app.post("/v1/messages", &messages(SONNET, true)).begin().await;
    let is_mint = |record: &duopool::simulator::Record| record.call == Call::ThirdPartyDirectAccess;
    soon(app.gitlab.arrived(is_mint)).await;
    drop(connection);
    let mint = soon(app.gitlab.arrived(|record| is_mint(record) && record.ending != Ending::Open)).await;
    assert_eq!((mint.status, mint.ending), (Some(201), Ending::Complete));
    let ada = app.account_when("ada", |account| account["grant_generation"] == 2).await;
    assert_eq!((&ada["health"], &ada["in_flight"]), (&json!("ready"), &json!(0)), "{ada}");
    assert_eq!(app.gitlab.gauges().closed_early, 0);
    assert_eq!(app.ask("/v1/messages", &messages(SONNET, true)).await.status, 200);
}

#[actix::test]
async fn an_account_that_is_removed_while_it_answers_ends_its_answer_and_gets_no_other_request() {
    let app = TestApp::start(&["ada"], |_| {}).await;
    let id = app.add("ada").await;
    app.gitlab.add_rule(Rule::always(Effect::delay(Duration::ZERO, Duration::from_millis(60))).on(Call::Messages));
    let mut open = app.post("/v1/messages", &messages(SONNET, true)).header("connection", "close").open().await;
    open.read_until("content_block_delta").await;
    let removed = app.admin("DELETE", &format!("/admin/v1/accounts/{id}")).send().await;
    assert_eq!(removed.status, 204, "{}", removed.text());
    assert!(!open.so_far().contains("message_stop"), "the stream ended before the account was removed");
    assert_eq!(app.ask("/v1/messages", &messages(SONNET, true)).await.status, 503);
    let answer = soon(open.rest()).await;
    assert!(answer.complete);
    assert!(answer.text().ends_with("data: {\"type\":\"message_stop\"}\n\n"), "{}", answer.text());
    assert_eq!(app.gitlab.requests_of(Call::Messages).len(), 1);
    assert_eq!(app.gitlab.gauges().closed_early, 0);
}
