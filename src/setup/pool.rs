//! The pool as a client sees it: where it is, what key it wants, and which models it has.

use serde::Serialize;
use url::Url;

use crate::domain::catalogue::{Catalogue, Entry};
use crate::domain::endpoint::is_loopback_name;
use crate::domain::model::{ModelName, Provider};

/// What clients of an open pool give as their key: most insist on one, and any will do.
pub(super) const ANY: &str = "any";

/// A name for people that is longer is cut, in characters.
const DISPLAY_CHARS_MAX: usize = 100;

/// How a client's key gets in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Key {
    /// The pool is open to this machine, and takes any.
    Any,
    /// It stands in an environment variable of this name.
    Environment(String),
}

/// A model of the pool.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Model {
    /// The name to ask for: the undated one where there is one, since clients know models by that.
    pub(crate) name: String,
    /// The name for people.
    pub(crate) display_name: String,
    /// Who makes it.
    pub(crate) provider: Provider,
    /// Longest input and output together, in tokens.
    pub(crate) context_tokens: u32,
    /// Longest output, in tokens.
    pub(crate) output_tokens: u32,
    /// Whether it takes `temperature`, as some clients send it unasked.
    pub(crate) accepts_sampling: bool,
}

/// A pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pool {
    /// Its root, without a trailing slash.
    pub(crate) url: String,
    /// How a client's key gets in.
    pub(crate) key: Key,
    /// Its models, newest first inside each family.
    pub(crate) models: Vec<Model>,
    /// The model that was asked for by name.
    pub(crate) wanted: Option<String>,
}

/// Reads an address that somebody gave as the pool's: its root, with or without the `/v1` that some clients want.
///
/// # Errors
/// Says what is wrong with it.
pub(crate) fn pool_url(text: &str) -> Result<String, String> {
    let url = Url::parse(text).map_err(|error| error.to_string())?;
    if !matches!(url.scheme(), "http" | "https") || url.host().is_none() {
        return Err("an address that begins with http:// or https:// is wanted".to_owned());
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("it must not have a name or a password".to_owned());
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err("it must not have a query".to_owned());
    }
    // It is printed in lines for a shell, too.
    if url.as_str().contains(['\'', '"', '$', '`', '\\', ';', '&', '|', '(', ')']) {
        return Err("it must not have quotes or other signs that a shell takes for its own".to_owned());
    }
    let root = url.as_str().trim_end_matches('/');
    Ok(root.strip_suffix("/v1").unwrap_or(root).trim_end_matches('/').to_owned())
}

/// Reads the name of a model, which is printed in lines for a shell, too: whoever gave it must not get more in there.
///
/// # Errors
/// Says that it is none.
pub(crate) fn model_name(text: &str) -> Result<String, String> {
    let is_plain = |char: char| char.is_ascii_alphanumeric() || "-._[]/:".contains(char);
    match ModelName::parse(text) {
        Some(name) if text.chars().all(is_plain) => Ok(name.to_string()),
        _ => Err("that is no name of a model".to_owned()),
    }
}

/// Returns a name for people without what a terminal takes for a command, or that turns the direction of writing.
fn display_name(text: &str) -> String {
    let is_shown =
        |char: &char| !char.is_control() && !matches!(*char, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    text.chars().filter(is_shown).take(DISPLAY_CHARS_MAX).collect::<String>().trim().to_owned()
}

impl Model {
    /// Describes a model of the catalogue.
    pub(crate) fn of(entry: &Entry) -> Self {
        Self {
            name: undated(entry),
            display_name: entry.display_name.clone(),
            provider: entry.provider,
            context_tokens: entry.context_tokens,
            output_tokens: entry.output_tokens,
            accepts_sampling: entry.accepts_sampling,
        }
    }

    /// Describes a model that a pool lists, with what the catalogue knows of it; `None` for one of neither vendor,
    /// and for what is no name.
    pub(crate) fn listed(
        catalogue: &Catalogue,
        id: &str,
        display_name: Option<&str>,
        limits: (Option<u32>, Option<u32>),
    ) -> Option<Self> {
        let id = &model_name(id).ok()?;
        let known = catalogue.entries().find(|entry| entry.name.as_str() == id).map(Self::of);
        let mut model = match known {
            Some(model) => model,
            None => Self {
                name: id.clone(),
                display_name: display_name
                    .map(self::display_name)
                    .filter(|name| !name.is_empty())
                    .unwrap_or(id.clone()),
                provider: Provider::of_name(id)?,
                context_tokens: CONTEXT_UNKNOWN,
                output_tokens: OUTPUT_UNKNOWN,
                accepts_sampling: false,
            },
        };
        model.context_tokens = limits.0.unwrap_or(model.context_tokens);
        model.output_tokens = limits.1.unwrap_or(model.output_tokens);
        Some(model)
    }
}

/// What every model of these vendors has had since 2024, in tokens.
const CONTEXT_UNKNOWN: u32 = 128_000;
const OUTPUT_UNKNOWN: u32 = 16_000;

/// Returns the model's name without its date where that is a name of its own, as in `gpt-5.5`.
fn undated(entry: &Entry) -> String {
    let name = entry.name.as_str();
    let alias = entry.aliases.iter().find(|alias| name.strip_prefix(alias.as_str()).is_some_and(is_date));
    alias.map_or(name, String::as_str).to_owned()
}

/// Returns whether `tail` is a date behind a name: `-2026-04-23` or `-20250929`.
fn is_date(tail: &str) -> bool {
    let digits = tail.chars().filter(char::is_ascii_digit).count();
    tail.starts_with('-') && digits == 8 && tail.chars().all(|char| char == '-' || char.is_ascii_digit())
}

impl Pool {
    /// Returns the base URL of OpenAI's APIs, and of clients that put no `/v1` in front of a path themselves.
    pub(super) fn v1(&self) -> String {
        format!("{}/v1", self.url)
    }

    /// Returns what a client is given as its key in a shell.
    pub(super) fn shell_key(&self) -> String {
        match &self.key {
            Key::Any => ANY.to_owned(),
            Key::Environment(name) => format!("\"${name}\""),
        }
    }

    /// Returns the newest model whose name begins with `family`, such as `claude-opus`.
    pub(super) fn newest(&self, family: &str) -> Option<&Model> {
        self.models.iter().find(|model| model.name.starts_with(family))
    }

    /// Returns the models of a maker.
    pub(super) fn made_by(&self, provider: Provider) -> impl Iterator<Item = &Model> {
        self.models.iter().filter(move |model| model.provider == provider)
    }

    /// Returns the Claude model to begin with: the wanted one, else the newest Sonnet, else any.
    pub(super) fn claude(&self) -> Option<&str> {
        let wanted = self.wanted.as_deref().filter(|name| Provider::of_name(name) == Some(Provider::Anthropic));
        let any = || self.made_by(Provider::Anthropic).next();
        wanted.or_else(|| self.newest("claude-sonnet").or_else(any).map(|model| model.name.as_str()))
    }

    /// Returns the GPT model to begin with: the wanted one, else the first of the plain family, else any.
    pub(super) fn gpt(&self) -> Option<&str> {
        let wanted = self.wanted.as_deref().filter(|name| Provider::of_name(name) == Some(Provider::OpenAi));
        wanted.or_else(|| self.made_by(Provider::OpenAi).next().map(|model| model.name.as_str()))
    }

    /// Returns the model to begin with: the wanted one, else a Claude model, else a GPT model.
    pub(super) fn main(&self) -> Option<&str> {
        self.wanted.as_deref().or_else(|| self.claude()).or_else(|| self.gpt())
    }

    /// Returns the model to begin with for clients that send `temperature` whether or not it is taken.
    pub(super) fn main_with_sampling(&self) -> Option<&str> {
        let takes = |model: &&Model| model.accepts_sampling && model.name.starts_with("claude-sonnet");
        let sonnet = || self.models.iter().find(takes).map(|model| model.name.as_str());
        self.wanted.as_deref().or_else(sonnet).or_else(|| self.main())
    }

    /// Returns the small model for side tasks.
    pub(super) fn small(&self) -> Option<&str> {
        let mini = || self.models.iter().find(|model| model.name.contains("mini"));
        self.newest("claude-haiku").or_else(mini).map(|model| model.name.as_str())
    }

    /// Returns whether the pool is on this machine.
    pub(super) fn is_local(&self) -> bool {
        let host = Url::parse(&self.url).ok().and_then(|url| url.host_str().map(str::to_owned));
        host.is_some_and(|host| is_loopback_name(&host))
    }

    /// Returns whether the world can reach the pool by a name and over TLS.
    pub(super) fn is_public(&self) -> bool {
        self.url.starts_with("https://") && !self.is_local()
    }
}

#[cfg(test)]
pub(super) fn sample(key: Key) -> Pool {
    let catalogue = Catalogue::builtin().expect("the catalogue");
    let models = catalogue.entries().filter(|entry| !entry.deprecated).map(Model::of).collect();
    Pool { url: "http://127.0.0.1:8080".to_owned(), key, models, wanted: None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_taken_with_or_without_the_path_of_openais_api() {
        for text in
            ["http://127.0.0.1:8080", "http://127.0.0.1:8080/", "http://127.0.0.1:8080/v1", "http://127.0.0.1:8080/v1/"]
        {
            assert_eq!(pool_url(text), Ok("http://127.0.0.1:8080".to_owned()), "{text}");
        }
        assert_eq!(pool_url("https://ai.example.com/duo/v1"), Ok("https://ai.example.com/duo".to_owned()));
        for text in
            ["127.0.0.1:8080", "ftp://x", "https://a:b@x", "https://x/?key=1", "", "https://x/#a", "https://x/'$(id)'"]
        {
            assert!(pool_url(text).is_err(), "{text}");
        }
    }

    #[test]
    fn models_are_asked_for_by_the_names_that_clients_know() {
        let pool = sample(Key::Any);
        assert_eq!(
            (pool.gpt(), pool.claude(), pool.small()),
            (Some("gpt-5.5"), Some("claude-sonnet-5"), Some("claude-haiku-4-5"))
        );
        // One that takes a temperature, for clients that always send one.
        assert_eq!(pool.main_with_sampling(), Some("claude-sonnet-4-6"));
        assert!(pool.models.iter().all(|model| !model.name.contains("2026")), "{:?}", pool.models);
        let wanted = Pool { wanted: Some("gpt-9".to_owned()), ..pool };
        assert_eq!(
            (wanted.main(), wanted.gpt(), wanted.claude()),
            (Some("gpt-9"), Some("gpt-9"), Some("claude-sonnet-5"))
        );
    }

    #[test]
    fn a_model_that_the_catalogue_does_not_know_is_described_all_the_same() {
        let catalogue = Catalogue::builtin().expect("the catalogue");
        let listed = |id: &str| Model::listed(&catalogue, id, None, (None, Some(9_000)));
        let new = listed("claude-sonnet-9").expect("a model");
        assert_eq!(
            (new.name.as_str(), new.provider, new.output_tokens),
            ("claude-sonnet-9", Provider::Anthropic, 9_000)
        );
        assert_eq!(listed("gpt-5.5-2026-04-23").map(|model| model.name).as_deref(), Some("gpt-5.5"));
        assert_eq!(listed("gitlab-duo"), None);
    }

    #[test]
    fn what_a_pool_lists_brings_nothing_into_a_shell_or_a_terminal() {
        let catalogue = Catalogue::builtin().expect("the catalogue");
        let listed = |id: &str, name: &str| Model::listed(&catalogue, id, Some(name), (None, None));
        for id in
            ["claude-x-$(id)", "gpt-5`id`", "claude-x;id", "claude-x id", "claude-x\nid", "gpt-5'", "gpt-\u{1b}[2J"]
        {
            assert_eq!(listed(id, "A model"), None, "{id}");
        }
        let named = |name: &str| listed("claude-new-9", name).expect("a model").display_name;
        assert_eq!(named("Claude\u{1b}[2J\r\nNew\u{202e} 9"), "Claude[2JNew 9");
        assert_eq!(named("\u{7}\n"), "claude-new-9");
        assert_eq!(named(&"x".repeat(10_000)).len(), DISPLAY_CHARS_MAX);
    }
}
