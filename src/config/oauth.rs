//! Settings of logins with a browser or a device code.

use crate::config::{ConfigError, Layer, value, within};
use crate::domain::secret::Secret;

/// Port of the address on this machine that a browser is sent back to.
const REDIRECT_PORT_DEFAULT: u64 = 17_171;
/// Path of that address.
const REDIRECT_PATH_DEFAULT: &str = "/callback";
/// `api` opens direct access, the list of models and the owner's name; `ai_features read_user` is enough to serve, but
/// GitLab may then not list the models.
const SCOPES_DEFAULT: &str = "api";
/// An id, a path or a list of scopes that is longer is none, in characters.
const TEXT_CHARS_MAX: usize = 512;

/// How users of the instance log in with a browser or a device code.
#[derive(Clone, Debug)]
pub struct OAuth {
    /// Id of the application that is registered at the instance.
    pub client_id: Option<String>,
    /// Its secret, if it is a confidential one.
    pub client_secret: Option<Secret<String>>,
    /// Port of the address on this machine that a browser is sent back to.
    pub redirect_port: u16,
    /// Path of that address.
    pub redirect_path: String,
    /// What a login asks for.
    pub scopes: Vec<String>,
}

impl OAuth {
    /// Returns the address on this machine that a browser is sent back to, as it must be registered.
    ///
    /// By number and not by name: GitLab ignores the port of an address of this machine only where it is a number, and
    /// `localhost` may mean another machine's listener than ours.
    pub fn redirect_uri(&self) -> String {
        redirect_uri(self.redirect_port, &self.redirect_path)
    }
}

/// Returns the address on this machine with that port and path.
pub fn redirect_uri(port: u16, path: &str) -> String {
    format!("http://127.0.0.1:{port}{path}")
}

/// Checks the part of `layer` that is about logins.
pub(super) fn check(layer: &Layer) -> Result<OAuth, ConfigError> {
    let port =
        within("gitlab_oauth_redirect_port", layer.gitlab_oauth_redirect_port, REDIRECT_PORT_DEFAULT, 1, 65_535)?;
    let path = layer.gitlab_oauth_redirect_path.as_deref().unwrap_or(REDIRECT_PATH_DEFAULT);
    if !is_path(path) {
        return Err(value("gitlab_oauth_redirect_path", "must start with a slash, and have neither query nor spaces"));
    }
    let scopes = layer.gitlab_oauth_scopes.as_deref().unwrap_or(SCOPES_DEFAULT);
    let is_scope = |text: &str| text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-:.".contains(&byte));
    let scopes: Vec<String> = scopes.split_whitespace().map(str::to_owned).collect();
    if scopes.is_empty() || !scopes.iter().all(|scope| is_scope(scope)) {
        return Err(value("gitlab_oauth_scopes", "must be names of scopes, separated by spaces"));
    }
    let client_id = layer.gitlab_oauth_client_id.as_deref().map(str::trim).filter(|id| !id.is_empty());
    if !client_id.is_none_or(is_word) {
        return Err(value("gitlab_oauth_client_id", "is no id of an application"));
    }
    let client_secret = layer.gitlab_oauth_client_secret.as_ref();
    if !client_secret.is_none_or(|secret| is_word(secret.expose())) {
        return Err(value("gitlab_oauth_client_secret", "is no secret of an application"));
    }
    Ok(OAuth {
        client_id: client_id.map(str::to_owned),
        client_secret: client_secret.cloned(),
        redirect_port: u16::try_from(port).map_err(|error| value("gitlab_oauth_redirect_port", error))?,
        redirect_path: path.to_owned(),
        scopes,
    })
}

/// Returns whether `text` is the path of an address that GitLab may send a browser to.
pub fn is_path(text: &str) -> bool {
    let is_fine = |byte: u8| byte.is_ascii_alphanumeric() || b"/-._~".contains(&byte);
    text.starts_with('/') && text.len() <= TEXT_CHARS_MAX && text.bytes().all(is_fine)
}

fn is_word(text: &str) -> bool {
    !text.is_empty() && text.len() <= TEXT_CHARS_MAX && text.bytes().all(|byte| byte.is_ascii_graphic())
}
