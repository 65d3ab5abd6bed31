//! The traces of the last requests, bounded in number and in bytes.

use std::collections::VecDeque;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::trace::record::Record;

/// Requests that are kept. Somebody who asks why does so minutes later: enough for an hour of a busy team.
pub(crate) const RECORDS_MAX: usize = 4_096;
/// Memory that they may take, in bytes; about 1 KiB each where ten accounts are looked at. Those that are in progress
/// are weighed when they end, and are bounded by the requests in flight.
const BYTES_MAX: usize = 4 * 1_024 * 1_024;
/// What a record that has just begun is counted with.
const BYTES_BEGUN: usize = 1_024;

/// The last requests of all workers.
///
/// One lock for all of them, held for a push and a pop: a few dozen nanoseconds per request.
#[derive(Debug, Default)]
pub(crate) struct Ring {
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    /// The oldest first, each with a hash of its id, so that a search does not touch every record.
    records: VecDeque<(u64, Arc<Record>)>,
    bytes: usize,
}

impl Kept {
    /// Lets the oldest go while there are too many; returns them, to be freed outside of the lock.
    fn trim(&mut self) -> Vec<Arc<Record>> {
        let mut gone = Vec::new();
        while self.records.len() > RECORDS_MAX || (self.bytes > BYTES_MAX && self.records.len() > 1) {
            let Some((_, oldest)) = self.records.pop_front() else { break };
            self.bytes -= oldest.counted.swap(0, Ordering::Relaxed);
            gone.push(oldest);
        }
        gone
    }
}

impl Ring {
    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts a record in, which makes it the newest.
    pub(super) fn put(&self, record: &Arc<Record>) {
        let (mark, record) = (mark(record.id().as_str()), Arc::clone(record));
        record.counted.store(BYTES_BEGUN, Ordering::Relaxed);
        let gone = {
            let mut kept = self.kept();
            kept.records.push_back((mark, record));
            kept.bytes += BYTES_BEGUN;
            kept.trim()
        };
        drop(gone);
    }

    /// Counts `record` with so many bytes from now on, if it is still there.
    pub(super) fn weigh(&self, record: &Record, bytes: usize) {
        let gone = {
            let mut kept = self.kept();
            let counted = record.counted.load(Ordering::Relaxed);
            if counted == 0 {
                return;
            }
            record.counted.store(bytes, Ordering::Relaxed);
            kept.bytes = kept.bytes - counted + bytes;
            kept.trim()
        };
        drop(gone);
    }

    /// Returns the record of a request.
    pub(crate) fn find(&self, id: &str) -> Option<Arc<Record>> {
        let wanted = mark(id);
        let kept = self.kept();
        let mut found = kept.records.iter().rev().filter(|(mark, _)| *mark == wanted).map(|(_, record)| record);
        found.find(|record| record.id().as_str() == id).cloned()
    }

    /// Returns the last records, the newest first.
    pub(crate) fn last(&self, most: usize) -> Vec<Arc<Record>> {
        self.kept().records.iter().rev().take(most).map(|(_, record)| Arc::clone(record)).collect()
    }
}

fn mark(id: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    id.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::id::RequestId;
    use crate::domain::model::Dialect;
    use crate::domain::strategy::Strategy;
    use crate::domain::time::Timestamp;
    use crate::trace::record::{Begun, Nobody, Outcome, Trail};
    use crate::trace::sheet::tests::seen;
    use crate::trace::sheet::{Sheet, Verdict};

    fn trail(ring: &Arc<Ring>) -> Trail {
        let at = Timestamp::from_secs(1_800_000_000);
        let begun = Begun { at, client: 0, dialect: Dialect::Messages, counts_tokens: false };
        Trail::begin(ring, RequestId::new(&mut rand::rng()), begun)
    }

    fn id(trail: &Trail) -> String {
        trail.record().id().to_string()
    }

    fn bytes(ring: &Ring) -> usize {
        ring.kept().bytes
    }

    #[test]
    fn the_last_requests_are_kept_and_no_more() {
        let ring = Arc::new(Ring::default());
        let ids: Vec<String> = (0..RECORDS_MAX + 10).map(|_| id(&trail(&ring))).collect();
        assert!(ids[..10].iter().all(|id| ring.find(id).is_none()), "the oldest have gone");
        assert!(ids[10..].iter().all(|id| ring.find(id).is_some_and(|record| record.id().as_str() == id)));
        let last: Vec<String> = ring.last(3).iter().map(|record| record.id().to_string()).collect();
        assert_eq!(last, [ids[RECORDS_MAX + 9].as_str(), &ids[RECORDS_MAX + 8], &ids[RECORDS_MAX + 7]]);
        assert_eq!(ring.last(usize::MAX).len(), RECORDS_MAX);
    }

    #[test]
    fn memory_is_bounded_whatever_the_requests_looked_at() {
        let ring = Arc::new(Ring::default());
        for _ in 0..RECORDS_MAX {
            let trail = trail(&ring);
            for _ in 0..8 {
                trail.attempt();
                let mut sheet = Sheet::bounded(64);
                (0..64).for_each(|_| sheet.note(Verdict::Full, || seen("acct", Verdict::Full)));
                trail.record().looked(sheet, Strategy::Balanced, Err(Nobody::Busy));
            }
            trail.finish(Outcome::Finished);
            assert!(bytes(&ring) <= BYTES_MAX, "{}", bytes(&ring));
        }
        let kept: Vec<_> = ring.last(usize::MAX);
        assert!(!kept.is_empty() && kept.len() < RECORDS_MAX);
        let truly: usize = kept.iter().map(|record| record.write().bytes()).sum();
        assert_eq!(truly, bytes(&ring), "what is counted is what is there");
    }

    #[test]
    fn a_request_that_outlives_its_place_is_not_counted_any_more() {
        let ring = Arc::new(Ring::default());
        let long = trail(&ring);
        (0..RECORDS_MAX).for_each(|_| drop(trail(&ring)));
        assert!(ring.find(&id(&long)).is_none());
        let before = bytes(&ring);
        long.attempt();
        drop(long);
        assert_eq!(bytes(&ring), before);
    }
}
