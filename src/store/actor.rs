//! The one writer: an actor with a thread of its own, because every call of a store blocks.
//!
//! Messages are handled in the order they come, so two writes of one sender never overtake each other. A sender that stops
//! waiting does not take its write back.

use std::io;

use actix::{Actor, Addr, Arbiter, Context, Handler, Message};

use crate::domain::id::AccountId;
use crate::store::{AccountRecord, GrantRecord, Loaded, Store, StoreError};

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

/// Adds or replaces an account's grant. See [`Store::put_grant`] for refusals.
#[derive(Debug, Message)]
#[rtype(result = "Result<(), StoreError>")]
pub struct PutGrant(pub GrantRecord);

/// Removes an account and its grant; refused only when the disk fails.
#[derive(Debug, Message)]
#[rtype(result = "Result<(), StoreError>")]
pub struct DeleteAccount(pub AccountId);

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

impl Handler<PutGrant> for StoreActor {
    type Result = Result<(), StoreError>;

    fn handle(&mut self, PutGrant(record): PutGrant, _: &mut Context<Self>) -> Self::Result {
        self.store.put_grant(&record)
    }
}

impl Handler<DeleteAccount> for StoreActor {
    type Result = Result<(), StoreError>;

    fn handle(&mut self, DeleteAccount(account): DeleteAccount, _: &mut Context<Self>) -> Self::Result {
        self.store.delete_account(&account)
    }
}

impl Handler<Load> for StoreActor {
    type Result = Result<Contents, StoreError>;

    fn handle(&mut self, Load: Load, _: &mut Context<Self>) -> Self::Result {
        Ok(Contents { accounts: self.store.load_accounts()?, grants: self.store.load_grants()? })
    }
}

impl Handler<Flush> for StoreActor {
    type Result = Result<(), StoreError>;

    fn handle(&mut self, Flush: Flush, _: &mut Context<Self>) -> Self::Result {
        self.store.flush()
    }
}
