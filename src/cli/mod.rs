//! The command line: one file per subcommand.
//!
//! Commands about accounts speak to the admin API: of the server that has the data folder open, or, where none runs, of
//! the same app started inside the command for as long as it takes.

mod accounts;
mod backup;
mod client;
mod config;
mod demo;
mod doctor;
mod explain;
mod import;
mod login;
mod models;
mod output;
mod rotate;
mod serve;
mod setup;
mod simulate;
mod status;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::config::{Config, Layer};
use crate::telemetry::logging::{self, Format};

/// What the program is asked to do.
#[derive(Debug, Parser)]
#[command(name = "duopool", version, about, disable_help_subcommand = true, max_term_width = 100)]
pub struct Cli {
    #[command(flatten)]
    settings: Settings,
    #[command(subcommand)]
    command: Command,
}

/// Settings that every command takes. Those that are absent come from the environment and `duopool.toml`.
#[derive(Debug, Args)]
struct Settings {
    #[arg(
        help = "Settings file [env: DUOPOOL_CONFIG] [default: duopool.toml, if it is there]",
        long,
        global = true,
        value_name = "FILE"
    )]
    config: Option<PathBuf>,
    #[arg(
        help = "Folder for accounts and keys [env: DUOPOOL_DATA_DIR] [default: ~/.local/share/duopool]",
        long,
        global = true,
        value_name = "DIR"
    )]
    data_dir: Option<PathBuf>,
    #[arg(
        help = "What to log, such as `debug` or `duopool=debug,warn` [env: DUOPOOL_LOG] [default: info]",
        long,
        global = true,
        value_name = "FILTER"
    )]
    log: Option<String>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs the server
    Serve(serve::Serve),
    /// Runs a simulated GitLab with three accounts and duopool in front of it; needs no account and no settings
    Demo(demo::Demo),
    /// Runs the simulated GitLab alone
    Simulate(simulate::Simulate),
    /// Adds a GitLab account to the pool, or gives a known one a new token
    Login(login::Login),
    /// Takes over GitLab accounts from the files of another program
    Import(import::Import),
    /// Shows, checks and removes accounts
    #[command(subcommand)]
    Accounts(accounts::Accounts),
    /// Lists the models that duopool knows, and the accounts that GitLab offers them to
    Models(output::Json),
    /// Shows the server at a glance
    Status(output::Json),
    /// Says why a request went where it went, or where one would go now
    Explain(explain::Explain),
    /// Looks at everything between an account and a model, and says what is wrong and how to mend it
    Doctor(doctor::Doctor),
    /// Shows how a client is told to use the pool, writes that into its settings, or checks that it works
    Setup(setup::Setup),
    /// Writes all accounts and their secrets into a file, sealed under a passphrase
    Backup(backup::Backup),
    /// Brings accounts back from a backup
    Restore(backup::Restore),
    /// Seals all secrets under a new master key
    RotateMasterKey,
    /// Shows the settings in effect, secrets masked
    Config(output::Json),
}

/// Runs the command; the error, if any, is one line that says why and what to do.
pub fn run(cli: Cli) -> anyhow::Result<()> {
    let listen = match &cli.command {
        Command::Serve(serve) => serve.listen.clone(),
        _ => None,
    };
    let Settings { config, data_dir, log } = cli.settings;
    let layer = Layer { config, listen, data_dir, log, ..Layer::default() };
    // The demo and the simulator take nothing from this machine: they work, and work alike, wherever they are started.
    let system = actix_web::rt::System::new();
    match cli.command {
        Command::Demo(demo) => {
            start_log(layer.log.as_deref().or(Some("warn")), false)?;
            system.block_on(demo.run())
        }
        Command::Simulate(simulate) => {
            start_log(layer.log.as_deref(), false)?;
            system.block_on(simulate.run())
        }
        Command::Serve(serve) => {
            let config = Config::load(layer)?;
            start_log(config.log.as_deref(), config.log_json)?;
            system.block_on(serve.run(config))
        }
        other => {
            let config = Config::load(layer)?;
            // What a command has to say is its output; the log of the app inside it would only stand in between.
            start_log(config.log.as_deref().or(Some("error")), config.log_json)?;
            system.block_on(command(other, config))
        }
    }
}

async fn command(command: Command, config: Config) -> anyhow::Result<()> {
    match command {
        Command::Login(login) => login.run(config).await,
        Command::Import(import) => import.run(config).await,
        Command::Accounts(accounts) => accounts.run(config).await,
        Command::Models(json) => models::run(json, config).await,
        Command::Status(json) => status::run(json, config).await,
        Command::Explain(explain) => explain.run(config).await,
        Command::Doctor(doctor) => doctor.run(config).await,
        Command::Setup(setup) => setup.run(config).await,
        Command::Backup(backup) => backup.run(config).await,
        Command::Restore(restore) => restore.run(config).await,
        Command::RotateMasterKey => rotate::run(config).await,
        Command::Config(json) => config::run(json, &config),
        Command::Serve(_) | Command::Demo(_) | Command::Simulate(_) => Ok(()),
    }
}

fn start_log(filter: Option<&str>, json: bool) -> anyhow::Result<()> {
    logging::start(filter, if json { Format::Json } else { Format::Text }).map_err(anyhow::Error::msg)
}
