//! Accounts that are there: shown, checked, renewed and removed; and bodies that are none.

use duopool::simulator::{Call, Effect, Entitlement, Rule};
use serde_json::{Value, json};

use crate::admin_api::{add, listed, login, problem};
use crate::support::{ADMIN_KEY, TestApp, token_of};

fn question() -> Value {
    json!({ "model": "claude-sonnet-4-6", "max_tokens": 20, "messages": [{ "role": "user", "content": "Hi" }] })
}

async fn id_of(app: &TestApp, name: &str) -> String {
    app.account(name).await["id"].as_str().expect("an id").to_owned()
}

#[actix::test]
async fn accounts_are_listed_and_shown_alike() {
    let app = TestApp::with_accounts(&["ada", "grace"]).await;
    let accounts = listed(&app).await;
    assert_eq!(accounts.len(), 2);
    for account in &accounts {
        let id = account["id"].as_str().expect("an id");
        let answer = app.admin("GET", &format!("/admin/v1/accounts/{id}")).send().await;
        assert_eq!((answer.status, &answer.json()["username"]), (200, &account["username"]));
        assert_eq!(answer.json()["id"], id);
        for secret in ["glpat-", "eyJ", ADMIN_KEY] {
            assert!(!answer.text().contains(secret), "{}", answer.text());
        }
    }
    let ids: Vec<&str> = accounts.iter().filter_map(|account| account["id"].as_str()).collect();
    assert!(ids.is_sorted(), "{ids:?}");
}

#[actix::test]
async fn an_id_that_nobody_has_is_not_found() {
    let app = TestApp::with_accounts(&["ada"]).await;
    for id in ["nobody", "0", "%00", "a%2Fb", "%F0%9F%A6%86"] {
        for (method, suffix) in [("GET", ""), ("DELETE", ""), ("POST", "/refresh"), ("POST", "/test")] {
            let answer = app.admin(method, &format!("/admin/v1/accounts/{id}{suffix}")).send().await;
            problem(&answer, 404, "no-such-account");
        }
    }
    assert_eq!(listed(&app).await.len(), 1);
}

#[actix::test]
async fn a_removed_account_is_gone_at_once_and_for_good() {
    let mut app = TestApp::with_accounts(&["ada", "grace"]).await;
    let (ada, grace) = (id_of(&app, "ada").await, id_of(&app, "grace").await);
    let path = format!("/admin/v1/accounts/{ada}");
    let answer = app.admin("DELETE", &path).send().await;
    assert_eq!((answer.status, answer.body.len()), (204, 0), "{}", answer.text());
    app.gitlab.clear_requests();
    for _ in 0..12 {
        let answer = app.ask("/v1/messages", &question()).await;
        assert_eq!((answer.status, answer.header("x-duopool-account")), (200, Some(grace.as_str())));
    }
    assert!(app.gitlab.requests().iter().all(|request| request.account.as_deref() != Some("ada")));
    for restarted in [false, true] {
        if restarted {
            app.restart(|_| {}).await;
        }
        problem(&app.admin("GET", &path).send().await, 404, "no-such-account");
        problem(&app.admin("DELETE", &path).send().await, 404, "no-such-account");
        assert_eq!(listed(&app).await.len(), 1, "after a restart: {restarted}");
    }
    assert_eq!(app.add("ada").await, ada, "the same user has the same id again");
}

#[actix::test]
async fn a_refresh_mints_anew_and_tells_why_it_cannot() {
    let app = TestApp::with_accounts(&["ada"]).await;
    let id = id_of(&app, "ada").await;
    let path = format!("/admin/v1/accounts/{id}/refresh");
    let before = app.account("ada").await["grant_generation"].as_u64().expect("a number");
    let mints = app.gitlab.requests_of(Call::ThirdPartyDirectAccess).len();
    let answer = app.admin("POST", &path).send().await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert!(answer.json()["grant_generation"].as_u64().expect("a number") > before);
    assert_eq!(app.gitlab.requests_of(Call::ThirdPartyDirectAccess).len(), mints + 1);
    assert!(answer.json()["models"].as_array().is_some_and(|models| !models.is_empty()), "{}", answer.text());

    app.gitlab.change_account("ada", |user| user.entitlement = Entitlement::NotEntitled).expect("ada");
    let told = problem(&app.admin("POST", &path).send().await, 422, "refresh-failed");
    assert_eq!(told["reason"], "not_entitled");
    assert!(told["fix"].as_str().is_some_and(|fix| fix.contains("seat")), "{told}");
    // The grant that is there is still good.
    assert_eq!(app.ask("/v1/messages", &question()).await.status, 200);
    assert_eq!(app.account("ada").await["health"], "degraded");

    app.gitlab.change_account("ada", |user| user.entitlement = Entitlement::Entitled).expect("ada");
    app.gitlab.add_rule(Rule::always(Effect::login_page()).on(Call::ThirdPartyDirectAccess));
    let told = problem(&app.admin("POST", &path).send().await, 502, "refresh-failed");
    assert_eq!(told["reason"], "instance_unexpected");
    app.gitlab.clear_rules();
    assert_eq!(app.admin("POST", &path).send().await.status, 200);
    assert_eq!(app.account("ada").await["health"], "ready");
}

#[actix::test]
async fn a_test_says_what_is_wrong_and_costs_nothing() {
    let app = TestApp::with_accounts(&["ada"]).await;
    let path = format!("/admin/v1/accounts/{}/test", id_of(&app, "ada").await);
    let report = async || {
        let answer = app.admin("POST", &path).send().await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json()
    };
    app.gitlab.clear_requests();
    let fine = report().await;
    assert_eq!(fine["ok"], true);
    let checks: Vec<&str> =
        fine["findings"].as_array().expect("findings").iter().filter_map(|one| one["check"].as_str()).collect();
    assert_eq!(checks, ["token", "gateway"]);
    assert!(app.gitlab.requests_of(Call::Messages).is_empty(), "a test must not ask a model");
    assert_eq!(app.gitlab.requests_of(Call::CountTokens).len(), 1);

    app.gitlab.revoke_grants(Some("ada")).expect("ada");
    let refused = report().await;
    assert_eq!(
        (&refused["ok"], &refused["findings"][0]["ok"], &refused["findings"][1]["ok"]),
        (&json!(false), &json!(true), &json!(false))
    );
    app.gitlab.change_account("ada", |user| user.token.revoked = true).expect("ada");
    let revoked = report().await;
    assert_eq!(revoked["findings"].as_array().map(Vec::len), Some(1), "{revoked}");
    assert!(revoked["findings"][0]["fix"].as_str().is_some_and(|fix| fix.contains("duopool login --pat")), "{revoked}");
}

#[actix::test]
async fn status_and_models_say_what_the_pool_can_do() {
    let app = TestApp::with_accounts(&["ada", "grace"]).await;
    let status = async || app.admin("GET", "/admin/v1/status").send().await.json();
    let before = status().await;
    assert_eq!(
        (&before["accounts"], &before["serving"], &before["served"]),
        (&json!(2), &json!(2), &json!(0)),
        "{before}"
    );
    assert_eq!((&before["version"], &before["open"]), (&json!(env!("CARGO_PKG_VERSION")), &json!(true)));
    assert_eq!(app.ask("/v1/messages", &question()).await.status, 200);
    let after = status().await;
    assert_eq!((&after["served"], &after["in_flight"], &after["failed"]), (&json!(1), &json!(0), &json!(0)), "{after}");

    for name in ["ada", "grace"] {
        app.account_when(name, |account| account["models"].as_array().is_some_and(|models| !models.is_empty())).await;
    }
    let list = app.admin("GET", "/admin/v1/models").send().await.json();
    let models = list["models"].as_array().expect("models");
    let named = |name: &str| models.iter().find(|model| model["name"] == name).expect("a model of the catalogue");
    let (sonnet, haiku) = (named("claude-sonnet-4-6"), named("claude-haiku-4-5-20251001"));
    assert_eq!(sonnet["current_of"].as_array().map(Vec::len), Some(2), "{sonnet}");
    assert_eq!(sonnet["dialects"], json!(["Messages"]));
    assert_eq!(haiku["offered_to"].as_array().map(Vec::len), Some(2), "{haiku}");
    assert_eq!(haiku["current_of"], json!([]));
}

#[actix::test]
async fn settings_are_shown_with_their_secrets_masked() {
    let secret = |text: &str| Some(duopool::domain::secret::Secret::new(text.to_owned()));
    let app = TestApp::start(&[], |layer| {
        layer.client_keys = Some(secret("a-client-key-0123456789").into_iter().collect());
        layer.gitlab_personal_access_token = secret("glpat-config-0123456789");
        layer.master_key = secret(&"ab".repeat(32));
    })
    .await;
    let answer = app.admin("GET", "/admin/v1/config").send().await;
    let shown = answer.json();
    for name in ["admin_key", "master_key", "gitlab_personal_access_token"] {
        assert_eq!(shown[name], "***", "{name}");
    }
    assert_eq!((&shown["client_keys"], &shown["workers"]), (&json!(1), &json!(2)));
    assert_eq!(shown["gitlab_base_url"], json!(app.gitlab_url));
    for secret in ["a-client-key", "glpat-config", "abab", ADMIN_KEY] {
        assert!(!answer.text().contains(secret), "{}", answer.text());
    }
}

#[actix::test]
async fn bodies_that_are_not_as_described_are_refused_before_anything_is_sent() {
    let app = TestApp::start(&["ada"], |_| {}).await;
    let token = token_of("ada");
    let with = |member: &str, value: Value| {
        let mut body = login(&app, "ada");
        body[member] = value;
        body.to_string()
    };
    let mut bodies = vec![
        String::new(),
        "null".to_owned(),
        "[]".to_owned(),
        format!("\"{token}\""),
        format!("{{\"personal_access_token\": \"{token}\""),
        format!("{{\"personal_access_token\": \"{token}\", \"personal_access_token\": \"{token}\"}}"),
        format!("{{\"base_url\": \"{}\"}}", app.gitlab_url),
        with("tokn", json!(token)),
        with("renew", json!("yes")),
        with("priority", json!(1.5)),
        with("priority", json!(3_000_000_000_i64)),
    ];
    for value in [json!(0), json!(1_001), json!(-1), json!("1"), json!(1.5)] {
        bodies.push(with("weight", value));
    }
    for value in [json!(0), json!(10_001), json!(-1), json!(true)] {
        bodies.push(with("max_concurrency", value));
    }
    for value in [
        json!(""),
        json!("  "),
        json!([token]),
        json!(42),
        json!(format!("{token}\r\nx-evil: 1")),
        json!(format!("{token} x")),
        json!("x".repeat(513)),
        json!("täuschung"),
    ] {
        bodies.push(with("personal_access_token", value));
    }
    for value in [json!(""), json!(" "), json!("x".repeat(513)), json!(7)] {
        bodies.push(with("pool", value.clone()));
        bodies.push(with("label", value));
    }
    // None of these is ever connected to: the look at the address comes first.
    for url in [
        "http://gitlab.example.com",
        "http://192.0.2.1",
        "https://169.254.169.254",
        "https://169.254.169.254/latest/meta-data",
        "https://[fe80::1]",
        "https://[fd00:ec2::254]",
        "https://100.100.100.200",
        "https://0.0.0.0",
        "https://[::ffff:169.254.169.254]",
        "https://2852039166",
        "https://0xa9fea9fe",
        "ftp://127.0.0.1",
        "file:///etc/passwd",
        "not a url",
        "",
        "https://",
        "https://me:pw@gitlab.example.com",
        "http://me@127.0.0.1:1",
        "https://gitlab.example.com?private_token=x",
        "https://gitlab.example.com/#x",
    ] {
        bodies.push(with("base_url", json!(url)));
        bodies.push(with("gateway_url", json!(url)));
    }
    for body in bodies {
        let answer = app.admin("POST", "/admin/v1/accounts").bytes(body.clone().into_bytes()).send().await;
        assert_eq!(answer.status, 400, "{body}: {}", answer.text());
        problem(&answer, 400, "bad-request");
        assert!(!answer.text().contains(&token), "{}", answer.text());
        assert!(!answer.text().contains("pw@") && !answer.text().contains("private_token"), "{}", answer.text());
    }
    assert!(listed(&app).await.is_empty());
    assert_eq!(
        app.gitlab.gauges().requests,
        0,
        "GitLab was asked about a body that is none: {:?}",
        app.gitlab.requests()
    );
}

#[actix::test]
async fn the_bounds_themselves_are_good() {
    let app = TestApp::start(&["ada", "grace"], |_| {}).await;
    for (name, weight, most, label) in [("ada", 1, 1, "l".to_owned()), ("grace", 1_000, 10_000, "l".repeat(512))] {
        let mut body = login(&app, name);
        body["weight"] = json!(weight);
        body["max_concurrency"] = json!(most);
        body["label"] = json!(label);
        let answer = add(&app, &body).await;
        assert_eq!(answer.status, 201, "{}", answer.text());
        assert_eq!((&answer.json()["weight"], &answer.json()["max_concurrency"]), (&json!(weight), &json!(most)));
    }
}

#[actix::test]
async fn a_body_that_is_too_large_is_refused_by_its_size() {
    let app = TestApp::start(&["ada"], |_| {}).await;
    let mut body = login(&app, "ada");
    body["label"] = json!("x".repeat(65 * 1024));
    let answer = add(&app, &body).await;
    let told = problem(&answer, 413, "too-large");
    assert!(told["detail"].as_str().is_some_and(|detail| detail.contains("65536")), "{told}");
    assert_eq!(app.gitlab.gauges().requests, 0);
}
