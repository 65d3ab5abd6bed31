use std::time::Duration;

use actix_web::http::Method;
use futures::future::{join, join3};
use serde_json::json;

use super::oauth::text;
use super::{ADA, NOW, Rig, THIRD_PARTY, soon};
use crate::simulator::{Flow, Hold, Step, fingerprint};

fn hold(flow: Flow, step: Step) -> Hold {
    Hold { flow, step, account: None, times: None }
}

#[actix::test]
async fn a_refresh_is_held_before_it_changes_anything() {
    let rig = Rig::new().await;
    let (handle, body) = (&rig.running.handle, rig.login().await);
    let id = handle.hold(hold(Flow::Refresh, Step::Arrived));
    let looking = async {
        let event = soon(handle.reached(|event| (event.flow, event.step) == (Flow::Refresh, Step::Arrived))).await;
        assert_eq!(event.account.as_deref(), Some("ada"));
        assert_eq!(rig.status_of(text(&body, "access_token")).await, 200);
        assert_eq!(handle.holds()[0].requests, [event.request]);
        assert!(handle.release(id));
    };
    let (got, ()) = join(rig.refresh(text(&body, "refresh_token")), looking).await;
    assert_eq!(got.status, 200);
    let steps: Vec<_> = handle.steps().into_iter().filter(|event| event.flow == Flow::Refresh).collect();
    let told: Vec<_> = steps.iter().map(|event| (event.step, event.status)).collect();
    assert_eq!(told, [(Step::Arrived, None), (Step::Committed, Some(200)), (Step::Replied, Some(200))]);
}

#[actix::test]
async fn a_client_that_dies_after_the_commit_has_lost_its_old_token() {
    let rig = Rig::new().await;
    let (handle, body) = (&rig.running.handle, rig.login().await);
    handle.hold(hold(Flow::Refresh, Step::Committed));
    {
        let dying = std::pin::pin!(rig.refresh(text(&body, "refresh_token")));
        let reached = std::pin::pin!(soon(handle.reached(|event| event.step == Step::Committed)));
        futures::future::select(dying, reached).await;
    }
    soon(handle.closed_early(1)).await;
    handle.release_all();
    let tally = handle.tally("ada").unwrap();
    assert_eq!((tally.refreshes_committed, tally.refreshes_in_flight_max), (1, 1));
    assert_ne!(tally.refresh_tokens_valid, [fingerprint(text(&body, "refresh_token"))]);
    assert_eq!(rig.refresh(text(&body, "refresh_token")).await.status, 400);
    assert!(
        handle
            .steps()
            .iter()
            .all(|event| (event.flow, event.step, event.status) != (Flow::Refresh, Step::Replied, Some(200)))
    );
}

#[actix::test]
async fn a_client_that_dies_before_the_commit_has_lost_nothing() {
    let rig = Rig::new().await;
    let (handle, body) = (&rig.running.handle, rig.login().await);
    handle.hold(Hold { times: Some(1), ..hold(Flow::Refresh, Step::Arrived) });
    {
        let dying = std::pin::pin!(rig.refresh(text(&body, "refresh_token")));
        let reached = std::pin::pin!(soon(handle.reached(|event| event.flow == Flow::Refresh)));
        futures::future::select(dying, reached).await;
    }
    soon(handle.closed_early(1)).await;
    assert_eq!(handle.tally("ada").unwrap().refresh_tokens_valid, [fingerprint(text(&body, "refresh_token"))]);
    assert_eq!(rig.refresh(text(&body, "refresh_token")).await.status, 200);
    // One after the other is not at the same time.
    assert_eq!(handle.tally("ada").unwrap().refreshes_in_flight_max, 1);
}

#[actix::test]
async fn two_refreshes_of_one_token_at_a_time_are_seen_and_one_of_them_wins() {
    let rig = Rig::new().await;
    let (handle, body) = (&rig.running.handle, rig.login().await);
    let token = text(&body, "refresh_token");
    handle.hold(hold(Flow::Refresh, Step::Arrived));
    let release = async {
        let arrived = |event: &crate::simulator::StepEvent| event.flow == Flow::Refresh;
        soon(handle.reached(|event| arrived(event))).await;
        soon(
            handle
                .shared
                .until(|state| (state.steps.events().filter(|event| arrived(event)).count() == 2).then_some(())),
        )
        .await;
        handle.release_all();
    };
    let (first, second, ()) = join3(rig.refresh(token), rig.refresh(token), release).await;
    let mut statuses = [first.status, second.status];
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 400]);
    let tally = handle.tally("ada").unwrap();
    assert_eq!((tally.refreshes_in_flight_max, tally.refreshes_committed, tally.dead_refresh_uses), (2, 1, 1));
}

#[actix::test]
async fn another_process_holds_and_releases_over_http() {
    let rig = Rig::new().await;
    let order = json!({ "flow": "mint", "step": "committed", "account": "ada" });
    let id = rig.control(Method::POST, "/holds", &order).await.json()["id"].as_u64().unwrap();
    let other = async {
        let wait = json!({ "flow": "mint", "step": "committed", "account": "ada", "after": 0, "timeout_ms": 5_000 });
        let event = soon(rig.control(Method::POST, "/steps/wait", &wait)).await.json();
        assert_eq!((&event["account"], &event["status"]), (&json!("ada"), &json!(201)));
        assert_eq!(
            rig.control(Method::GET, "/holds", &json!({})).await.json()[0]["requests"],
            json!([event["request"]])
        );
        assert_eq!(rig.control(Method::DELETE, &format!("/holds/{id}"), &json!({})).await.status, 200);
        event["number"].as_u64().unwrap()
    };
    let empty = json!({});
    let (got, number) = join(rig.api(Method::POST, THIRD_PARTY, ADA, &empty), other).await;
    assert_eq!(got.status, 201);
    let later = rig.control(Method::GET, &format!("/steps?after={number}"), &json!({})).await.json();
    assert_eq!((later.as_array().unwrap().len(), &later[0]["step"]), (1, &json!("replied")));
    let wait = json!({ "flow": "mint", "step": "arrived", "after": number, "timeout_ms": 1 });
    assert_eq!(rig.control(Method::POST, "/steps/wait", &wait).await.status, 504);
    let late = json!({ "flow": "mint", "step": "replied" });
    assert_eq!(rig.control(Method::POST, "/holds", &late).await.status, 400);
    assert_eq!(rig.control(Method::DELETE, &format!("/holds/{id}"), &json!({})).await.status, 404);
    let tallies = rig.control(Method::GET, "/tallies", &json!({})).await.json();
    assert_eq!((&tallies["ada"]["mints_committed"], &tallies["grace"]["mints_committed"]), (&json!(1), &json!(0)));
}

#[actix::test]
async fn another_process_moves_the_clock() {
    let rig = Rig::new().await;
    let body = rig.login().await;
    let clock = rig.control(Method::POST, "/clock", &json!({ "advance_s": 7_200 })).await.json();
    assert_eq!(clock, json!({ "now_ms": NOW.as_millis() + 7_200_000, "offset_ms": 7_200_000 }));
    assert_eq!(rig.status_of(text(&body, "access_token")).await, 401);
    rig.control(Method::POST, "/clock", &json!({ "advance_s": -1 })).await;
    assert_eq!(rig.status_of(text(&body, "access_token")).await, 200);
    let clock = rig.control(Method::POST, "/clock", &json!({ "offset_s": 0 })).await.json();
    assert_eq!(clock["offset_ms"], 0);
    rig.running.handle.advance_clock(Duration::from_secs(3));
    assert_eq!(rig.running.handle.now().as_secs(), NOW.as_secs() + 3);
}
