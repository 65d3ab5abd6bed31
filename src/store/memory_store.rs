//! A store that forgets: for the demo, which leaves nothing behind, and for tests of the rooms above.

use std::collections::BTreeMap;

use crate::domain::id::AccountId;
use crate::store::{AccountRecord, GrantRecord, Loaded, LoginRecord, LoginState, Store, StoreError, refuse_stale};

/// Keeps everything in memory, under the same rules as the real store.
#[derive(Debug, Default)]
pub struct MemoryStore {
    accounts: BTreeMap<AccountId, AccountRecord>,
    grants: BTreeMap<AccountId, GrantRecord>,
    logins: BTreeMap<String, LoginRecord>,
    health: BTreeMap<AccountId, Vec<u8>>,
    shared_health: Option<Vec<u8>>,
}

impl Store for MemoryStore {
    fn load_accounts(&mut self) -> Result<Loaded<AccountRecord>, StoreError> {
        Ok(Loaded { records: self.accounts.values().cloned().collect(), unreadable: Vec::new() })
    }

    fn load_grants(&mut self) -> Result<Loaded<GrantRecord>, StoreError> {
        Ok(Loaded { records: self.grants.values().cloned().collect(), unreadable: Vec::new() })
    }

    fn load_account(&mut self, account: &AccountId) -> Result<Option<AccountRecord>, StoreError> {
        Ok(self.accounts.get(account).cloned())
    }

    fn load_logins(&mut self) -> Result<Loaded<LoginRecord>, StoreError> {
        Ok(Loaded { records: self.logins.values().cloned().collect(), unreadable: Vec::new() })
    }

    fn load_health(&mut self) -> Result<Vec<(AccountId, Vec<u8>)>, StoreError> {
        Ok(self.health.iter().map(|(account, bytes)| (account.clone(), bytes.clone())).collect())
    }

    fn load_shared_health(&mut self) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.shared_health.clone())
    }

    fn put_account(&mut self, record: &AccountRecord) -> Result<(), StoreError> {
        if let Some(stored) = self.accounts.get(&record.id) {
            refuse_stale(&record.id, stored.credential_generation, record.credential_generation)?;
        }
        self.accounts.insert(record.id.clone(), record.clone());
        Ok(())
    }

    fn put_account_from_login(&mut self, record: &AccountRecord, login: &str) -> Result<(), StoreError> {
        self.put_account(record)?;
        self.delete_login(login)
    }

    fn put_login(&mut self, record: &LoginRecord) -> Result<(), StoreError> {
        let issued = |login: &LoginRecord| matches!(login.state, LoginState::Issued(_));
        if !issued(record) && self.logins.get(&record.id).is_some_and(issued) {
            return Err(StoreError::LoginIssued(record.id.clone()));
        }
        self.logins.insert(record.id.clone(), record.clone());
        Ok(())
    }

    fn delete_login(&mut self, login: &str) -> Result<(), StoreError> {
        self.logins.remove(login);
        Ok(())
    }

    fn put_health(&mut self, account: &AccountId, bytes: &[u8]) -> Result<(), StoreError> {
        if !self.accounts.contains_key(account) {
            return Err(StoreError::NoSuchAccount(account.clone()));
        }
        self.health.insert(account.clone(), bytes.to_vec());
        Ok(())
    }

    fn put_shared_health(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        self.shared_health = Some(bytes.to_vec());
        Ok(())
    }

    fn put_grant(&mut self, record: &GrantRecord) -> Result<(), StoreError> {
        if !self.accounts.contains_key(&record.account) {
            return Err(StoreError::NoSuchAccount(record.account.clone()));
        }
        if let Some(stored) = self.grants.get(&record.account) {
            refuse_stale(&record.account, stored.generation, record.generation)?;
        }
        self.grants.insert(record.account.clone(), record.clone());
        Ok(())
    }

    fn delete_account(&mut self, account: &AccountId) -> Result<(), StoreError> {
        self.accounts.remove(account);
        self.grants.remove(account);
        self.health.remove(account);
        Ok(())
    }

    fn flush(&mut self) -> Result<(), StoreError> {
        Ok(())
    }
}
