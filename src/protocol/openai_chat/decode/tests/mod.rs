use serde_json::{Value, json};

use super::*;
use crate::protocol::canonical::{
    Block, Call, CallKind, CallResult, Document, DocumentSource, Effort, Format, Image, Role, Settings, ToolChoice,
    ToolKind, Turn,
};

mod messages;
mod tools;

fn refused(body: &Value) -> Refusal {
    request(body.to_string().as_bytes()).unwrap_err()
}

/// Returns a request that says "hi" with some more members.
fn hi(more: &Value) -> Value {
    let mut body = json!({"model": "m", "messages": [{"role": "user", "content": "hi"}]});
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    body
}

fn dropped(body: &Value) -> Vec<String> {
    request(body.to_string().as_bytes()).unwrap().dropped.paths().to_vec()
}

fn with<T>(more: &Value, look: impl FnOnce(Decoded<'_>) -> T) -> T {
    look(request(hi(more).to_string().as_bytes()).unwrap())
}

#[test]
fn messages_become_turns_in_their_order() {
    let body = json!({"model": "m", "stream": true, "messages": [
        {"role": "system", "content": "s"},
        {"role": "developer", "content": [{"type": "text", "text": "d1"}, {"type": "text", "text": "d2"}]},
        {"role": "user", "content": [
            {"type": "text", "text": "look"},
            {"type": "image_url", "image_url": {"url": "https://x/y.png", "detail": "high"}},
            {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}},
        ]},
        {"role": "assistant", "content": null, "refusal": "no"},
        {"role": "assistant", "content": [{"type": "refusal", "refusal": "never"}]},
        {"role": "system", "content": "later"},
        {"role": "user", "content": "caf\u{e9} \"q\""},
    ]})
    .to_string();
    let decoded = request(body.as_bytes()).unwrap();
    let text = |text: &'static str| Block::Text(text.into());
    let png = Image::Inline { media_type: "image/png", base64: "AAAA".into() };
    let turns = vec![
        Turn { role: Role::System, blocks: vec![text("s")] },
        Turn { role: Role::System, blocks: vec![text("d1"), text("d2")] },
        Turn {
            role: Role::User,
            blocks: vec![text("look"), Block::Image(Image::Url("https://x/y.png".into())), Block::Image(png)],
        },
        Turn { role: Role::Assistant, blocks: vec![Block::Refusal("no".into())] },
        Turn { role: Role::Assistant, blocks: vec![Block::Refusal("never".into())] },
        Turn { role: Role::System, blocks: vec![text("later")] },
        Turn { role: Role::User, blocks: vec![text("caf\u{e9} \"q\"")] },
    ];
    let Conversation { turns: read, settings, stream, .. } = decoded.conversation;
    assert_eq!((read, settings, stream), (turns, Settings::default(), true));
    assert_eq!((decoded.asked, decoded.dropped.header()), (Asked::default(), None));
}

#[test]
fn text_without_escapes_is_borrowed_from_the_body() {
    let body =
        br#"{"messages":[{"role":"user","content":[{"type":"text","text":"abc"}]},{"role":"user","content":"d"}]}"#;
    let decoded = request(body).unwrap();
    for turn in decoded.conversation.turns {
        assert!(matches!(turn.blocks[..], [Block::Text(Cow::Borrowed(_))]), "{turn:?}");
    }
}

#[test]
fn what_cannot_be_carried_is_refused_by_its_path() {
    for (more, param) in [
        (json!({"n": 2}), "n"),
        (json!({"n": 0}), "n"),
        (json!({"logprobs": true}), "logprobs"),
        (json!({"top_logprobs": 3}), "top_logprobs"),
        (json!({"modalities": ["text", "audio"]}), "modalities"),
        (json!({"audio": {"voice": "alloy", "format": "mp3"}}), "audio"),
        (json!({"max_tokens": 0}), "max_tokens"),
        (json!({"max_completion_tokens": 0, "max_tokens": 5}), "max_completion_tokens"),
        (json!({"messages": null}), "messages"),
        (json!({"messages": []}), "messages"),
        (json!({"messages": [{"role": "user", "content": " "}]}), "messages"),
        (json!({"response_format": {"type": "xml"}}), "response_format.type"),
        (json!({"response_format": "json"}), "response_format"),
        (json!({"response_format": {"type": "json_schema"}}), "response_format.json_schema"),
        (
            json!({"response_format": {"type": "json_schema", "json_schema": {"name": "a"}}}),
            "response_format.json_schema.schema",
        ),
    ] {
        let refusal = refused(&hi(&more));
        assert_eq!(refusal.param.as_deref(), Some(param), "{more}");
        assert!(refusal.message.contains(&format!("`{param}`")), "{}", refusal.message);
    }
}

#[test]
fn what_changes_nothing_is_not_spoken_of() {
    let silent = json!({
        "tools": [], "functions": [], "tool_choice": "auto", "function_call": "none", "parallel_tool_calls": false,
        "response_format": {"type": "text"}, "n": 1, "logprobs": false, "top_logprobs": 0, "modalities": ["text"],
        "audio": null, "reasoning": null, "web_search_options": null, "stop": null,
        "presence_penalty": 0, "frequency_penalty": 0.0, "logit_bias": {}, "seed": null, "service_tier": "flex",
        "store": true, "metadata": {"a": "b"}, "verbosity": "low", "prediction": {"type": "content", "content": "x"},
        "prompt_cache_key": "k", "prompt_cache_retention": "24h", "stream_options": {"include_obfuscation": false},
        "messages": [
            {"role": "user", "content": [{"type": "text", "text": "hi", "cache_control": {"type": "ephemeral"}}]},
            {"role": "assistant", "content": "ok", "reasoning_content": "hm", "annotations": [], "tool_calls": [],
                "reasoning_details": [{}], "function_call": null, "audio": null, "name": null},
        ],
    });
    assert_eq!(dropped(&hi(&silent)), [""; 0]);
    with(&silent, |decoded| {
        let Conversation { turns, tools, tool_choice, format, settings, .. } = decoded.conversation;
        let wanted = Settings { verbosity: Some("low".into()), cache_key: Some("k".into()), ..Settings::default() };
        assert_eq!((turns[1].blocks.len(), settings), (1, wanted));
        assert!(tools.is_empty() && tool_choice.is_none() && format.is_none());
        assert_eq!(decoded.asked, Asked::default());
    });
}

#[test]
fn what_may_change_the_answer_is_named() {
    let lossy = json!({
        "seed": 7, "presence_penalty": 0.5, "frequency_penalty": -0.5, "logit_bias": {"50256": -100},
        "moderation": {}, "reasoning_effort": "extreme", "reasoning": {"effort": "odd", "order": 1}, "top_k": 5,
        "thinking": true, "response_format": {"type": "json_object", "schema": {}},
        "messages": [
            {"role": "user", "name": "ann", "content": [{"type": "text", "text": "a", "odd": 1}]},
            {"role": "user", "name": "bob", "content": "b", "weight": 0},
        ],
    });
    let mut named = dropped(&hi(&lossy));
    named.sort_unstable();
    let wanted = [
        "frequency_penalty",
        "logit_bias",
        "messages[].content[].odd",
        "messages[].name",
        "messages[].weight",
        "moderation",
        "presence_penalty",
        "reasoning.effort",
        "reasoning.order",
        "reasoning_effort",
        "response_format.schema",
        "seed",
        "thinking",
        "top_k",
    ];
    assert_eq!(named, wanted);
}

#[test]
fn the_newer_name_of_a_setting_wins() {
    with(&json!({"max_tokens": 1, "max_completion_tokens": 2, "user": "u", "safety_identifier": "s"}), |decoded| {
        let settings = decoded.conversation.settings;
        assert_eq!((settings.output_tokens_max, settings.user.as_deref()), (Some(2), Some("s")));
    });
    with(&json!({"max_tokens": 1, "user": "u"}), |decoded| {
        let settings = decoded.conversation.settings;
        assert_eq!((settings.output_tokens_max, settings.user.as_deref()), (Some(1), Some("u")));
    });
}

#[test]
fn settings_are_read() {
    with(
        &json!({"stop": ["a", "b"], "temperature": 1.5, "top_p": 0.5, "stream_options": {"include_usage": true}}),
        |decoded| {
            let settings = decoded.conversation.settings;
            assert_eq!((settings.stop.len(), settings.temperature, settings.top_p), (2, Some(1.5), Some(0.5)));
            assert!(decoded.asked.include_usage);
        },
    );
    with(&json!({"stop": "a"}), |decoded| assert_eq!(decoded.conversation.settings.stop, ["a"]));
    for (word, effort) in [
        ("none", Effort::None),
        ("minimal", Effort::Minimal),
        ("low", Effort::Low),
        ("medium", Effort::Medium),
        ("high", Effort::High),
        ("xhigh", Effort::ExtraHigh),
        ("max", Effort::Max),
    ] {
        with(&json!({"reasoning_effort": word}), |decoded| {
            let settings = decoded.conversation.settings;
            let shown = (effort != Effort::None).then_some(true);
            assert_eq!((settings.effort, settings.show_reasoning), (Some(effort), shown), "{word}");
        });
    }
}

#[test]
fn thinking_is_asked_for_in_the_words_of_other_gateways_too() {
    for (more, effort, shown) in [
        (json!({"reasoning": {"effort": "low"}}), Some(Effort::Low), Some(true)),
        (json!({"reasoning": {"effort": "high", "exclude": true}}), Some(Effort::High), Some(false)),
        (json!({"reasoning": {"effort": "low"}, "reasoning_effort": "high"}), Some(Effort::High), Some(true)),
        (json!({"reasoning": {"enabled": true}}), Some(Effort::Medium), Some(true)),
        (json!({"reasoning": {"enabled": false}}), Some(Effort::None), None),
        (json!({"reasoning": {"max_tokens": 9000}}), Some(Effort::High), Some(true)),
        (json!({"reasoning": {"summary": "auto"}}), None, Some(true)),
        (json!({"thinking": {"type": "enabled", "budget_tokens": 2000}}), Some(Effort::Medium), Some(true)),
        (json!({"thinking": {"type": "adaptive", "display": "omitted"}}), Some(Effort::Medium), Some(false)),
        (json!({"thinking": {"type": "disabled"}}), Some(Effort::None), None),
        (json!({"thinking": {"type": "disabled"}, "reasoning_effort": "low"}), Some(Effort::Low), Some(true)),
    ] {
        with(&more, |decoded| {
            let settings = decoded.conversation.settings;
            assert_eq!((settings.effort, settings.show_reasoning), (effort, shown), "{more}");
        });
    }
}

#[test]
fn the_form_of_the_answer_is_read() {
    let schema = r#"{"type":"object", "properties":{"n":{"const":12345678901234567890}}}"#;
    let body = format!(
        r#"{{"messages":[{{"role":"user","content":"hi"}}],"response_format":{{"type":"json_schema",
            "json_schema":{{"name":"number","description":"d","strict":true,"schema":{schema}}}}}}}"#
    );
    let decoded = request(body.as_bytes()).unwrap();
    let Some(Format::Schema { name, schema: read, strict }) = decoded.conversation.format else { panic!("no schema") };
    assert_eq!((name.as_deref(), read.get(), strict), (Some("number"), schema, Some(true)));
    assert_eq!(decoded.dropped.header(), None);
    with(&json!({"response_format": {"type": "json_object"}}), |decoded| {
        assert!(matches!(decoded.conversation.format, Some(Format::JsonObject)));
    });
}

#[test]
fn a_body_of_the_wrong_form_is_refused_with_its_place_and_without_content() {
    for (body, words) in [
        (r#"{"messages":"secret"}"#, "expected a sequence at line 1 column"),
        (
            r#"{"messages":[{"role":"user","content":{"secret":1}}]}"#,
            "`messages[0]` cannot be read: expected a string or a list",
        ),
        (r#"{"messages":["secret"]}"#, "`messages[0]` cannot be read: expected an object"),
        (r#"{"tools":[{"function":"secret"}]}"#, "`tools[0].function` cannot be read: expected an object"),
        (r#"{"messages":[{"role":"assistant","tool_calls":[7]}]}"#, "`messages[0].tool_calls[0]` cannot be read"),
        (r#"{"messages":[],"temperature":"secret"}"#, "expected f64"),
        (r#"{"messages":[secret"#, "not valid at line 1 column 14"),
        ("[]", "expected an object"),
    ] {
        let refusal = request(body.as_bytes()).unwrap_err();
        assert!(refusal.message.contains(words) && !refusal.message.contains("secret"), "{}", refusal.message);
    }
}

#[test]
fn a_small_body_cannot_become_much_memory() {
    let many = |item: &str, count: usize| vec![item; count].join(",");
    for (body, words) in [
        (format!(r#"{{"tools":[{}]}}"#, many(r#"{"name":"a"}"#, 10)), "`messages` is required"),
        (format!(r#"{{"messages":[{}]}}"#, many("{}", 1_000_001)), "more than 1000000 JSON objects"),
        (format!(r#"{{"messages":[{}]}}"#, many(r#"{"role":"user"}"#, 100_001)), "more than 100000 members"),
        (
            format!(r#"{{"stop":[{}],"messages":[{{"role":"user","content":"hi"}}]}}"#, many("\"\"", 100_001)),
            "no Chat Completions request",
        ),
    ] {
        let refusal = request(body.as_bytes()).unwrap_err();
        assert!(refusal.message.contains(words), "{}", refusal.message);
    }
}
