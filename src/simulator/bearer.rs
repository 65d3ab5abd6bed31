//! Whose credential a call to the API carries, and what it allows: GitLab's API guard.

use std::time::Duration;

use crate::domain::time::Timestamp;
use crate::simulator::account::SimulatedAccount;
use crate::simulator::answer::Answer;
use crate::simulator::limits::Kind;
use crate::simulator::mint_cases::{insufficient_scope, token_expired, token_revoked, unauthorized};
use crate::simulator::server::Asked;
use crate::simulator::state::State;

/// A credential that is valid.
#[derive(Clone, Debug)]
pub(crate) struct Bearer {
    /// Position of the account that it belongs to.
    pub(crate) account: usize,
    /// Whether it is a personal access token and not one of OAuth.
    pub(crate) is_personal: bool,
    scopes: Vec<String>,
}

impl Bearer {
    /// Returns whether it has one of `scopes`.
    pub(crate) fn may(&self, scopes: &[&str]) -> bool {
        self.scopes.iter().any(|scope| scopes.contains(&scope.as_str()))
    }
}

/// Returns the valid credential that a call carries.
pub(crate) fn authenticate(state: &mut State, asked: &Asked<'_>, now: Timestamp) -> Result<Bearer, Answer> {
    let credential = asked.credential().ok_or_else(unauthorized)?;
    let bearer = if let Some(account) = state.owner(credential.token) {
        personal(&state.accounts[account], account, now)?
    } else if credential.in_private_header {
        // GitLab looks for personal access tokens alone in this header.
        return Err(unauthorized());
    } else {
        oauth(state, credential.token, now)?
    };
    let who = state.accounts[bearer.account].username.clone();
    state.throttle(Kind::User, &who, Some(bearer.account), now)?;
    Ok(bearer)
}

/// Returns the credential that a call carries, if it is valid and has one of `scopes`.
pub(crate) fn authorize(
    state: &mut State,
    asked: &Asked<'_>,
    now: Timestamp,
    scopes: &[&str],
) -> Result<usize, Answer> {
    let bearer = authenticate(state, asked, now)?;
    if bearer.may(scopes) { Ok(bearer.account) } else { Err(insufficient_scope(scopes)) }
}

fn personal(owner: &SimulatedAccount, account: usize, now: Timestamp) -> Result<Bearer, Answer> {
    let token = &owner.standing.token;
    if token.revoked {
        return Err(token_revoked());
    }
    if token.expires_at.as_deref().and_then(Timestamp::from_date).is_some_and(|at| now >= at) {
        return Err(token_expired());
    }
    Ok(Bearer { account, is_personal: true, scopes: token.scopes.clone() })
}

fn oauth(state: &mut State, token: &str, now: Timestamp) -> Result<Bearer, Answer> {
    let Some((_, pair)) = state.vault.of_access(token) else { return Err(unauthorized()) };
    let (account, scopes) = (pair.consent.account, pair.consent.scopes.clone());
    if pair.revoked {
        state.tallies.of(account).dead_access_uses += 1;
        return Err(token_revoked());
    }
    if now >= pair.expires_at {
        state.tallies.of(account).expired_access_uses += 1;
        return Err(token_expired());
    }
    if now < pair.created_at + Duration::from_secs(state.instance.oauth.access_lag_s) {
        // A replica that lags does not know the token at all.
        return Err(unauthorized());
    }
    Ok(Bearer { account, is_personal: false, scopes })
}
