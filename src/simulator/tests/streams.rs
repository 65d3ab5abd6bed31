use serde_json::{Value, json};

use super::{ADA, CHAT, Got, MESSAGES, RESPONSES, Rig, and, message};

fn read_file() -> Value {
    json!({ "type": "object", "properties": { "file_path": { "type": "string" } }, "required": ["file_path"] })
}

fn with_tool(text: &str) -> Value {
    and(&message(text), &json!({ "tools": [{ "name": "Read", "input_schema": read_file() }] }))
}

/// Puts a Messages stream together again, checking its grammar on the way.
fn assembled_message(got: &Got) -> Value {
    assert_eq!(got.content_type, "text/event-stream; charset=utf-8");
    let mut events = got.events();
    assert_eq!(events.iter().filter(|event| event["type"] == "ping").count(), 1);
    events.retain(|event| event["type"] != "ping");
    assert_eq!(events.pop().unwrap(), json!({ "type": "message_stop" }));
    let end = events.pop().unwrap();
    assert_eq!(end["type"], "message_delta");
    let mut message = events.remove(0)["message"].clone();
    assert_eq!((&message["content"], &message["stop_reason"]), (&json!([]), &Value::Null));
    let mut json = String::new();
    for event in events {
        let blocks = message["content"].as_array_mut().unwrap();
        match event["type"].as_str().unwrap() {
            "content_block_start" => {
                assert_eq!(event["index"], blocks.len());
                blocks.push(event["content_block"].clone());
                json.clear();
            }
            "content_block_delta" => {
                assert_eq!(event["index"], blocks.len() - 1);
                let block = blocks.last_mut().unwrap();
                for key in ["text", "thinking", "signature"] {
                    if let Some(piece) = event["delta"][key].as_str() {
                        block[key] = json!(block[key].as_str().unwrap().to_owned() + piece);
                    }
                }
                json += event["delta"]["partial_json"].as_str().unwrap_or_default();
            }
            "content_block_stop" if !json.is_empty() => {
                blocks.last_mut().unwrap()["input"] = serde_json::from_str(&json).unwrap();
            }
            other => assert_eq!(other, "content_block_stop"),
        }
    }
    message["stop_reason"] = end["delta"]["stop_reason"].clone();
    message["stop_sequence"] = end["delta"]["stop_sequence"].clone();
    for member in ["output_tokens", "output_tokens_details"] {
        message["usage"][member] = end["usage"][member].clone();
    }
    message
}

#[actix::test]
async fn messages_say_the_same_streamed_and_whole() {
    let rig = Rig::new().await;
    let thinking = json!({ "thinking": { "type": "adaptive" }, "max_tokens": 2_000 });
    let cut = json!({ "max_tokens": 3, "stop_sequences": ["zebra"] });
    let marked = json!([{ "type": "text", "text": "Be brief.", "cache_control": { "type": "ephemeral" } }]);
    let cases = [
        (message("hello"), "end_turn"),
        (and(&message("hello"), &thinking), "end_turn"),
        (and(&message("hello"), &cut), "max_tokens"),
        (and(&message("hello"), &json!({ "stop_sequences": ["said"] })), "stop_sequence"),
        (and(&message("hello"), &json!({ "system": marked })), "end_turn"),
        (with_tool("use a tool, please"), "tool_use"),
        (and(&with_tool("hello"), &json!({ "tool_choice": { "type": "any" } })), "tool_use"),
    ];
    for (body, stop_reason) in cases {
        let whole = rig.ask_as_ada(MESSAGES, &body).await.json();
        let streamed = rig.ask_as_ada(MESSAGES, &and(&body, &json!({ "stream": true }))).await;
        assert_eq!(assembled_message(&streamed), whole, "{body}");
        assert_eq!(whole["stop_reason"], stop_reason, "{whole}");
    }
}

#[actix::test]
async fn a_text_names_the_model_and_quotes_the_user() {
    let rig = Rig::new().await;
    let got = rig.ask_as_ada(MESSAGES, &message("What is a heron?")).await.json();
    let text = got["content"][0]["text"].as_str().unwrap();
    assert!(text.contains("claude-sonnet-4-6") && text.contains("What is a heron?"), "{text}");
    let got = rig.ask_as_ada(MESSAGES, &with_tool("What is a heron?")).await.json();
    assert_eq!((&got["stop_reason"], got["content"].as_array().unwrap().len()), (&json!("end_turn"), 1));
}

#[actix::test]
async fn a_claude_conversation_goes_on_after_thinking_and_a_tool() {
    let rig = Rig::new().await;
    let held = rig.mint(ADA).await;
    let manual = json!({ "thinking": { "type": "enabled", "budget_tokens": 1024 }, "max_tokens": 2_000 });
    let mut body = and(&with_tool("read the file"), &manual);
    let first = rig.ask(MESSAGES, &held, &body).await.json();
    let kinds: Vec<_> =
        first["content"].as_array().unwrap().iter().map(|block| block["type"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["thinking", "text", "tool_use"]);
    assert_eq!(first["content"][2]["input"], json!({ "file_path": "/tmp/duopool-demo.txt" }));
    let id = &first["content"][2]["id"];
    let result = json!([{ "type": "tool_result", "tool_use_id": id, "content": "forty-two lines" }]);
    let messages = body["messages"].as_array_mut().unwrap();
    messages.push(json!({ "role": "assistant", "content": first["content"] }));
    messages.push(json!({ "role": "user", "content": result }));
    let second = rig.ask(MESSAGES, &held, &body).await.json();
    assert_eq!(second["stop_reason"], "end_turn");
    assert!(second["content"][1]["text"].as_str().unwrap().contains("forty-two lines"), "{second}");
    body["messages"][1]["content"][0]["signature"] = json!("EqQBforeign");
    let got = rig.ask(MESSAGES, &held, &body).await;
    let told = got.json()["error"]["message"].as_str().unwrap().to_owned();
    assert_eq!((got.status, told.as_str()), (400, "messages.1.content.0: Invalid `signature` in `thinking` block"));
}

/// Claude Code asks a model to go on in its user's place where a stream broke off.
#[actix::test]
async fn a_prompt_that_names_several_tools_has_them_called_one_after_the_other() {
    let rig = Rig::new().await;
    let held = rig.mint(ADA).await;
    let asked = "Use the tool Write, then the tool Read, then the tool Write";
    let resume = "Your response above was cut off mid-stream. Resume directly from where it stops";
    let reminder = "<system-reminder>Be tidy.</system-reminder>";
    let tools = ["Read", "Write"].map(|name| json!({ "name": name, "input_schema": read_file() }));
    let mut body = and(&message(asked), &json!({ "tools": tools }));
    for wanted in ["Write", "Read", "Write", "text"] {
        let got = rig.ask(MESSAGES, &held, &body).await.json();
        let last = got["content"].as_array().unwrap().last().unwrap().clone();
        assert_eq!(last["name"].as_str().unwrap_or("text"), wanted, "{got}");
        let result = json!([{ "type": "tool_result", "tool_use_id": last["id"], "content": "done" },
            { "type": "text", "text": reminder }]);
        let messages = body["messages"].as_array_mut().unwrap();
        messages.push(json!({ "role": "assistant", "content": got["content"] }));
        messages.push(json!({ "role": "user", "content": result }));
        messages.push(json!({ "role": "user", "content": resume }));
    }
    let tools = ["Read", "Write"].map(|name| json!({ "type": "function", "name": name, "parameters": read_file() }));
    let mut body = json!({ "model": "gpt-5.3-codex", "input": [{ "role": "user", "content": asked }], "tools": tools });
    for wanted in ["Write", "Read", "Write", "text"] {
        let got = rig.ask(RESPONSES, &held, &body).await.json();
        let last = got["output"].as_array().unwrap().last().unwrap().clone();
        assert_eq!(last["name"].as_str().unwrap_or("text"), wanted, "{got}");
        let input = body["input"].as_array_mut().unwrap();
        input.extend(got["output"].as_array().unwrap().iter().cloned());
        input.push(json!({ "type": "function_call_output", "call_id": last["call_id"], "output": "done" }));
        for said in [reminder, resume] {
            input.push(json!({ "role": "user", "content": [{ "type": "input_text", "text": said }] }));
        }
    }
}

#[actix::test]
async fn the_newest_models_leave_the_text_of_their_thinking_out() {
    let rig = Rig::new().await;
    let thinking = json!({ "model": "claude-opus-5", "thinking": { "type": "adaptive" } });
    let body = and(&message("hello"), &thinking);
    let got = rig.ask_as_ada(MESSAGES, &body).await.json();
    assert_eq!(got["content"][0]["thinking"], "");
    let mut next = body.clone();
    let messages = next["messages"].as_array_mut().unwrap();
    messages.push(json!({ "role": "assistant", "content": got["content"] }));
    messages.push(json!({ "role": "user", "content": "go on" }));
    assert_eq!(rig.ask_as_ada(MESSAGES, &next).await.status, 200);
}

/// Checks the grammar of a Responses stream and returns the final response.
fn final_response(got: &Got) -> Value {
    let events = got.events();
    let mut items = Vec::new();
    let mut text = String::new();
    for (index, event) in events.iter().enumerate() {
        assert_eq!(event["sequence_number"], index);
        let kind = event["type"].as_str().unwrap();
        let last_word = kind.rsplit('.').next().unwrap();
        match kind {
            "response.output_item.added" => {
                assert_eq!(event["output_index"], items.len());
                text.clear();
            }
            "response.output_item.done" => items.push(event["item"].clone()),
            _ if last_word == "delta" => text += event["delta"].as_str().unwrap(),
            _ if kind.ends_with("part.done") || last_word != "done" => {}
            _ => {
                let whole = ["text", "arguments", "input"].iter().find_map(|key| event[key].as_str()).unwrap();
                assert_eq!(whole, text);
            }
        }
    }
    assert_eq!(events[0]["type"], "response.created");
    assert_eq!(events[1]["type"], "response.in_progress");
    assert_eq!((&events[0]["response"]["output"], &events[0]["response"]["usage"]), (&json!([]), &Value::Null));
    let last = &events.last().unwrap()["response"];
    assert_eq!(events.last().unwrap()["type"], format!("response.{}", last["status"].as_str().unwrap()));
    assert_eq!(last["output"], json!(items));
    last.clone()
}

#[actix::test]
async fn responses_say_the_same_streamed_and_whole() {
    let rig = Rig::new().await;
    let base = json!({ "model": "gpt-5.6-sol", "input": "hello" });
    let reasoning =
        json!({ "reasoning": { "effort": "high", "summary": "auto" }, "include": ["reasoning.encrypted_content"] });
    let function = json!({ "tools": [{ "type": "function", "name": "read", "parameters": read_file() }] });
    let custom = json!({ "tools": [{ "type": "custom", "name": "apply_patch" }], "tool_choice": "required" });
    let nested = json!({ "type": "namespace", "name": "functions", "tools": [{ "type": "custom", "name": "exec" }] });
    let nested = json!([
        { "type": "additional_tools", "role": "developer", "tools": [nested] },
        { "type": "message", "role": "user", "content": [{ "type": "input_text", "text": "run it" }] },
    ]);
    let cases = [
        (base.clone(), vec!["message"]),
        (and(&base, &reasoning), vec!["reasoning", "message"]),
        (and(&base, &json!({ "max_output_tokens": 16, "input": "x".repeat(100) })), vec!["message"]),
        (and(&and(&base, &function), &json!({ "input": "read a file" })), vec!["message", "function_call"]),
        (and(&base, &custom), vec!["custom_tool_call"]),
        (and(&base, &json!({ "input": nested })), vec!["message", "custom_tool_call"]),
    ];
    for (body, kinds) in cases {
        let whole = rig.ask_as_ada(RESPONSES, &body).await.json();
        let streamed = rig.ask_as_ada(RESPONSES, &and(&body, &json!({ "stream": true }))).await;
        assert_eq!(final_response(&streamed), whole, "{body}");
        let found: Vec<_> =
            whole["output"].as_array().unwrap().iter().map(|item| item["type"].as_str().unwrap()).collect();
        assert_eq!(found, kinds, "{whole}");
    }
}

#[actix::test]
async fn a_gpt_conversation_goes_on_with_its_own_reasoning_and_tool_only() {
    let rig = Rig::new().await;
    let held = rig.mint(ADA).await;
    let mut body = json!({
        "model": "gpt-5.3-codex", "store": false, "input": [{ "role": "user", "content": "run ls" }],
        "reasoning": { "summary": "auto" }, "include": ["reasoning.encrypted_content"],
        "tools": [{ "type": "function", "name": "exec_command", "parameters": {
            "type": "object", "properties": { "cmd": { "type": "string" } }, "required": ["cmd"] } }],
    });
    let first = rig.ask(RESPONSES, &held, &body).await.json();
    let call = first["output"][2].clone();
    assert_eq!(call["arguments"], r#"{"cmd":"echo 'hello from the simulator'"}"#);
    let input = body["input"].as_array_mut().unwrap();
    input.extend(first["output"].as_array().unwrap().iter().cloned());
    input.push(json!({ "type": "function_call_output", "call_id": call["call_id"], "output": "hello" }));
    let second = rig.ask(RESPONSES, &held, &body).await.json();
    let text = second["output"][1]["content"][0]["text"].as_str().unwrap();
    assert!(text.contains("The tool answered: \"hello\""), "{text}");
    body["input"][1]["encrypted_content"] = json!("gAAAAforeign");
    let got = rig.ask(RESPONSES, &held, &body).await;
    assert_eq!((got.status, &got.json()["error"]["code"]), (400, &json!("invalid_encrypted_content")));
}

/// Puts a chat stream together again, checking its grammar on the way; the usage comes second.
fn assembled_completion(got: &Got, with_usage: bool) -> (Value, Value) {
    let mut chunks = got.events();
    assert_eq!(chunks.pop().unwrap(), "[DONE]");
    let usage = if with_usage { chunks.pop().unwrap() } else { json!({ "choices": [] }) };
    assert_eq!(usage["choices"], json!([]));
    let last = chunks.pop().unwrap();
    assert_eq!(last["choices"][0]["delta"], json!({}));
    assert_eq!(chunks[0]["choices"][0]["delta"]["role"], "assistant");
    let mut message = json!({ "content": "" });
    for chunk in &chunks {
        assert_eq!(chunk["id"], last["id"]);
        assert_eq!(chunk.get("usage").is_some(), with_usage);
        let delta = &chunk["choices"][0]["delta"];
        message["content"] =
            json!(message["content"].as_str().unwrap().to_owned() + delta["content"].as_str().unwrap_or_default());
        let Some(call) = delta.get("tool_calls").map(|calls| &calls[0]) else { continue };
        if call.get("id").is_some() {
            message["tool_calls"] = json!([{ "id": call["id"], "type": "function", "function": call["function"] }]);
        } else {
            let arguments = &mut message["tool_calls"][0]["function"]["arguments"];
            *arguments =
                json!(arguments.as_str().unwrap().to_owned() + call["function"]["arguments"].as_str().unwrap());
        }
    }
    message["finish_reason"] = last["choices"][0]["finish_reason"].clone();
    (message, usage["usage"].clone())
}

#[actix::test]
async fn chat_completions_say_the_same_streamed_and_whole() {
    let rig = Rig::new().await;
    let base = json!({ "model": "gpt-5.1", "messages": [{ "role": "user", "content": "hello" }] });
    let tool = json!({
        "messages": [{ "role": "user", "content": "use the tool" }],
        "tools": [{ "type": "function", "function": { "name": "read", "parameters": read_file() } }],
    });
    let cases = [
        (base.clone(), "stop"),
        (and(&base, &json!({ "max_completion_tokens": 2 })), "length"),
        (and(&base, &tool), "tool_calls"),
    ];
    for (body, finish_reason) in cases {
        let whole = rig.ask_as_ada(CHAT, &body).await.json();
        for with_usage in [false, true] {
            let options = json!({ "stream": true, "stream_options": { "include_usage": with_usage } });
            let streamed = rig.ask_as_ada(CHAT, &and(&body, &options)).await;
            let (message, usage) = assembled_completion(&streamed, with_usage);
            let wanted = &whole["choices"][0];
            assert_eq!(message["content"], wanted["message"]["content"]);
            assert_eq!(message.get("tool_calls"), wanted["message"].get("tool_calls"));
            assert_eq!(
                (&message["finish_reason"], &wanted["finish_reason"]),
                (&json!(finish_reason), &json!(finish_reason))
            );
            assert_eq!(usage, if with_usage { whole["usage"].clone() } else { Value::Null });
        }
    }
}

#[actix::test]
async fn structured_answers_satisfy_their_schema() {
    let rig = Rig::new().await;
    let schema = json!({ "type": "object", "properties": { "n": { "type": "integer" } }, "required": ["n"] });
    let wanted = json!({ "n": 1 }).to_string();
    let format = json!({ "output_config": { "format": { "type": "json_schema", "schema": schema } } });
    let got = rig.ask_as_ada(MESSAGES, &and(&message("hi"), &format)).await.json();
    assert_eq!(got["content"][0]["text"], wanted);
    let format = json!({ "type": "json_schema", "name": "r", "schema": schema });
    let got = rig
        .ask_as_ada(RESPONSES, &json!({ "model": "gpt-5", "input": "hi", "text": { "format": format } }))
        .await
        .json();
    assert_eq!(got["output"][0]["content"][0]["text"], wanted);
    let format = json!({ "type": "json_schema", "json_schema": { "name": "r", "schema": schema } });
    let chat =
        json!({ "model": "gpt-5", "messages": [{ "role": "user", "content": "hi" }], "response_format": format });
    assert_eq!(rig.ask_as_ada(CHAT, &chat).await.json()["choices"][0]["message"]["content"], wanted);
}

#[actix::test]
async fn a_benchmark_chooses_the_number_of_deltas() {
    let rig = Rig::with(|settings| settings.instance.text_deltas = Some(200)).await;
    let got = rig.ask_as_ada(MESSAGES, &and(&message("hi"), &json!({ "stream": true, "max_tokens": 5_000 }))).await;
    assert_eq!(got.events().iter().filter(|event| event["type"] == "content_block_delta").count(), 200);
}
