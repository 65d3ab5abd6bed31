//! `/admin/v1/doctor` and `/admin/v1/accounts/{id}/doctor`: what works on the way to a model, and what does not.

use actix_web::web::{Data, Path, Payload};
use actix_web::{HttpRequest, HttpResponse};
use serde::Deserialize;
use tokio::time::Instant;
use utoipa::ToSchema;

use crate::account::api::Examine;
use crate::account::doctor::view::Diagnosis;
use crate::account::registry::ExamineToken;
use crate::domain::endpoint::{GatewayUrl, InstanceUrl};
use crate::domain::id::AccountId;
use crate::http::admin::accounts::{find, silent};
use crate::http::admin::given::token;
use crate::http::admin::problem::{Problem, bad_request, unread};
use crate::http::body;
use crate::http::door::Door;
use crate::http::request_id;

/// A request here has a few hundred bytes.
const BODY_BYTES_MAX: usize = 64 * 1024;

/// A token to examine, which is not stored.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct DoctorRequest {
    /// Root of the GitLab instance; the public one if absent.
    pub(crate) base_url: Option<String>,
    /// The user's personal access token.
    pub(crate) personal_access_token: String,
    /// The gateway, if it is not the one that GitLab names.
    pub(crate) gateway_url: Option<String>,
}

/// Examines a token that need not be an account.
///
/// Nothing is stored and nothing is billed. Asks GitLab for a gateway credential, of which it hands out ten in five
/// minutes.
#[utoipa::path(post, path = "/admin/v1/doctor", request_body = DoctorRequest, responses(
    (status = 200, body = Diagnosis), (status = 400, body = Problem),
))]
pub(crate) async fn token_doctor(request: HttpRequest, payload: Payload, door: Data<Door>) -> HttpResponse {
    let id = request_id(&request, &door);
    let deadline = Instant::now() + door.settings().request_timeout;
    let asked = match body::read(&request, payload, BODY_BYTES_MAX, deadline).await {
        Ok(bytes) => parse(&bytes),
        Err(error) => Err(unread(&error).because(error.message(door.now())).into()),
    };
    let asked = match asked {
        Ok(asked) => asked,
        Err(problem) => return problem.reply(&id),
    };
    match door.parts.registry.send(asked).await {
        Ok(diagnosis) => HttpResponse::Ok().json(diagnosis),
        Err(_) => silent(&request, &door),
    }
}

/// Examines an account: everything between it and a model, from the network to its credit.
///
/// Nothing is billed. Has the account renew its gateway credential, as a refresh does.
#[utoipa::path(post, path = "/admin/v1/accounts/{id}/doctor", params(("id" = String, Path)), responses(
    (status = 200, body = Diagnosis), (status = 404, body = Problem),
))]
pub(crate) async fn account_doctor(request: HttpRequest, id: Path<String>, door: Data<Door>) -> HttpResponse {
    let address = match find(&door, &AccountId::from_text(&id)).await {
        Ok(address) => address,
        Err(problem) => return problem.reply(&request_id(&request, &door)),
    };
    match address.send(Examine).await {
        Ok(diagnosis) => HttpResponse::Ok().json(diagnosis),
        Err(_) => silent(&request, &door),
    }
}

fn parse(bytes: &[u8]) -> Result<ExamineToken, Box<Problem>> {
    // A parser's message may quote what it found, and that may be the token: only the place is told.
    let asked: DoctorRequest = serde_json::from_slice(bytes).map_err(|error| {
        let place = format!("line {}, column {}", error.line(), error.column());
        Box::new(bad_request(format!("it does not parse at {place}; GET /admin/openapi.json describes it")))
    })?;
    let instance = asked.base_url.as_deref().map_or(Ok(InstanceUrl::gitlab_com()), InstanceUrl::parse);
    let instance = instance.map_err(|error| bad_request(format!("`base_url` {error}")))?;
    let gateway_url = asked.gateway_url.as_deref().map(GatewayUrl::parse).transpose();
    let gateway_url = gateway_url.map_err(|error| bad_request(format!("`gateway_url` {error}")))?;
    Ok(ExamineToken { instance, token: token(&asked.personal_access_token)?, gateway_url })
}
