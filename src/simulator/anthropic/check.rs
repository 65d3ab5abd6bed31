//! What Anthropic refuses in a request apart from its messages, in its own words.

use serde_json::Value;

use crate::domain::model::Thinking;
use crate::simulator::anthropic::{cache_marks, messages};
use crate::simulator::json;
use crate::simulator::models::Known;

/// Which endpoint a body is for; counting takes fewer members.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Endpoint {
    Messages,
    CountTokens,
}

const MEMBERS: [&str; 15] = [
    "model",
    "messages",
    "system",
    "tools",
    "tool_choice",
    "thinking",
    "output_config",
    "output_format",
    "cache_control",
    "context_management",
    "mcp_servers",
    "container",
    "speed",
    "thread",
    "betas",
];
/// Members that only make sense where something is generated.
const GENERATING_MEMBERS: [&str; 11] = [
    "max_tokens",
    "metadata",
    "stop_sequences",
    "stream",
    "temperature",
    "top_k",
    "top_p",
    "service_tier",
    "inference_geo",
    "diagnostics",
    "user_profile_id",
];
/// Members that are unknown unless a beta is asked for whose name begins like this.
const BETA_MEMBERS: [(&str, &str); 4] = [
    ("context_management", "context-management-"),
    ("mcp_servers", "mcp-client-"),
    ("output_format", "structured-outputs-"),
    ("thread", "message-threads-"),
];
const CACHE_MARKS_MAX: usize = 4;
/// Bytes of `metadata.user_id`.
const USER_ID_MAX: usize = 256;
const THINKING_BUDGET_MIN: u64 = 1_024;

/// Checks a request; the error is the text of Anthropic's message.
pub(super) fn request(body: &Value, known: &Known, betas: &str, endpoint: Endpoint) -> Result<(), String> {
    members(body, betas, endpoint)?;
    if endpoint == Endpoint::Messages {
        limits(body, known)?;
        sampling(body, known)?;
    }
    thinking(body, known, endpoint)?;
    tools(body)?;
    tool_choice(body)?;
    let marks = cache_marks(body);
    if marks > CACHE_MARKS_MAX {
        return Err(format!(
            "A maximum of {CACHE_MARKS_MAX} blocks with cache_control may be provided. Found {marks}."
        ));
    }
    messages::check(body, known)
}

fn members(body: &Value, betas: &str, endpoint: Endpoint) -> Result<(), String> {
    let Some(map) = body.as_object() else { return Err("Input should be a valid dictionary".to_owned()) };
    let without_beta = |key: &str| BETA_MEMBERS.iter().any(|(member, beta)| *member == key && !betas.contains(beta));
    for key in map.keys().map(String::as_str) {
        let fits_here = MEMBERS.contains(&key) || endpoint == Endpoint::Messages && GENERATING_MEMBERS.contains(&key);
        if !fits_here || key == "betas" || without_beta(key) {
            return Err(format!("{key}: Extra inputs are not permitted"));
        }
    }
    let required: &[&str] = if endpoint == Endpoint::Messages { &["max_tokens", "messages"] } else { &["messages"] };
    match required.iter().find(|key| !map.contains_key(**key)) {
        Some(key) => Err(format!("{key}: Field required")),
        None => Ok(()),
    }
}

fn limits(body: &Value, known: &Known) -> Result<(), String> {
    let Some(wanted) = body.get("max_tokens").and_then(Value::as_u64) else {
        return Err("max_tokens: Input should be a valid integer".to_owned());
    };
    let most = known.output_tokens_max;
    if wanted > most {
        let told = "which is the maximum allowed number of output tokens for";
        return Err(format!("max_tokens: {wanted} > {most}, {told} {}", known.name));
    }
    if json::list(body, "stop_sequences").iter().any(|stop| stop.as_str().is_none_or(|stop| stop.trim().is_empty())) {
        return Err("stop_sequences: each stop sequence must contain non-whitespace".to_owned());
    }
    let user_id = body.get("metadata").and_then(|metadata| json::text(metadata, "user_id"));
    if user_id.is_some_and(|id| id.len() > USER_ID_MAX) {
        return Err(format!("metadata.user_id: String should have at most {USER_ID_MAX} characters"));
    }
    Ok(())
}

fn sampling(body: &Value, known: &Known) -> Result<(), String> {
    let temperature = body.get("temperature").and_then(Value::as_f64);
    let top_p = body.get("top_p").and_then(Value::as_f64);
    if temperature.is_some_and(|value| !(0.0..=1.0).contains(&value)) {
        return Err("temperature: range: 0..1".to_owned());
    }
    if known.thinking == Thinking::Adaptive {
        let away_from_default =
            |key: &str| body.get(key).is_some_and(|value| !value.is_null() && value.as_f64() != Some(1.0));
        if let Some(key) = ["temperature", "top_p", "top_k"].iter().find(|key| away_from_default(key)) {
            return Err(format!("`{key}` is deprecated for this model."));
        }
    }
    if temperature.is_some() && top_p.is_some() {
        return Err(
            "`temperature` and `top_p` cannot both be specified for this model. Please use only one.".to_owned()
        );
    }
    Ok(())
}

fn thinking(body: &Value, known: &Known, endpoint: Endpoint) -> Result<(), String> {
    let effort = body.get("output_config").and_then(|config| json::text(config, "effort"));
    if let Some(effort) = effort {
        check_effort(effort, known)?;
    }
    let thinking = body.get("thinking").unwrap_or(&Value::Null);
    let edits = body.get("context_management").map(|management| json::list(management, "edits")).unwrap_or_default();
    let clears = edits.iter().any(|edit| json::kind(edit) == "clear_thinking_20251015");
    if clears && !matches!(json::kind(thinking), "enabled" | "adaptive") {
        let told = "strategy requires `thinking` to be enabled or adaptive";
        return Err(format!("`clear_thinking_20251015` {told}"));
    }
    match (json::kind(thinking), known.thinking) {
        _ if thinking.is_null() => return Ok(()),
        ("disabled", _) => return Ok(()),
        ("enabled", Thinking::Adaptive) => {
            let told = "\"thinking.type.enabled\" is not supported for this model. Use \"thinking.type.adaptive\" and \
                        \"output_config.effort\" to control thinking behavior.";
            return Err(told.to_owned());
        }
        ("adaptive" | "between_tools", Thinking::Manual) => {
            return Err("adaptive thinking is not supported on this model".to_owned());
        }
        ("enabled", _) => budget(body, thinking, endpoint)?,
        ("adaptive" | "between_tools", _) => {}
        (other, _) => {
            let told = "does not match any of the expected tags: 'adaptive', 'disabled', 'enabled'";
            return Err(format!("thinking: Input tag '{other}' found using 'type' {told}"));
        }
    }
    if matches!(body.get("tool_choice").map(json::kind), Some("any" | "tool")) {
        return Err("Thinking may not be enabled when tool_choice forces tool use.".to_owned());
    }
    if body.get("temperature").and_then(Value::as_f64).is_some_and(|value| (value - 1.0).abs() > f64::EPSILON) {
        return Err("`temperature` may only be set to 1 when thinking is enabled.".to_owned());
    }
    if body.get("top_p").and_then(Value::as_f64).is_some_and(|value| value < 0.95) {
        return Err("`top_p` must be greater than or equal to 0.95 or unset when thinking is enabled.".to_owned());
    }
    if json::has(body, "top_k") {
        return Err("`top_k` must be unset when thinking is enabled.".to_owned());
    }
    Ok(())
}

fn check_effort(effort: &str, known: &Known) -> Result<(), String> {
    if !matches!(effort, "low" | "medium" | "high" | "xhigh" | "max") {
        return Err("output_config.effort: Input should be 'low', 'medium', 'high', 'xhigh' or 'max'".to_owned());
    }
    let levels: &[&str] = match known.thinking {
        Thinking::Adaptive => return Ok(()),
        Thinking::Both => &["high", "low", "max", "medium"],
        Thinking::Manual if known.name.starts_with("claude-opus") => &["high", "low", "medium"],
        Thinking::Manual | Thinking::Effort => {
            return Err("This model does not support the effort parameter.".to_owned());
        }
    };
    if levels.contains(&effort) {
        return Ok(());
    }
    let levels = levels.join(", ");
    Err(format!("This model does not support effort level '{effort}'. Supported levels: {levels}."))
}

fn budget(body: &Value, thinking: &Value, endpoint: Endpoint) -> Result<(), String> {
    let Some(budget) = thinking.get("budget_tokens").and_then(Value::as_u64) else {
        return Err("thinking.enabled.budget_tokens: Field required".to_owned());
    };
    if budget < THINKING_BUDGET_MIN {
        let told = "Input should be greater than or equal to";
        return Err(format!("thinking.enabled.budget_tokens: {told} {THINKING_BUDGET_MIN}"));
    }
    let max_tokens = body.get("max_tokens").and_then(Value::as_u64).unwrap_or(0);
    if endpoint == Endpoint::Messages && max_tokens <= budget {
        return Err("`max_tokens` must be greater than `thinking.budget_tokens`.".to_owned());
    }
    Ok(())
}

fn tools(body: &Value) -> Result<(), String> {
    let tools = json::list(body, "tools");
    for (index, tool) in tools.iter().enumerate() {
        let name = json::text(tool, "name").unwrap_or_default();
        if tools[..index].iter().any(|earlier| json::text(earlier, "name") == Some(name)) {
            return Err("tools: Tool names must be unique.".to_owned());
        }
        if !matches!(json::kind(tool), "" | "custom") {
            server_tool(index, json::kind(tool))?;
            continue;
        }
        if !(1..=128).contains(&name.len()) || !is_plain(name) {
            return Err(format!("tools.{index}.custom.name: String should match pattern '^[a-zA-Z0-9_-]{{1,128}}$'"));
        }
        if let Some(key) = ["function", "parameters", "format"].iter().find(|key| tool.get(**key).is_some()) {
            return Err(format!("tools.{index}.custom.{key}: Extra inputs are not permitted"));
        }
        let Some(schema) = tool.get("input_schema") else {
            return Err(format!("tools.{index}.custom.input_schema: Field required"));
        };
        if json::kind(schema) != "object" {
            return Err(format!("tools.{index}.custom.input_schema.type: Input should be 'object'"));
        }
        if ["oneOf", "allOf", "anyOf"].iter().any(|key| schema.get(key).is_some()) {
            let told = "input_schema does not support oneOf, allOf, or anyOf at the top level";
            return Err(format!("tools.{index}.custom.input_schema: {told}"));
        }
        if schema.get("required").is_some_and(|required| !required.is_array()) {
            let told = "JSON schema is invalid. It must match JSON Schema draft 2020-12";
            return Err(format!("tools.{index}.custom.input_schema: {told}"));
        }
    }
    Ok(())
}

fn server_tool(index: usize, kind: &str) -> Result<(), String> {
    const KINDS: [&str; 10] = [
        "web_search_",
        "web_fetch_",
        "code_execution_",
        "bash_",
        "text_editor_",
        "computer_",
        "memory_",
        "tool_search_",
        "mcp_toolset",
        "advisor_",
    ];
    if KINDS.iter().any(|known| kind.starts_with(known)) {
        return Ok(());
    }
    Err(format!("tools.{index}: Input tag '{kind}' found using 'type' does not match any of the expected tags"))
}

fn tool_choice(body: &Value) -> Result<(), String> {
    let Some(choice) = body.get("tool_choice") else { return Ok(()) };
    let tools = json::list(body, "tools");
    match json::kind(choice) {
        "auto" | "any" | "tool" | "none" => {}
        other => {
            let told = "does not match any of the expected tags: 'any', 'auto', 'none', 'tool'";
            return Err(format!("tool_choice: Input tag '{other}' found using 'type' {told}"));
        }
    }
    if tools.is_empty() {
        return Err("tool_choice: tool_choice may only be specified while providing tools".to_owned());
    }
    let name = json::text(choice, "name").unwrap_or_default();
    if json::kind(choice) == "tool" && !tools.iter().any(|tool| json::text(tool, "name") == Some(name)) {
        return Err(format!("Tool '{name}' not found in provided tools"));
    }
    if json::kind(choice) == "none" && choice.get("disable_parallel_tool_use").is_some() {
        return Err("tool_choice.none.disable_parallel_tool_use: Extra inputs are not permitted".to_owned());
    }
    Ok(())
}

/// Returns whether a name or id has only the characters that Anthropic allows.
pub(super) fn is_plain(name: &str) -> bool {
    name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-')
}
