//! Short ways to look into a request body whose shape is not known yet.

use serde_json::{Value, json};

/// Returns the string at `key`.
pub(crate) fn text<'a>(value: &'a Value, key: &str) -> Option<&'a str> {
    value.get(key)?.as_str()
}

/// Returns the array at `key`; an empty one where there is none.
pub(crate) fn list<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value.get(key).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// Returns whether `key` is there and not null.
pub(crate) fn has(value: &Value, key: &str) -> bool {
    value.get(key).is_some_and(|member| !member.is_null())
}

/// Returns the boolean at `key`; false where there is none.
pub(crate) fn flag(value: &Value, key: &str) -> bool {
    value.get(key).and_then(Value::as_bool).unwrap_or(false)
}

/// Returns the `type` of a block, an item or a tool; the empty string where there is none.
pub(crate) fn kind(value: &Value) -> &str {
    text(value, "type").unwrap_or_default()
}

/// Counts the characters of every string inside `value`, the simulator's measure of a prompt's length.
pub(crate) fn chars(value: &Value) -> usize {
    match value {
        Value::String(text) => text.chars().count(),
        Value::Array(list) => list.iter().map(chars).sum(),
        Value::Object(map) => map.iter().map(|(key, value)| key.len() + chars(value)).sum(),
        Value::Null | Value::Bool(_) | Value::Number(_) => 1,
    }
}

/// Returns the longest beginning of `text` with at most `chars_max` characters.
pub(crate) fn beginning(text: &str, chars_max: usize) -> &str {
    text.char_indices().nth(chars_max).map_or(text, |(end, _)| &text[..end])
}

/// Applies a JSON merge patch (RFC 7396).
pub(crate) fn merge(target: &mut Value, patch: &Value) {
    let Some(patch) = patch.as_object() else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = json!({});
    }
    for (key, value) in patch {
        if !value.is_null() {
            merge(&mut target[key], value);
        } else if let Some(map) = target.as_object_mut() {
            map.remove(key);
        }
    }
}
