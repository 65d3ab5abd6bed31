//! The one HTTP client, with the traps of its stack closed.
//!
//! `awc` needs care in front of a language model: it does not set `TCP_NODELAY`, limits connections to 100, gives up
//! after five seconds, follows redirects with the caller's keys, speaks HTTP/2 with flaws, and reports a connection
//! that closed in the middle of a body as its end. Each of these is dealt with here, and pinned by a test.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use actix_tls::connect::{ConnectError as TcpConnectError, ConnectInfo, Connection};
use actix_web::dev::Service;
use actix_web::error::ParseError;
use awc::error::{ConnectError, PayloadError, SendRequestError};
use awc::http::header::{ACCEPT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HeaderName, HeaderValue, USER_AGENT};
use awc::http::{Method, Uri};
use futures::future::LocalBoxFuture;
use futures::stream::{LocalBoxStream, StreamExt};
use serde::de::IgnoredAny;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::domain::endpoint::{AddressPolicy, EndpointError};
use crate::gitlab::error::WaitHeaders;

/// A connection that has been idle for longer is not used again. Shorter than the 60 s or more that load balancers
/// in front of GitLab keep idle connections, so that a stale one is rare.
const IDLE_CONNECTION_MAX: Duration = Duration::from_secs(15);
/// A connection is retired after this time, so that changes of DNS are followed.
const CONNECTION_LIFE_MAX: Duration = Duration::from_mins(5);
/// A reused connection that the other side had closed already fails within this time; a later failure may be an
/// upstream that worked on the request, which must not be sent twice.
const STALE_WITHIN: Duration = Duration::from_secs(1);

/// How duopool names itself, always.
pub(crate) const AGENT: &str = concat!("duopool/", env!("CARGO_PKG_VERSION"));

/// Bytes of a body as they arrive. Ends with `None` for good; may be polled after that.
pub(crate) type ByteStream = LocalBoxStream<'static, Result<actix_web::web::Bytes, PayloadError>>;

/// What the client needs to know once.
#[derive(Clone, Debug)]
pub(crate) struct UpstreamSettings {
    /// Longest wait for DNS, TCP and TLS together.
    pub(crate) connect_timeout: Duration,
    /// Certificates and protocol, shared by all workers so that sessions are resumed.
    pub(crate) tls: Arc<rustls::ClientConfig>,
}

impl UpstreamSettings {
    /// Returns settings with the given connect timeout and Mozilla's roots.
    ///
    /// ALPN offers HTTP/1.1 alone: awc's HTTP/2 ignores connection limits and sends a stray `GET /` when a connection
    /// ages out.
    pub(crate) fn with_web_roots(connect_timeout: Duration) -> Self {
        let roots = rustls::RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = rustls::ClientConfig::builder_with_provider(provider);
        let versions = [&rustls::version::TLS13, &rustls::version::TLS12];
        // The provider is ours and knows both versions, so the fallback is never taken; it only spares a panic.
        let builder = builder.with_protocol_versions(&versions).unwrap_or_else(|_| rustls::ClientConfig::builder());
        let mut tls = builder.with_root_certificates(roots).with_no_client_auth();
        tls.alpn_protocols = vec![b"http/1.1".to_vec()];
        Self { connect_timeout, tls: Arc::new(tls) }
    }
}

/// One request, ready to go.
#[derive(Clone)]
pub(crate) struct Outgoing {
    pub(crate) method: Method,
    pub(crate) url: Uri,
    pub(crate) headers: Vec<(HeaderName, HeaderValue)>,
    pub(crate) body: actix_web::web::Bytes,
    /// Longest wait for the head of the answer, connecting included; a second try starts it anew.
    pub(crate) head_timeout: Duration,
}

/// The head of an answer, and its body still to come.
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) content_type: Option<String>,
    pub(crate) content_length: Option<u64>,
    /// What its headers say about when to come back; empty for a success.
    pub(crate) waits: WaitHeaders,
    pub(crate) body: ByteStream,
}

/// Why no head of an answer came.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SendError {
    /// No connection, for a reason that lies in this machine: the request was not sent.
    #[error("cannot connect: {0}")]
    Host(String),
    /// No connection: the request was not sent.
    #[error("cannot connect: {0}")]
    Connect(String),
    /// A connection, but no TLS on it: the request was not sent.
    #[error("cannot connect: {0}")]
    Tls(String),
    /// The name leads to an address that is never connected to.
    #[error("cannot connect: the host name leads to an address that duopool never connects to")]
    ForbiddenAddress,
    /// The other side closed the connection without an answer, or answered something that is not HTTP.
    #[error("connection broke: {0}")]
    Broken(String),
    /// No head within the time.
    #[error("no answer in time")]
    Timeout,
}

/// Why a body could not be read to its end.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReadError {
    /// It ended early, or the connection broke.
    #[error("answer cut short")]
    CutShort,
    /// It is longer than was allowed.
    #[error("answer too long")]
    TooLong,
    /// Silence for too long.
    #[error("answer stalled")]
    Stalled,
}

/// The client. One per thread: it is not `Send`.
#[derive(Clone)]
pub(crate) struct Upstream {
    client: awc::Client,
    /// For second tries, and for what is tried once: every connection of its own is new and closed after one answer.
    unpooled: awc::Client,
}

/// An attempt that gave no head of an answer.
struct Failed {
    error: SendError,
    /// The connection was closed before the first byte of an answer, as a stale one is.
    unanswered: bool,
}

impl Upstream {
    /// Builds the client of this thread.
    pub(crate) fn new(settings: &UpstreamSettings) -> Self {
        Self { client: client(settings), unpooled: client(settings) }
    }

    /// Sends `outgoing` and waits for the head of the answer.
    ///
    /// Sends it once more, on a new connection, if a reused connection turned out to be closed, which shows at once and
    /// before a byte came. awc does not tell whether a connection was reused, so a server that closes at once without
    /// an answer gets the request twice.
    pub(crate) async fn send(&self, outgoing: &Outgoing) -> Result<Reply, SendError> {
        let started = tokio::time::Instant::now();
        let result = match attempt(self.client.request(outgoing.method.clone(), outgoing.url.clone()), outgoing).await {
            // Not from the pool again: its other connections may have been closed at the same moment.
            Err(failed) if failed.unanswered && started.elapsed() < STALE_WITHIN => self.alone(outgoing).await,
            result => result,
        };
        result.map_err(|failed| failed.error)
    }

    /// Sends `outgoing` once and no more, on a new connection of its own: for what must not be done twice.
    pub(crate) async fn send_once(&self, outgoing: &Outgoing) -> Result<Reply, SendError> {
        self.alone(outgoing).await.map_err(|failed| failed.error)
    }

    async fn alone(&self, outgoing: &Outgoing) -> Result<Reply, Failed> {
        let request = self.unpooled.request(outgoing.method.clone(), outgoing.url.clone()).force_close();
        attempt(request, outgoing).await
    }
}

fn client(settings: &UpstreamSettings) -> awc::Client {
    let connector = awc::Connector::new()
        .connector(GuardedConnector)
        .timeout(settings.connect_timeout)
        .handshake_timeout(settings.connect_timeout)
        .limit(0)
        .conn_keep_alive(IDLE_CONNECTION_MAX)
        .conn_lifetime(CONNECTION_LIFE_MAX)
        .rustls_0_23(Arc::clone(&settings.tls));
    let client = awc::Client::builder().connector(connector).disable_timeout().disable_redirects();
    client.no_default_headers().finish()
}

async fn attempt(mut request: awc::ClientRequest, outgoing: &Outgoing) -> Result<Reply, Failed> {
    for (name, value) in &outgoing.headers {
        request = request.append_header((name.clone(), value.clone()));
    }
    request = request
        .insert_header_if_none((USER_AGENT, HeaderValue::from_static(AGENT)))
        .insert_header_if_none((ACCEPT_ENCODING, HeaderValue::from_static("identity")));
    let sending = request.send_body(outgoing.body.clone());
    let response = match timeout(outgoing.head_timeout, sending).await {
        Err(_) => return Err(Failed { error: SendError::Timeout, unanswered: false }),
        Ok(Err(error)) => return Err(Failed { unanswered: is_unanswered(&error), error: send_error(error) }),
        Ok(Ok(response)) => response,
    };
    let header = |name| response.headers().get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    Ok(Reply {
        status: response.status().as_u16(),
        content_type: header(CONTENT_TYPE).map(str::to_owned),
        content_length: header(CONTENT_LENGTH).and_then(|text| text.parse().ok()),
        waits: if response.status().is_success() {
            WaitHeaders::default()
        } else {
            WaitHeaders::of(response.headers())
        },
        // awc's body panics when polled after its end; a fused one does not.
        body: response.fuse().boxed_local(),
    })
}

impl Reply {
    /// Reads the body to its end: at most `bytes_max`, with at most `idle` of silence between two pieces.
    ///
    /// awc reports a connection that closes in the middle as the end of the body, so the length is checked here; and
    /// where none was promised, that a JSON answer is whole, since the beginning of a JSON object is none itself.
    pub(crate) async fn read(mut self, bytes_max: usize, idle: Duration) -> Result<actix_web::web::Bytes, ReadError> {
        let is_answer = (200..300).contains(&self.status) && self.is_json();
        let mut whole = actix_web::web::BytesMut::new();
        loop {
            match timeout(idle, self.body.next()).await {
                Err(_) => return Err(ReadError::Stalled),
                Ok(Some(Err(_))) => return Err(ReadError::CutShort),
                Ok(Some(Ok(piece))) if whole.len() + piece.len() > bytes_max => return Err(ReadError::TooLong),
                Ok(Some(Ok(piece))) => whole.extend_from_slice(&piece),
                Ok(None) => break,
            }
        }
        match self.content_length {
            Some(promised) if promised != whole.len() as u64 => Err(ReadError::CutShort),
            None if is_answer && serde_json::from_slice::<IgnoredAny>(&whole).is_err() => Err(ReadError::CutShort),
            _ => Ok(whole.freeze()),
        }
    }

    /// Returns whether the answer says it is JSON.
    pub(crate) fn is_json(&self) -> bool {
        self.content_type.as_deref().is_some_and(is_json)
    }
}

/// Returns whether a content type names JSON, with or without parameters or a `+json` suffix.
pub(crate) fn is_json(content_type: &str) -> bool {
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    essence.eq_ignore_ascii_case("application/json") || essence.to_ascii_lowercase().ends_with("+json")
}

/// Returns whether the connection was closed before the first byte of an answer.
///
/// An answer that began and broke off is an error of kind `Other` of the codec, not one of the socket's.
fn is_unanswered(error: &SendRequestError) -> bool {
    use std::io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, NotConnected, UnexpectedEof};
    let is_closed = |error: &std::io::Error| {
        matches!(error.kind(), BrokenPipe | ConnectionAborted | ConnectionReset | NotConnected | UnexpectedEof)
    };
    match error {
        SendRequestError::Connect(ConnectError::Disconnected) => true,
        SendRequestError::Send(error) | SendRequestError::Response(ParseError::Io(error)) => is_closed(error),
        _ => false,
    }
}

fn send_error(error: SendRequestError) -> SendError {
    match error {
        SendRequestError::Connect(ConnectError::Disconnected) => SendError::Broken("closed without an answer".into()),
        SendRequestError::Connect(ConnectError::Resolver(error)) => {
            if error.downcast_ref::<EndpointError>().is_some() {
                return SendError::ForbiddenAddress;
            }
            let is_hosts = error.downcast_ref::<std::io::Error>().is_some_and(is_hosts_fault);
            let said = error.to_string();
            if is_hosts { SendError::Host(said) } else { SendError::Connect(said) }
        }
        SendRequestError::Connect(ConnectError::Io(error)) if is_hosts_fault(&error) => {
            SendError::Host(error.to_string())
        }
        SendRequestError::Connect(ConnectError::Io(error)) if is_of_tls(&error) => SendError::Tls(error.to_string()),
        SendRequestError::Connect(error) => SendError::Connect(error.to_string()),
        SendRequestError::Timeout => SendError::Timeout,
        SendRequestError::Url(error) => SendError::Connect(error.to_string()),
        other => SendError::Broken(other.to_string()),
    }
}

fn is_of_tls(error: &std::io::Error) -> bool {
    error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()).is_some()
}

/// Returns whether a failure to connect lies in this machine, whoever was to be reached: no network, no answer from DNS,
/// no file descriptor or port left.
///
/// What the resolver says comes as a text alone. Source: `gai_strerror(EAI_AGAIN)` of glibc, and of musl.
fn is_hosts_fault(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{AddrNotAvailable, NetworkDown, NetworkUnreachable, OutOfMemory};
    /// `ENFILE` and `EMFILE`, which have no kind of their own; the same numbers on Linux and the BSDs.
    const NO_DESCRIPTORS: [i32; 2] = [23, 24];
    let said = error.to_string();
    matches!(error.kind(), AddrNotAvailable | NetworkDown | NetworkUnreachable | OutOfMemory)
        || error.raw_os_error().is_some_and(|code| NO_DESCRIPTORS.contains(&code))
        || said.contains("Temporary failure in name resolution")
        || said.ends_with("Try again")
}

/// Resolves a name, drops every address that may not be connected to, connects to one that is left, and switches
/// Nagle's algorithm off.
///
/// The address that was checked is the address that is connected to, so a name cannot change its mind in between.
#[derive(Clone, Copy, Debug)]
struct GuardedConnector;

impl Service<ConnectInfo<Uri>> for GuardedConnector {
    type Response = Connection<Uri, TcpStream>;
    type Error = TcpConnectError;
    type Future = LocalBoxFuture<'static, Result<Self::Response, Self::Error>>;

    fn poll_ready(&self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&self, info: ConnectInfo<Uri>) -> Self::Future {
        Box::pin(async move {
            let stream = connect(info.hostname(), info.port()).await?;
            Ok(Connection::new(info.request().clone(), stream))
        })
    }
}

async fn connect(host: &str, port: u16) -> Result<TcpStream, TcpConnectError> {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let found: Vec<SocketAddr> = match bare.parse::<IpAddr>() {
        Ok(ip) => vec![SocketAddr::new(ip, port)],
        Err(_) => {
            tokio::net::lookup_host((bare, port)).await.map_err(|e| TcpConnectError::Resolver(Box::new(e)))?.collect()
        }
    };
    let mut failure = None;
    for address in allowed(bare, found)? {
        match TcpStream::connect(address).await {
            Ok(stream) => {
                // Without it the delayed acknowledgement of small writes stalls a stream for 40 ms at a time.
                stream.set_nodelay(true).map_err(TcpConnectError::Io)?;
                return Ok(stream);
            }
            // A machine without IPv6 reaches none of those addresses: what the others say tells more.
            Err(error) if failure.as_ref().is_none_or(is_hosts_fault) => failure = Some(error),
            Err(_) => {}
        }
    }
    Err(failure.map_or(TcpConnectError::NoRecords, TcpConnectError::Io))
}

/// Returns those of `found` that `host` may be reached at; an error if there were some and none is left.
fn allowed(host: &str, found: Vec<SocketAddr>) -> Result<Vec<SocketAddr>, TcpConnectError> {
    let policy = AddressPolicy::for_host(Some(host));
    let any = !found.is_empty();
    let kept: Vec<_> = found.into_iter().filter(|address| policy.check(address.ip()).is_ok()).collect();
    if any && kept.is_empty() {
        return Err(TcpConnectError::Resolver(Box::new(EndpointError::ForbiddenAddress)));
    }
    Ok(kept)
}

#[cfg(test)]
pub(crate) mod tests;
