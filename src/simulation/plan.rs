//! What a seed means: how many accounts, which troubles, how much traffic.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, RngExt};

use super::truth::{MODELS, Outage, Trouble, User, instance_url};
use crate::domain::id::AccountId;
use crate::domain::strategy::Strategy;

/// How the accounts are to fare.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mood {
    /// Nothing happens.
    Calm,
    /// Operators come and go, and nothing else happens.
    Churn,
    /// Everything may happen.
    Storm,
}

/// The course of one run.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) mood: Mood,
    /// Everybody who is ever pooled; the first of them from the start.
    pub(super) users: Vec<User>,
    pub(super) pooled: usize,
    pub(super) strategy: Strategy,
    pub(super) workers: usize,
    pub(super) queue_places: usize,
    pub(super) queue_time: Duration,
    /// How long troubles come and go; afterwards everything is well and must become so.
    pub(super) span: Duration,
    pub(super) requests: u32,
    /// How often an account looks at the clock.
    pub(super) tick: Duration,
    pub(super) troubles: Vec<(Duration, Duration, Trouble)>,
    /// When operators do something, and when the server is started anew.
    pub(super) operations: Vec<Duration>,
    pub(super) restarts: Vec<Duration>,
}

impl Plan {
    pub(super) fn draw(rng: &mut StdRng) -> Self {
        let mood = match rng.random_range(0..100) {
            0 => Mood::Calm,
            1..12 => Mood::Churn,
            _ => Mood::Storm,
        };
        let pooled = match rng.random_range(0..200) {
            _ if mood == Mood::Calm => rng.random_range(2..=5),
            0..60 => rng.random_range(1..=2),
            60..170 => rng.random_range(2..=5),
            170..198 => rng.random_range(6..=14),
            _ => rng.random_range(20..=200),
        };
        let everybody = pooled + rng.random_range(0..3);
        let elsewhere = rng.random_bool(0.3);
        let user = |user: usize| {
            let instance = usize::from(elsewhere && rng.random_bool(0.5));
            let id = AccountId::of(&instance_url(instance), user as u64);
            User { id, instance, revoked: 0, oauth: rng.random_bool(0.3), root: rng.random_range(0..2) }
        };
        let users: Vec<User> = (0..everybody).map(user).collect();
        let minutes = if pooled > 14 { 10 } else { *[5, 15, 40, 120, 300].choose(rng).unwrap() };
        let span = Duration::from_mins(minutes);
        let requests = match mood {
            // Enough for shares to show.
            Mood::Calm => 1_500,
            Mood::Churn | Mood::Storm if pooled > 14 => 40,
            Mood::Churn | Mood::Storm => rng.random_range(20..90),
        };
        let moments = |rng: &mut StdRng, most: u32| {
            let number = rng.random_range(0..=most);
            (0..number).map(|_| span.mul_f64(rng.random_range(0.0..1.0))).collect::<Vec<_>>()
        };
        let storm = mood == Mood::Storm;
        let most = if storm { 8 } else { 0 };
        let starts = moments(rng, most);
        let troubles = starts.into_iter().map(|start| {
            let share: f64 = rng.random_range(0.0..1.0);
            (start, span.saturating_sub(start).mul_f64(share * share), trouble(everybody, rng))
        });
        let troubles = troubles.collect();
        Self {
            mood,
            pooled,
            strategy: *Strategy::ALL.choose(rng).unwrap(),
            workers: rng.random_range(1..=3),
            queue_places: *[0, 2, 8, 64].choose(rng).unwrap(),
            queue_time: Duration::from_secs(*[5, 30].choose(rng).unwrap()),
            span,
            requests,
            tick: (span / 150).max(Duration::from_secs(1)),
            troubles,
            operations: if mood == Mood::Calm { Vec::new() } else { moments(rng, 6) },
            restarts: if storm && rng.random_bool(0.4) { moments(rng, 2) } else { Vec::new() },
            users,
        }
    }
}

fn trouble(users: usize, rng: &mut impl Rng) -> Trouble {
    let user = rng.random_range(0..users);
    let (instance, gateway) = (usize::from(rng.random_bool(0.2)), usize::from(rng.random_bool(0.2)));
    let outage = *[Outage::Silent, Outage::Error, Outage::Page].choose(rng).unwrap();
    match rng.random_range(0..16) {
        0..3 => Trouble::Credit { user, model: Some(rng.random_range(0..MODELS.len())) },
        3..5 => Trouble::Credit { user, model: None },
        5 if rng.random_bool(0.4) => Trouble::Shut { instance, root: rng.random_range(0..2) },
        5 => Trouble::Seat { user },
        6 => Trouble::Token { user },
        7 => Trouble::Grants { user },
        8 => Trouble::Mint { user },
        9 => Trouble::Slow { user },
        10 => Trouble::Instance { instance, outage },
        11 => Trouble::Throttled { instance },
        12 => Trouble::Gateway { gateway, outage },
        13 => Trouble::Quota { gateway },
        14 => {
            let status = *[429, 500, 529].choose(rng).unwrap();
            Trouble::Provider { gateway, anthropic: rng.random_bool(0.7), status }
        }
        _ if rng.random_bool(0.3) => Trouble::Host,
        _ => Trouble::Breaks { percent: rng.random_range(5..60) },
    }
}
