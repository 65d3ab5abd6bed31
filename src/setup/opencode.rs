//! `OpenCode`: `~/.config/opencode/opencode.json`, or `opencode.jsonc` where that is there; comments stay.
//!
//! Source: opencode.ai/docs, config and providers; seen with `OpenCode` 1.18.

use serde_json::{Map, Value, json};

use super::MergeError;
use super::json::Document;
use super::pool::{ANY, Key, Model, Pool};
use super::probe::{self, Credential, Probe};
use crate::domain::catalogue::CURRENT_MODEL;
use crate::domain::model::Provider;

pub(super) fn merge(pool: &Pool, text: &str) -> Result<String, MergeError> {
    let key = match &pool.key {
        Key::Any => ANY.to_owned(),
        Key::Environment(name) => format!("{{env:{name}}}"),
    };
    let provider = |npm: &str, name: &str, models: Map<String, Value>| json!({ "npm": npm, "name": name, "options": { "baseURL": pool.v1(), "apiKey": key }, "models": models });
    let of = |maker| pool.made_by(maker).map(|model| (model.name.clone(), described(model))).collect::<Map<_, _>>();
    let mut providers = Map::new();
    for (id, npm, name, models) in [
        (CLAUDE, "@ai-sdk/anthropic", "duopool (Claude)", of(Provider::Anthropic)),
        (GPT, "@ai-sdk/openai", "duopool (GPT)", of(Provider::OpenAi)),
    ] {
        if !models.is_empty() {
            providers.insert(id.to_owned(), provider(npm, name, models));
        }
    }
    let current =
        Map::from_iter([(CURRENT_MODEL.to_owned(), json!({ "name": "GitLab Duo (the account's own model)" }))]);
    providers.insert(ANY_MODEL.to_owned(), provider("@ai-sdk/openai-compatible", "duopool", current));
    let mut set = json!({ "$schema": "https://opencode.ai/config.json", "provider": providers });
    for (setting, model) in [("model", pool.main()), ("small_model", pool.small())] {
        if let Some(model) = model {
            set[setting] = json!(format!("{}/{model}", provider_of(model)));
        }
    }
    Document::parse(text)?.merged(&set, &[])
}

const CLAUDE: &str = "duopool-claude";
const GPT: &str = "duopool-gpt";
const ANY_MODEL: &str = "duopool";

fn provider_of(model: &str) -> &'static str {
    match Provider::of_name(model) {
        Some(Provider::Anthropic) => CLAUDE,
        Some(Provider::OpenAi) => GPT,
        None => ANY_MODEL,
    }
}

fn described(model: &Model) -> Value {
    json!({
        "name": model.display_name,
        "limit": { "context": model.context_tokens, "output": model.output_tokens },
        "attachment": true,
        "modalities": { "input": ["text", "image"], "output": ["text"] },
    })
}

pub(super) fn notes(_: &Pool) -> Vec<String> {
    vec!["An opencode.json in a project comes before this one; so does what `/models` was last set to.".to_owned()]
}

pub(super) fn probes(pool: &Pool) -> Vec<Probe> {
    let main = pool.main().map(|model| match provider_of(model) {
        CLAUDE => probe::messages(model, true, Credential::ApiKey),
        GPT => probe::responses(model, true),
        _ => probe::chat(model, true),
    });
    let gpt = pool.gpt().filter(|gpt| pool.main() != Some(gpt)).map(|model| probe::responses(model, true));
    main.into_iter().chain(gpt).collect()
}

#[cfg(test)]
mod tests {
    use super::super::pool::sample;
    use super::*;

    #[test]
    fn providers_are_added_beside_those_that_are_there() {
        let before = "{\n  // mine\n  \"theme\": \"x\",\n  \"provider\": {\n    \"own\": { \"options\": { \"apiKey\": \"k\" } }, // keep\n  },\n}\n";
        let after = merge(&sample(Key::Environment("MY_KEY".to_owned())), before).expect("merged");
        for kept in ["// mine", "\"theme\": \"x\"", "\"own\": { \"options\": { \"apiKey\": \"k\" } }, // keep"] {
            assert!(after.contains(kept), "{kept}: {after}");
        }
        assert!(
            after.contains("\"apiKey\": \"{env:MY_KEY}\"")
                && after.contains("\"model\": \"duopool-claude/claude-sonnet-5\""),
            "{after}"
        );
        assert_eq!(merge(&sample(Key::Environment("MY_KEY".to_owned())), &after).as_deref(), Ok(after.as_str()));
    }

    #[test]
    fn every_model_has_its_limits() {
        let after = merge(&sample(Key::Any), "").expect("merged");
        let said: Value = serde_json::from_str(&after).expect("JSON");
        let limit = |provider: &str, model: &str| said["provider"][provider]["models"][model]["limit"].clone();
        assert_eq!(limit(CLAUDE, "claude-haiku-4-5"), json!({ "context": 200_000, "output": 64_000 }));
        assert!(limit(GPT, "gpt-5.5")["context"].is_number(), "{after}");
    }
}
