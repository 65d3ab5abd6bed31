//! Ground truth, steps and time.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::domain::time::{Clock as _, Timestamp};
use crate::simulator::handle::{SimulatorHandle, UnknownAccount};
use crate::simulator::steps::{Hold, HoldInForce, StepEvent};
use crate::simulator::tally::Tally;

impl SimulatorHandle {
    /// Returns what really happened to an account.
    pub fn tally(&self, username: &str) -> Result<Tally, UnknownAccount> {
        let now = self.now();
        self.shared.read(|state| {
            let account = state.account_index(username).ok_or_else(|| UnknownAccount(username.to_owned()))?;
            Ok(state.tally(account, now))
        })
    }

    /// Returns what really happened to each account, by username.
    pub fn tallies(&self) -> BTreeMap<String, Tally> {
        let now = self.now();
        self.shared.read(|state| {
            let told = |(index, username): (usize, &str)| (username.to_owned(), state.tally(index, now));
            state.accounts.iter().map(|account| account.username.as_str()).enumerate().map(told).collect()
        })
    }

    /// Keeps requests that reach a step there until the hold is released, and returns its id. A hold at
    /// [`Step::Replied`](crate::simulator::Step::Replied) takes nothing: that answer is gone.
    pub fn hold(&self, hold: Hold) -> u64 {
        self.shared.change(|state| state.steps.hold(hold))
    }

    /// Lets go what a hold keeps and lifts it; returns whether there was such a hold.
    pub fn release(&self, hold: u64) -> bool {
        self.shared.change(|state| state.steps.release(hold))
    }

    /// Lets go whatever is held and lifts all holds.
    pub fn release_all(&self) {
        self.shared.change(|state| state.steps.release_all());
    }

    /// Returns the holds in force, with the requests that they keep.
    pub fn holds(&self) -> Vec<HoldInForce> {
        self.shared.read(|state| state.steps.holds().to_vec())
    }

    /// Returns the steps that were reached, oldest first.
    pub fn steps(&self) -> Vec<StepEvent> {
        self.shared.read(|state| state.steps.events().cloned().collect())
    }

    /// Waits for a step, past or future, that satisfies `wanted`.
    pub async fn reached(&self, mut wanted: impl FnMut(&StepEvent) -> bool) -> StepEvent {
        self.shared.until(|state| state.steps.events().find(|event| wanted(event)).cloned()).await
    }

    /// Returns the simulator's time.
    pub fn now(&self) -> Timestamp {
        self.shared.clock.now()
    }

    /// Moves the simulator's clock forward.
    pub fn advance_clock(&self, step: Duration) {
        self.shift_clock_ms(i64::try_from(step.as_millis()).unwrap_or(i64::MAX));
    }

    /// Sets how many milliseconds the simulator's clock is ahead of the clock it was started with.
    pub fn set_clock_offset_ms(&self, offset_ms: i64) {
        self.shared.clock.set_offset_ms(offset_ms);
        self.wake();
    }

    pub(crate) fn shift_clock_ms(&self, by_ms: i64) {
        self.shared.clock.shift(by_ms);
        self.wake();
    }

    /// Time is part of what others wait for.
    fn wake(&self) {
        self.shared.change(|_| ());
    }
}
