//! Canonical terms as Messages: requests for an upstream, answers for a client.

mod reply;
mod request;

pub use reply::write_answer;
pub(super) use reply::{call_id, message_id, stopped};
pub(in crate::protocol) use request::{BUDGET_TOKENS_MIN, budget, effort_word};
pub use request::{Encoded, NAME_RULES, write_request};
