//! What routing reads of a request's body, and the body with another model in it.

use std::fmt;
use std::ops::Range;

use serde::de::{IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use crate::domain::conversation::Conversation;
use crate::protocol::json::{self, Str};
use crate::protocol::passthrough::conversation::{self, Signs};

/// Why a body is refused before anything else looks at it; all are the client's fault. No text quotes the body.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PeekError {
    /// Not JSON.
    #[error("the body is not valid JSON (line {line}, column {column})")]
    NotJson {
        /// Line of the fault, from 1.
        line: usize,
        /// Column of the fault in bytes, from 0.
        column: usize,
    },
    /// Not UTF-8.
    #[error("the body is not valid UTF-8 (byte {at})")]
    NotUtf8 {
        /// Offset of the fault in bytes.
        at: usize,
    },
    /// JSON, but no object.
    #[error("the body must be a JSON object")]
    NotAnObject,
    /// The member is missing.
    #[error("`{0}` is required")]
    Missing(&'static str),
    /// The member comes twice; the upstream might read the other one.
    #[error("`{0}` must not be given twice")]
    Duplicate(&'static str),
    /// The member has the wrong type.
    #[error("`{member}` must be {wanted}")]
    WrongType {
        /// Name of the member.
        member: &'static str,
        /// What it must be.
        wanted: &'static str,
    },
}

impl PeekError {
    /// Returns the member at fault, where it is one.
    pub const fn param(self) -> Option<&'static str> {
        match self {
            Self::NotJson { .. } | Self::NotUtf8 { .. } | Self::NotAnObject => None,
            Self::Missing(member) | Self::Duplicate(member) | Self::WrongType { member, .. } => Some(member),
        }
    }
}

/// What [`peek`] saw in a body. Belongs to that body: its offsets mean nothing in another one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peek {
    /// The model that the client asks for, unescaped.
    pub model: String,
    /// Whether the client asks for a stream.
    pub stream: bool,
    /// Where the value of `model` stands, quotes included.
    model_at: Range<usize>,
    max_tokens: Option<Member>,
    has_max_completion_tokens: bool,
    signs: Signs<Range<usize>>,
}

impl Peek {
    /// Returns the conversation that the body belongs to, as far as it tells.
    pub fn conversation(&self, body: &[u8]) -> Option<Conversation> {
        conversation::of(&self.signs.map(|range| body.get(range.clone()).unwrap_or_default()))
    }

    /// Returns whether the body has `max_tokens` at the top level.
    pub const fn has_max_tokens(&self) -> bool {
        self.max_tokens.is_some()
    }
}

/// Where a member stands: its key with quotes, and its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Member {
    key: Range<usize>,
    value: Range<usize>,
}

/// Reads `model` and `stream` of a request's body, and checks that the whole of it is JSON.
///
/// Lone surrogates and numbers out of range pass, as they do not concern us. Nothing is copied but the model's name.
pub fn peek(body: &[u8]) -> Result<Peek, PeekError> {
    let text = std::str::from_utf8(body).map_err(|error| PeekError::NotUtf8 { at: error.valid_up_to() })?;
    let top: TopLevel<'_> = serde_json::from_str(text).map_err(|error| {
        if error.is_data() {
            PeekError::NotAnObject
        } else {
            PeekError::NotJson { line: error.line(), column: error.column() }
        }
    })?;
    if let Some(member) = top.duplicate {
        return Err(PeekError::Duplicate(member));
    }
    let model = top.model.ok_or(PeekError::Missing("model"))?;
    let Ok(Str(name)) = serde_json::from_str(model.get()) else {
        return Err(PeekError::WrongType { member: "model", wanted: "a string" });
    };
    let stream = match top.stream.map(RawValue::get) {
        None | Some("null" | "false") => false,
        Some("true") => true,
        Some(_) => return Err(PeekError::WrongType { member: "stream", wanted: "true or false" }),
    };
    Ok(Peek {
        model: name.into_owned(),
        stream,
        model_at: place(text, model),
        max_tokens: top.max_tokens.map(|value| member(text, value)),
        has_max_completion_tokens: top.has_max_completion_tokens,
        signs: top.signs.map(|value| place(text, value)),
    })
}

/// Returns the body with `model` as its model and every other byte unchanged.
///
/// # Panics
/// If `peek` was made from another, longer body.
pub fn splice(body: &[u8], peek: &Peek, model: &str) -> Vec<u8> {
    edited(body, &mut [(peek.model_at.clone(), quoted(model))])
}

/// Returns the body of a Chat Completions request for a GPT model: as [`splice`], and `max_tokens` is renamed to
/// `max_completion_tokens`, or left out where that is given too.
///
/// Newer GPT models refuse `max_tokens`, which common clients send (seen: OpenCode 1.18 through the AI SDK).
///
/// # Panics
/// If `peek` was made from another, longer body.
pub fn splice_chat_for_gpt(body: &[u8], peek: &Peek, model: &str) -> Vec<u8> {
    let model_edit = (peek.model_at.clone(), quoted(model));
    let Some(limit) = &peek.max_tokens else { return edited(body, &mut [model_edit]) };
    let limit_edit = if peek.has_max_completion_tokens {
        (with_comma(body, limit), Vec::new())
    } else {
        (limit.key.clone(), b"\"max_completion_tokens\"".to_vec())
    };
    edited(body, &mut [model_edit, limit_edit])
}

/// The members of the top level that are read; the others are only checked to be JSON.
#[derive(Default)]
struct TopLevel<'a> {
    model: Option<&'a RawValue>,
    stream: Option<&'a RawValue>,
    max_tokens: Option<&'a RawValue>,
    has_max_completion_tokens: bool,
    signs: Signs<&'a RawValue>,
    duplicate: Option<&'static str>,
}

impl<'de: 'a, 'a> Deserialize<'de> for TopLevel<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;

        impl<'de> Visitor<'de> for Reader {
            type Value = TopLevel<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut top = TopLevel::default();
                while let Some(Str(key)) = map.next_key()? {
                    let (slot, name) = match &*key {
                        "model" => (&mut top.model, "model"),
                        "stream" => (&mut top.stream, "stream"),
                        "max_tokens" => (&mut top.max_tokens, "max_tokens"),
                        other => {
                            if let Some(sign) = top.signs.named(other) {
                                *sign = Some(map.next_value()?);
                                continue;
                            }
                            top.has_max_completion_tokens |= other == "max_completion_tokens";
                            map.next_value::<IgnoredAny>()?;
                            continue;
                        }
                    };
                    if slot.replace(map.next_value()?).is_some() {
                        top.duplicate = Some(name);
                    }
                }
                Ok(top)
            }
        }

        deserializer.deserialize_map(Reader)
    }
}

/// Returns where a value that was borrowed from `body` stands in it.
pub(super) fn place(body: &str, value: &RawValue) -> Range<usize> {
    let start = value.get().as_ptr().addr() - body.as_ptr().addr();
    start..start + value.get().len()
}

/// Returns where the member stands whose value was borrowed from `body`: before a value come its key, white space and
/// one colon. The keys that are asked for contain no quote, so the quote before the closing one opens them.
pub(super) fn member(body: &str, value: &RawValue) -> Member {
    let value = place(body, value);
    let end = body[..value.start].rfind('"').map_or(0, |quote| quote + 1);
    let start = body[..end.saturating_sub(1)].rfind('"').unwrap_or(0);
    Member { key: start..end, value }
}

/// Returns where a member and one of its commas stand; it must not be the only member.
pub(super) fn with_comma(body: &[u8], member: &Member) -> Range<usize> {
    let after = &body[member.value.end..];
    let gap = after.len() - after.trim_ascii_start().len();
    if after.get(gap) == Some(&b',') {
        return member.key.start..member.value.end + gap + 1;
    }
    let before = body[..member.key.start].trim_ascii_end();
    before.len().saturating_sub(1)..member.value.end
}

fn quoted(model: &str) -> Vec<u8> {
    json::to_vec(&model)
}

/// Returns `body` with each range replaced; ranges must not overlap.
pub(super) fn edited(body: &[u8], edits: &mut [(Range<usize>, Vec<u8>)]) -> Vec<u8> {
    edits.sort_unstable_by_key(|(range, _)| range.start);
    let added: usize = edits.iter().map(|(_, text)| text.len()).sum();
    let mut out = Vec::with_capacity(body.len() + added);
    let mut at = 0;
    for (range, text) in edits.iter() {
        out.extend_from_slice(&body[at..range.start]);
        out.extend_from_slice(text);
        at = range.end;
    }
    out.extend_from_slice(&body[at..]);
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn seen(body: &str) -> Result<Peek, PeekError> {
        peek(body.as_bytes())
    }

    fn spliced(body: &str, model: &str) -> String {
        String::from_utf8(splice(body.as_bytes(), &seen(body).unwrap(), model)).unwrap()
    }

    fn for_gpt(body: &str) -> String {
        String::from_utf8(splice_chat_for_gpt(body.as_bytes(), &seen(body).unwrap(), "g")).unwrap()
    }

    #[test]
    fn model_and_stream_are_read_at_the_top_level_only() {
        let found = seen(r#"{"messages":[{"model":"inner","stream":true}],"model":"m"}"#).unwrap();
        assert_eq!((found.model.as_str(), found.stream, found.has_max_tokens()), ("m", false, false));
        let found = seen(r#"{"model":"m","stream":true,"max_tokens":5}"#).unwrap();
        assert_eq!((found.stream, found.has_max_tokens()), (true, true));
        assert!(!seen(r#"{"model":"m","stream":null}"#).unwrap().stream);
    }

    #[test]
    fn escapes_in_the_name_of_the_model_and_of_the_member_are_understood() {
        let body = r#"{"mod\u0065l" : "claude\u002d\"x\""}"#;
        assert_eq!(seen(body).unwrap().model, "claude-\"x\"");
        assert_eq!(spliced(body, "a\"b"), r#"{"mod\u0065l" : "a\"b"}"#);
    }

    #[test]
    fn a_body_that_could_be_read_in_two_ways_is_refused() {
        assert_eq!(seen(r#"{"model":"a","model":"b"}"#), Err(PeekError::Duplicate("model")));
        assert_eq!(seen(r#"{"model":"a","m\u006fdel":"a"}"#), Err(PeekError::Duplicate("model")));
        assert_eq!(seen(r#"{"model":"a","stream":true,"stream":false}"#), Err(PeekError::Duplicate("stream")));
    }

    #[test]
    fn what_is_wrong_is_said_with_its_place_and_without_content() {
        assert_eq!(seen("{}"), Err(PeekError::Missing("model")));
        assert_eq!(seen("[]"), Err(PeekError::NotAnObject));
        assert_eq!(seen("\"text\""), Err(PeekError::NotAnObject));
        assert_eq!(seen(r#"{"model":7}"#).unwrap_err().to_string(), "`model` must be a string");
        assert_eq!(seen(r#"{"model":null}"#).unwrap_err().param(), Some("model"));
        assert_eq!(seen(r#"{"model":"m","stream":"true"}"#).unwrap_err().param(), Some("stream"));
        assert_eq!(peek(b"{\"model\":\"\xff\"}"), Err(PeekError::NotUtf8 { at: 10 }));
        for bad in
            ["", "{\"model\":\"m\"", "{\"model\":\"m\"} x", "{\"model\":\"m\",\"a\":secret}", "{\"model\":\"m\",}"]
        {
            let error = seen(bad).unwrap_err();
            assert!(matches!(error, PeekError::NotJson { line: 0..=1, .. }), "{bad}: {error:?}");
            assert!(!error.to_string().contains("secret"));
        }
    }

    #[test]
    fn deep_nesting_is_no_stack_overflow() {
        let deep = format!(r#"{{"model":"m","x":{}{}}}"#, "[".repeat(200_000), "]".repeat(200_000));
        assert_eq!(seen(&deep).unwrap().model, "m");
    }

    #[test]
    fn max_tokens_is_renamed_for_gpt_and_every_other_byte_stays() {
        assert_eq!(
            for_gpt(r#"{ "max_tokens" : 1e3 ,"model":"old", "x":1.10}"#),
            r#"{ "max_completion_tokens" : 1e3 ,"model":"g", "x":1.10}"#
        );
        assert_eq!(for_gpt(r#"{"model":"old","max\u005ftokens":5}"#), r#"{"model":"g","max_completion_tokens":5}"#);
        assert_eq!(for_gpt(r#"{"model":"old","a":{"max_tokens":1}}"#), r#"{"model":"g","a":{"max_tokens":1}}"#);
    }

    #[test]
    fn the_newer_limit_wins_where_both_are_given() {
        for (body, wanted) in [
            (r#"{"max_tokens":1,"model":"m","max_completion_tokens":2}"#, r#"{"model":"g","max_completion_tokens":2}"#),
            (
                r#"{"model":"m","max_completion_tokens":2 , "max_tokens": 1 }"#,
                r#"{"model":"g","max_completion_tokens":2  }"#,
            ),
            (
                r#"{"max_completion_tokens":2,"max_tokens":1 ,"model":"m"}"#,
                r#"{"max_completion_tokens":2,"model":"g"}"#,
            ),
        ] {
            assert_eq!(for_gpt(body), wanted);
        }
    }

    proptest! {
        #[test]
        fn a_splice_changes_the_model_and_no_other_byte(
            before in "([ \n]|\"k[0-9]{4}\":(1\\.10|\"a\\\\\"b\u{e9}\"|\\[\\{\"model\":\"x\"\\}\\]|12345678901234567890),){0,4}",
            model in "\\PC{0,12}",
            after in "[ ](,\"z[0-9]{4}\" : \\{\\} ){0,3}",
            new in "\\PC{0,12}",
        ) {
            let literal = serde_json::to_string(&model).unwrap();
            let (head, tail) = (format!("{{{before}\"model\":"), format!("{after}}}"));
            prop_assume!(serde_json::from_str::<serde_json::Value>(&format!("{head}{literal}{tail}")).is_ok());
            let body = format!("{head}{literal}{tail}");
            prop_assert_eq!(&seen(&body).unwrap().model, &model);
            prop_assert_eq!(spliced(&body, &new), format!("{head}{}{tail}", serde_json::to_string(&new).unwrap()));
        }
    }
}
