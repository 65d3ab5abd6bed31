//! Errors in the words of each dialect: written for clients, read from providers.
//!
//! Which HTTP status goes with a class is not decided here, and neither is who may retry.

mod read;

pub use read::{UpstreamMessage, read};

use serde::Serialize;

use crate::domain::model::Dialect;
use crate::protocol::{json, sse};

/// The code by which clients of OpenAI's APIs know that a conversation must be shortened.
pub const CONTEXT_LENGTH_EXCEEDED: &str = "context_length_exceeded";

/// The words by which clients of Messages know that a conversation must be shortened.
const PROMPT_IS_TOO_LONG: &str = "prompt is too long";

/// All the words in which Anthropic says so, in lower case; clients look for either. Source: bodies seen.
const OVERFLOW_WORDS_OF_MESSAGES: [&str; 2] = [PROMPT_IS_TOO_LONG, "exceed context limit"];

/// The member with which a client of Messages asks Anthropic to keep the conversation.
pub const THREAD: &str = "thread";

/// The code by which the tool loops of Anthropic's SDKs know that they must send the whole conversation themselves. Source:
/// `ThreadUnsupportedRequestError` of the anthropic SDKs (Python 2.12, Node 1.12), which ask for a thread by default.
const THREAD_UNSUPPORTED: &str = "thread_unsupported_request";

/// What the codes begin with on which helpers of Anthropic's SDKs act. Source: the same.
const CODES_OF_HELPERS: [&str; 2] = ["thread_", "compaction_"];

/// The kinds of error that the dialects have words for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorClass {
    /// The request is at fault: 400, 422.
    InvalidRequest,
    /// The client's key is missing or wrong: 401.
    Authentication,
    /// No credit: 402.
    Billing,
    /// The key may not do that: 403.
    Permission,
    /// No such route or model: 404.
    NotFound,
    /// The body is too large: 413.
    TooLarge,
    /// Too many requests: 429.
    RateLimit,
    /// A failure on our side or the upstream's: 500, 502.
    Internal,
    /// No capacity at present: 503, 529.
    Overloaded,
    /// No answer in time: 504.
    Timeout,
}

impl ErrorClass {
    /// Returns `error.type` of a Messages error.
    /// Source: Anthropic's API reference, "Errors".
    pub const fn messages_type(self) -> &'static str {
        match self {
            Self::InvalidRequest => "invalid_request_error",
            Self::Authentication => "authentication_error",
            Self::Billing => "billing_error",
            Self::Permission => "permission_error",
            Self::NotFound => "not_found_error",
            Self::TooLarge => "request_too_large",
            Self::RateLimit => "rate_limit_error",
            Self::Internal => "api_error",
            Self::Overloaded => "overloaded_error",
            Self::Timeout => "timeout_error",
        }
    }

    /// Returns `error.type` of an error of OpenAI's APIs.
    /// Source: OpenAI's API reference, "Error codes", and bodies seen.
    pub const fn openai_type(self) -> &'static str {
        match self {
            Self::InvalidRequest | Self::Authentication | Self::NotFound | Self::TooLarge => "invalid_request_error",
            Self::Billing => "insufficient_quota",
            Self::Permission => "permission_error",
            Self::RateLimit => "rate_limit_error",
            Self::Internal | Self::Overloaded | Self::Timeout => "server_error",
        }
    }

    /// Returns `error.code` of an error of OpenAI's APIs, where the class has a usual one.
    pub const fn openai_code(self) -> Option<&'static str> {
        match self {
            Self::Authentication => Some("invalid_api_key"),
            Self::Billing => Some("insufficient_quota"),
            Self::NotFound => Some("model_not_found"),
            Self::RateLimit => Some("rate_limit_exceeded"),
            Self::Timeout => Some("timeout"),
            Self::InvalidRequest | Self::Permission | Self::TooLarge | Self::Internal | Self::Overloaded => None,
        }
    }

    /// Returns `response.error.code` of a failed Response, where one is mandatory and the set is closed.
    /// Source: `ResponseError.code` of the openai SDK 3.54. Codex retries on `server_error` and `rate_limit_exceeded`.
    const fn response_code(self) -> &'static str {
        match self {
            Self::InvalidRequest | Self::TooLarge | Self::NotFound => "invalid_prompt",
            Self::Billing => "insufficient_quota",
            Self::RateLimit => "rate_limit_exceeded",
            Self::Authentication | Self::Permission | Self::Internal | Self::Overloaded | Self::Timeout => {
                "server_error"
            }
        }
    }
}

/// What a client is told about an error.
#[derive(Clone, Copy, Debug)]
pub struct Report<'a> {
    /// Its class, which gives type and code.
    pub class: ErrorClass,
    /// One sentence for a person; must hold no secret and no gateway address.
    pub message: &'a str,
    /// The member at fault. Messages has no place for it, but tells a refused [`THREAD`] by a code.
    pub param: Option<&'a str>,
    /// A code in place of the usual one of the class, such as [`CONTEXT_LENGTH_EXCEEDED`].
    pub code: Option<&'a str>,
    /// The request's id, as in `x-request-id`.
    pub request_id: &'a str,
}

impl Report<'_> {
    fn code(&self) -> Option<&str> {
        self.code.or(self.class.openai_code())
    }

    /// Returns `error.details.error_code` of a Messages error.
    fn messages_code(&self) -> Option<&str> {
        let code = self.code.or((self.param == Some(THREAD)).then_some(THREAD_UNSUPPORTED))?;
        CODES_OF_HELPERS.iter().any(|start| code.starts_with(start)).then_some(code)
    }

    /// Returns the message so that clients of Messages understand an overflow that another API reported.
    fn messages_text(&self) -> String {
        let text = self.message.to_ascii_lowercase();
        let says_so = OVERFLOW_WORDS_OF_MESSAGES.iter().any(|words| text.contains(words));
        if self.code == Some(CONTEXT_LENGTH_EXCEEDED) && !says_so {
            return format!("{PROMPT_IS_TOO_LONG}: {}", self.message);
        }
        self.message.to_owned()
    }
}

/// Returns the JSON body of an error reply.
pub fn body(dialect: Dialect, report: &Report<'_>) -> Vec<u8> {
    match dialect {
        Dialect::Messages => json::to_vec(&MessagesBody::of(report, &report.messages_text())),
        Dialect::ChatCompletions | Dialect::Responses => json::to_vec(&OpenAiBody::of(report)),
    }
}

/// Returns the event that ends a stream with an error.
///
/// Messages: `event: error`. Chat Completions: a chunk with `error` and no `[DONE]`. Responses: `event: error` and then
/// `response.failed`, the pair that `OpenAI` itself sends: SDKs raise the first, while Codex takes a stream without the
/// second for a broken connection. The first tells everything twice: beside its type, as `OpenAI`'s reference and SDK
/// types have it, and under `error`, as `OpenAI` really sends it and without which the openai SDK 3.54 raises nothing
/// (reported in openai-dotnet #881, Effect #7262). `sequence_number` is that of the first event; `StreamWatch::events`
/// knows it. The id in `response.failed` is made from the request's: the real one is not known where a stream passes
/// through.
pub fn event(dialect: Dialect, report: &Report<'_>, sequence_number: u64) -> Vec<u8> {
    let mut out = Vec::with_capacity(512);
    match dialect {
        Dialect::Messages => sse::write_event(&mut out, Some("error"), &body(dialect, report)),
        Dialect::ChatCompletions => sse::write_event(&mut out, None, &body(dialect, report)),
        Dialect::Responses => {
            let code = report.code.unwrap_or_else(|| report.class.response_code());
            let Report { message, param, .. } = *report;
            let inner = OpenAiError { message, kind: report.class.openai_type(), param, code: Some(code) };
            let error = ResponsesError { kind: "error", code, message, param, sequence_number, error: inner };
            sse::write_event(&mut out, Some("error"), &json::to_vec(&error));
            let failed = ResponseFailed {
                kind: "response.failed",
                sequence_number: sequence_number + 1,
                response: FailedResponse {
                    id: format!("resp_{}", report.request_id),
                    object: "response",
                    status: "failed",
                    error: CodeAndMessage { code: error.code, message: report.message },
                    output: [],
                },
            };
            sse::write_event(&mut out, Some(failed.kind), &json::to_vec(&failed));
        }
    }
    out
}

#[derive(Serialize)]
struct MessagesBody<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    error: MessagesError<'a>,
    request_id: &'a str,
}

impl<'a> MessagesBody<'a> {
    fn of(report: &'a Report<'_>, message: &'a str) -> Self {
        let details = report.messages_code().map(|error_code| Details { error_code });
        let error = MessagesError { kind: report.class.messages_type(), message, details };
        Self { kind: "error", error, request_id: report.request_id }
    }
}

#[derive(Serialize)]
struct MessagesError<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    message: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    details: Option<Details<'a>>,
}

#[derive(Serialize)]
struct Details<'a> {
    error_code: &'a str,
}

#[derive(Serialize)]
struct OpenAiBody<'a> {
    error: OpenAiError<'a>,
    request_id: &'a str,
}

#[derive(Serialize)]
struct OpenAiError<'a> {
    message: &'a str,
    #[serde(rename = "type")]
    kind: &'static str,
    param: Option<&'a str>,
    code: Option<&'a str>,
}

impl<'a> OpenAiBody<'a> {
    fn of(report: &'a Report<'_>) -> Self {
        let kind = report.class.openai_type();
        let error = OpenAiError { message: report.message, kind, param: report.param, code: report.code() };
        Self { error, request_id: report.request_id }
    }
}

#[derive(Serialize)]
struct ResponsesError<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    code: &'a str,
    message: &'a str,
    param: Option<&'a str>,
    sequence_number: u64,
    error: OpenAiError<'a>,
}

#[derive(Serialize)]
struct ResponseFailed<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    sequence_number: u64,
    response: FailedResponse<'a>,
}

#[derive(Serialize)]
struct FailedResponse<'a> {
    id: String,
    object: &'static str,
    status: &'static str,
    error: CodeAndMessage<'a>,
    output: [(); 0],
}

#[derive(Serialize)]
struct CodeAndMessage<'a> {
    code: &'a str,
    message: &'a str,
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [(ErrorClass, &str, &str, Option<&str>); 10] = [
        (ErrorClass::InvalidRequest, "invalid_request_error", "invalid_request_error", None),
        (ErrorClass::Authentication, "authentication_error", "invalid_request_error", Some("invalid_api_key")),
        (ErrorClass::Billing, "billing_error", "insufficient_quota", Some("insufficient_quota")),
        (ErrorClass::Permission, "permission_error", "permission_error", None),
        (ErrorClass::NotFound, "not_found_error", "invalid_request_error", Some("model_not_found")),
        (ErrorClass::TooLarge, "request_too_large", "invalid_request_error", None),
        (ErrorClass::RateLimit, "rate_limit_error", "rate_limit_error", Some("rate_limit_exceeded")),
        (ErrorClass::Internal, "api_error", "server_error", None),
        (ErrorClass::Overloaded, "overloaded_error", "server_error", None),
        (ErrorClass::Timeout, "timeout_error", "server_error", Some("timeout")),
    ];

    fn report(class: ErrorClass) -> Report<'static> {
        Report { class, message: "it \"broke\"", param: Some("a.b"), code: None, request_id: "req_1" }
    }

    fn text(bytes: Vec<u8>) -> String {
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn every_class_has_the_words_of_every_dialect_and_is_read_back() {
        for (class, messages, openai, code) in ALL {
            assert_eq!((class.messages_type(), class.openai_type(), class.openai_code()), (messages, openai, code));
            assert_eq!(read(&body(Dialect::Messages, &report(class))).unwrap().class(), class);
        }
    }

    #[test]
    fn bodies_have_the_shape_of_the_dialect() {
        assert_eq!(
            text(body(Dialect::Messages, &report(ErrorClass::NotFound))),
            r#"{"type":"error","error":{"type":"not_found_error","message":"it \"broke\""},"request_id":"req_1"}"#
        );
        let openai = concat!(
            r#"{"error":{"message":"it \"broke\"","type":"rate_limit_error","param":"a.b","#,
            r#""code":"rate_limit_exceeded"},"request_id":"req_1"}"#
        );
        assert_eq!(text(body(Dialect::ChatCompletions, &report(ErrorClass::RateLimit))), openai);
        assert_eq!(text(body(Dialect::Responses, &report(ErrorClass::RateLimit))), openai);
    }

    #[test]
    fn events_have_the_shape_of_the_dialect() {
        insta::assert_snapshot!(text(event(Dialect::Messages, &report(ErrorClass::Overloaded), 0)), @r#"
        event: error
        data: {"type":"error","error":{"type":"overloaded_error","message":"it \"broke\""},"request_id":"req_1"}
        "#);
        insta::assert_snapshot!(text(event(Dialect::ChatCompletions, &report(ErrorClass::Overloaded), 0)), @r#"data: {"error":{"message":"it \"broke\"","type":"server_error","param":"a.b","code":null},"request_id":"req_1"}"#);
        insta::assert_snapshot!(text(event(Dialect::Responses, &report(ErrorClass::Overloaded), 7)), @r#"
        event: error
        data: {"type":"error","code":"server_error","message":"it \"broke\"","param":"a.b","sequence_number":7,"error":{"message":"it \"broke\"","type":"server_error","param":"a.b","code":"server_error"}}

        event: response.failed
        data: {"type":"response.failed","sequence_number":8,"response":{"id":"resp_req_1","object":"response","status":"failed","error":{"code":"server_error","message":"it \"broke\""},"output":[]}}
        "#);
    }

    #[test]
    fn what_helpers_of_sdks_act_on_is_told_by_its_code() {
        let coded = |code, param| {
            let report = Report { param, code, ..report(ErrorClass::InvalidRequest) };
            let body: serde_json::Value = serde_json::from_slice(&body(Dialect::Messages, &report)).unwrap();
            body["error"]["details"]["error_code"].as_str().map(str::to_owned)
        };
        assert_eq!(coded(None, Some(THREAD)).as_deref(), Some(THREAD_UNSUPPORTED));
        assert_eq!(coded(Some("thread_not_found"), None).as_deref(), Some("thread_not_found"));
        assert_eq!(coded(Some("invalid_value"), Some("a.b")), None);
        assert_eq!(coded(None, None), None);
    }

    #[test]
    fn an_overflow_is_told_in_the_words_that_clients_compact_on() {
        let overflow = Report { code: Some(CONTEXT_LENGTH_EXCEEDED), ..report(ErrorClass::InvalidRequest) };
        assert!(text(body(Dialect::Messages, &overflow)).contains("prompt is too long: it "));
        assert!(text(body(Dialect::ChatCompletions, &overflow)).contains("\"code\":\"context_length_exceeded\""));
        let said = Report { message: "Prompt is too long: 5 > 4", ..overflow };
        assert_eq!(text(body(Dialect::Messages, &said)).matches("too long").count(), 1);
        let said = Report { message: "input length and `max_tokens` exceed context limit: 1 + 2 > 3", ..overflow };
        assert_eq!(text(body(Dialect::Messages, &said)).matches("too long").count(), 0);
    }
}
