//! What is sent, and what each answer means for the token that was sent.

use super::Verdict::{InvalidGrant, Refused, Unknown};
use super::*;
use crate::gitlab::oauth::wire::Met;
use crate::gitlab::upstream::ReadError;
use actix_web::web::Bytes;

async fn refreshed(answer: &[u8]) -> Result<OAuthPair, ExchangeError> {
    answered(&app(), answer, async |client| client.refresh(&pair()).await).await.0
}

async fn exchanged(answer: &[u8]) -> Result<OAuthPair, ExchangeError> {
    let ask =
        async |client: OAuthClient<'_>| client.exchange_code(&secret(CODE), &secret(VERIFIER), &names(&["api"])).await;
    answered(&app(), answer, ask).await.0
}

#[test]
fn the_browser_is_sent_to_the_instance_with_a_challenge_and_a_state_of_its_own() {
    let instance = InstanceUrl::parse("https://git.example.com/gitlab").unwrap();
    let begin = || authorize_url(&instance, &app(), &names(&["ai_features", "read_user"])).unwrap();
    let (one, other) = (begin(), begin());
    assert_eq!(&one.url[..url::Position::AfterPath], "https://git.example.com/gitlab/oauth/authorize");
    let query: std::collections::BTreeMap<_, _> = one.url.query_pairs().into_owned().collect();
    let (challenge, state) = (&query["code_challenge"], one.state.expose());
    assert_eq!(query["client_id"], "app-id");
    assert_eq!(query["redirect_uri"], REDIRECT);
    assert_eq!(query["response_type"], "code");
    assert_eq!(query["scope"], "ai_features read_user");
    assert_eq!(query["code_challenge_method"], "S256");
    assert_eq!(&query["state"], state);
    let verifier = PkceCodeVerifier::new(one.verifier.expose().clone());
    assert!((43..=128).contains(&one.verifier.expose().len()));
    assert_eq!(PkceCodeChallenge::from_code_verifier_sha256(&verifier).as_str(), challenge);
    assert!(state.len() >= 20 && one.state != other.state && one.verifier != other.verifier);
    let shown = format!("{one:?}");
    assert!(!shown.contains(state) && !shown.contains(challenge) && !one.url.as_str().contains("visible"), "{shown}");
}

#[test]
fn a_login_needs_a_place_to_come_back_to() {
    for uri in [None, Some("no uri".to_owned())] {
        let app = OAuthApp { redirect_uri: uri, ..app() };
        assert_eq!(authorize_url(&InstanceUrl::gitlab_com(), &app, &[]).unwrap_err(), BadRedirectUri);
    }
}

#[actix::test]
async fn a_code_is_exchanged_with_its_verifier_and_the_applications_secret() {
    let ask =
        async |client: OAuthClient<'_>| client.exchange_code(&secret(CODE), &secret(VERIFIER), &names(&["api"])).await;
    let (pair, request) = answered(&app(), &json("200 OK", TOKENS), ask).await;
    assert_eq!(request.line, "POST /gitlab/oauth/token HTTP/1.1");
    assert_eq!(request.header("content-type"), ["application/x-www-form-urlencoded"]);
    assert_eq!(request.header("accept"), ["application/json"]);
    assert_eq!(request.header("authorization"), [""; 0]);
    let sent = [
        ("client_id", "app-id"),
        ("client_secret", CLIENT_SECRET),
        ("code", CODE),
        ("code_verifier", VERIFIER),
        ("grant_type", "authorization_code"),
        ("redirect_uri", REDIRECT),
    ];
    assert_eq!(fields(&request.body), owned(&sent));
    let expected = OAuthPair {
        access_token: secret("new-access-visible"),
        refresh_token: Some(secret("new-refresh-visible")),
        expires_at: NOW + std::time::Duration::from_hours(2),
        obtained_at: NOW,
        scopes: names(&["ai_features", "read_user"]),
    };
    assert_eq!(pair.unwrap(), expected);
}

#[actix::test]
async fn a_refresh_names_the_application_and_its_redirect_uri() {
    let all = [
        ("client_id", "app-id"),
        ("client_secret", CLIENT_SECRET),
        ("grant_type", "refresh_token"),
        ("redirect_uri", REDIRECT),
        ("refresh_token", OLD_REFRESH),
    ];
    let public = OAuthApp { client_secret: None, redirect_uri: None, ..app() };
    for (app, sent) in [(app(), owned(&all)), (public, owned(&[all[0], all[2], all[4]]))] {
        let ask = async |client: OAuthClient<'_>| client.refresh(&pair()).await;
        let (pair, request) = answered(&app, &json("200 OK", TOKENS), ask).await;
        assert_eq!(request.line, "POST /gitlab/oauth/token HTTP/1.1");
        assert_eq!(fields(&request.body), sent);
        assert_eq!(pair.unwrap().refresh_token, Some(secret("new-refresh-visible")));
    }
}

#[actix::test]
async fn a_pair_that_cannot_be_renewed_is_told_without_a_request() {
    let server = RawServer::start().await;
    let lone = OAuthPair { refresh_token: None, ..pair() };
    let (result, ()) = at(&server, &app(), async |client| client.refresh(&lone).await, async {}).await;
    let error = result.unwrap_err();
    assert_eq!((verdict(&error), error.call().fault.reason), (Refused, Reason::LoginEnded));
    assert!(!server.has_visitor().await);
}

#[rustfmt::skip]
const ANSWERS: &[(&str, &str, Verdict, Reason)] = &[
    ("400 X", r#"{"error":"invalid_grant","error_description":"The provided authorization grant is invalid, expired, revoked"}"#, InvalidGrant, Reason::LoginEnded),
    ("401 X", r#"{"error":"invalid_grant"}"#, InvalidGrant, Reason::LoginEnded),
    ("200 X", r#"{"error":"invalid_grant"}"#, InvalidGrant, Reason::LoginEnded),
    ("401 X", r#"{"error":"invalid_client","error_description":"Client authentication failed due to unknown client"}"#, Refused, Reason::ClientRefused),
    ("400 X", r#"{"error":"invalid_client"}"#, Refused, Reason::ClientRefused),
    ("400 X", r#"{"error":"unauthorized_client"}"#, Refused, Reason::ClientRefused),
    ("400 X", r#"{"error":"unsupported_grant_type"}"#, Refused, Reason::LoginUnsupported),
    ("400 X", r#"{"error":"invalid_scope"}"#, Refused, Reason::ScopesRefused),
    ("429 X", "Retry later", Refused, Reason::InstanceThrottled),
    ("429 X", r#"{"message":"too many"}"#, Refused, Reason::InstanceThrottled),
    // Whatever follows may come from a proxy that lost sight of what GitLab did.
    ("500 X", r#"{"error":"server_error"}"#, Unknown, Reason::InstanceError),
    ("500 X", r#"{"error":"invalid_client"}"#, Unknown, Reason::InstanceError),
    ("502 X", "<html>", Unknown, Reason::InstanceError),
    ("503 X", r#"{"error":"temporarily_unavailable"}"#, Unknown, Reason::InstanceError),
    ("504 X", "", Unknown, Reason::InstanceError),
    ("400 X", r#"{"error":"something_new"}"#, Unknown, Reason::InstanceUnexpected),
    ("400 X", "<html>", Unknown, Reason::InstanceUnexpected),
    ("400 X", "", Unknown, Reason::InstanceUnexpected),
    ("401 X", r#"{"message":"token expired"}"#, Unknown, Reason::InstanceUnexpected),
    ("403 X", "Forbidden", Unknown, Reason::InstanceUnexpected),
    ("404 X", "<html>", Unknown, Reason::InstanceUnexpected),
    ("302 X", "", Unknown, Reason::InstanceUnexpected),
    ("200 X", "<html>sign in</html>", Unknown, Reason::InstanceUnexpected),
    ("200 X", "", Unknown, Reason::InstanceUnexpected),
    ("200 X", "{}", Unknown, Reason::InstanceUnexpected),
    ("200 X", r#"["new-visible","bearer",7200]"#, Unknown, Reason::InstanceUnexpected),
    ("200 X", r#"{"access_token":7,"token_type":"bearer"}"#, Unknown, Reason::InstanceUnexpected),
    ("200 X", r#"{"token_type":"bearer","refresh_token":"new-refresh-visible"}"#, Unknown, Reason::InstanceUnexpected),
    ("200 X", r#"{"access_token":"new-visible","token_type":"mac"}"#, Unknown, Reason::InstanceUnexpected),
    ("200 X", r#"{"access_token":"new-visible\r\nhost: evil","token_type":"bearer"}"#, Unknown, Reason::InstanceUnexpected),
    ("200 X", r#"{"access_token":"","token_type":"bearer"}"#, Unknown, Reason::InstanceUnexpected),
];

#[actix::test]
async fn an_answer_tells_whether_the_token_is_used_up() {
    for &(status, body, expected, reason) in ANSWERS {
        for content_type in ["application/json", "text/html"] {
            let error = refreshed(&response(status, content_type, body)).await.unwrap_err();
            let found = (verdict(&error), error.call().fault.reason);
            assert_eq!(found, (expected, reason), "{status} {body} {content_type}");
            assert_keeps_secrets(&format!("{error} {error:?}"));
        }
    }
}

#[actix::test]
async fn a_code_that_is_not_good_is_told_from_a_login_that_ended() {
    let error = exchanged(&json("400 X", r#"{"error":"invalid_grant"}"#)).await.unwrap_err();
    assert_eq!((verdict(&error), error.call().fault.reason), (InvalidGrant, Reason::CodeRefused));
}

#[actix::test]
async fn an_answer_that_breaks_off_or_has_no_end_leaves_the_outcome_open() {
    let whole = TOKENS.len();
    let half =
        format!("HTTP/1.1 200 X\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{TOKENS}", whole + 1);
    let endless = json("200 X", &format!("{}{TOKENS}", " ".repeat(1024 * 1024)));
    let cut = b"HTTP/1.1 400 X\r\ncontent-length: 99\r\n\r\n{\"error\":".to_vec();
    for (what, answer) in [
        ("nothing", Vec::new()),
        ("no HTTP", b"SSH-2.0-OpenSSH_9.2\r\n".to_vec()),
        ("half a head", b"HTTP/1.1 200 OK\r\ncontent-le".to_vec()),
        ("half a body", half.into_bytes()),
        ("more than a mebibyte", endless),
        ("half an error", cut),
    ] {
        let error = refreshed(&answer).await.unwrap_err();
        assert_eq!(verdict(&error), Unknown, "{what}");
        assert_keeps_secrets(&format!("{error} {error:?}"));
    }
}

#[actix::test]
async fn a_request_that_did_not_go_out_is_no_riddle() {
    let gone = RawServer::start().await.root();
    let (upstream, clock) = (upstream(), TestClock::at(NOW));
    let instance = InstanceUrl::parse(&gone).unwrap();
    let client = OAuthClient { upstream: &upstream, instance: &instance, app: &app(), clock: &clock };
    let error = in_time(client.refresh(&pair())).await.unwrap_err();
    assert_eq!((verdict(&error), error.call().fault.reason), (Refused, Reason::InstanceUnreachable));
}

#[test]
fn silence_is_sorted_by_whether_the_request_may_have_been_sent() {
    let upstream = upstream();
    let cases = [
        (Met::Nothing, Refused),
        (Met::NoAnswer(SendError::Connect(String::new())), Refused),
        (Met::NoAnswer(SendError::ForbiddenAddress), Refused),
        (Met::NoAnswer(SendError::Broken(String::new())), Unknown),
        (Met::NoAnswer(SendError::Timeout), Unknown),
        (Met::NoEnd(200, ReadError::Stalled), Unknown),
        (Met::NoEnd(200, ReadError::CutShort), Unknown),
        (Met::NoEnd(200, ReadError::TooLong), Unknown),
        (Met::NoEnd(503, ReadError::Stalled), Unknown),
        (Met::NoEnd(429, ReadError::CutShort), Refused),
        (Met::Answer(200, Bytes::new()), Unknown),
    ];
    for (number, (met, expected)) in cases.into_iter().enumerate() {
        let error = Wire::after(&upstream, Call::Refresh, met).error(&[]);
        assert_eq!(verdict(&error), expected, "{number}");
    }
}

#[actix::test]
async fn no_error_quotes_what_was_sent_or_handed_out() {
    let sent = format!("{OLD_REFRESH} {OLD_ACCESS} {CLIENT_SECRET}");
    for body in [
        format!(r#"{{"error":"invalid_grant","error_description":"no: {sent}"}}"#),
        format!(r#"{{"error":"invalid_client","message":"{sent}"}}"#),
        TOKENS.replace("access_token", "oops"),
        TOKENS.replace(r#""Bearer""#, r#""Bearer","message":"new-access-visible","access_token":3"#),
    ] {
        for status in ["200 X", "400 X"] {
            if status == "400 X" && !body.contains("error") {
                continue;
            }
            let error = refreshed(&json(status, &body)).await.unwrap_err();
            assert_keeps_secrets(&format!("{error} {error:?}"));
        }
    }
    let answer = json("400 X", &format!(r#"{{"error":"invalid_grant","error_description":"{CODE} {VERIFIER}"}}"#));
    let error = exchanged(&answer).await.unwrap_err();
    assert!(error.to_string().contains("***"), "{error}");
    assert_keeps_secrets(&format!("{error} {error:?}"));
}

#[actix::test]
async fn a_token_is_revoked_once_and_a_login_page_is_no_revocation() {
    for body in ["{}", ""] {
        let ask = async |client: OAuthClient<'_>| client.revoke(&secret(OLD_REFRESH)).await;
        let (result, request) = answered(&app(), &json("200 OK", body), ask).await;
        assert!(result.is_ok());
        assert_eq!(request.line, "POST /gitlab/oauth/revoke HTTP/1.1");
        let sent = [("client_id", "app-id"), ("client_secret", CLIENT_SECRET), ("token", OLD_REFRESH)];
        assert_eq!(fields(&request.body), owned(&sent));
    }
    for (status, body, reason) in [
        ("200 OK", "<html>", Reason::InstanceUnexpected),
        (
            "403 X",
            r#"{"error":"unauthorized_client","error_description":"old-refresh-visible"}"#,
            Reason::ClientRefused,
        ),
        ("503 X", "", Reason::InstanceError),
    ] {
        let ask = async |client: OAuthClient<'_>| client.revoke(&secret(OLD_REFRESH)).await;
        let error = answered(&app(), &response(status, "text/html", body), ask).await.0.unwrap_err();
        assert_eq!(error.fault.reason, reason, "{status} {body}");
        assert_keeps_secrets(&format!("{error} {error:?}"));
    }
}

#[test]
fn the_error_value_is_read_from_json_alone() {
    assert_eq!(error_value(br#"{"error":"slow_down","x":1}"#).as_deref(), Some("slow_down"));
    for body in ["", "slow_down", r#"{"error":{"code":1}}"#, r#"["error"]"#] {
        assert_eq!(error_value(body.as_bytes()), None, "{body}");
    }
}
