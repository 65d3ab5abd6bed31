//! Patterns for names, with wildcards.

use std::fmt;

/// Longest pattern, in bytes: as long as a model's name may be.
const PATTERN_BYTES_MAX: usize = 128;

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

    /// Returns whether there is no wildcard in it.
    pub(super) fn is_exact(&self) -> bool {
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

#[cfg(test)]
mod tests {
    use super::*;

    /// About the longest name that is looked up.
    const NAME_BYTES: usize = 160;

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
        assert!(!slow.matches(&format!("{}b", "a".repeat(NAME_BYTES))));
        for bad in ["", "two words", "é*", &"x".repeat(PATTERN_BYTES_MAX + 1)] {
            assert_eq!(Pattern::parse(bad), None, "{bad:?}");
        }
    }
}
