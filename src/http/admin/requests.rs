//! `/admin/v1/requests`: what was decided about the last requests, and what came of them.

use actix_web::web::{Data, Path, Query};
use actix_web::{HttpRequest, HttpResponse};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::domain::catalogue::{CURRENT_MODEL, Wanted};
use crate::domain::conversation::Bond;
use crate::domain::fault::{Reason, Scope};
use crate::domain::model::Dialect;
use crate::domain::time::Timestamp;
use crate::http::admin::explained::{AffinityView, CandidateView, ChosenView, CountView, Names, counts, millis, shown};
use crate::http::admin::problem::Problem;
use crate::http::door::Door;
use crate::http::request_id;
use crate::trace::{Attempt, Ended, Nobody, Outcome, RECORDS_MAX, Record, Trace};

/// Requests that are listed where nobody says how many.
const LIST_DEFAULT: usize = 50;
/// Most that are listed.
const LIST_MAX: usize = 1_000;

/// What became of a request, as a word that programs may rely on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum State {
    /// It is on its way.
    InProgress,
    /// The client got its answer.
    Finished,
    /// The client was told an error.
    Error,
    /// The answer had begun and ended in an error.
    CutOff,
    /// The server shut down in the middle of the answer.
    Stopped,
    /// The client left.
    ClientLeft,
}

/// A request at a glance.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct RequestLine {
    /// The `x-request-id` of the answer.
    pub(crate) id: String,
    /// When it came in, RFC 3339.
    pub(crate) at: String,
    /// The model as the client wrote it; absent if the request was not read, or names no model that there could be.
    pub(crate) model: Option<String>,
    /// The account that was asked last.
    pub(crate) account: Option<String>,
    /// Its label or username; absent if it is gone by now.
    pub(crate) name: Option<String>,
    /// What became of it.
    pub(crate) state: State,
    /// The same as a sentence.
    pub(crate) message: String,
    /// From the request to its end, in milliseconds.
    pub(crate) total_ms: Option<u64>,
}

/// The last requests.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct RequestList {
    /// The newest first.
    pub(crate) requests: Vec<RequestLine>,
}

/// How an attempt went wrong.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct FailureView {
    /// The status of the answer, if there was one.
    pub(crate) status: Option<u16>,
    /// What it means.
    #[schema(value_type = String)]
    pub(crate) reason: Reason,
    /// Whose fault it is.
    #[schema(value_type = String)]
    pub(crate) scope: Scope,
}

/// A look at the accounts, and the sending that came of it, if one was chosen.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct AttemptView {
    /// What it came to, as a sentence.
    pub(crate) message: String,
    /// Who was chosen.
    pub(crate) chosen: Option<ChosenView>,
    /// What became of the wish to keep its conversation on one account.
    pub(crate) affinity: Option<AffinityView>,
    /// Every account, in order of ids, up to a bound.
    pub(crate) candidates: Vec<CandidateView>,
    /// Accounts beyond that bound.
    pub(crate) others: Vec<CountView>,
    /// How long it waited in line for a slot, in milliseconds.
    pub(crate) queued_ms: Option<u64>,
    /// How long it waited for an account's new credential, in milliseconds.
    pub(crate) renewing_ms: Option<u64>,
    /// From the sending to the first content of a stream, in milliseconds.
    pub(crate) first_content_ms: Option<u64>,
    /// From the choice to the end, in milliseconds.
    pub(crate) took_ms: Option<u64>,
    /// How it went wrong.
    pub(crate) failure: Option<FailureView>,
}

/// A request, and everything that was decided about it.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct RequestView {
    /// At a glance.
    #[serde(flatten)]
    pub(crate) line: RequestLine,
    /// The name of the client's key; absent where none is needed.
    pub(crate) key: Option<String>,
    /// The dialect of the client.
    #[schema(value_type = String)]
    pub(crate) dialect: Dialect,
    /// Whether it wants to know how many tokens it has, and no answer.
    pub(crate) counts_tokens: bool,
    /// The exact model that the client's name for it means; `gitlab-duo` where that is each account's own.
    pub(crate) wanted: Option<String>,
    /// Pools that the key may use; empty: every pool.
    pub(crate) pools: Vec<String>,
    /// How accounts were chosen.
    pub(crate) strategy: Option<String>,
    /// How surely it belongs to a conversation: `firm`, or `loose` where only its opening is known.
    pub(crate) conversation: Option<String>,
    /// The status that the client was told, if it was told an error.
    pub(crate) status: Option<u16>,
    /// When the client was told to come again, RFC 3339.
    pub(crate) until: Option<String>,
    /// In order.
    pub(crate) attempts: Vec<AttemptView>,
}

/// How many to list.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct ListQuery {
    /// 1 to 1000; 50 if absent.
    limit: Option<usize>,
}

/// Lists the last requests, the newest first.
#[utoipa::path(get, path = "/admin/v1/requests", params(ListQuery), responses(
    (status = 200, body = RequestList), (status = 400, description = "`limit` is no number", body = Problem),
))]
pub(crate) async fn list(request: HttpRequest, door: Data<Door>) -> HttpResponse {
    let Ok(query) = Query::<ListQuery>::from_query(request.query_string()) else {
        let problem = Problem::new(400, "bad-request", "The query is not as this route takes it");
        return problem.because("`limit` must be a number from 1 to 1000").reply(&request_id(&request, &door));
    };
    let names = Names::ask(&door).await;
    let limit = query.limit.unwrap_or(LIST_DEFAULT).min(LIST_MAX);
    let records = door.parts.traces.last(limit);
    let lines = records.iter().map(|record| line(record, &record.read(), &names));
    HttpResponse::Ok().json(RequestList { requests: lines.collect() })
}

/// Explains one of the last requests.
#[utoipa::path(get, path = "/admin/v1/requests/{id}", params(("id" = String, Path)), responses(
    (status = 200, body = RequestView),
    (status = 404, description = "it is not one of the last requests", body = Problem),
))]
pub(crate) async fn show(request: HttpRequest, id: Path<String>, door: Data<Door>) -> HttpResponse {
    let Some(record) = door.parts.traces.find(&id) else {
        let problem = Problem::new(404, "no-such-request", "There is no such request among the last ones");
        let kept = format!(
            "there is no such request among the last ones: at most {RECORDS_MAX} are kept, none over a restart, and none \
             that came without a valid key"
        );
        let fix = "list the last ones with `duopool explain`";
        return problem.because(kept).fix(fix).reply(&request_id(&request, &door));
    };
    let names = Names::ask(&door).await;
    HttpResponse::Ok().json(view(&record, &door, &names))
}

fn view(record: &Record, door: &Door, names: &Names) -> RequestView {
    let trace = record.read();
    let asked = trace.asked.as_ref();
    let wanted = asked.map(|asked| wanted_name(&asked.wanted).to_owned());
    let conversation = asked.and_then(|asked| asked.conversation);
    let (status, until) = match &trace.outcome {
        Some((Outcome::Told { status, until, .. }, _)) => (Some(*status), *until),
        _ => (None, None),
    };
    RequestView {
        line: line(record, &trace, names),
        key: door.parts.access.name_of(trace.begun.client),
        dialect: trace.begun.dialect,
        counts_tokens: trace.begun.counts_tokens,
        wanted,
        pools: asked.map(|asked| asked.pools.to_vec()).unwrap_or_default(),
        strategy: trace.strategy.map(|strategy| strategy.to_string()),
        conversation: conversation.map(|conversation| bond(conversation.bond).to_owned()),
        status,
        until: until.map(|until| until.to_string()),
        attempts: trace.attempts.iter().map(|attempt| attempt_view(attempt, &trace, names)).collect(),
    }
}

/// Returns the name of what is wanted.
pub(super) fn wanted_name(wanted: &Wanted) -> &str {
    match wanted {
        Wanted::Current => CURRENT_MODEL,
        Wanted::Known(name) | Wanted::Guess { name, .. } => name.as_str(),
    }
}

const fn bond(bond: Bond) -> &'static str {
    match bond {
        Bond::Firm => "firm",
        Bond::Loose => "loose",
    }
}

fn line(record: &Record, trace: &Trace, names: &Names) -> RequestLine {
    let chosen = trace.attempts.iter().rev().find_map(|attempt| attempt.result.as_ref()?.as_ref().ok());
    let asked = trace.asked.as_ref();
    RequestLine {
        id: record.id().to_string(),
        at: trace.begun.at.to_string(),
        model: asked.map(|asked| asked.model.to_string()),
        account: chosen.map(|chosen| chosen.account.to_string()),
        name: chosen.and_then(|chosen| names.of(chosen.account.as_str())),
        state: state(trace),
        message: what_came_of_it(trace, names),
        total_ms: trace.outcome.as_ref().map(|(_, took)| millis(*took)),
    }
}

const fn state(trace: &Trace) -> State {
    match &trace.outcome {
        None => State::InProgress,
        Some((Outcome::Finished, _)) => State::Finished,
        Some((Outcome::Told { .. }, _)) => State::Error,
        Some((Outcome::CutOff(_), _)) => State::CutOff,
        Some((Outcome::Stopped, _)) => State::Stopped,
        Some((Outcome::Left, _)) => State::ClientLeft,
    }
}

fn what_came_of_it(trace: &Trace, names: &Names) -> String {
    let last = trace.attempts.last();
    let sent = trace.attempts.iter().filter(|attempt| matches!(attempt.result, Some(Ok(_)))).count();
    let who =
        last.and_then(|attempt| attempt.result.as_ref()?.as_ref().ok()).map(|chosen| names.or_id(&chosen.account));
    let Some((outcome, took)) = &trace.outcome else {
        return match (who, last) {
            (Some(who), _) => format!("in progress on {who}, attempt {sent}"),
            (None, Some(attempt)) => format!("in progress: {}", where_it_is(attempt, names)),
            (None, None) => "in progress: the request is being read".to_owned(),
        };
    };
    let after = shown(*took);
    match (outcome, who) {
        (Outcome::Finished, Some(who)) if last.is_some_and(|attempt| attempt.ended == Some(Ended::Answered)) => {
            let attempts = if sent > 1 { format!(" at attempt {sent}") } else { String::new() };
            format!("{who} answered{attempts} in {after}")
        }
        (Outcome::Finished, _) => format!("answered by duopool itself in {after}"),
        (Outcome::Told { status, what, reason, until }, _) => {
            let reason = reason.map_or(String::new(), |reason| format!(": {reason}"));
            let until = until.map_or(String::new(), |until: Timestamp| format!(", until {until}"));
            format!("the client was told {status} after {after}: {what}{reason}{until}")
        }
        (Outcome::CutOff(reason), who) => {
            let who = who.unwrap_or_else(|| "an account".to_owned());
            format!("the answer of {who} broke off after {after}, and the client was told so: {reason}")
        }
        (Outcome::Stopped, _) => format!("the server shut down after {after}, in the middle of the answer"),
        (Outcome::Left, Some(who)) => format!("the client left after {after}, while {who} was asked"),
        (Outcome::Left, None) => format!("the client left after {after}"),
    }
}

/// Says what an attempt that has not come to an end is about.
fn where_it_is(attempt: &Attempt, names: &Names) -> String {
    match &attempt.result {
        None => "an account is being chosen".to_owned(),
        Some(Ok(chosen)) if attempt.first_content.is_some() => format!("{} is answering", names.or_id(&chosen.account)),
        Some(Ok(chosen)) => format!("{} was asked", names.or_id(&chosen.account)),
        Some(Err(Nobody::Busy)) => format!("{}, and the request stood in line", nobody(&Nobody::Busy)),
        Some(Err(none)) => nobody(none),
    }
}

fn nobody(nobody: &Nobody) -> String {
    match nobody {
        Nobody::Empty => "there is no account that the key may use".to_owned(),
        Nobody::NoModel => "no account's AI gateway supports the model".to_owned(),
        Nobody::OtherDialect => "the model cannot be reached from the client's dialect".to_owned(),
        Nobody::Blocked { reason, until } => {
            format!("every account is blocked or without a credential, the first one until {until}: {reason}")
        }
        Nobody::Busy => "every account that could serve is full".to_owned(),
        Nobody::Exhausted => "every account that could serve was tried".to_owned(),
    }
}

fn attempt_view(attempt: &Attempt, trace: &Trace, names: &Names) -> AttemptView {
    let chosen = attempt.result.as_ref().and_then(|result| result.as_ref().ok());
    let conversation = trace.asked.as_ref().and_then(|asked| asked.conversation);
    let (seen, others) = (&attempt.seen, &attempt.others);
    let ms = |time: Option<std::time::Duration>| time.map(millis);
    let failure = match attempt.ended {
        Some(Ended::Failed(failure)) => {
            Some(FailureView { status: failure.status, reason: failure.reason, scope: failure.scope })
        }
        Some(Ended::Answered) | None => None,
    };
    AttemptView {
        message: attempt_message(attempt, failure.as_ref(), names),
        chosen: chosen.map(|chosen| ChosenView::of(chosen, seen, &[], others, names)),
        affinity: chosen
            .zip(conversation)
            .map(|(chosen, conversation)| AffinityView::of(conversation, chosen, seen, others, names)),
        candidates: seen.iter().map(|seen| CandidateView::of(seen, names)).collect(),
        others: counts(others),
        queued_ms: ms(attempt.queued),
        renewing_ms: ms(attempt.renewing),
        first_content_ms: ms(attempt.first_content),
        took_ms: ms(attempt.took),
        failure,
    }
}

fn attempt_message(attempt: &Attempt, failure: Option<&FailureView>, names: &Names) -> String {
    let Some(Ok(chosen)) = &attempt.result else {
        let waited = attempt.renewing.map(|time| format!("; waited {} for a new credential", shown(time)));
        return format!("{}{}", where_it_is(attempt, names), waited.unwrap_or_default());
    };
    let who = names.or_id(&chosen.account);
    let queued = attempt.queued.map(|time| format!("after {} in line, ", shown(time))).unwrap_or_default();
    let after = attempt.took.map(|time| format!(" after {}", shown(time))).unwrap_or_default();
    match (failure, attempt.ended) {
        (Some(FailureView { status, reason, .. }), _) => {
            let status = status.map(|status| format!(" with {status}")).unwrap_or_default();
            format!("{queued}{who} failed{status}{after}: {reason}")
        }
        (None, Some(_)) => format!("{queued}{who} answered{after}"),
        (None, None) => format!("{queued}{}", where_it_is(attempt, names)),
    }
}
