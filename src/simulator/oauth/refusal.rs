//! What Doorkeeper, GitLab's OAuth server, says when it refuses.
//!
//! Source: `config/locales/en.yml` and `lib/doorkeeper/oauth/error_response.rb` of Doorkeeper; RFC 8628 for devices.

use serde_json::json;

use crate::simulator::answer::Answer;

/// Why a call is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    MissingParameter(&'static str),
    InvalidClient,
    InvalidGrant,
    InvalidScope,
    InvalidRedirectUri,
    InvalidCodeChallengeMethod,
    UnsupportedResponseType,
    UnsupportedGrantType,
    AccessDenied,
    AuthorizationPending,
    SlowDown,
    ExpiredToken,
    /// Of `/oauth/revoke`.
    NotYours,
    /// Of `/oauth/token/info`: what is wrong with the token.
    InvalidToken(&'static str),
}

impl Refusal {
    /// Returns the value of `error`.
    pub(crate) fn error(&self) -> &'static str {
        match self {
            Self::MissingParameter(_) => "invalid_request",
            Self::InvalidClient => "invalid_client",
            Self::InvalidGrant => "invalid_grant",
            Self::InvalidScope => "invalid_scope",
            Self::InvalidRedirectUri => "invalid_redirect_uri",
            Self::InvalidCodeChallengeMethod => "invalid_code_challenge_method",
            Self::UnsupportedResponseType => "unsupported_response_type",
            Self::UnsupportedGrantType => "unsupported_grant_type",
            Self::AccessDenied => "access_denied",
            Self::AuthorizationPending => "authorization_pending",
            Self::SlowDown => "slow_down",
            Self::ExpiredToken => "expired_token",
            Self::NotYours => "unauthorized_client",
            Self::InvalidToken(_) => "invalid_token",
        }
    }

    /// Returns the value of `error_description`.
    pub(crate) fn description(&self) -> String {
        let told = match self {
            Self::MissingParameter(name) => return format!("Missing required parameter: {name}."),
            Self::InvalidClient => {
                "Client authentication failed due to unknown client, no client authentication included, or unsupported \
                 authentication method."
            }
            Self::InvalidGrant => {
                "The provided authorization grant is invalid, expired, revoked, does not match the redirection URI used \
                 in the authorization request, or was issued to another client."
            }
            Self::InvalidScope => "The requested scope is invalid, unknown, or malformed.",
            Self::InvalidRedirectUri => "The requested redirect uri is malformed or doesn't match client redirect URI.",
            Self::InvalidCodeChallengeMethod => "The code_challenge_method must be S256.",
            Self::UnsupportedResponseType => "The authorization server does not support this response type.",
            Self::UnsupportedGrantType => "The authorization grant type is not supported by the authorization server.",
            Self::AccessDenied => "The resource owner or authorization server denied the request.",
            Self::AuthorizationPending => {
                "The authorization request is still pending as the end user hasn't yet completed the user-interaction \
                 steps."
            }
            Self::SlowDown => {
                "The authorization request is still pending and polling should continue, but the interval must be \
                 increased by 5 seconds for this and all subsequent requests."
            }
            Self::ExpiredToken => "The device code has expired, and the device authorization session has concluded.",
            Self::NotYours => "You are not authorized to revoke this token",
            Self::InvalidToken(told) => told,
        };
        told.to_owned()
    }

    fn status(&self) -> u16 {
        match self {
            Self::InvalidClient | Self::InvalidToken(_) => 401,
            Self::NotYours => 403,
            _ => 400,
        }
    }

    /// Returns the answer, whose description stands in a header as well.
    pub(crate) fn answer(&self) -> Answer {
        let (error, told) = (self.error(), self.description());
        let body = json!({ "error": error, "error_description": told });
        let header = format!("Bearer realm=\"Doorkeeper\", error=\"{error}\", error_description=\"{told}\"");
        let answer = Answer::json(self.status(), &body).with_header("www-authenticate", &header);
        uncached(answer)
    }
}

/// Forbids caching, as Doorkeeper does with tokens and errors alike.
pub(crate) fn uncached(answer: Answer) -> Answer {
    answer.with_header("cache-control", "no-store, no-cache").with_header("pragma", "no-cache")
}
