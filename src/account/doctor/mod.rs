//! A full examination of an account, or of a token that is none yet: every step on the way to a model, in the order in
//! which one needs the other, each with what was found and what a person can do about it.
//!
//! What is wrong is told in the words of the account states, from the one table of faults. Nothing here is billed, and
//! nothing changes an account: whoever owns it asks for its new gateway credential, and hands over what came of that.

mod examination;
pub(crate) mod view;

pub(crate) use examination::{Access, Examination, Offer};
use view::{Finding, Verdict};

use crate::account::view::CredentialKind;
use crate::domain::fault::Reason;
use crate::gitlab::error::CallError;

/// What is looked at, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Check {
    Instance,
    Tls,
    Clock,
    Token,
    Scopes,
    Expiry,
    DuoAccess,
    Namespace,
    DirectAccess,
    Gateway,
    Models,
    Credit,
    Blocks,
}

impl Check {
    /// Those that every examination has a finding on.
    const ALL: [Self; 12] = [
        Self::Instance,
        Self::Tls,
        Self::Clock,
        Self::Token,
        Self::Scopes,
        Self::Expiry,
        Self::DuoAccess,
        Self::Namespace,
        Self::DirectAccess,
        Self::Gateway,
        Self::Models,
        Self::Credit,
    ];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Instance => "instance",
            Self::Tls => "tls",
            Self::Clock => "clock",
            Self::Token => "token",
            Self::Scopes => "scopes",
            Self::Expiry => "expiry",
            Self::DuoAccess => "duo access",
            Self::Namespace => "namespace",
            Self::DirectAccess => "direct access",
            Self::Gateway => "gateway",
            Self::Models => "models",
            Self::Credit => "credit",
            Self::Blocks => "blocks",
        }
    }

    /// Returns where on the way to a gateway credential a fault lies.
    const fn of(reason: Reason) -> Self {
        match reason {
            Reason::InstanceUnreachable | Reason::InstanceUnexpected | Reason::HostOffline => Self::Instance,
            Reason::TlsFailed
            | Reason::CertificateUntrusted
            | Reason::CertificateExpired
            | Reason::CertificateWrongHost => Self::Tls,
            Reason::TokenInvalid
            | Reason::TokenRevoked
            | Reason::TokenTooNew
            | Reason::LoginEnded
            | Reason::RenewalInterrupted
            | Reason::RenewalRefused
            | Reason::RenewalUncertain
            | Reason::StoreFailed => Self::Token,
            Reason::ScopeMissing => Self::Scopes,
            Reason::TokenExpired | Reason::LoginNotRenewable => Self::Expiry,
            Reason::NotEntitled | Reason::DuoDisabled => Self::DuoAccess,
            Reason::NamespaceMissing => Self::Namespace,
            Reason::GatewayNeedsConsent => Self::Gateway,
            Reason::QuotaExhausted | Reason::QuotaUnknown => Self::Credit,
            _ => Self::DirectAccess,
        }
    }
}

/// Findings as they are made.
#[derive(Debug)]
pub(super) struct Findings {
    kind: CredentialKind,
    made: Vec<(Check, Finding)>,
}

impl Findings {
    pub(super) const fn new(kind: CredentialKind) -> Self {
        Self { kind, made: Vec::new() }
    }

    pub(super) fn fine(&mut self, check: Check, message: impl Into<String>) {
        self.add(check, Verdict::Fine, message.into(), "", None);
    }

    pub(super) fn warn(&mut self, check: Check, message: impl Into<String>, fix: &str) {
        self.add(check, Verdict::Warning, message.into(), fix, None);
    }

    /// Notes a fault where it lies, unless `at` knows better.
    pub(super) fn fault(&mut self, at: Option<Check>, error: &CallError) {
        let reason = error.fault.reason;
        let (check, fix) = (at.unwrap_or(Check::of(reason)), self.kind.fix(reason));
        // Told once, at the first step that met it. A step that passed before, such as a server that answers and is no GitLab,
        // has not passed.
        if !self.made.iter().any(|(made, finding)| *made == check && finding.verdict == Verdict::Failed) {
            self.made.retain(|(made, _)| *made != check);
            self.add(check, Verdict::Failed, error.to_string(), fix, Some(reason));
        }
    }

    /// As [`Self::fault`], where it limits the account and does not stop it.
    pub(super) fn doubt(&mut self, check: Check, error: &CallError) {
        let reason = error.fault.reason;
        self.add(check, Verdict::Warning, error.to_string(), self.kind.fix(reason), Some(reason));
    }

    pub(super) fn skip(&mut self, check: Check, message: impl Into<String>) {
        self.add(check, Verdict::Skipped, message.into(), "", None);
    }

    pub(super) fn failed(&self) -> bool {
        self.made.iter().any(|(_, finding)| finding.verdict == Verdict::Failed)
    }

    /// Returns whether `reason` has been told already.
    pub(super) fn tells(&self, reason: Reason) -> bool {
        self.made.iter().any(|(_, finding)| finding.reason == Some(reason))
    }

    fn has(&self, check: Check) -> bool {
        self.made.iter().any(|(made, _)| *made == check)
    }

    pub(super) fn add(&mut self, check: Check, verdict: Verdict, message: String, fix: &str, reason: Option<Reason>) {
        let check_name = check.as_str().to_owned();
        self.made.push((check, Finding { check: check_name, verdict, message, fix: fix.to_owned(), reason }));
    }

    /// Returns all of them in order, with a word on each check that was not come to.
    pub(super) fn into_vec(mut self) -> Vec<Finding> {
        let failed = self.made.iter().find(|(_, finding)| finding.verdict == Verdict::Failed);
        let why = failed.map(|(check, _)| format!("not looked at, because of `{}`", check.as_str()));
        for check in Check::ALL {
            if !self.has(check) {
                self.skip(check, why.clone().unwrap_or_else(|| "not looked at".to_owned()));
            }
        }
        self.made.sort_by_key(|(check, _)| *check);
        self.made.into_iter().map(|(_, finding)| finding).collect()
    }
}
