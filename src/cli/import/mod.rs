//! `duopool import`: accounts from the files of another program.
//!
//! A command of its own and not a way to `login`, since nobody logs in: many accounts come at once, from files that nobody
//! may type on a command line, and each gets a line that says what became of it.

mod cliproxyapi;

use std::collections::HashSet;
use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use clap::{Args, ValueEnum};
use serde::Serialize;
use serde_json::{Value, json};

use crate::account::view::AccountView;
use crate::cli::client::Client;
use crate::cli::import::cliproxyapi::{Credential, Foreign, Unusable, parse};
use crate::cli::output;
use crate::config::Config;
use crate::domain::endpoint::{GatewayUrl, InstanceUrl};
use crate::domain::secret::Secret;
use crate::http::admin::accounts::AccountList;
use crate::http::admin::imports::ImportView;

/// No file of a login is larger, in bytes.
const FILE_BYTES_MAX: u64 = 256 * 1024;
/// Nobody has more accounts.
const FILES_MAX: usize = 10_000;

/// Takes over GitLab accounts. Stop the other program first, and do not use its files any more: GitLab replaces both tokens
/// of an OAuth login whenever either program renews them, and the other one is logged out.
#[derive(Debug, Args)]
pub(super) struct Import {
    /// Whose files they are
    #[arg(long, value_enum, default_value = "cliproxyapi")]
    from: Program,
    /// Files, or folders with files called `gitlab-*.json`
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// Says what would be done, and asks GitLab nothing
    #[arg(long)]
    dry_run: bool,
    /// Which keys may use the accounts [default: default]
    #[arg(long)]
    pool: Option<String>,
    /// The AI gateway of the accounts, where GitLab does not name the right one
    #[arg(long, value_name = "URL")]
    gateway_url: Option<String>,
    #[command(flatten)]
    json: output::Json,
}

/// A program whose files are understood.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Program {
    /// `CLIProxyAPI`, and what was made of it
    Cliproxyapi,
}

/// What became of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Outcome {
    Imported,
    /// It would be.
    Importable,
    /// Its tokens are stored, and whose they are is asked again.
    Pending,
    Known,
    Unusable,
    /// The server got it and never said what became of it.
    Unknown,
    /// The server was not asked: it had gone before.
    NotAsked,
}

#[derive(Debug, Serialize)]
struct Line {
    file: String,
    outcome: Outcome,
    /// Id of the account.
    #[serde(skip_serializing_if = "Option::is_none")]
    account: Option<String>,
    message: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    fix: String,
    #[serde(skip)]
    is_pair: bool,
}

/// What the other program's users must know, once tokens have changed hands.
const WARNING: &str =
    "Do not start the other program with these files again: at the next renewal GitLab would log one of the two out.";

impl Import {
    pub(super) async fn run(self, config: Config) -> anyhow::Result<()> {
        let Program::Cliproxyapi = self.from;
        if let Some(url) = &self.gateway_url {
            GatewayUrl::parse(url).context("--gateway-url")?;
        }
        let files = self.files()?;
        if files.is_empty() {
            bail!("there is no file called gitlab-*.json; the other program keeps them in its `auth-dir`");
        }
        let oauth = config.gitlab.oauth.clone();
        let own_app = oauth.client_id.zip(oauth.client_secret);
        let client = Client::connect(config).await?;
        let lines = self.import(&client, &files, own_app.as_ref()).await;
        client.close().await;
        self.print(&lines)?;
        let count = |outcome: Outcome| lines.iter().filter(|line| line.outcome == outcome).count();
        let (unusable, unsettled) = (count(Outcome::Unusable), count(Outcome::Unknown) + count(Outcome::NotAsked));
        if unsettled > 0 {
            bail!(
                "of {} files {unusable} could not be used, and of {unsettled} it is not known or was not asked: see `duopool accounts list`, then run it again",
                lines.len()
            );
        }
        if unusable > 0 {
            bail!("{unusable} of {} files could not be used", lines.len());
        }
        Ok(())
    }

    /// Returns the files that are meant, each once, those of a folder in the order of their names.
    fn files(&self) -> anyhow::Result<Vec<PathBuf>> {
        let mut files = Vec::new();
        for path in &self.paths {
            if !path.is_dir() {
                files.push(path.clone());
                continue;
            }
            let entries = fs::read_dir(path).with_context(|| format!("{} cannot be read", path.display()))?;
            let is_meant = |path: &PathBuf| {
                let name = path.file_name().unwrap_or_default().to_string_lossy();
                name.starts_with("gitlab-") && path.extension().is_some_and(|extension| extension == "json")
            };
            let mut found: Vec<PathBuf> =
                entries.take(FILES_MAX).filter_map(|entry| Some(entry.ok()?.path())).filter(is_meant).collect();
            found.sort();
            files.append(&mut found);
        }
        let mut seen = HashSet::new();
        files.retain(|file| seen.insert(fs::canonicalize(file).unwrap_or_else(|_| file.clone())));
        Ok(files)
    }

    async fn import(
        &self,
        client: &Client,
        files: &[PathBuf],
        own_app: Option<&(String, Secret<String>)>,
    ) -> Vec<Line> {
        let mut lines = Vec::new();
        for (done, file) in files.iter().enumerate() {
            // Asked anew each time: two files may be of one account.
            let known: AccountList = match client.get("/admin/v1/accounts").await {
                Ok(known) => known,
                Err(error) => {
                    // What became of the files before must be told all the same.
                    lines.extend(files.iter().skip(done).map(|file| not_asked(file, &error)));
                    break;
                }
            };
            let (outcome, account, message, fix, is_pair) = match read(file).and_then(|bytes| parse(&bytes)) {
                Err(Unusable { why, fix }) => (Outcome::Unusable, None, why, fix, false),
                Ok(foreign) => {
                    let is_pair = matches!(foreign.credential, Credential::Pair { .. });
                    let (outcome, account, message, fix) = self.one(client, foreign, &known.accounts, own_app).await;
                    (outcome, account, message, fix, is_pair)
                }
            };
            lines.push(Line { file: file.display().to_string(), outcome, account, message, fix, is_pair });
        }
        lines
    }

    async fn one(
        &self,
        client: &Client,
        foreign: Foreign,
        known: &[AccountView],
        own_app: Option<&(String, Secret<String>)>,
    ) -> (Outcome, Option<String>, String, String) {
        let unusable = |why: String, fix: &str| (Outcome::Unusable, None, why, fix.to_owned());
        let instance = match InstanceUrl::parse(&foreign.base_url) {
            Ok(instance) => instance,
            Err(error) => return unusable(format!("its `base_url` {error}"), ""),
        };
        let who =
            foreign.username.as_deref().map_or_else(|| instance.to_string(), |name| format!("{name} on {instance}"));
        // Before anything is asked: a pair that has ended would have to be renewed to learn whose it is.
        let same = |account: &&AccountView| {
            account.base_url == instance.as_str() && foreign.username.as_deref() == Some(account.username.as_str())
        };
        if let Some(account) = known.iter().find(same) {
            return (
                Outcome::Known,
                Some(account.id.clone()),
                format!("{who} is in the pool already, and stays as it is"),
                String::new(),
            );
        }
        if self.dry_run {
            return (Outcome::Importable, None, format!("{who} would be asked for"), String::new());
        }
        match self.send(client, &instance, &foreign.credential, own_app).await {
            Ok(Sent { account: Some(id), .. }) => {
                (Outcome::Imported, Some(id.clone()), format!("account {id} of {who}"), String::new())
            }
            Ok(Sent { problem: Some((message, fix)), .. }) => (Outcome::Pending, None, message, fix),
            Ok(Sent { .. }) => unknown("the server does not say what became of it"),
            Err(Refusal::Known { message, fix }) => (Outcome::Known, None, message, fix),
            Err(Refusal::Refused { message, fix }) => unusable(message, &fix),
            Err(Refusal::Broken(error)) => unknown(&format!("{error:#}")),
        }
    }

    async fn send(
        &self,
        client: &Client,
        instance: &InstanceUrl,
        credential: &Credential,
        own_app: Option<&(String, Secret<String>)>,
    ) -> Result<Sent, Refusal> {
        let mut body = json!({ "base_url": instance, "pool": self.pool, "gateway_url": self.gateway_url });
        match credential {
            Credential::Token(token) => {
                body["personal_access_token"] = json!(token.expose());
                let added: AccountView =
                    client.post_or_problem("/admin/v1/accounts", &body).await.map_err(Refusal::of)?;
                Ok(Sent { account: Some(added.id), problem: None })
            }
            Credential::Pair { client_id, client_secret, access_token, refresh_token, expires_at, scopes } => {
                // Its command line does not write the secret of a confidential application down.
                let own = own_app.filter(|(id, _)| id == client_id).map(|(_, secret)| secret);
                let secret = client_secret.as_ref().or(own).map(Secret::expose);
                body["client_id"] = json!(client_id);
                body["client_secret"] = json!(secret);
                body["access_token"] = json!(access_token.expose());
                body["refresh_token"] = json!(refresh_token.expose());
                body["expires_at"] = json!(expires_at);
                body["scopes"] = json!(Some(scopes).filter(|scopes| !scopes.is_empty()));
                let view: ImportView = client.post_or_problem("/admin/v1/imports", &body).await.map_err(Refusal::of)?;
                Ok(Sent { account: view.account, problem: view.problem.map(|problem| (problem.message, problem.fix)) })
            }
        }
    }

    fn print(&self, lines: &[Line]) -> anyhow::Result<()> {
        if self.json.json {
            let count = |outcome: Outcome| lines.iter().filter(|line| line.outcome == outcome).count();
            let value: Value = json!({
                "files": lines,
                "imported": count(Outcome::Imported),
                "known": count(Outcome::Known),
                "unusable": count(Outcome::Unusable),
                "unknown": count(Outcome::Unknown),
                "not_asked": count(Outcome::NotAsked),
            });
            return output::print_json(&value);
        }
        for Line { file, outcome, message, fix, .. } in lines {
            let word = match outcome {
                Outcome::Imported => "imported",
                Outcome::Importable => "would be imported",
                Outcome::Pending => "stored",
                Outcome::Known => "known",
                Outcome::Unusable => "UNUSABLE",
                Outcome::Unknown => "UNKNOWN",
                Outcome::NotAsked => "NOT ASKED",
            };
            output::line(&format!("{word:<10}{file}: {message}"))?;
            if !fix.is_empty() {
                output::line(&format!("          to mend it: {fix}"))?;
            }
        }
        let has_moved = |line: &Line| {
            line.is_pair && matches!(line.outcome, Outcome::Imported | Outcome::Pending | Outcome::Unknown)
        };
        if lines.iter().any(has_moved) { output::line(WARNING) } else { Ok(()) }
    }
}

/// What the server made of an account.
struct Sent {
    account: Option<String>,
    /// What keeps it from being told whose the tokens are, and what to do.
    problem: Option<(String, String)>,
}

/// Why a file is no account by it.
enum Refusal {
    /// Its account is there already.
    Known { message: String, fix: String },
    /// The server did not take it.
    Refused { message: String, fix: String },
    /// Nobody knows: the answer never came.
    Broken(anyhow::Error),
}

fn unknown(why: &str) -> (Outcome, Option<String>, String, String) {
    let message = format!("the server may have taken it over: {why}");
    (Outcome::Unknown, None, message, "see `duopool accounts list`".to_owned())
}

fn not_asked(file: &Path, error: &anyhow::Error) -> Line {
    Line {
        file: file.display().to_string(),
        outcome: Outcome::NotAsked,
        account: None,
        message: format!("not asked: {error:#}"),
        fix: "run it again once the server runs".to_owned(),
        is_pair: false,
    }
}

impl Refusal {
    fn of(problem: crate::cli::client::Refused) -> Self {
        use crate::cli::client::Refused;
        match problem {
            Refused::Problem(problem) => {
                let message = if problem.detail.is_empty() { problem.title } else { problem.detail };
                if problem.status == 409 {
                    Self::Known { message, fix: problem.fix }
                } else {
                    Self::Refused { message, fix: problem.fix }
                }
            }
            Refused::Broken(error) => Self::Broken(error),
        }
    }
}

fn read(path: &Path) -> Result<Vec<u8>, Unusable> {
    let failed = |error: std::io::Error| Unusable { why: format!("it cannot be read: {error}"), fix: String::new() };
    // What is no file may be a pipe that is never written to.
    if !fs::metadata(path).map_err(failed)?.is_file() {
        return Err(Unusable { why: "it is no file".to_owned(), fix: String::new() });
    }
    let mut bytes = Vec::new();
    fs::File::open(path).map_err(failed)?.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(Unusable {
            why: format!("it is larger than any file of a login, {FILE_BYTES_MAX} bytes"),
            fix: String::new(),
        });
    }
    Ok(bytes)
}
