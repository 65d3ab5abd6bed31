//! Answers of the gateway and of the providers behind it.

use duopool::simulator::Call;
use futures::future::join_all;

use super::{Case, ada_before_grace, cases_of, is_ready, rule};
use crate::support::requests::{GPT, SONNET, messages, responses};
use crate::support::told::told;
use crate::support::{Answer, TestApp};

/// Servers that run at a time.
const AT_ONCE: usize = 8;

async fn each(cases: &[Case], check: impl AsyncFn(usize, &Case)) {
    for (number, some) in cases.chunks(AT_ONCE).enumerate() {
        let checks = some.iter().enumerate().map(|(index, case)| check(number * AT_ONCE + index, case));
        join_all(checks).await;
    }
}

#[actix::test]
async fn another_account_is_asked_where_it_could_cure_the_fault_and_nowhere_else() {
    each(&cases_of(&["gateway"]), async |index, case| {
        if case.reason == "unsupported_model" {
            return;
        }
        let (app, what) = (ada_before_grace().await, case.what());
        app.gitlab.add_rule(rule(case, Call::Messages).by("ada"));
        let answer = app.ask("/v1/messages", &messages(SONNET, index % 2 == 0)).await;
        let asked_of_grace =
            app.gitlab.requests_of(Call::Messages).iter().any(|asked| asked.account.as_deref() == Some("grace"));
        assert_eq!(asked_of_grace, !case.incurable, "{what}");
        if case.incurable {
            assert_told(case, "/v1/messages", &answer);
        } else {
            assert_eq!(answer.status, 200, "{what}: {}", answer.text());
            assert_eq!(answer.header("x-duopool-attempts"), Some("2"), "{what}");
            assert_eq!(answer.header("x-duopool-account"), app.account("grace").await["id"].as_str(), "{what}");
        }
        assert_held(case, &app).await;
        let grace = app.account("grace").await;
        assert!(is_ready(&grace), "{what}: {grace}");
    })
    .await;
}

/// Asserts that Ada bears what is hers, and nothing else.
async fn assert_held(case: &Case, app: &TestApp) {
    let what = case.what();
    match (case.scope.as_str(), case.hold.as_str()) {
        ("account", "until_minted") => {
            let ada = app.account_when("ada", |ada| ada["grant_generation"] == 2).await;
            assert!(is_ready(&ada), "{what}: {ada}");
        }
        // What is true of a whole namespace is shown on each of its accounts.
        ("account" | "namespace", _) => {
            let ada = app.account_when("ada", |ada| !ada["trouble"].is_null()).await;
            case.assert_is(&ada["trouble"]);
        }
        ("model", _) => {
            let ada = app.account_when("ada", |ada| !ada["blocked_models"][SONNET].is_null()).await;
            assert!(ada["trouble"].is_null(), "{what}: {ada}");
            case.assert_is(&ada["blocked_models"][SONNET]);
        }
        _ => {
            app.at_rest().await;
            let ada = app.account("ada").await;
            assert!(is_ready(&ada), "{what}: {ada}");
            assert_eq!(ada["grant_generation"], 1, "{what}: {ada}");
        }
    }
}

#[actix::test]
async fn a_client_is_told_in_its_own_words_what_every_account_meets() {
    each(&cases_of(&["gateway"]), async |index, case| {
        for (path, call) in [("/v1/messages", Call::Messages), ("/v1/responses", Call::Responses)] {
            let app = TestApp::with_accounts(&["ada"]).await;
            app.gitlab.add_rule(rule(case, call));
            let stream = index % 2 == 1;
            let body = if call == Call::Messages { messages(SONNET, stream) } else { responses(GPT, stream) };
            assert_told(case, path, &app.ask(path, &body).await);
        }
    })
    .await;
}

fn assert_told(case: &Case, path: &str, answer: &Answer) {
    let what = case.what();
    let [messages, openai] = case.told.expect("what a client is told");
    let is_messages = path == "/v1/messages";
    let message = told(path, answer, if is_messages { messages } else { openai }, &what);
    assert_ne!(answer.status, 401, "{what}");
    if is_messages {
        assert_eq!(answer.json()["error"]["type"].as_str(), case.kind.as_deref(), "{what}");
    }
    let wait = answer.header("retry-after").and_then(|text| text.parse::<u64>().ok());
    if ["account", "model", "namespace"].contains(&case.scope.as_str()) {
        // An account comes back some time, which is told.
        assert!(wait.is_some_and(|wait| wait >= 1), "{what}: {wait:?}");
    } else {
        assert_eq!(wait, case.wait, "{what}");
    }
    for secret in ["127.0.0.1", "<html", "sk-1234", "Plans & Billing", "credit balance", "namespace id"] {
        assert!(!message.contains(secret), "{what}: `{secret}` is none of the client's business: {message}");
    }
}

#[actix::test]
async fn a_model_that_is_not_there_is_answered_by_the_newest_of_its_family() {
    for case in cases_of(&["gateway"]).iter().filter(|case| case.reason == "unsupported_model") {
        let (app, what) = (TestApp::with_accounts(&["ada"]).await, case.what());
        app.gitlab.add_rule(rule(case, Call::Messages).for_model(SONNET));
        let mut attempts = Vec::new();
        for _ in 0..20 {
            let answer = app.ask("/v1/messages", &messages(SONNET, false)).await;
            assert_eq!(answer.status, 200, "{what}: {}", answer.text());
            let served = answer.header("x-duopool-model").expect("the model's name");
            assert!(served != SONNET && served.contains("sonnet"), "{what}: {served}");
            attempts
                .push(answer.header("x-duopool-attempts").and_then(|text| text.parse::<u32>().ok()).expect("a number"));
        }
        // What the gateway says of its own list is remembered. What a provider says, it may take back.
        let last = attempts.last().copied();
        assert_eq!(last, Some(if case.scope == "request" { 1 } else { 2 }), "{what}: {attempts:?}");
        let ada = app.account("ada").await;
        assert!(is_ready(&ada), "{what}: {ada}");
    }
}
