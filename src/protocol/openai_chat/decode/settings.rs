//! How the answer is to be made.

use std::borrow::Cow;

use super::{name_unknown, parsed, word};
use crate::protocol::canonical::{Effort, Format, Settings};
use crate::protocol::json::{Str, TextOr};
use crate::protocol::loss::{Dropped, Refusal};
use crate::protocol::openai_chat::wire::request::{JsonSchema, Reasoning, Request, ResponseFormat, Thinking};

/// Members that only tune cost, speed or bookkeeping: left out without a word. The rest of what is not understood is named
/// to the client.
const SILENT: [&str; 7] =
    ["model", "service_tier", "store", "metadata", "prediction", "prompt_cache_retention", "prompt_cache_options"];

/// Refuses what would have the answer lack something that was asked for.
pub(super) fn refuse_other_answers(request: &Request<'_>) -> Result<(), Refusal> {
    if request.n.is_some_and(|n| n != 1) {
        return Err(Refusal::of("n", "`n` must be 1 for this model; send one request per choice"));
    }
    for (is_wanted, param) in [
        (request.logprobs == Some(true), "logprobs"),
        (request.top_logprobs.is_some_and(|count| count > 0), "top_logprobs"),
    ] {
        if is_wanted {
            return Err(Refusal::of(param, format!("this model gives no log probabilities; leave out `{param}`")));
        }
    }
    let wants_audio = match &request.modalities {
        None => false,
        Some(TextOr::Text(modality)) => modality != "text",
        Some(TextOr::List(modalities)) => modalities.iter().any(|modality| modality.0 != "text"),
    };
    if wants_audio || request.audio.is_some() {
        let param = if wants_audio { "modalities" } else { "audio" };
        return Err(Refusal::of(param, format!("this model answers in text only; leave out `{param}`")));
    }
    Ok(())
}

/// Names the members of the top level that are left out although they may change the answer.
pub(super) fn name_losses(request: &Request<'_>, dropped: &mut Dropped) {
    let is_biased = request.logit_bias.as_ref().is_some_and(|bias| !bias.unknown.is_empty());
    let is_set = |penalty: Option<f64>| penalty.is_some_and(|penalty| penalty != 0.0);
    for (is_lost, path) in [
        (is_biased, "logit_bias"),
        (is_set(request.presence_penalty), "presence_penalty"),
        (is_set(request.frequency_penalty), "frequency_penalty"),
    ] {
        if is_lost {
            dropped.add(path);
        }
    }
    name_unknown(&request.unknown, &SILENT, "", dropped);
    if let Some(options) = &request.stream_options {
        name_unknown(&options.unknown, &[], "stream_options.", dropped);
    }
}

pub(super) fn settings<'a>(request: &Request<'a>, dropped: &mut Dropped) -> Result<Settings<'a>, Refusal> {
    // The newer name wins.
    let (output_tokens_max, path) = match request.max_completion_tokens {
        Some(limit) => (Some(limit), "max_completion_tokens"),
        None => (request.max_tokens, "max_tokens"),
    };
    if output_tokens_max == Some(0) {
        return Err(Refusal::of(path, format!("`{path}` must be at least 1")));
    }
    let (effort, show_reasoning) = reasoning(request, dropped);
    let owned = |text: &Option<Str<'a>>| text.as_ref().map(|Str(text)| text.clone());
    Ok(Settings {
        output_tokens_max,
        temperature: request.temperature,
        top_p: request.top_p,
        top_k: None,
        stop: stop(request.stop.as_ref()),
        effort,
        show_reasoning,
        verbosity: owned(&request.verbosity),
        user: owned(&request.safety_identifier).or_else(|| owned(&request.user)),
        cache_key: owned(&request.prompt_cache_key),
    })
}

fn stop<'a>(stop: Option<&TextOr<'a, Str<'a>>>) -> Vec<Cow<'a, str>> {
    match stop {
        None => Vec::new(),
        Some(TextOr::Text(text)) => vec![text.clone()],
        Some(TextOr::List(list)) => list.iter().map(|Str(text)| text.clone()).collect(),
    }
}

/// Returns how hard to think, and whether the client wants to see it: who asks for thinking does, unless it says
/// otherwise, since the dialect has no other use for it. `OpenAI`'s own member wins over those of others.
fn reasoning(request: &Request<'_>, dropped: &mut Dropped) -> (Option<Effort>, Option<bool>) {
    let (mut effort, mut show) = (None, None);
    if let Some(raw) = request.thinking {
        match serde_json::from_str::<Thinking<'_>>(raw.get()) {
            Ok(thinking) => (effort, show) = by_thinking(&thinking),
            Err(_) => dropped.add("thinking"),
        }
    }
    if let Some(raw) = request.reasoning {
        match serde_json::from_str::<Reasoning<'_>>(raw.get()) {
            Ok(reasoning) => {
                let other = by_reasoning(&reasoning, dropped);
                (effort, show) = (other.0.or(effort), other.1.or(show));
            }
            Err(_) => dropped.add("reasoning"),
        }
    }
    if let Some(word) = word(request.reasoning_effort.as_ref()) {
        match Effort::parse(word) {
            Some(own) => effort = Some(own),
            None => dropped.add("reasoning_effort"),
        }
    }
    let is_asked_for = effort.is_some_and(|effort| effort != Effort::None);
    (effort, show.or(is_asked_for.then_some(true)).filter(|_| effort != Some(Effort::None)))
}

fn by_thinking(thinking: &Thinking<'_>) -> (Option<Effort>, Option<bool>) {
    let is_shown = word(thinking.display.as_ref()) != Some("omitted");
    match word(thinking.kind.as_ref()) {
        Some("disabled") => (Some(Effort::None), None),
        // Not every model can think without being told how hard.
        Some("enabled" | "adaptive") => {
            (Some(thinking.budget_tokens.map_or(Effort::Medium, Effort::of_budget)), Some(is_shown))
        }
        _ => (None, None),
    }
}

fn by_reasoning(reasoning: &Reasoning<'_>, dropped: &mut Dropped) -> (Option<Effort>, Option<bool>) {
    name_unknown(&reasoning.unknown, &[], "reasoning.", dropped);
    let named = word(reasoning.effort.as_ref());
    let effort = match (named.map(Effort::parse), reasoning.enabled) {
        (Some(None), _) => {
            dropped.add("reasoning.effort");
            None
        }
        (Some(effort), _) => effort,
        (None, Some(false)) => Some(Effort::None),
        (None, Some(true)) => Some(reasoning.max_tokens.map_or(Effort::Medium, Effort::of_budget)),
        (None, None) => reasoning.max_tokens.map(Effort::of_budget),
    };
    let is_wanted = reasoning.summary.is_some() || reasoning.enabled == Some(true);
    let show = match reasoning.exclude {
        Some(true) => Some(false),
        Some(false) | None => is_wanted.then_some(true),
    };
    (effort, show)
}

pub(super) fn format<'a>(request: &Request<'a>, dropped: &mut Dropped) -> Result<Option<Format<'a>>, Refusal> {
    let Some(raw) = request.response_format else { return Ok(None) };
    let format: ResponseFormat<'a> = parsed(raw, "response_format")?;
    name_unknown(&format.unknown, &[], "response_format.", dropped);
    match word(format.kind.as_ref()) {
        Some("text") | None => Ok(None),
        Some("json_object") => Ok(Some(Format::JsonObject)),
        Some("json_schema") => {
            let path = "response_format.json_schema";
            let missing = |path: &str| Refusal::of(path, format!("`{path}` is required"));
            let of: JsonSchema<'a> = parsed(format.json_schema.ok_or_else(|| missing(path))?, path)?;
            name_unknown(&of.unknown, &[], "response_format.json_schema.", dropped);
            let schema = of.schema.ok_or_else(|| missing("response_format.json_schema.schema"))?;
            Ok(Some(Format::Schema { name: of.name.map(|Str(name)| name), schema, strict: of.strict }))
        }
        Some(_) => {
            let path = "response_format.type";
            Err(Refusal::of(path, format!("`{path}` must be text, json_object or json_schema")))
        }
    }
}
