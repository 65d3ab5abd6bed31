//! `GET /oauth/callback`: where GitLab sends the browser of somebody who logs in to this server from elsewhere.
//!
//! Needs no key: the state in the address, which nobody can guess and which works once, is the proof. What the address
//! has in it is never logged and never shown.

use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::http::header::{ALLOW, HOST, HeaderValue, ORIGIN};
use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};

use crate::account::login::api::{Answer, Await, Take};
use crate::account::login::callback::{Callback, CallbackError};
use crate::account::login::view::{LoginStatus, LoginView};
use crate::http::door::{Door, host_name, is_this_machine};
use crate::http::page;

/// A browser is shown the outcome if it is there by then, and that it is on its way if not.
const OUTCOME_WITHIN: Duration = Duration::from_mins(1);

/// Takes what a browser brings back.
pub(crate) async fn callback(request: HttpRequest, door: Data<Door>) -> HttpResponse {
    if let Err(why) = came_by_itself(&request, &door) {
        return refusal(why);
    }
    let callback = match Callback::from_query(request.query_string()) {
        Ok(callback) => callback,
        Err(error) => return refusal(&error.to_string()),
    };
    let taken = door.parts.logins.send(Take(Answer::Came(callback))).await;
    let id = match taken.unwrap_or(Err(CallbackError::Gone)) {
        Ok(id) => id,
        Err(error) => return refusal(&error.to_string()),
    };
    match door.parts.logins.send(Await(id)).timeout(OUTCOME_WITHIN).await {
        Ok(Some(login)) => outcome(&login),
        Ok(None) | Err(_) => page::reply(
            StatusCode::ACCEPTED,
            "Almost signed in",
            &["GitLab takes its time. The sign-in goes on without this page, and `duopool accounts list` shows it."],
        ),
    }
}

/// Answers every other method.
pub(crate) async fn only_get() -> HttpResponse {
    let why = ["A browser comes here by itself after a sign-in at GitLab, with GET."];
    let mut page = page::reply(StatusCode::METHOD_NOT_ALLOWED, "Not this way", &why);
    page.headers_mut().insert(ALLOW, HeaderValue::from_static("GET"));
    page
}

/// A redirect of GitLab's names this server and comes from no page's own request.
fn came_by_itself(request: &HttpRequest, door: &Door) -> Result<(), &'static str> {
    let text = |name| request.headers().get(name).and_then(|value| value.to_str().ok());
    let is_own = |host: &str| is_this_machine(host) || door.settings().hosts.iter().any(|own| own == host);
    if !text(HOST).is_some_and(|host| is_own(&host_name(host))) {
        return Err("the Host header names no host of this server: set public_url or allowed_hosts");
    }
    if request.headers().contains_key(ORIGIN) {
        return Err("this comes from another web page, and not from GitLab's redirect");
    }
    Ok(())
}

fn refusal(why: &str) -> HttpResponse {
    page::reply(StatusCode::BAD_REQUEST, "Not signed in", &[why, "Nothing was stored. Begin the sign-in again."])
}

fn outcome(login: &LoginView) -> HttpResponse {
    let (message, fix) = login.problem.as_ref().map(|problem| (&*problem.message, &*problem.fix)).unwrap_or_default();
    match login.status {
        LoginStatus::Failed => page::reply(StatusCode::BAD_REQUEST, "Not signed in", &[message, fix]),
        LoginStatus::Done => {
            let findings = login.report.iter().flat_map(|report| &report.findings);
            let amiss: Vec<String> = findings
                .filter(|finding| !finding.ok)
                .map(|finding| format!("{}: {}. {}", finding.check, finding.message, finding.fix))
                .collect();
            let first = if amiss.is_empty() {
                "The account is in the pool. You can close this page."
            } else {
                "The account is stored, but something stands in the way of its use:"
            };
            let paragraphs: Vec<&str> = std::iter::once(first).chain(amiss.iter().map(String::as_str)).collect();
            page::reply(StatusCode::OK, "Signed in", &paragraphs)
        }
        LoginStatus::Pending | LoginStatus::Exchanging | LoginStatus::Checking => {
            page::reply(StatusCode::ACCEPTED, "Almost signed in", &[message, fix])
        }
    }
}
