//! `/admin/v1/models`: the catalogue, and who offers what.

use std::collections::BTreeMap;

use actix_web::HttpResponse;
use actix_web::web::Data;
use futures::future::join_all;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::account::api::Describe;
use crate::account::registry::All;
use crate::domain::catalogue::Wanted;
use crate::domain::model::ModelName;
use crate::http::door::Door;

/// One model of the catalogue.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct ModelView {
    /// The exact name.
    pub(crate) name: String,
    /// Who makes it.
    pub(crate) provider: String,
    /// Routes that serve it.
    pub(crate) dialects: Vec<String>,
    /// Longest input and output together, in tokens.
    pub(crate) context_tokens: u32,
    /// Longest output, in tokens.
    pub(crate) output_tokens: u32,
    /// Other names that lead to it.
    pub(crate) aliases: Vec<String>,
    /// Whether GitLab has announced its removal.
    pub(crate) deprecated: bool,
    /// Accounts to which GitLab's own list offers it. Informative: the gateway's proxies have a list of their own.
    pub(crate) offered_to: Vec<String>,
    /// Accounts for which `gitlab-duo` means it.
    pub(crate) current_of: Vec<String>,
}

/// The catalogue.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct ModelList {
    /// Newest first inside each family.
    pub(crate) models: Vec<ModelView>,
}

/// Lists the catalogue.
#[utoipa::path(get, path = "/admin/v1/models", responses((status = 200, body = ModelList)))]
pub(crate) async fn models(door: Data<Door>) -> HttpResponse {
    let addresses = door.parts.registry.send(All).await.unwrap_or_default();
    let views = join_all(addresses.iter().map(|address| address.send(Describe))).await;
    let mut offered: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut current: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for view in views.into_iter().filter_map(Result::ok) {
        for model in view.models {
            offered.entry(model).or_default().push(view.id.clone());
        }
        current.entry(view.current_model).or_default().push(view.id);
    }
    let given = |model: &ModelName| -> Vec<&str> {
        let wanted = Wanted::Known(model.clone());
        door.parts.catalogue.given_names().filter(|(_, leads)| **leads == wanted).map(|(name, _)| name).collect()
    };
    let models = door.parts.catalogue.entries().map(|entry| ModelView {
        name: entry.name.to_string(),
        provider: entry.provider.as_str().to_owned(),
        dialects: entry.dialects.iter().map(ToString::to_string).collect(),
        context_tokens: entry.context_tokens,
        output_tokens: entry.output_tokens,
        aliases: entry.aliases.iter().map(String::as_str).chain(given(&entry.name)).map(str::to_owned).collect(),
        deprecated: entry.deprecated,
        offered_to: offered.remove(entry.name.as_str()).unwrap_or_default(),
        current_of: current.remove(entry.name.as_str()).unwrap_or_default(),
    });
    HttpResponse::Ok().json(ModelList { models: models.collect() })
}
