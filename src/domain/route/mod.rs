//! The way from this machine to an instance and the gateway of its accounts: whom to trust, through which proxy, and how
//! long to wait.

mod exceptions;
mod names;
mod proxy;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::domain::endpoint::InstanceUrl;

pub use exceptions::Exceptions;
pub use names::Names;
pub use proxy::{Proxy, ProxyError};

/// Longest waits on the way to an instance and to a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// For a connection.
    pub connect: Duration,
    /// For the head of a streamed answer of a model.
    pub head_stream: Duration,
    /// For the head of an answer of a model that comes whole.
    pub head_whole: Duration,
    /// Longest silence inside a model's answer.
    pub idle: Duration,
}

/// A certificate of an authority, as DER.
pub type Authority = Arc<[u8]>;

/// A proxy, and what does not go through it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Detour {
    /// The proxy.
    pub proxy: Proxy,
    /// Hosts that are reached directly.
    pub except: Exceptions,
    /// Whether this machine itself is reached through it. Only where an operator says so for an instance: seen from a proxy,
    /// `localhost` is another machine.
    pub even_loopback: bool,
}

impl Detour {
    /// Returns the proxy through which `host` is reached at `port`; `None`: directly.
    pub fn proxy_for(&self, host: &str, port: u16) -> Option<&Proxy> {
        let is_direct = (!self.even_loopback && exceptions::is_loopback(host)) || self.except.contains(host, port);
        (!is_direct).then_some(&self.proxy)
    }
}

/// The way to an instance and the gateway of its accounts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// Authorities that are trusted beside those of the web.
    pub authorities: Vec<Authority>,
    /// The proxy, if there is one.
    pub detour: Option<Detour>,
    /// How long to wait.
    pub timeouts: Timeouts,
    /// Names that are not looked up.
    pub names: Names,
}

/// The ways to all instances.
#[derive(Clone, Debug)]
pub struct Routes {
    /// To every instance that has none of its own.
    pub usual: Route,
    /// Those of their own.
    pub own: BTreeMap<InstanceUrl, Route>,
}

impl Routes {
    /// Returns the way to `instance`.
    pub fn of(&self, instance: &InstanceUrl) -> &Route {
        self.own.get(instance).unwrap_or(&self.usual)
    }
}
