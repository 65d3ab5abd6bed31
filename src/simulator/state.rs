//! All that the simulator remembers, in one place.
//!
//! It stands behind one lock instead of in an actor: its users are tests and benchmarks, which change and read it from
//! threads without an actor system, and the lock is never held across an await.

use std::net::SocketAddr;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::domain::time::{Clock, Timestamp};
use crate::simulator::account::SimulatedAccount;
use crate::simulator::answer::Answer;
use crate::simulator::clock::ShiftedClock;
use crate::simulator::grants::Grants;
use crate::simulator::journal::{Gauges, Journal};
use crate::simulator::limits::{Kind, Limits, Windows};
use crate::simulator::oauth::{OauthApplication, OauthPolicy, Vault};
use crate::simulator::script::Script;
use crate::simulator::seen_secrets::SeenSecrets;
use crate::simulator::steps::Steps;
use crate::simulator::tally::{Tallies, Tally};

/// What can be changed about the instance at run time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Instance {
    /// Which kind of GitLab this is.
    pub deployment: Deployment,
    /// Version as GraphQL and the grant's headers tell it.
    pub version: String,
    /// Id of the instance in the grant's headers.
    pub instance_id: String,
    /// Whether the instance is older than 18.4 and does not know `third_party_agents`.
    pub too_old: bool,
    /// Whether administrators allow direct connections to the gateway.
    pub direct_connections: bool,
    /// Gateway that `code_suggestions/direct_access` reports; unset means the simulator's own.
    pub reported_gateway: Option<String>,
    /// Life of a new grant in seconds.
    pub grant_lifetime_s: u64,
    /// Number of text deltas in a model's plain text answer; unset means as many as the text has words.
    pub text_deltas: Option<u32>,
    /// How the OAuth server behaves.
    pub oauth: OauthPolicy,
    /// How often somebody may ask.
    pub limits: Limits,
}

impl Default for Instance {
    fn default() -> Self {
        Self {
            deployment: Deployment::GitlabCom,
            version: "19.6.0-ee".to_owned(),
            instance_id: "ea8bf810-1d6f-4a6a-b4fd-93e8cbd8b57f".to_owned(),
            too_old: false,
            direct_connections: true,
            reported_gateway: None,
            grant_lifetime_s: 3_600,
            text_deltas: None,
            oauth: OauthPolicy::default(),
            limits: Limits::default(),
        }
    }
}

/// Which kind of GitLab an instance is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Deployment {
    /// GitLab.com: grants are bound to a namespace.
    GitlabCom,
    /// A self-managed instance: grants are bound to the instance.
    SelfManaged,
    /// GitLab Dedicated, self-managed in all but name.
    Dedicated,
}

impl Deployment {
    /// Returns the value of `x-gitlab-realm`.
    pub(crate) const fn realm(self) -> &'static str {
        match self {
            Self::GitlabCom => "saas",
            Self::SelfManaged | Self::Dedicated => "self-managed",
        }
    }

    /// Returns the value of `x-gitlab-deployment-type`.
    pub(crate) const fn kind(self) -> &'static str {
        match self {
            Self::GitlabCom => ".com",
            Self::SelfManaged => "self-managed",
            Self::Dedicated => "dedicated",
        }
    }
}

/// The simulator's memory.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) instance: Instance,
    pub(crate) accounts: Vec<SimulatedAccount>,
    pub(crate) grants: Grants,
    pub(crate) script: Script,
    pub(crate) journal: Journal,
    pub(crate) gauges: Gauges,
    pub(crate) applications: Vec<OauthApplication>,
    pub(crate) vault: Vault,
    pub(crate) windows: Windows,
    pub(crate) tallies: Tallies,
    pub(crate) steps: Steps,
    pub(crate) seen_secrets: SeenSecrets,
}

impl State {
    /// Returns the position of the account that a personal access token belongs to.
    pub(crate) fn owner(&self, token: &str) -> Option<usize> {
        self.accounts.iter().position(|account| account.token.expose() == token)
    }

    /// Returns the position of the account with a username.
    pub(crate) fn account_index(&self, username: &str) -> Option<usize> {
        self.accounts.iter().position(|account| account.username == username)
    }

    /// Returns the application with a client id.
    pub(crate) fn application(&self, client_id: &str) -> Option<&OauthApplication> {
        self.applications.iter().find(|application| application.client_id == client_id)
    }

    /// Lets a call pass a limit, or returns GitLab's refusal, which is counted.
    pub(crate) fn throttle(
        &mut self,
        kind: Kind,
        who: &str,
        account: Option<usize>,
        now: Timestamp,
    ) -> Result<(), Answer> {
        let passed = self.windows.admit(&self.instance.limits, kind, who, now);
        if passed.is_err() {
            self.gauges.throttled += 1;
            if let Some(account) = account {
                self.tallies.of(account).throttled += 1;
            }
        }
        passed
    }

    /// Returns what happened to an account, with its tokens that work now.
    pub(crate) fn tally(&self, account: usize, now: Timestamp) -> Tally {
        let (refresh_tokens_valid, access_tokens_valid) = self.vault.valid(account, now);
        Tally { refresh_tokens_valid, access_tokens_valid, ..self.tallies.told(account) }
    }

    /// Returns the account with a username.
    pub(crate) fn account_mut(&mut self, username: &str) -> Option<&mut SimulatedAccount> {
        self.accounts.iter_mut().find(|account| account.username == username)
    }
}

/// What the server's worker and the handles share.
#[derive(Debug)]
pub(crate) struct Shared {
    state: Mutex<State>,
    changes: watch::Sender<u64>,
    pub(crate) clock: ShiftedClock,
    pub(crate) address: SocketAddr,
    pub(crate) path_prefix: String,
    /// Pieces of bodies that connections took. Not behind the lock, since it changes with every event.
    pub(crate) chunks_sent: AtomicU64,
}

impl Shared {
    pub(crate) fn new(state: State, clock: Arc<dyn Clock>, address: SocketAddr, path_prefix: String) -> Self {
        Self {
            state: Mutex::new(state),
            changes: watch::Sender::new(0),
            clock: ShiftedClock::new(clock),
            address,
            path_prefix,
            chunks_sent: AtomicU64::new(0),
        }
    }

    /// Reads the state.
    pub(crate) fn read<T>(&self, look: impl FnOnce(&State) -> T) -> T {
        look(&self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Changes the state and wakes those who wait for a change.
    pub(crate) fn change<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        let result = act(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner));
        self.changes.send_modify(|version| *version = version.wrapping_add(1));
        result
    }

    /// Waits until `look` finds something; it is asked at once and after every change.
    pub(crate) async fn until<T>(&self, mut look: impl FnMut(&State) -> Option<T>) -> T {
        let mut changes = self.changes.subscribe();
        loop {
            if let Some(found) = self.read(&mut look) {
                return found;
            }
            // The sender lives in `self`, so this cannot fail while somebody waits here.
            if changes.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    /// Returns the instance's root.
    pub(crate) fn url(&self) -> String {
        format!("http://{}{}", self.address, self.path_prefix)
    }

    /// Returns the gateway's root.
    pub(crate) fn gateway_url(&self) -> String {
        format!("http://{}/ai", self.address)
    }
}
