//! What OpenAI refuses in a request to Chat Completions, in its own words.

use serde_json::Value;

use crate::simulator::answer::Answer;
use crate::simulator::json;
use crate::simulator::models::Known;
use crate::simulator::openai::{self, invalid};

const MEMBERS: [&str; 37] = [
    "model",
    "messages",
    "audio",
    "frequency_penalty",
    "function_call",
    "functions",
    "logit_bias",
    "logprobs",
    "max_completion_tokens",
    "max_tokens",
    "metadata",
    "modalities",
    "n",
    "parallel_tool_calls",
    "prediction",
    "presence_penalty",
    "prompt_cache_key",
    "prompt_cache_retention",
    "reasoning_effort",
    "response_format",
    "safety_identifier",
    "seed",
    "service_tier",
    "stop",
    "store",
    "stream",
    "stream_options",
    "temperature",
    "tool_choice",
    "tools",
    "top_logprobs",
    "top_p",
    "user",
    "verbosity",
    "web_search_options",
    "moderation",
    "prompt_cache_options",
];

/// Checks a request.
pub(super) fn request(body: &Value, known: &Known) -> Result<(), Answer> {
    if !known.chat_completions {
        let told = "This model is only supported in v1/responses and not in v1/chat/completions.";
        return Err(invalid(told, "model", None));
    }
    openai::known_members(body, &MEMBERS)?;
    parameters(body)?;
    for (index, tool) in json::list(body, "tools").iter().enumerate() {
        check_tool(tool, &format!("tools[{index}]"))?;
    }
    tool_choice(body)?;
    messages(body)
}

fn parameters(body: &Value) -> Result<(), Answer> {
    if json::has(body, "max_tokens") {
        let told = "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead.";
        return Err(invalid(told, "max_tokens", Some("unsupported_parameter")));
    }
    let refused = ["stop", "logprobs", "top_logprobs", "logit_bias", "presence_penalty", "frequency_penalty"];
    openai::no_sampling(body, &refused)?;
    if json::has(body, "web_search_options") {
        return Err(invalid("Web search options not supported with this model.", "web_search_options", None));
    }
    for key in ["temperature", "top_p", "n"] {
        let value = body.get(key).and_then(Value::as_f64).unwrap_or(1.0);
        if (value - 1.0).abs() > f64::EPSILON {
            let told = format!(
                "Unsupported value: '{key}' does not support {value} with this model. Only the default (1) value is \
                 supported."
            );
            return Err(invalid(&told, key, Some("unsupported_value")));
        }
    }
    openai::short(json::text(body, "prompt_cache_key"), "prompt_cache_key")
}

fn check_tool(tool: &Value, place: &str) -> Result<(), Answer> {
    let kind = json::kind(tool);
    if !matches!(kind, "function" | "custom") {
        let told = format!("Invalid value: '{kind}'. Supported values are: 'function' and 'custom'.");
        return Err(invalid(&told, &format!("{place}.type"), Some("invalid_value")));
    }
    let place = format!("{place}.{kind}");
    let Some(definition) = tool.get(kind) else {
        let told = format!("Missing required parameter: '{place}'.");
        return Err(invalid(&told, &place, Some("missing_required_parameter")));
    };
    openai::function(definition, &place)
}

fn tool_choice(body: &Value) -> Result<(), Answer> {
    let Some(choice) = body.get("tool_choice").filter(|choice| !choice.is_null()) else { return Ok(()) };
    let tools = json::list(body, "tools");
    if tools.is_empty() {
        let told = "Invalid value for 'tool_choice': 'tool_choice' is only allowed when 'tools' are specified.";
        return Err(invalid(told, "tool_choice", None));
    }
    let kind = json::kind(choice);
    let name = |value: &Value| value.get(kind).and_then(|named| json::text(named, "name")).map(str::to_owned);
    if matches!(kind, "function" | "custom") && !tools.iter().any(|tool| name(tool) == name(choice)) {
        let told = "Invalid value for 'tool_choice': the named tool is not in 'tools'.";
        return Err(invalid(told, "tool_choice", None));
    }
    Ok(())
}

fn messages(body: &Value) -> Result<(), Answer> {
    let messages = json::list(body, "messages");
    if messages.is_empty() {
        let told = "Missing required parameter: 'messages'.";
        return Err(invalid(told, "messages", Some("missing_required_parameter")));
    }
    // Calls of the last assistant message that no tool message has answered yet.
    let mut open: Vec<&str> = Vec::new();
    let mut calls: Vec<&str> = Vec::new();
    for (index, message) in messages.iter().enumerate() {
        let role = json::text(message, "role").unwrap_or_default();
        if role == "tool" {
            let id = json::text(message, "tool_call_id").unwrap_or_default();
            if !calls.contains(&id) {
                let told = "Invalid parameter: messages with role 'tool' must be a response to a preceeding message \
                            with 'tool_calls'.";
                return Err(invalid(told, &format!("messages.[{index}].role"), None));
            }
            open.retain(|waiting| *waiting != id);
            continue;
        }
        unanswered(&open, index)?;
        calls.clear();
        match role {
            "assistant" => {
                calls.extend(json::list(message, "tool_calls").iter().filter_map(|call| json::text(call, "id")));
            }
            "user" | "system" | "developer" | "function" => {}
            other => {
                let told = format!(
                    "Invalid value: '{other}'. Supported values are: 'system', 'assistant', 'user', 'function', 'tool', and 'developer'."
                );
                return Err(invalid(&told, &format!("messages[{index}].role"), Some("invalid_value")));
            }
        }
        open.clone_from(&calls);
        content(message, index, !calls.is_empty())?;
    }
    unanswered(&open, messages.len())
}

fn unanswered(open: &[&str], index: usize) -> Result<(), Answer> {
    if open.is_empty() {
        return Ok(());
    }
    let told = format!(
        "An assistant message with 'tool_calls' must be followed by tool messages responding to each 'tool_call_id'. \
         The following tool_call_ids did not have response messages: {}",
        open.join(", ")
    );
    Err(invalid(&told, &format!("messages.[{index}].role"), None))
}

fn content(message: &Value, index: usize, has_calls: bool) -> Result<(), Answer> {
    let param = format!("messages.[{index}].content");
    if !json::has(message, "content") && !has_calls && !json::has(message, "refusal") {
        let told = "Invalid value for 'content': expected a string, got null.";
        return Err(invalid(told, &param, None));
    }
    for (at, part) in json::list(message, "content").iter().enumerate() {
        let kind = json::kind(part);
        if kind == "input_audio" {
            let param = format!("messages[{index}]");
            let told = "Content blocks are expected to be either text or image_url type.";
            return Err(invalid(&format!("Invalid '{param}'. {told}"), &param, Some("invalid_value")));
        }
        if !matches!(kind, "text" | "image_url" | "file" | "refusal") {
            let told = format!(
                "Invalid value: '{kind}'. Supported values are: 'text', 'image_url', 'input_audio', 'refusal', and 'file'."
            );
            return Err(invalid(&told, &format!("messages[{index}].content[{at}]"), Some("invalid_value")));
        }
    }
    Ok(())
}
