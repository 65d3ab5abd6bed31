//! The users of the simulated GitLab, and all that can be changed about them while it runs.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::domain::secret::Secret;

/// One user with a personal access token and GitLab Duo.
#[derive(Clone, Debug)]
pub struct SimulatedAccount {
    /// Login name, by which the control functions name the account.
    pub username: String,
    /// Numeric id, what really identifies a user.
    pub user_id: u64,
    /// The personal access token.
    pub token: Secret<String>,
    /// Default Duo namespace, a top-level group; accounts of one namespace share its commitment credits at GitLab.
    pub namespace_id: u64,
    /// What can be changed at run time.
    pub standing: Standing,
}

impl SimulatedAccount {
    /// Returns a user in good standing in a namespace of their own, whose id is 1000 more than the user's.
    pub fn new(username: &str, user_id: u64, token: &str) -> Self {
        Self {
            username: username.to_owned(),
            user_id,
            token: Secret::new(token.to_owned()),
            namespace_id: user_id.saturating_add(1_000),
            standing: Standing::default(),
        }
    }

    /// Moves the user to another default Duo namespace.
    #[must_use]
    pub fn in_namespace(mut self, namespace_id: u64) -> Self {
        self.namespace_id = namespace_id;
        self
    }

    /// Changes the standing.
    #[must_use]
    pub fn with(mut self, change: impl FnOnce(&mut Standing)) -> Self {
        change(&mut self.standing);
        self
    }
}

/// Returns the three accounts of the demo: Ada and Grace can work, Linus is out of credit.
pub fn demo_accounts() -> Vec<SimulatedAccount> {
    vec![
        SimulatedAccount::new("ada", 101, "glpat-demo-ada-000000000000"),
        SimulatedAccount::new("grace", 102, "glpat-demo-grace-000000000000"),
        SimulatedAccount::new("linus", 103, "glpat-demo-linus-000000000000")
            .with(|standing| standing.credit = Credit::Exhausted),
    ]
}

/// What can be changed about an account at run time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Standing {
    /// What the gateway's quota check says.
    pub credit: Credit,
    /// What it says for single models, where that differs: the gateway asks per model.
    pub model_credit: BTreeMap<String, Credit>,
    /// What direct access says.
    pub entitlement: Entitlement,
    /// Whether the namespace (on GitLab.com) or the instance is on the gateway's list for the model proxies.
    pub proxies_enabled: bool,
    /// Facts about the personal access token.
    pub token: PersonalToken,
    /// What GraphQL tells about chat models.
    pub models: ChatModels,
}

impl Default for Standing {
    fn default() -> Self {
        Self {
            credit: Credit::Available,
            model_credit: BTreeMap::new(),
            entitlement: Entitlement::Entitled,
            proxies_enabled: true,
            token: PersonalToken::default(),
            models: ChatModels::default(),
        }
    }
}

/// The answer of the gateway's quota check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Credit {
    /// Requests pass.
    Available,
    /// 402 `USAGE_QUOTA_EXCEEDED`.
    Exhausted,
    /// 403 `USAGE_QUOTA_NOT_ENTITLED`, which the gateway also says while its quota service is down.
    NotEntitled,
}

/// The answer of `third_party_agents/direct_access`.
/// Source: `ee/lib/api/ai/third_party_agents.rb` of GitLab.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Entitlement {
    /// 201 with a token.
    Entitled,
    /// 403: no seat, the feature is off, or direct connections are disabled.
    NotEntitled,
    /// 503: the user has to choose a default Duo namespace.
    MissingNamespace,
    /// 503: Duo is off in the billing namespace.
    FeaturesDisabled,
    /// 503: the gateway refused the token, for quota or another reason that is not told.
    TokenCreationFailed,
    /// 503: the gateway answered without a token.
    TokenMissing,
    /// 503: the gateway was not reached.
    GatewayUnreachable,
}

/// Facts about a personal access token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PersonalToken {
    /// Name that the user gave it.
    pub name: String,
    /// Scopes such as `api`, `ai_features` and `read_user`.
    pub scopes: Vec<String>,
    /// Day (`YYYY-MM-DD`, UTC) from whose start on it is refused.
    pub expires_at: Option<String>,
    /// Whether it was revoked.
    pub revoked: bool,
    /// What `personal_access_tokens/self` reports as `active`; unset means: neither revoked nor expired.
    pub active: Option<bool>,
}

impl Default for PersonalToken {
    fn default() -> Self {
        Self {
            name: "duopool".to_owned(),
            scopes: vec!["api".to_owned()],
            expires_at: None,
            revoked: false,
            active: None,
        }
    }
}

/// Chat models as GraphQL's `aiChatAvailableModels` tells them: GitLab's own identifiers, which are not names that the
/// gateway's proxies accept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChatModels {
    /// The namespace's default.
    pub default: Option<ChatModel>,
    /// What users may choose from.
    pub selectable: Vec<ChatModel>,
    /// What an administrator pinned.
    pub pinned: Option<ChatModel>,
}

impl Default for ChatModels {
    fn default() -> Self {
        let model = ChatModel::new;
        Self {
            default: Some(model("Claude Sonnet 4.6 - Vertex", "claude_sonnet_4_6_vertex")),
            selectable: vec![
                model("Claude Sonnet 4.6 - Vertex", "claude_sonnet_4_6_vertex"),
                model("Claude Haiku 4.5 - Anthropic", "claude_haiku_4_5_20251001"),
                model("GPT-5.6 Sol - OpenAI", "gpt_5_6_sol"),
            ],
            pinned: None,
        }
    }
}

/// One chat model in GraphQL.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChatModel {
    /// Name for people.
    pub name: String,
    /// GitLab's identifier.
    #[serde(rename = "ref")]
    pub reference: String,
}

impl ChatModel {
    /// Returns a model with a name for people and GitLab's identifier.
    pub fn new(name: &str, reference: &str) -> Self {
        Self { name: name.to_owned(), reference: reference.to_owned() }
    }
}
