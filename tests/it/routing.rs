//! Which account serves, and what becomes of one that does not.

use std::time::Duration;

use duopool::simulator::{Call, Credit, Effect, Entitlement, Rule};
use futures::future::join_all;
use serde_json::{Value, json};

use crate::support::gateway::Closed;
use crate::support::requests::{GPT, HAIKU, SONNET, chat, messages, responses};
use crate::support::{Answer, TestApp};

/// What Anthropic says when it has too much to do.
fn overloaded() -> Effect {
    Effect::json(529, &json!({ "type": "error", "error": { "type": "overloaded_error", "message": "Overloaded" } }))
}

/// Starts with Ada, who is asked first whenever she can be, and Grace.
async fn ada_before_grace() -> TestApp {
    let app = TestApp::start(&["ada", "grace"], |_| {}).await;
    app.add_with("ada", &json!({ "priority": 1 })).await;
    app.add("grace").await;
    app
}

/// Asserts that `answer` is whole, and that the account labelled `name` gave it at the given attempt.
async fn assert_served(app: &TestApp, answer: &Answer, name: &str, attempts: &str) {
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert!(answer.complete);
    assert_eq!(answer.header("x-duopool-attempts"), Some(attempts));
    assert_eq!(answer.header("x-duopool-account"), app.account(name).await["id"].as_str());
    if answer.header("content-type").is_some_and(|kind| kind.starts_with("text/event-stream")) {
        assert_eq!(answer.text().matches("event: message_start").count(), 1, "{}", answer.text());
        assert_eq!(answer.text().matches("event: message_stop").count(), 1, "{}", answer.text());
        assert!(!answer.text().contains("event: error"), "{}", answer.text());
    } else {
        assert_eq!(answer.json()["role"], "assistant");
    }
}

/// Returns whether nothing at all is held against an account.
fn is_ready(account: &Value) -> bool {
    account["health"] == "ready" && account["trouble"].is_null() && account["blocked_models"] == json!({})
}

async fn assert_ready(app: &TestApp, name: &str) {
    let account = app.account(name).await;
    assert!(is_ready(&account), "{account}");
}

#[actix::test]
async fn requests_are_spread_over_the_accounts() {
    let app = TestApp::with_accounts(&["ada", "grace"]).await;
    app.gitlab.add_rule(Rule::always(Effect::Stall { after: 4 }).on(Call::Messages));
    let mut held = Vec::new();
    for _ in 0..4 {
        held.push(app.open("/v1/messages", &messages(SONNET, true)).await);
    }
    for name in ["ada", "grace"] {
        app.account_when(name, |account| account["in_flight"] == 2).await;
    }
    drop(held);
    app.at_rest().await;
}

#[actix::test]
async fn a_fault_that_another_account_could_cure_is_not_seen_and_blocks_nobody() {
    let app = ada_before_grace().await;
    let error = json!({ "type": "error", "error": { "type": "api_error", "message": "Internal server error" } });
    let html = |status| Effect::Answer {
        status,
        body: "<html>Bad gateway</html>".to_owned(),
        content_type: "text/html".to_owned(),
        headers: Vec::new(),
    };
    let faults = [
        overloaded(),
        Effect::json(500, &error),
        Effect::json(503, &error),
        Effect::json(429, &error),
        html(502),
        html(503),
        html(403),
        Effect::login_page(),
        Effect::garbage(),
        Effect::redirect(&format!("{}/elsewhere", app.gitlab_url)),
        Effect::Close,
        Effect::Cut { after: 0 },
        Effect::Cut { after: 1 },
        Effect::ErrorEvent { after: 0, event: None },
        Effect::ErrorEvent { after: 1, event: None },
    ];
    for fault in faults {
        for stream in [true, false] {
            app.gitlab.clear_rules();
            app.gitlab.add_rule(Rule::always(fault.clone()).on(Call::Messages).by("ada"));
            let answer = app.ask("/v1/messages", &messages(SONNET, stream)).await;
            assert_served(&app, &answer, "grace", "2").await;
            for name in ["ada", "grace"] {
                let account = app.account(name).await;
                assert!(is_ready(&account), "{fault:?}, streamed: {stream}: {account}");
            }
        }
    }
    // The grant went to the gateway alone, whatever a redirect said.
    assert!(app.gitlab.requests_of(Call::Other).is_empty());
    app.at_rest().await;
}

#[actix::test]
async fn a_whole_answer_that_is_cut_in_the_middle_comes_from_another_account() {
    let app = ada_before_grace().await;
    app.gitlab.add_rule(Rule::always(Effect::Cut { after: 40 }).on(Call::Messages).by("ada"));
    let answer = app.ask("/v1/messages", &messages(SONNET, false)).await;
    assert_served(&app, &answer, "grace", "2").await;
    assert_ready(&app, "ada").await;
}

#[actix::test]
async fn an_account_whose_gateway_refuses_connections_is_passed_over() {
    let closed = Closed::new();
    let app = TestApp::start(&["ada", "grace"], |_| {}).await;
    app.add_with("ada", &json!({ "priority": 1, "gateway_url": closed.url })).await;
    app.add("grace").await;
    for stream in [true, false] {
        let answer = app.ask("/v1/messages", &messages(SONNET, stream)).await;
        assert_served(&app, &answer, "grace", "2").await;
    }
    assert_ready(&app, "ada").await;
    app.at_rest().await;
}

#[actix::test]
async fn an_account_whose_grant_was_revoked_is_passed_over_and_comes_back_with_a_new_one() {
    let app = ada_before_grace().await;
    app.gitlab.revoke_grants(Some("ada")).expect("ada is known");
    let answer = app.ask("/v1/messages", &messages(SONNET, true)).await;
    assert_served(&app, &answer, "grace", "2").await;
    app.account_when("ada", |account| account["grant_generation"] == 2 && is_ready(account)).await;
    app.at_rest().await;
}

#[actix::test]
async fn an_account_without_credit_is_blocked_for_the_model_alone_and_with_two_models_as_a_whole() {
    let app = ada_before_grace().await;
    app.gitlab.set_model_credit("ada", SONNET, Credit::Exhausted).expect("ada is known");
    let answer = app.ask("/v1/messages", &messages(SONNET, true)).await;
    assert_served(&app, &answer, "grace", "2").await;
    let ada = app.account("ada").await;
    assert_eq!(ada["health"], "degraded");
    assert!(ada["trouble"].is_null());
    assert_eq!(ada["blocked_models"][SONNET]["reason"], "quota_exhausted");

    // From now on she is not asked for the model any more, and still for another one.
    first_try(&app, SONNET).await;
    let answer = app.ask("/v1/messages", &messages(HAIKU, true)).await;
    assert_served(&app, &answer, "ada", "1").await;

    app.gitlab.set_credit("ada", Credit::Exhausted).expect("ada is known");
    let answer = app.ask("/v1/messages", &messages(HAIKU, true)).await;
    assert_served(&app, &answer, "grace", "2").await;
    let ada = app.account("ada").await;
    assert_eq!((&ada["health"], &ada["trouble"]["reason"]), (&json!("blocked"), &json!("quota_exhausted")));
    app.at_rest().await;
}

/// Asks until the first account that is tried serves: what one request learnt reaches the others a moment later.
async fn first_try(app: &TestApp, model: &str) -> Answer {
    for _ in 0..200 {
        let answer = app.ask("/v1/messages", &messages(model, true)).await;
        if answer.header("x-duopool-attempts") == Some("1") {
            return answer;
        }
    }
    panic!("every request still tries an account that cannot serve it")
}

#[actix::test]
async fn a_refusal_for_want_of_entitlement_blocks_the_model_for_a_short_time() {
    let app = ada_before_grace().await;
    app.gitlab.set_model_credit("ada", SONNET, Credit::NotEntitled).expect("ada is known");
    let answer = app.ask("/v1/messages", &messages(SONNET, true)).await;
    assert_served(&app, &answer, "grace", "2").await;
    let ada = app.account("ada").await;
    assert!(ada["trouble"].is_null(), "{ada}");
    assert_eq!(ada["blocked_models"][SONNET]["reason"], "quota_unknown");
}

#[actix::test]
async fn an_account_that_the_proxies_are_closed_to_needs_a_person() {
    let app = ada_before_grace().await;
    app.gitlab.change_account("ada", |standing| standing.proxies_enabled = false).expect("ada is known");
    let answer = app.ask("/v1/messages", &messages(SONNET, true)).await;
    assert_served(&app, &answer, "grace", "2").await;
    let ada = app.account("ada").await;
    assert_eq!((&ada["health"], &ada["trouble"]["reason"]), (&json!("needs_attention"), &json!("proxy_not_enabled")));
}

#[actix::test]
async fn a_request_that_is_at_fault_itself_is_tried_once_and_blocks_nobody() {
    let app = ada_before_grace().await;
    let mut wrong = messages(SONNET, true);
    wrong.as_object_mut().expect("an object").remove("max_tokens");
    let answer = app.ask("/v1/messages", &wrong).await;
    assert_eq!(answer.status, 400);
    assert_eq!(answer.json()["error"]["type"], "invalid_request_error");
    assert!(answer.text().contains("max_tokens"), "{}", answer.text());
    assert_eq!(app.gitlab.requests_of(Call::Messages).len(), 1);
    assert_ready(&app, "ada").await;
    app.at_rest().await;
}

#[actix::test]
async fn a_conversation_that_is_too_long_is_tried_once_and_told_in_each_dialects_words() {
    let app = ada_before_grace().await;
    let claude = json!({ "type": "error", "error": { "type": "invalid_request_error", "message": "prompt is too long: 210000 tokens > 200000 maximum" } });
    let gpt = json!({ "error": { "message": "Your input exceeds the context window of this model.",
        "type": "invalid_request_error", "param": "input", "code": "context_length_exceeded" } });
    app.gitlab.add_rule(Rule::always(Effect::json(400, &claude)).on(Call::Messages));
    app.gitlab.add_rule(Rule::always(Effect::json(400, &gpt)).on(Call::Responses));
    for (path, body, words) in [
        ("/v1/messages", messages(SONNET, true), "prompt is too long"),
        ("/v1/chat/completions", chat(SONNET, true), "context_length_exceeded"),
        ("/v1/responses", responses(GPT, true), "context_length_exceeded"),
    ] {
        app.gitlab.clear_requests();
        let answer = app.ask(path, &body).await;
        assert_eq!(answer.status, 400, "{path}");
        assert!(answer.text().contains(words), "{path}: {}", answer.text());
        let calls = app.gitlab.requests_of(Call::Messages).len() + app.gitlab.requests_of(Call::Responses).len();
        assert_eq!(calls, 1, "{path}");
    }
    assert_ready(&app, "ada").await;
    assert_ready(&app, "grace").await;
    app.at_rest().await;
}

#[actix::test]
async fn a_single_account_whose_grant_was_revoked_serves_the_same_request_under_a_new_one() {
    let app = TestApp::with_accounts(&["ada"]).await;
    for round in 2..=8 {
        app.gitlab.revoke_grants(None).expect("all of them");
        app.gitlab.clear_requests();
        let answer = app.ask("/v1/messages", &messages(SONNET, round % 2 == 0)).await;
        assert_served(&app, &answer, "ada", "2").await;
        let statuses: Vec<_> = app.gitlab.requests_of(Call::Messages).iter().map(|record| record.status).collect();
        assert_eq!(statuses, [Some(401), Some(200)], "round {round}");
        assert_eq!(app.gitlab.requests_of(Call::ThirdPartyDirectAccess).len(), 1, "round {round}");
        assert_eq!(app.account("ada").await["grant_generation"], round);
    }
    app.at_rest().await;
}

#[actix::test]
async fn a_gateway_that_refuses_every_grant_is_asked_twice_and_no_more() {
    let app = TestApp::with_accounts(&["ada"]).await;
    app.gitlab.add_rule(Rule::always(Effect::json(401, &json!({ "error": "Forbidden" }))).on(Call::Messages));
    let answer = app.ask("/v1/messages", &messages(SONNET, true)).await;
    assert_eq!(answer.status, 503, "{}", answer.text());
    assert!(answer.header("retry-after").is_some());
    assert_eq!(app.gitlab.requests_of(Call::Messages).len(), 2);
    app.account_when("ada", |account| account["trouble"]["reason"] == "grant_refused").await;
    app.at_rest().await;
}

#[actix::test]
async fn without_any_credit_the_client_hears_so_in_its_dialect_and_when_to_come_back() {
    let app = TestApp::with_accounts(&["ada", "grace"]).await;
    for name in ["ada", "grace"] {
        app.gitlab.set_credit(name, Credit::Exhausted).expect("known");
    }
    let (short, long) = (65 * 60, 72 * 60);
    // Twice: the first request finds out, the second one knows.
    for _ in 0..2 {
        for (path, body, kind) in [
            ("/v1/messages", messages(SONNET, true), "billing_error"),
            ("/v1/messages", messages(SONNET, false), "billing_error"),
            ("/v1/chat/completions", chat(SONNET, true), "insufficient_quota"),
            ("/v1/chat/completions", chat(GPT, true), "insufficient_quota"),
            ("/v1/responses", responses(GPT, true), "insufficient_quota"),
        ] {
            let answer = app.ask(path, &body).await;
            assert_eq!(answer.status, 402, "{path}: {}", answer.text());
            assert_eq!(answer.json()["error"]["type"], kind, "{path}");
            let wait: u64 = answer.header("retry-after").and_then(|text| text.parse().ok()).expect("a time to wait");
            assert!((short - 60..=long).contains(&wait), "{path}: {wait}");
        }
    }
    app.at_rest().await;
}

#[actix::test]
async fn without_any_live_account_the_client_hears_503() {
    let app = TestApp::with_accounts(&["ada", "grace"]).await;
    for name in ["ada", "grace"] {
        let dead =
            |standing: &mut duopool::simulator::Standing| standing.entitlement = Entitlement::TokenCreationFailed;
        app.gitlab.change_account(name, dead).expect("known");
    }
    app.gitlab.revoke_grants(None).expect("all of them");
    let answer = app.ask("/v1/messages", &messages(SONNET, true)).await;
    assert_eq!(answer.status, 503, "{}", answer.text());
    assert_eq!(answer.json()["error"]["type"], "overloaded_error");
    assert!(answer.header("retry-after").is_some());
    for name in ["ada", "grace"] {
        app.account_when(name, |account| account["health"] == "blocked").await;
    }
    app.at_rest().await;
}

#[actix::test]
async fn an_empty_pool_answers_503_in_every_dialect() {
    let app = TestApp::start(&[], |_| {}).await;
    for (path, body) in [
        ("/v1/messages", messages(SONNET, true)),
        ("/v1/chat/completions", chat(SONNET, false)),
        ("/v1/responses", responses(GPT, true)),
    ] {
        let answer = app.ask(path, &body).await;
        assert_eq!(answer.status, 503, "{path}");
        assert!(answer.text().contains("duopool login"), "{}", answer.text());
    }
}

#[actix::test]
async fn attempts_that_may_be_billed_are_bounded_and_refusals_are_not_counted_among_them() {
    let names = ["ada", "grace", "linus", "edsger", "barbara"];
    let app = TestApp::with_accounts(&names).await;
    for (fault, status) in [(overloaded(), 529), (Effect::Cut { after: 1 }, 502)] {
        app.gitlab.clear_requests();
        app.gitlab.clear_rules();
        app.gitlab.add_rule(Rule::always(fault.clone()).on(Call::Messages));
        let answer = app.ask("/v1/messages", &messages(SONNET, true)).await;
        assert_eq!(answer.status, status, "{}", answer.text());
        assert_eq!(app.gitlab.requests_of(Call::Messages).len(), 3, "{fault:?}");
    }
    app.gitlab.clear_rules();
    for name in &names[..4] {
        app.gitlab.set_credit(name, Credit::Exhausted).expect("known");
    }
    let answer = app.ask("/v1/messages", &messages(SONNET, true)).await;
    assert_eq!(answer.header("x-duopool-account"), app.account("barbara").await["id"].as_str(), "{}", answer.text());
    app.at_rest().await;
}

#[actix::test]
async fn after_content_nothing_is_tried_again() {
    let app = ada_before_grace().await;
    app.gitlab.add_rule(Rule::always(Effect::Cut { after: 5 }).on(Call::Messages).by("ada"));
    let answer = app.ask("/v1/messages", &messages(SONNET, true)).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.events().last().and_then(|event| event.name.clone()).as_deref(), Some("error"));
    assert_eq!(app.gitlab.requests_of(Call::Messages).len(), 1);
    assert_ready(&app, "ada").await;
    app.at_rest().await;
}

#[actix::test]
async fn with_three_of_four_accounts_empty_every_request_succeeds() {
    let names = ["ada", "grace", "linus", "edsger"];
    let app = TestApp::start(&names, |_| {}).await;
    for name in names {
        app.add_with(name, &json!({ "max_concurrency": 100 })).await;
    }
    for name in &names[..3] {
        app.gitlab.set_credit(name, Credit::Exhausted).expect("known");
    }
    let body = messages(SONNET, true);
    let answers = join_all((0..50).map(|_| app.ask("/v1/messages", &body))).await;
    for answer in answers {
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_eq!(answer.events().last().and_then(|event| event.name.clone()).as_deref(), Some("message_stop"));
    }
    app.at_rest().await;
}

#[actix::test]
async fn a_model_that_the_gateway_does_not_support_is_learnt() {
    let app = ada_before_grace().await;
    let body = messages("claude-imaginary-1", true);
    let answer = app.ask("/v1/messages", &body).await;
    assert_eq!(answer.status, 404, "{}", answer.text());
    assert_eq!(answer.json()["error"]["type"], "not_found_error");
    // Known everywhere a moment later: then the gateway is not asked.
    let mut asked = app.gitlab.requests_of(Call::Messages).len();
    assert!(asked <= 2, "the gateway, not each account, is what does not support it: {asked}");
    for _ in 0..200 {
        assert_eq!(app.ask("/v1/messages", &body).await.status, 404);
        let before = std::mem::replace(&mut asked, app.gitlab.requests_of(Call::Messages).len());
        if before == asked {
            return assert_ready(&app, "ada").await;
        }
    }
    panic!("the gateway is asked about an unsupported model again and again");
}

#[actix::test]
async fn for_a_model_that_is_too_new_for_the_gateway_the_newest_of_its_family_serves_and_says_so() {
    let app = TestApp::with_accounts(&["ada"]).await;
    let answer = app.ask("/v1/messages", &messages("claude-fable-5-1", true)).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.header("x-duopool-model"), Some("claude-fable-5"));
}

#[actix::test]
async fn an_account_at_its_limit_is_passed_over_and_with_all_at_theirs_and_no_queue_the_client_hears_429() {
    let app = TestApp::start(&["ada", "grace"], |layer| layer.queue_max = Some(0)).await;
    app.add_with("ada", &json!({ "priority": 1, "max_concurrency": 1 })).await;
    app.add_with("grace", &json!({ "max_concurrency": 1 })).await;
    let body = messages(SONNET, true);
    app.gitlab.add_rule(Rule::always(Effect::Stall { after: 4 }).on(Call::Messages).times(2));
    let first = app.open("/v1/messages", &body).await;
    let second = app.open("/v1/messages", &body).await;
    assert_eq!(first.header("x-duopool-account"), app.account("ada").await["id"].as_str());
    assert_eq!(second.header("x-duopool-account"), app.account("grace").await["id"].as_str());
    assert_eq!(second.header("x-duopool-attempts"), Some("1"));
    let third = app.ask("/v1/messages", &body).await;
    assert_eq!(third.status, 429, "{}", third.text());
    assert_eq!(third.json()["error"]["type"], "rate_limit_error");
    assert!(third.header("retry-after").is_some());
    drop(first);
    app.account_when("ada", |account| account["in_flight"] == 0).await;
    assert_served(&app, &app.ask("/v1/messages", &body).await, "ada", "1").await;
    drop(second);
    app.at_rest().await;
}

#[actix::test]
async fn a_gateway_that_never_answers_costs_the_head_timeout_and_is_not_asked_twice() {
    let app = TestApp::start(&["ada", "grace"], |layer| layer.head_timeout_stream_s = Some(1)).await;
    app.add("ada").await;
    app.add("grace").await;
    app.gitlab.add_rule(Rule::always(Effect::Hang).on(Call::Messages));
    let body = messages(SONNET, true);
    let asking = app.ask("/v1/messages", &body);
    let answer = tokio::time::timeout(Duration::from_secs(20), asking).await.expect("an answer");
    assert_eq!(answer.status, 504, "{}", answer.text());
    // It may have been worked on, and billed.
    assert_eq!(app.gitlab.requests_of(Call::Messages).len(), 1);
    assert_ready(&app, "ada").await;
    app.at_rest().await;
}
