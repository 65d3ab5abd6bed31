//! The keeper of the logins by OAuth: begins them, takes their answers, and has them completed.
//!
//! What a login costs GitLab once, a code or a pair, is never left to whoever happens to wait for it: the exchange runs
//! here, and a client that hangs up changes nothing.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use actix::{
    Actor, ActorFutureExt, Addr, AsyncContext, Context, Handler, MessageResult, ResponseActFuture, ResponseFuture,
    WrapFuture, fut,
};
use futures::channel::oneshot;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tracing::{info, warn};
use url::Url;

use crate::account::login::api::{Answer, Await, Begin, BeginError, Finish, List, LoginSettings, NewLogin, Show, Take};
use crate::account::login::callback::{Callback, CallbackError};
use crate::account::login::completion::{Completed, Office};
use crate::account::login::table::{Asked, Login, Logins, PENDING_MAX, Phase, Redeemed, Whose};
use crate::account::login::view::{LoginKind, LoginProblem, LoginView};
use crate::account::registry::RegistryActor;
use crate::domain::catalogue::Catalogue;
use crate::domain::id::hex;
use crate::domain::oauth::{OAuthApp, OAuthPair, RefreshMark};
use crate::domain::secret::Secret;
use crate::domain::time::{Clock, Timestamp};
use crate::gitlab::oauth::authorize_url;
use crate::gitlab::upstream::Upstreams;
use crate::store::{LoginRecord, LoginState, StoreActor};

/// How often deadlines are compared with wall time.
const TICK: Duration = Duration::from_secs(1);
/// Operators and their browsers; a burst is a team that logs in.
const MAILBOX: usize = 256;
/// First wait before a login that could not be completed is tried again; doubles with each further try.
const AGAIN_FIRST: Duration = Duration::from_secs(15);
const AGAIN_MAX: Duration = Duration::from_mins(15);

/// What the keeper is built from.
pub(crate) struct LoginsParts {
    pub(crate) upstreams: Upstreams,
    pub(crate) store: Addr<StoreActor>,
    pub(crate) registry: Addr<RegistryActor>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) catalogue: Arc<Catalogue>,
    pub(crate) settings: LoginSettings,
    /// Logins that a former process has left.
    pub(crate) left: Vec<LoginRecord>,
}

/// The keeper of the logins.
pub(crate) struct LoginsActor {
    pub(super) office: Office,
    pub(super) logins: Logins,
    rng: StdRng,
    left: Vec<LoginRecord>,
    /// Logins that could not be completed, to be tried again.
    later: Vec<Later>,
    /// What other programs brought and is not yet dealt with, by id of the login: none of it is exchanged twice.
    pub(super) imports: HashMap<String, RefreshMark>,
    /// Logins that a crash cut off, which nobody has been shown yet.
    unseen: Vec<String>,
    /// Those who wait for the end of a login.
    waiting: Vec<(String, oneshot::Sender<LoginView>)>,
    /// Exchanges in flight.
    exchanging: usize,
    /// No more exchange is begun.
    pub(super) finishing: bool,
    finished: Vec<oneshot::Sender<()>>,
}

struct Later {
    at: Timestamp,
    tries: u32,
    record: LoginRecord,
}

impl LoginsActor {
    /// Builds the keeper.
    pub(crate) fn new(parts: LoginsParts) -> Self {
        let LoginsParts { upstreams, store, registry, clock, catalogue, settings, left } = parts;
        Self {
            office: Office { upstreams, store, registry, clock, catalogue, settings: Arc::new(settings) },
            logins: Logins::default(),
            rng: StdRng::from_rng(&mut rand::rng()),
            left,
            later: Vec::new(),
            imports: HashMap::new(),
            unseen: Vec::new(),
            waiting: Vec::new(),
            exchanging: 0,
            finishing: false,
            finished: Vec::new(),
        }
    }

    pub(super) fn now(&self) -> Timestamp {
        self.office.clock.now()
    }

    pub(super) fn new_id(&mut self) -> String {
        let bytes: [u8; 12] = self.rng.random();
        format!("login_{}", hex(&bytes))
    }

    /// Begins a login with a browser: nothing is asked of GitLab yet.
    fn begin_browser(&mut self, asked: Asked) -> Result<LoginView, BeginError> {
        let bad = || self.bad_redirect();
        let begun = authorize_url(&asked.instance, &asked.app, &asked.scopes).map_err(|_| bad())?;
        let (id, now) = (self.new_id(), self.now());
        let phase = Phase::Browser {
            authorize_url: Secret::new(begun.url.to_string()),
            verifier: begun.verifier,
            until: now + PENDING_MAX,
        };
        let login = Login { id: id.clone(), asked, begun_at: now, phase, state: Some(begun.state) };
        self.logins.begin(login, now).map_err(|_| BeginError::Full)?;
        info!(login.id = id, "a login in a browser was begun");
        self.logins.view(&id).ok_or(BeginError::Full)
    }

    /// Fills what `new` leaves open, and refuses what cannot be done.
    fn asked(&self, new: NewLogin) -> Result<Asked, BeginError> {
        let settings = &self.office.settings;
        let instance = new.instance.unwrap_or_else(|| settings.base_url.clone());
        let configured = settings.client_id.clone().filter(|_| instance == settings.base_url);
        let redirect_uri = new.redirect_uri.or_else(|| settings.public_redirect_uri.clone());
        let redirect_uri = redirect_uri.unwrap_or_else(|| settings.redirect_uri.clone());
        let Some(client_id) = new.client_id.or_else(|| configured.clone()) else {
            return Err(BeginError::NoApplication { instance, redirect_uri });
        };
        let known = configured.is_some_and(|configured| configured == client_id);
        let client_secret = new.client_secret.or_else(|| settings.client_secret.clone().filter(|_| known));
        if !self.is_own(&redirect_uri) {
            return Err(self.bad_redirect());
        }
        let redirect_uri = (new.kind == LoginKind::Browser).then_some(redirect_uri);
        let app = OAuthApp { client_id, client_secret, redirect_uri };
        let scopes = new.scopes.unwrap_or_else(|| settings.scopes.clone());
        Ok(Asked { kind: new.kind, instance, app, scopes, given: new.given })
    }

    /// Returns whether a code that is sent to `uri` comes to the user's own machine or to this server.
    fn is_own(&self, uri: &str) -> bool {
        if self.office.settings.public_redirect_uri.as_deref() == Some(uri) {
            return true;
        }
        Url::parse(uri).is_ok_and(|url| {
            let plain = url.username().is_empty() && url.password().is_none();
            let local = match url.host() {
                Some(url::Host::Ipv4(ip)) => ip.is_loopback(),
                Some(url::Host::Ipv6(ip)) => ip.is_loopback(),
                Some(url::Host::Domain(name)) => name == "localhost",
                None => false,
            };
            url.scheme() == "http" && local && plain && url.query().is_none() && url.fragment().is_none()
        })
    }

    fn bad_redirect(&self) -> BeginError {
        let settings = &self.office.settings;
        BeginError::BadRedirect { own: settings.redirect_uri.clone(), public: settings.public_redirect_uri.clone() }
    }

    fn redeem(&mut self, answer: Answer) -> Result<Redeemed, CallbackError> {
        if self.finishing {
            return Err(CallbackError::Gone);
        }
        let now = self.now();
        match answer {
            Answer::Came(callback) => self.logins.redeem(Whose::Any, callback, now),
            Answer::Given { login, url } => {
                let known = self.logins.get(&login).ok_or(CallbackError::NoSuchLogin)?;
                let redirect_uri = known.asked.app.redirect_uri.as_deref().ok_or(CallbackError::NotABrowser)?;
                let callback = Callback::from_url(url.expose(), redirect_uri)?;
                self.logins.redeem(Whose::Of(&login), callback, now)
            }
        }
    }

    /// Returns the record of a login that is about to be exchanged.
    pub(super) fn intent(&self, id: &str, asked: &Asked) -> LoginRecord {
        let given = asked.given.clone();
        LoginRecord {
            id: id.to_owned(),
            instance: asked.instance.clone(),
            app: asked.app.clone(),
            state: LoginState::Exchanging,
            label: given.label,
            pool: given.pool,
            priority: given.priority,
            weight: given.weight,
            max_concurrency: given.max_concurrency,
            gateway_url: given.gateway_url,
            account: None,
            imported: None,
            begun_at: self.now(),
        }
    }

    /// Exchanges a code: intent, exchange, store.
    fn exchange(&mut self, id: &str, code: Secret<String>, verifier: Secret<String>, ctx: &mut Context<Self>) {
        let Some(login) = self.logins.get(id) else { return };
        let (scopes, record) = (login.asked.scopes.clone(), self.intent(id, &login.asked));
        let office = self.office.clone();
        let exchanging = async move {
            if !office.store_intent(&record).await {
                return Err((record.id, unstored()));
            }
            let exchanged = office.client(&record).exchange_code(&code, &verifier, &scopes).await;
            office.settle(record, exchanged).await
        };
        self.in_flight(exchanging, ctx);
    }

    /// Runs an exchange to its end, whatever else happens.
    pub(super) fn in_flight(
        &mut self,
        exchange: impl Future<Output = Result<LoginRecord, (String, LoginProblem)>> + 'static,
        ctx: &mut Context<Self>,
    ) {
        self.exchanging += 1;
        ctx.spawn(exchange.into_actor(self).map(|ended, actor, ctx| {
            actor.landed();
            match ended {
                Ok(record) => actor.issued(record, ctx),
                Err((id, problem)) => actor.fail(&id, problem),
            }
        }));
    }

    pub(super) fn took_off(&mut self) {
        self.exchanging += 1;
    }

    pub(super) fn landed(&mut self) {
        self.exchanging -= 1;
        if self.exchanging == 0 {
            // Who has left needs no answer.
            self.finished.drain(..).for_each(|waiter| waiter.send(()).unwrap_or_default());
        }
    }

    /// Goes on with a pair that is stored.
    pub(super) fn issued(&mut self, record: LoginRecord, ctx: &mut Context<Self>) {
        if let LoginState::Issued(pair) = &record.state {
            self.logins.granted(&record.id, &pair.scopes);
        }
        self.logins.set(&record.id, Phase::Checking { problem: None });
        self.complete(record, 0, ctx);
    }

    fn complete(&mut self, record: LoginRecord, tries: u32, ctx: &mut Context<Self>) {
        let id = record.id.clone();
        let completing = self.office.clone().complete(record, tries).into_actor(self);
        ctx.spawn(completing.map(move |completed, actor, _| match completed {
            Completed::Account(account, report) => {
                let at = actor.now();
                actor.move_on(&id, Phase::Done { account, report, at });
            }
            Completed::Known(_, problem) | Completed::Never(problem) => actor.fail(&id, problem),
            Completed::Later(problem, record) => {
                actor.try_later(*record, tries);
                actor.move_on(&id, Phase::Checking { problem: Some(problem) });
            }
        }));
    }

    /// Has a pair that is stored tried again.
    pub(super) fn try_later(&mut self, record: LoginRecord, tries: u32) {
        let wait = AGAIN_FIRST.saturating_mul(1 << tries.min(10)).min(AGAIN_MAX);
        let (at, tries) = (self.now() + wait, tries.saturating_add(1));
        self.later.push(Later { at, tries, record });
    }

    /// Ends a login without an account.
    pub(super) fn fail(&mut self, id: &str, problem: LoginProblem) {
        warn!(login.id = id, "a login failed: {}", problem.message);
        let at = self.now();
        self.move_on(id, Phase::Failed { problem, expired: false, at });
    }

    /// Sets how far a login has come, and tells those who wait for it.
    fn move_on(&mut self, id: &str, phase: Phase) {
        if !matches!(phase, Phase::Checking { .. }) {
            self.imports.remove(id);
        }
        self.logins.set(id, phase);
        self.tell(id);
    }

    fn tell(&mut self, id: &str) {
        let Some(view) = self.logins.view(id) else { return };
        let (told, waiting) = std::mem::take(&mut self.waiting).into_iter().partition(|(of, _)| of == id);
        self.waiting = waiting;
        let told: Vec<(String, oneshot::Sender<LoginView>)> = told;
        // Who has left needs no answer.
        for (_, waiter) in told {
            drop(waiter.send(view.clone()));
        }
    }

    fn tick(&mut self, ctx: &mut Context<Self>) {
        let now = self.now();
        for id in self.logins.sweep(now) {
            self.tell(&id);
        }
        self.waiting.retain(|(_, waiter)| !waiter.is_canceled());
        if !self.office.settings.timers || self.finishing {
            return;
        }
        // A clock that was set back must not make a wait longer than any can be.
        let (due, later) = std::mem::take(&mut self.later)
            .into_iter()
            .partition(|one: &Later| one.at <= now || one.at > now + AGAIN_MAX);
        self.later = later;
        let due: Vec<Later> = due;
        for Later { tries, record, .. } in due {
            self.complete(record, tries, ctx);
        }
    }

    /// Takes over what a former process has left: a pair becomes an account; where there is none, it is said until
    /// somebody has been shown it that nobody knows whether GitLab handed one out.
    fn take_over(&mut self, record: LoginRecord, ctx: &mut Context<Self>) {
        let kind = if record.app.redirect_uri.is_some() { LoginKind::Browser } else { LoginKind::Device };
        let scopes = match &record.state {
            LoginState::Issued(OAuthPair { scopes, .. }) => scopes.clone(),
            LoginState::Exchanging => Vec::new(),
        };
        let (id, now) = (record.id.clone(), self.now());
        self.imports.extend(record.imported.clone().map(|mark| (id.clone(), mark)));
        let asked = Asked {
            kind,
            instance: record.instance.clone(),
            app: record.app.clone(),
            scopes,
            given: crate::account::login::Given::default(),
        };
        let begun_at = record.begun_at;
        let stored = matches!(record.state, LoginState::Issued(_));
        let waits = !self.office.settings.timers;
        let phase = if stored {
            Phase::Checking { problem: waits.then(|| stored_before(begun_at)) }
        } else {
            cut_off(begun_at, now)
        };
        self.logins.restore(Login { id: id.clone(), asked, begun_at, phase, state: None });
        match (stored, waits) {
            (false, _) => {
                warn!(
                    login.id = id,
                    "the server stopped in the middle of a login begun at {begun_at}: whether GitLab handed out tokens is not known"
                );
                self.unseen.push(id);
                // A command runs for a moment, and what it says is read.
                if waits {
                    self.forget_seen(ctx);
                }
            }
            (true, false) => self.complete(record, 0, ctx),
            (true, true) => {}
        }
    }

    /// Forgets the logins that a crash cut off: they have been shown.
    fn forget_seen(&mut self, ctx: &mut Context<Self>) {
        for id in std::mem::take(&mut self.unseen) {
            let office = self.office.clone();
            ctx.spawn(async move { office.forget(id).await }.into_actor(self));
        }
    }
}

fn stored_before(begun_at: Timestamp) -> LoginProblem {
    let message = format!("the tokens of a login of {begun_at} are stored; a server that runs makes them an account");
    LoginProblem { reason: None, message, fix: "start `duopool serve`".to_owned() }
}

fn cut_off(begun_at: Timestamp, at: Timestamp) -> Phase {
    let message = format!(
        "the server stopped in the middle of this login of {begun_at}: whether GitLab handed out tokens is not known"
    );
    let problem = LoginProblem { reason: None, message, fix: "log in again with `duopool login`".to_owned() };
    Phase::Failed { problem, expired: false, at }
}

pub(super) fn unstored() -> LoginProblem {
    LoginProblem {
        reason: None,
        message: "the login could not be stored, so no tokens were asked for".to_owned(),
        fix: "see the log for what is wrong with the data folder, then log in again".to_owned(),
    }
}

impl Actor for LoginsActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(MAILBOX);
        for record in std::mem::take(&mut self.left) {
            self.take_over(record, ctx);
        }
        ctx.run_interval(TICK, Self::tick);
    }
}

impl Handler<Begin> for LoginsActor {
    type Result = ResponseActFuture<Self, Result<LoginView, BeginError>>;

    fn handle(&mut self, Begin(new): Begin, _: &mut Self::Context) -> Self::Result {
        match self.asked(new) {
            Ok(asked) if asked.kind == LoginKind::Device => self.begin_device(asked),
            Ok(asked) => Box::pin(fut::ready(self.begin_browser(asked))),
            Err(refused) => Box::pin(fut::ready(Err(refused))),
        }
    }
}

impl Handler<Take> for LoginsActor {
    type Result = Result<String, CallbackError>;

    fn handle(&mut self, Take(answer): Take, ctx: &mut Self::Context) -> Self::Result {
        match self.redeem(answer)? {
            Redeemed::Code { id, code, verifier } => {
                self.exchange(&id, code, verifier, ctx);
                Ok(id)
            }
            Redeemed::Denied { id } => {
                self.tell(&id);
                Ok(id)
            }
        }
    }
}

impl Handler<Await> for LoginsActor {
    type Result = ResponseFuture<Option<LoginView>>;

    fn handle(&mut self, Await(id): Await, _: &mut Self::Context) -> Self::Result {
        self.logins.sweep(self.office.clock.now());
        let view = self.logins.view(&id);
        if view.as_ref().is_none_or(|view| view.status.is_final() || view.problem.is_some()) {
            return Box::pin(std::future::ready(view));
        }
        let (waiter, told) = oneshot::channel();
        self.waiting.push((id, waiter));
        Box::pin(async move { told.await.ok() })
    }
}

impl Handler<Show> for LoginsActor {
    type Result = MessageResult<Show>;

    fn handle(&mut self, Show(id): Show, _: &mut Self::Context) -> Self::Result {
        self.logins.sweep(self.office.clock.now());
        MessageResult(self.logins.view(&id))
    }
}

impl Handler<List> for LoginsActor {
    type Result = MessageResult<List>;

    fn handle(&mut self, _: List, ctx: &mut Self::Context) -> Self::Result {
        self.logins.sweep(self.office.clock.now());
        self.forget_seen(ctx);
        MessageResult(self.logins.views())
    }
}

impl Handler<Finish> for LoginsActor {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, _: Finish, _: &mut Self::Context) -> Self::Result {
        self.finishing = true;
        if self.exchanging == 0 {
            return Box::pin(std::future::ready(()));
        }
        let (waiter, finished) = oneshot::channel();
        self.finished.push(waiter);
        Box::pin(async move { finished.await.unwrap_or_default() })
    }
}
