//! An answer of Messages, as an upstream gives it.

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::protocol::canonical::Fragment;
use crate::protocol::json::Str;

/// An answer as one JSON body; also what `message_start` carries.
#[derive(Deserialize)]
pub(in crate::protocol) struct Answer<'a> {
    #[serde(borrow)]
    pub(in crate::protocol) id: Str<'a>,
    #[serde(borrow)]
    pub(in crate::protocol) model: Str<'a>,
    #[serde(borrow, default)]
    pub(in crate::protocol) content: Vec<Piece<'a>>,
    #[serde(borrow, default)]
    pub(in crate::protocol) stop_reason: Option<Str<'a>>,
    #[serde(default)]
    pub(in crate::protocol) usage: Usage,
}

/// A content block of an answer.
#[derive(Deserialize)]
pub(in crate::protocol) struct Piece<'a> {
    #[serde(borrow, rename = "type")]
    pub(in crate::protocol) kind: Str<'a>,
    #[serde(borrow, default)]
    pub(in crate::protocol) text: Option<Str<'a>>,
    #[serde(borrow, default)]
    pub(in crate::protocol) thinking: Option<Str<'a>>,
    #[serde(borrow, default)]
    pub(in crate::protocol) signature: Option<Str<'a>>,
    #[serde(borrow, default)]
    pub(in crate::protocol) data: Option<Str<'a>>,
    #[serde(borrow, default)]
    pub(in crate::protocol) id: Option<Str<'a>>,
    #[serde(borrow, default)]
    pub(in crate::protocol) name: Option<Str<'a>>,
    #[serde(borrow, default)]
    pub(in crate::protocol) input: Option<&'a RawValue>,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
pub(in crate::protocol) struct Usage {
    pub(in crate::protocol) input_tokens: Option<u64>,
    pub(in crate::protocol) cache_read_input_tokens: Option<u64>,
    pub(in crate::protocol) cache_creation_input_tokens: Option<u64>,
    pub(in crate::protocol) output_tokens: Option<u64>,
    pub(in crate::protocol) output_tokens_details: Option<OutputDetails>,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
pub(in crate::protocol) struct OutputDetails {
    pub(in crate::protocol) thinking_tokens: Option<u64>,
}

/// Data of `message_start`.
#[derive(Deserialize)]
pub(in crate::protocol) struct MessageStart<'a> {
    #[serde(borrow)]
    pub(in crate::protocol) message: Answer<'a>,
}

/// Data of `content_block_start`.
#[derive(Deserialize)]
pub(in crate::protocol) struct BlockStart<'a> {
    #[serde(borrow)]
    pub(in crate::protocol) content_block: StartedBlock<'a>,
}

/// A content block of a stream, as it begins.
#[derive(Deserialize)]
pub(in crate::protocol) struct StartedBlock<'a> {
    #[serde(borrow, rename = "type")]
    pub(in crate::protocol) kind: Str<'a>,
    #[serde(borrow, default)]
    pub(in crate::protocol) text: Option<Fragment<'a>>,
    #[serde(borrow, default)]
    pub(in crate::protocol) thinking: Option<Fragment<'a>>,
    #[serde(borrow, default)]
    pub(in crate::protocol) signature: Option<Str<'a>>,
    #[serde(borrow, default)]
    pub(in crate::protocol) data: Option<Str<'a>>,
    #[serde(borrow, default)]
    pub(in crate::protocol) id: Option<Str<'a>>,
    #[serde(borrow, default)]
    pub(in crate::protocol) name: Option<Str<'a>>,
    #[serde(borrow, default)]
    pub(in crate::protocol) input: Option<&'a RawValue>,
}

/// Data of `content_block_delta`.
#[derive(Deserialize)]
pub(in crate::protocol) struct BlockDelta<'a> {
    #[serde(borrow)]
    pub(in crate::protocol) delta: DeltaWire<'a>,
}

/// What is added to a block: the members tell of which kind it is.
#[derive(Debug, Default, PartialEq, Deserialize)]
pub(in crate::protocol) struct DeltaWire<'a> {
    #[serde(borrow, default)]
    pub(in crate::protocol) text: Option<Fragment<'a>>,
    #[serde(borrow, default)]
    pub(in crate::protocol) partial_json: Option<Fragment<'a>>,
    #[serde(borrow, default)]
    pub(in crate::protocol) thinking: Option<Fragment<'a>>,
    #[serde(borrow, default)]
    pub(in crate::protocol) signature: Option<Fragment<'a>>,
}

/// Data of `message_delta`.
#[derive(Deserialize)]
pub(in crate::protocol) struct MessageDelta<'a> {
    #[serde(borrow)]
    pub(in crate::protocol) delta: Stop<'a>,
    #[serde(default)]
    pub(in crate::protocol) usage: Usage,
}

#[derive(Deserialize)]
pub(in crate::protocol) struct Stop<'a> {
    #[serde(borrow, default)]
    pub(in crate::protocol) stop_reason: Option<Str<'a>>,
}
