//! Settings files in JSON, with comments and trailing commas where their owner likes them.

use jsonc_parser::ParseOptions;
use jsonc_parser::cst::{CstInputValue, CstObject, CstRootNode};
use serde_json::{Map, Value};

use super::{MergeError, laid_over, take_out};

/// A settings file. Whatever is not set or taken out stays as it was written.
pub(super) struct Document {
    root: CstRootNode,
    before: Value,
}

fn options() -> ParseOptions {
    ParseOptions {
        allow_comments: true,
        allow_trailing_commas: true,
        allow_loose_object_property_names: false,
        allow_missing_commas: false,
        allow_single_quoted_strings: false,
        allow_hexadecimal_numbers: false,
        allow_unary_plus_numbers: false,
        allow_bare_decimal_point_numbers: false,
        allow_non_finite_numbers: false,
        allow_extended_string_escapes: false,
    }
}

fn invalid(problem: &impl ToString) -> MergeError {
    MergeError::Invalid { format: "JSON", problem: problem.to_string() }
}

impl Document {
    /// Reads a file's text; one without a value counts as an empty object.
    pub(super) fn parse(text: &str) -> Result<Self, MergeError> {
        let root = CstRootNode::parse(text, &options()).map_err(|error| invalid(&error))?;
        let before = match root.value() {
            None => Value::Object(Map::new()),
            Some(value) => value.to_serde_value().ok_or_else(|| invalid(&"a value cannot be read"))?,
        };
        if !before.is_object() {
            return Err(invalid(&"an object is wanted"));
        }
        if let Some(name) = root.object_value().and_then(|object| repeated(&object)) {
            return Err(invalid(&format!("`{name}` is there twice")));
        }
        Ok(Self { root, before })
    }

    /// Returns what the file says.
    pub(super) fn value(&self) -> &Value {
        &self.before
    }

    /// Takes out what is at the paths of `remove`, lays `set` over the rest, and returns the text.
    pub(super) fn merged(self, set: &Value, remove: &[&[&str]]) -> Result<String, MergeError> {
        let object = self.root.object_value_or_create().ok_or(MergeError::Unsafe)?;
        let mut wanted = self.before;
        for path in remove {
            take_out(&mut wanted, path);
            out(&object, path);
        }
        if let Value::Object(members) = set {
            lay(&object, members, "")?;
        }
        laid_over(&mut wanted, set);
        let mut text = self.root.to_string();
        if !text.ends_with('\n') {
            text.push('\n');
        }
        let again = CstRootNode::parse(&text, &options()).ok().and_then(|root| root.to_serde_value());
        if again.as_ref() == Some(&wanted) { Ok(text) } else { Err(MergeError::Unsafe) }
    }
}

/// Returns a name that an object has twice, here or further down: which of them counts, readers disagree.
fn repeated(object: &CstObject) -> Option<String> {
    let mut seen = std::collections::HashSet::new();
    for property in object.properties() {
        let name = property.decoded_name()?;
        if !seen.insert(name.clone()) {
            return Some(name);
        }
        if let Some(found) = property.object_value().and_then(|inner| repeated(&inner)) {
            return Some(found);
        }
    }
    None
}

fn out(object: &CstObject, path: &[&str]) {
    match path {
        [] => {}
        [last] => {
            if let Some(property) = object.get(last) {
                property.remove();
            }
        }
        [first, rest @ ..] => {
            if let Some(inner) = object.object_value(first) {
                out(&inner, rest);
            }
        }
    }
}

fn lay(object: &CstObject, members: &Map<String, Value>, way: &str) -> Result<(), MergeError> {
    for (name, value) in members {
        let Some(property) = object.get(name) else {
            object.append(name, input(value));
            continue;
        };
        let there = property.to_serde_value();
        match (value, property.object_value()) {
            (Value::Object(inner), Some(object)) => lay(&object, inner, &format!("{way}{name}."))?,
            (Value::Object(_), None) if there.as_ref().is_some_and(|there| !there.is_null()) => {
                return Err(MergeError::Conflict(format!("`{way}{name}` is there and is not an object")));
            }
            (value, _) if there.as_ref() == Some(value) => {}
            (value, _) => property.set_value(input(value)),
        }
    }
    Ok(())
}

fn input(value: &Value) -> CstInputValue {
    match value {
        Value::Null => CstInputValue::Null,
        Value::Bool(yes) => CstInputValue::Bool(*yes),
        Value::Number(number) => CstInputValue::Number(number.to_string()),
        Value::String(text) => CstInputValue::String(text.clone()),
        Value::Array(items) => CstInputValue::Array(items.iter().map(input).collect()),
        Value::Object(members) => {
            CstInputValue::Object(members.iter().map(|(name, value)| (name.clone(), input(value))).collect())
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn merged(before: &str, set: &Value, remove: &[&[&str]]) -> Result<String, MergeError> {
        Document::parse(before)?.merged(set, remove)
    }

    #[test]
    fn comments_order_and_strange_members_stay() {
        let before = "// mine\n{\n  \"z\": [1, 2.50, 1e3], // as it is\n  /* both */\n  \"env\": { \"A\": \"1\" },\n  \"a\": null,\n}\n";
        let after = merged(before, &json!({ "env": { "B": "2" }, "new": { "x": true } }), &[]).expect("merged");
        for kept in ["// mine", "[1, 2.50, 1e3], // as it is", "/* both */", "\"A\": \"1\"", "\"a\": null"] {
            assert!(after.contains(kept), "{kept}: {after}");
        }
        assert!(after.find("\"z\"") < after.find("\"env\"") && after.find("\"a\"") < after.find("\"new\""), "{after}");
        assert_eq!(merged(&after, &json!({ "env": { "B": "2" }, "new": { "x": true } }), &[]).expect("again"), after);
    }

    #[test]
    fn a_file_without_a_value_gets_one() {
        for before in ["", "\n", "  \n\n", "// nothing yet\n", "{}", "{\n}\n"] {
            let after = merged(before, &json!({ "a": { "b": "c" } }), &[]).expect("merged");
            let read = Document::parse(&after).expect("JSON");
            assert_eq!(read.value(), &json!({ "a": { "b": "c" } }), "{before:?}: {after}");
            assert!(after.ends_with("}\n"), "{after:?}");
            assert_eq!(after.contains("nothing yet"), before.contains("nothing yet"));
        }
    }

    #[test]
    fn what_is_taken_out_is_gone_and_its_neighbours_stay() {
        let before = "{\n  \"env\": {\n    \"OLD\": \"x\", // gone\n    \"KEPT\": \"y\"\n  }\n}\n";
        let after =
            merged(before, &json!({ "n": 1 }), &[&["env", "OLD"], &["no", "such"], &["env", "NONE"]]).expect("merged");
        assert_eq!(Document::parse(&after).expect("JSON").value(), &json!({ "env": { "KEPT": "y" }, "n": 1 }));
    }

    #[test]
    fn what_is_not_json_is_refused_without_quoting_it() {
        for (before, said) in [
            ("{ \"token\": \"sk-secret\"", "line 1"),
            ("{\n  token: \"sk-secret\"\n}", "line 2"),
            ("[\"sk-secret\"]", "an object is wanted"),
            ("{ \"a\": 'sk-secret' }", "line 1"),
            ("{ \"a\": 1 \"b\": \"sk-secret\" }", "line 1"),
            ("{ \"a\": { \"b\": 1, \"b\": \"sk-secret\" } }", "`b` is there twice"),
            ("{ \"a\": 1 } {}", "line 1"),
        ] {
            let error = merged(before, &json!({ "x": 1 }), &[]).expect_err(before).to_string();
            assert!(error.contains(said) && !error.contains("sk-secret"), "{error}");
        }
    }

    #[test]
    fn a_setting_of_another_kind_is_not_overwritten() {
        let error = merged("{ \"a\": { \"env\": \"text\" } }", &json!({ "a": { "env": { "X": "1" } } }), &[])
            .expect_err("a conflict");
        assert!(error.to_string().contains("`a.env`"), "{error}");
        assert_eq!(
            merged("{ \"env\": null }", &json!({ "env": { "X": "1" } }), &[]).map(|text| text.contains("\"X\"")),
            Ok(true)
        );
    }
}
