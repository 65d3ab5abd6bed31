//! The JSON of answers and their events, as far as it is understood. Members that are not named here are skipped.

use serde::Deserialize;

use crate::protocol::canonical::{Fragment, Usage as CanonicalUsage};
use crate::protocol::json::Str;

/// Data of an event that begins or ends an answer.
#[derive(Deserialize)]
pub(super) struct OfResponse<'a> {
    #[serde(borrow)]
    pub(super) response: Response<'a>,
}

/// An answer, whole or as far as it has come.
#[derive(Deserialize)]
pub(super) struct Response<'a> {
    #[serde(borrow)]
    pub(super) id: Str<'a>,
    #[serde(borrow, default)]
    pub(super) model: Option<Str<'a>>,
    #[serde(borrow, default)]
    pub(super) status: Option<Str<'a>>,
    #[serde(borrow, default)]
    pub(super) incomplete_details: Option<Incomplete<'a>>,
    #[serde(borrow, default)]
    pub(super) output: Option<Vec<Item<'a>>>,
    #[serde(default)]
    pub(super) usage: Option<Usage>,
}

#[derive(Deserialize)]
pub(super) struct Incomplete<'a> {
    #[serde(borrow, default)]
    pub(super) reason: Option<Str<'a>>,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
pub(super) struct Usage {
    #[serde(default)]
    input_tokens: Option<u64>,
    #[serde(default)]
    input_tokens_details: Option<InputDetails>,
    #[serde(default)]
    output_tokens: Option<u64>,
    #[serde(default)]
    output_tokens_details: Option<OutputDetails>,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
struct InputDetails {
    #[serde(default)]
    cached_tokens: Option<u64>,
    #[serde(default)]
    cache_write_tokens: Option<u64>,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
struct OutputDetails {
    #[serde(default)]
    reasoning_tokens: Option<u64>,
}

impl From<Usage> for CanonicalUsage {
    fn from(wire: Usage) -> Self {
        let input = wire.input_tokens_details.unwrap_or_default();
        let all = wire.input_tokens.unwrap_or(0);
        let usage = Self::of_input(all, input.cached_tokens.unwrap_or(0), input.cache_write_tokens.unwrap_or(0));
        let thinking = wire.output_tokens_details.and_then(|details| details.reasoning_tokens);
        Self { output_tokens: wire.output_tokens.unwrap_or(0), thinking_tokens: thinking.unwrap_or(0), ..usage }
    }
}

/// An item of the output; which members it has depends on its type.
#[derive(Deserialize)]
pub(super) struct Item<'a> {
    #[serde(borrow, rename = "type")]
    pub(super) kind: Str<'a>,
    #[serde(borrow, default)]
    pub(super) id: Option<Str<'a>>,
    #[serde(borrow, default)]
    pub(super) call_id: Option<Str<'a>>,
    #[serde(borrow, default)]
    pub(super) name: Option<Str<'a>>,
    #[serde(borrow, default)]
    pub(super) arguments: Option<Fragment<'a>>,
    #[serde(borrow, default)]
    pub(super) input: Option<Fragment<'a>>,
    #[serde(borrow, default)]
    pub(super) content: Option<Vec<Part<'a>>>,
    #[serde(borrow, default)]
    pub(super) summary: Option<Vec<Part<'a>>>,
    #[serde(borrow, default)]
    pub(super) encrypted_content: Option<Str<'a>>,
}

/// A part of a message or of a summary.
#[derive(Debug, PartialEq, Deserialize)]
pub(super) struct Part<'a> {
    #[serde(borrow, default)]
    pub(super) text: Option<Fragment<'a>>,
    #[serde(borrow, default)]
    pub(super) refusal: Option<Fragment<'a>>,
}

/// Data of an event that begins or ends an item.
#[derive(Deserialize)]
pub(super) struct OfItem<'a> {
    pub(super) output_index: u64,
    #[serde(borrow)]
    pub(super) item: Item<'a>,
}

/// Data of an event inside of an item: a part that begins, something more, or something whole.
#[derive(Debug, Default, PartialEq, Deserialize)]
pub(super) struct Inside<'a> {
    pub(super) output_index: u64,
    #[serde(default)]
    pub(super) content_index: u64,
    #[serde(default)]
    pub(super) summary_index: u64,
    #[serde(borrow, default)]
    pub(super) delta: Option<Fragment<'a>>,
    #[serde(borrow, default)]
    pub(super) text: Option<Fragment<'a>>,
    #[serde(borrow, default)]
    pub(super) refusal: Option<Fragment<'a>>,
    #[serde(borrow, default)]
    pub(super) arguments: Option<Fragment<'a>>,
    #[serde(borrow, default)]
    pub(super) input: Option<Fragment<'a>>,
    #[serde(borrow, default)]
    pub(super) part: Option<Part<'a>>,
}
