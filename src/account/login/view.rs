//! A login as people are shown it: never a code, a verifier or a token.

use std::fmt;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::account::view::TestReport;
use crate::domain::fault::Reason;

/// How a user proves to GitLab who they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum LoginKind {
    /// In a browser, which GitLab sends back with a code.
    Browser,
    /// With a code that is entered at GitLab on any device.
    Device,
}

/// How far a login has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum LoginStatus {
    /// The user has not answered yet.
    Pending,
    /// GitLab is asked for a pair of tokens.
    Exchanging,
    /// There is a pair, which is kept whatever comes; it is looked whose it is, and what it is good for.
    Checking,
    /// The account is there; whether it can serve is in the report.
    Done,
    /// There is no account by it.
    Failed,
}

impl LoginStatus {
    /// Returns whether nothing more will happen.
    pub(crate) const fn is_final(self) -> bool {
        matches!(self, Self::Done | Self::Failed)
    }
}

/// What stands in the way of a login.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub(crate) struct LoginProblem {
    /// What, as a word that programs may rely on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub(crate) reason: Option<Reason>,
    /// What, as a sentence.
    pub(crate) message: String,
    /// Who can mend it, and how; empty where starting again is all.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) fix: String,
}

/// The state of one login.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub(crate) struct LoginView {
    /// Names it.
    pub(crate) id: String,
    /// With a browser or a device code.
    pub(crate) kind: LoginKind,
    /// How far it has come.
    pub(crate) status: LoginStatus,
    /// Root of the GitLab instance.
    pub(crate) base_url: String,
    /// What is asked for, or was granted.
    pub(crate) scopes: Vec<String>,
    /// Where to send the user's browser.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) authorize_url: Option<String>,
    /// Where GitLab sends it back to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) redirect_uri: Option<String>,
    /// What the user enters at GitLab.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) user_code: Option<String>,
    /// Where the user enters it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) verification_uri: Option<String>,
    /// The same with the code in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) verification_uri_complete: Option<String>,
    /// Until when the user can answer, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) expires_at: Option<String>,
    /// Id of the account, once it is there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) account: Option<String>,
    /// What was found on the way, in order.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) report: Option<TestReport>,
    /// What stands in the way of the account; of its use, the report tells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) problem: Option<LoginProblem>,
    /// When it was begun, RFC 3339.
    pub(crate) begun_at: String,
}

impl fmt::Debug for LoginView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // What its user is shown, with state and codes, is for nobody else.
        f.debug_struct("LoginView").field("id", &self.id).field("status", &self.status).finish_non_exhaustive()
    }
}
