//! `duopool rotate-master-key`.

use std::io::{IsTerminal as _, Read as _};

use anyhow::{Context as _, bail};

use crate::app;
use crate::cli::{backup, output};
use crate::config::Config;
use crate::domain::secret::Secret;

/// Where the new key comes from, if the operator wants to choose it.
const NEW_KEY: &str = "DUOPOOL_NEW_MASTER_KEY";
/// Longer input is no key, in bytes.
const KEY_BYTES_MAX: u64 = 4 * 1024;

/// Seals every secret under a new key. Without a key of the operator's own, it is drawn and kept in the data folder.
pub(super) async fn run(config: Config) -> anyhow::Result<()> {
    backup::refuse_while_served(&config, "the master key cannot be changed").await?;
    let new = match std::env::var(NEW_KEY).ok().filter(|text| !text.is_empty()) {
        Some(text) => Some(Secret::new(text)),
        None if config.master_key.is_some() => Some(read_key()?),
        None => None,
    };
    if let Some(path) = app::rotate_master_key(&config, new).await? {
        output::line(&format!("all secrets are sealed under a new master key, in {}", path.display()))?;
        output::line("keep a copy of it apart from the data")?;
    } else {
        output::line("all secrets are sealed under the new master key")?;
        output::line("set DUOPOOL_MASTER_KEY to it: the old one opens nothing any more")?;
    }
    output::line(
        "copies of the data made before still open under the old key: if that has leaked, renew the tokens too",
    )
}

fn read_key() -> anyhow::Result<Secret<String>> {
    let mut stdin = std::io::stdin();
    let text = if stdin.is_terminal() {
        rpassword::prompt_password("new master key, 32 bytes as base64 or hexadecimal digits (it is not shown): ")?
    } else {
        let mut text = String::new();
        stdin.by_ref().take(KEY_BYTES_MAX).read_to_string(&mut text).context("standard input")?;
        text
    };
    if text.trim().is_empty() {
        bail!("no new key: set {NEW_KEY}, or give the key on standard input (`openssl rand -base64 32` makes one)");
    }
    Ok(Secret::new(text))
}
