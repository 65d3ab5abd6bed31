//! What tests and the demo hold in their hands: control and read-back of a running simulator.

mod login;
mod proof;

use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::domain::time::Clock as _;
use crate::simulator::account::{Credit, SimulatedAccount, Standing};
use crate::simulator::journal::{Gauges, Record};
use crate::simulator::script::{Call, Rule};
use crate::simulator::seen_secrets::SeenSecret;
use crate::simulator::state::{Instance, Shared};

/// There is no account with this username.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the simulator has no account `{0}`")]
pub struct UnknownAccount(pub String);

/// Why an order about logins was not carried out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotDone {
    /// There is no such account.
    #[error(transparent)]
    Account(#[from] UnknownAccount),
    /// There is no OAuth application with this client id.
    #[error("the simulator has no OAuth application `{0}`")]
    Application(String),
    /// A browser would see an error page.
    #[error("a browser would see an error page: {0}")]
    Page(String),
}

/// Controls a running simulator, from any thread.
///
/// Closures that are handed in run while the state is locked: they must not call the handle. The waiting functions
/// have no deadline of their own; a test that may wait in vain puts its own around them.
#[derive(Clone, Debug)]
pub struct SimulatorHandle {
    pub(crate) shared: Arc<Shared>,
}

impl SimulatorHandle {
    /// Changes an account: credit, entitlement, token facts, models.
    pub fn change_account(&self, username: &str, change: impl FnOnce(&mut Standing)) -> Result<(), UnknownAccount> {
        self.shared.change(|state| {
            let account = state.account_mut(username).ok_or_else(|| UnknownAccount(username.to_owned()))?;
            change(&mut account.standing);
            Ok(())
        })
    }

    /// Sets what the gateway's quota check says about an account.
    pub fn set_credit(&self, username: &str, credit: Credit) -> Result<(), UnknownAccount> {
        self.change_account(username, |standing| standing.credit = credit)
    }

    /// Sets what the gateway's quota check says about one model of an account.
    pub fn set_model_credit(&self, username: &str, model: &str, credit: Credit) -> Result<(), UnknownAccount> {
        self.change_account(username, |standing| {
            standing.model_credit.insert(model.to_owned(), credit);
        })
    }

    /// Adds an account.
    pub fn add_account(&self, account: SimulatedAccount) {
        self.shared.change(|state| state.accounts.push(account));
    }

    /// Returns the accounts as they are now.
    pub fn accounts(&self) -> Vec<SimulatedAccount> {
        self.shared.read(|state| state.accounts.clone())
    }

    /// Changes the instance: age, reported gateway, grant lifetime and the like.
    pub fn change_instance(&self, change: impl FnOnce(&mut Instance)) {
        self.shared.change(|state| change(&mut state.instance));
    }

    /// Returns the instance as it is now.
    pub fn instance(&self) -> Instance {
        self.shared.read(|state| state.instance.clone())
    }

    /// Adds a rule behind those in force.
    pub fn add_rule(&self, rule: Rule) {
        let now = self.shared.clock.now();
        self.shared.change(|state| state.script.add(rule, now));
    }

    /// Removes all rules.
    pub fn clear_rules(&self) {
        self.shared.change(|state| state.script.clear());
    }

    /// Returns the rules that are still in force.
    pub fn rules(&self) -> Vec<Rule> {
        self.shared.read(|state| state.script.rules().to_vec())
    }

    /// Revokes the gateway tokens handed out so far, of one account or of all; new ones work.
    pub fn revoke_grants(&self, username: Option<&str>) -> Result<(), UnknownAccount> {
        self.shared.change(|state| {
            let account = match username {
                None => None,
                Some(name) => {
                    let index = state.account_index(name);
                    Some(index.ok_or_else(|| UnknownAccount(name.to_owned()))?)
                }
            };
            state.grants.revoke(account);
            Ok(())
        })
    }

    /// Returns the logged requests, oldest first.
    pub fn requests(&self) -> Vec<Record> {
        self.shared.read(|state| state.journal.records().cloned().collect())
    }

    /// Returns the logged requests of one call, oldest first.
    pub fn requests_of(&self, call: Call) -> Vec<Record> {
        self.shared.read(|state| state.journal.records().filter(|record| record.call == call).cloned().collect())
    }

    /// Forgets the logged requests; the gauges keep counting.
    pub fn clear_requests(&self) {
        self.shared.change(|state| state.journal.clear());
    }

    /// Switches the log on or off. A benchmark wants it off.
    pub fn keep_requests(&self, keep: bool) {
        self.shared.change(|state| state.journal.keep(keep));
    }

    /// Keeps every secret from now on, in clear text.
    pub fn keep_secrets(&self) {
        self.shared.change(|state| state.seen_secrets.keep());
    }

    /// Returns the secrets that were kept, oldest first, each once.
    pub fn seen_secrets(&self) -> Vec<SeenSecret> {
        self.shared.read(|state| state.seen_secrets.all().to_vec())
    }

    /// Returns the counts.
    pub fn gauges(&self) -> Gauges {
        self.shared.read(|state| state.gauges)
    }

    /// Returns how many pieces of answers (the events of a stream, or a body that comes whole) connections have taken so
    /// far. It stands still where a client does not read.
    pub fn chunks_sent(&self) -> u64 {
        self.shared.chunks_sent.load(Ordering::Relaxed)
    }

    /// Waits for a logged request, past or future, that satisfies `wanted`; it is asked again as a request's status
    /// and ending become known.
    pub async fn arrived(&self, mut wanted: impl FnMut(&Record) -> bool) -> Record {
        self.shared.until(|state| state.journal.records().find(|record| wanted(record)).cloned()).await
    }

    /// Waits until `count` clients, in all of the simulator's life, hung up before their answer's end.
    pub async fn closed_early(&self, count: u64) {
        self.counted(|gauges| gauges.closed_early >= count).await;
    }

    /// Waits until the gauges satisfy `wanted`, and returns them.
    pub async fn counted(&self, mut wanted: impl FnMut(&Gauges) -> bool) -> Gauges {
        self.shared.until(|state| wanted(&state.gauges).then_some(state.gauges)).await
    }
}
