//! What outlives a restart, and what a person's word ends.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::requests::MODEL_BLOCKS_MAX;
use super::{BUDGET_MINTS, BUDGET_WINDOW, Effect, State};
use crate::account::api::Block;
use crate::account::blocks::LONGEST_HOLD;
use crate::account::credentials::Remembered;
use crate::account::turns::Urgency;
use crate::domain::id::Generation;
use crate::domain::model::ModelName;
use crate::domain::time::Timestamp;

/// A block that ends sooner is not worth a write to disk. What is longer is written once when it begins and once when it is
/// cut short, so an account that fails again and again writes twice a minute at most.
const WORTH_KEEPING: Duration = Duration::from_secs(30);

/// What must outlive a restart, beside login and grant.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Memory {
    pub(super) mints: VecDeque<Timestamp>,
    pub(super) login: Remembered,
    /// Serial number of the login that `trouble` is of.
    credential: Generation,
    pub(super) trouble: Option<Block>,
    pub(super) block: Option<Block>,
    pub(super) models: BTreeMap<ModelName, Block>,
}

impl Memory {
    /// Returns what of it still counts at `now`, for an account whose login has number `credential`.
    pub(super) fn restored(mut self, credential: Generation, now: Timestamp) -> Self {
        let restored = |block: Block| block.restored(now, LONGEST_HOLD);
        // A time ahead of the clock was noted before the clock was set back.
        self.mints = self.mints.into_iter().map(|at| at.min(now)).filter(|at| *at + BUDGET_WINDOW > now).collect();
        self.mints.truncate(BUDGET_MINTS);
        self.block = self.block.and_then(restored);
        self.models = self.models.into_iter().filter_map(|(model, block)| Some((model, restored(block)?))).collect();
        while self.models.len() > MODEL_BLOCKS_MAX {
            self.models.pop_last();
        }
        self.trouble = self.trouble.filter(|_| self.credential == credential).and_then(restored).map(|mut trouble| {
            // Whoever starts the server may have mended it: that is tried at once.
            if trouble.reason.needs_a_person() {
                trouble.until = now;
            }
            trouble
        });
        self
    }
}

impl State {
    /// Returns what must outlive a restart, beside login and grant.
    pub(crate) fn memory(&self) -> Memory {
        Memory {
            mints: self.mints.clone(),
            login: self.credentials.memory(),
            credential: self.credentials.generation(),
            trouble: self.trouble.clone(),
            block: self.block.clone(),
            models: BTreeMap::clone(&self.models),
        }
    }

    /// Notes that `block` begins, so that it is kept if it is worth that.
    pub(super) fn come(&mut self, block: &Block, now: Timestamp) {
        self.unkept |= block.until.since(now) >= WORTH_KEEPING;
    }

    /// Notes that `block` is over, so that it is not kept if it would still hold.
    pub(super) fn gone(&mut self, block: &Block, now: Timestamp) {
        self.unkept |= block.holds(now);
    }

    /// Clears all that keeps the account from serving, and has a grant minted if there is none.
    pub(super) fn reset(&mut self, now: Timestamp) -> Vec<Effect> {
        (self.block, self.trouble, self.models) = (None, None, Arc::default());
        self.quiet_until = now;
        self.unkept = true;
        self.credentials.force(now);
        let mut effects = vec![Effect::Publish];
        if self.grant.as_ref().is_none_or(|grant| !grant.is_usable(now)) {
            self.mint_at = now;
            self.grant_wanted = self.grant_wanted.max(Some(Urgency::Operator));
            effects.extend(self.pursue(now));
        }
        effects
    }

    /// The grant is for a gateway that is not the account's any more.
    pub(super) fn gateway_changed(&mut self, now: Timestamp) -> Vec<Effect> {
        self.grant = None;
        self.trouble = None;
        self.mint_at = now;
        self.grant_wanted = self.grant_wanted.max(Some(Urgency::Operator));
        let mut effects = self.pursue(now);
        effects.push(Effect::Publish);
        effects
    }
}
