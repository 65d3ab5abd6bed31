//! The JSON of an answer.

use serde::Serialize;

use crate::protocol::canonical::Usage as CanonicalUsage;

/// An answer as one JSON body.
#[derive(Serialize)]
pub(in crate::protocol::openai_chat) struct Completion<'a> {
    pub(in crate::protocol::openai_chat) id: String,
    pub(in crate::protocol::openai_chat) object: &'static str,
    pub(in crate::protocol::openai_chat) created: u64,
    pub(in crate::protocol::openai_chat) model: &'a str,
    pub(in crate::protocol::openai_chat) choices: [Choice; 1],
    pub(in crate::protocol::openai_chat) usage: Usage,
}

#[derive(Serialize)]
pub(in crate::protocol::openai_chat) struct Choice {
    pub(in crate::protocol::openai_chat) index: u8,
    pub(in crate::protocol::openai_chat) message: AnswerMessage,
    pub(in crate::protocol::openai_chat) logprobs: (),
    pub(in crate::protocol::openai_chat) finish_reason: &'static str,
}

#[derive(Serialize)]
pub(in crate::protocol::openai_chat) struct AnswerMessage {
    pub(in crate::protocol::openai_chat) role: &'static str,
    pub(in crate::protocol::openai_chat) content: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(in crate::protocol::openai_chat) reasoning_content: String,
    pub(in crate::protocol::openai_chat) refusal: (),
}

#[derive(Serialize)]
pub(in crate::protocol::openai_chat) struct Usage {
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
