//! Messages as Anthropic sends them, whole and in events.

use actix_web::web::Bytes;
use serde_json::{Value, json};

use crate::simulator::anthropic::SIGNATURE_PREFIX;
use crate::simulator::mind::{self, Arguments, Ask, Reply, Stop};

/// A message and its usage.
pub(super) struct Message {
    id: String,
    model: &'static str,
    blocks: Vec<Value>,
    stop_reason: &'static str,
    stop_sequence: Option<String>,
    input_tokens: u64,
    cache_read_tokens: u64,
    cache_write_tokens: u64,
    output_tokens: u64,
    thinking_tokens: u64,
}

impl Message {
    pub(super) fn new(ask: &Ask, reply: &Reply, shows_thinking: bool, caches: bool) -> Self {
        let (stop_reason, stop_sequence) = match &reply.stop {
            Stop::End => ("end_turn", None),
            Stop::ToolCall => ("tool_use", None),
            Stop::Length => ("max_tokens", None),
            Stop::Sequence(sequence) => ("stop_sequence", Some(sequence.clone())),
        };
        // The first turn fills the cache, later ones read most of it back.
        let half = reply.input_tokens / 2;
        let (cache_read_tokens, cache_write_tokens) = match (caches, ask.turns) {
            (false, _) => (0, 0),
            (true, 1) => (0, half),
            (true, _) => (half, half / 2),
        };
        Self {
            id: reply.id("msg_01", 0),
            model: ask.model,
            blocks: blocks(reply, shows_thinking),
            stop_reason,
            stop_sequence,
            input_tokens: reply.input_tokens - cache_read_tokens - cache_write_tokens,
            cache_read_tokens,
            cache_write_tokens,
            output_tokens: reply.output_tokens,
            thinking_tokens: reply.thinking_tokens,
        }
    }

    /// Returns the message as one JSON object.
    pub(super) fn whole(&self) -> Value {
        json!({
            "id": self.id,
            "type": "message",
            "role": "assistant",
            "model": self.model,
            "content": self.blocks,
            "stop_reason": self.stop_reason,
            "stop_sequence": self.stop_sequence,
            "stop_details": null,
            "usage": self.usage_at_end(),
        })
    }

    /// Returns the message as a stream.
    pub(super) fn events(&self) -> Vec<Bytes> {
        let mut start = self.whole();
        start["content"] = json!([]);
        start["stop_reason"] = Value::Null;
        start["stop_sequence"] = Value::Null;
        start["usage"] = self.usage(1);
        let mut events = vec![event(&json!({ "type": "message_start", "message": start }))];
        for (index, block) in self.blocks.iter().enumerate() {
            block_events(&mut events, index, block);
        }
        // The real one comes after the first block's start.
        let ping = events.len().min(2);
        events.insert(ping, event(&json!({ "type": "ping" })));
        let delta = json!({
            "stop_reason": self.stop_reason,
            "stop_sequence": self.stop_sequence,
            "stop_details": null,
        });
        let usage = json!({
            "input_tokens": self.input_tokens,
            "cache_creation_input_tokens": self.cache_write_tokens,
            "cache_read_input_tokens": self.cache_read_tokens,
            "output_tokens": self.output_tokens,
            "output_tokens_details": self.output_details(),
        });
        events.push(event(&json!({ "type": "message_delta", "delta": delta, "usage": usage })));
        events.push(event(&json!({ "type": "message_stop" })));
        events
    }

    fn usage_at_end(&self) -> Value {
        let mut usage = self.usage(self.output_tokens);
        usage["output_tokens_details"] = self.output_details();
        usage
    }

    fn output_details(&self) -> Value {
        json!({ "thinking_tokens": self.thinking_tokens })
    }

    fn usage(&self, output_tokens: u64) -> Value {
        json!({
            "input_tokens": self.input_tokens,
            "cache_creation_input_tokens": self.cache_write_tokens,
            "cache_read_input_tokens": self.cache_read_tokens,
            "cache_creation": {
                "ephemeral_5m_input_tokens": self.cache_write_tokens,
                "ephemeral_1h_input_tokens": 0,
            },
            "output_tokens": output_tokens,
            "service_tier": "standard",
        })
    }
}

fn blocks(reply: &Reply, shows_thinking: bool) -> Vec<Value> {
    let mut blocks = Vec::new();
    if let Some(thinking) = &reply.thinking {
        let shown = if shows_thinking { thinking } else { "" };
        let signature = mind::seal(SIGNATURE_PREFIX, thinking);
        blocks.push(json!({ "type": "thinking", "thinking": shown, "signature": signature }));
    }
    if !reply.text.is_empty() {
        blocks.push(json!({ "type": "text", "text": reply.text }));
    }
    if let Some(call) = &reply.call {
        let input = match &call.arguments {
            Arguments::Json(value) => value.clone(),
            Arguments::Raw(text) => json!({ "input": text }),
        };
        let id = reply.id("toolu_01", 0);
        blocks.push(json!({ "type": "tool_use", "id": id, "name": call.name, "input": input }));
    }
    blocks
}

fn block_events(events: &mut Vec<Bytes>, index: usize, block: &Value) {
    let mut start = block.clone();
    let mut deltas = Vec::new();
    match (block["thinking"].as_str(), block["text"].as_str()) {
        (Some(thinking), _) => {
            start["thinking"] = json!("");
            start["signature"] = json!("");
            deltas.extend(mind::pieces(thinking).map(|piece| json!({ "type": "thinking_delta", "thinking": piece })));
            deltas.push(json!({ "type": "signature_delta", "signature": block["signature"] }));
        }
        (None, Some(text)) => {
            start["text"] = json!("");
            deltas.extend(mind::pieces(text).map(|piece| json!({ "type": "text_delta", "text": piece })));
        }
        (None, None) => {
            start["input"] = json!({});
            let input = block["input"].to_string();
            let partial = |json: &str| json!({ "type": "input_json_delta", "partial_json": json });
            deltas.push(partial(""));
            if input != "{}" {
                deltas.extend(mind::fragments(&input).into_iter().map(partial));
            }
        }
    }
    events.push(event(&json!({ "type": "content_block_start", "index": index, "content_block": start })));
    for delta in deltas {
        events.push(event(&json!({ "type": "content_block_delta", "index": index, "delta": delta })));
    }
    events.push(event(&json!({ "type": "content_block_stop", "index": index })));
}

/// Writes an event with its name.
pub(super) fn event(data: &Value) -> Bytes {
    Bytes::from(format!("event: {}\ndata: {data}\n\n", data["type"].as_str().unwrap_or_default()))
}
