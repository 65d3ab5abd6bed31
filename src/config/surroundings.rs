//! What is set for all programs of a machine, where duopool's own settings are silent: `HTTPS_PROXY`, `NO_PROXY` and
//! `SSL_CERT_FILE`.
//!
//! `HTTP_PROXY` is not read: it is for plain HTTP, which duopool speaks to this machine alone, and never through a proxy
//! that it was not told to use for that.

use crate::config::{ConfigError, Layer};
use crate::domain::route::Proxy;
use crate::domain::secret::Secret;

/// Reads those that `own` settings leave open. Names in lower case come first, as they do for curl; an empty one counts as
/// not set.
///
/// # Errors
/// [`ConfigError::Environment`] for a proxy that duopool cannot use, where it would be used.
pub(super) fn read(variable: impl Fn(&str) -> Option<String>, own: &Layer) -> Result<Layer, ConfigError> {
    let set = |name: &'static str| Some((name, variable(name).filter(|text| !text.is_empty())?));
    let first = |names: [&'static str; 2]| names.into_iter().find_map(set);
    let proxy = || first(["https_proxy", "HTTPS_PROXY"]).or_else(|| first(["all_proxy", "ALL_PROXY"]));
    let proxy = if own.proxy.is_none() { proxy() } else { None };
    if let Some((name, text)) = &proxy {
        Proxy::parse(text).map_err(|error| {
            ConfigError::Environment(format!("`{name}` {error}; to go without a proxy, set DUOPOOL_PROXY to `none`"))
        })?;
    }
    Ok(Layer {
        proxy: proxy.map(|(_, text)| Secret::new(text)),
        no_proxy: first(["no_proxy", "NO_PROXY"]).map(|(_, text)| text),
        ca_file: set("SSL_CERT_FILE").filter(|_| own.ca_file.is_none()).map(|(_, text)| text.into()),
        ..Layer::default()
    })
}
