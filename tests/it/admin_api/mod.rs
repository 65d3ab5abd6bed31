//! The operators' API: who may use it, what it takes and refuses, and that nothing is left behind by a refusal.

mod accounts;
mod described;
mod door;
mod logins;

use serde_json::{Value, json};

use crate::support::{Answer, TestApp, token_of};

/// Every route, with an id where one belongs.
fn routes(id: &str) -> Vec<(&'static str, String)> {
    vec![
        ("GET", "/admin/openapi.json".to_owned()),
        ("GET", "/admin/v1/status".to_owned()),
        ("GET", "/admin/v1/config".to_owned()),
        ("GET", "/admin/v1/models".to_owned()),
        ("POST", "/admin/v1/backup".to_owned()),
        ("GET", "/admin/v1/accounts".to_owned()),
        ("POST", "/admin/v1/accounts".to_owned()),
        ("GET", format!("/admin/v1/accounts/{id}")),
        ("PATCH", format!("/admin/v1/accounts/{id}")),
        ("POST", format!("/admin/v1/accounts/{id}/refresh")),
        ("POST", format!("/admin/v1/accounts/{id}/test")),
        ("POST", format!("/admin/v1/accounts/{id}/doctor")),
        ("POST", "/admin/v1/doctor".to_owned()),
        ("POST", format!("/admin/v1/accounts/{id}/reset")),
        ("DELETE", format!("/admin/v1/accounts/{id}")),
        ("POST", "/admin/v1/imports".to_owned()),
        ("GET", "/admin/v1/logins".to_owned()),
        ("POST", "/admin/v1/logins".to_owned()),
        ("GET", format!("/admin/v1/logins/{id}")),
        ("POST", format!("/admin/v1/logins/{id}")),
        ("GET", "/admin/v1/requests".to_owned()),
        ("GET", format!("/admin/v1/requests/{id}")),
        ("POST", "/admin/v1/route".to_owned()),
    ]
}

/// Fails unless `answer` is a problem of this status and kind; returns it.
fn problem(answer: &Answer, status: u16, kind: &str) -> Value {
    assert_eq!(answer.status, status, "{}", answer.text());
    assert_eq!(answer.header("content-type"), Some("application/problem+json"), "{}", answer.text());
    let told = answer.json();
    assert_eq!(told["type"], format!("/problems/{kind}"), "{told}");
    assert_eq!(told["status"], status);
    assert_eq!(told["request_id"].as_str(), answer.header("x-request-id"));
    assert!(told["title"].as_str().is_some_and(|title| !title.is_empty()), "{told}");
    told
}

/// Returns the body that adds GitLab's user `name`.
fn login(app: &TestApp, name: &str) -> Value {
    json!({ "base_url": app.gitlab_url, "personal_access_token": token_of(name), "label": name })
}

async fn add(app: &TestApp, body: &Value) -> Answer {
    app.admin("POST", "/admin/v1/accounts").json(body).send().await
}

async fn listed(app: &TestApp) -> Vec<Value> {
    let answer = app.admin("GET", "/admin/v1/accounts").send().await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()["accounts"].as_array().expect("a list").clone()
}
