//! What real clients send, and how it fares: every recorded request, as it was recorded, through the whole.

use std::fs;
use std::path::{Path, PathBuf};

use duopool::simulator::{Call, Record, fingerprint};
use serde_json::{Value, json};

use crate::support::grammar::{Ended, chat, completion, messages};
use crate::support::{Answer, TestApp};

/// Stands for the keys that the recordings mask. It belongs to the client and must get no further than duopool.
const CLIENT_KEY: &str = "sk-client-0123456789-abcdefghij";

/// How a recorded request fares.
#[derive(Clone, Copy, Debug)]
enum Fares {
    /// Arrives byte for byte.
    AsIs,
    /// Arrives byte for byte but for the model, whose other name this is.
    Alias(&'static str),
    /// Is refused by the gateway under its own name, and then arrives under that of the family's newest model.
    Fallback(&'static str),
    /// As `Fallback`, but it asks for more than the stand-in can do, and the provider's 400 says so in its own words.
    Refused(&'static str, &'static str),
    /// Is answered by a model of the other vendor, as `translated` says in full.
    Translated,
    /// Is answered by duopool, with this in the body.
    Here(u16, &'static str),
}

use Fares::{Alias, AsIs, Fallback, Here, Refused, Translated};

const SONNET_4_5: &str = "claude-sonnet-4-5-20250929";
const HAIKU_4_5: &str = "claude-haiku-4-5-20251001";
const OPUS_4_5: &str = "claude-opus-4-5-20251101";

/// Every recording. A file that is missing here fails a test.
const TABLE: &[(&str, Fares)] = &[
    ("aider-anthropic-1", Alias(SONNET_4_5)),
    ("aider-openai-1", Translated),
    ("claude-code-1", Alias(OPUS_4_5)),
    ("claude-code-2", Alias(OPUS_4_5)),
    ("claude-code-3", Translated),
    (
        "claude-code-4",
        Refused(HAIKU_4_5, "max_tokens: 128000 > 64000, which is the maximum allowed number of output tokens"),
    ),
    ("claude-code-5", Fallback("claude-sonnet-5")),
    ("claude-code-6", Alias(SONNET_4_5)),
    ("claude-code-7", Here(200, "\"lifecycle\":\"active\"")),
    ("claude-code-8", Alias(SONNET_4_5)),
    ("claude-code-old-1", Alias(SONNET_4_5)),
    ("codex-1", Fallback("gpt-5.3-codex")),
    ("codex-2", Alias("gpt-5.5-2026-04-23")),
    ("codex-3", Fallback("gpt-5.6-sol")),
    ("codex-4", Here(426, "POST")),
    ("opencode-anthropic-1", Alias(SONNET_4_5)),
    ("opencode-anthropic-2", Alias(SONNET_4_5)),
    ("opencode-compat-1", Translated),
    ("opencode-openai-1", AsIs),
    ("opencode-openai-2", AsIs),
    ("sdk-anthropic-node-1", AsIs),
    ("sdk-anthropic-python-1", AsIs),
    ("sdk-openai-node-1", Translated),
    ("sdk-openai-node-2", AsIs),
    ("sdk-openai-python-1", Translated),
    ("sdk-openai-python-2", AsIs),
    ("vercel-anthropic-1", AsIs),
    ("vercel-compat-1", Translated),
    ("vercel-openai-1", AsIs),
    ("vercel-openai-2", Translated),
];

/// One recorded request.
struct Recording {
    name: String,
    method: String,
    path: String,
    query: String,
    headers: Vec<(String, String)>,
    body: Value,
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/clients")
}

impl Recording {
    fn read(name: &str) -> Self {
        let bytes = fs::read(folder().join(format!("{name}.json"))).expect("the recording is there");
        let all: Value = serde_json::from_slice(&bytes).expect("a recording is JSON");
        let text = |member: &str| all[member].as_str().expect("a text").to_owned();
        let headers = all["headers"].as_array().expect("headers").iter().map(|pair| {
            let part = |at: usize| pair[at].as_str().expect("a text").to_owned();
            (part(0), part(1).replace("<masked>", CLIENT_KEY))
        });
        Self {
            name: name.to_owned(),
            method: text("method"),
            path: text("path"),
            query: text("query"),
            headers: headers.collect(),
            body: all["body"].clone(),
        }
    }

    /// Puts seals that the providers take in the place of those that the recordings' servers made up.
    fn sealed_by(mut self, seals: &Seals) -> Self {
        seals.put_into(&mut self.body);
        self
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(other, _)| other.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// Sends it as it was recorded; only who is called and how long the body is are this server's.
    async fn send_to(&self, app: &TestApp) -> Answer {
        let query = if self.query.is_empty() { String::new() } else { format!("?{}", self.query) };
        let mut request = app.request(&self.method, &format!("{}{query}", self.path));
        if !self.body.is_null() {
            request = request.bytes(self.body.to_string().into_bytes());
        }
        for (name, value) in &self.headers {
            let own = ["host", "content-length", "content-type"].contains(&name.to_ascii_lowercase().as_str());
            // An upgrade is asked for by this header; all others are sent on a connection that ends with the answer.
            if !own && (!name.eq_ignore_ascii_case("connection") || value == "Upgrade") {
                request = request.header(name, value);
            }
        }
        if self.header("upgrade").is_some() { request.open().await.rest().await } else { request.send().await }
    }

    /// Returns the body as it must arrive: for another model.
    fn body_for(&self, model: &str) -> String {
        let members = self.body.as_object().expect("an object").iter().map(|(key, value)| match key.as_str() {
            "model" => (key.clone(), json!(model)),
            _ => (key.clone(), value.clone()),
        });
        Value::Object(members.collect()).to_string()
    }

    fn call(&self) -> Call {
        match self.path.as_str() {
            "/v1/messages" => Call::Messages,
            "/v1/messages/count_tokens" => Call::CountTokens,
            "/v1/responses" => Call::Responses,
            other => panic!("nothing passes as it is at {other}"),
        }
    }
}

#[test]
fn every_recording_has_its_row_in_the_table() {
    let entries = fs::read_dir(folder()).expect("the recordings are there");
    let names = entries.map(|entry| entry.expect("an entry").file_name().into_string().expect("a plain name"));
    let mut there: Vec<String> = names.filter_map(|name| name.strip_suffix(".json").map(str::to_owned)).collect();
    there.sort_unstable();
    let listed: Vec<String> = TABLE.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(there, listed);
}

#[actix::test]
async fn every_recorded_request_fares_as_the_table_says() {
    let seals = Seals::of_the_providers().await;
    for (name, fares) in TABLE {
        let app = TestApp::with_accounts(&["ada"]).await;
        let recording = Recording::read(name).sealed_by(&seals);
        let answer = recording.send_to(&app).await;
        match *fares {
            AsIs => {
                let own = recording.body["model"].as_str().expect("a model").to_owned();
                passes(&app, &recording, &answer, &own, 1).await;
            }
            Alias(model) => passes(&app, &recording, &answer, model, 1).await,
            Fallback(model) => {
                passes(&app, &recording, &answer, model, 2).await;
                remembered(&app, &recording, model).await;
            }
            Refused(model, words) => {
                assert_eq!(answer.status, 400, "{name}: {}", answer.text());
                assert!(answer.text().contains(words), "{name}: {}", answer.text());
                arrived_as(&app, &recording, model, 2);
            }
            Translated => {
                assert_eq!(answer.status, 200, "{name}: {}", answer.text());
                assert_eq!(gateway_calls(&app), ["/ai/v1/proxy/openai/v1/responses"], "{name}");
                translated_well(&recording, &answer);
            }
            Here(status, words) => {
                assert_eq!(answer.status, status, "{name}: {}", answer.text());
                assert!(answer.text().contains(words), "{name}: {}", answer.text());
                assert_eq!(gateway_calls(&app), Vec::<String>::new(), "{name}: nothing of it went out");
            }
        }
    }
}

/// Asserts that an answer of another dialect's model keeps to the client's dialect, to its end.
fn translated_well(recording: &Recording, answer: &Answer) {
    let (name, text, body) = (&recording.name, answer.text(), &recording.body);
    let checked = match recording.path.as_str() {
        "/v1/messages" => messages(text.as_bytes()),
        _ if body["stream"] == true => chat(text.as_bytes(), body["stream_options"]["include_usage"] == true),
        _ => return completion(&answer.json()).unwrap_or_else(|problem| panic!("{name}: {problem}\n{text}")),
    };
    assert_eq!(checked.map(|checked| checked.ended), Ok(Ended::Properly), "{name}: {text}");
}

/// The servers that the recordings were made on sealed their thoughts with words of their own, which no provider takes.
#[actix::test]
async fn thoughts_that_the_provider_did_not_seal_arrive_as_they_are_and_once_they_are_refused_it_goes_on_without() {
    for (name, list, dropped) in [
        ("claude-code-2", "messages", "messages[].content[].thinking,thinking"),
        ("codex-2", "input", "input[].reasoning"),
    ] {
        let app = TestApp::with_accounts(&["ada", "ben"]).await;
        let recording = Recording::read(name);
        let answer = recording.send_to(&app).await;
        assert_eq!(answer.status, 200, "{name}: {}", answer.text());
        assert_eq!(answer.header("x-duopool-dropped"), Some(dropped), "{name}");
        assert_eq!(answer.header("x-duopool-attempts"), Some("2"), "{name}");
        let sent = app.gitlab.requests_of(recording.call());
        assert_eq!(sent.len(), 2, "{name}: once refused, once without");
        assert_eq!(sent[0].account, sent[1].account, "{name}: no account is at fault");
        let model = sent[0].json()["model"].as_str().expect("a model").to_owned();
        assert_eq!(String::from_utf8_lossy(&sent[0].body), recording.body_for(&model), "{name}");
        let is_thought = |value: &Value| matches!(value["type"].as_str(), Some("thinking" | "reasoning"));
        let all = |body: &Value| -> Vec<Value> {
            let entries = body[list].as_array().expect("a list").iter();
            entries
                .flat_map(|entry| entry["content"].as_array().cloned().unwrap_or_else(|| vec![entry.clone()]))
                .collect()
        };
        let kept: Vec<Value> = all(&sent[0].json()).into_iter().filter(|value| !is_thought(value)).collect();
        assert!(kept.len() < all(&sent[0].json()).len(), "{name}: there were thoughts");
        assert_eq!(all(&sent[1].json()), kept, "{name}");
    }
}

/// Thoughts as the simulated providers seal them.
struct Seals {
    /// A block of Claude's, with its signature.
    thinking: Value,
    /// What GPT's reasoning is encrypted to.
    encrypted: Value,
}

impl Seals {
    async fn of_the_providers() -> Self {
        let app = TestApp::with_accounts(&["ada"]).await;
        let claude = json!({ "model": "claude-sonnet-4-6", "max_tokens": 4_000, "messages": [{ "role": "user", "content": "Hi" }],
            "thinking": { "type": "enabled", "budget_tokens": 1_024 } });
        let thinking = app.ask("/v1/messages", &claude).await.json()["content"][0].clone();
        assert_eq!(thinking["type"], "thinking");
        let gpt = json!({ "model": "gpt-5.1", "input": "Hi", "store": false, "reasoning": { "effort": "medium" },
            "include": ["reasoning.encrypted_content"] });
        let encrypted = app.ask("/v1/responses", &gpt).await.json()["output"][0]["encrypted_content"].clone();
        assert!(encrypted.is_string());
        Self { thinking, encrypted }
    }

    /// Puts these seals in the place of those in `value`.
    fn put_into(&self, value: &mut Value) {
        match value {
            Value::Array(items) => items.iter_mut().for_each(|item| self.put_into(item)),
            Value::Object(members) => {
                if let Some(signature) = members.get_mut("signature") {
                    *signature = self.thinking["signature"].clone();
                    // A thought whose text was left out stays so.
                    if members["thinking"] != "" {
                        members["thinking"] = self.thinking["thinking"].clone();
                    }
                }
                for (key, member) in members {
                    if key == "encrypted_content" && member.is_string() {
                        *member = self.encrypted.clone();
                    } else {
                        self.put_into(member);
                    }
                }
            }
            _ => {}
        }
    }
}

/// Asserts that a request arrived under the name `model`, at the attempt of that number, and was answered.
async fn passes(app: &TestApp, recording: &Recording, answer: &Answer, model: &str, attempts: usize) {
    let name = &recording.name;
    assert_eq!(answer.status, 200, "{name}: {}", answer.text());
    arrived_as(app, recording, model, attempts);
    assert_eq!(answer.header("x-duopool-model"), Some(model), "{name}");
    assert_eq!(answer.header("x-duopool-attempts"), Some(attempts.to_string().as_str()), "{name}");
    assert_eq!(answer.header("x-duopool-account"), app.account("ada").await["id"].as_str(), "{name}");
    assert_eq!(answer.header("x-duopool-dropped"), None, "{name}");
    ended_well(recording, answer, model);
}

/// Asserts that the gateway got a request `attempts` times, the last time under the name `model`.
fn arrived_as(app: &TestApp, recording: &Recording, model: &str, attempts: usize) {
    let name = &recording.name;
    let sent = app.gitlab.requests_of(recording.call());
    assert_eq!(sent.len(), attempts, "{name}");
    let asked = recording.body["model"].as_str().expect("a model");
    let names = if attempts == 1 { vec![model] } else { vec![asked, model] };
    for (arrived, model) in sent.iter().zip(names) {
        assert_eq!(String::from_utf8_lossy(&arrived.body), recording.body_for(model), "{name}");
        arrived_clean(recording, arrived);
    }
}

/// Asserts that what arrived is the account's own and not the client's, but for the body and Anthropic's two headers.
fn arrived_clean(recording: &Recording, arrived: &Record) {
    let name = &recording.name;
    let target = match recording.call() {
        Call::Messages => "/ai/v1/proxy/anthropic/v1/messages",
        Call::CountTokens => "/ai/v1/proxy/anthropic/v1/messages/count_tokens?beta=true",
        _ => "/ai/v1/proxy/openai/v1/responses",
    };
    assert_eq!((arrived.method.as_str(), arrived.target.as_str()), ("POST", target), "{name}");
    assert_eq!(arrived.account.as_deref(), Some("ada"), "{name}");
    assert!(arrived.credential.is_some() && arrived.credential != Some(fingerprint(CLIENT_KEY)), "{name}");
    let mut owned = 0;
    for (header, value) in &arrived.headers {
        let wanted = match header.as_str() {
            "anthropic-version" | "anthropic-beta" => recording.header(header),
            "user-agent" => Some(concat!("duopool/", env!("CARGO_PKG_VERSION"))),
            "content-type" => Some("application/json"),
            "accept" => Some("*/*"),
            "accept-encoding" => Some("identity"),
            "host" | "content-length" | "date" | "authorization" => Some(value.as_str()),
            own if own.starts_with("x-gitlab-") => {
                owned += 1;
                Some(value.as_str())
            }
            other => panic!("{name}: header {other} has no business there"),
        };
        assert_eq!(Some(value.as_str()), wanted, "{name}: {header}");
        assert!(!value.contains(CLIENT_KEY), "{name}: {header}");
    }
    assert!(owned > 10, "{name}: the account's own headers went along");
    assert_eq!(arrived.header("x-gitlab-unit-primitive"), Some("ai_gateway_model_provider_proxy"), "{name}");
    for header in ["anthropic-version", "anthropic-beta"] {
        let wanted = recording.header(header).filter(|_| target.contains("anthropic"));
        assert_eq!(arrived.header(header), wanted, "{name}: {header}");
    }
}

/// Asserts that an answer is whole and names the model that gave it.
fn ended_well(recording: &Recording, answer: &Answer, model: &str) {
    let name = &recording.name;
    assert!(answer.complete, "{name}");
    let streamed = recording.body["stream"] == true;
    let wanted = if streamed { "text/event-stream; charset=utf-8" } else { "application/json" };
    assert_eq!(answer.header("content-type"), Some(wanted), "{name}");
    if recording.call() == Call::CountTokens {
        assert!(answer.json()["input_tokens"].as_u64() > Some(0), "{name}: {}", answer.text());
        return;
    }
    if !streamed {
        assert_eq!(answer.json()["model"], model, "{name}");
        return;
    }
    let events = answer.events();
    let data = |at: usize| serde_json::from_str::<Value>(&events[at].data).unwrap_or_default();
    let last = events.last().expect("events");
    match recording.call() {
        Call::Messages => {
            assert_eq!(last.name.as_deref(), Some("message_stop"), "{name}");
            assert_eq!(data(0)["message"]["model"], model, "{name}");
        }
        Call::Responses => {
            assert_eq!(last.name.as_deref(), Some("response.completed"), "{name}");
            assert_eq!(data(events.len() - 1)["response"]["model"], model, "{name}");
        }
        _ => {
            assert_eq!(last.data, "[DONE]", "{name}");
            assert_eq!(data(0)["model"], model, "{name}");
        }
    }
    assert!(events.iter().all(|event| event.name.as_deref() != Some("error")), "{name}");
}

/// Asserts that a second request goes straight to the stand-in.
async fn remembered(app: &TestApp, recording: &Recording, model: &str) {
    let name = &recording.name;
    app.gitlab.clear_requests();
    let again = recording.send_to(app).await;
    assert_eq!(again.status, 200, "{name}: {}", again.text());
    assert_eq!(again.header("x-duopool-attempts"), Some("1"), "{name}");
    assert_eq!(again.header("x-duopool-model"), Some(model), "{name}");
    let sent = app.gitlab.requests_of(recording.call());
    assert_eq!(sent.iter().map(|record| record.json()["model"].clone()).collect::<Vec<_>>(), [model], "{name}");
}

fn gateway_calls(app: &TestApp) -> Vec<String> {
    let requests = app.gitlab.requests().into_iter();
    requests.filter(|record| record.target.starts_with("/ai/")).map(|record| record.target).collect()
}
