//! One cheap check of an account, on an operator's word: the token at GitLab, the credential at the gateway.

use crate::account::minting;
use crate::account::view::{CredentialKind, Finding, TestReport};
use crate::domain::fault::{Fault, Hold, Reason, Scope};
use crate::domain::model::ModelName;
use crate::domain::time::Timestamp;
use crate::gitlab::error::CallError;
use crate::gitlab::gateway::Grant;
use crate::gitlab::identity;
use crate::gitlab::rest::Session;
use crate::store::Credential;

/// Checks the token of `session`, which is of `credential`, and `grant` with a token count on `probe`. Nothing of it is
/// billed.
pub(super) async fn run(
    session: Session<'_>,
    credential: &Credential,
    grant: Option<&Grant>,
    probe: &ModelName,
    now: Timestamp,
) -> TestReport {
    let token = match credential {
        Credential::PersonalAccessToken { .. } => identity::of_token(session, now).await,
        Credential::OAuth { pair, .. } => identity::of_oauth(session, &pair.scopes).await,
    };
    let token = token.map(|_| ());
    let kind = CredentialKind::of(credential);
    let mut findings = vec![finding("token", "GitLab accepts the token", token, kind)];
    if findings[0].ok {
        let counted = match grant {
            Some(grant) => minting::count_tokens(session.upstream, grant, probe).await,
            None => Err(without_call(Reason::GrantMissing)),
        };
        findings.push(finding("gateway", "the AI gateway accepts the credential", counted, kind));
    }
    TestReport { ok: findings.iter().all(|finding| finding.ok), findings }
}

/// Returns the finding on a login that cannot be used for `reason`, without a call.
pub(super) fn unusable(credential: &Credential, reason: Reason) -> TestReport {
    let kind = CredentialKind::of(credential);
    TestReport { ok: false, findings: vec![finding("token", "", Err(without_call(reason)), kind)] }
}

/// Returns the error of a step that is known to fail for `reason`, without a call.
pub(super) fn without_call(reason: Reason) -> CallError {
    let fault = Fault { scope: Scope::Account, reason, hold: Hold::None, curable: true };
    CallError { fault, status: None, note: String::new() }
}

fn finding(check: &str, fine: &str, result: Result<(), CallError>, credential: CredentialKind) -> Finding {
    let (ok, message, fix) = match result {
        Ok(()) => (true, fine.to_owned(), String::new()),
        Err(error) => (false, error.to_string(), credential.fix(error.fault.reason).to_owned()),
    };
    Finding { check: check.to_owned(), ok, message, fix }
}
