//! `duopool serve`.

use std::sync::Arc;

use clap::Args;
use tokio::signal::unix::{SignalKind, signal};
use tracing::warn;

use crate::app::{self, Mode};
use crate::cli::output;
use crate::config::Config;
use crate::domain::time::SystemClock;

/// Runs the server until it is told to stop.
#[derive(Debug, Args)]
pub(super) struct Serve {
    #[arg(
        help = "Address and port for clients [env: DUOPOOL_LISTEN] [default: 127.0.0.1:8080]",
        long,
        value_name = "ADDRESS"
    )]
    pub(super) listen: Option<String>,
}

impl Serve {
    pub(super) async fn run(self, config: Config) -> anyhow::Result<()> {
        // A stream takes two file descriptors. Where the limit cannot be raised, the system's own serves fewer streams.
        if let Err(error) = rlimit::increase_nofile_limit(rlimit::INFINITY) {
            warn!("cannot raise the limit of open files: {error}");
        }
        let running = app::start(config, Mode::Serve, Arc::new(SystemClock)).await?;
        output::line(&format!("duopool serves on http://{}", running.address()))?;
        interrupted().await?;
        running.stop().await;
        Ok(())
    }
}

/// Waits for Ctrl-C or the signal that service managers send.
pub(super) async fn interrupted() -> anyhow::Result<()> {
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let (interrupt, terminate) = (std::pin::pin!(interrupt.recv()), std::pin::pin!(terminate.recv()));
    futures::future::select(interrupt, terminate).await;
    Ok(())
}
