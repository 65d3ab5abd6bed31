//! Tools, and the choice among them.

use std::borrow::Cow;

use serde_json::value::RawValue;

use super::name_unknown;
use crate::protocol::anthropic_messages::wire::client;
use crate::protocol::canonical::{Tool, ToolChoice, ToolKind, WebSearch};
use crate::protocol::json::{self, Str};
use crate::protocol::loss::{Dropped, Refusal};

/// Members that only tune cost or speed, or when a tool is shown: all are shown from the start.
const SILENT: [&str; 5] =
    ["cache_control", "defer_loading", "eager_input_streaming", "input_examples", "allowed_callers"];

/// Members that say how much a screen or a file may hold; the client knows, and the model learns it from the results.
const SILENT_IN_CLIENT_TOOLS: [&str; 8] = [
    "cache_control",
    "defer_loading",
    "input_examples",
    "allowed_callers",
    "max_characters",
    "display_width_px",
    "display_height_px",
    "display_number",
];

/// Tools that the client runs and whose schema Claude knows by heart; another model must be told.
/// Source: Anthropic's pages on the bash, text editor, memory and computer use tools.
const CLIENT_TOOLS: [(&str, &str, &str); 4] = [
    (
        "bash_",
        "Run a command in a bash shell that keeps its state between calls.",
        r#"{"type":"object","properties":{"command":{"type":"string","description":"The command to run."},"restart":{"type":"boolean","description":"Restart the shell instead."}}}"#,
    ),
    (
        "text_editor_",
        "View, create and edit text files.",
        r#"{"type":"object","properties":{"command":{"type":"string","enum":["view","create","str_replace","insert"]},"path":{"type":"string","description":"Path of the file or folder."},"view_range":{"type":"array","items":{"type":"integer"},"description":"First and last line to view; -1 is the end."},"file_text":{"type":"string","description":"For create: the whole text."},"old_str":{"type":"string","description":"For str_replace: the text to replace, which must occur exactly once."},"new_str":{"type":"string","description":"For str_replace: the new text."},"insert_line":{"type":"integer","description":"For insert: the line to insert after; 0 is the beginning."},"insert_text":{"type":"string","description":"For insert: the text."}},"required":["command","path"]}"#,
    ),
    (
        "memory_",
        "Keep notes in files below /memories that outlast the conversation. View the folder before anything else.",
        r#"{"type":"object","properties":{"command":{"type":"string","enum":["view","create","str_replace","insert","delete","rename"]},"path":{"type":"string"},"view_range":{"type":"array","items":{"type":"integer"}},"file_text":{"type":"string"},"old_str":{"type":"string"},"new_str":{"type":"string"},"insert_line":{"type":"integer"},"insert_text":{"type":"string"},"old_path":{"type":"string"},"new_path":{"type":"string"}},"required":["command"]}"#,
    ),
    (
        "computer_",
        "Use a computer by its screen, mouse and keyboard. Take a screenshot first.",
        r#"{"type":"object","properties":{"action":{"type":"string","enum":["screenshot","left_click","right_click","middle_click","double_click","triple_click","left_click_drag","left_mouse_down","left_mouse_up","mouse_move","cursor_position","type","key","hold_key","scroll","wait","zoom"]},"coordinate":{"type":"array","items":{"type":"integer"},"description":"x and y in pixels."},"start_coordinate":{"type":"array","items":{"type":"integer"}},"region":{"type":"array","items":{"type":"integer"}},"text":{"type":"string","description":"The text to type, or the key."},"duration":{"type":"number","description":"Seconds."},"scroll_direction":{"type":"string","enum":["up","down","left","right"]},"scroll_amount":{"type":"integer"}},"required":["action"]}"#,
    ),
];

/// Reads the tools. Those that Anthropic runs and nobody else has are left out and named, unless one of them must be used.
pub(super) fn tools<'a>(
    tools: Vec<&'a RawValue>,
    choice: Option<&ToolChoice<'_>>,
    dropped: &mut Dropped,
) -> Result<Vec<Tool<'a>>, Refusal> {
    let mut known = Vec::with_capacity(tools.len());
    for (index, raw) in tools.into_iter().enumerate() {
        let path = format!("tools[{index}]");
        let tool: client::Tool<'a> = serde_json::from_str(raw.get())
            .map_err(|error| Refusal::of(&*path, format!("`{path}` cannot be read: {}", json::complaint(&error))))?;
        let kind = tool.kind.as_ref().map_or("custom", |Str(kind)| &**kind);
        let client_tool = CLIENT_TOOLS.iter().find(|(prefix, ..)| kind.starts_with(prefix));
        let silent = if client_tool.is_some() { &SILENT_IN_CLIENT_TOOLS[..] } else { &SILENT[..] };
        if kind == "custom" || kind.starts_with("web_search_") || client_tool.is_some() {
            name_unknown(&tool.unknown, silent, "tools[].", dropped);
        }
        let is_search = kind.starts_with("web_search_");
        if kind != "custom" && !is_search && client_tool.is_none() {
            let forced =
                matches!((choice, &tool.name), (Some(ToolChoice::Tool { name, .. }), Some(Str(tool))) if name == tool);
            if forced {
                let message = format!("`{path}` is run by Anthropic and cannot be used by a GPT model");
                return Err(Refusal::of(path, message));
            }
            let word: String = kind.chars().take_while(|char| !char.is_ascii_digit()).collect();
            dropped.add(&format!("tools[].{}", word.trim_end_matches('_')));
            continue;
        }
        known.push(of(&path, tool, is_search, client_tool)?);
    }
    Ok(known)
}

fn of<'a>(
    path: &str,
    tool: client::Tool<'a>,
    is_search: bool,
    client_tool: Option<&(&str, &'static str, &'static str)>,
) -> Result<Tool<'a>, Refusal> {
    let Some(Str(name)) = tool.name else {
        return Err(Refusal::of(format!("{path}.name"), format!("`{path}.name` is required")));
    };
    let described = tool.description.map(|Str(text)| text);
    let domains = |domains: Option<Vec<Str<'a>>>| domains.into_iter().flatten().map(|Str(text)| text).collect();
    let (description, kind) = match client_tool {
        Some((_, description, schema)) => {
            let schema: Option<&'static RawValue> = serde_json::from_str(schema).ok();
            (Some((*description).into()), ToolKind::Function { schema, strict: None })
        }
        None if is_search => {
            let search = WebSearch {
                allowed_domains: domains(tool.allowed_domains),
                blocked_domains: domains(tool.blocked_domains),
                uses_max: tool.max_uses,
                user_location: tool.user_location.map(Cow::Borrowed),
            };
            (described, ToolKind::WebSearch(search))
        }
        None => (described, ToolKind::Function { schema: tool.input_schema, strict: tool.strict }),
    };
    Ok(Tool { namespace: None, name, description, kind })
}

/// Reads the choice among tools, and whether several may be called at once.
pub(super) fn choice(
    choice: Option<client::ToolChoice<'_>>,
) -> Result<(Option<ToolChoice<'_>>, Option<bool>), Refusal> {
    let Some(choice) = choice else { return Ok((None, None)) };
    let parallel = choice.disable_parallel_tool_use.map(|is_disabled| !is_disabled);
    let chosen = match (choice.kind.as_ref().map(|Str(kind)| &**kind), choice.name) {
        (Some("auto"), _) => ToolChoice::Auto,
        (Some("any"), _) => ToolChoice::Any,
        (Some("none"), _) => ToolChoice::None,
        (Some("tool"), Some(Str(name))) => ToolChoice::Tool { namespace: None, name },
        _ => {
            let message = "`tool_choice.type` must be auto, any, none, or tool with a name";
            return Err(Refusal::of("tool_choice", message));
        }
    };
    Ok((Some(chosen), parallel))
}
