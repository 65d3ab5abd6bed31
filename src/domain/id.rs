//! Names of things that duopool itself hands out.

use std::fmt;
use std::sync::Arc;

use rand::{Rng, RngExt};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::domain::endpoint::InstanceUrl;

/// Names one account for as long as it exists, also over a removal and a new login.
///
/// Derived from what identifies a user at GitLab, the instance and the numeric user id, so that adding the same
/// account twice is seen, and a username that changes is not.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct AccountId(Arc<str>);

impl AccountId {
    /// Returns the id of user `user_id` on `instance`.
    pub fn of(instance: &InstanceUrl, user_id: u64) -> Self {
        let digest = Sha256::digest(format!("{instance}\n{user_id}"));
        Self(format!("acct_{}", hex(&digest[..8])).into())
    }

    /// Takes an id as written in a path or on a command line; the caller looks it up, so any text is allowed.
    pub fn from_text(text: &str) -> Self {
        Self(text.into())
    }

    /// Returns the id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for AccountId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Names one request of a client; the `x-request-id` of its answer.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(transparent)]
pub struct RequestId(String);

impl RequestId {
    /// Draws a new id: `req_` and 24 hexadecimal digits.
    pub fn new(rng: &mut impl Rng) -> Self {
        let bytes: [u8; 12] = rng.random();
        Self(format!("req_{}", hex(&bytes)))
    }

    /// Returns the id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Serial number of a credential or a grant; a result that carries an old one never changes newer state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Generation(u64);

impl Generation {
    /// Returns the number after this one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }

    /// Returns the bare number.
    pub const fn number(self) -> u64 {
        self.0
    }
}

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// Writes `bytes` as lower-case hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        text.push(char::from(DIGITS[usize::from(byte >> 4)]));
        text.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn instance(url: &str) -> InstanceUrl {
        InstanceUrl::parse(url).unwrap()
    }

    #[test]
    fn an_account_keeps_its_id_and_no_two_accounts_share_one() {
        let here = AccountId::of(&instance("https://gitlab.com"), 7);
        assert_eq!(here, AccountId::of(&instance("https://gitlab.com/"), 7));
        assert_ne!(here, AccountId::of(&instance("https://gitlab.com"), 8));
        assert_ne!(here, AccountId::of(&instance("https://example.com/gitlab"), 7));
        assert_eq!(here.as_str().len(), 21);
    }
}
