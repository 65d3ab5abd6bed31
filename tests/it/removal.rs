//! Accounts that are removed with their tokens: GitLab takes them back, or it is told that somebody has to.

use std::sync::Arc;
use std::time::Duration;

use duopool::domain::time::{TestClock, Timestamp};
use duopool::simulator::{Call, Effect, Flow, Hold, Rule, Step};
use serde_json::{Value, json};

use crate::support::{Answer, Machine, TestApp, simulated, token_of};

/// 2026-11-22 00:00 UTC.
const START: Timestamp = Timestamp::from_secs(1_795_305_600);

async fn path_of(app: &TestApp, name: &str) -> String {
    format!("/admin/v1/accounts/{}", app.account(name).await["id"].as_str().expect("an id"))
}

async fn remove_and_revoke(app: &TestApp, path: &str) -> Answer {
    app.admin("DELETE", &format!("{path}?revoke=true")).send().await
}

/// Asserts that the account is gone and its token taken back, and that nothing is left to do.
async fn assert_revoked(app: &TestApp, path: &str, answer: &Answer) {
    let (id, told) = (path.rsplit('/').next().expect("an id"), answer.json());
    let expected = json!({ "id": id, "revoked": true, "message": "its token is revoked at GitLab", "fix": "" });
    assert_eq!((answer.status, told), (200, expected));
    assert_eq!(app.admin("GET", path).send().await.status, 404);
}

/// Asserts that the account is gone and its token is not, and that it is told why and where to go.
async fn assert_alive(app: &TestApp, path: &str, answer: &Answer, why: &str, page: &str) {
    let told = answer.json();
    assert_eq!((answer.status, &told["revoked"]), (200, &json!(false)), "{told}");
    let text = |member: &str| told[member].as_str().expect("a text").to_owned();
    assert!(text("message").starts_with("its token is still valid at GitLab: "), "{told}");
    assert!(text("message").contains(why), "{told}");
    assert!(text("fix").contains("sign in as ada") && text("fix").contains(page), "{told}");
    assert!(!answer.text().contains(&token_of("ada")), "{told}");
    assert_eq!(app.admin("GET", path).send().await.status, 404);
}

fn is_revoked(app: &TestApp, name: &str) -> bool {
    let mut revoked = false;
    app.gitlab.change_account(name, |user| revoked = user.token.revoked).expect("a user");
    revoked
}

/// An account of `ada` that logged in by OAuth a moment ago, in a world whose clock moves only when the test says so.
async fn logged_in() -> (TestApp, TestClock) {
    let clock = TestClock::at(START);
    let mut app = TestApp::start_at(&["ada"], Arc::new(clock.clone()), |_| {}).await;
    app.stop_and_store_login("ada").await;
    app.restart(|_| {}).await;
    app.account_when("ada", |account| account["health"] == "ready").await;
    (app, clock)
}

fn pairs_alive(app: &TestApp) -> (usize, usize) {
    let tally = app.gitlab.tally("ada").expect("ada");
    (tally.access_tokens_valid.len(), tally.refresh_tokens_valid.len())
}

#[actix::test]
async fn a_personal_token_is_revoked_where_that_is_wanted_and_nowhere_else() {
    let app = TestApp::with_accounts(&["ada", "grace"]).await;
    // Whoever may mint may revoke: no further scope is needed.
    app.gitlab.change_account("ada", |user| user.token.scopes = vec!["ai_features".to_owned()]).expect("ada");
    let (ada, grace) = (path_of(&app, "ada").await, path_of(&app, "grace").await);
    let answer = app.admin("DELETE", &format!("{grace}?revoke=false")).send().await;
    assert_eq!((answer.status, answer.body.len()), (204, 0));
    assert_revoked(&app, &ada, &remove_and_revoke(&app, &ada).await).await;
    assert_eq!((is_revoked(&app, "ada"), is_revoked(&app, "grace")), (true, false));
    // A second time there is nothing to revoke, nor to remove.
    assert_eq!(remove_and_revoke(&app, &ada).await.status, 404);
}

#[actix::test]
async fn both_tokens_of_a_login_are_revoked() {
    let (app, _) = logged_in().await;
    assert_eq!(pairs_alive(&app), (1, 1));
    let path = path_of(&app, "ada").await;
    assert_revoked(&app, &path, &remove_and_revoke(&app, &path).await).await;
    assert_eq!(pairs_alive(&app), (0, 0));
}

#[actix::test]
async fn a_token_that_is_dead_already_is_revoked_as_well_as_can_be() {
    let app = TestApp::with_accounts(&["ada"]).await;
    app.gitlab.change_account("ada", |user| user.token.revoked = true).expect("ada");
    let path = path_of(&app, "ada").await;
    assert_revoked(&app, &path, &remove_and_revoke(&app, &path).await).await;
}

#[actix::test]
async fn a_token_that_gitlab_does_not_take_back_is_told_and_the_account_is_gone_all_the_same() {
    let personal = "/-/user_settings/personal_access_tokens";
    for (effect, why) in [
        (Effect::json(500, &json!({ "message": "500 Internal Server Error" })), "server error"),
        (Effect::json(429, &json!({ "message": "Retry later" })), "rate of calls"),
        (Effect::garbage(), "not its API"),
    ] {
        let app = TestApp::with_accounts(&["ada"]).await;
        let path = path_of(&app, "ada").await;
        app.gitlab.add_rule(Rule::always(effect).on(Call::TokenSelf));
        assert_alive(&app, &path, &remove_and_revoke(&app, &path).await, why, personal).await;
        assert!(!is_revoked(&app, "ada"));
    }
    let (app, _) = logged_in().await;
    let path = path_of(&app, "ada").await;
    app.gitlab.add_rule(Rule::once(Effect::json(503, &json!({}))).on(Call::Revoke));
    let answer = remove_and_revoke(&app, &path).await;
    assert_alive(&app, &path, &answer, "server error", "/-/user_settings/applications").await;
    assert_eq!(pairs_alive(&app), (1, 1));
}

#[actix::test]
async fn a_pair_that_comes_while_its_account_is_removed_is_revoked_too() {
    for revoke in [true, false] {
        let (mut app, clock) = logged_in().await;
        let path = path_of(&app, "ada").await;
        let held = app.gitlab.hold(Hold { flow: Flow::Refresh, step: Step::Committed, account: None, times: Some(1) });
        clock.advance(Duration::from_hours(9));
        app.gitlab.reached(|event| event.flow == Flow::Refresh && event.step == Step::Committed).await;
        // GitLab has another pair, and has told nobody.
        let asking = actix::spawn(app.admin("DELETE", &format!("{path}?revoke={revoke}")).send());
        if revoke {
            // The answer tells what became of that pair as well.
            while app.admin("GET", &path).send().await.status != 404 {}
            assert!(!asking.is_finished());
            app.gitlab.release(held);
            assert_revoked(&app, &path, &asking.await.expect("an answer")).await;
        } else {
            assert_eq!(asking.await.expect("an answer").status, 204);
            app.gitlab.release(held);
        }
        // The end waits for it.
        app.stop().await;
        assert_eq!(pairs_alive(&app), (0, 0), "revoke={revoke}");
    }
}

#[actix::test]
async fn a_query_that_is_not_understood_removes_nothing() {
    let app = TestApp::with_accounts(&["ada"]).await;
    let path = path_of(&app, "ada").await;
    for query in ["revoke=yes", "revoke", "revoked=true", "revoke=true&now=1"] {
        let answer = app.admin("DELETE", &format!("{path}?{query}")).send().await;
        assert_eq!((answer.status, &answer.json()["type"]), (400, &json!("/problems/bad-request")), "{query}");
    }
    assert_eq!(app.admin("GET", &path).send().await.status, 200);
}

#[actix::test]
async fn the_command_says_what_became_of_the_token() {
    let gitlab = simulated(&["ada", "grace", "linus"]).await;
    let machine = Machine::beside(&gitlab);
    for name in ["ada", "grace", "linus"] {
        machine.run_with(&["login", "--pat"], &token_of(name)).await.fine();
    }
    let id = machine.run(&["accounts", "show", "ada", "--json"]).await.json()["id"].clone();
    let removed = machine.run(&["accounts", "remove", "ada", "--revoke", "--json"]).await.json();
    assert_eq!((&removed["removed"], &removed["revoked"]), (&id, &json!(true)));
    let removed = machine.run(&["accounts", "remove", "grace", "--revoke"]).await;
    assert!(removed.fine().ends_with("is removed, and its token is revoked at GitLab\n"), "{removed:?}");
    gitlab.handle.add_rule(Rule::always(Effect::garbage()).on(Call::TokenSelf));
    let removed = machine.run(&["accounts", "remove", "linus", "--revoke"]).await;
    let line = removed.refusal();
    assert!(line.contains("is removed, but its token is still valid at GitLab: "), "{line}");
    assert!(line.contains("; to mend it: sign in as linus and revoke it at http"), "{line}");
    let list: Value = machine.run(&["accounts", "list", "--json"]).await.json();
    assert_eq!(list, json!({ "accounts": [] }));
}
