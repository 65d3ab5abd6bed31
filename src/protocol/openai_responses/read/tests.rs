use super::*;
use crate::protocol::canonical::{Block, Proof, Usage};

#[test]
fn a_scanned_delta_is_what_the_parser_reads() {
    for (data, usual) in [
        (
            r#"{"type":"response.output_text.delta","sequence_number":4,"item_id":"msg_1","output_index":12,"content_index":3,"delta":"caf\u00e9 \"}","logprobs":[{"a":"]}"}],"obfuscation":"x"}  "#,
            true,
        ),
        (r#"{"type":"x","output_index":0,"summary_index":1,"delta":""}"#, true),
        (r#"{"delta":"a"}"#, false),
        (r#"{"output_index":1}"#, false),
        (r#"{"output_index":1,"delta":null}"#, false),
        (r#"{"output_index":-1,"delta":"a"}"#, false),
        (r#"{"output_index":01,"delta":"a"}"#, false),
        (r#"{"output_index":1.5,"delta":"a"}"#, false),
        (r#"{"output_index":1,"delta":"a","arguments":"b"}"#, false),
    ] {
        let scanned = scanned(data.as_bytes());
        assert_eq!(scanned.is_some(), usual, "{data}");
        if let Some(scanned) = scanned {
            assert_eq!(scanned, parsed::<Inside<'_>>(data.as_bytes()).unwrap(), "{data}");
        }
        for cut in 0..data.trim_end().len() {
            assert!(super::scanned(&data.as_bytes()[..cut]).is_none(), "{data} cut at {cut}");
        }
    }
}

#[test]
fn an_answer_is_read_with_its_reasoning_calls_and_usage() {
    let body = br#"{"id":"resp_1","object":"response","model":"gpt","status":"completed","error":null,"output":[
        {"id":"rs_1","type":"reasoning","summary":[{"type":"summary_text","text":"a"},{"type":"summary_text","text":"b"}],"encrypted_content":"gA"},
        {"id":"ws_1","type":"web_search_call","status":"completed"},
        {"id":"fc_1","type":"function_call","call_id":"c1","name":"run","arguments":"{\"a\":1.10}"}],
        "usage":{"input_tokens":10,"input_tokens_details":{"cached_tokens":4},"output_tokens":5,"output_tokens_details":{"reasoning_tokens":2}}}"#;
    let answer = read_answer(body).unwrap();
    assert_eq!((answer.stop, answer.blocks.len()), (StopReason::ToolUse, 2));
    let Block::Reasoning(reasoning) = &answer.blocks[0] else { panic!("{answer:?}") };
    let proof = Proof::Encrypted { id: "rs_1".into(), content: "gA".into(), summary: vec!["a".into(), "b".into()] };
    assert_eq!((&*reasoning.text, reasoning.proof.as_ref()), ("a\n\nb", Some(&proof)));
    let Block::Call(call) = &answer.blocks[1] else { panic!("{answer:?}") };
    assert_eq!((&*call.id, &*call.arguments), ("c1", "{\"a\":1.10}"));
    let usage =
        Usage { uncached_tokens: 6, cache_read_tokens: 4, output_tokens: 5, thinking_tokens: 2, ..Usage::default() };
    assert_eq!(answer.usage, usage);
}

#[test]
fn why_an_answer_ended_is_read_from_its_state_and_content() {
    let call = Content { has_call: true, ..Content::default() };
    let refusal = Content { has_refusal: true, ..Content::default() };
    let filter = Str("content_filter".into());
    for (status, reason, content, stop) in [
        ("completed", None, Content::default(), Some(StopReason::EndTurn)),
        ("completed", None, call, Some(StopReason::ToolUse)),
        ("completed", None, refusal, Some(StopReason::Refusal)),
        ("incomplete", None, call, Some(StopReason::MaxTokens)),
        ("incomplete", Some(&filter), call, Some(StopReason::Refusal)),
        ("failed", None, call, None),
        ("cancelled", None, Content::default(), None),
    ] {
        assert_eq!(stop_reason(status, reason, content), stop, "{status}");
    }
}

#[test]
fn what_is_no_answer_is_malformed_and_not_quoted() {
    for body in [
        "",
        "[]",
        r#"{"id":{"secret":1}}"#,
        r#"{"id":"x","output":"secret"}"#,
        "<html>secret",
        r#"{"id":"r","status":"failed"}"#,
    ] {
        let error = read_answer(body.as_bytes()).unwrap_err();
        assert!(!error.to_string().contains("secret"), "{error}");
    }
}

#[test]
fn a_stream_of_too_many_items_is_not_read_on() {
    let mut reader = Reader::default();
    let mut read = |data: &str| reader.read(Event { name: b"", data: data.as_bytes() }, &mut |_| {});
    read(r#"{"type":"response.created","response":{"id":"r","model":"m"}}"#).unwrap();
    let mut last = Ok(());
    for index in 0..=ITEMS_MAX {
        last = read(&format!(
            r#"{{"type":"response.output_item.added","output_index":{index},"item":{{"type":"message"}}}}"#
        ));
    }
    assert!(last.is_err());
}

#[test]
fn text_whose_item_nobody_announced_is_still_told() {
    let mut reader = Reader::default();
    let mut told = Vec::new();
    for data in [
        r#"{"type":"response.created","response":{"id":"r","model":"m"}}"#,
        r#"{"type":"response.output_text.delta","output_index":0,"content_index":0,"delta":"a"}"#,
        r#"{"type":"response.completed","response":{"id":"r","status":"completed"}}"#,
    ] {
        let event = Event { name: b"", data: data.as_bytes() };
        reader.read(event, &mut |delta| told.push(format!("{delta:?}"))).unwrap();
    }
    let kinds: Vec<&str> = told.iter().map(|delta| delta.split(' ').next().unwrap_or_default()).collect();
    assert_eq!(kinds, ["Started", "Opened", "More", "Closed", "Ended"]);
}
