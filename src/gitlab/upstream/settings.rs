//! The clients of one thread: one for each way out.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use crate::domain::endpoint::InstanceUrl;
use crate::domain::route::{Names, Route, Routes, Timeouts};
use crate::gitlab::upstream::{Upstream, trust};

/// What a client needs to know once.
#[derive(Clone, Debug)]
pub(crate) struct UpstreamSettings {
    pub(super) route: Route,
    /// Certificates and protocol, shared by all workers so that sessions are resumed.
    pub(super) tls: Arc<rustls::ClientConfig>,
    /// Whether it leads elsewhere than that of other instances.
    pub(super) apart: bool,
}

impl UpstreamSettings {
    /// Returns settings for `route`.
    pub(crate) fn new(route: &Route) -> Self {
        Self { route: route.clone(), tls: Arc::new(trust::client_config(&route.authorities)), apart: false }
    }

    /// Returns settings for a client that goes nowhere but straight ahead, such as to this machine.
    pub(crate) fn direct(connect: std::time::Duration) -> Self {
        let timeouts = Timeouts { connect, head_stream: connect, head_whole: connect, idle: connect };
        Self::new(&Route { authorities: Vec::new(), detour: None, timeouts, names: Names::default() })
    }
}

/// What the clients of a thread need to know once.
#[derive(Clone, Debug)]
pub(crate) struct UpstreamsSettings {
    usual: UpstreamSettings,
    own: BTreeMap<InstanceUrl, UpstreamSettings>,
}

impl UpstreamsSettings {
    /// Returns settings for `routes`.
    pub(crate) fn new(routes: &Routes) -> Self {
        let usual = &routes.usual;
        let own = routes.own.iter().map(|(instance, route)| {
            let apart = route.detour != usual.detour || route.authorities != usual.authorities;
            (instance.clone(), UpstreamSettings { apart, ..UpstreamSettings::new(route) })
        });
        Self { usual: UpstreamSettings::new(&routes.usual), own: own.collect() }
    }
}

/// The clients of one thread: it is not `Send`. An instance that has no way of its own shares connections with all others
/// of that kind.
#[derive(Clone)]
pub(crate) struct Upstreams {
    usual: Upstream,
    own: Rc<BTreeMap<InstanceUrl, Upstream>>,
}

impl Upstreams {
    /// Builds the clients of this thread.
    pub(crate) fn new(settings: &UpstreamsSettings) -> Self {
        let own = settings.own.iter().map(|(instance, settings)| (instance.clone(), Upstream::new(settings)));
        Self { usual: Upstream::new(&settings.usual), own: Rc::new(own.collect()) }
    }

    /// Returns the client for `instance` and the gateway of its accounts.
    pub(crate) fn of(&self, instance: &InstanceUrl) -> &Upstream {
        // Nearly always empty, and asked for every request.
        if self.own.is_empty() { &self.usual } else { self.own.get(instance).unwrap_or(&self.usual) }
    }
}
