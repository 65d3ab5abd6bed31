//! An answer as a message.

use std::borrow::Cow;

use super::request::input;
use crate::protocol::anthropic_messages::wire::reply::{Content, Message};
use crate::protocol::canonical::{Answer, Block, Proof, Reasoning, StopReason};
use crate::protocol::{json, names};

/// Longest id of a call; ids of all upstreams are shorter.
const ID_CHARS_MAX: usize = 128;

/// Writes an answer as one JSON body.
pub fn write_answer(answer: &Answer<'_>) -> Vec<u8> {
    let has_calls = answer.blocks.iter().any(|block| matches!(block, Block::Call(_)));
    let (stop_reason, stop_sequence) = stopped((answer.stop, answer.stop_text.as_deref()), has_calls);
    json::to_vec(&Message {
        id: message_id(&answer.id),
        kind: "message",
        role: "assistant",
        model: &answer.model,
        content: answer.blocks.iter().filter_map(content).collect(),
        stop_reason: Some(stop_reason),
        stop_sequence,
        usage: answer.usage.into(),
    })
}

fn content<'a>(block: &'a Block<'_>) -> Option<Content<'a>> {
    match block {
        Block::Text(text) | Block::Refusal(text) if text.is_empty() => None,
        Block::Text(text) | Block::Refusal(text) => Some(Content::Text { text }),
        Block::Reasoning(Reasoning { text, proof: Some(Proof::Sealed(seal)) }) => {
            Some(Content::Thinking { thinking: text, signature: seal })
        }
        Block::Reasoning(Reasoning { text, .. }) if text.is_empty() => None,
        // Without a signature it can be read, and is left out when it comes back.
        Block::Reasoning(Reasoning { text, .. }) => Some(Content::Thinking { thinking: text, signature: "" }),
        Block::Call(call) => Some(Content::ToolUse { id: call_id(&call.id), name: &call.name, input: input(call) }),
        Block::Image(_) | Block::Document(_) | Block::Result(_) => None,
    }
}

/// Returns the id of a message, made from the upstream's id of the same answer.
pub(in crate::protocol::anthropic_messages) fn message_id(upstream: &str) -> Cow<'_, str> {
    if upstream.starts_with("msg_") {
        return Cow::Borrowed(upstream);
    }
    let bare = ["resp_", "chatcmpl-"].iter().find_map(|prefix| upstream.strip_prefix(prefix)).unwrap_or(upstream);
    Cow::Owned(format!("msg_{bare}"))
}

/// Returns the id of a call in the characters that Messages allows.
pub(in crate::protocol::anthropic_messages) fn call_id(upstream: &str) -> Cow<'_, str> {
    names::id(upstream, ID_CHARS_MAX)
}

/// Returns `stop_reason` and `stop_sequence`. A stop text that is not known is told as the end of the turn: a client takes
/// `stop_sequence` without its text for an error.
pub(in crate::protocol::anthropic_messages) fn stopped(
    (stop, text): (StopReason, Option<&str>),
    has_calls: bool,
) -> (&'static str, Option<&str>) {
    let reason = match (stop, has_calls) {
        (StopReason::StopSequence, false) if text.is_some() => return ("stop_sequence", text),
        (StopReason::EndTurn | StopReason::StopSequence | StopReason::ToolUse, true) => "tool_use",
        (StopReason::EndTurn | StopReason::StopSequence | StopReason::ToolUse, false) => "end_turn",
        (StopReason::MaxTokens, _) => "max_tokens",
        (StopReason::Refusal, _) => "refusal",
        (StopReason::Pause, _) => "pause_turn",
    };
    (reason, None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::canonical::{Call, CallKind, Usage};

    fn call<'a>(id: &'a str, arguments: &'a str) -> Block<'a> {
        let (id, arguments) = (id.into(), arguments.into());
        Block::Call(Call { id, namespace: None, name: "Bash".into(), kind: CallKind::Function, arguments })
    }

    fn written(blocks: Vec<Block<'_>>, stop: StopReason) -> String {
        let usage = Usage { output_tokens: 13, thinking_tokens: 3, ..Usage::of_input(23, 7, 11) };
        let answer = Answer { id: "resp_0a".into(), model: "gpt-x".into(), blocks, stop, stop_text: None, usage };
        String::from_utf8(write_answer(&answer)).unwrap()
    }

    #[test]
    fn an_answer_becomes_a_message_whose_input_tokens_leave_the_cache_out() {
        let reasoning = |text: &'static str, seal: &'static str| {
            Block::Reasoning(Reasoning { text: text.into(), proof: Some(Proof::Sealed(seal.into())) })
        };
        let blocks = vec![
            reasoning("hm", "ZHVv"),
            reasoning("", "ZHVw"),
            Block::Reasoning(Reasoning { text: "unproved".into(), proof: None }),
            Block::Text("caf\u{e9}\n".into()),
            Block::Text("".into()),
            call("call_1", r#"{"n": 12345678901234567890, "x": 1.10}"#),
            call("call:2", ""),
        ];
        insta::assert_snapshot!(written(blocks, StopReason::ToolUse), @r#"{"id":"msg_0a","type":"message","role":"assistant","model":"gpt-x","content":[{"type":"thinking","thinking":"hm","signature":"ZHVv"},{"type":"thinking","thinking":"","signature":"ZHVw"},{"type":"thinking","thinking":"unproved","signature":""},{"type":"text","text":"café\n"},{"type":"tool_use","id":"call_1","name":"Bash","input":{"n": 12345678901234567890, "x": 1.10}},{"type":"tool_use","id":"call_2_33331b626c7a","name":"Bash","input":{}}],"stop_reason":"tool_use","stop_sequence":null,"usage":{"input_tokens":5,"cache_creation_input_tokens":11,"cache_read_input_tokens":7,"output_tokens":13,"output_tokens_details":{"thinking_tokens":3}}}"#);
    }

    #[test]
    fn a_call_that_was_cut_off_is_told_as_the_limit_and_not_as_a_call_to_run() {
        let text = written(vec![call("c", r#"{"command":"rm -rf /tmp/a"#)], StopReason::MaxTokens);
        assert!(text.contains(r#""stop_reason":"max_tokens""#), "{text}");
        assert!(text.contains(r#""input":{"_raw":"{\"command\":\"rm -rf /tmp/a"}"#), "{text}");
    }

    #[test]
    fn an_empty_answer_has_empty_content() {
        let text = written(Vec::new(), StopReason::EndTurn);
        assert!(text.contains(r#""content":[],"stop_reason":"end_turn""#), "{text}");
    }

    #[test]
    fn every_stop_reason_has_its_word_and_tool_use_needs_a_call() {
        for (stop, without, with) in [
            (StopReason::EndTurn, "end_turn", "tool_use"),
            (StopReason::ToolUse, "end_turn", "tool_use"),
            (StopReason::StopSequence, "end_turn", "tool_use"),
            (StopReason::MaxTokens, "max_tokens", "max_tokens"),
            (StopReason::Refusal, "refusal", "refusal"),
            (StopReason::Pause, "pause_turn", "pause_turn"),
        ] {
            let told = |has_calls| stopped((stop, None), has_calls);
            assert_eq!((told(false), told(true)), ((without, None), (with, None)));
        }
        assert_eq!(stopped((StopReason::StopSequence, Some("END")), false), ("stop_sequence", Some("END")));
        assert_eq!(stopped((StopReason::StopSequence, Some("END")), true), ("tool_use", None));
    }

    #[test]
    fn an_id_begins_as_clients_expect() {
        for (upstream, id) in [("resp_1", "msg_1"), ("chatcmpl-1", "msg_1"), ("msg_1", "msg_1"), ("x", "msg_x")] {
            assert_eq!(message_id(upstream), id);
        }
    }
}
