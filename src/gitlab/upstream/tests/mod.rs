use std::collections::BTreeMap;
use std::net::SocketAddr;

use actix_tls::connect::ConnectError as TcpConnectError;
use actix_web::web::Bytes;
use awc::error::{ConnectError, SendRequestError};
use awc::http::header::AUTHORIZATION;
use futures::future::{join, join_all};

use super::connector::{allowed, connect};
use super::failure::is_hosts_fault;
use super::*;
use crate::domain::endpoint::EndpointError;
use crate::domain::route::{Names, Routes};

mod bodies;
mod probe;
pub(crate) mod raw_server;
mod reuse;

use raw_server::{RawServer, in_time};

const MANY: usize = 150;
const OK: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}";
const LONG: Duration = Duration::from_secs(15);
const SHORT: Duration = Duration::from_millis(50);

pub(crate) fn upstream() -> Upstream {
    Upstream::new(&UpstreamSettings::direct(LONG))
}

pub(crate) fn upstreams() -> Upstreams {
    let usual = UpstreamSettings::direct(LONG).route;
    Upstreams::new(&UpstreamsSettings::new(&Routes { usual, own: BTreeMap::default() }))
}

fn get(server: &RawServer) -> Outgoing {
    let url = format!("{}/x", server.root()).parse().unwrap();
    Outgoing { method: Method::GET, url, headers: Vec::new(), body: Bytes::new(), head_timeout: LONG }
}

fn post(server: &RawServer, body: &'static str) -> Outgoing {
    Outgoing { method: Method::POST, body: Bytes::from_static(body.as_bytes()), ..get(server) }
}

async fn text(reply: Reply) -> String {
    String::from_utf8(reply.read(1_024, LONG).await.unwrap().to_vec()).unwrap()
}

/// Sends a request that is never answered, and returns when its `head_timeout` is over.
async fn time_passes(head_timeout: Duration) {
    let silent = RawServer::start().await;
    let client = upstream();
    let outgoing = Outgoing { head_timeout, ..get(&silent) };
    let server = async {
        let mut peer = silent.accept().await;
        peer.request().await;
        peer.closed().await;
    };
    let (result, ()) = join(client.send(&outgoing), server).await;
    assert!(matches!(result, Err(SendError::Timeout)));
}

#[actix::test]
async fn outgoing_sockets_send_small_writes_at_once() {
    let server = RawServer::start().await;
    for host in ["127.0.0.1", "localhost"] {
        let stream = in_time(connect(&Names::default(), host, server.port())).await.unwrap();
        assert!(stream.nodelay().unwrap(), "{host}");
    }
}

#[actix::test]
async fn more_requests_than_awcs_hundred_are_under_way_at_once() {
    let (server, client) = (RawServer::start().await, upstream());
    let outgoing = post(&server, "{}");
    let sending = join_all((0..MANY).map(|_| client.send(&outgoing)));
    let serving = async {
        let mut peers = Vec::new();
        for _ in 0..MANY {
            let mut peer = server.accept().await;
            peer.request().await;
            peers.push(peer);
        }
        // Every request is here, and none has an answer yet.
        for peer in &mut peers {
            peer.say(OK).await;
        }
    };
    let (replies, ()) = in_time(join(sending, serving)).await;
    assert!(replies.iter().all(|reply| reply.as_ref().is_ok_and(|reply| reply.status == 200)));
}

#[actix::test]
async fn a_request_without_an_answer_ends_at_its_own_timeout_and_closes_the_connection() {
    in_time(time_passes(SHORT)).await;
}

#[actix::test]
async fn an_answer_may_take_longer_than_awcs_five_seconds() {
    let (server, client) = (RawServer::start().await, upstream());
    let outgoing = get(&server);
    let serving = async {
        let mut peer = server.accept().await;
        peer.request().await;
        time_passes(Duration::from_millis(5_200)).await;
        peer.say(OK).await;
    };
    let (reply, ()) = join(client.send(&outgoing), serving).await;
    assert_eq!(reply.unwrap().status, 200);
}

#[actix::test]
async fn the_body_may_take_longer_than_the_head() {
    let (server, client) = (RawServer::start().await, upstream());
    let outgoing = Outgoing { head_timeout: 4 * SHORT, ..get(&server) };
    let mut peer = None;
    let serving = async {
        let peer = peer.insert(server.accept().await);
        peer.request().await;
        peer.say(b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\none").await;
    };
    let (reply, ()) = join(client.send(&outgoing), serving).await;
    let rest = async {
        time_passes(5 * SHORT).await;
        peer.unwrap().say(b"two").await;
    };
    let (body, ()) = join(text(reply.unwrap()), rest).await;
    assert_eq!(body, "onetwo");
}

#[test]
fn only_http_1_1_is_offered() {
    let tls = UpstreamSettings::direct(LONG).tls;
    assert_eq!(tls.alpn_protocols, [b"http/1.1".to_vec()]);
}

#[actix::test]
async fn a_redirect_is_not_followed_and_no_header_goes_elsewhere() {
    for status in [301, 302, 303, 307, 308] {
        let (server, elsewhere, client) = (RawServer::start().await, RawServer::start().await, upstream());
        let headers = vec![(AUTHORIZATION, HeaderValue::from_static("Bearer secret"))];
        let outgoing = Outgoing { headers, ..post(&server, "{}") };
        let answer = format!("HTTP/1.1 {status} X\r\nlocation: {}/y\r\ncontent-length: 0\r\n\r\n", elsewhere.root());
        let (reply, _) = join(client.send(&outgoing), server.answer_once(answer.as_bytes())).await;
        assert_eq!(reply.unwrap().status, status);
        assert!(!elsewhere.has_visitor().await, "{status}");
        assert!(!server.has_visitor().await, "{status}");
    }
}

#[actix::test]
async fn a_request_says_who_sends_it_and_asks_for_plain_bytes() {
    let (server, client) = (RawServer::start().await, upstream());
    let headers = vec![
        (AUTHORIZATION, HeaderValue::from_static("Bearer t")),
        (HeaderName::from_static("x-gitlab-namespace-id"), HeaderValue::from_static("")),
    ];
    let outgoing = Outgoing { headers, ..post(&server, r#"{"a":1}"#) };
    let (reply, request) = join(client.send(&outgoing), server.answer_once(OK)).await;
    assert!(reply.is_ok());
    assert_eq!(request.line, "POST /x HTTP/1.1");
    assert_eq!(request.header("user-agent"), [format!("duopool/{}", env!("CARGO_PKG_VERSION"))]);
    assert_eq!(request.header("accept-encoding"), ["identity"]);
    assert_eq!(request.header("authorization"), ["Bearer t"]);
    assert_eq!(request.header("x-gitlab-namespace-id"), [""]);
    assert_eq!(request.header("host"), [format!("127.0.0.1:{}", server.port())]);
    assert_eq!(request.header("content-length"), ["7"]);
    assert_eq!(request.body, br#"{"a":1}"#);
}

#[test]
fn a_name_is_connected_to_only_where_it_may_lead() {
    let address = |ip: &str| SocketAddr::new(ip.parse().unwrap(), 443);
    let left = |host: &str, ips: &[&str]| {
        let kept = allowed(host, ips.iter().map(|ip| address(ip)).collect());
        kept.map(|kept| kept.iter().map(|address| address.ip().to_string()).collect::<Vec<_>>())
    };
    let remote = "gitlab.example.com";
    assert_eq!(
        left(remote, &["127.0.0.1", "203.0.113.7", "169.254.169.254", "10.0.0.1"]).unwrap(),
        ["203.0.113.7", "10.0.0.1"]
    );
    assert_eq!(left("localhost", &["::1", "127.0.0.1", "10.0.0.1"]).unwrap(), ["::1", "127.0.0.1"]);
    for (host, ip) in [
        (remote, "127.0.0.1"),
        (remote, "::1"),
        (remote, "169.254.1.1"),
        (remote, "fe80::1"),
        ("localhost", "10.0.0.1"),
    ] {
        let TcpConnectError::Resolver(error) = left(host, &[ip]).unwrap_err() else { panic!("{host} {ip}") };
        assert!(error.is::<EndpointError>(), "{host} {ip}");
    }
    assert_eq!(left(remote, &[]).unwrap(), Vec::<String>::new());
}

#[actix::test]
async fn a_forbidden_address_is_told_from_one_that_does_not_answer() {
    let client = upstream();
    for host in ["169.254.169.254", "[fe80::1]", "[::ffff:169.254.169.254]", "0.0.0.0"] {
        let url = format!("http://{host}/latest/meta-data").parse().unwrap();
        let outgoing =
            Outgoing { method: Method::GET, url, headers: Vec::new(), body: Bytes::new(), head_timeout: LONG };
        assert!(matches!(in_time(client.send(&outgoing)).await, Err(SendError::ForbiddenAddress)), "{host}");
    }
    // Bound, so that the port is taken, but nobody listens.
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let url = format!("http://{}/", socket.local_addr().unwrap()).parse().unwrap();
    let outgoing = Outgoing { method: Method::GET, url, headers: Vec::new(), body: Bytes::new(), head_timeout: LONG };
    assert!(matches!(in_time(client.send(&outgoing)).await, Err(SendError::Connect(_))));
}

#[test]
fn what_this_machine_lacks_is_told_from_what_others_do() {
    use std::io::{Error, ErrorKind};
    let hosts = [
        Error::from(ErrorKind::NetworkUnreachable),
        Error::from(ErrorKind::NetworkDown),
        Error::from(ErrorKind::AddrNotAvailable),
        Error::from_raw_os_error(24),
        Error::from_raw_os_error(23),
        Error::other("failed to lookup address information: Temporary failure in name resolution"),
        Error::other("failed to lookup address information: Try again"),
    ];
    for error in hosts {
        let said = error.to_string();
        assert!(is_hosts_fault(&error), "{said}");
        let resolving = said.contains("lookup");
        let error = if resolving { ConnectError::Resolver(Box::new(error)) } else { ConnectError::Io(error) };
        assert!(
            matches!(
                send_error(SendRequestError::Connect(error), &Uri::from_static("https://x.test")),
                SendError::Host(_)
            ),
            "{said}"
        );
    }
    let others = [
        Error::from(ErrorKind::ConnectionRefused),
        Error::from(ErrorKind::HostUnreachable),
        Error::from(ErrorKind::TimedOut),
        Error::other("failed to lookup address information: Name or service not known"),
    ];
    for error in others {
        let said = error.to_string();
        assert!(
            matches!(
                send_error(SendRequestError::Connect(ConnectError::Io(error)), &Uri::from_static("https://x.test")),
                SendError::Connect(_)
            ),
            "{said}"
        );
    }
}

#[actix::test]
async fn a_server_without_tls_is_told_from_one_that_is_not_there() {
    let (server, client) = (RawServer::start().await, upstream());
    let url = format!("https://127.0.0.1:{}/x", server.port()).parse().unwrap();
    let outgoing = Outgoing { url, ..get(&server) };
    let serving = async {
        let mut peer = server.accept().await;
        peer.say(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n").await;
        // Kept open: a close with something unread would take the answer with it.
        peer
    };
    let (result, _peer) = in_time(join(client.send(&outgoing), serving)).await;
    assert!(matches!(result, Err(SendError::Tls(TlsFault::Other, _))));
}
