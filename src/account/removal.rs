//! The end of an account: what becomes of its token at GitLab.
//!
//! Unless an operator wants it, nothing: the token may be in use elsewhere. Where it is wanted, the account is gone from
//! the disk before GitLab is asked, so that nothing comes back; a token that GitLab does not take back is told, because
//! nobody here has it any more.

use actix::Addr;
use tracing::{info, warn};

use crate::account::exchanger::{ExchangerActor, Outlived};
use crate::account::view::Removal;
use crate::domain::fault::Reason;
use crate::domain::id::AccountId;
use crate::domain::time::Clock;
use crate::gitlab::error::{Call, CallError};
use crate::gitlab::oauth::OAuthClient;
use crate::gitlab::rest::Session;
use crate::gitlab::upstream::{Upstream, Upstreams};
use crate::store::{AccountRecord, Credential, Deleted};

impl Removal {
    /// The token stays as it is at GitLab.
    pub(crate) fn without_revocation(id: &AccountId) -> Self {
        let message = "its token stays valid at GitLab until you revoke it there".to_owned();
        Self { id: id.to_string(), revoked: false, message, fix: String::new() }
    }

    fn revoked(id: &AccountId) -> Self {
        let message = "its token is revoked at GitLab".to_owned();
        Self { id: id.to_string(), revoked: true, message, fix: String::new() }
    }

    fn still_alive(id: &AccountId, why: &str, fix: String) -> Self {
        let message = format!("its token is still valid at GitLab: {why}");
        Self { id: id.to_string(), revoked: false, message, fix }
    }
}

/// Has GitLab take back the token of an account that was `deleted`, and that of an exchange which ran at the time.
pub(crate) async fn revoke(
    id: &AccountId,
    deleted: &Deleted,
    upstreams: &Upstreams,
    exchanger: &Addr<ExchangerActor>,
    clock: &dyn Clock,
) -> Removal {
    let Deleted::Account(record) = deleted else {
        let fix = "revoke it on GitLab's page for access tokens or authorized applications".to_owned();
        return Removal::still_alive(id, "its record could not be read, so nobody here knows the token", fix);
    };
    // What is handed out for an account that is gone is revoked there, with its own word on how that went.
    let outlived = exchanger.send(Outlived(id.clone())).await.unwrap_or(Ok(()));
    match revoke_stored(record, upstreams.of(&record.instance), clock).await.and(outlived) {
        Ok(()) => {
            info!(account.id = %id, "the token of account `{id}`, which was removed, is revoked");
            Removal::revoked(id)
        }
        Err(error) => {
            warn!(account.id = %id, "the token of account `{id}`, which was removed, is still valid at GitLab: {error}");
            Removal::still_alive(id, &error.to_string(), where_to_revoke(record))
        }
    }
}

async fn revoke_stored(record: &AccountRecord, upstream: &Upstream, clock: &dyn Clock) -> Result<(), CallError> {
    let instance = &record.instance;
    match &record.credential {
        Credential::PersonalAccessToken { token, .. } => {
            let session = Session { upstream, instance, token };
            // Any scope may do that. Source: `lib/api/personal_access_tokens/self_information.rb` of GitLab.
            match session.delete(Call::Identity, "/api/v4/personal_access_tokens/self").await {
                Err(error) if matches!(error.fault.reason, Reason::TokenRevoked | Reason::TokenExpired) => Ok(()),
                result => result,
            }
        }
        Credential::OAuth { app, pair } => {
            let client = OAuthClient { upstream, instance, app, clock };
            client.revoke(pair.refresh_token.as_ref().unwrap_or(&pair.access_token)).await
        }
    }
}

fn where_to_revoke(record: &AccountRecord) -> String {
    let AccountRecord { instance, username, .. } = record;
    match record.credential {
        Credential::PersonalAccessToken { .. } => {
            format!("sign in as {username} and revoke it at {instance}/-/user_settings/personal_access_tokens")
        }
        Credential::OAuth { .. } => format!(
            "sign in as {username} and revoke the application under `Authorized applications` at \
             {instance}/-/user_settings/applications"
        ),
    }
}
