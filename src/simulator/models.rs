//! The models behind the gateway's proxies.
//!
//! Source of the list: the gateway's `models.yml`, entries with a `proxy_provider`, as of August 2026. The list changes
//! about monthly; newer names are refused here, as they were by that gateway. Source of the limits: what llm-anthropic 0.30
//! and Vercel's provider 4.0 ask for.

use crate::domain::model::{Provider, Thinking};

/// What the simulator knows about one model.
#[derive(Debug)]
pub(crate) struct Known {
    pub(crate) name: &'static str,
    pub(crate) provider: Provider,
    pub(crate) thinking: Thinking,
    /// Most output tokens in one answer.
    pub(crate) output_tokens_max: u64,
    /// Whether OpenAI serves it on Chat Completions, too.
    pub(crate) chat_completions: bool,
}

const fn claude(name: &'static str, thinking: Thinking, output_tokens_max: u64) -> Known {
    Known { name, provider: Provider::Anthropic, thinking, output_tokens_max, chat_completions: false }
}

const fn gpt(name: &'static str, chat_completions: bool) -> Known {
    Known { name, provider: Provider::OpenAi, thinking: Thinking::Effort, output_tokens_max: 128_000, chat_completions }
}

const KNOWN: [Known; 23] = [
    claude("claude-fable-5", Thinking::Adaptive, 128_000),
    claude("claude-opus-5", Thinking::Adaptive, 128_000),
    claude("claude-opus-4-8", Thinking::Adaptive, 128_000),
    claude("claude-opus-4-7", Thinking::Adaptive, 128_000),
    claude("claude-opus-4-6", Thinking::Both, 128_000),
    claude("claude-opus-4-5-20251101", Thinking::Manual, 64_000),
    claude("claude-sonnet-5", Thinking::Adaptive, 128_000),
    claude("claude-sonnet-4-6", Thinking::Both, 128_000),
    claude("claude-sonnet-4-5-20250929", Thinking::Manual, 64_000),
    claude("claude-haiku-4-5-20251001", Thinking::Manual, 64_000),
    gpt("gpt-5.6-sol", false),
    gpt("gpt-5.6-terra", false),
    gpt("gpt-5.6-luna", false),
    gpt("gpt-5.5-2026-04-23", true),
    gpt("gpt-5.4-2026-03-05", true),
    gpt("gpt-5.4-mini", true),
    gpt("gpt-5.4-nano", true),
    gpt("gpt-5.3-codex", false),
    gpt("gpt-5.2-2025-12-11", true),
    gpt("gpt-5.1-2025-11-13", true),
    gpt("gpt-5.1", true),
    gpt("gpt-5", true),
    gpt("gpt-5-mini-2025-08-07", true),
];

/// Returns the model of this exact name, if the provider's proxy allows it.
pub(crate) fn find(provider: Provider, name: &str) -> Option<&'static Known> {
    KNOWN.iter().find(|known| known.provider == provider && known.name == name)
}
