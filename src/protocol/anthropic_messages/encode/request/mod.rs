//! A conversation as a request of Messages.
//!
//! The rules of the API that other dialects do not have: a user speaks first, roles alternate, no text is blank, a last
//! assistant turn has no white space at its end, the system stands outside the turns, `max_tokens` is mandatory, thinking
//! excludes forced tools and most sampling.

mod settings;
mod tools;
mod turns;

use crate::protocol::anthropic_messages::wire::request::{
    CacheControl, Content, ContentKind, Message, Metadata, OutputConfig, OutputFormat, Request, Tool,
};
use crate::protocol::canonical::{Conversation, Format, Target, Unmet};
use crate::protocol::loss::Refusal;
use crate::protocol::names::{NameRules, Names};
use crate::protocol::{json, schema};
pub(in crate::protocol) use settings::{BUDGET_TOKENS_MIN, budget, word as effort_word};
use settings::{Plan, sampling, user_id};
pub(super) use turns::input;

/// What names of tools may be. A plain tool of the client must not have the name of one that the provider runs itself.
pub const NAME_RULES: NameRules = NameRules {
    chars_max: 128,
    reserved: &["web_search", "web_fetch", "code_execution", "tool_search_tool_regex", "tool_search_tool_bm25"],
    has_custom: false,
};

/// How a model is asked for JSON without a schema, for which the API has no setting.
const JSON_ONLY: &str = "Answer with exactly one JSON object and nothing else: no prose, no code fence.";

/// A request, ready to send.
#[derive(Debug)]
pub struct Encoded {
    /// The body.
    pub body: Vec<u8>,
    /// What this model cannot be asked for.
    pub unmet: Vec<Unmet>,
}

/// Writes a conversation, whose calls and results are in order, as the body of a request for `target`.
pub fn write_request(conversation: &Conversation<'_>, target: &Target<'_>, names: &Names) -> Result<Encoded, Refusal> {
    let settings = &conversation.settings;
    let mut unmet = Vec::new();
    let (mut system, mut messages) = turns::split(&conversation.turns, names)?;
    let mut tools = tools::tools(conversation, names, &mut unmet);
    let tool_choice = tools::choice(conversation, names, &tools);

    let plan = Plan::of(settings, target, &turns::Shape::of(&messages, tool_choice.as_ref()));
    if plan.is_unmet {
        unmet.push(Unmet::Effort);
    }
    let sampled = sampling(settings, target, plan.thinking.is_some(), &mut unmet);
    let stop_sequences: Vec<&str> =
        settings.stop.iter().map(|text| &**text).filter(|text| !text.trim().is_empty()).collect();
    if stop_sequences.len() < settings.stop.len() {
        unmet.push(Unmet::Stop);
    }
    let format = match &conversation.format {
        Some(Format::Schema { schema, .. }) => {
            Some(OutputFormat::JsonSchema { schema: schema::for_messages_format(schema) })
        }
        Some(Format::JsonObject) => {
            unmet.push(Unmet::Format);
            system.push(ContentKind::Text { text: JSON_ONLY.into() }.into());
            None
        }
        None => None,
    };
    mark_for_cache(&mut tools, &mut system, &mut messages);

    let body = json::to_vec_of(
        conversation.body_bytes,
        &Request {
            model: target.model,
            max_tokens: plan.max_tokens,
            tools,
            tool_choice,
            system,
            messages,
            temperature: sampled.temperature,
            top_p: sampled.top_p,
            top_k: sampled.top_k,
            stop_sequences,
            metadata: settings.user.as_deref().map(|user| Metadata { user_id: user_id(user) }),
            thinking: plan.thinking,
            output_config: OutputConfig { effort: plan.effort, format },
            stream: conversation.stream,
        },
    );
    Ok(Encoded { body, unmet })
}

/// Marks what the next request of an agent will begin with, too: `OpenAI` caches without being asked, so its clients never
/// ask, and without a mark every turn would pay for the whole conversation again. A lone question is not marked, as
/// writing to the cache costs more than reading past it.
fn mark_for_cache(tools: &mut [Tool<'_>], system: &mut [Content<'_>], messages: &mut [Message<'_>]) {
    if tools.is_empty() && messages.len() < 2 {
        return;
    }
    if let Some(Tool::Function { cache_control, .. }) = tools.last_mut() {
        *cache_control = Some(CacheControl::Ephemeral);
    }
    if let Some(last) = system.last_mut() {
        last.cache_control = Some(CacheControl::Ephemeral);
    }
    // The API takes four marks. The one before the last finds what the previous request wrote.
    let users = messages.iter_mut().rev().filter(|message| message.role == turns::USER).take(2);
    for last in users.filter_map(|message| message.content.last_mut()) {
        last.cache_control = Some(CacheControl::Ephemeral);
    }
}

#[cfg(test)]
mod tests;
