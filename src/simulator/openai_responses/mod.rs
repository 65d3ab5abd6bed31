//! OpenAI's Responses API behind the gateway.
//!
//! Source: the request and response types of OpenAI's published SDKs, and the error messages that its users report.
//! Nothing is stored: `previous_response_id` and item references are never found.

mod check;
mod wire;

use serde_json::Value;

use crate::domain::model::{Dialect, Provider};
use crate::domain::time::Timestamp;
use crate::simulator::answer::Answer;
use crate::simulator::json;
use crate::simulator::mind::{self, Ask, Choice, Form, Tool};
use crate::simulator::models;

/// Answers `POST /v1/responses`.
pub(crate) fn answer(body: &Value, words: Option<u32>, now: Timestamp) -> Result<Answer, Answer> {
    check::request(body)?;
    let ask = ask(body, words);
    let response = wire::Response::new(body, &ask.reply(), now);
    if json::flag(body, "stream") {
        return Ok(Answer::events(response.events(), Dialect::Responses));
    }
    Ok(Answer::json(200, &response.whole()))
}

/// Returns the items of the input; a bare string is one user message.
fn items(body: &Value) -> &[Value] {
    body.get("input").map_or(&[], |input| match input {
        Value::Array(items) => items,
        other => std::slice::from_ref(other),
    })
}

/// Returns the type of an input item; a message may leave it out.
fn item_kind(item: &Value) -> &str {
    match json::kind(item) {
        "" => "message",
        kind => kind,
    }
}

fn ask(body: &Value, words: Option<u32>) -> Ask {
    let items = items(body);
    let is_user = |item: &&Value| json::text(item, "role") == Some("user") || item.is_string();
    let prompt = items.iter().rev().filter(is_user).find_map(own_text).unwrap_or_default();
    let instructs = |item: &Value| matches!(json::text(item, "role"), Some("developer" | "system"));
    let reminds = |item: &Value| is_user(&item) && own_text(item).is_none();
    let last = items.iter().rev().find(|item| !instructs(item) && !reminds(item));
    let is_result = |item: &Value| item_kind(item).ends_with("_call_output");
    let result = last.filter(|item| is_result(item));
    let since = items.iter().rev().take_while(|item| !(is_user(item) && own_text(item).is_some()));
    let name = json::text(body, "model").unwrap_or_default();
    let format = body.get("text").and_then(|text| text.get("format"));
    Ask {
        model: models::find(Provider::OpenAi, name).map_or("", |known| known.name),
        prompt: prompt.to_owned(),
        result: result.map(|item| last_text(&item["output"]).unwrap_or_default().to_owned()),
        results: since.filter(|item| is_result(item)).count(),
        tools: tools(body),
        choice: choice(body.get("tool_choice")),
        thinks: reasons(body),
        form: form(format, format),
        output_tokens_max: body.get("max_output_tokens").and_then(Value::as_u64),
        stop_sequences: Vec::new(),
        turns: items.len(),
        chars: ["instructions", "input", "tools"].iter().filter_map(|key| body.get(key)).map(json::chars).sum(),
        words,
    }
}

/// Returns the form that `format` demands; its schema is a member of `holder`.
pub(crate) fn form(format: Option<&Value>, holder: Option<&Value>) -> Form {
    match (format.map(json::kind), holder.and_then(|holder| holder.get("schema"))) {
        (Some("json_schema"), Some(schema)) => Form::Schema(schema.clone()),
        (Some("json_object"), _) => Form::AnyJson,
        _ => Form::Text,
    }
}

/// Returns whether the answer has a reasoning item.
fn reasons(body: &Value) -> bool {
    let reasoning = body.get("reasoning").unwrap_or(&Value::Null);
    match json::text(reasoning, "effort") {
        Some("none") => false,
        Some(_) => true,
        None => json::has(reasoning, "summary") || wants_encrypted(body),
    }
}

fn wants_encrypted(body: &Value) -> bool {
    json::list(body, "include").iter().any(|wanted| wanted == "reasoning.encrypted_content")
}

/// Returns the last text of a user's item that is the user's own.
fn own_text(item: &Value) -> Option<&str> {
    let content = item.get("content").unwrap_or(item);
    let texts = content.as_array().map_or(&[][..], Vec::as_slice).iter().rev();
    let mut texts = content.as_str().into_iter().chain(texts.filter_map(|part| json::text(part, "text")));
    texts.find(|text| mind::is_own(text))
}

/// Returns the last text of a content that is a string, a list of parts, or an item that holds either.
fn last_text(content: &Value) -> Option<&str> {
    let content = content.get("content").unwrap_or(content);
    let parts = content.as_array().map_or(&[][..], Vec::as_slice);
    content.as_str().or_else(|| parts.iter().rev().find_map(|part| json::text(part, "text")))
}

fn tools(body: &Value) -> Vec<Tool> {
    let added = items(body).iter().filter(|item| item_kind(item) == "additional_tools");
    let lists = std::iter::once(json::list(body, "tools")).chain(added.map(|item| json::list(item, "tools")));
    let mut tools = Vec::new();
    for tool in lists.flatten() {
        if json::kind(tool) == "namespace" {
            let namespace = json::text(tool, "name");
            tools.extend(json::list(tool, "tools").iter().filter_map(|tool| one_tool(tool, namespace)));
        } else {
            tools.extend(one_tool(tool, None));
        }
    }
    // Tools of a namespace are the exotic ones: a plain one is taken first.
    tools.sort_by_key(|tool: &Tool| tool.namespace.is_some());
    tools
}

fn one_tool(tool: &Value, namespace: Option<&str>) -> Option<Tool> {
    let schema = match json::kind(tool) {
        "function" => Some(tool.get("parameters").cloned().unwrap_or_default()),
        "custom" => None,
        _ => return None,
    };
    Some(Tool { name: json::text(tool, "name")?.to_owned(), namespace: namespace.map(str::to_owned), schema })
}

fn choice(choice: Option<&Value>) -> Choice {
    match choice {
        Some(Value::String(word)) if word == "required" => Choice::Required,
        Some(Value::String(word)) if word == "none" => Choice::None,
        Some(choice) => json::text(choice, "name").map_or(Choice::Auto, |name| Choice::Named(name.to_owned())),
        None => Choice::Auto,
    }
}
