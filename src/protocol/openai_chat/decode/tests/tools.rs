//! Tools, newer and older, and the choice among them.

use super::*;

fn function(name: &str) -> Value {
    json!({"type": "function", "function": {"name": name, "description": "Does it.", "strict": true, "parameters": {"type": "object"}}})
}

/// Tells the tools of a request in one line.
fn told(more: &Value) -> String {
    with(more, |decoded| {
        let tools = decoded.conversation.tools.iter().map(|tool| {
            let kind = match &tool.kind {
                ToolKind::Function { schema, strict } => {
                    let strict = if *strict == Some(true) { " strict" } else { "" };
                    format!("({}{strict})", schema.map_or("", RawValue::get))
                }
                ToolKind::Custom { grammar: None } => "any text".to_owned(),
                ToolKind::Custom { grammar: Some((syntax, definition)) } => format!("{syntax}: {definition}"),
                ToolKind::WebSearch(search) => {
                    format!("searches {}", search.user_location.as_deref().map_or("", RawValue::get))
                }
            };
            let about = tool.description.as_deref().map(|about| format!("'{about}' ")).unwrap_or_default();
            format!("{} {about}{kind}", tool.name)
        });
        let told = tools.collect::<Vec<_>>().join("; ");
        decoded.dropped.header().map_or(told.clone(), |header| format!("{told} without {header}"))
    })
}

#[test]
fn tools_are_read_in_every_form() {
    let grammar = json!({"type": "grammar", "grammar": {"syntax": "lark", "definition": "start: x"}});
    for (more, wanted) in [
        (json!({"tools": [function("f")]}), r#"f 'Does it.' ({"type":"object"} strict)"#),
        (
            json!({"tools": [function("f"), function("g"), function("f")]}),
            r#"f 'Does it.' ({"type":"object"} strict); g 'Does it.' ({"type":"object"} strict)"#,
        ),
        (
            json!({"tools": [{"type": "function", "function": {"name": "f", "description": "", "odd": 1}, "cache_control": {}}]}),
            "f () without tools[].function.odd",
        ),
        (
            json!({"tools": [{"type": "custom", "custom": {"name": "p", "description": "Patches.", "format": grammar}}]}),
            "p 'Patches.' lark: start: x",
        ),
        (json!({"tools": [{"type": "custom", "custom": {"name": "p", "format": {"type": "text"}}}]}), "p any text"),
        (json!({"functions": [{"name": "f", "parameters": {"type": "object"}}]}), r#"f ({"type":"object"})"#),
        (json!({"tools": [{"type": "function", "name": "f", "parameters": {}, "strict": false}]}), "f ({})"),
        (
            json!({"tools": [{"type": "custom", "name": "p", "format": {"type": "grammar", "syntax": "regex", "definition": "a+"}}]}),
            "p regex: a+",
        ),
        (json!({"tools": [{"name": "f", "input_schema": {"type": "object"}}]}), r#"f ({"type":"object"})"#),
        (json!({"tools": [{"type": "custom", "name": "f", "input_schema": {}}]}), "f ({})"),
        (
            json!({"tools": [function("f"), {"type": "file_search", "vector_store_ids": ["v"]}]}),
            r#"f 'Does it.' ({"type":"object"} strict) without tools[].file_search"#,
        ),
        (json!({"tools": [{"type": "web_search_preview", "search_context_size": "low"}]}), "web_search searches "),
        (json!({"web_search_options": {}}), "web_search searches "),
        (
            json!({"web_search_options": {"search_context_size": "low", "user_location": {"type": "approximate", "approximate": {"city": "Oslo"}}}}),
            r#"web_search searches {"type":"approximate","city":"Oslo"}"#,
        ),
        (
            json!({"web_search_options": {"user_location": {"approximate": {}}}}),
            r#"web_search searches {"type":"approximate"}"#,
        ),
        (
            json!({"tools": [{"name": "web_search"}], "web_search_options": {}}),
            "web_search () without web_search_options",
        ),
    ] {
        assert_eq!(told(&more), wanted, "{more}");
    }
}

#[test]
fn tools_that_cannot_be_carried_are_refused_by_their_path() {
    for (more, param) in [
        (json!({"tools": [{"type": "hologram"}]}), "tools[0].type"),
        (json!({"tools": [function("f"), {"type": "function"}]}), "tools[1].name"),
        (json!({"tools": [{"type": "function", "function": {"name": ""}}]}), "tools[0].function.name"),
        (json!({"tools": [{"type": "custom", "custom": {}}]}), "tools[0].custom.name"),
        (json!({"functions": [{}]}), "functions[0].name"),
        (json!({"tools": [{"type": "image_generation"}]}), "tools"),
        (json!({"tools": [{"type": "image_generation"}], "tool_choice": "auto"}), "tools"),
        (json!({"tools": [function("f"), {"type": "mcp"}], "tool_choice": {"type": "mcp"}}), "tool_choice"),
        (
            json!({"tools": [function("f")], "tool_choice": {"type": "function", "function": {"name": "g"}}}),
            "tool_choice",
        ),
        (json!({"tools": [function("f")], "tool_choice": "perhaps"}), "tool_choice"),
        (json!({"tools": [function("f")], "tool_choice": 7}), "tool_choice"),
        (json!({"tools": [function("f")], "tool_choice": {"type": "allowed_tools"}}), "tool_choice"),
        (
            json!({"tools": [function("f")], "tool_choice": {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": []}}}),
            "tool_choice",
        ),
        (json!({"functions": [{"name": "f"}], "function_call": {"name": "g"}}), "function_call"),
    ] {
        assert_eq!(refused(&hi(&more)).param.as_deref(), Some(param), "{more}");
    }
}

#[test]
fn more_tools_than_anybody_has_are_refused() {
    let tools: Vec<Value> = (0..10_001).map(|number| json!({"name": format!("f{number}")})).collect();
    assert!(refused(&hi(&json!({ "tools": tools }))).message.contains("more than 10000"));
}

#[test]
fn the_choice_among_tools_is_read() {
    let tool = |name: &'static str| Some(ToolChoice::Tool { namespace: None, name: name.into() });
    let tools = json!([function("f"), {"type": "custom", "custom": {"name": "p"}}, {"type": "web_search"}]);
    for (choice, wanted) in [
        (json!(null), None),
        (json!("auto"), Some(ToolChoice::Auto)),
        (json!("none"), Some(ToolChoice::None)),
        (json!("required"), Some(ToolChoice::Any)),
        (json!({"type": "auto"}), Some(ToolChoice::Auto)),
        (json!({"type": "any"}), Some(ToolChoice::Any)),
        (json!({"type": "function", "function": {"name": "f"}}), tool("f")),
        (json!({"type": "custom", "custom": {"name": "p"}}), tool("p")),
        (json!({"type": "function", "name": "f"}), tool("f")),
        (json!({"type": "tool", "name": "f"}), tool("f")),
        (json!({"type": "web_search_preview"}), tool("web_search")),
    ] {
        with(&json!({"tools": tools, "tool_choice": choice}), |decoded| {
            assert_eq!((decoded.conversation.tool_choice, decoded.dropped.header()), (wanted, None), "{choice}");
        });
    }
    with(&json!({"tool_choice": "required"}), |decoded| assert_eq!(decoded.conversation.tool_choice, None));
}

#[test]
fn only_the_tools_that_are_allowed_are_offered() {
    let named = |name: &str| json!({"type": "function", "function": {"name": name}});
    for (mode, wanted) in [("auto", ToolChoice::Auto), ("required", ToolChoice::Any)] {
        let choice =
            json!({"type": "allowed_tools", "allowed_tools": {"mode": mode, "tools": [named("g"), named("x")]}});
        with(&json!({"tools": [function("f"), function("g")], "tool_choice": choice}), |decoded| {
            let offered: Vec<&str> = decoded.conversation.tools.iter().map(|tool| &*tool.name).collect();
            assert_eq!((offered, decoded.conversation.tool_choice), (vec!["g"], Some(wanted)));
            assert_eq!(decoded.dropped.paths(), ["tool_choice.allowed_tools.tools"]);
        });
    }
}

#[test]
fn a_client_of_the_older_functions_gets_one_call_in_the_older_form() {
    let functions = json!([{"name": "f"}]);
    for (more, legacy, parallel, choice) in [
        (json!({"functions": functions}), true, Some(false), None),
        (json!({"functions": functions, "tools": []}), true, Some(false), None),
        (json!({"functions": functions, "function_call": "auto"}), true, Some(false), Some(ToolChoice::Auto)),
        (json!({"functions": functions, "function_call": "none"}), true, Some(false), Some(ToolChoice::None)),
        (
            json!({"functions": functions, "function_call": {"name": "f"}}),
            true,
            Some(false),
            Some(ToolChoice::Tool { namespace: None, name: "f".into() }),
        ),
        (
            json!({"functions": functions, "tools": [function("g")], "parallel_tool_calls": true}),
            false,
            Some(true),
            None,
        ),
        (json!({"tools": [function("g")]}), false, None, None),
    ] {
        with(&more, |decoded| {
            let Conversation { parallel_calls, tool_choice, .. } = decoded.conversation;
            assert_eq!(
                (decoded.asked.legacy_functions, parallel_calls, tool_choice),
                (legacy, parallel, choice),
                "{more}"
            );
        });
    }
}
