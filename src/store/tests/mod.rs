mod backup;
mod damage;
mod logins;
mod schema;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::opening::open_database;
use super::*;
use crate::domain::endpoint::{GatewayUrl, InstanceUrl};
use crate::domain::oauth::{OAuthApp, OAuthPair};
use crate::domain::secret::Secret;
use crate::domain::time::Timestamp;

const TOKEN: &str = "glpat-very-secret-token";
const GATEWAY_TOKEN: &str = "eyJ-gateway-secret";
const HEADER: &str = "header-secret-value";
const CLIENT_SECRET: &str = "gloas-secret";
const TRIES: u32 = 30;

pub(super) fn key() -> MasterKey {
    MasterKey::from_bytes([7; 32])
}

fn generation(number: u64) -> Generation {
    (0..number).fold(Generation::default(), |generation, _| generation.next())
}

pub(super) fn account(user_id: u64, credential_generation: u64) -> AccountRecord {
    let instance = InstanceUrl::gitlab_com();
    AccountRecord {
        id: AccountId::of(&instance, user_id),
        instance,
        user_id,
        username: format!("user{user_id}"),
        label: Some("mine".to_owned()),
        pool: "default".to_owned(),
        priority: -1,
        weight: 2,
        max_concurrency: 16,
        enabled: true,
        gateway_url: None,
        reported_gateway: Some(GatewayUrl::cloud()),
        credential: Credential::PersonalAccessToken {
            token: Secret::new(TOKEN.to_owned()),
            scopes: vec!["ai_features".to_owned()],
            expires_on: Some("2027-01-31".to_owned()),
        },
        credential_generation: generation(credential_generation),
        exchange_begun_at: None,
        added_at: Timestamp::from_secs(1_793_178_000),
    }
}

fn app() -> OAuthApp {
    OAuthApp {
        client_id: "application".to_owned(),
        client_secret: Some(Secret::new(CLIENT_SECRET.to_owned())),
        redirect_uri: Some("http://127.0.0.1:17171/callback".to_owned()),
    }
}

pub(super) fn pair() -> OAuthPair {
    OAuthPair {
        access_token: Secret::new("access".to_owned()),
        refresh_token: Some(Secret::new("refresh".to_owned())),
        expires_at: Timestamp::from_secs(1_793_185_200),
        obtained_at: Timestamp::from_secs(1_793_178_000),
        scopes: vec!["api".to_owned()],
    }
}

pub(super) fn oauth_account(user_id: u64) -> AccountRecord {
    AccountRecord {
        credential: Credential::OAuth { app: app(), pair: pair() },
        exchange_begun_at: Some(Timestamp::from_secs(1_793_185_000)),
        ..account(user_id, 1)
    }
}

pub(super) fn login(id: &str, state: LoginState) -> LoginRecord {
    LoginRecord {
        id: id.to_owned(),
        instance: InstanceUrl::gitlab_com(),
        app: app(),
        state,
        label: Some("mine".to_owned()),
        pool: Some("team".to_owned()),
        priority: Some(-1),
        weight: Some(2),
        max_concurrency: Some(3),
        gateway_url: Some(GatewayUrl::cloud()),
        account: Some(account(7, 0).id),
        imported: pair().mark(),
        begun_at: Timestamp::from_secs(1_793_178_000),
    }
}

pub(super) fn grant(user_id: u64, number: u64) -> GrantRecord {
    GrantRecord {
        account: account(user_id, 0).id,
        generation: generation(number),
        token: Secret::new(GATEWAY_TOKEN.to_owned()),
        headers: vec![
            ("x-gitlab-instance-id".to_owned(), Secret::new(HEADER.to_owned())),
            ("x-gitlab-project-id".to_owned(), Secret::new(String::new())),
        ],
        expires_at: Timestamp::from_secs(1_793_181_600),
        minted_at: Timestamp::from_secs(1_793_178_000),
        credential_generation: generation(1),
        root_namespace_id: Some("9970".to_owned()),
        via: GrantSource::ThirdPartyAgents,
        gateway: GatewayUrl::cloud(),
    }
}

fn open(dir: &Path) -> SledStore {
    SledStore::open(dir, &key()).unwrap()
}

/// Runs `check` on both stores: they promise the same.
fn on_both(check: fn(&mut dyn Store)) {
    let dir = tempfile::tempdir().unwrap();
    check(&mut open(dir.path()));
    check(&mut MemoryStore::default());
}

#[test]
fn what_was_put_is_read_back_in_the_order_of_ids() {
    on_both(|store| {
        let mut accounts = [account(1, 1), account(2, 0), account(3, 5)];
        for record in &accounts {
            store.put_account(record).unwrap();
            store.put_grant(&grant(record.user_id, 4)).unwrap();
        }
        accounts.sort_by(|a, b| a.id.cmp(&b.id));
        let grants: Vec<_> = accounts.iter().map(|record| grant(record.user_id, 4)).collect();
        assert_eq!(store.load_accounts().unwrap(), Loaded { records: accounts.to_vec(), unreadable: vec![] });
        assert_eq!(store.load_grants().unwrap(), Loaded { records: grants, unreadable: vec![] });
    });
}

#[test]
fn a_pair_of_oauth_tokens_is_read_back_with_its_application_and_the_exchange_that_was_begun() {
    on_both(|store| {
        let record = oauth_account(1);
        store.put_account(&record).unwrap();
        assert_eq!(store.load_accounts().unwrap().records, [record]);
    });
}

#[test]
fn an_older_credential_never_replaces_a_newer_one() {
    on_both(|store| {
        store.put_account(&account(1, 3)).unwrap();
        let error = store.put_account(&account(1, 2)).unwrap_err();
        assert!(
            matches!(error, StoreError::Stale { stored, offered, .. } if stored == generation(3) && offered == generation(2))
        );
        assert_eq!(store.load_accounts().unwrap().records, [account(1, 3)]);
        let renamed = AccountRecord { label: None, ..account(1, 3) };
        store.put_account(&renamed).unwrap();
        assert_eq!(store.load_accounts().unwrap().records, [renamed]);
    });
}

#[test]
fn an_older_grant_never_replaces_a_newer_one() {
    on_both(|store| {
        store.put_account(&account(1, 0)).unwrap();
        store.put_grant(&grant(1, 8)).unwrap();
        assert!(matches!(store.put_grant(&grant(1, 7)), Err(StoreError::Stale { .. })));
        assert_eq!(store.load_grants().unwrap().records, [grant(1, 8)]);
        store.put_grant(&grant(1, 9)).unwrap();
        assert_eq!(store.load_grants().unwrap().records, [grant(1, 9)]);
    });
}

#[test]
fn a_removed_account_takes_its_grant_along_and_a_late_grant_is_refused() {
    on_both(|store| {
        for user_id in [1, 2] {
            store.put_account(&account(user_id, 0)).unwrap();
            store.put_grant(&grant(user_id, 1)).unwrap();
        }
        store.delete_account(&account(1, 0).id).unwrap();
        store.delete_account(&account(1, 0).id).unwrap();
        assert!(matches!(store.put_grant(&grant(1, 2)), Err(StoreError::NoSuchAccount(_))));
        assert_eq!(store.load_accounts().unwrap().records, [account(2, 0)]);
        assert_eq!(store.load_grants().unwrap().records, [grant(2, 1)]);
    });
}

#[test]
fn accounts_and_grants_survive_a_restart() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("data");
    let mut store = open(&dir);
    store.put_account(&account(1, 1)).unwrap();
    store.put_grant(&grant(1, 1)).unwrap();
    store.put_account(&account(2, 1)).unwrap();
    store.delete_account(&account(2, 1).id).unwrap();
    drop(store);
    let mut store = open(&dir);
    assert_eq!(store.load_accounts().unwrap().records, [account(1, 1)]);
    assert_eq!(store.load_grants().unwrap().records, [grant(1, 1)]);
    assert_eq!(fs::metadata(&dir).unwrap().permissions().mode() & 0o777, 0o700);
}

/// All bytes of all files below `dir`.
fn all_bytes(dir: &Path) -> Vec<u8> {
    let mut bytes = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        bytes.extend(if path.is_dir() { all_bytes(&path) } else { fs::read(path).unwrap() });
    }
    bytes
}

fn contains(bytes: &[u8], text: &str) -> bool {
    memchr::memmem::find(bytes, text.as_bytes()).is_some()
}

#[test]
fn no_secret_is_in_any_file_or_any_debug_output() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open(dir.path());
    store.put_account(&account(1, 1)).unwrap();
    store.put_grant(&grant(1, 1)).unwrap();
    let secret = |text: &str| Secret::new(text.to_owned());
    let (access, refresh) = ("oauth-access-secret", "oauth-refresh-secret");
    let pair = OAuthPair { access_token: secret(access), refresh_token: Some(secret(refresh)), ..pair() };
    let credential = Credential::OAuth { app: app(), pair: pair.clone() };
    store.put_account(&AccountRecord { credential, ..account(2, 1) }).unwrap();
    store.put_login(&login("l", LoginState::Issued(pair))).unwrap();
    let shown = format!("{store:?} {:?} {:?} {:?}", store.load_accounts(), store.load_grants(), store.load_logins());
    drop(store);
    let bytes = all_bytes(dir.path());
    assert!(contains(&bytes, "user1"), "the search finds what is stored in the clear");
    for secret in [TOKEN, GATEWAY_TOKEN, HEADER, CLIENT_SECRET, access, refresh] {
        assert!(!contains(&bytes, secret), "{secret}");
        assert!(!contains(shown.as_bytes(), secret), "{secret}");
    }
}

#[test]
fn a_wrong_master_key_is_refused_and_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open(dir.path());
    store.put_account(&account(1, 1)).unwrap();
    drop(store);
    let wrong = SledStore::open(dir.path(), &MasterKey::from_bytes([8; 32])).unwrap_err();
    assert!(matches!(wrong, StoreError::WrongKey));
    assert_eq!(open(dir.path()).load_accounts().unwrap().records, [account(1, 1)]);
}

#[test]
fn accounts_without_a_key_check_are_not_taken_over_by_a_new_key() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open(dir.path());
    store.put_account(&account(1, 1)).unwrap();
    drop(store);
    for lost in ["key_check", "schema"] {
        let db = open_database(dir.path(), TRIES).unwrap();
        let meta = db.open_tree("meta").unwrap();
        let kept = meta.remove(lost).unwrap().unwrap();
        drop((meta, db));
        let refused = SledStore::open(dir.path(), &MasterKey::from_bytes([8; 32])).unwrap_err();
        assert!(matches!(refused, StoreError::Damaged(_)), "{lost}: {refused}");
        let db = open_database(dir.path(), TRIES).unwrap();
        db.open_tree("meta").unwrap().insert(lost, kept).unwrap();
    }
    assert_eq!(open(dir.path()).load_accounts().unwrap().records, [account(1, 1)]);
}

#[test]
fn a_folder_of_a_newer_duopool_is_refused_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    drop(open(dir.path()));
    let db = open_database(dir.path(), TRIES).unwrap();
    db.open_tree("meta").unwrap().insert("schema", "99").unwrap();
    drop(db);
    let error = SledStore::open(dir.path(), &key()).unwrap_err();
    assert!(matches!(error, StoreError::NewerSchema { found: 99, .. }));
    let db = open_database(dir.path(), TRIES).unwrap();
    assert_eq!(db.open_tree("meta").unwrap().get("schema").unwrap().as_deref(), Some(&b"99"[..]));
}

#[test]
fn a_folder_in_use_is_refused_with_its_name() {
    let dir = tempfile::tempdir().unwrap();
    let _store = open(dir.path());
    let error = open_database(dir.path(), 2).unwrap_err();
    assert!(matches!(&error, StoreError::InUse(busy) if busy == dir.path()));
    assert!(error.to_string().contains("another duopool uses"));
}

/// Changes the stored bytes of a record, then opens the store again.
fn tampered(dir: &Path, tree: &str, key: &AccountId, change: impl FnOnce(String) -> String) -> SledStore {
    let db = open_database(dir, TRIES).unwrap();
    let records = db.open_tree(tree).unwrap();
    let before = String::from_utf8(records.get(key.as_str()).unwrap().unwrap().to_vec()).unwrap();
    let after = change(before.clone());
    assert_ne!(before, after, "the change must change something");
    records.insert(key.as_str(), after.as_str()).unwrap();
    drop((records, db));
    fs::remove_file(dir.join(second_copy::FILE)).unwrap();
    open(dir)
}

#[test]
fn a_damaged_account_is_reported_and_kept_while_others_load() {
    type Change = fn(String) -> String;
    let cases: [(Change, RecordError); 4] = [
        (|text| text[..text.len() / 2].to_owned(), RecordError::Damaged),
        (|text| text.replace(r#"{"v":1"#, r#"{"v":2"#), RecordError::UnknownVersion(2)),
        (|text| text.replace("https://gitlab.com", "https://evil.example"), RecordError::BrokenSeal),
        (|text| text.replace(r#""sealed":""#, r#""sealed":"AAAA"#), RecordError::BrokenSeal),
    ];
    for (change, reason) in cases {
        let dir = tempfile::tempdir().unwrap();
        let mut store = open(dir.path());
        store.put_account(&account(1, 1)).unwrap();
        store.put_account(&account(2, 1)).unwrap();
        drop(store);
        let id = account(1, 1).id;
        let mut store = tampered(dir.path(), "accounts", &id, change);
        let expected =
            Loaded { records: vec![account(2, 1)], unreadable: vec![Unreadable { id: id.to_string(), reason }] };
        assert_eq!(store.load_accounts().unwrap(), expected);
        let refused = store.put_account(&account(1, 9)).unwrap_err();
        assert!(matches!(refused, StoreError::Unreadable { source, .. } if source == reason), "{refused}");
        assert_eq!(store.load_accounts().unwrap(), expected);
        store.delete_account(&id).unwrap();
        store.put_account(&account(1, 0)).unwrap();
        assert_eq!(store.load_accounts().unwrap().records.len(), 2);
    }
}

#[test]
fn a_record_moved_to_another_account_does_not_open() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open(dir.path());
    store.put_account(&account(1, 1)).unwrap();
    store.put_account(&account(2, 1)).unwrap();
    let foreign =
        String::from_utf8(codec::encode_account(&seal::Sealer::new(&key()), &account(2, 1)).unwrap()).unwrap();
    drop(store);
    let id = account(1, 1).id;
    let mut store = tampered(dir.path(), "accounts", &id, |_| foreign);
    let unreadable = store.load_accounts().unwrap().unreadable;
    assert_eq!(unreadable, [Unreadable { id: id.to_string(), reason: RecordError::BrokenSeal }]);
}

#[test]
fn a_damaged_grant_is_reported_and_a_new_one_takes_its_place() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open(dir.path());
    store.put_account(&account(1, 1)).unwrap();
    store.put_grant(&grant(1, 5)).unwrap();
    drop(store);
    let id = account(1, 1).id;
    let mut store = tampered(dir.path(), "grants", &id, |text| text.replace("cloud.gitlab.com", "evil.example"));
    let loaded = store.load_grants().unwrap();
    assert_eq!(
        loaded,
        Loaded {
            records: vec![],
            unreadable: vec![Unreadable { id: id.to_string(), reason: RecordError::BrokenSeal }]
        }
    );
    store.put_grant(&grant(1, 1)).unwrap();
    assert_eq!(store.load_grants().unwrap().records, [grant(1, 1)]);
}

#[test]
fn the_actor_writes_in_order_and_leaves_the_store_for_the_next_start() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().to_owned();
    actix::System::new().block_on(async move {
        let (store, arbiter) = StoreActor::start(Box::new(open(&path))).unwrap();
        assert!(matches!(store.send(PutGrant(grant(1, 1))).await.unwrap(), Err(StoreError::NoSuchAccount(_))));
        let writes = (store.send(PutAccount(account(1, 1))), store.send(PutGrant(grant(1, 1))));
        let (account_put, grant_put) = futures::join!(writes.0, writes.1);
        account_put.unwrap().unwrap();
        grant_put.unwrap().unwrap();
        assert!(matches!(store.send(PutAccount(account(1, 0))).await.unwrap(), Err(StoreError::Stale { .. })));
        store.send(PutAccount(account(2, 0))).await.unwrap().unwrap();
        store.send(DeleteAccount(account(2, 0).id)).await.unwrap().unwrap();
        store.send(Flush).await.unwrap().unwrap();
        let contents = store.send(Load).await.unwrap().unwrap();
        assert_eq!(contents.accounts.records, [account(1, 1)]);
        assert_eq!(contents.grants.records, [grant(1, 1)]);
        arbiter.stop();
        arbiter.join().unwrap();
        assert_eq!(open(&path).load_accounts().unwrap().records, [account(1, 1)]);
    });
}
