//! All pairs of dialects, as a whole: a client's bytes in, a client's bytes out.

use std::sync::LazyLock;

use serde_json::{Value, json};

use super::{End, Flow, Pipe, Translation, WayBack};
use crate::domain::model::Thinking;
use crate::domain::time::Timestamp;
use crate::protocol::canonical::Target;
use crate::protocol::grammar::{self, Checked, Ended};
use crate::protocol::reasoning::Sealer;

mod bugs;
mod chat_answers;
mod chat_requests;
mod golden;
mod properties;
mod recorded;
mod round_trips;
mod stop_texts;

const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);

const CLAUDE: Target<'static> = Target {
    model: "claude-sonnet-5",
    output_tokens_max: Some(64_000),
    thinking: Some(Thinking::Adaptive),
    efforts: &[],
    accepts_sampling: false,
    effort: None,
};

fn gpt_target() -> Target<'static> {
    static EFFORTS: LazyLock<Vec<String>> =
        LazyLock::new(|| ["none", "low", "medium", "high", "xhigh"].map(str::to_owned).to_vec());
    Target {
        model: "gpt-5.5",
        output_tokens_max: Some(128_000),
        thinking: Some(Thinking::Effort),
        efforts: &EFFORTS,
        accepts_sampling: false,
        effort: None,
    }
}

const ALL: [Translation; 4] = [
    Translation::ChatToMessages,
    Translation::ChatToResponses,
    Translation::MessagesToResponses,
    Translation::ResponsesToMessages,
];

fn target(translation: Translation) -> Target<'static> {
    match translation {
        Translation::ChatToResponses | Translation::MessagesToResponses => gpt_target(),
        Translation::ChatToMessages | Translation::ResponsesToMessages => CLAUDE,
    }
}

fn sealer() -> Sealer {
    Sealer::new(&[7; 32], "test")
}

/// A request on its way: what goes upstream, what is named as lost, and what the way back needs.
struct Sent {
    body: Value,
    text: String,
    dropped: String,
    way_back: WayBack,
}

fn try_send(translation: Translation, body: &Value, target: &Target<'_>) -> Result<Sent, String> {
    let translated =
        translation.request(body.to_string().as_bytes(), target, Some(&sealer())).map_err(|refusal| refusal.message)?;
    Ok(Sent {
        body: serde_json::from_slice(&translated.body).unwrap(),
        text: String::from_utf8(translated.body).unwrap(),
        dropped: translated.dropped.header().unwrap_or_default(),
        way_back: translated.way_back,
    })
}

fn send(translation: Translation, body: &Value) -> Sent {
    try_send(translation, body, &target(translation)).unwrap()
}

/// A request of Codex with these members.
fn responses(members: &Value) -> Value {
    with(json!({ "model": "any", "input": "Hi", "store": false }), members)
}

/// A request of a client of Chat Completions with these members.
fn chat(members: &Value) -> Value {
    with(json!({ "model": "any", "messages": [{ "role": "user", "content": "Hi" }] }), members)
}

/// A request of Claude Code with these members.
fn messages(members: &Value) -> Value {
    let base = json!({ "model": "any", "max_tokens": 1000, "messages": [{ "role": "user", "content": "Hi" }] });
    with(base, members)
}

fn with(mut body: Value, members: &Value) -> Value {
    for (key, value) in members.as_object().unwrap() {
        body[key] = value.clone();
    }
    body
}

/// Returns the way back of the plainest request.
fn plain() -> WayBack {
    offering(&json!([]))
}

/// Returns the way back of a request that offers these tools.
fn offering(tools: &Value) -> WayBack {
    send(Translation::ResponsesToMessages, &responses(&json!({ "tools": tools }))).way_back
}

fn wire(events: &[Value]) -> String {
    let told = |event: &Value| format!("event: {}\ndata: {event}\n\n", event["type"].as_str().unwrap());
    events.iter().fold(String::new(), |all, event| all + &told(event))
}

/// Returns the stream of a Claude model that answers with these blocks, in their final form.
fn claude(blocks: &[Value], stop: &str) -> Vec<Value> {
    let usage = json!({ "input_tokens": 10, "cache_read_input_tokens": 4, "cache_creation_input_tokens": 2, "output_tokens": 1 });
    let mut events = vec![json!({ "type": "message_start", "message": { "id": "msg_01AB", "type": "message",
        "role": "assistant", "model": "claude-sonnet-5", "content": [], "stop_reason": null, "stop_sequence": null, "usage": usage } })];
    for (index, block) in blocks.iter().enumerate() {
        let mut deltas = Vec::new();
        let mut start = block.clone();
        for (member, kind) in [("text", "text_delta"), ("thinking", "thinking_delta"), ("signature", "signature_delta")]
        {
            let Some(text) = block.get(member).and_then(Value::as_str) else { continue };
            start[member] = json!("");
            deltas.extend(pieces(text).map(|piece| json!({ "type": kind, member: piece })));
        }
        if block["type"] == "tool_use" {
            let text = block["input"].as_str().map_or_else(|| block["input"].to_string(), str::to_owned);
            start["input"] = json!({});
            deltas.push(json!({ "type": "input_json_delta", "partial_json": "" }));
            deltas.extend(pieces(&text).map(|piece| json!({ "type": "input_json_delta", "partial_json": piece })));
        }
        events.push(json!({ "type": "content_block_start", "index": index, "content_block": start }));
        events.extend(
            deltas.into_iter().map(|delta| json!({ "type": "content_block_delta", "index": index, "delta": delta })),
        );
        events.push(json!({ "type": "content_block_stop", "index": index }));
    }
    events.push(json!({ "type": "message_delta", "delta": { "stop_reason": stop, "stop_sequence": null },
        "usage": { "output_tokens": 30 } }));
    events.push(json!({ "type": "message_stop" }));
    events
}

/// Returns the same answer as one body.
fn claude_whole(blocks: &[Value], stop: &str) -> Value {
    let usage = json!({ "input_tokens": 10, "cache_read_input_tokens": 4, "cache_creation_input_tokens": 2, "output_tokens": 30 });
    json!({ "id": "msg_01AB", "type": "message", "role": "assistant", "model": "claude-sonnet-5", "content": blocks,
        "stop_reason": stop, "stop_sequence": null, "usage": usage })
}

/// Returns the stream of a GPT model that answers with these items, in their final form.
fn gpt(items: &[Value], status: &str) -> Vec<Value> {
    let whole = gpt_whole(items, status);
    let mut begun = whole.clone();
    (begun["status"], begun["output"], begun["usage"]) = (json!("in_progress"), json!([]), Value::Null);
    let mut events = vec![
        json!({ "type": "response.created", "response": begun }),
        json!({ "type": "response.in_progress", "response": begun }),
    ];
    for (index, item) in items.iter().enumerate() {
        events.extend(item_events(index, item));
    }
    events.push(json!({ "type": format!("response.{status}"), "response": whole }));
    numbered(events)
}

fn numbered(mut events: Vec<Value>) -> Vec<Value> {
    for (number, event) in events.iter_mut().enumerate() {
        event["sequence_number"] = json!(number);
    }
    events
}

fn item_events(index: usize, item: &Value) -> Vec<Value> {
    let mut added = item.clone();
    let id = &item["id"];
    let mut inner = Vec::new();
    let part_events = |part: &Value, at: usize, inner: &mut Vec<Value>| {
        let (prefix, place) = match part["type"].as_str().unwrap() {
            "summary_text" => ("response.reasoning_summary_text", "summary_index"),
            "refusal" => ("response.refusal", "content_index"),
            _ => ("response.output_text", "content_index"),
        };
        let member = if part["type"] == "refusal" { "refusal" } else { "text" };
        let around = if place == "summary_index" { "response.reasoning_summary_part" } else { "response.content_part" };
        let text = part[member].as_str().unwrap();
        let mut empty = part.clone();
        empty[member] = json!("");
        inner.push(json!({ "type": format!("{around}.added"), "item_id": id, "output_index": index, place: at, "part": empty }));
        for piece in pieces(text) {
            inner.push(json!({ "type": format!("{prefix}.delta"), "item_id": id, "output_index": index, place: at,
                "delta": piece, "obfuscation": "xyz" }));
        }
        inner.push(
            json!({ "type": format!("{prefix}.done"), "item_id": id, "output_index": index, place: at, member: text }),
        );
        inner.push(
            json!({ "type": format!("{around}.done"), "item_id": id, "output_index": index, place: at, "part": part }),
        );
    };
    for (list, empty) in [("content", "message"), ("summary", "reasoning")] {
        for (at, part) in item[list].as_array().into_iter().flatten().enumerate() {
            part_events(part, at, &mut inner);
        }
        if item["type"] == empty {
            added[list] = json!([]);
        }
    }
    for (member, event) in
        [("arguments", "response.function_call_arguments"), ("input", "response.custom_tool_call_input")]
    {
        let Some(text) = item.get(member).and_then(Value::as_str) else { continue };
        added[member] = json!("");
        for piece in pieces(text) {
            inner.push(
                json!({ "type": format!("{event}.delta"), "item_id": id, "output_index": index, "delta": piece }),
            );
        }
        inner.push(json!({ "type": format!("{event}.done"), "item_id": id, "output_index": index, member: text }));
    }
    inner.insert(0, json!({ "type": "response.output_item.added", "output_index": index, "item": added }));
    inner.push(json!({ "type": "response.output_item.done", "output_index": index, "item": item }));
    inner
}

/// Returns the same answer as one body.
fn gpt_whole(items: &[Value], status: &str) -> Value {
    let details = (status == "incomplete").then(|| json!({ "reason": "max_output_tokens" }));
    json!({ "id": "resp_01AB", "object": "response", "created_at": 1, "model": "gpt-5.5", "status": status, "output": items,
        "incomplete_details": details, "error": null,
        "usage": { "input_tokens": 16, "input_tokens_details": { "cached_tokens": 4, "cache_write_tokens": 2 },
            "output_tokens": 30, "output_tokens_details": { "reasoning_tokens": 7 }, "total_tokens": 46 } })
}

/// Cuts a text into pieces of a few characters.
fn pieces(text: &str) -> impl Iterator<Item = String> {
    let chars: Vec<char> = text.chars().collect();
    chars.chunks(5).map(|chunk| chunk.iter().collect()).collect::<Vec<String>>().into_iter()
}

fn message(text: &str) -> Value {
    json!({ "id": "msg_1", "type": "message", "status": "completed", "role": "assistant",
        "content": [{ "type": "output_text", "text": text, "annotations": [], "logprobs": [] }] })
}

fn function_call(id: &str, name: &str, arguments: &str) -> Value {
    json!({ "id": format!("fc_{id}"), "type": "function_call", "status": "completed", "call_id": id, "name": name,
        "arguments": arguments })
}

fn reasoning(id: &str, summary: &[&str], encrypted: &str) -> Value {
    let summary: Vec<Value> = summary.iter().map(|text| json!({ "type": "summary_text", "text": text })).collect();
    json!({ "id": id, "type": "reasoning", "summary": summary, "encrypted_content": encrypted })
}

fn piped<'a>(
    translation: Translation,
    pieces: impl IntoIterator<Item = &'a [u8]>,
    way_back: &WayBack,
) -> (Vec<u8>, End, Pipe) {
    let mut pipe = Pipe::Translate(Box::new(translation.stream(NOW, way_back.clone())));
    let mut out = Vec::new();
    for piece in pieces {
        assert_eq!(pipe.feed(piece, &mut out), Ok(Flow::Rewritten));
    }
    let end = pipe.finish(&mut out);
    (out, end, pipe)
}

/// Translates a stream and checks what comes out against the client's grammar.
fn checked(translation: Translation, stream: &str, way_back: &WayBack) -> Checked {
    let (out, end, _) = piped(translation, [stream.as_bytes()], way_back);
    let checked = if way_back.chat.include_usage {
        well_formed(grammar::chat(&out, true), &out)
    } else {
        check(translation, &out)
    };
    assert_eq!(end == End::Complete, checked.ended == Ended::Properly, "{}", String::from_utf8_lossy(&out));
    checked
}

fn check(translation: Translation, out: &[u8]) -> Checked {
    let checked = match translation {
        Translation::ChatToMessages | Translation::ChatToResponses => grammar::chat(out, false),
        Translation::MessagesToResponses => grammar::messages(out),
        Translation::ResponsesToMessages => grammar::responses(out),
    };
    well_formed(checked, out)
}

fn well_formed(checked: Result<Checked, String>, out: &[u8]) -> Checked {
    checked.unwrap_or_else(|problem| panic!("{problem}\n{}", String::from_utf8_lossy(out)))
}

/// Translates a stream of a Claude model for a client of Responses; returns the events and the final response.
fn to_codex(blocks: &[Value], stop: &str, way_back: &WayBack) -> (Checked, Value) {
    let translation = Translation::ResponsesToMessages;
    let checked = checked(translation, &wire(&claude(blocks, stop)), way_back);
    let last = checked.events.last().unwrap()["response"].clone();
    let whole = translation.answer(claude_whole(blocks, stop).to_string().as_bytes(), NOW, way_back);
    if !blocks.iter().any(|block| block["input"].is_string()) {
        let whole: Value = serde_json::from_slice(&whole.unwrap()).unwrap();
        assert_eq!(whole, last, "streamed or not, it is the same response");
    }
    (checked, last)
}

/// Translates a stream of a GPT model for a client of Messages; returns the message as an SDK puts it together.
fn to_claude_code(items: &[Value], status: &str) -> (Checked, Value) {
    let translation = Translation::MessagesToResponses;
    let way_back = plain();
    let checked = checked(translation, &wire(&gpt(items, status)), &way_back);
    let message = assembled(&checked);
    let whole = translation.answer(gpt_whole(items, status).to_string().as_bytes(), NOW, &way_back).unwrap();
    let whole: Value = serde_json::from_slice(&whole).unwrap();
    assert_eq!(whole["content"], message["content"], "streamed or not, it is the same message");
    assert_eq!((&whole["stop_reason"], &whole["id"]), (&message["stop_reason"], &message["id"]));
    for member in ["input_tokens", "output_tokens", "cache_read_input_tokens", "cache_creation_input_tokens"] {
        assert_eq!(whole["usage"][member], message["usage"][member], "{member}");
    }
    (checked, message)
}

/// Puts a message together from its events, as an SDK does.
fn assembled(checked: &Checked) -> Value {
    let mut message = checked.events[0]["message"].clone();
    let mut arguments = String::new();
    for event in &checked.events[1..] {
        match event["type"].as_str().unwrap() {
            "content_block_start" => message["content"].as_array_mut().unwrap().push(event["content_block"].clone()),
            "content_block_delta" => {
                let block = message["content"].as_array_mut().unwrap().last_mut().unwrap();
                for member in ["text", "thinking", "signature"] {
                    if let Some(more) = event["delta"][member].as_str() {
                        block[member] = json!(format!("{}{more}", block[member].as_str().unwrap()));
                    }
                }
                arguments += event["delta"]["partial_json"].as_str().unwrap_or_default();
            }
            "content_block_stop" => {
                let block = message["content"].as_array_mut().unwrap().last_mut().unwrap();
                if block["type"] == "tool_use" && !arguments.is_empty() {
                    block["input"] = serde_json::from_str(&arguments).unwrap_or_else(|_| json!({ "_raw": arguments }));
                }
                arguments.clear();
            }
            "message_delta" => {
                message["stop_reason"] = event["delta"]["stop_reason"].clone();
                for (member, count) in event["usage"].as_object().unwrap() {
                    message["usage"][member] = count.clone();
                }
            }
            _ => {}
        }
    }
    message
}
