use serde_json::{Value, json};

use super::{ADA, CHAT, MESSAGES, RESPONSES, Rig, and, message, read};
use crate::simulator::mind;
use crate::simulator::openai::ENCRYPTED_PREFIX;

fn turns(messages: &Value) -> Value {
    and(&message("x"), &json!({ "messages": messages }))
}

#[actix::test]
async fn anthropic_refuses_what_it_does_not_take() {
    let rig = Rig::new().await;
    let held = rig.mint(ADA).await;
    let call = json!({ "type": "tool_use", "id": "toolu_1", "name": "Read", "input": {} });
    let result = json!({ "type": "tool_result", "tool_use_id": "toolu_1", "content": "ok" });
    let user = |content: &Value| json!({ "role": "user", "content": content });
    let assistant = |content: &Value| json!({ "role": "assistant", "content": content });
    let opus = |more: &Value| and(&and(&message("x"), &json!({ "model": "claude-opus-4-7" })), more);
    let cases = [
        (json!({ "model": "claude-opus-5", "messages": [] }), "max_tokens: Field required"),
        (and(&message("x"), &json!({ "client_metadata": {} })), "client_metadata: Extra inputs are not permitted"),
        (
            and(&message("x"), &json!({ "context_management": {} })),
            "context_management: Extra inputs are not permitted",
        ),
        (and(&message("x"), &json!({ "max_tokens": 128_001 })), "max_tokens: 128001 > 128000, which is the maximum"),
        (turns(&json!([])), "messages: at least one message is required"),
        (
            turns(&json!([assistant(&json!("hi")), user(&json!("hi"))])),
            "messages: first message must use the \"user\" role",
        ),
        (
            turns(&json!([user(&json!([{ "type": "text", "text": "" }]))])),
            "messages: text content blocks must be non-empty",
        ),
        (
            turns(&json!([user(&json!([{ "type": "text", "text": " " }]))])),
            "messages: text content blocks must contain non-whitespace",
        ),
        (
            turns(&json!([user(&json!([{ "type": "input_text", "text": "x" }]))])),
            "messages.0.content.0: Input tag 'input_text' found",
        ),
        (
            turns(&json!([user(&json!("x")), assistant(&json!([call])), user(&json!("y"))])),
            "messages.1: `tool_use` ids were found without `tool_result`",
        ),
        (
            turns(&json!([
                user(&json!("x")),
                assistant(&json!([call])),
                user(&json!([{ "type": "text", "text": "y" }, result]))
            ])),
            "messages.1: `tool_use` ids were found without",
        ),
        (turns(&json!([user(&json!([result]))])), "messages.0.content.0: unexpected `tool_use_id` found"),
        (
            turns(&json!([user(&json!("x")), assistant(&json!("y"))])),
            "This model does not support assistant message prefill.",
        ),
        (
            opus(&json!({ "thinking": { "type": "enabled", "budget_tokens": 2_000 } })),
            "\"thinking.type.enabled\" is not supported for this model.",
        ),
        (
            and(&message("x"), &json!({ "output_config": { "effort": "xhigh" } })),
            "This model does not support effort level 'xhigh'. Supported levels: high, low, max, medium.",
        ),
        (opus(&json!({ "temperature": 0.2 })), "`temperature` is deprecated for this model."),
        (
            and(&message("x"), &json!({ "thinking": { "type": "enabled", "budget_tokens": 1_024 } })),
            "`max_tokens` must be greater than",
        ),
        (
            and(&message("x"), &json!({ "tool_choice": { "type": "auto" } })),
            "tool_choice: tool_choice may only be specified while",
        ),
        (
            and(&message("x"), &json!({ "tools": [{ "name": "a.b", "input_schema": { "type": "object" } }] })),
            "tools.0.custom.name: String should match pattern",
        ),
        (and(&message("x"), &json!({ "tools": [{ "name": "a" }] })), "tools.0.custom.input_schema: Field required"),
    ];
    for (body, told) in cases {
        let got = rig.ask(MESSAGES, &held, &body).await;
        let error = got.json();
        assert_eq!(
            (got.status, &error["type"], &error["error"]["type"]),
            (400, &json!("error"), &json!("invalid_request_error")),
            "{told}: {error}"
        );
        assert!(error["error"]["message"].as_str().unwrap().starts_with(told), "{told}: {error}");
    }
    let unversioned = rig.request(MESSAGES, &held);
    let mut unversioned = unversioned;
    unversioned.headers_mut().remove("anthropic-version");
    let got = read(unversioned, message("x").to_string()).await.json();
    assert_eq!(got["error"]["message"], "anthropic-version: header is required");
    let beta = rig.request(MESSAGES, &held).insert_header(("anthropic-beta", "context-management-2025-06-27"));
    let body = and(&message("x"), &json!({ "context_management": { "edits": [] } }));
    assert_eq!(read(beta, body.to_string()).await.status, 200);
    let beta = rig.request(MESSAGES, &held).insert_header(("anthropic-beta", "context-management-2025-06-27"));
    let body =
        and(&message("x"), &json!({ "context_management": { "edits": [{ "type": "clear_thinking_20251015" }] } }));
    let got = read(beta, body.to_string()).await.json();
    let told = "`clear_thinking_20251015` strategy requires `thinking` to be enabled or adaptive";
    assert_eq!(got["error"]["message"], told);
}

#[actix::test]
async fn openai_refuses_what_responses_do_not_take() {
    let rig = Rig::new().await;
    let held = rig.mint(ADA).await;
    let base = json!({ "model": "gpt-5.4-mini", "input": "x" });
    let sealed = mind::seal(ENCRYPTED_PREFIX, "a thought");
    let item = |item: Value| json!({ "input": [item] });
    let function = |more: Value| json!({ "tools": [and(&json!({ "type": "function", "name": "f" }), &more)] });
    let cases = [
        (json!({ "messages": [] }), "Unknown parameter: 'messages'."),
        (json!({ "input": null }), "Missing required parameter: 'input'."),
        (json!({ "max_output_tokens": 1 }), "Invalid 'max_output_tokens': integer below minimum value."),
        (json!({ "temperature": 0.5 }), "Unsupported parameter: 'temperature' is not supported with this model."),
        (json!({ "previous_response_id": "resp_1" }), "Previous response with id 'resp_1' not found."),
        (json!({ "prompt_cache_key": "k".repeat(65) }), "Invalid 'prompt_cache_key': string too long."),
        (
            item(json!({ "role": "user", "content": [{ "type": "text", "text": "x" }] })),
            "Invalid value: 'text'. Supported values are: 'input_text'",
        ),
        (
            item(json!({ "role": "assistant", "content": [{ "type": "input_text", "text": "x" }] })),
            "Invalid value: 'input_text'. Supported values are: 'output_text'",
        ),
        (
            item(json!({ "type": "function_call", "call_id": "c", "name": "f", "arguments": "{}" })),
            "No tool output found for function call c.",
        ),
        (
            item(json!({ "type": "function_call_output", "call_id": "c", "output": "x" })),
            "No tool call found for function call output with call_id c.",
        ),
        (
            item(json!({ "type": "function_call", "id": "toolu_1", "call_id": "c", "name": "f", "arguments": "{}" })),
            "Invalid 'input[0].id': 'toolu_1'. Expected an ID that begins with 'fc'.",
        ),
        (
            item(json!({ "type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": sealed })),
            "Item 'rs_1' of type 'reasoning' was provided without its required following item.",
        ),
        (item(json!({ "type": "item_reference", "id": "msg_1" })), "Item with id 'msg_1' not found."),
        (function(json!({ "parameters": { "type": "string" } })), "Invalid schema for function 'f': schema must be"),
        (
            function(json!({ "parameters": { "type": "object" } })),
            "Invalid schema for function 'f': In context=(), object schema missing properties.",
        ),
        (
            function(json!({ "parameters": { "type": "object", "properties": {} }, "strict": true })),
            "Invalid schema for function 'f': In context=(), 'additionalProperties'",
        ),
        (function(json!({ "name": "a b" })), "Invalid 'tools[0].name': string does not match pattern."),
        (
            json!({ "tool_choice": { "type": "function", "name": "f" } }),
            "Tool choice 'function' not found in 'tools' parameter.",
        ),
    ];
    for (more, told) in cases {
        let got = rig.ask(RESPONSES, &held, &and(&base, &more)).await;
        let error = got.json();
        assert!(matches!(got.status, 400 | 404), "{told}: {error}");
        assert!(error["error"]["message"].as_str().unwrap().starts_with(told), "{told}: {error}");
    }
}

#[actix::test]
async fn openai_refuses_what_chat_completions_do_not_take() {
    let rig = Rig::new().await;
    let held = rig.mint(ADA).await;
    let user = json!({ "role": "user", "content": "x" });
    let call = json!({ "role": "assistant", "content": null, "tool_calls": [
        { "id": "c", "type": "function", "function": { "name": "f", "arguments": "{}" } }] });
    let base = json!({ "model": "gpt-5.1", "messages": [user] });
    let cases = [
        (json!({ "model": "gpt-5.6-luna" }), "This model is only supported in v1/responses"),
        (json!({ "model": "gpt-5.3-codex" }), "This model is only supported in v1/responses"),
        (
            json!({ "max_tokens": 5 }),
            "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead.",
        ),
        (json!({ "temperature": 0 }), "Unsupported value: 'temperature' does not support 0 with this model."),
        (json!({ "stop": ["x"] }), "Unsupported parameter: 'stop' is not supported with this model."),
        (json!({ "input": "x" }), "Unknown parameter: 'input'."),
        (json!({ "messages": [] }), "Missing required parameter: 'messages'."),
        (
            json!({ "messages": [user, call, user] }),
            "An assistant message with 'tool_calls' must be followed by tool messages",
        ),
        (
            json!({ "messages": [user, { "role": "tool", "tool_call_id": "c", "content": "x" }] }),
            "Invalid parameter: messages with role 'tool' must be",
        ),
        (
            json!({ "messages": [{ "role": "user", "content": [{ "type": "input_text", "text": "x" }] }] }),
            "Invalid value: 'input_text'.",
        ),
        (json!({ "tools": [{ "type": "function", "name": "f" }] }), "Missing required parameter: 'tools[0].function'."),
        (
            json!({ "messages": [{ "role": "user", "content": [{ "type": "input_audio", "input_audio": {} }] }] }),
            "Invalid 'messages[0]'. Content blocks are expected to be either text or image_url type.",
        ),
        (json!({ "tool_choice": "auto" }), "Invalid value for 'tool_choice'"),
    ];
    for (more, told) in cases {
        let got = rig.ask(CHAT, &held, &and(&base, &more)).await;
        let error = got.json();
        assert_eq!((got.status, &error["error"]["type"]), (400, &json!("invalid_request_error")), "{told}: {error}");
        assert!(error["error"]["message"].as_str().unwrap().starts_with(told), "{told}: {error}");
    }
    let answered = json!({ "messages": [user, call, { "role": "tool", "tool_call_id": "c", "content": "done" }] });
    assert_eq!(rig.ask(CHAT, &held, &and(&base, &answered)).await.status, 200);
}
