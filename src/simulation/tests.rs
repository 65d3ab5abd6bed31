//! Runs of many seeds, and of one.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use super::world::{World, ending};
use crate::domain::catalogue::Catalogue;

/// How many seeds are played where nothing else is said.
const RUNS: u64 = 1_000;
/// How many more failing seeds are told of.
const OTHERS: usize = 12;

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} is not a number: {text}")))
}

/// Plays a seed; where that ends in a panic, which was printed by then, there is no story.
fn play(seed: u64, catalogue: &Arc<Catalogue>, story: bool) -> (Vec<String>, Option<String>) {
    let played = catch_unwind(AssertUnwindSafe(|| World::play(seed, catalogue, story)));
    played.unwrap_or_else(|_| (Vec::new(), Some("a panic".to_owned())))
}

/// `DUOPOOL_SIMULATE_RUNS` says how many seeds; `DUOPOOL_SIMULATE_SEED` plays one alone and prints its whole story.
#[test]
fn whatever_happens_the_choice_keeps_its_promises() {
    let catalogue = Arc::new(Catalogue::builtin().unwrap());
    if let Some(seed) = number("DUOPOOL_SIMULATE_SEED") {
        let (story, broken) = play(seed, &catalogue, true);
        println!("{}", story.join("\n"));
        assert!(broken.is_none(), "seed {seed}: {}", broken.unwrap_or_default());
        return;
    }
    let runs = number("DUOPOOL_SIMULATE_RUNS").unwrap_or(RUNS);
    let mut broken = (0..runs).filter_map(|seed| Some((seed, play(seed, &catalogue, false).1?)));
    let Some((seed, what)) = broken.next() else { return };
    let (story, _) = play(seed, &catalogue, true);
    let others: Vec<_> = broken.take(OTHERS).map(|(seed, what)| format!("also seed {seed}: {what:.300}")).collect();
    let again = format!("scripts/simulate-choice --seed {seed}");
    let (ending, others) = (ending(&story), others.join("\n"));
    panic!("{ending}\n\n{others}\n\nseed {seed}: {what}\nto play it again: {again}");
}
