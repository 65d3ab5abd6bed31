//! A request of Responses in canonical terms.

mod items;
mod parts;
mod tools;

pub(super) use tools::{LOCAL_SHELL, PATCH, SHELL, TOOL_SEARCH, Tools};

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::asked::Asked;
use super::stored::{self, Kept};
use super::wire::{Format as WireFormat, Reasoning, Request, Text};
use crate::protocol::canonical::{Block, Conversation, Effort, Format, Role, Settings, Turn};
use crate::protocol::json::{self, Str};
use crate::protocol::loss::{Dropped, Refusal};
use items::Items;

/// Most items of a request. Source: Anthropic's API reference, which allows as many messages.
const ITEMS_MAX: usize = 100_000;

/// Members that only tune; the rest of what is not understood is named to the client.
const SILENT: [&str; 1] = ["verbosity"];

/// What a model of another provider gives no log probabilities for.
const LOGPROBS: &str = "message.output_text.logprobs";

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

/// Reads the body of a request; `kept` is what is known of what it refers to.
pub fn read_request<'a>(body: &'a [u8], kept: &'a Kept) -> Result<Decoded<'a>, Refusal> {
    let kept_texts = || kept.texts().map(str::as_bytes);
    json::refuse_crowds_in(std::iter::once(body).chain(kept_texts()))?;
    let request: Request<'_> = serde_json::from_slice(body).map_err(|error| Refusal {
        message: format!("the body is no Responses request: {}", json::complaint(&error)),
        param: None,
    })?;
    refuse_state(&request)?;
    refuse_logprobs(&request)?;
    let mut dropped = Dropped::default();
    name_losses(&request, &mut dropped);
    let (settings, format) = settings(&request, &mut dropped)?;
    let mut tools = Tools::default();
    for (index, tool) in request.tools.iter().flatten().enumerate() {
        tools.add(tool, &format!("tools[{index}]"), &mut dropped)?;
    }
    let turns = turns(&request, kept, &mut tools, &mut dropped)?;
    let asked = Asked::of(&request, &tools);
    let tool_choice = tools.choice(request.tool_choice, &mut dropped)?;
    let conversation = Conversation {
        turns,
        tools: tools.list,
        tool_choice,
        parallel_calls: request.parallel_tool_calls,
        format,
        settings,
        stream: request.stream.unwrap_or(false),
        body_bytes: body.len() + kept_texts().map(<[u8]>::len).sum::<usize>(),
    };
    Ok(Decoded { conversation, asked, dropped })
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

/// Refuses what refers to something that only `OpenAI` keeps: without it, another conversation would be answered.
fn refuse_state(request: &Request<'_>) -> Result<(), Refusal> {
    for (is_given, member) in [(request.conversation.is_some(), "conversation"), (request.prompt.is_some(), "prompt")] {
        if is_given {
            let message = format!(
                "`{member}` refers to something that OpenAI stores, which a Claude model cannot see; send the whole \
                 conversation in `input`, with `store: false`"
            );
            return Err(Refusal::of(member, message));
        }
    }
    if request.background == Some(true) {
        return Err(Refusal::of("background", "`background` is not possible for a Claude model; leave it out"));
    }
    Ok(())
}

fn refuse_logprobs(request: &Request<'_>) -> Result<(), Refusal> {
    let no =
        |param: &str| Err(Refusal::of(param, format!("Claude models give no log probabilities; leave out `{param}`")));
    if request.top_logprobs.is_some_and(|count| count > 0) {
        return no("top_logprobs");
    }
    if request.include.iter().flatten().any(|Str(wanted)| wanted == LOGPROBS) {
        return no("include");
    }
    Ok(())
}

/// Names the members of the top level that are left out although they may change the answer.
fn name_losses(request: &Request<'_>, dropped: &mut Dropped) {
    let truncates = word(request.truncation.as_ref()).is_some_and(|how| how != "disabled");
    for (is_lost, path) in [
        (truncates, "truncation"),
        (request.max_tool_calls.is_some(), "max_tool_calls"),
        (request.context_management.is_some(), "context_management"),
        (request.moderation.is_some(), "moderation"),
    ] {
        if is_lost {
            dropped.add(path);
        }
    }
    name_unknown(&request.unknown, &SILENT, "", dropped);
}

fn settings<'a>(request: &Request<'a>, dropped: &mut Dropped) -> Result<(Settings<'a>, Option<Format<'a>>), Refusal> {
    if request.max_output_tokens == Some(0) {
        return Err(Refusal::of("max_output_tokens", "`max_output_tokens` must be at least 1"));
    }
    let reasoning: Option<Reasoning<'a>> = request.reasoning.map(|raw| parsed(raw, "reasoning")).transpose()?;
    let mut effort = None;
    let mut show_reasoning = None;
    if let Some(reasoning) = &reasoning {
        effort = word(reasoning.effort.as_ref()).and_then(Effort::parse);
        if effort.is_none() && reasoning.effort.is_some() {
            dropped.add("reasoning.effort");
        }
        let summary = reasoning.summary.as_ref().or(reasoning.generate_summary.as_ref());
        show_reasoning = summary.map(|_| true);
        name_unknown(&reasoning.unknown, &[], "reasoning.", dropped);
    }
    let text: Option<Text<'a>> = request.text.map(|raw| parsed(raw, "text")).transpose()?;
    let (mut format, mut verbosity) = (None, None);
    if let Some(text) = text {
        name_unknown(&text.unknown, &[], "text.", dropped);
        verbosity = text.verbosity.map(|Str(verbosity)| verbosity);
        format = text.format.map(format_of).transpose()?.flatten();
    }
    let owned = |text: &Option<Str<'a>>| text.as_ref().map(|Str(text)| text.clone());
    let settings = Settings {
        output_tokens_max: request.max_output_tokens,
        temperature: request.temperature,
        top_p: request.top_p,
        effort,
        show_reasoning,
        verbosity,
        user: owned(&request.safety_identifier).or_else(|| owned(&request.user)),
        cache_key: owned(&request.prompt_cache_key),
        ..Settings::default()
    };
    Ok((settings, format))
}

fn format_of(format: WireFormat<'_>) -> Result<Option<Format<'_>>, Refusal> {
    match word(format.kind.as_ref()) {
        Some("text") | None => Ok(None),
        Some("json_object") => Ok(Some(Format::JsonObject)),
        Some("json_schema") => {
            let missing = || Refusal::of("text.format.schema", "`text.format.schema` is required");
            let schema = format.schema.ok_or_else(missing)?;
            Ok(Some(Format::Schema { name: format.name.map(|Str(name)| name), schema, strict: format.strict }))
        }
        Some(_) => Err(Refusal::of("text.format.type", "`text.format.type` must be text, json_object or json_schema")),
    }
}

fn turns<'a>(
    request: &Request<'a>,
    kept: &'a Kept,
    tools: &mut Tools<'a>,
    dropped: &mut Dropped,
) -> Result<Vec<Turn<'a>>, Refusal> {
    let mut items = Items::new(kept);
    if let Some(raw) = request.instructions {
        let Str(text) = parsed(raw, "instructions")?;
        items.say(Role::System, Block::Text(text));
    }
    let mut past = 0;
    if let Some(id) = word(request.previous_response_id.as_ref()) {
        let previous = kept.previous.as_deref().ok_or_else(|| stored::unknown_answer(id))?;
        past = previous.len();
        for item in previous.iter().filter_map(|text| stored::raw(text)) {
            items.add("previous_response_id", parsed(item, "previous_response_id")?, tools, dropped)?;
        }
    }
    let missing = || Refusal::of("input", "`input` is required");
    let input = request.input.ok_or_else(missing)?;
    if input.get().starts_with('"') {
        let Str(text) = parsed(input, "input")?;
        items.say(Role::User, Block::Text(text));
    } else {
        let list: Vec<&'a RawValue> = parsed(input, "input")?;
        if past + list.len() > ITEMS_MAX {
            return Err(Refusal::of("input", format!("`input` must not have more than {ITEMS_MAX} members")));
        }
        for (index, item) in list.into_iter().enumerate() {
            items.take(index, item, tools, dropped)?;
        }
    }
    let turns = items.turns;
    if turns.iter().flat_map(|turn| &turn.blocks).all(Block::is_blank) {
        return Err(Refusal::of("input", "`input` must have at least one item that is not empty"));
    }
    Ok(turns)
}

#[cfg(test)]
mod tests;
