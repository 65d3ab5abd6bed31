//! The grammar of a stream of Chat Completions.

use serde_json::{Value, json};

use super::{Checked, Ended, Problem, count, kind, list, need, object, only, text};

const HEAD: [&str; 4] = ["id", "object", "created", "model"];

/// Reads a stream of Chat Completions. Usage comes in a chunk of its own where it was asked for, and else nowhere.
pub fn chat(stream: &[u8], include_usage: bool) -> Result<Checked, String> {
    let stream = std::str::from_utf8(stream).map_err(|error| error.to_string())?;
    need(stream.is_empty() || stream.ends_with("\n\n"), || "the last event has no empty line".into())?;
    let mut state = State { include_usage, ..State::default() };
    let mut kept = Vec::new();
    for block in stream.split_terminator("\n\n") {
        if block.starts_with(':') {
            need(!block.contains('\n'), || format!("a comment with more lines: {block}"))?;
            continue;
        }
        let data = block.strip_prefix("data: ").filter(|data| !data.contains('\n'));
        let data = data.ok_or_else(|| format!("not one line of data: {block:?}"))?;
        need(state.ended.is_none(), || format!("an event after the end: {block}"))?;
        if data == "[DONE]" {
            need(state.reason.is_some(), || "done without a finish reason".into())?;
            need(state.has_usage == include_usage, || "done without a chunk of usage".into())?;
            state.ended = Some(Ended::Properly);
            continue;
        }
        let event: Value = serde_json::from_str(data).map_err(|error| format!("{error}: {block:?}"))?;
        state.take(&event).map_err(|problem| format!("event {}: {problem}\n{event}", kept.len()))?;
        kept.push(event);
    }
    Ok(Checked { events: kept, ended: state.ended.unwrap_or(Ended::CutShort) })
}

/// Checks a completion that came whole.
pub fn completion(completion: &Value) -> Problem {
    only(completion, &["id", "object", "created", "model", "choices", "usage"], &[])?;
    head(completion, "chat.completion")?;
    usage(&completion["usage"])?;
    let [choice] = list(completion, "choices")? else { return Err("not one choice".into()) };
    only(choice, &["index", "message", "logprobs", "finish_reason"], &[])?;
    need(choice["index"] == 0 && choice["logprobs"].is_null(), || "not the first choice".into())?;
    let message = &choice["message"];
    let may = ["reasoning_content", "tool_calls", "function_call"];
    only(message, &["role", "content", "refusal", "annotations"], &may)?;
    need(message["role"] == "assistant" && message["annotations"] == json!([]), || "not the assistant".into())?;
    let mut said = Said::default();
    for (member, is_told) in [("content", &mut said.has_content), ("refusal", &mut said.has_refusal)] {
        need(message[member].is_null() || message[member].is_string(), || format!("`{member}` is no text"))?;
        *is_told = message[member].is_string();
    }
    if message.get("reasoning_content").is_some() {
        need(!text(message, "reasoning_content")?.is_empty(), || "reasoning without text".into())?;
    }
    if message.get("tool_calls").is_some() {
        need(!list(message, "tool_calls")?.is_empty(), || "no calls in `tool_calls`".into())?;
    }
    for call in message["tool_calls"].as_array().into_iter().flatten() {
        only(call, &["id", "type", kind(call)], &[])?;
        said.call(call)?;
        said.calls.last_mut().ok_or("no call")?.arguments = payload(call)?.to_owned();
    }
    if let Some(function) = message.get("function_call") {
        only(function, &["name", "arguments"], &[])?;
        said.function_call = Some(text(function, "arguments")?.to_owned());
    }
    said.ends(text(choice, "finish_reason")?)
}

#[derive(Default)]
struct State {
    include_usage: bool,
    head: Option<Value>,
    begun: bool,
    said: Said,
    reason: Option<String>,
    has_usage: bool,
    ended: Option<Ended>,
}

#[derive(Default)]
struct Said {
    has_content: bool,
    has_refusal: bool,
    calls: Vec<Call>,
    /// The arguments of a call in the older form.
    function_call: Option<String>,
}

struct Call {
    id: String,
    kind: String,
    arguments: String,
}

impl State {
    fn take(&mut self, event: &Value) -> Problem {
        if event.get("error").is_some() {
            only(event, &["error"], &["request_id"])?;
            only(&event["error"], &["message", "type", "param", "code"], &[])?;
            text(&event["error"], "message")?;
            text(&event["error"], "type")?;
            self.ended = Some(Ended::ByError);
            return Ok(());
        }
        let usage_member: &[&str] = if self.include_usage { &["usage"] } else { &[] };
        only(event, &[&["choices"], &HEAD[..], usage_member].concat(), &[])?;
        head(event, "chat.completion.chunk")?;
        let this = json!(HEAD.map(|member| &event[member]));
        let first = self.head.get_or_insert_with(|| this.clone());
        need(*first == this, || format!("the first chunk had {first}"))?;
        match list(event, "choices")? {
            [] => {
                need(self.include_usage && !self.has_usage, || "a chunk without a choice".into())?;
                need(self.reason.is_some(), || "usage before the finish reason".into())?;
                self.has_usage = true;
                usage(&event["usage"])
            }
            [choice] => {
                need(event.get("usage").is_none_or(Value::is_null), || "usage beside a choice".into())?;
                self.choice(choice)
            }
            _ => Err("more than one choice".into()),
        }
    }

    fn choice(&mut self, choice: &Value) -> Problem {
        only(choice, &["index", "delta", "logprobs", "finish_reason"], &[])?;
        need(choice["index"] == 0 && choice["logprobs"].is_null(), || "not the first choice".into())?;
        need(self.reason.is_none(), || "a choice after the finish reason".into())?;
        let delta = object(choice, "delta")?;
        need(delta.contains_key("role") != self.begun, || "the role is not in the first delta alone".into())?;
        self.begun = true;
        if !choice["finish_reason"].is_null() {
            let reason = text(choice, "finish_reason")?;
            need(delta.is_empty(), || "the last delta is not empty".into())?;
            self.reason = Some(reason.to_owned());
            return self.said.ends(reason);
        }
        need(!delta.is_empty(), || "an empty delta".into())?;
        self.said.delta(&choice["delta"])
    }
}

impl Said {
    fn delta(&mut self, delta: &Value) -> Problem {
        let may = ["role", "content", "reasoning_content", "refusal", "tool_calls", "function_call"];
        only(delta, &[], &may)?;
        for (member, value) in delta.as_object().into_iter().flatten() {
            match member.as_str() {
                "role" => need(value == "assistant", || "a delta of somebody else".into())?,
                "tool_calls" => {
                    need(!list(delta, member)?.is_empty(), || "no calls in `tool_calls`".into())?;
                    list(delta, member)?.iter().try_for_each(|call| self.call_delta(call))?;
                }
                "function_call" => self.function_delta(value)?,
                "content" => {
                    text(delta, member)?;
                    self.has_content = true;
                }
                _ => {
                    need(!text(delta, member)?.is_empty(), || format!("`{member}` says nothing"))?;
                    self.has_refusal |= member == "refusal";
                }
            }
        }
        Ok(())
    }

    fn call_delta(&mut self, delta: &Value) -> Problem {
        let index = usize::try_from(count(delta, "index")?).map_err(|error| error.to_string())?;
        if delta.get("id").is_some() {
            need(index == self.calls.len(), || format!("call {index} comes at {}", self.calls.len()))?;
            only(delta, &["index", "id", "type", kind(delta)], &[])?;
            self.call(delta)?;
            return need(payload(delta)?.is_empty(), || "a call begins with arguments".into());
        }
        let call = self.calls.get_mut(index).ok_or("more of a call that did not begin")?;
        only(delta, &["index", call.kind.as_str()], &[])?;
        let member = if call.kind == "custom" { "input" } else { "arguments" };
        only(&delta[&call.kind], &[member], &[])?;
        let more = text(&delta[&call.kind], member)?;
        need(!more.is_empty(), || "nothing more of a call".into())?;
        call.arguments.push_str(more);
        Ok(())
    }

    /// Takes the beginning of a call, or a whole one.
    fn call(&mut self, call: &Value) -> Problem {
        need(self.function_call.is_none(), || "calls in both forms".into())?;
        let (id, kind) = (text(call, "id")?, kind(call));
        need((1..=64).contains(&id.chars().count()), || format!("`{id}` is no id of a call"))?;
        need(self.calls.iter().all(|other| other.id != id), || format!("two calls have the id `{id}`"))?;
        need(["function", "custom"].contains(&kind), || format!("a call of type `{kind}`"))?;
        let member = if kind == "custom" { "input" } else { "arguments" };
        only(&call[kind], &["name", member], &[])?;
        need(!text(&call[kind], "name")?.is_empty(), || "a call without a name".into())?;
        self.calls.push(Call { id: id.to_owned(), kind: kind.to_owned(), arguments: String::new() });
        Ok(())
    }

    fn function_delta(&mut self, delta: &Value) -> Problem {
        need(self.calls.is_empty(), || "calls in both forms".into())?;
        let arguments = text(delta, "arguments")?;
        if let Some(so_far) = &mut self.function_call {
            only(delta, &["arguments"], &[])?;
            so_far.push_str(arguments);
            return need(!arguments.is_empty(), || "nothing more of a call".into());
        }
        only(delta, &["name", "arguments"], &[])?;
        self.function_call = Some(String::new());
        need(arguments.is_empty() && !text(delta, "name")?.is_empty(), || "no beginning of a call".into())
    }

    fn ends(&self, reason: &str) -> Problem {
        let told = (self.calls.len(), self.function_call.is_some());
        match reason {
            "stop" => need(told == (0, false), || "`stop` with a call".into())?,
            "tool_calls" => need(told.0 > 0, || "`tool_calls` without one".into())?,
            "function_call" => need(told.1, || "`function_call` without one".into())?,
            "length" | "content_filter" => {}
            other => return Err(format!("an unknown finish reason `{other}`")),
        }
        let has_any = self.has_content || self.has_refusal || told != (0, false);
        need(has_any, || "there is no content, and it is not told as empty".into())?;
        let functions = self.calls.iter().filter(|call| call.kind == "function").map(|call| &call.arguments);
        for arguments in functions.chain(&self.function_call) {
            let is_object = serde_json::from_str::<Value>(arguments).is_ok_and(|arguments| arguments.is_object());
            let may_be_cut = matches!(reason, "length" | "content_filter");
            need(is_object || may_be_cut, || format!("arguments are no object, yet {reason}: {arguments}"))?;
        }
        Ok(())
    }
}

fn payload(call: &Value) -> Result<&str, String> {
    text(&call[kind(call)], if kind(call) == "custom" { "input" } else { "arguments" })
}

fn head(value: &Value, what: &str) -> Problem {
    need(text(value, "id")?.starts_with("chatcmpl-"), || "an id that does not begin with `chatcmpl-`".into())?;
    need(value["object"] == what, || format!("`object` is not `{what}`"))?;
    count(value, "created")?;
    need(!text(value, "model")?.is_empty(), || "no model".into())
}

/// Checks that all is there that `OpenAI` sends, and that it adds up.
fn usage(usage: &Value) -> Problem {
    let (prompt, completion) = (count(usage, "prompt_tokens")?, count(usage, "completion_tokens")?);
    need(count(usage, "total_tokens")? == prompt + completion, || "the total is not the sum".into())?;
    let (of_prompt, of_completion) = (&usage["prompt_tokens_details"], &usage["completion_tokens_details"]);
    let cached = count(of_prompt, "cached_tokens")? + count(of_prompt, "cache_write_tokens")?;
    need(cached <= prompt, || "more cached than all".into())?;
    need(count(of_completion, "reasoning_tokens")? <= completion, || "more reasoning than all".into())?;
    count(of_prompt, "audio_tokens")?;
    for member in ["audio_tokens", "accepted_prediction_tokens", "rejected_prediction_tokens"] {
        count(of_completion, member)?;
    }
    Ok(())
}
