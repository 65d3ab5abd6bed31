//! What a client's name for a model means, beyond the catalogue's own names and aliases.
//!
//! Names are looked up in this order, and the first that knows the name decides:
//!
//! 1. `gitlab-duo`, and models' own names;
//! 2. the operator's rules without a wildcard;
//! 3. the catalogue's aliases, and GPT models as `claude-gpt-…`;
//! 4. the same three again for a name without the effort at its end, as in `gpt-5.5-high` or `gpt-5.5(high)`;
//! 5. the operator's rules with wildcards, in their order;
//! 6. names that begin like those of a known maker, tried as they are.
//!
//! So whoever names a model exactly gets it, whatever an operator's pattern says; to redirect an alias, an operator writes a
//! rule without a wildcard, and to redirect a model's own name, takes the model out of the catalogue first. What a rule
//! leads to is looked up without rules, so there are no chains and no circles. Case counts, as in models' names.

mod pattern;
#[cfg(test)]
mod tests;

use std::collections::HashMap;

use crate::domain::catalogue::{CURRENT_MODEL, Catalogue, Entry, LONG_CONTEXT_MARK, Wanted};
use crate::domain::model::{Effort, ModelName, Provider};

pub use pattern::Pattern;

/// Most rules that an operator may give: each may be matched with each unknown name.
pub const RULES_MAX: usize = 256;
/// Longest name that is looked up, in bytes: that of a model with an effort and a mark for the long context.
const ASKED_BYTES_MAX: usize = 160;
/// What stands before a GPT model's name where a client lists no other names than those of Claude models.
const CLAUDE_PREFIX: &str = "claude-";

/// An operator's rule: what fits the pattern is served by the model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AliasRule {
    /// The names it is for.
    pub pattern: Pattern,
    /// The model, by any name that a client could write.
    pub model: String,
}

/// Why an operator's rule cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum AliasError {
    /// What the rule leads to is nobody's name.
    #[error("setting `alias`: the rule for `{pattern}` leads to `{model}`, which is no model")]
    NoSuchModel {
        /// The rule's pattern.
        pattern: Pattern,
        /// What it leads to.
        model: String,
    },
    /// The rule is for the name of a model, which always means that model.
    #[error(
        "setting `alias`: `{0}` is a model's own name, which always means that model; take the model out with `remove` in \
         `models_file` first"
    )]
    IsModel(Pattern),
    /// Two rules are for the same.
    #[error("setting `alias`: there are two rules for `{0}`")]
    Duplicate(Pattern),
    /// No name that is looked up ends with the mark for the long context.
    #[error("setting `alias`: `{0}` ends with `{LONG_CONTEXT_MARK}`, which is left out before names are compared")]
    Marked(Pattern),
}

/// What a client's name asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Meaning<'a> {
    /// The model.
    pub wanted: Wanted,
    /// How hard it is to think, where the name says so.
    pub effort: Option<Effort>,
    /// The operator's rule that decided, if one did.
    pub rule: Option<&'a AliasRule>,
}

/// An operator's rules, looked up.
#[derive(Clone, Debug, Default)]
pub(super) struct Rules {
    list: Vec<Rule>,
    /// Rules without a wildcard, to positions in `list`.
    exact: HashMap<String, usize>,
}

#[derive(Clone, Debug)]
struct Rule {
    given: AliasRule,
    wanted: Wanted,
    effort: Option<Effort>,
}

impl Rule {
    fn meaning(&self) -> Meaning<'_> {
        Meaning { wanted: self.wanted.clone(), effort: self.effort, rule: Some(&self.given) }
    }
}

impl Catalogue {
    /// Takes an operator's rules in the place of those there were.
    pub fn with_rules(mut self, rules: &[AliasRule]) -> Result<Self, AliasError> {
        self.rules = Rules::default();
        let mut taken = Rules::default();
        for rule in rules {
            let pattern = &rule.pattern;
            if pattern.as_str().ends_with(LONG_CONTEXT_MARK) {
                return Err(AliasError::Marked(pattern.clone()));
            }
            if taken.list.iter().any(|other| other.given.pattern == *pattern) {
                return Err(AliasError::Duplicate(pattern.clone()));
            }
            if pattern.is_exact() {
                if self.own(pattern.as_str()).is_some() {
                    return Err(AliasError::IsModel(pattern.clone()));
                }
                taken.exact.insert(pattern.as_str().to_owned(), taken.list.len());
            }
            let no_model = || AliasError::NoSuchModel { pattern: pattern.clone(), model: rule.model.clone() };
            let Meaning { wanted, effort, .. } = self.meaning(&rule.model).ok_or_else(no_model)?;
            taken.list.push(Rule { given: rule.clone(), wanted, effort });
        }
        self.rules = taken;
        Ok(self)
    }

    /// Returns the model that `name` asks for; `None` for a name that is nobody's.
    pub fn resolve(&self, name: &str) -> Option<Wanted> {
        self.meaning(name).map(|meaning| meaning.wanted)
    }

    /// Returns what `name` asks for; `None` for a name that is nobody's. A `[1m]` at its end is ignored.
    pub fn meaning(&self, name: &str) -> Option<Meaning<'_>> {
        if name.len() > ASKED_BYTES_MAX {
            return None;
        }
        let name = unmarked(name);
        let split = split(name);
        self.exact(name)
            .or_else(|| self.with_effort(split?, |base| self.exact(base)))
            .or_else(|| self.by_pattern(name, split))
            .or_else(|| self.with_effort(split.filter(|split| split.is_sure)?, guess))
            .or_else(|| guess(name))
    }

    /// Returns the names that the operator's rules give to models, with what each means; patterns are no names.
    pub fn given_names(&self) -> impl Iterator<Item = (&str, &Wanted)> {
        let exact = self.rules.list.iter().filter(|rule| rule.given.pattern.is_exact());
        exact.map(|rule| (rule.given.pattern.as_str(), &rule.wanted))
    }

    /// Returns the name under which a client that knows only Claude models finds a GPT model; `None` for a Claude model,
    /// which has one.
    pub fn name_as_claude(entry: &Entry) -> Option<String> {
        let short = entry.aliases.iter().find(|alias| alias.starts_with("gpt-"));
        let name = short.map_or(entry.name.as_str(), String::as_str);
        (entry.provider != Provider::Anthropic).then(|| format!("{CLAUDE_PREFIX}{name}"))
    }

    /// Returns the name under which such a client finds the account's own model.
    pub fn current_as_claude() -> String {
        format!("{CLAUDE_PREFIX}{CURRENT_MODEL}")
    }

    /// Looks `name` up among the names that are no patterns.
    fn exact(&self, name: &str) -> Option<Meaning<'_>> {
        if let Some(wanted) = self.own(name) {
            return Some(plain(wanted));
        }
        if let Some(&at) = self.rules.exact.get(name) {
            return Some(self.rules.list[at].meaning());
        }
        self.alias(name).or_else(|| self.alias(name.strip_prefix(CLAUDE_PREFIX)?).filter(is_foreign)).map(plain)
    }

    /// Returns what is called `name` itself.
    fn own(&self, name: &str) -> Option<Wanted> {
        if name == CURRENT_MODEL {
            return Some(Wanted::Current);
        }
        self.entries.get(*self.by_name.get(name)?).filter(|entry| entry.name.as_str() == name).map(known)
    }

    /// Returns what has `name` as its own name or as an alias of the catalogue.
    fn alias(&self, name: &str) -> Option<Wanted> {
        self.own(name).or_else(|| self.by_name.get(name).and_then(|&at| self.entries.get(at)).map(known))
    }

    fn with_effort<'a>(&'a self, split: Split<'_>, look: impl Fn(&str) -> Option<Meaning<'a>>) -> Option<Meaning<'a>> {
        let meaning = look(split.base)?;
        // After a hyphen, a word that the model has no use for is a part of a name that is not known yet.
        let takes = split.is_sure || self.takes(&meaning.wanted, split.effort);
        takes.then_some(Meaning { effort: Some(split.effort), ..meaning })
    }

    fn takes(&self, wanted: &Wanted, effort: Effort) -> bool {
        let Wanted::Known(name) = wanted else { return true };
        let efforts = self.entry(name).map_or(&[][..], |entry| &entry.efforts);
        efforts.is_empty() || efforts.iter().any(|word| word == effort.as_str())
    }

    /// Returns the first rule that fits the name, with its effort or without.
    fn by_pattern(&self, name: &str, split: Option<Split<'_>>) -> Option<Meaning<'_>> {
        self.rules.list.iter().filter(|rule| !rule.given.pattern.is_exact()).find_map(|rule| {
            let pattern = &rule.given.pattern;
            // Where only the whole name fits, the pattern is about the word at its end, too.
            let effort = split.filter(|split| pattern.matches(split.base)).map(|split| split.effort);
            let fits = effort.is_some() || pattern.matches(name);
            fits.then(|| Meaning { effort: effort.or(rule.effort), ..rule.meaning() })
        })
    }
}

fn known(entry: &Entry) -> Wanted {
    Wanted::Known(entry.name.clone())
}

fn plain<'a>(wanted: Wanted) -> Meaning<'a> {
    Meaning { wanted, effort: None, rule: None }
}

/// Returns whether a name behind `claude-` is one that Claude models do not have.
fn is_foreign(wanted: &Wanted) -> bool {
    match wanted {
        Wanted::Current => true,
        Wanted::Known(name) | Wanted::Guess { name, .. } => {
            Provider::of_name(name.as_str()) != Some(Provider::Anthropic)
        }
    }
}

/// Takes a name that says whose model it is.
fn guess<'a>(name: &str) -> Option<Meaning<'a>> {
    let gpt = name.strip_prefix(CLAUDE_PREFIX).filter(|rest| Provider::of_name(rest) == Some(Provider::OpenAi));
    let name = gpt.unwrap_or(name);
    let provider = Provider::of_name(name)?;
    Some(plain(Wanted::Guess { name: ModelName::parse(name)?, provider }))
}

fn unmarked(name: &str) -> &str {
    name.strip_suffix(LONG_CONTEXT_MARK).unwrap_or(name)
}

/// A name that ends with an effort.
#[derive(Clone, Copy)]
struct Split<'a> {
    /// The name without it, and without a mark for the long context.
    base: &'a str,
    effort: Effort,
    /// Whether it can be nothing else: a hyphen is also in models' names.
    is_sure: bool,
}

/// Takes the effort off a name: `-high`, `:high` or `(high)`.
fn split(name: &str) -> Option<Split<'_>> {
    let in_brackets = name.strip_suffix(')').and_then(|rest| rest.rsplit_once('('));
    let (base, word, is_sure) = if let Some((base, word)) = in_brackets {
        (base, word, true)
    } else {
        let at = name.rfind(['-', ':'])?;
        (&name[..at], &name[at + 1..], name.as_bytes()[at] == b':')
    };
    Some(Split { base: unmarked(base), effort: Effort::parse(word)?, is_sure })
}
