//! Addresses that duopool may send to.
//!
//! Both newtypes keep a path prefix (an instance may live below `https://host/gitlab`) and refuse what could turn a
//! typo or a hostile reply into a leak: plain http off loopback, userinfo, queries and fragments. Whether the address
//! that a host name resolves to may be used is [`AddressPolicy`]'s decision, asked after the look-up.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use url::{Host, Url};

/// The public GitLab.
pub const GITLAB_COM: &str = "https://gitlab.com";
/// Host of GitLab's own gateway, which serves below `/ai`.
/// Source: `lib/gitlab/ai_gateway.rb` of GitLab (Cloud Connector URL + `/ai`).
const CLOUD_GATEWAY_HOST: &str = "cloud.gitlab.com";
const CLOUD_GATEWAY: &str = "https://cloud.gitlab.com/ai";
/// An address longer than this is no address that anybody typed.
const URL_CHARS_MAX: usize = 2_048;

/// Why an address was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EndpointError {
    /// It does not parse as a URL with a host.
    #[error("is not a URL such as https://gitlab.example.com")]
    NotAUrl,
    /// It is not https, and the host is not this machine.
    #[error("must start with https:// (plain http is allowed for loopback addresses only)")]
    NotHttps,
    /// It has a user name, a password, a query or a fragment.
    #[error("must not contain a user name, a password, a query or a fragment")]
    ExtraParts,
    /// The host is an address that is never a GitLab: link-local, metadata, multicast, unspecified.
    #[error("points at an address that duopool never connects to (link-local, metadata or not a host)")]
    ForbiddenAddress,
    /// The host is an IPv6 address, with which the HTTP client begins no TLS.
    #[error(
        "must name its host: https to an IPv6 address is not spoken (`resolve` in the settings leads a name there)"
    )]
    Ipv6OverTls,
}

/// Root of a GitLab instance, with any path prefix and without a trailing slash.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct InstanceUrl(Arc<str>);

/// What `/v1/proxy/…` is appended to: a gateway's root, without a trailing slash.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GatewayUrl(Arc<str>);

impl InstanceUrl {
    /// Parses the address of an instance.
    pub fn parse(text: &str) -> Result<Self, EndpointError> {
        Ok(Self(normal_form(&checked(text)?).into()))
    }

    /// Returns the public GitLab.
    pub fn gitlab_com() -> Self {
        Self(GITLAB_COM.into())
    }

    /// Returns whether this is the public GitLab, whose gateway is known.
    pub fn is_gitlab_com(&self) -> bool {
        &*self.0 == GITLAB_COM
    }

    /// Returns the address as text, without a trailing slash.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns whether `gateway`, reported by this instance, may be used without the operator's word: it is on the
    /// instance's own host, or GitLab's.
    pub fn may_report(&self, gateway: &GatewayUrl) -> bool {
        let (Some(own), Some(reported)) = (host_of(&self.0), host_of(&gateway.0)) else { return false };
        own == reported || reported == "gitlab.com" || reported.ends_with(".gitlab.com")
    }
}

impl GatewayUrl {
    /// Parses the address of a gateway. A bare `https://cloud.gitlab.com` gets the `/ai` that its proxies live below,
    /// and a trailing `/v1/proxy…` that was copied along is not accepted but refused as an address.
    pub fn parse(text: &str) -> Result<Self, EndpointError> {
        let url = checked(text)?;
        if url.host_str() == Some(CLOUD_GATEWAY_HOST) && matches!(url.path(), "" | "/") {
            return Ok(Self(CLOUD_GATEWAY.into()));
        }
        Ok(Self(normal_form(&url).into()))
    }

    /// Returns GitLab's own gateway.
    pub fn cloud() -> Self {
        Self(CLOUD_GATEWAY.into())
    }

    /// Returns the address as text, without a trailing slash.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn checked(text: &str) -> Result<Url, EndpointError> {
    let text = text.trim();
    if text.len() > URL_CHARS_MAX {
        return Err(EndpointError::NotAUrl);
    }
    let url = Url::parse(text).map_err(|_| EndpointError::NotAUrl)?;
    let Some(host) = url.host() else { return Err(EndpointError::NotAUrl) };
    match url.scheme() {
        "https" => {}
        "http" if is_loopback(&host) => {}
        "http" => return Err(EndpointError::NotHttps),
        _ => return Err(EndpointError::NotAUrl),
    }
    let plain = url.username().is_empty() && url.password().is_none();
    if !plain || url.query().is_some() || url.fragment().is_some() {
        return Err(EndpointError::ExtraParts);
    }
    let literal = match host {
        Host::Ipv4(ip) => Some(IpAddr::V4(ip)),
        Host::Ipv6(ip) => Some(IpAddr::V6(ip)),
        Host::Domain(_) => None,
    };
    if literal.is_some_and(|ip| AddressPolicy::for_host(url.host_str()).check(ip).is_err()) {
        return Err(EndpointError::ForbiddenAddress);
    }
    // actix-tls takes the brackets for a part of the name that a certificate must have.
    if url.scheme() == "https" && literal.is_some_and(|ip| ip.is_ipv6()) {
        return Err(EndpointError::Ipv6OverTls);
    }
    Ok(url)
}

fn normal_form(url: &Url) -> String {
    url.as_str().trim_end_matches('/').to_owned()
}

fn host_of(text: &str) -> Option<String> {
    Url::parse(text).ok()?.host_str().map(str::to_owned)
}

fn is_loopback(host: &Host<&str>) -> bool {
    match host {
        Host::Domain(name) => is_loopback_name(name),
        Host::Ipv4(ip) => ip.is_loopback(),
        Host::Ipv6(ip) => ip.is_loopback(),
    }
}

/// Returns whether `name` always means this machine (RFC 6761, section 6.3).
pub fn is_loopback_name(name: &str) -> bool {
    name.eq_ignore_ascii_case("localhost") || name.to_ascii_lowercase().ends_with(".localhost")
}

/// Names of the metadata services of clouds, which mean an address that is never connected to.
/// Source: the documentation of Google Cloud, AWS, Azure, Alibaba Cloud and `OpenStack`.
const METADATA_NAMES: [&str; 6] = [
    "metadata.google.internal",
    "metadata.goog",
    "metadata",
    "instance-data",
    "instance-data.ec2.internal",
    "metadata.azure.internal",
];

/// Returns whether `host` is the name of a cloud's metadata service.
///
/// For names that somebody else looks up, such as a proxy: where duopool does so itself, it checks the address.
pub fn is_metadata_name(host: &str) -> bool {
    let host = host.trim_end_matches('.');
    METADATA_NAMES.iter().any(|name| host.eq_ignore_ascii_case(name))
}

/// Which addresses a host name may resolve to.
///
/// A name that means this machine may lead only to loopback; any other name may not lead to loopback, so that a name
/// under somebody else's control cannot point duopool at a service on its own machine. Private ranges are allowed,
/// since self-managed instances live there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AddressPolicy {
    /// Only this machine.
    LoopbackOnly,
    /// Any host but this machine and the forbidden ranges.
    Remote,
}

impl AddressPolicy {
    /// Returns the policy for the host part of a URL.
    pub fn for_host(host: Option<&str>) -> Self {
        let host = host.unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
        let loopback = is_loopback_name(host) || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
        if loopback { Self::LoopbackOnly } else { Self::Remote }
    }

    /// Returns whether a connection to `ip` may be opened.
    ///
    /// # Errors
    /// [`EndpointError::ForbiddenAddress`] for link-local addresses (cloud metadata services live there), the metadata
    /// addresses over IPv6, multicast, unspecified and reserved addresses, what the policy excludes, and IPv6 addresses
    /// that lead to any of these over IPv4.
    pub fn check(self, ip: IpAddr) -> Result<(), EndpointError> {
        let ip = ip.to_canonical();
        let may_be_remote = |ip: IpAddr| !ip.is_loopback() && !never_a_host(ip);
        let allowed = match self {
            Self::LoopbackOnly => ip.is_loopback(),
            Self::Remote => may_be_remote(ip) && embedded(ip).is_none_or(|inner| may_be_remote(inner.into())),
        };
        if allowed { Ok(()) } else { Err(EndpointError::ForbiddenAddress) }
    }
}

/// The instance metadata services of Amazon and Google over IPv6; those over IPv4 are link-local.
const METADATA_V6: [Ipv6Addr; 2] =
    [Ipv6Addr::new(0xfd00, 0x0ec2, 0, 0, 0, 0, 0, 0x0254), Ipv6Addr::new(0xfd20, 0x00ce, 0, 0, 0, 0, 0, 0x0254)];
/// Alibaba Cloud's metadata service, inside the shared address space.
const METADATA_V4: Ipv4Addr = Ipv4Addr::new(100, 100, 100, 200);

/// Returns the IPv4 address that an IPv6 address leads to: behind NAT64's well-known prefix (RFC 6052, section 2.1), or in
/// an IPv4-compatible one (RFC 4291, section 2.5.5.1).
fn embedded(ip: IpAddr) -> Option<Ipv4Addr> {
    let IpAddr::V6(ip) = ip else { return None };
    let is_embedding = matches!(ip.segments(), [0x64, 0xff9b, 0, 0, 0, 0, _, _] | [0, 0, 0, 0, 0, 0, _, _]);
    let [.., a, b, c, d] = ip.octets();
    is_embedding.then(|| Ipv4Addr::new(a, b, c, d))
}

fn never_a_host(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => {
            ip.is_link_local()
                || ip.is_unspecified()
                || ip.is_multicast()
                || ip.is_broadcast()
                || ip.octets()[0] == 0
                || ip == METADATA_V4
        }
        IpAddr::V6(ip) => {
            ip.is_unicast_link_local() || ip.is_unspecified() || ip.is_multicast() || METADATA_V6.contains(&ip)
        }
    }
}

macro_rules! text_form {
    ($name:ident) => {
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                Self::parse(&text).map_err(|error| serde::de::Error::custom(format!("{text:?} {error}")))
            }
        }
    };
}
text_form!(InstanceUrl);
text_form!(GatewayUrl);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instance_keeps_its_path_prefix_and_loses_the_last_slash() {
        let parsed = InstanceUrl::parse(" https://Example.com:8443/gitlab/ ").unwrap();
        assert_eq!(parsed.as_str(), "https://example.com:8443/gitlab");
        assert!(InstanceUrl::parse("https://gitlab.com/").unwrap().is_gitlab_com());
    }

    #[test]
    fn addresses_that_could_leak_a_token_are_refused() {
        let cases = [
            ("gitlab.com", EndpointError::NotAUrl),
            ("ftp://gitlab.com", EndpointError::NotAUrl),
            ("http://gitlab.com", EndpointError::NotHttps),
            ("http://10.0.0.1", EndpointError::NotHttps),
            ("https://me:pw@gitlab.com", EndpointError::ExtraParts),
            ("https://gitlab.com/?private_token=x", EndpointError::ExtraParts),
            ("https://gitlab.com/#x", EndpointError::ExtraParts),
            ("https://169.254.169.254", EndpointError::ForbiddenAddress),
            ("https://[fe80::1]", EndpointError::ForbiddenAddress),
            ("https://[fd00:ec2::254]", EndpointError::ForbiddenAddress),
            ("https://[fd20:ce::254]", EndpointError::ForbiddenAddress),
            ("https://[64:ff9b::169.254.169.254]", EndpointError::ForbiddenAddress),
            ("https://0.0.0.0", EndpointError::ForbiddenAddress),
            ("https://[fd12::1]", EndpointError::Ipv6OverTls),
            ("https://[::1]:8443", EndpointError::Ipv6OverTls),
            ("https://[::ffff:169.254.169.254]", EndpointError::ForbiddenAddress),
        ];
        for (text, why) in cases {
            assert_eq!(InstanceUrl::parse(text), Err(why), "{text}");
        }
    }

    #[test]
    fn plain_http_is_for_loopback_only() {
        for text in ["http://127.0.0.1:3000", "http://localhost:3000", "http://[::1]:3000"] {
            assert!(InstanceUrl::parse(text).is_ok(), "{text}");
        }
    }

    #[test]
    fn the_cloud_gateway_gets_its_path() {
        assert_eq!(GatewayUrl::parse("https://cloud.gitlab.com").unwrap(), GatewayUrl::cloud());
        assert_eq!(GatewayUrl::parse("https://cloud.gitlab.com/ai/").unwrap(), GatewayUrl::cloud());
        assert_eq!(GatewayUrl::parse("https://gw.example.com/x/").unwrap().as_str(), "https://gw.example.com/x");
    }

    #[test]
    fn a_reported_gateway_must_be_on_the_instances_host_or_gitlabs() {
        let instance = InstanceUrl::parse("https://git.example.com").unwrap();
        let may = |gateway: &str| instance.may_report(&GatewayUrl::parse(gateway).unwrap());
        assert!(may("https://cloud.gitlab.com/ai"));
        assert!(may("https://git.example.com:8443/gateway"));
        assert!(!may("https://gateway.example.com"));
        assert!(!may("https://evil-gitlab.com"));
    }

    #[test]
    fn a_name_may_not_lead_to_this_machine_or_to_metadata() {
        let remote = AddressPolicy::for_host(Some("gitlab.example.com"));
        for ip in ["127.0.0.1", "::1", "169.254.169.254", "fe80::1", "0.0.0.0", "::ffff:127.0.0.1", "100.100.100.200"] {
            assert!(remote.check(ip.parse().unwrap()).is_err(), "{ip}");
        }
        for ip in ["fd20:ce::254", "64:ff9b::a9fe:a9fe", "64:ff9b::7f00:1", "::169.254.169.254", "::127.0.0.1", "::2"] {
            assert!(remote.check(ip.parse().unwrap()).is_err(), "{ip}");
        }
        for ip in ["64:ff9b::cb00:7107", "64:ff9b::10.1.2.3", "fd20:ce::255"] {
            assert!(remote.check(ip.parse().unwrap()).is_ok(), "{ip}");
        }
        for ip in ["10.1.2.3", "192.168.0.9", "203.0.113.7", "fd12::1", "2001:db8::1"] {
            assert!(remote.check(ip.parse().unwrap()).is_ok(), "{ip}");
        }
        let local = AddressPolicy::for_host(Some("localhost"));
        assert!(local.check("127.0.0.1".parse().unwrap()).is_ok());
        for ip in ["10.0.0.1", "64:ff9b::7f00:1"] {
            assert!(local.check(ip.parse().unwrap()).is_err(), "{ip}");
        }
    }
}
