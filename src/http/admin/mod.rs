//! The operators' API: JSON in, JSON out, errors as RFC 9457 problem details.

pub(crate) mod accounts;
pub(crate) mod models;
mod openapi;
pub(crate) mod problem;
pub(crate) mod status;

use actix_web::web::{self, Data, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse};

use crate::http::admin::problem::Problem;
use crate::http::door::Door;
use crate::http::request_id;

/// The routes below `/admin`.
pub(crate) fn routes(config: &mut ServiceConfig) {
    let at = |path: &str| web::resource(path).default_service(web::route().to(wrong_method));
    config
        .service(at("/openapi.json").route(web::get().to(openapi::page)))
        .service(at("/v1/status").route(web::get().to(status::status)))
        .service(at("/v1/config").route(web::get().to(status::config)))
        .service(at("/v1/models").route(web::get().to(models::models)))
        .service(at("/v1/accounts").route(web::get().to(accounts::list)).route(web::post().to(accounts::add)))
        .service(at("/v1/accounts/{id}").route(web::get().to(accounts::show)).route(web::delete().to(accounts::remove)))
        .service(at("/v1/accounts/{id}/refresh").route(web::post().to(accounts::refresh)))
        .service(at("/v1/accounts/{id}/test").route(web::post().to(accounts::test)))
        .default_service(web::route().to(nowhere));
}

async fn wrong_method(request: HttpRequest, door: Data<Door>) -> HttpResponse {
    Problem::new(405, "method-not-allowed", "This route does not take this method").reply(&request_id(&request, &door))
}

async fn nowhere(request: HttpRequest, door: Data<Door>) -> HttpResponse {
    let problem = Problem::new(404, "no-such-route", "There is no such route");
    problem.because("GET /admin/openapi.json describes those there are").reply(&request_id(&request, &door))
}
