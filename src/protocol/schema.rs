//! JSON schemas, mended to what an API takes.
//!
//! A schema stays the text it is, member by member and in order, so that no number in it becomes a float; only what an API
//! refuses is changed. Where schemas nest is known here, what is to be mended is the dialect's affair.

use std::borrow::Cow;
use std::fmt;

use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;

use crate::protocol::json::{self, Str};

/// Deepest nesting that is mended; what is deeper stays as it is. Every level is read once more.
const DEPTH_MAX: usize = 24;

/// Members whose value is a schema, or a list of them.
const SCHEMAS: [&str; 17] = [
    "items",
    "prefixItems",
    "additionalItems",
    "unevaluatedItems",
    "contains",
    "additionalProperties",
    "unevaluatedProperties",
    "propertyNames",
    "not",
    "if",
    "then",
    "else",
    "anyOf",
    "oneOf",
    "allOf",
    "contentSchema",
    "dependentSchemas",
];

/// Members whose value is an object of schemas by name.
const MAPS_OF_SCHEMAS: [&str; 4] = ["properties", "patternProperties", "$defs", "definitions"];

/// Members whose value may be `null` and mean it.
const VALUES: [&str; 5] = ["default", "const", "enum", "example", "examples"];

/// A schema that takes any object.
pub(super) const ANY_OBJECT: &str = r#"{"type":"object","properties":{}}"#;

/// The members of an object, in order.
#[derive(Debug, Default)]
pub(super) struct Members<'a>(Vec<(Cow<'a, str>, Cow<'a, RawValue>)>);

impl<'a> Members<'a> {
    /// Returns the members of an object; `None` where it is none.
    pub(super) fn of(object: &'a RawValue) -> Option<Self> {
        serde_json::from_str(object.get()).ok()
    }

    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(key, _)| key == name).map(|(_, value)| value.get())
    }

    pub(super) fn remove(&mut self, name: &str) -> Option<Cow<'a, RawValue>> {
        let at = self.0.iter().position(|(key, _)| key == name)?;
        Some(self.0.remove(at).1)
    }

    /// Sets a member to a value of JSON; what is no JSON is not set.
    pub(super) fn set(&mut self, name: &'static str, json: &str) {
        let Ok(value) = RawValue::from_string(json.to_owned()) else { return };
        match self.0.iter_mut().find(|(key, _)| key == name) {
            Some((_, old)) => *old = Cow::Owned(value),
            None => self.0.push((name.into(), Cow::Owned(value))),
        }
    }

    pub(super) fn retain(&mut self, mut keep: impl FnMut(&str, &str) -> bool) {
        self.0.retain(|(key, value)| keep(key, value.get()));
    }

    fn write(&self) -> Option<Box<RawValue>> {
        RawValue::from_string(String::from_utf8(json::to_vec(self)).ok()?).ok()
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Pairs;

        impl<'de> Visitor<'de> for Pairs {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some((Str(key), value)) = map.next_entry::<Str<'de>, &'de RawValue>()? {
                    members.push((key, Cow::Borrowed(value)));
                }
                Ok(Members(members))
            }
        }

        deserializer.deserialize_map(Pairs)
    }
}

impl Serialize for Members<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(key, value)| (key, value)))
    }
}

/// Mends a schema and all that are nested in it, the innermost first; `mend` is told whether it has the outermost in hand.
/// Members that are `null` though no schema has them so are left out. A schema that is no object, such as `true`, stays.
pub(super) fn rewrite(schema: &RawValue, mend: &mut impl FnMut(&mut Members<'_>, bool)) -> Box<RawValue> {
    level(schema, mend, 0).unwrap_or_else(|| schema.to_owned())
}

fn level(schema: &RawValue, mend: &mut impl FnMut(&mut Members<'_>, bool), depth: usize) -> Option<Box<RawValue>> {
    if depth > DEPTH_MAX {
        return None;
    }
    let mut members = Members::of(schema)?;
    members.retain(|key, value| value != "null" || VALUES.contains(&key));
    for (key, value) in &mut members.0 {
        let mended = match &**key {
            key if SCHEMAS.contains(&key) && value.get().starts_with('[') => list(value, mend, depth + 1),
            key if SCHEMAS.contains(&key) => level(value, mend, depth + 1),
            key if MAPS_OF_SCHEMAS.contains(&key) => map(value, mend, depth + 1),
            _ => None,
        };
        if let Some(mended) = mended {
            *value = Cow::Owned(mended);
        }
    }
    mend(&mut members, depth == 0);
    members.write()
}

fn list(schemas: &RawValue, mend: &mut impl FnMut(&mut Members<'_>, bool), depth: usize) -> Option<Box<RawValue>> {
    let schemas: Vec<&RawValue> = serde_json::from_str(schemas.get()).ok()?;
    let mended: Vec<Cow<'_, RawValue>> = schemas
        .into_iter()
        .map(|schema| level(schema, mend, depth).map_or(Cow::Borrowed(schema), Cow::Owned))
        .collect();
    RawValue::from_string(String::from_utf8(json::to_vec(&mended)).ok()?).ok()
}

fn map(schemas: &RawValue, mend: &mut impl FnMut(&mut Members<'_>, bool), depth: usize) -> Option<Box<RawValue>> {
    let mut members = Members::of(schemas)?;
    for (_, value) in &mut members.0 {
        if let Some(mended) = level(value, mend, depth) {
            *value = Cow::Owned(mended);
        }
    }
    members.write()
}

/// Returns the schema of a tool as Messages takes it: an object at the top, without choices there.
pub(super) fn for_messages_tool(schema: Option<&RawValue>) -> Cow<'_, RawValue> {
    let any_object = || {
        let any: &'static RawValue = serde_json::from_str(ANY_OBJECT).unwrap_or(RawValue::NULL);
        Cow::Borrowed(any)
    };
    let Some(schema) = schema.filter(|schema| schema.get().starts_with('{')) else { return any_object() };
    let Some(top) = Members::of(schema) else { return any_object() };
    if top.0.is_empty() {
        return any_object();
    }
    let is_plain = top.get("type") == Some("\"object\"") && CHOICES.iter().all(|choice| top.get(choice).is_none());
    if is_plain && memchr::memmem::find(schema.get().as_bytes(), b"null").is_none() {
        return Cow::Borrowed(schema);
    }
    Cow::Owned(rewrite(schema, &mut |members, is_top| {
        if is_top {
            merge_choices(members);
            members.set("type", "\"object\"");
        }
    }))
}

/// What both vendors refuse at the top of a tool's schema.
pub(super) const CHOICES: [&str; 3] = ["allOf", "anyOf", "oneOf"];

/// Merges the alternatives at the top of a schema into it: what any of them takes may come, what all of them want must.
/// The model is asked for a little less than the schema says, and the client checks anyway.
pub(super) fn merge_choices(top: &mut Members<'_>) {
    let removed: Vec<_> = CHOICES.iter().filter_map(|name| Some((*name, top.remove(name)?))).collect();
    if removed.is_empty() {
        return;
    }
    let own = |members: &Members<'_>, name: &str| members.get(name).map(str::to_owned);
    let mut properties: Vec<(String, Box<RawValue>)> = Vec::new();
    let mut add = |text: Option<String>| {
        let named = text.and_then(|text| RawValue::from_string(text).ok());
        for (key, value) in named.as_deref().and_then(Members::of).unwrap_or_default().0 {
            if !properties.iter().any(|(name, _)| *name == *key) {
                properties.push((key.into_owned(), value.into_owned()));
            }
        }
    };
    let mut required: Vec<String> = listed(top.get("required"));
    add(own(top, "properties"));
    for (name, branches) in &removed {
        let branches: Vec<&RawValue> = serde_json::from_str(branches.get()).unwrap_or_default();
        let branches: Vec<Members<'_>> = branches.into_iter().filter_map(Members::of).collect();
        let wanted: Vec<Vec<String>> = branches.iter().map(|branch| listed(branch.get("required"))).collect();
        let by_all = |want: &String| *name == "allOf" || wanted.iter().all(|others| others.contains(want));
        for want in wanted.iter().flatten().filter(|want| by_all(want)) {
            if !required.contains(want) {
                required.push(want.clone());
            }
        }
        for branch in &branches {
            add(own(branch, "properties"));
        }
    }
    let properties =
        Members(properties.iter().map(|(key, value)| (Cow::Borrowed(key.as_str()), Cow::Borrowed(&**value))).collect());
    top.set("properties", properties.write().as_deref().map_or("{}", RawValue::get));
    if !required.is_empty() {
        top.set("required", &String::from_utf8(json::to_vec(&required)).unwrap_or_default());
    }
}

fn listed(names: Option<&str>) -> Vec<String> {
    names.and_then(|names| serde_json::from_str(names).ok()).unwrap_or_default()
}

/// What Messages refuses in the schema of an answer. Source: Anthropic's SDKs move these into the description.
const UNSUPPORTED_IN_FORMAT: [&str; 12] = [
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "exclusiveMaximum",
    "multipleOf",
    "minLength",
    "maxLength",
    "minItems",
    "maxItems",
    "uniqueItems",
    "minProperties",
    "maxProperties",
];

/// Returns the schema of an answer as Messages takes it: objects without further members, and limits of values in words.
pub(super) fn for_messages_format(schema: &RawValue) -> Box<RawValue> {
    rewrite(schema, &mut |members, _| {
        if members.get("type") == Some("\"object\"") || members.get("properties").is_some() {
            members.set("additionalProperties", "false");
        }
        let limits: Vec<String> = UNSUPPORTED_IN_FORMAT
            .iter()
            .filter_map(|name| Some(format!("{name}: {}", members.remove(name)?.get())))
            .collect();
        members.remove("$schema");
        if limits.is_empty() {
            return;
        }
        let described: String =
            members.get("description").and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
        let gap = if described.is_empty() { "" } else { "\n\n" };
        let text = format!("{described}{gap}{{{}}}", limits.join(", "));
        members.set("description", &String::from_utf8(json::to_vec(&text)).unwrap_or_default());
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(json: &str) -> &RawValue {
        serde_json::from_str(json).unwrap()
    }

    fn tool(json: &str) -> String {
        for_messages_tool(Some(raw(json))).get().to_owned()
    }

    #[test]
    fn a_schema_that_is_fine_keeps_every_byte() {
        let schema = r#"{"$schema": "x", "type":"object", "properties":{"n":{"type":"number","maximum":12345678901234567890,"multipleOf":1.10}}, "anyOfX": 1}"#;
        assert!(matches!(for_messages_tool(Some(raw(schema))), Cow::Borrowed(kept) if kept.get() == schema));
    }

    #[test]
    fn a_missing_or_empty_schema_takes_any_object() {
        for schema in ["{}", "null", "true", "[]", "\"x\""] {
            assert_eq!(tool(schema), ANY_OBJECT, "{schema}");
        }
        assert_eq!(for_messages_tool(None).get(), ANY_OBJECT);
    }

    #[test]
    fn nulls_that_no_schema_has_are_left_out_at_any_depth() {
        assert_eq!(
            tool(
                r#"{"type":null,"properties":{"a":{"type":"string","enum":null,"default":null},"null":{"items":[{"required":null}]}},"required":null}"#
            ),
            r#"{"properties":{"a":{"type":"string","enum":null,"default":null},"null":{"items":[{}]}},"type":"object"}"#
        );
    }

    #[test]
    fn choices_at_the_top_are_merged() {
        assert_eq!(
            tool(
                r#"{"properties":{"a":{"type":"string"}},"required":["a"],"anyOf":[{"properties":{"b":{"maximum":1.10}},"required":["b","c"]},{"properties":{"c":{},"a":{}},"required":["c"]}]}"#
            ),
            r#"{"properties":{"a":{"type":"string"},"b":{"maximum":1.10},"c":{}},"required":["a","c"],"type":"object"}"#
        );
        assert_eq!(
            tool(r#"{"type":"object","allOf":[{"properties":{"b":{}},"required":["b"]},{"required":["c"]}]}"#),
            r#"{"type":"object","properties":{"b":{}},"required":["b","c"]}"#
        );
        let nested = r#"{"type":"object","properties":{"a":{"anyOf":[{"type":"string"},{"type":"number"}]}}}"#;
        assert_eq!(tool(nested), nested);
    }

    #[test]
    fn the_schema_of_an_answer_is_closed_and_tells_its_limits_in_words() {
        let schema = r#"{"$schema":"x","type":"object","properties":{"n":{"type":"integer","minimum":1,"description":"a \"count\""},"maximum":{"type":"array","items":{"type":"object","properties":{}},"maxItems":3}}}"#;
        assert_eq!(
            for_messages_format(raw(schema)).get(),
            r#"{"type":"object","properties":{"n":{"type":"integer","description":"a \"count\"\n\n{minimum: 1}"},"maximum":{"type":"array","items":{"type":"object","properties":{},"additionalProperties":false},"description":"{maxItems: 3}"}},"additionalProperties":false}"#
        );
    }

    #[test]
    fn a_schema_nested_without_end_is_left_alone() {
        let schema = format!("{}true{}", r#"{"type":null,"items":"#.repeat(100), "}".repeat(100));
        let mended = tool(&schema);
        assert!(mended.contains(r#""type":null"#) && mended.starts_with(r#"{"items":{"items""#));
    }
}
