//! The actor of one account: turns messages into events, asks [`State`] what to do, and does it.

mod handlers;

use std::sync::Arc;
use std::time::Duration;

use actix::{Actor, ActorFutureExt, Addr, AsyncContext, Context, MailboxError, Message, Recipient, WrapFuture};
use futures::channel::oneshot;
use rand::SeedableRng;
use rand::rngs::StdRng;
use tracing::{debug, error, info, warn};

use crate::account::api::{Block, Desk, Snapshot, SnapshotChanged};
use crate::account::lease::Gauge;
use crate::account::login::{Given, probe_model};
use crate::account::minting::{self, GatewayChoice, Mint};
use crate::account::state::{Effect, Event, State};
use crate::account::view::{AccountView, Signs, Trouble};
use crate::domain::catalogue::Catalogue;
use crate::domain::endpoint::{GatewayUrl, InstanceUrl};
use crate::domain::id::Generation;
use crate::domain::model::ModelName;
use crate::domain::secret::Secret;
use crate::domain::time::{Clock, Timestamp};
use crate::gitlab::direct_access::{Endpoint, Minted};
use crate::gitlab::error::CallError;
use crate::gitlab::gateway::Grant;
use crate::gitlab::models::{self, Available};
use crate::gitlab::rest::Session;
use crate::gitlab::upstream::Upstream;
use crate::gitlab::{error::Call, error::classify};
use crate::store::{
    AccountRecord, Credential, GrantRecord, GrantSource, PutAccount, PutAccountFromLogin, PutGrant, StoreActor,
    StoreError,
};

/// How often deadlines are compared with wall time. Short, so that a laptop that wakes up renews at once.
const TICK: Duration = Duration::from_secs(1);
/// News are bounded by the requests in flight on the account, wishes by the requests that wait; this is for bursts of
/// messages from people.
const MAILBOX: usize = 256;

/// What the accounts of a server have in common.
#[derive(Clone)]
pub(crate) struct AccountSettings {
    /// A configured gateway, for the accounts of one instance.
    pub(crate) gateway: Option<(InstanceUrl, GatewayUrl)>,
    /// What `gitlab-duo` means where GitLab names no model.
    pub(crate) model: Option<ModelName>,
    /// Whether grants are renewed and models listed without being asked.
    pub(crate) timers: bool,
}

/// What every account's actor is handed.
#[derive(Clone)]
pub(crate) struct Office {
    pub(crate) upstream: Upstream,
    pub(crate) store: Addr<StoreActor>,
    pub(crate) registry: Recipient<SnapshotChanged>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) catalogue: Arc<Catalogue>,
    pub(crate) settings: Arc<AccountSettings>,
}

impl Office {
    /// Returns the configured gateway for `instance`, if there is one.
    pub(crate) fn configured_gateway(&self, instance: &InstanceUrl) -> Option<GatewayUrl> {
        let configured = self.settings.gateway.as_ref().filter(|(of, _)| of == instance);
        configured.map(|(_, gateway)| gateway.clone())
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
    /// What the mint of the login that brought the account came to.
    first: Option<Result<Mint, CallError>>,
    waiting: Vec<Waiter>,
    listing: Vec<oneshot::Sender<()>>,
}

/// Gives a known account a new credential, and what its first mint came to.
#[derive(Message)]
#[rtype(result = "Result<(), crate::store::StoreError>")]
pub(crate) struct Relogin {
    pub(crate) credential: Credential,
    pub(crate) username: String,
    pub(crate) given: Given,
    pub(crate) mint: Result<Mint, CallError>,
    /// The stored login that it came by, which ends with it.
    pub(crate) login: Option<String>,
}

impl AccountActor {
    /// Builds the actor from what was stored.
    pub(crate) fn new(office: Office, record: AccountRecord, stored: Option<GrantRecord>, gauge: Arc<Gauge>) -> Self {
        let mut rng = StdRng::from_rng(&mut rand::rng());
        let root_namespace_id = stored.as_ref().and_then(|grant| grant.root_namespace_id.clone());
        let serial = stored.as_ref().map(|grant| grant.generation).unwrap_or_default();
        let current = stored.filter(|grant| grant.credential_generation == record.credential_generation);
        let grant = current.and_then(|grant| restore(&grant));
        let state = State::new(serial, grant, office.clock.now(), &mut rng);
        Self {
            office,
            record,
            state,
            gauge,
            rng,
            root_namespace_id,
            available: Available::default(),
            completion_model: None,
            first: None,
            waiting: Vec::new(),
            listing: Vec::new(),
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
                Effect::Mint => self.mint(ctx),
                Effect::Discover => self.discover(ctx),
                Effect::Publish => self.office.registry.do_send(SnapshotChanged(Arc::new(self.snapshot(ctx)))),
                Effect::Reply(answer) => {
                    let asker = self.waiting.pop().into_iter().collect();
                    self.answer(asker, answer, ctx);
                }
                Effect::Answer(answer) => {
                    let waiting = std::mem::take(&mut self.waiting);
                    self.answer(waiting, answer, ctx);
                }
            }
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

    fn snapshot(&self, ctx: &Context<Self>) -> Snapshot {
        let address = ctx.address();
        Snapshot {
            id: self.record.id.clone(),
            pool: self.record.pool.as_str().into(),
            priority: self.record.priority,
            weight: self.record.weight.max(1),
            max_concurrency: self.record.max_concurrency,
            enabled: self.record.enabled,
            grant: self.state.grant().cloned(),
            renewable: self.state.is_renewable(self.office.clock.now()),
            trouble: self.state.trouble().cloned(),
            block: self.state.block().cloned(),
            models: Arc::clone(self.state.models()),
            current_model: self.current_model(),
            gauge: Arc::clone(&self.gauge),
            desk: Some(Desk { news: address.clone().recipient(), renew: address.recipient() }),
        }
    }

    /// Pinned by an administrator, else GitLab's default, else configured, else the catalogue's.
    fn current_model(&self) -> ModelName {
        let catalogue = &self.office.catalogue;
        let offered = [&self.available.pinned, &self.available.default];
        let named = offered.into_iter().flatten().find_map(|reference| catalogue.by_gitlab_ref(reference));
        let named = named.map(|entry| entry.name.clone());
        named.or_else(|| self.office.settings.model.clone()).unwrap_or_else(|| catalogue.default_model().clone())
    }

    fn token(&self) -> Secret<String> {
        self.record.credential.token().clone()
    }

    fn mint(&mut self, ctx: &mut Context<Self>) {
        let (office, instance, token) = (self.office.clone(), self.record.instance.clone(), self.token());
        let fixed = self.record.gateway_url.clone().or_else(|| self.office.configured_gateway(&instance));
        let choice = GatewayChoice { fixed, reported: self.record.reported_gateway.clone() };
        let probe = probe_model(&self.office.catalogue);
        let credential = self.record.credential_generation;
        let minting = async move {
            let session = Session { upstream: &office.upstream, instance: &instance, token: &token };
            minting::grant(session, &choice, &probe).await
        };
        ctx.spawn(minting.into_actor(self).map(move |result, actor, ctx| {
            if actor.record.credential_generation == credential {
                actor.mint_ended(result, ctx);
            }
        }));
    }

    fn mint_ended(&mut self, result: Result<Mint, CallError>, ctx: &mut Context<Self>) {
        match result {
            Ok(mint) => self.adopt(&mint, ctx),
            Err(error) => {
                let first = self.state.trouble().is_none_or(|block| block.reason != error.fault.reason);
                let account = &self.record.id;
                if first {
                    warn!(account.id = %account, reason = ?error.fault.reason, "account `{account}` could not renew its gateway credential: {error}");
                } else {
                    debug!(account.id = %account, "account `{account}` still cannot renew its gateway credential: {error}");
                }
                self.event(Event::MintFailed(error.fault), ctx);
            }
        }
    }

    /// Makes a minted grant the account's own: used at once, stored beside.
    fn adopt(&mut self, mint: &Mint, ctx: &mut Context<Self>) {
        let generation = self.state.next_serial();
        let Some(grant) = Grant::new(&mint.minted, generation, mint.gateway.clone()) else {
            // Minted has sendable headers by construction; a grant that is not is an answer that is not the API's.
            return self.event(Event::MintFailed(classify(Call::Mint, 200, b"").fault), ctx);
        };
        let expires_in_s = mint.minted.expires_at.since(self.office.clock.now()).as_secs();
        info!(account.id = %self.record.id, expires_in_s, "renewed the gateway credential of account `{}`", self.record.id);
        self.root_namespace_id.clone_from(&mint.minted.root_namespace_id);
        if mint.completion_model.is_some() {
            self.completion_model.clone_from(&mint.completion_model);
        }
        self.store_grant(mint, generation, ctx);
        if mint.reported.is_some() && mint.reported != self.record.reported_gateway {
            self.record.reported_gateway.clone_from(&mint.reported);
            self.store_record(ctx);
        }
        self.event(Event::Minted(Arc::new(grant)), ctx);
    }

    fn store_grant(&self, mint: &Mint, generation: Generation, ctx: &mut Context<Self>) {
        let Minted { token, headers, expires_at, root_namespace_id, .. } = mint.minted.clone();
        let record = GrantRecord {
            account: self.record.id.clone(),
            generation,
            token,
            headers: headers.into_iter().map(|(name, value)| (name, Secret::new(value))).collect(),
            expires_at,
            minted_at: self.office.clock.now(),
            credential_generation: self.record.credential_generation,
            root_namespace_id,
            via: match mint.endpoint {
                Endpoint::Agents => GrantSource::ThirdPartyAgents,
                Endpoint::Suggestions => GrantSource::CodeSuggestions,
            },
            gateway: mint.gateway.clone(),
        };
        let account = self.record.id.clone();
        let saving = self.office.store.send(PutGrant(record));
        ctx.spawn(
            async move {
                // A grant that was not kept costs one mint after the next start, and nothing else.
                match saving.await {
                    Ok(Ok(())) => {}
                    Ok(Err(error)) => {
                        warn!(account.id = %account, "the grant of account `{account}` was not stored: {error}");
                    }
                    Err(error) => {
                        warn!(account.id = %account, "the grant of account `{account}` was not stored: {error}");
                    }
                }
            }
            .into_actor(self),
        );
    }

    fn store_record(&self, ctx: &mut Context<Self>) {
        let account = self.record.id.clone();
        let saving = self.office.store.send(PutAccount(self.record.clone()));
        ctx.spawn(
            async move {
                if !matches!(saving.await, Ok(Ok(()))) {
                    error!(account.id = %account, "the settings of account `{account}` were not stored");
                }
            }
            .into_actor(self),
        );
    }

    fn discover(&mut self, ctx: &mut Context<Self>) {
        let (office, instance, token) = (self.office.clone(), self.record.instance.clone(), self.token());
        let root = self.root_namespace_id.clone();
        let listing = async move {
            let session = Session { upstream: &office.upstream, instance: &instance, token: &token };
            models::discover(session, root.as_deref()).await
        };
        ctx.spawn(listing.into_actor(self).map(|result, actor, ctx| {
            match result {
                Ok(available) => actor.available = available,
                // The last list is kept: GitLab's own list is a hint, and old instances have none.
                Err(error) => debug!(account.id = %actor.record.id, "the models of account `{}` could not be listed: {error}", actor.record.id),
            }
            // A waiter that has left needs no answer.
            actor.listing.drain(..).for_each(|waiter| waiter.send(()).unwrap_or_default());
            actor.event(Event::Discovered, ctx);
        }));
    }

    fn describe(&self, now: Timestamp) -> AccountView {
        let grant = self.state.grant();
        let block = self.state.block().filter(|block| block.holds(now));
        let trouble = self.state.trouble();
        let models = self.state.models().iter().filter(|(_, block)| block.holds(now));
        let blocked_models: std::collections::BTreeMap<_, _> =
            models.map(|(name, block)| (name.to_string(), Trouble::of(block))).collect();
        let signs = Signs {
            enabled: self.record.enabled,
            usable: grant.is_some_and(|grant| grant.is_usable(now)),
            minting: self.state.is_minting(),
            block,
            trouble,
            blocked_models: blocked_models.len(),
        };
        let (models, unroutable_models) = self.offered();
        AccountView {
            id: self.record.id.to_string(),
            base_url: self.record.instance.to_string(),
            user_id: self.record.user_id,
            username: self.record.username.clone(),
            label: self.record.label.clone(),
            pool: self.record.pool.clone(),
            priority: self.record.priority,
            weight: self.record.weight,
            max_concurrency: self.record.max_concurrency,
            health: signs.health(),
            trouble: block.or(trouble).map(Trouble::of),
            blocked_models,
            current_model: self.current_model().to_string(),
            models,
            unroutable_models,
            credit_group: self.root_namespace_id.as_ref().map(|root| format!("{}#{root}", self.record.instance)),
            gateway_url: grant.map(|grant| grant.gateway.to_string()),
            grant_expires_at: grant.map(|grant| grant.expires_at.to_string()),
            grant_generation: grant.map_or(0, |grant| grant.generation.number()),
            token_expires_on: self.record.credential.expires_on().map(str::to_owned),
            token_scopes: self.record.credential.scopes().to_vec(),
            in_flight: self.gauge.in_flight(),
            served: self.gauge.served(),
            failed: self.gauge.failed(),
            added_at: self.record.added_at.to_string(),
        }
    }

    /// Returns the names of the models that GitLab offers, and the identifiers that name none.
    fn offered(&self) -> (Vec<String>, Vec<String>) {
        let available = &self.available;
        let listed = available.pinned.iter().chain(&available.default).chain(&available.selectable);
        let (mut known, mut unknown) = (Vec::new(), Vec::new());
        for reference in listed.chain(&self.completion_model) {
            let (list, name) = match self.office.catalogue.by_gitlab_ref(reference) {
                Some(entry) => (&mut known, entry.name.as_str()),
                None => (&mut unknown, reference.as_str()),
            };
            if !list.iter().any(|there| there == name) {
                list.push(name.to_owned());
            }
        }
        (known, unknown)
    }
}

/// Turns a stored grant back into one that can be sent.
fn restore(record: &GrantRecord) -> Option<Arc<Grant>> {
    let headers = record.headers.iter().map(|(name, value)| (name.clone(), value.expose().clone())).collect();
    let minted = Minted {
        token: record.token.clone(),
        headers,
        expires_at: record.expires_at,
        root_namespace_id: record.root_namespace_id.clone(),
        reported_gateway: None,
        completion_model: None,
    };
    Grant::new(&minted, record.generation, record.gateway.clone()).map(Arc::new)
}

impl Actor for AccountActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(MAILBOX);
        if let Some(mint) = self.first.take() {
            self.mint_ended(mint, ctx);
        }
        if self.office.settings.timers && self.record.enabled {
            ctx.run_interval(TICK, |actor, ctx| actor.event(Event::Tick, ctx));
            self.event(Event::Tick, ctx);
        }
        self.office.registry.do_send(SnapshotChanged(Arc::new(self.snapshot(ctx))));
    }
}
