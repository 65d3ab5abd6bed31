//! What a model answers, as a whole and bit by bit.

use std::borrow::Cow;

use super::{Block, CallKind, Fragment, Proof};
use crate::protocol::sse::SseError;

/// What a model answered.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer<'a> {
    /// The upstream's id of the answer.
    pub id: Cow<'a, str>,
    /// The model that gave it.
    pub model: Cow<'a, str>,
    /// What it says, in order; may be empty. Texts, reasoning and calls.
    pub blocks: Vec<Block<'a>>,
    /// Why it ended.
    pub stop: StopReason,
    /// The client's stop text that it met, where that is known.
    pub stop_text: Option<Cow<'a, str>>,
    /// What it cost.
    pub usage: Usage,
}

/// A step of an answer that comes bit by bit.
///
/// First `Started`; then, for every block, `Opened`, any number of `More`, `Proved` for reasoning that can be sent back,
/// and `Closed`; at last `Ended`. Blocks are numbered 0, 1, 2 … in the order they open, and several may be open at once:
/// `OpenAI` interleaves calls. `Failed` may come at any time and is then the last.
#[derive(Clone, Debug, PartialEq)]
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
    /// A block begins, empty.
    Opened {
        /// Its number.
        block: u32,
        /// What it is.
        opening: Opening<'a>,
    },
    /// More of an open block.
    More {
        /// Its number.
        block: u32,
        /// What is added.
        piece: Piece<'a>,
    },
    /// The proof of an open block of reasoning, whose text is complete.
    Proved {
        /// Its number.
        block: u32,
        /// Its proof.
        proof: Proof<'a>,
    },
    /// A block is complete.
    Closed {
        /// Its number.
        block: u32,
    },
    /// The answer is complete; always last, and once. No block is open any more.
    Ended {
        /// Why it ended.
        stop: StopReason,
        /// The client's stop text that it met, where that is known.
        stop_text: Option<Cow<'a, str>>,
        /// What it cost.
        usage: Usage,
    },
    /// The upstream reports an error instead of going on; this is the data of its event.
    Failed(&'a [u8]),
}

/// What a block is that begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Opening<'a> {
    /// Text for the user.
    Text,
    /// Text for the user that says why there is no answer. What is added to it is [`Piece::Text`].
    Refusal,
    /// What the model lets see of its thinking.
    Reasoning,
    /// A call of a tool; the arguments follow.
    Call {
        /// By which its result will refer to it.
        id: Cow<'a, str>,
        /// The namespace of the tool. A reader leaves it `None`; `names` finds it.
        namespace: Option<Cow<'a, str>>,
        /// The name of the tool: from a reader the upstream's, to a writer the client's.
        name: Cow<'a, str>,
        /// What the arguments are.
        kind: CallKind,
    },
}

/// What is added to a block; of the kind that the block is of.
#[derive(Clone, Debug, PartialEq)]
pub enum Piece<'a> {
    /// Text for the user, also of a refusal.
    Text(Fragment<'a>),
    /// What the model lets see of its thinking.
    Reasoning(Fragment<'a>),
    /// Arguments of a call: JSON text, cut anywhere, or any text where the call is [`CallKind::Custom`].
    Arguments(Fragment<'a>),
}

/// Why an answer ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum StopReason {
    /// The model was done.
    #[default]
    EndTurn,
    /// It waits for the results of its calls.
    ToolUse,
    /// It met one of the client's stop texts.
    StopSequence,
    /// It met the limit of tokens or of the context window. Its last call may be cut off.
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
    /// Returns the usage whose input is counted as `OpenAI` does, with what was read from and written to the cache
    /// included. Counts that contradict each other become 0, never less.
    pub const fn of_input(input_tokens: u64, cache_read_tokens: u64, cache_write_tokens: u64) -> Self {
        let uncached_tokens = input_tokens.saturating_sub(cache_read_tokens).saturating_sub(cache_write_tokens);
        Self { uncached_tokens, cache_read_tokens, cache_write_tokens, output_tokens: 0, thinking_tokens: 0 }
    }

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
