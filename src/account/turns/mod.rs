//! Whose turn it is to make a call to a GitLab, among all accounts there.
//!
//! Pure; one per instance, kept by [`super::broker`]. A thousand accounts may want a mint in the same moment, as they do
//! after a start, and GitLab must not notice: so many calls at a time, so many a second, the most urgent first. Part of
//! both is kept for calls that somebody waits for.
//!
//! It is also here that a fault of the instance itself is believed: on the word of two accounts, or of three calls in a
//! row. Then the instance is left alone for a while, and one call after that tells whether it is well. A person's own
//! call goes through nevertheless. None of this touches a grant that is still good.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use rand::Rng;

use crate::account::api::Block;
use crate::account::blocks::block_after;
use crate::domain::fault::{Fault, Scope};
use crate::domain::id::AccountId;
use crate::domain::time::Timestamp;

/// Calls to one instance at a time, of any urgency.
const OUT_MAX: usize = 8;
/// Of these, calls that nobody waits for.
const OUT_UNURGED_MAX: usize = 4;
/// Calls that may follow each other at once, before the rate of [`Turns::refill`] limits them.
const BURST: u32 = 10;
/// What is left of it for calls that somebody waits for.
const BURST_URGED: u32 = 5;
/// Faults of the instance in a row that are believed even if one account alone met them.
const FAULTS_IN_A_ROW: u32 = 3;

/// A clock is corrected by moments all the time.
const CLOCK_SLACK: Duration = Duration::from_secs(30);

/// How much a call is needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Urgency {
    /// Nice to know.
    Listing,
    /// Due some minutes before it is needed.
    Timer,
    /// A request waits.
    Waited,
    /// A person wants it now.
    Operator,
}

/// How a call ended, for the instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// GitLab answered as GitLab does, be it a refusal.
    Answered,
    /// GitLab itself was at fault.
    Failed(Fault),
    /// No call was made, or nobody knows.
    Nothing,
}

impl Verdict {
    /// Returns what a fault says about the instance.
    pub(crate) fn of(fault: &Fault) -> Self {
        // Who has no network reaches no instance either.
        if matches!(fault.scope, Scope::Instance | Scope::Host) { Self::Failed(fault.clone()) } else { Self::Answered }
    }
}

/// The queue before one instance.
#[derive(Debug)]
pub(crate) struct Turns {
    /// Who waits, in the order of their turns.
    queue: BTreeSet<(Reverse<Urgency>, u64, AccountId)>,
    places: BTreeMap<AccountId, (Urgency, u64)>,
    last_place: u64,
    out: usize,
    burst: u32,
    faults: u32,
    /// The account that met the last fault of the instance.
    faulted: Option<AccountId>,
    pause: Option<Block>,
}

impl Default for Turns {
    fn default() -> Self {
        Self {
            queue: BTreeSet::new(),
            places: BTreeMap::new(),
            last_place: 0,
            out: 0,
            burst: BURST,
            faults: 0,
            faulted: None,
            pause: None,
        }
    }
}

impl Turns {
    /// Starts with a pause that was kept over a restart.
    pub(crate) fn paused_by(pause: Block) -> Self {
        Self { pause: Some(pause), ..Self::default() }
    }

    /// Ends the pause, on a person's word.
    pub(crate) fn forgive(&mut self) {
        (self.faults, self.faulted, self.pause) = (0, None, None);
    }

    /// Takes a wish for a turn, or makes an earlier one more urgent; refused while the instance is left alone.
    pub(crate) fn ask(&mut self, account: AccountId, urgency: Urgency, now: Timestamp) -> Result<(), Block> {
        if let Some(pause) = self.paused(now).filter(|_| urgency < Urgency::Operator) {
            return Err(pause.clone());
        }
        let place = match self.places.get(&account) {
            Some((had, _)) if *had >= urgency => return Ok(()),
            Some((had, place)) => {
                let (had, place) = (*had, *place);
                self.queue.remove(&(Reverse(had), place, account.clone()));
                place
            }
            None => {
                self.last_place += 1;
                self.last_place
            }
        };
        self.places.insert(account.clone(), (urgency, place));
        self.queue.insert((Reverse(urgency), place, account));
        Ok(())
    }

    /// Returns whose turn it is now, if it is anybody's. Each turn is given back by [`Turns::ended`].
    pub(crate) fn next(&mut self, now: Timestamp) -> Option<AccountId> {
        let (Reverse(urgency), ..) = self.queue.first()?;
        let (out_max, burst_min) = match urgency {
            Urgency::Listing | Urgency::Timer => (OUT_UNURGED_MAX, BURST_URGED),
            Urgency::Waited | Urgency::Operator => (OUT_MAX, 0),
        };
        // After a pause one call has to tell that the instance is well again.
        let probing = self.pause.is_some() && self.out > 0;
        let held_back = *urgency < Urgency::Operator && (probing || self.paused(now).is_some());
        if held_back || self.out >= out_max || self.burst <= burst_min {
            return None;
        }
        let (_, _, account) = self.queue.pop_first()?;
        self.places.remove(&account);
        self.out += 1;
        self.burst -= 1;
        Some(account)
    }

    /// Takes a turn back; returns who need not wait any longer, because the instance is left alone from now on.
    pub(crate) fn ended(
        &mut self,
        account: &AccountId,
        verdict: &Verdict,
        now: Timestamp,
        rng: &mut impl Rng,
    ) -> Vec<(AccountId, Block)> {
        self.out = self.out.saturating_sub(1);
        match verdict {
            Verdict::Nothing => Vec::new(),
            Verdict::Answered => {
                (self.faults, self.faulted, self.pause) = (0, None, None);
                Vec::new()
            }
            Verdict::Failed(fault) => self.failed(account, fault, now, rng),
        }
    }

    fn failed(
        &mut self,
        account: &AccountId,
        fault: &Fault,
        now: Timestamp,
        rng: &mut impl Rng,
    ) -> Vec<(AccountId, Block)> {
        let other = self.faulted.replace(account.clone()).is_some_and(|before| before != *account);
        self.faults = self.faults.saturating_add(1);
        if !other && self.faults < FAULTS_IN_A_ROW && self.pause.is_none() {
            return Vec::new();
        }
        let Some(block) = block_after(self.pause.as_ref(), fault, now, rng) else { return Vec::new() };
        self.pause = Some(block.clone());
        let stay = |(Reverse(urgency), ..): &(Reverse<Urgency>, u64, AccountId)| *urgency == Urgency::Operator;
        let (stay, leave): (BTreeSet<_>, BTreeSet<_>) = std::mem::take(&mut self.queue).into_iter().partition(stay);
        self.queue = stay;
        leave
            .into_iter()
            .map(|(_, _, account)| {
                self.places.remove(&account);
                (account, block.clone())
            })
            .collect()
    }

    /// Lets one more call follow; to be called at the rate that the instance is to bear.
    pub(crate) fn refill(&mut self) {
        self.burst = (self.burst + 1).min(BURST);
    }

    /// Returns whether it is as it was at the beginning, so that it may be forgotten.
    pub(crate) fn is_idle(&self) -> bool {
        self.queue.is_empty() && self.out == 0 && self.burst == BURST && self.faults == 0 && self.pause.is_none()
    }

    /// Returns whether somebody waits, or the burst is not whole.
    pub(crate) fn wants_refill(&self) -> bool {
        !self.queue.is_empty() || self.burst < BURST
    }

    /// Returns why the instance is, or was until a moment ago, left alone.
    pub(crate) fn pause(&self) -> Option<&Block> {
        self.pause.as_ref()
    }

    fn paused(&self, now: Timestamp) -> Option<&Block> {
        // A pause that begins in the future was begun before the clock was set back.
        self.pause.as_ref().filter(|pause| pause.holds(now) && pause.since <= now + CLOCK_SLACK)
    }
}

#[cfg(test)]
mod tests;
