//! The store on disk: one sled database in the data folder, and a second copy of what is precious beside it.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use tracing::{info, warn};

use crate::domain::id::AccountId;
use crate::store::codec::{decode_account, decode_grant, decode_login, encode_account, encode_grant, encode_login};
use crate::store::opening::{self, settle};
use crate::store::seal::Sealer;
use crate::store::second_copy::SecondCopy;
use crate::store::trees::{Change, Tree, Trees};
use crate::store::{
    AccountRecord, GrantRecord, Loaded, LoginRecord, LoginState, MasterKey, RecordError, Store, StoreError, Unreadable,
    refuse_stale,
};

/// Where tree `health` keeps what belongs to no single account. No account is called that.
const SHARED_HEALTH: &str = "shared";

/// Keeps records in sled, sealed under a master key.
pub struct SledStore {
    dir: PathBuf,
    pub(super) sealer: Sealer,
    /// Closed after a failed write: sled refuses everything from then on (`set_global_error` in its `iobuf.rs`), and what
    /// it holds in memory may not be what is on disk. The next call opens it again.
    pub(super) trees: Option<Trees>,
}

impl SledStore {
    /// Opens the database in the data folder `dir`, which is made (mode 0700) if missing, and migrates it. What a damaged
    /// database has lost is brought back from its second copy.
    ///
    /// Blocks up to 3 s while another process holds the database.
    ///
    /// # Errors
    /// Before anything is changed: [`StoreError::InUse`], [`StoreError::NewerSchema`], [`StoreError::WrongKey`],
    /// [`StoreError::Damaged`].
    pub fn open(dir: &Path, key: &MasterKey) -> Result<Self, StoreError> {
        let sealer = Sealer::new(key);
        let trees = opening::open(dir, &sealer)?;
        Ok(Self { dir: dir.to_owned(), sealer, trees: Some(trees) })
    }

    fn load<R>(&mut self, tree: Tree, decode: Decode<R>) -> Result<Loaded<R>, StoreError> {
        let mut loaded = Loaded { records: Vec::new(), unreadable: Vec::new() };
        let (trees, sealer) = self.opened()?;
        for entry in trees.of(tree) {
            let (key, bytes) = entry?;
            let id = String::from_utf8_lossy(&key).into_owned();
            match decode(sealer, &id, &bytes) {
                Ok(record) => loaded.records.push(record),
                Err(reason) => loaded.unreadable.push(Unreadable { id, reason }),
            }
        }
        Ok(loaded)
    }

    /// Returns the database, opened again if it was closed.
    fn opened(&mut self) -> Result<(&Trees, &Sealer), StoreError> {
        let trees = match self.trees.take() {
            Some(trees) => trees,
            None => opening::open(&self.dir, &self.sealer).inspect(|_| info!("the database is open again"))?,
        };
        Ok((self.trees.insert(trees), &self.sealer))
    }

    /// Does a write. One that the database fails closes it.
    fn write(&mut self, write: impl FnOnce(&Trees, &Sealer) -> Result<(), StoreError>) -> Result<(), StoreError> {
        let (trees, sealer) = self.opened()?;
        let written = catch_unwind(AssertUnwindSafe(|| write(trees, sealer))).unwrap_or(Err(StoreError::Crashed));
        if matches!(written, Err(StoreError::Database(_) | StoreError::Sync(_) | StoreError::Crashed)) {
            self.trees = None;
        }
        written
    }

    /// Changes what is precious: on return it has reached the disk twice.
    pub(super) fn commit(
        &mut self,
        changes: impl FnOnce(&Trees, &Sealer) -> Result<Vec<Change>, StoreError>,
    ) -> Result<(), StoreError> {
        let dir = self.dir.clone();
        self.write(|trees, sealer| {
            trees.commit(&changes(trees, sealer)?)?;
            settle(trees, &dir)?;
            SecondCopy::of(trees)?.write(&dir)
        })
    }
}

/// Refuses to replace an account that is newer than `record`, or cannot be read.
fn check_account(trees: &Trees, sealer: &Sealer, record: &AccountRecord) -> Result<(), StoreError> {
    let Some(bytes) = trees.of(Tree::Accounts).get(record.id.as_str())? else { return Ok(()) };
    let stored = decode_account(sealer, record.id.as_str(), &bytes)
        .map_err(|source| StoreError::Unreadable { account: record.id.clone(), source })?;
    refuse_stale(&record.id, stored.credential_generation, record.credential_generation)
}

fn require_account(trees: &Trees, account: &AccountId) -> Result<(), StoreError> {
    let known = trees.of(Tree::Accounts).contains_key(account.as_str())?;
    if known { Ok(()) } else { Err(StoreError::NoSuchAccount(account.clone())) }
}

type Decode<R> = fn(&Sealer, &str, &[u8]) -> Result<R, RecordError>;

impl Store for SledStore {
    fn load_accounts(&mut self) -> Result<Loaded<AccountRecord>, StoreError> {
        self.load(Tree::Accounts, decode_account)
    }

    fn load_grants(&mut self) -> Result<Loaded<GrantRecord>, StoreError> {
        self.load(Tree::Grants, decode_grant)
    }

    fn load_account(&mut self, account: &AccountId) -> Result<Option<AccountRecord>, StoreError> {
        let (trees, sealer) = self.opened()?;
        let Some(bytes) = trees.of(Tree::Accounts).get(account.as_str())? else { return Ok(None) };
        let decoded = decode_account(sealer, account.as_str(), &bytes);
        decoded.map(Some).map_err(|source| StoreError::Unreadable { account: account.clone(), source })
    }

    fn load_logins(&mut self) -> Result<Loaded<LoginRecord>, StoreError> {
        self.load(Tree::Logins, decode_login)
    }

    fn load_health(&mut self) -> Result<Vec<(AccountId, Vec<u8>)>, StoreError> {
        let read = |entry: sled::Result<(sled::IVec, sled::IVec)>| {
            let (key, bytes) = entry?;
            Ok((AccountId::from_text(&String::from_utf8_lossy(&key)), bytes.to_vec()))
        };
        let is_accounts = |entry: &sled::Result<(sled::IVec, sled::IVec)>| {
            entry.as_ref().map_or(true, |(key, _)| key != SHARED_HEALTH.as_bytes())
        };
        self.opened()?.0.of(Tree::Health).iter().filter(is_accounts).map(read).collect()
    }

    fn load_shared_health(&mut self) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.opened()?.0.of(Tree::Health).get(SHARED_HEALTH)?.map(|bytes| bytes.to_vec()))
    }

    fn put_account(&mut self, record: &AccountRecord) -> Result<(), StoreError> {
        self.commit(|trees, sealer| {
            check_account(trees, sealer, record)?;
            Ok(vec![Change::put(Tree::Accounts, record.id.as_str(), encode_account(sealer, record)?)])
        })
    }

    fn put_account_from_login(&mut self, record: &AccountRecord, login: &str) -> Result<(), StoreError> {
        self.commit(|trees, sealer| {
            check_account(trees, sealer, record)?;
            let account = Change::put(Tree::Accounts, record.id.as_str(), encode_account(sealer, record)?);
            Ok(vec![account, Change::remove(Tree::Logins, login)])
        })
    }

    fn put_login(&mut self, record: &LoginRecord) -> Result<(), StoreError> {
        self.commit(|trees, sealer| {
            if let Some(bytes) = trees.of(Tree::Logins).get(&record.id)? {
                match (decode_login(sealer, &record.id, &bytes).map(|stored| stored.state), &record.state) {
                    (Ok(LoginState::Issued(_)), LoginState::Exchanging) => {
                        return Err(StoreError::LoginIssued(record.id.clone()));
                    }
                    (Ok(_), _) => {}
                    (Err(reason), _) => warn!(%reason, "replaced a stored login that could not be read"),
                }
            }
            Ok(vec![Change::put(Tree::Logins, &record.id, encode_login(sealer, record)?)])
        })
    }

    fn delete_login(&mut self, login: &str) -> Result<(), StoreError> {
        self.commit(|_, _| Ok(vec![Change::remove(Tree::Logins, login)]))
    }

    fn put_health(&mut self, account: &AccountId, bytes: &[u8]) -> Result<(), StoreError> {
        self.write(|trees, _| {
            require_account(trees, account)?;
            trees.of(Tree::Health).insert(account.as_str(), bytes)?;
            trees.db.flush()?;
            Ok(())
        })
    }

    fn put_shared_health(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        self.write(|trees, _| {
            trees.of(Tree::Health).insert(SHARED_HEALTH, bytes)?;
            trees.db.flush()?;
            Ok(())
        })
    }

    fn put_grant(&mut self, record: &GrantRecord) -> Result<(), StoreError> {
        let account = &record.account;
        self.write(|trees, sealer| {
            require_account(trees, account)?;
            let grants = trees.of(Tree::Grants);
            if let Some(bytes) = grants.get(account.as_str())? {
                match decode_grant(sealer, account.as_str(), &bytes) {
                    Ok(stored) => refuse_stale(account, stored.generation, record.generation)?,
                    Err(reason) => {
                        warn!(account.id = %account, %reason, "replaced a stored grant of account `{account}` that could not be read");
                    }
                }
            }
            grants.insert(account.as_str(), encode_grant(sealer, record)?)?;
            trees.db.flush()?;
            Ok(())
        })
    }

    fn delete_account(&mut self, account: &AccountId) -> Result<(), StoreError> {
        let trees = [Tree::Accounts, Tree::Grants, Tree::Health];
        self.commit(|_, _| Ok(trees.map(|tree| Change::remove(tree, account.as_str())).into()))
    }

    fn flush(&mut self) -> Result<(), StoreError> {
        let dir = self.dir.clone();
        self.write(|trees, _| settle(trees, &dir))
    }
}

impl fmt::Debug for SledStore {
    /// Names the folder alone: sled's own output is the whole database.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SledStore").field("dir", &self.dir).finish_non_exhaustive()
    }
}
