use std::time::Duration;

use actix_web::http::Method;
use serde_json::{Value, json};

use super::{ADA, GRACE, LINUS, NOW, Rig, THIRD_PARTY};
use crate::simulator::{ChatModel, Entitlement, Standing};

const CODE_SUGGESTIONS: &str = "/api/v4/code_suggestions/direct_access";

#[actix::test]
async fn a_token_tells_who_it_is_in_either_header() {
    let rig = Rig::new().await;
    let user = rig.api(Method::GET, "/api/v4/user", ADA, &json!({})).await.json();
    assert_eq!((&user["id"], &user["username"]), (&json!(101), &json!("ada")));
    let request = rig.client.get(format!("{}/api/v4/user", rig.running.url()));
    let got = super::read(request.insert_header(("private-token", GRACE)), String::new()).await;
    assert_eq!(got.json()["username"], "grace");
    let token = rig.api(Method::GET, "/api/v4/personal_access_tokens/self", LINUS, &json!({})).await.json();
    assert_eq!(token["scopes"], json!(["api"]));
    assert_eq!((&token["active"], &token["revoked"], &token["user_id"]), (&json!(true), &json!(false), &json!(103)));
    let groups = rig.api(Method::GET, "/api/v4/groups?top_level_only=true", ADA, &json!({})).await.json();
    assert_eq!((&groups[0]["id"], &groups[0]["parent_id"]), (&json!(1101), &Value::Null));
}

#[actix::test]
async fn a_token_that_is_unknown_revoked_expired_or_too_narrow_is_refused_in_gitlabs_words() {
    let rig = Rig::new().await;
    let user = async || rig.api(Method::GET, "/api/v4/user", ADA, &json!({})).await;
    rig.api(Method::GET, "/api/v4/user", "glpat-x", &json!({}))
        .await
        .expect(401, &json!({"message": "401 Unauthorized"}));
    let handle = &rig.running.handle;
    handle.change_account("ada", |ada| ada.token.scopes = vec!["ai_features".to_owned()]).unwrap();
    let got = user().await;
    assert_eq!((got.status, &got.json()["error"]), (403, &json!("insufficient_scope")));
    rig.mint(ADA).await;
    handle.change_account("ada", |ada| ada.token.expires_at = Some("2026-11-23".to_owned())).unwrap();
    rig.mint(ADA).await;
    rig.clock.advance(Duration::from_hours(24));
    let told = "Token is expired. You can either do re-authorization or token refresh.";
    user().await.expect(401, &json!({"error": "invalid_token", "error_description": told}));
    handle.change_account("ada", |ada| ada.token.revoked = true).unwrap();
    let told = "Token was revoked. You have to re-authorize from the user.";
    user().await.expect(401, &json!({"error": "invalid_token", "error_description": told}));
}

#[actix::test]
async fn direct_access_hands_out_a_fresh_token_with_its_headers() {
    let rig = Rig::new().await;
    let (first, second) = (rig.mint(ADA).await, rig.mint(ADA).await);
    assert_ne!(first.token, second.token);
    assert_eq!(first.token.split('.').count(), 3);
    assert_eq!(first.expires_at, NOW.as_secs() + 3_600);
    let header = |name: &str| first.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str());
    assert_eq!(header("x-gitlab-unit-primitive"), Some("ai_gateway_model_provider_proxy"));
    assert_eq!(header("x-gitlab-realm"), Some("saas"));
    assert_eq!(header("x-gitlab-root-namespace-id"), Some("1101"));
    assert_eq!(header("x-gitlab-enabled-feature-flags"), Some(""));
    rig.running.handle.change_instance(|instance| instance.grant_lifetime_s = 60);
    assert_eq!(rig.mint(ADA).await.expires_at, NOW.as_secs() + 60);
}

#[actix::test]
async fn direct_access_refuses_in_every_way_that_gitlab_does() {
    let rig = Rig::new().await;
    let cases = [
        (Entitlement::NotEntitled, 403, "403 Forbidden", 401),
        (Entitlement::MissingNamespace, 503, "Missing default GitLab Duo namespace user preference", 422),
        (Entitlement::FeaturesDisabled, 503, "GitLab Duo features are disabled for the billing namespace", 401),
        (Entitlement::TokenCreationFailed, 503, "Token creation failed", 503),
        (Entitlement::TokenMissing, 503, "Token is missing in response", 503),
        (Entitlement::GatewayUnreachable, 503, "An HTTP error occurred when creating a Direct Access Token.", 503),
    ];
    for (entitlement, status, told, completion_status) in cases {
        rig.running.handle.change_account("ada", |ada| ada.entitlement = entitlement).unwrap();
        let got = rig.api(Method::POST, THIRD_PARTY, ADA, &json!({})).await;
        got.expect(status, &json!({ "message": told }));
        assert_eq!(rig.api(Method::POST, CODE_SUGGESTIONS, ADA, &json!({})).await.status, completion_status);
    }
    let out = rig.api(Method::POST, CODE_SUGGESTIONS, LINUS, &json!({})).await;
    assert_eq!((out.status, &out.json()["error_code"]), (402, &json!("USAGE_QUOTA_EXCEEDED")));
    rig.running.handle.change_instance(|instance| instance.direct_connections = false);
    assert_eq!(rig.api(Method::POST, THIRD_PARTY, GRACE, &json!({})).await.status, 403);
    rig.running.handle.change_instance(|instance| instance.too_old = true);
    rig.api(Method::POST, THIRD_PARTY, GRACE, &json!({})).await.expect(404, &json!({ "error": "404 Not Found" }));
}

#[actix::test]
async fn code_suggestions_report_the_gateway() {
    let rig = Rig::new().await;
    let got = rig.api(Method::POST, CODE_SUGGESTIONS, ADA, &json!({})).await.json();
    assert_eq!(got["base_url"], rig.running.gateway_url());
    assert_eq!(got["model_details"]["model_provider"], "fireworks_ai");
    assert_eq!(got["headers"].get("x-gitlab-unit-primitive"), None);
    let other = "https://gateway.example.com".to_owned();
    rig.running.handle.change_instance(|instance| instance.reported_gateway = Some(other.clone()));
    assert_eq!(rig.api(Method::POST, CODE_SUGGESTIONS, ADA, &json!({})).await.json()["base_url"], other);
}

#[actix::test]
async fn graphql_tells_the_models_of_the_own_namespace() {
    let rig = Rig::new().await;
    let pin = |standing: &mut Standing| standing.models.pinned = Some(ChatModel::new("Opus", "claude_opus_5"));
    rig.running.handle.change_account("ada", pin).unwrap();
    let query = "query($rootNamespaceId: GroupID!) { metadata { version }
        aiChatAvailableModels(rootNamespaceId: $rootNamespaceId) {
            defaultModel { name ref } selectableModels { ref } pinnedModel { ref } } }";
    let ask = async |group: &str| {
        let variables = json!({ "rootNamespaceId": group });
        rig.api(Method::POST, "/api/graphql", ADA, &json!({ "query": query, "variables": variables })).await.json()
    };
    let data = ask("gid://gitlab/Group/1101").await;
    assert_eq!(data["data"]["metadata"]["version"], "19.6.0-ee");
    let models = &data["data"]["aiChatAvailableModels"];
    assert_eq!(models["defaultModel"]["ref"], "claude_sonnet_4_6_vertex");
    assert_eq!(models["selectableModels"][2], json!({ "ref": "gpt_5_6_sol" }));
    assert_eq!(models["pinnedModel"], json!({ "ref": "claude_opus_5" }));
    assert_eq!(ask("gid://gitlab/Group/1").await["data"]["aiChatAvailableModels"], Value::Null);

    let query = "{ currentUser { userPreferences { duoDefaultNamespace { id } } } }";
    let got = rig.api(Method::POST, "/api/graphql", ADA, &json!({ "query": query })).await.json();
    let namespace = &got["data"]["currentUser"]["userPreferences"]["duoDefaultNamespace"];
    assert_eq!(namespace, &json!({ "id": "gid://gitlab/Group/1101" }));
    let got = rig.api(Method::POST, "/api/graphql", "glpat-x", &json!({ "query": query })).await;
    got.expect(401, &json!({ "errors": [{ "message": "Invalid token" }] }));
}

#[actix::test]
async fn an_instance_may_live_below_a_path() {
    let rig = Rig::with(|settings| settings.path_prefix = "/gitlab/".to_owned()).await;
    assert!(rig.running.url().ends_with("/gitlab"));
    assert_eq!(rig.api(Method::GET, "/api/v4/user", ADA, &json!({})).await.status, 200);
    let outside = format!("http://{}/api/v4/user", rig.running.address());
    assert_eq!(rig.client.get(outside).bearer_auth(ADA).send().await.unwrap().status().as_u16(), 404);
}
