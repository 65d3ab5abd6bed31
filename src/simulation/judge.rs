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
use crate::account::api::{Block, Snapshot};
use crate::account::shared_health::{Passage, Site};
use crate::domain::fault::Reason;
use crate::domain::id::Generation;
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
    Shut,
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
        let grant = grant(snapshot, self.now).map(Generation::number);
        self.truth.is_able(account.user, grant, &model).then_some(model)
    }

    fn excuse(&self, request: &Request, snapshot: &Snapshot, model: &ModelName) -> Option<Excuse> {
        let now = self.now;
        if request.retries.tried().contains(&snapshot.id) {
            return (!has_second_chance(request, snapshot, now)).then_some(Excuse::Tried);
        }
        // Of a block that has ended those who wait hear with the next look.
        let looked = now - LOOK_EVERY - Duration::from_millis(1);
        if is_blocked(snapshot, model, now) || is_blocked(snapshot, model, looked) {
            // A grant that was refused once is replaced at once: that is worth a wait.
            let replaced = |s: &Snapshot| {
                s.block.as_ref().is_some_and(|block| block.reason == Reason::GrantRefused && block.attempts == 1)
            };
            if !(replaced(snapshot) && grant(snapshot, now).is_none()) {
                return Some(Excuse::Blocked);
            }
        }
        if grant(snapshot, now).is_none() {
            let is_due = snapshot.trouble.as_ref().is_some_and(|trouble| !trouble.holds(now));
            if snapshot.trouble.as_ref().is_some_and(|trouble| trouble.holds(now)) || !(snapshot.renewable || is_due) {
                return Some(Excuse::NoGrantToBeHad);
            }
            let waited = request.hoped.contains(&snapshot.id) || request.waits >= WAITS;
            return waited.then_some(Excuse::WaitedForGrant);
        }
        if self.is_shut(request, snapshot, model, now) || self.is_shut(request, snapshot, model, looked) {
            return Some(Excuse::Shut);
        }
        if snapshot.gauge.in_flight() >= snapshot.max_concurrency {
            return Some(Excuse::Full);
        }
        let probed = is_unproven(snapshot, model, now) && snapshot.gauge.is_probing();
        (probed || self.is_tried_out(snapshot, model)).then_some(Excuse::Probed)
    }
}

impl World {
    /// Returns the blocks that the account shares with others, on the way to `model`.
    pub(super) fn shared_blocks(&self, snapshot: &Snapshot, model: &ModelName, now: Timestamp) -> Vec<(Site, Block)> {
        let gateway = snapshot.grant.as_ref().map(|grant| &grant.gateway);
        let mut blocks = self.table.shared.blocked(now);
        blocks.retain(|(site, _)| match site {
            Site::Host => true,
            Site::Gateway(of) => Some(of) == gateway,
            Site::Provider(of, name) => Some(of) == gateway && name == model,
            Site::Namespace(of) => *of == snapshot.group,
            Site::Instance(_) => false,
        });
        blocks
    }

    /// Returns whether the way is shut for the request. What is only an opinion is no excuse for one that another account
    /// has failed.
    fn is_shut(&self, request: &Request, snapshot: &Snapshot, model: &ModelName, now: Timestamp) -> bool {
        let blocks = self.shared_blocks(snapshot, model, now);
        let is_certain = |(site, _): &(Site, Block)| matches!(site, Site::Namespace(_));
        if request.retries.tried().is_empty() { !blocks.is_empty() } else { blocks.iter().any(is_certain) }
    }

    /// Returns whether another request tries out something that the account shares with others.
    fn is_tried_out(&self, snapshot: &Snapshot, model: &ModelName) -> bool {
        let Some(grant) = &snapshot.grant else { return false };
        let passage = self.table.shared.passage(&grant.gateway, model, &snapshot.group, self.now);
        passage == Passage::Unproven { taken: true }
    }
}

/// Returns what stands against an account itself, for `model`.
fn blocks<'a>(snapshot: &'a Snapshot, model: &ModelName) -> impl Iterator<Item = &'a Block> {
    snapshot.block.iter().chain(snapshot.models.get(model))
}

/// Returns whether the account itself is blocked for `model`, said once more in other words.
pub(super) fn is_blocked(snapshot: &Snapshot, model: &ModelName, now: Timestamp) -> bool {
    blocks(snapshot, model).any(|block| now < block.until)
}

/// Returns whether a block has ended that nobody has tried out. A grant that was refused once and replaced is none.
pub(super) fn is_unproven(snapshot: &Snapshot, model: &ModelName, now: Timestamp) -> bool {
    let replaced = |block: &Block| block.reason == Reason::GrantRefused && block.attempts == 1;
    !is_blocked(snapshot, model, now) && blocks(snapshot, model).any(|block| !replaced(block))
}

/// Returns the number of the grant that a request can be sent under: one that ends in ten seconds could arrive too late.
pub(super) fn grant(snapshot: &Snapshot, now: Timestamp) -> Option<Generation> {
    let lasting = snapshot.grant.iter().find(|grant| grant.expires_at > now + Duration::from_secs(10));
    lasting.map(|grant| grant.generation)
}

/// Returns whether the account failed the request for its grant alone, and has another one by now.
fn has_second_chance(request: &Request, snapshot: &Snapshot, now: Timestamp) -> bool {
    let mut failures = request.failures.iter().filter(|(id, ..)| *id == snapshot.id);
    let (Some((_, old, Cause::Grant)), None) = (failures.next(), failures.next()) else { return false };
    request.waits < WAITS && grant(snapshot, now).is_some_and(|grant| grant > *old)
}
