//! What users of other translators saw, once each. None of it may be seen here.

use super::*;
use crate::domain::model::Effort;

fn sent(list: &Value) -> Value {
    send(C_TO_A, &messages_of(list)).body
}

/// Tells the messages of a request in short: role, and kinds of blocks.
fn told(body: &Value) -> Vec<String> {
    let told = |message: &Value| {
        let kinds = message["content"].as_array().unwrap().iter().map(|block| block["type"].as_str().unwrap());
        format!("{}: {}", message["role"].as_str().unwrap(), kinds.collect::<Vec<_>>().join(" "))
    };
    body["messages"].as_array().unwrap().iter().map(told).collect()
}

#[test]
fn a_result_without_its_call_does_not_wedge_the_session() {
    let body = sent(&json!([user("go"), result("call_gone", "it was 4"), { "role": "tool", "content": "and 5" }]));
    assert_eq!(told(&body)[0].matches("text").count(), told(&body)[0].split(' ').count() - 1);
    let text = body.to_string();
    assert!(text.contains("it was 4") && text.contains("and 5") && !text.contains("tool_use_id"), "{text}");
}

#[test]
fn a_call_without_its_result_does_not_wedge_the_session() {
    let body = sent(&json!([user("go"), calls(&["c1", "c2"]), result("c2", "two"), user("never mind")]));
    assert_eq!(told(&body), ["user: text", "assistant: tool_use tool_use", "user: tool_result tool_result text"]);
    let results = &body["messages"][2]["content"];
    assert_eq!((&results[0]["tool_use_id"], &results[0]["is_error"]), (&json!("c1"), &json!(true)));
    assert_eq!((&results[1]["tool_use_id"], &results[1]["content"][0]["text"]), (&json!("c2"), &json!("two")));
    let body = sent(&json!([user("go"), calls(&["c1"])]));
    assert_eq!(told(&body), ["user: text", "assistant: tool_use", "user: tool_result"]);
}

#[test]
fn a_message_between_call_and_result_moves_behind_the_result() {
    let list = json!([user("go"), calls(&["c1"]), user("hurry"), { "role": "system", "content": "Time." }, result("c1", "done")]);
    assert_eq!(told(&sent(&list)), ["user: text", "assistant: tool_use", "user: tool_result text text"]);
}

#[test]
fn results_that_are_messages_of_their_own_are_one_message() {
    let list = json!([user("go"), calls(&["c1", "c2", "c3"]), result("c3", "z"), result("c1", "x"), result("c2", "y")]);
    let body = sent(&list);
    assert_eq!(told(&body)[2], "user: tool_result tool_result tool_result");
    let ids: Vec<&Value> =
        body["messages"][2]["content"].as_array().unwrap().iter().map(|block| &block["tool_use_id"]).collect();
    assert_eq!(ids, ["c1", "c2", "c3"]);
}

#[test]
fn what_the_developer_says_is_not_dropped_wherever_it_stands() {
    let body = sent(&json!([{ "role": "developer", "content": "Be brief." }, user("Hi"),
        { "role": "assistant", "content": "Hello" }, { "role": "developer", "content": "Now in French." }, user("And you?")]));
    let (system, last) = (body["system"].to_string(), body["messages"][2].to_string());
    assert!(system.contains("Be brief.") && !system.contains("French"), "{system}");
    assert!(last.contains("Now in French.") && last.contains("And you?"), "{last}");
}

#[test]
fn the_systems_words_in_the_middle_stay_there() {
    let body = sent(
        &json!([user("Hi"), { "role": "system", "content": "A." }, user("go"), { "role": "system", "content": "B." }]),
    );
    let text = body["messages"].to_string();
    assert!(text.find("A.").unwrap() < text.find("go").unwrap() && text.find("go").unwrap() < text.find("B.").unwrap());
    assert_eq!((told(&body), &body["system"]), (vec!["user: text text text text".to_owned()], &Value::Null));
}

#[test]
fn what_the_model_thought_before_never_goes_upstream() {
    let thought = json!({ "type": "thinking", "thinking": "secret", "signature": "EqQB" });
    let list = json!([user("Hi"),
        { "role": "assistant", "content": "a", "reasoning_content": "secret", "reasoning": "secret", "thinking_blocks": [thought],
            "reasoning_details": [{ "type": "reasoning.text", "text": "secret" }] },
        user("Hi"), { "role": "assistant", "content": [thought, { "type": "text", "text": "b" }] }, user("go")]);
    let sent = send(C_TO_A, &messages_of(&list));
    assert!(!sent.text.contains("secret") && !sent.text.contains("EqQB") && sent.dropped.is_empty(), "{}", sent.text);
}

#[test]
fn an_id_that_does_not_fit_is_the_same_for_call_and_result_and_no_two_ids_become_one() {
    let long = "x".repeat(64);
    let ids = ["call:1.a", "call:1_a", &format!("{long}1"), &format!("{long}2"), "call_fits"];
    let mut list = vec![user("go"), calls(&ids)];
    list.extend(ids.iter().map(|id| result(id, id)));
    let body = sent(&json!(list));
    let (calls, results) = (&body["messages"][1]["content"], &body["messages"][2]["content"]);
    let mut seen = Vec::new();
    for (at, id) in ids.iter().enumerate() {
        let wire = calls[at]["id"].as_str().unwrap();
        assert_eq!((results[at]["tool_use_id"].as_str(), &results[at]["content"][0]["text"]), (Some(wire), &json!(id)));
        assert!(
            wire.len() <= 64 && wire.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte)),
            "{wire}"
        );
        assert!(!seen.contains(&wire), "{wire}");
        seen.push(wire);
    }
    assert_eq!(seen[4], "call_fits");
}

#[test]
fn a_call_with_an_empty_id_gets_one_and_no_result_of_another() {
    let body = sent(&json!([user("go"), calls(&["", "c1"]), result("c1", "one"), result("", "whose?")]));
    assert_eq!(told(&body), ["user: text", "assistant: tool_use tool_use", "user: tool_result tool_result text text"]);
    let results = &body["messages"][2]["content"];
    assert_eq!((&results[0]["is_error"], &results[1]["content"][0]["text"]), (&json!(true), &json!("one")));
    assert!(!body["messages"][1]["content"][0]["id"].as_str().unwrap().is_empty());
}

#[test]
fn no_call_is_lost_where_several_come_at_once() {
    let names = |body: &Value| body["messages"][1]["content"].as_array().unwrap().len();
    assert_eq!(names(&sent(&json!([user("go"), calls(&["a", "b", "c", "d"])]))), 4);
    // Some clients write a turn of the model as several messages.
    assert_eq!(names(&sent(&json!([user("go"), calls(&["a"]), calls(&["b"]), result("a", "x"), result("b", "y")]))), 2);
}

#[test]
fn schemas_that_the_api_would_refuse_are_mended() {
    let tool =
        |parameters: Value| json!({ "type": "function", "function": { "name": "run", "parameters": parameters } });
    for (parameters, wanted) in [
        (json!({}), json!({ "type": "object", "properties": {} })),
        (
            json!({ "type": "object", "properties": { "a": { "type": "string" } }, "required": null }),
            json!({ "type": "object", "properties": { "a": { "type": "string" } } }),
        ),
        (json!({ "type": null, "properties": {} }), json!({ "type": "object", "properties": {} })),
        (
            json!({ "anyOf": [{ "properties": { "a": {} }, "required": ["a"] }, { "properties": { "b": {} } }] }),
            json!({ "type": "object", "properties": { "a": {}, "b": {} } }),
        ),
    ] {
        let sent = send(C_TO_A, &chat(&json!({ "tools": [tool(parameters.clone())] })));
        assert_eq!(sent.body["tools"][0]["input_schema"], wanted, "{parameters}");
    }
}

#[test]
fn numbers_in_arguments_and_schemas_are_not_rounded() {
    let body = br#"{"model":"m","messages":[{"role":"user","content":"go"},{"role":"assistant","tool_calls":[{"id":"c","function":
        {"name":"run","arguments":"{\"z\":12345678901234567890,\"a\":1.10}"}}]},{"role":"tool","tool_call_id":"c","content":""}],
        "tools":[{"type":"function","function":{"name":"run","parameters":{"type":"object","properties":{"z":{"const":12345678901234567890},"a":{"maximum":1.10}}}}}]}"#;
    let text = String::from_utf8(C_TO_A.request(body, &CLAUDE, None).unwrap().body).unwrap();
    assert!(text.contains(r#""input":{"z":12345678901234567890,"a":1.10}"#), "{text}");
    assert!(text.contains(r#"{"z":{"const":12345678901234567890},"a":{"maximum":1.10}}"#), "{text}");
}

#[test]
fn a_freeform_tool_is_offered_as_one_of_text_and_comes_back_as_what_it_is() {
    let grammar = json!({ "type": "grammar", "grammar": { "syntax": "lark", "definition": "start: hunk+" } });
    let tools = json!([{ "type": "custom", "custom": { "name": "apply_patch", "description": "Edits files.", "format": grammar } }]);
    let past = json!({ "role": "assistant", "tool_calls": [{ "id": "c", "type": "custom", "custom": { "name": "apply_patch", "input": "*** \"x\"\n" } }] });
    let sent = send(C_TO_A, &chat(&json!({ "messages": [user("go"), past, result("c", "ok")], "tools": tools })));
    let tool = &sent.body["tools"][0];
    assert_eq!(tool["input_schema"]["required"], json!(["input"]));
    assert!(tool["description"].as_str().unwrap().contains("start: hunk+"), "{tool}");
    assert_eq!(sent.body["messages"][1]["content"][0]["input"], json!({ "input": "*** \"x\"\n" }));
    assert_eq!(sent.dropped, "tools[].custom.format");
    assert!(sent.way_back.names.is_wrapped("apply_patch"));
}

#[test]
fn top_p_that_thinking_excludes_is_left_out_and_named() {
    let body = chat(&json!({ "reasoning_effort": "medium", "top_p": 0.9, "temperature": 0.3, "max_tokens": 20_000 }));
    let sent = try_send(C_TO_A, &body, &OLD_CLAUDE).unwrap();
    assert_eq!((&sent.body["thinking"]["type"], &sent.body["top_p"]), (&json!("enabled"), &Value::Null));
    assert_eq!(sent.dropped, "temperature,top_p");
}

#[test]
fn stop_texts_are_carried_and_what_cannot_be_one_is_named() {
    let sent = send(C_TO_A, &chat(&json!({ "stop": ["END", "\n"] })));
    assert_eq!((&sent.body["stop_sequences"], &*sent.dropped), (&json!(["END"]), "stop"));
}

#[test]
fn every_effort_is_one_that_the_model_takes() {
    for effort in ["minimal", "low", "medium", "high", "xhigh", "max"] {
        for limit in [None, Some(1), Some(1024), Some(2000), Some(8192), Some(64_000)] {
            let body = chat(&json!({ "reasoning_effort": effort, "max_tokens": limit }));
            let sent = try_send(C_TO_A, &body, &OLD_CLAUDE).unwrap();
            let most = sent.body["max_tokens"].as_u64().unwrap();
            assert!(limit.is_none_or(|limit| limit == most), "{effort} {limit:?}: {most}");
            match sent.body["thinking"]["budget_tokens"].as_u64() {
                Some(budget) => assert!((1024..most).contains(&budget), "{effort} {limit:?}: {budget} of {most}"),
                None => assert_eq!(sent.dropped, "reasoning_effort", "{effort} {limit:?}"),
            }
        }
    }
}

#[test]
fn effort_turns_thinking_on_and_shows_it() {
    let sent = send(C_TO_A, &chat(&json!({ "reasoning_effort": "high" })));
    assert_eq!(sent.body["thinking"], json!({ "type": "adaptive", "display": "summarized" }));
    assert_eq!(sent.body["output_config"]["effort"], "high");
    assert_eq!(send(C_TO_A, &chat(&json!({ "reasoning_effort": "none" }))).body["thinking"], Value::Null);
}

#[test]
fn effort_after_a_call_does_not_demand_thinking_that_the_dialect_cannot_keep() {
    let members = json!({ "messages": [user("go"), calls(&["c1"]), result("c1", "x")], "tools": [function("run")],
        "reasoning_effort": "high" });
    let sent = try_send(C_TO_A, &chat(&members), &OLD_CLAUDE).unwrap();
    assert_eq!((&sent.body["thinking"], &*sent.dropped), (&Value::Null, "reasoning_effort"));
    assert_eq!(send(C_TO_A, &chat(&members)).body["thinking"]["type"], "adaptive");
}

#[test]
fn a_clients_own_tool_named_like_one_of_anthropics_is_still_its_own() {
    let sent = send(C_TO_A, &chat(&json!({ "tools": [function("web_fetch")] })));
    let name = sent.body["tools"][0]["name"].as_str().unwrap();
    assert_ne!(name, "web_fetch");
    assert_eq!(sent.way_back.names.client(name).map(|client| &*client.name), Some("web_fetch"));
}

#[test]
fn long_names_of_mcp_tools_are_taken_and_found_again() {
    let long = format!("mcp__server__{}", "tool".repeat(40));
    let sent = send(C_TO_A, &chat(&json!({ "tools": [function(&format!("{long}1")), function(&format!("{long}2"))] })));
    let names: Vec<&str> =
        sent.body["tools"].as_array().unwrap().iter().map(|tool| tool["name"].as_str().unwrap()).collect();
    assert!(names[0] != names[1] && names.iter().all(|name| name.len() <= 128), "{names:?}");
    assert_eq!(sent.way_back.names.client(names[1]).map(|client| &*client.name), Some(&*format!("{long}2")));
}

#[test]
fn nothing_is_left_out_in_silence_that_may_change_the_answer() {
    let members = json!({ "seed": 7, "logit_bias": { "1": 1 }, "presence_penalty": 1, "web_search_options": {},
        "tools": [function("run"), { "type": "mcp" }], "temperature": 0, "made_up": true });
    let mut dropped: Vec<String> = send(C_TO_A, &chat(&members)).dropped.split(',').map(str::to_owned).collect();
    dropped.sort_unstable();
    let wanted =
        ["logit_bias", "made_up", "presence_penalty", "seed", "temperature", "tools[].mcp", "web_search_options"];
    assert_eq!(dropped, wanted);
}

#[test]
fn an_empty_message_is_left_out_and_nothing_is_put_in_its_place() {
    let list =
        json!([user("Hi"), { "role": "assistant", "content": "" }, user("\n"), { "role": "assistant" }, user("go")]);
    let body = sent(&list);
    assert_eq!(body["messages"].as_array().unwrap().len(), 1);
    let texts: Vec<&Value> =
        body["messages"][0]["content"].as_array().unwrap().iter().map(|block| &block["text"]).collect();
    assert_eq!(texts, ["Hi", "go"]);
}

#[test]
fn an_answer_that_the_client_begins_is_gone_on_with_where_the_model_can() {
    let body = messages_of(&json!([user("Give me JSON"), { "role": "assistant", "content": "{ " }]));
    let old = try_send(C_TO_A, &body, &OLD_CLAUDE).unwrap();
    assert_eq!((&old.body["messages"][1]["content"][0]["text"], &*old.dropped), (&json!("{"), ""));
    let new = send(C_TO_A, &body);
    assert_eq!((told(&new.body)[2].as_str(), &*new.dropped), ("user: text", "messages[].prefill"));
}

#[test]
fn a_result_of_the_older_form_is_that_of_the_latest_call_of_its_name() {
    let call = json!({ "role": "assistant", "content": null, "function_call": { "name": "run", "arguments": "{}" } });
    let found = json!({ "role": "function", "name": "run", "content": "42" });
    let body = sent(&json!([user("go"), call, user("again"), call, found]));
    let results: Vec<&Value> = body["messages"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|message| {
            message["content"].as_array().unwrap().iter().filter(|block| block["type"] == "tool_result")
        })
        .collect();
    assert_eq!((results.len(), &results[0]["is_error"]), (2, &json!(true)), "{body}");
    assert_eq!(results[1]["content"][0]["text"], "42", "{body}");
}

#[test]
fn a_result_inside_a_result_is_the_result() {
    let inner = json!([{ "type": "tool_result", "tool_use_id": "c1", "content": "42" }]);
    let list = json!([user("go"), calls(&["c1"]), { "role": "tool", "tool_call_id": "c1", "content": inner }]);
    let body = sent(&list);
    assert_eq!(body["messages"][2]["content"][0]["content"], json!([{ "type": "text", "text": "42" }]), "{body}");
    let body = send(C_TO_R, &messages_of(&list)).body;
    assert_eq!(body["input"][2]["output"], "42", "{body}");
}

#[test]
fn an_answer_that_the_client_leaves_empty_is_none() {
    let sent = send(C_TO_A, &messages_of(&json!([user("Hi"), { "role": "assistant", "content": "" }])));
    assert_eq!((told(&sent.body), sent.dropped.as_str()), (vec!["user: text".to_owned()], ""));
}

#[test]
fn a_wish_to_think_without_a_measure_is_one() {
    for wish in [
        json!({ "reasoning": { "enabled": true } }),
        json!({ "thinking": { "type": "enabled" } }),
        json!({ "thinking": { "type": "adaptive" } }),
    ] {
        let sent = try_send(C_TO_A, &chat(&wish), &OLD_CLAUDE).unwrap();
        assert_eq!(sent.body["thinking"]["type"], "enabled", "{wish}: {}", sent.text);
    }
}

#[test]
fn an_effort_in_the_name_of_a_model_shows_what_it_thinks() {
    let named = Target { effort: Some(Effort::High), ..CLAUDE };
    let sent = try_send(C_TO_A, &chat(&json!({})), &named).unwrap();
    assert_eq!(sent.body["thinking"], json!({ "type": "adaptive", "display": "summarized" }));
    // A client of Messages that wants no thinking for one request gets none.
    let named = Target { effort: Some(Effort::High), ..gpt_target() };
    let off = messages(&json!({ "thinking": { "type": "disabled" } }));
    let sent = try_send(Translation::MessagesToResponses, &off, &named).unwrap();
    assert_ne!(sent.body["reasoning"]["effort"], "high", "{}", sent.text);
}

#[test]
fn a_choice_among_very_many_tools_is_read_at_once_or_refused() {
    let tools: Vec<Value> = (0..2_000).map(|number| function(&format!("tool_{number:04}"))).collect();
    let names: Vec<Value> = (0..100_000).map(|_| json!({ "name": "tool_none" })).collect();
    let choice = json!({ "type": "allowed_tools", "allowed_tools": { "mode": "auto", "tools": names } });
    let body = chat(&json!({ "tools": tools, "tool_choice": choice }));
    assert!(try_send(C_TO_A, &body, &CLAUDE).is_err());
    let choice = json!({ "type": "allowed_tools", "mode": "auto", "tools": names });
    let told =
        try_send(Translation::ResponsesToMessages, &responses(&json!({ "tools": [], "tool_choice": choice })), &CLAUDE);
    assert!(told.is_err_and(|message| message.contains("more than 1000")));
}
