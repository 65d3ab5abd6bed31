//! Where the dialects meet: a conversation, an answer, and an answer bit by bit.
//!
//! Each dialect decodes to these values and encodes from them, so a rule lives once. They hold what is carried today:
//! text, images, thinking that is shown. Tools, documents and signed thinking are refused or left out by the decoders
//! until there is a variant for them here. Texts are borrowed from the body they came in.

use std::borrow::Cow;

use crate::domain::model::Thinking;
use crate::protocol::sse::SseError;

/// What a client asks, in the order it was said.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Conversation<'a> {
    /// The turns; system turns may stand anywhere.
    pub turns: Vec<Turn<'a>>,
    /// How the answer is to be made.
    pub settings: Settings<'a>,
    /// Whether the answer is to come bit by bit.
    pub stream: bool,
}

/// One message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Turn<'a> {
    /// Who speaks.
    pub role: Role,
    /// What is said, in order; may be empty.
    pub blocks: Vec<Block<'a>>,
}

/// Who speaks in a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The operator: `system` and `developer` alike.
    System,
    /// The user.
    User,
    /// The model.
    Assistant,
}

/// A piece of a turn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Block<'a> {
    /// Text; may be empty.
    Text(Cow<'a, str>),
    /// An image.
    Image(Image<'a>),
}

impl Block<'_> {
    /// Returns whether there is nothing in it but white space.
    pub fn is_blank(&self) -> bool {
        match self {
            Self::Text(text) => text.trim().is_empty(),
            Self::Image(_) => false,
        }
    }
}

/// Where an image is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Image<'a> {
    /// In the request itself.
    Inline {
        /// As in `image/png`; the true one, not what a wrong label says.
        media_type: &'static str,
        /// Standard base64.
        base64: Cow<'a, str>,
    },
    /// At an http or https address, which the provider fetches.
    Url(Cow<'a, str>),
}

/// How an answer is to be made. What is `None` the client left to the model.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Settings<'a> {
    /// Most tokens of the answer, thinking included; at least 1.
    pub output_tokens_max: Option<u64>,
    /// Temperature, 0 to 2.
    pub temperature: Option<f64>,
    /// Nucleus sampling, 0 to 1.
    pub top_p: Option<f64>,
    /// Texts before which the answer ends.
    pub stop: Vec<Cow<'a, str>>,
    /// How hard to think.
    pub effort: Option<Effort>,
    /// Who asks, as the client calls them.
    pub user: Option<Cow<'a, str>>,
}

/// How hard to think.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effort {
    /// Not at all.
    None,
    /// As little as possible.
    Minimal,
    /// Little.
    Low,
    /// Some.
    Medium,
    /// Much.
    High,
    /// As much as the model can.
    Max,
}

/// A setting that an encoder could not honour; the client's dialect has its own name for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unmet {
    /// [`Settings::temperature`].
    Temperature,
    /// [`Settings::top_p`].
    TopP,
    /// Some of [`Settings::stop`].
    Stop,
    /// [`Settings::effort`].
    Effort,
}

/// What an encoder must know of the model.
#[derive(Clone, Copy, Debug)]
pub struct Target<'a> {
    /// The name that the gateway knows it by.
    pub model: &'a str,
    /// Most tokens it can put out, where known.
    pub output_tokens_max: Option<u64>,
    /// How it is asked to think; `None` where it cannot.
    pub thinking: Option<Thinking>,
    /// Whether it takes temperature and `top_p`; the newest Claude models answer 400.
    pub accepts_sampling: bool,
}

/// What a model answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer<'a> {
    /// The upstream's id of the answer.
    pub id: Cow<'a, str>,
    /// The model that gave it.
    pub model: Cow<'a, str>,
    /// What it says, in order; may be empty.
    pub pieces: Vec<Piece<'a>>,
    /// Why it ended.
    pub stop: StopReason,
    /// What it cost.
    pub usage: Usage,
}

/// A piece of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece<'a> {
    /// Text for the user.
    Text(Cow<'a, str>),
    /// What the model lets see of its thinking; without a signature, so it cannot be sent back.
    Thinking(Cow<'a, str>),
}

/// A step of an answer that comes bit by bit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Delta<'a> {
    /// The answer begins; always first, and once.
    Started {
        /// The upstream's id of the answer.
        id: Cow<'a, str>,
        /// The model that gives it.
        model: Cow<'a, str>,
    },
    /// Content has begun of a kind that is not carried.
    Untold,
    /// More of a piece, or an empty text where one begins.
    More(Piece<'a>),
    /// The answer is complete; always last, and once.
    Ended {
        /// Why it ended.
        stop: StopReason,
        /// What it cost.
        usage: Usage,
    },
    /// The upstream reports an error instead of going on; this is the data of its event.
    Failed(&'a [u8]),
}

/// Why an answer ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum StopReason {
    /// The model was done.
    #[default]
    EndTurn,
    /// It met one of the client's stop texts.
    StopSequence,
    /// It met the limit of tokens or of the context window.
    MaxTokens,
    /// It, or a filter, refused.
    Refusal,
    /// The upstream paused a long turn.
    Pause,
}

/// Tokens of a request and its answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Input tokens that came neither from the cache nor went into it.
    pub uncached_tokens: u64,
    /// Input tokens read from the prompt cache.
    pub cache_read_tokens: u64,
    /// Input tokens written to the prompt cache.
    pub cache_write_tokens: u64,
    /// Output tokens, thinking included.
    pub output_tokens: u64,
    /// Of those, tokens of thinking.
    pub thinking_tokens: u64,
}

impl Usage {
    /// Returns all input tokens, which is what `OpenAI` calls prompt or input tokens.
    pub const fn input_tokens(&self) -> u64 {
        self.uncached_tokens.saturating_add(self.cache_read_tokens).saturating_add(self.cache_write_tokens)
    }
}

/// Why an upstream's answer cannot be translated. No text quotes the answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AnswerError {
    /// The stream cannot be cut into events.
    #[error(transparent)]
    Stream(#[from] SseError),
    /// The answer is not what its dialect promises.
    #[error("the upstream's answer cannot be read: {0}")]
    Malformed(String),
}
