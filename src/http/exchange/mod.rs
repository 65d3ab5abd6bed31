//! One request, from its body to its answer: acquire, translate, send, retry, settle.
//!
//! A request is tried on another account only before the client has seen content, and only for faults that another
//! account could cure. Whatever happens, the lease gives its slot back.

mod attempt;
mod count;
mod journey;
mod mishap;
mod recall;

use std::rc::Rc;
use std::sync::Arc;

use actix_web::http::header::{HeaderMap, HeaderName, HeaderValue};
use actix_web::web::{Bytes, Data, Payload};
use actix_web::{HttpRequest, HttpResponse};
use tokio::time::Instant;
use tracing::debug;

use crate::access::Scope;
use crate::account::lease::Lease;
use crate::domain::catalogue::{Meaning, Wanted};
use crate::domain::conversation::Conversation;
use crate::domain::id::RequestId;
use crate::domain::model::{Dialect, Effort};
use crate::gitlab::gateway::Passed;
use crate::http::door::Door;
use crate::http::drain::Open;
use crate::http::error::ApiError;
use crate::http::guard::client_scope;
use crate::http::{body, request_id};
use crate::protocol::openai_responses::References;
use crate::protocol::passthrough::{Peek, peek};
use crate::trace::{Asked, Begun, Outcome, Trail};

use journey::Journey;
pub(in crate::http) use journey::told_of_none;
pub(in crate::http) use mishap::{of_answer_error, of_deadline, of_event, told_of};
pub(in crate::http) use recall::Keep;

/// Longest header value that is taken, in bytes. Well below what the HTTP parser takes (128 KiB for a whole head), so that
/// an absurd header is told in the client's own dialect.
const HEADER_BYTES_MAX: usize = 32 * 1024;

/// Headers in which clients name their conversation.
/// Seen: Claude Code 2.1 sends the first, Codex 0.169 the second and older ones the next two, OpenCode 1.18 the others.
const SESSION_HEADERS: [&str; 6] =
    ["x-claude-code-session-id", "session-id", "session_id", "conversation_id", "x-session-id", "x-session-affinity"];

/// What a client wants to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The model's answer.
    Answer,
    /// How many tokens the request has.
    TokenCount,
}

/// A request that was let in and read.
struct Incoming {
    id: RequestId,
    dialect: Dialect,
    kind: Kind,
    body: Bytes,
    peek: Peek,
    wanted: Wanted,
    /// How hard to think, where the model's name says so: that is more deliberate than what a client sends by default.
    effort: Option<Effort>,
    scope: Scope,
    /// What it refers to instead of saying it.
    references: References,
    conversation: Option<Conversation>,
    passed: Passed,
    deadline: Instant,
    /// What is noted about it; goes along into the answer's stream if there is one.
    trail: Rc<Trail>,
}

/// Serves a request on one of the model routes. Errors come in the client's dialect.
pub(crate) async fn serve(
    request: HttpRequest,
    payload: Payload,
    door: Data<Door>,
    dialect: Dialect,
    kind: Kind,
) -> HttpResponse {
    let id = request_id(&request, &door);
    let result = match door.parts.drain.enter() {
        Some(open) => answer(&request, payload, &door, (dialect, kind, id.clone()), open).await,
        None => Err(ApiError::Stopping),
    };
    result.unwrap_or_else(|error| {
        let status = error.status(dialect).as_u16();
        let reason = error.reason().map(|reason| format!(": {reason}")).unwrap_or_default();
        debug!(request.id = %id, status, "request `{id}` failed with {status}: {}{reason}", error.what());
        error.reply(dialect, &id, door.now())
    })
}

async fn answer(
    request: &HttpRequest,
    payload: Payload,
    door: &Data<Door>,
    (dialect, kind, id): (Dialect, Kind, RequestId),
    open: Open,
) -> Result<HttpResponse, ApiError> {
    if request.headers().iter().any(|(_, value)| value.len() > HEADER_BYTES_MAX) {
        return Err(ApiError::HeaderTooLarge { limit: HEADER_BYTES_MAX });
    }
    let scope = client_scope(door, request.headers())?;
    // Whoever has no key leaves no trace: a stranger shall not push those of others out.
    let counts_tokens = kind == Kind::TokenCount;
    let begun = Begun { at: door.now(), client: scope.client, dialect, counts_tokens };
    let trail = Rc::new(Trail::begin(&door.parts.traces, id.clone(), begun));
    let result = admitted(request, payload, door, (dialect, kind, id, scope, Rc::clone(&trail)), open).await;
    match &result {
        Err(error) => trail.finish(error.noted(dialect)),
        Ok(_) if counts_tokens => trail.finish(Outcome::Finished),
        Ok(_) => {}
    }
    result
}

/// Reads and serves a request whose key is good.
async fn admitted(
    request: &HttpRequest,
    payload: Payload,
    door: &Data<Door>,
    (dialect, kind, id, scope, trail): (Dialect, Kind, RequestId, Scope, Rc<Trail>),
    open: Open,
) -> Result<HttpResponse, ApiError> {
    let deadline = Instant::now() + door.settings().request_timeout;
    let body = body::read(request, payload, door.settings().body_bytes_max, deadline).await?;
    let peek = peek(&body).map_err(|error| ApiError::BadRequest {
        message: error.to_string(),
        param: error.param().map(str::to_owned),
    })?;
    let meaning = door.parts.catalogue.meaning(&peek.model).ok_or_else(|| unknown_model(&peek.model))?;
    let Meaning { wanted, effort, .. } = meaning;
    let references = if dialect == Dialect::Responses { References::of(&body) } else { References::default() };
    let continued = || recall::conversation(door, scope.client, &references);
    let conversation = session(request.headers()).or_else(continued).or_else(|| peek.conversation(&body));
    let (model, pools) = (peek.model.as_str().into(), Arc::clone(&scope.pools));
    trail.asked(Asked { model, wanted: wanted.clone(), pools, conversation });
    let passed = passed(request.headers());
    let incoming = Incoming {
        id,
        dialect,
        kind,
        body,
        peek,
        wanted,
        effort,
        scope,
        references,
        conversation,
        passed,
        deadline,
        trail,
    };
    match kind {
        Kind::Answer => travel(door, incoming, open).await,
        Kind::TokenCount => count::answer(door, incoming, open).await,
    }
}

/// Says that there is no such model.
pub(in crate::http) fn unknown_model(name: &str) -> ApiError {
    let message = format!(
        "there is no model `{}`; GET /v1/models lists those there are, and names that begin with `claude-` or `gpt-` \
         are tried as they are",
        body::printable(name)
    );
    ApiError::NotFound { message }
}

/// Tries account after account until one answers, or none is left that could.
async fn travel(door: &Data<Door>, incoming: Incoming, open: Open) -> Result<HttpResponse, ApiError> {
    let mut journey = Journey::new(&incoming);
    let mut open = Some(open);
    loop {
        let lease = journey.acquire(door, &incoming).await?;
        let account = lease.account().id.clone();
        match attempt::attempt(door, &incoming, lease, &mut open, &mut journey).await {
            Ok(response) => return Ok(response),
            Err(failed) => journey.note(door, &incoming, account, failed)?,
        }
    }
}

/// Returns what of a client's headers reaches the model. Nothing else does: no key, no cookie, no `x-gitlab-*`.
fn passed(headers: &HeaderMap) -> Passed {
    let all = |name: &str| {
        // A client may send a list in several lines; the gateway forwards one.
        let lines: Vec<&[u8]> = headers.get_all(name).map(HeaderValue::as_bytes).collect();
        if lines.is_empty() { None } else { HeaderValue::from_bytes(&lines.join(&b","[..])).ok() }
    };
    Passed { anthropic_version: headers.get("anthropic-version").cloned(), anthropic_beta: all("anthropic-beta") }
}

/// Returns the conversation that a client names in its headers.
fn session(headers: &HeaderMap) -> Option<Conversation> {
    let name = SESSION_HEADERS.iter().find_map(|name| headers.get(*name).filter(|value| !value.is_empty()))?;
    Some(Conversation::named(name.as_bytes()))
}

/// Returns the headers that tell a client who answered.
fn told(lease: &Lease, attempts: u32, dropped: Option<&str>) -> Vec<(HeaderName, HeaderValue)> {
    let value = |text: &str| HeaderValue::from_str(text).ok();
    let all = [
        ("x-duopool-account", value(lease.account().id.as_str())),
        ("x-duopool-model", value(lease.model().as_str())),
        ("x-duopool-attempts", Some(HeaderValue::from(attempts))),
        ("x-duopool-dropped", dropped.and_then(value)),
    ];
    all.into_iter().filter_map(|(name, value)| Some((HeaderName::from_static(name), value?))).collect()
}

/// Returns the dialects that serve a client of `dialect`; which of them is best for a model the catalogue says. A count is
/// only ever asked for as it is.
pub(in crate::http) const fn upstream_dialects(dialect: Dialect, kind: Kind) -> &'static [Dialect] {
    match (dialect, kind) {
        (_, Kind::TokenCount) => &[Dialect::Messages],
        (Dialect::Messages, Kind::Answer) => &[Dialect::Messages, Dialect::Responses],
        (Dialect::Responses, Kind::Answer) => &[Dialect::Responses, Dialect::Messages],
        (Dialect::ChatCompletions, Kind::Answer) => &[Dialect::ChatCompletions, Dialect::Responses, Dialect::Messages],
    }
}

/// Pools in the form in which they are asked for.
fn pools(incoming: &Incoming) -> Arc<[String]> {
    Arc::clone(&incoming.scope.pools)
}
