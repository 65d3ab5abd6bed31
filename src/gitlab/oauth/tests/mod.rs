use futures::future::join;

use super::outcome::error_value;
use super::*;
use crate::domain::time::{TestClock, Timestamp};
use crate::gitlab::upstream::tests::raw_server::{RawServer, Received, in_time};
use crate::gitlab::upstream::tests::upstream;

mod exchange;
mod foreign;
mod replies;

const REDIRECT: &str = "http://127.0.0.1:8080/oauth/callback";
const CLIENT_SECRET: &str = "gloas-visible";
const CODE: &str = "code-visible";
const VERIFIER: &str = "verifier-visible-0123456789-0123456789-0123";
const OLD_ACCESS: &str = "old-access-visible";
const OLD_REFRESH: &str = "old-refresh-visible";
const NOW: Timestamp = Timestamp::from_secs(1_793_178_000);
/// What GitLab documents as its answer, with new tokens that must not be shown either.
const TOKENS: &str = r#"{"access_token":"new-access-visible","token_type":"Bearer","expires_in":7200,
    "refresh_token":"new-refresh-visible","scope":"ai_features read_user","created_at":1607635748}"#;

fn secret(text: &str) -> Secret<String> {
    Secret::new(text.to_owned())
}

fn names(scopes: &[&str]) -> Vec<String> {
    scopes.iter().map(|scope| (*scope).to_owned()).collect()
}

fn app() -> OAuthApp {
    OAuthApp {
        client_id: "app-id".to_owned(),
        client_secret: Some(secret(CLIENT_SECRET)),
        redirect_uri: Some(REDIRECT.to_owned()),
    }
}

fn pair() -> OAuthPair {
    OAuthPair {
        access_token: secret(OLD_ACCESS),
        refresh_token: Some(secret(OLD_REFRESH)),
        expires_at: NOW,
        obtained_at: NOW,
        scopes: names(&["ai_features"]),
    }
}

/// Lets `ask` use a client of `app` at `server`, below a path prefix, while `serving` goes on.
async fn at<T, S: Future>(
    server: &RawServer,
    app: &OAuthApp,
    ask: impl AsyncFnOnce(OAuthClient<'_>) -> T,
    serving: S,
) -> (T, S::Output) {
    let (upstream, clock) = (upstream(), TestClock::at(NOW));
    let instance = InstanceUrl::parse(&format!("{}/gitlab", server.root())).unwrap();
    let client = OAuthClient { upstream: &upstream, instance: &instance, app, clock: &clock };
    in_time(join(ask(client), serving)).await
}

/// Lets `ask` meet `answer`, and returns what it makes of it and what it sent.
async fn answered<T>(app: &OAuthApp, answer: &[u8], ask: impl AsyncFnOnce(OAuthClient<'_>) -> T) -> (T, Received) {
    let server = RawServer::start().await;
    let result = at(&server, app, ask, server.answer_once(answer)).await;
    assert!(!server.has_visitor().await, "asked twice");
    result
}

fn response(status: &str, content_type: &str, body: impl AsRef<[u8]>) -> Vec<u8> {
    let body = body.as_ref();
    let head = format!("HTTP/1.1 {status}\r\ncontent-type: {content_type}\r\ncontent-length: {}\r\n\r\n", body.len());
    [head.as_bytes(), body].concat()
}

fn json(status: &str, body: &str) -> Vec<u8> {
    response(status, "application/json; charset=utf-8", body)
}

fn fields(body: &[u8]) -> Vec<(String, String)> {
    let mut fields: Vec<_> = url::form_urlencoded::parse(body).into_owned().collect();
    fields.sort();
    fields
}

fn owned(fields: &[(&str, &str)]) -> Vec<(String, String)> {
    fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

/// What may be done after an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Refused,
    InvalidGrant,
    Unknown,
}

fn verdict(error: &ExchangeError) -> Verdict {
    match error {
        ExchangeError::Refused(_) => Verdict::Refused,
        ExchangeError::InvalidGrant(_) => Verdict::InvalidGrant,
        ExchangeError::Unknown(_) => Verdict::Unknown,
    }
}

fn assert_keeps_secrets(shown: &str) {
    assert!(!shown.contains("visible"), "{shown}");
}
