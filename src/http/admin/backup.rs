//! `/admin/v1/backup`: all accounts with their secrets, sealed under a passphrase before they leave the store.

use actix_web::web::{Data, Payload};
use actix_web::{HttpRequest, HttpResponse};
use serde::Deserialize;
use tokio::time::Instant;
use tracing::{error, info};
use utoipa::ToSchema;

use crate::domain::secret::Secret;
use crate::http::admin::problem::{Problem, bad_request, unread};
use crate::http::body;
use crate::http::door::Door;
use crate::http::request_id;
use crate::store::backup::{BackupError, MakeBackup};

/// A request here is a passphrase.
const BODY_BYTES_MAX: usize = 8 * 1024;

/// What seals the backup.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct BackupRequest {
    /// At least 8 characters. It is neither stored nor logged, and nothing opens the backup without it.
    pub(crate) passphrase: String,
}

/// Returns a backup of all accounts and their secrets, sealed under a passphrase; `duopool restore` takes it.
#[utoipa::path(post, path = "/admin/v1/backup", request_body = BackupRequest, responses(
    (status = 200, description = "the backup, to be kept as it is", body = Object),
    (status = 400, description = "the body is not as described", body = Problem),
    (status = 408, description = "the body did not arrive in time", body = Problem),
    (status = 413, description = "the body is too large", body = Problem),
    (status = 422, description = "the passphrase is too short", body = Problem),
    (status = 500, description = "what is stored cannot be read", body = Problem),
))]
pub(crate) async fn make(request: HttpRequest, payload: Payload, door: Data<Door>) -> HttpResponse {
    let id = request_id(&request, &door);
    let deadline = Instant::now() + door.settings().request_timeout;
    let bytes = match body::read(&request, payload, BODY_BYTES_MAX, deadline).await {
        Ok(bytes) => bytes,
        Err(error) => return unread(&error).because(error.message(door.now())).reply(&id),
    };
    // A parser's message may quote what it found, and that may be the passphrase.
    let Ok(asked) = serde_json::from_slice::<BackupRequest>(&bytes) else {
        return bad_request("it must be {\"passphrase\": \"…\"}").reply(&id);
    };
    let make = MakeBackup { passphrase: Secret::new(asked.passphrase), now: door.now() };
    match door.parts.backups.send(make).await {
        Ok(Ok(sealed)) => {
            info!(request.id = %id, "made a backup of all accounts");
            HttpResponse::Ok().content_type("application/json").body(sealed)
        }
        Ok(Err(refused @ BackupError::ShortPassphrase)) => {
            let problem = Problem::new(422, "short-passphrase", "The passphrase is too short");
            problem.because(refused.to_string()).reply(&id)
        }
        Ok(Err(refused)) => {
            error!(request.id = %id, "no backup was made: {refused}");
            Problem::new(500, "no-backup", "No backup was made").because(refused.to_string()).reply(&id)
        }
        Err(_) => {
            error!(request.id = %id, "the store does not answer");
            Problem::internal().reply(&id)
        }
    }
}
