//! What one model thought, kept by the other API's client and sent back: it arrives as it left.

use super::*;

#[test]
fn claudes_thinking_comes_back_word_for_word_through_codex() {
    let way_back = send(Translation::ResponsesToMessages, &responses(&json!({}))).way_back;
    for thinking in [
        json!({ "type": "thinking", "thinking": "I should \"run\"\n\u{1f980}", "signature": "EqQBCkYIBx/+==" }),
        json!({ "type": "thinking", "thinking": "", "signature": "EqQB" }),
        json!({ "type": "redacted_thinking", "data": "EmwKAhgB" }),
    ] {
        let call = json!({ "type": "tool_use", "id": "toolu_1", "name": "run", "input": { "a": 1 } });
        let blocks = [thinking.clone(), json!({ "type": "text", "text": "Running." }), call];
        let (_, response) = to_codex(&blocks, "tool_use", &way_back);
        let kinds: Vec<&Value> = response["output"].as_array().unwrap().iter().map(|item| &item["type"]).collect();
        assert_eq!(kinds, ["reasoning", "message", "function_call"]);
        let mut items = vec![json!({ "role": "user", "content": "go" })];
        items.extend(response["output"].as_array().unwrap().iter().cloned());
        items.push(json!({ "type": "function_call_output", "call_id": "toolu_1", "output": "ok" }));
        let sent = send(
            Translation::ResponsesToMessages,
            &responses(&json!({ "input": items,
            "reasoning": { "effort": "high" },
            "tools": [{ "type": "function", "name": "run", "parameters": { "type": "object", "properties": {} } }] })),
        );
        assert_eq!(sent.body["messages"][1]["content"][0], thinking, "{}", sent.body);
        assert_eq!(sent.body["messages"][1]["content"][1]["text"], "Running.");
        assert_eq!(sent.body["messages"][1]["content"][2]["input"], json!({ "a": 1 }));
        assert_eq!(sent.dropped, "");
    }
}

#[test]
fn gpts_reasoning_comes_back_word_for_word_through_claude_code() {
    let thought = reasoning("rs_abc", &["First.", "Then \"second\"."], "gAAAAABmock-_=");
    let (_, message) = to_claude_code(&[thought.clone(), function_call("call_1", "run", "{\"a\":1}")], "completed");
    assert_eq!(message["content"][0]["thinking"], "First.\n\nThen \"second\".");
    for shown in [true, false] {
        let mut content = message["content"].clone();
        if !shown {
            // As Claude Code sends it back: the text left out, the signature kept.
            content[0]["thinking"] = json!("");
        }
        let turns = json!([{ "role": "user", "content": "go" }, { "role": "assistant", "content": content },
            { "role": "user", "content": [{ "type": "tool_result", "tool_use_id": "call_1", "content": "ok" }] }]);
        let sent = send(Translation::MessagesToResponses, &messages(&json!({ "messages": turns })));
        assert_eq!(sent.body["input"][1], thought, "shown: {shown}");
        assert_eq!(sent.body["input"][2]["arguments"], "{\"a\":1}");
    }
}

#[test]
fn thinking_that_another_gateway_sealed_is_left_out() {
    let other = Sealer::new(&[7; 32], "elsewhere");
    let seal = other.seal("secret", &crate::protocol::canonical::Proof::Signature("EqQB".into())).unwrap();
    let items = json!([{ "role": "user", "content": "Hi" },
        { "type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": seal },
        { "role": "assistant", "content": "Hello" }, { "role": "user", "content": "go" }]);
    let sent = send(Translation::ResponsesToMessages, &responses(&json!({ "input": items }))).body.to_string();
    assert!(!sent.contains("thinking") && sent.contains("Hello"), "{sent}");
}

#[test]
fn an_image_that_a_tool_showed_arrives() {
    let png = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAAB";
    let turns = json!([{ "role": "user", "content": "look" },
        { "role": "assistant", "content": [{ "type": "tool_use", "id": "t1", "name": "Read", "input": { "f": "a.png" } }] },
        { "role": "user", "content": [{ "type": "tool_result", "tool_use_id": "t1", "content": [
            { "type": "text", "text": "an image" },
            { "type": "image", "source": { "type": "base64", "media_type": "image/png", "data": png } }] }] }]);
    let sent = send(Translation::MessagesToResponses, &messages(&json!({ "messages": turns })));
    let output = &sent.body["input"][2]["output"];
    assert_eq!(output[0], json!({ "type": "input_text", "text": "an image" }));
    assert_eq!(output[1]["image_url"], format!("data:image/png;base64,{png}"));
    let items = json!([{ "role": "user", "content": "look" },
        { "type": "function_call", "call_id": "c1", "name": "view_image", "arguments": "{}" },
        { "type": "function_call_output", "call_id": "c1", "output": [{ "type": "input_image", "image_url": format!("data:image/png;base64,{png}") }] }]);
    let sent = send(Translation::ResponsesToMessages, &responses(&json!({ "input": items })));
    let content = &sent.body["messages"][2]["content"][0]["content"];
    assert_eq!(content[0]["source"], json!({ "type": "base64", "media_type": "image/png", "data": png }));
}

#[test]
fn an_answer_in_the_other_form_than_was_asked_for_says_the_same() {
    let way_back = plain();
    let blocks = [
        json!({ "type": "thinking", "thinking": "hm", "signature": "Eq" }),
        json!({ "type": "text", "text": "a\n" }),
        json!({ "type": "tool_use", "id": "t1", "name": "run", "input": { "a": 1 } }),
    ];
    let items = [reasoning("rs_1", &["hm"], "gA"), message("a\n"), function_call("c1", "run", "{\"a\":1}")];
    for (translation, stream, whole) in [
        (Translation::ResponsesToMessages, wire(&claude(&blocks, "tool_use")), claude_whole(&blocks, "tool_use")),
        (Translation::MessagesToResponses, wire(&gpt(&items, "completed")), gpt_whole(&items, "completed")),
    ] {
        let whole = whole.to_string();
        let direct = translation.answer(whole.as_bytes(), NOW, &way_back).unwrap();
        let gathered = translation.answer_of_stream(stream.as_bytes(), NOW, &way_back).unwrap().unwrap();
        assert_eq!(String::from_utf8_lossy(&direct), String::from_utf8_lossy(&gathered));
        let told = translation.stream_of_answer(whole.as_bytes(), NOW, &way_back).unwrap();
        assert_eq!(check(translation, &told).ended, Ended::Properly);
        let cut = &stream[..stream.len() / 2];
        assert!(translation.answer_of_stream(cut.as_bytes(), NOW, &way_back).is_err());
        let error =
            "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":\"x\"}}\n\n";
        assert!(translation.answer_of_stream(error.as_bytes(), NOW, &way_back).unwrap().is_err());
    }
}
