//! Which call the account makes next, and what it tells those who wait when there is none.

use rand::{Rng, RngExt};

use super::{BUDGET_MINTS, BUDGET_WINDOW, DISCOVERY_EVERY, Effect, State, Voice};
use crate::account::api::Block;
use crate::account::credentials::Access;
use crate::account::turns::Urgency;
use crate::domain::fault::Reason;
use crate::domain::id::Generation;
use crate::domain::time::Timestamp;

/// A call that can be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Call {
    Exchange,
    Mint,
    Listing,
}

impl State {
    /// Returns the call to make next, and how urgent it is.
    fn next(&self, now: Timestamp) -> Option<(Call, Urgency)> {
        let within_budget = self.budget_end(now).is_none();
        let due = (now >= self.mint_at).then_some(Urgency::Timer);
        let mint = self.grant_wanted.or(due).filter(|_| within_budget);
        let asked = (self.access_wanted || self.listing_wanted).then_some(Urgency::Operator);
        // One that can wait does not end the token of a listing.
        let exchange = (self.credentials.is_due(now) && !self.listing).then_some(Urgency::Timer);
        let listing = (now >= self.discover_at && self.grant.is_some()).then_some(Urgency::Listing);
        let call = match self.credentials.access(now) {
            Access::Busy | Access::Closed(_) => None,
            Access::Renew => mint.max(asked).or(exchange).map(|urgency| (Call::Exchange, urgency)),
            Access::Ready if self.credentials.in_doubt() && exchange.is_some() => {
                Some((Call::Exchange, mint.unwrap_or(Urgency::Timer)))
            }
            Access::Ready => {
                let listing = asked.filter(|_| self.listing_wanted).or(listing).filter(|_| !self.listing);
                let mint = mint.map(|urgency| (Call::Mint, urgency));
                let exchange = exchange.map(|urgency| (Call::Exchange, urgency));
                mint.or(exchange).or(listing.map(|urgency| (Call::Listing, urgency)))
            }
        };
        call.filter(|(_, urgency)| *urgency > Urgency::Timer || now >= self.quiet_until)
    }

    /// Asks for a turn if there is a call to make, and tells those who wait for one that will not be made.
    pub(super) fn pursue(&mut self, now: Timestamp) -> Vec<Effect> {
        let mut effects = Vec::new();
        if self.access_wanted && self.credentials.access(now) == Access::Ready {
            self.access_wanted = false;
            effects.push(Effect::Access(Ok(())));
        }
        if !matches!(self.voice, Voice::Silent | Voice::Queued(_)) {
            return effects;
        }
        match self.next(now) {
            Some((_, urgency)) if self.voice < Voice::Queued(urgency) => {
                self.voice = Voice::Queued(urgency);
                effects.push(Effect::Ask(urgency));
            }
            Some(_) => {}
            None => {
                if self.listing && self.grant_wanted.is_none() && !self.access_wanted {
                    return effects;
                }
                let refusal = self.refusal(now).unwrap_or_else(|| unknown(now));
                effects.extend(self.give_up(&refusal));
            }
        }
        effects
    }

    /// Tells all who wait that there is nothing to wait for.
    pub(super) fn give_up(&mut self, why: &Block) -> Vec<Effect> {
        let mut effects = Vec::new();
        if self.grant_wanted.take().is_some() {
            effects.extend([Effect::Publish, Effect::Answer(Err(why.clone()))]);
        }
        if std::mem::take(&mut self.listing_wanted) {
            effects.push(Effect::Listed);
        }
        if std::mem::take(&mut self.access_wanted) {
            effects.push(Effect::Access(Err(why.clone())));
        }
        effects
    }

    pub(super) fn turn(&mut self, now: Timestamp, rng: &mut impl Rng) -> Vec<Effect> {
        if !matches!(self.voice, Voice::Silent | Voice::Queued(_)) {
            return Vec::new();
        }
        self.voice = Voice::Silent;
        match self.next(now) {
            Some((Call::Exchange, _)) => {
                self.voice = Voice::Exchanging;
                self.credentials.begin();
                vec![Effect::Exchange, Effect::Publish]
            }
            Some((Call::Mint, _)) => {
                self.voice = Voice::Minting;
                self.count_mint(now);
                vec![Effect::Mint, Effect::Publish, Effect::Remember]
            }
            Some((Call::Listing, _)) => {
                self.listing = true;
                self.discover_at = now + DISCOVERY_EVERY.mul_f64(rng.random_range(0.9..1.1));
                vec![Effect::Discover]
            }
            None => self.pursue(now),
        }
    }

    pub(super) fn discovered(&mut self, by: Generation) -> Vec<Effect> {
        if by != self.credentials.generation() {
            return Vec::new();
        }
        (self.listing, self.listing_wanted) = (false, false);
        vec![Effect::Publish, Effect::Listed]
    }

    /// The instance is left alone: nobody need wait for it, and nothing is asked for without need until then.
    pub(super) fn no_turn(&mut self, block: Block, now: Timestamp) -> Vec<Effect> {
        if !matches!(self.voice, Voice::Queued(_)) {
            return Vec::new();
        }
        self.voice = Voice::Silent;
        self.quiet_until = block.until;
        let mut effects = self.give_up(&block);
        if self.trouble.as_ref().is_none_or(|trouble| !trouble.holds(now)) {
            self.trouble = Some(block);
            effects.insert(0, Effect::Publish);
        }
        effects
    }

    pub(super) fn count_mint(&mut self, now: Timestamp) {
        self.mints.push_back(now);
        if self.mints.len() > BUDGET_MINTS {
            self.mints.pop_front();
        }
    }

    /// Returns what stands against minting at `now`, if it is a request that wants it.
    pub(super) fn refusal(&self, now: Timestamp) -> Option<Block> {
        let trouble = self.trouble.clone().filter(|block| block.holds(now));
        self.closed(now).or(trouble).or_else(|| self.over_budget(now))
    }

    /// Returns why the login cannot be used, if it cannot.
    pub(super) fn closed(&self, now: Timestamp) -> Option<Block> {
        match self.credentials.access(now) {
            Access::Closed(block) => Some(block),
            // While a pair waits to be stored, nothing comes of an exchange.
            Access::Busy => self.credentials.trouble().filter(|block| block.reason == Reason::StoreFailed).cloned(),
            Access::Ready | Access::Renew => None,
        }
    }

    pub(super) fn over_budget(&self, now: Timestamp) -> Option<Block> {
        let until = self.budget_end(now)?;
        Some(Block { reason: Reason::InstanceThrottled, since: now, until, attempts: 1 })
    }

    /// Returns when a mint is within the budget again, if it is not now.
    fn budget_end(&self, now: Timestamp) -> Option<Timestamp> {
        let oldest = self.mints.front().filter(|_| self.mints.len() >= BUDGET_MINTS)?;
        let until = *oldest + BUDGET_WINDOW;
        (now < until).then_some(until)
    }
}

/// What is said where nothing is known to stand in the way, and yet there is nothing to wait for.
pub(super) fn unknown(now: Timestamp) -> Block {
    Block { reason: Reason::GrantMissing, since: now, until: now, attempts: 1 }
}
