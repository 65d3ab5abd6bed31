//! Messages in canonical terms: requests of a client, answers of an upstream.

mod answer;
mod request;

pub use answer::read_answer;
pub(super) use answer::{malformed, stop_reason};
pub use request::{Decoded, read_request};
