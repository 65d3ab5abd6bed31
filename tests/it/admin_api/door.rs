//! Who may use the admin API, and from where.

use crate::admin_api::{problem, routes};
use crate::support::{ADMIN_KEY, TestApp};

#[actix::test]
async fn every_route_wants_the_admin_key() {
    let app = TestApp::with_accounts(&["ada"]).await;
    let id = app.account("ada").await["id"].as_str().expect("an id").to_owned();
    let mut all = routes(&id);
    all.push(("GET", "/admin/".to_owned()));
    all.push(("GET", "/admin/v1/nothing".to_owned()));
    for (method, path) in all {
        let bare = app.request(method, &path).send().await;
        problem(&bare, 401, "unauthorized");
        assert!(bare.header("www-authenticate").is_some_and(|scheme| scheme.starts_with("Bearer")), "{path}");
        for key in
            ["Bearer wrong-key-0123456789", "Bearer ", "Basic dGVzdA==", ADMIN_KEY, &format!("Basic {ADMIN_KEY}")]
        {
            let answer = app.request(method, &path).header("authorization", key).send().await;
            problem(&answer, 401, "unauthorized");
            assert!(!answer.text().contains("wrong-key"), "{}", answer.text());
        }
        let elsewhere = app.request(method, &path).header("x-api-key", ADMIN_KEY).send().await;
        problem(&elsewhere, 401, "unauthorized");
    }
    assert_eq!(app.account("ada").await["id"], id, "a request without the key changed something");
}

#[actix::test]
async fn no_spelling_of_the_path_leads_around_the_key() {
    let app = TestApp::with_accounts(&["ada"]).await;
    for path in [
        "/%61dmin/v1/accounts",
        "/adm%69n/v1/accounts",
        "//admin/v1/accounts",
        "/admin//v1/accounts",
        "/./admin/v1/accounts",
        "/v1/../admin/v1/accounts",
        "/admin%2Fv1/accounts",
        "/ADMIN/v1/accounts",
        "/admin;x/v1/accounts",
        "/%61dmin/openapi.json",
        "/admin/v1/accounts/",
        "/admin?x=/admin/v1/accounts",
        "/admin/v1/accounts?key=x",
    ] {
        let answer = app.request("GET", path).send().await;
        assert!(matches!(answer.status, 401 | 404), "{path}: {} {}", answer.status, answer.text());
        assert!(!answer.text().contains("base_url"), "{path}: {}", answer.text());
    }
}

#[actix::test]
async fn the_host_must_be_one_of_the_servers_own() {
    let mut app = TestApp::start(&[], |layer| {
        layer.public_url = Some("https://Pool.example.com/duo".to_owned());
        layer.allowed_hosts = Some(vec![" other.example.com".to_owned()]);
    })
    .await;
    let status_at =
        async |app: &TestApp, host: &str| app.admin("GET", "/admin/v1/status").header("host", host).send().await;
    for host in
        ["pool.example.com", "POOL.example.com:443", "other.example.com", "localhost:1", "127.0.0.1", "[::1]:80"]
    {
        assert_eq!(status_at(&app, host).await.status, 200, "{host}");
    }
    for host in ["evil.example.com", "pool.example.com.evil.com", "localhost.evil.com", "169.254.169.254", ""] {
        problem(&status_at(&app, host).await, 403, "forbidden");
    }
    app.restart(|layer| (layer.public_url, layer.allowed_hosts) = (None, None)).await;
    problem(&status_at(&app, "pool.example.com").await, 403, "forbidden");
}

#[actix::test]
async fn a_foreign_host_is_refused_before_the_key_is_looked_at() {
    let app = TestApp::start(&[], |_| {}).await;
    for (method, path) in routes("some-id") {
        let answer = app.request(method, &path).header("host", "rebound.example.com").send().await;
        problem(&answer, 403, "forbidden");
    }
}

#[actix::test]
async fn operators_may_have_an_address_of_their_own() {
    let mut app = TestApp::start(&[], |layer| layer.admin_listen = Some("127.0.0.1:0".to_owned())).await;
    let running = app.take_running();
    assert_ne!(running.admin_address(), running.address());
    for address in [running.admin_address(), running.address()] {
        let request = crate::support::Request::new(address, "GET", "/admin/v1/status");
        let answer = request.header("authorization", &format!("Bearer {ADMIN_KEY}")).send().await;
        assert_eq!(answer.status, 200, "{address}: {}", answer.text());
    }
    running.stop().await;
}

#[actix::test]
async fn client_keys_do_not_open_the_admin_api_nor_the_admin_key_the_models() {
    let client_key = "a-client-key-0123456789";
    let app = TestApp::start(&[], |layer| {
        layer.client_keys = Some(vec![duopool::domain::secret::Secret::new(client_key.to_owned())]);
    })
    .await;
    let as_client = format!("Bearer {client_key}");
    problem(
        &app.request("GET", "/admin/v1/status").header("authorization", &as_client).send().await,
        401,
        "unauthorized",
    );
    assert_eq!(app.admin("GET", "/v1/models").send().await.status, 401);
    assert_eq!(app.request("GET", "/v1/models").header("authorization", &as_client).send().await.status, 200);
}

#[actix::test]
async fn a_wrong_method_is_a_problem_that_names_the_right_ones() {
    let app = TestApp::start(&[], |_| {}).await;
    let id = "some-id";
    let all = routes(id);
    let paths: std::collections::BTreeSet<&String> = all.iter().map(|(_, path)| path).collect();
    for path in paths {
        let right: Vec<&str> = all.iter().filter(|(_, other)| other == path).map(|(method, _)| *method).collect();
        for method in ["GET", "POST", "PUT", "PATCH", "DELETE"].into_iter().filter(|method| !right.contains(method)) {
            let answer = app.admin(method, path).send().await;
            problem(&answer, 405, "method-not-allowed");
            let allow: Vec<&str> = answer.header("allow").unwrap_or_default().split(", ").collect();
            assert_eq!(allow, right, "{method} {path}");
        }
    }
    problem(&app.admin("GET", "/admin/v1/nothing").send().await, 404, "no-such-route");
}
