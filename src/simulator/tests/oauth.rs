use std::time::Duration;

use actix_web::http::Method;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use url::Url;

use super::{ADA, FORM, Got, NOW, Rig, THIRD_PARTY, form, read};
use crate::simulator::{
    Call, DEMO_CONFIDENTIAL_CLIENT_ID, DEMO_CONFIDENTIAL_CLIENT_SECRET, DEMO_PUBLIC_CLIENT_ID, DEMO_REDIRECT_URI,
    Decision, NotDone, OauthApplication,
};

const VERIFIER: &str = "a-verifier-that-is-long-enough-for-rfc-7636-000";
const INVALID_GRANT: &str = "The provided authorization grant is invalid, expired, revoked, does not match the \
    redirection URI used in the authorization request, or was issued to another client.";

fn challenge() -> String {
    URL_SAFE_NO_PAD.encode(Sha256::digest(VERIFIER))
}

/// Returns the parameters of a good authorization request, with some changed; an empty value takes one away.
fn wanted(changes: &[(&str, &str)]) -> String {
    let challenge = challenge();
    let mut pairs = vec![
        ("client_id", DEMO_PUBLIC_CLIENT_ID),
        ("redirect_uri", DEMO_REDIRECT_URI),
        ("response_type", "code"),
        ("scope", "api read_user"),
        ("state", "s&1"),
        ("code_challenge", &challenge),
        ("code_challenge_method", "S256"),
    ];
    for (name, value) in changes {
        pairs.retain(|(known, _)| known != name);
        pairs.push((name, value));
    }
    pairs.retain(|(_, value)| !value.is_empty());
    form(&pairs)
}

fn pairs_of(location: &str) -> Vec<(String, String)> {
    Url::parse(location).unwrap().query_pairs().into_owned().collect()
}

fn value_of(location: &str, name: &str) -> Option<String> {
    pairs_of(location).into_iter().find(|(known, _)| known == name).map(|(_, value)| value)
}

impl Rig {
    async fn page(&self, changes: &[(&str, &str)]) -> Got {
        read(self.client.get(format!("{}/oauth/authorize?{}", self.running.url(), wanted(changes))), String::new())
            .await
    }

    /// Authorizes as a browser does and returns the code.
    async fn code(&self, changes: &[(&str, &str)]) -> String {
        let body = format!("{}&account=ada&decision=authorize", wanted(changes));
        let request = self.client.post(format!("{}/oauth/authorize", self.running.url()));
        let got = read(request.insert_header(("content-type", FORM)), body).await;
        assert_eq!(got.status, 302, "{:?}", got.body);
        let location = got.header("location").unwrap();
        assert_eq!(value_of(location, "state").as_deref(), Some("s&1"));
        value_of(location, "code").unwrap()
    }

    /// Exchanges a code of the public application, with some parameters changed; an empty value takes one away.
    async fn exchange(&self, code: &str, changes: &[(&str, &str)]) -> Got {
        let mut pairs = vec![
            ("grant_type", "authorization_code"),
            ("client_id", DEMO_PUBLIC_CLIENT_ID),
            ("redirect_uri", DEMO_REDIRECT_URI),
            ("code_verifier", VERIFIER),
            ("code", code),
        ];
        for (name, value) in changes {
            pairs.retain(|(known, _)| known != name);
            pairs.push((name, value));
        }
        pairs.retain(|(_, value)| !value.is_empty());
        self.form("/oauth/token", &pairs).await
    }

    /// Logs Ada in and returns the token endpoint's body.
    pub(super) async fn login(&self) -> Value {
        let code = self.code(&[]).await;
        let got = self.exchange(&code, &[]).await;
        assert_eq!(got.status, 200, "{:?}", got.body);
        got.json()
    }

    pub(super) async fn refresh(&self, token: &str) -> Got {
        let client = ("client_id", DEMO_PUBLIC_CLIENT_ID);
        self.form("/oauth/token", &[("grant_type", "refresh_token"), client, ("refresh_token", token)]).await
    }

    pub(super) async fn status_of(&self, access: &str) -> u16 {
        self.api(Method::GET, "/api/v4/user", access, &json!({})).await.status
    }
}

pub(super) fn text<'a>(body: &'a Value, name: &str) -> &'a str {
    body[name].as_str().unwrap_or_else(|| panic!("{name} is missing in {body}"))
}

fn refused(got: &Got, status: u16, error: &str) {
    assert_eq!((got.status, &got.json()["error"]), (status, &json!(error)), "{:?}", got.body);
    let header = got.header("www-authenticate").unwrap();
    assert!(header.starts_with(&format!("Bearer realm=\"Doorkeeper\", error=\"{error}\"")), "{header}");
}

#[actix::test]
async fn a_browser_sees_who_asks_and_may_choose_a_user() {
    let rig = Rig::new().await;
    let got = rig.page(&[]).await;
    assert_eq!((got.status, got.content_type.as_str()), (200, "text/html; charset=utf-8"));
    let html = String::from_utf8(got.body.to_vec()).unwrap();
    for part in ["duopool (public)", "api, read_user", "<option>grace</option>", "value=\"deny\"", "value=\"s&amp;1\""]
    {
        assert!(html.contains(part), "{part} is missing in {html}");
    }
}

#[actix::test]
async fn a_code_with_its_verifier_becomes_tokens() {
    let rig = Rig::new().await;
    let code = rig.code(&[]).await;
    let got = rig.exchange(&code, &[]).await;
    assert_eq!(got.header("cache-control"), Some("no-store, no-cache"));
    let body = got.json();
    assert_eq!((&body["token_type"], &body["expires_in"]), (&json!("Bearer"), &json!(7_200)));
    assert_eq!((&body["created_at"], &body["scope"]), (&json!(NOW.as_secs()), &json!("api read_user")));
    let access = text(&body, "access_token");
    let user = rig.api(Method::GET, "/api/v4/user", access, &json!({})).await.json();
    assert_eq!(user["username"], "ada");
    assert_eq!(rig.api(Method::POST, THIRD_PARTY, access, &json!({})).await.status, 201);
    let query = json!({ "query": "{ currentUser { username } }" });
    let told = rig.api(Method::POST, "/api/graphql", access, &query).await.json();
    assert_eq!(told["data"]["currentUser"]["username"], "ada");
}

#[actix::test]
async fn a_code_works_once_for_ten_minutes_and_for_its_own_client_only() {
    let rig = Rig::new().await;
    let other = OauthApplication::public("other", DEMO_REDIRECT_URI);
    rig.running.handle.add_application(other);
    let code = rig.code(&[]).await;
    refused(&rig.exchange(&code, &[("client_id", "other")]).await, 400, "invalid_grant");
    let elsewhere = [("redirect_uri", "http://127.0.0.1:17171/elsewhere")];
    refused(&rig.exchange(&code, &elsewhere).await, 400, "invalid_grant");
    let wrong = VERIFIER.replace('a', "b");
    refused(&rig.exchange(&code, &[("code_verifier", &wrong)]).await, 400, "invalid_grant");
    refused(&rig.exchange(&code, &[("code_verifier", "")]).await, 400, "invalid_request");
    refused(&rig.exchange(&code, &[("redirect_uri", "")]).await, 400, "invalid_request");
    refused(&rig.exchange(&code, &[("client_id", "nobody")]).await, 401, "invalid_client");
    refused(&rig.exchange("no-such-code", &[]).await, 400, "invalid_grant");
    // None of these used it up.
    assert_eq!(rig.exchange(&code, &[]).await.status, 200);
    let replay = rig.exchange(&code, &[]).await;
    replay.expect(400, &json!({ "error": "invalid_grant", "error_description": INVALID_GRANT }));

    let code = rig.code(&[]).await;
    rig.clock.advance(Duration::from_mins(10));
    refused(&rig.exchange(&code, &[]).await, 400, "invalid_grant");
}

#[actix::test]
async fn an_unknown_application_or_redirect_uri_is_told_to_the_user_and_never_redirected() {
    let rig = Rig::new().await;
    let cases = [
        ("client_id", "", "Missing required parameter: client_id."),
        ("client_id", "nobody", "Client authentication failed"),
        ("redirect_uri", "", "The requested redirect uri is malformed"),
        ("redirect_uri", "http://localhost:17171/callback", "The requested redirect uri is malformed"),
        ("redirect_uri", "http://127.0.0.1:17171/other", "The requested redirect uri is malformed"),
    ];
    for (name, value, told) in cases {
        let got = rig.page(&[(name, value)]).await;
        assert_eq!((got.status, got.header("location")), (200, None), "{name}={value}");
        assert!(String::from_utf8_lossy(&got.body).contains(told), "{name}={value}: {:?}", got.body);
    }
}

#[actix::test]
async fn other_errors_go_back_to_the_application_with_its_state() {
    let rig = Rig::new().await;
    let cases: [(&[(&str, &str)], &str); 5] = [
        (&[("response_type", "token")], "unsupported_response_type"),
        (&[("response_type", "")], "invalid_request"),
        (&[("scope", "api sudo")], "invalid_scope"),
        (&[("code_challenge_method", "plain")], "invalid_code_challenge_method"),
        (&[("code_challenge_method", "")], "invalid_code_challenge_method"),
    ];
    for (changes, error) in cases {
        let got = rig.page(changes).await;
        let location = got.header("location").unwrap();
        assert!(got.status == 302 && location.starts_with(DEMO_REDIRECT_URI), "{changes:?}: {location}");
        assert_eq!(value_of(location, "error").as_deref(), Some(error), "{changes:?}");
        assert!(value_of(location, "error_description").is_some());
        assert_eq!(value_of(location, "state").as_deref(), Some("s&1"));
    }
    rig.running.handle.change_instance(|instance| instance.oauth.errors_redirect = false);
    let got = rig.page(&[("scope", "sudo")]).await;
    assert_eq!((got.status, got.header("location")), (200, None));
}

#[actix::test]
async fn a_denial_goes_back_to_the_application() {
    let rig = Rig::new().await;
    let body = format!("{}&account=ada&decision=deny", wanted(&[]));
    let request = rig.client.post(format!("{}/oauth/authorize", rig.running.url()));
    let got = read(request.insert_header(("content-type", FORM)), body).await;
    assert_eq!(value_of(got.header("location").unwrap(), "error").as_deref(), Some("access_denied"));
}

#[actix::test]
async fn the_port_of_a_loopback_redirect_uri_is_free() {
    let rig = Rig::new().await;
    let here = [("redirect_uri", "http://127.0.0.1:40001/callback")];
    let code = rig.code(&here).await;
    assert_eq!(rig.exchange(&code, &here).await.status, 200);
}

#[actix::test]
async fn a_confidential_application_needs_its_secret_for_codes_and_refreshes() {
    let rig = Rig::new().await;
    let id = ("client_id", DEMO_CONFIDENTIAL_CLIENT_ID);
    let secret = ("client_secret", DEMO_CONFIDENTIAL_CLIENT_SECRET);
    let code = rig.code(&[id]).await;
    refused(&rig.exchange(&code, &[id]).await, 401, "invalid_client");
    refused(&rig.exchange(&code, &[id, ("client_secret", "wrong")]).await, 401, "invalid_client");
    let body = rig.exchange(&code, &[id, secret]).await.json();
    let refresh = ("refresh_token", text(&body, "refresh_token"));
    let grant = ("grant_type", "refresh_token");
    refused(&rig.form("/oauth/token", &[grant, refresh, id]).await, 401, "invalid_client");
    refused(&rig.form("/oauth/token", &[grant, refresh]).await, 400, "invalid_grant");

    // The secret may come in the header as well, and a renewed one replaces the old at once.
    let (client_id, redirect_uri) = (DEMO_CONFIDENTIAL_CLIENT_ID, DEMO_REDIRECT_URI);
    rig.running.handle.add_application(OauthApplication::confidential(client_id, "new secret", redirect_uri));
    refused(&rig.form("/oauth/token", &[grant, refresh, id, secret]).await, 401, "invalid_client");
    let basic = STANDARD.encode(format!("{DEMO_CONFIDENTIAL_CLIENT_ID}:new+secret"));
    let request = rig.client.post(format!("{}/oauth/token", rig.running.url()));
    let request = request.insert_header(("authorization", format!("Basic {basic}")));
    let got = read(request.insert_header(("content-type", FORM)), form(&[grant, refresh])).await;
    assert_eq!(got.status, 200, "{:?}", got.body);
}

#[actix::test]
async fn a_refresh_kills_both_old_tokens_at_once_and_a_replay_revokes_nothing() {
    let rig = Rig::new().await;
    let old = rig.login().await;
    rig.clock.advance(Duration::from_mins(1));
    let new = rig.refresh(text(&old, "refresh_token")).await.json();
    assert_eq!(new["created_at"], NOW.as_secs() + 60);
    assert_eq!(rig.status_of(text(&new, "access_token")).await, 200);
    let told = "Token was revoked. You have to re-authorize from the user.";
    let got = rig.api(Method::GET, "/api/v4/user", text(&old, "access_token"), &json!({})).await;
    got.expect(401, &json!({ "error": "invalid_token", "error_description": told }));
    let replay = rig.refresh(text(&old, "refresh_token")).await;
    refused(&replay, 400, "invalid_grant");
    replay.expect(400, &json!({ "error": "invalid_grant", "error_description": INVALID_GRANT }));
    assert_eq!(rig.status_of(text(&new, "access_token")).await, 200);
    assert_eq!(rig.refresh(text(&new, "refresh_token")).await.status, 200);
    let tally = rig.running.handle.tally("ada").unwrap();
    assert_eq!((tally.codes_exchanged, tally.refreshes_committed, tally.refreshes_refused), (1, 2, 1));
    assert_eq!((tally.dead_refresh_uses, tally.dead_access_uses), (1, 1));
    assert_eq!((tally.refresh_tokens_valid.len(), tally.access_tokens_valid.len()), (1, 1));
}

#[actix::test]
async fn a_refresh_token_outlives_its_access_token() {
    let rig = Rig::new().await;
    let body = rig.login().await;
    rig.clock.advance(Duration::from_hours(2));
    let told = "Token is expired. You can either do re-authorization or token refresh.";
    let got = rig.api(Method::GET, "/api/v4/user", text(&body, "access_token"), &json!({})).await;
    got.expect(401, &json!({ "error": "invalid_token", "error_description": told }));
    rig.clock.advance(Duration::from_hours(24 * 90));
    assert_eq!(rig.refresh(text(&body, "refresh_token")).await.status, 200);
    assert_eq!(rig.running.handle.tally("ada").unwrap().expired_access_uses, 1);
}

#[actix::test]
async fn a_refresh_is_refused_for_another_client_redirect_uri_or_wider_scope() {
    let rig = Rig::new().await;
    rig.running.handle.add_application(OauthApplication::public("other", DEMO_REDIRECT_URI));
    let body = rig.login().await;
    let base = [("grant_type", "refresh_token"), ("refresh_token", text(&body, "refresh_token"))];
    let with = |more: &[(&'static str, &'static str)]| [&base[..], more].concat();
    let own = ("client_id", DEMO_PUBLIC_CLIENT_ID);
    let refresh = async |more: &[(&'static str, &'static str)]| rig.form("/oauth/token", &with(more)).await;
    refused(&refresh(&[("client_id", "other")]).await, 400, "invalid_grant");
    refused(&refresh(&[own, ("redirect_uri", "http://127.0.0.1/elsewhere")]).await, 400, "invalid_grant");
    refused(&refresh(&[own, ("scope", "ai_features")]).await, 400, "invalid_scope");
    refused(&rig.form("/oauth/token", &[("grant_type", "refresh_token"), own]).await, 400, "invalid_request");
    refused(&rig.form("/oauth/token", &[("grant_type", "password"), own]).await, 400, "unsupported_grant_type");
    refused(&rig.form("/oauth/token", &[own]).await, 400, "invalid_request");
    let narrow = refresh(&[own, ("redirect_uri", DEMO_REDIRECT_URI), ("scope", "read_user")]).await.json();
    assert_eq!(rig.status_of(text(&narrow, "access_token")).await, 200);
    let got = rig.api(Method::POST, THIRD_PARTY, text(&narrow, "access_token"), &json!({})).await;
    assert_eq!((got.status, &got.json()["error"]), (403, &json!("insufficient_scope")));
}

#[actix::test]
async fn a_revocation_kills_the_pair_by_either_token() {
    let rig = Rig::new().await;
    for name in ["access_token", "refresh_token"] {
        let body = rig.login().await;
        let own = ("client_id", DEMO_PUBLIC_CLIENT_ID);
        let token = ("token", text(&body, name));
        refused(&rig.form("/oauth/revoke", &[token]).await, 403, "unauthorized_client");
        let wrong = ("client_secret", "wrong");
        refused(&rig.form("/oauth/revoke", &[own, wrong, token]).await, 403, "unauthorized_client");
        let id = ("client_id", DEMO_CONFIDENTIAL_CLIENT_ID);
        let secret = ("client_secret", DEMO_CONFIDENTIAL_CLIENT_SECRET);
        refused(&rig.form("/oauth/revoke", &[id, secret, token]).await, 403, "unauthorized_client");
        assert_eq!(rig.status_of(text(&body, "access_token")).await, 200);
        rig.form("/oauth/revoke", &[own, token]).await.expect(200, &json!({}));
        assert_eq!(rig.status_of(text(&body, "access_token")).await, 401);
        refused(&rig.refresh(text(&body, "refresh_token")).await, 400, "invalid_grant");
        rig.form("/oauth/revoke", &[own, ("token", "no-such-token")]).await.expect(200, &json!({}));
    }
}

#[actix::test]
async fn token_info_tells_what_a_token_is_worth() {
    let rig = Rig::new().await;
    let body = rig.login().await;
    rig.clock.advance(Duration::from_secs(200));
    let told = rig.api(Method::GET, "/oauth/token/info", text(&body, "access_token"), &json!({})).await.json();
    assert_eq!((&told["resource_owner_id"], &told["expires_in"]), (&json!(101), &json!(7_000)));
    assert_eq!(told["application"]["uid"], DEMO_PUBLIC_CLIENT_ID);
    assert_eq!(told["scope"], json!(["api", "read_user"]));
    let target = format!("/oauth/token/info?access_token={}", text(&body, "access_token"));
    let got = read(rig.client.get(format!("{}{target}", rig.running.url())), String::new()).await;
    assert_eq!(got.status, 200);
    let logged = rig.running.handle.requests_of(Call::TokenInfo);
    assert!(logged.iter().all(|record| !record.target.contains(text(&body, "access_token"))));
    refused(&rig.api(Method::GET, "/oauth/token/info", ADA, &json!({})).await, 401, "invalid_token");
}

#[actix::test]
async fn oauth_tokens_and_personal_ones_are_not_mixed_up() {
    let rig = Rig::new().await;
    let body = rig.login().await;
    let access = text(&body, "access_token");
    let got = rig.api(Method::GET, "/api/v4/personal_access_tokens/self", access, &json!({})).await;
    let told = "400 Bad request - This endpoint requires token type to be a personal access token";
    got.expect(400, &json!({ "message": told }));
    let request = rig.client.get(format!("{}/api/v4/user", rig.running.url()));
    let got = read(request.insert_header(("private-token", access)), String::new()).await;
    got.expect(401, &json!({ "message": "401 Unauthorized" }));
    let narrow = rig.running.handle.issue_tokens("ada", DEMO_PUBLIC_CLIENT_ID, &["ai_features"]).unwrap();
    assert_eq!(rig.status_of(narrow.access_token.expose()).await, 403);
    assert_eq!(rig.api(Method::POST, THIRD_PARTY, narrow.access_token.expose(), &json!({})).await.status, 201);
}

#[actix::test]
async fn a_login_needs_no_browser() {
    let rig = Rig::new().await;
    let url = format!("{}/oauth/authorize?{}", rig.running.url(), wanted(&[]));
    let order = json!({ "account": "grace", "authorize_url": url });
    let got = rig.control(Method::POST, "/logins/approve", &order).await.json();
    let code = value_of(text(&got, "location"), "code").unwrap();
    let body = rig.exchange(&code, &[]).await.json();
    let user = rig.api(Method::GET, "/api/v4/user", text(&body, "access_token"), &json!({})).await.json();
    assert_eq!(user["username"], "grace");
    let handle = &rig.running.handle;
    let denied = handle.approve("ada", &url, Decision::Deny).unwrap();
    assert_eq!(value_of(&denied, "error").as_deref(), Some("access_denied"));
    let bad = format!("{}/oauth/authorize?{}", rig.running.url(), wanted(&[("client_id", "nobody")]));
    assert!(
        matches!(handle.approve("ada", &bad, Decision::Authorize), Err(NotDone::Page(told)) if told.contains("client"))
    );
    let order = json!({ "account": "nobody", "client_id": DEMO_PUBLIC_CLIENT_ID });
    assert_eq!(rig.control(Method::POST, "/logins/issue", &order).await.status, 404);
    let order = json!({ "account": "ada", "client_id": DEMO_PUBLIC_CLIENT_ID });
    let issued = rig.control(Method::POST, "/logins/issue", &order).await.json();
    assert_eq!(rig.status_of(text(&issued, "access_token")).await, 200);
    rig.control(Method::POST, "/logins/revoke", &json!({ "account": "ada" })).await.expect(200, &json!({}));
    assert_eq!(rig.status_of(text(&issued, "access_token")).await, 401);
    assert_eq!(rig.status_of(text(&body, "access_token")).await, 200);
}

#[actix::test]
async fn applications_are_managed_over_http_and_never_show_their_secret() {
    let rig = Rig::new().await;
    let order = json!({ "client_id": "mine", "client_secret": "hidden", "redirect_uris": [DEMO_REDIRECT_URI] });
    let got = rig.control(Method::POST, "/applications", &order).await;
    assert!(got.status == 200 && !String::from_utf8_lossy(&got.body).contains("hidden"));
    let mine = got.json().as_array().unwrap().iter().find(|known| known["client_id"] == "mine").cloned().unwrap();
    assert_eq!((&mine["confidential"], &mine["has_secret"]), (&json!(true), &json!(true)));
    let code = rig.code(&[("client_id", "mine")]).await;
    let got = rig.exchange(&code, &[("client_id", "mine"), ("client_secret", "hidden")]).await;
    assert_eq!(got.status, 200);
    assert_eq!(rig.control(Method::DELETE, "/applications/mine", &json!({})).await.status, 200);
    assert_eq!(rig.control(Method::DELETE, "/applications/mine", &json!({})).await.status, 404);
    refused(&rig.exchange(&code, &[("client_id", "mine"), ("client_secret", "hidden")]).await, 401, "invalid_client");
}

#[actix::test]
async fn the_log_shows_no_secret_of_oauth() {
    let rig = Rig::new().await;
    let body = rig.login().await;
    rig.refresh(text(&body, "refresh_token")).await;
    let logged = format!("{:?}", rig.running.handle.requests());
    for name in ["access_token", "refresh_token"] {
        assert!(!logged.contains(text(&body, name)), "{name}");
    }
    assert!(!logged.contains(VERIFIER));
    let refreshes = rig.running.handle.requests_of(Call::Refresh);
    assert_eq!(refreshes[0].account.as_deref(), Some("ada"));
}

#[actix::test]
async fn oauth_lives_below_the_instances_path() {
    let rig = Rig::with(|settings| settings.path_prefix = "/gitlab".to_owned()).await;
    let body = rig.login().await;
    assert_eq!(rig.refresh(text(&body, "refresh_token")).await.status, 200);
    let outside = format!("http://{}/oauth/authorize?{}", rig.running.address(), wanted(&[]));
    assert_eq!(read(rig.client.get(outside), String::new()).await.status, 404);
}
