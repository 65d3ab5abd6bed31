//! A request of Chat Completions in canonical terms.

use std::borrow::Cow;

use crate::protocol::canonical::{Block, Conversation, Effort, Role, Settings, Turn};
use crate::protocol::image;
use crate::protocol::json::{self, Str, TextOr};
use crate::protocol::loss::{Dropped, Refusal};
use crate::protocol::openai_chat::Asked;
use crate::protocol::openai_chat::wire::request::{Message, Part, Request};

/// Most messages of a request. Source: Anthropic's API reference.
const MESSAGES_MAX: usize = 100_000;

/// Members that only tune, or that mean nothing without tools: left out without a word. The rest of what is not
/// understood is named to the client.
const SILENT: [&str; 12] = [
    "model",
    "service_tier",
    "store",
    "metadata",
    "verbosity",
    "prediction",
    "prompt_cache_key",
    "prompt_cache_retention",
    "prompt_cache_options",
    "tool_choice",
    "parallel_tool_calls",
    "function_call",
];
const SILENT_IN_MESSAGES: [&str; 3] = ["reasoning_content", "annotations", "cache_control"];
const SILENT_IN_PARTS: [&str; 1] = ["cache_control"];

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
    let request: Request<'_> = serde_json::from_slice(body).map_err(|error| Refusal {
        message: format!("the body is no Chat Completions request: {}", json::complaint(&error)),
        param: None,
    })?;
    refuse_what_is_not_carried(&request)?;
    let mut dropped = Dropped::default();
    name_losses(&request, &mut dropped);
    let settings = settings(&request, &mut dropped)?;
    let messages = request.messages.unwrap_or_default();
    if messages.len() > MESSAGES_MAX {
        return Err(Refusal::of("messages", format!("`messages` must not have more than {MESSAGES_MAX} members")));
    }
    let turns = messages.into_iter().enumerate();
    let turns: Vec<Turn<'_>> =
        turns.map(|(index, message)| turn(index, message, &mut dropped)).collect::<Result<_, _>>()?;
    if turns.iter().flat_map(|turn| &turn.blocks).all(Block::is_blank) {
        return Err(Refusal::of("messages", "`messages` must have at least one message that is not empty"));
    }
    Ok(Decoded {
        conversation: Conversation {
            turns,
            settings,
            stream: request.stream.unwrap_or(false),
            body_bytes: body.len(),
            ..Conversation::default()
        },
        asked: Asked {
            include_usage: request.stream_options.is_some_and(|options| options.include_usage == Some(true)),
            legacy_functions: false,
        },
        dropped,
    })
}

/// Refuses what would have the model answer another question, or answer in a form that was not asked for.
fn refuse_what_is_not_carried(request: &Request<'_>) -> Result<(), Refusal> {
    let is_given = |list: &Option<Vec<_>>| list.as_ref().is_some_and(|list| !list.is_empty());
    if is_given(&request.tools) {
        return Err(not_translated("tools"));
    }
    if is_given(&request.functions) {
        return Err(not_translated("functions"));
    }
    let format = request.response_format.as_ref().and_then(|format| format.kind.as_ref());
    if format.is_some_and(|kind| kind.0 != "text") {
        return Err(not_translated("response_format"));
    }
    if request.n.is_some_and(|n| n != 1) {
        return Err(Refusal::of("n", "`n` must be 1 for a Claude model; send one request per choice"));
    }
    if request.logprobs == Some(true) {
        return Err(Refusal::of("logprobs", "Claude models give no log probabilities; leave out `logprobs`"));
    }
    let wants_audio = match &request.modalities {
        None => false,
        Some(TextOr::Text(modality)) => modality != "text",
        Some(TextOr::List(modalities)) => modalities.iter().any(|modality| modality.0 != "text"),
    };
    if wants_audio || request.audio.is_some() {
        let param = if wants_audio { "modalities" } else { "audio" };
        return Err(Refusal::of(param, format!("Claude models answer in text only; leave out `{param}`")));
    }
    Ok(())
}

fn not_translated(path: &str) -> Refusal {
    let message = format!(
        "`{path}` is not translated from Chat Completions to Claude yet; use /v1/messages for this model, or leave it out"
    );
    Refusal::of(path, message)
}

/// Names the members of the top level that are left out; those that are given but change nothing are not.
fn name_losses(request: &Request<'_>, dropped: &mut Dropped) {
    let is_set = |penalty: Option<f64>| penalty.is_some_and(|value| value.abs() > 0.0);
    for (is_lost, path) in [
        (is_set(request.presence_penalty), "presence_penalty"),
        (is_set(request.frequency_penalty), "frequency_penalty"),
        (request.logit_bias.as_ref().is_some_and(|bias| !bias.unknown.is_empty()), "logit_bias"),
    ] {
        if is_lost {
            dropped.add(path);
        }
    }
    name_unknown(&request.unknown, &SILENT, "", dropped);
}

fn name_unknown(unknown: &[Cow<'_, str>], silent: &[&str], prefix: &str, dropped: &mut Dropped) {
    for name in unknown.iter().filter(|name| !silent.contains(&&***name)) {
        dropped.add(&format!("{prefix}{name}"));
    }
}

fn settings<'a>(request: &Request<'a>, dropped: &mut Dropped) -> Result<Settings<'a>, Refusal> {
    let (output_tokens_max, path) = match request.max_completion_tokens {
        Some(limit) => (Some(limit), "max_completion_tokens"),
        None => (request.max_tokens, "max_tokens"),
    };
    if output_tokens_max == Some(0) {
        return Err(Refusal::of(path, format!("`{path}` must be at least 1")));
    }
    let effort = request.reasoning_effort.as_ref().map(|Str(word)| effort(word));
    if effort == Some(None) {
        dropped.add("reasoning_effort");
    }
    let user = request.safety_identifier.as_ref().or(request.user.as_ref());
    Ok(Settings {
        output_tokens_max,
        temperature: request.temperature,
        top_p: request.top_p,
        stop: match &request.stop {
            None => Vec::new(),
            Some(TextOr::Text(text)) => vec![text.clone()],
            Some(TextOr::List(list)) => list.iter().map(|Str(text)| text.clone()).collect(),
        },
        effort: effort.flatten(),
        user: user.map(|Str(user)| user.clone()),
        ..Settings::default()
    })
}

fn effort(word: &str) -> Option<Effort> {
    Some(match word {
        "none" => Effort::None,
        "minimal" => Effort::Minimal,
        "low" => Effort::Low,
        "medium" => Effort::Medium,
        "high" => Effort::High,
        "xhigh" => Effort::ExtraHigh,
        "max" => Effort::Max,
        _ => return None,
    })
}

fn turn<'a>(index: usize, message: Message<'a>, dropped: &mut Dropped) -> Result<Turn<'a>, Refusal> {
    let role = match message.role.as_ref().map(|Str(role)| &**role) {
        Some("system" | "developer") => Role::System,
        Some("user") => Role::User,
        Some("assistant") => Role::Assistant,
        Some("tool" | "function") => return Err(not_translated(&format!("messages[{index}].role"))),
        _ => {
            let path = format!("messages[{index}].role");
            return Err(Refusal::of(&*path, format!("`{path}` must be system, developer, user, assistant or tool")));
        }
    };
    for (is_given, member) in [
        (message.tool_calls.as_ref().is_some_and(|calls| !calls.is_empty()), "tool_calls"),
        (message.function_call.is_some(), "function_call"),
        (message.audio.is_some(), "audio"),
    ] {
        if is_given {
            return Err(not_translated(&format!("messages[{index}].{member}")));
        }
    }
    name_unknown(&message.unknown, &SILENT_IN_MESSAGES, "messages[].", dropped);
    let mut blocks = match message.content {
        None => Vec::new(),
        Some(TextOr::Text(text)) => vec![Block::Text(text)],
        Some(TextOr::List(parts)) => {
            let parts = parts.into_iter().enumerate();
            parts
                .map(|(at, part)| block(&format!("messages[{index}].content[{at}]"), role, part, dropped))
                .collect::<Result<_, _>>()?
        }
    };
    blocks.extend(message.refusal.map(|Str(text)| Block::Text(text)));
    Ok(Turn { role, blocks })
}

fn block<'a>(path: &str, role: Role, part: Part<'a>, dropped: &mut Dropped) -> Result<Block<'a>, Refusal> {
    let block = match part.kind.as_ref().map(|Str(kind)| &**kind) {
        Some("text") => Block::Text(required(part.text, path, "text")?),
        Some("refusal") => Block::Text(required(part.refusal, path, "refusal")?),
        Some("image_url") if role == Role::User => {
            let url = required(part.image_url.and_then(|image| image.url), path, "image_url.url")?;
            let refusal = |what| Refusal::of(format!("{path}.image_url.url"), format!("`{path}.image_url.url` {what}"));
            Block::Image(image::of_url(url).map_err(refusal)?)
        }
        Some("image_url") => return Err(Refusal::of(path, format!("`{path}`: only a user message can have an image"))),
        Some(_) => return Err(not_translated(path)),
        None => return Err(Refusal::of(format!("{path}.type"), format!("`{path}.type` is required"))),
    };
    name_unknown(&part.unknown, &SILENT_IN_PARTS, "messages[].content[].", dropped);
    Ok(block)
}

fn required<'a>(member: Option<Str<'a>>, path: &str, name: &str) -> Result<Cow<'a, str>, Refusal> {
    let refusal = || Refusal::of(format!("{path}.{name}"), format!("`{path}.{name}` is required"));
    member.map(|Str(text)| text).ok_or_else(refusal)
}

#[cfg(test)]
mod tests;
