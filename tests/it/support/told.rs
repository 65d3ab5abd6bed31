//! Errors as clients read them.

use super::Answer;

/// Asserts that `answer` is an error in the dialect of `path`; returns its message.
pub fn told(path: &str, answer: &Answer, status: u16, what: &str) -> String {
    assert_eq!(answer.status, status, "{path} {what}: {}", answer.text());
    assert_eq!(answer.header("content-type"), Some("application/json"), "{path} {what}");
    let body = answer.json();
    let (id, error) = (answer.header("x-request-id"), &body["error"]);
    assert!(id.is_some(), "{path} {what}");
    assert_eq!(answer.header("request-id"), id, "{path} {what}");
    assert_eq!(body["request_id"].as_str(), id, "{path} {what}: {body}");
    assert!(error["type"].is_string(), "{path} {what}: {body}");
    let members: Vec<&str> = error.as_object().expect("an object").keys().map(String::as_str).collect();
    if path.starts_with("/v1/messages") {
        assert_eq!((body["type"].as_str(), members), (Some("error"), vec!["type", "message"]), "{path} {what}");
    } else {
        assert_eq!((body.get("type"), members), (None, vec!["message", "type", "param", "code"]), "{path} {what}");
    }
    let message = error["message"].as_str().expect("a message").to_owned();
    assert!(message.len() >= 10, "{path} {what}: `{message}` says nothing");
    message
}
