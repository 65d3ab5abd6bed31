//! `duopool simulate`.

use std::net::SocketAddr;

use clap::Args;

use crate::cli::output;
use crate::cli::serve::Interrupts;
use crate::simulator::{self, OauthApplication, SimulatedAccount};

/// Runs a GitLab with Duo on loopback, for trying things without an account.
#[derive(Debug, Args)]
pub(super) struct Simulate {
    /// Loopback address and port; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8929")]
    listen: SocketAddr,
}

impl Simulate {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        let stop = Interrupts::listen()?;
        let settings = simulator::Settings { listen: self.listen, ..simulator::Settings::default() };
        let (accounts, applications) = (settings.accounts.clone(), settings.applications.clone());
        let running = simulator::start(settings).await?;
        output::line(&format!("a simulated GitLab with Duo serves on {}", running.url()))?;
        output::line(&format!("its AI gateway is {}", running.gateway_url()))?;
        output::line(&format!("its control routes are below {}/simulator/v1", running.url()))?;
        output::line("its users, with personal access tokens that work nowhere else:")?;
        accounts.iter().try_for_each(describe)?;
        output::line("its OAuth applications:")?;
        applications.iter().try_for_each(describe_application)?;
        output::line("to add one of the users to a pool:")?;
        output::line(&format!("  echo TOKEN | duopool login --pat --base-url {}", running.url()))?;
        stop.wait().await;
        running.stop().await;
        Ok(())
    }
}

fn describe(account: &SimulatedAccount) -> anyhow::Result<()> {
    // These tokens are made up and open nothing but the simulator.
    output::line(&format!("  {:<8}{}", account.username, account.token.expose()))
}

fn describe_application(application: &OauthApplication) -> anyhow::Result<()> {
    let redirect_uris = application.redirect_uris.join(" ");
    // Made up as well.
    let secret = application.secret.as_ref().map_or("no secret", |secret| secret.expose());
    output::line(&format!("  {}  {secret}  {redirect_uris}", application.client_id))
}
