//! `/admin/v1/logins`: accounts by OAuth, with a browser or a device code.
//!
//! The server exchanges codes for tokens itself: whoever asks here sees addresses and codes to be shown to a user, and
//! never a token. What happens goes on when nobody waits for it.

use std::time::Duration;

use actix_web::web::{Bytes, Data, Path, Payload};
use actix_web::{HttpRequest, HttpResponse};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use utoipa::ToSchema;

use crate::account::login::api::{Answer, Await, Begin, BeginError, List, NewLogin, Show, Take};
use crate::account::login::callback::CallbackError;
use crate::account::login::view::{LoginKind, LoginView};
use crate::domain::endpoint::InstanceUrl;
use crate::domain::fault::Scope;
use crate::domain::secret::Secret;
use crate::http::admin::given::GivenText;
use crate::http::admin::problem::{Problem, bad_request, reason_word, unread};
use crate::http::body;
use crate::http::door::Door;
use crate::http::request_id;

/// A request here has a few hundred bytes.
const BODY_BYTES_MAX: usize = 64 * 1024;
/// Longest id, secret or scope, in characters.
const TEXT_CHARS_MAX: usize = 512;
/// Most scopes that are asked for.
const SCOPES_MAX: usize = 16;
/// Longest address of a callback, in characters.
const URL_CHARS_MAX: usize = 16 * 1024;
/// Whoever brings an answer is told the outcome if it is there by then, and else how far it has come.
const OUTCOME_WITHIN: Duration = Duration::from_mins(1);

/// A login to begin.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct BeginRequest {
    /// With a browser or a device code; with a browser if absent.
    #[serde(default = "browser")]
    pub(crate) kind: LoginKind,
    /// Root of the GitLab instance; the configured one if absent.
    pub(crate) base_url: Option<String>,
    /// Application ID of an OAuth application there; the configured one if absent.
    pub(crate) client_id: Option<String>,
    /// Its secret, if it is a confidential one.
    pub(crate) client_secret: Option<String>,
    /// Where GitLab sends the browser back to, as registered: an http address of the user's own machine, or `public_url`
    /// with `/oauth/callback`. The latter if absent and `public_url` is set, else the configured one of the former.
    pub(crate) redirect_uri: Option<String>,
    /// What to ask for; the configured ones if absent.
    pub(crate) scopes: Option<Vec<String>>,
    /// The AI gateway, where it is not the one that GitLab names.
    pub(crate) gateway_url: Option<String>,
    /// A name for people.
    pub(crate) label: Option<String>,
    /// Which keys may use it; `default` if absent and the account is new.
    pub(crate) pool: Option<String>,
    /// Higher tiers are used first; 0 if absent and the account is new.
    pub(crate) priority: Option<i32>,
    /// Share among accounts of one tier, 1 to 1000; 1 if absent and the account is new.
    pub(crate) weight: Option<u32>,
    /// Most requests in flight, 1 to 10000; 16 if absent and the account is new.
    pub(crate) max_concurrency: Option<u32>,
}

/// What a browser came back with.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CallbackRequest {
    /// The whole address that GitLab sent the browser to.
    pub(crate) callback_url: String,
}

/// All logins that are under way, and those of the last hour.
#[derive(Serialize, Deserialize, ToSchema)]
pub(crate) struct LoginList {
    /// In the order in which they began.
    pub(crate) logins: Vec<LoginView>,
}

fn browser() -> LoginKind {
    LoginKind::Browser
}

/// Lists logins.
#[utoipa::path(get, path = "/admin/v1/logins", responses((status = 200, body = LoginList)))]
pub(crate) async fn list(request: HttpRequest, door: Data<Door>) -> HttpResponse {
    match door.parts.logins.send(List).await {
        Ok(logins) => HttpResponse::Ok().json(LoginList { logins }),
        Err(_) => Problem::internal().reply(&request_id(&request, &door)),
    }
}

/// Begins a login. The reply says where to send the user's browser, or which code to enter where.
#[utoipa::path(post, path = "/admin/v1/logins", request_body = BeginRequest, responses(
    (status = 201, body = LoginView),
    (status = 400, description = "the body is not as described", body = Problem),
    (status = 408, description = "the body did not arrive in time", body = Problem),
    (status = 413, description = "the body is too large", body = Problem),
    (status = 422, description = "no OAuth application is known, or GitLab refuses it", body = Problem),
    (status = 429, description = "too many logins are under way", body = Problem),
    (status = 502, description = "GitLab could not be asked", body = Problem),
))]
pub(crate) async fn begin(request: HttpRequest, payload: Payload, door: Data<Door>) -> HttpResponse {
    let id = request_id(&request, &door);
    let new = match read(&request, payload, &door).await.and_then(|body| parse(&body)) {
        Ok(new) => new,
        Err(problem) => return problem.reply(&id),
    };
    match door.parts.logins.send(Begin(new)).await.unwrap_or(Err(BeginError::Gone)) {
        Ok(login) => HttpResponse::Created().json(login),
        Err(refused) => begin_problem(&refused).reply(&id),
    }
}

/// Shows one login.
#[utoipa::path(get, path = "/admin/v1/logins/{id}", params(("id" = String, Path)), responses(
    (status = 200, body = LoginView), (status = 404, body = Problem),
))]
pub(crate) async fn show(request: HttpRequest, id: Path<String>, door: Data<Door>) -> HttpResponse {
    match door.parts.logins.send(Show(id.into_inner())).await {
        Ok(Some(login)) => HttpResponse::Ok().json(login),
        Ok(None) => callback_problem(&CallbackError::NoSuchLogin).reply(&request_id(&request, &door)),
        Err(_) => Problem::internal().reply(&request_id(&request, &door)),
    }
}

/// Gives a login the address that GitLab sent the browser to. The reply says what came of it, or how far it has come after
/// a minute; a client that does not wait changes nothing.
#[utoipa::path(post, path = "/admin/v1/logins/{id}", params(("id" = String, Path)), request_body = CallbackRequest, responses(
    (status = 200, description = "taken; the status says what came of it", body = LoginView),
    (status = 400, description = "the body is not as described", body = Problem),
    (status = 404, body = Problem),
    (status = 408, description = "the body did not arrive in time", body = Problem),
    (status = 409, description = "the login was answered already, or takes no address", body = Problem),
    (status = 410, description = "the login has expired", body = Problem),
    (status = 413, description = "the body is too large", body = Problem),
    (status = 422, description = "the address is not that of this login; it still waits", body = Problem),
))]
pub(crate) async fn answer(request: HttpRequest, id: Path<String>, payload: Payload, door: Data<Door>) -> HttpResponse {
    let request_id = request_id(&request, &door);
    let url = match read(&request, payload, &door).await.and_then(|body| parse_callback(&body)) {
        Ok(url) => url,
        Err(problem) => return problem.reply(&request_id),
    };
    let login = id.into_inner();
    let taken = door.parts.logins.send(Take(Answer::Given { login, url })).await;
    let login = match taken.unwrap_or(Err(CallbackError::Gone)) {
        Ok(login) => login,
        Err(refused) => return callback_problem(&refused).reply(&request_id),
    };
    let awaited = door.parts.logins.send(Await(login.clone())).timeout(OUTCOME_WITHIN).await.ok().flatten();
    let shown = match awaited {
        Some(view) => Some(view),
        None => door.parts.logins.send(Show(login)).await.ok().flatten(),
    };
    match shown {
        Some(view) => HttpResponse::Ok().json(view),
        None => Problem::internal().reply(&request_id),
    }
}

async fn read(request: &HttpRequest, payload: Payload, door: &Door) -> Result<Bytes, Box<Problem>> {
    let deadline = Instant::now() + door.settings().request_timeout;
    let body = body::read(request, payload, BODY_BYTES_MAX, deadline).await;
    body.map_err(|error| Box::new(unread(&error).because(error.message(door.now()))))
}

/// Parses a body. A parser's message may quote what it found, and that may be a secret: only the place is told.
fn parsed<T: serde::de::DeserializeOwned>(bytes: &[u8]) -> Result<T, Box<Problem>> {
    serde_json::from_slice(bytes).map_err(|error| {
        let place = format!("line {}, column {}", error.line(), error.column());
        Box::new(bad_request(format!("it does not parse at {place}; GET /admin/openapi.json describes it")))
    })
}

fn parse_callback(bytes: &[u8]) -> Result<Secret<String>, Box<Problem>> {
    let CallbackRequest { callback_url } = parsed(bytes)?;
    if callback_url.len() > URL_CHARS_MAX {
        return Err(bad_request("`callback_url` is too long").into());
    }
    Ok(Secret::new(callback_url))
}

fn parse(bytes: &[u8]) -> Result<NewLogin, Box<Problem>> {
    let begin: BeginRequest = parsed(bytes)?;
    let instance = begin.base_url.as_deref().map(InstanceUrl::parse).transpose();
    let instance = instance.map_err(|error| bad_request(format!("`base_url` {error}")))?;
    let is_word = |text: &String| {
        !text.is_empty() && text.len() <= TEXT_CHARS_MAX && text.bytes().all(|byte| byte.is_ascii_graphic())
    };
    let words = begin.client_id.iter().chain(&begin.client_secret).chain(&begin.redirect_uri);
    if !words.chain(begin.scopes.iter().flatten()).all(is_word) {
        return Err(bad_request(
            "`client_id`, `client_secret`, `redirect_uri` and each of `scopes` must be 1 to 512 characters without spaces",
        )
        .into());
    }
    if begin.scopes.as_ref().is_some_and(|scopes| scopes.is_empty() || scopes.len() > SCOPES_MAX) {
        return Err(bad_request("`scopes` must name 1 to 16 scopes").into());
    }
    let given = GivenText {
        gateway_url: begin.gateway_url,
        label: begin.label,
        pool: begin.pool,
        priority: begin.priority,
        weight: begin.weight,
        max_concurrency: begin.max_concurrency,
    };
    Ok(NewLogin {
        kind: begin.kind,
        instance,
        client_id: begin.client_id,
        client_secret: begin.client_secret.map(Secret::new),
        redirect_uri: begin.redirect_uri,
        scopes: begin.scopes,
        given: given.check()?,
    })
}

fn begin_problem(refused: &BeginError) -> Problem {
    let problem = match refused {
        BeginError::NoApplication { .. } => Problem::new(422, "no-application", "No OAuth application is known"),
        BeginError::BadRedirect { .. } => {
            Problem::new(400, "bad-request", "The request body is not as this route takes it")
        }
        BeginError::Full => Problem::new(429, "too-many-logins", "Too many sign-ins are under way"),
        BeginError::Device(error) => {
            // What GitLab said about this application is a 422; that it could not be asked is a 502.
            let status = if error.fault.scope == Scope::Account { 422 } else { 502 };
            let mut problem = Problem::new(status, "no-device-code", "The sign-in could not be begun");
            problem.reason = Some(reason_word(error.fault.reason));
            problem
        }
        BeginError::NotStored => Problem::new(500, "not-stored", "The sign-in could not be stored"),
        BeginError::Gone => Problem::internal(),
    };
    problem.because(refused.to_string()).fix(refused.fix())
}

fn callback_problem(refused: &CallbackError) -> Problem {
    let problem = match refused {
        CallbackError::NoSuchLogin | CallbackError::UnknownState => {
            Problem::new(404, "no-such-login", "There is no such sign-in")
                .fix("begin one with `duopool login`; those that are over are forgotten after an hour")
        }
        CallbackError::NotABrowser => Problem::new(409, "not-a-browser", "The sign-in takes no address"),
        CallbackError::Used => Problem::new(409, "login-used", "The sign-in was answered already"),
        CallbackError::Expired => Problem::new(410, "login-expired", "The sign-in has expired").fix("begin it again"),
        CallbackError::NotAUrl(_)
        | CallbackError::Foreign(_)
        | CallbackError::Missing(_)
        | CallbackError::Twice(_)
        | CallbackError::TooLong(_)
        | CallbackError::WrongState => Problem::new(422, "wrong-callback", "The address is not that of this sign-in")
            .fix("copy the whole address that the browser was sent to"),
        CallbackError::Gone => Problem::internal(),
    };
    problem.because(refused.to_string())
}
