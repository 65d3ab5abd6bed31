//! Ground truth, steps and time.
//!
//! `GET /tallies` · `GET /steps` (`?after=NUMBER`), `POST /steps/wait` · `GET|POST|DELETE /holds`, `DELETE /holds/{id}` ·
//! `GET|POST /clock`.

use std::time::Duration;

use actix_web::http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::simulator::control::{Reply, after, parse};
use crate::simulator::handle::SimulatorHandle;
use crate::simulator::server::Asked;
use crate::simulator::steps::{Flow, Hold, Step, StepEvent};

/// A wait for a step that names no end.
const WAIT_MS: u64 = 10_000;

/// Answers a route of this group; `None` where it is none.
pub(super) async fn route(handle: &SimulatorHandle, asked: &Asked<'_>) -> Option<Reply> {
    Some(match (asked.method.as_str(), asked.path) {
        ("GET", "/tallies") => Ok(json!(handle.tallies())),
        ("GET", "/steps") => {
            let after = after(asked.query);
            let later = handle.steps().into_iter().filter(|event| event.number > after);
            Ok(json!(later.collect::<Vec<_>>()))
        }
        ("POST", "/steps/wait") => wait(handle, asked).await,
        ("GET", "/holds") => Ok(json!(handle.holds())),
        ("POST", "/holds") => hold(handle, asked),
        ("DELETE", "/holds") => {
            handle.release_all();
            Ok(json!([]))
        }
        ("DELETE", path) if path.starts_with("/holds/") => match path["/holds/".len()..].parse() {
            Ok(id) if handle.release(id) => Ok(json!(handle.holds())),
            _ => Err((StatusCode::NOT_FOUND, "no such hold".to_owned())),
        },
        ("GET", "/clock") => Ok(clock(handle)),
        ("POST", "/clock") => move_clock(handle, asked),
        _ => return None,
    })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wait {
    flow: Flow,
    step: Step,
    account: Option<String>,
    #[serde(default)]
    after: u64,
    timeout_ms: Option<u64>,
}

async fn wait(handle: &SimulatorHandle, asked: &Asked<'_>) -> Reply {
    let order: Wait = parse(asked.body)?;
    let wanted = |event: &StepEvent| {
        event.number > order.after
            && (event.flow, event.step) == (order.flow, order.step)
            && (order.account.is_none() || order.account == event.account)
    };
    let end = Duration::from_millis(order.timeout_ms.unwrap_or(WAIT_MS));
    match tokio::time::timeout(end, handle.reached(wanted)).await {
        Ok(event) => Ok(json!(event)),
        Err(_) => Err((StatusCode::GATEWAY_TIMEOUT, "no such step was reached in time".to_owned())),
    }
}

fn hold(handle: &SimulatorHandle, asked: &Asked<'_>) -> Reply {
    let order: Hold = parse(asked.body)?;
    if order.step == Step::Replied {
        return Err((StatusCode::BAD_REQUEST, "an answer that was sent cannot be held".to_owned()));
    }
    Ok(json!({ "id": handle.hold(order) }))
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Move {
    AdvanceS(i64),
    OffsetS(i64),
}

fn move_clock(handle: &SimulatorHandle, asked: &Asked<'_>) -> Reply {
    match parse(asked.body)? {
        Move::AdvanceS(seconds) => handle.shift_clock_ms(seconds.saturating_mul(1_000)),
        Move::OffsetS(seconds) => handle.set_clock_offset_ms(seconds.saturating_mul(1_000)),
    }
    Ok(clock(handle))
}

fn clock(handle: &SimulatorHandle) -> Value {
    json!({ "now_ms": handle.now(), "offset_ms": handle.shared.clock.offset_ms() })
}
