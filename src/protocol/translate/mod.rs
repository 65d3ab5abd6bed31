//! Which API is translated to which, put together: request there, answer and stream back.
//!
//! [`plan`] knows the pairs. [`Pipe`] is what a streaming body holds, whether the bytes pass as they are or are
//! rewritten; both kinds answer the same questions about where the stream stands.

mod cut;
mod form;
mod home;
mod stream;

pub use cut::Stops;
pub use home::WayBack;
pub use stream::{End, Flow, Pipe, StreamTranslator};

use crate::domain::model::{Dialect, Effort, Thinking};
use crate::domain::time::Timestamp;
use crate::protocol::canonical::{Answer, AnswerError, Conversation, Settings, Target, Unmet};
use crate::protocol::loss::{Dropped, Refusal};
use crate::protocol::names::Names;
use crate::protocol::openai_chat::Texts;
use crate::protocol::openai_responses::Kept;
use crate::protocol::reasoning::{self, Sealer};
use crate::protocol::{anthropic_messages, openai_chat, openai_responses, repair};
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
        (Dialect::Messages, Dialect::Responses) => Some(Plan::Translate(Translation::MessagesToResponses)),
        (Dialect::Responses, Dialect::Messages) => Some(Plan::Translate(Translation::ResponsesToMessages)),
        (Dialect::ChatCompletions, Dialect::Responses) => Some(Plan::Translate(Translation::ChatToResponses)),
        (Dialect::Messages | Dialect::Responses, Dialect::ChatCompletions) => None,
    }
}

/// A pair of different dialects: the client's, and the upstream's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Translation {
    /// Chat Completions, served by Messages.
    ChatToMessages,
    /// Chat Completions, served by Responses.
    ChatToResponses,
    /// Messages, served by Responses.
    MessagesToResponses,
    /// Responses, served by Messages.
    ResponsesToMessages,
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

/// A client's request, read.
struct Read<'a> {
    conversation: Conversation<'a>,
    dropped: Dropped,
    chat: openai_chat::Asked,
    response: openai_responses::Asked,
    /// What the client's dialect calls a wish.
    path: fn(Unmet) -> &'static str,
}

impl<'a> Read<'a> {
    fn of(conversation: Conversation<'a>, dropped: Dropped, path: fn(Unmet) -> &'static str) -> Self {
        let (chat, response) = (openai_chat::Asked::default(), openai_responses::Asked::default());
        Self { conversation, dropped, chat, response, path }
    }
}

impl Translation {
    /// Translates the body of a request. `sealer` opens reasoning that comes from `target`, and seals what it will
    /// answer; without one there is no reasoning in either.
    pub fn request(self, body: &[u8], target: &Target<'_>, sealer: Option<&Sealer>) -> Result<Translated, Refusal> {
        self.request_with(body, target, sealer, &Kept::default())
    }

    /// As [`Self::request`], with what is known of what the request refers to.
    pub fn request_with(
        self,
        body: &[u8],
        target: &Target<'_>,
        sealer: Option<&Sealer>,
        kept: &Kept,
    ) -> Result<Translated, Refusal> {
        let Read { mut conversation, mut dropped, chat, response, path } = self.read_request(body, kept)?;
        self.wish_for_effort(&mut conversation.settings, target);
        reasoning::open(&mut conversation, sealer);
        repair::repair(&mut conversation);
        match self {
            Self::ResponsesToMessages => {
                repair::end_with_user(&mut conversation);
            }
            // Some clients begin the answer themselves. Only the older models go on from there.
            Self::ChatToMessages if matches!(target.thinking, Some(Thinking::Both | Thinking::Adaptive)) => {
                if repair::end_with_user(&mut conversation) {
                    dropped.add("messages[].prefill");
                }
            }
            Self::ChatToMessages | Self::ChatToResponses | Self::MessagesToResponses => {}
        }
        let (body, unmet, names) = match self {
            Self::ChatToMessages | Self::ResponsesToMessages => {
                let names = Names::of(&conversation, &anthropic_messages::NAME_RULES);
                let encoded = anthropic_messages::write_request(&conversation, target, &names)?;
                (encoded.body, encoded.unmet, names)
            }
            Self::ChatToResponses | Self::MessagesToResponses => {
                let names = Names::of(&conversation, &openai_responses::NAME_RULES);
                let encoded = openai_responses::write_request(&conversation, target, &names)?;
                (encoded.body, encoded.unmet, names)
            }
        };
        for unmet in unmet {
            dropped.add(path(unmet));
        }
        // Responses has no stop texts. Where the answer cannot be ended here either, it is longer than was asked for.
        let stops = match self {
            Self::ChatToMessages | Self::ResponsesToMessages => Some(Stops::default()),
            Self::ChatToResponses | Self::MessagesToResponses => Stops::of(&conversation.settings.stop),
        };
        if stops.is_none() {
            dropped.add(path(Unmet::Stop));
        }
        // Chat Completions has no place for what only its provider can read.
        let sealer = match self {
            Self::ChatToMessages | Self::ChatToResponses => None,
            Self::MessagesToResponses | Self::ResponsesToMessages => sealer.cloned(),
        };
        let way_back = WayBack { names, sealer, stops: stops.unwrap_or_default(), chat, response };
        Ok(Translated { body, stream: conversation.stream, way_back, dropped })
    }

    /// Puts the effort that the model's name asks for into the settings.
    ///
    /// A client of Messages that turns thinking off for one request, as for a title, has its reasons; one of Chat
    /// Completions has no other word for wanting to see it.
    fn wish_for_effort(self, settings: &mut Settings<'_>, target: &Target<'_>) {
        let Some(effort) = target.effort else { return };
        if self == Self::MessagesToResponses && settings.effort == Some(Effort::None) {
            return;
        }
        settings.effort = Some(effort);
        if matches!(self, Self::ChatToMessages | Self::ChatToResponses) && effort != Effort::None {
            settings.show_reasoning = settings.show_reasoning.or(Some(true));
        }
    }

    fn read_request<'a>(self, body: &'a [u8], kept: &'a Kept) -> Result<Read<'a>, Refusal> {
        Ok(match self {
            Self::ChatToMessages | Self::ChatToResponses => {
                let openai_chat::Decoded { conversation, asked, dropped } = openai_chat::request(body)?;
                Read { chat: asked, ..Read::of(conversation, dropped, openai_chat::path) }
            }
            Self::MessagesToResponses => {
                let anthropic_messages::Decoded { conversation, dropped } = anthropic_messages::read_request(body)?;
                Read::of(conversation, dropped, anthropic_messages::path)
            }
            Self::ResponsesToMessages => {
                let openai_responses::Decoded { conversation, asked, dropped } =
                    openai_responses::read_request(body, kept)?;
                Read { response: asked, ..Read::of(conversation, dropped, openai_responses::path) }
            }
        })
    }

    /// Translates the body of a successful answer that is no stream; `created` is when it came.
    pub fn answer(self, body: &[u8], created: Timestamp, way_back: &WayBack) -> Result<Vec<u8>, AnswerError> {
        let mut answer = self.read_answer(body)?;
        way_back.bring(&mut answer);
        Ok(self.write_answer(&answer, created, way_back))
    }

    /// Starts to translate a stream; `created` is when it began.
    pub fn stream(self, created: Timestamp, way_back: WayBack) -> StreamTranslator {
        StreamTranslator::new(self.reader(), self.writer(created, &way_back), way_back)
    }

    fn read_answer(self, body: &[u8]) -> Result<Answer<'_>, AnswerError> {
        match self {
            Self::ChatToMessages | Self::ResponsesToMessages => anthropic_messages::read_answer(body),
            Self::ChatToResponses | Self::MessagesToResponses => openai_responses::read_answer(body),
        }
    }

    fn write_answer(self, answer: &Answer<'_>, created: Timestamp, way_back: &WayBack) -> Vec<u8> {
        match self {
            Self::ChatToMessages => openai_chat::answer(answer, created, way_back.chat, Texts::Joined),
            Self::ChatToResponses => openai_chat::answer(answer, created, way_back.chat, Texts::Apart),
            Self::MessagesToResponses => anthropic_messages::write_answer(answer),
            Self::ResponsesToMessages => openai_responses::write_answer(answer, created, &way_back.response),
        }
    }

    fn reader(self) -> Reader {
        match self {
            Self::ChatToMessages | Self::ResponsesToMessages => Reader::Messages(anthropic_messages::Reader::default()),
            Self::ChatToResponses | Self::MessagesToResponses => Reader::Responses(openai_responses::Reader::default()),
        }
    }

    fn writer(self, created: Timestamp, way_back: &WayBack) -> Writer {
        match self {
            Self::ChatToMessages => {
                Writer::ChatCompletions(openai_chat::ChunkWriter::new(created, way_back.chat, Texts::Joined))
            }
            Self::ChatToResponses => {
                Writer::ChatCompletions(openai_chat::ChunkWriter::new(created, way_back.chat, Texts::Apart))
            }
            Self::MessagesToResponses => Writer::Messages(anthropic_messages::Writer::default()),
            Self::ResponsesToMessages => {
                Writer::Responses(openai_responses::Writer::new(created, way_back.response.clone()))
            }
        }
    }
}

#[cfg(test)]
mod pairs;
#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;
