//! The body of a streamed answer: pulls from the upstream at the client's pace, and owns the lease.
//!
//! Nothing is queued: the upstream is read when the client has room. A stream that ends before its end is told as an
//! error in the client's dialect, never as a finished answer. Dropping the body, as when the client leaves, closes the
//! upstream and gives the slot back.

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use actix_web::web::{Bytes, Data};
use futures::{Stream, StreamExt};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at};
use tracing::debug;

use crate::account::lease::Lease;
use crate::domain::id::RequestId;
use crate::domain::model::Dialect;
use crate::gitlab::error::{Call, CallError, of_read_error};
use crate::gitlab::upstream::{ByteStream, ReadError};
use crate::http::door::Door;
use crate::http::drain::Open;
use crate::http::error::ApiError;
use crate::http::exchange::{Keep, of_answer_error, of_deadline, of_event, told_of};
use crate::protocol::translate::{End, Flow, Pipe};
use crate::trace::{Failure, Outcome, Trail};

/// How often deadlines are looked at. One coarse timer per stream, since each is measured in seconds.
const TICK: Duration = Duration::from_secs(1);
/// A sign of life in Messages, and in the dialects that have none of their own.
const PING: &[u8] = b"event: ping\ndata: {\"type\": \"ping\"}\n\n";
const COMMENT: &[u8] = b": ping\n\n";

/// What one event of another dialect has around its content, roughly.
const FRAME_ROOM: usize = 256;

/// What a streaming body starts with.
pub(crate) struct Start {
    /// What was held back.
    pub(crate) prelude: Bytes,
    pub(crate) upstream: ByteStream,
    pub(crate) pipe: Pipe,
    pub(crate) lease: Lease,
    pub(crate) open: Option<Open>,
    pub(crate) dialect: Dialect,
    pub(crate) request: RequestId,
    pub(crate) deadline: Instant,
    /// Longest silence of the upstream.
    pub(crate) idle: Duration,
    pub(crate) trail: Rc<Trail>,
    pub(crate) keep: Option<Keep>,
}

/// The body.
pub(crate) struct SseBody {
    door: Data<Door>,
    prelude: Option<Bytes>,
    /// `None` once nothing more is read.
    upstream: Option<ByteStream>,
    pipe: Pipe,
    /// `None` once settled.
    lease: Option<Lease>,
    /// Ends with the body, and so the count of open requests.
    _open: Option<Open>,
    dialect: Dialect,
    request: RequestId,
    deadline: Instant,
    idle: Duration,
    /// Says that the client left if it is dropped before anything else is said.
    trail: Rc<Trail>,
    /// Keeps the answer once it is whole, where the client may refer to it.
    keep: Option<Keep>,
    heard_at: Instant,
    spoke_at: Instant,
    tick: Interval,
}

impl SseBody {
    /// Starts the body of an answer whose prelude is past.
    pub(crate) fn new(start: Start, door: Data<Door>) -> Self {
        let now = Instant::now();
        let mut tick = interval_at(now + TICK, TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut body = Self {
            door,
            prelude: Some(start.prelude).filter(|bytes| !bytes.is_empty()),
            upstream: Some(start.upstream),
            pipe: start.pipe,
            lease: Some(start.lease),
            _open: start.open,
            dialect: start.dialect,
            request: start.request,
            deadline: start.deadline,
            idle: start.idle,
            trail: start.trail,
            keep: start.keep,
            heard_at: now,
            spoke_at: now,
            tick,
        };
        body.settle_if_finished();
        body
    }

    /// The answer is complete with its terminal event; what the connection does afterwards is no news.
    fn settle_if_finished(&mut self) {
        if self.pipe.finished()
            && self.pipe.error().is_none()
            && let Some(lease) = self.lease.take()
        {
            lease.succeeded();
            self.trail.answered();
            // Before the client has read the end, and can send what refers to it.
            if let Some(keep) = self.keep.take() {
                keep.answered(&self.door, self.pipe.answered());
            }
        }
    }

    /// Takes in bytes of the upstream; returns what the client gets, if anything.
    fn take(&mut self, piece: Bytes) -> Option<Bytes> {
        self.heard_at = Instant::now();
        // Without this, the buffer of every translated event would grow in half a dozen steps.
        let room = if matches!(self.pipe, Pipe::Translate(_)) { 2 * piece.len() + FRAME_ROOM } else { 0 };
        let mut out = Vec::with_capacity(room);
        let fed = self.pipe.feed(&piece, &mut out);
        if let Some(data) = self.pipe.error() {
            let data = data.to_vec();
            return Some(self.failed_inside(&data, &piece, out));
        }
        match fed {
            Ok(Flow::AsIs) => {
                self.settle_if_finished();
                Some(piece)
            }
            Ok(Flow::Rewritten) => {
                self.settle_if_finished();
                Some(out).filter(|bytes| !bytes.is_empty()).map(Bytes::from)
            }
            Err(error) => {
                let tail = self.fail(of_answer_error(&error));
                out.extend_from_slice(&tail);
                Some(out.into())
            }
        }
    }

    /// The upstream itself reports an error in the stream. A client of the same dialect gets its very words.
    fn failed_inside(&mut self, data: &[u8], piece: &[u8], mut out: Vec<u8>) -> Bytes {
        // An error may quote the credential that it was sent.
        let strike = |text: &[u8]| match &self.lease {
            Some(lease) => lease.grant().struck_from(text).into_owned(),
            None => text.to_vec(),
        };
        let (data, piece) = (strike(data), strike(piece));
        let (error, said) = of_event(&data);
        let told = told_of(&error, said, self.lease.as_ref().map_or("", |lease| lease.model().as_str()));
        if let Some(lease) = self.lease.take() {
            debug!(request.id = %self.request, "the answer to `{}` ended in an error: {error}", self.request);
            self.trail.cut_off(Failure::new(error.status, &error.fault));
            lease.failed(error.fault.clone());
        }
        if matches!(self.pipe, Pipe::PassThrough(_)) {
            return piece.into();
        }
        out.extend_from_slice(&self.last_words(&told));
        out.into()
    }

    /// Ends the stream with an error event, and the lease with a fault.
    fn fail(&mut self, error: CallError) -> Bytes {
        let reason = error.fault.reason;
        if let Some(lease) = self.lease.take() {
            debug!(request.id = %self.request, "the answer to `{}` broke off: {error}", self.request);
            self.trail.cut_off(Failure::new(error.status, &error.fault));
            lease.failed(error.fault);
        }
        self.last_words(&ApiError::Upstream { reason })
    }

    /// Stops reading, and returns the error event that ends the stream.
    fn last_words(&mut self, error: &ApiError) -> Bytes {
        self.upstream = None;
        let event = error.event(self.dialect, &self.request, self.pipe.next_sequence_number(), self.door.now());
        if self.pipe.at_event_boundary() {
            return event.into();
        }
        // The upstream broke off inside an event: an empty line ends what was begun.
        [b"\n\n", event.as_slice()].concat().into()
    }

    /// The upstream has no more to say.
    fn end(&mut self) -> Option<Bytes> {
        self.upstream = None;
        let mut out = Vec::new();
        let end = self.pipe.finish(&mut out);
        self.settle_if_finished();
        if end == End::CutShort {
            let tail = self.fail(of_read_error(Call::Gateway, &ReadError::CutShort));
            out.extend_from_slice(&tail);
        }
        Some(out).filter(|bytes| !bytes.is_empty()).map(Bytes::from)
    }

    /// Returns whether the stream must end, however well it goes.
    fn is_over(&self) -> bool {
        self.door.parts.drain.is_ending() || Instant::now() >= self.deadline
    }

    /// Looks at the time while the upstream is silent; returns what is to be said about it.
    fn look_at_the_time(&mut self) -> Option<Bytes> {
        let now = Instant::now();
        if self.pipe.finished() {
            // The answer is whole and only its connection lingers: nothing is said after a terminal event.
            self.upstream = None;
            return (!self.pipe.at_event_boundary()).then(|| Bytes::from_static(b"\n\n"));
        }
        if self.door.parts.drain.is_ending() {
            // Nobody's fault: the lease is dropped unsettled.
            self.lease = None;
            self.trail.finish(Outcome::Stopped);
            return Some(self.last_words(&ApiError::Stopping));
        }
        if now >= self.deadline {
            return Some(self.fail(of_deadline()));
        }
        if now.duration_since(self.heard_at) >= self.idle {
            return Some(self.fail(of_read_error(Call::Gateway, &ReadError::Stalled)));
        }
        if now.duration_since(self.spoke_at) >= self.door.settings().heartbeat && self.pipe.at_event_boundary() {
            let beat = if self.dialect == Dialect::Messages { PING } else { COMMENT };
            return Some(Bytes::from_static(beat));
        }
        None
    }

    fn say(&mut self, bytes: Bytes) -> Poll<Option<Result<Bytes, std::convert::Infallible>>> {
        self.spoke_at = Instant::now();
        Poll::Ready(Some(Ok(bytes)))
    }
}

impl Stream for SseBody {
    type Item = Result<Bytes, std::convert::Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        if let Some(prelude) = this.prelude.take() {
            return this.say(prelude);
        }
        loop {
            let Some(upstream) = &mut this.upstream else { return Poll::Ready(None) };
            let said = match upstream.poll_next_unpin(cx) {
                // The time is looked at before a piece is passed on, or a busy stream would outlive its deadline.
                Poll::Ready(Some(Ok(piece))) => match this.tick.poll_tick(cx) {
                    Poll::Ready(_) if this.is_over() => this.look_at_the_time(),
                    _ => this.take(piece),
                },
                Poll::Ready(Some(Err(_)) | None) => this.end(),
                Poll::Pending => {
                    ready!(this.tick.poll_tick(cx));
                    this.look_at_the_time()
                }
            };
            if let Some(bytes) = said {
                return this.say(bytes);
            }
        }
    }
}
