//! What the benchmarks measure in rooms that are closed to them. Not part of the crate's interface: nothing here is
//! called by the product.

use std::sync::Arc;
use std::time::Duration;

use rand::SeedableRng;
use rand::rngs::StdRng;

use crate::account::api::{Snapshot, Table};
use crate::account::shared_health::CreditGroup;
use crate::domain::catalogue::Catalogue;
use crate::domain::conversation::Conversation;
use crate::domain::endpoint::{GatewayUrl, InstanceUrl};
use crate::domain::id::{AccountId, Generation};
use crate::domain::model::{Dialect, ModelName};
use crate::domain::secret::Secret;
use crate::domain::strategy::Strategy;
use crate::domain::time::Timestamp;
use crate::gitlab::direct_access::Minted;
use crate::gitlab::gateway::Grant;
use crate::router::api::Acquire;
use crate::router::policy;
use crate::trace::Sheet;

const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);
const MODEL: &str = "claude-sonnet-4-6";

/// Healthy accounts to choose from, and a request that any of them could serve.
#[derive(Debug)]
pub struct Crowd {
    table: Table,
    ask: Acquire,
    catalogue: Catalogue,
    strategy: Strategy,
    rng: StdRng,
}

impl Crowd {
    /// Builds a table of so many accounts of different weights, and a request that is chosen for by `strategy` or, where
    /// it belongs to a conversation, by that; `None` if the built-in catalogue does not load.
    pub fn of(accounts: u64, strategy: Strategy, conversation: Option<Conversation>) -> Option<Self> {
        let catalogue = Catalogue::builtin().ok()?;
        let model = ModelName::parse(MODEL)?;
        let accounts: Option<Vec<_>> = (0..accounts).map(|user_id| account(user_id, &model)).collect();
        let ask = Acquire {
            wanted: catalogue.resolve(MODEL)?,
            dialects: &[Dialect::Messages],
            pools: Arc::new(["default".to_owned()]),
            conversation,
            client: 0,
            patience: None,
            renewed_in_vain: false,
            tried: Vec::new(),
            refused: Vec::new(),
            trace: None,
        };
        let table = Table { accounts: accounts?, ..Table::default() };
        Some(Self { table, ask, catalogue, strategy, rng: StdRng::seed_from_u64(1) })
    }

    /// Chooses once, and notes what it finds as for a trace; returns whether there was somebody to choose.
    pub fn choose(&mut self) -> bool {
        let Self { catalogue, strategy, .. } = self;
        let rules = policy::Rules { catalogue, family_fallback: true, strategy: *strategy };
        let mut sheet = Sheet::bounded(self.table.accounts.len());
        policy::choose(&self.table, &self.ask, &rules, NOW, &mut self.rng, &mut sheet).is_ok()
    }
}

fn account(user_id: u64, model: &ModelName) -> Option<Arc<Snapshot>> {
    let minted = Minted {
        token: Secret::new("t".to_owned()),
        headers: Vec::new(),
        expires_at: NOW + Duration::from_hours(1),
        root_namespace_id: None,
        reported_gateway: None,
        completion_model: None,
    };
    let grant = Grant::new(&minted, Generation::default(), GatewayUrl::cloud())?;
    Some(Arc::new(Snapshot {
        id: AccountId::of(&InstanceUrl::gitlab_com(), user_id),
        instance: InstanceUrl::gitlab_com(),
        group: CreditGroup::of(&InstanceUrl::gitlab_com(), None),
        pool: "default".into(),
        priority: 0,
        weight: if user_id.is_multiple_of(2) { 1 } else { 3 },
        max_concurrency: 16,
        enabled: true,
        grant: Some(Arc::new(grant)),
        renewable: true,
        unsaved: false,
        trouble: None,
        block: None,
        models: Arc::default(),
        hinted: false,
        current_model: model.clone(),
        gauge: Arc::default(),
        desk: None,
    }))
}
