//! Asks the pool what a client would ask.

use std::time::Duration;

use crate::cli::setup::ask::{Asker, Question};
use crate::cli::setup::find::Found;
use crate::setup::{Client, Finding, judge};

/// Clients wait ten minutes; so short an answer is here sooner, or something is wrong.
const PATIENCE: Duration = Duration::from_mins(2);

/// Asks one thing after the other, and says what came of each.
pub(super) async fn run(client: Client, found: &Found) -> Vec<Finding> {
    let asker = Asker::to(&found.pool.url, &found.route);
    let mut findings = Vec::new();
    for probe in client.probes(&found.pool) {
        let outcome = asker
            .ask(Question {
                path: probe.path,
                headers: &probe.headers,
                key: found.key.as_ref().map(|key| (key, probe.credential)),
                body: Some(probe.body.to_string()),
                patience: PATIENCE,
            })
            .await;
        findings.push(judge(&probe, &outcome, &found.pool.url, &found.key_name, found.key.is_some()));
    }
    findings
}
