//! The database's trees, and the one way to change those that must not be lost.

use std::convert::Infallible;

use sled::Transactional;
use sled::transaction::{ConflictableTransactionError, TransactionError, TransactionalTree};

use crate::store::StoreError;

/// Entry of `meta` that opens under the right master key alone.
pub(super) const KEY_CHECK: &str = "key_check";
/// Entry of `meta` that counts the changes which [`Trees::commit`] made; tells which of two copies is behind.
const SEQUENCE: &str = "sequence";

/// A tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tree {
    Meta,
    Accounts,
    Grants,
    Logins,
    Health,
    Keys,
}

impl Tree {
    const ALL: [Self; 6] = [Self::Meta, Self::Accounts, Self::Grants, Self::Logins, Self::Health, Self::Keys];
    /// Those whose loss a person would have to mend: they are in the second copy.
    pub(super) const PRECIOUS: [Self; 3] = [Self::Accounts, Self::Logins, Self::Keys];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Meta => "meta",
            Self::Accounts => "accounts",
            Self::Grants => "grants",
            Self::Logins => "logins",
            Self::Health => "health",
            Self::Keys => "keys",
        }
    }
}

/// A record to write or, without bytes, to remove.
#[derive(Debug)]
pub(super) struct Change {
    pub(super) tree: Tree,
    pub(super) key: String,
    pub(super) bytes: Option<Vec<u8>>,
}

impl Change {
    pub(super) fn put(tree: Tree, key: &str, bytes: impl Into<Vec<u8>>) -> Self {
        Self { tree, key: key.to_owned(), bytes: Some(bytes.into()) }
    }

    pub(super) fn remove(tree: Tree, key: &str) -> Self {
        Self { tree, key: key.to_owned(), bytes: None }
    }
}

/// An open database.
pub(super) struct Trees {
    pub(super) db: sled::Db,
    all: Vec<sled::Tree>,
}

impl Trees {
    pub(super) fn open(db: sled::Db) -> Result<Self, StoreError> {
        let all = Tree::ALL.into_iter().map(|tree| db.open_tree(tree.name())).collect::<sled::Result<_>>()?;
        Ok(Self { db, all })
    }

    pub(super) fn of(&self, tree: Tree) -> &sled::Tree {
        &self.all[tree as usize]
    }

    /// Makes all changes or none, and counts them as one.
    pub(super) fn commit(&self, changes: &[Change]) -> Result<(), StoreError> {
        self.commit_as(changes, sequence(self.of(Tree::Meta))? + 1)
    }

    /// Makes all changes or none, and says that they are the `sequence`th.
    pub(super) fn commit_as(&self, changes: &[Change], sequence: u64) -> Result<(), StoreError> {
        let done = self.all[..].transaction(|trees: &Vec<TransactionalTree>| {
            for Change { tree, key, bytes } in changes {
                let tree = &trees[*tree as usize];
                match bytes {
                    Some(bytes) => tree.insert(key.as_bytes(), bytes.as_slice())?,
                    None => tree.remove(key.as_bytes())?,
                };
            }
            trees[Tree::Meta as usize].insert(SEQUENCE, sequence.to_string().as_str())?;
            Ok::<_, ConflictableTransactionError<Infallible>>(())
        });
        match done {
            Ok(()) => Ok(()),
            Err(TransactionError::Storage(error)) => Err(error.into()),
            Err(TransactionError::Abort(never)) => match never {},
        }
    }
}

/// Returns how many changes a database has seen, from its tree `meta`; one that cannot tell has seen none.
pub(super) fn sequence(meta: &sled::Tree) -> Result<u64, StoreError> {
    let bytes = meta.get(SEQUENCE)?;
    Ok(bytes.and_then(|bytes| std::str::from_utf8(&bytes).ok()?.parse().ok()).unwrap_or_default())
}
