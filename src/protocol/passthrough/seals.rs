//! Reasoning of another provider in a body that passes as it is.
//!
//! A client that was served by another provider's model keeps that model's reasoning sealed (see `reasoning`), and sends it
//! along when the conversation moves to a model of its own dialect. No provider can read a seal, and each refuses the whole
//! request for it, so those blocks are cut out; every other byte of them that stay is the client's own.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::domain::model::Dialect;
use crate::protocol::json::Str;
use crate::protocol::reasoning::{SEAL_PREFIX, is_seal};

/// Returns the body without sealed reasoning, and where it stood; `None` where there is none, which is nearly always and
/// costs one search.
pub fn without_seals(dialect: Dialect, body: &[u8]) -> Option<(Vec<u8>, &'static str)> {
    memchr::memmem::find(body, SEAL_PREFIX.as_bytes())?;
    let body = std::str::from_utf8(body).ok()?;
    let (list, kept, path) = match dialect {
        Dialect::Messages => {
            let list = serde_json::from_str::<MessagesBody<'_>>(body).ok()?.messages;
            (list, messages(list)?, "messages[].content[].thinking")
        }
        Dialect::Responses => {
            let list = serde_json::from_str::<ResponsesBody<'_>>(body).ok()?.input;
            let items: Vec<&RawValue> = serde_json::from_str(list.get()).ok()?;
            (list, without(&items)?, "input[].reasoning")
        }
        Dialect::ChatCompletions => return None,
    };
    let start = list.get().as_ptr() as usize - body.as_ptr() as usize;
    let end = start + list.get().len();
    Some((format!("{}{kept}{}", &body[..start], &body[end..]).into_bytes(), path))
}

#[derive(Deserialize)]
struct MessagesBody<'a> {
    #[serde(borrow)]
    messages: &'a RawValue,
}

#[derive(Deserialize)]
struct ResponsesBody<'a> {
    #[serde(borrow)]
    input: &'a RawValue,
}

#[derive(Deserialize)]
struct Message<'a> {
    #[serde(borrow)]
    content: &'a RawValue,
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

/// Returns the list of messages without seals. A message of nothing else goes with them: empty ones are refused, and
/// neighbours of one role are not.
fn messages(list: &RawValue) -> Option<String> {
    let messages: Vec<&RawValue> = serde_json::from_str(list.get()).ok()?;
    let mut changed = false;
    let mut kept: Vec<Cow<'_, str>> = Vec::with_capacity(messages.len());
    for message in messages {
        let text = message.get();
        let content = serde_json::from_str::<Message<'_>>(text).ok().map(|message| message.content);
        let blocks = content.and_then(|content| serde_json::from_str::<Vec<&RawValue>>(content.get()).ok());
        let (Some(content), Some(blocks)) = (content, blocks) else {
            kept.push(text.into());
            continue;
        };
        let Some(rest) = without(&blocks) else {
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

/// Returns a list without seals; `None` where it has none.
fn without(list: &[&RawValue]) -> Option<String> {
    let kept: Vec<&str> = list.iter().map(|element| element.get()).filter(|element| !is_sealed(element)).collect();
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

#[cfg(test)]
mod tests {
    use super::*;

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
