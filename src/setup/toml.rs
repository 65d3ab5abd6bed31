//! Settings files in TOML.

use serde_json::{Map, Value};
use toml_edit::{DocumentMut, Item, TableLike, value};

use super::{MergeError, laid_over, take_out};

fn invalid(text: &str, error: &toml_edit::TomlError) -> MergeError {
    let line =
        error.span().map_or(1, |span| text.get(..span.start).map_or(1, |before| before.matches('\n').count() + 1));
    // The message can go on with the text of the file.
    let message = error.message().lines().next().unwrap_or_default();
    MergeError::Invalid { format: "TOML", problem: format!("{message} in line {line}") }
}

/// Takes out what is at the paths of `remove`, lays `set` over the rest of the file's text, and returns the text.
pub(super) fn merged(text: &str, set: &Value, remove: &[&[&str]]) -> Result<String, MergeError> {
    let mut document: DocumentMut = text.parse().map_err(|error| invalid(text, &error))?;
    let mut wanted = said(text)?;
    for path in remove {
        take_out(&mut wanted, path);
        out(document.as_table_mut(), path);
    }
    if let Value::Object(members) = set {
        lay(document.as_table_mut(), members, "")?;
    }
    laid_over(&mut wanted, set);
    let mut after = document.to_string();
    if !after.is_empty() && !after.ends_with('\n') {
        after.push('\n');
    }
    if said(&after)? == wanted { Ok(after) } else { Err(MergeError::Unsafe) }
}

/// Returns what a file says.
fn said(text: &str) -> Result<Value, MergeError> {
    let table: ::toml::Table = text.parse().map_err(|_| MergeError::Unsafe)?;
    serde_json::to_value(table).map_err(|_| MergeError::Unsafe)
}

fn out(table: &mut dyn TableLike, path: &[&str]) {
    match path {
        [] => {}
        [last] => {
            table.remove(last);
        }
        [first, rest @ ..] => {
            if let Some(inner) = table.get_mut(first).and_then(Item::as_table_like_mut) {
                out(inner, rest);
            }
        }
    }
}

fn lay(table: &mut dyn TableLike, members: &Map<String, Value>, way: &str) -> Result<(), MergeError> {
    for (name, member) in members {
        match member {
            Value::Object(inner) => {
                let there = table.entry(name).or_insert_with(|| Item::Table(fresh(inner)));
                let Some(there) = there.as_table_like_mut() else {
                    return Err(MergeError::Conflict(format!("`{way}{name}` is there and is not a table")));
                };
                lay(there, inner, &format!("{way}{name}."))?;
            }
            Value::String(text) => put(table, name, text),
            _ => return Err(MergeError::Unsafe),
        }
    }
    Ok(())
}

/// Returns a new table, without a headline of its own where it holds tables alone.
fn fresh(members: &Map<String, Value>) -> toml_edit::Table {
    let mut table = toml_edit::Table::new();
    table.set_implicit(members.values().all(Value::is_object));
    table
}

/// Sets a text; a value that is there keeps the comment behind it.
fn put(table: &mut dyn TableLike, name: &str, text: &str) {
    let there = table.get_mut(name).and_then(Item::as_value_mut);
    match there {
        Some(there) if there.as_str() == Some(text) => {}
        Some(there) => {
            let decor = there.decor().clone();
            *there = text.into();
            *there.decor_mut() = decor;
        }
        None => {
            table.insert(name, value(text));
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn comments_order_and_foreign_tables_stay() {
        let before = "# mine\nmodel = \"old\" # which\napproval_policy = \"never\"\n\n[tui]\nnotifications = true\n\n# servers\n[mcp_servers.x]\ncommand = \"y\"\nargs = [\n  \"a\", # first\n]\n";
        let set = json!({ "model": "new", "model_provider": "p", "model_providers": { "p": { "base_url": "u" } } });
        let after = merged(before, &set, &[]).expect("merged");
        for kept in [
            "# mine\nmodel = \"new\" # which",
            "[tui]\nnotifications = true",
            "# servers\n[mcp_servers.x]",
            "\"a\", # first",
        ] {
            assert!(after.contains(kept), "{kept}: {after}");
        }
        assert!(after.contains("\nmodel_provider = \"p\"\n\n[tui]"), "{after}");
        assert!(
            after.ends_with("[model_providers.p]\nbase_url = \"u\"\n") && !after.contains("[model_providers]\n"),
            "{after}"
        );
        assert_eq!(merged(&after, &set, &[]).as_deref(), Ok(after.as_str()));
    }

    #[test]
    fn tables_in_every_form_are_added_to() {
        let set = json!({ "model_providers": { "p": { "base_url": "u" } } });
        for before in [
            "",
            "# nothing\n",
            "[model_providers.q]\nname = \"q\"\n",
            "model_providers = { q = { name = \"q\" } }\n",
            "model_providers.q.name = \"q\"\n",
            "[model_providers]\nq = { name = \"q\" }\n",
            "[model_providers.p]\nbase_url = \"old\"\nwire_api = \"chat\"\n",
            "x = 1",
        ] {
            let after = merged(before, &set, &[]).unwrap_or_else(|error| panic!("{before:?}: {error}"));
            assert_eq!(merged(&after, &set, &[]).as_deref(), Ok(after.as_str()), "{before:?}");
        }
    }

    #[test]
    fn what_is_not_toml_is_refused_without_quoting_it() {
        for (before, said) in [
            ("a = \"x\"\ntoken = sk-secret\n", "line 2"),
            ("token = \"sk-secret", "line 1"),
            ("a = 1\na = \"sk-secret\"\n", "line 2"),
        ] {
            let error = merged(before, &json!({ "m": "x" }), &[]).expect_err(before).to_string();
            assert!(error.contains(said) && !error.contains("sk-secret") && !error.contains('\n'), "{error}");
        }
        let error = merged("model_providers = 1\n", &json!({ "model_providers": { "p": { "a": "b" } } }), &[])
            .expect_err("a conflict");
        assert!(error.to_string().contains("`model_providers`"), "{error}");
    }

    #[test]
    fn what_is_taken_out_is_gone() {
        let after = merged("[a.b]\nold = \"x\"\nkept = \"y\"\n", &json!({}), &[&["a", "b", "old"], &["no", "such"]])
            .expect("merged");
        assert_eq!(after, "[a.b]\nkept = \"y\"\n");
    }
}
