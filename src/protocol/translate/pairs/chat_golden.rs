//! Golden tables of Chat Completions: what becomes of every kind of request and answer.

use super::golden::{Case, table};
use super::*;
use crate::protocol::openai_chat;

fn user(text: &str) -> Value {
    json!({ "role": "user", "content": text })
}

fn content() -> Vec<Case> {
    let part = |part: Value| json!({ "messages": [{ "role": "user", "content": [part] }] });
    vec![
        ("plain text", json!({})),
        (
            "system and developer messages anywhere",
            json!({ "messages": [{ "role": "system", "content": "A." }, { "role": "developer", "content": "B." }, user("Hi"), { "role": "system", "content": "C." }, user("go")] }),
        ),
        ("only the system speaks", json!({ "messages": [{ "role": "system", "content": "Say hello." }] })),
        (
            "earlier answers",
            json!({ "messages": [user("Hi"), { "role": "assistant", "content": "Hello", "reasoning_content": "hm", "refusal": null }, user("go")] }),
        ),
        (
            "the model has the last word",
            json!({ "messages": [user("Hi"), { "role": "assistant", "content": "Hello, " }] }),
        ),
        (
            "image",
            part(
                json!({ "type": "image_url", "image_url": { "url": "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAAB", "detail": "high" } }),
            ),
        ),
        (
            "image at an address",
            part(json!({ "type": "image_url", "image_url": { "url": "https://a.example/b.png" } })),
        ),
    ]
}

fn settings() -> Vec<Case> {
    vec![
        ("limits", json!({ "max_tokens": 5, "max_completion_tokens": 20 })),
        ("a limit below the least", json!({ "max_tokens": 5 })),
        ("sampling", json!({ "temperature": 0.5, "top_p": 0.9, "seed": 7, "presence_penalty": 0.5 })),
        ("stop texts", json!({ "stop": ["END", "STOP"] })),
        ("more stop texts than anybody needs", json!({ "stop": vec!["END"; 65] })),
        ("effort", json!({ "reasoning_effort": "high" })),
        ("no effort", json!({ "reasoning_effort": "none" })),
        ("who asks", json!({ "user": "u".repeat(65) })),
        ("a stream with usage", json!({ "stream": true, "stream_options": { "include_usage": true } })),
        ("what only tunes", json!({ "service_tier": "flex", "store": true, "metadata": { "a": "b" } })),
        ("member nobody knows", json!({ "odd": 1 })),
    ]
}

fn streamed(translation: Translation, events: &[Value]) -> String {
    let chat = openai_chat::Asked { include_usage: true, ..Default::default() };
    let custom = offering(&json!([{ "type": "custom", "name": "patch" }]));
    let names = if translation == Translation::ChatToMessages { custom.names } else { WayBack::default().names };
    let way_back = WayBack { chat, names, ..WayBack::default() };
    let (out, ..) = piped(translation, [wire(events).as_bytes()], &way_back);
    grammar::chat(&out, true).unwrap();
    String::from_utf8(out).unwrap()
}

#[test]
fn requests_of_chat_completions_become_requests_of_responses() {
    insta::assert_snapshot!("chat_content", table(Translation::ChatToResponses, content()));
    insta::assert_snapshot!("chat_settings", table(Translation::ChatToResponses, settings()));
}

#[test]
fn a_stream_of_claude_becomes_a_stream_of_chunks() {
    let blocks = [
        json!({ "type": "thinking", "thinking": "Both.", "signature": "EqQB" }),
        json!({ "type": "text", "text": "Hello" }),
        json!({ "type": "text", "text": " again" }),
        json!({ "type": "tool_use", "id": "toolu_1", "name": "run", "input": { "a": "b" } }),
        json!({ "type": "tool_use", "id": "toolu_2", "name": "patch", "input": { "input": "x\n" } }),
        json!({ "type": "tool_use", "id": "toolu_3", "name": "run", "input": {} }),
    ];
    insta::assert_snapshot!("claude_chunks", streamed(Translation::ChatToMessages, &claude(&blocks, "tool_use")));
}

#[test]
fn a_stream_of_gpt_becomes_a_stream_of_chunks() {
    let items = [
        reasoning("rs_1", &["One.", "Two."], "gAAAA"),
        message("Hello"),
        message("again"),
        function_call("call_1", "run", "{\"a\":\"b\"}"),
        json!({ "id": "ctc_1", "type": "custom_tool_call", "call_id": "call_2", "name": "patch", "input": "x\n" }),
    ];
    insta::assert_snapshot!("gpt_chunks", streamed(Translation::ChatToResponses, &gpt(&items, "completed")));
}
