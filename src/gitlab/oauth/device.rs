//! Logins from where there is no browser (RFC 8628): the user types a short code elsewhere, and we ask until they have.

use std::time::Duration;

use oauth2::{Scope, StandardDeviceAuthorizationResponse};

use crate::domain::oauth::OAuthPair;
use crate::domain::secret::Secret;
use crate::domain::time::Timestamp;
use crate::gitlab::error::{Call, CallError};
use crate::gitlab::oauth::outcome::{ExchangeError, error_value};
use crate::gitlab::oauth::reply::TokenReply;
use crate::gitlab::oauth::wire::Wire;
use crate::gitlab::oauth::{OAuthClient, configured, unsent, useless};

const GRANT_TYPE: &str = "urn:ietf:params:oauth:grant-type:device_code";
/// Bounds of the time between two questions: never a flood, and never so rare that the code ends in between.
const INTERVAL: std::ops::RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_mins(1);
/// Longest life of a code that is believed. GitLab's live for five minutes.
const LIFE_MAX: Duration = Duration::from_hours(1);

/// A login that was begun.
#[derive(Clone, Debug)]
pub(crate) struct DeviceGrant {
    /// What to ask with.
    pub(crate) device_code: Secret<String>,
    /// What the user types.
    pub(crate) user_code: Secret<String>,
    /// Where the user types it: http or https.
    pub(crate) verification_uri: String,
    /// The same with the code filled in.
    pub(crate) verification_uri_complete: Option<Secret<String>>,
    /// When the codes end, by our clock.
    pub(crate) expires_at: Timestamp,
    /// Least time between two questions.
    pub(crate) interval: Duration,
}

/// What GitLab says to a question.
#[derive(Clone, Debug)]
pub(crate) enum DevicePoll {
    /// The user has not answered yet.
    Pending,
    /// The same, and the interval must be five seconds longer from now on.
    SlowDown,
    /// The user said no.
    Denied,
    /// The codes have ended.
    Expired,
    /// The user said yes.
    Pair(OAuthPair),
}

impl OAuthClient<'_> {
    /// Begins a login that asks for `scopes`.
    pub(crate) async fn start_device(&self, scopes: &[String]) -> Result<DeviceGrant, CallError> {
        let wire = Wire::new(self.upstream, Call::DeviceStart);
        let client = configured(self.instance, self.app).ok_or_else(|| unsent(Call::DeviceStart).into_call())?;
        let asking = client
            .exchange_device_code()
            .add_scopes(scopes.iter().cloned().map(Scope::new))
            .request_async::<_, oauth2::EmptyExtraDeviceAuthorizationFields>(&wire);
        let reply = asking.await;
        match reply.ok().and_then(|reply| grant(&reply, self.clock.now())) {
            Some(grant) => Ok(grant),
            None => Err(wire.error(&self.sent(&[])).into_call()),
        }
    }

    /// Asks once whether the user has answered. `scopes` are those that were asked for.
    ///
    /// After [`ExchangeError::Unknown`] it may be asked again: if the tokens were in the answer that was lost, GitLab
    /// says [`ExchangeError::InvalidGrant`], and the login must be begun anew.
    pub(crate) async fn poll_device(
        &self,
        device_code: &Secret<String>,
        scopes: &[String],
    ) -> Result<DevicePoll, ExchangeError> {
        let wire = Wire::new(self.upstream, Call::DevicePoll);
        let form = self.form(&[("grant_type", GRANT_TYPE), ("device_code", device_code.expose())]);
        let answer = wire.post(&format!("{}/oauth/token", self.instance), &form).await;
        if let Some((status, body)) = answer {
            match error_value(&body).as_deref() {
                Some("authorization_pending") => return Ok(DevicePoll::Pending),
                Some("slow_down") => return Ok(DevicePoll::SlowDown),
                Some("access_denied") => return Ok(DevicePoll::Denied),
                Some("expired_token") => return Ok(DevicePoll::Expired),
                _ => {}
            }
            if let (200..=299, Ok(reply)) = (status, serde_json::from_slice::<TokenReply>(&body)) {
                let pair = reply.first(scopes, self.clock.now()).map_err(|why| useless(Call::DevicePoll, why))?;
                return Ok(DevicePoll::Pair(pair));
            }
        }
        Err(wire.error(&self.sent(&[device_code])))
    }
}

/// Returns what `reply` grants; `None` if it leads the user to something that is not a web page.
fn grant(reply: &StandardDeviceAuthorizationResponse, now: Timestamp) -> Option<DeviceGrant> {
    let page = reply.verification_uri().url();
    let is_page = |url: &url::Url| matches!(url.scheme(), "https" | "http");
    let complete = reply.verification_uri_complete().and_then(|uri| url::Url::parse(uri.secret()).ok());
    is_page(page).then(|| DeviceGrant {
        device_code: Secret::new(reply.device_code().secret().clone()),
        user_code: Secret::new(reply.user_code().secret().clone()),
        verification_uri: page.to_string(),
        verification_uri_complete: complete.filter(is_page).map(|page| Secret::new(page.into())),
        expires_at: now + reply.expires_in().min(LIFE_MAX),
        interval: reply.interval().clamp(*INTERVAL.start(), *INTERVAL.end()),
    })
}
