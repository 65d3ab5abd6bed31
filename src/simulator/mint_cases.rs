//! Every answer that GitLab is known to give to the two direct access calls, by name.
//!
//! Sources: `ee/lib/api/ai/third_party_agents.rb`, `ee/lib/api/code_suggestions.rb`, the API guard and the rate limiter
//! of GitLab, and reports of users. What an account's standing leads to by itself is one of these as well.

use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::simulator::answer::Answer;
use crate::simulator::limits::{RETRY_LATER, TOO_MANY};
use crate::simulator::script::Call;

/// What a client may conclude from a case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum MintClass {
    /// A grant.
    Ok,
    /// The credential is dead or too narrow: log in anew or refresh.
    Credential,
    /// This account cannot, until its user or an administrator does something.
    Account,
    /// No account of this instance can.
    Instance,
    /// Out of credit.
    Quota,
    /// Passes by itself.
    Transient,
    /// Any of several of these; GitLab does not tell.
    Ambiguous,
}

macro_rules! cases {
    ($($(#[doc = $doc:literal])+ $name:ident: $class:ident,)+) => {
        /// A row of the tables of answers.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub enum MintCase { $($(#[doc = $doc])+ $name,)+ }

        impl MintCase {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$name),+];

            /// Returns what a client may conclude.
            pub const fn class(self) -> MintClass {
                match self { $(Self::$name => MintClass::$class),+ }
            }
        }
    };
}

cases! {
    /// `third_party_agents`: 201.
    ThirdPartyOk: Ok,
    /// 401: missing or unknown token; also a new token on a replica that lags.
    ThirdPartyUnauthorized: Credential,
    /// 401: the OAuth token is expired.
    ThirdPartyTokenExpired: Credential,
    /// 401: the token was revoked.
    ThirdPartyTokenRevoked: Credential,
    /// 403: neither `ai_features` nor `api`.
    ThirdPartyInsufficientScope: Credential,
    /// 403: not entitled, a flag is off, or direct connections are disabled.
    ThirdPartyForbidden: Ambiguous,
    /// 404: an instance without the endpoint.
    ThirdPartyNotFound: Instance,
    /// 429: GitLab's edge.
    ThirdPartyThrottled: Transient,
    /// 503: the user has to choose a default Duo namespace.
    ThirdPartyMissingNamespace: Account,
    /// 503: Duo is off in the billing namespace.
    ThirdPartyFeaturesDisabled: Account,
    /// 503: the gateway refused: quota, entitlement or an outage.
    ThirdPartyTokenCreationFailed: Ambiguous,
    /// 503: the gateway answered without a token.
    ThirdPartyTokenMissing: Transient,
    /// 503: the gateway was not reached.
    ThirdPartyGatewayUnreachable: Transient,
    /// `code_suggestions`: 201.
    CompletionOk: Ok,
    /// 400: no model is assigned to code completion.
    CompletionNoModel: Instance,
    /// 401: the token is bad, the user lacks the feature, or it is disabled.
    CompletionUnauthorized: Ambiguous,
    /// 403: direct connections are disabled.
    CompletionDirectConnectionsDisabled: Instance,
    /// 403: not in a paid namespace.
    CompletionUnpaidNamespace: Account,
    /// 404: switched off, or an instance without the endpoint.
    CompletionNotFound: Instance,
    /// 422: the user has to choose a default Duo namespace.
    CompletionMissingNamespace: Account,
    /// 429: more than 10 in 5 minutes.
    CompletionThrottled: Transient,
    /// 402 of the gateway, passed on: out of credit.
    CompletionQuotaExceeded: Quota,
    /// 403 of the gateway, passed on: not entitled.
    CompletionNotEntitled: Account,
    /// 503: the token service failed.
    CompletionUnavailable: Transient,
}

impl MintCase {
    /// Returns the name in rules and lists.
    pub fn name(self) -> String {
        serde_json::to_value(self).ok().and_then(|name| name.as_str().map(str::to_owned)).unwrap_or_default()
    }

    /// Returns the call that it is an answer to.
    pub fn call(self) -> Call {
        if self.name().starts_with("third_party") {
            Call::ThirdPartyDirectAccess
        } else {
            Call::CodeSuggestionsDirectAccess
        }
    }

    /// Returns the status.
    pub fn status(self) -> u16 {
        self.answer().map_or(201, |answer| answer.status)
    }

    /// Returns the body; empty where it is a grant.
    pub fn body(self) -> String {
        self.answer().map_or_else(String::new, |answer| answer.text())
    }

    /// Returns the content type.
    pub(crate) fn content_type(self) -> String {
        self.answer().map_or_else(|| "application/json".to_owned(), |answer| answer.content_type().to_owned())
    }

    /// Returns the refusal; `None` where it is a grant.
    pub(crate) fn answer(self) -> Option<Answer> {
        Some(match self {
            Self::ThirdPartyOk | Self::CompletionOk => return None,
            Self::ThirdPartyUnauthorized => unauthorized(),
            Self::ThirdPartyTokenExpired => token_expired(),
            Self::ThirdPartyTokenRevoked => token_revoked(),
            Self::ThirdPartyInsufficientScope => insufficient_scope(&["ai_features", "api"]),
            Self::ThirdPartyForbidden => message(403, "403 Forbidden"),
            Self::ThirdPartyNotFound => Answer::json(404, &json!({ "error": "404 Not Found" })),
            Self::ThirdPartyThrottled => Answer::whole(429, "text/plain", RETRY_LATER),
            Self::ThirdPartyMissingNamespace => message(503, "Missing default GitLab Duo namespace user preference"),
            Self::ThirdPartyFeaturesDisabled => {
                message(503, "GitLab Duo features are disabled for the billing namespace")
            }
            Self::ThirdPartyTokenCreationFailed | Self::CompletionUnavailable => message(503, "Token creation failed"),
            Self::ThirdPartyTokenMissing => message(503, "Token is missing in response"),
            Self::ThirdPartyGatewayUnreachable => {
                message(503, "An HTTP error occurred when creating a Direct Access Token.")
            }
            Self::CompletionNoModel => {
                let told = "Please, assign a model to the \"Code completion\" feature settings in your duo settings";
                Answer::json(400, &json!({ "message": "No Code Completion model provided", "error": told }))
            }
            Self::CompletionUnauthorized => unauthorized().with_header("X-GitLab-Error-Origin", "monolith"),
            Self::CompletionDirectConnectionsDisabled => {
                message(403, "403 Forbidden - Direct connections are disabled")
            }
            Self::CompletionUnpaidNamespace => message(
                403,
                "403 Forbidden - Code suggestions tokens can only be generated for users belonging to paid, non-trial \
                 namespaces",
            ),
            Self::CompletionNotFound => message(404, "404 Not Found"),
            Self::CompletionMissingNamespace => {
                let told = "Please select a default GitLab Duo namespace in your preferences.";
                Answer::json(422, &json!({ "error": "missing_default_duo_group", "message": told }))
            }
            Self::CompletionThrottled => Answer::json(429, &json!({ "message": { "error": TOO_MANY } })),
            Self::CompletionQuotaExceeded => passed_on(
                402,
                "insufficient_credits",
                "USAGE_QUOTA_EXCEEDED",
                "Consumer does not have sufficient credits for this request",
            ),
            Self::CompletionNotEntitled => passed_on(
                403,
                "not_entitled",
                "USAGE_QUOTA_NOT_ENTITLED",
                "Consumer does not have entitlements to use this feature.",
            ),
        })
    }
}

/// Returns the gateway's refusal as the endpoint for completion passes it on.
fn passed_on(status: u16, error: &str, code: &str, told: &str) -> Answer {
    let body = json!({
        "message": "Token creation failed",
        "error": error,
        "error_code": code,
        "error_description": told,
    });
    Answer::json(status, &body)
}

/// Returns GitLab's plain message.
pub(crate) fn message(status: u16, message: &str) -> Answer {
    Answer::json(status, &json!({ "message": message }))
}

/// Returns what is said of a token that is missing or unknown.
pub(crate) fn unauthorized() -> Answer {
    message(401, "401 Unauthorized")
}

/// Returns what is said of an expired token.
pub(crate) fn token_expired() -> Answer {
    invalid_token("Token is expired. You can either do re-authorization or token refresh.")
}

/// Returns what is said of a revoked token.
pub(crate) fn token_revoked() -> Answer {
    invalid_token("Token was revoked. You have to re-authorize from the user.")
}

fn invalid_token(description: &str) -> Answer {
    Answer::json(401, &json!({ "error": "invalid_token", "error_description": description }))
}

/// Returns what is said of a token without any of `scopes`.
pub(crate) fn insufficient_scope(scopes: &[&str]) -> Answer {
    let body = json!({
        "error": "insufficient_scope",
        "error_description": "The request requires higher privileges than provided by the access token.",
        "scope": scopes.join(" "),
    });
    Answer::json(403, &body)
}
