//! `/oauth/token`: codes, refresh tokens and device codes become tokens.

use actix_web::http::header::HeaderMap;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};
use std::time::Duration;

use crate::domain::time::Timestamp;
use crate::simulator::answer::Answer;
use crate::simulator::oauth::application::redirect_matches;
use crate::simulator::oauth::form::{self, Params};
use crate::simulator::oauth::refusal::{Refusal, uncached};
use crate::simulator::oauth::vault::{Code, IssuedTokens};
use crate::simulator::oauth::{DEVICE_GRANT, authenticated_client, device};
use crate::simulator::state::State;

/// Answers a call of the token endpoint.
pub(super) fn answer(state: &mut State, headers: &HeaderMap, params: &Params, now: Timestamp) -> Answer {
    let result = match params.text("grant_type") {
        None => Err(Refusal::MissingParameter("grant_type")),
        Some("authorization_code") => exchange(state, headers, params, now),
        Some("refresh_token") => refresh(state, headers, params, now),
        Some(DEVICE_GRANT) => device::poll(state, headers, params, now),
        Some(_) => Err(Refusal::UnsupportedGrantType),
    };
    match result {
        Ok(issued) => uncached(Answer::json(200, &issued.json())),
        Err(refusal) => refusal.answer(),
    }
}

/// Source of the order: `lib/doorkeeper/oauth/authorization_code_request.rb` of Doorkeeper.
fn exchange(state: &mut State, headers: &HeaderMap, params: &Params, now: Timestamp) -> Result<IssuedTokens, Refusal> {
    let code = params.text("code").ok_or(Refusal::MissingParameter("code"))?;
    let verifier = params.text("code_verifier");
    let client_id = authenticated_client(state, headers, params);
    let life_s = state.instance.oauth.access_lifetime_s;
    let found = state.vault.code_mut(code);
    if verifier.is_none() && found.as_ref().is_some_and(|code| code.challenge.is_some()) {
        return Err(Refusal::MissingParameter("code_verifier"));
    }
    let redirect_uri = params.text("redirect_uri").ok_or(Refusal::MissingParameter("redirect_uri"))?;
    let client_id = client_id.ok_or(Refusal::InvalidClient)?;
    let found = found.ok_or(Refusal::InvalidGrant)?;
    let registered = found.consent.redirect_uri.as_deref().unwrap_or_default();
    let fits = found.consent.client_id == client_id
        && !found.used
        && now < found.expires_at
        && redirect_matches(redirect_uri, registered)
        && proves(found, verifier);
    if !fits {
        return Err(Refusal::InvalidGrant);
    }
    found.used = true;
    let consent = found.consent.clone();
    state.tallies.of(consent.account).codes_exchanged += 1;
    Ok(state.vault.issue(consent, true, life_s, now))
}

/// Returns whether the verifier is the one that the challenge was made from.
fn proves(code: &Code, verifier: Option<&str>) -> bool {
    let Some(verifier) = verifier else { return code.challenge.is_none() };
    let unreserved = |c: u8| c.is_ascii_alphanumeric() || b"-._~".contains(&c);
    // RFC 7636, 4.1.
    let well_formed = (43..=128).contains(&verifier.len()) && verifier.bytes().all(unreserved);
    well_formed && code.challenge.as_deref() == Some(URL_SAFE_NO_PAD.encode(Sha256::digest(verifier)).as_str())
}

/// Rotates: the old pair dies whole in the moment the new one is made. A replay revokes nothing more.
/// Source of the order: `lib/doorkeeper/oauth/refresh_token_request.rb` of Doorkeeper.
fn refresh(state: &mut State, headers: &HeaderMap, params: &Params, now: Timestamp) -> Result<IssuedTokens, Refusal> {
    let token = params.text("refresh_token").ok_or(Refusal::MissingParameter("refresh_token"))?;
    let found = state.vault.of_refresh(token).map(|(number, pair)| (number, pair.clone()));
    let (number, pair) = found.ok_or(Refusal::InvalidGrant)?;
    let tally = state.tallies.of(pair.consent.account);
    // Counted as refused until nothing is left to refuse it.
    tally.refreshes_refused += 1;
    if pair.revoked {
        tally.dead_refresh_uses += 1;
        return Err(Refusal::InvalidGrant);
    }
    if now < pair.created_at + Duration::from_secs(state.instance.oauth.refresh_lag_s) {
        return Err(Refusal::InvalidGrant);
    }
    let client_id = authenticated_client(state, headers, params);
    if client_id.is_none() && form::client_credentials(headers, params).is_some() {
        return Err(Refusal::InvalidClient);
    }
    if client_id.as_ref() != Some(&pair.consent.client_id) {
        return Err(Refusal::InvalidGrant);
    }
    // The documentation wants the original redirect URI; clients that leave it out are served all the same.
    if let (Some(sent), Some(original)) = (params.text("redirect_uri"), pair.consent.redirect_uri.as_deref())
        && !redirect_matches(sent, original)
    {
        return Err(Refusal::InvalidGrant);
    }
    let mut consent = pair.consent;
    if let Some(scope) = params.text("scope") {
        let wanted: Vec<String> = scope.split_whitespace().map(str::to_owned).collect();
        if wanted.iter().any(|scope| !consent.scopes.contains(scope)) {
            return Err(Refusal::InvalidScope);
        }
        consent.scopes = wanted;
    }
    let tally = state.tallies.of(consent.account);
    tally.refreshes_refused -= 1;
    tally.refreshes_committed += 1;
    state.vault.revoke(number);
    let life_s = state.instance.oauth.access_lifetime_s;
    Ok(state.vault.issue(consent, true, life_s, now))
}
