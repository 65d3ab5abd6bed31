//! Who a token belongs to, and what it may do.

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

/// What `oauth/token/info` says.
#[derive(Deserialize)]
struct TokenInfo {
    resource_owner_id: u64,
    #[serde(default)]
    scope: Vec<String>,
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
        return Err(refused(reason));
    }
    // A token with `ai_features` alone may not read its owner; the name is for people only, so a number will do.
    let username = match session.get::<User>(Call::Identity, "/api/v4/user").await {
        Ok(user) if user.id == token.user_id => user.username,
        _ => format!("user-{}", token.user_id),
    };
    Ok(Identity { user_id: token.user_id, username, scopes: token.scopes, expires_on: token.expires_at })
}

/// Asks who the OAuth token of `session` belongs to. `scopes` are those it came with, which count where GitLab does not
/// say.
///
/// Asks at two places, of which one answer will do: `oauth/token/info` takes every token, `user` needs a scope that
/// may be missing, and a token may be so new that the first to be asked does not know it yet (gitlab!257390).
///
/// # Errors
/// A fault of scope account where the token lacks the scopes; else what the call met.
pub(crate) async fn of_oauth(session: Session<'_>, scopes: &[String]) -> Result<Identity, CallError> {
    let info = session.get::<TokenInfo>(Call::Identity, "/oauth/token/info").await;
    let user = session.get::<User>(Call::Identity, "/api/v4/user").await;
    let (user_id, said) = match (info, &user) {
        (Ok(info), _) => (info.resource_owner_id, info.scope),
        (Err(_), Ok(user)) => (user.id, Vec::new()),
        // That the token may not read its owner says nothing about what it is for.
        (Err(unknown), Err(error)) if error.fault.reason == Reason::ScopeMissing => return Err(unknown),
        (Err(_), Err(error)) => return Err(error.clone()),
    };
    let scopes = if said.is_empty() { scopes.to_vec() } else { said };
    if !opens_direct_access(&scopes) {
        return Err(refused(Reason::ScopeMissing));
    }
    let username = match user {
        Ok(user) if user.id == user_id => user.username,
        _ => format!("user-{user_id}"),
    };
    Ok(Identity { user_id, username, scopes, expires_on: None })
}

fn refused(reason: Reason) -> CallError {
    let fault = Fault { scope: Scope::Account, reason, hold: Hold::UntilFixed, curable: true };
    CallError { fault, status: None, note: String::new() }
}

fn opens_direct_access(scopes: &[String]) -> bool {
    scopes.iter().any(|scope| SCOPES_WANTED.contains(&scope.as_str()))
}

fn defect(token: &TokenSelf, now: Timestamp) -> Option<Reason> {
    let expired = token.expires_at.as_deref().and_then(Timestamp::from_date).is_some_and(|end| end <= now);
    match token {
        TokenSelf { revoked: true, .. } => Some(Reason::TokenRevoked),
        _ if expired => Some(Reason::TokenExpired),
        TokenSelf { active: false, .. } => Some(Reason::TokenInvalid),
        _ if !opens_direct_access(&token.scopes) => Some(Reason::ScopeMissing),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use futures::future::join;

    use super::*;
    use crate::domain::endpoint::InstanceUrl;
    use crate::domain::secret::Secret;
    use crate::gitlab::upstream::tests::raw_server::{RawServer, in_time};
    use crate::gitlab::upstream::tests::upstream;

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

    /// Returns who the token belongs to, where the two places answer so.
    async fn owner(info: (&str, &str), user: (&str, &str)) -> Result<Identity, Reason> {
        let server = RawServer::start().await;
        let (upstream, token) = (upstream(), Secret::new("token".to_owned()));
        let instance = InstanceUrl::parse(&server.root()).unwrap();
        let session = Session { upstream: &upstream, instance: &instance, token: &token };
        let answering = async {
            for (path, (status, body)) in [("/oauth/token/info", info), ("/api/v4/user", user)] {
                let length = body.len();
                let head = format!("HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {length}");
                let request = server.answer_once(format!("{head}\r\nconnection: close\r\n\r\n{body}").as_bytes()).await;
                assert_eq!(request.line, format!("GET {path} HTTP/1.1"));
                assert_eq!(request.header("authorization"), ["Bearer token"]);
            }
        };
        let scopes = ["api".to_owned()];
        let (identity, ()) = in_time(join(of_oauth(session, &scopes), answering)).await;
        identity.map_err(|error| error.fault.reason)
    }

    const INFO: (&str, &str) = ("200 X", r#"{"resource_owner_id":7,"scope":["ai_features"],"expires_in":7200}"#);
    const USER: (&str, &str) = ("200 X", r#"{"id":7,"username":"ada"}"#);
    const TOO_NEW: (&str, &str) = ("401 X", r#"{"message":"401 Unauthorized"}"#);
    const NARROW: (&str, &str) = ("403 X", r#"{"error":"insufficient_scope","error_description":"x","scope":"api"}"#);

    #[actix::test]
    async fn an_oauth_token_tells_its_owner_at_one_place_or_the_other() {
        let found = async |info, user| {
            let identity = owner(info, user).await.unwrap();
            assert_eq!((identity.user_id, identity.expires_on), (7, None));
            (identity.username, identity.scopes.concat())
        };
        let named = |name: &str, scope: &str| (name.to_owned(), scope.to_owned());
        assert_eq!(found(INFO, USER).await, named("ada", "ai_features"));
        assert_eq!(found(INFO, NARROW).await, named("user-7", "ai_features"));
        assert_eq!(found(INFO, ("200 X", r#"{"id":8,"username":"eve"}"#)).await, named("user-7", "ai_features"));
        assert_eq!(found(TOO_NEW, USER).await, named("ada", "api"));
        assert_eq!(found(("404 X", "<html>"), USER).await, named("ada", "api"));
    }

    #[actix::test]
    async fn an_oauth_token_that_nobody_knows_or_that_may_too_little_is_refused() {
        let narrow = ("200 X", r#"{"resource_owner_id":7,"scope":["read_user"]}"#);
        assert_eq!(owner(narrow, USER).await, Err(Reason::ScopeMissing));
        assert_eq!(owner(TOO_NEW, TOO_NEW).await, Err(Reason::TokenInvalid));
        assert_eq!(owner(("500 X", ""), NARROW).await, Err(Reason::InstanceError));
        assert_eq!(owner(("404 X", "<html>"), ("503 X", "")).await, Err(Reason::InstanceError));
    }
}
