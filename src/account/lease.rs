//! The right to send one request on one account.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use crate::account::api::{News, Snapshot};
use crate::domain::fault::Fault;
use crate::domain::model::{Dialect, ModelName};
use crate::gitlab::gateway::Grant;

/// How many requests an account is serving, and how many it has served: the only shared state that changes in place.
#[derive(Debug, Default)]
pub(crate) struct Gauge {
    in_flight: AtomicU32,
    served: AtomicU64,
    failed: AtomicU64,
}

impl Gauge {
    /// Returns the number of leases that are out.
    pub(crate) fn in_flight(&self) -> u32 {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// Returns how many requests ended well since the process started.
    pub(crate) fn served(&self) -> u64 {
        self.served.load(Ordering::Relaxed)
    }

    /// Returns how many requests ended in a fault since the process started.
    pub(crate) fn failed(&self) -> u64 {
        self.failed.load(Ordering::Relaxed)
    }

    /// Takes a slot unless `limit` are out already.
    fn take(self: &Arc<Self>, limit: u32) -> Option<Slot> {
        let more = |out: u32| (out < limit).then_some(out + 1);
        self.in_flight.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).ok()?;
        Some(Slot(Arc::clone(self)))
    }
}

/// One request's place in a gauge; given back on drop, whatever happens.
#[derive(Debug)]
struct Slot(Arc<Gauge>);

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Permission to send one request upstream, with what it takes to send it.
///
/// Dropping it unsettled, as when a client leaves, gives the slot back and says nothing about the account.
#[derive(Debug)]
pub(crate) struct Lease {
    account: Arc<Snapshot>,
    grant: Arc<Grant>,
    model: ModelName,
    dialect: Dialect,
    slot: Slot,
}

impl Lease {
    /// Takes a slot on `account` for `model`, to be spoken to in `dialect`.
    ///
    /// Returns `None` if another worker took the last slot since the table was read, or the account has no grant.
    pub(crate) fn take(account: &Arc<Snapshot>, model: ModelName, dialect: Dialect) -> Option<Self> {
        let grant = Arc::clone(account.grant.as_ref()?);
        let slot = account.gauge.take(account.max_concurrency)?;
        Some(Self { account: Arc::clone(account), grant, model, dialect, slot })
    }

    /// Returns the account as it was when it was chosen.
    pub(crate) fn account(&self) -> &Snapshot {
        &self.account
    }

    /// Returns the grant to send under.
    pub(crate) fn grant(&self) -> &Grant {
        &self.grant
    }

    /// Returns the exact name to send as `model`.
    pub(crate) fn model(&self) -> &ModelName {
        &self.model
    }

    /// Returns the dialect to send in.
    pub(crate) fn dialect(&self) -> Dialect {
        self.dialect
    }

    /// Gives the slot back after an answer that came to its end.
    pub(crate) fn succeeded(self) {
        self.slot.0.served.fetch_add(1, Ordering::Relaxed);
        // Only an account that was in doubt hears of it: the happy path wakes no other thread.
        if self.account.in_doubt(&self.model) {
            self.tell(News::Succeeded { model: self.model.clone() });
        }
    }

    /// Gives the slot back and tells the account at once what went wrong.
    pub(crate) fn failed(self, fault: Fault) {
        self.slot.0.failed.fetch_add(1, Ordering::Relaxed);
        self.tell(News::Failed { generation: self.grant.generation, model: self.model.clone(), fault });
    }

    fn tell(&self, news: News) {
        if let Some(desk) = &self.account.desk {
            // Bounded by the leases that are out, so the mailbox's own bound may be passed over.
            desk.news.do_send(news);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::account::api::tests::snapshot;

    fn lease(account: &Arc<Snapshot>) -> Option<Lease> {
        Lease::take(account, ModelName::parse("claude-sonnet-5").unwrap(), Dialect::Messages)
    }

    #[test]
    fn slots_in_use_are_requests_in_flight() {
        let account = snapshot("a", |snapshot| snapshot.max_concurrency = 2);
        let first = lease(&account).unwrap();
        let second = lease(&account).unwrap();
        assert_eq!(account.gauge.in_flight(), 2);
        assert!(lease(&account).is_none());
        drop(first);
        second.succeeded();
        assert_eq!((account.gauge.in_flight(), account.gauge.served()), (0, 1));
    }

    #[test]
    fn slots_are_never_lost_or_doubled_between_threads() {
        let account = snapshot("a", |snapshot| snapshot.max_concurrency = 3);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..2_000 {
                        let held = lease(&account);
                        assert!(account.gauge.in_flight() <= 3);
                        drop(held);
                    }
                });
            }
        });
        assert_eq!(account.gauge.in_flight(), 0);
    }
}
