//! Whether a request was rightly refused: no healthy account is skipped while the client gets an error.
//!
//! An account that could serve, by what is really the matter out there, may be passed over only for one of a few reasons:
//! the request has tried it; the table in hand shows it blocked, which [`super::invariants`] allows for real faults of
//! that very scope alone; it has no slot; or it has no grant, and the request waited for one in vain.

use std::time::Duration;

use super::accounts::Account;
use super::requests::Request;
use super::truth::{Cause, Truth};
use super::world::{LOOK_EVERY, World};
use crate::account::api::{Snapshot, Standing};
use crate::domain::fault::Reason;
use crate::domain::model::ModelName;
use crate::domain::time::Timestamp;
use crate::router::api::NoAccount;

/// How often a request may wait for grants.
const WAITS: u32 = 3;

/// Why an account was passed over.
#[derive(Debug)]
pub(super) enum Excuse {
    Tried,
    Blocked,
    Full,
    Probed,
    NoGrantToBeHad,
    WaitedForGrant,
}

impl World {
    /// The client gets an error instead of an answer.
    pub(super) fn refuse(&mut self, request: &Request, none: &NoAccount) {
        let id = request.id;
        self.say(|| format!("request {id} is refused: {none}"));
        let mut skipped = None;
        for snapshot in &self.table.accounts {
            let Some(account) = self.accounts.get(&snapshot.id) else { continue };
            if let Some(model) = self.could_serve(request, snapshot, account) {
                match self.excuse(request, snapshot, &model) {
                    Some(_) => {}
                    None => skipped = Some((snapshot.clone(), model)),
                }
            }
        }
        if let Some((snapshot, model)) = skipped {
            self.broken(|| format!("request {id} is refused ({none:?}) though {snapshot:?} could serve {model}"));
        }
    }

    /// Returns the model that `account` would really serve the request with.
    fn could_serve(&self, request: &Request, snapshot: &Snapshot, account: &Account) -> Option<ModelName> {
        let settings = &account.settings;
        let of_pool = |pool: &str| request.pools.is_empty() || request.pools.iter().any(|one| one == pool);
        // What an operator has just changed counts from when it is published.
        if !(snapshot.enabled && settings.enabled && of_pool(&snapshot.pool) && of_pool(settings.pool)) {
            return None;
        }
        let gateway = self.truth.gateway_of(account.user);
        let model = Truth::model_for(&request.wanted, gateway, &self.catalogue)?;
        let grant = snapshot.usable_grant(self.now).map(|grant| grant.generation.number());
        self.truth.is_able(account.user, grant, &model).then_some(model)
    }

    fn excuse(&self, request: &Request, snapshot: &Snapshot, model: &ModelName) -> Option<Excuse> {
        let now = self.now;
        if request.retries.tried().contains(&snapshot.id) {
            return (!has_second_chance(request, snapshot, now)).then_some(Excuse::Tried);
        }
        // Of a block that has ended those who wait hear with the next look.
        let looked = now - LOOK_EVERY - Duration::from_millis(1);
        let is_blocked = |at| matches!(snapshot.standing(model, at), Standing::Blocked { .. });
        if is_blocked(now) || is_blocked(looked) {
            // A grant that was refused once is replaced at once: that is worth a wait.
            let replaced = |s: &Snapshot| {
                s.block.as_ref().is_some_and(|block| block.reason == Reason::GrantRefused && block.attempts == 1)
            };
            if !(replaced(snapshot) && snapshot.usable_grant(now).is_none()) {
                return Some(Excuse::Blocked);
            }
        }
        if snapshot.usable_grant(now).is_none() {
            let is_due = snapshot.trouble.as_ref().is_some_and(|trouble| !trouble.holds(now));
            if snapshot.trouble.as_ref().is_some_and(|trouble| trouble.holds(now)) || !(snapshot.renewable || is_due) {
                return Some(Excuse::NoGrantToBeHad);
            }
            let waited = request.hoped.contains(&snapshot.id) || request.waits >= WAITS;
            return waited.then_some(Excuse::WaitedForGrant);
        }
        if snapshot.gauge.in_flight() >= snapshot.max_concurrency {
            return Some(Excuse::Full);
        }
        let is_unproven = [now, looked].iter().any(|at| snapshot.standing(model, *at) == Standing::Unproven);
        (is_unproven && snapshot.gauge.is_probing()).then_some(Excuse::Probed)
    }
}

/// Returns whether the account failed the request for its grant alone, and has another one by now.
fn has_second_chance(request: &Request, snapshot: &Snapshot, now: Timestamp) -> bool {
    let mut failures = request.failures.iter().filter(|(id, ..)| *id == snapshot.id);
    let (Some((_, old, Cause::Grant)), None) = (failures.next(), failures.next()) else { return false };
    request.waits < WAITS && snapshot.usable_grant(now).is_some_and(|grant| grant.generation > *old)
}
