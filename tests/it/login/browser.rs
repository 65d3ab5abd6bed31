//! The way of a login in a browser, from the address that is opened to the first request.

use duopool::config::Layer;
use duopool::domain::secret::Secret;
use duopool::simulator::{DEMO_CONFIDENTIAL_CLIENT_ID, DEMO_CONFIDENTIAL_CLIENT_SECRET, Decision, OauthApplication};
use serde_json::json;

use super::{accounts, answer, app_of, begin, findings, log_in, logins, part, shown, sign_in, with_application};
use crate::support::{TestApp, token_of};

#[actix::test]
async fn a_user_who_signs_in_becomes_an_account_that_serves() {
    let app = app_of(&["ada"]).await;
    let login = begin(&app, &json!({ "label": "ada", "pool": "default", "weight": 3 })).await;
    assert_eq!((&login["status"], &login["kind"]), (&json!("pending"), &json!("browser")), "{login}");
    let url = login["authorize_url"].as_str().expect("an address");
    assert!(url.starts_with(&format!("{}/oauth/authorize?", app.gitlab_url)), "{url}");
    assert_eq!(part(url, "code_challenge_method"), "S256");
    assert_eq!(part(url, "scope"), "api");
    assert!(part(url, "state").len() >= 16 && part(url, "code_challenge").len() == 43, "{url}");
    assert_eq!(login["redirect_uri"], "http://127.0.0.1:17171/callback");

    let done = answer(&app, &login, &sign_in(&app, "ada", &login)).await.json();
    assert_eq!(done["status"], "done", "{done}");
    let checks = ["login", "user", "duo access", "gateway", "models"].map(|check| (check.to_owned(), true));
    assert_eq!(findings(&done), checks, "{done}");
    assert!(done["authorize_url"].is_null() && done["problem"].is_null(), "{done}");
    let account = app.account("ada").await;
    assert_eq!(
        (&account["id"], &account["weight"], &account["health"]),
        (&done["account"], &json!(3), &json!("ready"))
    );
    assert_eq!(account["token_scopes"], json!(["api"]));
    let body =
        json!({ "model": "claude-sonnet-4-6", "max_tokens": 16, "messages": [{ "role": "user", "content": "hi" }] });
    let asked = app.ask("/v1/messages", &body).await;
    assert_eq!((asked.status, asked.header("x-duopool-account")), (200, done["account"].as_str()), "{}", asked.text());
    assert_eq!(app.gitlab.tally("ada").expect("ada").codes_exchanged, 1);
}

#[actix::test]
async fn a_confidential_application_proves_itself_with_its_secret() {
    let app = TestApp::start(&["ada", "grace"], |layer: &mut Layer| {
        layer.gitlab_oauth_client_id = Some(DEMO_CONFIDENTIAL_CLIENT_ID.to_owned());
        layer.gitlab_oauth_client_secret = Some(Secret::new(DEMO_CONFIDENTIAL_CLIENT_SECRET.to_owned()));
    })
    .await;
    log_in(&app, "ada").await;
    // With one that comes in the order, and none in the settings that would fit.
    app.gitlab.add_application(OauthApplication::confidential("other", "s3cret-of-other", "http://127.0.0.1:1/cb"));
    let order =
        json!({ "client_id": "other", "client_secret": "s3cret-of-other", "redirect_uri": "http://127.0.0.1:1/cb" });
    let login = begin(&app, &order).await;
    assert!(!login.to_string().contains("s3cret"), "{login}");
    let done = answer(&app, &login, &sign_in(&app, "grace", &login)).await.json();
    assert_eq!(done["status"], "done", "{done}");
    // The settings' secret is that of the settings' application, and of no other.
    let login = begin(&app, &json!({ "client_id": "other", "redirect_uri": "http://127.0.0.1:1/cb" })).await;
    let refused = answer(&app, &login, &sign_in(&app, "grace", &login)).await.json();
    assert_eq!((&refused["status"], &refused["problem"]["reason"]), (&json!("failed"), &json!("client_refused")));
}

#[actix::test]
async fn a_browser_from_elsewhere_comes_back_to_the_public_address() {
    let app = TestApp::start(&["ada"], |layer| {
        with_application(layer);
        layer.public_url = Some("https://pool.example.com/duopool/".to_owned());
    })
    .await;
    let redirect = "https://pool.example.com/duopool/oauth/callback";
    app.gitlab.add_application(OauthApplication::public(duopool::simulator::DEMO_PUBLIC_CLIENT_ID, redirect));
    let login = begin(&app, &json!({ "label": "ada" })).await;
    assert_eq!(login["redirect_uri"], redirect);
    let location = sign_in(&app, "ada", &login);
    let query = location.strip_prefix(redirect).expect("the public address");
    // As a reverse proxy hands it on. It needs no key.
    let request = app.request("GET", &format!("/oauth/callback{query}"));
    let page = request.header("host", "pool.example.com").header("x-forwarded-for", "203.0.113.7").send().await;
    assert_eq!(page.status, 200, "{}", page.text());
    assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"));
    assert_eq!((page.header("referrer-policy"), page.header("cache-control")), (Some("no-referrer"), Some("no-store")));
    assert!(page.header("content-security-policy").is_some_and(|policy| policy.contains("default-src 'none'")));
    assert!(page.text().contains("Signed in") && !page.text().contains("<script"), "{}", page.text());
    assert!(!page.text().contains(&part(&location, "code")), "{}", page.text());
    assert_eq!(shown(&app, &login).await["account"], app.account("ada").await["id"]);
    // Each address works once, and says so.
    let again = app.request("GET", &format!("/oauth/callback{query}")).header("host", "pool.example.com").send().await;
    assert!(again.status == 400 && again.text().contains("answered already"), "{}", again.text());
}

#[actix::test]
async fn a_known_account_that_logs_in_again_stays_the_same_account() {
    let app = app_of(&["ada"]).await;
    // First by a personal access token, then by OAuth, then by OAuth again, and back.
    let first = app.add_with("ada", &json!({ "weight": 5 })).await;
    let done = log_in(&app, "ada").await;
    assert_eq!(done["account"], first.as_str());
    let account = app.account_when("ada", |account| account["token_scopes"] == json!(["api"])).await;
    assert_eq!((&account["weight"], &account["health"]), (&json!(5), &json!("ready")), "{account}");
    assert!(account["token_expires_on"].is_null(), "{account}");
    let served =
        json!({ "model": "claude-sonnet-4-6", "max_tokens": 16, "messages": [{ "role": "user", "content": "hi" }] });
    assert_eq!(app.ask("/v1/messages", &served).await.status, 200);
    // The user revoked the application at GitLab: a new login repairs the same account.
    app.gitlab.revoke_tokens(Some("ada")).expect("ada");
    let again = log_in(&app, "ada").await;
    assert_eq!(again["account"], first.as_str());
    let account = app.account_when("ada", |account| account["health"] == "ready").await;
    assert!(account["served"].as_u64() >= Some(1), "its figures are gone: {account}");
    assert_eq!(app.ask("/v1/messages", &served).await.status, 200);
    let renewed = app.try_add("ada", &json!({ "renew": true })).await;
    assert_eq!((renewed.status, &renewed.json()["id"]), (201, &json!(first)));
    assert_eq!(accounts(&app).await.len(), 1);
}

#[actix::test]
async fn nothing_secret_of_a_login_is_shown_or_kept_in_the_open() {
    let app = app_of(&["ada"]).await;
    let login = begin(&app, &json!({ "label": "ada" })).await;
    let location = sign_in(&app, "ada", &login);
    let done = answer(&app, &login, &location).await;
    let (code, tally) = (part(&location, "code"), app.gitlab.tally("ada").expect("ada"));
    let list = logins(&app).await;
    let told = format!("{login} {} {list:?} {:?}", done.text(), accounts(&app).await);
    assert!(!told.contains(&code), "{told}");
    let valid = tally.access_tokens_valid.iter().chain(&tally.refresh_tokens_valid);
    assert!(valid.clone().count() == 2, "{tally:?}");
    // The simulator tells fingerprints only: whatever has the shape of a token is compared with them.
    let words = told.split(|c: char| !c.is_ascii_alphanumeric() && !"-_".contains(c));
    let shown: Vec<String> = words.filter(|word| word.len() >= 20).map(duopool::simulator::fingerprint).collect();
    assert!(valid.clone().all(|print| !shown.contains(print)), "{told}");
    assert!(!told.contains(&token_of("ada")));
}

#[actix::test]
async fn a_user_who_declines_is_told_and_nothing_is_stored() {
    let app = app_of(&["ada"]).await;
    let login = begin(&app, &json!({})).await;
    let authorize_url = login["authorize_url"].as_str().expect("an address");
    let location = app.gitlab.approve("ada", authorize_url, Decision::Deny).expect("a redirect");
    let denied = answer(&app, &login, &location).await;
    let view = denied.json();
    assert_eq!((denied.status, &view["status"]), (200, &json!("failed")), "{view}");
    assert!(view["problem"]["message"].as_str().is_some_and(|text| text.contains("declined at GitLab")), "{view}");
    assert!(accounts(&app).await.is_empty());
    assert_eq!(answer(&app, &login, &location).await.status, 409);
}
