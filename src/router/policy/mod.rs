//! Decides which account serves a request.
//!
//! Pure: reads a table of snapshots, never an actor, a clock or the network, so any routing bug can be replayed from a
//! seed. Filters first (pool, not tried, serves the model, not blocked, has a grant, has a slot), then those whose
//! credits are not in doubt, then the highest tier, then the conversation's own account, then the strategy.
//!
//! A block of a provider, a gateway or this machine is an opinion, formed from a few faults. It keeps new requests away; one
//! that is on its way already, because an account failed it, goes on to accounts that share the block if there are no
//! others: the fault that it met may be what formed the opinion, and may have been chance. Its attempts are few.
//!
//! Not here: what is blocked and how long (`account::state`), and who waits for a slot (`router::queue`).

mod contest;
mod obstacles;

use std::sync::Arc;

use rand::Rng;

pub(crate) use self::contest::at_home;
use self::contest::{Contender, Contest, Rule};
use self::obstacles::Obstacles;
pub(crate) use self::obstacles::sooner;
use crate::account::api::{Snapshot, Standing, Table};
use crate::account::lease::{Bell, Lease, Terms};
use crate::account::shared_health::{Passage, Shared};
use crate::domain::catalogue::{Catalogue, Wanted};
use crate::domain::fault::{Reason, Scope};
use crate::domain::model::{Dialect, ModelName, Provider};
use crate::domain::strategy::Strategy;
use crate::domain::time::Timestamp;
use crate::router::api::{Acquire, NoAccount};
use crate::trace::{Chosen, Decider, Seen, Sheet, Verdict};

/// What the gateway offers for a Claude model that the catalogue does not know.
const CLAUDE_DIALECTS: &[Dialect] = &[Dialect::Messages];
/// What it offers for a GPT model that the catalogue does not know. Responses first: the newest models have no other.
const GPT_DIALECTS: &[Dialect] = &[Dialect::Responses, Dialect::ChatCompletions];

/// What holds for every choice.
#[derive(Clone, Copy)]
pub(crate) struct Rules<'a> {
    pub(crate) catalogue: &'a Catalogue,
    /// Whether the newest model of the same family serves for one that a gateway refuses.
    pub(crate) family_fallback: bool,
    pub(crate) strategy: Strategy,
}

/// An account, the model to ask it for, and the dialect to ask in.
#[derive(Debug)]
pub(crate) struct Choice<'a> {
    pub(crate) account: &'a Arc<Snapshot>,
    pub(crate) model: ModelName,
    pub(crate) dialect: Dialect,
    /// Whether the account was blocked and nobody knows yet that it is well: this request tries.
    pub(crate) is_probe: bool,
    /// Where the account stands in the strategy's order once it is taken, if that changes.
    pub(crate) turn: Option<u64>,
    /// What decided among those that could serve.
    pub(crate) decider: Decider,
    /// The shared health that it was chosen by, and when.
    shared: &'a Arc<Shared>,
    now: Timestamp,
}

impl Choice<'_> {
    /// Returns what a trace keeps of it.
    pub(crate) fn noted(&self) -> Chosen {
        let Self { account, model, dialect, is_probe, decider, .. } = self;
        let (account, model) = (account.id.clone(), model.clone());
        Chosen { account, model, dialect: *dialect, is_probe: *is_probe, decider: *decider }
    }

    /// Takes the lease that was chosen; `None` if somebody else took it since the table was read.
    pub(crate) fn take(self, bell: &Arc<Bell>) -> Option<Lease> {
        let Self { account, model, dialect, is_probe, turn, shared, now, .. } = self;
        Lease::take(account, Terms { model, dialect, is_probe, turn, shared: Arc::clone(shared), now }, bell)
    }
}

/// A model and the dialect to speak to it in, as of the account before: mostly the next one's, too.
type Known<'b> = Option<(&'b ModelName, Option<Dialect>)>;

/// Whether an account could serve.
enum Fitness<'a, 'b> {
    Fit(Contender<'a, 'b>),
    /// It is well, but not for this request now: too much to do, or tried by it.
    Aside(Verdict),
    Unfit(Verdict),
    /// Not there at all, as far as this request goes.
    Foreign(Verdict),
}

impl Fitness<'_, '_> {
    fn verdict(&self) -> Verdict {
        match self {
            Self::Fit(contender) if contender.is_probe => Verdict::Probe,
            Self::Fit(_) => Verdict::Fit,
            Self::Aside(verdict) | Self::Unfit(verdict) | Self::Foreign(verdict) => *verdict,
        }
    }
}

/// Chooses among the accounts of `table`; what it finds about each of them is in `sheet` afterwards.
pub(crate) fn choose<'a>(
    table: &'a Table,
    ask: &Acquire,
    rules: &Rules<'_>,
    now: Timestamp,
    rng: &mut impl Rng,
    sheet: &mut Sheet,
) -> Result<Choice<'a>, NoAccount> {
    sheet.clear();
    let mut obstacles = Obstacles::noted_in(std::mem::take(sheet));
    let contest = Contest::new(Rule::of(rules.strategy, ask.conversation), now);
    let contest = hold(contest, table, ask, rules, now, rng, &mut obstacles);
    *sheet = std::mem::take(&mut obstacles.sheet);
    let next = contest.next().map(|next| hold(next, table, ask, rules, now, rng, &mut Obstacles::default()));
    // Others take slots meanwhile: there may be nobody any more.
    let contest = next.filter(|next| next.winner().is_some()).unwrap_or(contest);
    let Some(winner) = contest.winner() else { return Err(obstacles.answer(ask, now)) };
    let Contender { account, model, dialect, is_probe, .. } = winner;
    let (model, turn, decider) = (model.clone(), contest.next_turn(), contest.decider());
    Ok(Choice { account, model, dialect, is_probe, turn, decider, shared: &table.shared, now })
}

/// Returns what a trace keeps of `account`.
pub(crate) fn seen(account: &Snapshot, verdict: Verdict) -> Seen {
    Seen {
        account: account.id.clone(),
        verdict,
        priority: account.priority,
        weight: account.weight,
        in_flight: account.gauge.in_flight(),
        max_concurrency: account.max_concurrency,
        hinted: account.hinted,
    }
}

/// Lets every account that could serve take part in `contest`.
fn hold<'a: 'b, 'b>(
    mut contest: Contest<'a, 'b>,
    table: &'a Table,
    ask: &'b Acquire,
    rules: &Rules<'b>,
    now: Timestamp,
    rng: &mut impl Rng,
    obstacles: &mut Obstacles<'a>,
) -> Contest<'a, 'b> {
    let mut known = None;
    for account in &table.accounts {
        let fitness = fitness(table, account, ask, rules, now, obstacles, &mut known);
        let verdict = fitness.verdict();
        obstacles.sheet.note(verdict, || seen(account, verdict));
        match fitness {
            Fitness::Fit(contender) => contest.enter(contender, rng),
            Fitness::Aside(_) => contest.absent(account, true),
            Fitness::Unfit(_) => contest.absent(account, false),
            Fitness::Foreign(_) => {}
        }
    }
    contest
}

/// Returns what `account` would be asked for, or notes why it is passed over.
fn fitness<'a: 'b, 'b>(
    table: &Table,
    account: &'a Arc<Snapshot>,
    ask: &'b Acquire,
    rules: &Rules<'b>,
    now: Timestamp,
    obstacles: &mut Obstacles<'a>,
    known: &mut Known<'b>,
) -> Fitness<'a, 'b> {
    if !(ask.pools.is_empty() || ask.pools.iter().any(|pool| **pool == *account.pool)) {
        return Fitness::Foreign(Verdict::OtherPool);
    }
    if !account.enabled {
        return Fitness::Foreign(Verdict::Disabled);
    }
    obstacles.in_pool = true;
    let Some(model) = model_on(table, account, ask, rules, now) else { return Fitness::Unfit(Verdict::NoModel) };
    let dialect = match *known {
        // Mostly it is the very same name, which need not be read for that.
        Some((before, dialect)) if std::ptr::eq(before, model) || before == model => dialect,
        _ => dialect_for(model, ask.dialects, rules.catalogue),
    };
    *known = Some((model, dialect));
    let Some(dialect) = dialect else {
        obstacles.other_dialect = Some(model.clone());
        return Fitness::Unfit(Verdict::OtherDialect);
    };
    if ask.tried.contains(&account.id) {
        obstacles.tried = true;
        return Fitness::Aside(Verdict::Tried);
    }
    let standing = account.standing(model, now);
    if let Standing::Blocked { until, reason } = standing {
        // A grant that was refused for the first time is replaced at once, which is worth waiting for.
        if reason == Reason::GrantRefused && account.is_replacing_grant() {
            obstacles.without_grant(account, now);
        } else {
            obstacles.blocked(until, reason);
        }
        let whole = account.block.as_ref().is_some_and(|block| block.holds(now));
        let scope = if whole { Scope::Account } else { Scope::Model };
        return Fitness::Unfit(Verdict::Blocked { scope, reason, until });
    }
    let Some(grant) = account.usable_grant(now) else {
        let (reason, until) = obstacles.without_grant(account, now);
        return Fitness::Unfit(Verdict::NoGrant { reason, until });
    };
    let passage = if table.shared.is_empty() {
        Passage::Free
    } else {
        table.shared.passage(&grant.gateway, model, &account.group, now)
    };
    let against_opinion = match passage {
        Passage::Blocked { by_opinion: true, .. } if !ask.tried.is_empty() => true,
        Passage::Blocked { scope, block, .. } => {
            obstacles.shut(block, now);
            return Fitness::Unfit(Verdict::Blocked { scope, reason: block.reason, until: block.until });
        }
        Passage::Free | Passage::Unproven { .. } => false,
    };
    let is_probe = standing == Standing::Unproven;
    let others_try = passage == Passage::Unproven { taken: true } || (is_probe && account.gauge.is_probing());
    let is_full = account.gauge.in_flight() >= account.max_concurrency;
    if is_full || others_try {
        obstacles.busy = true;
        return Fitness::Aside(if is_full { Verdict::Full } else { Verdict::Probing });
    }
    Fitness::Fit(Contender { account, model, dialect, is_probe, against_opinion })
}

/// Returns the exact model that `account` would be asked for, if its gateway supports one.
fn model_on<'b>(
    table: &Table,
    account: &'b Snapshot,
    ask: &'b Acquire,
    rules: &Rules<'b>,
    now: Timestamp,
) -> Option<&'b ModelName> {
    let wanted = match &ask.wanted {
        Wanted::Current => &account.current_model,
        Wanted::Known(name) | Wanted::Guess { name, .. } => name,
    };
    if table.refused.is_empty() && ask.refused.is_empty() {
        return Some(wanted);
    }
    let gateway = account.grant.as_ref().map(|grant| &grant.gateway);
    let refused = |name: &ModelName| {
        // Another gateway may support what one does not.
        let just_now = |gateway| ask.refused.iter().any(|(by, model)| by == gateway && model == name);
        gateway.is_some_and(|gateway| just_now(gateway) || table.refused.contains(gateway, name, now))
    };
    if !refused(wanted) {
        return Some(wanted);
    }
    let stand_in = rules.catalogue.fallback(wanted, refused).filter(|_| rules.family_fallback);
    stand_in.map(|entry| &entry.name)
}

/// Returns the dialect that the catalogue prefers for a model, of those that a client can be served by.
fn dialect_for(model: &ModelName, wanted: &[Dialect], catalogue: &Catalogue) -> Option<Dialect> {
    let offered = match catalogue.entry(model) {
        Some(entry) => entry.dialects.as_slice(),
        None if Provider::of_name(model.as_str()) == Some(Provider::Anthropic) => CLAUDE_DIALECTS,
        None => GPT_DIALECTS,
    };
    offered.iter().copied().find(|dialect| wanted.contains(dialect))
}

#[cfg(test)]
mod properties;
#[cfg(test)]
mod shared_tests;
#[cfg(test)]
mod tests;
