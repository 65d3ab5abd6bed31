//! One attempt: a body goes to a model under a lease, and an answer comes back or a fault.

use std::rc::Rc;
use std::time::Duration;

use actix_web::HttpResponse;
use actix_web::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use actix_web::web::{Bytes, Data};
use futures::StreamExt;
use tokio::time::{Instant, timeout, timeout_at};
use tracing::debug;

use crate::account::lease::Lease;
use crate::domain::fault::{Fault, Hold, Reason, Scope};
use crate::domain::model::{Dialect, Effort, Thinking};
use crate::gitlab::error::{
    Call, CallError, Stage, classify, of_read_error, of_send_error, of_send_error_apart, of_stage,
};
use crate::gitlab::gateway::{self, GatewayPath};
use crate::gitlab::upstream::{ReadError, Reply, SendError};
use crate::http::door::Door;
use crate::http::drain::Open;
use crate::http::error::ApiError;
use crate::http::exchange::journey::{Failed, Journey};
use crate::http::exchange::mishap::{of_answer_error, of_deadline, of_event, told_of, unreadable};
use crate::http::exchange::recall::{Keep, recall};
use crate::http::exchange::{Incoming, Kind, told};
use crate::http::sse_body::{SseBody, Start};
use crate::protocol::canonical::Target;
use crate::protocol::error::{UpstreamMessage, read};
use crate::protocol::loss::Dropped;
use crate::protocol::openai_responses::Answered;
use crate::protocol::passthrough::{
    StreamWatch, splice, splice_chat_for_gpt, with_effort, without_reasoning, without_seals,
};
use crate::protocol::reasoning::Sealer;
use crate::protocol::translate::{Flow, Pipe, Plan, Translated, Translation, WayBack, plan};
use crate::router::api::Renewable;

/// Largest answer that is not a stream, in bytes: far above what a model can say.
const ANSWER_BYTES_MAX: usize = 32 * 1024 * 1024;
/// Largest body of an error that is read, in bytes.
const ERROR_BYTES_MAX: usize = 256 * 1024;
/// Most of a stream that is held back before its first content, in bytes and time: an error in there can still be
/// answered by another account.
const PRELUDE_BYTES_MAX: usize = 64 * 1024;
const PRELUDE_TIME_MAX: Duration = Duration::from_secs(5);

/// What goes upstream, and how the answer comes back.
struct Prepared {
    path: GatewayPath,
    body: Bytes,
    plan: Plan,
    way_back: WayBack,
    dropped: Dropped,
    /// Keeps the answer, where the client may refer to it.
    keep: Option<Keep>,
}

impl Prepared {
    /// Asks for the effort that the model's name asks for, if it does.
    fn ask_for_effort(&mut self, dialect: Dialect, target: &Target<'_>) {
        let Some(asking) = with_effort(dialect, &self.body, target) else { return };
        for path in asking.dropped {
            self.dropped.add(path);
        }
        self.body = asking.body.into();
    }

    /// Leaves out the reasoning of the history that was refused; `false` if there is none.
    fn forget_reasoning(&mut self, client: Dialect, upstream: Dialect) -> bool {
        let Some(rest) = without_reasoning(upstream, &self.body) else { return false };
        rest.tell(client, &mut self.dropped);
        self.body = rest.body.into();
        true
    }
}

/// Sends the request under `lease`. Takes `open` along into the answer's stream if there is one.
pub(super) async fn attempt(
    door: &Data<Door>,
    incoming: &Incoming,
    lease: Lease,
    open: &mut Option<Open>,
    journey: &mut Journey,
) -> Result<HttpResponse, Failed> {
    let started = Instant::now();
    let mut prepared = match prepare(door, incoming, &lease) {
        Ok(prepared) => prepared,
        Err(refusal) => return Err(refused(&lease, refusal)),
    };
    if journey.reasoning_is_refused() {
        prepared.forget_reasoning(incoming.dialect, lease.dialect());
    }
    let mut sent = send(door, incoming, &lease, &prepared).await;
    // Reasoning that the provider cannot read costs its thread, not the conversation: from here on, it goes without.
    let is_curable = matches!(&sent, Err((_, Some(said))) if said.is_about_reasoning());
    if is_curable && prepared.forget_reasoning(incoming.dialect, lease.dialect()) {
        debug!(request.id = %incoming.id, "request `{}` goes on without reasoning that was refused", incoming.id);
        journey.note_refused_reasoning();
        sent = send(door, incoming, &lease, &prepared).await;
    }
    let reply = match sent {
        Ok(reply) => reply,
        Err((error, said)) => return Err(settle(lease, error, said)),
    };
    let idle = door.upstream(&lease).timeouts().idle;
    let headers = told(&lease, journey.attempts(), prepared.dropped.header().as_deref());
    let mut response = HttpResponse::Ok();
    for header in headers {
        response.insert_header(header);
    }
    if incoming.peek.stream && incoming.kind == Kind::Answer {
        response.insert_header((CONTENT_TYPE, "text/event-stream; charset=utf-8"));
        response.insert_header((CACHE_CONTROL, "no-cache"));
        if reply.is_json() {
            return match unasked_whole(door, incoming, &mut prepared, (reply, idle)).await {
                Ok(events) => {
                    lease.succeeded();
                    incoming.trail.answered();
                    Ok(response.body(events))
                }
                Err(error) => Err(settle(lease, error, None)),
            };
        }
        let body = stream(door, incoming, lease, prepared, (reply, started), open).await?;
        return Ok(response.streaming(body));
    }
    match whole(door, incoming, &prepared, (reply, idle)).await {
        Ok(body) => {
            if let Some(keep) = prepared.keep.take() {
                keep.answered(door, Answered::of(&body));
            }
            lease.succeeded();
            incoming.trail.answered();
            Ok(response.insert_header((CONTENT_TYPE, "application/json")).body(body))
        }
        Err((error, said)) => Err(settle(lease, error, said)),
    }
}

/// Brings the client's body into the form that the model takes.
fn prepare(door: &Door, incoming: &Incoming, lease: &Lease) -> Result<Prepared, ApiError> {
    let (model, peek) = (lease.model().as_str(), &incoming.peek);
    let path = match (lease.dialect(), incoming.kind) {
        (Dialect::Messages, Kind::Answer) => GatewayPath::Messages,
        (Dialect::Messages, Kind::TokenCount) => GatewayPath::CountTokens,
        (Dialect::Responses, _) => GatewayPath::Responses,
        (Dialect::ChatCompletions, _) => GatewayPath::ChatCompletions,
    };
    // The router leases only what can be reached from the client's dialect.
    let plan = plan(incoming.dialect, lease.dialect()).ok_or(ApiError::Internal)?;
    let same = |body: Bytes| {
        let way_back = WayBack::default();
        match without_seals(incoming.dialect, &body) {
            None => Prepared { path, body, plan, way_back, dropped: Dropped::default(), keep: None },
            Some((body, cut)) => {
                let mut dropped = Dropped::default();
                dropped.add(cut);
                Prepared { path, body: body.into(), plan, way_back, dropped, keep: None }
            }
        }
    };
    let target = target(door, lease, incoming.effort);
    match plan {
        Plan::PassThrough => {
            let mut prepared = same(match path {
                GatewayPath::ChatCompletions => splice_chat_for_gpt(&incoming.body, peek, model).into(),
                _ if peek.model == model => incoming.body.clone(),
                _ => splice(&incoming.body, peek, model).into(),
            });
            if incoming.kind == Kind::Answer {
                prepared.ask_for_effort(incoming.dialect, &target);
            }
            Ok(prepared)
        }
        Plan::Translate(translation) => {
            let origin = format!("{} {}", lease.dialect(), lease.grant().gateway.as_str());
            let sealer = Sealer::new(door.settings().reasoning_key.expose(), &origin);
            let kept = recall(door, incoming)?;
            let translated = translation
                .request_with(&incoming.body, &target, Some(&sealer), &kept)
                .map_err(|refusal| ApiError::BadRequest { message: refusal.message, param: refusal.param })?;
            let Translated { body, way_back, dropped, .. } = translated;
            let keep = way_back.response.is_stored().then(|| Keep::new(incoming, kept));
            Ok(Prepared { path, body: body.into(), plan, way_back, dropped, keep })
        }
    }
}

/// Returns what is known of the model, and of one that the catalogue does not know what the newest of its maker do.
fn target<'a>(door: &'a Door, lease: &'a Lease, effort: Option<Effort>) -> Target<'a> {
    let entry = door.parts.catalogue.entry(lease.model());
    let newest = match lease.dialect() {
        Dialect::Messages => Thinking::Adaptive,
        Dialect::Responses | Dialect::ChatCompletions => Thinking::Effort,
    };
    Target {
        model: lease.model().as_str(),
        output_tokens_max: entry.map(|entry| u64::from(entry.output_tokens)),
        thinking: Some(entry.map_or(newest, |entry| entry.thinking)),
        efforts: entry.map_or(&[], |entry| &entry.efforts),
        accepts_sampling: entry.is_some_and(|entry| entry.accepts_sampling),
        effort,
    }
}

/// Sends, and returns the reply if it is the beginning of an answer.
async fn send(
    door: &Door,
    incoming: &Incoming,
    lease: &Lease,
    prepared: &Prepared,
) -> Result<Reply, (CallError, Option<UpstreamMessage>)> {
    let upstream = door.upstream(lease);
    let timeouts = upstream.timeouts();
    let streams = incoming.peek.stream && incoming.kind == Kind::Answer;
    let most = if streams { timeouts.head_stream } else { timeouts.head_whole };
    let most = most.min(incoming.deadline.saturating_duration_since(Instant::now()));
    let body = prepared.body.clone();
    let sent = gateway::send(upstream, lease.grant(), prepared.path, &incoming.passed, body, most).await;
    let reply = sent.map_err(|error| match error {
        SendError::Timeout if Instant::now() >= incoming.deadline => (of_deadline(), None),
        error if upstream.is_apart() => (of_send_error_apart(Call::Gateway, &error), None),
        error => (of_send_error(Call::Gateway, &error), None),
    })?;
    let events = reply.content_type.as_deref().is_some_and(|kind| kind.starts_with("text/event-stream"));
    // Where an answer is rewritten anyway, it may come in either form.
    let either = events || reply.is_json();
    let fits = match prepared.plan {
        Plan::Translate(_) if either => true,
        _ if streams => events || reply.content_type.is_none(),
        _ => reply.is_json(),
    };
    if (200..300).contains(&reply.status) && fits {
        return Ok(reply);
    }
    let (status, waits) = (reply.status, reply.waits.clone());
    // A status says enough where its body does not come.
    let body = reply.read(ERROR_BYTES_MAX, timeouts.idle.min(PRELUDE_TIME_MAX)).await.unwrap_or_default();
    // A success of the wrong kind is no success, whatever it says.
    let body = if (200..300).contains(&status) { Bytes::new() } else { body };
    let body = lease.grant().struck_from(&body);
    Err((classify(Call::Gateway, status, &waits, &body), read(&body)))
}

/// Reads an answer to its end, and brings it into the client's dialect as one body.
async fn whole(
    door: &Door,
    incoming: &Incoming,
    prepared: &Prepared,
    (reply, idle): (Reply, Duration),
) -> Result<Bytes, (CallError, Option<UpstreamMessage>)> {
    let is_json = reply.is_json();
    let body = read_whole(incoming, reply, idle).await.map_err(|error| (error, None))?;
    let (now, way_back) = (door.now(), &prepared.way_back);
    match prepared.plan {
        // A connection that broke looks like the end of a body without a length: only whole JSON is an answer.
        Plan::PassThrough => {
            let checked = serde_json::from_slice::<serde::de::IgnoredAny>(&body);
            checked.map_err(|error| (unreadable(&error.to_string()), None)).map(|_| body)
        }
        Plan::Translate(translation) if is_json => {
            translation.answer(&body, now, way_back).map(Bytes::from).map_err(|error| (of_answer_error(&error), None))
        }
        Plan::Translate(translation) => {
            let told = translation.answer_of_stream(&body, now, way_back);
            let told = told.map_err(|error| (of_answer_error(&error), None))?;
            told.map(Bytes::from).map_err(|data| of_event(&data))
        }
    }
}

/// Reads a whole answer where a stream was asked for, and brings it into the client's dialect as a stream.
async fn unasked_whole(
    door: &Door,
    incoming: &Incoming,
    prepared: &mut Prepared,
    (reply, idle): (Reply, Duration),
) -> Result<Bytes, CallError> {
    let body = read_whole(incoming, reply, idle).await?;
    // A reply of the wrong form is let through for a translation alone.
    let Plan::Translate(translation) = prepared.plan else { return Err(unreadable("not a stream")) };
    let (now, way_back) = (door.now(), &prepared.way_back);
    let events = translation.stream_of_answer(&body, now, way_back);
    if let Some(keep) = prepared.keep.take() {
        let whole = translation.answer(&body, now, way_back).ok();
        keep.answered(door, whole.and_then(|whole| Answered::of(&whole)));
    }
    events.map(Bytes::from).map_err(|error| of_answer_error(&error))
}

/// Reads a body to its end, within the request's deadline.
async fn read_whole(incoming: &Incoming, reply: Reply, idle: Duration) -> Result<Bytes, CallError> {
    let reading = reply.read(ANSWER_BYTES_MAX, idle);
    match timeout_at(incoming.deadline, reading).await {
        Ok(read) => read.map_err(|error| of_read_error(Call::Gateway, &error)),
        Err(_) => Err(of_deadline()),
    }
}

/// Holds a stream back until its first content, so that an error before it can be answered by another account.
async fn stream(
    door: &Data<Door>,
    incoming: &Incoming,
    mut lease: Lease,
    prepared: Prepared,
    (mut reply, started): (Reply, Instant),
    open: &mut Option<Open>,
) -> Result<SseBody, Failed> {
    let mut pipe = match prepared.plan {
        Plan::PassThrough => Pipe::PassThrough(StreamWatch::new(incoming.dialect)),
        Plan::Translate(translation) => pipe_of(translation, door, prepared.way_back),
    };
    let mut prelude = Vec::new();
    let held_until = Instant::now() + PRELUDE_TIME_MAX;
    let idle = door.upstream(&lease).timeouts().idle;
    while !pipe.content_started() && !pipe.finished() && prelude.len() < PRELUDE_BYTES_MAX {
        let committed = Instant::now() >= held_until;
        let most = if prelude.is_empty() { idle } else { held_until.saturating_duration_since(Instant::now()) };
        let most = most.min(incoming.deadline.saturating_duration_since(Instant::now()));
        let piece = match timeout(most, reply.body.next()).await {
            Err(_) if Instant::now() >= incoming.deadline => return Err(settle(lease, of_deadline(), None)),
            Err(_) if prelude.is_empty() => {
                return Err(settle(lease, of_stage(Call::Gateway, Stage::Prelude, ""), None));
            }
            Err(_) => break,
            Ok(None | Some(Err(_))) => {
                return Err(settle(lease, of_read_error(Call::Gateway, &ReadError::CutShort), None));
            }
            Ok(Some(Ok(piece))) => piece,
        };
        match pipe.feed(&piece, &mut prelude) {
            Ok(Flow::AsIs) => prelude.extend_from_slice(&piece),
            Ok(Flow::Rewritten) => {}
            Err(error) => return Err(settle(lease, of_answer_error(&error), None)),
        }
        if let Some(data) = pipe.error() {
            let data = lease.grant().struck_from(data);
            let (error, said) = of_event(&data);
            return Err(settle(lease, error, said));
        }
        if committed {
            break;
        }
    }
    let took = started.elapsed();
    lease.began(took, door.now());
    incoming.trail.answering(took);
    let start = Start {
        prelude: prelude.into(),
        upstream: reply.body,
        pipe,
        lease,
        open: open.take(),
        dialect: incoming.dialect,
        request: incoming.id.clone(),
        deadline: incoming.deadline,
        idle,
        trail: Rc::clone(&incoming.trail),
        keep: prepared.keep,
    };
    Ok(SseBody::new(start, Data::clone(door)))
}

fn pipe_of(translation: Translation, door: &Door, way_back: WayBack) -> Pipe {
    Pipe::Translate(Box::new(translation.stream(door.now(), way_back)))
}

/// Ends the lease with a fault, and says what the client would be told if it were the last.
fn settle(lease: Lease, error: CallError, said: Option<UpstreamMessage>) -> Failed {
    let told = told_of(&error, said, lease.model().as_str());
    let renewable = lease.account().desk.as_ref().map(|desk| Renewable {
        account: lease.account().id.clone(),
        than: lease.grant().generation,
        desk: desk.clone(),
    });
    let failed = Failed {
        model: lease.model().clone(),
        gateway: lease.grant().gateway.clone(),
        renewable,
        told,
        error: error.clone(),
    };
    lease.failed(error.fault);
    failed
}

/// The request cannot be brought into the model's dialect: nobody else could either, and no account is at fault.
fn refused(lease: &Lease, told: ApiError) -> Failed {
    let (scope, reason) = (Scope::Request, Reason::BadRequest);
    let fault = Fault { scope, reason, hold: Hold::None, curable: false };
    let error = CallError { fault, status: None, note: String::new() };
    Failed { model: lease.model().clone(), gateway: lease.grant().gateway.clone(), renewable: None, told, error }
}
