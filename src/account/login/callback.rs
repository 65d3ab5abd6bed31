//! What GitLab sends a browser back with, taken apart.
//!
//! Pure. The text is a stranger's until its state has been found to be ours: nothing of it is believed, and what is shown
//! of it is short and printable. Whether the state is ours is the [`table`](super::table)'s business.

use url::Url;

use crate::domain::secret::Secret;

/// Codes and states have some hundred characters; a text that is longer is none of them.
const TEXT_CHARS_MAX: usize = 4_096;
/// How much of GitLab's own words is shown.
const SHOWN_CHARS_MAX: usize = 200;

/// The answer that a browser brings.
#[derive(Debug)]
pub(crate) struct Callback {
    /// Which login it answers.
    pub(super) state: Secret<String>,
    /// The code, or why there is none.
    pub(super) outcome: Result<Secret<String>, Denied>,
}

/// GitLab, or the user, said no.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Denied {
    /// A word such as `access_denied`.
    pub(super) error: String,
    /// GitLab's own words.
    pub(super) description: String,
}

/// Why an answer is not taken. Nothing was changed by it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CallbackError {
    /// It is no address at all.
    #[error("this is no address: copy the whole address that the browser was sent to; it begins with {0}")]
    NotAUrl(String),
    /// It is an address of somebody else.
    #[error("this is not an address that this sign-in was sent back to: that begins with {0}")]
    Foreign(String),
    /// A part is missing.
    #[error("the address is not complete: it has no `{0}`")]
    Missing(&'static str),
    /// A part is there twice, and it is not known which is meant.
    #[error("the address has `{0}` more than once")]
    Twice(&'static str),
    /// A part is longer than it can be.
    #[error("the address has a `{0}` that is too long")]
    TooLong(&'static str),
    /// No login has this state.
    #[error("no sign-in has this state: it was begun at another server, or is long over")]
    UnknownState,
    /// The login that is meant has another state.
    #[error("the state is not that of this sign-in: the address belongs to another one")]
    WrongState,
    /// It was answered before.
    #[error("this sign-in was answered already: each address works once")]
    Used,
    /// It came too late.
    #[error("this sign-in has expired: it must be finished within ten minutes")]
    Expired,
    /// It is a login with a device code.
    #[error("this sign-in has a code to be entered at GitLab, and takes no address")]
    NotABrowser,
    /// There is none of that id.
    #[error("there is no such sign-in")]
    NoSuchLogin,
    /// A part of the program that is needed for it has stopped.
    #[error("the server is stopping, or a part of it failed")]
    Gone,
}

impl Callback {
    /// Takes the query of an address apart.
    pub(crate) fn from_query(query: &str) -> Result<Self, CallbackError> {
        let mut parts = Parts::default();
        for (name, text) in url::form_urlencoded::parse(query.as_bytes()) {
            let (name, slot) = match &*name {
                "state" => ("state", &mut parts.state),
                "code" => ("code", &mut parts.code),
                "error" => ("error", &mut parts.error),
                "error_description" => ("error_description", &mut parts.description),
                _ => continue,
            };
            if text.len() > TEXT_CHARS_MAX {
                return Err(CallbackError::TooLong(name));
            }
            if slot.replace(text.into_owned()).is_some() {
                return Err(CallbackError::Twice(name));
            }
        }
        let full = |text: Option<String>| text.filter(|text| !text.is_empty());
        let state = Secret::new(full(parts.state).ok_or(CallbackError::Missing("state"))?);
        let code = full(parts.code).map(Secret::new);
        let shown = |text: String| {
            let struck = [Some(&state), code.as_ref()].into_iter().flatten();
            let clean = struck.fold(text.into_bytes(), |text, secret| secret.struck_from(&text).into_owned());
            printable(&String::from_utf8_lossy(&clean))
        };
        let outcome = match full(parts.error) {
            Some(error) => {
                Err(Denied { error: shown(error), description: shown(parts.description.unwrap_or_default()) })
            }
            None => Ok(code.ok_or(CallbackError::Missing("code"))?),
        };
        Ok(Self { state, outcome })
    }

    /// Takes a whole address apart, which must be the one at `redirect_uri`.
    pub(super) fn from_url(text: &str, redirect_uri: &str) -> Result<Self, CallbackError> {
        let wanted = || redirect_uri.to_owned();
        let url = Url::parse(text.trim()).map_err(|_| CallbackError::NotAUrl(wanted()))?;
        let own = Url::parse(redirect_uri).map_err(|_| CallbackError::NotAUrl(wanted()))?;
        let place = |url: &Url| {
            let host = url.host_str().map(str::to_ascii_lowercase);
            (url.scheme().to_owned(), host, url.port_or_known_default(), url.path().to_owned())
        };
        let plain = url.username().is_empty() && url.password().is_none();
        if place(&url) != place(&own) || !plain {
            return Err(CallbackError::Foreign(wanted()));
        }
        Self::from_query(url.query().unwrap_or_default())
    }
}

#[derive(Default)]
struct Parts {
    state: Option<String>,
    code: Option<String>,
    error: Option<String>,
    description: Option<String>,
}

/// Returns the beginning of a stranger's text in a form that may be shown.
fn printable(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(SHOWN_CHARS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: &str = "http://127.0.0.1:17171/callback";

    #[test]
    fn an_answer_has_a_state_and_either_a_code_or_an_error() {
        let fine = Callback::from_query("code=c%2B1&state=s&session_state=x").unwrap();
        assert_eq!((fine.state.expose().as_str(), fine.outcome.unwrap().expose().as_str()), ("s", "c+1"));
        let denied =
            Callback::from_query("error=access_denied&error_description=No%0A+thanks+st4te+c0de&state=st4te&code=c0de")
                .unwrap();
        let expected = Denied { error: "access_denied".to_owned(), description: "No thanks *** ***".to_owned() };
        assert_eq!(denied.outcome.unwrap_err(), expected);
        for (query, why) in [
            ("", CallbackError::Missing("state")),
            ("code=c", CallbackError::Missing("state")),
            ("code=c&state=", CallbackError::Missing("state")),
            ("state=s", CallbackError::Missing("code")),
            ("state=s&code=", CallbackError::Missing("code")),
            ("state=s&code=a&code=b", CallbackError::Twice("code")),
            ("state=s&state=t&code=a", CallbackError::Twice("state")),
        ] {
            assert_eq!(Callback::from_query(query).unwrap_err(), why, "{query}");
        }
        let long = format!("state=s&code={}", "x".repeat(TEXT_CHARS_MAX + 1));
        assert_eq!(Callback::from_query(&long).unwrap_err(), CallbackError::TooLong("code"));
    }

    #[test]
    fn an_address_must_be_the_one_that_was_asked_for() {
        assert!(Callback::from_url(" http://127.0.0.1:17171/callback?code=c&state=s\n", OWN).is_ok());
        for foreign in [
            "https://127.0.0.1:17171/callback?code=c&state=s",
            "http://127.0.0.1:17172/callback?code=c&state=s",
            "http://127.0.0.1:17171/other?code=c&state=s",
            "http://evil.example.com:17171/callback?code=c&state=s",
            "http://127.0.0.1:17171@evil.example.com/callback?code=c&state=s",
            "http://user@127.0.0.1:17171/callback?code=c&state=s",
        ] {
            assert_eq!(
                Callback::from_url(foreign, OWN).unwrap_err(),
                CallbackError::Foreign(OWN.to_owned()),
                "{foreign}"
            );
        }
        for nothing in ["", "code=c&state=s", "c0de"] {
            assert_eq!(
                Callback::from_url(nothing, OWN).unwrap_err(),
                CallbackError::NotAUrl(OWN.to_owned()),
                "{nothing}"
            );
        }
        assert_eq!(Callback::from_url(OWN, OWN).unwrap_err(), CallbackError::Missing("state"));
    }

    #[test]
    fn a_code_is_never_printed() {
        let shown = format!("{:?}", Callback::from_query("code=very-secret&state=secret-too").unwrap());
        assert!(!shown.contains("very-secret") && !shown.contains("secret-too"), "{shown}");
    }
}
