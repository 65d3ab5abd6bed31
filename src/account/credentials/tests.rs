use rand::SeedableRng;
use rand::rngs::StdRng;

use super::*;
use crate::account::api::tests::NOW;
use crate::domain::fault::{Hold, Scope};
use crate::domain::oauth::{OAuthApp, OAuthPair};
use crate::domain::secret::Secret;

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_mins(1);
const HOUR: Duration = Duration::from_hours(1);
const SEEDS: u64 = 1_000;

fn terms(number: u64, obtained_at: Timestamp, life: Duration, refreshable: bool) -> Terms {
    let pair = OAuthPair {
        access_token: Secret::new(format!("access-{number}")),
        refresh_token: refreshable.then(|| Secret::new(format!("refresh-{number}"))),
        expires_at: obtained_at + life,
        obtained_at,
        scopes: Vec::new(),
    };
    let app = OAuthApp { client_id: "app".to_owned(), client_secret: None, redirect_uri: None };
    Terms::of(&Credential::OAuth { app, pair }, generation(number))
}

fn generation(number: u64) -> Generation {
    (0..number).fold(Generation::default(), |generation, _| generation.next())
}

/// A pair that was handed out at [`NOW`] and is good for two hours.
fn pair(rng: &mut StdRng) -> Credentials {
    Credentials::new(&terms(1, NOW, 2 * HOUR, true), false, NOW, rng)
}

fn token(expires_on: &str) -> Credentials {
    let credential = Credential::PersonalAccessToken {
        token: Secret::new("t".to_owned()),
        scopes: Vec::new(),
        expires_on: Some(expires_on.to_owned()),
    };
    Credentials::new(&Terms::of(&credential, generation(1)), false, NOW, &mut StdRng::seed_from_u64(0))
}

fn fault(reason: Reason) -> Fault {
    Fault { scope: Scope::Instance, reason, hold: Hold::Backoff, curable: true }
}

fn rng(seed: u64) -> StdRng {
    StdRng::seed_from_u64(seed)
}

/// Ends an exchange that begins at `now`.
fn exchange(login: &mut Credentials, end: Ended, now: Timestamp, rng: &mut StdRng) {
    assert!(login.is_due(now) || login.access(now) == Access::Renew, "{login:?} at {now}");
    login.begin();
    assert_eq!(login.access(now), Access::Busy);
    assert!(!login.is_due(now));
    login.ended(end, now, rng);
}

/// Lets GitLab refuse the pair at every trial until the account needs a login; returns when that was.
fn refuse_to_the_end(login: &mut Credentials, mut now: Timestamp, rng: &mut StdRng) -> Timestamp {
    for _ in 0..100 {
        exchange(login, Ended::InvalidGrant, now, rng);
        if login.needs_login() {
            return now;
        }
        now = login.trouble().unwrap().until;
    }
    panic!("it never needs a login: {login:?}");
}

#[test]
fn a_pair_is_exchanged_ten_to_twenty_minutes_before_its_end_whether_or_not_it_is_used() {
    for seed in 0..SEEDS {
        let login = pair(&mut rng(seed));
        assert!(!login.is_due(NOW + 100 * MINUTE - SECOND), "seed {seed}");
        assert!(login.is_due(NOW + 110 * MINUTE), "seed {seed}");
        assert_eq!(login.access(NOW + 118 * MINUTE), Access::Ready, "it is good until then");
        assert_eq!(login.access(NOW + 119 * MINUTE), Access::Renew, "a call could outlast it");
    }
}

#[test]
fn a_pair_that_lives_for_a_minute_is_not_exchanged_without_pause() {
    for seed in 0..SEEDS {
        let rng = &mut rng(seed);
        let mut login = Credentials::new(&terms(1, NOW, MINUTE, true), false, NOW, rng);
        let (mut now, mut exchanges) = (NOW, 0);
        while now < NOW + HOUR {
            if login.access(now) == Access::Renew || login.is_due(now) {
                exchanges += 1;
                exchange(&mut login, Ended::Stored(terms(exchanges + 1, now, MINUTE, true)), now, rng);
            }
            assert_eq!(login.access(now), Access::Ready, "seed {seed}");
            now = now + SECOND;
        }
        assert!(exchanges <= 90, "seed {seed}: {exchanges} exchanges in an hour");
    }
}

#[test]
fn a_refresh_token_that_is_refused_is_tried_for_three_quarters_of_an_hour_and_never_given_up() {
    for seed in 0..SEEDS {
        let rng = &mut rng(seed);
        let mut login = pair(rng);
        let begun = NOW + 2 * HOUR;
        let given_up = refuse_to_the_end(&mut login, begun, rng);
        assert!((45 * MINUTE..HOUR).contains(&given_up.since(begun)), "seed {seed}: {:?}", given_up.since(begun));
        let block = login.trouble().unwrap().clone();
        assert_eq!((block.reason, block.since), (Reason::LoginEnded, begun));
        assert_eq!(login.access(given_up + HOUR), Access::Closed(block.clone()));
        assert!((6 * HOUR..8 * HOUR).contains(&block.until.since(given_up)), "seed {seed}");
        // A probe that meets something else says nothing new.
        exchange(&mut login, Ended::Refused(fault(Reason::InstanceUnreachable)), block.until, rng);
        assert!(login.needs_login());
        assert_eq!(login.trouble().unwrap().reason, Reason::LoginEnded);
        // The verdict was wrong.
        let now = login.trouble().unwrap().until;
        exchange(&mut login, Ended::Stored(terms(2, now, 2 * HOUR, true)), now, rng);
        assert!(!login.needs_login() && login.trouble().is_none());
        assert_eq!(login.access(now), Access::Ready);
    }
}

#[test]
fn while_a_refresh_token_is_refused_its_access_token_is_used_to_its_end() {
    let rng = &mut rng(0);
    let mut login = pair(rng);
    exchange(&mut login, Ended::InvalidGrant, NOW + 111 * MINUTE, rng);
    assert_eq!(login.trouble().unwrap().reason, Reason::RenewalRefused);
    assert_eq!(login.access(NOW + 111 * MINUTE), Access::Ready);
}

#[test]
fn an_exchange_whose_answer_never_came_is_the_reason_that_is_shown_in_the_end() {
    let rng = &mut rng(0);
    // It was cut off by a crash, which the note on disk tells; or the connection broke.
    let mut after_crash = Credentials::new(&terms(1, NOW, 2 * HOUR, true), true, NOW, rng);
    assert!(after_crash.is_due(NOW), "it is found out at once");
    refuse_to_the_end(&mut after_crash, NOW, rng);
    let mut broken = pair(rng);
    exchange(&mut broken, Ended::Unknown(fault(Reason::InstanceUnreachable)), NOW + 2 * HOUR, rng);
    assert!(!broken.needs_login());
    let again = broken.trouble().unwrap().until;
    assert!(again.since(NOW + 2 * HOUR) <= 2 * SECOND, "it is tried again soon");
    refuse_to_the_end(&mut broken, again, rng);
    for login in [after_crash, broken] {
        assert_eq!(login.trouble().unwrap().reason, Reason::RenewalInterrupted);
    }
}

#[test]
fn a_401_on_a_new_token_is_no_reason_to_exchange_it() {
    let rng = &mut rng(0);
    let mut login = pair(rng);
    for second in 0..120 {
        assert!(!login.refused(NOW + second * SECOND));
        assert!(!login.is_due(NOW + second * SECOND));
    }
    let now = NOW + 2 * MINUTE;
    assert!(login.refused(now));
    assert_eq!(login.access(now), Access::Renew);
    exchange(&mut login, Ended::Stored(terms(2, now, 2 * HOUR, true)), now, rng);
    // GitLab says 401 to that one as well: not the token is at fault.
    assert!(!login.refused(now + 14 * MINUTE));
    assert!(login.refused(now + 15 * MINUTE));
}

#[test]
fn a_token_that_was_refused_stays_so_when_its_exchange_fails() {
    let rng = &mut rng(0);
    let mut login = pair(rng);
    let now = NOW + 10 * MINUTE;
    assert!(login.refused(now));
    exchange(&mut login, Ended::Refused(fault(Reason::InstanceThrottled)), now, rng);
    assert!(matches!(login.access(now), Access::Closed(_)));
    assert_eq!(login.access(now + 5 * SECOND), Access::Renew);
}

#[test]
fn a_pair_without_refresh_token_is_used_to_its_end_and_then_needs_a_login() {
    let rng = &mut rng(0);
    let mut login = Credentials::new(&terms(1, NOW, 2 * HOUR, false), false, NOW, rng);
    assert!(!login.lapse(NOW + HOUR));
    assert_eq!(login.ends_soon(NOW), Some(NOW + 2 * HOUR));
    let end = NOW + 2 * HOUR;
    assert!(login.lapse(end));
    assert!(login.needs_login() && !login.lapse(end + HOUR));
    assert!(!login.is_due(end + 24 * HOUR), "there is nothing to exchange");
    let Access::Closed(block) = login.access(end + 24 * HOUR) else { panic!("{login:?}") };
    assert_eq!(block.reason, Reason::LoginNotRenewable);
}

#[test]
fn a_clock_that_was_set_back_neither_hides_the_end_of_a_token_nor_shortens_the_trials() {
    let rng = &mut rng(0);
    let mut login = pair(rng);
    let earlier = NOW - 48 * HOUR;
    login.clock_set_back(earlier);
    assert_eq!(login.access(earlier + 2 * HOUR), Access::Renew);
    assert!(login.refused(earlier + 2 * MINUTE), "it does not stay young for two days");
    // The trials: all but the last are over.
    let mut login = pair(rng);
    let mut now = NOW + 2 * HOUR;
    for _ in 0..6 {
        exchange(&mut login, Ended::InvalidGrant, now, rng);
        now = login.trouble().unwrap().until;
    }
    login.clock_set_back(earlier);
    let left = login.trouble().unwrap().until.since(earlier);
    assert!((29 * MINUTE..=36 * MINUTE).contains(&left), "{left:?}");
}

#[test]
fn a_wait_that_a_leap_of_the_clock_cut_short_does_not_count_but_there_is_an_end_to_it() {
    let rng = &mut rng(0);
    let trials = |leaps: bool, rng: &mut StdRng| {
        let mut login = pair(rng);
        let mut now = NOW + 2 * HOUR;
        for trial in 1..100 {
            exchange(&mut login, Ended::InvalidGrant, now, rng);
            if login.needs_login() {
                return trial;
            }
            now = login.trouble().unwrap().until;
            if leaps {
                login.time_leapt();
            }
        }
        panic!("it never needs a login");
    };
    assert_eq!((trials(false, rng), trials(true, rng)), (7, 9));
}

#[test]
fn a_person_need_not_wait_for_the_next_trial() {
    let rng = &mut rng(0);
    let mut login = pair(rng);
    let now = refuse_to_the_end(&mut login, NOW + 2 * HOUR, rng);
    assert!(!login.is_due(now + SECOND));
    login.force(now + SECOND);
    assert_eq!(login.access(now + SECOND), Access::Renew);
}

#[test]
fn what_was_learnt_of_a_pair_outlives_a_restart_and_not_the_pair() {
    let rng = &mut rng(0);
    let mut login = pair(rng);
    let now = refuse_to_the_end(&mut login, NOW + 2 * HOUR, rng);
    let bytes = serde_json::to_vec(&login.memory()).unwrap();
    let memory = || serde_json::from_slice::<Remembered>(&bytes).unwrap();
    let again = Credentials::new(&terms(1, NOW, 2 * HOUR, true), false, now, rng).with_memory(memory(), now);
    assert!(again.needs_login());
    assert_eq!(again.trouble(), login.trouble());
    let other = Credentials::new(&terms(2, now, 2 * HOUR, true), false, now, rng).with_memory(memory(), now);
    assert!(!other.needs_login() && other.trouble().is_none());
}

#[test]
fn the_end_of_a_personal_access_token_is_told_once_a_day_from_two_weeks_before() {
    let end = Timestamp::from_date("2027-06-30").unwrap();
    let mut login = token("2027-06-30");
    let mut told = Vec::new();
    for hour in 0..40 * 24 {
        let now = end - 40 * DAY + hour * HOUR;
        told.extend(login.warning(now).map(|at| (now, at)));
    }
    assert_eq!(told.len(), 14, "{told:?}");
    assert_eq!(told[0], (end - 14 * DAY, end));
    assert_eq!(login.access(end), Access::Ready, "whether it still works is for GitLab to say");
    assert!(!login.is_due(end));
}
