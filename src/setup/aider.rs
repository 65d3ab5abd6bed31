//! aider: `~/.aider.conf.yml`.
//!
//! Source: aider.chat/docs/config; litellm takes the address of Anthropic's API without `/v1`.

use super::MergeError;
use super::pool::{ANY, Key, Pool};
use super::probe::{self, Credential, Probe};
use super::yaml::{self, Ours, scalar};
use crate::domain::model::Provider;

pub(super) fn merge(pool: &Pool, text: &str) -> Result<String, MergeError> {
    let mut lines = Vec::new();
    for (setting, model) in [("model", pool.main_with_sampling()), ("weak-model", pool.small())] {
        if let Some(model) = model {
            lines.push(format!("{setting}: {}", scalar(&routed(model))));
        }
    }
    lines.push(format!("openai-api-base: {}", scalar(&pool.v1())));
    lines.push(format!("set-env:\n  - {}", scalar(&format!("ANTHROPIC_API_BASE={}", pool.url))));
    if pool.key == Key::Any {
        lines.push(format!("openai-api-key: {ANY}\nanthropic-api-key: {ANY}"));
    }
    yaml::merged(text, &Ours::Members(lines.join("\n") + "\n"))
}

/// Names a model as litellm wants it: with the API that it is asked through.
fn routed(model: &str) -> String {
    let api = if Provider::of_name(model) == Some(Provider::Anthropic) { "anthropic" } else { "openai" };
    format!("{api}/{model}")
}

pub(super) fn environment(pool: &Pool) -> Vec<(String, String)> {
    // An open pool's are in the file.
    match &pool.key {
        Key::Any => Vec::new(),
        Key::Environment(_) => {
            ["OPENAI_API_KEY", "ANTHROPIC_API_KEY"].map(|name| (name.to_owned(), pool.shell_key())).into()
        }
    }
}

pub(super) fn command(pool: &Pool) -> String {
    let (url, key) = (&pool.url, pool.shell_key());
    let model = pool.main_with_sampling().map(|model| format!(" --model {}", routed(model))).unwrap_or_default();
    format!(
        "ANTHROPIC_API_BASE={url} ANTHROPIC_API_KEY={key} OPENAI_API_BASE={} OPENAI_API_KEY={key} aider{model}",
        pool.v1()
    )
}

pub(super) fn notes(_: &Pool) -> Vec<String> {
    vec![
        "aider sends a temperature to models that it does not know, which the newest Claude models refuse: hence not the newest one."
            .to_owned(),
    ]
}

pub(super) fn probes(pool: &Pool) -> Vec<Probe> {
    let model = pool.main_with_sampling().into_iter();
    model
        .map(|model| match Provider::of_name(model) {
            Some(Provider::Anthropic) => probe::messages(model, false, Credential::ApiKey),
            _ => probe::chat(model, false),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::pool::sample;
    use super::*;

    #[test]
    fn keys_stand_in_the_file_only_where_they_are_none() {
        let open = merge(&sample(Key::Any), "").expect("merged");
        assert!(
            open.contains("anthropic-api-key: any") && open.contains("ANTHROPIC_API_BASE=http://127.0.0.1:8080\""),
            "{open}"
        );
        let pool = sample(Key::Environment("K".to_owned()));
        let closed = merge(&pool, &open).expect("merged");
        assert!(!closed.contains("api-key"), "{closed}");
        assert!(environment(&pool).contains(&("OPENAI_API_KEY".to_owned(), "\"$K\"".to_owned())));
        let gpt = Pool { wanted: Some("gpt-5.4".to_owned()), ..pool };
        assert!(merge(&gpt, "").expect("merged").contains("model: openai/gpt-5.4\n"));
    }
}
