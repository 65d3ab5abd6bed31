//! What a shutdown needs to know: how many requests are open, and whether their time is up.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};

use tokio::sync::Notify;

const SERVING: u8 = 0;
const DRAINING: u8 = 1;
const ENDING: u8 = 2;

/// Shared by all workers and the shutdown.
#[derive(Debug, Default)]
pub(crate) struct Drain {
    phase: AtomicU8,
    open: AtomicUsize,
    closed: Notify,
}

/// One open request; closed on drop.
#[derive(Debug)]
pub(crate) struct Open(Arc<Drain>);

impl Drain {
    /// Counts a request until the guard is dropped; `None` once the server is stopping.
    pub(crate) fn enter(self: &Arc<Self>) -> Option<Open> {
        // Counted first: a shutdown that reads the count after changing the phase misses nobody.
        self.open.fetch_add(1, Ordering::SeqCst);
        let open = Open(Arc::clone(self));
        (self.phase.load(Ordering::SeqCst) == SERVING).then_some(open)
    }

    /// Returns how many requests are open.
    pub(crate) fn open(&self) -> usize {
        self.open.load(Ordering::SeqCst)
    }

    /// Lets nobody in any more.
    pub(crate) fn start(&self) {
        self.phase.store(DRAINING, Ordering::SeqCst);
    }

    /// Tells the requests that are left to end.
    pub(crate) fn end(&self) {
        self.phase.store(ENDING, Ordering::SeqCst);
    }

    /// Returns whether the server still takes requests.
    pub(crate) fn is_serving(&self) -> bool {
        self.phase.load(Ordering::SeqCst) == SERVING
    }

    /// Returns whether a stream must end now.
    pub(crate) fn is_ending(&self) -> bool {
        self.phase.load(Ordering::Relaxed) == ENDING
    }

    /// Waits until no request is open.
    pub(crate) async fn empty(&self) {
        loop {
            let closed = self.closed.notified();
            tokio::pin!(closed);
            closed.as_mut().enable();
            if self.open() == 0 {
                return;
            }
            closed.await;
        }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        if self.0.open.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.0.closed.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[actix::test]
    async fn a_drain_waits_for_open_requests_and_lets_nobody_in() {
        let drain = Arc::new(Drain::default());
        let open = drain.enter().unwrap();
        drain.start();
        assert!(drain.enter().is_none());
        assert_eq!(drain.open(), 1);
        let waiting = drain.empty();
        tokio::pin!(waiting);
        assert!(futures::poll!(waiting.as_mut()).is_pending());
        drop(open);
        waiting.await;
    }
}
