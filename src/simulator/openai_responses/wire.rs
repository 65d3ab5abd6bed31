//! Responses as OpenAI sends them, whole and in events.

use actix_web::web::Bytes;
use serde_json::{Value, json};

use crate::domain::time::Timestamp;
use crate::simulator::json;
use crate::simulator::mind::{self, Arguments, Reply, Stop};
use crate::simulator::openai::{self, ENCRYPTED_PREFIX};
use crate::simulator::openai_responses::wants_encrypted;

/// A response and the items in it.
pub(super) struct Response {
    /// The response object, complete.
    object: Value,
}

/// The events of a stream with their numbers.
#[derive(Default)]
struct Events {
    list: Vec<Bytes>,
}

impl Events {
    fn push(&mut self, kind: &str, mut data: Value) {
        data["type"] = json!(kind);
        data["sequence_number"] = json!(self.list.len());
        if data.get("delta").is_some() {
            // Padding that hides the length of what a model says; clients ignore it.
            data["obfuscation"] = json!("simulated");
        }
        self.list.push(Bytes::from(format!("event: {kind}\ndata: {data}\n\n")));
    }
}

impl Response {
    pub(super) fn new(body: &Value, reply: &Reply, now: Timestamp) -> Self {
        let cut = reply.stop == Stop::Length;
        let or = |key: &str, default: Value| body.get(key).filter(|value| !value.is_null()).cloned().unwrap_or(default);
        let reasoning = or("reasoning", json!({}));
        let text = or("text", json!({}));
        let member = |value: &Value, key: &str, default: Value| value.get(key).cloned().unwrap_or(default);
        let total = reply.input_tokens + reply.output_tokens;
        let object = json!({
            "id": reply.id("resp_", 0),
            "object": "response",
            "created_at": now.as_secs(),
            "status": if cut { "incomplete" } else { "completed" },
            "background": false,
            "completed_at": if cut { Value::Null } else { json!(now.as_secs()) },
            "error": null,
            "incomplete_details": cut.then(|| json!({ "reason": "max_output_tokens" })),
            "instructions": or("instructions", Value::Null),
            "max_output_tokens": or("max_output_tokens", Value::Null),
            "max_tool_calls": or("max_tool_calls", Value::Null),
            "model": or("model", Value::Null),
            "output": items(body, reply),
            "parallel_tool_calls": or("parallel_tool_calls", json!(true)),
            "previous_response_id": null,
            "prompt_cache_key": or("prompt_cache_key", Value::Null),
            "reasoning": {
                "effort": member(&reasoning, "effort", json!("medium")),
                "summary": member(&reasoning, "summary", Value::Null),
            },
            "safety_identifier": or("safety_identifier", Value::Null),
            "service_tier": "default",
            "store": or("store", json!(true)),
            "temperature": 1.0,
            "text": {
                "format": member(&text, "format", json!({ "type": "text" })),
                "verbosity": member(&text, "verbosity", json!("medium")),
            },
            "tool_choice": or("tool_choice", json!("auto")),
            "tools": or("tools", json!([])),
            "top_logprobs": 0,
            "top_p": 1.0,
            "truncation": or("truncation", json!("disabled")),
            "usage": {
                "input_tokens": reply.input_tokens,
                "input_tokens_details": {
                    "cached_tokens": openai::cached_tokens(reply.input_tokens),
                    "cache_write_tokens": 0,
                },
                "output_tokens": reply.output_tokens,
                "output_tokens_details": { "reasoning_tokens": reply.thinking_tokens },
                "total_tokens": total,
            },
            "user": null,
            "metadata": or("metadata", json!({})),
        });
        Self { object }
    }

    /// Returns the response as one JSON object.
    pub(super) fn whole(&self) -> Value {
        self.object.clone()
    }

    /// Returns the response as a stream.
    pub(super) fn events(&self) -> Vec<Bytes> {
        let mut events = Events::default();
        let mut begun = self.object.clone();
        begun["status"] = json!("in_progress");
        begun["output"] = json!([]);
        for key in ["usage", "completed_at", "incomplete_details"] {
            begun[key] = Value::Null;
        }
        events.push("response.created", json!({ "response": begun }));
        events.push("response.in_progress", json!({ "response": begun }));
        for (index, item) in json::list(&self.object, "output").iter().enumerate() {
            item_events(&mut events, index, item);
        }
        let status = json::text(&self.object, "status").unwrap_or_default();
        events.push(&format!("response.{status}"), json!({ "response": self.object }));
        events.list
    }
}

/// Returns the output items in their final form.
fn items(body: &Value, reply: &Reply) -> Vec<Value> {
    let mut items = Vec::new();
    if let Some(thinking) = &reply.thinking {
        let wants_summary = body.get("reasoning").is_some_and(|reasoning| json::has(reasoning, "summary"));
        let summary = wants_summary.then(|| json!({ "type": "summary_text", "text": thinking }));
        let mut item = json!({
            "id": reply.id("rs_", 0),
            "type": "reasoning",
            "summary": summary.into_iter().collect::<Vec<_>>(),
        });
        if wants_encrypted(body) {
            item["encrypted_content"] = json!(mind::seal(ENCRYPTED_PREFIX, thinking));
        }
        items.push(item);
    }
    if !reply.text.is_empty() {
        let part = json!({ "type": "output_text", "text": reply.text, "annotations": [], "logprobs": [] });
        let status = if reply.stop == Stop::Length { "incomplete" } else { "completed" };
        items.push(json!({
            "id": reply.id("msg_", 0),
            "type": "message",
            "status": status,
            "role": "assistant",
            "content": [part],
        }));
    }
    if let Some(call) = &reply.call {
        let (kind, prefix, payload, text) = match &call.arguments {
            Arguments::Json(value) => ("function_call", "fc_", "arguments", value.to_string()),
            Arguments::Raw(text) => ("custom_tool_call", "ctc_", "input", text.clone()),
        };
        let mut item = json!({
            "id": reply.id(prefix, 0),
            "type": kind,
            "status": "completed",
            "call_id": reply.id("call_", 0),
            "name": call.name,
        });
        item[payload] = json!(text);
        if let Some(namespace) = &call.namespace {
            item["namespace"] = json!(namespace);
        }
        items.push(item);
    }
    items
}

fn item_events(events: &mut Events, index: usize, item: &Value) {
    let mut added = item.clone();
    match json::kind(item) {
        "message" => {
            added["status"] = json!("in_progress");
            added["content"] = json!([]);
        }
        "reasoning" => added["summary"] = json!([]),
        kind => {
            added["status"] = json!("in_progress");
            added[if kind == "function_call" { "arguments" } else { "input" }] = json!("");
        }
    }
    events.push("response.output_item.added", json!({ "output_index": index, "item": added }));
    let id = &item["id"];
    match json::kind(item) {
        "message" => message_events(events, index, id, &item["content"][0]),
        "reasoning" => {
            for (at, part) in json::list(item, "summary").iter().enumerate() {
                summary_events(events, index, id, (at, part));
            }
        }
        "function_call" => {
            let arguments = json::text(item, "arguments").unwrap_or_default();
            for delta in mind::fragments(arguments) {
                let data = json!({ "item_id": id, "output_index": index, "delta": delta });
                events.push("response.function_call_arguments.delta", data);
            }
            let data = json!({ "item_id": id, "output_index": index, "arguments": arguments });
            events.push("response.function_call_arguments.done", data);
        }
        _ => {
            let input = json::text(item, "input").unwrap_or_default();
            for delta in mind::fragments(input) {
                let data = json!({ "item_id": id, "output_index": index, "delta": delta });
                events.push("response.custom_tool_call_input.delta", data);
            }
            let data = json!({ "item_id": id, "output_index": index, "input": input });
            events.push("response.custom_tool_call_input.done", data);
        }
    }
    events.push("response.output_item.done", json!({ "output_index": index, "item": item }));
}

fn message_events(events: &mut Events, index: usize, id: &Value, part: &Value) {
    let empty = json!({ "type": "output_text", "text": "", "annotations": [], "logprobs": [] });
    let text = json::text(part, "text").unwrap_or_default();
    let data = json!({ "item_id": id, "output_index": index, "content_index": 0, "part": empty });
    events.push("response.content_part.added", data);
    for delta in mind::pieces(text) {
        let data = json!({ "item_id": id, "output_index": index, "content_index": 0, "delta": delta, "logprobs": [] });
        events.push("response.output_text.delta", data);
    }
    let data = json!({ "item_id": id, "output_index": index, "content_index": 0, "text": text, "logprobs": [] });
    events.push("response.output_text.done", data);
    let data = json!({ "item_id": id, "output_index": index, "content_index": 0, "part": part });
    events.push("response.content_part.done", data);
}

fn summary_events(events: &mut Events, index: usize, id: &Value, part: (usize, &Value)) {
    let (at, part) = part;
    let text = json::text(part, "text").unwrap_or_default();
    let empty = json!({ "type": "summary_text", "text": "" });
    let data = json!({ "item_id": id, "output_index": index, "summary_index": at, "part": empty });
    events.push("response.reasoning_summary_part.added", data);
    for delta in mind::pieces(text) {
        let data = json!({ "item_id": id, "output_index": index, "summary_index": at, "delta": delta });
        events.push("response.reasoning_summary_text.delta", data);
    }
    let data = json!({ "item_id": id, "output_index": index, "summary_index": at, "text": text });
    events.push("response.reasoning_summary_text.done", data);
    let data = json!({ "item_id": id, "output_index": index, "summary_index": at, "part": part });
    events.push("response.reasoning_summary_part.done", data);
}
