//! Control of OAuth: applications, and logins without a browser.

use crate::domain::time::Clock as _;
use crate::simulator::handle::{NotDone, SimulatorHandle, UnknownAccount};
use crate::simulator::oauth::{self, Consent, Decision, IssuedTokens, OauthApplication};

impl SimulatorHandle {
    /// Adds an OAuth application, in place of one with the same client id: so a secret is renewed.
    pub fn add_application(&self, application: OauthApplication) {
        self.shared.change(|state| {
            state.applications.retain(|known| known.client_id != application.client_id);
            state.applications.push(application);
        });
    }

    /// Removes an OAuth application; returns whether there was one. Its tokens stay.
    pub fn remove_application(&self, client_id: &str) -> bool {
        self.shared.change(|state| {
            let before = state.applications.len();
            state.applications.retain(|known| known.client_id != client_id);
            state.applications.len() < before
        })
    }

    /// Returns the OAuth applications.
    pub fn applications(&self) -> Vec<OauthApplication> {
        self.shared.read(|state| state.applications.clone())
    }

    /// Opens the address that a client sent its user to, says `decision` as that user, and returns where the browser is
    /// sent: the client's redirect URI with a code or an error.
    pub fn approve(&self, username: &str, authorize_url: &str, decision: Decision) -> Result<String, NotDone> {
        let now = self.shared.clock.now();
        self.shared.change(|state| {
            state.account_index(username).ok_or_else(|| UnknownAccount(username.to_owned()))?;
            oauth::approve(state, username, authorize_url, decision, now).map_err(NotDone::Page)
        })
    }

    /// Enters a device's code as a user and says `decision`.
    pub fn approve_device(&self, username: &str, user_code: &str, decision: Decision) -> Result<(), NotDone> {
        let now = self.shared.clock.now();
        self.shared.change(|state| {
            state.account_index(username).ok_or_else(|| UnknownAccount(username.to_owned()))?;
            let done = oauth::decide_device(state, username, user_code, decision, now);
            done.map_err(|told| NotDone::Page(told.to_owned()))
        })
    }

    /// Hands out tokens as after a login.
    pub fn issue_tokens(&self, username: &str, client_id: &str, scopes: &[&str]) -> Result<IssuedTokens, NotDone> {
        let now = self.shared.clock.now();
        self.shared.change(|state| {
            let account = state.account_index(username).ok_or_else(|| UnknownAccount(username.to_owned()))?;
            let application = state.application(client_id).ok_or_else(|| NotDone::Application(client_id.to_owned()))?;
            let consent = Consent {
                client_id: client_id.to_owned(),
                account,
                scopes: scopes.iter().map(|scope| (*scope).to_owned()).collect(),
                redirect_uri: application.redirect_uris.first().cloned(),
            };
            Ok(state.vault.issue(consent, true, state.instance.oauth.access_lifetime_s, now))
        })
    }

    /// Kills all OAuth tokens of one account, or of all, as a user does who revokes the application.
    pub fn revoke_tokens(&self, username: Option<&str>) -> Result<(), UnknownAccount> {
        self.shared.change(|state| {
            let account = match username {
                None => None,
                Some(name) => Some(state.account_index(name).ok_or_else(|| UnknownAccount(name.to_owned()))?),
            };
            state.vault.revoke_all(account);
            Ok(())
        })
    }
}
