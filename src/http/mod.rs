//! The door: everything that speaks HTTP with clients and operators, and decides nothing about accounts.

pub(crate) mod admin;
pub(crate) mod anthropic_messages;
pub(crate) mod body;
pub(crate) mod door;
pub(crate) mod drain;
pub(crate) mod error;
pub(crate) mod exchange;
mod guard;
pub(crate) mod health;
pub(crate) mod models;
mod oauth_callback;
pub(crate) mod openai_chat;
pub(crate) mod openai_responses;
pub(crate) mod page;
mod sse_body;

use actix_web::middleware::from_fn;
use actix_web::web::{self, Data, ServiceConfig};
use actix_web::{HttpMessage, HttpRequest, HttpResponse, guard as when};

use crate::domain::id::RequestId;
use crate::http::door::Door;
use crate::http::error::ApiError;

pub(crate) use crate::http::guard::identify;

/// The route table. Any query is accepted, and none is forwarded.
pub(crate) fn routes(config: &mut ServiceConfig) {
    let post = |path: &str| web::resource(path).default_service(web::route().to(only_post));
    let get = |path: &str| web::resource(path).default_service(web::route().to(only_get));
    let operators = web::scope("/admin").wrap(from_fn(guard::operators)).configure(admin::routes);
    let clients = web::scope("")
        .wrap(from_fn(guard::clients))
        .service(post("/v1/messages").route(web::post().to(anthropic_messages::messages)))
        .service(post("/v1/messages/count_tokens").route(web::post().to(anthropic_messages::count_tokens)))
        .service(post("/v1/chat/completions").route(web::post().to(openai_chat::chat_completions)))
        .service(post("/v1/completions").route(web::post().to(openai_chat::completions)))
        .service(
            post("/v1/responses")
                .route(web::post().to(openai_responses::responses))
                .route(web::get().guard(when::fn_guard(wants_websocket)).to(openai_responses::websocket)),
        )
        .service(web::resource("/v1/responses/{id:.*}").default_service(web::route().to(openai_responses::by_id)))
        .service(get("/v1/models").route(web::get().to(models::list)))
        .service(get("/v1/models/{id:.*}").route(web::get().to(models::one)))
        .service(get("/healthz").route(web::get().to(health::alive)))
        .service(get("/readyz").route(web::get().to(health::ready)))
        .service(get("/").route(web::get().to(health::hello)).route(web::head().to(health::hello)))
        .default_service(web::route().to(nowhere));
    let browsers = web::resource("/oauth/callback")
        .route(web::get().to(oauth_callback::callback))
        .default_service(web::route().to(oauth_callback::only_get));
    // The clients' scope takes every path, so it comes last.
    config.service(operators).service(browsers).service(clients);
}

fn wants_websocket(context: &when::GuardContext<'_>) -> bool {
    context.head().headers().contains_key("upgrade")
}

async fn only_post(request: HttpRequest, door: Data<Door>) -> HttpResponse {
    failure(&request, &door, &ApiError::MethodNotAllowed { allow: "POST" })
}

async fn only_get(request: HttpRequest, door: Data<Door>) -> HttpResponse {
    failure(&request, &door, &ApiError::MethodNotAllowed { allow: "GET" })
}

async fn nowhere(request: HttpRequest, door: Data<Door>) -> HttpResponse {
    let message = format!(
        "there is no such route; duopool serves POST /v1/messages, /v1/messages/count_tokens, /v1/chat/completions, \
         /v1/responses and GET /v1/models (check the base URL: {} is not one of them)",
        body::printable(request.path())
    );
    failure(&request, &door, &ApiError::NotFound { message })
}

/// Returns the id that the guard gave to `request`.
fn request_id(request: &HttpRequest, door: &Door) -> RequestId {
    request.extensions().get::<RequestId>().cloned().unwrap_or_else(|| door.new_request_id())
}

/// Returns the reply that tells `error` in the dialect of the request's route.
fn failure(request: &HttpRequest, door: &Door, error: &ApiError) -> HttpResponse {
    error.reply(guard::dialect_of(request.path()), &request_id(request, door), door.now())
}
