//! How an account comes by a grant: which endpoint, which gateway.
//!
//! Used by a login, to see whether the account has Duo access at all, and by the account's actor ever after.

use std::time::Duration;

use actix_web::web::Bytes;

use crate::domain::endpoint::{GatewayUrl, InstanceUrl};
use crate::domain::fault::{Fault, Hold, Reason, Scope};
use crate::domain::id::Generation;
use crate::domain::model::ModelName;
use crate::gitlab::direct_access::{Endpoint, Minted, mint, too_old};
use crate::gitlab::error::{Call, CallError, classify, of_read_error, of_send_error};
use crate::gitlab::gateway::{self, GatewayPath, Grant, Passed};
use crate::gitlab::rest::Session;
use crate::gitlab::upstream::Upstream;

/// Longest wait for a token count, which no model works on.
const PROBE_TIMEOUT: Duration = Duration::from_secs(20);
/// A token count has a few dozen bytes; an error page may have more.
const PROBE_BYTES_MAX: usize = 64 * 1024;

/// Which gateway an account uses, before GitLab is asked.
#[derive(Clone, Debug)]
pub(crate) struct GatewayChoice {
    /// The account's own, or the configured one of its instance.
    pub(crate) fixed: Option<GatewayUrl>,
    /// What GitLab reported the last time.
    pub(crate) reported: Option<GatewayUrl>,
}

/// A grant with the gateway it is for.
#[derive(Clone, Debug)]
pub(crate) struct Mint {
    pub(crate) minted: Minted,
    pub(crate) endpoint: Endpoint,
    pub(crate) gateway: GatewayUrl,
    /// What GitLab reports as its gateway, to be remembered.
    pub(crate) reported: Option<GatewayUrl>,
    /// GitLab's code completion model, where it was reported; for people only.
    pub(crate) completion_model: Option<String>,
}

/// Mints a grant for the owner of `session`'s token.
///
/// On instances other than gitlab.com that lack the agents' endpoint, the older one is tried, and believed only after
/// the gateway counted tokens under its grant. `probe` is the model for that.
pub(crate) async fn grant(session: Session<'_>, choice: &GatewayChoice, probe: &ModelName) -> Result<Mint, CallError> {
    match mint(session, Endpoint::Agents).await {
        Ok(minted) => {
            let (gateway, reported, completion_model) = gateway_for(session, choice).await?;
            Ok(Mint { minted, endpoint: Endpoint::Agents, gateway, reported, completion_model })
        }
        Err(error) if error.fault.reason == Reason::InstanceTooOld && !session.instance.is_gitlab_com() => {
            older(session, choice, probe).await
        }
        Err(error) => Err(error),
    }
}

async fn older(session: Session<'_>, choice: &GatewayChoice, probe: &ModelName) -> Result<Mint, CallError> {
    let minted = mint(session, Endpoint::Suggestions).await.map_err(|_| too_old())?;
    let reported = minted.reported_gateway.clone();
    let gateway = chosen(session.instance, choice, reported.as_ref())?;
    let grant = Grant::new(&minted, Generation::default(), gateway.clone()).ok_or_else(too_old)?;
    count_tokens(session.upstream, &grant, probe).await.map_err(|_| too_old())?;
    let completion_model = minted.completion_model.clone();
    Ok(Mint { minted, endpoint: Endpoint::Suggestions, gateway, reported, completion_model })
}

/// Finds the gateway of an instance whose grant names none.
async fn gateway_for(
    session: Session<'_>,
    choice: &GatewayChoice,
) -> Result<(GatewayUrl, Option<GatewayUrl>, Option<String>), CallError> {
    if choice.fixed.is_some() || choice.reported.is_some() || session.instance.is_gitlab_com() {
        let gateway = chosen(session.instance, choice, choice.reported.as_ref())?;
        return Ok((gateway, choice.reported.clone(), None));
    }
    // What this endpoint answers never speaks against the account: it belongs to another feature.
    let asked = mint(session, Endpoint::Suggestions).await.ok();
    let reported = asked.as_ref().and_then(|minted| minted.reported_gateway.clone());
    let gateway = chosen(session.instance, choice, reported.as_ref())?;
    Ok((gateway, reported, asked.and_then(|minted| minted.completion_model)))
}

fn chosen(
    instance: &InstanceUrl,
    choice: &GatewayChoice,
    reported: Option<&GatewayUrl>,
) -> Result<GatewayUrl, CallError> {
    if let Some(fixed) = &choice.fixed {
        return Ok(fixed.clone());
    }
    let Some(reported) = reported.filter(|_| !instance.is_gitlab_com()) else { return Ok(GatewayUrl::cloud()) };
    if instance.may_report(reported) {
        return Ok(reported.clone());
    }
    let fault =
        Fault { scope: Scope::Account, reason: Reason::GatewayNeedsConsent, hold: Hold::UntilFixed, curable: true };
    Err(CallError { fault, status: None, note: reported.to_string() })
}

/// Counts the tokens of a short text: proves that the gateway accepts the grant, and is not billed.
pub(crate) async fn count_tokens(upstream: &Upstream, grant: &Grant, model: &ModelName) -> Result<(), CallError> {
    let body = serde_json::json!({ "model": model.as_str(), "messages": [{ "role": "user", "content": "hi" }] });
    let body = Bytes::from(body.to_string());
    let passed = Passed::default();
    let sent = gateway::send(upstream, grant, GatewayPath::CountTokens, &passed, body, PROBE_TIMEOUT).await;
    let reply = sent.map_err(|error| of_send_error(Call::Gateway, &error))?;
    let (status, json, waits) = (reply.status, reply.is_json(), reply.waits.clone());
    if status == 200 && json {
        return Ok(());
    }
    let body =
        reply.read(PROBE_BYTES_MAX, PROBE_TIMEOUT).await.map_err(|error| of_read_error(Call::Gateway, &error))?;
    let body = grant.struck_from(&body);
    Err(classify(Call::Gateway, status, &waits, if json { &body } else { b"" }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> GatewayUrl {
        GatewayUrl::parse(text).unwrap()
    }

    #[test]
    fn the_operators_gateway_wins_then_the_reported_one_then_gitlabs() {
        let own = InstanceUrl::parse("https://git.example.com").unwrap();
        let fixed = GatewayChoice { fixed: Some(url("https://gw.elsewhere.com")), reported: None };
        let open = GatewayChoice { fixed: None, reported: None };
        let reported = url("https://git.example.com/gw");
        assert_eq!(chosen(&own, &fixed, Some(&reported)).unwrap(), url("https://gw.elsewhere.com"));
        assert_eq!(chosen(&own, &open, Some(&reported)).unwrap(), reported);
        assert_eq!(chosen(&own, &open, None).unwrap(), GatewayUrl::cloud());
        assert_eq!(chosen(&InstanceUrl::gitlab_com(), &open, Some(&reported)).unwrap(), GatewayUrl::cloud());
    }

    #[test]
    fn a_gateway_on_a_foreign_host_needs_the_operators_word() {
        let own = InstanceUrl::parse("https://git.example.com").unwrap();
        let open = GatewayChoice { fixed: None, reported: None };
        let error = chosen(&own, &open, Some(&url("https://gw.elsewhere.com"))).unwrap_err();
        assert_eq!(error.fault.reason, Reason::GatewayNeedsConsent);
        assert_eq!(error.note, "https://gw.elsewhere.com");
    }
}
