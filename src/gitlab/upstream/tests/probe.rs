//! One look at a way, step by step.

use std::sync::Arc;

use rustls::pki_types::PrivatePkcs8KeyDer;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::*;
use crate::domain::route::{Authority, Detour, Exceptions, Proxy, Route};
use crate::domain::time::Timestamp;
use crate::gitlab::upstream::probe::Probe;

const HEAD: &[u8] = b"HTTP/1.1 401 Unauthorized\r\nDate: Sun, 22 Nov 2026 09:30:00 GMT\r\ncontent-length: 5\r\n\r\n";

fn uri(text: &str) -> Uri {
    text.parse().unwrap()
}

fn going(change: impl FnOnce(&mut Route)) -> Upstream {
    let mut route = UpstreamSettings::direct(LONG).route;
    change(&mut route);
    Upstream::new(&UpstreamSettings::new(&route))
}

/// Starts a server that is called `name`, and whose certificate signs itself; returns its port and the certificate.
async fn tls_server(name: &str) -> (u16, Authority) {
    let key = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::new(vec![name.to_owned()]).unwrap();
    params.distinguished_name.push(rcgen::DnType::CommonName, "gitlab.corp");
    let certificate = params.self_signed(&key).unwrap().der().clone();
    let builder = rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()));
    let builder = builder.with_safe_default_protocol_versions().unwrap().with_no_client_auth();
    let key = PrivatePkcs8KeyDer::from(key.serialize_der()).into();
    let config = builder.with_single_cert(vec![certificate.clone()], key).unwrap();
    let (acceptor, listener) = (tokio_rustls::TlsAcceptor::from(Arc::new(config)), TcpListener::bind("127.0.0.1:0"));
    let listener = listener.await.unwrap();
    let port = listener.local_addr().unwrap().port();
    actix::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let Ok(mut stream) = acceptor.accept(stream).await else { continue };
            let mut asked = Vec::new();
            while !asked.ends_with(b"\r\n\r\n") && stream.read_buf(&mut asked).await.unwrap() > 0 {}
            stream.write_all(HEAD).await.unwrap();
            stream.flush().await.unwrap();
        }
    });
    (port, certificate.as_ref().into())
}

fn assert_answered(probe: &Probe) {
    assert!(probe.error.is_none(), "{probe:?}");
    assert_eq!((probe.status, probe.date), (Some(401), Timestamp::from_rfc3339("2026-11-22T09:30:00Z")));
    assert!(probe.connected.is_some());
}

#[actix::test]
async fn a_way_that_leads_to_an_answer_is_told_with_its_steps() {
    let server = RawServer::start().await;
    let url = uri(&format!("{}/api/v4/version", server.root()));
    let (probe, asked) = in_time(join(upstream().probe(&url), server.answer_once(HEAD))).await;
    assert_answered(&probe);
    assert_eq!(asked.line, "HEAD /api/v4/version HTTP/1.1");
    assert!(asked.headers.iter().all(|(name, _)| name != "authorization"), "{:?}", asked.headers);
    assert_eq!(probe.addresses, ["127.0.0.1".parse::<std::net::IpAddr>().unwrap()]);
    assert!(probe.secured.is_none() && probe.certificate.is_none() && probe.proxy.is_none());
}

#[actix::test]
async fn the_certificate_is_seen_whether_or_not_it_is_trusted() {
    let (port, authority) = tls_server("localhost").await;
    let url = uri(&format!("https://localhost:{port}/"));
    let probe = in_time(upstream().probe(&url)).await;
    assert!(matches!(probe.error, Some(SendError::Tls(TlsFault::Untrusted, _))), "{probe:?}");
    assert!(probe.connected.is_some() && probe.secured.is_none() && probe.status.is_none());
    assert_eq!(probe.certificate.unwrap().issuer, "gitlab.corp");
    let probe = in_time(going(|route| route.authorities = vec![authority]).probe(&url)).await;
    assert_answered(&probe);
    assert!(probe.secured.is_some());
    assert_eq!(probe.certificate.unwrap().subject, "gitlab.corp");
}

#[actix::test]
async fn a_way_through_a_proxy_names_it_and_looks_no_name_up() {
    let (server, (port, authority)) = (RawServer::start().await, tls_server("localhost").await);
    let proxy = Proxy::parse(&format!("http://me:hidden@127.0.0.1:{}", server.port())).unwrap();
    let client = going(|route| {
        route.detour = Some(Detour { proxy, except: Exceptions::default(), even_loopback: true });
        route.authorities = vec![authority];
    });
    let url = uri(&format!("https://localhost:{port}/"));
    let answer = b"HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n";
    let (probe, asked) = in_time(join(client.probe(&url), server.answer_once(answer))).await;
    assert_eq!(asked.line, format!("CONNECT localhost:{port} HTTP/1.1"));
    assert!(matches!(probe.error, Some(SendError::Proxy(ProxyFault::Refused, _))), "{probe:?}");
    assert!(probe.addresses.is_empty() && probe.connected.is_none());
    let shown = format!("{probe:?}");
    assert!(shown.contains("http://***@127.0.0.1") && !shown.contains("hidden"), "{shown}");
}

#[actix::test]
async fn a_proxy_with_an_ipv6_address_is_known_by_all_of_it() {
    let (port, authority) = tls_server("fd12::1").await;
    let tls = Arc::new(trust::client_config(&[authority]));
    for (host, is_it) in [("fd12::2", false), ("fd12", false), ("fd12::1", true)] {
        let stream = tokio::net::TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        let secured = in_time(tunnel::secured(&tls, host, stream)).await;
        assert_eq!(secured.is_ok(), is_it, "{host}: {:?}", secured.err());
    }
}

#[actix::test]
async fn a_way_that_ends_early_says_where() {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let probe = in_time(upstream().probe(&uri(&format!("http://{}/", socket.local_addr().unwrap())))).await;
    assert!(matches!(probe.error, Some(SendError::Connect(_))) && !probe.addresses.is_empty(), "{probe:?}");
    let probe = in_time(upstream().probe(&uri("http://169.254.169.254/"))).await;
    assert!(matches!(probe.error, Some(SendError::ForbiddenAddress)) && probe.connected.is_none(), "{probe:?}");
    let server = RawServer::start().await;
    let (probe, _) = in_time(join(upstream().probe(&uri(&server.root())), server.answer_once(b"hello\r\n\r\n"))).await;
    assert!(matches!(probe.error, Some(SendError::Broken(_))) && probe.connected.is_some(), "{probe:?}");
}
