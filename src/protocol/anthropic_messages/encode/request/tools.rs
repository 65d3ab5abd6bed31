//! The tools of a request.

use std::borrow::Cow;
use std::collections::HashSet;

use serde_json::value::RawValue;

use crate::protocol::anthropic_messages::wire::request::{Tool, ToolChoice};
use crate::protocol::canonical::{self, Block, Conversation, ToolKind, Unmet};
use crate::protocol::names::Names;
use crate::protocol::schema;

/// The name that the provider's own search has.
const WEB_SEARCH: &str = "web_search";

/// The schema of a freeform tool; `freeform` takes the text out of what is written by it.
const FREEFORM_SCHEMA: &str = r#"{"type":"object","properties":{"input":{"type":"string","description":"The raw text, exactly as the tool takes it."}},"required":["input"],"additionalProperties":false}"#;

/// Returns the tools, the first of each name.
///
/// The provider's search is only asked for where the request is about nothing else: whether the gateway's account may
/// search is not known, and if not, it would refuse every request of a client that offers it among its own tools.
pub(super) fn tools<'a>(conversation: &'a Conversation<'a>, names: &'a Names, unmet: &mut Vec<Unmet>) -> Vec<Tool<'a>> {
    let is_search_wanted = conversation.tools.len() == 1 || forced(conversation) == Some(WEB_SEARCH);
    let mut seen = HashSet::new();
    let mut tools = Vec::with_capacity(conversation.tools.len());
    for tool in &conversation.tools {
        if let ToolKind::WebSearch(search) = &tool.kind {
            if is_search_wanted {
                tools.push(web_search(search));
            } else {
                unmet.push(Unmet::WebSearch);
            }
            continue;
        }
        let name = names.wire(tool.namespace.as_deref(), &tool.name);
        if seen.insert(name) {
            tools.push(function(tool, name, unmet));
        }
    }
    if tools.is_empty() {
        // The API refuses calls of the past where no tool is given, as when a client has a conversation summed up.
        let calls = conversation.turns.iter().flat_map(|turn| &turn.blocks).filter_map(|block| match block {
            Block::Call(call) => Some(names.wire(call.namespace.as_deref(), &call.name)),
            _ => None,
        });
        let past = |name| Tool::Function {
            name,
            description: None,
            input_schema: schema::for_messages_tool(None),
            cache_control: None,
        };
        tools.extend(calls.filter(|name| seen.insert(*name)).map(past));
    }
    tools
}

fn function<'a>(tool: &'a canonical::Tool<'a>, name: &'a str, unmet: &mut Vec<Unmet>) -> Tool<'a> {
    let described = tool.description.as_deref().filter(|text| !text.is_empty()).map(Cow::Borrowed);
    let (description, input_schema) = match &tool.kind {
        ToolKind::Function { schema, strict } => {
            if *strict == Some(true) {
                unmet.push(Unmet::Strict);
            }
            (described, schema::for_messages_tool(*schema))
        }
        ToolKind::Custom { grammar } => {
            if grammar.is_some() {
                unmet.push(Unmet::Grammar);
            }
            let schema: Option<&'static RawValue> = serde_json::from_str(FREEFORM_SCHEMA).ok();
            (Some(freeform(described, grammar.as_ref()).into()), schema::for_messages_tool(schema))
        }
        ToolKind::WebSearch(_) => (described, schema::for_messages_tool(None)),
    };
    Tool::Function { name, description, input_schema, cache_control: None }
}

fn freeform(described: Option<Cow<'_, str>>, grammar: Option<&(Cow<'_, str>, Cow<'_, str>)>) -> String {
    let mut text = described.map(|text| format!("{text}\n\n")).unwrap_or_default();
    text.push_str("Give the raw text as the string `input`. The text itself is not JSON.");
    if let Some((syntax, definition)) = grammar {
        text.push_str(" It must follow this grammar (");
        text.push_str(syntax);
        text.push_str("):\n");
        text.push_str(definition);
    }
    text
}

fn web_search<'a>(search: &'a canonical::WebSearch<'a>) -> Tool<'a> {
    // The API takes one of the two lists.
    let blocked_domains = if search.allowed_domains.is_empty() { &*search.blocked_domains } else { &[] };
    Tool::WebSearch {
        kind: "web_search_20250305",
        name: WEB_SEARCH,
        max_uses: search.uses_max,
        allowed_domains: &search.allowed_domains,
        blocked_domains,
        user_location: search.user_location.as_deref(),
    }
}

/// Returns the name of the tool that must be called, as the client knows it.
fn forced<'a>(conversation: &'a Conversation<'_>) -> Option<&'a str> {
    match &conversation.tool_choice {
        Some(canonical::ToolChoice::Tool { namespace: None, name }) => Some(name),
        _ => None,
    }
}

/// Returns the choice among `tools`; none where there is nothing to choose.
pub(super) fn choice<'a>(
    conversation: &'a Conversation<'a>,
    names: &'a Names,
    tools: &[Tool<'_>],
) -> Option<ToolChoice<'a>> {
    if tools.is_empty() {
        return None;
    }
    if conversation.tools.is_empty() {
        // They only stand for calls of the past.
        return Some(ToolChoice::None);
    }
    let disable_parallel_tool_use = conversation.parallel_calls == Some(false);
    match &conversation.tool_choice {
        Some(canonical::ToolChoice::Any) => Some(ToolChoice::Any { disable_parallel_tool_use }),
        Some(canonical::ToolChoice::None) => Some(ToolChoice::None),
        Some(canonical::ToolChoice::Tool { namespace, name }) => {
            let name = names.wire(namespace.as_deref(), name);
            Some(ToolChoice::Tool { name, disable_parallel_tool_use })
        }
        Some(canonical::ToolChoice::Auto) => Some(ToolChoice::Auto { disable_parallel_tool_use }),
        None => disable_parallel_tool_use.then_some(ToolChoice::Auto { disable_parallel_tool_use }),
    }
}
