//! The JSON of Chat Completions, as far as it is understood.

use serde::Serialize;
use serde::de::IgnoredAny;

use crate::protocol::canonical::Usage as CanonicalUsage;
use crate::protocol::json::{Str, TextOr, members};

members! {
    /// The body of a request.
    pub(super) struct Request<'a> {
        "messages" => messages: Vec<Message<'a>>,
        "stream" => stream: bool,
        "stream_options" => stream_options: StreamOptions<'a>,
        "max_tokens" => max_tokens: u64,
        "max_completion_tokens" => max_completion_tokens: u64,
        "stop" => stop: TextOr<'a, Str<'a>>,
        "temperature" => temperature: f64,
        "top_p" => top_p: f64,
        "n" => n: u64,
        "logprobs" => logprobs: bool,
        "logit_bias" => logit_bias: Anything<'a>,
        "presence_penalty" => presence_penalty: f64,
        "frequency_penalty" => frequency_penalty: f64,
        "modalities" => modalities: TextOr<'a, Str<'a>>,
        "audio" => audio: IgnoredAny,
        "tools" => tools: Vec<IgnoredAny>,
        "functions" => functions: Vec<IgnoredAny>,
        "response_format" => response_format: ResponseFormat<'a>,
        "reasoning_effort" => reasoning_effort: Str<'a>,
        "user" => user: Str<'a>,
        "safety_identifier" => safety_identifier: Str<'a>,
    }
}

members! {
    pub(super) struct StreamOptions<'a> {
        "include_usage" => include_usage: bool,
    }
}

members! {
    pub(super) struct ResponseFormat<'a> {
        "type" => kind: Str<'a>,
    }
}

members! {
    /// An object of which only the names of the members count.
    pub(super) struct Anything<'a> {}
}

members! {
    pub(super) struct Message<'a> {
        "role" => role: Str<'a>,
        "content" => content: TextOr<'a, Part<'a>>,
        "refusal" => refusal: Str<'a>,
        "tool_calls" => tool_calls: Vec<IgnoredAny>,
        "function_call" => function_call: IgnoredAny,
        "audio" => audio: IgnoredAny,
    }
}

members! {
    pub(super) struct Part<'a> {
        "type" => kind: Str<'a>,
        "text" => text: Str<'a>,
        "refusal" => refusal: Str<'a>,
        "image_url" => image_url: ImageUrl<'a>,
    }
}

members! {
    pub(super) struct ImageUrl<'a> {
        "url" => url: Str<'a>,
    }
}

/// An answer as one JSON body.
#[derive(Serialize)]
pub(super) struct Completion<'a> {
    pub(super) id: String,
    pub(super) object: &'static str,
    pub(super) created: u64,
    pub(super) model: &'a str,
    pub(super) choices: [Choice; 1],
    pub(super) usage: Usage,
}

#[derive(Serialize)]
pub(super) struct Choice {
    pub(super) index: u8,
    pub(super) message: AnswerMessage,
    pub(super) logprobs: (),
    pub(super) finish_reason: &'static str,
}

#[derive(Serialize)]
pub(super) struct AnswerMessage {
    pub(super) role: &'static str,
    pub(super) content: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) reasoning_content: String,
    pub(super) refusal: (),
}

#[derive(Serialize)]
pub(super) struct Usage {
    prompt_tokens: u64,
    completion_tokens: u64,
    total_tokens: u64,
    prompt_tokens_details: PromptDetails,
    completion_tokens_details: CompletionDetails,
}

#[derive(Serialize)]
struct PromptDetails {
    cached_tokens: u64,
    cache_write_tokens: u64,
}

#[derive(Serialize)]
struct CompletionDetails {
    reasoning_tokens: u64,
}

impl From<CanonicalUsage> for Usage {
    fn from(usage: CanonicalUsage) -> Self {
        Self {
            prompt_tokens: usage.input_tokens(),
            completion_tokens: usage.output_tokens,
            total_tokens: usage.input_tokens().saturating_add(usage.output_tokens),
            prompt_tokens_details: PromptDetails {
                cached_tokens: usage.cache_read_tokens,
                cache_write_tokens: usage.cache_write_tokens,
            },
            completion_tokens_details: CompletionDetails { reasoning_tokens: usage.thinking_tokens },
        }
    }
}
