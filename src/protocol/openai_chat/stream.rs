//! An answer, bit by bit, as the chunks of a chat completion.

use std::io::Write as _;

use super::encode::{completion_id, finish_reason};
use super::wire::answer::Usage;
use crate::domain::time::Timestamp;
use crate::protocol::canonical::{Delta, Fragment, Piece};
use crate::protocol::{json, sse};

/// Writes the chunks of one stream.
///
/// Everything but the delta is the same in all chunks, so it is written once and copied.
#[derive(Debug)]
pub struct ChunkWriter {
    created: Timestamp,
    include_usage: bool,
    /// A chunk up to its `choices`.
    head: Vec<u8>,
    /// A chunk behind its `choices`.
    tail: &'static [u8],
}

impl ChunkWriter {
    /// Starts a stream. `include_usage` is what the client asked for: without it, no chunk speaks of usage.
    pub const fn new(created: Timestamp, include_usage: bool) -> Self {
        let tail: &'static [u8] = if include_usage { b",\"usage\":null}\n\n" } else { b"}\n\n" };
        Self { created, include_usage, head: Vec::new(), tail }
    }

    /// Appends the chunks that tell of `delta`. What is untold or failed writes nothing.
    pub fn write(&mut self, delta: &Delta<'_>, out: &mut Vec<u8>) {
        match delta {
            Delta::Started { id, model } => {
                self.head = self.head_of(id, model);
                self.chunk(out, |out| out.extend_from_slice(br#""role":"assistant","content":"""#), b"null");
            }
            Delta::More { piece: Piece::Text(text), .. } => self.piece(out, b"\"content\":", *text),
            Delta::More { piece: Piece::Reasoning(text), .. } => self.piece(out, b"\"reasoning_content\":", *text),
            Delta::Ended { stop, usage } => {
                self.chunk(out, |_| {}, format!("\"{}\"", finish_reason(*stop)).as_bytes());
                if self.include_usage {
                    out.extend_from_slice(&self.head);
                    out.extend_from_slice(b"[],\"usage\":");
                    json::write(out, &Usage::from(*usage));
                    out.extend_from_slice(b"}\n\n");
                }
                sse::write_event(out, None, b"[DONE]");
            }
            // No tool is sent, so no call comes back.
            Delta::More { piece: Piece::Arguments(_), .. }
            | Delta::Untold
            | Delta::Opened { .. }
            | Delta::Proved { .. }
            | Delta::Closed { .. }
            | Delta::Failed(_) => {}
        }
    }

    fn head_of(&self, id: &str, model: &str) -> Vec<u8> {
        let mut head = b"data: {\"id\":".to_vec();
        json::write(&mut head, &completion_id(id));
        // Writing to a Vec cannot fail.
        let _ = write!(head, ",\"object\":\"chat.completion.chunk\",\"created\":{},\"model\":", self.created.as_secs());
        json::write(&mut head, model);
        head.extend_from_slice(b",\"choices\":");
        head
    }

    fn piece(&self, out: &mut Vec<u8>, member: &[u8], text: Fragment<'_>) {
        if text.is_empty() {
            return;
        }
        let delta = |out: &mut Vec<u8>| {
            out.extend_from_slice(member);
            text.write_json(out);
        };
        self.chunk(out, delta, b"null");
    }

    fn chunk(&self, out: &mut Vec<u8>, delta: impl FnOnce(&mut Vec<u8>), finish_reason: &[u8]) {
        out.extend_from_slice(&self.head);
        out.extend_from_slice(b"[{\"index\":0,\"delta\":{");
        delta(out);
        out.extend_from_slice(b"},\"logprobs\":null,\"finish_reason\":");
        out.extend_from_slice(finish_reason);
        out.extend_from_slice(b"}]");
        out.extend_from_slice(self.tail);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::canonical::{StopReason, Usage};

    fn written(include_usage: bool) -> String {
        let mut writer = ChunkWriter::new(Timestamp::from_secs(1_700_000_000), include_usage);
        let mut out = Vec::new();
        let usage = Usage { uncached_tokens: 3, output_tokens: 4, ..Usage::default() };
        for delta in [
            Delta::Started { id: "msg_01AB".into(), model: "claude-\"x\"".into() },
            Delta::More { block: 0, piece: Piece::Reasoning("".into()) },
            Delta::More { block: 0, piece: Piece::Reasoning("hm".into()) },
            Delta::Untold,
            Delta::More { block: 1, piece: Piece::Text("caf\u{e9}\n\"\u{1f980}".into()) },
            Delta::Ended { stop: StopReason::EndTurn, usage },
        ] {
            writer.write(&delta, &mut out);
        }
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn chunks_begin_with_the_role_and_end_with_the_reason_and_done() {
        insta::assert_snapshot!(written(false), @r#"
        data: {"id":"chatcmpl-01AB","object":"chat.completion.chunk","created":1700000000,"model":"claude-\"x\"","choices":[{"index":0,"delta":{"role":"assistant","content":""},"logprobs":null,"finish_reason":null}]}

        data: {"id":"chatcmpl-01AB","object":"chat.completion.chunk","created":1700000000,"model":"claude-\"x\"","choices":[{"index":0,"delta":{"reasoning_content":"hm"},"logprobs":null,"finish_reason":null}]}

        data: {"id":"chatcmpl-01AB","object":"chat.completion.chunk","created":1700000000,"model":"claude-\"x\"","choices":[{"index":0,"delta":{"content":"café\n\"🦀"},"logprobs":null,"finish_reason":null}]}

        data: {"id":"chatcmpl-01AB","object":"chat.completion.chunk","created":1700000000,"model":"claude-\"x\"","choices":[{"index":0,"delta":{},"logprobs":null,"finish_reason":"stop"}]}

        data: [DONE]
        "#);
    }

    #[test]
    fn usage_comes_in_a_chunk_of_its_own_and_only_when_asked_for() {
        insta::assert_snapshot!(written(true), @r#"
        data: {"id":"chatcmpl-01AB","object":"chat.completion.chunk","created":1700000000,"model":"claude-\"x\"","choices":[{"index":0,"delta":{"role":"assistant","content":""},"logprobs":null,"finish_reason":null}],"usage":null}

        data: {"id":"chatcmpl-01AB","object":"chat.completion.chunk","created":1700000000,"model":"claude-\"x\"","choices":[{"index":0,"delta":{"reasoning_content":"hm"},"logprobs":null,"finish_reason":null}],"usage":null}

        data: {"id":"chatcmpl-01AB","object":"chat.completion.chunk","created":1700000000,"model":"claude-\"x\"","choices":[{"index":0,"delta":{"content":"café\n\"🦀"},"logprobs":null,"finish_reason":null}],"usage":null}

        data: {"id":"chatcmpl-01AB","object":"chat.completion.chunk","created":1700000000,"model":"claude-\"x\"","choices":[{"index":0,"delta":{},"logprobs":null,"finish_reason":"stop"}],"usage":null}

        data: {"id":"chatcmpl-01AB","object":"chat.completion.chunk","created":1700000000,"model":"claude-\"x\"","choices":[],"usage":{"prompt_tokens":3,"completion_tokens":4,"total_tokens":7,"prompt_tokens_details":{"cached_tokens":0,"cache_write_tokens":0},"completion_tokens_details":{"reasoning_tokens":0}}}

        data: [DONE]
        "#);
    }
}
