//! What the ends of requests say about the account.

use std::sync::Arc;

use rand::Rng;

use super::{Effect, State};
use crate::account::blocks::block_after;
use crate::domain::fault::{Fault, Hold, Reason, Scope};
use crate::domain::id::Generation;
use crate::domain::model::ModelName;
use crate::domain::time::Timestamp;

/// Two models out of credit mean that the account is.
pub(super) const MODELS_MEAN_ACCOUNT: usize = 2;
/// Models that may be blocked one by one; beyond, the one that ends first is forgotten. Bounds memory.
pub(super) const MODEL_BLOCKS_MAX: usize = 64;

impl State {
    pub(super) fn succeeded(&mut self, model: &ModelName, now: Timestamp) -> Vec<Effect> {
        let whole = self.block.take();
        let single = if self.models.contains_key(model) { Arc::make_mut(&mut self.models).remove(model) } else { None };
        let over: Vec<_> = whole.into_iter().chain(single).collect();
        for block in &over {
            self.gone(block, now);
        }
        publish_if(!over.is_empty())
    }

    pub(super) fn failed(
        &mut self,
        generation: Generation,
        model: ModelName,
        fault: &Fault,
        now: Timestamp,
        rng: &mut impl Rng,
    ) -> Vec<Effect> {
        if self.grant.as_ref().is_some_and(|grant| generation < grant.generation) {
            return Vec::new();
        }
        match (fault.scope, fault.hold) {
            (_, Hold::UntilMinted) => self.grant_refused(generation, fault, now, rng),
            (Scope::Account, Hold::For(_) | Hold::Backoff | Hold::UntilFixed) => {
                publish_if(self.block_account(fault, now, rng))
            }
            (Scope::Model, Hold::For(_) | Hold::Backoff | Hold::UntilFixed) => {
                publish_if(self.block_model(model, fault, now, rng))
            }
            // Wider than an account, the request's own, or without a hold: says nothing about this account.
            (
                Scope::Request | Scope::Namespace | Scope::Provider | Scope::Gateway | Scope::Instance | Scope::Host,
                _,
            )
            | (Scope::Account | Scope::Model, Hold::None) => Vec::new(),
        }
    }

    /// The gateway refused the grant: mint another one, once. If that one is refused as well, the account is blocked.
    fn grant_refused(
        &mut self,
        generation: Generation,
        fault: &Fault,
        now: Timestamp,
        rng: &mut impl Rng,
    ) -> Vec<Effect> {
        if self.grant.as_ref().is_none_or(|grant| grant.generation != generation) {
            return Vec::new();
        }
        let backoff = Fault { hold: Hold::Backoff, ..fault.clone() };
        self.block_account(&backoff, now, rng);
        self.grant = None;
        self.mint_at = now;
        let mut effects = self.pursue(now);
        effects.push(Effect::Publish);
        effects
    }

    /// Blocks the whole account, and returns whether that changed anything.
    fn block_account(&mut self, fault: &Fault, now: Timestamp, rng: &mut impl Rng) -> bool {
        let Some(block) = block_after(self.block.as_ref(), fault, now, rng) else { return false };
        self.come(&block, now);
        self.block = Some(block);
        true
    }

    /// Blocks one model, and the account with the second one out of credit; returns whether that changed anything.
    fn block_model(&mut self, model: ModelName, fault: &Fault, now: Timestamp, rng: &mut impl Rng) -> bool {
        let Some(block) = block_after(self.models.get(&model), fault, now, rng) else { return false };
        self.come(&block, now);
        let models = Arc::make_mut(&mut self.models);
        models.insert(model, block);
        if models.len() > MODEL_BLOCKS_MAX {
            let first = models.iter().min_by_key(|(_, block)| block.until).map(|(name, _)| name.clone());
            first.map(|name| models.remove(&name));
        }
        let empty = models.values().filter(|block| block.reason == Reason::QuotaExhausted && block.holds(now));
        if fault.reason == Reason::QuotaExhausted && empty.count() >= MODELS_MEAN_ACCOUNT {
            self.block_account(fault, now, rng);
        }
        true
    }
}

fn publish_if(changed: bool) -> Vec<Effect> {
    if changed { vec![Effect::Publish] } else { Vec::new() }
}
