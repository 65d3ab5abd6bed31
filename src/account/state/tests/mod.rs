use rand::SeedableRng;
use rand::rngs::StdRng;

use super::*;
use crate::account::api::tests::NOW;
use crate::domain::secret::Secret;
use crate::store::Credential;

mod calls;
mod kept;
mod renewal;
mod requests;
mod simulation;

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_mins(1);
const HOUR: Duration = Duration::from_hours(1);
/// What the gateway's quota answers hold for.
const QUOTA: Duration = Duration::from_mins(65);
const SEEDS: u64 = 1_000;

fn rng(seed: u64) -> StdRng {
    StdRng::seed_from_u64(seed)
}

fn generation(number: u64) -> Generation {
    (0..number).fold(Generation::default(), |generation, _| generation.next())
}

fn grant(number: u64, expires_at: Timestamp) -> Arc<Grant> {
    let mut grant = Arc::into_inner(crate::account::api::tests::grant(expires_at)).unwrap();
    grant.generation = generation(number);
    Arc::new(grant)
}

fn model(name: &str) -> ModelName {
    ModelName::parse(name).unwrap()
}

fn fault(scope: Scope, reason: Reason, hold: Hold) -> Fault {
    Fault { scope, reason, hold, curable: true }
}

fn mint_fault() -> Fault {
    fault(Scope::Account, Reason::MintFailed, Hold::Backoff)
}

fn login() -> Generation {
    generation(1)
}

/// The login of most accounts here: a personal access token without end.
fn terms() -> Terms {
    let (token, scopes) = (Secret::new("t".to_owned()), Vec::new());
    Terms::of(&Credential::PersonalAccessToken { token, scopes, expires_on: None }, login())
}

fn start(serial: Generation, stored: Option<Arc<Grant>>, now: Timestamp, rng: &mut StdRng) -> State {
    State::new(Credentials::new(&terms(), false, now, rng), (serial, stored), Memory::default(), now, rng)
}

/// Lets `event` happen, and gives the account its turn as soon as it asks for one. What is only remembered is left out.
fn act(state: &mut State, event: Event, now: Timestamp, rng: &mut StdRng) -> Vec<Effect> {
    let mut effects = state.step(event, now, rng);
    while let Some(asked) = effects.iter().position(|effect| matches!(effect, Effect::Ask(_))) {
        effects.remove(asked);
        effects.extend(state.step(Event::Turn, now, rng));
    }
    effects.retain(|effect| *effect != Effect::Remember);
    effects
}

/// A person logs in anew with a grant of this number.
fn logged_in(number: u64, end: Timestamp) -> Event {
    Event::LoggedIn(terms(), grant(number, end))
}

/// An account that minted grant 1 at [`NOW`], good for an hour, and listed its models.
fn minted(rng: &mut StdRng) -> State {
    let mut state = start(Generation::default(), None, NOW, rng);
    assert_eq!(act(&mut state, Event::Tick, NOW, rng), [Effect::Mint, Effect::Publish]);
    act(&mut state, Event::Minted(login(), grant(1, NOW + HOUR)), NOW, rng);
    assert_eq!(act(&mut state, Event::Tick, NOW, rng), [Effect::Discover]);
    act(&mut state, Event::Discovered(login()), NOW, rng);
    state
}

/// Ticks once a second from `from` on, and returns when the state first asks for `effect`.
fn first(state: &mut State, effect: &Effect, from: Timestamp, within: Duration, rng: &mut StdRng) -> Option<Timestamp> {
    let mut times = (0..=within.as_secs()).map(|second| from + Duration::from_secs(second));
    times.find(|now| {
        let effects = act(state, Event::Tick, *now, rng);
        let found = effects.contains(effect);
        if effects.contains(&Effect::Discover) && *effect != Effect::Discover {
            let by = state.credentials().generation();
            act(state, Event::Discovered(by), *now, rng);
        }
        found
    })
}

fn answers(effects: Vec<Effect>) -> Vec<Result<Generation, Block>> {
    let answer = |effect| match effect {
        Effect::Reply(answer) | Effect::Answer(answer) => Some(answer),
        _ => None,
    };
    effects.into_iter().filter_map(answer).collect()
}

#[test]
fn a_stored_grant_that_is_still_good_is_used_and_not_minted_anew() {
    for seed in 0..SEEDS {
        let rng = &mut rng(seed);
        let mut state = start(generation(3), Some(grant(3, NOW + 50 * MINUTE)), NOW, rng);
        assert_eq!(state.grant().unwrap().generation, generation(3));
        assert_eq!(first(&mut state, &Effect::Mint, NOW, 39 * MINUTE, rng), None, "seed {seed}");
    }
}

#[test]
fn a_stored_grant_that_has_ended_is_not_used_and_its_number_not_given_again() {
    let rng = &mut rng(0);
    let mut state = start(generation(3), Some(grant(3, NOW)), NOW, rng);
    assert!(state.grant().is_none());
    assert_eq!(state.next_serial(), generation(4));
    assert_eq!(act(&mut state, Event::Tick, NOW, rng), [Effect::Mint, Effect::Publish]);
}

#[test]
fn a_grant_is_renewed_between_one_and_two_leads_before_its_end() {
    let mut leads = Vec::new();
    for seed in 0..SEEDS {
        let rng = &mut rng(seed);
        let mut state = minted(rng);
        let due = first(&mut state, &Effect::Mint, NOW, HOUR, rng).unwrap();
        leads.push((NOW + HOUR).since(due));
    }
    let (least, most) = (leads.iter().min().unwrap(), leads.iter().max().unwrap());
    assert!(*least + SECOND >= 5 * MINUTE && *most <= 10 * MINUTE, "{least:?} to {most:?}");
    assert!(*most > *least + 4 * MINUTE, "accounts minted together renew together: {least:?} to {most:?}");
}

#[test]
fn a_short_grant_gives_up_at_most_a_quarter_of_its_life() {
    for seed in 0..SEEDS {
        for life in [30 * SECOND, 2 * MINUTE, 10 * MINUTE, 19 * MINUTE] {
            let rng = &mut rng(seed);
            let mut state = minted(rng);
            act(&mut state, logged_in(2, NOW + life), NOW, rng);
            let due = first(&mut state, &Effect::Mint, NOW, life, rng).unwrap();
            let lead = (NOW + life).since(due);
            assert!(lead <= life / 4 && lead + SECOND >= (life / 8).min(LEAD), "seed {seed}: {lead:?} of {life:?}");
        }
    }
}

#[test]
fn one_mint_is_in_flight_whatever_is_asked() {
    let rng = &mut rng(0);
    let mut state = minted(rng);
    let now = NOW + SECOND;
    assert_eq!(act(&mut state, Event::RenewalWanted(None), now, rng), [Effect::Mint, Effect::Publish]);
    let refusal = fault(Scope::Account, Reason::GrantRefused, Hold::UntilMinted);
    let model = model("claude-a");
    for event in [
        Event::RenewalWanted(None),
        Event::RenewalWanted(Some(generation(1))),
        Event::Tick,
        Event::Failed { generation: generation(1), model: model.clone(), fault: refusal },
        Event::RenewalWanted(Some(generation(1))),
        Event::Succeeded(model),
        Event::Tick,
    ] {
        let what = format!("{event:?}");
        assert!(!act(&mut state, event, now + HOUR, rng).contains(&Effect::Mint), "{what}");
        assert!(state.is_minting());
    }
}

#[test]
fn who_waits_gets_the_new_grant_or_the_reason_why_there_is_none() {
    let rng = &mut rng(0);
    let mut state = minted(rng);
    assert_eq!(act(&mut state, Event::RenewalWanted(Some(generation(1))), NOW, rng), [Effect::Mint, Effect::Publish]);
    let effects = act(&mut state, Event::Minted(login(), grant(2, NOW + HOUR)), NOW, rng);
    assert_eq!(effects, [Effect::Publish, Effect::Answer(Ok(generation(2)))]);
    // Whoever still holds the old one is told at once that there is a newer one.
    let effects = act(&mut state, Event::RenewalWanted(Some(generation(1))), NOW, rng);
    assert_eq!(effects, [Effect::Reply(Ok(generation(2)))]);

    act(&mut state, Event::RenewalWanted(Some(generation(2))), NOW, rng);
    let answer = answers(act(&mut state, Event::MintFailed(login(), mint_fault()), NOW, rng)).remove(0);
    assert_eq!(answer.unwrap_err().reason, Reason::MintFailed);
    // The next one need not wait for a mint that will not be tried.
    assert!(!state.is_renewable(NOW));
    let answer = answers(act(&mut state, Event::RenewalWanted(Some(generation(2))), NOW, rng)).remove(0);
    assert_eq!(answer.unwrap_err().reason, Reason::MintFailed);
}

#[test]
fn an_operator_who_waits_for_a_new_grant_is_not_told_of_the_old_one() {
    let rng = &mut rng(0);
    let mut state = minted(rng);
    assert_eq!(act(&mut state, Event::RenewalWanted(None), NOW, rng), [Effect::Mint, Effect::Publish]);
    // A worker with a stale table asks, and is the only one who gets an answer.
    let effects = act(&mut state, Event::RenewalWanted(Some(generation(0))), NOW, rng);
    assert_eq!(effects, [Effect::Reply(Ok(generation(1)))]);
    let effects = act(&mut state, Event::Minted(login(), grant(2, NOW + HOUR)), NOW, rng);
    assert!(effects.contains(&Effect::Answer(Ok(generation(2)))));
}

#[test]
fn a_refused_mint_leaves_a_valid_grant_serving() {
    let rng = &mut rng(0);
    let mut state = minted(rng);
    let now = NOW + 58 * MINUTE;
    act(&mut state, Event::Tick, now, rng);
    for reason in [Reason::TokenRevoked, Reason::NotEntitled] {
        act(&mut state, Event::MintFailed(login(), fault(Scope::Account, reason, Hold::UntilFixed)), now, rng);
        assert!(state.grant().unwrap().is_usable(now));
        assert!(state.block().is_none());
        assert_eq!(state.trouble().unwrap().reason, reason);
        act(&mut state, Event::RenewalWanted(None), now, rng);
    }
    act(&mut state, Event::Minted(login(), grant(2, now + HOUR)), now, rng);
    assert!(state.trouble().is_none());
}

#[test]
fn a_mint_that_keeps_failing_is_tried_less_and_less_often_but_again_and_again() {
    let rng = &mut rng(0);
    let mut state = start(Generation::default(), None, NOW, rng);
    let mut waits = Vec::new();
    let mut now = NOW;
    for _ in 0..40 {
        let due = first(&mut state, &Effect::Mint, now, 6 * MINUTE, rng).unwrap();
        waits.push(due.since(now));
        now = due;
        act(&mut state, Event::MintFailed(login(), mint_fault()), now, rng);
    }
    assert!(waits[1] <= 2 * SECOND, "{waits:?}");
    assert!(waits[10..].iter().all(|wait| (150 * SECOND..=5 * MINUTE).contains(wait)), "{waits:?}");
}

#[test]
fn what_only_a_person_can_mend_is_looked_at_again_after_a_quarter_of_an_hour() {
    for seed in 0..SEEDS {
        let rng = &mut rng(seed);
        let mut state = start(Generation::default(), None, NOW, rng);
        for _ in 0..5 {
            act(&mut state, Event::RenewalWanted(None), NOW, rng);
            act(
                &mut state,
                Event::MintFailed(login(), fault(Scope::Account, Reason::TokenExpired, Hold::UntilFixed)),
                NOW,
                rng,
            );
        }
        let due = first(&mut state, &Effect::Mint, NOW, HOUR, rng).unwrap();
        assert!((12 * MINUTE..=18 * MINUTE + SECOND).contains(&due.since(NOW)), "seed {seed}");
    }
}

#[test]
fn an_operators_refresh_does_not_wait_for_a_timer_but_keeps_within_gitlabs_limit() {
    let rng = &mut rng(0);
    let mut state = start(Generation::default(), None, NOW, rng);
    for _ in 0..10 {
        assert!(act(&mut state, Event::RenewalWanted(None), NOW, rng).contains(&Effect::Mint));
        act(&mut state, Event::MintFailed(login(), mint_fault()), NOW, rng);
    }
    let answer = answers(act(&mut state, Event::RenewalWanted(None), NOW + MINUTE, rng)).remove(0).unwrap_err();
    assert_eq!((answer.reason, answer.until), (Reason::InstanceThrottled, NOW + 5 * MINUTE));
    assert_eq!(first(&mut state, &Effect::Mint, NOW, 299 * SECOND, rng), None);
    assert!(act(&mut state, Event::RenewalWanted(None), NOW + 5 * MINUTE, rng).contains(&Effect::Mint));
}

#[test]
fn what_a_login_minted_counts_towards_gitlabs_limit() {
    let rng = &mut rng(0);
    let mut state = start(Generation::default(), None, NOW, rng);
    for number in 1..=10 {
        act(&mut state, logged_in(number, NOW + HOUR), NOW, rng);
    }
    assert!(!act(&mut state, Event::RenewalWanted(None), NOW, rng).contains(&Effect::Mint));
}

#[test]
fn a_grant_that_has_ended_when_it_comes_is_a_failed_mint_and_no_reason_to_mint_at_once() {
    let rng = &mut rng(0);
    let mut state = minted(rng);
    let now = NOW + 30 * MINUTE;
    act(&mut state, Event::RenewalWanted(None), now, rng);
    // As it is where this machine's clock runs ahead.
    let effects = act(&mut state, Event::Minted(login(), grant(2, now)), now, rng);
    assert_eq!(answers(effects).remove(0).unwrap_err().reason, Reason::InstanceUnexpected);
    assert_eq!(state.grant().unwrap().generation, generation(1), "the old grant still serves");
    assert_eq!(state.next_serial(), generation(3));
    assert!(first(&mut state, &Effect::Mint, now, HOUR, rng).unwrap() >= now + SECOND);
}

#[test]
fn models_are_listed_once_an_hour_and_one_listing_at_a_time() {
    for seed in 0..SEEDS {
        let rng = &mut rng(seed);
        let mut state = start(generation(1), Some(grant(1, NOW + 10 * HOUR)), NOW, rng);
        assert_eq!(act(&mut state, Event::Tick, NOW, rng), [Effect::Discover]);
        assert_eq!(act(&mut state, Event::Tick, NOW + 2 * HOUR, rng), [], "one is still under way");
        act(&mut state, Event::Discovered(login()), NOW + 2 * HOUR, rng);
        assert_eq!(act(&mut state, Event::Tick, NOW + 2 * HOUR, rng), [Effect::Discover]);
        act(&mut state, Event::Discovered(login()), NOW + 2 * HOUR, rng);
        let next = first(&mut state, &Effect::Discover, NOW + 2 * HOUR, 2 * HOUR, rng).unwrap();
        assert!((54 * MINUTE..=66 * MINUTE + SECOND).contains(&next.since(NOW + 2 * HOUR)), "seed {seed}");
    }
}

#[test]
fn models_are_not_listed_for_an_account_without_a_grant() {
    let rng = &mut rng(0);
    let mut state = start(Generation::default(), None, NOW, rng);
    assert_eq!(first(&mut state, &Effect::Discover, NOW, 2 * HOUR, rng), None);
}

#[test]
fn a_laptop_that_slept_renews_with_its_first_tick() {
    let rng = &mut rng(0);
    let mut state = minted(rng);
    let effects = act(&mut state, Event::Tick, NOW + 9 * HOUR, rng);
    assert_eq!(effects, [Effect::Mint, Effect::Publish]);
}

#[test]
fn a_clock_that_was_set_back_ends_every_wait_and_everybody_hears_of_it() {
    let rng = &mut rng(0);
    let mut state = minted(rng);
    let quota = fault(Scope::Model, Reason::QuotaExhausted, Hold::For(QUOTA));
    for name in ["claude-a", "claude-b"] {
        let failed = Event::Failed { generation: generation(1), model: model(name), fault: quota.clone() };
        act(&mut state, failed, NOW, rng);
    }
    act(&mut state, Event::RenewalWanted(None), NOW, rng);
    let earlier = NOW - 24 * HOUR;
    // A mint is in flight, so that nothing else has to be told.
    assert!(act(&mut state, Event::Tick, earlier, rng).contains(&Effect::Publish));
    assert!(!state.block().unwrap().holds(earlier));
    assert!(state.models().values().all(|block| !block.holds(earlier)));
    act(&mut state, Event::MintFailed(login(), mint_fault()), earlier, rng);
    assert!(state.trouble().unwrap().until <= earlier + 2 * SECOND);
}

#[test]
fn a_clock_that_is_corrected_by_a_moment_changes_nothing() {
    let rng = &mut rng(0);
    let mut state = minted(rng);
    let failed = fault(Scope::Account, Reason::ProxyNotEnabled, Hold::UntilFixed);
    act(&mut state, Event::Failed { generation: generation(1), model: model("claude-a"), fault: failed }, NOW, rng);
    let until = state.block().unwrap().until;
    for millis in [1, 100, 2_000] {
        let earlier = NOW - Duration::from_millis(millis);
        assert_eq!(act(&mut state, Event::Tick, earlier, rng), [], "{millis} ms");
        assert_eq!(state.block().unwrap().until, until);
    }
}

#[test]
fn a_clock_that_was_set_back_gives_no_new_budget_and_takes_none_for_long() {
    let rng = &mut rng(0);
    let mut state = start(Generation::default(), None, NOW, rng);
    for _ in 0..10 {
        act(&mut state, Event::RenewalWanted(None), NOW, rng);
        act(&mut state, Event::MintFailed(login(), mint_fault()), NOW, rng);
    }
    let earlier = NOW - HOUR;
    assert!(!act(&mut state, Event::RenewalWanted(None), earlier, rng).contains(&Effect::Mint));
    assert_eq!(first(&mut state, &Effect::Mint, earlier, HOUR, rng), Some(earlier + 5 * MINUTE));
}
