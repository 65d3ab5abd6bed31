//! Runs the exchanges of OAuth pairs, out of reach of the accounts they are for.
//!
//! One actor in the control arbiter. An account that is stopped, removed or dies leaves its exchange here, which goes on
//! until the new pair is on disk; an account that was started afresh meanwhile joins the exchange that runs instead of
//! beginning another one of the same pair. The steps are [`super::exchange`]'s. The store puts a pair in the place of no
//! other than the one that it was exchanged for, so a removed account does not come back, and a login that overtook the
//! exchange stays; what GitLab handed out for either is revoked, since nobody will use it.

use std::collections::BTreeMap;
use std::sync::Arc;

use actix::{
    Actor, ActorFutureExt, Addr, AsyncContext, Context, Handler, Message, Recipient, ResponseFuture, WrapFuture,
};
use futures::channel::oneshot;
use rand::SeedableRng;
use rand::rngs::StdRng;
use tracing::{debug, error, info, warn};

use crate::account::api::Block;
use crate::account::broker::Permit;
use crate::account::credentials::Ended;
use crate::account::exchange::{Attempt, Heard, Order, unstored};
use crate::account::turns::Verdict;
use crate::domain::endpoint::InstanceUrl;
use crate::domain::id::{AccountId, Generation};
use crate::domain::oauth::{OAuthApp, OAuthPair};
use crate::domain::time::{Clock, Timestamp};
use crate::gitlab::error::CallError;
use crate::gitlab::oauth::{ExchangeError, OAuthClient};
use crate::gitlab::upstream::Upstreams;
use crate::store::{Credential, ExchangeNote, NoteExchange, PutPair, StoreActor, StoreError, Written};

/// Accounts ask when the broker gave them a turn, which is a few at a time; this is for bursts.
const MAILBOX: usize = 256;

/// Runs exchanges.
pub(crate) struct ExchangerActor {
    upstreams: Upstreams,
    store: Addr<StoreActor>,
    clock: Arc<dyn Clock>,
    rng: StdRng,
    running: BTreeMap<u64, Running>,
    last: u64,
    /// Set when the server stops: what runs is finished, and nothing is begun.
    closing: bool,
    /// Those who wait until nothing runs.
    finishing: Vec<oneshot::Sender<()>>,
}

struct Running {
    what: What,
    attempt: Attempt,
    permit: Option<Permit>,
    /// The account's actor, and those that were started afresh in its place.
    desks: Vec<Recipient<Exchanged>>,
    /// Those who removed the account and wait for that.
    outlived: Vec<oneshot::Sender<Result<(), CallError>>>,
}

/// Which pair is exchanged.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct What {
    pub(crate) account: AccountId,
    pub(crate) instance: InstanceUrl,
    pub(crate) app: OAuthApp,
    pub(crate) pair: OAuthPair,
    /// Serial number of the pair.
    pub(crate) generation: Generation,
}

/// Orders the exchange of an account's pair; what becomes of it is told by [`Exchanged`].
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Exchange {
    pub(crate) what: What,
    pub(crate) permit: Permit,
    pub(crate) desk: Recipient<Exchanged>,
}

/// What became of the pair of generation `of`.
#[derive(Clone, Message)]
#[rtype(result = "()")]
pub(crate) struct Exchanged {
    pub(crate) of: Generation,
    pub(crate) news: News,
}

/// What there is to tell of an exchange.
#[derive(Clone)]
pub(crate) enum News {
    /// The next pair was handed out, and could not be stored so far.
    Unsaved(Block),
    /// This is stored in place of the pair.
    Stored(Box<Credential>, Generation),
    /// The pair is as it was.
    Ended(Ended),
}

/// Begins no more exchanges; answered when those that run are over and what they brought is stored.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct Finish;

/// Waits for the exchange that runs for an account which was removed, if one does: what GitLab hands out to it nobody will
/// use, so it is revoked at once. The answer says how that went.
#[derive(Debug, Message)]
#[rtype(result = "Result<(), CallError>")]
pub(crate) struct Outlived(pub(crate) AccountId);

/// What the work of a step came to.
enum Done {
    Heard(Heard),
    /// The store has something newer than the pair: there is nothing to exchange, or no place for what was.
    Overtaken(Box<Credential>, Generation),
    /// The account is not stored any more.
    Gone,
}

impl ExchangerActor {
    /// Starts it on the present arbiter.
    pub(crate) fn start_with(upstreams: Upstreams, store: Addr<StoreActor>, clock: Arc<dyn Clock>) -> Addr<Self> {
        let rng = StdRng::from_rng(&mut rand::rng());
        let (running, finishing) = (BTreeMap::new(), Vec::new());
        Self { upstreams, store, clock, rng, running, last: 0, closing: false, finishing }.start()
    }

    fn heard(&mut self, id: u64, heard: Heard, ctx: &mut Context<Self>) {
        let now = self.clock.now();
        let Some(running) = self.running.get_mut(&id) else { return };
        if let Some(order) = running.attempt.step(heard, now, &mut self.rng) {
            self.run(id, order, now, ctx);
        }
    }

    fn run(&mut self, id: u64, order: Order, now: Timestamp, ctx: &mut Context<Self>) {
        let Some(running) = self.running.get_mut(&id) else { return };
        let what = running.what.clone();
        match order {
            Order::Note => self.write_note(id, what, ExchangeNote::Begun(now), ctx),
            Order::Forget => self.write_note(id, what, ExchangeNote::None, ctx),
            Order::Ask => self.ask(id, what, ctx),
            Order::Keep(pair) => self.keep(id, what, pair, ctx),
            Order::TryLater(block) => {
                let account = &what.account;
                error!(account.id = %account, "the renewed login of account `{account}` is not on disk, and the old one is dead at GitLab: duopool keeps it in memory and tries again, so do not stop it");
                ctx.run_later(block.until.until_from(now), move |actor, ctx| actor.heard(id, Heard::Again, ctx));
                running.tell(&News::Unsaved(block));
            }
            Order::Done(pair) => {
                let account = &what.account;
                info!(account.id = %account, "renewed the login of account `{account}`");
                let credential = Credential::OAuth { app: what.app, pair };
                self.over(id, &News::Stored(Box::new(credential), what.generation.next()));
            }
            Order::End(end) => self.over(id, &News::Ended(end)),
        }
    }

    fn tell(&self, id: u64, news: &News) {
        if let Some(running) = self.running.get(&id) {
            running.tell(news);
        }
    }

    fn over(&mut self, id: u64, news: &News) {
        self.tell(id, news);
        self.close(id, &Ok(()));
    }

    /// Ends an exchange; `given_up` says how a pair went back to GitLab that nobody will use.
    fn close(&mut self, id: u64, given_up: &Result<(), CallError>) {
        if let Some(running) = self.running.remove(&id) {
            // Who has left needs no answer.
            running.outlived.into_iter().for_each(|waiter| waiter.send(given_up.clone()).unwrap_or_default());
        }
        if self.running.is_empty() {
            // Who has left needs no answer.
            self.finishing.drain(..).for_each(|waiter| waiter.send(()).unwrap_or_default());
        }
    }

    fn write_note(&mut self, id: u64, what: What, note: ExchangeNote, ctx: &mut Context<Self>) {
        let taken_back = note == ExchangeNote::None;
        let of = Credential::OAuth { app: what.app, pair: what.pair };
        let (account, generation) = (what.account.clone(), what.generation);
        let writing = self.store.send(NoteExchange { account: what.account, of, generation, note });
        ctx.spawn(writing.into_actor(self).map(move |result, actor, ctx| {
            let done = match result {
                _ if taken_back => Done::Heard(Heard::Forgotten),
                Ok(Ok(Written::Fresh)) => Done::Heard(Heard::Noted { new: true }),
                Ok(Ok(Written::Before)) => Done::Heard(Heard::Noted { new: false }),
                Ok(Ok(Written::Overtaken(credential, generation))) => Done::Overtaken(credential, generation),
                Ok(Err(StoreError::NoSuchAccount(_))) => Done::Gone,
                Ok(Err(error)) => {
                    error!(account.id = %account, "the login of account `{account}` is not renewed, because it could not be noted on disk: {error}");
                    Done::Heard(Heard::NotNoted)
                }
                Err(_) => Done::Heard(Heard::NotNoted),
            };
            actor.done(id, done, ctx);
        }));
    }

    fn ask(&mut self, id: u64, what: What, ctx: &mut Context<Self>) {
        let (upstreams, clock) = (self.upstreams.clone(), Arc::clone(&self.clock));
        let asking = async move {
            let What { instance, app, pair, account, .. } = what;
            let upstream = upstreams.of(&instance);
            let client = OAuthClient { upstream, instance: &instance, app: &app, clock: &*clock };
            (account, client.refresh(&pair).await)
        };
        ctx.spawn(asking.into_actor(self).map(move |(account, result), actor, ctx| {
            let (verdict, heard) = match result {
                Ok(pair) => (Verdict::Answered, Heard::Issued(pair)),
                Err(error) => {
                    let fault = error.call().fault.clone();
                    warn!(account.id = %account, reason = ?fault.reason, "the login of account `{account}` could not be renewed: {error}");
                    let verdict = Verdict::of(&fault);
                    let end = match error {
                        ExchangeError::InvalidGrant(_) => Ended::InvalidGrant,
                        ExchangeError::Refused(_) => Ended::Refused(fault),
                        ExchangeError::Unknown(_) => Ended::Unknown(fault),
                    };
                    (verdict, Heard::NotIssued(end))
                }
            };
            // The turn was for the call to GitLab; the disk may take its time.
            if let Some(permit) = actor.running.get_mut(&id).and_then(|running| running.permit.take()) {
                permit.settle(verdict);
            }
            actor.heard(id, heard, ctx);
        }));
    }

    fn keep(&mut self, id: u64, what: What, next: OAuthPair, ctx: &mut Context<Self>) {
        let (account, generation) = (what.account.clone(), what.generation);
        let of = Credential::OAuth { app: what.app.clone(), pair: what.pair.clone() };
        let record = Credential::OAuth { app: what.app.clone(), pair: next.clone() };
        let writing = self.store.send(PutPair { account: account.clone(), of, generation, next: record });
        ctx.spawn(writing.into_actor(self).map(move |result, actor, ctx| {
            let done = match result {
                Ok(Ok(Written::Fresh | Written::Before)) => Done::Heard(Heard::Kept),
                Ok(Ok(Written::Overtaken(credential, generation))) => {
                    info!(account.id = %account, "a new login of account `{account}` overtook the renewal of the old one");
                    actor.tell(id, &News::Stored(credential, generation));
                    return actor.give_up(id, what, next, ctx);
                }
                Ok(Err(StoreError::NoSuchAccount(_))) => {
                    info!(account.id = %account, "account `{account}` was removed while its login was renewed");
                    actor.tell(id, &News::Ended(Ended::Refused(unstored())));
                    return actor.give_up(id, what, next, ctx);
                }
                Ok(Err(error)) => {
                    error!(account.id = %account, "the renewed login of account `{account}` could not be stored: {error}");
                    Done::Heard(Heard::NotKept)
                }
                Err(_) => Done::Heard(Heard::NotKept),
            };
            actor.done(id, done, ctx);
        }));
    }

    /// Has GitLab take back a pair that nobody will use.
    fn give_up(&mut self, id: u64, what: What, pair: OAuthPair, ctx: &mut Context<Self>) {
        let (upstreams, clock) = (self.upstreams.clone(), Arc::clone(&self.clock));
        let revoking = async move {
            let What { instance, app, account, .. } = what;
            let upstream = upstreams.of(&instance);
            let client = OAuthClient { upstream, instance: &instance, app: &app, clock: &*clock };
            (account, client.revoke(pair.refresh_token.as_ref().unwrap_or(&pair.access_token)).await)
        };
        ctx.spawn(revoking.into_actor(self).map(move |(account, result), actor, _| {
            if let Err(error) = &result {
                warn!(account.id = %account, "tokens that GitLab handed out to an old login of account `{account}` are not revoked, and nobody has them: {error}");
            }
            actor.close(id, &result);
        }));
    }

    fn done(&mut self, id: u64, done: Done, ctx: &mut Context<Self>) {
        match done {
            Done::Heard(heard) => self.heard(id, heard, ctx),
            Done::Overtaken(credential, generation) => self.over(id, &News::Stored(credential, generation)),
            Done::Gone => self.over(id, &News::Ended(Ended::Refused(unstored()))),
        }
    }
}

impl Running {
    fn tell(&self, news: &News) {
        for desk in &self.desks {
            // One that has ended needs no news.
            desk.do_send(Exchanged { of: self.what.generation, news: news.clone() });
        }
    }
}

impl Actor for ExchangerActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(MAILBOX);
    }
}

impl Handler<Exchange> for ExchangerActor {
    type Result = ();

    fn handle(&mut self, exchange: Exchange, ctx: &mut Self::Context) {
        let Exchange { what, permit, desk } = exchange;
        if let Some(running) = self.running.values_mut().find(|running| running.what == what) {
            debug!(account.id = %what.account, "account `{}` joins the renewal of its login that runs already", what.account);
            running.desks.push(desk);
            return;
        }
        if self.closing {
            return;
        }
        self.last += 1;
        let (id, now) = (self.last, self.clock.now());
        let (attempt, order) = Attempt::begin();
        self.running
            .insert(id, Running { what, attempt, permit: Some(permit), desks: vec![desk], outlived: Vec::new() });
        self.run(id, order, now, ctx);
    }
}

impl Handler<Finish> for ExchangerActor {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, _: Finish, _: &mut Self::Context) -> Self::Result {
        self.closing = true;
        if self.running.is_empty() {
            return Box::pin(std::future::ready(()));
        }
        let (finished, wait) = oneshot::channel();
        self.finishing.push(finished);
        Box::pin(async move { wait.await.unwrap_or_default() })
    }
}

impl Handler<Outlived> for ExchangerActor {
    type Result = ResponseFuture<Result<(), CallError>>;

    fn handle(&mut self, Outlived(account): Outlived, _: &mut Self::Context) -> Self::Result {
        let mut waits = Vec::new();
        for running in self.running.values_mut().filter(|running| running.what.account == account) {
            let (outlived, wait) = oneshot::channel();
            running.outlived.push(outlived);
            waits.push(wait);
        }
        Box::pin(async move {
            // One that ends without a word ends with the server.
            let ends = futures::future::join_all(waits).await;
            ends.into_iter().flatten().collect()
        })
    }
}

#[cfg(test)]
mod tests;
