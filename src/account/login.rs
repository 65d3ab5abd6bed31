//! From a token to an account: checks against GitLab, before anything is stored.

use std::fmt;

use crate::account::minting::{self, GatewayChoice, Mint};
use crate::domain::catalogue::Catalogue;
use crate::domain::endpoint::{GatewayUrl, InstanceUrl};
use crate::domain::id::{AccountId, Generation};
use crate::domain::model::ModelName;
use crate::domain::secret::Secret;
use crate::domain::time::Timestamp;
use crate::gitlab::error::CallError;
use crate::gitlab::identity::{self, Identity};
use crate::gitlab::rest::Session;
use crate::gitlab::upstream::Upstream;
use crate::store::{AccountRecord, Credential, StoreError};

/// Requests in flight on one account, unless an operator says otherwise.
const MAX_CONCURRENCY_DEFAULT: u32 = 16;
/// The pool of accounts and keys that name none.
pub(crate) const POOL_DEFAULT: &str = "default";

/// What an operator says of an account; what is left open keeps its value, or gets the default.
#[derive(Clone, Debug, Default)]
pub(crate) struct Given {
    /// The gateway, if the operator knows better than GitLab.
    pub(crate) gateway_url: Option<GatewayUrl>,
    /// A name for people.
    pub(crate) label: Option<String>,
    /// Which keys may use it.
    pub(crate) pool: Option<String>,
    /// Its tier.
    pub(crate) priority: Option<i32>,
    /// Its share inside the tier.
    pub(crate) weight: Option<u32>,
    /// Most requests in flight.
    pub(crate) max_concurrency: Option<u32>,
}

impl Given {
    /// Puts what was said into `record`.
    pub(crate) fn apply(self, record: &mut AccountRecord) {
        record.gateway_url = self.gateway_url.or(record.gateway_url.take());
        record.label = self.label.or(record.label.take());
        record.pool = self.pool.unwrap_or_else(|| std::mem::take(&mut record.pool));
        record.priority = self.priority.unwrap_or(record.priority);
        record.weight = self.weight.unwrap_or(record.weight);
        record.max_concurrency = self.max_concurrency.unwrap_or(record.max_concurrency);
    }
}

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
    pub(crate) identity: Identity,
    pub(crate) mint: Mint,
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

/// Returns the Claude model that is cheap to count tokens with.
pub(crate) fn probe_model(catalogue: &Catalogue) -> ModelName {
    let haiku = catalogue.entries().find(|entry| entry.family == "claude-haiku");
    haiku.map_or_else(|| catalogue.default_model().clone(), |entry| entry.name.clone())
}

impl Checked {
    /// Returns the record of the new account.
    pub(crate) fn record(&self, new: &NewAccount, now: Timestamp) -> AccountRecord {
        let mut record = AccountRecord {
            id: AccountId::of(&new.instance, self.identity.user_id),
            instance: new.instance.clone(),
            user_id: self.identity.user_id,
            username: self.identity.username.clone(),
            label: None,
            pool: POOL_DEFAULT.to_owned(),
            priority: 0,
            weight: 1,
            max_concurrency: MAX_CONCURRENCY_DEFAULT,
            enabled: true,
            gateway_url: None,
            reported_gateway: self.mint.reported.clone(),
            credential: self.credential(new),
            credential_generation: Generation::default().next(),
            exchange_begun_at: None,
            added_at: now,
        };
        new.given.clone().apply(&mut record);
        record
    }

    /// Returns the credential that was checked.
    pub(crate) fn credential(&self, new: &NewAccount) -> Credential {
        Credential::PersonalAccessToken {
            token: new.token.clone(),
            scopes: self.identity.scopes.clone(),
            expires_on: self.identity.expires_on.clone(),
        }
    }
}
