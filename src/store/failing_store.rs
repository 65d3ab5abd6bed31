//! A store whose writes fail while a test says so, for tests of what the rooms above do then.

use std::sync::Arc;

use arc_swap::ArcSwapOption;

use crate::domain::id::AccountId;
use crate::store::{AccountRecord, GrantRecord, Loaded, LoginRecord, MemoryStore, Store, StoreError};

/// Fails every write while its [`Switch`] is on, and is a [`MemoryStore`] otherwise.
#[derive(Debug, Default)]
pub(crate) struct FailingStore {
    store: MemoryStore,
    switch: Switch,
}

/// Tells a [`FailingStore`], wherever it has gone, how its writes end.
#[derive(Clone, Debug, Default)]
pub(crate) struct Switch(Arc<ArcSwapOption<StoreError>>);

impl Switch {
    /// Lets every write from now on fail with `error`; nothing of it is stored.
    pub(crate) fn fail(&self, error: StoreError) {
        self.0.store(Some(Arc::new(error)));
    }

    /// Lets every write from now on fail as on a full disk, which may pass.
    pub(crate) fn fill_disk(&self) {
        self.fail(StoreError::Sync(Arc::new(std::io::ErrorKind::StorageFull.into())));
    }

    /// Lets writes succeed again.
    pub(crate) fn mend(&self) {
        self.0.store(None);
    }

    fn check(&self) -> Result<(), StoreError> {
        self.0.load_full().map_or(Ok(()), |error| Err(StoreError::clone(&error)))
    }
}

impl FailingStore {
    /// Returns the switch, which is off at first.
    pub(crate) fn switch(&self) -> Switch {
        self.switch.clone()
    }
}

impl Store for FailingStore {
    fn load_accounts(&mut self) -> Result<Loaded<AccountRecord>, StoreError> {
        self.store.load_accounts()
    }

    fn load_grants(&mut self) -> Result<Loaded<GrantRecord>, StoreError> {
        self.store.load_grants()
    }

    fn load_logins(&mut self) -> Result<Loaded<LoginRecord>, StoreError> {
        self.store.load_logins()
    }

    fn load_health(&mut self) -> Result<Vec<(AccountId, Vec<u8>)>, StoreError> {
        self.store.load_health()
    }

    fn load_shared_health(&mut self) -> Result<Option<Vec<u8>>, StoreError> {
        self.store.load_shared_health()
    }

    fn load_account(&mut self, account: &AccountId) -> Result<Option<AccountRecord>, StoreError> {
        self.store.load_account(account)
    }

    fn put_account(&mut self, record: &AccountRecord) -> Result<(), StoreError> {
        self.switch.check()?;
        self.store.put_account(record)
    }

    fn put_account_from_login(&mut self, record: &AccountRecord, login: &str) -> Result<(), StoreError> {
        self.switch.check()?;
        self.store.put_account_from_login(record, login)
    }

    fn put_login(&mut self, record: &LoginRecord) -> Result<(), StoreError> {
        self.switch.check()?;
        self.store.put_login(record)
    }

    fn delete_login(&mut self, login: &str) -> Result<(), StoreError> {
        self.switch.check()?;
        self.store.delete_login(login)
    }

    fn put_health(&mut self, account: &AccountId, bytes: &[u8]) -> Result<(), StoreError> {
        self.switch.check()?;
        self.store.put_health(account, bytes)
    }

    fn put_shared_health(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        self.switch.check()?;
        self.store.put_shared_health(bytes)
    }

    fn put_grant(&mut self, record: &GrantRecord) -> Result<(), StoreError> {
        self.switch.check()?;
        self.store.put_grant(record)
    }

    fn delete_account(&mut self, account: &AccountId) -> Result<(), StoreError> {
        self.switch.check()?;
        self.store.delete_account(account)
    }

    fn flush(&mut self) -> Result<(), StoreError> {
        self.switch.check()
    }
}
