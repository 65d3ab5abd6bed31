//! What a request remembers of its attempts, and what that means for the next one.

use std::sync::Arc;

use actix_web::web::Data;
use futures::FutureExt;
use futures::future::select_ok;
use tokio::time::{Instant, timeout};
use tracing::{error, warn};

use crate::account::lease::Lease;
use crate::account::registry::ModelRefused;
use crate::domain::fault::{Reason, Scope};
use crate::domain::id::AccountId;
use crate::domain::model::{Dialect, ModelName};
use crate::domain::time::Timestamp;
use crate::gitlab::error::CallError;
use crate::http::door::Door;
use crate::http::error::ApiError;
use crate::http::exchange::{Incoming, Kind, pools, upstream_dialects};
use crate::router::api::{Acquire, Acquired, NoAccount, Renewable};
use crate::router::policy::sooner;
use crate::router::retry::{Next, Retries, Setback, UNKNOWN_WAIT, WAIT_MAX, is_the_accounts};
use crate::trace::{Failure, Trail};

/// An attempt that gave no answer. Its lease is settled.
#[derive(Debug)]
pub(super) struct Failed {
    pub(super) error: CallError,
    pub(super) model: ModelName,
    /// The gateway and the grant, for what is true of the one and may be asked anew of the other.
    pub(super) gateway: crate::domain::endpoint::GatewayUrl,
    pub(super) renewable: Option<Renewable>,
    /// What the client would be told.
    pub(super) told: ApiError,
}

/// The memory of one request.
#[derive(Debug)]
pub(super) struct Journey {
    retries: Retries,
    /// Whether the reasoning in the history was refused, so that it is left out.
    reasoning_refused: bool,
    /// What went wrong last that was not an account's own fault.
    last: Option<ApiError>,
    deadline: Instant,
}

impl Journey {
    pub(super) fn new(incoming: &Incoming) -> Self {
        Self { retries: Retries::default(), reasoning_refused: false, last: None, deadline: incoming.deadline }
    }

    /// Returns the number of the attempt that comes next, from 1.
    pub(super) fn attempts(&self) -> u32 {
        self.retries.attempt()
    }

    /// Returns whether the reasoning in the history is to be left out.
    pub(super) fn reasoning_is_refused(&self) -> bool {
        self.reasoning_refused
    }

    /// Takes in that the provider refused the reasoning in the history, which is one attempt: the request goes on without.
    pub(super) fn note_refused_reasoning(&mut self) {
        self.reasoning_refused = true;
        self.retries.count_attempt();
    }

    /// Gets a lease, waiting for a new grant where only that is missing.
    pub(super) async fn acquire(&mut self, door: &Data<Door>, incoming: &Incoming) -> Result<Lease, ApiError> {
        self.retries.begin();
        loop {
            incoming.trail.attempt();
            let ask = Acquire {
                wanted: incoming.wanted.clone(),
                dialects: upstream_dialects(incoming.dialect, incoming.kind),
                pools: pools(incoming),
                conversation: incoming.conversation,
                client: incoming.scope.client,
                // A count that cannot be had at once is estimated.
                patience: (incoming.kind == Kind::Answer).then_some(self.deadline),
                renewed_in_vain: self.retries.waited_in_vain(),
                tried: self.retries.tried().to_vec(),
                refused: self.retries.refused().to_vec(),
                trace: Some(Arc::clone(incoming.trail.record())),
            };
            let none = match door.router.send(ask).await {
                Ok(Ok(Acquired::Lease(lease))) => return Ok(lease),
                Ok(Ok(Acquired::Place(place))) => {
                    let waited = place.wait().await;
                    incoming.trail.queued();
                    match waited {
                        Ok(lease) => return Ok(lease),
                        Err(none) => none,
                    }
                }
                Ok(Err(none)) => none,
                Err(problem) => {
                    error!(request.id = %incoming.id, "the router of this worker does not answer: {problem}");
                    return Err(ApiError::Internal);
                }
            };
            let Some(hope) = self.retries.hope(&none) else {
                return Err(self.verdict(none, incoming, door.now()));
            };
            let renewed = self.wait(hope.renewable, &incoming.trail).await;
            self.retries.waited(renewed);
        }
    }

    /// Waits until one of `renewable` has a new grant; `false` if none gets one.
    async fn wait(&self, renewable: Vec<Renewable>, trail: &Trail) -> bool {
        if renewable.is_empty() {
            return false;
        }
        let wishes = renewable.iter().map(|one| one.renew().map(|renewed| renewed.ok_or(())).boxed_local());
        let most = WAIT_MAX.min(self.deadline.saturating_duration_since(Instant::now()));
        let waited = timeout(most, select_ok(wishes)).await;
        trail.renewed();
        matches!(waited, Ok(Ok(_)))
    }

    /// Takes in a failed attempt; an error if it was the last one.
    pub(super) fn note(
        &mut self,
        door: &Data<Door>,
        incoming: &Incoming,
        account: AccountId,
        failed: Failed,
    ) -> Result<(), ApiError> {
        incoming.trail.failed(Failure::new(failed.error.status, &failed.error.fault));
        warn_of(incoming, &account, &failed);
        let Failed { error: CallError { fault, .. }, model, gateway, renewable, told } = failed;
        let (is_the_accounts, scope, reason) = (is_the_accounts(&fault), fault.scope, fault.reason);
        let setback = Setback { account, model: model.clone(), gateway: gateway.clone(), fault, renewable };
        match self.retries.failed(setback, Instant::now() < self.deadline, door.now()) {
            Next::End if is_the_accounts => return Err(no_account(self.retries.earliest(), door.now())),
            Next::End => return Err(told),
            Next::Again => {}
        }
        // The gateway's list changes by the month. A provider says the same during an outage: that is believed for this
        // request alone.
        if reason == Reason::UnsupportedModel && scope == Scope::Request {
            // A lost message costs one more refusal on the next request.
            door.parts.registry.do_send(ModelRefused { gateway, model });
        }
        if !is_the_accounts {
            self.last = Some(told);
        }
        Ok(())
    }

    /// Says why nobody serves: the true reason and the earliest honest time.
    fn verdict(&mut self, none: NoAccount, incoming: &Incoming, now: Timestamp) -> ApiError {
        match (none, self.last.take()) {
            // What the gateway or the provider said is truer than that nobody is left to ask.
            (NoAccount::Exhausted | NoAccount::Blocked { .. } | NoAccount::Paused { .. }, Some(last))
                if is_upstreams(&last) =>
            {
                last
            }
            (NoAccount::NoModel, Some(last)) => last,
            (none, _) => told_of_none(none, self.retries.earliest(), &incoming.peek.model, incoming.dialect, now),
        }
    }
}

/// Says why nobody serves who was not tried; `earliest` is the account that recovers first of those that were.
pub(in crate::http) fn told_of_none(
    none: NoAccount,
    earliest: Option<(Timestamp, Reason)>,
    model: &str,
    dialect: Dialect,
    now: Timestamp,
) -> ApiError {
    match none {
        NoAccount::Blocked { reason, until, .. } | NoAccount::Paused { reason, until } => {
            no_account(Some(sooner(earliest, (until, reason))), now)
        }
        NoAccount::Exhausted => no_account(earliest, now),
        NoAccount::Empty => ApiError::EmptyPool,
        NoAccount::Busy => ApiError::Busy,
        NoAccount::NoModel => unsupported(model),
        NoAccount::OtherDialect { model } => other_dialect(dialect, &model),
    }
}

fn no_account(earliest: Option<(Timestamp, Reason)>, now: Timestamp) -> ApiError {
    let (until, reason) = earliest.unwrap_or((now + UNKNOWN_WAIT, Reason::GrantMissing));
    ApiError::NoAccount { reason, until }
}

/// Returns whether an error is about the gateway or the provider. What is about an account, such as its credit, is told
/// with the time at which that recovers.
fn is_upstreams(error: &ApiError) -> bool {
    match error {
        ApiError::Provider { .. } => true,
        ApiError::Upstream { reason } if reason.is_of_the_way() => true,
        ApiError::Upstream { reason } => matches!(
            reason,
            Reason::GatewayError
                | Reason::HostOffline
                | Reason::ProviderRefused
                | Reason::CutShort
                | Reason::Timeout
                | Reason::ProviderError
                | Reason::ProviderThrottled
        ),
        _ => false,
    }
}

pub(super) fn unsupported(model: &str) -> ApiError {
    let model = crate::http::body::printable(model);
    ApiError::NotFound { message: format!("no GitLab account's AI gateway supports model `{model}`") }
}

/// Says that a model is there, but not for this route, and which route has it: one that speaks Chat Completions alone,
/// since everything else is translated.
fn other_dialect(dialect: Dialect, model: &ModelName) -> ApiError {
    let message = format!("model `{model}` is not translated to {dialect} yet; use POST /v1/chat/completions for it");
    ApiError::BadRequest { message, param: Some("model".to_owned()) }
}

fn warn_of(incoming: &Incoming, account: &AccountId, failed: &Failed) {
    let (request, error) = (&incoming.id, &failed.error);
    if error.fault.scope != Scope::Request {
        warn!(
            request.id = %request, account.id = %account, model.id = %failed.model, status = error.status,
            "request `{request}` failed on account `{account}`: {error}"
        );
    }
}
