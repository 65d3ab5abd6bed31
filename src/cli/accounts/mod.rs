//! `duopool accounts …`.

mod settings;

use anyhow::{anyhow, bail};
use clap::Subcommand;
use serde_json::json;

use crate::account::view::{AccountView, Removal, Source, TestReport, Trouble};
use crate::cli::client::Client;
use crate::cli::output;
use crate::config::Config;
use crate::domain::fault::Scope;
use crate::http::admin::accounts::AccountList;

/// What to do with accounts. An account is named by its id, its label, or its username.
#[derive(Debug, Subcommand)]
pub(super) enum Accounts {
    /// Lists all accounts and their state
    List(output::Json),
    /// Shows one account
    Show(One),
    /// Mints a new gateway credential and lists the models anew
    Refresh(One),
    /// Checks the token at GitLab and the credential at the gateway, without cost
    Test(One),
    /// Changes an account's settings; running requests go on
    Set(Box<settings::Set>),
    /// Lets an account finish its requests and gives it no new ones
    Disable(One),
    /// Lets an account serve again
    Enable(One),
    /// Clears whatever keeps an account from serving, so that it is tried at once
    Reset(settings::Reset),
    /// Removes an account and forgets its secrets
    Remove(Remove),
}

/// One account.
#[derive(Debug, clap::Args)]
pub(super) struct One {
    /// Id, label or username
    account: String,
    #[command(flatten)]
    json: output::Json,
}

/// The account that is removed.
#[derive(Debug, clap::Args)]
pub(super) struct Remove {
    #[command(flatten)]
    one: One,
    /// Also has GitLab revoke its token
    #[arg(long)]
    revoke: bool,
}

impl Accounts {
    pub(super) async fn run(self, config: Config) -> anyhow::Result<()> {
        let client = Client::connect(config).await?;
        let done = match self {
            Self::List(json) => list(&client, json).await,
            Self::Show(one) => show(&client, &one).await,
            Self::Refresh(one) => refresh(&client, &one).await,
            Self::Test(one) => test(&client, &one).await,
            Self::Set(set) => set.run(&client).await,
            Self::Disable(one) => settings::switch(&client, &one, false).await,
            Self::Enable(one) => settings::switch(&client, &one, true).await,
            Self::Reset(reset) => reset.run(&client).await,
            Self::Remove(order) => remove(&client, &order).await,
        };
        client.close().await;
        done
    }
}

async fn list(client: &Client, json: output::Json) -> anyhow::Result<()> {
    let list: AccountList = client.get("/admin/v1/accounts").await?;
    if json.json {
        return output::print_json(&list);
    }
    if list.accounts.is_empty() {
        return output::line("there is no account yet; add one with `duopool login`, or `duopool login --pat`");
    }
    let rows: Vec<Vec<String>> = list.accounts.iter().map(row).collect();
    output::print_table(&["ID", "USER", "INSTANCE", "POOL", "STATE", "IN FLIGHT", "SERVED", "WHY"], &rows)
}

fn row(account: &AccountView) -> Vec<String> {
    let why = match (&account.trouble, account.blocks.first()) {
        (Some(trouble), _) => format!("{} (until {})", trouble.message, trouble.until),
        (None, Some(trouble)) => {
            let others = account.blocks.len() - 1;
            let more = if others > 0 { format!(" and {others} more") } else { String::new() };
            format!("{}{more}: {} (until {})", trouble.subject, trouble.message, trouble.until)
        }
        (None, None) if account.hinted => "chosen last: its credits may have run out".to_owned(),
        (None, None) => String::new(),
    };
    vec![
        account.id.clone(),
        account.label.clone().unwrap_or_else(|| account.username.clone()),
        account.base_url.clone(),
        account.pool.clone(),
        account.health.as_str().to_owned(),
        account.in_flight.to_string(),
        account.served.to_string(),
        why,
    ]
}

async fn show(client: &Client, one: &One) -> anyhow::Result<()> {
    let account = find(client, &one.account).await?;
    if one.json.json { output::print_json(&account) } else { describe(&account) }
}

fn describe(account: &AccountView) -> anyhow::Result<()> {
    let optional = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
    let rows = [
        ("id", account.id.clone()),
        ("user", format!("{} ({})", account.username, account.user_id)),
        ("instance", account.base_url.clone()),
        ("gateway", optional(&account.gateway_url)),
        ("pool", format!("{}, priority {}, weight {}", account.pool, account.priority, account.weight)),
        ("state", account.health.as_str().to_owned()),
        ("in flight", format!("{} of {}", account.in_flight, account.max_concurrency)),
        ("since start", format!("{} served, {} failed", account.served, account.failed)),
        ("gitlab-duo is", account.current_model.clone()),
        ("offered", account.models.join(", ")),
        ("not routable", account.unroutable_models.join(", ")),
        ("credit group", optional(&account.credit_group)),
        (
            "token",
            format!("scopes {}, expires {}", account.token_scopes.join(", "), optional(&account.token_expires_on)),
        ),
        ("credential", format!("number {}, ends {}", account.grant_generation, optional(&account.grant_expires_at))),
        ("added", account.added_at.clone()),
    ];
    for (name, text) in rows.iter().filter(|(_, text)| !text.is_empty()) {
        output::line(&format!("{name:<14}{text}"))?;
    }
    if account.hinted {
        output::line("chosen last: an account that may draw on the same credits ran out of them")?;
    }
    account.blocks.iter().try_for_each(explain)
}

/// Tells what is blocked, who said so, and what can be done about it.
pub(super) fn explain(trouble: &Trouble) -> anyhow::Result<()> {
    let subject = &trouble.subject;
    let what = match trouble.scope {
        Scope::Model => format!("model {subject} on this account"),
        Scope::Namespace => format!("every account of namespace {subject}"),
        Scope::Provider => format!("the provider of {subject}, for every account there"),
        Scope::Gateway => format!("gateway {subject}, for every account there"),
        Scope::Instance => format!("calls to {subject}; credentials that are good still serve"),
        Scope::Host => "this machine, for every account".to_owned(),
        Scope::Account | Scope::Request => "this account".to_owned(),
    };
    let said_by = match trouble.source {
        Source::Gitlab => "GitLab says",
        Source::Gateway => "the AI gateway says",
        Source::Provider => "the model provider says",
        Source::Here => "found here",
    };
    let times = if trouble.attempts > 1 { format!(", {} times in a row", trouble.attempts) } else { String::new() };
    output::line(&format!("blocked: {what}, until {}", trouble.until))?;
    output::line(&format!("  {said_by}: {} (since {}{times})", trouble.message, trouble.since))?;
    if trouble.fix.is_empty() { Ok(()) } else { output::line(&format!("  to mend it: {}", trouble.fix)) }
}

async fn refresh(client: &Client, one: &One) -> anyhow::Result<()> {
    let id = find(client, &one.account).await?.id;
    let account: AccountView = client.post(&format!("/admin/v1/accounts/{id}/refresh"), &json!({})).await?;
    if one.json.json {
        return output::print_json(&account);
    }
    let ends = account.grant_expires_at.unwrap_or_default();
    output::line(&format!("account {id} has a new gateway credential, which ends {ends}"))
}

async fn test(client: &Client, one: &One) -> anyhow::Result<()> {
    let id = find(client, &one.account).await?.id;
    // An account without a credential, as right after a start on demand, gets one first.
    let account: AccountView = client.get(&format!("/admin/v1/accounts/{id}")).await?;
    if account.grant_expires_at.is_none() {
        client.post::<AccountView>(&format!("/admin/v1/accounts/{id}/refresh"), &json!({})).await?;
    }
    let report: TestReport = client.post(&format!("/admin/v1/accounts/{id}/test"), &json!({})).await?;
    if one.json.json {
        output::print_json(&report)?;
    } else {
        for finding in &report.findings {
            let fix = if finding.fix.is_empty() { String::new() } else { format!("; to mend it: {}", finding.fix) };
            let mark = if finding.ok { "ok  " } else { "FAIL" };
            output::line(&format!("{mark}  {}: {}{fix}", finding.check, finding.message))?;
        }
    }
    if report.ok { Ok(()) } else { bail!("account {id} did not pass the test") }
}

async fn remove(client: &Client, Remove { one, revoke }: &Remove) -> anyhow::Result<()> {
    // An account that cannot be read is not listed, but its id is known from the log.
    let id = meant(client, &one.account).await?.map_or_else(|| one.account.clone(), |account| account.id);
    let path = format!("/admin/v1/accounts/{id}");
    if *revoke {
        return revoked(client, &path, one.json).await;
    }
    client.delete(&path).await?;
    if one.json.json {
        return output::print_json(&json!({ "removed": id }));
    }
    output::line(&format!("account {id} is removed; its token stays valid at GitLab until you revoke it there"))
}

/// Removes an account with its token. A token that is still alive is a failure, though the account is gone.
async fn revoked(client: &Client, path: &str, json: output::Json) -> anyhow::Result<()> {
    let Removal { id, revoked, message, fix } = client.delete_for(&format!("{path}?revoke=true")).await?;
    if json.json {
        output::print_json(&json!({ "removed": id, "revoked": revoked, "message": message, "fix": fix }))?;
    }
    match (revoked, json.json) {
        (true, true) => Ok(()),
        (true, false) => output::line(&format!("account {id} is removed, and {message}")),
        (false, _) => bail!("account {id} is removed, but {message}; to mend it: {fix}"),
    }
}

/// Finds the account that is meant, which must be there.
pub(super) async fn find(client: &Client, name: &str) -> anyhow::Result<AccountView> {
    let found = meant(client, name).await?;
    found.ok_or_else(|| anyhow!("there is no account `{name}`; `duopool accounts list` shows those there are"))
}

/// Finds the account that is meant, if there is one; an ambiguous name is an error.
async fn meant(client: &Client, name: &str) -> anyhow::Result<Option<AccountView>> {
    let list: AccountList = client.get("/admin/v1/accounts").await?;
    let is_meant = |account: &AccountView| {
        account.id == name || account.label.as_deref() == Some(name) || account.username == name
    };
    let mut meant = list.accounts.into_iter().filter(is_meant);
    match (meant.next(), meant.next()) {
        (found, None) => Ok(found),
        (Some(_), Some(_)) => bail!("`{name}` names more than one account: use the id from `duopool accounts list`"),
        (None, Some(_)) => Ok(None),
    }
}
