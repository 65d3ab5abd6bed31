//! The client against an OAuth server that is not ours, which enforces PKCE and the rotation of refresh tokens.
//!
//! `scripts/test` installs the server and names it in `DUOPOOL_OIDC_PROVIDER`; see `tests/oauth/server.mjs`.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use super::*;
use crate::domain::time::SystemClock;
use crate::gitlab::identity;
use crate::gitlab::rest::Session;

/// Any free port: the server takes every port of loopback, and nobody goes there.
const COMES_BACK_TO: &str = "http://127.0.0.1:5555/oauth/callback";
const SCOPES: [&str; 2] = ["ai_features", "read_user"];

/// The server; it ends when its input does.
struct Foreign {
    process: Child,
    instance: InstanceUrl,
    upstream: Upstream,
}

impl Drop for Foreign {
    fn drop(&mut self) {
        drop(self.process.stdin.take());
        let _ = self.process.wait();
    }
}

impl Foreign {
    fn start() -> Self {
        let script = std::env::var_os("DUOPOOL_OIDC_PROVIDER").expect("DUOPOOL_OIDC_PROVIDER names the server");
        let mut node = Command::new("node");
        let mut process = node.arg(script).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("node");
        let mut address = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut address).unwrap();
        let instance = InstanceUrl::parse(&address).expect("the server did not start");
        Self { process, instance, upstream: upstream() }
    }

    fn client<'a>(&'a self, app: &'a OAuthApp) -> OAuthClient<'a> {
        OAuthClient { upstream: &self.upstream, instance: &self.instance, app, clock: &SystemClock }
    }

    /// Returns where a browser ends up that is sent to `url`.
    async fn browse(&self, url: &str) -> Option<Url> {
        let client = awc::Client::builder().disable_redirects().finish();
        let response = client.get(url).send().await.unwrap();
        response.headers().get("location").map(|location| location.to_str().unwrap().parse().unwrap())
    }

    /// Lets the user say yes, and returns the code with its verifier.
    async fn code(&self, app: &OAuthApp) -> (Secret<String>, Secret<String>) {
        let begun = authorize_url(&self.instance, app, &names(&SCOPES)).unwrap();
        let back = self.browse(begun.url.as_str()).await.expect("sent back");
        assert!(back.as_str().starts_with(COMES_BACK_TO), "{back}");
        assert_eq!(parameter(&back, "state").as_ref(), Some(begun.state.expose()));
        (secret(&parameter(&back, "code").expect("a code")), begun.verifier)
    }

    async fn login(&self, app: &OAuthApp) -> OAuthPair {
        let (code, verifier) = self.code(app).await;
        self.client(app).exchange_code(&code, &verifier, &[]).await.unwrap()
    }

    async fn owner(&self, pair: &OAuthPair) -> Result<identity::Identity, Reason> {
        let session = Session { upstream: &self.upstream, instance: &self.instance, token: &pair.access_token };
        identity::of_oauth(session, &pair.scopes).await.map_err(|error| error.fault.reason)
    }
}

fn parameter(url: &Url, name: &str) -> Option<String> {
    url.query_pairs().find(|(found, _)| found == name).map(|(_, value)| value.into_owned())
}

fn confidential() -> OAuthApp {
    OAuthApp {
        client_id: "confidential-app".to_owned(),
        client_secret: Some(secret("foreign-app-secret")),
        redirect_uri: Some(COMES_BACK_TO.to_owned()),
    }
}

fn public() -> OAuthApp {
    OAuthApp { client_id: "public-app".to_owned(), client_secret: None, ..confidential() }
}

fn told(error: &ExchangeError) -> (Verdict, Reason) {
    (verdict(error), error.call().fault.reason)
}

#[actix::test]
#[ignore = "needs node and oidc-provider: scripts/test runs it"]
async fn a_login_survives_rotations_and_an_old_refresh_token_is_dead() {
    let server = Foreign::start();
    for app in [confidential(), public()] {
        let (client, first) = (server.client(&app), server.login(&app).await);
        assert_eq!(first.scopes, SCOPES);
        assert_eq!(first.expires_at.since(first.obtained_at).as_secs(), 7_200);
        let owner = server.owner(&first).await.unwrap();
        assert_eq!((owner.user_id, owner.username.as_str()), (7, "ada"));
        let second = client.refresh(&first).await.unwrap();
        assert!(second.access_token != first.access_token && second.refresh_token != first.refresh_token);
        assert_eq!(second.scopes, SCOPES);
        let third = client.refresh(&second).await.unwrap();
        assert_eq!(server.owner(&third).await, Ok(owner));
        for dead in [&first, &second] {
            let error = client.refresh(dead).await.unwrap_err();
            assert_eq!(told(&error), (Verdict::InvalidGrant, Reason::LoginEnded));
        }
    }
}

#[actix::test]
#[ignore = "needs node and oidc-provider: scripts/test runs it"]
async fn a_code_is_good_once_and_with_its_verifier_alone() {
    let (server, app) = (Foreign::start(), public());
    let client = server.client(&app);
    let dead = (Verdict::InvalidGrant, Reason::CodeRefused);
    let (code, verifier) = server.code(&app).await;
    let stolen = client.exchange_code(&code, &server.code(&app).await.1, &[]).await.unwrap_err();
    assert_eq!(told(&stolen), dead);
    let (other, its_verifier) = server.code(&app).await;
    client.exchange_code(&other, &its_verifier, &[]).await.unwrap();
    assert_eq!(told(&client.exchange_code(&other, &its_verifier, &[]).await.unwrap_err()), dead);
    let elsewhere = OAuthApp { redirect_uri: Some(format!("{COMES_BACK_TO}/else")), ..public() };
    let elsewhere = server.client(&elsewhere).exchange_code(&code, &verifier, &[]).await.unwrap_err();
    assert_eq!(told(&elsewhere), dead);
}

#[actix::test]
#[ignore = "needs node and oidc-provider: scripts/test runs it"]
async fn the_server_insists_on_a_challenge() {
    let (server, app) = (Foreign::start(), confidential());
    let mut url = authorize_url(&server.instance, &app, &names(&SCOPES)).unwrap().url;
    let bare: Vec<_> = url.query_pairs().into_owned().filter(|(name, _)| !name.starts_with("code_")).collect();
    url.query_pairs_mut().clear().extend_pairs(bare);
    let back = server.browse(url.as_str()).await.expect("sent back");
    assert_eq!((parameter(&back, "code"), parameter(&back, "error").as_deref()), (None, Some("invalid_request")));
}

#[actix::test]
#[ignore = "needs node and oidc-provider: scripts/test runs it"]
async fn a_wrong_client_secret_does_not_use_up_the_refresh_token() {
    let (server, app) = (Foreign::start(), confidential());
    let pair = server.login(&app).await;
    for client_secret in [Some(secret("wrong")), None] {
        let wrong = OAuthApp { client_secret, ..confidential() };
        let error = server.client(&wrong).refresh(&pair).await.unwrap_err();
        assert_eq!(told(&error), (Verdict::Refused, Reason::ClientRefused));
    }
    server.client(&app).refresh(&pair).await.unwrap();
}

#[actix::test]
#[ignore = "needs node and oidc-provider: scripts/test runs it"]
async fn a_revoked_login_is_over() {
    let (server, app) = (Foreign::start(), confidential());
    let (client, pair) = (server.client(&app), server.login(&app).await);
    let token = pair.refresh_token.as_ref().unwrap();
    client.revoke(token).await.unwrap();
    client.revoke(token).await.unwrap();
    assert_eq!(told(&client.refresh(&pair).await.unwrap_err()), (Verdict::InvalidGrant, Reason::LoginEnded));
    assert_eq!(server.owner(&pair).await, Err(Reason::TokenInvalid));
}

#[actix::test]
#[ignore = "needs node and oidc-provider: scripts/test runs it"]
async fn a_device_waits_for_the_user_and_its_login_can_be_renewed() {
    let (server, app) = (Foreign::start(), OAuthApp { redirect_uri: None, ..confidential() });
    let (client, scopes) = (server.client(&app), names(&["ai_features"]));
    let grant = client.start_device(&scopes).await.unwrap();
    assert!(matches!(client.poll_device(&grant.device_code, &scopes).await, Ok(DevicePoll::Pending)));
    server.browse(grant.verification_uri_complete.unwrap().expose()).await;
    let answer = client.poll_device(&grant.device_code, &scopes).await.unwrap();
    let DevicePoll::Pair(pair) = answer else { panic!("{answer:?}") };
    // A token that may not read its owner still tells whose it is.
    assert_eq!(server.owner(&pair).await.unwrap().username, "user-7");
    let next = client.refresh(&pair).await.unwrap();
    assert_eq!(next.scopes, scopes);
    let again = client.poll_device(&grant.device_code, &scopes).await.unwrap_err();
    assert_eq!(told(&again), (Verdict::InvalidGrant, Reason::CodeRefused));
}
