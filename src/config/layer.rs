//! One source of settings, in which everything may be absent.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::config::ConfigError;
use crate::config::instances::InstanceTable;
use crate::domain::secret::Secret;

/// The settings file of the working directory, read if it is there.
const FILE_DEFAULT: &str = "duopool.toml";
/// What only the file can hold.
const TABLES: &str = "instance";

macro_rules! layer {
    ($($(#[$doc:meta])* $name:ident: $kind:ty),* $(,)?) => {
        /// Settings from one source.
        #[derive(Clone, Debug, Default, Deserialize)]
        #[serde(deny_unknown_fields)]
        pub struct Layer { $($(#[$doc])* pub $name: Option<$kind>),* }

        impl Layer {
            /// Returns the settings of `self`, and those of `other` where `self` has none.
            #[must_use]
            pub fn or(self, other: Self) -> Self {
                Self { $($name: self.$name.or(other.$name)),* }
            }

            /// Every setting's name.
            const NAMES: &[&str] = &[$(stringify!($name)),*];
        }
    };
}

layer! {
    /// Path of the settings file.
    config: PathBuf,
    /// Address and port for clients.
    listen: String,
    /// Address and port for operators on other machines.
    admin_listen: String,
    /// Whether operators may come from other machines on `listen`.
    admin_remote: bool,
    /// The address under which others reach the server.
    public_url: String,
    /// Further hosts that an admin request's `Host` may name.
    allowed_hosts: Vec<String>,
    /// Where state lives.
    data_dir: PathBuf,
    /// What to log.
    log: String,
    /// `text` or `json`.
    log_format: String,
    /// The operators' key.
    #[serde(deserialize_with = "secret")] #[serde(default)]
    admin_key: Secret<String>,
    /// The key that seals secrets.
    #[serde(deserialize_with = "secret")] #[serde(default)]
    master_key: Secret<String>,
    /// Keys of clients.
    #[serde(deserialize_with = "secrets")] #[serde(default)]
    client_keys: Vec<Secret<String>>,
    /// Threads that serve clients.
    workers: u64,
    /// What `gitlab-duo` means where GitLab names no model.
    model: String,
    /// `family` or `off`.
    model_fallback: String,
    /// `balanced`, `round-robin`, `fill-first` or `random`.
    strategy: String,
    /// Requests that may wait for an account on one worker.
    queue_max: u64,
    /// Seconds that they may wait.
    queue_timeout_s: u64,
    /// A file that adds to the model catalogue.
    models_file: PathBuf,
    /// Rules for clients' names of models.
    alias: Vec<AliasTable>,
    /// Whether Claude's model list has GPT models, too.
    list_as_claude: bool,
    /// Seconds to wait for a connection.
    connect_timeout_s: u64,
    /// Seconds to wait for the head of a streamed answer.
    head_timeout_stream_s: u64,
    /// Seconds to wait for the head of an answer that comes whole.
    head_timeout_whole_s: u64,
    /// Seconds of silence inside an answer.
    idle_timeout_s: u64,
    /// Seconds a request may take as a whole.
    request_timeout_s: u64,
    /// Seconds of silence after which a stream gets a sign of life.
    heartbeat_s: u64,
    /// Seconds that running answers get at a shutdown.
    drain_s: u64,
    /// Bytes of the largest request body.
    body_bytes_max: u64,
    /// Certificates of authorities to trust, for all instances.
    ca_file: PathBuf,
    /// The proxy to all instances, with its credentials; `none` for none.
    #[serde(deserialize_with = "secret")] #[serde(default)]
    proxy: Secret<String>,
    /// Hosts that are reached without it.
    no_proxy: String,
    /// What is special about single instances.
    instance: Vec<InstanceTable>,
    /// Names that are not looked up: `HOST=ADDRESS`.
    resolve: Vec<String>,
    /// Root of the GitLab instance.
    gitlab_base_url: String,
    /// Certificates of authorities to trust for that instance.
    gitlab_ca_file: PathBuf,
    /// The gateway of that instance.
    gitlab_ai_gateway_url: String,
    /// An account to add at start.
    #[serde(deserialize_with = "secret")] #[serde(default)]
    gitlab_personal_access_token: Secret<String>,
    /// Id of the OAuth application that is registered at the instance.
    gitlab_oauth_client_id: String,
    /// Its secret, if it is a confidential one.
    #[serde(deserialize_with = "secret")] #[serde(default)]
    gitlab_oauth_client_secret: Secret<String>,
    /// Port of the address on this machine that a browser is sent back to.
    gitlab_oauth_redirect_port: u64,
    /// Path of that address.
    gitlab_oauth_redirect_path: String,
    /// What a login asks for, separated by spaces.
    gitlab_oauth_scopes: String,
}

/// A rule as it is written: `[[alias]]` in the file, `PATTERN=MODEL` in the environment.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AliasTable {
    /// The names it is for.
    pub pattern: String,
    /// What serves them.
    pub model: String,
}

pub(super) fn secret<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Secret<String>>, D::Error> {
    Ok(Some(Secret::new(String::deserialize(deserializer)?)))
}

fn secrets<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Vec<Secret<String>>>, D::Error> {
    Ok(Some(Vec::<String>::deserialize(deserializer)?.into_iter().map(Secret::new).collect()))
}

/// Reads the settings file: the one asked for, which must be there, or the default one if it is.
pub(super) fn from_file(asked: Option<&Path>) -> Result<Layer, ConfigError> {
    let path = asked.unwrap_or(Path::new(FILE_DEFAULT));
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if asked.is_none() && error.kind() == std::io::ErrorKind::NotFound => return Ok(Layer::default()),
        Err(source) => return Err(ConfigError::Unreadable { path: path.to_owned(), source }),
    };
    toml::from_str(&text).map_err(|error| {
        // The error's own display quotes the line, which may hold a key.
        let line =
            error.span().map_or(1, |span| text.bytes().take(span.start).filter(|byte| *byte == b'\n').count() + 1);
        let problem = format!("line {line}: {}", without_values(error.message()));
        ConfigError::Syntax { path: path.to_owned(), problem }
    })
}

/// Reads settings from environment variables: `DUOPOOL_` and the name in capitals; the names that begin with `gitlab_`
/// stand alone, as GitLab's own tools have them. Lists are separated by commas. An empty variable counts as not set.
pub(super) fn from_environment(variable: impl Fn(&str) -> Option<String>) -> Result<Layer, ConfigError> {
    let mut table = toml::Table::new();
    for name in Layer::NAMES.iter().filter(|name| **name != TABLES) {
        let upper = name.to_ascii_uppercase();
        let key = if name.starts_with("gitlab_") { upper } else { format!("DUOPOOL_{upper}") };
        let Some(text) = variable(&key).filter(|text| !text.is_empty()) else { continue };
        table.insert((*name).to_owned(), typed(name, text));
    }
    table.try_into().map_err(|error: toml::de::Error| ConfigError::Environment(without_values(error.message())))
}

/// Returns the parser's words without the values and names that they quote, since any of these may be a key that was put
/// in the wrong place.
fn without_values(message: &str) -> String {
    let shown = match (message.find('"'), message.rfind('"')) {
        (Some(first), Some(last)) if first < last => format!("{}\"***\"{}", &message[..first], &message[last + 1..]),
        _ => message.to_owned(),
    };
    let is_name = |text: &str| text.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
    let Some(rest) = shown.strip_prefix("unknown field `") else { return shown };
    match rest.split_once("`, ") {
        Some((name, rest)) if !is_name(name) => format!("unknown field, {rest}"),
        _ => shown,
    }
}

fn typed(name: &str, text: String) -> toml::Value {
    let is_number = name.ends_with("_s") || name.ends_with("_max") || name.ends_with("_port") || name == "workers";
    match name {
        "client_keys" | "allowed_hosts" | "resolve" => {
            toml::Value::Array(text.split(',').map(|one| toml::Value::from(one.trim())).collect())
        }
        "alias" => toml::Value::Array(text.split(',').map(|rule| alias(rule.trim())).collect()),
        "admin_remote" | "list_as_claude" => {
            text.parse::<bool>().map_or(toml::Value::String(text), toml::Value::Boolean)
        }
        _ if is_number => text.parse::<i64>().map_or(toml::Value::String(text), toml::Value::Integer),
        _ => toml::Value::String(text),
    }
}

/// Returns a rule that is written as `PATTERN=MODEL`; what has no sign between is left to the parser to refuse.
fn alias(text: &str) -> toml::Value {
    let Some((pattern, model)) = text.split_once('=') else { return toml::Value::from(text) };
    let member = |name: &str, text: &str| (name.to_owned(), toml::Value::from(text.trim()));
    toml::Value::Table([member("pattern", pattern), member("model", model)].into_iter().collect())
}
