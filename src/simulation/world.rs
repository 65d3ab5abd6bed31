//! The world of one run: what happens when, and what everybody sees.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::accounts::{Account, Calling, Errand};
use super::invariants::{Evidence, Home};
use super::operators::Operation;
use super::plan::{Mood, Plan};
use super::requests::Request;
use super::truth::{Trouble, Truth, instance_url};
use crate::account::api::{News, SharedNews, Snapshot, Table};
use crate::account::shared_health::{self, Effect, Refused, Shared, SharedHealth};
use crate::account::turns::Turns;
use crate::domain::catalogue::Catalogue;
use crate::domain::id::AccountId;
use crate::domain::time::Timestamp;
use crate::router::RouterSettings;
use crate::router::chooser::Chooser;

const START: Timestamp = Timestamp::from_secs(1_800_000_000);
/// After so long without any trouble every account must serve again: the longest hold, its jitter, and one try more.
pub(super) const RECOVERY: Duration = Duration::from_mins(80);
/// Nobody comes any more in the last part of it, so that the longest request is over.
const QUIET: Duration = Duration::from_mins(18);
/// How often a worker with a queue looks on its own, and calls to an instance may follow each other.
pub(super) const LOOK_EVERY: Duration = Duration::from_millis(250);
const REFILL_EVERY: Duration = Duration::from_millis(200);
/// How often the registry looks what of the shared health is over.
const WATCH_EVERY: Duration = Duration::from_secs(5);
/// How many events are told of a run that failed.
const TOLD: usize = 60;

/// What happens at some moment.
#[derive(Debug)]
pub(super) enum Happening {
    Tick { account: AccountId, life: u64 },
    Refill { instance: usize },
    Look { worker: usize },
    News { account: AccountId, life: u64, news: News },
    SharedNews { news: SharedNews },
    Watch,
    Publish,
    Answered { asker: (u64, u32), renewed: bool },
    CallEnds { account: AccountId, call: Calling },
    Arrive { left: u32 },
    AtGateway { request: u64, attempt: u32 },
    Content { request: u64, attempt: u32 },
    End { request: u64, attempt: u32 },
    Leave { request: u64 },
    QueueEnds { request: u64, wait: u32 },
    WaitEnds { request: u64, wait: u32 },
    Begin { trouble: Trouble },
    Cease { trouble: Trouble },
    Operate { operation: Operation },
    Restart,
    Heal,
}

/// Where leases leave their news, and see what accounts share.
#[derive(Default)]
pub(super) struct Office {
    pub(super) news: Mutex<Vec<(AccountId, u64, News)>>,
    pub(super) shared_news: Mutex<Vec<SharedNews>>,
    pub(super) shared: Mutex<Arc<Shared>>,
}

pub(super) struct World {
    pub(super) plan: Plan,
    pub(super) rng: StdRng,
    pub(super) now: Timestamp,
    pub(super) healed: bool,
    /// How often the server was started.
    pub(super) boots: u32,
    agenda: BTreeMap<(Timestamp, u64), Happening>,
    number: u64,
    pub(super) catalogue: Arc<Catalogue>,
    pub(super) truth: Truth,
    pub(super) accounts: BTreeMap<AccountId, Account>,
    /// Accounts that operators have removed may come back with these.
    pub(super) gone: BTreeMap<AccountId, Account>,
    /// The queues before each instance.
    pub(super) hosts: Vec<Turns>,
    pub(super) errands: VecDeque<Errand>,
    pub(super) snapshots: BTreeMap<AccountId, Arc<Snapshot>>,
    pub(super) refused: Arc<Refused>,
    pub(super) table: Arc<Table>,
    pub(super) publish_at: Option<Timestamp>,
    pub(super) choosers: Vec<Chooser>,
    pub(super) looking: Vec<bool>,
    refilling: Vec<bool>,
    pub(super) requests: BTreeMap<u64, Request>,
    pub(super) queued: BTreeSet<u64>,
    pub(super) office: Arc<Office>,
    pub(super) health: SharedHealth,
    /// What is stored of it.
    kept: Option<Vec<u8>>,
    /// Whether something happened that those who wait may have waited for.
    pub(super) rang: bool,
    /// Whether a lease was taken or given back.
    pub(super) moved: bool,
    pub(super) evidence: Evidence,
    /// How many leases each account gave.
    pub(super) served: BTreeMap<AccountId, u32>,
    /// Where conversations are, by their keys.
    pub(super) homes: BTreeMap<u64, Home>,
    pub(super) touched: BTreeSet<AccountId>,
    verdict: Option<String>,
    log: Option<Vec<String>>,
}

impl World {
    /// Plays the run of `seed`, and keeps its story if that is wanted.
    pub(super) fn play(seed: u64, catalogue: &Arc<Catalogue>, story: bool) -> (Vec<String>, Option<String>) {
        let mut world = Self::new(seed, Arc::clone(catalogue));
        world.log = story.then(Vec::new);
        world.begin();
        world.run();
        (world.log.unwrap_or_default(), world.verdict)
    }

    fn new(seed: u64, catalogue: Arc<Catalogue>) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let plan = Plan::draw(&mut rng);
        let truth = Truth { users: plan.users.clone(), troubles: Vec::new() };
        Self {
            plan,
            rng,
            now: START,
            healed: false,
            boots: 0,
            agenda: BTreeMap::new(),
            number: 0,
            catalogue,
            truth,
            accounts: BTreeMap::new(),
            gone: BTreeMap::new(),
            hosts: Vec::new(),
            errands: VecDeque::new(),
            snapshots: BTreeMap::new(),
            refused: Arc::default(),
            table: Arc::default(),
            publish_at: None,
            choosers: Vec::new(),
            looking: Vec::new(),
            refilling: vec![false; 2],
            requests: BTreeMap::new(),
            queued: BTreeSet::new(),
            office: Arc::default(),
            health: SharedHealth::default(),
            kept: None,
            rang: false,
            moved: false,
            evidence: Evidence::default(),
            served: BTreeMap::new(),
            homes: BTreeMap::new(),
            touched: BTreeSet::new(),
            verdict: None,
            log: None,
        }
    }

    fn begin(&mut self) {
        self.boot();
        for user in 0..self.plan.pooled {
            self.add(user);
        }
        for (start, length, trouble) in self.plan.troubles.clone() {
            self.after(start, Happening::Begin { trouble });
            self.after(start + length, Happening::Cease { trouble });
        }
        for at in self.plan.operations.clone() {
            let operation = Operation::draw(&mut self.rng, self.truth.users.len());
            self.after(at, Happening::Operate { operation });
        }
        for at in self.plan.restarts.clone() {
            self.after(at, Happening::Restart);
        }
        self.after(WATCH_EVERY, Happening::Watch);
        let is_calm = self.plan.mood == Mood::Calm;
        let first = Duration::from_secs(if is_calm || self.rng.random_bool(0.5) { 60 } else { 0 });
        self.after(first, Happening::Arrive { left: self.plan.requests });
        self.after(self.plan.span, Happening::Heal);
        self.settle();
    }

    /// Starts the server's own parts, with nobody in flight and nobody waiting.
    pub(super) fn boot(&mut self) {
        self.boots += 1;
        let settings = RouterSettings {
            family_fallback: true,
            strategy: self.plan.strategy,
            queue_places: self.plan.queue_places,
            queue_time: self.plan.queue_time,
        };
        let bell = Arc::clone(&self.table.bell);
        self.choosers = (0..self.plan.workers)
            .map(|_| {
                let rng = StdRng::seed_from_u64(self.rng.random());
                Chooser::new(Arc::clone(&self.catalogue), Arc::clone(&bell), settings, rng)
            })
            .collect();
        self.looking = vec![false; self.plan.workers];
        self.health = SharedHealth::restored(self.kept.as_deref(), self.now);
        let pauses = self.health.pauses().clone();
        let turns = |instance| pauses.get(&instance_url(instance)).cloned().map(Turns::paused_by).unwrap_or_default();
        self.hosts = (0..2).map(turns).collect();
    }

    /// Ends a run that has broken a promise; the first one is told.
    pub(super) fn broken(&mut self, what: impl FnOnce() -> String) {
        if self.verdict.is_none() {
            let what = what();
            self.say(|| format!("BROKEN: {what}"));
            self.verdict = Some(what);
        }
    }

    pub(super) fn say(&mut self, what: impl FnOnce() -> String) {
        if let Some(log) = &mut self.log {
            log.push(format!("{:>10.3} s  {}", self.now.since(START).as_secs_f64(), what()));
        }
    }

    pub(super) fn after(&mut self, wait: Duration, happening: Happening) {
        let number = self.number();
        self.agenda.insert((self.now + wait, number), happening);
    }

    /// Returns a number that nothing else has.
    pub(super) fn number(&mut self) -> u64 {
        self.number += 1;
        self.number
    }

    /// Draws a time between these milliseconds.
    pub(super) fn moment(&mut self, from: u64, to: u64) -> Duration {
        Duration::from_millis(self.rng.random_range(from..=to))
    }

    pub(super) fn end(&self) -> Timestamp {
        START + self.plan.span + RECOVERY
    }

    fn run(&mut self) {
        let end = self.end();
        while self.verdict.is_none() {
            let Some(((at, _), happening)) = self.agenda.pop_first().filter(|((at, _), _)| *at <= end) else { break };
            self.now = at;
            self.happen(happening);
            self.settle();
            self.check();
        }
        if self.verdict.is_none() {
            self.check_the_end();
        }
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Tick { account, life } => self.tick(&account, life),
            Happening::Refill { instance } => {
                self.refilling[instance] = false;
                self.hosts[instance].refill();
            }
            Happening::Look { worker } => {
                self.looking[worker] = false;
                self.choosers[worker].serve(&self.table, self.now);
            }
            Happening::News { account, life, news } => self.deliver(&account, life, news),
            Happening::SharedNews { news } => self.take_in(news),
            Happening::Watch => {
                self.learn(shared_health::Event::Tick);
                let wait = if self.healed { 12 * WATCH_EVERY } else { WATCH_EVERY };
                self.after(wait, Happening::Watch);
            }
            Happening::Publish => self.publish(),
            Happening::Answered { asker, renewed } => self.answered(asker, renewed),
            Happening::CallEnds { account, call } => self.call_ends(&account, call),
            Happening::Arrive { left } => self.arrive(left),
            Happening::AtGateway { request, attempt } => self.at_gateway(request, attempt),
            Happening::Content { request, attempt } => self.content(request, attempt),
            Happening::End { request, attempt } => self.answer_ends(request, attempt),
            Happening::Leave { request } => self.leave(request),
            Happening::QueueEnds { request, wait } => self.queue_ends(request, wait),
            Happening::WaitEnds { request, wait } => self.wait_ends(request, wait),
            Happening::Begin { trouble } => {
                self.say(|| format!("-- begins: {trouble:?}"));
                self.truth.troubles.push(trouble);
            }
            Happening::Cease { trouble } => self.cease(trouble),
            Happening::Operate { operation } => self.operate(operation),
            Happening::Restart => self.restart(),
            Happening::Heal => self.heal(),
        }
    }

    fn cease(&mut self, trouble: Trouble) {
        if let Some(at) = self.truth.troubles.iter().position(|one| *one == trouble) {
            self.say(|| format!("-- ends: {trouble:?}"));
            self.truth.troubles.remove(at);
        }
    }

    /// Lets everything run that needs no time.
    fn settle(&mut self) {
        loop {
            while let Some(errand) = self.errands.pop_front() {
                self.run_errand(errand);
            }
            if !self.give_turns() {
                break;
            }
        }
        for instance in 0..self.hosts.len() {
            if self.hosts[instance].wants_refill() && !self.refilling[instance] {
                self.refilling[instance] = true;
                self.after(REFILL_EVERY, Happening::Refill { instance });
            }
        }
        while std::mem::take(&mut self.rang) {
            self.moved = true;
            for worker in 0..self.choosers.len() {
                if !self.choosers[worker].is_idle() {
                    self.choosers[worker].serve(&self.table, self.now);
                }
            }
            self.poll_queued();
        }
        self.poll_queued();
        let shared = std::mem::take(&mut *self.office.shared_news.lock().unwrap());
        for news in shared {
            let wait = self.moment(0, 2);
            self.after(wait, Happening::SharedNews { news });
        }
        let news = std::mem::take(&mut *self.office.news.lock().unwrap());
        for (account, life, news) in news {
            let wait = self.moment(0, 2);
            self.after(wait, Happening::News { account, life, news });
        }
    }

    /// Publishes soon, as the registry does for all changes that are in its mailbox.
    pub(super) fn publish_soon(&mut self) -> Timestamp {
        if let Some(at) = self.publish_at {
            return at;
        }
        let wait = self.moment(0, 3);
        self.after(wait, Happening::Publish);
        *self.publish_at.insert(self.now + wait)
    }

    pub(super) fn publish(&mut self) {
        self.publish_at = None;
        let mut accounts: Vec<_> = self.snapshots.values().cloned().collect();
        self.health.mark(&mut accounts, self.now);
        let (refused, bell) = (Arc::clone(&self.refused), Arc::clone(&self.table.bell));
        let shared = self.health.publish();
        *self.office.shared.lock().unwrap() = Arc::clone(&shared);
        self.table = Arc::new(Table { accounts, refused, shared, bell });
        self.rang = true;
    }

    /// Takes in news of what accounts share, as the registry does.
    pub(super) fn learn(&mut self, event: shared_health::Event) {
        self.take_in(SharedNews::from(event));
    }

    fn take_in(&mut self, SharedNews { event, at }: SharedNews) {
        let quiet = matches!(event, shared_health::Event::Tick);
        let told = if self.tells() { format!("shared: {event:?}") } else { String::new() };
        let effects = match at {
            Some(at) => self.health.step_at(at, event, self.now, &mut self.rng),
            None => self.health.step(event, self.now, &mut self.rng),
        };
        if !(quiet && effects.is_empty()) {
            self.say(|| format!("{told} -> {effects:?}"));
        }
        for effect in effects {
            match effect {
                Effect::Publish => self.publish(),
                Effect::Remember => self.kept = Some(self.health.memory(self.now)),
                Effect::Opened(..) | Effect::Closed(_) => {}
            }
        }
    }

    /// Returns whether the story is kept.
    pub(super) fn tells(&self) -> bool {
        self.log.is_some()
    }

    /// Everything is mended, at once and for good; people log in anew where that is needed.
    fn heal(&mut self) {
        self.say(|| "-- everything is mended".to_owned());
        self.truth.troubles.clear();
        self.healed = true;
        self.relogin();
        let quiet_from = RECOVERY.saturating_sub(QUIET);
        let requests = 60;
        for _ in 0..requests {
            let wait = quiet_from.mul_f64(self.rng.random_range(0.0..1.0));
            self.after(wait, Happening::Arrive { left: 0 });
        }
    }
}

/// Returns the last part of a story.
pub(super) fn ending(log: &[String]) -> String {
    log[log.len().saturating_sub(TOLD)..].join("\n")
}
