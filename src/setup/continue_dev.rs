//! Continue: `~/.continue/config.yaml`.
//!
//! Source: docs.continue.dev, config.yaml reference; `continue` is a word of the language, hence this file's name.

use super::MergeError;
use super::pool::{ANY, Key, Model, Pool};
use super::probe::{self, Credential, Probe};
use super::yaml::{self, Ours, scalar};
use crate::domain::model::Provider;

/// What the reference wants at the beginning of a file.
const HEAD: &str = "name: duopool\nversion: 1.0.0\nschema: v1";

pub(super) fn merge(pool: &Pool, text: &str) -> Result<String, MergeError> {
    let wanted = pool.main();
    let (first, rest): (Vec<_>, Vec<_>) = pool.models.iter().partition(|model| Some(model.name.as_str()) == wanted);
    let items: String = first.into_iter().chain(rest).map(|model| item(pool, model)).collect();
    yaml::merged(text, &Ours::ItemsOf { member: "models", items, head: HEAD })
}

fn item(pool: &Pool, model: &Model) -> String {
    let provider = match model.provider {
        Provider::Anthropic => "anthropic",
        Provider::OpenAi => "openai",
    };
    let key = match &pool.key {
        Key::Any => ANY.to_owned(),
        Key::Environment(name) => format!("${{{{ secrets.{name} }}}}"),
    };
    let lines = [
        format!("- name: {}", scalar(&format!("{} (duopool)", model.display_name))),
        format!("  provider: {provider}"),
        format!("  model: {}", scalar(&model.name)),
        format!("  apiBase: {}", scalar(&pool.v1())),
        format!("  apiKey: {}", scalar(&key)),
        "  capabilities:\n    - tool_use\n    - image_input".to_owned(),
        "  defaultCompletionOptions:".to_owned(),
        format!("    contextLength: {}", model.context_tokens),
        format!("    maxTokens: {}", model.output_tokens),
    ];
    lines.join("\n") + "\n"
}

pub(super) fn notes(pool: &Pool) -> Vec<String> {
    match &pool.key {
        Key::Any => Vec::new(),
        Key::Environment(name) => {
            vec![format!("Continue takes {name} from ~/.continue/.env: write the line `{name}=…` there.")]
        }
    }
}

pub(super) fn probes(pool: &Pool) -> Vec<Probe> {
    let claude = pool.claude().map(|model| probe::messages(model, true, Credential::ApiKey));
    let gpt = pool.gpt().map(|model| probe::responses(model, true));
    claude.into_iter().chain(gpt).collect()
}

#[cfg(test)]
mod tests {
    use super::super::pool::sample;
    use super::*;

    #[test]
    fn the_model_that_was_asked_for_is_the_first() {
        let pool = Pool { wanted: Some("gpt-5.4".to_owned()), ..sample(Key::Environment("K".to_owned())) };
        let text = merge(&pool, "").expect("merged");
        assert!(text.starts_with("name: duopool\nversion: 1.0.0\nschema: v1\nmodels:\n"), "{text}");
        let first = text.lines().find(|line| line.contains("- name:"));
        assert_eq!(first, Some("  - name: GPT-5.4 (duopool)"));
        assert!(text.contains("    apiKey: \"${{ secrets.K }}\"\n"), "{text}");
    }
}
