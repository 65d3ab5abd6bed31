//! What clients notice of accounts, gateways and providers that fail while many requests are under way.

use std::sync::Arc;
use std::time::Duration;

use duopool::domain::time::{SystemClock, TestClock, Timestamp};
use duopool::simulator::{Call, Credit, Effect, Rule};
use futures::future::join_all;
use serde_json::json;
use tokio::time::timeout;

use crate::support::gateway::{Mortal, dribbling};
use crate::support::requests::{SONNET, messages};
use crate::support::{Answer, TestApp};

/// Far more than any of these takes.
const LONG: Duration = Duration::from_mins(1);

fn last_event(answer: &Answer) -> Option<String> {
    answer.events().last().and_then(|event| event.name.clone())
}

fn has_content(answer: &Answer) -> bool {
    answer.text().contains("event: content_block_start")
}

/// Asserts that the answer is whole.
fn assert_whole(answer: &Answer) {
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert!(answer.complete);
    assert_eq!(last_event(answer).as_deref(), Some("message_stop"), "{}", answer.text());
    assert_eq!(answer.text().matches("event: message_start").count(), 1, "{}", answer.text());
}

#[actix::test]
async fn of_two_hundred_streams_those_of_an_account_that_dies_fail_over_or_end_openly_after_content() {
    let app = TestApp::start(&["ada", "grace", "linus"], |_| {}).await;
    let gateway = Mortal::before(&app.gateway_url()).await;
    app.add_with("ada", &json!({ "gateway_url": gateway.url, "max_concurrency": 200 })).await;
    app.add_with("grace", &json!({ "max_concurrency": 200 })).await;
    app.add_with("linus", &json!({ "max_concurrency": 200 })).await;
    let ada = app.account("ada").await["id"].as_str().expect("an id").to_owned();
    app.gitlab.add_rule(Rule::always(Effect::Delay { first_byte_ms: 0, between_events_ms: 200 }).on(Call::Messages));
    let body = messages(SONNET, true);
    let before = app.gitlab.gauges().requests;
    let streams = join_all((0..200).map(|_| app.ask("/v1/messages", &body)));
    let death = async {
        // The first of them are in the middle of their content by then, and the last have none yet.
        app.gitlab.counted(|gauges| gauges.requests >= before + 200).await;
        gateway.die();
    };
    let (answers, ()) = timeout(LONG, futures::future::join(streams, death)).await.expect("all of them end");
    let (mut failed_over, mut broken) = (0, 0);
    for answer in &answers {
        assert_eq!(answer.status, 200, "{}", answer.text());
        if last_event(answer).as_deref() == Some("message_stop") {
            assert_whole(answer);
            failed_over += u32::from(answer.header("x-duopool-attempts") != Some("1"));
        } else {
            assert_eq!(last_event(answer).as_deref(), Some("error"), "{}", answer.text());
            assert!(has_content(answer), "before content there is nothing to lose: {}", answer.text());
            assert_eq!(answer.header("x-duopool-account"), Some(&*ada));
            broken += 1;
        }
    }
    assert!(failed_over + broken >= 40, "a third of them were Ada's: {failed_over} failed over, {broken} broken");
    app.gitlab.clear_rules();
    for answer in join_all((0..200).map(|_| app.ask("/v1/messages", &body))).await {
        assert_whole(&answer);
        assert_ne!(answer.header("x-duopool-account"), Some(&*ada));
    }
    app.at_rest().await;
}

#[actix::test]
async fn an_account_whose_credit_ends_in_the_middle_of_a_run_is_not_noticed() {
    let names = ["ada", "grace", "linus"];
    let app = TestApp::with_accounts(&names).await;
    let body = messages(SONNET, true);
    let client = async || {
        for _ in 0..15 {
            assert_whole(&app.ask("/v1/messages", &body).await);
        }
    };
    let ends = async {
        for (count, name) in [(20, "ada"), (60, "grace")] {
            app.gitlab.counted(|gauges| gauges.requests >= count).await;
            app.gitlab.set_credit(name, Credit::Exhausted).expect("known");
        }
    };
    timeout(LONG, futures::future::join(join_all((0..8).map(|_| client())), ends)).await.expect("all of them end");
    for name in &names[..2] {
        assert_eq!(app.account(name).await["blocked_models"][SONNET]["reason"], "quota_exhausted", "{name}");
    }
    app.at_rest().await;
}

#[actix::test]
async fn with_everything_blocked_the_first_that_recovers_is_told_and_then_it_serves() {
    let clock = TestClock::at(Timestamp::from_secs(1_795_305_600));
    let names = ["ada", "grace"];
    let app = TestApp::start_at(&names, Arc::new(clock.clone()), |_| {}).await;
    app.add_with("ada", &json!({ "priority": 1 })).await;
    app.add("grace").await;
    let body = messages(SONNET, true);
    app.gitlab.set_credit("ada", Credit::Exhausted).expect("known");
    assert_whole(&app.ask("/v1/messages", &body).await);
    app.account_when("ada", |account| !account["blocked_models"][SONNET].is_null()).await;
    clock.advance(Duration::from_mins(10));
    app.gitlab.set_credit("grace", Credit::Exhausted).expect("known");
    assert_eq!(app.ask("/v1/messages", &body).await.status, 402);
    app.account_when("grace", |account| !account["blocked_models"][SONNET].is_null()).await;
    let asked = app.gitlab.requests_of(Call::Messages).len();
    let mut waits = Vec::new();
    for _ in 0..3 {
        let answer = app.ask("/v1/messages", &body).await;
        assert_eq!(answer.status, 402, "{}", answer.text());
        // Ada, who ran out first, comes back first: 65 minutes after that, and up to a tenth more.
        let wait: u64 = answer.header("retry-after").and_then(|text| text.parse().ok()).expect("a time");
        assert!((3_300..=3_691).contains(&wait), "{wait}");
        waits.push(wait);
    }
    assert!(waits.iter().all(|wait| *wait == waits[0]), "{waits:?}");
    assert_eq!(app.gitlab.requests_of(Call::Messages).len(), asked, "who is known to be empty is not asked");
    for name in names {
        app.gitlab.set_credit(name, Credit::Available).expect("known");
    }
    clock.advance(Duration::from_secs(waits[0] - 1));
    assert_eq!(app.ask("/v1/messages", &body).await.status, 402, "not sooner than was said");
    clock.advance(Duration::from_secs(1));
    assert_whole(&app.ask("/v1/messages", &body).await);
    app.account_when("ada", |account| account["blocked_models"] == json!({})).await;
    clock.advance(Duration::from_mins(20));
    for answer in join_all((0..20).map(|_| app.ask("/v1/messages", &body))).await {
        assert_whole(&answer);
    }
    app.account_when("grace", |account| account["blocked_models"] == json!({})).await;
    app.at_rest().await;
}

#[actix::test]
async fn a_gateway_that_sends_next_to_nothing_holds_one_slot_until_the_requests_time_is_up_and_nobody_else() {
    let app =
        TestApp::start_at(&["ada", "grace"], Arc::new(SystemClock), |layer| layer.request_timeout_s = Some(3)).await;
    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
    // One comment line, as a chunk.
    let slow = dribbling(head, "4\r\n: x\n\r\n", Duration::from_millis(100)).await;
    app.add_with("ada", &json!({ "gateway_url": slow, "priority": 1, "max_concurrency": 4 })).await;
    app.add("grace").await;
    let body = messages(SONNET, true);
    let held = join_all((0..4).map(|_| app.ask("/v1/messages", &body)));
    let others = async {
        app.account_when("ada", |account| account["in_flight"] == 4).await;
        for _ in 0..20 {
            assert_whole(&app.ask("/v1/messages", &body).await);
        }
        assert_eq!(app.account("ada").await["in_flight"], 4, "they were served meanwhile");
    };
    let (held, ()) = timeout(LONG, futures::future::join(held, others)).await.expect("all of them end");
    for answer in held {
        let ended_openly = answer.status == 504 || last_event(&answer).as_deref() == Some("error");
        assert!(ended_openly, "{} {}", answer.status, answer.text());
    }
    app.at_rest().await;
}

/// Anthropic says that it has had enough, to whoever asks, for a while.
#[actix::test]
async fn in_a_storm_of_refusals_every_client_hears_when_to_come_back_and_the_provider_is_left_alone() {
    let clock = TestClock::at(Timestamp::from_secs(1_795_305_600));
    let names = ["ada", "grace", "linus"];
    let app = TestApp::start_at(&names, Arc::new(clock.clone()), |_| {}).await;
    for name in names {
        app.add(name).await;
    }
    let refusal = json!({ "type": "error", "error": { "type": "rate_limit_error", "message": "slow down" } });
    let headers = vec![("retry-after".to_owned(), "20".to_owned())];
    let content_type = "application/json".to_owned();
    let storm = Effect::Answer { status: 429, body: refusal.to_string(), content_type, headers };
    app.gitlab.add_rule(Rule::always(storm).on(Call::Messages));
    let body = messages(SONNET, true);
    let refused = |answer: &Answer| {
        assert_eq!(answer.status, 429, "{}", answer.text());
        assert_eq!(answer.json()["error"]["type"], "rate_limit_error");
        let wait = answer.header("retry-after").and_then(|text| text.parse().ok());
        assert!(wait.is_some_and(|wait: u64| (1..=30).contains(&wait)), "{wait:?}");
    };
    join_all((0..40).map(|_| app.ask("/v1/messages", &body))).await.iter().for_each(refused);
    app.account_when("ada", |account| account["blocks"][0]["scope"] == "provider").await;
    let asked = app.gitlab.requests_of(Call::Messages).len();
    assert!(asked <= 120, "each request asks three times at most: {asked}");
    // Now that everybody knows, nobody asks any more, and no account is blamed.
    join_all((0..40).map(|_| app.ask("/v1/messages", &body))).await.iter().for_each(refused);
    assert_eq!(app.gitlab.requests_of(Call::Messages).len(), asked);
    for name in names {
        let account = app.account(name).await;
        assert_eq!((&account["trouble"], &account["blocked_models"]), (&json!(null), &json!({})), "{account}");
    }
    app.gitlab.clear_rules();
    clock.advance(Duration::from_secs(31));
    for answer in join_all((0..40).map(|_| app.ask("/v1/messages", &body))).await {
        assert_whole(&answer);
    }
    app.at_rest().await;
}
