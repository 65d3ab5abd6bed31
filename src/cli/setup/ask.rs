//! Asks the pool as a client would, over plain HTTP or TLS.

use std::time::Duration;

use actix_web::web::Bytes;
use awc::http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderName, HeaderValue};
use awc::http::{Method, Uri};
use futures::StreamExt as _;
use tokio::time::timeout;

use crate::domain::route::Route;
use crate::domain::secret::Secret;
use crate::gitlab::upstream::{Outgoing, Upstream, UpstreamSettings};
use crate::setup::{Answer, Credential, Outcome};

/// No answer to so small a question is longer, in bytes.
const ANSWER_BYTES_MAX: usize = 4 * 1024 * 1024;

/// A way to the pool.
pub(super) struct Asker {
    upstream: Upstream,
    url: String,
}

/// What is asked.
pub(super) struct Question<'a> {
    pub(super) path: &'a str,
    pub(super) headers: &'a [(&'static str, &'static str)],
    pub(super) key: Option<(&'a Secret<String>, Credential)>,
    /// A POST where there is one.
    pub(super) body: Option<String>,
    /// Longest wait for the head of the answer, and longest silence in it.
    pub(super) patience: Duration,
}

impl Asker {
    /// Asks `url`, by the way that leads to everything else.
    pub(super) fn to(url: &str, route: &Route) -> Self {
        Self { upstream: Upstream::new(&UpstreamSettings::new(route)), url: url.to_owned() }
    }

    /// Asks once, and reads the answer as far as it comes.
    pub(super) async fn ask(&self, question: Question<'_>) -> Outcome {
        let url: Uri = match format!("{}{}", self.url, question.path).parse() {
            Ok(url) => url,
            Err(error) => return Outcome::Unreachable(format!("the address cannot be used: {error}")),
        };
        let mut headers: Vec<(HeaderName, HeaderValue)> =
            vec![(CONTENT_TYPE, HeaderValue::from_static("application/json"))];
        let given = question.headers.iter();
        headers.extend(given.map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value))));
        if let Some((key, credential)) = question.key {
            let (name, text) = match credential {
                Credential::Bearer => (AUTHORIZATION, format!("Bearer {}", key.expose())),
                Credential::ApiKey => (HeaderName::from_static("x-api-key"), key.expose().clone()),
            };
            let Ok(mut value) = HeaderValue::from_str(&text) else {
                return Outcome::Unreachable("the key has characters that no header may carry".to_owned());
            };
            value.set_sensitive(true);
            headers.push((name, value));
        }
        let method = if question.body.is_some() { Method::POST } else { Method::GET };
        let body = Bytes::from(question.body.unwrap_or_default());
        let outgoing = Outgoing { method, url, headers, body, head_timeout: question.patience };
        let mut reply = match self.upstream.send_once(&outgoing).await {
            Ok(reply) => reply,
            Err(error) => return Outcome::Unreachable(error.to_string()),
        };
        let mut answer = Answer {
            status: reply.status,
            content_type: reply.content_type.clone().unwrap_or_default(),
            retry_after: reply.waits.retry_after().map(str::to_owned),
            ..Answer::default()
        };
        loop {
            match timeout(question.patience, reply.body.next()).await {
                Ok(Some(Ok(piece))) if answer.body.len() + piece.len() <= ANSWER_BYTES_MAX => {
                    answer.body.extend_from_slice(&piece);
                }
                Ok(Some(Ok(_))) => answer.broken = Some("it is longer than any answer to such a question".to_owned()),
                Ok(Some(Err(error))) => answer.broken = Some(error.to_string()),
                Ok(None) => return Outcome::Answered(answer),
                Err(_) => answer.broken = Some(format!("nothing came for {} s", question.patience.as_secs())),
            }
            if answer.broken.is_some() {
                return Outcome::Answered(answer);
            }
        }
    }
}
