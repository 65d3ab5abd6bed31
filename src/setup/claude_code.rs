//! Claude Code: `~/.claude/settings.json`.
//!
//! Source: code.claude.com/docs, settings and LLM gateways; seen with Claude Code 2.1.330.

use serde_json::{Value, json};

use super::json::Document;
use super::pool::{ANY, Key, Pool};
use super::probe::{self, Credential, Probe};
use super::{MergeError, at};

/// The variables of its model names, and the families that they stand for.
const FAMILIES: [(&str, &str); 4] = [
    ("ANTHROPIC_DEFAULT_OPUS_MODEL", "claude-opus"),
    ("ANTHROPIC_DEFAULT_SONNET_MODEL", "claude-sonnet"),
    ("ANTHROPIC_DEFAULT_HAIKU_MODEL", "claude-haiku"),
    ("ANTHROPIC_DEFAULT_FABLE_MODEL", "claude-fable"),
];

pub(super) fn merge(pool: &Pool, text: &str) -> Result<String, MergeError> {
    let document = Document::parse(text)?;
    let mut env = json!({ "ANTHROPIC_BASE_URL": pool.url, "CLAUDE_CODE_ENABLE_GATEWAY_MODEL_DISCOVERY": "1" });
    let stand_in = |family: &str| if family == "claude-haiku" { pool.small() } else { pool.main() };
    for (variable, family) in FAMILIES {
        // A pool without Claude models serves Claude Code all the same, under the names that it asks for by itself.
        let own = pool.newest(family).map(|model| model.name.as_str());
        let is_foreign = pool.newest("claude-").is_none();
        if let Some(model) = own.or_else(|| stand_in(family).filter(|_| is_foreign)) {
            env[variable] = json!(model);
        }
    }
    // Without one, its user's choice in `/model` counts.
    if let Some(wanted) = &pool.wanted {
        env["ANTHROPIC_MODEL"] = json!(wanted);
    }
    let mut set = json!({});
    // A key for another address must not go to this one, and one for this address may be the right one.
    let is_ours =
        at(document.value(), &["env", "ANTHROPIC_BASE_URL"]).and_then(Value::as_str) == Some(pool.url.as_str());
    let mut remove: Vec<&[&str]> = vec![&["env", "ANTHROPIC_API_KEY"]];
    match &pool.key {
        Key::Any => {
            env["ANTHROPIC_AUTH_TOKEN"] = json!(ANY);
            // It would be asked for a key as well, and Claude Code warns of two.
            remove.push(&["apiKeyHelper"]);
        }
        Key::Environment(_)
            if is_ours && at(document.value(), &["env", "ANTHROPIC_AUTH_TOKEN"]).is_some_and(is_key) =>
        {
            remove.clear();
        }
        Key::Environment(name) => {
            remove.push(&["env", "ANTHROPIC_AUTH_TOKEN"]);
            set["apiKeyHelper"] = json!(format!("printenv {name}"));
        }
    }
    set["env"] = env;
    document.merged(&set, &remove)
}

/// Returns whether a token is one, and not the word that an open pool was given.
fn is_key(token: &Value) -> bool {
    token.as_str().is_some_and(|token| !token.is_empty() && token != ANY)
}

pub(super) fn command(pool: &Pool) -> String {
    let (url, key) = (&pool.url, pool.shell_key());
    let model = pool.main().map(|model| format!(" --model {model}")).unwrap_or_default();
    format!("ANTHROPIC_BASE_URL={url} ANTHROPIC_AUTH_TOKEN={key} claude{model}")
}

pub(super) fn notes(pool: &Pool) -> Vec<String> {
    let mut notes = Vec::new();
    if let Some(gpt) = pool.gpt() {
        notes.push(format!("GPT models serve, too: claude --model {gpt}. Claude Code lists none in /model whose name does not begin with `claude`."));
    }
    notes.push(
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC=1 in `env` also turns its telemetry and its updates off.".to_owned(),
    );
    notes
}

pub(super) fn probes(pool: &Pool) -> Vec<Probe> {
    let newest = |family: &str| pool.newest(family).map(|model| model.name.as_str());
    // Titles and other side tasks go to the small one: a session is broken without it, too.
    let usual = ["claude-opus", "claude-sonnet", "claude-haiku"].map(newest);
    let mut models: Vec<&str> = match &pool.wanted {
        Some(wanted) => [Some(wanted.as_str()), usual[2]].into_iter().flatten().collect(),
        None => usual.into_iter().flatten().collect(),
    };
    models.dedup();
    if models.is_empty() {
        models.extend(pool.main());
    }
    models.iter().map(|model| probe::messages(model, true, Credential::Bearer)).collect()
}

#[cfg(test)]
mod tests {
    use super::super::pool::sample;
    use super::*;

    fn merged(pool: &Pool, before: &str) -> Value {
        let after = merge(pool, before).expect("merged");
        assert_eq!(merge(pool, &after).as_deref(), Ok(after.as_str()), "{before}");
        serde_json::from_str(&after).expect("JSON without comments")
    }

    fn with_key() -> Pool {
        sample(Key::Environment("DUOPOOL_KEY".to_owned()))
    }

    #[test]
    fn an_open_pool_takes_any_key() {
        let said = merged(
            &sample(Key::Any),
            "{\n  \"model\": \"opus\",\n  \"permissions\": { \"allow\": [\"Bash(ls)\"] }\n}\n",
        );
        assert_eq!((&said["model"], &said["permissions"]["allow"][0]), (&json!("opus"), &json!("Bash(ls)")));
        let env = &said["env"];
        assert_eq!(
            (&env["ANTHROPIC_BASE_URL"], &env["ANTHROPIC_AUTH_TOKEN"]),
            (&json!("http://127.0.0.1:8080"), &json!("any"))
        );
        assert_eq!(
            (&env["ANTHROPIC_DEFAULT_SONNET_MODEL"], env.get("ANTHROPIC_MODEL")),
            (&json!("claude-sonnet-5"), None)
        );
        assert!(env.as_object().expect("an object").values().all(Value::is_string), "{env}");
    }

    #[test]
    fn a_key_comes_out_of_the_environment_and_never_from_another_address() {
        let said = merged(&with_key(), "{}");
        assert_eq!(
            (&said["apiKeyHelper"], said["env"].get("ANTHROPIC_AUTH_TOKEN")),
            (&json!("printenv DUOPOOL_KEY"), None)
        );
        let said = merged(
            &with_key(),
            r#"{"env":{"ANTHROPIC_BASE_URL":"https://x.example","ANTHROPIC_AUTH_TOKEN":"theirs","ANTHROPIC_API_KEY":"theirs"}}"#,
        );
        assert_eq!(said["apiKeyHelper"], json!("printenv DUOPOOL_KEY"));
        assert!(!said.to_string().contains("theirs"), "{said}");
        // One that its user has put in for this pool stays.
        let ours = r#"{"env":{"ANTHROPIC_BASE_URL":"http://127.0.0.1:8080","ANTHROPIC_AUTH_TOKEN":"mine-0123456789"}}"#;
        let said = merged(&with_key(), ours);
        assert_eq!((&said["env"]["ANTHROPIC_AUTH_TOKEN"], said.get("apiKeyHelper")), (&json!("mine-0123456789"), None));
        // From open to closed and back.
        let open = merged(&sample(Key::Any), "{}").to_string();
        let closed = merged(&with_key(), &open);
        assert_eq!(
            (&closed["apiKeyHelper"], closed["env"].get("ANTHROPIC_AUTH_TOKEN")),
            (&json!("printenv DUOPOOL_KEY"), None)
        );
        let open = merged(&sample(Key::Any), &closed.to_string());
        assert_eq!((open.get("apiKeyHelper"), &open["env"]["ANTHROPIC_AUTH_TOKEN"]), (None, &json!("any")));
    }
}
