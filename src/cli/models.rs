//! `duopool models`.

use crate::cli::client::Client;
use crate::cli::output;
use crate::config::Config;
use crate::http::admin::models::{ModelList, ModelView};

pub(super) async fn run(json: output::Json, config: Config) -> anyhow::Result<()> {
    let client = Client::connect(config).await?;
    let list = client.get::<ModelList>("/admin/v1/models").await;
    client.close().await;
    let list = list?;
    if json.json {
        return output::print_json(&list);
    }
    let rows: Vec<Vec<String>> = list.models.iter().map(row).collect();
    output::print_table(&["MODEL", "SERVED BY", "CONTEXT", "OUTPUT", "ALSO CALLED", "NOTES"], &rows)
}

fn row(model: &ModelView) -> Vec<String> {
    let mut notes = Vec::new();
    if model.deprecated {
        notes.push("deprecated".to_owned());
    }
    if !model.current_of.is_empty() {
        notes.push(format!("gitlab-duo of {} account(s)", model.current_of.len()));
    }
    vec![
        model.name.clone(),
        model.dialects.join(", "),
        model.context_tokens.to_string(),
        model.output_tokens.to_string(),
        model.aliases.join(", "),
        notes.join(", "),
    ]
}
