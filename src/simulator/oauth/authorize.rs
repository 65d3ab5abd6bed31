//! `/oauth/authorize`: who asks, what for, and the code that a consenting user carries back.

use std::time::Duration;

use url::Url;

use crate::domain::time::Timestamp;
use crate::simulator::answer::Answer;
use crate::simulator::oauth::form::Params;
use crate::simulator::oauth::page;
use crate::simulator::oauth::refusal::{Refusal, uncached};
use crate::simulator::oauth::vault::Consent;
use crate::simulator::oauth::{Decision, granted_scopes};
use crate::simulator::state::State;

/// A request that may be shown to the user.
struct Wanted {
    client_id: String,
    name: String,
    back: Back,
    scopes: Vec<String>,
    challenge: Option<String>,
}

/// Where the user goes afterwards.
struct Back {
    redirect_uri: String,
    state: Option<String>,
}

impl Back {
    /// Returns the redirect URI with parameters and the client's own state.
    fn with(&self, pairs: &[(&str, &str)]) -> String {
        let Ok(mut uri) = Url::parse(&self.redirect_uri) else { return self.redirect_uri.clone() };
        {
            let mut query = uri.query_pairs_mut();
            query.extend_pairs(pairs);
            if let Some(state) = &self.state {
                query.append_pair("state", state);
            }
        }
        uri.into()
    }

    fn refused(&self, refusal: &Refusal) -> String {
        self.with(&[("error", refusal.error()), ("error_description", &refusal.description())])
    }
}

/// Why a request is not shown to the user: with a way back to the client only where the client is known to own it.
enum Rejected {
    Here(Refusal),
    Back(Back, Refusal),
}

/// What a browser gets.
enum Outcome {
    /// It is sent on.
    Sent(String),
    /// It sees an error page with these words.
    Told(String),
}

impl Outcome {
    fn answer(&self) -> Answer {
        match self {
            Self::Sent(location) => redirect(location),
            Self::Told(words) => page::error(words),
        }
    }
}

impl Rejected {
    fn outcome(&self, state: &State) -> Outcome {
        match self {
            Self::Back(back, refusal) if state.instance.oauth.errors_redirect => Outcome::Sent(back.refused(refusal)),
            Self::Here(refusal) | Self::Back(_, refusal) => Outcome::Told(refusal.description()),
        }
    }
}

fn redirect(location: &str) -> Answer {
    uncached(Answer::whole(302, "text/html; charset=utf-8", "").with_header("location", location))
}

/// Checks a request in Doorkeeper's order. Source: `lib/doorkeeper/oauth/pre_authorization.rb`.
fn examine(state: &State, params: &Params) -> Result<Wanted, Rejected> {
    let here = |refusal| Err(Rejected::Here(refusal));
    let Some(client_id) = params.text("client_id") else { return here(Refusal::MissingParameter("client_id")) };
    let Some(application) = state.application(client_id) else { return here(Refusal::InvalidClient) };
    let redirect_uri = params.text("redirect_uri").filter(|uri| application.allows_redirect(uri));
    let Some(redirect_uri) = redirect_uri else { return here(Refusal::InvalidRedirectUri) };
    let back = Back { redirect_uri: redirect_uri.to_owned(), state: params.text("state").map(str::to_owned) };
    let checked = match params.text("response_type") {
        None => Err(Refusal::MissingParameter("response_type")),
        Some("code") => granted_scopes(application, params.text("scope")),
        Some(_) => Err(Refusal::UnsupportedResponseType),
    };
    let challenge = params.text("code_challenge").map(str::to_owned);
    let checked = checked.and_then(|scopes| match params.text("code_challenge_method") {
        Some("S256") => Ok(scopes),
        None if challenge.is_none() => Ok(scopes),
        _ => Err(Refusal::InvalidCodeChallengeMethod),
    });
    match checked {
        Ok(scopes) => {
            let (client_id, name) = (client_id.to_owned(), application.name.clone());
            Ok(Wanted { client_id, name, back, scopes, challenge })
        }
        Err(refusal) => Err(Rejected::Back(back, refusal)),
    }
}

/// Returns the page on which a user decides.
pub(super) fn show(state: &State, params: &Params) -> Answer {
    match examine(state, params) {
        Err(rejected) => rejected.outcome(state).answer(),
        Ok(wanted) => {
            let scopes = page::escaped(&wanted.scopes.join(", "));
            let target = page::escaped(&wanted.back.redirect_uri);
            let fields = format!("<p>It asks for: {scopes}. You will be sent to {target}.</p>\n");
            page::page(&format!("Authorize {}", wanted.name), &page::form(state, params, &fields))
        }
    }
}

/// Takes what the user said on the page.
pub(super) fn submit(state: &mut State, params: &Params, now: Timestamp) -> Answer {
    let Some(decision) = Decision::of(params) else { return page::error("Neither authorized nor denied.") };
    decide(state, params, decision, now).answer()
}

fn decide(state: &mut State, params: &Params, decision: Decision, now: Timestamp) -> Outcome {
    let wanted = match examine(state, params) {
        Ok(wanted) => wanted,
        Err(rejected) => return rejected.outcome(state),
    };
    if decision == Decision::Deny {
        return Outcome::Sent(wanted.back.refused(&Refusal::AccessDenied));
    }
    let Some(account) = params.text("account").and_then(|name| state.account_index(name)) else {
        return Outcome::Told("There is no such user.".to_owned());
    };
    let consent = Consent {
        client_id: wanted.client_id,
        account,
        scopes: wanted.scopes,
        redirect_uri: Some(wanted.back.redirect_uri.clone()),
    };
    let expires_at = now + Duration::from_secs(state.instance.oauth.code_lifetime_s);
    let code = state.vault.add_code(consent, wanted.challenge, expires_at);
    Outcome::Sent(wanted.back.with(&[("code", &code)]))
}

/// Decides in place of a browser and returns where it would be sent; an error is what the error page would say.
pub(crate) fn approve(
    state: &mut State,
    account: &str,
    authorize_url: &str,
    decision: Decision,
    now: Timestamp,
) -> Result<String, String> {
    let url = Url::parse(authorize_url).map_err(|error| error.to_string())?;
    let params = Params::parse(url.query().unwrap_or_default().as_bytes()).with("account", account);
    match decide(state, &params, decision, now) {
        Outcome::Sent(location) => Ok(location),
        Outcome::Told(words) => Err(words),
    }
}
