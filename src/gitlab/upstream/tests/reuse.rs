//! Connections that are used again, and found dead.

use super::*;

#[actix::test]
async fn a_connection_is_used_again() {
    let (server, client) = (RawServer::start().await, upstream());
    let outgoing = get(&server);
    let serving = async {
        let mut peer = server.accept().await;
        for _ in 0..3 {
            peer.request().await;
            peer.say(OK).await;
        }
    };
    let sending = async {
        for _ in 0..3 {
            assert_eq!(text(client.send(&outgoing).await.unwrap()).await, "{}");
        }
    };
    in_time(join(sending, serving)).await;
}

#[actix::test]
async fn a_connection_that_was_closed_while_idle_is_not_noticed_by_the_caller() {
    let (server, client) = (RawServer::start().await, upstream());
    let outgoing = post(&server, r#"{"n":1}"#);
    let (first, _) = join(client.send(&outgoing), server.answer_once(OK)).await;
    assert_eq!(text(first.unwrap()).await, "{}");
    let (second, request) = join(client.send(&outgoing), server.answer_once(OK)).await;
    assert_eq!(second.unwrap().status, 200);
    assert_eq!(request.body, br#"{"n":1}"#);
    assert!(!server.has_visitor().await);
}

#[actix::test]
async fn a_request_that_met_a_dying_connection_is_sent_once_more_on_a_new_one() {
    let (server, client) = (RawServer::start().await, upstream());
    let outgoing = post(&server, r#"{"n":1}"#);
    let serving = async {
        let mut old = server.accept().await;
        old.request().await;
        old.say(OK).await;
        old.request().await;
        drop(old);
        server.answer_once(OK).await
    };
    let sending = async {
        assert_eq!(text(client.send(&outgoing).await.unwrap()).await, "{}");
        client.send(&outgoing).await
    };
    let (reply, request) = in_time(join(sending, serving)).await;
    assert_eq!(reply.unwrap().status, 200);
    assert_eq!(request.body, br#"{"n":1}"#);
    assert!(!server.has_visitor().await);
}

#[actix::test]
async fn a_request_is_served_though_every_idle_connection_is_dead() {
    const IDLE: usize = 4;
    let (server, client) = (RawServer::start().await, upstream());
    let outgoing = get(&server);
    let sending = async {
        for reply in join_all((0..IDLE).map(|_| client.send(&outgoing))).await {
            assert_eq!(text(reply.unwrap()).await, "{}");
        }
        client.send(&outgoing).await
    };
    let serving = async {
        let mut peers = Vec::new();
        for _ in 0..IDLE {
            let mut peer = server.accept().await;
            peer.request().await;
            peers.push(peer);
        }
        for peer in &mut peers {
            peer.say(OK).await;
        }
        // Each looks alive until it is used.
        for mut peer in peers {
            actix::spawn(async move { peer.more().await });
        }
        server.answer_once(OK).await
    };
    let (reply, _) = in_time(join(sending, serving)).await;
    assert_eq!(reply.unwrap().status, 200);
}

#[actix::test]
async fn a_server_that_always_closes_is_an_error_after_two_tries() {
    let (server, client) = (RawServer::start().await, upstream());
    let outgoing = post(&server, "{}");
    let serving = async {
        for _ in 0..2 {
            assert_eq!(server.answer_once(b"").await.body, b"{}");
        }
    };
    let (result, ()) = in_time(join(client.send(&outgoing), serving)).await;
    assert!(matches!(result, Err(SendError::Broken(_))));
    assert!(!server.has_visitor().await);
}

#[actix::test]
async fn what_must_not_be_done_twice_goes_out_once_on_a_connection_of_its_own() {
    let (server, client) = (RawServer::start().await, upstream());
    let outgoing = post(&server, "{}");
    let idle = async || {
        let mut peer = server.accept().await;
        peer.request().await;
        peer.say(OK).await;
        peer
    };
    let (reply, mut idle) = in_time(join(client.send(&outgoing), idle())).await;
    assert_eq!(text(reply.unwrap()).await, "{}");
    let (result, _) = in_time(join(client.send_once(&outgoing), server.answer_once(b""))).await;
    assert!(matches!(result, Err(SendError::Broken(_))));
    assert!(!server.has_visitor().await, "sent twice");
    drop(client);
    in_time(idle.closed()).await;
}

#[actix::test]
async fn an_answer_that_began_is_not_asked_for_again() {
    let garbage: [&[u8]; 4] =
        [b"SSH-2.0-OpenSSH_9.2\r\n", b"HTTP/1.1 200 OK\r\ncontent-le", b"HTTP/1.1 99 X\r\n\r\n", b"H"];
    for answer in garbage {
        let (server, client) = (RawServer::start().await, upstream());
        let outgoing = post(&server, "{}");
        let (result, _) = in_time(join(client.send(&outgoing), server.answer_once(answer))).await;
        let shown = String::from_utf8_lossy(answer);
        assert!(matches!(result, Err(SendError::Broken(_))), "{shown}");
        assert!(!server.has_visitor().await, "{shown}");
    }
}
