//! The registry as the owner of what accounts share: takes in news of it, publishes it, keeps it over a restart.

use actix::{ActorFutureExt, AsyncContext, Context, Handler, Message, ResponseActFuture, WrapFuture, fut};
use tracing::{info, warn};

use super::RegistryActor;
use crate::account::api::{Reset, SharedNews};
use crate::account::broker::Forgive;
use crate::account::shared_health::{Effect, Event};
use crate::account::view::Trouble;
use crate::domain::id::AccountId;
use crate::store::PutSharedHealth;

/// Clears whatever keeps an account from serving, its own and what it shares with others, and has it minted a grant if it
/// has none. The answer is what was cleared, once that is published; `None` if the account is not known.
#[derive(Debug, Message)]
#[rtype(result = "Option<Vec<Trouble>>")]
pub(crate) struct ResetAccount(pub(crate) AccountId);

impl RegistryActor {
    /// Takes in news of what accounts share.
    pub(super) fn learn(&mut self, event: Event, ctx: &mut Context<Self>) {
        let effects = self.health.step(event, self.office.clock.now(), &mut self.rng);
        self.heed(effects, ctx);
    }

    fn heed(&mut self, effects: Vec<Effect>, ctx: &mut Context<Self>) {
        for effect in effects {
            match effect {
                Effect::Publish => {
                    // At once: the next request is to know.
                    self.shared = self.health.publish();
                    self.publish();
                }
                Effect::Remember => self.remember(ctx),
                Effect::Opened(site, block) => {
                    warn!(scope = ?site.scope(), reason = ?block.reason, "{site} is not used until {}: {}", block.until, block.reason);
                }
                Effect::Closed(site) => info!(scope = ?site.scope(), "{site} is used again"),
            }
        }
    }

    fn remember(&self, ctx: &mut Context<Self>) {
        let saving = self.office.store.send(PutSharedHealth(self.health.memory(self.office.clock.now())));
        let saved = async move {
            // What is not kept is learnt anew after a restart.
            match saving.await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => warn!("the health that accounts share was not stored: {error}"),
                Err(error) => warn!("the health that accounts share was not stored: {error}"),
            }
        };
        ctx.spawn(saved.into_actor(self));
    }
}

impl Handler<SharedNews> for RegistryActor {
    type Result = ();

    fn handle(&mut self, SharedNews { event, at }: SharedNews, ctx: &mut Self::Context) {
        let Some(at) = at else { return self.learn(event, ctx) };
        let effects = self.health.step_at(at, event, self.office.clock.now(), &mut self.rng);
        self.heed(effects, ctx);
    }
}

impl Handler<ResetAccount> for RegistryActor {
    type Result = ResponseActFuture<Self, Option<Vec<Trouble>>>;

    fn handle(&mut self, ResetAccount(id): ResetAccount, _: &mut Self::Context) -> Self::Result {
        let Some(entry) = self.entries.get(&id) else { return Box::pin(fut::ready(None)) };
        let resetting = entry.address.send(Reset).into_actor(self);
        Box::pin(resetting.map(move |done, actor, ctx| {
            let done = done.ok()?;
            let (gateway, group, instance, mut cleared) = (done.gateway, done.group, done.instance, done.blocks);
            let now = actor.office.clock.now();
            let shared = actor.shared.against(gateway.as_ref(), &group, &instance, now);
            cleared.extend(shared.iter().map(|(site, block)| Trouble::at(site, block)));
            // Past the mailbox's bound: a person asks for this.
            actor.office.broker.do_send(Forgive(instance.clone()));
            actor.learn(Event::Reset { gateway, group, instance }, ctx);
            info!(account.id = %id, blocks = cleared.len(), "account `{id}` was reset");
            Some(cleared)
        }))
    }
}
