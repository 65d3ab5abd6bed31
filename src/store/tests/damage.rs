//! Files that were damaged, and what comes back from the second copy.

use std::path::PathBuf;

use rand::rngs::StdRng;
use rand::{Rng, RngExt, SeedableRng};

use super::schema::{SCHEMA_1, written};
use super::*;

const ACCOUNTS: u64 = 12;

fn database(dir: &Path) -> PathBuf {
    dir.join("store").join("db")
}

/// A folder with accounts, their grants and a login, closed.
fn folder() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open(dir.path());
    for user_id in 0..ACCOUNTS {
        store.put_account(&account(user_id, 1)).unwrap();
        store.put_grant(&grant(user_id, 1)).unwrap();
    }
    store.put_login(&login("a", LoginState::Issued(pair()))).unwrap();
    store.delete_account(&account(0, 0).id).unwrap();
    dir
}

/// Returns a copy of `folder`; every case damages one of its own.
fn duplicate(folder: &Path) -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    fs::create_dir(copy.path().join("store")).unwrap();
    for name in ["second-copy", "store/db", "store/conf"] {
        fs::copy(folder.join(name), copy.path().join(name)).unwrap();
    }
    copy
}

#[track_caller]
fn assert_whole(dir: &Path, what: &str) {
    for start in ["first", "second"] {
        let mut store = SledStore::open(dir, &key()).unwrap_or_else(|error| panic!("{what}, {start} start: {error:?}"));
        let accounts = store.load_accounts().unwrap();
        assert_eq!(accounts.unreadable, [], "{what}");
        let mut users: Vec<u64> = accounts.records.iter().map(|record| record.user_id).collect();
        users.sort_unstable();
        assert_eq!(users, (1..ACCOUNTS).collect::<Vec<_>>(), "{what}, {start} start");
        let logins = store.load_logins().unwrap().records;
        assert_eq!(logins, [login("a", LoginState::Issued(pair()))], "{what}, {start} start");
    }
}

#[test]
fn no_account_is_lost_wherever_the_database_is_cut_or_changed() {
    let folder = folder();
    let whole = fs::read(database(folder.path())).unwrap();
    let mut damaged: Vec<(String, Vec<u8>)> = Vec::new();
    for part in 0..8 {
        let length = whole.len() * part / 8;
        damaged.push((format!("cut to {length} bytes"), whole[..length].to_vec()));
    }
    for seed in 0..24 {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut bytes = whole.clone();
        let at = rng.random_range(0..bytes.len());
        bytes[at] ^= rng.random_range(1..=255_u8);
        damaged.push((format!("byte {at} changed"), bytes));
        let mut bytes = whole.clone();
        let at = rng.random_range(0..bytes.len() - 512);
        bytes[at..at + 512].fill(0);
        damaged.push((format!("a hole at {at}"), bytes));
    }
    let mut noise = vec![0; whole.len()];
    StdRng::seed_from_u64(1).fill_bytes(&mut noise);
    damaged.push(("noise".to_owned(), noise));
    for (what, bytes) in damaged {
        let dir = duplicate(folder.path());
        fs::write(database(dir.path()), bytes).unwrap();
        assert_whole(dir.path(), &what);
    }
}

#[test]
fn a_database_that_cannot_be_opened_is_kept_beside_a_new_one() {
    let folder = folder();
    for conf in ["nothing that sled would write", "segment_size: 1\nversion: 0.34\n"] {
        let dir = duplicate(folder.path());
        fs::write(dir.path().join("store/conf"), conf).unwrap();
        assert_whole(dir.path(), conf);
        let aside = fs::read(dir.path().join("store.damaged-1/db")).unwrap();
        assert_eq!(aside, fs::read(database(folder.path())).unwrap());
    }
}

#[test]
fn a_database_that_is_gone_is_made_anew_from_its_copy_under_its_own_key_alone() {
    let folder = folder();
    let dir = duplicate(folder.path());
    fs::remove_dir_all(dir.path().join("store")).unwrap();
    let copy = fs::read(dir.path().join("second-copy")).unwrap();
    assert!(matches!(MasterKey::load_or_create(dir.path()), Err(KeyError::Missing(_))));
    let wrong = SledStore::open(dir.path(), &MasterKey::from_bytes([8; 32])).unwrap_err();
    assert!(matches!(wrong, StoreError::WrongKey), "{wrong}");
    assert_eq!(fs::read(dir.path().join("second-copy")).unwrap(), copy);
    assert_whole(dir.path(), "no database");
}

#[test]
fn a_damaged_second_copy_is_written_anew() {
    let folder = folder();
    let whole = fs::read(folder.path().join("second-copy")).unwrap();
    for bytes in [&whole[..whole.len() / 2], b"", b"nonsense\n{}"] {
        let dir = duplicate(folder.path());
        fs::write(dir.path().join("second-copy"), bytes).unwrap();
        assert_whole(dir.path(), "damaged copy");
        assert_eq!(fs::read(dir.path().join("second-copy.damaged")).unwrap(), bytes);
        fs::write(database(dir.path()), b"").unwrap();
        assert_whole(dir.path(), "then a damaged database");
    }
}

#[test]
fn where_both_are_damaged_nothing_is_made_anew() {
    let folder = folder();
    let dir = duplicate(folder.path());
    fs::write(dir.path().join("second-copy"), b"nonsense").unwrap();
    fs::write(database(dir.path()), b"").unwrap();
    let refused = SledStore::open(dir.path(), &key()).unwrap_err();
    assert!(matches!(refused, StoreError::Damaged(_)), "{refused}");
    assert_eq!(fs::read(dir.path().join("second-copy")).unwrap(), b"nonsense");
}

#[test]
fn a_copy_that_a_crash_left_behind_takes_nothing_back() {
    let folder = folder();
    let dir = duplicate(folder.path());
    let old = fs::read(dir.path().join("second-copy")).unwrap();
    let mut store = open(dir.path());
    store.put_account(&account(1, 2)).unwrap();
    store.delete_account(&account(2, 0).id).unwrap();
    drop(store);
    fs::write(dir.path().join("second-copy"), old).unwrap();
    let mut store = open(dir.path());
    let records = store.load_accounts().unwrap().records;
    assert!(records.contains(&account(1, 2)) && !records.contains(&account(2, 1)), "{records:?}");
    drop(store);
    fs::write(database(dir.path()), b"").unwrap();
    assert_eq!(open(dir.path()).load_accounts().unwrap().records, records);
}

#[test]
fn a_record_that_was_changed_by_hand_is_mended() {
    let folder = folder();
    let dir = duplicate(folder.path());
    let db = open_database(dir.path(), TRIES).unwrap();
    let accounts = db.open_tree("accounts").unwrap();
    let (gone, changed) = (account(3, 0).id, account(4, 0).id);
    accounts.remove(gone.as_str()).unwrap().unwrap();
    let text = String::from_utf8(accounts.get(changed.as_str()).unwrap().unwrap().to_vec()).unwrap();
    accounts.insert(changed.as_str(), text.replace("https://gitlab.com", "https://evil.example").as_str()).unwrap();
    drop((accounts, db));
    assert_whole(dir.path(), "changed by hand");
}

#[test]
fn a_first_folder_that_loses_all_is_not_taken_over_by_another_key() {
    let dir = tempfile::tempdir().unwrap();
    written(dir.path(), SCHEMA_1);
    drop(open(dir.path()));
    fs::write(database(dir.path()), b"").unwrap();
    let wrong = SledStore::open(dir.path(), &MasterKey::from_bytes([8; 32])).unwrap_err();
    assert!(matches!(wrong, StoreError::WrongKey), "{wrong}");
    assert_eq!(open(dir.path()).load_accounts().unwrap().records.len(), 2);
}

#[test]
fn a_database_that_a_failed_write_closed_is_opened_by_the_next_call_of_any_kind() {
    type Call = fn(&mut SledStore) -> usize;
    let calls: [Call; 5] = [
        |store| usize::from(store.load_account(&account(1, 0).id).unwrap().is_some()),
        |store| store.load_accounts().unwrap().records.len() - 10,
        |store| store.load_logins().unwrap().records.len(),
        |store| usize::from(store.put_account(&account(1, 2)).is_ok()),
        |store| usize::from(store.put_grant(&grant(1, 2)).is_ok()),
    ];
    let folder = folder();
    let mut store = open(folder.path());
    for call in calls {
        store.trees = None;
        assert_eq!(call(&mut store), 1);
    }
}
