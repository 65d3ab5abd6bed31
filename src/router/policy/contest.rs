//! Who wins among accounts that could serve alike: affinity first, then the strategy.

use std::cmp::Ordering;
use std::sync::Arc;

use rand::{Rng, RngExt};

use crate::account::api::Snapshot;
use crate::domain::conversation::{Bond, Conversation};
use crate::domain::model::{Dialect, ModelName};
use crate::domain::strategy::Strategy;
use crate::domain::time::Timestamp;
use crate::trace::Decider;

/// An account is much slower than its peers when its first content takes this many times as long as theirs …
const SLOW_TIMES: u64 = 3;
/// … and this much longer, in milliseconds: what nobody notices does not move a conversation.
const SLOW_LEAST_MS: u64 = 2_000;
/// How far an account of weight 1 goes in one turn; one of weight 3 goes a third of that, and so comes three times as
/// often. Large, so that shares are exact for every weight, and small enough to count turns for centuries.
const TURN: u64 = 1 << 24;

/// What decides among accounts of one tier.
#[derive(Clone, Copy, Debug)]
pub(super) enum Rule {
    /// The account that the conversation belongs to.
    Affinity(u64),
    /// The least loaded, and among equals the one that the conversation belongs to, else chance.
    Balanced(Option<u64>),
    /// As that, among accounts of different weights: whoever has less for its weight than anybody would have with one
    /// more, and among these whose turn it is. The least loaded alone would not do: an account of weight 1 has nothing to
    /// do most of the time, and would get much more than its share while few requests are in flight.
    Weighted(Option<u64>, Level),
    RoundRobin,
    FillFirst,
    Random,
}

impl Rule {
    /// Affinity comes first where a conversation is surely one. Where one account serves until it is blocked, that keeps
    /// conversations together as well as can be, and spreading them would be against it.
    pub(super) fn of(strategy: Strategy, conversation: Option<Conversation>) -> Self {
        match (strategy, conversation) {
            (Strategy::FillFirst, _) => Self::FillFirst,
            (_, Some(Conversation { key, bond: Bond::Firm })) => Self::Affinity(key),
            (Strategy::Balanced, loose) => Self::Balanced(loose.map(|conversation| conversation.key)),
            (Strategy::RoundRobin, _) => Self::RoundRobin,
            (Strategy::Random, _) => Self::Random,
        }
    }
}

/// Requests in flight for a weight.
#[derive(Clone, Copy, Debug)]
pub(super) struct Level {
    load: u64,
    weight: u64,
}

impl Level {
    fn of(load: u64, weight: u64) -> Self {
        Self { load, weight }
    }

    /// Compares without a division.
    fn order(self, other: Self) -> Ordering {
        (self.load * other.weight).cmp(&(other.load * self.weight))
    }
}

/// An account that could serve, and how.
#[derive(Clone, Copy)]
pub(super) struct Contender<'a, 'b> {
    pub(super) account: &'a Arc<Snapshot>,
    pub(super) model: &'b ModelName,
    pub(super) dialect: Dialect,
    /// Whether it would be the one request that tries the account out.
    pub(super) is_probe: bool,
    /// Whether others found what it shares with them wanting; it is the last resort.
    pub(super) against_opinion: bool,
}

/// An account with all that is compared, read once: others change it meanwhile.
#[derive(Clone, Copy)]
struct Entry<'a, 'b> {
    contender: Contender<'a, 'b>,
    load: u64,
    /// Where the conversation's hash puts it.
    place: u64,
    turn: u64,
    pace_ms: Option<u32>,
}

/// The contest so far: what is worth keeping of those in the highest tier.
pub(super) struct Contest<'a, 'b> {
    rule: Rule,
    now: Timestamp,
    /// Accounts that take longer are not looked at, in milliseconds.
    pace_max_ms: Option<u64>,
    best: Option<Entry<'a, 'b>>,
    /// Weights of the accounts that are as good as the best one, with it.
    equals: u64,
    /// The turn of the one that comes after the best one.
    runner_up: Option<u64>,
    /// The lowest level that one more request would bring an account to, and whether weights differ.
    next_level: Option<Level>,
    weights_differ: bool,
    /// Sum and number of known paces.
    paces: (u64, u64),
    /// The latest turn of any account, and of those that are well but stand aside.
    latest: u64,
    latest_aside: u64,
}

impl<'a, 'b> Contest<'a, 'b> {
    pub(super) fn new(rule: Rule, now: Timestamp) -> Self {
        Self {
            rule,
            now,
            pace_max_ms: None,
            best: None,
            equals: 0,
            runner_up: None,
            next_level: None,
            weights_differ: false,
            paces: (0, 0),
            latest: 0,
            latest_aside: 0,
        }
    }

    /// Returns the contest to be held after this one, now that all who take part are known.
    pub(super) fn next(&self) -> Option<Self> {
        match (self.rule, self.next_level) {
            (Rule::Affinity(_), _) => {
                self.too_slow().map(|most| Self { pace_max_ms: Some(most), ..Self::new(self.rule, self.now) })
            }
            (Rule::Balanced(key), Some(level)) if self.weights_differ => {
                Some(Self::new(Rule::Weighted(key, level), self.now))
            }
            _ => None,
        }
    }

    /// Takes note of an account that is there but cannot serve now, for strategies that have an order.
    pub(super) fn absent(&mut self, account: &Snapshot, is_aside: bool) {
        if matches!(self.rule, Rule::FillFirst) {
            let turn = account.gauge.turn();
            self.latest = self.latest.max(turn);
            if is_aside {
                self.latest_aside = self.latest_aside.max(turn);
            }
        }
    }

    /// Lets an account take part.
    pub(super) fn enter(&mut self, contender: Contender<'a, 'b>, rng: &mut impl Rng) {
        let entry = self.read(contender);
        let weight = u64::from(contender.account.weight);
        self.latest = self.latest.max(entry.turn);
        let pace = entry.pace_ms.map(u64::from);
        let too_slow = pace.zip(self.pace_max_ms).is_some_and(|(pace, most)| pace > most);
        let own = Level::of(entry.load, weight);
        let too_loaded = matches!(self.rule, Rule::Weighted(_, level) if own.order(level) != Ordering::Less);
        if too_slow || too_loaded {
            return;
        }
        let order = self.best.as_ref().map_or(Ordering::Greater, |best| by_tier(&contender, &best.contender));
        if order == Ordering::Less {
            return;
        }
        if order == Ordering::Greater {
            (self.equals, self.runner_up, self.paces) = (0, None, (0, 0));
            (self.next_level, self.weights_differ) = (None, false);
        }
        let more = Level::of(entry.load + 1, weight);
        self.weights_differ |= self.next_level.is_some_and(|level| level.weight != weight);
        self.next_level = self.next_level.filter(|level| level.order(more) != Ordering::Greater).or(Some(more));
        if let Some(pace) = pace {
            self.paces = (self.paces.0 + pace, self.paces.1 + 1);
        }
        let before = self.best.filter(|_| order == Ordering::Equal);
        let wins = match before.map(|best| compare(self.rule, &entry, &best)) {
            None | Some(Ordering::Greater) => {
                self.equals = weight;
                true
            }
            Some(Ordering::Less) => false,
            Some(Ordering::Equal) if self.keeps_the_first() => false,
            Some(Ordering::Equal) => {
                self.equals += weight;
                rng.random_range(0..self.equals) < weight
            }
        };
        let behind = if wins { before.map(|best| best.turn) } else { Some(entry.turn) };
        self.runner_up = self.runner_up.into_iter().chain(behind).min();
        if wins {
            self.best = Some(entry);
        }
    }

    fn read(&self, contender: Contender<'a, 'b>) -> Entry<'a, 'b> {
        let (gauge, id) = (&contender.account.gauge, contender.account.id.as_str());
        let mut entry = Entry { contender, load: 0, place: 0, turn: 0, pace_ms: None };
        match self.rule {
            Rule::Affinity(key) => {
                (entry.place, entry.pace_ms) = (place(key, id), gauge.pace_ms(self.now));
            }
            Rule::Balanced(key) | Rule::Weighted(key, _) => {
                entry.load = u64::from(gauge.in_flight());
                entry.place = key.map_or(0, |key| place(key, id));
                entry.turn = gauge.turn();
            }
            Rule::RoundRobin | Rule::FillFirst => entry.turn = gauge.turn(),
            Rule::Random => {}
        }
        entry
    }

    /// Those of an order are taken by it, not by chance: all workers are to come to the same one. And where another
    /// contest follows, there is nothing to decide yet.
    fn keeps_the_first(&self) -> bool {
        match self.rule {
            Rule::RoundRobin | Rule::FillFirst => true,
            Rule::Balanced(_) => self.weights_differ,
            Rule::Affinity(_) | Rule::Weighted(..) | Rule::Random => false,
        }
    }

    /// Returns who has won.
    pub(super) fn winner(&self) -> Option<Contender<'a, 'b>> {
        self.best.map(|best| best.contender)
    }

    /// Returns what has decided.
    pub(super) fn decider(&self) -> Decider {
        match self.rule {
            Rule::Affinity(_) => Decider::Conversation,
            Rule::Balanced(_) => Decider::Load,
            Rule::Weighted(..) => Decider::Share,
            Rule::RoundRobin => Decider::Turn,
            Rule::FillFirst => Decider::InUse,
            Rule::Random => Decider::Chance,
        }
    }

    /// Returns the longest pace that is still no reason to go elsewhere, if the winner's is longer.
    fn too_slow(&self) -> Option<u64> {
        let own = u64::from(self.best?.pace_ms?);
        let (sum, number) = (self.paces.0 - own, self.paces.1 - 1);
        let others = sum.checked_div(number)?;
        let most = (others * SLOW_TIMES).max(others + SLOW_LEAST_MS);
        (own > most).then_some(most)
    }

    /// Returns where the winner stands in the strategy's order once it is taken, if that is somewhere else.
    pub(super) fn next_turn(&self) -> Option<u64> {
        let best = self.best?;
        match self.rule {
            Rule::Affinity(_) | Rule::Balanced(_) | Rule::Weighted(Some(_), _) | Rule::Random => None,
            Rule::RoundRobin | Rule::Weighted(None, _) => {
                // One that was away does not make up for all its absence.
                let least = self.runner_up.map_or(best.turn, |turn| turn.saturating_sub(TURN));
                let step = (TURN / u64::from(best.contender.account.weight)).max(1);
                Some(best.turn.max(least).saturating_add(step))
            }
            Rule::FillFirst => {
                // The one in use has the latest turn. While that only stands aside, others help out and it stays the one.
                let stays = self.latest > 0 && (best.turn == self.latest || self.latest_aside == self.latest);
                (!stays).then(|| self.latest + 1)
            }
        }
    }
}

/// Orders an account against the best one so far: first those that nothing speaks against, then those that may draw on
/// credits that are there, then by tier.
fn by_tier(one: &Contender<'_, '_>, best: &Contender<'_, '_>) -> Ordering {
    let rank = |one: &Contender<'_, '_>| (!one.against_opinion, !one.account.hinted, one.account.priority);
    rank(one).cmp(&rank(best))
}

/// Orders two accounts of one tier; greater is better.
fn compare(rule: Rule, one: &Entry<'_, '_>, other: &Entry<'_, '_>) -> Ordering {
    match rule {
        Rule::Affinity(_) | Rule::Weighted(Some(_), _) => nearer(one, other),
        Rule::Balanced(key) => {
            let by_load = level(other).order(level(one));
            if key.is_some() { by_load.then_with(|| nearer(one, other)) } else { by_load }
        }
        Rule::RoundRobin | Rule::Weighted(None, _) => other.turn.cmp(&one.turn),
        Rule::FillFirst => one.turn.cmp(&other.turn),
        Rule::Random => Ordering::Equal,
    }
}

fn level(entry: &Entry<'_, '_>) -> Level {
    Level::of(entry.load, u64::from(entry.contender.account.weight))
}

/// Orders by weighted rendezvous hashing: each account draws `-weight / ln(u)` for the conversation, and the highest
/// draw has it. A draw depends on nobody else, so an account that leaves moves only what it had, and one that comes
/// takes only its share.
fn nearer(one: &Entry<'_, '_>, other: &Entry<'_, '_>) -> Ordering {
    if one.contender.account.weight == other.contender.account.weight {
        return one.place.cmp(&other.place);
    }
    let draw = |entry: &Entry<'_, '_>| draw(entry.place, entry.contender.account.weight);
    draw(one).total_cmp(&draw(other))
}

#[expect(clippy::cast_precision_loss, reason = "the upper 53 bits are what a float holds exactly")]
fn draw(place: u64, weight: u32) -> f64 {
    let uniform = ((place >> 11) as f64 + 0.5) / (1_u64 << 53) as f64;
    -f64::from(weight) / uniform.ln()
}

/// Returns at which of `accounts`, as ids and weights, the conversation `key` is at home if all of them can serve.
pub(crate) fn at_home<'a>(key: u64, accounts: impl Iterator<Item = (&'a str, u32)>) -> Option<&'a str> {
    let draws = accounts.map(|(id, weight)| (id, draw(place(key, id), weight)));
    draws.max_by(|(_, one), (_, other)| one.total_cmp(other)).map(|(id, _)| id)
}

/// Mixes a conversation with an account's id.
fn place(key: u64, id: &str) -> u64 {
    // A random odd number, as multiplicative hashing wants.
    const SPREAD: u64 = 0x9E37_79B9_7F4A_7C15;
    let folded = id.as_bytes().chunks(8).fold(0_u64, |folded, chunk| {
        let mut word = [0; 8];
        word[..chunk.len()].copy_from_slice(chunk);
        (folded.rotate_left(5) ^ u64::from_le_bytes(word)).wrapping_mul(SPREAD)
    });
    // The finish of SplitMix64: every bit of both sides reaches every bit of the place.
    let mixed = key.wrapping_add(folded);
    let mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ (mixed >> 31)
}
