//! `/admin/v1/imports`: accounts whose OAuth tokens another program obtained.

use actix_web::web::{Data, Payload};
use actix_web::{HttpRequest, HttpResponse};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use utoipa::ToSchema;

use crate::account::login::import::{ForeignPair, Import, ImportError, Imported};
use crate::account::login::view::LoginProblem;
use crate::domain::endpoint::InstanceUrl;
use crate::domain::fault::Scope;
use crate::domain::oauth::{OAuthApp, OAuthPair};
use crate::domain::secret::Secret;
use crate::domain::time::Timestamp;
use crate::gitlab::error::CallError;
use crate::http::admin::accounts::login_problem;
use crate::http::admin::given::GivenText;
use crate::http::admin::problem::{Problem, bad_request, reason_word, unread};
use crate::http::body;
use crate::http::door::Door;
use crate::http::request_id;

/// A request here has a few hundred bytes.
const BODY_BYTES_MAX: usize = 64 * 1024;
/// Longest id, secret, token or scope, in characters.
const TEXT_CHARS_MAX: usize = 4 * 1024;
/// Most scopes of a token.
const SCOPES_MAX: usize = 64;

/// A pair of OAuth tokens that another program obtained.
///
/// That program must not use it any more: GitLab replaces both tokens whenever one of the two renews them.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ImportRequest {
    /// Root of the GitLab instance; the public one if absent.
    pub(crate) base_url: Option<String>,
    /// Application ID of the OAuth application that the tokens came through.
    pub(crate) client_id: String,
    /// Its secret, if it is a confidential one.
    pub(crate) client_secret: Option<String>,
    /// The redirect URI of that login, where renewals are to repeat it.
    pub(crate) redirect_uri: Option<String>,
    /// The access token.
    pub(crate) access_token: String,
    /// The refresh token.
    pub(crate) refresh_token: String,
    /// When the access token ends, RFC 3339; it is tried if absent.
    pub(crate) expires_at: Option<String>,
    /// What it may do, where GitLab does not say.
    pub(crate) scopes: Option<Vec<String>>,
    /// The AI gateway, where it is not the one that GitLab names.
    pub(crate) gateway_url: Option<String>,
    /// A name for people.
    pub(crate) label: Option<String>,
    /// Which keys may use it; `default` if absent.
    pub(crate) pool: Option<String>,
    /// Higher tiers are used first; 0 if absent.
    pub(crate) priority: Option<i32>,
    /// Share among accounts of one tier, 1 to 1000; 1 if absent.
    pub(crate) weight: Option<u32>,
    /// Most requests in flight, 1 to 10000; 16 if absent.
    pub(crate) max_concurrency: Option<u32>,
}

/// What came of it.
#[derive(Serialize, Deserialize, ToSchema)]
pub(crate) struct ImportView {
    /// Id of the account, if it is there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) account: Option<String>,
    /// Why it is not there yet; the tokens are stored, and it is tried again, or they are being taken over already.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) problem: Option<LoginProblem>,
}

/// Makes an account of a pair of OAuth tokens. One whose access token is alive is not renewed on the way.
#[utoipa::path(post, path = "/admin/v1/imports", request_body = ImportRequest, responses(
    (status = 201, description = "the account is there", body = ImportView),
    (status = 202, description = "the tokens are stored, and whose they are is asked again; or they are being taken over already", body = ImportView),
    (status = 400, description = "the body is not as described", body = Problem),
    (status = 408, description = "the body did not arrive in time", body = Problem),
    (status = 409, description = "the account is known and nothing of it was changed; `imported-login-ended` says that the tokens had to be renewed to learn that, and were revoked then", body = Problem),
    (status = 413, description = "the body is too large", body = Problem),
    (status = 422, description = "GitLab refuses the tokens; nothing was stored", body = Problem),
    (status = 500, description = "the account could not be stored", body = Problem),
    (status = 502, description = "GitLab could not be asked; nothing was stored", body = Problem),
))]
pub(crate) async fn import(request: HttpRequest, payload: Payload, door: Data<Door>) -> HttpResponse {
    let id = request_id(&request, &door);
    let deadline = Instant::now() + door.settings().request_timeout;
    let foreign = match body::read(&request, payload, BODY_BYTES_MAX, deadline).await {
        Ok(bytes) => parse(&bytes, door.now()),
        Err(error) => Err(unread(&error).because(error.message(door.now())).into()),
    };
    let foreign = match foreign {
        Ok(foreign) => foreign,
        Err(problem) => return problem.reply(&id),
    };
    match door.parts.logins.send(Import(Box::new(foreign))).await {
        Ok(Ok(Imported::Account(account))) => {
            HttpResponse::Created().json(ImportView { account: Some(account.to_string()), problem: None })
        }
        Ok(Ok(Imported::Later(problem))) => {
            HttpResponse::Accepted().json(ImportView { account: None, problem: Some(problem) })
        }
        Ok(Err(refused)) => import_problem(&refused).reply(&id),
        Err(_) => Problem::internal().reply(&id),
    }
}

fn parse(bytes: &[u8], now: Timestamp) -> Result<ForeignPair, Box<Problem>> {
    // A parser's message may quote what it found, and that may be a token: only the place is told.
    let asked: ImportRequest = serde_json::from_slice(bytes).map_err(|error| {
        let place = format!("line {}, column {}", error.line(), error.column());
        Box::new(bad_request(format!("it does not parse at {place}; GET /admin/openapi.json describes it")))
    })?;
    let instance = asked.base_url.as_deref().map_or(Ok(InstanceUrl::gitlab_com()), InstanceUrl::parse);
    let instance = instance.map_err(|error| bad_request(format!("`base_url` {error}")))?;
    let is_word = |text: &String| {
        !text.is_empty() && text.len() <= TEXT_CHARS_MAX && text.bytes().all(|byte| byte.is_ascii_graphic())
    };
    let words = [&asked.client_id, &asked.access_token, &asked.refresh_token].into_iter();
    let words = words.chain(&asked.client_secret).chain(&asked.redirect_uri).chain(asked.scopes.iter().flatten());
    if !words.into_iter().all(is_word) || asked.scopes.as_ref().is_some_and(|scopes| scopes.len() > SCOPES_MAX) {
        let wanted = "`client_id`, `client_secret`, `redirect_uri`, tokens and scopes must be 1 to 4096 characters without spaces";
        return Err(bad_request(wanted).into());
    }
    let end = asked.expires_at.as_deref().map(|text| Timestamp::from_rfc3339(text).ok_or(())).transpose();
    let end = end.map_err(|()| bad_request("`expires_at` is no time of RFC 3339"))?;
    let given = GivenText {
        gateway_url: asked.gateway_url,
        label: asked.label,
        pool: asked.pool,
        priority: asked.priority,
        weight: asked.weight,
        max_concurrency: asked.max_concurrency,
    };
    Ok(ForeignPair {
        instance,
        app: OAuthApp {
            client_id: asked.client_id,
            client_secret: asked.client_secret.map(Secret::new),
            redirect_uri: asked.redirect_uri,
        },
        pair: OAuthPair {
            access_token: Secret::new(asked.access_token),
            refresh_token: Some(Secret::new(asked.refresh_token)),
            // One whose end nobody knows is renewed at the first occasion.
            expires_at: end.unwrap_or(now),
            obtained_at: end.map_or(now, |end| end - PAIR_LIFE).min(now),
            scopes: asked.scopes.unwrap_or_default(),
        },
        end_is_known: end.is_some(),
        given: given.check()?,
    })
}

/// How long an access token lives. Source: `config/initializers/doorkeeper.rb` of GitLab.
const PAIR_LIFE: std::time::Duration = std::time::Duration::from_hours(2);

fn import_problem(refused: &ImportError) -> Problem {
    let of_call = |error: &CallError| {
        // What GitLab said about these tokens is a 422; that it could not be asked is a 502.
        let status = if error.fault.scope == Scope::Account { 422 } else { 502 };
        let mut problem = Problem::new(status, "import-failed", "The tokens were not taken over");
        problem.reason = Some(reason_word(error.fault.reason));
        problem.fix(error.fault.reason.fix_of_login())
    };
    match refused {
        ImportError::Check(error) | ImportError::Stale(error) | ImportError::Refused(error) => {
            of_call(error).because(refused.to_string())
        }
        ImportError::Useless(problem) => Problem::new(422, "import-failed", "The tokens were not taken over")
            .because(problem.message.clone())
            .fix(problem.fix.clone()),
        ImportError::Known(_) => {
            Problem::new(409, "account-known", "The account is known already").because(refused.to_string())
        }
        ImportError::Kept(_, problem) => {
            Problem::new(409, "imported-login-ended", "The account is known already, and keeps its own login")
                .because(problem.message.clone())
                .fix(problem.fix.clone())
        }
        ImportError::Account(error) => login_problem(error),
    }
}
