//! A stream of Messages, event by event, in canonical terms.

use std::borrow::Cow;

use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::protocol::anthropic_messages::decode::{malformed, stop_reason};
use crate::protocol::anthropic_messages::wire::answer::{
    self as wire, BlockDelta, BlockStart, DeltaWire, MessageDelta, MessageStart, StartedBlock,
};
use crate::protocol::canonical::{AnswerError, CallKind, Delta, Fragment, Opening, Piece, Proof, StopReason};
use crate::protocol::json;
use crate::protocol::sse::Event;

/// Longest signature of one block, in bytes; a longer one is no signature.
const SIGNATURE_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Reads one stream.
#[derive(Debug, Default)]
pub struct Reader {
    started: bool,
    ended: bool,
    stop: StopReason,
    usage: wire::Usage,
    /// How many blocks were told so far, and so the number of the next one.
    blocks: u32,
    has_calls: bool,
    open: Open,
}

/// The block that is open; Messages has one at a time, so its index says nothing new.
#[derive(Debug, Default)]
enum Open {
    /// None, or one that is not carried.
    #[default]
    Nothing,
    Text,
    Reasoning {
        signature: String,
    },
    Call {
        /// Arguments that came with the beginning; they count where no others follow.
        early: Option<String>,
    },
}

impl Reader {
    /// Reads the next event. Events that say nothing that is carried, and events after the end, tell of nothing.
    ///
    /// The end is told at `message_stop` and not when the stop reason comes, so a stream that is cut in between is never
    /// taken for a finished one.
    pub fn read(&mut self, event: Event<'_>, on_delta: &mut impl FnMut(Delta<'_>)) -> Result<(), AnswerError> {
        if self.ended {
            return Ok(());
        }
        let data = event.data;
        let name =
            if event.name.is_empty() { json::top_level_str(data, b"type").unwrap_or_default() } else { event.name };
        match name {
            b"content_block_delta" => {
                self.must_have_started()?;
                let delta = match scanned(data) {
                    Some(delta) => delta,
                    None => parsed::<BlockDelta<'_>>(data)?.delta,
                };
                self.more(delta, on_delta);
            }
            b"content_block_start" => {
                self.must_have_started()?;
                self.close(on_delta);
                self.begin(parsed::<BlockStart<'_>>(data)?.content_block, on_delta);
            }
            b"content_block_stop" => self.close(on_delta),
            b"message_start" if !self.started => {
                let MessageStart { message } = parsed(data)?;
                self.started = true;
                self.usage = message.usage;
                on_delta(Delta::Started { id: message.id.0, model: message.model.0 });
            }
            b"message_delta" => {
                let MessageDelta { delta, usage } = parsed(data)?;
                self.usage.update(&usage);
                self.stop = delta.stop_reason.map_or(self.stop, |reason| stop_reason(&reason.0));
            }
            b"message_stop" => {
                self.must_have_started()?;
                parsed::<IgnoredAny>(data)?; // cut off, it is no end
                self.close(on_delta);
                self.ended = true;
                // Without a call there is nothing to wait for: a client would send nothing back.
                let stop = match self.stop {
                    StopReason::ToolUse if !self.has_calls => StopReason::EndTurn,
                    stop => stop,
                };
                on_delta(Delta::Ended { stop, stop_text: None, usage: self.usage.into() });
            }
            b"error" => on_delta(Delta::Failed(data)),
            _ => {}
        }
        Ok(())
    }

    /// A block opens; its values are empty, but need not be.
    fn begin(&mut self, started: StartedBlock<'_>, on_delta: &mut impl FnMut(Delta<'_>)) {
        let block = self.blocks;
        let opening = match &*started.kind.0 {
            "text" => {
                self.open = Open::Text;
                Opening::Text
            }
            "thinking" | "redacted_thinking" => {
                let signature = started.signature.map(|signature| signature.0.into_owned()).unwrap_or_default();
                self.open = Open::Reasoning { signature };
                Opening::Reasoning
            }
            "tool_use" => {
                let early = started.input.map(serde_json::value::RawValue::get).filter(|input| !is_empty_object(input));
                self.open = Open::Call { early: early.map(str::to_owned) };
                self.has_calls = true;
                let (id, name) = (started.id.unwrap_or_default().0, started.name.unwrap_or_default().0);
                Opening::Call { id, namespace: None, name, kind: CallKind::Function }
            }
            _ => return on_delta(Delta::Untold),
        };
        self.blocks += 1;
        on_delta(Delta::Opened { block, opening });
        for piece in [started.text.map(Piece::Text), started.thinking.map(Piece::Reasoning)].into_iter().flatten() {
            say(block, piece, on_delta);
        }
        if let Some(data) = started.data {
            on_delta(Delta::Proved { block, proof: Proof::Redacted(data.0) });
        }
    }

    fn more(&mut self, delta: DeltaWire<'_>, on_delta: &mut impl FnMut(Delta<'_>)) {
        let block = self.blocks.saturating_sub(1);
        match (&mut self.open, delta) {
            (Open::Text, DeltaWire { text: Some(text), .. }) => say(block, Piece::Text(text), on_delta),
            (Open::Reasoning { .. }, DeltaWire { thinking: Some(text), .. }) => {
                say(block, Piece::Reasoning(text), on_delta);
            }
            (Open::Reasoning { signature }, DeltaWire { signature: Some(more), .. })
                if signature.len() < SIGNATURE_BYTES_MAX =>
            {
                more.append_to(signature);
            }
            (Open::Call { early }, DeltaWire { partial_json: Some(json), .. }) if !json.is_empty() => {
                *early = None;
                say(block, Piece::Arguments(json), on_delta);
            }
            _ => {}
        }
    }

    fn close(&mut self, on_delta: &mut impl FnMut(Delta<'_>)) {
        let block = self.blocks.saturating_sub(1);
        match std::mem::take(&mut self.open) {
            Open::Nothing => return,
            Open::Reasoning { signature } if !signature.is_empty() => {
                on_delta(Delta::Proved { block, proof: Proof::Signature(Cow::Owned(signature)) });
            }
            Open::Call { early: Some(input) } => say(block, Piece::Arguments((&*input).into()), on_delta),
            Open::Text | Open::Reasoning { .. } | Open::Call { early: None } => {}
        }
        on_delta(Delta::Closed { block });
    }

    fn must_have_started(&self) -> Result<(), AnswerError> {
        let missing = || AnswerError::Malformed("content before `message_start`".into());
        self.started.then_some(()).ok_or_else(missing)
    }
}

fn say(block: u32, piece: Piece<'_>, on_delta: &mut impl FnMut(Delta<'_>)) {
    let (Piece::Text(text) | Piece::Reasoning(text) | Piece::Arguments(text)) = &piece;
    if !text.is_empty() {
        on_delta(Delta::More { block, piece });
    }
}

/// Returns whether a JSON value is an object without members.
fn is_empty_object(json: &str) -> bool {
    json.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')).is_some_and(|inner| inner.trim().is_empty())
}

/// Reads a delta of the usual form, which is nearly every event there is, by looking at it only once; `None` leaves it to
/// the parser, whatever it is.
fn scanned(data: &[u8]) -> Option<DeltaWire<'_>> {
    let delta = json::top_level(data, b"delta")?;
    let rest = delta.strip_prefix(b"{\"type\":\"")?;
    let kind = memchr::memchr(b'"', rest)?;
    let (kind, rest) = rest.split_at(kind);
    let (member, into): (&[u8], fn(Fragment<'_>) -> DeltaWire<'_>) = match kind {
        b"text_delta" => (b"\",\"text\":", |text| DeltaWire { text: Some(text), ..DeltaWire::default() }),
        b"input_json_delta" => {
            (b"\",\"partial_json\":", |json| DeltaWire { partial_json: Some(json), ..DeltaWire::default() })
        }
        b"thinking_delta" => (b"\",\"thinking\":", |text| DeltaWire { thinking: Some(text), ..DeltaWire::default() }),
        _ => return None,
    };
    let (fragment, rest) = Fragment::read(rest.strip_prefix(member)?)?;
    let rest = rest.strip_prefix(b"}")?.trim_ascii_start().strip_prefix(b"}")?;
    rest.trim_ascii_start().is_empty().then(|| into(fragment))
}

fn parsed<'a, T: Deserialize<'a>>(data: &'a [u8]) -> Result<T, AnswerError> {
    serde_json::from_slice(data).map_err(|error| malformed(&error))
}

#[cfg(test)]
mod tests;
