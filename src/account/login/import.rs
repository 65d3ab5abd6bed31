//! A pair of tokens that another program obtained, on its way to an account.
//!
//! The other program may still hold the same pair, and each exchange ends what the other holds. So a pair whose access
//! token is alive is looked at with that alone, and not exchanged: what comes of it is an account, stored before it is
//! used, or nothing at all, with the pair as good as it was. Only a pair whose access token has ended is exchanged, in
//! order to learn whose it is; from then on it goes the way of every login: stored before, stored after, and kept
//! whatever comes, unless its user turns out to be an account whose own login works. Nothing is revoked that was not
//! exchanged here, and no refresh token is exchanged that is being exchanged already, or that an account has.

use std::time::Duration;

use actix::{ActorFutureExt, AsyncContext, Context, Handler, Message, ResponseFuture, WrapFuture};
use futures::channel::oneshot;
use tracing::info;

use crate::account::actor::Holds;
use crate::account::api::Describe;
use crate::account::login::actor::LoginsActor;
use crate::account::login::completion::{Completed, Office};
use crate::account::login::view::LoginProblem;
use crate::account::login::{Arrival, Given, LoginError};
use crate::account::minting::{self, GatewayChoice};
use crate::account::registry::{Admit, All, Find, SETTLE_MAX, Settle};
use crate::domain::endpoint::InstanceUrl;
use crate::domain::fault::Reason;
use crate::domain::id::AccountId;
use crate::domain::oauth::{OAuthApp, OAuthPair};
use crate::gitlab::error::CallError;
use crate::gitlab::identity;
use crate::gitlab::oauth::ExchangeError;
use crate::gitlab::rest::Session;
use crate::store::{Credential, LoginRecord, LoginState};

/// An access token that ends sooner than this is as good as ended.
const LEAD: Duration = Duration::from_mins(1);

/// A pair that another program obtained.
#[derive(Clone, Debug)]
pub(crate) struct ForeignPair {
    /// Where its user lives.
    pub(crate) instance: InstanceUrl,
    /// The application that it came through.
    pub(crate) app: OAuthApp,
    /// The pair.
    pub(crate) pair: OAuthPair,
    /// Whether it is known when the access token ends, as `pair` says.
    pub(crate) end_is_known: bool,
    /// What the operator says of the account.
    pub(crate) given: Given,
}

/// What came of a pair that was taken over.
#[derive(Debug)]
pub(crate) enum Imported {
    /// It is an account.
    Account(AccountId),
    /// It is stored, but whose it is cannot be told yet, and that is tried again; or it is being taken over already.
    Later(LoginProblem),
}

/// Why a pair was not taken over.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ImportError {
    /// GitLab could not be asked, or it does not open its models to such tokens. The pair is as good as it was.
    #[error("{0}")]
    Check(CallError),
    /// GitLab does not know the access token, although its end has not come.
    #[error("{0}: the other program has renewed its tokens since, or the login was revoked")]
    Stale(CallError),
    /// GitLab refuses the pair.
    #[error("GitLab does not renew its tokens: {0}")]
    Refused(CallError),
    /// It was exchanged, and is good for nothing.
    #[error("{}", .0.message)]
    Useless(LoginProblem),
    /// The account is there already. The pair is as good as it was.
    #[error("account `{0}` is known already, and stays as it is")]
    Known(AccountId),
    /// The account is there already, and its own login works. The pair was exchanged, and is ended.
    #[error("{}", .1.message)]
    Kept(AccountId, LoginProblem),
    /// It cannot be stored.
    #[error(transparent)]
    Account(#[from] LoginError),
}

impl ImportError {
    fn of(error: CallError) -> Self {
        match error.fault.reason {
            Reason::TokenInvalid | Reason::TokenRevoked | Reason::TokenExpired => Self::Stale(error),
            _ => Self::Check(error),
        }
    }
}

/// Orders to make an account of a pair. Refused as [`ImportError`] says.
#[derive(Debug, Message)]
#[rtype(result = "Result<Imported, ImportError>")]
pub(crate) struct Import(pub(crate) Box<ForeignPair>);

/// How far a pair has come.
enum Step {
    Done(Result<Imported, ImportError>),
    /// It was exchanged, or may have been, and is stored.
    Stored(Box<LoginRecord>, Option<LoginProblem>),
}

impl Office {
    async fn take_over_pair(&self, id: String, foreign: ForeignPair) -> Step {
        let now = self.clock.now();
        let is_alive = !foreign.end_is_known || now + LEAD < foreign.pair.expires_at;
        if is_alive {
            match self.admit_unchanged(&foreign).await {
                Err(ImportError::Stale(error)) if may_have_ended(&error, &foreign) => {}
                done => return Step::Done(done.map(Imported::Account)),
            }
        }
        if let Some(account) = self.holder(&foreign.pair).await {
            return Step::Done(Err(ImportError::Known(account)));
        }
        self.exchange_pair(id, foreign).await
    }

    /// Makes an account of a pair whose access token is alive.
    async fn admit_unchanged(&self, foreign: &ForeignPair) -> Result<AccountId, ImportError> {
        let ForeignPair { instance, pair, .. } = foreign;
        let session = Session { upstream: self.upstreams.of(instance), instance, token: &pair.access_token };
        let identity = identity::of_oauth(session, &pair.scopes).await.map_err(ImportError::of)?;
        let id = AccountId::of(instance, identity.user_id);
        if matches!(self.registry.send(Find(id.clone())).await, Ok(Some(_))) {
            return Err(ImportError::Known(id));
        }
        let configured = || self.settings.gateways.get(instance).cloned();
        let fixed = foreign.given.gateway_url.clone().or_else(configured);
        let choice = GatewayChoice { fixed, reported: None };
        // Whether the user has Duo access decides nothing: the account then says what stands in its way.
        let mint = minting::grant(session, &choice, &crate::account::login::probe_model(&self.catalogue)).await;
        let scopes = if identity.scopes.is_empty() { pair.scopes.clone() } else { identity.scopes };
        let arrival = Arrival {
            instance: instance.clone(),
            user_id: identity.user_id,
            username: identity.username,
            credential: Credential::OAuth { app: foreign.app.clone(), pair: OAuthPair { scopes, ..pair.clone() } },
            given: foreign.given.clone(),
            mint,
            renew: false,
            imported: None,
            login: None,
        };
        let admitted = self.registry.send(Admit(Box::new(arrival))).await;
        let account = admitted.unwrap_or(Err(LoginError::Gone)).map_err(|error| match error {
            LoginError::Known(id) => ImportError::Known(id),
            other => other.into(),
        })?;
        info!(account.id = %account, "account `{account}` was taken over from another program with its tokens");
        self.registry.send(Settle).timeout(SETTLE_MAX).await.unwrap_or_default();
        Ok(account)
    }

    /// Returns the account that has this very pair.
    async fn holder(&self, pair: &OAuthPair) -> Option<AccountId> {
        let mark = pair.mark()?;
        for account in self.registry.send(All).await.ok()? {
            if account.send(Holds(mark.clone())).await.unwrap_or_default() {
                let view = account.send(Describe).await.ok()?;
                return Some(AccountId::from_text(&view.id));
            }
        }
        None
    }

    /// Exchanges a pair whose access token has ended: stored before, so that the intent is known, and after.
    async fn exchange_pair(&self, id: String, foreign: ForeignPair) -> Step {
        let ForeignPair { instance, app, pair, given, .. } = foreign;
        let mut record = LoginRecord {
            id,
            instance,
            app,
            state: LoginState::Issued(pair.clone()),
            label: given.label,
            pool: given.pool,
            priority: given.priority,
            weight: given.weight,
            max_concurrency: given.max_concurrency,
            gateway_url: given.gateway_url,
            account: None,
            imported: pair.mark(),
            begun_at: self.clock.now(),
        };
        if !self.store_intent(&record).await {
            return Step::Done(Err(LoginError::Gone.into()));
        }
        match self.client(&record).refresh(&pair).await {
            Ok(next) => {
                record.state = LoginState::Issued(next);
                self.keep(&record).await;
                Step::Stored(Box::new(record), None)
            }
            Err(ExchangeError::InvalidGrant(error) | ExchangeError::Refused(error)) => {
                self.forget(record.id).await;
                Step::Done(Err(ImportError::Refused(error)))
            }
            Err(ExchangeError::Unknown(error)) => {
                let problem = crate::account::login::completion::trouble(
                    "whether GitLab has renewed the tokens is not known; they are stored, and it is tried again",
                    &error,
                );
                Step::Stored(Box::new(record), Some(problem))
            }
        }
    }
}

/// Returns whether an access token that GitLab does not take may have come to its end, so that the refresh token may be good:
/// GitLab says so, or nobody has said when it ends.
fn may_have_ended(error: &CallError, foreign: &ForeignPair) -> bool {
    match error.fault.reason {
        Reason::TokenExpired => true,
        Reason::TokenInvalid => !foreign.end_is_known,
        _ => false,
    }
}

fn under_way() -> LoginProblem {
    LoginProblem {
        reason: None,
        message: "the same tokens are being taken over already, or are stored and tried again".to_owned(),
        fix: "see `duopool accounts list` in a minute; do not use the tokens elsewhere".to_owned(),
    }
}

impl LoginsActor {
    /// Goes on with a pair that was exchanged as with that of any login, and tells what came of it.
    fn finish_import(
        &mut self,
        record: LoginRecord,
        told: oneshot::Sender<Result<Imported, ImportError>>,
        ctx: &mut Context<Self>,
    ) {
        let id = record.id.clone();
        let completing = self.office.clone().complete(record, 0).into_actor(self);
        ctx.spawn(completing.map(move |completed, actor, _| {
            if !matches!(completed, Completed::Later(..)) {
                actor.imports.remove(&id);
            }
            let outcome = match completed {
                Completed::Account(account, _) => Ok(Imported::Account(account)),
                Completed::Known(account, problem) => Err(ImportError::Kept(account, problem)),
                Completed::Never(problem) => Err(ImportError::Useless(problem)),
                Completed::Later(problem, record) => {
                    actor.try_later(*record, 0);
                    Ok(Imported::Later(problem))
                }
            };
            // Who has left needs no answer; the log has it.
            drop(told.send(outcome));
        }));
    }
}

impl Handler<Import> for LoginsActor {
    type Result = ResponseFuture<Result<Imported, ImportError>>;

    fn handle(&mut self, Import(foreign): Import, ctx: &mut Self::Context) -> Self::Result {
        if self.finishing {
            return Box::pin(std::future::ready(Err(LoginError::Gone.into())));
        }
        let (told, outcome) = oneshot::channel();
        let (office, id) = (self.office.clone(), self.new_id());
        let mark = foreign.pair.mark();
        if self.imports.values().any(|known| mark.as_ref() == Some(known)) {
            return Box::pin(std::future::ready(Ok(Imported::Later(under_way()))));
        }
        self.imports.extend(mark.map(|mark| (id.clone(), mark)));
        // A client that hangs up must not end an exchange in the middle, and a stop waits for its end.
        self.took_off();
        let own_id = id.clone();
        let importing = async move { office.take_over_pair(own_id, *foreign).await };
        ctx.spawn(importing.into_actor(self).map(move |step, actor, ctx| {
            actor.landed();
            match step {
                Step::Done(done) => {
                    actor.imports.remove(&id);
                    drop(told.send(done));
                }
                Step::Stored(record, None) => actor.finish_import(*record, told, ctx),
                Step::Stored(record, Some(problem)) => {
                    actor.try_later(*record, 0);
                    drop(told.send(Ok(Imported::Later(problem))));
                }
            }
        }));
        Box::pin(async move { outcome.await.unwrap_or(Err(LoginError::Gone.into())) })
    }
}
