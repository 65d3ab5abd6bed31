//! Chat completions as OpenAI sends them, whole and in chunks.

use actix_web::web::Bytes;
use serde_json::{Value, json};

use crate::domain::time::Timestamp;
use crate::simulator::mind::{self, Arguments, Reply, Stop, ToolCall};
use crate::simulator::openai;

/// A completion.
pub(super) struct Completion {
    model: &'static str,
    reply: Reply,
    created: u64,
}

impl Completion {
    pub(super) fn new(model: &'static str, reply: Reply, now: Timestamp) -> Self {
        Self { model, reply, created: now.as_secs() }
    }

    /// Returns the completion as one JSON object.
    pub(super) fn whole(&self) -> Value {
        let text = &self.reply.text;
        let mut message = json!({
            "role": "assistant",
            "content": if text.is_empty() && self.reply.call.is_some() { Value::Null } else { json!(text) },
            "refusal": null,
            "annotations": [],
        });
        if let Some(call) = &self.reply.call {
            message["tool_calls"] = json!([self.call(call)]);
        }
        let choice = json!({
            "index": 0,
            "message": message,
            "logprobs": null,
            "finish_reason": self.finish_reason(),
        });
        let mut completion = self.frame("chat.completion", &json!([choice]));
        completion["usage"] = self.usage();
        completion
    }

    /// Returns the completion as a stream.
    pub(super) fn events(&self, with_usage: bool) -> Vec<Bytes> {
        let mut events = Vec::new();
        let mut push = |delta: Value, finish_reason: Option<&str>| {
            let choice = json!({ "index": 0, "delta": delta, "logprobs": null, "finish_reason": finish_reason });
            let mut chunk = self.frame("chat.completion.chunk", &json!([choice]));
            if with_usage {
                chunk["usage"] = Value::Null;
            }
            events.push(data(&chunk));
        };
        let content = if self.reply.text.is_empty() { Value::Null } else { json!("") };
        push(json!({ "role": "assistant", "content": content, "refusal": null }), None);
        for piece in mind::pieces(&self.reply.text) {
            push(json!({ "content": piece }), None);
        }
        if let Some(call) = &self.reply.call {
            let mut whole = self.call(call);
            let (kind, payload) = match call.arguments {
                Arguments::Json(_) => ("function", "arguments"),
                Arguments::Raw(_) => ("custom", "input"),
            };
            let text = whole[kind][payload].as_str().unwrap_or_default().to_owned();
            whole["index"] = json!(0);
            whole[kind][payload] = json!("");
            push(json!({ "tool_calls": [whole] }), None);
            for fragment in mind::fragments(&text) {
                push(json!({ "tool_calls": [{ "index": 0, (kind): { (payload): fragment } }] }), None);
            }
        }
        push(json!({}), Some(self.finish_reason()));
        if with_usage {
            let mut chunk = self.frame("chat.completion.chunk", &json!([]));
            chunk["usage"] = self.usage();
            events.push(data(&chunk));
        }
        events.push(Bytes::from_static(b"data: [DONE]\n\n"));
        events
    }

    fn frame(&self, object: &str, choices: &Value) -> Value {
        json!({
            "id": self.reply.id("chatcmpl-", 0),
            "object": object,
            "created": self.created,
            "model": self.model,
            "choices": choices,
            "service_tier": "default",
            "system_fingerprint": null,
        })
    }

    fn call(&self, call: &ToolCall) -> Value {
        let id = self.reply.id("call_", 0);
        match &call.arguments {
            Arguments::Json(value) => {
                let function = json!({ "name": call.name, "arguments": value.to_string() });
                json!({ "id": id, "type": "function", "function": function })
            }
            Arguments::Raw(text) => {
                json!({ "id": id, "type": "custom", "custom": { "name": call.name, "input": text } })
            }
        }
    }

    fn finish_reason(&self) -> &'static str {
        match self.reply.stop {
            Stop::End | Stop::Sequence(_) => "stop",
            Stop::ToolCall => "tool_calls",
            Stop::Length => "length",
        }
    }

    fn usage(&self) -> Value {
        json!({
            "prompt_tokens": self.reply.input_tokens,
            "completion_tokens": self.reply.output_tokens,
            "total_tokens": self.reply.input_tokens + self.reply.output_tokens,
            "prompt_tokens_details": {
                "cached_tokens": openai::cached_tokens(self.reply.input_tokens),
                "audio_tokens": 0,
            },
            "completion_tokens_details": {
                "reasoning_tokens": self.reply.thinking_tokens,
                "audio_tokens": 0,
                "accepted_prediction_tokens": 0,
                "rejected_prediction_tokens": 0,
            },
        })
    }
}

fn data(chunk: &Value) -> Bytes {
    Bytes::from(format!("data: {chunk}\n\n"))
}
