//! Clients of Chat Completions on Claude, and here and there on GPT: what they may say, judged by the simulated provider.

use duopool::simulator::{Call, Record};
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;
use serde_json::{Value, json};

use crate::support::TestApp;
use crate::support::ask::{chat, with};
use crate::support::grammar::{self, Ended};
use crate::support::said::said_in_chat;
use crate::support::told::told;
use crate::translated::recorded;

const CHAT: &str = "/v1/chat/completions";
/// Models that are asked to think in each of the three ways.
const MODELS: [&str; 3] = ["claude-haiku-4-5-20251001", "claude-sonnet-4-6", "claude-sonnet-5"];
/// GPT models, of which the gateway offers the second one by Responses alone.
const GPTS: [&str; 2] = ["gpt-5.5-2026-04-23", "gpt-5.6-sol"];
/// A red dot of one pixel.
const PIXEL: &str = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==";

fn image() -> Value {
    json!({ "type": "image_url", "image_url": { "url": format!("data:image/png;base64,{PIXEL}") } })
}

fn function(name: &str) -> Value {
    json!({ "type": "function", "function": { "name": name, "parameters": { "type": "object",
        "properties": { "city": { "type": "string" } }, "required": ["city"] } } })
}

fn user(text: &str) -> Value {
    json!({ "role": "user", "content": text })
}

#[actix::test]
async fn every_recorded_request_is_answered_by_a_claude_model() {
    for model in MODELS {
        let app = TestApp::with_accounts(&["ada"]).await;
        for (name, body) in recorded(CHAT, model) {
            for stream in [true, false] {
                app.gitlab.clear_requests();
                let answer = app.ask(CHAT, &with(&body, &json!({ "stream": stream }))).await;
                assert_eq!(answer.status, 200, "{name} {model} {stream}: {}", answer.text());
                assert_eq!(app.gitlab.requests_of(Call::Messages).len(), 1, "{name} {model}");
                assert_eq!(answer.header("x-duopool-model"), Some(model), "{name}");
            }
        }
    }
}

/// Two calls at once, one of a tool that takes any text, and results of text and of an image.
#[actix::test]
async fn calls_and_results_of_every_kind_reach_the_model() {
    let calls = json!([
        { "id": "call:1", "type": "function", "function": { "name": "camera", "arguments": "{\"city\":\"Oslo\"}" } },
        { "id": "call_2", "type": "custom", "custom": { "name": "apply_patch", "input": "*** Begin Patch\n" } },
    ]);
    let body = json!({
        "messages": [
            { "role": "system", "content": "Be brief." }, user("Use the tool camera."),
            { "role": "assistant", "content": null, "tool_calls": calls },
            { "role": "tool", "tool_call_id": "call_2", "content": "patched" },
            { "role": "tool", "tool_call_id": "call:1", "content": [{ "type": "text", "text": "a dot" }, image()] },
        ],
        "tools": [function("camera"), { "type": "custom", "custom": { "name": "apply_patch" } }],
    });
    for model in MODELS {
        let app = TestApp::with_accounts(&["ada"]).await;
        for stream in [true, false] {
            app.gitlab.clear_requests();
            let answer = app.ask(CHAT, &with(&body, &json!({ "model": model, "stream": stream }))).await;
            assert_eq!(answer.status, 200, "{}", answer.text());
            assert!(said_in_chat(&answer, stream).text.contains("patched"), "{}", answer.text());
            let sent = app.gitlab.requests_of(Call::Messages)[0].json();
            let (calls, results) = (&sent["messages"][1]["content"], &sent["messages"][2]["content"]);
            assert_eq!(calls[0]["id"], results[0]["tool_use_id"], "{sent}");
            assert_eq!(calls[1]["input"], json!({ "input": "*** Begin Patch\n" }));
            assert_eq!(results[0]["content"][0]["text"], "a dot");
            assert_eq!(results[0]["content"][1]["source"]["data"], PIXEL);
            assert_eq!(results[1]["content"][0]["text"], "patched");
        }
    }
}

/// What the model said goes back word for word, as the SDKs' own loops do it.
#[actix::test]
async fn a_call_goes_round_and_its_result_is_told() {
    let schema = json!({ "type": "object", "properties": { "city": { "type": "string" } }, "required": ["city"] });
    let custom = json!({ "type": "custom", "custom": { "name": "weather", "format": { "type": "text" } } });
    for model in MODELS {
        let app = TestApp::with_accounts(&["ada"]).await;
        for (form, tools, finish) in [
            ("function", json!({ "tools": [function("weather")] }), "tool_calls"),
            ("custom", json!({ "tools": [custom] }), "tool_calls"),
            ("older", json!({ "functions": [{ "name": "weather", "parameters": schema }] }), "function_call"),
        ] {
            let effort = json!({ "model": model, "reasoning_effort": "low" });
            let body = with(&with(&json!({ "messages": [user("Use the tool weather for Oslo.")] }), &effort), &tools);
            let first = app.ask(CHAT, &body).await;
            assert_eq!(first.status, 200, "{model} {form}: {}", first.text());
            let choice = &first.json()["choices"][0];
            assert_eq!(choice["finish_reason"], finish, "{model} {form}: {choice}");
            let result = match form {
                "function" => {
                    let call = &choice["message"]["tool_calls"][0];
                    assert_eq!((&call["type"], &call["function"]["name"]), (&json!("function"), &json!("weather")));
                    json!({ "role": "tool", "tool_call_id": call["id"], "content": "22 degrees" })
                }
                "custom" => {
                    let call = &choice["message"]["tool_calls"][0];
                    assert_eq!((&call["type"], &call["custom"]["name"]), (&json!("custom"), &json!("weather")));
                    assert!(call["custom"]["input"].is_string(), "{call}");
                    json!({ "role": "tool", "tool_call_id": call["id"], "content": [{ "type": "text", "text": "22 degrees" }] })
                }
                _ => {
                    assert_eq!(choice["message"]["function_call"]["name"], "weather", "{choice}");
                    assert!(choice["message"].get("tool_calls").is_none(), "{choice}");
                    json!({ "role": "function", "name": "weather", "content": "22 degrees" })
                }
            };
            let messages = json!([body["messages"][0], choice["message"], result]);
            for stream in [true, false] {
                let next = with(&body, &json!({ "messages": messages, "stream": stream }));
                let second = app.ask(CHAT, &next).await;
                assert_eq!(second.status, 200, "{model} {form}: {}", second.text());
                let said = said_in_chat(&second, stream);
                assert!(said.text.contains("22 degrees") && said.stop == "stop", "{model} {form}: {said:?}");
            }
        }
    }
}

#[actix::test]
async fn the_older_functions_reach_the_model_as_tools() {
    let app = TestApp::with_accounts(&["ada"]).await;
    let schema = json!({ "type": "object", "properties": { "city": { "type": "string" } } });
    let body = json!({
        "model": MODELS[1],
        "messages": [
            user("Use the tool weather."),
            { "role": "assistant", "content": null, "function_call": { "name": "weather", "arguments": "{\"city\":\"Oslo\"}" } },
            { "role": "function", "name": "weather", "content": "22 degrees" },
        ],
        "functions": [{ "name": "weather", "parameters": schema }],
    });
    let answer = app.ask(CHAT, &body).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert!(said_in_chat(&answer, false).text.contains("22 degrees"), "{}", answer.text());
    let sent = app.gitlab.requests_of(Call::Messages)[0].json();
    assert_eq!(sent["tools"][0]["name"], "weather");
    assert_eq!(sent["tool_choice"], json!({ "type": "auto", "disable_parallel_tool_use": true }));
    assert_eq!(sent["messages"][1]["content"][0]["id"], sent["messages"][2]["content"][0]["tool_use_id"]);
}

#[actix::test]
async fn thinking_that_is_asked_for_is_shown() {
    for model in MODELS {
        let app = TestApp::with_accounts(&["ada"]).await;
        for stream in [true, false] {
            let effort = json!({ "reasoning_effort": "medium", "stream": stream });
            let said = said_in_chat(&app.ask(CHAT, &with(&chat(model), &effort)).await, stream);
            assert!(!said.thinking.is_empty() && !said.text.is_empty(), "{model} {stream}: {said:?}");
            let said = said_in_chat(&app.ask(CHAT, &with(&chat(model), &json!({ "stream": stream }))).await, stream);
            assert!(said.thinking.is_empty() && !said.text.is_empty(), "{model} {stream}: {said:?}");
        }
    }
}

#[actix::test]
async fn an_answer_has_the_form_that_was_asked_for() {
    let schema = json!({ "type": "object", "properties": { "city": { "type": "string" }, "days": { "type": "integer" } },
        "required": ["city", "days"], "additionalProperties": false });
    let format = json!({ "type": "json_schema", "json_schema": { "name": "trip", "strict": true, "schema": schema } });
    for model in MODELS {
        let app = TestApp::with_accounts(&["ada"]).await;
        let answer = app.ask(CHAT, &with(&chat(model), &json!({ "response_format": format }))).await;
        assert_eq!((answer.status, answer.header("x-duopool-dropped")), (200, None), "{}", answer.text());
        let trip: Value = serde_json::from_str(&said_in_chat(&answer, false).text).expect("JSON");
        assert!(trip["city"].is_string() && trip["days"].is_i64(), "{trip}");
        let answer = app.ask(CHAT, &with(&chat(model), &json!({ "response_format": { "type": "json_object" } }))).await;
        assert_eq!((answer.status, answer.header("x-duopool-dropped")), (200, Some("response_format")));
    }
}

#[actix::test]
async fn what_cannot_be_is_refused_by_its_path_and_nothing_is_sent() {
    let app = TestApp::with_accounts(&["ada"]).await;
    for (more, param) in [
        (json!({ "n": 2 }), "n"),
        (json!({ "logprobs": true }), "logprobs"),
        (json!({ "top_logprobs": 2 }), "top_logprobs"),
        (json!({ "modalities": ["audio"] }), "modalities"),
        (json!({ "tools": [{ "type": "hologram" }] }), "tools[0].type"),
        (
            json!({ "messages": [{ "role": "user", "content": [{ "type": "file", "file": { "file_id": "file-1" } }] }] }),
            "messages[0].content[0].file.file_id",
        ),
    ] {
        let answer = app.ask(CHAT, &with(&chat(MODELS[1]), &more)).await;
        told(CHAT, &answer, 400, param);
        assert_eq!(answer.json()["error"]["param"], param);
        assert_eq!(answer.json()["error"]["type"], "invalid_request_error");
    }
    assert!(app.gitlab.requests_of(Call::Messages).is_empty());
}

/// A model of a GPT's kind that the gateway offers in Chat Completions alone.
#[actix::test]
async fn a_model_that_only_chats_gets_the_clients_own_bytes_and_the_newer_name_of_the_limit() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("models.toml");
    let model = "gpt-5.4-mini";
    let table = format!(
        "[[model]]\nname = \"{model}\"\ndisplay_name = \"Mini\"\nprovider = \"openai\"\nfamily = \"gpt-mini\"\n\
         dialects = [\"chat-completions\"]\ncontext_tokens = 400_000\noutput_tokens = 128_000\nthinking = \"effort\"\n\
         accepts_sampling = false\n"
    );
    std::fs::write(&file, table).expect("a file of models");
    let app = TestApp::start(&["ada"], |layer| layer.models_file = Some(file.clone())).await;
    app.add("ada").await;
    let body = format!(
        " {{\"messages\":[{{\"content\":\"\\u0047ood \u{e9}\",\"role\":\"user\"}}],\"max_tokens\" : 50,\n\"model\":\"{model}\",\"seed\":7}}"
    );
    for (body, wanted) in [
        (body.clone(), body.replace("max_tokens", "max_completion_tokens")),
        (
            body.replace("\"seed\":7", "\"max_completion_tokens\":60"),
            body.replace("\"max_tokens\" : 50,", "").replace("\"seed\":7", "\"max_completion_tokens\":60"),
        ),
    ] {
        app.gitlab.clear_requests();
        let answer = app.request("POST", CHAT).bytes(body.into_bytes()).send().await;
        assert_eq!((answer.status, answer.header("x-duopool-dropped")), (200, None), "{}", answer.text());
        let sent = app.gitlab.requests_of(Call::ChatCompletions);
        assert_eq!(String::from_utf8_lossy(&sent[0].body), wanted);
    }
}

/// Whatever a client says, it is told what is wrong with it before anything is sent, or the provider takes it; and what
/// that answers is told as the client's dialect has it.
#[actix::test]
async fn no_request_is_sent_that_the_provider_would_refuse() {
    let mut runner = TestRunner::deterministic();
    let (mut answered, mut refused) = (0, 0);
    let claudes = MODELS.map(|model| (model, Call::Messages));
    for (model, call) in claudes.into_iter().chain(GPTS.map(|model| (model, Call::Responses))) {
        let app = TestApp::with_accounts(&["ada"]).await;
        for _ in 0..CASES {
            let body = any_request().new_tree(&mut runner).expect("a value").current();
            app.gitlab.clear_requests();
            let answer = app.ask(CHAT, &with(&body, &json!({ "model": model }))).await;
            let sent = app.gitlab.requests_of(call);
            match answer.status {
                200 if body["stream"] == true => {
                    let ended = grammar::chat(answer.text().as_bytes(), false).map(|checked| checked.ended);
                    assert_eq!(ended, Ok(Ended::Properly), "{model} {body}\n{}", answer.text());
                    answered += 1;
                }
                200 => {
                    assert_eq!(grammar::completion(&answer.json()), Ok(()), "{model} {body}\n{}", answer.text());
                    answered += 1;
                }
                400 if sent.is_empty() => refused += 1,
                _ => panic!("{model}: {}\n{body}\n{:?}", answer.text(), sent.first().map(Record::json)),
            }
        }
    }
    assert!(answered > CASES && refused > 0, "{answered} answered, {refused} refused");
}

/// Requests per model.
const CASES: usize = 150;

fn any_id() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "c1",
        "c2",
        "call:1",
        "",
        "a-very-long-id-that-is-longer-than-sixty-four-characters-and-so-must-be-cut",
    ])
}

fn any_text() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec!["Hi", "Use the tool run.", " ", "", "{ \"a\": ", "trailing \n", "\u{1f980}"])
}

fn any_content() -> impl Strategy<Value = Value> {
    prop_oneof![
        4 => any_text().prop_map(Value::from),
        1 => Just(Value::Null),
        2 => prop::collection::vec(any_text().prop_map(|text| json!({ "type": "text", "text": text })), 0..3).prop_map(Value::from),
        1 => any_text().prop_map(|text| json!([{ "type": "text", "text": text }, image()])),
    ]
}

fn any_name() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec!["run", "web_search", "a.b c", "a_b_c", "mcp__one__two"])
}

fn any_call() -> impl Strategy<Value = Value> {
    let arguments = prop::sample::select(vec!["{}", "", "{\"a\":1}", "{\"a\":", "[1]", "null", "\"x\""]);
    (any_id(), any_name(), arguments, any::<bool>()).prop_map(|(id, name, text, is_custom)| {
        if is_custom {
            json!({ "id": id, "type": "custom", "custom": { "name": name, "input": text } })
        } else {
            json!({ "id": id, "type": "function", "function": { "name": name, "arguments": text } })
        }
    })
}

fn any_message() -> impl Strategy<Value = Value> {
    let speaker = prop::sample::select(vec!["system", "developer", "user", "user", "tool"]);
    prop_oneof![
        (speaker, any_content()).prop_map(|(role, content)| json!({ "role": role, "content": content })),
        (any_text(), any_text()).prop_map(|(text, refusal)| json!({ "role": "assistant", "content": text, "refusal": refusal })),
        (any_text(), prop::collection::vec(any_call(), 1..4))
            .prop_map(|(text, calls)| json!({ "role": "assistant", "content": text, "tool_calls": calls })),
        (any_id(), any_content()).prop_map(|(id, content)| json!({ "role": "tool", "tool_call_id": id, "content": content })),
        any_name().prop_map(|name| json!({ "role": "assistant", "function_call": { "name": name, "arguments": "{}" } })),
        (any_name(), any_content()).prop_map(|(name, content)| json!({ "role": "function", "name": name, "content": content })),
        (any_id(), any_name()).prop_map(|(id, name)| {
            json!({ "role": "assistant", "content": [{ "type": "tool_use", "id": id, "name": name, "input": {} }] })
        }),
        (any_id(), any_content()).prop_map(|(id, content)| {
            json!({ "role": "user", "content": [{ "type": "text", "text": "and" }, { "type": "tool_result", "tool_use_id": id, "content": content }] })
        }),
    ]
}

fn any_tool() -> impl Strategy<Value = Value> {
    let schema = prop::sample::select(vec![
        json!(null),
        json!({}),
        json!({ "type": null, "required": null }),
        json!({ "type": "object", "properties": { "a": { "type": "string", "minLength": 1 } }, "required": ["a"] }),
        json!({ "oneOf": [{ "type": "object", "properties": { "a": {} } }, { "type": "object" }] }),
        json!({ "type": "array" }),
    ]);
    (any_name(), schema, 0_u8..6).prop_map(|(name, schema, form)| match form {
        0 => json!({ "type": "custom", "custom": { "name": name, "format": { "type": "text" } } }),
        1 => json!({ "name": name, "input_schema": schema }),
        2 => json!({ "type": "mcp", "server_label": name }),
        _ => json!({ "type": "function", "function": { "name": name, "parameters": schema, "strict": form == 3 } }),
    })
}

fn any_choice() -> impl Strategy<Value = Value> {
    prop_oneof![
        4 => prop::sample::select(vec![json!(null), json!("auto"), json!("none"), json!("required")]),
        1 => any_name().prop_map(|name| json!({ "type": "function", "function": { "name": name } })),
        1 => any_name().prop_map(|name| {
            let tool = json!({ "type": "function", "function": { "name": name } });
            json!({ "type": "allowed_tools", "allowed_tools": { "mode": "required", "tools": [tool] } })
        }),
    ]
}

fn any_settings() -> impl Strategy<Value = Value> {
    let number = |values: &[f64]| prop::option::weighted(0.2, prop::sample::select(values.to_vec()));
    let one_of = |values: Value| {
        prop::option::weighted(0.3, prop::sample::select(values.as_array().cloned().unwrap_or_default()))
    };
    let format = json!([{ "type": "json_object" }, { "type": "text" }, { "type": "json_schema", "json_schema": { "name": "a b",
        "schema": { "type": "object", "properties": { "n": { "type": "integer", "minimum": 1 } } } } }]);
    (
        one_of(json!([1, 500, 1500, 20_000, 500_000])),
        number(&[0.0, 0.7, 1.0, 2.0]),
        number(&[0.1, 0.96, 1.0]),
        one_of(json!(["END", ["END", " "], "", []])),
        one_of(json!(["none", "minimal", "low", "high", "xhigh", "max", "odd"])),
        one_of(format),
        one_of(json!([true, false])),
        one_of(json!(["u", "x".repeat(300)])),
        one_of(json!([{}, { "user_location": { "approximate": { "city": "Oslo" } } }])),
    )
        .prop_map(|(limit, temperature, top_p, stop, effort, format, parallel, user, search)| {
            json!({ "max_completion_tokens": limit, "temperature": temperature, "top_p": top_p, "stop": stop,
                "reasoning_effort": effort, "response_format": format, "parallel_tool_calls": parallel, "user": user,
                "web_search_options": search, "stream": limit.is_some(), "seed": 7 })
        })
}

fn any_request() -> impl Strategy<Value = Value> {
    let tools = prop::option::of(prop::collection::vec(any_tool(), 0..4));
    (prop::collection::vec(any_message(), 1..7), tools, any_choice(), any_settings()).prop_map(
        |(messages, tools, choice, settings)| {
            with(&settings, &json!({ "messages": messages, "tools": tools, "tool_choice": choice }))
        },
    )
}
