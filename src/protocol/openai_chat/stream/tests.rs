use super::*;

const USAGE: Asked = Asked { include_usage: true, legacy_functions: false };
const LEGACY: Asked = Asked { include_usage: false, legacy_functions: true };

/// Writes a stream; of every chunk only what differs is shown.
fn written(asked: Asked, texts: Texts, deltas: Vec<Delta<'_>>) -> String {
    let mut writer = ChunkWriter::new(Timestamp::from_secs(1_700_000_000), asked, texts);
    let mut out = Vec::new();
    writer.write(&Delta::Started { id: "msg_01AB".into(), model: "claude-\"x\"".into() }, &mut out);
    for delta in &deltas {
        writer.write(delta, &mut out);
    }
    assert!(writer.calls.is_empty(), "nothing is kept of a call that is over");
    String::from_utf8(out).unwrap()
}

fn choices(asked: Asked, texts: Texts, deltas: Vec<Delta<'_>>) -> String {
    let text = written(asked, texts, deltas);
    let chunks = text.split("\n\n").filter_map(|event| event.split_once("\"delta\":"));
    chunks.fold(String::new(), |all, (_, rest)| {
        let (delta, reason) = rest.split_once(",\"logprobs\":null,\"finish_reason\":").unwrap();
        format!("{all}{delta} {}\n", reason.trim_end_matches("}]}"))
    })
}

fn text(block: u32, text: &str) -> Delta<'_> {
    Delta::More { block, piece: Piece::Text(text.into()) }
}

fn thought(block: u32, text: &str) -> Delta<'_> {
    Delta::More { block, piece: Piece::Reasoning(text.into()) }
}

fn arguments(block: u32, text: &str) -> Delta<'_> {
    Delta::More { block, piece: Piece::Arguments(text.into()) }
}

fn call(block: u32, id: &'static str, kind: CallKind) -> Delta<'static> {
    Delta::Opened { block, opening: Opening::Call { id: id.into(), namespace: None, name: "run".into(), kind } }
}

fn ended(stop: StopReason) -> Delta<'static> {
    let usage = CanonicalUsage { uncached_tokens: 3, output_tokens: 4, ..CanonicalUsage::default() };
    Delta::Ended { stop, stop_text: None, usage }
}

fn plain() -> Vec<Delta<'static>> {
    vec![thought(0, ""), thought(0, "hm"), Delta::Untold, text(1, "caf\u{e9}\n\"\u{1f980}"), ended(StopReason::EndTurn)]
}

#[test]
fn chunks_begin_with_the_role_and_end_with_the_reason_and_done() {
    insta::assert_snapshot!(written(Asked::default(), Texts::Joined, plain()), @r#"
    data: {"id":"chatcmpl-01AB","object":"chat.completion.chunk","created":1700000000,"model":"claude-\"x\"","choices":[{"index":0,"delta":{"role":"assistant"},"logprobs":null,"finish_reason":null}]}

    data: {"id":"chatcmpl-01AB","object":"chat.completion.chunk","created":1700000000,"model":"claude-\"x\"","choices":[{"index":0,"delta":{"reasoning_content":"hm"},"logprobs":null,"finish_reason":null}]}

    data: {"id":"chatcmpl-01AB","object":"chat.completion.chunk","created":1700000000,"model":"claude-\"x\"","choices":[{"index":0,"delta":{"content":"café\n\"🦀"},"logprobs":null,"finish_reason":null}]}

    data: {"id":"chatcmpl-01AB","object":"chat.completion.chunk","created":1700000000,"model":"claude-\"x\"","choices":[{"index":0,"delta":{},"logprobs":null,"finish_reason":"stop"}]}

    data: [DONE]
    "#);
}

#[test]
fn usage_comes_in_a_chunk_of_its_own_and_only_when_asked_for() {
    insta::assert_snapshot!(written(USAGE, Texts::Joined, plain()), @r#"
    data: {"id":"chatcmpl-01AB","object":"chat.completion.chunk","created":1700000000,"model":"claude-\"x\"","choices":[{"index":0,"delta":{"role":"assistant"},"logprobs":null,"finish_reason":null}],"usage":null}

    data: {"id":"chatcmpl-01AB","object":"chat.completion.chunk","created":1700000000,"model":"claude-\"x\"","choices":[{"index":0,"delta":{"reasoning_content":"hm"},"logprobs":null,"finish_reason":null}],"usage":null}

    data: {"id":"chatcmpl-01AB","object":"chat.completion.chunk","created":1700000000,"model":"claude-\"x\"","choices":[{"index":0,"delta":{"content":"café\n\"🦀"},"logprobs":null,"finish_reason":null}],"usage":null}

    data: {"id":"chatcmpl-01AB","object":"chat.completion.chunk","created":1700000000,"model":"claude-\"x\"","choices":[{"index":0,"delta":{},"logprobs":null,"finish_reason":"stop"}],"usage":null}

    data: {"id":"chatcmpl-01AB","object":"chat.completion.chunk","created":1700000000,"model":"claude-\"x\"","choices":[],"usage":{"prompt_tokens":3,"completion_tokens":4,"total_tokens":7,"prompt_tokens_details":{"cached_tokens":0,"cache_write_tokens":0,"audio_tokens":0},"completion_tokens_details":{"reasoning_tokens":0,"audio_tokens":0,"accepted_prediction_tokens":0,"rejected_prediction_tokens":0}}}

    data: [DONE]
    "#);
}

#[test]
fn calls_are_counted_by_themselves_and_told_apart_where_they_interleave() {
    let deltas = vec![
        thought(0, "hm"),
        Delta::Closed { block: 0 },
        text(1, "Both."),
        Delta::Closed { block: 1 },
        call(2, "c1", CallKind::Function),
        call(3, "c2", CallKind::Custom),
        arguments(2, "{\"a\""),
        arguments(3, "raw "),
        arguments(2, ":1}"),
        Delta::Closed { block: 2 },
        arguments(3, "text"),
        Delta::Closed { block: 3 },
        call(4, "c3", CallKind::Function),
        Delta::Closed { block: 4 },
        ended(StopReason::ToolUse),
    ];
    insta::assert_snapshot!(choices(Asked::default(), Texts::Joined, deltas), @r#"
    {"role":"assistant"} null
    {"reasoning_content":"hm"} null
    {"content":"Both."} null
    {"tool_calls":[{"index":0,"id":"c1","type":"function","function":{"name":"run","arguments":""}}]} null
    {"tool_calls":[{"index":1,"id":"c2","type":"custom","custom":{"name":"run","input":""}}]} null
    {"tool_calls":[{"index":0,"function":{"arguments":"{\"a\""}}]} null
    {"tool_calls":[{"index":1,"custom":{"input":"raw "}}]} null
    {"tool_calls":[{"index":0,"function":{"arguments":":1}"}}]} null
    {"tool_calls":[{"index":1,"custom":{"input":"text"}}]} null
    {"tool_calls":[{"index":2,"id":"c3","type":"function","function":{"name":"run","arguments":""}}]} null
    {"tool_calls":[{"index":2,"function":{"arguments":"{}"}}]} null
    {} "tool_calls"
    "#);
}

#[test]
fn a_client_of_the_older_functions_gets_the_one_call_that_it_can_read() {
    let deltas = vec![
        call(0, "c1", CallKind::Function),
        arguments(0, "{}"),
        Delta::Closed { block: 0 },
        call(1, "c2", CallKind::Function),
        arguments(1, "{}"),
        Delta::Closed { block: 1 },
        ended(StopReason::ToolUse),
    ];
    insta::assert_snapshot!(choices(LEGACY, Texts::Joined, deltas), @r#"
    {"role":"assistant"} null
    {"function_call":{"name":"run","arguments":""}} null
    {"function_call":{"arguments":"{}"}} null
    {} "function_call"
    "#);
}

#[test]
fn a_refusal_has_its_own_place() {
    let deltas = vec![
        Delta::Opened { block: 0, opening: Opening::Refusal },
        text(0, "I "),
        text(0, "cannot."),
        Delta::Closed { block: 0 },
        ended(StopReason::Refusal),
    ];
    insta::assert_snapshot!(choices(Asked::default(), Texts::Apart, deltas), @r#"
    {"role":"assistant"} null
    {"refusal":"I "} null
    {"refusal":"cannot."} null
    {} "stop"
    "#);
}

#[test]
fn texts_that_were_messages_of_their_own_are_not_glued_together() {
    let deltas =
        vec![thought(0, "a"), thought(1, "b"), text(2, "Looking."), text(3, "Done."), ended(StopReason::EndTurn)];
    insta::assert_snapshot!(choices(Asked::default(), Texts::Apart, deltas), @r#"
    {"role":"assistant"} null
    {"reasoning_content":"a"} null
    {"reasoning_content":"\n\n"} null
    {"reasoning_content":"b"} null
    {"content":"Looking."} null
    {"content":"\n\n"} null
    {"content":"Done."} null
    {} "stop"
    "#);
}

#[test]
fn an_empty_answer_has_empty_content() {
    insta::assert_snapshot!(choices(Asked::default(), Texts::Joined, vec![thought(0, "hm"), ended(StopReason::MaxTokens)]), @r#"
    {"role":"assistant"} null
    {"reasoning_content":"hm"} null
    {"content":""} null
    {} "length"
    "#);
}
