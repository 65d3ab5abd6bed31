//! `duopool backup` and `duopool restore`.

use std::fs::File;
use std::io::{self, IsTerminal as _, Read as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use clap::Args;
use serde_json::json;
use serde_json::value::RawValue;

use crate::app;
use crate::cli::client::{self, Client};
use crate::cli::output;
use crate::config::Config;
use crate::domain::secret::Secret;

const PASSPHRASE: &str = "DUOPOOL_BACKUP_PASSPHRASE";
/// A backup has some KiB per account; keeps a wrong path from being read whole.
const FILE_BYTES_MAX: u64 = 256 * 1024 * 1024;

/// Writes all accounts with their secrets into a file that opens under a passphrase, from `DUOPOOL_BACKUP_PASSPHRASE` or
/// asked for. A running server goes on serving.
#[derive(Debug, Args)]
pub(super) struct Backup {
    /// The file to make
    file: PathBuf,
}

impl Backup {
    pub(super) async fn run(self, config: Config) -> anyhow::Result<()> {
        let shown = self.file.display();
        if self.file.exists() {
            bail!("{shown} exists already, and a backup never overwrites a file");
        }
        let passphrase = new_passphrase()?;
        let client = Client::connect(config).await?;
        let made =
            client.post::<Box<RawValue>>("/admin/v1/backup", &json!({ "passphrase": passphrase.expose() })).await;
        client.close().await;
        app::write_new_private(&self.file, made?.get().as_bytes()).with_context(|| format!("cannot write {shown}"))?;
        output::line(&format!("{shown} has all accounts; without the passphrase nobody can open it"))
    }
}

/// Brings accounts back from a backup. Not while a server runs.
#[derive(Debug, Args)]
pub(super) struct Restore {
    /// The file that `duopool backup` made
    file: PathBuf,
    /// Replaces credentials that are newer than the backup's, too
    #[arg(long)]
    overwrite_newer: bool,
    #[command(flatten)]
    json: output::Json,
}

impl Restore {
    pub(super) async fn run(self, config: Config) -> anyhow::Result<()> {
        let sealed = read(&self.file).with_context(|| format!("cannot read {}", self.file.display()))?;
        let passphrase = passphrase()?;
        refuse_while_served(&config, "accounts cannot be restored").await?;
        let restored = app::restore(&config, sealed, passphrase, self.overwrite_newer).await?;
        if self.json.json {
            return output::print_json(&json!({ "accounts": restored }));
        }
        if restored.is_empty() {
            return output::line("the backup has no accounts");
        }
        restored.iter().try_for_each(|one| {
            output::line(&format!(
                "account {} of {} on {}: {}",
                one.id,
                one.username,
                one.base_url,
                one.outcome.words()
            ))
        })
    }
}

/// Refuses what needs the data folder to itself.
pub(super) async fn refuse_while_served(config: &Config, what: &str) -> anyhow::Result<()> {
    match client::find_server(config).await {
        Some(address) => bail!("{what} while the server on {address} runs: stop it first"),
        None => Ok(()),
    }
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(FILE_BYTES_MAX).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Returns the passphrase of the environment; an empty one counts as none.
fn given() -> Option<Secret<String>> {
    std::env::var(PASSPHRASE).ok().filter(|text| !text.is_empty()).map(Secret::new)
}

fn passphrase() -> anyhow::Result<Secret<String>> {
    match given() {
        Some(passphrase) => Ok(passphrase),
        None if io::stdin().is_terminal() => {
            Ok(Secret::new(rpassword::prompt_password("passphrase of the backup (it is not shown): ")?))
        }
        None => bail!("no passphrase: set {PASSPHRASE}, or run this in a terminal"),
    }
}

fn new_passphrase() -> anyhow::Result<Secret<String>> {
    let first = passphrase()?;
    if given().is_none() && Secret::new(rpassword::prompt_password("the same once more: ")?) != first {
        bail!("the two passphrases differ");
    }
    Ok(first)
}
