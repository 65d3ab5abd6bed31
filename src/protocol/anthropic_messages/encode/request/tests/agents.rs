//! Requests of agents: tools, calls and results, reasoning, documents, formats.

use std::borrow::Cow;

use serde_json::value::RawValue;

use super::*;
use crate::protocol::canonical::{
    Call, CallKind, CallResult, Document, DocumentSource, Proof, Reasoning, Tool, ToolChoice, ToolKind, WebSearch,
};

fn call<'a>(id: &'a str, name: &'a str, kind: CallKind, arguments: &'a str) -> Block<'a> {
    Block::Call(Call { id: id.into(), namespace: None, name: name.into(), kind, arguments: arguments.into() })
}

fn function(arguments: &str) -> Block<'_> {
    call("c", "Bash", CallKind::Function, arguments)
}

fn result<'a>(call: &'a str, content: Vec<Block<'a>>, is_error: bool) -> Block<'a> {
    Block::Result(CallResult { call: call.into(), content, is_error })
}

fn thought(proof: Option<Proof<'static>>) -> Block<'static> {
    Block::Reasoning(Reasoning { text: "hm".into(), proof })
}

fn tool<'a>(name: &'a str, schema: Option<&'a str>) -> Tool<'a> {
    let schema = schema.map(|schema| serde_json::from_str(schema).unwrap());
    Tool {
        namespace: None,
        name: name.into(),
        description: Some("does".into()),
        kind: ToolKind::Function { schema, strict: None },
    }
}

fn of(conversation: &Conversation<'_>, target: &Target<'_>) -> (String, Vec<Unmet>) {
    let names = Names::of(conversation, &NAME_RULES);
    let Encoded { body, unmet } = write_request(conversation, target, &names).unwrap();
    (String::from_utf8(body).unwrap(), unmet)
}

fn asking(tools: Vec<Tool<'_>>) -> Conversation<'_> {
    Conversation { turns: vec![user("hi")], tools, ..Conversation::default() }
}

#[test]
fn an_agents_request_has_tools_calls_results_and_marks_for_the_cache() {
    let turns = vec![
        system("Be brief."),
        user("go"),
        Turn {
            role: Role::Assistant,
            blocks: vec![
                thought(Some(Proof::Signature("EqQB".into()))),
                Block::Reasoning(Reasoning { text: "".into(), proof: Some(Proof::Redacted("EmwK".into())) }),
                Block::Text("I will".into()),
                call("call:1", "Bash", CallKind::Function, "{\"n\": 12345678901234567890, \"x\": 1.10}"),
            ],
        },
        Turn {
            role: Role::User,
            blocks: vec![
                result(
                    "call:1",
                    vec![
                        Block::Text("no".into()),
                        Block::Image(Image::Inline { media_type: "image/png", base64: "AAAA".into() }),
                    ],
                    true,
                ),
                Block::Text("now?".into()),
            ],
        },
    ];
    let tools = vec![tool("Bash", Some(r#"{"type":"object","properties":{"x":{"maximum":1.10}}}"#)), tool("Now", None)];
    let conversation = Conversation {
        turns,
        tools,
        tool_choice: Some(ToolChoice::Auto),
        parallel_calls: Some(false),
        stream: true,
        ..Conversation::default()
    };
    let (body, unmet) = of(&conversation, &TARGET);
    assert_eq!(unmet, []);
    insta::assert_snapshot!(body, @r#"{"model":"claude-x","max_tokens":32000,"tools":[{"name":"Bash","description":"does","input_schema":{"type":"object","properties":{"x":{"maximum":1.10}}}},{"name":"Now","description":"does","input_schema":{"type":"object","properties":{}},"cache_control":{"type":"ephemeral"}}],"tool_choice":{"type":"auto","disable_parallel_tool_use":true},"system":[{"type":"text","text":"Be brief.","cache_control":{"type":"ephemeral"}}],"messages":[{"role":"user","content":[{"type":"text","text":"go","cache_control":{"type":"ephemeral"}}]},{"role":"assistant","content":[{"type":"thinking","thinking":"hm","signature":"EqQB"},{"type":"redacted_thinking","data":"EmwK"},{"type":"text","text":"I will"},{"type":"tool_use","id":"call_1_0af6315558b4","name":"Bash","input":{"n": 12345678901234567890, "x": 1.10}}]},{"role":"user","content":[{"type":"tool_result","tool_use_id":"call_1_0af6315558b4","content":[{"type":"text","text":"no"},{"type":"image","source":{"type":"base64","media_type":"image/png","data":"AAAA"}}],"is_error":true},{"type":"text","text":"now?","cache_control":{"type":"ephemeral"}}]}],"stream":true}"#);
}

#[test]
fn reasoning_of_other_providers_never_goes_to_claude() {
    let encrypted = Proof::Encrypted { id: "rs_1".into(), content: "gAAAA".into(), summary: vec![] };
    for proof in [None, Some(Proof::Sealed("EqQB".into())), Some(encrypted)] {
        let turn = Turn { role: Role::Assistant, blocks: vec![thought(proof), Block::Text("a".into())] };
        assert_eq!(messages(vec![user("x"), turn, user("y")])[1]["content"], json!([text("a")]));
    }
}

#[test]
fn arguments_that_are_no_object_are_shown_to_the_model_as_they_are() {
    for (arguments, input) in [
        ("", json!({})),
        (" ", json!({})),
        ("{}", json!({})),
        ("{\"a\":[1]}", json!({"a": [1]})),
        ("{\"a\":\"cut of", json!({"_raw": "{\"a\":\"cut of"})),
        ("[1]", json!({"_raw": "[1]"})),
        ("\"x\"", json!({"_raw": "\"x\""})),
    ] {
        let turn = Turn { role: Role::Assistant, blocks: vec![function(arguments)] };
        assert_eq!(messages(vec![user("x"), turn, user("y")])[1]["content"][0]["input"], input, "{arguments}");
    }
}

#[test]
fn a_freeform_tool_is_a_function_with_one_text_and_so_are_its_calls() {
    let grammar = Some(("lark".into(), "start: /.+/".into()));
    let patch = Tool {
        namespace: Some("functions".into()),
        name: "apply_patch".into(),
        description: Some("Patches files.".into()),
        kind: ToolKind::Custom { grammar },
    };
    let called = Block::Call(Call {
        id: "c".into(),
        namespace: Some("functions".into()),
        name: "apply_patch".into(),
        kind: CallKind::Custom,
        arguments: "*** Begin\n".into(),
    });
    let mut conversation = asking(vec![patch]);
    conversation.turns.push(Turn { role: Role::Assistant, blocks: vec![called] });
    let (body, unmet) = of(&conversation, &TARGET);
    let body: Value = serde_json::from_str(&body).unwrap();
    insta::assert_snapshot!(body["tools"][0], @r#"{"name":"functions__apply_patch","description":"Patches files.\n\nGive the raw text as the string `input`. The text itself is not JSON. It must follow this grammar (lark):\nstart: /.+/","input_schema":{"type":"object","properties":{"input":{"type":"string","description":"The raw text, exactly as the tool takes it."}},"required":["input"],"additionalProperties":false},"cache_control":{"type":"ephemeral"}}"#);
    let call = &body["messages"][1]["content"][0];
    assert_eq!((&call["name"], &call["input"]), (&json!("functions__apply_patch"), &json!({"input": "*** Begin\n"})));
    assert_eq!(unmet, [Unmet::Grammar]);
}

#[test]
fn every_tool_choice_has_its_form() {
    let choice = |choice: Option<ToolChoice<'static>>, parallel_calls| {
        let mut conversation = asking(vec![tool("Bash", None)]);
        (conversation.tool_choice, conversation.parallel_calls) = (choice, parallel_calls);
        serde_json::from_str::<Value>(&of(&conversation, &TARGET).0).unwrap()["tool_choice"].take()
    };
    let bash = ToolChoice::Tool { namespace: None, name: "Bash".into() };
    assert_eq!(choice(None, None), Value::Null);
    assert_eq!(choice(None, Some(false)), json!({"type": "auto", "disable_parallel_tool_use": true}));
    assert_eq!(choice(Some(ToolChoice::Auto), Some(true)), json!({"type": "auto"}));
    assert_eq!(choice(Some(ToolChoice::Any), Some(false)), json!({"type": "any", "disable_parallel_tool_use": true}));
    assert_eq!(choice(Some(ToolChoice::None), Some(false)), json!({"type": "none"}));
    assert_eq!(choice(Some(bash), None), json!({"type": "tool", "name": "Bash"}));
}

#[test]
fn a_forced_tool_is_a_stronger_wish_than_thinking() {
    for mode in [Thinking::Manual, Thinking::Adaptive] {
        let mut conversation = asking(vec![tool("Bash", None)]);
        conversation.tool_choice = Some(ToolChoice::Any);
        conversation.settings.effort = Some(Effort::High);
        let (body, unmet) = of(&conversation, &Target { thinking: Some(mode), ..TARGET });
        assert!(body.contains(r#""tool_choice":{"type":"any"}"#) && !body.contains("thinking"), "{body}");
        assert_eq!(unmet, [Unmet::Effort]);
    }
}

#[test]
fn a_call_whose_thinking_was_lost_turns_a_budget_off_but_not_adaptive_thinking() {
    let turns = |blocks| vec![user("x"), Turn { role: Role::Assistant, blocks }, user("y")];
    let signed = thought(Some(Proof::Signature("EqQB".into())));
    for (blocks, mode, thinks) in [
        (vec![function("{}")], Thinking::Manual, false),
        (vec![Block::Text("a".into()), function("{}")], Thinking::Manual, false),
        (vec![signed, function("{}")], Thinking::Manual, true),
        (vec![Block::Text("a".into())], Thinking::Manual, true),
        (vec![function("{}")], Thinking::Adaptive, true),
    ] {
        let settings = Settings { effort: Some(Effort::High), ..Settings::default() };
        let (body, unmet) = encoded(turns(blocks), settings, Target { thinking: Some(mode), ..TARGET });
        assert_eq!((body["thinking"].is_object(), unmet.is_empty()), (thinks, thinks), "{body}");
    }
}

#[test]
fn calls_of_the_past_without_tools_bring_their_names_and_cannot_be_repeated() {
    let turns = vec![user("x"), Turn { role: Role::Assistant, blocks: vec![function("{}")] }, user("sum up")];
    let (body, _) = encoded(turns, Settings::default(), TARGET);
    assert_eq!(body["tools"][0]["name"], "Bash");
    assert_eq!(body["tool_choice"], json!({"type": "none"}));
    let (body, _) = encoded(vec![user("x")], Settings::default(), TARGET);
    assert!(body["tools"].is_null() && body["tool_choice"].is_null());
}

#[test]
fn of_two_tools_of_one_name_the_first_is_kept() {
    let (body, _) = of(&asking(vec![tool("Bash", None), tool("Bash", Some("{}"))]), &TARGET);
    assert_eq!(body.matches(r#""name":"Bash""#).count(), 1);
}

#[test]
fn the_providers_search_is_asked_for_only_where_nothing_else_is() {
    let location = r#"{"type":"approximate","country":"DE"}"#;
    let search = || {
        let user_location = Some(Cow::Owned(RawValue::from_string(location.to_owned()).unwrap()));
        let search = WebSearch {
            uses_max: Some(8),
            allowed_domains: vec!["x.org".into()],
            user_location,
            ..WebSearch::default()
        };
        Tool { namespace: None, name: "web_search".into(), description: None, kind: ToolKind::WebSearch(search) }
    };
    let mut alone = asking(vec![search()]);
    alone.tool_choice = Some(ToolChoice::Tool { namespace: None, name: "web_search".into() });
    let (body, unmet) = of(&alone, &TARGET);
    let sent = r#""tools":[{"type":"web_search_20250305","name":"web_search","max_uses":8,"allowed_domains":["x.org"],"user_location":{"type":"approximate","country":"DE"}}],"tool_choice":{"type":"tool","name":"web_search"}"#;
    assert!(body.contains(sent) && unmet.is_empty(), "{body}");
    let (body, unmet) = of(&asking(vec![tool("Bash", None), search()]), &TARGET);
    assert_eq!((body.contains("web_search"), unmet), (false, vec![Unmet::WebSearch]));
}

#[test]
fn a_plain_tool_named_like_the_providers_own_gets_another_name() {
    let (body, _) = of(&asking(vec![tool("web_fetch", None)]), &TARGET);
    assert!(body.contains(r#""name":"web_fetch_"#), "{body}");
}

#[test]
fn a_strict_tool_is_named_as_not_enforced() {
    let mut conversation = asking(vec![tool("Bash", None)]);
    conversation.tools[0].kind = ToolKind::Function { schema: None, strict: Some(true) };
    assert_eq!(of(&conversation, &TARGET).1, [Unmet::Strict]);
}

#[test]
fn a_form_is_asked_for_by_its_schema_or_in_words() {
    let mut conversation = asking(vec![]);
    let schema = serde_json::from_str(r#"{"type":"object","properties":{}}"#).unwrap();
    conversation.format = Some(Format::Schema { name: None, schema, strict: None });
    let (body, unmet) = of(&conversation, &TARGET);
    let sent = r#""output_config":{"format":{"type":"json_schema","schema":{"type":"object","properties":{},"additionalProperties":false}}}"#;
    assert!(body.contains(sent) && unmet.is_empty(), "{body}");
    conversation.format = Some(Format::JsonObject);
    let (body, unmet) = of(&conversation, &TARGET);
    assert!(body.contains("exactly one JSON object"), "{body}");
    assert_eq!(unmet, [Unmet::Format]);
}

#[test]
fn a_pdf_stays_one_text_becomes_text_and_other_documents_are_refused() {
    let sent = |source| {
        let document = Block::Document(Document { source, title: Some("T".into()) });
        let turns = vec![Turn { role: Role::User, blocks: vec![document] }];
        let conversation = Conversation { turns, ..Conversation::default() };
        write_request(&conversation, &TARGET, &Names::default())
            .map(|sent| serde_json::from_slice::<Value>(&sent.body).unwrap()["messages"][0]["content"][0].take())
    };
    let inline = |media_type: &'static str, base64: &'static str| {
        sent(DocumentSource::Inline { media_type: media_type.into(), base64: base64.into() })
    };
    assert_eq!(
        inline("application/pdf", "JVBE").unwrap(),
        json!({"type": "document", "title": "T", "source": {"type": "base64", "media_type": "application/pdf", "data": "JVBE"}})
    );
    assert_eq!(
        inline("text/csv", "YSxi").unwrap()["source"],
        json!({"type": "text", "media_type": "text/plain", "data": "a,b"})
    );
    assert!(inline("application/zip", "UEsDBP8=").unwrap_err().message.contains("application/zip"));
    let url = sent(DocumentSource::Url("https://x".into())).unwrap();
    assert_eq!(url["source"], json!({"type": "url", "url": "https://x"}));
}

#[test]
fn to_see_the_thinking_is_to_want_it() {
    let shown = Settings { show_reasoning: Some(true), ..Settings::default() };
    for (mode, thinking) in [
        (Thinking::Adaptive, json!({"type": "adaptive", "display": "summarized"})),
        (Thinking::Both, json!({"type": "adaptive"})),
        (Thinking::Manual, Value::Null),
    ] {
        let (body, unmet) = with(shown.clone(), Target { thinking: Some(mode), ..TARGET });
        assert_eq!((&body["thinking"], &body["output_config"], unmet), (&thinking, &Value::Null, vec![]));
    }
}
