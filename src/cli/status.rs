//! `duopool status`.

use serde_json::json;

use crate::cli::accounts::explain;
use crate::cli::client::Client;
use crate::cli::output;
use crate::config::Config;
use crate::http::admin::status::StatusView;

pub(super) async fn run(json: output::Json, config: Config) -> anyhow::Result<()> {
    let client = Client::connect(config).await?;
    let (server, status) = (client.server(), client.get::<StatusView>("/admin/v1/status").await);
    client.close().await;
    let status = status?;
    if json.json {
        return output::print_json(&json!({ "running": server.is_some(), "address": server, "status": status }));
    }
    let Some(address) = server else {
        let accounts = status.accounts;
        return output::line(&format!(
            "no server runs; {accounts} account(s) are stored. Start it with `duopool serve`"
        ));
    };
    output::line(&format!("duopool {} serves on http://{address}", status.version))?;
    output::line(&format!("  accounts: {} of {} can serve", status.serving, status.accounts))?;
    output::line(&format!(
        "  requests: {} in flight, {} served, {} failed attempts since the start",
        status.in_flight, status.served, status.failed
    ))?;
    let who = if status.open { "anybody on this machine, without a key" } else { "whoever has a client key" };
    output::line(&format!("  open to:  {who}"))?;
    status.shared_blocks.iter().try_for_each(explain)
}
