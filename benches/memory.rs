//! Memory that the translation of one request takes, at its highest.
//!
//! `cargo bench --bench memory`. Goal: with the client's body, at most 4 times its length. Small bodies are not held to
//! it, since what a request takes anyway is more than they are; nor are bodies of nothing but tiny objects, which no
//! client sends: those are bounded by their number.

#![expect(clippy::expect_used, clippy::print_stdout, reason = "a benchmark that cannot run has nothing to say")]
#![expect(clippy::cast_precision_loss, reason = "two digits are shown")]

mod samples;

use std::process::ExitCode;

use duopool::protocol::canonical::Target;
use duopool::protocol::translate::Translation;
use peak_alloc::PeakAlloc;
use serde_json::Value;

#[global_allocator]
static HEAP: PeakAlloc = PeakAlloc;

/// Most memory for a request, in lengths of its body.
const TIMES_MAX: f64 = 4.0;
/// Bodies that are shorter are not held to it, in bytes.
const BYTES_MIN: usize = 16 * 1024;

fn main() -> ExitCode {
    let mut samples: Vec<(String, Translation, String)> = [
        ("chat to messages", Translation::ChatToMessages),
        ("chat to responses", Translation::ChatToResponses),
        ("messages to responses", Translation::MessagesToResponses),
        ("responses to messages", Translation::ResponsesToMessages),
    ]
    .into_iter()
    .map(|(name, translation)| (format!("{name}, 1 MB"), translation, samples::conversation(translation)))
    .collect();
    samples.extend(recorded());
    println!("| request | bytes | at its highest, to the body |\n|---|---:|---:|");
    let mut worst = 0.0_f64;
    for (name, translation, body) in &samples {
        let times = 1.0 + taken(*translation, body) as f64 / body.len() as f64;
        worst = worst.max(times);
        println!("| {name} | {} | {times:.2} |", body.len());
    }
    println!("highest: {worst:.2} (at most {TIMES_MAX})");
    if worst <= TIMES_MAX { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Returns the most bytes that were taken at a time beside the body.
fn taken(translation: Translation, body: &str) -> usize {
    let target = Target {
        model: "m",
        output_tokens_max: Some(64_000),
        thinking: None,
        efforts: &[],
        accepts_sampling: true,
        effort: None,
    };
    let before = HEAP.current_usage();
    HEAP.reset_peak_usage();
    let translated = translation.request(body.as_bytes(), &target, None).expect("a request");
    let most = HEAP.peak_usage();
    assert!(!translated.body.is_empty(), "something is asked");
    most - before
}

/// Returns the larger requests of real clients that were recorded for the tests.
fn recorded() -> Vec<(String, Translation, String)> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/clients");
    let files = std::fs::read_dir(folder).expect("recordings").map(|entry| entry.expect("a file").path());
    let mut found: Vec<_> = files
        .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
        .filter_map(|path| {
            let recording: Value = serde_json::from_slice(&std::fs::read(&path).expect("a file")).expect("JSON");
            let translation = match recording["path"].as_str()? {
                "/v1/messages" => Translation::MessagesToResponses,
                "/v1/chat/completions" => Translation::ChatToResponses,
                "/v1/responses" => Translation::ResponsesToMessages,
                _ => return None,
            };
            let name = path.file_stem()?.to_string_lossy().into_owned();
            Some((name, translation, recording["body"].to_string()))
        })
        .filter(|(_, _, body)| body.len() >= BYTES_MIN)
        .collect();
    found.sort_by(|one, other| one.0.cmp(&other.0));
    found
}
