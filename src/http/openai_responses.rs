//! `POST /v1/responses`, and the refusal of its WebSocket form.

use actix_web::web::{Data, Payload};
use actix_web::{HttpRequest, HttpResponse};

use crate::domain::model::Dialect;
use crate::http::door::Door;
use crate::http::error::ApiError;
use crate::http::exchange::{self, Kind};
use crate::http::failure;

/// Answers in OpenAI Responses.
pub(crate) async fn responses(request: HttpRequest, payload: Payload, door: Data<Door>) -> HttpResponse {
    exchange::serve(request, payload, door, Dialect::Responses, Kind::Answer).await
}

/// Refuses a WebSocket with 426, on which Codex falls back to POST at once; on 404 it would try for seconds.
pub(crate) async fn websocket(request: HttpRequest, door: Data<Door>) -> HttpResponse {
    failure(&request, &door, &ApiError::UpgradeRefused)
}

/// Says that answers are not to be had by their ids.
pub(crate) async fn by_id(request: HttpRequest, door: Data<Door>) -> HttpResponse {
    let message = "answers cannot be read, deleted or compacted here; those of Claude models can be continued within an hour, \
                   by `previous_response_id` or `item_reference` in POST /v1/responses";
    failure(&request, &door, &ApiError::NotFound { message: message.to_owned() })
}
