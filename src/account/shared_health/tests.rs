use proptest::prelude::*;
use rand::SeedableRng;
use rand::rngs::StdRng;

use super::*;
use crate::account::api::tests::{NOW, snapshot};

const SECOND: Duration = Duration::from_secs(1);

fn model(name: &str) -> ModelName {
    ModelName::parse(name).unwrap()
}

fn gateway(number: u8) -> GatewayUrl {
    GatewayUrl::parse(&format!("https://gw{number}.example.com")).unwrap()
}

fn group(number: u8) -> CreditGroup {
    CreditGroup::of(&InstanceUrl::gitlab_com(), Some(&number.to_string()))
}

fn account(number: u8) -> AccountId {
    AccountId::from_text(&format!("acct_{number}"))
}

fn fault(scope: Scope, reason: Reason, hold: Hold) -> Fault {
    Fault { scope, reason, hold, curable: true }
}

fn unreachable() -> Fault {
    fault(Scope::Gateway, Reason::GatewayUnreachable, Hold::Backoff)
}

fn overloaded() -> Fault {
    fault(Scope::Provider, Reason::ProviderError, Hold::Backoff)
}

fn out_of_credit() -> Fault {
    fault(Scope::Model, Reason::QuotaExhausted, Hold::For(Duration::from_mins(65)))
}

/// A state with what drives it; `way` is always one that the state of the moment was known to.
struct Scene {
    health: SharedHealth,
    rng: StdRng,
}

impl Scene {
    fn new() -> Self {
        Self { health: SharedHealth::default(), rng: StdRng::seed_from_u64(1) }
    }

    /// A request on account `number` for Claude through the first gateway, chosen now; each account has credits of its own.
    fn way(&self, number: u8) -> Way {
        Way {
            account: account(number),
            group: group(number),
            gateway: gateway(1),
            model: model("claude-a"),
            epoch: self.health.publish().epoch(),
        }
    }

    fn step(&mut self, event: Event, now: Timestamp) -> Vec<Effect> {
        self.health.step(event, now, &mut self.rng)
    }

    fn fails(&mut self, number: u8, fault: Fault, now: Timestamp) -> Vec<Effect> {
        let way = self.way(number);
        self.step(Event::Failed(way, fault), now)
    }

    fn succeeds(&mut self, number: u8, now: Timestamp) -> Vec<Effect> {
        let way = self.way(number);
        self.step(Event::Succeeded(way), now)
    }

    fn passage(&self, number: u8, now: Timestamp) -> Option<bool> {
        let way = self.way(number);
        match self.health.publish().passage(&way.gateway, &way.model, &way.group, now) {
            Passage::Free => Some(true),
            Passage::Unproven { .. } => None,
            Passage::Blocked { .. } => Some(false),
        }
    }

    fn blocked(&self, now: Timestamp) -> Vec<Site> {
        self.health.publish().blocked(now).into_iter().map(|(site, _)| site).collect()
    }

    fn until(&self, now: Timestamp) -> Timestamp {
        self.health.publish().blocked(now).first().expect("a block").1.until
    }
}

#[test]
fn a_provider_is_believed_at_once_for_its_model_and_gateway_alone_and_for_half_a_minute_at_most() {
    let mut scene = Scene::new();
    scene.fails(1, fault(Scope::Provider, Reason::ProviderThrottled, Hold::For(Duration::from_hours(1))), NOW);
    assert_eq!(scene.blocked(NOW), [Site::Provider(gateway(1), model("claude-a"))]);
    assert!(scene.until(NOW) <= NOW + PROVIDER_MAX);
    let shared = scene.health.publish();
    for (through, name) in [(gateway(1), "claude-b"), (gateway(2), "claude-a")] {
        assert_eq!(shared.passage(&through, &model(name), &group(1), NOW), Passage::Free);
    }
}

#[test]
fn one_account_that_cannot_reach_a_gateway_closes_it_for_nobody_and_two_do() {
    let mut scene = Scene::new();
    scene.fails(1, unreachable(), NOW);
    scene.fails(1, unreachable(), NOW);
    assert_eq!(scene.blocked(NOW), []);
    scene.fails(2, unreachable(), NOW);
    assert_eq!(scene.blocked(NOW), [Site::Gateway(gateway(1))]);
    assert!(scene.until(NOW) <= NOW + 2 * SECOND, "the first wait is short");
}

#[test]
fn a_single_account_is_believed_at_the_third_fault_in_a_row() {
    let mut scene = Scene::new();
    let mut now = NOW;
    for _ in 0..3 {
        // Two faults and a success between: a gateway that mostly works is not closed.
        scene.fails(1, unreachable(), now);
        scene.fails(1, unreachable(), now);
        scene.succeeds(1, now);
        now = now + SECOND;
    }
    for _ in 0..3 {
        // Faults far apart are no row.
        scene.fails(1, unreachable(), now);
        now = now + FAULTS_WITHIN + SECOND;
    }
    scene.fails(1, unreachable(), now);
    scene.fails(1, unreachable(), now);
    assert_eq!(scene.blocked(now), []);
    scene.fails(1, unreachable(), now);
    assert_eq!(scene.blocked(now), [Site::Gateway(gateway(1))]);
}

#[test]
fn a_block_grows_with_each_trial_that_fails_and_ends_with_one_that_succeeds() {
    let mut scene = Scene::new();
    let (mut now, mut longest) = (NOW, Duration::ZERO);
    scene.fails(1, overloaded(), now);
    for _ in 0..10 {
        let until = scene.until(now);
        longest = longest.max(until.since(now));
        assert_eq!(scene.passage(2, now), Some(false));
        now = until;
        assert_eq!(scene.passage(2, now), None, "ended, and not proven");
        scene.fails(2, overloaded(), now);
    }
    assert!(longest > Duration::from_secs(14) && longest <= PROVIDER_MAX, "{longest:?}");
    now = scene.until(now);
    assert!(scene.succeeds(1, now).contains(&Effect::Closed(Site::Provider(gateway(1), model("claude-a")))));
    assert_eq!(scene.passage(2, now), Some(true));
    scene.fails(1, overloaded(), now);
    assert!(scene.until(now) <= now + 2 * SECOND, "counted from the beginning again");
}

#[test]
fn one_request_tries_what_is_unproven() {
    let mut scene = Scene::new();
    scene.fails(1, overloaded(), NOW);
    let (way, shared, bell) = (scene.way(1), scene.health.publish(), Arc::default());
    let (through, name, of) = (&way.gateway, &way.model, &way.group);
    let now = scene.until(NOW);
    assert_eq!(shared.passage(through, name, of, now), Passage::Unproven { taken: false });
    let trying = shared.try_out(through, name, of, &bell, now).expect("the place of the one that tries");
    assert_eq!(shared.passage(through, name, of, now), Passage::Unproven { taken: true });
    assert!(shared.try_out(through, name, of, &bell, now).is_none());
    // The place is the same one in every state that is published.
    scene.fails(2, unreachable(), now);
    assert_eq!(scene.health.publish().passage(through, name, of, now), Passage::Unproven { taken: true });
    drop(trying);
    assert_eq!(shared.passage(through, name, of, now), Passage::Unproven { taken: false });
}

#[test]
fn a_result_says_nothing_about_what_changed_after_its_request_was_chosen() {
    let mut scene = Scene::new();
    let before = scene.way(1);
    scene.fails(2, overloaded(), NOW);
    assert_eq!(scene.step(Event::Succeeded(before.clone()), NOW), [], "an old success cleared a new block");
    let until = scene.until(NOW);
    scene.step(Event::Failed(before.clone(), overloaded()), until);
    assert_eq!(scene.blocked(until), [], "an old fault lengthened the block");
    scene.succeeds(2, until);
    scene.step(Event::Failed(before, overloaded()), until);
    assert_eq!(scene.blocked(until), [], "an old fault opened what was closed since");
}

#[test]
fn a_second_attempt_that_succeeds_shows_that_the_fault_was_chance_before_anybody_saw_it() {
    let mut scene = Scene::new();
    // Both are chosen by the same table; the second after the first has failed, and before that is published.
    let (seen, first) = (scene.health.publish(), scene.way(1));
    let at = seen.next_epoch();
    assert!(seen.in_doubt(&first.gateway, &first.model, &first.group), "what is under way is not seen yet");
    let second = Way { epoch: seen.epoch(), ..scene.way(2) };
    scene.health.step_at(at, Event::Failed(first, overloaded()), NOW, &mut scene.rng);
    assert_eq!(scene.blocked(NOW).len(), 1);
    scene.step(Event::Succeeded(second.clone()), NOW);
    assert_eq!(scene.blocked(NOW), []);
    assert!(!scene.health.publish().in_doubt(&second.gateway, &second.model, &second.group), "all is seen");
}

#[test]
fn a_gateway_that_refuses_an_account_works() {
    let narrow = [
        fault(Scope::Request, Reason::BadRequest, Hold::None),
        out_of_credit(),
        fault(Scope::Account, Reason::GrantRefused, Hold::UntilMinted),
        fault(Scope::Namespace, Reason::ProxyNotEnabled, Hold::UntilFixed),
        overloaded(),
    ];
    for answer in narrow {
        let mut scene = Scene::new();
        scene.fails(1, unreachable(), NOW);
        scene.fails(2, unreachable(), NOW);
        let now = scene.until(NOW);
        scene.fails(3, answer.clone(), now);
        assert!(!scene.blocked(NOW).contains(&Site::Gateway(gateway(1))), "{answer:?}");
    }
}

#[test]
fn a_namespace_that_is_shut_out_is_blocked_with_all_its_accounts_and_nobody_else() {
    let mut scene = Scene::new();
    scene.fails(1, fault(Scope::Namespace, Reason::ProxyNotEnabled, Hold::UntilFixed), NOW);
    assert_eq!(scene.blocked(NOW), [Site::Namespace(group(1))]);
    assert_eq!((scene.passage(1, NOW), scene.passage(2, NOW)), (Some(false), Some(true)));
    let way = scene.way(1);
    let shared = scene.health.publish();
    let passage = shared.passage(&way.gateway, &way.model, &way.group, NOW);
    assert!(matches!(passage, Passage::Blocked { by_opinion: false, .. }), "what it said of itself is no opinion");
}

/// Accounts `a`, `b` of one group and `c` of another, marked as the state says.
fn marked(scene: &Scene, now: Timestamp) -> Vec<bool> {
    let mut all: Vec<_> = [("a", 1), ("b", 1), ("c", 2)]
        .map(|(name, of)| {
            snapshot(name, |s| {
                s.id = AccountId::from_text(&format!("acct_{}", if name == "a" { 1 } else { 2 }));
                s.group = group(of);
            })
        })
        .into();
    scene.health.mark(&mut all, now);
    all.iter().map(|account| account.hinted).collect()
}

fn of_group_one(scene: &Scene, number: u8) -> Way {
    Way { group: group(1), ..scene.way(number) }
}

#[test]
fn who_may_draw_on_credits_that_ran_out_is_hinted_at_until_one_succeeds_or_all_were_refused() {
    let mut scene = Scene::new();
    let before = of_group_one(&scene, 2);
    let refused = Event::Failed(of_group_one(&scene, 1), out_of_credit());
    assert_eq!(scene.step(refused.clone(), NOW), [Effect::Publish, Effect::Remember]);
    assert_eq!(marked(&scene, NOW), [true, true, false]);
    assert_eq!(scene.passage(1, NOW), Some(true), "a hint hides nobody");
    // A success from before says nothing; a sibling's since then clears the hint.
    assert_eq!(scene.step(Event::Succeeded(before.clone()), NOW), []);
    scene.step(Event::Succeeded(of_group_one(&scene, 2)), NOW);
    assert_eq!(marked(&scene, NOW), [false, false, false]);
    scene.step(refused, NOW);
    assert_eq!(marked(&scene, NOW), [false, false, false], "a refusal from before the success");

    scene.step(Event::Failed(of_group_one(&scene, 1), out_of_credit()), NOW);
    assert_eq!(marked(&scene, NOW), [true, true, false]);
    scene.step(Event::Failed(of_group_one(&scene, 2), out_of_credit()), NOW);
    assert_eq!(marked(&scene, NOW), [false, false, false], "where all were refused, none is worse than another");
    assert_eq!(marked(&scene, NOW + QUOTA_CACHE_MAX), [false, false, false]);
}

#[test]
fn a_hint_ends_by_itself() {
    let mut scene = Scene::new();
    scene.step(Event::Failed(of_group_one(&scene, 1), out_of_credit()), NOW);
    assert_eq!(marked(&scene, NOW + QUOTA_CACHE_MAX - SECOND), [true, true, false]);
    assert_eq!(marked(&scene, NOW + QUOTA_CACHE_MAX), [false, false, false]);
    assert_eq!(scene.step(Event::Tick, NOW + QUOTA_CACHE_MAX), [Effect::Publish]);
    assert!(scene.health.hints.is_empty());
}

#[test]
fn a_reset_clears_what_keeps_the_account_and_nothing_else() {
    let mut scene = Scene::new();
    scene.fails(1, overloaded(), NOW);
    scene.fails(1, fault(Scope::Namespace, Reason::ProxyNotEnabled, Hold::UntilFixed), NOW);
    scene.fails(2, fault(Scope::Namespace, Reason::ProxyNotEnabled, Hold::UntilFixed), NOW);
    let elsewhere = Way { gateway: gateway(2), ..scene.way(1) };
    scene.step(Event::Failed(elsewhere, overloaded()), NOW);
    let pause = Block { reason: Reason::InstanceError, since: NOW, until: NOW + Duration::from_mins(1), attempts: 1 };
    scene.step(Event::Paused(InstanceUrl::gitlab_com(), Some(pause)), NOW);
    assert_eq!(scene.blocked(NOW).len(), 5);
    let (gateway_of, group_of) = (Some(gateway(1)), group(1));
    let reset = Event::Reset { gateway: gateway_of, group: group_of, instance: InstanceUrl::gitlab_com() };
    scene.step(reset, NOW);
    assert_eq!(scene.blocked(NOW), [Site::Provider(gateway(2), model("claude-a")), Site::Namespace(group(2))]);
}

#[test]
fn blocks_and_hints_outlive_a_restart_but_not_their_end() {
    let mut scene = Scene::new();
    scene.fails(1, fault(Scope::Namespace, Reason::ProxyNotEnabled, Hold::UntilFixed), NOW);
    let pause = Block { reason: Reason::InstanceError, since: NOW, until: NOW + Duration::from_mins(5), attempts: 3 };
    let told = scene.step(Event::Paused(InstanceUrl::gitlab_com(), Some(pause.clone())), NOW);
    assert!(told.contains(&Effect::Remember));
    scene.step(Event::Failed(of_group_one(&scene, 1), out_of_credit()), NOW);
    let kept = scene.health.memory(NOW);

    let again = Scene { health: SharedHealth::restored(Some(&kept), NOW + SECOND), ..Scene::new() };
    assert_eq!(again.blocked(NOW + SECOND), scene.blocked(NOW));
    assert_eq!(again.health.pauses(), &BTreeMap::from([(InstanceUrl::gitlab_com(), pause)]));
    assert_eq!(marked(&again, NOW + SECOND), [true, true, false]);

    let later = Scene { health: SharedHealth::restored(Some(&kept), NOW + LONGEST_HOLD), ..Scene::new() };
    assert_eq!(later.blocked(NOW), []);
    assert_eq!(marked(&later, NOW + LONGEST_HOLD), [false, false, false]);
    assert_eq!(
        SharedHealth::restored(Some(b"not what was written"), NOW).memory(NOW),
        SharedHealth::default().memory(NOW)
    );

    // Written by a clock that was a year ahead.
    let ahead = NOW - Duration::from_hours(24 * 365);
    let early = Scene { health: SharedHealth::restored(Some(&kept), ahead), ..Scene::new() };
    assert!(early.health.publish().blocked(ahead).iter().all(|(_, block)| block.until <= ahead + LONGEST_HOLD));
}

#[test]
fn what_can_be_remembered_is_bounded() {
    let mut scene = Scene::new();
    for number in 0..SITES_MAX + 100 {
        let way = Way { model: model(&format!("claude-{number}")), ..scene.way(1) };
        scene.step(Event::Failed(way, overloaded()), NOW + Duration::from_millis(number as u64));
        let way = Way { group: CreditGroup::of(&InstanceUrl::gitlab_com(), Some(&number.to_string())), ..scene.way(1) };
        scene.step(Event::Failed(way, out_of_credit()), NOW);
    }
    assert_eq!((scene.health.sites.len(), scene.health.hints.len()), (SITES_MAX, GROUPS_MAX));
    scene.step(Event::Tick, NOW + Duration::from_hours(2));
    assert_eq!((scene.health.sites.len(), scene.health.hints.len()), (0, 0));
}

/// Something that happens to some account, `after` so many milliseconds.
#[derive(Clone, Debug)]
struct Happening {
    account: u8,
    gateway: u8,
    kind: u8,
    after: u64,
    /// How many changes ago its request was chosen.
    age: u64,
}

fn happening() -> impl Strategy<Value = Happening> {
    (1_u8..4, 1_u8..3, 0_u8..9, 0_u64..40_000, 0_u64..3).prop_map(|(account, gateway, kind, after, age)| Happening {
        account,
        gateway,
        kind,
        after,
        age,
    })
}

fn fault_of(kind: u8) -> Option<Fault> {
    Some(match kind {
        0 => fault(Scope::Request, Reason::BadRequest, Hold::None),
        1 => out_of_credit(),
        2 => fault(Scope::Account, Reason::GrantRefused, Hold::UntilMinted),
        3 => fault(Scope::Provider, Reason::ProviderThrottled, Hold::For(Duration::from_hours(9))),
        4 => unreachable(),
        5 => fault(Scope::Host, Reason::GatewayUnreachable, Hold::Backoff),
        6 => fault(Scope::Namespace, Reason::ProxyNotEnabled, Hold::UntilFixed),
        _ => return None,
    })
}

proptest! {
    #[test]
    fn no_fault_blocks_more_than_it_proves_and_every_block_ends(all in prop::collection::vec(happening(), 1..120)) {
        let mut scene = Scene::new();
        let mut now = NOW;
        // Per site: who met faults of it since somebody got through, and how many there were.
        let mut met: BTreeMap<Site, (BTreeSet<u8>, u32)> = BTreeMap::new();
        for what in all {
            now = now + Duration::from_millis(what.after);
            let mut way = Way { gateway: gateway(what.gateway), ..scene.way(what.account) };
            way.epoch = Epoch(way.epoch.0.saturating_sub(what.age));
            let before = scene.blocked(now);
            let event = match fault_of(what.kind) {
                Some(fault) => Event::Failed(way.clone(), fault),
                None => Event::Succeeded(way.clone()),
            };
            let effects = scene.step(event, now);
            let after = scene.blocked(now);
            for site in after.iter().filter(|site| !before.contains(site)) {
                prop_assert!(effects.iter().any(|effect| matches!(effect, Effect::Opened(of, _) if of == site)));
                let kind = match site {
                    Site::Provider(of, name) => (3, *of == way.gateway && *name == way.model),
                    Site::Gateway(of) => (4, *of == way.gateway),
                    Site::Host => (5, true),
                    Site::Namespace(of) => (6, *of == way.group),
                    Site::Instance(_) => (9, false),
                };
                prop_assert_eq!(kind, (what.kind, true), "{} was blocked by a fault of something else", site);
            }
            let site = match what.kind {
                4 => Some(Site::Gateway(way.gateway.clone())),
                5 => Some(Site::Host),
                _ => None,
            };
            if let Some(site) = site {
                let (who, times) = met.entry(site.clone()).or_default();
                who.insert(what.account);
                *times += 1;
                let opened = after.contains(&site) && !before.contains(&site);
                prop_assert!(!opened || who.len() > 1 || *times >= FAULTS_IN_A_ROW, "{} opened without evidence", site);
            }
            if what.kind > 6 && what.age == 0 {
                let cleared = [Site::Provider(way.gateway.clone(), way.model.clone()), Site::Gateway(way.gateway), Site::Host,
                    Site::Namespace(way.group)];
                for site in cleared {
                    prop_assert!(!after.contains(&site), "{} is blocked after a success", site);
                    met.remove(&site);
                }
            }
            for (site, block) in scene.health.publish().blocked(now) {
                prop_assert!(block.until <= now + longest(&site), "{} is blocked for too long", site);
            }
            if !effects.is_empty() {
                prop_assert!(effects.contains(&Effect::Publish), "a change that nobody hears of");
            }
        }
        let end = now + LONGEST_HOLD;
        prop_assert_eq!(scene.blocked(end), vec![]);
        scene.step(Event::Tick, end + CLOSED_KEPT);
        prop_assert!(scene.health.sites.is_empty() && scene.health.hints.is_empty(), "something is never forgotten");
    }
}
