//! What the keeper of the logins is asked.

use std::collections::BTreeMap;
use std::sync::Arc;

use actix::Message;

use crate::account::login::Given;
use crate::account::login::callback::{Callback, CallbackError};
use crate::account::login::view::{LoginKind, LoginView};
use crate::domain::endpoint::{GatewayUrl, InstanceUrl};
use crate::domain::secret::Secret;
use crate::gitlab::error::CallError;

/// What the logins of a server have in common.
#[derive(Clone, Debug)]
pub(crate) struct LoginSettings {
    /// The instance of logins that name none, and of the application below.
    pub(crate) base_url: InstanceUrl,
    /// Id of the application that is registered there.
    pub(crate) client_id: Option<String>,
    /// Its secret, if it is a confidential one.
    pub(crate) client_secret: Option<Secret<String>>,
    /// What logins ask for that say nothing of it.
    pub(crate) scopes: Vec<String>,
    /// Where a browser is sent back to on the user's own machine.
    pub(crate) redirect_uri: String,
    /// Where a browser is sent back to from anywhere, if others reach this server.
    pub(crate) public_redirect_uri: Option<String>,
    /// The configured gateways, for the users of their instances.
    pub(crate) gateways: Arc<BTreeMap<InstanceUrl, GatewayUrl>>,
    /// Whether a login that was left behind is completed without being asked.
    pub(crate) timers: bool,
}

/// A login that somebody wants to begin.
#[derive(Clone, Debug)]
pub(crate) struct NewLogin {
    /// With a browser or a device code.
    pub(crate) kind: LoginKind,
    /// Where the user lives; the configured instance if absent.
    pub(crate) instance: Option<InstanceUrl>,
    /// The application; the configured one if absent.
    pub(crate) client_id: Option<String>,
    /// Its secret.
    pub(crate) client_secret: Option<Secret<String>>,
    /// Where the browser is sent back to: an address on the user's own machine, or this server's own.
    pub(crate) redirect_uri: Option<String>,
    /// What to ask for.
    pub(crate) scopes: Option<Vec<String>>,
    /// What the operator says of the account.
    pub(crate) given: Given,
}

/// Why a login was not begun.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BeginError {
    /// No application is known.
    #[error("no OAuth application of {0} is known to duopool", .instance)]
    NoApplication {
        /// Where one is needed.
        instance: InstanceUrl,
        /// What it must be registered with.
        redirect_uri: String,
    },
    /// The address to send the browser back to is nobody's here.
    #[error("`redirect_uri` must be an http address of this machine, such as {own}{}", public.as_deref().map(|public| format!(", or {public}")).unwrap_or_default())]
    BadRedirect {
        /// The configured one.
        own: String,
        /// This server's own, if it has one.
        public: Option<String>,
    },
    /// As many are under way as may be.
    #[error("too many sign-ins are under way: wait until some are finished or have expired")]
    Full,
    /// GitLab gave no code for a device.
    #[error("GitLab gave no device code: {0}")]
    Device(CallError),
    /// The intent could not be stored.
    #[error("the sign-in could not be stored: the log says why")]
    NotStored,
    /// A part of the program that is needed for it has stopped.
    #[error("the server is stopping, or a part of it failed")]
    Gone,
}

impl BeginError {
    /// Returns what a person can do; empty where the error says it.
    pub(crate) fn fix(&self) -> String {
        match self {
            Self::NoApplication { instance, redirect_uri } => format!(
                "register one at {instance}/-/user_settings/applications (or have a group owner or administrator do so) \
                 with the redirect URI {redirect_uri} and the scope `api`; `ai_features` and `read_user` are enough to \
                 serve, but may hide the list of models (then set GITLAB_OAUTH_SCOPES to them); untick `Confidential`, or \
                 set GITLAB_OAUTH_CLIENT_SECRET to its secret as well; then set GITLAB_OAUTH_CLIENT_ID to its Application ID"
            ),
            Self::Device(error) => error.fault.reason.fix_of_login().to_owned(),
            Self::BadRedirect { .. } | Self::Full | Self::NotStored | Self::Gone => String::new(),
        }
    }
}

/// Begins a login. Refused as [`BeginError`] says.
#[derive(Debug, Message)]
#[rtype(result = "Result<LoginView, BeginError>")]
pub(crate) struct Begin(pub(crate) NewLogin);

/// An answer that a browser brought, in which form it came.
#[derive(Debug)]
pub(crate) enum Answer {
    /// To this server itself, for whichever login it is.
    Came(Callback),
    /// As an address that somebody gives for one login.
    Given {
        /// The login's id.
        login: String,
        /// The whole address.
        url: Secret<String>,
    },
}

/// Takes an answer; replies with the login's id once it is taken, and long before it is known what comes of it: that goes
/// on by itself, whether or not anybody waits. Refused as [`CallbackError`] says.
#[derive(Debug, Message)]
#[rtype(result = "Result<String, CallbackError>")]
pub(crate) struct Take(pub(crate) Answer);

/// Waits until nothing more happens to a login, or nothing that is worth waiting for; `None` if there is none of that id.
#[derive(Debug, Message)]
#[rtype(result = "Option<LoginView>")]
pub(crate) struct Await(pub(crate) String);

/// Asks for one login.
#[derive(Debug, Message)]
#[rtype(result = "Option<LoginView>")]
pub(crate) struct Show(pub(crate) String);

/// Asks for all logins, in the order in which they began.
#[derive(Debug, Message)]
#[rtype(result = "Vec<LoginView>")]
pub(crate) struct List;

/// Orders to begin no more exchange; answered once those in flight have ended and their pairs are stored.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct Finish;
