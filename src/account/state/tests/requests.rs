//! What the ends of requests do to an account.

use super::*;

fn failed(number: u64, name: &str, fault: Fault) -> Event {
    Event::Failed { generation: generation(number), model: model(name), fault }
}

fn refusal() -> Fault {
    fault(Scope::Account, Reason::GrantRefused, Hold::UntilMinted)
}

fn quota() -> Fault {
    fault(Scope::Model, Reason::QuotaExhausted, Hold::For(QUOTA))
}

fn is_blocked(state: &State, now: Timestamp) -> bool {
    state.block().is_some_and(|block| block.holds(now))
}

#[test]
fn a_grant_that_the_gateway_refuses_is_dropped_and_minted_once() {
    let rng = &mut rng(0);
    let mut state = minted(rng);
    let effects = act(&mut state, failed(1, "claude-a", refusal()), NOW, rng);
    assert_eq!(effects.iter().filter(|effect| **effect == Effect::Mint).count(), 1);
    assert!(state.grant().is_none());
    // Fifteen more requests were under way with it.
    for _ in 0..15 {
        assert_eq!(act(&mut state, failed(1, "claude-a", refusal()), NOW, rng), []);
    }
    act(&mut state, Event::LoggedIn(terms(), grant(2, NOW + HOUR)), NOW, rng);
    assert!(!is_blocked(&state, NOW), "the new grant gets its chance");
}

#[test]
fn a_refusal_of_an_old_grant_changes_nothing() {
    let rng = &mut rng(0);
    let mut state = minted(rng);
    act(&mut state, Event::LoggedIn(terms(), grant(2, NOW + HOUR)), NOW, rng);
    assert_eq!(act(&mut state, failed(1, "claude-a", refusal()), NOW, rng), []);
    assert_eq!(state.grant().unwrap().generation, generation(2));
    assert!(state.block().is_none());
}

#[test]
fn a_fault_of_the_account_under_an_old_grant_changes_nothing() {
    let rng = &mut rng(0);
    let mut state = minted(rng);
    // A person logged in anew meanwhile.
    act(&mut state, Event::LoggedIn(terms(), grant(2, NOW + HOUR)), NOW, rng);
    let fault = fault(Scope::Account, Reason::NotEntitled, Hold::UntilFixed);
    assert_eq!(act(&mut state, failed(1, "claude-a", fault), NOW, rng), []);
    assert!(state.block().is_none());
}

#[test]
fn a_gateway_that_refuses_every_grant_blocks_the_account_longer_and_longer_and_is_not_minted_for_without_end() {
    for seed in 0..100 {
        let rng = &mut rng(seed);
        let mut state = minted(rng);
        let mut mints = Vec::new();
        let mut number = 1;
        for second in 0..3 * 3_600 {
            let now = NOW + Duration::from_secs(second);
            let mut effects = act(&mut state, Event::Tick, now, rng);
            // Requests come all the time, and each is refused.
            if state.grant().is_some_and(|grant| grant.is_usable(now)) && !is_blocked(&state, now) {
                effects.extend(act(&mut state, failed(number, "claude-a", refusal()), now, rng));
            }
            if effects.contains(&Effect::Mint) {
                mints.push(now);
                number += 1;
                act(&mut state, Event::Minted(login(), grant(number, now + HOUR)), now, rng);
            }
        }
        let gaps: Vec<_> = mints.windows(2).map(|pair| pair[1].since(pair[0])).collect();
        assert!(mints.len() < 90, "seed {seed}: {} mints in three hours", mints.len());
        assert!(gaps[12..].iter().all(|gap| *gap >= 2 * MINUTE), "seed {seed}: {gaps:?}");
    }
}

#[test]
fn a_success_after_a_refusal_makes_the_next_refusal_a_first_one() {
    let rng = &mut rng(0);
    let mut state = minted(rng);
    act(&mut state, failed(1, "claude-a", refusal()), NOW, rng);
    act(&mut state, Event::LoggedIn(terms(), grant(2, NOW + HOUR)), NOW, rng);
    act(&mut state, Event::Succeeded(model("claude-a")), NOW, rng);
    assert!(state.block().is_none());
    act(&mut state, failed(2, "claude-a", refusal()), NOW, rng);
    act(&mut state, Event::LoggedIn(terms(), grant(3, NOW + HOUR)), NOW, rng);
    assert!(!is_blocked(&state, NOW));
    // And without one, it is the second in a row.
    act(&mut state, failed(3, "claude-a", refusal()), NOW, rng);
    act(&mut state, Event::LoggedIn(terms(), grant(4, NOW + HOUR)), NOW, rng);
    assert!(is_blocked(&state, NOW));
}

#[test]
fn a_refused_grant_waits_for_the_budget_and_is_then_minted() {
    let rng = &mut rng(0);
    let mut state = minted(rng);
    let mut number = 1;
    while act(&mut state, Event::RenewalWanted(None), NOW, rng).contains(&Effect::Mint) {
        number += 1;
        act(&mut state, Event::Minted(login(), grant(number, NOW + HOUR)), NOW, rng);
    }
    let effects = act(&mut state, failed(number, "claude-a", refusal()), NOW, rng);
    assert!(!effects.contains(&Effect::Mint) && effects.contains(&Effect::Publish));
    assert!(!state.is_renewable(NOW));
    assert_eq!(first(&mut state, &Effect::Mint, NOW, HOUR, rng), Some(NOW + 5 * MINUTE));
}

#[test]
fn a_model_without_credit_is_left_alone_for_65_minutes_and_the_account_serves_others() {
    for seed in 0..SEEDS {
        let rng = &mut rng(seed);
        let mut state = minted(rng);
        assert_eq!(act(&mut state, failed(1, "claude-a", quota()), NOW, rng), [Effect::Publish]);
        let block = &state.models()[&model("claude-a")];
        assert!((QUOTA..=QUOTA + QUOTA / 10).contains(&block.until.since(NOW)), "seed {seed}");
        assert!(state.block().is_none());
    }
}

#[test]
fn two_models_without_credit_mean_the_account() {
    let rng = &mut rng(0);
    let mut state = minted(rng);
    act(&mut state, failed(1, "claude-a", quota()), NOW, rng);
    act(&mut state, failed(1, "claude-a", quota()), NOW, rng);
    assert!(!is_blocked(&state, NOW), "one model, twice");
    act(&mut state, failed(1, "claude-b", quota()), NOW, rng);
    assert!(is_blocked(&state, NOW + QUOTA));
    assert!(!is_blocked(&state, NOW + QUOTA + QUOTA / 10));
}

#[test]
fn a_model_whose_block_has_ended_does_not_count_against_the_account() {
    let rng = &mut rng(0);
    let mut state = minted(rng);
    act(&mut state, failed(1, "claude-a", quota()), NOW, rng);
    act(&mut state, failed(1, "claude-b", quota()), NOW + 2 * HOUR, rng);
    assert!(state.block().is_none());
}

#[test]
fn a_success_clears_the_account_and_its_model_and_no_other_model() {
    let rng = &mut rng(0);
    let mut state = minted(rng);
    act(&mut state, failed(1, "claude-a", quota()), NOW, rng);
    act(&mut state, failed(1, "claude-b", quota()), NOW, rng);
    assert_eq!(act(&mut state, Event::Succeeded(model("claude-b")), NOW, rng), [Effect::Publish]);
    assert!(state.block().is_none());
    assert!(!state.models().contains_key(&model("claude-b")));
    assert!(state.models()[&model("claude-a")].holds(NOW));
    assert_eq!(act(&mut state, Event::Succeeded(model("claude-b")), NOW, rng), []);
}

#[test]
fn a_fault_that_is_not_the_accounts_says_nothing_about_it() {
    let rng = &mut rng(0);
    let mut state = minted(rng);
    let wide = [Scope::Namespace, Scope::Provider, Scope::Gateway, Scope::Instance, Scope::Host];
    for scope in wide.into_iter().chain([Scope::Request]) {
        for hold in [Hold::None, Hold::Backoff, Hold::For(HOUR), Hold::UntilFixed] {
            assert_eq!(act(&mut state, failed(1, "claude-a", fault(scope, Reason::GatewayError, hold)), NOW, rng), []);
        }
    }
    assert!(state.block().is_none() && state.models().is_empty());
}

#[test]
fn requests_that_fail_together_are_one_fault_and_not_many_in_a_row() {
    let rng = &mut rng(0);
    for scope in [Scope::Account, Scope::Model] {
        let mut state = minted(rng);
        let fault = fault(scope, Reason::QuotaUnknown, Hold::Backoff);
        for _ in 0..16 {
            act(&mut state, failed(1, "claude-a", fault.clone()), NOW, rng);
        }
        let block = if scope == Scope::Account { state.block() } else { state.models().get(&model("claude-a")) };
        let block = block.unwrap();
        assert_eq!(block.attempts, 1, "{scope:?}");
        assert!(block.until <= NOW + 2 * SECOND, "{scope:?}");
    }
}

#[test]
fn a_fault_that_comes_back_after_each_wait_blocks_longer_up_to_five_minutes() {
    for seed in 0..100 {
        let rng = &mut rng(seed);
        let mut state = minted(rng);
        let mut now = NOW;
        let mut waits = Vec::new();
        for _ in 0..40 {
            act(&mut state, failed(1, "claude-a", fault(Scope::Account, Reason::NotEntitled, Hold::Backoff)), now, rng);
            waits.push(state.block().unwrap().until.since(now));
            now = state.block().unwrap().until;
        }
        assert!(waits[0] <= 2 * SECOND && waits[3] >= 8 * SECOND, "seed {seed}: {waits:?}");
        assert!(waits[9..].iter().all(|wait| (150 * SECOND..=5 * MINUTE).contains(wait)), "seed {seed}: {waits:?}");
        assert_eq!(state.block().unwrap().since, NOW);
    }
}

#[test]
fn a_short_block_does_not_cut_a_longer_one_short() {
    let rng = &mut rng(0);
    let mut state = minted(rng);
    let long = fault(Scope::Account, Reason::ProxyNotEnabled, Hold::UntilFixed);
    let short = |scope| fault(scope, Reason::QuotaUnknown, Hold::Backoff);
    act(&mut state, failed(1, "claude-a", long), NOW, rng);
    act(&mut state, failed(1, "claude-a", quota()), NOW, rng);
    // What was under way when the blocks came ends in other ways.
    act(&mut state, failed(1, "claude-a", short(Scope::Account)), NOW, rng);
    act(&mut state, failed(1, "claude-a", short(Scope::Model)), NOW, rng);
    act(&mut state, failed(1, "claude-a", refusal()), NOW, rng);
    act(&mut state, Event::LoggedIn(terms(), grant(2, NOW + HOUR)), NOW, rng);
    assert!(is_blocked(&state, NOW + 12 * MINUTE));
    assert!(state.models()[&model("claude-a")].holds(NOW + HOUR));
}

#[test]
fn what_a_client_can_make_an_account_remember_is_bounded() {
    let rng = &mut rng(0);
    let mut state = minted(rng);
    for number in 0..1_000 {
        let unknown = fault(Scope::Model, Reason::QuotaUnknown, Hold::For(SECOND * (number + 1)));
        act(&mut state, failed(1, &format!("claude-{number}"), unknown), NOW, rng);
    }
    assert_eq!(state.models().len(), 64);
    assert!(state.models().contains_key(&model("claude-999")), "the ones that end last are kept");
}
