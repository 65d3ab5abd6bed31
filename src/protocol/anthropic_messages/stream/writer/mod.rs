//! An answer, bit by bit, as the events of a message.

use std::collections::VecDeque;
use std::io::Write as _;

use serde::Serialize;

use crate::protocol::anthropic_messages::encode::{call_id, message_id, stopped};
use crate::protocol::anthropic_messages::wire::reply::{Message, Usage};
use crate::protocol::canonical::Usage as CanonicalUsage;
use crate::protocol::canonical::{Delta, Fragment, Opening, Piece, Proof, StopReason};
use crate::protocol::{json, sse};

/// Most that is held back of blocks that wait for another to end, in bytes: far above what a model can say. Beyond, the
/// block they wait for is ended.
const WAITING_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Writes the events of one stream.
///
/// Messages has one block open at a time. Where an upstream opens several, the first is passed on as it comes and the
/// others wait for their turn. A block of text or thinking begins with its first bit, so that there is none without.
#[derive(Debug, Default)]
pub struct Writer {
    /// The index of the next block.
    index: u32,
    has_calls: bool,
    /// The block that is passed on as it comes.
    current: Option<Current>,
    /// Blocks that opened after it, in that order.
    waiting: VecDeque<Waiting>,
    waiting_bytes: usize,
}

#[derive(Debug)]
struct Current {
    block: u32,
    kind: Kind,
    /// A delta up to its text; empty until the block has begun.
    head: Vec<u8>,
    /// The index it has for the client.
    index: u32,
}

#[derive(Debug)]
struct Waiting {
    block: u32,
    kind: Kind,
    text: String,
    seal: Option<String>,
    is_closed: bool,
}

#[derive(Debug)]
enum Kind {
    Text,
    Thinking,
    Call { id: String, name: String },
}

impl Writer {
    /// Appends the events that tell of `delta`. What is untold or failed writes nothing.
    pub fn write(&mut self, delta: &Delta<'_>, out: &mut Vec<u8>) {
        match delta {
            Delta::Started { id, model } => {
                let message = Message {
                    id: message_id(id),
                    kind: "message",
                    role: "assistant",
                    model,
                    content: Vec::new(),
                    stop_reason: None,
                    stop_sequence: None,
                    usage: CanonicalUsage::default().into(),
                };
                event(out, "message_start", &MessageStart { kind: "message_start", message });
            }
            Delta::Opened { block, opening } => self.opened(*block, Kind::of(opening), out),
            Delta::More { block, piece } => {
                let (Piece::Text(text) | Piece::Reasoning(text) | Piece::Arguments(text)) = piece;
                self.more(*block, *text, out);
            }
            Delta::Proved { block, proof: Proof::Sealed(seal) } => self.proved(*block, seal, out),
            Delta::Closed { block } => self.closed(*block, out),
            Delta::Ended { stop, stop_text, usage } => self.ended((*stop, stop_text.as_deref()), *usage, out),
            Delta::Proved { .. } | Delta::Untold | Delta::Failed(_) => {}
        }
    }

    fn opened(&mut self, block: u32, kind: Kind, out: &mut Vec<u8>) {
        if self.current.is_some() {
            self.waiting.push_back(Waiting { block, kind, text: String::new(), seal: None, is_closed: false });
        } else {
            self.make_current(block, kind, out);
        }
    }

    /// A call begins at once: its name is news.
    fn make_current(&mut self, block: u32, kind: Kind, out: &mut Vec<u8>) {
        let is_call = matches!(kind, Kind::Call { .. });
        self.has_calls |= is_call;
        self.current = Some(Current { block, kind, head: Vec::new(), index: 0 });
        if is_call {
            self.begin(out);
        }
    }

    /// Writes the beginning of the current block, if that has not been done.
    fn begin(&mut self, out: &mut Vec<u8>) {
        let Some(current) = self.current.as_mut().filter(|current| current.head.is_empty()) else { return };
        current.index = self.index;
        self.index += 1;
        let (content_block, delta) = match &current.kind {
            Kind::Text => (Start::Text { text: "" }, r#""text_delta","text":"#),
            Kind::Thinking => (Start::Thinking { thinking: "", signature: "" }, r#""thinking_delta","thinking":"#),
            Kind::Call { id, name } => {
                (Start::ToolUse { id, name, input: Empty {} }, r#""input_json_delta","partial_json":"#)
            }
        };
        let start = BlockStart { kind: "content_block_start", index: current.index, content_block };
        event(out, "content_block_start", &start);
        current.head = head_of(current.index, delta);
    }

    fn more(&mut self, block: u32, text: Fragment<'_>, out: &mut Vec<u8>) {
        if text.is_empty() {
            return;
        }
        if self.current.as_ref().is_some_and(|current| current.block == block) {
            self.begin(out);
            if let Some(current) = &self.current {
                out.extend_from_slice(&current.head);
                text.write_json(out);
                out.extend_from_slice(b"}}\n\n");
            }
        } else if let Some(waiting) = self.waiting.iter_mut().find(|waiting| waiting.block == block) {
            let before = waiting.text.len();
            text.append_to(&mut waiting.text);
            self.waiting_bytes += waiting.text.len() - before;
            if self.waiting_bytes > WAITING_BYTES_MAX {
                self.close_current(out);
            }
        }
    }

    fn proved(&mut self, block: u32, seal: &str, out: &mut Vec<u8>) {
        if let Some(waiting) = self.waiting.iter_mut().find(|waiting| waiting.block == block) {
            waiting.seal = Some(seal.to_owned());
        }
        if self.current.as_ref().is_some_and(|current| current.block == block) {
            self.begin(out);
            if let Some(current) = &self.current {
                out.extend_from_slice(&head_of(current.index, r#""signature_delta","signature":"#));
                json::write(out, seal);
                out.extend_from_slice(b"}}\n\n");
            }
        }
    }

    fn closed(&mut self, block: u32, out: &mut Vec<u8>) {
        if let Some(waiting) = self.waiting.iter_mut().find(|waiting| waiting.block == block) {
            waiting.is_closed = true;
        }
        if self.current.as_ref().is_some_and(|current| current.block == block) {
            self.close_current(out);
        }
    }

    /// Ends the current block, and lets the next that waits have its say.
    fn close_current(&mut self, out: &mut Vec<u8>) {
        loop {
            if let Some(current) = self.current.take().filter(|current| !current.head.is_empty()) {
                out.extend_from_slice(b"event: content_block_stop\ndata: {\"type\":\"content_block_stop\",\"index\":");
                // Writing to a Vec cannot fail.
                let _ = write!(out, "{}}}\n\n", current.index);
            }
            let Some(next) = self.waiting.pop_front() else { return };
            self.waiting_bytes -= next.text.len();
            self.make_current(next.block, next.kind, out);
            self.more(next.block, Fragment::Plain(&next.text), out);
            if let Some(seal) = next.seal {
                self.proved(next.block, &seal, out);
            }
            if !next.is_closed {
                return;
            }
        }
    }

    fn ended(&mut self, end: (StopReason, Option<&str>), usage: CanonicalUsage, out: &mut Vec<u8>) {
        while self.current.is_some() || !self.waiting.is_empty() {
            self.close_current(out);
        }
        let (stop_reason, stop_sequence) = stopped(end, self.has_calls);
        let delta = Stopped { stop_reason, stop_sequence };
        event(out, "message_delta", &MessageDelta { kind: "message_delta", delta, usage: usage.into() });
        sse::write_event(out, Some("message_stop"), br#"{"type":"message_stop"}"#);
    }
}

impl Kind {
    fn of(opening: &Opening<'_>) -> Self {
        match opening {
            Opening::Text | Opening::Refusal => Self::Text,
            Opening::Reasoning => Self::Thinking,
            Opening::Call { id, name, .. } => {
                Self::Call { id: call_id(id).into_owned(), name: name.clone().into_owned() }
            }
        }
    }
}

fn head_of(index: u32, delta: &str) -> Vec<u8> {
    let mut head = Vec::with_capacity(160);
    head.extend_from_slice(b"event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":");
    // Writing to a Vec cannot fail.
    let _ = write!(head, "{index},\"delta\":{{\"type\":{delta}");
    head
}

/// Writes an event of one line of data.
fn event(out: &mut Vec<u8>, name: &str, data: &impl Serialize) {
    // Writing to a Vec cannot fail.
    let _ = write!(out, "event: {name}\ndata: ");
    json::write(out, data);
    out.extend_from_slice(b"\n\n");
}

#[derive(Serialize)]
struct MessageStart<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    message: Message<'a>,
}

#[derive(Serialize)]
struct BlockStart<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    index: u32,
    content_block: Start<'a>,
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Start<'a> {
    Text { text: &'static str },
    Thinking { thinking: &'static str, signature: &'static str },
    ToolUse { id: &'a str, name: &'a str, input: Empty },
}

#[derive(Serialize)]
struct Empty {}

#[derive(Serialize)]
struct MessageDelta<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    delta: Stopped<'a>,
    usage: Usage,
}

#[derive(Serialize)]
struct Stopped<'a> {
    stop_reason: &'static str,
    stop_sequence: Option<&'a str>,
}

#[cfg(test)]
mod tests;
