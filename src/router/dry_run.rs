//! What would be chosen now, and what if that account died: a choice without its consequences.
//!
//! Nothing is taken, no turn moves, nobody waits and nobody is asked for anything: only the table is read, and the
//! gauges in it.

use actix::{Context, Handler, Message, MessageResult};
use rand::Rng;

use crate::account::api::Table;
use crate::domain::id::AccountId;
use crate::domain::strategy::Strategy;
use crate::domain::time::Timestamp;
use crate::router::RouterActor;
use crate::router::api::{Acquire, NoAccount};
use crate::router::policy::{self, Rules};
use crate::trace::{Chosen, Seen, Sheet, Verdict};

/// Accounts that are named one after the other: nobody plans for more losses in a row.
const NEXT_MAX: usize = 16;

/// Asks what would be chosen for a request, and what after that, if each chosen one failed it.
#[derive(Debug, Message)]
#[rtype(result = "Foreseen")]
pub(crate) struct Foresee {
    /// The request.
    pub(crate) ask: Acquire,
    /// Accounts that shall count as gone.
    pub(crate) without: Vec<AccountId>,
}

/// What would be chosen.
#[derive(Debug)]
pub(crate) struct Foreseen {
    /// Every account, as it was looked at first.
    pub(crate) seen: Vec<Seen>,
    /// Who would be chosen, and who if those before failed.
    pub(crate) order: Vec<Chosen>,
    /// Why there is nobody at all, if there is not.
    pub(crate) nobody: Option<NoAccount>,
    /// How accounts are chosen.
    pub(crate) strategy: Strategy,
}

/// Looks ahead in `table`.
pub(super) fn foresee(table: &Table, wish: Foresee, rules: &Rules<'_>, now: Timestamp, rng: &mut impl Rng) -> Foreseen {
    let Foresee { mut ask, without } = wish;
    let (gone, left) = table.accounts.iter().cloned().partition(|account| without.contains(&account.id));
    let table = Table { accounts: left, ..table.clone() };
    let gone: Vec<_> = gone;
    let mut sheet = Sheet::whole(table.accounts.len());
    let (mut order, mut nobody, mut first) = (Vec::new(), None, None);
    while order.len() < NEXT_MAX {
        let choice = policy::choose(&table, &ask, rules, now, rng, &mut sheet).map(|choice| choice.noted());
        first.get_or_insert_with(|| sheet.seen().to_vec());
        match choice {
            Ok(chosen) => {
                ask.tried.push(chosen.account.clone());
                order.push(chosen);
            }
            Err(none) => {
                nobody = Some(none).filter(|_| order.is_empty());
                break;
            }
        }
    }
    let mut seen = first.unwrap_or_default();
    seen.extend(gone.iter().map(|account| policy::seen(account, Verdict::LeftOut)));
    seen.sort_by(|one, other| one.account.cmp(&other.account));
    Foreseen { seen, order, nobody, strategy: rules.strategy }
}

impl Handler<Foresee> for RouterActor {
    type Result = MessageResult<Foresee>;

    fn handle(&mut self, wish: Foresee, _: &mut Context<Self>) -> Self::Result {
        let table = self.published.load();
        MessageResult(self.chooser.foresee(&table, wish, self.clock.now()))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rand::SeedableRng;
    use rand::rngs::StdRng;

    use super::*;
    use crate::account::api::Snapshot;
    use crate::account::api::tests::{NOW, snapshot};
    use crate::account::lease::{Lease, Terms};
    use crate::domain::catalogue::Catalogue;
    use crate::domain::model::{Dialect, ModelName};
    use crate::trace::Word;

    fn wish(without: &[&Arc<Snapshot>]) -> Foresee {
        let ask = Acquire {
            wanted: crate::domain::catalogue::Wanted::Known(ModelName::parse("claude-sonnet-4-6").unwrap()),
            dialects: &[Dialect::Messages],
            pools: Arc::new(["default".to_owned()]),
            conversation: None,
            client: 0,
            patience: None,
            renewed_in_vain: false,
            tried: Vec::new(),
            refused: Vec::new(),
            trace: None,
        };
        Foresee { ask, without: without.iter().map(|account| account.id.clone()).collect() }
    }

    fn look(accounts: &[Arc<Snapshot>], wish: Foresee, strategy: Strategy) -> Foreseen {
        let table = Table { accounts: accounts.to_vec(), ..Table::default() };
        let catalogue = Catalogue::builtin().unwrap();
        let rules = Rules { catalogue: &catalogue, family_fallback: true, strategy };
        foresee(&table, wish, &rules, NOW, &mut StdRng::seed_from_u64(1))
    }

    fn order(foreseen: &Foreseen) -> Vec<AccountId> {
        foreseen.order.iter().map(|chosen| chosen.account.clone()).collect()
    }

    #[test]
    fn the_next_ones_come_in_the_order_of_their_tiers() {
        let accounts: Vec<_> = [3, 1, 2].map(|tier| snapshot(&tier.to_string(), |s| s.priority = tier)).into();
        let [a, c, b] = [0, 1, 2].map(|index| accounts[index].id.clone());
        let all = look(&accounts, wish(&[]), Strategy::Balanced);
        assert_eq!(order(&all), [a, b.clone(), c.clone()]);
        assert!(all.nobody.is_none(), "somebody serves");
        let fewer = look(&accounts, wish(&[&accounts[0]]), Strategy::Balanced);
        assert_eq!(order(&fewer), [b, c]);
        let of = |id: &AccountId| fewer.seen.iter().find(|seen| seen.account == *id).unwrap().verdict.word();
        assert_eq!((of(&accounts[0].id), of(&accounts[1].id)), (Word::LeftOut, Word::Fit));
        let none = look(&accounts[..1], wish(&[&accounts[0]]), Strategy::Balanced);
        assert!(none.order.is_empty() && matches!(none.nobody, Some(NoAccount::Empty)), "{none:?}");
    }

    #[test]
    fn looking_ahead_takes_no_slot_and_moves_no_turn() {
        for strategy in Strategy::ALL {
            let accounts: Vec<_> = ["a", "b", "c"].map(|name| snapshot(name, |s| s.weight = 2)).into();
            let terms = Terms {
                model: ModelName::parse("claude-sonnet-4-6").unwrap(),
                dialect: Dialect::Messages,
                is_probe: true,
                turn: Some(7),
                shared: Arc::default(),
                now: NOW,
            };
            let _held = Lease::take(&accounts[0], terms, &Arc::default()).unwrap();
            let state = || -> Vec<_> {
                let gauges = accounts.iter().map(|account| &account.gauge);
                gauges.map(|gauge| (gauge.in_flight(), gauge.is_probing(), gauge.turn(), gauge.served())).collect()
            };
            let before = state();
            for _ in 0..20 {
                assert_eq!(look(&accounts, wish(&[]), strategy).order.len(), 3, "{strategy}");
            }
            assert_eq!(state(), before, "{strategy}");
        }
    }

    #[test]
    fn no_more_than_so_many_are_named() {
        let accounts: Vec<_> = (0..30).map(|number| snapshot(&format!("n{number}"), |_| {})).collect();
        let foreseen = look(&accounts, wish(&[]), Strategy::Balanced);
        assert_eq!((foreseen.order.len(), foreseen.seen.len()), (NEXT_MAX, 30));
    }
}
