//! Settings: flags before environment before `duopool.toml` before defaults, checked once.
//!
//! Every setting has one name, used in the file as it is and in the environment as `DUOPOOL_` and the name in capitals.
//! What comes out of here is valid; no room below parses a setting.

mod instances;
mod layer;
mod oauth;
mod surroundings;

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use url::Url;

pub use instances::InstanceTable;
pub use layer::{AliasTable, Layer};
pub use oauth::{OAuth, is_path as is_redirect_path, redirect_uri};

use crate::domain::catalogue::{AliasRule, Pattern, RULES_MAX};
use crate::domain::endpoint::{EndpointError, GatewayUrl, InstanceUrl};
use crate::domain::model::ModelName;
use crate::domain::route::{Routes, Timeouts};
use crate::domain::secret::Secret;
use crate::domain::strategy::Strategy;

/// Where the server listens unless told otherwise: this machine only.
const LISTEN_DEFAULT: &str = "127.0.0.1:8080";
/// A client key shorter than this could be guessed, in characters.
const KEY_CHARS_MIN: usize = 16;
/// No body that a model takes is larger, in bytes.
const BODY_BYTES_LIMIT: u64 = 256 * 1024 * 1024;
/// Longest time that any timeout may be set to, in seconds: a day.
const TIMEOUT_S_MAX: u64 = 24 * 60 * 60;
/// Each request that waits holds its body in memory.
const QUEUE_LIMIT: u64 = 10_000;
/// More workers than this help nobody.
const WORKERS_MAX: u64 = 256;

/// Why settings cannot be used. The text names the setting, and never a secret's value.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the settings file {}", path.display())]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file does not parse, or has a setting that does not exist.
    #[error("the settings file {}: {problem}", path.display())]
    Syntax {
        /// Which file.
        path: PathBuf,
        /// What is wrong, without the file's text.
        problem: String,
    },
    /// An environment variable does not fit its setting.
    #[error("the environment: {0}")]
    Environment(String),
    /// A setting of one instance cannot be used.
    #[error("[[instance]] {url}: {source}")]
    Instance {
        /// Which one, as it is written there.
        url: String,
        /// What is wrong.
        source: Box<ConfigError>,
    },
    /// A value is out of range or of the wrong form.
    #[error("setting `{name}`: {problem}")]
    Value {
        /// The setting.
        name: &'static str,
        /// What is wrong.
        problem: String,
    },
}

fn value(name: &'static str, problem: impl fmt::Display) -> ConfigError {
    ConfigError::Value { name, problem: problem.to_string() }
}

/// What serves for a model that a gateway refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ModelFallback {
    /// The newest model of its family.
    Family,
    /// Nothing: the client gets an error.
    Off,
}

/// Limits of requests.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Longest time a request may take as a whole.
    pub request_timeout: Duration,
    /// A stream that has said nothing for this long gets a sign of life.
    pub heartbeat: Duration,
    /// Time that running answers get at a shutdown.
    pub drain: Duration,
    /// Largest request body, in bytes.
    pub body_bytes_max: usize,
    /// Requests that may wait for an account on one worker; 0: none.
    pub queue_max: usize,
    /// Longest time that they wait.
    pub queue_timeout: Duration,
}

/// GitLab, as the environment describes it.
#[derive(Clone, Debug)]
pub struct GitLab {
    /// The instance of logins that name none, and of `personal_access_token`.
    pub base_url: InstanceUrl,
    /// An account that `serve` adds at its start.
    pub personal_access_token: Option<Secret<String>>,
    /// How its users log in with a browser or a device code.
    pub oauth: OAuth,
}

/// Checked settings.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where clients connect.
    pub listen: SocketAddr,
    /// Where operators may connect from other machines.
    pub admin_listen: Option<SocketAddr>,
    /// Whether operators may come from other machines on `listen`.
    pub admin_remote: bool,
    /// Hosts, in lower case without a port, that an admin request's `Host` may name.
    pub hosts: Vec<String>,
    /// The address under which others reach the server, without a trailing slash.
    pub public_url: Option<String>,
    /// Where state lives.
    pub data_dir: PathBuf,
    /// What to log.
    pub log: Option<String>,
    /// Whether log lines are JSON.
    pub log_json: bool,
    /// The operators' key; made in the data folder if absent.
    pub admin_key: Option<Secret<String>>,
    /// The key that seals secrets; made in the data folder if absent.
    pub master_key: Option<Secret<String>>,
    /// Keys of clients; without one the client API is open to this machine alone.
    pub client_keys: Vec<Secret<String>>,
    /// Threads that serve clients.
    pub workers: usize,
    /// What `gitlab-duo` means where GitLab names no model.
    pub model: Option<ModelName>,
    /// What serves for a model that a gateway refuses.
    pub model_fallback: ModelFallback,
    /// How an account is chosen among those that could serve alike.
    pub strategy: Strategy,
    /// A file that adds to the model catalogue.
    pub models_file: Option<PathBuf>,
    /// The operator's rules for clients' names of models, the first that fits first.
    pub aliases: Vec<AliasRule>,
    /// Whether lists in Anthropic's form have GPT models under names that begin with `claude-`, too.
    pub list_as_claude: bool,
    /// Limits of requests.
    pub limits: Limits,
    /// GitLab.
    pub gitlab: GitLab,
    /// How instances and the gateways of their accounts are reached.
    pub routes: Routes,
    /// The gateways of the accounts of instances for which one is set.
    pub gateways: Arc<BTreeMap<InstanceUrl, GatewayUrl>>,
    /// What was set, and what that makes of each setting, for people; secrets masked.
    pub effective: serde_json::Value,
}

impl Config {
    /// Loads settings: `flags` come first, then this process's environment, then the file.
    pub fn load(flags: Layer) -> Result<Self, ConfigError> {
        Self::check(&merged(flags, |name| std::env::var(name).ok())?)
    }

    /// Checks `layer`, and fills what it leaves open with defaults.
    pub fn check(layer: &Layer) -> Result<Self, ConfigError> {
        let listen: SocketAddr = parsed("listen", layer.listen.as_deref().unwrap_or(LISTEN_DEFAULT))?;
        let admin_listen = layer.admin_listen.as_deref().map(|text| parsed("admin_listen", text)).transpose()?;
        let client_keys = layer.client_keys.clone().unwrap_or_default();
        if client_keys.iter().chain(&layer.admin_key).any(|key| key.expose().len() < KEY_CHARS_MIN) {
            return Err(value(
                "client_keys, admin_key",
                format!("a key must have at least {KEY_CHARS_MIN} characters"),
            ));
        }
        if !listen.ip().is_loopback() && client_keys.is_empty() {
            return Err(value(
                "listen",
                format!("{listen} can be reached from other machines: set a client key first (DUOPOOL_CLIENT_KEYS)"),
            ));
        }
        let gitlab = gitlab(layer)?;
        let instances = instances::check(layer, &gitlab.base_url)?;
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let mut config = Self {
            listen,
            admin_listen,
            admin_remote: layer.admin_remote.unwrap_or(false),
            hosts: hosts(layer, listen, admin_listen)?,
            public_url: layer.public_url.as_deref().map(public_url).transpose()?.map(|url| normal_form(&url)),
            data_dir: layer.data_dir.clone().map_or_else(default_data_dir, Ok)?,
            log: layer.log.clone(),
            log_json: log_format(layer.log_format.as_deref())?,
            admin_key: layer.admin_key.clone(),
            master_key: layer.master_key.clone(),
            client_keys,
            workers: within("workers", layer.workers, cores as u64, 1, WORKERS_MAX)?,
            model: layer.model.as_deref().map(model).transpose()?,
            model_fallback: fallback(layer.model_fallback.as_deref())?,
            strategy: layer.strategy.as_deref().map_or(Ok(Strategy::default()), |text| parsed("strategy", text))?,
            models_file: layer.models_file.clone(),
            aliases: aliases(layer.alias.as_deref().unwrap_or_default())?,
            list_as_claude: layer.list_as_claude.unwrap_or(false),
            limits: limits(layer)?,
            gitlab,
            routes: instances.routes,
            gateways: Arc::new(instances.gateways),
            effective: serde_json::Value::Null,
        };
        config.effective = config.describe(layer);
        Ok(config)
    }

    /// Returns the settings for people.
    fn describe(&self, layer: &Layer) -> serde_json::Value {
        let (timeouts, gateway) = (&self.routes.usual.timeouts, self.gateways.get(&self.gitlab.base_url));
        let masked = |set: bool| if set { "***" } else { "(made at first start)" };
        let seconds = |time: Duration| time.as_secs();
        let limits = &self.limits;
        let alias = |rule: &AliasRule| json!({ "pattern": rule.pattern.as_str(), "model": rule.model });
        let mut shown = json!({
            "listen": self.listen,
            "admin_listen": self.admin_listen,
            "admin_remote": self.admin_remote,
            "hosts": self.hosts,
            "public_url": self.public_url,
            "data_dir": self.data_dir,
            "log": self.log,
            "log_format": if self.log_json { "json" } else { "text" },
            "admin_key": masked(self.admin_key.is_some()),
            "master_key": masked(self.master_key.is_some()),
            "client_keys": self.client_keys.len(),
            "workers": self.workers,
            "model": self.model,
            "model_fallback": if self.model_fallback == ModelFallback::Family { "family" } else { "off" },
            "strategy": self.strategy.as_str(),
            "models_file": self.models_file,
            "list_as_claude": self.list_as_claude,
            "connect_timeout_s": seconds(timeouts.connect),
            "head_timeout_stream_s": seconds(timeouts.head_stream),
            "head_timeout_whole_s": seconds(timeouts.head_whole),
            "idle_timeout_s": seconds(timeouts.idle),
            "request_timeout_s": seconds(limits.request_timeout),
            "heartbeat_s": seconds(limits.heartbeat),
            "drain_s": seconds(limits.drain),
            "body_bytes_max": limits.body_bytes_max,
            "queue_max": limits.queue_max,
            "queue_timeout_s": seconds(limits.queue_timeout),
            "ca_file": layer.ca_file,
            "proxy": self.routes.usual.detour.as_ref().map(|detour| detour.proxy.to_string()),
            "no_proxy": layer.no_proxy,
            "resolve": layer.resolve,
            "instance": instances::describe(layer, &self.routes, &self.gateways),
            "gitlab_base_url": self.gitlab.base_url,
            "gitlab_ca_file": layer.gitlab_ca_file,
            "gitlab_ai_gateway_url": gateway,
            "gitlab_personal_access_token": self.gitlab.personal_access_token.as_ref().map(|_| "***"),
            "gitlab_oauth_client_id": self.gitlab.oauth.client_id,
            "gitlab_oauth_client_secret": self.gitlab.oauth.client_secret.as_ref().map(|_| "***"),
            "gitlab_oauth_redirect_port": self.gitlab.oauth.redirect_port,
            "gitlab_oauth_redirect_path": self.gitlab.oauth.redirect_path,
            "gitlab_oauth_scopes": self.gitlab.oauth.scopes.join(" "),
        });
        shown["alias"] = self.aliases.iter().map(alias).collect();
        shown
    }
}

/// Merges what is set, the first that says something first: `flags`, the environment, the file, and what is set for all
/// programs.
fn merged(flags: Layer, variable: impl Fn(&str) -> Option<String>) -> Result<Layer, ConfigError> {
    let environment = layer::from_environment(&variable)?;
    let asked = flags.config.clone().or_else(|| environment.config.clone());
    let file = layer::from_file(asked.as_deref())?;
    let own = flags.or(environment).or(file);
    // Only now: what is wrong there does no harm where duopool's own settings come first.
    let around = surroundings::read(&variable, &own)?;
    Ok(own.or(around))
}

fn parsed<T: std::str::FromStr<Err: fmt::Display>>(name: &'static str, text: &str) -> Result<T, ConfigError> {
    text.parse().map_err(|error| value(name, format!("`{text}`: {error}")))
}

/// Takes a number that was set, or the default, if it is within its bounds.
fn within(name: &'static str, set: Option<u64>, default: u64, least: u64, most: u64) -> Result<usize, ConfigError> {
    let number = set.unwrap_or(default);
    if !(least..=most).contains(&number) {
        return Err(value(name, format!("{number} is not between {least} and {most}")));
    }
    usize::try_from(number).map_err(|error| value(name, error))
}

/// Takes a time that was set, or the default, in seconds.
fn time(name: &'static str, set: Option<u64>, default: u64) -> Result<Duration, ConfigError> {
    within(name, set, default, 1, TIMEOUT_S_MAX).map(|seconds| Duration::from_secs(seconds as u64))
}

fn timeouts(layer: &Layer) -> Result<Timeouts, ConfigError> {
    Ok(Timeouts {
        connect: time("connect_timeout_s", layer.connect_timeout_s, 10)?,
        head_stream: time("head_timeout_stream_s", layer.head_timeout_stream_s, 60)?,
        head_whole: time("head_timeout_whole_s", layer.head_timeout_whole_s, 600)?,
        idle: time("idle_timeout_s", layer.idle_timeout_s, 300)?,
    })
}

fn limits(layer: &Layer) -> Result<Limits, ConfigError> {
    Ok(Limits {
        request_timeout: time("request_timeout_s", layer.request_timeout_s, 900)?,
        heartbeat: time("heartbeat_s", layer.heartbeat_s, 10)?,
        drain: time("drain_s", layer.drain_s, 30)?,
        body_bytes_max: within("body_bytes_max", layer.body_bytes_max, 32 * 1024 * 1024, 1_024, BODY_BYTES_LIMIT)?,
        queue_max: within("queue_max", layer.queue_max, 64, 0, QUEUE_LIMIT)?,
        queue_timeout: time("queue_timeout_s", layer.queue_timeout_s, 30)?,
    })
}

fn gitlab(layer: &Layer) -> Result<GitLab, ConfigError> {
    let wrong = |name| move |error: EndpointError| value(name, error);
    let base_url = layer.gitlab_base_url.as_deref().map(InstanceUrl::parse).transpose();
    Ok(GitLab {
        base_url: base_url.map_err(wrong("gitlab_base_url"))?.unwrap_or_else(InstanceUrl::gitlab_com),
        personal_access_token: layer.gitlab_personal_access_token.clone(),
        oauth: oauth::check(layer)?,
    })
}

/// Returns the hosts that an admin request may name: where the server listens, its public address, and the allowed.
fn hosts(layer: &Layer, listen: SocketAddr, admin: Option<SocketAddr>) -> Result<Vec<String>, ConfigError> {
    let mut hosts: Vec<String> = [Some(listen), admin].into_iter().flatten().map(|at| at.ip().to_string()).collect();
    if let Some(text) = &layer.public_url {
        hosts.extend(public_url(text)?.host_str().map(str::to_ascii_lowercase));
    }
    hosts.extend(layer.allowed_hosts.iter().flatten().map(|host| host.trim().to_ascii_lowercase()));
    Ok(hosts)
}

/// Parses the public address. Sign-ins are sent back there, so it must be one that a browser can take apart from its path.
fn public_url(text: &str) -> Result<Url, ConfigError> {
    let url = Url::parse(text).map_err(|error| value("public_url", error))?;
    let plain = url.username().is_empty() && url.password().is_none();
    if !matches!(url.scheme(), "http" | "https") || url.host().is_none() {
        return Err(value("public_url", "must start with https:// or http:// and name a host"));
    }
    if !plain || url.query().is_some() || url.fragment().is_some() {
        return Err(value("public_url", "must not contain a user name, a password, a query or a fragment"));
    }
    Ok(url)
}

fn normal_form(url: &Url) -> String {
    url.as_str().trim_end_matches('/').to_owned()
}

fn model(text: &str) -> Result<ModelName, ConfigError> {
    ModelName::parse(text).ok_or_else(|| value("model", "is no model name"))
}

fn fallback(text: Option<&str>) -> Result<ModelFallback, ConfigError> {
    match text.unwrap_or("family") {
        "family" => Ok(ModelFallback::Family),
        "off" => Ok(ModelFallback::Off),
        other => Err(value("model_fallback", format!("`{other}` is neither `family` nor `off`"))),
    }
}

/// Takes the rules as far as they can be judged without the catalogue.
fn aliases(tables: &[AliasTable]) -> Result<Vec<AliasRule>, ConfigError> {
    if tables.len() > RULES_MAX {
        return Err(value("alias", format!("{} rules are more than {RULES_MAX}", tables.len())));
    }
    let rules = tables.iter().map(|table| {
        let wrong = || value("alias", format!("`{}` is no pattern for a model's name", table.pattern.escape_debug()));
        Ok(AliasRule { pattern: Pattern::parse(&table.pattern).ok_or_else(wrong)?, model: table.model.clone() })
    });
    rules.collect()
}

fn log_format(text: Option<&str>) -> Result<bool, ConfigError> {
    match text.unwrap_or("text") {
        "text" => Ok(false),
        "json" => Ok(true),
        other => Err(value("log_format", format!("`{other}` is neither `text` nor `json`"))),
    }
}

/// Returns the folder that the XDG base directory specification names for an application's data.
fn default_data_dir() -> Result<PathBuf, ConfigError> {
    let absolute = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let base = absolute("XDG_DATA_HOME").or_else(|| absolute("HOME").map(|home| home.join(".local/share")));
    base.map(|base| base.join("duopool")).ok_or_else(|| value("data_dir", "set it, since HOME is not set"))
}

#[cfg(test)]
mod tests;
