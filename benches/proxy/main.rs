//! duopool as a whole, under load, on this machine alone.
//!
//! `scripts/bench` compares it with nginx in front of the same upstream and holds it to its goals; `scripts/soak` lets
//! it live through an hour's worth of trouble and looks at what is left.

#![expect(clippy::expect_used, reason = "a benchmark that cannot run has nothing to say")]

mod client;
mod compare;
mod load;
mod process;
mod report;
mod soak;
mod upstream;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};

/// Benchmarks of duopool as a whole.
#[derive(Parser)]
struct Arguments {
    /// Cargo says this to every benchmark.
    #[arg(long, hide = true, global = true)]
    bench: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Compares with nginx.
    Compare {
        /// Takes half a minute instead of several.
        #[arg(long)]
        quick: bool,
        /// Folder of criterion's results, for the goals of pure functions.
        #[arg(long)]
        micro: Option<PathBuf>,
        /// Another duopool, such as one of before a change, to be measured in the same rounds.
        #[arg(long)]
        before: Option<PathBuf>,
    },
    /// Runs mixed traffic with faults, and looks at what is left.
    Soak {
        /// How long.
        minutes: u64,
    },
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if let Err(error) = rlimit::increase_nofile_limit(rlimit::INFINITY) {
        println!("cannot raise the limit of open files: {error}");
    }
    let good = actix_web::rt::System::new().block_on(async {
        match arguments.command {
            Command::Compare { quick, micro, before } => {
                let extent = if quick { compare::Extent::QUICK } else { compare::Extent::FULL };
                compare::run(extent, micro.as_deref(), before.as_deref()).await
            }
            Command::Soak { minutes } => soak::run(Duration::from_mins(minutes)).await,
        }
    });
    if good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
