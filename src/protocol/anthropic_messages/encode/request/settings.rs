//! How an answer is to be made, as far as a model can be asked.

use std::borrow::Cow;
use std::fmt::Write as _;

use sha2::{Digest as _, Sha256};

use super::turns::Shape;
use crate::domain::model::Thinking;
use crate::protocol::anthropic_messages::wire::request::ThinkingMode;
use crate::protocol::canonical::{Effort, Settings, Target, Unmet};

/// `max_tokens` where the client gives none: enough for long answers, and below what needs streaming in the SDKs.
const OUTPUT_TOKENS_DEFAULT: u64 = 32_000;

/// Smallest budget for thinking that the API takes.
pub(in crate::protocol) const BUDGET_TOKENS_MIN: u64 = 1024;

/// Room for the answer beside the thinking, where the client sets no limit.
const ANSWER_TOKENS: u64 = 8192;

/// Below this `top_p` the API refuses to think.
const TOP_P_MIN_THINKING: f64 = 0.95;

/// Longest `metadata.user_id`, in characters.
const USER_CHARS_MAX: usize = 256;

/// How the model thinks, and how much it may put out.
pub(super) struct Plan {
    pub(super) max_tokens: u64,
    pub(super) thinking: Option<ThinkingMode>,
    pub(super) effort: Option<&'static str>,
    /// The client asked for thinking and there will be none.
    pub(super) is_unmet: bool,
}

impl Plan {
    /// Thinking is left out where the model cannot, where the limit leaves no room, and where the turns exclude it.
    pub(super) fn of(settings: &Settings<'_>, target: &Target<'_>, shape: &Shape) -> Self {
        let most = target.output_tokens_max.unwrap_or(u64::MAX);
        let asked = settings.output_tokens_max;
        let max_tokens = asked.unwrap_or(OUTPUT_TOKENS_DEFAULT).min(most);
        let is_unmet = settings.effort.is_some_and(|effort| effort != Effort::None);
        let plain = Self { max_tokens, thinking: None, effort: None, is_unmet };
        if shape.is_prefilled || shape.is_forced || settings.effort == Some(Effort::None) {
            return plain;
        }
        match target.thinking {
            // Effort alone does not turn thinking on in every model, so both are sent. To see it is to want it.
            Some(mode @ (Thinking::Both | Thinking::Adaptive)) => {
                let is_shown = settings.show_reasoning == Some(true);
                if settings.effort.is_none() && !is_shown {
                    return plain;
                }
                // Newer models hide what they think unless asked; older ones show it, and know no such member.
                let display = (is_shown && mode == Thinking::Adaptive).then_some("summarized");
                let effort = settings.effort.map(|effort| word(effort, mode));
                Self { thinking: Some(ThinkingMode::Adaptive { display }), effort, is_unmet: false, ..plain }
            }
            Some(Thinking::Manual) if !shape.has_thoughtless_call => {
                let Some(budget) = settings.effort.map(budget) else { return plain };
                let max_tokens =
                    if asked.is_some() { max_tokens } else { max_tokens.max(budget + ANSWER_TOKENS).min(most) };
                // The budget counts towards the limit: under a tight one, half is left to the answer.
                let room = max_tokens.saturating_sub(ANSWER_TOKENS).max(max_tokens / 2);
                let budget_tokens = budget.min(room);
                let thinking = (budget_tokens >= BUDGET_TOKENS_MIN).then_some(ThinkingMode::Enabled { budget_tokens });
                Self { max_tokens, thinking, effort: None, is_unmet: thinking.is_none() }
            }
            Some(Thinking::Manual | Thinking::Effort) | None => plain,
        }
    }
}

/// Returns the budget that an effort means to models which are told one, in tokens.
pub(in crate::protocol) const fn budget(effort: Effort) -> u64 {
    match effort {
        Effort::None | Effort::Minimal => BUDGET_TOKENS_MIN,
        Effort::Low => 2048,
        Effort::Medium => 8192,
        Effort::High => 16_384,
        Effort::ExtraHigh | Effort::Max => 32_768,
    }
}

/// Returns the word for an effort. Source: Anthropic's page "Effort": `xhigh` came with Opus 4.7, `max` with 4.6.
pub(in crate::protocol) const fn word(effort: Effort, mode: Thinking) -> &'static str {
    match (effort, mode) {
        (Effort::None | Effort::Minimal | Effort::Low, _) => "low",
        (Effort::Medium, _) => "medium",
        (Effort::ExtraHigh, Thinking::Adaptive) => "xhigh",
        (Effort::High | Effort::ExtraHigh, _) => "high",
        (Effort::Max, _) => "max",
    }
}

/// Sampling as far as the model takes it.
pub(super) struct Sampling {
    pub(super) temperature: Option<f64>,
    pub(super) top_p: Option<f64>,
    pub(super) top_k: Option<u64>,
}

/// Temperature and `top_p` never go together, and while it thinks a model takes no temperature, no `top_k` and only a
/// high `top_p`. Leaving out a 1 changes nothing, since that is the default of both.
pub(super) fn sampling(
    settings: &Settings<'_>,
    target: &Target<'_>,
    is_thinking: bool,
    unmet: &mut Vec<Unmet>,
) -> Sampling {
    let wanted = settings.temperature.map(|value| value.clamp(0.0, 1.0));
    let temperature = wanted.filter(|_| target.accepts_sampling && !is_thinking);
    if temperature.is_none() && wanted.is_some_and(|value| value < 1.0) {
        unmet.push(Unmet::Temperature);
    }
    let wanted = settings.top_p.map(|value| value.clamp(0.0, 1.0));
    let top_p = wanted.filter(|value| {
        target.accepts_sampling && temperature.is_none() && (!is_thinking || *value >= TOP_P_MIN_THINKING)
    });
    if top_p.is_none() && wanted.is_some_and(|value| value < 1.0) {
        unmet.push(Unmet::TopP);
    }
    let top_k = settings.top_k.filter(|_| target.accepts_sampling && !is_thinking);
    if top_k.is_none() && settings.top_k.is_some() {
        unmet.push(Unmet::TopK);
    }
    Sampling { temperature, top_p, top_k }
}

/// Returns the user's name, or a digest of it where it is too long for the API.
pub(super) fn user_id(user: &str) -> Cow<'_, str> {
    if user.chars().count() <= USER_CHARS_MAX {
        return Cow::Borrowed(user);
    }
    let digest = Sha256::digest(user.as_bytes());
    Cow::Owned(digest.iter().fold(String::new(), |mut hex, byte| {
        // Writing to a String cannot fail.
        let _ = write!(hex, "{byte:02x}");
        hex
    }))
}
