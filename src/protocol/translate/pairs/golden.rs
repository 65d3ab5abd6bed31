//! Golden tables: what becomes of every kind of request and answer. `INSTA_UPDATE=always` writes them anew.

use std::fmt::Write as _;

use super::*;

const PNG: &str = "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAAB";

/// A request by its name, and the members that make it special.
pub(super) type Case = (&'static str, Value);

pub(super) fn user(text: &str) -> Value {
    json!({ "role": "user", "content": text })
}

fn function(name: &str) -> Value {
    json!({ "type": "function", "name": name, "description": "Does it.", "strict": true,
        "parameters": { "type": "object", "properties": { "a": { "type": "string" } }, "required": ["a"], "additionalProperties": false } })
}

fn table(translation: Translation, cases: Vec<Case>) -> String {
    let mut table = String::new();
    for (name, members) in cases {
        let body = match translation {
            Translation::ChatToMessages | Translation::ChatToResponses => chat(&members),
            Translation::MessagesToResponses => messages(&members),
            Translation::ResponsesToMessages => responses(&members),
        };
        table += &row(translation, &body, &target(translation), (name, &members));
    }
    table
}

/// Tells what becomes of a request, under its name and what makes it special.
pub(super) fn row(
    translation: Translation,
    body: &Value,
    target: &Target<'_>,
    (name, special): (&str, &Value),
) -> String {
    let mut row = format!("## {name}\n   {special}\n");
    match try_send(translation, body, target) {
        Ok(sent) => {
            writeln!(row, "=> {}", sent.text).unwrap();
            if !sent.dropped.is_empty() {
                writeln!(row, "   without {}", sent.dropped).unwrap();
            }
        }
        Err(message) => writeln!(row, "=> 400 {message}").unwrap(),
    }
    row.push('\n');
    row
}

fn content_of_responses() -> Vec<Case> {
    let part = |part: Value| json!({ "input": [{ "role": "user", "content": [part] }] });
    vec![
        ("plain text", json!({})),
        (
            "instructions and system messages",
            json!({ "instructions": "Be brief.", "input": [{ "role": "developer", "content": "A." }, user("Hi"), { "role": "system", "content": "B." }, user("go")] }),
        ),
        ("only the system speaks", json!({ "input": [{ "role": "developer", "content": "Say hello." }] })),
        (
            "blank texts",
            json!({ "input": [user("Hi"), { "role": "assistant", "content": "" }, user("  "), user("go")] }),
        ),
        ("nothing to answer", json!({ "input": [] })),
        ("the model speaks first", json!({ "input": [{ "role": "assistant", "content": "Hello" }, user("Hi")] })),
        ("image", part(json!({ "type": "input_image", "image_url": PNG, "detail": "high" }))),
        ("image at an address", part(json!({ "type": "input_image", "image_url": "https://a.example/b.png" }))),
        ("image by id", part(json!({ "type": "input_image", "file_id": "file-1" }))),
        (
            "PDF",
            part(
                json!({ "type": "input_file", "filename": "a.pdf", "file_data": "data:application/pdf;base64,JVBERi0=" }),
            ),
        ),
        ("PDF at an address", part(json!({ "type": "input_file", "file_url": "https://a.example/b.pdf" }))),
        (
            "text file",
            part(json!({ "type": "input_file", "filename": "a.txt", "file_data": "data:text/plain;base64,aGVsbG8=" })),
        ),
        (
            "word file",
            part(
                json!({ "type": "input_file", "filename": "a.docx", "file_data": "data:application/msword;base64,aGVsbG8=" }),
            ),
        ),
        ("audio", part(json!({ "type": "input_audio", "input_audio": { "data": "x", "format": "wav" } }))),
    ]
}

fn history_of_responses() -> Vec<Case> {
    vec![
        (
            "refusal in history",
            json!({ "input": [user("Hi"), { "type": "message", "role": "assistant", "content": [{ "type": "refusal", "refusal": "No." }] }, user("go")] }),
        ),
        (
            "call and result",
            json!({ "input": [user("go"), { "type": "function_call", "call_id": "c1", "name": "run", "arguments": "{\"a\":1.10}" }, { "type": "function_call_output", "call_id": "c1", "output": "ok" }], "tools": [function("run")] }),
        ),
        (
            "call without arguments, and with cut ones",
            json!({ "input": [user("go"), { "type": "function_call", "call_id": "c1", "name": "run", "arguments": "" }, { "type": "function_call", "call_id": "c2", "name": "run", "arguments": "{\"a\":" }, { "type": "function_call_output", "call_id": "c2", "output": "" }, { "type": "function_call_output", "call_id": "c1", "output": [{ "type": "input_text", "text": "x" }, { "type": "input_image", "image_url": PNG }] }] }),
        ),
        (
            "freeform call",
            json!({ "input": [user("go"), { "type": "custom_tool_call", "call_id": "c1", "name": "patch", "input": "raw \"text\"" }, { "type": "custom_tool_call_output", "call_id": "c1", "output": "ok" }] }),
        ),
        (
            "local shell",
            json!({ "input": [user("go"), { "type": "local_shell_call", "id": "lsh_1", "call_id": "c1", "status": "completed", "action": { "type": "exec", "command": ["ls"], "env": {} } }, { "type": "local_shell_call_output", "id": "lsh_1", "output": "a" }], "tools": [{ "type": "local_shell" }] }),
        ),
        (
            "patch that failed",
            json!({ "input": [user("go"), { "type": "apply_patch_call", "call_id": "c1", "status": "completed", "operation": { "type": "delete_file", "path": "a" } }, { "type": "apply_patch_call_output", "call_id": "c1", "status": "failed", "output": "no such file" }], "tools": [{ "type": "apply_patch" }] }),
        ),
        (
            "search for tools",
            json!({ "input": [user("go"), { "type": "tool_search_call", "call_id": "c1", "execution": "client", "status": "completed", "arguments": { "query": "x" } }, { "type": "tool_search_output", "call_id": "c1", "status": "completed", "tools": [function("found")] }], "tools": [{ "type": "tool_search", "execution": "client", "parameters": { "type": "object", "properties": {} } }] }),
        ),
        (
            "work of the provider in history",
            json!({ "input": [user("Hi"), { "type": "web_search_call", "id": "ws_1", "status": "completed", "action": { "type": "search", "query": "x" } }, { "role": "assistant", "content": "It is 4." }, user("go")] }),
        ),
        ("reference to an item", json!({ "input": [{ "type": "item_reference", "id": "msg_1" }, user("go")] })),
        (
            "compacted conversation",
            json!({ "input": [{ "type": "compaction", "encrypted_content": "x" }, user("go")] }),
        ),
        ("item nobody knows", json!({ "input": [{ "type": "hologram" }, user("go")] })),
    ]
}

fn settings_of_responses() -> Vec<Case> {
    let mut cases = vec![
        ("limit", json!({ "max_output_tokens": 500 })),
        ("more than the model has", json!({ "max_output_tokens": 500_000 })),
        ("sampling", json!({ "temperature": 0.2, "top_p": 0.5 })),
        ("summary", json!({ "reasoning": { "summary": "auto" } })),
        ("effort nobody knows", json!({ "reasoning": { "effort": "heroic" } })),
        (
            "schema of the answer",
            json!({ "text": { "verbosity": "low", "format": { "type": "json_schema", "name": "weather", "strict": true, "schema": { "type": "object", "properties": { "t": { "type": "number", "minimum": 1.10 } }, "required": ["t"] } } } }),
        ),
        ("any JSON", json!({ "text": { "format": { "type": "json_object" } } })),
        (
            "who asks",
            json!({ "user": "u-1", "safety_identifier": "s-1", "prompt_cache_key": "k", "metadata": { "a": "b" }, "service_tier": "flex", "client_metadata": { "c": "d" } }),
        ),
        (
            "tuning that may change the answer",
            json!({ "truncation": "auto", "max_tool_calls": 3, "context_management": [{ "type": "compaction" }], "odd": 1 }),
        ),
        ("log probabilities", json!({ "top_logprobs": 2 })),
        ("log probabilities by inclusion", json!({ "include": ["message.output_text.logprobs"] })),
        ("stored answer", json!({ "previous_response_id": "resp_1" })),
        ("background", json!({ "background": true })),
    ];
    for effort in ["none", "minimal", "low", "medium", "high", "xhigh", "max"] {
        cases.push(("effort", json!({ "reasoning": { "effort": effort } })));
    }
    cases
}

fn tools_of_responses() -> Vec<Case> {
    vec![
        ("function", json!({ "tools": [function("run")] })),
        ("function without schema", json!({ "tools": [{ "type": "function", "name": "run" }] })),
        ("two of one name", json!({ "tools": [function("run"), function("run")] })),
        (
            "freeform",
            json!({ "tools": [{ "type": "custom", "name": "patch", "description": "Edits.", "format": { "type": "grammar", "syntax": "lark", "definition": "start: x" } }, { "type": "custom", "name": "exec", "format": { "type": "text" } }] }),
        ),
        (
            "namespace",
            json!({ "tools": [{ "type": "namespace", "name": "agents", "description": "Agents.", "tools": [function("spawn"), function("run")] }, function("run")] }),
        ),
        ("name with odd characters", json!({ "tools": [function("a.b c"), function("a_b_c")] })),
        (
            "built-in ones",
            json!({ "tools": [{ "type": "local_shell" }, { "type": "shell" }, { "type": "apply_patch" }] }),
        ),
        (
            "web search",
            json!({ "tools": [{ "type": "web_search", "external_web_access": true, "search_context_size": "low", "filters": { "allowed_domains": ["a.example"] }, "user_location": { "type": "approximate", "city": "Oslo" } }] }),
        ),
        ("web search beside others", json!({ "tools": [function("run"), { "type": "web_search" }] })),
        (
            "tools that only OpenAI runs, beside another",
            json!({ "tools": [function("run"), { "type": "file_search", "vector_store_ids": ["v"] }, { "type": "code_interpreter", "container": { "type": "auto" } }] }),
        ),
        ("tools that only OpenAI runs, alone", json!({ "tools": [{ "type": "image_generation" }] })),
        ("a computer", json!({ "tools": [{ "type": "computer" }] })),
        ("any call", json!({ "tools": [function("run")], "tool_choice": "required", "parallel_tool_calls": false })),
        ("no call", json!({ "tools": [function("run")], "tool_choice": "none", "parallel_tool_calls": false })),
        ("one call at a time", json!({ "tools": [function("run")], "parallel_tool_calls": false })),
        (
            "this call, thinking",
            json!({ "tools": [function("run")], "tool_choice": { "type": "function", "name": "run" }, "reasoning": { "effort": "high" } }),
        ),
        (
            "one of these",
            json!({ "tools": [function("run"), function("walk")], "tool_choice": { "type": "allowed_tools", "mode": "required", "tools": [{ "type": "function", "name": "walk" }] } }),
        ),
        (
            "a tool that is not there",
            json!({ "tools": [function("run")], "tool_choice": { "type": "function", "name": "fly" } }),
        ),
        ("choice without tools", json!({ "tools": [], "tool_choice": "auto" })),
    ]
}

fn content_of_messages() -> Vec<Case> {
    let block = |block: Value| json!({ "messages": [{ "role": "user", "content": [block] }] });
    vec![
        ("plain text", json!({})),
        (
            "system",
            json!({ "system": [{ "type": "text", "text": "x-anthropic-billing-header: cc_version=2;" }, { "type": "text", "text": "A.", "cache_control": { "type": "ephemeral" } }, { "type": "text", "text": "B." }] }),
        ),
        (
            "image",
            block(
                json!({ "type": "image", "source": { "type": "base64", "media_type": "image/png", "data": &PNG[22..] } }),
            ),
        ),
        (
            "image at an address",
            block(json!({ "type": "image", "source": { "type": "url", "url": "https://a.example/b.png" } })),
        ),
        ("image by id", block(json!({ "type": "image", "source": { "type": "file", "file_id": "f" } }))),
        (
            "PDF",
            block(
                json!({ "type": "document", "title": "a.pdf", "source": { "type": "base64", "media_type": "application/pdf", "data": "JVBERi0=" } }),
            ),
        ),
        (
            "PDF without a name",
            block(
                json!({ "type": "document", "source": { "type": "base64", "media_type": "application/pdf", "data": "JVBERi0=" } }),
            ),
        ),
        (
            "PDF at an address",
            block(json!({ "type": "document", "source": { "type": "url", "url": "https://a.example/b.pdf" } })),
        ),
        (
            "text document",
            block(
                json!({ "type": "document", "title": "notes", "source": { "type": "text", "media_type": "text/plain", "data": "hello" }, "citations": { "enabled": true } }),
            ),
        ),
    ]
}

fn tools_of_messages() -> Vec<Case> {
    let tool = json!({ "name": "run", "description": "Does it.", "input_schema": { "$schema": "x", "type": "object" }, "defer_loading": true });
    vec![
        (
            "calls and results",
            json!({ "messages": [user("go"), { "role": "assistant", "content": [{ "type": "text", "text": "Doing." }, { "type": "tool_use", "id": "t1", "name": "run", "input": { "a": 1 }, "caller": { "type": "direct" } }, { "type": "tool_use", "id": "t2", "name": "run", "input": {} }] }, { "role": "user", "content": [{ "type": "tool_result", "tool_use_id": "t2", "is_error": true, "content": [{ "type": "text", "text": "no" }, { "type": "text", "text": "way" }] }, { "type": "tool_result", "tool_use_id": "t1" }, { "type": "text", "text": "go on" }] }], "tools": [tool] }),
        ),
        (
            "loaded tools",
            json!({ "messages": [user("go"), { "role": "assistant", "content": [{ "type": "tool_use", "id": "t1", "name": "ToolSearch", "input": { "q": "x" } }] }, { "role": "user", "content": [{ "type": "tool_result", "tool_use_id": "t1", "content": [{ "type": "tool_reference", "tool_name": "run" }] }, { "type": "text", "text": "Tool loaded." }] }], "tools": [tool] }),
        ),
        ("last turn of the model", json!({ "messages": [user("go"), { "role": "assistant", "content": "{" }] })),
        (
            "tools",
            json!({ "tools": [tool, { "name": "strict", "strict": true, "input_schema": { "type": "object", "properties": { "a": { "type": "string" } }, "required": ["a"], "additionalProperties": false } }, { "name": "loose", "strict": true, "input_schema": { "type": "object", "properties": { "a": { "type": "string" } } } }, tool] }),
        ),
        ("any call", json!({ "tools": [tool], "tool_choice": { "type": "any", "disable_parallel_tool_use": true } })),
        ("this call", json!({ "tools": [tool], "tool_choice": { "type": "tool", "name": "run" } })),
        ("no call", json!({ "tools": [tool], "tool_choice": { "type": "none" } })),
        (
            "web search",
            json!({ "tools": [{ "type": "web_search_20250305", "name": "web_search", "max_uses": 8, "allowed_domains": ["a.example"], "user_location": { "type": "approximate", "city": "Oslo" } }], "tool_choice": { "type": "tool", "name": "web_search" }, "thinking": { "type": "disabled" }, "temperature": 1 }),
        ),
    ]
}

fn settings_of_messages() -> Vec<Case> {
    let mut cases = vec![
        (
            "schema of the answer",
            json!({ "output_config": { "format": { "type": "json_schema", "schema": { "type": "object", "properties": { "a": { "type": "string" } }, "required": ["a"], "additionalProperties": false } } } }),
        ),
        (
            "who asks",
            json!({ "metadata": { "user_id": "{\"device_id\":\"d\",\"account_uuid\":\"\",\"session_id\":\"00000000-0000-4000-8000-000000000001\"}" } }),
        ),
        ("sampling and stop texts", json!({ "temperature": 0.5, "top_p": 0.9, "top_k": 4, "stop_sequences": ["END"] })),
        (
            "thinking, not shown",
            json!({ "thinking": { "type": "adaptive", "display": "omitted" }, "output_config": { "effort": "medium" } }),
        ),
        ("no thinking", json!({ "thinking": { "type": "disabled" } })),
        (
            "what only tunes",
            json!({ "service_tier": "auto", "context_management": { "edits": [{ "type": "clear_thinking_20251015", "keep": "all" }] } }),
        ),
        ("MCP servers", json!({ "mcp_servers": [{ "type": "url", "url": "https://a.example", "name": "a" }] })),
        ("member nobody knows", json!({ "odd": 1 })),
    ];
    for effort in ["low", "high", "xhigh", "max"] {
        cases.push(("effort", json!({ "thinking": { "type": "adaptive" }, "output_config": { "effort": effort } })));
    }
    cases
}

#[test]
fn requests_of_responses_become_requests_of_messages() {
    insta::assert_snapshot!("responses_content", table(Translation::ResponsesToMessages, content_of_responses()));
    insta::assert_snapshot!("responses_history", table(Translation::ResponsesToMessages, history_of_responses()));
    insta::assert_snapshot!("responses_settings", table(Translation::ResponsesToMessages, settings_of_responses()));
    insta::assert_snapshot!("responses_tools", table(Translation::ResponsesToMessages, tools_of_responses()));
}

#[test]
fn content_of_messages_become_requests_of_responses() {
    insta::assert_snapshot!("messages_content", table(Translation::MessagesToResponses, content_of_messages()));
    insta::assert_snapshot!("messages_tools", table(Translation::MessagesToResponses, tools_of_messages()));
    insta::assert_snapshot!("messages_settings", table(Translation::MessagesToResponses, settings_of_messages()));
}

#[test]
fn a_stream_of_claude_becomes_a_stream_of_responses() {
    let tools = json!([function("run"), { "type": "custom", "name": "patch" }]);
    let blocks = [
        json!({ "type": "text", "text": "Hello" }),
        json!({ "type": "text", "text": "again" }),
        json!({ "type": "tool_use", "id": "toolu_1", "name": "run", "input": { "a": "b" } }),
        json!({ "type": "tool_use", "id": "toolu_2", "name": "patch", "input": { "input": "x\n" } }),
        json!({ "type": "text", "text": "bye" }),
    ];
    let stream = wire(&claude(&blocks, "tool_use"));
    let (out, ..) = piped(Translation::ResponsesToMessages, [stream.as_bytes()], &offering(&tools));
    insta::assert_snapshot!("claude_stream", String::from_utf8(out).unwrap());
}

#[test]
fn a_stream_of_gpt_becomes_a_stream_of_messages() {
    let items = [message("Hello"), function_call("call_1", "run", "{\"a\":\"b\"}")];
    let stream = wire(&gpt(&items, "completed"));
    let (out, ..) = piped(Translation::MessagesToResponses, [stream.as_bytes()], &plain());
    insta::assert_snapshot!("gpt_stream", String::from_utf8(out).unwrap());
}
