//! Who a personal access token belongs to, and what it may do.

use serde::Deserialize;

use crate::domain::fault::{Fault, Hold, Reason, Scope};
use crate::domain::time::Timestamp;
use crate::gitlab::error::{Call, CallError};
use crate::gitlab::rest::Session;

/// Either scope opens both direct access endpoints.
/// Source: `ee/lib/api/ai/third_party_agents.rb` of GitLab.
const SCOPES_WANTED: [&str; 2] = ["api", "ai_features"];

/// What is known about a token and its owner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    /// Numeric user id; usernames can change.
    pub(crate) user_id: u64,
    /// For people only.
    pub(crate) username: String,
    /// What the token may do.
    pub(crate) scopes: Vec<String>,
    /// First day on which the token no longer works, `YYYY-MM-DD`; `None` for a token without end.
    pub(crate) expires_on: Option<String>,
}

#[derive(Deserialize)]
struct TokenSelf {
    user_id: u64,
    #[serde(default)]
    scopes: Vec<String>,
    #[serde(default)]
    revoked: bool,
    #[serde(default = "yes")]
    active: bool,
    expires_at: Option<String>,
}

#[derive(Deserialize)]
struct User {
    id: u64,
    username: String,
}

fn yes() -> bool {
    true
}

/// Checks the token of `session` at `personal_access_tokens/self`, and asks for the owner's name.
///
/// # Errors
/// A fault of scope account where the token is revoked, has expired or lacks the scopes; else what the call met.
pub(crate) async fn of_token(session: Session<'_>, now: Timestamp) -> Result<Identity, CallError> {
    let token: TokenSelf = session.get(Call::Identity, "/api/v4/personal_access_tokens/self").await?;
    if let Some(reason) = defect(&token, now) {
        let fault = Fault { scope: Scope::Account, reason, hold: Hold::UntilFixed, curable: true };
        return Err(CallError { fault, status: None, note: String::new() });
    }
    // A token with `ai_features` alone may not read its owner; the name is for people only, so a number will do.
    let username = match session.get::<User>(Call::Identity, "/api/v4/user").await {
        Ok(user) if user.id == token.user_id => user.username,
        _ => format!("user-{}", token.user_id),
    };
    Ok(Identity { user_id: token.user_id, username, scopes: token.scopes, expires_on: token.expires_at })
}

fn defect(token: &TokenSelf, now: Timestamp) -> Option<Reason> {
    let expired = token.expires_at.as_deref().and_then(Timestamp::from_date).is_some_and(|end| end <= now);
    match token {
        TokenSelf { revoked: true, .. } => Some(Reason::TokenRevoked),
        _ if expired => Some(Reason::TokenExpired),
        TokenSelf { active: false, .. } => Some(Reason::TokenInvalid),
        _ if !token.scopes.iter().any(|scope| SCOPES_WANTED.contains(&scope.as_str())) => Some(Reason::ScopeMissing),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(scopes: &[&str], expires_at: Option<&str>, revoked: bool, active: bool) -> TokenSelf {
        let scopes = scopes.iter().map(|scope| (*scope).to_owned()).collect();
        TokenSelf { user_id: 1, scopes, revoked, active, expires_at: expires_at.map(str::to_owned) }
    }

    #[test]
    fn a_token_is_good_only_if_alive_and_allowed() {
        let now = Timestamp::from_date("2026-11-22").unwrap();
        let check = |token| defect(&token, now);
        assert_eq!(check(token(&["ai_features"], Some("2026-11-23"), false, true)), None);
        assert_eq!(check(token(&["api"], None, false, true)), None);
        assert_eq!(check(token(&["read_api"], None, false, true)), Some(Reason::ScopeMissing));
        assert_eq!(check(token(&["api"], Some("2026-11-22"), false, false)), Some(Reason::TokenExpired));
        assert_eq!(check(token(&["api"], None, true, false)), Some(Reason::TokenRevoked));
        assert_eq!(check(token(&["api"], None, false, false)), Some(Reason::TokenInvalid));
    }
}
