//! What operators order: settings, on and off, a reset. No stream is lost by it.

use std::collections::BTreeMap;
use std::time::Duration;

use duopool::simulator::{Call, Credit, Effect, Rule};
use futures::future::join_all;
use serde_json::json;

use super::{asked, id_of, patch, reset, shared_blocks_when, still};
use crate::support::requests::{SONNET, messages};
use crate::support::{Open, TestApp};

/// Opens `count` streams that are under way for a second or more.
async fn open_streams(app: &TestApp, count: usize) -> Vec<Open> {
    app.gitlab.add_rule(Rule::always(Effect::delay(Duration::ZERO, Duration::from_millis(150))).on(Call::Messages));
    let body = messages(SONNET, true);
    let opening = (0..count).map(|_| async {
        let request = app.post("/v1/messages", &body).header("connection", "close");
        let mut open = request.open().await;
        open.read_until("content_block_delta").await;
        open
    });
    join_all(opening).await
}

async fn assert_all_end_well(app: &TestApp, streams: Vec<Open>) {
    for answer in join_all(streams.into_iter().map(Open::rest)).await {
        assert!(answer.complete);
        assert!(answer.text().ends_with("data: {\"type\":\"message_stop\"}\n\n"), "{}", answer.text());
    }
    assert_eq!(app.gitlab.gauges().closed_early, 0);
}

/// Asks in conversation `key`, and returns the id of the account that answered.
async fn serves(app: &TestApp, key: usize) -> String {
    let request =
        app.post("/v1/messages", &messages(SONNET, false)).header("x-claude-code-session-id", &format!("s-{key}"));
    let answer = request.send().await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.header("x-duopool-account").expect("an account").to_owned()
}

async fn homes(app: &TestApp) -> BTreeMap<usize, String> {
    let mut homes = BTreeMap::new();
    for key in 0..24 {
        homes.insert(key, serves(app, key).await);
    }
    homes
}

#[actix::test]
async fn a_change_of_settings_loses_no_stream_and_holds_from_the_answer_on() {
    let mut app = TestApp::with_accounts(&["ada", "grace"]).await;
    let streams = open_streams(&app, 20).await;
    let change = json!({ "label": "countess", "pool": "team", "priority": -3, "weight": 5, "max_concurrency": 3 });
    let told = patch(&app, "ada", &change).await;
    assert_eq!(told.status, 200, "{}", told.text());
    for (member, value) in change.as_object().expect("an object") {
        assert_eq!(told.json()[member], *value, "{member}");
    }
    // In another pool, it gets nothing new from a caller of the default one.
    let grace = id_of(&app, "grace").await;
    for key in 0..5 {
        assert_eq!(serves(&app, key).await, grace);
    }
    assert_all_end_well(&app, streams).await;
    app.restart(|_| {}).await;
    for (member, value) in change.as_object().expect("an object") {
        assert_eq!(app.account("countess").await[member], *value, "{member} after a restart");
    }
}

#[actix::test]
async fn an_account_that_is_disabled_finishes_its_streams_and_moves_only_its_own_conversations() {
    let app = TestApp::with_accounts(&["ada", "grace", "linus"]).await;
    let before = homes(&app).await;
    let streams = open_streams(&app, 20).await;
    let ada = id_of(&app, "ada").await;
    assert_eq!(patch(&app, "ada", &json!({ "enabled": false })).await.json()["health"], "disabled");
    app.gitlab.clear_rules();
    for (key, home) in homes(&app).await {
        assert_ne!(home, ada, "a disabled account was chosen");
        assert!(before[&key] == home || before[&key] == ada, "conversation {key} moved without need");
    }
    assert_all_end_well(&app, streams).await;
    assert_eq!(patch(&app, "ada", &json!({ "enabled": true })).await.json()["enabled"], true);
    assert_eq!(homes(&app).await, before, "everybody is at home again");
}

#[actix::test]
async fn an_account_that_is_removed_or_added_loses_no_stream_either() {
    let app = TestApp::start(&["ada", "grace", "linus"], |_| {}).await;
    app.add("ada").await;
    app.add("grace").await;
    let streams = open_streams(&app, 20).await;
    app.add("linus").await;
    let path = format!("/admin/v1/accounts/{}", id_of(&app, "ada").await);
    assert_eq!(app.admin("DELETE", &path).send().await.status, 204);
    assert_all_end_well(&app, streams).await;
}

#[actix::test]
async fn an_account_that_was_disabled_at_the_start_mints_when_it_is_enabled() {
    let mut app = TestApp::with_accounts(&["ada"]).await;
    patch(&app, "ada", &json!({ "enabled": false })).await;
    app.gitlab.revoke_grants(None).expect("all");
    app.restart(|_| {}).await;
    assert_eq!(app.ask("/v1/messages", &messages(SONNET, true)).await.status, 503);
    patch(&app, "ada", &json!({ "enabled": true })).await;
    assert_eq!(app.ask("/v1/messages", &messages(SONNET, true)).await.status, 200);
}

#[actix::test]
async fn another_gateway_gets_a_credential_of_its_own_and_null_goes_back() {
    let app = TestApp::with_accounts(&["ada"]).await;
    let here = app.gateway_url();
    let other = here.replace("127.0.0.1", "localhost");
    for (wanted, told) in [(json!(other), &other), (json!(null), &here)] {
        let before = app.account("ada").await["grant_generation"].as_u64();
        assert_eq!(patch(&app, "ada", &json!({ "gateway_url": wanted })).await.status, 200);
        assert_eq!(app.ask("/v1/messages", &messages(SONNET, true)).await.status, 200);
        let account = app.account("ada").await;
        assert_eq!(account["gateway_url"].as_str(), Some(told.as_str()));
        assert!(account["grant_generation"].as_u64() > before, "the credential of the other gateway was kept");
    }
}

#[actix::test]
async fn settings_that_are_not_as_they_should_be_change_nothing() {
    let app = TestApp::with_accounts(&["ada"]).await;
    let before = app.account("ada").await;
    for refused in [json!({ "weight": 0 }), json!({ "weight": 2, "colour": "red" }), json!({ "pool": null })] {
        let told = patch(&app, "ada", &refused).await;
        assert_eq!(told.status, 422, "{refused}: {}", told.text());
    }
    assert_eq!(app.account("ada").await, before);
    let nobody = app.admin("PATCH", "/admin/v1/accounts/acct_0").json(&json!({ "weight": 2 })).send().await;
    assert_eq!(nobody.status, 404);
}

#[actix::test]
async fn a_reset_lets_a_blocked_account_serve_at_once() {
    let (app, _) = still(&["ada"]).await;
    app.gitlab.set_credit("ada", Credit::Exhausted).expect("known");
    assert_eq!(app.ask("/v1/messages", &messages(SONNET, true)).await.status, 402);
    app.account_when("ada", |account| account["health"] == "degraded").await;
    app.gitlab.set_credit("ada", Credit::Available).expect("known");
    assert_eq!(app.ask("/v1/messages", &messages(SONNET, true)).await.status, 402, "it is still known to be empty");
    let report = reset(&app, "ada").await;
    assert_eq!(report["cleared"][0]["reason"], "quota_exhausted", "{report}");
    assert_eq!((&report["account"]["health"], &report["account"]["blocks"]), (&json!("ready"), &json!([])));
    assert_eq!(app.ask("/v1/messages", &messages(SONNET, true)).await.status, 200);
    assert_eq!(reset(&app, "ada").await["cleared"], json!([]));
}

#[actix::test]
async fn a_reset_clears_what_the_account_shares_and_is_not_undone_by_a_restart() {
    let (mut app, _) = still(&["ada"]).await;
    app.gitlab.change_account("ada", |standing| standing.proxies_enabled = false).expect("known");
    assert_ne!(app.ask("/v1/messages", &messages(SONNET, true)).await.status, 200);
    shared_blocks_when(&app, |blocks| blocks.len() == 1).await;
    app.gitlab.change_account("ada", |standing| standing.proxies_enabled = true).expect("known");
    let report = reset(&app, "ada").await;
    assert_eq!(report["cleared"][0]["scope"], "namespace", "{report}");
    app.restart(|_| {}).await;
    shared_blocks_when(&app, <[_]>::is_empty).await;
    let before = asked(&app);
    assert_eq!(app.ask("/v1/messages", &messages(SONNET, true)).await.status, 200);
    assert_eq!(asked(&app), before + 1);
}
