//! A login with a device code: asked for at GitLab's pace, and every answer told in words.

use duopool::simulator::{Call, Decision, Effect, Flow, Rule, Step};
use serde_json::{Value, json};

use super::{accounts, app_of, begin, findings, login_when, logins, try_begin};
use crate::support::TestApp;

/// Starts with a GitLab that lets itself be asked each second, so that a test is not long.
async fn quick(names: &[&str]) -> TestApp {
    let app = app_of(names).await;
    app.gitlab.change_instance(|instance| instance.oauth.device_interval_s = 1);
    app
}

async fn begin_device(app: &TestApp) -> Value {
    begin(app, &json!({ "kind": "device", "label": "ada" })).await
}

fn is_over(login: &Value) -> bool {
    login["status"] == "done" || login["status"] == "failed"
}

fn enter(app: &TestApp, login: &Value, decision: Decision) {
    let code = login["user_code"].as_str().expect("a code");
    app.gitlab.approve_device("ada", code, decision).expect("GitLab's page works");
}

fn message(login: &Value) -> &str {
    login["problem"]["message"].as_str().unwrap_or_else(|| panic!("no problem: {login}"))
}

#[actix::test]
async fn a_code_that_is_entered_becomes_an_account() {
    let app = quick(&["ada"]).await;
    let login = begin_device(&app).await;
    assert_eq!((&login["status"], &login["kind"]), (&json!("pending"), &json!("device")), "{login}");
    let page = login["verification_uri"].as_str().expect("a page");
    assert!(page.starts_with(&app.gitlab_url), "{page}");
    assert!(login["expires_at"].is_string() && login["authorize_url"].is_null(), "{login}");
    // The first question is answered with "not yet", and it is asked again.
    app.gitlab.reached(|event| event.flow == Flow::DeviceLogin && event.status == Some(400)).await;
    enter(&app, &login, Decision::Authorize);
    let done = login_when(&app, &login, is_over).await;
    assert_eq!(done["status"], "done", "{done}");
    assert!(findings(&done).iter().all(|(_, ok)| *ok) && done["user_code"].is_null(), "{done}");
    assert_eq!(app.account("ada").await["id"], done["account"]);
    assert_eq!(app.gitlab.tally("ada").expect("ada").device_logins, 1);
}

#[actix::test]
async fn a_code_that_is_declined_or_not_entered_in_time_says_so() {
    let app = quick(&["ada"]).await;
    let login = begin_device(&app).await;
    enter(&app, &login, Decision::Deny);
    let denied = login_when(&app, &login, is_over).await;
    assert!(message(&denied).contains("declined at GitLab"), "{denied}");
    // GitLab's clock is ahead: what it says counts.
    let login = begin_device(&app).await;
    app.gitlab.advance_clock(std::time::Duration::from_secs(400));
    let expired = login_when(&app, &login, is_over).await;
    assert!(message(&expired).contains("not entered in time"), "{expired}");
    assert!(accounts(&app).await.is_empty());
    let mut app = app;
    app.restart(|_| {}).await;
    assert_eq!(logins(&app).await, Vec::<Value>::new());
}

#[actix::test]
async fn a_gitlab_that_wants_to_be_asked_less_often_is_asked_five_seconds_later() {
    let app = quick(&["ada"]).await;
    app.gitlab.add_rule(Rule::once(Effect::json(400, &json!({ "error": "slow_down" }))).on(Call::DevicePoll));
    let login = begin_device(&app).await;
    enter(&app, &login, Decision::Authorize);
    let done = login_when(&app, &login, is_over).await;
    assert_eq!(done["status"], "done", "{done}");
    let asked = app.gitlab.steps();
    let asked: Vec<_> =
        asked.iter().filter(|event| event.flow == Flow::DeviceLogin && event.step == Step::Arrived).collect();
    assert_eq!(asked.len(), 2, "{asked:?}");
    // An interval of one second, and five more.
    assert!(asked[1].at.since(asked[0].at) >= std::time::Duration::from_millis(5_900), "{asked:?}");
}

#[actix::test]
async fn a_question_that_gitlab_does_not_answer_is_asked_again() {
    let app = quick(&["ada"]).await;
    app.gitlab.add_rule(Rule::once(Effect::json(502, &json!({}))).on(Call::DevicePoll));
    let login = begin_device(&app).await;
    enter(&app, &login, Decision::Authorize);
    let done = login_when(&app, &login, is_over).await;
    assert_eq!(done["status"], "done", "{done}");
}

#[actix::test]
async fn what_only_a_person_can_mend_ends_the_login_at_once() {
    let app = quick(&["ada"]).await;
    for (error, words) in [
        (json!({ "error": "invalid_client" }), "id or secret"),
        (json!({ "error": "invalid_grant" }), "does not accept the code"),
        (json!({ "error": "unsupported_grant_type" }), "does not offer this kind"),
    ] {
        app.gitlab.add_rule(Rule::once(Effect::json(400, &error)).on(Call::DevicePoll));
        let login = begin_device(&app).await;
        let failed = login_when(&app, &login, is_over).await;
        assert!(message(&failed).contains(words), "{error}: {failed}");
    }
    assert!(accounts(&app).await.is_empty());
}

#[actix::test]
async fn without_a_device_code_there_is_no_login() {
    let app = quick(&["ada"]).await;
    for (effect, status, words) in [
        (Effect::json(404, &json!({ "error": "404 Not Found" })), 422, "17.2"),
        (Effect::login_page(), 502, "not its API"),
        (Effect::json(500, &json!({})), 502, "server error"),
        (Effect::json(401, &json!({ "error": "invalid_client" })), 422, "client id"),
    ] {
        let said = format!("{effect:?}");
        app.gitlab.add_rule(Rule::once(effect).on(Call::AuthorizeDevice));
        let refused = try_begin(&app, &json!({ "kind": "device" })).await;
        assert_eq!(refused.status, status, "{said}: {}", refused.text());
        assert!(refused.text().contains(words), "{said}: {}", refused.text());
    }
    assert_eq!(logins(&app).await, Vec::<Value>::new());
}
