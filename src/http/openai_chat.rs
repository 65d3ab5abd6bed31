//! `POST /v1/chat/completions`, and the refusal of what came before it.

use actix_web::web::{Data, Payload};
use actix_web::{HttpRequest, HttpResponse};

use crate::domain::model::Dialect;
use crate::http::door::Door;
use crate::http::error::ApiError;
use crate::http::exchange::{self, Kind};
use crate::http::failure;
use crate::http::guard::client_scope;

/// Answers in OpenAI Chat Completions.
pub(crate) async fn chat_completions(request: HttpRequest, payload: Payload, door: Data<Door>) -> HttpResponse {
    exchange::serve(request, payload, door, Dialect::ChatCompletions, Kind::Answer).await
}

/// Refuses a request of the older API, in which a model goes on with a text: no model that the gateway offers does. As
/// `OpenAI` answers for models that only chat: 404, with the way forward.
pub(crate) async fn completions(request: HttpRequest, door: Data<Door>) -> HttpResponse {
    let error = client_scope(&door, request.headers()).err().unwrap_or_else(|| ApiError::NotFound {
        message: "the models here chat and are not served by /v1/completions; send `messages` instead of `prompt` to \
                  /v1/chat/completions"
            .to_owned(),
    });
    failure(&request, &door, &error)
}
