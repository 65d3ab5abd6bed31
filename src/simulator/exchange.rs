//! One request on its way: what it counts as, which steps it reaches, and how it ends.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::domain::time::Clock as _;
use crate::simulator::journal::Ending;
use crate::simulator::state::Shared;
use crate::simulator::steps::{Flow, Step, StepEvent};

/// One request on its way through the simulator; its drop is how a hang-up is seen.
#[derive(Debug)]
pub(crate) struct Exchange {
    shared: Arc<Shared>,
    number: u64,
    streaming: bool,
    ending: Ending,
    status: Option<u16>,
    watched: Watched,
}

/// What else is watched of a request.
#[derive(Debug, Default)]
pub(crate) struct Watched {
    /// Whose it is.
    pub(crate) account: Option<String>,
    /// What it changes for good.
    pub(crate) flow: Option<Flow>,
    /// Fingerprint of the refresh token that it uses.
    pub(crate) refreshing: Option<String>,
}

impl Exchange {
    /// Starts watching request `number`, which the caller has counted.
    pub(crate) fn watch(shared: Arc<Shared>, number: u64, watched: Watched) -> Self {
        Self { shared, number, streaming: false, ending: Ending::ClosedByClient, status: None, watched }
    }

    /// Returns whether the request changes something for good.
    pub(crate) fn has_steps(&self) -> bool {
        self.watched.flow.is_some()
    }

    /// Returns whose request it is, by username.
    pub(crate) fn account(&self) -> Option<&str> {
        self.watched.account.as_deref()
    }

    /// Records that a step is reached, and waits while it is held there.
    pub(crate) async fn reach(&self, step: Step, status: Option<u16>) {
        let Some(event) = self.event(step, status) else { return };
        self.shared.change(|state| state.steps.reach(event));
        self.shared.until(|state| (!state.steps.is_held(self.number)).then_some(())).await;
    }

    fn event(&self, step: Step, status: Option<u16>) -> Option<StepEvent> {
        let (flow, account) = (self.watched.flow?, self.watched.account.clone());
        let at = self.shared.clock.now();
        Some(StepEvent { number: 0, request: self.number, flow, step, account, status, at })
    }

    /// Records what is answered; of a stream it counts that it is open.
    pub(crate) fn answered(&mut self, status: u16, streaming: bool) {
        self.streaming = streaming;
        self.status = Some(status);
        self.shared.change(|state| {
            state.gauges.open_streams += u64::from(streaming);
            if let Some(record) = state.journal.record_mut(self.number) {
                record.status = Some(status);
            }
        });
    }

    /// Counts a piece of an answer that the connection took.
    pub(crate) fn count_chunk(&self) {
        self.shared.chunks_sent.fetch_add(1, Ordering::Relaxed);
    }

    /// Notes how the request will have ended once this is dropped.
    pub(crate) fn will_end(&mut self, ending: Ending) {
        self.ending = ending;
    }

    /// Ends the request.
    pub(crate) fn ended(mut self, ending: Ending) {
        self.ending = ending;
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        let replied = self.event(Step::Replied, self.status).filter(|_| self.ending == Ending::Complete);
        self.shared.change(|state| {
            state.steps.forget(self.number);
            if let Some(token) = &self.watched.refreshing {
                state.tallies.refresh_ends(token);
            }
            if let Some(event) = replied {
                state.steps.reach(event);
            }
            state.gauges.open_requests -= 1;
            state.gauges.open_streams -= u64::from(self.streaming);
            state.gauges.closed_early += u64::from(self.ending == Ending::ClosedByClient);
            if let Some(record) = state.journal.record_mut(self.number) {
                record.ending = self.ending;
            }
        });
    }
}
