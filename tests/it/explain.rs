//! Why a request went where it went, and where one would go now.

use std::time::Duration;

use duopool::domain::secret::Secret;
use duopool::simulator::{Call, Credit, Effect, Rule};
use futures::future::join_all;
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};

use crate::support::requests::{GPT, HAIKU, SONNET, messages, responses};
use crate::support::{Answer, Machine, Open, Request, TestApp, simulated, token_of};

fn overloaded() -> Effect {
    Effect::json(
        529,
        &json!({ "type": "error", "error": { "type": "overloaded_error", "message": "zqxwv-says-the-model" } }),
    )
}

fn id(answer: &Answer) -> String {
    answer.header("x-request-id").expect("an id").to_owned()
}

/// Returns what is known of a request.
async fn explained(app: &TestApp, id: &str) -> Value {
    let answer = app.admin("GET", &format!("/admin/v1/requests/{id}")).send().await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()
}

/// Waits until a request came to `state`, and returns what is known of it then.
async fn explained_when(app: &TestApp, id: &str, state: &str) -> Value {
    let waiting = async {
        loop {
            let request = explained(app, id).await;
            if request["state"] == state {
                return request;
            }
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(Duration::from_secs(20), waiting).await.unwrap_or_else(|_| panic!("{id} never came to `{state}`"))
}

async fn foreseen(app: &TestApp, wish: &Value) -> Value {
    let answer = app.admin("POST", "/admin/v1/route").json(wish).send().await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()
}

/// Returns the verdict about the account called `name`.
fn verdict<'a>(look: &'a Value, name: &str) -> &'a Value {
    let candidates = look["candidates"].as_array().expect("candidates");
    candidates.iter().find(|one| one["name"] == name).unwrap_or_else(|| panic!("no {name}: {look}"))
}

/// Starts with Ada, who is asked first whenever she can be, and Grace.
async fn ada_before_grace() -> TestApp {
    let app = TestApp::start(&["ada", "grace"], |_| {}).await;
    app.add_with("ada", &json!({ "priority": 1 })).await;
    app.add("grace").await;
    app
}

/// Starts with five accounts of which one alone can serve, and the id of the answer that takes another one's only slot.
async fn five_accounts() -> (TestApp, Open) {
    let app = TestApp::start(&["ada", "grace", "linus", "alan", "edsger"], |_| {}).await;
    app.add_with("grace", &json!({ "priority": 2, "max_concurrency": 1 })).await;
    app.gitlab.add_rule(Rule::once(Effect::Stall { after: 4 }).on(Call::Messages));
    let mut held = app.open("/v1/messages", &messages(SONNET, true)).await;
    held.read_until("delta").await;
    app.add_with("ada", &json!({ "priority": 3 })).await;
    app.add("linus").await;
    app.add_with("alan", &json!({ "pool": "team" })).await;
    app.add_with("edsger", &json!({ "priority": 1 })).await;
    app.gitlab.set_model_credit("ada", SONNET, Credit::Exhausted).expect("ada is known");
    app.gitlab.change_account("edsger", |standing| standing.proxies_enabled = false).expect("edsger is known");
    assert_eq!(app.ask("/v1/messages", &messages(SONNET, false)).await.status, 200);
    app.account_when("edsger", |account| !account["trouble"].is_null()).await;
    app.account_when("ada", |account| !account["blocked_models"][SONNET].is_null()).await;
    (app, held)
}

#[actix::test]
async fn every_account_that_was_passed_over_has_its_reason() {
    let (app, held) = five_accounts().await;
    let answer = app.ask("/v1/messages", &messages(SONNET, false)).await;
    let request = explained(&app, &id(&answer)).await;
    assert_eq!((&request["state"], &request["name"]), (&json!("finished"), &json!("linus")), "{request}");
    assert_eq!(request["attempts"].as_array().map(Vec::len), Some(1), "{request}");
    for look in [&request["attempts"][0], &foreseen(&app, &json!({ "model": SONNET })).await] {
        assert_eq!(look["chosen"]["name"], "linus");
        assert_eq!(look["chosen"]["because"], "the only one that could serve");
        assert_eq!(verdict(look, "linus")["verdict"], "fit");
        let ada = verdict(look, "ada");
        assert_eq!(
            (&ada["verdict"], &ada["scope"], &ada["reason"]),
            (&json!("blocked"), &json!("model"), &json!("quota_exhausted"))
        );
        assert!(
            ada["until"].is_string() && ada["message"].as_str().is_some_and(|text| text.contains("GitLab Credits")),
            "{ada}"
        );
        let edsger = verdict(look, "edsger");
        assert_eq!((&edsger["verdict"], &edsger["scope"]), (&json!("blocked"), &json!("namespace")), "{edsger}");
        assert_eq!(verdict(look, "alan")["verdict"], "other_pool");
        let grace = verdict(look, "grace");
        assert_eq!(
            (&grace["verdict"], &grace["message"]),
            (&json!("full"), &json!("is full: 1 of 1 requests in flight"))
        );
    }
    drop(held);
}

#[actix::test]
async fn a_failover_shows_every_attempt_and_nothing_that_upstreams_or_clients_said() {
    let app = ada_before_grace().await;
    app.gitlab.add_rule(Rule::always(overloaded()).on(Call::Messages).by("ada"));
    for stream in [true, false] {
        let answer = app.ask("/v1/messages", &messages(SONNET, stream)).await;
        assert_eq!(answer.header("x-duopool-attempts"), Some("2"));
        let request = explained_when(&app, &id(&answer), "finished").await;
        let attempts = request["attempts"].as_array().expect("attempts");
        assert_eq!(attempts.len(), 2, "{request}");
        assert_eq!(attempts[0]["chosen"]["name"], "ada");
        assert_eq!(attempts[0]["chosen"]["because"], "the only one of the highest tier that could serve");
        let failure = json!({ "status": 529, "reason": "provider_error", "scope": "provider" });
        assert_eq!(attempts[0]["failure"], failure, "{request}");
        assert_eq!((&attempts[1]["chosen"]["name"], &attempts[1]["failure"]), (&json!("grace"), &Value::Null));
        assert_eq!(verdict(&attempts[1], "ada")["verdict"], "tried");
        assert_eq!(attempts[1]["first_content_ms"].is_u64(), stream, "{request}");
        assert!(
            request["message"].as_str().is_some_and(|text| text.starts_with("grace answered at attempt 2")),
            "{request}"
        );
        assert_eq!((&request["model"], &request["wanted"]), (&json!(SONNET), &json!(SONNET)));
        assert_eq!((&request["dialect"], &request["strategy"]), (&json!("messages"), &json!("balanced")));
        assert_eq!((&request["pools"], &request["key"]), (&json!(["default"]), &Value::Null));
        assert!(request["total_ms"].is_u64());
        let text = request.to_string();
        for said in ["zqxwv", "Hello!", &token_of("ada"), &token_of("grace")] {
            assert!(!text.contains(said), "{said}: {text}");
        }
    }
}

#[actix::test]
async fn a_stream_is_in_progress_until_it_ends_and_a_client_that_left_is_told() {
    let app = TestApp::with_accounts(&["ada"]).await;
    app.gitlab.add_rule(Rule::always(Effect::Stall { after: 5 }).on(Call::Messages));
    let mut open = app.open("/v1/messages", &messages(SONNET, true)).await;
    open.read_until("delta").await;
    let request = open.header("x-request-id").expect("an id").to_owned();
    let now = explained(&app, &request).await;
    assert_eq!((&now["state"], &now["total_ms"]), (&json!("in_progress"), &Value::Null), "{now}");
    assert_eq!(now["message"], "in progress on ada, attempt 1");
    assert_eq!(now["attempts"][0]["message"], "ada is answering");
    assert_eq!(verdict(&now["attempts"][0], "ada")["in_flight"], 0, "as it was when it was looked at");
    drop(open);
    let then = explained_when(&app, &request, "client_left").await;
    assert!(then["message"].as_str().is_some_and(|text| text.starts_with("the client left after ")), "{then}");

    app.gitlab.clear_rules();
    app.gitlab.add_rule(Rule::always(Effect::delay(Duration::ZERO, Duration::from_millis(40))).on(Call::Messages));
    let mut open = app.post("/v1/messages", &messages(SONNET, true)).header("connection", "close").open().await;
    open.read_until("message_start").await;
    let request = open.header("x-request-id").expect("an id").to_owned();
    assert_eq!(explained(&app, &request).await["state"], "in_progress");
    assert!(open.rest().await.complete);
    assert_eq!(
        explained_when(&app, &request, "finished").await["attempts"][0]["message"]
            .as_str()
            .map(|text| text.starts_with("ada answered after ")),
        Some(true)
    );

    app.gitlab.clear_rules();
    app.gitlab.add_rule(Rule::always(Effect::Cut { after: 6 }).on(Call::Messages));
    let broken = app.ask("/v1/messages", &messages(SONNET, true)).await;
    let broken = explained_when(&app, &id(&broken), "cut_off").await;
    assert_eq!(broken["attempts"][0]["failure"]["reason"], "cut_short", "{broken}");
    app.at_rest().await;
}

#[actix::test]
async fn a_request_that_waits_in_line_and_one_that_leaves_it_are_told() {
    let app = TestApp::start(&["ada"], |layer| layer.workers = Some(1)).await;
    app.add_with("ada", &json!({ "max_concurrency": 1 })).await;
    app.gitlab.add_rule(Rule::once(Effect::Stall { after: 4 }).on(Call::Messages));
    let mut held = app.open("/v1/messages", &messages(SONNET, true)).await;
    held.read_until("delta").await;
    let (leaves, stays) =
        (app.post("/v1/messages", &messages(HAIKU, false)), app.post("/v1/messages", &messages(SONNET, false)));
    let (leaves, stays) = (leaves.begin().await, stays.header("connection", "close").begin().await);
    let in_line = |model: &'static str| {
        let app = &app;
        async move {
            loop {
                let list = app.admin("GET", "/admin/v1/requests").send().await.json();
                let wanted = |one: &&Value| {
                    one["model"] == model
                        && one["message"]
                            == "in progress: every account that could serve is full, and the request stood in line"
                };
                if let Some(one) = list["requests"].as_array().expect("a list").iter().find(wanted) {
                    return one["id"].as_str().expect("an id").to_owned();
                }
                sleep(Duration::from_millis(5)).await;
            }
        }
    };
    let soon = Duration::from_secs(20);
    let left = timeout(soon, in_line(HAIKU)).await.expect("it waits");
    let waited = timeout(soon, in_line(SONNET)).await.expect("it waits");
    drop(leaves);
    let left = explained_when(&app, &left, "client_left").await;
    assert_eq!(left["account"], Value::Null, "{left}");
    drop(held);
    let answer = Open::on(stays).await.expect("an answer").rest().await;
    assert_eq!((answer.status, id(&answer)), (200, waited.clone()));
    let waited = explained_when(&app, &waited, "finished").await;
    let attempts = waited["attempts"].as_array().expect("attempts");
    assert!(attempts.len() == 1 && attempts[0]["queued_ms"].is_u64(), "{waited}");
    assert!(attempts[0]["message"].as_str().is_some_and(|text| text.starts_with("after ")), "{waited}");
}

#[actix::test]
async fn what_a_client_was_told_is_told_to_operators_and_strangers_leave_no_trace() {
    let key = "the-key-of-a-team-0123";
    let app = TestApp::start(&["ada"], |layer| layer.client_keys = Some(vec![Secret::new(key.to_owned())])).await;
    let ask = |body: &Value| app.post("/v1/messages", body).header("x-api-key", key);
    let empty = ask(&messages(SONNET, true)).send().await;
    let empty = explained(&app, &id(&empty)).await;
    assert_eq!((&empty["state"], &empty["status"]), (&json!("error"), &json!(503)), "{empty}");
    assert_eq!(empty["attempts"][0]["message"], "there is no account that the key may use");
    let name = empty["key"].as_str().expect("a name").to_owned();
    assert!(name.starts_with("key_") && !name.contains(key), "{name}");

    app.add("ada").await;
    app.gitlab.set_credit("ada", Credit::Exhausted).expect("ada is known");
    let broke = ask(&messages(SONNET, true)).send().await;
    let broke = explained(&app, &id(&broke)).await;
    assert_eq!((&broke["status"], broke["until"].is_string()), (&json!(402), true), "{broke}");
    assert!(broke["message"].as_str().is_some_and(|text| text.contains("out of GitLab Credits")), "{broke}");
    let unknown = ask(&json!({ "model": "zqxwv-no-model", "messages": [] })).send().await;
    let unknown = explained(&app, &id(&unknown)).await;
    assert_eq!((&unknown["status"], &unknown["model"]), (&json!(404), &Value::Null), "{unknown}");
    assert!(!unknown.to_string().contains("zqxwv"), "{unknown}");
    let no_json = ask(&json!([])).send().await;
    assert_eq!(explained(&app, &id(&no_json)).await["status"], 400);

    let stranger =
        app.post("/v1/messages", &messages(SONNET, true)).header("x-api-key", "a-wrong-key-0123456").send().await;
    assert_eq!(stranger.status, 401);
    let none = app.admin("GET", &format!("/admin/v1/requests/{}", id(&stranger))).send().await;
    assert_eq!((none.status, &none.json()["type"]), (404, &json!("/problems/no-such-request")));

    let named = foreseen(&app, &json!({ "model": HAIKU, "key": name })).await;
    assert_eq!(named["key"], name.as_str());
    for wrong in [key, "key_00000000"] {
        let refused = app.admin("POST", "/admin/v1/route").json(&json!({ "model": HAIKU, "key": wrong })).send().await;
        assert_eq!((refused.status, &refused.json()["type"]), (422, &json!("/problems/no-such-key")));
        assert!(!refused.text().contains(wrong), "{}", refused.text());
    }
}

#[actix::test]
async fn the_last_requests_are_listed_and_all_but_the_last_ones_are_forgotten() {
    let app = TestApp::with_accounts(&["ada"]).await;
    let first = id(&app.ask("/v1/messages", &messages(SONNET, false)).await);
    let second = id(&app
        .ask(
            "/v1/messages/count_tokens",
            &json!({ "model": SONNET, "messages": [{ "role": "user", "content": "Hi" }] }),
        )
        .await);
    let third = id(&app.ask("/v1/responses", &responses(GPT, false)).await);
    let listed = |limit: &str| app.admin("GET", &format!("/admin/v1/requests{limit}"));
    let list = listed("").send().await.json();
    let ids: Vec<&str> =
        list["requests"].as_array().expect("a list").iter().map(|one| one["id"].as_str().expect("an id")).collect();
    assert_eq!(ids, [&third, &second, &first]);
    assert!(
        list["requests"]
            .as_array()
            .expect("a list")
            .iter()
            .all(|one| one["state"] == "finished" && one["name"] == "ada"),
        "{list}"
    );
    assert_eq!(explained(&app, &second).await["counts_tokens"], true);
    assert_eq!(listed("?limit=1").send().await.json()["requests"].as_array().map(Vec::len), Some(1));
    assert_eq!(listed("?limit=some").send().await.status, 400);
    // More than are kept: each is refused before an account is looked for.
    let nothing = json!({});
    for _ in 0..42 {
        let refused = join_all((0..100).map(|_| app.ask("/v1/messages", &nothing))).await;
        assert!(refused.iter().all(|answer| answer.status == 400));
    }
    let gone = app.admin("GET", &format!("/admin/v1/requests/{first}")).send().await;
    assert_eq!(gone.status, 404);
    assert!(gone.text().contains("at most 4096 are kept"), "{}", gone.text());
    assert_eq!(listed("?limit=9999").send().await.json()["requests"].as_array().map(Vec::len), Some(1_000));
}

#[actix::test]
async fn a_dry_run_names_those_that_come_next_and_changes_nothing() {
    let app = TestApp::start(&["ada", "grace", "linus"], |layer| {
        (layer.workers, layer.strategy) = (Some(1), Some("round-robin".to_owned()));
    })
    .await;
    for name in ["ada", "grace", "linus"] {
        app.add(name).await;
    }
    let served_by = |answer: Answer| answer.header("x-duopool-account").expect("an account").to_owned();
    for _ in 0..6 {
        let before = [app.account("ada").await, app.account("grace").await, app.account("linus").await];
        let first = foreseen(&app, &json!({ "model": SONNET })).await;
        // Were turns moved, they would be so for two of three, and the third came next.
        let last = first["next"][1]["account"].clone();
        for _ in 0..5 {
            let two = foreseen(&app, &json!({ "model": SONNET, "without": [last] })).await;
            assert_eq!(two["chosen"]["account"], first["chosen"]["account"]);
        }
        assert_eq!(foreseen(&app, &json!({ "model": SONNET })).await["chosen"], first["chosen"], "it moved a turn");
        assert_eq!(first["chosen"]["because"], "its turn");
        assert_eq!(first["next"].as_array().map(Vec::len), Some(2), "{first}");
        let dead = first["chosen"]["account"].clone();
        let second = foreseen(&app, &json!({ "model": SONNET, "without": [dead] })).await;
        assert_eq!(second["chosen"]["account"], first["next"][0]["account"]);
        assert_eq!(verdict(&second, first["chosen"]["name"].as_str().expect("a name"))["verdict"], "left_out");
        let after = [app.account("ada").await, app.account("grace").await, app.account("linus").await];
        assert_eq!(before, after);
        assert_eq!(served_by(app.ask("/v1/messages", &messages(SONNET, false)).await), first["chosen"]["account"]);
    }
    assert_eq!(app.gitlab.requests_of(Call::Messages).len(), 6);
    let kept = foreseen(&app, &json!({ "model": SONNET, "conversation": "one" })).await;
    assert_eq!((&kept["affinity"]["followed"], &kept["affinity"]["home"]), (&json!(true), &kept["chosen"]["account"]));
    let name = kept["chosen"]["name"].clone();
    let moved = foreseen(&app, &json!({ "model": SONNET, "conversation": "one", "without": [name] })).await;
    assert_eq!(moved["chosen"]["account"], kept["next"][0]["account"]);
}

#[actix::test]
async fn a_dry_run_says_what_the_client_would_be_told() {
    let app = ada_before_grace().await;
    let told = |wish: Value| {
        let app = &app;
        async move { foreseen(app, &wish).await["told"].clone() }
    };
    assert_eq!(told(json!({ "model": SONNET })).await, Value::Null);
    assert_eq!(told(json!({ "model": "no-such-model" })).await["status"], 404);
    assert_eq!(told(json!({ "model": SONNET, "without": ["ada", "grace"] })).await["status"], 503);
    assert_eq!(told(json!({ "model": SONNET, "pools": ["team"] })).await["status"], 503);
    let unspoken = told(json!({ "model": "gpt-5.4-nano", "dialect": "chat-completions" })).await;
    assert!(unspoken.is_null() || unspoken["status"] == 400, "{unspoken}");
    for name in ["ada", "grace"] {
        app.gitlab.set_credit(name, Credit::Exhausted).expect("it is known");
    }
    let answer = app.ask("/v1/messages", &messages(SONNET, false)).await;
    assert_eq!(answer.status, 402);
    for name in ["ada", "grace"] {
        app.account_when(name, |account| !account["blocked_models"][SONNET].is_null()).await;
    }
    let told = told(json!({ "model": SONNET })).await;
    assert_eq!(told["status"], 402, "{told}");
    assert!(told["retry_after_s"].as_u64().is_some_and(|wait| (3_000..4_400).contains(&wait)), "{told}");
    for (wish, status, kind) in [
        (json!({ "model": SONNET, "without": ["nobody"] }), 422, "no-such-account"),
        (json!({ "dialect": "messages" }), 400, "bad-request"),
        (json!({ "model": SONNET, "stream": true }), 400, "bad-request"),
    ] {
        let refused = app.admin("POST", "/admin/v1/route").json(&wish).send().await;
        assert_eq!((refused.status, &refused.json()["type"]), (status, &json!(format!("/problems/{kind}"))), "{wish}");
    }
}

#[actix::test]
async fn the_command_explains_in_words() {
    let gitlab = simulated(&["ada", "grace"]).await;
    let machine = Machine::beside(&gitlab);
    for name in ["ada", "grace"] {
        machine.run_with(&["login", "--pat", "--label", name], &token_of(name)).await.fine();
    }
    let offline = machine.run(&["explain", "--model", SONNET, "--without", "ada"]).await;
    assert!(
        offline.fine().starts_with("grace (acct_") && offline.out.contains("is left out, as asked"),
        "{}",
        offline.out
    );
    assert!(machine.run(&["explain"]).await.refusal().contains("no server runs"));

    let (server, address) = machine.serve().await;
    assert!(machine.run(&["explain"]).await.fine().contains("no request since"));
    gitlab.handle.add_rule(Rule::once(overloaded()).on(Call::Messages));
    let answer = Request::new(address, "POST", "/v1/messages").json(&messages(SONNET, false)).send().await;
    let id = id(&answer);
    let explained = machine.run(&["explain", &id]).await;
    let lines: Vec<&str> = explained.fine().lines().collect();
    assert!(lines[0].starts_with(&format!("{id}: ")) && lines[0].contains(" answered at attempt 2 in "), "{lines:#?}");
    assert!(
        lines.contains(&"  with key    (none is needed)") && lines.contains(&"  strategy    balanced"),
        "{lines:#?}"
    );
    assert!(
        lines.iter().any(|line| line.starts_with("attempt 1: ") && line.contains(" failed with 529 after ")),
        "{lines:#?}"
    );
    assert!(
        lines.iter().any(|line| line.starts_with("attempt 2: ") && line.contains(" answered after ")),
        "{lines:#?}"
    );
    assert!(
        lines.iter().any(|line| line.starts_with("acct_") && line.ends_with("failed this request before")),
        "{lines:#?}"
    );
    assert_eq!(machine.run(&["explain", &id, "--json"]).await.json()["id"], id.as_str());
    let list = machine.run(&["explain"]).await;
    assert!(list.fine().starts_with("ID ") && list.out.contains(&id), "{}", list.out);
    let next = machine.run(&["explain", "--model", SONNET, "--json"]).await.json();
    assert_eq!(next["next"].as_array().map(Vec::len), Some(1), "{next}");
    let none = machine.run(&["explain", "--model", SONNET, "--without", "ada", "--without", "grace"]).await;
    assert!(none.fine().starts_with("nobody: the client would be told 503: "), "{}", none.out);
    assert!(machine.run(&["explain", "req_0"]).await.refusal().contains("no such request"));
    assert!(machine.run(&["explain", "../accounts"]).await.refusal().contains("is no request's id"));
    assert_eq!(server.stop("TERM").await.code, Some(0));
}
