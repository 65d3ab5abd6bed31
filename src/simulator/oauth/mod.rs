//! GitLab's OAuth server: the page where a user lets an application in, tokens, their rotation and their end.
//!
//! GitLab's server is Doorkeeper; order of checks and words of refusals are Doorkeeper's. A user is whoever the browser
//! chooses on the page: there are no passwords and no sessions. The password grant, the implicit grant and dynamic
//! registration are deliberately not here.

mod application;
mod authorize;
mod device;
mod form;
mod page;
mod refusal;
mod token;
mod vault;

use actix_web::http::Method;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::domain::time::{Clock as _, Timestamp};
use crate::simulator::answer::Answer;
use crate::simulator::gitlab_api;
use crate::simulator::script::Call;
use crate::simulator::server::Asked;
use crate::simulator::state::{Shared, State};

pub(crate) use application::{ApplicationOrder, ApplicationView};
pub use application::{
    DEMO_CONFIDENTIAL_CLIENT_ID, DEMO_CONFIDENTIAL_CLIENT_SECRET, DEMO_PUBLIC_CLIENT_ID, DEMO_REDIRECT_URI,
    OauthApplication, demo_applications,
};
pub(crate) use authorize::approve;
pub(crate) use device::decide as decide_device;
pub(crate) use form::{Params, is_secret, masked_body, masked_target};
pub(crate) use refusal::Refusal;
pub(crate) use vault::Consent;
pub use vault::IssuedTokens;
pub(crate) use vault::Vault;

const AUTHORIZE: &str = "/oauth/authorize";
const TOKEN: &str = "/oauth/token";
const REVOKE: &str = "/oauth/revoke";
const TOKEN_INFO: &str = "/oauth/token/info";
const AUTHORIZE_DEVICE: &str = "/oauth/authorize_device";
const DEVICE: &str = "/oauth/device";
const DEVICE_GRANT: &str = "urn:ietf:params:oauth:grant-type:device_code";

/// How the OAuth server behaves, where GitLab's behaviour is a setting, unknown or a fault.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OauthPolicy {
    /// Life of an access token in seconds. GitLab's is fixed at 7200.
    pub access_lifetime_s: u64,
    /// Life of an authorization code in seconds.
    pub code_lifetime_s: u64,
    /// Life of a device code in seconds.
    pub device_lifetime_s: u64,
    /// Seconds between two polls of a device.
    pub device_interval_s: u64,
    /// Whether a device gets a refresh token, which GitLab's documentation leaves open.
    pub device_refresh_token: bool,
    /// Replica lag: a refresh token younger than this many seconds is refused as if it did not exist.
    pub refresh_lag_s: u64,
    /// Replica lag: an access token younger than this many seconds is refused as if it did not exist.
    pub access_lag_s: u64,
    /// Whether errors about other things than application and redirect URI are sent to the application, as Doorkeeper
    /// does. GitLab's own controller shows them to the user instead; a denial goes to the application either way.
    pub errors_redirect: bool,
}

impl Default for OauthPolicy {
    fn default() -> Self {
        Self {
            access_lifetime_s: 7_200,
            code_lifetime_s: 600,
            device_lifetime_s: 300,
            device_interval_s: 5,
            device_refresh_token: true,
            refresh_lag_s: 0,
            access_lag_s: 0,
            errors_redirect: true,
        }
    }
}

/// What a user says to an application.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Decision {
    /// It may.
    #[default]
    Authorize,
    /// It may not.
    Deny,
}

impl Decision {
    fn of(params: &Params) -> Option<Self> {
        match params.text("decision")? {
            "authorize" => Some(Self::Authorize),
            "deny" => Some(Self::Deny),
            _ => None,
        }
    }
}

/// Returns which OAuth call a path is.
pub(crate) fn call_of(asked: &Asked<'_>) -> Option<Call> {
    match asked.path {
        AUTHORIZE => Some(Call::Authorize),
        REVOKE => Some(Call::Revoke),
        TOKEN_INFO => Some(Call::TokenInfo),
        AUTHORIZE_DEVICE => Some(Call::AuthorizeDevice),
        DEVICE => Some(Call::DevicePage),
        TOKEN => Some(match Params::of(asked).text("grant_type") {
            Some("authorization_code") => Call::CodeExchange,
            Some("refresh_token") => Call::Refresh,
            Some(DEVICE_GRANT) => Call::DevicePoll,
            _ => Call::Other,
        }),
        _ => None,
    }
}

/// Returns whether a path is the token endpoint.
pub(crate) fn is_token_endpoint(path: &str) -> bool {
    path == TOKEN
}

/// Returns whose code or token a call of the token endpoint presents, dead or alive.
pub(crate) fn owner(state: &State, call: Call, params: &Params) -> Option<usize> {
    match call {
        Call::CodeExchange => state.vault.owner_of_code(params.text("code")?),
        Call::Refresh => Some(state.vault.of_refresh(params.text("refresh_token")?)?.1.consent.account),
        Call::DevicePoll => device::owner(&state.vault, params.text("device_code")?),
        Call::Revoke => {
            let token = params.text("token")?;
            let pair = state.vault.of_access(token).or_else(|| state.vault.of_refresh(token))?;
            Some(pair.1.consent.account)
        }
        _ => None,
    }
}

/// Answers a call to the OAuth server.
pub(crate) fn answer(shared: &Shared, call: Call, asked: &Asked<'_>) -> Answer {
    let now = shared.clock.now();
    let params = Params::of(asked);
    let root = shared.url();
    let post = asked.method == Method::POST;
    let get = asked.method == Method::GET;
    shared.change(|state| match call {
        Call::Authorize if get => authorize::show(state, &params),
        Call::Authorize if post => authorize::submit(state, &params, now),
        Call::DevicePage if get => device::show(state, &params),
        Call::DevicePage if post => device::submit(state, &params, now),
        Call::AuthorizeDevice if post => device::start(state, asked.headers, &params, &root, now),
        Call::TokenInfo if get => token_info(state, asked, &params, now),
        Call::Revoke if post => revoke(state, asked, &params),
        Call::CodeExchange | Call::Refresh | Call::DevicePoll | Call::Other if post => {
            token::answer(state, asked.headers, &params, now)
        }
        _ => gitlab_api::not_found(),
    })
}

fn token_info(state: &State, asked: &Asked<'_>, params: &Params, now: Timestamp) -> Answer {
    let bearer = asked.headers.get("authorization").and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
    let pair = bearer.or_else(|| params.text("access_token")).and_then(|token| state.vault.of_access(token));
    let Some((_, pair)) = pair else { return Refusal::InvalidToken("The access token is invalid").answer() };
    if pair.revoked {
        return Refusal::InvalidToken("The access token was revoked").answer();
    }
    if now >= pair.expires_at {
        return Refusal::InvalidToken("The access token expired").answer();
    }
    let left_s = pair.expires_at.until_from(now).as_secs();
    let body = json!({
        "resource_owner_id": state.accounts[pair.consent.account].user_id,
        "scope": pair.consent.scopes,
        "expires_in": left_s,
        "application": { "uid": pair.consent.client_id },
        "created_at": pair.created_at.as_secs(),
        "scopes": pair.consent.scopes,
        "expires_in_seconds": left_s,
    });
    Answer::json(200, &body)
}

/// Kills both tokens of the pair that one of them belongs to. Source: Doorkeeper's `TokensController#revoke`.
fn revoke(state: &mut State, asked: &Asked<'_>, params: &Params) -> Answer {
    let Some(client_id) = authenticated_client(state, asked.headers, params) else {
        return Refusal::NotYours.answer();
    };
    let token = params.text("token").unwrap_or_default();
    let found = state.vault.of_access(token).or_else(|| state.vault.of_refresh(token));
    let found = found.map(|(number, pair)| (number, pair.consent.client_id == client_id));
    match found {
        Some((_, false)) => Refusal::NotYours.answer(),
        Some((number, true)) => {
            state.vault.revoke(number);
            Answer::json(200, &json!({}))
        }
        // A token that is none is not an error (RFC 7009).
        None => Answer::json(200, &json!({})),
    }
}

/// Returns the application that the call proves to come from.
fn authenticated_client(
    state: &State,
    headers: &actix_web::http::header::HeaderMap,
    params: &Params,
) -> Option<String> {
    let (client_id, secret) = form::client_credentials(headers, params)?;
    let application = state.application(&client_id)?;
    application.accepts(secret.as_deref()).then_some(client_id)
}

/// Returns the scopes that an application gets when it asks for `scope`.
fn granted_scopes(application: &OauthApplication, scope: Option<&str>) -> Result<Vec<String>, Refusal> {
    // GitLab's default scope, where none is asked for.
    let wanted = scope.unwrap_or("api").split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let allowed = !wanted.is_empty() && wanted.iter().all(|scope| application.scopes.contains(scope));
    allowed.then_some(wanted).ok_or(Refusal::InvalidScope)
}
