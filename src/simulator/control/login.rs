//! OAuth applications, and logins without a browser.
//!
//! `GET|POST /applications`, `DELETE /applications/{client_id}` · `POST /logins/approve`, `/logins/device`,
//! `/logins/issue`, `/logins/revoke`.

use actix_web::http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::simulator::control::{Reply, parse, unknown};
use crate::simulator::handle::{NotDone, SimulatorHandle};
use crate::simulator::json;
use crate::simulator::oauth::{ApplicationOrder, ApplicationView, Decision};
use crate::simulator::server::Asked;

/// Answers a route of this group; `None` where it is none.
pub(super) fn route(handle: &SimulatorHandle, asked: &Asked<'_>) -> Option<Reply> {
    Some(match (asked.method.as_str(), asked.path) {
        ("GET", "/applications") => Ok(applications(handle)),
        ("POST", "/applications") => parse::<ApplicationOrder>(asked.body).map(|order| {
            handle.add_application(order.into());
            applications(handle)
        }),
        ("DELETE", path) if path.starts_with("/applications/") => {
            if handle.remove_application(&path["/applications/".len()..]) {
                Ok(applications(handle))
            } else {
                Err((StatusCode::NOT_FOUND, "no such application".to_owned()))
            }
        }
        ("POST", "/logins/approve") => approve(handle, asked),
        ("POST", "/logins/device") => approve_device(handle, asked),
        ("POST", "/logins/issue") => issue(handle, asked),
        ("POST", "/logins/revoke") => revoke(handle, asked),
        _ => return None,
    })
}

fn applications(handle: &SimulatorHandle) -> Value {
    json!(handle.applications().into_iter().map(ApplicationView::from).collect::<Vec<_>>())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Approval {
    account: String,
    authorize_url: String,
    #[serde(default)]
    decision: Decision,
}

fn approve(handle: &SimulatorHandle, asked: &Asked<'_>) -> Reply {
    let order: Approval = parse(asked.body)?;
    let location = handle.approve(&order.account, &order.authorize_url, order.decision).map_err(not_done)?;
    Ok(json!({ "location": location }))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DeviceApproval {
    account: String,
    user_code: String,
    #[serde(default)]
    decision: Decision,
}

fn approve_device(handle: &SimulatorHandle, asked: &Asked<'_>) -> Reply {
    let order: DeviceApproval = parse(asked.body)?;
    handle.approve_device(&order.account, &order.user_code, order.decision).map_err(not_done)?;
    Ok(json!({}))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Issue {
    account: String,
    client_id: String,
    scopes: Option<Vec<String>>,
}

fn issue(handle: &SimulatorHandle, asked: &Asked<'_>) -> Reply {
    let order: Issue = parse(asked.body)?;
    let scopes = order.scopes.unwrap_or_else(|| vec!["api".to_owned()]);
    let scopes: Vec<&str> = scopes.iter().map(String::as_str).collect();
    let issued = handle.issue_tokens(&order.account, &order.client_id, &scopes).map_err(not_done)?;
    Ok(issued.json())
}

fn revoke(handle: &SimulatorHandle, asked: &Asked<'_>) -> Reply {
    let order: Value = parse(asked.body)?;
    handle.revoke_tokens(json::text(&order, "account")).map_err(unknown)?;
    Ok(json!({}))
}

#[expect(clippy::needless_pass_by_value, reason = "it is the argument of map_err")]
fn not_done(error: NotDone) -> (StatusCode, String) {
    let status = if matches!(error, NotDone::Page(_)) { StatusCode::BAD_REQUEST } else { StatusCode::NOT_FOUND };
    (status, error.to_string())
}
