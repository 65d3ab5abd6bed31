//! `count_tokens`: GitLab's count for Claude, a tokenizer's for GPT, a rule of thumb where neither can be had.
//!
//! Clients compact a conversation by this number and ask dozens of times in a row, so the answer is never an error that
//! the request is not at fault for, and never 0.

use actix_web::HttpResponse;
use actix_web::http::header::{HeaderName, HeaderValue};
use actix_web::web::{self, Bytes, Data};
use serde::Serialize;

use crate::domain::catalogue::Wanted;
use crate::domain::model::Provider;
use crate::http::door::Door;
use crate::http::drain::Open;
use crate::http::error::ApiError;
use crate::http::exchange::{Incoming, travel};
use crate::protocol::{anthropic_messages, tokens};

/// Marks a number that the model's provider has not counted.
const ESTIMATED: HeaderName = HeaderName::from_static("x-duopool-estimated");
/// Bytes of JSON per token, on the side of too many tokens: a client that compacts a little early loses nothing.
/// Source: Anthropic's rule of thumb is 3.5 characters of English text.
const BYTES_PER_TOKEN: usize = 3;

#[derive(Serialize)]
struct Count {
    input_tokens: usize,
}

/// Answers a request for a token count.
pub(super) async fn answer(door: &Data<Door>, incoming: Incoming, open: Open) -> Result<HttpResponse, ApiError> {
    let estimate = (incoming.body.len() / BYTES_PER_TOKEN).max(1);
    let name = match &incoming.wanted {
        Wanted::Current => door.parts.catalogue.default_model(),
        Wanted::Known(name) | Wanted::Guess { name, .. } => name,
    };
    if Provider::of_name(name.as_str()) != Some(Provider::Anthropic) {
        return of_gpt(incoming.body, estimate).await;
    }
    match travel(door, incoming, open).await {
        Ok(response) => Ok(response),
        Err(error) if is_the_requests(&error) => Err(error),
        Err(_) => Ok(estimated(estimate)),
    }
}

/// Counts with the tokenizer of the GPT models, which is loaded on first use; `rough` where it fails.
async fn of_gpt(body: Bytes, rough: usize) -> Result<HttpResponse, ApiError> {
    // A large conversation takes a tenth of a second, too long for the thread that streams to others.
    let counting =
        web::block(move || anthropic_messages::read_request(&body).map(|decoded| tokens::count(&decoded.conversation)));
    match counting.await {
        Ok(Ok(count)) => Ok(estimated(usize::try_from(count).unwrap_or(usize::MAX))),
        Ok(Err(refusal)) => Err(ApiError::BadRequest { message: refusal.to_string(), param: refusal.param }),
        Err(_) => Ok(estimated(rough)),
    }
}

fn estimated(input_tokens: usize) -> HttpResponse {
    HttpResponse::Ok().insert_header((ESTIMATED, HeaderValue::from_static("true"))).json(Count { input_tokens })
}

fn is_the_requests(error: &ApiError) -> bool {
    match error {
        ApiError::Provider { status, .. } => matches!(status, 400 | 404 | 413 | 422),
        // Not `BadRequest`: a count is never translated, so that only says that the account's own model is a GPT one.
        ApiError::TooLong { .. } | ApiError::NotFound { .. } => true,
        _ => false,
    }
}
