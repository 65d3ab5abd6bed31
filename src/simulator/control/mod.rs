//! Control over HTTP, below `/simulator/v1`: what [`SimulatorHandle`] does, as JSON.
//!
//! `GET /state` · `PATCH /instance` · `PATCH /accounts/{username}` (JSON merge patch of the standing) ·
//! `GET|POST|DELETE /rules` · `GET /mint-cases` · `POST /grants/revoke` · `GET|DELETE /requests` (`?after=NUMBER`) ·
//! `PUT /requests/keep` · OAuth: see [`login`] · ground truth, steps and time: see [`proof`].
//! A change needs `content-type: application/json`, so that no web page can send one in passing.

mod login;
mod proof;

use actix_web::http::{Method, StatusCode};
use actix_web::web::Bytes;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::simulator::account::SimulatedAccount;
use crate::simulator::handle::SimulatorHandle;
use crate::simulator::json;
use crate::simulator::mint_cases::MintCase;
use crate::simulator::server::Asked;

type Reply = Result<Value, (StatusCode, String)>;

/// Answers a control call whose path is below the control root.
pub(crate) async fn answer(handle: &SimulatorHandle, asked: &Asked<'_>) -> (StatusCode, Bytes) {
    let (status, body) = match route(handle, asked).await {
        Ok(body) => (StatusCode::OK, body),
        Err((status, told)) => (status, json!({ "error": told })),
    };
    (status, Bytes::from(body.to_string()))
}

async fn route(handle: &SimulatorHandle, asked: &Asked<'_>) -> Reply {
    if asked.method != Method::GET && asked.method != Method::DELETE {
        let kind = asked.headers.get("content-type").and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        if !kind.starts_with("application/json") {
            return Err((StatusCode::UNSUPPORTED_MEDIA_TYPE, "send application/json".to_owned()));
        }
    }
    match (asked.method.as_str(), asked.path) {
        ("GET", "/state") => Ok(state(handle)),
        ("PATCH", "/instance") => {
            let mut instance = serde_json::to_value(handle.instance()).map_err(bad_request)?;
            json::merge(&mut instance, &parse(asked.body)?);
            let changed = serde_json::from_value(instance).map_err(bad_request)?;
            handle.change_instance(|instance| *instance = changed);
            Ok(state(handle))
        }
        ("GET", "/rules") => Ok(json!(handle.rules())),
        ("POST", "/rules") => {
            handle.add_rule(parse(asked.body)?);
            Ok(json!(handle.rules()))
        }
        ("DELETE", "/rules") => {
            handle.clear_rules();
            Ok(json!([]))
        }
        ("POST", "/grants/revoke") => {
            let order: Value = parse(asked.body)?;
            handle.revoke_grants(json::text(&order, "account")).map_err(unknown)?;
            Ok(json!({}))
        }
        ("GET", "/requests") => Ok(requests(handle, asked.query)),
        ("DELETE", "/requests") => {
            handle.clear_requests();
            Ok(json!([]))
        }
        ("PUT", "/requests/keep") => {
            handle.keep_requests(parse(asked.body)?);
            Ok(json!({}))
        }
        ("PATCH", path) if path.starts_with("/accounts/") => patch_account(handle, &path["/accounts/".len()..], asked),
        ("GET", "/mint-cases") => Ok(mint_cases()),
        _ => {
            if let Some(reply) = login::route(handle, asked) {
                return reply;
            }
            let no_such_route = || Err((StatusCode::NOT_FOUND, "no such control route".to_owned()));
            proof::route(handle, asked).await.unwrap_or_else(no_such_route)
        }
    }
}

fn patch_account(handle: &SimulatorHandle, username: &str, asked: &Asked<'_>) -> Reply {
    let patch: Value = parse(asked.body)?;
    let mut result = Ok(());
    let changed = handle.change_account(username, |standing| {
        result = serde_json::to_value(&*standing).and_then(|mut value| {
            json::merge(&mut value, &patch);
            *standing = serde_json::from_value(value)?;
            Ok(())
        });
    });
    changed.map_err(unknown)?;
    result.map_err(bad_request)?;
    Ok(state(handle))
}

fn parse<T: DeserializeOwned>(body: &Bytes) -> Result<T, (StatusCode, String)> {
    serde_json::from_slice(body).map_err(bad_request)
}

#[expect(clippy::needless_pass_by_value, reason = "it is the argument of map_err")]
fn bad_request(error: serde_json::Error) -> (StatusCode, String) {
    (StatusCode::BAD_REQUEST, error.to_string())
}

fn unknown(error: impl std::error::Error) -> (StatusCode, String) {
    (StatusCode::NOT_FOUND, error.to_string())
}

/// Returns accounts without their tokens, the instance and the gauges.
fn state(handle: &SimulatorHandle) -> Value {
    let account = |account: &SimulatedAccount| {
        json!({
            "username": account.username,
            "user_id": account.user_id,
            "namespace_id": account.namespace_id,
            "standing": account.standing,
        })
    };
    json!({
        "instance": handle.instance(),
        "accounts": handle.accounts().iter().map(account).collect::<Vec<_>>(),
        "gauges": handle.gauges(),
    })
}

fn after(query: &str) -> u64 {
    query.strip_prefix("after=").and_then(|number| number.parse().ok()).unwrap_or(0)
}

fn mint_cases() -> Value {
    let case = |case: &MintCase| {
        json!({
            "name": case,
            "call": case.call(),
            "class": case.class(),
            "status": case.status(),
            "content_type": case.content_type(),
            "body": case.body(),
        })
    };
    MintCase::ALL.iter().map(case).collect()
}

fn requests(handle: &SimulatorHandle, query: &str) -> Value {
    let after = after(query);
    let records = handle.requests();
    json!(records.iter().filter(|record| record.number > after).collect::<Vec<_>>())
}
