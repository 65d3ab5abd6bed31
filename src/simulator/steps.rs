//! The steps of calls that change something for good: seen as they are reached, and held there on demand.
//!
//! This is how a test kills a client at exactly the moment that matters: before GitLab committed, or after it committed
//! and before the answer left.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use crate::domain::time::Timestamp;
use crate::simulator::script::Call;

/// Steps that are remembered; older ones are forgotten.
const EVENTS_MAX: usize = 10_000;

/// A call that changes something for good.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Flow {
    /// An authorization code becomes tokens.
    CodeExchange,
    /// A refresh token becomes another pair.
    Refresh,
    /// A device code becomes tokens.
    DeviceLogin,
    /// `third_party_agents/direct_access`.
    Mint,
    /// `code_suggestions/direct_access`.
    CompletionMint,
}

impl Flow {
    pub(crate) fn of(call: Call) -> Option<Self> {
        match call {
            Call::CodeExchange => Some(Self::CodeExchange),
            Call::Refresh => Some(Self::Refresh),
            Call::DevicePoll => Some(Self::DeviceLogin),
            Call::ThirdPartyDirectAccess => Some(Self::Mint),
            Call::CodeSuggestionsDirectAccess => Some(Self::CompletionMint),
            _ => None,
        }
    }
}

/// How far such a call is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// The request is there; nothing was looked at.
    Arrived,
    /// The change is made; nothing of the answer was sent. A refused call does not come here.
    Committed,
    /// The answer was handed to the connection whole.
    Replied,
}

/// A step that was reached.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct StepEvent {
    /// Serial number, from 1.
    pub number: u64,
    /// The request's number in the log.
    pub request: u64,
    /// Which call.
    pub flow: Flow,
    /// How far it is.
    pub step: Step,
    /// Whose it is, by username.
    pub account: Option<String>,
    /// Status of the answer; not known on arrival.
    pub status: Option<u16>,
    /// When.
    pub at: Timestamp,
}

/// An order to keep requests at a step until it is released.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hold {
    /// Which call.
    pub flow: Flow,
    /// At which step; an answer that was sent cannot be held.
    pub step: Step,
    /// Only this account, by username.
    #[serde(default)]
    pub account: Option<String>,
    /// How many requests it takes; unset means all.
    #[serde(default)]
    pub times: Option<u32>,
}

/// A hold in force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct HoldInForce {
    /// What it is released by.
    pub id: u64,
    /// The order; of its `times` what is left.
    #[serde(flatten)]
    pub hold: Hold,
    /// Numbers of the requests that wait.
    pub requests: Vec<u64>,
}

/// What reached which step, and what waits there.
#[derive(Debug, Default)]
pub(crate) struct Steps {
    events: VecDeque<StepEvent>,
    holds: Vec<HoldInForce>,
    last_event: u64,
    last_hold: u64,
}

impl Steps {
    /// Records a step and keeps the request there where a hold wants it. `event.number` is set here.
    pub(crate) fn reach(&mut self, mut event: StepEvent) {
        self.last_event += 1;
        event.number = self.last_event;
        let takes = |known: &&mut HoldInForce| {
            let hold = &known.hold;
            let anyone = hold.account.is_none() || hold.account == event.account;
            anyone && hold.times != Some(0) && (hold.flow, hold.step) == (event.flow, event.step)
        };
        if let Some(known) = self.holds.iter_mut().find(takes) {
            known.hold.times = known.hold.times.map(|times| times - 1);
            known.requests.push(event.request);
        }
        self.events.push_back(event);
        if self.events.len() > EVENTS_MAX {
            self.events.pop_front();
        }
    }

    /// Returns whether a request has to wait.
    pub(crate) fn is_held(&self, request: u64) -> bool {
        self.holds.iter().any(|hold| hold.requests.contains(&request))
    }

    /// Forgets a request that went away.
    pub(crate) fn forget(&mut self, request: u64) {
        for hold in &mut self.holds {
            hold.requests.retain(|held| *held != request);
        }
    }

    pub(crate) fn hold(&mut self, hold: Hold) -> u64 {
        self.last_hold += 1;
        self.holds.push(HoldInForce { id: self.last_hold, hold, requests: Vec::new() });
        self.last_hold
    }

    /// Lets go what a hold keeps and lifts it; returns whether there was one.
    pub(crate) fn release(&mut self, id: u64) -> bool {
        let before = self.holds.len();
        self.holds.retain(|hold| hold.id != id);
        self.holds.len() < before
    }

    pub(crate) fn release_all(&mut self) {
        self.holds.clear();
    }

    pub(crate) fn holds(&self) -> &[HoldInForce] {
        &self.holds
    }

    pub(crate) fn events(&self) -> impl Iterator<Item = &StepEvent> {
        self.events.iter()
    }
}
