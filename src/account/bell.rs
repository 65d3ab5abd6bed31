//! Tells the workers whose requests wait for a slot that one may be free.
//!
//! Nobody is told anything while nobody waits: then a slot that is given back costs one look at a counter.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering, fence};

use actix::{Message, Recipient};
use arc_swap::ArcSwap;

/// Something changed that those who wait may have waited for.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct Rung;

/// One for all workers.
#[derive(Default)]
pub(crate) struct Bell {
    waiting: AtomicUsize,
    lines: ArcSwap<Vec<Arc<Line>>>,
}

/// One worker's end of it.
pub(crate) struct Line {
    waiting: AtomicUsize,
    /// Told and not yet answered: a second message would say nothing new.
    rung: AtomicBool,
    wake: Recipient<Rung>,
}

/// Somebody who waits; counted until dropped.
#[derive(Debug)]
pub(crate) struct Waiting {
    bell: Arc<Bell>,
    line: Arc<Line>,
}

impl Bell {
    /// Adds a worker, told by `wake`.
    pub(crate) fn line(&self, wake: Recipient<Rung>) -> Arc<Line> {
        let line = Arc::new(Line { waiting: AtomicUsize::new(0), rung: AtomicBool::new(false), wake });
        self.lines.rcu(|lines| lines.iter().chain([&line]).map(Arc::clone).collect::<Vec<_>>());
        line
    }

    /// Counts somebody who waits on `line`.
    ///
    /// Whoever calls this looks once more afterwards: what became free before the count rang for nobody.
    pub(crate) fn wait(self: &Arc<Self>, line: &Arc<Line>) -> Waiting {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        line.waiting.fetch_add(1, Ordering::Relaxed);
        // Pairs with the fence of `ring`: either the look that follows sees what became free, or `ring` sees the count.
        fence(Ordering::SeqCst);
        Waiting { bell: Arc::clone(self), line: Arc::clone(line) }
    }

    /// Tells every worker where somebody waits. Called after the change that they wait for.
    pub(crate) fn ring(&self) {
        fence(Ordering::SeqCst);
        if self.waiting.load(Ordering::Relaxed) == 0 {
            return;
        }
        for line in self.lines.load().iter() {
            if line.waiting.load(Ordering::Relaxed) > 0 && !line.rung.swap(true, Ordering::AcqRel) {
                // One message at most is under way, so the mailbox's own bound may be passed over.
                line.wake.do_send(Rung);
            }
        }
    }

    /// Returns how many wait, on all workers.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }
}

impl Line {
    /// The worker looks now: what changes from here on rings anew.
    pub(crate) fn answered(&self) {
        self.rung.swap(false, Ordering::AcqRel);
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.line.waiting.fetch_sub(1, Ordering::Relaxed);
        self.bell.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

impl fmt::Debug for Bell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bell").field("waiting", &self.waiting()).finish_non_exhaustive()
    }
}

impl fmt::Debug for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Line").field("waiting", &self.waiting).finish_non_exhaustive()
    }
}
