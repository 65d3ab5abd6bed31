//! The steps of a start, from the bottom floor up.

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use actix::{Actor as _, Addr, Arbiter};
use rand::RngExt;
use tokio::sync::oneshot;
use tracing::{error, info, warn};

use crate::account::login::api::LoginSettings;
use crate::account::login::{Given, LoginError, LoginsActor, LoginsParts, NewAccount};
use crate::account::registry::{AccountSettings, AddAccount, Published, RegistryActor, RegistryParts};
use crate::app::offline::open_store;
use crate::app::{Mode, StartError};
use crate::config::Config;
use crate::domain::catalogue::Catalogue;
use crate::domain::fault::Scope;
use crate::domain::id::hex;
use crate::domain::secret::Secret;
use crate::domain::time::Clock;
use crate::gitlab::upstream::{Upstreams, UpstreamsSettings};
use crate::store::{Contents, Credential, Load, MasterKey, StoreActor};
use crate::stored::Stored;

/// Name of the file that keeps the admin key, in the data folder.
const ADMIN_KEY_FILE: &str = "admin.key";
/// An account of the environment that GitLab could not be asked about is tried again after this time.
const ADOPT_AGAIN: Duration = Duration::from_mins(1);
/// How often answers that nobody may refer to any more are looked for. Whoever refers to one before gets none either.
const EXPIRE_EVERY: Duration = Duration::from_mins(1);

/// Loads the built-in catalogue, the operator's additions and their rules for names.
pub(super) fn catalogue(config: &Config) -> Result<Catalogue, StartError> {
    let mut catalogue = Catalogue::builtin().map_err(|source| StartError::Catalogue { file: None, source })?;
    if let Some(path) = &config.models_file {
        let text = fs::read_to_string(path).map_err(|source| StartError::File { path: path.clone(), source })?;
        let wrong = |source| StartError::Catalogue { file: Some(path.clone()), source };
        catalogue = catalogue.with_overrides(&text).map_err(wrong)?;
    }
    Ok(catalogue.with_rules(&config.aliases)?)
}

/// Opens the data folder and reads what is in it.
pub(super) async fn store(config: &Config) -> Result<(Addr<StoreActor>, Arbiter, Contents, MasterKey), StartError> {
    let config = config.clone();
    // Opening may wait for a lock that a killed process left behind.
    let opened = actix_web::rt::task::spawn_blocking(move || open_store(&config)).await;
    let (store, key) = opened.map_err(|error| StartError::Thread(error.to_string()))??;
    let (store, arbiter) = StoreActor::start(Box::new(store)).map_err(|error| StartError::Thread(error.to_string()))?;
    let contents = store.send(Load).await.map_err(|error| StartError::Thread(error.to_string()))??;
    Ok((store, arbiter, contents, key))
}

/// Returns the configured admin key, or the one in the data folder, made there if there is none.
pub(super) fn admin_key(config: &Config) -> Result<Secret<String>, StartError> {
    if let Some(key) = &config.admin_key {
        return Ok(key.clone());
    }
    let path = config.data_dir.join(ADMIN_KEY_FILE);
    let failed = |source| StartError::File { path: path.clone(), source };
    match read_admin_key(&config.data_dir) {
        Ok(key) => return Ok(key),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(failed(error)),
    }
    let key = hex(&rand::rng().random::<[u8; 32]>());
    write_private(&path, key.as_bytes()).map_err(failed)?;
    info!("made an admin key in {}", path.display());
    Ok(Secret::new(key))
}

/// Reads the admin key that a server made in `data_dir`.
pub(super) fn read_admin_key(data_dir: &Path) -> io::Result<Secret<String>> {
    let text = fs::read_to_string(data_dir.join(ADMIN_KEY_FILE))?;
    let key = text.trim();
    if key.is_empty() {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "the file is empty: delete it to have a new key made"));
    }
    Ok(Secret::new(key.to_owned()))
}

/// Writes a file that only its owner can read, whole or not at all.
pub(super) fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let mut file = tempfile::Builder::new().permissions(fs::Permissions::from_mode(0o600)).tempfile_in(folder)?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    file.persist(path).map_err(|error| error.error)?;
    fs::File::open(folder)?.sync_all()
}

/// Returns what the accounts of this server have in common.
pub(super) fn account_settings(config: &Config, mode: Mode) -> AccountSettings {
    AccountSettings {
        gateways: Arc::clone(&config.gateways),
        model: config.model.clone(),
        timers: mode != Mode::Embedded,
    }
}

/// Returns what the logins of this server have in common.
pub(super) fn login_settings(config: &Config, mode: Mode) -> LoginSettings {
    let (gitlab, oauth) = (&config.gitlab, &config.gitlab.oauth);
    LoginSettings {
        base_url: gitlab.base_url.clone(),
        client_id: oauth.client_id.clone(),
        client_secret: oauth.client_secret.clone(),
        scopes: oauth.scopes.clone(),
        redirect_uri: oauth.redirect_uri(),
        public_redirect_uri: config.public_url.as_ref().map(|url| format!("{url}/oauth/callback")),
        gateways: Arc::clone(&config.gateways),
        timers: mode != Mode::Embedded,
    }
}

/// What the control arbiter is started with.
pub(super) struct Control {
    pub(super) store: Addr<StoreActor>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) catalogue: Arc<Catalogue>,
    pub(super) published: Published,
    pub(super) settings: AccountSettings,
    pub(super) logins: LoginSettings,
    pub(super) contents: Contents,
    pub(super) upstreams: UpstreamsSettings,
}

impl Control {
    /// Starts the registry with its accounts and the keeper of the logins on `arbiter`, where their HTTP client is built as
    /// well.
    pub(super) async fn start(
        mut self,
        arbiter: &Arbiter,
    ) -> Result<(Addr<RegistryActor>, Addr<LoginsActor>), StartError> {
        let (started, addresses) = oneshot::channel();
        arbiter.spawn(async move {
            let upstreams = Upstreams::new(&self.upstreams);
            for bad in &self.contents.logins.unreadable {
                error!(login.id = bad.id, "what is stored of a login cannot be used: {}; it is kept", bad.reason);
            }
            let left = std::mem::take(&mut self.contents.logins.records);
            let registry = RegistryActor::start_with(RegistryParts {
                upstreams: upstreams.clone(),
                store: self.store.clone(),
                clock: Arc::clone(&self.clock),
                catalogue: Arc::clone(&self.catalogue),
                settings: self.settings,
                published: self.published,
                contents: self.contents,
            });
            let logins = LoginsActor::new(LoginsParts {
                upstreams,
                store: self.store,
                registry: registry.clone(),
                clock: self.clock,
                catalogue: self.catalogue,
                settings: self.logins,
                left,
            });
            // Nobody waits any more only if the start was given up.
            drop(started.send((registry, logins.start())));
        });
        addresses.await.map_err(|error| StartError::Thread(error.to_string()))
    }
}

/// Returns whether there is no token in the environment, or a stored account has it already.
pub(super) fn has_environment_token(config: &Config, contents: &Contents) -> bool {
    let Some(wanted) = &config.gitlab.personal_access_token else { return true };
    contents.accounts.records.iter().any(|record| {
        let same = matches!(&record.credential, Credential::PersonalAccessToken { token, .. } if token == wanted);
        record.instance == config.gitlab.base_url && same
    })
}

/// Adds the account of the environment's token, or gives a known account this token. GitLab may be out of reach when
/// the server starts, so it is tried until there is an answer.
pub(super) fn adopt_environment_account(config: &Config, registry: &Addr<RegistryActor>, arbiter: &Arbiter) {
    let Some(token) = config.gitlab.personal_access_token.clone() else { return };
    let new = NewAccount { instance: config.gitlab.base_url.clone(), token, given: Given::default(), renew: true };
    let registry = registry.clone();
    arbiter.spawn(async move {
        while let Ok(result) = registry.send(AddAccount(new.clone())).await {
            match result {
                Ok(id) => return info!(account.id = %id, "took over the token of GITLAB_PERSONAL_ACCESS_TOKEN"),
                Err(LoginError::Check { source, .. }) if source.fault.scope != Scope::Account => {
                    warn!("GITLAB_PERSONAL_ACCESS_TOKEN could not be checked yet: {source}");
                }
                Err(refused) => {
                    return error!("the account of GITLAB_PERSONAL_ACCESS_TOKEN was not added: {refused}");
                }
            }
            tokio::time::sleep(ADOPT_AGAIN).await;
        }
    });
}

/// Returns a shelf for answers, from which they go when their time is over, also while nobody asks for any.
pub(super) fn stored(mode: Mode, clock: &Arc<dyn Clock>, arbiter: &Arbiter) -> Arc<Stored> {
    let stored = Arc::<Stored>::default();
    if mode == Mode::Embedded {
        return stored;
    }
    let (shelf, clock) = (Arc::downgrade(&stored), Arc::clone(clock));
    arbiter.spawn(async move {
        loop {
            tokio::time::sleep(EXPIRE_EVERY).await;
            let Some(shelf) = shelf.upgrade() else { return };
            shelf.expire(clock.now());
        }
    });
    stored
}
