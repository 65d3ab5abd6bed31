//! The chooser: which account serves a request.
//!
//! [`policy`] decides and is pure; [`RouterActor`] reads the published table and hands out leases. There is one router
//! per worker, on the worker's own thread, so that a choice never crosses a thread.

pub(crate) mod api;
mod policy;

use std::sync::Arc;

use actix::{Actor, Context, Handler};
use rand::SeedableRng;
use rand::rngs::StdRng;

use crate::account::lease::Lease;
use crate::account::registry::Published;
use crate::domain::catalogue::Catalogue;
use crate::domain::time::Clock;
use crate::router::api::{Acquire, NoAccount};

/// Asked by the handlers of one worker, each of which waits for its answer: bounded by the worker's connections.
const MAILBOX: usize = 32_768;
/// A slot may be taken by another worker between the choice and the taking; then the next best is chosen, this often.
const TAKES_MAX: usize = 8;

/// The chooser of one worker.
pub(crate) struct RouterActor {
    published: Published,
    catalogue: Arc<Catalogue>,
    clock: Arc<dyn Clock>,
    rng: StdRng,
    family_fallback: bool,
}

impl RouterActor {
    /// Builds the router of this worker.
    pub(crate) fn new(
        published: Published,
        catalogue: Arc<Catalogue>,
        clock: Arc<dyn Clock>,
        family_fallback: bool,
    ) -> Self {
        Self { published, catalogue, clock, rng: StdRng::from_rng(&mut rand::rng()), family_fallback }
    }
}

impl Actor for RouterActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(MAILBOX);
    }
}

impl Handler<Acquire> for RouterActor {
    type Result = Result<Lease, NoAccount>;

    fn handle(&mut self, ask: Acquire, _: &mut Self::Context) -> Self::Result {
        let table = self.published.load();
        let rules = policy::Rules { catalogue: &self.catalogue, family_fallback: self.family_fallback };
        let mut last = Err(NoAccount::Busy);
        for _ in 0..TAKES_MAX {
            let choice = policy::choose(&table, &ask, &rules, self.clock.now(), &mut self.rng)?;
            last = Lease::take(choice.account, choice.model, choice.dialect).ok_or(NoAccount::Busy);
            if last.is_ok() {
                break;
            }
        }
        last
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::catalogue::Wanted;
    use crate::domain::model::Dialect;
    use crate::domain::time::SystemClock;

    #[actix::test]
    async fn a_burst_of_requests_does_not_overrun_the_mailbox() {
        let catalogue = Arc::new(Catalogue::builtin().unwrap());
        let router = RouterActor::new(Published::default(), catalogue, Arc::new(SystemClock), true).start();
        let ask = || Acquire {
            wanted: Wanted::Current,
            dialects: &[Dialect::Messages],
            pools: Arc::new([]),
            tried: Vec::new(),
            refused: Vec::new(),
        };
        // Once it has answered it has started, and with it the mailbox of its own size; actix's default is 16.
        assert!(matches!(router.send(ask()).await, Ok(Err(NoAccount::Empty))));
        assert!((0..1_000).all(|_| router.try_send(ask()).is_ok()));
    }
}
