//! Changing the master key, and opening what a change left behind.
//!
//! Every crash leaves a folder that opens: the new key is on disk before anything is sealed under it, all records change
//! over in one transaction, and the old key's file goes last. In between, the one of the two keys that fits is the key.
//! Where the operator keeps the key, there is no file, and the operator has both.

use std::path::{Path, PathBuf};

use tracing::info;

use crate::store::codec::{decode_account, decode_grant, decode_login, encode_account, encode_grant, encode_login};
use crate::store::opening::{has_data, key_check};
use crate::store::seal::Sealer;
use crate::store::trees::{Change, KEY_CHECK, Tree};
use crate::store::{KeyError, KeyFile, MasterKey, SledStore, Store as _, StoreError};

/// Why the data folder cannot be opened, or its key not be changed.
#[derive(Clone, Debug, thiserror::Error)]
pub enum OpenError {
    /// There is no key to open it with.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The store refuses.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// There is nothing whose key could be changed.
    #[error("there is no data in {} yet", .0.display())]
    Nothing(PathBuf),
    /// The new key is the present one.
    #[error("the new master key is the present one")]
    SameKey,
}

impl SledStore {
    /// Opens the data folder `dir` under `key` or, without one, under the key in its file, made if neither is there. Returns
    /// the key that it opened under, too, and its file if it has one.
    ///
    /// # Errors
    /// Those of [`MasterKey::load_or_create`] and [`SledStore::open`].
    pub fn open_under(dir: &Path, key: Option<MasterKey>) -> Result<(Self, MasterKey, Option<KeyFile>), OpenError> {
        if let Some(key) = key {
            return Ok((Self::open(dir, &key)?, key, None));
        }
        let file = MasterKey::load_or_create(dir)?;
        match Self::open(dir, &file.key) {
            Err(StoreError::WrongKey) => {
                let Some(next) = MasterKey::load_next(dir)? else { return Err(StoreError::WrongKey.into()) };
                let store = Self::open(dir, &next)?;
                MasterKey::promote_next(dir)?;
                info!("finished a change of the master key that was cut short");
                Ok((store, next.clone(), Some(KeyFile { key: next, ..file })))
            }
            opened => Ok((opened?, file.key.clone(), Some(file))),
        }
    }

    /// Seals every record anew, all or none.
    ///
    /// # Errors
    /// [`StoreError::Unreadable`] if an account cannot be read, and [`StoreError::UnreadableLogin`] for a login: under the
    /// new key they never could be again.
    pub(super) fn reseal(&mut self, key: &MasterKey) -> Result<(), StoreError> {
        let new = Sealer::new(key);
        self.commit(|trees, old| {
            let mut changes = vec![Change::put(Tree::Meta, KEY_CHECK, key_check(&new)?)];
            for tree in [Tree::Accounts, Tree::Logins, Tree::Grants] {
                for entry in trees.of(tree) {
                    let (id, bytes) = entry?;
                    let id = String::from_utf8_lossy(&id);
                    changes.push(match resealed(tree, old, &new, &id, &bytes)? {
                        Some(bytes) => Change::put(tree, &id, bytes),
                        None => Change::remove(tree, &id),
                    });
                }
            }
            Ok(changes)
        })?;
        self.sealer = new;
        Ok(())
    }
}

/// Returns the record under the new key; `None` for a grant that cannot be read, which a mint replaces.
fn resealed(tree: Tree, old: &Sealer, new: &Sealer, id: &str, bytes: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
    use crate::domain::id::AccountId;
    match tree {
        Tree::Accounts => {
            let unreadable = |source| StoreError::Unreadable { account: AccountId::from_text(id), source };
            encode_account(new, &decode_account(old, id, bytes).map_err(unreadable)?).map(Some)
        }
        Tree::Logins => {
            let unreadable = |source| StoreError::UnreadableLogin { login: id.to_owned(), source };
            encode_login(new, &decode_login(old, id, bytes).map_err(unreadable)?).map(Some)
        }
        _ => decode_grant(old, id, bytes).ok().map(|grant| encode_grant(new, &grant)).transpose(),
    }
}

/// Seals everything in the data folder `dir` under a new key. `present` is the operator's, if it is not in a file; without
/// `new`, one is drawn. Returns the file that has the new key now, if any.
///
/// # Errors
/// As [`OpenError`] says; the folder then opens as before, or under the new key if that much was done.
pub fn change_key(
    dir: &Path,
    present: Option<MasterKey>,
    new: Option<MasterKey>,
) -> Result<Option<PathBuf>, OpenError> {
    if !has_data(dir) {
        return Err(OpenError::Nothing(dir.to_owned()));
    }
    let new = new.map_or_else(MasterKey::random, Ok)?;
    let (mut store, present, file) = SledStore::open_under(dir, present)?;
    if present == new {
        return Err(OpenError::SameKey);
    }
    if file.is_some() {
        new.write_next(dir)?;
    }
    store.reseal(&new)?;
    store.flush()?;
    let Some(file) = file else { return Ok(None) };
    MasterKey::promote_next(dir)?;
    Ok(Some(file.path))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::store::tests::{account, grant, key, login, oauth_account, pair};
    use crate::store::{LoginState, RecordError};

    fn filled(dir: &Path) -> (SledStore, KeyFile) {
        let (mut store, _, file) = SledStore::open_under(dir, None).unwrap();
        store.put_account(&account(1, 1)).unwrap();
        store.put_grant(&grant(1, 1)).unwrap();
        store.put_account(&oauth_account(2)).unwrap();
        store.put_login(&login("a", LoginState::Issued(pair()))).unwrap();
        (store, file.unwrap())
    }

    fn assert_whole(store: &mut SledStore) {
        let accounts = store.load_accounts().unwrap();
        assert_eq!((accounts.records.len(), accounts.unreadable), (2, vec![]));
        assert!(accounts.records.contains(&account(1, 1)) && accounts.records.contains(&oauth_account(2)));
        assert_eq!(store.load_grants().unwrap().records, [grant(1, 1)]);
        assert_eq!(store.load_logins().unwrap().records, [login("a", LoginState::Issued(pair()))]);
    }

    #[test]
    fn after_a_change_everything_opens_under_the_new_key_alone() {
        let dir = tempfile::tempdir().unwrap();
        let (store, old) = filled(dir.path());
        drop(store);
        assert_eq!(change_key(dir.path(), None, None).unwrap().as_ref(), Some(&old.path));
        assert!(matches!(SledStore::open(dir.path(), &old.key), Err(StoreError::WrongKey)));
        let (mut store, _, new) = SledStore::open_under(dir.path(), None).unwrap();
        assert_whole(&mut store);
        let new = new.unwrap();
        assert_ne!(new.key, old.key);
        assert!(!new.created && !new.exposed);
        drop(store);
        // The second copy, too.
        fs::remove_dir_all(dir.path().join("store")).unwrap();
        assert!(matches!(SledStore::open(dir.path(), &old.key), Err(StoreError::WrongKey)));
        let mut store = SledStore::open(dir.path(), &new.key).unwrap();
        assert_eq!(store.load_accounts().unwrap().records.len(), 2);
    }

    #[test]
    fn a_change_that_is_cut_short_anywhere_leaves_a_folder_that_opens() {
        for steps in 0..=3 {
            let dir = tempfile::tempdir().unwrap();
            let (mut store, old) = filled(dir.path());
            let copy = fs::read(dir.path().join("second-copy")).unwrap();
            let new = key();
            if steps >= 1 {
                new.write_next(dir.path()).unwrap();
            }
            if steps >= 2 {
                store.reseal(&new).unwrap();
                assert_whole(&mut store);
            }
            drop(store);
            if steps == 2 {
                // Between the database and its second copy.
                fs::write(dir.path().join("second-copy"), copy).unwrap();
            }
            let (mut store, _, file) = SledStore::open_under(dir.path(), None).unwrap();
            assert_whole(&mut store);
            assert_eq!(file.unwrap().key, if steps >= 2 { new } else { old.key }, "{steps} steps");
            drop(store);
            // And the next change is not hindered by what lies there.
            change_key(dir.path(), None, None).unwrap();
            assert_whole(&mut SledStore::open_under(dir.path(), None).unwrap().0);
            assert!(!dir.path().join("master.key.next").exists());
        }
    }

    #[test]
    fn an_operators_own_key_is_changed_for_another_and_no_file_appears() {
        let dir = tempfile::tempdir().unwrap();
        let (old, new) = (key(), MasterKey::from_bytes([9; 32]));
        let mut store = SledStore::open(dir.path(), &old).unwrap();
        store.put_account(&account(1, 1)).unwrap();
        drop(store);
        assert!(matches!(
            change_key(dir.path(), Some(new.clone()), Some(old.clone())),
            Err(OpenError::Store(StoreError::WrongKey))
        ));
        assert!(matches!(change_key(dir.path(), Some(old.clone()), Some(old.clone())), Err(OpenError::SameKey)));
        assert_eq!(change_key(dir.path(), Some(old.clone()), Some(new.clone())).unwrap(), None);
        assert!(!dir.path().join("master.key").exists());
        assert_eq!(SledStore::open(dir.path(), &new).unwrap().load_accounts().unwrap().records, [account(1, 1)]);
        assert!(matches!(change_key(&dir.path().join("none"), None, None), Err(OpenError::Nothing(_))));
    }

    #[test]
    fn a_record_that_cannot_be_read_stops_the_change_and_nothing_is_changed() {
        let dir = tempfile::tempdir().unwrap();
        let (mut store, old) = filled(dir.path());
        store.commit(|_, _| Ok(vec![Change::put(Tree::Accounts, "acct_x", "damaged")])).unwrap();
        drop(store);
        let refused = change_key(dir.path(), None, None).unwrap_err();
        let OpenError::Store(StoreError::Unreadable { source: RecordError::Damaged, account }) = &refused else {
            panic!("{refused}")
        };
        assert_eq!(account.as_str(), "acct_x");
        let (mut store, _, file) = SledStore::open_under(dir.path(), None).unwrap();
        assert_eq!(file.unwrap().key, old.key);
        assert_eq!(store.load_accounts().unwrap().records.len(), 2);
    }
}
