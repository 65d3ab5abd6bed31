//! Everything that is refused: answers that are not ours, token endpoints that misbehave, addresses that nobody should be
//! sent to. Each refusal names its cause, and nothing is stored.

use std::sync::Arc;
use std::time::Duration;

use duopool::domain::time::{Clock as _, SystemClock, TestClock};
use duopool::simulator::{Call, Effect, Rule};
use serde_json::{Value, json};

use super::{accounts, answer, app_of, begin, part, shown, sign_in, try_begin, with_application};
use crate::support::{Answer, TestApp};

fn problem(answer: &Answer, status: u16, kind: &str, words: &str) {
    assert_eq!(answer.status, status, "{}", answer.text());
    let told = answer.json();
    assert_eq!(told["type"], format!("/problems/{kind}"), "{told}");
    let text = format!("{} {}", told["detail"].as_str().unwrap_or_default(), told["fix"].as_str().unwrap_or_default());
    assert!(text.contains(words), "{told} should say {words}");
}

#[actix::test]
async fn an_answer_that_is_not_this_logins_is_refused_and_the_login_goes_on() {
    let app = app_of(&["ada"]).await;
    let (login, other) = (begin(&app, &json!({})).await, begin(&app, &json!({})).await);
    let location = sign_in(&app, "ada", &login);
    let strange = sign_in(&app, "ada", &other);
    let (code, state) = (part(&location, "code"), part(&location, "state"));
    let own = "http://127.0.0.1:17171/callback";
    let cases = [
        (strange.clone(), "belongs to another one"),
        (format!("{own}?code={code}&state=made-up"), "belongs to another one"),
        (format!("{own}?code={code}"), "no `state`"),
        (format!("{own}?state={state}"), "no `code`"),
        (format!("{own}?code={code}&code={code}&state={state}"), "more than once"),
        (format!("https://evil.example.com/callback?code={code}&state={state}"), "not an address"),
        (format!("http://127.0.0.1:17172/callback?code={code}&state={state}"), "not an address"),
        (format!("http://127.0.0.1:17171/other?code={code}&state={state}"), "not an address"),
        (format!("code={code}&state={state}"), "copy the whole address"),
        (String::new(), "copy the whole address"),
    ];
    for (url, words) in &cases {
        let refused = answer(&app, &login, url).await;
        problem(&refused, 422, "wrong-callback", words);
        assert!(!refused.text().contains(&code), "{}", refused.text());
    }
    assert_eq!(shown(&app, &login).await["status"], "pending");
    // A code of another login does not fit this one's verifier: GitLab itself says so.
    let swapped = format!("{own}?code={}&state={state}", part(&strange, "code"));
    let failed = answer(&app, &login, &swapped).await.json();
    assert_eq!(
        (&failed["status"], &failed["problem"]["reason"]),
        (&json!("failed"), &json!("code_refused")),
        "{failed}"
    );
    problem(&answer(&app, &login, &location).await, 409, "login-used", "works once");
    let unknown = json!({ "id": "login_000000000000000000000000" });
    problem(&answer(&app, &unknown, &location).await, 404, "no-such-login", "no such sign-in");
    assert!(accounts(&app).await.is_empty());
}

#[actix::test]
async fn a_browser_that_brings_nonsense_gets_a_page_that_says_why() {
    let app = app_of(&["ada"]).await;
    let login = begin(&app, &json!({ "redirect_uri": "http://127.0.0.1:8080/oauth/callback" })).await;
    let state = part(login["authorize_url"].as_str().expect("an address"), "state");
    let get = |query: &str| app.request("GET", &format!("/oauth/callback{query}"));
    let fine = format!("?code=abc&state={state}");
    let cases = [
        (get(""), "no `state`"),
        (get("?code=abc&state=made-up"), "no sign-in has this state"),
        (get("?code=abc&state=%3Cscript%3Ealert(1)%3C%2Fscript%3E"), "no sign-in has this state"),
        (get(&fine).header("host", "evil.example.com"), "names no host of this server"),
        (get(&fine).header("origin", "https://evil.example.com"), "another web page"),
        (get(&fine).header("origin", "null"), "another web page"),
    ];
    for (request, words) in cases {
        let page = request.send().await;
        assert!(
            page.status == 400 && page.text().contains(words),
            "{} {} should say {words}",
            page.status,
            page.text()
        );
        assert!(!page.text().contains("abc") && !page.text().contains("<script"), "{}", page.text());
        assert_eq!(page.header("referrer-policy"), Some("no-referrer"));
    }
    let posted = app.request("POST", "/oauth/callback").json(&json!({})).send().await;
    assert_eq!((posted.status, posted.header("allow")), (405, Some("GET")));
    assert_eq!(shown(&app, &login).await["status"], "pending");
    // What GitLab says instead of a code is shown as text.
    let denied = get(&format!("?error=access_denied&error_description=%3Cb%3Eno%3C%2Fb%3E&state={state}")).send().await;
    assert!(denied.status == 400 && denied.text().contains("&lt;b&gt;no&lt;/b&gt;"), "{}", denied.text());
    assert_eq!(shown(&app, &login).await["status"], "failed");
}

#[actix::test]
async fn a_token_endpoint_that_misbehaves_leaves_a_failed_login_that_says_how() {
    let app = app_of(&["ada"]).await;
    let cases: Vec<(Effect, &str)> = vec![
        (Effect::login_page(), "not its API"),
        (Effect::json(500, &json!({ "message": "500 Internal Server Error" })), "server error"),
        (Effect::json(503, &json!({})), "server error"),
        (Effect::throttled(), "limits the rate"),
        (Effect::invalid_grant(), "does not accept the code"),
        (Effect::json(401, &json!({ "error": "invalid_client" })), "id or secret"),
        (Effect::merge(json!({ "access_token": null })), "not its API"),
        (Effect::merge(json!({ "expires_in": 0 })), "expires_in"),
        (Effect::Pad { bytes: 3 * 1024 * 1024 }, "not its API"),
        (Effect::redirect(&format!("{}/elsewhere", app.gitlab_url)), "not its API"),
        (Effect::redirect("https://evil.example.com/oauth/token"), "not its API"),
        (Effect::CloseUnprocessed, ""),
        (Effect::Close, ""),
    ];
    for (effect, words) in cases {
        let said = format!("{effect:?}");
        app.gitlab.add_rule(Rule::once(effect).on(Call::CodeExchange));
        let login = begin(&app, &json!({})).await;
        let failed = answer(&app, &login, &sign_in(&app, "ada", &login)).await.json();
        assert_eq!(failed["status"], "failed", "{said}: {failed}");
        let message = failed["problem"]["message"].as_str().unwrap_or_default();
        assert!(message.starts_with("GitLab gave no tokens: ") && message.contains(words), "{said}: {failed}");
    }
    assert!(accounts(&app).await.is_empty());
    // Nothing is left behind that a start would find.
    let mut app = app;
    app.restart(|_| {}).await;
    assert_eq!(super::logins(&app).await, Vec::<Value>::new());
}

#[actix::test]
async fn a_login_must_be_finished_in_ten_minutes() {
    let clock = TestClock::at(SystemClock.now());
    let app = TestApp::start_at(&["ada"], Arc::new(clock.clone()), with_application).await;
    let (login, late) = (begin(&app, &json!({ "label": "ada" })).await, begin(&app, &json!({})).await);
    clock.advance(Duration::from_secs(599));
    let done = answer(&app, &login, &sign_in(&app, "ada", &login)).await.json();
    assert_eq!(done["status"], "done", "{done}");
    let location = sign_in(&app, "ada", &late);
    clock.advance(Duration::from_secs(1));
    problem(&answer(&app, &late, &location).await, 410, "login-expired", "ten minutes");
    let view = shown(&app, &late).await;
    assert_eq!((&view["status"], &view["authorize_url"]), (&json!("failed"), &Value::Null));
    assert_eq!(app.gitlab.tally("ada").expect("ada").codes_exchanged, 1);
}

#[actix::test]
async fn addresses_that_nobody_should_be_sent_to_are_refused() {
    let app = app_of(&["ada"]).await;
    for (base_url, words) in [
        ("https://user:password@gitlab.example.com", "must not contain a user name"),
        ("http://gitlab.example.com", "must start with https://"),
        ("ftp://gitlab.example.com", "is not a URL"),
        ("https://169.254.169.254", "never connects to"),
        ("https://gitlab.example.com/?token=x", "must not contain"),
    ] {
        let refused = try_begin(&app, &json!({ "base_url": base_url })).await;
        problem(&refused, 400, "bad-request", words);
        assert!(!refused.text().contains("password@"), "{}", refused.text());
    }
    for redirect_uri in [
        "https://evil.example.com/callback",
        "http://127.0.0.1.evil.example.com/callback",
        "http://127.0.0.1:1@evil.example.com/callback",
        "http://127.0.0.1/callback?next=x",
        "https://127.0.0.1/callback",
        "duopool://callback",
        "nonsense",
    ] {
        let refused = try_begin(&app, &json!({ "redirect_uri": redirect_uri })).await;
        problem(&refused, 400, "bad-request", "http://127.0.0.1:17171/callback");
    }
    for body in [
        json!({ "kind": "pigeon" }),
        json!({ "kind": "browser", "code": "c" }),
        json!({ "scopes": [] }),
        json!({ "client_id": "two words" }),
        json!({ "label": "" }),
        json!([]),
    ] {
        problem(&try_begin(&app, &body).await, 400, "bad-request", "");
    }
    assert_eq!(app.request("POST", "/admin/v1/logins").json(&json!({})).send().await.status, 401);
}

#[actix::test]
async fn without_an_application_one_is_told_how_to_register_it() {
    let app = TestApp::start(&["ada"], |_| {}).await;
    let refused = try_begin(&app, &json!({})).await;
    for words in [
        format!("{}/-/user_settings/applications", app.gitlab_url),
        "http://127.0.0.1:17171/callback".to_owned(),
        "scope `api`".to_owned(),
        "`Confidential`".to_owned(),
        "GITLAB_OAUTH_CLIENT_ID".to_owned(),
    ] {
        problem(&refused, 422, "no-application", &words);
    }
    // An application of one instance is none of another's.
    let app = app_of(&["ada"]).await;
    problem(
        &try_begin(&app, &json!({ "base_url": "https://gitlab.com" })).await,
        422,
        "no-application",
        "https://gitlab.com",
    );
}

#[actix::test]
async fn more_logins_than_anybody_needs_are_refused() {
    let app = app_of(&["ada"]).await;
    for _ in 0..64 {
        begin(&app, &json!({})).await;
    }
    problem(&try_begin(&app, &json!({})).await, 429, "too-many-logins", "too many sign-ins");
}
