//! One worker's chooser without its mailbox: hands out leases, and lets wait those for whom there is none.
//!
//! Knows the table that it is shown and the time that it is told, and reads neither; so the actor of [`super`] and the
//! simulation of the choice run the same code. When to look again is decided by whoever runs it.

use std::sync::Arc;

use futures::channel::oneshot;
use rand::rngs::StdRng;

use crate::account::api::Table;
use crate::account::lease::{Bell, Lease};
use crate::domain::catalogue::Catalogue;
use crate::domain::time::Timestamp;
use crate::router::RouterSettings;
use crate::router::api::{Acquire, NoAccount};
use crate::router::dry_run::{Foresee, Foreseen, foresee};
use crate::router::policy;
use crate::router::queue::{Joined, Queue};
use crate::trace::{Chosen, Sheet};

/// A slot may be taken by another worker between the choice and the taking; then the next best is chosen, this often.
const TAKES_MAX: usize = 8;

/// Hands out leases.
pub(crate) struct Chooser {
    catalogue: Arc<Catalogue>,
    bell: Arc<Bell>,
    settings: RouterSettings,
    rng: StdRng,
    queue: Queue<Waiter>,
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

impl Chooser {
    /// Begins with nobody waiting.
    pub(crate) fn new(catalogue: Arc<Catalogue>, bell: Arc<Bell>, settings: RouterSettings, rng: StdRng) -> Self {
        let queue = Queue::new(settings.queue_places);
        Self { catalogue, bell, settings, rng, queue }
    }

    /// Returns whether nobody waits.
    pub(crate) fn is_idle(&self) -> bool {
        self.queue.is_empty()
    }

    /// Chooses an account for a request that has just come, and takes a slot on it. Those who wait come first.
    pub(crate) fn acquire(&mut self, table: &Table, ask: &Acquire, now: Timestamp) -> Result<Lease, NoAccount> {
        if !self.is_idle() {
            self.serve(table, now);
        }
        self.lease(table, ask, now)
    }

    /// Lets a request wait that found every account busy, or held up for a moment, as `because` says; refused with that
    /// where there is no place. Dropping what is returned gives the place up.
    ///
    /// Whoever calls this serves once more afterwards: what became free since the choice told nobody.
    pub(crate) fn join(
        &mut self,
        ask: Acquire,
        because: &NoAccount,
    ) -> Result<oneshot::Receiver<Result<Lease, NoAccount>>, NoAccount> {
        let (reply, answer) = oneshot::channel();
        match self.queue.join(ask.client, Waiter { ask, reply }) {
            Joined::Yes => {}
            Joined::InPlaceOf(waiter) => waiter.answer(Err(NoAccount::Busy)),
            Joined::No(_) => return Err(because.clone()),
        }
        Ok(answer)
    }

    /// Gives those who wait what there is, in turn.
    pub(crate) fn serve(&mut self, table: &Table, now: Timestamp) {
        // Who has left or is out of time needs nothing.
        self.queue.retain(|waiter| !waiter.reply.is_canceled());
        let mut queue = std::mem::replace(&mut self.queue, Queue::new(0));
        let mut in_vain: Vec<Acquire> = Vec::new();
        queue.serve(|waiter| {
            if in_vain.iter().any(|ask| ask.asks_the_same(&waiter.ask)) {
                return Some(waiter);
            }
            match self.lease(table, &waiter.ask, now) {
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

    /// Looks ahead, and takes nothing.
    pub(super) fn foresee(&mut self, table: &Table, wish: Foresee, now: Timestamp) -> Foreseen {
        foresee(table, wish, &self.settings.rules(&self.catalogue), now, &mut self.rng)
    }

    /// Chooses an account and takes a slot on it; notes in the request's trace how that went.
    fn lease(&mut self, table: &Table, ask: &Acquire, now: Timestamp) -> Result<Lease, NoAccount> {
        let mut sheet = Sheet::bounded(table.accounts.len());
        let (result, noted) = match self.take(table, ask, now, &mut sheet) {
            Ok((lease, chosen)) => (Ok(lease), Ok(chosen)),
            Err(none) => {
                let noted = none.noted();
                (Err(none), Err(noted))
            }
        };
        if let Some(record) = &ask.trace {
            record.looked(sheet, self.settings.strategy, noted);
        }
        result
    }

    fn take(
        &mut self,
        table: &Table,
        ask: &Acquire,
        now: Timestamp,
        sheet: &mut Sheet,
    ) -> Result<(Lease, Chosen), NoAccount> {
        let rules = self.settings.rules(&self.catalogue);
        for _ in 0..TAKES_MAX {
            let choice = policy::choose(table, ask, &rules, now, &mut self.rng, sheet)?;
            let chosen = choice.noted();
            if let Some(lease) = choice.take(&self.bell) {
                return Ok((lease, chosen));
            }
        }
        Err(NoAccount::Busy)
    }
}
