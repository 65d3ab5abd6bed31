//! `GET /v1/models` and `GET /v1/models/{id}`, in Anthropic's shape or OpenAI's.

use actix_web::web::{Data, Path};
use actix_web::{HttpRequest, HttpResponse};
use serde::Serialize;

use crate::account::api::Table;
use crate::domain::catalogue::{CURRENT_MODEL, Entry, Wanted};
use crate::domain::model::{Dialect, ModelName};
use crate::domain::time::Timestamp;
use crate::http::body::printable;
use crate::http::door::Door;
use crate::http::error::ApiError;
use crate::http::guard::client_scope;
use crate::http::{failure, request_id};

/// A model as a list has it: the catalogue's, or `gitlab-duo`.
struct Listed<'a> {
    id: &'a str,
    display_name: &'a str,
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

/// Lists `gitlab-duo` and every model of the catalogue that some account's gateway supports.
pub(crate) async fn list(request: HttpRequest, door: Data<Door>) -> HttpResponse {
    if let Err(error) = client_scope(&door, request.headers()) {
        return failure(&request, &door, &error);
    }
    let table = door.parts.published.load();
    let listed: Vec<_> = all(&door, &table).collect();
    if !wants_anthropic(&request) {
        let data = listed.iter().map(Listed::openai).collect();
        return HttpResponse::Ok().json(OpenAiList { object: "list", data });
    }
    let ends = (listed.first().map(|model| model.id), listed.last().map(|model| model.id));
    let data = listed.iter().map(Listed::anthropic).collect();
    HttpResponse::Ok().json(AnthropicPage { data, has_more: false, first_id: ends.0, last_id: ends.1 })
}

/// Describes one model, asked for by its name or an alias.
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
    let found = all(&door, &table).find(|model| model.id == name);
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

fn all<'a>(door: &'a Door, table: &'a Table) -> impl Iterator<Item = Listed<'a>> {
    let catalogue = &door.parts.catalogue;
    let now = door.now();
    let current = catalogue.entry(catalogue.default_model()).map(|entry| Listed {
        id: CURRENT_MODEL,
        display_name: "GitLab Duo (the account's current model)",
        owner: "gitlab",
        ..Listed::of(entry)
    });
    let known = catalogue.entries().filter(move |entry| is_supported(table, &entry.name, now)).map(Listed::of);
    current.into_iter().chain(known)
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
            id: entry.name.as_str(),
            display_name: &entry.display_name,
            owner: entry.provider.as_str(),
            created: entry.created(),
            input_tokens: entry.context_tokens,
            output_tokens: entry.output_tokens,
        }
    }

    fn anthropic(&self) -> AnthropicModel<'a> {
        AnthropicModel {
            kind: "model",
            id: self.id,
            display_name: self.display_name,
            created_at: self.created.to_string(),
            lifecycle: "active",
            max_input_tokens: self.input_tokens,
            max_tokens: self.output_tokens,
        }
    }

    fn openai(&self) -> OpenAiModel<'a> {
        OpenAiModel { id: self.id, object: "model", created: self.created.as_secs(), owned_by: self.owner }
    }
}
