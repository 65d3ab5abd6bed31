//! Bodies: cut, long, silent, and left unread.

use super::raw_server::{Peer, give_way};
use super::*;

const JSON_CHUNKED: &str = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n";
const JSON_TO_THE_END: &str = "HTTP/1.0 200 OK\r\ncontent-type: application/json\r\n\r\n";

/// Sends a request, answers it with `answer` and closes the connection.
async fn answered(answer: &str) -> Reply {
    let (server, client) = (RawServer::start().await, upstream());
    let outgoing = get(&server);
    let (reply, _) = join(client.send(&outgoing), server.answer_once(answer.as_bytes())).await;
    reply.unwrap()
}

/// Sends a request, and returns the reply with the server's side of the connection after it said `start`.
async fn begun(start: &str) -> (Reply, Peer) {
    let (server, client) = (RawServer::start().await, upstream());
    let outgoing = get(&server);
    let serving = async {
        let mut peer = server.accept().await;
        peer.request().await;
        peer.say(start.as_bytes()).await;
        peer
    };
    let (reply, peer) = join(client.send(&outgoing), serving).await;
    (reply.unwrap(), peer)
}

#[actix::test]
async fn a_body_that_is_shorter_than_promised_is_an_error() {
    let reply = answered("HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\nshort").await;
    assert!(matches!(reply.read(1_024, LONG).await, Err(ReadError::CutShort)));
}

#[actix::test]
async fn an_answer_in_chunks_that_was_cut_is_an_error() {
    for cut in ["", "8\r\n{\"a\": [1\r\n", "8\r\n{\"a\": [1", "8\r\n{\"a", "8"] {
        let reply = answered(&format!("{JSON_CHUNKED}{cut}")).await;
        assert!(matches!(reply.read(1_024, LONG).await, Err(ReadError::CutShort)), "{cut:?}");
    }
    assert_eq!(text(answered(&format!("{JSON_CHUNKED}3\r\n[1,\r\n2\r\n2]\r\n0\r\n\r\n")).await).await, "[1,2]");
}

#[actix::test]
async fn an_answer_that_ends_with_its_connection_and_was_cut_is_an_error() {
    let reply = answered(&format!("{JSON_TO_THE_END}{{\"a\": [1")).await;
    assert!(matches!(reply.read(1_024, LONG).await, Err(ReadError::CutShort)));
    assert_eq!(text(answered(&format!("{JSON_TO_THE_END}[1]")).await).await, "[1]");
}

#[actix::test]
async fn what_an_error_says_is_read_even_if_it_is_not_what_it_claims() {
    let answer = "HTTP/1.0 502 X\r\ncontent-type: application/json\r\n\r\n<html>";
    assert_eq!(text(answered(answer).await).await, "<html>");
}

#[actix::test]
async fn a_body_may_be_asked_for_more_after_its_end() {
    let chunked = format!("{JSON_CHUNKED}2\r\n{{}}\r\n0\r\n\r\n");
    let empty = "HTTP/1.1 204 No Content\r\n\r\n";
    let nothing = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
    let cut = "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nshort";
    for answer in [std::str::from_utf8(OK).unwrap(), &chunked, empty, nothing, cut] {
        let mut reply = answered(answer).await;
        while in_time(reply.body.next()).await.is_some() {}
        for _ in 0..3 {
            assert!(reply.body.next().await.is_none(), "{answer:?}");
        }
    }
}

#[actix::test]
async fn a_body_that_stalls_is_an_error() {
    let (reply, mut peer) = begun("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nshort").await;
    assert!(matches!(in_time(reply.read(1_024, SHORT)).await, Err(ReadError::Stalled)));
    peer.closed().await;
}

#[actix::test]
async fn a_body_larger_than_awcs_two_mebibytes_is_read_up_to_our_own_limit() {
    const BYTES: usize = 3 * 1024 * 1024;
    let body = "x".repeat(BYTES);
    for (limit, fits) in [(BYTES, true), (BYTES - 1, false)] {
        let (reply, mut peer) = begun(&format!("HTTP/1.1 200 OK\r\ncontent-length: {BYTES}\r\n\r\n")).await;
        let (read, ()) = join(reply.read(limit, LONG), peer.say(body.as_bytes())).await;
        match read {
            Ok(whole) => assert!(fits && whole.len() == BYTES),
            Err(error) => assert!(!fits && matches!(error, ReadError::TooLong), "{error}"),
        }
    }
}

#[actix::test]
async fn what_nobody_reads_is_not_read_ahead() {
    const BYTES: usize = 256 * 1024 * 1024;
    const PATIENCE: usize = 1_000;
    let (reply, mut peer) = begun(&format!("HTTP/1.1 200 OK\r\ncontent-length: {BYTES}\r\n\r\n")).await;
    let piece = vec![b'x'; 64 * 1024];
    let (mut said, mut refused) = (0, 0);
    while said < BYTES && refused < PATIENCE {
        let count = peer.say_some(&piece).unwrap();
        said += count;
        refused = if count == 0 { refused + 1 } else { 0 };
        give_way().await;
    }
    // What the two sockets hold, and no more.
    assert!(said < BYTES / 2, "{said} bytes were taken");
    drop(reply);
}

#[actix::test]
async fn a_body_that_is_dropped_closes_the_connection() {
    let (reply, mut peer) = begun("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nshort").await;
    drop(reply);
    peer.closed().await;
}
