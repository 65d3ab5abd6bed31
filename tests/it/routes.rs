//! Every route of the client API: what it answers, in which shape, and under which names.

use duopool::domain::secret::Secret;
use duopool::simulator::{Call, ChatModel};
use serde_json::{Value, json};

use crate::support::{Answer, Request, TestApp};

const KEY: &str = "dp-client-key-0123456789";
const SONNET: &str = "claude-sonnet-4-6";
/// A model that the gateway offers in Chat Completions and in Responses.
const GPT: &str = "gpt-5.5-2026-04-23";
/// A model that it offers in Responses alone.
const GPT_RESPONSES: &str = "gpt-5.6-sol";
/// A red dot of one pixel.
const PIXEL: &str = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==";

fn messages(model: &str) -> Value {
    json!({ "model": model, "max_tokens": 200, "messages": [{ "role": "user", "content": "Good morning!" }] })
}

fn chat(model: &str) -> Value {
    json!({ "model": model, "messages": [{ "role": "user", "content": "Good morning!" }] })
}

fn responses(model: &str) -> Value {
    json!({ "model": model, "input": "Good morning!", "store": false })
}

fn with(body: &Value, more: &Value) -> Value {
    let mut body = body.clone();
    let members = body.as_object_mut().expect("an object");
    members.extend(more.as_object().expect("an object").clone());
    body
}

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

fn count(model: &str) -> Value {
    json!({ "model": model, "messages": [{ "role": "user", "content": "Good morning!" }] })
}

/// Reads what a model said, in a stream or not.
type Read = fn(&Answer, bool) -> Said;

/// What a model said, whatever the dialect and the form.
#[derive(Debug, Default, PartialEq, Eq)]
struct Said {
    thinking: String,
    text: String,
    /// Names and arguments.
    calls: Vec<(String, String)>,
    stop: String,
    input_tokens: u64,
    output_tokens: u64,
}

fn string(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// Reads an answer in Messages.
fn said_in_messages(answer: &Answer, streamed: bool) -> Said {
    let mut said = Said::default();
    if !streamed {
        let body = answer.json();
        for block in body["content"].as_array().expect("content") {
            said.thinking += &string(&block["thinking"]);
            said.text += &string(&block["text"]);
            if block["type"] == "tool_use" {
                said.calls.push((string(&block["name"]), block["input"].to_string()));
            }
        }
        said.stop = string(&body["stop_reason"]);
        said.input_tokens = body["usage"]["input_tokens"].as_u64().expect("a count");
        said.output_tokens = body["usage"]["output_tokens"].as_u64().expect("a count");
        return said;
    }
    for event in answer.events() {
        let data: Value = serde_json::from_str(&event.data).expect("JSON");
        match event.name.as_deref().expect("a name") {
            "message_start" => said.input_tokens = data["message"]["usage"]["input_tokens"].as_u64().expect("a count"),
            "content_block_start" if data["content_block"]["type"] == "tool_use" => {
                said.calls.push((string(&data["content_block"]["name"]), String::new()));
            }
            "content_block_delta" => {
                said.thinking += &string(&data["delta"]["thinking"]);
                said.text += &string(&data["delta"]["text"]);
                if let Some((_, arguments)) = said.calls.last_mut() {
                    *arguments += &string(&data["delta"]["partial_json"]);
                }
            }
            "message_delta" => {
                said.stop = string(&data["delta"]["stop_reason"]);
                said.output_tokens = data["usage"]["output_tokens"].as_u64().expect("a count");
            }
            _ => {}
        }
    }
    normalised(said)
}

/// Reads an answer in Chat Completions.
fn said_in_chat(answer: &Answer, streamed: bool) -> Said {
    let mut said = Said::default();
    let events = if streamed { answer.events() } else { Vec::new() };
    let mut pieces: Vec<Value> = events.iter().filter_map(|event| serde_json::from_str(&event.data).ok()).collect();
    if !streamed {
        pieces.push(answer.json());
    }
    for piece in pieces {
        let choice = &piece["choices"][0];
        let message = if streamed { &choice["delta"] } else { &choice["message"] };
        said.thinking += &string(&message["reasoning_content"]);
        said.text += &string(&message["content"]);
        for call in message["tool_calls"].as_array().into_iter().flatten() {
            if call["id"].is_string() {
                said.calls.push((string(&call["function"]["name"]), String::new()));
            }
            let (_, arguments) = said.calls.last_mut().expect("a call that began");
            *arguments += &string(&call["function"]["arguments"]);
        }
        if let Some(reason) = choice["finish_reason"].as_str() {
            reason.clone_into(&mut said.stop);
        }
        if piece["usage"].is_object() {
            said.input_tokens = piece["usage"]["prompt_tokens"].as_u64().expect("a count");
            said.output_tokens = piece["usage"]["completion_tokens"].as_u64().expect("a count");
        }
    }
    normalised(said)
}

/// Reads an answer in Responses.
fn said_in_responses(answer: &Answer, streamed: bool) -> Said {
    let response = if streamed {
        let last = answer.events().pop().expect("events");
        serde_json::from_str::<Value>(&last.data).expect("JSON")["response"].clone()
    } else {
        answer.json()
    };
    let mut said = Said::default();
    for item in response["output"].as_array().expect("output") {
        for part in item["summary"].as_array().into_iter().flatten() {
            said.thinking += &string(&part["text"]);
        }
        for part in item["content"].as_array().into_iter().flatten() {
            said.text += &string(&part["text"]);
        }
        if item["type"] == "function_call" {
            said.calls.push((string(&item["name"]), string(&item["arguments"])));
        }
    }
    if streamed {
        let deltas =
            answer.events().into_iter().filter(|event| event.name.as_deref() == Some("response.output_text.delta"));
        let text: String =
            deltas.map(|event| string(&serde_json::from_str::<Value>(&event.data).expect("JSON")["delta"])).collect();
        assert_eq!(text, said.text, "what came in pieces is what came at the end");
    }
    said.stop = string(&response["status"]);
    said.input_tokens = response["usage"]["input_tokens"].as_u64().expect("a count");
    said.output_tokens = response["usage"]["output_tokens"].as_u64().expect("a count");
    normalised(said)
}

/// Arguments as JSON without white space, however they were cut.
fn normalised(mut said: Said) -> Said {
    for (_, arguments) in &mut said.calls {
        *arguments = serde_json::from_str::<Value>(arguments).expect("arguments are JSON").to_string();
    }
    said
}

fn weather() -> Value {
    json!({ "type": "object", "properties": { "city": { "type": "string" }, "days": { "type": "integer" } },
        "required": ["city", "days"], "additionalProperties": false })
}

#[actix::test]
async fn a_stream_says_what_the_whole_answer_says() {
    let app = TestApp::with_accounts(&["ada"]).await;
    let ask_tool = json!([{ "role": "user", "content": "Use the tool forecast for Oslo." }]);
    let function = json!({ "name": "forecast", "parameters": weather() });
    let chat_tool = json!({ "messages": ask_tool, "tools": [{ "type": "function", "function": function }] });
    let thinks = json!({ "max_tokens": 3_000, "thinking": { "type": "enabled", "budget_tokens": 1_024 } });
    let cases: Vec<(&str, Value, Read)> = vec![
        ("/v1/messages", with(&messages(SONNET), &thinks), said_in_messages),
        (
            "/v1/messages",
            with(
                &messages(SONNET),
                &json!({ "messages": ask_tool, "tools": [{ "name": "forecast", "input_schema": weather() }] }),
            ),
            said_in_messages,
        ),
        ("/v1/chat/completions", chat(GPT), said_in_chat),
        ("/v1/chat/completions", with(&chat(GPT), &chat_tool), said_in_chat),
        ("/v1/chat/completions", chat(SONNET), said_in_chat),
        ("/v1/chat/completions", with(&chat(SONNET), &json!({ "reasoning_effort": "high" })), said_in_chat),
        ("/v1/responses", with(&responses(GPT), &json!({ "reasoning": { "summary": "auto" } })), said_in_responses),
        (
            "/v1/responses",
            with(
                &responses(GPT),
                &json!({ "input": ask_tool,
                "tools": [{ "type": "function", "name": "forecast", "strict": true, "parameters": weather() }] }),
            ),
            said_in_responses,
        ),
    ];
    for (path, body, read) in cases {
        let mut stream = with(&body, &json!({ "stream": true }));
        if path == "/v1/chat/completions" {
            stream["stream_options"] = json!({ "include_usage": true });
        }
        let (whole, streamed) = (app.ask(path, &body).await, app.ask(path, &stream).await);
        assert_eq!(
            (whole.status, streamed.status),
            (200, 200),
            "{path} {}: {} {}",
            body,
            whole.text(),
            streamed.text()
        );
        assert!(streamed.complete && whole.complete);
        let (whole, streamed) = (read(&whole, false), read(&streamed, true));
        assert_eq!(whole, streamed, "{path} {body}");
        assert!(!whole.text.is_empty() && whole.output_tokens > 0 && whole.input_tokens > 0, "{path} {whole:?}");
        assert_eq!(body.get("tools").is_some(), whole.calls.len() == 1, "{path} {whole:?}");
    }
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
    let answer = app.ask("/v1/chat/completions", &with(&chat(SONNET), &json!({ "seed": 7 }))).await;
    assert_eq!((answer.status, answer.header("x-duopool-dropped")), (200, Some("seed")), "{}", answer.text());
    let answer = app.ask("/v1/chat/completions", &with(&chat(GPT), &json!({ "seed": 7 }))).await;
    assert_eq!((answer.status, answer.header("x-duopool-dropped")), (200, None), "{}", answer.text());
    assert_eq!(app.gitlab.requests_of(Call::ChatCompletions)[0].json()["seed"], 7);
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
        ("/v1/chat/completions", chat(GPT), Call::ChatCompletions),
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
        ("/v1/chat/completions", chat(GPT), Call::ChatCompletions, "/ai/v1/proxy/openai/v1/chat/completions"),
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
async fn an_answer_names_the_model_that_gave_it_and_not_the_name_it_was_asked_by() {
    let app = TestApp::with_accounts(&["ada"]).await;
    for (path, body, name) in [
        ("/v1/messages", messages("claude-sonnet-4.6"), SONNET),
        ("/v1/chat/completions", chat("claude-sonnet-4.6"), SONNET),
        ("/v1/chat/completions", chat("gpt-5.5"), GPT),
        ("/v1/responses", responses("gpt-5.5"), GPT),
        ("/v1/messages", messages("claude-3-5-haiku-latest"), "claude-haiku-4-5-20251001"),
    ] {
        let answer = app.ask(path, &body).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        assert_eq!(answer.json()["model"], name, "{path}");
        assert_eq!(answer.header("x-duopool-model"), Some(name), "{path}");
    }
}

#[actix::test]
async fn models_are_listed_in_the_shape_of_the_caller() {
    let app = TestApp::with_accounts(&["ada"]).await;
    let openai = app.request("GET", "/v1/models").send().await.json();
    let anthropic =
        app.request("GET", "/v1/models?limit=1000").header("anthropic-version", "2023-06-01").send().await.json();
    let names = |list: &Value| -> Vec<String> {
        list["data"].as_array().expect("data").iter().map(|model| string(&model["id"])).collect()
    };
    assert_eq!(openai["object"], "list");
    assert_eq!(names(&openai), names(&anthropic));
    for wanted in ["gitlab-duo", SONNET, GPT, GPT_RESPONSES] {
        assert!(names(&openai).iter().any(|name| name == wanted), "{wanted}");
    }
    for model in openai["data"].as_array().expect("data") {
        assert_eq!(model["object"], "model");
        assert!(model["created"].as_u64() > Some(1_700_000_000) && model["owned_by"].is_string(), "{model}");
    }
    assert_eq!(anthropic["has_more"], false);
    assert_eq!(anthropic["first_id"], anthropic["data"][0]["id"]);
    assert_eq!(anthropic["last_id"].as_str(), names(&anthropic).last().map(String::as_str));
    for model in anthropic["data"].as_array().expect("data") {
        assert_eq!((&model["type"], &model["lifecycle"]), (&json!("model"), &json!("active")));
        assert!(model["display_name"].is_string() && model["created_at"].as_str().is_some_and(|at| at.ends_with('Z')));
    }
}

#[actix::test]
async fn one_model_is_found_by_name_or_alias_and_an_unknown_one_is_a_404() {
    let app = TestApp::with_accounts(&["ada"]).await;
    for (asked, name) in
        [(SONNET, SONNET), ("claude-sonnet-4.6", SONNET), ("gpt-5.5", GPT), ("gitlab-duo", "gitlab-duo")]
    {
        let openai = app.request("GET", &format!("/v1/models/{asked}")).send().await;
        assert_eq!((openai.status, openai.json()["id"].as_str()), (200, Some(name)), "{asked}");
        assert_eq!(openai.json()["object"], "model");
        let anthropic =
            app.request("GET", &format!("/v1/models/{asked}")).header("anthropic-version", "2023-06-01").send().await;
        assert_eq!((anthropic.status, anthropic.json()["id"].as_str()), (200, Some(name)), "{asked}");
        assert_eq!(anthropic.json()["type"], "model");
    }
    for unknown in ["claude-sonnet-99", "llama", "a/b", "%ff", "..%2f..%2fadmin"] {
        let openai = app.request("GET", &format!("/v1/models/{unknown}")).send().await;
        assert_eq!(openai.status, 404, "{unknown}: {}", openai.text());
        assert_eq!(openai.json()["error"]["code"], "model_not_found", "{unknown}");
        let anthropic =
            app.request("GET", &format!("/v1/models/{unknown}")).header("anthropic-version", "2023-06-01").send().await;
        assert_eq!(anthropic.status, 404, "{unknown}");
        assert_eq!(anthropic.json()["error"]["type"], "not_found_error", "{unknown}");
        assert_eq!(anthropic.json()["request_id"].as_str(), anthropic.header("x-request-id"));
    }
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
        ("GET", "/v1/responses", 405, Some("POST")),
        ("POST", "/v1/models", 405, Some("GET")),
        ("DELETE", "/v1/models/gpt-5", 405, Some("GET")),
        ("POST", "/healthz", 405, Some("GET")),
        ("POST", "/", 405, Some("GET")),
        ("POST", "/v1/messages/batches", 404, None),
        ("GET", "/v1/responses/resp_1", 404, None),
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

#[actix::test]
async fn gitlab_duo_is_the_accounts_own_model_on_every_route() {
    // Without a pin, GitLab's default decides; it is on Vertex, which has no proxy, so the catalogue's default does.
    let app = TestApp::with_accounts(&["ada"]).await;
    for (path, body) in [("/v1/messages", messages("gitlab-duo")), ("/v1/chat/completions", chat("gitlab-duo"))] {
        let answer = app.ask(path, &body).await;
        assert_eq!((answer.status, answer.header("x-duopool-model")), (200, Some(SONNET)), "{path}: {}", answer.text());
    }
    let counted = app.ask("/v1/messages/count_tokens", &count("gitlab-duo")).await;
    assert_eq!((counted.status, counted.header("x-duopool-model")), (200, Some(SONNET)));
    let refused = app.ask("/v1/responses", &responses("gitlab-duo")).await;
    assert_eq!(refused.status, 400);
    assert!(refused.text().contains("use POST /v1/messages or /v1/chat/completions"), "{}", refused.text());
}

/// Starts with one account, for which an administrator pinned the model that GitLab calls `reference`.
async fn with_pinned(reference: &str, model: &str) -> TestApp {
    let app = TestApp::start(&["ada"], |_| {}).await;
    let pinned = Some(ChatModel::new(reference, reference));
    app.gitlab.change_account("ada", |standing| standing.models.pinned = pinned).expect("the account is there");
    app.add("ada").await;
    app.account_when("ada", |account| account["current_model"] == model).await;
    app
}

#[actix::test]
async fn gitlab_duo_is_a_gpt_model_where_one_is_pinned() {
    let app = with_pinned("gpt_5_5", GPT).await;
    for (path, body) in [("/v1/responses", responses("gitlab-duo")), ("/v1/chat/completions", chat("gitlab-duo"))] {
        let answer = app.ask(path, &body).await;
        assert_eq!((answer.status, answer.header("x-duopool-model")), (200, Some(GPT)), "{path}: {}", answer.text());
    }
    let refused = app.ask("/v1/messages", &messages("gitlab-duo")).await;
    assert_eq!(refused.status, 400, "{}", refused.text());
    assert!(refused.text().contains("use POST /v1/responses"), "{}", refused.text());
    let counted = app.ask("/v1/messages/count_tokens", &count("gitlab-duo")).await;
    assert_eq!(counted.status, 200, "a count for GPT is an estimate: {}", counted.text());
    assert!(counted.json()["input_tokens"].as_u64() > Some(0));

    let app = with_pinned("gpt_5_6_sol", GPT_RESPONSES).await;
    let answer = app.ask("/v1/responses", &responses("gitlab-duo")).await;
    assert_eq!((answer.status, answer.header("x-duopool-model")), (200, Some(GPT_RESPONSES)));
    let refused = app.ask("/v1/chat/completions", &chat("gitlab-duo")).await;
    assert_eq!(refused.status, 400, "{}", refused.text());
    assert!(refused.text().contains("use POST /v1/responses"), "{}", refused.text());
}

#[actix::test]
async fn a_model_on_the_wrong_route_is_refused_with_the_right_one() {
    let app = TestApp::with_accounts(&["ada"]).await;
    for (path, body, words) in [
        ("/v1/chat/completions", chat(GPT_RESPONSES), "use POST /v1/responses for it"),
        ("/v1/messages", messages(GPT), "use POST /v1/responses"),
        ("/v1/responses", responses(SONNET), "use POST /v1/messages or /v1/chat/completions for it"),
    ] {
        let answer = app.ask(path, &body).await;
        assert_eq!(answer.status, 400, "{path}: {}", answer.text());
        assert!(answer.text().contains(words), "{path}: {}", answer.text());
        assert_eq!(answer.json()["error"]["type"], "invalid_request_error", "{path}");
    }
    for path in ["/v1/chat/completions", "/v1/responses"] {
        let body = if path == "/v1/responses" { responses(SONNET) } else { chat(GPT_RESPONSES) };
        assert_eq!(app.ask(path, &body).await.json()["error"]["param"], "model", "{path}");
    }
    let requests = app.gitlab.requests();
    assert!(requests.iter().all(|record| !record.target.contains("/v1/proxy/")), "nobody was asked");
}

#[actix::test]
async fn an_unknown_model_is_a_404_and_where_families_do_not_help_out_so_is_a_new_one() {
    let mut app = TestApp::with_accounts(&["ada"]).await;
    for (path, body) in [
        ("/v1/messages", messages("llama-4")),
        ("/v1/chat/completions", chat("llama-4")),
        ("/v1/responses", responses("llama-4")),
        ("/v1/messages/count_tokens", count("llama-4")),
        ("/v1/messages", messages("")),
        ("/v1/messages", messages("claude-nobody-knows")),
    ] {
        let answer = app.ask(path, &body).await;
        assert_eq!(answer.status, 404, "{path}: {}", answer.text());
        not_found(path, &answer, &body);
    }
    app.restart(|layer| layer.model_fallback = Some("off".to_owned())).await;
    app.gitlab.clear_requests();
    for (path, body) in [
        ("/v1/messages", messages("claude-haiku-5-5")),
        ("/v1/chat/completions", chat("claude-haiku-5-5")),
        ("/v1/responses", responses("gpt-6-sol")),
        ("/v1/messages/count_tokens", count("claude-haiku-5-5")),
    ] {
        let answer = app.ask(path, &body).await;
        assert_eq!(answer.status, 404, "{path}: {}", answer.text());
        not_found(path, &answer, &body);
    }
    let ready = app.ask("/v1/messages", &messages(SONNET)).await;
    assert_eq!(ready.status, 200, "an unsupported model is nobody's fault: {}", ready.text());
}

fn not_found(path: &str, answer: &Answer, body: &Value) {
    let error = &answer.json()["error"];
    let asked = body["model"].as_str().expect("a model");
    assert!(error["message"].as_str().is_some_and(|text| text.contains(&format!("`{asked}`"))), "{path}: {error}");
    if path.starts_with("/v1/messages") {
        assert_eq!(error["type"], "not_found_error", "{path}");
    } else {
        assert_eq!(error["code"], "model_not_found", "{path}");
    }
}
