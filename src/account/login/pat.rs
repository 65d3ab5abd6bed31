//! A personal access token on its way to an account: checked against GitLab before anything is stored.

use std::fmt;

use crate::account::login::{Arrival, Given};
use crate::account::minting::{self, GatewayChoice, Mint};
use crate::domain::endpoint::{GatewayUrl, InstanceUrl};
use crate::domain::id::AccountId;
use crate::domain::model::ModelName;
use crate::domain::secret::Secret;
use crate::domain::time::Timestamp;
use crate::gitlab::error::CallError;
use crate::gitlab::identity::{self, Identity};
use crate::gitlab::rest::Session;
use crate::gitlab::upstream::Upstream;
use crate::store::{Credential, StoreError};

/// An account that somebody wants to add.
#[derive(Clone, Debug)]
pub(crate) struct NewAccount {
    /// Where the user lives.
    pub(crate) instance: InstanceUrl,
    /// The user's personal access token.
    pub(crate) token: Secret<String>,
    /// What the operator says of it.
    pub(crate) given: Given,
    /// Whether the token replaces that of a known account; a known account is an error otherwise.
    pub(crate) renew: bool,
}

/// What was looked at when a login failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// The token: alive, with the scopes, whose.
    Token,
    /// Direct access: seat, namespace, flags, gateway.
    DirectAccess,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Token => "the token check",
            Self::DirectAccess => "the check for GitLab Duo access",
        })
    }
}

/// Why an account was not added. Nothing was stored.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LoginError {
    /// It is there already.
    #[error("account `{0}` is known already; to replace its token, send `\"renew\": true`")]
    Known(AccountId),
    /// A check against GitLab failed.
    #[error("{step} failed: {source}")]
    Check {
        /// Which one.
        step: Step,
        /// What GitLab answered.
        source: CallError,
    },
    /// It could not be stored.
    #[error("the account could not be stored: {0}")]
    Store(#[from] StoreError),
    /// A part of the program that is needed for it has stopped.
    #[error("the server is stopping, or a part of it failed")]
    Gone,
}

/// A login that passed every check.
#[derive(Debug)]
pub(crate) struct Checked {
    identity: Identity,
    mint: Mint,
}

/// Checks the token, and that its owner has Duo access. A gateway that is configured for the instance is `fixed`.
pub(crate) async fn check(
    upstream: &Upstream,
    new: &NewAccount,
    fixed: Option<GatewayUrl>,
    probe: &ModelName,
    now: Timestamp,
) -> Result<Checked, LoginError> {
    let session = Session { upstream, instance: &new.instance, token: &new.token };
    let failed = |step| move |source| LoginError::Check { step, source };
    let identity = identity::of_token(session, now).await.map_err(failed(Step::Token))?;
    let choice = GatewayChoice { fixed: new.given.gateway_url.clone().or(fixed), reported: None };
    let mint = minting::grant(session, &choice, probe).await.map_err(failed(Step::DirectAccess))?;
    Ok(Checked { identity, mint })
}

impl Checked {
    /// Returns the user whose token was checked.
    pub(crate) fn arrival(self, new: NewAccount) -> Arrival {
        let Identity { user_id, username, scopes, expires_on } = self.identity;
        let credential = Credential::PersonalAccessToken { token: new.token, scopes, expires_on };
        let (instance, given, renew) = (new.instance, new.given, new.renew);
        let mint = Ok(self.mint);
        Arrival { instance, user_id, username, credential, given, mint, renew, imported: None, login: None }
    }
}
