//! An account's mind: what to do when something happens.
//!
//! Pure: events and the time come in, the state changes, effects go out for the actor to run. When a grant is minted,
//! how long a fault blocks, and what may be used are decided here and nowhere else.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use rand::{Rng, RngExt};

use crate::account::api::Block;
use crate::domain::fault::{Fault, Hold, Reason, Scope};
use crate::domain::id::Generation;
use crate::domain::model::ModelName;
use crate::domain::time::Timestamp;
use crate::gitlab::gateway::Grant;

/// A grant is renewed between one and two of these before its end, so that accounts that were minted together do not
/// renew together. Source: grants live about an hour (`expires_at` of direct access).
const LEAD: Duration = Duration::from_mins(5);
/// Of a short grant, at most this share is given up to the lead.
const LEAD_SHARE: u32 = 4;
/// Mints per user within [`BUDGET_WINDOW`]: the stricter of GitLab's documented limits for direct access.
const BUDGET_MINTS: usize = 10;
const BUDGET_WINDOW: Duration = Duration::from_mins(5);
/// First wait after a fault of unknown length; doubles with each further one.
const BACKOFF_FIRST: Duration = Duration::from_secs(2);
const BACKOFF_MAX: Duration = Duration::from_mins(5);
/// How often it is looked whether a person has mended what only a person can mend.
const FIXED_YET: Duration = Duration::from_mins(15);
/// Two models out of credit mean that the account is.
const MODELS_MEAN_ACCOUNT: usize = 2;
/// Models are asked for anew this often, give or take a tenth.
const DISCOVERY_EVERY: Duration = Duration::from_hours(1);
/// Models that may be blocked one by one; beyond, the one that ends first is forgotten. Bounds memory.
const MODEL_BLOCKS_MAX: usize = 64;
/// A clock is corrected by moments all the time; only one that goes back by more than this was set anew.
const CLOCK_SLACK: Duration = Duration::from_secs(30);

/// What happened.
#[derive(Debug)]
pub(crate) enum Event {
    /// Time went on.
    Tick,
    /// Somebody needs a grant newer than this; `None`: a new one in any case.
    RenewalWanted(Option<Generation>),
    /// A mint gave a grant.
    Minted(Arc<Grant>),
    /// A mint failed.
    MintFailed(Fault),
    /// A request came to its end.
    Succeeded(ModelName),
    /// A request failed.
    Failed { generation: Generation, model: ModelName, fault: Fault },
    /// The models were listed, or could not be.
    Discovered,
}

/// What the actor is to do.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    /// Mint a grant; its end comes back as [`Event::Minted`] or [`Event::MintFailed`].
    Mint,
    /// List the models; the end comes back as [`Event::Discovered`].
    Discover,
    /// Tell everybody the new state.
    Publish,
    /// Tell the one who just asked for a renewal, and nobody else: others may wait for a newer one that is in flight.
    Reply(Result<Generation, Block>),
    /// Tell all who wait for a renewal that it is there, or why not.
    Answer(Result<Generation, Block>),
}

/// An account's changing part.
#[derive(Debug)]
pub(crate) struct State {
    grant: Option<Arc<Grant>>,
    /// Serial number of the last grant there was.
    serial: Generation,
    minting: bool,
    mint_at: Timestamp,
    mints: VecDeque<Timestamp>,
    trouble: Option<Block>,
    block: Option<Block>,
    models: Arc<BTreeMap<ModelName, Block>>,
    discovering: bool,
    discover_at: Timestamp,
    /// The latest time that was seen, by which a clock that was set back is noticed.
    seen_at: Timestamp,
}

impl State {
    /// Starts with the grant that was stored, if any; `serial` is that of the last grant there was, usable or not.
    pub(crate) fn new(serial: Generation, stored: Option<Arc<Grant>>, now: Timestamp, rng: &mut impl Rng) -> Self {
        let grant = stored.filter(|grant| grant.is_usable(now));
        let mint_at = grant.as_ref().map_or(now, |grant| renew_at(grant.expires_at, now, rng));
        Self {
            grant,
            serial,
            minting: false,
            mint_at,
            mints: VecDeque::new(),
            trouble: None,
            block: None,
            models: Arc::default(),
            discovering: false,
            discover_at: now,
            seen_at: now,
        }
    }

    /// Takes in what happened and returns what to do about it.
    pub(crate) fn step(&mut self, event: Event, now: Timestamp, rng: &mut impl Rng) -> Vec<Effect> {
        let mut effects = self.notice_clock(now);
        effects.extend(match event {
            Event::Tick => self.tick(now, rng),
            Event::RenewalWanted(than) => self.renewal_wanted(than, now),
            Event::Minted(grant) => self.minted(grant, now, rng),
            Event::MintFailed(fault) => self.mint_failed(&fault, now, rng),
            Event::Succeeded(model) => self.succeeded(&model),
            Event::Failed { generation, model, fault } => self.failed(generation, model, &fault, now, rng),
            Event::Discovered => {
                self.discovering = false;
                vec![Effect::Publish]
            }
        });
        effects
    }

    /// Returns the grant, whether or not it has ended.
    pub(crate) fn grant(&self) -> Option<&Arc<Grant>> {
        self.grant.as_ref()
    }

    /// Returns the serial number that the next grant gets.
    pub(crate) fn next_serial(&self) -> Generation {
        self.serial.next()
    }

    /// Returns why the last mint failed, until one succeeds.
    pub(crate) fn trouble(&self) -> Option<&Block> {
        self.trouble.as_ref()
    }

    /// Returns the block of the whole account, which may have ended.
    pub(crate) fn block(&self) -> Option<&Block> {
        self.block.as_ref()
    }

    /// Returns the blocks of single models, which may have ended.
    pub(crate) fn models(&self) -> &Arc<BTreeMap<ModelName, Block>> {
        &self.models
    }

    /// Returns whether a mint is in flight.
    pub(crate) fn is_minting(&self) -> bool {
        self.minting
    }

    /// Returns whether waiting for a renewal makes sense at `now`: one is in flight or would be tried.
    pub(crate) fn is_renewable(&self, now: Timestamp) -> bool {
        self.minting || self.refusal(now).is_none()
    }

    fn tick(&mut self, now: Timestamp, rng: &mut impl Rng) -> Vec<Effect> {
        let mut effects = Vec::new();
        if !self.minting && now >= self.mint_at && self.budget_end(now).is_none() {
            effects.extend(self.start_mint(now));
        }
        if !self.discovering && now >= self.discover_at && self.grant.is_some() {
            self.discovering = true;
            self.discover_at = now + DISCOVERY_EVERY.mul_f64(rng.random_range(0.9..1.1));
            effects.push(Effect::Discover);
        }
        effects
    }

    /// Looks whether the clock was set back. If so, every wait ends, since none can be trusted: a deadline of the old
    /// time may be hours away by the new one.
    fn notice_clock(&mut self, now: Timestamp) -> Vec<Effect> {
        if now + CLOCK_SLACK >= self.seen_at {
            self.seen_at = self.seen_at.max(now);
            return Vec::new();
        }
        // What was minted lately by the old time counts as minted just now, so that the budget is never exceeded.
        let seen_at = std::mem::replace(&mut self.seen_at, now);
        self.mints.retain(|at| *at + BUDGET_WINDOW > seen_at);
        self.mints.iter_mut().for_each(|at| *at = now);
        self.mint_at = now;
        self.discover_at = now;
        let waits = self.trouble.iter_mut().chain(self.block.iter_mut());
        waits.chain(Arc::make_mut(&mut self.models).values_mut()).for_each(|block| block.until = now);
        vec![Effect::Publish]
    }

    fn renewal_wanted(&mut self, than: Option<Generation>, now: Timestamp) -> Vec<Effect> {
        let fresh = self.grant.as_ref().filter(|grant| grant.is_usable(now));
        if let (Some(grant), Some(than)) = (fresh, than)
            && grant.generation > than
        {
            return vec![Effect::Reply(Ok(grant.generation))];
        }
        if self.minting {
            return Vec::new();
        }
        // An operator's refresh tries what a timer would not try yet; only GitLab's own limit stands above it.
        let refusal = if than.is_none() { self.over_budget(now) } else { self.refusal(now) };
        match refusal {
            Some(block) => vec![Effect::Reply(Err(block))],
            None => self.start_mint(now),
        }
    }

    fn start_mint(&mut self, now: Timestamp) -> Vec<Effect> {
        self.minting = true;
        self.count_mint(now);
        vec![Effect::Mint, Effect::Publish]
    }

    fn count_mint(&mut self, now: Timestamp) {
        self.mints.push_back(now);
        if self.mints.len() > BUDGET_MINTS {
            self.mints.pop_front();
        }
    }

    fn minted(&mut self, grant: Arc<Grant>, now: Timestamp, rng: &mut impl Rng) -> Vec<Effect> {
        if !self.minting {
            // A login minted it, within the same limit of GitLab's.
            self.count_mint(now);
        }
        self.serial = grant.generation;
        if !grant.is_usable(now) {
            // One of the two clocks is wrong. To mint at once again would only use up the budget, for ever.
            let (scope, reason) = (Scope::Instance, Reason::InstanceUnexpected);
            return self.mint_failed(&Fault { scope, reason, hold: Hold::Backoff, curable: true }, now, rng);
        }
        self.minting = false;
        self.mint_at = renew_at(grant.expires_at, now, rng);
        self.trouble = None;
        // A first refusal's block ends with the new grant. It is kept, so that a second refusal in a row is seen as one.
        let refused = self.block.as_mut().filter(|block| block.reason == Reason::GrantRefused && block.attempts == 1);
        if let Some(block) = refused {
            block.until = block.until.min(now);
        }
        let generation = grant.generation;
        self.grant = Some(grant);
        vec![Effect::Publish, Effect::Answer(Ok(generation))]
    }

    fn mint_failed(&mut self, fault: &Fault, now: Timestamp, rng: &mut impl Rng) -> Vec<Effect> {
        self.minting = false;
        let block = next_block(self.trouble.as_ref(), fault, now, rng);
        self.mint_at = block.until;
        self.trouble = Some(block.clone());
        vec![Effect::Publish, Effect::Answer(Err(block))]
    }

    fn succeeded(&mut self, model: &ModelName) -> Vec<Effect> {
        let was = (self.block.is_some(), self.models.contains_key(model));
        self.block = None;
        if was.1 {
            Arc::make_mut(&mut self.models).remove(model);
        }
        if was == (false, false) { Vec::new() } else { vec![Effect::Publish] }
    }

    fn failed(
        &mut self,
        generation: Generation,
        model: ModelName,
        fault: &Fault,
        now: Timestamp,
        rng: &mut impl Rng,
    ) -> Vec<Effect> {
        if self.grant.as_ref().is_some_and(|grant| generation < grant.generation) {
            return Vec::new();
        }
        match (fault.scope, fault.hold) {
            (_, Hold::UntilMinted) => self.grant_refused(generation, fault, now, rng),
            (Scope::Account, Hold::For(_) | Hold::Backoff | Hold::UntilFixed) => {
                publish_if(self.block_account(fault, now, rng))
            }
            (Scope::Model, Hold::For(_) | Hold::Backoff | Hold::UntilFixed) => {
                publish_if(self.block_model(model, fault, now, rng))
            }
            // Wider than an account, the request's own, or without a hold: says nothing about this account.
            (Scope::Request | Scope::Provider | Scope::Gateway | Scope::Instance, _)
            | (Scope::Account | Scope::Model, Hold::None) => Vec::new(),
        }
    }

    /// The gateway refused the grant: mint another one, once. If that one is refused as well, the account is blocked.
    fn grant_refused(
        &mut self,
        generation: Generation,
        fault: &Fault,
        now: Timestamp,
        rng: &mut impl Rng,
    ) -> Vec<Effect> {
        if self.grant.as_ref().is_none_or(|grant| grant.generation != generation) {
            return Vec::new();
        }
        let backoff = Fault { hold: Hold::Backoff, ..fault.clone() };
        self.block_account(&backoff, now, rng);
        self.grant = None;
        self.mint_at = now;
        let mut effects = self.tick(now, rng);
        effects.push(Effect::Publish);
        effects
    }

    /// Blocks the whole account, and returns whether that changed anything.
    fn block_account(&mut self, fault: &Fault, now: Timestamp, rng: &mut impl Rng) -> bool {
        let block = block_after(self.block.as_ref(), fault, now, rng);
        let changed = block.is_some();
        self.block = block.or(self.block.take());
        changed
    }

    /// Blocks one model, and the account with the second one out of credit; returns whether that changed anything.
    fn block_model(&mut self, model: ModelName, fault: &Fault, now: Timestamp, rng: &mut impl Rng) -> bool {
        let Some(block) = block_after(self.models.get(&model), fault, now, rng) else { return false };
        let models = Arc::make_mut(&mut self.models);
        models.insert(model, block);
        if models.len() > MODEL_BLOCKS_MAX {
            let first = models.iter().min_by_key(|(_, block)| block.until).map(|(name, _)| name.clone());
            first.map(|name| models.remove(&name));
        }
        let empty = models.values().filter(|block| block.reason == Reason::QuotaExhausted && block.holds(now));
        if fault.reason == Reason::QuotaExhausted && empty.count() >= MODELS_MEAN_ACCOUNT {
            self.block_account(fault, now, rng);
        }
        true
    }

    /// Returns what stands against minting at `now`, if it is a request that wants it.
    fn refusal(&self, now: Timestamp) -> Option<Block> {
        self.trouble.clone().filter(|block| block.holds(now)).or_else(|| self.over_budget(now))
    }

    fn over_budget(&self, now: Timestamp) -> Option<Block> {
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

/// Returns when a grant that ends at `end` is renewed.
fn renew_at(end: Timestamp, now: Timestamp, rng: &mut impl Rng) -> Timestamp {
    let lead = LEAD.mul_f64(rng.random_range(1.0..2.0));
    let share = (end.since(now) / LEAD_SHARE).mul_f64(rng.random_range(0.5..1.0));
    end - lead.min(share)
}

fn publish_if(changed: bool) -> Vec<Effect> {
    if changed { vec![Effect::Publish] } else { Vec::new() }
}

/// Returns the block that follows `previous` after a request failed; `None` if that one stays as it is.
///
/// Requests that were under way together fail together, which is one fault and not many in a row; and what ends sooner
/// does not cut short what ends later.
fn block_after(previous: Option<&Block>, fault: &Fault, now: Timestamp, rng: &mut impl Rng) -> Option<Block> {
    let running = previous.filter(|block| block.holds(now));
    if running.is_some_and(|block| block.reason == fault.reason) {
        return None;
    }
    let block = next_block(previous, fault, now, rng);
    running.is_none_or(|running| running.until < block.until).then_some(block)
}

/// Returns the block that `fault` opens, or lengthens.
fn next_block(previous: Option<&Block>, fault: &Fault, now: Timestamp, rng: &mut impl Rng) -> Block {
    let same = previous.filter(|block| block.reason == fault.reason);
    let attempts = same.map_or(1, |block| block.attempts.saturating_add(1));
    let hold = match fault.hold {
        Hold::For(time) => time.mul_f64(rng.random_range(1.0..1.1)),
        Hold::UntilFixed => FIXED_YET.mul_f64(rng.random_range(0.8..1.2)),
        Hold::Backoff | Hold::UntilMinted | Hold::None => backoff(attempts, rng),
    };
    Block { reason: fault.reason, since: same.map_or(now, |block| block.since), until: now + hold, attempts }
}

/// Capped exponential backoff with full jitter over its upper half, so that it is never nothing.
fn backoff(attempts: u32, rng: &mut impl Rng) -> Duration {
    let doubled = BACKOFF_FIRST.saturating_mul(1 << attempts.saturating_sub(1).min(10));
    doubled.min(BACKOFF_MAX).mul_f64(rng.random_range(0.5..1.0))
}

#[cfg(test)]
mod tests;
