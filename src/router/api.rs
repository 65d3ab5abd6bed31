//! What a router is asked, and what it answers.

use actix::Message;

use crate::account::api::Renew;
use crate::account::lease::Lease;
use crate::domain::catalogue::Wanted;
use crate::domain::fault::Reason;
use crate::domain::id::{AccountId, Generation};
use crate::domain::model::{Dialect, ModelName};
use crate::domain::time::Timestamp;

/// Asks for the right to send one request. Refused as [`NoAccount`] says.
#[derive(Debug, Message)]
#[rtype(result = "Result<Lease, NoAccount>")]
pub(crate) struct Acquire {
    /// What the client asked for.
    pub(crate) wanted: Wanted,
    /// The dialects that would serve it, the best one first.
    pub(crate) dialects: &'static [Dialect],
    /// The pools that its key may use; empty: every pool.
    pub(crate) pools: std::sync::Arc<[String]>,
    /// Accounts that have failed this request.
    pub(crate) tried: Vec<AccountId>,
    /// Models that a gateway has refused in this request.
    pub(crate) refused: Vec<ModelName>,
}

/// An account that could serve once it has a new grant.
#[derive(Clone, Debug)]
pub(crate) struct Renewable {
    /// Which one.
    pub(crate) account: AccountId,
    /// The generation of the grant that it has or had.
    pub(crate) than: Generation,
    /// Whom to ask.
    pub(crate) renew: actix::Recipient<Renew>,
}

impl Renewable {
    /// Returns the wish for a newer grant.
    pub(crate) fn wish(&self) -> Renew {
        Renew { than: Some(self.than) }
    }
}

/// Why no account serves.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum NoAccount {
    /// There is none in the pools that the key may use.
    #[error("no account")]
    Empty,
    /// No account's gateway supports the model, nor one of its family.
    #[error("no account serves the model")]
    NoModel,
    /// The model is there, but not in a dialect that the request can be brought into.
    #[error("model `{model}` does not speak the client's dialect")]
    OtherDialect {
        /// The model that would have served.
        model: ModelName,
    },
    /// Every account that could is blocked or without a grant.
    #[error("no account can serve at present: {reason}")]
    Blocked {
        /// What keeps the one that recovers first.
        reason: Reason,
        /// When it recovers.
        until: Timestamp,
        /// Accounts that need only a grant, worth waiting for.
        renewable: Vec<Renewable>,
    },
    /// Every account that could has as many requests in flight as it may.
    #[error("every account is busy")]
    Busy,
    /// Every account that could has been tried.
    #[error("every account was tried")]
    Exhausted,
}
