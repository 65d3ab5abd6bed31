//! A request of Messages, as an upstream gets it.

use std::borrow::Cow;

use serde::Serialize;
use serde_json::value::RawValue;

/// The body of a request.
#[derive(Serialize)]
pub(in crate::protocol) struct Request<'a> {
    pub(in crate::protocol) model: &'a str,
    pub(in crate::protocol) max_tokens: u64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(in crate::protocol) tools: Vec<Tool<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::protocol) tool_choice: Option<ToolChoice<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(in crate::protocol) system: Vec<Content<'a>>,
    pub(in crate::protocol) messages: Vec<Message<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::protocol) temperature: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::protocol) top_p: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::protocol) top_k: Option<u64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(in crate::protocol) stop_sequences: Vec<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::protocol) metadata: Option<Metadata<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::protocol) thinking: Option<ThinkingMode>,
    #[serde(skip_serializing_if = "OutputConfig::is_empty")]
    pub(in crate::protocol) output_config: OutputConfig,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(in crate::protocol) stream: bool,
}

#[derive(Serialize)]
pub(in crate::protocol) struct Message<'a> {
    pub(in crate::protocol) role: &'static str,
    pub(in crate::protocol) content: Vec<Content<'a>>,
}

/// A mark up to which the prompt is cached.
#[derive(Clone, Copy, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(in crate::protocol) enum CacheControl {
    Ephemeral,
}

/// A content block, and its mark for the cache.
#[derive(Serialize)]
pub(in crate::protocol) struct Content<'a> {
    #[serde(flatten)]
    pub(in crate::protocol) kind: ContentKind<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::protocol) cache_control: Option<CacheControl>,
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(in crate::protocol) enum ContentKind<'a> {
    Text {
        text: Cow<'a, str>,
    },
    Image {
        source: Source<'a>,
    },
    Document {
        source: Source<'a>,
        #[serde(skip_serializing_if = "Option::is_none")]
        title: Option<&'a str>,
    },
    Thinking {
        thinking: &'a str,
        signature: &'a str,
    },
    RedactedThinking {
        data: &'a str,
    },
    ToolUse {
        id: Cow<'a, str>,
        name: &'a str,
        input: Input<'a>,
    },
    ToolResult {
        tool_use_id: Cow<'a, str>,
        #[serde(skip_serializing_if = "Vec::is_empty")]
        content: Vec<Content<'a>>,
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        is_error: bool,
    },
}

impl<'a> From<ContentKind<'a>> for Content<'a> {
    fn from(kind: ContentKind<'a>) -> Self {
        Self { kind, cache_control: None }
    }
}

/// The input of a call: always an object.
#[derive(Serialize)]
#[serde(untagged)]
pub(in crate::protocol) enum Input<'a> {
    Object(&'a RawValue),
    /// Text of a freeform tool.
    Freeform {
        input: &'a str,
    },
    /// Arguments that are no object, because they were cut off or never were one.
    Broken {
        _raw: &'a str,
    },
    Empty {},
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(in crate::protocol) enum Source<'a> {
    Base64 { media_type: &'a str, data: &'a str },
    Url { url: &'a str },
    Text { media_type: &'static str, data: String },
}

#[derive(Serialize)]
#[serde(untagged)]
pub(in crate::protocol) enum Tool<'a> {
    Function {
        name: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        description: Option<Cow<'a, str>>,
        input_schema: Cow<'a, RawValue>,
        #[serde(skip_serializing_if = "Option::is_none")]
        cache_control: Option<CacheControl>,
    },
    WebSearch {
        #[serde(rename = "type")]
        kind: &'static str,
        name: &'static str,
        #[serde(skip_serializing_if = "Option::is_none")]
        max_uses: Option<u64>,
        #[serde(skip_serializing_if = "<[_]>::is_empty")]
        allowed_domains: &'a [Cow<'a, str>],
        #[serde(skip_serializing_if = "<[_]>::is_empty")]
        blocked_domains: &'a [Cow<'a, str>],
        #[serde(skip_serializing_if = "Option::is_none")]
        user_location: Option<&'a RawValue>,
    },
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(in crate::protocol) enum ToolChoice<'a> {
    Auto {
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        disable_parallel_tool_use: bool,
    },
    Any {
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        disable_parallel_tool_use: bool,
    },
    Tool {
        name: &'a str,
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        disable_parallel_tool_use: bool,
    },
    None,
}

#[derive(Serialize)]
pub(in crate::protocol) struct Metadata<'a> {
    pub(in crate::protocol) user_id: Cow<'a, str>,
}

#[derive(Clone, Copy, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(in crate::protocol) enum ThinkingMode {
    Enabled {
        budget_tokens: u64,
    },
    Adaptive {
        #[serde(skip_serializing_if = "Option::is_none")]
        display: Option<&'static str>,
    },
}

#[derive(Default, Serialize)]
pub(in crate::protocol) struct OutputConfig {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::protocol) effort: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::protocol) format: Option<OutputFormat>,
}

impl OutputConfig {
    const fn is_empty(&self) -> bool {
        self.effort.is_none() && self.format.is_none()
    }
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(in crate::protocol) enum OutputFormat {
    JsonSchema { schema: Box<RawValue> },
}
