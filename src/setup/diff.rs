//! What a merge changes, for people to see, without the secrets that stand in the file.

use std::fmt::Write as _;

use similar::TextDiff;

/// What is shown in place of a secret.
const STRUCK: &str = "***";
/// What stands in the name of a setting that may hold a secret.
const SECRETIVE: [&str; 11] =
    ["token", "key", "secret", "pass", "pwd", "private", "credential", "auth", "bearer", "cookie", "header"];
/// What GitLab calls its tokens: a word by itself, since it stands in `path`, too.
const SECRETIVE_WORD: &str = "pat";
/// How tokens begin that are known by their beginning.
const TOKENS: [&str; 12] =
    ["sk-", "glpat-", "gloas-", "glft-", "ghp_", "gho_", "github_pat_", "xox", "eyJ", "AKIA", "AIza", "hf_"];
/// A word this long that mixes capitals, small letters and digits is taken for a token, in bytes.
const TOKEN_BYTES_MIN: usize = 20;
/// What a text may stand between, the longest first.
const QUOTES: [&str; 4] = ["\"\"\"", "'''", "\"", "'"];

/// Returns the change as a unified diff with three lines around it; empty if nothing changes.
///
/// `ours` is what is merged into an empty file: its values are no secrets.
pub(crate) fn diff(name: &str, before: &str, after: &str, ours: &str) -> String {
    let changes = TextDiff::from_lines(before, after);
    // Whole files, since a secret may stand below its name, and the name above what the diff shows.
    let (old, new) = (masked(changes.old_slices(), ours), masked(changes.new_slices(), ours));
    let mut unified = changes.unified_diff();
    let mut out = String::new();
    for hunk in unified.context_radius(3).iter_hunks() {
        if out.is_empty() {
            let _ = writeln!(out, "--- {name} (before)\n+++ {name} (after)");
        }
        let _ = writeln!(out, "{}", hunk.header());
        for change in hunk.iter_changes() {
            let of = |lines: &[String], at: Option<usize>| at.and_then(|at| lines.get(at).cloned());
            let (before, after) = (of(&old, change.old_index()), of(&new, change.new_index()));
            // A line that stays may be secret on one side alone.
            let line = before.filter(|line| after.is_none() || line.contains(STRUCK)).or(after).unwrap_or_default();
            let _ = writeln!(out, "{}{line}", change.tag());
            if change.missing_newline() {
                out.push_str("\\ No newline at end of file\n");
            }
        }
    }
    out
}

/// A secret that goes on below its line.
#[derive(Clone, Copy)]
enum Open {
    /// A text, to the end of these quotes.
    Quoted(&'static str),
    /// A list or a table, until this many brackets are closed.
    Bracketed(isize),
    /// All lines that are indented deeper than this column, and the first in any case if the value is still to come.
    Indented { column: usize, is_due: bool },
}

impl Open {
    /// Returns what is open behind `value`, which belongs to a name at `column`.
    fn behind(value: &str, column: usize) -> Option<Self> {
        let value = value.trim();
        if let Some((quote, inner)) = quoted(value) {
            return closing(inner, quote).is_none().then_some(Self::Quoted(quote));
        }
        if value.starts_with(['{', '[']) {
            return Self::bracketed(balance(value));
        }
        Some(Self::Indented { column, is_due: value.is_empty() })
    }

    fn bracketed(depth: isize) -> Option<Self> {
        (depth > 0).then_some(Self::Bracketed(depth))
    }

    fn holds(self, line: &str) -> bool {
        let Self::Indented { column, is_due } = self else { return true };
        let text = line.trim_start();
        let own = line.len() - text.len();
        // The items of a YAML list may stand right below its name.
        is_due || text.is_empty() || own > column || (own == column && text.starts_with("- "))
    }

    /// Returns what is open after `line`, which it holds.
    fn after(self, line: &str) -> Option<Self> {
        match self {
            Self::Quoted(quote) => closing(line, quote).is_none().then_some(self),
            Self::Bracketed(depth) => Self::bracketed(depth + balance(line)),
            Self::Indented { column, is_due: true } if !line.trim().is_empty() => Self::behind(line, column),
            Self::Indented { .. } => Some(self),
        }
    }
}

/// Strikes out what may be a secret in the lines of a file.
fn masked(lines: &[&str], ours: &str) -> Vec<String> {
    let mut open: Option<Open> = None;
    let each = lines.iter().map(|line| {
        let line = line.trim_end_matches(['\r', '\n']);
        if let Some(held) = open.filter(|open| open.holds(line)) {
            open = held.after(line);
            struck(line, ours)
        } else {
            let (shown, behind) = masked_line(line, ours);
            open = behind;
            shown
        }
    });
    each.collect()
}

/// Strikes out a line that is a part of a secret.
fn struck(line: &str, ours: &str) -> String {
    let text = line.trim_start();
    if is_shown(text, ours) {
        return words(line, ours);
    }
    format!("{}{STRUCK}", &line[..line.len() - text.len()])
}

/// Returns whether a value is ours, or none in itself: a bracket that begins one, or YAML's sign that one follows.
fn is_shown(value: &str, ours: &str) -> bool {
    let inner = value.trim_matches(['"', '\'', ' ', ',']);
    let is_sign = inner.starts_with(['>', '|'])
        && inner.chars().skip(1).all(|char| char.is_ascii_digit() || matches!(char, '+' | '-'));
    is_sign || inner.chars().all(|char| "{}[]()".contains(char)) || ours.contains(inner)
}

/// Strikes out what may be a secret in a line of settings; returns what goes on below it, too.
fn masked_line(line: &str, ours: &str) -> (String, Option<Open>) {
    let column = line.len() - line.trim_start_matches([' ', '\t', '-']).len();
    let (mut out, mut open, mut rest) = (String::new(), None, line);
    while let Some(at) = rest.find([':', '=']) {
        let (head, tail) = rest.split_at(at + 1);
        out.push_str(&words(head, ours));
        rest = tail;
        if is_secretive(head) {
            let (space, value, behind) = value_of(tail);
            out.push_str(space);
            out.push_str(if is_shown(value, ours) { value } else { STRUCK });
            open = Open::behind(value, column);
            rest = behind;
        }
    }
    out.push_str(&words(rest, ours));
    (out, open)
}

/// Returns whether the text before a separator ends with the name of a setting that may hold a secret.
fn is_secretive(head: &str) -> bool {
    let name = head[..head.len() - 1].trim_end().trim_end_matches(['"', '\'']);
    let start = name.rfind(|char: char| "\"' {,[(;".contains(char)).map_or(0, |at| at + 1);
    let name = &name[start..];
    let lower = name.to_ascii_lowercase();
    SECRETIVE.iter().any(|word| lower.contains(word)) || has_word(name, &lower, SECRETIVE_WORD)
}

/// Returns whether `word` stands by itself in `name`, as in `GITLAB_PAT` and `gitlabPat`.
fn has_word(name: &str, lower: &str, word: &str) -> bool {
    lower.match_indices(word).any(|(at, _)| {
        let (before, rest) = name.split_at(at);
        let (found, after) = rest.split_at(word.len());
        let (last, next) = (before.chars().next_back(), after.chars().next());
        let begins = |char: char| {
            !char.is_alphabetic() || (char.is_lowercase() && found.starts_with(|first: char| first.is_uppercase()))
        };
        let ends = |char: char| {
            !char.is_alphabetic() || (char.is_uppercase() && found.ends_with(|end: char| end.is_lowercase()))
        };
        last.is_none_or(begins) && next.is_none_or(ends)
    })
}

/// Cuts a value off the text behind a separator: white space, the value with its quotes, and the rest.
fn value_of(text: &str) -> (&str, &str, &str) {
    let (space, text) = text.split_at(text.len() - text.trim_start().len());
    let length = match quoted(text) {
        Some((quote, inner)) => closing(inner, quote).map_or(text.len(), |end| end + 2 * quote.len()),
        // What a list or a table holds goes with it: to the end of the line, which may be too much and never too little.
        None if text.starts_with(['{', '[']) => text.len(),
        None => text.find(" #").unwrap_or(text.len()),
    };
    let (value, rest) = text.split_at(length);
    (space, value, rest)
}

/// Returns the quotes that `text` begins with, and what follows them.
fn quoted(text: &str) -> Option<(&'static str, &str)> {
    QUOTES.iter().find_map(|quote| Some((*quote, text.strip_prefix(quote)?)))
}

/// Returns where `quote` ends `text`: not behind a backslash, and not where YAML means the sign itself, as in `it''s`.
fn closing(text: &str, quote: &str) -> Option<usize> {
    let mut at = 0;
    while let Some(char) = text[at..].chars().next() {
        let rest = &text[at..];
        at += match char {
            '\\' => 1 + rest.chars().nth(1).map_or(0, char::len_utf8),
            '\'' if quote == "'" && rest.starts_with("''") => 2,
            _ if rest.starts_with(quote) => return Some(at),
            _ => char.len_utf8(),
        };
    }
    None
}

/// Returns how many more brackets `text` opens than it closes, outside of quotes.
fn balance(text: &str) -> isize {
    let (mut depth, mut quote, mut is_escaped) = (0, None, false);
    for char in text.chars() {
        match (quote, char) {
            _ if is_escaped => is_escaped = false,
            (Some(_), '\\') => is_escaped = true,
            (Some(open), _) if open == char => quote = None,
            (None, '"' | '\'') => quote = Some(char),
            (None, '{' | '[') => depth += 1,
            (None, '}' | ']') => depth -= 1,
            _ => {}
        }
    }
    depth
}

/// Strikes out words that look like tokens, wherever they stand, and passwords in addresses.
fn words(text: &str, ours: &str) -> String {
    let is_word = |char: char| char.is_ascii_alphanumeric() || "-_+/.~@".contains(char);
    let mut out = String::new();
    let mut rest = text;
    while !rest.is_empty() {
        let end = rest.find(|char| !is_word(char)).unwrap_or(rest.len());
        let (word, tail) = rest.split_at(end);
        let has_user = word.split_once('@').is_some_and(|(user, host)| !user.is_empty() && !host.is_empty());
        let is_token = TOKENS.iter().any(|start| word.starts_with(start)) || is_random(word) || has_user;
        out.push_str(if is_token && !ours.contains(word) { STRUCK } else { word });
        let next = tail.chars().next().map_or(0, char::len_utf8);
        out.push_str(&tail[..next]);
        rest = &tail[next..];
    }
    out
}

fn is_random(word: &str) -> bool {
    let has = |kind: fn(&char) -> bool| word.chars().any(|char| kind(&char));
    word.len() >= TOKEN_BYTES_MIN
        && !word.contains('/')
        && has(char::is_ascii_digit)
        && has(char::is_ascii_lowercase)
        && has(char::is_ascii_uppercase)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_of_the_file_is_not_shown() {
        const OURS: &str = "\"apiKey\": \"{env:DUOPOOL_KEY}\"\nenv_key = \"DUOPOOL_KEY\"\n";
        for (line, shown) in [
            (r#"  "ANTHROPIC_AUTH_TOKEN": "hunter2","#, r#"  "ANTHROPIC_AUTH_TOKEN": ***,"#),
            (r#"-"env":{"MY_KEY":"a\"b","X":"y"}"#, r#"-"env":{"MY_KEY":***,"X":"y"}"#),
            ("openai-api-key: hunter2", "openai-api-key: ***"),
            ("  - ANTHROPIC_API_KEY=hunter2", "  - ANTHROPIC_API_KEY=***"),
            ("password = 'hunter2' # mine", "password = *** # mine"),
            ("http_headers = { \"Authorization\" = \"Bearer hunter2\" }", "http_headers = ***"),
            ("tokens = [\"one\", \"two\"]", "tokens = ***"),
            (r#""command": "curl -H 'Authorization: Bearer hunter2' x""#, r#""command": "curl -H 'Authorization: ***"#),
            (r#"  "glpat-0123","#, r#"  "***","#),
            (r#"  "Abcdefgh0123456789XYZ","#, r#"  "***","#),
            ("url = \"https://me:hunter2@example.com/\"", "url = \"https://me:***\""),
        ] {
            let masked = masked_line(line, OURS).0;
            assert_eq!(masked, shown, "{line}");
            assert!(!masked.contains("hunter2"));
        }
    }

    #[test]
    fn what_is_no_secret_is_shown() {
        const OURS: &str = "\"apiKey\": \"{env:DUOPOOL_KEY}\"\nenv_key = \"DUOPOOL_KEY\"\n";
        for line in [
            r#"+      "apiKey": "{env:DUOPOOL_KEY}""#,
            "env_key = \"DUOPOOL_KEY\"",
            r#""model": "claude-sonnet-4-5-20250929","#,
            "base_url = \"http://127.0.0.1:8080/v1\"",
            "\"auth\": {",
            "\"keybinds\": {",
            "",
        ] {
            assert_eq!(masked_line(line, OURS).0, line);
        }
    }

    #[test]
    fn what_is_called_by_another_word_for_a_secret_is_not_shown() {
        for name in [
            "smtp_pass",
            "PGPASSWORD",
            "passphrase",
            "dbPwd",
            "ssh-private",
            "GITLAB_PAT",
            "gitlabPat",
            "pat",
            "patToken",
            "my.pat",
        ] {
            assert_eq!(masked_line(&format!("{name}: hunter2"), "").0, format!("{name}: ***"));
        }
        for name in ["path", "PATH", "config_path", "myPath", "pattern", "dispatch", "compat", "spatial"] {
            let line = format!("{name}: hunter2");
            assert_eq!(masked_line(&line, "").0, line);
        }
    }

    #[test]
    fn a_secret_below_its_name_is_not_shown() {
        for (text, shown) in [
            ("api-key: >\n  hunter2\nmodel: x", "api-key: >\n  ***\nmodel: x"),
            ("api-key: |-\n  hunter2\n\n  hunter2\nmodel: x", "api-key: |-\n  ***\n\n  ***\nmodel: x"),
            ("api-key:\n  hunter2\nmodel: x", "api-key:\n  ***\nmodel: x"),
            ("api-key: one\n  hunter2\nmodel: x", "api-key: ***\n  ***\nmodel: x"),
            ("tokens:\n- hunter2\n- hunter2\nmodel: x", "tokens:\n***\n***\nmodel: x"),
            ("- key: 'it''s hunter2'\n  model: x", "- key: ***\n  model: x"),
            ("- key: \"one\n    hunter2\"\n  model: x", "- key: ***\n    ***\n  model: x"),
            ("\"key\":\n\"hunter2\",\n\"model\": \"x\"", "\"key\":\n***\n\"model\": \"x\""),
            ("\"key\":\r\n\"hunter2\"\r\n", "\"key\":\n***"),
            ("\"keys\": [\n\"hunter2\",\n\"hunter2\"\n],\n\"m\": 1", "\"keys\": [\n***\n***\n],\n\"m\": 1"),
            ("\"keys\":\n[\n\"hunter2\"\n],\n\"m\": 1", "\"keys\":\n[\n***\n],\n\"m\": 1"),
            ("\"headers\": {\n\"x\": \"hunter2\"\n}\n\"m\": 1", "\"headers\": {\n***\n}\n\"m\": 1"),
            ("keys = [\"one #1\", \"hunter2\"]", "keys = ***"),
            ("key = \"\"\"\nhunter2\n\"\"\"\nmodel = 1", "key = \"\"\"\n***\n\"\"\"\nmodel = 1"),
            ("key = \"\"\"hunter2\"\"\" # x", "key = *** # x"),
        ] {
            let lines: Vec<&str> = text.lines().collect();
            let masked = masked(&lines, "").join("\n");
            assert_eq!(masked, shown, "{text}");
            assert!(!masked.contains("hunter2"));
        }
    }

    #[test]
    fn a_secret_whose_name_stands_above_what_is_shown_is_not_shown() {
        let before = "api-key: >\n  hunter1\n  hunter2\n  hunter3\n  hunter4\nmodel: x\n";
        let shown = diff("f", before, &before.replace("model: x", "model: y"), "");
        assert!(shown.contains("-model: x\n+model: y\n") && !shown.contains("hunter"), "{shown}");
        let ours = "\"auth\": {\n  \"apiKey\": \"{env:DUOPOOL_KEY}\",\n}\n";
        let shown = diff("f", "", ours, ours);
        assert!(!shown.contains(STRUCK) && shown.contains("DUOPOOL_KEY"), "{shown}");
    }

    #[test]
    fn a_diff_shows_what_changes_and_no_more() {
        let before = (0..20).map(|line| format!("line{line} = 1")).collect::<Vec<_>>().join("\n");
        let after = before.replace("line10 = 1", "line10 = 2");
        let shown = diff("f", &before, &after, "");
        assert!(shown.starts_with("--- f (before)\n+++ f (after)\n@@"), "{shown}");
        assert!(shown.contains("-line10 = 1\n+line10 = 2\n") && !shown.contains("line5 "), "{shown}");
        assert_eq!(diff("f", &before, &before, ""), "");
    }
}
