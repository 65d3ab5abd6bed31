//! What is known about models: their names, limits and families.
//!
//! A table and nothing else: no account, no gateway and no permission. Which models an account may use is discovered by
//! the account, which a gateway refuses is learnt at run time, and which a key may ask for is the key's scope. A name
//! that looks like a model of a known provider is let through as a guess, since GitLab's list grows monthly.

use std::collections::HashMap;

use serde::Deserialize;

use crate::domain::model::{Dialect, ModelName, Provider, Thinking};
use crate::domain::time::Timestamp;

mod names;
#[cfg(test)]
mod tests;

pub use names::{AliasError, AliasRule, Meaning, Pattern, RULES_MAX};

/// The name that means an account's own current model, and the catalogue's default where the account has none.
pub const CURRENT_MODEL: &str = "gitlab-duo";
/// What Claude Code appends to a model's name to ask for the long context; it travels as a beta header, too, so the
/// name alone decides the model.
const LONG_CONTEXT_MARK: &str = "[1m]";
/// Release time of a model whose date no source tells: 2026-09-07, the date of the newest list this table was made from.
const UNDATED: Timestamp = Timestamp::from_secs(1_788_739_200);
/// Words in a model's name that say nothing about its family.
const QUALIFIERS: [&str; 3] = ["latest", "preview", "chat"];

/// One model that a gateway proxies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The exact name that the gateway accepts.
    pub name: ModelName,
    /// The name for people.
    pub display_name: String,
    /// Who makes it.
    pub provider: Provider,
    /// What the gateway accepts for it, the preferred one first; never empty.
    pub dialects: Vec<Dialect>,
    /// Models that may stand in for each other, such as `claude-sonnet`.
    pub family: String,
    /// Longest input and output together, in tokens.
    pub context_tokens: u32,
    /// Longest output, in tokens.
    pub output_tokens: u32,
    /// How it is asked to think.
    pub thinking: Thinking,
    /// What `reasoning.effort` takes, as the API writes it; empty where nothing is known.
    pub efforts: Vec<String>,
    /// Whether it takes `temperature`, `top_p` and `top_k`; the newest models answer them with a 400.
    pub accepts_sampling: bool,
    /// The day it came out, at 00:00 UTC, where a source tells.
    pub released: Option<Timestamp>,
    /// Whether GitLab has announced its removal.
    pub deprecated: bool,
    /// Other names that lead to it.
    pub aliases: Vec<String>,
    /// What GitLab's GraphQL calls it.
    pub gitlab: Vec<String>,
}

impl Entry {
    /// Returns the release time for model lists, which must have one: an assumed date where none is known.
    pub fn created(&self) -> Timestamp {
        self.released.unwrap_or(UNDATED)
    }
}

/// What a client's model name asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// `gitlab-duo`: the account's own current model.
    Current,
    /// A model of the catalogue, by its name or an alias.
    Known(ModelName),
    /// Not in the catalogue, but its beginning says whose it is: tried as it is.
    Guess {
        /// The name as the client wrote it, without a mark for the long context.
        name: ModelName,
        /// Whose model it must be.
        provider: Provider,
    },
}

/// Why a catalogue cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CatalogueError {
    /// Not TOML, or a table with missing, unknown or ill-typed fields.
    #[error("the model catalogue does not parse")]
    Syntax(#[source] Box<toml::de::Error>),
    /// A value in a table that cannot be meant.
    #[error("model `{model}` in the catalogue has {problem}")]
    BadEntry {
        /// The model's name.
        model: ModelName,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// Two models claim one name, alias or GitLab identifier.
    #[error("`{claimed}` is claimed by both `{first}` and `{second}` in the model catalogue")]
    Duplicate {
        /// What both claim.
        claimed: String,
        /// The model that has it.
        first: ModelName,
        /// The model that wants it, too.
        second: ModelName,
    },
    /// A model takes the name that stands for the current model.
    #[error("`{0}` must not be called `gitlab-duo` in the model catalogue: that name means an account's current model")]
    Reserved(ModelName),
    /// `default` or `remove` names a model that the catalogue does not have.
    #[error("`{setting}` in the model catalogue names `{name}`, which is no model in it")]
    NoSuchModel {
        /// The setting at fault.
        setting: &'static str,
        /// What it names.
        name: String,
    },
}

/// A table of models with its indexes.
#[derive(Clone, Debug)]
pub struct Catalogue {
    entries: Vec<Entry>,
    /// Names and aliases, to positions in `entries`.
    by_name: HashMap<String, usize>,
    /// GitLab identifiers, to positions in `entries`.
    by_gitlab: HashMap<String, usize>,
    default: ModelName,
    rules: names::Rules,
}

impl Catalogue {
    /// Reads the table that ships with duopool.
    pub fn builtin() -> Result<Self, CatalogueError> {
        let file = CatalogueFile::parse(include_str!("../catalogue.toml"))?;
        let entries = file.model.into_iter().map(Entry::try_from).collect::<Result<_, _>>()?;
        Self::index(entries, file.default.unwrap_or_default())
    }

    /// Applies an operator's file, which has the form of the built-in one.
    ///
    /// `remove` takes models out first; a `[[model]]` table replaces the model of its name whole, or is added before all
    /// others, and so counts as newer than them; `default` replaces the default. Removing a model only forgets what is
    /// known about it: its name is then a guess like any other.
    pub fn with_overrides(self, toml: &str) -> Result<Self, CatalogueError> {
        let file = CatalogueFile::parse(toml)?;
        let mut entries = self.entries;
        for name in file.remove {
            let Some(at) = entries.iter().position(|entry| entry.name.as_str() == name) else {
                return Err(CatalogueError::NoSuchModel { setting: "remove", name });
            };
            entries.remove(at);
        }
        let mut added: Vec<Entry> = Vec::new();
        for table in file.model {
            let new = Entry::try_from(table)?;
            match entries.iter_mut().find(|entry| entry.name == new.name) {
                Some(old) => *old = new,
                None => added.push(new),
            }
        }
        added.append(&mut entries);
        Self::index(added, file.default.unwrap_or_else(|| self.default.as_str().to_owned()))
    }

    fn index(entries: Vec<Entry>, default: String) -> Result<Self, CatalogueError> {
        let mut by_name = HashMap::new();
        let mut by_gitlab = HashMap::new();
        for (at, entry) in entries.iter().enumerate() {
            let names = entry.aliases.iter().map(String::as_str).chain([entry.name.as_str()]);
            for name in names {
                if name == CURRENT_MODEL {
                    return Err(CatalogueError::Reserved(entry.name.clone()));
                }
                claim(&mut by_name, name, at, &entries)?;
            }
            for reference in &entry.gitlab {
                claim(&mut by_gitlab, reference, at, &entries)?;
            }
        }
        let Some(known) = entries.iter().find(|entry| entry.name.as_str() == default) else {
            return Err(CatalogueError::NoSuchModel { setting: "default", name: default });
        };
        Ok(Self { default: known.name.clone(), entries, by_name, by_gitlab, rules: names::Rules::default() })
    }

    /// Returns the model with exactly this name; an alias does not count.
    pub fn entry(&self, name: &ModelName) -> Option<&Entry> {
        self.by_name.get(name.as_str()).map(|&at| &self.entries[at]).filter(|entry| entry.name == *name)
    }

    /// Returns the model that GitLab's GraphQL calls `reference`; `None` for one that no gateway proxies, such as a model
    /// on Vertex or Bedrock.
    pub fn by_gitlab_ref(&self, reference: &str) -> Option<&Entry> {
        self.by_gitlab.get(reference).map(|&at| &self.entries[at])
    }

    /// Returns what `gitlab-duo` means where nothing else says so.
    pub fn default_model(&self) -> &ModelName {
        &self.default
    }

    /// Returns the newest other model of the family of `name` for which `unsupported` does not hold.
    ///
    /// The family of a name outside the catalogue is read off its words: `claude-3-5-haiku-latest` is a `claude-haiku`,
    /// `gpt-9` a `gpt`. `None` where no family fits, since a model of another kind is a surprise and not a fallback.
    pub fn fallback(&self, name: &ModelName, unsupported: impl Fn(&ModelName) -> bool) -> Option<&Entry> {
        let family = self.entry(name).map_or_else(|| self.family_of(name.as_str()), |entry| Some(&entry.family))?;
        self.entries.iter().find(|entry| entry.family == family && entry.name != *name && !unsupported(&entry.name))
    }

    /// Returns all models in catalogue order: newest first inside each family.
    pub fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter()
    }

    /// Returns the family whose word comes first in `name`, or the provider's plain family if it has only versions.
    fn family_of(&self, name: &str) -> Option<&str> {
        let (maker, rest) = name.split_once('-')?;
        let words = || rest.split(['-', '.']).filter(|word| !word.starts_with(|first: char| first.is_ascii_digit()));
        let families = || self.entries.iter().map(|entry| entry.family.as_str());
        let named = |word: &str| {
            families().find(|family| family.strip_prefix(maker).and_then(|tail| tail.strip_prefix('-')) == Some(word))
        };
        if let Some(family) = words().find_map(named) {
            return Some(family);
        }
        let plain = words().all(|word| QUALIFIERS.contains(&word));
        families().find(|family| plain && *family == maker)
    }
}

/// Notes that the model at `at` answers to `claimed`.
fn claim(
    index: &mut HashMap<String, usize>,
    claimed: &str,
    at: usize,
    entries: &[Entry],
) -> Result<(), CatalogueError> {
    let Some(first) = index.insert(claimed.to_owned(), at) else { return Ok(()) };
    let (first, second) = (entries[first].name.clone(), entries[at].name.clone());
    Err(CatalogueError::Duplicate { claimed: claimed.to_owned(), first, second })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CatalogueFile {
    default: Option<String>,
    #[serde(default)]
    remove: Vec<String>,
    #[serde(default)]
    model: Vec<ModelTable>,
}

impl CatalogueFile {
    fn parse(text: &str) -> Result<Self, CatalogueError> {
        toml::from_str(text).map_err(|error| CatalogueError::Syntax(Box::new(error)))
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ModelTable {
    name: ModelName,
    display_name: String,
    provider: Provider,
    dialects: Vec<Dialect>,
    family: String,
    context_tokens: u32,
    output_tokens: u32,
    thinking: Thinking,
    #[serde(default)]
    efforts: Vec<String>,
    accepts_sampling: bool,
    released: Option<String>,
    #[serde(default)]
    deprecated: bool,
    #[serde(default)]
    aliases: Vec<String>,
    #[serde(default)]
    gitlab: Vec<String>,
}

impl TryFrom<ModelTable> for Entry {
    type Error = CatalogueError;

    fn try_from(table: ModelTable) -> Result<Self, CatalogueError> {
        let bad = |problem| CatalogueError::BadEntry { model: table.name.clone(), problem };
        if table.dialects.is_empty() {
            return Err(bad("no dialect"));
        }
        if table.output_tokens == 0 || table.output_tokens > table.context_tokens {
            return Err(bad("an output limit that is zero or above its context"));
        }
        let released = match &table.released {
            Some(day) => Some(Timestamp::from_date(day).ok_or_else(|| bad("a release date that is not YYYY-MM-DD"))?),
            None => None,
        };
        Ok(Self {
            name: table.name,
            display_name: table.display_name,
            provider: table.provider,
            dialects: table.dialects,
            family: table.family,
            context_tokens: table.context_tokens,
            output_tokens: table.output_tokens,
            thinking: table.thinking,
            efforts: table.efforts,
            accepts_sampling: table.accepts_sampling,
            released,
            deprecated: table.deprecated,
            aliases: table.aliases,
            gitlab: table.gitlab,
        })
    }
}
