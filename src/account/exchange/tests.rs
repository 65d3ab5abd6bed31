use std::time::Duration;

use rand::SeedableRng;
use rand::rngs::StdRng;

use super::*;
use crate::account::api::tests::NOW;
use crate::domain::secret::Secret;

fn pair() -> OAuthPair {
    OAuthPair {
        access_token: Secret::new("a".to_owned()),
        refresh_token: Some(Secret::new("r".to_owned())),
        expires_at: NOW + Duration::from_hours(2),
        obtained_at: NOW,
        scopes: Vec::new(),
    }
}

fn fault() -> Fault {
    Fault { scope: Scope::Instance, reason: Reason::InstanceUnreachable, hold: Hold::Backoff, curable: true }
}

/// Says `heard` one after the other, and returns the orders.
fn orders(heard: Vec<Heard>) -> Vec<Option<Order>> {
    let rng = &mut StdRng::seed_from_u64(0);
    let (mut attempt, first) = Attempt::begin();
    std::iter::once(Some(first)).chain(heard.into_iter().map(|heard| attempt.step(heard, NOW, rng))).collect()
}

#[test]
fn it_is_noted_then_asked_then_kept_and_only_then_done() {
    let all = orders(vec![Heard::Noted { new: true }, Heard::Issued(pair()), Heard::Kept]);
    assert_eq!(all, [Some(Order::Note), Some(Order::Ask), Some(Order::Keep(pair())), Some(Order::Done(pair()))]);
}

#[test]
fn nothing_is_asked_that_could_not_be_noted() {
    let all = orders(vec![Heard::NotNoted, Heard::Again, Heard::Noted { new: true }]);
    assert_eq!(all[1], Some(Order::End(Ended::Refused(unstored()))));
    assert_eq!(all[2..], [None, None]);
}

#[test]
fn a_pair_is_kept_until_it_is_on_disk_however_often_that_fails() {
    let mut heard = vec![Heard::Noted { new: true }, Heard::Issued(pair())];
    for _ in 0..1_000 {
        heard.extend([Heard::NotKept, Heard::Again]);
    }
    heard.push(Heard::Kept);
    let all = orders(heard);
    for (index, order) in all.iter().enumerate().skip(2) {
        match order {
            Some(Order::Keep(kept) | Order::Done(kept)) => assert_eq!(*kept, pair()),
            Some(Order::TryLater(block)) => assert!(block.until.since(NOW) <= Duration::from_mins(5), "{index}"),
            other => panic!("{index}: {other:?}"),
        }
    }
    assert_eq!(all.last(), Some(&Some(Order::Done(pair()))));
}

#[test]
fn a_refusal_takes_its_own_note_back_and_no_older_one() {
    for end in [Ended::InvalidGrant, Ended::Refused(fault())] {
        let own = orders(vec![Heard::Noted { new: true }, Heard::NotIssued(end.clone()), Heard::Forgotten]);
        assert_eq!(own[2..], [Some(Order::Forget), Some(Order::End(end.clone()))]);
        let older = orders(vec![Heard::Noted { new: false }, Heard::NotIssued(end.clone())]);
        assert_eq!(older[2], Some(Order::End(end)));
    }
}

#[test]
fn an_outcome_that_nobody_knows_keeps_its_note() {
    let all = orders(vec![Heard::Noted { new: true }, Heard::NotIssued(Ended::Unknown(fault()))]);
    assert_eq!(all[2], Some(Order::End(Ended::Unknown(fault()))));
}

#[test]
fn what_belongs_to_another_step_changes_nothing() {
    let all = orders(vec![Heard::Kept, Heard::Noted { new: true }, Heard::Again, Heard::Issued(pair()), Heard::Kept]);
    assert_eq!(all[1], None);
    assert_eq!(all[3], None);
    assert_eq!(all[5], Some(Order::Done(pair())));
}
