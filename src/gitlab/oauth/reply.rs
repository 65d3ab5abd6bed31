//! What the token endpoint hands out, read with lenience.
//!
//! By the time a reply is read its predecessors are dead at GitLab, so a detail that is odd must not cost the tokens:
//! only a reply without an access token that can be used is none.

use std::time::Duration;

use oauth2::basic::BasicTokenType;
use oauth2::{AccessToken, RefreshToken, Scope, TokenResponse};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value};

use crate::domain::oauth::OAuthPair;
use crate::domain::secret::Secret;
use crate::domain::time::Timestamp;
use crate::gitlab::rest::bearer;

/// Life of an access token of which GitLab does not say how long it lives.
/// Source: `access_token_expires_in 7200` in `config/initializers/doorkeeper.rb` of GitLab.
const LIFE_UNSAID: Duration = Duration::from_hours(2);
/// Least life of an access token that is kept: time to exchange it for the next, and not so little that it is done
/// without end.
pub(super) const LIFE_MIN: Duration = Duration::from_mins(1);
/// Longest life that is believed. To renew a token too early does no harm.
pub(super) const LIFE_MAX: Duration = Duration::from_hours(30 * 24);

/// A successful reply.
#[derive(Debug)]
pub(super) struct TokenReply {
    access_token: AccessToken,
    token_type: BasicTokenType,
    expires_in: Option<Duration>,
    refresh_token: Option<RefreshToken>,
    scopes: Option<Vec<Scope>>,
}

/// Why the tokens of a reply cannot be used. None of these texts has a token in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unusable {
    #[error("the access token has characters that no header can carry")]
    NotAHeader,
    #[error("the token is of another type than Bearer")]
    NotBearer,
    #[error("the token has expired already: `expires_in` is zero")]
    Dead,
}

impl TokenReply {
    /// Returns the pair of a login. `asked` are the scopes it was started with.
    ///
    /// # Errors
    /// Refuses a token that has expired already: nothing is lost yet, and an account would begin with a riddle.
    pub(super) fn first(self, asked: &[String], now: Timestamp) -> Result<OAuthPair, Unusable> {
        if self.expires_in == Some(Duration::ZERO) {
            return Err(Unusable::Dead);
        }
        self.pair(asked, now)
    }

    /// Returns the pair that replaces one with scopes `had`. It is kept even if its access token has expired already,
    /// since the refresh token beside it is the only one that is left.
    pub(super) fn next(self, had: &[String], now: Timestamp) -> Result<OAuthPair, Unusable> {
        self.pair(had, now)
    }

    fn pair(self, scopes: &[String], now: Timestamp) -> Result<OAuthPair, Unusable> {
        if self.token_type != BasicTokenType::Bearer {
            return Err(Unusable::NotBearer);
        }
        let access_token = Secret::new(self.access_token.into_secret());
        if access_token.expose().trim().is_empty() || bearer(&access_token).is_none() {
            return Err(Unusable::NotAHeader);
        }
        let said = self.scopes.map(|scopes| scopes.iter().map(|scope| scope.to_string()).collect());
        Ok(OAuthPair {
            access_token,
            refresh_token: self.refresh_token.map(|token| Secret::new(token.into_secret())),
            // From the moment it came by our clock: `created_at` is a time of GitLab's clock.
            expires_at: now + self.expires_in.unwrap_or(LIFE_UNSAID).clamp(LIFE_MIN, LIFE_MAX),
            obtained_at: now,
            scopes: said.unwrap_or_else(|| scopes.to_vec()),
        })
    }
}

impl TokenResponse for TokenReply {
    type TokenType = BasicTokenType;

    fn access_token(&self) -> &AccessToken {
        &self.access_token
    }

    fn token_type(&self) -> &BasicTokenType {
        &self.token_type
    }

    fn expires_in(&self) -> Option<Duration> {
        self.expires_in
    }

    fn refresh_token(&self) -> Option<&RefreshToken> {
        self.refresh_token.as_ref()
    }

    fn scopes(&self) -> Option<&Vec<Scope>> {
        self.scopes.as_ref()
    }
}

impl<'de> Deserialize<'de> for TokenReply {
    /// Reads an object. A derived reader takes a list for one as well, and its first member for the token.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut said = Map::deserialize(deserializer)?;
        let Some(Value::String(access_token)) = said.remove("access_token") else {
            return Err(serde::de::Error::custom("no access token"));
        };
        Ok(Self {
            access_token: AccessToken::new(access_token),
            token_type: token_type(said.get("token_type")),
            expires_in: said.get("expires_in").and_then(seconds),
            refresh_token: match said.remove("refresh_token") {
                Some(Value::String(token)) if !token.is_empty() => Some(RefreshToken::new(token)),
                _ => None,
            },
            scopes: said.get("scope").and_then(scopes),
        })
    }
}

/// `oauth2` wants replies that can be written. Tokens are written by the store alone, sealed.
impl Serialize for TokenReply {
    fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        Err(serde::ser::Error::custom("tokens are not written here"))
    }
}

fn token_type(said: Option<&Value>) -> BasicTokenType {
    match said {
        None | Some(Value::Null) => BasicTokenType::Bearer,
        Some(Value::String(name)) if name.eq_ignore_ascii_case("bearer") => BasicTokenType::Bearer,
        // What else it may be called is of no use to anybody.
        Some(_) => BasicTokenType::Extension(String::new()),
    }
}

/// Reads seconds as a number or as text; what is neither counts as not said.
fn seconds(said: &Value) -> Option<Duration> {
    let seconds: f64 = match said {
        Value::Number(number) => number.as_f64()?,
        Value::String(text) => text.trim().parse().ok()?,
        _ => return None,
    };
    // From below zero to past the end of time: a duration has neither.
    (!seconds.is_nan()).then(|| Duration::from_secs_f64(seconds.clamp(0.0, LIFE_MAX.as_secs_f64())))
}

/// Reads scopes as one text with spaces, or as a list.
fn scopes(said: &Value) -> Option<Vec<Scope>> {
    let names: Vec<&str> = match said {
        Value::String(text) => text.split_ascii_whitespace().collect(),
        Value::Array(names) => names.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    };
    (!names.is_empty()).then(|| names.into_iter().map(|name| Scope::new(name.to_owned())).collect())
}
