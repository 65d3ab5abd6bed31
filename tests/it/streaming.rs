//! Streams: what comes before and after the first content, and how they end.
//!
//! That small events are not held up by Nagle's algorithm is not here: a socket option of the other side cannot be seen
//! from a client, and time is no test.

use std::time::Duration;

use duopool::simulator::{Call, Effect, Rule};
use serde_json::{Value, json};

use crate::support::gateway::silent_after;
use crate::support::requests::{GPT, SONNET, chat, messages, responses};
use crate::support::{Answer, Event, TestApp};

/// Every way of a stream through duopool: the route, the request, and the call at the gateway that it becomes.
fn ways() -> [(&'static str, Value, Call); 6] {
    [
        ("/v1/messages", messages(SONNET, true), Call::Messages),
        ("/v1/responses", responses(GPT, true), Call::Responses),
        ("/v1/chat/completions", chat(GPT, true), Call::Responses),
        ("/v1/chat/completions", chat(SONNET, true), Call::Messages),
        ("/v1/messages", messages(GPT, true), Call::Responses),
        ("/v1/responses", responses(SONNET, true), Call::Messages),
    ]
}

/// Returns the names of the events; that of a comment or a nameless event is empty.
fn names(answer: &Answer) -> Vec<String> {
    answer.events().into_iter().map(|event| event.name.unwrap_or_default()).collect()
}

fn data(event: &Event) -> Value {
    serde_json::from_str(&event.data).unwrap_or_else(|error| panic!("no JSON ({error}): {event:?}"))
}

/// Asserts that a stream has content and ends in an error event of its dialect, with nothing that looks like success.
fn assert_failed_openly(path: &str, answer: &Answer) {
    let (text, events) = (answer.text(), answer.events());
    assert_eq!(answer.status, 200, "{text}");
    assert!(answer.complete, "{text}");
    let last = events.last().unwrap_or_else(|| panic!("no event: {text}"));
    match path {
        "/v1/messages" => {
            assert!(text.contains("content_block_start"), "{text}");
            assert_eq!(last.name.as_deref(), Some("error"), "{text}");
            assert_eq!(data(last)["type"], "error");
            assert!(!text.contains("message_stop") && !text.contains("end_turn"), "{text}");
        }
        "/v1/responses" => {
            assert!(text.contains("response.output_item.added"), "{text}");
            let failed = data(last);
            assert_eq!((last.name.as_deref(), &failed["type"]), (Some("response.failed"), &json!("response.failed")));
            assert_eq!(names(answer).iter().filter(|name| *name == "error").count(), 1, "{text}");
            assert!(!text.contains("response.completed") && !text.contains("response.incomplete"), "{text}");
            let numbers: Vec<_> = events.iter().map(|event| data(event)["sequence_number"].as_u64()).collect();
            let expected: Vec<_> = (0..events.len() as u64).map(Some).collect();
            assert_eq!(numbers, expected, "{text}");
        }
        _ => {
            assert!(text.contains("\"delta\""), "{text}");
            assert!(data(last)["error"]["message"].is_string(), "{text}");
            assert!(!text.contains("[DONE]") && !text.contains("\"finish_reason\":\"stop\""), "{text}");
        }
    }
}

/// Asserts that a stream of Messages is one that an SDK can follow: every event whole and in its place.
fn assert_grammar(answer: &Answer) {
    let mut open = false;
    for (index, event) in answer.events().iter().enumerate() {
        if event.name.as_deref() == Some("error") {
            return;
        }
        let (name, kind) = (event.name.as_deref().unwrap_or_default(), data(event)["type"].clone());
        assert_eq!(kind, name, "{event:?}");
        match name {
            "message_start" => assert_eq!(index, 0),
            "content_block_start" => assert!(!std::mem::replace(&mut open, true)),
            "content_block_delta" => assert!(open),
            "content_block_stop" => assert!(std::mem::replace(&mut open, false)),
            "ping" | "message_delta" | "message_stop" => assert!(index > 0),
            other => panic!("unknown event {other}"),
        }
    }
}

#[actix::test]
async fn a_stream_that_is_cut_after_content_ends_in_an_error_event() {
    let app = TestApp::with_accounts(&["ada"]).await;
    for (path, body, call) in ways() {
        app.gitlab.clear_rules();
        app.gitlab.add_rule(Rule::always(Effect::Cut { after: 5 }).on(call));
        let answer = app.ask(path, &body).await;
        assert_failed_openly(path, &answer);
        // The words on which OpenCode sends the request again.
        assert!(answer.text().contains("you can retry your request"), "{}", answer.text());
    }
    app.at_rest().await;
}

#[actix::test]
async fn an_error_event_after_content_reaches_the_client() {
    let app = TestApp::with_accounts(&["ada"]).await;
    for (path, body, call) in ways() {
        app.gitlab.clear_rules();
        app.gitlab.add_rule(Rule::always(Effect::ErrorEvent { after: 5, event: None }).on(call));
        let answer = app.ask(path, &body).await;
        assert_eq!(answer.status, 200);
        assert!(answer.complete);
        assert!(answer.text().to_ascii_lowercase().contains("error"), "{}", answer.text());
        for success in ["message_stop", "response.completed", "[DONE]"] {
            assert!(!answer.text().contains(success), "{path}: {}", answer.text());
        }
    }
    app.at_rest().await;
}

#[actix::test]
async fn silence_after_content_ends_in_an_error_event_and_signs_of_life_before_it_break_nothing() {
    let limits = |layer: &mut duopool::config::Layer| (layer.heartbeat_s, layer.idle_timeout_s) = (Some(1), Some(4));
    let app = TestApp::start(&["ada"], limits).await;
    app.add("ada").await;
    for (_, _, call) in ways() {
        app.gitlab.add_rule(Rule::always(Effect::Stall { after: 5 }).on(call));
    }
    let ways = ways();
    let asked = ways.iter().map(|(path, body, _)| async { (*path, app.ask(path, body).await) });
    for (path, mut answer) in futures::future::join_all(asked).await {
        if path == "/v1/messages" {
            assert_grammar(&answer);
            let events = names(&answer);
            let silent = events.iter().rev().skip(1).take_while(|name| *name == "ping").count();
            assert!(silent >= 2, "{events:?}");
            assert_failed_openly(path, &answer);
        } else {
            let text = answer.text();
            assert!(text.contains("\n\n: ping\n\n"), "{path}: {text}");
            answer.body = text.replace(": ping\n\n", "").into_bytes();
            assert_failed_openly(path, &answer);
        }
    }
    app.at_rest().await;
}

#[actix::test]
async fn a_sign_of_life_never_tears_an_event_apart() {
    let limits = |layer: &mut duopool::config::Layer| (layer.heartbeat_s, layer.idle_timeout_s) = (Some(1), Some(4));
    let app = TestApp::start(&["ada"], limits).await;
    let start = json!({ "type": "message_start", "message": { "id": "msg_1", "type": "message", "role": "assistant",
        "content": [], "model": SONNET, "stop_reason": null, "stop_sequence": null, "usage": {} } });
    let block = json!({ "type": "content_block_start", "index": 0, "content_block": { "type": "text", "text": "" } });
    let events = format!(
        "event: message_start\ndata: {start}\n\nevent: content_block_start\ndata: {block}\n\n\
         event: content_block_delta\ndata: {{\"type\":\"content_block_delta\",\"index\":0,\"del"
    );
    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
    let bytes = format!("{head}{:x}\r\n{events}\r\n", events.len());
    let gateway = silent_after(&bytes).await;
    app.add_with("ada", &json!({ "gateway_url": gateway })).await;
    let answer = app.ask("/v1/messages", &messages(SONNET, true)).await;
    assert!(!answer.text().contains("ping"), "{}", answer.text());
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(names(&answer), ["message_start", "content_block_start", "content_block_delta", "error"]);
    assert_eq!(data(&answer.events()[3])["type"], "error");
    app.at_rest().await;
}

#[actix::test]
async fn after_the_terminal_event_a_connection_that_lingers_adds_nothing() {
    let limits = |layer: &mut duopool::config::Layer| (layer.heartbeat_s, layer.idle_timeout_s) = (Some(1), Some(2));
    let app = TestApp::start(&["ada"], limits).await;
    app.add("ada").await;
    for (_, _, call) in ways() {
        app.gitlab.add_rule(Rule::always(Effect::Stall { after: usize::MAX }).on(call));
    }
    let ways = ways();
    let asked = ways.iter().map(|(path, body, _)| async { (*path, app.ask(path, body).await) });
    for (path, answer) in futures::future::join_all(asked).await {
        let text = answer.text();
        assert!(answer.complete && !text.contains("\"error\":{") && !text.contains("\n: ping"), "{path}: {text}");
        let end = match path {
            "/v1/messages" => "\ndata: {\"type\":\"message_stop\"}\n\n",
            "/v1/responses" => "}\n\n",
            _ => "data: [DONE]\n\n",
        };
        assert!(text.ends_with(end), "{path}: {text}");
    }
    let ada = app.account_when("ada", |account| account["in_flight"] == 0).await;
    assert_eq!((&ada["served"], &ada["failed"]), (&json!(ways.len()), &json!(0)));
}

#[actix::test]
async fn content_reaches_the_client_before_the_answer_is_complete() {
    let app = TestApp::with_accounts(&["ada"]).await;
    for (path, body, call) in ways() {
        app.gitlab.clear_rules();
        app.gitlab.add_rule(Rule::always(Effect::Stall { after: 6 }).on(call));
        let mut open = app.open(path, &body).await;
        assert_eq!(open.status, 200);
        // The upstream stands still in the middle, so what is read here did not wait for its end.
        open.read_until("delta").await;
        assert_eq!(app.gitlab.gauges().open_streams, 1, "{path}");
        drop(open);
        app.gitlab.counted(|gauges| gauges.open_streams == 0).await;
    }
    app.at_rest().await;
}

#[actix::test]
async fn what_comes_before_the_first_content_is_held_back_and_replaced_whole_by_another_accounts() {
    let app = TestApp::start(&["ada", "grace"], |_| {}).await;
    app.add_with("ada", &json!({ "priority": 1 })).await;
    app.add("grace").await;
    for (path, body, call) in ways() {
        app.gitlab.clear_rules();
        app.gitlab.add_rule(Rule::always(Effect::ErrorEvent { after: 1, event: None }).on(call).by("ada"));
        let answer = app.ask(path, &body).await;
        assert_eq!(answer.header("x-duopool-attempts"), Some("2"), "{path}: {}", answer.text());
        assert!(!answer.text().contains("\"error\":{"), "{path}: {}", answer.text());
        let start = match path {
            "/v1/messages" => "event: message_start",
            "/v1/responses" => "event: response.created",
            _ => "\"role\":\"assistant\"",
        };
        assert_eq!(answer.text().matches(start).count(), 1, "{path}: {}", answer.text());
    }
    app.at_rest().await;
}

#[actix::test]
async fn a_stream_that_hesitates_before_its_first_content_is_committed_after_five_seconds_and_kept_alive() {
    let app = TestApp::start(&["ada"], |layer| layer.heartbeat_s = Some(1)).await;
    app.add("ada").await;
    app.gitlab.add_rule(Rule::always(Effect::Stall { after: 1 }).on(Call::Messages));
    let mut open = app.open("/v1/messages", &messages(SONNET, true)).await;
    assert_eq!(open.status, 200);
    open.read_until("event: ping").await;
    assert_eq!(open.so_far().matches("message_start\"").count(), 1);
    drop(open);
    app.at_rest().await;
}

#[actix::test]
async fn a_whole_answer_that_is_cut_everywhere_is_a_502_and_never_half_a_json() {
    let app = TestApp::with_accounts(&["ada", "grace"]).await;
    let whole = |(path, mut body, call): (&'static str, Value, Call)| {
        body["stream"] = json!(false);
        (path, body, call)
    };
    for (path, body, call) in ways().map(whole) {
        app.gitlab.clear_rules();
        app.gitlab.add_rule(Rule::always(Effect::Cut { after: 60 }).on(call));
        let answer = app.ask(path, &body).await;
        assert_eq!(answer.status, 502, "{path}: {}", answer.text());
        assert!(answer.json()["error"]["message"].is_string());
    }
    app.at_rest().await;
}

#[actix::test]
async fn a_client_that_reads_nothing_holds_the_upstream_up_and_loses_nothing() {
    const DELTAS: usize = 6_000;
    const BYTES: usize = 16 * 1024;
    let app = TestApp::with_accounts(&["ada"]).await;
    app.gitlab.add_rule(Rule::always(Effect::Flood { deltas: DELTAS, bytes: BYTES }).on(Call::Messages));
    let request = app.post("/v1/messages", &messages(SONNET, true)).header("connection", "close");
    let open = request.open().await;
    // It stands still once the buffers of the sockets are full, and only because nobody reads: looked at until then.
    let (mut sent, mut unchanged) = (0, 0);
    while unchanged < 20 {
        tokio::time::sleep(Duration::from_millis(25)).await;
        let before = std::mem::replace(&mut sent, app.gitlab.chunks_sent());
        unchanged = if before == sent { unchanged + 1 } else { 0 };
    }
    assert!(sent < DELTAS as u64 / 2, "{sent} of {DELTAS} deltas were taken although nobody reads");
    let answer = open.until_closed().await;
    assert!(answer.complete);
    let text = answer.text();
    assert_eq!(text.matches(&"x".repeat(BYTES)).count(), DELTAS);
    assert!(text.ends_with("data: {\"type\":\"message_stop\"}\n\n"));
    app.at_rest().await;
}
