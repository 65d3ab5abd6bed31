//! Bringing accounts back from a backup: never over a newer credential, unless the operator says so.

use serde::{Deserialize, Serialize};

use crate::domain::endpoint::InstanceUrl;
use crate::domain::id::AccountId;
use crate::store::backup::Backup;
use crate::store::codec::{decode_account, encode_account, encode_login};
use crate::store::trees::{Change, Tree};
use crate::store::{AccountRecord, Credential, LoginRecord, LoginState, SledStore, StoreError};

/// What became of one account of a backup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Restored {
    /// Which account.
    pub id: AccountId,
    /// Its username.
    pub username: String,
    /// Its instance.
    pub base_url: InstanceUrl,
    /// What was done.
    pub outcome: Outcome,
}

/// What was done with one account of a backup.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It was not stored, and is now.
    Added,
    /// The stored one was older, or could not be read.
    Replaced,
    /// The stored one has the same credential.
    Unchanged,
    /// The stored one is newer, and stays.
    KeptNewer,
    /// The stored one was newer; the operator wanted it so.
    Overwritten,
}

impl Outcome {
    /// Returns it in words.
    pub const fn words(self) -> &'static str {
        match self {
            Self::Added => "added",
            Self::Replaced => "replaced what was stored, which was older or could not be read",
            Self::Unchanged => "is stored already",
            Self::KeptNewer => "kept as stored, which is newer (--overwrite-newer replaces it)",
            Self::Overwritten => "replaced what was stored, which was newer",
        }
    }
}

/// Returns what is to be done with `offered`, where `stored` is, or is there but unreadable.
fn decide(stored: Option<&Result<AccountRecord, ()>>, offered: &AccountRecord, overwrite_newer: bool) -> Outcome {
    let stored = match stored {
        None => return Outcome::Added,
        Some(Err(())) => return Outcome::Replaced,
        Some(Ok(stored)) => stored,
    };
    // An account that was removed and added again counts its generations afresh, so the day it was added comes first.
    let age = |record: &AccountRecord| (record.added_at, record.credential_generation);
    if stored.credential == offered.credential {
        return Outcome::Unchanged;
    }
    match (age(stored) < age(offered), overwrite_newer) {
        (true, _) => Outcome::Replaced,
        (false, true) => Outcome::Overwritten,
        (false, false) => Outcome::KeptNewer,
    }
}

impl SledStore {
    /// Brings back the accounts of `backup`, all or none, and says what became of each. An account that is replaced loses
    /// its grant, which belonged to the other credential. Logins that are not stored come back, unless their pair has
    /// become an account by now.
    pub fn restore(&mut self, backup: &Backup, overwrite_newer: bool) -> Result<Vec<Restored>, StoreError> {
        let mut restored = Vec::new();
        self.commit(|trees, sealer| {
            let mut changes = Vec::new();
            for offered in &backup.accounts {
                let id = offered.id.as_str();
                let stored = trees.of(Tree::Accounts).get(id)?;
                let stored = stored.map(|bytes| decode_account(sealer, id, &bytes).map_err(drop));
                let outcome = decide(stored.as_ref(), offered, overwrite_newer);
                restored.push(Restored {
                    id: offered.id.clone(),
                    username: offered.username.clone(),
                    base_url: offered.instance.clone(),
                    outcome,
                });
                if matches!(outcome, Outcome::Unchanged | Outcome::KeptNewer) {
                    continue;
                }
                let mut record = offered.clone();
                if let Some(Ok(stored)) = &stored {
                    // Results that still carry an older generation must not change this one.
                    let next = stored.credential_generation.next();
                    record.credential_generation = record.credential_generation.max(next);
                }
                changes.push(Change::put(Tree::Accounts, id, encode_account(sealer, &record)?));
                changes.extend([Tree::Grants, Tree::Health].map(|tree| Change::remove(tree, id)));
            }
            let accounts = trees.of(Tree::Accounts).iter().filter_map(Result::ok);
            let known: Vec<AccountRecord> = accounts
                .filter_map(|(id, bytes)| decode_account(sealer, &String::from_utf8_lossy(&id), &bytes).ok())
                .chain(backup.accounts.iter().cloned())
                .collect();
            for login in backup.logins.iter().filter(|login| !became_one_of(login, &known)) {
                if !trees.of(Tree::Logins).contains_key(&login.id)? {
                    changes.push(Change::put(Tree::Logins, &login.id, encode_login(sealer, login)?));
                }
            }
            Ok(changes)
        })?;
        Ok(restored)
    }
}

fn became_one_of(login: &LoginRecord, accounts: &[AccountRecord]) -> bool {
    let LoginState::Issued(pair) = &login.state else { return true };
    accounts.iter().any(|record| {
        matches!(&record.credential, Credential::OAuth { pair: known, .. } if known.access_token == pair.access_token)
    })
}
