//! Gateway tokens with the headers that belong to them: how they are made and when the gateway takes them.
//!
//! Source of the header names and of the order of checks: GitLab's `ee/lib/ai/third_party_agents/token_service.rb` and
//! the gateway's `api/middleware`. Stricter than the real gateway in one point: every header of the grant must come
//! back as it was handed out, since a client that mixes two grants would otherwise go unnoticed.

use std::collections::HashMap;
use std::fmt;

use actix_web::http::header::HeaderMap;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use rand::RngExt as _;
use serde_json::json;
use sha2::{Digest, Sha256};

use crate::domain::time::Timestamp;
use crate::simulator::account::SimulatedAccount;
use crate::simulator::answer::Answer;
use crate::simulator::journal::fingerprint;
use crate::simulator::state::{Deployment, Instance};

/// Grants that are remembered; beyond it the oldest are forgotten, and so refused.
const GRANTS_MAX: usize = 10_000;
/// The feature that the model proxies are.
const PROXY_PRIMITIVE: &str = "ai_gateway_model_provider_proxy";
const PRIMITIVE_HEADER: &str = "x-gitlab-unit-primitive";
/// Headers that are compared with the token's claims, after all others, on GitLab.com only.
const BOUND_HEADERS: [(&str, &str); 3] = [
    ("x-gitlab-project-id", "Gitlab project id mismatch"),
    ("x-gitlab-namespace-id", "Gitlab namespace id mismatch"),
    ("x-gitlab-root-namespace-id", "Gitlab root namespace id mismatch"),
];

/// Header names and values in the order in which direct access returns them.
pub(crate) type Headers = Vec<(&'static str, String)>;

/// Which endpoint handed a grant out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// `third_party_agents/direct_access`: the model proxies.
    Proxy,
    /// `code_suggestions/direct_access`: code completion. Its token names no namespace, and its headers no primitive.
    Completion,
}

/// A gateway token's record.
#[derive(Debug)]
pub(crate) struct Grant {
    pub(crate) account: usize,
    pub(crate) number: u64,
    pub(crate) fingerprint: String,
    pub(crate) expires_at: Timestamp,
    headers: Headers,
    realm: Deployment,
    /// The namespace that the token is bound to; completion tokens name none.
    namespace_id: Option<u64>,
    revoked: bool,
}

/// All grants handed out.
#[derive(Default)]
pub(crate) struct Grants {
    by_token: HashMap<String, Grant>,
    last: u64,
}

impl fmt::Debug for Grants {
    /// Writes how many there are; their tokens stay out of logs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Grants").field("count", &self.by_token.len()).finish_non_exhaustive()
    }
}

/// A new grant as the client gets it.
pub(crate) struct Minted {
    pub(crate) token: String,
    pub(crate) expires_at: Timestamp,
    pub(crate) headers: Headers,
}

impl Grants {
    /// Hands out a new grant.
    pub(crate) fn mint(
        &mut self,
        account: (usize, &SimulatedAccount),
        instance: &Instance,
        purpose: Purpose,
        now: Timestamp,
    ) -> Minted {
        let (index, account) = account;
        if self.by_token.len() >= GRANTS_MAX {
            let oldest = self.by_token.iter().min_by_key(|(_, grant)| grant.number).map(|(token, _)| token.clone());
            self.by_token.remove(&oldest.unwrap_or_default());
        }
        self.last += 1;
        let expires_at = Timestamp::from_secs(now.as_secs().saturating_add(instance.grant_lifetime_s));
        let token = token(account, instance, now, expires_at);
        let headers = headers(account, instance, purpose);
        let on_gitlab_com = instance.deployment == Deployment::GitlabCom;
        let grant = Grant {
            account: index,
            number: self.last,
            fingerprint: fingerprint(&token),
            expires_at,
            headers: headers.clone(),
            realm: instance.deployment,
            namespace_id: (on_gitlab_com && purpose == Purpose::Proxy).then_some(account.namespace_id),
            revoked: false,
        };
        self.by_token.insert(token.clone(), grant);
        Minted { token, expires_at, headers }
    }

    /// Returns the grant of a token, valid or not.
    pub(crate) fn of_token(&self, token: &str) -> Option<&Grant> {
        self.by_token.get(token)
    }

    /// Revokes the grants of one account, or of all.
    pub(crate) fn revoke(&mut self, account: Option<usize>) {
        for grant in self.by_token.values_mut() {
            grant.revoked |= account.is_none_or(|index| grant.account == index);
        }
    }

    /// Checks token and headers of a gateway request up to the namespace: steps 1 to 4 of the gateway's order.
    /// `proxies_enabled` answers, per account, step 2.
    pub(crate) fn admit(
        &self,
        sent: &HeaderMap,
        now: Timestamp,
        proxies_enabled: impl Fn(usize) -> bool,
    ) -> Result<&Grant, Answer> {
        let grant = self.authenticate(sent, now)?;
        if let Some(name) = grant.mismatch(sent) {
            return Err(unauthorized(&format!("Header mismatch '{}'", title_case(name))));
        }
        if !proxies_enabled(grant.account) {
            let place = if grant.realm == Deployment::GitlabCom { "namespace" } else { "instance" };
            return Err(Answer::detail(402, &format!("Proxy endpoints are not enabled for this {place}")));
        }
        match only(sent, PRIMITIVE_HEADER) {
            None => return Err(Answer::detail(400, "Missing x-gitlab-unit-primitive header")),
            Some(PROXY_PRIMITIVE) => {}
            Some("complete_code" | "generate_code" | "duo_chat") => {
                return Err(Answer::detail(403, "Unauthorized to access model provider proxy"));
            }
            Some(other) => return Err(Answer::detail(400, &format!("Unknown unit primitive header {other}"))),
        }
        if grant.realm == Deployment::GitlabCom
            && let Some(refusal) = grant.unbound(sent)
        {
            return Err(Answer::detail(403, refusal));
        }
        Ok(grant)
    }

    fn authenticate(&self, sent: &HeaderMap, now: Timestamp) -> Result<&Grant, Answer> {
        let Some(authorization) = only(sent, "authorization") else {
            return Err(unauthorized("No authorization header presented"));
        };
        let Some(token) = authorization.strip_prefix("Bearer ") else {
            return Err(unauthorized("Invalid authorization header"));
        };
        if only(sent, "x-gitlab-authentication-type") != Some("oidc") {
            return Err(unauthorized("Invalid authentication token type - only OIDC is supported"));
        }
        match self.by_token.get(token) {
            Some(grant) if !grant.revoked && now < grant.expires_at => Ok(grant),
            _ => Err(unauthorized("Forbidden by auth provider")),
        }
    }
}

impl Grant {
    /// Returns the first header that did not come back as it was handed out; those with their own check do not count.
    fn mismatch(&self, sent: &HeaderMap) -> Option<&'static str> {
        let own_check = |name: &str| name == PRIMITIVE_HEADER || BOUND_HEADERS.iter().any(|(bound, _)| *bound == name);
        let differs = |name: &str, value: &str| only(sent, name) != Some(value);
        self.headers.iter().find(|(name, value)| !own_check(name) && differs(name, value)).map(|(name, _)| *name)
    }

    /// Returns what is said of the first header that is not what the token's claims name.
    fn unbound(&self, sent: &HeaderMap) -> Option<&'static str> {
        let namespace = self.namespace_id.map(|id| id.to_string());
        let claims = [None, namespace.as_deref(), namespace.as_deref()];
        let wrong = BOUND_HEADERS.iter().zip(claims).find(|((name, _), claim)| only(sent, name) != *claim);
        wrong.map(|((_, refusal), _)| *refusal)
    }
}

fn unauthorized(error: &str) -> Answer {
    Answer::json(401, &json!({ "error": error }))
}

/// Returns the value of a header that was sent once, as text.
fn only<'a>(sent: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let mut values = sent.get_all(name);
    let first = values.next()?;
    values.next().is_none().then(|| first.to_str().ok())?
}

fn title_case(name: &str) -> String {
    let upper = |part: &str| part.get(..1).unwrap_or_default().to_uppercase() + part.get(1..).unwrap_or_default();
    name.split('-').map(upper).collect::<Vec<_>>().join("-")
}

/// Returns something that looks like the gateway's signed token.
fn token(account: &SimulatedAccount, instance: &Instance, now: Timestamp, expires_at: Timestamp) -> String {
    let part = |value: serde_json::Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let head = part(json!({ "alg": "RS256", "typ": "JWT" }));
    let claims = part(json!({
        "iss": "gitlab-ai-gateway",
        "sub": instance.instance_id,
        "aud": "gitlab-ai-gateway",
        "iat": now.as_secs(),
        "exp": expires_at.as_secs(),
        "gitlab_realm": instance.deployment.realm(),
        "gitlab_user_id": account.user_id.to_string(),
        "scopes": [PROXY_PRIMITIVE],
    }));
    let signature: [u8; 32] = rand::rng().random();
    format!("{head}.{claims}.{}", URL_SAFE_NO_PAD.encode(signature))
}

fn headers(account: &SimulatedAccount, instance: &Instance, purpose: Purpose) -> Headers {
    let on_gitlab_com = instance.deployment == Deployment::GitlabCom;
    let namespace = account.namespace_id.to_string();
    let global_user_id = STANDARD.encode(Sha256::digest(format!("{}\n{}", instance.instance_id, account.user_id)));
    let mut headers: Headers = vec![
        ("x-gitlab-host-name", if on_gitlab_com { "gitlab.com" } else { "gitlab.example.com" }.to_owned()),
        ("x-gitlab-instance-id", instance.instance_id.clone()),
        ("x-gitlab-realm", instance.deployment.realm().to_owned()),
        ("x-gitlab-deployment-type", instance.deployment.kind().to_owned()),
        ("x-gitlab-version", instance.version.clone()),
        ("x-gitlab-global-user-id", global_user_id),
        ("x-gitlab-user-id", account.user_id.to_string()),
        ("x-gitlab-feature-enabled-by-namespace-ids", if on_gitlab_com { namespace.clone() } else { String::new() }),
        ("x-gitlab-subject-type", "user".to_owned()),
        ("x-gitlab-feature-enablement-type", "duo_agent_platform".to_owned()),
        ("x-gitlab-enabled-feature-flags", String::new()),
        ("x-gitlab-enabled-instance-verbose-ai-logs", "false".to_owned()),
        ("X-Gitlab-Is-Team-Member", "false".to_owned()),
    ];
    if on_gitlab_com {
        headers.push(("x-gitlab-namespace-id", namespace.clone()));
        headers.push(("x-gitlab-root-namespace-id", namespace));
    }
    headers.push(("x-gitlab-organization-id", "1".to_owned()));
    match purpose {
        Purpose::Proxy => {
            headers.push((PRIMITIVE_HEADER, PROXY_PRIMITIVE.to_owned()));
            headers.push(("x-gitlab-authentication-type", "oidc".to_owned()));
        }
        Purpose::Completion => headers.push(("X-Gitlab-Authentication-Type", "oidc".to_owned())),
    }
    headers
}
