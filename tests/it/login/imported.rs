//! Tokens that another program brought: what becomes of them where the account is known, and where they come twice.

use std::time::Duration;

use duopool::domain::time::Timestamp;
use duopool::simulator::{Call, DEMO_PUBLIC_CLIENT_ID, Effect, Flow, Hold, Rule, Step};
use serde_json::{Value, json};

use super::{accounts, app_of, logins};
use crate::support::{Answer, Request, TestApp};

/// Returns the request of tokens of `name` that GitLab has just handed out to the other program.
fn brought(app: &TestApp, name: &str, end: Option<Timestamp>) -> Value {
    let tokens = app.gitlab.issue_tokens(name, DEMO_PUBLIC_CLIENT_ID, &["api", "read_user"]).expect("tokens");
    json!({
        "base_url": app.gitlab_url, "client_id": DEMO_PUBLIC_CLIENT_ID, "label": "brought",
        "access_token": tokens.access_token.expose(), "refresh_token": tokens.refresh_token.expect("one").expose(),
        "expires_at": end.map(|end| end.to_string()),
    })
}

/// As [`brought`], with an access token whose end has come.
fn ended(app: &TestApp, name: &str) -> Value {
    brought(app, name, Some(app.gitlab.now() - Duration::from_mins(5)))
}

fn order(app: &TestApp, body: &Value) -> Request {
    app.admin("POST", "/admin/v1/imports").json(body)
}

async fn import(app: &TestApp, body: &Value) -> Answer {
    order(app, body).send().await
}

fn refreshes(app: &TestApp) -> usize {
    app.gitlab.requests_of(Call::Refresh).len()
}

#[actix::test]
async fn an_account_keeps_its_own_login_that_works() {
    let mut app = TestApp::with_accounts(&["ada"]).await;
    let before = app.account("ada").await;
    let answer = import(&app, &ended(&app, "ada")).await;
    let told = answer.json();
    assert_eq!((answer.status, &told["type"]), (409, &json!("/problems/imported-login-ended")), "{told}");
    assert!(told["fix"].as_str().is_some_and(|fix| fix.contains("log in again")), "{told}");
    let after = app.account("ada").await;
    for field in ["id", "credential", "login_generation", "label"] {
        assert_eq!(after[field], before[field], "{field}");
    }
    // Nobody is to use what came of the exchange, and nothing of it is left behind.
    assert_eq!((refreshes(&app), app.gitlab.requests_of(Call::Revoke).len()), (1, 1));
    app.restart(|_| {}).await;
    assert!(logins(&app).await.is_empty());
    assert_eq!(app.account("ada").await["credential"], before["credential"]);
    // A login by OAuth is kept as well.
    app.stop_and_store_login("ada").await;
    app.restart(|_| {}).await;
    let before = app.account("ada").await;
    assert_eq!(import(&app, &ended(&app, "ada")).await.status, 409);
    assert_eq!(app.account("ada").await["login_generation"], before["login_generation"]);
    let refreshed = app
        .admin("POST", &format!("/admin/v1/accounts/{}/refresh", before["id"].as_str().expect("an id")))
        .send()
        .await;
    assert_eq!(refreshed.status, 200, "{}", refreshed.text());
}

#[actix::test]
async fn an_account_whose_login_is_dead_takes_what_is_brought() {
    let app = TestApp::with_accounts(&["ada"]).await;
    app.gitlab.change_account("ada", |user| user.token.revoked = true).expect("ada");
    let id = app.account("ada").await["id"].as_str().expect("an id").to_owned();
    let refused = app.admin("POST", &format!("/admin/v1/accounts/{id}/refresh")).send().await;
    assert_eq!(refused.status, 422, "{}", refused.text());
    let answer = import(&app, &ended(&app, "ada")).await;
    assert_eq!((answer.status, &answer.json()["account"]), (201, &json!(id)), "{}", answer.text());
    let refreshed = app.admin("POST", &format!("/admin/v1/accounts/{id}/refresh")).send().await;
    assert_eq!(refreshed.status, 200, "{}", refreshed.text());
    assert!(app.gitlab.requests_of(Call::Revoke).is_empty());
}

#[actix::test]
async fn a_pair_that_an_account_has_is_not_exchanged_behind_its_back() {
    let app = app_of(&["ada"]).await;
    let mut body = brought(&app, "ada", Some(app.gitlab.now() + Duration::from_hours(1)));
    assert_eq!(import(&app, &body).await.status, 201);
    body["expires_at"] = json!((app.gitlab.now() - Duration::from_mins(5)).to_string());
    let answer = import(&app, &body).await;
    assert_eq!((answer.status, &answer.json()["type"]), (409, &json!("/problems/account-known")), "{}", answer.text());
    assert_eq!(refreshes(&app), 0);
}

#[actix::test]
async fn the_same_tokens_are_never_in_flight_twice() {
    let app = app_of(&["ada"]).await;
    let hold = app.gitlab.hold(Hold { flow: Flow::Refresh, step: Step::Committed, account: None, times: None });
    let body = ended(&app, "ada");
    let first = actix::spawn(order(&app, &body).send());
    app.gitlab.reached(|event| event.flow == Flow::Refresh && event.step == Step::Committed).await;
    let second = import(&app, &body).await;
    assert_eq!((second.status, &second.json()["account"]), (202, &Value::Null), "{}", second.text());
    app.gitlab.release(hold);
    assert_eq!(first.await.expect("an answer").status, 201);
    assert_eq!((refreshes(&app), accounts(&app).await.len()), (1, 1));
}

#[actix::test]
async fn tokens_whose_renewal_is_in_doubt_are_not_taken_again() {
    let mut app = app_of(&["ada"]).await;
    app.gitlab.add_rule(Rule::always(Effect::CloseUnprocessed).on(Call::Refresh));
    let body = ended(&app, "ada");
    assert_eq!(import(&app, &body).await.status, 202);
    assert_eq!((import(&app, &body).await.status, refreshes(&app)), (202, 1));
    app.restart(|_| {}).await;
    let again = import(&app, &body).await;
    let said = again.json()["problem"]["message"].as_str().expect("a message").to_owned();
    assert!(again.status == 202 && said.contains("already"), "{said}");
    assert_eq!(logins(&app).await.len(), 1);
}

#[actix::test]
async fn an_access_token_that_has_ended_unsaid_is_renewed() {
    let app = app_of(&["ada"]).await;
    let body = brought(&app, "ada", None);
    app.gitlab.advance_clock(Duration::from_hours(3));
    let answer = import(&app, &body).await;
    assert_eq!((answer.status, refreshes(&app)), (201, 1), "{}", answer.text());
    // GitLab's word counts for more than the file's.
    let app = app_of(&["grace"]).await;
    let body = brought(&app, "grace", Some(app.gitlab.now() + Duration::from_hours(9)));
    let expired = json!({ "error": "invalid_token", "error_description": "Token is expired. You can either do re-authorization or token refresh." });
    app.gitlab.add_rule(Rule::once(Effect::json(401, &expired)).on(Call::User));
    app.gitlab.add_rule(Rule::once(Effect::bare_401()).on(Call::TokenInfo));
    let answer = import(&app, &body).await;
    assert_eq!((answer.status, refreshes(&app)), (201, 1), "{}", answer.text());
}
