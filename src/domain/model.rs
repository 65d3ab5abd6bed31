//! Models, who makes them, and the APIs they are spoken to in.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// Longest model name that is taken from a client or the catalogue, in bytes.
const NAME_BYTES_MAX: usize = 128;

/// An exact name that the gateway accepts in a body's `model`, or one that a client hopes it accepts.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct ModelName(Arc<str>);

impl ModelName {
    /// Takes a name of 1 to 128 printable ASCII characters without spaces; `None` for anything else, which no
    /// model has ever been called and which must not reach a header or a log.
    pub fn parse(text: &str) -> Option<Self> {
        let legal = (1..=NAME_BYTES_MAX).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
        legal.then(|| Self(text.into()))
    }

    /// Returns the name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl<'de> Deserialize<'de> for ModelName {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| serde::de::Error::custom(format!("{text:?} is no model name")))
    }
}

impl fmt::Display for ModelName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Who makes a model; decides the gateway's proxy path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Provider {
    /// Anthropic: Claude, spoken to in Messages.
    Anthropic,
    /// OpenAI: GPT, spoken to in Responses or Chat Completions.
    OpenAi,
}

impl Provider {
    /// Returns the name in lower case, as in `openai`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Anthropic => "anthropic",
            Self::OpenAi => "openai",
        }
    }

    /// Returns whose model a name must be by its beginning (`claude-…`, `gpt-…`), for names that no table knows.
    pub fn of_name(name: &str) -> Option<Self> {
        match name {
            _ if name.starts_with("claude-") => Some(Self::Anthropic),
            _ if name.starts_with("gpt-") => Some(Self::OpenAi),
            _ => None,
        }
    }
}

/// One of the three APIs that clients and models speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Dialect {
    /// Anthropic Messages, `/v1/messages`.
    Messages,
    /// OpenAI Chat Completions, `/v1/chat/completions`.
    ChatCompletions,
    /// OpenAI Responses, `/v1/responses`.
    Responses,
}

impl Dialect {
    /// Returns the name a person would use.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Messages => "Messages",
            Self::ChatCompletions => "Chat Completions",
            Self::Responses => "Responses",
        }
    }
}

impl fmt::Display for Dialect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How a model is asked to think.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Thinking {
    /// `thinking: {"type": "enabled", "budget_tokens": …}`: Claude up to 4.5.
    Manual,
    /// Both forms: Claude 4.6.
    Both,
    /// `thinking: {"type": "adaptive"}` with `output_config.effort`: Claude 4.7 and later.
    Adaptive,
    /// `reasoning.effort`: GPT.
    Effort,
}

/// How hard a model is to think.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Effort {
    /// Not at all.
    None,
    /// As little as possible.
    Minimal,
    /// Little.
    Low,
    /// Some.
    Medium,
    /// Much.
    High,
    /// Very much.
    ExtraHigh,
    /// As much as the model can.
    Max,
}

impl Effort {
    /// Every one, the least first.
    const ALL: [Self; 7] = [Self::None, Self::Minimal, Self::Low, Self::Medium, Self::High, Self::ExtraHigh, Self::Max];

    /// Takes the word that the APIs have for it.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|effort| effort.as_str() == word)
    }

    /// Returns the word that the APIs have for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Minimal => "minimal",
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::ExtraHigh => "xhigh",
            Self::Max => "max",
        }
    }

    /// Returns about how hard a model thinks that may use so many tokens for it.
    pub const fn of_budget(tokens: u64) -> Self {
        match tokens {
            0..=1024 => Self::Low,
            1025..=8192 => Self::Medium,
            8193..=24_576 => Self::High,
            _ => Self::ExtraHigh,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_name_is_short_printable_ascii() {
        assert!(ModelName::parse("claude-opus-5").is_some());
        for bad in ["", "a b", "line\nbreak", "é", &"x".repeat(129)] {
            assert!(ModelName::parse(bad).is_none(), "{bad:?}");
        }
    }
}
