//! `duopool doctor`: what stands between an account and a model, step by step.

use anyhow::{Context as _, bail};
use clap::Args;
use serde_json::json;

use crate::account::doctor::view::{Diagnosis, Finding, Verdict};
use crate::cli::accounts;
use crate::cli::client::Client;
use crate::cli::login::pat::read_token;
use crate::cli::output;
use crate::config::Config;
use crate::domain::endpoint::{GatewayUrl, InstanceUrl};
use crate::http::admin::accounts::AccountList;
use crate::http::admin::status::StatusView;

/// Looks at the network, TLS, the clock, the token with its scopes and its end, GitLab Duo access, namespace, gateway,
/// models and credit: of one account, of all of them, or of a token that is none yet. Nothing is billed or stored.
#[derive(Debug, Args)]
pub(super) struct Doctor {
    /// Id, label or username; all accounts if absent
    account: Option<String>,
    #[arg(
        help = "Looks at a token that is not in the pool, from GITLAB_PERSONAL_ACCESS_TOKEN or standard input",
        long,
        conflicts_with = "account"
    )]
    pat: bool,
    #[arg(
        help = "With --pat: root of the GitLab instance [env: GITLAB_BASE_URL] [default: https://gitlab.com]",
        long,
        requires = "pat",
        value_name = "URL"
    )]
    base_url: Option<String>,
    #[arg(
        help = "With --pat: the AI gateway, where GitLab does not name the right one [env: GITLAB_AI_GATEWAY_URL]",
        long,
        requires = "pat",
        value_name = "URL"
    )]
    gateway_url: Option<String>,
    #[command(flatten)]
    json: output::Json,
}

impl Doctor {
    pub(super) async fn run(self, config: Config) -> anyhow::Result<()> {
        if self.pat {
            return self.of_token(config).await;
        }
        let client = Client::connect(config).await?;
        let done = self.of_accounts(&client).await;
        client.close().await;
        done
    }

    async fn of_token(&self, config: Config) -> anyhow::Result<()> {
        let base_url = match &self.base_url {
            Some(text) => InstanceUrl::parse(text).with_context(|| format!("--base-url {text}"))?,
            None => config.gitlab.base_url.clone(),
        };
        let gateway_url = self.gateway_url.as_deref().map(GatewayUrl::parse).transpose().context("--gateway-url")?;
        let token = match config.gitlab.personal_access_token.clone() {
            Some(token) => token,
            None => read_token(&base_url)?,
        };
        let (token, gateway) = (token.expose(), gateway_url.as_ref());
        let request = json!({ "base_url": base_url, "personal_access_token": token, "gateway_url": gateway });
        let client = Client::connect(config).await?;
        let diagnosis = client.post::<Diagnosis>("/admin/v1/doctor", &request).await;
        client.close().await;
        self.tell(&[diagnosis?])
    }

    async fn of_accounts(&self, client: &Client) -> anyhow::Result<()> {
        let ids = if let Some(name) = &self.account {
            vec![accounts::find(client, name).await?.id]
        } else {
            let list: AccountList = client.get("/admin/v1/accounts").await?;
            list.accounts.into_iter().map(|account| account.id).collect()
        };
        if ids.is_empty() {
            bail!("there is no account to look at: add one with `duopool login`, or look at a token with `--pat`");
        }
        if !self.json.json {
            tell_of_server(client).await?;
        }
        let mut all = Vec::with_capacity(ids.len());
        for id in ids {
            let asked = client.post::<Diagnosis>(&format!("/admin/v1/accounts/{id}/doctor"), &json!({})).await;
            // An account that is removed meanwhile, for one, keeps no other from being looked at.
            let diagnosis = asked.unwrap_or_else(|error| Diagnosis {
                account: Some(id),
                name: format!("could not be looked at: {error}"),
                ok: false,
                findings: Vec::new(),
            });
            // One after the other: the first may tell what is wrong with all of them.
            if !self.json.json {
                print(&diagnosis)?;
            }
            all.push(diagnosis);
        }
        self.conclude(&all)
    }

    fn tell(&self, diagnoses: &[Diagnosis]) -> anyhow::Result<()> {
        if !self.json.json {
            diagnoses.iter().try_for_each(print)?;
        }
        self.conclude(diagnoses)
    }

    fn conclude(&self, diagnoses: &[Diagnosis]) -> anyhow::Result<()> {
        let ill = diagnoses.iter().filter(|diagnosis| !diagnosis.ok).count();
        if self.json.json {
            output::print_json(&json!({ "ok": ill == 0, "diagnoses": diagnoses }))?;
        }
        match (ill, diagnoses.len()) {
            (0, _) => Ok(()),
            (1, 1) => bail!("something must be mended before it serves: see above"),
            (ill, all) => bail!("{ill} of {all} accounts have something that must be mended: see above"),
        }
    }
}

/// Says where the server is, and whether anybody may use it.
async fn tell_of_server(client: &Client) -> anyhow::Result<()> {
    let Some(address) = client.server() else {
        return output::line("no server runs: looking from inside this command; start one with `duopool serve`");
    };
    let status: StatusView = client.get("/admin/v1/status").await?;
    let who = if status.open { "anybody on this machine, without a key" } else { "whoever has a client key" };
    let StatusView { version, serving, accounts, .. } = status;
    output::line(&format!(
        "duopool {version} serves on http://{address}, open to {who}; {serving} of {accounts} accounts can serve"
    ))
}

fn print(Diagnosis { account, name, findings, .. }: &Diagnosis) -> anyhow::Result<()> {
    let whose = account.as_ref().map_or_else(|| "token".to_owned(), |id| format!("account {id}"));
    output::line("")?;
    output::line(&format!("{whose}, {name}"))?;
    for Finding { check, verdict, message, fix, .. } in findings {
        let mark = match verdict {
            Verdict::Fine => "ok",
            Verdict::Warning => "WARN",
            Verdict::Failed => "FAIL",
            Verdict::Skipped => "-",
        };
        output::line(&format!("  {mark:<5} {check:<14} {message}"))?;
        if !fix.is_empty() {
            output::line(&format!("  {:<5} {:<14} to mend it: {fix}", "", ""))?;
        }
    }
    Ok(())
}
