//! Backups and what comes back from them.

use super::*;
use crate::store::backup::{self, Backup, BackupError, MakeBackup};
use crate::store::{Outcome, Restored};

const NOW: Timestamp = Timestamp::from_secs(1_793_180_000);

fn passphrase(text: &str) -> Secret<String> {
    Secret::new(text.to_owned())
}

fn contents(accounts: Vec<AccountRecord>, logins: Vec<LoginRecord>) -> Contents {
    Contents {
        accounts: Loaded { records: accounts, unreadable: vec![] },
        grants: Loaded { records: vec![grant(1, 1)], unreadable: vec![] },
        logins: Loaded { records: logins, unreadable: vec![] },
        health: Vec::new(),
        shared_health: None,
    }
}

fn sealed(accounts: Vec<AccountRecord>) -> Vec<u8> {
    backup::seal(&contents(accounts, vec![]), &passphrase("correct horse"), NOW).unwrap()
}

fn backup_of(accounts: Vec<AccountRecord>) -> Backup {
    Backup { made_at: NOW, accounts, logins: vec![] }
}

fn outcomes(restored: &[Restored]) -> Vec<Outcome> {
    restored.iter().map(|one| one.outcome).collect()
}

fn renewed(record: AccountRecord, number: u64) -> AccountRecord {
    let credential = Credential::PersonalAccessToken {
        token: Secret::new(format!("glpat-number-{number}")),
        scopes: vec![],
        expires_on: None,
    };
    AccountRecord { credential, credential_generation: generation(number), ..record }
}

#[test]
fn a_backup_opens_under_its_passphrase_alone_and_shows_no_secret() {
    let logins = vec![login("a", LoginState::Issued(pair()))];
    let all = contents(vec![account(1, 1), oauth_account(2)], logins.clone());
    let bytes = backup::seal(&all, &passphrase("correct horse"), NOW).unwrap();
    for secret in [TOKEN, CLIENT_SECRET, GATEWAY_TOKEN, HEADER, "user1", "correct horse"] {
        assert!(!contains(&bytes, secret), "{secret}");
    }
    let opened = backup::open(&bytes, &passphrase("correct horse")).unwrap();
    let mut accounts = opened.accounts.clone();
    accounts.sort_by_key(|record| record.user_id);
    assert_eq!((accounts, &opened.logins, opened.made_at), (vec![account(1, 1), oauth_account(2)], &logins, NOW));
    for wrong in ["", "correct hors", "correct horse "] {
        assert!(matches!(backup::open(&bytes, &passphrase(wrong)), Err(BackupError::WrongPassphrase)), "{wrong}");
    }
}

#[test]
fn a_backup_that_was_cut_or_changed_does_not_open() {
    let bytes = sealed(vec![account(1, 1)]);
    let open = |bytes: &[u8]| backup::open(bytes, &passphrase("correct horse"));
    for length in [0, 1, bytes.len() / 2, bytes.len() - 1] {
        assert!(matches!(open(&bytes[..length]), Err(BackupError::NotABackup)), "{length}");
    }
    let text = String::from_utf8(bytes).unwrap();
    let changed = |from: &str, to: &str| {
        let changed = text.replace(from, to);
        assert_ne!(changed, text);
        open(changed.as_bytes()).unwrap_err()
    };
    assert!(matches!(changed("\"accounts\":1", "\"accounts\":2"), BackupError::WrongPassphrase));
    assert!(matches!(changed("\"sealed\":\"", "\"sealed\":\"AAAA"), BackupError::WrongPassphrase));
    assert!(matches!(changed("\"duopool_backup\":1", "\"duopool_backup\":2"), BackupError::Newer(2)));
    // Nor does it make this machine work for hours.
    assert!(matches!(changed("\"memory_kib\":65536", "\"memory_kib\":4294967295"), BackupError::NotABackup));
    assert!(matches!(changed("\"passes\":3", "\"passes\":1000000"), BackupError::NotABackup));
    assert!(matches!(open(b"{\"accounts\": []}"), Err(BackupError::NotABackup)));
}

#[test]
fn no_backup_is_made_under_a_short_passphrase_or_with_an_account_missing() {
    let all = contents(vec![account(1, 1)], vec![]);
    assert!(matches!(backup::seal(&all, &passphrase("1234567"), NOW), Err(BackupError::ShortPassphrase)));
    let mut all = all;
    all.accounts.unreadable = vec![Unreadable { id: "acct_x".to_owned(), reason: RecordError::Damaged }];
    let refused = backup::seal(&all, &passphrase("12345678"), NOW).unwrap_err();
    assert!(matches!(&refused, BackupError::Unreadable(id) if id == "acct_x"), "{refused}");
}

#[test]
fn a_backup_fills_an_empty_folder_under_another_key() {
    let bytes = sealed(vec![account(1, 1), oauth_account(2)]);
    let dir = tempfile::tempdir().unwrap();
    let other = MasterKey::from_bytes([9; 32]);
    let mut store = SledStore::open(dir.path(), &other).unwrap();
    let backup = backup::open(&bytes, &passphrase("correct horse")).unwrap();
    let restored = store.restore(&backup, false).unwrap();
    assert_eq!(outcomes(&restored), [Outcome::Added, Outcome::Added]);
    drop(store);
    let mut store = SledStore::open(dir.path(), &other).unwrap();
    let mut accounts = store.load_accounts().unwrap().records;
    accounts.sort_by_key(|record| record.user_id);
    assert_eq!(accounts, [account(1, 1), oauth_account(2)]);
    assert_eq!(outcomes(&store.restore(&backup, true).unwrap()), [Outcome::Unchanged, Outcome::Unchanged]);
}

#[test]
fn a_newer_credential_stays_unless_the_operator_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open(dir.path());
    let stored = renewed(account(1, 0), 5);
    store.put_account(&stored).unwrap();
    store.put_grant(&grant(1, 1)).unwrap();
    for offered in [renewed(account(1, 0), 4), AccountRecord { credential_generation: generation(5), ..account(1, 0) }]
    {
        let restored = store.restore(&backup_of(vec![offered]), false).unwrap();
        assert_eq!(outcomes(&restored), [Outcome::KeptNewer]);
        assert_eq!(store.load_accounts().unwrap().records, std::slice::from_ref(&stored));
        assert_eq!(store.load_grants().unwrap().records.len(), 1);
    }
    // Removed after the backup was made, and added again: its generations began anew.
    let young = AccountRecord { added_at: Timestamp::from_secs(1_793_999_000), ..renewed(account(2, 0), 1) };
    store.put_account(&young).unwrap();
    let restored = store.restore(&backup_of(vec![renewed(account(2, 0), 9)]), false).unwrap();
    assert_eq!(outcomes(&restored), [Outcome::KeptNewer]);

    let old = renewed(account(1, 0), 4);
    assert_eq!(outcomes(&store.restore(&backup_of(vec![old.clone()]), true).unwrap()), [Outcome::Overwritten]);
    let records = store.load_accounts().unwrap().records;
    let now = records.iter().find(|record| record.user_id == 1).unwrap();
    assert_eq!((&now.credential, now.credential_generation), (&old.credential, generation(6)));
    assert!(store.load_grants().unwrap().records.is_empty(), "the grant belonged to the other credential");
}

#[test]
fn an_older_or_unreadable_account_is_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open(dir.path());
    store.put_account(&account(1, 1)).unwrap();
    store.put_account(&account(2, 1)).unwrap();
    drop(store);
    let mut store = tampered(dir.path(), "accounts", &account(2, 0).id, |text| text[1..].to_owned());
    let backup = backup_of(vec![renewed(account(1, 0), 3), renewed(account(2, 0), 1)]);
    assert_eq!(outcomes(&store.restore(&backup, false).unwrap()), [Outcome::Replaced, Outcome::Replaced]);
    let accounts = store.load_accounts().unwrap();
    assert_eq!((accounts.records.len(), accounts.unreadable), (2, vec![]));
}

#[test]
fn a_login_comes_back_unless_it_has_become_an_account() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open(dir.path());
    let fresh = OAuthPair { access_token: passphrase("another"), ..pair() };
    let logins = vec![
        login("became", LoginState::Issued(pair())),
        login("waits", LoginState::Issued(fresh)),
        login("begun", LoginState::Exchanging),
    ];
    store.put_account(&oauth_account(1)).unwrap();
    store.restore(&Backup { logins, ..backup_of(vec![]) }, false).unwrap();
    let stored: Vec<String> = store.load_logins().unwrap().records.into_iter().map(|login| login.id).collect();
    assert_eq!(stored, ["waits"]);
}

#[test]
fn the_actor_makes_a_backup_while_it_serves() {
    actix::System::new().block_on(async {
        let (store, _arbiter) = StoreActor::start(Box::<MemoryStore>::default()).unwrap();
        store.send(PutAccount(account(1, 1))).await.unwrap().unwrap();
        let making = store.send(MakeBackup { passphrase: passphrase("correct horse"), now: NOW });
        let (made, put) = futures::join!(making, store.send(PutAccount(account(2, 1))));
        put.unwrap().unwrap();
        let opened = backup::open(&made.unwrap().unwrap(), &passphrase("correct horse")).unwrap();
        assert_eq!(opened.accounts, [account(1, 1)]);
    });
}
