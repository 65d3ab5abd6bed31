//! Answers as values, and how they travel: slowly, cut short, or not at all, if a rule says so.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use actix_web::HttpResponse;
use actix_web::body::{BodySize, MessageBody};
use actix_web::http::StatusCode;
use actix_web::http::header::{HeaderName, HeaderValue};
use actix_web::web::Bytes;
use serde_json::{Value, json};
use tokio::time::Sleep;

use crate::domain::model::Dialect;
use crate::simulator::exchange::Exchange;
use crate::simulator::journal::Ending;
use crate::simulator::script::{Effect, Plan};
use crate::simulator::{anthropic, json, openai};

/// An answer before any rule touched it.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    content_type: String,
    headers: Vec<(String, String)>,
    payload: Payload,
}

#[derive(Debug)]
enum Payload {
    Whole(Bytes),
    Events(Vec<Bytes>, Dialect),
}

impl Answer {
    /// Returns an answer with a JSON body.
    pub(crate) fn json(status: u16, body: &Value) -> Self {
        Self::whole(status, "application/json", body.to_string())
    }

    /// Returns an answer in the envelope of the gateway's web framework.
    pub(crate) fn detail(status: u16, detail: &str) -> Self {
        Self::json(status, &json!({ "detail": detail }))
    }

    pub(crate) fn whole(status: u16, content_type: &str, body: impl Into<Bytes>) -> Self {
        Self {
            status,
            content_type: content_type.to_owned(),
            headers: Vec::new(),
            payload: Payload::Whole(body.into()),
        }
    }

    /// Returns a stream of events.
    pub(crate) fn events(events: Vec<Bytes>, dialect: Dialect) -> Self {
        Self {
            status: 200,
            content_type: "text/event-stream; charset=utf-8".to_owned(),
            headers: Vec::new(),
            payload: Payload::Events(events, dialect),
        }
    }

    /// Adds a header.
    pub(crate) fn with_header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Returns the body as text; empty for a stream.
    pub(crate) fn text(&self) -> String {
        match &self.payload {
            Payload::Whole(body) => String::from_utf8_lossy(body).into_owned(),
            Payload::Events(..) => String::new(),
        }
    }

    pub(crate) fn content_type(&self) -> &str {
        &self.content_type
    }

    /// Returns status, content type, body and further headers.
    pub(crate) fn into_parts(self) -> (u16, String, String, Vec<(String, String)>) {
        let body = self.text();
        (self.status, self.content_type, body, self.headers)
    }

    /// Changes an answer that was given by the ordinary way, where the effect is about that.
    pub(crate) fn changed(mut self, effect: Option<&Effect>) -> Self {
        match (effect, &self.payload) {
            (Some(Effect::AnswerProcessed { status, body, content_type, headers }), _) => {
                of_rule(*status, body.clone(), content_type, headers.clone())
            }
            (Some(Effect::Merge { patch }), Payload::Whole(body)) => {
                if let Ok(mut value) = serde_json::from_slice::<Value>(body) {
                    json::merge(&mut value, patch);
                    self.payload = Payload::Whole(Bytes::from(value.to_string()));
                }
                self
            }
            (Some(Effect::Pad { bytes }), Payload::Whole(body)) => {
                let mut padded = body.to_vec();
                padded.resize(body.len() + bytes, b' ');
                self.payload = Payload::Whole(Bytes::from(padded));
                self
            }
            _ => self,
        }
    }

    /// Sends the answer the way `plan` says.
    pub(crate) fn send(self, plan: Plan, exchange: Exchange) -> HttpResponse<ScriptedBody> {
        let Self { status, content_type, headers, payload } = self;
        let (mut chunks, dialect) = match payload {
            Payload::Whole(body) => (VecDeque::from([body]), None),
            Payload::Events(events, dialect) => (VecDeque::from(events), Some(dialect)),
        };
        let size = match (dialect, chunks.front()) {
            (None, Some(body)) => BodySize::Sized(body.len() as u64),
            _ => BodySize::Stream,
        };
        let Some(end) = shaped(plan.effect, &mut chunks, dialect) else {
            return not_a_stream().send(Plan::default(), exchange);
        };
        // Of an empty body actix asks nothing, not even its end; and of none that it must not send a head for.
        let empty = size == BodySize::Sized(0);
        let size = if end == End::CloseUnsent { BodySize::Stream } else { size };
        let mut exchange = exchange;
        exchange.answered(status, dialect.is_some());
        if empty && end == End::Complete {
            exchange.will_end(Ending::Complete);
        }
        let body = ScriptedBody {
            size,
            chunks,
            end,
            between: plan.pace.between_events,
            timer: None,
            first: true,
            flushed: false,
            exchange: Some(exchange),
        };
        let mut response = HttpResponse::build(StatusCode::from_u16(status).unwrap_or(StatusCode::OK));
        response.insert_header(("content-type", content_type));
        for (name, value) in headers {
            if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
                response.append_header((name, value));
            }
        }
        response.message_body(body).unwrap_or_else(|_| HttpResponse::with_body(StatusCode::OK, ScriptedBody::empty()))
    }
}

/// Returns the answer of a rule.
pub(crate) fn of_rule(status: u16, body: String, content_type: &str, headers: Vec<(String, String)>) -> Answer {
    Answer { headers, ..Answer::whole(status, content_type, body) }
}

fn not_a_stream() -> Answer {
    Answer::json(500, &json!({ "message": "the simulator's rule asks for an error event, but this is not a stream" }))
}

/// Makes of the pieces what the effect leaves of them, and returns how they end; `None` where the effect needs a stream
/// and this is none.
fn shaped(effect: Option<Effect>, chunks: &mut VecDeque<Bytes>, dialect: Option<Dialect>) -> Option<End> {
    Some(match effect {
        Some(Effect::Close | Effect::CloseUnprocessed) => {
            chunks.clear();
            End::CloseUnsent
        }
        Some(Effect::Cut { after }) => {
            shorten(chunks, after, dialect);
            End::Close
        }
        Some(Effect::Stall { after }) => {
            shorten(chunks, after, dialect);
            End::Stall
        }
        Some(Effect::ErrorEvent { after, event }) => {
            let dialect = dialect?;
            chunks.truncate(after);
            chunks.push_back(event.map_or_else(|| error_event(dialect, chunks.len()), Bytes::from));
            End::Complete
        }
        Some(Effect::Flood { deltas, bytes }) => {
            flood(chunks, dialect, deltas, bytes);
            End::Complete
        }
        // Done before the answer is sent.
        Some(
            Effect::Hang
            | Effect::HangProcessed
            | Effect::Answer { .. }
            | Effect::Quote { .. }
            | Effect::AnswerProcessed { .. }
            | Effect::Delay { .. }
            | Effect::Merge { .. }
            | Effect::Pad { .. }
            | Effect::MintCase { .. },
        )
        | None => End::Complete,
    })
}

/// Keeps the first `after` events, or the first `after` bytes of a body that is no stream.
fn shorten(chunks: &mut VecDeque<Bytes>, after: usize, dialect: Option<Dialect>) {
    if dialect.is_some() {
        chunks.truncate(after);
    } else if after == 0 {
        chunks.clear();
    } else if let Some(body) = chunks.front_mut() {
        body.truncate(after);
    }
}

/// Puts one delta in so many times; they share its bytes, so the simulator's memory does not grow with them.
fn flood(chunks: &mut VecDeque<Bytes>, dialect: Option<Dialect>, deltas: usize, bytes: usize) {
    if dialect != Some(Dialect::Messages) {
        return;
    }
    let rest = chunks.split_off(chunks.len().min(2));
    let delta = anthropic::text_delta_event(&"x".repeat(bytes));
    chunks.extend(std::iter::repeat_n(delta, deltas));
    chunks.extend(rest);
}

fn error_event(dialect: Dialect, sequence_number: usize) -> Bytes {
    match dialect {
        Dialect::Messages => anthropic::error_event(),
        Dialect::Responses => openai::responses_error_event(sequence_number),
        Dialect::ChatCompletions => openai::chat_error_event(),
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// The body ends as it should.
    Complete,
    /// The connection closes once what was sent before is on its way.
    Close,
    /// The connection closes before the head is written: actix-http drops its write buffer when a body fails.
    CloseUnsent,
    /// Nothing more happens.
    Stall,
}

/// A rule closed the connection.
#[derive(Debug, thiserror::Error)]
#[error("a rule of the simulator closes this connection")]
pub(crate) struct ClosedByRule;

/// The body of every answer.
pub(crate) struct ScriptedBody {
    size: BodySize,
    chunks: VecDeque<Bytes>,
    end: End,
    between: Duration,
    timer: Option<Pin<Box<Sleep>>>,
    first: bool,
    flushed: bool,
    exchange: Option<Exchange>,
}

impl ScriptedBody {
    fn empty() -> Self {
        Self {
            size: BodySize::Sized(0),
            chunks: VecDeque::new(),
            end: End::Complete,
            between: Duration::ZERO,
            timer: None,
            first: true,
            flushed: true,
            exchange: None,
        }
    }

    /// Wraps a body that nobody watches.
    pub(crate) fn unwatched(body: Bytes) -> Self {
        Self { size: BodySize::Sized(body.len() as u64), chunks: VecDeque::from([body]), ..Self::empty() }
    }

    fn ended(&mut self, ending: Ending) {
        if let Some(exchange) = self.exchange.take() {
            exchange.ended(ending);
        }
    }

    fn poll_pace(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.between.is_zero() || self.first || self.chunks.is_empty() {
            return Poll::Ready(());
        }
        let between = self.between;
        let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep(between)));
        if timer.as_mut().poll(cx).is_pending() {
            return Poll::Pending;
        }
        self.timer = None;
        Poll::Ready(())
    }
}

impl MessageBody for ScriptedBody {
    type Error = ClosedByRule;

    fn size(&self) -> BodySize {
        self.size
    }

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, ClosedByRule>>> {
        let this = &mut *self;
        if this.poll_pace(cx).is_pending() {
            return Poll::Pending;
        }
        this.first = false;
        if let Some(chunk) = this.chunks.pop_front() {
            if let Some(exchange) = &this.exchange {
                exchange.count_chunk();
            }
            return Poll::Ready(Some(Ok(chunk)));
        }
        match this.end {
            End::Complete => {
                this.ended(Ending::Complete);
                Poll::Ready(None)
            }
            End::Stall => Poll::Pending,
            End::Close if !this.flushed => {
                // One turn for the connection to write what it holds.
                this.flushed = true;
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            End::Close | End::CloseUnsent => {
                this.ended(Ending::ClosedByRule);
                Poll::Ready(Some(Err(ClosedByRule)))
            }
        }
    }
}
