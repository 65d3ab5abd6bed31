//! The one HTTP client, with the traps of its stack closed.
//!
//! `awc` needs care in front of a language model: it does not set `TCP_NODELAY`, limits connections to 100, gives up
//! after five seconds, follows redirects with the caller's keys, speaks HTTP/2 with flaws, and reports a connection
//! that closed in the middle of a body as its end. Each of these is dealt with here, and pinned by a test.
//!
//! A client goes one way: it trusts the same authorities and uses the same proxy for all that it connects to. Instances
//! that want another way have a client of their own ([`Upstreams`]).

mod certificate;
mod connector;
mod failure;
mod line;
mod probe;
mod settings;
mod trust;
mod tunnel;

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use awc::error::PayloadError;
use awc::http::header::{ACCEPT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HeaderName, HeaderValue, USER_AGENT};
use awc::http::{Method, Uri};
use futures::stream::{LocalBoxStream, StreamExt};
use serde::de::IgnoredAny;
use tokio::time::timeout;

use crate::domain::route::Timeouts;
use crate::gitlab::error::WaitHeaders;
pub(crate) use certificate::Certificate;
use connector::GuardedConnector;
pub(crate) use failure::{ProxyFault, ReadError, SendError, TlsFault};
use failure::{is_unanswered, send_error};
pub(crate) use settings::{UpstreamSettings, Upstreams, UpstreamsSettings};

/// A connection that has been idle for longer is not used again. Shorter than the 60 s or more that load balancers
/// in front of GitLab keep idle connections, so that a stale one is rare.
const IDLE_CONNECTION_MAX: Duration = Duration::from_secs(15);
/// A connection is retired after this time, so that changes of DNS are followed.
const CONNECTION_LIFE_MAX: Duration = Duration::from_mins(5);
/// A reused connection that the other side had closed already fails within this time; a later failure may be an
/// upstream that worked on the request, which must not be sent twice.
const STALE_WITHIN: Duration = Duration::from_secs(1);
/// Our connector ends its wait by itself, and then knows for what it waited; awc's own limit, which does not, comes later.
const CONNECT_SLACK: Duration = Duration::from_secs(1);

/// How duopool names itself, always.
pub(crate) const AGENT: &str = concat!("duopool/", env!("CARGO_PKG_VERSION"));

/// Bytes of a body as they arrive. Ends with `None` for good; may be polled after that.
pub(crate) type ByteStream = LocalBoxStream<'static, Result<actix_web::web::Bytes, PayloadError>>;

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

/// The client. One per thread: it is not `Send`.
#[derive(Clone)]
pub(crate) struct Upstream {
    client: awc::Client,
    /// For second tries, and for what is tried once: every connection of its own is new and closed after one answer.
    unpooled: awc::Client,
    settings: Rc<UpstreamSettings>,
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
        let settings = Rc::new(settings.clone());
        Self { client: client(&settings), unpooled: client(&settings), settings }
    }

    /// Returns how long to wait on this way.
    pub(crate) fn timeouts(&self) -> &Timeouts {
        &self.settings.route.timeouts
    }

    /// Returns whether this way leads elsewhere than that of other instances: where it ends, theirs may not.
    pub(crate) fn is_apart(&self) -> bool {
        self.settings.apart
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

fn client(settings: &Rc<UpstreamSettings>) -> awc::Client {
    let timeout = settings.route.timeouts.connect;
    let connector = awc::Connector::new()
        .connector(GuardedConnector(Rc::clone(settings)))
        .timeout(timeout + CONNECT_SLACK)
        .handshake_timeout(timeout)
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
        Ok(Err(error)) => {
            return Err(Failed { unanswered: is_unanswered(&error), error: send_error(error, &outgoing.url) });
        }
        Ok(Ok(response)) => response,
    };
    let header = |name: &str| response.headers().get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    Ok(Reply {
        status: response.status().as_u16(),
        content_type: header(CONTENT_TYPE.as_str()).map(str::to_owned),
        content_length: header(CONTENT_LENGTH.as_str()).and_then(|text| text.parse().ok()),
        waits: if response.status().is_success() { WaitHeaders::default() } else { WaitHeaders::of(header) },
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

#[cfg(test)]
pub(crate) mod tests;
