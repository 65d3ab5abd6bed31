//! The simulator over real sockets.

mod faults;
mod gateway;
mod gitlab_api;
mod limits;
mod oauth;
mod oauth_device;
mod oauth_faults;
mod proof;
mod refusals;
mod streams;

use std::sync::Arc;
use std::time::Duration;

use actix_web::http::header::HeaderMap;
use actix_web::http::{Method, StatusCode};
use actix_web::web::Bytes;
use serde_json::{Value, json};

use crate::domain::time::{TestClock, Timestamp};
use crate::simulator::{Running, Settings, start};

pub(super) const ADA: &str = "glpat-demo-ada-000000000000";
pub(super) const GRACE: &str = "glpat-demo-grace-000000000000";
pub(super) const LINUS: &str = "glpat-demo-linus-000000000000";
pub(super) const MESSAGES: &str = "/v1/proxy/anthropic/v1/messages";
pub(super) const RESPONSES: &str = "/v1/proxy/openai/v1/responses";
pub(super) const CHAT: &str = "/v1/proxy/openai/v1/chat/completions";
const THIRD_PARTY: &str = "/api/v4/ai/third_party_agents/direct_access";
/// 2026-11-22 00:00 UTC.
pub(super) const NOW: Timestamp = Timestamp::from_secs(1_795_305_600);

/// A simulator whose clock stands still, and a client.
pub(super) struct Rig {
    pub(super) running: Running,
    pub(super) clock: TestClock,
    pub(super) client: awc::Client,
}

/// An answer, read whole.
#[derive(Debug)]
pub(super) struct Got {
    pub(super) status: u16,
    pub(super) content_type: String,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

impl Got {
    /// Returns the value of a header.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    pub(super) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    /// Returns the data of every event, checking the event's name where the API sends one.
    pub(super) fn events(&self) -> Vec<Value> {
        let text = std::str::from_utf8(&self.body).unwrap();
        assert!(text.ends_with("\n\n"), "{text}");
        let data = |event: &str| {
            let (name, data) = match event.strip_prefix("event: ") {
                Some(rest) => rest.split_once('\n').unwrap(),
                None => ("", event),
            };
            let data = data.strip_prefix("data: ").unwrap();
            let data = serde_json::from_str(data).unwrap_or_else(|_| json!(data));
            assert!(name.is_empty() || data["type"] == name, "{event}");
            data
        };
        text.trim_end().split("\n\n").map(data).collect()
    }

    pub(super) fn expect(&self, status: u16, body: &Value) {
        assert_eq!((self.status, self.json()), (status, body.clone()));
    }
}

/// A grant as a client holds it.
#[derive(Clone, Debug)]
pub(super) struct Held {
    pub(super) token: String,
    pub(super) expires_at: u64,
    pub(super) headers: Vec<(String, String)>,
}

impl Held {
    pub(super) fn of(body: &Value) -> Self {
        let headers = body["headers"].as_object().unwrap().iter();
        Self {
            token: body["token"].as_str().unwrap().to_owned(),
            expires_at: body["expires_at"].as_u64().unwrap(),
            headers: headers.map(|(name, value)| (name.clone(), value.as_str().unwrap().to_owned())).collect(),
        }
    }

    pub(super) fn with(mut self, name: &str, value: &str) -> Self {
        self.headers.retain(|(known, _)| !known.eq_ignore_ascii_case(name));
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }
}

impl Rig {
    pub(super) async fn new() -> Self {
        Self::with(|_| {}).await
    }

    pub(super) async fn with(change: impl FnOnce(&mut Settings)) -> Self {
        let clock = TestClock::at(NOW);
        let mut settings = Settings { clock: Arc::new(clock.clone()), ..Settings::default() };
        change(&mut settings);
        let client = awc::Client::builder().disable_redirects().finish();
        Self { running: start(settings).await.unwrap(), clock, client }
    }

    /// Calls the control routes.
    pub(super) async fn control(&self, method: Method, path: &str, body: &Value) -> Got {
        let url = format!("http://{}/simulator/v1{path}", self.running.address());
        read(self.client.request(method, url).insert_header(("content-type", "application/json")), body.to_string())
            .await
    }

    /// Sends a form to the instance.
    pub(super) async fn form(&self, path: &str, pairs: &[(&str, &str)]) -> Got {
        let request = self.client.post(format!("{}{path}", self.running.url()));
        read(request.insert_header(("content-type", FORM)), form(pairs)).await
    }

    /// Calls the instance with a personal access token.
    pub(super) async fn api(&self, method: Method, path: &str, token: &str, body: &Value) -> Got {
        let request = self.client.request(method, format!("{}{path}", self.running.url()));
        read(request.bearer_auth(token).insert_header(("content-type", "application/json")), body.to_string()).await
    }

    pub(super) async fn mint(&self, token: &str) -> Held {
        let got = self.api(Method::POST, THIRD_PARTY, token, &json!({})).await;
        assert_eq!(got.status, 201, "{:?}", got.body);
        Held::of(&got.json())
    }

    /// Builds a call to the gateway.
    pub(super) fn request(&self, path: &str, held: &Held) -> awc::ClientRequest {
        let mut request = self.client.post(format!("{}{path}", self.running.gateway_url()));
        for (name, value) in &held.headers {
            request = request.insert_header((name.as_str(), value.as_str()));
        }
        let request = request.insert_header(("anthropic-version", "2023-06-01"));
        request.bearer_auth(&held.token).insert_header(("content-type", "application/json"))
    }

    /// Calls the gateway.
    pub(super) async fn ask(&self, path: &str, held: &Held, body: &Value) -> Got {
        read(self.request(path, held), body.to_string()).await
    }

    /// Calls the gateway as Ada.
    pub(super) async fn ask_as_ada(&self, path: &str, body: &Value) -> Got {
        let held = self.mint(ADA).await;
        self.ask(path, &held, body).await
    }
}

pub(super) const FORM: &str = "application/x-www-form-urlencoded";

/// Returns pairs as a form or a query.
pub(super) fn form(pairs: &[(&str, &str)]) -> String {
    url::form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish()
}

pub(super) async fn read(request: awc::ClientRequest, body: String) -> Got {
    let mut response = request.send_body(body).await.unwrap();
    let content_type = response.headers().get("content-type").map(|kind| kind.to_str().unwrap().to_owned());
    Got {
        status: response.status().as_u16(),
        content_type: content_type.unwrap_or_default(),
        headers: response.headers().clone(),
        body: response.body().await.unwrap(),
    }
}

/// Waits for what must happen at once; without a deadline a broken simulator would hang the test.
pub(super) async fn soon<T>(future: impl Future<Output = T>) -> T {
    actix_web::rt::time::timeout(Duration::from_secs(5), future).await.expect("this happens within seconds")
}

/// Returns a body for Messages with one user message.
pub(super) fn message(text: &str) -> Value {
    json!({ "model": "claude-sonnet-4-6", "max_tokens": 1_000, "messages": [{ "role": "user", "content": text }] })
}

/// Returns `base` with the members of `more`.
pub(super) fn and(base: &Value, more: &Value) -> Value {
    let mut whole = base.clone();
    for (key, value) in more.as_object().unwrap() {
        whole[key] = value.clone();
    }
    whole
}

#[actix::test]
async fn only_loopback_addresses_are_listened_on() {
    let settings = Settings { listen: ([0, 0, 0, 0], 0).into(), ..Settings::default() };
    assert_eq!(start(settings).await.map(|_| ()).unwrap_err().kind(), std::io::ErrorKind::InvalidInput);
}

#[actix::test]
async fn a_stopped_simulator_no_longer_answers() {
    let rig = Rig::new().await;
    let (client, url) = (rig.client.clone(), rig.running.url());
    assert_eq!(client.get(&url).send().await.unwrap().status(), StatusCode::NOT_FOUND);
    rig.running.stop().await;
    assert!(awc::Client::new().get(&url).send().await.is_err());
}
