//! What failed, and whose fault it was: the one table from (call, status, body) to a [`Fault`].
//!
//! Rows are tried from top to bottom and the first that fits decides. A row says where its knowledge comes from:
//! *Rails* is GitLab's own source (`ee/lib/api/ai/third_party_agents.rb`, `ee/lib/api/code_suggestions.rb`,
//! `lib/api/api_guard.rb`), *OAuth* RFC 6749 section 5.2, RFC 8628 section 3.5 and Doorkeeper, which GitLab answers
//! them with, *gateway* the AI gateway's (`ai_gateway/api/v1/proxy`, `lib/usage_quota`), *vendor* the
//! public API reference of Anthropic or OpenAI, *seen* a report by users, *own* our judgement.

use std::time::Duration;

use serde::Deserialize;

use crate::domain::fault::{Fault, Hold, Reason, Scope};
use crate::gitlab::upstream::{ReadError, SendError};

/// What was called. Rows of the table apply to one group of calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Call {
    /// Who owns the token, and what it may do (`personal_access_tokens/self`, `user`, `oauth/token/info`).
    Identity,
    /// `oauth/token`, with the code that a login ended with.
    CodeExchange,
    /// `oauth/token`, with a refresh token.
    Refresh,
    /// `oauth/authorize_device`.
    DeviceStart,
    /// `oauth/token`, with the code of a device.
    DevicePoll,
    /// `oauth/revoke`.
    Revoke,
    /// `ai/third_party_agents/direct_access`.
    Mint,
    /// `code_suggestions/direct_access`.
    CodeSuggestions,
    /// GraphQL, for models.
    Models,
    /// A model, through the gateway.
    Gateway,
}

/// Which statuses a row fits.
#[derive(Clone, Copy)]
enum Status {
    Is(u16),
    In(u16, u16),
}

/// Which bodies a row fits.
#[derive(Clone, Copy)]
enum Body {
    Any,
    /// It is not JSON: a login page, a proxy's error page, nothing at all.
    NotJson,
    /// Member `error_code` has this value.
    ErrorCode(&'static str),
    /// Member `error` has this value, which is how OAuth names what is wrong.
    Error(&'static str),
    /// Any of the message members contains this text, in any case.
    Says(&'static str),
    /// It has the gateway's own member `detail`, or `error` as a plain string; a provider's error is an object.
    OfGateway,
}

struct Row {
    calls: &'static [Call],
    status: Status,
    body: Body,
    scope: Scope,
    reason: Reason,
    hold: Hold,
    curable: bool,
    #[cfg_attr(not(test), expect(dead_code, reason = "says where a row comes from; a test wants it filled"))]
    source: &'static str,
}

/// Quota answers are cached inside the gateway for an hour, give or take a tenth; asking sooner is useless.
/// Source: `lib/usage_quota` of the gateway (`max-age`, else 3600 s ±10 %).
const QUOTA_HOLD: Duration = Duration::from_mins(65);
/// GitLab names no time in most of its throttling answers; its limits are per minute.
const THROTTLE_HOLD: Duration = Duration::from_mins(1);
/// What is believed of a `Retry-After`: limits of gitlab.com are per minute or per hour.
const RETRY_AFTER_MIN: Duration = Duration::from_secs(1);
const RETRY_AFTER_MAX: Duration = Duration::from_hours(1);
/// How much of a foreign message is kept for logs and admins, in characters.
const NOTE_CHARS_MAX: usize = 200;

const REST: &[Call] = &[Call::Identity, Call::Mint, Call::CodeSuggestions, Call::Models];
const OAUTH: &[Call] = &[Call::CodeExchange, Call::Refresh, Call::DeviceStart, Call::DevicePoll, Call::Revoke];
const GITLAB: &[Call] = &[
    Call::Identity,
    Call::Mint,
    Call::CodeSuggestions,
    Call::Models,
    Call::CodeExchange,
    Call::Refresh,
    Call::DeviceStart,
    Call::DevicePoll,
    Call::Revoke,
];
const MINT: &[Call] = &[Call::Mint, Call::CodeSuggestions];
const GATEWAY: &[Call] = &[Call::Gateway];

macro_rules! row {
    ($calls:expr, $status:expr, $body:expr => $scope:ident $reason:ident, $hold:expr, $curable:expr, $source:expr) => {
        Row {
            calls: $calls,
            status: $status,
            body: $body,
            scope: Scope::$scope,
            reason: Reason::$reason,
            hold: $hold,
            curable: $curable,
            source: $source,
        }
    };
}

use Body::{Any, Error, ErrorCode, NotJson, OfGateway, Says};
use Status::{In, Is};

#[rustfmt::skip]
const TABLE: &[Row] = &[
    // GitLab itself: tokens, direct access, GraphQL.
    row!(REST, Is(401), Says("expired")                     => Account TokenExpired, Hold::UntilFixed, true, "Rails: api_guard.rb"),
    row!(REST, Is(401), Says("revoked")                     => Account TokenRevoked, Hold::UntilFixed, true, "Rails: api_guard.rb"),
    row!(&[Call::CodeSuggestions], Is(401), Any             => Account NotEntitled, Hold::UntilFixed, true, "Rails: code_suggestions.rb answers 401 where the seat is missing"),
    row!(REST, Is(401), NotJson                             => Instance InstanceUnexpected, Hold::Backoff, true, "own: GitLab's 401 is JSON; a proxy's is not"),
    row!(REST, Is(401), Any                                 => Account TokenInvalid, Hold::UntilFixed, true, "Rails: api_guard.rb"),
    row!(REST, Is(403), Says("insufficient_scope")          => Account ScopeMissing, Hold::UntilFixed, true, "Rails: api_guard.rb"),
    row!(REST, Is(403), NotJson                             => Instance InstanceUnexpected, Hold::Backoff, true, "own: a web firewall, not GitLab"),
    row!(MINT, Is(403), Any                                 => Account NotEntitled, Hold::UntilFixed, true, "Rails: third_party_agents.rb policy"),
    row!(MINT, Is(402), Any                                 => Account QuotaExhausted, Hold::For(QUOTA_HOLD), true, "Rails: code_suggestions.rb passes the gateway's status through"),
    row!(MINT, Is(404), NotJson                             => Instance InstanceUnexpected, Hold::Backoff, true, "own: GitLab's API answers an unknown route in JSON; a wrong address or a proxy does not"),
    row!(MINT, Is(404), Any                                 => Account InstanceTooOld, Hold::UntilFixed, true, "Rails: route exists from 18.4, Enterprise Edition"),
    row!(MINT, Is(422), Says("missing_default_duo_group")   => Account NamespaceMissing, Hold::UntilFixed, true, "Rails: code_suggestions.rb"),
    row!(MINT, Is(503), Says("Missing default GitLab Duo namespace") => Account NamespaceMissing, Hold::UntilFixed, true, "Rails: third_party_agents.rb; seen opencode#23139"),
    row!(MINT, Is(503), Says("disabled for the billing namespace")   => Account DuoDisabled, Hold::UntilFixed, true, "Rails: gitlab!255682"),
    row!(MINT, Is(503), Says("Token creation failed")       => Account MintFailed, Hold::Backoff, true, "Rails: token_service.rb hides quota, seat or outage"),
    // OAuth: decided by what `error` says. Doorkeeper checks client, grant type, scopes and parameters before it does
    // anything, so none of these refusals leaves a token used; what says nothing of the kind may hide a proxy's error.
    row!(&[Call::Refresh], In(100, 999), Error("invalid_grant") => Account LoginEnded, Hold::UntilFixed, true, "OAuth: status 400; seen as 401 (gitlab-foss#29468)"),
    row!(&[Call::CodeExchange, Call::DevicePoll], In(100, 999), Error("invalid_grant") => Account CodeRefused, Hold::UntilFixed, true, "OAuth: used, expired, or another redirect URI or verifier"),
    row!(OAUTH, In(200, 499), Error("invalid_client")       => Account ClientRefused, Hold::UntilFixed, true, "OAuth: wrong id or secret, status 401"),
    row!(OAUTH, In(200, 499), Error("unauthorized_client")  => Account ClientRefused, Hold::UntilFixed, true, "OAuth: the application may not use this grant; Doorkeeper: no client in a revocation, status 403"),
    row!(OAUTH, In(200, 499), Error("unsupported_grant_type") => Account LoginUnsupported, Hold::UntilFixed, true, "OAuth"),
    row!(OAUTH, In(200, 499), Error("invalid_scope")        => Account ScopesRefused, Hold::UntilFixed, true, "OAuth: the application was registered without them"),
    row!(&[Call::DeviceStart], Is(404), Any                 => Account LoginUnsupported, Hold::UntilFixed, true, "Rails: route exists from 17.2, behind a flag until 17.9"),
    row!(GITLAB, Is(429), Any                               => Instance InstanceThrottled, Hold::For(THROTTLE_HOLD), true, "Rails: often plain text `Retry later`"),
    row!(GITLAB, In(300, 399), Any                          => Instance InstanceUnexpected, Hold::Backoff, true, "own: redirects are never followed with a token"),
    row!(GITLAB, In(200, 299), Any                          => Instance InstanceUnexpected, Hold::Backoff, true, "own: a success whose body is not the API's"),
    row!(GITLAB, In(500, 599), Any                          => Instance InstanceError, Hold::Backoff, true, "own"),
    row!(GITLAB, In(100, 999), Any                          => Instance InstanceUnexpected, Hold::Backoff, true, "own"),
    // The gateway's own refusals, in the order of its checks.
    row!(GATEWAY, Is(401), Any                              => Account GrantRefused, Hold::UntilMinted, true, "gateway: auth middleware; `Forbidden by auth provider`, `Header mismatch`"),
    row!(GATEWAY, Is(402), ErrorCode("USAGE_QUOTA_EXCEEDED")=> Model QuotaExhausted, Hold::For(QUOTA_HOLD), true, "gateway: usage_quota.md"),
    row!(GATEWAY, Is(402), Says("not enabled for this")     => Account ProxyNotEnabled, Hold::UntilFixed, true, "gateway: proxy allowlist of 2026-06-15"),
    row!(GATEWAY, Is(402), Any                              => Model QuotaExhausted, Hold::For(QUOTA_HOLD), true, "own: any other payment refusal"),
    row!(GATEWAY, Is(403), ErrorCode("USAGE_QUOTA_NOT_ENTITLED") => Model QuotaUnknown, Hold::Backoff, true, "gateway: also what it says while the quota service is down"),
    row!(GATEWAY, Is(403), Says("mismatch")                 => Account GrantRefused, Hold::UntilMinted, true, "gateway: headers and token do not belong together"),
    row!(GATEWAY, Is(403), OfGateway                        => Account NotEntitled, Hold::Backoff, true, "gateway: token lacks the scope"),
    row!(GATEWAY, Is(400), Says("Unsupported model")        => Request UnsupportedModel, Hold::None, true, "gateway: models.yml, exact names; decided before quota"),
    row!(GATEWAY, Is(400), Says("unit-primitive header")    => Account GrantRefused, Hold::UntilMinted, true, "gateway: credential of the wrong kind"),
    row!(GATEWAY, Is(400), Says("unit primitive header")    => Account GrantRefused, Hold::UntilMinted, true, "gateway: credential of the wrong kind"),
    row!(GATEWAY, Is(400), Says("API key not found")        => Gateway GatewayError, Hold::None, true, "gateway: self-hosted without a provider key"),
    row!(GATEWAY, Is(404), OfGateway                        => Gateway GatewayError, Hold::None, true, "gateway: path not allowed; an address that is not the gateway's"),
    row!(GATEWAY, In(300, 399), Any                         => Gateway GatewayError, Hold::None, true, "own: redirects are never followed with a token"),
    // The provider's answers, passed through by the gateway.
    row!(GATEWAY, Is(400), Says("prompt is too long")       => Request TooLong, Hold::None, false, "vendor: Anthropic"),
    row!(GATEWAY, Is(400), Says("context_length_exceeded")  => Request TooLong, Hold::None, false, "vendor: OpenAI"),
    row!(GATEWAY, Is(413), Any                              => Request BadRequest, Hold::None, false, "vendor: more bytes than are taken, whatever they mean to the model"),
    row!(GATEWAY, Is(408), Any                              => Provider Timeout, Hold::None, true, "vendor: OpenAI"),
    row!(GATEWAY, Is(429), Any                              => Provider ProviderThrottled, Hold::None, true, "gateway: GitLab's shared limit, not the account's"),
    row!(GATEWAY, Is(403), NotJson                          => Gateway GatewayError, Hold::None, true, "own: a web firewall"),
    row!(GATEWAY, Is(403), Any                              => Provider ProviderError, Hold::None, true, "vendor: GitLab's key at the provider"),
    row!(GATEWAY, Is(502), Any                              => Gateway GatewayError, Hold::None, true, "gateway: `Bad Gateway`"),
    row!(GATEWAY, In(500, 599), OfGateway                   => Gateway GatewayError, Hold::None, true, "gateway: e.g. `API key not set`"),
    row!(GATEWAY, In(500, 599), NotJson                     => Gateway GatewayError, Hold::None, true, "own: an edge's error page"),
    row!(GATEWAY, In(500, 599), Any                         => Provider ProviderError, Hold::None, true, "vendor: 500, 503, 504, 529"),
    row!(GATEWAY, In(200, 299), NotJson                     => Gateway GatewayError, Hold::None, true, "own: a success that is not the API's"),
    row!(GATEWAY, In(400, 499), Any                         => Request BadRequest, Hold::None, false, "vendor: the request's own fault"),
    row!(GATEWAY, In(100, 999), Any                         => Gateway GatewayError, Hold::None, true, "own"),
];

/// A call that went wrong: the decision, and what is worth telling a person about it.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{}{}", fault.reason, Note(note))]
pub(crate) struct CallError {
    /// Whose fault, how long, curable.
    pub(crate) fault: Fault,
    /// HTTP status, where there was an answer.
    pub(crate) status: Option<u16>,
    /// A short, cleaned piece of the answer's own message; empty where there is none.
    pub(crate) note: String,
}

impl CallError {
    /// Believes GitLab's own word on how long it limits calls, within reason.
    pub(crate) fn until(mut self, retry_after: Option<Duration>) -> Self {
        if let (Some(time), Reason::InstanceThrottled) = (retry_after, self.fault.reason) {
            self.fault.hold = Hold::For(time.clamp(RETRY_AFTER_MIN, RETRY_AFTER_MAX));
        }
        self
    }
}

/// Shows a note in brackets, or nothing.
struct Note<'a>(&'a str);

impl std::fmt::Display for Note<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.0.is_empty() { Ok(()) } else { write!(f, " ({})", self.0) }
    }
}

/// Members in which GitLab, the gateway and the providers put what they have to say.
#[derive(Default, Deserialize)]
struct Evidence {
    #[serde(default)]
    detail: Option<serde_json::Value>,
    #[serde(default)]
    error: Option<serde_json::Value>,
    #[serde(default)]
    error_code: Option<serde_json::Value>,
    #[serde(default)]
    error_description: Option<String>,
    #[serde(default)]
    message: Option<serde_json::Value>,
}

#[derive(Deserialize)]
struct ProviderError {
    #[serde(default)]
    message: Option<String>,
    #[serde(default)]
    code: Option<String>,
}

/// Decides what an answer of `status` with `body` means.
pub(crate) fn classify(call: Call, status: u16, body: &[u8]) -> CallError {
    let evidence = serde_json::from_slice::<Evidence>(body).ok();
    let texts = evidence.as_ref().map(Evidence::texts).unwrap_or_default();
    let fits = |row: &&Row| {
        row.calls.contains(&call)
            && match row.status {
                Is(wanted) => status == wanted,
                In(low, high) => (low..=high).contains(&status),
            }
            && match row.body {
                Any => true,
                NotJson => evidence.is_none(),
                Error(value) => evidence.as_ref().is_some_and(|e| text_of(e.error.as_ref()) == Some(value)),
                ErrorCode(code) => evidence.as_ref().is_some_and(|e| text_of(e.error_code.as_ref()) == Some(code)),
                Says(words) => texts.iter().any(|text| contains_ignoring_case(text, words)),
                OfGateway => evidence.as_ref().is_some_and(Evidence::is_gateways),
            }
    };
    let fault = TABLE.iter().find(fits).map_or_else(unknown, Row::fault);
    CallError { fault, status: Some(status), note: clean(texts.last().map_or("", String::as_str)) }
}

/// Decides what it means that no answer came.
pub(crate) fn of_send_error(call: Call, error: &SendError) -> CallError {
    let (reason, curable) = match (call, error) {
        (Call::Gateway, SendError::Connect(_) | SendError::ForbiddenAddress | SendError::Broken(_)) => {
            (Reason::GatewayUnreachable, true)
        }
        // The request may have been worked on, and billed: it is not sent again.
        (Call::Gateway, SendError::Timeout) => (Reason::Timeout, false),
        (_, SendError::Broken(_)) => (Reason::InstanceUnexpected, true),
        (_, SendError::Connect(_) | SendError::ForbiddenAddress | SendError::Timeout) => {
            (Reason::InstanceUnreachable, true)
        }
    };
    CallError { fault: silent_fault(call, reason, curable), status: None, note: clean(&error.to_string()) }
}

/// Decides what it means that an answer did not come to its end.
pub(crate) fn of_read_error(call: Call, error: &ReadError) -> CallError {
    let reason = match (call, error) {
        (Call::Gateway, ReadError::CutShort | ReadError::TooLong) => Reason::CutShort,
        (Call::Gateway, ReadError::Stalled) => Reason::Timeout,
        (_, ReadError::Stalled) => Reason::InstanceUnreachable,
        (_, ReadError::CutShort | ReadError::TooLong) => Reason::InstanceUnexpected,
    };
    CallError { fault: silent_fault(call, reason, true), status: None, note: clean(&error.to_string()) }
}

fn silent_fault(call: Call, reason: Reason, curable: bool) -> Fault {
    match call {
        Call::Gateway => Fault { scope: Scope::Gateway, reason, hold: Hold::None, curable },
        _ => Fault { scope: Scope::Instance, reason, hold: Hold::Backoff, curable },
    }
}

fn unknown() -> Fault {
    Fault { scope: Scope::Gateway, reason: Reason::GatewayError, hold: Hold::None, curable: true }
}

impl Row {
    fn fault(&self) -> Fault {
        Fault { scope: self.scope, reason: self.reason, hold: self.hold, curable: self.curable }
    }
}

impl Evidence {
    /// Returns every text that was said, the most telling one last.
    fn texts(&self) -> Vec<String> {
        let provider = self.error.as_ref().and_then(|error| ProviderError::deserialize(error).ok());
        let (code, message) = provider.map_or((None, None), |error| (error.code, error.message));
        let plain = |value: Option<&serde_json::Value>| match value {
            Some(serde_json::Value::String(text)) => Some(text.clone()),
            Some(other @ (serde_json::Value::Object(_) | serde_json::Value::Array(_))) => Some(other.to_string()),
            _ => None,
        };
        let error = self.error.as_ref().filter(|error| error.is_string());
        let all = [
            code,
            plain(error),
            plain(self.message.as_ref()),
            self.error_description.clone(),
            plain(self.detail.as_ref()),
        ];
        all.into_iter().flatten().chain(message).collect()
    }

    fn is_gateways(&self) -> bool {
        self.detail.is_some() || self.error.as_ref().is_some_and(serde_json::Value::is_string)
    }
}

fn text_of(value: Option<&serde_json::Value>) -> Option<&str> {
    value.and_then(serde_json::Value::as_str)
}

fn contains_ignoring_case(text: &str, words: &str) -> bool {
    text.to_ascii_lowercase().contains(&words.to_ascii_lowercase())
}

/// Keeps the beginning of a foreign text, without control characters.
fn clean(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(NOTE_CHARS_MAX).collect()
}

#[cfg(test)]
mod tests;
