//! Errors of the admin API, as problem details (RFC 9457).

use actix_web::http::StatusCode;
use actix_web::http::header::{CONTENT_TYPE, WWW_AUTHENTICATE};
use actix_web::{HttpResponse, HttpResponseBuilder};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::access::Refused;
use crate::domain::fault::Reason;
use crate::domain::id::RequestId;
use crate::http::error::ApiError;

/// A problem, for programs and people.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct Problem {
    /// What kind of problem, as a relative reference such as `/problems/account-known`.
    #[serde(rename = "type")]
    pub(crate) kind: String,
    /// The kind as a short sentence.
    pub(crate) title: String,
    /// The HTTP status.
    pub(crate) status: u16,
    /// What happened this time.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) detail: String,
    /// Which check failed, for logins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) check: Option<String>,
    /// What went wrong, as a word that programs may rely on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<String>,
    /// What a person can do.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) fix: String,
    /// The request's id.
    #[serde(default)]
    pub(crate) request_id: String,
}

impl Problem {
    /// Builds a problem of a kind.
    pub(crate) fn new(status: u16, kind: &str, title: &str) -> Self {
        Self {
            kind: format!("/problems/{kind}"),
            title: title.to_owned(),
            status,
            detail: String::new(),
            check: None,
            reason: None,
            fix: String::new(),
            request_id: String::new(),
        }
    }

    /// Says what happened this time.
    pub(crate) fn because(mut self, detail: impl Into<String>) -> Self {
        self.detail = detail.into();
        self
    }

    /// Says what a person can do.
    pub(crate) fn fix(mut self, fix: impl Into<String>) -> Self {
        self.fix = fix.into();
        self
    }

    /// The caller may not come in from there.
    pub(crate) fn forbidden(why: &str) -> Self {
        Self::new(403, "forbidden", "The admin API is not open to this caller").because(why)
    }

    /// The caller has not shown the admin key.
    pub(crate) fn unauthorized(refused: Refused) -> Self {
        let why = match refused {
            Refused::Missing => "send the admin key as `Authorization: Bearer KEY`",
            Refused::Wrong => "this is not the admin key of this server",
        };
        Self::new(401, "unauthorized", "The admin key is missing or wrong")
            .because(why)
            .fix("the key is in DUOPOOL_ADMIN_KEY, or in the file `admin.key` of the data folder")
    }

    /// No such account.
    pub(crate) fn no_account() -> Self {
        Self::new(404, "no-such-account", "There is no such account")
            .fix("list the accounts with `duopool accounts list`")
    }

    /// A part of the program does not answer.
    pub(crate) fn internal() -> Self {
        Self::new(500, "internal", "duopool failed to handle the request").fix("its log has the details")
    }

    /// Returns the reply.
    pub(crate) fn reply(mut self, request: &RequestId) -> HttpResponse {
        self.request_id = request.to_string();
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = HttpResponseBuilder::new(status);
        if status == StatusCode::UNAUTHORIZED {
            response.insert_header((WWW_AUTHENTICATE, "Bearer realm=\"duopool admin\""));
        }
        let body = serde_json::to_vec(&self).unwrap_or_default();
        response.insert_header((CONTENT_TYPE, "application/problem+json")).body(body)
    }
}

/// Returns the problem of a body that is not as its route takes it.
pub(super) fn bad_request(detail: impl Into<String>) -> Problem {
    Problem::new(400, "bad-request", "The request body is not as this route takes it").because(detail)
}

/// Returns the problem of a body that could not be read.
pub(super) fn unread(error: &ApiError) -> Problem {
    match error {
        ApiError::TooLarge { .. } => Problem::new(413, "too-large", "The request body is too large"),
        ApiError::SlowBody => Problem::new(408, "too-slow", "The request body did not arrive in time"),
        _ => bad_request(""),
    }
}

/// Returns the word of `reason` that programs may rely on.
pub(super) fn reason_word(reason: Reason) -> String {
    serde_json::to_value(reason).ok().and_then(|word| word.as_str().map(str::to_owned)).unwrap_or_default()
}
