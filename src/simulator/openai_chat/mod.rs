//! OpenAI's Chat Completions API behind the gateway.
//!
//! Source: the request and response types of OpenAI's published SDKs, and the error messages that its users report.

mod check;
mod wire;

use serde_json::Value;

use crate::domain::model::Dialect;
use crate::domain::time::Timestamp;
use crate::simulator::answer::Answer;
use crate::simulator::json;
use crate::simulator::mind::{Ask, Choice, Tool};
use crate::simulator::models::Known;
use crate::simulator::openai_responses::form;

/// Answers `POST /v1/chat/completions`.
pub(crate) fn answer(body: &Value, known: &Known, words: Option<u32>, now: Timestamp) -> Result<Answer, Answer> {
    check::request(body, known)?;
    let ask = ask(body, known, words);
    let completion = wire::Completion::new(ask.model, ask.reply(), now);
    if json::flag(body, "stream") {
        let with_usage = body.get("stream_options").is_some_and(|options| json::flag(options, "include_usage"));
        return Ok(Answer::events(completion.events(with_usage), Dialect::ChatCompletions));
    }
    Ok(Answer::json(200, &completion.whole()))
}

fn ask(body: &Value, known: &Known, words: Option<u32>) -> Ask {
    let messages = json::list(body, "messages");
    let role = |message: &Value, role: &str| json::text(message, "role") == Some(role);
    let mut users = messages.iter().rev().filter(|message| role(message, "user"));
    let prompt = users.find_map(|message| last_text(&message["content"])).unwrap_or_default();
    let instructs = |message: &Value| role(message, "system") || role(message, "developer");
    let last = messages.iter().rev().find(|message| !instructs(message));
    let result = last.filter(|message| role(message, "tool"));
    let since = messages.iter().rev().take_while(|message| !role(message, "user"));
    let format = body.get("response_format");
    Ask {
        model: known.name,
        prompt: prompt.to_owned(),
        result: result.map(|message| last_text(&message["content"]).unwrap_or_default().to_owned()),
        results: since.filter(|message| role(message, "tool")).count(),
        tools: json::list(body, "tools").iter().filter_map(tool).collect(),
        choice: choice(body.get("tool_choice")),
        // The API has no place for what a model thinks; it only counts the tokens.
        thinks: json::text(body, "reasoning_effort").is_some_and(|effort| effort != "none"),
        form: form(format, format.and_then(|format| format.get("json_schema"))),
        output_tokens_max: body.get("max_completion_tokens").and_then(Value::as_u64),
        stop_sequences: Vec::new(),
        turns: messages.len(),
        chars: ["messages", "tools"].iter().filter_map(|key| body.get(key)).map(json::chars).sum(),
        words,
    }
}

fn last_text(content: &Value) -> Option<&str> {
    let parts = content.as_array().map_or(&[][..], Vec::as_slice);
    content.as_str().or_else(|| parts.iter().rev().find_map(|part| json::text(part, "text")))
}

fn tool(tool: &Value) -> Option<Tool> {
    let kind = json::kind(tool);
    let definition = tool.get(kind)?;
    let schema = match kind {
        "function" => Some(definition.get("parameters").cloned().unwrap_or_default()),
        "custom" => None,
        _ => return None,
    };
    Some(Tool { name: json::text(definition, "name")?.to_owned(), namespace: None, schema })
}

fn choice(choice: Option<&Value>) -> Choice {
    match choice {
        Some(Value::String(word)) if word == "required" => Choice::Required,
        Some(Value::String(word)) if word == "none" => Choice::None,
        Some(choice) => {
            let named = choice.get(json::kind(choice)).and_then(|named| json::text(named, "name"));
            named.map_or(Choice::Auto, |name| Choice::Named(name.to_owned()))
        }
        None => Choice::Auto,
    }
}
