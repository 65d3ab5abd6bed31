//! What the account's actor does with each message: a few lines, and on to the state.

use std::sync::Arc;

use actix::fut::{self, LocalBoxActorFuture};
use actix::{ActorContext, ActorFutureExt, Addr, Handler, ResponseActFuture, ResponseFuture, WrapFuture};
use futures::channel::oneshot;
use futures::future::LocalBoxFuture;
use tracing::debug;

use super::AccountActor;
use crate::account::api::{
    Block, Describe, Discover, News as RequestNews, Owner, Renew, Retire, SharedDesk, SharedNews, Test,
};
use crate::account::broker::Turn;
use crate::account::checkup;
use crate::account::credentials::{Ended, Terms};
use crate::account::exchanger::{Exchanged, News};
use crate::account::login::probe_model;
use crate::account::shared_health::Shared;
use crate::account::state::Event;
use crate::account::view::TestReport;
use crate::domain::fault::Reason;
use crate::domain::id::Generation;
use crate::gitlab::rest::Session;

/// Where the account's actor is reached, and whoever owns what it shares with others.
pub(super) struct Address {
    pub(super) account: Addr<AccountActor>,
    pub(super) shared: SharedDesk,
}

impl Owner for Address {
    fn tell(&self, news: RequestNews) {
        // Bounded by the leases that are out, so the mailbox's own bound may be passed over.
        self.account.do_send(news);
    }

    fn tell_others(&self, news: SharedNews) {
        // Bounded as above.
        self.shared.news.do_send(news);
    }

    fn shared(&self) -> Arc<Shared> {
        Arc::clone(&self.shared.published.load().shared)
    }

    fn renew(&self, wish: Renew) -> LocalBoxFuture<'static, Option<Result<Generation, Block>>> {
        let asked = self.account.send(wish);
        Box::pin(async move { asked.await.ok() })
    }
}

impl Handler<RequestNews> for AccountActor {
    type Result = ();

    fn handle(&mut self, news: RequestNews, ctx: &mut Self::Context) {
        match news {
            RequestNews::Succeeded { model } => self.event(Event::Succeeded(model), ctx),
            RequestNews::Failed { generation, model, fault } => {
                if fault.reason != Reason::BadRequest {
                    debug!(account.id = %self.record.id, model.id = %model, reason = ?fault.reason, "a request on account `{}` failed", self.record.id);
                }
                self.event(Event::Failed { generation, model, fault }, ctx);
            }
        }
    }
}

impl Handler<Renew> for AccountActor {
    type Result = ResponseFuture<Result<Generation, Block>>;

    fn handle(&mut self, wish: Renew, ctx: &mut Self::Context) -> Self::Result {
        let (answer, answered) = oneshot::channel();
        self.waiting.push(answer);
        self.event(Event::RenewalWanted(wish.than), ctx);
        let now = self.office.clock.now();
        Box::pin(async move {
            // The actor was stopped meanwhile: the account is gone.
            answered.await.unwrap_or(Err(Block { reason: Reason::GrantMissing, since: now, until: now, attempts: 1 }))
        })
    }
}

impl Handler<Describe> for AccountActor {
    type Result = actix::MessageResult<Describe>;

    fn handle(&mut self, _: Describe, _: &mut Self::Context) -> Self::Result {
        actix::MessageResult(self.describe(self.office.clock.now()))
    }
}

impl Handler<Discover> for AccountActor {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, _: Discover, ctx: &mut Self::Context) -> Self::Result {
        let (answer, answered) = oneshot::channel();
        self.listing.push(answer);
        self.event(Event::ListingWanted, ctx);
        Box::pin(async move { answered.await.unwrap_or_default() })
    }
}

impl Handler<Test> for AccountActor {
    type Result = ResponseActFuture<Self, TestReport>;

    fn handle(&mut self, _: Test, ctx: &mut Self::Context) -> Self::Result {
        let (answer, answered) = oneshot::channel();
        self.calling.push(answer);
        self.event(Event::AccessWanted, ctx);
        Box::pin(answered.into_actor(self).then(|access, actor, _| {
            let block = access.ok().and_then(Result::err);
            let tested = actor.record.credential_generation;
            actor.check(block).then(move |report, actor, _| {
                // The login was renewed meanwhile, which ended the token that was tested.
                let again = !report.ok && actor.record.credential_generation != tested;
                if again { actor.check(None).boxed_local() } else { fut::ready(report).boxed_local() }
            })
        }))
    }
}

impl AccountActor {
    /// Checks token and grant; a login that cannot be used for reason `block` is a finding without a call.
    fn check(&self, block: Option<Block>) -> LocalBoxActorFuture<Self, TestReport> {
        if let Some(block) = block {
            return fut::ready(checkup::unusable(&self.record.credential, block.reason)).boxed_local();
        }
        let (office, instance, token) = (self.office.clone(), self.record.instance.clone(), self.token());
        let grant = self.state.grant().cloned();
        let credential = self.record.credential.clone();
        let checking = async move {
            let session = Session { upstream: office.upstreams.of(&instance), instance: &instance, token: &token };
            checkup::run(session, &credential, grant.as_deref(), &probe_model(&office.catalogue), office.clock.now())
                .await
        };
        checking.into_actor(self).boxed_local()
    }
}

impl Handler<Turn> for AccountActor {
    type Result = ();

    fn handle(&mut self, Turn(turn): Turn, ctx: &mut Self::Context) {
        match turn {
            Ok(permit) => {
                self.permit = Some(permit);
                self.event(Event::Turn, ctx);
            }
            Err(block) => self.event(Event::NoTurn(block), ctx),
        }
    }
}

impl Handler<Exchanged> for AccountActor {
    type Result = ();

    fn handle(&mut self, Exchanged { of, news }: Exchanged, ctx: &mut Self::Context) {
        if of != self.record.credential_generation {
            debug!(account.id = %self.record.id, "dropped news of an older login of account `{}`", self.record.id);
            return;
        }
        match news {
            News::Unsaved(block) => self.event(Event::Unsaved(of, block), ctx),
            News::Ended(end) => self.event(Event::Exchanged(of, end), ctx),
            News::Stored(credential, generation) => {
                let terms = Terms::of(&credential, generation);
                self.record.credential = *credential;
                self.record.credential_generation = generation;
                self.event(Event::Exchanged(of, Ended::Stored(terms)), ctx);
            }
        }
    }
}

impl Handler<Retire> for AccountActor {
    type Result = ();

    fn handle(&mut self, _: Retire, ctx: &mut Self::Context) {
        ctx.stop();
    }
}
