//! What is read from a reply, and the device grant.

use std::time::Duration;

use super::Verdict::{InvalidGrant, Refused, Unknown};
use super::*;
use crate::gitlab::oauth::reply::{LIFE_MAX, LIFE_MIN};

const ODD: &str = r#"{"access_token":"new-access","refresh_token":"new-refresh"MORE}"#;

fn reply(more: &str) -> TokenReply {
    serde_json::from_str(&ODD.replace("MORE", more)).unwrap()
}

fn life(more: &str) -> Duration {
    reply(more).next(&[], NOW).unwrap().expires_at.since(NOW)
}

#[test]
fn the_life_of_a_token_is_counted_by_our_clock_and_kept_within_reason() {
    let gitlabs = Duration::from_hours(2);
    for said in ["", r#","expires_in":null"#, r#","expires_in":"soon""#, r#","expires_in":{}"#, r#","created_at":1"#] {
        assert_eq!(life(said), gitlabs, "{said}");
    }
    for said in ["7200", "7200.0", r#""7200""#] {
        assert_eq!(life(&format!(r#","expires_in":{said},"created_at":9999999999"#)), gitlabs, "{said}");
    }
    for said in ["0", "-5", r#""0""#, "1"] {
        assert_eq!(life(&format!(r#","expires_in":{said}"#)), LIFE_MIN, "{said}");
    }
    for said in ["1e300", "99999999999999999999", r#""inf""#] {
        assert_eq!(life(&format!(r#","expires_in":{said}"#)), LIFE_MAX, "{said}");
    }
}

#[test]
fn a_login_that_gives_a_dead_token_is_refused_and_a_renewal_is_kept() {
    for said in ["0", "-1", r#""0""#] {
        let more = format!(r#","expires_in":{said}"#);
        assert_eq!(reply(&more).first(&[], NOW), Err(Unusable::Dead));
        assert_eq!(reply(&more).next(&[], NOW).unwrap().refresh_token, Some(secret("new-refresh")));
    }
}

#[test]
fn odd_details_do_not_cost_the_tokens() {
    for more in [
        "",
        r#","token_type":null"#,
        r#","token_type":"BEARER""#,
        r#","scope":7"#,
        r#","scope":"""#,
        r#","scope":[]"#,
        r#","id_token":{},"created_at":"yesterday""#,
    ] {
        let pair = reply(more).next(&names(&["api"]), NOW).unwrap();
        assert_eq!(pair.access_token, secret("new-access"), "{more}");
        assert_eq!(pair.refresh_token, Some(secret("new-refresh")), "{more}");
        assert_eq!(pair.scopes, ["api"], "{more}");
    }
    for scope in [r#""a b""#, r#"["a","b",7]"#] {
        assert_eq!(reply(&format!(r#","scope":{scope}"#)).next(&[], NOW).unwrap().scopes, ["a", "b"]);
    }
}

#[test]
fn a_pair_may_come_without_a_refresh_token() {
    for said in ["null", r#""""#, "7", "{}"] {
        let reply: TokenReply =
            serde_json::from_str(&format!(r#"{{"access_token":"a","refresh_token":{said}}}"#)).unwrap();
        assert_eq!(reply.next(&[], NOW).unwrap().refresh_token, None, "{said}");
    }
}

#[test]
fn a_reply_cannot_be_printed_or_written() {
    let reply: TokenReply = serde_json::from_str(TOKENS).unwrap();
    assert_keeps_secrets(&format!("{reply:?}"));
    assert!(serde_json::to_string(&reply).is_err());
}

#[actix::test]
async fn tokens_count_though_a_proxy_changed_the_status_or_the_type() {
    for answer in [json("201 Created", TOKENS), response("200 OK", "text/plain", TOKENS)] {
        let (pair, _) = answered(&app(), &answer, async |client| client.refresh(&pair()).await).await;
        assert_eq!(pair.unwrap().access_token, secret("new-access-visible"));
    }
}

const DEVICE: &str = r#"{"device_code":"device-visible","user_code":"ABCD-EFGH","expires_in":300,"interval":7,
    "verification_uri":"https://git.example.com/oauth/device",
    "verification_uri_complete":"https://git.example.com/oauth/device?user_code=ABCD-EFGH"}"#;

async fn started(answer: &[u8]) -> (Result<DeviceGrant, CallError>, Received) {
    answered(&app(), answer, async |client| client.start_device(&names(&["ai_features", "read_user"])).await).await
}

#[actix::test]
async fn a_device_login_is_begun_with_the_scopes() {
    let (grant, request) = started(&json("200 OK", DEVICE)).await;
    assert_eq!(request.line, "POST /gitlab/oauth/authorize_device HTTP/1.1");
    let sent = [("client_id", "app-id"), ("client_secret", CLIENT_SECRET), ("scope", "ai_features read_user")];
    assert_eq!(fields(&request.body), owned(&sent));
    let grant = grant.unwrap();
    assert_keeps_secrets(&format!("{grant:?}"));
    assert_eq!(grant.device_code, secret("device-visible"));
    assert_eq!(grant.user_code, secret("ABCD-EFGH"));
    assert_eq!(grant.verification_uri, "https://git.example.com/oauth/device");
    assert!(grant.verification_uri_complete.unwrap().expose().ends_with("?user_code=ABCD-EFGH"));
    assert_eq!(grant.expires_at.since(NOW), Duration::from_mins(5));
    assert_eq!(grant.interval, Duration::from_secs(7));
}

#[actix::test]
async fn the_interval_of_a_device_login_has_bounds() {
    for (said, seconds) in
        [(r#""interval":0"#, 1), (r#""interval":null"#, 5), (r#""interval":9999"#, 60), (r#""x":1"#, 5)]
    {
        let (grant, _) = started(&json("200 OK", &DEVICE.replace(r#""interval":7"#, said))).await;
        assert_eq!(grant.unwrap().interval, Duration::from_secs(seconds), "{said}");
    }
}

#[actix::test]
async fn a_device_login_that_cannot_be_begun_says_why() {
    for (status, body, reason) in [
        ("404 X", "<html>", Reason::LoginUnsupported),
        ("401 X", r#"{"error":"invalid_client"}"#, Reason::ClientRefused),
        ("400 X", r#"{"error":"invalid_scope"}"#, Reason::ScopesRefused),
        ("429 X", "Retry later", Reason::InstanceThrottled),
        ("500 X", "", Reason::InstanceError),
        ("200 X", "<html>", Reason::InstanceUnexpected),
        (
            "200 X",
            &DEVICE.replace("https://git.example.com/oauth/device\"", "javascript:alert(1)\""),
            Reason::InstanceUnexpected,
        ),
    ] {
        let error = started(&json(status, body)).await.0.unwrap_err();
        assert_eq!(error.fault.reason, reason, "{status} {body}");
        assert_keeps_secrets(&format!("{error} {error:?}"));
    }
}

async fn polled(answer: &[u8]) -> (Result<DevicePoll, ExchangeError>, Received) {
    let ask = async |client: OAuthClient<'_>| client.poll_device(&secret("device-visible"), &names(&["api"])).await;
    answered(&app(), answer, ask).await
}

#[actix::test]
async fn a_device_asks_until_the_user_has_answered() {
    let said = async |error: &str| polled(&json("400 X", &format!(r#"{{"error":"{error}"}}"#))).await.0.unwrap();
    assert!(matches!(said("authorization_pending").await, DevicePoll::Pending));
    assert!(matches!(said("slow_down").await, DevicePoll::SlowDown));
    assert!(matches!(said("access_denied").await, DevicePoll::Denied));
    assert!(matches!(said("expired_token").await, DevicePoll::Expired));
    let lone = r#"{"access_token":"new-visible","token_type":"Bearer","expires_in":7200,"created_at":1593096829}"#;
    let (answer, request) = polled(&json("200 OK", lone)).await;
    let DevicePoll::Pair(pair) = answer.unwrap() else { panic!("no pair") };
    assert_eq!((pair.access_token, pair.refresh_token), (secret("new-visible"), None));
    assert_eq!(pair.scopes, ["api"]);
    assert_eq!(request.line, "POST /gitlab/oauth/token HTTP/1.1");
    let sent = [
        ("client_id", "app-id"),
        ("client_secret", CLIENT_SECRET),
        ("device_code", "device-visible"),
        ("grant_type", "urn:ietf:params:oauth:grant-type:device_code"),
    ];
    assert_eq!(fields(&request.body), owned(&sent));
}

#[actix::test]
async fn a_device_that_is_refused_knows_whether_to_ask_again() {
    for (status, body, expected, reason) in [
        ("400 X", r#"{"error":"invalid_grant"}"#, InvalidGrant, Reason::CodeRefused),
        ("401 X", r#"{"error":"invalid_client"}"#, Refused, Reason::ClientRefused),
        ("400 X", r#"{"error":"unsupported_grant_type"}"#, Refused, Reason::LoginUnsupported),
        ("429 X", "Retry later", Refused, Reason::InstanceThrottled),
        ("404 X", "<html>", Unknown, Reason::InstanceUnexpected),
        ("500 X", "", Unknown, Reason::InstanceError),
        ("200 X", "<html>", Unknown, Reason::InstanceUnexpected),
        ("200 X", r#"{"access_token":"new-visible","expires_in":0}"#, Unknown, Reason::InstanceUnexpected),
    ] {
        let error = polled(&json(status, body)).await.0.unwrap_err();
        assert_eq!((verdict(&error), error.call().fault.reason), (expected, reason), "{status} {body}");
        assert_keeps_secrets(&format!("{error} {error:?}"));
    }
}
