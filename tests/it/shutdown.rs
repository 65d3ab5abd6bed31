//! A server that is told to stop.

use std::time::Duration;

use duopool::simulator::{Call, Effect, Rule};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::support::requests::{GPT, SONNET, chat, messages, responses};
use crate::support::{Request, TestApp};

/// Far longer than a stop without open requests takes, and shorter than the drain time.
const QUICK: Duration = Duration::from_secs(10);

#[actix::test]
async fn a_stream_that_ends_within_the_drain_time_ends_well_and_nobody_else_comes_in() {
    let mut app = TestApp::with_accounts(&["ada"]).await;
    app.gitlab.add_rule(Rule::always(Effect::delay(Duration::ZERO, Duration::from_millis(100))).on(Call::Messages));
    let address = app.address();
    let request = app.post("/v1/messages", &messages(SONNET, true)).header("connection", "close");
    let mut open = request.open().await;
    open.read_until("content_block_delta").await;
    let stopping = actix::spawn(app.take_running().stop());
    // Turned away from the moment the stop has begun: asked until then.
    while let Ok(mut stream) = TcpStream::connect(address).await {
        let asked = b"GET /healthz HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\r\n";
        let mut answer = Vec::new();
        let told = stream.write_all(asked).await.is_ok() && stream.read_to_end(&mut answer).await.is_ok();
        if !told || !answer.starts_with(b"HTTP/1.1 200") {
            break;
        }
    }
    assert!(!open.so_far().contains("message_stop"), "the stream ended before the stop began");
    let answer = open.rest().await;
    assert!(answer.complete);
    assert!(answer.text().ends_with("data: {\"type\":\"message_stop\"}\n\n"), "{}", answer.text());
    timeout(QUICK, stopping).await.expect("the stop ends with the stream").expect("it does not panic");
    assert_eq!(app.gitlab.gauges().closed_early, 0);
}

#[actix::test]
async fn a_stream_that_outlasts_the_drain_time_ends_in_an_error_event() {
    let mut app = TestApp::start(&["ada"], |layer| layer.drain_s = Some(1)).await;
    app.add("ada").await;
    let mut open = Vec::new();
    for (path, body, call) in [
        ("/v1/messages", messages(SONNET, true), Call::Messages),
        ("/v1/chat/completions", chat(SONNET, true), Call::Messages),
        ("/v1/responses", responses(GPT, true), Call::Responses),
    ] {
        app.gitlab.add_rule(Rule::always(Effect::Stall { after: 6 }).on(call).times(1));
        let mut stream = app.post(path, &body).header("connection", "close").open().await;
        stream.read_until("delta").await;
        open.push((path, stream));
    }
    let stopping = actix::spawn(app.take_running().stop());
    for (path, stream) in open {
        let answer = stream.rest().await;
        assert!(answer.complete, "{path}: {}", answer.text());
        let last = answer.events().pop().expect("an event");
        assert!(last.data.contains("shutting down"), "{path}: {}", answer.text());
        assert!(!answer.text().contains("message_stop") && !answer.text().contains("[DONE]"), "{path}");
    }
    timeout(QUICK, stopping).await.expect("the stop ends").expect("it does not panic");
}

#[actix::test]
async fn a_request_that_still_waits_for_its_answer_after_the_drain_time_is_let_go() {
    let mut app = TestApp::start(&["ada"], |layer| layer.drain_s = Some(1)).await;
    app.add("ada").await;
    app.gitlab.add_rule(Rule::always(Effect::Hang).on(Call::Messages));
    let mut connection = app.post("/v1/messages", &messages(SONNET, false)).begin().await;
    app.gitlab.arrived(|record| record.call == Call::Messages).await;
    timeout(Duration::from_secs(25), app.take_running().stop()).await.expect("the stop ends");
    let mut answer = Vec::new();
    // Cut or told, but not left hanging.
    let end = timeout(QUICK, connection.read_to_end(&mut answer)).await.expect("the connection ends");
    let answer = String::from_utf8_lossy(&answer).into_owned();
    assert!(end.is_err() || answer.is_empty() || answer.starts_with("HTTP/1.1 5"), "{answer}");
    timeout(QUICK, app.gitlab.closed_early(1)).await.expect("the upstream is let go");
}

#[actix::test]
async fn idle_and_half_sent_connections_do_not_hold_a_stop() {
    let mut app = TestApp::with_accounts(&["ada"]).await;
    let mut idle = TcpStream::connect(app.address()).await.expect("duopool takes connections");
    let request = format!("GET /healthz HTTP/1.1\r\nhost: {}\r\n\r\n", app.address());
    idle.write_all(request.as_bytes()).await.expect("it reads");
    let mut answer = [0; 1024];
    assert!(idle.read(&mut answer).await.is_ok_and(|count| answer[..count].starts_with(b"HTTP/1.1 200")));
    let silent = TcpStream::connect(app.address()).await.expect("duopool takes connections");
    let mut half = TcpStream::connect(app.address()).await.expect("duopool takes connections");
    half.write_all(b"POST /v1/messages HTTP/1.1\r\nhost: 127.0").await.expect("it reads");
    timeout(QUICK, app.take_running().stop()).await.expect("the stop is quick");
    drop((idle, silent, half));
}

#[actix::test]
async fn a_client_that_reads_nothing_does_not_hold_a_stop() {
    let mut app = TestApp::start(&["ada"], |layer| layer.drain_s = Some(1)).await;
    app.add("ada").await;
    app.gitlab.add_rule(Rule::always(Effect::Flood { deltas: 6_000, bytes: 16 * 1024 }).on(Call::Messages));
    let open = app.open("/v1/messages", &messages(SONNET, true)).await;
    timeout(Duration::from_secs(25), app.take_running().stop()).await.expect("the stop ends");
    timeout(QUICK, app.gitlab.closed_early(1)).await.expect("the upstream is let go");
    drop(open);
}

#[actix::test]
async fn a_stop_without_requests_is_quick_and_the_folder_is_free_afterwards() {
    let mut app = TestApp::with_accounts(&["ada"]).await;
    for _ in 0..3 {
        timeout(QUICK, app.restart(|_| {})).await.expect("stop and start are quick");
        let answer = Request::new(app.address(), "GET", "/healthz").send().await;
        assert_eq!(answer.status, 200);
    }
    timeout(QUICK, app.stop()).await.expect("the stop is quick");
    timeout(QUICK, app.stop()).await.expect("a second stop finds nothing to do");
}
