//! The same dialect on both sides: replace `model`, keep every other byte.
//!
//! [`peek()`] reads the few members that routing needs, [`splice`] and [`splice_chat_for_gpt`] write the body that goes
//! upstream, [`with_effort`] asks for what a model's name asks for, [`without_seals`] and [`without_reasoning`] cut out what no
//! provider could read, [`StreamWatch`] follows the answer without parsing it. Prompt caches and the signatures of thinking blocks
//! depend on the client's own bytes, so nothing is ever parsed and printed again. Not here: whether a body makes sense
//! to the model; the upstream says so better.

mod conversation;
mod effort;
mod peek;
mod seals;
mod watch;

pub use effort::{Asking, with_effort};
pub use peek::{Peek, PeekError, peek, splice, splice_chat_for_gpt};
pub use seals::{WithoutReasoning, without_reasoning, without_seals};
pub use watch::{ERROR_BYTES_MAX, StreamWatch};
