//! What a translation cannot carry: either named for the client, or a reason to refuse.
//!
//! What only tunes cost or speed is left out without a word; each dialect's module docs list it.

use std::fmt::Write as _;

/// Longest text of [`Dropped::header`] in bytes.
pub const HEADER_BYTES_MAX: usize = 1024;

/// Most paths that are remembered; further ones are only counted.
const PATHS_MAX: usize = 32;

/// Longest path that is remembered, in bytes: the client chooses the names of unknown members.
const PATH_BYTES_MAX: usize = 96;

/// The members of a request that were left out although the answer may differ: schema paths, never values.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dropped {
    paths: Vec<String>,
    omitted: usize,
}

impl Dropped {
    /// Remembers a path such as `seed` or `messages[].name`, once.
    pub fn add(&mut self, path: &str) {
        let path: String = path.chars().map(printable).take(PATH_BYTES_MAX).collect();
        if self.paths.contains(&path) {
            return;
        }
        if self.paths.len() < PATHS_MAX {
            self.paths.push(path);
        } else {
            self.omitted += 1;
        }
    }

    /// Returns the paths in the order they were met.
    pub fn paths(&self) -> &[String] {
        &self.paths
    }

    /// Returns the value of the header `x-duopool-dropped`: printable ASCII of at most 1 KiB, the paths separated by
    /// commas, with `+N` at the end for N that found no room; `None` where nothing was dropped.
    pub fn header(&self) -> Option<String> {
        /// Room for the `,+N` at the end.
        const TAIL_BYTES: usize = 24;
        if self.paths.is_empty() {
            return None;
        }
        let mut text = String::new();
        let mut omitted = self.omitted;
        for path in &self.paths {
            if text.len() + 1 + path.len() + TAIL_BYTES > HEADER_BYTES_MAX {
                omitted += 1;
                continue;
            }
            if !text.is_empty() {
                text.push(',');
            }
            text.push_str(path);
        }
        if omitted > 0 {
            // Writing to a String cannot fail.
            let _ = write!(text, ",+{omitted}");
        }
        Some(text)
    }
}

/// Returns `char`, or `?` where it could not stand in a header or would split the list.
fn printable(char: char) -> char {
    if char.is_ascii_graphic() && char != ',' { char } else { '?' }
}

/// A request that cannot be translated without answering a different question: a 400 for the client.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    /// Names the member and says what to do; never quotes content.
    pub message: String,
    /// Path of the member, as in `messages[3].content[0].file`.
    pub param: Option<String>,
}

impl Refusal {
    /// Refuses because of one member.
    pub fn of(param: impl Into<String>, message: impl Into<String>) -> Self {
        Self { message: message.into(), param: Some(param.into()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_named_once_in_the_order_met() {
        let mut dropped = Dropped::default();
        assert_eq!(dropped.header(), None);
        for path in ["seed", "messages[].name", "seed"] {
            dropped.add(path);
        }
        assert_eq!(dropped.header().as_deref(), Some("seed,messages[].name"));
    }

    #[test]
    fn hostile_names_cannot_break_the_header_or_outgrow_it() {
        let mut dropped = Dropped::default();
        dropped.add("a\r\nset-cookie: x,b\u{e9}");
        assert_eq!(dropped.header().as_deref(), Some("a??set-cookie:?x?b?"));
        for index in 0..10_000 {
            dropped.add(&format!("{index}{}", "x".repeat(200)));
        }
        let header = dropped.header().unwrap();
        assert!(header.len() <= HEADER_BYTES_MAX, "{}", header.len());
        let named = header.split(',').count() - 1;
        assert!(header.ends_with(&format!(",+{}", 10_001 - named)), "{header}");
    }
}
