//! Who tries out whether something shared is well again: one request at a time.
//!
//! Read by every worker at every choice while something is unproven, so it is an atomic, like the gauge of an account.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::account::bell::Bell;
use crate::domain::time::Timestamp;

/// Longest time that others wait for the one that tries. A model may think for minutes before its first word, and while
/// it does, everybody who depends on the same thing would wait with it.
const PATIENCE: Duration = Duration::from_secs(10);

/// The place of the one that tries.
#[derive(Debug, Default)]
pub(crate) struct Trial {
    /// When it began, in milliseconds; zero: nobody tries.
    began: AtomicU64,
}

impl Trial {
    /// Returns whether somebody tries, and is still waited for.
    pub(crate) fn is_out(&self, now: Timestamp) -> bool {
        is_waited_for(self.began.load(Ordering::Relaxed), now)
    }

    /// Takes the place, unless somebody has it who is still waited for.
    pub(crate) fn begin(self: &Arc<Self>, bell: &Arc<Bell>, now: Timestamp) -> Option<Trying> {
        let began = now.as_millis().max(1);
        let take = |there: u64| (!is_waited_for(there, now)).then_some(began);
        self.began.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).ok()?;
        Some(Trying { trial: Arc::clone(self), began, bell: Arc::clone(bell) })
    }
}

/// A time ahead of the clock is from before the clock was set back: nobody waits for that.
fn is_waited_for(began: u64, now: Timestamp) -> bool {
    let now = now.as_millis();
    began != 0 && began <= now.max(1) && Duration::from_millis(now - began.min(now)) < PATIENCE
}

/// The one that tries; gives its place back on drop, whatever happens.
#[derive(Debug)]
pub(crate) struct Trying {
    trial: Arc<Trial>,
    began: u64,
    bell: Arc<Bell>,
}

impl Drop for Trying {
    fn drop(&mut self) {
        // Another may have taken it over, which is then not this one's to give back.
        let given = self.trial.began.compare_exchange(self.began, 0, Ordering::Relaxed, Ordering::Relaxed);
        if given.is_ok() {
            self.bell.ring();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);

    #[test]
    fn one_tries_at_a_time_and_a_slow_one_is_not_waited_for() {
        let (trial, bell) = (Arc::new(Trial::default()), Arc::new(Bell::default()));
        let first = trial.begin(&bell, NOW).unwrap();
        let soon = NOW + PATIENCE - Duration::from_millis(1);
        assert!(trial.is_out(soon) && trial.begin(&bell, soon).is_none());
        let late = NOW + PATIENCE;
        let second = trial.begin(&bell, late).unwrap();
        drop(first);
        assert!(trial.is_out(late), "the slow one took the other's place with it");
        drop(second);
        assert!(!trial.is_out(late));
    }

    #[test]
    fn a_clock_that_is_set_back_ends_the_wait() {
        let (trial, bell) = (Arc::new(Trial::default()), Arc::new(Bell::default()));
        let _first = trial.begin(&bell, NOW).unwrap();
        assert!(!trial.is_out(NOW - Duration::from_hours(1)));
    }
}
