//! The keeper of the accounts: starts, stops and restarts their actors, and is the sole writer of the published table.

mod examine;
mod shared;

pub(crate) use self::examine::ExamineToken;
pub(crate) use self::shared::ResetAccount;

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use actix::{
    Actor, ActorFutureExt, Addr, AsyncContext, Context, Handler, Message, MessageResult, ResponseActFuture,
    ResponseFuture, WrapFuture, fut,
};
use futures::channel::oneshot;
use rand::SeedableRng;
use rand::rngs::StdRng;
use tracing::{error, info};

pub(crate) use crate::account::actor::{AccountActor, AccountSettings};
use crate::account::actor::{Office, Relogin, Stored};
pub(crate) use crate::account::api::Published;
use crate::account::api::{Retire, SharedDesk, Snapshot, SnapshotChanged, Table};
use crate::account::broker::BrokerActor;
use crate::account::exchanger::ExchangerActor;
pub(crate) use crate::account::exchanger::Finish;
use crate::account::lease::Gauge;
use crate::account::login::{self, Arrival, LoginError, NewAccount, probe_model};
use crate::account::removal;
use crate::account::shared_health::{Event, Refused, Shared, SharedHealth};
use crate::account::view::Removal;
use crate::domain::catalogue::Catalogue;
use crate::domain::endpoint::GatewayUrl;
use crate::domain::id::AccountId;
use crate::domain::model::ModelName;
use crate::domain::time::Clock;
use crate::gitlab::upstream::Upstreams;
use crate::store::{AccountRecord, Contents, DeleteAccount, Deleted, Load, StoreActor, StoreError};

/// How often it is looked whether an account's actor died.
const WATCH_EVERY: Duration = Duration::from_secs(5);
/// Longest wait for [`Settle`], which takes milliseconds: an account that died at its start must not hold others up.
pub(crate) const SETTLE_MAX: Duration = Duration::from_secs(5);
/// Every account tells a change at a time; a thousand of them may start at once.
const MAILBOX: usize = 4_096;

/// What the registry is built from.
pub(crate) struct RegistryParts {
    pub(crate) upstreams: Upstreams,
    pub(crate) store: Addr<StoreActor>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) catalogue: Arc<Catalogue>,
    pub(crate) settings: AccountSettings,
    pub(crate) published: Published,
    /// What the store held at start.
    pub(crate) contents: Contents,
}

/// The keeper of the accounts.
pub(crate) struct RegistryActor {
    office: Office,
    published: Published,
    refused: Arc<Refused>,
    health: SharedHealth,
    /// What of it is published.
    shared: Arc<Shared>,
    rng: StdRng,
    entries: BTreeMap<AccountId, Entry>,
    /// Gauges of accounts that were removed, for as long as a request is in flight on one: it still counts if the account
    /// is added again.
    leaving: BTreeMap<AccountId, Weak<Gauge>>,
    /// Accounts that are being stored for the first time, and further logins of theirs that wait for that.
    enrolling: BTreeMap<AccountId, Vec<oneshot::Sender<()>>>,
    contents: Option<Contents>,
    publishing: bool,
    /// Those who wait until what they told is published.
    waiting: Vec<oneshot::Sender<()>>,
    /// Those who wait until every account is.
    settling: Vec<oneshot::Sender<()>>,
}

struct Entry {
    address: Addr<AccountActor>,
    gauge: Arc<Gauge>,
    snapshot: Option<Arc<Snapshot>>,
}

/// Adds an account, or gives a known one a new token. Refused as [`LoginError`] says; then nothing was stored.
#[derive(Debug, Message)]
#[rtype(result = "Result<AccountId, LoginError>")]
pub(crate) struct AddAccount(pub(crate) NewAccount);

/// Adds the account of a user who has logged in, or gives a known one the new credential. It is stored before the answer.
#[derive(Debug, Message)]
#[rtype(result = "Result<AccountId, LoginError>")]
pub(crate) struct Admit(pub(crate) Box<Arrival>);

/// Stops routing to an account at once, lets its requests finish, and forgets it; `None` if it is not known.
#[derive(Debug, Message)]
#[rtype(result = "Result<Option<Removal>, StoreError>")]
pub(crate) struct RemoveAccount {
    pub(crate) id: AccountId,
    /// Whether GitLab is to take its token back.
    pub(crate) revoke: bool,
}

/// Asks for the address of one account.
#[derive(Debug, Message)]
#[rtype(result = "Option<Addr<AccountActor>>")]
pub(crate) struct Find(pub(crate) AccountId);

/// Asks for the addresses of all accounts, in order of their ids.
#[derive(Debug, Message)]
#[rtype(result = "Vec<Addr<AccountActor>>")]
pub(crate) struct All;

/// A gateway answered that it does not support a model.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct ModelRefused {
    pub(crate) gateway: GatewayUrl,
    pub(crate) model: ModelName,
}

/// Waits until every account there is stands in the published table.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct Settle;

#[derive(Debug, Message)]
#[rtype(result = "()")]
struct Publish;

/// Looks whether an account's actor died, and what of the shared health is over.
#[derive(Debug, Message)]
#[rtype(result = "()")]
struct Watch;

impl RegistryActor {
    /// Starts the registry on the present arbiter, with an actor for every stored account.
    pub(crate) fn start_with(parts: RegistryParts) -> Addr<Self> {
        Self::create(|ctx| {
            let clock = Arc::clone(&parts.clock);
            let health = SharedHealth::restored(parts.contents.shared_health.as_deref(), clock.now());
            let news = ctx.address().recipient();
            let shared = SharedDesk { news: news.clone(), published: Arc::clone(&parts.published) };
            let exchanger =
                ExchangerActor::start_with(parts.upstreams.clone(), parts.store.clone(), Arc::clone(&clock));
            let office = Office {
                upstreams: parts.upstreams,
                store: parts.store,
                broker: BrokerActor::start_with(clock, news, health.pauses().clone()),
                exchanger,
                shared,
                registry: ctx.address().recipient(),
                clock: parts.clock,
                catalogue: parts.catalogue,
                settings: Arc::new(parts.settings),
            };
            Self {
                office,
                published: parts.published,
                refused: Arc::default(),
                shared: health.publish(),
                health,
                rng: StdRng::from_rng(&mut rand::rng()),
                entries: BTreeMap::new(),
                leaving: BTreeMap::new(),
                enrolling: BTreeMap::new(),
                contents: Some(parts.contents),
                publishing: false,
                waiting: Vec::new(),
                settling: Vec::new(),
            }
        })
    }

    /// Starts an account's actor with what `furnish` adds to it. A gauge that is there stays in use, so that requests in
    /// flight are counted on.
    fn start_account(
        &mut self,
        record: AccountRecord,
        furnish: impl FnOnce(AccountRecord, Office, Arc<Gauge>) -> AccountActor,
    ) {
        let id = record.id.clone();
        let leaving = self.leaving.remove(&id).and_then(|gauge| gauge.upgrade());
        let gauge = self.entries.get(&id).map(|entry| Arc::clone(&entry.gauge)).or(leaving).unwrap_or_default();
        let address = furnish(record, self.office.clone(), Arc::clone(&gauge)).start();
        self.entries.insert(id, Entry { address, gauge, snapshot: None });
    }

    /// Publishes once for all changes that are in the mailbox by now.
    fn publish_soon(&mut self, ctx: &mut Context<Self>) {
        if !self.publishing {
            self.publishing = true;
            ctx.notify(Publish);
        }
    }

    fn publish(&mut self) {
        self.publishing = false;
        let mut accounts: Vec<_> = self.entries.values().filter_map(|entry| entry.snapshot.clone()).collect();
        self.health.mark(&mut accounts, self.office.clock.now());
        let bell = Arc::clone(&self.published.load().bell);
        let (refused, shared) = (Arc::clone(&self.refused), Arc::clone(&self.shared));
        self.published.store(Arc::new(Table { accounts, refused, shared, bell: Arc::clone(&bell) }));
        bell.ring();
        // Who has left needs no answer.
        self.waiting.drain(..).for_each(|waiter| waiter.send(()).unwrap_or_default());
        if self.is_settled() {
            self.settling.drain(..).for_each(|waiter| waiter.send(()).unwrap_or_default());
        }
    }

    /// Returns whether every account has spoken, and what they said is published.
    fn is_settled(&self) -> bool {
        let silent = |entry: &Entry| entry.snapshot.is_none() && entry.address.connected();
        !self.publishing && !self.entries.values().any(silent)
    }

    /// Starts accounts afresh whose actors died: a panic leaves the address dead, and the others alive.
    fn watch(&mut self, ctx: &mut Context<Self>) {
        let dead: Vec<_> =
            self.entries.iter().filter(|(_, e)| !e.address.connected()).map(|(id, _)| id.clone()).collect();
        if dead.is_empty() {
            return;
        }
        error!(accounts = dead.len(), "accounts died and are started afresh: {dead:?}");
        let loading = self.office.store.send(Load);
        ctx.spawn(loading.into_actor(self).map(move |result, actor, _| match result {
            Ok(Ok(contents)) => actor.start_all(contents, |id| dead.contains(id)),
            Ok(Err(error)) => error!("dead accounts could not be started afresh: {error}"),
            Err(error) => error!("dead accounts could not be started afresh: {error}"),
        }));
    }

    fn start_all(&mut self, contents: Contents, wanted: impl Fn(&AccountId) -> bool) {
        for bad in contents.accounts.unreadable.iter().chain(&contents.grants.unreadable) {
            error!(
                account.id = bad.id,
                "what is stored of account `{}` cannot be used: {}; it is kept", bad.id, bad.reason
            );
        }
        let mut grants: BTreeMap<_, _> =
            contents.grants.records.into_iter().map(|grant| (grant.account.clone(), grant)).collect();
        let memories: BTreeMap<_, _> = contents.health.into_iter().collect();
        for record in contents.accounts.records.into_iter().filter(|record| wanted(&record.id)) {
            let stored = Stored::new(grants.remove(&record.id), memories.get(&record.id).map(Vec::as_slice));
            self.start_account(record, |record, office, gauge| AccountActor::new(office, record, stored, gauge));
        }
    }

    /// Stores and starts an account, or hands a known one its new credential.
    ///
    /// Of several logins of one account at the same time, the first adds it and the others find it known.
    fn admit(&mut self, arrival: Arrival) -> ResponseActFuture<Self, Result<AccountId, LoginError>> {
        let id = arrival.account();
        if let Some(waiting) = self.enrolling.get_mut(&id) {
            let (waiter, enrolled) = oneshot::channel();
            waiting.push(waiter);
            return Box::pin(enrolled.into_actor(self).then(|_, actor, _| actor.admit(arrival)));
        }
        let Some(entry) = self.entries.get(&id) else { return self.enrol(arrival) };
        if !arrival.renew {
            return Box::pin(fut::ready(Err(LoginError::Known(id))));
        }
        let Arrival { username, credential, given, mint, imported, login, .. } = arrival;
        let asked = entry.address.send(Relogin { credential, username, given, mint, imported, login });
        let asked = asked.into_actor(self);
        Box::pin(asked.map(move |result, _, _| result.unwrap_or(Err(LoginError::Gone)).map(|()| id)))
    }

    fn enrol(&mut self, arrival: Arrival) -> ResponseActFuture<Self, Result<AccountId, LoginError>> {
        let record = arrival.record(self.office.clock.now());
        let Arrival { mint, login, .. } = arrival;
        let id = record.id.clone();
        self.enrolling.insert(id.clone(), Vec::new());
        let saving = self.office.save(record.clone(), login).into_actor(self);
        Box::pin(saving.map(move |result, actor, _| {
            // Dropped, they wake those that wait.
            drop(actor.enrolling.remove(&id));
            match result {
                Ok(Ok(())) => {}
                Ok(Err(error)) => return Err(LoginError::Store(error)),
                Err(_) => return Err(LoginError::Gone),
            }
            info!(account.id = %id, "account `{id}` was added");
            actor.start_account(record, |record, office, gauge| {
                AccountActor::new(office, record, Stored::default(), gauge).with_first_mint(mint)
            });
            Ok(id)
        }))
    }
}

impl Actor for RegistryActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(MAILBOX);
        if let Some(contents) = self.contents.take() {
            self.start_all(contents, |_| true);
        }
        ctx.run_interval(WATCH_EVERY, |_, ctx| ctx.notify(Watch));
    }
}

impl Handler<SnapshotChanged> for RegistryActor {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, changed: SnapshotChanged, ctx: &mut Self::Context) -> Self::Result {
        // An account that was removed has no entry, and its last words change nothing.
        let Some(entry) = self.entries.get_mut(&changed.0.id) else { return Box::pin(std::future::ready(())) };
        entry.snapshot = Some(changed.0);
        let (published, wait) = oneshot::channel();
        self.waiting.push(published);
        self.publish_soon(ctx);
        Box::pin(async move { wait.await.unwrap_or_default() })
    }
}

impl Handler<Settle> for RegistryActor {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, _: Settle, _: &mut Self::Context) -> Self::Result {
        if self.is_settled() {
            return Box::pin(std::future::ready(()));
        }
        let (settled, wait) = oneshot::channel();
        self.settling.push(settled);
        Box::pin(async move { wait.await.unwrap_or_default() })
    }
}

impl Handler<Publish> for RegistryActor {
    type Result = ();

    fn handle(&mut self, _: Publish, _: &mut Self::Context) {
        self.publish();
    }
}

impl Handler<Watch> for RegistryActor {
    type Result = ();

    fn handle(&mut self, _: Watch, ctx: &mut Self::Context) {
        self.watch(ctx);
        self.learn(Event::Tick, ctx);
    }
}

impl Handler<AddAccount> for RegistryActor {
    type Result = ResponseActFuture<Self, Result<AccountId, LoginError>>;

    fn handle(&mut self, AddAccount(new): AddAccount, _: &mut Self::Context) -> Self::Result {
        let office = self.office.clone();
        let checking = async move {
            let fixed = office.configured_gateway(&new.instance);
            let probe = probe_model(&office.catalogue);
            let checked =
                login::check(office.upstreams.of(&new.instance), &new, fixed, &probe, office.clock.now()).await;
            (new, checked)
        };
        Box::pin(checking.into_actor(self).then(|(new, checked), actor, _| match checked {
            Ok(checked) => actor.admit(checked.arrival(new)),
            Err(error) => Box::pin(fut::ready(Err(error))),
        }))
    }
}

impl Handler<Admit> for RegistryActor {
    type Result = ResponseActFuture<Self, Result<AccountId, LoginError>>;

    fn handle(&mut self, Admit(arrival): Admit, _: &mut Self::Context) -> Self::Result {
        self.admit(*arrival)
    }
}

impl Handler<RemoveAccount> for RegistryActor {
    type Result = ResponseFuture<Result<Option<Removal>, StoreError>>;

    fn handle(&mut self, RemoveAccount { id, revoke }: RemoveAccount, ctx: &mut Self::Context) -> Self::Result {
        let removed = self.entries.remove(&id);
        let known = removed.is_some();
        if let Some(entry) = &removed {
            self.leaving.retain(|_, gauge| gauge.strong_count() > 0);
            self.leaving.insert(id.clone(), Arc::downgrade(&entry.gauge));
        }
        let retiring = removed.map(|entry| entry.address.send(Retire));
        if known {
            self.publish();
            info!(account.id = %id, "account `{id}` was removed");
        }
        let office = self.office.clone();
        let removing = async move {
            // The actor first: what it still has to write would bring the account back.
            if let Some(retiring) = retiring {
                retiring.await.unwrap_or_default();
            }
            // Also where no actor runs: a record that cannot be read is cleared away like this.
            let deleted = office.store.send(DeleteAccount(id.clone())).await;
            let deleted = deleted.unwrap_or(Err(StoreError::Damaged("the store has stopped")))?;
            if !known && deleted == Deleted::Nothing {
                return Ok(None);
            }
            let Office { upstreams, exchanger, clock, .. } = &office;
            Ok(Some(if revoke {
                removal::revoke(&id, &deleted, upstreams, exchanger, &**clock).await
            } else {
                Removal::without_revocation(&id)
            }))
        };
        // Whoever asked may leave; it goes on all the same.
        let (done, removed) = oneshot::channel();
        ctx.spawn(removing.into_actor(self).map(|result, _, _| done.send(result).unwrap_or_default()));
        Box::pin(async move { removed.await.unwrap_or(Err(StoreError::Damaged("the server is stopping"))) })
    }
}

impl Handler<Find> for RegistryActor {
    type Result = Option<Addr<AccountActor>>;

    fn handle(&mut self, Find(id): Find, _: &mut Self::Context) -> Self::Result {
        self.entries.get(&id).map(|entry| entry.address.clone())
    }
}

impl Handler<All> for RegistryActor {
    type Result = MessageResult<All>;

    fn handle(&mut self, _: All, _: &mut Self::Context) -> Self::Result {
        MessageResult(self.entries.values().map(|entry| entry.address.clone()).collect())
    }
}

impl Handler<Finish> for RegistryActor {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, finish: Finish, _: &mut Self::Context) -> Self::Result {
        let finishing = self.office.exchanger.send(finish);
        Box::pin(async move { finishing.await.unwrap_or_default() })
    }
}

impl Handler<ModelRefused> for RegistryActor {
    type Result = ();

    fn handle(&mut self, news: ModelRefused, ctx: &mut Self::Context) {
        let now = self.office.clock.now();
        if !self.refused.contains(&news.gateway, &news.model, now) {
            info!(model.id = %news.model, "gateway `{}` does not support model `{}`", news.gateway, news.model);
            self.refused = Arc::new(self.refused.with(news.gateway, news.model, now));
            self.publish_soon(ctx);
        }
    }
}

#[cfg(test)]
mod tests;
