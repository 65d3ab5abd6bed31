//! `duopool login`.

use std::io::{IsTerminal as _, Read as _};

use anyhow::{Context as _, bail};
use clap::Args;
use serde_json::json;

use crate::account::view::AccountView;
use crate::cli::client::Client;
use crate::cli::output;
use crate::config::Config;
use crate::domain::endpoint::{GatewayUrl, InstanceUrl};
use crate::domain::secret::Secret;

/// Longer input is no token, in bytes.
const TOKEN_BYTES_MAX: u64 = 4 * 1024;

/// Adds an account. The token is never a flag, where other users of the machine could read it.
#[derive(Debug, Args)]
pub(super) struct Login {
    #[arg(
        help = "Takes a personal access token, from GITLAB_PERSONAL_ACCESS_TOKEN or standard input",
        long,
        required = true
    )]
    pat: bool,
    #[arg(
        help = "Root of the GitLab instance [env: GITLAB_BASE_URL] [default: https://gitlab.com]",
        long,
        value_name = "URL"
    )]
    base_url: Option<String>,
    #[arg(
        help = "The AI gateway, where GitLab does not name the right one [env: GITLAB_AI_GATEWAY_URL]",
        long,
        value_name = "URL"
    )]
    gateway_url: Option<String>,
    /// A name for people
    #[arg(long)]
    label: Option<String>,
    /// Which keys may use the account [default: default]
    #[arg(long)]
    pool: Option<String>,
    #[command(flatten)]
    json: output::Json,
}

impl Login {
    pub(super) async fn run(self, config: Config) -> anyhow::Result<()> {
        let base_url = match &self.base_url {
            Some(text) => InstanceUrl::parse(text).with_context(|| format!("--base-url {text}"))?,
            None => config.gitlab.base_url.clone(),
        };
        let gateway_url = self.gateway_url.as_deref().map(GatewayUrl::parse).transpose().context("--gateway-url")?;
        let token = match config.gitlab.personal_access_token.clone() {
            Some(token) => token,
            None => read_token(&base_url)?,
        };
        let request = json!({
            "base_url": base_url,
            "personal_access_token": token.expose(),
            "gateway_url": gateway_url,
            "label": self.label,
            "pool": self.pool,
            "renew": true,
        });
        let client = Client::connect(config).await?;
        let added = client.post::<AccountView>("/admin/v1/accounts", &request).await;
        client.close().await;
        let account = added?;
        if self.json.json { output::print_json(&account) } else { describe(&account) }
    }
}

fn describe(account: &AccountView) -> anyhow::Result<()> {
    let expiry = account.token_expires_on.as_deref().map_or("never".to_owned(), |day| format!("on {day}"));
    output::line(&format!("account {} of {} on {} is in the pool", account.id, account.username, account.base_url))?;
    output::line(&format!("  token: scopes {}, expires {expiry}", account.token_scopes.join(", ")))?;
    output::line(&format!("  GitLab Duo access: yes, `gitlab-duo` means {}", account.current_model))
}

fn read_token(base_url: &InstanceUrl) -> anyhow::Result<Secret<String>> {
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
