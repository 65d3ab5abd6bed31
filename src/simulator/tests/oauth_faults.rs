use std::time::Duration;

use actix_web::http::Method;
use futures::future::{Either, select};
use serde_json::{Value, json};

use super::oauth::text;
use super::{ADA, GRACE, Rig, THIRD_PARTY, soon};
use crate::simulator::{Call, DEMO_PUBLIC_CLIENT_ID, Effect, MintCase, Rule, Step};

#[actix::test]
async fn a_replica_that_lags_refuses_a_good_refresh_token_for_a_while() {
    let rig = Rig::new().await;
    let body = rig.login().await;
    let token = text(&body, "refresh_token");
    rig.running.handle.change_instance(|instance| instance.oauth.refresh_lag_s = 30);
    let got = rig.refresh(token).await;
    assert_eq!((got.status, &got.json()["error"]), (400, &json!("invalid_grant")));
    rig.clock.advance(Duration::from_secs(30));
    assert_eq!(rig.refresh(token).await.status, 200);
    let tally = rig.running.handle.tally("ada").unwrap();
    assert_eq!((tally.refreshes_refused, tally.dead_refresh_uses, tally.refreshes_committed), (1, 0, 1));
}

#[actix::test]
async fn a_replica_that_lags_refuses_a_good_refresh_token_so_many_times() {
    let rig = Rig::new().await;
    let (handle, body) = (&rig.running.handle, rig.login().await);
    let token = text(&body, "refresh_token");
    handle.add_rule(Rule::always(Effect::invalid_grant()).times(2).on(Call::Refresh).by("ada"));
    for _ in 0..2 {
        let got = rig.refresh(token).await;
        assert_eq!((got.status, &got.json()["error"]), (400, &json!("invalid_grant")));
        assert!(got.header("www-authenticate").unwrap().contains("invalid_grant"));
    }
    handle.add_rule(Rule::always(Effect::throttled()).for_s(10).on(Call::Refresh));
    assert_eq!(rig.refresh(token).await.status, 429);
    handle.advance_clock(Duration::from_secs(10));
    assert_eq!(rig.refresh(token).await.status, 200);
    assert_eq!(handle.rules(), []);
}

#[actix::test]
async fn a_replica_that_lags_does_not_know_a_new_access_token() {
    let rig = Rig::new().await;
    rig.running.handle.change_instance(|instance| instance.oauth.access_lag_s = 2);
    let body = rig.login().await;
    let access = text(&body, "access_token");
    let got = rig.api(Method::GET, "/api/v4/user", access, &json!({})).await;
    got.expect(401, &json!({ "message": "401 Unauthorized" }));
    rig.clock.advance(Duration::from_secs(2));
    assert_eq!(rig.status_of(access).await, 200);
}

#[actix::test]
async fn a_reply_can_be_lost_before_or_after_the_rotation() {
    let rig = Rig::new().await;
    let handle = &rig.running.handle;
    for (effect, committed, last_step) in [
        (Effect::CloseUnprocessed, 0, Step::Arrived),
        (Effect::Close, 1, Step::Committed),
        (Effect::Cut { after: 20 }, 1, Step::Committed),
        (Effect::Hang, 0, Step::Arrived),
        (Effect::HangProcessed, 1, Step::Committed),
    ] {
        let body = rig.login().await;
        let before = handle.tally("ada").unwrap().refreshes_committed;
        handle.add_rule(Rule::once(effect.clone()).on(Call::Refresh));
        let last = handle.steps().last().map_or(0, |event| event.number);
        let pairs = [
            ("client_id", DEMO_PUBLIC_CLIENT_ID),
            ("grant_type", "refresh_token"),
            ("refresh_token", text(&body, "refresh_token")),
        ];
        let request = rig.client.post(format!("{}/oauth/token", rig.running.url()));
        let request = request.insert_header(("content-type", super::FORM));
        // The client library hands out a body that was cut as if it were whole.
        let answer = async {
            let body = request.send_body(super::form(&pairs)).await.ok()?.body().await.ok()?;
            serde_json::from_slice::<Value>(&body).ok()
        };
        let reached = handle.reached(|event| event.number > last && event.step == last_step);
        let hangs = matches!(effect, Effect::Hang | Effect::HangProcessed);
        // One that hangs is left as soon as it is where it hangs.
        let left = async { if hangs { soon(reached).await } else { std::future::pending().await } };
        let answered = matches!(select(Box::pin(soon(answer)), Box::pin(left)).await, Either::Left((Some(_), _)));
        assert!(!answered, "{effect:?}");
        assert_eq!(handle.tally("ada").unwrap().refreshes_committed - before, committed, "{effect:?}");
        let alive = rig.refresh(text(&body, "refresh_token")).await.status == 200;
        assert_eq!(alive, committed == 0, "{effect:?}");
    }
}

#[actix::test]
async fn a_rotation_can_be_answered_by_a_proxy_or_in_a_broken_way() {
    let rig = Rig::new().await;
    let handle = &rig.running.handle;
    let bad_gateway = Effect::AnswerProcessed {
        status: 502,
        body: "<html>Bad gateway</html>".to_owned(),
        content_type: "text/html".to_owned(),
        headers: Vec::new(),
    };
    let mut token = text(&rig.login().await, "refresh_token").to_owned();
    handle.add_rule(Rule::once(bad_gateway).on(Call::Refresh));
    let got = rig.refresh(&token).await;
    assert_eq!((got.status, got.content_type.as_str()), (502, "text/html"));
    assert_eq!(handle.tally("ada").unwrap().refreshes_committed, 1);

    token = text(&rig.login().await, "refresh_token").to_owned();
    handle.add_rule(Rule::once(Effect::merge(json!({ "expires_in": 0, "created_at": null }))).on(Call::Refresh));
    let body = rig.refresh(&token).await.json();
    assert_eq!((&body["expires_in"], body.get("created_at")), (&json!(0), None));
    let rule = json!({ "call": "refresh", "times": 1, "effect": { "kind": "pad", "bytes": 1_000_000 } });
    assert_eq!(rig.control(Method::POST, "/rules", &rule).await.status, 200);
    let got = rig.refresh(text(&body, "refresh_token")).await;
    assert!(got.status == 200 && got.body.len() > 1_000_000 && got.json()["refresh_token"].is_string());
}

#[actix::test]
async fn every_row_of_the_tables_of_direct_access_can_be_had_by_name() {
    let rig = Rig::new().await;
    let told = rig.control(Method::GET, "/mint-cases", &json!({})).await.json();
    assert_eq!(told.as_array().unwrap().len(), MintCase::ALL.len());
    for (case, told) in MintCase::ALL.iter().zip(told.as_array().unwrap()) {
        let third_party = case.call() == Call::ThirdPartyDirectAccess;
        let path = if third_party { THIRD_PARTY } else { "/api/v4/code_suggestions/direct_access" };
        let name = text(told, "name");
        let rule = json!({ "account": "ada", "effect": { "kind": "mint_case", "name": name } });
        assert_eq!(rig.control(Method::POST, "/rules", &rule).await.status, 200, "{name}");
        let got = rig.api(Method::POST, path, ADA, &json!({})).await;
        assert_eq!(told["status"], got.status, "{name}");
        if got.status != 201 {
            assert_eq!(
                (text(told, "body").as_bytes(), text(told, "content_type")),
                (&got.body[..], got.content_type.as_str())
            );
        }
        assert_eq!(rig.api(Method::POST, path, GRACE, &json!({})).await.status, 201, "{name} is not Grace's");
        assert_eq!(rig.status_of(ADA).await, 200, "{name} is not about other calls");
        rig.running.handle.clear_rules();
        rig.clock.advance(Duration::from_mins(5));
    }
}
