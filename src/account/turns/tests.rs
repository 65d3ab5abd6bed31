use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::*;
use crate::account::api::tests::NOW;
use crate::domain::fault::{Hold, Reason};

const HOLD: Duration = Duration::from_mins(1);

fn account(number: u64) -> AccountId {
    AccountId::from_text(&format!("acct_{number:04}"))
}

fn throttled() -> Verdict {
    let (scope, reason) = (Scope::Instance, Reason::InstanceThrottled);
    Verdict::of(&Fault { scope, reason, hold: Hold::For(HOLD), curable: true })
}

fn rng() -> StdRng {
    StdRng::seed_from_u64(0)
}

/// Gives `number` a turn, which is to be there at once, and ends it with `verdict`.
fn call(turns: &mut Turns, number: u64, verdict: &Verdict, now: Timestamp) -> Vec<(AccountId, Block)> {
    turns.ask(account(number), Urgency::Waited, now).unwrap();
    assert_eq!(turns.next(now), Some(account(number)));
    turns.refill();
    turns.ended(&account(number), verdict, now, &mut rng())
}

#[test]
fn a_thousand_accounts_that_start_at_once_all_get_their_turn_and_never_more_than_four_at_a_time() {
    for seed in 0..20 {
        let rng = &mut StdRng::seed_from_u64(seed);
        let mut turns = Turns::default();
        (0..1_000).for_each(|number| turns.ask(account(number), Urgency::Timer, NOW).unwrap());
        let (mut out, mut had, mut refills) = (Vec::new(), BTreeSet::new(), 0);
        while had.len() < 1_000 {
            while let Some(next) = turns.next(NOW) {
                assert!(had.insert(next.clone()), "seed {seed}: {next} twice");
                out.push(next);
            }
            assert!(out.len() <= 4, "seed {seed}: {} at a time", out.len());
            assert!(had.len() <= 5 + refills, "seed {seed}: {} calls in {refills} refills", had.len());
            if !out.is_empty() && rng.random_bool(0.7) {
                let ended = out.swap_remove(rng.random_range(0..out.len()));
                turns.ended(&ended, &Verdict::Answered, NOW, rng);
            } else {
                refills += 1;
                turns.refill();
            }
        }
    }
}

#[test]
fn who_is_waited_for_comes_first_and_finds_room_that_timers_leave() {
    let mut turns = Turns::default();
    (0..100).for_each(|number| turns.ask(account(number), Urgency::Timer, NOW).unwrap());
    while turns.next(NOW).is_some() {}
    // A request comes for one that has waited in vain.
    turns.ask(account(50), Urgency::Waited, NOW).unwrap();
    assert_eq!(turns.next(NOW), Some(account(50)));
    turns.ask(account(200), Urgency::Operator, NOW).unwrap();
    turns.ask(account(201), Urgency::Listing, NOW).unwrap();
    turns.ask(account(202), Urgency::Waited, NOW).unwrap();
    assert_eq!([turns.next(NOW), turns.next(NOW), turns.next(NOW)], [Some(account(200)), Some(account(202)), None]);
}

#[test]
fn even_those_who_are_waited_for_are_eight_at_a_time() {
    let mut turns = Turns::default();
    (0..100).for_each(|number| turns.ask(account(number), Urgency::Waited, NOW).unwrap());
    let mut given = 0;
    for _ in 0..100 {
        turns.refill();
        given += usize::from(turns.next(NOW).is_some());
    }
    assert_eq!(given, 8);
}

#[test]
fn asking_again_neither_doubles_a_place_nor_lowers_it() {
    let mut turns = Turns::default();
    for urgency in [Urgency::Listing, Urgency::Waited, Urgency::Timer, Urgency::Waited] {
        turns.ask(account(1), urgency, NOW).unwrap();
    }
    turns.ask(account(2), Urgency::Timer, NOW).unwrap();
    assert_eq!([turns.next(NOW), turns.next(NOW), turns.next(NOW)], [Some(account(1)), Some(account(2)), None]);
}

#[test]
fn one_account_that_is_throttled_twice_says_nothing_about_the_instance() {
    let mut turns = Turns::default();
    for _ in 0..2 {
        assert_eq!(call(&mut turns, 1, &throttled(), NOW), []);
    }
    call(&mut turns, 1, &Verdict::Answered, NOW);
    assert_eq!(call(&mut turns, 1, &throttled(), NOW), []);
    assert!(turns.pause().is_none());
}

#[test]
fn two_accounts_or_three_calls_in_a_row_are_believed() {
    let mut two = Turns::default();
    call(&mut two, 1, &throttled(), NOW);
    two.ask(account(3), Urgency::Timer, NOW).unwrap();
    two.ask(account(4), Urgency::Operator, NOW).unwrap();
    assert_eq!(two.next(NOW), Some(account(4)));
    let left = two.ended(&account(4), &throttled(), NOW, &mut rng());
    assert_eq!(left.len(), 1, "who waits in the queue is told: {left:?}");
    assert_eq!((left[0].0.clone(), left[0].1.reason), (account(3), Reason::InstanceThrottled));
    let mut three = Turns::default();
    (0..3).for_each(|_| drop(call(&mut three, 1, &throttled(), NOW)));
    for turns in [&mut two, &mut three] {
        let refused = turns.ask(account(5), Urgency::Waited, NOW).unwrap_err();
        assert!((HOLD..=HOLD * 11 / 10).contains(&refused.until.since(NOW)));
    }
}

#[test]
fn a_refusal_of_one_account_is_an_answer_of_a_healthy_instance() {
    let mut turns = Turns::default();
    let refused = Fault { scope: Scope::Account, reason: Reason::NotEntitled, hold: Hold::UntilFixed, curable: true };
    for number in 0..10 {
        call(&mut turns, number, &Verdict::of(&refused), NOW);
    }
    assert!(turns.pause().is_none());
}

#[test]
fn after_a_pause_one_call_tells_whether_the_instance_is_well() {
    let mut turns = Turns::default();
    call(&mut turns, 1, &throttled(), NOW);
    call(&mut turns, 2, &throttled(), NOW);
    let now = turns.pause().unwrap().until;
    (3..10).for_each(|number| turns.ask(account(number), Urgency::Waited, now).unwrap());
    let probe = turns.next(now).unwrap();
    assert_eq!(turns.next(now), None, "one at a time");
    assert_eq!(turns.ended(&probe, &throttled(), now, &mut rng()).len(), 6, "the others are told");
    let later = turns.pause().unwrap().until;
    assert!(later > now);
    call(&mut turns, 3, &Verdict::Answered, later);
    assert!(turns.pause().is_none());
    (4..8).for_each(|number| turns.ask(account(number), Urgency::Waited, later).unwrap());
    assert!(turns.next(later).is_some() && turns.next(later).is_some());
}

#[test]
fn a_person_is_not_kept_waiting_by_a_pause() {
    let mut turns = Turns::default();
    call(&mut turns, 1, &throttled(), NOW);
    call(&mut turns, 2, &throttled(), NOW);
    turns.ask(account(3), Urgency::Operator, NOW).unwrap();
    assert_eq!(turns.next(NOW), Some(account(3)));
}

#[test]
fn a_clock_that_was_set_back_does_not_leave_the_instance_alone_for_hours() {
    let mut turns = Turns::default();
    call(&mut turns, 1, &throttled(), NOW);
    call(&mut turns, 2, &throttled(), NOW);
    let earlier = NOW - Duration::from_hours(24);
    turns.ask(account(3), Urgency::Timer, earlier).unwrap();
    assert_eq!(turns.next(earlier), Some(account(3)));
}
