//! What OpenAI's two APIs behind the gateway have in common: errors and the rules for tools.

use actix_web::web::Bytes;
use serde_json::{Value, json};

use crate::simulator::answer::Answer;
use crate::simulator::json;

/// Begins a reasoning item's `encrypted_content`, as real ones do.
pub(crate) const ENCRYPTED_PREFIX: &str = "gAAAAAB";
/// Characters of a tool's name or a call's id.
const NAME_CHARS_MAX: usize = 64;

/// Returns a refusal in OpenAI's envelope.
pub(crate) fn refusal(status: u16, message: &str, param: Option<&str>, code: Option<&str>) -> Answer {
    let error = json!({ "message": message, "type": "invalid_request_error", "param": param, "code": code });
    Answer::json(status, &json!({ "error": error }))
}

/// Returns a 400 with OpenAI's words.
pub(crate) fn invalid(message: &str, param: &str, code: Option<&str>) -> Answer {
    refusal(400, message, Some(param), code)
}

/// Refuses a member that the API does not have.
pub(crate) fn known_members(body: &Value, known: &[&str]) -> Result<(), Answer> {
    let keys = body.as_object().into_iter().flat_map(|map| map.keys());
    match keys.into_iter().find(|key| !known.contains(&key.as_str())) {
        Some(key) => Err(invalid(&format!("Unknown parameter: '{key}'."), key, Some("unknown_parameter"))),
        None => Ok(()),
    }
}

/// Refuses a text that is longer than 64 characters.
pub(crate) fn short(text: Option<&str>, param: &str) -> Result<(), Answer> {
    let length = text.map_or(0, |text| text.chars().count());
    if length <= NAME_CHARS_MAX {
        return Ok(());
    }
    let told = format!(
        "Invalid '{param}': string too long. Expected a string with maximum length {NAME_CHARS_MAX}, but got a string \
         with length {length} instead."
    );
    Err(invalid(&told, param, Some("string_above_max_length")))
}

/// Checks a function: `tool` has `name`, `parameters` and `strict`; `place` says where it is in the request.
pub(crate) fn function(tool: &Value, place: &str) -> Result<(), Answer> {
    let param = format!("{place}.name");
    let Some(name) = json::text(tool, "name") else {
        let told = format!("Missing required parameter: '{param}'.");
        return Err(invalid(&told, &param, Some("missing_required_parameter")));
    };
    short(Some(name), &param)?;
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    if name.is_empty() || !name.bytes().all(plain) {
        let told = "string does not match pattern. Expected a string that matches the pattern '^[a-zA-Z0-9_-]+$'.";
        return Err(invalid(&format!("Invalid '{param}': {told}"), &param, Some("invalid_value")));
    }
    let Some(schema) = tool.get("parameters").filter(|schema| !schema.is_null()) else { return Ok(()) };
    let param = format!("{place}.parameters");
    let refuse = |told: &str| {
        let told = format!("Invalid schema for function '{name}': {told}");
        Err(invalid(&told, &param, Some("invalid_function_parameters")))
    };
    // Codex offers functions with an empty schema, and OpenAI takes them.
    if schema.as_object().is_some_and(serde_json::Map::is_empty) {
        return Ok(());
    }
    if json::kind(schema) != "object" {
        let found = json::text(schema, "type").unwrap_or("None");
        return refuse(&format!("schema must be a JSON Schema of 'type: \"object\"', got 'type: \"{found}\"'."));
    }
    if !schema.get("properties").is_some_and(Value::is_object) {
        return refuse("In context=(), object schema missing properties.");
    }
    if json::flag(tool, "strict") && !is_strict(schema) {
        return refuse("In context=(), 'additionalProperties' is required to be supplied and to be false.");
    }
    Ok(())
}

/// Returns whether every object of a schema closes its list of properties and requires all of them.
fn is_strict(schema: &Value) -> bool {
    let Some(map) = schema.as_object() else { return true };
    if let Some(properties) = map.get("properties").and_then(Value::as_object) {
        let required = json::list(schema, "required");
        let closed = schema.get("additionalProperties") == Some(&Value::Bool(false));
        let all_required = properties.keys().all(|name| required.iter().any(|required| required == name));
        if !closed || !all_required || !properties.values().all(is_strict) {
            return false;
        }
    }
    let choices = ["anyOf", "oneOf", "allOf"].iter().flat_map(|key| json::list(schema, key));
    choices.chain(map.get("items")).all(is_strict)
}

/// Refuses what models that reason do not take; all GPT models here are such.
pub(crate) fn no_sampling(body: &Value, keys: &[&str]) -> Result<(), Answer> {
    match keys.iter().find(|key| json::has(body, key)) {
        Some(key) => {
            let told = format!("Unsupported parameter: '{key}' is not supported with this model.");
            Err(invalid(&told, key, Some("unsupported_parameter")))
        }
        None => Ok(()),
    }
}

/// Returns cached tokens of a prompt: OpenAI caches by itself from 1,024 tokens on, in steps of 128.
pub(crate) fn cached_tokens(input_tokens: u64) -> u64 {
    if input_tokens < 1_024 { 0 } else { input_tokens / 2 / 128 * 128 }
}

/// Returns the event with which Responses ends a stream that it cannot go on with: nested, as it really comes, not flat as
/// the API reference has it. Source: an event captured in Effect #7262.
pub(crate) fn responses_error_event(sequence_number: usize) -> Bytes {
    let error = json!({
        "type": "error",
        "sequence_number": sequence_number,
        "error": {
            "type": "server_error",
            "code": "server_error",
            "message": "The server had an error while processing your request. Sorry about that!",
            "param": null,
        },
    });
    Bytes::from(format!("event: error\ndata: {error}\n\n"))
}

/// Returns the event with which Chat Completions ends a stream that it cannot go on with.
pub(crate) fn chat_error_event() -> Bytes {
    let error = json!({
        "error": {
            "message": "The server had an error while processing your request. Sorry about that!",
            "type": "server_error",
            "param": null,
            "code": null,
        }
    });
    Bytes::from(format!("data: {error}\n\n"))
}
