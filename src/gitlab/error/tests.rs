//! The rows, each with the cases of `tests/fixtures/error_rows.toml`; the test of the same data over real sockets is
//! `error_table` in `tests/it`.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use awc::http::header::{HeaderMap, HeaderName, HeaderValue};
use serde::Deserialize;

use super::*;

#[derive(Deserialize)]
struct Cases {
    case: Vec<Case>,
    stage: Vec<String>,
}

#[derive(Deserialize)]
struct Case {
    row: String,
    call: String,
    status: u16,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    #[serde(default)]
    body: String,
    scope: Scope,
    reason: Reason,
    hold: String,
    #[serde(default)]
    incurable: bool,
}

fn cases() -> Cases {
    toml::from_str(include_str!("../../../tests/fixtures/error_rows.toml"))
        .unwrap_or_else(|error| panic!("{}", error.message()))
}

fn call(name: &str) -> Call {
    match name {
        "identity" => Call::Identity,
        "code_exchange" => Call::CodeExchange,
        "refresh" => Call::Refresh,
        "device_start" => Call::DeviceStart,
        "device_poll" => Call::DevicePoll,
        "revoke" => Call::Revoke,
        "mint" => Call::Mint,
        "code_suggestions" => Call::CodeSuggestions,
        "models" => Call::Models,
        "gateway" => Call::Gateway,
        other => panic!("no call {other}"),
    }
}

fn hold(text: &str) -> Hold {
    match text {
        "none" => Hold::None,
        "backoff" => Hold::Backoff,
        "until_minted" => Hold::UntilMinted,
        "until_fixed" => Hold::UntilFixed,
        time => Hold::For(Duration::from_millis(time.strip_suffix(" ms").unwrap().parse().unwrap())),
    }
}

fn wait_headers<'a>(pairs: impl IntoIterator<Item = (&'a String, &'a String)>) -> WaitHeaders {
    let mut headers = HeaderMap::new();
    for (name, value) in pairs {
        headers.insert(HeaderName::try_from(name).unwrap(), HeaderValue::try_from(value).unwrap());
    }
    WaitHeaders::of(&headers)
}

/// Returns the name of the row that decides.
fn row_of(call: Call, status: u16, body: &[u8]) -> &'static str {
    let evidence = Evidence::of(body);
    let texts = evidence.as_ref().map(Evidence::texts).unwrap_or_default();
    TABLE.iter().find(|row| row.fits(call, status, evidence.as_ref(), &texts)).unwrap().name
}

#[test]
fn every_row_names_its_source_and_no_two_share_a_name() {
    assert!(TABLE.iter().all(|row| !row.source.is_empty()));
    let names: BTreeSet<&str> = TABLE.iter().map(|row| row.name).chain(stage::names()).collect();
    assert_eq!(names.len(), TABLE.len() + stage::names().count());
}

#[test]
fn every_case_is_decided_by_its_row() {
    for case in cases().case {
        let what = format!("{} {} {} {}", case.row, case.call, case.status, case.body);
        let (call, body) = (call(&case.call), case.body.as_bytes());
        assert_eq!(row_of(call, case.status, body), case.row, "{what}");
        let fault = classify(call, case.status, &wait_headers(&case.headers), body).fault;
        let expected =
            Fault { scope: case.scope, reason: case.reason, hold: hold(&case.hold), curable: !case.incurable };
        assert_eq!(fault, expected, "{what}");
    }
}

#[test]
fn every_row_has_a_case() {
    let cases = cases();
    let named: BTreeSet<&str> = cases.case.iter().map(|case| case.row.as_str()).collect();
    let rows: BTreeSet<&str> = TABLE.iter().map(|row| row.name).collect();
    assert_eq!(rows, named);
    let named: BTreeSet<&str> = cases.stage.iter().map(String::as_str).collect();
    assert_eq!(stage::names().collect::<BTreeSet<_>>(), named);
}

#[test]
fn whatever_comes_is_decided_and_nothing_of_the_gateways_blocks_an_instance() {
    let calls = ["identity", "code_exchange", "refresh", "device_start", "device_poll", "revoke", "mint"];
    for name in calls.into_iter().chain(["code_suggestions", "models", "gateway"]) {
        for status in 100..1_000 {
            for body in ["", "<html>", "{}", "[]", "null", r#"{"error":{}}"#, r#"{"error":"x"}"#, r#"{"detail":[]}"#] {
                let fault = classify(call(name), status, &WaitHeaders::default(), body.as_bytes()).fault;
                let is_gateway = call(name) == Call::Gateway;
                assert!(!is_gateway || !matches!(fault.scope, Scope::Instance | Scope::Host), "{name} {status} {body}");
                assert!(
                    is_gateway || matches!(fault.scope, Scope::Instance | Scope::Account),
                    "{name} {status} {body}"
                );
            }
        }
    }
}

#[test]
fn what_is_the_requests_own_blocks_nothing_and_is_not_sent_elsewhere() {
    for status in 400..600 {
        for kind in ["invalid_request_error", "not_found_error", "request_too_large"] {
            let body = format!(r#"{{"type":"error","error":{{"type":"{kind}","message":"no"}}}}"#);
            let fault = classify(Call::Gateway, status, &WaitHeaders::default(), body.as_bytes()).fault;
            if fault.scope == Scope::Request {
                assert_eq!((fault.hold, fault.curable), (Hold::None, false), "{status} {body}");
            }
        }
    }
}

#[test]
fn a_provider_that_quotes_the_gateways_words_is_not_taken_for_it() {
    for words in ["Unsupported model", "Missing x-gitlab-unit-primitive header", "API key not found", "mismatch"] {
        let body = format!(r#"{{"error":{{"type":"invalid_request_error","message":"{words}"}}}}"#);
        assert_eq!(row_of(Call::Gateway, 400, body.as_bytes()), "provider-400", "{words}");
    }
}

#[test]
fn an_error_inside_a_stream_is_decided_as_one_outside() {
    let of = |status, kind, code, message| of_event(status, &Said { kind, code, message }).fault;
    let overloaded = of(529, "overloaded_error", None, "Overloaded");
    assert_eq!((overloaded.scope, overloaded.reason), (Scope::Provider, Reason::ProviderError));
    let unpaid = of(402, "insufficient_quota", Some("insufficient_quota"), "You exceeded your current quota");
    assert_eq!((unpaid.scope, unpaid.reason), (Scope::Provider, Reason::ProviderRefused));
    let long = of(400, "", Some("context_length_exceeded"), "too many");
    assert_eq!((long.scope, long.reason, long.curable), (Scope::Request, Reason::TooLong, false));
    // One that cannot be read is still the provider's.
    let unread = of_event(500, &Said::default()).fault;
    assert_eq!((unread.scope, unread.reason), (Scope::Provider, Reason::ProviderError));
}

#[test]
fn a_wait_is_believed_within_reason() {
    let hold = |call, status, said: &str| {
        let headers = wait_headers([(&"retry-after".to_owned(), &said.to_owned())]);
        classify(call, status, &headers, b"").fault.hold
    };
    for (said, seconds) in [("0", 1), ("7", 7), ("30", 30), ("86400", 30)] {
        assert_eq!(hold(Call::Gateway, 503, said), Hold::For(Duration::from_secs(seconds)), "{said}");
    }
    assert_eq!(hold(Call::Mint, 429, "86400"), Hold::For(Duration::from_hours(1)));
    assert_eq!(hold(Call::Mint, 503, "86400"), Hold::For(Duration::from_mins(5)));
    // An account's own faults are not over when a header says so.
    assert_eq!(hold(Call::Mint, 404, "7"), Hold::Backoff);
    assert_eq!(hold(Call::Gateway, 401, "7"), Hold::Backoff);
}

#[test]
fn a_foreign_message_is_kept_short_and_on_one_line() {
    let body = format!(r#"{{"message":"line one\nline two {}"}}"#, "x".repeat(500));
    let note = classify(Call::Mint, 500, &WaitHeaders::default(), body.as_bytes()).note;
    assert_eq!(note.chars().count(), 200);
    assert!(note.starts_with("line one line two"));
}
