//! One request's trace, as its parts write it.

use std::cell::Cell;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::domain::catalogue::Wanted;
use crate::domain::conversation::Conversation;
use crate::domain::fault::{Fault, Reason, Scope};
use crate::domain::id::{AccountId, RequestId};
use crate::domain::model::{Dialect, ModelName};
use crate::domain::strategy::Strategy;
use crate::domain::time::Timestamp;
use crate::trace::ring::Ring;
use crate::trace::sheet::{Seen, Sheet, Tally};

/// Attempts that are kept; more than any request makes. The last one takes the place of the one before it.
const ATTEMPTS_MAX: usize = 32;

/// What is known of a request when it comes in.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Begun {
    /// When.
    pub(crate) at: Timestamp,
    /// Whose it is, by the number of the key.
    pub(crate) client: usize,
    /// The dialect of the client.
    pub(crate) dialect: Dialect,
    /// Whether it wants to know how many tokens it has, and no answer.
    pub(crate) counts_tokens: bool,
}

/// What a request asks for. A name that is no model is not kept: it may be anything, a key in the wrong place as well.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    /// The model as the client wrote it.
    pub(crate) model: Box<str>,
    /// What that means.
    pub(crate) wanted: Wanted,
    /// The pools that the key may use; empty: every pool.
    pub(crate) pools: Arc<[String]>,
    /// The conversation that it belongs to, as a hash.
    pub(crate) conversation: Option<Conversation>,
}

/// What decided among the accounts that could serve.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Decider {
    /// The conversation is at home there, or on the next best account.
    Conversation,
    /// It had the fewest requests in flight for its weight.
    Load,
    /// It was furthest below its share by weight.
    Share,
    /// It was its turn.
    Turn,
    /// It is the one in use until it is blocked.
    InUse,
    /// Chance.
    Chance,
}

/// Who was chosen.
#[derive(Clone, Debug)]
pub(crate) struct Chosen {
    /// Which account.
    pub(crate) account: AccountId,
    /// The exact name that it is asked for.
    pub(crate) model: ModelName,
    /// The dialect that it is asked in.
    pub(crate) dialect: Dialect,
    /// Whether the request finds out whether the account is well again.
    pub(crate) is_probe: bool,
    /// What decided.
    pub(crate) decider: Decider,
}

/// Why nobody was chosen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Nobody {
    /// There is no account that the key may use.
    Empty,
    /// No account's gateway supports the model.
    NoModel,
    /// The model does not speak a dialect that the client's can be brought into.
    OtherDialect,
    /// Every account is blocked or without a credential.
    Blocked {
        /// What keeps the one that recovers first.
        reason: Reason,
        /// When it recovers.
        until: Timestamp,
    },
    /// Every account is full.
    Busy,
    /// Every account was tried.
    Exhausted,
}

/// How an attempt went wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    /// The status of the answer, if there was one.
    pub(crate) status: Option<u16>,
    /// What it means.
    pub(crate) reason: Reason,
    /// Whose fault it is.
    pub(crate) scope: Scope,
}

impl Failure {
    /// Takes what `fault` says.
    pub(crate) fn new(status: Option<u16>, fault: &Fault) -> Self {
        Self { status, reason: fault.reason, scope: fault.scope }
    }
}

/// How an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// The account gave the whole answer.
    Answered,
    /// It went wrong.
    Failed(Failure),
}

/// A look at the table, and the sending that came of it, if somebody was chosen.
#[derive(Clone, Debug, Default)]
pub(crate) struct Attempt {
    /// Accounts as they were looked at, last time there was a look for this attempt.
    pub(crate) seen: Vec<Seen>,
    /// Further accounts that there is no place for.
    pub(crate) others: Tally,
    /// What the look came to; `None` before it.
    pub(crate) result: Option<Result<Chosen, Nobody>>,
    /// How long it waited in line for a slot.
    pub(crate) queued: Option<Duration>,
    /// How long it waited for an account's new credential, having found nobody.
    pub(crate) renewing: Option<Duration>,
    /// From the sending to the first content.
    pub(crate) first_content: Option<Duration>,
    /// From the choice to the end.
    pub(crate) took: Option<Duration>,
    /// How it ended.
    pub(crate) ended: Option<Ended>,
}

/// What came of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The client got its answer.
    Finished,
    /// The client was told an error.
    Told {
        /// The status.
        status: u16,
        /// What kind of error.
        what: &'static str,
        /// Why, where a reason is behind it.
        reason: Option<Reason>,
        /// When to come again, where that is known.
        until: Option<Timestamp>,
    },
    /// The answer had begun and ended in an error.
    CutOff(Reason),
    /// The server shut down in the middle of the answer.
    Stopped,
    /// The client left.
    Left,
}

/// All that is kept of a request.
#[derive(Clone, Debug)]
pub(crate) struct Trace {
    /// How it came in.
    pub(crate) begun: Begun,
    /// What it asks for; `None` until it was read, or if it asks for no model that there could be.
    pub(crate) asked: Option<Asked>,
    /// How accounts were chosen; `None` until one was looked for.
    pub(crate) strategy: Option<Strategy>,
    /// In order.
    pub(crate) attempts: Vec<Attempt>,
    /// What came of it, and after what time; `None` while it is in progress.
    pub(crate) outcome: Option<(Outcome, Duration)>,
}

impl Trace {
    /// Returns about how many bytes of memory it takes.
    pub(super) fn bytes(&self) -> usize {
        let model = self.asked.as_ref().map_or(0, |asked| asked.model.len());
        let attempts = self.attempts.capacity() * size_of::<Attempt>();
        let seen: usize = self.attempts.iter().map(|attempt| attempt.seen.capacity() * size_of::<Seen>()).sum();
        size_of::<Record>() + model + attempts + seen
    }

    fn last(&mut self) -> &mut Attempt {
        if self.attempts.is_empty() {
            self.attempts.push(Attempt::default());
        }
        let last = self.attempts.len() - 1;
        &mut self.attempts[last]
    }
}

/// A trace that is shared by those who write it and those who read it.
#[derive(Debug)]
pub(crate) struct Record {
    id: RequestId,
    trace: Mutex<Trace>,
    /// Bytes that the ring counts for it; 0 if it is not there. Changed by the ring alone, under its own lock.
    pub(super) counted: AtomicUsize,
}

impl Record {
    fn new(id: RequestId, begun: Begun) -> Self {
        let trace = Trace { begun, asked: None, strategy: None, attempts: Vec::new(), outcome: None };
        Self { id, trace: Mutex::new(trace), counted: AtomicUsize::new(0) }
    }

    /// Returns the request's id.
    pub(crate) fn id(&self) -> &RequestId {
        &self.id
    }

    /// Returns the trace as it is now.
    pub(crate) fn read(&self) -> Trace {
        self.write().clone()
    }

    /// Notes a look at the table, in place of an earlier one for the same attempt.
    pub(crate) fn looked(&self, sheet: Sheet, strategy: Strategy, result: Result<Chosen, Nobody>) {
        let mut trace = self.write();
        trace.strategy = Some(strategy);
        let attempt = trace.last();
        (attempt.seen, attempt.others, attempt.result) = (sheet.seen, sheet.others, Some(result));
    }

    /// Held for the time of a few moves, and never while anything is waited for.
    pub(super) fn write(&self) -> MutexGuard<'_, Trace> {
        self.trace.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The trace of a request that is on its way. Dropping it without an outcome means that the client left.
#[derive(Debug)]
pub(crate) struct Trail {
    record: Arc<Record>,
    ring: Arc<Ring>,
    began: Instant,
    /// When the present attempt began, or its wait ended.
    attempt_began: Cell<Instant>,
}

impl Trail {
    /// Opens the trace of a request, and puts it into `ring`.
    pub(crate) fn begin(ring: &Arc<Ring>, id: RequestId, begun: Begun) -> Self {
        let record = Arc::new(Record::new(id, begun));
        ring.put(&record);
        let now = Instant::now();
        Self { record, ring: Arc::clone(ring), began: now, attempt_began: Cell::new(now) }
    }

    /// Returns the record, for others to write in as well.
    pub(crate) fn record(&self) -> &Arc<Record> {
        &self.record
    }

    /// Notes what is asked for.
    pub(crate) fn asked(&self, asked: Asked) {
        self.record.write().asked = Some(asked);
    }

    /// Begins an attempt.
    pub(crate) fn attempt(&self) {
        self.attempt_began.set(Instant::now());
        let mut trace = self.record.write();
        if trace.attempts.len() == ATTEMPTS_MAX {
            trace.attempts.pop();
        }
        trace.attempts.push(Attempt::default());
    }

    /// Notes that the attempt waited in line until now.
    pub(crate) fn queued(&self) {
        let queued = self.attempt_began.replace(Instant::now()).elapsed();
        self.record.write().last().queued = Some(queued);
    }

    /// Notes that the attempt found nobody, and waited for an account's new credential until now.
    pub(crate) fn renewed(&self) {
        let renewing = self.attempt_began.replace(Instant::now()).elapsed();
        self.record.write().last().renewing = Some(renewing);
    }

    /// Notes that the first content came, `after` the request was sent.
    pub(crate) fn answering(&self, after: Duration) {
        self.record.write().last().first_content = Some(after);
    }

    /// Notes that the attempt failed.
    pub(crate) fn failed(&self, failure: Failure) {
        self.attempt_ended(Ended::Failed(failure));
    }

    /// Notes that the answer is whole.
    pub(crate) fn answered(&self) {
        self.attempt_ended(Ended::Answered);
        self.finish(Outcome::Finished);
    }

    /// Notes that the answer, which had begun, ended in an error.
    pub(crate) fn cut_off(&self, failure: Failure) {
        self.attempt_ended(Ended::Failed(failure));
        self.finish(Outcome::CutOff(failure.reason));
    }

    /// Notes what came of the request, unless that is known.
    pub(crate) fn finish(&self, outcome: Outcome) {
        let bytes = {
            let mut trace = self.record.write();
            if trace.outcome.is_some() {
                return;
            }
            trace.outcome = Some((outcome, self.began.elapsed()));
            trace.bytes()
        };
        self.ring.weigh(&self.record, bytes);
    }

    fn attempt_ended(&self, ended: Ended) {
        let took = self.attempt_began.get().elapsed();
        let mut trace = self.record.write();
        let attempt = trace.last();
        (attempt.took, attempt.ended) = (Some(took), Some(ended));
    }
}

impl Drop for Trail {
    fn drop(&mut self) {
        self.finish(Outcome::Left);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::id::hex;
    use crate::trace::sheet::Verdict;
    use crate::trace::sheet::tests::seen;

    pub(super) fn trail(ring: &Arc<Ring>) -> Trail {
        let begun = Begun {
            at: Timestamp::from_secs(1_800_000_000),
            client: 0,
            dialect: Dialect::Messages,
            counts_tokens: false,
        };
        Trail::begin(ring, RequestId::new(&mut rand::rng()), begun)
    }

    #[test]
    fn a_trail_that_is_dropped_says_that_the_client_left_unless_something_came_of_it() {
        let ring = Arc::new(Ring::default());
        let (left, done) = (trail(&ring), trail(&ring));
        let (left_record, done_record) = (Arc::clone(left.record()), Arc::clone(done.record()));
        assert!(left_record.read().outcome.is_none(), "it is in progress");
        done.attempt();
        done.answered();
        drop((left, done));
        let outcome = |record: &Record| record.read().outcome.map(|(outcome, _)| outcome);
        assert_eq!(outcome(&left_record), Some(Outcome::Left));
        assert_eq!(outcome(&done_record), Some(Outcome::Finished));
        assert_eq!(done_record.read().attempts[0].ended, Some(Ended::Answered));
    }

    #[test]
    fn a_later_look_for_the_same_attempt_replaces_the_earlier_one_and_another_attempt_does_not() {
        let ring = Arc::new(Ring::default());
        let trail = trail(&ring);
        let look = |name: &str| {
            let mut sheet = Sheet::bounded(1);
            sheet.note(Verdict::Full, || seen(name, Verdict::Full));
            trail.record().looked(sheet, Strategy::Balanced, Err(Nobody::Busy));
        };
        trail.attempt();
        look("first");
        look("second");
        trail.attempt();
        look("third");
        let attempts = trail.record().read().attempts;
        let names: Vec<&str> = attempts.iter().map(|attempt| attempt.seen[0].account.as_str()).collect();
        assert_eq!(names, ["second", "third"]);
    }

    #[test]
    fn what_one_request_can_make_us_keep_is_bounded() {
        let ring = Arc::new(Ring::default());
        let trail = trail(&ring);
        for _ in 0..1_000 {
            trail.attempt();
            let mut sheet = Sheet::bounded(10_000);
            for number in 0..10_000_u32 {
                sheet.note(Verdict::Full, || seen(&hex(&number.to_be_bytes()), Verdict::Full));
            }
            trail.record().looked(sheet, Strategy::Balanced, Err(Nobody::Busy));
        }
        let bytes = trail.record().read().bytes();
        assert!(bytes < 200 * 1_024, "{bytes}");
        assert_eq!(trail.record().read().attempts.len(), ATTEMPTS_MAX);
    }
}
