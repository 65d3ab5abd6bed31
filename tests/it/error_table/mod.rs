//! Every row of the one error table, fed through real sockets: what a client is told, whether another account is asked, and
//! what is held against the first.
//!
//! The cases are data, `tests/fixtures/error_rows.toml`, which unit tests of `gitlab::error` hold to the table itself.

mod gateway;
mod gitlab;
mod stages;

use std::collections::BTreeMap;
use std::time::Duration;

use duopool::simulator::{Call, Effect, Rule};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::support::TestApp;

#[derive(Deserialize)]
struct Cases {
    case: Vec<Case>,
    stage: Vec<String>,
}

/// One answer, and what becomes of it.
#[derive(Deserialize)]
struct Case {
    row: String,
    call: String,
    status: u16,
    #[serde(rename = "type", default = "json_type")]
    content_type: String,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    #[serde(default)]
    body: String,
    scope: String,
    reason: String,
    hold: String,
    #[serde(default)]
    incurable: bool,
    told: Option<[u16; 2]>,
    kind: Option<String>,
    wait: Option<u64>,
}

fn json_type() -> String {
    "application/json".to_owned()
}

fn all() -> Cases {
    let text = include_str!("../../fixtures/error_rows.toml");
    toml::from_str(text).unwrap_or_else(|error| panic!("{}", error.message()))
}

/// Returns the cases of the calls called `names`; fails if there are none.
fn cases_of(names: &[&str]) -> Vec<Case> {
    let cases: Vec<Case> = all().case.into_iter().filter(|case| names.contains(&case.call.as_str())).collect();
    assert!(!cases.is_empty(), "{names:?}");
    cases
}

impl Case {
    fn effect(&self) -> Effect {
        Effect::Answer {
            status: self.status,
            body: self.body.clone(),
            content_type: self.content_type.clone(),
            headers: self.headers.clone().into_iter().collect(),
        }
    }

    /// Names the case in a failure.
    fn what(&self) -> String {
        format!("{} ({} answers {} {:?} {})", self.row, self.call, self.status, self.headers, self.body)
    }

    /// How long the fault is held, at least and at most, as the account shows it a moment later.
    fn held(&self) -> (Duration, Duration) {
        let leeway = Duration::from_secs(5);
        let (least, most) = match self.hold.as_str() {
            "until_fixed" => (Duration::from_mins(12), Duration::from_mins(18)),
            "backoff" => (Duration::ZERO, Duration::from_secs(2)),
            time => {
                let millis = time.strip_suffix(" ms").and_then(|millis| millis.parse().ok()).expect("a time");
                let time = Duration::from_millis(millis);
                (time, time.mul_f64(1.1))
            }
        };
        (least.saturating_sub(leeway), most + leeway)
    }

    /// Asserts that `trouble` is this fault, held for as long as the row says.
    fn assert_is(&self, trouble: &Value) {
        let what = self.what();
        assert_eq!(trouble["reason"], self.reason, "{what}: {trouble}");
        assert!(trouble["message"].as_str().is_some_and(|text| text.len() > 10), "{what}: {trouble}");
        let until: jiff::Timestamp = trouble["until"].as_str().and_then(|text| text.parse().ok()).expect("a time");
        let left = until.duration_since(jiff::Timestamp::now());
        let left = Duration::try_from(left).unwrap_or_default();
        let (least, most) = self.held();
        assert!((least..=most).contains(&left), "{what}: {left:?} is not within {least:?} and {most:?}");
        let needs_a_person = self.hold == "until_fixed";
        assert!(!needs_a_person || trouble["fix"].as_str().is_some_and(|fix| !fix.is_empty()), "{what}: {trouble}");
    }
}

/// Starts with Ada, who is asked first whenever she can be, and Grace.
async fn ada_before_grace() -> TestApp {
    let app = TestApp::start(&["ada", "grace"], |_| {}).await;
    app.add_with("ada", &json!({ "priority": 1 })).await;
    app.add("grace").await;
    app
}

/// Returns the rule by which GitLab answers `call` as `case` has it.
fn rule(case: &Case, call: Call) -> Rule {
    Rule::always(case.effect()).on(call)
}

/// Returns whether nothing at all is held against an account.
fn is_ready(account: &Value) -> bool {
    account["health"] == "ready" && account["trouble"].is_null() && account["blocked_models"] == json!({})
}
