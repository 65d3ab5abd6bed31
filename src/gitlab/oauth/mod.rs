//! Logs in by OAuth: sends the browser to GitLab, and exchanges what comes back for tokens, again and again.
//!
//! An exchange uses up what it is done with, so every request goes out once and no more, and a failure says whether
//! GitLab may have done it all the same. Deliberately not here: when to refresh, what to do after a failure, and where
//! tokens are kept.
//!
//! Two requests do without `oauth2`, which builds all others: its revocation refuses plain http even to loopback, and
//! its polling of a device login waits by itself and repeats what was lost.

mod device;
mod outcome;
mod reply;
mod wire;

use std::fmt;

use oauth2::basic::{BasicErrorResponse, BasicRevocationErrorResponse, BasicTokenIntrospectionResponse};
use oauth2::{
    AuthType, AuthUrl, AuthorizationCode, ClientId, ClientSecret, CsrfToken, DeviceAuthorizationUrl, EndpointNotSet,
    EndpointSet, PkceCodeChallenge, PkceCodeVerifier, RedirectUrl, RefreshToken, Scope, StandardRevocableToken,
    TokenUrl,
};
use url::Url;

use crate::domain::endpoint::InstanceUrl;
use crate::domain::fault::{self, Fault, Hold, Reason};
use crate::domain::oauth::{OAuthApp, OAuthPair};
use crate::domain::secret::Secret;
use crate::domain::time::Clock;
use crate::gitlab::error::{Call, CallError, not_the_api, of_send_error};
use crate::gitlab::upstream::{SendError, Upstream};
use reply::{TokenReply, Unusable};
use wire::Wire;

pub(crate) use device::{DeviceGrant, DevicePoll};
pub(crate) use outcome::ExchangeError;

/// An application at an instance, and the way there.
#[derive(Clone, Copy)]
pub(crate) struct OAuthClient<'a> {
    pub(crate) upstream: &'a Upstream,
    pub(crate) instance: &'a InstanceUrl,
    pub(crate) app: &'a OAuthApp,
    /// Read when an answer has come.
    pub(crate) clock: &'a dyn Clock,
}

/// A login that was begun: where to send the browser, and what to keep until it comes back.
pub(crate) struct Authorization {
    /// GitLab's page, with everything it needs to know.
    pub(crate) url: Url,
    /// What the browser must bring back, to show that it is the one that was sent.
    pub(crate) state: Secret<String>,
    /// What shows GitLab that the code comes from whoever asked for it (RFC 7636).
    pub(crate) verifier: Secret<String>,
}

impl fmt::Debug for Authorization {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The address has the state in it.
        f.debug_struct("Authorization").finish_non_exhaustive()
    }
}

/// The redirect URI of the application is missing, or no URI.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the redirect URI is not a URL such as http://127.0.0.1:8080/oauth/callback")]
pub(crate) struct BadRedirectUri;

type Configured = oauth2::Client<
    BasicErrorResponse,
    TokenReply,
    BasicTokenIntrospectionResponse,
    StandardRevocableToken,
    BasicRevocationErrorResponse,
    EndpointSet,
    EndpointSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointSet,
>;

/// Begins a login with `app` that asks for `scopes`. Each call makes a new state and verifier.
///
/// The verifier is used with confidential applications as well: it also stops a code that was stolen on its way back.
pub(crate) fn authorize_url(
    instance: &InstanceUrl,
    app: &OAuthApp,
    scopes: &[String],
) -> Result<Authorization, BadRedirectUri> {
    let client = configured(instance, app).filter(|client| client.redirect_uri().is_some()).ok_or(BadRedirectUri)?;
    let (challenge, verifier) = PkceCodeChallenge::new_random_sha256();
    let (url, state) = client
        .authorize_url(CsrfToken::new_random)
        .add_scopes(scopes.iter().cloned().map(Scope::new))
        .set_pkce_challenge(challenge)
        .url();
    let (state, verifier) = (Secret::new(state.into_secret()), Secret::new(verifier.into_secret()));
    Ok(Authorization { url, state, verifier })
}

impl OAuthClient<'_> {
    /// Exchanges the code that the browser brought back for the first pair. `scopes` are those that were asked for.
    pub(crate) async fn exchange_code(
        &self,
        code: &Secret<String>,
        verifier: &Secret<String>,
        scopes: &[String],
    ) -> Result<OAuthPair, ExchangeError> {
        let wire = Wire::new(self.upstream, Call::CodeExchange);
        let client = configured(self.instance, self.app).ok_or_else(|| unsent(Call::CodeExchange))?;
        let asking = client
            .exchange_code(AuthorizationCode::new(code.expose().clone()))
            .set_pkce_verifier(PkceCodeVerifier::new(verifier.expose().clone()))
            .request_async(&wire);
        let Ok(reply) = asking.await else { return Err(wire.error(&self.sent(&[code, verifier]))) };
        reply.first(scopes, self.clock.now()).map_err(|why| useless(Call::CodeExchange, why))
    }

    /// Exchanges `pair` for the next one. Both tokens of `pair` are dead as soon as GitLab has done so, whether or not
    /// the answer arrives: what is returned must be stored before it is used.
    ///
    /// A pair without refresh token is refused, with [`Reason::LoginEnded`]; nothing is sent then.
    pub(crate) async fn refresh(&self, pair: &OAuthPair) -> Result<OAuthPair, ExchangeError> {
        let Some(token) = &pair.refresh_token else { return Err(not_renewable()) };
        let wire = Wire::new(self.upstream, Call::Refresh);
        let client = configured(self.instance, self.app).ok_or_else(|| unsent(Call::Refresh))?;
        let refresh_token = RefreshToken::new(token.expose().clone());
        let mut request = client.exchange_refresh_token(&refresh_token);
        if let Some(uri) = &self.app.redirect_uri {
            // GitLab documents that it must be that of the login (doc/api/oauth2.md).
            request = request.add_extra_param("redirect_uri", uri);
        }
        let asking = request.request_async(&wire);
        let Ok(reply) = asking.await else { return Err(wire.error(&self.sent(&[token, &pair.access_token]))) };
        reply.next(&pair.scopes, self.clock.now()).map_err(|why| useless(Call::Refresh, why))
    }

    /// Makes `token` worthless; GitLab takes both tokens of a pair when it is told one. It does not mind a token that
    /// is worthless already.
    pub(crate) async fn revoke(&self, token: &Secret<String>) -> Result<(), CallError> {
        let wire = Wire::new(self.upstream, Call::Revoke);
        let form = self.form(&[("token", token.expose())]);
        match wire.post(&format!("{}/oauth/revoke", self.instance), &form).await {
            // GitLab answers `{}`, others nothing; a login page is neither.
            Some((200..=299, body))
                if body.is_empty() || serde_json::from_slice::<serde::de::IgnoredAny>(&body).is_ok() =>
            {
                Ok(())
            }
            _ => Err(wire.error(&self.sent(&[token])).into_call()),
        }
    }

    /// Returns `fields` with those by which the application says who it is.
    fn form<'f>(&'f self, fields: &[(&'f str, &'f str)]) -> Vec<(&'f str, &'f str)> {
        let secret = self.app.client_secret.as_ref().map(|secret| ("client_secret", secret.expose().as_str()));
        fields.iter().copied().chain([("client_id", self.app.client_id.as_str())]).chain(secret).collect()
    }

    /// Returns every secret of a request with `secrets`, to be struck from what is answered.
    fn sent<'s>(&'s self, secrets: &[&'s Secret<String>]) -> Vec<&'s Secret<String>> {
        secrets.iter().copied().chain(&self.app.client_secret).collect()
    }
}

/// Returns `oauth2`'s client for `app`; `None` if an address is no URL.
fn configured(instance: &InstanceUrl, app: &OAuthApp) -> Option<Configured> {
    let at = |path| format!("{instance}/oauth/{path}");
    let mut client = oauth2::Client::new(ClientId::new(app.client_id.clone()))
        .set_auth_uri(AuthUrl::new(at("authorize")).ok()?)
        .set_token_uri(TokenUrl::new(at("token")).ok()?)
        .set_device_authorization_url(DeviceAuthorizationUrl::new(at("authorize_device")).ok()?)
        .set_auth_type(AuthType::RequestBody);
    if let Some(secret) = &app.client_secret {
        client = client.set_client_secret(ClientSecret::new(secret.expose().clone()));
    }
    if let Some(uri) = &app.redirect_uri {
        client = client.set_redirect_uri(RedirectUrl::new(uri.clone()).ok()?);
    }
    Some(client)
}

fn unsent(call: Call) -> ExchangeError {
    ExchangeError::Refused(of_send_error(call, &SendError::Connect(BadRedirectUri.to_string())))
}

fn useless(call: Call, why: Unusable) -> ExchangeError {
    ExchangeError::Unknown(CallError { note: why.to_string(), ..not_the_api(call) })
}

fn not_renewable() -> ExchangeError {
    let fault =
        Fault { scope: fault::Scope::Account, reason: Reason::LoginEnded, hold: Hold::UntilFixed, curable: true };
    ExchangeError::Refused(CallError { fault, status: None, note: "GitLab gave no refresh token".to_owned() })
}

#[cfg(test)]
mod tests;
