//! `POST /v1/chat/completions`.

use actix_web::web::{Data, Payload};
use actix_web::{HttpRequest, HttpResponse};

use crate::domain::model::Dialect;
use crate::http::door::Door;
use crate::http::exchange::{self, Kind};

/// Answers in OpenAI Chat Completions.
pub(crate) async fn chat_completions(request: HttpRequest, payload: Payload, door: Data<Door>) -> HttpResponse {
    exchange::serve(request, payload, door, Dialect::ChatCompletions, Kind::Answer).await
}
