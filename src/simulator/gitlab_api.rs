//! GitLab's REST API, as far as a client of Duo needs it.
//!
//! Sources of the bodies: `ee/lib/api/ai/third_party_agents.rb`, `ee/lib/api/code_suggestions.rb` and the API guard of
//! GitLab; the documentation of `personal_access_tokens/self` and `user`.

use actix_web::http::Method;
use serde_json::{Value, json};

use crate::domain::time::Timestamp;
use crate::simulator::account::{Credit, Entitlement, SimulatedAccount};
use crate::simulator::answer::Answer;
use crate::simulator::grants::{Minted, Purpose};
use crate::simulator::graphql;
use crate::simulator::script::Call;
use crate::simulator::server::Asked;
use crate::simulator::state::{Shared, State};

const USER: &str = "/api/v4/user";
const TOKEN_SELF: &str = "/api/v4/personal_access_tokens/self";
const THIRD_PARTY: &str = "/api/v4/ai/third_party_agents/direct_access";
const CODE_SUGGESTIONS: &str = "/api/v4/code_suggestions/direct_access";
const GROUPS: &str = "/api/v4/groups";
const GRAPHQL: &str = "/api/graphql";
const CREATED_AT: &str = "2026-01-05T09:00:00.000Z";

/// Returns which call a path is.
pub(crate) fn call_of(path: &str) -> Call {
    match path {
        USER => Call::User,
        TOKEN_SELF => Call::TokenSelf,
        THIRD_PARTY => Call::ThirdPartyDirectAccess,
        CODE_SUGGESTIONS => Call::CodeSuggestionsDirectAccess,
        GROUPS => Call::Groups,
        GRAPHQL => Call::GraphQl,
        _ => Call::Other,
    }
}

/// Returns GitLab's answer to a path that it does not know.
pub(crate) fn not_found() -> Answer {
    Answer::json(404, &json!({ "error": "404 Not Found" }))
}

/// Answers a call to the instance.
pub(crate) fn answer(shared: &Shared, asked: &Asked<'_>) -> Answer {
    let call = call_of(asked.path);
    let method = match call {
        Call::User | Call::TokenSelf | Call::Groups => Method::GET,
        Call::ThirdPartyDirectAccess | Call::CodeSuggestionsDirectAccess | Call::GraphQl => Method::POST,
        _ => return not_found(),
    };
    if asked.method != method {
        return Answer::json(405, &json!({ "error": "405 Not Allowed" }));
    }
    let now = shared.clock.now();
    let own_gateway = shared.gateway_url();
    shared.change(|state| {
        let result = match call {
            Call::User => user(state, asked, now),
            Call::TokenSelf => token_self(state, asked, now),
            Call::Groups => groups(state, asked, now, &shared.url()),
            Call::ThirdPartyDirectAccess => third_party(state, asked, now),
            Call::CodeSuggestionsDirectAccess => code_suggestions(state, asked, now, &own_gateway),
            _ => graphql::answer(state, asked, now),
        };
        result.unwrap_or_else(|refusal| refusal)
    })
}

fn message(status: u16, message: &str) -> Answer {
    Answer::json(status, &json!({ "message": message }))
}

fn invalid_token(description: &str) -> Answer {
    Answer::json(401, &json!({ "error": "invalid_token", "error_description": description }))
}

/// Returns whether a token's day of expiry has come.
fn has_expired(account: &SimulatedAccount, now: Timestamp) -> bool {
    let expires_at = account.standing.token.expires_at.as_deref().and_then(Timestamp::from_date);
    expires_at.is_some_and(|at| now >= at)
}

/// Returns the position of the account whose valid token the request carries.
pub(crate) fn authenticate(state: &State, asked: &Asked<'_>, now: Timestamp) -> Result<usize, Answer> {
    let Some(index) = asked.token().and_then(|token| state.owner(token)) else {
        return Err(message(401, "401 Unauthorized"));
    };
    let account = &state.accounts[index];
    if account.standing.token.revoked {
        return Err(invalid_token("Token was revoked. You have to re-authorize from the user."));
    }
    if has_expired(account, now) {
        return Err(invalid_token("Token is expired. You can either do re-authorization or token refresh."));
    }
    Ok(index)
}

/// Returns whether the account's token has one of `scopes`.
pub(crate) fn has_scope(account: &SimulatedAccount, scopes: &[&str]) -> bool {
    account.standing.token.scopes.iter().any(|scope| scopes.contains(&scope.as_str()))
}

fn authorize(state: &State, asked: &Asked<'_>, now: Timestamp, scopes: &[&str]) -> Result<usize, Answer> {
    let index = authenticate(state, asked, now)?;
    if has_scope(&state.accounts[index], scopes) {
        return Ok(index);
    }
    let body = json!({
        "error": "insufficient_scope",
        "error_description": "The request requires higher privileges than provided by the access token.",
        "scope": scopes.join(" "),
    });
    Err(Answer::json(403, &body))
}

fn user(state: &State, asked: &Asked<'_>, now: Timestamp) -> Result<Answer, Answer> {
    let account = &state.accounts[authorize(state, asked, now, &["api", "read_api", "read_user"])?];
    let username = &account.username;
    let body = json!({
        "id": account.user_id,
        "username": username,
        "public_email": null,
        "name": username,
        "state": "active",
        "locked": false,
        "avatar_url": null,
        "web_url": format!("https://gitlab.example.com/{username}"),
        "created_at": CREATED_AT,
        "bot": false,
        "email": format!("{username}@example.com"),
        "commit_email": format!("{username}@example.com"),
        "two_factor_enabled": true,
        "external": false,
        "namespace_id": account.user_id + 500,
    });
    Ok(Answer::json(200, &body))
}

fn token_self(state: &State, asked: &Asked<'_>, now: Timestamp) -> Result<Answer, Answer> {
    let account = &state.accounts[authenticate(state, asked, now)?];
    let token = &account.standing.token;
    let body = json!({
        "id": account.user_id + 9_000,
        "name": token.name,
        "revoked": token.revoked,
        "created_at": CREATED_AT,
        "description": null,
        "scopes": token.scopes,
        "user_id": account.user_id,
        "last_used_at": CREATED_AT,
        "active": token.active.unwrap_or(true),
        "expires_at": token.expires_at,
        "last_used_ips": ["127.0.0.1"],
    });
    Ok(Answer::json(200, &body))
}

fn groups(state: &State, asked: &Asked<'_>, now: Timestamp, root: &str) -> Result<Answer, Answer> {
    let account = &state.accounts[authorize(state, asked, now, &["api", "read_api"])?];
    let id = account.namespace_id;
    let group = json!({
        "id": id,
        "web_url": format!("{root}/groups/group-{id}"),
        "name": format!("Group {id}"),
        "path": format!("group-{id}"),
        "description": "",
        "visibility": "private",
        "full_name": format!("Group {id}"),
        "full_path": format!("group-{id}"),
        "created_at": CREATED_AT,
        "parent_id": null,
        "organization_id": 1,
    });
    Ok(Answer::json(200, &json!([group])))
}

fn mint(state: &mut State, index: usize, purpose: Purpose, now: Timestamp) -> Minted {
    let account = &state.accounts[index];
    state.grants.mint((index, account), &state.instance, purpose, now)
}

fn headers_json(minted: &Minted) -> Value {
    minted.headers.iter().map(|(name, value)| ((*name).to_owned(), Value::from(value.as_str()))).collect()
}

fn third_party(state: &mut State, asked: &Asked<'_>, now: Timestamp) -> Result<Answer, Answer> {
    if state.instance.too_old {
        return Err(not_found());
    }
    let index = authorize(state, asked, now, &["ai_features", "api"])?;
    if !state.instance.direct_connections {
        return Err(message(403, "403 Forbidden"));
    }
    match state.accounts[index].standing.entitlement {
        Entitlement::Entitled => {}
        Entitlement::NotEntitled => return Err(message(403, "403 Forbidden")),
        Entitlement::MissingNamespace => {
            return Err(message(503, "Missing default GitLab Duo namespace user preference"));
        }
        Entitlement::FeaturesDisabled => {
            return Err(message(503, "GitLab Duo features are disabled for the billing namespace"));
        }
        Entitlement::TokenCreationFailed => return Err(message(503, "Token creation failed")),
        Entitlement::TokenMissing => return Err(message(503, "Token is missing in response")),
        Entitlement::GatewayUnreachable => {
            return Err(message(503, "An HTTP error occurred when creating a Direct Access Token."));
        }
    }
    let minted = mint(state, index, Purpose::Proxy, now);
    let body = json!({
        "headers": headers_json(&minted),
        "token": minted.token,
        "expires_at": minted.expires_at.as_secs(),
    });
    Ok(Answer::json(201, &body))
}

fn code_suggestions(state: &mut State, asked: &Asked<'_>, now: Timestamp, own_gateway: &str) -> Result<Answer, Answer> {
    let from_monolith = |answer: Answer| answer.with_header("X-GitLab-Error-Origin", "monolith");
    let index = authorize(state, asked, now, &["ai_features", "api"])?;
    if !state.instance.direct_connections {
        return Err(message(403, "403 Forbidden - Direct connections are disabled"));
    }
    let standing = &state.accounts[index].standing;
    match (standing.entitlement, standing.credit) {
        (Entitlement::NotEntitled | Entitlement::FeaturesDisabled, _) => {
            return Err(from_monolith(message(401, "401 Unauthorized")));
        }
        (Entitlement::MissingNamespace, _) => {
            let told = "Please select a default GitLab Duo namespace in your preferences.";
            let body = json!({ "error": "missing_default_duo_group", "message": told });
            return Err(Answer::json(422, &body));
        }
        // Unlike the endpoint for agents, this one passes on what the gateway said.
        (_, Credit::Exhausted) => {
            let body = json!({
                "message": "Token creation failed",
                "error": "insufficient_credits",
                "error_code": "USAGE_QUOTA_EXCEEDED",
                "error_description": "Consumer does not have sufficient credits for this request",
            });
            return Err(Answer::json(402, &body));
        }
        (Entitlement::TokenCreationFailed | Entitlement::TokenMissing | Entitlement::GatewayUnreachable, _) => {
            return Err(message(503, "Token creation failed"));
        }
        (Entitlement::Entitled, Credit::Available | Credit::NotEntitled) => {}
    }
    let minted = mint(state, index, Purpose::Completion, now);
    let body = json!({
        "base_url": state.instance.reported_gateway.as_deref().unwrap_or(own_gateway),
        "token": minted.token,
        "expires_at": minted.expires_at.as_secs(),
        "headers": headers_json(&minted),
        "model_details": { "model_provider": "fireworks_ai", "model_name": "codestral-2501" },
    });
    Ok(Answer::json(201, &body))
}
