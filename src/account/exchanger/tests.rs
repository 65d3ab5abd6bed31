use std::time::Duration;

use super::*;
use crate::account::api::SharedNews;
use crate::account::broker::{Ask, BrokerActor, Turn};
use crate::account::turns::Urgency;
use crate::domain::fault::Reason;
use crate::domain::secret::Secret;
use crate::domain::time::TestClock;
use crate::gitlab::upstream::tests::raw_server::{Peer, RawServer, give_way, in_time};
use crate::gitlab::upstream::tests::upstreams;
use crate::store::failing_store::{FailingStore, Switch};
use crate::store::{AccountRecord, DeleteAccount, Load, PutAccount};

const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);
const TOKENS: &str =
    r#"{"access_token":"access-2","token_type":"Bearer","expires_in":7200,"refresh_token":"refresh-2"}"#;

/// Takes what accounts are sent, and hands it on.
struct Desk {
    turns: futures::channel::mpsc::UnboundedSender<Permit>,
    news: futures::channel::mpsc::UnboundedSender<News>,
}

impl Actor for Desk {
    type Context = Context<Self>;
}

impl Handler<Turn> for Desk {
    type Result = ();

    fn handle(&mut self, Turn(turn): Turn, _: &mut Context<Self>) {
        self.turns.unbounded_send(turn.unwrap_or_else(|block| panic!("no turn: {block:?}"))).expect("somebody listens");
    }
}

impl Handler<Exchanged> for Desk {
    type Result = ();

    fn handle(&mut self, Exchanged { of, news }: Exchanged, _: &mut Context<Self>) {
        assert_eq!(of, generation(1));
        // A test that has seen enough listens no more.
        drop(self.news.unbounded_send(news));
    }
}

fn generation(number: u64) -> Generation {
    (0..number).fold(Generation::default(), |generation, _| generation.next())
}

fn credential(number: u64) -> Credential {
    let app = OAuthApp { client_id: "app".to_owned(), client_secret: None, redirect_uri: None };
    let pair = OAuthPair {
        access_token: Secret::new(format!("access-{number}")),
        refresh_token: Some(Secret::new(format!("refresh-{number}"))),
        expires_at: NOW + Duration::from_hours(2),
        obtained_at: NOW,
        scopes: Vec::new(),
    };
    Credential::OAuth { app, pair }
}

/// An account with pair 1, and everything that is needed to exchange it at a server of bare sockets.
struct Bench {
    gitlab: RawServer,
    store: Addr<StoreActor>,
    disk: Switch,
    broker: Addr<BrokerActor>,
    exchanger: Addr<ExchangerActor>,
    record: AccountRecord,
}

impl Bench {
    async fn new() -> Self {
        let gitlab = RawServer::start().await;
        let store = FailingStore::default();
        let disk = store.switch();
        let (store, _) = StoreActor::start(Box::new(store)).unwrap();
        let instance = InstanceUrl::parse(&gitlab.root()).unwrap();
        let record = AccountRecord {
            id: AccountId::of(&instance, 1),
            instance,
            user_id: 1,
            username: "ada".to_owned(),
            label: None,
            pool: "default".to_owned(),
            priority: 0,
            weight: 1,
            max_concurrency: 4,
            enabled: true,
            gateway_url: None,
            reported_gateway: None,
            credential: credential(1),
            credential_generation: generation(1),
            exchange_begun_at: None,
            added_at: NOW,
        };
        store.send(PutAccount(record.clone())).await.unwrap().unwrap();
        let clock = Arc::new(TestClock::at(NOW));
        let exchanger = ExchangerActor::start_with(upstreams(), store.clone(), clock.clone());
        Self {
            gitlab,
            store,
            disk,
            broker: BrokerActor::start_with(clock, Deaf.start().recipient(), BTreeMap::new()),
            exchanger,
            record,
        }
    }

    /// Orders the exchange of pair 1, and returns what is told of it.
    async fn exchange(&self) -> futures::channel::mpsc::UnboundedReceiver<News> {
        let (turns, mut turn) = futures::channel::mpsc::unbounded();
        let (news, told) = futures::channel::mpsc::unbounded();
        let desk = Desk { turns, news }.start();
        self.broker.do_send(Ask {
            instance: self.record.instance.clone(),
            account: self.record.id.clone(),
            urgency: Urgency::Operator,
            desk: desk.clone().recipient(),
        });
        let permit = next(&mut turn).await;
        let Credential::OAuth { app, pair } = self.record.credential.clone() else { panic!("an OAuth login") };
        let (account, instance) = (self.record.id.clone(), self.record.instance.clone());
        let what = What { account, instance, app, pair, generation: generation(1) };
        self.exchanger.do_send(Exchange { what, permit, desk: desk.recipient() });
        told
    }

    async fn stored(&self) -> Vec<AccountRecord> {
        self.store.send(Load).await.unwrap().unwrap().accounts.records
    }
}

async fn next<T>(from: &mut futures::channel::mpsc::UnboundedReceiver<T>) -> T {
    in_time(futures::StreamExt::next(from)).await.expect("something comes")
}

async fn say_tokens(peer: &mut Peer) {
    // The next request comes by a connection of its own.
    let head = "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-type: application/json";
    peer.say(format!("{head}\r\ncontent-length: {}\r\n\r\n{TOKENS}", TOKENS.len()).as_bytes()).await;
}

/// Takes the request by which the pair that was just handed out is given back, and answers it with `status`.
async fn take_back(gitlab: &RawServer, status: &str) {
    let request = gitlab.answer_once(format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n").as_bytes()).await;
    assert_eq!(request.line, "POST /oauth/revoke HTTP/1.1");
    let body = String::from_utf8_lossy(&request.body).into_owned();
    assert!(body.contains("token=refresh-2") && body.contains("client_id=app"), "{body}");
}

fn token_of(record: &AccountRecord) -> &str {
    record.credential.token().expose()
}

#[actix::test]
async fn the_note_is_on_disk_before_gitlab_is_asked_and_goes_with_the_old_pair() {
    let bench = Bench::new().await;
    let mut told = bench.exchange().await;
    let mut peer = bench.gitlab.accept().await;
    peer.request().await;
    assert_eq!(bench.stored().await[0].exchange_begun_at, Some(NOW));
    say_tokens(&mut peer).await;
    let News::Stored(credential, number) = next(&mut told).await else { panic!("it is stored") };
    assert_eq!((credential.token().expose().as_str(), number), ("access-2", generation(2)));
    let record = &bench.stored().await[0];
    assert_eq!((token_of(record), record.credential_generation), ("access-2", generation(2)));
    assert_eq!(record.exchange_begun_at, None);
}

#[actix::test]
async fn gitlab_is_not_asked_while_the_disk_takes_no_note() {
    let bench = Bench::new().await;
    bench.disk.fill_disk();
    let mut told = bench.exchange().await;
    let News::Ended(Ended::Refused(fault)) = next(&mut told).await else { panic!("it is refused") };
    assert_eq!(fault.reason, Reason::StoreFailed);
    assert!(!bench.gitlab.has_visitor().await);
}

#[actix::test]
async fn a_pair_that_the_disk_refuses_is_kept_in_memory_until_it_takes_it_and_the_end_waits_for_that() {
    let bench = Bench::new().await;
    let mut told = bench.exchange().await;
    let mut peer = bench.gitlab.accept().await;
    peer.request().await;
    bench.disk.fill_disk();
    say_tokens(&mut peer).await;
    let News::Unsaved(block) = next(&mut told).await else { panic!("it is not stored") };
    assert_eq!(block.reason, Reason::StoreFailed);
    let mut finish = Box::pin(bench.exchanger.send(Finish));
    assert!(futures::poll!(&mut finish).is_pending());
    for _ in 0..100 {
        give_way().await;
    }
    assert!(futures::poll!(&mut finish).is_pending(), "the pair would be lost with the process");
    assert_eq!(token_of(&bench.stored().await[0]), "access-1");
    bench.disk.mend();
    // More failures may have been under way.
    while !matches!(next(&mut told).await, News::Stored(..)) {}
    in_time(finish).await.unwrap();
    assert_eq!(token_of(&bench.stored().await[0]), "access-2");
}

#[actix::test]
async fn an_account_that_was_started_afresh_joins_the_exchange_that_runs() {
    let bench = Bench::new().await;
    let mut first = bench.exchange().await;
    let mut peer = bench.gitlab.accept().await;
    peer.request().await;
    let mut second = bench.exchange().await;
    assert!(!bench.gitlab.has_visitor().await, "the pair would be exchanged twice at a time");
    say_tokens(&mut peer).await;
    for told in [&mut first, &mut second] {
        assert!(matches!(next(told).await, News::Stored(..)));
    }
}

#[actix::test]
async fn an_account_that_was_removed_does_not_come_back() {
    let bench = Bench::new().await;
    let mut told = bench.exchange().await;
    let mut peer = bench.gitlab.accept().await;
    peer.request().await;
    bench.store.send(DeleteAccount(bench.record.id.clone())).await.unwrap().unwrap();
    say_tokens(&mut peer).await;
    assert!(matches!(next(&mut told).await, News::Ended(_)));
    assert!(bench.stored().await.is_empty());
}

#[actix::test]
async fn what_is_handed_out_for_nobody_is_given_back_and_who_removed_the_account_hears_how_that_went() {
    for (status, given_back) in [("200 OK", Ok(())), ("503 X", Err(Reason::InstanceError))] {
        let bench = Bench::new().await;
        let _told = bench.exchange().await;
        let mut peer = bench.gitlab.accept().await;
        peer.request().await;
        bench.store.send(DeleteAccount(bench.record.id.clone())).await.unwrap().unwrap();
        let mut outlived = Box::pin(bench.exchanger.send(Outlived(bench.record.id.clone())));
        let mut finish = Box::pin(bench.exchanger.send(Finish));
        assert!(futures::poll!(&mut outlived).is_pending() && futures::poll!(&mut finish).is_pending());
        say_tokens(&mut peer).await;
        in_time(take_back(&bench.gitlab, status)).await;
        assert_eq!(in_time(outlived).await.unwrap().map_err(|error| error.fault.reason), given_back);
        in_time(finish).await.unwrap();
        // Nothing runs any more, and nobody waits.
        in_time(bench.exchanger.send(Outlived(bench.record.id.clone()))).await.unwrap().unwrap();
    }
}

#[actix::test]
async fn a_login_that_overtook_the_exchange_stays() {
    // Also one of an account that was removed and added again, which has the first number anew.
    for number in [3, 1] {
        let bench = Bench::new().await;
        let mut told = bench.exchange().await;
        let mut peer = bench.gitlab.accept().await;
        peer.request().await;
        bench.store.send(DeleteAccount(bench.record.id.clone())).await.unwrap().unwrap();
        let record = AccountRecord {
            credential: credential(7),
            credential_generation: generation(number),
            ..bench.record.clone()
        };
        bench.store.send(PutAccount(record.clone())).await.unwrap().unwrap();
        say_tokens(&mut peer).await;
        let News::Stored(credential, there) = next(&mut told).await else { panic!("something newer is stored") };
        assert_eq!((*credential, there), (record.credential.clone(), generation(number)));
        assert_eq!(bench.stored().await, [record]);
        in_time(take_back(&bench.gitlab, "200 OK")).await;
    }
}

#[actix::test]
async fn a_refusal_leaves_no_note_and_an_answer_that_never_came_does() {
    for (answer, note) in [
        ("HTTP/1.1 429 X\r\ncontent-length: 0\r\n\r\n", None),
        ("HTTP/1.1 502 X\r\ncontent-length: 0\r\n\r\n", Some(NOW)),
    ] {
        let bench = Bench::new().await;
        let mut told = bench.exchange().await;
        bench.gitlab.answer_once(answer.as_bytes()).await;
        assert!(matches!(next(&mut told).await, News::Ended(_)));
        let record = &bench.stored().await[0];
        assert_eq!((token_of(record), record.exchange_begun_at), ("access-1", note), "{answer}");
    }
}

#[actix::test]
async fn settings_that_change_meanwhile_touch_neither_the_login_nor_its_note() {
    let bench = Bench::new().await;
    let mut told = bench.exchange().await;
    let mut peer = bench.gitlab.accept().await;
    peer.request().await;
    let settings = AccountRecord { label: Some("hers".to_owned()), ..bench.record.clone() };
    bench.store.send(crate::store::PutSettings(settings.clone())).await.unwrap().unwrap();
    assert_eq!(bench.stored().await[0].exchange_begun_at, Some(NOW));
    say_tokens(&mut peer).await;
    assert!(matches!(next(&mut told).await, News::Stored(..)));
    bench.store.send(crate::store::PutSettings(settings)).await.unwrap().unwrap();
    let record = &bench.stored().await[0];
    assert_eq!((token_of(record), record.label.as_deref()), ("access-2", Some("hers")));
}

#[actix::test]
async fn a_pair_that_was_written_but_not_synced_can_be_written_again() {
    let bench = Bench::new().await;
    for written in [Written::Fresh, Written::Before] {
        let write = PutPair {
            account: bench.record.id.clone(),
            of: credential(1),
            generation: generation(1),
            next: credential(2),
        };
        assert_eq!(bench.store.send(write).await.unwrap().unwrap(), written);
    }
}

/// Is told which instances are left alone, and does nothing about it.
struct Deaf;

impl Actor for Deaf {
    type Context = Context<Self>;
}

impl Handler<SharedNews> for Deaf {
    type Result = ();

    fn handle(&mut self, _: SharedNews, _: &mut Self::Context) {}
}
