//! What every dialect needs of JSON beyond `serde_json`: writing that cannot fail, a look at a top-level member without
//! parsing the rest, and structs that remember the names of the members they do not know.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use memchr::memchr2;
use serde::de::{SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use crate::protocol::loss::Refusal;

/// Appends `value` as compact JSON.
pub(super) fn write(out: &mut Vec<u8>, value: &(impl Serialize + ?Sized)) {
    #[expect(
        clippy::expect_used,
        reason = "our own types have string keys and no fallible Serialize, and a Vec takes all"
    )]
    serde_json::to_writer(out, value).expect("a value of our own types is always JSON");
}

/// Returns `value` as compact JSON. It is about as long as the `bytes` that it was made from: with room for that from the
/// beginning, nothing of it is copied to make more.
pub(super) fn to_vec_of(bytes: usize, value: &impl Serialize) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes + bytes / 16 + 1024);
    write(&mut out, value);
    out
}

/// Returns `value` as compact JSON.
pub(super) fn to_vec(value: &impl Serialize) -> Vec<u8> {
    let mut out = Vec::with_capacity(256);
    write(&mut out, value);
    out
}

/// Returns what a reader of JSON expected and where, without the content it met instead: `serde_json` quotes that.
pub(super) fn complaint(error: &serde_json::Error) -> String {
    let (line, column) = (error.line(), error.column());
    let text = error.to_string();
    let wanted = text.rsplit_once("expected ").map(|(_, wanted)| wanted.split(" at line ").next().unwrap_or(wanted));
    match wanted {
        Some(wanted) if error.is_data() => format!("expected {wanted} at line {line} column {column}"),
        _ => format!("not valid at line {line} column {column}"),
    }
}

/// Returns the text of an object from the value of its top-level member `key` on, or `None` where it has no such
/// member. Reads no further than that member, so `object` may be cut off after it. Keys written with escapes are not
/// recognised; no vendor writes them.
pub(super) fn top_level<'a>(object: &'a [u8], key: &[u8]) -> Option<&'a [u8]> {
    let mut rest = object.trim_ascii_start().strip_prefix(b"{")?;
    loop {
        let member = rest.trim_ascii_start().strip_prefix(b"\"")?;
        let (name, after) = split_string(member)?;
        let value = after.trim_ascii_start().strip_prefix(b":")?.trim_ascii_start();
        if name == key {
            return Some(value);
        }
        rest = skip_value(value)?.trim_ascii_start().strip_prefix(b",")?;
    }
}

/// Returns the raw text of the top-level member `key` where it is a string without escapes.
pub(super) fn top_level_str<'a>(object: &'a [u8], key: &[u8]) -> Option<&'a [u8]> {
    string(top_level(object, key)?)
}

/// Returns the raw texts of an array's elements, one after the other; nothing of what is no array. Reads no further than
/// the element that is asked for, so what follows the array may be anything.
pub(super) fn elements(array: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = array.trim_ascii_start().strip_prefix(b"[");
    std::iter::from_fn(move || {
        let value = rest?.trim_ascii_start();
        let after = skip_value(value)?;
        let element = value[..value.len() - after.len()].trim_ascii_end();
        rest = after.strip_prefix(b",");
        // An empty array has a bracket where an element would be.
        (!element.is_empty()).then_some(element)
    })
}

/// Returns the raw text of a string without its quotes; `value` begins with it. `None` if it is none.
pub(super) fn string(value: &[u8]) -> Option<&[u8]> {
    split_string(value.strip_prefix(b"\"")?).map(|(text, _)| text)
}

/// Splits after the quote that ends a string; `text` begins behind the opening one.
pub(super) fn split_string(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut at = 0;
    loop {
        let found = at + memchr2(b'"', b'\\', text.get(at..)?)?;
        if text[found] == b'"' {
            return Some((&text[..found], &text[found + 1..]));
        }
        at = found + 2;
    }
}

/// Returns whether every backslash of a string begins an escape that JSON has.
pub(super) fn has_valid_escapes(mut text: &[u8]) -> bool {
    while let Some(at) = memchr::memchr(b'\\', text) {
        let used = match text.get(at + 1) {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => 2,
            Some(b'u') if text.get(at + 2..at + 6).is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit)) => 6,
            Some(_) | None => return false,
        };
        text = &text[at + used..];
    }
    true
}

/// Returns what follows the value that `text` begins with: a comma or a closing bracket, or nothing of what is cut off.
pub(super) fn skip_value(text: &[u8]) -> Option<&[u8]> {
    let mut depth = 0_usize;
    let mut rest = text;
    loop {
        let (&first, after) = rest.split_first()?;
        match first {
            b',' | b'}' | b']' if depth == 0 => return Some(rest),
            b'"' => {
                rest = split_string(after)?.1;
                continue;
            }
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth -= 1,
            _ => {}
        }
        rest = after;
    }
}

/// Appends the text of a JSON string; `escaped` is what stands between its quotes. Half of a surrogate pair, and an escape
/// that is none, become U+FFFD.
pub(super) fn unescape(escaped: &str, out: &mut String) {
    let mut rest = escaped;
    while let Some(at) = memchr::memchr(b'\\', rest.as_bytes()) {
        out.push_str(&rest[..at]);
        let (char, after) = escape(&rest[at + 1..]);
        out.push(char);
        rest = after;
    }
    out.push_str(rest);
}

/// Reads an escape behind its backslash; returns what it stands for, and what follows.
fn escape(text: &str) -> (char, &str) {
    let mut chars = text.chars();
    let char = match chars.next() {
        Some('n') => '\n',
        Some('t') => '\t',
        Some('r') => '\r',
        Some('b') => '\u{8}',
        Some('f') => '\u{c}',
        Some('u') => return unicode_escape(chars.as_str()),
        Some(char @ ('"' | '\\' | '/')) => char,
        Some(_) | None => char::REPLACEMENT_CHARACTER,
    };
    (char, chars.as_str())
}

/// Reads the four digits of a `\u`, and those of the `\u` that follows if both are one character.
fn unicode_escape(text: &str) -> (char, &str) {
    let unit = |text: &str| u32::from_str_radix(text.get(..4)?, 16).ok();
    let Some(high) = unit(text) else { return (char::REPLACEMENT_CHARACTER, text) };
    let after = &text[4..];
    let low = after.strip_prefix("\\u").and_then(unit).filter(|low| (0xdc00..0xe000).contains(low));
    match (high, low) {
        (0xd800..0xdc00, Some(low)) => {
            let code = 0x1_0000 + ((high - 0xd800) << 10) + (low - 0xdc00);
            (char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER), &after[6..])
        }
        _ => (char::from_u32(high).unwrap_or(char::REPLACEMENT_CHARACTER), after),
    }
}

/// Hands the top-level members of a whole object to `on_member`: the key, and the text from the value on, of which it
/// returns what follows the value. `None` where it does, and for what is no whole object.
pub(super) fn walk<'a>(
    object: &'a [u8],
    mut on_member: impl FnMut(&'a [u8], &'a [u8]) -> Option<&'a [u8]>,
) -> Option<()> {
    let mut rest = object.trim_ascii_start().strip_prefix(b"{")?;
    loop {
        let (key, after) = split_string(rest.trim_ascii_start().strip_prefix(b"\"")?)?;
        let value = after.trim_ascii_start().strip_prefix(b":")?.trim_ascii_start();
        let (&end, after) = on_member(key, value)?.trim_ascii_start().split_first()?;
        match end {
            b',' => rest = after,
            b'}' => return after.trim_ascii_start().is_empty().then_some(()),
            _ => return None,
        }
    }
}

/// Appends valid JSON without the white space between its tokens.
pub(super) fn minify(json: &str, out: &mut Vec<u8>) {
    let mut rest = json.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        if first == b'"' {
            let Some((_, behind)) = split_string(after) else { return out.extend_from_slice(rest) };
            out.extend_from_slice(&rest[..rest.len() - behind.len()]);
            rest = behind;
            continue;
        }
        if !first.is_ascii_whitespace() {
            out.push(first);
        }
        rest = after;
    }
}

/// Most `{` in a body, counted before it is read, texts included: an object of two bytes becomes a struct of more than a
/// hundred. A million tokens of source code have far fewer.
const BRACES_MAX: usize = 1_000_000;

/// Refuses a body of so many objects that reading it would take many times its size.
pub(super) fn refuse_crowds(body: &[u8]) -> Result<(), Refusal> {
    refuse_crowds_in(std::iter::once(body))
}

/// As [`refuse_crowds`], for a body that comes in several texts.
pub(super) fn refuse_crowds_in<'a>(mut texts: impl Iterator<Item = &'a [u8]>) -> Result<(), Refusal> {
    let many = texts.try_fold(0, |braces, text| {
        let braces = braces + memchr::memchr_iter(b'{', text).count();
        (braces <= BRACES_MAX).then_some(braces)
    });
    if many.is_none() {
        let message = format!("the body must not have more than {BRACES_MAX} JSON objects");
        return Err(Refusal { message, param: None });
    }
    Ok(())
}

/// Most names of unknown members that are kept per object.
pub(super) const UNKNOWN_MAX: usize = 64;

/// Defines a struct of optional members that borrows from the body, reads `null` as absent, and keeps the names of all
/// other members in `unknown`: they are never sent on, but the client is told.
///
/// `#[serde(flatten)]` could do the same, but it copies every value, and raw JSON cannot be read through it.
macro_rules! members {
    ($(#[$meta:meta])* $vis:vis struct $name:ident<$lt:lifetime> { $($key:literal => $field:ident: $ty:ty,)* }) => {
        $(#[$meta])*
        #[derive(Debug, Default)]
        $vis struct $name<$lt> {
            $($vis $field: Option<$ty>,)*
            $vis unknown: Vec<std::borrow::Cow<$lt, str>>,
        }

        impl<'de: $lt, $lt> serde::Deserialize<'de> for $name<$lt> {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Members<$lt>(std::marker::PhantomData<&$lt ()>);

                impl<'de: $lt, $lt> serde::de::Visitor<'de> for Members<$lt> {
                    type Value = $name<$lt>;

                    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                        f.write_str("an object")
                    }

                    fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                        let mut members = $name::default();
                        while let Some(crate::protocol::json::Str(key)) = map.next_key()? {
                            match &*key {
                                $($key => members.$field = map.next_value()?,)*
                                _ => {
                                    let is_given = map.next_value::<Option<serde::de::IgnoredAny>>()?.is_some();
                                    if is_given && members.unknown.len() < crate::protocol::json::UNKNOWN_MAX {
                                        members.unknown.push(key);
                                    }
                                }
                            }
                        }
                        Ok(members)
                    }
                }

                deserializer.deserialize_map(Members(std::marker::PhantomData))
            }
        }
    };
}
pub(super) use members;

/// Text that is borrowed from the body where it has no escapes, which a bare `Option<Cow<str>>` never is.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(transparent)]
pub(super) struct Str<'a>(#[serde(borrow)] pub(super) std::borrow::Cow<'a, str>);

/// Most items of a list beside a text: content parts, stop texts.
const ITEMS_MAX: usize = 100_000;

/// A text, or a list.
#[derive(Debug)]
pub(super) enum TextOr<'a, T> {
    Text(Cow<'a, str>),
    List(Vec<T>),
}

impl<'de: 'a, 'a, T: Deserialize<'de>> Deserialize<'de> for TextOr<'a, T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for Either<T> {
            type Value = TextOr<'de, T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string or a list")
            }

            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(TextOr::Text(Cow::Borrowed(text)))
            }

            fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
                Ok(TextOr::Text(Cow::Owned(text.to_owned())))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
                let mut items = Vec::new();
                while let Some(item) = list.next_element()? {
                    if items.len() == ITEMS_MAX {
                        return Err(serde::de::Error::custom("too many items"));
                    }
                    items.push(item);
                }
                Ok(TextOr::List(items))
            }
        }

        deserializer.deserialize_any(Either(PhantomData))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_top_level_member_is_found_behind_nested_ones_of_the_same_name() {
        let object = br#" { "a" : {"type":"inner","b":["}",{"type":1}]}, "n":-1.5e3,"t":true,"s":"\"type\":\\" , "type" : "outer", "#;
        assert_eq!(top_level_str(object, b"type"), Some(&b"outer"[..]));
        assert_eq!(top_level(object, b"n").map(|value| &value[..4]), Some(&b"-1.5"[..]));
        assert_eq!(top_level(object, b"b"), None);
    }

    #[test]
    fn only_the_white_space_between_tokens_goes() {
        let mut out = Vec::new();
        minify("{ \"a b\" :\n[1.10, \"\\\" \\n\\\\\" ,\t12345678901234567890 ] }\r\n", &mut out);
        assert_eq!(String::from_utf8(out).unwrap(), "{\"a b\":[1.10,\"\\\" \\n\\\\\",12345678901234567890]}");
    }

    #[test]
    fn garbage_has_no_members() {
        for text in [
            "",
            "{",
            "{}",
            "[\"type\",\"x\"]",
            "{\"type\"",
            "{\"a\":\"b",
            "{\"a\":[1,2",
            "{\"a\" \"b\"}",
            "\\\"",
            "{\"a\":\"\\",
        ] {
            assert_eq!(top_level(text.as_bytes(), b"type"), None, "{text}");
        }
    }

    #[test]
    fn escapes_are_read_as_serde_json_reads_them() {
        for escaped in
            ["", "plain", r#"\"\\\/\b\f\n\r\t"#, r"\u00e9\u20ac", r"\ud83e\udd80\ud83e\udd80x", "caf\u{e9} \\\\n"]
        {
            let mut out = String::new();
            unescape(escaped, &mut out);
            assert_eq!(out, serde_json::from_str::<String>(&format!("\"{escaped}\"")).unwrap(), "{escaped}");
        }
    }

    #[test]
    fn escapes_that_stand_for_nothing_are_replaced() {
        for (escaped, text) in [
            (r"\ud83e", "\u{fffd}"),
            (r"\ud83ea", "\u{fffd}a"),
            (r"\ud83e\u0041", "\u{fffd}A"),
            (r"\udd80\ud83e", "\u{fffd}\u{fffd}"),
            (r"\x", "\u{fffd}"),
            ("\\", "\u{fffd}"),
            (r"\u12", "\u{fffd}12"),
        ] {
            let mut out = String::new();
            unescape(escaped, &mut out);
            assert_eq!(out, text, "{escaped}");
        }
    }

    members! {
        struct Sample<'a> {
            "a" => a: Str<'a>,
        }
    }

    #[test]
    fn members_are_borrowed_and_the_names_of_others_kept_unless_they_are_null() {
        let sample: Sample<'_> = serde_json::from_str(r#"{"b":[1],"a":"x","c":null,"d":{}}"#).unwrap();
        assert!(matches!(sample.a, Some(Str(std::borrow::Cow::Borrowed("x")))));
        assert_eq!(sample.unknown, ["b", "d"]);
        let sample: Sample<'_> = serde_json::from_str(r#"{"a":null}"#).unwrap();
        assert!(sample.a.is_none() && sample.unknown.is_empty());
    }

    #[test]
    fn a_complaint_says_what_was_expected_and_never_quotes_what_came() {
        let error = serde_json::from_str::<u32>("\"my secret\"").unwrap_err();
        assert_eq!(complaint(&error), "expected u32 at line 1 column 11");
        let error = serde_json::from_str::<u32>("[").unwrap_err();
        assert!(!complaint(&error).contains("secret"));
    }
}
