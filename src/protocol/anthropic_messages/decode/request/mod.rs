//! A request of a client in canonical terms.

mod content;
mod settings;
mod tools;

use crate::protocol::anthropic_messages::wire::client::{Message, Request};
use crate::protocol::canonical::{Block, Conversation, Role, Turn};
use crate::protocol::error;
use crate::protocol::json::{self, Str, TextOr};
use crate::protocol::loss::{Dropped, Refusal};
use content::{blocks, text_blocks};

/// Most messages of a request. Source: Anthropic's API reference.
const MESSAGES_MAX: usize = 100_000;

/// Members that only tune cost, speed or bookkeeping: left out without a word. The rest of what is not understood is named
/// to the client.
const SILENT: [&str; 9] = [
    "model",
    "service_tier",
    "speed",
    "inference_geo",
    "cache_control",
    "context_management",
    "diagnostics",
    "user_profile_id",
    "betas",
];

/// What the first block of Claude Code's system text begins with: it changes with every request, and would keep the
/// provider's cache from ever finding the prompt again. Source: recorded requests.
const BILLING_HEADER: &str = "x-anthropic-billing-header:";

/// A request, understood.
#[derive(Debug)]
pub struct Decoded<'a> {
    /// What is asked.
    pub conversation: Conversation<'a>,
    /// What was left out although the answer may differ.
    pub dropped: Dropped,
}

/// Reads the body of a request.
pub fn read_request(body: &[u8]) -> Result<Decoded<'_>, Refusal> {
    json::refuse_crowds(body)?;
    let mut request: Request<'_> = serde_json::from_slice(body).map_err(|error| Refusal {
        message: format!("the body is no Messages request: {}", json::complaint(&error)),
        param: None,
    })?;
    if request.mcp_servers.as_ref().is_some_and(|servers| !servers.is_empty()) {
        let message = "MCP servers are run by Anthropic and cannot be reached by a GPT model; leave out `mcp_servers`";
        return Err(Refusal::of("mcp_servers", message));
    }
    if request.thread.is_some() {
        let message = "Anthropic keeps no thread of a conversation with a GPT model; leave out `thread`, and send the whole of it";
        return Err(Refusal::of(error::THREAD, message));
    }
    let mut dropped = Dropped::default();
    name_unknown(&request.unknown, &SILENT, "", &mut dropped);

    let messages = request.messages.take().unwrap_or_default();
    if messages.len() > MESSAGES_MAX {
        return Err(Refusal::of("messages", format!("`messages` must not have more than {MESSAGES_MAX} members")));
    }
    let settings = settings::settings(&request, &messages, &mut dropped)?;
    let (tool_choice, parallel_calls) = tools::choice(request.tool_choice.take())?;
    let tools = tools::tools(request.tools.take().unwrap_or_default(), tool_choice.as_ref(), &mut dropped)?;
    let format = settings::format(&request)?;

    let mut turns: Vec<Turn<'_>> = Vec::with_capacity(messages.len() + 1);
    turns.extend(system(request.system.take(), &mut dropped)?);
    if let Some(Message { role: Some(Str(role)), .. }) = messages.last()
        && role == "assistant"
    {
        // GPT models answer after it; they do not go on with it.
        dropped.add("messages[].prefill");
    }
    for (index, message) in messages.into_iter().enumerate() {
        turns.push(turn(index, message, &mut dropped)?);
    }
    if turns.iter().flat_map(|turn| &turn.blocks).all(Block::is_blank) {
        return Err(Refusal::of("messages", "`messages` must have at least one message that is not empty"));
    }
    let stream = request.stream.unwrap_or(false);
    let conversation =
        Conversation { turns, tools, tool_choice, parallel_calls, format, settings, stream, body_bytes: body.len() };
    Ok(Decoded { conversation, dropped })
}

fn system<'a>(
    system: Option<TextOr<'a, &'a serde_json::value::RawValue>>,
    dropped: &mut Dropped,
) -> Result<Option<Turn<'a>>, Refusal> {
    let Some(system) = system else { return Ok(None) };
    let mut blocks = text_blocks("system", system, dropped)?;
    blocks.retain(|block| !matches!(block, Block::Text(text) if text.starts_with(BILLING_HEADER)));
    Ok((!blocks.is_empty()).then_some(Turn { role: Role::System, blocks }))
}

fn turn<'a>(index: usize, message: Message<'a>, dropped: &mut Dropped) -> Result<Turn<'a>, Refusal> {
    name_unknown(&message.unknown, &[], "messages[].", dropped);
    let path = format!("messages[{index}]");
    let role = match message.role.as_ref().map(|Str(role)| &**role) {
        Some("user") => Role::User,
        Some("assistant") => Role::Assistant,
        Some("system") => Role::System,
        _ => {
            let path = format!("{path}.role");
            return Err(Refusal::of(&*path, format!("`{path}` must be user, assistant or system")));
        }
    };
    let path = format!("{path}.content");
    let Some(content) = message.content else {
        return Err(Refusal::of(&*path, format!("`{path}` is required")));
    };
    let blocks = match role {
        Role::System => text_blocks(&path, content, dropped)?,
        Role::User | Role::Assistant => blocks(&path, role, content, dropped)?,
    };
    Ok(Turn { role, blocks })
}

fn name_unknown(unknown: &[std::borrow::Cow<'_, str>], silent: &[&str], prefix: &str, dropped: &mut Dropped) {
    for name in unknown.iter().filter(|name| !silent.contains(&&***name)) {
        dropped.add(&format!("{prefix}{name}"));
    }
}

#[cfg(test)]
mod tests;
