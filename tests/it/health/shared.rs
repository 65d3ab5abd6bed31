//! What accounts depend on together: believed as far as it is proved, for no longer than it must be.

use std::time::Duration;

use duopool::simulator::{Call, Credit, Effect, Rule};
use serde_json::json;

use super::{asked, join_one_namespace, patch, shared_blocks, shared_blocks_when, still};
use crate::support::TestApp;
use crate::support::requests::{HAIKU, SONNET, messages};

fn provider_says(status: u16, kind: &str, headers: &[(&str, &str)]) -> Effect {
    Effect::Answer {
        status,
        body: json!({ "type": "error", "error": { "type": kind, "message": "Slow down" } }).to_string(),
        content_type: "application/json".to_owned(),
        headers: headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
    }
}

#[actix::test]
async fn a_providers_limit_blocks_that_model_alone_and_for_half_a_minute_at_most() {
    let (app, clock) = still(&["ada", "grace"]).await;
    let limit = provider_says(429, "rate_limit_error", &[("retry-after", "3600")]);
    app.gitlab.add_rule(Rule::always(limit).on(Call::Messages).for_model(SONNET));
    let answer = app.ask("/v1/messages", &messages(SONNET, true)).await;
    assert_eq!(answer.status, 429, "{}", answer.text());
    let blocks = shared_blocks_when(&app, |blocks| !blocks.is_empty()).await;
    assert_eq!(blocks.len(), 1, "{blocks:?}");
    let block = &blocks[0];
    assert_eq!((&block["scope"], &block["source"]), (&json!("provider"), &json!("provider")));
    assert!(block["subject"].as_str().is_some_and(|subject| subject.starts_with(SONNET)), "{block}");
    assert!(block["until"].as_str() <= Some("2026-11-22T00:00:30Z"), "{block}");
    // No account is to blame, another model serves, and the provider is left alone.
    for name in ["ada", "grace"] {
        let account = app.account(name).await;
        assert_eq!((&account["health"], &account["blocked_models"]), (&json!("ready"), &json!({})), "{account}");
        assert_eq!(account["blocks"][0]["scope"], "provider");
    }
    let before = asked(&app);
    let answer = app.ask("/v1/messages", &messages(SONNET, true)).await;
    assert_eq!((answer.status, asked(&app)), (429, before), "{}", answer.text());
    assert!(answer.header("retry-after").and_then(|wait| wait.parse::<u64>().ok()).is_some_and(|wait| wait <= 30));
    assert_eq!(app.ask("/v1/messages", &messages(HAIKU, true)).await.status, 200);

    app.gitlab.clear_rules();
    clock.advance(Duration::from_secs(31));
    assert_eq!(app.ask("/v1/messages", &messages(SONNET, true)).await.status, 200);
    shared_blocks_when(&app, <[_]>::is_empty).await;
}

#[actix::test]
async fn a_pause_of_a_moment_is_waited_for_and_no_client_hears_of_it() {
    let app = TestApp::with_accounts(&["ada"]).await;
    app.gitlab.add_rule(Rule::always(provider_says(529, "overloaded_error", &[])).on(Call::Messages).times(1));
    let body = messages(SONNET, true);
    assert_eq!(app.ask("/v1/messages", &body).await.status, 529);
    shared_blocks_when(&app, |blocks| !blocks.is_empty()).await;
    let answers = futures::future::join_all((0..10).map(|_| app.ask("/v1/messages", &body))).await;
    for answer in answers {
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
    shared_blocks_when(&app, <[_]>::is_empty).await;
    app.at_rest().await;
}

#[actix::test]
async fn a_blip_of_the_gateway_costs_a_single_account_one_request_and_nothing_more() {
    let app = TestApp::with_accounts(&["ada"]).await;
    let body = messages(SONNET, true);
    let broken = Effect::json(502, &json!({ "detail": "Bad Gateway" }));
    for _ in 0..3 {
        app.gitlab.add_rule(Rule::always(broken.clone()).on(Call::Messages).times(1));
        assert_eq!(app.ask("/v1/messages", &body).await.status, 502);
        // The next one goes through at once, and its success ends the row.
        assert_eq!(app.ask("/v1/messages", &body).await.status, 200);
        assert_eq!(shared_blocks(&app).await.len(), 0);
    }
}

#[actix::test]
async fn a_gateway_that_two_accounts_cannot_reach_is_left_alone_and_comes_back_by_itself() {
    let app = TestApp::with_accounts(&["ada", "grace"]).await;
    app.gitlab.add_rule(Rule::always(Effect::CloseUnprocessed).on(Call::Messages));
    let body = messages(SONNET, true);
    assert_eq!(app.ask("/v1/messages", &body).await.status, 502);
    let blocks = shared_blocks_when(&app, |blocks| !blocks.is_empty()).await;
    assert_eq!((&blocks[0]["scope"], &blocks[0]["source"]), (&json!("gateway"), &json!("here")));
    assert_eq!(blocks[0]["reason"], "gateway_unreachable");
    let ada = app.account("ada").await;
    assert!(ada["health"] == "ready" || ada["trouble"]["scope"] == "gateway", "{ada}");

    app.gitlab.clear_rules();
    let answer = app.ask("/v1/messages", &body).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    shared_blocks_when(&app, <[_]>::is_empty).await;
    app.account_when("ada", |account| account["health"] == "ready").await;
}

#[actix::test]
async fn a_namespace_that_is_shut_out_is_known_to_all_its_accounts_also_after_a_restart() {
    let (mut app, _) = still(&["ada"]).await;
    join_one_namespace(&app, &["linus", "edsger"]).await;
    for name in ["linus", "edsger"] {
        app.gitlab.change_account(name, |standing| standing.proxies_enabled = false).expect("known");
    }
    app.gitlab.set_credit("ada", Credit::Exhausted).expect("known");
    // Ada has no credit: somebody of the namespace is asked.
    while shared_blocks(&app).await.is_empty() {
        app.ask("/v1/messages", &messages(SONNET, true)).await;
    }
    for _ in 0..2 {
        for name in ["linus", "edsger"] {
            let account = app.account_when(name, |account| account["health"] == "needs_attention").await;
            let trouble = &account["trouble"];
            assert_eq!((&trouble["scope"], &trouble["reason"]), (&json!("namespace"), &json!("proxy_not_enabled")));
        }
        let before = asked(&app);
        let answer = app.ask("/v1/messages", &messages(SONNET, true)).await;
        assert_ne!(answer.status, 200);
        assert_eq!(asked(&app), before, "an account of the namespace was tried nevertheless");
        app.restart(|_| {}).await;
    }
}

#[actix::test]
async fn a_block_outlives_a_restart_and_ends_when_it_would_have() {
    let (mut app, clock) = still(&["ada"]).await;
    app.gitlab.set_model_credit("ada", SONNET, Credit::Exhausted).expect("known");
    assert_eq!(app.ask("/v1/messages", &messages(SONNET, true)).await.status, 402);
    let before = app.account_when("ada", |account| !account["blocked_models"][SONNET].is_null()).await;
    let (block, mints) =
        (before["blocked_models"][SONNET].clone(), app.gitlab.requests_of(Call::ThirdPartyDirectAccess));
    clock.advance(Duration::from_mins(20));
    app.restart(|_| {}).await;
    let after = app.account("ada").await;
    assert_eq!(after["blocked_models"][SONNET], block);
    let calls = asked(&app);
    assert_eq!(app.ask("/v1/messages", &messages(SONNET, true)).await.status, 402);
    assert_eq!(asked(&app), calls, "the account was tried although it was known to be empty");
    assert_eq!(app.gitlab.requests_of(Call::ThirdPartyDirectAccess).len(), mints.len());
}

#[actix::test]
async fn credit_that_is_there_again_is_found_by_counting_tokens_before_a_request_tries() {
    let (app, clock) = still(&["ada"]).await;
    app.gitlab.set_model_credit("ada", SONNET, Credit::Exhausted).expect("known");
    assert_eq!(app.ask("/v1/messages", &messages(SONNET, true)).await.status, 402);
    app.account_when("ada", |account| !account["blocked_models"][SONNET].is_null()).await;
    // Still without: the block begins anew, and no request to the model was sent.
    clock.advance(Duration::from_mins(73));
    let blocked =
        |attempts: u64| move |account: &serde_json::Value| account["blocked_models"][SONNET]["attempts"] == attempts;
    app.account_when("ada", blocked(2)).await;
    assert_eq!((asked(&app), app.gitlab.requests_of(Call::CountTokens).len()), (1, 1));
    app.gitlab.set_model_credit("ada", SONNET, Credit::Available).expect("known");
    clock.advance(Duration::from_mins(73));
    app.account_when("ada", |account| account["blocked_models"] == json!({})).await;
    assert_eq!(asked(&app), 1);
    assert_eq!(app.ask("/v1/messages", &messages(SONNET, true)).await.status, 200);
}

#[actix::test]
async fn an_account_that_may_draw_on_credits_that_ran_out_is_chosen_last_until_it_succeeds() {
    let app = TestApp::start(&["ada"], |_| {}).await;
    app.add("ada").await;
    join_one_namespace(&app, &["linus", "edsger"]).await;
    patch(&app, "linus", &json!({ "priority": 2 })).await;
    patch(&app, "edsger", &json!({ "priority": 1 })).await;
    let served_by = |name: &'static str| {
        let app = &app;
        async move {
            let answer = app.ask("/v1/messages", &messages(SONNET, true)).await;
            assert_eq!(answer.status, 200, "{}", answer.text());
            assert_eq!(answer.header("x-duopool-account"), app.account(name).await["id"].as_str(), "{name}");
        }
    };
    app.gitlab.set_credit("linus", Credit::Exhausted).expect("known");
    // Ada steps in, not Edsger, whose success would be the answer.
    patch(&app, "edsger", &json!({ "enabled": false })).await;
    served_by("ada").await;
    patch(&app, "edsger", &json!({ "enabled": true })).await;
    app.account_when("edsger", |account| account["hinted"] == true).await;
    assert_eq!(app.account("edsger").await["health"], "ready");
    assert_eq!(app.account("ada").await["hinted"], false);
    served_by("ada").await;
    // A hint hides nobody, and the account's own success ends it.
    patch(&app, "ada", &json!({ "enabled": false })).await;
    served_by("edsger").await;
    app.account_when("edsger", |account| account["hinted"] == false).await;
    patch(&app, "ada", &json!({ "enabled": true })).await;
    served_by("edsger").await;
    app.at_rest().await;
}
