//! Writes that depend on what is stored: the one writer reads, compares and writes, and nobody comes between.
//!
//! An account's settings, its login and the renewal of its login are changed by different hands at different times; each
//! of these messages changes its own part of the record and leaves the others as they are.

use actix::{Context, Handler, Message};

use crate::domain::id::{AccountId, Generation};
use crate::domain::time::Timestamp;
use crate::store::{AccountRecord, Credential, Store, StoreActor, StoreError};

/// What is noted of the exchange of an account's pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExchangeNote {
    /// It is begun at this time. An older note stays: its outcome is not known either.
    Begun(Timestamp),
    /// It did not take place.
    None,
}

/// Notes whether the exchange of an account's pair is under way; answered once that is on disk.
#[derive(Debug, Message)]
#[rtype(result = "Result<Written, StoreError>")]
pub struct NoteExchange {
    /// Whose.
    pub account: AccountId,
    /// The pair with its application.
    pub of: Credential,
    /// Serial number of `of`.
    pub generation: Generation,
    /// What to note.
    pub note: ExchangeNote,
}

/// Puts the next pair in the place of the one that was exchanged for it, and clears the note; answered once that is on
/// disk. May be repeated until it is.
#[derive(Debug, Message)]
#[rtype(result = "Result<Written, StoreError>")]
pub struct PutPair {
    /// Whose.
    pub account: AccountId,
    /// The pair that was exchanged, with its application.
    pub of: Credential,
    /// Serial number of `of`.
    pub generation: Generation,
    /// The pair that came for it, with the same application; gets the next number.
    pub next: Credential,
}

/// Changes the settings of an account, and neither its login nor what is noted of that.
#[derive(Debug, Message)]
#[rtype(result = "Result<(), StoreError>")]
pub struct PutSettings(pub AccountRecord);

/// What became of a write that depends on the stored credential.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Written {
    /// It is on disk.
    Fresh,
    /// It was on disk before.
    Before,
    /// It was not written: another credential is stored, under this number.
    Overtaken(Box<Credential>, Generation),
}

impl Handler<NoteExchange> for StoreActor {
    type Result = Result<Written, StoreError>;

    fn handle(&mut self, message: NoteExchange, _: &mut Context<Self>) -> Self::Result {
        let NoteExchange { account, of, generation, note } = message;
        let mut record = stored(&mut *self.store, &account)?;
        if record.credential_generation != generation || record.credential != of {
            return Ok(Written::Overtaken(Box::new(record.credential), record.credential_generation));
        }
        let written = if record.exchange_begun_at.is_some() { Written::Before } else { Written::Fresh };
        record.exchange_begun_at = match note {
            ExchangeNote::Begun(at) => record.exchange_begun_at.or(Some(at)),
            ExchangeNote::None => None,
        };
        // Also where nothing changes: the write before may have failed to reach the disk.
        self.store.put_account(&record)?;
        Ok(written)
    }
}

impl Handler<PutPair> for StoreActor {
    type Result = Result<Written, StoreError>;

    fn handle(&mut self, message: PutPair, _: &mut Context<Self>) -> Self::Result {
        let PutPair { account, of, generation, next } = message;
        let mut record = stored(&mut *self.store, &account)?;
        let is_old = record.credential_generation == generation && record.credential == of;
        let is_next = record.credential_generation == generation.next() && record.credential == next;
        if !is_old && !is_next {
            return Ok(Written::Overtaken(Box::new(record.credential), record.credential_generation));
        }
        record.credential = next;
        record.credential_generation = generation.next();
        record.exchange_begun_at = None;
        self.store.put_account(&record)?;
        Ok(if is_next { Written::Before } else { Written::Fresh })
    }
}

impl Handler<PutSettings> for StoreActor {
    type Result = Result<(), StoreError>;

    fn handle(&mut self, PutSettings(record): PutSettings, _: &mut Context<Self>) -> Self::Result {
        let there = stored(&mut *self.store, &record.id)?;
        self.store.put_account(&AccountRecord {
            credential: there.credential,
            credential_generation: there.credential_generation,
            exchange_begun_at: there.exchange_begun_at,
            ..record
        })
    }
}

fn stored(store: &mut dyn Store, account: &AccountId) -> Result<AccountRecord, StoreError> {
    store.load_account(account)?.ok_or_else(|| StoreError::NoSuchAccount(account.clone()))
}
