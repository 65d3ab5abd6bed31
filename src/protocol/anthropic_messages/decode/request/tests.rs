use serde_json::{Value, json};

use super::*;
use crate::protocol::canonical::{
    CallKind, DocumentSource, Effort, Format, Image, Proof, Settings, ToolChoice, ToolKind,
};

fn decoded<T>(body: &Value, look: impl FnOnce(Decoded<'_>) -> T) -> T {
    look(read_request(body.to_string().as_bytes()).unwrap())
}

/// Decodes a request with one user message and `more`.
fn with<T>(more: &Value, look: impl FnOnce(Decoded<'_>) -> T) -> T {
    let mut body = json!({"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]});
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    decoded(&body, look)
}

fn settings<T>(more: &Value, look: impl FnOnce(Settings<'_>) -> T) -> T {
    with(more, |decoded| look(decoded.conversation.settings))
}

/// Decodes messages, and tells each turn.
fn turns(messages: &Value) -> Vec<String> {
    decoded(&json!({"max_tokens": 9, "messages": messages}), |decoded| {
        decoded.conversation.turns.iter().map(|turn| format!("{:?}: {:?}", turn.role, turn.blocks)).collect()
    })
}

fn refused(body: &Value) -> Refusal {
    read_request(body.to_string().as_bytes()).unwrap_err()
}

fn refused_content(role: &str, content: &Value) -> Refusal {
    refused(&json!({"max_tokens": 9, "messages": [{"role": role, "content": content}]}))
}

fn dropped(more: &Value) -> Vec<String> {
    with(more, |decoded| decoded.dropped.paths().to_vec())
}

#[test]
fn every_recorded_request_is_understood_to_the_last_member() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/clients");
    let mut read = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "json") {
            continue;
        }
        let fixture: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        let route = fixture["path"].as_str().unwrap();
        if !route.ends_with("/messages") {
            continue;
        }
        read += 1;
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        decoded(&fixture["body"], |decoded| {
            assert_eq!(decoded.dropped.paths(), <[String; 0]>::default(), "{name}");
            let messages = fixture["body"]["messages"].as_array().unwrap().len();
            let system = usize::from(!fixture["body"]["system"].is_null());
            assert_eq!(decoded.conversation.turns.len(), messages + system, "{name}");
            let tools = fixture["body"]["tools"].as_array().map_or(0, Vec::len);
            assert_eq!(decoded.conversation.tools.len(), tools, "{name}");
        });
    }
    assert!(read >= 13, "{read}");
}

#[test]
fn claude_codes_system_texts_keep_their_place_and_its_billing_header_goes() {
    let body = json!({"max_tokens": 9,
        "system": [{"type": "text", "text": "x-anthropic-billing-header: cc_version=2"},
            {"type": "text", "text": "You are", "cache_control": {"type": "ephemeral"}}],
        "messages": [{"role": "user", "content": "go"},
            {"role": "system", "content": "# Environment", "output_config": {"effort": "medium"}},
            {"role": "system", "content": [{"type": "text", "text": "tokens left", "cache_control": {"type": "ephemeral"}}]}]});
    decoded(&body, |decoded| {
        let turns: Vec<String> =
            decoded.conversation.turns.iter().map(|turn| format!("{:?}: {:?}", turn.role, turn.blocks)).collect();
        insta::assert_snapshot!(turns.join("\n"), @r##"
        System: [Text("You are")]
        User: [Text("go")]
        System: [Text("# Environment")]
        System: [Text("tokens left")]
        "##);
        assert_eq!(decoded.conversation.settings.effort, Some(Effort::Medium));
    });
    let billing = json!({"system": "x-anthropic-billing-header: cc_version=2"});
    assert_eq!(with(&billing, |decoded| decoded.conversation.turns.len()), 1);
}

#[test]
fn calls_results_and_thinking_are_carried_in_order() {
    let told = turns(&json!([
        {"role": "user", "content": "go"},
        {"role": "assistant", "content": [
            {"type": "thinking", "thinking": "", "signature": "EqQB"},
            {"type": "thinking", "thinking": "unsigned", "signature": ""},
            {"type": "redacted_thinking", "data": "EmwK"},
            {"type": "text", "text": "I will"},
            {"type": "tool_use", "id": "toolu_1", "name": "Bash", "input": {"n": 0}, "caller": {"type": "direct"}}]},
        {"role": "user", "content": [
            {"type": "tool_result", "tool_use_id": "toolu_1", "is_error": true, "cache_control": {"type": "ephemeral"},
             "content": [{"type": "text", "text": "no"}, {"type": "tool_reference", "tool_name": "WebSearch"},
                {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"}}]},
            {"type": "tool_result", "tool_use_id": "toolu_2"},
            {"type": "tool_result", "tool_use_id": "toolu_3", "content": "plain"}]},
    ]));
    insta::assert_snapshot!(told.join("\n"), @r#"
    User: [Text("go")]
    Assistant: [Reasoning(Reasoning { text: "", proof: Some(Sealed("EqQB")) }), Reasoning(Reasoning { text: "unsigned", proof: None }), Reasoning(Reasoning { text: "", proof: Some(Sealed("EmwK")) }), Text("I will"), Call(Call { id: "toolu_1", namespace: None, name: "Bash", kind: Function, arguments: "{\"n\":0}" })]
    User: [Result(CallResult { call: "toolu_1", content: [Text("no"), Text("The tool `WebSearch` is available now."), Image(Inline { media_type: "image/png", base64: "AAAA" })], is_error: true }), Result(CallResult { call: "toolu_2", content: [], is_error: false }), Result(CallResult { call: "toolu_3", content: [Text("plain")], is_error: false })]
    "#);
}

#[test]
fn no_number_of_a_call_or_a_schema_passes_through_a_float() {
    let body = r#"{"max_tokens":9,"messages":[{"role":"assistant","content":[
        {"type":"tool_use","id":"t","name":"B","input":{"z": 12345678901234567890, "a": 1.10}}]}],
        "tools":[{"name":"B","input_schema":{"type":"object","maximum": 1.10}}]}"#;
    let Decoded { conversation, .. } = read_request(body.as_bytes()).unwrap();
    let Block::Call(call) = &conversation.turns[0].blocks[0] else { panic!("no call") };
    assert_eq!((&*call.arguments, call.kind), (r#"{"z": 12345678901234567890, "a": 1.10}"#, CallKind::Function));
    let ToolKind::Function { schema: Some(schema), .. } = conversation.tools[0].kind else { panic!("no schema") };
    assert_eq!(schema.get(), r#"{"type":"object","maximum": 1.10}"#);
}

#[test]
fn images_and_documents_are_carried_and_text_documents_become_text() {
    let content = json!([
        {"type": "image", "source": {"type": "base64", "media_type": "image/jpeg", "data": "iVBORw0KGgoAAAANSUhEUg"}},
        {"type": "image", "source": {"type": "url", "url": "https://x/y.png"}},
        {"type": "document", "title": "T", "context": "C", "source": {"type": "base64", "media_type": "application/pdf", "data": "JVBE"}},
        {"type": "document", "source": {"type": "url", "url": "https://x/y.pdf"}},
        {"type": "document", "title": "T", "context": "C", "source": {"type": "text", "media_type": "text/plain", "data": "body"}},
        {"type": "document", "source": {"type": "content", "content": [{"type": "text", "text": "in"}]}},
        {"type": "search_result", "source": "https://s", "title": "S", "content": [{"type": "text", "text": "found"}]},
    ]);
    let body = json!({"max_tokens": 9, "messages": [{"role": "user", "content": content}]});
    decoded(&body, |decoded| {
        let blocks = &decoded.conversation.turns[0].blocks;
        assert!(matches!(&blocks[0], Block::Image(Image::Inline { media_type: "image/png", .. })), "the true type");
        assert!(matches!(&blocks[1], Block::Image(Image::Url(url)) if url == "https://x/y.png"));
        let Block::Document(document) = &blocks[3] else { panic!("{:?}", blocks[3]) };
        assert_eq!(document.title.as_deref(), Some("T"));
        assert!(
            matches!(&document.source, DocumentSource::Inline { media_type, .. } if media_type == "application/pdf")
        );
        let texts: Vec<&str> = blocks
            .iter()
            .filter_map(|block| if let Block::Text(text) = block { Some(&**text) } else { None })
            .collect();
        assert_eq!(texts, ["C", "T\nC", "body", "in", "S\nhttps://s", "found"]);
        assert!(decoded.dropped.paths().is_empty());
    });
}

#[test]
fn what_lives_in_another_account_is_refused() {
    let file = json!({"type": "file", "file_id": "file_1"});
    for kind in ["image", "document"] {
        let refusal = refused_content("user", &json!([{"type": kind, "source": file}]));
        assert_eq!(refusal.param.as_deref(), Some("messages[0].content[0].source"), "{kind}");
    }
    let mcp =
        json!({"max_tokens": 9, "messages": [{"role": "user", "content": "x"}], "mcp_servers": [{"type": "url"}]});
    assert_eq!(refused(&mcp).param.as_deref(), Some("mcp_servers"));
}

#[test]
fn a_thread_is_refused_since_the_rest_of_the_conversation_would_be_missing() {
    let thread = json!({"type": "continue", "previous_message_id": "msg_1"});
    let body = json!({"max_tokens": 9, "messages": [{"role": "user", "content": "x"}], "thread": thread});
    assert_eq!(refused(&body).param.as_deref(), Some("thread"));
    let body = json!({"max_tokens": 9, "messages": [{"role": "user", "content": "x"}], "thread": null});
    assert!(read_request(body.to_string().as_bytes()).is_ok());
}

#[test]
fn work_of_anthropics_own_tools_is_named_and_refused_where_nothing_else_is_left() {
    let server = json!([{"type": "server_tool_use", "id": "s", "name": "web_search", "input": {}},
        {"type": "web_search_tool_result", "tool_use_id": "s", "content": []}]);
    assert_eq!(refused_content("assistant", &server).param.as_deref(), Some("messages[0].content"));
    let mut content = server.as_array().unwrap().clone();
    content.push(json!({"type": "text", "text": "found"}));
    let body = json!({"max_tokens": 9, "messages": [{"role": "user", "content": "x"},
        {"role": "assistant", "content": content}, {"role": "user", "content": "y"}]});
    decoded(&body, |decoded| {
        assert_eq!(decoded.conversation.turns[1].blocks, [Block::Text("found".into())]);
        let named = ["messages[].content[].server_tool_use", "messages[].content[].web_search_tool_result"];
        assert_eq!(decoded.dropped.paths(), named);
    });
}

#[test]
fn blocks_in_the_wrong_place_and_unknown_ones_are_refused() {
    for (role, kind) in [("user", "tool_use"), ("user", "thinking"), ("assistant", "tool_result"), ("user", "hologram")]
    {
        let refusal = refused_content(role, &json!([{"type": kind, "name": "n", "secret": 1}]));
        assert_eq!(refusal.param.as_deref(), Some("messages[0].content[0]"), "{kind}");
        assert!(!refusal.message.contains("secret"));
    }
    let nested = |depth| {
        (0..depth).fold(
            json!([{"type": "text", "text": "x"}]),
            |content, _| json!([{"type": "document", "source": {"type": "content", "content": content}}]),
        )
    };
    assert!(refused_content("user", &nested(20)).message.contains("too deep"));
}

#[test]
fn tools_are_carried_and_what_only_tunes_them_goes_without_a_word() {
    let tools = json!({"tools": [
        {"name": "A", "description": "d", "input_schema": {"type": "object"}, "strict": true, "defer_loading": true,
         "eager_input_streaming": true, "input_examples": [], "allowed_callers": ["direct"], "cache_control": {"type": "ephemeral"}},
        {"type": "custom", "name": "B", "input_schema": {}},
        {"type": "web_search_20250305", "name": "web_search", "max_uses": 8, "allowed_domains": ["x.org"]},
        {"type": "bash_20250124", "name": "bash"},
        {"type": "text_editor_20250728", "name": "str_replace_based_edit_tool", "max_characters": 10_000},
        {"type": "web_fetch_20250910", "name": "web_fetch"},
        {"type": "tool_search_tool_regex_20251119", "name": "tool_search_tool_regex"}]});
    with(&tools, |decoded| {
        let tools = &decoded.conversation.tools;
        let names: Vec<&str> = tools.iter().map(|tool| &*tool.name).collect();
        assert_eq!(names, ["A", "B", "web_search", "bash", "str_replace_based_edit_tool"]);
        assert!(matches!(tools[0].kind, ToolKind::Function { strict: Some(true), .. }));
        assert!(matches!(&tools[2].kind, ToolKind::WebSearch(search) if search.uses_max == Some(8)));
        assert!(
            matches!(tools[3].kind, ToolKind::Function { schema: Some(schema), .. } if schema.get().contains("restart"))
        );
        assert_eq!(decoded.dropped.paths(), ["tools[].web_fetch", "tools[].tool_search_tool_regex"]);
    });
}

#[test]
fn a_forced_tool_that_anthropic_runs_is_refused() {
    let body = json!({"max_tokens": 9, "messages": [{"role": "user", "content": "x"}],
        "tools": [{"type": "web_fetch_20250910", "name": "web_fetch"}], "tool_choice": {"type": "tool", "name": "web_fetch"}});
    assert_eq!(refused(&body).param.as_deref(), Some("tools[0]"));
}

#[test]
fn every_tool_choice_is_known() {
    let choice = |choice: Value| {
        with(&json!({"tool_choice": choice}), |decoded| {
            (format!("{:?}", decoded.conversation.tool_choice), decoded.conversation.parallel_calls)
        })
    };
    assert_eq!(choice(json!({"type": "auto"})), ("Some(Auto)".into(), None));
    assert_eq!(choice(json!({"type": "any", "disable_parallel_tool_use": true})), ("Some(Any)".into(), Some(false)));
    assert_eq!(choice(json!({"type": "none"})), ("Some(None)".into(), None));
    let tool = format!("{:?}", Some(ToolChoice::Tool { namespace: None, name: "B".into() }));
    assert_eq!(choice(json!({"type": "tool", "name": "B"})), (tool, None));
    let body = json!({"max_tokens": 9, "messages": [], "tool_choice": {"type": "tool"}});
    assert_eq!(refused(&body).param.as_deref(), Some("tool_choice"));
}

#[test]
fn thinking_and_effort_are_one_wish() {
    for (more, effort, show) in [
        (json!({}), None, None),
        (json!({"thinking": {"type": "disabled"}, "output_config": {"effort": "high"}}), Some(Effort::None), None),
        (json!({"thinking": {"type": "enabled", "budget_tokens": 1024}}), Some(Effort::Low), Some(true)),
        (json!({"thinking": {"type": "enabled", "budget_tokens": 8192}}), Some(Effort::Medium), Some(true)),
        (
            json!({"thinking": {"type": "enabled", "budget_tokens": 24_576, "display": "omitted"}}),
            Some(Effort::High),
            Some(false),
        ),
        (json!({"thinking": {"type": "enabled", "budget_tokens": 31_999}}), Some(Effort::ExtraHigh), Some(true)),
        (json!({"thinking": {"type": "adaptive", "display": "summarized"}}), None, Some(true)),
        (
            json!({"thinking": {"type": "between_tools"}, "output_config": {"effort": "max"}}),
            Some(Effort::Max),
            Some(true),
        ),
        (json!({"output_config": {"effort": "xhigh"}}), Some(Effort::ExtraHigh), None),
    ] {
        assert_eq!(settings(&more, |settings| (settings.effort, settings.show_reasoning)), (effort, show), "{more}");
    }
    assert_eq!(dropped(&json!({"output_config": {"effort": "extreme"}})), ["output_config.effort"]);
}

#[test]
fn limits_and_sampling_are_carried() {
    let more = json!({"max_tokens": 100, "temperature": 0.5, "top_p": 0.9, "top_k": 5, "stop_sequences": ["a", "b"],
        "service_tier": "auto", "context_management": {"edits": []}, "speed": "fast"});
    with(&more, |decoded| {
        let settings = decoded.conversation.settings;
        assert_eq!((settings.output_tokens_max, settings.top_k), (Some(100), Some(5)));
        assert_eq!((settings.temperature, settings.top_p), (Some(0.5), Some(0.9)));
        assert_eq!((settings.stop, decoded.dropped.paths().len()), (vec!["a".into(), "b".into()], 0));
    });
    assert_eq!(dropped(&json!({"foo": 1, "bar": null})), ["foo"]);
    let warm_up = json!({"max_tokens": 0, "messages": [{"role": "user", "content": "x"}]});
    assert_eq!(refused(&warm_up).param.as_deref(), Some("max_tokens"));
}

#[test]
fn the_session_of_a_user_id_is_the_key_of_the_prompt_cache() {
    let key = |user: &str| {
        settings(&json!({"metadata": {"user_id": user}}), |settings| {
            assert_eq!(settings.user.as_deref(), Some(user));
            settings.cache_key.map(std::borrow::Cow::into_owned)
        })
    };
    assert_eq!(key(r#"{"device_id":"ab","account_uuid":"","session_id":"s-1"}"#).as_deref(), Some("s-1"));
    assert_eq!(key("user_ab_account__session_s-2").as_deref(), Some("s-2"));
    for user in ["ann", "", "{\"session", "{}", "user_session_"] {
        assert_eq!(key(user), None, "{user}");
    }
}

#[test]
fn a_schema_for_the_answer_is_carried_from_both_its_places() {
    let format = json!({"type": "json_schema", "schema": {"type": "object"}});
    for more in [json!({"output_config": {"format": format}}), json!({"output_format": format})] {
        with(&more, |decoded| {
            let Some(Format::Schema { schema, .. }) = decoded.conversation.format else { panic!("{more}") };
            assert_eq!(schema.get(), r#"{"type":"object"}"#);
        });
    }
    let body =
        json!({"max_tokens": 9, "messages": [{"role": "user", "content": "x"}], "output_format": {"type": "xml"}});
    assert_eq!(refused(&body).param.as_deref(), Some("output_format"));
}

#[test]
fn a_last_turn_of_the_assistant_is_named_as_others_do_not_go_on_with_it() {
    let messages = json!([{"role": "user", "content": "x"}, {"role": "assistant", "content": "{"}]);
    assert_eq!(dropped(&json!({"messages": messages})), ["messages[].prefill"]);
}

#[test]
fn thinking_of_any_origin_waits_unlooked_to_be_opened() {
    let told = |block: Value| {
        let body = json!({"max_tokens": 9, "messages": [{"role": "assistant", "content": [block]}]});
        decoded(&body, |decoded| {
            let Block::Reasoning(reasoning) = &decoded.conversation.turns[0].blocks[0] else { panic!("none") };
            reasoning.proof.as_ref().map(|proof| matches!(proof, Proof::Sealed(_)))
        })
    };
    assert_eq!(told(json!({"type": "thinking", "thinking": "a", "signature": "gAAAA"})), Some(true));
    assert_eq!(told(json!({"type": "thinking", "thinking": "a"})), None);
}

#[test]
fn what_is_no_request_is_refused_and_not_quoted() {
    for body in [
        "",
        "[]",
        "{}",
        r#"{"messages":[]}"#,
        r#"{"messages":[{"role":"user","content":" "}]}"#,
        r#"{"messages":[{"role":"secret","content":"x"}]}"#,
        r#"{"messages":[{"role":"user"}]}"#,
        r#"{"messages":[{"role":"user","content":[{"text":"secret"}]}]}"#,
        r#"{"messages":[{"role":"user","content":[{"type":"text"}]}]}"#,
        r#"{"messages":[{"role":"user","content":["secret"]}]}"#,
        r#"{"messages":[{"role":"user","content":"x"}],"tools":["secret"]}"#,
        r#"{"messages":[{"role":"user","content":"x"}],"tools":[{"description":"secret"}]}"#,
        r#"{"messages":[{"role":"user","content":"x"}],"max_tokens":"secret"}"#,
    ] {
        let refusal = read_request(body.as_bytes()).unwrap_err();
        assert!(!refusal.message.contains("secret") && !refusal.message.is_empty(), "{body}: {}", refusal.message);
    }
    let crowd = format!("{{\"messages\":[{}]}}", "{},".repeat(1_000_001));
    assert!(read_request(crowd.as_bytes()).unwrap_err().message.contains("JSON objects"));
}
