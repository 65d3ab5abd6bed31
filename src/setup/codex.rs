//! Codex CLI: `~/.codex/config.toml`.
//!
//! Source: developers.openai.com/codex, configuration reference; seen with Codex CLI 0.169.

use serde_json::json;

use super::pool::{ANY, Key, Pool};
use super::probe::{self, Probe};
use super::{MergeError, toml};

pub(super) fn merge(pool: &Pool, text: &str) -> Result<String, MergeError> {
    let mut provider = json!({ "name": "duopool", "base_url": pool.v1(), "wire_api": "responses" });
    // Without either, Codex sends the token of the ChatGPT account that its user is signed in to.
    let other = match &pool.key {
        Key::Any => {
            provider["experimental_bearer_token"] = json!(ANY);
            "env_key"
        }
        Key::Environment(name) => {
            provider["env_key"] = json!(name);
            "experimental_bearer_token"
        }
    };
    let mut set = json!({ "model_provider": "duopool", "model_providers": { "duopool": provider } });
    if let Some(model) = model(pool) {
        set["model"] = json!(model);
    }
    toml::merged(text, &set, &[&["model_providers", "duopool", other]])
}

/// Codex knows GPT models, and is at its best on one.
fn model(pool: &Pool) -> Option<&str> {
    pool.wanted.as_deref().or_else(|| pool.gpt()).or_else(|| pool.main())
}

pub(super) fn command(pool: &Pool) -> String {
    let key = match &pool.key {
        Key::Any => format!("experimental_bearer_token=\"{ANY}\""),
        Key::Environment(name) => format!("env_key=\"{name}\""),
    };
    let provider = format!("{{name=\"duopool\",base_url=\"{}\",wire_api=\"responses\",{key}}}", pool.v1());
    let model = model(pool).map(|model| format!(" -m {model}")).unwrap_or_default();
    format!("codex{model} -c model_provider=duopool -c 'model_providers.duopool={provider}'")
}

pub(super) fn notes(pool: &Pool) -> Vec<String> {
    let claude = pool.claude().unwrap_or("claude-sonnet-5");
    vec![format!(
        "Claude models serve, too: codex -m {claude}. Codex offers patches only to models that it knows: give it a \
         `model_catalog_json` with an entry of that name (`codex debug models` prints entries to start from)."
    )]
}

pub(super) fn probes(pool: &Pool) -> Vec<Probe> {
    model(pool).map(|model| probe::responses(model, true)).into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::super::pool::sample;
    use super::*;

    #[test]
    fn the_key_comes_out_of_the_environment_or_is_any() {
        let open = merge(&sample(Key::Any), "").expect("merged");
        assert!(open.contains("experimental_bearer_token = \"any\"") && !open.contains("env_key"), "{open}");
        let closed = merge(&sample(Key::Environment("DUOPOOL_KEY".to_owned())), &open).expect("merged");
        assert!(closed.contains("env_key = \"DUOPOOL_KEY\"") && !closed.contains("bearer"), "{closed}");
        assert_eq!(merge(&sample(Key::Any), &closed).map(|text| text.contains("env_key")), Ok(false));
    }

    #[test]
    fn root_settings_stand_before_the_tables() {
        let text = merge(&sample(Key::Any), "[tui]\nx = 1\n").expect("merged");
        assert!(text.find("model_provider =") < text.find("[tui]"), "{text}");
        assert!(text.contains("model = \"gpt-5.5\""), "{text}");
    }
}
