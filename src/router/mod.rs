//! The chooser: which account serves a request, and who waits for one.
//!
//! [`policy`] decides and is pure; [`RouterActor`] reads the published table and hands out leases. There is one router
//! per worker, on the worker's own thread, so that a choice never crosses a thread. Requests that find every account
//! busy wait in a [`queue`]; a slot that is given back anywhere rings for the workers where somebody waits.

pub(crate) mod api;
pub(crate) mod policy;
mod queue;

use std::sync::Arc;
use std::time::Duration;

use actix::{Actor, AsyncContext, Context, Handler};
use futures::channel::oneshot;
use rand::SeedableRng;
use rand::rngs::StdRng;
use tokio::time::Instant;

use self::queue::{Joined, Queue};
use crate::account::lease::{Bell, Lease, Line, Rung};
use crate::account::registry::Published;
use crate::domain::catalogue::Catalogue;
use crate::domain::strategy::Strategy;
use crate::domain::time::Clock;
use crate::router::api::{Acquire, Acquired, NoAccount, Place};

/// Asked by the handlers of one worker, each of which waits for its answer: bounded by the worker's connections.
const MAILBOX: usize = 32_768;
/// A slot may be taken by another worker between the choice and the taking; then the next best is chosen, this often.
const TAKES_MAX: usize = 8;
/// How often those who wait look on their own: blocks end by the clock, for which nothing rings.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// How accounts are chosen, and how many requests wait for one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RouterSettings {
    /// Whether the newest model of the same family serves for one that a gateway refuses.
    pub(crate) family_fallback: bool,
    /// How to choose among accounts that could serve alike.
    pub(crate) strategy: Strategy,
    /// Requests that may wait on one worker; 0: none.
    pub(crate) queue_places: usize,
    /// Longest wait.
    pub(crate) queue_time: Duration,
}

/// The chooser of one worker.
pub(crate) struct RouterActor {
    published: Published,
    bell: Arc<Bell>,
    catalogue: Arc<Catalogue>,
    clock: Arc<dyn Clock>,
    rng: StdRng,
    settings: RouterSettings,
    queue: Queue<Waiter>,
    /// Where the bell rings for this worker; there once somebody has waited.
    line: Option<Arc<Line>>,
    looking: bool,
}

/// A request in the queue.
#[derive(Debug)]
struct Waiter {
    ask: Acquire,
    reply: oneshot::Sender<Result<Lease, NoAccount>>,
}

impl Waiter {
    /// Answers; a lease that nobody takes any more gives its slot back.
    fn answer(self, answer: Result<Lease, NoAccount>) {
        drop(self.reply.send(answer));
    }
}

impl RouterActor {
    /// Builds the router of this worker.
    pub(crate) fn new(
        published: Published,
        catalogue: Arc<Catalogue>,
        clock: Arc<dyn Clock>,
        settings: RouterSettings,
    ) -> Self {
        let bell = Arc::clone(&published.load().bell);
        let rng = StdRng::from_rng(&mut rand::rng());
        let queue = Queue::new(settings.queue_places);
        Self { published, bell, catalogue, clock, rng, settings, queue, line: None, looking: false }
    }

    /// Chooses an account and takes a slot on it.
    fn lease(&mut self, ask: &Acquire) -> Result<Lease, NoAccount> {
        let table = self.published.load();
        let rules = policy::Rules {
            catalogue: &self.catalogue,
            family_fallback: self.settings.family_fallback,
            strategy: self.settings.strategy,
        };
        for _ in 0..TAKES_MAX {
            let choice = policy::choose(&table, ask, &rules, self.clock.now(), &mut self.rng)?;
            if let Some(lease) = choice.take(&self.bell) {
                return Ok(lease);
            }
        }
        Err(NoAccount::Busy)
    }

    /// Gives those who wait what there is, in turn.
    fn serve(&mut self) {
        // Who has left or is out of time needs nothing.
        self.queue.retain(|waiter| !waiter.reply.is_canceled());
        let mut queue = std::mem::replace(&mut self.queue, Queue::new(0));
        let mut in_vain: Vec<Acquire> = Vec::new();
        queue.serve(|waiter| {
            if in_vain.iter().any(|ask| ask.asks_the_same(&waiter.ask)) {
                return Some(waiter);
            }
            match self.lease(&waiter.ask) {
                Err(NoAccount::Busy | NoAccount::Paused { .. }) => {
                    in_vain.push(waiter.ask.clone());
                    Some(waiter)
                }
                answer => {
                    waiter.answer(answer);
                    None
                }
            }
        });
        self.queue = queue;
    }

    /// Lets a request wait until `until` that found every account busy, or all that could serve it held up for a moment.
    fn enqueue(
        &mut self,
        ask: Acquire,
        until: Instant,
        because: NoAccount,
        ctx: &mut Context<Self>,
    ) -> Result<Acquired, NoAccount> {
        let line = self.line.get_or_insert_with(|| self.bell.line(ctx.address().recipient()));
        let waiting = self.bell.wait(line);
        let (reply, answer) = oneshot::channel();
        match self.queue.join(ask.client, Waiter { ask, reply }) {
            Joined::Yes => {}
            Joined::InPlaceOf(waiter) => waiter.answer(Err(NoAccount::Busy)),
            Joined::No(_) => return Err(because),
        }
        // What became free since the choice rang for nobody.
        self.serve();
        self.look_again(ctx);
        let until = until.min(Instant::now() + self.settings.queue_time);
        Ok(Acquired::Place(Place { answer, until, waiting, because }))
    }

    fn look_again(&mut self, ctx: &mut Context<Self>) {
        if !self.looking && !self.queue.is_empty() {
            self.looking = true;
            ctx.run_later(LOOK_EVERY, |router, ctx| {
                router.looking = false;
                router.serve();
                router.look_again(ctx);
            });
        }
    }
}

impl Actor for RouterActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(MAILBOX);
    }
}

impl Handler<Acquire> for RouterActor {
    type Result = Result<Acquired, NoAccount>;

    fn handle(&mut self, ask: Acquire, ctx: &mut Self::Context) -> Self::Result {
        if !self.queue.is_empty() {
            // Those who wait come first.
            self.serve();
        }
        match (self.lease(&ask), ask.patience) {
            (Err(because @ (NoAccount::Busy | NoAccount::Paused { .. })), Some(until)) => {
                self.enqueue(ask, until, because, ctx)
            }
            (answer, _) => answer.map(Acquired::Lease),
        }
    }
}

impl Handler<Rung> for RouterActor {
    type Result = ();

    fn handle(&mut self, _: Rung, _: &mut Self::Context) {
        if let Some(line) = &self.line {
            line.answered();
        }
        self.serve();
    }
}

#[cfg(test)]
mod tests;
