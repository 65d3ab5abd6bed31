//! What holds for every conversation, every stream and every cut of the bytes.

use proptest::prelude::*;

use super::*;

/// A step of a generated conversation.
#[derive(Clone, Debug)]
pub(super) enum Step {
    User(String),
    Says(String),
    Calls(Vec<(String, u32)>),
}

pub(super) fn steps() -> impl Strategy<Value = Vec<Step>> {
    let text = "[a-z\"\\\\\u{e9}\u{1f980}\n ]{0,12}[a-z]";
    let step = prop_oneof![
        text.prop_map(Step::User),
        text.prop_map(Step::Says),
        prop::collection::vec(("[a-zA-Z0-9_:.-]{1,70}", any::<u32>()), 1..4).prop_map(Step::Calls),
    ];
    prop::collection::vec(step, 1..8)
}

/// What a conversation says, whatever the dialect: who, and what, in order.
pub(super) type Said = Vec<(String, String)>;

fn as_responses(steps: &[Step]) -> (Value, Said) {
    let (mut items, mut said) =
        (vec![json!({ "role": "user", "content": "start" })], vec![("user".into(), "start".into())]);
    let mut number = 0;
    for step in steps {
        match step {
            Step::User(text) => {
                items.push(
                    json!({ "type": "message", "role": "user", "content": [{ "type": "input_text", "text": text }] }),
                );
                said.push(("user".into(), text.clone()));
            }
            Step::Says(text) => {
                items.push(json!({ "type": "message", "role": "assistant", "content": [{ "type": "output_text", "text": text }] }));
                said.push(("assistant".into(), text.clone()));
            }
            Step::Calls(calls) => {
                let unique: Vec<(String, u32)> = calls
                    .iter()
                    .map(|(id, n)| {
                        number += 1;
                        (format!("{number}{id}"), *n)
                    })
                    .collect();
                for (id, n) in &unique {
                    items.push(json!({ "type": "function_call", "call_id": id, "name": "run", "arguments": format!("{{\"n\":{n}}}") }));
                    said.push(("call".into(), n.to_string()));
                }
                for (id, n) in &unique {
                    items.push(json!({ "type": "function_call_output", "call_id": id, "output": format!("r{n}") }));
                    said.push(("result".into(), format!("r{n}")));
                }
            }
        }
    }
    (responses(&json!({ "input": items })), said)
}

fn as_messages(steps: &[Step]) -> (Value, Said) {
    let (_, said) = as_responses(steps);
    let mut turns = vec![json!({ "role": "user", "content": "start" })];
    let mut number = 0;
    for step in steps {
        match step {
            Step::User(text) => turns.push(json!({ "role": "user", "content": text })),
            Step::Says(text) => turns.push(json!({ "role": "assistant", "content": text })),
            Step::Calls(calls) => {
                let unique: Vec<(String, u32)> = calls
                    .iter()
                    .map(|(id, n)| {
                        number += 1;
                        (format!("{number}{id}"), *n)
                    })
                    .collect();
                let calls: Vec<Value> = unique
                    .iter()
                    .map(|(id, n)| json!({ "type": "tool_use", "id": id, "name": "run", "input": { "n": n } }))
                    .collect();
                let results: Vec<Value> = unique
                    .iter()
                    .map(|(id, n)| json!({ "type": "tool_result", "tool_use_id": id, "content": format!("r{n}") }))
                    .collect();
                turns.push(json!({ "role": "assistant", "content": calls }));
                turns.push(json!({ "role": "user", "content": results }));
            }
        }
    }
    (messages(&json!({ "messages": turns })), said)
}

/// Reads what a Messages request says, and checks that every result follows its call.
pub(super) fn said_in_messages(body: &Value) -> Said {
    let (mut said, mut open) = (Vec::new(), Vec::new());
    for turn in body["messages"].as_array().unwrap() {
        for block in turn["content"].as_array().unwrap() {
            match block["type"].as_str().unwrap() {
                "text" => {
                    said.push((turn["role"].as_str().unwrap().to_owned(), block["text"].as_str().unwrap().to_owned()));
                }
                "tool_use" => {
                    open.push(block["id"].clone());
                    said.push(("call".into(), block["input"]["n"].to_string()));
                }
                "tool_result" => {
                    assert_eq!(open.remove(0), block["tool_use_id"]);
                    let content = &block["content"];
                    let text = content.as_str().or(content[0]["text"].as_str()).unwrap();
                    said.push(("result".into(), text.to_owned()));
                }
                other => panic!("{other}"),
            }
        }
    }
    assert!(open.is_empty());
    said
}

pub(super) fn said_in_responses(body: &Value) -> Said {
    let (mut said, mut open) = (Vec::new(), Vec::new());
    for item in body["input"].as_array().unwrap() {
        match item["type"].as_str().unwrap() {
            "message" => {
                for part in item["content"].as_array().unwrap() {
                    said.push((item["role"].as_str().unwrap().to_owned(), part["text"].as_str().unwrap().to_owned()));
                }
            }
            "function_call" => {
                open.push(item["call_id"].clone());
                let arguments: Value = serde_json::from_str(item["arguments"].as_str().unwrap()).unwrap();
                said.push(("call".into(), arguments["n"].to_string()));
            }
            "function_call_output" => {
                assert_eq!(open.remove(0), item["call_id"]);
                said.push(("result".into(), item["output"].as_str().unwrap().to_owned()));
            }
            other => panic!("{other}"),
        }
    }
    said
}

/// Assistant texts at the very end lose trailing white space in Messages, where they are continued; none has any here.
fn blocks() -> impl Strategy<Value = Vec<Value>> {
    let text = "[a-z\"\\\\\u{e9}\u{1f980}\n ]{0,20}";
    let block = prop_oneof![
        text.prop_map(|text| json!({ "type": "text", "text": text })),
        (text, "[A-Za-z0-9+/=]{1,20}").prop_map(|(text, signature)| json!({ "type": "thinking", "thinking": text, "signature": signature })),
        ("[a-z]{1,8}", text).prop_map(|(id, text)| json!({ "type": "tool_use", "id": format!("toolu_{id}"), "name": "run", "input": { "text": text } })),
    ];
    prop::collection::vec(block, 0..6)
}

fn items() -> impl Strategy<Value = Vec<Value>> {
    let text = "[a-z\"\\\\\u{e9}\u{1f980}\n ]{1,20}";
    let item = prop_oneof![
        text.prop_map(|text| message(&text)),
        (prop::collection::vec(text, 0..3), "[A-Za-z0-9_=-]{1,20}").prop_map(|(summary, sealed)| {
            reasoning("rs_x", &summary.iter().map(String::as_str).collect::<Vec<_>>(), &sealed)
        }),
        (any::<u32>(), text).prop_map(|(n, text)| function_call(
            &format!("call_{n}"),
            "run",
            &json!({ "text": text }).to_string()
        )),
    ];
    prop::collection::vec(item, 0..6)
}

/// Ids of calls must differ in one answer.
fn with_ids(mut list: Vec<Value>, member: &str) -> Vec<Value> {
    for (index, value) in list.iter_mut().enumerate() {
        value["id"] = json!(value["id"].as_str().map(|id| format!("{id}_{index}")));
        if value.get(member).is_some() && member != "id" {
            value[member] = json!(format!("call_{index}"));
        }
        if value["id"].is_null() {
            value.as_object_mut().unwrap().remove("id");
        }
    }
    list
}

fn stop_of(blocks: &[Value]) -> &'static str {
    if blocks.iter().any(|block| block["type"] == "tool_use") { "tool_use" } else { "end_turn" }
}

fn cut<'a>(stream: &'a [u8], cuts: &[prop::sample::Index]) -> Vec<&'a [u8]> {
    let mut ends: Vec<usize> = cuts.iter().map(|cut| cut.index(stream.len() + 1)).collect();
    ends.extend([0, stream.len()]);
    ends.sort_unstable();
    ends.windows(2).map(|pair| &stream[pair[0]..pair[1]]).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_conversation_keeps_its_texts_calls_and_order(steps in steps()) {
        let (body, mut said) = as_responses(&steps);
        // The model never has the last word.
        let is_models = said.last().is_some_and(|(role, _)| role == "assistant");
        said.extend(is_models.then(|| ("user".to_owned(), "Continue.".to_owned())));
        prop_assert_eq!(said_in_messages(&send(Translation::ResponsesToMessages, &body).body), said);
        let (body, said) = as_messages(&steps);
        prop_assert_eq!(said_in_responses(&send(Translation::MessagesToResponses, &body).body), said);
    }

    #[test]
    fn a_claude_answer_is_a_valid_stream_for_codex_wherever_it_is_cut(blocks in blocks(), cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12)) {
        let blocks = with_ids(blocks, "id");
        let way_back = plain();
        let stream = wire(&claude(&blocks, stop_of(&blocks)));
        let (checked, response) = to_codex(&blocks, stop_of(&blocks), &way_back);
        prop_assert_eq!(checked.ended, Ended::Properly);
        let (whole, ..) = piped(Translation::ResponsesToMessages, [stream.as_bytes()], &way_back);
        let (pieces, ..) = piped(Translation::ResponsesToMessages, cut(stream.as_bytes(), &cuts), &way_back);
        prop_assert!(whole == pieces);
        let texts: String = response["output"].as_array().unwrap().iter().flat_map(|item| item["content"].as_array().into_iter().flatten()).map(|part| part["text"].as_str().unwrap()).collect();
        let wanted: String = blocks.iter().filter_map(|block| block["text"].as_str()).collect();
        prop_assert_eq!(texts, wanted);
    }

    #[test]
    fn a_gpt_answer_is_a_valid_stream_for_claude_code_wherever_it_is_cut(items in items(), cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12)) {
        let items = with_ids(items, "call_id");
        let way_back = plain();
        let stream = wire(&gpt(&items, "completed"));
        let (checked, message) = to_claude_code(&items, "completed");
        prop_assert_eq!(checked.ended, Ended::Properly);
        let (whole, ..) = piped(Translation::MessagesToResponses, [stream.as_bytes()], &way_back);
        let (pieces, ..) = piped(Translation::MessagesToResponses, cut(stream.as_bytes(), &cuts), &way_back);
        prop_assert!(whole == pieces);
        let texts: String = message["content"].as_array().unwrap().iter().filter_map(|block| block["text"].as_str()).collect();
        let wanted: String = items.iter().flat_map(|item| item["content"].as_array().into_iter().flatten()).map(|part| part["text"].as_str().unwrap()).collect();
        prop_assert_eq!(texts, wanted);
        let calls = message["content"].as_array().unwrap().iter().filter(|block| block["type"] == "tool_use").count();
        prop_assert_eq!(calls, items.iter().filter(|item| item["type"] == "function_call").count());
    }

    #[test]
    fn any_answer_is_a_valid_stream_of_chunks_wherever_it_is_cut(blocks in blocks(), items in items(), cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12)) {
        let (blocks, items) = (with_ids(blocks, "id"), with_ids(items, "call_id"));
        let way_back = plain();
        chat_answers::from_claude(&blocks, stop_of(&blocks), &way_back);
        chat_answers::from_gpt(&items, "completed", &way_back);
        for (translation, stream) in [
            (Translation::ChatToMessages, wire(&claude(&blocks, stop_of(&blocks)))),
            (Translation::ChatToResponses, wire(&gpt(&items, "completed"))),
        ] {
            let (whole, ..) = piped(translation, [stream.as_bytes()], &way_back);
            let (pieces, ..) = piped(translation, cut(stream.as_bytes(), &cuts), &way_back);
            prop_assert!(whole == pieces);
        }
    }

    #[test]
    fn an_answer_ends_at_a_stop_text_however_it_comes(items in items(), stop in "[a-z ]{1,2}", stops in 1..3_usize) {
        let items = with_ids(items, "call_id");
        let stops: Vec<String> = [stop, "e\u{e9}".to_owned()].into_iter().take(stops).collect();
        let way_back = send(Translation::ChatToResponses, &chat(&json!({ "stop": stops }))).way_back;
        let (_, completion) = chat_answers::from_gpt(&items, "completed", &way_back);
        let content = completion["choices"][0]["message"]["content"].as_str().unwrap_or_default();
        for text in content.split("\n\n") {
            prop_assert!(!stops.iter().any(|stop| text.contains(stop)));
        }
    }

    #[test]
    fn arbitrary_bytes_are_refused_or_read_and_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), words in "[{}\\[\\],:\"a-z]{0,80}") {
        for translation in ALL {
            for body in [&bytes[..], words.as_bytes()] {
                drop(translation.request(body, &target(translation), None));
                drop(translation.answer(body, NOW, &plain()));
                let mut pipe = Pipe::Translate(Box::new(translation.stream(NOW, plain())));
                let mut out = Vec::new();
                drop(pipe.feed(body, &mut out));
                pipe.finish(&mut out);
                prop_assert!(out.len() <= 1024 + 16 * body.len());
            }
        }
    }

    #[test]
    fn events_with_members_of_any_kind_never_panic(kind in 0_usize..12, value in prop_oneof![Just(json!(null)), Just(json!(-1)), Just(json!("x")), Just(json!([])), Just(json!({})), Just(json!(1e300))], member in 0_usize..10) {
        let claude = claude(&[json!({ "type": "text", "text": "a" }), json!({ "type": "tool_use", "id": "t", "name": "n", "input": {} })], "tool_use");
        let gpt = gpt(&[reasoning("rs", &["a"], "g"), message("a"), function_call("c", "n", "{}")], "completed");
        for (translation, mut events) in [
            (Translation::ChatToMessages, claude.clone()),
            (Translation::ChatToResponses, gpt.clone()),
            (Translation::ResponsesToMessages, claude),
            (Translation::MessagesToResponses, gpt),
        ] {
            let at = kind % events.len();
            let keys: Vec<String> = events[at].as_object().unwrap().keys().cloned().collect();
            let key = keys[member % keys.len()].clone();
            if key != "type" {
                events[at][key] = value.clone();
            }
            let stream = wire(&events);
            let mut pipe = Pipe::Translate(Box::new(translation.stream(NOW, plain())));
            drop(pipe.feed(stream.as_bytes(), &mut Vec::new()));
        }
    }
}
