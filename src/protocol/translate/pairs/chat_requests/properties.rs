//! What holds for every conversation.

use proptest::prelude::*;

use super::*;
use crate::protocol::translate::pairs::properties::{Said, Step, said_in_messages, said_in_responses, steps};

/// Which of the two forms calls have.
#[derive(Clone, Copy, PartialEq)]
enum Form {
    Tools,
    Functions,
}

fn as_chat(steps: &[Step], form: Form) -> (Value, Said) {
    let (mut list, mut said) = (vec![user("start")], vec![("user".into(), "start".into())]);
    let mut number = 0;
    for step in steps {
        match step {
            Step::User(text) => {
                list.push(json!({ "role": "user", "content": [{ "type": "text", "text": text }] }));
                said.push(("user".into(), text.clone()));
            }
            Step::Says(text) => {
                list.push(json!({ "role": "assistant", "content": text }));
                said.push(("assistant".into(), text.clone()));
            }
            Step::Calls(calls) if form == Form::Tools => {
                let calls: Vec<(String, u32)> = calls
                    .iter()
                    .map(|(id, n)| {
                        number += 1;
                        (format!("{number}{id}"), *n)
                    })
                    .collect();
                let call = |(id, n): &(String, u32)| json!({ "id": id, "type": "function", "function": { "name": "run", "arguments": format!("{{\"n\":{n}}}") } });
                list.push(json!({ "role": "assistant", "tool_calls": calls.iter().map(call).collect::<Vec<_>>() }));
                said.extend(calls.iter().map(|(_, n)| ("call".into(), n.to_string())));
                for (id, n) in &calls {
                    list.push(result(id, &format!("r{n}")));
                    said.push(("result".into(), format!("r{n}")));
                }
            }
            Step::Calls(calls) => {
                for (_, n) in calls {
                    list.push(json!({ "role": "assistant", "content": null,
                        "function_call": { "name": "run", "arguments": format!("{{\"n\":{n}}}") } }));
                    list.push(json!({ "role": "function", "name": "run", "content": format!("r{n}") }));
                    said.push(("call".into(), n.to_string()));
                    said.push(("result".into(), format!("r{n}")));
                }
            }
        }
    }
    (messages_of(&json!(list)), said)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_conversation_keeps_its_texts_calls_and_order(steps in steps()) {
        for form in [Form::Tools, Form::Functions] {
            let (body, said) = as_chat(&steps, form);
            let old = try_send(C_TO_A, &body, &OLD_CLAUDE).unwrap();
            prop_assert_eq!(said_in_messages(&old.body), said.clone());
            prop_assert_eq!(said_in_responses(&send(C_TO_R, &body).body), said.clone());
            // The newer models never have the last word.
            let is_models = said.last().is_some_and(|(role, _)| role == "assistant");
            let said: Said = said.into_iter().chain(is_models.then(|| ("user".into(), "Continue.".into()))).collect();
            prop_assert_eq!(said_in_messages(&send(C_TO_A, &body).body), said);
        }
    }

    #[test]
    fn the_next_request_of_a_conversation_begins_with_this_one(steps in steps()) {
        // Else the provider's cache would never find the prompt again.
        let (whole, _) = as_chat(&steps, Form::Functions);
        let list = whole["messages"].as_array().unwrap();
        let body = |count: usize| {
            let mut sent = send(C_TO_A, &messages_of(&json!(list[..count])));
            let messages = sent.body["messages"].as_array_mut().unwrap();
            messages.iter_mut().flat_map(|message| message["content"].as_array_mut().unwrap()).for_each(|block| {
                block.as_object_mut().unwrap().remove("cache_control");
            });
            sent.body["messages"].as_array().unwrap().clone()
        };
        let all: Vec<Value> = body(list.len()).iter().flat_map(blocks).collect();
        for count in 1..list.len() {
            // What is made up for a conversation that does not end with the user's word goes again.
            if !matches!(list[count - 1]["role"].as_str(), Some("user" | "function")) {
                continue;
            }
            let some: Vec<Value> = body(count).iter().flat_map(blocks).collect();
            prop_assert_eq!(&all[..some.len()], &some[..]);
        }
    }

    #[test]
    fn arbitrary_bytes_are_refused_or_read_and_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), words in "[{}\\[\\],:\"a-z]{0,80}") {
        for body in [&bytes[..], words.as_bytes()] {
            drop(C_TO_A.request(body, &CLAUDE, None));
            drop(C_TO_R.request(body, &gpt_target(), None));
        }
    }

    #[test]
    fn members_of_any_kind_are_refused_or_read_and_never_panic(value in any_value(), member in 0_usize..100) {
        let whole = chat(&json!({
            "messages": [user("go"), { "role": "assistant", "content": "a", "refusal": "b", "tool_calls": [{ "id": "c", "type": "function", "function": { "name": "run", "arguments": "{}" } }], "function_call": { "name": "run", "arguments": "{}" } }, result("c", "x"), { "role": "function", "name": "run", "content": [{ "type": "image_url", "image_url": { "url": "https://x" } }, { "type": "file", "file": { "file_data": "JVBERi0=" } }] }],
            "tools": [function("run"), { "type": "custom", "custom": { "name": "p", "format": { "type": "grammar", "grammar": { "syntax": "lark", "definition": "a" } } } }], "functions": [{ "name": "f" }],
            "tool_choice": { "type": "allowed_tools", "allowed_tools": { "mode": "auto", "tools": [{ "type": "function", "function": { "name": "run" } }] } }, "function_call": "auto",
            "response_format": { "type": "json_schema", "json_schema": { "name": "a", "schema": {} } }, "reasoning": { "effort": "low" },
            "thinking": { "type": "enabled" }, "stream_options": { "include_usage": true }, "web_search_options": { "user_location": { "approximate": {} } },
            "stop": ["a"], "logit_bias": {}, "modalities": ["text"], "max_tokens": 5, "temperature": 1, "user": "u",
        }));
        let mut at = member;
        let mut odd = whole;
        replace(&mut odd, &value, &mut at);
        for (translation, target) in [(C_TO_A, CLAUDE), (C_TO_R, gpt_target())] {
            if let Err(refusal) = translation.request(odd.to_string().as_bytes(), &target, None) {
                prop_assert!(!refusal.message.is_empty());
            }
        }
    }
}

fn blocks(message: &Value) -> Vec<Value> {
    message["content"].as_array().unwrap().iter().map(|block| json!([message["role"], block])).collect()
}

fn any_value() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(json!(null)),
        Just(json!(true)),
        Just(json!(-1)),
        Just(json!(1e300)),
        Just(json!("x")),
        Just(json!("")),
        Just(json!([])),
        Just(json!(["x", null])),
        Just(json!({})),
        Just(json!({ "type": "x", "name": "run" })),
    ]
}

/// Puts `value` in the place of the member at `at`, counted over all levels.
fn replace(whole: &mut Value, value: &Value, at: &mut usize) {
    let inner: Vec<&mut Value> = match whole {
        Value::Array(list) => list.iter_mut().collect(),
        Value::Object(members) => members.values_mut().collect(),
        _ => return,
    };
    for inner in inner {
        if *at == 0 {
            *at = usize::MAX;
            *inner = value.clone();
            return;
        }
        if *at == usize::MAX {
            return;
        }
        *at -= 1;
        replace(inner, value, at);
    }
}
