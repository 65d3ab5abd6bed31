//! Why nobody serves: what stood in the way of the accounts that were passed over.

use std::sync::Arc;
use std::time::Duration;

use crate::account::api::{Block, Snapshot};
use crate::domain::fault::Reason;
use crate::domain::model::ModelName;
use crate::domain::time::Timestamp;
use crate::router::api::{Acquire, NoAccount, Renewable};
use crate::trace::Sheet;

/// Accounts that are asked for a new grant when nobody has one; the first that gets one serves.
const RENEWABLE_MAX: usize = 4;
/// A block that accounts share and that ends within this is waited for: nobody notices, and nobody has to repeat the
/// request. What lasts longer is told at once, so that the client can go elsewhere.
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// What was met on the way through the table.
#[derive(Default)]
pub(super) struct Obstacles<'a> {
    /// What was found about each account.
    pub(super) sheet: Sheet,
    pub(super) in_pool: bool,
    pub(super) other_dialect: Option<ModelName>,
    pub(super) tried: bool,
    pub(super) busy: bool,
    blocked: Option<(Timestamp, Reason)>,
    /// What ends soon of the blocks that accounts share.
    paused: Option<(Timestamp, Reason)>,
    renewable: Vec<&'a Arc<Snapshot>>,
}

impl<'a> Obstacles<'a> {
    /// Meets nothing yet, and notes what it finds in `sheet`.
    pub(super) fn noted_in(sheet: Sheet) -> Self {
        Self { sheet, ..Self::default() }
    }

    pub(super) fn blocked(&mut self, until: Timestamp, reason: Reason) {
        self.blocked = Some(sooner(self.blocked, (until, reason)));
    }

    /// Notes that `block`, shared with others, is all that stands against an account.
    pub(super) fn shut(&mut self, block: &Block, now: Timestamp) {
        self.blocked(block.until, block.reason);
        if block.until.since(now) <= PAUSE_MAX {
            self.paused = Some(sooner(self.paused, (block.until, block.reason)));
        }
    }

    /// Returns why there is none, and when it is tried again.
    pub(super) fn without_grant(&mut self, account: &'a Arc<Snapshot>, now: Timestamp) -> (Reason, Timestamp) {
        // What the account published about itself is true until its next trial is due: then a request may bring it about.
        let is_due = account.trouble.as_ref().is_some_and(|trouble| !trouble.holds(now));
        if (account.renewable || is_due) && self.renewable.len() < RENEWABLE_MAX {
            self.renewable.push(account);
        }
        let trouble = account.trouble.as_ref().map(|trouble| (trouble.reason, trouble.until));
        let (reason, until) = trouble.unwrap_or((Reason::GrantMissing, now));
        self.blocked(until, reason);
        (reason, until)
    }

    pub(super) fn answer(self, ask: &Acquire, now: Timestamp) -> NoAccount {
        // A new grant is better than a place in the queue, unless it was waited for in vain.
        let hopes_for_grant = !self.renewable.is_empty() && !ask.renewed_in_vain;
        if let Some((until, reason)) = self.paused.filter(|_| !self.busy && !hopes_for_grant) {
            return NoAccount::Paused { reason, until };
        }
        if let Some((until, reason)) = self.blocked.filter(|_| !self.busy || hopes_for_grant) {
            let renewable = self.renewable.iter().filter_map(|account| {
                let than = account.grant.as_ref().map(|grant| grant.generation).unwrap_or_default();
                let desk = account.desk.clone()?;
                Some(Renewable { account: account.id.clone(), than, desk })
            });
            let (until, renewable, busy) = (until.max(now), renewable.collect(), self.busy);
            return NoAccount::Blocked { reason, until, renewable, busy };
        }
        match (self.in_pool, self.busy, self.tried, self.other_dialect) {
            (false, ..) => NoAccount::Empty,
            (true, true, ..) => NoAccount::Busy,
            (true, false, true, _) => NoAccount::Exhausted,
            (true, false, false, Some(model)) => NoAccount::OtherDialect { model },
            (true, false, false, None) => NoAccount::NoModel,
        }
    }
}

/// Returns the earlier of two ends; at the same time, the one that is worth retrying soonest (429, then 503, then 402).
pub(crate) fn sooner(one: Option<(Timestamp, Reason)>, other: (Timestamp, Reason)) -> (Timestamp, Reason) {
    let rank = |reason: Reason| match reason {
        Reason::ProviderThrottled | Reason::InstanceThrottled => 0,
        Reason::QuotaExhausted => 2,
        _ => 1,
    };
    let key = |(until, reason): (Timestamp, Reason)| (until, rank(reason));
    one.filter(|one| key(*one) <= key(other)).unwrap_or(other)
}
