//! The parameters of an OAuth call, in its query or its form, and how they are logged without their secrets.

use actix_web::http::header::HeaderMap;
use actix_web::web::Bytes;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use url::form_urlencoded;

use crate::simulator::journal::fingerprint;
use crate::simulator::server::Asked;

const FORM: &str = "application/x-www-form-urlencoded";
/// Parameters whose values open something.
const SECRETS: [&str; 7] =
    ["client_secret", "code", "code_verifier", "refresh_token", "device_code", "token", "access_token"];

/// Parameters by name. Of a name that comes twice the last counts, as in Rails.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct Params(Vec<(String, String)>);

impl Params {
    /// Reads `name=value` pairs.
    pub(crate) fn parse(encoded: &[u8]) -> Self {
        Self(form_urlencoded::parse(encoded).into_owned().collect())
    }

    /// Reads query and form of a call. A body of another type has no parameters.
    pub(crate) fn of(asked: &Asked<'_>) -> Self {
        let mut params = Self::parse(asked.query.as_bytes());
        if is_form(asked.headers) {
            params.0.extend(form_urlencoded::parse(asked.body).into_owned());
        }
        params
    }

    /// Returns a value that is there and not empty.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        let last = self.0.iter().rev().find(|(known, _)| known == name);
        last.map(|(_, value)| value.as_str()).filter(|value| !value.is_empty())
    }

    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        self.0.push((name.to_owned(), value.to_owned()));
        self
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

/// Returns whether the value of a parameter opens something.
pub(crate) fn is_secret(name: &str) -> bool {
    SECRETS.contains(&name)
}

fn is_form(headers: &HeaderMap) -> bool {
    let kind = headers.get("content-type").and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    kind.trim_start().to_ascii_lowercase().starts_with(FORM)
}

/// Returns client id and secret: from HTTP Basic where it is there, else from the parameters.
pub(crate) fn client_credentials(headers: &HeaderMap, params: &Params) -> Option<(String, Option<String>)> {
    let basic = headers.get("authorization").and_then(|value| value.to_str().ok()?.strip_prefix("Basic "));
    if let Some(encoded) = basic {
        let decoded = String::from_utf8(STANDARD.decode(encoded).ok()?).ok()?;
        let (id, secret) = decoded.split_once(':')?;
        let plain = |text: &str| Params::parse(format!("x={text}").as_bytes()).text("x").map(str::to_owned);
        // Both were form-encoded before they were joined (RFC 6749, 2.3.1).
        return Some((plain(id)?, plain(secret)));
    }
    Some((params.text("client_id")?.to_owned(), params.text("client_secret").map(str::to_owned)))
}

/// Returns a body for the log: of each secret only its fingerprint.
pub(crate) fn masked_body(headers: &HeaderMap, body: &Bytes) -> Bytes {
    if body.is_empty() {
        return Bytes::new();
    }
    if !is_form(headers) {
        return Bytes::from_static(b"***");
    }
    Bytes::from(masked(body))
}

/// Returns a target for the log: of each secret in its query only its fingerprint.
pub(crate) fn masked_target(target: &str) -> String {
    match target.split_once('?') {
        Some((path, query)) if SECRETS.iter().any(|name| query.contains(name)) => {
            format!("{path}?{}", masked(query.as_bytes()))
        }
        _ => target.to_owned(),
    }
}

fn masked(encoded: &[u8]) -> String {
    let mut shown = form_urlencoded::Serializer::new(String::new());
    for (name, value) in form_urlencoded::parse(encoded) {
        if SECRETS.contains(&name.as_ref()) {
            shown.append_pair(&name, &format!("sha256:{}", fingerprint(&value)));
        } else {
            shown.append_pair(&name, &value);
        }
    }
    shown.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_shows_of_each_secret_its_fingerprint() {
        let mut headers = HeaderMap::new();
        headers.insert(
            actix_web::http::header::CONTENT_TYPE,
            actix_web::http::header::HeaderValue::from_static("application/x-www-form-urlencoded"),
        );
        let body = Bytes::from_static(b"grant_type=refresh_token&refresh_token=abc&client_id=me");
        let shown = Params::parse(&masked_body(&headers, &body));
        assert_eq!(shown.text("refresh_token"), Some(format!("sha256:{}", fingerprint("abc")).as_str()));
        assert_eq!((shown.text("grant_type"), shown.text("client_id")), (Some("refresh_token"), Some("me")));
        assert_eq!(masked_body(&HeaderMap::new(), &Bytes::from_static(b"{\"refresh_token\":1}")), "***");
        assert!(!masked_target("/oauth/token/info?access_token=abc").contains("=abc"));
        assert_eq!(masked_target("/api/v4/groups?a=b"), "/api/v4/groups?a=b");
    }
}
