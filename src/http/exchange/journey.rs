//! What a request remembers of its attempts, and what that means for the next one.

use actix_web::web::Data;
use futures::FutureExt;
use futures::future::select_ok;
use tokio::time::{Instant, timeout};
use tracing::{error, warn};

use crate::account::lease::Lease;
use crate::account::registry::ModelRefused;
use crate::domain::fault::{Fault, Hold, Reason, Scope};
use crate::domain::id::AccountId;
use crate::domain::model::ModelName;
use crate::domain::time::Timestamp;
use crate::gitlab::error::CallError;
use crate::http::door::Door;
use crate::http::error::ApiError;
use crate::http::exchange::{Incoming, Kind, pools, upstream_dialects};
use crate::router::api::{Acquire, Acquired, NoAccount, Renewable};
use crate::router::policy::sooner;

/// Attempts that reached the model's provider: each may be billed.
const PROVIDER_ATTEMPTS_MAX: u32 = 3;
/// Attempts that were refused before it: credential, credit, connection.
const REFUSALS_MAX: u32 = 16;
/// Times a request waits for somebody's new grant.
const WAITS_MAX: u32 = 3;
/// Longest of these waits. Rails itself waits up to 30 s for the token service.
const WAIT_MAX: std::time::Duration = std::time::Duration::from_secs(35);
/// When an account comes back that only a person can mend: not soon.
const UNTIL_FIXED: std::time::Duration = std::time::Duration::from_mins(15);
/// When something comes back of which nothing is known.
const UNKNOWN_WAIT: std::time::Duration = std::time::Duration::from_secs(2);

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
    tried: Vec<AccountId>,
    refused: Vec<ModelName>,
    /// Accounts whose grant was refused: they get one more chance, with a new one.
    second_chances: Vec<Renewable>,
    /// Accounts that had theirs: a new grant that is refused as well will not get better by a third.
    renewed: Vec<AccountId>,
    provider_attempts: u32,
    refusals: u32,
    waits: u32,
    /// Whether the last of these waits brought nothing to the attempt that comes next.
    waited_in_vain: bool,
    /// The account that recovers first, of those that failed.
    earliest: Option<(Timestamp, Reason)>,
    /// What went wrong last that was not an account's own fault.
    last: Option<ApiError>,
    deadline: Instant,
}

impl Journey {
    pub(super) fn new(incoming: &Incoming) -> Self {
        Self {
            tried: Vec::new(),
            refused: Vec::new(),
            second_chances: Vec::new(),
            renewed: Vec::new(),
            provider_attempts: 0,
            refusals: 0,
            waits: 0,
            waited_in_vain: false,
            earliest: None,
            last: None,
            deadline: incoming.deadline,
        }
    }

    /// Returns the number of the attempt that comes next, from 1.
    pub(super) fn attempts(&self) -> u32 {
        self.provider_attempts + self.refusals + 1
    }

    /// Gets a lease, waiting for a new grant where only that is missing.
    pub(super) async fn acquire(&mut self, door: &Data<Door>, incoming: &Incoming) -> Result<Lease, ApiError> {
        self.waited_in_vain = false;
        loop {
            let ask = Acquire {
                wanted: incoming.wanted.clone(),
                dialects: upstream_dialects(incoming.dialect, incoming.kind),
                pools: pools(incoming),
                conversation: incoming.conversation,
                client: incoming.scope.client,
                // A count that cannot be had at once is estimated.
                patience: (incoming.kind == Kind::Answer).then_some(self.deadline),
                renewed_in_vain: self.waited_in_vain,
                tried: self.tried.clone(),
                refused: self.refused.clone(),
            };
            let none = match door.router.send(ask).await {
                Ok(Ok(Acquired::Lease(lease))) => return Ok(lease),
                Ok(Ok(Acquired::Place(place))) => match place.wait().await {
                    Ok(lease) => return Ok(lease),
                    Err(none) => none,
                },
                Ok(Err(none)) => none,
                Err(problem) => {
                    error!(request.id = %incoming.id, "the router of this worker does not answer: {problem}");
                    return Err(ApiError::Internal);
                }
            };
            let waited = match &none {
                NoAccount::Blocked { renewable, busy, .. } if !renewable.is_empty() && !self.waited_in_vain => {
                    self.waited_in_vain = !self.wait(renewable.clone()).await;
                    // Without a new grant, somebody who is only busy may still serve.
                    !self.waited_in_vain || *busy
                }
                NoAccount::Blocked { .. } | NoAccount::Exhausted if !self.second_chances.is_empty() => {
                    let chances = std::mem::take(&mut self.second_chances);
                    self.tried.retain(|id| chances.iter().all(|chance| chance.account != *id));
                    self.wait(chances).await
                }
                _ => false,
            };
            if !waited {
                return Err(self.verdict(none, incoming, door.now()));
            }
        }
    }

    /// Waits until one of `renewable` has a new grant; `false` if none gets one.
    async fn wait(&mut self, renewable: Vec<Renewable>) -> bool {
        self.waits += 1;
        if self.waits > WAITS_MAX {
            return false;
        }
        let wishes = renewable.into_iter().map(|one| {
            let asked = one.renew.send(one.wish());
            async move { asked.await.ok().and_then(Result::ok).ok_or(()) }.boxed_local()
        });
        let most = WAIT_MAX.min(self.deadline.saturating_duration_since(Instant::now()));
        matches!(timeout(most, select_ok(wishes)).await, Ok(Ok(_)))
    }

    /// Takes in a failed attempt; an error if it was the last one.
    pub(super) fn note(
        &mut self,
        door: &Data<Door>,
        incoming: &Incoming,
        account: AccountId,
        failed: Failed,
    ) -> Result<(), ApiError> {
        let fault = &failed.error.fault;
        warn_of(incoming, &account, &failed);
        if reached_the_provider(fault) {
            self.provider_attempts += 1;
        } else {
            self.refusals += 1;
        }
        let curable = fault.curable && Instant::now() < self.deadline;
        let within = self.provider_attempts < PROVIDER_ATTEMPTS_MAX && self.refusals < REFUSALS_MAX;
        let accounts_own = matches!(fault.scope, Scope::Model | Scope::Account | Scope::Namespace);
        if accounts_own {
            self.remember(fault.hold, fault.reason, door.now());
        }
        if !curable || !within {
            return Err(if accounts_own { no_account(self.earliest, door.now()) } else { failed.told });
        }
        if fault.reason == Reason::UnsupportedModel {
            // The gateway's list changes by the month. A provider says the same during an outage: that is believed for
            // this request alone.
            if fault.scope == Scope::Request {
                let news = ModelRefused { gateway: failed.gateway, model: failed.model.clone() };
                // A lost message costs one more refusal on the next request.
                door.parts.registry.do_send(news);
            }
            self.refused.push(failed.model);
        } else {
            if fault.hold == Hold::UntilMinted && !self.renewed.contains(&account) {
                self.renewed.push(account.clone());
                self.second_chances.extend(failed.renewable);
            }
            self.tried.push(account);
        }
        if !accounts_own {
            self.last = Some(failed.told);
        }
        Ok(())
    }

    fn remember(&mut self, hold: Hold, reason: Reason, now: Timestamp) {
        let wait = match hold {
            Hold::For(time) => time,
            Hold::UntilFixed => UNTIL_FIXED,
            Hold::None | Hold::Backoff | Hold::UntilMinted => UNKNOWN_WAIT,
        };
        self.earliest = Some(sooner(self.earliest, (now + wait, reason)));
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
            (NoAccount::Blocked { reason, until, .. } | NoAccount::Paused { reason, until }, _) => {
                no_account(Some(sooner(self.earliest, (until, reason))), now)
            }
            (NoAccount::Exhausted, _) => no_account(self.earliest, now),
            (NoAccount::Empty, _) => ApiError::EmptyPool,
            (NoAccount::Busy, _) => ApiError::Busy,
            (NoAccount::NoModel, None) => unsupported(&incoming.peek.model),
            (NoAccount::OtherDialect { model }, _) => other_dialect(incoming, &model),
        }
    }
}

/// Returns whether a model may have worked on the attempt, so that it may be billed.
fn reached_the_provider(fault: &Fault) -> bool {
    let answered = matches!(fault.scope, Scope::Request | Scope::Provider) && fault.reason != Reason::UnsupportedModel;
    answered || matches!(fault.reason, Reason::CutShort | Reason::Timeout)
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
        ApiError::Upstream { reason } => matches!(
            reason,
            Reason::GatewayError
                | Reason::GatewayUnreachable
                | Reason::TlsFailed
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

/// Says that a model is there, but not for this route, and which route has it.
fn other_dialect(incoming: &Incoming, model: &ModelName) -> ApiError {
    let dialect = incoming.dialect;
    let routes = if dialect == crate::domain::model::Dialect::ChatCompletions {
        "POST /v1/responses or /v1/messages"
    } else {
        "POST /v1/chat/completions"
    };
    let message = format!("model `{model}` is not translated to {dialect} yet; use {routes} for it");
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
