//! Simon Willison's `llm`: `extra-openai-models.yaml` in its folder, and variables for its Anthropic plugin.
//!
//! Source: llm.datasette.io, other models; `llm/default_plugins/openai_models.py`.

use super::MergeError;
use super::pool::{Key, Model, Pool};
use super::probe::{self, Probe};
use super::yaml::{self, Ours, scalar};

/// The name under which `llm keys set` is told the key.
const KEY_NAME: &str = "duopool";

pub(super) fn merge(pool: &Pool, text: &str) -> Result<String, MergeError> {
    yaml::merged(text, &Ours::Items(pool.models.iter().map(|model| item(pool, model)).collect()))
}

fn item(pool: &Pool, model: &Model) -> String {
    // The plain names may be those of models that llm asks OpenAI for itself.
    let mut lines = vec![
        format!("- model_id: {}", scalar(&format!("duopool/{}", model.name))),
        format!("  model_name: {}", scalar(&model.name)),
        format!("  api_base: {}", scalar(&pool.v1())),
    ];
    if pool.key != Key::Any {
        lines.push(format!("  api_key_name: {KEY_NAME}"));
    }
    lines.push("  vision: true\n  supports_schema: true\n  supports_tools: true\n".to_owned());
    lines.join("\n")
}

pub(super) fn environment(pool: &Pool) -> Vec<(String, String)> {
    vec![("ANTHROPIC_BASE_URL".to_owned(), pool.url.clone()), ("ANTHROPIC_API_KEY".to_owned(), pool.shell_key())]
}

pub(super) fn notes(pool: &Pool) -> Vec<String> {
    let mut notes = Vec::new();
    if let Key::Environment(name) = &pool.key {
        notes.push(format!("Give llm the key once: llm keys set {KEY_NAME} --value \"${name}\""));
    }
    if let Some(model) = pool.main_with_sampling() {
        notes.push(format!("Then: llm -m duopool/{model} 'Hello!', or for good: llm models default duopool/{model}"));
    }
    notes.push("The variables are for llm-anthropic, which asks for Claude models by Anthropic's own API.".to_owned());
    notes
}

pub(super) fn probes(pool: &Pool) -> Vec<Probe> {
    pool.main_with_sampling().map(|model| probe::chat(model, false)).into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::super::pool::sample;
    use super::*;

    #[test]
    fn models_have_names_that_llm_does_not_use_itself() {
        let text = merge(&sample(Key::Any), "- model_id: mine\n  model_name: x\n").expect("merged");
        assert!(text.starts_with("- model_id: mine\n  model_name: x\n# duopool: begin"), "{text}");
        assert!(text.contains("- model_id: duopool/gpt-5.5\n  model_name: gpt-5.5\n"), "{text}");
        assert!(!text.contains("api_key_name"));
        let closed = merge(&sample(Key::Environment("K".to_owned())), &text).expect("merged");
        assert!(closed.contains("  api_key_name: duopool\n"));
    }
}
