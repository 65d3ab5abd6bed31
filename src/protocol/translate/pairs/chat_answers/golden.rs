//! Golden streams. `INSTA_UPDATE=always` writes them anew.

use super::*;

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
