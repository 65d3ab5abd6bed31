//! Log lines on standard error: readable alone, values as fields, never a secret.

use tracing_subscriber::EnvFilter;

/// What is logged unless an operator says otherwise. The libraries below log at `info` what is of no use to one.
const FILTER_DEFAULT: &str = "info,actix_server=warn,actix_http=warn,sled=warn";

/// How lines are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// For people.
    Text,
    /// One JSON object a line, for collectors.
    Json,
}

/// Starts to log by `filter`, in the syntax of `RUST_LOG` (`debug`, `duopool=debug,info`); `None`: the default.
///
/// # Errors
/// A sentence that says what is wrong with the filter.
pub(crate) fn start(filter: Option<&str>, format: Format) -> Result<(), String> {
    let filter =
        EnvFilter::try_new(filter.unwrap_or(FILTER_DEFAULT)).map_err(|error| format!("the log filter {error}"))?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_target(false);
    // A second start, as in tests that run several servers in one process, keeps the first.
    let started = match format {
        Format::Text => builder.with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr())).try_init(),
        Format::Json => builder.json().try_init(),
    };
    drop(started);
    Ok(())
}
