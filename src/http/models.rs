//! `GET /v1/models` and `GET /v1/models/{id}`, in Anthropic's shape or OpenAI's.
//!
//! Anthropic's list comes in pages where the client asks for them. It may have GPT models under names that begin with
//! `claude-`, too, since Claude Code keeps no others of a list; such names lead to the models whether listed or not.

use std::borrow::Cow;
use std::collections::HashMap;

use actix_web::web::{Data, Path, Query};
use actix_web::{HttpRequest, HttpResponse};
use serde::Serialize;

use crate::account::api::Table;
use crate::domain::catalogue::{CURRENT_MODEL, Catalogue, Entry, Wanted};
use crate::domain::model::{Dialect, ModelName};
use crate::domain::time::Timestamp;
use crate::http::body::printable;
use crate::http::door::Door;
use crate::http::error::ApiError;
use crate::http::guard::client_scope;
use crate::http::{failure, request_id};

/// Largest page. Source: Anthropic's API reference, "List models".
const PAGE_MAX: usize = 1_000;

/// A model as a list has it: the catalogue's, `gitlab-duo`, or one of these by another name.
#[derive(Clone)]
struct Listed<'a> {
    id: Cow<'a, str>,
    display_name: Cow<'a, str>,
    owner: &'static str,
    created: Timestamp,
    input_tokens: u32,
    output_tokens: u32,
}

/// Anthropic's shape. `lifecycle` and the token limits came with API version 2026-10-21; older clients ignore them.
/// Source: response types of the anthropic SDK 2.12.
#[derive(Serialize)]
struct AnthropicModel<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    id: &'a str,
    display_name: &'a str,
    created_at: String,
    lifecycle: &'static str,
    max_input_tokens: u32,
    max_tokens: u32,
}

#[derive(Serialize)]
struct AnthropicPage<'a> {
    data: Vec<AnthropicModel<'a>>,
    has_more: bool,
    first_id: Option<&'a str>,
    last_id: Option<&'a str>,
}

/// OpenAI's shape.
#[derive(Serialize)]
struct OpenAiModel<'a> {
    id: &'a str,
    object: &'static str,
    created: u64,
    owned_by: &'static str,
}

#[derive(Serialize)]
struct OpenAiList<'a> {
    object: &'static str,
    data: Vec<OpenAiModel<'a>>,
}

/// Lists `gitlab-duo`, every model of the catalogue that some account's gateway supports, and the operator's names.
pub(crate) async fn list(request: HttpRequest, door: Data<Door>) -> HttpResponse {
    if let Err(error) = client_scope(&door, request.headers()) {
        return failure(&request, &door, &error);
    }
    let table = door.parts.published.load();
    let listed = all(&door, &table, wants_anthropic(&request));
    if !wants_anthropic(&request) {
        let data = listed.iter().map(Listed::openai).collect();
        return HttpResponse::Ok().json(OpenAiList { object: "list", data });
    }
    let (page, has_more) = match page(&listed, request.query_string()) {
        Ok(page) => page,
        Err(error) => return error.reply(Dialect::Messages, &request_id(&request, &door), door.now()),
    };
    let ends = (page.first().map(|model| &*model.id), page.last().map(|model| &*model.id));
    let data = page.iter().map(Listed::anthropic).collect();
    HttpResponse::Ok().json(AnthropicPage { data, has_more, first_id: ends.0, last_id: ends.1 })
}

/// Describes one model, asked for by any of its names.
pub(crate) async fn one(request: HttpRequest, id: Path<String>, door: Data<Door>) -> HttpResponse {
    if let Err(error) = client_scope(&door, request.headers()) {
        return failure(&request, &door, &error);
    }
    let name = match door.parts.catalogue.resolve(&id) {
        Some(Wanted::Current) => CURRENT_MODEL.to_owned(),
        Some(Wanted::Known(name)) => name.to_string(),
        Some(Wanted::Guess { .. }) | None => String::new(),
    };
    let table = door.parts.published.load();
    let listed = all(&door, &table, wants_anthropic(&request));
    // What is listed is described under the very name.
    let found = listed.iter().find(|model| model.id == *id).or_else(|| listed.iter().find(|model| model.id == name));
    match found {
        Some(model) if wants_anthropic(&request) => HttpResponse::Ok().json(model.anthropic()),
        Some(model) => HttpResponse::Ok().json(model.openai()),
        None => {
            let message = format!("there is no model `{}`; GET /v1/models lists those there are", printable(&id));
            let error = ApiError::NotFound { message };
            let dialect = if wants_anthropic(&request) { Dialect::Messages } else { Dialect::ChatCompletions };
            error.reply(dialect, &request_id(&request, &door), door.now())
        }
    }
}

/// Returns everything that is listed, in Anthropic's shape or OpenAI's.
fn all<'a>(door: &'a Door, table: &'a Table, anthropic: bool) -> Vec<Listed<'a>> {
    let catalogue = &door.parts.catalogue;
    let now = door.now();
    let current = catalogue.entry(catalogue.default_model()).map(|entry| Listed {
        id: CURRENT_MODEL.into(),
        display_name: "GitLab Duo (the account's current model)".into(),
        owner: "gitlab",
        ..Listed::of(entry)
    });
    let known: Vec<_> = catalogue.entries().filter(|entry| is_supported(table, &entry.name, now)).collect();
    let given = catalogue.given_names().filter_map(|(name, wanted)| {
        let model = match wanted {
            Wanted::Current => current.clone(),
            Wanted::Known(model) => known.iter().find(|entry| entry.name == *model).map(|entry| Listed::of(entry)),
            // Nothing is known of it that could be listed.
            Wanted::Guess { .. } => None,
        }?;
        // An alias of the catalogue that an operator leads elsewhere is as little listed as other aliases.
        let is_new = catalogue.entries().all(|entry| entry.aliases.iter().all(|alias| alias != name));
        is_new.then(|| Listed {
            id: name.into(),
            display_name: format!("{name} ({})", model.display_name).into(),
            ..model
        })
    });
    let mut listed: Vec<_> = current.iter().cloned().chain(known.iter().map(|entry| Listed::of(entry))).collect();
    listed.extend(given);
    if anthropic && door.settings().list_as_claude {
        listed.extend(current.map(|current| Listed { id: Catalogue::current_as_claude().into(), ..current }));
        let foreign = known.iter().filter_map(|entry| Some((Catalogue::name_as_claude(entry)?, Listed::of(entry))));
        listed.extend(foreign.map(|(id, model)| Listed { id: id.into(), ..model }));
    }
    listed
}

/// Takes the part of a list that `query` asks for by `limit`, `after_id` and `before_id`, and whether there is more in
/// that direction. All of it where no limit is set: our list is short, and not every client turns pages.
fn page<'a, 'b>(listed: &'a [Listed<'b>], query: &str) -> Result<(&'a [Listed<'b>], bool), ApiError> {
    let query = Query::<HashMap<String, String>>::from_query(query).map(Query::into_inner).unwrap_or_default();
    let place = |name: &str| {
        let Some(id) = query.get(name) else { return Ok(None) };
        listed.iter().position(|model| model.id == **id).map(Some).ok_or_else(|| ApiError::BadRequest {
            message: format!("`{name}` is `{}`, which is not in the list of models", printable(id)),
            param: Some(name.to_owned()),
        })
    };
    let (after, before) = (place("after_id")?, place("before_id")?);
    let limit = query.get("limit").and_then(|limit| limit.parse::<usize>().ok());
    let limit = limit.map_or(listed.len(), |limit| limit.clamp(1, PAGE_MAX));
    let rest = listed.get(after.map_or(0, |at| at + 1)..before.unwrap_or(listed.len())).unwrap_or_default();
    let skipped = if before.is_some() && after.is_none() { rest.len().saturating_sub(limit) } else { 0 };
    Ok((&rest[skipped..rest.len().min(skipped + limit)], rest.len() > limit))
}

/// Returns whether some account's gateway may support `model`; without accounts there is nobody to say no.
fn is_supported(table: &Table, model: &ModelName, now: Timestamp) -> bool {
    if table.refused.is_empty() || table.accounts.is_empty() {
        return true;
    }
    table
        .accounts
        .iter()
        .any(|account| account.grant.as_ref().is_none_or(|grant| !table.refused.contains(&grant.gateway, model, now)))
}

fn wants_anthropic(request: &HttpRequest) -> bool {
    request.headers().contains_key("anthropic-version")
}

impl<'a> Listed<'a> {
    fn of(entry: &'a Entry) -> Self {
        Self {
            id: entry.name.as_str().into(),
            display_name: entry.display_name.as_str().into(),
            owner: entry.provider.as_str(),
            created: entry.created(),
            input_tokens: entry.context_tokens,
            output_tokens: entry.output_tokens,
        }
    }

    fn anthropic(&self) -> AnthropicModel<'_> {
        AnthropicModel {
            kind: "model",
            id: &self.id,
            display_name: &self.display_name,
            created_at: self.created.to_string(),
            lifecycle: "active",
            max_input_tokens: self.input_tokens,
            max_tokens: self.output_tokens,
        }
    }

    fn openai(&self) -> OpenAiModel<'_> {
        OpenAiModel { id: &self.id, object: "model", created: self.created.as_secs(), owned_by: self.owner }
    }
}
