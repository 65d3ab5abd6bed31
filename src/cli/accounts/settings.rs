//! `duopool accounts set|disable|enable|reset`.

use anyhow::bail;
use clap::Args;
use serde_json::{Map, Value, json};

use super::{One, explain, find};
use crate::account::view::AccountView;
use crate::cli::client::Client;
use crate::cli::output;
use crate::http::admin::accounts::{AccountList, ResetReport};

/// What to change of which account.
#[derive(Debug, Args)]
pub(in crate::cli) struct Set {
    #[command(flatten)]
    one: One,
    /// A name for people; an empty one: none
    #[arg(long)]
    label: Option<String>,
    /// Which keys may use it
    #[arg(long)]
    pool: Option<String>,
    /// Higher tiers are used first
    #[arg(long, allow_negative_numbers = true)]
    priority: Option<i32>,
    /// Share among accounts of one tier, 1 to 1000
    #[arg(long)]
    weight: Option<u32>,
    /// Most requests in flight, 1 to 10000
    #[arg(long)]
    max_concurrency: Option<u32>,
    /// The AI gateway; an empty one: the one that GitLab names
    #[arg(long)]
    gateway_url: Option<String>,
}

impl Set {
    pub(super) async fn run(self, client: &Client) -> anyhow::Result<()> {
        let text = |text: String| if text.is_empty() { Value::Null } else { text.into() };
        let members = [
            ("label", self.label.map(text)),
            ("pool", self.pool.map(Value::from)),
            ("priority", self.priority.map(Value::from)),
            ("weight", self.weight.map(Value::from)),
            ("max_concurrency", self.max_concurrency.map(Value::from)),
            ("gateway_url", self.gateway_url.map(text)),
        ];
        let patch: Map<String, Value> =
            members.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect();
        if patch.is_empty() {
            bail!("nothing to change: name a setting, such as `--weight 2`; `duopool accounts set --help` lists them");
        }
        change(client, &self.one, &patch.into(), "is changed").await
    }
}

/// Switches an account on or off.
pub(super) async fn switch(client: &Client, one: &One, enabled: bool) -> anyhow::Result<()> {
    let done = if enabled { "is enabled" } else { "is disabled; its running requests go on to their end" };
    change(client, one, &json!({ "enabled": enabled }), done).await
}

async fn change(client: &Client, one: &One, patch: &Value, done: &str) -> anyhow::Result<()> {
    let id = find(client, &one.account).await?.id;
    let account: AccountView = client.patch(&format!("/admin/v1/accounts/{id}"), patch).await?;
    if one.json.json { output::print_json(&account) } else { output::line(&format!("account {id} {done}")) }
}

/// Which accounts to reset.
#[derive(Debug, Args)]
pub(in crate::cli) struct Reset {
    /// Id, label or username
    #[arg(required_unless_present = "all", conflicts_with = "all")]
    account: Option<String>,
    /// Every account
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    json: output::Json,
}

impl Reset {
    pub(super) async fn run(self, client: &Client) -> anyhow::Result<()> {
        let ids = if let Some(name) = &self.account {
            vec![find(client, name).await?.id]
        } else {
            let list: AccountList = client.get("/admin/v1/accounts").await?;
            list.accounts.into_iter().map(|account| account.id).collect()
        };
        let mut reports = Vec::new();
        for id in ids {
            let report: ResetReport = client.post(&format!("/admin/v1/accounts/{id}/reset"), &json!({})).await?;
            reports.push(report);
        }
        if self.json.json {
            return if self.all { output::print_json(&reports) } else { output::print_json(&reports.first()) };
        }
        reports.iter().try_for_each(tell)
    }
}

fn tell(report: &ResetReport) -> anyhow::Result<()> {
    let ResetReport { account, cleared } = report;
    let state = account.health.as_str();
    match cleared.len() {
        0 => output::line(&format!("account {}: nothing was blocked; it is {state}", account.id)),
        blocks => output::line(&format!("account {}: {blocks} block(s) cleared; it is {state}", account.id)),
    }?;
    cleared.iter().try_for_each(explain)
}
