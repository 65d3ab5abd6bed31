//! The JSON of Messages, as far as it is understood.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::protocol::canonical::Fragment;
use crate::protocol::json::Str;

/// The body of a request.
#[derive(Serialize)]
pub(super) struct Request<'a> {
    pub(super) model: &'a str,
    pub(super) max_tokens: u64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) system: Vec<Content<'a>>,
    pub(super) messages: Vec<Message<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) temperature: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) top_p: Option<f64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) stop_sequences: Vec<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) metadata: Option<Metadata<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) thinking: Option<ThinkingMode>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) output_config: Option<OutputConfig>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(super) stream: bool,
}

#[derive(Serialize)]
pub(super) struct Message<'a> {
    pub(super) role: &'static str,
    pub(super) content: Vec<Content<'a>>,
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum Content<'a> {
    Text { text: std::borrow::Cow<'a, str> },
    Image { source: Source<'a> },
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum Source<'a> {
    Base64 { media_type: &'static str, data: &'a str },
    Url { url: &'a str },
}

#[derive(Serialize)]
pub(super) struct Metadata<'a> {
    pub(super) user_id: std::borrow::Cow<'a, str>,
}

#[derive(Clone, Copy, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum ThinkingMode {
    Enabled { budget_tokens: u64 },
    Adaptive,
}

#[derive(Clone, Copy, Serialize)]
pub(super) struct OutputConfig {
    pub(super) effort: &'static str,
}

/// An answer as one JSON body; also what `message_start` carries.
#[derive(Deserialize)]
pub(super) struct Answer<'a> {
    #[serde(borrow)]
    pub(super) id: Str<'a>,
    #[serde(borrow)]
    pub(super) model: Str<'a>,
    #[serde(borrow, default)]
    pub(super) content: Vec<Piece<'a>>,
    #[serde(borrow, default)]
    pub(super) stop_reason: Option<Str<'a>>,
    #[serde(default)]
    pub(super) usage: Usage,
}

/// A content block of an answer.
#[derive(Deserialize)]
pub(super) struct Piece<'a> {
    #[serde(borrow, rename = "type")]
    pub(super) kind: Str<'a>,
    #[serde(borrow, default)]
    pub(super) text: Option<Str<'a>>,
    #[serde(borrow, default)]
    pub(super) thinking: Option<Str<'a>>,
    #[serde(borrow, default)]
    pub(super) signature: Option<Str<'a>>,
    #[serde(borrow, default)]
    pub(super) data: Option<Str<'a>>,
    #[serde(borrow, default)]
    pub(super) id: Option<Str<'a>>,
    #[serde(borrow, default)]
    pub(super) name: Option<Str<'a>>,
    #[serde(borrow, default)]
    pub(super) input: Option<&'a RawValue>,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
pub(super) struct Usage {
    pub(super) input_tokens: Option<u64>,
    pub(super) cache_read_input_tokens: Option<u64>,
    pub(super) cache_creation_input_tokens: Option<u64>,
    pub(super) output_tokens: Option<u64>,
    pub(super) output_tokens_details: Option<OutputDetails>,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
pub(super) struct OutputDetails {
    pub(super) thinking_tokens: Option<u64>,
}

/// Data of `message_start`.
#[derive(Deserialize)]
pub(super) struct MessageStart<'a> {
    #[serde(borrow)]
    pub(super) message: Answer<'a>,
}

/// Data of `content_block_start`.
#[derive(Deserialize)]
pub(super) struct BlockStart<'a> {
    #[serde(borrow)]
    pub(super) content_block: StartedBlock<'a>,
}

/// A content block of a stream, as it begins.
#[derive(Deserialize)]
pub(super) struct StartedBlock<'a> {
    #[serde(borrow, rename = "type")]
    pub(super) kind: Str<'a>,
    #[serde(borrow, default)]
    pub(super) text: Option<Fragment<'a>>,
    #[serde(borrow, default)]
    pub(super) thinking: Option<Fragment<'a>>,
    #[serde(borrow, default)]
    pub(super) signature: Option<Str<'a>>,
    #[serde(borrow, default)]
    pub(super) data: Option<Str<'a>>,
    #[serde(borrow, default)]
    pub(super) id: Option<Str<'a>>,
    #[serde(borrow, default)]
    pub(super) name: Option<Str<'a>>,
    #[serde(borrow, default)]
    pub(super) input: Option<&'a RawValue>,
}

/// Data of `content_block_delta`.
#[derive(Deserialize)]
pub(super) struct BlockDelta<'a> {
    #[serde(borrow)]
    pub(super) delta: DeltaWire<'a>,
}

/// What is added to a block: the members tell of which kind it is.
#[derive(Deserialize)]
pub(super) struct DeltaWire<'a> {
    #[serde(borrow, default)]
    pub(super) text: Option<Fragment<'a>>,
    #[serde(borrow, default)]
    pub(super) partial_json: Option<Fragment<'a>>,
    #[serde(borrow, default)]
    pub(super) thinking: Option<Fragment<'a>>,
    #[serde(borrow, default)]
    pub(super) signature: Option<Fragment<'a>>,
}

/// Data of `message_delta`.
#[derive(Deserialize)]
pub(super) struct MessageDelta<'a> {
    #[serde(borrow)]
    pub(super) delta: Stop<'a>,
    #[serde(default)]
    pub(super) usage: Usage,
}

#[derive(Deserialize)]
pub(super) struct Stop<'a> {
    #[serde(borrow, default)]
    pub(super) stop_reason: Option<Str<'a>>,
}
