//! The grammar of a Responses stream.

use serde_json::{Value, json};

use super::{Checked, Ended, Problem, count, events, kind, list, need, only, text};

/// Members that the openai SDK 3.54 insists on where it validates strictly, and those that Codex reads.
const RESPONSE_MEMBERS: [&str; 16] = [
    "id",
    "object",
    "created_at",
    "status",
    "error",
    "incomplete_details",
    "instructions",
    "metadata",
    "model",
    "output",
    "parallel_tool_calls",
    "temperature",
    "tool_choice",
    "tools",
    "top_p",
    "usage",
];

/// Reads a stream of Responses.
pub fn responses(stream: &[u8]) -> Result<Checked, String> {
    let all = events(std::str::from_utf8(stream).map_err(|error| error.to_string())?)?;
    let mut state = State::default();
    for (at, event) in all.iter().enumerate() {
        let in_place = |problem| format!("event {at}: {problem}\n{event}");
        let number = count(event, "sequence_number").map_err(in_place)?;
        need(number == at as u64, || format!("number {number}")).map_err(in_place)?;
        state.take(event).map_err(in_place)?;
    }
    let ended = state.ended.unwrap_or(Ended::CutShort);
    Ok(Checked { events: all, ended })
}

/// Checks a response object, as it stands alone or at the end of a stream.
pub(super) fn response(response: &Value) -> Problem {
    for member in RESPONSE_MEMBERS {
        need(response.get(member).is_some(), || format!("the response has no `{member}`"))?;
    }
    need(text(response, "id")?.starts_with("resp_"), || "an id that does not begin with `resp_`".into())?;
    need(response["object"] == "response", || "`object` is not `response`".into())?;
    need(response["created_at"].is_u64(), || "`created_at` is no time".into())?;
    need(response["parallel_tool_calls"].is_boolean(), || "`parallel_tool_calls` is no flag".into())?;
    need(response["tools"].is_array(), || "`tools` is no list".into())?;
    need(!response["tool_choice"].is_null(), || "`tool_choice` is null".into())?;
    let status = text(response, "status")?;
    let items = list(response, "output")?;
    match status {
        "in_progress" => need(response["usage"].is_null() && items.is_empty(), || "begun with content".into()),
        "completed" => {
            need(response["error"].is_null() && response["incomplete_details"].is_null(), || "with a fault".into())?;
            items.iter().try_for_each(|item| final_item(item, true))?;
            usage(&response["usage"])
        }
        "incomplete" => {
            let reason = text(&response["incomplete_details"], "reason")?;
            need(["max_output_tokens", "content_filter"].contains(&reason), || format!("reason `{reason}`"))?;
            items.iter().try_for_each(|item| final_item(item, false))?;
            usage(&response["usage"])
        }
        "failed" => {
            text(&response["error"], "code")?;
            text(&response["error"], "message").map(drop)
        }
        other => Err(format!("a status `{other}`")),
    }
}

fn usage(usage: &Value) -> Problem {
    let input = count(usage, "input_tokens")?;
    let output = count(usage, "output_tokens")?;
    need(count(usage, "total_tokens")? == input + output, || "the total is not the sum".into())?;
    let cached = count(&usage["input_tokens_details"], "cached_tokens")?
        + count(&usage["input_tokens_details"], "cache_write_tokens")?;
    need(cached <= input, || "more cached than all".into())?;
    let reasoning = count(&usage["output_tokens_details"], "reasoning_tokens")?;
    need(reasoning <= output, || "more reasoning than all".into())
}

/// Checks an item as it is when done; only the limit may have cut one, and then it says so.
fn final_item(item: &Value, whole: bool) -> Problem {
    let prefix = match kind(item) {
        "message" => {
            only(item, &["id", "type", "status", "role", "content"], &["phase"])?;
            need(item["role"] == "assistant", || "a message of somebody else".into())?;
            list(item, "content")?.iter().try_for_each(part)?;
            "msg_"
        }
        "reasoning" => {
            only(item, &["id", "type", "summary"], &["encrypted_content", "content", "status"])?;
            for part in list(item, "summary")? {
                only(part, &["type", "text"], &[])?;
                need(part["type"] == "summary_text", || "a summary of another type".into())?;
            }
            "rs_"
        }
        "function_call" => {
            only(item, &["id", "type", "status", "arguments", "call_id", "name"], &["namespace"])?;
            let arguments = text(item, "arguments")?;
            let parsed = serde_json::from_str::<Value>(arguments);
            need(!whole || parsed.is_ok(), || format!("arguments are no JSON: {arguments}"))?;
            "fc_"
        }
        "custom_tool_call" => {
            only(item, &["id", "type", "call_id", "input", "name"], &["status", "namespace"])?;
            text(item, "input")?;
            "ctc_"
        }
        "web_search_call" => "ws_",
        "tool_search_call" => {
            only(item, &["id", "type", "status", "arguments", "call_id", "execution"], &[])?;
            "tsc_"
        }
        "local_shell_call" => "lsh_",
        "shell_call" => "sh_",
        "apply_patch_call" => "apc_",
        other => return Err(format!("an item of unknown type `{other}`")),
    };
    need(text(item, "id")?.starts_with(prefix), || format!("the id of an item must begin with `{prefix}`"))?;
    if kind(item).ends_with("_call") && kind(item) != "web_search_call" {
        need(!text(item, "call_id")?.is_empty(), || "a call without `call_id`".into())?;
    }
    match item["status"].as_str() {
        Some("completed") => Ok(()),
        Some("incomplete") => need(!whole, || "an incomplete item in a complete response".into()),
        None if matches!(kind(item), "reasoning" | "custom_tool_call") => Ok(()),
        other => Err(format!("an item is done with status {other:?}")),
    }
}

fn part(part: &Value) -> Problem {
    match kind(part) {
        "output_text" => {
            only(part, &["type", "text", "annotations", "logprobs"], &[])?;
            list(part, "annotations")?;
            list(part, "logprobs")?;
            text(part, "text").map(drop)
        }
        "refusal" => {
            only(part, &["type", "refusal"], &[])?;
            text(part, "refusal").map(drop)
        }
        other => Err(format!("a part of unknown type `{other}`")),
    }
}

#[derive(Default)]
struct State {
    begun: usize,
    id: String,
    items: Vec<Item>,
    failing: bool,
    ended: Option<Ended>,
}

/// An item that has been added.
struct Item {
    id: String,
    kind: String,
    /// The part that is open: its number, its type, and what it has said.
    open: Option<(u64, &'static str, String)>,
    /// Parts that are done.
    parts: Vec<Value>,
    said: String,
    payload_done: bool,
    done: Option<Value>,
}

impl State {
    fn take(&mut self, event: &Value) -> Problem {
        need(self.ended.is_none(), || "an event after the end".into())?;
        let name = kind(event);
        if name == "error" {
            text(event, "message")?;
            self.failing = true;
            return Ok(());
        }
        need(!self.failing || name == "response.failed", || "after `error` only `response.failed`".into())?;
        match (self.begun, name) {
            (0, "response.created") | (1, "response.in_progress") => {
                only(event, &["type", "sequence_number", "response"], &[])?;
                self.begun += 1;
                let begun = &event["response"];
                need(begun["status"] == "in_progress", || "not begun as in progress".into())?;
                self.same_id(begun)?;
                return response(begun);
            }
            (_, "response.failed") => {
                self.ended = Some(Ended::ByError);
                return need(event["response"]["status"] == "failed", || "failed, but not".into());
            }
            (2, _) => {}
            _ => return Err("not begun with `response.created` and `response.in_progress`".into()),
        }
        match name {
            "response.output_item.added" => self.added(event),
            "response.output_item.done" => self.item(event)?.done(event),
            "response.completed" | "response.incomplete" => self.over(event),
            _ => self.item(event)?.take(event),
        }
    }

    fn same_id(&mut self, response: &Value) -> Problem {
        let id = text(response, "id")?;
        need(self.id.is_empty() || self.id == id, || format!("the response was `{}`", self.id))?;
        id.clone_into(&mut self.id);
        Ok(())
    }

    fn added(&mut self, event: &Value) -> Problem {
        only(event, &["type", "sequence_number", "output_index", "item"], &[])?;
        let index = count(event, "output_index")?;
        need(index == self.items.len() as u64, || format!("item {index} comes at {}", self.items.len()))?;
        let item = &event["item"];
        let is_call = |kind: &str| kind.ends_with("_call");
        let open = self.items.iter().filter(|item| item.done.is_none());
        let left_open = open.into_iter().find(|open| !(is_call(&open.kind) && is_call(kind(item))));
        need(left_open.is_none(), || "the item before is still open".into())?;
        let empty = match kind(item) {
            "message" => list(item, "content")?.is_empty(),
            "reasoning" => list(item, "summary")?.is_empty(),
            "function_call" => item["arguments"] == "",
            "custom_tool_call" => item["input"] == "",
            _ => true,
        };
        need(empty, || "an item is added with content".into())?;
        need(item["status"] == "in_progress" || kind(item) == "reasoning", || "not added in progress".into())?;
        let id = text(item, "id")?.to_owned();
        need(self.items.iter().all(|other| other.id != id), || format!("two items are `{id}`"))?;
        let kind = kind(item).to_owned();
        let (said, parts) = (String::new(), Vec::new());
        self.items.push(Item { id, kind, open: None, parts, said, payload_done: false, done: None });
        Ok(())
    }

    fn item(&mut self, event: &Value) -> Result<&mut Item, String> {
        let index = usize::try_from(count(event, "output_index")?).map_err(|error| error.to_string())?;
        let item = self.items.get_mut(index).ok_or("there is no such item")?;
        need(item.done.is_none(), || "the item is done".into())?;
        let id = event.get("item_id").unwrap_or(&event["item"]["id"]);
        need(id == item.id.as_str(), || format!("the item is `{}`", item.id))?;
        Ok(item)
    }

    fn over(&mut self, event: &Value) -> Problem {
        only(event, &["type", "sequence_number", "response"], &[])?;
        let ended = &event["response"];
        need(kind(event) == format!("response.{}", text(ended, "status")?), || "event and status differ".into())?;
        self.same_id(ended)?;
        response(ended)?;
        let done: Option<Vec<Value>> = self.items.iter().map(|item| item.done.clone()).collect();
        let done = done.ok_or("an item is still open")?;
        need(done == list(ended, "output")?, || "`output` is not what was done".into())?;
        self.ended = Some(Ended::Properly);
        Ok(())
    }
}

impl Item {
    fn take(&mut self, event: &Value) -> Problem {
        let name = kind(event).strip_prefix("response.").unwrap_or_default();
        match (self.kind.as_str(), name) {
            ("message", "content_part.added") => self.opens(event, "content_index", part_kind(&event["part"])?),
            ("message", "output_text.delta") => {
                need(event["logprobs"].is_array(), || "no `logprobs`".into())?;
                self.says(event, "content_index", "output_text")
            }
            ("message", "refusal.delta") => self.says(event, "content_index", "refusal"),
            ("message", "output_text.done") => {
                need(event["logprobs"].is_array(), || "no `logprobs`".into())?;
                self.said(event, "content_index", "text")
            }
            ("message", "refusal.done") => self.said(event, "content_index", "refusal"),
            ("message", "content_part.done") => {
                part(&event["part"])?;
                self.closes(event, "content_index")
            }
            ("reasoning", "reasoning_summary_part.added") => self.opens(event, "summary_index", "summary_text"),
            ("reasoning", "reasoning_summary_text.delta") => self.says(event, "summary_index", "summary_text"),
            ("reasoning", "reasoning_summary_text.done") => self.said(event, "summary_index", "text"),
            ("reasoning", "reasoning_summary_part.done") => self.closes(event, "summary_index"),
            ("function_call", "function_call_arguments.delta")
            | ("custom_tool_call", "custom_tool_call_input.delta") => {
                only(event, &["type", "sequence_number", "item_id", "output_index", "delta"], &[])?;
                need(!self.payload_done, || "a delta after the payload was done".into())?;
                self.said.push_str(text(event, "delta")?);
                Ok(())
            }
            ("function_call", "function_call_arguments.done") => self.payload(event, "arguments"),
            ("custom_tool_call", "custom_tool_call_input.done") => self.payload(event, "input"),
            ("web_search_call", name) if name.starts_with("web_search_call.") => Ok(()),
            (kind, name) => Err(format!("`{name}` in an item of type `{kind}`")),
        }
    }

    fn opens(&mut self, event: &Value, index: &str, kind: &'static str) -> Problem {
        let at = count(event, index)?;
        need(self.open.is_none(), || "a part is still open".into())?;
        need(at == self.parts.len() as u64, || format!("part {at} comes at {}", self.parts.len()))?;
        let said = event["part"]["text"].as_str().or(event["part"]["refusal"].as_str());
        need(said == Some(""), || "a part is added with content".into())?;
        self.open = Some((at, kind, String::new()));
        self.payload_done = false;
        Ok(())
    }

    fn says(&mut self, event: &Value, index: &str, kind: &str) -> Problem {
        let at = count(event, index)?;
        let open = self.open.as_mut().filter(|open| open.0 == at && open.1 == kind).ok_or("that part is not open")?;
        need(!self.payload_done, || "a delta after the text was done".into())?;
        open.2.push_str(text(event, "delta")?);
        Ok(())
    }

    fn said(&mut self, event: &Value, index: &str, member: &str) -> Problem {
        let at = count(event, index)?;
        let open = self.open.as_ref().filter(|open| open.0 == at).ok_or("that part is not open")?;
        need(text(event, member)? == open.2, || format!("the deltas said {:?}", open.2))?;
        need(!self.payload_done, || "done twice".into())?;
        self.payload_done = true;
        Ok(())
    }

    fn closes(&mut self, event: &Value, index: &str) -> Problem {
        let at = count(event, index)?;
        let (open, kind, said) = self.open.take().ok_or("no part is open")?;
        let part = &event["part"];
        need(open == at && part_kind(part)? == kind, || "another part is open".into())?;
        need(self.payload_done, || "closed before the text was done".into())?;
        need(part["text"].as_str().or(part["refusal"].as_str()) == Some(&said), || format!("it said {said:?}"))?;
        self.parts.push(part.clone());
        Ok(())
    }

    fn payload(&mut self, event: &Value, member: &str) -> Problem {
        need(!self.payload_done, || "done twice".into())?;
        need(text(event, member)? == self.said, || format!("the deltas said {:?}", self.said))?;
        self.payload_done = true;
        Ok(())
    }

    fn done(&mut self, event: &Value) -> Problem {
        only(event, &["type", "sequence_number", "output_index", "item"], &[])?;
        let item = &event["item"];
        need(kind(item) == self.kind, || format!("it was added as `{}`", self.kind))?;
        need(self.open.is_none(), || "a part is still open".into())?;
        final_item(item, false)?;
        let same = match self.kind.as_str() {
            "message" => item["content"] == json!(self.parts),
            "reasoning" => item["summary"] == json!(self.parts),
            "function_call" => item["arguments"] == self.said.as_str() && self.payload_done,
            "custom_tool_call" => item["input"] == self.said.as_str() && self.payload_done,
            _ => true,
        };
        need(same, || "the item is not what its events said".into())?;
        self.done = Some(item.clone());
        Ok(())
    }
}

fn part_kind(part: &Value) -> Result<&'static str, String> {
    match kind(part) {
        "output_text" => Ok("output_text"),
        "refusal" => Ok("refusal"),
        "summary_text" => Ok("summary_text"),
        other => Err(format!("a part of unknown type `{other}`")),
    }
}
