//! The operators' API: JSON in, JSON out, errors as RFC 9457 problem details.

pub(crate) mod accounts;
mod backup;
pub(crate) mod doctor;
pub(crate) mod explained;
mod given;
pub(crate) mod imports;
pub(crate) mod logins;
pub(crate) mod models;
mod openapi;
pub(crate) mod problem;
pub(crate) mod requests;
pub(crate) mod route;
pub(crate) mod status;

use actix_web::http::header::{ALLOW, HeaderValue};
use actix_web::web::{self, Data, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse};

use crate::http::admin::problem::Problem;
use crate::http::door::Door;
use crate::http::request_id;

/// The routes below `/admin`.
pub(crate) fn routes(config: &mut ServiceConfig) {
    let at = |path: &str, allow: &'static str| {
        let wrong = move |request: HttpRequest, door: Data<Door>| async move { wrong_method(&request, &door, allow) };
        web::resource(path).default_service(web::route().to(wrong))
    };
    config
        .service(at("/openapi.json", "GET").route(web::get().to(openapi::page)))
        .service(at("/v1/status", "GET").route(web::get().to(status::status)))
        .service(at("/v1/config", "GET").route(web::get().to(status::config)))
        .service(at("/v1/models", "GET").route(web::get().to(models::models)))
        .service(
            at("/v1/accounts", "GET, POST").route(web::get().to(accounts::list)).route(web::post().to(accounts::add)),
        )
        .service(
            at("/v1/accounts/{id}", "GET, PATCH, DELETE")
                .route(web::get().to(accounts::show))
                .route(web::patch().to(accounts::change))
                .route(web::delete().to(accounts::remove)),
        )
        .service(at("/v1/accounts/{id}/refresh", "POST").route(web::post().to(accounts::refresh)))
        .service(at("/v1/accounts/{id}/test", "POST").route(web::post().to(accounts::test)))
        .service(at("/v1/accounts/{id}/doctor", "POST").route(web::post().to(doctor::account_doctor)))
        .service(at("/v1/doctor", "POST").route(web::post().to(doctor::token_doctor)))
        .service(at("/v1/accounts/{id}/reset", "POST").route(web::post().to(accounts::reset)))
        .service(at("/v1/backup", "POST").route(web::post().to(backup::make)))
        .service(at("/v1/imports", "POST").route(web::post().to(imports::import)))
        .service(at("/v1/logins", "GET, POST").route(web::get().to(logins::list)).route(web::post().to(logins::begin)))
        .service(
            at("/v1/logins/{id}", "GET, POST").route(web::get().to(logins::show)).route(web::post().to(logins::answer)),
        )
        .service(at("/v1/requests", "GET").route(web::get().to(requests::list)))
        .service(at("/v1/requests/{id}", "GET").route(web::get().to(requests::show)))
        .service(at("/v1/route", "POST").route(web::post().to(route::foresee)))
        .default_service(web::route().to(nowhere));
}

fn wrong_method(request: &HttpRequest, door: &Door, allow: &'static str) -> HttpResponse {
    let problem = Problem::new(405, "method-not-allowed", "This route does not take this method");
    let mut reply = problem.because(format!("it takes {allow}")).reply(&request_id(request, door));
    reply.headers_mut().insert(ALLOW, HeaderValue::from_static(allow));
    reply
}

async fn nowhere(request: HttpRequest, door: Data<Door>) -> HttpResponse {
    let problem = Problem::new(404, "no-such-route", "There is no such route");
    problem.because("GET /admin/openapi.json describes those there are").reply(&request_id(&request, &door))
}
