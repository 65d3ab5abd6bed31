//! Conversations stay on one account while that is well, and the strategy decides about everything else.

use std::collections::{BTreeMap, BTreeSet};

use duopool::simulator::{Call, Credit, Effect, Rule};
use serde_json::{Value, json};

use crate::support::requests::{GPT, SONNET, messages, responses};
use crate::support::{Answer, TestApp};

const NAMES: [&str; 4] = ["ada", "grace", "linus", "edsger"];

fn account_of(answer: &Answer) -> String {
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.header("x-duopool-account").expect("the account's id").to_owned()
}

/// Asks in a conversation that the client names in `header`.
async fn home(app: &TestApp, header: &str, session: &str) -> String {
    account_of(&app.post("/v1/messages", &messages(SONNET, false)).header(header, session).send().await)
}

async fn homes(app: &TestApp, sessions: usize) -> BTreeMap<String, String> {
    let mut homes = BTreeMap::new();
    for number in 0..sessions {
        let session = format!("session-{number}");
        let account = home(app, "x-claude-code-session-id", &session).await;
        homes.insert(session, account);
    }
    homes
}

fn say(role: &str, text: &str) -> Value {
    json!({ "role": role, "content": text })
}

#[actix::test]
async fn a_conversation_that_a_client_names_stays_on_one_account_and_others_go_elsewhere() {
    let app = TestApp::with_accounts(&NAMES).await;
    for header in ["x-claude-code-session-id", "session-id", "session_id", "x-session-id"] {
        let mut used = BTreeSet::new();
        for number in 0..16 {
            let session = format!("{header}-{number}");
            let first = home(&app, header, &session).await;
            for _ in 0..3 {
                assert_eq!(home(&app, header, &session).await, first, "{session}");
            }
            used.insert(first);
        }
        assert!(used.len() > 1, "{header}: all sixteen on one account");
    }
}

#[actix::test]
async fn a_conversation_that_the_body_names_stays_on_one_account() {
    let app = TestApp::with_accounts(&NAMES).await;
    let user_id = json!({ "device_id": "d", "account_uuid": "", "session_id": "7e1" }).to_string();
    let mut claude = messages(SONNET, false);
    claude["metadata"] = json!({ "user_id": user_id });
    let mut gpt = responses(GPT, false);
    gpt["prompt_cache_key"] = "ses_12".into();
    for (path, mut body, turns) in [("/v1/messages", claude, "messages"), ("/v1/responses", gpt, "input")] {
        let mut used = BTreeSet::new();
        for number in 0..6 {
            body[turns] = json!([say("user", &format!("question {number}"))]);
            used.insert(account_of(&app.ask(path, &body).await));
        }
        assert_eq!(used.len(), 1, "{path}");
    }
}

#[actix::test]
async fn a_conversation_without_a_name_is_known_by_its_beginning() {
    let app = TestApp::with_accounts(&NAMES).await;
    let mut used = BTreeSet::new();
    for number in 0..12 {
        let mut body = messages(SONNET, false);
        body["system"] = "Be brief.".into();
        let mut turns = vec![say("user", &format!("question {number}"))];
        let mut accounts = BTreeSet::new();
        for _ in 0..3 {
            body["messages"] = turns.clone().into();
            accounts.insert(account_of(&app.ask("/v1/messages", &body).await));
            turns.extend([say("assistant", "an answer"), say("user", "and then?")]);
        }
        assert_eq!(accounts.len(), 1, "conversation {number} moved");
        used.extend(accounts);
    }
    assert!(used.len() > 1, "all twelve on one account");
}

#[actix::test]
async fn an_account_that_is_removed_or_blocked_moves_only_its_own_conversations() {
    let app = TestApp::with_accounts(&NAMES).await;
    let before = homes(&app, 24).await;
    let (ada, grace) = (app.account("ada").await, app.account("grace").await);
    let (ada, grace) = (ada["id"].as_str().expect("an id"), grace["id"].as_str().expect("an id"));

    app.gitlab.set_credit("ada", Credit::Exhausted).expect("ada is known");
    let blocked = homes(&app, 24).await;
    assert!(!blocked.values().any(|account| account == ada), "{blocked:?}");
    for (session, account) in before.iter().filter(|(_, account)| *account != ada) {
        assert_eq!(blocked[session], *account, "{session} moved");
    }

    let removed = app.admin("DELETE", &format!("/admin/v1/accounts/{grace}")).send().await;
    assert_eq!(removed.status, 204, "{}", removed.text());
    let left = homes(&app, 24).await;
    for (session, account) in blocked.iter().filter(|(_, account)| *account != grace) {
        assert_eq!(left[session], *account, "{session} moved");
    }
    // And back: who comes takes what was its own, and nothing else.
    app.add("grace").await;
    assert_eq!(homes(&app, 24).await, blocked);
}

#[actix::test]
async fn a_conversation_leaves_an_account_that_is_full_and_comes_back() {
    let app = TestApp::start(&["ada", "grace"], |_| {}).await;
    app.add_with("ada", &json!({ "max_concurrency": 1 })).await;
    app.add_with("grace", &json!({ "max_concurrency": 1 })).await;
    app.gitlab.add_rule(Rule::once(Effect::Stall { after: 4 }).on(Call::Messages));
    let ask = || app.post("/v1/messages", &messages(SONNET, true)).header("session_id", "one");
    let mut held = ask().open().await;
    held.read_until("delta").await;
    let first = held.header("x-duopool-account").expect("an id").to_owned();
    assert_ne!(account_of(&ask().send().await), first);
    drop(held);
    app.at_rest().await;
    assert_eq!(account_of(&ask().send().await), first);
}

#[actix::test]
async fn requests_in_turn_visit_every_account_alike() {
    let app = TestApp::start(&NAMES, |layer| layer.strategy = Some("round-robin".to_owned())).await;
    for name in NAMES {
        app.add(name).await;
    }
    let mut counts = BTreeMap::new();
    for _ in 0..20 {
        *counts.entry(account_of(&app.ask("/v1/messages", &messages(SONNET, false)).await)).or_insert(0) += 1;
    }
    assert!(counts.len() == 4 && counts.values().all(|count| *count == 5), "{counts:?}");
}

#[actix::test]
async fn fill_first_uses_one_account_until_that_is_blocked() {
    let app = TestApp::start(&NAMES, |layer| layer.strategy = Some("fill-first".to_owned())).await;
    for name in NAMES {
        app.add(name).await;
    }
    let mut order = Vec::new();
    for _ in 0..3 {
        let used: BTreeSet<_> = homes(&app, 8).await.into_values().collect();
        assert_eq!(used.len(), 1, "{used:?}");
        let id = used.into_iter().next().expect("one account");
        let mut name = "";
        for candidate in NAMES {
            if app.account(candidate).await["id"] == id.as_str() {
                name = candidate;
            }
        }
        app.gitlab.set_credit(name, Credit::Exhausted).expect("known");
        // The request that finds out is served all the same.
        account_of(&app.ask("/v1/messages", &messages(SONNET, false)).await);
        app.account_when(name, |account| account["blocked_models"][SONNET]["reason"] == "quota_exhausted").await;
        order.push(id);
    }
    assert_eq!(order.iter().collect::<BTreeSet<_>>().len(), 3, "{order:?}");
}

#[actix::test]
async fn an_account_whose_block_has_ended_is_tried_by_one_request_while_the_others_go_elsewhere() {
    let app = TestApp::start(&["ada", "grace"], |_| {}).await;
    app.add_with("ada", &json!({ "priority": 1 })).await;
    app.add("grace").await;
    app.gitlab.set_model_credit("ada", SONNET, Credit::NotEntitled).expect("ada is known");
    account_of(&app.ask("/v1/messages", &messages(SONNET, true)).await);
    app.account_when("ada", |account| account["blocked_models"][SONNET]["reason"] == "quota_unknown").await;
    app.gitlab.set_model_credit("ada", SONNET, Credit::Available).expect("ada is known");
    app.gitlab.add_rule(Rule::once(Effect::Stall { after: 0 }).on(Call::Messages).by("ada"));
    // The block ends after a second or two; then this waits for her first word, which does not come.
    app.account_when("ada", |account| account["blocked_models"] == json!({})).await;
    let probe = app.post("/v1/messages", &messages(SONNET, true)).begin().await;
    app.account_when("ada", |account| account["in_flight"] == 1).await;
    let grace = app.account("grace").await["id"].as_str().expect("an id").to_owned();
    for _ in 0..8 {
        assert_eq!(account_of(&app.ask("/v1/messages", &messages(SONNET, false)).await), grace);
    }
    drop(probe);
    app.at_rest().await;
    let ada = app.account("ada").await["id"].as_str().expect("an id").to_owned();
    assert_eq!(account_of(&app.ask("/v1/messages", &messages(SONNET, false)).await), ada);
}
