//! An account as people are shown it: never a secret.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::account::api::Block;
use crate::account::credentials::Credentials;
use crate::account::shared_health::Site;
use crate::domain::fault::{Reason, Scope};
use crate::domain::model::ModelName;
use crate::store::Credential;

/// Whether an account serves, in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Health {
    /// It serves.
    Ready,
    /// It has no grant yet, and one is being minted.
    Starting,
    /// It serves, but something is wrong: a model is blocked, or its grant cannot be renewed.
    Degraded,
    /// It does not serve, and will by itself.
    Blocked,
    /// It does not serve until a person does something.
    NeedsAttention,
    /// It does not serve until somebody logs in anew: GitLab no longer takes its login.
    NeedsLogin,
    /// An operator switched it off.
    Disabled,
}

impl Health {
    /// Returns the word as it is shown.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Starting => "starting",
            Self::Degraded => "degraded",
            Self::Blocked => "blocked",
            Self::NeedsAttention => "needs attention",
            Self::NeedsLogin => "needs login",
            Self::Disabled => "disabled",
        }
    }
}

/// Who found that something is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Source {
    /// GitLab said so.
    Gitlab,
    /// The AI gateway said so.
    Gateway,
    /// The model's provider said so.
    Provider,
    /// Nobody answered, or it went wrong on this machine.
    Here,
}

impl Source {
    /// Returns who says `reason` about a request to a model or a call to GitLab.
    const fn of(reason: Reason) -> Self {
        match reason {
            Reason::ProviderThrottled
            | Reason::ProviderError
            | Reason::ProviderRefused
            | Reason::TooLong
            | Reason::BadRequest => Self::Provider,
            Reason::GrantRefused
            | Reason::QuotaExhausted
            | Reason::QuotaUnknown
            | Reason::ProxyNotEnabled
            | Reason::GatewayError
            | Reason::GatewayThrottled
            | Reason::UnsupportedModel => Self::Gateway,
            Reason::StoreFailed
            | Reason::InstanceUnreachable
            | Reason::GatewayUnreachable
            | Reason::GatewayNeedsConsent
            | Reason::HostOffline
            | Reason::CertificateUntrusted
            | Reason::CertificateExpired
            | Reason::CertificateWrongHost
            | Reason::TlsFailed
            | Reason::ProxyUnreachable
            | Reason::ProxyUnauthorized
            | Reason::ProxyRefused
            | Reason::LoginNotRenewable
            | Reason::GrantMissing
            | Reason::Timeout
            | Reason::CutShort => Self::Here,
            _ => Self::Gitlab,
        }
    }
}

/// Something that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub(crate) struct Trouble {
    /// How far it reaches: `model`, `account`, `namespace`, `provider`, `gateway`, `instance` (calls to GitLab alone) or
    /// `host`.
    #[schema(value_type = String)]
    pub(crate) scope: Scope,
    /// What is concerned: a model, a gateway, an instance; empty where it is the account itself.
    pub(crate) subject: String,
    /// What, as a word that programs may rely on.
    #[schema(value_type = String)]
    pub(crate) reason: Reason,
    /// What, as a sentence.
    pub(crate) message: String,
    /// What a person can do; empty where waiting is all.
    pub(crate) fix: String,
    /// Who found it.
    pub(crate) source: Source,
    /// Since when, RFC 3339.
    pub(crate) since: String,
    /// When it is tried again, RFC 3339.
    pub(crate) until: String,
    /// Faults in a row.
    pub(crate) attempts: u32,
}

impl Trouble {
    /// Describes `block` of a whole account that logs in as `credential` says.
    pub(crate) fn of_account(block: &Block, credential: CredentialKind) -> Self {
        Self::new(Scope::Account, String::new(), block, credential.fix(block.reason))
    }

    /// Describes `block` of one model on an account.
    pub(crate) fn of_model(model: &ModelName, block: &Block, credential: CredentialKind) -> Self {
        Self::new(Scope::Model, model.to_string(), block, credential.fix(block.reason))
    }

    /// Describes `block` of calls to GitLab for an account, which never comes from a gateway.
    pub(crate) fn of_login(block: &Block, credential: CredentialKind) -> Self {
        let trouble = Self::of_account(block, credential);
        if trouble.source == Source::Gateway { Self { source: Source::Gitlab, ..trouble } } else { trouble }
    }

    /// Describes `block` of something that accounts share.
    pub(crate) fn at(site: &Site, block: &Block) -> Self {
        Self::new(site.scope(), site.to_string(), block, block.reason.fix())
    }

    fn new(scope: Scope, subject: String, block: &Block, fix: &str) -> Self {
        Self {
            scope,
            subject,
            source: Source::of(block.reason),
            reason: block.reason,
            message: block.reason.text().to_owned(),
            fix: fix.to_owned(),
            since: block.since.to_string(),
            until: block.until.to_string(),
            attempts: block.attempts,
        }
    }
}

/// How an account logs in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum CredentialKind {
    /// With a personal access token, which an operator renews.
    PersonalAccessToken,
    /// With a pair of OAuth tokens, which duopool renews.
    Oauth,
}

impl CredentialKind {
    /// Returns the kind of `credential`.
    pub(crate) const fn of(credential: &Credential) -> Self {
        match credential {
            Credential::PersonalAccessToken { .. } => Self::PersonalAccessToken,
            Credential::OAuth { .. } => Self::Oauth,
        }
    }

    /// Returns what a person can do about `reason`, or an empty text where waiting is all.
    pub(crate) const fn fix(self, reason: Reason) -> &'static str {
        match self {
            Self::PersonalAccessToken => reason.fix(),
            Self::Oauth => reason.fix_of_login(),
        }
    }
}

/// What is being done about a login.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum LoginState {
    /// It can be used.
    Fresh,
    /// It is being exchanged for the next.
    Renewing,
    /// The last exchange failed; it is tried again.
    Waiting,
    /// The next pair is held in memory and not on disk yet: do not stop the server.
    Unsaved,
    /// GitLab no longer takes it.
    NeedsLogin,
}

impl LoginState {
    /// Returns the state of `credentials`.
    pub(crate) fn of(credentials: &Credentials) -> Self {
        let reason = credentials.trouble().map(|block| block.reason);
        match (credentials.is_exchanging(), reason) {
            (true, Some(Reason::StoreFailed)) => Self::Unsaved,
            _ if credentials.needs_login() => Self::NeedsLogin,
            (true, _) => Self::Renewing,
            (false, Some(_)) => Self::Waiting,
            (false, None) => Self::Fresh,
        }
    }
}

/// Something that will go wrong unless a person does something.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub(crate) struct Warning {
    /// What, as a sentence.
    pub(crate) message: String,
    /// What a person can do.
    pub(crate) fix: String,
    /// When it goes wrong, RFC 3339.
    pub(crate) at: String,
}

/// The state of one account.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct AccountView {
    /// Stays the same over removal and a new login.
    pub(crate) id: String,
    /// Root of the GitLab instance.
    pub(crate) base_url: String,
    /// Numeric id of the user there.
    pub(crate) user_id: u64,
    /// The user's name there when the account was added.
    pub(crate) username: String,
    /// The operator's name for it.
    pub(crate) label: Option<String>,
    /// Which keys may use it.
    pub(crate) pool: String,
    /// Higher tiers are used first.
    pub(crate) priority: i32,
    /// Share among accounts of one tier.
    pub(crate) weight: u32,
    /// Most requests in flight.
    pub(crate) max_concurrency: u32,
    /// Whether it serves.
    pub(crate) health: Health,
    /// What is wrong with the account as a whole, if something is.
    pub(crate) trouble: Option<Trouble>,
    /// Models that are blocked on this account.
    pub(crate) blocked_models: BTreeMap<String, Trouble>,
    /// All that keeps it from something now: its own blocks, and those that it shares with other accounts.
    pub(crate) blocks: Vec<Trouble>,
    /// Whether it is chosen last, because an account that may draw on the same credits ran out of them.
    pub(crate) hinted: bool,
    /// Whether an operator lets it serve.
    pub(crate) enabled: bool,
    /// What `gitlab-duo` means here.
    pub(crate) current_model: String,
    /// Models that GitLab offers this user, by the names to ask for them.
    pub(crate) models: Vec<String>,
    /// GitLab identifiers that name no model of the gateway's proxies: shown, never routed to.
    pub(crate) unroutable_models: Vec<String>,
    /// Accounts with the same group may draw on the same credits.
    pub(crate) credit_group: Option<String>,
    /// Where requests go.
    pub(crate) gateway_url: Option<String>,
    /// When the gateway credential ends, RFC 3339.
    pub(crate) grant_expires_at: Option<String>,
    /// Serial number of the gateway credential.
    pub(crate) grant_generation: u64,
    /// How it logs in.
    pub(crate) credential: CredentialKind,
    /// What is being done about its login.
    pub(crate) login: LoginState,
    /// Serial number of its login.
    pub(crate) login_generation: u64,
    /// First day on which the token no longer works.
    pub(crate) token_expires_on: Option<String>,
    /// When the OAuth access token ends, RFC 3339; it is renewed before.
    pub(crate) token_expires_at: Option<String>,
    /// What will go wrong unless a person does something.
    pub(crate) warnings: Vec<Warning>,
    /// What the token may do.
    pub(crate) token_scopes: Vec<String>,
    /// Requests in flight.
    pub(crate) in_flight: u32,
    /// Requests that ended well since the server started.
    pub(crate) served: u64,
    /// Requests that ended in a fault since the server started.
    pub(crate) failed: u64,
    /// When the account was added, RFC 3339.
    pub(crate) added_at: String,
}

/// The end of an account, as people are told it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub(crate) struct Removal {
    /// Id of the account that is no more.
    pub(crate) id: String,
    /// Whether its token is worthless at GitLab now.
    pub(crate) revoked: bool,
    /// What became of the token, as a sentence.
    pub(crate) message: String,
    /// What a person can do about it; empty where it is worthless.
    pub(crate) fix: String,
}

/// One finding of a test.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub(crate) struct Finding {
    /// What was looked at.
    pub(crate) check: String,
    /// Whether it is as it should be.
    pub(crate) ok: bool,
    /// What was found.
    pub(crate) message: String,
    /// What a person can do; empty where it is fine or waiting is all.
    pub(crate) fix: String,
}

/// What one cheap check found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub(crate) struct TestReport {
    /// Whether everything is as it should be.
    pub(crate) ok: bool,
    /// One finding per step, in order; a failed step ends the test.
    pub(crate) findings: Vec<Finding>,
}

/// What an account's health is judged by.
#[derive(Clone, Copy, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts, weighed in one place")]
pub(crate) struct Signs<'a> {
    /// An operator lets it serve.
    pub(crate) enabled: bool,
    /// It has a grant that a request can be sent with.
    pub(crate) usable: bool,
    /// A mint is in flight.
    pub(crate) minting: bool,
    /// What keeps the whole account from being used.
    pub(crate) block: Option<&'a Block>,
    /// Why the last mint failed.
    pub(crate) trouble: Option<&'a Block>,
    /// Only a new login helps, once the grant has ended.
    pub(crate) needs_login: bool,
    /// How many of its models are blocked.
    pub(crate) blocked_models: usize,
}

impl Signs<'_> {
    /// Returns the one word for them.
    pub(crate) fn health(&self) -> Health {
        let stuck = |block: &Block| block.reason.needs_a_person();
        match (self.enabled, self.block, self.usable, self.trouble) {
            (false, ..) => Health::Disabled,
            (true, _, false, _) if self.needs_login => Health::NeedsLogin,
            (true, Some(block), ..) if stuck(block) => Health::NeedsAttention,
            (true, None, true, None) if self.blocked_models == 0 => Health::Ready,
            (true, None, true, _) => Health::Degraded,
            (true, None, false, Some(trouble)) if stuck(trouble) => Health::NeedsAttention,
            (true, None, false, None) => Health::Starting,
            (true, None, false, Some(_)) if self.minting => Health::Starting,
            (true, Some(_), ..) | (true, None, false, Some(_)) => Health::Blocked,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_helps_is_told_by_how_the_account_logs_in() {
        for reason in [Reason::TokenInvalid, Reason::TokenExpired, Reason::TokenRevoked, Reason::ScopeMissing] {
            let [personal, login] =
                [CredentialKind::PersonalAccessToken, CredentialKind::Oauth].map(|kind| kind.fix(reason));
            assert!(personal.contains("personal access token"), "{reason:?}: {personal}");
            assert!(
                login.contains("`duopool login`") && !login.contains("personal access token"),
                "{reason:?}: {login}"
            );
        }
        for reason in [Reason::NamespaceMissing, Reason::LoginEnded, Reason::Timeout] {
            assert_eq!(CredentialKind::Oauth.fix(reason), CredentialKind::PersonalAccessToken.fix(reason));
        }
    }
}
