//! What OAuth leaves with an account: the application it came through, and the pair of tokens.
//!
//! Both belong together for good: only the application that obtained a refresh token can use it.

use std::fmt;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::domain::id::hex;
use crate::domain::secret::Secret;
use crate::domain::time::Timestamp;

/// An OAuth application that is registered at an instance.
#[derive(Clone, PartialEq, Eq)]
pub struct OAuthApp {
    /// Its public id.
    pub client_id: String,
    /// Its secret; `None` for a public application, which proves itself by PKCE alone.
    pub client_secret: Option<Secret<String>>,
    /// Where GitLab sent the browser back to; `None` where the pair came from the device grant. A refresh repeats it.
    pub redirect_uri: Option<String>,
}

impl fmt::Debug for OAuthApp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let confidential = self.client_secret.is_some();
        f.debug_struct("OAuthApp").field("confidential", &confidential).finish_non_exhaustive()
    }
}

/// What the token endpoint handed out: one unit. With the next pair, both of its tokens are dead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OAuthPair {
    /// Sent with each call.
    pub access_token: Secret<String>,
    /// Good for one exchange; `None` where GitLab gave none, as the device grant may.
    pub refresh_token: Option<Secret<String>>,
    /// When the access token ends, by our clock.
    pub expires_at: Timestamp,
    /// When the pair was received, by our clock.
    pub obtained_at: Timestamp,
    /// What it may do, where GitLab said so; else what was asked for.
    pub scopes: Vec<String>,
}

impl OAuthPair {
    /// Returns by what the pair's refresh token is known again; `None` where it has none.
    #[must_use]
    pub fn mark(&self) -> Option<RefreshMark> {
        self.refresh_token.as_ref().map(|token| RefreshMark(hex(&Sha256::digest(token.expose()))))
    }
}

/// By what a refresh token is known again, also once it is spent and forgotten: its SHA-256, as hexadecimal digits.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RefreshMark(String);
