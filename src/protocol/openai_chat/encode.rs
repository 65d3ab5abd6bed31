//! An answer as a chat completion.

use super::wire::answer::{AnswerMessage, Choice, Completion};
use crate::domain::time::Timestamp;
use crate::protocol::canonical::{Answer, Block, StopReason};
use crate::protocol::json;

/// Writes an answer as one JSON body, `created` at the given time.
pub fn answer(answer: &Answer<'_>, created: Timestamp) -> Vec<u8> {
    let (mut content, mut reasoning_content) = (String::new(), String::new());
    for block in &answer.blocks {
        match block {
            Block::Text(text) => content.push_str(text),
            Block::Reasoning(reasoning) => reasoning_content.push_str(&reasoning.text),
            // No tool is sent, so no call comes back.
            Block::Call(_) | Block::Result(_) | Block::Image(_) | Block::Document(_) => {}
        }
    }
    json::to_vec(&Completion {
        id: completion_id(&answer.id),
        object: "chat.completion",
        created: created.as_secs(),
        model: &answer.model,
        choices: [Choice {
            index: 0,
            message: AnswerMessage { role: "assistant", content, reasoning_content, refusal: () },
            logprobs: (),
            finish_reason: finish_reason(answer.stop),
        }],
        usage: answer.usage.into(),
    })
}

/// Returns the id of a completion, made from the upstream's id of the same answer.
pub(super) fn completion_id(upstream: &str) -> String {
    format!("chatcmpl-{}", upstream.strip_prefix("msg_").unwrap_or(upstream))
}

pub(super) const fn finish_reason(stop: StopReason) -> &'static str {
    match stop {
        StopReason::EndTurn | StopReason::StopSequence | StopReason::Pause => "stop",
        StopReason::ToolUse => "tool_calls",
        StopReason::MaxTokens => "length",
        StopReason::Refusal => "content_filter",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::canonical::{Reasoning, Usage};

    fn sample(blocks: Vec<Block<'static>>) -> Answer<'static> {
        let usage = Usage {
            uncached_tokens: 5,
            cache_read_tokens: 7,
            cache_write_tokens: 11,
            output_tokens: 13,
            thinking_tokens: 3,
        };
        Answer { id: "msg_01AB".into(), model: "claude-x".into(), blocks, stop: StopReason::MaxTokens, usage }
    }

    fn written(value: &Answer<'_>) -> String {
        String::from_utf8(answer(value, Timestamp::from_secs(1_700_000_000))).unwrap()
    }

    #[test]
    fn an_answer_becomes_a_completion_whose_prompt_counts_the_cache() {
        let thought = Block::Reasoning(Reasoning { text: "hm".into(), proof: None });
        let blocks = vec![thought, Block::Text("a\u{1f980}".into()), Block::Text("\"b\"".into())];
        insta::assert_snapshot!(written(&sample(blocks)), @r#"{"id":"chatcmpl-01AB","object":"chat.completion","created":1700000000,"model":"claude-x","choices":[{"index":0,"message":{"role":"assistant","content":"a🦀\"b\"","reasoning_content":"hm","refusal":null},"logprobs":null,"finish_reason":"length"}],"usage":{"prompt_tokens":23,"completion_tokens":13,"total_tokens":36,"prompt_tokens_details":{"cached_tokens":7,"cache_write_tokens":11},"completion_tokens_details":{"reasoning_tokens":3}}}"#);
    }

    #[test]
    fn an_empty_answer_has_empty_content() {
        let text = written(&sample(Vec::new()));
        assert!(text.contains(r#""message":{"role":"assistant","content":"","refusal":null}"#), "{text}");
    }

    #[test]
    fn every_stop_reason_has_its_finish_reason() {
        for (stop, finish) in [
            (StopReason::EndTurn, "stop"),
            (StopReason::StopSequence, "stop"),
            (StopReason::Pause, "stop"),
            (StopReason::ToolUse, "tool_calls"),
            (StopReason::MaxTokens, "length"),
            (StopReason::Refusal, "content_filter"),
        ] {
            assert_eq!(finish_reason(stop), finish);
        }
    }
}
