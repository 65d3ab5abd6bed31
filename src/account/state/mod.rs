//! An account's mind: what to do when something happens.
//!
//! Pure: events and the time come in, the state changes, effects go out for the actor to run. When a grant is minted, when
//! the login is renewed, how long a fault blocks, and what may be used are decided here and nowhere else.
//!
//! **An account speaks to its GitLab with one voice.** It asks for a turn, gets one, and makes one call: the exchange of
//! its login, a mint, or a listing of models, in this order of need. So no exchange ever ends the token of a mint that is
//! under way, and no two mints meet. A listing holds nobody up: what is needed may begin beside it. What is called for is
//! decided when the turn comes, not when it is asked for: much may have happened meanwhile. Whose turn it is among all
//! accounts of an instance is decided by [`super::turns`].
//!
//! Every call and its end carry the generation of the login they were made with. The end of a call that was made with an
//! older one changes nothing: a login that replaced it has brought a grant of its own, and what was still wanted is asked
//! for anew.

mod calls;
mod credit;
mod kept;
mod requests;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use rand::{Rng, RngExt};

pub(crate) use self::kept::Memory;
use crate::account::api::Block;
use crate::account::blocks::next_block;
use crate::account::credentials::{Credentials, Ended, Terms};
use crate::account::turns::Urgency;
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
/// Models are asked for anew this often, give or take a tenth.
const DISCOVERY_EVERY: Duration = Duration::from_hours(1);
/// A clock is corrected by moments all the time; only one that goes back by more than this was set anew.
const CLOCK_SLACK: Duration = Duration::from_secs(30);
/// Something ticks every second; a longer silence was a sleep, or the clock was set ahead.
const LEAP: Duration = Duration::from_secs(90);

/// What happened.
#[derive(Debug)]
pub(crate) enum Event {
    /// Time went on.
    Tick,
    /// Somebody needs a grant newer than this; `None`: a new one in any case.
    RenewalWanted(Option<Generation>),
    /// A person wants the models listed.
    ListingWanted,
    /// A person wants to make a call with the login.
    AccessWanted,
    /// It is this account's turn to make a call.
    Turn,
    /// The instance is left alone for a while, so that there is no turn.
    NoTurn(Block),
    /// A mint gave a grant, with the login of this generation.
    Minted(Generation, Arc<Grant>),
    /// A mint failed.
    MintFailed(Generation, Fault),
    /// The next pair was handed out, and could not be stored so far.
    Unsaved(Generation, Block),
    /// The exchange of the pair of this generation ended.
    Exchanged(Generation, Ended),
    /// A person logged in anew, which minted a grant.
    LoggedIn(Terms, Arc<Grant>),
    /// A new login is stored, but its first mint failed.
    LoggedInWithoutGrant(Terms, Fault),
    /// A request came to its end.
    Succeeded(ModelName),
    /// A request failed.
    Failed { generation: Generation, model: ModelName, fault: Fault },
    /// The models were listed, or could not be.
    Discovered(Generation),
    /// The gateway was asked, under the grant of this generation, whether a model is out of credit still.
    CreditAsked(Generation, ModelName, Result<(), Fault>),
    /// A person sets another gateway.
    GatewayChanged,
    /// A person clears whatever keeps the account from serving.
    Reset,
}

/// What the actor is to do.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    /// Ask for a turn, or for an earlier one; it comes as [`Event::Turn`] or [`Event::NoTurn`].
    Ask(Urgency),
    /// Exchange the pair; the end comes back as [`Event::Exchanged`].
    Exchange,
    /// Mint a grant; its end comes back as [`Event::Minted`] or [`Event::MintFailed`].
    Mint,
    /// Ask the gateway about the credit for a model; the answer comes back as [`Event::CreditAsked`].
    AskCredit(ModelName),
    /// List the models; the end comes back as [`Event::Discovered`].
    Discover,
    /// Tell everybody the new state.
    Publish,
    /// Keep [`State::memory`] over a restart.
    Remember,
    /// Tell people that the login ends at this time.
    Warn(Timestamp),
    /// Tell the one who just asked for a renewal, and nobody else: others may wait for a newer one that is in flight.
    Reply(Result<Generation, Block>),
    /// Tell all who wait for a renewal that it is there, or why not.
    Answer(Result<Generation, Block>),
    /// Tell all who wait for a listing that it is over.
    Listed,
    /// Tell all who want to make a call whether they can.
    Access(Result<(), Block>),
}

/// What the account is saying to GitLab.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Voice {
    Silent,
    Queued(Urgency),
    Exchanging,
    Minting,
}

/// An account's changing part.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "independent wishes and facts")]
pub(crate) struct State {
    credentials: Credentials,
    grant: Option<Arc<Grant>>,
    /// Serial number of the last grant there was.
    serial: Generation,
    voice: Voice,
    listing: bool,
    mint_at: Timestamp,
    mints: VecDeque<Timestamp>,
    trouble: Option<Block>,
    block: Option<Block>,
    models: Arc<BTreeMap<ModelName, Block>>,
    discover_at: Timestamp,
    /// Nothing is asked for without need before this time.
    quiet_until: Timestamp,
    /// Somebody waits for a grant.
    grant_wanted: Option<Urgency>,
    listing_wanted: bool,
    access_wanted: bool,
    /// The block of a model that the gateway was last asked about before its end.
    credit_asked: Option<(ModelName, Timestamp)>,
    /// Something worth keeping changed in this step.
    unkept: bool,
    /// The latest time that was seen, by which a clock that was set is noticed.
    seen_at: Timestamp,
}

impl State {
    /// Starts with the login and the grant that were stored; `serial` is that of the last grant there was, usable or not.
    pub(crate) fn new(
        credentials: Credentials,
        (serial, stored): (Generation, Option<Arc<Grant>>),
        memory: Memory,
        now: Timestamp,
        rng: &mut impl Rng,
    ) -> Self {
        let grant = stored.filter(|grant| grant.is_usable(now));
        let mint_at = grant.as_ref().map_or(now, |grant| renew_at(grant.expires_at, now, rng));
        let memory = memory.restored(credentials.generation(), now);
        let mint_at = memory.trouble.as_ref().map_or(mint_at, |trouble| mint_at.max(trouble.until));
        Self {
            credentials: credentials.with_memory(memory.login, now),
            grant,
            serial,
            voice: Voice::Silent,
            listing: false,
            mint_at,
            mints: memory.mints,
            trouble: memory.trouble,
            block: memory.block,
            models: Arc::new(memory.models),
            discover_at: now,
            quiet_until: now,
            grant_wanted: None,
            listing_wanted: false,
            access_wanted: false,
            credit_asked: None,
            unkept: false,
            seen_at: now,
        }
    }

    /// Takes in what happened and returns what to do about it.
    pub(crate) fn step(&mut self, event: Event, now: Timestamp, rng: &mut impl Rng) -> Vec<Effect> {
        let mut effects = self.notice_clock(now);
        if self.credentials.lapse(now) {
            effects.push(Effect::Publish);
        }
        effects.extend(match event {
            Event::Tick => self.tick(now),
            Event::RenewalWanted(than) => self.renewal_wanted(than, now),
            Event::ListingWanted => {
                self.listing_wanted = true;
                self.pursue(now)
            }
            Event::AccessWanted => {
                self.access_wanted = true;
                self.pursue(now)
            }
            Event::Turn => self.turn(now, rng),
            Event::NoTurn(block) => self.no_turn(block, now),
            Event::Minted(by, grant) => self.ended(by, Voice::Minting, now, |state| state.minted(grant, now, rng)),
            Event::MintFailed(by, fault) => {
                self.ended(by, Voice::Minting, now, |state| state.mint_failed(&fault, now, rng))
            }
            Event::Unsaved(of, block) => self.unsaved(of, &block),
            Event::Exchanged(of, end) => self.ended(of, Voice::Exchanging, now, |state| state.exchanged(end, now, rng)),
            Event::LoggedIn(terms, grant) => self.logged_in(&terms, Ok(grant), now, rng),
            Event::LoggedInWithoutGrant(terms, fault) => self.logged_in(&terms, Err(fault), now, rng),
            Event::Succeeded(model) => self.succeeded(&model, now),
            Event::Failed { generation, model, fault } => self.failed(generation, model, &fault, now, rng),
            Event::Discovered(by) => self.discovered(by),
            Event::CreditAsked(under, model, answer) => self.credit_told(under, model, answer, now, rng),
            Event::GatewayChanged => self.gateway_changed(now),
            Event::Reset => self.reset(now),
        });
        if std::mem::take(&mut self.unkept) && !effects.contains(&Effect::Remember) {
            effects.push(Effect::Remember);
        }
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

    /// Returns the state of the login.
    pub(crate) fn credentials(&self) -> &Credentials {
        &self.credentials
    }

    /// Returns why there is no newer grant: what is wrong with the login, else why the last mint failed.
    pub(crate) fn trouble(&self) -> Option<&Block> {
        match (&self.trouble, self.credentials.trouble()) {
            // What passes by itself is the lesser trouble.
            (Some(mint), Some(login)) if mint.reason.needs_a_person() && !login.reason.needs_a_person() => Some(mint),
            (mint, login) => login.or(mint.as_ref()),
        }
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
        self.voice == Voice::Minting
    }

    /// Returns whether waiting for a renewal makes sense at `now`: one is in flight or would be tried.
    pub(crate) fn is_renewable(&self, now: Timestamp) -> bool {
        self.is_minting() || self.grant_wanted.is_some() || self.refusal(now).is_none()
    }

    fn tick(&mut self, now: Timestamp) -> Vec<Effect> {
        let mut effects: Vec<_> = self.credentials.warning(now).map(Effect::Warn).into_iter().collect();
        effects.extend(self.ask_credit(now));
        effects.extend(self.pursue(now));
        effects
    }

    /// Looks whether the clock was set back. If so, every wait ends, since none can be trusted: a deadline of the old
    /// time may be hours away by the new one.
    fn notice_clock(&mut self, now: Timestamp) -> Vec<Effect> {
        if now + CLOCK_SLACK >= self.seen_at {
            if now > self.seen_at + LEAP {
                self.credentials.time_leapt();
            }
            self.seen_at = self.seen_at.max(now);
            return Vec::new();
        }
        // What was minted lately by the old time counts as minted just now, so that the budget is never exceeded.
        let seen_at = std::mem::replace(&mut self.seen_at, now);
        self.mints.retain(|at| *at + BUDGET_WINDOW > seen_at);
        self.mints.iter_mut().for_each(|at| *at = now);
        self.mint_at = now;
        self.discover_at = now;
        self.quiet_until = now;
        self.credentials.clock_set_back(now);
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
        if self.is_minting() {
            return Vec::new();
        }
        let urgency = if than.is_none() {
            // An operator's refresh tries what a timer would not try yet; only GitLab's own limit stands above it.
            self.credentials.force(now);
            Urgency::Operator
        } else {
            Urgency::Waited
        };
        let refusal = if than.is_none() { self.closed(now).or(self.over_budget(now)) } else { self.refusal(now) };
        if let Some(block) = refusal {
            return vec![Effect::Reply(Err(block))];
        }
        self.grant_wanted = self.grant_wanted.max(Some(urgency));
        self.pursue(now)
    }

    /// Takes in the end of a call that was made with the login of generation `by`; then goes on to the next call, if
    /// somebody waits for it.
    fn ended(
        &mut self,
        by: Generation,
        call: Voice,
        now: Timestamp,
        then: impl FnOnce(&mut Self) -> Vec<Effect>,
    ) -> Vec<Effect> {
        if by != self.credentials.generation() || self.voice != call {
            return Vec::new();
        }
        self.voice = Voice::Silent;
        let mut effects = then(self);
        if self.grant_wanted.is_some() || self.listing_wanted || self.access_wanted {
            effects.extend(self.pursue(now));
        }
        effects
    }

    fn minted(&mut self, grant: Arc<Grant>, now: Timestamp, rng: &mut impl Rng) -> Vec<Effect> {
        self.serial = grant.generation;
        if !grant.is_usable(now) {
            // One of the two clocks is wrong. To mint at once again would only use up the budget, for ever.
            let (scope, reason) = (Scope::Instance, Reason::InstanceUnexpected);
            return self.no_grant(&Fault { scope, reason, hold: Hold::Backoff, curable: true }, now, rng);
        }
        self.mint_at = renew_at(grant.expires_at, now, rng);
        if let Some(trouble) = self.trouble.take() {
            self.gone(&trouble, now);
        }
        // A first refusal's block ends with the new grant. It is kept, so that a second refusal in a row is seen as one.
        let refused = self.block.as_mut().filter(|block| block.reason == Reason::GrantRefused && block.attempts == 1);
        if let Some(block) = refused {
            block.until = block.until.min(now);
        }
        let generation = grant.generation;
        self.grant = Some(grant);
        self.grant_wanted = None;
        vec![Effect::Publish, Effect::Answer(Ok(generation))]
    }

    fn mint_failed(&mut self, fault: &Fault, now: Timestamp, rng: &mut impl Rng) -> Vec<Effect> {
        let is_401 = matches!(fault.reason, Reason::TokenInvalid | Reason::TokenExpired | Reason::TokenRevoked);
        if !is_401 || !self.credentials.is_pair() {
            return self.no_grant(fault, now, rng);
        }
        if self.credentials.refused(now) {
            // Who waits goes on waiting: the exchange comes next, and a mint after it.
            self.grant_wanted = self.grant_wanted.or(Some(Urgency::Timer));
            return vec![Effect::Publish];
        }
        let later = Fault { reason: Reason::TokenTooNew, hold: Hold::Backoff, ..fault.clone() };
        self.no_grant(&later, now, rng)
    }

    fn no_grant(&mut self, fault: &Fault, now: Timestamp, rng: &mut impl Rng) -> Vec<Effect> {
        let block = next_block(self.trouble.as_ref(), fault, now, rng);
        self.mint_at = block.until;
        self.come(&block, now);
        self.trouble = Some(block.clone());
        self.grant_wanted = None;
        vec![Effect::Publish, Effect::Answer(Err(block))]
    }

    fn unsaved(&mut self, of: Generation, block: &Block) -> Vec<Effect> {
        if of != self.credentials.generation() || self.voice != Voice::Exchanging {
            return Vec::new();
        }
        self.credentials.unsaved(block.clone());
        // That may last: nobody waits for a disk.
        let mut effects = vec![Effect::Publish];
        effects.extend(self.give_up(block));
        effects
    }

    fn exchanged(&mut self, end: Ended, now: Timestamp, rng: &mut impl Rng) -> Vec<Effect> {
        let is_new = matches!(end, Ended::Stored(_));
        self.credentials.ended(end, now, rng);
        if is_new && self.trouble.as_ref().is_some_and(|block| block.reason == Reason::TokenTooNew) {
            self.trouble = None;
        }
        vec![Effect::Publish, Effect::Remember]
    }

    fn logged_in(
        &mut self,
        terms: &Terms,
        grant: Result<Arc<Grant>, Fault>,
        now: Timestamp,
        rng: &mut impl Rng,
    ) -> Vec<Effect> {
        self.credentials = Credentials::new(terms, false, now, rng);
        // Whatever was being said was said with the old login; its end will change nothing.
        (self.voice, self.listing) = (Voice::Silent, false);
        self.quiet_until = now;
        self.discover_at = now;
        // The login minted it, within the same limit of GitLab's.
        self.count_mint(now);
        let mut effects = match grant {
            Ok(grant) => self.minted(grant, now, rng),
            Err(fault) => self.mint_failed(&fault, now, rng),
        };
        effects.push(Effect::Remember);
        effects.extend(self.pursue(now));
        effects
    }
}

/// Returns when a grant that ends at `end` is renewed.
fn renew_at(end: Timestamp, now: Timestamp, rng: &mut impl Rng) -> Timestamp {
    let lead = LEAD.mul_f64(rng.random_range(1.0..2.0));
    let share = (end.since(now) / LEAD_SHARE).mul_f64(rng.random_range(0.5..1.0));
    end - lead.min(share)
}

#[cfg(test)]
mod tests;
