//! The chooser: which account serves a request, and who waits for one.
//!
//! [`policy`] decides and is pure; [`RouterActor`] reads the published table and has [`chooser`] hand out leases. There is one router
//! per worker, on the worker's own thread, so that a choice never crosses a thread. Requests that find every account
//! busy wait in a [`queue`]; a slot that is given back anywhere rings for the workers where somebody waits.

pub(crate) mod api;
pub(crate) mod chooser;
pub(crate) mod dry_run;
pub(crate) mod policy;
mod queue;
pub(crate) mod retry;

use std::sync::Arc;
use std::time::Duration;

use actix::{Actor, AsyncContext, Context, Handler};
use rand::SeedableRng;
use rand::rngs::StdRng;
use tokio::time::Instant;

use self::chooser::Chooser;
use crate::account::lease::{Bell, Line, Rung};
use crate::account::registry::Published;
use crate::domain::catalogue::Catalogue;
use crate::domain::strategy::Strategy;
use crate::domain::time::Clock;
use crate::router::api::{Acquire, Acquired, NoAccount, Place};

/// Asked by the handlers of one worker, each of which waits for its answer: bounded by the worker's connections.
const MAILBOX: usize = 32_768;
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

impl RouterSettings {
    fn rules<'a>(&self, catalogue: &'a Catalogue) -> policy::Rules<'a> {
        policy::Rules { catalogue, family_fallback: self.family_fallback, strategy: self.strategy }
    }
}

/// The chooser of one worker.
pub(crate) struct RouterActor {
    published: Published,
    bell: Arc<Bell>,
    clock: Arc<dyn Clock>,
    queue_time: Duration,
    chooser: Chooser,
    /// Where the bell rings for this worker; there once somebody has waited.
    line: Option<Arc<Line>>,
    looking: bool,
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
        let chooser = Chooser::new(catalogue, Arc::clone(&bell), settings, rng);
        Self { published, bell, clock, queue_time: settings.queue_time, chooser, line: None, looking: false }
    }

    /// Gives those who wait what there is, in turn.
    fn serve(&mut self) {
        self.chooser.serve(&self.published.load(), self.clock.now());
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
        let answer = self.chooser.join(ask, &because)?;
        // What became free since the choice rang for nobody.
        self.serve();
        self.look_again(ctx);
        let until = until.min(Instant::now() + self.queue_time);
        Ok(Acquired::Place(Place { answer, until, waiting, because }))
    }

    fn look_again(&mut self, ctx: &mut Context<Self>) {
        if !self.looking && !self.chooser.is_idle() {
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
        let acquired = self.chooser.acquire(&self.published.load(), &ask, self.clock.now());
        match (acquired, ask.patience) {
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
