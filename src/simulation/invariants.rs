//! What must be true after every step, and at the end.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::accounts::Account;
use super::judge::{grant, is_blocked, is_unproven};
use super::plan::Mood;
use super::requests::{Phase, Request};
use super::truth::{Cause, MODELS, Truth, gateway_url};
use super::world::World;
use crate::account::api::{Block, Snapshot, Table};
use crate::account::lease::Lease;
use crate::account::shared_health::Site;
use crate::domain::catalogue::Wanted;
use crate::domain::endpoint::GatewayUrl;
use crate::domain::fault::Reason;
use crate::domain::id::AccountId;
use crate::domain::model::{Dialect, ModelName};
use crate::domain::strategy::Strategy;
use crate::domain::time::Timestamp;
use crate::router::api::Acquire;
use crate::router::policy::{Rules, choose};
use crate::trace::Sheet;

/// Attempts of one request that a model may have worked on, and others; questions to the router, all waits counted.
const REACHED_MAX: u32 = 3;
const UNREACHED_MAX: u32 = 16;
const CALLS_MAX: u32 = 32;
/// Mints of one user within five minutes.
const MINTS_MAX: usize = 10;
/// News take a moment to arrive.
const SLACK: Duration = Duration::from_secs(1);

/// When faults were last met, by whose they really were.
#[derive(Default)]
pub(super) struct Evidence {
    requests: BTreeMap<(AccountId, Cause, Option<ModelName>), Timestamp>,
    /// Instances that failed some call.
    gitlab: BTreeSet<usize>,
    /// Every fault, in order.
    met: Vec<Met>,
}

/// Where a conversation went, and who could have had it, with their weights.
pub(super) type Home = (AccountId, BTreeMap<AccountId, u32>);

/// When a fault was met, whose it was, and for which account and model.
type Met = (Timestamp, Cause, AccountId, ModelName);

impl Evidence {
    pub(super) fn of_request(&mut self, cause: Cause, account: &AccountId, model: &ModelName, now: Timestamp) {
        self.met.push((now, cause, account.clone(), model.clone()));
        let model = (cause == Cause::Model).then(|| model.clone());
        self.requests.insert((account.clone(), cause, model), now);
    }

    pub(super) fn of_gitlab(&mut self, instance: usize) {
        self.gitlab.insert(instance);
    }

    fn at(&self, account: &AccountId, cause: Cause, model: Option<&ModelName>) -> Option<Timestamp> {
        self.requests.get(&(account.clone(), cause, model.cloned())).copied()
    }

    /// Returns whether an account may be blocked as a whole: for its own faults, or for the credits of two models.
    fn allows_of_account(&self, account: &AccountId, block: &Block) -> bool {
        let covers = |at: Timestamp| block.until <= at + longest(block.reason) + SLACK;
        match block.reason {
            Reason::GrantRefused => self.at(account, Cause::Grant, None).is_some_and(covers),
            Reason::NotEntitled => self.at(account, Cause::Account, None).is_some_and(covers),
            Reason::QuotaExhausted => {
                // The second model may have failed just before the block of the first would have ended.
                let of = |(_, cause, id, _): &&Met| *cause == Cause::Model && id == account;
                let met: Vec<_> = self.met.iter().filter(of).collect();
                let close = |(first, _, _, one): &Met, (last, _, _, other): &Met| {
                    one != other && last.since(*first) <= longest(block.reason) && covers(*last)
                };
                met.iter().enumerate().any(|(index, last)| met[..index].iter().any(|first| close(first, last)))
            }
            _ => false,
        }
    }

    /// Returns whether something that accounts share may be blocked so, for `most` at a time: a provider and a namespace
    /// for any fault of theirs; a gateway and this machine for those of two accounts, or for three in a row, and again for
    /// that of the one that tries it out.
    fn allows_of_site(&self, site: &Site, block: &Block, most: Duration, truth: &Truth) -> bool {
        let since = block.until - most - SLACK;
        let at = |id: &AccountId| truth.user_of(id).map(|user| (truth.gateway_of(user), truth.group_of(user)));
        let met: Vec<_> = self
            .met
            .iter()
            .filter(|fault| {
                let (when, cause, id, model) = fault;
                let Some((gateway, group)) = at(id) else { return false };
                let of_gateway = |of: &GatewayUrl| gateway_url(gateway) == *of;
                let fits = match site {
                    Site::Host => *cause == Cause::Host,
                    // That no head came in time may be the gateway's fault.
                    Site::Gateway(of) => matches!(cause, Cause::Gateway | Cause::Silence) && of_gateway(of),
                    Site::Provider(of, name) => *cause == Cause::Provider && of_gateway(of) && name == model,
                    Site::Namespace(of) => *cause == Cause::Namespace && group == *of,
                    Site::Instance(_) => false,
                };
                // The first of a row may have been met up to two minutes before the one that opened the block.
                fits && *when + Duration::from_mins(2) >= since
            })
            .collect();
        let latest = met.iter().any(|(when, ..)| *when >= since);
        let accounts: BTreeSet<_> = met.iter().map(|(_, _, id, _)| id).collect();
        match site {
            Site::Instance(_) => true,
            Site::Host | Site::Gateway(_) => latest && (block.attempts > 1 || accounts.len() >= 2 || met.len() >= 3),
            Site::Provider(..) | Site::Namespace(_) => latest,
        }
    }

    /// Returns whether a model may be blocked on an account: for its own credits there.
    fn allows_of_model(&self, account: &AccountId, model: &ModelName, block: &Block) -> bool {
        let covers = |at: Timestamp| block.until <= at + longest(block.reason) + SLACK;
        let reason = matches!(block.reason, Reason::QuotaExhausted | Reason::QuotaUnknown);
        reason && self.at(account, Cause::Model, Some(model)).is_some_and(covers)
    }
}

/// Returns for how long anything may be held for `reason` without being tried again.
fn longest(reason: Reason) -> Duration {
    match reason {
        Reason::QuotaExhausted => Duration::from_mins(72),
        Reason::RenewalRefused | Reason::RenewalUncertain => Duration::from_mins(36),
        Reason::LoginEnded | Reason::RenewalInterrupted => Duration::from_hours(8),
        reason if reason.needs_a_person() => Duration::from_mins(18),
        _ => Duration::from_mins(5),
    }
}

impl World {
    /// Looks at everything that the last step may have changed.
    pub(super) fn check(&mut self) {
        let touched = std::mem::take(&mut self.touched);
        for id in touched {
            let Some(account) = self.accounts.get(&id) else { continue };
            if let Some(what) = self.wrong_block(account) {
                self.broken(|| format!("account {id}: {what}"));
            }
        }
        if let Some(what) = self.wrong_shared_block() {
            self.broken(|| what);
        }
        let far = |block: &&Block| block.until > self.now + longest(block.reason);
        let pause = self.hosts.iter().filter_map(|turns| turns.pause()).find(far).cloned();
        if let Some(pause) = pause {
            self.broken(|| format!("an instance is left alone for too long: {pause:?}"));
        }
        if std::mem::take(&mut self.moved) {
            self.check_slots();
        }
    }

    fn wrong_block(&self, account: &Account) -> Option<String> {
        let (state, id, now) = (&account.state, &account.id, self.now);
        for block in state.block().into_iter().chain(state.trouble()).chain(state.models().values()) {
            if block.until > now + longest(block.reason) {
                return Some(format!("held for too long: {block:?}"));
            }
        }
        if let Some(block) = state.block().filter(|block| !self.evidence.allows_of_account(id, block)) {
            return Some(format!("blocked as a whole without its fault: {block:?}"));
        }
        let mut models = state.models().iter();
        if let Some((model, block)) = models.find(|(model, block)| !self.evidence.allows_of_model(id, model, block)) {
            return Some(format!("blocked for {model} without a fault there: {block:?}"));
        }
        let met = self.evidence.gitlab.contains(&self.truth.users[account.user].instance);
        match state.trouble() {
            Some(trouble) if !met && trouble.reason != Reason::InstanceThrottled => {
                Some(format!("cannot mint without a fault of GitLab's: {trouble:?}"))
            }
            _ => None,
        }
    }

    /// Looks at what accounts share: each block has met faults of just that, and ends soon.
    fn wrong_shared_block(&self) -> Option<String> {
        for (site, block) in self.table.shared.blocked(self.now) {
            let most = match site {
                Site::Provider(..) => Duration::from_secs(30),
                Site::Host | Site::Gateway(_) => Duration::from_mins(1),
                Site::Namespace(_) => Duration::from_mins(18),
                Site::Instance(_) => longest(block.reason),
            };
            if block.until > self.now + most {
                return Some(format!("{site} is blocked for too long: {block:?}"));
            }
            if !self.evidence.allows_of_site(&site, &block, most, &self.truth) {
                return Some(format!("{site} is blocked without its fault: {block:?}"));
            }
        }
        None
    }

    fn check_slots(&mut self) {
        let mut held: BTreeMap<&AccountId, u32> = BTreeMap::new();
        for request in self.requests.values() {
            if let Some(id) = request.holds() {
                *held.entry(id).or_default() += 1;
            }
        }
        let wrong = self.accounts.values().chain(self.gone.values()).find_map(|account| {
            let (out, held) = (account.gauge.in_flight(), held.get(&account.id).copied().unwrap_or_default());
            (out != held).then(|| format!("account {}: {out} slots are out for {held} requests", account.id))
        });
        if let Some(what) = wrong {
            self.broken(|| what);
        }
    }

    /// Nobody is in flight any more.
    pub(super) fn check_slots_are_free(&mut self) {
        let mut all = self.accounts.values().chain(self.gone.values());
        let taken = all.find(|account| account.gauge.in_flight() > 0 || account.gauge.is_probing());
        if let Some(id) = taken.map(|account| account.id.clone()) {
            self.broken(|| format!("account {id}: a slot or the probe was never given back"));
        }
    }

    pub(super) fn check_success(&mut self, id: &AccountId, model: &ModelName) {
        let state = self.accounts.get(id).map(|account| &account.state);
        if state.is_some_and(|state| state.block().is_some() || state.models().contains_key(model)) {
            self.broken(|| format!("account {id}: {model} answers and is blocked nevertheless"));
        }
    }

    pub(super) fn check_mint(&mut self, id: &AccountId, again: bool) {
        let Some(account) = self.accounts.get(id) else { return };
        let lately = account.mints.iter().filter(|at| self.now.since(**at) < Duration::from_mins(5)).count();
        if again || lately > MINTS_MAX {
            self.broken(|| format!("account {id}: {lately} mints within five minutes, two at a time: {again}"));
        }
    }

    /// Looks at a choice with the table in hand; returns whether it is a probe.
    pub(super) fn check_chosen(&mut self, request: &Request, lease: &Lease) -> bool {
        let (account, now) = (lease.account(), self.now);
        let is_probe = is_unproven(account, lease.model(), now);
        let shared = self.shared_blocks(account, lease.model(), now);
        let is_certain = |(site, _): &(Site, Block)| matches!(site, Site::Namespace(_));
        let is_shut = shared.iter().any(is_certain) || (!shared.is_empty() && request.retries.tried().is_empty());
        let of_pool = request.pools.is_empty() || request.pools.iter().any(|pool| **pool == *account.pool);
        let is_there = self.table.accounts.iter().any(|one| one.id == account.id);
        let is_bad = !is_there
            || !account.enabled
            || !of_pool
            || request.retries.tried().contains(&account.id)
            || grant(account, now).is_none()
            || is_blocked(account, lease.model(), now)
            || is_shut
            || account.gauge.in_flight() > account.max_concurrency;
        *self.served.entry(account.id.clone()).or_default() += 1;
        if is_bad {
            self.broken(|| format!("request {} was given {account:?} for {}", request.id, lease.model()));
        }
        let probes = |other: &&Request| matches!(&other.phase, Phase::Sent { lease, is_probe: true, .. } if lease.account().id == account.id);
        if is_probe && self.requests.values().any(|other| probes(&other)) {
            self.broken(|| format!("request {} is a second probe of {}", request.id, account.id));
        }
        if request.calls > CALLS_MAX {
            self.broken(|| format!("request {} asked the router {} times", request.id, request.calls));
        }
        self.check_rank_and_home(request, lease);
        is_probe
    }

    /// The highest tier comes first, and a conversation stays where it is.
    fn check_rank_and_home(&mut self, request: &Request, lease: &Lease) {
        let chosen = lease.account();
        let mut peers: Vec<&Snapshot> = self.table.accounts.iter().map(|one| &**one).collect();
        peers.retain(|one| one.id == chosen.id || self.could_be_chosen(request, one));
        let rank = |one: &Snapshot| (!one.hinted, one.priority);
        let best = peers.iter().map(|one| rank(one)).max().unwrap_or_default();
        if rank(chosen) < best {
            self.broken(|| format!("request {} was given a lower tier: {chosen:?}", request.id));
            return;
        }
        let is_firm = |conversation: &crate::domain::conversation::Conversation| {
            conversation.bond == crate::domain::conversation::Bond::Firm
        };
        let Some(conversation) = request.conversation.filter(is_firm) else { return };
        if self.plan.strategy == Strategy::FillFirst {
            return;
        }
        peers.retain(|one| rank(one) == best);
        let paces = || peers.iter().filter_map(|one| one.gauge.pace_ms(self.now));
        // A much slower account is left by its conversations.
        if paces().max() > paces().min().map(|least| (3 * least).max(least + 2_000)) {
            return;
        }
        let now: BTreeMap<_, _> = peers.iter().map(|one| (one.id.clone(), one.weight)).collect();
        let home = (chosen.id.clone(), now);
        if let Some(before) = self.homes.insert(conversation.key, home.clone())
            && moved_without_need(&before, &home)
        {
            let id = request.id;
            self.broken(|| format!("request {id} of a conversation at {before:?} was given {home:?}"));
        }
    }

    /// Returns whether a request could have been given this account, said once more in other words.
    fn could_be_chosen(&self, request: &Request, one: &Snapshot) -> bool {
        let is_plain = request.retries.refused().is_empty() && self.refused.is_empty() && self.table.shared.is_empty();
        // What its gateway does not know, nobody knows yet.
        let Wanted::Known(model) = &request.wanted else { return false };
        if !is_plain || !self.accounts.contains_key(&one.id) {
            return false;
        }
        let of_pool = request.pools.is_empty() || request.pools.iter().any(|pool| **pool == *one.pool);
        one.enabled
            && of_pool
            && !request.retries.tried().contains(&one.id)
            && grant(one, self.now).is_some()
            && one.gauge.in_flight() < one.max_concurrency
            && !is_blocked(one, model, self.now)
            && !(is_unproven(one, model, self.now) && one.gauge.is_probing())
    }

    /// A request gives up though its last fault was nobody's own.
    pub(super) fn check_given_up(&mut self, request: &Request, cause: Cause, reason: Reason) {
        let spent = request.reached >= REACHED_MAX || request.unreached >= UNREACHED_MAX;
        // What was silent for too long may have been worked on, and is not sent again.
        let is_over = cause == Cause::Request || reason == Reason::Timeout || self.now >= request.deadline;
        if !spent && !is_over {
            self.broken(|| format!("request {} gave up after {cause:?}, {reason:?}", request.id));
        }
    }

    /// A request is tried again.
    pub(super) fn check_again(&mut self, request: &Request, cause: Cause) {
        let (reached, unreached) = (request.reached, request.unreached);
        if cause == Cause::Request {
            self.broken(|| format!("request {} is tried again for a fault of its own", request.id));
        }
        if reached >= REACHED_MAX || unreached >= UNREACHED_MAX || self.now >= request.deadline {
            self.broken(|| format!("request {} is tried again after {reached} and {unreached}", request.id));
        }
    }

    /// Everything was well for long enough: every account serves, and nothing is left over.
    pub(super) fn check_the_end(&mut self) {
        self.now = self.end();
        self.publish();
        if let Some(id) = self.requests.keys().next().copied() {
            self.broken(|| format!("request {id} never ends"));
        }
        self.check_slots_are_free();
        self.check_shares();
        let rules = Rules { catalogue: &self.catalogue, family_fallback: true, strategy: self.plan.strategy };
        let mut out = Vec::new();
        for snapshot in self.table.accounts.iter().filter(|snapshot| snapshot.enabled) {
            let table = Table { accounts: vec![snapshot.clone()], ..Table::default() };
            for name in MODELS {
                let user = self.accounts[&snapshot.id].user;
                let gateway = self.truth.gateway_of(user);
                let Some(wanted) = self.catalogue.resolve(name) else { continue };
                if Truth::model_for(&wanted, gateway, &self.catalogue).is_none() {
                    continue;
                }
                let ask = Acquire {
                    wanted,
                    dialects: &[Dialect::Messages, Dialect::Responses],
                    pools: std::sync::Arc::new([]),
                    conversation: None,
                    client: 0,
                    patience: None,
                    renewed_in_vain: false,
                    tried: Vec::new(),
                    refused: Vec::new(),
                    trace: None,
                };
                if let Err(none) = choose(&table, &ask, &rules, self.now, &mut self.rng, &mut Sheet::default()) {
                    out.push(format!("{snapshot:?} does not serve {name} in the end: {none:?}"));
                }
            }
        }
        if let Some(what) = out.pop() {
            self.broken(|| what);
        }
    }
}

impl World {
    /// In calm weather shares follow weights, within 5 %; where chance has a part, within what that allows beside. (Of many
    /// more requests, `router::policy` proves the 5 % alone.)
    fn check_shares(&mut self) {
        if self.plan.mood != Mood::Calm || self.plan.strategy == Strategy::FillFirst {
            return;
        }
        let total = f64::from(self.served.values().sum::<u32>());
        let weights: u32 = self.accounts.values().map(|account| account.settings.weight).sum();
        let shares = self.accounts.values().map(|account| {
            let share = f64::from(account.settings.weight) / f64::from(weights);
            let got = f64::from(self.served.get(&account.id).copied().unwrap_or_default());
            (share, got, account.id.clone())
        });
        // The least loaded one is a matter of how long answers take, and so in part of chance.
        let deviations = match self.plan.strategy {
            Strategy::Random => 4.5,
            Strategy::Balanced => 1.5,
            Strategy::RoundRobin | Strategy::FillFirst => 0.0,
        };
        let wrong = shares.into_iter().find(|(share, got, _)| {
            let chance = deviations * (total * share * (1.0 - share)).sqrt();
            (got - total * share).abs() > 0.05 * total * share + chance
        });
        if let Some((share, got, id)) = wrong {
            self.broken(|| format!("account {id} served {got} of {total}, for a share of {share:.3}"));
        }
    }
}

/// Returns whether a conversation moved between two accounts both of which could have had it both times, unchanged.
fn moved_without_need((old, then): &Home, (new, now): &Home) -> bool {
    let stood = |id: &AccountId| then.contains_key(id) && then.get(id) == now.get(id);
    old != new && stood(old) && stood(new)
}
