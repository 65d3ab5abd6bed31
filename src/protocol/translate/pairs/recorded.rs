//! What real clients sent, translated: nothing of it is unknown, and nothing that changes the answer is lost.

use std::fs;
use std::path::Path;

use super::*;

fn recordings(path: &str) -> Vec<(String, Value)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/clients");
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let file = entry.unwrap().path();
        if file.extension().is_none_or(|extension| extension != "json") {
            continue;
        }
        let recording: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
        if recording["path"] == path && recording["body"].is_object() {
            found.push((file.file_stem().unwrap().to_string_lossy().into_owned(), recording["body"].clone()));
        }
    }
    found.sort_by(|one, other| one.0.cmp(&other.0));
    assert!(found.len() >= 6, "{path}");
    found
}

#[test]
fn every_responses_request_is_understood_to_the_last_member() {
    for (name, body) in recordings("/v1/responses") {
        let sent = try_send(Translation::ResponsesToMessages, &body, &CLAUDE).unwrap();
        // The model searches the web only by itself, or not beside other tools, and follows a grammar only by good will.
        let known = ["tools[].web_search", "tools[].format", "tools[].strict"];
        for lost in sent.dropped.split(',').filter(|lost| !lost.is_empty()) {
            assert!(known.contains(&lost), "{name}: {lost}");
        }
        assert_eq!(sent.body["stream"] == true, body["stream"] == true, "{name}");
    }
}

#[test]
fn every_chat_request_is_understood_to_the_last_member() {
    for (name, body) in recordings("/v1/chat/completions") {
        for translation in [Translation::ChatToMessages, Translation::ChatToResponses] {
            let sent = send(translation, &body);
            let known = ["temperature", "tools[].function.strict"];
            for lost in sent.dropped.split(',').filter(|lost| !lost.is_empty()) {
                assert!(known.contains(&lost), "{name}: {lost}");
            }
            assert_eq!(sent.way_back.chat.include_usage, body["stream_options"]["include_usage"] == true, "{name}");
        }
    }
}

#[test]
fn every_messages_request_is_understood_to_the_last_member() {
    for (name, body) in recordings("/v1/messages") {
        let sent = try_send(Translation::MessagesToResponses, &body, &gpt_target()).unwrap();
        let known = ["temperature", "tools[].web_search"];
        for lost in sent.dropped.split(',').filter(|lost| !lost.is_empty()) {
            assert!(known.contains(&lost), "{name}: {lost}");
        }
        assert!(!sent.body.to_string().contains("x-anthropic-billing-header"), "{name}");
    }
}

/// Every text that the client wrote, but for those that are meant for its own provider.
fn texts<'a>(value: &'a Value, found: &mut Vec<&'a str>) {
    match value {
        Value::Array(list) => list.iter().for_each(|value| texts(value, found)),
        Value::Object(members) => {
            if members.get("type") == Some(&json!("thinking")) || members.get("type") == Some(&json!("reasoning")) {
                return;
            }
            for (key, value) in members {
                match value {
                    Value::String(text) if ["text", "content", "output", "input"].contains(&key.as_str()) => {
                        found.push(text);
                    }
                    _ => texts(value, found),
                }
            }
        }
        _ => {}
    }
}

#[test]
fn every_text_of_a_recorded_conversation_arrives() {
    for (translation, path, member) in [
        (Translation::ResponsesToMessages, "/v1/responses", "input"),
        (Translation::MessagesToResponses, "/v1/messages", "messages"),
        (Translation::ChatToMessages, "/v1/chat/completions", "messages"),
        (Translation::ChatToResponses, "/v1/chat/completions", "messages"),
    ] {
        for (name, body) in recordings(path) {
            let sent = send(translation, &body).body.to_string();
            let mut wanted = Vec::new();
            texts(&body[member], &mut wanted);
            for text in wanted.into_iter().filter(|text| !text.trim().is_empty()) {
                let json = Value::from(text.trim_end()).to_string();
                let inner = &json[1..json.len() - 1];
                // Inside of arguments that are a text, escapes are escaped once more.
                let escaped = Value::from(inner).to_string();
                let found = sent.contains(inner) || sent.contains(&escaped[1..escaped.len() - 1]);
                assert!(found, "{name}: {}", &text[..text.floor_char_boundary(80)]);
            }
        }
    }
}

#[test]
fn a_megabyte_is_translated_with_memory_in_proportion() {
    let line = "about as many words as a line of code has, with \"quotes\" and\ttabs\n";
    let items: Vec<Value> = (0..60)
        .flat_map(|n| {
            [
                json!({ "type": "function_call", "call_id": format!("c{n}"), "name": "run", "arguments": "{\"a\":1}" }),
                json!({ "type": "function_call_output", "call_id": format!("c{n}"), "output": line.repeat(250) }),
            ]
        })
        .collect();
    let body = responses(&json!({ "input": items })).to_string();
    assert!(body.len() > 1_000_000);
    let sent = Translation::ResponsesToMessages.request(body.as_bytes(), &CLAUDE, None).unwrap();
    assert!(sent.body.capacity() <= 2 * body.len() + 4096, "{} for {}", sent.body.capacity(), body.len());
}
