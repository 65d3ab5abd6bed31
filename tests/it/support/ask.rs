//! The plainest request of each dialect, to be varied.

use serde_json::{Value, json};

/// Returns a request in Messages.
pub fn messages(model: &str) -> Value {
    json!({ "model": model, "max_tokens": 200, "messages": [{ "role": "user", "content": "Good morning!" }] })
}

/// Returns a request in Chat Completions.
pub fn chat(model: &str) -> Value {
    json!({ "model": model, "messages": [{ "role": "user", "content": "Good morning!" }] })
}

/// Returns a request in Responses.
pub fn responses(model: &str) -> Value {
    json!({ "model": model, "input": "Good morning!", "store": false })
}

/// Returns `body` with `more` members, which replace those of the same name.
pub fn with(body: &Value, more: &Value) -> Value {
    let mut body = body.clone();
    let members = body.as_object_mut().expect("an object");
    members.extend(more.as_object().expect("an object").clone());
    body
}

/// Returns a request for a token count.
pub fn count(model: &str) -> Value {
    json!({ "model": model, "messages": [{ "role": "user", "content": "Good morning!" }] })
}
