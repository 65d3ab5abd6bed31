//! The description of the API, held against the API.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::admin_api::{login, routes};
use crate::support::TestApp;
use crate::support::requests::{SONNET, messages};

/// The route table itself, where the compiler finds it.
const ROUTE_TABLE: &str = include_str!("../../../src/http/admin/mod.rs");
/// The description does not describe itself.
const PAGE: &str = "/admin/openapi.json";

async fn page(app: &TestApp) -> Value {
    let answer = app.admin("GET", PAGE).send().await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("content-type"), Some("application/json"));
    answer.json()
}

/// Returns every documented operation, such as `GET /admin/v1/status`.
fn documented(page: &Value) -> BTreeSet<String> {
    let paths = page["paths"].as_object().expect("paths");
    let methods = paths.iter().flat_map(|(path, item)| {
        let item = item.as_object().expect("a path item");
        item.keys().map(move |method| format!("{} {path}", method.to_ascii_uppercase()))
    });
    methods.collect()
}

/// Returns every operation of the route table's source: `at("PATH" …)` and the methods behind it.
fn in_the_table() -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for resource in ROUTE_TABLE.split("at(\"").skip(1) {
        let (path, rest) = resource.split_once('"').expect("a path");
        for route in rest.split(".route(web::").skip(1) {
            let method = route.split('(').next().unwrap_or_default().to_ascii_uppercase();
            found.insert(format!("{method} /admin{path}"));
        }
    }
    found
}

#[actix::test]
async fn every_route_is_described_and_nothing_else_is() {
    let app = TestApp::start(&[], |_| {}).await;
    let mut table = in_the_table();
    assert!(table.remove(&format!("GET {PAGE}")), "the source is not read as it is written: {table:?}");
    assert_eq!(documented(&page(&app).await), table);
    let known: BTreeSet<String> = routes("{id}").iter().map(|(method, path)| format!("{method} {path}")).collect();
    table.insert(format!("GET {PAGE}"));
    assert_eq!(known, table, "the list that the tests go by is not whole");
}

#[actix::test]
async fn the_description_is_whole_in_itself() {
    let app = TestApp::start(&[], |_| {}).await;
    let page = page(&app).await;
    assert!(page["openapi"].as_str().is_some_and(|version| version.starts_with("3.")), "{}", page["openapi"]);
    assert!(page["info"]["title"].is_string() && page["info"]["version"].is_string());
    assert_eq!(page["components"]["securitySchemes"]["admin_key"]["scheme"], "bearer");
    assert_eq!(page["security"][0]["admin_key"], serde_json::json!([]));
    let mut open = vec![&page];
    while let Some(value) = open.pop() {
        if let Some(target) = value.get("$ref").and_then(Value::as_str) {
            let pointer = target.strip_prefix('#').expect("a reference inside the page");
            assert!(page.pointer(pointer).is_some(), "{target} leads nowhere");
        }
        open.extend(value.as_object().into_iter().flat_map(|map| map.values()));
        open.extend(value.as_array().into_iter().flatten());
    }
    for (path, item) in page["paths"].as_object().expect("paths") {
        for (method, operation) in item.as_object().expect("a path item") {
            let responses = operation["responses"].as_object().expect("responses");
            assert!(!responses.is_empty(), "{method} {path}");
            assert!(operation["summary"].is_string() || operation["description"].is_string(), "{method} {path}");
            let declared =
                operation["parameters"].as_array().is_some_and(|all| all.iter().any(|one| one["name"] == "id"));
            assert_eq!(declared, path.contains("{id}"), "{method} {path}");
        }
    }
}

#[actix::test]
async fn every_described_operation_answers_with_a_described_status() {
    let app = TestApp::with_accounts(&["ada"]).await;
    let id = app.account("ada").await["id"].as_str().expect("an id").to_owned();
    // Nothing is asked of GitLab yet.
    let begun = app.admin("POST", "/admin/v1/logins").json(&serde_json::json!({ "client_id": "any" })).send().await;
    let login_id = begun.json()["id"].as_str().expect("an id").to_owned();
    let asked = app.ask("/v1/messages", &messages(SONNET, false)).await;
    let request_id = asked.header("x-request-id").expect("an id").to_owned();
    let page = page(&app).await;
    // The one that removes the account comes last.
    let mut operations: Vec<String> = documented(&page).into_iter().collect();
    operations.sort_by_key(|operation| operation.starts_with("DELETE"));
    for operation in operations {
        let (method, path) = operation.split_once(' ').expect("a method and a path");
        let id = match path {
            _ if path.starts_with("/admin/v1/logins/") => &login_id,
            _ if path.starts_with("/admin/v1/requests/") => &request_id,
            _ => &id,
        };
        let request = app.admin(method, &path.replace("{id}", id));
        let request = if operation.ends_with("/accounts") && method == "POST" {
            request.json(&login(&app, "ada"))
        } else {
            request
        };
        let answer = request.send().await;
        let described = &page["paths"][path][method.to_ascii_lowercase()]["responses"];
        assert!(described.get(answer.status.to_string()).is_some(), "{operation}: {} is not described", answer.status);
        assert!(!matches!(answer.status, 404 | 405 | 500), "{operation}: {}", answer.text());
    }
}

#[actix::test]
async fn an_account_has_the_members_that_are_described() {
    let app = TestApp::with_accounts(&["ada"]).await;
    let page = page(&app).await;
    let described: BTreeSet<&String> =
        page["components"]["schemas"]["AccountView"]["properties"].as_object().expect("properties").keys().collect();
    let account = app.account("ada").await;
    let shown: BTreeSet<&String> = account.as_object().expect("an account").keys().collect();
    assert_eq!(shown, described);
}
