//! What clients have to be told so that they use this pool, and how that gets into their own settings files.
//!
//! One source for every place that says it: `duopool setup` prints it, `--write` merges it into the client's file,
//! `--check` asks the pool what the client would ask, and the demo prints its one-liners. Pure: text and values in, text
//! and values out. Reading and replacing files, and sending, is the command line's.
//!
//! What a merge promises: what the file said before, it says after, but for the settings that are named here; comments,
//! order and line ends stay; a second merge changes nothing. Each merge reads its own result back, and is refused where that
//! is not so. Nothing here has the value of a key: a client's key comes from an environment variable, or is any word where
//! the pool is open.

mod aider;
mod claude_code;
mod codex;
mod continue_dev;
mod cursor;
mod diff;
mod json;
mod llm;
mod opencode;
mod place;
mod pool;
mod probe;
mod sdk;
#[cfg(test)]
mod tests;
mod toml;
mod yaml;

use serde_json::Value;

pub(crate) use diff::diff;
pub(crate) use place::place;
pub(crate) use pool::{Key, Model, Pool, model_name, pool_url};
pub(crate) use probe::{Answer, Credential, Finding, Outcome, Probe, judge};

/// A client that is known here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Client {
    /// Anthropic's Claude Code
    ClaudeCode,
    /// `OpenAI`'s Codex CLI
    Codex,
    /// `OpenCode`
    Opencode,
    /// aider
    Aider,
    /// Cursor; its settings are entered by hand
    Cursor,
    /// Continue, in an editor or as `cn`
    Continue,
    /// Simon Willison's `llm`
    Llm,
    /// The vendors' SDKs and Vercel's, for programs of your own
    Sdk,
}

/// Why settings cannot be merged into a file. The text has nothing of the file but names of settings.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum MergeError {
    /// It is not what it should be.
    #[error("it is not valid {format}: {problem}")]
    Invalid {
        /// `JSON`, `TOML` or `YAML`.
        format: &'static str,
        /// What is wrong, and where.
        problem: String,
    },
    /// A setting that is to be made is there already, in another form.
    #[error("{0}")]
    Conflict(String),
    /// The result would not say what it should.
    #[error("its form is one that cannot be added to safely")]
    Unsafe,
    /// There is no such file.
    #[error("{0}")]
    NoFile(&'static str),
}

/// A text to paste somewhere.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub(crate) struct Snippet {
    /// What it is, such as `Python, anthropic`.
    pub(crate) title: String,
    /// The text.
    pub(crate) text: String,
}

impl Client {
    /// Returns its name for people.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::ClaudeCode => "Claude Code",
            Self::Codex => "Codex CLI",
            Self::Opencode => "OpenCode",
            Self::Aider => "aider",
            Self::Cursor => "Cursor",
            Self::Continue => "Continue",
            Self::Llm => "llm",
            Self::Sdk => "SDKs",
        }
    }

    /// Merges its settings for `pool` into the text of its file; an empty text gives the settings alone.
    pub(crate) fn merge(self, pool: &Pool, before: &str) -> Result<String, MergeError> {
        let (mark, text) = before.strip_prefix('\u{feff}').map_or(("", before), |text| ("\u{feff}", text));
        // The editors of JSON and TOML differ in what they make of line ends: they see one kind alone.
        let returns = text.matches("\r\n").count();
        let is_dos = returns > 0 && returns == text.matches('\n').count();
        let unix = if is_dos { text.replace("\r\n", "\n") } else { text.to_owned() };
        let merged = match self {
            Self::ClaudeCode => claude_code::merge(pool, &unix),
            Self::Codex => codex::merge(pool, &unix),
            Self::Opencode => opencode::merge(pool, &unix),
            Self::Aider => aider::merge(pool, &unix),
            Self::Continue => continue_dev::merge(pool, &unix),
            Self::Llm => llm::merge(pool, &unix),
            Self::Cursor => Err(MergeError::NoFile(cursor::NO_FILE)),
            Self::Sdk => Err(MergeError::NoFile(sdk::NO_FILE)),
        }?;
        Ok(format!("{mark}{}", if is_dos { merged.replace('\n', "\r\n") } else { merged }))
    }

    /// Returns the environment variables that it needs beside its file, as they are exported in a shell.
    pub(crate) fn environment(self, pool: &Pool) -> Vec<(String, String)> {
        match self {
            Self::Aider => aider::environment(pool),
            Self::Llm => llm::environment(pool),
            Self::Sdk => sdk::environment(pool),
            Self::ClaudeCode | Self::Codex | Self::Opencode | Self::Cursor | Self::Continue => Vec::new(),
        }
    }

    /// Returns a line of shell that starts it on this pool and changes no file, if there is one.
    pub(crate) fn command(self, pool: &Pool) -> Option<String> {
        match self {
            Self::ClaudeCode => Some(claude_code::command(pool)),
            Self::Codex => Some(codex::command(pool)),
            Self::Aider => Some(aider::command(pool)),
            Self::Opencode | Self::Cursor | Self::Continue | Self::Llm | Self::Sdk => None,
        }
    }

    /// Returns texts to paste, or steps to take by hand.
    pub(crate) fn snippets(self, pool: &Pool) -> Vec<Snippet> {
        match self {
            Self::Cursor => cursor::snippets(pool),
            Self::Sdk => sdk::snippets(pool),
            _ => Vec::new(),
        }
    }

    /// Returns what its user should know.
    pub(crate) fn notes(self, pool: &Pool) -> Vec<String> {
        match self {
            Self::ClaudeCode => claude_code::notes(pool),
            Self::Codex => codex::notes(pool),
            Self::Opencode => opencode::notes(pool),
            Self::Aider => aider::notes(pool),
            Self::Cursor => cursor::notes(pool),
            Self::Continue => continue_dev::notes(pool),
            Self::Llm => llm::notes(pool),
            Self::Sdk => Vec::new(),
        }
    }

    /// Returns what to ask the pool in its place, to see whether it will work.
    pub(crate) fn probes(self, pool: &Pool) -> Vec<Probe> {
        match self {
            Self::ClaudeCode => claude_code::probes(pool),
            Self::Codex => codex::probes(pool),
            Self::Opencode => opencode::probes(pool),
            Self::Aider => aider::probes(pool),
            Self::Cursor => cursor::probes(pool),
            Self::Continue => continue_dev::probes(pool),
            Self::Llm => llm::probes(pool),
            Self::Sdk => sdk::probes(pool),
        }
    }
}

/// Returns `into` with `more` laid over it: objects are merged, whatever else is replaced.
fn laid_over(into: &mut Value, more: &Value) {
    match (into, more) {
        (Value::Object(into), Value::Object(more)) => {
            for (name, value) in more {
                laid_over(into.entry(name.clone()).or_insert(Value::Null), value);
            }
        }
        (into, more) => *into = more.clone(),
    }
}

/// Returns a JSON object's value at `path`, if it is there.
fn at<'a>(value: &'a Value, path: &[&str]) -> Option<&'a Value> {
    path.iter().try_fold(value, |value, name| value.get(name))
}

/// Takes the value at `path` out of an object.
fn take_out(value: &mut Value, path: &[&str]) {
    let Some((last, way)) = path.split_last() else { return };
    let holder = way.iter().try_fold(value, |value, name| value.get_mut(name));
    if let Some(members) = holder.and_then(Value::as_object_mut) {
        members.shift_remove(*last);
    }
}
