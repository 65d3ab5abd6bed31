//! What nobody should send, and what upstreams should not answer: each is told in the caller's dialect, and the server
//! serves on.

use std::fmt::Write as _;

use duopool::domain::secret::Secret;
use duopool::simulator::{Call, Effect, Rule};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::support::{Answer, Open, TestApp};

const KEY: &str = "dp-client-key-0123456789";
const SONNET: &str = "claude-sonnet-4-6";
const GPT: &str = "gpt-5.5-2026-04-23";
const MESSAGES: &str = "/v1/messages";
const COUNT: &str = "/v1/messages/count_tokens";
const CHAT: &str = "/v1/chat/completions";
const RESPONSES: &str = "/v1/responses";
const ROUTES: [&str; 4] = [MESSAGES, COUNT, CHAT, RESPONSES];

fn good(path: &str) -> Value {
    let turns = json!([{ "role": "user", "content": "Good morning!" }]);
    match path {
        MESSAGES => json!({ "model": SONNET, "max_tokens": 100, "messages": turns }),
        COUNT => json!({ "model": SONNET, "messages": turns }),
        CHAT => json!({ "model": GPT, "messages": turns }),
        _ => json!({ "model": GPT, "input": "Good morning!", "store": false }),
    }
}

/// Asserts that `answer` is an error in the dialect of `path`; returns its message.
fn told(path: &str, answer: &Answer, status: u16, what: &str) -> String {
    assert_eq!(answer.status, status, "{path} {what}: {}", answer.text());
    assert_eq!(answer.header("content-type"), Some("application/json"), "{path} {what}");
    let body = answer.json();
    let (id, error) = (answer.header("x-request-id"), &body["error"]);
    assert!(id.is_some(), "{path} {what}");
    assert_eq!(answer.header("request-id"), id, "{path} {what}");
    assert_eq!(body["request_id"].as_str(), id, "{path} {what}: {body}");
    assert!(error["type"].is_string(), "{path} {what}: {body}");
    let members: Vec<&str> = error.as_object().expect("an object").keys().map(String::as_str).collect();
    if path.starts_with(MESSAGES) {
        assert_eq!((body["type"].as_str(), members), (Some("error"), vec!["type", "message"]), "{path} {what}");
    } else {
        assert_eq!((body.get("type"), members), (None, vec!["message", "type", "param", "code"]), "{path} {what}");
    }
    let message = error["message"].as_str().expect("a message").to_owned();
    assert!(message.len() >= 10, "{path} {what}: `{message}` says nothing");
    message
}

async fn serves_on(app: &TestApp) {
    let answer = app.ask(MESSAGES, &good(MESSAGES)).await;
    assert_eq!(answer.status, 200, "the server serves on: {}", answer.text());
}

#[actix::test]
async fn a_body_that_cannot_be_read_is_a_400_that_says_where() {
    let app = TestApp::with_accounts(&["ada"]).await;
    let deep = |count: usize| "[".repeat(count);
    let closed = format!("{}{}", deep(100_000), "]".repeat(100_000));
    let cases: Vec<(&str, Vec<u8>, &str, Option<&str>)> = vec![
        ("nothing", Vec::new(), "not valid JSON", None),
        ("half an object", b"{\"model\":\"claude-sonnet-4-6\"".to_vec(), "not valid JSON (line 1, column 28)", None),
        ("something behind", b"{\"model\":\"m\"} {}".to_vec(), "not valid JSON", None),
        ("a list", b"[]".to_vec(), "must be a JSON object", None),
        ("a text", b"\"hello\"".to_vec(), "must be a JSON object", None),
        ("null", b"null".to_vec(), "must be a JSON object", None),
        ("a form", b"model=gpt-5&stream=true".to_vec(), "not valid JSON", None),
        ("no model", b"{}".to_vec(), "`model` is required", Some("model")),
        ("a number for a model", b"{\"model\":5}".to_vec(), "`model` must be a string", Some("model")),
        ("null for a model", b"{\"model\":null}".to_vec(), "`model` must be a string", Some("model")),
        ("two models", b"{\"model\":\"a\",\"model\":\"b\"}".to_vec(), "`model` must not be given twice", Some("model")),
        (
            "a text for stream",
            b"{\"model\":\"m\",\"stream\":\"yes\"}".to_vec(),
            "`stream` must be true or false",
            Some("stream"),
        ),
        (
            "a number for stream",
            b"{\"model\":\"m\",\"stream\":1}".to_vec(),
            "`stream` must be true or false",
            Some("stream"),
        ),
        ("no UTF-8", b"{\"model\":\"\xff\xfe\"}".to_vec(), "not valid UTF-8 (byte 10)", None),
        ("UTF-16", b"\xff\xfe{\x00}\x00".to_vec(), "not valid UTF-8 (byte 0)", None),
        ("a byte order mark", b"\xef\xbb\xbf{}".to_vec(), "not valid JSON", None),
        ("deep", deep(100_000).into_bytes(), "must be a JSON object", None),
        ("deep and closed", closed.clone().into_bytes(), "must be a JSON object", None),
        ("deep objects", "{\"a\":".repeat(100_000).into_bytes(), "not valid JSON", None),
    ];
    for path in ROUTES {
        for (what, body, words, param) in &cases {
            let answer = app.request("POST", path).bytes(body.clone()).send().await;
            let message = told(path, &answer, 400, what);
            assert!(message.contains(words), "{path} {what}: {message}");
            assert_eq!(answer.json()["error"]["type"], "invalid_request_error", "{path} {what}");
            if !path.starts_with(MESSAGES) {
                assert_eq!(answer.json()["error"]["param"].as_str(), *param, "{path} {what}");
            }
        }
    }
    assert!(app.gitlab.requests().iter().all(|record| !record.target.contains("/v1/proxy/")), "nobody was asked");
    serves_on(&app).await;
}

#[actix::test]
async fn deep_nesting_anywhere_overflows_no_stack() {
    let app = TestApp::with_accounts(&["ada"]).await;
    let lists = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let objects = format!("{}1{}", "{\"a\":".repeat(100_000), "}".repeat(100_000));
    for deep in [lists, objects] {
        for path in [MESSAGES, COUNT, CHAT, RESPONSES] {
            for (model, member) in [(SONNET, "metadata"), (GPT, "metadata"), (SONNET, "messages"), (SONNET, "tools")] {
                let wrong_route =
                    (path.starts_with(MESSAGES) && model == GPT) || (path == RESPONSES && model == SONNET);
                if wrong_route {
                    continue;
                }
                let body = format!("{{\"model\":\"{model}\",\"max_tokens\":5,\"{member}\":{deep}}}");
                let answer = app.request("POST", path).bytes(body.into_bytes()).send().await;
                told(path, &answer, 400, &format!("{model} {member}"));
            }
        }
    }
    serves_on(&app).await;
}

/// Sends bytes as they are and reads what comes; `None` if the connection closes without an answer.
async fn raw(app: &TestApp, bytes: &[u8]) -> Option<Answer> {
    let mut stream = TcpStream::connect(app.address()).await.expect("duopool takes connections");
    // A server that has seen enough may close before it has read it all.
    drop(stream.write_all(bytes).await);
    Some(Open::on(stream).await?.rest().await)
}

fn head(app: &TestApp, path: &str, headers: &str) -> Vec<u8> {
    let host = app.address();
    format!(
        "POST {path} HTTP/1.1\r\nhost: {host}\r\ncontent-type: application/json\r\nconnection: close\r\n{headers}\r\n"
    )
    .into_bytes()
}

#[actix::test]
async fn a_body_over_the_limit_is_a_413_however_its_length_is_told() {
    let app = TestApp::start(&["ada"], |layer| layer.body_bytes_max = Some(1_024)).await;
    app.add("ada").await;
    for path in ROUTES {
        let text = "x".repeat(2_000);
        let declared = app.request("POST", path).bytes(format!("{{\"model\":\"{text}\"}}").into_bytes()).send().await;
        let message = told(path, &declared, 413, "declared");
        assert!(message.contains("1024 bytes"), "{message}");
        let kind = if path.starts_with(MESSAGES) { "request_too_large" } else { "invalid_request_error" };
        assert_eq!(declared.json()["error"]["type"], kind, "{path}");

        // Only told: not a byte of it comes.
        let promised = raw(&app, &head(&app, path, "content-length: 99999999999\r\n")).await.expect("an answer");
        told(path, &promised, 413, "promised");

        // A body in chunks whose last one never comes.
        let mut endless = head(&app, path, "transfer-encoding: chunked\r\n");
        for _ in 0..20 {
            endless.extend_from_slice(format!("64\r\n{}\r\n", "x".repeat(100)).as_bytes());
        }
        let endless = raw(&app, &endless).await.expect("an answer");
        told(path, &endless, 413, "endless");
    }
    serves_on(&app).await;
}

#[actix::test]
async fn a_body_that_never_ends_is_a_408_when_the_requests_time_is_up() {
    let app = TestApp::start(&["ada"], |layer| layer.request_timeout_s = Some(1)).await;
    app.add("ada").await;
    for path in ROUTES {
        let mut bytes = head(&app, path, "content-length: 100\r\n");
        bytes.extend_from_slice(b"{\"model\":");
        let answer = raw(&app, &bytes).await.expect("an answer");
        let message = told(path, &answer, 408, "a body that stops");
        assert!(message.contains("did not arrive in time"), "{message}");
    }
    serves_on(&app).await;
}

#[actix::test]
async fn a_missing_or_wrong_key_is_a_401_in_the_callers_dialect() {
    let app = TestApp::start(&["ada"], |layer| layer.client_keys = Some(vec![Secret::new(KEY.to_owned())])).await;
    app.add("ada").await;
    let keys: [(&str, &str, &str); 6] = [
        ("x-nothing", "x", "no key: send your duopool key as"),
        ("authorization", "Bearer wrong", "not a key of this duopool server"),
        ("x-api-key", "sk-ant-wrong", "not a key of this duopool server"),
        ("x-api-key", "", "not a key of this duopool server"),
        ("authorization", "Basic ZHA6a2V5", "no key: send your duopool key as"),
        ("authorization", "Bearer", "no key: send your duopool key as"),
    ];
    for (name, value, words) in keys {
        for path in ROUTES {
            let answer = app.post(path, &good(path)).header(name, value).send().await;
            let message = told(path, &answer, 401, value);
            assert!(message.contains(words), "{path} {name} {value}: {message}");
            let error = &answer.json()["error"];
            if path.starts_with(MESSAGES) {
                assert_eq!(error["type"], "authentication_error");
            } else {
                assert_eq!(
                    (&error["type"], &error["code"]),
                    (&json!("invalid_request_error"), &json!("invalid_api_key"))
                );
            }
            assert!(!answer.text().contains("wrong"), "the key is not shown: {}", answer.text());
        }
        let models = app.request("GET", "/v1/models").header(name, value).send().await;
        told("/v1/models", &models, 401, value);
    }
    assert!(app.gitlab.requests().iter().all(|record| !record.target.contains("/v1/proxy/")), "nobody was asked");
    let answer = app.post(MESSAGES, &good(MESSAGES)).header("x-api-key", KEY).send().await;
    assert_eq!(answer.status, 200);
}

#[actix::test]
async fn while_open_a_web_page_a_proxy_and_another_host_get_a_403() {
    let app = TestApp::with_accounts(&["ada"]).await;
    let port = app.address().port();
    let own = format!("localhost:{port}");
    for (name, value, words) in [
        ("content-type", "text/plain", "content type application/json"),
        ("content-type", "application/x-www-form-urlencoded", "content type application/json"),
        ("content-type", "", "content type application/json"),
        ("origin", "https://evil.example", "web pages"),
        ("origin", "null", "web pages"),
        ("origin", "http://127.0.0.1.evil.example", "web pages"),
        ("host", "evil.example", "Host header"),
        ("host", "127.0.0.1.evil.example:80", "Host header"),
        ("host", "192.168.1.5", "Host header"),
        ("x-forwarded-for", "127.0.0.1", "forwarded"),
        ("forwarded", "for=127.0.0.1", "forwarded"),
    ] {
        for path in ROUTES {
            let answer = app.post(path, &good(path)).header(name, value).send().await;
            let message = told(path, &answer, 403, value);
            assert!(message.contains(words) && message.contains("client key"), "{path} {name}: {message}");
        }
        if name != "content-type" {
            for path in ["/v1/models", "/", "/healthz", "/nowhere"] {
                let answer = app.request("GET", path).header(name, value).send().await;
                told(path, &answer, 403, value);
            }
        }
    }
    let bare = format!("POST {MESSAGES} HTTP/1.1\r\nhost: {own}\r\nconnection: close\r\ncontent-length: 2\r\n\r\n{{}}");
    told(MESSAGES, &raw(&app, bare.as_bytes()).await.expect("an answer"), 403, "no content type");
    let hostless = b"GET /v1/models HTTP/1.0\r\n\r\n";
    told("/v1/models", &raw(&app, hostless).await.expect("an answer"), 403, "no host");
    assert!(app.gitlab.requests().iter().all(|record| !record.target.contains("/v1/proxy/")), "nobody was asked");
    for (name, value) in [
        ("origin", "http://localhost:3000"),
        ("host", own.as_str()),
        ("host", "[::1]:8080"),
        ("content-type", "application/json; charset=utf-8"),
        ("content-type", "Application/JSON"),
    ] {
        let answer = app.post(MESSAGES, &good(MESSAGES)).header(name, value).send().await;
        assert_eq!(answer.status, 200, "{name} {value}: {}", answer.text());
    }
}

#[actix::test]
async fn with_a_key_it_does_not_matter_where_a_request_comes_from() {
    let app = TestApp::start(&["ada"], |layer| layer.client_keys = Some(vec![Secret::new(KEY.to_owned())])).await;
    app.add("ada").await;
    for (name, value) in [
        ("content-type", "text/plain"),
        ("origin", "https://chat.example"),
        ("host", "duopool.example"),
        ("x-forwarded-for", "10.0.0.1"),
    ] {
        let answer = app.post(MESSAGES, &good(MESSAGES)).header("x-api-key", KEY).header(name, value).send().await;
        assert_eq!(answer.status, 200, "{name} {value}: {}", answer.text());
    }
}

#[actix::test]
async fn absurd_headers_hurt_nobody() {
    let app = TestApp::with_accounts(&["ada"]).await;
    let body = good(MESSAGES).to_string();
    let send = async |headers: Vec<u8>| {
        let mut bytes = head(&app, MESSAGES, "");
        bytes.truncate(bytes.len() - 2);
        bytes.extend_from_slice(format!("content-length: {}\r\n", body.len()).as_bytes());
        bytes.extend_from_slice(&headers);
        bytes.extend_from_slice(b"\r\n");
        bytes.extend_from_slice(body.as_bytes());
        raw(&app, &bytes).await
    };
    let mut many = String::new();
    for index in 0..200 {
        write!(many, "x-{index}: y\r\n").expect("it fits");
    }
    // What concerns nobody is ignored.
    for (what, headers) in [
        ("64 KiB", format!("x-long: {}\r\n", "y".repeat(64 * 1_024)).into_bytes()),
        ("no UTF-8", b"x-odd: \xff\xfe\r\nuser-agent: \xff\r\nauthorization: \xff\r\nx-api-key: \xff\r\n".to_vec()),
        ("an empty one", b"x-empty:\r\nauthorization:\r\n".to_vec()),
    ] {
        let answer = send(headers).await.expect("an answer");
        assert_eq!(answer.status, 200, "{what}: {}", answer.text());
    }
    // What is more than the server reads is refused before it is a request at all.
    for (what, headers) in [
        ("200 headers", many.into_bytes()),
        ("a mebibyte", format!("x-long: {}\r\n", "y".repeat(1_024 * 1_024)).into_bytes()),
        ("a header without a name", b": y\r\n".to_vec()),
        ("a line feed in a value", b"x-odd: a\nb\r\n".to_vec()),
        ("a zero byte in a value", b"x-odd: a\x00b\r\n".to_vec()),
        ("two lengths", b"content-length: 3\r\n".to_vec()),
        ("length and chunks", b"transfer-encoding: chunked\r\n".to_vec()),
    ] {
        if let Some(answer) = send(headers).await {
            assert!((400..500).contains(&answer.status), "{what}: {} {}", answer.status, answer.text());
        }
    }
    serves_on(&app).await;
}

#[actix::test]
async fn an_odd_beta_list_goes_on_as_it_is() {
    let app = TestApp::with_accounts(&["ada"]).await;
    for beta in ["", ",,,", "made-up-2099-01-01", "a b\tc", "x\"y';--", &"long-beta,".repeat(500)] {
        app.gitlab.clear_requests();
        let answer = app.post(MESSAGES, &good(MESSAGES)).header("anthropic-beta", beta).send().await;
        assert_eq!(answer.status, 200, "{beta}: {}", answer.text());
        assert_eq!(app.gitlab.requests_of(Call::Messages)[0].header("anthropic-beta"), Some(beta));
    }
    // Several lines are one list.
    app.gitlab.clear_requests();
    let mut bytes = head(&app, MESSAGES, "anthropic-beta: a\r\nanthropic-beta: b\r\n");
    bytes.truncate(bytes.len() - 2);
    let body = good(MESSAGES).to_string();
    bytes.extend_from_slice(format!("content-length: {}\r\n\r\n{body}", body.len()).as_bytes());
    assert_eq!(raw(&app, &bytes).await.expect("an answer").status, 200);
    assert_eq!(app.gitlab.requests_of(Call::Messages)[0].header("anthropic-beta"), Some("a,b"));
}

#[actix::test]
async fn what_is_not_http_gets_a_400_or_nothing() {
    let app = TestApp::with_accounts(&["ada"]).await;
    for garbage in [
        &b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n"[..],
        b"hello\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"\x00\x00\x00\x00\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"POST /v1/messages HTTP/1.1\r\ncontent-length: -1\r\n\r\n",
        b"POST /v1/messages HTTP/1.1\r\ntransfer-encoding: chunked\r\nhost: localhost\r\n\r\nzz\r\n",
    ] {
        if let Some(answer) = raw(&app, garbage).await {
            assert!((400..500).contains(&answer.status), "{:?}: {}", String::from_utf8_lossy(garbage), answer.text());
        }
    }
    serves_on(&app).await;
}

/// An error of an upstream, and what a client is told: the same for every dialect but for the words.
struct Mishap {
    /// What goes wrong at the model's route.
    status: u16,
    body: String,
    /// Status for a client of Messages, and for one of OpenAI's dialects.
    told: (u16, u16),
    /// `error.type` in Messages; `error.type` and `error.code` in OpenAI's dialects.
    types: (&'static str, &'static str, Option<&'static str>),
    /// In the message.
    words: &'static str,
}

fn mishap(
    (status, body): (u16, &str),
    told: (u16, u16),
    types: (&'static str, &'static str, Option<&'static str>),
    words: &'static str,
) -> Mishap {
    Mishap { status, body: body.to_owned(), told, types, words }
}

const INVALID: (&str, &str, Option<&str>) = ("invalid_request_error", "invalid_request_error", None);
const TOO_LONG: (&str, &str, Option<&str>) =
    ("invalid_request_error", "invalid_request_error", Some("context_length_exceeded"));
const NOT_FOUND: (&str, &str, Option<&str>) = ("not_found_error", "invalid_request_error", Some("model_not_found"));
const TOO_LARGE: (&str, &str, Option<&str>) = ("request_too_large", "invalid_request_error", None);
const RATE: (&str, &str, Option<&str>) = ("rate_limit_error", "rate_limit_error", Some("rate_limit_exceeded"));
const OVERLOADED: (&str, &str, Option<&str>) = ("overloaded_error", "server_error", None);
const INTERNAL: (&str, &str, Option<&str>) = ("api_error", "server_error", None);
const BILLING: (&str, &str, Option<&str>) = ("billing_error", "insufficient_quota", Some("insufficient_quota"));

/// An error page of a proxy in between; its words must not reach a client.
const PAGE: &str = "<html><head><title>Error</title></head><body>nginx secret-host.internal</body></html>";

#[rustfmt::skip]
fn mishaps() -> Vec<Mishap> {
    let anthropic = |kind: &str, message: &str| json!({ "type": "error", "error": { "type": kind, "message": message } }).to_string();
    let openai = |kind: &str, code: Option<&str>, message: &str| {
        json!({ "error": { "message": message, "type": kind, "param": null, "code": code } }).to_string()
    };
    vec![
        // The request's own fault: the provider's words.
        mishap((400, &anthropic("invalid_request_error", "max_tokens: must be \u{201c}positive\u{201d}")), (400, 400), INVALID, "max_tokens: must be \u{201c}positive\u{201d}"),
        mishap((400, &openai("invalid_request_error", None, "Unknown parameter: 'x'.")), (400, 400), INVALID, "Unknown parameter: 'x'."),
        mishap((400, &anthropic("invalid_request_error", "prompt is too long: 210000 tokens > 200000 maximum")), (400, 400), TOO_LONG, "prompt is too long: 210000 tokens > 200000 maximum"),
        mishap((400, &anthropic("invalid_request_error", "input length and `max_tokens` exceed context limit: 190000 + 20000 > 200000")), (400, 400), TOO_LONG, "input length and `max_tokens` exceed context limit"),
        mishap((400, &openai("invalid_request_error", Some("context_length_exceeded"), "Your input exceeds the context window of this model.")), (400, 400), TOO_LONG, "Your input exceeds the context window of this model."),
        mishap((404, &anthropic("not_found_error", "model: claude-sonnet-4-6")), (404, 404), NOT_FOUND, "model: claude-sonnet-4-6"),
        mishap((413, &anthropic("request_too_large", "Request exceeds the maximum size")), (413, 413), TOO_LARGE, "Request exceeds the maximum size"),
        mishap((413, PAGE), (413, 413), TOO_LARGE, ""),
        mishap((422, r#"{"detail":[{"loc":["body","x"],"msg":"field required","type":"missing"}]}"#), (422, 422), INVALID, "field required"),
        // The provider's fault.
        mishap((429, &anthropic("rate_limit_error", "This request would exceed the rate limit")), (429, 429), RATE, "This request would exceed the rate limit"),
        mishap((429, &openai("tokens", Some("rate_limit_exceeded"), "Rate limit reached")), (429, 429), RATE, "Rate limit reached"),
        mishap((429, PAGE), (429, 429), RATE, ""),
        mishap((529, &anthropic("overloaded_error", "Overloaded")), (529, 503), OVERLOADED, "Overloaded"),
        mishap((503, &openai("server_error", None, "The engine is currently overloaded")), (529, 503), OVERLOADED, "The engine is currently overloaded"),
        mishap((500, &anthropic("api_error", "Internal server error")), (500, 500), INTERNAL, "Internal server error"),
        // The gateway's: never its 401 or 403, never a page.
        mishap((401, r#"{"error":"Forbidden by auth provider"}"#), (503, 503), OVERLOADED, ""),
        mishap((401, &anthropic("authentication_error", "invalid x-api-key")), (503, 503), OVERLOADED, ""),
        mishap((403, r#"{"detail":"Gitlab namespace id mismatch"}"#), (503, 503), OVERLOADED, ""),
        mishap((403, r#"{"detail":"Unauthorized to access ai_gateway_model_provider_proxy"}"#), (503, 503), OVERLOADED, ""),
        mishap((403, &anthropic("permission_error", "Your API key does not have permission")), (503, 503), OVERLOADED, ""),
        mishap((403, PAGE), (502, 502), INTERNAL, ""),
        mishap((402, r#"{"error":"insufficient_credits","error_code":"USAGE_QUOTA_EXCEEDED","message":"Consumer does not have sufficient credits for this request"}"#), (402, 402), BILLING, "out of GitLab Credits"),
        mishap((404, r#"{"detail":"Not found"}"#), (502, 502), INTERNAL, ""),
        mishap((500, r#"{"detail":"Server configuration error: API key not set"}"#), (502, 502), INTERNAL, ""),
        mishap((502, r#"{"detail":"Bad Gateway"}"#), (502, 502), INTERNAL, ""),
        mishap((502, PAGE), (502, 502), INTERNAL, ""),
        mishap((504, PAGE), (502, 502), INTERNAL, ""),
        mishap((200, PAGE), (502, 502), INTERNAL, ""),
        mishap((200, "{\"half\": ["), (502, 502), INTERNAL, ""),
        mishap((307, ""), (502, 502), INTERNAL, ""),
    ]
}

#[actix::test]
async fn an_upstreams_error_is_told_in_the_callers_words() {
    for mishap in mishaps() {
        for (path, model, stream) in [
            (MESSAGES, SONNET, false),
            (MESSAGES, SONNET, true),
            (CHAT, SONNET, false),
            (CHAT, GPT, true),
            (RESPONSES, GPT, true),
            (RESPONSES, GPT, false),
        ] {
            let app = TestApp::with_accounts(&["ada"]).await;
            for call in [Call::Messages, Call::ChatCompletions, Call::Responses] {
                app.gitlab.add_rule(Rule::always(effect(&mishap)).on(call));
            }
            let mut body = good(path);
            (body["model"], body["stream"]) = (json!(model), json!(stream));
            let answer = app.ask(path, &body).await;
            let what = format!("{model} stream {stream}: {} {}", mishap.status, mishap.body);
            let status = if path == MESSAGES { mishap.told.0 } else { mishap.told.1 };
            let message = told(path, &answer, status, &what);
            assert!(message.contains(mishap.words), "{path} {what}: {message}");
            let error = &answer.json()["error"];
            if path == MESSAGES {
                assert_eq!(error["type"], mishap.types.0, "{path} {what}");
            } else {
                assert_eq!(error["type"], mishap.types.1, "{path} {what}");
                assert_eq!(error["code"].as_str(), mishap.types.2, "{path} {what}");
            }
            if status == 402 {
                let wait = answer.header("retry-after").and_then(|text| text.parse::<u64>().ok());
                assert!(wait > Some(3_600), "{path} {what}: {wait:?}");
            }
            for secret in [app.gateway_url().as_str(), "127.0.0.1", "secret-host", "<html", "glpat", "namespace id"] {
                assert!(!answer.text().contains(secret), "{path} {what}: `{secret}` is none of the client's business");
            }
        }
    }
}

fn effect(mishap: &Mishap) -> Effect {
    let page = mishap.body.starts_with('<');
    Effect::Answer {
        status: mishap.status,
        body: mishap.body.clone(),
        content_type: if page { "text/html" } else { "application/json" }.to_owned(),
        headers: if mishap.status == 307 {
            vec![("location".to_owned(), "http://127.0.0.1:9/".to_owned())]
        } else {
            vec![]
        },
    }
}

#[actix::test]
async fn a_gateway_that_is_gone_is_told_without_its_address() {
    let app = TestApp::with_accounts(&["ada"]).await;
    for effect in [Effect::Close, Effect::Cut { after: 0 }] {
        app.gitlab.clear_rules();
        app.gitlab.add_rule(Rule::always(effect));
        for path in [MESSAGES, CHAT, RESPONSES] {
            let answer = app.ask(path, &good(path)).await;
            assert!(matches!(answer.status, 502 | 503), "{path}: {}", answer.text());
            told(path, &answer, answer.status, "gone");
            assert!(!answer.text().contains("127.0.0.1"), "{path}: {}", answer.text());
        }
        // A count is an estimate rather than an error.
        let count = app.ask(COUNT, &good(COUNT)).await;
        assert_eq!((count.status, count.header("x-duopool-estimated")), (200, Some("true")), "{}", count.text());
        assert!(count.json()["input_tokens"].as_u64() > Some(0));
    }
}
