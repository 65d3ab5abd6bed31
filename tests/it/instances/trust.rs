//! Whose certificates are trusted, and what is said of those that are not.

use std::sync::Arc;
use std::time::Duration;

use duopool::domain::time::{TestClock, Timestamp};
use duopool::simulator::{Call, Effect, Rule};

use super::{add, assert_answers, assert_refused, assert_serves, behind_tls, restart_with, table, trusting};
use crate::support::requests::{SONNET, messages};
use crate::support::tls::{Authority, Front, self_signed, self_signed_and_expired};
use crate::support::told::told;
use crate::support::{TestApp, simulated};

/// 2026-11-22 00:00 UTC.
const START: Timestamp = Timestamp::from_secs(1_795_305_600);

#[actix::test]
async fn a_gitlab_with_an_authority_of_its_own_works_with_its_ca_file() {
    let authority = Authority::new("Corp");
    let (mut app, front) = behind_tls(authority.issue("localhost")).await;
    let (url, ca_file) = (front.url("localhost"), authority.file(app.folder()));
    restart_with(&mut app, vec![trusting(&url, &ca_file)]).await;
    assert_serves(&app, &url).await;
    assert!(front.connections() > 0);
}

#[actix::test]
async fn a_certificate_that_signs_itself_works_with_itself_as_ca_file() {
    let folder = tempfile::tempdir().expect("a folder");
    let (identity, ca_file) = self_signed("localhost", folder.path());
    let (mut app, front) = behind_tls(identity).await;
    let url = front.url("localhost");
    restart_with(&mut app, vec![trusting(&url, &ca_file)]).await;
    assert_serves(&app, &url).await;
    // For its own name, that is.
    let elsewhere = front.url("127.0.0.1");
    restart_with(&mut app, vec![trusting(&elsewhere, &ca_file)]).await;
    assert_refused(&app, &elsewhere, "certificate_wrong_host").await;
}

#[actix::test]
async fn without_its_ca_file_it_is_said_which_setting_is_missing() {
    let folder = tempfile::tempdir().expect("a folder");
    for identity in [Authority::new("Corp").issue("localhost"), self_signed("localhost", folder.path()).0] {
        let (app, front) = behind_tls(identity).await;
        let url = front.url("localhost");
        let problem = assert_refused(&app, &url, "certificate_untrusted").await;
        let (detail, fix) = (problem["detail"].as_str().expect("a text"), problem["fix"].as_str().expect("a text"));
        assert!(detail.contains("not signed by an authority") && detail.contains(&url[8..]), "{detail}");
        assert!(fix.contains("`ca_file`") && fix.contains("duopool.toml"), "{fix}");
        assert_eq!(front.connections(), 0);
    }
}

#[actix::test]
async fn certificates_that_have_ended_or_are_for_others_are_told_apart() {
    let authority = Authority::new("Corp");
    let folder = tempfile::tempdir().expect("a folder");
    let ca_file = authority.file(folder.path());
    let (ended, ended_file) = self_signed_and_expired("localhost", folder.path());
    for (identity, ca_file, reason, words) in [
        (authority.issue_expired("localhost"), &ca_file, "certificate_expired", "expired"),
        (authority.issue_too_early("localhost"), &ca_file, "certificate_expired", "not valid"),
        (authority.issue("gitlab.elsewhere.test"), &ca_file, "certificate_wrong_host", "gitlab.elsewhere.test"),
        (ended, &ended_file, "certificate_expired", "expired"),
        (Authority::new("Other").issue("localhost"), &ca_file, "certificate_untrusted", "authority"),
    ] {
        let (mut app, front) = behind_tls(identity).await;
        let url = front.url("localhost");
        restart_with(&mut app, vec![trusting(&url, ca_file)]).await;
        let problem = assert_refused(&app, &url, reason).await;
        assert!(problem["detail"].as_str().is_some_and(|detail| detail.contains(words)), "{words}: {problem}");
    }
}

#[actix::test]
async fn a_gateway_that_is_not_trusted_is_told_to_clients_and_to_operators() {
    let authority = Authority::new("Corp");
    let (mut app, front) = behind_tls(authority.issue("localhost")).await;
    let (url, ca_file) = (front.url("localhost"), authority.file(app.folder()));
    let strange = Front::start(Authority::new("Other").issue("localhost"), app.gitlab_address()).await;
    let mut own = trusting(&url, &ca_file);
    own.gateway_url = Some(format!("{}/ai", strange.url("localhost")));
    restart_with(&mut app, vec![own]).await;
    let added = add(&app, &url).await;
    assert_eq!(added.status, 201, "{}", added.text());
    let answer = app.ask("/v1/messages", &messages(SONNET, true)).await;
    let message = told("/v1/messages", &answer, 503, "a gateway that is not trusted");
    assert!(message.contains("certificate"), "{message}");
    let id = added.json()["id"].as_str().expect("an id").to_owned();
    let test = app.admin("POST", &format!("/admin/v1/accounts/{id}/test")).send().await;
    assert!(test.text().contains("`ca_file`"), "{}", test.text());
}

#[actix::test]
async fn two_instances_each_have_their_own_authority() {
    let (left, right) = (Authority::new("Left"), Authority::new("Right"));
    let (mut app, left_front) = behind_tls(left.issue("localhost")).await;
    let other = simulated(&["ada"]).await;
    let right_front = Front::start(right.issue("localhost"), other.address()).await;
    let (left_url, right_url) = (left_front.url("localhost"), right_front.url("localhost"));
    let (left_file, right_file) = (left.file(app.folder()), right.file(app.folder()));
    restart_with(&mut app, vec![trusting(&left_url, &left_file), trusting(&right_url, &right_file)]).await;
    assert_serves(&app, &left_url).await;
    assert_serves(&app, &right_url).await;
    assert!(!other.handle.requests_of(Call::TokenSelf).is_empty());
    // The one's authority has no word at the other.
    restart_with(&mut app, vec![trusting(&left_url, &right_file), trusting(&right_url, &left_file)]).await;
    assert_refused(&app, &left_url, "certificate_untrusted").await;
    assert_refused(&app, &right_url, "certificate_untrusted").await;
}

#[actix::test]
async fn an_authority_may_be_named_for_all_instances_or_for_that_of_the_environment() {
    let authority = Authority::new("Corp");
    let (mut app, front) = behind_tls(authority.issue("localhost")).await;
    let (url, ca_file) = (front.url("localhost"), authority.file(app.folder()));
    app.restart(|layer| {
        layer.gitlab_base_url = Some(front.url("localhost"));
        layer.gitlab_ai_gateway_url = Some(format!("{}/ai", front.url("localhost")));
        layer.gitlab_ca_file = Some(ca_file.clone());
    })
    .await;
    assert_serves(&app, &url).await;
    app.restart(|layer| {
        layer.gitlab_base_url = None;
        layer.gitlab_ai_gateway_url = None;
        (layer.gitlab_ca_file, layer.ca_file) = (layer.ca_file.take(), layer.gitlab_ca_file.take());
    })
    .await;
    // Known from before; the gateway, which is set no more, is asked for and found by itself.
    app.account_when("ada", |account| account["health"] == "ready").await;
}

#[actix::test]
async fn logins_are_renewed_over_the_way_of_their_instance() {
    let authority = Authority::new("Corp");
    let clock = TestClock::at(START);
    let mut app = TestApp::start_at(&["ada"], Arc::new(clock.clone()), |_| {}).await;
    let front = Front::start(authority.issue("localhost"), app.gitlab_address()).await;
    let ca_file = authority.file(app.folder());
    app.gitlab_url = front.url("localhost");
    app.stop_and_store_login("ada").await;
    restart_with(&mut app, vec![trusting(&front.url("localhost"), &ca_file)]).await;
    app.account_when("ada", |account| account["health"] == "ready").await;
    clock.advance(Duration::from_hours(9));
    assert_answers(&app).await;
    app.account_when("ada", |account| account["login_generation"] == 2).await;
    assert_eq!(app.gitlab.tally("ada").expect("a user").refreshes_committed, 1);
}

#[actix::test]
async fn timeouts_of_an_instance_are_its_own() {
    let mut app = TestApp::start(&["ada"], |_| {}).await;
    let url = app.gitlab_url.clone();
    let mut hasty = table(&url);
    (hasty.head_timeout_stream_s, hasty.head_timeout_whole_s, hasty.idle_timeout_s) = (Some(1), Some(2), Some(1));
    restart_with(&mut app, vec![hasty]).await;
    app.add("ada").await;
    app.gitlab.add_rule(Rule::always(Effect::Hang).on(Call::Messages));
    for stream in [true, false] {
        let answer = app.ask("/v1/messages", &messages(SONNET, stream)).await;
        told("/v1/messages", &answer, 504, "an instance that is waited for a second");
    }
    app.gitlab.clear_rules();
    app.gitlab.add_rule(Rule::always(Effect::Stall { after: 4 }).on(Call::Messages));
    let answer = app.ask("/v1/messages", &messages(SONNET, true)).await;
    assert!(answer.text().contains("no answer came in time"), "{}", answer.text());
}
