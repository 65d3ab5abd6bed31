//! The broker of calls to GitLab: one actor in the control arbiter, which gives every account its turns.
//!
//! What it decides, it decides in [`super::turns`]. A turn is a [`Permit`]: whoever holds it makes one call and drops it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use actix::{Actor, Addr, AsyncContext, Context, Handler, Message, Recipient};
use rand::SeedableRng;
use rand::rngs::StdRng;
use tracing::{info, warn};

use crate::account::api::{Block, SharedNews};
use crate::account::shared_health::Event;
use crate::account::turns::{Turns, Urgency, Verdict};
use crate::domain::endpoint::InstanceUrl;
use crate::domain::id::AccountId;
use crate::domain::time::Clock;

/// One call to an instance may follow after this time, once a burst is used up: 300 a minute, of the 2,000 that
/// gitlab.com allows one user. Source: rate limits of gitlab.com, authenticated API.
const REFILL_EVERY: Duration = Duration::from_millis(200);
/// Every account asks once and raises its wish twice at most; a thousand of them may start at once.
const MAILBOX: usize = 4_096;

/// Gives turns.
pub(crate) struct BrokerActor {
    hosts: BTreeMap<InstanceUrl, Host>,
    clock: Arc<dyn Clock>,
    rng: StdRng,
    refilling: bool,
    /// Is told which instances are left alone.
    news: Recipient<SharedNews>,
}

#[derive(Default)]
struct Host {
    turns: Turns,
    desks: BTreeMap<AccountId, Recipient<Turn>>,
}

/// Asks for a turn, or for an earlier one; answered by a [`Turn`].
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Ask {
    pub(crate) instance: InstanceUrl,
    pub(crate) account: AccountId,
    pub(crate) urgency: Urgency,
    pub(crate) desk: Recipient<Turn>,
}

/// It is the account's turn to make one call; or the instance is left alone, and why.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Turn(pub(crate) Result<Permit, Block>);

/// The right to make one call; given back on drop, whatever happens.
pub(crate) struct Permit {
    broker: Addr<BrokerActor>,
    instance: InstanceUrl,
    account: AccountId,
    verdict: Verdict,
}

impl Permit {
    /// Gives it back with what the call says about the instance.
    pub(crate) fn settle(mut self, verdict: Verdict) {
        self.verdict = verdict;
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let verdict = std::mem::replace(&mut self.verdict, Verdict::Nothing);
        let (instance, account) = (self.instance.clone(), self.account.clone());
        // Past the mailbox's bound: there are only so many permits.
        self.broker.do_send(Returned { instance, account, verdict });
    }
}

/// Ends the pause of an instance, on a person's word.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Forgive(pub(crate) InstanceUrl);

#[derive(Message)]
#[rtype(result = "()")]
struct Returned {
    instance: InstanceUrl,
    account: AccountId,
    verdict: Verdict,
}

#[derive(Message)]
#[rtype(result = "()")]
struct Refill;

impl BrokerActor {
    /// Starts the broker on the present arbiter. The instances of `pauses` are left alone; of changes to that, `news` is
    /// told.
    pub(crate) fn start_with(
        clock: Arc<dyn Clock>,
        news: Recipient<SharedNews>,
        pauses: BTreeMap<InstanceUrl, Block>,
    ) -> Addr<Self> {
        let rng = StdRng::from_rng(&mut rand::rng());
        let left_alone = |(instance, pause)| (instance, Host { turns: Turns::paused_by(pause), ..Host::default() });
        let hosts = pauses.into_iter().map(left_alone).collect();
        Self { hosts, clock, rng, refilling: false, news }.start()
    }

    fn give(&mut self, instance: &InstanceUrl, ctx: &mut Context<Self>) {
        let now = self.clock.now();
        let Some(host) = self.hosts.get_mut(instance) else { return };
        while let Some(account) = host.turns.next(now) {
            let (broker, instance) = (ctx.address(), instance.clone());
            let permit = Permit { broker, instance, account, verdict: Verdict::Nothing };
            // An account that is gone drops its permit, which gives the turn to the next.
            if let Some(desk) = host.desks.remove(&permit.account) {
                desk.do_send(Turn(Ok(permit)));
            }
        }
        if host.turns.wants_refill() && !self.refilling {
            self.refilling = true;
            ctx.notify_later(Refill, REFILL_EVERY);
        }
    }
}

impl Actor for BrokerActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(MAILBOX);
    }
}

impl Handler<Ask> for BrokerActor {
    type Result = ();

    fn handle(&mut self, ask: Ask, ctx: &mut Self::Context) {
        let now = self.clock.now();
        let host = self.hosts.entry(ask.instance.clone()).or_default();
        match host.turns.ask(ask.account.clone(), ask.urgency, now) {
            Ok(()) => {
                host.desks.insert(ask.account, ask.desk);
                self.give(&ask.instance, ctx);
            }
            Err(block) => ask.desk.do_send(Turn(Err(block))),
        }
    }
}

impl Handler<Returned> for BrokerActor {
    type Result = ();

    fn handle(&mut self, back: Returned, ctx: &mut Self::Context) {
        let now = self.clock.now();
        let Some(host) = self.hosts.get_mut(&back.instance) else { return };
        let before = host.turns.pause().cloned();
        let leaving = host.turns.ended(&back.account, &back.verdict, now, &mut self.rng);
        match host.turns.pause() {
            Some(pause) if before.is_none() => {
                warn!("GitLab at {} is left alone until {}: {}", back.instance, pause.until, pause.reason);
            }
            None if before.is_some() => info!("GitLab at {} answers again", back.instance),
            _ => {}
        }
        let pause = host.turns.pause().cloned();
        if pause != before {
            // Past the mailbox's bound: there are only so many permits.
            self.news.do_send(SharedNews::from(Event::Paused(back.instance.clone(), pause)));
        }
        for (account, block) in leaving {
            if let Some(desk) = host.desks.remove(&account) {
                desk.do_send(Turn(Err(block)));
            }
        }
        self.give(&back.instance, ctx);
    }
}

impl Handler<Forgive> for BrokerActor {
    type Result = ();

    fn handle(&mut self, Forgive(instance): Forgive, ctx: &mut Self::Context) {
        if let Some(host) = self.hosts.get_mut(&instance) {
            host.turns.forgive();
            self.give(&instance, ctx);
        }
    }
}

impl Handler<Refill> for BrokerActor {
    type Result = ();

    fn handle(&mut self, _: Refill, ctx: &mut Self::Context) {
        self.refilling = false;
        self.hosts.retain(|_, host| {
            host.turns.refill();
            !host.turns.is_idle()
        });
        let instances: Vec<_> = self.hosts.keys().cloned().collect();
        for instance in &instances {
            self.give(instance, ctx);
        }
    }
}
