use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use actix_web::http::Method;
use futures::StreamExt as _;
use futures::future::{Either, select};
use serde_json::{Value, json};

use super::{ADA, CHAT, GRACE, Held, MESSAGES, RESPONSES, Rig, THIRD_PARTY, and, message, soon};
use crate::domain::time::{Clock as _, SystemClock};
use crate::simulator::{Call, Effect, Ending, Rule};

/// Sends a request over a bare connection and returns every byte until the server closes it. The simulator answers
/// from a thread of its own, so waiting here blocks nobody.
fn until_closed(rig: &Rig, held: &Held, path: &str, body: &Value) -> String {
    let mut request = format!("POST /ai{path} HTTP/1.1\r\nhost: localhost\r\nanthropic-version: 2023-06-01\r\n");
    for (name, value) in &held.headers {
        write!(request, "{name}: {value}\r\n").unwrap();
    }
    let body = body.to_string();
    let (token, length) = (&held.token, body.len());
    write!(request, "authorization: Bearer {token}\r\ncontent-length: {length}\r\n\r\n{body}").unwrap();
    let mut socket = TcpStream::connect(rig.running.address()).unwrap();
    socket.write_all(request.as_bytes()).unwrap();
    let mut answer = Vec::new();
    socket.read_to_end(&mut answer).unwrap();
    String::from_utf8(answer).unwrap()
}

fn streamed(text: &str) -> Value {
    and(&message(text), &json!({ "stream": true }))
}

#[actix::test]
async fn a_rule_answers_in_place_of_the_real_call() {
    let rig = Rig::new().await;
    let handle = &rig.running.handle;
    let overloaded = json!({ "type": "error", "error": { "type": "overloaded_error", "message": "Overloaded" } });
    handle.add_rule(Rule::once(Effect::json(529, &overloaded)).on(Call::Messages).by("ada"));
    let (ada, grace) = (rig.mint(ADA).await, rig.mint(GRACE).await);
    assert_eq!(rig.ask(MESSAGES, &grace, &message("hi")).await.status, 200);
    rig.ask(MESSAGES, &ada, &message("hi")).await.expect(529, &overloaded);
    assert_eq!(rig.ask(MESSAGES, &ada, &message("hi")).await.status, 200);
    handle.add_rule(Rule::once(Effect::login_page()).on(Call::ThirdPartyDirectAccess));
    let page = rig.api(Method::POST, THIRD_PARTY, ADA, &json!({})).await;
    assert_eq!((page.status, page.content_type.as_str()), (200, "text/html; charset=utf-8"));
    handle.add_rule(Rule::once(Effect::redirect("https://elsewhere.example.com/")));
    assert_eq!(rig.api(Method::POST, THIRD_PARTY, ADA, &json!({})).await.status, 307);
    handle.add_rule(Rule::once(Effect::garbage()));
    let garbage = rig.api(Method::POST, THIRD_PARTY, ADA, &json!({})).await;
    assert!(serde_json::from_slice::<Value>(&garbage.body).is_err());
    assert_eq!(handle.rules(), []);
}

#[actix::test]
async fn a_stream_is_cut_after_so_many_events() {
    let rig = Rig::new().await;
    let held = rig.mint(ADA).await;
    rig.running.handle.add_rule(Rule::once(Effect::Cut { after: 3 }).on(Call::Messages));
    let answer = until_closed(&rig, &held, MESSAGES, &streamed("hi"));
    assert_eq!(answer.matches("event: ").count(), 3, "{answer}");
    assert!(!answer.ends_with("0\r\n\r\n"), "{answer}");
    let record = rig.running.handle.arrived(|record| record.ending == Ending::ClosedByRule).await;
    assert_eq!((record.call, record.status), (Call::Messages, Some(200)));
    assert_eq!(rig.running.handle.gauges().closed_early, 0);
}

#[actix::test]
async fn a_body_is_cut_short_of_its_length() {
    let rig = Rig::new().await;
    let held = rig.mint(ADA).await;
    rig.running.handle.add_rule(Rule::once(Effect::Cut { after: 20 }));
    let answer = until_closed(&rig, &held, MESSAGES, &message("hi"));
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
    assert_eq!(body.len(), 20);
    assert!(length.parse::<usize>().unwrap() > 100, "{head}");
}

#[actix::test]
async fn a_connection_closes_without_a_byte() {
    let rig = Rig::new().await;
    let held = rig.mint(ADA).await;
    for body in [message("hi"), streamed("hi")] {
        rig.running.handle.add_rule(Rule::once(Effect::Close).on(Call::Messages));
        assert_eq!(until_closed(&rig, &held, MESSAGES, &body), "");
    }
}

#[actix::test]
async fn an_error_event_ends_a_stream_that_began_with_200() {
    let rig = Rig::new().await;
    let held = rig.mint(ADA).await;
    let chat = json!({ "model": "gpt-5.1", "stream": true, "messages": [{ "role": "user", "content": "hi" }] });
    let responses = json!({ "model": "gpt-5.1", "stream": true, "input": "hi" });
    for (path, body) in [(MESSAGES, streamed("hi")), (RESPONSES, responses), (CHAT, chat)] {
        for after in [0, 4] {
            rig.running.handle.add_rule(Rule::once(Effect::ErrorEvent { after, event: None }));
            let got = rig.ask(path, &held, &body).await;
            let events = got.events();
            assert_eq!((got.status, events.len()), (200, after + 1), "{path}");
            let last = &events[after];
            assert!(last["type"] == "error" || last["error"]["type"] == "server_error", "{last}");
        }
    }
    let own = "event: error\ndata: {\"type\":\"error\",\"own\":true}\n\n".to_owned();
    rig.running.handle.add_rule(Rule::once(Effect::ErrorEvent { after: 0, event: Some(own) }));
    assert_eq!(rig.ask(MESSAGES, &held, &streamed("hi")).await.events()[0]["own"], true);
    rig.running.handle.add_rule(Rule::once(Effect::ErrorEvent { after: 0, event: None }));
    assert_eq!(rig.ask(MESSAGES, &held, &message("hi")).await.status, 500);
}

#[actix::test]
async fn a_client_that_hangs_up_before_the_answer_is_seen() {
    let rig = Rig::new().await;
    let handle = &rig.running.handle;
    let held = rig.mint(ADA).await;
    handle.add_rule(Rule::once(Effect::Hang).on(Call::Messages));
    let request = Box::pin(rig.request(MESSAGES, &held).send_body(message("hi").to_string()));
    let arrived = Box::pin(handle.arrived(|record| record.call == Call::Messages));
    match select(request, arrived).await {
        Either::Left((answer, _)) => panic!("{answer:?}"),
        // Dropping the request closes its connection.
        Either::Right((record, request)) => {
            assert_eq!((record.status, record.ending), (None, Ending::Open));
            drop(request);
        }
    }
    soon(handle.closed_early(1)).await;
    let record = handle.requests_of(Call::Messages).remove(0);
    assert_eq!((record.status, record.ending), (None, Ending::ClosedByClient));
    assert_eq!(handle.gauges().open_requests, 0);
}

#[actix::test]
async fn a_client_that_hangs_up_in_mid_stream_is_seen() {
    let rig = Rig::new().await;
    let handle = &rig.running.handle;
    let held = rig.mint(ADA).await;
    handle.add_rule(Rule::once(Effect::Stall { after: 2 }).on(Call::Messages));
    let mut response = rig.request(MESSAGES, &held).send_body(streamed("hi").to_string()).await.unwrap();
    assert!(response.next().await.unwrap().unwrap().starts_with(b"event: message_start"));
    assert_eq!(handle.gauges().open_streams, 1);
    drop(response);
    soon(handle.closed_early(1)).await;
    assert_eq!(handle.gauges().open_streams, 0);
    let record = handle.requests_of(Call::Messages).remove(0);
    assert_eq!((record.status, record.ending), (Some(200), Ending::ClosedByClient));
}

#[actix::test]
async fn an_answer_that_was_read_whole_is_no_hang_up() {
    let rig = Rig::new().await;
    let held = rig.mint(ADA).await;
    rig.ask(MESSAGES, &held, &streamed("hi")).await;
    rig.ask(MESSAGES, &held, &message("hi")).await;
    rig.running.handle.add_rule(Rule::once(Effect::redirect("https://elsewhere.example.com/")));
    rig.ask(MESSAGES, &held, &message("hi")).await;
    let gauges = rig.running.handle.counted(|gauges| gauges.open_requests == 0).await;
    assert_eq!((gauges.requests, gauges.closed_early, gauges.open_streams), (4, 0, 0));
}

#[actix::test]
async fn a_delay_holds_back_the_head_and_every_event() {
    let rig = Rig::new().await;
    let held = rig.mint(ADA).await;
    let delay = Effect::delay(Duration::from_millis(100), Duration::from_millis(5));
    rig.running.handle.add_rule(Rule::once(delay).on(Call::Messages));
    let start = SystemClock.now();
    let got = rig.ask(MESSAGES, &held, &streamed("hi")).await;
    let gaps = u32::try_from(got.events().len() - 1).unwrap();
    // One millisecond less than was asked for, since wall time is read in whole ones.
    let least = Duration::from_millis(99) + gaps * Duration::from_millis(5);
    assert!(SystemClock.now().since(start) >= least, "{gaps} gaps");
    assert_eq!(got.events().last().unwrap(), &json!({ "type": "message_stop" }));
}

#[actix::test]
async fn everything_can_be_controlled_over_http() {
    let rig = Rig::new().await;
    let control = async |method: Method, path: &str, body: Value| {
        rig.api(method, &format!("/simulator/v1{path}"), "", &body).await
    };
    let state = control(Method::PATCH, "/accounts/ada", json!({ "credit": "exhausted" })).await.json();
    assert_eq!(state["accounts"][0]["standing"]["credit"], "exhausted");
    let patch = json!({ "token": { "expires_at": "2026-12-01" }, "model_credit": { "gpt-5": "not_entitled" } });
    control(Method::PATCH, "/accounts/ada", patch).await;
    let patch = json!({ "token": { "expires_at": null }, "model_credit": { "gpt-5": null }, "credit": "available" });
    let state = control(Method::PATCH, "/accounts/ada", patch).await.json();
    assert_eq!(state["accounts"][0]["standing"], state["accounts"][1]["standing"]);
    let state = control(Method::PATCH, "/instance", json!({ "too_old": true })).await.json();
    assert_eq!(state["instance"]["too_old"], true);
    control(Method::PATCH, "/instance", json!({ "too_old": false })).await;
    assert_eq!(control(Method::PATCH, "/instance", json!({ "to_old": true })).await.status, 400);
    assert_eq!(control(Method::PATCH, "/accounts/nobody", json!({})).await.status, 404);

    let held = rig.mint(ADA).await;
    let rule = json!({ "call": "messages", "times": 1, "effect": { "kind": "answer", "status": 418, "body": "{}" } });
    assert_eq!(control(Method::POST, "/rules", rule).await.json()[0]["account"], Value::Null);
    assert_eq!(rig.ask(MESSAGES, &held, &message("hi")).await.status, 418);
    control(Method::POST, "/grants/revoke", json!({ "account": "ada" })).await;
    assert_eq!(rig.ask(MESSAGES, &held, &message("hi")).await.status, 401);
    let requests = control(Method::GET, "/requests?after=1", json!({})).await.json();
    assert_eq!((&requests[0]["number"], &requests[0]["status"]), (&json!(2), &json!(418)));
    assert!(!requests.to_string().contains(&held.token));
    let form = rig.client.post(format!("{}/simulator/v1/rules", rig.running.url()));
    assert_eq!(form.send_body("{}").await.unwrap().status().as_u16(), 415);
}
