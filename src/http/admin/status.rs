//! `/admin/v1/status` and `/admin/v1/config`: the server at a glance, and the settings it runs with.

use actix_web::HttpResponse;
use actix_web::web::Data;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::account::view::Trouble;
use crate::http::door::Door;

/// The server at a glance.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct StatusView {
    /// Version of duopool.
    pub(crate) version: String,
    /// Accounts in the pool.
    pub(crate) accounts: usize,
    /// Accounts that can serve now.
    pub(crate) serving: usize,
    /// Requests in flight.
    pub(crate) in_flight: u32,
    /// Requests that ended well since the start.
    pub(crate) served: u64,
    /// Requests on an account that ended in a fault since the start.
    pub(crate) failed: u64,
    /// Whether the client API is open to this machine without a key.
    pub(crate) open: bool,
    /// What is blocked for several accounts: providers, gateways, root namespaces, calls to GitLab instances, this machine.
    pub(crate) shared_blocks: Vec<Trouble>,
}

/// Returns the server at a glance.
#[utoipa::path(get, path = "/admin/v1/status", responses((status = 200, body = StatusView)))]
pub(crate) async fn status(door: Data<Door>) -> HttpResponse {
    let now = door.now();
    let table = door.parts.published.load();
    let serving = table.accounts.iter().filter(|account| account.can_serve(now)).count();
    let gauges = || table.accounts.iter().map(|account| &account.gauge);
    HttpResponse::Ok().json(StatusView {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        accounts: table.accounts.len(),
        serving,
        in_flight: gauges().map(|gauge| gauge.in_flight()).sum(),
        served: gauges().map(|gauge| gauge.served()).sum(),
        failed: gauges().map(|gauge| gauge.failed()).sum(),
        open: door.parts.access.is_open(),
        shared_blocks: table.shared.blocked(now).iter().map(|(site, block)| Trouble::at(site, block)).collect(),
    })
}

/// Returns the settings that the server runs with, secrets masked.
#[utoipa::path(get, path = "/admin/v1/config", responses((status = 200, description = "settings by name")))]
pub(crate) async fn config(door: Data<Door>) -> HttpResponse {
    HttpResponse::Ok().json(&*door.parts.effective)
}
