//! `duopool config`.

use crate::cli::output;
use crate::config::Config;

pub(super) fn run(json: output::Json, config: &Config) -> anyhow::Result<()> {
    if json.json {
        return output::print_json(&config.effective);
    }
    let settings = config.effective.as_object().into_iter().flatten();
    for (name, value) in settings {
        let text = match value {
            serde_json::Value::Null => "(not set)".to_owned(),
            serde_json::Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        output::line(&format!("{name:<30}{text}"))?;
    }
    Ok(())
}
