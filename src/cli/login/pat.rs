//! A login with a personal access token.

use std::io::{IsTerminal as _, Read as _};

use anyhow::{Context as _, bail};
use serde_json::json;

use crate::account::view::AccountView;
use crate::cli::client::Client;
use crate::cli::login::Login;
use crate::cli::output;
use crate::config::Config;
use crate::domain::endpoint::{GatewayUrl, InstanceUrl};
use crate::domain::secret::Secret;

/// Longer input is no token, in bytes.
const TOKEN_BYTES_MAX: u64 = 4 * 1024;

/// Adds the account of a token, or gives a known one the token.
pub(super) async fn run(
    flags: &Login,
    config: Config,
    base_url: &InstanceUrl,
    gateway_url: Option<&GatewayUrl>,
) -> anyhow::Result<()> {
    let token = match config.gitlab.personal_access_token.clone() {
        Some(token) => token,
        None => read_token(base_url)?,
    };
    let request = json!({
        "base_url": base_url,
        "personal_access_token": token.expose(),
        "gateway_url": gateway_url,
        "label": flags.label,
        "pool": flags.pool,
        "renew": true,
    });
    let client = Client::connect(config).await?;
    let added = client.post::<AccountView>("/admin/v1/accounts", &request).await;
    client.close().await;
    let account = added?;
    if flags.json.json { output::print_json(&account) } else { describe(&account) }
}

fn describe(account: &AccountView) -> anyhow::Result<()> {
    let expiry = account.token_expires_on.as_deref().map_or("never".to_owned(), |day| format!("on {day}"));
    output::line(&format!("account {} of {} on {} is in the pool", account.id, account.username, account.base_url))?;
    output::line(&format!("  token: scopes {}, expires {expiry}", account.token_scopes.join(", ")))?;
    output::line(&format!("  GitLab Duo access: yes, `gitlab-duo` means {}", account.current_model))
}

/// Reads a token from whoever types it, or from standard input.
pub(in crate::cli) fn read_token(base_url: &InstanceUrl) -> anyhow::Result<Secret<String>> {
    let mut stdin = std::io::stdin();
    let text = if stdin.is_terminal() {
        eprintln!("Create a personal access token with scope `ai_features` or `api` at");
        eprintln!("  {base_url}/-/user_settings/personal_access_tokens");
        rpassword::prompt_password("and paste it here (it is not shown): ")?
    } else {
        let mut text = String::new();
        stdin.by_ref().take(TOKEN_BYTES_MAX).read_to_string(&mut text).context("standard input")?;
        text
    };
    let token = text.trim();
    if token.is_empty() {
        bail!("no token: set GITLAB_PERSONAL_ACCESS_TOKEN, or give the token on standard input");
    }
    Ok(Secret::new(token.to_owned()))
}
