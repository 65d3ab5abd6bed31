//! What a block that accounts share means for the choice.

use rand::SeedableRng;
use rand::rngs::StdRng;

use super::tests::{CATALOGUE, MESSAGES, ask, model, table};
use super::*;
use crate::account::api::tests::{NOW, grant, snapshot};
use crate::account::shared_health::{Event, SharedHealth, Way};
use crate::domain::endpoint::GatewayUrl;
use crate::domain::fault::{Fault, Hold, Reason, Scope};
use crate::trace::Sheet;
use std::time::Duration;

const MODEL: &str = "claude-sonnet-4-6";

/// An account of tier `priority` behind the gateway at `url`.
fn behind(url: &str, name: &str, priority: i32) -> Arc<Snapshot> {
    snapshot(name, |s| {
        s.priority = priority;
        let mut other = Arc::into_inner(grant(NOW + Duration::from_hours(1))).unwrap();
        other.gateway = GatewayUrl::parse(url).unwrap();
        s.grant = Some(Arc::new(other));
    })
}

/// A table of `accounts` after a request on the first of them failed.
fn after(accounts: Vec<Arc<Snapshot>>, scope: Scope, reason: Reason, hold: Hold) -> Table {
    let (mut health, first) = (SharedHealth::default(), &accounts[0]);
    let (group, gateway) = (first.group.clone(), first.grant.as_ref().unwrap().gateway.clone());
    let epoch = health.publish().epoch();
    let way = Way { account: first.id.clone(), group, gateway, model: model(MODEL), epoch };
    let fault = Fault { scope, reason, hold, curable: true };
    health.step(Event::Failed(way, fault), NOW, &mut StdRng::seed_from_u64(0));
    Table { shared: health.publish(), ..table(accounts) }
}

fn chosen<'a>(table: &'a Table, ask: &Acquire, now: Timestamp) -> Result<Choice<'a>, NoAccount> {
    let rules = Rules { catalogue: &CATALOGUE, family_fallback: true, strategy: Strategy::Balanced };
    choose(table, ask, &rules, now, &mut StdRng::seed_from_u64(0), &mut Sheet::default())
}

const HERE: &str = "https://gw.example.com";
const THERE: &str = "https://other.example.com";
const LONG: Hold = Hold::For(Duration::from_secs(25));

#[test]
fn a_blocked_provider_is_passed_over_for_its_model_and_gateway_alone() {
    let accounts = vec![behind(HERE, "a", 9), behind(THERE, "b", 0)];
    let other = accounts[1].id.clone();
    let table = after(accounts, Scope::Provider, Reason::ProviderThrottled, LONG);
    assert_eq!(chosen(&table, &ask(MODEL, MESSAGES), NOW).unwrap().account.id, other);
    assert_ne!(chosen(&table, &ask("claude-opus-4-8", MESSAGES), NOW).unwrap().account.id, other);
}

#[test]
fn where_every_account_shares_a_block_it_is_told_with_its_end_and_waited_for_if_that_is_near() {
    let two = || vec![behind(HERE, "a", 0), behind(HERE, "b", 0)];
    let table = after(two(), Scope::Provider, Reason::ProviderThrottled, LONG);
    let none = chosen(&table, &ask(MODEL, MESSAGES), NOW).unwrap_err();
    assert!(
        matches!(none, NoAccount::Blocked { reason: Reason::ProviderThrottled, until, .. } if until > NOW),
        "{none:?}"
    );
    let table = after(two(), Scope::Provider, Reason::ProviderError, Hold::Backoff);
    let none = chosen(&table, &ask(MODEL, MESSAGES), NOW).unwrap_err();
    assert!(matches!(none, NoAccount::Paused { reason: Reason::ProviderError, .. }), "{none:?}");
}

#[test]
fn a_request_on_its_way_tests_what_others_think_but_only_as_a_last_resort() {
    let accounts = vec![behind(HERE, "a", 9), behind(HERE, "b", 9), behind(THERE, "c", 0)];
    let ids: Vec<_> = accounts.iter().map(|account| account.id.clone()).collect();
    let table = after(accounts, Scope::Provider, Reason::ProviderError, Hold::Backoff);
    let on_its_way = Acquire { tried: vec![ids[0].clone()], ..ask(MODEL, MESSAGES) };
    assert_eq!(chosen(&table, &on_its_way, NOW).unwrap().account.id, ids[2], "whom nothing speaks against comes first");
    let late = Acquire { tried: vec![ids[0].clone(), ids[2].clone()], ..ask(MODEL, MESSAGES) };
    assert_eq!(chosen(&table, &late, NOW).unwrap().account.id, ids[1]);
}

#[test]
fn a_namespace_that_is_shut_out_is_no_opinion() {
    let accounts = vec![behind(HERE, "a", 0), behind(HERE, "b", 0)];
    let tried = vec![accounts[0].id.clone()];
    let table = after(accounts, Scope::Namespace, Reason::ProxyNotEnabled, Hold::UntilFixed);
    let none = chosen(&table, &Acquire { tried, ..ask(MODEL, MESSAGES) }, NOW).unwrap_err();
    assert!(matches!(none, NoAccount::Blocked { reason: Reason::ProxyNotEnabled, .. }), "{none:?}");
}

#[test]
fn after_a_shared_block_one_request_tries_for_all_accounts() {
    let accounts = vec![behind(HERE, "a", 0), behind(HERE, "b", 0)];
    let table = after(accounts, Scope::Provider, Reason::ProviderError, Hold::Backoff);
    let now = NOW + Duration::from_secs(3);
    let (bell, ask) = (Arc::default(), ask(MODEL, MESSAGES));
    // Two workers may choose at the same time; one of them gets the place.
    let (one, other) = (chosen(&table, &ask, now).unwrap(), chosen(&table, &ask, now).unwrap());
    let lease = one.take(&bell).unwrap();
    assert!(other.take(&bell).is_none());
    assert!(matches!(chosen(&table, &ask, now), Err(NoAccount::Busy)));
    drop(lease);
    assert!(chosen(&table, &ask, now).is_ok());
    // One that thinks for long is not waited for.
    let _slow = chosen(&table, &ask, now).unwrap().take(&bell).unwrap();
    assert!(chosen(&table, &ask, now + Duration::from_secs(10)).unwrap().take(&bell).is_some());
}
