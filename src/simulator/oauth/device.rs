//! The device grant (RFC 8628): a device shows a code, its user enters it elsewhere, the device polls.

use std::time::Duration;

use actix_web::http::header::HeaderMap;
use rand::RngExt as _;
use serde_json::json;

use crate::domain::time::Timestamp;
use crate::simulator::answer::Answer;
use crate::simulator::journal::fingerprint;
use crate::simulator::oauth::form::Params;
use crate::simulator::oauth::page;
use crate::simulator::oauth::refusal::{Refusal, uncached};
use crate::simulator::oauth::vault::{Consent, IssuedTokens, Vault, random_token};
use crate::simulator::oauth::{Decision, authenticated_client, granted_scopes};
use crate::simulator::state::State;

/// Letters and digits that nobody mistakes for one another.
const ALPHABET: &[u8] = b"ABCDEFGHJKLMNPQRSTUVWXYZ23456789";
const USER_CODE_CHARS: usize = 8;

/// A device that asks for tokens.
#[derive(Clone, Debug)]
pub(crate) struct DeviceGrant {
    digest: String,
    user_code: String,
    client_id: String,
    scopes: Vec<String>,
    expires_at: Timestamp,
    last_poll: Option<Timestamp>,
    said: Option<(Decision, usize)>,
}

/// Returns whose device it is, once a user said something.
pub(super) fn owner(vault: &Vault, device_code: &str) -> Option<usize> {
    let digest = fingerprint(device_code);
    let device = vault.devices.iter().find(|device| device.digest == digest)?;
    device.said.map(|(_, account)| account)
}

/// Answers `/oauth/authorize_device`.
pub(super) fn start(state: &mut State, headers: &HeaderMap, params: &Params, root: &str, now: Timestamp) -> Answer {
    let Some(client_id) = authenticated_client(state, headers, params) else {
        return Refusal::InvalidClient.answer();
    };
    let scopes = state.application(&client_id).map(|application| granted_scopes(application, params.text("scope")));
    let scopes = match scopes.unwrap_or(Err(Refusal::InvalidClient)) {
        Ok(scopes) => scopes,
        Err(refusal) => return refusal.answer(),
    };
    let policy = &state.instance.oauth;
    let (lifetime_s, interval_s) = (policy.device_lifetime_s, policy.device_interval_s);
    let device_code = random_token();
    let mut rng = rand::rng();
    let letter = |_| char::from(ALPHABET[rng.random_range(0..ALPHABET.len())]);
    let user_code: String = (0..USER_CODE_CHARS).map(letter).collect();
    state.vault.add_device(DeviceGrant {
        digest: fingerprint(&device_code),
        user_code: user_code.clone(),
        client_id,
        scopes,
        expires_at: now + Duration::from_secs(lifetime_s),
        last_poll: None,
        said: None,
    });
    let body = json!({
        "device_code": device_code,
        "user_code": user_code,
        "verification_uri": format!("{root}/oauth/device"),
        "verification_uri_complete": format!("{root}/oauth/device?user_code={user_code}"),
        "expires_in": lifetime_s,
        "interval": interval_s,
    });
    uncached(Answer::json(200, &body))
}

/// Answers a poll. Source of the order: `device_code_request.rb` of `doorkeeper-device_authorization_grant`.
pub(super) fn poll(
    state: &mut State,
    headers: &HeaderMap,
    params: &Params,
    now: Timestamp,
) -> Result<IssuedTokens, Refusal> {
    let client_id = authenticated_client(state, headers, params).ok_or(Refusal::InvalidClient)?;
    let digest = params.text("device_code").map(fingerprint).ok_or(Refusal::InvalidGrant)?;
    let wanted = |device: &DeviceGrant| device.digest == digest && device.client_id == client_id;
    let index = state.vault.devices.iter().position(wanted).ok_or(Refusal::InvalidGrant)?;
    let interval = Duration::from_secs(state.instance.oauth.device_interval_s);
    let device = &mut state.vault.devices[index];
    if now >= device.expires_at {
        state.vault.devices.remove(index);
        return Err(Refusal::ExpiredToken);
    }
    if device.last_poll.is_some_and(|at| now < at + interval) {
        return Err(Refusal::SlowDown);
    }
    device.last_poll = Some(now);
    let (decision, account) = device.said.ok_or(Refusal::AuthorizationPending)?;
    let scopes = device.scopes.clone();
    state.vault.devices.remove(index);
    if decision == Decision::Deny {
        return Err(Refusal::AccessDenied);
    }
    state.tallies.of(account).device_logins += 1;
    let policy = &state.instance.oauth;
    let (with_refresh, life_s) = (policy.device_refresh_token, policy.access_lifetime_s);
    Ok(state.vault.issue(Consent { client_id, account, scopes, redirect_uri: None }, with_refresh, life_s, now))
}

/// Returns the page on which a user enters a device's code.
pub(super) fn show(state: &State, params: &Params) -> Answer {
    let code = page::escaped(params.text("user_code").unwrap_or_default());
    let fields = format!("<p>Code <input name=\"user_code\" value=\"{code}\" autofocus></p>\n");
    page::page("Authorize device", &page::form(state, &Params::default(), &fields))
}

/// Takes what the user said on the page.
pub(super) fn submit(state: &mut State, params: &Params, now: Timestamp) -> Answer {
    let Some(decision) = Decision::of(params) else { return page::error("Neither authorized nor denied.") };
    let (account, code) = (params.text("account").unwrap_or_default(), params.text("user_code").unwrap_or_default());
    match decide(state, account, code, decision, now) {
        Ok(()) if decision == Decision::Authorize => page::page("Device successfully authorized", ""),
        Ok(()) => page::page("Device not authorized", ""),
        Err(told) => page::error(told),
    }
}

/// Says for a user whether the device with this code may come in; an error is what the page says.
pub(crate) fn decide(
    state: &mut State,
    account: &str,
    user_code: &str,
    decision: Decision,
    now: Timestamp,
) -> Result<(), &'static str> {
    let account = state.account_index(account).ok_or("There is no such user.")?;
    // People type small letters, spaces and hyphens.
    let entered: String = user_code.chars().filter(char::is_ascii_alphanumeric).collect();
    let wanted = |device: &&mut DeviceGrant| device.user_code.eq_ignore_ascii_case(&entered) && device.said.is_none();
    let device = state.vault.devices.iter_mut().find(wanted).ok_or("The user code is invalid")?;
    if now >= device.expires_at {
        return Err("The user code is expired");
    }
    device.said = Some((decision, account));
    Ok(())
}
