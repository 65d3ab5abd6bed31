//! The cellar: what must survive a restart.
//!
//! Keeps accounts with their credentials, logins that are not an account yet, and what was minted and learnt for accounts,
//! in one folder. Promises three things: a write
//! that reports success is on disk; a write with an older generation never replaces a newer one; and a record that cannot
//! be read is reported, and neither dropped nor overwritten unasked. Secrets are sealed under the master key and bound to
//! their record, so a copied database gives nothing away and a record moved or edited by hand does not open.
//!
//! Nothing here knows an account actor, a clock or a dialect: when to write, and what to do about a refused write, is the
//! caller's decision. Deleted or replaced records linger in sled's log, sealed, until sled reuses their space.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use crate::domain::id::{AccountId, Generation};

pub mod actor;
pub mod backup;
mod codec;
mod disk;
mod exchange;
#[cfg(test)]
pub(crate) mod failing_store;
mod key_change;
pub mod master_key;
pub mod memory_store;
mod migrate;
mod opening;
pub mod record;
mod restore;
mod seal;
mod second_copy;
pub mod sled_store;
#[cfg(test)]
mod tests;
mod trees;

pub use actor::{
    Contents, DeleteAccount, DeleteLogin, Deleted, Flush, Load, PutAccount, PutAccountFromLogin, PutGrant, PutHealth,
    PutLogin, PutSharedHealth, StoreActor,
};
pub use exchange::{ExchangeNote, NoteExchange, PutPair, PutSettings, Written};
pub use key_change::{OpenError, change_key};
pub use master_key::{KeyError, KeyFile, MasterKey};
pub use memory_store::MemoryStore;
pub use record::{AccountRecord, Credential, GrantRecord, GrantSource, LoginRecord, LoginState};
pub use restore::{Outcome, Restored};
pub use sled_store::SledStore;

/// Where accounts, grants and logins are kept. Every call blocks until its promise holds.
pub trait Store: Send {
    /// Reads all accounts, in the order of their ids.
    fn load_accounts(&mut self) -> Result<Loaded<AccountRecord>, StoreError>;

    /// Reads all grants, in the order of their accounts' ids.
    fn load_grants(&mut self) -> Result<Loaded<GrantRecord>, StoreError>;

    /// Reads one account; `None` if it is not stored.
    ///
    /// # Errors
    /// [`StoreError::Unreadable`] if its record cannot be read.
    fn load_account(&mut self, account: &AccountId) -> Result<Option<AccountRecord>, StoreError>;

    /// Reads all logins, in the order of their ids.
    fn load_logins(&mut self) -> Result<Loaded<LoginRecord>, StoreError>;

    /// Reads what accounts wrote with [`Store::put_health`], in the order of their ids.
    fn load_health(&mut self) -> Result<Vec<(AccountId, Vec<u8>)>, StoreError>;

    /// Reads what was written with [`Store::put_shared_health`], if something was.
    fn load_shared_health(&mut self) -> Result<Option<Vec<u8>>, StoreError>;

    /// Adds or replaces an account; on return it has reached the disk.
    ///
    /// # Errors
    /// [`StoreError::Stale`] if the stored credential has a newer generation, [`StoreError::Unreadable`] if there is a stored
    /// record that cannot be read: only [`Store::delete_account`] clears that away.
    fn put_account(&mut self, record: &AccountRecord) -> Result<(), StoreError>;

    /// Does as [`Store::put_account`] and removes the login that became this account, both or neither; an absent login is
    /// no error, so that this can be repeated.
    fn put_account_from_login(&mut self, record: &AccountRecord, login: &str) -> Result<(), StoreError>;

    /// Adds or replaces a login; on return it has reached the disk.
    ///
    /// A stored login that cannot be read is replaced: to refuse would lose the pair in hand as well.
    ///
    /// # Errors
    /// [`StoreError::LoginIssued`] if the stored login has a pair and `record` has none.
    fn put_login(&mut self, record: &LoginRecord) -> Result<(), StoreError>;

    /// Removes a login, readable or not; an absent one is no error. On return that has reached the disk.
    fn delete_login(&mut self, login: &str) -> Result<(), StoreError>;

    /// Keeps what an account wants to remember of its own health: bytes that mean nothing here and hold no secret. On return
    /// they survive the process, though perhaps not a loss of power.
    ///
    /// # Errors
    /// [`StoreError::NoSuchAccount`] if the account is not (or no longer) stored.
    fn put_health(&mut self, account: &AccountId, bytes: &[u8]) -> Result<(), StoreError>;

    /// Keeps what is to be remembered of the health that accounts share: bytes that mean nothing here and hold no secret. On
    /// return they survive the process, though perhaps not a loss of power.
    fn put_shared_health(&mut self, bytes: &[u8]) -> Result<(), StoreError>;

    /// Adds or replaces an account's grant; on return it survives the process, though perhaps not a loss of power.
    ///
    /// A stored grant that cannot be read is replaced, since a new one is a mint away.
    ///
    /// # Errors
    /// [`StoreError::NoSuchAccount`] if the account is not (or no longer) stored, [`StoreError::Stale`] if the stored grant
    /// has a newer generation.
    fn put_grant(&mut self, record: &GrantRecord) -> Result<(), StoreError>;

    /// Removes an account with its grant and health, readable or not, all or nothing; an absent one is no error.
    fn delete_account(&mut self, account: &AccountId) -> Result<(), StoreError>;

    /// Returns once everything written before has reached the disk.
    fn flush(&mut self) -> Result<(), StoreError>;
}

/// What a tree holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loaded<R> {
    /// The records that could be read.
    pub records: Vec<R>,
    /// Those that could not; they stay where they are.
    pub unreadable: Vec<Unreadable>,
}

/// A record that could not be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unreadable {
    /// The id of the account or login that it is stored under.
    pub id: String,
    /// What is wrong with it.
    pub reason: RecordError,
}

/// Why one record could not be read.
///
/// Carries no source: a parser's message may quote what it found, and that may be a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// The bytes are no record.
    #[error("the record is damaged")]
    Damaged,
    /// The record has a version that this program does not know.
    #[error("the record has version {0}, which this duopool does not know")]
    UnknownVersion(u32),
    /// The seal does not open: the record was changed, or it belongs to another place.
    #[error("the record was changed or moved since duopool wrote it")]
    BrokenSeal,
}

/// Why the store could not do what it was asked.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StoreError {
    /// The folder cannot be made, read or written.
    #[error("the data folder {} cannot be used", dir.display())]
    Folder {
        /// The folder.
        dir: PathBuf,
        /// What the system said.
        source: Arc<io::Error>,
    },
    /// Another process has the folder open.
    #[error("another duopool uses the data folder {}", .0.display())]
    InUse(PathBuf),
    /// A newer program wrote the folder; nothing was changed.
    #[error(
        "the data folder has schema {found} and this duopool knows up to {known}: use the version that wrote it, or a newer one"
    )]
    NewerSchema {
        /// The folder's schema version.
        found: u32,
        /// The newest this program knows.
        known: u32,
    },
    /// The master key is not the one the folder was made with; nothing was changed.
    #[error(
        "the master key does not fit this data folder: set DUOPOOL_MASTER_KEY, or restore the key file it was made with"
    )]
    WrongKey,
    /// The folder's own description is damaged; nothing was changed.
    #[error("the data folder is damaged: {0}")]
    Damaged(&'static str),
    /// What is stored is newer than what was to be written.
    #[error("generation {offered} of `{account}` is older than the stored {stored}")]
    Stale {
        /// The account concerned.
        account: AccountId,
        /// The generation in the store.
        stored: Generation,
        /// The generation that was refused.
        offered: Generation,
    },
    /// A login that has its pair was to be replaced by one that has none.
    #[error("login `{0}` has its tokens already")]
    LoginIssued(String),
    /// The account of a grant or of a health record is not stored.
    #[error("there is no account `{0}`")]
    NoSuchAccount(AccountId),
    /// The stored record cannot be read, so it is not replaced.
    #[error("the stored record of account `{account}` cannot be read, so it is kept: remove the account to replace it")]
    Unreadable {
        /// The account concerned.
        account: AccountId,
        /// What is wrong with its record.
        source: RecordError,
    },
    /// The stored login cannot be read.
    #[error("the stored login `{login}` cannot be read: remove it first")]
    UnreadableLogin {
        /// The login's id.
        login: String,
        /// What is wrong with its record.
        source: RecordError,
    },
    /// A record could not be sealed; the system had no random bytes to give.
    #[error("a record could not be sealed: the system gave no random bytes")]
    Unsealable,
    /// The database stopped at an error of its own; its message was logged.
    #[error("the database stopped at an error of its own")]
    Crashed,
    /// The database failed.
    #[error("the database failed")]
    Database(#[source] Arc<sled::Error>),
    /// The data was written but may not outlive a loss of power.
    #[error("the data could not be brought to disk")]
    Sync(#[source] Arc<io::Error>),
}

impl StoreError {
    /// Returns whether the same write would fail again whatever becomes of the disk; else it may be repeated, and what it
    /// holds must be kept until it is done.
    pub const fn is_final(&self) -> bool {
        match self {
            Self::Stale { .. }
            | Self::LoginIssued(_)
            | Self::NoSuchAccount(_)
            | Self::Unreadable { .. }
            | Self::UnreadableLogin { .. }
            | Self::NewerSchema { .. }
            | Self::WrongKey => true,
            Self::Folder { .. }
            | Self::InUse(_)
            | Self::Damaged(_)
            | Self::Unsealable
            | Self::Crashed
            | Self::Database(_)
            | Self::Sync(_) => false,
        }
    }
}

impl From<sled::Error> for StoreError {
    fn from(error: sled::Error) -> Self {
        Self::Database(Arc::new(error))
    }
}

/// Refuses `offered` if `stored` is newer; equal generations may be rewritten, since settings change without a new
/// credential.
fn refuse_stale(account: &AccountId, stored: Generation, offered: Generation) -> Result<(), StoreError> {
    if offered >= stored {
        return Ok(());
    }
    Err(StoreError::Stale { account: account.clone(), stored, offered })
}
