//! What is stored, as the rest of the house sees it. How it is written is `codec`'s business.

use serde::{Deserialize, Serialize};

use crate::domain::endpoint::{GatewayUrl, InstanceUrl};
use crate::domain::id::{AccountId, Generation};
use crate::domain::oauth::{OAuthApp, OAuthPair, RefreshMark};
use crate::domain::secret::Secret;
use crate::domain::time::Timestamp;

/// An account: who it is, how it is used and how it logs in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountRecord {
    /// Derived from `instance` and `user_id`.
    pub id: AccountId,
    /// Where the user lives.
    pub instance: InstanceUrl,
    /// The user's number on that instance.
    pub user_id: u64,
    /// The username when the account was last checked; for people, never for identity.
    pub username: String,
    /// The operator's own name for it.
    pub label: Option<String>,
    /// The pool it serves.
    pub pool: String,
    /// Its tier: accounts of the highest one are chosen first.
    pub priority: i32,
    /// Its share inside its tier.
    pub weight: u32,
    /// How many requests may be in flight on it.
    pub max_concurrency: u32,
    /// Whether the operator lets it serve.
    pub enabled: bool,
    /// The gateway that the operator set for it.
    pub gateway_url: Option<GatewayUrl>,
    /// The gateway that its instance last reported.
    pub reported_gateway: Option<GatewayUrl>,
    /// How it logs in.
    pub credential: Credential,
    /// Grows with each new credential.
    pub credential_generation: Generation,
    /// When the exchange of this very pair for the next one was begun. A write with the next generation clears it; where
    /// a start finds it set, the outcome of that exchange is unknown.
    pub exchange_begun_at: Option<Timestamp>,
    /// When it was added.
    pub added_at: Timestamp,
}

/// How an account logs in to GitLab.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Credential {
    /// A personal access token, which an operator renews.
    PersonalAccessToken {
        /// The token.
        token: Secret<String>,
        /// What GitLab says it may do.
        scopes: Vec<String>,
        /// The first day on which it no longer works, as `YYYY-MM-DD`, if it ends at all.
        expires_on: Option<String>,
    },
    /// A pair of OAuth tokens, which duopool renews.
    OAuth {
        /// The application that obtained it, and alone can renew it.
        app: OAuthApp,
        /// The tokens.
        pair: OAuthPair,
    },
}

impl Credential {
    /// Returns the token that calls to GitLab are made with.
    pub const fn token(&self) -> &Secret<String> {
        match self {
            Self::PersonalAccessToken { token, .. } => token,
            Self::OAuth { pair, .. } => &pair.access_token,
        }
    }

    /// Returns what GitLab says it may do.
    pub fn scopes(&self) -> &[String] {
        match self {
            Self::PersonalAccessToken { scopes, .. } => scopes,
            Self::OAuth { pair, .. } => &pair.scopes,
        }
    }

    /// Returns the first day on which a personal access token no longer works, as `YYYY-MM-DD`.
    pub fn expires_on(&self) -> Option<&str> {
        match self {
            Self::PersonalAccessToken { expires_on, .. } => expires_on.as_deref(),
            Self::OAuth { .. } => None,
        }
    }
}

/// A login by OAuth from right before its code is exchanged until it is an account, for that is what makes a pair that
/// GitLab handed out survive a crash before it is known whose it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoginRecord {
    /// Random, and fit for a path; nobody can guess another's.
    pub id: String,
    /// Where the user logs in.
    pub instance: InstanceUrl,
    /// The application it comes through.
    pub app: OAuthApp,
    /// How far it is.
    pub state: LoginState,
    /// The operator's name for the account to be.
    pub label: Option<String>,
    /// Its pool, where the operator named one.
    pub pool: Option<String>,
    /// Its tier, where the operator named one.
    pub priority: Option<i32>,
    /// Its share, where the operator named one.
    pub weight: Option<u32>,
    /// Its limit, where the operator named one.
    pub max_concurrency: Option<u32>,
    /// Its gateway, where the operator named one.
    pub gateway_url: Option<GatewayUrl>,
    /// The account that must log in again, where it is not a new one.
    pub account: Option<AccountId>,
    /// The refresh token that another program brought, where nobody logged in: it was exchanged for the pair.
    pub imported: Option<RefreshMark>,
    /// When the exchange was begun.
    pub begun_at: Timestamp,
}

/// How far a login is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LoginState {
    /// The code, or the device's code, is being exchanged. Where a start finds this, GitLab may have handed out a pair that
    /// never arrived.
    Exchanging,
    /// GitLab handed out this pair.
    Issued(OAuthPair),
}

/// A gateway token with the headers that belong to it: one unit, never mixed with another grant's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GrantRecord {
    /// Whose it is.
    pub account: AccountId,
    /// Grows with each grant of the account.
    pub generation: Generation,
    /// The gateway token.
    pub token: Secret<String>,
    /// Names and values of the headers that must accompany it, in GitLab's order.
    pub headers: Vec<(String, Secret<String>)>,
    /// When the gateway stops accepting it.
    pub expires_at: Timestamp,
    /// When it was minted.
    pub minted_at: Timestamp,
    /// The credential that it was minted with.
    pub credential_generation: Generation,
    /// The top-level group whose credits it may draw on, if GitLab named one.
    pub root_namespace_id: Option<String>,
    /// Where it was minted.
    pub via: GrantSource,
    /// The gateway it is for.
    pub gateway: GatewayUrl,
}

/// The endpoint that minted a grant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GrantSource {
    /// `ai/third_party_agents/direct_access`, made for the model proxies.
    ThirdPartyAgents,
    /// `code_suggestions/direct_access`, the way in on older instances.
    CodeSuggestions,
}
