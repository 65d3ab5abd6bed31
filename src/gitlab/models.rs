//! Which models GitLab offers an account, by GraphQL.
//!
//! The answers are GitLab identifiers (`claude_sonnet_4_6`), not names that the gateway's proxies accept; the
//! catalogue maps them. They inform `gitlab-duo` and what people are shown; they never stop a request, since the
//! proxies check only their own list.

use serde::Deserialize;

use crate::gitlab::error::{Call, CallError, not_the_api};
use crate::gitlab::rest::Session;

const PATH: &str = "/api/graphql";
const NAMESPACE_QUERY: &str = "query { currentUser { userPreferences { duoDefaultNamespace { id } } } }";
const MODELS_QUERY: &str = "query($rootNamespaceId: GroupID!) { aiChatAvailableModels(rootNamespaceId: $rootNamespaceId) \
     { defaultModel { name ref } selectableModels { name ref } pinnedModel { name ref } } }";
/// More models than GitLab offers (about 30), and a bound for a hostile reply.
const SELECTABLE_MAX: usize = 200;

/// GitLab identifiers of the models that one account may use.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Available {
    /// Chosen for everybody by an administrator.
    pub(crate) pinned: Option<String>,
    /// GitLab's default.
    pub(crate) default: Option<String>,
    /// What a user may choose from.
    pub(crate) selectable: Vec<String>,
}

#[derive(Deserialize)]
struct Reply<T> {
    data: Option<T>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct NamespaceData {
    current_user: Option<CurrentUser>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct CurrentUser {
    user_preferences: Option<Preferences>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Preferences {
    duo_default_namespace: Option<Namespace>,
}

#[derive(Deserialize)]
struct Namespace {
    id: String,
}

#[derive(Deserialize)]
struct Group {
    id: u64,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ModelsData {
    ai_chat_available_models: Option<Models>,
}

#[derive(Deserialize)]
struct Models {
    #[serde(rename = "defaultModel")]
    default: Option<Model>,
    #[serde(default, rename = "selectableModels")]
    selectable: Vec<Model>,
    #[serde(rename = "pinnedModel")]
    pinned: Option<Model>,
}

#[derive(Deserialize)]
struct Model {
    #[serde(rename = "ref")]
    reference: String,
}

/// Asks which models the owner of `session`'s token may use.
///
/// `root_namespace_id` is the one that the account's grant is bound to, if known; else the user's default Duo
/// namespace is asked for, and failing that (before 18.10) any top-level group.
pub(crate) async fn discover(session: Session<'_>, root_namespace_id: Option<&str>) -> Result<Available, CallError> {
    let root = match root_namespace_id {
        Some(id) => format!("gid://gitlab/Group/{id}"),
        None => root_namespace(session).await?,
    };
    let question = serde_json::json!({ "query": MODELS_QUERY, "variables": { "rootNamespaceId": root } }).to_string();
    let reply: Reply<ModelsData> = session.post(Call::Models, PATH, question).await?;
    let models = reply.data.and_then(|data| data.ai_chat_available_models).ok_or_else(nothing)?;
    Ok(Available {
        pinned: models.pinned.map(|model| model.reference),
        default: models.default.map(|model| model.reference),
        selectable: models.selectable.into_iter().take(SELECTABLE_MAX).map(|model| model.reference).collect(),
    })
}

async fn root_namespace(session: Session<'_>) -> Result<String, CallError> {
    let question = serde_json::json!({ "query": NAMESPACE_QUERY }).to_string();
    let reply: Result<Reply<NamespaceData>, _> = session.post(Call::Models, PATH, question).await;
    let preferred = reply.ok().and_then(|reply| {
        let preferences = reply.data?.current_user?.user_preferences?;
        Some(preferences.duo_default_namespace?.id)
    });
    if let Some(id) = preferred {
        return Ok(id);
    }
    let groups: Vec<Group> = session.get(Call::Models, "/api/v4/groups?top_level_only=true&per_page=1").await?;
    groups.first().map(|group| format!("gid://gitlab/Group/{}", group.id)).ok_or_else(nothing)
}

/// A GraphQL answer without data: the field is missing, or the user may not see it.
fn nothing() -> CallError {
    not_the_api(Call::Models)
}
