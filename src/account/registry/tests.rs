use arc_swap::ArcSwap;

use super::*;
use crate::account::api::Describe;
use crate::domain::endpoint::InstanceUrl;
use crate::domain::id::Generation;
use crate::domain::secret::Secret;
use crate::domain::time::{SystemClock, Timestamp};
use crate::gitlab::upstream::UpstreamSettings;
use crate::store::{Credential, MemoryStore};

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
        added_at: Timestamp::default(),
    }
}

async fn registry_of(records: &[AccountRecord]) -> (Addr<RegistryActor>, Published) {
    let (store, _) = StoreActor::start(Box::new(MemoryStore::default())).unwrap();
    for record in records {
        store.send(PutAccount(record.clone())).await.unwrap().unwrap();
    }
    let contents = store.send(Load).await.unwrap().unwrap();
    let published = Arc::new(ArcSwap::default());
    let registry = RegistryActor::start_with(RegistryParts {
        upstream: Upstream::new(&UpstreamSettings::with_web_roots(Duration::from_secs(1))),
        store,
        clock: Arc::new(SystemClock),
        catalogue: Arc::new(Catalogue::builtin().unwrap()),
        settings: AccountSettings { gateway: None, model: None, timers: false },
        published: Arc::clone(&published),
        contents,
    });
    (registry, published)
}

#[actix::test]
async fn an_account_that_died_is_started_afresh_from_the_store_and_the_others_are_left_alone() {
    let (first, second) = (record(1), record(2));
    let (registry, published) = registry_of(&[first.clone(), second.clone()]).await;
    let dead = registry.send(Find(first.id.clone())).await.unwrap().unwrap();
    let other = registry.send(Find(second.id.clone())).await.unwrap().unwrap();
    dead.send(Retire).await.unwrap();
    // Answered by nobody: the actor has ended by now, as one that panicked would.
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
    assert_eq!(revived.send(Describe).await.unwrap().username, "user-1");
    assert!(registry.send(Find(second.id.clone())).await.unwrap().unwrap() == other);
    assert_eq!(published.load().accounts.len(), 2);
}

#[actix::test]
async fn a_removed_account_is_gone_from_the_table_at_once_and_from_the_store() {
    let (registry, published) = registry_of(&[record(1), record(2)]).await;
    while published.load().accounts.len() < 2 {
        actix_web::rt::task::yield_now().await;
    }
    assert!(registry.send(RemoveAccount(record(1).id)).await.unwrap().unwrap());
    assert_eq!(published.load().accounts.iter().map(|a| a.id.clone()).collect::<Vec<_>>(), [record(2).id]);
    assert!(!registry.send(RemoveAccount(record(1).id)).await.unwrap().unwrap());
}
