//! An examination as people are shown it.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::domain::fault::Reason;

/// How a check ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Verdict {
    /// As it should be.
    Fine,
    /// It works, and will not for long, or not for everything.
    Warning,
    /// It keeps the account from serving.
    Failed,
    /// Not looked at: what it needs failed before, or it cannot be asked.
    Skipped,
}

/// One finding of an examination.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub(crate) struct Finding {
    /// What was looked at: `instance`, `tls`, `clock`, `token`, `scopes`, `expiry`, `duo access`, `namespace`,
    /// `direct access`, `gateway`, `models`, `credit`; `blocks` for each that keeps the account from something.
    pub(crate) check: String,
    /// How it ended.
    pub(crate) verdict: Verdict,
    /// What was found.
    pub(crate) message: String,
    /// What a person can do; empty where it is fine or waiting is all.
    pub(crate) fix: String,
    /// What is wrong, as a word that programs may rely on; the same as in an account's state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub(crate) reason: Option<Reason>,
}

/// What an examination found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub(crate) struct Diagnosis {
    /// Id of the account; absent for a token that is none yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) account: Option<String>,
    /// The user and the instance, as far as they are known.
    pub(crate) name: String,
    /// Whether nothing failed.
    pub(crate) ok: bool,
    /// In the order in which it was looked.
    pub(crate) findings: Vec<Finding>,
}
