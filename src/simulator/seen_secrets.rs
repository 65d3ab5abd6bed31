//! Every secret that came or went, for a test that looks where they end up.
//!
//! Nothing is kept unless somebody asks for it: elsewhere the simulator knows tokens by their fingerprints alone.

use serde_json::{Map, Value};

use crate::domain::secret::Secret;
use crate::simulator::answer::Answer;
use crate::simulator::oauth::{Params, is_secret};
use crate::simulator::server::Asked;

/// Parts of a request that an answer quotes: what stands for the body, and for the secrets alone.
const BODY: &str = "{body}";
const SECRETS: &str = "{secrets}";

/// A secret that was sent to the simulator or that it handed out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeenSecret {
    /// The parameter or member that it was in; `bearer` for one in a header.
    pub kind: String,
    /// The secret.
    pub value: Secret<String>,
}

/// Those seen so far, each once.
#[derive(Debug, Default)]
pub(crate) struct SeenSecrets {
    keep: bool,
    seen: Vec<SeenSecret>,
}

impl SeenSecrets {
    /// Starts to keep what is seen.
    pub(crate) fn keep(&mut self) {
        self.keep = true;
    }

    pub(crate) fn is_kept(&self) -> bool {
        self.keep
    }

    pub(crate) fn all(&self) -> &[SeenSecret] {
        &self.seen
    }

    /// Notes what a request has in it.
    pub(crate) fn request(&mut self, asked: &Asked<'_>) {
        if self.keep {
            for (kind, value) in of_request(asked) {
                self.note(kind, value);
            }
        }
    }

    /// Notes what an answer hands out.
    pub(crate) fn answer(&mut self, answer: &Answer) {
        if !self.keep {
            return;
        }
        let members = serde_json::from_str::<Map<String, Value>>(&answer.text()).unwrap_or_default();
        for (name, value) in members {
            if let (true, Value::String(value)) = (is_secret(&name), value) {
                self.note(name, value);
            }
        }
    }

    fn note(&mut self, kind: String, value: String) {
        let seen = SeenSecret { kind, value: Secret::new(value) };
        if !self.seen.contains(&seen) {
            self.seen.push(seen);
        }
    }
}

fn of_request(asked: &Asked<'_>) -> Vec<(String, String)> {
    let bearer = asked.credential().map(|credential| ("bearer".to_owned(), credential.token.to_owned()));
    let params = Params::of(asked);
    let sent = params.iter().filter(|(name, _)| is_secret(name));
    let sent = sent.map(|(name, value)| (name.to_owned(), value.to_owned()));
    bearer.into_iter().chain(sent).collect()
}

/// Returns `text` with the parts of `asked` that it quotes; inside JSON they are escaped as its strings are.
pub(crate) fn quoting(text: &str, asked: &Asked<'_>, in_json: bool) -> String {
    let written = |part: String| {
        if !in_json {
            return part;
        }
        let quoted = Value::String(part).to_string();
        quoted[1..quoted.len() - 1].to_owned()
    };
    let secrets: Vec<String> = of_request(asked).into_iter().map(|(_, value)| value).collect();
    let body = String::from_utf8_lossy(asked.body).into_owned();
    text.replace(BODY, &written(body)).replace(SECRETS, &written(secrets.join(" ")))
}
