//! `duopool demo`.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Context as _;
use clap::Args;
use serde_json::json;

use crate::account::view::AccountView;
use crate::app::{self, Mode, StartError};
use crate::cli::client::Client;
use crate::cli::output;
use crate::cli::serve::Interrupts;
use crate::config::{Config, Layer};
use crate::domain::catalogue::Catalogue;
use crate::domain::time::SystemClock;
use crate::setup::{Client as Tool, Key, Model, Pool};
use crate::simulator;

/// Where the demo listens if it may.
const LISTEN_DEFAULT: &str = "127.0.0.1:8080";

/// Shows duopool at work: a simulated GitLab with three accounts, one of them out of credit, and duopool in front of it.
#[derive(Debug, Args)]
pub(super) struct Demo {
    /// Loopback address and port for clients [default: 127.0.0.1:8080, or a free port where that is taken]
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<SocketAddr>,
}

impl Demo {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        let stop = Interrupts::listen()?;
        let folder = tempfile::tempdir().context("a folder for the demo's data")?;
        let simulated = simulator::start(simulator::Settings::default()).await.context("the simulated GitLab")?;
        let layer = |listen: &str| Layer {
            data_dir: Some(folder.path().to_owned()),
            listen: Some(listen.to_owned()),
            gitlab_base_url: Some(simulated.url()),
            // An account out of credit is not told the gateway by GitLab, and must not go looking outside for it.
            gitlab_ai_gateway_url: Some(simulated.gateway_url()),
            ..Layer::default()
        };
        let running = match self.listen {
            Some(address) => start(layer(&address.to_string())).await?,
            None => match start(layer(LISTEN_DEFAULT)).await {
                Err(StartError::Listen { .. }) => start(layer("127.0.0.1:0")).await?,
                result => result?,
            },
        };
        let client = Client::to(&running);
        for account in simulated.handle.accounts() {
            let request = json!({
                "base_url": simulated.url(),
                "personal_access_token": account.token.expose(),
                "label": account.username,
            });
            client.post::<AccountView>("/admin/v1/accounts", &request).await?;
        }
        welcome(running.address())?;
        stop.wait().await;
        output::line("\nstopping; running answers may finish")?;
        running.stop().await;
        simulated.stop().await;
        Ok(())
    }
}

/// Starts duopool with nothing but `layer`: neither the environment nor a file of this machine counts.
async fn start(layer: Layer) -> Result<app::Running, StartError> {
    app::start(Config::check(&layer)?, Mode::Private, Arc::new(SystemClock)).await
}

fn welcome(address: SocketAddr) -> anyhow::Result<()> {
    let url = format!("http://{address}");
    let models = Catalogue::builtin()?.entries().map(Model::of).collect();
    let pool = Pool { url: url.clone(), key: Key::Any, models, wanted: None };
    let command = |tool: Tool| tool.command(&pool).unwrap_or_default();
    let text = include_str!("demo.txt")
        .replace("{claude_code}", &command(Tool::ClaudeCode))
        .replace("{codex}", &command(Tool::Codex))
        .replace("{url}", &url);
    output::line(text.trim_end())
}
