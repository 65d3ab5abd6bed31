use std::time::Duration;

use actix_web::http::Method;
use serde_json::{Value, json};

use super::{ADA, CHAT, GRACE, Held, LINUS, MESSAGES, RESPONSES, Rig, message, read};
use crate::simulator::{Call, Credit, Deployment, Ending, fingerprint};

const CODE_SUGGESTIONS: &str = "/api/v4/code_suggestions/direct_access";

fn error(text: &str) -> Value {
    json!({ "error": text })
}

fn detail(text: &str) -> Value {
    json!({ "detail": text })
}

/// Mends one fault after the other: each answer must be about the earliest fault that is left.
#[actix::test]
async fn checks_come_in_the_gateways_order() {
    let rig = Rig::new().await;
    let handle = &rig.running.handle;
    let held = rig.mint(LINUS).await;
    handle.change_account("linus", |linus| linus.proxies_enabled = false).unwrap();
    let bare = Held { headers: Vec::new(), ..held.clone() };
    let url = format!("{}/v1/proxy/anthropic/v1/nothing", rig.running.gateway_url());
    let anonymous = read(rig.client.post(&url), "no json".to_owned()).await;
    anonymous.expect(401, &error("No authorization header presented"));
    let basic = read(rig.client.post(&url).basic_auth("a", "b"), "no json".to_owned()).await;
    basic.expect(401, &error("Invalid authorization header"));
    let send = async |path: &str, held: &Held, body: &str| read(rig.request(path, held), body.to_owned()).await;
    let nothing = "/v1/proxy/anthropic/v1/nothing";
    let got = send(nothing, &bare, "no json").await;
    got.expect(401, &error("Invalid authentication token type - only OIDC is supported"));
    let forged = Held { token: "a.b.c".to_owned(), ..held.clone() };
    send(nothing, &forged, "no json").await.expect(401, &error("Forbidden by auth provider"));
    let wrong = held.clone().with("x-gitlab-realm", "self-managed").with("x-gitlab-unit-primitive", "nonsense");
    send(nothing, &wrong, "no json").await.expect(401, &error("Header mismatch 'X-Gitlab-Realm'"));
    let wrong = wrong.with("x-gitlab-realm", "saas").with("x-gitlab-namespace-id", "1");
    let got = send(nothing, &wrong, "no json").await;
    got.expect(402, &detail("Proxy endpoints are not enabled for this namespace"));
    handle.change_account("linus", |linus| linus.proxies_enabled = true).unwrap();
    send(nothing, &wrong, "no json").await.expect(400, &detail("Unknown unit primitive header nonsense"));
    let wrong = wrong.with("x-gitlab-unit-primitive", "ai_gateway_model_provider_proxy");
    send(nothing, &wrong, "no json").await.expect(403, &detail("Gitlab namespace id mismatch"));
    send(nothing, &held, "no json").await.expect(404, &detail("Not found"));
    send(MESSAGES, &held, "no json").await.expect(400, &detail("Invalid JSON"));
    send(MESSAGES, &held, "{}").await.expect(400, &detail("Failed to extract model name"));
    send(MESSAGES, &held, r#"{"model":"claude-3"}"#).await.expect(400, &detail("Unsupported model"));
    let body = r#"{"model":"claude-opus-5"}"#;
    let quota = send(MESSAGES, &held, body).await;
    let told = "Consumer does not have sufficient credits for this request";
    let exhausted = json!({ "error": "insufficient_credits", "error_code": "USAGE_QUOTA_EXCEEDED", "message": told });
    quota.expect(402, &exhausted);
    handle.set_credit("linus", Credit::Available).unwrap();
    assert_eq!(send(MESSAGES, &held, body).await.json()["error"]["message"], "max_tokens: Field required");
    assert_eq!(rig.ask(MESSAGES, &held, &message("hello")).await.status, 200);
}

#[actix::test]
async fn every_header_of_a_grant_must_come_back_as_it_was() {
    let rig = Rig::new().await;
    let held = rig.mint(ADA).await;
    assert!(held.headers.len() > 15);
    for (name, _) in &held.headers {
        let changed = held.clone().with(name, "changed");
        let got = rig.ask(MESSAGES, &changed, &message("hello")).await;
        assert!(matches!(got.status, 400 | 401 | 403), "{name}: {}", got.status);
        let mut missing = held.clone();
        missing.headers.retain(|(known, _)| known != name);
        let got = rig.ask(MESSAGES, &missing, &message("hello")).await;
        assert!(matches!(got.status, 400 | 401 | 403), "{name}: {}", got.status);
    }
    let grace = rig.mint(GRACE).await;
    let mixed = Held { token: held.token, ..grace };
    assert_eq!(rig.ask(MESSAGES, &mixed, &message("hello")).await.status, 401);
}

#[actix::test]
async fn a_code_completion_grant_opens_the_proxies_on_self_managed_instances_only() {
    for (deployment, wanted) in [(Deployment::GitlabCom, 403), (Deployment::SelfManaged, 200)] {
        let rig = Rig::with(|settings| settings.instance.deployment = deployment).await;
        let minted = rig.api(Method::POST, CODE_SUGGESTIONS, ADA, &json!({})).await.json();
        let held = Held::of(&minted);
        let got = rig.ask(MESSAGES, &held, &message("hello")).await;
        got.expect(400, &detail("Missing x-gitlab-unit-primitive header"));
        let held = held.with("x-gitlab-unit-primitive", "ai_gateway_model_provider_proxy");
        assert_eq!(rig.ask(MESSAGES, &held, &message("hello")).await.status, wanted);
        let proper = rig.mint(ADA).await;
        assert_eq!(rig.ask(MESSAGES, &proper, &message("hello")).await.status, 200);
    }
}

#[actix::test]
async fn paths_and_queries_match_to_the_letter() {
    let rig = Rig::new().await;
    let held = rig.mint(ADA).await;
    let count = json!({ "model": "claude-opus-5", "messages": [{ "role": "user", "content": "hi" }] });
    let gpt = json!({ "model": "gpt-5.1", "input": "hi" });
    let cases = [
        ("/v1/proxy/anthropic/v1/messages?beta=true", message("hi"), 200),
        ("/v1/proxy/anthropic/v1/messages?beta=false", message("hi"), 404),
        ("/v1/proxy/anthropic/v1/messages/", message("hi"), 404),
        ("/v1/proxy/anthropic/v1/messages/count_tokens?beta=true", count.clone(), 200),
        ("/v1/proxy/anthropic/v1/messages/count_tokens", count, 404),
        ("/v1/proxy/openai/v1/responses", gpt.clone(), 200),
        ("/v1/proxy/openai/v1/responses?beta=true", gpt.clone(), 404),
        ("/v1/proxy/openai/v1/responses/compact", gpt.clone(), 404),
        ("/v1/proxy/openai/v1/completions", gpt.clone(), 404),
        ("/v1/proxy/openai/v1/models", gpt, 405),
        ("/v1/other", json!({}), 404),
    ];
    for (path, body, status) in cases {
        assert_eq!(rig.ask(path, &held, &body).await.status, status, "{path}");
    }
}

#[actix::test]
async fn only_the_listed_models_of_a_provider_are_served() {
    let rig = Rig::new().await;
    let held = rig.mint(ADA).await;
    for model in ["claude-fable-5-1", "claude-sonnet-4-5", "gpt-5.1", "claude_sonnet_4_6_vertex"] {
        let got = rig.ask(MESSAGES, &held, &super::and(&message("hi"), &json!({ "model": model }))).await;
        got.expect(400, &detail("Unsupported model"));
    }
    for model in ["gpt-6-astra", "gpt-5-codex", "claude-opus-5", "gpt-5.5"] {
        let got = rig.ask(RESPONSES, &held, &json!({ "model": model, "input": "hi" })).await;
        got.expect(400, &detail("Unsupported model"));
    }
}

#[actix::test]
async fn credit_is_per_account_and_per_model() {
    let rig = Rig::new().await;
    let held = rig.mint(ADA).await;
    rig.running.handle.set_model_credit("ada", "claude-opus-5", Credit::Exhausted).unwrap();
    let opus = super::and(&message("hi"), &json!({ "model": "claude-opus-5" }));
    assert_eq!(rig.ask(MESSAGES, &held, &opus).await.status, 402);
    assert_eq!(rig.ask(MESSAGES, &held, &message("hi")).await.status, 200);
    let grace = rig.mint(GRACE).await;
    assert_eq!(rig.ask(MESSAGES, &grace, &opus).await.status, 200);
    rig.running.handle.set_credit("grace", Credit::NotEntitled).unwrap();
    let got = rig.ask(MESSAGES, &grace, &opus).await;
    assert_eq!((got.status, &got.json()["error_code"]), (403, &json!("USAGE_QUOTA_NOT_ENTITLED")));
}

#[actix::test]
async fn a_revoked_or_expired_grant_is_forbidden_and_a_new_one_works() {
    let rig = Rig::new().await;
    let (ada, grace) = (rig.mint(ADA).await, rig.mint(GRACE).await);
    rig.running.handle.revoke_grants(Some("ada")).unwrap();
    rig.ask(MESSAGES, &ada, &message("hi")).await.expect(401, &error("Forbidden by auth provider"));
    assert_eq!(rig.ask(MESSAGES, &grace, &message("hi")).await.status, 200);
    let renewed = rig.mint(ADA).await;
    assert_eq!(rig.ask(MESSAGES, &renewed, &message("hi")).await.status, 200);
    rig.clock.advance(Duration::from_hours(1));
    rig.ask(MESSAGES, &grace, &message("hi")).await.expect(401, &error("Forbidden by auth provider"));
}

#[actix::test]
async fn what_arrived_can_be_read_back_without_its_secrets() {
    let rig = Rig::new().await;
    let held = rig.mint(ADA).await;
    rig.ask(&format!("{MESSAGES}?beta=true"), &held, &message("hi")).await;
    let handle = &rig.running.handle;
    let record = handle.arrived(|record| record.call == Call::Messages && record.ending == Ending::Complete).await;
    assert_eq!(record.account.as_deref(), Some("ada"));
    assert_eq!(
        (record.method.as_str(), record.target.as_str()),
        ("POST", "/ai/v1/proxy/anthropic/v1/messages?beta=true")
    );
    assert_eq!(record.header("authorization"), Some("***"));
    assert_eq!(record.header("x-gitlab-user-id"), Some("101"));
    assert_eq!(record.credential, Some(fingerprint(&held.token)));
    assert_eq!((record.grant, record.status, record.json()), (Some(1), Some(200), message("hi")));
    let mints = handle.requests_of(Call::ThirdPartyDirectAccess);
    assert_eq!(mints[0].credential, Some(fingerprint(ADA)));
    let everything = format!("{:?}", handle.requests()) + &serde_json::to_string(&handle.requests()).unwrap();
    assert!(!everything.contains(ADA) && !everything.contains(&held.token));
    handle.keep_requests(false);
    rig.ask(CHAT, &held, &json!({})).await;
    assert_eq!((handle.requests().len(), handle.gauges().requests), (0, 3));
}
