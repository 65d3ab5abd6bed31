//! What the account's actor does with each message: a few lines, and on to the state.

use actix::{ActorContext, ActorFutureExt, Handler, ResponseFuture, WrapFuture};
use futures::channel::oneshot;
use tracing::debug;

use super::{AccountActor, Relogin};
use crate::account::api::{Block, Describe, Discover, News, Renew, Retire, Test};
use crate::account::checkup;
use crate::account::login::probe_model;
use crate::account::state::Event;
use crate::account::view::TestReport;
use crate::domain::fault::Reason;
use crate::domain::id::Generation;
use crate::gitlab::rest::Session;
use crate::store::Credential;

impl Handler<News> for AccountActor {
    type Result = ();

    fn handle(&mut self, news: News, ctx: &mut Self::Context) {
        match news {
            News::Succeeded { model } => self.event(Event::Succeeded(model), ctx),
            News::Failed { generation, model, fault } => {
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
        self.discover(ctx);
        Box::pin(async move { answered.await.unwrap_or_default() })
    }
}

impl Handler<Test> for AccountActor {
    type Result = ResponseFuture<TestReport>;

    fn handle(&mut self, _: Test, _: &mut Self::Context) -> Self::Result {
        let (office, instance, token) = (self.office.clone(), self.record.instance.clone(), self.token());
        let grant = self.state.grant().cloned();
        Box::pin(async move {
            let session = Session { upstream: &office.upstream, instance: &instance, token: &token };
            checkup::run(session, grant.as_deref(), &probe_model(&office.catalogue), office.clock.now()).await
        })
    }
}

impl Handler<Relogin> for AccountActor {
    type Result = actix::ResponseActFuture<Self, Result<(), crate::store::StoreError>>;

    fn handle(&mut self, login: Relogin, _: &mut Self::Context) -> Self::Result {
        let mut record = self.record.clone();
        let superseded = is_older(&login.credential, &record.credential);
        if !superseded {
            record.credential = login.credential;
            record.credential_generation = record.credential_generation.next();
        }
        record.username = login.username;
        login.given.apply(&mut record);
        let saving = self.office.save(record.clone(), login.login);
        // Stored first: a token that only memory knows would be lost with the process.
        let saved = saving.into_actor(self).map(move |result, actor, ctx| {
            match result {
                Ok(Ok(())) => {}
                Ok(Err(error)) => return Err(error),
                Err(_) => return Err(crate::store::StoreError::NoSuchAccount(record.id)),
            }
            actor.record = record;
            if !superseded {
                actor.mint_ended(login.mint, ctx);
            }
            Ok(())
        });
        Box::pin(saved)
    }
}

/// Returns whether `new` is from before `present`: a login that could not be completed for a while may be overtaken.
fn is_older(new: &Credential, present: &Credential) -> bool {
    match (new, present) {
        (Credential::OAuth { pair: new, .. }, Credential::OAuth { pair: present, .. }) => {
            new.obtained_at < present.obtained_at
        }
        (Credential::OAuth { .. } | Credential::PersonalAccessToken { .. }, _) => false,
    }
}

impl Handler<Retire> for AccountActor {
    type Result = ();

    fn handle(&mut self, _: Retire, ctx: &mut Self::Context) {
        ctx.stop();
    }
}
