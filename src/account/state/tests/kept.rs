//! What outlives a restart, what a reset clears, and how an empty account finds out that it is not any more.

use super::*;
use crate::account::blocks::{LONGEST_HOLD, QUOTA_CACHE_MAX};

fn failed(name: &str, fault: Fault) -> Event {
    Event::Failed { generation: generation(1), model: model(name), fault }
}

fn quota() -> Fault {
    fault(Scope::Model, Reason::QuotaExhausted, Hold::For(QUOTA))
}

/// The account after a restart at `now`, with what was kept as it is on disk.
fn restarted(state: &State, now: Timestamp, rng: &mut StdRng) -> State {
    let kept = serde_json::to_vec(&state.memory()).unwrap();
    let memory = serde_json::from_slice(&kept).unwrap();
    let grant = state.grant().cloned();
    State::new(Credentials::new(&terms(), false, now, rng), (generation(1), grant), memory, now, rng)
}

#[test]
fn what_is_worth_it_is_kept_when_it_begins_and_when_it_is_cut_short_and_never_else() {
    let rng = &mut rng(0);
    let mut state = minted(rng);
    let short = fault(Scope::Model, Reason::QuotaUnknown, Hold::Backoff);
    let mut keeps = |event| state.step(event, NOW, rng).contains(&Effect::Remember);
    assert!(!keeps(failed("claude-a", short)));
    assert!(keeps(failed("claude-b", quota())));
    assert!(!keeps(failed("claude-b", quota())), "nothing new");
    assert!(!keeps(Event::Succeeded(model("claude-c"))));
    assert!(keeps(Event::Succeeded(model("claude-b"))));
}

#[test]
fn blocks_outlive_a_restart_until_their_end() {
    let rng = &mut rng(0);
    let mut state = minted(rng);
    for name in ["claude-a", "claude-b"] {
        act(&mut state, failed(name, quota()), NOW, rng);
    }
    let again = restarted(&state, NOW + MINUTE, rng);
    assert_eq!((again.block(), again.models()), (state.block(), state.models()));
    let later = restarted(&state, NOW + 2 * HOUR, rng);
    assert_eq!((later.block(), later.models().len()), (None, 0));
    // Written by a clock that was a day ahead.
    let before = NOW - 24 * HOUR;
    let early = restarted(&state, before, rng);
    let blocks = early.block().into_iter().chain(early.models().values());
    assert!(blocks.clone().all(|block| block.until <= before + LONGEST_HOLD && block.since <= before));
    assert_eq!(blocks.count(), 3);
}

#[test]
fn a_mint_that_failed_is_not_repeated_at_the_start_unless_a_person_may_have_mended_it() {
    for (reason, mints) in [(Reason::InstanceThrottled, 0), (Reason::NotEntitled, 1)] {
        let rng = &mut rng(0);
        let mut state = start(Generation::default(), None, NOW, rng);
        act(&mut state, Event::Tick, NOW, rng);
        let refused = fault(Scope::Account, reason, Hold::For(10 * MINUTE));
        assert!(state.step(Event::MintFailed(login(), refused), NOW, rng).contains(&Effect::Remember));
        let mut again = restarted(&state, NOW + MINUTE, rng);
        assert_eq!(again.trouble().map(|trouble| trouble.reason), Some(reason));
        let effects = act(&mut again, Event::Tick, NOW + MINUTE, rng);
        assert_eq!(effects.iter().filter(|effect| **effect == Effect::Mint).count(), mints, "{reason:?}");
    }
}

#[test]
fn a_reset_clears_everything_and_mints_what_is_missing() {
    let rng = &mut rng(0);
    let mut state = minted(rng);
    for name in ["claude-a", "claude-b"] {
        act(&mut state, failed(name, quota()), NOW, rng);
    }
    let effects = state.step(Event::Reset, NOW, rng);
    assert_eq!(effects, [Effect::Publish, Effect::Remember], "a grant that is good is left alone");
    assert_eq!((state.block(), state.models().len(), state.trouble()), (None, 0, None));

    let mut state = start(Generation::default(), None, NOW, rng);
    act(&mut state, Event::Tick, NOW, rng);
    act(&mut state, Event::MintFailed(login(), fault(Scope::Account, Reason::NotEntitled, Hold::UntilFixed)), NOW, rng);
    assert!(act(&mut state, Event::Reset, NOW, rng).contains(&Effect::Mint));
}

#[test]
fn a_claude_model_out_of_credit_is_asked_about_once_before_its_block_ends_and_another_is_not() {
    let rng = &mut rng(0);
    let mut state = minted(rng);
    act(&mut state, Event::Minted(login(), grant(1, NOW + 5 * HOUR)), NOW, rng);
    state.grant = Some(grant(1, NOW + 5 * HOUR));
    act(&mut state, failed("claude-a", quota()), NOW, rng);
    act(&mut state, failed("gpt-a", quota()), NOW + 10 * MINUTE, rng);
    let until = state.models()[&model("claude-a")].until;
    let asks = |effects: &[Effect]| effects.iter().filter(|one| matches!(one, Effect::AskCredit(_))).count();
    assert_eq!(asks(&act(&mut state, Event::Tick, until - MINUTE, rng)), 0);
    let now = until - 5 * SECOND;
    assert_eq!(asks(&act(&mut state, Event::Tick, now, rng)), 1);
    assert_eq!(asks(&act(&mut state, Event::Tick, now + SECOND, rng)), 0, "asked already");

    // Empty still: both blocks begin anew. Somebody else's trouble says nothing.
    let told = |answer| Event::CreditAsked(generation(1), model("claude-a"), answer);
    let unreachable = fault(Scope::Gateway, Reason::GatewayUnreachable, Hold::Backoff);
    assert_eq!(act(&mut state, told(Err(unreachable)), now, rng), []);
    assert!(state.block().is_some_and(|block| block.attempts == 1));
    act(&mut state, told(Err(quota())), now, rng);
    assert!(state.block().is_some_and(|block| block.attempts == 2 && block.until >= now + QUOTA));
    assert_eq!(state.models()[&model("claude-a")].attempts, 2);
    // There is some again.
    act(&mut state, told(Ok(())), now, rng);
    assert!(state.block().is_none() && !state.models().contains_key(&model("claude-a")));
    assert!(state.models().contains_key(&model("gpt-a")));
    assert_eq!(act(&mut state, told(Ok(())), now, rng), [], "an answer about what is over");
}

#[test]
fn an_account_is_not_kept_blocked_for_the_credit_of_one_model_alone() {
    let rng = &mut rng(0);
    let mut state = minted(rng);
    act(&mut state, Event::Minted(login(), grant(1, NOW + 5 * HOUR)), NOW, rng);
    act(&mut state, failed("gpt-a", quota()), NOW, rng);
    act(&mut state, failed("claude-a", quota()), NOW + 30 * MINUTE, rng);
    let until = state.block().unwrap().until;
    // By now the other model may have credit again, and nobody has asked.
    let now = NOW + 90 * MINUTE;
    assert!(!state.models()[&model("gpt-a")].holds(now));
    act(&mut state, Event::CreditAsked(generation(1), model("claude-a"), Err(quota())), now, rng);
    assert_eq!(state.models()[&model("claude-a")].attempts, 2);
    assert_eq!(state.block().unwrap().until, until);
}

#[test]
fn no_hold_for_want_of_credit_reaches_further_beyond_the_turn_of_the_month_than_the_gateway_remembers() {
    let turn = Timestamp::from_date("2027-01-01").unwrap();
    for seed in 0..SEEDS {
        let rng = &mut rng(seed);
        for (before, most) in [(SECOND, QUOTA_CACHE_MAX + SECOND), (30 * MINUTE, QUOTA.mul_f64(1.1))] {
            let now = turn - before;
            let hold = crate::account::blocks::next_block(None, &quota(), now, rng).until.since(now);
            assert!(hold >= QUOTA && hold <= most, "seed {seed}: {hold:?}");
        }
    }
}

#[test]
fn another_gateway_gets_another_grant() {
    let rng = &mut rng(0);
    let mut state = minted(rng);
    let effects = act(&mut state, Event::GatewayChanged, NOW, rng);
    assert!(effects.contains(&Effect::Mint) && effects.contains(&Effect::Publish));
    assert!(state.grant().is_none());
}
