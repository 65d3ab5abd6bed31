//! The schemas that `OpenAI` takes.

use std::borrow::Cow;

use serde_json::value::RawValue;

use crate::protocol::json;
use crate::protocol::schema::{ANY_OBJECT, CHOICES, Members, merge_choices, rewrite};

/// What only some regular expressions know, and `OpenAI` refuses. As JSON, a backslash is written twice.
const ODD_PATTERNS: [&str; 6] = ["(?=", "(?!", "(?<=", "(?<!", r"\\p{", r"\\P{"];

/// Returns the schema of a function: an object with `properties` and without choices at the top, no `$schema`, no regular
/// expression that is refused.
pub(super) fn of_function(schema: Option<&RawValue>) -> Cow<'_, RawValue> {
    let any_object = || {
        let any: &'static RawValue = serde_json::from_str(ANY_OBJECT).unwrap_or(RawValue::NULL);
        Cow::Borrowed(any)
    };
    let Some(schema) = schema else { return any_object() };
    if fits(schema.get()) {
        return Cow::Borrowed(schema);
    }
    if Members::of(schema).is_none() {
        return any_object();
    }
    Cow::Owned(rewrite(schema, &mut |members, is_top| {
        members.retain(|key, value| !(key == "pattern" && is_odd(value)));
        if is_top {
            merge_choices(members);
            members.remove("$schema");
            members.set("type", "\"object\"");
            if members.get("properties").is_none_or(|properties| !properties.starts_with('{')) {
                members.set("properties", "{}");
            }
        }
    }))
}

/// Returns whether nothing has to be changed, by a look that errs only in asking for a change in vain.
fn fits(text: &str) -> bool {
    let top = |key: &str| json::top_level(text.as_bytes(), key.as_bytes());
    top("type").is_some_and(|kind| kind.starts_with(b"\"object\""))
        && top("properties").is_some_and(|properties| properties.starts_with(b"{"))
        && top("$schema").is_none()
        && CHOICES.iter().all(|choice| top(choice).is_none())
        && memchr::memmem::find(text.as_bytes(), b"null").is_none()
        && !is_odd(text)
}

fn is_odd(text: &str) -> bool {
    ODD_PATTERNS.iter().any(|odd| text.contains(odd))
}

/// Returns whether a schema is one that `OpenAI` takes with `strict: true`: every object in it needs all its properties
/// and allows no others.
pub(super) fn is_strict(schema: &RawValue) -> bool {
    let mut strict = true;
    rewrite(schema, &mut |members, is_top| {
        let properties = members.get("properties");
        let is_object = members.get("type") == Some("\"object\"") || properties.is_some() || is_top;
        strict &= !is_object || closed(members, properties);
    });
    strict
}

fn closed(members: &Members<'_>, properties: Option<&str>) -> bool {
    let names: Option<Vec<String>> = properties.and_then(|object| {
        let object: serde_json::Map<String, serde_json::Value> = serde_json::from_str(object).ok()?;
        Some(object.into_iter().map(|(name, _)| name).collect())
    });
    let required: Vec<String> =
        members.get("required").and_then(|list| serde_json::from_str(list).ok()).unwrap_or_default();
    members.get("additionalProperties") == Some("false")
        && names.is_some_and(|names| names.iter().all(|name| required.contains(name)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fitted(schema: &str) -> String {
        let raw: &RawValue = serde_json::from_str(schema).unwrap();
        let text = of_function(Some(raw)).get().to_owned();
        let again: &RawValue = serde_json::from_str(&text).unwrap();
        assert_eq!(of_function(Some(again)).get(), text, "what was mended fits");
        text
    }

    #[test]
    fn a_schema_that_fits_is_the_clients_own_text() {
        let schema = r#"{ "type" : "object", "properties":{"n":{"type":"number","maximum":12345678901234567890123,"multipleOf":1.10}} }"#;
        assert_eq!(fitted(schema), schema);
    }

    #[test]
    fn an_object_schema_without_properties_is_not_refused() {
        for (schema, wanted) in [
            (r#"{"type":"object"}"#, r#"{"type":"object","properties":{}}"#),
            (r#"{"type":null,"description":"d"}"#, r#"{"description":"d","type":"object","properties":{}}"#),
            ("{}", r#"{"type":"object","properties":{}}"#),
            ("true", ANY_OBJECT),
        ] {
            assert_eq!(fitted(schema), wanted, "{schema}");
        }
        assert_eq!(of_function(None).get(), ANY_OBJECT);
    }

    #[test]
    fn a_regular_expression_that_is_refused_goes_and_a_property_of_that_name_stays() {
        let schema = r#"{"type":"object","properties":{"pattern":{"type":"string","pattern":"^\\p{L}+$"},"b":{"pattern":"(?!x)","maximum":1.10},"c":{"pattern":"^a$"}}}"#;
        let wanted = r#"{"type":"object","properties":{"pattern":{"type":"string"},"b":{"maximum":1.10},"c":{"pattern":"^a$"}}}"#;
        assert_eq!(fitted(schema), wanted);
    }

    #[test]
    fn null_members_and_the_dialect_go() {
        let schema = r#"{"$schema":"https://json-schema.org/draft/2020-12/schema","type":"object","properties":{"a":{"type":null,"default":null}},"required":null}"#;
        assert_eq!(fitted(schema), r#"{"type":"object","properties":{"a":{"default":null}}}"#);
    }

    #[test]
    fn a_choice_at_the_top_is_merged() {
        let schema = r#"{"anyOf":[{"properties":{"a":{}},"required":["a"]},{"properties":{"b":{}}}]}"#;
        let merged: serde_json::Value = serde_json::from_str(&fitted(schema)).unwrap();
        assert_eq!(merged["properties"], serde_json::json!({ "a": {}, "b": {} }));
        assert!(merged.get("anyOf").is_none() && merged["type"] == "object");
    }

    #[test]
    fn only_a_closed_schema_that_needs_everything_is_strict() {
        let strict = |schema: &str| is_strict(serde_json::from_str(schema).unwrap());
        assert!(strict(
            r#"{"type":"object","properties":{"a":{"type":"array","items":{"type":"string"}}},"required":["a"],"additionalProperties":false}"#
        ));
        for schema in [
            r#"{"type":"object","properties":{"a":{}},"required":[],"additionalProperties":false}"#,
            r#"{"type":"object","properties":{"a":{}},"required":["a"]}"#,
            r#"{"type":"object","properties":{"a":{"type":"object"}},"required":["a"],"additionalProperties":false}"#,
            r#"{"type":"object"}"#,
        ] {
            assert!(!strict(schema), "{schema}");
        }
    }
}
