//! Secrets stay where they belong: not in a log, a reply, a file or a command line, whatever goes wrong and whoever
//! quotes them.
//!
//! Each flow runs the real binary with its log wide open. Every secret that the flow chose or GitLab saw is then looked
//! for, in every form, in everything that was said and left behind.

mod faults;
mod flows;
mod pat;
mod scene;
mod search;

use std::collections::BTreeSet;

use futures::StreamExt as _;

/// Flows at the same time: most of their time goes by in waiting.
const SIDE_BY_SIDE: usize = 6;

#[actix::test]
async fn no_secret_of_any_flow_is_said_or_left_behind() {
    // Part of the name of the flows that are wanted, while one of them is looked into.
    let only = std::env::var("DUOPOOL_SECRETS_FLOW").unwrap_or_default();
    let chosen = flows::FLOWS.iter().filter(|(name, _)| name.contains(&only));
    let runs = chosen.map(|(name, flow)| async move {
        let searched = actix_web::rt::spawn(flow()).await;
        let (found, kinds) = searched.unwrap_or_else(|error| (vec![format!("it failed: {error}")], Vec::new()));
        (found.into_iter().map(move |words| format!("{name}: {words}")).collect::<Vec<String>>(), kinds)
    });
    let done: Vec<_> = futures::stream::iter(runs).buffer_unordered(SIDE_BY_SIDE).collect().await;
    let found: Vec<&String> = done.iter().flat_map(|(found, _)| found).collect();
    assert!(found.is_empty(), "{} findings:\n{found:#?}", found.len());
    let kinds: BTreeSet<&str> = done.iter().flat_map(|(_, kinds)| kinds).map(String::as_str).collect();
    for kind in ["access_token", "refresh_token", "code", "code_verifier", "device_code", "token", "a state"] {
        assert!(!only.is_empty() || kinds.contains(kind), "no {kind} ever came up: {kinds:?}");
    }
}
