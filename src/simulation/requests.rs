//! Plays clients and the door: a request comes, is tried here and there as the real retries say, and ends somehow.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures::channel::oneshot;
use rand::RngExt;
use tokio::time::Instant;

use super::accounts::Errand;
use super::plan::Mood;
use super::truth::{Cause, MODELS, Refusal, of_break, of_own_fault, of_silence};
use super::world::{Happening, LOOK_EVERY, World};
use crate::account::lease::Lease;
use crate::domain::catalogue::Wanted;
use crate::domain::conversation::{Bond, Conversation};
use crate::domain::fault::Reason;
use crate::domain::id::{AccountId, Generation};
use crate::domain::model::Dialect;
use crate::domain::time::Timestamp;
use crate::router::api::{Acquire, NoAccount, Renewable};
use crate::router::retry::{Next, Retries, Setback, WAIT_MAX};

const DIALECTS: &[Dialect] = &[Dialect::Messages, Dialect::Responses];
/// Longest that a request may take, and that the beginning of its answer may.
const REQUEST_TIME: Duration = Duration::from_mins(15);
const HEAD_TIME: Duration = Duration::from_mins(1);

/// A client's request.
pub(super) struct Request {
    pub(super) id: u64,
    pub(super) worker: usize,
    pub(super) wanted: Wanted,
    pub(super) pools: Arc<[String]>,
    pub(super) conversation: Option<Conversation>,
    client: usize,
    /// Whether it would wait for a slot.
    pub(super) patient: bool,
    /// Whether nobody could serve it, and why.
    own_fault: Option<bool>,
    pub(super) deadline: Timestamp,
    pub(super) retries: Retries,
    pub(super) phase: Phase,
    /// Numbers the attempts and the waits, so that what belongs to an older one is known as such.
    attempt: u32,
    wait: u32,
    // What follows is counted here once more.
    pub(super) reached: u32,
    pub(super) unreached: u32,
    pub(super) calls: u32,
    pub(super) waits: u32,
    /// Who failed it, under which grant, and whose fault that was.
    pub(super) failures: Vec<(AccountId, Generation, Cause)>,
    /// Who was asked for a grant for this attempt.
    pub(super) hoped: BTreeSet<AccountId>,
}

/// Where it is.
pub(super) enum Phase {
    Seeking,
    /// In the queue, and why.
    Queued(oneshot::Receiver<Result<Lease, NoAccount>>, NoAccount),
    Waiting {
        missing: usize,
    },
    /// On its way; the second says whether it is a probe.
    Sent {
        lease: Lease,
        at: Timestamp,
        is_probe: bool,
    },
    Streaming(Lease),
}

impl Request {
    fn ask(&self) -> Acquire {
        Acquire {
            wanted: self.wanted.clone(),
            dialects: DIALECTS,
            pools: Arc::clone(&self.pools),
            conversation: self.conversation,
            client: self.client,
            // Looked at only for whether it is there: time is kept by the world.
            patience: self.patient.then(Instant::now),
            renewed_in_vain: self.retries.waited_in_vain(),
            tried: self.retries.tried().to_vec(),
            refused: self.retries.refused().to_vec(),
            trace: None,
        }
    }

    /// Returns the account that it holds a slot of.
    pub(super) fn holds(&self) -> Option<&AccountId> {
        match &self.phase {
            Phase::Sent { lease, .. } | Phase::Streaming(lease) => Some(&lease.account().id),
            Phase::Seeking | Phase::Queued(..) | Phase::Waiting { .. } => None,
        }
    }
}

impl World {
    /// A client comes, and the next one after a while.
    pub(super) fn arrive(&mut self, left: u32) {
        if left > 0 {
            let mean = self.plan.span.as_secs_f64() / f64::from(self.plan.requests);
            // Bursts: most come close together.
            let gap = if self.rng.random_bool(0.6) { 0.1 } else { 2.0 } * mean;
            let wait = Duration::from_secs_f64(self.rng.random_range(0.0..gap.max(0.01)));
            self.after(wait, Happening::Arrive { left: left - 1 });
        }
        let request = self.draw_request();
        let (id, leaves) = (request.id, self.rng.random_bool(0.05));
        if leaves {
            let wait = self.moment(0, 20_000);
            self.after(wait, Happening::Leave { request: id });
        }
        self.say(|| format!("request {id} comes for {:?} in {:?}", request.wanted, request.pools));
        self.seek(request);
    }

    fn draw_request(&mut self) -> Request {
        let (id, rng) = (self.number(), &mut self.rng);
        let storm = self.plan.mood == Mood::Storm;
        // In calm weather everybody could serve everything.
        let name = MODELS
            [if self.plan.mood == Mood::Calm || rng.random_bool(0.6) { 1 } else { rng.random_range(0..MODELS.len()) }];
        let pools: &[&str] = match rng.random_range(0..10) {
            _ if self.plan.mood == Mood::Calm => &["default"],
            0..7 => &["default"],
            7 => &["default", "team"],
            8 => &["team"],
            _ => &[],
        };
        let key = rng.random_range(0..12_u64);
        let bond = if rng.random_bool(0.7) { Bond::Firm } else { Bond::Loose };
        let conversation = Conversation { bond, ..Conversation::named(&key.to_le_bytes()) };
        Request {
            id,
            worker: rng.random_range(0..self.plan.workers),
            wanted: self.catalogue.resolve(name).unwrap(),
            pools: pools.iter().map(|pool| (*pool).to_owned()).collect(),
            conversation: (self.plan.mood != Mood::Calm && rng.random_bool(0.6)).then_some(conversation),
            client: rng.random_range(0..3),
            patient: rng.random_bool(0.9),
            own_fault: (storm && rng.random_bool(0.04)).then(|| rng.random_bool(0.5)),
            deadline: self.now + REQUEST_TIME,
            retries: Retries::default(),
            phase: Phase::Seeking,
            attempt: 0,
            wait: 0,
            reached: 0,
            unreached: 0,
            calls: 0,
            waits: 0,
            failures: Vec::new(),
            hoped: BTreeSet::new(),
        }
    }

    /// Seeks an account for the next attempt.
    fn seek(&mut self, mut request: Request) {
        request.retries.begin();
        request.hoped.clear();
        self.ask_router(request);
    }

    fn ask_router(&mut self, mut request: Request) {
        loop {
            request.calls += 1;
            let (ask, table, now) = (request.ask(), Arc::clone(&self.table), self.now);
            let chooser = &mut self.choosers[request.worker];
            let none = match chooser.acquire(&table, &ask, now) {
                Ok(lease) => return self.send(request, lease),
                Err(because @ (NoAccount::Busy | NoAccount::Paused { .. })) if request.patient => {
                    match chooser.join(ask, &because) {
                        Ok(mut place) => {
                            chooser.serve(&table, now);
                            match place.try_recv() {
                                Ok(Some(Ok(lease))) => return self.send(request, lease),
                                Ok(Some(Err(none))) => none,
                                Ok(None) | Err(oneshot::Canceled) => return self.enqueue(request, place, because),
                            }
                        }
                        Err(none) => none,
                    }
                }
                Err(none) => none,
            };
            let Some(back) = self.cope(request, &none) else { return };
            request = back;
        }
    }

    fn enqueue(
        &mut self,
        mut request: Request,
        place: oneshot::Receiver<Result<Lease, NoAccount>>,
        because: NoAccount,
    ) {
        request.wait += 1;
        let (id, wait, worker) = (request.id, request.wait, request.worker);
        let most = self.plan.queue_time.min(request.deadline.since(self.now));
        self.say(|| format!("request {id} waits for a slot"));
        self.after(most, Happening::QueueEnds { request: id, wait });
        self.look_soon(worker);
        request.phase = Phase::Queued(place, because);
        self.queued.insert(id);
        self.requests.insert(id, request);
    }

    fn look_soon(&mut self, worker: usize) {
        if !std::mem::replace(&mut self.looking[worker], true) {
            self.after(LOOK_EVERY, Happening::Look { worker });
        }
    }

    /// Looks who of those who wait for a slot has an answer.
    pub(super) fn poll_queued(&mut self) {
        for id in self.queued.clone() {
            let Some(Phase::Queued(place, because)) = self.requests.get_mut(&id).map(|request| &mut request.phase)
            else {
                self.queued.remove(&id);
                continue;
            };
            let answer = match place.try_recv() {
                Ok(Some(answer)) => answer,
                Ok(None) => {
                    let worker = self.requests[&id].worker;
                    self.look_soon(worker);
                    continue;
                }
                Err(oneshot::Canceled) => Err(because.clone()),
            };
            self.queued.remove(&id);
            let Some(request) = self.requests.remove(&id) else { continue };
            match answer {
                Ok(lease) => self.send(request, lease),
                Err(none) => self.go_on(request, &none),
            }
        }
    }

    pub(super) fn queue_ends(&mut self, id: u64, wait: u32) {
        let is_this = |request: &Request| request.wait == wait && matches!(request.phase, Phase::Queued(..));
        if self.requests.get(&id).is_some_and(is_this)
            && let Some(mut request) = self.requests.remove(&id)
        {
            self.queued.remove(&id);
            let Phase::Queued(_, because) = std::mem::replace(&mut request.phase, Phase::Seeking) else { return };
            self.go_on(request, &because);
        }
    }

    /// Goes on after the router had nobody.
    fn go_on(&mut self, request: Request, none: &NoAccount) {
        if let Some(request) = self.cope(request, none) {
            self.ask_router(request);
        }
    }

    /// Waits for a new grant, gives up, or gives the request back to ask the router again.
    fn cope(&mut self, mut request: Request, none: &NoAccount) -> Option<Request> {
        let id = request.id;
        self.say(|| format!("request {id} finds: {none:?}"));
        let Some(hope) = request.retries.hope(none) else {
            self.refuse(&request, none);
            return None;
        };
        if hope.renewable.is_empty() {
            request.retries.waited(false);
            return Some(request);
        }
        request.waits += 1;
        request.wait += 1;
        let wait = request.wait;
        for Renewable { account, than, .. } in &hope.renewable {
            request.hoped.insert(account.clone());
            self.errands.push_back(Errand::Wish(account.clone(), *than, (id, wait)));
        }
        let most = WAIT_MAX.min(request.deadline.since(self.now));
        self.after(most, Happening::WaitEnds { request: id, wait });
        request.phase = Phase::Waiting { missing: hope.renewable.len() };
        self.requests.insert(id, request);
        None
    }

    pub(super) fn answered(&mut self, (id, wait): (u64, u32), renewed: bool) {
        let Some(request) = self.requests.get_mut(&id).filter(|request| request.wait == wait) else { return };
        let Phase::Waiting { missing, .. } = &mut request.phase else { return };
        *missing -= 1;
        if renewed || *missing == 0 {
            self.waited(id, renewed);
        }
    }

    pub(super) fn wait_ends(&mut self, id: u64, wait: u32) {
        let is_this = |request: &Request| request.wait == wait && matches!(request.phase, Phase::Waiting { .. });
        if self.requests.get(&id).is_some_and(is_this) {
            self.waited(id, false);
        }
    }

    fn waited(&mut self, id: u64, renewed: bool) {
        let Some(mut request) = self.requests.remove(&id) else { return };
        request.phase = Phase::Seeking;
        self.say(|| format!("request {id} waited for a grant: {renewed}"));
        request.retries.waited(renewed);
        self.ask_router(request);
    }

    fn send(&mut self, mut request: Request, lease: Lease) {
        let id = request.id;
        let is_probe = self.check_chosen(&request, &lease);
        self.moved = true;
        self.say(|| format!("request {id} goes to {}, {} (probe: {is_probe})", lease.account().id, lease.model()));
        request.attempt += 1;
        let wait = self.moment(20, 200);
        self.after(wait, Happening::AtGateway { request: id, attempt: request.attempt });
        request.phase = Phase::Sent { lease, at: self.now, is_probe };
        self.requests.insert(id, request);
    }

    /// Returns a request whose attempt this is.
    fn take(&mut self, id: u64, attempt: u32) -> Option<Request> {
        self.requests.get(&id).filter(|request| request.attempt == attempt)?;
        self.requests.remove(&id)
    }

    pub(super) fn at_gateway(&mut self, id: u64, attempt: u32) {
        let Some(mut request) = self.take(id, attempt) else { return };
        let Phase::Sent { lease, at, is_probe } = std::mem::replace(&mut request.phase, Phase::Seeking) else { return };
        let user = self.truth.user_of(&lease.account().id).unwrap_or_default();
        let grant = lease.grant().generation.number();
        let refusal = self.truth.at_gateway(user, grant, lease.model());
        // What is wrong with the request itself is seen by the provider alone.
        let before = refusal.as_ref().is_some_and(|refusal| !refusal.reached);
        let refusal = refusal.or(request.own_fault.map(of_own_fault).filter(|_| !before));
        if let Some(refusal) = refusal {
            return self.fail(request, lease, refusal);
        }
        let slow = if self.truth.slow(user) { 15 } else { 1 };
        let longest = if self.plan.mood == Mood::Storm { 6_000 } else { 2_000 };
        let think = (self.moment(300, longest) * slow).min(HEAD_TIME);
        self.after(think, Happening::Content { request: id, attempt });
        request.phase = Phase::Sent { lease, at, is_probe };
        self.requests.insert(id, request);
    }

    pub(super) fn content(&mut self, id: u64, attempt: u32) {
        let Some(mut request) = self.take(id, attempt) else { return };
        let Phase::Sent { mut lease, at, is_probe } = std::mem::replace(&mut request.phase, Phase::Seeking) else {
            return;
        };
        if self.now.since(at) >= HEAD_TIME {
            return self.fail(request, lease, of_silence());
        }
        let breaks = self.truth.breaks();
        if self.truth.offline() || self.rng.random_range(0..100) < breaks {
            return self.fail(request, lease, of_break());
        }
        let told = self.office.news.lock().unwrap().len();
        lease.began(self.now.since(at), self.now);
        let news = self.office.news.lock().unwrap().len() > told;
        self.rang |= is_probe;
        if is_probe && !news {
            self.broken(|| format!("request {id} proved {} well and nobody hears of it", lease.account().id));
        }
        self.say(|| format!("request {id} has content from {}", lease.account().id));
        let length = self.moment(200, 40_000);
        self.after(length, Happening::End { request: id, attempt });
        request.phase = Phase::Streaming(lease);
        self.requests.insert(id, request);
    }

    pub(super) fn answer_ends(&mut self, id: u64, attempt: u32) {
        let Some(request) = self.take(id, attempt) else { return };
        let Phase::Streaming(lease) = request.phase else { return };
        let breaks = self.truth.breaks();
        if self.truth.offline() || self.rng.random_range(0..100) < breaks {
            // After content there is nothing to be tried again: the stream ends in an error.
            self.say(|| format!("request {id} breaks off"));
            lease.failed(of_break().fault);
        } else {
            self.say(|| format!("request {id} is done"));
            lease.succeeded();
        }
        self.rang = true;
    }

    pub(super) fn leave(&mut self, id: u64) {
        if self.requests.remove(&id).is_some() {
            self.say(|| format!("the client of request {id} leaves"));
            self.queued.remove(&id);
            self.rang = true;
        }
    }

    fn fail(&mut self, mut request: Request, lease: Lease, refusal: Refusal) {
        let Refusal { fault, cause, reached } = refusal;
        let id = request.id;
        let (account, model) = (lease.account().id.clone(), lease.model().clone());
        let (generation, gateway) = (lease.grant().generation, lease.grant().gateway.clone());
        self.say(|| format!("request {id} failed on {account}, {model}: {cause:?}, {fault:?}"));
        self.evidence.of_request(cause, &account, &model, self.now);
        if reached {
            request.reached += 1;
        } else {
            request.unreached += 1;
        }
        request.failures.push((account.clone(), generation, cause));
        let desk = lease.account().desk.clone();
        let renewable = desk.map(|desk| Renewable { account: account.clone(), than: generation, desk });
        lease.failed(fault.clone());
        self.rang = true;
        let (in_time, reason) = (self.now < request.deadline, fault.reason);
        let setback = Setback { account, model: model.clone(), gateway: gateway.clone(), fault, renewable };
        match request.retries.failed(setback, in_time, self.now) {
            Next::End => self.check_given_up(&request, cause, reason),
            Next::Again => {
                if reason == Reason::UnsupportedModel && cause == Cause::Unsupported {
                    self.refused = Arc::new(self.refused.with(gateway, model, self.now));
                    self.publish_soon();
                }
                self.check_again(&request, cause);
                self.seek(request);
            }
        }
    }
}
