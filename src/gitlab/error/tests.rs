use super::*;
use crate::domain::fault::Reason::*;

fn decide(call: Call, status: u16, body: &str) -> (Scope, Reason, bool) {
    let fault = classify(call, status, body.as_bytes()).fault;
    (fault.scope, fault.reason, fault.curable)
}

#[test]
fn every_row_names_its_source() {
    assert!(TABLE.iter().all(|row| !row.source.is_empty()));
}

#[rustfmt::skip]
const GITLABS: &[(Call, u16, &str, Scope, Reason)] = &[
    (Call::Identity, 401, r#"{"message":"401 Unauthorized"}"#, Scope::Account, TokenInvalid),
    (Call::Mint, 401, r#"{"error":"invalid_token","error_description":"Token is expired. You can either do re-authorization or token refresh."}"#, Scope::Account, TokenExpired),
    (Call::Mint, 401, r#"{"error":"invalid_token","error_description":"Token was revoked. You have to re-authorize from the user."}"#, Scope::Account, TokenRevoked),
    (Call::Mint, 403, r#"{"error":"insufficient_scope","error_description":"x","scope":"api"}"#, Scope::Account, ScopeMissing),
    (Call::Mint, 403, r#"{"message":"403 Forbidden"}"#, Scope::Account, NotEntitled),
    (Call::Mint, 404, r#"{"error":"404 Not Found"}"#, Scope::Account, InstanceTooOld),
    (Call::Mint, 404, "<html>not found</html>", Scope::Instance, InstanceUnexpected),
    (Call::Mint, 503, r#"{"message":"Missing default GitLab Duo namespace user preference"}"#, Scope::Account, NamespaceMissing),
    (Call::Mint, 503, r#"{"message":"GitLab Duo features are disabled for the billing namespace"}"#, Scope::Account, DuoDisabled),
    (Call::Mint, 503, r#"{"message":"Token creation failed"}"#, Scope::Account, MintFailed),
    (Call::Mint, 503, r#"{"message":"Token is missing in response"}"#, Scope::Instance, InstanceError),
    (Call::Mint, 429, "Retry later", Scope::Instance, InstanceThrottled),
    (Call::Mint, 200, "<html>sign in</html>", Scope::Instance, InstanceUnexpected),
    (Call::Mint, 302, "", Scope::Instance, InstanceUnexpected),
    (Call::CodeSuggestions, 422, r#"{"error":"missing_default_duo_group"}"#, Scope::Account, NamespaceMissing),
    (Call::CodeSuggestions, 402, r#"{"message":"Token creation failed","error_code":"USAGE_QUOTA_EXCEEDED"}"#, Scope::Account, QuotaExhausted),
];

#[rustfmt::skip]
const OAUTHS: &[(Call, u16, &str, Scope, Reason)] = &[
    (Call::Refresh, 400, r#"{"error":"invalid_grant","error_description":"The provided authorization grant is invalid, expired, revoked"}"#, Scope::Account, LoginEnded),
    (Call::Refresh, 401, r#"{"error":"invalid_grant"}"#, Scope::Account, LoginEnded),
    (Call::CodeExchange, 400, r#"{"error":"invalid_grant"}"#, Scope::Account, CodeRefused),
    (Call::DevicePoll, 400, r#"{"error":"invalid_grant"}"#, Scope::Account, CodeRefused),
    (Call::Refresh, 400, r#"{"message":"invalid_grant"}"#, Scope::Instance, InstanceUnexpected),
    (Call::Refresh, 401, r#"{"error":"invalid_client"}"#, Scope::Account, ClientRefused),
    (Call::Refresh, 502, r#"{"error":"invalid_client"}"#, Scope::Instance, InstanceError),
    (Call::Revoke, 403, r#"{"error":"unauthorized_client"}"#, Scope::Account, ClientRefused),
    (Call::DeviceStart, 400, r#"{"error":"invalid_scope"}"#, Scope::Account, ScopesRefused),
    (Call::DeviceStart, 404, "<html>", Scope::Account, LoginUnsupported),
    (Call::DevicePoll, 400, r#"{"error":"unsupported_grant_type"}"#, Scope::Account, LoginUnsupported),
    (Call::DevicePoll, 404, "<html>", Scope::Instance, InstanceUnexpected),
    (Call::Refresh, 429, "Retry later", Scope::Instance, InstanceThrottled),
    (Call::Identity, 401, r#"{"error":"invalid_grant"}"#, Scope::Account, TokenInvalid),
];

#[test]
fn gitlabs_own_answers_are_told_apart() {
    for &(call, status, body, scope, reason) in GITLABS.iter().chain(OAUTHS) {
        assert_eq!(decide(call, status, body), (scope, reason, true), "{status} {body}");
    }
}

#[rustfmt::skip]
const GATEWAYS: &[(u16, &str, Scope, Reason, bool)] = &[
    (401, r#"{"error":"Forbidden by auth provider"}"#, Scope::Account, GrantRefused, true),
    (401, r#"{"error":"Header mismatch 'X-Gitlab-Instance-Id'"}"#, Scope::Account, GrantRefused, true),
    (402, r#"{"error":"insufficient_credits","error_code":"USAGE_QUOTA_EXCEEDED","message":"Consumer does not have sufficient credits for this request"}"#, Scope::Model, QuotaExhausted, true),
    (402, r#"{"detail":"Proxy endpoints are not enabled for this namespace"}"#, Scope::Account, ProxyNotEnabled, true),
    (403, r#"{"error":"not_entitled","error_code":"USAGE_QUOTA_NOT_ENTITLED","message":"x"}"#, Scope::Model, QuotaUnknown, true),
    (403, r#"{"detail":"Gitlab namespace id mismatch"}"#, Scope::Account, GrantRefused, true),
    (403, r#"{"detail":"Unauthorized to access ai_gateway_model_provider_proxy"}"#, Scope::Account, NotEntitled, true),
    (400, r#"{"detail":"Unsupported model"}"#, Scope::Request, UnsupportedModel, true),
    (400, r#"{"detail":"Missing x-gitlab-unit-primitive header"}"#, Scope::Account, GrantRefused, true),
    (400, r#"{"type":"error","error":{"type":"invalid_request_error","message":"prompt is too long: 210000 tokens > 200000 maximum"}}"#, Scope::Request, TooLong, false),
    (400, r#"{"error":{"message":"too many tokens","type":"invalid_request_error","param":"input","code":"context_length_exceeded"}}"#, Scope::Request, TooLong, false),
    (400, r#"{"error":{"message":"Invalid value","type":"invalid_request_error","param":"x","code":null}}"#, Scope::Request, BadRequest, false),
    (413, r#"{"type":"error","error":{"type":"request_too_large","message":"x"}}"#, Scope::Request, BadRequest, false),
    (422, r#"{"detail":[{"msg":"field required"}]}"#, Scope::Request, BadRequest, false),
    (404, r#"{"detail":"Not found"}"#, Scope::Gateway, GatewayError, true),
    (404, r#"{"type":"error","error":{"type":"not_found_error","message":"model: x"}}"#, Scope::Request, BadRequest, false),
    (429, r#"{"type":"error","error":{"type":"rate_limit_error","message":"slow"}}"#, Scope::Provider, ProviderThrottled, true),
    (529, r#"{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}"#, Scope::Provider, ProviderError, true),
    (500, r#"{"detail":"Server configuration error: API key not set"}"#, Scope::Gateway, GatewayError, true),
    (502, r#"{"detail":"Bad Gateway"}"#, Scope::Gateway, GatewayError, true),
    (503, "<html>", Scope::Gateway, GatewayError, true),
    (302, "", Scope::Gateway, GatewayError, true),
];

#[test]
fn the_gateways_answers_are_told_apart() {
    for &(status, body, scope, reason, curable) in GATEWAYS {
        assert_eq!(decide(Call::Gateway, status, body), (scope, reason, curable), "{status} {body}");
    }
}

#[test]
fn a_request_that_may_have_been_worked_on_is_not_sent_again() {
    assert!(!of_send_error(Call::Gateway, &SendError::Timeout).fault.curable);
    assert!(of_send_error(Call::Gateway, &SendError::Connect("refused".into())).fault.curable);
}

#[test]
fn a_foreign_message_is_kept_short_and_on_one_line() {
    let body = format!(r#"{{"message":"line one\nline two {}"}}"#, "x".repeat(500));
    let note = classify(Call::Mint, 500, body.as_bytes()).note;
    assert_eq!(note.chars().count(), 200);
    assert!(note.starts_with("line one line two"));
}
