//! Every error that a client can meet, and its status and body in the client's dialect. The only place with statuses.

use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::http::header::{CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER};
use actix_web::{HttpResponse, HttpResponseBuilder};

use crate::domain::fault::Reason;
use crate::domain::id::RequestId;
use crate::domain::model::Dialect;
use crate::domain::time::Timestamp;
use crate::protocol::error::{CONTEXT_LENGTH_EXCEEDED, ErrorClass, Report, body};
use crate::trace::Outcome;

/// Longest `Retry-After` that is sent, in seconds: clients that wait longer look dead.
const RETRY_AFTER_MAX_S: u64 = 24 * 60 * 60;
/// Anthropic's own status for an overload, which its clients know how to wait for.
const OVERLOADED: u16 = 529;

/// Why a client does not get what it asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ApiError {
    /// The request is at fault; the message says how, `param` where.
    BadRequest { message: String, param: Option<String> },
    /// The client's key is missing or wrong. Nothing else is ever a 401: clients retry it for minutes.
    Unauthorized { message: &'static str },
    /// The door does not open for such a caller.
    Forbidden { message: String },
    /// No such route, model or thing.
    NotFound { message: String },
    /// The route does not take this method.
    MethodNotAllowed { allow: &'static str },
    /// The body is over the limit, in bytes.
    TooLarge { limit: usize },
    /// A header is over the limit, in bytes.
    HeaderTooLarge { limit: usize },
    /// The body did not arrive in time.
    SlowBody,
    /// WebSocket is not spoken; clients fall back to POST.
    UpgradeRefused,
    /// The conversation does not fit the model.
    TooLong { message: String },
    /// No account can serve; the one that recovers first does so at `until`.
    NoAccount { reason: Reason, until: Timestamp },
    /// There is no account at all that the key may use.
    EmptyPool,
    /// Every account has its hands full.
    Busy,
    /// The provider's answer about this request, in its own words, with the time that it asks for.
    Provider { status: u16, message: String, code: Option<String>, param: Option<String>, wait: Option<Duration> },
    /// The gateway or the provider failed, whichever account was tried.
    Upstream { reason: Reason },
    /// The server is shutting down.
    Stopping,
    /// A part of this program failed.
    Internal,
}

impl ApiError {
    /// Says that the request is at fault.
    pub(crate) fn bad_request(message: impl Into<String>) -> Self {
        Self::BadRequest { message: message.into(), param: None }
    }

    fn class(&self) -> ErrorClass {
        match self {
            Self::BadRequest { .. } | Self::TooLong { .. } | Self::UpgradeRefused => ErrorClass::InvalidRequest,
            Self::Unauthorized { .. } => ErrorClass::Authentication,
            Self::Forbidden { .. } => ErrorClass::Permission,
            Self::NotFound { .. } | Self::MethodNotAllowed { .. } => ErrorClass::NotFound,
            Self::TooLarge { .. } | Self::HeaderTooLarge { .. } => ErrorClass::TooLarge,
            Self::SlowBody => ErrorClass::Timeout,
            // Whatever keeps all of them from serving, it passes: never a 500 or 504, which say that something was tried.
            Self::NoAccount { reason, .. } => match class_of(*reason) {
                class @ (ErrorClass::RateLimit | ErrorClass::Billing) => class,
                _ => ErrorClass::Overloaded,
            },
            Self::Upstream { reason } => class_of(*reason),
            Self::EmptyPool | Self::Stopping => ErrorClass::Overloaded,
            Self::Busy => ErrorClass::RateLimit,
            Self::Provider { status, .. } => class_of_status(*status),
            Self::Internal => ErrorClass::Internal,
        }
    }

    /// Returns the HTTP status for a client of `dialect`.
    pub(crate) fn status(&self, dialect: Dialect) -> StatusCode {
        let code = match self {
            Self::UpgradeRefused => 426,
            Self::HeaderTooLarge { .. } => 431,
            Self::MethodNotAllowed { .. } => 405,
            Self::SlowBody => 408,
            Self::Upstream { reason: Reason::GatewayError | Reason::CutShort } => 502,
            Self::Upstream { reason } if reason.is_of_the_way() => 502,
            // Not our key, and not our place to ask for another: a 401 means the client's own key and nothing else.
            Self::Provider { status: 401 | 403, .. } => 503,
            Self::Provider { status, .. } if (400..500).contains(status) => *status,
            _ => match self.class() {
                ErrorClass::InvalidRequest => 400,
                ErrorClass::Authentication => 401,
                ErrorClass::Billing => 402,
                ErrorClass::Permission => 403,
                ErrorClass::NotFound => 404,
                ErrorClass::TooLarge => 413,
                ErrorClass::RateLimit => 429,
                ErrorClass::Internal => 500,
                ErrorClass::Overloaded if dialect == Dialect::Messages && self.is_overload() => OVERLOADED,
                ErrorClass::Overloaded => 503,
                ErrorClass::Timeout => 504,
            },
        };
        StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    /// Whether it is the provider that has too much to do, and not this pool that has nothing to do it with.
    fn is_overload(&self) -> bool {
        matches!(self, Self::Provider { .. } | Self::Upstream { reason: Reason::ProviderError })
    }

    /// Returns the sentence for the client. It holds no secret, no gateway address and no account.
    pub(crate) fn message(&self, now: Timestamp) -> String {
        match self {
            Self::BadRequest { message, .. }
            | Self::NotFound { message }
            | Self::TooLong { message }
            | Self::Provider { message, .. }
            | Self::Forbidden { message } => message.clone(),
            Self::Unauthorized { message } => (*message).to_owned(),
            Self::MethodNotAllowed { allow } => format!("this route takes {allow} only"),
            Self::TooLarge { limit } => format!("the request body is larger than the limit of {limit} bytes"),
            Self::HeaderTooLarge { limit } => {
                format!("a request header is larger than the limit of {limit} bytes; send it shorter, or not at all")
            }
            Self::SlowBody => "the request body did not arrive in time".to_owned(),
            Self::UpgradeRefused => "WebSocket is not supported here; send a POST to /v1/responses".to_owned(),
            Self::NoAccount { reason, until } => {
                let wait = whole_seconds(until.since(now));
                format!("no GitLab account in the pool can serve this request now: {reason}; try again in {wait} s")
            }
            Self::EmptyPool => {
                "no GitLab account is configured that this key may use; an operator adds one with `duopool login --pat`"
                    .to_owned()
            }
            Self::Busy => "every GitLab account in the pool is at its limit of concurrent requests".to_owned(),
            // The last words are OpenAI's own: OpenCode 1.18 reads in them whether to send a broken stream's request again.
            Self::Upstream { reason } => format!("the request failed upstream: {reason}; you can retry your request"),
            Self::Stopping => "the server is shutting down; try again in a moment".to_owned(),
            Self::Internal => {
                "duopool failed to handle the request; its log has the details under this request id".to_owned()
            }
        }
    }

    fn param(&self) -> Option<&str> {
        match self {
            Self::BadRequest { param, .. } | Self::Provider { param, .. } => param.as_deref(),
            _ => None,
        }
    }

    fn code(&self) -> Option<&str> {
        match self {
            Self::TooLong { .. } => Some(CONTEXT_LENGTH_EXCEEDED),
            Self::Provider { code, .. } => code.as_deref(),
            _ => None,
        }
    }

    /// Returns how long the client should wait, in seconds, where that is known.
    pub(crate) fn retry_after_s(&self, now: Timestamp) -> Option<u64> {
        match self {
            Self::NoAccount { until, .. } => Some(whole_seconds(until.since(now))),
            Self::Provider { wait: Some(wait), .. } => Some(whole_seconds(*wait)),
            Self::Busy | Self::Stopping => Some(1),
            _ => None,
        }
    }

    /// Returns what an event inside a stream says about it.
    pub(crate) fn event(&self, dialect: Dialect, request: &RequestId, sequence: u64, now: Timestamp) -> Vec<u8> {
        let message = self.message(now);
        crate::protocol::error::event(dialect, &self.report(&message, request), sequence)
    }

    /// Returns what kind of error it is, for a log or a trace: nothing that the client or an upstream has said, which may
    /// quote anything.
    pub(crate) fn what(&self) -> &'static str {
        match self {
            Self::BadRequest { .. } => "the request is not as it must be",
            Self::UpgradeRefused => "WebSocket is not spoken",
            Self::MethodNotAllowed { .. } => "the route does not take the method",
            Self::Unauthorized { .. } => "the key is missing or wrong",
            Self::Forbidden { .. } => "the caller may not come in",
            Self::NotFound { .. } => "there is no such model, or no account's AI gateway supports it",
            Self::TooLarge { .. } | Self::HeaderTooLarge { .. } => "the request is larger than the limit",
            Self::SlowBody => "the request body did not arrive in time",
            Self::TooLong { .. } => "the conversation is too long for the model",
            Self::NoAccount { .. } => "no account can serve at present",
            Self::EmptyPool => "there is no account that the key may use",
            Self::Busy => "every account has as many requests in flight as it may",
            Self::Provider { .. } => "the model's provider refused the request",
            Self::Upstream { .. } => "the request failed upstream",
            Self::Stopping => "the server is shutting down",
            Self::Internal => "a part of duopool failed",
        }
    }

    /// Returns the reason behind it, where there is one.
    pub(crate) fn reason(&self) -> Option<Reason> {
        match self {
            Self::NoAccount { reason, .. } | Self::Upstream { reason } => Some(*reason),
            _ => None,
        }
    }

    /// Returns what a trace keeps of it, for a client of `dialect`.
    pub(crate) fn noted(&self, dialect: Dialect) -> Outcome {
        let until = match self {
            Self::NoAccount { until, .. } => Some(*until),
            _ => None,
        };
        let status = self.status(dialect).as_u16();
        Outcome::Told { status, what: self.what(), reason: self.reason(), until }
    }

    fn report<'a>(&'a self, message: &'a str, request: &'a RequestId) -> Report<'a> {
        Report { class: self.class(), message, param: self.param(), code: self.code(), request_id: request.as_str() }
    }

    /// Returns the whole reply for a client of `dialect`.
    pub(crate) fn reply(&self, dialect: Dialect, request: &RequestId, now: Timestamp) -> HttpResponse {
        let message = self.message(now);
        let mut response = HttpResponseBuilder::new(self.status(dialect));
        response.insert_header((CONTENT_TYPE, "application/json"));
        if let Some(seconds) = self.retry_after_s(now) {
            response.insert_header((RETRY_AFTER, HeaderValue::from(seconds)));
        }
        if let Self::MethodNotAllowed { allow } = self {
            response.insert_header((HeaderName::from_static("allow"), HeaderValue::from_static(allow)));
        }
        response.body(body(dialect, &self.report(&message, request)))
    }
}

fn class_of(reason: Reason) -> ErrorClass {
    match reason {
        Reason::QuotaExhausted => ErrorClass::Billing,
        Reason::ProviderThrottled | Reason::GatewayThrottled => ErrorClass::RateLimit,
        Reason::TooLong | Reason::BadRequest => ErrorClass::InvalidRequest,
        Reason::UnsupportedModel => ErrorClass::NotFound,
        Reason::Timeout => ErrorClass::Timeout,
        Reason::GatewayError
        | Reason::GatewayUnreachable
        | Reason::CertificateUntrusted
        | Reason::CertificateExpired
        | Reason::CertificateWrongHost
        | Reason::TlsFailed
        | Reason::ProxyUnreachable
        | Reason::ProxyUnauthorized
        | Reason::ProxyRefused
        | Reason::CutShort => ErrorClass::Internal,
        Reason::TokenInvalid
        | Reason::TokenExpired
        | Reason::TokenRevoked
        | Reason::TokenTooNew
        | Reason::RenewalRefused
        | Reason::RenewalUncertain
        | Reason::RenewalInterrupted
        | Reason::LoginNotRenewable
        | Reason::StoreFailed
        | Reason::ScopeMissing
        | Reason::LoginEnded
        | Reason::CodeRefused
        | Reason::ClientRefused
        | Reason::ScopesRefused
        | Reason::LoginUnsupported
        | Reason::NotEntitled
        | Reason::NamespaceMissing
        | Reason::DuoDisabled
        | Reason::InstanceTooOld
        | Reason::MintFailed
        | Reason::InstanceThrottled
        | Reason::InstanceError
        | Reason::InstanceUnreachable
        | Reason::InstanceUnexpected
        | Reason::GatewayNeedsConsent
        | Reason::GrantRefused
        | Reason::GrantMissing
        | Reason::QuotaUnknown
        | Reason::ProxyNotEnabled
        | Reason::ProviderRefused
        | Reason::HostOffline
        | Reason::ProviderError => ErrorClass::Overloaded,
    }
}

fn class_of_status(status: u16) -> ErrorClass {
    match status {
        402 => ErrorClass::Billing,
        401 | 403 | 503 | 529 => ErrorClass::Overloaded,
        404 => ErrorClass::NotFound,
        408 | 504 => ErrorClass::Timeout,
        413 => ErrorClass::TooLarge,
        429 => ErrorClass::RateLimit,
        400..=499 => ErrorClass::InvalidRequest,
        _ => ErrorClass::Internal,
    }
}

/// Returns how long to wait, in whole seconds, rounded up: who comes a moment too early comes in vain.
fn whole_seconds(wait: Duration) -> u64 {
    u64::try_from(wait.as_millis().div_ceil(1_000)).unwrap_or(u64::MAX).clamp(1, RETRY_AFTER_MAX_S)
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    /// The cases of the one error table, of which only the reasons count here.
    #[derive(Deserialize)]
    struct Cases {
        case: Vec<Case>,
    }

    #[derive(Deserialize)]
    struct Case {
        reason: Reason,
    }

    #[test]
    fn whatever_the_pool_meets_no_client_is_told_that_its_key_is_at_fault() {
        let cases: Cases = toml::from_str(include_str!("../../tests/fixtures/error_rows.toml")).unwrap();
        for reason in cases.case.into_iter().map(|case| case.reason) {
            for dialect in [Dialect::Messages, Dialect::ChatCompletions, Dialect::Responses] {
                let status = |error: ApiError| error.status(dialect).as_u16();
                let none = status(ApiError::NoAccount { reason, until: Timestamp::default() });
                assert!(matches!(none, 402 | 429 | 503), "{reason:?}: {none}");
                let upstream = status(ApiError::Upstream { reason });
                assert!(!matches!(upstream, 401 | 403), "{reason:?}: {upstream}");
            }
        }
        for status in 400..600 {
            let (code, param, wait) = (None, None, None);
            let error = ApiError::Provider { status, message: String::new(), code, param, wait };
            assert!(!matches!(error.status(Dialect::Messages).as_u16(), 401 | 403), "{status}");
        }
    }

    #[test]
    fn a_providers_wait_is_told_in_whole_seconds_and_never_cut() {
        for (millis, seconds) in [(1, 1), (1_000, 1), (1_001, 2), (30_000, 30)] {
            let (message, wait) = (String::new(), Some(Duration::from_millis(millis)));
            let error = ApiError::Provider { status: 429, message, code: None, param: None, wait };
            assert_eq!(error.retry_after_s(Timestamp::default()), Some(seconds), "{millis}");
        }
    }
}
