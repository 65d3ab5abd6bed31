//! The one writer: an actor with a thread of its own, because every call of a store blocks.
//!
//! Messages are handled in the order they come, so two writes of one sender never overtake each other. A sender that stops
//! waiting does not take its write back.

use std::io;

use actix::{Actor, Addr, Arbiter, Context, Handler, Message, ResponseFuture};

use crate::domain::id::AccountId;
use crate::store::backup::{self, BackupError, MakeBackup};
use crate::store::{AccountRecord, GrantRecord, Loaded, LoginRecord, Store, StoreError};

/// Writes that may wait. Each account has at most one credential write and one grant write under way, so this holds the
/// worst burst, a start with expired grants, of 128 accounts; further senders wait their turn.
const MAILBOX_WRITES: usize = 256;

/// Owns the store.
pub struct StoreActor {
    pub(super) store: Box<dyn Store>,
}

/// Adds or replaces an account; answered once it is on disk. See [`Store::put_account`] for refusals.
#[derive(Debug, Message)]
#[rtype(result = "Result<(), StoreError>")]
pub struct PutAccount(pub AccountRecord);

/// Adds or replaces the account that a login became, and removes that login; answered once both are on disk. See
/// [`Store::put_account_from_login`] for refusals.
#[derive(Debug, Message)]
#[rtype(result = "Result<(), StoreError>")]
pub struct PutAccountFromLogin {
    /// The account.
    pub record: AccountRecord,
    /// The login's id.
    pub login: String,
}

/// Adds or replaces a login; answered once it is on disk. See [`Store::put_login`] for refusals.
#[derive(Debug, Message)]
#[rtype(result = "Result<(), StoreError>")]
pub struct PutLogin(pub LoginRecord);

/// Removes a login; refused only when the disk fails.
#[derive(Debug, Message)]
#[rtype(result = "Result<(), StoreError>")]
pub struct DeleteLogin(pub String);

/// Keeps what an account remembers of its own health. See [`Store::put_health`] for refusals.
#[derive(Debug, Message)]
#[rtype(result = "Result<(), StoreError>")]
pub struct PutHealth {
    /// Whose.
    pub account: AccountId,
    /// In a form of the account's own, without secrets.
    pub bytes: Vec<u8>,
}

/// Keeps what is to be remembered of the health that accounts share. See [`Store::put_shared_health`].
#[derive(Debug, Message)]
#[rtype(result = "Result<(), StoreError>")]
pub struct PutSharedHealth(pub Vec<u8>);

/// Adds or replaces an account's grant. See [`Store::put_grant`] for refusals.
#[derive(Debug, Message)]
#[rtype(result = "Result<(), StoreError>")]
pub struct PutGrant(pub GrantRecord);

/// Removes an account with its grant and health; refused only when the disk fails.
#[derive(Debug, Message)]
#[rtype(result = "Result<Deleted, StoreError>")]
pub struct DeleteAccount(pub AccountId);

/// What was removed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Deleted {
    /// It was not stored.
    Nothing,
    /// A record that could not be read.
    Unreadable,
    /// This account, with the credential that counted to the last.
    Account(Box<AccountRecord>),
}

/// Reads everything; refused only when the disk fails.
#[derive(Debug, Message)]
#[rtype(result = "Result<Contents, StoreError>")]
pub struct Load;

/// Answered once everything sent before is on disk; the last message before a shutdown.
#[derive(Debug, Message)]
#[rtype(result = "Result<(), StoreError>")]
pub struct Flush;

/// All that is stored.
#[derive(Clone, Debug)]
pub struct Contents {
    /// The accounts.
    pub accounts: Loaded<AccountRecord>,
    /// Their grants.
    pub grants: Loaded<GrantRecord>,
    /// Logins that are not an account yet.
    pub logins: Loaded<LoginRecord>,
    /// What accounts remember of their health.
    pub health: Vec<(AccountId, Vec<u8>)>,
    /// What is remembered of the health that they share.
    pub shared_health: Option<Vec<u8>>,
}

impl StoreActor {
    /// Starts the writer in a new arbiter. Stopping that arbiter drops, and so closes, the store.
    ///
    /// # Errors
    /// If the system gives no thread.
    ///
    /// # Panics
    /// Outside of an actix system.
    pub fn start(store: Box<dyn Store>) -> io::Result<(Addr<Self>, Arbiter)> {
        let arbiter = Arbiter::try_new()?;
        let address = <Self as Actor>::start_in_arbiter(&arbiter.handle(), |_| Self { store });
        Ok((address, arbiter))
    }
}

impl Actor for StoreActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        ctx.set_mailbox_capacity(MAILBOX_WRITES);
    }
}

impl Handler<PutAccount> for StoreActor {
    type Result = Result<(), StoreError>;

    fn handle(&mut self, PutAccount(record): PutAccount, _: &mut Context<Self>) -> Self::Result {
        self.store.put_account(&record)
    }
}

impl Handler<PutAccountFromLogin> for StoreActor {
    type Result = Result<(), StoreError>;

    fn handle(&mut self, message: PutAccountFromLogin, _: &mut Context<Self>) -> Self::Result {
        self.store.put_account_from_login(&message.record, &message.login)
    }
}

impl Handler<PutLogin> for StoreActor {
    type Result = Result<(), StoreError>;

    fn handle(&mut self, PutLogin(record): PutLogin, _: &mut Context<Self>) -> Self::Result {
        self.store.put_login(&record)
    }
}

impl Handler<DeleteLogin> for StoreActor {
    type Result = Result<(), StoreError>;

    fn handle(&mut self, DeleteLogin(login): DeleteLogin, _: &mut Context<Self>) -> Self::Result {
        self.store.delete_login(&login)
    }
}

impl Handler<PutHealth> for StoreActor {
    type Result = Result<(), StoreError>;

    fn handle(&mut self, PutHealth { account, bytes }: PutHealth, _: &mut Context<Self>) -> Self::Result {
        self.store.put_health(&account, &bytes)
    }
}

impl Handler<PutSharedHealth> for StoreActor {
    type Result = Result<(), StoreError>;

    fn handle(&mut self, PutSharedHealth(bytes): PutSharedHealth, _: &mut Context<Self>) -> Self::Result {
        self.store.put_shared_health(&bytes)
    }
}

impl Handler<PutGrant> for StoreActor {
    type Result = Result<(), StoreError>;

    fn handle(&mut self, PutGrant(record): PutGrant, _: &mut Context<Self>) -> Self::Result {
        self.store.put_grant(&record)
    }
}

impl Handler<DeleteAccount> for StoreActor {
    type Result = Result<Deleted, StoreError>;

    fn handle(&mut self, DeleteAccount(account): DeleteAccount, _: &mut Context<Self>) -> Self::Result {
        let deleted = match self.store.load_account(&account) {
            Ok(Some(record)) => Deleted::Account(Box::new(record)),
            Ok(None) => Deleted::Nothing,
            // A disk that cannot be read says so when it is written.
            Err(_) => Deleted::Unreadable,
        };
        self.store.delete_account(&account).map(|()| deleted)
    }
}

impl StoreActor {
    fn load(&mut self) -> Result<Contents, StoreError> {
        Ok(Contents {
            accounts: self.store.load_accounts()?,
            grants: self.store.load_grants()?,
            logins: self.store.load_logins()?,
            health: self.store.load_health()?,
            shared_health: self.store.load_shared_health()?,
        })
    }
}

impl Handler<Load> for StoreActor {
    type Result = Result<Contents, StoreError>;

    fn handle(&mut self, Load: Load, _: &mut Context<Self>) -> Self::Result {
        self.load()
    }
}

impl Handler<MakeBackup> for StoreActor {
    type Result = ResponseFuture<Result<Vec<u8>, BackupError>>;

    /// Reads all between two writes, and seals it on another thread, where it holds up none.
    fn handle(&mut self, MakeBackup { passphrase, now }: MakeBackup, _: &mut Context<Self>) -> Self::Result {
        let contents = self.load();
        Box::pin(async move {
            let contents = contents?;
            let sealing = tokio::task::spawn_blocking(move || backup::seal(&contents, &passphrase, now));
            sealing.await.unwrap_or(Err(BackupError::NoResources))
        })
    }
}

impl Handler<Flush> for StoreActor {
    type Result = Result<(), StoreError>;

    fn handle(&mut self, Flush: Flush, _: &mut Context<Self>) -> Self::Result {
        self.store.flush()
    }
}
