//! `POST /v1/messages` and `POST /v1/messages/count_tokens`.

use actix_web::web::{Data, Payload};
use actix_web::{HttpRequest, HttpResponse};

use crate::domain::model::Dialect;
use crate::http::door::Door;
use crate::http::exchange::{self, Kind};

/// Answers in Anthropic Messages.
pub(crate) async fn messages(request: HttpRequest, payload: Payload, door: Data<Door>) -> HttpResponse {
    exchange::serve(request, payload, door, Dialect::Messages, Kind::Answer).await
}

/// Counts the tokens of a Messages request.
pub(crate) async fn count_tokens(request: HttpRequest, payload: Payload, door: Data<Door>) -> HttpResponse {
    exchange::serve(request, payload, door, Dialect::Messages, Kind::TokenCount).await
}
