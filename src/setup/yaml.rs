//! Settings files in YAML, which no editor keeps the comments of: what is ours stands in a block between two marks.
//!
//! The block is added, or written anew where it was; nothing outside of it is touched. A parser reads the file before
//! and after, and what it says must be what it said with ours added.

use yaml_rust2::{Yaml, YamlLoader};

use super::MergeError;

const BEGIN: &str = "# duopool: begin (written by `duopool setup`; what is changed in here is lost)";
const END: &str = "# duopool: end";
/// Begins the first mark, whatever an older or newer version says behind it.
const BEGIN_MARK: &str = "# duopool: begin";

/// What is to be in the file.
pub(super) enum Ours {
    /// Members of the mapping that the file is; one line or more each.
    Members(String),
    /// Items of the sequence that the file is.
    Items(String),
    /// Items of a sequence in the mapping that the file is, in front of those that are there.
    ItemsOf {
        /// The sequence.
        member: &'static str,
        /// Its items, not indented.
        items: String,
        /// What a new file begins with.
        head: &'static str,
    },
}

/// Writes a text so that YAML reads it as that text.
pub(super) fn scalar(text: &str) -> String {
    const WORDS: [&str; 8] = ["true", "false", "null", "yes", "no", "on", "off", "y"];
    let is_plain = text.starts_with(|first: char| first.is_ascii_alphabetic())
        && text.chars().all(|char| char.is_ascii_alphanumeric() || "-_./: ()".contains(char))
        && !text.contains(": ")
        && !text.ends_with([':', ' '])
        && !WORDS.contains(&text.to_ascii_lowercase().as_str());
    // JSON's texts are YAML's, too.
    if is_plain { text.to_owned() } else { serde_json::Value::from(text).to_string() }
}

/// Puts `ours` into the file's text.
pub(super) fn merged(text: &str, ours: &Ours) -> Result<String, MergeError> {
    let (mut lines, place) = without_block(text)?;
    let rest = said(&joined(&lines))?;
    match ours {
        Ours::Members(members) => {
            let added = said(members)?;
            no_overlap(&rest, &added, &lines)?;
            let at = place.unwrap_or_else(|| end_of(&mut lines));
            insert(&mut lines, at, &block(members, ""));
            check(joined(&lines), &with_members(rest, added)?)
        }
        Ours::Items(items) => {
            let added = said(items)?;
            let at = place.unwrap_or_else(|| end_of(&mut lines));
            let indent = indent_of(lines.iter().map(String::as_str));
            insert(&mut lines, at, &block(items, &indent));
            check(joined(&lines), &Yaml::Array(chained(rest, added)?))
        }
        Ours::ItemsOf { member, items, head } => {
            if rest.is_null() {
                let at = end_of(&mut lines);
                let new: Vec<String> = head.lines().map(str::to_owned).chain([format!("{member}:")]).collect();
                lines.splice(at..at, new);
            }
            items_of(lines, member, items)
        }
    }
}

fn items_of(mut lines: Vec<String>, member: &str, items: &str) -> Result<String, MergeError> {
    let Yaml::Hash(mut wanted) = said(&joined(&lines))? else { return Err(MergeError::Unsafe) };
    let key = Yaml::String(member.to_owned());
    let there = wanted.remove(&key).unwrap_or(Yaml::Null);
    let head = lines.iter().position(|line| is_head(line, member));
    let at = head.unwrap_or_else(|| {
        let at = end_of(&mut lines);
        lines.insert(at, format!("{member}:"));
        at
    });
    // An empty sequence is written on the line itself, and would be a second value beside the items below it.
    if there == Yaml::Array(Vec::new()) {
        lines[at] = format!("{member}:");
    }
    let below = lines[at + 1..].iter().map(String::as_str);
    let has_items = there.as_vec().is_some_and(|items| !items.is_empty());
    let indent = if has_items { indent_of(below) } else { "  ".to_owned() };
    insert(&mut lines, at + 1, &block(items, &indent));
    wanted.insert(key, Yaml::Array(chained(said(items)?, there)?));
    check(joined(&lines), &Yaml::Hash(wanted))
}

/// Returns whether a line begins the member `name` of the file's mapping, with its value below or an empty sequence.
fn is_head(line: &str, name: &str) -> bool {
    let Some(rest) = line.strip_prefix(name).and_then(|rest| rest.trim_start().strip_prefix(':')) else { return false };
    let value = rest.split('#').next().unwrap_or_default().trim();
    matches!(value, "" | "[]" | "[ ]")
}

/// Cuts a text into lines, takes the block out, and tells where it was.
fn without_block(text: &str) -> Result<(Vec<String>, Option<usize>), MergeError> {
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    let places = |lines: &[String], mark: &str| -> Vec<usize> {
        let marked = lines.iter().enumerate().filter(|(_, line)| line.trim_start().starts_with(mark));
        marked.map(|(at, _)| at).collect()
    };
    let (begins, ends) = (places(&lines, BEGIN_MARK), places(&lines, END));
    match (begins.as_slice(), ends.as_slice()) {
        ([], []) => Ok((lines, None)),
        (&[begin], &[end]) if begin < end => {
            lines.drain(begin..=end);
            Ok((lines, Some(begin)))
        }
        _ => Err(MergeError::Conflict(format!(
            "the marks `{BEGIN_MARK}` and `{END}` are not there as a pair: take them out"
        ))),
    }
}

fn joined(lines: &[String]) -> String {
    lines.iter().flat_map(|line| [line.as_str(), "\n"]).collect()
}

/// Returns what a text says; an empty one says nothing.
fn said(text: &str) -> Result<Yaml, MergeError> {
    let invalid = |problem: String| MergeError::Invalid { format: "YAML", problem };
    let documents = YamlLoader::load_from_str(text).map_err(|error| {
        let what = error.info().lines().next().unwrap_or_default().to_owned();
        invalid(format!("{what} in line {}", error.marker().line()))
    })?;
    match <[Yaml; 1]>::try_from(documents) {
        Ok([document]) => Ok(document),
        Err(documents) if documents.is_empty() => Ok(Yaml::Null),
        Err(_) => Err(invalid("it holds more than one document".to_owned())),
    }
}

fn check(after: String, wanted: &Yaml) -> Result<String, MergeError> {
    if is_same(&said(&after)?, wanted) { Ok(after) } else { Err(MergeError::Unsafe) }
}

/// Returns whether two files say the same; in which order a mapping says it does not matter.
fn is_same(one: &Yaml, other: &Yaml) -> bool {
    match (one, other) {
        (Yaml::Hash(one), Yaml::Hash(other)) => {
            one.len() == other.len() && one.iter().all(|(key, value)| other.get(key) == Some(value))
        }
        (one, other) => one == other,
    }
}

fn no_overlap(rest: &Yaml, added: &Yaml, lines: &[String]) -> Result<(), MergeError> {
    let (Some(rest), Some(added)) = (rest.as_hash(), added.as_hash()) else { return Ok(()) };
    let Some(name) = added.keys().filter(|key| rest.contains_key(key)).find_map(Yaml::as_str) else { return Ok(()) };
    let at = lines.iter().position(|line| line.trim_start_matches(['"', '\'']).starts_with(name));
    let line = at.map(|at| format!(" in line {}", at + 1)).unwrap_or_default();
    Err(MergeError::Conflict(format!(
        "`{name}` is set there already{line}: take it out, or keep yours and add the rest by hand"
    )))
}

fn with_members(rest: Yaml, added: Yaml) -> Result<Yaml, MergeError> {
    let mut members = match rest {
        Yaml::Null => yaml_rust2::yaml::Hash::new(),
        Yaml::Hash(members) => members,
        _ => return Err(MergeError::Conflict("it is not a mapping".to_owned())),
    };
    members.extend(added.into_hash().unwrap_or_default());
    Ok(Yaml::Hash(members))
}

fn chained(first: Yaml, second: Yaml) -> Result<Vec<Yaml>, MergeError> {
    let items = |value: Yaml| match value {
        Yaml::Null => Ok(Vec::new()),
        Yaml::Array(items) => Ok(items),
        _ => Err(MergeError::Conflict("it is not a list".to_owned())),
    };
    Ok(items(first)?.into_iter().chain(items(second)?).collect())
}

/// Returns how far the first item of a sequence is indented.
fn indent_of<'a>(mut lines: impl Iterator<Item = &'a str>) -> String {
    let first = lines.find(|line| line.trim_start().starts_with("- ") || line.trim() == "-");
    first.map(|line| line[..line.len() - line.trim_start().len()].to_owned()).unwrap_or_default()
}

fn block(text: &str, indent: &str) -> Vec<String> {
    [BEGIN].into_iter().chain(text.lines()).chain([END]).map(|line| format!("{indent}{line}")).collect()
}

fn insert(lines: &mut Vec<String>, at: usize, block: &[String]) {
    lines.splice(at..at, block.iter().cloned());
}

/// Returns where the text ends, without blank lines at its end, which it loses.
fn end_of(lines: &mut Vec<String>) -> usize {
    while lines.last().is_some_and(|line| line.trim().is_empty()) {
        lines.pop();
    }
    lines.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn members() -> Ours {
        Ours::Members("model: m\nset-env:\n  - A=b\n".to_owned())
    }

    fn items() -> Ours {
        Ours::Items("- id: ours\n  more: 1\n".to_owned())
    }

    fn models() -> Ours {
        Ours::ItemsOf {
            member: "models",
            items: "- name: ours\n".to_owned(),
            head: "name: N\nversion: 1.0.0\nschema: v1",
        }
    }

    /// Merges twice, and returns the text.
    fn twice(before: &str, ours: &Ours) -> String {
        let after = merged(before, ours).unwrap_or_else(|error| panic!("{before:?}: {error}"));
        assert_eq!(merged(&after, ours).as_deref(), Ok(after.as_str()), "{before:?}");
        after
    }

    #[test]
    fn nothing_outside_of_the_block_is_touched() {
        let before = "# mine\ndark-mode: true   # yes\n\nlint-cmd:\n- \"python: flake8\"\n";
        let after = twice(before, &members());
        assert!(after.starts_with(before.trim_end()), "{after}");
        assert!(after.ends_with("# duopool: end\n"), "{after}");
        // What stands behind the block stays there when it is written anew.
        let more = format!("{after}vim: true\n");
        let again = merged(&more, &Ours::Members("model: other\n".to_owned())).expect("merged");
        assert!(
            again.ends_with("# duopool: end\nvim: true\n") && again.contains("model: other") && !again.contains("A=b"),
            "{again}"
        );
    }

    #[test]
    fn an_empty_file_gets_the_block() {
        for before in ["", "\n\n", "# only a comment\n"] {
            for ours in [members(), items(), models()] {
                let after = twice(before, &ours);
                assert!(
                    after.contains(BEGIN) && after.contains("only a comment") == before.contains("only"),
                    "{after}"
                );
            }
        }
        assert!(twice("", &models()).starts_with("name: N\nversion: 1.0.0\nschema: v1\nmodels:\n  # duopool: begin"));
    }

    #[test]
    fn items_are_added_to_a_list_however_it_is_indented() {
        assert!(twice("- id: a\n- id: b\n", &items()).starts_with("- id: a\n- id: b\n# duopool: begin"));
        assert!(twice("  - id: a\n", &items()).contains("\n  - id: ours\n    more: 1\n"));
        for before in [
            "name: x\nversion: 1.0.0\nschema: v1\nmodels:\n  - name: a\n    provider: p\n  - name: b\nrules:\n  - be good\n",
            "models: # all of them\n- name: a\nname: x\n",
            "name: x\nmodels: []\n",
            "name: x\nmodels:\n",
            "name: x\n",
        ] {
            let after = twice(before, &models());
            let first = after.lines().skip_while(|line| !line.starts_with("models:")).nth(2).map(str::trim);
            assert_eq!(first, Some("- name: ours"), "{after}");
            assert_eq!(after.contains("- name: a"), before.contains("- name: a"));
        }
    }

    #[test]
    fn a_setting_that_is_made_already_is_named_and_kept() {
        let error = merged("# x\nmodel: gpt-4o\n", &members()).expect_err("a conflict").to_string();
        assert!(error.contains("`model`") && error.contains("line 2"), "{error}");
    }

    #[test]
    fn what_cannot_be_added_to_safely_is_refused() {
        for (before, ours) in [
            ("{ a: 1 }\n", members()),
            ("- a\n", members()),
            ("a: 1\n", items()),
            ("[a, b]\n", items()),
            ("models: [{ name: a }]\n", models()),
            ("models: text\n", models()),
            ("- a\n", models()),
            ("a: 1\n---\nb: 2\n", members()),
            ("# duopool: begin\na: 1\n", members()),
            ("a: 1\n# duopool: end\n# duopool: begin\n", members()),
            ("text: |\n  models:\n", Ours::Members("text: x\n".to_owned())),
        ] {
            let result = merged(before, &ours);
            assert!(result.is_err(), "{before:?}: {result:?}");
        }
    }

    #[test]
    fn what_is_not_yaml_is_refused_without_quoting_it() {
        for before in ["a: b: sk-secret\n", "a: \"sk-secret\n", "a:\n\t- sk-secret\n", "a: 1\na: sk-secret\n"] {
            let error = merged(before, &members()).expect_err(before).to_string();
            assert!(error.contains("YAML") && error.contains("line") && !error.contains("sk-secret"), "{error}");
        }
    }

    #[test]
    fn texts_are_read_back_as_they_were() {
        for text in [
            "claude-sonnet-5",
            "http://127.0.0.1:8080/v1",
            "yes",
            "1.0",
            "${{ secrets.X }}",
            "a: b",
            "a #b",
            "",
            "Claude Sonnet 5 (duopool)",
            "x:",
        ] {
            let read = said(&format!("a: {}\n", scalar(text))).expect("YAML");
            assert_eq!(read["a"].as_str(), Some(text));
        }
    }
}
