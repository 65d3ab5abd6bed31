//! Reads the body of a request: bounded in size and time.

use std::time::Duration;

use actix_web::HttpRequest;
use actix_web::http::header::CONTENT_LENGTH;
use actix_web::web::{Bytes, BytesMut, Payload};
use futures::StreamExt;
use tokio::time::{Instant, timeout};

use crate::http::error::ApiError;

/// Longest silence inside a request's body: clients send it in one go.
const SILENCE_MAX: Duration = Duration::from_secs(30);
/// How much of a path or name is shown back to its sender.
const SHOWN_CHARS_MAX: usize = 100;

/// Reads a body of at most `bytes_max` bytes, which must be there by `deadline`.
pub(crate) async fn read(
    request: &HttpRequest,
    mut payload: Payload,
    bytes_max: usize,
    deadline: Instant,
) -> Result<Bytes, ApiError> {
    let declared = request.headers().get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
    if declared.is_some_and(|length| length > bytes_max) {
        return Err(ApiError::TooLarge { limit: bytes_max });
    }
    let mut whole = BytesMut::new();
    loop {
        let most = SILENCE_MAX.min(deadline.saturating_duration_since(Instant::now()));
        match timeout(most, payload.next()).await {
            Err(_) => return Err(ApiError::SlowBody),
            Ok(None) => return Ok(whole.freeze()),
            Ok(Some(Err(_))) => return Err(ApiError::bad_request("the request body broke off before its end")),
            Ok(Some(Ok(piece))) if whole.len() + piece.len() > bytes_max => {
                return Err(ApiError::TooLarge { limit: bytes_max });
            }
            // Small bodies come in one piece: nothing is copied.
            Ok(Some(Ok(piece))) if declared == Some(piece.len()) && whole.is_empty() => return Ok(piece),
            Ok(Some(Ok(piece))) => {
                if whole.is_empty() {
                    whole.reserve(declared.unwrap_or(piece.len()));
                }
                whole.extend_from_slice(&piece);
            }
        }
    }
}

/// Returns the beginning of a client's text in a form that is safe to show in an error.
pub(crate) fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '?' } else { c }).take(SHOWN_CHARS_MAX).collect()
}
