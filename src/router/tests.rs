use std::time::Duration;

use actix::Addr;

use super::*;
use crate::account::api::tests::{NOW, snapshot};
use crate::account::api::{Block, Snapshot, Table};
use crate::account::lease::Lease;
use crate::domain::catalogue::Wanted;
use crate::domain::fault::Reason;
use crate::domain::model::{Dialect, ModelName};
use crate::domain::time::TestClock;

const PATIENCE: Duration = Duration::from_mins(1);
const SETTINGS: RouterSettings = RouterSettings {
    family_fallback: true,
    strategy: Strategy::Balanced,
    queue_places: 4,
    queue_time: Duration::from_secs(20),
};

struct House {
    published: Published,
    clock: TestClock,
}

impl House {
    fn of(accounts: Vec<Arc<Snapshot>>) -> Self {
        let published = Published::default();
        published.store(Arc::new(Table { accounts, ..Table::default() }));
        Self { published, clock: TestClock::at(NOW) }
    }

    fn worker(&self, settings: RouterSettings) -> Addr<RouterActor> {
        let catalogue = Arc::new(Catalogue::builtin().unwrap());
        RouterActor::new(Arc::clone(&self.published), catalogue, Arc::new(self.clock.clone()), settings).start()
    }

    /// Publishes as the registry does.
    fn publish(&self, accounts: Vec<Arc<Snapshot>>) {
        let bell = Arc::clone(&self.published.load().bell);
        self.published.store(Arc::new(Table { accounts, bell: Arc::clone(&bell), ..Table::default() }));
        bell.ring();
    }

    fn waiting(&self) -> usize {
        self.published.load().bell.waiting()
    }
}

fn one_slot(name: &str) -> Arc<Snapshot> {
    snapshot(name, |s| s.max_concurrency = 1)
}

fn ask(client: usize) -> Acquire {
    Acquire {
        wanted: Wanted::Known(ModelName::parse("claude-sonnet-4-6").unwrap()),
        dialects: &[Dialect::Messages],
        pools: Arc::new([]),
        conversation: None,
        client,
        patience: Some(Instant::now() + PATIENCE),
        renewed_in_vain: false,
        tried: Vec::new(),
        refused: Vec::new(),
        trace: None,
    }
}

async fn lease(worker: &Addr<RouterActor>) -> Lease {
    match worker.send(ask(0)).await.unwrap() {
        Ok(Acquired::Lease(lease)) => lease,
        other => panic!("{other:?}"),
    }
}

async fn place(worker: &Addr<RouterActor>, client: usize) -> Place {
    match worker.send(ask(client)).await.unwrap() {
        Ok(Acquired::Place(place)) => place,
        other => panic!("{other:?}"),
    }
}

async fn is_refused(worker: &Addr<RouterActor>, client: usize) -> bool {
    matches!(worker.send(ask(client)).await.unwrap(), Err(NoAccount::Busy))
}

/// Ends a test that would wait in vain.
async fn soon<T>(wait: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(10), wait).await.expect("it happens")
}

#[actix::test]
async fn a_burst_of_requests_does_not_overrun_the_mailbox() {
    let router = House::of(Vec::new()).worker(SETTINGS);
    // Once it has answered it has started, and with it the mailbox of its own size; actix's default is 16.
    assert!(matches!(router.send(ask(0)).await, Ok(Err(NoAccount::Empty))));
    assert!((0..1_000).all(|_| router.try_send(ask(0)).is_ok()));
}

#[actix::test]
async fn a_slot_that_is_freed_on_another_thread_wakes_who_waits_here() {
    let account = one_slot("a");
    let house = House::of(vec![account.clone()]);
    let here = house.worker(SETTINGS);
    let (give, given) = std::sync::mpsc::channel::<Lease>();
    let elsewhere = std::thread::spawn(move || given.into_iter().for_each(drop));
    // So many times that the waiters' own looks, four in a second, would come too late.
    let many_times = async {
        let mut held = lease(&here).await;
        for _ in 0..100 {
            let place = place(&here, 0).await;
            assert_eq!(house.waiting(), 1);
            give.send(held).unwrap();
            held = place.wait().await.unwrap();
        }
        assert_eq!((account.gauge.in_flight(), house.waiting()), (1, 0));
        held
    };
    drop(soon(many_times).await);
    drop(give);
    elsewhere.join().unwrap();
    assert_eq!(account.gauge.in_flight(), 0);
}

#[actix::test]
async fn a_slot_that_is_freed_while_somebody_joins_the_queue_is_not_overlooked() {
    let account = one_slot("a");
    let house = House::of(vec![account.clone()]);
    let workers = [house.worker(SETTINGS), house.worker(SETTINGS)];
    let (give, given) = std::sync::mpsc::channel::<Lease>();
    let elsewhere = std::thread::spawn(move || given.into_iter().for_each(drop));
    let many_times = async {
        for round in 0..400 {
            give.send(lease(&workers[0]).await).unwrap();
            // Given back before, after or in the middle of this.
            let held = match workers[round % 2].send(ask(0)).await.unwrap() {
                Ok(Acquired::Lease(lease)) => lease,
                Ok(Acquired::Place(place)) => place.wait().await.unwrap(),
                Err(none) => panic!("{none:?}"),
            };
            drop(held);
        }
    };
    soon(many_times).await;
    drop(give);
    elsewhere.join().unwrap();
    assert_eq!((account.gauge.in_flight(), house.waiting()), (0, 0));
}

#[actix::test]
async fn keys_take_turns_however_many_of_their_requests_wait() {
    let house = House::of(vec![one_slot("a")]);
    let worker = house.worker(RouterSettings { queue_places: 64, ..SETTINGS });
    let mut held = Some(lease(&worker).await);
    let mut places = Vec::new();
    for client in [1, 1, 1, 1, 1, 2] {
        places.push((client, place(&worker, client).await));
    }
    let (_, last) = places.pop().unwrap();
    let (_, first) = places.remove(0);
    drop(held.take());
    let one = soon(first.wait()).await.unwrap();
    drop(one);
    // The only request of the other key comes second, not sixth.
    drop(soon(last.wait()).await.unwrap());
    for (_, place) in places {
        drop(soon(place.wait()).await.unwrap());
    }
}

#[actix::test]
async fn who_leaves_the_queue_frees_the_place_and_is_given_no_slot() {
    let account = one_slot("a");
    let house = House::of(vec![account.clone()]);
    let worker = house.worker(RouterSettings { queue_places: 1, ..SETTINGS });
    let held = lease(&worker).await;
    let left = place(&worker, 0).await;
    assert!(is_refused(&worker, 0).await);
    drop(left);
    assert_eq!(house.waiting(), 0);
    let stays = place(&worker, 0).await;
    drop(held);
    assert!(soon(stays.wait()).await.is_ok());
    assert_eq!(account.gauge.in_flight(), 0);
}

#[actix::test]
async fn a_lease_that_is_given_to_who_has_just_left_comes_back() {
    let account = one_slot("a");
    let house = House::of(vec![account.clone()]);
    let worker = house.worker(SETTINGS);
    let held = lease(&worker).await;
    let (leaves, stays) = (place(&worker, 0).await, place(&worker, 0).await);
    drop(held);
    // The router has answered the first one by now; it leaves without having looked.
    assert!(!is_refused(&worker, 9).await);
    drop(leaves);
    assert!(soon(stays.wait()).await.is_ok());
}

#[actix::test]
async fn the_wait_has_an_end() {
    let account = one_slot("a");
    let house = House::of(vec![account.clone()]);
    let worker = house.worker(RouterSettings { queue_time: Duration::from_millis(30), ..SETTINGS });
    let _held = lease(&worker).await;
    assert!(matches!(soon(place(&worker, 0).await.wait()).await, Err(NoAccount::Busy)));
    // The request's own deadline counts as well.
    let patient = house.worker(SETTINGS);
    let brief = Acquire { patience: Some(Instant::now() + Duration::from_millis(30)), ..ask(0) };
    let Ok(Acquired::Place(place)) = patient.send(brief).await.unwrap() else { panic!("no place") };
    assert!(matches!(soon(place.wait()).await, Err(NoAccount::Busy)));
    assert_eq!((house.waiting(), account.gauge.in_flight()), (0, 1));
    let hurried = Acquire { patience: None, ..ask(0) };
    assert!(matches!(patient.send(hurried).await.unwrap(), Err(NoAccount::Busy)));
}

#[actix::test]
async fn who_waits_hears_at_once_that_there_is_nothing_left_to_wait_for() {
    let account = one_slot("a");
    let house = House::of(vec![account.clone()]);
    let worker = house.worker(SETTINGS);
    let _held = lease(&worker).await;
    let places = [place(&worker, 0).await, place(&worker, 1).await];
    let until = NOW + Duration::from_mins(65);
    let block = Block { reason: Reason::QuotaExhausted, since: NOW, until, attempts: 1 };
    house.publish(vec![snapshot("a", |s| (s.block, s.gauge) = (Some(block), Arc::clone(&account.gauge)))]);
    for place in places {
        let none = soon(place.wait()).await.unwrap_err();
        assert!(matches!(none, NoAccount::Blocked { until: told, .. } if told == until), "{none:?}");
    }
}

#[actix::test]
async fn an_account_that_is_added_serves_who_waits_and_one_that_is_removed_keeps_its_stream() {
    let (old, new) = (one_slot("a"), one_slot("b"));
    let house = House::of(vec![old.clone()]);
    let worker = house.worker(SETTINGS);
    let held = lease(&worker).await;
    let place = place(&worker, 0).await;
    house.publish(vec![new.clone()]);
    assert_eq!(soon(place.wait()).await.unwrap().account().id, new.id);
    assert_eq!((held.account().id.clone(), old.gauge.in_flight()), (old.id.clone(), 1));
    held.succeeded();
    assert_eq!((old.gauge.in_flight(), old.gauge.served()), (0, 1));
}

#[actix::test]
async fn while_one_request_tries_an_account_out_the_others_wait_for_the_outcome() {
    let ended = Block { reason: Reason::QuotaExhausted, since: NOW, until: NOW, attempts: 3 };
    let account = snapshot("a", |s| s.block = Some(ended));
    let house = House::of(vec![account.clone()]);
    let worker = house.worker(SETTINGS);
    let mut probe = lease(&worker).await;
    let place = place(&worker, 0).await;
    // First content is outcome enough: nobody waits for the end of a long answer.
    probe.began(Duration::from_millis(10), NOW);
    let next = soon(place.wait()).await.unwrap();
    assert_eq!(account.gauge.in_flight(), 2);
    drop((probe, next));
    assert!(!account.gauge.is_probing());
}

#[actix::test]
async fn a_block_that_ends_by_the_clock_is_noticed_in_the_queue() {
    let full = one_slot("a");
    let block = Block { reason: Reason::QuotaUnknown, since: NOW, until: NOW + Duration::from_secs(2), attempts: 1 };
    let blocked = snapshot("b", |s| s.block = Some(block));
    let house = House::of(vec![full, blocked.clone()]);
    let worker = house.worker(SETTINGS);
    let _held = lease(&worker).await;
    let place = place(&worker, 0).await;
    house.clock.advance(Duration::from_secs(2));
    assert_eq!(soon(place.wait()).await.unwrap().account().id, blocked.id);
}
