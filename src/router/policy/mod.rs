//! Decides which account serves a request.
//!
//! Pure: reads a table of snapshots, never an actor, a clock or the network, so any routing bug can be replayed from a
//! seed. Filters first (pool, not tried, serves the model, not blocked, has a grant, has a slot), then the highest
//! tier, then the least loaded by weight, ties by chance.

use std::sync::Arc;

use rand::{Rng, RngExt};

use crate::account::api::{Snapshot, Table};
use crate::domain::catalogue::{Catalogue, Wanted};
use crate::domain::fault::Reason;
use crate::domain::model::{Dialect, ModelName, Provider};
use crate::domain::time::Timestamp;
use crate::router::api::{Acquire, NoAccount, Renewable};

/// Accounts that are asked for a new grant when nobody has one; the first that gets one serves.
const RENEWABLE_MAX: usize = 4;
/// What the gateway offers for a Claude model that the catalogue does not know.
const CLAUDE_DIALECTS: &[Dialect] = &[Dialect::Messages];
/// What it offers for a GPT model that the catalogue does not know. Responses first: the newest models have no other.
const GPT_DIALECTS: &[Dialect] = &[Dialect::Responses, Dialect::ChatCompletions];

/// What holds for every choice.
pub(crate) struct Rules<'a> {
    pub(crate) catalogue: &'a Catalogue,
    /// Whether the newest model of the same family serves for one that a gateway refuses.
    pub(crate) family_fallback: bool,
}

/// An account, the model to ask it for, and the dialect to ask in.
#[derive(Debug)]
pub(crate) struct Choice<'a> {
    pub(crate) account: &'a Arc<Snapshot>,
    pub(crate) model: ModelName,
    pub(crate) dialect: Dialect,
}

/// The best choice so far, borrowed: among a thousand accounts only the last one is worth a clone.
struct Best<'a, 'b> {
    account: &'a Arc<Snapshot>,
    model: &'b ModelName,
    dialect: Dialect,
    /// Its load as it was read.
    load: u32,
}

/// A model and the dialect to speak to it in, as of the account before: mostly the next one's, too.
type Known<'b> = Option<(&'b ModelName, Option<Dialect>)>;

/// What stood in the way of the accounts that were passed over.
#[derive(Default)]
struct Obstacles<'a> {
    in_pool: bool,
    other_dialect: Option<ModelName>,
    tried: bool,
    busy: bool,
    blocked: Option<(Timestamp, Reason)>,
    renewable: Vec<&'a Arc<Snapshot>>,
}

/// Chooses among the accounts of `table`.
pub(crate) fn choose<'a>(
    table: &'a Table,
    ask: &Acquire,
    rules: &Rules<'_>,
    now: Timestamp,
    rng: &mut impl Rng,
) -> Result<Choice<'a>, NoAccount> {
    let mut best: Option<Best<'a, '_>> = None;
    let mut equals = 1_u32;
    let mut obstacles = Obstacles::default();
    let mut known = None;
    for account in &table.accounts {
        let found = candidate(table, account, ask, rules, now, &mut obstacles, &mut known);
        let Some((model, dialect)) = found else { continue };
        let order = best.as_ref().map(|best| compare(account, best.account, best.load));
        let taken = match order {
            None | Some(std::cmp::Ordering::Less) => {
                equals = 1;
                true
            }
            Some(std::cmp::Ordering::Equal) => {
                equals += 1;
                rng.random_ratio(1, equals)
            }
            Some(std::cmp::Ordering::Greater) => false,
        };
        if taken {
            best = Some(Best { account, model, dialect, load: account.gauge.in_flight() });
        }
    }
    let chosen = best.map(|best| Choice { account: best.account, model: best.model.clone(), dialect: best.dialect });
    chosen.ok_or_else(|| obstacles.answer(now))
}

/// Orders `account` against the best one so far, whose load was read as `load`: less is better.
fn compare(account: &Snapshot, best: &Snapshot, load: u32) -> std::cmp::Ordering {
    let by_tier = best.priority.cmp(&account.priority);
    // (load + 1) / weight, compared without a division.
    let own = u64::from(account.gauge.in_flight() + 1) * u64::from(best.weight);
    by_tier.then(own.cmp(&(u64::from(load + 1) * u64::from(account.weight))))
}

/// Returns what `account` would be asked for, or notes why it is passed over.
fn candidate<'a: 'b, 'b>(
    table: &Table,
    account: &'a Arc<Snapshot>,
    ask: &'b Acquire,
    rules: &Rules<'b>,
    now: Timestamp,
    obstacles: &mut Obstacles<'a>,
    known: &mut Known<'b>,
) -> Option<(&'b ModelName, Dialect)> {
    if !account.enabled || !(ask.pools.is_empty() || ask.pools.iter().any(|pool| **pool == *account.pool)) {
        return None;
    }
    obstacles.in_pool = true;
    let model = model_on(table, account, ask, rules, now)?;
    let dialect = match *known {
        Some((before, dialect)) if before == model => dialect,
        _ => dialect_for(model, ask.dialects, rules.catalogue),
    };
    *known = Some((model, dialect));
    let Some(dialect) = dialect else {
        obstacles.other_dialect = Some(model.clone());
        return None;
    };
    if ask.tried.contains(&account.id) {
        obstacles.tried = true;
        return None;
    }
    if let Some(block) = account.blocked(model, now) {
        obstacles.blocked(block.until, block.reason);
        return None;
    }
    if account.usable_grant(now).is_none() {
        obstacles.without_grant(account, now);
        return None;
    }
    if account.gauge.in_flight() >= account.max_concurrency {
        obstacles.busy = true;
        return None;
    }
    Some((model, dialect))
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
        ask.refused.contains(name) || gateway.is_some_and(|gateway| table.refused.contains(gateway, name, now))
    };
    if !refused(wanted) {
        return Some(wanted);
    }
    let stand_in = rules.catalogue.fallback(wanted, refused).filter(|_| rules.family_fallback);
    stand_in.map(|entry| &entry.name)
}

fn dialect_for(model: &ModelName, wanted: &[Dialect], catalogue: &Catalogue) -> Option<Dialect> {
    let offered = match catalogue.entry(model) {
        Some(entry) => entry.dialects.as_slice(),
        None if Provider::of_name(model.as_str()) == Some(Provider::Anthropic) => CLAUDE_DIALECTS,
        None => GPT_DIALECTS,
    };
    wanted.iter().copied().find(|dialect| offered.contains(dialect))
}

impl<'a> Obstacles<'a> {
    fn blocked(&mut self, until: Timestamp, reason: Reason) {
        let sooner = self.blocked.is_none_or(|(other, _)| until < other);
        if sooner {
            self.blocked = Some((until, reason));
        }
    }

    fn without_grant(&mut self, account: &'a Arc<Snapshot>, now: Timestamp) {
        // What the account published about itself is true until its next trial is due: then a request may bring it about.
        let is_due = account.trouble.as_ref().is_some_and(|trouble| !trouble.holds(now));
        if (account.renewable || is_due) && self.renewable.len() < RENEWABLE_MAX {
            self.renewable.push(account);
        }
        match &account.trouble {
            Some(trouble) => self.blocked(trouble.until, trouble.reason),
            None => self.blocked(now, Reason::GrantMissing),
        }
    }

    fn answer(self, now: Timestamp) -> NoAccount {
        if let Some((until, reason)) = self.blocked.filter(|_| !self.busy || !self.renewable.is_empty()) {
            let renewable = self.renewable.iter().filter_map(|account| {
                let than = account.grant.as_ref().map(|grant| grant.generation).unwrap_or_default();
                let renew = account.desk.as_ref()?.renew.clone();
                Some(Renewable { account: account.id.clone(), than, renew })
            });
            return NoAccount::Blocked { reason, until: until.max(now), renewable: renewable.collect() };
        }
        match (self.in_pool, self.busy, self.tried, self.other_dialect) {
            (false, ..) => NoAccount::Empty,
            (true, true, ..) => NoAccount::Busy,
            (true, false, true, _) => NoAccount::Exhausted,
            (true, false, false, Some(model)) => NoAccount::OtherDialect { model },
            (true, false, false, None) => NoAccount::NoModel,
        }
    }
}

#[cfg(test)]
mod tests;
