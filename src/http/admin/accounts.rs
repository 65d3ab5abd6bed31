//! `/admin/v1/accounts`: who is in the pool.

use actix::Addr;
use actix_web::web::{Data, Path, Payload, Query};
use actix_web::{HttpRequest, HttpResponse};
use futures::future::join_all;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use tracing::error;
use utoipa::{IntoParams, ToSchema};

use crate::account::api::{Block, ChangeSettings, Describe, Discover, Renew, Test};
use crate::account::login::{LoginError, NewAccount};
use crate::account::registry::{AccountActor, AddAccount, All, Find, RemoveAccount, ResetAccount, SETTLE_MAX, Settle};
use crate::account::view::{AccountView, CredentialKind, Removal, TestReport, Trouble};
use crate::domain::endpoint::InstanceUrl;
use crate::domain::fault::Scope;
use crate::domain::id::AccountId;
use crate::http::admin::given::{ChangeRequest, GivenText, token};
use crate::http::admin::problem::{Problem, bad_request, reason_word, unread};
use crate::http::body;
use crate::http::door::Door;
use crate::http::request_id;

/// A request here has a few hundred bytes.
const BODY_BYTES_MAX: usize = 64 * 1024;

/// An account to add.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct AddRequest {
    /// Root of the GitLab instance; the public one if absent.
    pub(crate) base_url: Option<String>,
    /// A token of the user with scope `ai_features` or `api`.
    pub(crate) personal_access_token: String,
    /// The AI gateway, where it is not the one that GitLab names.
    pub(crate) gateway_url: Option<String>,
    /// A name for people.
    pub(crate) label: Option<String>,
    /// Which keys may use it; `default` if absent.
    pub(crate) pool: Option<String>,
    /// Higher tiers are used first; 0 if absent.
    pub(crate) priority: Option<i32>,
    /// Share among accounts of one tier, 1 to 1000; 1 if absent.
    pub(crate) weight: Option<u32>,
    /// Most requests in flight, 1 to 10000; 16 if absent.
    pub(crate) max_concurrency: Option<u32>,
    /// Whether the token replaces that of an account that is known already, which keeps what is left open here; an
    /// error otherwise.
    #[serde(default)]
    pub(crate) renew: bool,
}

/// All accounts.
#[derive(Serialize, Deserialize, ToSchema)]
pub(crate) struct AccountList {
    /// In order of their ids.
    pub(crate) accounts: Vec<AccountView>,
}

/// Lists all accounts.
#[utoipa::path(get, path = "/admin/v1/accounts", responses((status = 200, body = AccountList)))]
pub(crate) async fn list(request: HttpRequest, door: Data<Door>) -> HttpResponse {
    let Ok(addresses) = door.parts.registry.send(All).await else { return silent(&request, &door) };
    let views = join_all(addresses.iter().map(|address| address.send(Describe))).await;
    // An account that is removed in this moment does not answer, and is no longer listed.
    HttpResponse::Ok().json(AccountList { accounts: views.into_iter().filter_map(Result::ok).collect() })
}

/// Adds an account after a check against GitLab.
#[utoipa::path(post, path = "/admin/v1/accounts", request_body = AddRequest, responses(
    (status = 201, body = AccountView),
    (status = 400, description = "the body is not as described", body = Problem),
    (status = 408, description = "the body did not arrive in time", body = Problem),
    (status = 409, description = "the account is known", body = Problem),
    (status = 413, description = "the body is too large", body = Problem),
    (status = 422, description = "a check against GitLab failed; nothing was stored", body = Problem),
    (status = 502, description = "GitLab could not be asked; nothing was stored", body = Problem),
))]
pub(crate) async fn add(request: HttpRequest, payload: Payload, door: Data<Door>) -> HttpResponse {
    let id = request_id(&request, &door);
    let deadline = Instant::now() + door.settings().request_timeout;
    let new = match body::read(&request, payload, BODY_BYTES_MAX, deadline).await {
        Ok(bytes) => parse(&bytes),
        Err(error) => Err(unread(&error).because(error.message(door.now())).into()),
    };
    let new = match new {
        Ok(new) => new,
        Err(problem) => return problem.reply(&id),
    };
    match door.parts.registry.send(AddAccount(new)).await {
        Ok(Ok(account)) => {
            // So that the next request finds it. One that another account keeps from it comes a moment later.
            door.parts.registry.send(Settle).timeout(SETTLE_MAX).await.unwrap_or_default();
            match find(&door, &account).await {
                Ok(address) => view(&request, &door, &address, 201).await,
                Err(problem) => problem.reply(&id),
            }
        }
        Ok(Err(refused)) => login_problem(&refused).reply(&id),
        Err(_) => silent(&request, &door),
    }
}

/// Shows one account.
#[utoipa::path(get, path = "/admin/v1/accounts/{id}", params(("id" = String, Path)), responses(
    (status = 200, body = AccountView), (status = 404, body = Problem),
))]
pub(crate) async fn show(request: HttpRequest, id: Path<String>, door: Data<Door>) -> HttpResponse {
    match find(&door, &AccountId::from_text(&id)).await {
        Ok(address) => view(&request, &door, &address, 200).await,
        Err(problem) => problem.reply(&request_id(&request, &door)),
    }
}

/// How an account is removed.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct HowToRemove {
    /// Whether GitLab is to take the token back as well. If it does not, the account is removed all the same, and the
    /// answer says so.
    #[serde(default)]
    revoke: bool,
}

/// Removes an account: no new requests at once, running ones end, secrets are forgotten.
#[utoipa::path(delete, path = "/admin/v1/accounts/{id}", params(("id" = String, Path), HowToRemove), responses(
    (status = 200, description = "It is removed, and this became of its token, which was to be revoked", body = Removal),
    (status = 204, description = "It is removed, and its token stays valid at GitLab"),
    (status = 400, body = Problem), (status = 404, body = Problem), (status = 500, body = Problem),
))]
pub(crate) async fn remove(request: HttpRequest, id: Path<String>, door: Data<Door>) -> HttpResponse {
    let request_id = request_id(&request, &door);
    let Ok(Query(HowToRemove { revoke })) = Query::from_query(request.query_string()) else {
        let problem = Problem::new(400, "bad-request", "The query is not as this route takes it");
        return problem.because("it takes `revoke=true` or `revoke=false`, and nothing else").reply(&request_id);
    };
    match door.parts.registry.send(RemoveAccount { id: AccountId::from_text(&id), revoke }).await {
        Ok(Ok(Some(removal))) if revoke => HttpResponse::Ok().json(removal),
        Ok(Ok(Some(_))) => HttpResponse::NoContent().finish(),
        Ok(Ok(None)) => Problem::no_account().reply(&request_id),
        Ok(Err(problem)) => {
            error!(account.id = %id, "account `{id}` no longer serves, but could not be deleted: {problem}");
            let problem =
                Problem::internal().because(format!("it no longer serves, but could not be deleted: {problem}"));
            problem.reply(&request_id)
        }
        Err(_) => silent(&request, &door),
    }
}

/// Changes settings. They are stored, and every new request goes by them, before the answer; running requests go on.
#[utoipa::path(patch, path = "/admin/v1/accounts/{id}", params(("id" = String, Path)), request_body = ChangeRequest, responses(
    (status = 200, body = AccountView),
    (status = 400, description = "the body is no JSON", body = Problem),
    (status = 404, body = Problem),
    (status = 408, description = "the body did not arrive in time", body = Problem),
    (status = 413, description = "the body is too large", body = Problem),
    (status = 422, description = "a member is unknown or out of bounds; nothing was changed", body = Problem),
    (status = 500, description = "they could not be stored; nothing was changed", body = Problem),
))]
pub(crate) async fn change(request: HttpRequest, id: Path<String>, payload: Payload, door: Data<Door>) -> HttpResponse {
    let request_id = request_id(&request, &door);
    let deadline = Instant::now() + door.settings().request_timeout;
    let changes = match body::read(&request, payload, BODY_BYTES_MAX, deadline).await {
        Ok(bytes) => ChangeRequest::parse(&bytes),
        Err(error) => Err(unread(&error).because(error.message(door.now())).into()),
    };
    let (changes, address) = match (changes, find(&door, &AccountId::from_text(&id)).await) {
        (Ok(changes), Ok(address)) => (changes, address),
        (_, Err(problem)) => return problem.reply(&request_id),
        (Err(problem), Ok(_)) => return problem.reply(&request_id),
    };
    match address.send(ChangeSettings(changes)).await {
        Ok(Ok(())) => view(&request, &door, &address, 200).await,
        Ok(Err(refused)) => {
            let problem = Problem::new(500, "not-stored", "The settings could not be stored; nothing was changed");
            problem.because(refused.to_string()).reply(&request_id)
        }
        Err(_) => silent(&request, &door),
    }
}

/// What a reset came to.
#[derive(Serialize, Deserialize, ToSchema)]
pub(crate) struct ResetReport {
    /// The account as it is now; one without a gateway credential is being minted one.
    pub(crate) account: AccountView,
    /// What was cleared, of the account and of what it shares with others. The latter stood on evidence from several
    /// requests, and stands again as soon as they fail again.
    pub(crate) cleared: Vec<Trouble>,
}

/// Clears what keeps an account from serving, its own blocks and those it shares, and has it minted a credential if it has
/// none.
#[utoipa::path(post, path = "/admin/v1/accounts/{id}/reset", params(("id" = String, Path)), responses(
    (status = 200, body = ResetReport), (status = 404, body = Problem),
))]
pub(crate) async fn reset(request: HttpRequest, id: Path<String>, door: Data<Door>) -> HttpResponse {
    let id = AccountId::from_text(&id);
    let Ok(reset) = door.parts.registry.send(ResetAccount(id.clone())).await else { return silent(&request, &door) };
    let Some(cleared) = reset else { return Problem::no_account().reply(&request_id(&request, &door)) };
    let address = match find(&door, &id).await {
        Ok(address) => address,
        Err(problem) => return problem.reply(&request_id(&request, &door)),
    };
    match address.send(Describe).await {
        Ok(account) => HttpResponse::Ok().json(ResetReport { account, cleared }),
        Err(_) => silent(&request, &door),
    }
}

/// Mints a new gateway credential and lists the models anew.
#[utoipa::path(post, path = "/admin/v1/accounts/{id}/refresh", params(("id" = String, Path)), responses(
    (status = 200, body = AccountView), (status = 404, body = Problem),
    (status = 422, description = "GitLab refused", body = Problem),
    (status = 502, description = "GitLab could not be asked", body = Problem),
))]
pub(crate) async fn refresh(request: HttpRequest, id: Path<String>, door: Data<Door>) -> HttpResponse {
    let request_id = request_id(&request, &door);
    let address = match find(&door, &AccountId::from_text(&id)).await {
        Ok(address) => address,
        Err(problem) => return problem.reply(&request_id),
    };
    match address.send(Renew { than: None }).await {
        Ok(Ok(_)) => {}
        Ok(Err(block)) => {
            return match address.send(Describe).await {
                Ok(account) => block_problem(&block, account.credential).reply(&request_id),
                Err(_) => silent(&request, &door),
            };
        }
        Err(_) => return silent(&request, &door),
    }
    if address.send(Discover).await.is_err() {
        return silent(&request, &door);
    }
    view(&request, &door, &address, 200).await
}

/// Checks the token at GitLab and the credential at the gateway, without cost.
#[utoipa::path(post, path = "/admin/v1/accounts/{id}/test", params(("id" = String, Path)), responses(
    (status = 200, body = TestReport), (status = 404, body = Problem),
))]
pub(crate) async fn test(request: HttpRequest, id: Path<String>, door: Data<Door>) -> HttpResponse {
    let address = match find(&door, &AccountId::from_text(&id)).await {
        Ok(address) => address,
        Err(problem) => return problem.reply(&request_id(&request, &door)),
    };
    match address.send(Test).await {
        Ok(report) => HttpResponse::Ok().json(report),
        Err(_) => silent(&request, &door),
    }
}

/// Returns the account of that id.
pub(super) async fn find(door: &Door, id: &AccountId) -> Result<Addr<AccountActor>, Problem> {
    match door.parts.registry.send(Find(id.clone())).await {
        Ok(found) => found.ok_or_else(Problem::no_account),
        Err(_) => Err(Problem::internal()),
    }
}

async fn view(request: &HttpRequest, door: &Door, address: &Addr<AccountActor>, status: u16) -> HttpResponse {
    let status = actix_web::http::StatusCode::from_u16(status).unwrap_or_default();
    match address.send(Describe).await {
        Ok(view) => HttpResponse::build(status).json(view),
        Err(_) => silent(request, door),
    }
}

/// Answers where a part of the program does not.
pub(super) fn silent(request: &HttpRequest, door: &Door) -> HttpResponse {
    let id = request_id(request, door);
    error!(request.id = %id, "an account or the registry does not answer");
    Problem::internal().reply(&id)
}

fn parse(bytes: &[u8]) -> Result<NewAccount, Box<Problem>> {
    // A parser's message may quote what it found, and that may be the token: only the place is told.
    let add: AddRequest = serde_json::from_slice(bytes).map_err(|error| {
        let place = format!("line {}, column {}", error.line(), error.column());
        Box::new(bad_request(format!("it does not parse at {place}; GET /admin/openapi.json describes it")))
    })?;
    let instance = add.base_url.as_deref().map_or(Ok(InstanceUrl::gitlab_com()), InstanceUrl::parse);
    let instance = instance.map_err(|error| bad_request(format!("`base_url` {error}")))?;
    let token = token(&add.personal_access_token)?;
    let given = GivenText {
        gateway_url: add.gateway_url,
        label: add.label,
        pool: add.pool,
        priority: add.priority,
        weight: add.weight,
        max_concurrency: add.max_concurrency,
    };
    Ok(NewAccount { instance, token, given: given.check()?, renew: add.renew })
}

pub(super) fn login_problem(refused: &LoginError) -> Problem {
    match refused {
        LoginError::Known(_) => {
            Problem::new(409, "account-known", "The account is known already").because(refused.to_string())
        }
        LoginError::Check { step, source } => {
            // What GitLab said about this user is a 422; that it could not be asked is a 502.
            let status = if source.fault.scope == Scope::Account { 422 } else { 502 };
            let mut problem = Problem::new(status, "check-failed", "The account was not added: a check failed");
            problem.check = Some(step.to_string());
            problem.reason = Some(reason_word(source.fault.reason));
            problem.because(refused.to_string()).fix(source.fault.reason.fix())
        }
        LoginError::Store(_) => {
            Problem::new(500, "not-stored", "The account could not be stored").because(refused.to_string())
        }
        LoginError::Gone => Problem::internal().because(refused.to_string()),
    }
}

fn block_problem(block: &Block, credential: CredentialKind) -> Problem {
    let status = if block.reason.needs_a_person() { 422 } else { 502 };
    let mut problem = Problem::new(status, "refresh-failed", "The gateway credential could not be renewed");
    problem.reason = Some(reason_word(block.reason));
    problem
        .because(format!("{}; tried again by itself at {}", block.reason, block.until))
        .fix(credential.fix(block.reason))
}
