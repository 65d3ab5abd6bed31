//! The grammar of a Messages stream.

use serde_json::{Value, json};

use super::{Checked, Ended, Problem, count, events, kind, list, need, object, only, text};

/// Reads a stream of Messages.
pub fn messages(stream: &[u8]) -> Result<Checked, String> {
    let all = events(std::str::from_utf8(stream).map_err(|error| error.to_string())?)?;
    let mut state = State::default();
    let mut kept = Vec::new();
    for (at, event) in all.into_iter().enumerate() {
        state.take(&event).map_err(|problem| format!("event {at}: {problem}\n{event}"))?;
        if kind(&event) != "ping" {
            kept.push(event);
        }
    }
    let ended = state.ended.unwrap_or(Ended::CutShort);
    Ok(Checked { events: kept, ended })
}

#[derive(Default)]
struct State {
    started: bool,
    open: Option<Block>,
    /// The number that the next block has.
    next: u64,
    calls: usize,
    ids: Vec<String>,
    /// Arguments of a call that are no JSON object: right only where the limit of tokens cut them.
    has_cut_call: bool,
    stopped: bool,
    ended: Option<Ended>,
}

struct Block {
    index: u64,
    kind: String,
    arguments: String,
    signed: bool,
}

impl State {
    fn take(&mut self, event: &Value) -> Problem {
        need(self.ended.is_none(), || "an event after the end".into())?;
        match kind(event) {
            "ping" => only(event, &["type"], &[]),
            "error" => {
                text(&event["error"], "type")?;
                text(&event["error"], "message")?;
                self.ended = Some(Ended::ByError);
                Ok(())
            }
            "message_start" => {
                need(!self.started, || "a second `message_start`".into())?;
                self.started = true;
                start(event)
            }
            other => {
                need(self.started, || "content before `message_start`".into())?;
                match other {
                    "content_block_start" => self.block_starts(event),
                    "content_block_delta" => self.delta(event),
                    "content_block_stop" => self.block_stops(event),
                    "message_delta" => self.message_delta(event),
                    "message_stop" => {
                        only(event, &["type"], &[])?;
                        need(self.stopped, || "no `message_delta` before `message_stop`".into())?;
                        self.ended = Some(Ended::Properly);
                        Ok(())
                    }
                    _ => Err("an unknown event".into()),
                }
            }
        }
    }

    fn block_starts(&mut self, event: &Value) -> Problem {
        only(event, &["type", "index", "content_block"], &[])?;
        need(self.open.is_none(), || "a block starts inside another".into())?;
        need(!self.stopped, || "a block after `message_delta`".into())?;
        let index = count(event, "index")?;
        need(index == self.next, || format!("block {index} comes where {} should", self.next))?;
        self.next += 1;
        let block = &event["content_block"];
        match kind(block) {
            "text" => {
                only(block, &["type", "text"], &["citations"])?;
                need(block["text"] == "", || "a text block starts with text".into())?;
            }
            "thinking" => {
                only(block, &["type", "thinking", "signature"], &[])?;
                need(block["thinking"] == "" && block["signature"] == "", || "thinking starts with content".into())?;
            }
            "redacted_thinking" => {
                only(block, &["type", "data"], &[])?;
                need(!text(block, "data")?.is_empty(), || "redacted thinking without data".into())?;
            }
            "tool_use" => {
                only(block, &["type", "id", "name", "input"], &["caller"])?;
                need(block["input"] == json!({}), || "a call starts with input".into())?;
                let (id, name) = (text(block, "id")?, text(block, "name")?);
                need(is_id(id), || format!("`{id}` is no id of a call"))?;
                need(!name.is_empty(), || "a call without a name".into())?;
                need(!self.ids.iter().any(|other| other == id), || format!("two calls have the id `{id}`"))?;
                self.ids.push(id.to_owned());
                self.calls += 1;
            }
            // The provider's own work passes as it is.
            "server_tool_use" | "web_search_tool_result" | "web_fetch_tool_result" => {}
            other => return Err(format!("a block of unknown type `{other}`")),
        }
        self.open = Some(Block { index, kind: kind(block).to_owned(), arguments: String::new(), signed: false });
        Ok(())
    }

    fn delta(&mut self, event: &Value) -> Problem {
        only(event, &["type", "index", "delta"], &[])?;
        let block = self.open.as_mut().ok_or("a delta outside of a block")?;
        need(count(event, "index")? == block.index, || format!("a delta of another block than {}", block.index))?;
        let delta = &event["delta"];
        let (kinds, member): (&[&str], &str) = match kind(delta) {
            "text_delta" => (&["text"], "text"),
            "thinking_delta" => (&["thinking"], "thinking"),
            "signature_delta" => (&["thinking"], "signature"),
            "input_json_delta" => (&["tool_use", "server_tool_use"], "partial_json"),
            "citations_delta" => (&["text"], "citation"),
            other => return Err(format!("a delta of unknown type `{other}`")),
        };
        only(delta, &["type", member], &[])?;
        need(kinds.contains(&&*block.kind), || format!("a {} in a block of {}", kind(delta), block.kind))?;
        need(!block.signed, || "a delta after the signature".into())?;
        match member {
            "signature" => block.signed = true,
            "partial_json" => block.arguments.push_str(text(delta, member)?),
            "citation" => {}
            _ => {
                text(delta, member)?;
            }
        }
        Ok(())
    }

    fn block_stops(&mut self, event: &Value) -> Problem {
        only(event, &["type", "index"], &[])?;
        let block = self.open.take().ok_or("no block is open")?;
        need(count(event, "index")? == block.index, || format!("block {} is open", block.index))?;
        if block.kind == "tool_use" && !block.arguments.is_empty() {
            let arguments = serde_json::from_str::<Value>(&block.arguments);
            self.has_cut_call |= !arguments.is_ok_and(|arguments| arguments.is_object());
        }
        Ok(())
    }

    fn message_delta(&mut self, event: &Value) -> Problem {
        only(event, &["type", "delta", "usage"], &["context_management"])?;
        need(self.open.is_none(), || "a block is still open".into())?;
        need(!self.stopped, || "a second `message_delta`".into())?;
        self.stopped = true;
        let delta = &event["delta"];
        only(delta, &["stop_reason", "stop_sequence"], &["container", "stop_details"])?;
        count(&event["usage"], "output_tokens")?;
        let reason = text(delta, "stop_reason")?;
        match reason {
            "end_turn" | "stop_sequence" | "pause_turn" => {
                need(self.calls == 0 || reason == "pause_turn", || format!("{reason} with a call"))?;
            }
            "tool_use" => need(self.calls > 0, || "`tool_use` without a call".into())?,
            "max_tokens" | "refusal" | "model_context_window_exceeded" => {}
            other => return Err(format!("an unknown stop reason `{other}`")),
        }
        need(reason != "stop_sequence" || delta["stop_sequence"].is_string(), || "no `stop_sequence`".into())?;
        need(!self.has_cut_call || reason == "max_tokens", || format!("a call's input is no object, yet {reason}"))
    }
}

fn start(event: &Value) -> Problem {
    only(event, &["type", "message"], &[])?;
    let message = &event["message"];
    let must = ["id", "type", "role", "content", "model", "stop_reason", "stop_sequence", "usage"];
    only(message, &must, &["container", "stop_details", "context_management"])?;
    need(text(message, "id")?.starts_with("msg_"), || "an id that does not begin with `msg_`".into())?;
    need(message["type"] == "message" && message["role"] == "assistant", || "no message of the assistant".into())?;
    need(list(message, "content")?.is_empty(), || "`content` is not empty".into())?;
    need(message["stop_reason"].is_null() && message["stop_sequence"].is_null(), || "stopped at the start".into())?;
    need(!text(message, "model")?.is_empty(), || "no model".into())?;
    object(message, "usage")?;
    for member in ["input_tokens", "output_tokens"] {
        count(&message["usage"], member)?;
    }
    Ok(())
}

fn is_id(id: &str) -> bool {
    !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte))
}
