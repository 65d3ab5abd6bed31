//! What an answer says about itself: the members in which GitLab, the gateway and the providers put their errors.

use serde::Deserialize;
use serde_json::{Map, Value};

/// Members of an error's body. Three envelopes are told apart: `detail` is the gateway's own, `error` as a text is
/// OAuth's, GitLab's or the gateway's, and `error` as an object is a provider's.
#[derive(Default, Deserialize)]
pub(super) struct Evidence {
    #[serde(default)]
    detail: Option<Value>,
    #[serde(default)]
    error: Option<Value>,
    #[serde(default)]
    error_code: Option<Value>,
    #[serde(default)]
    error_description: Option<String>,
    #[serde(default)]
    message: Option<Value>,
}

/// A provider's error that was read already. Texts are empty where it has none.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Said<'a> {
    pub(crate) kind: &'a str,
    pub(crate) code: Option<&'a str>,
    pub(crate) message: &'a str,
}

#[derive(Default, Deserialize)]
struct ProviderError {
    #[serde(default)]
    message: Option<String>,
    #[serde(default)]
    code: Option<Value>,
    #[serde(default, rename = "type")]
    kind: Option<Value>,
}

impl Evidence {
    /// Reads `body`; `None` where it is no JSON object.
    pub(super) fn of(body: &[u8]) -> Option<Self> {
        serde_json::from_slice(body).ok()
    }

    /// Returns what a provider's error says that was read already, as those of streams are.
    pub(super) fn of_provider(said: &Said<'_>) -> Self {
        let members = [("type", Some(said.kind)), ("code", said.code), ("message", Some(said.message))];
        let member = |(name, text): (&str, Option<&str>)| Some((name.to_owned(), Value::from(text?)));
        let error: Map<String, Value> = members.into_iter().filter_map(member).collect();
        Self { error: Some(Value::Object(error)), ..Self::default() }
    }

    /// Returns every text that was said, the most telling one last.
    pub(super) fn texts(&self) -> Vec<String> {
        let provider = self.provider().unwrap_or_default();
        let plain = |value: Option<&Value>| match value {
            Some(Value::String(text)) => Some(text.clone()),
            Some(other @ (Value::Object(_) | Value::Array(_))) => Some(other.to_string()),
            _ => None,
        };
        let all = [
            text_of(provider.code.as_ref()).map(str::to_owned),
            self.error().map(str::to_owned),
            plain(self.message.as_ref()),
            self.error_description.clone(),
            plain(self.detail.as_ref()),
        ];
        all.into_iter().flatten().chain(provider.message).collect()
    }

    /// Returns `error` where it is a text.
    pub(super) fn error(&self) -> Option<&str> {
        text_of(self.error.as_ref())
    }

    /// Returns `error_code`.
    pub(super) fn error_code(&self) -> Option<&str> {
        text_of(self.error_code.as_ref())
    }

    /// Returns `detail` as text, whatever it is.
    pub(super) fn detail(&self) -> Option<String> {
        self.detail.as_ref().map(|detail| text_of(Some(detail)).map_or_else(|| detail.to_string(), str::to_owned))
    }

    /// Returns whether a provider calls its error `word`, by code or by type.
    pub(super) fn is_providers(&self, word: &str) -> bool {
        self.provider().is_some_and(|error| {
            text_of(error.code.as_ref()) == Some(word) || text_of(error.kind.as_ref()) == Some(word)
        })
    }

    /// Returns whether it has the envelope of a provider.
    pub(super) fn is_of_provider(&self) -> bool {
        self.provider().is_some()
    }

    /// Returns whether it has one of the gateway's own envelopes.
    pub(super) fn is_of_gateway(&self) -> bool {
        self.detail.is_some() || self.error().is_some()
    }

    fn provider(&self) -> Option<ProviderError> {
        ProviderError::deserialize(self.error.as_ref().filter(|error| error.is_object())?).ok()
    }
}

fn text_of(value: Option<&Value>) -> Option<&str> {
    value.and_then(Value::as_str)
}
