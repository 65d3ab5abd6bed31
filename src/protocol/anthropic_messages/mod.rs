//! Anthropic Messages, as an upstream: `canonical` goes out as a request, answers and streams come in.
//!
//! Left out without a word: effort above `high` is asked for as `high`, since not every model takes more; signatures,
//! citations, redacted thinking and server-side tool blocks of answers, which have no counterpart in the middle.
//! Tools are never sent, so calls never come back.

mod decode;
mod encode;
mod stream;
mod wire;

pub use decode::answer;
pub use encode::{Encoded, NAME_RULES, request};
pub use stream::Reader;
