use super::*;
use crate::protocol::canonical::{Reasoning, StopReason, Usage};

fn sample(blocks: Vec<Block<'static>>, stop: StopReason) -> Answer<'static> {
    let usage = Usage {
        uncached_tokens: 5,
        cache_read_tokens: 7,
        cache_write_tokens: 11,
        output_tokens: 13,
        thinking_tokens: 3,
    };
    Answer { id: "msg_01AB".into(), model: "claude-x".into(), blocks, stop, stop_text: None, usage }
}

fn written(blocks: Vec<Block<'static>>, stop: StopReason, asked: Asked, texts: Texts) -> String {
    String::from_utf8(answer(&sample(blocks, stop), Timestamp::from_secs(1_700_000_000), asked, texts)).unwrap()
}

fn said(blocks: Vec<Block<'static>>, stop: StopReason, asked: Asked) -> String {
    let text = written(blocks, stop, asked, Texts::Joined);
    let from = text.find("\"message\":").unwrap();
    text[from..text.find(",\"usage\"").unwrap() - 2].to_owned()
}

fn thought(text: &'static str) -> Block<'static> {
    Block::Reasoning(Reasoning { text: text.into(), proof: None })
}

fn call(id: &'static str, kind: CallKind, arguments: &'static str) -> Block<'static> {
    let (id, name) = (id.into(), "run".into());
    Block::Call(Call { id, namespace: None, name, kind, arguments: arguments.into() })
}

const LEGACY: Asked = Asked { include_usage: false, legacy_functions: true };

#[test]
fn an_answer_becomes_a_completion_whose_prompt_counts_the_cache() {
    let blocks = vec![thought("hm"), Block::Text("a\u{1f980}".into()), Block::Text("\"b\"".into())];
    insta::assert_snapshot!(written(blocks, StopReason::MaxTokens, Asked::default(), Texts::Joined), @r#"{"id":"chatcmpl-01AB","object":"chat.completion","created":1700000000,"model":"claude-x","choices":[{"index":0,"message":{"role":"assistant","content":"a🦀\"b\"","reasoning_content":"hm","refusal":null,"annotations":[]},"logprobs":null,"finish_reason":"length"}],"usage":{"prompt_tokens":23,"completion_tokens":13,"total_tokens":36,"prompt_tokens_details":{"cached_tokens":7,"cache_write_tokens":11,"audio_tokens":0},"completion_tokens_details":{"reasoning_tokens":3,"audio_tokens":0,"accepted_prediction_tokens":0,"rejected_prediction_tokens":0}}}"#);
}

#[test]
fn an_empty_answer_has_empty_content() {
    insta::assert_snapshot!(said(Vec::new(), StopReason::EndTurn, Asked::default()), @r#""message":{"role":"assistant","content":"","refusal":null,"annotations":[]},"logprobs":null,"finish_reason":"stop""#);
    insta::assert_snapshot!(said(vec![thought("hm"), Block::Text("".into())], StopReason::EndTurn, Asked::default()), @r#""message":{"role":"assistant","content":"","reasoning_content":"hm","refusal":null,"annotations":[]},"logprobs":null,"finish_reason":"stop""#);
}

#[test]
fn calls_stand_beside_a_content_that_is_null_without_text() {
    let calls = || {
        vec![
            call("c1", CallKind::Function, r#"{"n": 12345678901234567890, "x": 1.10}"#),
            call("c2", CallKind::Function, ""),
            call("c3", CallKind::Custom, "raw \"text\""),
        ]
    };
    insta::assert_snapshot!(said(calls(), StopReason::ToolUse, Asked::default()), @r#""message":{"role":"assistant","content":null,"refusal":null,"annotations":[],"tool_calls":[{"id":"c1","type":"function","function":{"name":"run","arguments":"{\"n\": 12345678901234567890, \"x\": 1.10}"}},{"id":"c2","type":"function","function":{"name":"run","arguments":"{}"}},{"id":"c3","type":"custom","custom":{"name":"run","input":"raw \"text\""}}]},"logprobs":null,"finish_reason":"tool_calls""#);
    let mut blocks = vec![Block::Text("I run it.".into())];
    blocks.extend(calls().into_iter().take(1));
    insta::assert_snapshot!(said(blocks, StopReason::ToolUse, Asked::default()), @r#""message":{"role":"assistant","content":"I run it.","refusal":null,"annotations":[],"tool_calls":[{"id":"c1","type":"function","function":{"name":"run","arguments":"{\"n\": 12345678901234567890, \"x\": 1.10}"}}]},"logprobs":null,"finish_reason":"tool_calls""#);
}

#[test]
fn a_client_of_the_older_functions_gets_the_one_call_that_it_can_read() {
    let calls = vec![call("c1", CallKind::Function, "{\"a\":1}"), call("c2", CallKind::Function, "{}")];
    insta::assert_snapshot!(said(calls, StopReason::ToolUse, LEGACY), @r#""message":{"role":"assistant","content":null,"refusal":null,"annotations":[],"function_call":{"name":"run","arguments":"{\"a\":1}"}},"logprobs":null,"finish_reason":"function_call""#);
}

#[test]
fn a_refusal_has_its_own_place() {
    let refusal = vec![Block::Refusal("I cannot.".into())];
    insta::assert_snapshot!(said(refusal, StopReason::Refusal, Asked::default()), @r#""message":{"role":"assistant","content":null,"refusal":"I cannot.","annotations":[]},"logprobs":null,"finish_reason":"stop""#);
    insta::assert_snapshot!(said(vec![Block::Text("I ca".into())], StopReason::Refusal, Asked::default()), @r#""message":{"role":"assistant","content":"I ca","refusal":null,"annotations":[]},"logprobs":null,"finish_reason":"content_filter""#);
}

#[test]
fn texts_that_were_messages_of_their_own_are_not_glued_together() {
    let blocks = vec![Block::Text("Looking.".into()), Block::Text("Done.".into()), thought("a"), thought("b")];
    let text = written(blocks, StopReason::EndTurn, Asked::default(), Texts::Apart);
    assert!(text.contains(r#""content":"Looking.\n\nDone.","reasoning_content":"a\n\nb""#), "{text}");
}
