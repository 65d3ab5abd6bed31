//! Names of models: how they are listed, where they lead, and what becomes of those that lead nowhere.

use duopool::config::AliasTable;
use duopool::simulator::{Call, ChatModel};
use serde_json::{Value, json};

use crate::support::ask::{chat, count, messages, responses, with};
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

fn rules(rules: &[(&str, &str)]) -> Vec<AliasTable> {
    let table =
        |(pattern, model): &(&str, &str)| AliasTable { pattern: (*pattern).to_owned(), model: (*model).to_owned() };
    rules.iter().map(table).collect()
}

async fn with_rules(list: &[(&str, &str)]) -> TestApp {
    let app = TestApp::start(&["ada"], |layer| layer.alias = Some(rules(list))).await;
    app.add("ada").await;
    app
}

#[actix::test]
async fn an_operators_rules_hold_on_every_route_and_exact_names_win() {
    let app =
        with_rules(&[("claude-*haiku*", "gpt-5.4-mini"), ("smart", "claude-sonnet-4.6"), ("*", "gitlab-duo")]).await;
    for (asked, served) in [
        ("claude-haiku-5-5", "gpt-5.4-mini"),
        ("claude-3-5-haiku-latest[1m]", "gpt-5.4-mini"),
        ("claude-haiku-4-5", "claude-haiku-4-5-20251001"),
        ("smart", SONNET),
        ("llama-4", SONNET),
    ] {
        for (path, body) in [
            ("/v1/messages", messages(asked)),
            ("/v1/responses", responses(asked)),
            ("/v1/chat/completions", chat(asked)),
        ] {
            let answer = app.ask(path, &body).await;
            assert_eq!(answer.status, 200, "{path} {asked}: {}", answer.text());
            assert_eq!(answer.header("x-duopool-model"), Some(served), "{path} {asked}");
            assert_eq!(answer.json()["model"], served, "{path} {asked}");
        }
        let counted = app.ask("/v1/messages/count_tokens", &count(asked)).await;
        let estimated = served.starts_with("gpt");
        assert_eq!(counted.status, 200, "{asked}: {}", counted.text());
        assert_eq!(counted.header("x-duopool-estimated").is_some(), estimated, "{asked}");
        let foreseen = app.admin("POST", "/admin/v1/route").json(&json!({ "model": asked })).send().await.json();
        assert_eq!(foreseen["chosen"]["model"], served, "{asked}: {foreseen}");
    }
    let foreseen = app.admin("POST", "/admin/v1/route").json(&json!({ "model": "claude-haiku-9(low)" })).send().await;
    let foreseen = foreseen.json();
    assert_eq!(
        (&foreseen["wanted"], &foreseen["rule"], &foreseen["effort"]),
        (&json!("gpt-5.4-mini"), &json!("claude-*haiku*"), &json!("low"))
    );
    let config = app.admin("GET", "/admin/v1/config").send().await.json();
    assert_eq!(config["alias"][0], json!({ "pattern": "claude-*haiku*", "model": "gpt-5.4-mini" }));
    for (asked, name) in [("claude-haiku-9", "gpt-5.4-mini"), ("smart", "smart"), ("claude-sonnet-4-6%5B1m%5D", SONNET)]
    {
        let found = app.request("GET", &format!("/v1/models/{asked}")).send().await;
        assert_eq!((found.status, found.json()["id"].as_str()), (200, Some(name)), "{asked}: {}", found.text());
    }
    let listed = app.request("GET", "/v1/models").send().await.json();
    let ids: Vec<_> = listed["data"].as_array().expect("data").iter().map(|model| string(&model["id"])).collect();
    assert!(ids.iter().any(|id| id == "smart") && !ids.iter().any(|id| id.contains('*')), "{ids:?}");
    let listed = app.admin("GET", "/admin/v1/models").send().await.json();
    let sonnet = listed["models"].as_array().expect("a list").iter().find(|model| model["name"] == SONNET).cloned();
    assert!(sonnet.expect("it is listed")["aliases"].as_array().expect("a list").contains(&json!("smart")));
}

#[actix::test]
async fn a_rule_that_leads_nowhere_keeps_the_server_from_starting_and_is_named() {
    let mut app = TestApp::with_accounts(&["ada"]).await;
    for (pattern, model, words) in
        [("a*", "llama", "the rule for `a*` leads to `llama`"), (SONNET, GPT, "is a model's own name")]
    {
        let refused = app.refused_restart(|layer| layer.alias = Some(rules(&[(pattern, model)]))).await.to_string();
        assert!(refused.contains(words) && refused.contains("setting `alias`"), "{refused}");
    }
}

#[actix::test]
async fn an_effort_in_a_models_name_is_asked_of_the_model_on_every_way() {
    let app = TestApp::with_accounts(&["ada"]).await;
    let effort_of = |call: Call, body: &Value| match call {
        Call::Responses => body["reasoning"]["effort"].clone(),
        Call::ChatCompletions => body["reasoning_effort"].clone(),
        _ => json!([body["thinking"]["type"], body["output_config"]["effort"]]),
    };
    let thinks = |word: &str| json!(["adaptive", word]);
    let given = |body: Value, more: Value| with(&body, &more);
    for (path, body, call, effort) in [
        ("/v1/messages", messages("claude-sonnet-4-6-high"), Call::Messages, thinks("high")),
        ("/v1/messages", messages("claude-opus-4-8[1m](xhigh)"), Call::Messages, thinks("xhigh")),
        ("/v1/messages", messages("gpt-5.5-high"), Call::Responses, json!("high")),
        ("/v1/messages", messages("claude-gpt-5.5:low"), Call::Responses, json!("low")),
        ("/v1/responses", responses("gpt-5.5-xhigh"), Call::Responses, json!("xhigh")),
        (
            "/v1/responses",
            given(responses("gpt-5.5(low)"), json!({ "reasoning": { "effort": "medium", "summary": "auto" } })),
            Call::Responses,
            json!("low"),
        ),
        ("/v1/responses", responses("claude-sonnet-4-6:max"), Call::Messages, thinks("max")),
        ("/v1/chat/completions", chat("claude-sonnet-4-6-low"), Call::Messages, thinks("low")),
    ] {
        app.gitlab.clear_requests();
        let answer = app.ask(path, &body).await;
        assert_eq!(answer.status, 200, "{path} {body}: {}", answer.text());
        let sent = app.gitlab.requests_of(call);
        assert_eq!(effort_of(call, &sent[0].json()), effort, "{path} {body}");
        let model = answer.header("x-duopool-model").expect("a model").to_owned();
        assert_eq!((&answer.json()["model"], &sent[0].json()["model"]), (&json!(model), &json!(model)));
    }
    let answer =
        app.ask("/v1/messages", &with(&messages("claude-sonnet-4-6-high"), &json!({ "temperature": 0 }))).await;
    assert_eq!(answer.header("x-duopool-dropped"), Some("temperature"));
    let counted = app.ask("/v1/messages/count_tokens", &count("claude-sonnet-4-6-high")).await;
    assert_eq!((counted.status, counted.header("x-duopool-model")), (200, Some(SONNET)), "{}", counted.text());
}

#[actix::test]
async fn gpt_models_are_listed_as_claude_models_on_request_and_found_by_these_names_always() {
    let mut app = TestApp::with_accounts(&["ada"]).await;
    let answer = app.ask("/v1/messages", &messages("claude-gpt-5.5")).await;
    assert_eq!((answer.status, answer.json()["model"].as_str()), (200, Some(GPT)), "{}", answer.text());
    app.restart(|layer| layer.list_as_claude = Some(true)).await;
    // As Claude Code asks, and what it keeps of the answer.
    let list =
        app.request("GET", "/v1/models?limit=1000").header("anthropic-version", "2023-06-01").send().await.json();
    let kept: Vec<Value> = list["data"].as_array().expect("data").clone();
    let kept: Vec<_> = kept.iter().filter(|model| string(&model["id"]).starts_with("claude")).collect();
    let named = |id: &str| kept.iter().find(|model| model["id"] == id).map(|model| string(&model["display_name"]));
    assert_eq!(named("claude-gpt-5.5").as_deref(), Some("GPT-5.5"));
    assert_eq!(named("claude-gpt-5.6-sol").as_deref(), Some("GPT-5.6 Sol"));
    assert!(named("claude-gitlab-duo").is_some() && named(SONNET).is_some(), "{kept:?}");
    for id in ["claude-gpt-5.5", "claude-gpt-5.6-sol", "claude-gitlab-duo"] {
        let answer = app.ask("/v1/messages", &messages(id)).await;
        assert_eq!(answer.status, 200, "{id}: {}", answer.text());
    }
    let one = app.request("GET", "/v1/models/claude-gpt-5.5").header("anthropic-version", "2023-06-01").send().await;
    assert_eq!(one.json()["id"], "claude-gpt-5.5");
    let openai = app.request("GET", "/v1/models").send().await.text();
    assert!(!openai.contains("claude-gpt"), "{openai}");
}

#[actix::test]
async fn anthropics_list_comes_in_pages_and_openais_whole() {
    let app = TestApp::with_accounts(&["ada"]).await;
    let ask = async |query: &str| {
        app.request("GET", &format!("/v1/models{query}")).header("anthropic-version", "2023-06-01").send().await
    };
    let ids = |page: &Value| -> Vec<String> {
        page["data"].as_array().expect("data").iter().map(|model| string(&model["id"])).collect()
    };
    let whole = ids(&ask("").await.json());
    let mut turned = Vec::new();
    let mut query = "?limit=7".to_owned();
    loop {
        let page = ask(&query).await.json();
        assert_eq!(page["first_id"], page["data"][0]["id"]);
        turned.extend(ids(&page));
        if page["has_more"] == false {
            break;
        }
        assert_eq!(ids(&page).len(), 7);
        query = format!("?limit=7&after_id={}", string(&page["last_id"]));
    }
    assert_eq!(turned, whole);
    let back = ask(&format!("?limit=2&before_id={}", whole[5])).await.json();
    assert_eq!((ids(&back), &back["has_more"]), (whole[3..5].to_vec(), &json!(true)));
    let end = ask(&format!("?after_id={}", whole.last().expect("a model"))).await.json();
    assert_eq!((ids(&end).len(), &end["has_more"], &end["last_id"]), (0, &json!(false), &Value::Null));
    let unknown = ask("?after_id=nobody").await;
    assert_eq!((unknown.status, &unknown.json()["error"]["type"]), (400, &json!("invalid_request_error")));
    assert_eq!(ids(&ask("?limit=none&beta=true").await.json()), whole);
    let openai = app.request("GET", "/v1/models?limit=1").send().await.json();
    assert_eq!(ids(&openai), whole);
}
