//! A bit of text in a stream, which is copied and not read where it can be.

use std::borrow::Cow;
use std::fmt;

use serde_json::value::RawValue;

use crate::protocol::json;

/// A bit of text.
///
/// Most bits go from a JSON string into a JSON string. Such a one is kept as it stands, quotes and escapes and all, so
/// that passing it on costs a copy and nothing else. Both forms of a text are equal.
#[derive(Clone, Copy)]
pub enum Fragment<'a> {
    /// The text itself.
    Plain(&'a str),
    /// The text as a JSON string; valid, as `serde_json` has read it. Made by `Deserialize`.
    Literal(Literal<'a>),
}

/// A JSON string as it stands in a body.
#[derive(Clone, Copy, Debug)]
pub struct Literal<'a>(&'a str);

impl<'a> Fragment<'a> {
    /// Returns a value of JSON as text; `None` where it is no string.
    pub fn of_json(value: &'a RawValue) -> Option<Self> {
        let text = value.get();
        text.starts_with('"').then_some(Self::Literal(Literal(text)))
    }

    /// Reads the JSON string that `json` begins with, and returns what follows it; `None` where it is none, or not a valid
    /// one. Several times as fast as a parser, which stores what it reads.
    pub(in crate::protocol) fn read(json: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let (inside, rest) = json::split_string(json.strip_prefix(b"\"")?)?;
        if inside.iter().any(|byte| *byte < b' ') || !json::has_valid_escapes(inside) {
            return None;
        }
        let text = std::str::from_utf8(&json[..inside.len() + 2]).ok()?;
        Some((Self::Literal(Literal(text)), rest))
    }

    /// Returns whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        match self {
            Self::Plain(text) => text.is_empty(),
            Self::Literal(Literal(text)) => *text == "\"\"",
        }
    }

    /// Appends it as a JSON string.
    pub fn write_json(&self, out: &mut Vec<u8>) {
        match self {
            Self::Plain(text) => json::write(out, *text),
            Self::Literal(Literal(text)) => out.extend_from_slice(text.as_bytes()),
        }
    }

    /// Appends the text itself. Half of a surrogate pair, which no text can hold, becomes U+FFFD.
    pub fn append_to(&self, out: &mut String) {
        match self {
            Self::Plain(text) => out.push_str(text),
            Self::Literal(Literal(text)) => json::unescape(&text[1..text.len() - 1], out),
        }
    }

    /// Returns the text itself.
    pub fn text(&self) -> Cow<'a, str> {
        match self {
            Self::Plain(text) => Cow::Borrowed(text),
            Self::Literal(Literal(text)) if !text.contains('\\') => Cow::Borrowed(&text[1..text.len() - 1]),
            Self::Literal(_) => {
                let mut out = String::new();
                self.append_to(&mut out);
                Cow::Owned(out)
            }
        }
    }
}

impl<'a> From<&'a str> for Fragment<'a> {
    fn from(text: &'a str) -> Self {
        Self::Plain(text)
    }
}

impl PartialEq for Fragment<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.text() == other.text()
    }
}

impl fmt::Debug for Fragment<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.text().fmt(f)
    }
}

impl<'de: 'a, 'a> serde::Deserialize<'de> for Fragment<'a> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value: &'de RawValue = serde::Deserialize::deserialize(deserializer)?;
        Self::of_json(value).ok_or_else(|| serde::de::Error::custom("expected a string"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Fragment<'_> {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn a_literal_is_copied_and_reads_as_its_text() {
        let json = r#""caf\u00e9 \"\n\ud83e\udd80\/""#;
        let fragment = read(json);
        let mut out = Vec::new();
        fragment.write_json(&mut out);
        assert_eq!((out.as_slice(), &*fragment.text()), (json.as_bytes(), "caf\u{e9} \"\n\u{1f980}/"));
        assert_eq!(fragment, Fragment::Plain("caf\u{e9} \"\n\u{1f980}/"));
        assert!(matches!(read("\"plain\"").text(), Cow::Borrowed("plain")));
    }

    #[test]
    fn plain_text_is_escaped_where_it_is_written_as_json() {
        let mut out = Vec::new();
        Fragment::Plain("\"\n").write_json(&mut out);
        assert_eq!(out, br#""\"\n""#);
    }

    #[test]
    fn an_empty_fragment_is_empty_in_both_forms() {
        assert!(read("\"\"").is_empty() && Fragment::Plain("").is_empty());
        assert!(!read("\" \"").is_empty() && !Fragment::Plain(" ").is_empty());
    }

    #[test]
    fn half_of_a_surrogate_pair_passes_as_json_and_is_replaced_as_text() {
        let fragment = read(r#""a\ud83e""#);
        let mut out = Vec::new();
        fragment.write_json(&mut out);
        assert_eq!((out.as_slice(), &*fragment.text()), (&br#""a\ud83e""#[..], "a\u{fffd}"));
    }

    #[test]
    fn a_string_is_read_off_its_beginning_exactly_where_a_parser_takes_it() {
        for json in [
            r#""plain""#,
            r#""""#,
            r#""caf\u00e9 \"\n\ud83e\/""#,
            "\"caf\u{e9}\"",
            r#""\\""#,
            r#""\x""#,
            r#""\u12""#,
            r#""\u12g4""#,
            "\"\n\"",
            r#""open"#,
            r#""open\""#,
            "7",
            "",
        ] {
            let parsed = serde_json::from_str::<Fragment<'_>>(json).ok();
            let whole = format!("{json}, more");
            match Fragment::read(whole.as_bytes()) {
                Some((fragment, rest)) => assert_eq!((Some(fragment), rest), (parsed, &b", more"[..]), "{json}"),
                None => assert_eq!(parsed, None, "{json}"),
            }
        }
        assert!(Fragment::read(b"\"\xff\"").is_none());
    }

    #[test]
    fn what_is_no_string_is_no_fragment() {
        for json in ["1", "null", "[\"a\"]", "{}", "\"\\x\"", "\"\n\""] {
            assert!(serde_json::from_str::<Fragment<'_>>(json).is_err(), "{json}");
        }
    }
}
