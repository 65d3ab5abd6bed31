use std::time::Duration;

use actix_web::http::Method;
use serde_json::json;

use super::oauth::text;
use super::{ADA, GRACE, Rig, THIRD_PARTY};
use crate::simulator::Limit;

const CODE_SUGGESTIONS: &str = "/api/v4/code_suggestions/direct_access";

const TWO_A_MINUTE: Limit = Limit { count: 2, window_s: 60 };

#[actix::test]
async fn direct_access_for_completion_is_limited_to_ten_in_five_minutes_and_user() {
    let rig = Rig::new().await;
    let ask = async |token| rig.api(Method::POST, CODE_SUGGESTIONS, token, &json!({})).await;
    for _ in 0..10 {
        assert_eq!(ask(ADA).await.status, 201);
    }
    let told = "This endpoint has been requested too many times. Try again later.";
    ask(ADA).await.expect(429, &json!({ "message": { "error": told } }));
    assert_eq!(ask(GRACE).await.status, 201);
    rig.clock.advance(Duration::from_mins(5));
    assert_eq!(ask(ADA).await.status, 201);
    let (tally, gauges) = (rig.running.handle.tally("ada").unwrap(), rig.running.handle.gauges());
    assert_eq!((tally.throttled, gauges.throttled), (1, 1));
    assert_eq!((tally.completion_mints_committed, tally.mint_requests_in_300_s_max), (11, 11));
}

#[actix::test]
async fn direct_access_for_agents_can_be_limited_too() {
    let rig = Rig::new().await;
    rig.running.handle.change_instance(|instance| {
        instance.limits.third_party_per_user = Some(TWO_A_MINUTE);
        instance.limits.retry_after = true;
    });
    rig.mint(ADA).await;
    rig.clock.advance(Duration::from_secs(20));
    rig.mint(ADA).await;
    let got = rig.api(Method::POST, THIRD_PARTY, ADA, &json!({})).await;
    assert_eq!((got.status, got.header("retry-after")), (429, Some("40")));
    let tally = rig.running.handle.tally("ada").unwrap();
    assert_eq!((tally.mints_committed, tally.mints_in_300_s_max, tally.mint_requests_in_300_s_max), (2, 2, 3));
}

#[actix::test]
async fn the_token_endpoint_is_limited_per_address() {
    let rig = Rig::new().await;
    let body = rig.login().await;
    rig.running.handle.change_instance(|instance| instance.limits.oauth_token_per_address = Some(TWO_A_MINUTE));
    let second = rig.refresh(text(&body, "refresh_token")).await.json();
    let third = rig.refresh(text(&second, "refresh_token")).await.json();
    let got = rig.refresh(text(&third, "refresh_token")).await;
    assert_eq!((got.status, got.content_type.as_str(), got.body.as_ref()), (429, "text/plain", &b"Retry later\n"[..]));
    assert_eq!(got.header("retry-after"), None);
    // The refused call changed nothing, and other calls pass.
    assert_eq!(rig.status_of(text(&third, "access_token")).await, 200);
    rig.clock.advance(Duration::from_mins(1));
    assert_eq!(rig.refresh(text(&third, "refresh_token")).await.status, 200);
    assert_eq!(rig.running.handle.tally("ada").unwrap().throttled, 1);
}

#[actix::test]
async fn calls_are_limited_per_address_and_per_user() {
    let rig = Rig::new().await;
    let limits = json!({ "limits": { "per_user": { "count": 2, "window_s": 60 } } });
    assert_eq!(rig.control(Method::PATCH, "/instance", &limits).await.status, 200);
    let statuses = [rig.status_of(ADA).await, rig.status_of(ADA).await, rig.status_of(ADA).await];
    assert_eq!((statuses, rig.status_of(GRACE).await), ([200, 200, 429], 200));
    rig.running.handle.change_instance(|instance| {
        instance.limits.per_user = None;
        instance.limits.per_address = Some(TWO_A_MINUTE);
    });
    let statuses = [rig.status_of(ADA).await, rig.status_of(GRACE).await, rig.status_of("nobody").await];
    assert_eq!(statuses, [200, 200, 429]);
}

#[actix::test]
async fn another_address_has_its_own_limit() {
    let rig = Rig::new().await;
    rig.running.handle.change_instance(|instance| instance.limits.per_address = Some(TWO_A_MINUTE));
    let other = awc::Client::builder().local_address(std::net::Ipv4Addr::new(127, 0, 0, 2).into()).finish();
    let url = format!("{}/api/v4/user", rig.running.url());
    let statuses = [rig.status_of(ADA).await, rig.status_of(ADA).await, rig.status_of(ADA).await];
    assert_eq!(statuses, [200, 200, 429]);
    assert_eq!(super::read(other.get(url).bearer_auth(ADA), String::new()).await.status, 200);
}

#[actix::test]
async fn a_limit_is_lifted_by_null() {
    let rig = Rig::new().await;
    let lifted = json!({ "limits": { "code_suggestions_per_user": null } });
    assert_eq!(rig.control(Method::PATCH, "/instance", &lifted).await.status, 200);
    for _ in 0..11 {
        assert_eq!(rig.api(Method::POST, CODE_SUGGESTIONS, ADA, &json!({})).await.status, 201);
    }
}
