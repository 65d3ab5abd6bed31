//! The logins that are under way, and what became of those that were: when one ends, what answers it, how many there may be.
//!
//! Pure: the time comes in as an argument. Speaking to GitLab and writing to the store are the
//! [`actor`](super::actor)'s business.

use std::time::Duration;

use subtle::ConstantTimeEq as _;

use crate::account::login::Given;
use crate::account::login::callback::{Callback, CallbackError, Denied};
use crate::account::login::view::{LoginKind, LoginProblem, LoginStatus, LoginView};
use crate::account::view::TestReport;
use crate::domain::endpoint::InstanceUrl;
use crate::domain::id::AccountId;
use crate::domain::oauth::OAuthApp;
use crate::domain::secret::Secret;
use crate::domain::time::Timestamp;

/// How long a user has to answer. As long as GitLab's own code lives (Doorkeeper's default).
pub(super) const PENDING_MAX: Duration = Duration::from_mins(10);
/// Logins under way at a time: as many as an operator who adds a whole team has open, and no more. Bounds memory.
const OPEN_MAX: usize = 64;
/// What became of a login is told for this long, to as many as there may be open.
const TOLD_FOR: Duration = Duration::from_hours(1);
const TOLD_MAX: usize = OPEN_MAX;

/// What a login asks GitLab for, and what for.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    pub(super) kind: LoginKind,
    pub(super) instance: InstanceUrl,
    pub(super) app: OAuthApp,
    pub(super) scopes: Vec<String>,
    pub(super) given: Given,
}

/// How far a login has come.
#[derive(Debug)]
pub(super) enum Phase {
    /// A browser was sent to GitLab. The address has the state in it.
    Browser { authorize_url: Secret<String>, verifier: Secret<String>, until: Timestamp },
    /// A code waits to be entered at GitLab.
    Device { shown: DeviceCode, until: Timestamp },
    /// GitLab is asked for a pair.
    Exchanging,
    /// There is a pair. The problem, if any, is what stands in the way of the account; it is tried again.
    Checking { problem: Option<LoginProblem> },
    /// The account is there.
    Done { account: AccountId, report: TestReport, at: Timestamp },
    /// There is no account by it.
    Failed { problem: LoginProblem, expired: bool, at: Timestamp },
}

/// What a user of another device needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct DeviceCode {
    pub(super) user_code: Secret<String>,
    pub(super) page: String,
    pub(super) page_with_code: Option<Secret<String>>,
}

impl Phase {
    /// Returns until when the user can answer, if they are waited for.
    fn until(&self) -> Option<Timestamp> {
        match self {
            Self::Browser { until, .. } | Self::Device { until, .. } => Some(*until),
            Self::Exchanging | Self::Checking { .. } | Self::Done { .. } | Self::Failed { .. } => None,
        }
    }

    /// Returns since when nothing more happens.
    fn over_since(&self) -> Option<Timestamp> {
        match self {
            Self::Done { at, .. } | Self::Failed { at, .. } => Some(*at),
            Self::Browser { .. } | Self::Device { .. } | Self::Exchanging | Self::Checking { .. } => None,
        }
    }

    const fn status(&self) -> LoginStatus {
        match self {
            Self::Browser { .. } | Self::Device { .. } => LoginStatus::Pending,
            Self::Exchanging => LoginStatus::Exchanging,
            Self::Checking { .. } => LoginStatus::Checking,
            Self::Done { .. } => LoginStatus::Done,
            Self::Failed { .. } => LoginStatus::Failed,
        }
    }
}

/// One login.
#[derive(Debug)]
pub(super) struct Login {
    pub(super) id: String,
    pub(super) asked: Asked,
    pub(super) begun_at: Timestamp,
    pub(super) phase: Phase,
    /// Kept after its use, so that a second use is told from a stranger's.
    pub(super) state: Option<Secret<String>>,
}

/// Which login an answer is for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Whose<'a> {
    /// That with its state, whichever that is.
    Any,
    /// This one, or none.
    Of(&'a str),
}

/// An answer that was taken; the login's state is used up.
#[derive(Debug)]
pub(super) enum Redeemed {
    /// A code to be exchanged.
    Code { id: String, code: Secret<String>, verifier: Secret<String> },
    /// The login has failed.
    Denied { id: String },
}

/// There are as many logins under way as there may be.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Full;

/// All logins, in the order in which they began.
#[derive(Debug, Default)]
pub(super) struct Logins(Vec<Login>);

impl Logins {
    /// Adds a login.
    ///
    /// # Errors
    /// [`Full`] if as many are open as may be.
    pub(super) fn begin(&mut self, login: Login, now: Timestamp) -> Result<(), Full> {
        self.sweep(now);
        let open = self.0.iter().filter(|login| login.phase.over_since().is_none()).count();
        if open >= OPEN_MAX {
            return Err(Full);
        }
        self.0.push(login);
        Ok(())
    }

    /// Adds a login that a former process has left, however many there are.
    pub(super) fn restore(&mut self, login: Login) {
        self.0.push(login);
    }

    /// Ends logins that nobody answered, and forgets those that were over long ago. Returns the ids of those that ended.
    pub(super) fn sweep(&mut self, now: Timestamp) -> Vec<String> {
        let late = |login: &&mut Login| login.phase.until().is_some_and(|until| until <= now);
        let ended = self.0.iter_mut().filter(late).map(|login| {
            let message = "nobody answered the sign-in in time".to_owned();
            let problem = LoginProblem { reason: None, message, fix: String::new() };
            login.phase = Phase::Failed { problem, expired: true, at: now };
            login.id.clone()
        });
        let ended = ended.collect();
        // A clock that was set back must not keep them for ever; then their number bounds them.
        self.0.retain(|login| login.phase.over_since().is_none_or(|at| now.since(at) < TOLD_FOR));
        let mut too_many =
            self.0.iter().filter(|login| login.phase.over_since().is_some()).count().saturating_sub(TOLD_MAX);
        self.0.retain(|login| {
            let goes = too_many > 0 && login.phase.over_since().is_some();
            too_many -= usize::from(goes);
            !goes
        });
        ended
    }

    /// Returns a login.
    pub(super) fn get(&self, id: &str) -> Option<&Login> {
        self.0.iter().find(|login| login.id == id)
    }

    /// Sets how far a login has come; one that is forgotten stays so.
    pub(super) fn set(&mut self, id: &str, phase: Phase) {
        if let Some(login) = self.0.iter_mut().find(|login| login.id == id) {
            login.phase = phase;
        }
    }

    /// Notes what GitLab granted.
    pub(super) fn granted(&mut self, id: &str, scopes: &[String]) {
        if let Some(login) = self.0.iter_mut().find(|login| login.id == id) {
            login.asked.scopes = scopes.to_vec();
        }
    }

    /// Returns whether a login waits for its user.
    pub(super) fn is_pending(&self, id: &str) -> bool {
        self.get(id).is_some_and(|login| login.phase.until().is_some())
    }

    /// Takes an answer, once: from then on its state is used up, whatever comes of it.
    pub(super) fn redeem(
        &mut self,
        whose: Whose<'_>,
        callback: Callback,
        now: Timestamp,
    ) -> Result<Redeemed, CallbackError> {
        self.sweep(now);
        // All are compared, each in constant time: how long it takes tells nothing about a state.
        let matches = |login: &&mut Login| {
            let state =
                login.state.as_ref().map(|state| state.expose().as_bytes().ct_eq(callback.state.expose().as_bytes()));
            state.is_some_and(bool::from)
        };
        let found = self.0.iter_mut().filter(matches).last();
        let login = match (whose, found) {
            (Whose::Any, Some(login)) => login,
            (Whose::Of(id), Some(login)) if login.id == id => login,
            (Whose::Any, None) => return Err(CallbackError::UnknownState),
            (Whose::Of(_), _) => return Err(CallbackError::WrongState),
        };
        match &login.phase {
            Phase::Browser { verifier, .. } => {
                let (id, verifier) = (login.id.clone(), verifier.clone());
                match callback.outcome {
                    Ok(code) => {
                        login.phase = Phase::Exchanging;
                        Ok(Redeemed::Code { id, code, verifier })
                    }
                    Err(denied) => {
                        login.phase = Phase::Failed { problem: denial(&denied), expired: false, at: now };
                        Ok(Redeemed::Denied { id })
                    }
                }
            }
            Phase::Failed { expired: true, .. } => Err(CallbackError::Expired),
            Phase::Device { .. } => Err(CallbackError::NotABrowser),
            Phase::Exchanging | Phase::Checking { .. } | Phase::Done { .. } | Phase::Failed { .. } => {
                Err(CallbackError::Used)
            }
        }
    }

    /// Returns what people are shown of a login.
    pub(super) fn view(&self, id: &str) -> Option<LoginView> {
        self.get(id).map(Login::view)
    }

    /// Returns what people are shown of all.
    pub(super) fn views(&self) -> Vec<LoginView> {
        self.0.iter().map(Login::view).collect()
    }
}

impl Login {
    fn view(&self) -> LoginView {
        let mut view = LoginView {
            id: self.id.clone(),
            kind: self.asked.kind,
            status: self.phase.status(),
            base_url: self.asked.instance.to_string(),
            scopes: self.asked.scopes.clone(),
            authorize_url: None,
            redirect_uri: self.asked.app.redirect_uri.clone(),
            user_code: None,
            verification_uri: None,
            verification_uri_complete: None,
            expires_at: self.phase.until().map(|until| until.to_string()),
            account: None,
            report: None,
            problem: None,
            begun_at: self.begun_at.to_string(),
        };
        match &self.phase {
            Phase::Browser { authorize_url, .. } => view.authorize_url = Some(authorize_url.expose().clone()),
            Phase::Device { shown, .. } => {
                view.user_code = Some(shown.user_code.expose().clone());
                view.verification_uri = Some(shown.page.clone());
                view.verification_uri_complete = shown.page_with_code.as_ref().map(|page| page.expose().clone());
            }
            Phase::Exchanging => {}
            Phase::Checking { problem } => view.problem.clone_from(problem),
            Phase::Done { account, report, .. } => {
                view.account = Some(account.to_string());
                view.report = Some(report.clone());
            }
            Phase::Failed { problem, .. } => view.problem = Some(problem.clone()),
        }
        view
    }
}

/// Says what GitLab said instead of giving a code. Source: RFC 6749, section 4.1.2.1.
fn denial(denied: &Denied) -> LoginProblem {
    let (message, fix) = match denied.error.as_str() {
        "access_denied" => ("the sign-in was declined at GitLab".to_owned(), ""),
        "invalid_scope" => (
            "the OAuth application does not offer the scopes that are needed".to_owned(),
            "tick `ai_features` or `api`, and `read_user`, on the application's page at GitLab",
        ),
        "unauthorized_client" | "invalid_client" => (
            "GitLab does not accept the OAuth application".to_owned(),
            "compare the client id with the application's page at GitLab",
        ),
        other => (format!("GitLab refused the sign-in: {other}"), ""),
    };
    let said = if denied.description.is_empty() { String::new() } else { format!(" ({})", denied.description) };
    LoginProblem { reason: None, message: message + &said, fix: fix.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);

    fn browser(id: &str, state: &str, now: Timestamp) -> Login {
        let app = OAuthApp {
            client_id: "app".to_owned(),
            client_secret: None,
            redirect_uri: Some("http://127.0.0.1:17171/callback".to_owned()),
        };
        Login {
            id: id.to_owned(),
            asked: Asked {
                kind: LoginKind::Browser,
                instance: InstanceUrl::gitlab_com(),
                app,
                scopes: vec!["api".to_owned()],
                given: Given::default(),
            },
            begun_at: now,
            phase: Phase::Browser {
                authorize_url: Secret::new("https://gitlab.com/oauth/authorize".to_owned()),
                verifier: Secret::new(format!("verifier of {id}")),
                until: now + PENDING_MAX,
            },
            state: Some(Secret::new(state.to_owned())),
        }
    }

    fn answer(query: &str) -> Callback {
        Callback::from_query(query).unwrap()
    }

    fn logins() -> Logins {
        let mut logins = Logins::default();
        logins.begin(browser("a", "state-a", NOW), NOW).unwrap();
        logins.begin(browser("b", "state-b", NOW), NOW).unwrap();
        logins
    }

    #[test]
    fn an_answer_finds_its_login_by_the_state_and_is_taken_once() {
        let mut logins = logins();
        let redeemed = logins.redeem(Whose::Any, answer("state=state-b&code=c"), NOW).unwrap();
        let Redeemed::Code { id, code, verifier } = redeemed else { panic!("{redeemed:?}") };
        assert_eq!((id.as_str(), code.expose().as_str(), verifier.expose().as_str()), ("b", "c", "verifier of b"));
        assert_eq!(logins.view("b").unwrap().status, LoginStatus::Exchanging);
        assert_eq!(logins.view("a").unwrap().status, LoginStatus::Pending);
        for whose in [Whose::Any, Whose::Of("b")] {
            assert_eq!(logins.redeem(whose, answer("state=state-b&code=d"), NOW).unwrap_err(), CallbackError::Used);
        }
    }

    #[test]
    fn a_strange_state_is_refused_and_uses_nothing_up() {
        let mut logins = logins();
        let strange = |whose, logins: &mut Logins, state: &str| {
            logins.redeem(whose, answer(&format!("state={state}&code=c")), NOW).unwrap_err()
        };
        assert_eq!(strange(Whose::Any, &mut logins, "state-c"), CallbackError::UnknownState);
        assert_eq!(strange(Whose::Any, &mut logins, "state-"), CallbackError::UnknownState);
        // Another login's state is as wrong as a made-up one, and does not end that login either.
        assert_eq!(strange(Whose::Of("a"), &mut logins, "state-b"), CallbackError::WrongState);
        assert_eq!(strange(Whose::Of("a"), &mut logins, "nonsense"), CallbackError::WrongState);
        assert!(logins.is_pending("a") && logins.is_pending("b"));
    }

    #[test]
    fn a_login_ends_when_nobody_answers_in_time() {
        let mut logins = logins();
        let late = NOW + PENDING_MAX;
        assert!(logins.redeem(Whose::Any, answer("state=state-a&code=c"), late - Duration::from_millis(1)).is_ok());
        let refused = logins.redeem(Whose::Any, answer("state=state-b&code=c"), late).unwrap_err();
        assert_eq!(refused, CallbackError::Expired);
        let view = logins.view("b").unwrap();
        assert_eq!((view.status, view.authorize_url), (LoginStatus::Failed, None));
        assert!(view.problem.unwrap().message.contains("in time"));
        logins.sweep(late + TOLD_FOR);
        assert!(logins.view("b").is_none() && logins.view("a").is_some());
    }

    #[test]
    fn an_answer_without_a_code_ends_the_login_and_says_why() {
        for (query, words) in [
            (
                "state=state-a&error=access_denied&error_description=The+owner+denied",
                "declined at GitLab (The owner denied)",
            ),
            ("state=state-a&error=invalid_scope", "does not offer the scopes"),
            ("state=state-a&error=server_error", "GitLab refused the sign-in: server_error"),
            // Whoever says both is not believed about the code.
            ("state=state-a&error=access_denied&code=c0d3", "declined"),
        ] {
            let mut logins = logins();
            assert!(matches!(logins.redeem(Whose::Any, answer(query), NOW), Ok(Redeemed::Denied { .. })), "{query}");
            let problem = logins.view("a").unwrap().problem.unwrap();
            assert!(problem.message.contains(words), "{query}: {problem:?}");
        }
    }

    #[test]
    fn open_logins_and_those_that_are_over_are_bounded() {
        let mut logins = Logins::default();
        for n in 0..OPEN_MAX {
            logins.begin(browser(&n.to_string(), &format!("s{n}"), NOW), NOW).unwrap();
        }
        assert_eq!(logins.begin(browser("more", "more", NOW), NOW), Err(Full));
        // All of them expire: there is room again, and those that are told are the last ones.
        let later = NOW + PENDING_MAX;
        for n in 0..OPEN_MAX {
            logins.begin(browser(&format!("next {n}"), &format!("t{n}"), later), later).unwrap();
        }
        logins.sweep(later + PENDING_MAX);
        assert_eq!(logins.views().len(), TOLD_MAX);
        assert!(logins.view("0").is_none() && logins.view(&format!("next {}", OPEN_MAX - 1)).is_some());
    }
}
