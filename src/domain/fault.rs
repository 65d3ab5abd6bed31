//! What went wrong with a call to GitLab, and whose fault it was.
//!
//! `gitlab::error` is the only place that makes a [`Fault`] from a status and a body; who may retry, what is blocked
//! and which status a client sees all follow from the value.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// How far a fault reaches. A narrow fault never blocks a wider scope.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// The client's request: nobody's fault but its own.
    Request,
    /// One model on one account.
    Model,
    /// One account: token, seat, needs login.
    Account,
    /// The root namespace that pays: every account of that instance whose credits come from it. Where an account names
    /// none, the instance as a whole pays.
    Namespace,
    /// The model's provider behind one gateway; every account there meets it.
    Provider,
    /// The gateway.
    Gateway,
    /// The GitLab instance: minting and checks only, never takes a valid grant away.
    Instance,
    /// This machine: no network, no answer from DNS, no file descriptors.
    Host,
}

/// How long a fault blocks its scope.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hold {
    /// Not at all.
    None,
    /// A known time.
    For(Duration),
    /// Unknown: short at first, longer with each repetition.
    Backoff,
    /// The gateway credential is at fault: until a new one is minted.
    UntilMinted,
    /// Until a person does something at GitLab; looked at again now and then, in case they have.
    UntilFixed,
}

/// Every way a call can go wrong, named for what can be done about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// The token is unknown to GitLab, or was mistyped.
    TokenInvalid,
    /// The token's date has passed.
    TokenExpired,
    /// Somebody revoked the token.
    TokenRevoked,
    /// GitLab does not know a token yet that it handed out moments ago.
    TokenTooNew,
    /// GitLab refused a refresh token, which may be lag of its databases.
    RenewalRefused,
    /// As before, after an exchange whose answer never came: GitLab may have handed out a pair that nobody got.
    RenewalUncertain,
    /// As before, and refused to the end: the pair that replaced this one is lost.
    RenewalInterrupted,
    /// The login came without a refresh token, and its access token has ended.
    LoginNotRenewable,
    /// A login could not be written to this machine's disk.
    StoreFailed,
    /// The token lacks scope `api` or `ai_features`.
    ScopeMissing,
    /// The refresh token is dead: used, revoked, or the application it came through is gone.
    LoginEnded,
    /// The code that a login ended with is dead, or belongs to another redirect URI or verifier.
    CodeRefused,
    /// Id or secret of the OAuth application are wrong, or it may not be used so.
    ClientRefused,
    /// The OAuth application does not offer the scopes.
    ScopesRefused,
    /// The instance does not know this kind of login.
    LoginUnsupported,
    /// No seat, Duo Agent Platform off, feature flag off, or direct connections disabled.
    NotEntitled,
    /// The user has several Duo namespaces and chose none.
    NamespaceMissing,
    /// Duo is switched off in the namespace that pays.
    DuoDisabled,
    /// The instance has no direct access for agents.
    InstanceTooOld,
    /// GitLab could not get a gateway token: no credit, not entitled or an outage; it does not say which.
    MintFailed,
    /// GitLab limits the rate of calls.
    InstanceThrottled,
    /// GitLab answered with an error of its own.
    InstanceError,
    /// GitLab could not be reached.
    InstanceUnreachable,
    /// GitLab answered something that is not its API: HTML, garbage, a redirect.
    InstanceUnexpected,
    /// The instance names a gateway on a host that is neither its own nor GitLab's.
    GatewayNeedsConsent,
    /// The gateway refused the credential or its headers.
    GrantRefused,
    /// The account has no gateway credential at present.
    GrantMissing,
    /// Out of GitLab Credits.
    QuotaExhausted,
    /// The gateway says not entitled; also what it says while its own quota service is down.
    QuotaUnknown,
    /// GitLab does not open the model proxies to this namespace or instance.
    ProxyNotEnabled,
    /// The gateway failed.
    GatewayError,
    /// The gateway could not be reached.
    GatewayUnreachable,
    /// The gateway, or the edge before it, limits the rate of calls.
    GatewayThrottled,
    /// The provider refuses the gateway's own key, or wants it paid for.
    ProviderRefused,
    /// The provider limits GitLab's shared rate.
    ProviderThrottled,
    /// The provider is overloaded or failed.
    ProviderError,
    /// The server's certificate is signed by nobody who is trusted.
    CertificateUntrusted,
    /// The server's certificate has ended, or has not begun.
    CertificateExpired,
    /// The server's certificate is for another name.
    CertificateWrongHost,
    /// A connection, but no TLS on it for another reason.
    TlsFailed,
    /// The proxy cannot be reached, or does not answer as one.
    ProxyUnreachable,
    /// The proxy wants credentials, or others.
    ProxyUnauthorized,
    /// The proxy does not open the way to the server.
    ProxyRefused,
    /// This machine reaches nobody.
    HostOffline,
    /// No answer in time.
    Timeout,
    /// The answer ended before its end.
    CutShort,
    /// The gateway does not know the model.
    UnsupportedModel,
    /// The conversation does not fit the model.
    TooLong,
    /// The request itself was refused.
    BadRequest,
}

impl Reason {
    /// Returns one sentence that says what happened, for logs, the admin API and, where it is theirs, clients.
    pub const fn text(self) -> &'static str {
        match self {
            Self::TokenInvalid => "GitLab does not accept the token",
            Self::TokenExpired => "the token has expired",
            Self::TokenRevoked => "the token was revoked",
            Self::TokenTooNew => "GitLab does not know the new access token yet",
            Self::RenewalRefused => "GitLab refused the refresh token, as it does for minutes when its databases lag",
            Self::RenewalUncertain => {
                "a renewal was interrupted before GitLab's answer arrived, and GitLab refuses the refresh token for now; \
                 it is tried for a while, in case its databases lag"
            }
            Self::RenewalInterrupted => {
                "the renewal was interrupted and GitLab's answer never arrived; it no longer accepts the refresh token"
            }
            Self::LoginNotRenewable => "the login has ended, and GitLab gave no refresh token with it",
            Self::StoreFailed => "the login could not be stored: the data folder cannot be written",
            Self::ScopeMissing => "the token has neither scope `api` nor `ai_features`",
            Self::LoginEnded => "GitLab no longer accepts the OAuth login",
            Self::CodeRefused => "GitLab does not accept the code that the login ended with",
            Self::ClientRefused => "GitLab does not accept the OAuth application's id or secret",
            Self::ScopesRefused => "the OAuth application does not offer the scopes that are needed",
            Self::LoginUnsupported => "the instance does not offer this kind of OAuth login",
            Self::NotEntitled => "GitLab refuses direct access for this user",
            Self::NamespaceMissing => "the user has no default GitLab Duo namespace",
            Self::DuoDisabled => "GitLab Duo is switched off in the namespace that pays for this user",
            Self::InstanceTooOld => "GitLab too old (needs 18.4)",
            Self::MintFailed => "GitLab could not create a gateway token",
            Self::InstanceThrottled => "GitLab limits the rate of calls",
            Self::InstanceError => "GitLab answered with a server error",
            Self::InstanceUnreachable => "GitLab cannot be reached",
            Self::InstanceUnexpected => "GitLab answered something that is not its API",
            Self::GatewayNeedsConsent => "GitLab names an AI gateway on a foreign host",
            Self::GrantRefused => "the AI gateway refused the credential",
            Self::GrantMissing => "the account has no gateway credential at present",
            Self::QuotaExhausted => "the account is out of GitLab Credits",
            Self::QuotaUnknown => "the AI gateway says the account is not entitled, or cannot tell",
            Self::ProxyNotEnabled => "GitLab does not open the model proxies to this namespace",
            Self::GatewayError => "the AI gateway failed",
            Self::GatewayUnreachable => "the AI gateway cannot be reached",
            Self::GatewayThrottled => "the AI gateway limits the rate of calls",
            Self::ProviderRefused => "the model provider refuses the AI gateway's own key, or wants it paid for",
            Self::CertificateUntrusted => "the server's certificate is not signed by an authority that duopool trusts",
            Self::CertificateExpired => "the server's certificate has expired, or is not valid yet",
            Self::CertificateWrongHost => "the server's certificate is for another host name",
            Self::TlsFailed => "no TLS connection can be made",
            Self::ProxyUnreachable => "the proxy cannot be reached",
            Self::ProxyUnauthorized => "the proxy wants a user name and password, or others",
            Self::ProxyRefused => "the proxy does not open a connection to the server",
            Self::HostOffline => "this machine has no network, no DNS or no file descriptors left",
            Self::ProviderThrottled => "the model provider limits the rate of calls",
            Self::ProviderError => "the model provider is overloaded or failed",
            Self::Timeout => "no answer came in time",
            Self::CutShort => "the answer was cut off before its end",
            Self::UnsupportedModel => "the AI gateway does not support the model",
            Self::TooLong => "the conversation is too long for the model",
            Self::BadRequest => "the request was refused",
        }
    }

    /// Returns whether it lasts until a person does something at GitLab or here.
    pub const fn needs_a_person(self) -> bool {
        matches!(
            self,
            Self::TokenInvalid
                | Self::TokenExpired
                | Self::TokenRevoked
                | Self::RenewalInterrupted
                | Self::LoginNotRenewable
                | Self::StoreFailed
                | Self::ScopeMissing
                | Self::LoginEnded
                | Self::CodeRefused
                | Self::ClientRefused
                | Self::ScopesRefused
                | Self::LoginUnsupported
                | Self::NotEntitled
                | Self::NamespaceMissing
                | Self::DuoDisabled
                | Self::InstanceTooOld
                | Self::GatewayNeedsConsent
                | Self::ProxyNotEnabled
        )
    }

    /// Returns whether nobody was reached, so that nothing is known of whoever was to be.
    pub const fn is_of_the_way(self) -> bool {
        matches!(
            self,
            Self::GatewayUnreachable
                | Self::CertificateUntrusted
                | Self::CertificateExpired
                | Self::CertificateWrongHost
                | Self::TlsFailed
                | Self::ProxyUnreachable
                | Self::ProxyUnauthorized
                | Self::ProxyRefused
        )
    }

    /// Returns what a person can do about it, or an empty text where waiting is all.
    pub const fn fix(self) -> &'static str {
        match self {
            Self::TokenInvalid | Self::TokenExpired | Self::TokenRevoked => {
                "create a new personal access token with scope `ai_features` or `api`, then run `duopool login --pat`"
            }
            Self::LoginEnded | Self::RenewalInterrupted | Self::LoginNotRenewable => {
                "log in again with `duopool login`: the account keeps its id, settings and statistics"
            }
            Self::StoreFailed => {
                "make room on the disk or mend the data folder's permissions, and do not stop duopool before this is over"
            }
            Self::ScopeMissing => "create a personal access token with scope `ai_features` or `api`",
            Self::CodeRefused => {
                "start the login again and finish it within ten minutes; the redirect URI must be one that the \
                 application is registered with"
            }
            Self::ClientRefused => {
                "compare the client id with the application's page at GitLab; a confidential application needs its \
                 secret, which changes with `Renew secret`; then log in again"
            }
            Self::ScopesRefused => {
                "tick `ai_features` or `api`, and `read_user`, on the application's page at GitLab, then log in again"
            }
            Self::LoginUnsupported => {
                "log in with the browser or with a personal access token; logins from a device need GitLab 17.2"
            }
            Self::NotEntitled => {
                "ask the group owner or administrator for a GitLab Duo seat, Duo Agent Platform switched on, and direct \
                 connections allowed"
            }
            Self::NamespaceMissing => "choose a default GitLab Duo namespace in the user's GitLab preferences",
            Self::DuoDisabled => "ask the owner of the billing namespace to switch GitLab Duo on",
            Self::InstanceTooOld => "upgrade GitLab to 18.4 or later, with an Enterprise Edition licence",
            Self::MintFailed => {
                "check GitLab Credits and Duo access of the user; if both are fine, GitLab has an outage"
            }
            Self::InstanceUnexpected => {
                "check the instance address, and whether a login page or proxy stands before it"
            }
            Self::GatewayNeedsConsent => "if you trust that gateway, add the account with its address as `gateway_url`",
            Self::GatewayThrottled => "lower `max_concurrency` of the accounts if this lasts",
            Self::ProviderRefused => {
                "on a self-hosted AI gateway, check the provider's key and its billing; on GitLab's own, waiting is all"
            }
            Self::QuotaExhausted => "wait for the monthly reset, or ask the group owner for more GitLab Credits",
            Self::QuotaUnknown => "check the user's Duo entitlement if this lasts",
            Self::ProxyNotEnabled => "ask GitLab support to enable the model proxies for the namespace",
            Self::UnsupportedModel => "list the models with `duopool models`",
            Self::TooLong => "shorten the conversation, or choose a model with a larger context",
            other => other.fix_of_way(),
        }
    }

    /// As [`Reason::fix`], for what stands between this machine and a server.
    const fn fix_of_way(self) -> &'static str {
        match self {
            Self::GatewayUnreachable => "check the gateway address and the network",
            Self::InstanceUnreachable => "check the instance address and the network",
            Self::CertificateUntrusted => {
                "if it is signed by your company's own authority, or by itself, set `ca_file` for this instance in \
                 duopool.toml (GITLAB_CA_FILE for the instance of GITLAB_BASE_URL)"
            }
            Self::CertificateExpired => {
                "check this machine's clock; if it is right, have the server's certificate renewed"
            }
            Self::CertificateWrongHost => {
                "use the host name that the certificate is for, or have this one added to the certificate"
            }
            Self::TlsFailed => "check the address and its port, and what stands between",
            Self::ProxyUnreachable => {
                "check `proxy` of this instance in duopool.toml, or DUOPOOL_PROXY or HTTPS_PROXY, and whether the proxy runs"
            }
            Self::ProxyUnauthorized => {
                "put the user name and password into the proxy's address: http://USER:PASSWORD@HOST:PORT, percent-encoded"
            }
            Self::ProxyRefused => {
                "have the proxy allow CONNECT to this server and port, or name the server in `no_proxy` if it is reached \
                 without; if others pass, check the server's address"
            }
            Self::HostOffline => "check this machine's network and DNS, and its limit of open files",
            // Waiting is all.
            _ => "",
        }
    }
}

impl Reason {
    /// As [`Reason::fix`], where the token came by an OAuth login and nobody ever typed it.
    pub const fn fix_of_login(self) -> &'static str {
        match self {
            Self::TokenInvalid | Self::TokenExpired | Self::TokenRevoked => Self::LoginEnded.fix(),
            Self::ScopeMissing => {
                "tick `api`, or `ai_features` and `read_user`, on the OAuth application's page at GitLab, then log in \
                 again with `duopool login`"
            }
            other => other.fix(),
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

/// A call that went wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// How far it reaches.
    pub scope: Scope,
    /// What happened.
    pub reason: Reason,
    /// How long it blocks its scope.
    pub hold: Hold,
    /// Whether another account could serve the same request.
    pub curable: bool,
}
