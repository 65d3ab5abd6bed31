//! What failed, and whose fault it was: the one table from (call, status, body, headers) to a [`Fault`].
//!
//! Three tables, each of data alone: the rows for answers in `table`, those for answers that did not come or end in
//! `stage`, and in `headers` what says when to come back. Nothing else in the program reads a status and decides.

mod evidence;
mod headers;
mod stage;
mod table;

use crate::domain::fault::{Fault, Hold, Reason, Scope};
use evidence::Evidence;
pub(crate) use evidence::Said;
pub(crate) use headers::WaitHeaders;
pub(crate) use stage::{Stage, of_read_error, of_send_error, of_send_error_apart, of_stage};
use table::TABLE;

/// What was called. Rows of the table apply to one group of calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Call {
    /// Who owns the token, and what it may do (`personal_access_tokens/self`, `user`, `oauth/token/info`).
    Identity,
    /// `oauth/token`, with the code that a login ended with.
    CodeExchange,
    /// `oauth/token`, with a refresh token.
    Refresh,
    /// `oauth/authorize_device`.
    DeviceStart,
    /// `oauth/token`, with the code of a device.
    DevicePoll,
    /// `oauth/revoke`.
    Revoke,
    /// `ai/third_party_agents/direct_access`.
    Mint,
    /// `code_suggestions/direct_access`.
    CodeSuggestions,
    /// GraphQL, for models.
    Models,
    /// A model, through the gateway.
    Gateway,
}

/// How much of a foreign message is kept for logs and admins, in characters.
const NOTE_CHARS_MAX: usize = 200;

/// A call that went wrong: the decision, and what is worth telling a person about it.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{}{}", fault.reason, Note(note))]
pub(crate) struct CallError {
    /// Whose fault, how long, curable.
    pub(crate) fault: Fault,
    /// HTTP status, where there was an answer.
    pub(crate) status: Option<u16>,
    /// A short, cleaned piece of the answer's own message; empty where there is none.
    pub(crate) note: String,
}

/// Shows a note in brackets, or nothing.
struct Note<'a>(&'a str);

impl std::fmt::Display for Note<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.0.is_empty() { Ok(()) } else { write!(f, " ({})", self.0) }
    }
}

/// Decides what an answer of `status` with `headers` and `body` means. An empty body is one that is not worth reading.
pub(crate) fn classify(call: Call, status: u16, headers: &WaitHeaders, body: &[u8]) -> CallError {
    decide(call, status, headers, Evidence::of(body).as_ref())
}

/// Decides what an error means that a model's provider reports inside a success, with the `status` that it would have
/// had outside of one.
pub(crate) fn of_event(status: u16, said: &Said<'_>) -> CallError {
    decide(Call::Gateway, status, &WaitHeaders::default(), Some(&Evidence::of_provider(said)))
}

fn decide(call: Call, status: u16, headers: &WaitHeaders, evidence: Option<&Evidence>) -> CallError {
    let texts = evidence.map(Evidence::texts).unwrap_or_default();
    let row = TABLE.iter().find(|row| row.fits(call, status, evidence, &texts));
    let fault = row.map_or_else(unknown, |row| row.fault(headers, &texts));
    CallError { fault, status: Some(status), note: clean(texts.last().map_or("", String::as_str)) }
}

/// Decides what a success means that is not what was asked for.
pub(crate) fn not_the_api(call: Call) -> CallError {
    classify(call, 200, &WaitHeaders::default(), b"")
}

/// A status outside of HTTP's.
fn unknown() -> Fault {
    Fault { scope: Scope::Gateway, reason: Reason::GatewayError, hold: Hold::None, curable: true }
}

fn contains_ignoring_case(text: &str, words: &str) -> bool {
    text.to_ascii_lowercase().contains(&words.to_ascii_lowercase())
}

/// Keeps the beginning of a foreign text, without control characters.
fn clean(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(NOTE_CHARS_MAX).collect()
}

#[cfg(test)]
mod tests;
