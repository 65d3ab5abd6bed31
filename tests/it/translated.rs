//! Claude Code on a GPT model and Codex on a Claude model: a client of one API and a model of another.

use std::fs;
use std::path::Path;

use duopool::simulator::{Call, Effect, Rule};
use serde_json::{Value, json};

use crate::support::ask::with;
use crate::support::grammar::{self, Checked, Ended};
use crate::support::said::{said_in_messages, said_in_responses};
use crate::support::told::told;
use crate::support::{Answer, TestApp};

const MESSAGES: &str = "/v1/messages";
const RESPONSES: &str = "/v1/responses";
const SONNET: &str = "claude-sonnet-4-6";
const NEW_SONNET: &str = "claude-sonnet-5";
const GPT: &str = "gpt-5.5-2026-04-23";

/// Returns the bodies that real clients sent to a route, for another model.
pub fn recorded(path: &str, model: &str) -> Vec<(String, Value)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/clients");
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("the recordings are there") {
        let file = entry.expect("an entry").path();
        if file.extension().is_none_or(|extension| extension != "json") {
            continue;
        }
        let bytes = fs::read(&file).expect("a recording");
        let recording: Value = serde_json::from_slice(&bytes).expect("a recording is JSON");
        if recording["path"] == path && recording["body"].is_object() {
            let name = file.file_stem().expect("a name").to_string_lossy().into_owned();
            found.push((name, with(&recording["body"], &json!({ "model": model }))));
        }
    }
    assert!(found.len() >= 6, "{path}");
    found
}

/// Asserts that a stream keeps to the client's grammar, signs of life and all.
fn checked(path: &str, answer: &Answer) -> Checked {
    let text = answer.text();
    let read = if path == MESSAGES { grammar::messages(text.as_bytes()) } else { grammar::responses(text.as_bytes()) };
    read.unwrap_or_else(|problem| panic!("{problem}\n{text}"))
}

fn tool(path: &str) -> Value {
    let schema = json!({ "type": "object", "properties": { "city": { "type": "string" } }, "required": ["city"] });
    if path == MESSAGES {
        json!({ "name": "weather", "input_schema": schema })
    } else {
        json!({ "type": "function", "name": "weather", "parameters": schema })
    }
}

/// Returns a request that makes the model think and call a tool.
fn tool_request(path: &str, model: &str) -> Value {
    let asked = json!([{ "role": "user", "content": "Use the tool weather for Oslo." }]);
    if path == MESSAGES {
        json!({ "model": model, "max_tokens": 4000, "thinking": { "type": "adaptive" }, "messages": asked, "tools": [tool(path)] })
    } else {
        json!({ "model": model, "store": false, "reasoning": { "effort": "medium", "summary": "auto" },
            "include": ["reasoning.encrypted_content"], "input": asked, "tools": [tool(path)] })
    }
}

#[actix::test]
async fn every_recorded_request_is_answered_by_a_model_of_the_other_vendor() {
    for (path, models, call) in
        [(MESSAGES, [GPT, "gpt-5.4-mini"], Call::Responses), (RESPONSES, [SONNET, NEW_SONNET], Call::Messages)]
    {
        for model in models {
            let app = TestApp::with_accounts(&["ada"]).await;
            for (name, body) in recorded(path, model) {
                for stream in [true, false] {
                    app.gitlab.clear_requests();
                    let answer = app.ask(path, &with(&body, &json!({ "stream": stream }))).await;
                    assert_eq!(answer.status, 200, "{name} {model} {stream}: {}", answer.text());
                    assert_eq!(app.gitlab.requests_of(call).len(), 1, "{name} {model}");
                    assert_eq!(answer.header("x-duopool-model"), Some(model), "{name}");
                    if stream {
                        assert_eq!(checked(path, &answer).ended, Ended::Properly, "{name} {model}");
                    } else {
                        assert_eq!(answer.json()["model"], model, "{name}");
                    }
                }
            }
        }
    }
}

#[actix::test]
async fn a_stream_says_what_the_whole_answer_says() {
    let app = TestApp::with_accounts(&["ada"]).await;
    for (path, model) in [(MESSAGES, GPT), (RESPONSES, SONNET), (RESPONSES, NEW_SONNET)] {
        let body = tool_request(path, model);
        let read = if path == MESSAGES { said_in_messages } else { said_in_responses };
        let whole = app.ask(path, &body).await;
        let streamed = app.ask(path, &with(&body, &json!({ "stream": true }))).await;
        assert_eq!((whole.status, streamed.status), (200, 200), "{} {}", whole.text(), streamed.text());
        checked(path, &streamed);
        let (mut whole, mut streamed) = (read(&whole, false), read(&streamed, true));
        if path == MESSAGES {
            // OpenAI tells what the input cost only at the end.
            (whole.input_tokens, streamed.input_tokens) = (0, 0);
        }
        assert_eq!(whole, streamed, "{path}");
        assert!(!whole.thinking.is_empty() && whole.calls.len() == 1, "{path} {whole:?}");
        assert_eq!(whole.calls[0].0, "weather");
    }
}

/// The simulated providers refuse reasoning that is not their own word for word.
#[actix::test]
async fn thinking_and_calls_go_round_and_come_back_as_the_model_gave_them() {
    for model in [SONNET, NEW_SONNET] {
        let app = TestApp::with_accounts(&["ada"]).await;
        let body = tool_request(RESPONSES, model);
        let first = app.ask(RESPONSES, &body).await.json();
        let mut input = body["input"].as_array().expect("items").clone();
        input.extend(first["output"].as_array().expect("output").iter().cloned());
        let call_id = &first["output"].as_array().expect("output").last().expect("a call")["call_id"];
        input.push(json!({ "type": "function_call_output", "call_id": call_id, "output": "22 degrees" }));
        let second = app.ask(RESPONSES, &with(&body, &json!({ "input": input }))).await;
        assert_eq!(second.status, 200, "{}", second.text());
        assert!(second.text().contains("22 degrees"), "{}", second.text());
        let sent = app.gitlab.requests_of(Call::Messages)[1].json();
        assert_eq!(sent["messages"][1]["content"][0]["type"], "thinking", "{sent}");
    }
    let app = TestApp::with_accounts(&["ada"]).await;
    let body = tool_request(MESSAGES, GPT);
    let first = app.ask(MESSAGES, &body).await.json();
    let call_id = &first["content"].as_array().expect("content").last().expect("a call")["id"];
    let result = json!({ "type": "tool_result", "tool_use_id": call_id, "content": "22 degrees" });
    let turns = json!([body["messages"][0], { "role": "assistant", "content": first["content"] },
        { "role": "user", "content": [result] }]);
    let second = app.ask(MESSAGES, &with(&body, &json!({ "messages": turns }))).await;
    assert_eq!(second.status, 200, "{}", second.text());
    assert!(second.text().contains("22 degrees"), "{}", second.text());
    let sent = app.gitlab.requests_of(Call::Responses)[1].json();
    assert_eq!(sent["input"][1]["type"], "reasoning", "{sent}");
}

/// A seal of ours opens, but the provider behind it may have changed its key since.
#[actix::test]
async fn thinking_that_its_own_provider_does_not_know_any_more_is_left_out_and_named() {
    let claude = json!({ "type": "error", "error": { "type": "invalid_request_error",
        "message": "messages.1.content.0: Invalid `signature` in `thinking` block" } });
    let gpt = json!({ "error": { "message": "The encrypted content gAAA... could not be verified.",
        "type": "invalid_request_error", "param": null, "code": "invalid_encrypted_content" } });
    for (path, model, call, refusal, dropped) in [
        (RESPONSES, NEW_SONNET, Call::Messages, claude, "input[].reasoning"),
        (MESSAGES, GPT, Call::Responses, gpt, "messages[].content[].thinking"),
    ] {
        let app = TestApp::with_accounts(&["ada", "ben"]).await;
        let body = tool_request(path, model);
        let first = app.ask(path, &body).await.json();
        let turns = if path == MESSAGES {
            let call_id = &first["content"].as_array().expect("content").last().expect("a call")["id"];
            let result = json!({ "type": "tool_result", "tool_use_id": call_id, "content": "22 degrees" });
            json!({ "messages": [body["messages"][0], { "role": "assistant", "content": first["content"] },
                { "role": "user", "content": [result] }] })
        } else {
            let mut input = body["input"].as_array().expect("items").clone();
            let output = first["output"].as_array().expect("output");
            input.extend(output.iter().cloned());
            let call_id = &output.last().expect("a call")["call_id"];
            input.push(json!({ "type": "function_call_output", "call_id": call_id, "output": "22 degrees" }));
            json!({ "input": input })
        };
        app.gitlab.add_rule(Rule::once(Effect::json(400, &refusal)).on(call));
        let second = app.ask(path, &with(&body, &turns)).await;
        assert_eq!(second.status, 200, "{}", second.text());
        assert!(second.text().contains("22 degrees"), "{}", second.text());
        assert_eq!(second.header("x-duopool-dropped"), Some(dropped));
        let sent = app.gitlab.requests_of(call);
        let has_thoughts = |text: &str| text.contains("\"signature\"") || text.contains("\"encrypted_content\"");
        let thoughts: Vec<bool> = sent.iter().map(|sent| has_thoughts(&String::from_utf8_lossy(&sent.body))).collect();
        assert_eq!(thoughts, [false, true, false], "{path}");
        assert_eq!(sent[1].account, sent[2].account);
    }
}

/// Codex sends so what it has of an answer that broke off.
#[actix::test]
async fn an_answer_that_broke_off_is_gone_on_with() {
    for model in [SONNET, NEW_SONNET, "claude-haiku-4-5-20251001"] {
        let app = TestApp::with_accounts(&["ada"]).await;
        let body = with(&tool_request(RESPONSES, model), &json!({ "tools": [] }));
        let first = app.ask(RESPONSES, &body).await.json();
        let output = first["output"].as_array().expect("output");
        assert_eq!(output.len(), 2, "{first}");
        for kept in 1..=2 {
            let mut input = body["input"].as_array().expect("items").clone();
            input.extend(output.iter().take(kept).cloned());
            let answer = app.ask(RESPONSES, &with(&body, &json!({ "input": input }))).await;
            assert_eq!(answer.status, 200, "{model} {kept}: {}", answer.text());
        }
    }
}

#[actix::test]
async fn thinking_survives_a_restart_of_duopool() {
    let mut app = TestApp::with_accounts(&["ada"]).await;
    let body = tool_request(RESPONSES, SONNET);
    let first = app.ask(RESPONSES, &body).await.json();
    app.restart(|_| {}).await;
    let mut input = body["input"].as_array().expect("items").clone();
    input.extend(first["output"].as_array().expect("output").iter().cloned());
    let call_id = &first["output"].as_array().expect("output").last().expect("a call")["call_id"];
    input.push(json!({ "type": "function_call_output", "call_id": call_id, "output": "22 degrees" }));
    let second = app.ask(RESPONSES, &with(&body, &json!({ "input": input }))).await;
    assert_eq!(second.status, 200, "{}", second.text());
    let sent = app.gitlab.requests_of(Call::Messages).pop().expect("a request").json();
    assert_eq!(sent["messages"][1]["content"][0]["type"], "thinking", "{sent}");
}

#[actix::test]
async fn an_error_before_the_answer_is_told_in_the_clients_dialect() {
    let claude =
        json!({ "type": "error", "error": { "type": "invalid_request_error", "message": "max_tokens: must be odd" } });
    let gpt = json!({ "error": { "message": "Unknown parameter: 'x'.", "type": "invalid_request_error", "param": "x", "code": null } });
    for (path, model, call, body, words) in [
        (MESSAGES, GPT, Call::Responses, gpt, "Unknown parameter: 'x'."),
        (RESPONSES, SONNET, Call::Messages, claude, "max_tokens: must be odd"),
    ] {
        let app = TestApp::with_accounts(&["ada"]).await;
        for stream in [true, false] {
            let request = with(&tool_request(path, model), &json!({ "stream": stream }));
            app.gitlab.clear_rules();
            app.gitlab.add_rule(Rule::always(Effect::json(400, &body)).on(call));
            let answer = app.ask(path, &request).await;
            assert!(told(path, &answer, 400, "400").contains(words), "{}", answer.text());
            for odd in [json!({ "detail": "Not enough" }), json!({ "error": "a bare word" })] {
                app.gitlab.clear_rules();
                app.gitlab.add_rule(Rule::always(Effect::json(400, &odd)).on(call));
                told(path, &app.ask(path, &request).await, 400, "odd");
            }
        }
    }
}

#[actix::test]
async fn an_overflow_is_told_so_that_the_client_compacts() {
    let claude = json!({ "type": "error", "error": { "type": "invalid_request_error", "message": "prompt is too long: 2 > 1" } });
    let gpt = json!({ "error": { "message": "Your input exceeds the context window of this model.", "type": "invalid_request_error",
        "param": "input", "code": "context_length_exceeded" } });
    for (path, model, call, body, words) in [
        (MESSAGES, GPT, Call::Responses, gpt, "prompt is too long"),
        (RESPONSES, SONNET, Call::Messages, claude, "context_length_exceeded"),
    ] {
        let app = TestApp::with_accounts(&["ada"]).await;
        app.gitlab.add_rule(Rule::always(Effect::json(400, &body)).on(call));
        let answer = app.ask(path, &tool_request(path, model)).await;
        assert_eq!(answer.status, 400);
        assert!(answer.text().contains(words), "{}", answer.text());
    }
}

#[actix::test]
async fn an_error_inside_the_answer_ends_the_stream_openly() {
    for (path, model, call) in [(MESSAGES, GPT, Call::Responses), (RESPONSES, SONNET, Call::Messages)] {
        let app = TestApp::with_accounts(&["ada"]).await;
        let request = with(&tool_request(path, model), &json!({ "stream": true }));
        for effect in [Effect::Cut { after: 6 }, Effect::ErrorEvent { after: 6, event: None }] {
            app.gitlab.clear_rules();
            app.gitlab.add_rule(Rule::always(effect).on(call));
            let answer = app.ask(path, &request).await;
            assert_eq!((answer.status, checked(path, &answer).ended), (200, Ended::ByError), "{}", answer.text());
        }
    }
}

#[actix::test]
async fn what_cannot_be_carried_is_named_or_refused() {
    let app = TestApp::with_accounts(&["ada"]).await;
    let request = with(&tool_request(MESSAGES, GPT), &json!({ "stop_sequences": ["END"], "top_k": 3 }));
    let answer = app.ask(MESSAGES, &request).await;
    let dropped = answer.header("x-duopool-dropped").expect("losses").to_owned();
    assert_eq!(dropped, "top_k", "and the answer ends at the stop text");
    let request = with(&tool_request(RESPONSES, SONNET), &json!({ "previous_response_id": "resp_1" }));
    let answer = app.ask(RESPONSES, &request).await;
    assert!(told(RESPONSES, &answer, 400, "state").contains("store: false"), "{}", answer.text());
    assert_eq!(answer.json()["error"]["param"], "previous_response_id");
}
