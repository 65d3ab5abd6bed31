//! An answer of another model as a Response: event by event, or whole.
//!
//! The whole one is what its stream would end with, so both say the same. Every text is written once as JSON and then
//! only copied: into its delta, and from there into the events that repeat it.

mod item;

use super::asked::Asked;
use super::stored::Answered;
use crate::domain::time::Timestamp;
use crate::protocol::canonical::{Answer, Block, Delta, Fragment, Opening, Piece, Proof, StopReason, Usage};
use crate::protocol::json;
use item::{Item, Place};

/// Longest part of the upstream's id that goes into ours, in characters.
const ID_CHARS_MAX: usize = 48;

/// Writes one stream.
#[derive(Debug)]
pub struct Writer {
    asked: Asked,
    created: u64,
    /// What all ids of the answer end with.
    tail: String,
    model: Vec<u8>,
    sequence: u64,
    /// The items in the order of their output index; those that are done are only JSON.
    items: Vec<Item>,
}

/// Writes an answer that comes whole, as one JSON body.
pub fn write_answer(answer: &Answer<'_>, created: Timestamp, asked: &Asked) -> Vec<u8> {
    let mut writer = Writer::new(created, asked.clone());
    let mut events = Vec::new();
    let mut write = |delta: &Delta<'_>| {
        events.clear();
        writer.write(delta, &mut events);
    };
    write(&Delta::Started { id: (&*answer.id).into(), model: (&*answer.model).into() });
    for (number, block) in (0..).zip(&answer.blocks) {
        write_block(number, block, &mut write);
    }
    writer.close_all(answer.stop, &mut events);
    let mut out = Vec::with_capacity(events.len() + 1024);
    writer.response(&mut out, Some((answer.stop, &answer.usage)));
    out
}

fn write_block(number: u32, block: &Block<'_>, write: &mut impl FnMut(&Delta<'_>)) {
    let (opening, piece, proof) = match block {
        Block::Text(text) | Block::Refusal(text) => (Opening::Text, Piece::Text(Fragment::Plain(text)), None),
        Block::Reasoning(reasoning) => {
            (Opening::Reasoning, Piece::Reasoning(Fragment::Plain(&reasoning.text)), reasoning.proof.clone())
        }
        Block::Call(call) => {
            let opening = Opening::Call {
                id: (&*call.id).into(),
                namespace: call.namespace.as_deref().map(Into::into),
                name: (&*call.name).into(),
                kind: call.kind,
            };
            (opening, Piece::Arguments(Fragment::Plain(&call.arguments)), None)
        }
        // Models answer with nothing of the kind.
        Block::Image(_) | Block::Document(_) | Block::Result(_) => return,
    };
    write(&Delta::Opened { block: number, opening });
    write(&Delta::More { block: number, piece });
    if let Some(proof) = proof {
        write(&Delta::Proved { block: number, proof });
    }
    write(&Delta::Closed { block: number });
}

impl Writer {
    /// Starts a stream that was `created` at the given time.
    pub fn new(created: Timestamp, asked: Asked) -> Self {
        Self {
            asked,
            created: created.as_secs(),
            tail: String::new(),
            model: Vec::new(),
            sequence: 0,
            items: Vec::new(),
        }
    }

    /// Returns the number that the next event has.
    pub const fn next_sequence_number(&self) -> u64 {
        self.sequence
    }

    /// Returns the answer as the client got it, taken apart; only of one that has ended.
    pub fn answered(&self) -> Option<Answered> {
        Answered::put_together(&format!("resp_{}", self.tail), self.items.iter().map(Item::json))
    }

    /// Appends the events of a delta. An upstream's error is left to the caller.
    pub fn write(&mut self, delta: &Delta<'_>, out: &mut Vec<u8>) {
        match delta {
            Delta::Started { id, model } => self.start(id, model, out),
            Delta::Opened { block, opening } => self.open(*block, opening, out),
            Delta::More { block, piece } => {
                let (Piece::Text(text) | Piece::Reasoning(text) | Piece::Arguments(text)) = piece;
                self.more(*block, text, out);
            }
            Delta::Proved { block, proof: Proof::Sealed(seal) } => {
                if let Some((_, item)) = self.item(*block) {
                    item.seal = Some(seal.as_bytes().to_vec());
                }
            }
            Delta::Closed { block } => {
                let sequence = &mut self.sequence;
                let found = self.items.iter_mut().enumerate().find(|(_, item)| item.block == Some(*block));
                if let Some((index, item)) = found {
                    item.closed(&mut Place { index, sequence, tail: &self.tail }, out);
                }
            }
            Delta::Ended { stop, usage, .. } => {
                self.close_all(*stop, out);
                let name = if status(*stop) == "completed" { "response.completed" } else { "response.incomplete" };
                self.response_event(name, Some((*stop, usage)), out);
            }
            // Other providers' proofs never come here, and what is not carried has no events.
            Delta::Proved { .. } | Delta::Untold | Delta::Failed(_) => {}
        }
    }

    fn start(&mut self, id: &str, model: &str, out: &mut Vec<u8>) {
        let tail = id.split_once('_').map_or(id, |(_, tail)| tail);
        let legal = |char: &char| char.is_ascii_alphanumeric() || *char == '_' || *char == '-';
        self.tail = tail.chars().filter(legal).take(ID_CHARS_MAX).collect();
        if self.tail.is_empty() {
            self.tail = format!("{:x}", self.created);
        }
        json::write(&mut self.model, model);
        self.response_event("response.created", None, out);
        self.response_event("response.in_progress", None, out);
    }

    fn item(&mut self, block: u32) -> Option<(usize, &mut Item)> {
        self.items.iter_mut().enumerate().rev().find(|(_, item)| item.block == Some(block))
    }

    fn open(&mut self, block: u32, opening: &Opening<'_>, out: &mut Vec<u8>) {
        let last = self.items.len().wrapping_sub(1);
        // Text upon text goes into the same message, as another part of it.
        if let (Opening::Text | Opening::Refusal, Some(message)) =
            (opening, self.items.last_mut().filter(|item| item.can_go_on()))
        {
            let mut place = Place { index: last, sequence: &mut self.sequence, tail: &self.tail };
            return message.next_part(block, &mut place, out);
        }
        self.close_ready(false, out);
        let index = self.items.len();
        let built_in = match opening {
            Opening::Call { namespace: None, name, .. } => self.asked.built_in.iter().find(|known| *known == name),
            _ => None,
        };
        let mut item = Item::new(block, opening, built_in.copied());
        item.opened(&mut Place { index, sequence: &mut self.sequence, tail: &self.tail }, out);
        self.items.push(item);
    }

    fn more(&mut self, block: u32, text: &Fragment<'_>, out: &mut Vec<u8>) {
        let sequence = &mut self.sequence;
        let found = self.items.iter_mut().enumerate().rev().find(|(_, item)| item.block == Some(block));
        if let Some((index, item)) = found.filter(|_| !text.is_empty()) {
            item.more(text, &mut Place { index, sequence, tail: &self.tail }, out);
        }
    }

    /// Finishes the items whose blocks are closed.
    fn close_ready(&mut self, is_cut: bool, out: &mut Vec<u8>) {
        let last = self.items.len().wrapping_sub(1);
        for (index, item) in self.items.iter_mut().enumerate() {
            if item.is_ready() {
                let mut place = Place { index, sequence: &mut self.sequence, tail: &self.tail };
                item.done(is_cut && index == last, &mut place, out);
            }
        }
    }

    /// Finishes all items; what the limit cut off is the last one.
    fn close_all(&mut self, stop: StopReason, out: &mut Vec<u8>) {
        self.close_ready(status(stop) == "incomplete", out);
    }

    fn response_event(&mut self, name: &str, end: Option<(StopReason, &Usage)>, out: &mut Vec<u8>) {
        item::begin(name, &mut self.sequence, out);
        out.extend_from_slice(b",\"response\":");
        self.response(out, end);
        out.extend_from_slice(b"}\n\n");
    }

    /// Appends the response object: as it is at the end, or at the beginning.
    fn response(&self, out: &mut Vec<u8>, end: Option<(StopReason, &Usage)>) {
        out.extend_from_slice(b"{\"id\":\"resp_");
        out.extend_from_slice(self.tail.as_bytes());
        out.extend_from_slice(b"\",\"object\":\"response\",\"created_at\":");
        item::number(self.created, out);
        let stop = end.map(|(stop, _)| stop);
        out.extend_from_slice(b",\"status\":\"");
        out.extend_from_slice(stop.map_or("in_progress", status).as_bytes());
        out.extend_from_slice(b"\",\"completed_at\":");
        match stop.filter(|stop| status(*stop) == "completed") {
            Some(_) => item::number(self.created, out),
            None => out.extend_from_slice(b"null"),
        }
        out.extend_from_slice(b",\"error\":null,\"incomplete_details\":");
        out.extend_from_slice(match stop {
            Some(StopReason::MaxTokens) => b"{\"reason\":\"max_output_tokens\"}",
            Some(StopReason::Refusal) => b"{\"reason\":\"content_filter\"}",
            _ => b"null",
        });
        out.extend_from_slice(b",\"model\":");
        out.extend_from_slice(&self.model);
        out.extend_from_slice(b",\"output\":[");
        for (at, item) in self.items.iter().enumerate().filter(|_| end.is_some()) {
            if at > 0 {
                out.push(b',');
            }
            out.extend_from_slice(item.json());
        }
        out.extend_from_slice(b"],\"usage\":");
        match end {
            Some((_, usage)) => write_usage(usage, out),
            None => out.extend_from_slice(b"null"),
        }
        out.extend_from_slice(&self.asked.members);
        out.push(b'}');
    }
}

const fn status(stop: StopReason) -> &'static str {
    match stop {
        StopReason::EndTurn | StopReason::ToolUse | StopReason::StopSequence | StopReason::Pause => "completed",
        StopReason::MaxTokens | StopReason::Refusal => "incomplete",
    }
}

fn write_usage(usage: &Usage, out: &mut Vec<u8>) {
    let input = usage.input_tokens();
    for (name, count) in [
        ("{\"input_tokens\":", input),
        (",\"input_tokens_details\":{\"cached_tokens\":", usage.cache_read_tokens),
        (",\"cache_write_tokens\":", usage.cache_write_tokens),
        ("},\"output_tokens\":", usage.output_tokens),
        (",\"output_tokens_details\":{\"reasoning_tokens\":", usage.thinking_tokens),
        ("},\"total_tokens\":", input.saturating_add(usage.output_tokens)),
    ] {
        out.extend_from_slice(name.as_bytes());
        item::number(count, out);
    }
    out.push(b'}');
}

#[cfg(test)]
mod tests;
