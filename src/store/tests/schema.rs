//! Folders that earlier versions wrote. Each file holds every tree, key and value of one, as that version left it.

use std::collections::BTreeMap;

use super::disk::create_private_dir;
use super::*;

/// Written by the last program that knew schema 1 alone, under the key of these tests.
pub(super) const SCHEMA_1: &str = include_str!("schema_1.json");

pub(super) fn written(dir: &Path, trees: &str) {
    let trees: BTreeMap<String, BTreeMap<String, String>> = serde_json::from_str(trees).unwrap();
    create_private_dir(&dir.join("store")).unwrap();
    let db = open_database(dir, TRIES).unwrap();
    for (name, entries) in trees {
        let tree = db.open_tree(name).unwrap();
        for (key, value) in entries {
            tree.insert(key, value.as_str()).unwrap();
        }
    }
}

#[test]
fn a_folder_of_schema_1_keeps_its_accounts_and_takes_logins() {
    let dir = tempfile::tempdir().unwrap();
    written(dir.path(), SCHEMA_1);
    let mut store = open(dir.path());
    let expected = |store: &mut SledStore| {
        let mut accounts = [account(1, 1), oauth_account(2)];
        accounts.sort_by(|a, b| a.id.cmp(&b.id));
        assert_eq!(store.load_accounts().unwrap(), Loaded { records: accounts.to_vec(), unreadable: vec![] });
        assert_eq!(store.load_grants().unwrap(), Loaded { records: vec![grant(1, 4)], unreadable: vec![] });
    };
    expected(&mut store);
    assert_eq!(store.load_logins().unwrap().records, []);
    store.put_login(&login("a", LoginState::Exchanging)).unwrap();
    drop(store);
    let mut store = open(dir.path());
    expected(&mut store);
    assert_eq!(store.load_logins().unwrap().records, [login("a", LoginState::Exchanging)]);
}
