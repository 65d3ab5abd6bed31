//! Which API is translated to which, put together: request there, answer and stream back.
//!
//! [`plan`] knows the pairs. [`Pipe`] is what a streaming body holds, whether the bytes pass as they are or are
//! rewritten; both kinds answer the same questions about where the stream stands.

mod home;
mod stream;

pub use home::WayBack;
pub use stream::{End, Flow, Pipe, StreamTranslator};

use crate::domain::model::Dialect;
use crate::domain::time::Timestamp;
use crate::protocol::canonical::{AnswerError, Target};
use crate::protocol::loss::{Dropped, Refusal};
use crate::protocol::names::Names;
use crate::protocol::reasoning::{self, Sealer};
use crate::protocol::{anthropic_messages, openai_chat, repair};
use stream::{Reader, Writer};

/// How a client's dialect reaches a model's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plan {
    /// Both are the same: `passthrough` does all.
    PassThrough,
    /// They differ.
    Translate(Translation),
}

/// Returns how a client of one dialect is served by an upstream of another; `None` where that is not possible.
pub const fn plan(client: Dialect, upstream: Dialect) -> Option<Plan> {
    match (client, upstream) {
        (Dialect::Messages, Dialect::Messages)
        | (Dialect::ChatCompletions, Dialect::ChatCompletions)
        | (Dialect::Responses, Dialect::Responses) => Some(Plan::PassThrough),
        (Dialect::ChatCompletions, Dialect::Messages) => Some(Plan::Translate(Translation::ChatToMessages)),
        (Dialect::Messages | Dialect::ChatCompletions, Dialect::Responses)
        | (Dialect::Messages | Dialect::Responses, Dialect::ChatCompletions)
        | (Dialect::Responses, Dialect::Messages) => None,
    }
}

/// A pair of different dialects: the client's, and the upstream's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Translation {
    /// Chat Completions, served by Messages.
    ChatToMessages,
}

/// A request, translated.
#[derive(Debug)]
pub struct Translated {
    /// The body for the upstream.
    pub body: Vec<u8>,
    /// Whether the upstream is asked for a stream.
    pub stream: bool,
    /// For [`Translation::answer`] and [`Translation::stream`].
    pub way_back: WayBack,
    /// What was left out although the answer may differ.
    pub dropped: Dropped,
}

impl Translation {
    /// Translates the body of a request. `sealer` opens reasoning that comes from `target`, and seals what it will
    /// answer; without one there is no reasoning in either.
    pub fn request(self, body: &[u8], target: &Target<'_>, sealer: Option<&Sealer>) -> Result<Translated, Refusal> {
        match self {
            Self::ChatToMessages => {
                let mut decoded = openai_chat::request(body)?;
                reasoning::open(&mut decoded.conversation, sealer);
                repair::repair(&mut decoded.conversation);
                let names = Names::of(&decoded.conversation, &anthropic_messages::NAME_RULES);
                let encoded = anthropic_messages::write_request(&decoded.conversation, target, &names)?;
                let mut dropped = decoded.dropped;
                for unmet in encoded.unmet {
                    dropped.add(openai_chat::path(unmet));
                }
                let include_usage = decoded.include_usage;
                let way_back = WayBack { names, sealer: sealer.cloned(), include_usage };
                Ok(Translated { body: encoded.body, stream: decoded.conversation.stream, way_back, dropped })
            }
        }
    }

    /// Translates the body of a successful answer that is no stream; `created` is when it came.
    pub fn answer(self, body: &[u8], created: Timestamp, way_back: &WayBack) -> Result<Vec<u8>, AnswerError> {
        match self {
            Self::ChatToMessages => {
                let mut answer = anthropic_messages::read_answer(body)?;
                way_back.bring(&mut answer);
                Ok(openai_chat::answer(&answer, created))
            }
        }
    }

    /// Starts to translate a stream; `created` is when it began.
    pub fn stream(self, created: Timestamp, way_back: WayBack) -> StreamTranslator {
        let (from, to) = match self {
            Self::ChatToMessages => (
                Reader::Messages(anthropic_messages::Reader::default()),
                Writer::ChatCompletions(openai_chat::ChunkWriter::new(created, way_back.include_usage)),
            ),
        };
        StreamTranslator::new(from, to, way_back)
    }
}

#[cfg(test)]
mod tests;
