//! Calls to GitLab: one at a time, each in its turn, each with the login of its day.

use super::*;
use crate::domain::oauth::{OAuthApp, OAuthPair};

/// A pair of tokens with this number, handed out at `at` and good for two hours.
pub(super) fn pair(number: u64, at: Timestamp) -> OAuthPair {
    OAuthPair {
        access_token: Secret::new(format!("access-{number}")),
        refresh_token: Some(Secret::new(format!("refresh-{number}"))),
        expires_at: at + 2 * HOUR,
        obtained_at: at,
        scopes: Vec::new(),
    }
}

pub(super) fn terms_of(number: u64, at: Timestamp) -> Terms {
    let app = OAuthApp { client_id: "app".to_owned(), client_secret: None, redirect_uri: None };
    Terms::of(&Credential::OAuth { app, pair: pair(number, at) }, generation(number))
}

/// An account with pair 1, of [`NOW`], that minted grant 1.
fn oauth(rng: &mut StdRng) -> State {
    let credentials = Credentials::new(&terms_of(1, NOW), false, NOW, rng);
    let mut state = State::new(credentials, (Generation::default(), None), Memory::default(), NOW, rng);
    assert_eq!(act(&mut state, Event::Tick, NOW, rng), [Effect::Mint, Effect::Publish]);
    act(&mut state, Event::Minted(generation(1), grant(1, NOW + HOUR)), NOW, rng);
    assert_eq!(act(&mut state, Event::Tick, NOW, rng), [Effect::Discover]);
    act(&mut state, Event::Discovered(generation(1)), NOW, rng);
    state
}

fn unauthorized() -> Fault {
    fault(Scope::Account, Reason::TokenInvalid, Hold::UntilFixed)
}

fn stored(number: u64, at: Timestamp) -> Ended {
    Ended::Stored(terms_of(number, at))
}

#[test]
fn a_mint_waits_for_the_exchange_of_an_access_token_that_has_ended_and_so_do_those_who_wait_for_it() {
    let rng = &mut rng(0);
    let mut state = oauth(rng);
    let now = NOW + 3 * HOUR;
    let effects = act(&mut state, Event::RenewalWanted(Some(generation(1))), now, rng);
    assert_eq!(effects, [Effect::Exchange, Effect::Publish]);
    for _ in 0..3 {
        assert_eq!(act(&mut state, Event::RenewalWanted(Some(generation(1))), now, rng), []);
        assert_eq!(act(&mut state, Event::Tick, now, rng), []);
    }
    let effects = act(&mut state, Event::Exchanged(generation(1), stored(2, now)), now, rng);
    assert_eq!(effects, [Effect::Publish, Effect::Mint, Effect::Publish]);
    let effects = act(&mut state, Event::Minted(generation(2), grant(2, now + HOUR)), now, rng);
    assert_eq!(effects, [Effect::Publish, Effect::Answer(Ok(generation(2)))]);
}

#[test]
fn an_idle_account_is_renewed_as_well() {
    let rng = &mut rng(0);
    let mut state = oauth(rng);
    let (mut now, mut number, mut serial) = (NOW, 1, 1);
    while now < NOW + 24 * HOUR {
        for effect in act(&mut state, Event::Tick, now, rng) {
            match effect {
                Effect::Exchange => {
                    number += 1;
                    act(&mut state, Event::Exchanged(generation(number - 1), stored(number, now)), now, rng);
                }
                Effect::Mint => {
                    serial += 1;
                    act(&mut state, Event::Minted(generation(number), grant(serial, now + HOUR)), now, rng);
                }
                Effect::Discover => drop(act(&mut state, Event::Discovered(generation(number)), now, rng)),
                _ => {}
            }
        }
        assert!(state.grant().unwrap().is_usable(now));
        now = now + SECOND;
    }
    assert!((13..=16).contains(&number), "{number} pairs in a day");
}

#[test]
fn while_the_login_is_in_trouble_a_good_grant_serves() {
    let rng = &mut rng(0);
    let mut state = oauth(rng);
    let mut now = NOW + 2 * HOUR;
    act(&mut state, logged_in_with(1, 2, NOW + 8 * HOUR), NOW, rng);
    act(&mut state, Event::Discovered(generation(1)), NOW, rng);
    while !state.credentials().needs_login() {
        let due = first(&mut state, &Effect::Exchange, now, HOUR, rng).unwrap();
        act(&mut state, Event::Exchanged(generation(1), Ended::InvalidGrant), due, rng);
        now = due;
        assert!(state.grant().unwrap().is_usable(now));
        assert!(state.block().is_none());
    }
    assert_eq!(state.trouble().unwrap().reason, Reason::LoginEnded);
}

fn logged_in_with(login: u64, number: u64, end: Timestamp) -> Event {
    Event::LoggedIn(terms_of(login, NOW), grant(number, end))
}

#[test]
fn a_401_on_an_old_token_is_answered_by_one_exchange_and_a_mint_with_the_new_one() {
    let rng = &mut rng(0);
    let mut state = oauth(rng);
    let now = NOW + 30 * MINUTE;
    assert_eq!(act(&mut state, Event::RenewalWanted(None), now, rng), [Effect::Mint, Effect::Publish]);
    let effects = act(&mut state, Event::MintFailed(generation(1), unauthorized()), now, rng);
    assert_eq!(effects, [Effect::Publish, Effect::Exchange, Effect::Publish]);
    let effects = act(&mut state, Event::Exchanged(generation(1), stored(2, now)), now, rng);
    assert_eq!(effects, [Effect::Publish, Effect::Mint, Effect::Publish]);
    // Lag: the new one is not known yet. It is tried again, and not exchanged.
    let effects = act(&mut state, Event::MintFailed(generation(2), unauthorized()), now, rng);
    assert_eq!(answers(effects).remove(0).unwrap_err().reason, Reason::TokenTooNew);
    let again = first(&mut state, &Effect::Mint, now, MINUTE, rng).unwrap();
    assert!(again <= now + 3 * SECOND);
    act(&mut state, Event::Minted(generation(2), grant(2, now + HOUR)), again, rng);
    assert!(state.trouble().is_none());
}

#[test]
fn a_gitlab_that_answers_401_to_everything_costs_few_exchanges() {
    let rng = &mut rng(0);
    let mut state = oauth(rng);
    let (mut now, mut number) = (NOW + 50 * MINUTE, 1);
    let end = now + 2 * HOUR;
    while now < end {
        let effects = act(&mut state, Event::Tick, now, rng);
        if effects.contains(&Effect::Mint) {
            let effects = act(&mut state, Event::MintFailed(generation(number), unauthorized()), now, rng);
            if effects.contains(&Effect::Exchange) {
                number += 1;
                act(&mut state, Event::Exchanged(generation(number - 1), stored(number, now)), now, rng);
                act(&mut state, Event::MintFailed(generation(number), unauthorized()), now, rng);
            }
        }
        now = now + SECOND;
    }
    assert!((2..=10).contains(&number), "{number} pairs in two hours");
}

#[test]
fn the_end_of_a_call_with_an_older_login_changes_nothing() {
    let rng = &mut rng(0);
    for late in [
        Event::MintFailed(generation(1), unauthorized()),
        Event::Minted(generation(1), grant(9, NOW + 9 * HOUR)),
        Event::Exchanged(generation(1), Ended::InvalidGrant),
        Event::Exchanged(generation(1), stored(2, NOW)),
        Event::Unsaved(generation(1), crate::account::state::calls::unknown(NOW)),
        Event::Discovered(generation(1)),
    ] {
        let mut state = oauth(rng);
        let now = NOW + 3 * HOUR;
        // An exchange is under way, when a person logs in anew.
        assert!(act(&mut state, Event::RenewalWanted(None), now, rng).contains(&Effect::Exchange));
        let login = Event::LoggedIn(terms_of(3, now), grant(2, now + HOUR));
        assert!(act(&mut state, login, now, rng).contains(&Effect::Answer(Ok(generation(2)))));
        let what = format!("{late:?}");
        assert_eq!(state.step(late, now, rng), [], "{what}");
        assert_eq!(state.grant().unwrap().generation, generation(2), "{what}");
        assert_eq!(state.credentials().generation(), generation(3), "{what}");
        assert!(state.trouble().is_none(), "{what}");
    }
}

#[test]
fn a_late_refusal_of_an_older_login_does_not_end_a_mint_with_the_new_one() {
    let rng = &mut rng(0);
    let mut state = oauth(rng);
    act(&mut state, Event::RenewalWanted(None), NOW + MINUTE, rng);
    act(&mut state, Event::LoggedIn(terms_of(3, NOW + MINUTE), grant(2, NOW + HOUR)), NOW + MINUTE, rng);
    let now = NOW + 2 * MINUTE;
    assert!(act(&mut state, Event::RenewalWanted(None), now, rng).contains(&Effect::Mint));
    for late in [Event::MintFailed(generation(1), unauthorized()), Event::Minted(generation(1), grant(9, NOW + HOUR))] {
        assert_eq!(state.step(late, now, rng), []);
        assert!(state.is_minting());
    }
    act(&mut state, Event::Minted(generation(3), grant(3, now + HOUR)), now, rng);
    assert_eq!(state.grant().unwrap().generation, generation(3));
}

#[test]
fn a_new_login_repairs_an_account_that_needs_one() {
    let rng = &mut rng(0);
    let mut state = oauth(rng);
    let mut now = NOW + 2 * HOUR;
    while !state.credentials().needs_login() {
        now = first(&mut state, &Effect::Exchange, now, HOUR, rng).unwrap();
        act(&mut state, Event::Exchanged(generation(1), Ended::InvalidGrant), now, rng);
    }
    act(&mut state, Event::LoggedIn(terms_of(3, now), grant(2, now + HOUR)), now, rng);
    assert!(!state.credentials().needs_login() && state.trouble().is_none());
    assert!(state.grant().unwrap().is_usable(now));
}

#[test]
fn nobody_waits_for_a_disk_and_the_account_says_what_is_wrong() {
    let rng = &mut rng(0);
    let mut state = oauth(rng);
    let now = NOW + 3 * HOUR;
    act(&mut state, Event::RenewalWanted(Some(generation(1))), now, rng);
    let block = Block { reason: Reason::StoreFailed, since: now, until: now + 2 * SECOND, attempts: 1 };
    let effects = act(&mut state, Event::Unsaved(generation(1), block.clone()), now, rng);
    assert_eq!(answers(effects).remove(0), Err(block.clone()));
    assert_eq!(state.trouble(), Some(&block));
    let effects = act(&mut state, Event::RenewalWanted(Some(generation(1))), now, rng);
    assert_eq!(answers(effects).remove(0), Err(block));
    // Nothing is exchanged meanwhile, whatever is asked.
    assert_eq!(act(&mut state, Event::Tick, now + HOUR, rng), []);
    assert!(!act(&mut state, Event::RenewalWanted(None), now + HOUR, rng).contains(&Effect::Exchange));
    act(&mut state, Event::Exchanged(generation(1), stored(2, now)), now + HOUR, rng);
    assert!(state.trouble().is_none());
}

#[test]
fn one_call_is_made_at_a_time_and_decided_on_when_its_turn_comes() {
    let rng = &mut rng(0);
    let mut state = start(generation(1), Some(grant(1, NOW + HOUR)), NOW, rng);
    assert_eq!(state.step(Event::Tick, NOW, rng), [Effect::Ask(Urgency::Listing)]);
    assert_eq!(state.step(Event::Tick, NOW + SECOND, rng), [], "it has asked");
    let asked = state.step(Event::RenewalWanted(None), NOW + SECOND, rng);
    assert_eq!(asked, [Effect::Ask(Urgency::Operator)], "now it is urgent");
    assert!(state.step(Event::Turn, NOW + SECOND, rng).contains(&Effect::Mint));
    assert_eq!(state.step(Event::Turn, NOW + SECOND, rng), [], "one voice");
    act(&mut state, Event::Minted(login(), grant(2, NOW + HOUR)), NOW + SECOND, rng);
    assert_eq!(act(&mut state, Event::Tick, NOW + SECOND, rng), [Effect::Discover]);
}

#[test]
fn a_mint_counts_when_its_turn_comes_and_also_after_a_restart() {
    let rng = &mut rng(0);
    let mut state = start(Generation::default(), None, NOW, rng);
    state.step(Event::RenewalWanted(None), NOW, rng);
    assert_eq!(state.memory().mints.len(), 0, "it stands in a queue");
    for _ in 0..10 {
        act(&mut state, Event::RenewalWanted(None), NOW, rng);
        state.step(Event::Turn, NOW, rng);
        act(&mut state, Event::MintFailed(login(), mint_fault()), NOW, rng);
    }
    let bytes = serde_json::to_vec(&state.memory()).unwrap();
    let memory = || serde_json::from_slice(&bytes).unwrap();
    for now in [NOW + MINUTE, NOW - HOUR] {
        let credentials = Credentials::new(&terms(), false, now, rng);
        let mut again = State::new(credentials, (Generation::default(), None), memory(), now, rng);
        assert!(!act(&mut again, Event::RenewalWanted(None), now, rng).contains(&Effect::Mint), "{now}");
        assert!(act(&mut again, Event::RenewalWanted(None), now + 5 * MINUTE, rng).contains(&Effect::Mint), "{now}");
    }
}

#[test]
fn an_instance_that_is_left_alone_keeps_nobody_waiting_and_is_not_asked_for() {
    let rng = &mut rng(0);
    let mut state = start(Generation::default(), None, NOW, rng);
    let asked = state.step(Event::RenewalWanted(Some(Generation::default())), NOW, rng);
    assert_eq!(asked, [Effect::Ask(Urgency::Waited)]);
    let pause = Block { reason: Reason::InstanceThrottled, since: NOW, until: NOW + MINUTE, attempts: 1 };
    let told = state.step(Event::NoTurn(pause.clone()), NOW, rng);
    assert_eq!(answers(told), [Err(pause.clone())]);
    assert_eq!(state.trouble(), Some(&pause));
    for second in 0..60 {
        assert_eq!(state.step(Event::Tick, NOW + second * SECOND, rng), []);
    }
    assert_eq!(state.step(Event::Tick, NOW + MINUTE, rng), [Effect::Ask(Urgency::Timer)]);
}

#[test]
fn a_test_of_the_login_waits_for_its_exchange() {
    let rng = &mut rng(0);
    let mut state = oauth(rng);
    assert_eq!(act(&mut state, Event::AccessWanted, NOW + MINUTE, rng), [Effect::Access(Ok(()))]);
    let now = NOW + 3 * HOUR;
    assert_eq!(act(&mut state, Event::AccessWanted, now, rng), [Effect::Exchange, Effect::Publish]);
    let effects = act(&mut state, Event::Exchanged(generation(1), stored(2, now)), now, rng);
    assert!(effects.contains(&Effect::Access(Ok(()))), "{effects:?}");
    act(&mut state, Event::Minted(generation(2), grant(2, now + HOUR)), now, rng);
    let later = now + 3 * HOUR;
    act(&mut state, Event::AccessWanted, later, rng);
    let effects = act(&mut state, Event::Exchanged(generation(2), Ended::InvalidGrant), later, rng);
    assert!(effects.iter().any(|effect| matches!(effect, Effect::Access(Err(_)))), "{effects:?}");
}
