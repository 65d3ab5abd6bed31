//! What a failed exchange of tokens means for whoever asked for it.
//!
//! A refresh token is good for one exchange, so the question is never only what went wrong but whether GitLab may have
//! done it all the same. Whoever is in doubt says [`ExchangeError::Unknown`].

use serde_json::{Map, Value};

use crate::domain::fault::Reason;
use crate::gitlab::error::CallError;

/// Why there are no tokens, named for what may be done next.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum ExchangeError {
    /// GitLab surely did not do it: the code or refresh token is as good as it was, and may be sent again once what is
    /// named in the fault is over or mended.
    #[error("{0}")]
    Refused(CallError),
    /// GitLab says that the code or refresh token is not good. For a refresh token that may be false for minutes, where
    /// a replica of GitLab's database lags (gitlab#599181).
    #[error("{0}")]
    InvalidGrant(CallError),
    /// The request was sent, or may have been, and no answer tells what became of it: the token may be used up, and
    /// its successors lost.
    #[error("{0}")]
    Unknown(CallError),
}

impl ExchangeError {
    /// Sorts what the table says of an answer. Only reasons that the table gives to GitLab's own words, or to its
    /// limits, which come before all else, count as a refusal.
    pub(super) fn of(error: CallError) -> Self {
        match error.fault.reason {
            Reason::LoginEnded | Reason::CodeRefused => Self::InvalidGrant(error),
            Reason::ClientRefused | Reason::ScopesRefused | Reason::LoginUnsupported | Reason::InstanceThrottled => {
                Self::Refused(error)
            }
            _ => Self::Unknown(error),
        }
    }

    /// Returns the fault, with what is worth telling a person.
    pub(crate) const fn call(&self) -> &CallError {
        match self {
            Self::Refused(error) | Self::InvalidGrant(error) | Self::Unknown(error) => error,
        }
    }

    /// Returns the fault alone.
    pub(super) fn into_call(self) -> CallError {
        match self {
            Self::Refused(error) | Self::InvalidGrant(error) | Self::Unknown(error) => error,
        }
    }
}

/// Returns the value of `error`, by which OAuth names what is wrong.
pub(super) fn error_value(body: &[u8]) -> Option<String> {
    match serde_json::from_slice::<Map<String, Value>>(body).ok()?.remove("error") {
        Some(Value::String(value)) => Some(value),
        _ => None,
    }
}
