//! How busy and how quick an account is: the only shared state that changes in place.
//!
//! Read by every worker at every choice, so all of it is atomics, and none of them is waited for.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use crate::account::bell::Bell;
use crate::domain::time::Timestamp;

/// What the latest answer counts in an account's pace, as a divisor.
const PACE_SHARE: u32 = 4;
/// A pace is believed for this long after the last answer: an account that is avoided for its slowness must get to show
/// that it has become quick again.
const PACE_BELIEVED_FOR: Duration = Duration::from_mins(2);

/// An account's counters.
#[derive(Debug, Default)]
pub(crate) struct Gauge {
    in_flight: AtomicU32,
    probing: AtomicBool,
    turn: AtomicU64,
    /// Milliseconds in the upper half; in the lower half when that was, in seconds. Zero: nothing known.
    pace: AtomicU64,
    served: AtomicU64,
    failed: AtomicU64,
}

impl Gauge {
    /// Returns the number of leases that are out.
    pub(crate) fn in_flight(&self) -> u32 {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// Returns whether a request is trying out whether the account is well again.
    pub(crate) fn is_probing(&self) -> bool {
        self.probing.load(Ordering::Relaxed)
    }

    /// Returns where the account stands in the order of the strategies that have one; what it means is theirs.
    pub(crate) fn turn(&self) -> u64 {
        self.turn.load(Ordering::Relaxed)
    }

    /// Returns how many milliseconds the first content of its answers takes, on average over the last few.
    pub(crate) fn pace_ms(&self, now: Timestamp) -> Option<u32> {
        fresh(self.pace.load(Ordering::Relaxed), seconds(now))
    }

    /// Returns how many requests ended well since the process started.
    pub(crate) fn served(&self) -> u64 {
        self.served.load(Ordering::Relaxed)
    }

    /// Returns how many requests ended in a fault since the process started.
    pub(crate) fn failed(&self) -> u64 {
        self.failed.load(Ordering::Relaxed)
    }

    pub(super) fn count_served(&self) {
        self.served.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn count_failed(&self) {
        self.failed.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn set_turn(&self, turn: u64) {
        self.turn.store(turn, Ordering::Relaxed);
    }

    /// Takes in that first content came after `took`.
    pub(super) fn note_pace(&self, took: Duration, now: Timestamp) {
        let sample = u32::try_from(took.as_millis()).unwrap_or(u32::MAX).max(1);
        let now = seconds(now);
        let next = |old: u64| {
            let pace = fresh(old, now).map_or(sample, |pace| pace - pace / PACE_SHARE + sample / PACE_SHARE);
            Some(u64::from(pace.max(1)) << 32 | u64::from(now))
        };
        // The function never declines.
        self.pace.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next).unwrap_or_default();
    }

    /// Takes a slot unless `limit` are out already.
    pub(super) fn take(self: &Arc<Self>, limit: u32, bell: &Arc<Bell>) -> Option<Slot> {
        let more = |out: u32| (out < limit).then_some(out + 1);
        self.in_flight.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).ok()?;
        Some(Slot { gauge: Arc::clone(self), bell: Arc::clone(bell) })
    }

    /// Takes the one probe, unless it is out.
    pub(super) fn probe(self: &Arc<Self>, bell: &Arc<Bell>) -> Option<Probe> {
        let taken = self.probing.swap(true, Ordering::Relaxed);
        (!taken).then(|| Probe { gauge: Arc::clone(self), bell: Arc::clone(bell) })
    }
}

fn fresh(pace: u64, now: u32) -> Option<u32> {
    let (pace, at) = ((pace >> 32) as u32, pace & u64::from(u32::MAX));
    let believed = u64::from(now) <= at + PACE_BELIEVED_FOR.as_secs();
    Some(pace).filter(|pace| *pace > 0 && believed)
}

/// Until the year 2106.
fn seconds(now: Timestamp) -> u32 {
    u32::try_from(now.as_secs()).unwrap_or(u32::MAX)
}

/// One request's place in a gauge; given back on drop, whatever happens.
#[derive(Debug)]
pub(super) struct Slot {
    gauge: Arc<Gauge>,
    bell: Arc<Bell>,
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.gauge.in_flight.fetch_sub(1, Ordering::Relaxed);
        self.bell.ring();
    }
}

/// The right to try out an account that was blocked; given back on drop, whatever happens.
#[derive(Debug)]
pub(super) struct Probe {
    gauge: Arc<Gauge>,
    bell: Arc<Bell>,
}

impl Drop for Probe {
    fn drop(&mut self) {
        self.gauge.probing.store(false, Ordering::Relaxed);
        self.bell.ring();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);

    #[test]
    fn a_pace_follows_the_answers_and_is_forgotten() {
        let gauge = Gauge::default();
        assert_eq!(gauge.pace_ms(NOW), None);
        gauge.note_pace(Duration::from_secs(1), NOW);
        gauge.note_pace(Duration::from_secs(2), NOW);
        assert_eq!(gauge.pace_ms(NOW), Some(1_250));
        assert_eq!(gauge.pace_ms(NOW + PACE_BELIEVED_FOR), Some(1_250));
        let later = NOW + PACE_BELIEVED_FOR + Duration::from_secs(1);
        assert_eq!(gauge.pace_ms(later), None);
        gauge.note_pace(Duration::from_millis(80), later);
        assert_eq!(gauge.pace_ms(later), Some(80));
    }

    #[test]
    fn there_is_one_probe_at_a_time() {
        let (gauge, bell) = (Arc::new(Gauge::default()), Arc::new(Bell::default()));
        let probe = gauge.probe(&bell).unwrap();
        assert!(gauge.is_probing() && gauge.probe(&bell).is_none() && gauge.is_probing());
        drop(probe);
        assert!(!gauge.is_probing() && gauge.probe(&bell).is_some());
    }
}
