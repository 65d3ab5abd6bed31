//! Records as bytes: `{"v":1,"open":{…},"sealed":"…"}`, secrets sealed and bound to all the rest.
//!
//! The structs here mirror the records, because a record's secrets have no serialised form of their own: this file is the
//! one place where they get one, right before they are sealed and right after they are opened.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::domain::endpoint::{GatewayUrl, InstanceUrl};
use crate::domain::id::{AccountId, Generation};
use crate::domain::oauth::{OAuthApp, OAuthPair, RefreshMark};
use crate::domain::secret::Secret;
use crate::domain::time::Timestamp;
use crate::store::seal::{Place, Sealer};
use crate::store::{
    AccountRecord, Credential, GrantRecord, GrantSource, LoginRecord, LoginState, RecordError, StoreError,
};

/// The version of all record formats.
const VERSION: u32 = 1;
const ACCOUNT: &str = "account";
const GRANT: &str = "grant";
const LOGIN: &str = "login";

#[derive(Deserialize)]
struct Versioned {
    v: u32,
}

#[derive(Serialize, Deserialize)]
struct Envelope<'a> {
    v: u32,
    #[serde(borrow)]
    open: &'a RawValue,
    sealed: String,
}

#[derive(Serialize, Deserialize)]
struct OpenAccount {
    id: AccountId,
    instance: InstanceUrl,
    user_id: u64,
    username: String,
    label: Option<String>,
    pool: String,
    priority: i32,
    weight: u32,
    max_concurrency: u32,
    enabled: bool,
    gateway_url: Option<GatewayUrl>,
    reported_gateway: Option<GatewayUrl>,
    credential_generation: Generation,
    #[serde(default)]
    exchange_begun_at: Option<Timestamp>,
    added_at: Timestamp,
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
enum SealedCredential {
    PersonalAccessToken {
        token: String,
        scopes: Vec<String>,
        expires_on: Option<String>,
    },
    #[serde(rename = "oauth")]
    OAuth(SealedOAuth),
}

#[derive(Serialize, Deserialize)]
struct SealedOAuth {
    #[serde(flatten)]
    app: SealedApp,
    #[serde(flatten)]
    pair: SealedPair,
}

#[derive(Serialize, Deserialize)]
struct SealedApp {
    client_id: String,
    client_secret: Option<String>,
    redirect_uri: Option<String>,
}

#[derive(Serialize, Deserialize)]
struct SealedPair {
    access_token: String,
    refresh_token: Option<String>,
    expires_at: Timestamp,
    obtained_at: Timestamp,
    scopes: Vec<String>,
}

fn exposed(secret: Option<&Secret<String>>) -> Option<String> {
    secret.map(|secret| secret.expose().clone())
}

impl SealedApp {
    fn of(app: &OAuthApp) -> Self {
        Self {
            client_id: app.client_id.clone(),
            client_secret: exposed(app.client_secret.as_ref()),
            redirect_uri: app.redirect_uri.clone(),
        }
    }

    fn opened(self) -> OAuthApp {
        OAuthApp {
            client_id: self.client_id,
            client_secret: self.client_secret.map(Secret::new),
            redirect_uri: self.redirect_uri,
        }
    }
}

impl SealedPair {
    fn of(pair: &OAuthPair) -> Self {
        Self {
            access_token: pair.access_token.expose().clone(),
            refresh_token: exposed(pair.refresh_token.as_ref()),
            expires_at: pair.expires_at,
            obtained_at: pair.obtained_at,
            scopes: pair.scopes.clone(),
        }
    }

    fn opened(self) -> OAuthPair {
        OAuthPair {
            access_token: Secret::new(self.access_token),
            refresh_token: self.refresh_token.map(Secret::new),
            expires_at: self.expires_at,
            obtained_at: self.obtained_at,
            scopes: self.scopes,
        }
    }
}

#[derive(Serialize, Deserialize)]
struct OpenLogin {
    id: String,
    instance: InstanceUrl,
    label: Option<String>,
    pool: Option<String>,
    priority: Option<i32>,
    weight: Option<u32>,
    max_concurrency: Option<u32>,
    gateway_url: Option<GatewayUrl>,
    account: Option<AccountId>,
    begun_at: Timestamp,
}

/// Which of the two states it is, says whether there is a pair.
#[derive(Serialize, Deserialize)]
struct SealedLogin {
    app: SealedApp,
    pair: Option<SealedPair>,
    #[serde(default)]
    imported: Option<RefreshMark>,
}

#[derive(Serialize, Deserialize)]
struct OpenGrant {
    account: AccountId,
    generation: Generation,
    expires_at: Timestamp,
    minted_at: Timestamp,
    credential_generation: Generation,
    root_namespace_id: Option<String>,
    via: GrantSource,
    gateway: GatewayUrl,
}

#[derive(Serialize, Deserialize)]
struct SealedGrant {
    token: String,
    headers: Vec<(String, String)>,
}

/// Writes an account.
pub(super) fn encode_account(sealer: &Sealer, record: &AccountRecord) -> Result<Vec<u8>, StoreError> {
    let open = OpenAccount {
        id: record.id.clone(),
        instance: record.instance.clone(),
        user_id: record.user_id,
        username: record.username.clone(),
        label: record.label.clone(),
        pool: record.pool.clone(),
        priority: record.priority,
        weight: record.weight,
        max_concurrency: record.max_concurrency,
        enabled: record.enabled,
        gateway_url: record.gateway_url.clone(),
        reported_gateway: record.reported_gateway.clone(),
        credential_generation: record.credential_generation,
        exchange_begun_at: record.exchange_begun_at,
        added_at: record.added_at,
    };
    let secret = match &record.credential {
        Credential::PersonalAccessToken { token, scopes, expires_on } => SealedCredential::PersonalAccessToken {
            token: token.expose().clone(),
            scopes: scopes.clone(),
            expires_on: expires_on.clone(),
        },
        Credential::OAuth { app, pair } => {
            SealedCredential::OAuth(SealedOAuth { app: SealedApp::of(app), pair: SealedPair::of(pair) })
        }
    };
    encode(sealer, ACCOUNT, record.id.as_str(), &open, &secret).ok_or(StoreError::Unsealable)
}

/// Reads the account stored under `key`.
pub(super) fn decode_account(sealer: &Sealer, key: &str, bytes: &[u8]) -> Result<AccountRecord, RecordError> {
    let (open, secret): (OpenAccount, SealedCredential) = decode(sealer, ACCOUNT, key, bytes)?;
    let credential = match secret {
        SealedCredential::PersonalAccessToken { token, scopes, expires_on } => {
            Credential::PersonalAccessToken { token: Secret::new(token), scopes, expires_on }
        }
        SealedCredential::OAuth(SealedOAuth { app, pair }) => {
            Credential::OAuth { app: app.opened(), pair: pair.opened() }
        }
    };
    Ok(AccountRecord {
        id: open.id,
        instance: open.instance,
        user_id: open.user_id,
        username: open.username,
        label: open.label,
        pool: open.pool,
        priority: open.priority,
        weight: open.weight,
        max_concurrency: open.max_concurrency,
        enabled: open.enabled,
        gateway_url: open.gateway_url,
        reported_gateway: open.reported_gateway,
        credential,
        credential_generation: open.credential_generation,
        exchange_begun_at: open.exchange_begun_at,
        added_at: open.added_at,
    })
}

/// Writes a grant.
pub(super) fn encode_grant(sealer: &Sealer, record: &GrantRecord) -> Result<Vec<u8>, StoreError> {
    let open = OpenGrant {
        account: record.account.clone(),
        generation: record.generation,
        expires_at: record.expires_at,
        minted_at: record.minted_at,
        credential_generation: record.credential_generation,
        root_namespace_id: record.root_namespace_id.clone(),
        via: record.via,
        gateway: record.gateway.clone(),
    };
    let headers = record.headers.iter().map(|(name, value)| (name.clone(), value.expose().clone())).collect();
    let secret = SealedGrant { token: record.token.expose().clone(), headers };
    encode(sealer, GRANT, record.account.as_str(), &open, &secret).ok_or(StoreError::Unsealable)
}

/// Reads the grant stored under `key`.
pub(super) fn decode_grant(sealer: &Sealer, key: &str, bytes: &[u8]) -> Result<GrantRecord, RecordError> {
    let (open, secret): (OpenGrant, SealedGrant) = decode(sealer, GRANT, key, bytes)?;
    let headers = secret.headers.into_iter().map(|(name, value)| (name, Secret::new(value))).collect();
    Ok(GrantRecord {
        account: open.account,
        generation: open.generation,
        token: Secret::new(secret.token),
        headers,
        expires_at: open.expires_at,
        minted_at: open.minted_at,
        credential_generation: open.credential_generation,
        root_namespace_id: open.root_namespace_id,
        via: open.via,
        gateway: open.gateway,
    })
}

/// Writes a login.
pub(super) fn encode_login(sealer: &Sealer, record: &LoginRecord) -> Result<Vec<u8>, StoreError> {
    let open = OpenLogin {
        id: record.id.clone(),
        instance: record.instance.clone(),
        label: record.label.clone(),
        pool: record.pool.clone(),
        priority: record.priority,
        weight: record.weight,
        max_concurrency: record.max_concurrency,
        gateway_url: record.gateway_url.clone(),
        account: record.account.clone(),
        begun_at: record.begun_at,
    };
    let pair = match &record.state {
        LoginState::Exchanging => None,
        LoginState::Issued(pair) => Some(SealedPair::of(pair)),
    };
    let secret = SealedLogin { app: SealedApp::of(&record.app), pair, imported: record.imported.clone() };
    encode(sealer, LOGIN, &record.id, &open, &secret).ok_or(StoreError::Unsealable)
}

/// Reads the login stored under `key`.
pub(super) fn decode_login(sealer: &Sealer, key: &str, bytes: &[u8]) -> Result<LoginRecord, RecordError> {
    let (open, secret): (OpenLogin, SealedLogin) = decode(sealer, LOGIN, key, bytes)?;
    Ok(LoginRecord {
        id: open.id,
        instance: open.instance,
        app: secret.app.opened(),
        state: secret.pair.map_or(LoginState::Exchanging, |pair| LoginState::Issued(pair.opened())),
        label: open.label,
        pool: open.pool,
        priority: open.priority,
        weight: open.weight,
        max_concurrency: open.max_concurrency,
        gateway_url: open.gateway_url,
        account: open.account,
        imported: secret.imported,
        begun_at: open.begun_at,
    })
}

fn encode(sealer: &Sealer, kind: &str, key: &str, open: &impl Serialize, secret: &impl Serialize) -> Option<Vec<u8>> {
    let open = serde_json::value::to_raw_value(open).ok()?;
    let place = Place { kind, id: key, version: VERSION, readable: open.get() };
    let secret = serde_json::to_vec(secret).ok()?;
    serde_json::to_vec(&Envelope { v: VERSION, open: &open, sealed: sealer.seal(place, &secret)? }).ok()
}

fn decode<O: DeserializeOwned, S: DeserializeOwned>(
    sealer: &Sealer,
    kind: &str,
    key: &str,
    bytes: &[u8],
) -> Result<(O, S), RecordError> {
    let Versioned { v } = serde_json::from_slice(bytes).map_err(|_| RecordError::Damaged)?;
    if v != VERSION {
        return Err(RecordError::UnknownVersion(v));
    }
    let envelope: Envelope<'_> = serde_json::from_slice(bytes).map_err(|_| RecordError::Damaged)?;
    let place = Place { kind, id: key, version: v, readable: envelope.open.get() };
    let secret = sealer.open(place, &envelope.sealed).ok_or(RecordError::BrokenSeal)?;
    let open = serde_json::from_str(envelope.open.get()).map_err(|_| RecordError::Damaged)?;
    let secret = serde_json::from_slice(&secret).map_err(|_| RecordError::Damaged)?;
    Ok((open, secret))
}
