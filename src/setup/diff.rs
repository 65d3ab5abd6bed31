//! What a merge changes, for people to see, without the secrets that stand in the file.

use similar::TextDiff;

/// What is shown in place of a secret.
const STRUCK: &str = "***";
/// What stands in the name of a setting that may hold a secret.
const SECRETIVE: [&str; 11] =
    ["token", "key", "secret", "password", "passwd", "passphrase", "credential", "auth", "bearer", "cookie", "header"];
/// How tokens begin that are known by their beginning.
const TOKENS: [&str; 12] =
    ["sk-", "glpat-", "gloas-", "glft-", "ghp_", "gho_", "github_pat_", "xox", "eyJ", "AKIA", "AIza", "hf_"];
/// A word this long that mixes capitals, small letters and digits is taken for a token, in bytes.
const TOKEN_BYTES_MIN: usize = 20;

/// Returns the change as a unified diff with three lines around it; empty if nothing changes.
///
/// `ours` is what is merged into an empty file: its values are no secrets.
pub(crate) fn diff(name: &str, before: &str, after: &str, ours: &str) -> String {
    let changes = TextDiff::from_lines(before, after);
    let text = changes
        .unified_diff()
        .context_radius(3)
        .header(&format!("{name} (before)"), &format!("{name} (after)"))
        .to_string();
    text.lines().flat_map(|line| [masked(line, ours), "\n".to_owned()]).collect()
}

/// Strikes out what may be a secret in a line of settings.
fn masked(line: &str, ours: &str) -> String {
    let mut out = String::new();
    let mut rest = line;
    while let Some(at) = rest.find([':', '=']) {
        let (head, tail) = rest.split_at(at + 1);
        out.push_str(&words(head, ours));
        rest = tail;
        if is_secretive(head) {
            let (space, value, behind) = value_of(tail);
            out.push_str(space);
            let inner = value.trim_matches(['"', '\'', ' ', ',']);
            let is_shown = inner.is_empty() || ours.contains(inner) || inner == "{" || inner == "[";
            out.push_str(if is_shown { value } else { STRUCK });
            rest = behind;
        }
    }
    out.push_str(&words(rest, ours));
    out
}

/// Returns whether the text before a separator ends with the name of a setting that may hold a secret.
fn is_secretive(head: &str) -> bool {
    let name = head[..head.len() - 1].trim_end().trim_end_matches(['"', '\'']);
    let start = name.rfind(|char: char| "\"' {,[(;".contains(char)).map_or(0, |at| at + 1);
    let name = name[start..].to_ascii_lowercase();
    SECRETIVE.iter().any(|word| name.contains(word))
}

/// Cuts a value off the text behind a separator: white space, the value with its quotes, and the rest.
fn value_of(text: &str) -> (&str, &str, &str) {
    let (space, text) = text.split_at(text.len() - text.trim_start().len());
    let quoted = |quote: char| {
        let mut escaped = false;
        let end = text.char_indices().skip(1).find(|(_, char)| {
            let is_end = *char == quote && !escaped;
            escaped = *char == '\\' && !escaped;
            is_end
        });
        end.map_or(text.len(), |(at, _)| at + 1)
    };
    let length = match text.chars().next() {
        Some(quote @ ('"' | '\'')) => quoted(quote),
        // What a list or a table holds goes with it: to the end of the line, which may be too much and never too little.
        Some(_) => text.find(" #").unwrap_or(text.len()),
        None => 0,
    };
    let (value, rest) = text.split_at(length);
    (space, value, rest)
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
            let masked = masked(line, OURS);
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
            assert_eq!(masked(line, OURS), line);
        }
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
