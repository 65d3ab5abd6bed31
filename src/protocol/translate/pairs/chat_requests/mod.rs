//! Requests of Chat Completions, as the other APIs get them.

use super::*;

mod bugs;
mod golden;
mod properties;

const C_TO_A: Translation = Translation::ChatToMessages;
const C_TO_R: Translation = Translation::ChatToResponses;

/// An older model, that is told how many tokens it may think, and takes up an answer where the client left it.
const OLD_CLAUDE: Target<'static> =
    Target { model: "claude-sonnet-4-5", thinking: Some(Thinking::Manual), accepts_sampling: true, ..CLAUDE };

fn messages_of(list: &Value) -> Value {
    chat(&json!({ "messages": list }))
}

fn function(name: &str) -> Value {
    json!({ "type": "function", "function": { "name": name, "description": "Does it.",
        "parameters": { "type": "object", "properties": { "a": { "type": "string" } }, "required": ["a"] } } })
}

fn user(text: &str) -> Value {
    json!({ "role": "user", "content": text })
}

/// A message of the model that calls the tool `run`.
fn calls(ids: &[&str]) -> Value {
    let calls =
        ids.iter().map(|id| json!({ "id": id, "type": "function", "function": { "name": "run", "arguments": "{}" } }));
    json!({ "role": "assistant", "content": null, "tool_calls": calls.collect::<Vec<_>>() })
}

fn result(id: &str, text: &str) -> Value {
    json!({ "role": "tool", "tool_call_id": id, "content": text })
}
