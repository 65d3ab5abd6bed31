//! `GET /admin/openapi.json`: the admin API, described by the code that serves it.

use actix_web::HttpResponse;
use utoipa::OpenApi;
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};

use crate::http::admin::{accounts, backup, doctor, imports, logins, models, requests, route, status};

#[derive(OpenApi)]
#[openapi(
    info(title = "duopool admin API", description = "Adds, changes and removes GitLab accounts, shows their state, explains what was decided about requests, and backs everything up."),
    paths(
        accounts::list,
        accounts::add,
        accounts::show,
        accounts::change,
        accounts::remove,
        accounts::refresh,
        accounts::test,
        accounts::reset,
        doctor::account_doctor,
        doctor::token_doctor,
        backup::make,
        imports::import,
        logins::list,
        logins::begin,
        logins::show,
        logins::answer,
        models::models,
        requests::list,
        requests::show,
        route::foresee,
        status::status,
        status::config
    ),
    security(("admin_key" = [])),
    modifiers(&AdminKey)
)]
struct Page;

struct AdminKey;

impl utoipa::Modify for AdminKey {
    fn modify(&self, openapi: &mut utoipa::openapi::OpenApi) {
        let scheme = SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer));
        openapi.components.get_or_insert_default().add_security_scheme("admin_key", scheme);
    }
}

/// Returns the description.
pub(crate) async fn page() -> HttpResponse {
    HttpResponse::Ok().json(Page::openapi())
}
