//! What may go wrong with a call that carries secrets; most of these quote them back.

use duopool::simulator::Effect;
use serde_json::json;

/// A fault, by name.
pub(super) struct Fault(pub(super) &'static str, pub(super) fn() -> Effect);

const JSON: &str = "application/json";
const HTML: &str = "text/html; charset=utf-8";

fn quote(status: u16, content_type: &str, body: &str) -> Effect {
    quote_with(status, content_type, body, &[])
}

fn quote_with(status: u16, content_type: &str, body: &str, headers: &[(&str, &str)]) -> Effect {
    let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Effect::Quote { status, body: body.to_owned(), content_type: content_type.to_owned(), headers }
}

/// Nothing changed at GitLab, and the answer has in it what was sent.
pub(super) const QUOTES: &[Fault] = &[
    Fault("invalid_grant", || {
        quote(400, JSON, r#"{"error":"invalid_grant","error_description":"{secrets} is no more"}"#)
    }),
    Fault("invalid_grant with the form", || {
        quote(400, JSON, r#"{"error":"invalid_grant","error_description":"you sent {body}"}"#)
    }),
    Fault("invalid_client", || {
        quote(401, JSON, r#"{"error":"invalid_client","error_description":"{secrets} {body}"}"#)
    }),
    Fault("an unknown error", || quote(400, JSON, r#"{"error":"{secrets}","error_description":"{body}"}"#)),
    Fault("a member of that name", || quote(400, JSON, r#"{"{secrets}":1,"error":{"{body}":["{secrets}"]}}"#)),
    Fault("an error of GitLab's API", || quote(403, JSON, r#"{"message":"403 Forbidden {secrets} {body}"}"#)),
    Fault("an error of the gateway", || quote(422, JSON, r#"{"detail":[{"msg":"{secrets}","input":"{body}"}]}"#)),
    Fault("not found", || quote(404, JSON, r#"{"error":"{secrets} not found","message":{"base":["{body}"]}}"#)),
    Fault("throttled", || quote_with(429, "text/plain", "Retry later {secrets}", &[("retry-after", "{secrets}")])),
    Fault("an internal error", || quote(500, JSON, r#"{"error":"{secrets}","message":"{body}"}"#)),
    Fault("a proxy's page", || quote(502, HTML, "<h1>Bad gateway</h1><p>{secrets}</p><pre>{body}</pre>")),
    Fault("a debugger's page", || quote(500, HTML, "<html>Parameters: {body} {secrets}</html>")),
    Fault("a login page", || quote(200, HTML, "<html><form action='/?{body}'>{secrets}</form></html>")),
    Fault("a success that is an error", || quote(200, JSON, r#"{"error":"{secrets}","error_description":"{body}"}"#)),
    Fault("a success of another shape", || quote(200, JSON, r#"{"access_token":1,"sent":"{secrets} {body}"}"#)),
    Fault("half a success", || quote(200, JSON, r#"{"access_token":"{secrets}"#)),
    Fault("plain text", || quote(400, "text/plain", "{secrets} {body}")),
    Fault("a redirect", || quote_with(307, HTML, "", &[("location", "https://gitlab.example.com/?{body}")])),
    Fault("another redirect", || quote_with(302, HTML, "{secrets}", &[("location", "http://127.0.0.1:9/{secrets}")])),
    Fault("headers", || {
        let headers = [
            ("www-authenticate", "Bearer error_description=\"{secrets}\""),
            ("set-cookie", "t={body}"),
            ("x-request-id", "{secrets}"),
        ];
        quote_with(401, JSON, r#"{"error":"invalid_token","error_description":"{secrets}"}"#, &headers)
    }),
    Fault("a content type", || quote(400, "text/{secrets}", "{}")),
    Fault("a closed connection", || Effect::CloseUnprocessed),
    Fault("what is no JSON", Effect::garbage),
];

/// GitLab has done it, and its answer is damaged.
pub(super) const DAMAGED: &[Fault] = &[
    Fault("closed after it was done", || Effect::Close),
    Fault("cut in the first token", || Effect::Cut { after: 40 }),
    Fault("cut before the end", || Effect::Cut { after: 150 }),
    Fault("an error beside the tokens", || {
        Effect::merge(json!({ "error": "server_error", "error_description": "both" }))
    }),
    Fault("no access token", || Effect::merge(json!({ "access_token": null }))),
    Fault("another kind of token", || Effect::merge(json!({ "token_type": "mac", "expires_in": "soon" }))),
    Fault("no refresh token", || Effect::merge(json!({ "refresh_token": null }))),
    Fault("too long", || Effect::Pad { bytes: 2 * 1024 * 1024 }),
];
