//! One item of the output, and the blocks that it becomes.

use std::borrow::Cow;

use super::wire::{self, Inside};
use crate::protocol::canonical::{Block, Call, CallKind, Delta, Fragment, Opening, Piece, Proof, Reasoning};
use crate::protocol::json::Str;

/// What stands between the parts of a summary where they are one text.
const SUMMARY_BREAK: &str = "\n\n";

/// What an answer has said so far, as far as it decides why it ended.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Content {
    pub(super) has_call: bool,
    pub(super) has_refusal: bool,
}

impl Content {
    pub(super) fn note(&mut self, item: &wire::Item<'_>) {
        self.has_call |= matches!(&*item.kind.0, "function_call" | "custom_tool_call");
        self.has_refusal |= item.content.iter().flatten().any(|part| part.refusal.is_some());
    }
}

/// An item on its way.
#[derive(Debug)]
pub(super) struct Item {
    pub(super) output_index: u64,
    kind: Kind,
    /// The block that is open.
    block: Option<u32>,
    /// The part that is open, or the next one where none is.
    part: u64,
    /// Whether the open part has said anything.
    said: bool,
    /// Whether the open part of a message is a refusal.
    refuses: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Its parts are blocks of text.
    Message,
    /// One block, of all parts.
    Reasoning,
    Call(CallKind),
    /// Work of the provider's, or something new.
    Untold,
}

impl Kind {
    fn of(kind: &str) -> Self {
        match kind {
            "message" => Self::Message,
            "reasoning" => Self::Reasoning,
            "function_call" => Self::Call(CallKind::Function),
            "custom_tool_call" => Self::Call(CallKind::Custom),
            _ => Self::Untold,
        }
    }
}

impl Item {
    pub(super) fn of(output_index: u64, item: &wire::Item<'_>) -> Self {
        Self { output_index, kind: Kind::of(&item.kind.0), block: None, part: 0, said: false, refuses: false }
    }

    /// Returns the item that an event inside of it implies. A call without its name is none.
    pub(super) fn implied(output_index: u64, event: &[u8]) -> Self {
        let kind = match event {
            event if event.starts_with(b"reasoning") => Kind::Reasoning,
            event if event.starts_with(b"function") || event.starts_with(b"custom") => Kind::Untold,
            _ => Kind::Message,
        };
        Self { output_index, kind, block: None, part: 0, said: false, refuses: false }
    }

    /// Opens what can be opened before anything is said.
    pub(super) fn open(&mut self, item: &wire::Item<'_>, next_block: &mut u32, on_delta: &mut impl FnMut(Delta<'_>)) {
        let text = |member: &Option<Str<'_>>| member.as_ref().map_or(String::new(), |Str(text)| text.to_string());
        match self.kind {
            Kind::Message => {}
            Kind::Untold => on_delta(Delta::Untold),
            Kind::Reasoning => self.start(Opening::Reasoning, next_block, on_delta),
            Kind::Call(kind) => {
                let (id, name) = (text(&item.call_id).into(), text(&item.name).into());
                self.start(Opening::Call { id, namespace: None, name, kind }, next_block, on_delta);
            }
        }
    }

    fn start(&mut self, opening: Opening<'_>, next_block: &mut u32, on_delta: &mut impl FnMut(Delta<'_>)) {
        let block = *next_block;
        *next_block += 1;
        self.block = Some(block);
        self.said = false;
        on_delta(Delta::Opened { block, opening });
    }

    /// Makes `index` the open part; of a message also one that `refuses` or does not.
    fn reach(&mut self, index: u64, refuses: bool, next_block: &mut u32, on_delta: &mut impl FnMut(Delta<'_>)) {
        match self.kind {
            Kind::Message => {
                if self.block.is_some() && (index > self.part || refuses != self.refuses) {
                    self.close(on_delta);
                }
                if self.block.is_none() {
                    self.part = index;
                    self.refuses = refuses;
                    let opening = if refuses { Opening::Refusal } else { Opening::Text };
                    self.start(opening, next_block, on_delta);
                }
            }
            Kind::Reasoning => {
                if self.block.is_none() {
                    self.start(Opening::Reasoning, next_block, on_delta);
                }
                if index > self.part {
                    self.part = index;
                    self.said = false;
                    self.say(&Fragment::Plain(SUMMARY_BREAK), on_delta);
                    self.said = false;
                }
            }
            Kind::Call(_) | Kind::Untold => {}
        }
    }

    fn say(&mut self, text: &Fragment<'_>, on_delta: &mut impl FnMut(Delta<'_>)) {
        let Some(block) = self.block else { return };
        self.said = true;
        let piece = match self.kind {
            Kind::Message => Piece::Text(*text),
            Kind::Reasoning => Piece::Reasoning(*text),
            Kind::Call(_) => Piece::Arguments(*text),
            Kind::Untold => return,
        };
        if !text.is_empty() {
            on_delta(Delta::More { block, piece });
        }
    }

    fn index_of(&self, inside: &Inside<'_>) -> u64 {
        if self.kind == Kind::Reasoning { inside.summary_index.max(inside.content_index) } else { inside.content_index }
    }

    pub(super) fn part_added(
        &mut self,
        inside: &Inside<'_>,
        next_block: &mut u32,
        on_delta: &mut impl FnMut(Delta<'_>),
    ) {
        let refuses = inside.part.as_ref().is_some_and(|part| part.refusal.is_some());
        self.reach(self.index_of(inside), refuses, next_block, on_delta);
    }

    /// Takes more of a text; of one that `refuses`, or of another.
    pub(super) fn more(
        &mut self,
        inside: &Inside<'_>,
        refuses: bool,
        next_block: &mut u32,
        on_delta: &mut impl FnMut(Delta<'_>),
    ) {
        self.reach(self.index_of(inside), refuses, next_block, on_delta);
        if let Some(delta) = &inside.delta {
            self.say(delta, on_delta);
        }
    }

    /// Takes a text that is complete. What came in pieces is not said again.
    pub(super) fn whole(&mut self, inside: &Inside<'_>, next_block: &mut u32, on_delta: &mut impl FnMut(Delta<'_>)) {
        let text = inside.text.or(inside.refusal).or(inside.arguments).or(inside.input);
        self.reach(self.index_of(inside), inside.refusal.is_some(), next_block, on_delta);
        if let Some(text) = text.filter(|_| !self.said) {
            self.say(&text, on_delta);
        }
        if self.kind == Kind::Message {
            self.close(on_delta);
            self.part += 1;
        }
    }

    /// Takes the item as it is at the end, says what has not been said, and closes it.
    pub(super) fn done(&mut self, item: &wire::Item<'_>, next_block: &mut u32, on_delta: &mut impl FnMut(Delta<'_>)) {
        match self.kind {
            Kind::Message => {
                for (index, part) in (0..).zip(item.content.iter().flatten()) {
                    if index < self.part || (index == self.part && self.said) {
                        continue;
                    }
                    self.reach(index, part.refusal.is_some(), next_block, on_delta);
                    if let Some(text) = part.text.or(part.refusal) {
                        self.say(&text, on_delta);
                    }
                }
            }
            Kind::Reasoning => {
                let parts = if item.summary.as_ref().is_some_and(|parts| !parts.is_empty()) {
                    &item.summary
                } else {
                    &item.content
                };
                for (index, part) in (0..).zip(parts.iter().flatten()) {
                    if index < self.part || (index == self.part && self.said) {
                        continue;
                    }
                    self.reach(index, false, next_block, on_delta);
                    if let Some(text) = part.text {
                        self.say(&text, on_delta);
                    }
                }
                if let (Some(block), Some(proof)) = (self.block, proof(item)) {
                    on_delta(Delta::Proved { block, proof });
                }
            }
            Kind::Call(_) => {
                if let Some(text) = item.arguments.or(item.input).filter(|_| !self.said) {
                    self.say(&text, on_delta);
                }
            }
            Kind::Untold => {}
        }
        self.close(on_delta);
    }

    pub(super) fn close(&mut self, on_delta: &mut impl FnMut(Delta<'_>)) {
        if let Some(block) = self.block.take() {
            on_delta(Delta::Closed { block });
        }
        self.said = false;
    }
}

fn proof<'a>(item: &wire::Item<'a>) -> Option<Proof<'a>> {
    let Str(content) = item.encrypted_content.clone()?;
    let summary = item.summary.iter().flatten().filter_map(|part| part.text.as_ref().map(Fragment::text));
    let id = item.id.clone().map_or(Cow::Borrowed(""), |Str(id)| id);
    Some(Proof::Encrypted { id, content, summary: summary.collect() })
}

/// Returns the blocks of an item that came whole.
pub(super) fn blocks<'a>(item: wire::Item<'a>) -> Vec<Block<'a>> {
    let text = |member: Option<Str<'a>>| member.map_or(Cow::Borrowed(""), |Str(text)| text);
    match Kind::of(&item.kind.0) {
        Kind::Message => {
            let parts = item.content.into_iter().flatten();
            let block = |part: wire::Part<'a>| match (part.text, part.refusal) {
                (Some(text), _) => Some(Block::Text(text.text())),
                (None, Some(refusal)) => Some(Block::Refusal(refusal.text())),
                (None, None) => None,
            };
            parts.filter_map(block).collect()
        }
        Kind::Reasoning => {
            let proof = proof(&item);
            let parts = item.summary.filter(|parts| !parts.is_empty()).or(item.content);
            let texts: Vec<Cow<'_, str>> =
                parts.into_iter().flatten().filter_map(|part| part.text.map(|text| text.text())).collect();
            vec![Block::Reasoning(Reasoning { text: texts.join(SUMMARY_BREAK).into(), proof })]
        }
        Kind::Call(kind) => vec![Block::Call(Call {
            id: text(item.call_id),
            namespace: None,
            name: text(item.name),
            kind,
            arguments: item.arguments.or(item.input).map_or(Cow::Borrowed(""), |text| text.text()),
        })],
        Kind::Untold => Vec::new(),
    }
}
