//! What OpenAI refuses in a request to Responses, in its own words.

use serde_json::Value;

use crate::simulator::answer::Answer;
use crate::simulator::json;
use crate::simulator::mind;
use crate::simulator::openai::{self, ENCRYPTED_PREFIX, invalid, refusal};
use crate::simulator::openai_responses::{item_kind, items};

const MEMBERS: [&str; 33] = [
    "model",
    "input",
    "instructions",
    "max_output_tokens",
    "max_tool_calls",
    "metadata",
    "parallel_tool_calls",
    "previous_response_id",
    "prompt",
    "prompt_cache_key",
    "prompt_cache_retention",
    "prompt_cache_options",
    "reasoning",
    "safety_identifier",
    "service_tier",
    "store",
    "stream",
    "stream_options",
    "temperature",
    "text",
    "tool_choice",
    "tools",
    "top_logprobs",
    "top_p",
    "truncation",
    "user",
    "background",
    "conversation",
    "include",
    "context_management",
    "moderation",
    "client_metadata",
    "verbosity",
];
const TOOLS: [&str; 18] = [
    "function",
    "custom",
    "web_search",
    "web_search_preview",
    "file_search",
    "code_interpreter",
    "image_generation",
    "mcp",
    "local_shell",
    "shell",
    "apply_patch",
    "computer",
    "computer_use_preview",
    "namespace",
    "tool_search",
    "programmatic_tool_calling",
    "web_search_2025_08_26",
    "computer_use",
];
const EFFORTS: [&str; 7] = ["none", "minimal", "low", "medium", "high", "xhigh", "max"];
/// Least that `max_output_tokens` may be.
const OUTPUT_TOKENS_MIN: i64 = 16;

/// Checks a request.
pub(super) fn request(body: &Value) -> Result<(), Answer> {
    openai::known_members(body, &MEMBERS)?;
    parameters(body)?;
    for (index, tool) in json::list(body, "tools").iter().enumerate() {
        check_tool(tool, &format!("tools[{index}]"))?;
    }
    tool_choice(body)?;
    let items = items(body);
    for (index, item) in items.iter().enumerate() {
        check_item(item, &format!("input[{index}]"))?;
    }
    pairs(items)?;
    followed(items)
}

/// A reasoning item that names itself must come before what it led to.
fn followed(items: &[Value]) -> Result<(), Answer> {
    for (index, item) in items.iter().enumerate() {
        let Some(id) = json::text(item, "id").filter(|_| item_kind(item) == "reasoning") else { continue };
        let next = items[index..].iter().find(|item| item_kind(item) != "reasoning");
        let led_to = next.is_some_and(|item| match item_kind(item) {
            "message" => json::text(item, "role") == Some("assistant"),
            kind => !kind.ends_with("_output"),
        });
        if !led_to {
            let told = format!("Item '{id}' of type 'reasoning' was provided without its required following item.");
            return Err(invalid(&told, "input", None));
        }
    }
    Ok(())
}

fn parameters(body: &Value) -> Result<(), Answer> {
    if !json::has(body, "input") {
        return Err(invalid("Missing required parameter: 'input'.", "input", Some("missing_required_parameter")));
    }
    if let Some(id) = json::text(body, "previous_response_id") {
        let told = format!("Previous response with id '{id}' not found.");
        return Err(invalid(&told, "previous_response_id", Some("previous_response_not_found")));
    }
    if let Some(wanted) = body.get("max_output_tokens").and_then(Value::as_i64)
        && wanted < OUTPUT_TOKENS_MIN
    {
        let told = format!(
            "Invalid 'max_output_tokens': integer below minimum value. Expected a value >= {OUTPUT_TOKENS_MIN}, but got \
             {wanted} instead."
        );
        return Err(invalid(&told, "max_output_tokens", Some("integer_below_min_value")));
    }
    let effort = body.get("reasoning").and_then(|reasoning| json::text(reasoning, "effort"));
    if let Some(effort) = effort.filter(|effort| !EFFORTS.contains(effort)) {
        let told = format!(
            "Invalid value: '{effort}'. Supported values are: 'none', 'minimal', 'low', 'medium', 'high', and 'xhigh'."
        );
        return Err(invalid(&told, "reasoning.effort", Some("invalid_value")));
    }
    if effort != Some("none") {
        openai::no_sampling(body, &["temperature", "top_p", "top_logprobs"])?;
    }
    openai::short(json::text(body, "prompt_cache_key"), "prompt_cache_key")
}

fn check_tool(tool: &Value, place: &str) -> Result<(), Answer> {
    match json::kind(tool) {
        "function" | "custom" => openai::function(tool, place),
        "namespace" => json::list(tool, "tools")
            .iter()
            .enumerate()
            .try_for_each(|(index, tool)| check_tool(tool, &format!("{place}.tools[{index}]"))),
        kind if TOOLS.contains(&kind) => Ok(()),
        kind => {
            let told = format!("Invalid value: '{kind}'. Supported values are: 'function', 'custom', and others.");
            Err(invalid(&told, &format!("{place}.type"), Some("invalid_value")))
        }
    }
}

fn tool_choice(body: &Value) -> Result<(), Answer> {
    let Some(choice) = body.get("tool_choice").filter(|choice| choice.is_object()) else { return Ok(()) };
    let kind = json::kind(choice);
    let name = json::text(choice, "name");
    let offered = super::tools(body).iter().any(|tool| Some(tool.name.as_str()) == name)
        || json::list(body, "tools").iter().any(|tool| name.is_none() && json::kind(tool) == kind);
    if offered || kind == "allowed_tools" {
        return Ok(());
    }
    Err(invalid(&format!("Tool choice '{kind}' not found in 'tools' parameter."), "tool_choice", None))
}

fn check_item(item: &Value, place: &str) -> Result<(), Answer> {
    match item_kind(item) {
        "message" if item.is_string() => Ok(()),
        "message" => message(item, place),
        "function_call" => {
            call(item, place, "fc", "arguments")?;
            openai::short(json::text(item, "call_id"), &format!("{place}.call_id"))
        }
        "custom_tool_call" => call(item, place, "ctc", "input"),
        "function_call_output" | "custom_tool_call_output" => {
            required(item, place, &["call_id", "output"])?;
            openai::short(json::text(item, "call_id"), &format!("{place}.call_id"))
        }
        "reasoning" => reasoning(item),
        "item_reference" => Err(not_found(json::text(item, "id").unwrap_or_default())),
        "additional_tools" => json::list(item, "tools")
            .iter()
            .enumerate()
            .try_for_each(|(index, tool)| check_tool(tool, &format!("{place}.tools[{index}]"))),
        kind if kind.ends_with("_call") || kind.ends_with("_output") || kind == "compaction" => Ok(()),
        kind => {
            let told =
                format!("Invalid value: '{kind}'. Supported values are: 'message', 'function_call', and others.");
            Err(invalid(&told, &format!("{place}.type"), Some("invalid_value")))
        }
    }
}

fn required(item: &Value, place: &str, keys: &[&str]) -> Result<(), Answer> {
    match keys.iter().find(|key| !json::has(item, key)) {
        Some(key) => {
            let param = format!("{place}.{key}");
            let told = format!("Missing required parameter: '{param}'.");
            Err(invalid(&told, &param, Some("missing_required_parameter")))
        }
        None => Ok(()),
    }
}

fn message(item: &Value, place: &str) -> Result<(), Answer> {
    required(item, place, &["role", "content"])?;
    let allowed: &[&str] = match json::text(item, "role") {
        Some("assistant") => &["output_text", "refusal"],
        Some("user" | "system" | "developer") => &["input_text", "input_image", "input_file", "input_audio"],
        role => {
            let role = role.unwrap_or_default();
            let told = format!(
                "Invalid value: '{role}'. Supported values are: 'assistant', 'system', 'developer', and 'user'."
            );
            return Err(invalid(&told, &format!("{place}.role"), Some("invalid_value")));
        }
    };
    for (index, part) in json::list(item, "content").iter().enumerate() {
        let kind = json::kind(part);
        if !allowed.contains(&kind) {
            let supported = allowed.iter().map(|kind| format!("'{kind}'")).collect::<Vec<_>>().join(", ");
            let told = format!("Invalid value: '{kind}'. Supported values are: {supported}.");
            return Err(invalid(&told, &format!("{place}.content[{index}]"), Some("invalid_value")));
        }
    }
    Ok(())
}

fn call(item: &Value, place: &str, id_prefix: &str, payload: &str) -> Result<(), Answer> {
    required(item, place, &["call_id", "name", payload])?;
    match json::text(item, "id") {
        Some(id) if !id.starts_with(id_prefix) => {
            let param = format!("{place}.id");
            let told = format!("Invalid '{param}': '{id}'. Expected an ID that begins with '{id_prefix}'.");
            Err(invalid(&told, &param, Some("invalid_value")))
        }
        _ => Ok(()),
    }
}

fn reasoning(item: &Value) -> Result<(), Answer> {
    match (json::text(item, "encrypted_content"), json::text(item, "id")) {
        (Some(sealed), _) if mind::is_sealed(sealed, ENCRYPTED_PREFIX, None) => Ok(()),
        (Some(sealed), _) => {
            let shown = json::beginning(sealed, 4);
            let told = format!(
                "The encrypted content {shown}... could not be verified. Reason: Encrypted content could not be \
                 decrypted or parsed."
            );
            Err(refusal(400, &told, None, Some("invalid_encrypted_content")))
        }
        (None, Some(id)) => Err(not_found(id)),
        (None, None) => Ok(()),
    }
}

fn not_found(id: &str) -> Answer {
    let told = format!(
        "Item with id '{id}' not found. Items are not persisted when `store` is set to false. Try again with `store` \
         set to true, or remove this item from your input."
    );
    refusal(404, &told, Some("input"), None)
}

/// Every call needs an output, and every output an earlier call.
fn pairs(items: &[Value]) -> Result<(), Answer> {
    let is_call = |item: &Value| matches!(item_kind(item), "function_call" | "custom_tool_call");
    let is_output = |item: &Value| matches!(item_kind(item), "function_call_output" | "custom_tool_call_output");
    for (index, item) in items.iter().enumerate() {
        let id = json::text(item, "call_id");
        let same = |other: &&Value| json::text(other, "call_id") == id;
        let shown = id.unwrap_or_default();
        if is_call(item) && !items[index..].iter().filter(same).any(is_output) {
            let told = format!("No tool output found for function call {shown}.");
            return Err(invalid(&told, "input", None));
        }
        if is_output(item) && !items[..index].iter().filter(same).any(is_call) {
            let told = format!("No tool call found for function call output with call_id {shown}.");
            return Err(invalid(&told, "input", None));
        }
    }
    Ok(())
}
