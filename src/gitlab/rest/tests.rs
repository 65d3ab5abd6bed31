use futures::future::join;
use serde::Deserialize;

use super::*;
use crate::domain::fault::{Hold, Reason, Scope};
use crate::gitlab::upstream::tests::raw_server::{RawServer, in_time};
use crate::gitlab::upstream::tests::upstream;

const TOKEN: &str = "glpat-visible";

#[derive(Debug, Deserialize, PartialEq, Eq)]
struct Thing {
    id: u64,
}

/// Asks `server` for a thing while it does what `serving` does.
async fn asked<S: Future>(server: &RawServer, call: Call, serving: S) -> (Result<Thing, CallError>, S::Output) {
    let (upstream, token) = (upstream(), Secret::new(TOKEN.to_owned()));
    let instance = InstanceUrl::parse(&format!("{}/gitlab", server.root())).unwrap();
    let session = Session { upstream: &upstream, instance: &instance, token: &token };
    in_time(join(session.get(call, "/api/v4/thing"), serving)).await
}

/// Asks for a thing, and answers with `answer`.
async fn answered(call: Call, answer: &[u8]) -> Result<Thing, CallError> {
    let server = RawServer::start().await;
    asked(&server, call, server.answer_once(answer)).await.0
}

fn response(status: &str, content_type: &str, body: impl AsRef<[u8]>) -> Vec<u8> {
    let body = body.as_ref();
    let head = format!("HTTP/1.1 {status}\r\ncontent-type: {content_type}\r\ncontent-length: {}\r\n\r\n", body.len());
    [head.as_bytes(), body].concat()
}

#[actix::test]
async fn json_of_the_wanted_shape_is_an_answer() {
    for content_type in
        ["application/json", "application/json; charset=utf-8", "Application/JSON", "application/vnd.x+json"]
    {
        let thing = answered(Call::Identity, &response("200 OK", content_type, r#"{"id":7,"more":[]}"#)).await;
        assert_eq!(thing.unwrap(), Thing { id: 7 }, "{content_type}");
    }
    let chunked = b"HTTP/1.1 201 X\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n\
        4\r\n{\"id\r\n4\r\n\": 7\r\n1\r\n}\r\n0\r\n\r\n";
    assert_eq!(answered(Call::Mint, chunked).await.unwrap(), Thing { id: 7 });
}

#[actix::test]
async fn a_success_that_is_not_the_api_is_no_success() {
    let json = "application/json";
    let html = "<html>sign in</html>";
    let deep = "[".repeat(200_000);
    let cases: [(&str, Vec<u8>); 15] = [
        ("a login page", response("200 OK", "text/html", html)),
        ("a login page that claims to be JSON", response("200 OK", json, html)),
        ("JSON that claims to be text", response("200 OK", "text/plain", r#"{"id":7}"#)),
        ("no content type", b"HTTP/1.1 200 OK\r\ncontent-length: 8\r\n\r\n{\"id\":7}".to_vec()),
        (
            "a content type that is no text",
            b"HTTP/1.1 200 OK\r\ncontent-type: \xff\r\ncontent-length: 2\r\n\r\n{}".to_vec(),
        ),
        ("an empty body", response("200 OK", json, "")),
        ("no body", b"HTTP/1.1 204 No Content\r\ncontent-type: application/json\r\n\r\n".to_vec()),
        (
            "no length",
            b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\n\r\n{\"id\":7}".to_vec(),
        ),
        ("garbage", response("200 OK", json, [0xff, 0x00, 0x7b])),
        ("JSON of another shape", response("200 OK", json, r#"{"id":"seven"}"#)),
        ("a list", response("200 OK", json, "[]")),
        ("JSON that is nested without end", response("200 OK", json, deep)),
        (
            "half a body",
            b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 9\r\n\r\n{\"id\":7}".to_vec(),
        ),
        (
            "half a chunk",
            b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n9\r\n{\"id\""
                .to_vec(),
        ),
        ("more than a mebibyte", response("200 OK", json, format!("{}{{\"id\":7}}", " ".repeat(1024 * 1024)))),
    ];
    for call in [Call::Identity, Call::Mint, Call::CodeSuggestions, Call::Models] {
        for (what, answer) in &cases {
            let fault = answered(call, answer).await.unwrap_err().fault;
            assert_eq!((fault.scope, fault.reason), (Scope::Instance, Reason::InstanceUnexpected), "{call:?}: {what}");
        }
    }
}

#[actix::test]
async fn an_error_is_told_by_its_status_and_what_it_says_in_json() {
    let json = "application/json";
    let long = " ".repeat(1024 * 1024 + 1);
    let cases: [(&str, Vec<u8>, Reason); 9] = [
        (
            "a redirect",
            b"HTTP/1.1 302 X\r\nlocation: https://example.com\r\ncontent-length: 0\r\n\r\n".to_vec(),
            Reason::InstanceUnexpected,
        ),
        ("a token that is unknown", response("401 X", json, r#"{"message":"401 Unauthorized"}"#), Reason::TokenInvalid),
        ("a proxy's login", response("401 X", "text/html", "<html>"), Reason::InstanceUnexpected),
        ("a firewall", response("403 X", "text/html", "<html>"), Reason::InstanceUnexpected),
        ("a limit", response("429 X", "text/plain", "Retry later"), Reason::InstanceThrottled),
        ("an error with a long page", response("500 X", "text/html", &long), Reason::InstanceError),
        (
            "an error that was cut short",
            b"HTTP/1.1 503 X\r\ncontent-length: 99\r\n\r\nno".to_vec(),
            Reason::InstanceError,
        ),
        ("an error without a body", response("502 X", json, ""), Reason::InstanceError),
        ("an unheard-of status", response("999 X", json, "{}"), Reason::InstanceUnexpected),
    ];
    for (what, answer, reason) in cases {
        assert_eq!(answered(Call::Mint, &answer).await.unwrap_err().fault.reason, reason, "{what}");
    }
}

#[actix::test]
async fn what_is_no_http_is_not_the_api() {
    for answer in ["", "SSH-2.0-OpenSSH_9.2\r\n", "HTTP/1.1 200 OK\r\ncontent-le"] {
        let server = RawServer::start().await;
        let serving = async {
            server.answer_once(answer.as_bytes()).await;
            // A connection that closes without a word is tried once more.
            if answer.is_empty() {
                server.answer_once(b"").await;
            }
        };
        let (result, ()) = asked(&server, Call::Mint, serving).await;
        assert_eq!(result.unwrap_err().fault.reason, Reason::InstanceUnexpected, "{answer:?}");
    }
}

#[actix::test]
async fn the_token_goes_to_the_instance_and_into_no_error() {
    let server = RawServer::start().await;
    let echo = format!(r#"{{"message":"401 Unauthorized","seen":"Bearer {TOKEN}"}}"#);
    let answer = response("401 X", "application/json", echo);
    let (result, request) = asked(&server, Call::Identity, server.answer_once(&answer)).await;
    assert_eq!(request.line, "GET /gitlab/api/v4/thing HTTP/1.1");
    assert_eq!(request.header("authorization"), [format!("Bearer {TOKEN}")]);
    assert_eq!(request.header("accept"), ["application/json"]);
    let error = result.unwrap_err();
    assert!(!format!("{error} {error:?}").contains(TOKEN));
}

#[actix::test]
async fn a_post_carries_its_json_and_says_so() {
    let server = RawServer::start().await;
    let (upstream, token) = (upstream(), Secret::new(TOKEN.to_owned()));
    let instance = InstanceUrl::parse(&server.root()).unwrap();
    let session = Session { upstream: &upstream, instance: &instance, token: &token };
    let answer = response("200 OK", "application/json", r#"{"id":7}"#);
    let posting = session.post::<Thing>(Call::Models, "/api/graphql", r#"{"query":"q"}"#.to_owned());
    let (result, request) = in_time(join(posting, server.answer_once(&answer))).await;
    assert_eq!(result.unwrap(), Thing { id: 7 });
    assert_eq!(request.line, "POST /api/graphql HTTP/1.1");
    assert_eq!(request.header("content-type"), ["application/json"]);
    assert_eq!(request.body, br#"{"query":"q"}"#);
}

#[actix::test]
async fn a_token_that_no_header_can_carry_is_never_sent() {
    let server = RawServer::start().await;
    let (upstream, token) = (upstream(), Secret::new("glpat-x\r\nhost: evil".to_owned()));
    let instance = InstanceUrl::parse(&server.root()).unwrap();
    let session = Session { upstream: &upstream, instance: &instance, token: &token };
    assert!(session.get::<Thing>(Call::Identity, "/").await.is_err());
    assert!(!server.has_visitor().await);
}

#[actix::test]
async fn gitlabs_own_word_on_its_limit_is_believed_within_reason() {
    for (word, hold) in [("7", 7), ("0", 1), ("86400", 3_600), ("Wed, 21 Oct 2026 07:28:00 GMT", 60), ("soon", 60)] {
        let answer = format!("HTTP/1.1 429 X\r\nretry-after: {word}\r\ncontent-length: 0\r\n\r\n");
        let error = answered(Call::Mint, answer.as_bytes()).await.unwrap_err();
        assert_eq!(error.fault.hold, Hold::For(Duration::from_secs(hold)), "{word}");
    }
}

#[actix::test]
async fn a_delete_is_done_where_nothing_is_said() {
    for (answer, expected) in [
        // As GitLab says it: the connection stays open, and no length is given.
        ("HTTP/1.1 204 No Content\r\n\r\n", Ok(())),
        ("HTTP/1.1 204 No Content\r\ncontent-length: 0\r\n\r\n", Ok(())),
        (
            "HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: 7\r\n\r\nsign in",
            Err(Reason::InstanceUnexpected),
        ),
        (
            "HTTP/1.1 401 X\r\ncontent-type: application/json\r\ncontent-length: 38\r\n\r\n{\"error_description\":\"it was revoked\"}",
            Err(Reason::TokenRevoked),
        ),
    ] {
        let server = RawServer::start().await;
        let (upstream, token) = (upstream(), Secret::new(TOKEN.to_owned()));
        let instance = InstanceUrl::parse(&server.root()).unwrap();
        let session = Session { upstream: &upstream, instance: &instance, token: &token };
        let deleting = session.delete(Call::Identity, "/api/v4/personal_access_tokens/self");
        let (result, request) = in_time(join(deleting, server.answer_once(answer.as_bytes()))).await;
        assert_eq!(result.map_err(|error| error.fault.reason), expected, "{answer}");
        assert!(request.line.starts_with("DELETE /api/v4/personal_access_tokens/self HTTP/1.1"), "{}", request.line);
    }
}
