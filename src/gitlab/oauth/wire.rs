//! Carries requests of `oauth2` over our own HTTP client, and keeps what came back.
//!
//! The only file that knows both versions of crate `http`: `oauth2` speaks version 1, awc 0.2. What `oauth2` makes of
//! an answer is used where it succeeds; what a failure means is decided from the answer itself, since the errors of
//! `oauth2` quote whole bodies, and do not tell what was sent from what was not.

use std::cell::RefCell;
use std::time::Duration;

use actix_web::web::Bytes;
use awc::http::header::{ACCEPT, CONTENT_TYPE, HeaderName, HeaderValue};
use awc::http::{Method, Uri};
use futures::future::LocalBoxFuture;
use oauth2::http::{Response, StatusCode};
use oauth2::{AsyncHttpClient, HttpRequest, HttpResponse};
use url::form_urlencoded::Serializer;

use crate::domain::secret::Secret;
use crate::gitlab::error::{Call, WaitHeaders, classify, of_read_error, of_send_error};
use crate::gitlab::oauth::outcome::{ExchangeError, error_value};
use crate::gitlab::upstream::{Outgoing, ReadError, SendError, Upstream};

/// Longest wait for an answer's head. As long as Rails may work on a request (60 s), and longer than for other calls:
/// who gives up on an exchange does not know what became of it.
const HEAD_TIMEOUT: Duration = Duration::from_secs(65);
/// Longest silence inside an answer.
const IDLE_TIMEOUT: Duration = Duration::from_secs(15);
/// Answers of these endpoints have less than a KiB; anything larger is not one of them.
const BODY_BYTES_MAX: usize = 1024 * 1024;

/// One request and its answer.
pub(super) struct Wire<'a> {
    upstream: &'a Upstream,
    call: Call,
    met: RefCell<Met>,
    waits: RefCell<WaitHeaders>,
}

/// What became of the request.
pub(super) enum Met {
    /// It was not even built.
    Nothing,
    NoAnswer(SendError),
    /// An answer with this status that did not come to its end.
    NoEnd(u16, ReadError),
    Answer(u16, Bytes),
}

/// There is no answer; [`Met`] says why.
#[derive(Debug, thiserror::Error)]
#[error("no answer")]
pub(super) struct NoAnswer;

impl<'a> Wire<'a> {
    pub(super) fn new(upstream: &'a Upstream, call: Call) -> Self {
        Self { upstream, call, met: RefCell::new(Met::Nothing), waits: RefCell::default() }
    }

    /// Sends `form` to `url`, and returns status and body of the answer, if one came to its end.
    pub(super) async fn post(&self, url: &str, form: &[(&str, &str)]) -> Option<(u16, Bytes)> {
        let body = Serializer::new(String::new()).extend_pairs(form).finish();
        let headers = vec![
            (ACCEPT, HeaderValue::from_static("application/json")),
            (CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded")),
        ];
        let outgoing = url.parse().ok().map(|url| Outgoing {
            method: Method::POST,
            url,
            headers,
            body: body.into(),
            head_timeout: HEAD_TIMEOUT,
        });
        let met = self.send(outgoing).await;
        let answer = if let Met::Answer(status, body) = &met { Some((*status, body.clone())) } else { None };
        self.met.replace(met);
        answer
    }

    /// Returns what it means that there are no tokens. What was sent in `secrets` is struck from what was answered.
    pub(super) fn error(self, secrets: &[&Secret<String>]) -> ExchangeError {
        let (call, waits) = (self.call, self.waits.take());
        match self.met.into_inner() {
            Met::Nothing => {
                let unsent = SendError::Connect("the request could not be built".to_owned());
                ExchangeError::Refused(of_send_error(call, &unsent))
            }
            Met::NoAnswer(error) if error.is_unsent() => ExchangeError::Refused(of_send_error(call, &error)),
            Met::NoAnswer(error) => ExchangeError::Unknown(of_send_error(call, &error)),
            // What an error says is worth less than its status.
            Met::NoEnd(status, _) if status >= 300 => ExchangeError::of(classify(call, status, &waits, b"")),
            Met::NoEnd(_, error) => ExchangeError::Unknown(of_read_error(call, &error)),
            Met::Answer(status, body) => {
                let clean = secrets.iter().fold(body.to_vec(), |body, secret| secret.struck_from(&body).into_owned());
                // A success may hold new tokens, which nobody could strike.
                let said: &[u8] = if status >= 300 || error_value(&clean).is_some() { &clean } else { b"" };
                ExchangeError::of(classify(call, status, &waits, said))
            }
        }
    }

    async fn send(&self, outgoing: Option<Outgoing>) -> Met {
        let Some(outgoing) = outgoing else { return Met::Nothing };
        let reply = match self.upstream.send_once(&outgoing).await {
            Ok(reply) => reply,
            Err(error) => return Met::NoAnswer(error),
        };
        let status = reply.status;
        self.waits.replace(reply.waits.clone());
        match reply.read(BODY_BYTES_MAX, IDLE_TIMEOUT).await {
            Ok(body) => Met::Answer(status, body),
            Err(error) => Met::NoEnd(status, error),
        }
    }
}

impl<'c> AsyncHttpClient<'c> for Wire<'_> {
    type Error = NoAnswer;
    type Future = LocalBoxFuture<'c, Result<HttpResponse, NoAnswer>>;

    fn call(&'c self, request: HttpRequest) -> Self::Future {
        Box::pin(async move {
            let met = self.send(outgoing(request)).await;
            let response = if let Met::Answer(status, body) = &met { response(*status, body) } else { None };
            self.met.replace(met);
            response.ok_or(NoAnswer)
        })
    }
}

/// Returns `request` in the words of awc.
fn outgoing(request: HttpRequest) -> Option<Outgoing> {
    let (head, body) = request.into_parts();
    let header = |(name, value): (&oauth2::http::HeaderName, &oauth2::http::HeaderValue)| {
        let name = HeaderName::from_bytes(name.as_str().as_bytes()).ok()?;
        Some((name, HeaderValue::from_bytes(value.as_bytes()).ok()?))
    };
    Some(Outgoing {
        method: Method::from_bytes(head.method.as_str().as_bytes()).ok()?,
        url: head.uri.to_string().parse::<Uri>().ok()?,
        headers: head.headers.iter().map(header).collect::<Option<_>>()?,
        body: body.into(),
        head_timeout: HEAD_TIMEOUT,
    })
}

/// Returns an answer in the words of `oauth2`, which takes 200 for the only success.
///
/// Without the content type: tokens that came are tokens, and their predecessors are dead, whatever a proxy calls them.
fn response(status: u16, body: &[u8]) -> Option<HttpResponse> {
    let status = StatusCode::from_u16(status).ok()?;
    let mut response = Response::new(body.to_vec());
    *response.status_mut() = if status.is_success() { StatusCode::OK } else { status };
    Some(response)
}

#[cfg(test)]
impl<'a> Wire<'a> {
    pub(super) fn after(upstream: &'a Upstream, call: Call, met: Met) -> Self {
        Self { upstream, call, met: RefCell::new(met), waits: RefCell::default() }
    }
}
