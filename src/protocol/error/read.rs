//! Reads the errors of providers: bodies of error replies, and the data of error events.

use std::borrow::Cow;

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::{CONTEXT_LENGTH_EXCEEDED, ErrorClass, PROMPT_IS_TOO_LONG};
use crate::protocol::json;

/// Longest text that is taken over from a provider, in bytes.
const MESSAGE_BYTES_MAX: usize = 4 * 1024;

/// What providers say, in lower case, where a conversation does not fit the model. Sources: bodies seen from Anthropic
/// (first two) and `OpenAI` (the others).
const OVERFLOW_WORDS: [&str; 4] =
    [PROMPT_IS_TOO_LONG, "exceed context limit", "maximum context length", "exceeds the context window"];

/// The code by which `OpenAI` refuses reasoning that it cannot open.
const INVALID_ENCRYPTED_CONTENT: &str = "invalid_encrypted_content";

/// What providers say, in lower case, where reasoning in the history is at fault: each row's words come together. Sources:
/// bodies seen from Anthropic (first three) and `OpenAI`.
const REASONING_WORDS: [&[&str]; 5] = [
    &["invalid `signature` in `thinking`"],
    &["invalid `data` in `redacted_thinking`"],
    &["thinking", "blocks in the latest assistant message cannot be modified"],
    &["encrypted content", "could not be"],
    &["of type 'reasoning' was provided without its required following item"],
];

/// A provider's error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpstreamMessage {
    /// `error.type`, empty where there is none.
    pub kind: String,
    /// Text for a person, at most 4 KiB.
    pub message: String,
    /// `error.code`, or Anthropic's `error.details.error_code`, where there is one.
    pub code: Option<String>,
    /// The member at fault, where it is named.
    pub param: Option<String>,
}

impl UpstreamMessage {
    /// Returns the class that type and code stand for; [`ErrorClass::Internal`] where neither is known.
    ///
    /// For events, which have no status. Where there is a status, it says more.
    pub fn class(&self) -> ErrorClass {
        let code = self.code.as_deref().and_then(class_of);
        code.or_else(|| class_of(&self.kind)).unwrap_or(ErrorClass::Internal)
    }

    /// Returns whether the conversation does not fit the model, whatever the dialect calls it.
    pub fn is_context_overflow(&self) -> bool {
        let text = self.message.to_ascii_lowercase();
        self.code.as_deref() == Some(CONTEXT_LENGTH_EXCEEDED) || OVERFLOW_WORDS.iter().any(|words| text.contains(words))
    }

    /// Returns whether the request was refused for reasoning in its history, without which it would not have been.
    pub fn is_about_reasoning(&self) -> bool {
        let text = self.message.to_ascii_lowercase();
        let fits = |words: &[&str]| words.iter().all(|word| text.contains(word));
        self.code.as_deref() == Some(INVALID_ENCRYPTED_CONTENT) || REASONING_WORDS.iter().any(|words| fits(words))
    }
}

fn class_of(word: &str) -> Option<ErrorClass> {
    Some(match word {
        "invalid_request_error" | "invalid_prompt" | CONTEXT_LENGTH_EXCEEDED => ErrorClass::InvalidRequest,
        "authentication_error" | "invalid_api_key" => ErrorClass::Authentication,
        "billing_error" | "insufficient_quota" => ErrorClass::Billing,
        "permission_error" => ErrorClass::Permission,
        "not_found_error" | "model_not_found" => ErrorClass::NotFound,
        "request_too_large" => ErrorClass::TooLarge,
        "rate_limit_error" | "rate_limit_exceeded" => ErrorClass::RateLimit,
        "overloaded_error" | "server_is_overloaded" | "slow_down" => ErrorClass::Overloaded,
        "timeout_error" | "timeout" => ErrorClass::Timeout,
        "api_error" | "server_error" => ErrorClass::Internal,
        _ => return None,
    })
}

#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(borrow)]
    error: Error<'a>,
}

#[derive(Deserialize)]
struct Failed<'a> {
    #[serde(borrow)]
    response: Envelope<'a>,
}

#[derive(Deserialize)]
struct Error<'a> {
    #[serde(borrow, rename = "type", default)]
    kind: Option<Cow<'a, str>>,
    #[serde(borrow)]
    message: Cow<'a, str>,
    #[serde(borrow, default)]
    code: Option<Code<'a>>,
    #[serde(borrow, default)]
    param: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    details: Option<Details<'a>>,
}

/// What Anthropic adds for programs; others may put anything there.
#[derive(Deserialize)]
#[serde(untagged)]
enum Details<'a> {
    Coded {
        #[serde(borrow)]
        error_code: Cow<'a, str>,
    },
    Other(IgnoredAny),
}

/// A code is a word, but some upstreams put a number there.
#[derive(Deserialize)]
#[serde(untagged)]
enum Code<'a> {
    Word(#[serde(borrow)] Cow<'a, str>),
    Other(IgnoredAny),
}

/// Reads an error of Anthropic or `OpenAI`: the body of an error reply, or the data of an error event, which may be cut
/// off behind the error. `None` for anything else, such as the gateway's own `{"detail": …}`.
pub fn read(body: &[u8]) -> Option<UpstreamMessage> {
    let error = if let Ok(Envelope { error }) = serde_json::from_slice(body) {
        error
    } else if let Ok(Failed { response: Envelope { error } }) = serde_json::from_slice(body) {
        error
    } else if let Some(error) = cut_off(body) {
        error
    } else if json::top_level_str(body, b"type") == Some(b"error") {
        Error { kind: None, ..serde_json::from_slice(body).ok()? }
    } else {
        return None;
    };
    let word = |code| match code {
        Code::Word(word) => Some(word.into_owned()),
        Code::Other(_) => None,
    };
    let coded = |details| match details {
        Details::Coded { error_code } => Some(error_code.into_owned()),
        Details::Other(_) => None,
    };
    Some(UpstreamMessage {
        kind: error.kind.unwrap_or_default().into_owned(),
        message: bounded(error.message),
        code: error.code.and_then(word).or_else(|| error.details.and_then(coded)),
        param: error.param.map(Cow::into_owned),
    })
}

/// Reads `error`, or `response.error`, of an object whose end is missing.
fn cut_off(body: &[u8]) -> Option<Error<'_>> {
    let object = json::top_level(body, b"response").unwrap_or(body);
    let error = json::top_level(object, b"error")?;
    serde_json::Deserializer::from_slice(error).into_iter().next()?.ok()
}

fn bounded(text: Cow<'_, str>) -> String {
    let mut text = text.into_owned();
    text.truncate(text.floor_char_boundary(MESSAGE_BYTES_MAX));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(kind: &str, message: &str, code: Option<&str>, param: Option<&str>) -> UpstreamMessage {
        let owned = |text: &str| text.to_owned();
        UpstreamMessage { kind: owned(kind), message: owned(message), code: code.map(owned), param: param.map(owned) }
    }

    #[test]
    fn the_shapes_of_both_vendors_are_read() {
        for (body, wanted) in [
            (
                r#"{"type":"error","error":{"type":"overloaded_error","message":"Over\nloaded"},"request_id":"r"}"#,
                message("overloaded_error", "Over\nloaded", None, None),
            ),
            (
                r#"{"error":{"message":"No","type":"invalid_request_error","param":"model","code":"model_not_found"}}"#,
                message("invalid_request_error", "No", Some("model_not_found"), Some("model")),
            ),
            (r#"{"error":{"message":"No","code":502}}"#, message("", "No", None, None)),
            (r#"{"error":{"message":"No","details":["x"]}}"#, message("", "No", None, None)),
            (
                r#"{"type":"error","error":{"type":"not_found_error","message":"No","details":{"error_code":"thread_not_found"}}}"#,
                message("not_found_error", "No", Some("thread_not_found"), None),
            ),
            (
                r#"{"type":"error","code":"rate_limit_exceeded","message":"Slow","param":null,"sequence_number":3}"#,
                message("", "Slow", Some("rate_limit_exceeded"), None),
            ),
            (
                r#"{"type":"response.failed","response":{"id":"r","error":{"code":"server_error","message":"Bad"}}}"#,
                message("", "Bad", Some("server_error"), None),
            ),
            (
                r#"{"type":"response.failed","response":{"error":{"code":"server_error","message":"Bad"},"tools":[{"na"#,
                message("", "Bad", Some("server_error"), None),
            ),
        ] {
            assert_eq!(read(body.as_bytes()), Some(wanted), "{body}");
        }
    }

    #[test]
    fn what_is_no_providers_error_is_not_read() {
        for body in [
            r#"{"detail":"Unsupported model"}"#,
            r#"{"error":"insufficient_credits","message":"no"}"#,
            r#"{"message":"403 Forbidden"}"#,
            "<html>",
            "",
            "[]",
            r#"{"error":null}"#,
            r#"{"type":"error"}"#,
        ] {
            assert_eq!(read(body.as_bytes()), None, "{body}");
        }
    }

    #[test]
    fn a_long_message_is_cut_between_characters() {
        let body = format!(r#"{{"error":{{"message":"{}"}}}}"#, "\u{20ac}".repeat(5000));
        let message = read(body.as_bytes()).unwrap().message;
        assert!(message.len() <= MESSAGE_BYTES_MAX && message.chars().all(|char| char == '\u{20ac}'));
    }

    #[test]
    fn an_overflow_is_told_apart_from_other_bad_requests() {
        let says = |text: &str, code: Option<&str>| message("x", text, code, None).is_context_overflow();
        assert!(says("prompt is too long: 210000 tokens > 200000 maximum", None));
        assert!(says("input length and `max_tokens` exceed context limit: 1 + 2 > 3", None));
        assert!(says("This model's maximum context length is 8192 tokens.", None));
        assert!(says("Your input exceeds the context window of this model.", None));
        assert!(says("anything", Some("context_length_exceeded")));
        assert!(!says("max_tokens: 100000 > 64000, which is the maximum allowed number of output tokens", None));
        assert!(!says("Invalid authentication token", Some("invalid_api_key")));
    }

    #[test]
    fn refused_reasoning_is_told_apart_from_other_bad_requests() {
        let says = |text: &str, code: Option<&str>| message("x", text, code, None).is_about_reasoning();
        assert!(says("anything", Some("invalid_encrypted_content")));
        assert!(says("messages.1.content.0: Invalid `signature` in `thinking` block", None));
        assert!(says("The encrypted content gAAA... could not be verified. Reason: x", None));
        assert!(says(
            "messages.3.content.1: `thinking` or `redacted_thinking` blocks in the latest assistant message cannot be \
             modified. These blocks must remain as they were in the original response.",
            None
        ));
        assert!(says("Item 'rs_1' of type 'reasoning' was provided without its required following item.", None));
        assert!(!says("`thinking` must be an object", Some("invalid_request_error")));
        assert!(!says("No tool output found for function call call_1.", None));
    }

    #[test]
    fn the_class_comes_from_code_or_type() {
        let class = |kind: &str, code: Option<&str>| message(kind, "", code, None).class();
        assert_eq!(class("overloaded_error", None), ErrorClass::Overloaded);
        assert_eq!(class("invalid_request_error", Some("model_not_found")), ErrorClass::NotFound);
        assert_eq!(class("server_error", Some("never heard of")), ErrorClass::Internal);
        assert_eq!(class("", None), ErrorClass::Internal);
    }
}
