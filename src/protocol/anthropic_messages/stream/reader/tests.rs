use super::*;
use crate::protocol::canonical::Usage;

/// Tells the deltas of a stream, one line each.
fn read_all(events: &[&str]) -> Result<Vec<String>, AnswerError> {
    let (mut reader, mut told) = (Reader::default(), Vec::new());
    for data in events {
        reader.read(Event { name: b"", data: data.as_bytes() }, &mut |delta| told.push(tell(&delta)))?;
    }
    Ok(told)
}

fn tell(delta: &Delta<'_>) -> String {
    match delta {
        Delta::Started { id, model } => format!("started {id} {model}"),
        Delta::Untold => "untold".into(),
        Delta::Opened { block, opening: Opening::Call { id, name, .. } } => format!("{block} opens: call {id} {name}"),
        Delta::Opened { block, opening } => format!("{block} opens: {opening:?}"),
        Delta::More { block, piece: Piece::Text(text) | Piece::Reasoning(text) | Piece::Arguments(text) } => {
            format!("{block} says {}", text.text())
        }
        Delta::Proved { block, proof } => format!("{block} is proved by {proof:?}"),
        Delta::Closed { block } => format!("{block} closes"),
        Delta::Ended { stop, usage, .. } => format!("ended {stop:?} {usage:?}"),
        Delta::Failed(data) => format!("failed {}", String::from_utf8_lossy(data)),
    }
}

const START: &str = r#"{"type":"message_start","message":{"id":"msg_1","model":"c","content":[],"usage":{"input_tokens":9,"cache_read_input_tokens":4,"output_tokens":1}}}    "#;
const STOP: &str = r#"{"type":"message_stop"}"#;

fn ended(stop: StopReason, usage: Usage) -> String {
    format!("ended {stop:?} {usage:?}")
}

#[test]
fn usage_is_the_last_word_on_each_count_over_both_events() {
    let started = Usage { uncached_tokens: 9, cache_read_tokens: 4, output_tokens: 1, ..Usage::default() };
    for (delta, usage) in [
        (r#"{"output_tokens":20}"#, Usage { output_tokens: 20, ..started }),
        (
            r#"{"input_tokens":10,"cache_read_input_tokens":0,"output_tokens":20,"cache_creation_input_tokens":null}"#,
            Usage { uncached_tokens: 10, cache_read_tokens: 0, output_tokens: 20, ..Usage::default() },
        ),
    ] {
        let delta = format!(r#"{{"type":"message_delta","delta":{{"stop_reason":"max_tokens"}},"usage":{delta}}}"#);
        let deltas = read_all(&[START, &delta, STOP]).unwrap();
        assert_eq!(deltas[1..], [ended(StopReason::MaxTokens, usage)]);
    }
}

#[test]
fn a_stream_without_usage_or_stop_reason_still_ends() {
    let start = r#"{"type":"message_start","message":{"id":"m","model":"c"}}"#;
    let deltas = read_all(&[start, STOP, STOP]).unwrap();
    assert_eq!(deltas[1..], [ended(StopReason::EndTurn, Usage::default())]);
}

#[test]
fn blocks_are_numbered_as_they_are_carried_and_the_rest_is_skipped() {
    let deltas = read_all(&[
        START,
        r#"{"type": "ping"}"#,
        r#"{"type":"content_block_start","index":0,"content_block":{"type":"thinking","thinking":"","signature":""}}"#,
        r#"{"type":"content_block_delta","index":0,"delta":{"type":"thinking_delta","thinking":"hm"}}"#,
        r#"{"type":"content_block_delta","index":0,"delta":{"type":"signature_delta","signature":"Eq"}}"#,
        r#"{"type":"content_block_delta","index":0,"delta":{"type":"signature_delta","signature":"QB\u003d"}}"#,
        r#"{"type":"content_block_stop","index":0}"#,
        r#"{"type":"content_block_start","index":1,"content_block":{"type":"redacted_thinking","data":"x"}}"#,
        r#"{"type":"content_block_stop","index":1}"#,
        r#"{"type":"content_block_start","index":2,"content_block":{"type":"server_tool_use","id":"srvtoolu_1","name":"web_search","input":{}}}"#,
        r#"{"type":"content_block_delta","index":2,"delta":{"type":"input_json_delta","partial_json":"{\"query\":1}"}}"#,
        r#"{"type":"content_block_stop","index":2}"#,
        r#"{"type":"content_block_start","index":3,"content_block":{"type":"text","text":"a"}}"#,
        r#"{"type":"content_block_delta","index":3,"delta":{"type":"text_delta","text":"\u00e9"}}"#,
        r#"{"type":"content_block_delta","index":3,"delta":{"type":"citations_delta","citation":{"text":"q"}}}"#,
        r#"{"type":"content_block_stop","index":3}"#,
        r#"{"type":"something_new","x":1}"#,
    ]);
    insta::assert_snapshot!(deltas.unwrap().join("\n"), @r#"
    started msg_1 c
    0 opens: Reasoning
    0 says hm
    0 is proved by Signature("EqQB=")
    0 closes
    1 opens: Reasoning
    1 is proved by Redacted("x")
    1 closes
    untold
    2 opens: Text
    2 says a
    2 says é
    2 closes
    "#);
}

#[test]
fn the_arguments_of_a_call_come_as_they_come() {
    let call = r#"{"type":"content_block_start","index":0,"content_block":{"type":"tool_use","id":"toolu_1","name":"Bash","input":{},"caller":{"type":"direct"}}}"#;
    let early = r#"{"type":"content_block_start","index":1,"content_block":{"type":"tool_use","id":"toolu_2","name":"Read","input":{"n": 1.10}}}"#;
    let deltas = read_all(&[
        START,
        call,
        r#"{"type":"content_block_delta","index":0,"delta":{"type":"input_json_delta","partial_json":""}}"#,
        r#"{"type":"content_block_delta","index":0,"delta":{"type":"input_json_delta","partial_json":"{\"n\": 123456789"}}"#,
        r#"{"type":"content_block_delta","index":0,"delta":{"type":"input_json_delta","partial_json":"01234567890}"}}"#,
        r#"{"type":"content_block_stop","index":0}"#,
        early,
        r#"{"type":"content_block_stop","index":1}"#,
        r#"{"type":"message_delta","delta":{"stop_reason":"tool_use"},"usage":{"output_tokens":5}}"#,
        STOP,
    ]);
    insta::assert_snapshot!(deltas.unwrap().join("\n"), @r#"
    started msg_1 c
    0 opens: call toolu_1 Bash
    0 says {"n": 123456789
    0 says 01234567890}
    0 closes
    1 opens: call toolu_2 Read
    1 says {"n": 1.10}
    1 closes
    ended ToolUse Usage { uncached_tokens: 9, cache_read_tokens: 4, cache_write_tokens: 0, output_tokens: 5, thinking_tokens: 0 }
    "#);
}

#[test]
fn tool_use_without_a_call_is_the_end_of_the_turn() {
    let stop = r#"{"type":"message_delta","delta":{"stop_reason":"tool_use"}}"#;
    let deltas = read_all(&[r#"{"type":"message_start","message":{"id":"m","model":"c"}}"#, stop, STOP]).unwrap();
    assert_eq!(deltas[1..], [ended(StopReason::EndTurn, Usage::default())]);
}

#[test]
fn a_block_that_is_never_closed_is_closed_by_the_next_or_the_end() {
    let text = r#"{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}"#;
    let deltas = read_all(&[START, text, text, STOP]).unwrap();
    assert_eq!(deltas[1..5], ["0 opens: Text", "0 closes", "1 opens: Text", "1 closes"]);
}

#[test]
fn an_error_event_is_told_with_its_data() {
    let error = r#"{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}"#;
    assert_eq!(read_all(&[error]).unwrap(), [format!("failed {error}")]);
}

#[test]
fn content_without_a_beginning_and_broken_json_are_malformed() {
    assert!(read_all(&[r#"{"type":"content_block_delta","delta":{"text":"a"}}"#]).is_err());
    assert!(read_all(&[STOP]).is_err());
    assert!(read_all(&[START, r#"{"type":"content_block_delta","delta":{"text":"a""#]).is_err());
    assert!(read_all(&[START, r#"{"type":"content_block_delta","delta":{"text":7}}"#]).is_err());
}

#[test]
fn a_scanned_delta_is_what_the_parser_reads() {
    let mut scans = 0;
    for (delta, usual) in [
        (r#"{"type":"text_delta","text":"caf\u00e9 \"x\"}"}"#, true),
        (r#"{"type":"input_json_delta","partial_json":"{\"a\":[{"}"#, true),
        (r#"{"type":"thinking_delta","thinking":""}"#, true),
        (r#"{"type":"signature_delta","signature":"Eq"}"#, false),
        (r#"{"text":"x","type":"text_delta"}"#, false),
        (r#"{"type":"text_delta","text":"x","more":1}"#, false),
        (r#"{"type":"text_delta","text":null}"#, false),
        (r#"{"type": "text_delta","text":"x"}"#, false),
        (r#"{"type":"text_delta","text":"\x"}"#, false),
    ] {
        let data = format!(r#"{{"type":"content_block_delta","index":0,"delta":{delta} }}   "#);
        let scanned = scanned(data.as_bytes());
        scans += usize::from(scanned.is_some());
        assert_eq!(scanned.is_some(), usual, "{delta}");
        if let Some(scanned) = scanned {
            assert_eq!(scanned, parsed::<BlockDelta<'_>>(data.as_bytes()).unwrap().delta, "{delta}");
        }
        for cut in 0..data.trim_end().len() {
            assert!(super::scanned(&data.as_bytes()[..cut]).is_none(), "{delta} cut at {cut}");
        }
    }
    assert_eq!(scans, 3);
}
