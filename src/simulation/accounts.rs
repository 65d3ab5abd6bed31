//! Plays the accounts' actors and the broker: carries events to the real states, and does what they ask for.

use std::sync::Arc;
use std::time::Duration;

use futures::future::LocalBoxFuture;
use rand::RngExt;

use super::plan::Mood;
use super::truth::{Trouble, gateway_url, instance_url};
use super::world::{Happening, Office, World};
use crate::account::api::{Block, Desk, News, Owner, Renew, SharedNews, Snapshot};
use crate::account::credentials::{Credentials, Ended, Terms};
use crate::account::lease::Gauge;
use crate::account::shared_health::{self, Epoch, Shared, Way};
use crate::account::state::{Effect, Event, Memory, State};
use crate::account::turns::Verdict;
use crate::domain::endpoint::GatewayUrl;
use crate::domain::fault::Fault;
use crate::domain::id::{AccountId, Generation};
use crate::domain::model::ModelName;
use crate::domain::oauth::{OAuthApp, OAuthPair};
use crate::domain::secret::Secret;
use crate::domain::time::Timestamp;
use crate::gitlab::direct_access::Minted;
use crate::gitlab::error::Call;
use crate::gitlab::gateway::Grant;
use crate::store::Credential;

/// An account of the pool, as its actor and the store have it.
pub(super) struct Account {
    pub(super) id: AccountId,
    pub(super) user: usize,
    /// Another number after every start of its actor.
    pub(super) life: u64,
    pub(super) state: State,
    pub(super) gauge: Arc<Gauge>,
    pub(super) desk: Desk,
    pub(super) settings: Settings,
    pub(super) terms: Terms,
    /// What is stored beside the login.
    pub(super) stored: (Generation, Option<Arc<Grant>>, Memory),
    /// Requests that wait for a grant, and which of their waits it is.
    pub(super) waiting: Vec<(u64, u32)>,
    pub(super) minting: bool,
    /// When GitLab was asked for a grant, by its own count.
    pub(super) mints: Vec<Timestamp>,
}

/// How often at least an account looks at the clock once everything is mended.
const RECOVERY_TICK: Duration = Duration::from_mins(1);

/// What an operator sets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Settings {
    pub(super) pool: &'static str,
    pub(super) priority: i32,
    pub(super) weight: u32,
    pub(super) max_concurrency: u32,
    pub(super) enabled: bool,
}

/// Something to be done at once.
pub(super) enum Errand {
    Event(AccountId, Event),
    /// A request wants a newer grant.
    Wish(AccountId, Generation, (u64, u32)),
    /// A turn that nobody took, or whose call has ended.
    Returned(AccountId, usize, Verdict),
}

/// The end of a call to GitLab, made with the login of this generation.
#[derive(Clone, Debug)]
pub(super) enum CallEnd {
    Mint(Generation),
    Exchange(Generation),
    Listing(Generation),
    /// Of a question about credit, under this grant, chosen by this state of what accounts share.
    Credit(Generation, ModelName, Epoch),
}

/// A call that is under way.
#[derive(Debug)]
pub(super) struct Calling {
    user: usize,
    life: u64,
    /// With the server that made it, its turn is gone.
    boot: u32,
    end: CallEnd,
}

struct Post {
    account: AccountId,
    life: u64,
    office: Arc<Office>,
}

impl Owner for Post {
    fn tell(&self, news: News) {
        self.office.news.lock().unwrap().push((self.account.clone(), self.life, news));
    }

    fn tell_others(&self, news: SharedNews) {
        self.office.shared_news.lock().unwrap().push(news);
    }

    fn shared(&self) -> Arc<Shared> {
        Arc::clone(&self.office.shared.lock().unwrap())
    }

    fn renew(&self, _: Renew) -> LocalBoxFuture<'static, Option<Result<Generation, Block>>> {
        // Wishes are carried by hand, since they take time.
        Box::pin(std::future::ready(None))
    }
}

fn terms(oauth: bool, generation: Generation, now: Timestamp) -> Terms {
    let token = || Secret::new("t".to_owned());
    let credential = if oauth {
        let app = OAuthApp { client_id: "app".to_owned(), client_secret: None, redirect_uri: None };
        let (access_token, refresh_token) = (token(), Some(token()));
        let expires_at = now + Duration::from_hours(2);
        let pair = OAuthPair { access_token, refresh_token, expires_at, obtained_at: now, scopes: Vec::new() };
        Credential::OAuth { app, pair }
    } else {
        Credential::PersonalAccessToken { token: token(), scopes: Vec::new(), expires_on: None }
    };
    Terms::of(&credential, generation)
}

impl World {
    /// Pools the account of `user`, with what is stored of it if it was there before.
    pub(super) fn add(&mut self, user: usize) {
        let id = AccountId::of(&instance_url(self.truth.users[user].instance), user as u64);
        let settings = self.draw_settings();
        let terms = terms(self.truth.users[user].oauth, Generation::default().next(), self.now);
        // Requests that are still in flight on an account that was removed count if it comes back.
        let gone = self.gone.remove(&id).map(|gone| gone.gauge);
        let (gauge, mints) = (gone.unwrap_or_default(), Vec::new());
        let stored = (Generation::default(), None, Memory::default());
        self.start(Start { id, user, settings, terms, stored, gauge, mints });
    }

    fn draw_settings(&mut self) -> Settings {
        let rng = &mut self.rng;
        let weight = rng.random_range(1..=4);
        if self.plan.mood == Mood::Calm {
            return Settings { pool: "default", priority: 0, weight, max_concurrency: 1_000, enabled: true };
        }
        Settings {
            pool: if rng.random_bool(0.8) { "default" } else { "team" },
            priority: i32::from(rng.random_bool(0.2)),
            weight,
            max_concurrency: if rng.random_bool(0.5) { 16 } else { rng.random_range(1..=3) },
            enabled: true,
        }
    }

    pub(super) fn start(&mut self, start: Start) {
        let Start { id, user, settings, terms, stored, gauge, mints } = start;
        let credentials = Credentials::new(&terms, false, self.now, &mut self.rng);
        let (serial, grant, memory) = stored.clone();
        let state = State::new(credentials, (serial, grant), memory, self.now, &mut self.rng);
        let life = self.number();
        let desk = Desk(Arc::new(Post { account: id.clone(), life, office: Arc::clone(&self.office) }));
        self.say(|| format!("account {id} of user {user} starts: {settings:?}"));
        let waiting = Vec::new();
        let account = Account {
            id: id.clone(),
            user,
            life,
            state,
            gauge,
            desk,
            settings,
            terms,
            stored,
            waiting,
            minting: false,
            mints,
        };
        self.accounts.insert(id.clone(), account);
        self.show(&id);
        let wait = self.moment(0, 20);
        self.after(wait, Happening::Tick { account: id, life });
    }

    /// Publishes what an account is now.
    pub(super) fn show(&mut self, id: &AccountId) {
        let Some(account) = self.accounts.get(id) else { return };
        let (state, settings) = (&account.state, &account.settings);
        let snapshot = Snapshot {
            id: id.clone(),
            instance: instance_url(self.truth.users[account.user].instance),
            group: self.truth.group_of(account.user),
            pool: settings.pool.into(),
            priority: settings.priority,
            weight: settings.weight,
            max_concurrency: settings.max_concurrency,
            enabled: settings.enabled,
            grant: state.grant().cloned(),
            renewable: state.is_renewable(self.now),
            unsaved: false,
            trouble: state.trouble().cloned(),
            block: state.block().cloned(),
            models: Arc::clone(state.models()),
            hinted: false,
            current_model: self.catalogue.default_model().clone(),
            gauge: Arc::clone(&account.gauge),
            desk: Some(account.desk.clone()),
        };
        self.snapshots.insert(id.clone(), Arc::new(snapshot));
        self.touched.insert(id.clone());
        self.publish_soon();
    }

    pub(super) fn tick(&mut self, id: &AccountId, life: u64) {
        let Some(account) = self.accounts.get(id).filter(|account| account.life == life) else { return };
        if account.settings.enabled {
            self.errands.push_back(Errand::Event(id.clone(), Event::Tick));
        }
        let tick = if self.healed { self.plan.tick.max(RECOVERY_TICK) } else { self.plan.tick };
        let wait = tick.mul_f64(self.rng.random_range(0.8..1.2));
        self.after(wait, Happening::Tick { account: id.clone(), life });
    }

    pub(super) fn deliver(&mut self, id: &AccountId, life: u64, news: News) {
        if self.accounts.get(id).is_none_or(|account| account.life != life) {
            return;
        }
        let event = match news {
            News::Succeeded { model } => Event::Succeeded(model),
            News::Failed { generation, model, fault } => Event::Failed { generation, model, fault },
        };
        self.errands.push_back(Errand::Event(id.clone(), event));
    }

    pub(super) fn run_errand(&mut self, errand: Errand) {
        match errand {
            Errand::Event(id, event) => {
                self.step(&id, event);
            }
            Errand::Wish(id, than, asker) => match self.accounts.get_mut(&id) {
                Some(account) => {
                    account.waiting.push(asker);
                    self.step(&id, Event::RenewalWanted(Some(than)));
                }
                None => self.after(Duration::ZERO, Happening::Answered { asker, renewed: false }),
            },
            Errand::Returned(id, instance, verdict) => {
                let before = self.hosts[instance].pause().cloned();
                let leaving = self.hosts[instance].ended(&id, &verdict, self.now, &mut self.rng);
                let pause = self.hosts[instance].pause().cloned();
                if pause != before {
                    self.learn(shared_health::Event::Paused(instance_url(instance), pause));
                }
                for (id, block) in leaving {
                    self.errands.push_back(Errand::Event(id, Event::NoTurn(block)));
                }
            }
        }
    }

    /// Lets an event happen to an account; returns whether it makes a call.
    fn step(&mut self, id: &AccountId, event: Event) -> bool {
        let tells = self.tells();
        let Some(account) = self.accounts.get_mut(id) else { return false };
        let quiet = matches!(event, Event::Tick);
        let told = if tells { format!("account {id}: {event:?}") } else { String::new() };
        let well = match &event {
            Event::Succeeded(model) => Some(model.clone()),
            _ => None,
        };
        let effects = account.state.step(event, self.now, &mut self.rng);
        if !(quiet && effects.is_empty()) {
            self.say(|| format!("{told} -> {effects:?}"));
        }
        self.touched.insert(id.clone());
        let mut calls = false;
        for effect in effects {
            calls |= self.obey(id, effect);
        }
        if let Some(model) = well {
            self.check_success(id, &model);
        }
        calls
    }

    /// Does what a state asks for; returns whether that is a call to GitLab.
    fn obey(&mut self, id: &AccountId, effect: Effect) -> bool {
        let Some(account) = self.accounts.get_mut(id) else { return false };
        let by = account.state.credentials().generation();
        match effect {
            Effect::Ask(urgency) => {
                let instance = self.truth.users[account.user].instance;
                if let Err(block) = self.hosts[instance].ask(id.clone(), urgency, self.now) {
                    self.errands.push_back(Errand::Event(id.clone(), Event::NoTurn(block)));
                }
                return false;
            }
            Effect::Mint => {
                account.mints.push(self.now);
                let again = std::mem::replace(&mut account.minting, true);
                self.check_mint(id, again);
                let slow = self.rng.random_bool(0.03);
                let wait = if slow { self.moment(5_000, 30_000) } else { self.moment(50, 1_500) };
                return self.call(id, wait, CallEnd::Mint(by));
            }
            Effect::Exchange => {
                let wait = self.moment(50, 2_000);
                return self.call(id, wait, CallEnd::Exchange(by));
            }
            Effect::Discover => {
                let wait = self.moment(50, 1_000);
                return self.call(id, wait, CallEnd::Listing(by));
            }
            Effect::AskCredit(model) => {
                let Some(grant) = account.state.grant() else { return false };
                let under = grant.generation;
                let wait = self.moment(50, 800);
                self.call(id, wait, CallEnd::Credit(under, model, self.table.shared.epoch()));
            }
            Effect::Publish => self.show(id),
            Effect::Remember => account.stored.2 = account.state.memory(),
            Effect::Reply(answer) => {
                let asker = account.waiting.pop();
                self.answer(id, asker.into_iter().collect(), answer.is_ok());
            }
            Effect::Answer(answer) => {
                let askers = std::mem::take(&mut account.waiting);
                self.answer(id, askers, answer.is_ok());
            }
            Effect::Warn(_) | Effect::Listed | Effect::Access(_) => {}
        }
        false
    }

    /// Answers those who wait once everybody can see the outcome.
    fn answer(&mut self, id: &AccountId, askers: Vec<(u64, u32)>, renewed: bool) {
        if askers.is_empty() {
            return;
        }
        self.show(id);
        let seen = self.publish_soon();
        for asker in askers {
            let wait = seen.since(self.now) + Duration::from_millis(1);
            self.after(wait, Happening::Answered { asker, renewed });
        }
    }

    /// Gives every account its turn whose turn it is; returns whether that was anybody.
    pub(super) fn give_turns(&mut self) -> bool {
        let mut given = false;
        for instance in 0..self.hosts.len() {
            while let Some(id) = self.hosts[instance].next(self.now) {
                given = true;
                if !self.step(&id, Event::Turn) {
                    self.errands.push_back(Errand::Returned(id, instance, Verdict::Nothing));
                }
            }
        }
        given || !self.errands.is_empty()
    }

    fn call(&mut self, id: &AccountId, wait: Duration, end: CallEnd) -> bool {
        let Some(Account { user, life, .. }) = self.accounts.get(id) else { return false };
        let call = Calling { user: *user, life: *life, boot: self.boots, end };
        self.after(wait, Happening::CallEnds { account: id.clone(), call });
        true
    }

    pub(super) fn call_ends(&mut self, id: &AccountId, call: Calling) {
        let Calling { user, life, boot, end } = call;
        if boot != self.boots {
            return;
        }
        if let CallEnd::Credit(under, model, epoch) = end {
            return self.credit_asked(id, life, under, model, epoch);
        }
        let refusal = match end {
            CallEnd::Credit(..) => None,
            CallEnd::Mint(_) => self.truth.mint_refusal(user),
            CallEnd::Exchange(_) => self.truth.gitlab_refusal(user, Call::Refresh),
            CallEnd::Listing(_) => self.truth.gitlab_refusal(user, Call::Models),
        };
        let fault = refusal.map(|error| error.fault);
        let verdict = fault.as_ref().map_or(Verdict::Answered, Verdict::of);
        let instance = self.truth.users[user].instance;
        self.errands.push_back(Errand::Returned(id.clone(), instance, verdict));
        if self.accounts.get(id).is_none_or(|account| account.life != life) {
            return;
        }
        if fault.is_some() {
            self.evidence.of_gitlab(instance);
        }
        let event = self.end_of(id, &end, fault);
        if let Some(event) = event {
            self.errands.push_back(Errand::Event(id.clone(), event));
        }
    }

    /// The gateway counts tokens, which costs nothing, and so tells whether there is credit.
    fn credit_asked(&mut self, id: &AccountId, life: u64, under: Generation, model: ModelName, epoch: Epoch) {
        let Some(account) = self.accounts.get(id).filter(|account| account.life == life) else { return };
        let user = account.user;
        let refusal = self.truth.at_gateway(user, under.number(), &model);
        if let Some(refusal) = &refusal {
            self.evidence.of_request(refusal.cause, id, &model, self.now);
        } else {
            let gateway = gateway_url(self.truth.gateway_of(user));
            let way =
                Way { account: id.clone(), group: self.truth.group_of(user), gateway, model: model.clone(), epoch };
            self.learn(shared_health::Event::Succeeded(way));
        }
        let answer = refusal.map_or(Ok(()), |refusal| Err(refusal.fault));
        self.errands.push_back(Errand::Event(id.clone(), Event::CreditAsked(under, model, answer)));
    }

    /// Returns what the end of a call means to its account, if that is still there.
    fn end_of(&mut self, id: &AccountId, end: &CallEnd, fault: Option<Fault>) -> Option<Event> {
        let account = self.accounts.get_mut(id)?;
        let gateway = gateway_url(self.truth.gateway_of(account.user));
        Some(match (end.clone(), fault) {
            (CallEnd::Mint(by), fault) if by == account.state.credentials().generation() => {
                account.minting = false;
                match fault {
                    Some(fault) => Event::MintFailed(by, fault),
                    None => Event::Minted(by, account.keep(gateway, self.now)),
                }
            }
            (CallEnd::Mint(_) | CallEnd::Credit(..), _) => return None,
            (CallEnd::Exchange(by), Some(fault)) => Event::Exchanged(by, Ended::Refused(fault)),
            (CallEnd::Exchange(by), None) => {
                let user = account.user;
                if self.truth.has(|trouble| *trouble == Trouble::Token { user }) {
                    self.evidence.of_gitlab(self.truth.users[user].instance);
                    return Some(Event::Exchanged(by, Ended::InvalidGrant));
                }
                account.terms = terms(true, by.next(), self.now);
                Event::Exchanged(by, Ended::Stored(account.terms.clone()))
            }
            (CallEnd::Listing(by), _) => Event::Discovered(by),
        })
    }

    /// People log in anew where an account says that it needs that.
    pub(super) fn relogin(&mut self) {
        let ids: Vec<_> = self.accounts.keys().cloned().collect();
        for id in ids {
            let Some(account) = self.accounts.get_mut(&id) else { continue };
            if !account.state.credentials().needs_login() && account.state.credentials().trouble().is_none() {
                continue;
            }
            account.terms = terms(true, account.terms.generation.next().next(), self.now);
            account.minting = false;
            account.mints.push(self.now);
            let gateway = gateway_url(self.truth.gateway_of(account.user));
            let event = Event::LoggedIn(account.terms.clone(), account.keep(gateway, self.now));
            self.errands.push_back(Errand::Event(id, event));
        }
    }
}

/// What an account is started with.
pub(super) struct Start {
    pub(super) id: AccountId,
    pub(super) user: usize,
    pub(super) settings: Settings,
    pub(super) terms: Terms,
    pub(super) stored: (Generation, Option<Arc<Grant>>, Memory),
    pub(super) gauge: Arc<Gauge>,
    pub(super) mints: Vec<Timestamp>,
}

impl Account {
    /// Stores a new grant, and returns it.
    fn keep(&mut self, gateway: GatewayUrl, now: Timestamp) -> Arc<Grant> {
        let minted = Minted {
            token: Secret::new("t".to_owned()),
            headers: Vec::new(),
            expires_at: now + Duration::from_hours(1),
            root_namespace_id: None,
            reported_gateway: None,
            completion_model: None,
        };
        let grant = Arc::new(Grant::new(&minted, self.state.next_serial(), gateway).unwrap());
        (self.stored.0, self.stored.1) = (grant.generation, Some(Arc::clone(&grant)));
        grant
    }
}
