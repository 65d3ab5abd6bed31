//! `duopool serve`.

use std::sync::Arc;

use clap::Args;
use tokio::signal::unix::{Signal, SignalKind, signal};

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
        let stop = Interrupts::listen()?;
        let running = app::start(config, Mode::Serve, Arc::new(SystemClock)).await?;
        output::line(&format!("duopool serves on http://{}", running.address()))?;
        stop.wait().await;
        running.stop().await;
        Ok(())
    }
}

/// Ctrl-C, and the signal that service managers send.
pub(super) struct Interrupts {
    interrupt: Signal,
    terminate: Signal,
}

impl Interrupts {
    /// Listens from now on. To be called before the start, so that a signal that comes in the middle of it ends the
    /// program in good order as well.
    pub(super) fn listen() -> anyhow::Result<Self> {
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    /// Waits for one of them.
    pub(super) async fn wait(mut self) {
        let (interrupt, terminate) = (std::pin::pin!(self.interrupt.recv()), std::pin::pin!(self.terminate.recv()));
        futures::future::select(interrupt, terminate).await;
    }
}
