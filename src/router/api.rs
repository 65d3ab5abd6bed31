//! What a router is asked, and what it answers.

use std::sync::Arc;

use actix::Message;
use futures::FutureExt;
use futures::channel::oneshot;
use futures::future::LocalBoxFuture;
use tokio::time::{Instant, timeout_at};

use crate::account::api::{Desk, Renew};
use crate::account::lease::{Lease, Waiting};
use crate::domain::catalogue::Wanted;
use crate::domain::conversation::Conversation;
use crate::domain::endpoint::GatewayUrl;
use crate::domain::fault::Reason;
use crate::domain::id::{AccountId, Generation};
use crate::domain::model::{Dialect, ModelName};
use crate::domain::time::Timestamp;
use crate::trace::{Nobody, Record};

/// Asks for the right to send one request. Refused as [`NoAccount`] says.
#[derive(Clone, Debug, Message)]
#[rtype(result = "Result<Acquired, NoAccount>")]
pub(crate) struct Acquire {
    /// What the client asked for.
    pub(crate) wanted: Wanted,
    /// The dialects that would serve it. Which of them is best for a model the catalogue says.
    pub(crate) dialects: &'static [Dialect],
    /// The pools that its key may use; empty: every pool.
    pub(crate) pools: Arc<[String]>,
    /// The conversation that it belongs to, kept on one account while that is well.
    pub(crate) conversation: Option<Conversation>,
    /// Whose request it is, by the number of the key: those who wait take turns.
    pub(crate) client: usize,
    /// Until when it would wait for a slot; `None`: not at all.
    pub(crate) patience: Option<Instant>,
    /// Whether it has waited for new grants in vain, so that the accounts that are busy are the better hope.
    pub(crate) renewed_in_vain: bool,
    /// Accounts that have failed this request.
    pub(crate) tried: Vec<AccountId>,
    /// Models that gateways have refused in this request.
    pub(crate) refused: Vec<(GatewayUrl, ModelName)>,
    /// Where it is noted what was looked at, and what decided.
    pub(crate) trace: Option<Arc<Record>>,
}

impl Acquire {
    /// Returns whether `other` can be served exactly where this one can.
    pub(crate) fn asks_the_same(&self, other: &Self) -> bool {
        let asked = |ask: &Self| (ask.dialects, ask.renewed_in_vain, ask.patience.is_some());
        asked(self) == asked(other)
            && self.wanted == other.wanted
            && self.pools == other.pools
            && self.tried == other.tried
            && self.refused == other.refused
    }
}

/// What is given to who asks.
#[derive(Debug)]
pub(crate) enum Acquired {
    /// The right to send, at once.
    Lease(Lease),
    /// A place in the queue.
    Place(Place),
}

/// A place in a worker's queue. Dropping it, as when the client leaves, gives it up.
#[derive(Debug)]
pub(crate) struct Place {
    pub(super) answer: oneshot::Receiver<Result<Lease, NoAccount>>,
    pub(super) until: Instant,
    pub(super) waiting: Waiting,
    /// Why it waits.
    pub(super) because: NoAccount,
}

impl Place {
    /// Waits for a lease; refused for what it waited for when the time is up.
    pub(crate) async fn wait(self) -> Result<Lease, NoAccount> {
        let Self { answer, until, waiting, because } = self;
        let answered = timeout_at(until, answer).await;
        drop(waiting);
        // A router that is gone answers nobody.
        answered.ok().and_then(Result::ok).unwrap_or(Err(because))
    }
}

/// An account that could serve once it has a new grant.
#[derive(Clone, Debug)]
pub(crate) struct Renewable {
    /// Which one.
    pub(crate) account: AccountId,
    /// The generation of the grant that it has or had.
    pub(crate) than: Generation,
    /// Whom to ask.
    pub(crate) desk: Desk,
}

impl Renewable {
    /// Asks for a newer grant; `None` if there is none to be had.
    pub(crate) fn renew(&self) -> LocalBoxFuture<'static, Option<Generation>> {
        let asked = self.desk.0.renew(Renew { than: Some(self.than) });
        async move { asked.await?.ok() }.boxed_local()
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
        /// Whether there are others that have too much to do, worth waiting for if these do not get one.
        busy: bool,
    },
    /// Every account that could shares a block that ends within seconds, worth waiting for.
    #[error("no account can serve for a moment: {reason}")]
    Paused {
        /// What keeps the one that recovers first.
        reason: Reason,
        /// When it recovers.
        until: Timestamp,
    },
    /// Every account that could has as many requests in flight as it may.
    #[error("every account is busy")]
    Busy,
    /// Every account that could has been tried.
    #[error("every account was tried")]
    Exhausted,
}

impl NoAccount {
    /// Returns what a trace keeps of it.
    pub(crate) fn noted(&self) -> Nobody {
        match self {
            Self::Empty => Nobody::Empty,
            Self::NoModel => Nobody::NoModel,
            Self::OtherDialect { .. } => Nobody::OtherDialect,
            Self::Blocked { reason, until, .. } | Self::Paused { reason, until } => {
                Nobody::Blocked { reason: *reason, until: *until }
            }
            Self::Busy => Nobody::Busy,
            Self::Exhausted => Nobody::Exhausted,
        }
    }
}
