//! The steps of an examination.

use std::time::Duration;

use super::view::{Diagnosis, Verdict};
use super::{Check, Findings};
use crate::account::minting;
use crate::account::view::{CredentialKind, Trouble};
use crate::domain::catalogue::Catalogue;
use crate::domain::endpoint::InstanceUrl;
use crate::domain::fault::Reason;
use crate::domain::model::ModelName;
use crate::domain::time::Timestamp;
use crate::gitlab::error::{Call, CallError, of_send_error};
use crate::gitlab::gateway::Grant;
use crate::gitlab::identity::{self, Identity};
use crate::gitlab::models::{self, Available};
use crate::gitlab::rest::Session;
use crate::gitlab::upstream::{Certificate, Upstream};
use crate::store::Credential;

/// A clock that is off by less is right: `Date` has whole seconds, and the answer takes its time.
const SKEW_FINE: Duration = Duration::from_secs(30);
/// Gateway credentials live an hour and are renewed some minutes before; a clock that is off by more uses dead ones, or
/// throws good ones away.
const SKEW_MAX: Duration = Duration::from_mins(5);
/// A token that ends sooner is worth a word.
const EXPIRY_NEAR: Duration = Duration::from_hours(14 * 24);
/// Models that are told by name; of more, the number.
const NAMES_MAX: usize = 6;

/// Certificates are renewed some weeks before their end.
const CERTIFICATE_NEAR: Duration = Duration::from_hours(7 * 24);
/// Answers 401 without a token, which is all that is wanted of it.
/// Source: GitLab's REST API, "Version API".
const ANYWHERE: &str = "/api/v4/version";

const CERTIFICATE_FIX: &str = "have whoever runs that GitLab renew its certificate";
const SKEW_FIX: &str = "set this machine's clock, for instance with `timedatectl set-ntp true`";
const RENEW_FIX: &str = "create a new personal access token before, then run `duopool login --pat`";

/// How far an account came on the way to a model.
#[derive(Debug)]
pub(crate) struct Access<'a> {
    /// What to send with.
    pub(crate) grant: &'a Grant,
    /// Who pays, as GitLab says.
    pub(crate) root_namespace_id: Option<&'a str>,
}

/// What an account may ask for by GitLab's word, and what `gitlab-duo` means.
#[derive(Debug)]
pub(crate) struct Offer<'a> {
    pub(crate) catalogue: &'a Catalogue,
    /// What an operator set, where GitLab names nothing.
    pub(crate) configured: Option<&'a ModelName>,
    /// The model that is cheap to count tokens with.
    pub(crate) probe: &'a ModelName,
}

/// An examination under way: first [`Self::begin`], and where that says so, [`Self::go_on`].
#[derive(Debug)]
pub(crate) struct Examination {
    findings: Findings,
    name: String,
}

impl Examination {
    /// Looks at everything up to the token. Returns whether there is reason to go on.
    pub(crate) async fn begin(session: Session<'_>, credential: &Credential, now: Timestamp) -> (Self, bool) {
        let kind = CredentialKind::of(credential);
        let mut exam = Self { findings: Findings::new(kind), name: session.instance.to_string() };
        let reached = exam.reach(session.upstream, session.instance, now).await;
        let go_on = reached && exam.token(session, credential, now).await;
        (exam, go_on)
    }

    async fn reach(&mut self, upstream: &Upstream, instance: &InstanceUrl, now: Timestamp) -> bool {
        let Ok(url) = format!("{instance}{ANYWHERE}").parse() else { return false };
        let probe = upstream.probe(&url).await;
        let by = probe.proxy.as_ref().map(|proxy| format!(" through the proxy {proxy}")).unwrap_or_default();
        if let Some(error) = &probe.error {
            let error = of_send_error(Call::Identity, error);
            let at = Check::of(error.fault.reason);
            if at == Check::Tls {
                self.findings.fine(Check::Instance, format!("{instance} takes connections{by}"));
            }
            // Whatever else it is, nobody is there who can be spoken to.
            self.findings.fault(Some(if at == Check::Tls { at } else { Check::Instance }), &error);
            return false;
        }
        let took = (probe.connected.unwrap_or_default() + probe.secured.unwrap_or_default()).as_millis();
        self.findings.fine(Check::Instance, format!("{instance} answers{by}, in {took} ms"));
        match &probe.certificate {
            Some(certificate) => self.certificate(certificate, now),
            None => self.findings.skip(Check::Tls, "not used on this machine itself"),
        }
        self.clock(probe.date, now);
        true
    }

    /// Tells of a certificate that is trusted.
    fn certificate(&mut self, certificate: &Certificate, now: Timestamp) {
        let signed = format!("the certificate is trusted; it was signed by {}", certificate.issuer);
        match certificate.not_after {
            Some(end) if end.since(now) < CERTIFICATE_NEAR => {
                let told = format!("{signed}, and ends soon, at {end}");
                self.findings.warn(Check::Tls, told, CERTIFICATE_FIX);
            }
            Some(end) => self.findings.fine(Check::Tls, format!("{signed}, and holds until {end}")),
            None => self.findings.fine(Check::Tls, signed),
        }
    }

    fn clock(&mut self, theirs: Option<Timestamp>, ours: Timestamp) {
        let Some(theirs) = theirs else {
            self.findings.skip(Check::Clock, "GitLab did not say what time it is");
            return;
        };
        let (off, word) = if ours > theirs { (ours.since(theirs), "ahead of") } else { (theirs.since(ours), "behind") };
        let told = format!("this machine's clock is {} {word} GitLab's", spelled(off));
        if off < SKEW_FINE {
            self.findings.fine(Check::Clock, "this machine's clock agrees with GitLab's");
        } else if off < SKEW_MAX {
            self.findings.warn(Check::Clock, told, SKEW_FIX);
        } else {
            self.findings.add(Check::Clock, Verdict::Failed, told, SKEW_FIX, None);
        }
    }

    async fn token(&mut self, session: Session<'_>, credential: &Credential, now: Timestamp) -> bool {
        let known = match credential {
            Credential::PersonalAccessToken { .. } => identity::of_token(session, now).await,
            Credential::OAuth { pair, .. } => identity::of_oauth(session, &pair.scopes).await,
        };
        let identity = match known {
            Ok(identity) => identity,
            Err(error) => {
                if matches!(error.fault.reason, Reason::ScopeMissing | Reason::TokenExpired) {
                    self.findings.fine(Check::Token, "GitLab knows the token");
                }
                self.findings.fault(None, &error);
                return false;
            }
        };
        self.name = format!("{} on {}", identity.username, session.instance);
        let whose = format!("GitLab accepts the token; it is {}'s (user {})", identity.username, identity.user_id);
        self.findings.fine(Check::Token, whose);
        self.findings.fine(Check::Scopes, identity.scopes.join(", "));
        self.expiry(&identity, credential, now);
        true
    }

    fn expiry(&mut self, identity: &Identity, credential: &Credential, now: Timestamp) {
        if let Credential::OAuth { pair, .. } = credential {
            let told = format!("the access token ends at {}, and is renewed before", pair.expires_at);
            self.findings.fine(Check::Expiry, told);
            return;
        }
        let Some(day) = &identity.expires_on else {
            self.findings.fine(Check::Expiry, "the token has no end");
            return;
        };
        let left = Timestamp::from_date(day).map_or(Duration::ZERO, |end| end.since(now));
        let told = format!("the token ends on {day}, in {} days", left.as_secs() / (24 * 60 * 60));
        if left < EXPIRY_NEAR {
            self.findings.warn(Check::Expiry, told, RENEW_FIX);
        } else {
            self.findings.fine(Check::Expiry, told);
        }
    }

    /// Looks at everything behind the token: `access` is what the wish for a new gateway credential came to.
    pub(crate) async fn go_on(
        &mut self,
        session: Session<'_>,
        access: Result<Access<'_>, &CallError>,
        offer: &Offer<'_>,
        now: Timestamp,
    ) {
        let root = access.as_ref().ok().and_then(|access| access.root_namespace_id);
        let listed = models::discover(session, root).await;
        match access {
            Ok(access) => {
                self.direct_access(&access, now);
                self.gateway(session.upstream, access.grant, offer.probe).await;
            }
            Err(error) => self.findings.fault(None, error),
        }
        self.models(listed, offer);
    }

    fn direct_access(&mut self, access: &Access<'_>, now: Timestamp) {
        self.findings.fine(Check::DuoAccess, "GitLab opens its models to this user");
        let paid = access.root_namespace_id.map_or_else(
            || "GitLab names no namespace that pays; the instance does".to_owned(),
            |id| format!("root namespace {id} pays"),
        );
        self.findings.fine(Check::Namespace, paid);
        let left = access.grant.expires_at.since(now).as_secs() / 60;
        self.findings.fine(Check::DirectAccess, format!("GitLab handed out a gateway credential, good for {left} min"));
    }

    /// Counts the tokens of a short text, which is not billed, and refused where there is no credit.
    async fn gateway(&mut self, upstream: &Upstream, grant: &Grant, probe: &ModelName) {
        let gateway = &grant.gateway;
        let fine = format!("{gateway} accepts the credential");
        match minting::count_tokens(upstream, grant, probe).await {
            Ok(()) => {
                self.findings.fine(Check::Gateway, fine);
                let told = "there is credit for Claude models; for GPT models that cannot be asked without cost";
                self.findings.fine(Check::Credit, told);
            }
            Err(error) if Check::of(error.fault.reason) == Check::Credit => {
                self.findings.fine(Check::Gateway, fine);
                self.findings.fault(None, &error);
            }
            Err(error) => self.findings.fault(Some(Check::Gateway), &error),
        }
    }

    fn models(&mut self, listed: Result<Available, CallError>, offer: &Offer<'_>) {
        let available = match listed {
            Ok(available) => available,
            // GitLab's list is a hint: without it, duopool's own catalogue serves.
            Err(error) => return self.findings.doubt(Check::Models, &error),
        };
        let named = |reference: &String| offer.catalogue.by_gitlab_ref(reference).map(|entry| entry.name.as_str());
        let routable: Vec<_> = available.selectable.iter().filter_map(named).collect();
        let own = [&available.pinned, &available.default].into_iter().flatten().find_map(named);
        let own = own.or(offer.configured.map(ModelName::as_str)).unwrap_or(offer.catalogue.default_model().as_str());
        let others = routable.len().saturating_sub(NAMES_MAX);
        let more = if others > 0 { format!(" and {others} more") } else { String::new() };
        let shown = routable.iter().take(NAMES_MAX).copied().collect::<Vec<_>>().join(", ");
        let offered =
            if routable.is_empty() { "GitLab's list names none".to_owned() } else { format!("{shown}{more}") };
        self.findings.fine(Check::Models, format!("`gitlab-duo` means {own}; offered: {offered}"));
    }

    /// Looks at the way to GitLab alone: the login cannot be used at all, for a reason that is known without a call.
    pub(crate) async fn unusable(
        credential: &Credential,
        (upstream, instance): (&Upstream, &InstanceUrl),
        error: &CallError,
        now: Timestamp,
    ) -> Self {
        let findings = Findings::new(CredentialKind::of(credential));
        let mut exam = Self { findings, name: instance.to_string() };
        exam.reach(upstream, instance, now).await;
        exam.findings.fault(None, error);
        exam
    }

    /// Returns what was found, with what keeps the account from something at present.
    pub(crate) fn end(mut self, account: Option<(String, String)>, blocks: &[Trouble]) -> Diagnosis {
        for block in blocks {
            if self.findings.tells(block.reason) {
                continue;
            }
            let of = if block.subject.is_empty() { String::new() } else { format!("{}: ", block.subject) };
            let message = format!("{of}{} (tried again {})", block.message, block.until);
            let stuck = block.reason.needs_a_person();
            let verdict = if stuck { Verdict::Failed } else { Verdict::Warning };
            self.findings.add(Check::Blocks, verdict, message, &block.fix, Some(block.reason));
        }
        let (account, name) = account.map_or((None, self.name), |(id, name)| (Some(id), name));
        Diagnosis { account, name, ok: !self.findings.failed(), findings: self.findings.into_vec() }
    }
}

/// Spells a time for people, to the largest unit that fits.
fn spelled(time: Duration) -> String {
    match time.as_secs() {
        secs @ 0..=119 => format!("{secs} s"),
        secs @ 120..=7_199 => format!("{} min", secs / 60),
        secs @ 7_200..=172_799 => format!("{} h", secs / 3_600),
        secs => format!("{} days", secs / 86_400),
    }
}
