//! What Anthropic refuses in the messages of a request.

use serde_json::Value;

use crate::domain::model::Thinking;
use crate::simulator::anthropic::SIGNATURE_PREFIX;
use crate::simulator::anthropic::check::is_plain;
use crate::simulator::json;
use crate::simulator::mind;
use crate::simulator::models::Known;

const BLOCKS: [&str; 22] = [
    "text",
    "image",
    "document",
    "search_result",
    "thinking",
    "redacted_thinking",
    "tool_use",
    "tool_result",
    "server_tool_use",
    "web_search_tool_result",
    "web_fetch_tool_result",
    "code_execution_tool_result",
    "bash_code_execution_tool_result",
    "text_editor_code_execution_tool_result",
    "tool_search_tool_result",
    "mcp_tool_use",
    "mcp_tool_result",
    "container_upload",
    "tool_reference",
    "tool_addition",
    "tool_removal",
    "advisor_tool_result",
];
const TEXT_MEMBERS: [&str; 4] = ["type", "text", "cache_control", "citations"];

/// Messages of one role in a row, which count as one; the blocks with the index of their message.
struct Turn<'a> {
    role: &'a str,
    index: usize,
    blocks: Vec<&'a Value>,
}

/// Checks the messages and the system text.
pub(super) fn check(body: &Value, known: &Known) -> Result<(), String> {
    for block in json::list(body, "system") {
        text_block(block, "system")?;
    }
    let messages = json::list(body, "messages");
    if messages.is_empty() {
        return Err("messages: at least one message is required".to_owned());
    }
    for (index, message) in messages.iter().enumerate() {
        role(message, index, known)?;
        content(message, index, index + 1 == messages.len())?;
    }
    let turns = turns(messages);
    match turns.first() {
        Some(turn) if turn.role == "user" => {}
        _ => return Err("messages: first message must use the \"user\" role".to_owned()),
    }
    pairs(&turns)?;
    last(&turns, body, known)
}

fn role(message: &Value, index: usize, known: &Known) -> Result<(), String> {
    match json::text(message, "role") {
        Some("user" | "assistant") => Ok(()),
        // Newer models take system text between the turns.
        Some("system") if known.thinking != Thinking::Manual => Ok(()),
        _ => Err(format!("messages.{index}.role: Input should be 'user' or 'assistant'")),
    }
}

fn content(message: &Value, index: usize, is_last: bool) -> Result<(), String> {
    let empty = || {
        let told = "all messages must have non-empty content except for the optional final assistant message";
        Err(format!("messages.{index}: {told}"))
    };
    let may_be_empty = is_last && json::text(message, "role") == Some("assistant");
    match message.get("content") {
        Some(Value::String(text)) if text.is_empty() && !may_be_empty => empty(),
        Some(Value::String(text)) if text.trim().is_empty() && !may_be_empty => {
            Err("messages: text content blocks must contain non-whitespace text".to_owned())
        }
        Some(Value::String(_)) => Ok(()),
        Some(Value::Array(blocks)) if blocks.is_empty() && !may_be_empty => empty(),
        Some(Value::Array(blocks)) => {
            let place = |at: usize| format!("messages.{index}.content.{at}");
            blocks.iter().enumerate().try_for_each(|(at, block)| check_block(block, &place(at)))
        }
        Some(_) => Err(format!("messages.{index}.content: Input should be a valid list")),
        None => Err(format!("messages.{index}.content: Field required")),
    }
}

fn check_block(block: &Value, place: &str) -> Result<(), String> {
    match json::kind(block) {
        "text" => {
            text_block(block, "messages")?;
            let keys = block.as_object().into_iter().flat_map(|map| map.keys());
            match keys.into_iter().find(|key| !TEXT_MEMBERS.contains(&key.as_str())) {
                Some(key) => Err(format!("{place}.text.{key}: Extra inputs are not permitted")),
                None => Ok(()),
            }
        }
        "thinking" => thinking_block(block, place),
        "redacted_thinking" => {
            let data = json::text(block, "data").unwrap_or_default();
            let whole = mind::is_sealed(data, SIGNATURE_PREFIX, None);
            if whole { Ok(()) } else { Err(format!("{place}: Invalid `data` in `redacted_thinking` block")) }
        }
        "tool_use" => {
            let id = json::text(block, "id").unwrap_or_default();
            if id.is_empty() || !is_plain(id) {
                return Err(format!("{place}.tool_use.id: String should match pattern '^[a-zA-Z0-9_-]+$'"));
            }
            if !block.get("input").is_some_and(Value::is_object) {
                return Err(format!("{place}.tool_use.input: Input should be a valid dictionary"));
            }
            if json::text(block, "name").is_none_or(str::is_empty) {
                return Err(format!("{place}.tool_use.name: Field required"));
            }
            Ok(())
        }
        "tool_result" => json::list(block, "content")
            .iter()
            .try_for_each(|part| if json::kind(part) == "text" { text_block(part, "messages") } else { Ok(()) }),
        kind if BLOCKS.contains(&kind) => Ok(()),
        "" => Err(format!("{place}.type: Field required")),
        other => {
            Err(format!("{place}: Input tag '{other}' found using 'type' does not match any of the expected tags"))
        }
    }
}

fn text_block(block: &Value, place: &str) -> Result<(), String> {
    match json::text(block, "text") {
        None => Err(format!("{place}: text content blocks must have a text")),
        Some("") => Err(format!("{place}: text content blocks must be non-empty")),
        Some(text) if text.trim().is_empty() => {
            Err(format!("{place}: text content blocks must contain non-whitespace text"))
        }
        Some(_) => Ok(()),
    }
}

fn thinking_block(block: &Value, place: &str) -> Result<(), String> {
    let (Some(text), Some(signature)) = (json::text(block, "thinking"), json::text(block, "signature")) else {
        return Err(format!("{place}.thinking.signature: Field required"));
    };
    // A block whose text was left out comes back with the signature alone.
    let signed = Some(text).filter(|text| !text.is_empty());
    if mind::is_sealed(signature, SIGNATURE_PREFIX, signed) {
        return Ok(());
    }
    Err(format!("{place}: Invalid `signature` in `thinking` block"))
}

fn turns(messages: &[Value]) -> Vec<Turn<'_>> {
    let mut turns: Vec<Turn<'_>> = Vec::new();
    for (index, message) in messages.iter().enumerate() {
        let role = json::text(message, "role").unwrap_or_default();
        if role == "system" {
            continue;
        }
        let blocks: Vec<&Value> = match message.get("content") {
            Some(Value::Array(blocks)) => blocks.iter().collect(),
            Some(text) => vec![text],
            None => Vec::new(),
        };
        match turns.last_mut() {
            Some(turn) if turn.role == role => turn.blocks.extend(blocks),
            _ => turns.push(Turn { role, index, blocks }),
        }
    }
    turns
}

/// Every call needs its result at the beginning of the next turn, and every result its call in the turn before.
fn pairs(turns: &[Turn<'_>]) -> Result<(), String> {
    let mut seen: Vec<&str> = Vec::new();
    for (position, turn) in turns.iter().enumerate() {
        let ids = |turn: &Turn<'_>, kind: &str, key: &str| -> Vec<String> {
            let blocks = turn.blocks.iter().filter(|block| json::kind(block) == kind);
            blocks.filter_map(|block| json::text(block, key)).map(str::to_owned).collect()
        };
        for block in turn.blocks.iter().filter(|block| json::kind(block) == "tool_use") {
            let id = json::text(block, "id").unwrap_or_default();
            if seen.contains(&id) {
                return Err("messages: `tool_use` ids must be unique".to_owned());
            }
            seen.push(id);
        }
        let calls = ids(turn, "tool_use", "id");
        let leading = turns.get(position + 1).map(|next| {
            let results = next.blocks.iter().take_while(|block| json::kind(block) == "tool_result");
            results.filter_map(|block| json::text(block, "tool_use_id")).collect::<Vec<_>>()
        });
        let leading = leading.unwrap_or_default();
        let open: Vec<&str> = calls.iter().map(String::as_str).filter(|id| !leading.contains(id)).collect();
        if !open.is_empty() {
            let told = "`tool_use` ids were found without `tool_result` blocks immediately after";
            let rule = "Each `tool_use` block must have a corresponding `tool_result` block in the next message.";
            return Err(format!("messages.{}: {told}: {}. {rule}", turn.index, open.join(", ")));
        }
        let before = position.checked_sub(1).map(|before| ids(&turns[before], "tool_use", "id")).unwrap_or_default();
        if let Some(orphan) = ids(turn, "tool_result", "tool_use_id").iter().find(|id| !before.contains(id)) {
            let told = "unexpected `tool_use_id` found in `tool_result` blocks";
            let rule = "Each `tool_result` block must have a corresponding `tool_use` block in the previous message.";
            return Err(format!("messages.{}.content.0: {told}: {orphan}. {rule}", turn.index));
        }
    }
    Ok(())
}

/// Checks what depends on how the conversation ends.
fn last(turns: &[Turn<'_>], body: &Value, known: &Known) -> Result<(), String> {
    let manual = body.get("thinking").map(json::kind) == Some("enabled");
    if let Some(turn) = turns.iter().rev().find(|turn| turn.role == "assistant") {
        let first = turn.blocks.first().map(|block| json::kind(block)).unwrap_or_default();
        let calls = turn.blocks.iter().any(|block| json::kind(block) == "tool_use");
        if manual && calls && !matches!(first, "thinking" | "redacted_thinking") {
            let told = "Expected `thinking` or `redacted_thinking`, but found";
            let rule = "When `thinking` is enabled, a final `assistant` message must start with a thinking block.";
            return Err(format!("messages.{}.content.0.type: {told} `{first}`. {rule}", turn.index));
        }
    }
    let Some(turn) = turns.last().filter(|turn| turn.role == "assistant") else { return Ok(()) };
    if known.thinking != Thinking::Manual {
        let told = "This model does not support assistant message prefill.";
        return Err(format!("{told} The conversation must end with a user message."));
    }
    if turn.blocks.last().is_some_and(|block| matches!(json::kind(block), "thinking" | "redacted_thinking")) {
        let told = "The final block in an assistant message cannot be `thinking`.";
        return Err(format!("messages.{}: {told}", turn.index));
    }
    let text = turn.blocks.last().and_then(|block| block.as_str().or_else(|| json::text(block, "text")));
    if text.is_some_and(|text| text.ends_with(char::is_whitespace)) {
        return Err("messages: final assistant content cannot end with trailing whitespace".to_owned());
    }
    Ok(())
}
