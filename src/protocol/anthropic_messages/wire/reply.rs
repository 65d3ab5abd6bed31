//! An answer of Messages, as a client gets it.

use std::borrow::Cow;

use serde::Serialize;

use super::request::Input;
use crate::protocol::canonical::Usage as CanonicalUsage;

/// An answer as one JSON body; without content also what `message_start` carries.
#[derive(Serialize)]
pub(in crate::protocol) struct Message<'a> {
    pub(in crate::protocol) id: Cow<'a, str>,
    #[serde(rename = "type")]
    pub(in crate::protocol) kind: &'static str,
    pub(in crate::protocol) role: &'static str,
    pub(in crate::protocol) model: &'a str,
    pub(in crate::protocol) content: Vec<Content<'a>>,
    pub(in crate::protocol) stop_reason: Option<&'static str>,
    pub(in crate::protocol) stop_sequence: Option<&'a str>,
    pub(in crate::protocol) usage: Usage,
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(in crate::protocol) enum Content<'a> {
    Text { text: &'a str },
    Thinking { thinking: &'a str, signature: &'a str },
    ToolUse { id: Cow<'a, str>, name: &'a str, input: Input<'a> },
}

#[derive(Serialize)]
pub(in crate::protocol) struct Usage {
    input_tokens: u64,
    cache_creation_input_tokens: u64,
    cache_read_input_tokens: u64,
    output_tokens: u64,
    output_tokens_details: OutputDetails,
}

#[derive(Serialize)]
struct OutputDetails {
    thinking_tokens: u64,
}

impl From<CanonicalUsage> for Usage {
    fn from(usage: CanonicalUsage) -> Self {
        Self {
            input_tokens: usage.uncached_tokens,
            cache_creation_input_tokens: usage.cache_write_tokens,
            cache_read_input_tokens: usage.cache_read_tokens,
            output_tokens: usage.output_tokens,
            output_tokens_details: OutputDetails { thinking_tokens: usage.thinking_tokens },
        }
    }
}
