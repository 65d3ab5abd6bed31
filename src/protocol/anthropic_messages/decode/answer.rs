//! An answer of Messages in canonical terms.

use serde_json::value::RawValue;

use crate::protocol::anthropic_messages::wire::answer as wire;
use crate::protocol::canonical::{Answer, AnswerError, Block, Call, CallKind, Proof, Reasoning, StopReason, Usage};
use crate::protocol::json;

/// Reads an answer that came as one JSON body. An error body is malformed here: `error::read` understands it.
pub fn read_answer(body: &[u8]) -> Result<Answer<'_>, AnswerError> {
    let wire: wire::Answer<'_> = serde_json::from_slice(body).map_err(|error| malformed(&error))?;
    let blocks: Vec<Block<'_>> = wire.content.into_iter().filter_map(wire::Piece::carried).collect();
    let has_calls = blocks.iter().any(|block| matches!(block, Block::Call(_)));
    let stop = match wire.stop_reason.map_or_else(StopReason::default, |reason| stop_reason(&reason.0)) {
        // Without a call there is nothing to wait for: a client would send nothing back.
        StopReason::ToolUse if !has_calls => StopReason::EndTurn,
        stop => stop,
    };
    Ok(Answer { id: wire.id.0, model: wire.model.0, blocks, stop, stop_text: None, usage: wire.usage.into() })
}

pub(in crate::protocol::anthropic_messages) fn malformed(error: &serde_json::Error) -> AnswerError {
    AnswerError::Malformed(json::complaint(error))
}

/// Reads `stop_reason`. One that is not known ends a turn like any other.
pub(in crate::protocol::anthropic_messages) fn stop_reason(reason: &str) -> StopReason {
    match reason {
        "max_tokens" | "model_context_window_exceeded" => StopReason::MaxTokens,
        "stop_sequence" => StopReason::StopSequence,
        "tool_use" => StopReason::ToolUse,
        "refusal" => StopReason::Refusal,
        "pause_turn" => StopReason::Pause,
        _ => StopReason::EndTurn,
    }
}

impl<'a> wire::Piece<'a> {
    /// Returns the block where its kind has a counterpart in the middle.
    fn carried(self) -> Option<Block<'a>> {
        let text = |member: Option<json::Str<'a>>| member.unwrap_or_default().0;
        Some(match &*self.kind.0 {
            "text" => Block::Text(text(self.text)),
            "thinking" => {
                let proof = self.signature.filter(|signature| !signature.0.is_empty());
                Block::Reasoning(Reasoning {
                    text: text(self.thinking),
                    proof: proof.map(|text| Proof::Signature(text.0)),
                })
            }
            "redacted_thinking" => {
                Block::Reasoning(Reasoning { text: "".into(), proof: Some(Proof::Redacted(text(self.data))) })
            }
            "tool_use" => Block::Call(Call {
                id: text(self.id),
                namespace: None,
                name: text(self.name),
                kind: CallKind::Function,
                arguments: self.input.map_or("{}", RawValue::get).into(),
            }),
            _ => return None,
        })
    }
}

impl wire::Usage {
    /// Takes over what a later event says; its counts are cumulative, and what it leaves out stands.
    pub(in crate::protocol::anthropic_messages) fn update(&mut self, later: &Self) {
        self.input_tokens = later.input_tokens.or(self.input_tokens);
        self.cache_read_input_tokens = later.cache_read_input_tokens.or(self.cache_read_input_tokens);
        self.cache_creation_input_tokens = later.cache_creation_input_tokens.or(self.cache_creation_input_tokens);
        self.output_tokens = later.output_tokens.or(self.output_tokens);
        self.output_tokens_details = later.output_tokens_details.or(self.output_tokens_details);
    }
}

impl From<wire::Usage> for Usage {
    fn from(wire: wire::Usage) -> Self {
        Self {
            uncached_tokens: wire.input_tokens.unwrap_or(0),
            cache_read_tokens: wire.cache_read_input_tokens.unwrap_or(0),
            cache_write_tokens: wire.cache_creation_input_tokens.unwrap_or(0),
            output_tokens: wire.output_tokens.unwrap_or(0),
            thinking_tokens: wire.output_tokens_details.and_then(|details| details.thinking_tokens).unwrap_or(0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_read_with_its_text_thinking_calls_and_usage() {
        let body = br#"{"id":"msg_1","type":"message","role":"assistant","model":"claude","content":[
            {"type":"thinking","thinking":"hm","signature":"Eq"},{"type":"redacted_thinking","data":"x"},
            {"type":"text","text":"a\n","citations":null},{"type":"server_tool_use","id":"s","name":"n","input":{}},
            {"type":"tool_use","id":"toolu_1","name":"Bash","input":{"n": 1.10}}],"stop_reason":"tool_use","stop_sequence":null,
            "usage":{"input_tokens":5,"cache_read_input_tokens":7,"cache_creation_input_tokens":11,"output_tokens":13,
            "output_tokens_details":{"thinking_tokens":3},"service_tier":"standard"}}"#;
        let answer = read_answer(body).unwrap();
        assert_eq!((&*answer.id, &*answer.model, answer.stop), ("msg_1", "claude", StopReason::ToolUse));
        let reasoning =
            |text: &'static str, proof| Block::Reasoning(Reasoning { text: text.into(), proof: Some(proof) });
        let call = Call {
            id: "toolu_1".into(),
            namespace: None,
            name: "Bash".into(),
            kind: CallKind::Function,
            arguments: r#"{"n": 1.10}"#.into(),
        };
        let blocks = [
            reasoning("hm", Proof::Signature("Eq".into())),
            reasoning("", Proof::Redacted("x".into())),
            Block::Text("a\n".into()),
            Block::Call(call),
        ];
        assert_eq!(answer.blocks, blocks);
        let usage = Usage {
            uncached_tokens: 5,
            cache_read_tokens: 7,
            cache_write_tokens: 11,
            output_tokens: 13,
            thinking_tokens: 3,
        };
        assert_eq!((answer.usage, answer.usage.input_tokens()), (usage, 23));
    }

    #[test]
    fn an_empty_answer_and_missing_counts_are_no_error() {
        let answer =
            read_answer(br#"{"id":"m","model":"c","content":[],"stop_reason":null,"usage":{"input_tokens":null}}"#);
        let answer = answer.unwrap();
        assert_eq!((answer.blocks.len(), answer.usage), (0, Usage::default()));
    }

    #[test]
    fn what_is_no_answer_is_malformed_and_not_quoted() {
        for body in ["", "[]", r#"{"id":"secret"}"#, r#"{"id":{"secret":1},"model":"m"}"#, "<html>secret</html>"] {
            let error = read_answer(body.as_bytes()).unwrap_err();
            assert!(!error.to_string().contains("secret"), "{error}");
        }
    }

    #[test]
    fn every_stop_reason_is_known() {
        for (word, reason) in [
            ("end_turn", StopReason::EndTurn),
            ("stop_sequence", StopReason::StopSequence),
            ("max_tokens", StopReason::MaxTokens),
            ("model_context_window_exceeded", StopReason::MaxTokens),
            ("refusal", StopReason::Refusal),
            ("pause_turn", StopReason::Pause),
            ("tool_use", StopReason::ToolUse),
            ("something_new", StopReason::EndTurn),
        ] {
            assert_eq!(stop_reason(word), reason, "{word}");
        }
    }
}
