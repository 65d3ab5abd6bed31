//! Requests that say hello, in every dialect.

use serde_json::{Value, json};

/// A Claude model that every simulated account may use.
pub const SONNET: &str = "claude-sonnet-4-6";
/// Another one.
pub const HAIKU: &str = "claude-haiku-4-5-20251001";
/// A GPT model that the gateway offers by Chat Completions, too.
pub const GPT: &str = "gpt-5.4-mini";

/// Returns a request of Messages.
pub fn messages(model: &str, stream: bool) -> Value {
    json!({ "model": model, "max_tokens": 100, "stream": stream, "messages": [{ "role": "user", "content": "Hello!" }] })
}

/// Returns a request of Chat Completions.
pub fn chat(model: &str, stream: bool) -> Value {
    json!({ "model": model, "stream": stream, "messages": [{ "role": "user", "content": "Hello!" }] })
}

/// Returns a request of Responses.
pub fn responses(model: &str, stream: bool) -> Value {
    json!({ "model": model, "stream": stream, "input": "Hello!" })
}
