//! Logins on their way to an account, and what accounts remember of their health.

use super::failing_store::FailingStore;
use super::*;

#[test]
fn a_login_is_read_back_as_it_was_put_before_and_after_its_pair_came() {
    on_both(|store| {
        for record in [login("b", LoginState::Exchanging), login("a", LoginState::Issued(pair()))] {
            store.put_login(&record).unwrap();
        }
        let bare = LoginRecord {
            label: None,
            pool: None,
            priority: None,
            weight: None,
            max_concurrency: None,
            gateway_url: None,
            account: None,
            imported: None,
            ..login("c", LoginState::Exchanging)
        };
        store.put_login(&bare).unwrap();
        let records = vec![login("a", LoginState::Issued(pair())), login("b", LoginState::Exchanging), bare];
        assert_eq!(store.load_logins().unwrap(), Loaded { records, unreadable: vec![] });
        store.put_login(&login("b", LoginState::Issued(pair()))).unwrap();
        assert_eq!(store.load_logins().unwrap().records[1], login("b", LoginState::Issued(pair())));
    });
}

#[test]
fn a_login_never_loses_its_pair_to_an_exchange_that_is_told_late() {
    on_both(|store| {
        store.put_login(&login("a", LoginState::Issued(pair()))).unwrap();
        let refused = store.put_login(&login("a", LoginState::Exchanging)).unwrap_err();
        assert!(matches!(&refused, StoreError::LoginIssued(id) if id == "a"), "{refused}");
        assert!(refused.is_final());
        assert_eq!(store.load_logins().unwrap().records, [login("a", LoginState::Issued(pair()))]);
    });
}

#[test]
fn an_account_takes_the_place_of_its_login_and_a_refused_one_leaves_it() {
    on_both(|store| {
        for id in ["a", "b"] {
            store.put_login(&login(id, LoginState::Issued(pair()))).unwrap();
        }
        store.put_account_from_login(&oauth_account(1), "a").unwrap();
        assert_eq!(store.load_accounts().unwrap().records, [oauth_account(1)]);
        assert_eq!(store.load_logins().unwrap().records, [login("b", LoginState::Issued(pair()))]);
        // As after a reply that was lost.
        store.put_account_from_login(&oauth_account(1), "a").unwrap();
        let refused = store.put_account_from_login(&account(1, 0), "b").unwrap_err();
        assert!(matches!(refused, StoreError::Stale { .. }) && refused.is_final());
        assert_eq!(store.load_logins().unwrap().records.len(), 1);
        store.delete_login("b").unwrap();
        store.delete_login("b").unwrap();
        assert_eq!(store.load_logins().unwrap().records, []);
    });
}

#[test]
fn logins_and_health_survive_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open(dir.path());
    store.put_login(&login("a", LoginState::Exchanging)).unwrap();
    store.put_login(&login("b", LoginState::Issued(pair()))).unwrap();
    store.put_account_from_login(&oauth_account(1), "b").unwrap();
    store.put_health(&account(1, 0).id, b"{}").unwrap();
    drop(store);
    let mut store = open(dir.path());
    assert_eq!(store.load_logins().unwrap().records, [login("a", LoginState::Exchanging)]);
    assert_eq!(store.load_accounts().unwrap().records, [oauth_account(1)]);
    assert_eq!(store.load_health().unwrap(), [(account(1, 0).id, b"{}".to_vec())]);
}

#[test]
fn a_damaged_login_is_reported_and_makes_way_for_its_pair() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open(dir.path());
    store.put_login(&login("a", LoginState::Exchanging)).unwrap();
    drop(store);
    let moved = |text: String| text.replace("https://gitlab.com", "https://evil.example");
    let mut store = tampered(dir.path(), "logins", &AccountId::from_text("a"), moved);
    let unreadable = store.load_logins().unwrap().unreadable;
    assert_eq!(unreadable, [Unreadable { id: "a".to_owned(), reason: RecordError::BrokenSeal }]);
    store.put_login(&login("a", LoginState::Issued(pair()))).unwrap();
    assert_eq!(store.load_logins().unwrap().records, [login("a", LoginState::Issued(pair()))]);
}

#[test]
fn health_belongs_to_a_stored_account_and_goes_with_it() {
    on_both(|store| {
        let id = account(1, 0).id;
        assert!(matches!(store.put_health(&id, b"x"), Err(StoreError::NoSuchAccount(_))));
        store.put_account(&account(1, 0)).unwrap();
        store.put_health(&id, b"x").unwrap();
        store.put_health(&id, b"y").unwrap();
        assert_eq!(store.load_health().unwrap(), [(id.clone(), b"y".to_vec())]);
        store.delete_account(&id).unwrap();
        assert_eq!(store.load_health().unwrap(), []);
    });
}

#[test]
fn what_accounts_share_is_kept_beside_what_each_remembers() {
    on_both(|store| {
        assert_eq!(store.load_shared_health().unwrap(), None);
        store.put_account(&account(1, 0)).unwrap();
        store.put_health(&account(1, 0).id, b"own").unwrap();
        store.put_shared_health(b"x").unwrap();
        store.put_shared_health(b"shared").unwrap();
        assert_eq!(store.load_shared_health().unwrap(), Some(b"shared".to_vec()));
        assert_eq!(store.load_health().unwrap(), [(account(1, 0).id, b"own".to_vec())]);
        store.delete_account(&account(1, 0).id).unwrap();
        assert_eq!(store.load_shared_health().unwrap(), Some(b"shared".to_vec()));
    });
    let dir = tempfile::tempdir().unwrap();
    open(dir.path()).put_shared_health(b"shared").unwrap();
    assert_eq!(open(dir.path()).load_shared_health().unwrap(), Some(b"shared".to_vec()));
}

#[test]
fn a_failing_store_stores_nothing_until_it_is_mended() {
    let mut store = FailingStore::default();
    let switch = store.switch();
    switch.fill_disk();
    let full = store.put_account(&account(1, 0)).unwrap_err();
    assert!(matches!(full, StoreError::Sync(_)) && !full.is_final());
    assert!(store.put_login(&login("a", LoginState::Exchanging)).is_err() && store.flush().is_err());
    switch.fail(StoreError::WrongKey);
    assert!(store.put_grant(&grant(1, 0)).unwrap_err().is_final());
    assert!(store.load_accounts().unwrap().records.is_empty());
    switch.mend();
    store.put_account_from_login(&account(1, 0), "a").unwrap();
    assert_eq!(store.load_accounts().unwrap().records.len(), 1);
}

#[test]
fn the_actor_keeps_a_login_until_it_is_an_account() {
    actix::System::new().block_on(async {
        let (store, _arbiter) = StoreActor::start(Box::<MemoryStore>::default()).unwrap();
        store.send(PutLogin(login("a", LoginState::Exchanging))).await.unwrap().unwrap();
        store.send(PutLogin(login("a", LoginState::Issued(pair())))).await.unwrap().unwrap();
        store.send(PutLogin(login("b", LoginState::Exchanging))).await.unwrap().unwrap();
        let became = PutAccountFromLogin { record: oauth_account(1), login: "a".to_owned() };
        store.send(became).await.unwrap().unwrap();
        let health = PutHealth { account: account(1, 0).id, bytes: b"{}".to_vec() };
        store.send(health).await.unwrap().unwrap();
        let contents = store.send(Load).await.unwrap().unwrap();
        assert_eq!(contents.accounts.records, [oauth_account(1)]);
        assert_eq!(contents.logins.records, [login("b", LoginState::Exchanging)]);
        assert_eq!(contents.health, [(account(1, 0).id, b"{}".to_vec())]);
        store.send(DeleteLogin("b".to_owned())).await.unwrap().unwrap();
        assert!(store.send(Load).await.unwrap().unwrap().logins.records.is_empty());
    });
}
