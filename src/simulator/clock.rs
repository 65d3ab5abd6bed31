//! The simulator's time: the machine's or a test's clock, moved while the simulator runs.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use crate::domain::time::{Clock, Timestamp};

/// A clock that can be moved against the one it reads.
#[derive(Debug)]
pub(crate) struct ShiftedClock {
    base: Arc<dyn Clock>,
    offset_ms: AtomicI64,
}

impl ShiftedClock {
    pub(crate) fn new(base: Arc<dyn Clock>) -> Self {
        Self { base, offset_ms: AtomicI64::new(0) }
    }

    /// Moves by so many milliseconds; negative goes back.
    pub(crate) fn shift(&self, by_ms: i64) {
        self.offset_ms.fetch_add(by_ms, Ordering::SeqCst);
    }

    /// Sets the distance to the clock below in milliseconds.
    pub(crate) fn set_offset_ms(&self, offset_ms: i64) {
        self.offset_ms.store(offset_ms, Ordering::SeqCst);
    }

    /// Returns the distance to the clock below in milliseconds.
    pub(crate) fn offset_ms(&self) -> i64 {
        self.offset_ms.load(Ordering::SeqCst)
    }
}

impl Clock for ShiftedClock {
    fn now(&self) -> Timestamp {
        let offset_ms = self.offset_ms();
        let distance = Duration::from_millis(offset_ms.unsigned_abs());
        if offset_ms < 0 { self.base.now() - distance } else { self.base.now() + distance }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::time::TestClock;

    #[test]
    fn it_goes_forward_and_back_against_the_clock_below() {
        let below = TestClock::at(Timestamp::from_secs(100));
        let clock = ShiftedClock::new(Arc::new(below.clone()));
        clock.shift(5_000);
        below.advance(Duration::from_secs(1));
        assert_eq!(clock.now(), Timestamp::from_secs(106));
        clock.shift(-10_000);
        assert_eq!((clock.now(), clock.offset_ms()), (Timestamp::from_secs(96), -5_000));
        clock.set_offset_ms(0);
        assert_eq!(clock.now(), Timestamp::from_secs(101));
    }
}
