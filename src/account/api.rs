//! What an account publishes, and the messages it answers.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use actix::{Message, Recipient};
use arc_swap::ArcSwap;
use futures::future::LocalBoxFuture;
use serde::{Deserialize, Serialize};

use crate::account::doctor::view::Diagnosis;
use crate::account::lease::{Bell, Gauge};
use crate::account::shared_health::{self, CreditGroup, Epoch, Refused, Shared};
use crate::account::view::{AccountView, TestReport, Trouble};
use crate::domain::endpoint::{GatewayUrl, InstanceUrl};
use crate::domain::fault::{Fault, Reason};
use crate::domain::id::{AccountId, Generation};
use crate::domain::model::ModelName;
use crate::domain::time::Timestamp;
use crate::gitlab::gateway::Grant;
use crate::store::StoreError;

/// Why and how long something is not used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Block {
    /// What happened.
    pub(crate) reason: Reason,
    /// When the first fault of this row of faults came.
    pub(crate) since: Timestamp,
    /// When it is tried again.
    pub(crate) until: Timestamp,
    /// Faults in a row.
    pub(crate) attempts: u32,
}

impl Block {
    /// Returns whether it still holds at `now`.
    pub(crate) fn holds(&self, now: Timestamp) -> bool {
        now < self.until
    }

    /// Returns it as it is after a restart: what has ended is over, and what lasts longer than anything may, as after a
    /// clock was set back, is cut to `most`.
    pub(crate) fn restored(mut self, now: Timestamp, most: Duration) -> Option<Self> {
        self.until = self.until.min(now + most);
        self.since = self.since.min(now);
        self.holds(now).then_some(self)
    }

    /// Returns whether it has ended and nobody knows yet whether its cause has: then one request tries, and the others
    /// wait for its outcome. A refused grant that was replaced is none of these, since what was refused is gone.
    pub(crate) fn is_unproven(&self, now: Timestamp) -> bool {
        !self.holds(now) && (self.attempts > 1 || self.reason != Reason::GrantRefused)
    }
}

/// What stands against using a model on an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// Nothing.
    Clear,
    /// A block has ended, and no request has succeeded since.
    Unproven,
    /// It is blocked.
    Blocked {
        /// Until then.
        until: Timestamp,
        /// For this.
        reason: Reason,
    },
}

/// An account as everybody else sees it: immutable, replaced as a whole.
#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts, published together")]
pub(crate) struct Snapshot {
    /// Which account.
    pub(crate) id: AccountId,
    /// Where its user lives, which says how its gateway is reached.
    pub(crate) instance: InstanceUrl,
    /// Whose credits it draws on.
    pub(crate) group: CreditGroup,
    /// Its label for access: a request stays within the pools its key may use.
    pub(crate) pool: Arc<str>,
    /// Higher tiers are used first.
    pub(crate) priority: i32,
    /// Share among accounts of one tier; at least 1.
    pub(crate) weight: u32,
    /// Most requests in flight.
    pub(crate) max_concurrency: u32,
    /// Switched off by an operator otherwise.
    pub(crate) enabled: bool,
    /// What to send with, if there is something.
    pub(crate) grant: Option<Arc<Grant>>,
    /// Whether a mint is on its way or would be tried if asked for, so that waiting makes sense.
    pub(crate) renewable: bool,
    /// Whether the login was renewed and could not be stored: the pair in memory is all there is.
    pub(crate) unsaved: bool,
    /// Why there is no newer grant, if minting fails.
    pub(crate) trouble: Option<Block>,
    /// Why the account as a whole is not used.
    pub(crate) block: Option<Block>,
    /// Why single models are not used on it.
    pub(crate) models: Arc<BTreeMap<ModelName, Block>>,
    /// Whether another account that may draw on the same credits ran out of them: then this one is chosen last.
    pub(crate) hinted: bool,
    /// What `gitlab-duo` means here.
    pub(crate) current_model: ModelName,
    /// Requests in flight.
    pub(crate) gauge: Arc<Gauge>,
    /// Where to send news and wishes; `None` where nobody listens, as in a simulation of the choice.
    pub(crate) desk: Option<Desk>,
}

impl Snapshot {
    /// Returns whether a success on `model` would be news.
    pub(crate) fn in_doubt(&self, model: &ModelName) -> bool {
        self.hinted || self.block.is_some() || (!self.models.is_empty() && self.models.contains_key(model))
    }

    /// Returns whether it can serve some request at `now`.
    pub(crate) fn can_serve(&self, now: Timestamp) -> bool {
        self.enabled && self.usable_grant(now).is_some() && !self.block.as_ref().is_some_and(|block| block.holds(now))
    }

    /// Returns what stands against using `model` on this account at `now`.
    pub(crate) fn standing(&self, model: &ModelName, now: Timestamp) -> Standing {
        let of_model = if self.models.is_empty() { None } else { self.models.get(model) };
        let blocks = [self.block.as_ref(), of_model];
        // Both must have ended.
        let last = blocks.into_iter().flatten().filter(|block| block.holds(now)).max_by_key(|block| block.until);
        if let Some(block) = last {
            return Standing::Blocked { until: block.until, reason: block.reason };
        }
        let unproven = blocks.into_iter().flatten().any(|block| block.is_unproven(now));
        if unproven { Standing::Unproven } else { Standing::Clear }
    }

    /// Returns whether its grant was refused for the first time, and no other one is there yet.
    pub(crate) fn is_replacing_grant(&self) -> bool {
        let first = |block: &Block| block.reason == Reason::GrantRefused && block.attempts == 1;
        self.grant.is_none() && self.block.as_ref().is_some_and(first)
    }

    /// Returns the grant if a request can be sent with it at `now`.
    pub(crate) fn usable_grant(&self, now: Timestamp) -> Option<&Arc<Grant>> {
        self.grant.as_ref().filter(|grant| grant.is_usable(now))
    }
}

/// Who owns an account: its actor, or whoever plays it.
pub(crate) trait Owner: Send + Sync {
    /// Takes news, in whatever number.
    fn tell(&self, news: News);
    /// Takes news that concern other accounts, too.
    fn tell_others(&self, news: SharedNews);
    /// Returns what everybody knows by now of what accounts share.
    fn shared(&self) -> Arc<Shared>;
    /// Takes a wish for a newer grant, and answers as [`Renew`] says; `None` if nobody is there any more.
    fn renew(&self, wish: Renew) -> LocalBoxFuture<'static, Option<Result<Generation, Block>>>;
}

/// How to reach whoever owns what accounts share.
#[derive(Clone)]
pub(crate) struct SharedDesk {
    /// Takes news, in whatever number.
    pub(crate) news: Recipient<SharedNews>,
    /// What everybody knows by now.
    pub(crate) published: Published,
}

/// How to reach an account's owner without knowing it.
#[derive(Clone)]
pub(crate) struct Desk(pub(crate) Arc<dyn Owner>);

impl fmt::Debug for Desk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Desk")
    }
}

/// Where the table is published and read.
pub(crate) type Published = Arc<ArcSwap<Table>>;

/// Everything that is chosen from: all accounts, and what they share. Immutable, replaced as a whole.
#[derive(Clone, Debug, Default)]
pub(crate) struct Table {
    /// In order of their ids.
    pub(crate) accounts: Vec<Arc<Snapshot>>,
    /// Models that gateways do not support.
    pub(crate) refused: Arc<Refused>,
    /// The health that accounts share.
    pub(crate) shared: Arc<Shared>,
    /// Who waits for an account; the same one in every table.
    pub(crate) bell: Arc<Bell>,
}

/// News from a request that used the account.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(crate) enum News {
    /// An answer came to its end.
    Succeeded {
        /// On this model.
        model: ModelName,
    },
    /// A request failed.
    Failed {
        /// The grant it was sent under.
        generation: Generation,
        /// The model it was for.
        model: ModelName,
        /// What happened.
        fault: Fault,
    },
}

/// News from a request, or from calls to an instance, that concern other accounts, too.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct SharedNews {
    /// What happened.
    pub(crate) event: shared_health::Event,
    /// Its number, where that was drawn when it happened.
    pub(crate) at: Option<Epoch>,
}

impl From<shared_health::Event> for SharedNews {
    fn from(event: shared_health::Event) -> Self {
        Self { event, at: None }
    }
}

/// Asks for a grant newer than `than`; the answer is the new grant's generation.
///
/// Answers at once if there is one; joins a mint in flight; refused with the block that keeps the account from minting.
#[derive(Debug, Message)]
#[rtype(result = "Result<Generation, Block>")]
pub(crate) struct Renew {
    /// The generation that is not good enough; `None`: mint in any case, as an operator's refresh does.
    pub(crate) than: Option<Generation>,
}

/// Asks for the account's state, for people.
#[derive(Debug, Message)]
#[rtype(result = "AccountView")]
pub(crate) struct Describe;

/// Asks for one cheap check of token and gateway.
#[derive(Debug, Message)]
#[rtype(result = "TestReport")]
pub(crate) struct Test;

/// Asks for a full examination, which renews the account's gateway credential.
#[derive(Debug, Message)]
#[rtype(result = "Diagnosis")]
pub(crate) struct Examine;

/// Asks GitLab which models the account may use; answered when the list is there or could not be had.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct Discover;

/// Clears what keeps the account itself from serving, and has a grant minted if it has none. Told by the registry, which
/// clears what the account shares with others.
#[derive(Debug, Message)]
#[rtype(result = "Cleared")]
pub(crate) struct Reset;

/// What a reset came to.
#[derive(Debug)]
pub(crate) struct Cleared {
    /// What was cleared.
    pub(crate) blocks: Vec<Trouble>,
    /// Where the account sends to, if it knows.
    pub(crate) gateway: Option<GatewayUrl>,
    /// Whose credits it draws on.
    pub(crate) group: CreditGroup,
    /// Where its user lives.
    pub(crate) instance: InstanceUrl,
}

/// Changes an account's settings; answered once they are on disk and everybody can see them. Refused where they cannot be
/// stored; then they are as they were.
#[derive(Debug, Message)]
#[rtype(result = "Result<(), StoreError>")]
pub(crate) struct ChangeSettings(pub(crate) Changes);

/// What becomes of a setting that may be absent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Change<T> {
    /// It stays.
    #[default]
    Keep,
    /// It gets this value, or none.
    To(Option<T>),
}

impl<T> Change<T> {
    /// Returns the value after the change of `present`.
    pub(crate) fn or(self, present: Option<T>) -> Option<T> {
        match self {
            Self::Keep => present,
            Self::To(value) => value,
        }
    }
}

/// What is to be changed of an account; what is left open stays.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Changes {
    /// A name for people.
    pub(crate) label: Change<String>,
    /// Which keys may use it.
    pub(crate) pool: Option<String>,
    /// Its tier.
    pub(crate) priority: Option<i32>,
    /// Its share inside the tier.
    pub(crate) weight: Option<u32>,
    /// Most requests in flight.
    pub(crate) max_concurrency: Option<u32>,
    /// Whether it serves.
    pub(crate) enabled: Option<bool>,
    /// The gateway; without it, the one that GitLab names.
    pub(crate) gateway_url: Change<GatewayUrl>,
}

/// Orders the actor to end; leases that are out stay good.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct Retire;

/// An account's state changed; answered once everybody can see it.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct SnapshotChanged(pub(crate) Arc<Snapshot>);

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::domain::secret::Secret;
    use crate::gitlab::direct_access::Minted;

    pub(crate) const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);

    pub(crate) fn grant(expires_at: Timestamp) -> Arc<Grant> {
        let minted = Minted {
            token: Secret::new("t".to_owned()),
            headers: Vec::new(),
            expires_at,
            root_namespace_id: None,
            reported_gateway: None,
            completion_model: None,
        };
        Arc::new(Grant::new(&minted, Generation::default(), GatewayUrl::cloud()).unwrap())
    }

    /// A healthy account called `name`, after `change`.
    pub(crate) fn snapshot(name: &str, change: impl FnOnce(&mut Snapshot)) -> Arc<Snapshot> {
        let user_id = name.bytes().fold(0, |sum, byte| sum * 256 + u64::from(byte));
        let mut snapshot = Snapshot {
            id: AccountId::of(&InstanceUrl::gitlab_com(), user_id),
            instance: InstanceUrl::gitlab_com(),
            group: CreditGroup::of(&InstanceUrl::gitlab_com(), None),
            pool: "default".into(),
            priority: 0,
            weight: 1,
            max_concurrency: 16,
            enabled: true,
            grant: Some(grant(NOW + Duration::from_hours(1))),
            renewable: true,
            unsaved: false,
            trouble: None,
            block: None,
            models: Arc::default(),
            hinted: false,
            current_model: ModelName::parse("claude-sonnet-4-6").unwrap(),
            gauge: Arc::default(),
            desk: None,
        };
        change(&mut snapshot);
        Arc::new(snapshot)
    }
}
