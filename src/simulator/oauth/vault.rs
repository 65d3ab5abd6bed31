//! Codes and token pairs: what was handed out, to whom, and what of it still works.
//!
//! Tokens are kept as digests. A pair is one record, as GitLab's `oauth_access_tokens` has it: access and refresh token
//! die together, and no record knows which one came before it, so a replayed refresh token revokes nothing.

use std::collections::{BTreeMap, HashMap, VecDeque};

use rand::RngExt as _;
use serde_json::{Value, json};

use crate::domain::id::hex;
use crate::domain::secret::Secret;
use crate::domain::time::Timestamp;
use crate::simulator::journal::fingerprint;
use crate::simulator::oauth::device::DeviceGrant;

/// Pairs that are remembered; beyond it the oldest dead one is forgotten, or the oldest where all live.
const PAIRS_MAX: usize = 10_000;
/// Codes and devices that are remembered, each.
const PENDING_MAX: usize = 1_000;

/// Tokens as the token endpoint hands them out.
#[derive(Clone, Debug)]
pub struct IssuedTokens {
    /// The access token.
    pub access_token: Secret<String>,
    /// The refresh token, where there is one.
    pub refresh_token: Option<Secret<String>>,
    /// Life of the access token in seconds.
    pub expires_in_s: u64,
    /// When they were made.
    pub created_at: Timestamp,
    /// What they allow.
    pub scopes: Vec<String>,
}

impl IssuedTokens {
    /// Returns the body of the token endpoint.
    pub(crate) fn json(&self) -> Value {
        let mut body = json!({
            "access_token": self.access_token.expose(),
            "token_type": "Bearer",
            "expires_in": self.expires_in_s,
        });
        if let Some(token) = &self.refresh_token {
            body["refresh_token"] = json!(token.expose());
        }
        body["scope"] = json!(self.scopes.join(" "));
        body["created_at"] = json!(self.created_at.as_secs());
        body
    }
}

/// Whose tokens these are, and what for.
#[derive(Clone, Debug)]
pub(crate) struct Consent {
    pub(crate) client_id: String,
    pub(crate) account: usize,
    pub(crate) scopes: Vec<String>,
    /// Unset for a device.
    pub(crate) redirect_uri: Option<String>,
}

/// A pair of tokens.
#[derive(Clone, Debug)]
pub(crate) struct Pair {
    pub(crate) consent: Consent,
    pub(crate) created_at: Timestamp,
    pub(crate) expires_at: Timestamp,
    pub(crate) revoked: bool,
    access: String,
    refresh: Option<String>,
}

/// A code on its way from the browser to the token endpoint.
#[derive(Clone, Debug)]
pub(crate) struct Code {
    pub(crate) consent: Consent,
    /// S256 challenge, where the client sent one.
    pub(crate) challenge: Option<String>,
    pub(crate) expires_at: Timestamp,
    pub(crate) used: bool,
    digest: String,
}

/// All of them.
#[derive(Debug, Default)]
pub(crate) struct Vault {
    pairs: BTreeMap<u64, Pair>,
    by_digest: HashMap<String, u64>,
    codes: VecDeque<Code>,
    pub(crate) devices: VecDeque<DeviceGrant>,
    last: u64,
}

/// Returns a token such as GitLab makes: 32 random bytes in hexadecimal digits.
pub(crate) fn random_token() -> String {
    let bytes: [u8; 32] = rand::rng().random();
    hex(&bytes)
}

impl Vault {
    /// Makes a pair.
    pub(crate) fn issue(&mut self, consent: Consent, with_refresh: bool, life_s: u64, now: Timestamp) -> IssuedTokens {
        self.make_room();
        let access_token = random_token();
        let refresh_token = with_refresh.then(random_token);
        self.last += 1;
        let pair = Pair {
            created_at: now,
            expires_at: Timestamp::from_secs(now.as_secs().saturating_add(life_s)),
            revoked: false,
            access: fingerprint(&access_token),
            refresh: refresh_token.as_deref().map(fingerprint),
            consent,
        };
        for digest in std::iter::once(&pair.access).chain(&pair.refresh) {
            self.by_digest.insert(digest.clone(), self.last);
        }
        let scopes = pair.consent.scopes.clone();
        self.pairs.insert(self.last, pair);
        IssuedTokens {
            access_token: Secret::new(access_token),
            refresh_token: refresh_token.map(Secret::new),
            expires_in_s: life_s,
            created_at: now,
            scopes,
        }
    }

    fn make_room(&mut self) {
        if self.pairs.len() < PAIRS_MAX {
            return;
        }
        let dead = self.pairs.iter().find(|(_, pair)| pair.revoked).map(|(number, _)| *number);
        let Some(number) = dead.or_else(|| self.pairs.keys().next().copied()) else { return };
        if let Some(pair) = self.pairs.remove(&number) {
            for digest in std::iter::once(&pair.access).chain(&pair.refresh) {
                self.by_digest.remove(digest);
            }
        }
    }

    fn find(&self, token: &str, part: impl Fn(&Pair) -> Option<&String>) -> Option<(u64, &Pair)> {
        let digest = fingerprint(token);
        let number = *self.by_digest.get(&digest)?;
        let pair = self.pairs.get(&number)?;
        (part(pair) == Some(&digest)).then_some((number, pair))
    }

    /// Returns the pair of an access token, dead or alive.
    pub(crate) fn of_access(&self, token: &str) -> Option<(u64, &Pair)> {
        self.find(token, |pair| Some(&pair.access))
    }

    /// Returns the pair of a refresh token, dead or alive.
    pub(crate) fn of_refresh(&self, token: &str) -> Option<(u64, &Pair)> {
        self.find(token, |pair| pair.refresh.as_ref())
    }

    /// Kills both tokens of a pair.
    pub(crate) fn revoke(&mut self, number: u64) {
        if let Some(pair) = self.pairs.get_mut(&number) {
            pair.revoked = true;
        }
    }

    /// Kills all tokens of one account, or of all.
    pub(crate) fn revoke_all(&mut self, account: Option<usize>) {
        for pair in self.pairs.values_mut() {
            pair.revoked |= account.is_none_or(|index| pair.consent.account == index);
        }
    }

    /// Returns the digests of an account's refresh tokens and of its access tokens that work.
    pub(crate) fn valid(&self, account: usize, now: Timestamp) -> (Vec<String>, Vec<String>) {
        let alive = || self.pairs.values().filter(|pair| pair.consent.account == account && !pair.revoked);
        let refresh = alive().filter_map(|pair| pair.refresh.clone()).collect();
        let access = alive().filter(|pair| now < pair.expires_at).map(|pair| pair.access.clone()).collect();
        (refresh, access)
    }

    /// Makes a code.
    pub(crate) fn add_code(&mut self, consent: Consent, challenge: Option<String>, expires_at: Timestamp) -> String {
        let code = random_token();
        self.codes.push_back(Code { consent, challenge, expires_at, used: false, digest: fingerprint(&code) });
        if self.codes.len() > PENDING_MAX {
            self.codes.pop_front();
        }
        code
    }

    /// Returns a code, used or not.
    pub(crate) fn code_mut(&mut self, code: &str) -> Option<&mut Code> {
        let digest = fingerprint(code);
        self.codes.iter_mut().find(|code| code.digest == digest)
    }

    /// Returns whose code it is.
    pub(crate) fn owner_of_code(&self, code: &str) -> Option<usize> {
        let digest = fingerprint(code);
        self.codes.iter().find(|code| code.digest == digest).map(|code| code.consent.account)
    }

    /// Remembers a device that asks for tokens.
    pub(crate) fn add_device(&mut self, device: DeviceGrant) {
        self.devices.push_back(device);
        if self.devices.len() > PENDING_MAX {
            self.devices.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn consent() -> Consent {
        Consent { client_id: "app".to_owned(), account: 0, scopes: vec!["api".to_owned()], redirect_uri: None }
    }

    #[test]
    fn a_crowded_vault_forgets_dead_pairs_before_living_ones() {
        let mut vault = Vault::default();
        let now = Timestamp::from_secs(1);
        let first = vault.issue(consent(), true, 60, now);
        let second = vault.issue(consent(), true, 60, now);
        let number = vault.of_access(second.access_token.expose()).unwrap().0;
        vault.revoke(number);
        for _ in 2..=PAIRS_MAX {
            vault.issue(consent(), true, 60, now);
        }
        assert_eq!(vault.pairs.len(), PAIRS_MAX);
        assert!(vault.of_access(first.access_token.expose()).is_some());
        assert!(vault.of_refresh(second.refresh_token.unwrap().expose()).is_none());
    }

    #[test]
    fn an_access_token_is_no_refresh_token() {
        let mut vault = Vault::default();
        let issued = vault.issue(consent(), true, 60, Timestamp::from_secs(1));
        assert!(vault.of_refresh(issued.access_token.expose()).is_none());
        assert!(vault.of_access(issued.refresh_token.unwrap().expose()).is_none());
    }
}
