use std::collections::BTreeMap;
use std::sync::LazyLock;
use std::time::Duration;

use rand::SeedableRng;
use rand::rngs::StdRng;

use super::*;
use crate::account::api::Block;
use crate::account::api::tests::{NOW, grant, snapshot};
use crate::account::shared_health::Refused;
use crate::domain::conversation::Conversation;
use crate::domain::endpoint::GatewayUrl;
use crate::domain::fault::Reason;

pub(super) const MESSAGES: &[Dialect] = &[Dialect::Messages];
/// Read once: the properties choose from it very often.
pub(super) static CATALOGUE: LazyLock<Catalogue> = LazyLock::new(|| Catalogue::builtin().unwrap());
const CHAT: &[Dialect] = &[Dialect::ChatCompletions, Dialect::Responses, Dialect::Messages];

pub(super) fn table(accounts: Vec<Arc<Snapshot>>) -> Table {
    Table { accounts, ..Table::default() }
}

pub(super) fn model(name: &str) -> ModelName {
    ModelName::parse(name).unwrap()
}

pub(super) fn ask(name: &str, dialects: &'static [Dialect]) -> Acquire {
    Acquire {
        wanted: CATALOGUE.resolve(name).unwrap(),
        dialects,
        pools: Arc::new(["default".to_owned()]),
        conversation: None,
        client: 0,
        patience: None,
        renewed_in_vain: false,
        tried: Vec::new(),
        refused: Vec::new(),
        trace: None,
    }
}

fn chosen<'a>(table: &'a Table, ask: &Acquire, seed: u64) -> Result<Choice<'a>, NoAccount> {
    let rules = Rules { catalogue: &CATALOGUE, family_fallback: true, strategy: Strategy::Balanced };
    choose(table, ask, &rules, NOW, &mut StdRng::seed_from_u64(seed), &mut Sheet::default())
}

pub(super) fn block(reason: Reason, seconds: u64) -> Block {
    Block { reason, since: NOW, until: NOW + Duration::from_secs(seconds), attempts: 1 }
}

#[test]
fn a_blocked_account_is_never_chosen() {
    let well = snapshot("a", |_| {});
    let ill = snapshot("b", |s| s.block = Some(block(Reason::ProxyNotEnabled, 60)));
    let table = table(vec![well.clone(), ill]);
    for seed in 0..1_000 {
        assert_eq!(
            chosen(&table, &ask("claude-sonnet-4-6", MESSAGES), seed).unwrap().account.id,
            well.id,
            "seed {seed}"
        );
    }
}

#[test]
fn a_blocked_model_does_not_block_the_account_for_others() {
    let models = BTreeMap::from([(model("claude-opus-4-8"), block(Reason::QuotaExhausted, 60))]);
    let table = table(vec![snapshot("a", |s| s.models = Arc::new(models))]);
    assert!(chosen(&table, &ask("claude-sonnet-4-6", MESSAGES), 0).is_ok());
    let none = chosen(&table, &ask("claude-opus-4-8", MESSAGES), 0).unwrap_err();
    assert!(matches!(none, NoAccount::Blocked { reason: Reason::QuotaExhausted, .. }));
}

#[test]
fn a_block_that_has_ended_does_not_count() {
    let table = table(vec![snapshot("a", |s| s.block = Some(block(Reason::QuotaExhausted, 0)))]);
    assert!(chosen(&table, &ask("claude-sonnet-4-6", MESSAGES), 0).is_ok());
}

#[test]
fn the_least_loaded_by_weight_serves() {
    let heavy = snapshot("a", |s| s.weight = 3);
    let light = snapshot("b", |_| {});
    let table = table(vec![heavy.clone(), light]);
    let mut held = Vec::new();
    for seed in 0..8 {
        let choice = chosen(&table, &ask("claude-sonnet-4-6", MESSAGES), seed).unwrap();
        held.push(choice.take(&Arc::default()).unwrap());
    }
    assert_eq!(heavy.gauge.in_flight(), 6);
}

#[test]
fn equals_are_chosen_by_chance_and_evenly() {
    let accounts: Vec<_> = ["a", "b", "c", "d"].iter().map(|name| snapshot(name, |_| {})).collect();
    let table = table(accounts.clone());
    let mut counts = BTreeMap::new();
    for seed in 0..4_000 {
        let id = chosen(&table, &ask("claude-sonnet-4-6", MESSAGES), seed).unwrap().account.id.clone();
        *counts.entry(id).or_insert(0_u32) += 1;
    }
    assert!(counts.len() == 4 && counts.values().all(|count| (850..1_150).contains(count)), "{counts:?}");
}

#[test]
fn a_higher_tier_is_used_first_and_a_full_one_is_passed_over() {
    let upper = snapshot("a", |s| (s.priority, s.max_concurrency) = (1, 1));
    let lower = snapshot("b", |_| {});
    let table = table(vec![lower.clone(), upper.clone()]);
    let first = chosen(&table, &ask("claude-sonnet-4-6", MESSAGES), 0).unwrap();
    assert_eq!(first.account.id, upper.id);
    let _held = first.take(&Arc::default()).unwrap();
    assert_eq!(chosen(&table, &ask("claude-sonnet-4-6", MESSAGES), 0).unwrap().account.id, lower.id);
}

#[test]
fn a_request_stays_within_the_pools_of_its_key() {
    let table = table(vec![snapshot("a", |s| s.pool = "team".into())]);
    assert!(matches!(chosen(&table, &ask("claude-sonnet-4-6", MESSAGES), 0), Err(NoAccount::Empty)));
    let everywhere = Acquire { pools: Arc::new([]), ..ask("claude-sonnet-4-6", MESSAGES) };
    assert!(chosen(&table, &everywhere, 0).is_ok());
}

#[test]
fn a_tried_account_is_not_tried_again() {
    let only = snapshot("a", |_| {});
    let table = table(vec![only.clone()]);
    let again = Acquire { tried: vec![only.id.clone()], ..ask("claude-sonnet-4-6", MESSAGES) };
    assert!(matches!(chosen(&table, &again, 0), Err(NoAccount::Exhausted)));
}

#[test]
fn a_refused_model_is_served_by_the_newest_of_its_family() {
    let account = snapshot("a", |_| {});
    let refused = Refused::default().with(GatewayUrl::cloud(), model("claude-sonnet-5-5"), NOW);
    let table = Table { accounts: vec![account], refused: Arc::new(refused), ..Table::default() };
    let choice = chosen(&table, &ask("claude-sonnet-5-5", MESSAGES), 0).unwrap();
    assert_eq!(choice.model.as_str(), "claude-sonnet-5");
    let also = Acquire {
        refused: vec![(GatewayUrl::cloud(), model("claude-sonnet-5"))],
        ..ask("claude-sonnet-5-5", MESSAGES)
    };
    assert_eq!(chosen(&table, &also, 0).unwrap().model.as_str(), "claude-sonnet-4-6");
}

#[test]
fn gitlab_duo_is_the_accounts_own_model_and_must_speak_the_dialect() {
    let gpt = snapshot("a", |s| s.current_model = model("gpt-5.5-2026-04-23"));
    let claude = snapshot("b", |_| {});
    let both = table(vec![gpt.clone(), claude.clone()]);
    for seed in 0..100 {
        assert_eq!(chosen(&both, &ask("gitlab-duo", MESSAGES), seed).unwrap().account.id, claude.id);
    }
    let gpt_only = table(vec![gpt]);
    assert!(matches!(chosen(&gpt_only, &ask("gitlab-duo", MESSAGES), 0), Err(NoAccount::OtherDialect { .. })));
    assert_eq!(chosen(&gpt_only, &ask("gitlab-duo", CHAT), 0).unwrap().dialect, Dialect::Responses);
}

#[test]
fn of_the_dialects_that_serve_a_client_the_one_that_the_catalogue_prefers_is_taken() {
    let shipped = Catalogue::builtin().unwrap();
    let old = r#"[[model]]
        name = "gpt-old"
        display_name = "Old"
        provider = "openai"
        family = "gpt"
        dialects = ["chat-completions", "responses"]
        context_tokens = 1000
        output_tokens = 1000
        thinking = "effort"
        accepts_sampling = true"#;
    let catalogue = shipped.with_overrides(old).unwrap();
    for (name, by_chat, by_messages) in [
        ("claude-sonnet-5", Some(Dialect::Messages), Some(Dialect::Messages)),
        ("claude-unheard-of", Some(Dialect::Messages), Some(Dialect::Messages)),
        ("gpt-5.5-2026-04-23", Some(Dialect::Responses), None),
        ("gpt-unheard-of", Some(Dialect::Responses), None),
        ("gpt-old", Some(Dialect::ChatCompletions), None),
    ] {
        let dialects = [CHAT, MESSAGES].map(|wanted| dialect_for(&model(name), wanted, &catalogue));
        assert_eq!(dialects, [by_chat, by_messages], "{name}");
    }
}

#[test]
fn the_earliest_honest_time_is_given_when_all_are_blocked() {
    let later = snapshot("a", |s| s.block = Some(block(Reason::QuotaExhausted, 600)));
    let sooner = snapshot("b", |s| s.block = Some(block(Reason::QuotaUnknown, 30)));
    let none = chosen(&table(vec![later, sooner]), &ask("claude-sonnet-4-6", MESSAGES), 0).unwrap_err();
    let NoAccount::Blocked { reason, until, .. } = none else { unreachable!("{none:?}") };
    assert_eq!((reason, until), (Reason::QuotaUnknown, NOW + Duration::from_secs(30)));
}

#[test]
fn of_two_blocks_on_one_account_the_later_end_is_the_honest_one() {
    let models = BTreeMap::from([(model("claude-sonnet-4-6"), block(Reason::QuotaExhausted, 600))]);
    let both = snapshot("a", |s| (s.block, s.models) = (Some(block(Reason::QuotaUnknown, 5)), Arc::new(models)));
    let none = chosen(&table(vec![both]), &ask("claude-sonnet-4-6", MESSAGES), 0).unwrap_err();
    let NoAccount::Blocked { reason, until, .. } = none else { unreachable!("{none:?}") };
    assert_eq!((reason, until), (Reason::QuotaExhausted, NOW + Duration::from_mins(10)));
}

#[test]
fn of_blocks_that_end_together_the_one_that_is_worth_retrying_is_told() {
    let of = |name, reason| snapshot(name, |s| s.block = Some(block(reason, 60)));
    let accounts =
        [of("a", Reason::QuotaExhausted), of("b", Reason::ProxyNotEnabled), of("c", Reason::ProviderThrottled)];
    for (number, told) in [(1, Reason::QuotaExhausted), (2, Reason::ProxyNotEnabled), (3, Reason::ProviderThrottled)] {
        for order in [1, -1] {
            let mut some = accounts[..number].to_vec();
            some.sort_by_key(|account| order * i32::from(account.id.as_str().as_bytes()[6]));
            let none = chosen(&table(some), &ask("claude-sonnet-4-6", MESSAGES), 0).unwrap_err();
            assert!(matches!(none, NoAccount::Blocked { reason, .. } if reason == told), "{none:?}");
        }
    }
}

#[test]
fn a_busy_account_is_worth_waiting_for_where_the_others_are_blocked() {
    let full = snapshot("a", |s| s.max_concurrency = 0);
    let ill = snapshot("b", |s| s.block = Some(block(Reason::QuotaExhausted, 600)));
    let both = table(vec![full, ill]);
    assert!(matches!(chosen(&both, &ask("claude-sonnet-4-6", MESSAGES), 0), Err(NoAccount::Busy)));
}

#[test]
fn a_new_grant_is_waited_for_before_a_busy_account_and_only_once() {
    let full = snapshot("a", |s| s.max_concurrency = 0);
    let bare = snapshot("b", |s| s.grant = None);
    let both = table(vec![full, bare]);
    let none = chosen(&both, &ask("claude-sonnet-4-6", MESSAGES), 0).unwrap_err();
    assert!(matches!(none, NoAccount::Blocked { busy: true, .. }), "{none:?}");
    let again = Acquire { renewed_in_vain: true, ..ask("claude-sonnet-4-6", MESSAGES) };
    assert!(matches!(chosen(&both, &again, 0), Err(NoAccount::Busy)));
}

#[test]
fn after_a_block_one_request_tries_and_the_others_pass_the_account_by() {
    let ended = |attempts| Block { attempts, ..block(Reason::QuotaUnknown, 0) };
    let doubtful = snapshot("a", |s| (s.priority, s.block) = (1, Some(ended(3))));
    let well = snapshot("b", |_| {});
    let table = table(vec![doubtful.clone(), well.clone()]);
    let probe = chosen(&table, &ask("claude-sonnet-4-6", MESSAGES), 0).unwrap();
    assert!(probe.is_probe && probe.account.id == doubtful.id);
    let probe = probe.take(&Arc::default()).unwrap();
    for seed in 0..100 {
        let other = chosen(&table, &ask("claude-sonnet-4-6", MESSAGES), seed).unwrap();
        assert!(!other.is_probe && other.account.id == well.id, "seed {seed}");
    }
    drop(probe);
    assert!(chosen(&table, &ask("claude-sonnet-4-6", MESSAGES), 0).unwrap().is_probe);
}

#[test]
fn a_doubtful_model_is_tried_by_one_request_and_others_use_the_account() {
    let ended = Block { attempts: 2, ..block(Reason::QuotaExhausted, 0) };
    let models = BTreeMap::from([(model("claude-opus-4-8"), ended)]);
    let only = table(vec![snapshot("a", |s| s.models = Arc::new(models))]);
    let probe = chosen(&only, &ask("claude-opus-4-8", MESSAGES), 0).unwrap().take(&Arc::default()).unwrap();
    assert!(matches!(chosen(&only, &ask("claude-opus-4-8", MESSAGES), 0), Err(NoAccount::Busy)));
    assert!(!chosen(&only, &ask("claude-sonnet-4-6", MESSAGES), 0).unwrap().is_probe);
    drop(probe);
}

#[test]
fn a_grant_that_was_refused_once_and_replaced_needs_no_probe() {
    let replaced = snapshot("a", |s| s.block = Some(block(Reason::GrantRefused, 0)));
    assert!(!chosen(&table(vec![replaced]), &ask("claude-sonnet-4-6", MESSAGES), 0).unwrap().is_probe);
    let twice = Block { attempts: 2, ..block(Reason::GrantRefused, 0) };
    let refused = snapshot("a", |s| s.block = Some(twice));
    assert!(chosen(&table(vec![refused]), &ask("claude-sonnet-4-6", MESSAGES), 0).unwrap().is_probe);
}

#[test]
fn an_account_whose_group_may_be_out_of_credit_is_chosen_last_and_never_hidden() {
    let hinted = snapshot("a", |s| (s.hinted, s.priority, s.weight) = (true, 9, 9));
    let lower = snapshot("b", |s| s.max_concurrency = 1);
    let both = table(vec![hinted.clone(), lower.clone()]);
    let first = chosen(&both, &ask("claude-sonnet-4-6", MESSAGES), 0).unwrap();
    assert_eq!(first.account.id, lower.id);
    let _held = first.take(&Arc::default()).unwrap();
    assert_eq!(chosen(&both, &ask("claude-sonnet-4-6", MESSAGES), 0).unwrap().account.id, hinted.id);
}

#[test]
fn an_ended_grant_is_not_used() {
    let table = table(vec![snapshot("a", |s| s.grant = Some(grant(NOW + Duration::from_secs(5))))]);
    let none = chosen(&table, &ask("claude-sonnet-4-6", MESSAGES), 0).unwrap_err();
    assert!(matches!(none, NoAccount::Blocked { reason: Reason::GrantMissing, .. }));
}

#[test]
fn every_account_that_is_looked_at_gets_its_verdict() {
    let until = NOW + Duration::from_mins(1);
    let of_model = BTreeMap::from([(model("claude-sonnet-4-6"), block(Reason::QuotaExhausted, 60))]);
    let refused = Refused::default().with(GatewayUrl::cloud(), model("claude-mystery-9"), NOW);
    let cases: Vec<(Arc<Snapshot>, Verdict)> = vec![
        (snapshot("a", |_| {}), Verdict::Fit),
        (snapshot("b", |s| s.block = Some(block(Reason::QuotaUnknown, 0))), Verdict::Probe),
        (snapshot("c", |s| s.pool = "team".into()), Verdict::OtherPool),
        (snapshot("d", |s| s.enabled = false), Verdict::Disabled),
        (
            snapshot("e", |s| s.block = Some(block(Reason::ProxyNotEnabled, 60))),
            Verdict::Blocked { scope: Scope::Account, reason: Reason::ProxyNotEnabled, until },
        ),
        (
            snapshot("f", |s| s.models = Arc::new(of_model.clone())),
            Verdict::Blocked { scope: Scope::Model, reason: Reason::QuotaExhausted, until },
        ),
        (snapshot("g", |s| s.grant = None), Verdict::NoGrant { reason: Reason::GrantMissing, until: NOW }),
        (
            snapshot("h", |s| (s.grant, s.trouble) = (None, Some(block(Reason::InstanceUnreachable, 60)))),
            Verdict::NoGrant { reason: Reason::InstanceUnreachable, until },
        ),
        (snapshot("i", |s| s.max_concurrency = 0), Verdict::Full),
        (snapshot("j", |s| s.current_model = model("gpt-5.5-2026-04-23")), Verdict::OtherDialect),
        (snapshot("k", |s| s.current_model = model("claude-mystery-9")), Verdict::NoModel),
        (snapshot("l", |_| {}), Verdict::Tried),
    ];
    let accounts: Vec<_> = cases.iter().map(|(account, _)| account.clone()).collect();
    let table = Table { accounts, refused: Arc::new(refused), ..Table::default() };
    let mut ask = ask("gitlab-duo", MESSAGES);
    ask.tried.push(cases[11].0.id.clone());
    let rules = Rules { catalogue: &CATALOGUE, family_fallback: false, strategy: Strategy::Balanced };
    let mut sheet = Sheet::bounded(cases.len());
    let choice = choose(&table, &ask, &rules, NOW, &mut StdRng::seed_from_u64(0), &mut sheet).unwrap();
    for ((account, wanted), seen) in cases.iter().zip(sheet.seen()) {
        assert_eq!((&seen.account, seen.verdict), (&account.id, *wanted));
    }
    let chosen = choice.noted();
    assert!(sheet.seen().iter().any(|seen| seen.account == chosen.account && seen.verdict.word().is_fit()));
    let probe = Lease::take(
        &cases[1].0,
        Terms {
            model: model("claude-sonnet-4-6"),
            dialect: Dialect::Messages,
            is_probe: true,
            turn: None,
            shared: Arc::default(),
            now: NOW,
        },
        &Arc::default(),
    );
    choose(&table, &ask, &rules, NOW, &mut StdRng::seed_from_u64(0), &mut sheet).unwrap();
    assert_eq!((probe.is_some(), sheet.seen()[1].verdict), (true, Verdict::Probing));
}

#[test]
fn what_decided_is_told() {
    let equal = table(vec![snapshot("a", |_| {}), snapshot("b", |_| {})]);
    let unequal = table(vec![snapshot("a", |_| {}), snapshot("b", |s| s.weight = 3)]);
    let firm = Some(Conversation::named(b"one"));
    for (table, strategy, conversation, decider) in [
        (&equal, Strategy::Balanced, None, Decider::Load),
        (&unequal, Strategy::Balanced, None, Decider::Share),
        (&equal, Strategy::Balanced, firm, Decider::Conversation),
        (&equal, Strategy::RoundRobin, None, Decider::Turn),
        (&equal, Strategy::FillFirst, firm, Decider::InUse),
        (&equal, Strategy::Random, None, Decider::Chance),
    ] {
        let ask = Acquire { conversation, ..ask("claude-sonnet-4-6", MESSAGES) };
        let rules = Rules { catalogue: &CATALOGUE, family_fallback: true, strategy };
        let mut rng = StdRng::seed_from_u64(1);
        let choice = choose(table, &ask, &rules, NOW, &mut rng, &mut Sheet::default()).unwrap();
        assert_eq!(choice.decider, decider, "{strategy}");
    }
}

#[test]
fn a_conversation_is_at_home_where_it_goes_while_all_are_well() {
    let accounts: Vec<_> = (0..6).map(|n| snapshot(&format!("n{n}"), |s| s.weight = 1 + n % 3)).collect();
    let table = table(accounts.clone());
    for name in 0..200_u32 {
        let conversation = Conversation::named(&name.to_le_bytes());
        let ask = Acquire { conversation: Some(conversation), ..ask("claude-sonnet-4-6", MESSAGES) };
        let home = at_home(conversation.key, accounts.iter().map(|account| (account.id.as_str(), account.weight)));
        assert_eq!(home, Some(chosen(&table, &ask, 0).unwrap().account.id.as_str()));
    }
}
