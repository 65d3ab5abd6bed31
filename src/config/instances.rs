//! What is special about single instances: whom to trust, where the gateway is, through which proxy, and how long to wait.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::config::layer::secret;
use crate::config::{ConfigError, Layer, time, timeouts, value};
use crate::domain::endpoint::{GatewayUrl, InstanceUrl};
use crate::domain::route::{Authority, Detour, Exceptions, Names, Proxy, Route, Routes, Timeouts};
use crate::domain::secret::Secret;

/// Largest file of certificates, in bytes; all of Mozilla's are a quarter of a MiB.
const CA_FILE_BYTES_MAX: u64 = 4 * 1024 * 1024;
/// What a proxy is called that is none.
const NO_PROXY_AT_ALL: &str = "none";

/// One `[[instance]]` of the settings file.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InstanceTable {
    /// Root of the instance.
    pub url: String,
    /// Certificates of authorities to trust for it.
    pub ca_file: Option<PathBuf>,
    /// The gateway of its accounts.
    pub gateway_url: Option<String>,
    /// The proxy to it and its gateway, with its credentials; `none` for none.
    #[serde(default, deserialize_with = "secret")]
    pub proxy: Option<Secret<String>>,
    /// Hosts that are reached without it.
    pub no_proxy: Option<String>,
    /// Seconds to wait for a connection.
    pub connect_timeout_s: Option<u64>,
    /// Seconds to wait for the head of a streamed answer.
    pub head_timeout_stream_s: Option<u64>,
    /// Seconds to wait for the head of an answer that comes whole.
    pub head_timeout_whole_s: Option<u64>,
    /// Seconds of silence inside an answer.
    pub idle_timeout_s: Option<u64>,
}

/// What was made of it.
pub(super) struct Instances {
    pub(super) routes: Routes,
    pub(super) gateways: BTreeMap<InstanceUrl, GatewayUrl>,
}

/// Checks what is set of the ways to instances. The settings whose names begin with `gitlab_` are those of `base`, and come
/// before what its table says.
pub(super) fn check(layer: &Layer, base: &InstanceUrl) -> Result<Instances, ConfigError> {
    let usual = Route {
        authorities: layer.ca_file.as_deref().map(|path| authorities("ca_file", path)).transpose()?.unwrap_or_default(),
        detour: detour(layer.proxy.as_ref(), layer.no_proxy.as_deref(), false)?,
        timeouts: timeouts(layer)?,
        names: names(layer)?,
    };
    let mut checked = Instances { routes: Routes { usual, own: BTreeMap::new() }, gateways: BTreeMap::new() };
    for table in layer.instance.iter().flatten() {
        let in_table = |source| ConfigError::Instance { url: without_user(&table.url), source: Box::new(source) };
        checked.add(layer, table).map_err(in_table)?;
    }
    if let Some(path) = &layer.gitlab_ca_file {
        let own = authorities("gitlab_ca_file", path)?;
        let route = checked.routes.of(base).clone();
        let route = Route { authorities: merged(&checked.routes.usual.authorities, own), ..route };
        checked.routes.own.insert(base.clone(), route);
    }
    if let Some(text) = &layer.gitlab_ai_gateway_url {
        let gateway = GatewayUrl::parse(text).map_err(|error| value("gitlab_ai_gateway_url", error))?;
        checked.gateways.insert(base.clone(), gateway);
    }
    Ok(checked)
}

impl Instances {
    fn add(&mut self, layer: &Layer, table: &InstanceTable) -> Result<(), ConfigError> {
        let instance = InstanceUrl::parse(&table.url).map_err(|error| value("url", error))?;
        if self.routes.own.contains_key(&instance) {
            return Err(value("url", "has a table already"));
        }
        let usual = &self.routes.usual;
        let own = table.ca_file.as_deref().map(|path| authorities("ca_file", path)).transpose()?;
        let detour = match (&table.proxy, table.no_proxy.as_deref()) {
            (Some(proxy), except) => detour(Some(proxy), except, true)?,
            (None, Some(except)) => detour(layer.proxy.as_ref(), Some(except), false)?,
            (None, None) => usual.detour.clone(),
        };
        let secs = |time: std::time::Duration| time.as_secs();
        let timeouts = Timeouts {
            connect: time("connect_timeout_s", table.connect_timeout_s, secs(usual.timeouts.connect))?,
            head_stream: time("head_timeout_stream_s", table.head_timeout_stream_s, secs(usual.timeouts.head_stream))?,
            head_whole: time("head_timeout_whole_s", table.head_timeout_whole_s, secs(usual.timeouts.head_whole))?,
            idle: time("idle_timeout_s", table.idle_timeout_s, secs(usual.timeouts.idle))?,
        };
        let authorities = merged(&usual.authorities, own.unwrap_or_default());
        let names = usual.names.clone();
        self.routes.own.insert(instance.clone(), Route { authorities, detour, timeouts, names });
        if let Some(text) = &table.gateway_url {
            let gateway = GatewayUrl::parse(text).map_err(|error| value("gateway_url", error))?;
            self.gateways.insert(instance, gateway);
        }
        Ok(())
    }
}

fn merged(usual: &[Authority], own: Vec<Authority>) -> Vec<Authority> {
    usual.iter().cloned().chain(own).collect()
}

fn detour(
    proxy: Option<&Secret<String>>,
    except: Option<&str>,
    even_loopback: bool,
) -> Result<Option<Detour>, ConfigError> {
    let Some(text) = proxy.map(Secret::expose).filter(|text| text.trim() != NO_PROXY_AT_ALL) else { return Ok(None) };
    let proxy = Proxy::parse(text).map_err(|error| value("proxy", error))?;
    Ok(Some(Detour { proxy, except: Exceptions::parse(except.unwrap_or_default()), even_loopback }))
}

fn names(layer: &Layer) -> Result<Names, ConfigError> {
    let entries = layer.resolve.iter().flatten().map(String::as_str);
    Names::parse(entries).map_err(|entry| value("resolve", format!("`{entry}` is not of the form HOST=ADDRESS")))
}

/// Reads the certificates of a file in PEM form.
fn authorities(name: &'static str, path: &Path) -> Result<Vec<Authority>, ConfigError> {
    let wrong = |problem: String| value(name, format!("{}: {problem}", path.display()));
    let size = std::fs::metadata(path).map_err(|error| wrong(error.to_string()))?.len();
    if size > CA_FILE_BYTES_MAX {
        return Err(wrong("is too large for a file of certificates".to_owned()));
    }
    let text = std::fs::read(path).map_err(|error| wrong(error.to_string()))?;
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    let certificates = certificates.map_err(|error| wrong(format!("is no good PEM: {error}")))?;
    if certificates.is_empty() {
        return Err(wrong("there is no certificate in it (it must be in PEM form)".to_owned()));
    }
    // The bundle of a system may hold an old one that cannot be read, which is no harm while others can.
    let readable = |certificate: &&CertificateDer<'static>| RootCertStore::empty().add((*certificate).clone()).is_ok();
    let found: Vec<Authority> = certificates.iter().filter(readable).map(|found| found.as_ref().into()).collect();
    if found.is_empty() {
        return Err(wrong("no certificate in it can be read".to_owned()));
    }
    Ok(found)
}

/// Returns an address as far as it may be shown: a user name or password does not belong there, but may be.
fn without_user(url: &str) -> String {
    url.rsplit_once('@').map_or_else(|| url.to_owned(), |(_, host)| format!("***@{host}"))
}

/// Returns what is in effect for the instances that have a way or a gateway of their own, for people.
pub(super) fn describe(layer: &Layer, routes: &Routes, gateways: &BTreeMap<InstanceUrl, GatewayUrl>) -> Value {
    let tables = layer.instance.as_deref().unwrap_or_default();
    let shown = routes.own.iter().map(|(instance, route)| {
        let table = tables.iter().find(|table| InstanceUrl::parse(&table.url).as_ref() == Ok(instance));
        json!({
            "url": instance,
            "ca_file": table.and_then(|table| table.ca_file.as_ref()),
            "certificates": route.authorities.len(),
            "gateway_url": gateways.get(instance),
            "proxy": route.detour.as_ref().map(|detour| detour.proxy.to_string()),
            "no_proxy": table.and_then(|table| table.no_proxy.as_ref()),
            "connect_timeout_s": route.timeouts.connect.as_secs(),
            "head_timeout_stream_s": route.timeouts.head_stream.as_secs(),
            "head_timeout_whole_s": route.timeouts.head_whole.as_secs(),
            "idle_timeout_s": route.timeouts.idle.as_secs(),
        })
    });
    shown.collect()
}
