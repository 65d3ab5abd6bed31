//! What of the shared health outlives a restart.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::{Breaker, CreditGroup, Epoch, GROUPS_MAX, Hint, SITES_MAX, SharedHealth, Site, longest};
use crate::account::api::Block;
use crate::account::blocks::LONGEST_HOLD;
use crate::domain::id::AccountId;
use crate::domain::time::Timestamp;

/// What outlives a restart.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct Memory {
    blocks: Vec<(Site, Block)>,
    hints: Vec<(CreditGroup, BTreeSet<AccountId>, Timestamp)>,
}

impl SharedHealth {
    /// Starts with what was kept, as far as it can be read and still holds.
    pub(crate) fn restored(kept: Option<&[u8]>, now: Timestamp) -> Self {
        let memory: Memory = kept.and_then(|bytes| serde_json::from_slice(bytes).ok()).unwrap_or_default();
        let mut health = Self::default();
        for (site, block) in memory.blocks.into_iter().take(SITES_MAX) {
            let Some(block) = block.restored(now, longest(&site)) else { continue };
            if let Site::Instance(instance) = site {
                health.pauses.insert(instance, block);
            } else {
                health.sites.insert(site, Breaker { block: Some(block), news_at: now, ..Breaker::default() });
            }
        }
        let holding = memory.hints.into_iter().take(GROUPS_MAX).filter(|(.., until)| now < *until);
        health.hints = holding
            .map(|(group, refused, until)| {
                (group, Hint { refused, until: until.min(now + LONGEST_HOLD), turned_in: Epoch::default() })
            })
            .collect();
        health
    }

    /// Returns what must outlive a restart.
    pub(crate) fn memory(&self, now: Timestamp) -> Vec<u8> {
        let sites = self.sites.iter().filter_map(|(site, breaker)| Some((site.clone(), breaker.block.clone()?)));
        let pauses = self.pauses.iter().map(|(of, block)| (Site::Instance(of.clone()), block.clone()));
        let blocks = sites.chain(pauses).filter(|(_, block)| block.holds(now)).collect();
        let hints = self.hints.iter().filter(|(_, hint)| hint.holds(now));
        let hints = hints.map(|(group, hint)| (group.clone(), hint.refused.clone(), hint.until)).collect();
        serde_json::to_vec(&Memory { blocks, hints }).unwrap_or_default()
    }
}
