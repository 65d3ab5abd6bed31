//! What the account shows of itself: to the router, and to people.

use std::collections::BTreeMap;
use std::sync::Arc;

use actix::{AsyncContext, Context};

use super::AccountActor;
use super::handlers::Address;
use crate::account::api::{Block, Desk, Snapshot, Table};
use crate::account::shared_health::CreditGroup;
use crate::account::view::{AccountView, CredentialKind, LoginState, Signs, Trouble, Warning};
use crate::domain::fault::Scope;
use crate::domain::model::ModelName;
use crate::domain::time::Timestamp;
use crate::store::Credential;

impl AccountActor {
    pub(super) fn snapshot(&self, ctx: &Context<Self>) -> Snapshot {
        Snapshot {
            id: self.record.id.clone(),
            instance: self.record.instance.clone(),
            group: self.group(),
            pool: self.record.pool.as_str().into(),
            priority: self.record.priority,
            weight: self.record.weight.max(1),
            max_concurrency: self.record.max_concurrency,
            enabled: self.record.enabled,
            grant: self.state.grant().cloned(),
            renewable: self.state.is_renewable(self.office.clock.now()),
            unsaved: LoginState::of(self.state.credentials()) == LoginState::Unsaved,
            trouble: self.state.trouble().cloned(),
            block: self.state.block().cloned(),
            models: Arc::clone(self.state.models()),
            hinted: false,
            current_model: self.current_model(),
            gauge: Arc::clone(&self.gauge),
            desk: Some(Desk(Arc::new(Address { account: ctx.address(), shared: self.office.shared.clone() }))),
        }
    }

    /// Returns whose credits the account draws on.
    pub(super) fn group(&self) -> CreditGroup {
        CreditGroup::of(&self.record.instance, self.root_namespace_id.as_deref())
    }

    /// Returns all of the account's own that keeps it from something.
    pub(super) fn troubles(&self, now: Timestamp) -> Vec<Trouble> {
        let state = &self.state;
        let credential = self.credential_kind();
        let whole = state.block().filter(|block| block.holds(now)).map(|block| Trouble::of_account(block, credential));
        let models = state.models().iter().filter(|(_, block)| block.holds(now));
        let models = models.map(|(model, block)| Trouble::of_model(model, block, credential));
        let login = state.trouble().map(|block| Trouble::of_login(block, credential));
        whole.into_iter().chain(models).chain(login).collect()
    }

    fn credential_kind(&self) -> CredentialKind {
        CredentialKind::of(&self.record.credential)
    }

    /// Pinned by an administrator, else GitLab's default, else configured, else the catalogue's.
    fn current_model(&self) -> ModelName {
        let catalogue = &self.office.catalogue;
        let offered = [&self.available.pinned, &self.available.default];
        let named = offered.into_iter().flatten().find_map(|reference| catalogue.by_gitlab_ref(reference));
        let named = named.map(|entry| entry.name.clone());
        named.or_else(|| self.office.settings.model.clone()).unwrap_or_else(|| catalogue.default_model().clone())
    }

    pub(super) fn describe(&self, now: Timestamp) -> AccountView {
        let (grant, credentials) = (self.state.grant(), self.state.credentials());
        let table = self.office.shared.published.load();
        let gateway = grant.map(|grant| &grant.gateway);
        let shared = table.shared.against(gateway, &self.group(), &self.record.instance, now);
        let whole = |scope: Scope| matches!(scope, Scope::Host | Scope::Gateway | Scope::Namespace);
        let shut = shared.iter().find(|(site, _)| whole(site.scope()));
        let own: Option<&Block> = self.state.block().filter(|block| block.holds(now));
        let trouble = self.state.trouble();
        let credential = self.credential_kind();
        let mut blocks = self.troubles(now);
        let blocked_models = of_models(&blocks);
        let shown = own.map(|block| Trouble::of_account(block, credential));
        let shown = shown.or_else(|| shut.map(|(site, block)| Trouble::at(site, block)));
        blocks.extend(shared.iter().map(|(site, block)| Trouble::at(site, block)));
        let signs = Signs {
            enabled: self.record.enabled,
            usable: grant.is_some_and(|grant| grant.is_usable(now)),
            minting: self.state.is_minting(),
            block: own.or(shut.map(|(_, block)| block)),
            trouble,
            needs_login: credentials.needs_login(),
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
            trouble: shown.or_else(|| trouble.map(|block| Trouble::of_login(block, credential))),
            blocked_models,
            blocks,
            hinted: self.is_hinted(&table),
            enabled: self.record.enabled,
            current_model: self.current_model().to_string(),
            models,
            unroutable_models,
            credit_group: self.root_namespace_id.as_ref().map(|root| format!("{}#{root}", self.record.instance)),
            gateway_url: grant.map(|grant| grant.gateway.to_string()),
            grant_expires_at: grant.map(|grant| grant.expires_at.to_string()),
            grant_generation: grant.map_or(0, |grant| grant.generation.number()),
            credential,
            login: LoginState::of(credentials),
            login_generation: self.record.credential_generation.number(),
            token_expires_on: self.record.credential.expires_on().map(str::to_owned),
            token_expires_at: credentials.expires_at().map(|end| end.to_string()),
            warnings: credentials.ends_soon(now).map(|end| warning(&self.record.credential, end)).into_iter().collect(),
            token_scopes: self.record.credential.scopes().to_vec(),
            in_flight: self.gauge.in_flight(),
            served: self.gauge.served(),
            failed: self.gauge.failed(),
            added_at: self.record.added_at.to_string(),
        }
    }

    fn is_hinted(&self, table: &Table) -> bool {
        let place = table.accounts.binary_search_by(|account| account.id.cmp(&self.record.id));
        place.is_ok_and(|place| table.accounts[place].hinted)
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

/// Returns those of `blocks` that are of single models, by their names.
fn of_models(blocks: &[Trouble]) -> BTreeMap<String, Trouble> {
    let of_models = blocks.iter().filter(|trouble| trouble.scope == Scope::Model);
    of_models.map(|trouble| (trouble.subject.clone(), trouble.clone())).collect()
}

fn warning(credential: &Credential, end: Timestamp) -> Warning {
    let (message, fix) = match credential {
        Credential::PersonalAccessToken { .. } => (
            "the personal access token ends soon",
            "create a new one with scope `ai_features` or `api`, then run `duopool login --pat`",
        ),
        Credential::OAuth { .. } => {
            ("the login ends soon, and GitLab gave no refresh token with it", "log in again with `duopool login`")
        }
    };
    Warning { message: message.to_owned(), fix: fix.to_owned(), at: end.to_string() }
}
