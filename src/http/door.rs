//! What the handlers of one worker share, and what is true of the server they serve.

use std::cell::RefCell;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use actix::{Addr, Recipient};
use rand::rngs::StdRng;

use crate::access::Access;
use crate::account::lease::Lease;
use crate::account::login::LoginsActor;
use crate::account::registry::{Published, RegistryActor};
use crate::domain::catalogue::Catalogue;
use crate::domain::id::RequestId;
use crate::domain::secret::Secret;
use crate::domain::time::{Clock, Timestamp};
use crate::gitlab::upstream::{Upstream, Upstreams};
use crate::http::drain::Drain;
use crate::router::RouterActor;
use crate::store::backup::MakeBackup;
use crate::stored::Stored;
use crate::trace::Ring;

/// Limits of the data path; all settable.
#[derive(Clone, Debug)]
pub(crate) struct DoorSettings {
    /// Largest request body, in bytes.
    pub(crate) body_bytes_max: usize,
    /// Longest time a request may take as a whole.
    pub(crate) request_timeout: Duration,
    /// A stream that has said nothing for this long gets a sign of life.
    pub(crate) heartbeat: Duration,
    /// Hosts that a `Host` header may name, in lower case and without a port, beside those of this machine.
    pub(crate) hosts: Vec<String>,
    /// Whether operators may come from other machines.
    pub(crate) admin_remote: bool,
    /// Where operators may come from other machines, if there is a listener for them.
    pub(crate) admin_address: Option<SocketAddr>,
    /// Seals what a model thought, for clients of another dialect to keep.
    pub(crate) reasoning_key: Secret<[u8; 32]>,
    /// Whether lists in Anthropic's form have GPT models under names that begin with `claude-`, too.
    pub(crate) list_as_claude: bool,
}

/// What every worker's door is built from.
#[derive(Clone)]
pub(crate) struct DoorParts {
    pub(crate) registry: Addr<RegistryActor>,
    /// Who makes backups.
    pub(crate) backups: Recipient<MakeBackup>,
    pub(crate) logins: Addr<LoginsActor>,
    pub(crate) published: Published,
    pub(crate) access: Arc<Access>,
    pub(crate) catalogue: Arc<Catalogue>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) drain: Arc<Drain>,
    /// Answers that clients may refer to.
    pub(crate) stored: Arc<Stored>,
    /// What was decided about the last requests.
    pub(crate) traces: Arc<Ring>,
    pub(crate) settings: Arc<DoorSettings>,
    /// Effective settings for people, secrets masked.
    pub(crate) effective: Arc<serde_json::Value>,
}

/// The door of one worker.
pub(crate) struct Door {
    pub(crate) parts: DoorParts,
    pub(crate) router: Addr<RouterActor>,
    pub(crate) upstreams: Upstreams,
    pub(crate) rng: RefCell<StdRng>,
}

impl Door {
    /// Returns the present time.
    pub(crate) fn now(&self) -> Timestamp {
        self.parts.clock.now()
    }

    /// Draws an id for a request.
    pub(crate) fn new_request_id(&self) -> RequestId {
        RequestId::new(&mut *self.rng.borrow_mut())
    }

    /// Returns the way to the gateway of the account that is leased.
    pub(crate) fn upstream(&self, lease: &Lease) -> &Upstream {
        self.upstreams.of(&lease.account().instance)
    }

    /// Returns the limits of the data path.
    pub(crate) fn settings(&self) -> &DoorSettings {
        &self.parts.settings
    }
}

/// Returns the host part of a `Host` header or an origin, in lower case, without port and brackets.
pub(crate) fn host_name(authority: &str) -> String {
    let host = match authority.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => authority.rsplit_once(':').map_or(authority, |(host, _)| host),
    };
    host.trim_end_matches('.').to_ascii_lowercase()
}

/// Returns whether a host name or address means this machine.
pub(crate) fn is_this_machine(host: &str) -> bool {
    crate::domain::endpoint::is_loopback_name(host)
        || host.parse::<IpAddr>().is_ok_and(|ip| ip.to_canonical().is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_names_are_read_without_their_port() {
        for (text, host) in
            [("LocalHost:8080", "localhost"), ("[::1]:8080", "::1"), ("a.b.", "a.b"), ("10.0.0.1", "10.0.0.1")]
        {
            assert_eq!(host_name(text), host);
        }
        assert!(is_this_machine("127.0.0.1") && is_this_machine("::1") && is_this_machine("x.localhost"));
        assert!(!is_this_machine("localhost.example.com") && !is_this_machine("10.0.0.1"));
    }
}
