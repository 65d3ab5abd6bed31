//! The JSON of an answer.

use std::borrow::Cow;

use serde::Serialize;

use crate::protocol::canonical::Usage as CanonicalUsage;

/// An answer as one JSON body.
#[derive(Serialize)]
pub(in crate::protocol::openai_chat) struct Completion<'a> {
    pub(in crate::protocol::openai_chat) id: String,
    pub(in crate::protocol::openai_chat) object: &'static str,
    pub(in crate::protocol::openai_chat) created: u64,
    pub(in crate::protocol::openai_chat) model: &'a str,
    pub(in crate::protocol::openai_chat) choices: [Choice<'a>; 1],
    pub(in crate::protocol::openai_chat) usage: Usage,
}

#[derive(Serialize)]
pub(in crate::protocol::openai_chat) struct Choice<'a> {
    pub(in crate::protocol::openai_chat) index: u8,
    pub(in crate::protocol::openai_chat) message: Message<'a>,
    pub(in crate::protocol::openai_chat) logprobs: (),
    pub(in crate::protocol::openai_chat) finish_reason: &'static str,
}

/// What the model says. `content` and `refusal` are null where there is no such text.
#[derive(Default, Serialize)]
pub(in crate::protocol::openai_chat) struct Message<'a> {
    pub(in crate::protocol::openai_chat) role: &'static str,
    pub(in crate::protocol::openai_chat) content: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::protocol::openai_chat) reasoning_content: Option<Cow<'a, str>>,
    pub(in crate::protocol::openai_chat) refusal: Option<Cow<'a, str>>,
    pub(in crate::protocol::openai_chat) annotations: [(); 0],
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(in crate::protocol::openai_chat) tool_calls: Vec<Call<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::protocol::openai_chat) function_call: Option<Function<'a>>,
}

/// A call, or in a stream its beginning, which has a number and no arguments.
#[derive(Serialize)]
pub(in crate::protocol::openai_chat) struct Call<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::protocol::openai_chat) index: Option<u32>,
    pub(in crate::protocol::openai_chat) id: Cow<'a, str>,
    #[serde(flatten)]
    pub(in crate::protocol::openai_chat) called: Called<'a>,
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(in crate::protocol::openai_chat) enum Called<'a> {
    Function { function: Function<'a> },
    Custom { custom: Custom<'a> },
}

#[derive(Serialize)]
pub(in crate::protocol::openai_chat) struct Function<'a> {
    pub(in crate::protocol::openai_chat) name: &'a str,
    pub(in crate::protocol::openai_chat) arguments: &'a str,
}

#[derive(Serialize)]
pub(in crate::protocol::openai_chat) struct Custom<'a> {
    pub(in crate::protocol::openai_chat) name: &'a str,
    pub(in crate::protocol::openai_chat) input: &'a str,
}

#[derive(Serialize)]
pub(in crate::protocol::openai_chat) struct Usage {
    prompt_tokens: u64,
    completion_tokens: u64,
    total_tokens: u64,
    prompt_tokens_details: PromptDetails,
    completion_tokens_details: CompletionDetails,
}

/// `cache_write_tokens` is new; the others `OpenAI` always sends.
#[derive(Serialize)]
struct PromptDetails {
    cached_tokens: u64,
    cache_write_tokens: u64,
    audio_tokens: u64,
}

#[derive(Serialize)]
struct CompletionDetails {
    reasoning_tokens: u64,
    audio_tokens: u64,
    accepted_prediction_tokens: u64,
    rejected_prediction_tokens: u64,
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
                audio_tokens: 0,
            },
            completion_tokens_details: CompletionDetails {
                reasoning_tokens: usage.thinking_tokens,
                audio_tokens: 0,
                accepted_prediction_tokens: 0,
                rejected_prediction_tokens: 0,
            },
        }
    }
}
