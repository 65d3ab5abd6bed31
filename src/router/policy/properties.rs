//! What must be true of many choices in a row, whatever the seed.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};

use super::tests::{CATALOGUE, MESSAGES, ask, block, model, table};
use super::*;
use crate::account::api::Block;
use crate::account::api::tests::{NOW, grant, snapshot};
use crate::domain::conversation::{Bond, Conversation};
use crate::domain::fault::Reason;
use crate::domain::id::AccountId;

const SONNET: &str = "claude-sonnet-4-6";

/// Chooses again and again from one table.
struct Chooser {
    strategy: Strategy,
    rng: StdRng,
    bell: Arc<Bell>,
    ask: Acquire,
}

impl Chooser {
    fn new(strategy: Strategy, seed: u64) -> Self {
        let rng = StdRng::seed_from_u64(seed);
        Self { strategy, rng, bell: Arc::default(), ask: ask(SONNET, MESSAGES) }
    }

    fn choose<'a>(&mut self, table: &'a Table) -> Result<Choice<'a>, NoAccount> {
        let rules = Rules { catalogue: &CATALOGUE, family_fallback: true, strategy: self.strategy };
        choose(table, &self.ask, &rules, NOW, &mut self.rng, &mut Sheet::default())
    }

    fn lease(&mut self, table: &Table) -> Lease {
        let bell = Arc::clone(&self.bell);
        self.choose(table).unwrap().take(&bell).unwrap()
    }

    /// Returns where a conversation that is under way goes.
    fn home(&mut self, table: &Table, key: u64) -> AccountId {
        self.ask.conversation = Some(Conversation { key: spread(key), bond: Bond::Firm });
        self.choose(table).unwrap().account.id.clone()
    }
}

/// Keys as far apart as hashes are.
fn spread(key: u64) -> u64 {
    Conversation::named(&key.to_le_bytes()).key
}

fn crowd(number: usize, change: impl Fn(usize, &mut Snapshot)) -> Vec<Arc<Snapshot>> {
    let of = |index| snapshot(&format!("n{index}"), |s| change(index, s));
    let mut all: Vec<_> = (0..number).map(of).collect();
    all.sort_by(|one, other| one.id.cmp(&other.id));
    all
}

/// Asserts that `counts` are shares by weight, within 5 % of each share.
fn assert_shares(accounts: &[Arc<Snapshot>], counts: &BTreeMap<AccountId, u32>, context: &str) {
    let total: u32 = counts.values().sum();
    let weights: u32 = accounts.iter().map(|account| account.weight).sum();
    for account in accounts {
        let fair = f64::from(total) * f64::from(account.weight) / f64::from(weights);
        let got = f64::from(counts.get(&account.id).copied().unwrap_or_default());
        assert!((got / fair - 1.0).abs() <= 0.05, "{context}: {got} of {fair:.0} for weight {}", account.weight);
    }
}

#[test]
fn shares_follow_weights_whether_requests_come_one_by_one_or_together() {
    for (strategy, seed, in_flight) in [
        (Strategy::Balanced, 1, 0),
        (Strategy::Balanced, 2, 1),
        (Strategy::Balanced, 3, 8),
        (Strategy::Balanced, 8, 40),
        (Strategy::RoundRobin, 4, 0),
        (Strategy::RoundRobin, 5, 40),
        (Strategy::Random, 6, 0),
        (Strategy::Random, 7, 40),
    ] {
        let accounts = crowd(5, |index, s| {
            s.weight = [1, 2, 3, 5, 9][index];
            s.max_concurrency = 1_000;
        });
        let (table, mut chooser) = (table(accounts.clone()), Chooser::new(strategy, seed));
        let (mut held, mut counts) = (VecDeque::new(), BTreeMap::new());
        for _ in 0..20_000 {
            let lease = chooser.lease(&table);
            *counts.entry(lease.account().id.clone()).or_insert(0_u32) += 1;
            held.push_back(lease);
            while held.len() > in_flight {
                // Answers take differently long, so they do not end in the order in which they began.
                let index = chooser.rng.random_range(0..held.len());
                held.swap_remove_back(index);
            }
        }
        assert_shares(&accounts, &counts, &format!("{strategy}, seed {seed}, {in_flight} in flight"));
    }
}

#[test]
fn conversations_spread_by_weight() {
    let accounts = crowd(4, |index, s| s.weight = [1, 2, 3, 6][index]);
    let (table, mut chooser) = (table(accounts.clone()), Chooser::new(Strategy::Balanced, 1));
    let mut counts = BTreeMap::new();
    for key in 0..30_000 {
        *counts.entry(chooser.home(&table, key)).or_insert(0_u32) += 1;
    }
    assert_shares(&accounts, &counts, "conversations");
}

#[test]
fn round_robin_takes_turns() {
    let accounts = crowd(3, |_, _| {});
    let (table, mut chooser) = (table(accounts), Chooser::new(Strategy::RoundRobin, 1));
    let row: Vec<_> = (0..9).map(|_| chooser.lease(&table).account().id.clone()).collect();
    assert!(row[0] != row[1] && row[1] != row[2] && row[0] != row[2]);
    assert!(row[3..6] == row[..3] && row[6..] == row[..3]);
}

#[test]
fn who_comes_back_to_a_round_robin_does_not_make_up_for_its_absence() {
    let accounts = crowd(3, |_, _| {});
    let mut chooser = Chooser::new(Strategy::RoundRobin, 1);
    let without = table(accounts[1..].to_vec());
    for _ in 0..1_000 {
        drop(chooser.lease(&without));
    }
    let all = table(accounts.clone());
    let back = (0..30).filter(|_| chooser.lease(&all).account().id == accounts[0].id).count();
    assert!((10..=11).contains(&back), "{back} of 30");
}

#[test]
fn fill_first_stays_on_one_until_that_is_blocked_and_does_not_go_back() {
    let accounts = crowd(3, |_, s| s.max_concurrency = 2);
    let mut chooser = Chooser::new(Strategy::FillFirst, 1);
    let well = table(accounts.clone());
    let first = chooser.lease(&well).account().id.clone();
    for key in 0..50 {
        assert_eq!(chooser.home(&well, key), first, "conversations stay there as well");
    }
    // While it is only full, or has just failed this request, another one helps out.
    let held = [chooser.lease(&well), chooser.lease(&well)];
    let helper = chooser.lease(&well);
    assert!(held.iter().all(|lease| lease.account().id == first) && helper.account().id != first);
    drop((held, helper));
    chooser.ask.tried.push(first.clone());
    assert_ne!(chooser.lease(&well).account().id, first);
    chooser.ask.tried.clear();
    assert_eq!(chooser.lease(&well).account().id, first);

    let ill = |account: &Arc<Snapshot>| {
        let mut changed = Snapshot::clone(account);
        changed.block = (account.id == first).then(|| block(Reason::QuotaExhausted, 60));
        Arc::new(changed)
    };
    let blocked = table(accounts.iter().map(ill).collect());
    let second = chooser.lease(&blocked).account().id.clone();
    assert_ne!(second, first);
    for _ in 0..50 {
        assert_eq!(chooser.lease(&blocked).account().id, second);
        assert_eq!(chooser.lease(&well).account().id, second);
    }
}

#[test]
fn a_lost_account_moves_only_its_own_conversations_and_a_new_one_takes_only_its_share() {
    for seed in 0..12_u64 {
        let mut rng = StdRng::seed_from_u64(seed);
        let accounts = crowd(rng.random_range(2..12), |index, s| s.weight = [1, 1, 4, 2][index % 4]);
        let gone = accounts.choose(&mut rng).unwrap().clone();
        let all = table(accounts.clone());
        let fewer = table(accounts.iter().filter(|account| account.id != gone.id).cloned().collect());
        let full = accounts.iter().map(|account| {
            let mut changed = Snapshot::clone(account);
            changed.max_concurrency = if account.id == gone.id { 0 } else { 16 };
            Arc::new(changed)
        });
        let full = table(full.collect());
        let strategy = *[Strategy::Balanced, Strategy::RoundRobin, Strategy::Random].choose(&mut rng).unwrap();
        let mut chooser = Chooser::new(strategy, seed);
        let mut moved = 0_u32;
        for key in 0..1_000 {
            let (home, refuge) = (chooser.home(&all, key), chooser.home(&fewer, key));
            assert!(home == refuge || home == gone.id, "seed {seed}, conversation {key}");
            assert_eq!(chooser.home(&full, key), refuge, "seed {seed}, conversation {key}: full is as good as gone");
            moved += u32::from(home != refuge);
        }
        // What a lost account had is what a new one takes.
        let weights: u32 = accounts.iter().map(|account| account.weight).sum();
        let share = 1_000.0 * f64::from(gone.weight) / f64::from(weights);
        assert!(
            (f64::from(moved) - share).abs() < 6.0 * share.sqrt(),
            "seed {seed}: {moved} for a share of {share:.0}"
        );
    }
}

#[test]
fn an_opening_keeps_to_one_account_while_all_are_idle_and_yields_to_load() {
    let accounts = crowd(4, |_, _| {});
    let (table, mut chooser) = (table(accounts), Chooser::new(Strategy::Balanced, 1));
    let home = chooser.home(&table, 7);
    chooser.ask.conversation = Some(Conversation { key: spread(7), bond: Bond::Loose });
    for _ in 0..20 {
        assert_eq!(chooser.lease(&table).account().id, home, "where its conversation will go on");
    }
    let held: Vec<_> = (0..4).map(|_| chooser.lease(&table)).collect();
    assert!(table.accounts.iter().all(|account| account.gauge.in_flight() == 1), "{held:?}");
}

#[test]
fn a_conversation_leaves_an_account_that_is_much_slower_than_its_peers_until_that_is_forgotten() {
    let accounts = crowd(4, |_, _| {});
    let (table, mut chooser) = (table(accounts.clone()), Chooser::new(Strategy::Balanced, 1));
    let home = chooser.home(&table, 1);
    let note = |chooser: &Chooser, account: &Arc<Snapshot>, millis, at| {
        let terms = Terms {
            model: model(SONNET),
            dialect: Dialect::Messages,
            is_probe: false,
            turn: None,
            shared: Arc::default(),
            now: NOW,
        };
        Lease::take(account, terms, &chooser.bell).unwrap().began(Duration::from_millis(millis), at);
    };
    let long_ago = NOW - Duration::from_mins(10);
    for account in &accounts {
        let slow = account.id == home;
        note(&chooser, account, if slow { 9_000 } else { 1_000 }, long_ago);
    }
    assert_eq!(chooser.home(&table, 1), home, "nobody knows how fast they are now");
    accounts.iter().filter(|a| a.id == home).for_each(|account| note(&chooser, account, 9_000, NOW));
    assert_eq!(chooser.home(&table, 1), home, "nobody knows whether it is slower than others");
    accounts.iter().filter(|a| a.id != home).for_each(|account| note(&chooser, account, 4_000, NOW));
    assert_eq!(chooser.home(&table, 1), home, "not much slower");
    for account in accounts.iter().filter(|account| account.id != home) {
        (0..20).for_each(|_| note(&chooser, account, 500, NOW));
    }
    let refuge = chooser.home(&table, 1);
    assert_ne!(refuge, home);
    let without: Vec<_> = accounts.iter().filter(|account| account.id != home).cloned().collect();
    for key in 0..500 {
        let was = chooser.home(&super::tests::table(without.clone()), key);
        let unslowed = chooser.home(&table, key);
        assert_eq!(unslowed, was, "as if the slow one were gone");
    }
}

/// A block of chance.
struct Drawn {
    seconds: u64,
    attempts: u32,
}

impl Drawn {
    fn build(&self) -> Block {
        Block { attempts: self.attempts, ..block(Reason::QuotaExhausted, self.seconds) }
    }
}

/// Whether what `choice` chose is blocked in the table in hand: said here once more, in other words.
fn is_forbidden(choice: &Choice<'_>) -> bool {
    let account = choice.account;
    let blocks = account.block.iter().chain(account.models.get(&choice.model));
    let (mut blocked, mut ended) = (false, false);
    for block in blocks {
        blocked |= NOW < block.until;
        ended |= NOW >= block.until;
    }
    blocked || !account.enabled || account.grant.is_none() || (ended && !choice.is_probe)
}

#[test]
fn nothing_is_chosen_that_the_table_shows_blocked_but_the_one_probe() {
    for seed in 0..1_000_u64 {
        let mut rng = StdRng::seed_from_u64(seed);
        let accounts: Vec<_> = (0..rng.random_range(1..8))
            .map(|index| {
                let mut some_block = || {
                    rng.random_bool(0.4)
                        .then(|| Drawn { seconds: rng.random_range(0..3), attempts: rng.random_range(1..4) })
                };
                let (whole, of_model) = (some_block(), some_block());
                let (enabled, granted) = (rng.random_bool(0.9), rng.random_bool(0.9));
                snapshot(&format!("n{index}"), |s| {
                    s.block = whole.map(|b| b.build());
                    s.models = Arc::new(of_model.map(|b| (model(SONNET), b.build())).into_iter().collect());
                    s.enabled = enabled;
                    s.grant = granted.then(|| grant(NOW + Duration::from_hours(1)));
                    s.max_concurrency = 3;
                })
            })
            .collect();
        let table = table(accounts.clone());
        let strategy = *Strategy::ALL.choose(&mut rng).unwrap();
        let mut chooser = Chooser::new(strategy, seed);
        let mut held = Vec::new();
        for key in 0..20 {
            let firm = Conversation { key: spread(key), bond: Bond::Firm };
            chooser.ask.conversation = rng.random_bool(0.5).then_some(firm);
            let Ok(choice) = chooser.choose(&table) else { continue };
            assert!(!is_forbidden(&choice), "seed {seed}: {choice:?}");
            held.push(choice.take(&chooser.bell).unwrap());
        }
        for account in &accounts {
            let leases = held.iter().filter(|lease| lease.account().id == account.id).count();
            let doubtful = account.standing(&model(SONNET), NOW) == Standing::Unproven;
            assert!(leases <= if doubtful { 1 } else { 3 }, "seed {seed}: {leases} on {account:?}");
        }
    }
}
