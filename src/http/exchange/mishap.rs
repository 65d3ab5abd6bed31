//! What an answer that is none means, and what a client is told about it.

use crate::domain::fault::{Hold, Reason, Scope};
use crate::gitlab::error::{self, Call, CallError, Said, Stage, of_stage};
use crate::http::error::ApiError;
use crate::http::exchange::journey::unsupported;
use crate::protocol::canonical::AnswerError;
use crate::protocol::error::{ErrorClass, UpstreamMessage, read};
use crate::protocol::sse::SseError;

/// Returns what an error event of an upstream means.
pub(in crate::http) fn of_event(data: &[u8]) -> (CallError, Option<UpstreamMessage>) {
    let said = read(data);
    let status = said.as_ref().map_or(500, |said| status_of(said.class()));
    let words = said.as_ref().map_or_else(Said::default, |said| Said {
        kind: &said.kind,
        code: said.code.as_deref(),
        message: &said.message,
    });
    (error::of_event(status, &words), said)
}

/// Returns what an answer means that cannot be read on.
pub(in crate::http) fn of_answer_error(error: &AnswerError) -> CallError {
    match error {
        AnswerError::Stream(SseError::TooLong) => of_stage(Call::Gateway, Stage::LongLine, &error.to_string()),
        AnswerError::Malformed(what) => unreadable(what),
    }
}

/// Returns what a whole answer means that is not what its content type promises.
pub(super) fn unreadable(what: &str) -> CallError {
    of_stage(Call::Gateway, Stage::Unreadable, what)
}

/// Returns what it means that the time of the whole request is over.
pub(in crate::http) fn of_deadline() -> CallError {
    of_stage(Call::Gateway, Stage::Deadline, "")
}

/// Returns the status that an error inside a stream would have had outside, so that one table decides about both.
fn status_of(class: ErrorClass) -> u16 {
    match class {
        ErrorClass::InvalidRequest => 400,
        ErrorClass::Authentication | ErrorClass::Permission => 403,
        ErrorClass::Billing => 402,
        ErrorClass::NotFound => 404,
        ErrorClass::TooLarge => 413,
        ErrorClass::RateLimit => 429,
        ErrorClass::Internal => 500,
        ErrorClass::Overloaded => 529,
        ErrorClass::Timeout => 504,
    }
}

/// Says what a client is told about `error`, where the upstream `said` something.
pub(in crate::http) fn told_of(error: &CallError, said: Option<UpstreamMessage>, model: &str) -> ApiError {
    let (scope, reason) = (error.fault.scope, error.fault.reason);
    let overflows = said.as_ref().is_some_and(UpstreamMessage::is_context_overflow);
    let message = said.as_ref().map_or_else(|| error.note.clone(), |said| said.message.clone());
    // A page of a proxy in between says nothing that a client could read.
    let message = if message.is_empty() { reason.to_string() } else { message };
    let wait = if let Hold::For(time) = error.fault.hold { Some(time) } else { None };
    match (scope, reason, error.status) {
        (Scope::Request, Reason::UnsupportedModel, _) => unsupported(model),
        (_, Reason::TooLong, _) => ApiError::TooLong { message },
        (Scope::Request, _, Some(400)) if overflows => ApiError::TooLong { message },
        // What a provider says about the gateway's own key, or its bill, is not about this client.
        (Scope::Provider, Reason::ProviderRefused, _) => ApiError::Upstream { reason },
        (Scope::Gateway, Reason::GatewayThrottled, Some(status)) => {
            ApiError::Provider { status, message: reason.to_string(), code: None, param: None, wait }
        }
        (Scope::Request | Scope::Provider, _, Some(status)) => {
            let (code, param) = said.map_or((None, None), |said| (said.code, said.param));
            ApiError::Provider { status, message, code, param, wait }
        }
        _ => ApiError::Upstream { reason },
    }
}
