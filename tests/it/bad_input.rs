//! What nobody should send: it is told in the caller's dialect, and the server serves on.

use std::fmt::Write as _;

use duopool::domain::secret::Secret;
use duopool::simulator::Call;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::support::ask::{chat, count, messages, responses};
use crate::support::told::told;
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
    match path {
        MESSAGES => messages(SONNET),
        COUNT => count(SONNET),
        CHAT => chat(GPT),
        _ => responses(GPT),
    }
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
        ("no UTF-8", b"x-odd: \xff\xfe\r\nuser-agent: \xff\r\nauthorization: \xff\r\nx-api-key: \xff\r\n".to_vec()),
        ("an empty one", b"x-empty:\r\nauthorization:\r\n".to_vec()),
    ] {
        let answer = send(headers).await.expect("an answer");
        assert_eq!(answer.status, 200, "{what}: {}", answer.text());
    }
    // What is too long, but can be read, is refused in the client's dialect.
    let answer = send(format!("x-long: {}\r\n", "y".repeat(64 * 1_024)).into_bytes()).await.expect("an answer");
    assert_eq!(answer.status, 431, "{}", answer.text());
    assert_eq!(answer.json()["error"]["type"], "request_too_large", "{}", answer.text());
    assert!(answer.text().contains("32768 bytes") && answer.header("x-request-id").is_some(), "{}", answer.text());
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
