//! The AI gateway: sends a body to a model under a grant.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use actix_web::web::Bytes;
use awc::http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderName, HeaderValue};
use awc::http::{Method, Uri};

use crate::domain::endpoint::GatewayUrl;
use crate::domain::id::Generation;
use crate::domain::secret::Secret;
use crate::domain::time::Timestamp;
use crate::gitlab::direct_access::Minted;
use crate::gitlab::rest::bearer;
use crate::gitlab::upstream::{Outgoing, Reply, SendError, Upstream};

/// A grant within this time of its end is not used: the request could arrive after it.
const EXPIRY_MARGIN: Duration = Duration::from_secs(10);
/// The version of the Messages API that a client gets which names none.
/// Source: Anthropic's API reference; the gateway adds no default of its own.
pub(crate) const ANTHROPIC_VERSION_DEFAULT: &str = "2023-06-01";

/// Every path of the gateway that is ever called. A closed list, since it matches path and query to the letter.
/// Source: `ai_gateway/proxy/clients` of the gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum GatewayPath {
    /// Anthropic Messages.
    Messages,
    /// Anthropic's token count.
    CountTokens,
    /// OpenAI Responses.
    Responses,
    /// OpenAI Chat Completions.
    ChatCompletions,
}

impl GatewayPath {
    const fn path(self) -> &'static str {
        match self {
            Self::Messages => "/v1/proxy/anthropic/v1/messages",
            // Without this query the gateway answers 404.
            Self::CountTokens => "/v1/proxy/anthropic/v1/messages/count_tokens?beta=true",
            Self::Responses => "/v1/proxy/openai/v1/responses",
            Self::ChatCompletions => "/v1/proxy/openai/v1/chat/completions",
        }
    }

    const ALL: [Self; 4] = [Self::Messages, Self::CountTokens, Self::Responses, Self::ChatCompletions];

    const fn is_anthropic(self) -> bool {
        matches!(self, Self::Messages | Self::CountTokens)
    }
}

/// A grant in the form in which it is sent: token, header set and gateway, one unit.
pub(crate) struct Grant {
    /// Serial number; a result under an old one changes nothing.
    pub(crate) generation: Generation,
    /// When it ends.
    pub(crate) expires_at: Timestamp,
    /// Whom it is for.
    pub(crate) gateway: GatewayUrl,
    token: Secret<String>,
    headers: Vec<(HeaderName, HeaderValue)>,
    /// The addresses of the gateway's paths, in the order of [`GatewayPath::ALL`]: parsed once, not for every request.
    urls: [Uri; 4],
}

impl fmt::Debug for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Grant")
            .field("generation", &self.generation)
            .field("expires_at", &self.expires_at)
            .finish_non_exhaustive()
    }
}

impl Grant {
    /// Builds the grant from what was minted, for use at `gateway`.
    ///
    /// Returns `None` if a part cannot be sent as a header or address, which [`Minted`] and [`GatewayUrl`] rule out.
    pub(crate) fn new(minted: &Minted, generation: Generation, gateway: GatewayUrl) -> Option<Self> {
        let mut headers = vec![(AUTHORIZATION, bearer(&minted.token)?)];
        for (name, value) in &minted.headers {
            let mut value = HeaderValue::try_from(value).ok()?;
            value.set_sensitive(true);
            headers.push((HeaderName::try_from(name).ok()?, value));
        }
        let [messages, count_tokens, responses, chat_completions] =
            GatewayPath::ALL.map(|path| format!("{gateway}{}", path.path()).parse().ok());
        let urls = [messages?, count_tokens?, responses?, chat_completions?];
        let token = minted.token.clone();
        Some(Self { generation, expires_at: minted.expires_at, gateway, token, headers, urls })
    }

    /// Returns what came back under this grant with the token struck out: an error may quote what it was sent.
    pub(crate) fn struck_from<'a>(&self, text: &'a [u8]) -> Cow<'a, [u8]> {
        self.token.struck_from(text)
    }

    /// Returns whether a request sent now would arrive before the end.
    pub(crate) fn is_usable(&self, now: Timestamp) -> bool {
        self.expires_at > now + EXPIRY_MARGIN
    }
}

/// What of a client's headers reaches a model.
#[derive(Clone, Debug, Default)]
pub(crate) struct Passed {
    /// `anthropic-version`, for Anthropic's paths.
    pub(crate) anthropic_version: Option<HeaderValue>,
    /// `anthropic-beta`, for Anthropic's paths.
    pub(crate) anthropic_beta: Option<HeaderValue>,
}

/// Sends `body` to `path` under `grant`.
pub(crate) async fn send(
    upstream: &Upstream,
    grant: &Grant,
    path: GatewayPath,
    passed: &Passed,
    body: Bytes,
    head_timeout: Duration,
) -> Result<Reply, SendError> {
    let url = grant.urls[path as usize].clone();
    let mut headers = Vec::with_capacity(grant.headers.len() + 4);
    headers.extend(grant.headers.iter().cloned());
    headers.push((CONTENT_TYPE, HeaderValue::from_static("application/json")));
    headers.push((ACCEPT, HeaderValue::from_static("*/*")));
    if path.is_anthropic() {
        let version = passed.anthropic_version.clone();
        let version = version.unwrap_or_else(|| HeaderValue::from_static(ANTHROPIC_VERSION_DEFAULT));
        headers.push((HeaderName::from_static("anthropic-version"), version));
        if let Some(beta) = passed.anthropic_beta.clone() {
            headers.push((HeaderName::from_static("anthropic-beta"), beta));
        }
    }
    upstream.send(&Outgoing { method: Method::POST, url, headers, body, head_timeout }).await
}
