//! Backups: accounts and logins in one file, under a passphrase and nothing else.
//!
//! A backup opens on another machine, so it knows no master key. Grants and health are not in it: they are a mint away.
//! The passphrase goes through Argon2id, whose parameters stand in the file; all else is sealed as one, so a file that was
//! cut, changed or put together from two does not open.

use std::collections::BTreeMap;

use actix::Message;
use argon2::{Algorithm, Argon2, Params, Version};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rand::TryRng as _;
use rand::rngs::SysRng;
use serde::{Deserialize, Serialize};

use crate::domain::secret::Secret;
use crate::domain::time::Timestamp;
use crate::store::codec::{decode_account, decode_login, encode_account, encode_login};
use crate::store::seal::{Place, Sealer};
use crate::store::{AccountRecord, Contents, LoginRecord, MasterKey, StoreError};

/// The format's version.
const VERSION: u32 = 1;
const SALT_BYTES: usize = 16;
/// A guess costs 64 MiB and three passes: more than the least that OWASP's password storage cheat sheet asks for (19 MiB,
/// two passes), and still under a second on a small machine.
const COST: Cost = Cost { memory_kib: 64 * 1024, passes: 3, lanes: 1 };
/// A file must not ask for more than this; it may come from anywhere.
const COST_MAX: Cost = Cost { memory_kib: 1024 * 1024, passes: 16, lanes: 8 };
/// Shorter ones are guessed, in characters.
const PASSPHRASE_CHARS_MIN: usize = 8;

/// Asks for a sealed backup of what is stored now.
#[derive(Debug, Message)]
#[rtype(result = "Result<Vec<u8>, BackupError>")]
pub struct MakeBackup {
    /// What seals it.
    pub passphrase: Secret<String>,
    /// The present time, which the backup bears.
    pub now: Timestamp,
}

/// Why there is no backup, or it does not open.
#[derive(Clone, Debug, thiserror::Error)]
pub enum BackupError {
    /// What is stored cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// An account is stored but cannot be read; a backup without it would not be one.
    #[error("`{0}` is stored but cannot be read, and would be missing: remove it first")]
    Unreadable(String),
    /// The passphrase would be guessed.
    #[error("the passphrase must have at least {PASSPHRASE_CHARS_MIN} characters")]
    ShortPassphrase,
    /// The file is something else, or a part of a backup.
    #[error("the file is no backup, or a part of one is missing")]
    NotABackup,
    /// A newer program made it.
    #[error(
        "the backup has format {0}, which this duopool does not know: use the version that made it, or a newer one"
    )]
    Newer(u32),
    /// The seal does not open.
    #[error("the passphrase is wrong, or the backup was changed since it was made")]
    WrongPassphrase,
    /// The system has neither the memory nor the random bytes that it takes.
    #[error("the system has not enough memory or randomness to seal or open a backup")]
    NoResources,
}

/// An opened backup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backup {
    /// When it was made.
    pub made_at: Timestamp,
    pub(super) accounts: Vec<AccountRecord>,
    pub(super) logins: Vec<LoginRecord>,
}

#[derive(Serialize, Deserialize)]
struct File {
    #[serde(flatten)]
    head: Head,
    sealed: String,
}

/// What is readable; the seal is bound to it.
#[derive(Serialize, Deserialize)]
struct Head {
    duopool_backup: u32,
    made_at: Timestamp,
    /// For people who wonder what the file is.
    accounts: usize,
    argon2id: Cost,
    salt: String,
}

#[derive(Clone, Copy, Serialize, Deserialize)]
struct Cost {
    memory_kib: u32,
    passes: u32,
    lanes: u32,
}

/// Records as the store writes them, under the passphrase's key.
#[derive(Serialize, Deserialize)]
struct Body {
    accounts: BTreeMap<String, String>,
    logins: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct Versioned {
    duopool_backup: u32,
}

/// Seals a backup of `contents`. Takes the better part of a second and 64 MiB.
pub(super) fn seal(contents: &Contents, passphrase: &Secret<String>, now: Timestamp) -> Result<Vec<u8>, BackupError> {
    if passphrase.expose().chars().count() < PASSPHRASE_CHARS_MIN {
        return Err(BackupError::ShortPassphrase);
    }
    if let Some(bad) = contents.accounts.unreadable.iter().chain(&contents.logins.unreadable).next() {
        return Err(BackupError::Unreadable(bad.id.clone()));
    }
    let mut salt = [0; SALT_BYTES];
    SysRng.try_fill_bytes(&mut salt).map_err(|_| BackupError::NoResources)?;
    let under = sealer(passphrase, &salt, COST)?;
    let mut body = Body { accounts: BTreeMap::new(), logins: BTreeMap::new() };
    for record in &contents.accounts.records {
        body.accounts.insert(record.id.to_string(), text(&encode_account(&under, record)?));
    }
    for record in &contents.logins.records {
        body.logins.insert(record.id.clone(), text(&encode_login(&under, record)?));
    }
    let head = Head {
        duopool_backup: VERSION,
        made_at: now,
        accounts: body.accounts.len(),
        argon2id: COST,
        salt: STANDARD.encode(salt),
    };
    let body = serde_json::to_vec(&body).map_err(|_| BackupError::NotABackup)?;
    let sealed = under.seal(place(&readable(&head)?), &body).ok_or(BackupError::NoResources)?;
    serde_json::to_vec(&File { head, sealed }).map_err(|_| BackupError::NotABackup)
}

/// Opens a backup.
///
/// # Errors
/// [`BackupError::NotABackup`], [`BackupError::Newer`] or [`BackupError::WrongPassphrase`].
pub fn open(bytes: &[u8], passphrase: &Secret<String>) -> Result<Backup, BackupError> {
    let damaged = |_| BackupError::NotABackup;
    let Versioned { duopool_backup: version } = serde_json::from_slice(bytes).map_err(damaged)?;
    if version != VERSION {
        return Err(BackupError::Newer(version));
    }
    let File { head, sealed } = serde_json::from_slice(bytes).map_err(damaged)?;
    let salt = STANDARD.decode(&head.salt).map_err(|_| BackupError::NotABackup)?;
    let under = sealer(passphrase, &salt, head.argon2id)?;
    let body = under.open(place(&readable(&head)?), &sealed).ok_or(BackupError::WrongPassphrase)?;
    let body: Body = serde_json::from_slice(&body).map_err(damaged)?;
    let accounts = body.accounts.iter().map(|(id, text)| decode_account(&under, id, text.as_bytes()));
    let logins = body.logins.iter().map(|(id, text)| decode_login(&under, id, text.as_bytes()));
    Ok(Backup {
        made_at: head.made_at,
        accounts: accounts.collect::<Result<_, _>>().map_err(|_| BackupError::NotABackup)?,
        logins: logins.collect::<Result<_, _>>().map_err(|_| BackupError::NotABackup)?,
    })
}

fn sealer(passphrase: &Secret<String>, salt: &[u8], cost: Cost) -> Result<Sealer, BackupError> {
    if cost.memory_kib > COST_MAX.memory_kib || cost.passes > COST_MAX.passes || cost.lanes > COST_MAX.lanes {
        return Err(BackupError::NotABackup);
    }
    let params = Params::new(cost.memory_kib, cost.passes, cost.lanes, None).map_err(|_| BackupError::NotABackup)?;
    let mut key = [0; 32];
    let hash = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    match hash.hash_password_into(passphrase.expose().as_bytes(), salt, &mut key) {
        Ok(()) => Ok(Sealer::new(&MasterKey::from_bytes(key))),
        Err(argon2::Error::OutOfMemory) => Err(BackupError::NoResources),
        Err(_) => Err(BackupError::NotABackup),
    }
}

fn place(readable: &str) -> Place<'_> {
    Place { kind: "backup", id: "", version: VERSION, readable }
}

fn readable(head: &Head) -> Result<String, BackupError> {
    serde_json::to_string(head).map_err(|_| BackupError::NotABackup)
}

/// The store writes records as JSON.
fn text(record: &[u8]) -> String {
    String::from_utf8_lossy(record).into_owned()
}
