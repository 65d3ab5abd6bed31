//! The `duopool` binary: parses, runs, and turns an error into one line and an exit code.

use std::process::ExitCode;

use clap::Parser;
use duopool::cli::{self, Cli};

fn main() -> ExitCode {
    match cli::run(Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("duopool: {error:#}");
            ExitCode::from(1)
        }
    }
}
