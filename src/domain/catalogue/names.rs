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

use std::collections::HashMap;
use std::fmt;

use crate::domain::catalogue::{CURRENT_MODEL, Catalogue, Entry, LONG_CONTEXT_MARK, Wanted};
use crate::domain::model::{Effort, ModelName, Provider};

/// Most rules that an operator may give: each may be matched with each unknown name.
pub const RULES_MAX: usize = 256;
/// Longest pattern, in bytes: as long as a model's name may be.
const PATTERN_BYTES_MAX: usize = 128;
/// Longest name that is looked up, in bytes: that of a model with an effort and a mark for the long context.
const ASKED_BYTES_MAX: usize = 160;
/// What stands before a GPT model's name where a client lists no other names than those of Claude models.
const CLAUDE_PREFIX: &str = "claude-";

/// A name with wildcards: `*` stands for any number of characters, `?` for one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern(String);

impl Pattern {
    /// Takes a pattern of 1 to 128 printable ASCII characters without spaces.
    pub fn parse(text: &str) -> Option<Self> {
        let legal = (1..=PATTERN_BYTES_MAX).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
        legal.then(|| Self(text.to_owned()))
    }

    /// Returns the pattern as it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn is_exact(&self) -> bool {
        !self.0.contains(['*', '?'])
    }

    /// Returns whether `name` as a whole fits.
    pub fn matches(&self, name: &str) -> bool {
        let (pattern, name) = (self.0.as_bytes(), name.as_bytes());
        let (mut at, mut read) = (0, 0);
        // The last `*`, and how much of the name it has taken: on a mismatch it takes one more.
        let mut star: Option<(usize, usize)> = None;
        while read < name.len() {
            match pattern.get(at) {
                Some(b'*') => {
                    star = Some((at, read));
                    at += 1;
                }
                Some(&byte) if byte == b'?' || byte == name[read] => {
                    at += 1;
                    read += 1;
                }
                _ => {
                    let Some((place, taken)) = star else { return false };
                    star = Some((place, taken + 1));
                    at = place + 1;
                    read = taken + 1;
                }
            }
        }
        pattern[at..].iter().all(|byte| *byte == b'*')
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

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

#[cfg(test)]
mod tests {
    use super::*;

    fn catalogue() -> Catalogue {
        Catalogue::builtin().unwrap()
    }

    fn rule(pattern: &str, model: &str) -> AliasRule {
        AliasRule { pattern: Pattern::parse(pattern).unwrap(), model: model.to_owned() }
    }

    fn with(rules: &[(&str, &str)]) -> Catalogue {
        let rules: Vec<_> = rules.iter().map(|(pattern, model)| rule(pattern, model)).collect();
        catalogue().with_rules(&rules).unwrap()
    }

    /// Returns what a name means in short: the model, and the effort behind a blank.
    fn meant(catalogue: &Catalogue, name: &str) -> Option<String> {
        let Meaning { wanted, effort, .. } = catalogue.meaning(name)?;
        let model = match &wanted {
            Wanted::Current => CURRENT_MODEL.to_owned(),
            Wanted::Known(name) => name.to_string(),
            Wanted::Guess { name, .. } => format!("{name}?"),
        };
        Some(effort.map_or(model.clone(), |effort| format!("{model} {}", effort.as_str())))
    }

    #[test]
    fn a_pattern_fits_as_a_glob_does() {
        for (pattern, name, fits) in [
            ("claude-*haiku*", "claude-3-5-haiku-latest", true),
            ("claude-*haiku*", "claude-haiku", true),
            ("claude-*haiku*", "claude-sonnet", false),
            ("claude-*haiku*", "xclaude-haiku", false),
            ("*", "", true),
            ("*", "anything", true),
            ("a*b*c", "aXbXbXc", true),
            ("a*b*c", "aXbXbX", false),
            ("gpt-?", "gpt-9", true),
            ("gpt-?", "gpt-", false),
            ("gpt-?", "gpt-10", false),
            ("?*", "", false),
            ("a.c", "abc", false),
            ("a[bc]", "ab", false),
            ("A*", "abc", false),
        ] {
            assert_eq!(Pattern::parse(pattern).unwrap().matches(name), fits, "{pattern} {name}");
        }
        let slow = Pattern::parse(&"*a".repeat(64)).unwrap();
        assert!(!slow.matches(&format!("{}b", "a".repeat(ASKED_BYTES_MAX))));
        for bad in ["", "two words", "é*", &"x".repeat(PATTERN_BYTES_MAX + 1)] {
            assert_eq!(Pattern::parse(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn exact_names_win_over_patterns_and_the_first_pattern_over_the_second() {
        let ours = with(&[
            ("claude-*haiku*", "gpt-5.4-mini"),
            ("claude-*", "gitlab-duo"),
            ("claude-opus-4.6", "claude-opus-5"),
            ("fast", "gpt-5.4-nano"),
            ("*-thinking", "claude-opus-5-high"),
            ("gpt-9*", "gpt-10"),
        ]);
        for (name, model) in [
            ("claude-haiku-9", "gpt-5.4-mini"),
            ("claude-3-5-haiku-latest[1m]", "gpt-5.4-mini"),
            ("claude-haiku-4-5-20251001", "claude-haiku-4-5-20251001"),
            ("claude-haiku-4-5", "claude-haiku-4-5-20251001"),
            ("claude-haiku-4-5-high", "claude-haiku-4-5-20251001 high"),
            ("claude-nobody-knows", "gitlab-duo"),
            ("claude-opus-4.6", "claude-opus-5"),
            ("claude-opus-4.6-low", "claude-opus-5 low"),
            ("claude-opus-4-6", "claude-opus-4-6"),
            ("claude-gpt-5.5", "gpt-5.5-2026-04-23"),
            ("fast", "gpt-5.4-nano"),
            ("fast[1m]", "gpt-5.4-nano"),
            ("fast(high)", "gpt-5.4-nano high"),
            ("gpt-9", "gpt-10?"),
            ("gpt-9-low", "gpt-10? low"),
            ("gpt-5.5-thinking", "claude-opus-5 high"),
            ("gpt-5.5", "gpt-5.5-2026-04-23"),
        ] {
            assert_eq!(meant(&ours, name).as_deref(), Some(model), "{name}");
        }
        assert_eq!(meant(&ours, "slow"), None);
        assert_eq!(ours.meaning("claude-haiku-9").unwrap().rule.unwrap().pattern.as_str(), "claude-*haiku*");
        assert_eq!(ours.meaning("claude-haiku-4-5").unwrap().rule, None);
        assert_eq!(ours.given_names().map(|(name, _)| name).collect::<Vec<_>>(), ["claude-opus-4.6", "fast"]);
    }

    #[test]
    fn a_pattern_about_the_effort_takes_it() {
        let ours = with(&[("quick-high", "gpt-5.5"), ("deep-*-high", "claude-opus-5"), ("deep-*", "gpt-5.5-low")]);
        for (name, model) in [
            ("quick-high", "gpt-5.5-2026-04-23"),
            ("deep-x-high", "claude-opus-5"),
            ("deep-x", "gpt-5.5-2026-04-23 low"),
            ("deep-x-medium", "gpt-5.5-2026-04-23 medium"),
        ] {
            assert_eq!(meant(&ours, name).as_deref(), Some(model), "{name}");
        }
    }

    #[test]
    fn an_effort_behind_a_known_name_is_asked_for() {
        let catalogue = catalogue();
        for (name, model) in [
            ("gpt-5.5-high", "gpt-5.5-2026-04-23 high"),
            ("gpt-5.5(high)", "gpt-5.5-2026-04-23 high"),
            ("gpt-5.5:xhigh", "gpt-5.5-2026-04-23 xhigh"),
            ("gpt-5-minimal", "gpt-5 minimal"),
            ("claude-sonnet-4-6-max", "claude-sonnet-4-6 max"),
            ("claude-sonnet-4.6:none", "claude-sonnet-4-6 none"),
            ("claude-sonnet-4-6-high[1m]", "claude-sonnet-4-6 high"),
            ("claude-sonnet-4-6[1m]-high", "claude-sonnet-4-6 high"),
            ("claude-sonnet-4-6[1m](high)", "claude-sonnet-4-6 high"),
            ("gitlab-duo-low", "gitlab-duo low"),
            ("claude-gitlab-duo-low", "gitlab-duo low"),
            ("claude-gpt-5.5-high", "gpt-5.5-2026-04-23 high"),
            // What the model has no word for may be the name of a newer one; nothing else can end like the others.
            ("gpt-5.3-codex-max", "gpt-5.3-codex-max?"),
            ("gpt-5.3-codex(max)", "gpt-5.3-codex max"),
            ("gpt-9-high", "gpt-9-high?"),
            ("gpt-9(high)", "gpt-9? high"),
            ("claude-opus-9:low", "claude-opus-9? low"),
            ("gpt-5.4-mini", "gpt-5.4-mini"),
        ] {
            assert_eq!(meant(&catalogue, name).as_deref(), Some(model), "{name}");
        }
        for nobodys in ["llama-high", "-high", "(high)", ":high", "high", "gpt-5.5-HIGH ", "gpt-5.5()"] {
            let guessed = meant(&catalogue, nobodys);
            assert!(guessed.as_deref().is_none_or(|guess| guess.ends_with('?')), "{nobodys}: {guessed:?}");
        }
    }

    #[test]
    fn gpt_models_have_names_among_claudes() {
        let catalogue = catalogue();
        for entry in catalogue.entries() {
            let Some(name) = Catalogue::name_as_claude(entry) else {
                assert_eq!(entry.provider, Provider::Anthropic);
                continue;
            };
            assert_eq!(meant(&catalogue, &name).as_deref(), Some(entry.name.as_str()), "{name}");
        }
        for (name, model) in [
            ("claude-gpt-5.5", "gpt-5.5-2026-04-23"),
            ("claude-gpt-5.5-2026-04-23", "gpt-5.5-2026-04-23"),
            ("claude-gpt-99", "gpt-99?"),
            ("claude-claude-sonnet-4-6", "claude-claude-sonnet-4-6?"),
        ] {
            assert_eq!(meant(&catalogue, name).as_deref(), Some(model), "{name}");
        }
        assert_eq!(meant(&catalogue, &Catalogue::current_as_claude()).as_deref(), Some(CURRENT_MODEL));
    }

    #[test]
    fn a_rule_that_cannot_be_meant_is_refused_and_says_why() {
        for (rules, reason) in [
            (&[("x*", "llama")][..], "the rule for `x*` leads to `llama`, which is no model"),
            (&[("a", "gpt-5.5"), ("b", "a")], "the rule for `b` leads to `a`"),
            (&[("claude-haiku-4-5-20251001", "gpt-5.5")], "is a model's own name"),
            (&[("gitlab-duo", "gpt-5.5")], "is a model's own name"),
            (&[("x*", "gpt-5.5"), ("x*", "gpt-5")], "two rules for `x*`"),
            (&[("x*[1m]", "gpt-5.5")], "ends with `[1m]`"),
        ] {
            let rules: Vec<_> = rules.iter().map(|(pattern, model)| rule(pattern, model)).collect();
            let error = catalogue().with_rules(&rules).unwrap_err().to_string();
            assert!(error.contains(reason), "{error} lacks {reason}");
        }
    }

    #[test]
    fn a_name_of_absurd_length_is_nobodys() {
        let ours = with(&[("*", "gpt-5.5")]);
        assert_eq!(meant(&ours, &"x".repeat(ASKED_BYTES_MAX)).as_deref(), Some("gpt-5.5-2026-04-23"));
        assert_eq!(meant(&ours, &"x".repeat(ASKED_BYTES_MAX + 1)), None);
    }
}
