//! A new login for an account that is there: when it replaces the one that the account has.
//!
//! What a user logs in with replaces everything older. What another program brought replaces nothing that works.

use actix::{ActorFutureExt, Context, Handler, Message, ResponseActFuture, WrapFuture, fut};

use super::AccountActor;
use crate::account::api::Changes;
use crate::account::login::{Given, LoginError};
use crate::account::minting::Mint;
use crate::domain::fault::Reason;
use crate::domain::oauth::RefreshMark;
use crate::gitlab::error::CallError;
use crate::store::{Credential, DeleteLogin};

/// Gives a known account a new credential, and what its first mint came to. Refused with [`LoginError::Known`] where the
/// account keeps what it has; nothing was changed then.
#[derive(Message)]
#[rtype(result = "Result<(), LoginError>")]
pub(crate) struct Relogin {
    pub(crate) credential: Credential,
    pub(crate) username: String,
    pub(crate) given: Given,
    pub(crate) mint: Result<Mint, CallError>,
    /// The refresh token that another program brought, where nobody has logged in.
    pub(crate) imported: Option<RefreshMark>,
    /// The stored login that it came by, which ends with it.
    pub(crate) login: Option<String>,
}

/// Asks whether the account's pair has this refresh token.
#[derive(Debug, Message)]
#[rtype(result = "bool")]
pub(crate) struct Holds(pub(crate) RefreshMark);

impl Handler<Relogin> for AccountActor {
    type Result = ResponseActFuture<Self, Result<(), LoginError>>;

    fn handle(&mut self, login: Relogin, ctx: &mut Self::Context) -> Self::Result {
        if let Some(imported) = &login.imported
            && !self.gives_way_to(imported)
        {
            return Box::pin(fut::ready(Err(LoginError::Known(self.record.id.clone()))));
        }
        if is_older(&login.credential, &self.record.credential) {
            return self.overtaken(login, ctx);
        }
        let mut record = self.record.clone();
        let before = Changes::all_of(&record);
        record.credential = login.credential;
        // Not the next number but the one after: an exchange of the old pair that runs somewhere may take the next, and
        // no two credentials ever have the same.
        record.credential_generation = record.credential_generation.next().next();
        record.exchange_begun_at = None;
        record.username = login.username;
        login.given.clone().apply(&mut record);
        let saving = self.office.save(record.clone(), login.login);
        // Stored first: a token that only memory knows would be lost with the process.
        let saved = saving.into_actor(self).map(move |result, actor, ctx| {
            match result {
                Ok(Ok(())) => {}
                Ok(Err(error)) => return Err(error.into()),
                Err(_) => return Err(LoginError::Gone),
            }
            let meanwhile = Changes::all_of(&actor.record);
            actor.record = record;
            if meanwhile != before {
                meanwhile.apply(&mut actor.record);
                login.given.apply(&mut actor.record);
                actor.store_settings(ctx);
            }
            actor.logged_in(login.mint, ctx);
            Ok(())
        });
        Box::pin(saved)
    }
}

impl AccountActor {
    /// Takes over the settings of a login that a newer one has overtaken, and forgets the rest of it.
    fn overtaken(
        &mut self,
        login: Relogin,
        ctx: &mut Context<Self>,
    ) -> ResponseActFuture<Self, Result<(), LoginError>> {
        self.record.username = login.username;
        login.given.apply(&mut self.record);
        self.store_settings(ctx);
        let Some(stored) = login.login else { return Box::pin(fut::ready(Ok(()))) };
        let forgetting = self.office.store.send(DeleteLogin(stored));
        let forgotten = async move { Ok(forgetting.await.map_err(|_| LoginError::Gone)??) };
        Box::pin(forgotten.into_actor(self))
    }
}

impl AccountActor {
    /// Returns whether the account's login is that of the refresh token `imported`, or dead.
    fn gives_way_to(&self, imported: &RefreshMark) -> bool {
        match &self.record.credential {
            Credential::OAuth { pair, .. } => {
                pair.mark().as_ref() == Some(imported) || self.state.credentials().needs_login()
            }
            Credential::PersonalAccessToken { .. } => self.state.trouble().is_some_and(|trouble| {
                matches!(trouble.reason, Reason::TokenInvalid | Reason::TokenExpired | Reason::TokenRevoked)
            }),
        }
    }
}

impl Handler<Holds> for AccountActor {
    type Result = bool;

    fn handle(&mut self, Holds(mark): Holds, _: &mut Self::Context) -> Self::Result {
        matches!(&self.record.credential, Credential::OAuth { pair, .. } if pair.mark() == Some(mark))
    }
}

/// Returns whether `new` is from before `present`: a login that could not be completed for a while may be overtaken.
fn is_older(new: &Credential, present: &Credential) -> bool {
    match (new, present) {
        (Credential::OAuth { pair: new, .. }, Credential::OAuth { pair: present, .. }) => {
            new.obtained_at < present.obtained_at
        }
        (Credential::OAuth { .. } | Credential::PersonalAccessToken { .. }, _) => false,
    }
}
