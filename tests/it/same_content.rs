//! A stream and a whole answer have the same content.

use serde_json::{Value, json};

use crate::support::TestApp;
use crate::support::ask::{chat, messages, responses, with};
use crate::support::said::{Read, said_in_chat, said_in_messages, said_in_responses};

const SONNET: &str = "claude-sonnet-4-6";
/// A model that the gateway offers in Chat Completions and in Responses.
const GPT: &str = "gpt-5.5-2026-04-23";

fn weather() -> Value {
    json!({ "type": "object", "properties": { "city": { "type": "string" }, "days": { "type": "integer" } },
        "required": ["city", "days"], "additionalProperties": false })
}

#[actix::test]
async fn a_stream_says_what_the_whole_answer_says() {
    let app = TestApp::with_accounts(&["ada"]).await;
    let ask_tool = json!([{ "role": "user", "content": "Use the tool forecast for Oslo." }]);
    let function = json!({ "name": "forecast", "parameters": weather() });
    let chat_tool = json!({ "messages": ask_tool, "tools": [{ "type": "function", "function": function }] });
    let thinks = json!({ "max_tokens": 3_000, "thinking": { "type": "enabled", "budget_tokens": 1_024 } });
    let cases: Vec<(&str, Value, Read)> = vec![
        ("/v1/messages", with(&messages(SONNET), &thinks), said_in_messages),
        (
            "/v1/messages",
            with(
                &messages(SONNET),
                &json!({ "messages": ask_tool, "tools": [{ "name": "forecast", "input_schema": weather() }] }),
            ),
            said_in_messages,
        ),
        ("/v1/chat/completions", chat(GPT), said_in_chat),
        ("/v1/chat/completions", with(&chat(GPT), &chat_tool), said_in_chat),
        ("/v1/chat/completions", chat(SONNET), said_in_chat),
        ("/v1/chat/completions", with(&chat(SONNET), &json!({ "reasoning_effort": "high" })), said_in_chat),
        ("/v1/responses", with(&responses(GPT), &json!({ "reasoning": { "summary": "auto" } })), said_in_responses),
        (
            "/v1/responses",
            with(
                &responses(GPT),
                &json!({ "input": ask_tool,
                "tools": [{ "type": "function", "name": "forecast", "strict": true, "parameters": weather() }] }),
            ),
            said_in_responses,
        ),
    ];
    for (path, body, read) in cases {
        let mut stream = with(&body, &json!({ "stream": true }));
        if path == "/v1/chat/completions" {
            stream["stream_options"] = json!({ "include_usage": true });
        }
        let (whole, streamed) = (app.ask(path, &body).await, app.ask(path, &stream).await);
        assert_eq!(
            (whole.status, streamed.status),
            (200, 200),
            "{path} {}: {} {}",
            body,
            whole.text(),
            streamed.text()
        );
        assert!(streamed.complete && whole.complete);
        let (whole, streamed) = (read(&whole, false), read(&streamed, true));
        assert_eq!(whole, streamed, "{path} {body}");
        assert!(!whole.text.is_empty() && whole.output_tokens > 0 && whole.input_tokens > 0, "{path} {whole:?}");
        assert_eq!(body.get("tools").is_some(), whole.calls.len() == 1, "{path} {whole:?}");
    }
}
