//! A login with a device code: asks GitLab, at the pace that GitLab wants, whether the user has entered it.

use std::time::Duration;

use actix::{ActorFutureExt, AsyncContext, Context, ResponseActFuture, WrapFuture};
use tracing::info;

use crate::account::login::actor::LoginsActor;
use crate::account::login::api::BeginError;
use crate::account::login::completion::trouble;
use crate::account::login::table::{Asked, DeviceCode, Login, Phase};
use crate::account::login::view::{LoginProblem, LoginView};
use crate::domain::fault::Reason;
use crate::domain::secret::Secret;
use crate::gitlab::oauth::{DeviceGrant, DevicePoll, ExchangeError};
use crate::store::{LoginRecord, LoginState};

/// What GitLab's `slow_down` adds to the interval. Source: RFC 8628, section 3.5.
const SLOW_DOWN: Duration = Duration::from_secs(5);
/// Questions in a row that GitLab did not answer in its own words, before the login is given up.
const SILENCE_MAX: u32 = 5;
/// The longest interval.
const INTERVAL_MAX: Duration = Duration::from_mins(1);

/// A login whose user is waited for.
struct Polling {
    record: LoginRecord,
    code: Secret<String>,
    scopes: Vec<String>,
    interval: Duration,
    /// Questions in a row that were not answered.
    silence: u32,
}

impl LoginsActor {
    /// Asks GitLab for a code, stores the intent, and begins to ask whether it was entered.
    pub(super) fn begin_device(&mut self, asked: Asked) -> ResponseActFuture<Self, Result<LoginView, BeginError>> {
        let id = self.new_id();
        let record = self.intent(&id, &asked);
        let (office, scopes) = (self.office.clone(), asked.scopes.clone());
        let beginning = async move {
            let granted = office.client(&record).start_device(&scopes).await.map_err(BeginError::Device)?;
            // Any of the questions may be the one that is answered with a pair.
            if office.store_intent(&record).await { Ok((record, granted)) } else { Err(BeginError::NotStored) }
        };
        Box::pin(beginning.into_actor(self).map(move |begun, actor, ctx| {
            let (record, granted) = begun?;
            actor.poll_from_now_on(record, asked, granted, ctx)
        }))
    }

    fn poll_from_now_on(
        &mut self,
        record: LoginRecord,
        asked: Asked,
        granted: DeviceGrant,
        ctx: &mut Context<Self>,
    ) -> Result<LoginView, BeginError> {
        let (id, now) = (record.id.clone(), self.now());
        let shown = DeviceCode {
            user_code: granted.user_code,
            page: granted.verification_uri,
            page_with_code: granted.verification_uri_complete,
        };
        let scopes = asked.scopes.clone();
        let phase = Phase::Device { shown, until: granted.expires_at };
        let login = Login { id: id.clone(), asked, begun_at: now, phase, state: None };
        if self.logins.begin(login, now).is_err() {
            let office = self.office.clone();
            ctx.spawn(async move { office.forget(id).await }.into_actor(self));
            return Err(BeginError::Full);
        }
        info!(login.id = id, "a login with a device code was begun");
        let polling = Polling { record, code: granted.device_code, scopes, interval: granted.interval, silence: 0 };
        poll_later(polling, ctx);
        self.logins.view(&id).ok_or(BeginError::Gone)
    }

    fn poll(&mut self, polling: Polling, ctx: &mut Context<Self>) {
        let office = self.office.clone();
        if self.finishing || !self.logins.is_pending(&polling.record.id) {
            let id = polling.record.id;
            ctx.spawn(async move { office.forget(id).await }.into_actor(self));
            return;
        }
        self.took_off();
        let asking = async move {
            let polled = office.client(&polling.record).poll_device(&polling.code, &polling.scopes).await;
            match polled {
                Ok(DevicePoll::Pair(pair)) => {
                    let mut record = polling.record;
                    record.state = LoginState::Issued(pair);
                    office.keep(&record).await;
                    Next::Issued(record)
                }
                Ok(DevicePoll::Pending) => Next::Again(Polling { silence: 0, ..polling }),
                Ok(DevicePoll::SlowDown) => Next::Again(polling.slower(SLOW_DOWN)),
                Ok(DevicePoll::Denied) => Next::Over(polling, said("the sign-in was declined at GitLab", "")),
                Ok(DevicePoll::Expired) => {
                    Next::Over(polling, said("the code was not entered in time", "begin the login again"))
                }
                Err(error) => polling.unanswered(&error),
            }
        };
        ctx.spawn(asking.into_actor(self).map(|next, actor, ctx| {
            actor.landed();
            match next {
                Next::Issued(record) => actor.issued(record, ctx),
                Next::Again(polling) => poll_later(polling, ctx),
                Next::Over(polling, problem) => {
                    let (office, id) = (actor.office.clone(), polling.record.id);
                    actor.fail(&id, problem);
                    ctx.spawn(async move { office.forget(id).await }.into_actor(actor));
                }
            }
        }));
    }
}

/// What follows from an answer.
enum Next {
    Issued(LoginRecord),
    Again(Polling),
    Over(Polling, LoginProblem),
}

fn poll_later(polling: Polling, ctx: &mut Context<LoginsActor>) {
    let wait = polling.interval.saturating_mul(1 << polling.silence.min(5)).min(INTERVAL_MAX);
    ctx.run_later(wait, move |actor, ctx| actor.poll(polling, ctx));
}

fn said(message: &str, fix: &str) -> LoginProblem {
    LoginProblem { reason: None, message: message.to_owned(), fix: fix.to_owned() }
}

impl Polling {
    fn slower(self, by: Duration) -> Self {
        Self { interval: (self.interval + by).min(INTERVAL_MAX), silence: 0, ..self }
    }

    /// Decides about a question that was answered by none of the words that are meant for it.
    fn unanswered(self, error: &ExchangeError) -> Next {
        let problem = || trouble("GitLab gave no tokens", error.call());
        match error {
            ExchangeError::Refused(call) if call.fault.reason == Reason::InstanceThrottled => {
                Next::Again(self.slower(SLOW_DOWN))
            }
            // A pair may have been in an answer that was lost; GitLab says so when it is asked again.
            ExchangeError::Unknown(_) if self.silence + 1 < SILENCE_MAX => {
                Next::Again(Self { silence: self.silence + 1, ..self })
            }
            ExchangeError::Refused(_) | ExchangeError::InvalidGrant(_) | ExchangeError::Unknown(_) => {
                let problem = problem();
                Next::Over(self, problem)
            }
        }
    }
}
