//! Streams on their way to the client.

use super::cut::Cutter;
use super::home::{Home, WayBack};
use crate::protocol::canonical::{AnswerError, Delta};
use crate::protocol::openai_responses::Answered;
use crate::protocol::passthrough::{ERROR_BYTES_MAX, StreamWatch};
use crate::protocol::sse::{Decoder, Event};
use crate::protocol::{anthropic_messages, openai_chat, openai_responses};

/// How a stream ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// With the event that ends a stream of the dialect.
    Complete,
    /// The upstream reported an error; see [`Pipe::error`]. Where bytes pass as they are, the client has it already.
    Failed,
    /// Before its end. The client must be told with an error event.
    CutShort,
}

/// What to do with the bytes that were fed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// Send them on as they are; nothing was written.
    AsIs,
    /// Send what was written, if anything, in their place.
    Rewritten,
}

/// A stream on its way from an upstream to a client.
#[derive(Debug)]
pub enum Pipe {
    /// The dialects are the same.
    PassThrough(StreamWatch),
    /// They differ.
    Translate(Box<StreamTranslator>),
}

impl Pipe {
    /// Takes the next bytes of the upstream; appends what the client gets in their place to `out`. After an error the
    /// stream cannot be read on.
    pub fn feed(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Result<Flow, AnswerError> {
        match self {
            Self::PassThrough(watch) => {
                watch.feed(bytes);
                Ok(Flow::AsIs)
            }
            Self::Translate(translator) => translator.feed(bytes, out).map(|()| Flow::Rewritten),
        }
    }

    /// Takes notice that the upstream sends nothing more, and appends what is left to say.
    pub fn finish(&mut self, out: &mut Vec<u8>) -> End {
        match self {
            Self::PassThrough(watch) => {
                watch.finish();
                end(watch.error().is_some(), watch.finished())
            }
            Self::Translate(translator) => translator.finish(out),
        }
    }

    /// Returns a whole answer in Responses as the client got it, taken apart; `None` before its end and in other dialects.
    pub fn answered(&self) -> Option<Answered> {
        match self {
            Self::Translate(translator) if translator.step.seen.finished => match &translator.step.to {
                Writer::Responses(writer) => writer.answered(),
                Writer::ChatCompletions(_) | Writer::Messages(_) => None,
            },
            Self::Translate(_) | Self::PassThrough(_) => None,
        }
    }

    /// Returns whether the upstream has begun with content, so that a second attempt would repeat it to the client.
    pub const fn content_started(&self) -> bool {
        match self {
            Self::PassThrough(watch) => watch.content_started(),
            Self::Translate(translator) => translator.step.seen.content_started,
        }
    }

    /// Returns whether the stream came to its proper end.
    pub const fn finished(&self) -> bool {
        match self {
            Self::PassThrough(watch) => watch.finished(),
            Self::Translate(translator) => translator.step.seen.finished,
        }
    }

    /// Returns the data of the first error event of the upstream, bounded; `error::read` understands it. A translated
    /// stream stops there and leaves it to the caller to tell the client.
    pub fn error(&self) -> Option<&[u8]> {
        match self {
            Self::PassThrough(watch) => watch.error(),
            Self::Translate(translator) => translator.step.seen.error.as_deref(),
        }
    }

    /// Returns whether an event, such as a heartbeat, may be put in here. A translated stream is written in whole events.
    pub const fn at_event_boundary(&self) -> bool {
        match self {
            Self::PassThrough(watch) => watch.at_event_boundary(),
            Self::Translate(_) => true,
        }
    }

    /// Returns the `sequence_number` for the next event, should the client speak Responses.
    pub const fn next_sequence_number(&self) -> u64 {
        match self {
            Self::PassThrough(watch) => watch.events(),
            Self::Translate(translator) => translator.step.to.next_sequence_number(),
        }
    }
}

const fn end(has_error: bool, finished: bool) -> End {
    match (has_error, finished) {
        (true, _) => End::Failed,
        (false, true) => End::Complete,
        (false, false) => End::CutShort,
    }
}

/// Rewrites a stream for a client of another dialect.
#[derive(Debug)]
pub struct StreamTranslator {
    events: Decoder,
    step: Step,
}

/// What reads the stream of an upstream, by its dialect.
#[derive(Debug)]
pub(super) enum Reader {
    Messages(anthropic_messages::Reader),
    Responses(openai_responses::Reader),
}

impl Reader {
    pub(super) fn read(&mut self, event: Event<'_>, on_delta: &mut impl FnMut(Delta<'_>)) -> Result<(), AnswerError> {
        match self {
            Self::Messages(reader) => reader.read(event, on_delta),
            Self::Responses(reader) => reader.read(event, on_delta),
        }
    }
}

/// What writes the stream for a client, by its dialect.
#[derive(Debug)]
pub(super) enum Writer {
    ChatCompletions(openai_chat::ChunkWriter),
    Messages(anthropic_messages::Writer),
    Responses(openai_responses::Writer),
}

impl Writer {
    pub(super) fn write(&mut self, delta: &Delta<'_>, out: &mut Vec<u8>) {
        match self {
            Self::ChatCompletions(writer) => writer.write(delta, out),
            Self::Messages(writer) => writer.write(delta, out),
            Self::Responses(writer) => writer.write(delta, out),
        }
    }

    /// Returns the `sequence_number` of the next event, for dialects that number them.
    const fn next_sequence_number(&self) -> u64 {
        match self {
            Self::ChatCompletions(_) | Self::Messages(_) => 0,
            Self::Responses(writer) => writer.next_sequence_number(),
        }
    }
}

/// The way of one event, and what has been seen so far.
#[derive(Debug)]
struct Step {
    from: Reader,
    home: Home,
    cutter: Cutter,
    to: Writer,
    seen: Seen,
}

#[derive(Debug, Default)]
struct Seen {
    content_started: bool,
    finished: bool,
    error: Option<Vec<u8>>,
}

impl StreamTranslator {
    pub(super) fn new(from: Reader, to: Writer, way_back: WayBack) -> Self {
        let cutter = Cutter::new(way_back.stops.clone());
        let step = Step { from, home: Home::new(way_back), cutter, to, seen: Seen::default() };
        Self { events: Decoder::default(), step }
    }

    fn feed(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Result<(), AnswerError> {
        self.events.feed(bytes, &mut |event| self.step.take(event, out))
    }

    /// A last event that cannot be read is one that was cut.
    fn finish(&mut self, out: &mut Vec<u8>) -> End {
        let readable = self.events.finish(&mut |event| self.step.take(event, out)).is_ok();
        end(self.step.seen.error.is_some(), self.step.seen.finished && readable)
    }
}

impl Step {
    fn take(&mut self, event: Event<'_>, out: &mut Vec<u8>) -> Result<(), AnswerError> {
        if self.seen.error.is_some() {
            return Ok(());
        }
        let Self { from, home, cutter, to, seen } = self;
        from.read(event, &mut |delta| {
            seen.note(&delta);
            home.pass(delta, &mut |delta| cutter.pass(delta, &mut |delta| to.write(delta, out)));
        })
    }
}

impl Seen {
    fn note(&mut self, delta: &Delta<'_>) {
        match delta {
            Delta::Started { .. } => {}
            Delta::Untold | Delta::Opened { .. } | Delta::More { .. } | Delta::Proved { .. } | Delta::Closed { .. } => {
                self.content_started = true;
            }
            Delta::Ended { .. } => self.finished = true,
            Delta::Failed(data) => self.error = Some(data[..data.len().min(ERROR_BYTES_MAX)].to_vec()),
        }
    }
}
