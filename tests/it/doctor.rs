//! The examination of accounts, and of tokens that are none yet: every line of it, for everything that can be wrong.

use std::sync::Arc;
use std::time::Duration;

use duopool::domain::time::{Clock as _, SystemClock, TestClock};
use duopool::simulator::{Call, Credit, Effect, Entitlement, Rule, Standing};
use serde_json::{Value, json};

use crate::support::gateway::Closed;
use crate::support::requests::{SONNET, messages};
use crate::support::{Machine, TestApp, simulated, token_of};

const CHECKS: [&str; 12] = [
    "instance",
    "tls",
    "clock",
    "token",
    "scopes",
    "expiry",
    "duo access",
    "namespace",
    "direct access",
    "gateway",
    "models",
    "credit",
];

async fn of_account(app: &TestApp, name: &str) -> Value {
    let id = app.account(name).await["id"].as_str().expect("an id").to_owned();
    let answer = app.admin("POST", &format!("/admin/v1/accounts/{id}/doctor")).json(&json!({})).send().await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()
}

async fn of_token(app: &TestApp, name: &str, more: &[(&str, Value)]) -> Value {
    let mut body = json!({ "base_url": app.gitlab_url, "personal_access_token": token_of(name) });
    for (member, value) in more {
        body[*member] = value.clone();
    }
    let answer = app.admin("POST", "/admin/v1/doctor").json(&body).send().await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert!(!answer.text().contains(&token_of(name)), "{}", answer.text());
    answer.json()
}

/// Returns the verdict on one check; fails if there is not exactly one finding on it.
fn verdict<'a>(diagnosis: &'a Value, check: &str) -> &'a str {
    finding(diagnosis, check)["verdict"].as_str().expect("a verdict")
}

fn finding<'a>(diagnosis: &'a Value, check: &str) -> &'a Value {
    let findings = diagnosis["findings"].as_array().expect("findings");
    let found: Vec<_> = findings.iter().filter(|finding| finding["check"] == check).collect();
    assert_eq!(found.len(), 1, "{check}: {diagnosis}");
    found[0]
}

/// Asserts that every check has its line, in order, and that the first to fail is `check`, for `reason`, with a way to
/// mend it that is the one of the account states.
fn assert_fails(diagnosis: &Value, check: &str, reason: &str) {
    let all: Vec<_> = diagnosis["findings"].as_array().expect("findings").iter().map(|one| &one["check"]).collect();
    assert!(all.iter().zip(CHECKS).all(|(found, wanted)| *found == wanted), "{diagnosis}");
    let failed = finding(diagnosis, check);
    assert_eq!((&failed["verdict"], &failed["reason"]), (&json!("failed"), &json!(reason)), "{diagnosis}");
    assert_eq!(diagnosis["ok"], false);
    let before = CHECKS.iter().take_while(|before| **before != check);
    for earlier in before {
        assert_ne!(verdict(diagnosis, earlier), "failed", "{earlier}: {diagnosis}");
    }
}

#[actix::test]
async fn a_healthy_account_and_a_good_token_pass_everything() {
    let app = TestApp::with_accounts(&["ada"]).await;
    app.gitlab.change_account("ada", |ada| ada.token.expires_at = Some("2090-01-01".into())).expect("ada is known");
    for (diagnosis, account) in [(of_account(&app, "ada").await, true), (of_token(&app, "ada", &[]).await, false)] {
        assert_eq!((&diagnosis["ok"], diagnosis["account"].is_string()), (&json!(true), account), "{diagnosis}");
        for check in CHECKS {
            // Loopback alone may do without TLS.
            let wanted = if check == "tls" { "skipped" } else { "fine" };
            assert_eq!(verdict(&diagnosis, check), wanted, "{check}: {diagnosis}");
        }
        let said = |check: &str| finding(&diagnosis, check)["message"].as_str().expect("a text").to_owned();
        assert!(said("token").contains("ada's (user 1)"), "{diagnosis}");
        assert!(said("expiry").contains("2090-01-01"), "{diagnosis}");
        assert!(said("gateway").contains(&app.gateway_url()), "{diagnosis}");
        assert!(said("models").contains("claude-haiku-4-5"), "{diagnosis}");
    }
    // It is told of the account what really is, and nothing of it was billed.
    assert_eq!(app.account("ada").await["grant_generation"], 2);
    assert!(app.gitlab.requests_of(Call::Messages).is_empty());
    assert_eq!(app.ask("/v1/messages", &messages(SONNET, true)).await.status, 200);
}

/// What can be wrong with a user, the check that fails for it, and its reason.
#[expect(clippy::type_complexity, reason = "a table that is read by one test")]
const ILLS: &[(fn(&mut Standing), &str, &str)] = &[
    (|ada| ada.token.revoked = true, "token", "token_revoked"),
    (|ada| ada.token.expires_at = Some("2020-01-01".into()), "expiry", "token_expired"),
    (|ada| ada.token.scopes = vec!["read_api".into()], "scopes", "scope_missing"),
    (|ada| ada.entitlement = Entitlement::NotEntitled, "duo access", "not_entitled"),
    (|ada| ada.entitlement = Entitlement::FeaturesDisabled, "duo access", "duo_disabled"),
    (|ada| ada.entitlement = Entitlement::MissingNamespace, "namespace", "namespace_missing"),
    (|ada| ada.entitlement = Entitlement::TokenCreationFailed, "direct access", "mint_failed"),
    (|ada| ada.proxies_enabled = false, "gateway", "proxy_not_enabled"),
    (|ada| ada.credit = Credit::Exhausted, "credit", "quota_exhausted"),
    (|ada| ada.credit = Credit::NotEntitled, "credit", "quota_unknown"),
];

#[actix::test]
async fn what_is_wrong_with_a_user_is_told_at_its_step() {
    for (change, check, reason) in ILLS {
        let app = TestApp::with_accounts(&["ada"]).await;
        app.gitlab.change_account("ada", change).expect("ada is known");
        let diagnosis = of_token(&app, "ada", &[]).await;
        assert_fails(&diagnosis, check, reason);
        assert_fails(&of_account(&app, "ada").await, check, reason);
    }
}

#[actix::test]
async fn a_token_that_ends_soon_and_a_list_that_cannot_be_had_are_warnings() {
    let app = TestApp::with_accounts(&["ada"]).await;
    let day = SystemClock.now() + Duration::from_hours(3 * 24);
    let day = day.to_string().split('T').next().expect("a day").to_owned();
    app.gitlab.change_account("ada", |ada| ada.token.expires_at = Some(day.clone())).expect("ada is known");
    app.gitlab.add_rule(Rule::always(Effect::json(500, &json!({}))).on(Call::GraphQl));
    let diagnosis = of_token(&app, "ada", &[]).await;
    assert_eq!(diagnosis["ok"], true, "{diagnosis}");
    assert_eq!((verdict(&diagnosis, "expiry"), verdict(&diagnosis, "models")), ("warning", "warning"), "{diagnosis}");
    assert!(finding(&diagnosis, "expiry")["fix"].as_str().is_some_and(|fix| fix.contains("login --pat")));
}

#[actix::test]
async fn a_clock_that_is_off_is_told_with_by_how_much() {
    // The simulated GitLab's web server tells the machine's own time.
    let now = SystemClock.now();
    for (ours, wanted, word) in
        [(now + Duration::from_secs(150), "warning", "ahead of"), (now - Duration::from_hours(3), "failed", "h behind")]
    {
        let clock = TestClock::at(ours);
        let app = TestApp::start_at(&["ada"], Arc::new(clock), |_| {}).await;
        let diagnosis = of_token(&app, "ada", &[]).await;
        let said = finding(&diagnosis, "clock");
        assert_eq!(said["verdict"], wanted, "{diagnosis}");
        let (message, fix) = (said["message"].as_str().expect("a text"), said["fix"].as_str().expect("a text"));
        assert!(message.contains(word) && fix.contains("set this machine's clock"), "{diagnosis}");
        assert_eq!(diagnosis["ok"], wanted == "warning");
    }
}

#[actix::test]
async fn an_instance_or_a_gateway_that_is_not_there_is_told_and_the_rest_is_not_looked_at() {
    let app = TestApp::with_accounts(&["ada"]).await;
    let closed = Closed::new();
    let gone = of_token(&app, "ada", &[("base_url", json!(closed.url))]).await;
    assert_fails(&gone, "instance", "instance_unreachable");
    for check in &CHECKS[1..] {
        let rest = finding(&gone, check);
        assert_eq!(rest["verdict"], "skipped", "{gone}");
        assert!(rest["message"].as_str().is_some_and(|text| text.contains("`instance`")), "{gone}");
    }
    let no_tls = app.gitlab_url.replace("http://", "https://");
    assert_fails(&of_token(&app, "ada", &[("base_url", json!(no_tls))]).await, "tls", "tls_failed");
    let no_gateway = of_token(&app, "ada", &[("gateway_url", json!(closed.url))]).await;
    assert_fails(&no_gateway, "gateway", "gateway_unreachable");
    assert_eq!(verdict(&no_gateway, "credit"), "skipped");
}

#[actix::test]
async fn whoever_answers_something_else_than_gitlab_does_is_not_fine() {
    let app = TestApp::start(&["ada"], |_| {}).await;
    let unauthorized = Effect::json(401, &json!({ "message": "401 Unauthorized" }));
    let narrow = Effect::json(403, &json!({ "error": "insufficient_scope", "error_description": "x", "scope": "api" }));
    for (call, effect, check, reason) in [
        (Call::TokenSelf, Effect::login_page(), "instance", "instance_unexpected"),
        (Call::TokenSelf, Effect::redirect("http://127.0.0.1:1/elsewhere"), "instance", "instance_unexpected"),
        (Call::TokenSelf, Effect::Close, "instance", "instance_unexpected"),
        (Call::ThirdPartyDirectAccess, Effect::login_page(), "instance", "instance_unexpected"),
        (Call::ThirdPartyDirectAccess, unauthorized, "token", "token_invalid"),
        (Call::ThirdPartyDirectAccess, narrow, "scopes", "scope_missing"),
    ] {
        app.gitlab.clear_rules();
        app.gitlab.add_rule(Rule::always(effect).on(call));
        assert_fails(&of_token(&app, "ada", &[]).await, check, reason);
    }
}

#[actix::test]
async fn of_a_login_that_has_ended_the_way_to_gitlab_is_looked_at_all_the_same() {
    let clock = TestClock::at(SystemClock.now());
    let mut app = TestApp::start_at(&["ada"], Arc::new(clock.clone()), |_| {}).await;
    app.stop_and_store_login("ada").await;
    // Nothing of what GitLab handed out is good any more, and it says so.
    let refused = Effect::json(400, &json!({ "error": "invalid_grant" }));
    app.gitlab.add_rule(Rule::always(refused).on(Call::Refresh));
    clock.advance(Duration::from_hours(3));
    app.restart(|_| {}).await;
    let ended = |account: &Value| account["login"] != "fresh" && account["login"] != "renewing";
    app.account_when("ada", ended).await;
    let diagnosis = of_account(&app, "ada").await;
    assert_eq!(diagnosis["ok"], false, "{diagnosis}");
    assert_eq!((verdict(&diagnosis, "instance"), verdict(&diagnosis, "token")), ("fine", "failed"), "{diagnosis}");
}

#[actix::test]
async fn what_keeps_an_account_from_a_model_is_told_beside() {
    let app = TestApp::with_accounts(&["ada"]).await;
    app.gitlab.set_model_credit("ada", SONNET, Credit::Exhausted).expect("ada is known");
    assert_eq!(app.ask("/v1/messages", &messages(SONNET, true)).await.status, 402);
    app.account_when("ada", |account| !account["blocked_models"][SONNET].is_null()).await;
    let diagnosis = of_account(&app, "ada").await;
    let block = finding(&diagnosis, "blocks");
    assert_eq!((&block["verdict"], &block["reason"]), (&json!("warning"), &json!("quota_exhausted")), "{diagnosis}");
    assert!(block["message"].as_str().is_some_and(|text| text.starts_with(SONNET)), "{diagnosis}");
    assert_eq!(diagnosis["ok"], true, "{diagnosis}");
}

#[actix::test]
async fn a_login_by_oauth_is_examined_too() {
    let mut app = TestApp::start(&["ada"], |_| {}).await;
    app.stop_and_store_login("ada").await;
    app.restart(|_| {}).await;
    let diagnosis = of_account(&app, "ada").await;
    assert_eq!(diagnosis["ok"], true, "{diagnosis}");
    let expiry = finding(&diagnosis, "expiry")["message"].as_str().expect("a text");
    assert!(expiry.contains("renewed before"), "{diagnosis}");
}

#[actix::test]
async fn what_is_no_order_to_examine_is_refused_without_quoting_it() {
    let app = TestApp::with_accounts(&["ada"]).await;
    let post = async |path: &str, body: &Value| app.admin("POST", path).json(body).send().await;
    let unknown = post("/admin/v1/accounts/acc_0/doctor", &json!({})).await;
    assert_eq!(unknown.status, 404, "{}", unknown.text());
    for body in [
        json!({}),
        json!({ "personal_access_token": "two words" }),
        json!({ "personal_access_token": "glpat-x", "base_url": "ftp://gitlab.com" }),
        json!({ "personal_access_token": "glpat-x", "gateway_url": "http://gateway.example.com" }),
        json!({ "personal_access_token": "glpat-x", "what": "ever" }),
    ] {
        let refused = post("/admin/v1/doctor", &body).await;
        assert_eq!(refused.status, 400, "{body}: {}", refused.text());
        assert!(!refused.text().contains("glpat-x") && !refused.text().contains("two words"), "{}", refused.text());
    }
}

#[actix::test]
async fn the_command_prints_a_line_for_each_with_and_without_a_server() {
    let gitlab = simulated(&["ada", "grace"]).await;
    let mut machine = Machine::beside(&gitlab);
    assert!(machine.run(&["doctor"]).await.refusal().contains("no account to look at"));
    let of_token = machine.run_with(&["doctor", "--pat"], &token_of("grace")).await;
    assert!(of_token.fine().contains("token, grace on "), "{}", of_token.out);
    machine.run_with(&["login", "--pat", "--label", "Ada's"], &token_of("ada")).await.fine();

    let alone = machine.run(&["doctor"]).await;
    assert!(alone.fine().contains("no server runs") && alone.out.contains("Ada's: ada on "), "{}", alone.out);
    let lines = |out: &str, mark: &str| out.lines().filter(|line| line.trim_start().starts_with(mark)).count();
    assert_eq!(lines(&alone.out, "ok "), 11, "{}", alone.out);

    gitlab.handle.set_credit("ada", Credit::Exhausted).expect("ada is known");
    let (server, _) = machine.serve().await;
    let ill = machine.run(&["doctor", "Ada's"]).await;
    assert_eq!(ill.code, Some(1), "{ill:?}");
    assert!(ill.out.contains("serves on http://") && lines(&ill.out, "FAIL") == 1, "{}", ill.out);
    assert!(ill.out.contains("to mend it: wait for the monthly reset"), "{}", ill.out);
    let data = machine.run(&["doctor", "--json"]).await;
    let data: Value = serde_json::from_str(&data.out).expect("JSON");
    assert_eq!((&data["ok"], data["diagnoses"].as_array().map(Vec::len)), (&json!(false), Some(1)), "{data}");
    machine.set("GITLAB_PERSONAL_ACCESS_TOKEN", &token_of("grace"));
    assert_eq!(machine.run(&["doctor", "--pat", "--json"]).await.json()["ok"], true);
    server.stop("TERM").await;
}
