//! Answers of GitLab itself: to checks of a token, to mints, to listings of models, and to OAuth.

use std::sync::Arc;
use std::time::Duration;

use duopool::domain::time::{Clock as _, SystemClock, TestClock};
use duopool::simulator::{Call, Decision, Effect, Rule};
use serde_json::{Value, json};

use super::{Case, cases_of, is_ready, rule};
use crate::login::{answer, app_of, begin, login_when, sign_in, try_begin};
use crate::support::requests::{SONNET, messages};
use crate::support::{Answer, TestApp};

/// Asserts that a problem of the admin API is `case`'s fault: a 422 where it is about the user, a 502 else.
fn assert_problem(case: &Case, answer: &Answer) {
    let status = if case.scope == "account" { 422 } else { 502 };
    assert_eq!(answer.status, status, "{}: {}", case.what(), answer.text());
    assert_eq!(answer.json()["reason"], case.reason, "{}: {}", case.what(), answer.text());
}

#[actix::test]
async fn a_token_that_is_not_accepted_is_refused_with_its_reason() {
    let app = TestApp::start(&["ada"], |_| {}).await;
    for case in cases_of(&["identity"]) {
        app.gitlab.clear_rules();
        app.gitlab.add_rule(rule(&case, Call::TokenSelf));
        assert_problem(&case, &app.try_add("ada", &json!({})).await);
    }
    app.gitlab.clear_rules();
    app.add("ada").await;
}

/// Has the account mint, and returns what the server says.
async fn refreshed(app: &TestApp) -> Answer {
    let id = app.account("ada").await["id"].as_str().expect("an id").to_owned();
    app.admin("POST", &format!("/admin/v1/accounts/{id}/refresh")).send().await
}

/// Asserts that Ada serves with the grant that she has, however her mints fare.
async fn assert_serves(app: &TestApp, what: &str) {
    let answer = app.ask("/v1/messages", &messages(SONNET, true)).await;
    assert_eq!(answer.status, 200, "{what}: {}", answer.text());
    let ada = app.account("ada").await;
    assert_eq!(ada["health"], "degraded", "{what}: {ada}");
}

#[actix::test]
async fn a_mint_that_is_refused_is_shown_with_its_reason_and_takes_no_grant_away() {
    for case in cases_of(&["mint"]) {
        let (app, what) = (TestApp::with_accounts(&["ada"]).await, case.what());
        app.gitlab.add_rule(rule(&case, Call::ThirdPartyDirectAccess));
        if case.row == "mint-404" {
            // The older route is tried before an instance is called too old.
            app.gitlab.add_rule(rule(&case, Call::CodeSuggestionsDirectAccess));
        }
        let problem = refreshed(&app).await;
        assert_eq!(problem.json()["reason"], case.reason, "{what}: {}", problem.text());
        let ada = app.account_when("ada", |ada| !ada["trouble"].is_null()).await;
        case.assert_is(&ada["trouble"]);
        assert_serves(&app, &what).await;
    }
}

#[actix::test]
async fn what_the_older_route_says_never_speaks_against_an_account() {
    for case in cases_of(&["code_suggestions"]) {
        let (app, what) = (TestApp::with_accounts(&["ada"]).await, case.what());
        app.gitlab.add_rule(rule(&case, Call::CodeSuggestionsDirectAccess));
        assert_eq!(refreshed(&app).await.status, 200, "{what}");
        assert!(is_ready(&app.account("ada").await), "{what}");
        // Where it is the only one, it says that there is none of the newer.
        let gone = json!({ "error": "404 Not Found" });
        app.gitlab.add_rule(Rule::always(Effect::json(404, &gone)).on(Call::ThirdPartyDirectAccess));
        let problem = refreshed(&app).await;
        assert_eq!(problem.json()["reason"], "instance_too_old", "{what}: {}", problem.text());
        assert!(!app.gitlab.requests_of(Call::CodeSuggestionsDirectAccess).is_empty(), "{what}");
        assert_serves(&app, &what).await;
    }
}

#[actix::test]
async fn a_listing_of_models_that_fails_holds_nothing_against_anybody() {
    for case in cases_of(&["models"]) {
        let app = TestApp::start(&["ada"], |_| {}).await;
        app.gitlab.add_rule(rule(&case, Call::GraphQl));
        app.add("ada").await;
        app.account_when("ada", |_| !app.gitlab.requests_of(Call::GraphQl).is_empty()).await;
        let ada = app.account("ada").await;
        assert!(is_ready(&ada), "{}: {ada}", case.what());
    }
}

#[actix::test]
async fn a_renewal_that_is_refused_is_shown_with_its_reason() {
    for case in cases_of(&["refresh"]) {
        let clock = TestClock::at(SystemClock.now());
        let mut app = TestApp::start_at(&["ada"], Arc::new(clock.clone()), |_| {}).await;
        app.stop_and_store_login("ada").await;
        app.restart(|_| {}).await;
        app.account_when("ada", |ada| ada["health"] == "ready").await;
        app.gitlab.add_rule(rule(&case, Call::Refresh));
        clock.advance(Duration::from_hours(3));
        // A refusal of the refresh token may be a lag of GitLab's databases, and is asked again for a while.
        let shown = if case.reason == "login_ended" { "renewal_refused" } else { case.reason.as_str() };
        app.account_when("ada", |ada| ada["trouble"]["reason"] == shown).await;
        assert_eq!(app.gitlab.tally("ada").expect("ada").refreshes_committed, 0, "{}", case.what());
    }
}

fn problem_of(login: &Value) -> &Value {
    &login["problem"]["reason"]
}

#[actix::test]
async fn a_code_that_is_refused_ends_the_login_with_its_reason() {
    let app = app_of(&["ada"]).await;
    for case in cases_of(&["code_exchange"]) {
        app.gitlab.clear_rules();
        app.gitlab.add_rule(rule(&case, Call::CodeExchange));
        let login = begin(&app, &json!({})).await;
        let failed = answer(&app, &login, &sign_in(&app, "ada", &login)).await.json();
        assert_eq!(*problem_of(&failed), case.reason, "{}: {failed}", case.what());
    }
}

#[actix::test]
async fn a_device_code_that_is_refused_ends_the_login_with_its_reason() {
    let app = app_of(&["ada"]).await;
    app.gitlab.change_instance(|instance| instance.oauth.device_interval_s = 1);
    let cases = cases_of(&["device_poll"]);
    let checks = cases.iter().map(async |case| {
        // Each is asked once, in whichever order: the rules are used up one by one.
        app.gitlab.add_rule(rule(case, Call::DevicePoll).times(1));
        let login = begin(&app, &json!({ "kind": "device" })).await;
        login_when(&app, &login, |login| login["status"] == "failed").await
    });
    let failed = futures::future::join_all(checks).await;
    let mut told: Vec<&str> = failed.iter().map(|login| problem_of(login).as_str().unwrap_or_default()).collect();
    let mut wanted: Vec<&str> = cases.iter().map(|case| case.reason.as_str()).collect();
    told.sort_unstable();
    wanted.sort_unstable();
    assert_eq!(told, wanted, "{failed:?}");
}

#[actix::test]
async fn a_device_login_that_cannot_be_begun_says_why() {
    let app = app_of(&["ada"]).await;
    for case in cases_of(&["device_start"]) {
        app.gitlab.clear_rules();
        app.gitlab.add_rule(rule(&case, Call::AuthorizeDevice));
        assert_problem(&case, &try_begin(&app, &json!({ "kind": "device" })).await);
    }
}

#[actix::test]
async fn a_revocation_that_fails_changes_nothing() {
    let app = app_of(&["ada"]).await;
    for case in cases_of(&["revoke"]) {
        app.gitlab.clear_rules();
        app.gitlab.clear_requests();
        app.gitlab.add_rule(rule(&case, Call::Revoke));
        // Tokens that turn out to be of no use are given back.
        let dead = json!({ "error": "invalid_token", "error_description": "Token was revoked." });
        for call in [Call::TokenInfo, Call::User] {
            app.gitlab.add_rule(Rule::always(Effect::json(401, &dead)).on(call));
        }
        let login = begin(&app, &json!({})).await;
        let location = app.gitlab.approve("ada", login["authorize_url"].as_str().expect("one"), Decision::Authorize);
        let failed = answer(&app, &login, &location.expect("GitLab's page works")).await.json();
        assert_eq!(*problem_of(&failed), "token_revoked", "{}: {failed}", case.what());
        assert_eq!(app.gitlab.requests_of(Call::Revoke).len(), 1, "{}", case.what());
    }
}
