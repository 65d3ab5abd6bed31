//! Chat Completions on both vendors: on GPT through Responses, on Claude through Messages.

use std::fs;
use std::path::Path;

use duopool::simulator::{Call, Effect, Rule};
use serde_json::{Value, json};
use tempfile::NamedTempFile;

use crate::support::ask::{chat, with};
use crate::support::grammar::{self, Checked, Ended};
use crate::support::said::said_in_chat;
use crate::support::told::told;
use crate::support::{Answer, TestApp};

const CHAT: &str = "/v1/chat/completions";
const SONNET: &str = "claude-sonnet-4-6";
const NEW_SONNET: &str = "claude-sonnet-5";
const GPT: &str = "gpt-5.5-2026-04-23";
/// A model that the gateway offers by Responses alone.
const GPT_RESPONSES: &str = "gpt-5.6-sol";

/// A model of each vendor, and the call at the gateway that a request for it becomes.
const BOTH: [(&str, Call); 2] = [(SONNET, Call::Messages), (GPT, Call::Responses)];

/// What an operator writes who wants a model to be asked in Chat Completions.
const BY_CHAT: &str = r#"[[model]]
    name = "gpt-5.5-2026-04-23"
    display_name = "GPT-5.5"
    provider = "openai"
    family = "gpt"
    dialects = ["chat-completions", "responses"]
    context_tokens = 1_050_000
    output_tokens = 128_000
    thinking = "effort"
    accepts_sampling = false"#;

/// Starts with an operator's own file of models.
async fn with_models(names: &[&str], toml: &str) -> TestApp {
    let file = NamedTempFile::new().expect("a file");
    fs::write(file.path(), toml).expect("the models are written");
    let app = TestApp::start(names, |layer| layer.models_file = Some(file.path().to_owned())).await;
    for name in names {
        app.add(name).await;
    }
    app
}

/// Asserts that a stream keeps to the grammar, signs of life and all.
fn checked(answer: &Answer, include_usage: bool) -> Checked {
    let text = answer.text();
    grammar::chat(text.as_bytes(), include_usage).unwrap_or_else(|problem| panic!("{problem}\n{text}"))
}

fn streamed(body: &Value) -> Value {
    with(body, &json!({ "stream": true, "stream_options": { "include_usage": true } }))
}

fn weather() -> Value {
    let parameters = json!({ "type": "object", "properties": { "city": { "type": "string" } }, "required": ["city"] });
    json!({ "name": "weather", "description": "Tells the weather.", "parameters": parameters })
}

/// Returns a request that makes the model call a tool.
fn tool_request(model: &str) -> Value {
    json!({ "model": model, "messages": [{ "role": "user", "content": "Use the tool weather for Oslo." }],
        "tools": [{ "type": "function", "function": weather() }] })
}

#[actix::test]
async fn a_stream_and_a_whole_answer_are_one_completion_of_either_vendor() {
    let app = TestApp::with_accounts(&["ada"]).await;
    for (model, call) in [BOTH[0], BOTH[1], (NEW_SONNET, Call::Messages), (GPT_RESPONSES, Call::Responses)] {
        for body in [chat(model), with(&chat(model), &json!({ "reasoning_effort": "medium" })), tool_request(model)] {
            app.gitlab.clear_requests();
            let (whole, stream) = (app.ask(CHAT, &body).await, app.ask(CHAT, &streamed(&body)).await);
            assert_eq!((whole.status, stream.status), (200, 200), "{} {}", whole.text(), stream.text());
            assert_eq!(app.gitlab.requests_of(call).len(), 2, "{model}");
            assert_eq!(whole.header("x-duopool-model"), Some(model));
            grammar::completion(&whole.json()).expect("a completion");
            assert_eq!(checked(&stream, true).ended, Ended::Properly);
            let (whole, stream) = (said_in_chat(&whole, false), said_in_chat(&stream, true));
            assert_eq!(whole, stream, "{model} {body}");
            assert!(whole.input_tokens > 0 && whole.output_tokens > 0, "{whole:?}");
            assert_eq!(body.get("reasoning_effort").is_some(), !whole.thinking.is_empty(), "{model} {whole:?}");
            let called = body.get("tools").is_some();
            assert_eq!((whole.calls.len(), &*whole.stop), if called { (1, "tool_calls") } else { (0, "stop") });
        }
    }
}

#[actix::test]
async fn a_call_is_made_and_its_result_is_understood() {
    for (model, _) in BOTH {
        let app = TestApp::with_accounts(&["ada"]).await;
        let body = tool_request(model);
        let first = app.ask(CHAT, &body).await.json();
        let message = &first["choices"][0]["message"];
        assert_eq!(message["tool_calls"][0]["function"]["name"], "weather", "{first}");
        let id = &message["tool_calls"][0]["id"];
        let result = json!({ "role": "tool", "tool_call_id": id, "content": "22 degrees" });
        let turns = json!([body["messages"][0], message, result]);
        for stream in [false, true] {
            let again = with(&body, &json!({ "messages": turns, "stream": stream }));
            let second = app.ask(CHAT, &again).await;
            assert_eq!(second.status, 200, "{}", second.text());
            let said = said_in_chat(&second, stream);
            assert!(said.text.contains("22 degrees") && said.stop == "stop", "{model} {said:?}");
        }
    }
}

#[actix::test]
async fn a_client_of_the_older_functions_is_answered_in_its_form() {
    for (model, _) in BOTH {
        let app = TestApp::with_accounts(&["ada"]).await;
        let asked = json!([{ "role": "user", "content": "Use the tool weather for Oslo." }]);
        let body = json!({ "model": model, "messages": asked, "functions": [weather()] });
        let first = app.ask(CHAT, &body).await;
        assert_eq!(first.status, 200, "{}", first.text());
        grammar::completion(&first.json()).expect("a completion");
        let choice = first.json()["choices"][0].clone();
        assert_eq!(
            (&choice["finish_reason"], &choice["message"]["function_call"]["name"]),
            (&json!("function_call"), &json!("weather"))
        );
        let stream = app.ask(CHAT, &with(&body, &json!({ "stream": true }))).await;
        assert!(
            checked(&stream, false)
                .events
                .iter()
                .any(|event| event["choices"][0]["delta"]["function_call"]["name"] == "weather")
        );
        let result = json!({ "role": "function", "name": "weather", "content": "22 degrees" });
        let turns = json!([asked[0], choice["message"], result]);
        let second = app.ask(CHAT, &with(&body, &json!({ "messages": turns }))).await;
        assert_eq!(second.status, 200, "{}", second.text());
        assert!(said_in_chat(&second, false).text.contains("22 degrees"), "{}", second.text());
    }
}

#[actix::test]
async fn usage_is_told_in_a_stream_only_where_it_was_asked_for() {
    let app = TestApp::with_accounts(&["ada"]).await;
    for (model, _) in BOTH {
        let stream = with(&chat(model), &json!({ "stream": true }));
        assert_eq!(checked(&app.ask(CHAT, &stream).await, false).ended, Ended::Properly);
        let without = with(&stream, &json!({ "stream_options": { "include_usage": false } }));
        assert_eq!(checked(&app.ask(CHAT, &without).await, false).ended, Ended::Properly);
        let usage = checked(&app.ask(CHAT, &streamed(&chat(model))).await, true).events.pop().expect("a chunk");
        assert!(usage["usage"]["total_tokens"].as_u64() > Some(0), "{usage}");
    }
}

#[actix::test]
async fn an_answer_ends_before_the_clients_stop_text_on_either_vendor() {
    let app = TestApp::with_accounts(&["ada"]).await;
    for (model, _) in BOTH {
        let asked = json!([{ "role": "user", "content": "before HALT after" }]);
        let body = json!({ "model": model, "messages": asked, "stop": ["HALT", "NEVER"] });
        let (whole, stream) = (app.ask(CHAT, &body).await, app.ask(CHAT, &streamed(&body)).await);
        assert_eq!(whole.header("x-duopool-dropped"), None);
        for said in [said_in_chat(&whole, false), said_in_chat(&stream, true)] {
            assert!(said.text.ends_with("before ") && said.stop == "stop", "{model} {said:?}");
            assert!(said.output_tokens > 0);
        }
    }
    let body = json!({ "model": GPT, "max_tokens": 200, "stop_sequences": ["HALT"], "stream": true,
        "messages": [{ "role": "user", "content": "before HALT after" }] });
    let answer = app.ask("/v1/messages", &body).await.text();
    assert!(answer.contains(r#""stop_reason":"stop_sequence","stop_sequence":"HALT""#), "{answer}");
    assert!(!answer.contains("after"), "{answer}");
}

#[actix::test]
async fn an_error_is_told_in_the_clients_dialect_before_and_inside_of_an_answer() {
    let claude =
        json!({ "type": "error", "error": { "type": "invalid_request_error", "message": "max_tokens: must be odd" } });
    let gpt = json!({ "error": { "message": "Unknown parameter: 'x'.", "type": "invalid_request_error", "param": "x", "code": null } });
    for ((model, call), (refusal, words)) in
        BOTH.into_iter().zip([(claude, "must be odd"), (gpt, "Unknown parameter: 'x'.")])
    {
        let app = TestApp::with_accounts(&["ada"]).await;
        for stream in [false, true] {
            app.gitlab.clear_rules();
            app.gitlab.add_rule(Rule::always(Effect::json(400, &refusal)).on(call));
            let answer = app.ask(CHAT, &with(&chat(model), &json!({ "stream": stream }))).await;
            assert!(told(CHAT, &answer, 400, "400").contains(words), "{}", answer.text());
        }
        for effect in [Effect::Cut { after: 6 }, Effect::ErrorEvent { after: 6, event: None }] {
            app.gitlab.clear_rules();
            app.gitlab.add_rule(Rule::always(effect).on(call));
            let answer = app.ask(CHAT, &streamed(&chat(model))).await;
            assert_eq!((answer.status, checked(&answer, true).ended), (200, Ended::ByError), "{}", answer.text());
        }
    }
}

#[actix::test]
async fn every_recorded_request_is_answered_by_models_of_both_vendors() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/clients");
    let files = fs::read_dir(folder).expect("the recordings are there").map(|entry| entry.expect("an entry").path());
    let recordings = files.filter(|file| file.extension().is_some_and(|extension| extension == "json"));
    let recordings: Vec<Value> = recordings
        .map(|file| serde_json::from_slice(&fs::read(file).expect("a recording")).expect("a recording is JSON"))
        .filter(|recording: &Value| recording["path"] == CHAT)
        .collect();
    assert!(recordings.len() >= 3, "{}", recordings.len());
    let app = TestApp::with_accounts(&["ada"]).await;
    for recording in recordings {
        for (model, call) in BOTH {
            app.gitlab.clear_requests();
            let body = with(&recording["body"], &json!({ "model": model }));
            let answer = app.ask(CHAT, &body).await;
            assert_eq!(answer.status, 200, "{model}: {}\n{body}", answer.text());
            assert_eq!(app.gitlab.requests_of(call).len(), 1, "{model}");
            if body["stream"] == true {
                let include_usage = body["stream_options"]["include_usage"] == true;
                assert_eq!(checked(&answer, include_usage).ended, Ended::Properly);
            } else {
                grammar::completion(&answer.json()).expect("a completion");
            }
        }
    }
}

#[actix::test]
async fn where_the_catalogue_prefers_it_gpt_is_asked_in_chat_completions_and_the_bytes_pass() {
    let app = with_models(&["ada"], BY_CHAT).await;
    let body = with(&chat(GPT), &json!({ "seed": 7, "max_tokens": 100 }));
    for stream in [false, true] {
        app.gitlab.clear_requests();
        let answer = app.ask(CHAT, &with(&body, &json!({ "stream": stream }))).await;
        assert_eq!((answer.status, answer.header("x-duopool-dropped")), (200, None), "{}", answer.text());
        assert!(said_in_chat(&answer, stream).text.contains("Good morning!"), "{}", answer.text());
        let sent = app.gitlab.requests_of(Call::ChatCompletions).pop().expect("a request");
        assert_eq!(sent.target, "/ai/v1/proxy/openai/v1/chat/completions");
        assert_eq!(sent.json()["seed"], 7);
        // The one edit: GPT takes the newer name alone.
        assert_eq!((sent.json().get("max_tokens"), &sent.json()["max_completion_tokens"]), (None, &json!(100)));
    }
    let answer = app.ask("/v1/responses", &json!({ "model": GPT, "input": "Hi", "store": false })).await;
    assert_eq!((answer.status, app.gitlab.requests_of(Call::Responses).len()), (200, 1), "{}", answer.text());
}

#[actix::test]
async fn a_stream_that_only_passes_ends_openly_and_an_error_before_it_is_anothers_turn() {
    let app = with_models(&["ada", "grace"], BY_CHAT).await;
    let stream = with(&chat(GPT), &json!({ "stream": true }));
    for effect in [Effect::Cut { after: 3 }, Effect::ErrorEvent { after: 3, event: None }] {
        app.gitlab.clear_rules();
        app.gitlab.add_rule(Rule::always(effect).on(Call::ChatCompletions));
        let answer = app.ask(CHAT, &stream).await;
        let text = answer.text();
        assert!(answer.status == 200 && text.contains("\"delta\"") && text.contains("\"error\":{"), "{text}");
        assert!(!text.contains("[DONE]") && !text.contains("\"finish_reason\":\"stop\""), "{text}");
    }
    app.gitlab.clear_rules();
    app.gitlab.add_rule(Rule::once(Effect::ErrorEvent { after: 0, event: None }).on(Call::ChatCompletions));
    let answer = app.ask(CHAT, &stream).await;
    assert_eq!((answer.status, answer.header("x-duopool-attempts")), (200, Some("2")), "{}", answer.text());
    assert!(answer.text().ends_with("data: [DONE]\n\n") && !answer.text().contains("\"error\":{"), "{}", answer.text());
    app.at_rest().await;
}

#[actix::test]
async fn a_model_that_speaks_chat_completions_alone_is_refused_elsewhere_with_the_right_route() {
    let alone = BY_CHAT.replace(r#", "responses""#, "");
    let app = with_models(&["ada"], &alone).await;
    let ask =
        json!({ "model": GPT, "max_tokens": 100, "messages": [{ "role": "user", "content": "Hi" }], "input": "Hi" });
    for path in ["/v1/messages", "/v1/responses"] {
        let answer = app.ask(path, &ask).await;
        assert!(
            told(path, &answer, 400, "route").contains("use POST /v1/chat/completions for it"),
            "{}",
            answer.text()
        );
    }
    assert!(app.gitlab.requests().iter().all(|record| !record.target.contains("/v1/proxy/")), "nobody was asked");
    assert_eq!(app.ask(CHAT, &chat(GPT)).await.status, 200);
}
