//! OAuth applications, and which redirect URIs they may use.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq as _;
use url::{Host, Url};

use crate::domain::secret::Secret;

/// Client id of the demo's public application.
pub const DEMO_PUBLIC_CLIENT_ID: &str = "demo-public-application";
/// Client id of the demo's confidential application.
pub const DEMO_CONFIDENTIAL_CLIENT_ID: &str = "demo-confidential-application";
/// Secret of the demo's confidential application.
pub const DEMO_CONFIDENTIAL_CLIENT_SECRET: &str = "gloas-demo-confidential-secret";
/// Redirect URI of both; the port is free, since its host is a loopback address.
pub const DEMO_REDIRECT_URI: &str = "http://127.0.0.1:17171/callback";

/// An application that users can let in.
#[derive(Clone, Debug)]
pub struct OauthApplication {
    /// What GitLab calls the application id.
    pub client_id: String,
    /// Name that the page shows.
    pub name: String,
    /// The secret; a public application may have none.
    pub secret: Option<Secret<String>>,
    /// Whether it must prove itself with its secret. GitLab's default is yes.
    pub confidential: bool,
    /// Where users may be sent back to.
    pub redirect_uris: Vec<String>,
    /// What it may ask for.
    pub scopes: Vec<String>,
}

impl OauthApplication {
    /// Returns a public application with all scopes that concern Duo.
    pub fn public(client_id: &str, redirect_uri: &str) -> Self {
        Self {
            client_id: client_id.to_owned(),
            name: client_id.to_owned(),
            secret: None,
            confidential: false,
            redirect_uris: vec![redirect_uri.to_owned()],
            scopes: ["api", "read_api", "read_user", "ai_features"].map(str::to_owned).to_vec(),
        }
    }

    /// Returns a confidential application.
    pub fn confidential(client_id: &str, secret: &str, redirect_uri: &str) -> Self {
        let secret = Some(Secret::new(secret.to_owned()));
        Self { secret, confidential: true, ..Self::public(client_id, redirect_uri) }
    }

    /// Returns whether the client proved itself. Source: Doorkeeper's `Application.by_uid_and_secret`: a public
    /// application may come without a secret, but not with a wrong one.
    pub(crate) fn accepts(&self, presented: Option<&str>) -> bool {
        let presented = presented.unwrap_or_default();
        if presented.is_empty() && !self.confidential {
            return true;
        }
        self.secret.as_ref().is_some_and(|secret| secret.expose().as_bytes().ct_eq(presented.as_bytes()).into())
    }

    /// Returns whether users may be sent to `uri`.
    pub(crate) fn allows_redirect(&self, uri: &str) -> bool {
        self.redirect_uris.iter().any(|registered| redirect_matches(uri, registered))
    }
}

/// Returns the applications of the demo: a public and a confidential one.
pub fn demo_applications() -> Vec<OauthApplication> {
    let mut public = OauthApplication::public(DEMO_PUBLIC_CLIENT_ID, DEMO_REDIRECT_URI);
    "duopool (public)".clone_into(&mut public.name);
    let (id, secret) = (DEMO_CONFIDENTIAL_CLIENT_ID, DEMO_CONFIDENTIAL_CLIENT_SECRET);
    let mut confidential = OauthApplication::confidential(id, secret, DEMO_REDIRECT_URI);
    "duopool (confidential)".clone_into(&mut confidential.name);
    confidential.redirect_uris.push("http://localhost:17171/callback".to_owned());
    vec![public, confidential]
}

/// An application as the control routes take and show it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ApplicationOrder {
    client_id: String,
    client_secret: Option<String>,
    name: Option<String>,
    confidential: Option<bool>,
    redirect_uris: Vec<String>,
    scopes: Option<Vec<String>>,
}

impl From<ApplicationOrder> for OauthApplication {
    fn from(order: ApplicationOrder) -> Self {
        let default = Self::public(&order.client_id, "");
        Self {
            name: order.name.unwrap_or(default.name),
            confidential: order.confidential.unwrap_or(order.client_secret.is_some()),
            secret: order.client_secret.map(Secret::new),
            redirect_uris: order.redirect_uris,
            scopes: order.scopes.unwrap_or(default.scopes),
            client_id: order.client_id,
        }
    }
}

/// What may be shown of an application.
#[derive(Debug, Serialize)]
pub(crate) struct ApplicationView {
    client_id: String,
    name: String,
    confidential: bool,
    has_secret: bool,
    redirect_uris: Vec<String>,
    scopes: Vec<String>,
}

impl From<OauthApplication> for ApplicationView {
    fn from(application: OauthApplication) -> Self {
        Self {
            client_id: application.client_id,
            name: application.name,
            confidential: application.confidential,
            has_secret: application.secret.is_some(),
            redirect_uris: application.redirect_uris,
            scopes: application.scopes,
        }
    }
}

/// Returns whether a redirect URI is one that was registered.
///
/// Source: Doorkeeper's `URIChecker.matches?`: equal in all but the query, which only counts where the registered one
/// has its own, and in the port where both hosts are loopback addresses. The name `localhost` is none.
pub(crate) fn redirect_matches(sent: &str, registered: &str) -> bool {
    let (Ok(mut sent), Ok(mut registered)) = (Url::parse(sent), Url::parse(registered)) else { return false };
    if sent.fragment().is_some() || sent.cannot_be_a_base() {
        return false;
    }
    if let Some(query) = registered.query() {
        let sorted = |query: &str| {
            let mut pairs: Vec<_> = url::form_urlencoded::parse(query.as_bytes()).into_owned().collect();
            pairs.sort();
            pairs
        };
        if sorted(query) != sorted(sent.query().unwrap_or_default()) {
            return false;
        }
    }
    for uri in [&mut sent, &mut registered] {
        uri.set_query(None);
    }
    if is_loopback(&sent) && is_loopback(&registered) {
        // Neither fails: a URI with a host may have no port.
        return sent.set_port(None).is_ok() && registered.set_port(None).is_ok() && sent == registered;
    }
    sent == registered
}

fn is_loopback(uri: &Url) -> bool {
    match uri.host() {
        Some(Host::Ipv4(address)) => IpAddr::V4(address).is_loopback(),
        Some(Host::Ipv6(address)) => IpAddr::V6(address).is_loopback(),
        Some(Host::Domain(_)) | None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_port_is_ignored_for_loopback_addresses_only() {
        let cases = [
            ("http://127.0.0.1:17171/callback", "http://127.0.0.1:17171/callback", true),
            ("http://127.0.0.1:40001/callback", "http://127.0.0.1:17171/callback", true),
            ("http://127.0.0.1/callback", "http://127.0.0.1:17171/callback", true),
            ("http://[::1]:1/callback", "http://[::1]:2/callback", true),
            ("http://127.0.0.1:17171/callback?x=1", "http://127.0.0.1:17171/callback", true),
            ("http://localhost:40001/callback", "http://localhost:17171/callback", false),
            ("http://localhost:17171/callback", "http://127.0.0.1:17171/callback", false),
            ("http://127.0.0.2:17171/callback", "http://127.0.0.1:17171/callback", false),
            ("http://127.0.0.1:17171/callback/", "http://127.0.0.1:17171/callback", false),
            ("http://127.0.0.1:17171/", "http://127.0.0.1:17171/callback", false),
            ("https://127.0.0.1:17171/callback", "http://127.0.0.1:17171/callback", false),
            ("http://127.0.0.1:17171/callback#top", "http://127.0.0.1:17171/callback", false),
            ("https://duopool.example.com:1/cb", "https://duopool.example.com/cb", false),
            ("https://duopool.example.com/cb?b=2&a=1", "https://duopool.example.com/cb?a=1&b=2", true),
            ("https://duopool.example.com/cb", "https://duopool.example.com/cb?a=1", false),
            ("nonsense", "http://127.0.0.1:17171/callback", false),
        ];
        for (sent, registered, matches) in cases {
            assert_eq!(redirect_matches(sent, registered), matches, "{sent} for {registered}");
        }
    }

    #[test]
    fn a_public_application_needs_no_secret_but_may_not_bring_a_wrong_one() {
        let public = OauthApplication::public("a", DEMO_REDIRECT_URI);
        assert_eq!([public.accepts(None), public.accepts(Some("")), public.accepts(Some("x"))], [true, true, false]);
        let confidential = OauthApplication::confidential("a", "s", DEMO_REDIRECT_URI);
        let accepts = [None, Some(""), Some("x"), Some("s")].map(|secret| confidential.accepts(secret));
        assert_eq!(accepts, [false, false, false, true]);
    }
}
