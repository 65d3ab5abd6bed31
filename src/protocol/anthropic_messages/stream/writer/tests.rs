use super::*;
use crate::protocol::canonical::CallKind;
use crate::protocol::grammar::{self, Ended};

fn call(block: u32, id: &'static str, name: &'static str) -> Delta<'static> {
    let opening = Opening::Call { id: id.into(), namespace: None, name: name.into(), kind: CallKind::Function };
    Delta::Opened { block, opening }
}

fn arguments(block: u32, text: &str) -> Delta<'_> {
    Delta::More { block, piece: Piece::Arguments(text.into()) }
}

fn said(block: u32, text: &str) -> Delta<'_> {
    Delta::More { block, piece: Piece::Text(text.into()) }
}

fn thought(block: u32, text: &str) -> Delta<'_> {
    Delta::More { block, piece: Piece::Reasoning(text.into()) }
}

fn sealed(block: u32) -> Delta<'static> {
    Delta::Proved { block, proof: Proof::Sealed("ZHVv".into()) }
}

/// Writes a whole stream around some deltas; it must keep to the grammar.
fn written(deltas: Vec<Delta<'_>>, stop: StopReason) -> String {
    let (mut writer, mut out) = (Writer::default(), Vec::new());
    let usage = CanonicalUsage { output_tokens: 13, thinking_tokens: 3, ..CanonicalUsage::of_input(23, 7, 11) };
    writer.write(&Delta::Started { id: "resp_0a".into(), model: "gpt-\"x\"".into() }, &mut out);
    for delta in deltas {
        writer.write(&delta, &mut out);
    }
    writer.write(&Delta::Ended { stop, stop_text: None, usage }, &mut out);
    let checked = grammar::messages(&out).unwrap();
    assert_eq!(checked.ended, Ended::Properly);
    String::from_utf8(out).unwrap()
}

/// Returns the events between the first and the last two, in short.
fn content(deltas: Vec<Delta<'_>>, stop: StopReason) -> Vec<String> {
    let out = written(deltas, stop);
    let checked = grammar::messages(out.as_bytes()).unwrap();
    let short = |event: &serde_json::Value| {
        let index = &event["index"];
        match event["type"].as_str().unwrap() {
            "content_block_start" => format!("{index} starts {}", event["content_block"]["type"].as_str().unwrap()),
            "content_block_stop" => format!("{index} stops"),
            "content_block_delta" => {
                let mut delta = event["delta"].as_object().unwrap().clone();
                delta.remove("type");
                format!("{index} {}", delta.values().next().unwrap())
            }
            other => other.to_owned(),
        }
    };
    let events = &checked.events;
    events[1..events.len() - 2].iter().map(short).collect()
}

#[test]
fn an_answer_with_thinking_text_and_a_call_is_a_stream_of_messages() {
    let deltas = vec![
        Delta::Opened { block: 0, opening: Opening::Reasoning },
        thought(0, "hm"),
        sealed(0),
        Delta::Closed { block: 0 },
        Delta::Opened { block: 1, opening: Opening::Text },
        said(1, "caf\u{e9}\n\"\u{1f980}"),
        Delta::Closed { block: 1 },
        call(2, "call_1", "Bash"),
        arguments(2, "{\"a\":"),
        arguments(2, "1.10}"),
        Delta::Closed { block: 2 },
    ];
    insta::assert_snapshot!(written(deltas, StopReason::ToolUse), @r#"
    event: message_start
    data: {"type":"message_start","message":{"id":"msg_0a","type":"message","role":"assistant","model":"gpt-\"x\"","content":[],"stop_reason":null,"stop_sequence":null,"usage":{"input_tokens":0,"cache_creation_input_tokens":0,"cache_read_input_tokens":0,"output_tokens":0,"output_tokens_details":{"thinking_tokens":0}}}}

    event: content_block_start
    data: {"type":"content_block_start","index":0,"content_block":{"type":"thinking","thinking":"","signature":""}}

    event: content_block_delta
    data: {"type":"content_block_delta","index":0,"delta":{"type":"thinking_delta","thinking":"hm"}}

    event: content_block_delta
    data: {"type":"content_block_delta","index":0,"delta":{"type":"signature_delta","signature":"ZHVv"}}

    event: content_block_stop
    data: {"type":"content_block_stop","index":0}

    event: content_block_start
    data: {"type":"content_block_start","index":1,"content_block":{"type":"text","text":""}}

    event: content_block_delta
    data: {"type":"content_block_delta","index":1,"delta":{"type":"text_delta","text":"café\n\"🦀"}}

    event: content_block_stop
    data: {"type":"content_block_stop","index":1}

    event: content_block_start
    data: {"type":"content_block_start","index":2,"content_block":{"type":"tool_use","id":"call_1","name":"Bash","input":{}}}

    event: content_block_delta
    data: {"type":"content_block_delta","index":2,"delta":{"type":"input_json_delta","partial_json":"{\"a\":"}}

    event: content_block_delta
    data: {"type":"content_block_delta","index":2,"delta":{"type":"input_json_delta","partial_json":"1.10}"}}

    event: content_block_stop
    data: {"type":"content_block_stop","index":2}

    event: message_delta
    data: {"type":"message_delta","delta":{"stop_reason":"tool_use","stop_sequence":null},"usage":{"input_tokens":5,"cache_creation_input_tokens":11,"cache_read_input_tokens":7,"output_tokens":13,"output_tokens_details":{"thinking_tokens":3}}}

    event: message_stop
    data: {"type":"message_stop"}
    "#);
}

#[test]
fn calls_that_come_interleaved_follow_one_another() {
    let deltas = vec![
        call(0, "call_1", "Read"),
        call(1, "call_2", "Bash"),
        arguments(1, "{\"b\""),
        arguments(0, "{\"a\""),
        call(2, "call_3", "Edit"),
        arguments(1, ":2}"),
        Delta::Closed { block: 1 },
        arguments(0, ":1}"),
        Delta::Closed { block: 0 },
        arguments(2, "{}"),
        Delta::Closed { block: 2 },
    ];
    assert_eq!(
        content(deltas, StopReason::ToolUse),
        [
            "0 starts tool_use",
            r#"0 "{\"a\"""#,
            r#"0 ":1}""#,
            "0 stops",
            "1 starts tool_use",
            r#"1 "{\"b\":2}""#,
            "1 stops",
            "2 starts tool_use",
            r#"2 "{}""#,
            "2 stops"
        ]
    );
}

#[test]
fn the_first_of_two_calls_is_told_as_it_comes() {
    let (mut writer, mut out) = (Writer::default(), Vec::new());
    writer.write(&Delta::Started { id: "m".into(), model: "x".into() }, &mut out);
    writer.write(&call(0, "a", "A"), &mut out);
    writer.write(&call(1, "b", "B"), &mut out);
    out.clear();
    writer.write(&arguments(1, "{\"held back\":1"), &mut out);
    assert!(out.is_empty());
    writer.write(&arguments(0, "{\"at once\":1"), &mut out);
    assert!(String::from_utf8(out).unwrap().contains("at once"));
}

#[test]
fn reasoning_that_is_hidden_is_a_thinking_block_without_text_and_with_its_signature() {
    let deltas = vec![
        Delta::Opened { block: 0, opening: Opening::Reasoning },
        sealed(0),
        Delta::Closed { block: 0 },
        Delta::Opened { block: 1, opening: Opening::Reasoning },
        Delta::Closed { block: 1 },
        Delta::Opened { block: 2, opening: Opening::Text },
        said(2, ""),
        Delta::Closed { block: 2 },
        Delta::Untold,
        Delta::Opened { block: 3, opening: Opening::Text },
        said(3, "x"),
        Delta::Closed { block: 3 },
    ];
    assert_eq!(
        content(deltas, StopReason::EndTurn),
        ["0 starts thinking", r#"0 "ZHVv""#, "0 stops", "1 starts text", r#"1 "x""#, "1 stops"]
    );
}

#[test]
fn a_call_without_arguments_has_none() {
    let deltas = vec![call(0, "call:1", "Now"), Delta::Closed { block: 0 }];
    assert_eq!(content(deltas, StopReason::ToolUse), ["0 starts tool_use", "0 stops"]);
}

#[test]
fn a_call_that_was_cut_off_is_told_as_the_limit() {
    let deltas = vec![call(0, "c", "Bash"), arguments(0, "{\"command\":\"rm"), Delta::Closed { block: 0 }];
    assert!(written(deltas, StopReason::MaxTokens).contains(r#""stop_reason":"max_tokens""#));
}

#[test]
fn blocks_that_nobody_closed_are_closed_before_the_end() {
    let deltas = vec![call(0, "a", "A"), call(1, "b", "B"), arguments(1, "{}")];
    assert_eq!(
        content(deltas, StopReason::ToolUse),
        ["0 starts tool_use", "0 stops", "1 starts tool_use", r#"1 "{}""#, "1 stops"]
    );
}

#[test]
fn what_waits_is_bounded() {
    let (mut writer, mut out) = (Writer::default(), Vec::new());
    writer.write(&Delta::Started { id: "m".into(), model: "x".into() }, &mut out);
    writer.write(&call(0, "a", "A"), &mut out);
    writer.write(&call(1, "b", "B"), &mut out);
    let much = "x".repeat(1024 * 1024);
    for _ in 0..20 {
        writer.write(&arguments(1, &much), &mut out);
        assert!(writer.waiting_bytes <= WAITING_BYTES_MAX);
    }
    assert!(out.len() > 20 * much.len(), "all of it was told");
}
