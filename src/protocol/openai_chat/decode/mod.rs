//! A request of Chat Completions in canonical terms.

mod messages;
mod parts;
mod settings;
mod tools;

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::protocol::canonical::{Block, Conversation};
use crate::protocol::json::{self, Str};
use crate::protocol::loss::{Dropped, Refusal};
use crate::protocol::openai_chat::Asked;
use crate::protocol::openai_chat::wire::request::Request;
use messages::Messages;
use tools::Tools;

/// Most messages of a request. Source: Anthropic's API reference.
const MESSAGES_MAX: usize = 100_000;

/// A request, understood.
#[derive(Debug)]
pub struct Decoded<'a> {
    /// What is asked.
    pub conversation: Conversation<'a>,
    /// What the answer must know of the request.
    pub asked: Asked,
    /// What was left out although the answer may differ.
    pub dropped: Dropped,
}

/// Reads the body of a request.
pub fn request(body: &[u8]) -> Result<Decoded<'_>, Refusal> {
    json::refuse_crowds(body)?;
    let mut request: Request<'_> = serde_json::from_slice(body).map_err(|error| Refusal {
        message: format!("the body is no Chat Completions request: {}", json::complaint(&error)),
        param: None,
    })?;
    settings::refuse_other_answers(&request)?;
    let mut dropped = Dropped::default();
    settings::name_losses(&request, &mut dropped);
    let settings = settings::settings(&request, &mut dropped)?;
    let format = settings::format(&request, &mut dropped)?;
    let asked = asked(&request);

    let mut tools = Tools::default();
    tools.read(&mut request, &mut dropped)?;
    let tool_choice = tools.choice(&request, &mut dropped)?;

    let Some(messages) = request.messages.take() else {
        return Err(Refusal::of("messages", "`messages` is required"));
    };
    if messages.len() > MESSAGES_MAX {
        return Err(Refusal::of("messages", format!("`messages` must not have more than {MESSAGES_MAX} members")));
    }
    let mut reader = Messages::new(messages.len(), &mut dropped);
    for (index, message) in messages.into_iter().enumerate() {
        reader.take(index, message)?;
    }
    let turns = reader.turns;
    if turns.iter().flat_map(|turn| &turn.blocks).all(Block::is_blank) {
        return Err(Refusal::of("messages", "`messages` must have at least one message that is not empty"));
    }
    let conversation = Conversation {
        turns,
        tools: tools.list,
        tool_choice,
        // There is room for one call in an older client's answer.
        parallel_calls: if asked.legacy_functions { Some(false) } else { request.parallel_tool_calls },
        format,
        settings,
        stream: request.stream.unwrap_or(false),
        body_bytes: body.len(),
    };
    Ok(Decoded { conversation, asked, dropped })
}

fn asked(request: &Request<'_>) -> Asked {
    let is_given = |list: &Option<Vec<&RawValue>>| list.as_ref().is_some_and(|list| !list.is_empty());
    Asked {
        include_usage: request.stream_options.as_ref().is_some_and(|options| options.include_usage == Some(true)),
        legacy_functions: is_given(&request.functions) && !is_given(&request.tools),
    }
}

/// Reads one value that was kept raw; the refusal names its place.
fn parsed<'a, T: Deserialize<'a>>(raw: &'a RawValue, path: &str) -> Result<T, Refusal> {
    serde_json::from_str(raw.get())
        .map_err(|error| Refusal::of(path, format!("`{path}` cannot be read: {}", json::complaint(&error))))
}

fn name_unknown(unknown: &[Cow<'_, str>], silent: &[&str], prefix: &str, dropped: &mut Dropped) {
    for name in unknown.iter().filter(|name| !silent.contains(&&***name)) {
        dropped.add(&format!("{prefix}{name}"));
    }
}

fn word<'b>(text: Option<&'b Str<'_>>) -> Option<&'b str> {
    text.map(|Str(text)| &**text)
}

fn required<'a>(member: Option<Str<'a>>, path: &str, name: &str) -> Result<Cow<'a, str>, Refusal> {
    let refusal = || Refusal::of(format!("{path}.{name}"), format!("`{path}.{name}` is required"));
    member.map(|Str(text)| text).ok_or_else(refusal)
}

#[cfg(test)]
mod tests;
