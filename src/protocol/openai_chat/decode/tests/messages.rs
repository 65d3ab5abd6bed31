//! Messages, their parts, calls and results.

use super::*;

const PNG: &str = "data:image/png;base64,AAAA";

fn text(text: &str) -> Block<'_> {
    Block::Text(text.into())
}

fn call<'a>(id: &'a str, name: &'a str, kind: CallKind, arguments: &'a str) -> Block<'a> {
    Block::Call(Call { id: id.into(), namespace: None, name: name.into(), kind, arguments: arguments.into() })
}

fn result<'a>(id: &'a str, content: Vec<Block<'a>>) -> Turn<'a> {
    Turn { role: Role::User, blocks: vec![Block::Result(CallResult { call: id.into(), content, is_error: false })] }
}

fn assistant(blocks: Vec<Block<'_>>) -> Turn<'_> {
    Turn { role: Role::Assistant, blocks }
}

/// Asserts what the messages behind the user's first one become, and that nothing is lost of them.
fn become_turns(messages: &Value, wanted: &[Turn<'_>]) {
    let mut all = vec![json!({"role": "user", "content": "hi"})];
    all.extend(messages.as_array().unwrap().iter().cloned());
    let body = json!({"messages": all}).to_string();
    let decoded = request(body.as_bytes()).unwrap();
    assert_eq!(&decoded.conversation.turns[1..], wanted);
    assert_eq!(decoded.dropped.header(), None);
}

#[test]
fn calls_and_results_become_blocks() {
    let image = Image::Inline { media_type: "image/png", base64: "AAAA".into() };
    become_turns(
        &json!([
            {"role": "assistant", "content": null, "tool_calls": [
                {"id": "c1", "type": "function", "index": 0, "function": {"name": "run", "arguments": "{\"n\": 1.10}"}},
                {"id": "c2", "type": "custom", "custom": {"name": "patch", "input": "*** \"raw\""}},
            ]},
            {"role": "tool", "tool_call_id": "c1", "name": "run", "content": "done"},
            {"role": "tool", "tool_call_id": "c2", "content": [
                {"type": "text", "text": "look"}, {"type": "image_url", "image_url": {"url": PNG}},
            ]},
            {"role": "assistant", "content": "Well.", "tool_calls": [{"id": "c3", "function": {"name": "run"}}]},
            {"role": "tool", "tool_call_id": "c3", "content": null},
            {"role": "tool", "content": "whose?"},
        ]),
        &[
            assistant(vec![
                call("c1", "run", CallKind::Function, "{\"n\": 1.10}"),
                call("c2", "patch", CallKind::Custom, "*** \"raw\""),
            ]),
            result("c1", vec![text("done")]),
            result("c2", vec![text("look"), Block::Image(image)]),
            assistant(vec![text("Well."), call("c3", "run", CallKind::Function, "")]),
            result("c3", vec![]),
            result("", vec![text("whose?")]),
        ],
    );
}

#[test]
fn arguments_that_are_no_text_are_kept_as_they_stand() {
    let body = br#"{"messages":[{"role":"user","content":"hi"},
        {"role":"assistant","tool_calls":[{"id":"c","function":{"name":"f","arguments":{"b": 12345678901234567890, "a":1.10}}}]}]}"#;
    let turns = request(body).unwrap().conversation.turns;
    assert_eq!(turns[1].blocks, [call("c", "f", CallKind::Function, r#"{"b": 12345678901234567890, "a":1.10}"#)]);
}

#[test]
fn older_calls_find_their_results_by_name_and_order() {
    become_turns(
        &json!([
            {"role": "assistant", "content": null, "function_call": {"name": "f", "arguments": "{}"}},
            {"role": "function", "name": "f", "content": "one"},
            {"role": "assistant", "content": "Again.", "function_call": {"name": "f", "arguments": "{}"}},
            {"role": "assistant", "content": null, "function_call": {"name": "g", "arguments": "{}"}},
            {"role": "function", "name": "g", "content": "three"},
            {"role": "function", "content": "two"},
            {"role": "function", "name": "f", "content": "one too many"},
        ]),
        &[
            assistant(vec![call("function_1", "f", CallKind::Function, "{}")]),
            result("function_1", vec![text("one")]),
            assistant(vec![text("Again."), call("function_3", "f", CallKind::Function, "{}")]),
            assistant(vec![call("function_4", "g", CallKind::Function, "{}")]),
            result("function_4", vec![text("three")]),
            result("function_3", vec![text("two")]),
            result("", vec![text("one too many")]),
        ],
    );
}

/// Seen of Cursor, for models named after Claude.
#[test]
fn content_as_messages_has_it_is_read_too() {
    let image = Image::Inline { media_type: "image/png", base64: "AAAA".into() };
    let failed = CallResult { call: "t1".into(), content: vec![text("no"), Block::Image(image)], is_error: true };
    become_turns(
        &json!([
            {"role": "assistant", "content": [
                {"type": "thinking", "thinking": "hm", "signature": "x"},
                {"type": "text", "text": "Doing."},
                {"type": "tool_use", "id": "t1", "name": "run", "input": {"a": 1}, "caller": {"type": "direct"}},
            ]},
            {"role": "user", "content": [
                {"type": "tool_result", "tool_use_id": "t1", "is_error": true, "content": [
                    {"type": "text", "text": "no"},
                    {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"}},
                ]},
                {"type": "text", "text": "go on", "cache_control": {"type": "ephemeral"}},
            ]},
        ]),
        &[
            assistant(vec![text("Doing."), call("t1", "run", CallKind::Function, "{\"a\":1}")]),
            Turn { role: Role::User, blocks: vec![Block::Result(failed), text("go on")] },
        ],
    );
}

#[test]
fn files_become_documents_and_images() {
    let document = |media_type: &'static str, title: Option<&'static str>| {
        let source = DocumentSource::Inline { media_type: media_type.into(), base64: "JVBERi0=".into() };
        Block::Document(Document { source, title: title.map(Into::into) })
    };
    let url = DocumentSource::Url("https://x/a.pdf".into());
    for (file, wanted) in [
        (
            json!({"file_data": "data:application/pdf;base64,JVBERi0=", "filename": "a.pdf"}),
            document("application/pdf", Some("a.pdf")),
        ),
        (json!({"file_data": "JVBERi0=", "filename": ""}), document("application/pdf", None)),
        (json!({"file_data": "data:text/plain;base64,JVBERi0=", "filename": null}), document("text/plain", None)),
        (json!({"file_data": PNG}), Block::Image(Image::Inline { media_type: "image/png", base64: "AAAA".into() })),
        (json!({"file_data": "https://x/a.pdf"}), Block::Document(Document { source: url, title: None })),
    ] {
        become_turns(
            &json!([{"role": "user", "content": [{"type": "file", "file": file}]}]),
            &[Turn { role: Role::User, blocks: vec![wanted] }],
        );
    }
}

#[test]
fn the_address_of_an_image_may_stand_without_its_object() {
    become_turns(
        &json!([{"role": "user", "content": [{"type": "image_url", "image_url": "https://x/y.png"}]}]),
        &[Turn { role: Role::User, blocks: vec![Block::Image(Image::Url("https://x/y.png".into()))] }],
    );
}

#[test]
fn messages_and_parts_that_cannot_be_carried_are_refused_by_their_path() {
    let image = json!({"type": "image_url", "image_url": {"url": "https://x"}});
    let part = |part: Value| json!({"role": "user", "content": [part]});
    let calls = |call: Value| json!({"role": "assistant", "tool_calls": [call]});
    for (message, param) in [
        (json!({"role": "robot", "content": "x"}), "messages[1].role"),
        (json!({"content": "x"}), "messages[1].role"),
        (json!({"role": "user", "content": "x", "tool_calls": [{"id": "c"}]}), "messages[1].tool_calls"),
        (json!({"role": "user", "content": "x", "function_call": {"name": "f"}}), "messages[1].function_call"),
        (json!({"role": "assistant", "audio": {"id": "a"}}), "messages[1].audio"),
        (calls(json!({"id": "c"})), "messages[1].tool_calls[0].function"),
        (calls(json!({"id": "c", "function": {"arguments": "{}"}})), "messages[1].tool_calls[0].function.name"),
        (calls(json!({"id": "c", "custom": {"input": "x"}})), "messages[1].tool_calls[0].custom.name"),
        (json!({"role": "assistant", "function_call": {"arguments": "{}"}}), "messages[1].function_call.name"),
        (part(json!({"type": "input_audio", "input_audio": {}})), "messages[1].content[0]"),
        (part(json!({"type": "hologram"})), "messages[1].content[0]"),
        (part(json!({"type": "thinking", "thinking": "x"})), "messages[1].content[0]"),
        (part(json!({"type": "tool_use", "id": "t", "name": "n"})), "messages[1].content[0]"),
        (
            part(json!({"type": "tool_result", "content": [{"type": "tool_result"}]})),
            "messages[1].content[0].content[0]",
        ),
        (part(json!({"type": "file"})), "messages[1].content[0].file.file_data"),
        (part(json!({"type": "file", "file": {"file_id": "file-1"}})), "messages[1].content[0].file.file_id"),
        (part(json!({"type": "file", "file": {"file_data": "hello"}})), "messages[1].content[0].file.file_data"),
        (part(json!({"text": "a"})), "messages[1].content[0].type"),
        (part(json!({"type": "text"})), "messages[1].content[0].text"),
        (part(json!({"type": "image_url", "image_url": {}})), "messages[1].content[0].image_url.url"),
        (part(json!({"type": "image_url", "image_url": {"url": "ftp://x"}})), "messages[1].content[0].image_url.url"),
        (part(json!({"type": "image_url", "image_url": "ftp://x"})), "messages[1].content[0].image_url"),
        (part(json!({"type": "image"})), "messages[1].content[0].source.data"),
        (json!({"role": "system", "content": [image]}), "messages[1].content[0]"),
        (json!({"role": "assistant", "content": [image]}), "messages[1].content[0]"),
    ] {
        let body = json!({"messages": [{"role": "user", "content": "hi"}, message]});
        assert_eq!(refused(&body).param.as_deref(), Some(param), "{message}");
    }
}
