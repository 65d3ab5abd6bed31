//! The composition root: builds every room, wires the addresses, binds, and takes it all down again.

mod boot;
mod offline;
mod run_file;

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use actix::{Actor, Addr, Arbiter};
use actix_web::dev::ServerHandle;
use actix_web::web::Data;
use actix_web::{App as WebApp, HttpServer, middleware};
use futures::future::join;
use rand::SeedableRng;
use rand::rngs::StdRng;
use tokio::time::timeout;
use tracing::{error, info, warn};

use crate::access::Access;
use crate::account::login::api::Finish as FinishLogins;
use crate::account::login::{LoginsActor, POOL_DEFAULT};
use crate::account::registry::{Finish, Published, RegistryActor, SETTLE_MAX, Settle};
use crate::config::{Config, ConfigError, ModelFallback};
use crate::domain::catalogue::{AliasError, Catalogue, CatalogueError};
use crate::domain::secret::Secret;
use crate::domain::time::Clock;
use crate::gitlab::upstream::{Upstreams, UpstreamsSettings};
use crate::http::door::{Door, DoorParts, DoorSettings};
use crate::http::drain::Drain;
use crate::router::{RouterActor, RouterSettings};
use crate::store::{KeyError, OpenError, StoreActor, StoreError};

pub use offline::{RestoreError, restore, rotate_master_key, write_new_private};
pub use run_file::{RunFile, find as find_running};

/// A connection that a client keeps open may be idle for this long. SDKs reuse theirs within a minute.
const KEEP_ALIVE: Duration = Duration::from_secs(75);
/// Longest time for a request's head to arrive.
const HEAD_READ_MAX: Duration = Duration::from_secs(15);
/// What streams get to say their last words once the drain is over.
const LAST_WORDS: Duration = Duration::from_secs(3);
/// Longest wait for logins that are exchanged or renewed: GitLab's answer may take 80 s, and a disk may have to be tried
/// again.
const FINISH_MAX: Duration = Duration::from_mins(2);
/// Longest wait for the store to write what it holds.
const FLUSH_MAX: Duration = Duration::from_secs(5);

/// How an app runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// As a server: credentials are renewed, models listed, and `run.json` says where it is.
    Serve,
    /// As a server whose data nobody else looks for: the demo, and tests.
    Private,
    /// For one command of the command line: GitLab is touched on demand only.
    Embedded,
}

/// Why an app did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A setting cannot be used.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The address is taken or not ours.
    #[error("cannot listen on {address}")]
    Listen {
        /// Which address.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The data folder cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The master key cannot be used.
    #[error(transparent)]
    MasterKey(#[from] KeyError),
    /// The master key cannot be changed.
    #[error(transparent)]
    KeyChange(OpenError),
    /// A file beside the data cannot be read or written.
    #[error("cannot use {}", path.display())]
    File {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The model catalogue cannot be used.
    #[error("{} cannot be used", file.as_deref().map_or("the built-in model catalogue".to_owned(), |f| f.display().to_string()))]
    Catalogue {
        /// The operator's file, if it is at fault.
        file: Option<PathBuf>,
        /// What is wrong.
        source: CatalogueError,
    },
    /// A rule for clients' names of models cannot be used.
    #[error(transparent)]
    Alias(#[from] AliasError),
    /// A thread could not be started, or stopped at once.
    #[error("a part of the server did not start: {0}")]
    Thread(String),
}

/// What the key is for that seals what models thought.
const REASONING: &str = "reasoning";

impl From<OpenError> for StartError {
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::Key(error) => Self::MasterKey(error),
            OpenError::Store(error) => Self::Store(error),
            OpenError::Nothing(_) | OpenError::SameKey => Self::KeyChange(error),
        }
    }
}

/// A running app.
pub struct Running {
    address: SocketAddr,
    admin_address: SocketAddr,
    admin_key: Secret<String>,
    server: ServerHandle,
    drain: Arc<Drain>,
    drain_time: Duration,
    logins: Addr<LoginsActor>,
    store: Addr<StoreActor>,
    registry: Addr<RegistryActor>,
    arbiters: Vec<Arbiter>,
    run_file: Option<RunFile>,
}

/// Starts an app with `config`.
pub async fn start(config: Config, mode: Mode, clock: Arc<dyn Clock>) -> Result<Running, StartError> {
    let listener = listen(config.listen)?;
    let admin_listener = config.admin_listen.map(listen).transpose()?;
    let catalogue = Arc::new(boot::catalogue(&config)?);
    let (store, store_arbiter, contents, master_key) = boot::store(&config).await?;
    let reasoning_key = master_key.derive(REASONING);
    let admin_key = boot::admin_key(&config)?;
    let published = Published::default();
    let upstreams = UpstreamsSettings::new(&config.routes);
    let control = Arbiter::new();
    let known = boot::has_environment_token(&config, &contents);
    let (registry, logins) = boot::Control {
        store: store.clone(),
        clock: Arc::clone(&clock),
        catalogue: Arc::clone(&catalogue),
        published: Arc::clone(&published),
        settings: boot::account_settings(&config, mode),
        logins: boot::login_settings(&config, mode),
        contents,
        upstreams: upstreams.clone(),
    }
    .start(&control)
    .await?;
    // A server that listens before its accounts are known would tell its first clients that it has none.
    registry.send(Settle).timeout(SETTLE_MAX).await.unwrap_or_default();
    if mode == Mode::Serve && !known {
        boot::adopt_environment_account(&config, &registry, &control);
    }
    let drain = Arc::new(Drain::default());
    let parts = DoorParts {
        registry: registry.clone(),
        backups: store.clone().recipient(),
        logins: logins.clone(),
        published,
        access: Arc::new(Access::new(&config.client_keys, &admin_key, Arc::new([POOL_DEFAULT.to_owned()]))),
        catalogue,
        stored: boot::stored(mode, &clock, &control),
        clock,
        drain: Arc::clone(&drain),
        traces: Arc::default(),
        settings: Arc::new(door_settings(&config, admin_listener.as_ref(), reasoning_key)),
        effective: Arc::new(config.effective.clone()),
    };
    let (address, admin_address) = (address_of(&listener)?, admin_listener.as_ref().map(address_of).transpose()?);
    let server = serve(&config, mode, parts, upstreams, std::iter::once(listener).chain(admin_listener).collect())?;
    let run_file = if mode == Mode::Serve { Some(RunFile::write(&config.data_dir, address)?) } else { None };
    info!(%address, "listening on http://{address}");
    Ok(Running {
        address,
        admin_address: admin_address.unwrap_or(address),
        admin_key,
        server,
        drain,
        drain_time: config.limits.drain,
        logins,
        store,
        registry,
        arbiters: vec![control, store_arbiter],
        run_file,
    })
}

fn listen(address: SocketAddr) -> Result<TcpListener, StartError> {
    TcpListener::bind(address).map_err(|source| StartError::Listen { address, source })
}

fn address_of(listener: &TcpListener) -> Result<SocketAddr, StartError> {
    listener.local_addr().map_err(|error| StartError::Thread(error.to_string()))
}

fn door_settings(config: &Config, admin: Option<&TcpListener>, reasoning_key: Secret<[u8; 32]>) -> DoorSettings {
    let limits = &config.limits;
    DoorSettings {
        body_bytes_max: limits.body_bytes_max,
        request_timeout: limits.request_timeout,
        heartbeat: limits.heartbeat,
        hosts: config.hosts.clone(),
        admin_remote: config.admin_remote,
        admin_address: admin.and_then(|listener| listener.local_addr().ok()),
        reasoning_key,
        list_as_claude: config.list_as_claude,
    }
}

/// Starts the workers. Each has its own router and HTTP client, built on its own thread.
fn serve(
    config: &Config,
    mode: Mode,
    parts: DoorParts,
    upstreams: UpstreamsSettings,
    listeners: Vec<TcpListener>,
) -> Result<ServerHandle, StartError> {
    let choosing = RouterSettings {
        family_fallback: config.model_fallback == ModelFallback::Family,
        strategy: config.strategy,
        queue_places: config.limits.queue_max,
        queue_time: config.limits.queue_timeout,
    };
    let factory = move || {
        let (published, catalogue) = (Arc::clone(&parts.published), Arc::clone(&parts.catalogue));
        let router = RouterActor::new(published, catalogue, Arc::clone(&parts.clock), choosing).start();
        let door = Data::new(Door {
            parts: parts.clone(),
            router,
            upstreams: Upstreams::new(&upstreams),
            rng: StdRng::from_rng(&mut rand::rng()).into(),
        });
        WebApp::new().app_data(door).wrap(middleware::from_fn(crate::http::identify)).configure(crate::http::routes)
    };
    let mut server = HttpServer::new(factory)
        .workers(if mode == Mode::Embedded { 1 } else { config.workers })
        .disable_signals()
        // Small events would wait for the acknowledgement of the one before, 40 ms each.
        .tcp_nodelay(true)
        // A client that leaves closes its side: that must end its request at once, before and during the answer.
        .h1_allow_half_closed(false)
        .keep_alive(KEEP_ALIVE)
        .client_request_timeout(HEAD_READ_MAX)
        .shutdown_timeout(LAST_WORDS.as_secs());
    for listener in listeners {
        server = server.listen(listener).map_err(|error| StartError::Thread(error.to_string()))?;
    }
    let server = server.run();
    let handle = server.handle();
    actix_web::rt::spawn(server);
    Ok(handle)
}

impl Running {
    /// Returns where clients connect.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns where operators connect.
    pub fn admin_address(&self) -> SocketAddr {
        self.admin_address
    }

    /// Returns the operators' key.
    pub fn admin_key(&self) -> &Secret<String> {
        &self.admin_key
    }

    /// Stops: takes no more requests, lets answers finish for the drain time, then ends them with an error event.
    pub async fn stop(self) {
        // The file goes first: from now on, commands must not look here.
        drop(self.run_file);
        self.drain.start();
        let stopping = actix_web::rt::spawn(self.server.stop(true));
        if timeout(self.drain_time, self.drain.empty()).await.is_err() {
            warn!(
                open = self.drain.open(),
                "ending {} requests that are not done after the drain time",
                self.drain.open()
            );
            self.drain.end();
            // Those that cannot say their last words, as to a client that reads nothing, are cut.
            drop(timeout(LAST_WORDS, self.drain.empty()).await);
        }
        // What is left are idle connections, which the server would wait for.
        drop(self.server.stop(false));
        stopping.abort();
        // A login that is being exchanged must come to disk: what GitLab hands out now is all there will be.
        let finishing = join(self.logins.send(FinishLogins), self.registry.send(Finish));
        if timeout(FINISH_MAX, finishing).await.is_err() {
            error!(
                "stopping although a login is being exchanged, or a new pair is not on disk; the next start says which"
            );
        }
        if timeout(FLUSH_MAX, self.store.send(crate::store::Flush)).await.is_err() {
            warn!("the store did not finish writing in time");
        }
        for arbiter in self.arbiters {
            arbiter.stop();
        }
        info!("stopped");
    }
}

/// Returns the models that a server with `config` knows.
pub fn catalogue_of(config: &Config) -> Result<Catalogue, StartError> {
    boot::catalogue(config)
}

/// Returns the operators' key of the server that has `config`'s data folder open.
pub fn admin_key_of(config: &Config) -> io::Result<Secret<String>> {
    match &config.admin_key {
        Some(key) => Ok(key.clone()),
        None => boot::read_admin_key(&config.data_dir),
    }
}
