//! Anthropic's Messages API behind the gateway.
//!
//! Source: the request and response types of Anthropic's published SDKs, and the error messages that its users report.

mod check;
mod messages;
mod wire;

use actix_web::http::header::HeaderMap;
use actix_web::web::Bytes;
use serde_json::{Value, json};

use crate::domain::model::{Dialect, Thinking};
use crate::simulator::answer::Answer;
use crate::simulator::json;
use crate::simulator::mind::{self, Ask, Choice, Form, Tool};
use crate::simulator::models::Known;

/// Begins a signature of ours; real ones begin with similar letters.
const SIGNATURE_PREFIX: &str = "ErUB";
const REQUEST_ID: &str = "req_011simulated0000000000";

/// Answers `POST /v1/messages`.
pub(crate) fn messages(headers: &HeaderMap, body: &Value, known: &Known, words: Option<u32>) -> Result<Answer, Answer> {
    checked(headers, body, known, check::Endpoint::Messages)?;
    let ask = ask(body, known, words);
    let message = wire::Message::new(&ask, &ask.reply(), shows_thinking(body, known), cache_marks(body) > 0);
    if json::flag(body, "stream") {
        return Ok(Answer::events(message.events(), Dialect::Messages));
    }
    Ok(Answer::json(200, &message.whole()))
}

/// Answers `POST /v1/messages/count_tokens`.
pub(crate) fn count_tokens(headers: &HeaderMap, body: &Value, known: &Known) -> Result<Answer, Answer> {
    checked(headers, body, known, check::Endpoint::CountTokens)?;
    Ok(Answer::json(200, &json!({ "input_tokens": mind::input_tokens(chars(body)) })))
}

/// Returns the event with which Anthropic ends a stream that it cannot go on with.
pub(crate) fn error_event() -> Bytes {
    let error = json!({ "type": "error", "error": { "type": "api_error", "message": "Internal server error" } });
    wire::event(&error)
}

/// Returns a delta of the first block's text.
pub(crate) fn text_delta_event(text: &str) -> Bytes {
    wire::event(&json!({ "type": "content_block_delta", "index": 0, "delta": { "type": "text_delta", "text": text } }))
}

fn checked(headers: &HeaderMap, body: &Value, known: &Known, endpoint: check::Endpoint) -> Result<(), Answer> {
    let refused =
        |error: Value| Answer::json(400, &json!({ "type": "error", "error": error, "request_id": REQUEST_ID }));
    let refuse = |message: &str| refused(json!({ "type": "invalid_request_error", "message": message }));
    if headers.get("anthropic-version").is_none() {
        return Err(refuse("anthropic-version: header is required"));
    }
    let betas: Vec<&str> = headers.get_all("anthropic-beta").filter_map(|value| value.to_str().ok()).collect();
    check::request(body, known, &betas.join(","), endpoint).map_err(|message| refuse(&message))?;
    if json::has(body, "thread") {
        // Nothing is kept from one request to the next.
        let details = json!({ "error_code": "thread_unsupported_request", "unsupported": [] });
        let message = "thread: this organization does not support threads";
        return Err(refused(json!({ "type": "invalid_request_error", "message": message, "details": details })));
    }
    Ok(())
}

fn chars(body: &Value) -> usize {
    ["system", "messages", "tools"].iter().filter_map(|key| body.get(key)).map(json::chars).sum()
}

/// Counts the `cache_control` marks of a request.
fn cache_marks(value: &Value) -> usize {
    match value {
        Value::Array(list) => list.iter().map(cache_marks).sum(),
        Value::Object(map) => {
            let own = usize::from(map.get("cache_control").is_some_and(|mark| !mark.is_null()));
            own + map
                .iter()
                .filter(|(key, _)| *key != "input" && *key != "input_schema")
                .map(|(_, value)| cache_marks(value))
                .sum::<usize>()
        }
        _ => 0,
    }
}

/// Returns whether thinking is shown; the newest models leave it out unless asked.
fn shows_thinking(body: &Value, known: &Known) -> bool {
    match body.get("thinking").and_then(|thinking| json::text(thinking, "display")) {
        Some(display) => display != "omitted",
        None => known.thinking != Thinking::Adaptive,
    }
}

fn ask(body: &Value, known: &Known, words: Option<u32>) -> Ask {
    let all = json::list(body, "messages");
    let has_result =
        |message: &Value| json::list(message, "content").iter().any(|block| json::kind(block) == "tool_result");
    let speaks = |message: &Value| has_result(message) || last_text(&message["content"]).is_some();
    let mut last = all.iter().rev().filter(|message| json::text(message, "role") != Some("system"));
    let last = last.find(|message| json::text(message, "role") != Some("user") || speaks(message));
    let mut users = all.iter().rev().filter(|message| json::text(message, "role") == Some("user"));
    let prompt = users.find_map(|message| last_text(&message["content"])).unwrap_or_default();
    let blocks = last.map_or(&[][..], |message| json::list(message, "content"));
    let result = blocks.iter().rev().find(|block| json::kind(block) == "tool_result");
    let since = all
        .iter()
        .rev()
        .take_while(|message| json::text(message, "role") != Some("user") || last_text(&message["content"]).is_none());
    let results = since.flat_map(|message| json::list(message, "content"));
    let thinking = body.get("thinking").map(json::kind);
    let form = body.get("output_config").and_then(|config| config.get("format")).or_else(|| body.get("output_format"));
    let stop_sequences = json::list(body, "stop_sequences").iter().filter_map(Value::as_str).map(str::to_owned);
    Ask {
        model: known.name,
        prompt: prompt.to_owned(),
        result: result.map(|block| last_text(&block["content"]).unwrap_or_default().to_owned()),
        results: results.filter(|block| json::kind(block) == "tool_result").count(),
        tools: json::list(body, "tools").iter().filter_map(tool).collect(),
        choice: choice(body.get("tool_choice")),
        thinks: matches!(thinking, Some("enabled" | "adaptive" | "between_tools")),
        form: form.and_then(|form| form.get("schema")).map_or(Form::Text, |schema| Form::Schema(schema.clone())),
        output_tokens_max: body.get("max_tokens").and_then(Value::as_u64),
        stop_sequences: stop_sequences.collect(),
        turns: all.len(),
        chars: chars(body),
        words,
    }
}

/// Returns the last text of a message's or result's content that no client put there for the user.
fn last_text(content: &Value) -> Option<&str> {
    let texts = content.as_array().map_or(&[][..], Vec::as_slice).iter().rev();
    let mut texts = content.as_str().into_iter().chain(texts.filter_map(|block| json::text(block, "text")));
    texts.find(|text| mind::is_own(text))
}

fn tool(tool: &Value) -> Option<Tool> {
    let is_custom = matches!(json::kind(tool), "" | "custom");
    let deferred = json::flag(tool, "defer_loading");
    let schema = tool.get("input_schema").filter(|_| is_custom && !deferred)?;
    Some(Tool { name: json::text(tool, "name")?.to_owned(), namespace: None, schema: Some(schema.clone()) })
}

fn choice(choice: Option<&Value>) -> Choice {
    let Some(choice) = choice else { return Choice::Auto };
    match (json::kind(choice), json::text(choice, "name")) {
        ("any", _) => Choice::Required,
        ("none", _) => Choice::None,
        ("tool", Some(name)) => Choice::Named(name.to_owned()),
        _ => Choice::Auto,
    }
}
