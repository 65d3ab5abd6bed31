//! GitLab's GraphQL, as far as finding models needs it.
//!
//! A query is answered with exactly the fields that it selects, and one that GitLab's schema does not have is refused
//! as GitLab refuses it. Fragments, directives and mutations are not understood.

use std::iter::Peekable;
use std::vec::IntoIter;

use serde_json::{Map, Value, json};

use crate::domain::time::Timestamp;
use crate::simulator::account::{ChatModel, Entitlement, SimulatedAccount};
use crate::simulator::answer::Answer;
use crate::simulator::bearer;
use crate::simulator::json;
use crate::simulator::server::Asked;
use crate::simulator::state::State;

/// Selection sets inside one another; GitLab's own limit on depth is in this region.
const DEPTH_MAX: usize = 20;
const NO_PERMISSION: &str =
    "The resource that you are attempting to access does not exist or you don't have permission to perform this action";

/// Answers a query.
pub(crate) fn answer(state: &mut State, asked: &Asked<'_>, now: Timestamp) -> Result<Answer, Answer> {
    let invalid_token = || Answer::json(401, &json!({ "errors": [{ "message": "Invalid token" }] }));
    // Without a token the public part of the schema answers.
    let mut account = None;
    if asked.credential().is_some() {
        // A limit is told in its own words.
        let told = |refusal: Answer| if refusal.status == 401 { invalid_token() } else { refusal };
        let bearer = bearer::authenticate(state, asked, now).map_err(told)?;
        if !bearer.may(&["api", "read_api"]) {
            return Err(invalid_token());
        }
        account = Some(&state.accounts[bearer.account]);
    }
    let body: Value = serde_json::from_slice(asked.body).unwrap_or_default();
    let Some(selected) = json::text(&body, "query").and_then(parse) else {
        return Ok(errors(&["Parse error on the query"]));
    };
    let names_models = selected.iter().any(|field| field.name == "aiChatAvailableModels");
    let own = account.map(|account| format!("gid://gitlab/Group/{}", account.namespace_id));
    let asked_for = argument(&body, "rootNamespaceId");
    if names_models && (own.is_none() || asked_for != own.as_deref()) {
        let refusal = json!({ "message": NO_PERMISSION, "path": ["aiChatAvailableModels"] });
        return Ok(Answer::json(200, &json!({ "data": { "aiChatAvailableModels": null }, "errors": [refusal] })));
    }
    let mut problems = Vec::new();
    let data = project(&everything(state, account), &selected, "Query", &mut problems);
    if problems.is_empty() {
        return Ok(Answer::json(200, &json!({ "data": data })));
    }
    Ok(errors(&problems.iter().map(String::as_str).collect::<Vec<_>>()))
}

/// Returns the value of an argument that the query takes from a variable, whatever the variable is called.
fn argument<'a>(body: &'a Value, name: &str) -> Option<&'a str> {
    let colon = format!("{name}:");
    // A variable of the same name has its type behind the colon.
    let mut values = json::text(body, "query")?.split(colon.as_str()).skip(1).map(str::trim_start);
    let variable = values.find_map(|rest| rest.strip_prefix('$'))?;
    let end = variable.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(variable.len());
    json::text(body.get("variables")?, &variable[..end])
}

fn errors(messages: &[&str]) -> Answer {
    let errors: Vec<Value> = messages.iter().map(|message| json!({ "message": message })).collect();
    Answer::json(200, &json!({ "errors": errors }))
}

/// Returns all that can be selected from.
fn everything(state: &State, account: Option<&SimulatedAccount>) -> Value {
    let model = |model: &ChatModel| {
        json!({
            "name": model.name,
            "ref": model.reference,
            "modelProvider": if model.reference.starts_with("gpt") { "OpenAI" } else { "Anthropic" },
            "modelDescription": "A simulated model.",
            "costIndicator": "$$",
        })
    };
    let models = account.map_or(json!({}), |account| {
        let models = &account.standing.models;
        json!({
            "defaultModel": models.default.as_ref().map(model),
            "selectableModels": models.selectable.iter().map(model).collect::<Vec<_>>(),
            "pinnedModel": models.pinned.as_ref().map(model),
        })
    });
    json!({
        "metadata": {
            "version": state.instance.version,
            "revision": "0000000",
            "enterprise": true,
            "featureFlags": [{ "name": "ai_user_model_switching", "enabled": true }],
        },
        "currentUser": account.map(current_user),
        "aiChatAvailableModels": models,
    })
}

fn current_user(account: &SimulatedAccount) -> Value {
    let id = account.namespace_id;
    let chosen = account.standing.entitlement != Entitlement::MissingNamespace;
    let namespace = json!({
        "id": format!("gid://gitlab/Group/{id}"),
        "fullName": format!("Group {id}"),
        "fullPath": format!("group-{id}"),
    });
    json!({
        "id": format!("gid://gitlab/User/{}", account.user_id),
        "username": account.username,
        "name": account.username,
        "userPreferences": { "duoDefaultNamespace": chosen.then_some(namespace) },
    })
}

/// One selected field.
#[derive(Debug, PartialEq)]
struct Field {
    alias: String,
    name: String,
    fields: Vec<Field>,
}

#[derive(Debug, PartialEq)]
enum Token {
    Open,
    Close,
    Colon,
    Name(String),
}

/// Returns the selection set of a query, `None` where it is not one.
fn parse(query: &str) -> Option<Vec<Field>> {
    let start = query.find('{')?;
    let heading = query[..start].trim_start();
    if !(heading.is_empty() || heading.starts_with("query")) {
        return None;
    }
    let mut tokens = tokens(&query[start..])?.into_iter().peekable();
    let fields = selection(&mut tokens, 0)?;
    tokens.next().is_none().then_some(fields)
}

fn tokens(text: &str) -> Option<Vec<Token>> {
    let mut tokens = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let mut length = first.len_utf8();
        match first {
            '{' => tokens.push(Token::Open),
            '}' => tokens.push(Token::Close),
            ':' => tokens.push(Token::Colon),
            // Arguments: none that is known here has a parenthesis in it.
            '(' => length = rest.find(')')? + 1,
            _ if first.is_whitespace() || first == ',' => {}
            _ if first.is_ascii_alphanumeric() || first == '_' => {
                length = rest.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(rest.len());
                tokens.push(Token::Name(rest[..length].to_owned()));
            }
            _ => return None,
        }
        rest = &rest[length..];
    }
    Some(tokens)
}

fn selection(tokens: &mut Peekable<IntoIter<Token>>, depth: usize) -> Option<Vec<Field>> {
    if depth > DEPTH_MAX || tokens.next()? != Token::Open {
        return None;
    }
    let mut fields = Vec::new();
    loop {
        let alias = match tokens.next()? {
            Token::Close if !fields.is_empty() => return Some(fields),
            Token::Name(name) => name,
            _ => return None,
        };
        let mut name = alias.clone();
        if tokens.next_if_eq(&Token::Colon).is_some() {
            let Token::Name(real) = tokens.next()? else { return None };
            name = real;
        }
        let nested = if tokens.peek() == Some(&Token::Open) { selection(tokens, depth + 1)? } else { Vec::new() };
        fields.push(Field { alias, name, fields: nested });
    }
}

/// Returns of `value` what `fields` select.
fn project(value: &Value, fields: &[Field], type_name: &str, problems: &mut Vec<String>) -> Value {
    match value {
        Value::Array(list) => list.iter().map(|value| project(value, fields, type_name, problems)).collect(),
        Value::Object(map) if fields.is_empty() && !map.is_empty() => {
            problems.push(format!("Field must have selections (field '{type_name}' returns an object)"));
            Value::Null
        }
        Value::Object(map) => {
            let mut picked = Map::new();
            for field in fields {
                match map.get(&field.name) {
                    Some(value) => {
                        picked.insert(field.alias.clone(), project(value, &field.fields, &field.name, problems));
                    }
                    None => problems.push(format!("Field '{}' doesn't exist on type '{type_name}'", field.name)),
                }
            }
            Value::Object(picked)
        }
        scalar => scalar.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_selects_nested_fields_under_their_aliases() {
        let query = "query($id: GroupID!) { metadata { v: version } models(id: $id) { defaultModel { name ref } } }";
        let data = json!({
            "metadata": { "version": "19.0", "revision": "1" },
            "models": { "defaultModel": null, "pinnedModel": null },
        });
        let mut problems = Vec::new();
        let picked = project(&data, &parse(query).unwrap(), "Query", &mut problems);
        assert_eq!(picked, json!({ "metadata": { "v": "19.0" }, "models": { "defaultModel": null } }));
        assert_eq!(problems, Vec::<String>::new());
    }

    #[test]
    fn a_field_that_the_schema_does_not_have_is_named() {
        let mut problems = Vec::new();
        project(
            &json!({ "metadata": { "version": "1" } }),
            &parse("{ metadata { age } }").unwrap(),
            "Query",
            &mut problems,
        );
        assert_eq!(problems, ["Field 'age' doesn't exist on type 'metadata'"]);
    }

    #[test]
    fn what_is_no_query_is_not_parsed() {
        for bad in ["", "{", "{ }", "mutation { a }", "{ a { b }", "{ a } }", "{ ...F }"] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }
}
