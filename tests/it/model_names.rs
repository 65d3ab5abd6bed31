//! Names of models: how they are listed, where they lead, and what becomes of those that lead nowhere.

use duopool::simulator::ChatModel;
use serde_json::{Value, json};

use crate::support::ask::{chat, count, messages, responses};
use crate::support::said::string;
use crate::support::{Answer, TestApp};

const SONNET: &str = "claude-sonnet-4-6";
/// A model that the gateway offers in Chat Completions and in Responses.
const GPT: &str = "gpt-5.5-2026-04-23";
/// A model that it offers in Responses alone.
const GPT_RESPONSES: &str = "gpt-5.6-sol";

#[actix::test]
async fn an_answer_names_the_model_that_gave_it_and_not_the_name_it_was_asked_by() {
    let app = TestApp::with_accounts(&["ada"]).await;
    for (path, body, name) in [
        ("/v1/messages", messages("claude-sonnet-4.6"), SONNET),
        ("/v1/chat/completions", chat("claude-sonnet-4.6"), SONNET),
        ("/v1/chat/completions", chat("gpt-5.5"), GPT),
        ("/v1/responses", responses("gpt-5.5"), GPT),
        ("/v1/messages", messages("claude-3-5-haiku-latest"), "claude-haiku-4-5-20251001"),
    ] {
        let answer = app.ask(path, &body).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        assert_eq!(answer.json()["model"], name, "{path}");
        assert_eq!(answer.header("x-duopool-model"), Some(name), "{path}");
    }
}

#[actix::test]
async fn models_are_listed_in_the_shape_of_the_caller() {
    let app = TestApp::with_accounts(&["ada"]).await;
    let openai = app.request("GET", "/v1/models").send().await.json();
    let anthropic =
        app.request("GET", "/v1/models?limit=1000").header("anthropic-version", "2023-06-01").send().await.json();
    let names = |list: &Value| -> Vec<String> {
        list["data"].as_array().expect("data").iter().map(|model| string(&model["id"])).collect()
    };
    assert_eq!(openai["object"], "list");
    assert_eq!(names(&openai), names(&anthropic));
    for wanted in ["gitlab-duo", SONNET, GPT, GPT_RESPONSES] {
        assert!(names(&openai).iter().any(|name| name == wanted), "{wanted}");
    }
    for model in openai["data"].as_array().expect("data") {
        assert_eq!(model["object"], "model");
        assert!(model["created"].as_u64() > Some(1_700_000_000) && model["owned_by"].is_string(), "{model}");
    }
    assert_eq!(anthropic["has_more"], false);
    assert_eq!(anthropic["first_id"], anthropic["data"][0]["id"]);
    assert_eq!(anthropic["last_id"].as_str(), names(&anthropic).last().map(String::as_str));
    for model in anthropic["data"].as_array().expect("data") {
        assert_eq!((&model["type"], &model["lifecycle"]), (&json!("model"), &json!("active")));
        assert!(model["display_name"].is_string() && model["created_at"].as_str().is_some_and(|at| at.ends_with('Z')));
    }
}

#[actix::test]
async fn one_model_is_found_by_name_or_alias_and_an_unknown_one_is_a_404() {
    let app = TestApp::with_accounts(&["ada"]).await;
    for (asked, name) in
        [(SONNET, SONNET), ("claude-sonnet-4.6", SONNET), ("gpt-5.5", GPT), ("gitlab-duo", "gitlab-duo")]
    {
        let openai = app.request("GET", &format!("/v1/models/{asked}")).send().await;
        assert_eq!((openai.status, openai.json()["id"].as_str()), (200, Some(name)), "{asked}");
        assert_eq!(openai.json()["object"], "model");
        let anthropic =
            app.request("GET", &format!("/v1/models/{asked}")).header("anthropic-version", "2023-06-01").send().await;
        assert_eq!((anthropic.status, anthropic.json()["id"].as_str()), (200, Some(name)), "{asked}");
        assert_eq!(anthropic.json()["type"], "model");
    }
    for unknown in ["claude-sonnet-99", "llama", "a/b", "%ff", "..%2f..%2fadmin"] {
        let openai = app.request("GET", &format!("/v1/models/{unknown}")).send().await;
        assert_eq!(openai.status, 404, "{unknown}: {}", openai.text());
        assert_eq!(openai.json()["error"]["code"], "model_not_found", "{unknown}");
        let anthropic =
            app.request("GET", &format!("/v1/models/{unknown}")).header("anthropic-version", "2023-06-01").send().await;
        assert_eq!(anthropic.status, 404, "{unknown}");
        assert_eq!(anthropic.json()["error"]["type"], "not_found_error", "{unknown}");
        assert_eq!(anthropic.json()["request_id"].as_str(), anthropic.header("x-request-id"));
    }
}

#[actix::test]
async fn gitlab_duo_is_the_accounts_own_model_on_every_route() {
    // Without a pin, GitLab's default decides; it is on Vertex, which has no proxy, so the catalogue's default does.
    let app = TestApp::with_accounts(&["ada"]).await;
    for (path, body) in [
        ("/v1/messages", messages("gitlab-duo")),
        ("/v1/responses", responses("gitlab-duo")),
        ("/v1/chat/completions", chat("gitlab-duo")),
    ] {
        let answer = app.ask(path, &body).await;
        assert_eq!((answer.status, answer.header("x-duopool-model")), (200, Some(SONNET)), "{path}: {}", answer.text());
    }
    let counted = app.ask("/v1/messages/count_tokens", &count("gitlab-duo")).await;
    assert_eq!((counted.status, counted.header("x-duopool-model")), (200, Some(SONNET)));
}

/// Starts with one account, for which an administrator pinned the model that GitLab calls `reference`.
async fn with_pinned(reference: &str, model: &str) -> TestApp {
    let app = TestApp::start(&["ada"], |_| {}).await;
    let pinned = Some(ChatModel::new(reference, reference));
    app.gitlab.change_account("ada", |standing| standing.models.pinned = pinned).expect("the account is there");
    app.add("ada").await;
    app.account_when("ada", |account| account["current_model"] == model).await;
    app
}

#[actix::test]
async fn gitlab_duo_is_a_gpt_model_where_one_is_pinned() {
    let app = with_pinned("gpt_5_5", GPT).await;
    for (path, body) in [
        ("/v1/messages", messages("gitlab-duo")),
        ("/v1/responses", responses("gitlab-duo")),
        ("/v1/chat/completions", chat("gitlab-duo")),
    ] {
        let answer = app.ask(path, &body).await;
        assert_eq!((answer.status, answer.header("x-duopool-model")), (200, Some(GPT)), "{path}: {}", answer.text());
    }
    let counted = app.ask("/v1/messages/count_tokens", &count("gitlab-duo")).await;
    assert_eq!(counted.status, 200, "a count for GPT is an estimate: {}", counted.text());
    assert!(counted.json()["input_tokens"].as_u64() > Some(0));

    let app = with_pinned("gpt_5_6_sol", GPT_RESPONSES).await;
    for (path, body) in [("/v1/responses", responses("gitlab-duo")), ("/v1/chat/completions", chat("gitlab-duo"))] {
        let answer = app.ask(path, &body).await;
        assert_eq!((answer.status, answer.header("x-duopool-model")), (200, Some(GPT_RESPONSES)), "{path}");
    }
}

#[actix::test]
async fn an_unknown_model_is_a_404_and_where_families_do_not_help_out_so_is_a_new_one() {
    let mut app = TestApp::with_accounts(&["ada"]).await;
    for (path, body) in [
        ("/v1/messages", messages("llama-4")),
        ("/v1/chat/completions", chat("llama-4")),
        ("/v1/responses", responses("llama-4")),
        ("/v1/messages/count_tokens", count("llama-4")),
        ("/v1/messages", messages("")),
        ("/v1/messages", messages("claude-nobody-knows")),
    ] {
        let answer = app.ask(path, &body).await;
        assert_eq!(answer.status, 404, "{path}: {}", answer.text());
        not_found(path, &answer, &body);
    }
    app.restart(|layer| layer.model_fallback = Some("off".to_owned())).await;
    app.gitlab.clear_requests();
    for (path, body) in [
        ("/v1/messages", messages("claude-haiku-5-5")),
        ("/v1/chat/completions", chat("claude-haiku-5-5")),
        ("/v1/responses", responses("gpt-6-sol")),
        ("/v1/messages/count_tokens", count("claude-haiku-5-5")),
    ] {
        let answer = app.ask(path, &body).await;
        assert_eq!(answer.status, 404, "{path}: {}", answer.text());
        not_found(path, &answer, &body);
    }
    let ready = app.ask("/v1/messages", &messages(SONNET)).await;
    assert_eq!(ready.status, 200, "an unsupported model is nobody's fault: {}", ready.text());
}

fn not_found(path: &str, answer: &Answer, body: &Value) {
    let error = &answer.json()["error"];
    let asked = body["model"].as_str().expect("a model");
    assert!(error["message"].as_str().is_some_and(|text| text.contains(&format!("`{asked}`"))), "{path}: {error}");
    if path.starts_with("/v1/messages") {
        assert_eq!(error["type"], "not_found_error", "{path}");
    } else {
        assert_eq!(error["code"], "model_not_found", "{path}");
    }
}
