//! Which hosts are reached without the proxy, in the form that `NO_PROXY` has everywhere.

use std::net::IpAddr;

use crate::domain::endpoint::is_loopback_name;

/// Hosts that are reached directly.
///
/// A list separated by commas or spaces, read as curl and Go read it: `*` is every host; `example.com`, `.example.com` and
/// `*.example.com` are that name and all below it; an address is itself, and `10.0.0.0/8` a range of them, held against
/// hosts that are given by address, since names are not looked up for this. A port at the end limits a name or an address
/// to that port.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Exceptions(Vec<Exception>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Exception {
    what: What,
    port: Option<u16>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum What {
    Everything,
    /// In lower case, without dots at its ends.
    Domain(String),
    Range(IpAddr, u8),
}

impl Exceptions {
    /// Reads a list. An entry that can be no host matches none, as with other tools: the list is one for all of them.
    pub fn parse(list: &str) -> Self {
        let entries = list.split(|c: char| c == ',' || c.is_whitespace()).filter(|entry| !entry.is_empty());
        Self(entries.filter_map(entry).collect())
    }

    /// Returns whether `host`, a name or an address with or without brackets, is reached directly at `port`.
    pub fn contains(&self, host: &str, port: u16) -> bool {
        let host = bare(host);
        let ip = host.parse::<IpAddr>().ok().map(|ip| ip.to_canonical());
        self.0.iter().any(|exception| {
            let fits = match (&exception.what, ip) {
                (What::Everything, _) => true,
                (What::Range(network, bits), Some(ip)) => is_within(ip, *network, *bits),
                (What::Domain(domain), None) => is_below(&host, domain),
                (What::Range(..), None) | (What::Domain(_), Some(_)) => false,
            };
            fits && exception.port.is_none_or(|only| only == port)
        })
    }
}

fn entry(text: &str) -> Option<Exception> {
    if text == "*" {
        return Some(Exception { what: What::Everything, port: None });
    }
    if let Some(what) = range(text) {
        return Some(Exception { what, port: None });
    }
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) => (host, Some(port.parse().ok()?)),
        None => (text, None),
    };
    let domain = || bare(host.strip_prefix("*.").unwrap_or(host).trim_start_matches('.'));
    let what = range(host).unwrap_or_else(|| What::Domain(domain()));
    Some(Exception { what, port }).filter(|exception| exception.what != What::Domain(String::new()))
}

/// Reads an address or a range of them.
fn range(text: &str) -> Option<What> {
    let (address, bits) = match text.split_once('/') {
        Some((address, bits)) => (address, Some(bits.parse::<u8>().ok()?)),
        None => (text, None),
    };
    let ip = bare(address).parse::<IpAddr>().ok()?;
    let most = if ip.is_ipv4() { 32 } else { 128 };
    Some(What::Range(ip, bits.unwrap_or(most).min(most)))
}

/// Returns a host in lower case, without brackets and without the dot that ends an absolute name.
fn bare(host: &str) -> String {
    host.trim_start_matches('[').trim_end_matches(']').trim_end_matches('.').to_ascii_lowercase()
}

fn is_below(host: &str, domain: &str) -> bool {
    host.strip_suffix(domain).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

fn is_within(ip: IpAddr, network: IpAddr, bits: u8) -> bool {
    match (ip, network) {
        (IpAddr::V4(ip), IpAddr::V4(network)) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(bits)).unwrap_or(0);
            u32::from(ip) & mask == u32::from(network) & mask
        }
        (IpAddr::V6(ip), IpAddr::V6(network)) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(bits)).unwrap_or(0);
            u128::from(ip) & mask == u128::from(network) & mask
        }
        _ => false,
    }
}

/// Returns whether `host` is this machine, by name or by address.
pub(super) fn is_loopback(host: &str) -> bool {
    let host = bare(host);
    is_loopback_name(&host) || host.parse::<IpAddr>().is_ok_and(|ip| ip.to_canonical().is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exceptions_are_read_as_other_tools_read_them() {
        // List, host, port, whether it is reached directly.
        for (list, host, port, direct) in [
            ("", "gitlab.corp", 443, false),
            (" , ,", "gitlab.corp", 443, false),
            ("*", "gitlab.corp", 443, true),
            ("*", "10.0.0.1", 443, true),
            ("corp", "gitlab.corp", 443, true),
            ("gitlab.corp", "gitlab.corp", 443, true),
            ("GitLab.Corp", "gitlab.CORP", 443, true),
            ("gitlab.corp.", "gitlab.corp", 443, true),
            ("gitlab.corp", "gitlab.corp.", 443, true),
            ("gitlab.corp", "sub.gitlab.corp", 443, true),
            ("gitlab.corp", "mygitlab.corp", 443, false),
            ("gitlab.corp", "gitlab.corp.evil.com", 443, false),
            (".corp", "gitlab.corp", 443, true),
            (".gitlab.corp", "gitlab.corp", 443, true),
            ("*.corp", "gitlab.corp", 443, true),
            ("*.corp", "gitlab.corporation", 443, false),
            ("one.test, two.test", "two.test", 443, true),
            ("one.test two.test", "two.test", 443, true),
            ("gitlab.corp:443", "gitlab.corp", 443, true),
            ("gitlab.corp:443", "gitlab.corp", 8443, false),
            ("gitlab.corp:x", "gitlab.corp", 443, false),
            ("10.1.2.3", "10.1.2.3", 443, true),
            ("10.1.2.3", "10.1.2.30", 443, false),
            ("10.1.2.3:8443", "10.1.2.3", 8443, true),
            ("10.1.2.3:8443", "10.1.2.3", 443, false),
            ("10.0.0.0/8", "10.200.0.1", 443, true),
            ("10.0.0.0/8", "11.0.0.1", 443, false),
            ("10.0.0.0/8", "10.example.com", 443, false),
            ("192.168.7.9/24", "192.168.7.200", 443, true),
            ("0.0.0.0/0", "203.0.113.9", 443, true),
            ("0.0.0.0/0", "2001:db8::1", 443, false),
            ("::1", "[::1]", 443, true),
            ("[fd12::1]", "fd12::1", 443, true),
            ("[fd12::1]:8443", "[fd12::1]", 8443, true),
            ("[fd12::1]:8443", "[fd12::1]", 443, false),
            ("fd00::/8", "[fd12::1]", 443, true),
            ("fd00::/8", "[fe80::1]", 443, false),
            ("10.0.0.0/8", "[::ffff:10.0.0.1]", 443, true),
            ("10.0.0.0/x", "10.0.0.1", 443, false),
            (".", "gitlab.corp", 443, false),
        ] {
            assert_eq!(Exceptions::parse(list).contains(host, port), direct, "`{list}` and {host}:{port}");
        }
    }

    #[test]
    fn this_machine_is_known_by_name_and_address() {
        for host in ["localhost", "LOCALHOST.", "x.localhost", "127.0.0.1", "127.9.9.9", "[::1]", "::ffff:127.0.0.1"] {
            assert!(is_loopback(host), "{host}");
        }
        assert!(!is_loopback("10.0.0.1") && !is_loopback("localhost.corp"));
    }
}
