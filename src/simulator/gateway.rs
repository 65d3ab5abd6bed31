//! The AI gateway's model proxies: what is checked, in which order, before a model is asked.
//!
//! Source: the gateway's `api/v1/proxy/*.py`, `api/middleware/*` and `lib/usage_quota/*`. The order matters to clients
//! that sort errors: a path or model that does not exist is told before the quota is looked at.

use actix_web::http::Method;
use serde_json::{Value, json};

use crate::domain::model::Provider;
use crate::domain::time::Clock as _;
use crate::simulator::account::Credit;
use crate::simulator::answer::Answer;
use crate::simulator::json;
use crate::simulator::models::{self, Known};
use crate::simulator::script::Call;
use crate::simulator::server::Asked;
use crate::simulator::state::Shared;
use crate::simulator::{anthropic, openai, openai_chat, openai_responses};

const ANTHROPIC: &str = "/v1/proxy/anthropic";
const OPENAI: &str = "/v1/proxy/openai";

/// Returns which call a path below the gateway's root is.
pub(crate) fn call_of(path: &str) -> Call {
    let suffix = |prefix| path.strip_prefix(prefix);
    match (suffix(ANTHROPIC), suffix(OPENAI)) {
        (Some("/v1/messages"), _) => Call::Messages,
        (Some("/v1/messages/count_tokens"), _) => Call::CountTokens,
        (_, Some("/v1/responses")) => Call::Responses,
        (_, Some("/v1/chat/completions")) => Call::ChatCompletions,
        _ => Call::Other,
    }
}

/// What lies behind a path that the gateway forwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Target {
    Messages,
    CountTokens,
    Responses,
    ChatCompletions,
    Embeddings,
    Models,
}

impl Target {
    fn provider(self) -> Provider {
        match self {
            Self::Messages | Self::CountTokens => Provider::Anthropic,
            Self::Responses | Self::ChatCompletions | Self::Embeddings | Self::Models => Provider::OpenAi,
        }
    }

    /// Returns the target of a path and query, which must match to the letter.
    fn of(path: &str, query: &str) -> Option<Self> {
        let (prefix, suffix) = if let Some(suffix) = path.strip_prefix(ANTHROPIC) {
            (ANTHROPIC, suffix)
        } else {
            (OPENAI, path.strip_prefix(OPENAI)?)
        };
        match (prefix, suffix, query) {
            (ANTHROPIC, "/v1/messages", "" | "beta=true") => Some(Self::Messages),
            (ANTHROPIC, "/v1/messages/count_tokens", "beta=true") => Some(Self::CountTokens),
            (OPENAI, "/v1/responses", "") => Some(Self::Responses),
            (OPENAI, "/v1/chat/completions", "") => Some(Self::ChatCompletions),
            (OPENAI, "/v1/embeddings", "") => Some(Self::Embeddings),
            (OPENAI, "/v1/models", "") => Some(Self::Models),
            _ => None,
        }
    }
}

/// Answers a call to the gateway.
pub(crate) fn answer(shared: &Shared, asked: &Asked<'_>) -> Answer {
    let now = shared.clock.now();
    let admitted = shared.read(|state| {
        let enabled = |index: usize| state.accounts[index].standing.proxies_enabled;
        state.grants.admit(asked.headers, now, enabled).map(|grant| grant.account)
    });
    let account = match admitted {
        Ok(account) => account,
        Err(refusal) => return refusal,
    };
    if !asked.path.starts_with("/v1/proxy/") {
        return Answer::detail(404, "Not Found");
    }
    if asked.method != Method::POST {
        return Answer::detail(405, "Method Not Allowed");
    }
    let (target, known, body) = match routed(asked) {
        Ok(routed) => routed,
        Err(refusal) => return refusal,
    };
    let (credit, text_deltas) = shared.read(|state| {
        let standing = &state.accounts[account].standing;
        let credit = standing.model_credit.get(known.name).copied().unwrap_or(standing.credit);
        (credit, state.instance.text_deltas)
    });
    match credit {
        Credit::Available => {}
        Credit::Exhausted => return insufficient_credits(),
        Credit::NotEntitled => return not_entitled(),
    }
    let result = match target {
        Target::Messages => anthropic::messages(asked.headers, &body, known, text_deltas),
        Target::CountTokens => anthropic::count_tokens(asked.headers, &body, known),
        Target::Responses => openai_responses::answer(&body, text_deltas, now),
        Target::ChatCompletions => openai_chat::answer(&body, known, text_deltas, now),
        Target::Embeddings => Err(openai::refusal(403, EMBEDDINGS, None, None)),
        Target::Models => Err(openai::refusal(405, MODELS, None, Some("method_not_supported"))),
    };
    result.unwrap_or_else(|refusal| refusal)
}

const EMBEDDINGS: &str = "You are not allowed to generate embeddings from this model";
const MODELS: &str = "Not allowed to POST on /v1/models. (HINT: Perhaps you meant to use a different HTTP method?)";

/// Checks path, query, body and model: step 5 of the gateway's order.
fn routed(asked: &Asked<'_>) -> Result<(Target, &'static Known, Value), Answer> {
    let Some(target) = Target::of(asked.path, asked.query) else { return Err(Answer::detail(404, "Not found")) };
    let Ok(body) = serde_json::from_slice::<Value>(asked.body) else {
        return Err(Answer::detail(400, "Invalid JSON"));
    };
    let Some(name) = json::text(&body, "model") else {
        return Err(Answer::detail(400, "Failed to extract model name"));
    };
    let Some(known) = models::find(target.provider(), name) else {
        return Err(Answer::detail(400, "Unsupported model"));
    };
    Ok((target, known, body))
}

fn insufficient_credits() -> Answer {
    let body = json!({
        "error": "insufficient_credits",
        "error_code": "USAGE_QUOTA_EXCEEDED",
        "message": "Consumer does not have sufficient credits for this request",
    });
    Answer::json(402, &body)
}

fn not_entitled() -> Answer {
    let body = json!({
        "error": "not_entitled",
        "error_code": "USAGE_QUOTA_NOT_ENTITLED",
        "message": "Consumer does not have entitlements to use this feature.",
    });
    Answer::json(403, &body)
}
