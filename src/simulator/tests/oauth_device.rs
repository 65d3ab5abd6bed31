use std::time::Duration;

use serde_json::{Value, json};

use super::oauth::text;
use super::{Got, Rig};
use crate::simulator::{DEMO_PUBLIC_CLIENT_ID, Decision, NotDone};

const OWN: (&str, &str) = ("client_id", DEMO_PUBLIC_CLIENT_ID);

impl Rig {
    async fn device(&self) -> Value {
        let got = self.form("/oauth/authorize_device", &[OWN, ("scope", "api")]).await;
        assert_eq!(got.status, 200, "{:?}", got.body);
        got.json()
    }

    async fn poll(&self, device: &Value) -> Got {
        let grant = ("grant_type", "urn:ietf:params:oauth:grant-type:device_code");
        self.form("/oauth/token", &[grant, OWN, ("device_code", text(device, "device_code"))]).await
    }

    /// Polls once the interval has passed.
    async fn poll_later(&self, device: &Value) -> Got {
        self.clock.advance(Duration::from_secs(5));
        self.poll(device).await
    }
}

fn error(got: &Got) -> (u16, String) {
    (got.status, text(&got.json(), "error").to_owned())
}

#[actix::test]
async fn a_device_waits_for_its_user_and_gets_tokens_once() {
    let rig = Rig::new().await;
    let device = rig.device().await;
    assert_eq!((&device["expires_in"], &device["interval"]), (&json!(300), &json!(5)));
    let uri = format!("{}/oauth/device", rig.running.url());
    assert_eq!(text(&device, "verification_uri"), uri);
    let complete = text(&device, "verification_uri_complete");
    assert_eq!(complete, format!("{uri}?user_code={}", text(&device, "user_code")));
    let page = super::read(rig.client.get(complete), String::new()).await;
    assert!(String::from_utf8_lossy(&page.body).contains(text(&device, "user_code")));

    assert_eq!(error(&rig.poll(&device).await), (400, "authorization_pending".to_owned()));
    assert_eq!(error(&rig.poll(&device).await), (400, "slow_down".to_owned()));
    assert_eq!(error(&rig.poll_later(&device).await), (400, "authorization_pending".to_owned()));
    let entered = text(&device, "user_code").to_lowercase();
    let said = [("user_code", entered.as_str()), ("account", "grace"), ("decision", "authorize")];
    let page = rig.form("/oauth/device", &said).await;
    assert!(String::from_utf8_lossy(&page.body).contains("Device successfully authorized"));
    let body = rig.poll_later(&device).await.json();
    assert_eq!(rig.status_of(text(&body, "access_token")).await, 200);
    assert_eq!(rig.refresh(text(&body, "refresh_token")).await.status, 200);
    assert_eq!(error(&rig.poll_later(&device).await), (400, "invalid_grant".to_owned()));
    assert_eq!(rig.running.handle.tally("grace").unwrap().device_logins, 1);
}

#[actix::test]
async fn a_device_may_be_denied_or_come_too_late() {
    let rig = Rig::new().await;
    let handle = &rig.running.handle;
    let device = rig.device().await;
    handle.approve_device("ada", text(&device, "user_code"), Decision::Deny).unwrap();
    assert_eq!(error(&rig.poll(&device).await), (400, "access_denied".to_owned()));
    let device = rig.device().await;
    rig.clock.advance(Duration::from_mins(5));
    let late = handle.approve_device("ada", text(&device, "user_code"), Decision::Authorize);
    assert_eq!(late, Err(NotDone::Page("The user code is expired".to_owned())));
    assert_eq!(error(&rig.poll(&device).await), (400, "expired_token".to_owned()));
    let wrong = handle.approve_device("ada", "WRONG", Decision::Authorize);
    assert_eq!(wrong, Err(NotDone::Page("The user code is invalid".to_owned())));
}

#[actix::test]
async fn a_device_may_get_no_refresh_token() {
    let rig = Rig::new().await;
    rig.running.handle.change_instance(|instance| instance.oauth.device_refresh_token = false);
    let device = rig.device().await;
    let order = json!({ "account": "ada", "user_code": device["user_code"] });
    rig.control(actix_web::http::Method::POST, "/logins/device", &order).await.expect(200, &json!({}));
    let body = rig.poll(&device).await.json();
    assert_eq!(body.get("refresh_token"), None);
    assert_eq!(rig.status_of(text(&body, "access_token")).await, 200);
}

#[actix::test]
async fn a_device_needs_a_known_application_and_allowed_scopes() {
    let rig = Rig::new().await;
    let got = rig.form("/oauth/authorize_device", &[("client_id", "nobody")]).await;
    assert_eq!(error(&got), (401, "invalid_client".to_owned()));
    let got = rig.form("/oauth/authorize_device", &[OWN, ("scope", "sudo")]).await;
    assert_eq!(error(&got), (400, "invalid_scope".to_owned()));
}
