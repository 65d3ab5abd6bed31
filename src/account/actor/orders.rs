//! What operators order: other settings, a reset.

use std::sync::Arc;

use actix::{ActorFutureExt, Context, Handler, MessageResult, ResponseActFuture, WrapFuture, fut};
use tracing::{info, warn};

use super::AccountActor;
use crate::account::api::{Change, ChangeSettings, Changes, Cleared, Reset, SnapshotChanged};
use crate::account::state::Event;
use crate::domain::endpoint::GatewayUrl;
use crate::domain::time::Timestamp;
use crate::store::{AccountRecord, PutSettings, StoreError};

impl Changes {
    /// Returns the settings of `record`, all of them, as changes to another.
    pub(super) fn all_of(record: &AccountRecord) -> Self {
        Self {
            label: Change::To(record.label.clone()),
            pool: Some(record.pool.clone()),
            priority: Some(record.priority),
            weight: Some(record.weight),
            max_concurrency: Some(record.max_concurrency),
            enabled: Some(record.enabled),
            gateway_url: Change::To(record.gateway_url.clone()),
        }
    }

    /// Puts them into `record`.
    pub(super) fn apply(self, record: &mut AccountRecord) {
        record.label = self.label.or(record.label.take());
        record.pool = self.pool.unwrap_or_else(|| std::mem::take(&mut record.pool));
        record.priority = self.priority.unwrap_or(record.priority);
        record.weight = self.weight.unwrap_or(record.weight);
        record.max_concurrency = self.max_concurrency.unwrap_or(record.max_concurrency);
        record.enabled = self.enabled.unwrap_or(record.enabled);
        record.gateway_url = self.gateway_url.or(record.gateway_url.take());
    }
}

impl Handler<ChangeSettings> for AccountActor {
    type Result = ResponseActFuture<Self, Result<(), StoreError>>;

    /// They are in the record before they are stored: whatever else stores settings meanwhile stores these, too. Requests see
    /// them once they are on disk, if not before.
    fn handle(&mut self, ChangeSettings(changes): ChangeSettings, _: &mut Context<Self>) -> Self::Result {
        let before = Changes::all_of(&self.record);
        changes.apply(&mut self.record);
        let after = Changes::all_of(&self.record);
        let account = self.record.id.clone();
        let saving = self.office.store.send(PutSettings(self.record.clone()));
        let saved = async move { saving.await.unwrap_or(Err(StoreError::NoSuchAccount(account))) };
        Box::pin(saved.into_actor(self).then(move |saved, actor, ctx| {
            if let Err(error) = saved {
                warn!(account.id = %actor.record.id, "the settings of account `{}` were not changed: {error}", actor.record.id);
                // Unless somebody has changed them again, which is theirs to take back.
                if Changes::all_of(&actor.record) == after {
                    before.apply(&mut actor.record);
                    actor.office.registry.do_send(SnapshotChanged(Arc::new(actor.snapshot(ctx))));
                }
                return Box::pin(fut::ready(Err(error))) as ResponseActFuture<Self, _>;
            }
            actor.settings_changed(&before, &after, ctx);
            // Whoever ordered it finds it done.
            let publishing = actor.office.registry.send(SnapshotChanged(Arc::new(actor.snapshot(ctx))));
            let published = async move {
                // Without a registry the server is stopping.
                publishing.await.unwrap_or_default();
                Ok(())
            };
            Box::pin(published.into_actor(actor))
        }))
    }
}

impl AccountActor {
    fn settings_changed(&mut self, before: &Changes, after: &Changes, ctx: &mut Context<Self>) {
        info!(account.id = %self.record.id, "the settings of account `{}` were changed", self.record.id);
        if before.gateway_url != after.gateway_url && self.gateway_is_another() {
            self.gateway_changes += 1;
            self.event(Event::GatewayChanged, ctx);
        }
        if before.enabled != after.enabled && self.office.settings.timers {
            self.tick(ctx);
        }
    }

    /// Returns whether the account has a grant for another gateway than it would be minted one for now, or may be getting
    /// one.
    fn gateway_is_another(&self) -> bool {
        let Some(grant) = self.state.grant() else { return true };
        self.fixed_gateway().is_none_or(|fixed| fixed != grant.gateway)
    }

    /// Returns the operator's gateway for this account, or for its instance.
    pub(super) fn fixed_gateway(&self) -> Option<GatewayUrl> {
        self.record.gateway_url.clone().or_else(|| self.office.configured_gateway(&self.record.instance))
    }
}

impl Handler<Reset> for AccountActor {
    type Result = MessageResult<Reset>;

    fn handle(&mut self, _: Reset, ctx: &mut Context<Self>) -> Self::Result {
        let now: Timestamp = self.office.clock.now();
        let cleared = self.troubles(now);
        self.event(Event::Reset, ctx);
        let gateway = self.state.grant().map(|grant| grant.gateway.clone()).or_else(|| self.fixed_gateway());
        MessageResult(Cleared { blocks: cleared, gateway, group: self.group(), instance: self.record.instance.clone() })
    }
}
