//! Adding accounts: every check that can fail, and that a failed one leaves nothing behind.

use duopool::simulator::{Call, Effect, Entitlement, Rule, Standing};
use serde_json::{Value, json};
use tokio::net::TcpSocket;

use crate::admin_api::{add, listed, login, problem};
use crate::support::{TestApp, token_of};

const TOKEN_CHECK: &str = "the token check";
const DUO_CHECK: &str = "the check for GitLab Duo access";

#[actix::test]
async fn a_good_token_becomes_an_account() {
    let app = TestApp::start(&["ada"], |_| {}).await;
    let mut body = login(&app, "ada");
    body["pool"] = json!("default");
    body["priority"] = json!(-3);
    body["weight"] = json!(7);
    body["max_concurrency"] = json!(2);
    body["gateway_url"] = json!(app.gateway_url());
    let answer = add(&app, &body).await;
    assert_eq!(answer.status, 201, "{}", answer.text());
    let account = answer.json();
    for (member, value) in [
        ("username", json!("ada")),
        ("label", json!("ada")),
        ("user_id", json!(1)),
        ("pool", json!("default")),
        ("priority", json!(-3)),
        ("weight", json!(7)),
        ("max_concurrency", json!(2)),
        ("base_url", json!(app.gitlab_url)),
        ("token_scopes", json!(["api"])),
        ("gateway_url", json!(app.gateway_url())),
        ("health", json!("ready")),
    ] {
        assert_eq!(account[member], value, "{member}: {account}");
    }
    assert!(!answer.text().contains(&token_of("ada")));
    let stored = listed(&app).await;
    assert_eq!(stored.len(), 1);
    assert_eq!(stored[0]["id"], account["id"]);
}

#[actix::test]
async fn a_known_account_is_a_conflict_unless_its_token_is_to_be_renewed() {
    let mut app = TestApp::start(&["ada"], |_| {}).await;
    let id = app.add("ada").await;
    let told = problem(&add(&app, &login(&app, "ada")).await, 409, "account-known");
    assert!(told["detail"].as_str().is_some_and(|detail| detail.contains(&id) && detail.contains("renew")), "{told}");

    // The user makes a second token and revokes the first.
    let second = "glpat-test-ada-second-0123";
    let mut twin = app.gitlab.accounts().remove(0);
    twin.token = duopool::domain::secret::Secret::new(second.to_owned());
    app.gitlab.add_account(twin);
    let mut body = login(&app, "ada");
    body["personal_access_token"] = json!(second);
    body["renew"] = json!(true);
    let answer = add(&app, &body).await;
    assert_eq!((answer.status, &answer.json()["id"]), (201, &json!(id)), "{}", answer.text());
    assert_eq!(listed(&app).await.len(), 1);

    for restarted in [false, true] {
        app.gitlab.clear_requests();
        if restarted {
            app.restart(|_| {}).await;
        }
        let answer = app.admin("POST", &format!("/admin/v1/accounts/{id}/refresh")).send().await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let mints = app.gitlab.requests_of(Call::ThirdPartyDirectAccess);
        let wanted = duopool::simulator::fingerprint(second);
        assert!(!mints.is_empty() && mints.iter().all(|mint| mint.credential.as_ref() == Some(&wanted)), "{mints:?}");
    }
}

/// What is wrong with a user, and what an operator is told.
struct Refused {
    change: fn(&mut Standing),
    check: &'static str,
    reason: &'static str,
}

const REFUSALS: &[Refused] = &[
    Refused {
        change: |user| user.token.expires_at = Some("2020-01-01".to_owned()),
        check: TOKEN_CHECK,
        reason: "token_expired",
    },
    Refused { change: |user| user.token.revoked = true, check: TOKEN_CHECK, reason: "token_revoked" },
    Refused { change: |user| user.token.active = Some(false), check: TOKEN_CHECK, reason: "token_invalid" },
    Refused {
        change: |user| user.token.scopes = vec!["read_user".to_owned()],
        check: TOKEN_CHECK,
        reason: "scope_missing",
    },
    Refused { change: |user| user.token.scopes = Vec::new(), check: TOKEN_CHECK, reason: "scope_missing" },
    Refused { change: |user| user.entitlement = Entitlement::NotEntitled, check: DUO_CHECK, reason: "not_entitled" },
    Refused {
        change: |user| user.entitlement = Entitlement::MissingNamespace,
        check: DUO_CHECK,
        reason: "namespace_missing",
    },
    Refused {
        change: |user| user.entitlement = Entitlement::FeaturesDisabled,
        check: DUO_CHECK,
        reason: "duo_disabled",
    },
    Refused {
        change: |user| user.entitlement = Entitlement::TokenCreationFailed,
        check: DUO_CHECK,
        reason: "mint_failed",
    },
];

/// Fails unless `told` names check and reason, and says what to do.
fn explains(told: &Value, check: &str, reason: &str) {
    assert_eq!(told["check"], check, "{told}");
    assert_eq!(told["reason"], reason, "{told}");
    assert!(told["detail"].as_str().is_some_and(|detail| detail.starts_with(check)), "{told}");
}

#[actix::test]
async fn what_gitlab_says_about_the_user_is_told_and_nothing_is_stored() {
    let mut app = TestApp::start(&["ada"], |_| {}).await;
    let standing = Standing::default();
    for refused in REFUSALS {
        app.gitlab.change_account("ada", |user| (refused.change)(user)).expect("ada");
        let answer = add(&app, &login(&app, "ada")).await;
        let told = problem(&answer, 422, "check-failed");
        explains(&told, refused.check, refused.reason);
        assert!(told["fix"].as_str().is_some_and(|fix| !fix.is_empty()), "{told}");
        assert!(!answer.text().contains(&token_of("ada")), "{}", answer.text());
        assert!(listed(&app).await.is_empty(), "{}", refused.reason);
        app.gitlab.change_account("ada", |user| *user = standing.clone()).expect("ada");
    }
    let answer = add(&app, &login(&app, "nobody")).await;
    explains(&problem(&answer, 422, "check-failed"), TOKEN_CHECK, "token_invalid");
    assert!(!answer.text().contains(&token_of("nobody")));

    app.gitlab.change_instance(|instance| instance.too_old = true);
    explains(&problem(&add(&app, &login(&app, "ada")).await, 422, "check-failed"), DUO_CHECK, "instance_too_old");
    app.gitlab.change_instance(|instance| instance.too_old = false);

    assert!(listed(&app).await.is_empty());
    app.restart(|_| {}).await;
    assert!(listed(&app).await.is_empty(), "a refused account came back with a restart");
    assert_eq!(
        add(&app, &login(&app, "ada")).await.status,
        201,
        "a refusal must not stand in the way of a later success"
    );
}

#[actix::test]
async fn a_gitlab_that_cannot_be_asked_is_a_bad_gateway_and_nothing_is_stored() {
    let mut app = TestApp::start(&["ada"], |_| {}).await;
    let trap = format!("{}/trap", app.gitlab_url);
    let cases = [
        (Call::TokenSelf, Effect::login_page(), TOKEN_CHECK, "instance_unexpected"),
        (Call::TokenSelf, Effect::redirect(&trap), TOKEN_CHECK, "instance_unexpected"),
        (Call::TokenSelf, Effect::garbage(), TOKEN_CHECK, "instance_unexpected"),
        (Call::TokenSelf, Effect::Close, TOKEN_CHECK, "instance_unexpected"),
        (Call::TokenSelf, Effect::json(503, &json!({ "message": "busy" })), TOKEN_CHECK, "instance_error"),
        (Call::TokenSelf, Effect::json(429, &json!({ "message": "slow down" })), TOKEN_CHECK, "instance_throttled"),
        (Call::ThirdPartyDirectAccess, Effect::login_page(), DUO_CHECK, "instance_unexpected"),
        (Call::ThirdPartyDirectAccess, Effect::redirect(&trap), DUO_CHECK, "instance_unexpected"),
        (Call::ThirdPartyDirectAccess, Effect::json(201, &json!({ "token": "" })), DUO_CHECK, "instance_unexpected"),
        (Call::ThirdPartyDirectAccess, Effect::json(500, &json!({})), DUO_CHECK, "instance_error"),
    ];
    for (call, effect, check, reason) in cases {
        app.gitlab.clear_rules();
        app.gitlab.add_rule(Rule::always(effect).on(call));
        let answer = add(&app, &login(&app, "ada")).await;
        explains(&problem(&answer, 502, "check-failed"), check, reason);
        assert!(!answer.text().contains(&token_of("ada")), "{}", answer.text());
        assert!(listed(&app).await.is_empty());
    }
    app.gitlab.clear_rules();
    let followed = app.gitlab.requests().into_iter().filter(|request| request.target.contains("trap")).count();
    assert_eq!(followed, 0, "a token was carried along a redirect");

    // A port that is taken and that nobody listens on refuses connections, and no other test can get it.
    let taken = TcpSocket::new_v4().expect("a socket");
    taken.bind(std::net::SocketAddr::from(([127, 0, 0, 1], 0))).expect("a port");
    let mut body = login(&app, "ada");
    body["base_url"] = json!(format!("http://{}", taken.local_addr().expect("an address")));
    explains(&problem(&add(&app, &body).await, 502, "check-failed"), TOKEN_CHECK, "instance_unreachable");

    app.restart(|_| {}).await;
    assert!(listed(&app).await.is_empty());
}

#[actix::test]
async fn two_logins_of_one_user_at_once_make_one_account() {
    let mut app = TestApp::start(&["ada"], |_| {}).await;
    for round in 0..5 {
        let body = login(&app, "ada");
        let answers = futures::future::join_all((0..3).map(|_| add(&app, &body))).await;
        let statuses: Vec<u16> = answers.iter().map(|answer| answer.status).collect();
        assert!(statuses.contains(&201), "round {round}: {statuses:?}");
        assert!(
            statuses.iter().all(|status| [201, 409].contains(status)),
            "round {round}: {statuses:?} {}",
            answers[0].text()
        );
        let accounts = listed(&app).await;
        assert_eq!(accounts.len(), 1, "round {round}");
        let ask = json!({ "model": "claude-sonnet-4-6", "max_tokens": 20, "messages": [{ "role": "user", "content": "Hi" }] });
        assert_eq!(app.ask("/v1/messages", &ask).await.status, 200, "round {round}");
        let id = accounts[0]["id"].as_str().expect("an id").to_owned();
        if round == 3 {
            app.restart(|_| {}).await;
            assert_eq!(listed(&app).await.len(), 1);
        }
        assert_eq!(app.admin("DELETE", &format!("/admin/v1/accounts/{id}")).send().await.status, 204);
    }
}
