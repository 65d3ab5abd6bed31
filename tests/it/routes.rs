//! Every route of the client API: what it takes, what it sends on, and what it answers.

use duopool::domain::secret::Secret;
use duopool::simulator::Call;
use serde_json::json;

use crate::support::ask::{chat, count, messages, responses, with};
use crate::support::said::said_in_chat;
use crate::support::told::told;
use crate::support::{Request, TestApp};

const KEY: &str = "dp-client-key-0123456789";
const SONNET: &str = "claude-sonnet-4-6";
/// A model that the gateway offers in Chat Completions and in Responses.
const GPT: &str = "gpt-5.5-2026-04-23";
/// A red dot of one pixel.
const PIXEL: &str = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==";

/// Every route that wants a client key, with a request that it answers.
fn keyed(app: &TestApp) -> Vec<(&'static str, Request)> {
    vec![
        ("messages", app.post("/v1/messages", &messages(SONNET))),
        ("count_tokens", app.post("/v1/messages/count_tokens", &count(SONNET))),
        ("chat", app.post("/v1/chat/completions", &chat(GPT))),
        ("responses", app.post("/v1/responses", &responses(GPT))),
        ("models", app.request("GET", "/v1/models")),
        ("model", app.request("GET", &format!("/v1/models/{SONNET}"))),
    ]
}

#[actix::test]
async fn chat_completions_on_claude_carry_system_and_images_there_and_the_answer_back() {
    let app = TestApp::with_accounts(&["ada"]).await;
    let body = json!({ "model": SONNET, "messages": [
        { "role": "system", "content": "Answer in Norwegian." },
        { "role": "user", "content": [
            { "type": "text", "text": "What is on the picture?" },
            { "type": "image_url", "image_url": { "url": format!("data:image/png;base64,{PIXEL}") } },
        ] },
    ] });
    for streamed in [false, true] {
        app.gitlab.clear_requests();
        let answer = app.ask("/v1/chat/completions", &with(&body, &json!({ "stream": streamed }))).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let sent = app.gitlab.requests_of(Call::Messages);
        let upstream = sent[0].json();
        assert_eq!(sent[0].target, "/ai/v1/proxy/anthropic/v1/messages");
        assert_eq!(sent[0].header("anthropic-version"), Some("2023-06-01"));
        assert!(upstream["system"].to_string().contains("Answer in Norwegian."), "{upstream}");
        let content = &upstream["messages"][0]["content"];
        assert_eq!(content[0]["text"], "What is on the picture?", "{upstream}");
        assert_eq!(content[1]["source"], json!({ "type": "base64", "media_type": "image/png", "data": PIXEL }));
        assert_eq!(upstream["stream"].as_bool().unwrap_or(false), streamed);
        assert!(upstream["max_tokens"].as_u64() > Some(0), "{upstream}");
        let said = said_in_chat(&answer, streamed);
        assert!(said.text.contains("You said: \"What is on the picture?\""), "{said:?}");
        assert_eq!(said.stop, "stop");
        assert_eq!(answer.header("x-duopool-model"), Some(SONNET));
        if streamed {
            assert_eq!(answer.events().last().map(|event| event.data.clone()).as_deref(), Some("[DONE]"));
        } else {
            assert_eq!(answer.json()["object"], "chat.completion");
            assert_eq!(answer.json()["model"], SONNET);
        }
    }
}

#[actix::test]
async fn what_a_translation_leaves_out_is_named() {
    let app = TestApp::with_accounts(&["ada"]).await;
    for model in [SONNET, GPT] {
        let answer = app.ask("/v1/chat/completions", &with(&chat(model), &json!({ "seed": 7 }))).await;
        assert_eq!((answer.status, answer.header("x-duopool-dropped")), (200, Some("seed")), "{}", answer.text());
        let answer = app.ask("/v1/chat/completions", &chat(model)).await;
        assert_eq!((answer.status, answer.header("x-duopool-dropped")), (200, None), "{}", answer.text());
    }
}

#[actix::test]
async fn the_bytes_of_a_body_that_only_passes_are_the_clients_own() {
    let app = TestApp::with_accounts(&["ada"]).await;
    let odd = |model: &str| {
        format!(
            " {{\n\t\"messages\" : [ {{\"content\":\"\\u0047ood \\/ \u{e9}\",\"role\":\"user\"}} ] ,\"temperature\":1.0e0, \
             \"model\":\t\"{model}\" ,\"max_tokens\": 1024,\"metadata\":{{\"user_id\":\"a\"}}}}\r\n "
        )
    };
    for (asked, told) in [(SONNET, SONNET), ("claude-sonnet-4.6", SONNET), ("claude-sonnet-4-6[1m]", SONNET)] {
        app.gitlab.clear_requests();
        let answer = app.request("POST", "/v1/messages").bytes(odd(asked).into_bytes()).send().await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let sent = app.gitlab.requests_of(Call::Messages);
        assert_eq!(String::from_utf8_lossy(&sent[0].body), odd(told));
    }
}

#[actix::test]
async fn nothing_of_a_clients_headers_goes_on_but_the_two_of_anthropic() {
    let app = TestApp::with_accounts(&["ada"]).await;
    let foreign = [
        ("authorization", "Bearer sk-foreign-key"),
        ("x-api-key", "sk-foreign-key"),
        ("cookie", "session=foreign"),
        ("x-gitlab-instance-id", "foreign"),
        ("x-gitlab-unit-primitive", "foreign"),
        ("x-gitlab-foreign", "foreign"),
        ("x-stainless-lang", "foreign"),
        ("x-codex-window-id", "foreign"),
        ("originator", "foreign"),
        ("user-agent", "foreign"),
        ("openai-beta", "foreign"),
        ("openai-organization", "foreign"),
        ("traceparent", "foreign"),
        ("accept", "foreign/foreign"),
        ("accept-language", "foreign"),
        ("te", "trailers"),
    ];
    for (path, body, call) in [
        ("/v1/messages", messages(SONNET), Call::Messages),
        ("/v1/messages/count_tokens", count(SONNET), Call::CountTokens),
        ("/v1/chat/completions", chat(GPT), Call::Responses),
        ("/v1/responses", responses(GPT), Call::Responses),
    ] {
        let request = app.post(path, &body).header("anthropic-version", "2023-06-01");
        let request = request.header("anthropic-beta", "one-2025-01-01, two-2025-01-01");
        let request = foreign.iter().fold(request, |request, (name, value)| request.header(name, value));
        let answer = request.send().await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        let sent = app.gitlab.requests_of(call).remove(0);
        let text = format!("{:?}", sent.headers);
        assert!(!text.contains("foreign") && !text.contains("trailers"), "{path}: {text}");
        for name in ["x-api-key", "cookie", "te"] {
            assert_eq!(sent.header(name), None, "{path}");
        }
        let is_claude = matches!(call, Call::Messages | Call::CountTokens);
        assert_eq!(sent.header("anthropic-beta"), is_claude.then_some("one-2025-01-01, two-2025-01-01"), "{path}");
        assert_eq!(sent.header("anthropic-version").is_some(), is_claude, "{path}");
    }
}

#[actix::test]
async fn any_query_is_accepted_and_none_goes_on() {
    let app = TestApp::with_accounts(&["ada"]).await;
    for (path, body, call, target) in [
        ("/v1/messages", messages(SONNET), Call::Messages, "/ai/v1/proxy/anthropic/v1/messages"),
        (
            "/v1/messages/count_tokens",
            count(SONNET),
            Call::CountTokens,
            "/ai/v1/proxy/anthropic/v1/messages/count_tokens?beta=true",
        ),
        ("/v1/chat/completions", chat(GPT), Call::Responses, "/ai/v1/proxy/openai/v1/responses"),
        ("/v1/responses", responses(GPT), Call::Responses, "/ai/v1/proxy/openai/v1/responses"),
    ] {
        for query in ["", "?beta=true", "?api-version=2024-10-21&x=%2e%2e%2f", "?%", "?a=b?c=d"] {
            app.gitlab.clear_requests();
            let answer = app.ask(&format!("{path}{query}"), &body).await;
            assert_eq!(answer.status, 200, "{path}{query}: {}", answer.text());
            assert_eq!(app.gitlab.requests_of(call)[0].target, target, "{path}{query}");
        }
    }
    for path in ["/v1/models?limit=1000", "/healthz?x", "/readyz?x=1", "/?x"] {
        assert_eq!(app.request("GET", path).send().await.status, 200, "{path}");
    }
}

#[actix::test]
async fn either_header_carries_the_key_on_every_route() {
    let app = TestApp::start(&["ada"], |layer| layer.client_keys = Some(vec![Secret::new(KEY.to_owned())])).await;
    app.add("ada").await;
    let bearer = format!("Bearer {KEY}");
    for index in 0..keyed(&app).len() {
        let request = || keyed(&app).remove(index).1;
        let name = keyed(&app)[index].0;
        for (headers, opens) in [
            (vec![], false),
            (vec![("authorization", bearer.as_str())], true),
            (vec![("authorization", "bearer dp-client-key-0123456789")], true),
            (vec![("x-api-key", KEY)], true),
            (vec![("x-api-key", "sk-wrong")], false),
            (vec![("authorization", "Bearer sk-wrong")], false),
            (vec![("authorization", "Bearer sk-wrong"), ("x-api-key", KEY)], true),
            (vec![("authorization", bearer.as_str()), ("x-api-key", "sk-wrong")], true),
            (vec![("authorization", KEY)], false),
            (vec![("authorization", "Bearer test-admin-key-0123456789")], false),
        ] {
            let request = headers.iter().fold(request(), |request, (name, value)| request.header(name, value));
            let answer = request.send().await;
            assert_eq!(answer.status, if opens { 200 } else { 401 }, "{name} {headers:?}: {}", answer.text());
        }
    }
    for path in ["/healthz", "/readyz", "/"] {
        assert_eq!(app.request("GET", path).send().await.status, 200, "{path} wants no key");
    }
}

#[actix::test]
async fn the_older_completions_are_refused_with_the_way_forward() {
    let app = TestApp::start(&["ada"], |layer| layer.client_keys = Some(vec![Secret::new(KEY.to_owned())])).await;
    app.add("ada").await;
    let path = "/v1/completions";
    let body = json!({ "model": GPT, "prompt": "Once upon a time", "max_tokens": 10 });
    let answer = app.post(path, &body).header("x-api-key", KEY).send().await;
    let message = told(path, &answer, 404, "with a key");
    assert!(message.contains("/v1/chat/completions") && message.contains("`messages`"), "{message}");
    assert_eq!(answer.json()["error"]["type"], "invalid_request_error");
    told(path, &app.post(path, &body).header("x-api-key", "sk-wrong").send().await, 401, "with a wrong key");
    told(path, &app.ask(path, &body).await, 401, "without a key");
    assert!(
        [Call::Messages, Call::ChatCompletions, Call::Responses]
            .iter()
            .all(|call| app.gitlab.requests_of(*call).is_empty())
    );
}

#[actix::test]
async fn every_answer_says_who_gave_it_and_which_request_it_was() {
    let app = TestApp::with_accounts(&["ada"]).await;
    let id = app.account("ada").await["id"].as_str().expect("an id").to_owned();
    let mut seen = Vec::new();
    for (name, request) in keyed(&app) {
        let answer = request.send().await;
        assert_eq!(answer.status, 200, "{name}");
        let request_id = answer.header("x-request-id").expect("an id").to_owned();
        assert_eq!(answer.header("request-id"), Some(request_id.as_str()), "{name}");
        assert!(request_id.starts_with("req_") && !seen.contains(&request_id), "{name}: {request_id}");
        seen.push(request_id);
        if name.starts_with("model") {
            continue;
        }
        let wanted = if matches!(name, "messages" | "count_tokens") { SONNET } else { GPT };
        assert_eq!(answer.header("x-duopool-account"), Some(id.as_str()), "{name}");
        assert_eq!(answer.header("x-duopool-model"), Some(wanted), "{name}");
        assert_eq!(answer.header("x-duopool-attempts"), Some("1"), "{name}");
        assert_eq!(answer.header("x-duopool-dropped"), None, "{name}");
    }
    assert!(!id.contains("ada"), "the id says nothing about the person");
}

#[actix::test]
async fn the_server_is_ready_once_an_account_can_serve() {
    let app = TestApp::start(&["ada"], |_| {}).await;
    let get = async |path: &str| app.request("GET", path).send().await;
    assert_eq!(get("/healthz").await.status, 200);
    assert_eq!(get("/readyz").await.status, 503);
    let nobody = app.ask("/v1/messages", &messages(SONNET)).await;
    assert_eq!(nobody.status, 503, "{}", nobody.text());
    assert_eq!(nobody.json()["error"]["type"], "overloaded_error");
    assert!(nobody.text().contains("account"), "{}", nobody.text());
    app.add("ada").await;
    let ready = get("/readyz").await;
    assert_eq!((ready.status, ready.text().as_str()), (200, r#"{"status":"ready"}"#));
    assert_eq!(get("/healthz").await.status, 200);
}

#[actix::test]
async fn the_root_says_name_and_version() {
    let app = TestApp::start(&[], |_| {}).await;
    let hello = app.request("GET", "/").send().await;
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!((hello.status, hello.json()), (200, json!({ "name": "duopool", "version": version })));
    let head = app.request("HEAD", "/").open().await;
    assert_eq!(head.status, 200);
    assert_eq!(head.header("content-length"), Some(hello.body.len().to_string().as_str()));
    assert!(head.header("x-request-id").is_some());
}

#[actix::test]
async fn a_websocket_is_refused_with_426() {
    let app = TestApp::with_accounts(&["ada"]).await;
    let request = app.request("GET", "/v1/responses").header("connection", "Upgrade").header("upgrade", "websocket");
    let answer = request.header("sec-websocket-version", "13").open().await.rest().await;
    assert_eq!(answer.status, 426);
    assert_eq!(answer.json()["error"]["type"], "invalid_request_error");
    assert!(answer.text().contains("POST"), "{}", answer.text());
}

#[actix::test]
async fn an_unknown_route_or_method_is_told_in_the_dialect_of_the_route() {
    let app = TestApp::with_accounts(&["ada"]).await;
    for (method, path, status, allow) in [
        ("GET", "/v1/messages", 405, Some("POST")),
        ("PUT", "/v1/messages", 405, Some("POST")),
        ("DELETE", "/v1/messages/count_tokens", 405, Some("POST")),
        ("GET", "/v1/chat/completions", 405, Some("POST")),
        ("GET", "/v1/completions", 405, Some("POST")),
        ("GET", "/v1/responses", 405, Some("POST")),
        ("POST", "/v1/models", 405, Some("GET")),
        ("DELETE", "/v1/models/gpt-5", 405, Some("GET")),
        ("POST", "/healthz", 405, Some("GET")),
        ("POST", "/", 405, Some("GET")),
        ("POST", "/v1/messages/batches", 404, None),
        ("GET", "/v1/files/file_1", 404, None),
        ("POST", "/v1/completions", 404, None),
        ("POST", "/v1/v1/messages", 404, None),
        ("POST", "/v1/messages/", 404, None),
        ("GET", "/nowhere", 404, None),
    ] {
        let request = app.request(method, path);
        let request = if method == "POST" { request.json(&json!({})) } else { request };
        let answer = request.send().await;
        assert_eq!(answer.status, status, "{method} {path}: {}", answer.text());
        assert_eq!(answer.header("allow"), allow, "{method} {path}");
        let body = answer.json();
        let message = body["error"]["message"].as_str().expect("a message");
        assert!(message.contains(allow.unwrap_or("/v1/chat/completions")), "{method} {path}: {message}");
        assert_eq!(body["request_id"].as_str(), answer.header("x-request-id"), "{method} {path}");
        assert_eq!(body["type"] == "error", path.starts_with("/v1/messages"), "{method} {path}: {body}");
    }
    assert_eq!(app.ask("/v1/messages", &messages(SONNET)).await.status, 200);
}
