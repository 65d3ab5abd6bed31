//! Direct access: turns an account's token into a grant for the AI gateway.

use std::collections::BTreeMap;
use std::fmt;

use awc::http::header::{HeaderName, HeaderValue};
use serde::Deserialize;

use crate::domain::endpoint::GatewayUrl;
use crate::domain::fault::{Fault, Hold, Reason, Scope};
use crate::domain::secret::Secret;
use crate::domain::time::Timestamp;
use crate::gitlab::error::{Call, CallError, not_the_api};
use crate::gitlab::rest::Session;

const AGENTS_PATH: &str = "/api/v4/ai/third_party_agents/direct_access";
const SUGGESTIONS_PATH: &str = "/api/v4/code_suggestions/direct_access";
/// Says which right of the token a call uses; the gateway wants it on every proxy call. The agents' endpoint returns
/// it, the code suggestions' does not.
/// Source: `ai_gateway/api/v1/proxy` of the gateway.
const UNIT_PRIMITIVE: &str = "x-gitlab-unit-primitive";
const UNIT_PRIMITIVE_PROXY: &str = "ai_gateway_model_provider_proxy";
const ROOT_NAMESPACE: &str = "x-gitlab-root-namespace-id";
/// More headers than any GitLab returns (about 20).
const HEADERS_MAX: usize = 64;

/// Which endpoint handed out a grant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Endpoint {
    /// `ai/third_party_agents/direct_access`, GitLab 18.4 and later.
    Agents,
    /// `code_suggestions/direct_access`, for older instances.
    Suggestions,
}

/// What direct access hands out: one unit, never mixed with another's parts.
#[derive(Clone)]
pub(crate) struct Minted {
    /// The gateway token.
    pub(crate) token: Secret<String>,
    /// Sent with every call, as they came, empty values included.
    pub(crate) headers: Vec<(String, String)>,
    /// When the token ends, by GitLab's clock.
    pub(crate) expires_at: Timestamp,
    /// Who pays: accounts of one root namespace may draw on the same credits.
    pub(crate) root_namespace_id: Option<String>,
    /// The gateway that this endpoint names; the agents' endpoint names none.
    pub(crate) reported_gateway: Option<GatewayUrl>,
    /// The model that GitLab reports: its code completion model, shown but never routed to.
    pub(crate) completion_model: Option<String>,
}

impl fmt::Debug for Minted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Minted")
            .field("token", &self.token)
            .field("expires_at", &self.expires_at)
            .finish_non_exhaustive()
    }
}

#[derive(Deserialize)]
struct DirectAccess {
    token: String,
    expires_at: u64,
    #[serde(default)]
    headers: BTreeMap<String, Option<String>>,
    base_url: Option<String>,
    model_details: Option<ModelDetails>,
}

#[derive(Deserialize)]
struct ModelDetails {
    model_name: Option<String>,
}

/// Asks `endpoint` for a grant.
pub(crate) async fn mint(session: Session<'_>, endpoint: Endpoint) -> Result<Minted, CallError> {
    let (call, path) = match endpoint {
        Endpoint::Agents => (Call::Mint, AGENTS_PATH),
        Endpoint::Suggestions => (Call::CodeSuggestions, SUGGESTIONS_PATH),
    };
    let reply: DirectAccess = session.post(call, path, "{}".to_owned()).await?;
    checked(reply, endpoint).ok_or_else(|| not_the_api(call))
}

/// Returns the fault of an instance that has no direct access for agents.
pub(crate) fn too_old() -> CallError {
    let fault = Fault { scope: Scope::Account, reason: Reason::InstanceTooOld, hold: Hold::UntilFixed, curable: true };
    CallError { fault, status: None, note: String::new() }
}

/// Turns a reply into a grant; `None` if a part could not be sent on as it came.
fn checked(reply: DirectAccess, endpoint: Endpoint) -> Option<Minted> {
    if reply.token.is_empty() || reply.headers.len() > HEADERS_MAX {
        return None;
    }
    let mut headers: Vec<(String, String)> = reply
        .headers
        .into_iter()
        .map(|(name, value)| (name.to_ascii_lowercase(), value.unwrap_or_default()))
        // Old versions return one; the gateway wants the bearer token alone.
        .filter(|(name, _)| name != "x-api-key" && name != "authorization")
        .collect();
    if endpoint == Endpoint::Suggestions && !headers.iter().any(|(name, _)| name == UNIT_PRIMITIVE) {
        headers.push((UNIT_PRIMITIVE.to_owned(), UNIT_PRIMITIVE_PROXY.to_owned()));
    }
    let sendable =
        |(name, value): &(String, String)| HeaderName::try_from(name).is_ok() && HeaderValue::try_from(value).is_ok();
    if !headers.iter().all(sendable) || HeaderValue::try_from(&reply.token).is_err() {
        return None;
    }
    let root = headers.iter().find(|(name, _)| name == ROOT_NAMESPACE).map(|(_, value)| value.clone());
    Some(Minted {
        token: Secret::new(reply.token),
        headers,
        expires_at: Timestamp::from_secs(reply.expires_at),
        root_namespace_id: root.filter(|id| !id.is_empty()),
        reported_gateway: reply.base_url.and_then(|url| GatewayUrl::parse(&url).ok()),
        completion_model: reply.model_details.and_then(|details| details.model_name),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(json: &str) -> DirectAccess {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn headers_are_kept_as_they_came_but_for_keys() {
        let json = r#"{"token":"t","expires_at":1713343569,"headers":{"X-Gitlab-Is-Team-Member":"false",
            "x-gitlab-namespace-id":"","x-gitlab-root-namespace-id":"42","x-api-key":"k","x-none":null}}"#;
        let minted = checked(reply(json), Endpoint::Agents).unwrap();
        let value = |name: &str| minted.headers.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str());
        assert_eq!(value("x-gitlab-is-team-member"), Some("false"));
        assert_eq!(value("x-gitlab-namespace-id"), Some(""));
        assert_eq!(value("x-none"), Some(""));
        assert_eq!(value("x-api-key"), None);
        assert_eq!(minted.root_namespace_id.as_deref(), Some("42"));
    }

    #[test]
    fn the_older_endpoint_gets_the_unit_primitive_added() {
        let minted = checked(reply(r#"{"token":"t","expires_at":1,"headers":{}}"#), Endpoint::Suggestions).unwrap();
        assert_eq!(minted.headers, [(UNIT_PRIMITIVE.to_owned(), UNIT_PRIMITIVE_PROXY.to_owned())]);
    }

    #[test]
    fn a_reply_that_cannot_be_sent_on_is_refused() {
        assert!(checked(reply(r#"{"token":"","expires_at":1}"#), Endpoint::Agents).is_none());
        let split = r#"{"token":"t","expires_at":1,"headers":{"x":"a\r\nauthorization: b"}}"#;
        assert!(checked(reply(split), Endpoint::Agents).is_none());
    }
}
