//! Answers that a client refers to instead of sending them again: by their ids, and item by item.

use std::sync::Arc;
use std::time::Duration;

use duopool::domain::secret::Secret;
use duopool::domain::time::{TestClock, Timestamp};
use duopool::simulator::{Call, Effect, Rule};
use serde_json::{Value, json};

use crate::support::ask::{responses, with};
use crate::support::said::string;
use crate::support::told::told;
use crate::support::{Answer, TestApp};

const RESPONSES: &str = "/v1/responses";
const SONNET: &str = "claude-sonnet-4-6";
const GPT: &str = "gpt-5.5-2026-04-23";
const KEYS: [&str; 2] = ["dp-client-key-0123456789", "dp-client-key-9876543210"];

/// Returns a request as the AI SDK sends it where nothing is said of storing.
fn said(text: &str) -> Value {
    json!({ "model": SONNET, "input": [user(text)] })
}

fn user(text: &str) -> Value {
    json!({ "role": "user", "content": [{ "type": "input_text", "text": text }] })
}

fn named(id: &Value) -> Value {
    json!({ "type": "item_reference", "id": id })
}

/// Returns the whole response of an answer, in either form.
fn response(answer: &Answer) -> Value {
    assert_eq!(answer.status, 200, "{}", answer.text());
    if answer.header("content-type").is_some_and(|kind| kind.starts_with("text/event-stream")) {
        let last = answer.events().into_iter().rfind(|event| event.name.as_deref() == Some("response.completed"));
        let data: Value = serde_json::from_str(&last.expect("an end").data).expect("JSON");
        return data["response"].clone();
    }
    answer.json()
}

async fn ask(app: &TestApp, body: &Value) -> Value {
    response(&app.ask(RESPONSES, body).await)
}

/// Returns the turns that the model got with its last request: whose they are, and their blocks.
fn turns(app: &TestApp) -> Vec<Value> {
    let sent = app.gitlab.requests_of(Call::Messages);
    sent.last().expect("a request").json()["messages"].as_array().expect("messages").clone()
}

/// Returns the texts of blocks.
fn text_of(turn: &Value) -> String {
    match &turn["content"] {
        Value::Array(blocks) => blocks.iter().map(|block| string(&block["text"])).collect(),
        content => string(content),
    }
}

/// Asserts that an answer says that something is not known, and what helps.
fn missed(answer: &Answer, param: &str) {
    let words = told(RESPONSES, answer, 400, "a miss");
    assert!(words.contains("is not known here") && words.contains("`store: false`"), "{words}");
    assert!(words.contains("an hour"), "{words}");
    let error = &answer.json()["error"];
    assert_eq!((&error["type"], &error["param"]), (&json!("invalid_request_error"), &json!(param)));
}

#[actix::test]
async fn items_that_a_client_names_reach_the_model_as_they_were() {
    for (first_streams, second_streams) in [(false, false), (true, false), (false, true)] {
        let app = TestApp::with_accounts(&["ada"]).await;
        let first = ask(&app, &with(&said("Good morning!"), &json!({ "stream": first_streams }))).await;
        assert_eq!(first["store"], true);
        let (id, text) = (&first["output"][0]["id"], string(&first["output"][0]["content"][0]["text"]));
        assert!(!text.is_empty());
        let body = json!({ "model": SONNET, "stream": second_streams,
            "input": [user("Good morning!"), named(id), user("And now?")] });
        let second = ask(&app, &body).await;
        let got = turns(&app);
        let roles: Vec<_> = got.iter().map(|turn| string(&turn["role"])).collect();
        assert_eq!(roles, ["user", "assistant", "user"], "{got:?}");
        assert_eq!(
            (text_of(&got[0]), text_of(&got[1]), text_of(&got[2])),
            ("Good morning!".into(), text, "And now?".into())
        );
        // What was named in a request can be named again after its answer, and so can the new answer.
        let again =
            json!([user("Good morning!"), named(id), user("And now?"), named(&second["output"][0]["id"]), user("So?")]);
        ask(&app, &json!({ "model": SONNET, "input": again })).await;
        assert_eq!(turns(&app).len(), 5);
    }
}

#[actix::test]
async fn an_answer_is_continued_by_its_id_with_tools_and_thinking() {
    for stream in [false, true] {
        let app = TestApp::with_accounts(&["ada"]).await;
        let schema = json!({ "type": "object", "properties": { "city": { "type": "string" } }, "required": ["city"] });
        let settings = json!({ "model": SONNET, "stream": stream, "reasoning": { "effort": "medium", "summary": "auto" },
            "tools": [{ "type": "function", "name": "weather", "parameters": schema }] });
        let first = ask(&app, &with(&settings, &json!({ "input": "Use the tool weather for Oslo." }))).await;
        let call = first["output"].as_array().expect("output").last().expect("a call").clone();
        assert_eq!(call["type"], "function_call", "{first}");
        let result = json!([{ "type": "function_call_output", "call_id": call["call_id"], "output": "22 degrees" }]);
        let next = |previous: &Value, input: Value| {
            with(&settings, &json!({ "previous_response_id": previous["id"], "input": input }))
        };
        let second = ask(&app, &next(&first, result)).await;
        assert!(second.to_string().contains("22 degrees"), "{second}");
        assert_eq!(second["previous_response_id"], first["id"]);
        let third = ask(&app, &next(&second, json!("Is that warm?"))).await;
        assert_ne!(third["id"], second["id"]);
        let got = turns(&app);
        let kinds: Vec<Vec<String>> = got
            .iter()
            .map(|turn| turn["content"].as_array().into_iter().flatten().map(|block| string(&block["type"])).collect())
            .collect();
        assert_eq!(kinds.len(), 5, "{got:?}");
        assert_eq!(text_of(&got[0]), "Use the tool weather for Oslo.");
        assert_eq!(
            (kinds[1].first().map(String::as_str), kinds[1].last().map(String::as_str)),
            (Some("thinking"), Some("tool_use"))
        );
        assert_eq!(kinds[2], ["tool_result"]);
        assert!(text_of(&got[3]).contains("22 degrees") && text_of(&got[4]) == "Is that warm?", "{got:?}");
        // The second may be continued in another way as well.
        ask(&app, &next(&second, json!("And in Rome?"))).await;
        assert_eq!(text_of(turns(&app).last().expect("a turn")), "And in Rome?");
    }
}

#[actix::test]
async fn nobody_finds_what_another_key_got() {
    let keys = KEYS.map(|key| Secret::new(key.to_owned())).to_vec();
    let app = TestApp::start(&["ada"], |layer| layer.client_keys = Some(keys)).await;
    app.add("ada").await;
    let ask_as = async |key: &str, body: &Value| app.post(RESPONSES, body).header("x-api-key", key).send().await;
    let first = response(&ask_as(KEYS[0], &said("Good morning!")).await);
    let by_item = json!({ "model": SONNET, "input": [named(&first["output"][0]["id"]), user("Go on")] });
    let by_answer = with(&said("Go on"), &json!({ "previous_response_id": first["id"] }));
    for (body, param) in [(by_item, "input[0].id"), (by_answer, "previous_response_id")] {
        missed(&ask_as(KEYS[1], &body).await, param);
        assert_eq!(ask_as(KEYS[0], &body).await.status, 200);
    }
}

#[actix::test]
async fn an_hour_after_its_last_use_an_answer_is_gone() {
    let clock = TestClock::at(Timestamp::from_secs(1_800_000_000));
    let app = TestApp::start_at(&["ada"], Arc::new(clock.clone()), |_| {}).await;
    app.add("ada").await;
    let first = ask(&app, &said("Good morning!")).await;
    let body = json!({ "model": SONNET, "input": [named(&first["output"][0]["id"]), user("Go on")] });
    clock.advance(Duration::from_mins(59));
    ask(&app, &body).await;
    clock.advance(Duration::from_mins(59));
    ask(&app, &body).await;
    clock.advance(Duration::from_hours(1));
    missed(&app.ask(RESPONSES, &body).await, "input[0].id");
}

#[actix::test]
async fn what_is_not_to_be_stored_is_not_and_nothing_is_after_a_restart() {
    let mut app = TestApp::with_accounts(&["ada"]).await;
    let first = ask(&app, &with(&said("Good morning!"), &json!({ "store": false }))).await;
    assert_eq!(first["store"], false);
    let next = |first: &Value| with(&said("Go on"), &json!({ "previous_response_id": first["id"] }));
    missed(&app.ask(RESPONSES, &next(&first)).await, "previous_response_id");
    let first = ask(&app, &said("Good morning!")).await;
    ask(&app, &next(&first)).await;
    app.restart(|_| {}).await;
    missed(&app.ask(RESPONSES, &next(&first)).await, "previous_response_id");
    let item = json!({ "model": SONNET, "input": [user("x"), named(&json!("msg_\n1"))] });
    missed(&app.ask(RESPONSES, &item).await, "input[1].id");
}

#[actix::test]
async fn an_answer_that_broke_off_is_not_kept() {
    let app = TestApp::with_accounts(&["ada"]).await;
    app.gitlab.add_rule(Rule::always(Effect::Cut { after: 6 }).on(Call::Messages));
    let broken = app.ask(RESPONSES, &with(&said("Good morning!"), &json!({ "stream": true }))).await;
    let created: Value = serde_json::from_str(&broken.events()[0].data).expect("JSON");
    assert!(!broken.text().contains("response.completed"), "{}", broken.text());
    app.gitlab.clear_rules();
    let next = with(&said("Go on"), &json!({ "previous_response_id": created["response"]["id"] }));
    missed(&app.ask(RESPONSES, &next).await, "previous_response_id");
}

#[actix::test]
async fn a_chain_that_outgrows_a_request_is_refused_as_one() {
    let mut app = TestApp::with_accounts(&["ada"]).await;
    app.restart(|layer| layer.body_bytes_max = Some(20_000)).await;
    let long = "x".repeat(15_000);
    let first = ask(&app, &said(&long)).await;
    let next = with(&said(&long), &json!({ "previous_response_id": first["id"] }));
    // What is sent and what is referred to are measured apart, and each fits.
    let second = ask(&app, &next).await;
    let third = with(&said("So?"), &json!({ "previous_response_id": second["id"] }));
    let refused = app.ask(RESPONSES, &third).await;
    assert_eq!(refused.status, 413, "{}", refused.text());
}

#[actix::test]
async fn a_gpt_models_provider_is_asked_itself() {
    let app = TestApp::with_accounts(&["ada"]).await;
    for (body, status) in [
        (with(&responses(GPT), &json!({ "previous_response_id": "resp_1", "store": true })), 400),
        (json!({ "model": GPT, "input": [named(&json!("msg_1")), user("Go on")] }), 404),
    ] {
        app.gitlab.clear_requests();
        let answer = app.ask(RESPONSES, &body).await;
        assert_eq!(answer.status, status, "{}", answer.text());
        assert!(answer.text().contains("not found") && !answer.text().contains("known here"), "{}", answer.text());
        assert_eq!(app.gitlab.requests_of(Call::Responses)[0].json(), body);
    }
}

#[actix::test]
async fn a_conversation_that_is_continued_by_id_stays_with_its_account() {
    let app = TestApp::with_accounts(&["ada", "bea", "cyd"]).await;
    let mut body = said("Good morning!");
    let mut accounts = Vec::new();
    for turn in 0..8 {
        let answer = app.ask(RESPONSES, &body).await;
        accounts.push(answer.header("x-duopool-account").expect("an account").to_owned());
        body = with(&said(&format!("Turn {turn}")), &json!({ "previous_response_id": response(&answer)["id"] }));
    }
    assert!(accounts[2..].iter().all(|account| *account == accounts[1]), "{accounts:?}");
}

#[actix::test]
async fn answers_are_not_to_be_had_by_their_ids() {
    let app = TestApp::with_accounts(&["ada"]).await;
    let first = ask(&app, &said("Good morning!")).await;
    for (method, path) in
        [("GET", string(&first["id"])), ("DELETE", string(&first["id"])), ("POST", "compact".to_owned())]
    {
        let answer = app.request(method, &format!("/v1/responses/{path}")).json(&json!({})).send().await;
        assert_eq!(answer.status, 404, "{method}: {}", answer.text());
        assert!(answer.json()["error"]["message"].as_str().is_some_and(|words| words.contains("previous_response_id")));
        assert!(answer.json()["request_id"].is_null() || answer.json()["error"]["type"] == "invalid_request_error");
    }
}
