use arc_swap::ArcSwap;

use super::*;
use crate::account::api::Describe;
use crate::account::lease::Rung;
use crate::account::login::Given;
use crate::account::minting::Mint;
use crate::domain::endpoint::InstanceUrl;
use crate::domain::id::Generation;
use crate::domain::oauth::{OAuthApp, OAuthPair};
use crate::domain::secret::Secret;
use crate::domain::time::{SystemClock, Timestamp};
use crate::gitlab::direct_access::{Endpoint, Minted};
use crate::gitlab::error::{Call, not_the_api};
use crate::gitlab::upstream::tests::upstreams;
use crate::store::{Credential, MemoryStore, PutAccount};

fn record(user_id: u64) -> AccountRecord {
    // Nothing listens there, and without timers nobody asks.
    let instance = InstanceUrl::parse("http://127.0.0.1:9").unwrap();
    AccountRecord {
        id: AccountId::of(&instance, user_id),
        instance,
        user_id,
        username: format!("user-{user_id}"),
        label: None,
        pool: "default".to_owned(),
        priority: 0,
        weight: 1,
        max_concurrency: 4,
        enabled: true,
        gateway_url: None,
        reported_gateway: None,
        credential: Credential::PersonalAccessToken {
            token: Secret::new("t".to_owned()),
            scopes: vec!["api".to_owned()],
            expires_on: None,
        },
        credential_generation: Generation::default(),
        exchange_begun_at: None,
        added_at: Timestamp::default(),
    }
}

/// Removes an account; returns whether it was known.
async fn remove(registry: &Addr<RegistryActor>, id: &AccountId) -> bool {
    registry.send(RemoveAccount { id: id.clone(), revoke: false }).await.unwrap().unwrap().is_some()
}

async fn registry_of(records: &[AccountRecord]) -> (Addr<RegistryActor>, Published) {
    let (registry, published, _) = registry_and_store_of(records).await;
    (registry, published)
}

async fn registry_and_store_of(records: &[AccountRecord]) -> (Addr<RegistryActor>, Published, Addr<StoreActor>) {
    let (store, _) = StoreActor::start(Box::new(MemoryStore::default())).unwrap();
    for record in records {
        store.send(PutAccount(record.clone())).await.unwrap().unwrap();
    }
    let contents = store.send(Load).await.unwrap().unwrap();
    let published = Arc::new(ArcSwap::default());
    let registry = RegistryActor::start_with(RegistryParts {
        upstreams: upstreams(),
        store: store.clone(),
        clock: Arc::new(SystemClock),
        catalogue: Arc::new(Catalogue::builtin().unwrap()),
        settings: AccountSettings { gateways: Arc::default(), model: None, timers: false },
        published: Arc::clone(&published),
        contents,
    });
    (registry, published, store)
}

/// Makes an account's actor panic.
#[derive(Message)]
#[rtype(result = "()")]
struct Panic;

impl Handler<Panic> for AccountActor {
    type Result = ();

    fn handle(&mut self, _: Panic, _: &mut Self::Context) {
        panic!("on purpose");
    }
}

#[actix::test]
async fn an_account_that_died_is_started_afresh_from_the_store_and_the_others_are_left_alone() {
    let (first, second) = (record(1), record(2));
    let (registry, published) = registry_of(&[first.clone(), second.clone()]).await;
    let dead = registry.send(Find(first.id.clone())).await.unwrap().unwrap();
    let other = registry.send(Find(second.id.clone())).await.unwrap().unwrap();
    let before = dead.send(Describe).await.unwrap();
    assert!(dead.send(Panic).await.is_err());
    // Answered by nobody: a panic ends the actor.
    assert!(dead.send(Describe).await.is_err());

    registry.send(Watch).await.unwrap();
    // The restart waits for the store; asking again in turn lets it go on.
    let revived = loop {
        let found = registry.send(Find(first.id.clone())).await.unwrap().unwrap();
        if found != dead {
            break found;
        }
        actix_web::rt::task::yield_now().await;
    };
    let after = revived.send(Describe).await.unwrap();
    assert_eq!(after.username, "user-1");
    // With the credential that it had.
    assert_eq!((after.token_scopes, after.login_generation), (before.token_scopes, before.login_generation));
    assert_eq!(after.credential, before.credential);
    assert!(registry.send(Find(second.id.clone())).await.unwrap().unwrap() == other);
    assert_eq!(published.load().accounts.len(), 2);
}

#[actix::test]
async fn a_removed_account_is_gone_from_the_table_at_once_and_from_the_store() {
    let (registry, published) = registry_of(&[record(1), record(2)]).await;
    while published.load().accounts.len() < 2 {
        actix_web::rt::task::yield_now().await;
    }
    assert!(remove(&registry, &record(1).id).await);
    assert_eq!(published.load().accounts.iter().map(|a| a.id.clone()).collect::<Vec<_>>(), [record(2).id]);
    assert!(!remove(&registry, &record(1).id).await);
}

#[actix::test]
async fn a_login_that_a_removal_overtakes_does_not_bring_the_account_back() {
    let record = record(1);
    let (registry, _, store) = registry_and_store_of(std::slice::from_ref(&record)).await;
    let account = registry.send(Find(record.id.clone())).await.unwrap().unwrap();
    let minted = Minted {
        token: Secret::new("g".to_owned()),
        headers: Vec::new(),
        expires_at: SystemClock.now() + Duration::from_hours(1),
        root_namespace_id: None,
        reported_gateway: None,
        completion_model: None,
    };
    let gateway = GatewayUrl::parse("http://127.0.0.1:9/ai").unwrap();
    let mint = Mint { minted, endpoint: Endpoint::Agents, gateway, reported: None, completion_model: None };
    let given = Given::default();
    account.do_send(Relogin {
        credential: record.credential.clone(),
        username: "ada".to_owned(),
        given,
        mint: Ok(mint),
        imported: None,
        login: None,
    });
    assert!(remove(&registry, &record.id).await);
    assert!(store.send(Load).await.unwrap().unwrap().accounts.records.is_empty());
}

fn oauth(refresh_token: &str, obtained_at: Timestamp) -> (Credential, OAuthPair) {
    let pair = OAuthPair {
        access_token: Secret::new("a".to_owned()),
        refresh_token: Some(Secret::new(refresh_token.to_owned())),
        expires_at: obtained_at + Duration::from_hours(2),
        obtained_at,
        scopes: vec!["api".to_owned()],
    };
    let app = OAuthApp { client_id: "app".to_owned(), client_secret: None, redirect_uri: None };
    (Credential::OAuth { app, pair: pair.clone() }, pair)
}

#[actix::test]
async fn what_was_imported_replaces_the_pair_that_it_was_exchanged_for_and_no_other_login() {
    let now = SystemClock.now();
    let (present, spent) = oauth("one", now);
    let (_, other) = oauth("other", now);
    let record = AccountRecord { credential: present, ..record(1) };
    let (registry, _, store) = registry_and_store_of(std::slice::from_ref(&record)).await;
    let account = registry.send(Find(record.id.clone())).await.unwrap().unwrap();
    let next = oauth("two", now + Duration::from_secs(1)).0;
    let stored = async || store.send(Load).await.unwrap().unwrap().accounts.records.remove(0).credential;
    for (imported, taken) in [(other.mark(), false), (spent.mark(), true), (spent.mark(), false)] {
        let before = stored().await;
        let done = account.send(Relogin {
            credential: next.clone(),
            username: "ada".to_owned(),
            given: Given::default(),
            mint: Err(not_the_api(Call::Mint)),
            imported,
            login: None,
        });
        match done.await.unwrap() {
            Ok(()) => assert!(taken && stored().await == next),
            Err(LoginError::Known(id)) => assert!(!taken && id == record.id && stored().await == before),
            Err(error) => panic!("{error}"),
        }
    }
}

/// Counts how often it is told that something changed.
struct Sleeper(tokio::sync::mpsc::UnboundedSender<()>);

impl Actor for Sleeper {
    type Context = Context<Self>;
}

impl Handler<Rung> for Sleeper {
    type Result = ();

    fn handle(&mut self, _: Rung, _: &mut Self::Context) {
        self.0.send(()).unwrap();
    }
}

#[actix::test]
async fn whoever_waits_for_an_account_is_told_of_every_new_table() {
    let (registry, published) = registry_of(&[record(1)]).await;
    registry.send(Settle).await.unwrap();
    let (told, mut hears) = tokio::sync::mpsc::unbounded_channel();
    let bell = Arc::clone(&published.load().bell);
    let line = bell.line(Sleeper(told).start().recipient());
    let waiting = bell.wait(&line);
    assert!(remove(&registry, &record(1).id).await);
    let heard = tokio::time::timeout(Duration::from_secs(10), hears.recv()).await;
    assert_eq!(heard, Ok(Some(())));
    assert!(Arc::ptr_eq(&bell, &published.load().bell), "the same bell in every table");
    drop(waiting);
}
