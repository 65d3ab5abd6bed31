//! Golden tables: what becomes of every kind of request. `INSTA_UPDATE=always` writes them anew.

use super::*;
use crate::protocol::translate::pairs::golden::{Case, row};

const PNG: &str = "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAAB";

fn table(target: &Target<'_>, cases: Vec<Case>) -> String {
    let translation = if target.thinking == Some(Thinking::Effort) { C_TO_R } else { C_TO_A };
    let rows = cases.into_iter().map(|(name, members)| row(translation, &chat(&members), target, (name, &members)));
    rows.collect()
}

fn content() -> Vec<Case> {
    let part = |part: Value| json!({ "messages": [{ "role": "user", "content": [part] }] });
    let file = |file: Value| part(json!({ "type": "file", "file": file }));
    vec![
        ("plain text", json!({})),
        (
            "the system speaks first and later",
            json!({ "messages": [{ "role": "system", "content": "Be brief." }, { "role": "developer", "content": [{ "type": "text", "text": "A." }, { "type": "text", "text": "B." }] }, user("Hi"), { "role": "assistant", "content": "Hello" }, { "role": "developer", "content": "In French." }, user("go")] }),
        ),
        ("only the system speaks", json!({ "messages": [{ "role": "system", "content": "Say hello." }] })),
        (
            "blank texts",
            json!({ "messages": [user("Hi"), { "role": "assistant", "content": "" }, user(" "), user("go")] }),
        ),
        ("the model speaks first", json!({ "messages": [{ "role": "assistant", "content": "Hello" }, user("Hi")] })),
        ("the model speaks last", json!({ "messages": [user("Hi"), { "role": "assistant", "content": "Hel " }] })),
        (
            "refusal in history",
            json!({ "messages": [user("Hi"), { "role": "assistant", "content": null, "refusal": "No." }, user("go")] }),
        ),
        ("names of speakers", json!({ "messages": [{ "role": "user", "name": "ann", "content": "Hi" }] })),
        ("image", part(json!({ "type": "image_url", "image_url": { "url": PNG, "detail": "high" } }))),
        (
            "image at an address",
            part(json!({ "type": "image_url", "image_url": { "url": "https://a.example/b.png" } })),
        ),
        ("PDF", file(json!({ "filename": "a.pdf", "file_data": "data:application/pdf;base64,JVBERi0=" }))),
        ("text file", file(json!({ "filename": "a.txt", "file_data": "data:text/plain;base64,aGVsbG8=" }))),
        (
            "word file",
            file(json!({ "filename": "a.docx", "file_data": "data:application/msword;base64,0M8R4KGxGuE=" })),
        ),
        ("file by id", file(json!({ "file_id": "file-1" }))),
        ("audio", part(json!({ "type": "input_audio", "input_audio": { "data": "x", "format": "wav" } }))),
    ]
}

fn history() -> Vec<Case> {
    let tools = json!([function("run")]);
    vec![
        (
            "calls and results",
            json!({ "messages": [user("go"), { "role": "assistant", "content": "Doing.", "reasoning_content": "hm", "tool_calls": [{ "id": "c1", "type": "function", "function": { "name": "run", "arguments": "{\"a\":1.10}" } }, { "id": "c2", "type": "function", "function": { "name": "run", "arguments": "" } }] }, result("c2", "two"), { "role": "tool", "tool_call_id": "c1", "content": [{ "type": "text", "text": "one" }, { "type": "image_url", "image_url": { "url": PNG } }] }, user("go on")], "tools": tools }),
        ),
        (
            "cut arguments, and none that are an object",
            json!({ "messages": [user("go"), { "role": "assistant", "tool_calls": [{ "id": "c1", "function": { "name": "run", "arguments": "{\"a\":" } }, { "id": "c2", "function": { "name": "run", "arguments": "[1]" } }, { "id": "c3", "function": { "name": "run", "arguments": { "a": 1 } } }] }, result("c1", "x"), result("c2", ""), result("c3", "z")] }),
        ),
        (
            "freeform call",
            json!({ "messages": [user("go"), { "role": "assistant", "content": null, "tool_calls": [{ "id": "c1", "type": "custom", "custom": { "name": "patch", "input": "raw \"text\"" } }] }, result("c1", "ok")], "tools": [{ "type": "custom", "custom": { "name": "patch" } }] }),
        ),
        (
            "older functions",
            json!({ "messages": [user("go"), { "role": "assistant", "content": null, "function_call": { "name": "run", "arguments": "{\"a\":\"b\"}" } }, { "role": "function", "name": "run", "content": "ok" }], "functions": [{ "name": "run", "description": "Does it.", "parameters": { "type": "object", "properties": {} } }], "function_call": "auto" }),
        ),
        (
            "as Cursor sends it",
            json!({ "messages": [user("go"), { "role": "assistant", "content": [{ "type": "text", "text": "Doing." }, { "type": "tool_use", "id": "t1", "name": "run", "input": { "a": "b" } }] }, { "role": "user", "content": [{ "type": "text", "text": "and" }, { "type": "tool_result", "tool_use_id": "t1", "is_error": true, "content": [{ "type": "text", "text": "no" }] }] }], "tools": [{ "name": "run", "description": "Does it.", "input_schema": { "type": "object", "properties": {} } }], "tool_choice": { "type": "auto" } }),
        ),
        (
            "calls of the past where there are no tools any more",
            json!({ "messages": [user("go"), calls(&["c1"]), result("c1", "x"), user("Sum up.")] }),
        ),
    ]
}

fn settings() -> Vec<Case> {
    let schema =
        json!({ "type": "object", "properties": { "t": { "type": "number", "minimum": 1.10 } }, "required": ["t"] });
    let mut cases = vec![
        ("older limit", json!({ "max_tokens": 500 })),
        ("newer limit wins", json!({ "max_completion_tokens": 600, "max_tokens": 500 })),
        ("more than the model has", json!({ "max_tokens": 500_000 })),
        ("sampling", json!({ "temperature": 1.7, "top_p": 0.5 })),
        ("only top_p", json!({ "top_p": 0.5 })),
        ("stop texts", json!({ "stop": ["END", "\n\n"] })),
        ("a stop text", json!({ "stop": "END" })),
        ("effort nobody knows", json!({ "reasoning_effort": "heroic" })),
        ("thinking not to be shown", json!({ "reasoning": { "effort": "high", "exclude": true } })),
        ("thinking and top_p", json!({ "reasoning_effort": "low", "top_p": 0.9, "temperature": 0.1 })),
        (
            "schema of the answer",
            json!({ "response_format": { "type": "json_schema", "json_schema": { "name": "weather", "strict": true, "schema": schema } } }),
        ),
        ("any JSON", json!({ "response_format": { "type": "json_object" } })),
        (
            "who asks",
            json!({ "user": "u-1", "safety_identifier": "s-1", "prompt_cache_key": "k", "metadata": { "a": "b" }, "store": true, "service_tier": "flex" }),
        ),
        (
            "what only tunes",
            json!({ "verbosity": "low", "prediction": { "type": "content", "content": "x" }, "prompt_cache_retention": "24h" }),
        ),
        (
            "tuning that may change the answer",
            json!({ "seed": 7, "presence_penalty": 0.5, "frequency_penalty": 0.5, "logit_bias": { "1": -100 }, "odd": 1 }),
        ),
        ("several choices", json!({ "n": 2 })),
        ("log probabilities", json!({ "logprobs": true, "top_logprobs": 2 })),
        ("spoken answer", json!({ "modalities": ["text", "audio"], "audio": { "voice": "alloy", "format": "mp3" } })),
    ];
    for effort in ["none", "minimal", "low", "medium", "high", "xhigh", "max"] {
        cases.push(("effort", json!({ "reasoning_effort": effort })));
    }
    cases
}

fn tools() -> Vec<Case> {
    let one = json!([function("run")]);
    let grammar = json!({ "type": "grammar", "grammar": { "syntax": "lark", "definition": "start: x" } });
    let this = json!({ "type": "function", "function": { "name": "run" } });
    vec![
        ("function", json!({ "tools": one })),
        ("function without schema", json!({ "tools": [{ "type": "function", "function": { "name": "run" } }] })),
        (
            "function that must be followed",
            json!({ "tools": [{ "type": "function", "function": { "name": "run", "strict": true } }] }),
        ),
        ("two of one name", json!({ "tools": [function("run"), function("run")] })),
        (
            "freeform",
            json!({ "tools": [{ "type": "custom", "custom": { "name": "patch", "description": "Edits.", "format": grammar } }], "tool_choice": { "type": "custom", "custom": { "name": "patch" } } }),
        ),
        ("name with odd characters", json!({ "tools": [function("a.b c"), function("a_b_c")] })),
        ("any call", json!({ "tools": one, "tool_choice": "required", "parallel_tool_calls": false })),
        ("no call", json!({ "tools": one, "tool_choice": "none", "parallel_tool_calls": false })),
        ("one call at a time", json!({ "tools": one, "parallel_tool_calls": false })),
        ("this call, thinking", json!({ "tools": one, "tool_choice": this, "reasoning_effort": "high" })),
        (
            "one of these",
            json!({ "tools": [function("run"), function("walk")], "tool_choice": { "type": "allowed_tools", "allowed_tools": { "mode": "required", "tools": [this] } } }),
        ),
        ("a tool that is not there", json!({ "tools": [function("walk")], "tool_choice": this })),
        ("choice without tools", json!({ "tools": [], "tool_choice": "auto" })),
        ("older functions", json!({ "functions": [{ "name": "run" }], "function_call": { "name": "run" } })),
        (
            "web search",
            json!({ "web_search_options": { "search_context_size": "low", "user_location": { "type": "approximate", "approximate": { "city": "Oslo" } } } }),
        ),
        ("web search beside others", json!({ "tools": one, "web_search_options": {} })),
        (
            "tools that only OpenAI runs, beside another",
            json!({ "tools": [function("run"), { "type": "file_search" }] }),
        ),
        ("tools that only OpenAI runs, alone", json!({ "tools": [{ "type": "image_generation" }] })),
        ("tool nobody knows", json!({ "tools": [{ "type": "hologram" }] })),
    ]
}

#[test]
fn requests_of_chat_completions_become_requests_of_messages() {
    insta::assert_snapshot!("chat_content", table(&CLAUDE, content()));
    insta::assert_snapshot!("chat_history", table(&CLAUDE, history()));
    insta::assert_snapshot!("chat_settings", table(&CLAUDE, settings()));
    insta::assert_snapshot!("chat_settings_older_model", table(&OLD_CLAUDE, settings()));
    insta::assert_snapshot!("chat_tools", table(&CLAUDE, tools()));
}

#[test]
fn requests_of_chat_completions_become_requests_of_responses() {
    let gpt = gpt_target();
    let mut settings = settings();
    settings.extend([
        ("less than the least limit", json!({ "max_tokens": 5 })),
        ("more stop texts than anybody needs", json!({ "stop": vec!["END"; 65] })),
        ("a long name of who asks", json!({ "user": "u".repeat(65) })),
    ]);
    insta::assert_snapshot!("chat_content_gpt", table(&gpt, content()));
    insta::assert_snapshot!("chat_history_gpt", table(&gpt, history()));
    insta::assert_snapshot!("chat_settings_gpt", table(&gpt, settings));
    insta::assert_snapshot!("chat_tools_gpt", table(&gpt, tools()));
}
