//! What GitLab has handed out is kept, whatever happens in the middle: no Duo access, a GitLab that falls silent, a client
//! that leaves, a server that stops.

use std::time::Duration;

use duopool::config::Layer;
use duopool::simulator::{Call, Decision, Effect, Entitlement, Flow, Hold, Rule, Standing, Step};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;
use tokio::time::timeout;

use super::{accounts, answer, app_of, begin, findings, log_in, login_when, logins, sign_in};
use crate::support::TestApp;

/// Waits for an account to be there.
async fn first_account(app: &TestApp) -> Value {
    for _ in 0..2_000 {
        if let Some(account) = accounts(app).await.into_iter().next() {
            return account;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("no account came: {:?}", logins(app).await)
}

#[actix::test]
async fn an_account_without_duo_access_is_kept_and_says_who_can_mend_it() {
    let app = app_of(&["ada"]).await;
    for (entitlement, reason, who) in [
        (Entitlement::NotEntitled, "not_entitled", "ask the group owner or administrator"),
        (Entitlement::MissingNamespace, "namespace_missing", "choose a default GitLab Duo namespace"),
        (Entitlement::FeaturesDisabled, "duo_disabled", "ask the owner of the billing namespace"),
    ] {
        app.gitlab.change_account("ada", |user: &mut Standing| user.entitlement = entitlement).expect("ada");
        let done = log_in(&app, "ada").await;
        let access = done["report"]["findings"].as_array().expect("findings").last().expect("one").clone();
        assert_eq!((&access["check"], &access["ok"]), (&json!("duo access"), &json!(false)), "{done}");
        assert!(access["fix"].as_str().is_some_and(|fix| fix.contains(who)), "{access}");
        // The account's own state says the same.
        let account = app.account_when("ada", |account| account["trouble"]["reason"] == reason).await;
        assert_eq!((&account["id"], &account["health"]), (&done["account"], &json!("needs_attention")), "{account}");
    }
    // Mended at GitLab: the pair that was kept is good, and no new login is needed.
    app.gitlab.change_account("ada", |user| *user = Standing::default()).expect("ada");
    let id = app.account("ada").await["id"].as_str().expect("an id").to_owned();
    let refreshed = app.admin("POST", &format!("/admin/v1/accounts/{id}/refresh")).send().await;
    assert_eq!((refreshed.status, &refreshed.json()["health"]), (200, &json!("ready")), "{}", refreshed.text());
}

#[actix::test]
async fn a_pair_whose_owner_cannot_be_told_yet_waits_and_becomes_the_account_after_a_restart() {
    let mut app = app_of(&["ada"]).await;
    for call in [Call::User, Call::TokenInfo] {
        app.gitlab.add_rule(Rule::always(Effect::json(503, &json!({}))).on(call));
    }
    let login = begin(&app, &json!({ "label": "ada", "weight": 7 })).await;
    let waits = answer(&app, &login, &sign_in(&app, "ada", &login)).await.json();
    assert_eq!(
        (&waits["status"], &waits["problem"]["reason"]),
        (&json!("checking"), &json!("instance_error")),
        "{waits}"
    );
    assert!(waits["problem"]["message"].as_str().is_some_and(|text| text.contains("tokens are stored")), "{waits}");
    assert!(accounts(&app).await.is_empty());
    app.gitlab.clear_rules();
    app.restart(|_| {}).await;
    let done = login_when(&app, &login, |login| login["status"] == "done").await;
    let account = app.account("ada").await;
    assert_eq!((&account["id"], &account["weight"]), (&done["account"], &json!(7)), "{account}");
    // The code was exchanged once, and the stored login is gone with the account's birth.
    assert_eq!(app.gitlab.tally("ada").expect("ada").codes_exchanged, 1);
    app.restart(|_| {}).await;
    assert_eq!(logins(&app).await, Vec::<Value>::new());
}

#[actix::test]
async fn a_pair_that_ended_while_it_waited_is_exchanged_for_the_next() {
    let mut app = app_of(&["ada"]).await;
    // Ends within the lead before which a pair is exchanged.
    app.gitlab.change_instance(|instance| instance.oauth.access_lifetime_s = 30);
    for call in [Call::User, Call::TokenInfo] {
        app.gitlab.add_rule(Rule::always(Effect::json(503, &json!({}))).on(call));
    }
    let login = begin(&app, &json!({ "label": "ada" })).await;
    let waits = answer(&app, &login, &sign_in(&app, "ada", &login)).await.json();
    assert_eq!(waits["status"], "checking", "{waits}");
    app.gitlab.change_instance(|instance| instance.oauth.access_lifetime_s = 7_200);
    app.gitlab.advance_clock(Duration::from_secs(31));
    app.gitlab.clear_rules();
    app.restart(|_| {}).await;
    login_when(&app, &login, |login| login["status"] == "done").await;
    let tally = app.gitlab.tally("ada").expect("ada");
    assert!(tally.refreshes_committed >= 1 && tally.dead_refresh_uses == 0, "{tally:?}");
}

#[actix::test]
async fn a_token_that_gitlab_does_not_know_yet_is_asked_about_again() {
    let app = app_of(&["ada"]).await;
    for call in [Call::User, Call::TokenInfo, Call::ThirdPartyDirectAccess] {
        app.gitlab.add_rule(Rule::once(Effect::bare_401()).on(call));
    }
    let done = log_in(&app, "ada").await;
    assert!(findings(&done).iter().all(|(_, ok)| *ok), "{done}");
}

#[actix::test]
async fn a_client_that_hangs_up_in_the_middle_loses_nothing() {
    let app = app_of(&["ada"]).await;
    let hold = app.gitlab.hold(Hold { flow: Flow::CodeExchange, step: Step::Committed, account: None, times: None });
    let login = begin(&app, &json!({ "label": "ada" })).await;
    let path = format!("/admin/v1/logins/{}", login["id"].as_str().expect("an id"));
    let location = sign_in(&app, "ada", &login);
    let body = json!({ "callback_url": location });
    let mut connection = app.admin("POST", &path).json(&body).begin().await;
    app.gitlab.reached(|event| event.flow == Flow::CodeExchange && event.step == Step::Committed).await;
    connection.shutdown().await.expect("the client leaves");
    drop(connection);
    assert_eq!(super::shown(&app, &login).await["status"], "exchanging");
    // A code that is being exchanged is not exchanged a second time.
    assert_eq!(answer(&app, &login, &location).await.status, 409);
    app.gitlab.release(hold);
    let done = login_when(&app, &login, |login| login["status"] == "done").await;
    assert_eq!(app.account("ada").await["id"], done["account"]);
    assert_eq!(app.gitlab.tally("ada").expect("ada").codes_exchanged, 1);
}

#[actix::test]
async fn a_server_that_is_stopped_waits_for_the_exchange_in_flight() {
    let mut app = app_of(&["ada"]).await;
    let hold = app.gitlab.hold(Hold { flow: Flow::CodeExchange, step: Step::Committed, account: None, times: None });
    let login = begin(&app, &json!({ "label": "ada" })).await;
    let path = format!("/admin/v1/logins/{}", login["id"].as_str().expect("an id"));
    let body = json!({ "callback_url": sign_in(&app, "ada", &login) });
    let connection = app.admin("POST", &path).json(&body).begin().await;
    app.gitlab.reached(|event| event.flow == Flow::CodeExchange && event.step == Step::Committed).await;
    drop(connection);
    let mut stopping = actix::spawn(app.take_running().stop());
    // GitLab has done it and not said so: who stops now loses the pair.
    assert!(timeout(Duration::from_millis(700), &mut stopping).await.is_err(), "it did not wait");
    app.gitlab.release(hold);
    stopping.await.expect("the stop");
    app.restart(|_| {}).await;
    // Whether it became the account before the stop or after the start: it is one.
    assert_eq!(first_account(&app).await["label"], "ada");
    assert_eq!(app.gitlab.tally("ada").expect("ada").codes_exchanged, 1);
}

#[actix::test]
async fn accounts_that_log_in_at_the_same_time_become_one_each() {
    let app = app_of(&["ada", "grace"]).await;
    let begun: Vec<(Value, String)> = {
        let mut begun = Vec::new();
        for name in ["ada", "grace", "ada", "grace"] {
            let login = begin(&app, &json!({ "label": name })).await;
            let location = sign_in(&app, name, &login);
            begun.push((login, location));
        }
        begun
    };
    let answers = begun.iter().map(|(login, location)| answer(&app, login, location));
    for done in futures::future::join_all(answers).await {
        assert_eq!(done.json()["status"], "done", "{}", done.text());
    }
    let labels: Vec<Value> = accounts(&app).await.iter().map(|account| account["label"].clone()).collect();
    assert!(labels.len() == 2 && labels.contains(&json!("ada")) && labels.contains(&json!("grace")), "{labels:?}");
}

#[actix::test]
async fn a_pair_that_is_worth_nothing_is_told_once_and_forgotten() {
    let app = TestApp::start(&["ada"], |layer: &mut Layer| {
        super::with_application(layer);
        layer.gitlab_oauth_scopes = Some("read_api".to_owned());
    })
    .await;
    // Whose it is can be told; that it opens nothing as well.
    let login = begin(&app, &json!({ "label": "ada" })).await;
    let location = app.gitlab.approve("ada", login["authorize_url"].as_str().expect("a URL"), Decision::Authorize);
    let done = answer(&app, &login, &location.expect("a redirect")).await.json();
    let told = done.to_string();
    assert!(told.contains("scope_missing") || told.contains("neither scope"), "{told}");
}
