//! The actor of one account: turns messages into events, asks [`State`] what to do, and does it.

mod calls;
mod describe;
mod examined;
mod handlers;
mod orders;
mod relogin;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use actix::{Actor, Addr, AsyncContext, Context, MailboxError, Recipient, WrapFuture};
use futures::channel::oneshot;
use rand::SeedableRng;
use rand::rngs::StdRng;
use tracing::warn;

use crate::account::api::{Block, SharedDesk, SnapshotChanged};
use crate::account::broker::{BrokerActor, Permit};
use crate::account::credentials::{Credentials, Terms};
use crate::account::exchanger::ExchangerActor;
use crate::account::lease::Gauge;
use crate::account::minting::Mint;
use crate::account::state::{Effect, Event, Memory, State};
use crate::domain::catalogue::Catalogue;
use crate::domain::endpoint::{GatewayUrl, InstanceUrl};
use crate::domain::id::Generation;
use crate::domain::model::ModelName;
use crate::domain::time::Clock;
use crate::gitlab::error::CallError;
use crate::gitlab::models::Available;
use crate::gitlab::upstream::Upstreams;
use crate::store::{AccountRecord, GrantRecord, PutAccount, PutAccountFromLogin, StoreActor, StoreError};
use calls::restore;
pub(crate) use relogin::{Holds, Relogin};

/// How often deadlines are compared with wall time. Short, so that a laptop that wakes up renews at once.
const TICK: Duration = Duration::from_secs(1);
/// News are bounded by the requests in flight on the account, wishes by the requests that wait; this is for bursts of
/// messages from people.
const MAILBOX: usize = 256;

/// What the accounts of a server have in common.
#[derive(Clone)]
pub(crate) struct AccountSettings {
    /// The configured gateways, for the accounts of their instances.
    pub(crate) gateways: Arc<BTreeMap<InstanceUrl, GatewayUrl>>,
    /// What `gitlab-duo` means where GitLab names no model.
    pub(crate) model: Option<ModelName>,
    /// Whether grants are renewed and models listed without being asked.
    pub(crate) timers: bool,
}

/// What every account's actor is handed.
#[derive(Clone)]
pub(crate) struct Office {
    pub(crate) upstreams: Upstreams,
    pub(crate) store: Addr<StoreActor>,
    pub(crate) registry: Recipient<SnapshotChanged>,
    pub(crate) broker: Addr<BrokerActor>,
    pub(crate) exchanger: Addr<ExchangerActor>,
    pub(crate) shared: SharedDesk,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) catalogue: Arc<Catalogue>,
    pub(crate) settings: Arc<AccountSettings>,
}

impl Office {
    /// Returns the configured gateway for `instance`, if there is one.
    pub(crate) fn configured_gateway(&self, instance: &InstanceUrl) -> Option<GatewayUrl> {
        self.settings.gateways.get(instance).cloned()
    }

    /// Stores `record`; the login that it came by, if it is a stored one, is removed with the same write.
    pub(crate) fn save(
        &self,
        record: AccountRecord,
        login: Option<String>,
    ) -> impl Future<Output = Result<Result<(), StoreError>, MailboxError>> + use<> {
        let store = self.store.clone();
        async move {
            match login {
                Some(login) => store.send(PutAccountFromLogin { record, login }).await,
                None => store.send(PutAccount(record)).await,
            }
        }
    }
}

/// Somebody who waits for a renewal.
type Waiter = oneshot::Sender<Result<Generation, Block>>;

/// The owner of one account.
pub(crate) struct AccountActor {
    office: Office,
    record: AccountRecord,
    state: State,
    gauge: Arc<Gauge>,
    rng: StdRng,
    root_namespace_id: Option<String>,
    available: Available,
    completion_model: Option<String>,
    /// How often the operator set another gateway.
    gateway_changes: u32,
    /// What the mint of the login that brought the account came to.
    first: Option<Result<Mint, CallError>>,
    /// The turn that is being taken.
    permit: Option<Permit>,
    waiting: Vec<Waiter>,
    listing: Vec<oneshot::Sender<()>>,
    /// Those who want to make a call with the login.
    calling: Vec<oneshot::Sender<Result<(), Block>>>,
}

/// What was stored of an account beside its record.
#[derive(Debug, Default)]
pub(crate) struct Stored {
    pub(crate) grant: Option<GrantRecord>,
    pub(crate) memory: Memory,
}

impl Stored {
    /// Reads what the account wrote of its own health; what cannot be read is forgotten, and learnt anew.
    pub(crate) fn new(grant: Option<GrantRecord>, memory: Option<&[u8]>) -> Self {
        let memory = memory.and_then(|bytes| serde_json::from_slice(bytes).ok());
        Self { grant, memory: memory.unwrap_or_default() }
    }
}

impl AccountActor {
    /// Builds the actor from what was stored.
    pub(crate) fn new(office: Office, record: AccountRecord, stored: Stored, gauge: Arc<Gauge>) -> Self {
        let (mut rng, now) = (StdRng::from_rng(&mut rand::rng()), office.clock.now());
        let root_namespace_id = stored.grant.as_ref().and_then(|grant| grant.root_namespace_id.clone());
        let serial = stored.grant.as_ref().map(|grant| grant.generation).unwrap_or_default();
        let fixed = record.gateway_url.clone().or_else(|| office.configured_gateway(&record.instance));
        // A grant outlives the login that minted it, but not a change of the gateway that it is for.
        let current = stored.grant.filter(|grant| fixed.as_ref().is_none_or(|fixed| grant.gateway == *fixed));
        let grant = current.and_then(|grant| restore(&grant));
        let terms = Terms::of(&record.credential, record.credential_generation);
        let doubt = record.exchange_begun_at.is_some();
        if let Some(begun_at) = record.exchange_begun_at {
            warn!(account.id = %record.id, "GitLab's answer to the renewal of the login of account `{}` at {begun_at} never arrived: it is tried once more", record.id);
        }
        let credentials = Credentials::new(&terms, doubt, now, &mut rng);
        let state = State::new(credentials, (serial, grant), stored.memory, now, &mut rng);
        Self {
            office,
            record,
            state,
            gauge,
            rng,
            root_namespace_id,
            available: Available::default(),
            completion_model: None,
            gateway_changes: 0,
            first: None,
            permit: None,
            waiting: Vec::new(),
            listing: Vec::new(),
            calling: Vec::new(),
        }
    }

    /// Adds what the mint of the login that brought the account came to.
    pub(crate) fn with_first_mint(mut self, mint: Result<Mint, CallError>) -> Self {
        self.first = Some(mint);
        self
    }

    fn event(&mut self, event: Event, ctx: &mut Context<Self>) {
        let now = self.office.clock.now();
        for effect in self.state.step(event, now, &mut self.rng) {
            match effect {
                Effect::Ask(urgency) => self.ask(urgency, ctx),
                Effect::Exchange => self.exchange(ctx),
                Effect::Mint => self.mint(ctx),
                Effect::Discover => self.discover(ctx),
                Effect::AskCredit(model) => self.ask_credit(model, ctx),
                Effect::Publish => self.office.registry.do_send(SnapshotChanged(Arc::new(self.snapshot(ctx)))),
                Effect::Remember => self.remember(ctx),
                Effect::Warn(end) => self.warn_of(end),
                Effect::Reply(answer) => {
                    let asker = self.waiting.pop().into_iter().collect();
                    self.answer(asker, answer, ctx);
                }
                Effect::Answer(answer) => {
                    let waiting = std::mem::take(&mut self.waiting);
                    self.answer(waiting, answer, ctx);
                }
                // A waiter that has left needs no answer.
                Effect::Listed => self.listing.drain(..).for_each(|waiter| waiter.send(()).unwrap_or_default()),
                Effect::Access(access) => {
                    self.calling.drain(..).for_each(|waiter| drop(waiter.send(access.clone())));
                }
            }
        }
        // A turn that was not taken goes to the next.
        self.permit = None;
    }

    /// Does what is due; nothing is due on an account that is switched off.
    fn tick(&mut self, ctx: &mut Context<Self>) {
        if self.record.enabled {
            self.event(Event::Tick, ctx);
        }
    }

    /// Answers those who wait for a renewal, once its outcome is published: they go on to choose from the table.
    fn answer(&mut self, waiting: Vec<Waiter>, answer: Result<Generation, Block>, ctx: &mut Context<Self>) {
        if waiting.is_empty() {
            return;
        }
        let publishing = self.office.registry.send(SnapshotChanged(Arc::new(self.snapshot(ctx))));
        let answering = async move {
            // Without a registry the server is stopping, and any answer will do.
            publishing.await.unwrap_or_default();
            for waiter in waiting {
                // A waiter that has left needs no answer.
                drop(waiter.send(answer.clone()));
            }
        };
        ctx.spawn(answering.into_actor(self));
    }
}

impl Actor for AccountActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(MAILBOX);
        if let Some(mint) = self.first.take() {
            self.logged_in(mint, ctx);
        }
        if self.office.settings.timers {
            ctx.run_interval(TICK, Self::tick);
            self.tick(ctx);
        }
        self.office.registry.do_send(SnapshotChanged(Arc::new(self.snapshot(ctx))));
    }
}
