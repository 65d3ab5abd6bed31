//! Logins by OAuth over time: renewed before their end, once at a time, and never lost.

use std::sync::Arc;
use std::time::Duration;

use duopool::domain::time::{TestClock, Timestamp};
use duopool::simulator::{Call, Effect, Flow, Hold, MintCase, Rule, Step, StepEvent};
use futures::future::join_all;
use serde_json::Value;

use crate::support::requests::{SONNET, messages};
use crate::support::{Answer, TestApp};

/// 2026-11-22 00:00 UTC.
const START: Timestamp = Timestamp::from_secs(1_795_305_600);
const HOUR: Duration = Duration::from_hours(1);

/// An account of user `ada` that logged in a moment ago, in a world whose clock moves only when the test says so.
async fn logged_in() -> (TestApp, TestClock) {
    let clock = TestClock::at(START);
    let mut app = TestApp::start_at(&["ada"], Arc::new(clock.clone()), |_| {}).await;
    app.stop_and_store_login("ada").await;
    app.restart(|_| {}).await;
    app.account_when("ada", |account| account["health"] == "ready").await;
    (app, clock)
}

async fn ask(app: &TestApp) -> Answer {
    app.ask("/v1/messages", &messages(SONNET, true)).await
}

async fn assert_serves(app: &TestApp) {
    let answer = ask(app).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
}

fn hold(app: &TestApp, flow: Flow, step: Step) -> u64 {
    app.gitlab.hold(Hold { flow, step, account: None, times: Some(1) })
}

fn is(flow: Flow, step: Step) -> impl FnMut(&StepEvent) -> bool {
    move |event| event.flow == flow && event.step == step
}

/// Asserts that GitLab exchanged `refreshes` pairs, one at a time, and never saw a dead token.
fn assert_clean(app: &TestApp, refreshes: u64) {
    let tally = app.gitlab.tally("ada").expect("a user");
    assert_eq!(tally.refreshes_committed, refreshes, "{tally:?}");
    assert_eq!((tally.dead_refresh_uses, tally.dead_access_uses), (0, 0), "{tally:?}");
    assert!(tally.refreshes_in_flight_max <= 1, "{tally:?}");
}

fn login_is(generation: u64) -> impl Fn(&Value) -> bool {
    move |account| account["login_generation"] == generation && account["login"] == "fresh"
}

#[actix::test]
async fn a_login_is_renewed_before_its_end_and_the_account_goes_on() {
    let (app, clock) = logged_in().await;
    let account = app.account("ada").await;
    assert_eq!((account["credential"].as_str(), account["login"].as_str()), (Some("oauth"), Some("fresh")));
    assert!(account["token_expires_at"].is_string());
    for generation in 2..6 {
        clock.advance(Duration::from_mins(111));
        app.account_when("ada", login_is(generation)).await;
        assert_serves(&app).await;
    }
    assert_clean(&app, 4);
}

#[actix::test]
async fn requests_that_meet_an_ended_login_wait_for_one_renewal_together() {
    let (app, clock) = logged_in().await;
    clock.advance(9 * HOUR);
    join_all((0..10).map(|_| assert_serves(&app))).await;
    app.account_when("ada", login_is(2)).await;
    assert_clean(&app, 1);
    assert_eq!(app.gitlab.requests_of(Call::ThirdPartyDirectAccess).len(), 2);
}

#[actix::test]
async fn a_renewal_outlives_the_clients_that_wanted_it_and_the_servers_stop() {
    let (mut app, clock) = logged_in().await;
    let held = hold(&app, Flow::Refresh, Step::Committed);
    clock.advance(9 * HOUR);
    let client = app.post("/v1/messages", &messages(SONNET, true)).begin().await;
    app.gitlab.reached(is(Flow::Refresh, Step::Committed)).await;
    // GitLab has a new pair and has told nobody; the client hangs up, and the server is told to stop.
    drop(client);
    let stopping = actix::spawn(app.take_running().stop());
    let mut answered = Box::pin(app.gitlab.reached(is(Flow::Refresh, Step::Replied)));
    assert!(!stopping.is_finished());
    assert!(app.gitlab.release(held));
    (&mut answered).await;
    stopping.await.expect("it stops");
    drop(answered);
    app.restart(|_| {}).await;
    assert_serves(&app).await;
    app.account_when("ada", login_is(2)).await;
    assert_clean(&app, 1);
}

#[actix::test]
async fn an_account_that_is_removed_while_its_login_is_renewed_does_not_come_back() {
    let (mut app, clock) = logged_in().await;
    let held = hold(&app, Flow::Refresh, Step::Committed);
    clock.advance(9 * HOUR);
    app.gitlab.reached(is(Flow::Refresh, Step::Committed)).await;
    let id = app.account("ada").await["id"].as_str().expect("an id").to_owned();
    assert_eq!(app.admin("DELETE", &format!("/admin/v1/accounts/{id}")).send().await.status, 204);
    app.gitlab.release(held);
    app.restart(|_| {}).await;
    let list = app.admin("GET", "/admin/v1/accounts").send().await.json();
    assert_eq!(list["accounts"].as_array().map(Vec::len), Some(0), "{list}");
}

#[actix::test]
async fn lag_of_gitlabs_databases_is_waited_for() {
    let (app, clock) = logged_in().await;
    app.gitlab.add_rule(Rule::always(Effect::invalid_grant()).on(Call::Refresh).times(3));
    clock.advance(9 * HOUR);
    for attempt in 1..=3 {
        let account = app.account_when("ada", |account| account["trouble"]["attempts"] == attempt).await;
        assert_eq!(account["trouble"]["reason"], "renewal_refused");
        assert_eq!(account["login"], "waiting");
        clock.advance(Duration::from_secs(80));
    }
    app.account_when("ada", login_is(2)).await;
    assert_serves(&app).await;
    assert_clean(&app, 1);
}

#[actix::test]
async fn a_lost_answer_ends_in_a_login_that_is_needed_and_says_so() {
    let (mut app, clock) = logged_in().await;
    app.gitlab.add_rule(Rule::always(Effect::Close).on(Call::Refresh).times(1));
    clock.advance(9 * HOUR);
    let mut attempts = 0;
    let account = loop {
        let account = app
            .account_when("ada", |account| {
                account["health"] == "needs_login" || account["trouble"]["attempts"].as_u64() > Some(attempts)
            })
            .await;
        if account["health"] == "needs_login" {
            break account;
        }
        attempts = if account["trouble"]["reason"] == "renewal_refused" {
            account["trouble"]["attempts"].as_u64().expect("a number")
        } else {
            0
        };
        clock.advance(HOUR);
    };
    assert_eq!(account["trouble"]["reason"], "renewal_interrupted");
    assert_eq!(account["login"], "needs_login");
    assert_eq!(app.gitlab.tally("ada").expect("a user").refreshes_in_flight_max, 1);
    let answer = ask(&app).await;
    assert_eq!(answer.status, 503, "{}", answer.text());
    // That is known over a restart, without asking GitLab again.
    let asked = app.gitlab.requests_of(Call::Refresh).len();
    app.restart(|_| {}).await;
    let account = app.account_when("ada", |account| account["health"] == "needs_login").await;
    assert_eq!(account["trouble"]["reason"], "renewal_interrupted");
    assert_eq!(app.gitlab.requests_of(Call::Refresh).len(), asked);
}

#[actix::test]
async fn a_token_that_gitlab_does_not_know_yet_is_tried_again_and_not_renewed() {
    let (app, clock) = logged_in().await;
    app.gitlab.add_rule(Rule::always(Effect::bare_401()).on(Call::ThirdPartyDirectAccess).times(2));
    clock.advance(9 * HOUR);
    for attempt in 1..=2 {
        let account = app.account_when("ada", |account| account["trouble"]["attempts"] == attempt).await;
        assert_eq!(account["trouble"]["reason"], "token_too_new");
        clock.advance(Duration::from_secs(10));
    }
    assert_serves(&app).await;
    assert_clean(&app, 1);
}

#[actix::test]
async fn a_login_whose_tokens_were_revoked_serves_to_the_end_of_its_grant_and_is_not_given_up_before() {
    let (app, clock) = logged_in().await;
    app.gitlab.revoke_tokens(Some("ada")).expect("a user");
    clock.advance(Duration::from_mins(56));
    let account = app.account_when("ada", |account| account["trouble"]["reason"] == "renewal_refused").await;
    assert_eq!(account["health"], "degraded");
    assert_serves(&app).await;
}

#[actix::test]
async fn what_mends_a_login_is_told_of_a_login_and_not_of_a_token_that_nobody_typed() {
    let (app, _) = logged_in().await;
    app.gitlab.add_rule(Rule::mint_case(MintCase::ThirdPartyInsufficientScope));
    let id = app.account("ada").await["id"].as_str().expect("an id").to_owned();
    let refused = app.admin("POST", &format!("/admin/v1/accounts/{id}/refresh")).send().await;
    assert_eq!((refused.status, &refused.json()["reason"]), (422, &Value::from("scope_missing")));
    let trouble = app.account("ada").await["trouble"].clone();
    for fix in [&refused.json()["fix"], &trouble["fix"]] {
        assert!(fix.as_str().expect("a text").starts_with("tick `api`, or `ai_features` and `read_user`"), "{fix}");
    }
}
