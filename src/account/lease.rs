//! The right to send one request on one account.

use std::sync::Arc;
use std::time::Duration;

use crate::account::api::{News, SharedNews, Snapshot};
pub(crate) use crate::account::bell::{Bell, Line, Rung, Waiting};
pub(crate) use crate::account::gauge::Gauge;
use crate::account::gauge::{Probe, Slot};
use crate::account::shared_health::{Epoch, Event, Shared, Trying, Way};
use crate::domain::fault::{Fault, Reason, Scope};
use crate::domain::model::{Dialect, ModelName};
use crate::domain::time::Timestamp;
use crate::gitlab::gateway::Grant;

/// What a lease is for.
#[derive(Debug)]
pub(crate) struct Terms {
    /// The exact name to send as `model`.
    pub(crate) model: ModelName,
    /// The dialect to send in.
    pub(crate) dialect: Dialect,
    /// Whether it tries out an account of which it is not known that it is well again: one request at a time may.
    pub(crate) is_probe: bool,
    /// Where the account stands from now on in the strategy's order, if that has one.
    pub(crate) turn: Option<u64>,
    /// The shared health that it was chosen by.
    pub(crate) shared: Arc<Shared>,
    /// When that was.
    pub(crate) now: Timestamp,
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
    /// Given back before the slot, which rings for both.
    probe: Option<Probe>,
    /// What it tries out that others depend on, too; given back likewise.
    tries: Vec<Trying>,
    _slot: Slot,
    /// What had happened to others when it was chosen.
    epoch: Epoch,
    /// Whether the account was told that it is well, and the others that what they share is.
    told: bool,
    told_others: bool,
}

impl Lease {
    /// Takes a slot on `account` on these terms; whoever waits for it is told by `bell` when it is given back.
    ///
    /// Returns `None` if another worker took the last slot or the probe since the table was read, or the account has no
    /// grant.
    pub(crate) fn take(account: &Arc<Snapshot>, terms: Terms, bell: &Arc<Bell>) -> Option<Self> {
        let grant = Arc::clone(account.grant.as_ref()?);
        let probe = if terms.is_probe { Some(account.gauge.probe(bell)?) } else { None };
        let Terms { model, dialect, shared, now, .. } = terms;
        let tries = if shared.is_empty() {
            Vec::new()
        } else {
            shared.try_out(&grant.gateway, &model, &account.group, bell, now)?
        };
        let slot = account.gauge.take(account.max_concurrency, bell)?;
        if let Some(turn) = terms.turn {
            account.gauge.set_turn(turn);
        }
        let (account, epoch) = (Arc::clone(account), shared.epoch());
        let (told, told_others) = (false, false);
        Some(Self { account, grant, model, dialect, probe, tries, _slot: slot, epoch, told, told_others })
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

    /// Takes in that the first content came, `took` after the request was sent: the account serves, whatever becomes of
    /// the answer.
    pub(crate) fn began(&mut self, took: Duration, now: Timestamp) {
        self.account.gauge.note_pace(took, now);
        self.is_well();
        self.probe = None;
        self.tries.clear();
    }

    /// Gives the slot back after an answer that came to its end.
    pub(crate) fn succeeded(mut self) {
        self.account.gauge.count_served();
        self.is_well();
    }

    /// Gives the slot back and tells the account at once what went wrong.
    pub(crate) fn failed(self, fault: Fault) {
        self.account.gauge.count_failed();
        let (generation, model) = (self.grant.generation, self.model.clone());
        let for_others = (concerns_others(&fault) || self.others_doubt()).then(|| fault.clone());
        self.tell(News::Failed { generation, model, fault });
        if let Some(fault) = for_others {
            self.tell_others(Event::Failed(self.way(), fault), true);
        }
    }

    fn is_well(&mut self) {
        // Only an account that was in doubt hears of it: the happy path wakes no other thread.
        if !self.told && self.account.in_doubt(&self.model) {
            self.told = true;
            self.tell(News::Succeeded { model: self.model.clone() });
        }
        if !self.told_others && self.others_doubt() {
            self.told_others = true;
            self.tell_others(Event::Succeeded(self.way()), false);
        }
    }

    /// Returns whether somebody doubts by now that what this request went through is well.
    fn others_doubt(&self) -> bool {
        let Some(desk) = &self.account.desk else { return false };
        desk.0.shared().in_doubt(&self.grant.gateway, &self.model, &self.account.group)
    }

    fn way(&self) -> Way {
        Way {
            account: self.account.id.clone(),
            group: self.account.group.clone(),
            gateway: self.grant.gateway.clone(),
            model: self.model.clone(),
            epoch: self.epoch,
        }
    }

    /// Tells whoever owns what is shared; what is `new` gets its number now, before anything else is chosen.
    fn tell_others(&self, event: Event, new: bool) {
        if let Some(desk) = &self.account.desk {
            let at = new.then(|| desk.0.shared().next_epoch());
            desk.0.tell_others(SharedNews { event, at });
        }
    }

    fn tell(&self, news: News) {
        if let Some(desk) = &self.account.desk {
            desk.0.tell(news);
        }
    }
}

/// Returns whether a fault reaches further than its account, or hints at what may.
fn concerns_others(fault: &Fault) -> bool {
    match fault.scope {
        Scope::Namespace | Scope::Provider | Scope::Gateway | Scope::Instance | Scope::Host => true,
        Scope::Request | Scope::Model | Scope::Account => fault.reason == Reason::QuotaExhausted,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::account::api::tests::{NOW, snapshot};

    fn lease(account: &Arc<Snapshot>) -> Option<Lease> {
        terms(account, false)
    }

    fn terms(account: &Arc<Snapshot>, is_probe: bool) -> Option<Lease> {
        let model = ModelName::parse("claude-sonnet-5").unwrap();
        let (dialect, shared) = (Dialect::Messages, Arc::default());
        Lease::take(account, Terms { model, dialect, is_probe, turn: None, shared, now: NOW }, &Arc::default())
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
    fn the_probe_is_over_with_the_first_content_or_with_the_lease() {
        let account = snapshot("a", |_| {});
        let mut first = terms(&account, true).unwrap();
        assert!(terms(&account, true).is_none());
        first.began(Duration::from_millis(300), NOW);
        assert_eq!((account.gauge.in_flight(), account.gauge.pace_ms(NOW)), (1, Some(300)));
        let second = terms(&account, true).unwrap();
        assert!(account.gauge.is_probing());
        drop(second);
        assert_eq!((account.gauge.in_flight(), account.gauge.is_probing()), (1, false));
    }

    #[test]
    fn a_lease_that_is_not_to_be_had_leaves_nothing_taken() {
        let account = snapshot("a", |snapshot| snapshot.max_concurrency = 0);
        assert!(terms(&account, true).is_none());
        assert_eq!((account.gauge.in_flight(), account.gauge.is_probing()), (0, false));
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
