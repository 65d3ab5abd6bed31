//! GitLab's REST API, as far as a client of Duo needs it.
//!
//! Sources of the bodies: `ee/lib/api/ai/third_party_agents.rb`, `ee/lib/api/code_suggestions.rb` and the API guard of
//! GitLab; the documentation of `personal_access_tokens/self` and `user`.

use actix_web::http::Method;
use serde_json::{Value, json};

use crate::domain::time::{Clock as _, Timestamp};
use crate::simulator::account::{Credit, Entitlement};
use crate::simulator::answer::Answer;
use crate::simulator::bearer::{authenticate, authorize};
use crate::simulator::grants::{Minted, Purpose};
use crate::simulator::graphql;
use crate::simulator::limits::Kind;
use crate::simulator::mint_cases::{MintCase, message};
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
        Call::TokenSelf if asked.method == Method::DELETE => Method::DELETE,
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
            Call::TokenSelf if asked.method == Method::DELETE => revoke_self(state, asked, now),
            Call::TokenSelf => token_self(state, asked, now),
            Call::Groups => groups(state, asked, now, &shared.url()),
            Call::ThirdPartyDirectAccess => third_party(state, asked, now),
            Call::CodeSuggestionsDirectAccess => code_suggestions(state, asked, now, &own_gateway),
            _ => graphql::answer(state, asked, now),
        };
        result.unwrap_or_else(|refusal| refusal)
    })
}

fn user(state: &mut State, asked: &Asked<'_>, now: Timestamp) -> Result<Answer, Answer> {
    let index = authorize(state, asked, now, &["api", "read_api", "read_user"])?;
    let account = &state.accounts[index];
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

/// Returns whose personal access token a call carries.
fn personal(state: &mut State, asked: &Asked<'_>, now: Timestamp) -> Result<usize, Answer> {
    let bearer = authenticate(state, asked, now)?;
    if !bearer.is_personal {
        let told = "This endpoint requires token type to be a personal access token";
        return Err(message(400, &format!("400 Bad request - {told}")));
    }
    Ok(bearer.account)
}

/// Any scope may do it. Source: `lib/api/personal_access_tokens/self_information.rb` of GitLab.
fn revoke_self(state: &mut State, asked: &Asked<'_>, now: Timestamp) -> Result<Answer, Answer> {
    let account = personal(state, asked, now)?;
    state.accounts[account].standing.token.revoked = true;
    Ok(Answer::whole(204, "application/json", ""))
}

fn token_self(state: &mut State, asked: &Asked<'_>, now: Timestamp) -> Result<Answer, Answer> {
    let owner = personal(state, asked, now)?;
    let account = &state.accounts[owner];
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

fn groups(state: &mut State, asked: &Asked<'_>, now: Timestamp, root: &str) -> Result<Answer, Answer> {
    let index = authorize(state, asked, now, &["api", "read_api"])?;
    let account = &state.accounts[index];
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
    let call = match purpose {
        Purpose::Proxy => Call::ThirdPartyDirectAccess,
        Purpose::Completion => Call::CodeSuggestionsDirectAccess,
    };
    state.tallies.minted(index, call, now);
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
    let username = state.accounts[index].username.clone();
    state.throttle(Kind::ThirdParty, &username, Some(index), now)?;
    let case = match state.accounts[index].standing.entitlement {
        Entitlement::Entitled => MintCase::ThirdPartyOk,
        Entitlement::NotEntitled => MintCase::ThirdPartyForbidden,
        Entitlement::MissingNamespace => MintCase::ThirdPartyMissingNamespace,
        Entitlement::FeaturesDisabled => MintCase::ThirdPartyFeaturesDisabled,
        Entitlement::TokenCreationFailed => MintCase::ThirdPartyTokenCreationFailed,
        Entitlement::TokenMissing => MintCase::ThirdPartyTokenMissing,
        Entitlement::GatewayUnreachable => MintCase::ThirdPartyGatewayUnreachable,
    };
    if let Some(refusal) = case.answer() {
        return Err(refusal);
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
    let index = authorize(state, asked, now, &["ai_features", "api"])?;
    let username = state.accounts[index].username.clone();
    state.throttle(Kind::CodeSuggestions, &username, Some(index), now)?;
    let standing = &state.accounts[index].standing;
    let case = match (standing.entitlement, standing.credit) {
        _ if !state.instance.direct_connections => MintCase::CompletionDirectConnectionsDisabled,
        (Entitlement::NotEntitled | Entitlement::FeaturesDisabled, _) => MintCase::CompletionUnauthorized,
        (Entitlement::MissingNamespace, _) => MintCase::CompletionMissingNamespace,
        // Unlike the endpoint for agents, this one passes on what the gateway said.
        (_, Credit::Exhausted) => MintCase::CompletionQuotaExceeded,
        (Entitlement::TokenCreationFailed | Entitlement::TokenMissing | Entitlement::GatewayUnreachable, _) => {
            MintCase::CompletionUnavailable
        }
        (Entitlement::Entitled, Credit::Available | Credit::NotEntitled) => MintCase::CompletionOk,
    };
    if let Some(refusal) = case.answer() {
        return Err(refusal);
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
