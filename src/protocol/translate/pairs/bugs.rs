//! What users of other translators saw, once each. None of it may be seen here.

use super::*;

const A_TO_R: Translation = Translation::MessagesToResponses;
const R_TO_A: Translation = Translation::ResponsesToMessages;

fn tool(name: &str) -> Value {
    json!({ "type": "function", "name": name, "parameters": { "type": "object", "properties": {} }, "strict": false })
}

fn claude_call(id: &str, input: &Value) -> Value {
    json!({ "type": "tool_use", "id": id, "name": "run", "input": input })
}

#[test]
fn a_stop_reason_says_tool_use_only_where_there_is_a_call() {
    assert_eq!(to_claude_code(&[message("hi")], "completed").1["stop_reason"], "end_turn");
    assert_eq!(to_claude_code(&[function_call("call_1", "run", "{}")], "completed").1["stop_reason"], "tool_use");
}

#[test]
fn an_answer_that_met_the_limit_is_not_told_as_complete() {
    let (_, response) = to_codex(&[json!({ "type": "text", "text": "half of" })], "max_tokens", &plain());
    assert_eq!(response["status"], "incomplete");
    assert_eq!(response["incomplete_details"]["reason"], "max_output_tokens");
    assert_eq!(response["output"][0]["status"], "incomplete");
    assert_eq!(to_claude_code(&[message("half of")], "incomplete").1["stop_reason"], "max_tokens");
}

#[test]
fn a_call_that_was_cut_off_is_not_run() {
    let cut = function_call("call_1", "run", "{\"cmd\":\"rm -rf /tm");
    assert_eq!(to_claude_code(&[cut], "incomplete").1["stop_reason"], "max_tokens");
    let (_, response) = to_codex(&[claude_call("toolu_1", &json!("{\"cmd\":\"rm -rf /tm"))], "max_tokens", &plain());
    assert_eq!((&response["status"], &response["output"][0]["status"]), (&json!("incomplete"), &json!("incomplete")));
}

#[test]
fn reasoning_is_over_before_the_call_begins() {
    let thinking = json!({ "type": "thinking", "thinking": "I should run it", "signature": "EqQB" });
    let blocks = [thinking, claude_call("toolu_1", &json!({ "cmd": "ls" }))];
    let (checked, _) = to_codex(&blocks, "tool_use", &plain());
    let place = |kind: &str, index: u64| {
        let found = checked.events.iter().position(|event| event["type"] == kind && event["output_index"] == index);
        found.unwrap_or_else(|| panic!("{kind} {index}"))
    };
    assert!(place("response.output_item.done", 0) < place("response.output_item.added", 1));
}

#[test]
fn a_result_without_its_call_does_not_wedge_the_session() {
    let items = json!([{ "role": "user", "content": "go" },
        { "type": "function_call_output", "call_id": "call_gone", "output": "it was 4" },
        { "type": "function_call_output", "output": "and 5" }]);
    let sent = send(R_TO_A, &responses(&json!({ "input": items })));
    let text = sent.body.to_string();
    assert!(text.contains("it was 4") && text.contains("and 5"), "{text}");
    assert!(!text.contains("tool_result") && !text.contains("tool_use_id"), "{text}");
    let turn = json!([{ "role": "user", "content": [{ "type": "tool_result", "tool_use_id": "toolu_gone", "content": "it was 4" }] }]);
    let sent = send(A_TO_R, &messages(&json!({ "messages": turn })));
    assert!(
        sent.body["input"].to_string().contains("it was 4") && !sent.body.to_string().contains("function_call_output")
    );
}

#[test]
fn a_call_without_its_result_does_not_wedge_the_session() {
    let items = json!([{ "role": "user", "content": "go" },
        { "type": "function_call", "call_id": "call_1", "name": "run", "arguments": "{}" },
        { "role": "user", "content": "never mind" }]);
    let sent = send(R_TO_A, &responses(&json!({ "input": items, "tools": [tool("run")] })));
    let answer = &sent.body["messages"][2]["content"];
    assert_eq!((&answer[0]["type"], &answer[0]["tool_use_id"]), (&json!("tool_result"), &json!("call_1")));
    assert_eq!((&answer[0]["is_error"], &answer[1]["text"]), (&json!(true), &json!("never mind")));
}

#[test]
fn a_message_between_call_and_result_moves_behind_the_result() {
    let items = json!([{ "role": "user", "content": "go" },
        { "type": "function_call", "call_id": "call_1", "name": "run", "arguments": "{}" },
        { "role": "user", "content": "hurry" },
        { "type": "function_call_output", "call_id": "call_1", "output": "done" }]);
    let sent = send(R_TO_A, &responses(&json!({ "input": items, "tools": [tool("run")] })));
    let kinds: Vec<&Value> =
        sent.body["messages"][2]["content"].as_array().unwrap().iter().map(|block| &block["type"]).collect();
    assert_eq!(kinds, ["tool_result", "text"]);
}

#[test]
fn what_the_developer_says_is_not_dropped_wherever_it_stands() {
    let items = json!([{ "role": "developer", "content": "Be brief." }, { "role": "user", "content": "Hi" },
        { "role": "assistant", "content": "Hello" }, { "role": "system", "content": "Now in French." },
        { "role": "user", "content": "And you?" }]);
    let sent = send(R_TO_A, &responses(&json!({ "instructions": "First.", "input": items })));
    let system = sent.body["system"].to_string();
    assert!(system.find("First.").unwrap() < system.find("Be brief.").unwrap());
    let last = sent.body["messages"].as_array().unwrap().last().unwrap().to_string();
    assert!(last.contains("Now in French.") && last.contains("And you?") && !system.contains("French"));
}

#[test]
fn the_systems_words_in_the_middle_stay_there() {
    let turns = json!([{ "role": "user", "content": "Hi" }, { "role": "system", "content": "# Environment" },
        { "role": "user", "content": "go" }]);
    let sent = send(A_TO_R, &messages(&json!({ "system": "You are Claude.", "messages": turns })));
    let roles: Vec<&Value> = sent.body["input"].as_array().unwrap().iter().map(|item| &item["role"]).collect();
    assert_eq!(
        (roles, &sent.body["instructions"]),
        (vec![&json!("user"), &json!("developer"), &json!("user")], &json!("You are Claude."))
    );
}

#[test]
fn cached_tokens_are_counted_once() {
    let (_, response) = to_codex(&[json!({ "type": "text", "text": "a" })], "end_turn", &plain());
    let usage = &response["usage"];
    assert_eq!((&usage["input_tokens"], &usage["total_tokens"]), (&json!(16), &json!(46)));
    assert_eq!(usage["input_tokens_details"], json!({ "cached_tokens": 4, "cache_write_tokens": 2 }));
    let (_, message) = to_claude_code(&[message("a")], "completed");
    let usage = &message["usage"];
    assert_eq!((&usage["input_tokens"], &usage["cache_read_input_tokens"]), (&json!(10), &json!(4)));
    assert_eq!((&usage["cache_creation_input_tokens"], &usage["output_tokens"]), (&json!(2), &json!(30)));
}

#[test]
fn thinking_tokens_are_reported() {
    let (checked, _) = to_claude_code(&[message("a")], "completed");
    assert_eq!(checked.of("message_delta")[0]["usage"]["output_tokens_details"]["thinking_tokens"], 7);
}

#[test]
fn reasoning_of_somebody_else_never_goes_upstream() {
    for foreign in ["gAAAAABmock", "EqQBmock", "", "ZHVvcG9vbAEAbm90aGluZw=="] {
        let items = json!([{ "role": "user", "content": "Hi" },
            { "type": "reasoning", "id": "rs_1", "summary": [{ "type": "summary_text", "text": "secret" }], "encrypted_content": foreign },
            { "role": "assistant", "content": "Hello" }, { "role": "user", "content": "go" }]);
        let sent = send(R_TO_A, &responses(&json!({ "input": items }))).body.to_string();
        assert!(!sent.contains("thinking\":\"secret") && !sent.contains("signature"), "{sent}");
        let turns = json!([{ "role": "user", "content": "Hi" }, { "role": "assistant", "content": [
            { "type": "thinking", "thinking": "secret", "signature": foreign }, { "type": "text", "text": "Hello" }] },
            { "role": "user", "content": "go" }]);
        let sent = send(A_TO_R, &messages(&json!({ "messages": turns }))).body.to_string();
        assert!(!sent.contains("encrypted_content\":") && !sent.contains("secret"), "{sent}");
    }
}

#[test]
fn a_shortened_id_is_the_same_for_call_and_result_and_no_two_ids_become_one() {
    let long = "x".repeat(100);
    let ids = [format!("{long}1"), format!("{long}2"), "call:1.a".to_owned(), "call:1_a".to_owned()];
    let mut items = vec![json!({ "role": "user", "content": "go" })];
    let mut turns = vec![json!({ "role": "user", "content": "go" })];
    for id in &ids {
        items.push(json!({ "type": "function_call", "call_id": id, "name": "run", "arguments": "{}" }));
        items.push(json!({ "type": "function_call_output", "call_id": id, "output": id }));
        turns.push(json!({ "role": "assistant", "content": [claude_call(id, &json!({}))] }));
        turns.push(json!({ "role": "user", "content": [{ "type": "tool_result", "tool_use_id": id, "content": id }] }));
    }
    let body = send(A_TO_R, &messages(&json!({ "messages": turns }))).body;
    let all = |kind: &str, list: &Value| -> Vec<String> {
        let items = list.as_array().unwrap().iter().filter(|item| item["type"] == kind);
        items.map(|item| item["call_id"].as_str().unwrap().to_owned()).collect()
    };
    let (calls, outputs) = (all("function_call", &body["input"]), all("function_call_output", &body["input"]));
    assert_eq!(calls, outputs);
    assert!(calls.iter().all(|id| id.len() <= 64) && calls.iter().collect::<std::collections::HashSet<_>>().len() == 4);
    let body = send(R_TO_A, &responses(&json!({ "input": items }))).body.to_string();
    for id in body.split("\"tool_use_id\":\"").skip(1).map(|rest| rest.split('"').next().unwrap()) {
        assert!(id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte)), "{id}");
        assert_eq!(body.matches(&format!("\"{id}\"")).count(), 2, "{id}");
    }
}

#[test]
fn apply_patch_comes_back_as_the_text_it_is() {
    let custom = json!({ "type": "custom", "name": "apply_patch", "description": "Edits.",
        "format": { "type": "grammar", "syntax": "lark", "definition": "start: x" } });
    let sent = send(R_TO_A, &responses(&json!({ "tools": [custom] })));
    let offered = &sent.body["tools"][0];
    assert_eq!(offered["input_schema"]["required"], json!(["input"]));
    assert!(offered["description"].as_str().unwrap().contains("start: x"));
    let patch = "*** Begin Patch\n+quote \" \u{1f980}\n*** End Patch";
    let call = json!({ "type": "tool_use", "id": "toolu_1", "name": "apply_patch", "input": { "input": patch } });
    let (checked, response) = to_codex(&[call], "tool_use", &sent.way_back);
    let item = &response["output"][0];
    assert_eq!(
        (&item["type"], &item["name"], &item["input"]),
        (&json!("custom_tool_call"), &json!("apply_patch"), &json!(patch))
    );
    assert!(checked.of("response.custom_tool_call_input.delta").len() > 3, "it is seen being written");
}

#[test]
fn reasoning_can_be_carried_on_without_the_providers_store() {
    let sent = send(A_TO_R, &messages(&json!({ "thinking": { "type": "adaptive" } })));
    assert_eq!((&sent.body["store"], &sent.body["include"]), (&json!(false), &json!(["reasoning.encrypted_content"])));
    assert_eq!(sent.body["reasoning"]["summary"], "auto");
}

#[test]
fn text_is_passed_on_as_it_comes() {
    let stream = wire(&gpt(&[message("one two three four")], "completed"));
    let mut pipe = Pipe::Translate(Box::new(A_TO_R.stream(NOW, plain())));
    let mut out = Vec::new();
    for (event, wanted) in
        stream.split_inclusive("\n\n").zip(["message_start", "", "", "content_block_start", "one t", "wo th"])
    {
        out.clear();
        pipe.feed(event.as_bytes(), &mut out).unwrap();
        let out = String::from_utf8_lossy(&out);
        assert!(out.contains(wanted) || wanted == "content_block_start", "{event} gave {out}");
    }
}

#[test]
fn arguments_are_passed_on_as_they_come_and_never_kept_back() {
    let stream = wire(&claude(&[claude_call("toolu_1", &json!({ "cmd": "echo one two three" }))], "tool_use"));
    let mut pipe = Pipe::Translate(Box::new(R_TO_A.stream(NOW, plain())));
    for event in
        stream.split_inclusive("\n\n").filter(|event| event.contains("partial_json") && !event.contains("\":\"\""))
    {
        let _ = event;
    }
    for event in stream.split_inclusive("\n\n") {
        let mut out = Vec::new();
        pipe.feed(event.as_bytes(), &mut out).unwrap();
        let says_more = event.contains("input_json_delta") && !event.contains("\"partial_json\":\"\"");
        assert_eq!(says_more, String::from_utf8_lossy(&out).contains("function_call_arguments.delta"), "{event}");
    }
}

#[test]
fn a_small_budget_asks_for_little_thinking_and_is_never_refused() {
    for (budget, effort) in [(1024, "low"), (8192, "medium"), (24_576, "high"), (31_999, "xhigh")] {
        let thinking = json!({ "type": "enabled", "budget_tokens": budget });
        let sent = send(A_TO_R, &messages(&json!({ "max_tokens": 32_000, "thinking": thinking })));
        assert_eq!(sent.body["reasoning"]["effort"], effort, "{budget}");
    }
}

#[test]
fn no_call_is_lost_where_several_come_at_once() {
    let calls: Vec<Value> =
        (0..5).map(|n| function_call(&format!("call_{n}"), "run", &format!("{{\"n\":{n}}}"))).collect();
    let (_, message) = to_claude_code(&calls, "completed");
    let inputs: Vec<&Value> = message["content"].as_array().unwrap().iter().map(|block| &block["input"]["n"]).collect();
    assert_eq!(inputs, [0, 1, 2, 3, 4]);
}

#[test]
fn calls_that_interleave_are_taken_apart() {
    let (one, two) =
        (function_call("call_1", "run", "{\"a\":\"first\"}"), function_call("call_2", "run", "{\"b\":\"second\"}"));
    let events = gpt(&[one, two], "completed");
    let of = |index: u64| events.iter().filter(move |event| event["output_index"] == index);
    let (mut first, mut second) = (of(0), of(1));
    let mut mixed: Vec<Value> = events[..2].to_vec();
    loop {
        let pair = [first.next(), second.next()];
        if pair.iter().all(Option::is_none) {
            break;
        }
        mixed.extend(pair.into_iter().flatten().cloned());
    }
    mixed.push(events.last().unwrap().clone());
    let checked = checked(A_TO_R, &wire(&mixed), &plain());
    let content = assembled(&checked)["content"].clone();
    assert_eq!((&content[0]["input"], &content[1]["input"]), (&json!({ "a": "first" }), &json!({ "b": "second" })));
}

#[test]
fn arguments_that_come_only_at_the_end_are_not_lost() {
    let whole = gpt(&[function_call("call_1", "run", "{\"a\":1}")], "completed");
    for gone in [
        &["response.function_call_arguments.delta"][..],
        &["response.function_call_arguments.delta", "response.function_call_arguments.done"],
        &[
            "response.function_call_arguments.delta",
            "response.function_call_arguments.done",
            "response.output_item.added",
        ],
        &[
            "response.function_call_arguments.delta",
            "response.function_call_arguments.done",
            "response.output_item.added",
            "response.output_item.done",
        ],
    ] {
        let left: Vec<Value> =
            whole.iter().filter(|event| !gone.contains(&event["type"].as_str().unwrap())).cloned().collect();
        let checked = checked(A_TO_R, &wire(&left), &plain());
        assert_eq!(assembled(&checked)["content"][0]["input"], json!({ "a": 1 }), "without {gone:?}");
    }
}

#[test]
fn a_stream_with_oddities_of_its_upstream_is_understood() {
    let mut events = gpt(&[reasoning("rs_1", &["a", "b"], "gA"), message("hello")], "completed");
    events.retain(|event| !event["type"].as_str().unwrap().contains("_part."));
    for event in &mut events {
        event.as_object_mut().unwrap().remove("sequence_number");
        if event["type"] == "response.output_item.done" {
            event["item"]["id"] = json!("another");
        }
    }
    events.last_mut().unwrap()["response"]["output"] = json!([]);
    events.insert(3, json!({ "type": "keepalive" }));
    events.insert(4, json!({ "type": "response.something_new", "output_index": 77 }));
    let stream =
        events.iter().fold(String::new(), |all, event| all + &format!("data:{event}\r\n\r\n: comment\r\n\r\n"));
    let way_back = plain();
    let message = assembled(&checked(A_TO_R, &stream, &way_back));
    assert_eq!(
        (&message["content"][0]["thinking"], &message["content"][1]["text"]),
        (&json!("a\n\nb"), &json!("hello"))
    );
}

#[test]
fn a_thought_without_a_text_still_has_its_place() {
    let (checked, message) = to_claude_code(&[reasoning("rs_1", &[], "gAAA"), message("a")], "completed");
    assert_eq!(message["content"][0]["thinking"], "");
    assert!(!message["content"][0]["signature"].as_str().unwrap().is_empty());
    assert!(checked.events.iter().any(|event| event["content_block"]["thinking"] == ""), "the empty text is there");
}

#[test]
fn a_stream_that_is_cut_is_never_told_as_complete() {
    for (translation, stream) in [
        (A_TO_R, wire(&gpt(&[reasoning("rs_1", &["a"], "gA"), message("hello")], "completed"))),
        (R_TO_A, wire(&claude(&[json!({ "type": "text", "text": "hello" })], "end_turn"))),
    ] {
        for cut in 0..stream.trim_end().len() {
            let (out, end, _) = piped(translation, [&stream.as_bytes()[..cut]], &plain());
            assert_eq!((end, check(translation, &out).ended), (End::CutShort, Ended::CutShort), "cut at {cut}");
        }
    }
}

#[test]
fn an_error_in_the_stream_is_no_end() {
    let error = "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":\"Overloaded\"}}\n\n";
    for (translation, stream) in [
        (A_TO_R, wire(&gpt(&[message("hello")], "completed"))),
        (R_TO_A, wire(&claude(&[json!({ "type": "text", "text": "hello" })], "end_turn"))),
    ] {
        let cut = stream.match_indices("\n\n").nth(4).unwrap().0 + 2;
        let broken = format!("{}{error}{}", &stream[..cut], &stream[cut..]);
        let (out, end, pipe) = piped(translation, [broken.as_bytes()], &plain());
        assert_eq!((end, check(translation, &out).ended), (End::Failed, Ended::CutShort));
        assert!(pipe.error().is_some());
    }
    let failed = "event: response.failed\ndata: {\"type\":\"response.failed\",\"response\":{\"id\":\"resp_1\",\"status\":\"failed\",\"error\":{\"code\":\"server_error\",\"message\":\"oh\"}}}\n\n";
    assert_eq!(piped(A_TO_R, [failed.as_bytes()], &plain()).1, End::Failed);
}

#[test]
fn a_clients_own_tool_named_like_one_of_anthropics_is_still_its_own() {
    let sent = send(R_TO_A, &responses(&json!({ "tools": [tool("web_fetch")] })));
    let name = sent.body["tools"][0]["name"].as_str().unwrap().to_owned();
    assert_ne!(name, "web_fetch");
    let call = json!({ "type": "tool_use", "id": "toolu_1", "name": name, "input": {} });
    assert_eq!(to_codex(&[call], "tool_use", &sent.way_back).1["output"][0]["name"], "web_fetch");
}

#[test]
fn a_probe_for_one_token_is_not_refused() {
    let sent = send(A_TO_R, &messages(&json!({ "max_tokens": 1 })));
    assert_eq!(sent.body["max_output_tokens"], 16);
}

#[test]
fn more_tokens_than_the_model_has_are_not_asked_for() {
    let sent = send(A_TO_R, &messages(&json!({ "max_tokens": 1_000_000 })));
    assert_eq!(sent.body["max_output_tokens"], 128_000);
}

#[test]
fn effort_turns_thinking_on() {
    let sent = send(R_TO_A, &responses(&json!({ "reasoning": { "effort": "high" } })));
    assert_eq!(
        (&sent.body["thinking"]["type"], &sent.body["output_config"]["effort"]),
        (&json!("adaptive"), &json!("high"))
    );
}

#[test]
fn tools_in_namespaces_and_items_are_offered_and_called_by_their_own_names() {
    let additional = json!({ "type": "additional_tools", "role": "developer", "tools": [
        { "type": "namespace", "name": "functions", "tools": [{ "type": "custom", "name": "exec" }, tool("wait")] }] });
    let items = json!([additional, { "role": "user", "content": "go" },
        { "type": "custom_tool_call", "call_id": "c1", "name": "exec", "namespace": "functions", "input": "text(1)" },
        { "type": "custom_tool_call_output", "call_id": "c1", "output": [{ "type": "input_text", "text": "1" }] }]);
    let sent = send(R_TO_A, &responses(&json!({ "input": items })));
    let names: Vec<&Value> = sent.body["tools"].as_array().unwrap().iter().map(|tool| &tool["name"]).collect();
    assert_eq!(names, ["functions__exec", "functions__wait"]);
    assert_eq!(sent.body["messages"][1]["content"][0]["input"], json!({ "input": "text(1)" }));
    let calls = [
        json!({ "type": "tool_use", "id": "t1", "name": "functions__exec", "input": { "input": "text(2)" } }),
        json!({ "type": "tool_use", "id": "t2", "name": "functions__wait", "input": {} }),
    ];
    let output = to_codex(&calls, "tool_use", &sent.way_back).1["output"].clone();
    assert_eq!((&output[0]["type"], &output[0]["name"]), (&json!("custom_tool_call"), &json!("exec")));
    assert_eq!((&output[0]["namespace"], &output[0]["input"]), (&json!("functions"), &json!("text(2)")));
    assert_eq!(
        (&output[1]["name"], &output[1]["namespace"], &output[1]["arguments"]),
        (&json!("wait"), &json!("functions"), &json!("{}"))
    );
}

#[test]
fn long_names_of_mcp_tools_are_taken_and_found_again() {
    let names = ["a", "b"].map(|end| format!("mcp__a_server_with_a_long_name__{}{end}", "tool_".repeat(10)));
    let tools: Vec<Value> =
        names.iter().map(|name| json!({ "name": name, "input_schema": { "type": "object" } })).collect();
    let sent = send(A_TO_R, &messages(&json!({ "tools": tools, "tool_choice": { "type": "tool", "name": names[1] } })));
    let offered: Vec<&str> =
        sent.body["tools"].as_array().unwrap().iter().map(|tool| tool["name"].as_str().unwrap()).collect();
    assert!(offered.iter().all(|name| name.len() <= 64) && offered[0] != offered[1], "{offered:?}");
    assert_eq!(sent.body["tool_choice"], json!({ "type": "function", "name": offered[1] }));
    let stream = wire(&gpt(&[function_call("call_1", offered[1], "{}")], "completed"));
    assert_eq!(assembled(&checked(A_TO_R, &stream, &sent.way_back))["content"][0]["name"], names[1].as_str());
}

#[test]
fn numbers_in_arguments_and_schemas_are_not_rounded() {
    let odd = r#"{"big":12345678901234567890123,"price":1.10,"z":1,"a":2}"#;
    let item = json!({ "type": "function_call", "call_id": "c1", "name": "run", "arguments": odd });
    let body = responses(&json!({ "input": [{ "role": "user", "content": "go" }, item] })).to_string();
    let sent = R_TO_A.request(body.as_bytes(), &CLAUDE, None).unwrap();
    assert!(String::from_utf8(sent.body).unwrap().contains(odd));
    let body = format!(
        r#"{{"model":"m","max_tokens":100,"messages":[{{"role":"user","content":"go"}},{{"role":"assistant","content":[{{"type":"tool_use","id":"t","name":"run","input":{odd}}}]}}],"tools":[{{"name":"run","input_schema":{{"$schema":"x","type":"object","properties":{{"n":{{"maximum":1.10,"minimum":12345678901234567890123}}}}}}}}]}}"#
    );
    let sent = String::from_utf8(A_TO_R.request(body.as_bytes(), &gpt_target(), None).unwrap().body).unwrap();
    assert!(
        sent.contains(&odd.replace('"', "\\\"")) && sent.contains("1.10,\"minimum\":12345678901234567890123"),
        "{sent}"
    );
}

#[test]
fn a_refusal_is_told_as_one() {
    let refusal = json!({ "id": "msg_1", "type": "message", "status": "completed", "role": "assistant",
        "content": [{ "type": "refusal", "refusal": "I cannot." }] });
    let (_, message) = to_claude_code(&[refusal], "completed");
    assert_eq!((&message["stop_reason"], &message["content"][0]["text"]), (&json!("refusal"), &json!("I cannot.")));
    let (_, response) = to_codex(&[json!({ "type": "text", "text": "I cannot." })], "refusal", &plain());
    assert_eq!(response["incomplete_details"]["reason"], "content_filter");
}

#[test]
fn an_empty_answer_is_an_answer() {
    assert_eq!(to_codex(&[], "end_turn", &plain()).1["output"], json!([]));
    assert_eq!(to_claude_code(&[], "completed").1["content"], json!([]));
}

#[test]
fn a_failed_tool_is_told_as_failed() {
    let turns = json!([{ "role": "user", "content": "go" }, { "role": "assistant", "content": [claude_call("t1", &json!({}))] },
        { "role": "user", "content": [{ "type": "tool_result", "tool_use_id": "t1", "is_error": true, "content": "no such file" }] }]);
    let sent = send(A_TO_R, &messages(&json!({ "messages": turns })));
    assert_eq!(sent.body["input"][2]["output"], "Error: no such file");
}

#[test]
fn tools_with_items_of_their_own_are_called_by_these() {
    let tools = json!([{ "type": "local_shell" }, { "type": "shell" }, { "type": "apply_patch" },
        { "type": "tool_search", "execution": "client", "description": "Finds tools.", "parameters": { "type": "object", "properties": {} } }]);
    let way_back = offering(&tools);
    let calls = [
        json!({ "type": "tool_use", "id": "t1", "name": "local_shell", "input": { "command": ["ls", "-l"] } }),
        json!({ "type": "tool_use", "id": "t2", "name": "shell", "input": { "commands": ["ls"] } }),
        json!({ "type": "tool_use", "id": "t3", "name": "apply_patch", "input": { "type": "delete_file", "path": "a" } }),
        json!({ "type": "tool_use", "id": "t4", "name": "tool_search", "input": { "query": "x" } }),
    ];
    let output = to_codex(&calls, "tool_use", &way_back).1["output"].clone();
    assert_eq!(output[0]["action"], json!({ "type": "exec", "command": ["ls", "-l"] }));
    assert_eq!((&output[1]["type"], &output[1]["action"]), (&json!("shell_call"), &json!({ "commands": ["ls"] })));
    assert_eq!(output[2]["operation"], json!({ "type": "delete_file", "path": "a" }));
    assert_eq!((&output[3]["arguments"], &output[3]["execution"]), (&json!({ "query": "x" }), &json!("client")));
}
