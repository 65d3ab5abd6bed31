//! A full examination of the account, by way of its own renewal: what it finds is what requests would meet.

use actix::fut::LocalBoxActorFuture;
use actix::{ActorFutureExt, Context, Handler, ResponseActFuture, WrapFuture, fut};
use futures::channel::oneshot;

use super::AccountActor;
use crate::account::api::{Block, Examine};
use crate::account::checkup::without_call;
use crate::account::doctor::view::Diagnosis;
use crate::account::doctor::{Access, Examination, Offer};
use crate::account::login::probe_model;
use crate::account::state::Event;
use crate::domain::fault::Reason;
use crate::domain::id::Generation;
use crate::gitlab::rest::Session;

impl Handler<Examine> for AccountActor {
    type Result = ResponseActFuture<Self, Diagnosis>;

    fn handle(&mut self, _: Examine, ctx: &mut Self::Context) -> Self::Result {
        let (answer, answered) = oneshot::channel();
        self.calling.push(answer);
        self.event(Event::AccessWanted, ctx);
        Box::pin(answered.into_actor(self).then(|access, actor, _| match access.ok().and_then(Result::err) {
            Some(block) => {
                let (office, record) = (actor.office.clone(), actor.record.clone());
                let looking = async move {
                    let (way, now) = ((office.upstreams.of(&record.instance), &record.instance), office.clock.now());
                    Examination::unusable(&record.credential, way, &without_call(block.reason), now).await
                };
                looking.into_actor(actor).map(|exam, actor, _| actor.diagnosed(exam)).boxed_local()
            }
            None => actor.examine(),
        }))
    }
}

impl AccountActor {
    fn examine(&self) -> LocalBoxActorFuture<Self, Diagnosis> {
        let (office, record) = (self.office.clone(), self.record.clone());
        let begun = async move {
            let token = record.credential.token().clone();
            let session =
                Session { upstream: office.upstreams.of(&record.instance), instance: &record.instance, token: &token };
            Examination::begin(session, &record.credential, office.clock.now()).await
        };
        let done = begun.into_actor(self).then(|(exam, go_on), actor: &mut Self, ctx| {
            if !go_on {
                return fut::ready(exam).boxed_local();
            }
            let renewed = actor.renewed(ctx).into_actor(actor);
            renewed.then(move |renewed, actor, _| actor.look_behind_the_token(exam, renewed)).boxed_local()
        });
        done.map(|exam, actor, _| actor.diagnosed(exam)).boxed_local()
    }

    /// Has a gateway credential minted, as an operator's refresh does.
    fn renewed(&mut self, ctx: &mut Context<Self>) -> impl Future<Output = Option<Result<Generation, Block>>> + use<> {
        let (answer, answered) = oneshot::channel();
        self.waiting.push(answer);
        self.event(Event::RenewalWanted(None), ctx);
        async move { answered.await.ok() }
    }

    fn look_behind_the_token(
        &self,
        mut exam: Examination,
        renewed: Option<Result<Generation, Block>>,
    ) -> LocalBoxActorFuture<Self, Examination> {
        let (office, instance, token) = (self.office.clone(), self.record.instance.clone(), self.token());
        let refused = renewed.and_then(Result::err).map(|block| without_call(block.reason));
        let (grant, root) = (self.state.grant().cloned(), self.root_namespace_id.clone());
        let looking = async move {
            let probe = probe_model(&office.catalogue);
            let session = Session { upstream: office.upstreams.of(&instance), instance: &instance, token: &token };
            let missing = without_call(Reason::GrantMissing);
            let access = match (&refused, &grant) {
                (Some(error), _) => Err(error),
                (None, Some(grant)) => Ok(Access { grant, root_namespace_id: root.as_deref() }),
                (None, None) => Err(&missing),
            };
            let configured = office.settings.model.as_ref();
            let offer = Offer { catalogue: &office.catalogue, configured, probe: &probe };
            exam.go_on(session, access, &offer, office.clock.now()).await;
            exam
        };
        looking.into_actor(self).boxed_local()
    }

    fn diagnosed(&self, exam: Examination) -> Diagnosis {
        let view = self.describe(self.office.clock.now());
        let label = view.label.map(|label| format!("{label}: ")).unwrap_or_default();
        let name = format!("{label}{} on {}", view.username, view.base_url);
        exam.end(Some((view.id, name)), &view.blocks)
    }
}
