//! Logins by OAuth: in a browser, with a pasted address, with a device code, over HTTP and on the command line; and what
//! is kept when something goes wrong in the middle.

mod browser;
mod command;
mod device;
mod foreign;
mod imported;
mod kept;
mod refused;

use std::time::Duration;

use duopool::config::Layer;
use duopool::simulator::{DEMO_PUBLIC_CLIENT_ID, Decision};
use serde_json::{Value, json};

use crate::support::{Answer, TestApp};

/// Sets the application that the simulated GitLab knows.
fn with_application(layer: &mut Layer) {
    layer.gitlab_oauth_client_id = Some(DEMO_PUBLIC_CLIENT_ID.to_owned());
}

pub async fn app_of(names: &[&str]) -> TestApp {
    TestApp::start(names, with_application).await
}

/// Begins a login and returns what is shown of it.
pub async fn begin(app: &TestApp, body: &Value) -> Value {
    let answer = try_begin(app, body).await;
    assert_eq!(answer.status, 201, "{}", answer.text());
    answer.json()
}

pub async fn try_begin(app: &TestApp, body: &Value) -> Answer {
    app.admin("POST", "/admin/v1/logins").json(body).send().await
}

/// Returns where GitLab sends the browser of a user who signs in to `login`.
pub fn sign_in(app: &TestApp, name: &str, login: &Value) -> String {
    let authorize_url = login["authorize_url"].as_str().expect("an address to open");
    app.gitlab.approve(name, authorize_url, Decision::Authorize).expect("GitLab's page works")
}

/// Gives the server the address that the browser was sent to.
pub async fn answer(app: &TestApp, login: &Value, callback_url: &str) -> Answer {
    let path = format!("/admin/v1/logins/{}", login["id"].as_str().expect("an id"));
    app.admin("POST", &path).json(&json!({ "callback_url": callback_url })).send().await
}

async fn shown(app: &TestApp, login: &Value) -> Value {
    let path = format!("/admin/v1/logins/{}", login["id"].as_str().expect("an id"));
    let answer = app.admin("GET", &path).send().await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()
}

/// Waits until the server says of `login` what `wanted` wants.
pub async fn login_when(app: &TestApp, login: &Value, wanted: impl Fn(&Value) -> bool) -> Value {
    for _ in 0..4_000 {
        let now = shown(app, login).await;
        if wanted(&now) {
            return now;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("the login never came to that state: {}", shown(app, login).await)
}

/// Logs `name` in from begin to end, and returns the finished login.
async fn log_in(app: &TestApp, name: &str) -> Value {
    let login = begin(app, &json!({ "label": name })).await;
    let done = answer(app, &login, &sign_in(app, name, &login)).await;
    assert_eq!(done.status, 200, "{}", done.text());
    let done = done.json();
    assert_eq!(done["status"], "done", "{done}");
    done
}

async fn logins(app: &TestApp) -> Vec<Value> {
    let answer = app.admin("GET", "/admin/v1/logins").send().await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()["logins"].as_array().expect("a list").clone()
}

async fn accounts(app: &TestApp) -> Vec<Value> {
    let answer = app.admin("GET", "/admin/v1/accounts").send().await;
    answer.json()["accounts"].as_array().expect("a list").clone()
}

/// Returns a part of the query of an address.
fn part(url: &str, name: &str) -> String {
    let query = url.split_once('?').expect("a query").1;
    let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    pairs.find(|(key, _)| *key == name).unwrap_or_else(|| panic!("no {name} in {url}")).1.to_owned()
}

/// Returns the findings of a finished login's report as `check: ok`.
fn findings(login: &Value) -> Vec<(String, bool)> {
    let findings = login["report"]["findings"].as_array().unwrap_or_else(|| panic!("no report: {login}"));
    findings.iter().map(|one| (one["check"].as_str().unwrap_or_default().to_owned(), one["ok"] == true)).collect()
}
