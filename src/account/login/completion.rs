//! From a pair of tokens to an account: whose it is, what it is good for, and into the pool.
//!
//! The pair is stored before any of this begins, and stays so until it is an account or surely worthless. Whether the
//! user has Duo access decides nothing about that: the account then says what stands in its way.

use std::sync::Arc;
use std::time::Duration;

use actix::Addr;
use tracing::{debug, error, info, warn};

use crate::account::api::{Describe, Discover};
use crate::account::login::api::LoginSettings;
use crate::account::login::view::LoginProblem;
use crate::account::login::{Arrival, Given, LoginError, probe_model};
use crate::account::minting::{self, GatewayChoice, Mint};
use crate::account::registry::{Admit, Find, RegistryActor, SETTLE_MAX, Settle};
use crate::account::view::{Finding, TestReport};
use crate::domain::catalogue::Catalogue;
use crate::domain::fault::Reason;
use crate::domain::id::{AccountId, Generation};
use crate::domain::oauth::OAuthPair;
use crate::domain::time::Clock;
use crate::gitlab::error::CallError;
use crate::gitlab::gateway::Grant;
use crate::gitlab::identity::{self, Identity};
use crate::gitlab::oauth::{ExchangeError, OAuthClient};
use crate::gitlab::rest::Session;
use crate::gitlab::upstream::Upstreams;
use crate::store::{Credential, DeleteLogin, LoginRecord, LoginState, PutLogin, StoreActor};

/// Waits before a token that GitLab does not know is tried again: one that is seconds old may not have reached the replica
/// of GitLab's database that is asked (gitlab!257390).
const KNOWN_YET: [Duration; 5] = [
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(4),
    Duration::from_secs(8),
];
/// A token that GitLab still does not know at this age is none.
const YOUNG: Duration = Duration::from_mins(10);
/// An access token that ends sooner than this is exchanged before it is used.
const LEAD: Duration = Duration::from_mins(1);
/// Waits before a write of a pair is tried again; GitLab will not hand it out twice.
const STORE_AGAIN: [Duration; 4] =
    [Duration::from_millis(100), Duration::from_millis(500), Duration::from_secs(2), Duration::from_secs(5)];
/// A refusal of a refresh token may be false for minutes (gitlab#599181); it is believed after so many tries.
pub(super) const REFUSALS_BELIEVED: u32 = 5;

/// What logins need of the rest of the house.
#[derive(Clone)]
pub(super) struct Office {
    pub(super) upstreams: Upstreams,
    pub(super) store: Addr<StoreActor>,
    pub(super) registry: Addr<RegistryActor>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) catalogue: Arc<Catalogue>,
    pub(super) settings: Arc<LoginSettings>,
}

/// What became of a pair.
#[derive(Debug)]
pub(super) enum Completed {
    /// It is an account.
    Account(AccountId, TestReport),
    /// Its account is known and keeps its own login; the pair is revoked and forgotten.
    Known(AccountId, LoginProblem),
    /// It cannot be told yet; the pair is stored, and in the record.
    Later(LoginProblem, Box<LoginRecord>),
    /// It is worth nothing, and forgotten.
    Never(LoginProblem),
}

enum Obstacle {
    Passing(CallError),
    Lasting(CallError),
}

impl Office {
    /// Returns the way to GitLab for the login of `record`.
    pub(super) fn client<'a>(&'a self, record: &'a LoginRecord) -> OAuthClient<'a> {
        let upstream = self.upstreams.of(&record.instance);
        OAuthClient { upstream, instance: &record.instance, app: &record.app, clock: &*self.clock }
    }

    /// Stores the intent to ask for a pair. Without it, nothing is asked: a pair that a crash takes away would be missed by
    /// nobody.
    pub(super) async fn store_intent(&self, record: &LoginRecord) -> bool {
        match self.store.send(PutLogin(record.clone())).await {
            Ok(Ok(())) => true,
            Ok(Err(error)) => {
                error!(login.id = record.id, "a login was not begun, for it could not be stored: {error}");
                false
            }
            Err(_) => false,
        }
    }

    /// Stores a pair that GitLab has just handed out, and does not give up easily.
    pub(super) async fn keep(&self, record: &LoginRecord) {
        let mut waits = STORE_AGAIN.into_iter();
        loop {
            let why = match self.store.send(PutLogin(record.clone())).await {
                Ok(Ok(())) => return,
                Ok(Err(error)) => error.to_string(),
                Err(error) => error.to_string(),
            };
            let Some(wait) = waits.next() else {
                // It still becomes an account, if the disk recovers until then.
                return error!(login.id = record.id, "the tokens of a login could not be stored: {why}");
            };
            warn!(login.id = record.id, "the tokens of a login are not stored yet: {why}");
            tokio::time::sleep(wait).await;
        }
    }

    /// Stores what an exchange gave, or forgets the login.
    pub(super) async fn settle(
        &self,
        mut record: LoginRecord,
        exchanged: Result<OAuthPair, ExchangeError>,
    ) -> Result<LoginRecord, (String, LoginProblem)> {
        match exchanged {
            Ok(pair) => {
                record.state = LoginState::Issued(pair);
                self.keep(&record).await;
                Ok(record)
            }
            Err(error) => {
                let problem = trouble("GitLab gave no tokens", error.call());
                self.forget(record.id.clone()).await;
                Err((record.id, problem))
            }
        }
    }

    /// Forgets a stored login that has come to nothing.
    pub(super) async fn forget(&self, login: String) {
        if !matches!(self.store.send(DeleteLogin(login.clone())).await, Ok(Ok(()))) {
            // The next start finds it, says so, and tries again.
            warn!(login.id = login, "a login that came to nothing could not be deleted");
        }
    }

    /// Makes an account of the pair of `record`; `tries` is how often that was tried before.
    pub(super) async fn complete(self, mut record: LoginRecord, tries: u32) -> Completed {
        if let Err(obstacle) = self.refresh_if_dead(&mut record, tries).await {
            return self.hindered(record, obstacle).await;
        }
        let LoginState::Issued(pair) = record.state.clone() else {
            return Completed::Never(problem("GitLab handed out no tokens".to_owned(), None));
        };
        let upstream = self.upstreams.of(&record.instance);
        let session = Session { upstream, instance: &record.instance, token: &pair.access_token };
        let identity = match self.when_known(&pair, || identity::of_oauth(session, &pair.scopes)).await {
            Ok(identity) => identity,
            Err(error) => {
                let obstacle = self.weigh(error, &pair);
                return self.hindered(record, obstacle).await;
            }
        };
        let mut findings = vec![
            fine("login", format!("GitLab issued tokens with the scopes {}", pair.scopes.join(", "))),
            fine("user", format!("{} on {}", identity.username, record.instance)),
        ];
        let probe = probe_model(&self.catalogue);
        let choice = GatewayChoice { fixed: self.gateway(&record), reported: None };
        let mint = self.when_known(&pair, || minting::grant(session, &choice, &probe)).await;
        findings.push(found("duo access", "GitLab opens its models to this user", mint.as_ref().map(drop)));
        if let Ok(mint) = &mint
            && let Some(grant) = Grant::new(&mint.minted, Generation::default(), mint.gateway.clone())
        {
            let counted = minting::count_tokens(upstream, &grant, &probe).await;
            findings.push(found("gateway", "the AI gateway accepts the credential", counted.as_ref().copied()));
        }
        self.admit(record, pair, identity, mint, findings).await
    }

    async fn admit(
        &self,
        record: LoginRecord,
        pair: OAuthPair,
        identity: Identity,
        mint: Result<Mint, CallError>,
        mut findings: Vec<Finding>,
    ) -> Completed {
        let minted = mint.is_ok();
        let arrival = Arrival {
            instance: record.instance.clone(),
            user_id: identity.user_id,
            username: identity.username,
            credential: Credential::OAuth { app: record.app.clone(), pair },
            given: given(&record),
            mint,
            renew: true,
            imported: record.imported.clone(),
            login: Some(record.id.clone()),
        };
        let account = match self.registry.send(Admit(Box::new(arrival))).await {
            Ok(Ok(account)) => account,
            Ok(Err(LoginError::Known(account))) => return self.kept_out(record, account).await,
            Ok(Err(error)) => return Completed::Later(not_stored(&error), Box::new(record)),
            Err(_) => return Completed::Later(not_stored(&LoginError::Gone), Box::new(record)),
        };
        info!(account.id = %account, login.id = record.id, "a login by OAuth gave account `{account}` its tokens");
        // So that the next request finds it.
        self.registry.send(Settle).timeout(SETTLE_MAX).await.unwrap_or_default();
        if minted {
            findings.extend(self.models(&account).await);
        }
        Completed::Account(account, TestReport { ok: findings.iter().all(|finding| finding.ok), findings })
    }

    /// Has the models listed; what fails there is a hint that is missing, and not a fault.
    async fn models(&self, account: &AccountId) -> Option<Finding> {
        let address = self.registry.send(Find(account.clone())).await.ok()??;
        address.send(Discover).await.ok()?;
        let view = address.send(Describe).await.ok()?;
        let offered =
            if view.models.is_empty() { "names none".to_owned() } else { format!("offers {}", view.models.join(", ")) };
        Some(fine("models", format!("`gitlab-duo` means {}; GitLab's own list {offered}", view.current_model)))
    }

    /// Exchanges a pair that has ended while it waited. An exchange whose outcome is unknown is repeated; what GitLab says
    /// then, tells.
    async fn refresh_if_dead(&self, record: &mut LoginRecord, tries: u32) -> Result<(), Obstacle> {
        let LoginState::Issued(pair) = &record.state else { return Ok(()) };
        if self.clock.now() + LEAD < pair.expires_at {
            return Ok(());
        }
        match self.client(record).refresh(pair).await {
            Ok(next) => {
                record.state = LoginState::Issued(next);
                self.keep(record).await;
                Ok(())
            }
            Err(ExchangeError::InvalidGrant(error)) if tries >= REFUSALS_BELIEVED => Err(Obstacle::Lasting(error)),
            Err(ExchangeError::Refused(error)) if error.fault.reason == Reason::LoginEnded => {
                Err(Obstacle::Lasting(error))
            }
            Err(ExchangeError::InvalidGrant(error) | ExchangeError::Refused(error) | ExchangeError::Unknown(error)) => {
                Err(Obstacle::Passing(error))
            }
        }
    }

    /// Asks, and asks again as long as GitLab may not know the token yet.
    async fn when_known<T>(
        &self,
        pair: &OAuthPair,
        ask: impl AsyncFn() -> Result<T, CallError>,
    ) -> Result<T, CallError> {
        for wait in KNOWN_YET {
            match ask().await {
                Err(error) if error.fault.reason == Reason::TokenInvalid && self.is_young(pair) => {
                    tokio::time::sleep(wait).await;
                }
                answer => return answer,
            }
        }
        ask().await
    }

    fn is_young(&self, pair: &OAuthPair) -> bool {
        self.clock.now().since(pair.obtained_at) < YOUNG
    }

    fn weigh(&self, error: CallError, pair: &OAuthPair) -> Obstacle {
        match error.fault.reason {
            Reason::TokenRevoked | Reason::ScopeMissing => Obstacle::Lasting(error),
            Reason::TokenInvalid if !self.is_young(pair) => Obstacle::Lasting(error),
            _ => Obstacle::Passing(error),
        }
    }

    async fn hindered(&self, record: LoginRecord, obstacle: Obstacle) -> Completed {
        match obstacle {
            Obstacle::Passing(error) => {
                warn!(login.id = record.id, "the account of a login cannot be told yet: {error}");
                let what = format!("the tokens are stored, but whose they are cannot be told yet: {error}");
                Completed::Later(problem(what, Some(error.fault.reason)), Box::new(record))
            }
            Obstacle::Lasting(error) => {
                warn!(login.id = record.id, "a login came to nothing: {error}");
                let what = format!("whose tokens they are could not be told: {error}");
                let told = problem(what, Some(error.fault.reason));
                self.revoke(&record).await;
                self.forget(record.id).await;
                Completed::Never(told)
            }
        }
    }

    /// Ends what another program brought for an account that keeps its own login: the exchange has ended what the other
    /// program holds, and nobody is to use what it was exchanged for.
    async fn kept_out(&self, record: LoginRecord, account: AccountId) -> Completed {
        warn!(account.id = %account, login.id = record.id, "account `{account}` keeps its own login: what was imported for it is revoked");
        let message = format!(
            "account `{account}` is known, and its own login stays; the imported one had to be renewed to learn whose it \
             is, and was ended then"
        );
        self.revoke(&record).await;
        self.forget(record.id).await;
        let fix = "nothing, if the account works; the other program has to log in again".to_owned();
        Completed::Known(account, LoginProblem { reason: None, message, fix })
    }

    /// Has GitLab forget a pair that nobody will use. If it does not, a pair that nobody has is left there.
    async fn revoke(&self, record: &LoginRecord) {
        let LoginState::Issued(pair) = &record.state else { return };
        if let Err(error) = self.client(record).revoke(&pair.access_token).await {
            debug!(login.id = record.id, "the tokens of a login that came to nothing were not revoked: {error}");
        }
    }

    fn gateway(&self, record: &LoginRecord) -> Option<crate::domain::endpoint::GatewayUrl> {
        record.gateway_url.clone().or_else(|| self.settings.gateways.get(&record.instance).cloned())
    }
}

fn not_stored(error: &LoginError) -> LoginProblem {
    problem(format!("the tokens are kept, but the account is not there yet: {error}"), None)
}

fn given(record: &LoginRecord) -> Given {
    Given {
        gateway_url: record.gateway_url.clone(),
        label: record.label.clone(),
        pool: record.pool.clone(),
        priority: record.priority,
        weight: record.weight,
        max_concurrency: record.max_concurrency,
    }
}

/// Returns the problem that `error` is for a login, with the word that tells programs.
pub(super) fn trouble(what: &str, error: &CallError) -> LoginProblem {
    problem(format!("{what}: {error}"), Some(error.fault.reason))
}

fn problem(message: String, reason: Option<Reason>) -> LoginProblem {
    LoginProblem { reason, message, fix: reason.map(Reason::fix_of_login).unwrap_or_default().to_owned() }
}

fn fine(check: &str, message: String) -> Finding {
    Finding { check: check.to_owned(), ok: true, message, fix: String::new() }
}

fn found(check: &str, message: &str, result: Result<(), &CallError>) -> Finding {
    match result {
        Ok(()) => fine(check, message.to_owned()),
        Err(error) => Finding {
            check: check.to_owned(),
            ok: false,
            message: error.to_string(),
            fix: error.fault.reason.fix_of_login().to_owned(),
        },
    }
}
