//! Cursor, which keeps its model settings to itself: they are entered by hand.
//!
//! Source: cursor.com/docs, API keys; requests go through Cursor's own servers, which must reach the pool.

use super::Snippet;
use super::pool::{Key, Pool};
use super::probe::{self, Probe};

pub(super) const NO_FILE: &str =
    "Cursor keeps these settings inside itself, and they can only be entered by hand: `duopool setup cursor` says how";

pub(super) fn snippets(pool: &Pool) -> Vec<Snippet> {
    let key = match &pool.key {
        Key::Any => "a client key of this pool".to_owned(),
        Key::Environment(name) => format!("the value of {name}"),
    };
    let model = pool.main().unwrap_or("claude-sonnet-5");
    let steps = [
        "Cursor Settings > Models > API Keys".to_owned(),
        format!("OpenAI API Key: {key}"),
        format!("Override OpenAI Base URL: {}", pool.v1()),
        format!("Add Custom Model: {model} (and others that `duopool models` lists)"),
    ];
    let steps: Vec<String> = steps.iter().enumerate().map(|(at, step)| format!("{}. {step}", at + 1)).collect();
    let text = steps.join("\n") + "\n";
    vec![Snippet { title: "Steps".to_owned(), text }]
}

pub(super) fn notes(pool: &Pool) -> Vec<String> {
    let mut notes = Vec::new();
    if !pool.is_public() {
        notes.push(format!(
            "Cursor sends requests from its own servers, which cannot reach {}: the pool needs a public https address (a \
             reverse proxy or a tunnel) and a client key. Then: duopool setup cursor --url https://…",
            pool.url
        ));
    }
    notes.push("The override holds for all OpenAI models of Cursor; what Cursor completes while you type does not come from it.".to_owned());
    notes
}

pub(super) fn probes(pool: &Pool) -> Vec<Probe> {
    pool.main().map(|model| probe::chat(model, true)).into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::super::pool::sample;
    use super::*;

    #[test]
    fn an_address_that_cursors_servers_cannot_reach_is_named() {
        let pool = sample(Key::Any);
        assert!(notes(&pool)[0].contains("public https address"), "{:?}", notes(&pool));
        let public = Pool { url: "https://ai.example.com".to_owned(), ..pool };
        assert!(!notes(&public).iter().any(|note| note.contains("public https")));
        assert!(snippets(&public)[0].text.contains("https://ai.example.com/v1"));
    }
}
