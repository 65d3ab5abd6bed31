//! How the answer is to be made.

use std::borrow::Cow;

use super::name_unknown;
use crate::protocol::anthropic_messages::wire::client::{Message, OutputConfig, OutputFormat, Request, UserId};
use crate::protocol::canonical::{Effort, Format, Settings};
use crate::protocol::json::Str;
use crate::protocol::loss::{Dropped, Refusal};

/// What stands before the session in the user ids of older versions of Claude Code: `user_…_account_…_session_…`.
const SESSION: &str = "_session_";

pub(super) fn settings<'a>(
    request: &Request<'a>,
    messages: &[Message<'a>],
    dropped: &mut Dropped,
) -> Result<Settings<'a>, Refusal> {
    if request.max_tokens == Some(0) {
        // Anthropic fills its cache and says nothing; others would answer.
        return Err(Refusal::of("max_tokens", "`max_tokens` must be at least 1 for a GPT model"));
    }
    let user = request.metadata.as_ref().and_then(|metadata| metadata.user_id.as_ref()).map(|Str(user)| user.clone());
    if let Some(config) = &request.output_config {
        name_unknown(&config.unknown, &[], "output_config.", dropped);
    }
    Ok(Settings {
        output_tokens_max: request.max_tokens,
        temperature: request.temperature,
        top_p: request.top_p,
        top_k: request.top_k,
        stop: request.stop_sequences.iter().flatten().map(|Str(text)| text.clone()).collect(),
        effort: effort(request, messages, dropped),
        show_reasoning: show_reasoning(request),
        verbosity: None,
        cache_key: user.as_ref().and_then(session),
        user,
    })
}

/// What a message says of effort holds from there on, so the last word counts. Thinking that is off stays off.
fn effort(request: &Request<'_>, messages: &[Message<'_>], dropped: &mut Dropped) -> Option<Effort> {
    let thinking = request.thinking.as_ref();
    let mode = thinking.and_then(|thinking| thinking.kind.as_ref()).map(|Str(kind)| &**kind);
    if mode == Some("disabled") {
        return Some(Effort::None);
    }
    let by_turn = messages.iter().rev().find_map(|message| said(message.output_config.as_deref()));
    if let Some(word) = by_turn.or_else(|| said(request.output_config.as_ref())) {
        let effort = match word {
            "low" => Some(Effort::Low),
            "medium" => Some(Effort::Medium),
            "high" => Some(Effort::High),
            "xhigh" => Some(Effort::ExtraHigh),
            "max" => Some(Effort::Max),
            _ => None,
        };
        if effort.is_none() {
            dropped.add("output_config.effort");
        }
        return effort;
    }
    // Without a word, adaptive thinking is as much as the model likes.
    let budget = thinking.filter(|_| mode == Some("enabled"))?.budget_tokens?;
    Some(Effort::of_budget(budget))
}

fn said<'a>(config: Option<&'a OutputConfig<'_>>) -> Option<&'a str> {
    config?.effort.as_ref().map(|Str(word)| &**word)
}

fn show_reasoning(request: &Request<'_>) -> Option<bool> {
    let thinking = request.thinking.as_ref()?;
    let is_on = thinking.kind.as_ref().is_some_and(|Str(kind)| kind != "disabled");
    let is_hidden = thinking.display.as_ref().is_some_and(|Str(display)| display == "omitted");
    is_on.then_some(!is_hidden)
}

/// Returns the session part of a user id: what one conversation's requests have in common.
fn session<'a>(user: &Cow<'a, str>) -> Option<Cow<'a, str>> {
    if user.starts_with('{') {
        let id: UserId<'_> = serde_json::from_str(user).ok()?;
        return id.session_id.map(|Str(session)| session.into_owned().into());
    }
    let (_, session) = user.rsplit_once(SESSION)?;
    (!session.is_empty()).then(|| session.to_owned().into())
}

/// Returns the form of the answer; `output_format` is its older place.
pub(super) fn format<'a>(request: &Request<'a>) -> Result<Option<Format<'a>>, Refusal> {
    let newer = request.output_config.as_ref().and_then(|config| config.format.as_ref());
    let (format, path) = match (newer, &request.output_format) {
        (Some(format), _) => (format, "output_config.format"),
        (None, Some(format)) => (format, "output_format"),
        (None, None) => return Ok(None),
    };
    match format {
        OutputFormat { kind: Some(Str(kind)), schema: Some(schema), .. } if kind == "json_schema" => {
            Ok(Some(Format::Schema { name: None, schema, strict: None }))
        }
        _ => Err(Refusal::of(path, format!("`{path}` must have the type `json_schema` and a schema"))),
    }
}
