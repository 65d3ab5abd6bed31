//! Values that satisfy a JSON schema: arguments for tools and answers in a demanded form.

use serde_json::{Map, Value, json};

use crate::simulator::json;

/// Levels of a schema that are filled in; a recursive one ends here.
const DEPTH_MAX: usize = 12;
/// Characters of the prompt that a string mentions.
const MENTION_CHARS_MAX: usize = 60;
/// Where a simulated model writes if the prompt names no file of its kind.
const FILE: &str = "/tmp/duopool-demo.txt";
/// How the name of a file must begin for a simulated model to write to it: it takes any prompt that names a file for an
/// order to write there, and so must never touch a file that is somebody's own.
const FILE_PREFIX: &str = "duopool-";

/// Properties that are filled in even where the schema does not require them, since a tool is of no use without.
const USEFUL: [&str; 8] = ["file_path", "filePath", "path", "content", "command", "cmd", "input", "query"];

/// Returns an object that satisfies `schema`: arguments for the tool `name`.
pub(crate) fn arguments(schema: &Value, name: &str, prompt: &str) -> Map<String, Value> {
    match (Builder { root: schema, name, prompt }).value(schema, "", 0) {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}

/// Returns a value that satisfies `schema`.
pub(crate) fn value(schema: &Value, prompt: &str) -> Value {
    Builder { root: schema, name: "", prompt }.value(schema, "", 0)
}

/// Returns the raw input of a custom tool.
pub(crate) fn raw_input(name: &str, prompt: &str) -> String {
    let mention = mention(prompt);
    if name.contains("patch") {
        let file = named_file(prompt).unwrap_or("duopool-demo.txt");
        return format!("*** Begin Patch\n*** Add File: {file}\n+{mention}\n*** End Patch\n");
    }
    format!("// {mention}\n")
}

/// Returns the file that a prompt names with its content, where the prompt asks for files in the form of a listing, as
/// editors do that offer no tools: the name, and the content between fences. Source: aider 0.86, edit format `whole`.
pub(crate) fn listing(prompt: &str) -> Option<String> {
    if !prompt.contains("*file listing* format") {
        return None;
    }
    let file = named_file(prompt)?;
    Some(format!("{file}\n```\n{}```\n", content(&mention(prompt))))
}

fn content(mention: &str) -> String {
    format!("Written by a simulated model: {mention}\n")
}

fn mention(prompt: &str) -> String {
    let line = prompt.split_whitespace().collect::<Vec<_>>().join(" ");
    json::beginning(&line, MENTION_CHARS_MAX).to_owned()
}

/// Returns the file that a prompt names and a simulated model may write to.
fn named_file(prompt: &str) -> Option<&str> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '.' | '_' | '-');
    let paths = prompt.split(|c| !is_plain(c)).map(|path| path.trim_end_matches('.'));
    paths.filter(|path| !path.contains("..")).find(|path| {
        let name = path.rsplit('/').next().unwrap_or_default();
        name.len() > FILE_PREFIX.len() && name.starts_with(FILE_PREFIX)
    })
}

/// Returns a command that says hello, into the file that the prompt names if it names one.
fn command(prompt: &str) -> String {
    const HELLO: &str = "echo 'hello from the simulator'";
    named_file(prompt).map_or_else(|| HELLO.to_owned(), |file| format!("{HELLO} > {file}"))
}

struct Builder<'a> {
    root: &'a Value,
    name: &'a str,
    prompt: &'a str,
}

impl Builder<'_> {
    fn value(&self, schema: &Value, property: &str, depth: usize) -> Value {
        if depth > DEPTH_MAX {
            return Value::Null;
        }
        if let Some(fixed) = schema.get("const").or_else(|| json::list(schema, "enum").first()) {
            return fixed.clone();
        }
        if let Some(target) = json::text(schema, "$ref").and_then(|path| self.root.pointer(path.strip_prefix('#')?)) {
            return self.value(target, property, depth + 1);
        }
        for choice in ["anyOf", "oneOf", "allOf"] {
            if let Some(first) = json::list(schema, choice).iter().find(|schema| json::kind(schema) != "null") {
                return self.value(first, property, depth + 1);
            }
        }
        match kind_of(schema) {
            "object" => self.object(schema, depth),
            "array" => self.array(schema, property, depth),
            "integer" | "number" => json!(lowest(schema)),
            "boolean" => json!(false),
            "null" => Value::Null,
            _ => Value::String(self.string(schema, property)),
        }
    }

    fn object(&self, schema: &Value, depth: usize) -> Value {
        let Some(properties) = schema.get("properties").and_then(Value::as_object) else { return json!({}) };
        let required = json::list(schema, "required");
        let wanted =
            |name: &str| required.iter().any(|required| required == name) || depth == 0 && USEFUL.contains(&name);
        let filled = properties.iter().filter(|(name, _)| wanted(name));
        Value::Object(filled.map(|(name, schema)| (name.clone(), self.value(schema, name, depth + 1))).collect())
    }

    fn array(&self, schema: &Value, property: &str, depth: usize) -> Value {
        if matches!(property, "command" | "cmd") {
            return json!(["echo", "hello from the simulator"]);
        }
        let items = schema.get("items").cloned().unwrap_or_default();
        let count = schema.get("minItems").and_then(Value::as_u64).unwrap_or(1).clamp(1, 8);
        (0..count).map(|_| self.value(&items, property, depth + 1)).collect()
    }

    fn string(&self, schema: &Value, property: &str) -> String {
        let mention = mention(self.prompt);
        let text = match property {
            "file_path" | "filePath" | "path" | "filename" => named_file(self.prompt).unwrap_or(FILE).to_owned(),
            "command" | "cmd" => command(self.prompt),
            "content" => content(&mention),
            "url" | "uri" => "https://example.com/".to_owned(),
            "input" | "patch" | "patchText" => raw_input(self.name, self.prompt),
            _ if json::text(schema, "format") == Some("date") => "2026-01-05".to_owned(),
            _ if json::text(schema, "format") == Some("date-time") => "2026-01-05T09:00:00Z".to_owned(),
            _ => mention,
        };
        let length = |key: &str| schema.get(key).and_then(Value::as_u64).and_then(|n| usize::try_from(n).ok());
        let mut text = json::beginning(&text, length("maxLength").unwrap_or(usize::MAX)).to_owned();
        let short_by = length("minLength").unwrap_or(0).min(10_000).saturating_sub(text.chars().count());
        text.extend(std::iter::repeat_n('x', short_by));
        text
    }
}

/// Returns the (first real) type of a schema; one that tells none but has properties is an object's.
fn kind_of(schema: &Value) -> &str {
    match schema.get("type") {
        Some(Value::String(kind)) => kind,
        Some(Value::Array(kinds)) => {
            kinds.iter().filter_map(Value::as_str).find(|kind| *kind != "null").unwrap_or("null")
        }
        _ if schema.get("properties").is_some() => "object",
        _ => "string",
    }
}

/// Returns the lowest positive integer that the schema allows, or its maximum.
fn lowest(schema: &Value) -> i64 {
    let bound = |key: &str| schema.get(key).and_then(Value::as_i64);
    let minimum = bound("minimum").or(bound("exclusiveMinimum").map(|above| above.saturating_add(1))).unwrap_or(1);
    bound("maximum").map_or(minimum, |maximum| minimum.min(maximum))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn required_properties_get_values_of_their_types() {
        let schema = json!({
            "type": "object",
            "$defs": { "colour": { "enum": ["red", "blue"] } },
            "properties": {
                "colour": { "$ref": "#/$defs/colour" },
                "count": { "type": "integer", "minimum": 3 },
                "tags": { "type": "array", "items": { "type": "string", "maxLength": 4 }, "minItems": 2 },
                "deep": { "anyOf": [{ "type": "null" }, { "type": "object", "properties": { "on": { "type": "boolean" } }, "required": ["on"] }] },
                "not_needed": { "type": "string" },
            },
            "required": ["colour", "count", "tags", "deep"],
        });
        let made = Value::Object(arguments(&schema, "paint", "paint the  house"));
        let wanted = json!({ "colour": "red", "count": 3, "tags": ["pain", "pain"], "deep": { "on": false } });
        assert_eq!(made, wanted);
    }

    #[test]
    fn tools_that_write_or_run_get_something_harmless() {
        let schema = json!({ "type": "object", "properties": { "file_path": {}, "content": {}, "command": {} } });
        let made = Value::Object(arguments(&schema, "Write", "write a file"));
        assert_eq!(made["file_path"], FILE);
        assert_eq!(made["command"], "echo 'hello from the simulator'");
        assert_eq!(made["content"], "Written by a simulated model: write a file\n");
    }

    #[test]
    fn a_file_that_the_prompt_names_is_written_if_it_is_of_ours() {
        let schema = json!({ "type": "object", "properties": { "path": {}, "cmd": {} } });
        let made = |prompt: &str| {
            let made = arguments(&schema, "Write", prompt);
            (made["path"].clone(), made["cmd"].clone())
        };
        let ours =
            (json!("/home/ada/duopool-x.txt"), json!("echo 'hello from the simulator' > /home/ada/duopool-x.txt"));
        assert_eq!(made("write the file `/home/ada/duopool-x.txt`."), ours);
        let own = (json!(FILE), json!("echo 'hello from the simulator'"));
        for foreign in ["/etc/passwd", "duopool-", "/srv/duopool-data/key", "/srv/../duopool-x", "duopool.toml"] {
            assert_eq!(made(&format!("write the file {foreign}")), own, "{foreign}");
        }
        assert!(raw_input("apply_patch", "patch duopool-y.txt").contains("*** Add File: duopool-y.txt\n"));
    }

    #[test]
    fn a_prompt_that_asks_for_a_listing_gets_one() {
        let asks = "Write duopool-z.txt in the *file listing* format";
        let wanted = format!("duopool-z.txt\n```\nWritten by a simulated model: {asks}\n```\n");
        assert_eq!(listing(asks), Some(wanted));
        assert_eq!(listing("Write duopool-z.txt"), None);
        assert_eq!(listing("Write /etc/passwd in the *file listing* format"), None);
    }

    #[test]
    fn a_schema_that_contains_itself_comes_to_an_end() {
        let schema = json!({ "type": "object", "properties": { "me": { "$ref": "#" } }, "required": ["me"] });
        assert!(value(&schema, "x").is_object());
    }
}
