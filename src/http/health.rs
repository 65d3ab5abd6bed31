//! Whether the process lives, whether it can serve, and what it is.

use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};
use serde::Serialize;

use crate::http::door::Door;

#[derive(Serialize)]
struct Status {
    status: &'static str,
}

#[derive(Serialize)]
struct Hello {
    name: &'static str,
    version: &'static str,
}

/// `GET /healthz`: the process answers.
pub(crate) async fn alive() -> HttpResponse {
    HttpResponse::Ok().json(Status { status: "ok" })
}

/// `GET /readyz`: 200 if some account can serve, else 503. Says no more, since anybody may ask; but for a disk that does
/// not take what must not be lost, since a server in that state must not be stopped.
pub(crate) async fn ready(door: Data<Door>) -> HttpResponse {
    let now = door.now();
    let table = door.parts.published.load();
    if !door.parts.drain.is_serving() {
        return HttpResponse::ServiceUnavailable().json(Status { status: "stopping" });
    }
    let unsaved = table.accounts.iter().any(|account| account.unsaved);
    if table.accounts.iter().any(|account| account.can_serve(now)) {
        let status = if unsaved { "ready, but a renewed login is not on disk: do not stop" } else { "ready" };
        return HttpResponse::Ok().json(Status { status });
    }
    let status = if unsaved { "a renewed login is not on disk: do not stop" } else { "no account can serve" };
    HttpResponse::ServiceUnavailable().json(Status { status })
}

/// `GET /` and `HEAD /`: name and version.
pub(crate) async fn hello(_: HttpRequest) -> HttpResponse {
    HttpResponse::Ok().json(Hello { name: "duopool", version: env!("CARGO_PKG_VERSION") })
}
