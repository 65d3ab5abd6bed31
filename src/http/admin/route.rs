//! `/admin/v1/route`: who would serve a request now, and who if that account died.

use std::sync::Arc;

use actix_web::web::{Data, Payload};
use actix_web::{HttpRequest, HttpResponse};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use tracing::error;
use utoipa::ToSchema;

use crate::access::Scope;
use crate::domain::catalogue::Meaning;
use crate::domain::conversation::Conversation;
use crate::domain::id::AccountId;
use crate::domain::model::Dialect;
use crate::http::admin::explained::{AffinityView, CandidateView, ChosenView, Names};
use crate::http::admin::problem::{Problem, bad_request, unread};
use crate::http::admin::requests::wanted_name;
use crate::http::body;
use crate::http::door::Door;
use crate::http::error::ApiError;
use crate::http::exchange::{Kind, told_of_none, unknown_model, upstream_dialects};
use crate::http::request_id;
use crate::router::api::{Acquire, NoAccount};
use crate::router::dry_run::{Foresee, Foreseen};
use crate::trace::Tally;

/// A request here has a few hundred bytes.
const BODY_BYTES_MAX: usize = 64 * 1024;

/// A request that nobody makes.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RouteRequest {
    /// The model as a client would write it.
    pub(crate) model: String,
    /// `messages`, `chat-completions` or `responses`; `messages` if absent.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub(crate) dialect: Option<Dialect>,
    /// The client's key by its name, which is not the key itself.
    #[serde(default)]
    pub(crate) key: Option<String>,
    /// Pools to choose from, instead of those that the key may use.
    #[serde(default)]
    pub(crate) pools: Option<Vec<String>>,
    /// Accounts that shall count as gone, by id, label or username.
    #[serde(default)]
    pub(crate) without: Vec<String>,
    /// The conversation, by the name that the client's session header gives it.
    #[serde(default)]
    pub(crate) conversation: Option<String>,
}

/// What the client would be told.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct ToldView {
    /// The status.
    pub(crate) status: u16,
    /// The sentence.
    pub(crate) message: String,
    /// When to come again, in seconds.
    pub(crate) retry_after_s: Option<u64>,
    /// What the request would wait for first, if for anything.
    pub(crate) first: Option<String>,
}

/// What would become of the request.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct RouteView {
    /// The model as it was asked for.
    pub(crate) model: String,
    /// The exact model that this means; `gitlab-duo` where that is each account's own; absent if it means nothing.
    pub(crate) wanted: Option<String>,
    /// The operator's rule that says so, by its pattern, if one does.
    pub(crate) rule: Option<String>,
    /// How hard the model would be asked to think, where the name says so.
    pub(crate) effort: Option<String>,
    /// The dialect of the client.
    #[schema(value_type = String)]
    pub(crate) dialect: Dialect,
    /// The name of the key, if one was named.
    pub(crate) key: Option<String>,
    /// Pools to choose from; empty: every pool.
    pub(crate) pools: Vec<String>,
    /// How accounts are chosen.
    pub(crate) strategy: Option<String>,
    /// Who would serve.
    pub(crate) chosen: Option<ChosenView>,
    /// What would become of the wish to keep the conversation on one account.
    pub(crate) affinity: Option<AffinityView>,
    /// Who would serve if that one failed, and who after that, up to 16 in all.
    pub(crate) next: Vec<ChosenView>,
    /// Every account, in order of ids.
    pub(crate) candidates: Vec<CandidateView>,
    /// What the client would be told, if nobody could serve.
    pub(crate) told: Option<ToldView>,
}

/// Says who would serve a request now. Takes no slot and changes nothing.
#[utoipa::path(post, path = "/admin/v1/route", request_body = RouteRequest, responses(
    (status = 200, body = RouteView),
    (status = 400, description = "the body is not as described", body = Problem),
    (status = 408, description = "the body did not arrive in time", body = Problem),
    (status = 413, description = "the body is too large", body = Problem),
    (status = 422, description = "it names a key or an account that is not there", body = Problem),
))]
pub(crate) async fn foresee(request: HttpRequest, payload: Payload, door: Data<Door>) -> HttpResponse {
    let id = request_id(&request, &door);
    let deadline = Instant::now() + door.settings().request_timeout;
    let wish = match body::read(&request, payload, BODY_BYTES_MAX, deadline).await {
        Ok(bytes) => serde_json::from_slice::<RouteRequest>(&bytes).map_err(|error| {
            let place = format!("line {}, column {}", error.line(), error.column());
            // What it found there is not quoted: somebody may have put the key itself in.
            bad_request(format!("it does not parse at {place}; GET /admin/openapi.json describes it"))
        }),
        Err(error) => Err(unread(&error).because(error.message(door.now()))),
    };
    let names = Names::ask(&door).await;
    let foreseen = match wish {
        Ok(wish) => look(&door, wish, &names).await,
        Err(problem) => Err(problem.into()),
    };
    match foreseen {
        Ok(view) => HttpResponse::Ok().json(view),
        Err(problem) => problem.reply(&id),
    }
}

async fn look(door: &Door, wish: RouteRequest, names: &Names) -> Result<RouteView, Box<Problem>> {
    let scope = scope(door, &wish)?;
    let without = gone(&wish, names)?;
    let dialect = wish.dialect.unwrap_or(Dialect::Messages);
    let conversation = wish.conversation.as_ref().map(|name| Conversation::named(name.as_bytes()));
    let mut view = RouteView {
        model: body::printable(&wish.model),
        wanted: None,
        rule: None,
        effort: None,
        dialect,
        key: wish.key.as_ref().and_then(|_| door.parts.access.name_of(scope.client)),
        pools: scope.pools.to_vec(),
        strategy: None,
        chosen: None,
        affinity: None,
        next: Vec::new(),
        candidates: Vec::new(),
        told: None,
    };
    let Some(Meaning { wanted, effort, rule }) = door.parts.catalogue.meaning(&wish.model) else {
        view.told = Some(told(door, &unknown_model(&wish.model), dialect, None));
        return Ok(view);
    };
    view.wanted = Some(wanted_name(&wanted).to_owned());
    view.rule = rule.map(|rule| rule.pattern.to_string());
    view.effort = effort.map(|effort| effort.as_str().to_owned());
    let ask = Acquire {
        wanted,
        dialects: upstream_dialects(dialect, Kind::Answer),
        pools: scope.pools,
        conversation,
        client: scope.client,
        patience: None,
        renewed_in_vain: false,
        tried: Vec::new(),
        refused: Vec::new(),
        trace: None,
    };
    let foreseen = door.router.send(Foresee { ask, without }).await.map_err(|problem| {
        error!("the router of this worker does not answer: {problem}");
        Problem::internal()
    })?;
    let Foreseen { seen, order, nobody, strategy } = foreseen;
    let mut chosen: Vec<_> =
        (0..order.len()).map(|at| ChosenView::of(&order[at], &seen, &order[..at], &Tally::default(), names)).collect();
    view.next = chosen.split_off(chosen.len().min(1));
    view.chosen = chosen.pop();
    view.affinity = order
        .first()
        .zip(conversation)
        .map(|(chosen, conversation)| AffinityView::of(conversation, chosen, &seen, &Tally::default(), names));
    view.candidates = seen.iter().map(|seen| CandidateView::of(seen, names)).collect();
    view.strategy = Some(strategy.to_string());
    view.told = nobody.map(|none| {
        let first = waits_for(&none);
        told(door, &told_of_none(none, None, &wish.model, dialect, door.now()), dialect, first)
    });
    Ok(view)
}

/// Returns the accounts that shall count as gone.
fn gone(wish: &RouteRequest, names: &Names) -> Result<Vec<AccountId>, Box<Problem>> {
    let meant = wish.without.iter().map(|text| {
        names.meant(text).map_err(|why| {
            let problem = Problem::new(422, "no-such-account", "There is no such account");
            let problem = problem.because(format!("`{}` {why}", body::printable(text)));
            Box::new(problem.fix("list the accounts with `duopool accounts list`"))
        })
    });
    meant.collect()
}

/// Returns whose request it is meant to be.
fn scope(door: &Door, wish: &RouteRequest) -> Result<Scope, Box<Problem>> {
    let access = &door.parts.access;
    let mut scope = match &wish.key {
        None => access.anybody(),
        // The text is not quoted: somebody may have put the key itself in.
        Some(name) => access.named(name).ok_or_else(|| {
            let problem = Problem::new(422, "no-such-key", "There is no client key of this name");
            problem.because("a key is named as `duopool explain` shows it, such as `key_0123abcd`, and never by itself")
        })?,
    };
    if let Some(pools) = &wish.pools {
        scope.pools = Arc::from(pools.as_slice());
    }
    Ok(scope)
}

fn waits_for(none: &NoAccount) -> Option<String> {
    match none {
        NoAccount::Blocked { renewable, .. } if !renewable.is_empty() => {
            Some(format!("a new credential of {} account(s), which it would ask for", renewable.len()))
        }
        NoAccount::Busy => Some("a slot, in line".to_owned()),
        _ => None,
    }
}

fn told(door: &Door, error: &ApiError, dialect: Dialect, first: Option<String>) -> ToldView {
    let now = door.now();
    ToldView {
        status: error.status(dialect).as_u16(),
        message: error.message(now),
        retry_after_s: error.retry_after_s(now),
        first,
    }
}
