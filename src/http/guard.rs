//! The guard at the door: gives every request its id, and turns away callers that must not come in.
//!
//! While no client key exists, the client API is open to this machine, and a web page in this machine's browser must
//! not get through: hence the rules on `Host`, `Origin`, forwarding and content type.

use std::net::SocketAddr;

use actix_web::HttpMessage;
use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::Method;
use actix_web::http::header::{AUTHORIZATION, CONTENT_TYPE, HOST, HeaderMap, HeaderName, HeaderValue, ORIGIN};
use actix_web::middleware::Next;
use actix_web::web::Data;

use crate::access::{Refused, Scope};
use crate::domain::model::Dialect;
use crate::gitlab::upstream::is_json;
use crate::http::admin::problem::Problem;
use crate::http::door::{Door, host_name, is_this_machine};
use crate::http::error::ApiError;
use crate::http::request_id;

/// Name of the header that carries a request's id.
pub(crate) const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// The name under which Anthropic's SDKs look for it.
const REQUEST_ID: HeaderName = HeaderName::from_static("request-id");

/// Runs around everything: gives the request its id, and the answer the header that tells it.
pub(crate) async fn identify(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, actix_web::Error> {
    let id = door_of(&request)?.new_request_id();
    request.extensions_mut().insert(id.clone());
    let mut response = next.call(request).await?.map_into_boxed_body();
    if let Ok(value) = HeaderValue::from_str(id.as_str()) {
        response.headers_mut().insert(REQUEST_ID, value.clone());
        response.headers_mut().insert(X_REQUEST_ID, value);
    }
    Ok(response)
}

/// Runs around the client API.
pub(crate) async fn clients(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, actix_web::Error> {
    let door = door_of(&request)?;
    if let Err(why) = client(&request, &door) {
        let message = format!("{why}; set a client key (DUOPOOL_CLIENT_KEYS) to let in more than this machine");
        let id = request_id(request.request(), &door);
        let reply = ApiError::Forbidden { message }.reply(dialect_of(request.path()), &id, door.now());
        return Ok(request.into_response(reply));
    }
    Ok(next.call(request).await?.map_into_boxed_body())
}

/// Runs around the admin API. It belongs to the routes and does not look at the path, which has many spellings: whatever
/// leads to such a route leads through here.
pub(crate) async fn operators(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, actix_web::Error> {
    let door = door_of(&request)?;
    if let Err(problem) = operator(&request, &door) {
        let reply = problem.reply(&request_id(request.request(), &door));
        return Ok(request.into_response(reply));
    }
    Ok(next.call(request).await?.map_into_boxed_body())
}

fn door_of(request: &ServiceRequest) -> Result<Data<Door>, actix_web::Error> {
    let door = request.app_data::<Data<Door>>().cloned();
    door.ok_or_else(|| actix_web::error::ErrorInternalServerError("the server was put together wrongly"))
}

/// Returns the dialect in which errors on `path` are told.
pub(crate) fn dialect_of(path: &str) -> Dialect {
    match path {
        _ if path.starts_with("/v1/messages") => Dialect::Messages,
        _ if path.starts_with("/v1/responses") => Dialect::Responses,
        _ => Dialect::ChatCompletions,
    }
}

/// Decides about a caller of the client API.
fn client(request: &ServiceRequest, door: &Door) -> Result<(), &'static str> {
    if !door.parts.access.is_open() {
        return Ok(());
    }
    let headers = request.headers();
    if !host(headers).is_some_and(|host| is_this_machine(&host)) {
        return Err("without a client key, the Host header must name this machine");
    }
    if headers.get(ORIGIN).is_some_and(|origin| !is_own_origin(origin)) {
        return Err("without a client key, requests from web pages are refused");
    }
    if headers.contains_key("forwarded") || headers.contains_key("x-forwarded-for") {
        return Err("without a client key, forwarded requests are refused");
    }
    let says_json = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).is_some_and(is_json);
    if request.method() == Method::POST && !says_json {
        return Err("without a client key, a POST must have the content type application/json");
    }
    Ok(())
}

/// Decides about a caller of the admin API.
fn operator(request: &ServiceRequest, door: &Door) -> Result<(), Box<Problem>> {
    let settings = door.settings();
    let refuse = |why: &str| Err(Box::new(Problem::forbidden(why)));
    let listener = request.app_config().local_addr();
    let own_port = settings.admin_address == Some(listener);
    if !settings.admin_remote && !own_port && !is_here(request.peer_addr(), listener) {
        return refuse("the admin API answers this machine only; set admin_listen or admin_remote to change that");
    }
    if !host(request.headers()).is_some_and(|host| is_this_machine(&host) || settings.hosts.contains(&host)) {
        return refuse("the Host header names no host of this server; add it to allowed_hosts");
    }
    let key = bearer(request.headers());
    door.parts.access.admin(key).map_err(|refused| Box::new(Problem::unauthorized(refused)))
}

/// Returns whether a caller is on this machine: it comes over loopback, or from the very address that is listened on, as
/// this machine itself does where that is not loopback.
fn is_here(peer: Option<SocketAddr>, listener: SocketAddr) -> bool {
    peer.is_some_and(|peer| peer.ip().to_canonical().is_loopback() || peer.ip() == listener.ip())
}

fn host(headers: &HeaderMap) -> Option<String> {
    headers.get(HOST)?.to_str().ok().map(host_name)
}

fn is_own_origin(origin: &HeaderValue) -> bool {
    let rest = origin.to_str().ok().and_then(|text| text.split_once("://"));
    rest.is_some_and(|(_, authority)| is_this_machine(&host_name(authority)))
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, key) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| key.trim())
}

/// Decides whether the key of a client opens the client API; `Authorization: Bearer` or `x-api-key`, on every route.
pub(crate) fn client_scope(door: &Door, headers: &HeaderMap) -> Result<Scope, ApiError> {
    let api_key = headers.get("x-api-key").and_then(|value| value.to_str().ok());
    // A wrong key in one place does not spoil a right one in the other: some clients fill both.
    let verdict = match (bearer(headers), api_key) {
        (Some(one), Some(other)) => {
            door.parts.access.client(Some(one)).or_else(|_| door.parts.access.client(Some(other)))
        }
        (one, other) => door.parts.access.client(one.or(other)),
    };
    verdict.map_err(|refused| ApiError::Unauthorized {
        message: match refused {
            Refused::Missing => "no key: send your duopool key as `Authorization: Bearer KEY` or `x-api-key: KEY`",
            Refused::Wrong => "this is not a key of this duopool server",
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operators_are_on_this_machine_unless_they_are_let_in_from_elsewhere() {
        let here = |peer: &str, listener: &str| is_here(Some(peer.parse().unwrap()), listener.parse().unwrap());
        assert!(here("127.0.0.1:50000", "0.0.0.0:8080"));
        assert!(here("[::1]:50000", "[::]:8080"));
        assert!(here("[::ffff:127.0.0.1]:50000", "[::]:8080"));
        assert!(here("192.0.2.7:50000", "192.0.2.7:8080"));
        assert!(!here("192.0.2.8:50000", "192.0.2.7:8080"));
        assert!(!here("192.0.2.8:50000", "0.0.0.0:8080"));
        assert!(!here("[2001:db8::1]:50000", "[::]:8080"));
        assert!(!is_here(None, "127.0.0.1:8080".parse().unwrap()));
    }
}
