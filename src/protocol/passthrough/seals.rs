//! Reasoning that no provider could read, in a body that passes as it is.
//!
//! A client that was served by another provider's model keeps that model's reasoning sealed (see `reasoning`), and sends it
//! along when the conversation moves to a model of its own dialect. No provider can read a seal, and each refuses the whole
//! request for it, so those blocks are cut out; every other byte of them that stay is the client's own. Reasoning that a
//! provider did write may be refused as well, such as when the conversation comes from another of its customers: then all
//! of it is cut out.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::domain::model::Dialect;
use crate::protocol::json::Str;
use crate::protocol::loss::Dropped;
use crate::protocol::reasoning::{SEAL_PREFIX, is_seal};

/// Where reasoning stands in each dialect that has it.
const THINKING_PATH: &str = "messages[].content[].thinking";
const REASONING_PATH: &str = "input[].reasoning";

/// Returns the body without sealed reasoning, and where it stood; `None` where there is none, which is nearly always and
/// costs one search.
pub fn without_seals(dialect: Dialect, body: &[u8]) -> Option<(Vec<u8>, &'static str)> {
    memchr::memmem::find(body, SEAL_PREFIX.as_bytes())?;
    cut(dialect, std::str::from_utf8(body).ok()?, is_sealed)
}

/// A body without the reasoning of its history.
#[derive(Debug, PartialEq, Eq)]
pub struct WithoutReasoning {
    /// The body; what stays is as it was.
    pub body: Vec<u8>,
    /// Whether the model does not think about this answer either, since it could not go on from what is gone.
    pub thinking_off: bool,
}

impl WithoutReasoning {
    /// Adds to `dropped` what is gone, in the words of the client's dialect.
    pub fn tell(&self, client: Dialect, dropped: &mut Dropped) {
        let (history, setting) = match client {
            Dialect::Messages => (THINKING_PATH, "thinking"),
            Dialect::Responses => (REASONING_PATH, "reasoning"),
            Dialect::ChatCompletions => ("messages[].reasoning_content", "reasoning_effort"),
        };
        dropped.add(history);
        if self.thinking_off {
            dropped.add(setting);
        }
    }
}

/// Returns the body without any reasoning of its history; `None` where there is none.
///
/// A Messages request with a budget for thinking that goes on from a call of a tool goes without thinking: Anthropic
/// wants such a turn to begin with the thinking that is gone. Source: its guide "Extended thinking".
pub fn without_reasoning(dialect: Dialect, body: &[u8]) -> Option<WithoutReasoning> {
    let body = std::str::from_utf8(body).ok()?;
    let (rest, _) = cut(dialect, body, is_reasoning)?;
    if dialect != Dialect::Messages || !is_stuck_without_thinking(body) {
        return Some(WithoutReasoning { body: rest, thinking_off: false });
    }
    let rest = std::str::from_utf8(&rest).ok()?;
    let thinking = serde_json::from_str::<MessagesBody<'_>>(rest).ok()?.thinking?;
    let rest = replaced(rest, thinking, r#"{"type":"disabled"}"#);
    let body = without_clearing(std::str::from_utf8(&rest).ok()?).unwrap_or(rest);
    Some(WithoutReasoning { body, thinking_off: true })
}

/// Returns a Messages body without edits that clear thinking, which are refused where there is none; `None` where it has
/// none. Source: bodies seen, "strategy requires `thinking` to be enabled or adaptive".
pub(super) fn without_clearing(body: &str) -> Option<Vec<u8>> {
    let edits = serde_json::from_str::<EditedBody<'_>>(body).ok()?.context_management.edits;
    let list: Vec<&RawValue> = serde_json::from_str(edits.get()).ok()?;
    let is_clearing = |edit: &str| {
        let kind = serde_json::from_str::<Block<'_>>(edit).ok().and_then(|block| block.kind);
        kind.is_some_and(|Str(kind)| kind.starts_with("clear_thinking_"))
    };
    Some(replaced(body, edits, &without(&list, is_clearing)?))
}

/// Returns the body without the reasoning that `is_cut` names.
fn cut(dialect: Dialect, body: &str, is_cut: fn(&str) -> bool) -> Option<(Vec<u8>, &'static str)> {
    let (list, kept, path) = match dialect {
        Dialect::Messages => {
            let list = serde_json::from_str::<MessagesBody<'_>>(body).ok()?.messages;
            (list, messages(list, is_cut)?, THINKING_PATH)
        }
        Dialect::Responses => {
            let list = serde_json::from_str::<ResponsesBody<'_>>(body).ok()?.input;
            let items: Vec<&RawValue> = serde_json::from_str(list.get()).ok()?;
            (list, without(&items, is_cut)?, REASONING_PATH)
        }
        Dialect::ChatCompletions => return None,
    };
    Some((replaced(body, list, &kept), path))
}

/// Returns `body` with another text in place of a value that was borrowed from it.
fn replaced(body: &str, value: &RawValue, with: &str) -> Vec<u8> {
    let start = value.get().as_ptr() as usize - body.as_ptr() as usize;
    let end = start + value.get().len();
    [&body[..start], with, &body[end..]].concat().into_bytes()
}

/// Returns whether the model is to think with a budget in a turn that it has begun: its last message has calls, and what
/// follows are their results.
fn is_stuck_without_thinking(body: &str) -> bool {
    let Ok(MessagesBody { messages, thinking: Some(thinking) }) = serde_json::from_str::<MessagesBody<'_>>(body) else {
        return false;
    };
    let has_kind = |element: &RawValue, kind: &str| {
        serde_json::from_str::<Block<'_>>(element.get()).is_ok_and(|block| block.is(kind))
    };
    let Ok(messages) = serde_json::from_str::<Vec<Message<'_>>>(messages.get()) else { return false };
    let ends_with = |message: &Message<'_>, kind: &str| {
        let blocks = message.content.and_then(|content| serde_json::from_str::<Vec<&RawValue>>(content.get()).ok());
        blocks.is_some_and(|blocks| blocks.iter().any(|block| has_kind(block, kind)))
    };
    has_kind(thinking, "enabled") && messages.last().is_some_and(|last| ends_with(last, "tool_result"))
}

#[derive(Deserialize)]
struct MessagesBody<'a> {
    #[serde(borrow)]
    messages: &'a RawValue,
    #[serde(borrow, default)]
    thinking: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct EditedBody<'a> {
    #[serde(borrow)]
    context_management: Management<'a>,
}

#[derive(Deserialize)]
struct Management<'a> {
    #[serde(borrow)]
    edits: &'a RawValue,
}

#[derive(Deserialize)]
struct ResponsesBody<'a> {
    #[serde(borrow)]
    input: &'a RawValue,
}

#[derive(Deserialize)]
struct Message<'a> {
    #[serde(borrow, default)]
    content: Option<&'a RawValue>,
}

/// A block of thinking or an item of reasoning, as far as it tells its origin.
#[derive(Deserialize)]
struct Block<'a> {
    #[serde(borrow, rename = "type", default)]
    kind: Option<Str<'a>>,
    #[serde(borrow, default)]
    signature: Option<Str<'a>>,
    #[serde(borrow, default)]
    data: Option<Str<'a>>,
    #[serde(borrow, default)]
    encrypted_content: Option<Str<'a>>,
}

impl Block<'_> {
    fn is(&self, kind: &str) -> bool {
        self.kind.as_ref().is_some_and(|Str(own)| own == kind)
    }
}

/// Returns the list of messages without what is cut. A message of nothing else goes with it: empty ones are refused, and
/// neighbours of one role are not.
fn messages(list: &RawValue, is_cut: fn(&str) -> bool) -> Option<String> {
    let messages: Vec<&RawValue> = serde_json::from_str(list.get()).ok()?;
    let mut changed = false;
    let mut kept: Vec<Cow<'_, str>> = Vec::with_capacity(messages.len());
    for message in messages {
        let text = message.get();
        let content = serde_json::from_str::<Message<'_>>(text).ok().and_then(|message| message.content);
        let blocks = content.and_then(|content| serde_json::from_str::<Vec<&RawValue>>(content.get()).ok());
        let (Some(content), Some(blocks)) = (content, blocks) else {
            kept.push(text.into());
            continue;
        };
        let Some(rest) = without(&blocks, is_cut) else {
            kept.push(text.into());
            continue;
        };
        changed = true;
        if rest != "[]" {
            let start = content.get().as_ptr() as usize - text.as_ptr() as usize;
            let end = start + content.get().len();
            kept.push(format!("{}{rest}{}", &text[..start], &text[end..]).into());
        }
    }
    changed.then(|| format!("[{}]", kept.join(",")))
}

/// Returns a list without what is cut; `None` where nothing is.
fn without(list: &[&RawValue], is_cut: fn(&str) -> bool) -> Option<String> {
    let kept: Vec<&str> = list.iter().map(|element| element.get()).filter(|element| !is_cut(element)).collect();
    (kept.len() < list.len()).then(|| format!("[{}]", kept.join(",")))
}

fn is_sealed(element: &str) -> bool {
    if !element.contains(SEAL_PREFIX) {
        return false;
    }
    let Ok(block) = serde_json::from_str::<Block<'_>>(element) else { return false };
    let proof = match block.kind.as_ref().map(|Str(kind)| &**kind) {
        Some("thinking") => block.signature,
        Some("redacted_thinking") => block.data,
        Some("reasoning") => block.encrypted_content,
        _ => None,
    };
    proof.is_some_and(|Str(proof)| is_seal(&proof))
}

fn is_reasoning(element: &str) -> bool {
    let block = serde_json::from_str::<Block<'_>>(element);
    block.is_ok_and(|block| ["thinking", "redacted_thinking", "reasoning"].iter().any(|kind| block.is(kind)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the body, and what the client is told.
    fn without_all(dialect: Dialect, body: &str) -> Option<(String, String)> {
        let rest = without_reasoning(dialect, body.as_bytes())?;
        let mut dropped = Dropped::default();
        rest.tell(dialect, &mut dropped);
        Some((String::from_utf8(rest.body).unwrap(), dropped.paths().join(" ")))
    }

    #[test]
    fn reasoning_that_is_refused_is_cut_out_and_every_other_byte_stays() {
        let body = r#"{"input":[ {"type":"reasoning","id":"rs_1","encrypted_content":"gAAAA"}, {"role":"user","content":"reasoning"},{"type":"reasoning"} ],"n":1.10}"#;
        let wanted = r#"{"input":[{"role":"user","content":"reasoning"}],"n":1.10}"#;
        assert_eq!(without_all(Dialect::Responses, body), Some((wanted.to_owned(), "input[].reasoning".to_owned())));
        assert_eq!(without_all(Dialect::Responses, wanted), None);
        assert_eq!(without_all(Dialect::Responses, r#"{"input":"reasoning"}"#), None);
        let body = r#"{"thinking":{"type":"adaptive"},"messages":[{"role":"assistant","content":[{"type":"thinking","thinking":"","signature":"Eq"},{"type":"tool_use","id":"t"}]},{"role":"user","content":[{"type":"tool_result"}]}]}"#;
        let wanted = r#"{"thinking":{"type":"adaptive"},"messages":[{"role":"assistant","content":[{"type":"tool_use","id":"t"}]},{"role":"user","content":[{"type":"tool_result"}]}]}"#;
        assert_eq!(without_all(Dialect::Messages, body), Some((wanted.to_owned(), THINKING_PATH.to_owned())));
        assert_eq!(without_all(Dialect::Messages, wanted), None);
    }

    #[test]
    fn a_turn_that_must_begin_with_what_is_cut_goes_on_without_thinking() {
        let body = |thinking: &str, cut: &str, last: &str| {
            format!(
                r#"{{"thinking":{thinking},"messages":[{{"role":"assistant","content":[{cut}{{"type":"tool_use"}}]}},{{"role":"user","content":{last}}}]}}"#
            )
        };
        let block = r#"{"type":"redacted_thinking","data":"E"},"#;
        let (budget, off) = (r#"{"type":"enabled","budget_tokens":2000}"#, r#"{"type":"disabled"}"#);
        for (last, then) in
            [(r#"[{"type":"tool_result"}]"#, off), (r#""go""#, budget), (r#"[{"type":"text"}]"#, budget)]
        {
            let (got, path) = without_all(Dialect::Messages, &body(budget, block, last)).unwrap();
            assert_eq!(got, body(then, "", last));
            assert_eq!(path.ends_with(" thinking"), then == off, "{path}");
        }
        let edited = |edits: &str, thinking: &str| {
            let last = r#"[{"type":"tool_result"}]"#;
            body(thinking, if thinking == off { "" } else { block }, last).replacen(
                '{',
                &format!(r#"{{"context_management":{{"edits":[{edits}]}},"#),
                1,
            )
        };
        let (clearing, other) =
            (r#"{"type":"clear_thinking_20251015","keep":"all"}"#, r#"{"type":"clear_tool_uses_1"}"#);
        for (before, after) in
            [(clearing.to_owned(), ""), (format!("{clearing},{other}"), other), (other.to_owned(), other)]
        {
            let (got, _) = without_all(Dialect::Messages, &edited(&before, budget)).unwrap();
            assert_eq!(got, edited(after, off));
        }
    }

    fn cut(dialect: Dialect, body: &str) -> Option<String> {
        let (body, _) = without_seals(dialect, body.as_bytes())?;
        Some(String::from_utf8(body).unwrap())
    }

    #[test]
    fn a_session_that_moves_from_gpt_to_claude_goes_on_without_what_gpt_thought() {
        let body = r#"{"model" : "m", "messages": [ {"role":"user","content":"ZHVvcG9vbAEA is a word"},
            {"role":"assistant","content":[{"type":"thinking","thinking":"x","signature":"ZHVvcG9vbAEAabcd"}, {"type":"text", "text":"a 1.10"}]},
            {"role":"assistant","content":[{"type":"redacted_thinking","data":"ZHVvcG9vbAEAabcd"}],"x":1},
            {"role":"assistant","content":[{"type":"thinking","thinking":"ZHVvcG9vbAEA","signature":"EqQB"}]} ],"n":12345678901234567890}"#;
        let wanted = r#"{"model" : "m", "messages": [{"role":"user","content":"ZHVvcG9vbAEA is a word"},{"role":"assistant","content":[{"type":"text", "text":"a 1.10"}]},{"role":"assistant","content":[{"type":"thinking","thinking":"ZHVvcG9vbAEA","signature":"EqQB"}]}],"n":12345678901234567890}"#;
        assert_eq!(cut(Dialect::Messages, body).as_deref(), Some(wanted));
    }

    #[test]
    fn a_session_that_moves_from_claude_to_gpt_goes_on_without_what_claude_thought() {
        let body = r#"{"input":[{"type":"reasoning","id":"rs_1","summary":[],"encrypted_content":"ZHVvcG9vbAEAabcd"}, {"type":"reasoning","encrypted_content":"gAAAA"},{"role":"user","content":"x"}]}"#;
        let wanted = r#"{"input":[{"type":"reasoning","encrypted_content":"gAAAA"},{"role":"user","content":"x"}]}"#;
        assert_eq!(cut(Dialect::Responses, body).as_deref(), Some(wanted));
    }

    #[test]
    fn a_body_without_seals_is_not_touched() {
        for body in [
            r#"{"messages":[{"role":"assistant","content":[{"type":"thinking","thinking":"","signature":"EqQB"}]}]}"#,
            r#"{"messages":[{"role":"user","content":"ZHVvcG9vbAEA"}]}"#,
            r#"{"messages":[{"role":"user","content":[{"type":"text","text":"ZHVvcG9vbAEA"}]}]}"#,
            r#"{"messages":"ZHVvcG9vbAEA"}"#,
            "ZHVvcG9vbAEA",
        ] {
            assert_eq!(cut(Dialect::Messages, body), None, "{body}");
        }
        assert_eq!(cut(Dialect::Responses, r#"{"input":"ZHVvcG9vbAEA"}"#), None);
        assert_eq!(cut(Dialect::ChatCompletions, r#"{"messages":["ZHVvcG9vbAEA"]}"#), None);
    }
}
