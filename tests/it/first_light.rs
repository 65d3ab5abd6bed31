//! A client talks to a pooled account, in every dialect that needs no more than one account.

use duopool::simulator::Call;
use serde_json::json;

use crate::support::TestApp;

#[actix::test]
async fn messages_on_claude_stream_byte_for_byte() {
    let app = TestApp::with_accounts(&["ada"]).await;
    let body = json!({ "model": "claude-sonnet-4-6", "max_tokens": 100, "stream": true,
        "messages": [{ "role": "user", "content": "Hello!" }] });
    let answer = app.ask("/v1/messages", &body).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert!(answer.complete);
    assert_eq!(answer.events().last().and_then(|event| event.name.clone()).as_deref(), Some("message_stop"));
    let sent = app.gitlab.requests_of(Call::Messages);
    assert_eq!(sent[0].body, body.to_string().into_bytes());
}
