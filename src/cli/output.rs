//! What commands print: a table for people, JSON for programs.

use std::io::Write as _;

use clap::Args;
use serde::Serialize;

/// The switch that every command has which prints data.
#[derive(Clone, Copy, Debug, Args)]
pub(super) struct Json {
    /// Prints JSON
    #[arg(long)]
    pub(super) json: bool,
}

/// Prints `value` as JSON.
pub(super) fn print_json(value: &impl Serialize) -> anyhow::Result<()> {
    line(&serde_json::to_string_pretty(value)?)
}

/// Prints a line. A reader that has left, as `head` does, ends the command without a complaint.
pub(super) fn line(text: &str) -> anyhow::Result<()> {
    match writeln!(std::io::stdout(), "{text}") {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => std::process::exit(0),
        result => Ok(result?),
    }
}

/// Prints rows under a head, each column as wide as its widest cell.
pub(super) fn print_table(head: &[&str], rows: &[Vec<String>]) -> anyhow::Result<()> {
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
        cells.chain(head.get(column).map(|cell| cell.len())).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    let print = |cells: &[&str]| {
        let padded: Vec<String> = cells.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        line(padded.join("  ").trim_end())
    };
    print(head)?;
    rows.iter().try_for_each(|row| print(&row.iter().map(String::as_str).collect::<Vec<_>>()))
}
