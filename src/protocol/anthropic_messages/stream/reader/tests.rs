use super::*;
use crate::protocol::canonical::{Piece, Usage};

fn read_all<'a>(events: &[&'a str]) -> Result<Vec<Delta<'a>>, AnswerError> {
    let mut reader = Reader::default();
    let read = events.iter().map(|data| reader.read(Event { name: b"", data: data.as_bytes() }));
    Ok(read.collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect())
}

const START: &str = r#"{"type":"message_start","message":{"id":"msg_1","model":"c","content":[],"usage":{"input_tokens":9,"cache_read_input_tokens":4,"output_tokens":1}}}    "#;
const STOP: &str = r#"{"type":"message_stop"}"#;

fn ended(stop: StopReason, usage: Usage) -> Delta<'static> {
    Delta::Ended { stop, usage }
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
fn text_and_thinking_are_carried_and_the_rest_is_skipped() {
    let deltas = read_all(&[
        START,
        r#"{"type": "ping"}"#,
        r#"{"type":"content_block_start","index":0,"content_block":{"type":"thinking","thinking":"","signature":""}}"#,
        r#"{"type":"content_block_delta","index":0,"delta":{"type":"thinking_delta","thinking":"hm"}}"#,
        r#"{"type":"content_block_delta","index":0,"delta":{"type":"signature_delta","signature":"Eq"}}"#,
        r#"{"type":"content_block_stop","index":0}"#,
        r#"{"type":"content_block_start","index":1,"content_block":{"type":"redacted_thinking","data":"x"}}"#,
        r#"{"type":"content_block_start","index":2,"content_block":{"type":"text","text":"a"}}"#,
        r#"{"type":"content_block_delta","index":2,"delta":{"type":"text_delta","text":"\u00e9"}}"#,
        r#"{"type":"content_block_delta","index":2,"delta":{"type":"citations_delta","citation":{"text":"q"}}}"#,
        r#"{"type":"something_new","x":1}"#,
    ]);
    assert_eq!(
        deltas.unwrap()[1..],
        [
            Delta::More(Piece::Thinking("".into())),
            Delta::More(Piece::Thinking("hm".into())),
            Delta::Untold,
            Delta::More(Piece::Text("a".into())),
            Delta::More(Piece::Text("\u{e9}".into())),
        ]
    );
}

#[test]
fn an_error_event_is_told_with_its_data() {
    let error = r#"{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}"#;
    assert_eq!(read_all(&[error]).unwrap(), [Delta::Failed(error.as_bytes())]);
}

#[test]
fn content_without_a_beginning_and_broken_json_are_malformed() {
    assert!(read_all(&[r#"{"type":"content_block_delta","delta":{"text":"a"}}"#]).is_err());
    assert!(read_all(&[STOP]).is_err());
    assert!(read_all(&[START, r#"{"type":"content_block_delta","delta":{"text":"a""#]).is_err());
}
