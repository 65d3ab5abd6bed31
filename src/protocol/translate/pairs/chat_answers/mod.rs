//! Answers as clients of Chat Completions get them from both vendors: what users of other translators saw, once each, and
//! may not be seen here.

use super::*;
use crate::protocol::openai_chat;

mod golden;

const C_TO_A: Translation = Translation::ChatToMessages;
const C_TO_R: Translation = Translation::ChatToResponses;

fn asking_for_usage() -> WayBack {
    WayBack { chat: openai_chat::Asked { include_usage: true, ..Default::default() }, ..WayBack::default() }
}

fn text(text: &str) -> Value {
    json!({ "type": "text", "text": text })
}

fn tool_use(id: &str, input: &Value) -> Value {
    json!({ "type": "tool_use", "id": id, "name": "run", "input": input })
}

/// Asks a Claude model; returns the stream's events and the completion that an SDK makes of them, which is the one that
/// comes whole.
pub(super) fn from_claude(blocks: &[Value], stop: &str, way_back: &WayBack) -> (Checked, Value) {
    told(C_TO_A, &wire(&claude(blocks, stop)), &claude_whole(blocks, stop), way_back)
}

/// Asks a GPT model.
pub(super) fn from_gpt(items: &[Value], status: &str, way_back: &WayBack) -> (Checked, Value) {
    told(C_TO_R, &wire(&gpt(items, status)), &gpt_whole(items, status), way_back)
}

fn told(translation: Translation, stream: &str, whole: &Value, way_back: &WayBack) -> (Checked, Value) {
    let with_usage = WayBack { chat: openai_chat::Asked { include_usage: true, ..way_back.chat }, ..way_back.clone() };
    let checked = checked(translation, stream, &with_usage);
    let completion = completed(&checked);
    // What was cut off is no JSON, so no vendor could send it whole.
    if !whole["content"].as_array().into_iter().flatten().any(|block| block["input"].is_string()) {
        let whole = translation.answer(whole.to_string().as_bytes(), NOW, way_back).unwrap();
        let whole: Value = serde_json::from_slice(&whole).unwrap();
        grammar::completion(&whole).unwrap_or_else(|problem| panic!("{problem}\n{whole}"));
        assert_eq!(whole, completion, "streamed or not, it is the same completion");
    }
    (checked, completion)
}

/// Puts a completion together from its chunks, as an SDK does.
fn completed(checked: &Checked) -> Value {
    let mut completion = checked.events[0].clone();
    completion["object"] = json!("chat.completion");
    let mut message = json!({ "role": "assistant", "content": null, "refusal": null, "annotations": [] });
    let add = |place: &mut Value, more: &Value| {
        *place = json!(format!("{}{}", place.as_str().unwrap_or_default(), more.as_str().unwrap()));
    };
    for event in &checked.events {
        let choice = &event["choices"][0];
        for (member, more) in choice["delta"].as_object().into_iter().flatten() {
            match member.as_str() {
                "role" => {}
                "tool_calls" => {
                    for delta in more.as_array().unwrap() {
                        let mut delta = delta.clone();
                        delta.as_object_mut().unwrap().remove("index");
                        if delta.get("id").is_some() {
                            if message.get(member).is_none() {
                                message[member] = json!([]);
                            }
                            message[member].as_array_mut().unwrap().push(delta);
                            continue;
                        }
                        let index = choice["delta"][member][0]["index"].as_u64().unwrap();
                        let call = &mut message[member][usize::try_from(index).unwrap()];
                        for (kind, payload) in delta.as_object().unwrap() {
                            let (name, more) = payload.as_object().unwrap().iter().next().unwrap();
                            add(&mut call[kind][name], more);
                        }
                    }
                }
                "function_call" if message.get(member).is_none() => message[member] = more.clone(),
                "function_call" => add(&mut message[member]["arguments"], &more["arguments"]),
                _ => add(&mut message[member], more),
            }
        }
        if choice["finish_reason"].is_string() {
            completion["choices"] = json!([{ "index": 0, "message": message, "logprobs": null,
                "finish_reason": choice["finish_reason"] }]);
        }
        completion["usage"] = event["usage"].clone();
    }
    completion
}

/// Returns the choice of a completion.
pub(super) fn choice(told: (Checked, Value)) -> Value {
    told.1["choices"][0].clone()
}

#[test]
fn calls_are_numbered_by_themselves_and_not_by_blocks() {
    let thinking = json!({ "type": "thinking", "thinking": "hm", "signature": "Eq" });
    let blocks = [thinking, text("Both."), tool_use("toolu_1", &json!({ "a": 1 })), tool_use("toolu_2", &json!({}))];
    let items = [
        reasoning("rs_1", &["hm"], "gA"),
        message("Both."),
        function_call("call_1", "run", "{\"a\":1}"),
        function_call("call_2", "run", "{}"),
    ];
    for (checked, completion) in [from_claude(&blocks, "tool_use", &plain()), from_gpt(&items, "completed", &plain())] {
        let deltas = checked.events.iter().map(|event| &event["choices"][0]["delta"]["tool_calls"][0]);
        let begun: Vec<&Value> = deltas.filter(|call| call["id"].is_string()).map(|call| &call["index"]).collect();
        assert_eq!(begun, [0, 1]);
        let choice = &completion["choices"][0];
        assert_eq!(choice["finish_reason"], "tool_calls");
        assert_eq!(
            (&choice["message"]["content"], &choice["message"]["reasoning_content"]),
            (&json!("Both."), &json!("hm"))
        );
        let arguments: Vec<&Value> = choice["message"]["tool_calls"]
            .as_array()
            .unwrap()
            .iter()
            .map(|call| &call["function"]["arguments"])
            .collect();
        assert_eq!(arguments, ["{\"a\":1}", "{}"]);
    }
}

#[test]
fn a_finish_reason_says_tool_calls_only_where_a_call_was_told() {
    assert_eq!(choice(from_claude(&[text("hi")], "tool_use", &plain()))["finish_reason"], "stop");
    assert_eq!(choice(from_gpt(&[message("hi")], "completed", &plain()))["finish_reason"], "stop");
    let call = choice(from_gpt(&[function_call("call_1", "run", "{}")], "completed", &plain()));
    assert_eq!((&call["finish_reason"], &call["message"]["content"]), (&json!("tool_calls"), &Value::Null));
}

#[test]
fn a_stream_ends_properly_without_a_word_of_usage() {
    let mut events = claude(&[text("hi")], "end_turn");
    for event in &mut events {
        event.as_object_mut().unwrap().remove("usage");
        if let Some(message) = event.get_mut("message") {
            message.as_object_mut().unwrap().remove("usage");
        }
    }
    let checked = checked(C_TO_A, &wire(&events), &asking_for_usage());
    assert_eq!((checked.ended, &completed(&checked)["usage"]["total_tokens"]), (Ended::Properly, &json!(0)));
    let mut events = gpt(&[message("hi")], "completed");
    events.last_mut().unwrap()["response"].as_object_mut().unwrap().remove("usage");
    assert_eq!(super::checked(C_TO_R, &wire(&events), &asking_for_usage()).ended, Ended::Properly);
}

#[test]
fn an_answer_that_met_the_limit_is_told_as_length() {
    for stop in ["max_tokens", "model_context_window_exceeded"] {
        assert_eq!(choice(from_claude(&[text("half of")], stop, &plain()))["finish_reason"], "length");
    }
    assert_eq!(choice(from_gpt(&[message("half of")], "incomplete", &plain()))["finish_reason"], "length");
}

#[test]
fn a_call_that_was_cut_off_is_told_as_length_and_not_to_be_run() {
    let cut = "{\"cmd\":\"rm -rf /tm";
    let claude = choice(from_claude(&[tool_use("toolu_1", &json!(cut))], "max_tokens", &plain()));
    let gpt = choice(from_gpt(&[function_call("call_1", "run", cut)], "incomplete", &plain()));
    for choice in [claude, gpt] {
        assert_eq!(choice["finish_reason"], "length");
        assert_eq!(choice["message"]["tool_calls"][0]["function"]["arguments"], cut);
    }
}

#[test]
fn cached_tokens_are_counted_once_and_the_input_is_known_from_either_event() {
    for (_, completion) in
        [from_claude(&[text("a")], "end_turn", &plain()), from_gpt(&[message("a")], "completed", &plain())]
    {
        let usage = &completion["usage"];
        assert_eq!((&usage["prompt_tokens"], &usage["completion_tokens"]), (&json!(16), &json!(30)));
        assert_eq!(usage["total_tokens"], 46);
        assert_eq!(
            usage["prompt_tokens_details"],
            json!({ "cached_tokens": 4, "cache_write_tokens": 2, "audio_tokens": 0 })
        );
    }
    // The newer upstreams say it all again at the end, and that counts.
    let mut events = claude(&[text("a")], "end_turn");
    let at = events.len() - 2;
    events[at]["usage"] = json!({ "input_tokens": 100, "cache_read_input_tokens": 5, "cache_creation_input_tokens": 0, "output_tokens": 30 });
    let completion = completed(&checked(C_TO_A, &wire(&events), &asking_for_usage()));
    assert_eq!(completion["usage"]["prompt_tokens"], 105);
}

#[test]
fn thinking_tokens_are_reported() {
    let (_, completion) = from_gpt(&[message("a")], "completed", &plain());
    assert_eq!(completion["usage"]["completion_tokens_details"]["reasoning_tokens"], 7);
    let mut events = claude(&[text("a")], "end_turn");
    let at = events.len() - 2;
    events[at]["usage"]["output_tokens_details"] = json!({ "thinking_tokens": 9 });
    let completion = completed(&checked(C_TO_A, &wire(&events), &asking_for_usage()));
    assert_eq!(completion["usage"]["completion_tokens_details"]["reasoning_tokens"], 9);
}

#[test]
fn thinking_never_stands_in_the_content_and_a_stream_begins_once() {
    let thinking = |text: &str| json!({ "type": "thinking", "thinking": text, "signature": "Eq" });
    let redacted = json!({ "type": "redacted_thinking", "data": "EmwK" });
    let blocks = [thinking("I think"), redacted, text("So."), thinking("And"), text("More.")];
    let (checked, completion) = from_claude(&blocks, "end_turn", &plain());
    let message = &completion["choices"][0]["message"];
    assert_eq!(
        (&message["content"], &message["reasoning_content"]),
        (&json!("So.\n\nMore."), &json!("I think\n\nAnd"))
    );
    let roles = checked.events.iter().filter(|event| event["choices"][0]["delta"]["role"].is_string()).count();
    assert_eq!(roles, 1);
    assert!(!completion.to_string().contains("EmwK") && !completion.to_string().contains("signature"));
}

#[test]
fn what_gpt_lets_see_of_its_reasoning_is_asked_for_and_shown() {
    let sent = send(C_TO_R, &chat(&json!({ "reasoning_effort": "high" })));
    assert_eq!(sent.body["reasoning"], json!({ "effort": "high", "summary": "auto" }));
    assert_eq!((&sent.body["store"], &sent.body["include"]), (&json!(false), &json!(["reasoning.encrypted_content"])));
    let items = [reasoning("rs_1", &["First.", "Then."], "gAAAA"), message("a")];
    let message = choice(from_gpt(&items, "completed", &sent.way_back))["message"].clone();
    assert_eq!(message["reasoning_content"], "First.\n\nThen.");
    assert!(!message.to_string().contains("gAAAA"));
}

#[test]
fn an_answer_is_passed_on_as_it_comes() {
    let claude = wire(&claude(&[text("one two three"), tool_use("t", &json!({ "cmd": "echo one two" }))], "tool_use"));
    let gpt =
        wire(&gpt(&[message("one two three"), function_call("c", "run", "{\"cmd\":\"echo one two\"}")], "completed"));
    for (translation, stream) in [(C_TO_A, claude), (C_TO_R, gpt)] {
        let mut pipe = Pipe::Translate(Box::new(translation.stream(NOW, plain())));
        let mut told = 0;
        for event in stream.split_inclusive("\n\n") {
            let mut out = Vec::new();
            pipe.feed(event.as_bytes(), &mut out).unwrap();
            let event_type = event.split_once('\n').unwrap().0;
            let is_delta = event_type.ends_with("delta") && !event_type.contains("message_delta");
            let says_more = is_delta && !event.contains("\"partial_json\":\"\"");
            if says_more {
                told += 1;
                assert!(!out.is_empty(), "{event} is kept back");
            }
        }
        assert_eq!(told, 3 + 5, "{translation:?}");
    }
}

#[test]
fn an_error_in_place_of_an_answer_is_never_an_empty_answer() {
    let error = json!({ "error": { "message": "no", "type": "server_error" } }).to_string();
    for translation in [C_TO_A, C_TO_R] {
        assert!(translation.answer(error.as_bytes(), NOW, &plain()).is_err());
        assert!(translation.answer_of_stream(error.as_bytes(), NOW, &plain()).is_err());
        let (out, end, _) = piped(translation, [error.as_bytes()], &plain());
        assert_eq!((out.len(), end), (0, End::CutShort));
    }
}

#[test]
fn no_call_is_lost_where_several_come_at_once() {
    let calls: Vec<Value> =
        (0..5).map(|n| function_call(&format!("call_{n}"), "run", &format!("{{\"n\":{n}}}"))).collect();
    let whole = choice(from_gpt(&calls, "completed", &plain()));
    let events = gpt(&calls, "completed");
    // The same calls, all of them at once.
    let mut of: Vec<_> = (0..5).map(|n| events.iter().filter(move |event| event["output_index"] == n)).collect();
    let mut mixed: Vec<Value> = events[..2].to_vec();
    loop {
        let round: Vec<Value> = of.iter_mut().filter_map(Iterator::next).cloned().collect();
        if round.is_empty() {
            break;
        }
        mixed.extend(round);
    }
    mixed.push(events.last().unwrap().clone());
    let mixed = completed(&checked(C_TO_R, &wire(&mixed), &asking_for_usage()));
    assert_eq!(mixed["choices"][0], whole);
    let calls = whole["message"]["tool_calls"].as_array().unwrap();
    let arguments: Vec<&Value> = calls.iter().map(|call| &call["function"]["arguments"]).collect();
    assert_eq!(arguments, ["{\"n\":0}", "{\"n\":1}", "{\"n\":2}", "{\"n\":3}", "{\"n\":4}"]);
}

#[test]
fn a_stream_that_is_cut_is_never_told_as_complete() {
    for (translation, stream) in [
        (C_TO_A, wire(&claude(&[text("hello"), tool_use("t", &json!({ "a": 1 }))], "tool_use"))),
        (C_TO_R, wire(&gpt(&[message("hello"), function_call("c", "run", "{\"a\":1}")], "completed"))),
    ] {
        for cut in 0..stream.trim_end().len() {
            let (out, end, _) = piped(translation, [&stream.as_bytes()[..cut]], &plain());
            assert_eq!((end, check(translation, &out).ended), (End::CutShort, Ended::CutShort), "cut at {cut}");
        }
    }
}

#[test]
fn an_error_in_the_stream_is_no_end() {
    let error = "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":\"Overloaded\"}}\n\n";
    for (translation, stream) in
        [(C_TO_A, wire(&claude(&[text("hello")], "end_turn"))), (C_TO_R, wire(&gpt(&[message("hello")], "completed")))]
    {
        let cut = stream.match_indices("\n\n").nth(4).unwrap().0 + 2;
        let broken = format!("{}{error}{}", &stream[..cut], &stream[cut..]);
        let (out, end, pipe) = piped(translation, [broken.as_bytes()], &plain());
        assert_eq!((end, check(translation, &out).ended), (End::Failed, Ended::CutShort));
        assert!(pipe.error().is_some());
    }
}

#[test]
fn a_refusal_stands_in_its_own_place_and_a_filter_is_named() {
    let part = json!({ "type": "refusal", "refusal": "I cannot do that." });
    let refusal =
        json!({ "id": "msg_1", "type": "message", "status": "completed", "role": "assistant", "content": [part] });
    let told = choice(from_gpt(&[refusal], "completed", &plain()));
    assert_eq!((&told["message"]["refusal"], &told["message"]["content"]), (&json!("I cannot do that."), &Value::Null));
    assert_eq!(told["finish_reason"], "stop");
    let told = choice(from_claude(&[text("I cannot")], "refusal", &plain()));
    assert_eq!((&told["finish_reason"], &told["message"]["content"]), (&json!("content_filter"), &json!("I cannot")));
}

#[test]
fn a_client_of_the_older_functions_reads_a_call_in_its_own_place() {
    let chat = openai_chat::Asked { legacy_functions: true, ..Default::default() };
    let way_back = WayBack { chat, ..WayBack::default() };
    for told in [
        from_claude(&[tool_use("toolu_1", &json!({ "a": 1 }))], "tool_use", &way_back),
        from_gpt(&[function_call("call_1", "run", "{\"a\":1}")], "completed", &way_back),
    ] {
        let told = choice(told);
        assert_eq!(told["finish_reason"], "function_call");
        assert_eq!(told["message"]["function_call"], json!({ "name": "run", "arguments": "{\"a\":1}" }));
    }
}

#[test]
fn a_tool_that_takes_any_text_is_called_with_it_on_both_vendors() {
    let custom = json!([{ "type": "custom", "name": "patch" }]);
    let wrapped = offering(&custom);
    let call = json!({ "type": "tool_use", "id": "toolu_1", "name": "patch", "input": { "input": "+ \"x\"\n" } });
    let claude = choice(from_claude(&[call], "tool_use", &wrapped));
    let item = json!({ "id": "ctc_1", "type": "custom_tool_call", "status": "completed", "call_id": "toolu_1", "name": "patch", "input": "+ \"x\"\n" });
    let gpt = choice(from_gpt(&[item], "completed", &plain()));
    assert_eq!(claude, gpt);
    let wanted = json!([{ "id": "toolu_1", "type": "custom", "custom": { "name": "patch", "input": "+ \"x\"\n" } }]);
    assert_eq!(gpt["message"]["tool_calls"], wanted);
}

#[test]
fn a_stream_with_oddities_of_its_upstream_is_understood() {
    let mut events = gpt(&[reasoning("rs_1", &["a", "b"], "gA"), message("hello")], "completed");
    events.retain(|event| !event["type"].as_str().unwrap().contains("_part."));
    events.insert(3, json!({ "type": "keepalive" }));
    let stream =
        events.iter().fold(String::new(), |all, event| all + &format!("data:{event}\r\n\r\n: comment\r\n\r\n"));
    let message = completed(&checked(C_TO_R, &stream, &asking_for_usage()))["choices"][0]["message"].clone();
    assert_eq!((&message["reasoning_content"], &message["content"]), (&json!("a\n\nb"), &json!("hello")));
    let stream = claude(&[text("hello")], "end_turn")
        .iter()
        .fold(String::new(), |all, event| all + &format!("data: {event}\n\n"));
    assert_eq!(completed(&checked(C_TO_A, &stream, &asking_for_usage()))["choices"][0]["message"]["content"], "hello");
}

#[test]
fn an_empty_answer_is_an_answer() {
    for told in [from_claude(&[], "end_turn", &plain()), from_gpt(&[], "completed", &plain())] {
        assert_eq!(
            choice(told),
            json!({ "index": 0, "message": { "role": "assistant", "content": "", "refusal": null, "annotations": [] }, "logprobs": null, "finish_reason": "stop" })
        );
    }
}

#[test]
fn an_answer_in_the_other_form_than_was_asked_for_says_the_same() {
    let blocks = [
        json!({ "type": "thinking", "thinking": "hm", "signature": "Eq" }),
        text("a\n"),
        tool_use("t1", &json!({ "a": 1 })),
    ];
    let refusal = json!({ "id": "msg_2", "type": "message", "role": "assistant", "content": [{ "type": "refusal", "refusal": "no" }] });
    let items = [reasoning("rs_1", &["hm"], "gA"), message("a\n"), function_call("c1", "run", "{\"a\":1}"), refusal];
    for (translation, stream, whole) in [
        (C_TO_A, wire(&claude(&blocks, "tool_use")), claude_whole(&blocks, "tool_use")),
        (C_TO_R, wire(&gpt(&items, "completed")), gpt_whole(&items, "completed")),
    ] {
        let (whole, way_back) = (whole.to_string(), asking_for_usage());
        let direct = translation.answer(whole.as_bytes(), NOW, &way_back).unwrap();
        let gathered = translation.answer_of_stream(stream.as_bytes(), NOW, &way_back).unwrap().unwrap();
        assert_eq!(String::from_utf8_lossy(&direct), String::from_utf8_lossy(&gathered));
        let told = translation.stream_of_answer(whole.as_bytes(), NOW, &way_back).unwrap();
        let told = grammar::chat(&told, true).unwrap();
        let direct: Value = serde_json::from_slice(&direct).unwrap();
        assert_eq!(completed(&told), direct);
        let cut = &stream[..stream.len() / 2];
        assert!(translation.answer_of_stream(cut.as_bytes(), NOW, &way_back).is_err());
    }
}
