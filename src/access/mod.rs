//! Who may come in: client keys and the operator's key.
//!
//! Pure. Keys are kept as digests, so that a memory dump or a debug print shows none, and are compared in constant time.

use std::fmt;
use std::sync::Arc;

use sha2::{Digest as _, Sha256};
use subtle::{Choice, ConditionallySelectable, ConstantTimeEq};

use crate::domain::id::hex;
use crate::domain::secret::Secret;

/// Bytes of a key's digest that are its name: too few to tell a guessed key from a wrong one with certainty.
const NAME_BYTES: usize = 4;

/// What a caller may use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Scope {
    /// Pools of accounts; a request stays within them.
    pub(crate) pools: Arc<[String]>,
    /// Tells keys apart where callers share something in turn; says nothing about the key.
    pub(crate) client: usize,
}

/// Why somebody may not come in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// No key was presented.
    Missing,
    /// The key is not one of ours.
    Wrong,
}

struct KeyDigest([u8; 32]);

impl KeyDigest {
    fn of(key: &str) -> Self {
        Self(Sha256::digest(key.as_bytes()).into())
    }
}

/// The keys that open a server.
pub(crate) struct Access {
    clients: Vec<KeyDigest>,
    admin: KeyDigest,
    scope: Scope,
}

impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Access").field("client_keys", &self.clients.len()).finish_non_exhaustive()
    }
}

impl Access {
    /// Takes the client keys, which may be used with the accounts of `pools`, and the admin key.
    pub(crate) fn new(clients: &[Secret<String>], admin: &Secret<String>, pools: Arc<[String]>) -> Self {
        let clients = clients.iter().map(|key| KeyDigest::of(key.expose())).collect();
        Self { clients, admin: KeyDigest::of(admin.expose()), scope: Scope { pools, client: 0 } }
    }

    /// Returns whether there is no client key, so that anybody on this machine may use the client API.
    pub(crate) fn is_open(&self) -> bool {
        self.clients.is_empty()
    }

    /// Returns what a request may use that needs no key, or of which it does not matter whose it is.
    pub(crate) fn anybody(&self) -> Scope {
        self.scope.clone()
    }

    /// Returns the name of a client's key: a few digits of its digest, which tell keys apart and lead to none. `None`
    /// while open.
    pub(crate) fn name_of(&self, client: usize) -> Option<String> {
        let digest = &self.clients.get(client)?.0;
        Some(format!("key_{}", hex(&digest[..NAME_BYTES])))
    }

    /// Returns what the client key of this name may use.
    pub(crate) fn named(&self, name: &str) -> Option<Scope> {
        let client = (0..self.clients.len()).find(|client| self.name_of(*client).as_deref() == Some(name))?;
        Some(Scope { client, ..self.scope.clone() })
    }

    /// Decides about a client that presents `key`. While open, any key will do, and none.
    pub(crate) fn client(&self, key: Option<&str>) -> Result<Scope, Refused> {
        if self.is_open() {
            return Ok(self.scope.clone());
        }
        let presented = KeyDigest::of(key.ok_or(Refused::Missing)?);
        // Every key is compared, so that the time says nothing about which one was close.
        let (found, client) =
            self.clients.iter().zip(0_u64..).fold((Choice::from(0), 0), |(found, client), (key, number)| {
                let equal = key.0.ct_eq(&presented.0);
                (found | equal, u64::conditional_select(&client, &number, equal))
            });
        let client = usize::try_from(client).unwrap_or_default();
        if found.into() { Ok(Scope { client, ..self.scope.clone() }) } else { Err(Refused::Wrong) }
    }

    /// Decides about an operator that presents `key`.
    pub(crate) fn admin(&self, key: Option<&str>) -> Result<(), Refused> {
        let presented = KeyDigest::of(key.ok_or(Refused::Missing)?);
        if self.admin.0.ct_eq(&presented.0).into() { Ok(()) } else { Err(Refused::Wrong) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn access(keys: &[&str]) -> Access {
        let keys: Vec<_> = keys.iter().map(|key| Secret::new((*key).to_owned())).collect();
        Access::new(&keys, &Secret::new("the-admin-key-0123".to_owned()), Arc::new(["default".to_owned()]))
    }

    #[test]
    fn while_open_a_presented_key_is_ignored() {
        assert!(access(&[]).client(None).is_ok());
        assert!(access(&[]).client(Some("sk-anything")).is_ok());
    }

    #[test]
    fn with_keys_only_they_open() {
        let access = access(&["one-client-key-012", "two-client-key-012"]);
        assert_eq!(access.client(None), Err(Refused::Missing));
        assert_eq!(access.client(Some("one-client-key-01")), Err(Refused::Wrong));
        let number = |key| access.client(Some(key)).unwrap().client;
        assert_ne!(number("one-client-key-012"), number("two-client-key-012"));
    }

    #[test]
    fn a_key_has_a_name_that_is_not_the_key() {
        let access = access(&["one-client-key-012", "two-client-key-012"]);
        let client = access.client(Some("two-client-key-012")).unwrap().client;
        let name = access.name_of(client).unwrap();
        assert!(name.len() == 12 && name.starts_with("key_") && Some(&name) != access.name_of(0).as_ref());
        assert_eq!(access.named(&name).map(|scope| scope.client), Some(client));
        assert_eq!(access.named("two-client-key-012"), None);
        assert_eq!(self::access(&[]).name_of(0), None);
    }

    #[test]
    fn the_admin_api_is_never_open_and_has_a_key_of_its_own() {
        assert_eq!(access(&[]).admin(None), Err(Refused::Missing));
        assert_eq!(access(&["one-client-key-012"]).admin(Some("one-client-key-012")), Err(Refused::Wrong));
        assert!(access(&[]).admin(Some("the-admin-key-0123")).is_ok());
    }
}
