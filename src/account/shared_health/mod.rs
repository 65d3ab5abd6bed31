//! The health that accounts share: providers, gateways, root namespaces, GitLab instances, this machine, and hints about
//! credits.
//!
//! Pure: events and the time come in, the state changes, effects go out. Owned by the registry, which publishes it inside
//! the table; read by everybody through that.
//!
//! **A fault is believed as far as it proves something.** That a provider is limited or overloaded, the provider says
//! itself: it is believed at once, and for half a minute at most. That a namespace is shut out, the gateway says of that
//! very namespace. But that a whole gateway or this machine is down, one request cannot know: it takes the word of two
//! accounts, or three faults in a row, with no success between and within a minute. So a pool of a single account goes on
//! through a blip: its first two faults cost their own requests and nothing else. Only the third closes the gateway for a
//! second or two, which spares clients that repeat themselves a wait for one connection after the other.
//! A GitLab instance is judged where calls to it are made, in [`super::turns`], by the same rule; here it is only shown
//! and kept.
//!
//! **A result says nothing about what changed after its request was chosen.** Whatever happens gets a number, in the moment
//! in which it happens, and every request carries the last one there was when it was chosen. A success clears what came
//! before its request, and no later fault; a fault of a request that was chosen before something opened or closed neither
//! opens nor lengthens it. So a second attempt that succeeds right after a first one failed is proof that the fault has
//! passed, or was chance; an answer that was long under way is none.
//!
//! **Whoever answers is there.** A gateway that refuses an account's credit works, and so does the way to it.
//!
//! **A hint is no block.** When an account runs out of credits, those that may draw on the same are chosen last, until
//! one of them succeeds or all of them were refused.

mod kept;
mod refused;
mod shared;
mod trial;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use rand::Rng;

pub(crate) use self::refused::Refused;
use self::shared::{Counter, Opened};
pub(crate) use self::shared::{CreditGroup, Epoch, Passage, Shared, Site};
use self::trial::Trial;
pub(crate) use self::trial::Trying;
use crate::account::api::{Block, Snapshot};
use crate::account::blocks::{LONGEST_HOLD, QUOTA_CACHE_MAX, next_block};
use crate::domain::endpoint::{GatewayUrl, InstanceUrl};
use crate::domain::fault::{Fault, Hold, Reason, Scope};
use crate::domain::id::AccountId;
use crate::domain::model::ModelName;
use crate::domain::time::Timestamp;

/// Longest block of a provider: its limit is shared by all of GitLab, and is over in seconds more often than not.
const PROVIDER_MAX: Duration = Duration::from_secs(30);
/// Longest block of a gateway or of this machine: while it runs, nobody is served there.
const GATEWAY_MAX: Duration = Duration::from_mins(1);
/// Faults in a row that are believed even if one account alone met them.
const FAULTS_IN_A_ROW: u32 = 3;
/// Faults further apart than this are no row.
const FAULTS_WITHIN: Duration = Duration::from_mins(1);
/// An ended block that nobody tried out is forgotten after this, and with it how often it was repeated.
const FORGOTTEN_AFTER: Duration = Duration::from_mins(10);
/// So long it is known that something closed: no request that was chosen before lasts longer.
const CLOSED_KEPT: Duration = Duration::from_mins(15);
/// Sites of which something is known at a time; the one that was quiet longest makes room. Bounds memory.
const SITES_MAX: usize = 1_024;
/// Credit groups of which something is known at a time; as above.
const GROUPS_MAX: usize = 1_024;
/// What ends sooner is not worth a write to disk: a restart takes about as long.
const WORTH_KEEPING: Duration = Duration::from_secs(10);
/// A clock is corrected by moments all the time.
const CLOCK_SLACK: Duration = Duration::from_secs(30);

/// What a request went through: all that other accounts may share with it.
#[derive(Clone, Debug)]
pub(crate) struct Way {
    /// Whose request it was.
    pub(crate) account: AccountId,
    /// The account's credit group.
    pub(crate) group: CreditGroup,
    /// The gateway.
    pub(crate) gateway: GatewayUrl,
    /// The model.
    pub(crate) model: ModelName,
    /// What had happened when it was chosen.
    pub(crate) epoch: Epoch,
}

/// What happened.
#[derive(Clone, Debug)]
pub(crate) enum Event {
    /// Time went on.
    Tick,
    /// A request was answered.
    Succeeded(Way),
    /// A request failed.
    Failed(Way, Fault),
    /// Calls to an instance are held back, or no longer.
    Paused(InstanceUrl, Option<Block>),
    /// A person clears all that keeps an account from serving.
    Reset {
        /// Its gateway, if it has one.
        gateway: Option<GatewayUrl>,
        /// Its credit group.
        group: CreditGroup,
        /// Its instance.
        instance: InstanceUrl,
    },
}

/// What the owner is to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    /// Tell everybody the new state.
    Publish,
    /// Keep [`SharedHealth::memory`] over a restart.
    Remember,
    /// Tell people that this is blocked now.
    Opened(Site, Block),
    /// Tell people that this is blocked no more.
    Closed(Site),
}

/// What is known of one site.
#[derive(Debug, Default)]
struct Breaker {
    /// Faults in a row that are no block yet.
    faults: u32,
    /// Who met the last of them.
    faulted: Option<AccountId>,
    /// Whether more than one account did.
    witnessed: bool,
    block: Option<Block>,
    /// When something was last learnt.
    news_at: Timestamp,
    /// When the last fault came: a success of a request that was chosen before says nothing about it.
    fault_in: Epoch,
    /// When it last opened or closed: a fault of a request that was chosen before says nothing about that.
    turned_in: Epoch,
    trial: Arc<Trial>,
}

/// Who met a fault, what had happened when the request was chosen, and the number of the fault itself.
struct Met {
    account: AccountId,
    chosen_in: Epoch,
    at: Epoch,
}

/// That an account of a group ran out of credits.
#[derive(Clone, Debug, Default)]
struct Hint {
    /// Who ran out; nobody: the hint was cleared.
    refused: BTreeSet<AccountId>,
    until: Timestamp,
    turned_in: Epoch,
}

/// The health that accounts share.
#[derive(Debug, Default)]
pub(crate) struct SharedHealth {
    counter: Arc<Counter>,
    /// The last number of what was taken in.
    taken_in: Epoch,
    sites: BTreeMap<Site, Breaker>,
    hints: BTreeMap<CreditGroup, Hint>,
    pauses: BTreeMap<InstanceUrl, Block>,
}

impl SharedHealth {
    /// Returns which instances are left alone.
    pub(crate) fn pauses(&self) -> &BTreeMap<InstanceUrl, Block> {
        &self.pauses
    }

    /// Takes in what happens in this moment and returns what to do about it.
    pub(crate) fn step(&mut self, event: Event, now: Timestamp, rng: &mut impl Rng) -> Vec<Effect> {
        let at = if matches!(event, Event::Failed(..)) { self.counter.next() } else { self.taken_in };
        self.step_at(at, event, now, rng)
    }

    /// Takes in what happened as number `at` and returns what to do about it.
    pub(crate) fn step_at(&mut self, at: Epoch, event: Event, now: Timestamp, rng: &mut impl Rng) -> Vec<Effect> {
        self.taken_in = self.taken_in.max(at);
        let mut effects = self.tidy(now);
        if matches!(event, Event::Failed(..)) {
            // Also where it changes nothing: until a fault is seen to be taken in, every success is told.
            effects.push(Effect::Publish);
        }
        match event {
            Event::Tick => {}
            Event::Succeeded(way) => {
                let Way { group, gateway, model, epoch, .. } = way;
                self.clear_hint(&group, Some(epoch), now, &mut effects);
                let sites = [
                    Site::Provider(gateway.clone(), model),
                    Site::Gateway(gateway),
                    Site::Host,
                    Site::Namespace(group),
                ];
                for site in &sites {
                    self.close(site, Some(epoch), now, &mut effects);
                }
            }
            Event::Failed(way, fault) => self.failed(way, &fault, at, now, rng, &mut effects),
            Event::Paused(instance, pause) => self.paused(instance, pause, now, &mut effects),
            Event::Reset { gateway, group, instance } => {
                self.clear_hint(&group, None, now, &mut effects);
                let keeps = |site: &Site| match site {
                    Site::Host => true,
                    Site::Gateway(of) | Site::Provider(of, _) => Some(of) == gateway.as_ref(),
                    Site::Namespace(of) => *of == group,
                    Site::Instance(_) => false,
                };
                let sites: Vec<_> = self.sites.keys().filter(|site| keeps(site)).cloned().collect();
                for site in &sites {
                    self.close(site, None, now, &mut effects);
                }
                self.paused(instance, None, now, &mut effects);
            }
        }
        // Whatever changed at once is told once.
        effects.sort_by_key(|effect| match effect {
            Effect::Opened(..) | Effect::Closed(_) => 0,
            Effect::Publish => 1,
            Effect::Remember => 2,
        });
        effects.dedup();
        effects
    }

    /// Returns the present state, to be read by everybody.
    pub(crate) fn publish(&self) -> Arc<Shared> {
        let (counter, shows) = (Arc::clone(&self.counter), self.taken_in);
        let mut shared = Shared { counter, shows, pauses: self.pauses.clone(), ..Shared::default() };
        for (site, breaker) in &self.sites {
            let Some(block) = breaker.block.clone() else {
                if breaker.faults > 0 {
                    shared.suspects.insert(site.clone());
                }
                continue;
            };
            let opened = Opened::new(site.scope(), block, Arc::clone(&breaker.trial));
            shared.has_blocks = true;
            match site {
                Site::Host => shared.host = Some(opened),
                Site::Gateway(of) => drop(shared.gateways.insert(of.clone(), opened)),
                Site::Provider(of, model) => {
                    shared.providers.entry(of.clone()).or_default().insert(model.clone(), opened);
                }
                Site::Namespace(of) => drop(shared.namespaces.insert(of.clone(), opened)),
                Site::Instance(_) => {}
            }
        }
        shared.hinted = self.hints.iter().filter(|(_, hint)| hint.is_open()).map(|(group, _)| group.clone()).collect();
        Arc::new(shared)
    }

    /// Marks the accounts of `all` to which a hint applies: those of a group of which somebody ran out of credits, unless
    /// everybody did.
    pub(crate) fn mark(&self, all: &mut [Arc<Snapshot>], now: Timestamp) {
        for (group, hint) in self.hints.iter().filter(|(_, hint)| hint.holds(now)) {
            let is_member = |account: &Arc<Snapshot>| account.group == *group;
            if all.iter().filter(|account| is_member(account)).all(|account| hint.refused.contains(&account.id)) {
                continue;
            }
            for account in all.iter_mut().filter(|account| is_member(account)) {
                *account = Arc::new(Snapshot { hinted: true, ..Snapshot::clone(account) });
            }
        }
    }

    fn failed(
        &mut self,
        way: Way,
        fault: &Fault,
        at: Epoch,
        now: Timestamp,
        rng: &mut impl Rng,
        effects: &mut Vec<Effect>,
    ) {
        if fault.reason == Reason::QuotaExhausted {
            self.hint(&way, at, now, effects);
        }
        let answered = match fault.scope {
            // Its own time was over, and nobody knows what was slow.
            Scope::Request => fault.reason != Reason::Timeout,
            // Its way may be one that others do not go, and has ended before the gateway.
            Scope::Account => !fault.reason.is_of_the_way(),
            Scope::Model | Scope::Namespace | Scope::Provider => true,
            Scope::Gateway | Scope::Instance | Scope::Host => false,
        };
        if answered {
            self.close(&Site::Gateway(way.gateway.clone()), Some(way.epoch), now, effects);
            self.close(&Site::Host, Some(way.epoch), now, effects);
        }
        let site = match fault.scope {
            Scope::Provider => Site::Provider(way.gateway, way.model),
            Scope::Gateway => Site::Gateway(way.gateway),
            Scope::Namespace => Site::Namespace(way.group),
            Scope::Host => Site::Host,
            // The first three are one account's business, the last is not called on a request's way.
            Scope::Request | Scope::Model | Scope::Account | Scope::Instance => return,
        };
        if fault.hold != Hold::None {
            let met = Met { account: way.account, chosen_in: way.epoch, at };
            self.suspect(site, met, fault, now, rng, effects);
        }
    }

    fn suspect(
        &mut self,
        site: Site,
        Met { account, chosen_in, at }: Met,
        fault: &Fault,
        now: Timestamp,
        rng: &mut impl Rng,
        effects: &mut Vec<Effect>,
    ) {
        self.make_room(&site);
        let breaker = self.sites.entry(site.clone()).or_default();
        if chosen_in < breaker.turned_in {
            return;
        }
        let at_once = matches!(site, Site::Provider(..) | Site::Namespace(_));
        breaker.faults = breaker.faults.saturating_add(1);
        let other = breaker.faulted.replace(account.clone()).is_some_and(|before| before != account);
        breaker.witnessed |= other;
        breaker.news_at = now;
        let believed = at_once || breaker.witnessed || breaker.faults >= FAULTS_IN_A_ROW || breaker.block.is_some();
        let running = breaker.block.as_ref().filter(|block| block.holds(now));
        // Requests that are under way together fail together, which is one fault and not many in a row.
        let known = running.is_some_and(|block| block.reason == fault.reason);
        let next = (believed && !known).then(|| {
            let block = next_block(breaker.block.as_ref(), fault, now, rng);
            Block { until: block.until.min(now + longest(&site)), ..block }
        });
        let next = next.filter(|next| running.is_none_or(|running| running.until < next.until));
        breaker.fault_in = breaker.fault_in.max(at);
        if let Some(block) = next {
            breaker.turned_in = breaker.turned_in.max(at);
            breaker.block = Some(block.clone());
            if is_worth_keeping(&block, now) {
                effects.push(Effect::Remember);
            }
            effects.push(Effect::Opened(site, block));
        }
        effects.push(Effect::Publish);
    }

    /// Takes in that `site` is well, on the word of a request that was chosen by state `by`, or of a person.
    fn close(&mut self, site: &Site, by: Option<Epoch>, now: Timestamp, effects: &mut Vec<Effect>) {
        let Some(breaker) = self.sites.get_mut(site) else { return };
        let is_old = by.is_some_and(|by| by < breaker.fault_in || by < breaker.turned_in);
        if is_old || (breaker.faults == 0 && breaker.block.is_none()) {
            return;
        }
        let block = breaker.block.take();
        (breaker.faults, breaker.faulted, breaker.witnessed) = (0, None, false);
        (breaker.news_at, breaker.turned_in) = (now, self.counter.next());
        self.taken_in = self.taken_in.max(breaker.turned_in);
        effects.push(Effect::Publish);
        if let Some(block) = block {
            if block.holds(now) {
                effects.push(Effect::Remember);
            }
            effects.push(Effect::Closed(site.clone()));
        }
    }

    fn hint(&mut self, way: &Way, at: Epoch, now: Timestamp, effects: &mut Vec<Effect>) {
        if !self.hints.contains_key(&way.group) && self.hints.len() >= GROUPS_MAX {
            let first = self.hints.iter().min_by_key(|(_, hint)| hint.until).map(|(group, _)| group.clone());
            first.map(|group| self.hints.remove(&group));
        }
        let hint = self.hints.entry(way.group.clone()).or_default();
        // A refusal that was under way when a sibling succeeded is no newer than that success.
        if way.epoch < hint.turned_in && !hint.is_open() {
            return;
        }
        hint.turned_in = hint.turned_in.max(at);
        hint.until = now + QUOTA_CACHE_MAX;
        let is_new = hint.refused.insert(way.account.clone());
        effects.push(Effect::Publish);
        if is_new {
            effects.push(Effect::Remember);
        }
    }

    fn clear_hint(&mut self, group: &CreditGroup, by: Option<Epoch>, now: Timestamp, effects: &mut Vec<Effect>) {
        let Some(hint) = self.hints.get_mut(group).filter(|hint| hint.is_open()) else { return };
        if by.is_some_and(|by| by < hint.turned_in) {
            return;
        }
        *hint = Hint { refused: BTreeSet::new(), until: now + CLOSED_KEPT, turned_in: self.counter.next() };
        self.taken_in = self.taken_in.max(hint.turned_in);
        effects.extend([Effect::Publish, Effect::Remember]);
    }

    fn paused(&mut self, instance: InstanceUrl, pause: Option<Block>, now: Timestamp, effects: &mut Vec<Effect>) {
        if self.pauses.get(&instance) == pause.as_ref() {
            return;
        }
        let comes = pause.as_ref().is_some_and(|block| is_worth_keeping(block, now));
        let before = match pause {
            Some(block) => self.pauses.insert(instance, block),
            None => self.pauses.remove(&instance),
        };
        effects.push(Effect::Publish);
        if comes || before.is_some_and(|block| is_worth_keeping(&block, now)) {
            effects.push(Effect::Remember);
        }
    }

    fn make_room(&mut self, site: &Site) {
        if self.sites.len() >= SITES_MAX && !self.sites.contains_key(site) {
            let quiet = self.sites.iter().min_by_key(|(_, breaker)| breaker.news_at).map(|(site, _)| site.clone());
            quiet.map(|site| self.sites.remove(&site));
        }
    }

    /// Forgets what is over, and what a clock that was set back has made a matter of the future.
    fn tidy(&mut self, now: Timestamp) -> Vec<Effect> {
        let mut changed = false;
        self.sites.retain(|_, breaker| {
            if let Some(block) = &mut breaker.block {
                if block.since > now + CLOCK_SLACK {
                    (block.since, block.until, changed) = (now, now, true);
                }
                let over = now > block.until + FORGOTTEN_AFTER;
                changed |= over;
                return !over;
            }
            if breaker.faults > 0 && (now > breaker.news_at + FAULTS_WITHIN || breaker.news_at > now + CLOCK_SLACK) {
                (breaker.faults, breaker.faulted, breaker.witnessed, changed) = (0, None, false, true);
            }
            now <= breaker.news_at + CLOSED_KEPT && breaker.news_at <= now + CLOCK_SLACK
        });
        self.hints.retain(|_, hint| {
            let over = now >= hint.until || hint.until > now + LONGEST_HOLD + CLOCK_SLACK;
            changed |= over && hint.is_open();
            !over
        });
        self.pauses.retain(|_, block| {
            let over = now > block.until + FORGOTTEN_AFTER || block.since > now + CLOCK_SLACK;
            changed |= over;
            !over
        });
        if changed { vec![Effect::Publish] } else { Vec::new() }
    }
}

impl Hint {
    fn is_open(&self) -> bool {
        !self.refused.is_empty()
    }

    fn holds(&self, now: Timestamp) -> bool {
        self.is_open() && now < self.until
    }
}

fn is_worth_keeping(block: &Block, now: Timestamp) -> bool {
    block.until.since(now) >= WORTH_KEEPING
}

/// Returns the longest block of `site`.
const fn longest(site: &Site) -> Duration {
    match site {
        Site::Provider(..) => PROVIDER_MAX,
        Site::Host | Site::Gateway(_) => GATEWAY_MAX,
        Site::Namespace(_) | Site::Instance(_) => LONGEST_HOLD,
    }
}

#[cfg(test)]
mod tests;
