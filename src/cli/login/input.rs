//! What the user types or pastes, while something else may happen first.

use std::io::{BufRead as _, IsTerminal as _};

use anyhow::bail;
use futures::stream::{self, Stream};
use tokio::sync::mpsc;

use crate::domain::secret::Secret;

/// Nobody pastes faster than they are read.
const LINES_MAX: usize = 4;
/// A longer line is no address and no secret, in bytes.
const LINE_BYTES_MAX: usize = 64 * 1024;

/// Lines of standard input. Nothing is read before it is asked for.
pub(super) struct Lines(Option<mpsc::Receiver<String>>);

impl Lines {
    pub(super) fn start() -> Self {
        Self(None)
    }

    /// Takes the first line as a secret; what is typed is not shown.
    pub(super) async fn secret(&mut self) -> anyhow::Result<Secret<String>> {
        let text = if std::io::stdin().is_terminal() {
            rpassword::prompt_password("Secret of the OAuth application (it is not shown): ")?
        } else {
            self.reading().recv().await.unwrap_or_default()
        };
        let secret = text.trim();
        if secret.is_empty() {
            bail!("no secret: give it as the first line of standard input, or set GITLAB_OAUTH_CLIENT_SECRET");
        }
        Ok(Secret::new(secret.to_owned()))
    }

    /// Returns all further lines that are not empty.
    pub(super) fn all(mut self) -> impl Stream<Item = String> {
        self.reading();
        stream::unfold(self, async |mut lines| lines.reading().recv().await.map(|line| (line, lines)))
    }

    /// Reads on a thread of its own, since a read of standard input cannot be given up: it ends with the process.
    fn reading(&mut self) -> &mut mpsc::Receiver<String> {
        self.0.get_or_insert_with(|| {
            let (sender, lines) = mpsc::channel(LINES_MAX);
            std::thread::spawn(move || {
                let lines = std::io::stdin().lock().lines().map_while(Result::ok);
                let mut lines = lines.filter(|line| !line.trim().is_empty() && line.len() <= LINE_BYTES_MAX);
                lines.try_for_each(|line| sender.blocking_send(line))
            });
            lines
        })
    }
}
