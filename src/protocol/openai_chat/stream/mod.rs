//! An answer, bit by bit, as the chunks of a chat completion.

use std::io::Write as _;

use super::Asked;
use super::layout::{BREAK, Layout, NO_ARGUMENTS, Texts, call_id, completion_id};
use super::wire::answer::{Call, Called, Custom, Function, Usage};
use crate::domain::time::Timestamp;
use crate::protocol::canonical::{CallKind, Delta, Fragment, Opening, Piece, StopReason, Usage as CanonicalUsage};
use crate::protocol::{json, sse};

const CONTENT: &[u8] = b"\"content\":";
const REASONING: &[u8] = b"\"reasoning_content\":";
const REFUSAL: &[u8] = b"\"refusal\":";

/// Writes the chunks of one stream.
///
/// Everything but the delta is the same in all chunks, so it is written once and copied. The first chunk has the role and
/// no content, since it is not yet known whether there will be any: where a text is told as empty, clients keep that, and
/// where it is told as null, naive ones fail to add to it.
#[derive(Debug)]
pub struct ChunkWriter {
    created: Timestamp,
    asked: Asked,
    layout: Layout,
    /// The block of the refusal that is open.
    refusal: Option<u32>,
    /// The calls that are open.
    calls: Vec<OpenCall>,
    /// A chunk up to its `choices`.
    head: Vec<u8>,
    /// A chunk behind its `choices`.
    tail: &'static [u8],
}

#[derive(Debug)]
struct OpenCall {
    block: u32,
    kind: CallKind,
    /// A delta up to its bit of arguments.
    before: Vec<u8>,
    /// A delta behind it.
    after: &'static [u8],
    has_arguments: bool,
}

impl ChunkWriter {
    /// Starts a stream; `texts` says what its blocks of text are to each other. Without `include_usage` no chunk speaks of
    /// usage.
    pub const fn new(created: Timestamp, asked: Asked, texts: Texts) -> Self {
        let tail: &'static [u8] = if asked.include_usage { b",\"usage\":null}\n\n" } else { b"}\n\n" };
        let layout = Layout::new(texts);
        Self { created, asked, layout, refusal: None, calls: Vec::new(), head: Vec::new(), tail }
    }

    /// Appends the chunks that tell of `delta`. What is untold or failed writes nothing.
    pub fn write(&mut self, delta: &Delta<'_>, out: &mut Vec<u8>) {
        match delta {
            Delta::Started { id, model } => {
                self.head = self.head_of(id, model);
                self.chunk(out, |out| out.extend_from_slice(br#""role":"assistant""#), b"null");
            }
            Delta::Opened { block, opening: Opening::Call { id, name, kind, .. } } => {
                self.call_opens(*block, (id, name, *kind), out);
            }
            Delta::Opened { block, opening: Opening::Refusal } => self.refusal = Some(*block),
            Delta::More { block, piece } => self.more(*block, piece, out),
            Delta::Closed { block } => self.closed(*block, out),
            Delta::Ended { stop, usage, .. } => self.ended(*stop, *usage, out),
            // Reasoning cannot be sent back in Chat Completions, so its proof has no place.
            Delta::Opened { .. } | Delta::Untold | Delta::Proved { .. } | Delta::Failed(_) => {}
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

    fn call_opens(&mut self, block: u32, (id, name, kind): (&str, &str, CallKind), out: &mut Vec<u8>) {
        let index = self.layout.call();
        let (before, after): (_, &[u8]) = if self.asked.legacy_functions {
            // There is one place for a call, so there is none for a second one.
            if index > 0 {
                return;
            }
            let begun = Function { name, arguments: "" };
            self.member(out, b"\"function_call\":", |out| json::write(out, &begun));
            (b"\"function_call\":{\"arguments\":".to_vec(), b"}")
        } else {
            let (called, payload) = match kind {
                CallKind::Function => {
                    (Called::Function { function: Function { name, arguments: "" } }, r#""function":{"arguments":"#)
                }
                CallKind::Custom => (Called::Custom { custom: Custom { name, input: "" } }, r#""custom":{"input":"#),
            };
            let begun = [Call { index: Some(index), id: call_id(id), called }];
            self.member(out, b"\"tool_calls\":", |out| json::write(out, &begun));
            (format!("\"tool_calls\":[{{\"index\":{index},{payload}").into_bytes(), b"}}]")
        };
        self.calls.push(OpenCall { block, kind, before, after, has_arguments: false });
    }

    fn more(&mut self, block: u32, piece: &Piece<'_>, out: &mut Vec<u8>) {
        let (Piece::Text(text) | Piece::Reasoning(text) | Piece::Arguments(text)) = piece;
        if text.is_empty() {
            return;
        }
        match piece {
            Piece::Text(_) if self.refusal == Some(block) => {
                self.layout.has_refusal = true;
                self.piece(out, REFUSAL, text);
            }
            Piece::Text(_) => {
                if self.layout.text(block) {
                    self.piece(out, CONTENT, &BREAK.into());
                }
                self.piece(out, CONTENT, text);
            }
            Piece::Reasoning(_) => {
                if self.layout.reasoning(block) {
                    self.piece(out, REASONING, &BREAK.into());
                }
                self.piece(out, REASONING, text);
            }
            Piece::Arguments(_) => {
                if let Some(at) = self.calls.iter().rposition(|call| call.block == block) {
                    self.calls[at].has_arguments = true;
                    self.arguments(&self.calls[at], text, out);
                }
            }
        }
    }

    fn closed(&mut self, block: u32, out: &mut Vec<u8>) {
        if let Some(at) = self.calls.iter().rposition(|call| call.block == block) {
            let call = self.calls.swap_remove(at);
            if !call.has_arguments && call.kind == CallKind::Function {
                self.arguments(&call, &NO_ARGUMENTS.into(), out);
            }
        }
    }

    fn ended(&mut self, stop: StopReason, usage: CanonicalUsage, out: &mut Vec<u8>) {
        if self.layout.is_empty() {
            self.piece(out, CONTENT, &"".into());
        }
        let reason = self.layout.finish_reason(stop, self.asked.legacy_functions);
        self.chunk(out, |_| {}, format!("\"{reason}\"").as_bytes());
        if self.asked.include_usage {
            out.extend_from_slice(&self.head);
            out.extend_from_slice(b"[],\"usage\":");
            json::write(out, &Usage::from(usage));
            out.extend_from_slice(b"}\n\n");
        }
        sse::write_event(out, None, b"[DONE]");
    }

    fn arguments(&self, call: &OpenCall, text: &Fragment<'_>, out: &mut Vec<u8>) {
        let delta = |out: &mut Vec<u8>| {
            text.write_json(out);
            out.extend_from_slice(call.after);
        };
        self.member(out, &call.before, delta);
    }

    fn piece(&self, out: &mut Vec<u8>, member: &[u8], text: &Fragment<'_>) {
        self.member(out, member, |out| text.write_json(out));
    }

    fn member(&self, out: &mut Vec<u8>, name: &[u8], value: impl FnOnce(&mut Vec<u8>)) {
        let delta = |out: &mut Vec<u8>| {
            out.extend_from_slice(name);
            value(out);
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
mod tests;
