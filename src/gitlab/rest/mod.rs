//! Calls to GitLab's own API: JSON in, JSON out, bounded in size and time.

use std::time::Duration;

use awc::http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use awc::http::{Method, Uri};
use serde::de::DeserializeOwned;

use crate::domain::endpoint::InstanceUrl;
use crate::domain::secret::Secret;
use crate::gitlab::error::{Call, CallError, classify, not_the_api, of_read_error, of_send_error};
use crate::gitlab::upstream::{Outgoing, SendError, Upstream};

/// Longest wait for an answer's head. Rails itself waits up to 30 s for the token service.
const HEAD_TIMEOUT: Duration = Duration::from_secs(35);
/// Longest silence inside an answer.
const IDLE_TIMEOUT: Duration = Duration::from_secs(15);
/// Answers of these endpoints have a few KiB; anything larger is not one of them.
const BODY_BYTES_MAX: usize = 1024 * 1024;

/// An instance, and the token to speak to it with.
#[derive(Clone, Copy)]
pub(crate) struct Session<'a> {
    pub(crate) upstream: &'a Upstream,
    pub(crate) instance: &'a InstanceUrl,
    pub(crate) token: &'a Secret<String>,
}

impl Session<'_> {
    /// Sends a GET to `path`, which is appended to the instance's root.
    pub(crate) async fn get<T: DeserializeOwned>(&self, call: Call, path: &str) -> Result<T, CallError> {
        self.request(call, Method::GET, path, actix_web::web::Bytes::new()).await
    }

    /// Sends `body`, a JSON text, as a POST to `path`.
    pub(crate) async fn post<T: DeserializeOwned>(&self, call: Call, path: &str, body: String) -> Result<T, CallError> {
        self.request(call, Method::POST, path, body.into()).await
    }

    async fn request<T: DeserializeOwned>(
        &self,
        call: Call,
        method: Method,
        path: &str,
        body: actix_web::web::Bytes,
    ) -> Result<T, CallError> {
        let outgoing = self.outgoing(method, path, body).map_err(|error| of_send_error(call, &error))?;
        let reply = self.upstream.send(&outgoing).await.map_err(|error| of_send_error(call, &error))?;
        let (status, json, waits) = (reply.status, reply.is_json(), reply.waits.clone());
        let body = match reply.read(BODY_BYTES_MAX, IDLE_TIMEOUT).await {
            Ok(body) => body,
            // What an error says is worth less than its status.
            Err(_) if status >= 300 => actix_web::web::Bytes::new(),
            Err(error) => return Err(of_read_error(call, &error)),
        };
        // A login page answers 200 as well: only JSON that has the wanted shape is a success.
        if (200..300).contains(&status) && json {
            return serde_json::from_slice(&body).map_err(|_| not_the_api(call));
        }
        // An error may quote the token that it is about.
        let body = self.token.struck_from(&body);
        Err(classify(call, status, &waits, if json { &body } else { b"" }))
    }

    fn outgoing(&self, method: Method, path: &str, body: actix_web::web::Bytes) -> Result<Outgoing, SendError> {
        let url: Uri = format!("{}{path}", self.instance).parse().map_err(|_| SendError::Connect("bad URL".into()))?;
        let bearer =
            bearer(self.token).ok_or_else(|| SendError::Connect("token has characters no header can".into()))?;
        let mut headers = vec![(AUTHORIZATION, bearer), (ACCEPT, HeaderValue::from_static("application/json"))];
        if method == Method::POST {
            headers.push((CONTENT_TYPE, HeaderValue::from_static("application/json")));
        }
        Ok(Outgoing { method, url, headers, body, head_timeout: HEAD_TIMEOUT })
    }
}

/// Returns the header value for a bearer token, marked so that it is never printed; `None` if it has characters that
/// no header may carry.
pub(crate) fn bearer(token: &Secret<String>) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(&format!("Bearer {}", token.expose())).ok()?;
    value.set_sensitive(true);
    Some(value)
}

#[cfg(test)]
mod tests;
