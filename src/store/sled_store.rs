//! The store on disk: one sled database in the data folder.

use std::convert::Infallible;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use sled::Transactional;
use sled::transaction::{ConflictableTransactionError, TransactionError};
use tracing::warn;

use crate::domain::id::AccountId;
use crate::store::codec::{decode_account, decode_grant, decode_login, encode_account, encode_grant, encode_login};
use crate::store::disk::{create_private_dir, sync_dir, sync_files};
use crate::store::seal::{Place, Sealer};
use crate::store::{
    AccountRecord, GrantRecord, Loaded, LoginRecord, LoginState, MasterKey, RecordError, Store, StoreError, Unreadable,
    migrate, refuse_stale,
};

/// The database's own folder inside the data folder.
const DATABASE_DIR: &str = "store";
/// The file in it that sled keeps its log in.
const DATABASE_FILE: &str = "db";
/// All records together are a few hundred KiB; sled's own default is 1 GiB.
const CACHE_BYTES: u64 = 16 << 20;
/// How often a locked database is tried again, and how long after. Right after a `kill -9` the lock of the dead process was
/// seen to linger; 3 s in all outlast that and a quick restart's overlap.
const LOCK_TRIES: u32 = 30;
const LOCK_PAUSE: Duration = Duration::from_millis(100);
/// How sled 0.34 begins the message of its lock error, which has no kind of its own (`config.rs`, `try_lock`).
const LOCK_MESSAGE: &str = "could not acquire lock";

/// Entry of `meta` that opens under the right master key alone.
const KEY_CHECK: &str = "key_check";
const KEY_CHECK_PLACE: Place<'static> = Place { kind: "meta", id: KEY_CHECK, version: 1, readable: "" };
const KEY_CHECK_TEXT: &[u8] = b"duopool";

/// Keeps records in sled, sealed under a master key.
pub struct SledStore {
    db: sled::Db,
    accounts: sled::Tree,
    grants: sled::Tree,
    logins: sled::Tree,
    health: sled::Tree,
    sealer: Sealer,
    folder: PathBuf,
}

/// Returns whether the data folder `dir` has a database, and so perhaps sealed data.
pub(super) fn has_database(dir: &Path) -> bool {
    dir.join(DATABASE_DIR).join(DATABASE_FILE).exists()
}

impl SledStore {
    /// Opens the database in the data folder `dir`, which is made (mode 0700) if missing, and migrates it.
    ///
    /// Blocks up to 3 s while another process holds the database.
    ///
    /// # Errors
    /// Before anything is changed: [`StoreError::InUse`], [`StoreError::NewerSchema`], [`StoreError::WrongKey`],
    /// [`StoreError::Damaged`].
    pub fn open(dir: &Path, key: &MasterKey) -> Result<Self, StoreError> {
        let folder = dir.join(DATABASE_DIR);
        let unusable = |error| StoreError::Folder { dir: dir.to_owned(), source: Arc::new(error) };
        create_private_dir(&folder).map_err(unusable)?;
        let db = open_database(dir, LOCK_TRIES)?;
        let sealer = Sealer::new(key);
        let checked = check_key(&db, migrate::schema(&db)?, &sealer)?;
        migrate::run(&db)?;
        if !checked {
            let check = sealer.seal(KEY_CHECK_PLACE, KEY_CHECK_TEXT).ok_or(StoreError::Unsealable)?;
            db.open_tree("meta")?.insert(KEY_CHECK, check.as_str())?;
        }
        let (accounts, grants) = (db.open_tree("accounts")?, db.open_tree("grants")?);
        let (logins, health) = (db.open_tree("logins")?, db.open_tree("health")?);
        let mut store = Self { db, accounts, grants, logins, health, sealer, folder };
        store.flush()?;
        sync_dir(dir).map_err(unusable)?;
        Ok(store)
    }

    fn load<R>(&self, tree: &sled::Tree, decode: Decode<R>) -> Result<Loaded<R>, StoreError> {
        let mut loaded = Loaded { records: Vec::new(), unreadable: Vec::new() };
        for entry in tree {
            let (key, bytes) = entry?;
            let id = String::from_utf8_lossy(&key).into_owned();
            match decode(&self.sealer, &id, &bytes) {
                Ok(record) => loaded.records.push(record),
                Err(reason) => loaded.unreadable.push(Unreadable { id, reason }),
            }
        }
        Ok(loaded)
    }

    /// Refuses to replace an account that is newer than `record`, or cannot be read.
    fn check_account(&self, record: &AccountRecord) -> Result<(), StoreError> {
        let Some(bytes) = self.accounts.get(record.id.as_str())? else { return Ok(()) };
        let stored = decode_account(&self.sealer, record.id.as_str(), &bytes)
            .map_err(|source| StoreError::Unreadable { account: record.id.clone(), source })?;
        refuse_stale(&record.id, stored.credential_generation, record.credential_generation)
    }
}

type Decode<R> = fn(&Sealer, &str, &[u8]) -> Result<R, RecordError>;

impl Store for SledStore {
    fn load_accounts(&self) -> Result<Loaded<AccountRecord>, StoreError> {
        self.load(&self.accounts, decode_account)
    }

    fn load_grants(&self) -> Result<Loaded<GrantRecord>, StoreError> {
        self.load(&self.grants, decode_grant)
    }

    fn load_logins(&self) -> Result<Loaded<LoginRecord>, StoreError> {
        self.load(&self.logins, decode_login)
    }

    fn load_health(&self) -> Result<Vec<(AccountId, Vec<u8>)>, StoreError> {
        let read = |entry: sled::Result<(sled::IVec, sled::IVec)>| {
            let (key, bytes) = entry?;
            Ok((AccountId::from_text(&String::from_utf8_lossy(&key)), bytes.to_vec()))
        };
        self.health.iter().map(read).collect()
    }

    fn put_account(&mut self, record: &AccountRecord) -> Result<(), StoreError> {
        self.check_account(record)?;
        self.accounts.insert(record.id.as_str(), encode_account(&self.sealer, record)?)?;
        self.flush()
    }

    fn put_account_from_login(&mut self, record: &AccountRecord, login: &str) -> Result<(), StoreError> {
        self.check_account(record)?;
        let bytes = encode_account(&self.sealer, record)?;
        let done = (&self.accounts, &self.logins).transaction(|(accounts, logins)| {
            accounts.insert(record.id.as_str(), bytes.as_slice())?;
            logins.remove(login)?;
            Ok::<_, ConflictableTransactionError<Infallible>>(())
        });
        done.map_err(storage_error)?;
        self.flush()
    }

    fn put_login(&mut self, record: &LoginRecord) -> Result<(), StoreError> {
        if let Some(bytes) = self.logins.get(&record.id)? {
            match (decode_login(&self.sealer, &record.id, &bytes).map(|stored| stored.state), &record.state) {
                (Ok(LoginState::Issued(_)), LoginState::Exchanging) => {
                    return Err(StoreError::LoginIssued(record.id.clone()));
                }
                (Ok(_), _) => {}
                (Err(reason), _) => warn!(%reason, "replaced a stored login that could not be read"),
            }
        }
        self.logins.insert(record.id.as_str(), encode_login(&self.sealer, record)?)?;
        self.flush()
    }

    fn delete_login(&mut self, login: &str) -> Result<(), StoreError> {
        self.logins.remove(login)?;
        self.flush()
    }

    fn put_health(&mut self, account: &AccountId, bytes: &[u8]) -> Result<(), StoreError> {
        if !self.accounts.contains_key(account.as_str())? {
            return Err(StoreError::NoSuchAccount(account.clone()));
        }
        self.health.insert(account.as_str(), bytes)?;
        self.db.flush()?;
        Ok(())
    }

    fn put_grant(&mut self, record: &GrantRecord) -> Result<(), StoreError> {
        let account = &record.account;
        if !self.accounts.contains_key(account.as_str())? {
            return Err(StoreError::NoSuchAccount(account.clone()));
        }
        if let Some(bytes) = self.grants.get(account.as_str())? {
            match decode_grant(&self.sealer, account.as_str(), &bytes) {
                Ok(stored) => refuse_stale(account, stored.generation, record.generation)?,
                Err(reason) => {
                    warn!(account.id = %account, %reason, "replaced a stored grant of account `{account}` that could not be read");
                }
            }
        }
        self.grants.insert(account.as_str(), encode_grant(&self.sealer, record)?)?;
        self.db.flush()?;
        Ok(())
    }

    fn delete_account(&mut self, account: &AccountId) -> Result<(), StoreError> {
        let trees = (&self.accounts, &self.grants, &self.health);
        let removed = trees.transaction(|(accounts, grants, health)| {
            accounts.remove(account.as_str())?;
            grants.remove(account.as_str())?;
            health.remove(account.as_str())?;
            Ok::<_, ConflictableTransactionError<Infallible>>(())
        });
        removed.map_err(storage_error)?;
        self.flush()
    }

    /// Flushes sled and then syncs its files: sled's own flush ends in `sync_file_range`, which does not promise to outlast
    /// a loss of power (`pagecache/iobuf.rs` of sled 0.34.7).
    fn flush(&mut self) -> Result<(), StoreError> {
        self.db.flush()?;
        sync_files(&self.folder).map_err(|error| StoreError::Sync(Arc::new(error)))
    }
}

fn storage_error(error: TransactionError<Infallible>) -> StoreError {
    match error {
        TransactionError::Storage(error) => error.into(),
        TransactionError::Abort(never) => match never {},
    }
}

impl fmt::Debug for SledStore {
    /// Names the folder alone: sled's own output is the whole database.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SledStore").field("folder", &self.folder).finish_non_exhaustive()
    }
}

/// Opens sled in the data folder `dir`, trying a locked database `tries` times.
pub(super) fn open_database(dir: &Path, tries: u32) -> Result<sled::Db, StoreError> {
    let config = sled::Config::new().path(dir.join(DATABASE_DIR)).cache_capacity(CACHE_BYTES);
    for _ in 1..tries {
        match config.open() {
            Err(error) if is_locked(&error) => thread::sleep(LOCK_PAUSE),
            result => return Ok(result?),
        }
    }
    match config.open() {
        Err(error) if is_locked(&error) => Err(StoreError::InUse(dir.to_owned())),
        result => Ok(result?),
    }
}

fn is_locked(error: &sled::Error) -> bool {
    matches!(error, sled::Error::Io(error) if error.to_string().starts_with(LOCK_MESSAGE))
}

/// Returns whether the folder knows its key already and `sealer` has it, or `false` for a folder without records, which may
/// still take any key.
fn check_key(db: &sled::Db, schema: u32, sealer: &Sealer) -> Result<bool, StoreError> {
    if schema > 0
        && let Some(check) = db.open_tree("meta")?.get(KEY_CHECK)?
    {
        let opened = std::str::from_utf8(&check).ok().and_then(|text| sealer.open(KEY_CHECK_PLACE, text));
        return if opened.as_deref() == Some(KEY_CHECK_TEXT) { Ok(true) } else { Err(StoreError::WrongKey) };
    }
    for name in db.tree_names() {
        let holds_secrets = matches!(name.as_ref(), b"accounts" | b"grants" | b"logins");
        if holds_secrets && !db.open_tree(name)?.is_empty() {
            return Err(StoreError::Damaged("it has accounts, but lacks what tells their schema and key"));
        }
    }
    Ok(false)
}
