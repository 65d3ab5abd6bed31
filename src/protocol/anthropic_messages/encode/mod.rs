//! A conversation as a request of Messages.
//!
//! The rules of the API that other dialects do not have: a user speaks first, roles alternate, no text is blank, a last
//! assistant turn has no white space at its end, the system stands outside the turns, `max_tokens` is mandatory.

use std::borrow::Cow;
use std::fmt::Write as _;

use sha2::{Digest as _, Sha256};

use crate::domain::model::Thinking;
use crate::protocol::anthropic_messages::wire::{
    Content, Message, Metadata, OutputConfig, Request, Source, ThinkingMode,
};
use crate::protocol::canonical::{Block, Conversation, Effort, Image, Role, Settings, Target, Turn, Unmet};
use crate::protocol::json;
use crate::protocol::loss::Refusal;
use crate::protocol::names::{NameRules, Names};

/// `max_tokens` where the client gives none: enough for long answers, and below what needs streaming in the SDKs.
const OUTPUT_TOKENS_DEFAULT: u64 = 32_000;

/// Smallest budget for thinking that the API takes.
const BUDGET_TOKENS_MIN: u64 = 1024;

/// Room for the answer beside the thinking, where the client sets no limit.
const ANSWER_TOKENS: u64 = 8192;

/// Below this `top_p` the API refuses to think.
const TOP_P_MIN_THINKING: f64 = 0.95;

/// Longest `metadata.user_id`, in characters.
const USER_CHARS_MAX: usize = 256;

/// What names of tools may be. A plain tool of the client must not have the name of one that the API runs itself.
pub const NAME_RULES: NameRules =
    NameRules { chars_max: 128, reserved: &["web_search", "web_fetch", "code_execution"], has_custom: false };

/// What a user says where the API needs a user to speak and none did.
const FILLER: &str = ".";

/// A request, ready to send.
#[derive(Debug)]
pub struct Encoded {
    /// The body.
    pub body: Vec<u8>,
    /// What this model cannot be asked for.
    pub unmet: Vec<Unmet>,
}

/// Writes a conversation as the body of a request for `target`.
pub fn request(conversation: &Conversation<'_>, target: &Target<'_>, _names: &Names) -> Result<Encoded, Refusal> {
    let settings = &conversation.settings;
    let (system, messages) = split(&conversation.turns);
    let mut unmet = Vec::new();

    let is_prefilled = messages.last().is_some_and(|message| message.role == ASSISTANT);
    let plan = Plan::of(settings, target, is_prefilled);
    let asked = settings.effort.is_some_and(|effort| effort != Effort::None);
    if asked && plan.thinking.is_none() {
        unmet.push(Unmet::Effort);
    }
    let (temperature, top_p) = sampling(settings, target, plan.thinking.is_some(), &mut unmet);
    let stop_sequences: Vec<&str> =
        settings.stop.iter().map(|text| &**text).filter(|text| !text.trim().is_empty()).collect();
    if stop_sequences.len() < settings.stop.len() {
        unmet.push(Unmet::Stop);
    }

    let body = json::to_vec(&Request {
        model: target.model,
        max_tokens: plan.max_tokens,
        system,
        messages,
        temperature,
        top_p,
        stop_sequences,
        metadata: settings.user.as_deref().map(|user| Metadata { user_id: user_id(user) }),
        thinking: plan.thinking,
        output_config: plan.effort.map(|effort| OutputConfig { effort }),
        stream: conversation.stream,
    });
    Ok(Encoded { body, unmet })
}

const USER: &str = "user";
const ASSISTANT: &str = "assistant";

/// Splits off the system turns at the beginning. Later ones stay where they stand, as marked text of the user: not
/// every model takes a system message there, and moved to the front they would overrule what was said since.
fn split<'a>(turns: &'a [Turn<'a>]) -> (Vec<Content<'a>>, Vec<Message<'a>>) {
    let leading = turns.iter().take_while(|turn| turn.role == Role::System).count();
    let (system, turns) = turns.split_at(leading);
    let system = system.iter().filter_map(joined_text).map(|text| Content::Text { text }).collect();

    let mut messages: Vec<Message<'a>> = Vec::new();
    for turn in turns {
        let (role, content) = match turn.role {
            Role::User => (USER, contents(&turn.blocks)),
            Role::Assistant => (ASSISTANT, contents(&turn.blocks)),
            Role::System => (USER, joined_text(turn).map(reminder).into_iter().collect()),
        };
        if content.is_empty() {
            continue;
        }
        match messages.last_mut() {
            Some(last) if last.role == role => last.content.extend(content),
            _ => messages.push(Message { role, content }),
        }
    }
    if messages.first().is_none_or(|first| first.role != USER) {
        let content = vec![Content::Text { text: FILLER.into() }];
        messages.insert(0, Message { role: USER, content });
    }
    if let Some(Message { role: ASSISTANT, content }) = messages.last_mut()
        && let Some(Content::Text { text }) = content.last_mut()
    {
        *text = text.trim_end().to_owned().into();
    }
    (system, messages)
}

/// Returns the texts of a turn as one, or `None` where there is nothing to read.
fn joined_text<'a>(turn: &'a Turn<'_>) -> Option<Cow<'a, str>> {
    let mut texts = turn.blocks.iter().filter_map(|block| match block {
        Block::Text(text) if !block.is_blank() => Some(&**text),
        _ => None,
    });
    let first = texts.next()?;
    Some(texts.fold(Cow::Borrowed(first), |all, next| Cow::Owned(format!("{all}\n\n{next}"))))
}

#[expect(clippy::needless_pass_by_value, reason = "maps over an Option of it")]
fn reminder(text: Cow<'_, str>) -> Content<'_> {
    Content::Text { text: format!("<system-reminder>\n{text}\n</system-reminder>").into() }
}

fn contents<'a>(blocks: &'a [Block<'a>]) -> Vec<Content<'a>> {
    let content = |block: &'a Block<'a>| match block {
        Block::Text(text) => Some(Content::Text { text: Cow::Borrowed(text) }),
        Block::Image(Image::Inline { media_type, base64 }) => {
            Some(Content::Image { source: Source::Base64 { media_type, data: base64 } })
        }
        Block::Image(Image::Url(url)) => Some(Content::Image { source: Source::Url { url } }),
        _ => None,
    };
    blocks.iter().filter(|block| !block.is_blank()).filter_map(content).collect()
}

/// How the model thinks, and how much it may put out.
struct Plan {
    max_tokens: u64,
    thinking: Option<ThinkingMode>,
    effort: Option<&'static str>,
}

impl Plan {
    /// Thinking is left out where the model cannot, where the limit leaves no room, or where the last turn is the
    /// assistant's own, which the API refuses to continue thinking.
    fn of(settings: &Settings<'_>, target: &Target<'_>, is_prefilled: bool) -> Self {
        let most = target.output_tokens_max.unwrap_or(u64::MAX);
        let asked = settings.output_tokens_max;
        let max_tokens = asked.unwrap_or(OUTPUT_TOKENS_DEFAULT).min(most);
        let plain = Self { max_tokens, thinking: None, effort: None };
        let Some(effort) = settings.effort.filter(|_| !is_prefilled) else { return plain };
        let (budget, word) = match effort {
            Effort::None => return plain,
            Effort::Minimal => (BUDGET_TOKENS_MIN, "low"),
            Effort::Low => (2048, "low"),
            Effort::Medium => (8192, "medium"),
            Effort::High => (16_384, "high"),
            Effort::ExtraHigh | Effort::Max => (32_768, "high"),
        };
        match target.thinking {
            // Effort alone does not turn thinking on in every model, so both are sent.
            Some(Thinking::Both | Thinking::Adaptive) => {
                Self { thinking: Some(ThinkingMode::Adaptive), effort: Some(word), ..plain }
            }
            Some(Thinking::Manual) => {
                let max_tokens =
                    if asked.is_some() { max_tokens } else { max_tokens.max(budget + ANSWER_TOKENS).min(most) };
                // The budget counts towards the limit: under a tight one, half is left to the answer.
                let room = max_tokens.saturating_sub(ANSWER_TOKENS).max(max_tokens / 2);
                let budget_tokens = budget.min(room);
                let thinking = (budget_tokens >= BUDGET_TOKENS_MIN).then_some(ThinkingMode::Enabled { budget_tokens });
                Self { max_tokens, thinking, effort: None }
            }
            Some(Thinking::Effort) | None => plain,
        }
    }
}

/// Returns temperature and `top_p` as far as the model takes them: never both, and while it thinks no temperature and
/// only a high `top_p`. Leaving out a 1 changes nothing, since that is the default of both.
fn sampling(
    settings: &Settings<'_>,
    target: &Target<'_>,
    is_thinking: bool,
    unmet: &mut Vec<Unmet>,
) -> (Option<f64>, Option<f64>) {
    let temperature = settings.temperature.map(|value| value.clamp(0.0, 1.0));
    let top_p = settings.top_p.map(|value| value.clamp(0.0, 1.0));
    let sent_temperature = temperature.filter(|_| target.accepts_sampling && !is_thinking);
    if sent_temperature.is_none() && temperature.is_some_and(|value| value < 1.0) {
        unmet.push(Unmet::Temperature);
    }
    let sent_top_p = top_p.filter(|value| {
        target.accepts_sampling && sent_temperature.is_none() && (!is_thinking || *value >= TOP_P_MIN_THINKING)
    });
    if sent_top_p.is_none() && top_p.is_some_and(|value| value < 1.0) {
        unmet.push(Unmet::TopP);
    }
    (sent_temperature, sent_top_p)
}

/// Returns the user's name, or a digest of it where it is too long for the API.
fn user_id(user: &str) -> Cow<'_, str> {
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

#[cfg(test)]
mod tests;
