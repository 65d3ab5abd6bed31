//! `duopool setup`: what a client has to be told so that it uses this pool.
//!
//! What is said, and how it is merged into a file, is decided in `crate::setup`; here the pool is found, files are read
//! and replaced, and what clients would ask is asked.

mod ask;
mod check;
mod file;
mod find;

use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow, bail};
use clap::Args;
use serde_json::{Value, json};

use crate::cli::output;
use crate::cli::setup::file::SettingsFile;
use crate::cli::setup::find::Found;
use crate::config::Config;
use crate::setup::{self, Client, Finding, model_name, pool_url};

/// Tells a client to use the pool. Without `--write` and `--check` it prints what to set where.
#[derive(Debug, Args)]
pub(super) struct Setup {
    /// Which client
    #[arg(value_enum)]
    client: Client,
    /// Merges the settings into the client's own file: after a backup beside it, and with the change shown
    #[arg(long)]
    write: bool,
    /// Asks the pool what the client would ask, and says what fails; it costs a few tokens
    #[arg(long)]
    check: bool,
    /// The model to begin with [default: the pool's newest that suits the client]
    #[arg(long, value_name = "NAME", value_parser = model_name)]
    model: Option<String>,
    /// The pool's address [default: where the server runs, or would run]
    #[arg(long, value_name = "URL", value_parser = pool_url)]
    url: Option<String>,
    /// Environment variable that holds the client's key [default: `DUOPOOL_KEY`; none where the pool is open]
    #[arg(long, value_name = "NAME", value_parser = variable_name)]
    key_env: Option<String>,
    /// The client's settings file [default: where the client looks for it]
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    #[command(flatten)]
    json: output::Json,
}

fn variable_name(text: &str) -> Result<String, String> {
    let is_name = !text.starts_with(|first: char| first.is_ascii_digit())
        && !text.is_empty()
        && text.chars().all(|char| char.is_ascii_alphanumeric() || char == '_');
    if is_name { Ok(text.to_owned()) } else { Err("that is no name of a variable".to_owned()) }
}

impl Setup {
    pub(super) async fn run(self, config: Config) -> anyhow::Result<()> {
        let found = find::pool(&self, &config).await?;
        let mut told = json!({
            "client": self.client.title(),
            "url": found.pool.url,
            "key": found.pool.key,
            "models": found.pool.models,
            "notes": self.notes(&found),
        });
        if self.write {
            told["written"] = self.merge(&found)?;
        } else if !self.check {
            told["settings"] = self.settings(&found)?;
        }
        let findings = if self.check { Some(check::run(self.client, &found).await) } else { None };
        if let Some(findings) = &findings {
            told["findings"] = json!(findings);
        }
        if self.json.json {
            output::print_json(&told)?;
        } else {
            print(&told, findings.as_deref().unwrap_or_default())?;
        }
        let failed = findings.iter().flatten().filter(|finding| !finding.ok).count();
        if failed > 0 {
            bail!(
                "{} will not work like this: {failed} of {} checks failed",
                self.client.title(),
                findings.map_or(0, |all| all.len())
            );
        }
        Ok(())
    }

    fn notes(&self, found: &Found) -> Vec<String> {
        found.notes.iter().cloned().chain(self.client.notes(&found.pool)).collect()
    }

    /// Returns where the client's settings are.
    fn place(&self) -> Option<PathBuf> {
        let usual = || setup::place(self.client, |name| std::env::var(name).ok(), Path::exists);
        self.file.clone().or_else(usual)
    }

    /// Returns the variables that the client needs beside its file.
    fn environment(&self, found: &Found) -> serde_json::Map<String, Value> {
        self.client.environment(&found.pool).into_iter().map(|(name, value)| (name, json!(value))).collect()
    }

    /// Returns what to set where.
    fn settings(&self, found: &Found) -> anyhow::Result<Value> {
        let pool = &found.pool;
        let content = match self.client.merge(pool, "") {
            Ok(text) => Some(text),
            Err(setup::MergeError::NoFile(_)) => None,
            Err(error) => return Err(error.into()),
        };
        Ok(json!({
            "file": content.as_ref().and_then(|_| self.place()),
            "content": content,
            "environment": self.environment(found),
            "command": self.client.command(pool),
            "snippets": self.client.snippets(pool),
        }))
    }

    /// Merges the settings into the client's file.
    fn merge(&self, found: &Found) -> anyhow::Result<Value> {
        let pool = &found.pool;
        let ours = self.client.merge(pool, "")?;
        let path = self.place().ok_or_else(|| anyhow!("no HOME to find the settings file in: name it with --file"))?;
        let file = SettingsFile::read(&path)?;
        let before = file.text();
        let after =
            self.client.merge(pool, before).with_context(|| format!("{} stays as it is", file.path().display()))?;
        let diff = setup::diff(&file.path().display().to_string(), before, &after, &ours);
        let is_changed = after != before;
        let backup = if is_changed { file.replace(&after)? } else { None };
        Ok(
            json!({ "file": file.path(), "changed": is_changed, "backup": backup, "diff": diff, "environment": self.environment(found) }),
        )
    }
}

fn print(told: &Value, findings: &[Finding]) -> anyhow::Result<()> {
    let mut lines: Vec<String> = Vec::new();
    if let Some(settings) = told.get("settings") {
        shown(&mut lines, settings);
    }
    if let Some(change) = told.get("written") {
        written(&mut lines, change);
    }
    for finding in findings {
        let mark = if finding.ok { "ok  " } else { "FAIL" };
        lines.push(format!("{mark}  {}: {}", finding.check, finding.message));
        if !finding.fix.is_empty() {
            lines.push(format!("        to mend it: {}", finding.fix));
        }
    }
    // A check says what there is to say.
    if findings.is_empty() {
        lines.extend(told["notes"].as_array().into_iter().flatten().map(|note| format!("note: {}", text(note))));
    }
    output::line(lines.join("\n").trim_end())
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// Adds lines that say what to set where.
fn shown(lines: &mut Vec<String>, settings: &Value) {
    if let Some(content) = settings["content"].as_str() {
        lines.push(format!("# {}", settings["file"].as_str().unwrap_or("its settings file")));
        lines.extend([content.trim_end().to_owned(), String::new()]);
    }
    for snippet in settings["snippets"].as_array().into_iter().flatten() {
        lines.extend([format!("# {}", text(&snippet["title"])), text(&snippet["text"])]);
    }
    exports(lines, settings["environment"].as_object().into_iter().flatten());
    if let Some(command) = settings["command"].as_str() {
        lines.extend(["# To try it without changing a file:".to_owned(), command.to_owned(), String::new()]);
    }
}

/// Adds lines that say what was changed.
fn written(lines: &mut Vec<String>, change: &Value) {
    let path = text(&change["file"]);
    if change["changed"] == json!(true) {
        let backup = change["backup"].as_str();
        let backup = backup.map(|backup| format!("; what was there is in {backup}")).unwrap_or_default();
        lines.extend([text(&change["diff"]).trim_end().to_owned(), format!("{path} is written{backup}")]);
    } else {
        lines.push(format!("{path} says all of it already"));
    }
    exports(lines, change["environment"].as_object().into_iter().flatten());
}

/// Adds lines for a shell that set variables.
fn exports<'a>(lines: &mut Vec<String>, variables: impl Iterator<Item = (&'a String, &'a Value)>) {
    let mut variables = variables.peekable();
    if variables.peek().is_some() {
        lines.push("# In the shell's profile:".to_owned());
        lines.extend(variables.map(|(name, value)| format!("export {name}={}", text(value))));
        lines.push(String::new());
    }
}
