//! Whether an account that ran out of credit has some again: asked without cost, before a request finds out.
//!
//! The gateway checks credit before it counts tokens, and counting is not billed. So a Claude model is asked about shortly
//! before its block ends: if there is credit, the block is over; if there is none, it begins anew, and no request was sent
//! in vain. Counting is there for Claude alone; another model's block ends by the clock, and one request tries.

use std::sync::Arc;
use std::time::Duration;

use rand::Rng;

use super::requests::MODELS_MEAN_ACCOUNT;
use super::{Effect, State};
use crate::account::api::Block;
use crate::account::blocks::next_block;
use crate::domain::fault::{Fault, Reason};
use crate::domain::id::Generation;
use crate::domain::model::{ModelName, Provider};
use crate::domain::time::Timestamp;

/// How long before the end of a block is asked.
const AHEAD: Duration = Duration::from_secs(10);

impl State {
    /// Returns the question that is to be asked now, if one is: one for each block.
    pub(super) fn ask_credit(&mut self, now: Timestamp) -> Option<Effect> {
        self.grant.as_ref().filter(|grant| grant.is_usable(now))?;
        let is_due = |(model, block): &(&ModelName, &Block)| {
            is_empty(block)
                && now + AHEAD >= block.until
                && Provider::of_name(model.as_str()) == Some(Provider::Anthropic)
                && self.credit_asked.as_ref().is_none_or(|(of, until)| (of, *until) != (*model, block.until))
        };
        let (model, block) = self.models.iter().find(is_due)?;
        let (model, until) = (model.clone(), block.until);
        self.credit_asked = Some((model.clone(), until));
        Some(Effect::AskCredit(model))
    }

    /// Takes in what the gateway said about the credit for `model`.
    pub(super) fn credit_told(
        &mut self,
        under: Generation,
        model: ModelName,
        answer: Result<(), Fault>,
        now: Timestamp,
        rng: &mut impl Rng,
    ) -> Vec<Effect> {
        let is_old = self.grant.as_ref().is_none_or(|grant| grant.generation != under);
        let Some(block) = self.models.get(&model).filter(|block| is_empty(block) && !is_old).cloned() else {
            return Vec::new();
        };
        let whole = self.block.take_if(|block| is_empty(block));
        match answer {
            Ok(()) => {
                Arc::make_mut(&mut self.models).remove(&model);
                self.unkept = true;
            }
            Err(fault) if fault.reason == Reason::QuotaExhausted => {
                let next = next_block(Some(&block), &fault, now, rng);
                self.come(&next, now);
                Arc::make_mut(&mut self.models).insert(model, next);
                // One model alone says nothing about the account: what was known of the others may be over.
                let empty = self.models.values().filter(|block| is_empty(block) && block.holds(now)).count();
                self.block = match whole {
                    Some(whole) if empty >= MODELS_MEAN_ACCOUNT => Some(next_block(Some(&whole), &fault, now, rng)),
                    whole => whole,
                };
            }
            // It says nothing about credit.
            Err(_) => {
                self.block = whole;
                return Vec::new();
            }
        }
        vec![Effect::Publish]
    }
}

fn is_empty(block: &Block) -> bool {
    block.reason == Reason::QuotaExhausted
}
