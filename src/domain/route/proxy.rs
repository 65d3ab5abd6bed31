//! A proxy that connections are made through.

use std::fmt;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use url::Url;

use crate::domain::secret::Secret;

/// Longest address of a proxy, in characters.
const URL_CHARS_MAX: usize = 2_048;

/// Why a text is no proxy. Says nothing of the text, which may hold a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProxyError {
    /// It does not parse.
    #[error("is not the address of a proxy such as http://proxy.example.com:3128")]
    NotAUrl,
    /// It is of a kind that is not spoken.
    #[error("names a kind of proxy that duopool does not speak: only http:// and https:// proxies, not socks")]
    Unsupported,
    /// It has more than a host, a port and credentials.
    #[error("must have no path, query or fragment")]
    ExtraParts,
}

/// A proxy that speaks HTTP's `CONNECT`.
#[derive(Clone, PartialEq, Eq)]
pub struct Proxy {
    /// Whether it is spoken to over TLS.
    pub tls: bool,
    /// Its name or address, without brackets.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// What it is shown, as the value of `Proxy-Authorization`.
    pub credentials: Option<Secret<String>>,
}

impl Proxy {
    /// Parses the address of a proxy; without a scheme, it is one over plain HTTP. A user name and password in it, percent
    /// encoded where they need to be, are its credentials.
    pub fn parse(text: &str) -> Result<Self, ProxyError> {
        let text = text.trim();
        if text.is_empty() || text.len() > URL_CHARS_MAX {
            return Err(ProxyError::NotAUrl);
        }
        let with_scheme = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
        let url = Url::parse(&with_scheme).map_err(|_| ProxyError::NotAUrl)?;
        let tls = match url.scheme() {
            "http" => false,
            "https" => true,
            _ => return Err(ProxyError::Unsupported),
        };
        if !matches!(url.path(), "" | "/") || url.query().is_some() || url.fragment().is_some() {
            return Err(ProxyError::ExtraParts);
        }
        let host = url.host_str().ok_or(ProxyError::NotAUrl)?.trim_start_matches('[').trim_end_matches(']').to_owned();
        let port = url.port_or_known_default().ok_or(ProxyError::NotAUrl)?;
        let has_user = !url.username().is_empty() || url.password().is_some();
        let credentials = has_user.then(|| basic(url.username(), url.password().unwrap_or_default()));
        Ok(Self { tls, host, port, credentials })
    }
}

/// Shows where it is, and that it is shown credentials, but not which.
impl fmt::Display for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls { "https" } else { "http" };
        let user = if self.credentials.is_some() { "***@" } else { "" };
        if self.host.contains(':') {
            return write!(f, "{scheme}://{user}[{}]:{}", self.host, self.port);
        }
        write!(f, "{scheme}://{user}{}:{}", self.host, self.port)
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Proxy({self})")
    }
}

fn basic(user: &str, password: &str) -> Secret<String> {
    let mut plain = decoded(user);
    plain.push(b':');
    plain.extend(decoded(password));
    Secret::new(format!("Basic {}", BASE64_STANDARD.encode(plain)))
}

/// Returns `text` with its percent signs and the digits after them made bytes; a sign without digits stays as it is.
fn decoded(text: &str) -> Vec<u8> {
    let digit =
        |byte: Option<&u8>| byte.and_then(|byte| char::from(*byte).to_digit(16)).and_then(|n| u8::try_from(n).ok());
    let (bytes, mut plain, mut at) = (text.as_bytes(), Vec::with_capacity(text.len()), 0);
    while at < bytes.len() {
        let pair = digit(bytes.get(at + 1)).zip(digit(bytes.get(at + 2))).filter(|_| bytes[at] == b'%');
        plain.push(pair.map_or(bytes[at], |(high, low)| high * 16 + low));
        at += if pair.is_some() { 3 } else { 1 };
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proxy_is_known_by_its_address_with_or_without_a_scheme() {
        for (text, shown) in [
            ("http://proxy.corp:3128", "http://proxy.corp:3128"),
            ("http://proxy.corp:3128/", "http://proxy.corp:3128"),
            (" proxy.corp:3128 ", "http://proxy.corp:3128"),
            ("proxy.corp", "http://proxy.corp:80"),
            ("https://proxy.corp", "https://proxy.corp:443"),
            ("HTTP://10.0.0.1:8080", "http://10.0.0.1:8080"),
            ("http://[fd12::1]:3128", "http://[fd12::1]:3128"),
            ("http://me:secret@proxy.corp:3128", "http://***@proxy.corp:3128"),
            ("me@proxy.corp:3128", "http://***@proxy.corp:3128"),
        ] {
            let proxy = Proxy::parse(text).unwrap();
            assert_eq!((proxy.to_string(), format!("{proxy:?}")), (shown.to_owned(), format!("Proxy({shown})")));
        }
    }

    #[test]
    fn credentials_are_sent_as_they_were_before_they_came_into_an_address() {
        for (text, plain) in [
            ("http://me:pass@p", "me:pass"),
            ("http://me@p", "me:"),
            ("http://:pass@p", ":pass"),
            ("http://do%5Cme:p%40ss%3a%25@p", "do\\me:p@ss:%"),
            ("http://me:100%@p", "me:100%"),
        ] {
            let credentials = Proxy::parse(text).unwrap().credentials.unwrap();
            assert_eq!(*credentials.expose(), format!("Basic {}", BASE64_STANDARD.encode(plain)), "{text}");
        }
        assert_eq!(Proxy::parse("http://p").unwrap().credentials, None);
    }

    #[test]
    fn what_is_no_proxy_is_refused_without_being_quoted() {
        for (text, why) in [
            ("", ProxyError::NotAUrl),
            ("http://", ProxyError::NotAUrl),
            ("http://me:hidden@p:port", ProxyError::NotAUrl),
            ("socks5://me:hidden@p:1080", ProxyError::Unsupported),
            ("ftp://p", ProxyError::Unsupported),
            ("http://p/path", ProxyError::ExtraParts),
            ("http://p?x=hidden", ProxyError::ExtraParts),
        ] {
            assert_eq!(Proxy::parse(text), Err(why), "{text}");
            assert!(!why.to_string().contains("hidden"));
        }
    }
}
