//! The calls an account makes to its GitLab, and what becomes of them.

use std::sync::Arc;

use actix::{ActorFutureExt, AsyncContext, Context, WrapFuture};
use tracing::{debug, error, info, warn};

use super::AccountActor;
use crate::account::api::SharedNews;
use crate::account::broker::{Ask, Permit};
use crate::account::credentials::Terms;
use crate::account::exchanger::{Exchange, What};
use crate::account::login::probe_model;
use crate::account::minting::{self, GatewayChoice, Mint};
use crate::account::shared_health::{self, Way};
use crate::account::state::Event;
use crate::account::turns::{Urgency, Verdict};
use crate::domain::fault::Fault;
use crate::domain::id::Generation;
use crate::domain::model::ModelName;
use crate::domain::secret::Secret;
use crate::domain::time::Timestamp;
use crate::gitlab::direct_access::{Endpoint, Minted};
use crate::gitlab::error::{Call, CallError, not_the_api};
use crate::gitlab::gateway::Grant;
use crate::gitlab::models;
use crate::gitlab::rest::Session;
use crate::store::{Credential, GrantRecord, GrantSource, PutGrant, PutHealth, PutSettings, StoreError};

impl AccountActor {
    pub(super) fn token(&self) -> Secret<String> {
        self.record.credential.token().clone()
    }

    pub(super) fn ask(&mut self, urgency: Urgency, ctx: &mut Context<Self>) {
        let (instance, account) = (self.record.instance.clone(), self.record.id.clone());
        // Past the mailbox's bound: an account has one place in the queue, and raises it twice at most.
        self.office.broker.do_send(Ask { instance, account, urgency, desk: ctx.address().recipient() });
    }

    /// Has the pair exchanged, by somebody who goes on even if this actor ends.
    pub(super) fn exchange(&mut self, ctx: &mut Context<Self>) {
        let (Some(permit), Credential::OAuth { app, pair }) = (self.permit.take(), &self.record.credential) else {
            return;
        };
        let what = What {
            account: self.record.id.clone(),
            instance: self.record.instance.clone(),
            app: app.clone(),
            pair: pair.clone(),
            generation: self.record.credential_generation,
        };
        // Past the mailbox's bound: whoever sends this has one of few permits.
        self.office.exchanger.do_send(Exchange { what, permit, desk: ctx.address().recipient() });
    }

    pub(super) fn mint(&mut self, ctx: &mut Context<Self>) {
        let (office, instance, token) = (self.office.clone(), self.record.instance.clone(), self.token());
        let choice = GatewayChoice { fixed: self.fixed_gateway(), reported: self.record.reported_gateway.clone() };
        let probe = probe_model(&self.office.catalogue);
        let (credential, permit) = (self.record.credential_generation, self.permit.take());
        let chosen_by = self.gateway_changes;
        let minting = async move {
            let session = Session { upstream: office.upstreams.of(&instance), instance: &instance, token: &token };
            let result = minting::grant(session, &choice, &probe).await;
            settle(permit, result.as_ref().err());
            result
        };
        ctx.spawn(minting.into_actor(self).map(move |result, actor, ctx| {
            actor.mint_ended(credential, result, ctx);
            if chosen_by != actor.gateway_changes {
                // It is for the gateway that the account had when it began.
                actor.event(Event::GatewayChanged, ctx);
            }
        }));
    }

    fn mint_ended(&mut self, by: Generation, result: Result<Mint, CallError>, ctx: &mut Context<Self>) {
        if by != self.record.credential_generation {
            debug!(account.id = %self.record.id, "dropped a mint with an older login of account `{}`", self.record.id);
            return;
        }
        match result {
            Ok(mint) => {
                if let Some(grant) = self.adopt(&mint, ctx) {
                    self.event(Event::Minted(by, grant), ctx);
                } else {
                    self.event(Event::MintFailed(by, unsendable()), ctx);
                }
            }
            Err(error) => {
                let first = self.state.trouble().is_none_or(|block| block.reason != error.fault.reason);
                let account = &self.record.id;
                if first {
                    warn!(account.id = %account, reason = ?error.fault.reason, "account `{account}` could not renew its gateway credential: {error}");
                } else {
                    debug!(account.id = %account, "account `{account}` still cannot renew its gateway credential: {error}");
                }
                self.event(Event::MintFailed(by, error.fault), ctx);
            }
        }
    }

    /// Takes over a login that is stored, with what its first mint came to.
    pub(super) fn logged_in(&mut self, mint: Result<Mint, CallError>, ctx: &mut Context<Self>) {
        let terms = Terms::of(&self.record.credential, self.record.credential_generation);
        let grant = mint.map_err(|error| error.fault).and_then(|mint| self.adopt(&mint, ctx).ok_or_else(unsendable));
        match grant {
            Ok(grant) => self.event(Event::LoggedIn(terms, grant), ctx),
            Err(fault) => self.event(Event::LoggedInWithoutGrant(terms, fault), ctx),
        }
    }

    /// Stores a minted grant beside, and returns it ready for use; `None` if it cannot be sent.
    fn adopt(&mut self, mint: &Mint, ctx: &mut Context<Self>) -> Option<Arc<Grant>> {
        let generation = self.state.next_serial();
        let grant = Grant::new(&mint.minted, generation, mint.gateway.clone())?;
        let expires_in_s = mint.minted.expires_at.since(self.office.clock.now()).as_secs();
        info!(account.id = %self.record.id, expires_in_s, "renewed the gateway credential of account `{}`", self.record.id);
        self.root_namespace_id.clone_from(&mint.minted.root_namespace_id);
        if mint.completion_model.is_some() {
            self.completion_model.clone_from(&mint.completion_model);
        }
        self.store_grant(mint, generation, ctx);
        if mint.reported.is_some() && mint.reported != self.record.reported_gateway {
            self.record.reported_gateway.clone_from(&mint.reported);
            self.store_settings(ctx);
        }
        Some(Arc::new(grant))
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

    /// Asks the gateway, without cost, whether there is credit for `model` again.
    pub(super) fn ask_credit(&mut self, model: ModelName, ctx: &mut Context<Self>) {
        let Some(grant) = self.state.grant().cloned() else { return };
        let upstream = self.office.upstreams.of(&self.record.instance).clone();
        let way = self.way(&grant, &model);
        let asking = async move {
            let answer = minting::count_tokens(&upstream, &grant, &model).await;
            (grant.generation, model, answer.map_err(|error| error.fault))
        };
        ctx.spawn(asking.into_actor(self).map(|(under, model, answer), actor, ctx| {
            if answer.is_ok() {
                // Past the mailbox's bound: there is one for each block of a model.
                actor.office.shared.news.do_send(SharedNews::from(shared_health::Event::Succeeded(way)));
            }
            actor.event(Event::CreditAsked(under, model, answer), ctx);
        }));
    }

    fn way(&self, grant: &Grant, model: &ModelName) -> Way {
        Way {
            account: self.record.id.clone(),
            group: self.group(),
            gateway: grant.gateway.clone(),
            model: model.clone(),
            epoch: self.office.shared.published.load().shared.epoch(),
        }
    }

    pub(super) fn store_settings(&self, ctx: &mut Context<Self>) {
        let account = self.record.id.clone();
        let saving = self.office.store.send(PutSettings(self.record.clone()));
        ctx.spawn(
            async move {
                if !matches!(saving.await, Ok(Ok(()))) {
                    error!(account.id = %account, "the settings of account `{account}` were not stored");
                }
            }
            .into_actor(self),
        );
    }

    /// Keeps what must outlive a restart, beside login and grant. What is not kept is learnt anew.
    pub(super) fn remember(&self, ctx: &mut Context<Self>) {
        let account = self.record.id.clone();
        let Ok(bytes) = serde_json::to_vec(&self.state.memory()) else { return };
        let saving = self.office.store.send(PutHealth { account: account.clone(), bytes });
        ctx.spawn(
            async move {
                match saving.await {
                    Ok(Ok(()) | Err(StoreError::NoSuchAccount(_))) => {}
                    Ok(Err(error)) => {
                        warn!(account.id = %account, "what account `{account}` remembers was not stored: {error}");
                    }
                    Err(error) => {
                        warn!(account.id = %account, "what account `{account}` remembers was not stored: {error}");
                    }
                }
            }
            .into_actor(self),
        );
    }

    pub(super) fn warn_of(&self, end: Timestamp) {
        let account = &self.record.id;
        warn!(account.id = %account, "the login of account `{account}` ends at {end} and is not renewed by itself: log in with a new token before");
    }

    pub(super) fn discover(&mut self, ctx: &mut Context<Self>) {
        let (office, instance, token) = (self.office.clone(), self.record.instance.clone(), self.token());
        let root = self.root_namespace_id.clone();
        let (credential, permit) = (self.record.credential_generation, self.permit.take());
        let listing = async move {
            let session = Session { upstream: office.upstreams.of(&instance), instance: &instance, token: &token };
            let result = models::discover(session, root.as_deref()).await;
            settle(permit, result.as_ref().err());
            result
        };
        ctx.spawn(listing.into_actor(self).map(move |result, actor, ctx| {
            match result {
                Ok(available) => actor.available = available,
                // The last list is kept: GitLab's own list is a hint, and old instances have none.
                Err(error) => debug!(account.id = %actor.record.id, "the models of account `{}` could not be listed: {error}", actor.record.id),
            }
            actor.event(Event::Discovered(credential), ctx);
        }));
    }
}

/// Gives a turn back with what the call says about the instance.
fn settle(permit: Option<Permit>, error: Option<&CallError>) {
    if let Some(permit) = permit {
        permit.settle(error.map_or(Verdict::Answered, |error| Verdict::of(&error.fault)));
    }
}

/// Minted has sendable headers by construction; a grant that is not is an answer that is not the API's.
fn unsendable() -> Fault {
    not_the_api(Call::Mint).fault
}

/// Turns a stored grant back into one that can be sent.
pub(super) fn restore(record: &GrantRecord) -> Option<Arc<Grant>> {
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
