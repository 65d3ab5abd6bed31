//! Log lines on standard error: readable alone, values as fields, never a secret.

use tracing::{Level, Metadata};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

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
    let ours = filter_fn(may_be_told);
    // A second start, as in tests that run several servers in one process, keeps the first.
    let started = match format {
        Format::Text => {
            builder.with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr())).finish().with(ours).try_init()
        }
        Format::Json => builder.json().finish().with(ours).try_init(),
    };
    drop(started);
    Ok(())
}

/// Returns whether a line may be written at all, whatever filter an operator asks for.
///
/// The libraries below handle bytes with keys, tokens and prompts in them, and what they print at `debug` and `trace`
/// changes from version to version: no promise about it could be kept. What this program says of itself is reviewed.
fn may_be_told(line: &Metadata<'_>) -> bool {
    let target = line.target();
    *line.level() <= Level::INFO || target == "duopool" || target.starts_with("duopool::")
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use tracing_subscriber::layer::Context;
    use tracing_subscriber::{Layer, Registry};

    use super::*;

    #[derive(Clone, Default)]
    struct Told(Arc<Mutex<Vec<String>>>);

    impl Layer<Registry> for Told {
        fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, Registry>) {
            let line = event.metadata();
            self.0.lock().unwrap().push(format!("{} {}", line.level(), line.target()));
        }
    }

    #[test]
    fn of_what_libraries_say_in_detail_nothing_is_told() {
        let told = Told::default();
        let subscriber = Registry::default().with(told.clone().with_filter(filter_fn(may_be_told)));
        tracing::subscriber::with_default(subscriber, || {
            tracing::trace!(target: "duopool::http", "ours");
            tracing::trace!(target: "duopool", "ours");
            tracing::debug!(target: "actix_http::h1", "theirs");
            tracing::trace!(target: "duopooled", "theirs");
            tracing::info!(target: "actix_http::h1", "a calm word");
        });
        assert_eq!(*told.0.lock().unwrap(), ["TRACE duopool::http", "TRACE duopool", "INFO actix_http::h1"]);
    }
}
