//! What lasts: accounts and grants over a restart, grants over their renewal, and what discovery found.

use std::sync::Arc;
use std::time::Duration;

use duopool::domain::secret::Secret;
use duopool::domain::time::{TestClock, Timestamp};
use duopool::simulator::{Call, ChatModel, Credit, Deployment, Effect, Entitlement, Record, Rule};
use futures::future::join_all;
use serde_json::{Value, json};

use crate::support::requests::{HAIKU, SONNET, messages};
use crate::support::{Answer, TestApp};

/// 2026-11-22 00:00 UTC.
const START: Timestamp = Timestamp::from_secs(1_795_305_600);
/// Past every grant's renewal and before its end: grants live an hour and are renewed 5 to 10 minutes before.
const UNTIL_RENEWAL: Duration = Duration::from_mins(56);

/// Starts at a time that moves only when the test says so.
async fn standing_still(names: &[&str]) -> (TestApp, TestClock) {
    let clock = TestClock::at(START);
    let app = TestApp::start_at(names, Arc::new(clock.clone()), |_| {}).await;
    for name in names {
        app.add(name).await;
    }
    (app, clock)
}

async fn ask(app: &TestApp) -> Answer {
    app.ask("/v1/messages", &messages(SONNET, true)).await
}

async fn assert_serves(app: &TestApp) {
    let answer = ask(app).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert!(answer.text().ends_with("data: {\"type\":\"message_stop\"}\n\n"), "{}", answer.text());
}

fn mints(app: &TestApp) -> Vec<Record> {
    app.gitlab.requests_of(Call::ThirdPartyDirectAccess)
}

fn has_trouble(reason: &'static str) -> impl Fn(&Value) -> bool {
    move |account| account["trouble"]["reason"] == reason
}

/// Asks for a new grant by hand, and returns the reply.
async fn refresh(app: &TestApp, name: &str) -> Answer {
    let id = app.account(name).await["id"].as_str().expect("an id").to_owned();
    app.admin("POST", &format!("/admin/v1/accounts/{id}/refresh")).json(&json!({})).send().await
}

#[actix::test]
async fn accounts_outlive_a_restart_and_serve_under_the_grant_they_had() {
    let mut app = TestApp::with_accounts(&["ada", "grace"]).await;
    let before = [app.account("ada").await, app.account("grace").await];
    for _ in 0..3 {
        app.restart(|_| {}).await;
        assert_serves(&app).await;
        for (name, before) in ["ada", "grace"].into_iter().zip(&before) {
            let account = app.account(name).await;
            for member in ["id", "label", "username", "grant_expires_at", "grant_generation", "credit_group"] {
                assert_eq!(account[member], before[member], "{member}");
            }
        }
    }
    assert_eq!(mints(&app).len(), 2);
    // No login either: the tokens were looked at once each.
    assert_eq!(app.gitlab.requests_of(Call::TokenSelf).len(), 2);
}

#[actix::test]
async fn a_stored_grant_that_has_ended_costs_one_mint() {
    let (mut app, clock) = standing_still(&["ada"]).await;
    app.stop().await;
    clock.advance(Duration::from_secs(3_700));
    app.restart(|_| {}).await;
    join_all((0..10).map(|_| assert_serves(&app))).await;
    assert_eq!(mints(&app).len(), 2);
    assert_eq!(app.account("ada").await["grant_generation"], 2);
}

#[actix::test]
async fn a_wrong_master_key_refuses_the_start_and_changes_nothing() {
    let mut app = TestApp::with_accounts(&["ada"]).await;
    let wrong = app.refused_restart(|layer| layer.master_key = Some(Secret::new("5".repeat(64)))).await;
    assert!(wrong.to_string().contains("the master key does not fit this data folder"), "{wrong}");
    let no_key = app.refused_restart(|layer| layer.master_key = Some(Secret::new("short".to_owned()))).await;
    assert!(no_key.to_string().contains("master key must be 32 bytes"), "{no_key}");
    assert!(!no_key.to_string().contains("short"));
    app.restart(|_| {}).await;
    assert_serves(&app).await;
    assert_eq!(mints(&app).len(), 1);
}

#[actix::test]
async fn an_account_whose_token_was_revoked_serves_until_its_grant_is_refused_and_then_says_why() {
    let mut app = TestApp::with_accounts(&["ada"]).await;
    app.gitlab.change_account("ada", |standing| standing.token.revoked = true).expect("ada is known");
    app.restart(|_| {}).await;
    assert_serves(&app).await;
    assert_eq!(mints(&app).len(), 1);
    app.gitlab.revoke_grants(None).expect("all of them");
    let answer = ask(&app).await;
    assert_eq!(answer.status, 503, "{}", answer.text());
    assert!(answer.header("retry-after").is_some());
    // The refused grant blocks for seconds; what stays is what a person has to mend.
    let ada = app.account_when("ada", has_trouble("token_revoked")).await;
    assert_eq!(ada["health"], "needs_attention");
    assert!(!ada["trouble"]["fix"].as_str().unwrap_or_default().is_empty());
    assert_eq!(ask(&app).await.status, 503);
    assert_eq!(mints(&app).len(), 2);
}

#[actix::test]
async fn models_are_listed_at_the_start_and_on_refresh_and_a_failure_keeps_the_last_list() {
    let mut app = TestApp::start(&["ada"], |_| {}).await;
    let offer = |pinned: Option<&str>, default: &str, selectable: &[&str]| {
        let model = |reference: &str| ChatModel::new(reference, reference);
        let change = |standing: &mut duopool::simulator::Standing| {
            standing.models.pinned = pinned.map(model);
            standing.models.default = Some(model(default));
            standing.models.selectable = selectable.iter().map(|reference| model(reference)).collect();
        };
        app.gitlab.change_account("ada", change).expect("ada is known");
    };
    offer(None, "claude_haiku_4_5_20251001", &["claude_haiku_4_5_20251001", "gpt_5_6_sol", "claude_unheard_of_vertex"]);
    app.add("ada").await;
    let ada = app.account_when("ada", |account| account["models"].as_array().is_some_and(|all| !all.is_empty())).await;
    assert_eq!(ada["models"], json!([HAIKU, "gpt-5.6-sol"]));
    assert_eq!(ada["unroutable_models"], json!(["claude_unheard_of_vertex"]));
    assert_eq!(ada["current_model"], HAIKU);
    let answer = app.ask("/v1/messages", &messages("gitlab-duo", true)).await;
    assert_eq!(answer.header("x-duopool-model"), Some(HAIKU), "{}", answer.text());

    // What an administrator pins comes before the default.
    offer(Some("claude_sonnet_5"), "claude_haiku_4_5_20251001", &["gpt_5_6_sol"]);
    let refreshed = refresh(&app, "ada").await;
    assert_eq!(refreshed.status, 200, "{}", refreshed.text());
    assert_eq!(refreshed.json()["current_model"], "claude-sonnet-5");
    let models = json!(["claude-sonnet-5", HAIKU, "gpt-5.6-sol"]);
    assert_eq!(refreshed.json()["models"], models);

    for fault in [Effect::json(500, &json!({})), Effect::login_page(), Effect::garbage(), Effect::Close] {
        app.gitlab.clear_rules();
        app.gitlab.add_rule(Rule::always(fault.clone()).on(Call::GraphQl));
        let refreshed = refresh(&app, "ada").await;
        assert_eq!(refreshed.status, 200, "{fault:?}: {}", refreshed.text());
        assert_eq!(refreshed.json()["models"], models, "{fault:?}");
        assert_eq!(refreshed.json()["health"], "ready", "{fault:?}");
    }
    app.gitlab.clear_rules();
    app.restart(|_| {}).await;
    app.account_when("ada", |account| account["models"] == models).await;
}

#[actix::test]
async fn grants_are_renewed_before_their_end_one_at_a_time_while_requests_go_on() {
    let (app, clock) = standing_still(&["ada"]).await;
    let slow = Effect::delay(Duration::from_millis(300), Duration::ZERO);
    app.gitlab.add_rule(Rule::always(slow).on(Call::ThirdPartyDirectAccess));
    // So that the simulator's log, which is bounded, holds all of them.
    let steady = Effect::delay(Duration::from_millis(50), Duration::ZERO);
    app.gitlab.add_rule(Rule::always(steady).on(Call::Messages));
    for generation in 2..=4 {
        clock.advance(UNTIL_RENEWAL);
        // The old grant serves until the new one is there.
        while app.account("ada").await["grant_generation"] != generation {
            join_all((0..4).map(|_| assert_serves(&app))).await;
        }
        assert_eq!(mints(&app).len(), generation);
    }
    assert_serves(&app).await;
    let under: Vec<_> = app.gitlab.requests_of(Call::Messages).iter().map(|record| record.grant).collect();
    assert!(under.is_sorted(), "an older grant was used after a newer one: {under:?}");
    assert!(app.gitlab.requests_of(Call::Messages).iter().all(|record| record.status == Some(200)));
}

#[actix::test]
async fn requests_that_meet_an_ended_grant_wait_for_one_mint_together() {
    let (app, clock) = standing_still(&["ada"]).await;
    let slow = Effect::delay(Duration::from_millis(300), Duration::ZERO);
    app.gitlab.add_rule(Rule::always(slow).on(Call::ThirdPartyDirectAccess));
    for sleep in 1..=3 {
        // A laptop that slept for two hours.
        clock.advance(Duration::from_hours(2));
        join_all((0..12).map(|_| assert_serves(&app))).await;
        assert_eq!(mints(&app).len(), 1 + sleep);
    }
    assert!(app.gitlab.requests_of(Call::Messages).iter().all(|record| record.status == Some(200)));
}

#[actix::test]
async fn a_valid_grant_serves_while_minting_is_refused_and_its_end_is_told_clearly() {
    let (app, clock) = standing_still(&["ada"]).await;
    let refuse = |standing: &mut duopool::simulator::Standing| standing.entitlement = Entitlement::MissingNamespace;
    app.gitlab.change_account("ada", refuse).expect("ada is known");
    clock.advance(UNTIL_RENEWAL);
    let ada = app.account_when("ada", has_trouble("namespace_missing")).await;
    assert_eq!(ada["health"], "degraded");
    assert_serves(&app).await;
    clock.advance(Duration::from_mins(10));
    let answer = ask(&app).await;
    assert_eq!(answer.status, 503, "{}", answer.text());
    assert_eq!(app.account("ada").await["health"], "needs_attention");
    // Once it is mended, the account comes back by itself.
    app.gitlab.change_account("ada", |standing| standing.entitlement = Entitlement::Entitled).expect("ada is known");
    clock.advance(Duration::from_mins(20));
    assert_serves(&app).await;
    app.account_when("ada", |account| account["health"] == "ready").await;
}

#[actix::test]
async fn a_gitlab_that_answers_nonsense_leaves_a_clear_state_and_the_grant_in_use() {
    let app = TestApp::with_accounts(&["ada"]).await;
    let nonsense = [
        (Effect::login_page(), "instance_unexpected"),
        (Effect::garbage(), "instance_unexpected"),
        (Effect::json(200, &json!({ "token": "", "expires_at": 1 })), "instance_unexpected"),
        (
            Effect::json(201, &json!({ "token": "t", "expires_at": 99, "headers": { "a b": "c" } })),
            "instance_unexpected",
        ),
        (Effect::Close, "instance_unexpected"),
        (Effect::Cut { after: 30 }, "instance_unexpected"),
        (Effect::redirect("http://127.0.0.1:1/elsewhere"), "instance_unexpected"),
        (Effect::json(500, &json!({ "message": "500 Internal Server Error" })), "instance_error"),
        (Effect::json(401, &json!({ "message": "401 Unauthorized" })), "token_invalid"),
        (Effect::json(403, &json!({ "message": "403 Forbidden" })), "not_entitled"),
    ];
    for (effect, reason) in nonsense {
        app.gitlab.clear_rules();
        app.gitlab.add_rule(Rule::always(effect.clone()).on(Call::ThirdPartyDirectAccess));
        let refreshed = refresh(&app, "ada").await;
        assert!(matches!(refreshed.status, 422 | 502), "{effect:?}: {}", refreshed.text());
        // More than GitLab's own limit of mints is never asked for, whatever goes wrong.
        if refreshed.json()["reason"] == "instance_throttled" {
            break;
        }
        assert_eq!(refreshed.json()["reason"], reason, "{effect:?}: {}", refreshed.text());
        let ada = app.account("ada").await;
        assert_eq!((&ada["trouble"]["reason"], &ada["health"]), (&json!(reason), &json!("degraded")), "{effect:?}");
        assert_serves(&app).await;
    }
}

#[actix::test]
async fn a_login_at_a_gitlab_that_answers_nonsense_is_refused_with_the_reason_and_stores_nothing() {
    let mut app = TestApp::start(&["ada"], |_| {}).await;
    for call in [Call::TokenSelf, Call::ThirdPartyDirectAccess] {
        for (effect, status) in [
            (Effect::login_page(), 502),
            (Effect::garbage(), 502),
            (Effect::Close, 502),
            (Effect::redirect("http://127.0.0.1:1/elsewhere"), 502),
            (Effect::json(401, &json!({ "message": "401 Unauthorized" })), 422),
        ] {
            app.gitlab.clear_rules();
            app.gitlab.add_rule(Rule::always(effect.clone()).on(call));
            let answer = app.try_add("ada", &json!({})).await;
            assert_eq!(answer.status, status, "{call:?} {effect:?}: {}", answer.text());
            assert!(answer.json()["reason"].is_string(), "{}", answer.text());
            assert!(answer.json()["check"].is_string(), "{}", answer.text());
        }
    }
    app.restart(|_| {}).await;
    assert_eq!(app.admin("GET", "/admin/v1/accounts").send().await.json(), json!({ "accounts": [] }));
}

#[actix::test]
async fn the_gateway_of_a_self_managed_instance_is_the_one_that_it_reports() {
    let mut app = TestApp::start(&["ada"], |layer| layer.gitlab_ai_gateway_url = None).await;
    app.gitlab.change_instance(|instance| instance.deployment = Deployment::SelfManaged);
    app.add("ada").await;
    assert_eq!(app.account("ada").await["gateway_url"], app.gateway_url());
    assert_serves(&app).await;
    // Remembered, so the other endpoint is asked once and never needed again.
    app.gitlab.add_rule(Rule::always(Effect::json(500, &json!({}))).on(Call::CodeSuggestionsDirectAccess));
    app.restart(|_| {}).await;
    let refreshed = refresh(&app, "ada").await;
    assert_eq!(refreshed.status, 200, "{}", refreshed.text());
    assert_eq!(refreshed.json()["gateway_url"], app.gateway_url());
    assert_serves(&app).await;
    assert_eq!(app.gitlab.requests_of(Call::CodeSuggestionsDirectAccess).len(), 1);
}

#[actix::test]
async fn a_reported_gateway_on_a_foreign_host_needs_the_operators_word() {
    let app = TestApp::start(&["ada"], |layer| layer.gitlab_ai_gateway_url = None).await;
    app.gitlab.change_instance(|instance| {
        instance.deployment = Deployment::SelfManaged;
        instance.reported_gateway = Some("https://gateway.invalid/ai".to_owned());
    });
    let answer = app.try_add("ada", &json!({})).await;
    assert_eq!(answer.status, 422, "{}", answer.text());
    assert_eq!(answer.json()["reason"], "gateway_needs_consent");
    assert!(answer.text().contains("https://gateway.invalid/ai"), "{}", answer.text());
    app.add_with("ada", &json!({ "gateway_url": app.gateway_url() })).await;
    assert_serves(&app).await;
}

#[actix::test]
async fn an_instance_older_than_18_4_serves_by_its_older_endpoint_after_a_probe() {
    let app = TestApp::start(&["ada", "grace"], |_| {}).await;
    app.gitlab.change_instance(|instance| {
        instance.deployment = Deployment::SelfManaged;
        instance.too_old = true;
    });
    app.add("ada").await;
    assert_eq!(app.gitlab.requests_of(Call::CountTokens).len(), 1);
    assert_serves(&app).await;
    assert_eq!(refresh(&app, "ada").await.status, 200);

    // Without a gateway that takes such a grant, or without the endpoint, there is nothing to serve with.
    for (call, status) in [(Call::CountTokens, 401), (Call::CodeSuggestionsDirectAccess, 404)] {
        app.gitlab.clear_rules();
        app.gitlab.add_rule(Rule::always(Effect::json(status, &json!({ "message": "no" }))).on(call));
        let answer = app.try_add("grace", &json!({})).await;
        assert_eq!(answer.status, 422, "{}", answer.text());
        assert_eq!(answer.json()["reason"], "instance_too_old");
        assert!(answer.text().contains("18.4"), "{}", answer.text());
    }
}

#[actix::test]
async fn an_empty_account_keeps_its_grant_and_comes_back_with_its_credit() {
    let (app, clock) = standing_still(&["ada"]).await;
    app.gitlab.set_credit("ada", Credit::Exhausted).expect("ada is known");
    assert_eq!(ask(&app).await.status, 402);
    // The client's answer does not wait for the account to have noted why.
    app.account_when("ada", |account| account["blocked_models"] != json!({})).await;
    app.gitlab.set_credit("ada", Credit::Available).expect("ada is known");
    // GitLab's gateway remembers the refusal for about an hour, so it is not asked before.
    assert_eq!(ask(&app).await.status, 402);
    clock.advance(Duration::from_mins(80));
    assert_serves(&app).await;
    let ada = app.account_when("ada", |account| account["health"] == "ready").await;
    assert_eq!(ada["blocked_models"], json!({}));
}

#[actix::test]
async fn the_first_request_after_a_start_or_a_login_finds_the_accounts() {
    let mut app = TestApp::start(&["ada", "grace"], |_| {}).await;
    app.add("ada").await;
    assert_serves(&app).await;
    for _ in 0..10 {
        app.restart(|_| {}).await;
        assert_serves(&app).await;
    }
}
