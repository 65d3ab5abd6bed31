//! Logins until they are an account: by personal access token, in a browser, or with a device code.
//!
//! A personal access token is checked before anything is stored. A pair of OAuth tokens is stored before anything is
//! checked, because GitLab hands it out once. Everything secret of a login stays in here: its verifier, its code, its
//! tokens; what is shown of it is [`view`]. How an account that is there renews itself is not this folder's business.

mod actor;
pub(crate) mod api;
pub(crate) mod callback;
mod completion;
mod device;
pub(crate) mod import;
mod pat;
mod table;
#[cfg(test)]
mod tests;
pub(crate) mod view;

use crate::account::minting::Mint;
use crate::domain::catalogue::Catalogue;
use crate::domain::endpoint::{GatewayUrl, InstanceUrl};
use crate::domain::id::{AccountId, Generation};
use crate::domain::model::ModelName;
use crate::domain::oauth::RefreshMark;
use crate::domain::time::Timestamp;
use crate::gitlab::error::CallError;
use crate::store::{AccountRecord, Credential};

pub(crate) use actor::{LoginsActor, LoginsParts};
pub(crate) use pat::{LoginError, NewAccount, check};

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

/// A user who has proved to GitLab who they are.
#[derive(Debug)]
pub(crate) struct Arrival {
    pub(crate) instance: InstanceUrl,
    pub(crate) user_id: u64,
    pub(crate) username: String,
    pub(crate) credential: Credential,
    pub(crate) given: Given,
    /// What the check for Duo access gave; it is the account's first mint.
    pub(crate) mint: Result<Mint, CallError>,
    /// Whether the credential replaces that of a known account; a known account is an error otherwise.
    pub(crate) renew: bool,
    /// The refresh token that another program brought and that was exchanged for the credential. Nobody has logged in then,
    /// so what the account has is only replaced where it is that very pair, or dead; else the account is an error, too.
    pub(crate) imported: Option<RefreshMark>,
    /// The stored login that becomes the account.
    pub(crate) login: Option<String>,
}

impl Arrival {
    /// Returns the account's id.
    pub(crate) fn account(&self) -> AccountId {
        AccountId::of(&self.instance, self.user_id)
    }

    /// Returns the record of a new account.
    pub(crate) fn record(&self, now: Timestamp) -> AccountRecord {
        let mut record = AccountRecord {
            id: self.account(),
            instance: self.instance.clone(),
            user_id: self.user_id,
            username: self.username.clone(),
            label: None,
            pool: POOL_DEFAULT.to_owned(),
            priority: 0,
            weight: 1,
            max_concurrency: MAX_CONCURRENCY_DEFAULT,
            enabled: true,
            gateway_url: None,
            reported_gateway: self.mint.as_ref().ok().and_then(|mint| mint.reported.clone()),
            credential: self.credential.clone(),
            credential_generation: Generation::default().next(),
            exchange_begun_at: None,
            added_at: now,
        };
        self.given.clone().apply(&mut record);
        record
    }
}

/// Returns the Claude model that is cheap to count tokens with.
pub(crate) fn probe_model(catalogue: &Catalogue) -> ModelName {
    let haiku = catalogue.entries().find(|entry| entry.family == "claude-haiku");
    haiku.map_or_else(|| catalogue.default_model().clone(), |entry| entry.name.clone())
}
