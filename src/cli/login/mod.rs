//! `duopool login`: in a browser, with a device code, or with a personal access token.
//!
//! The login itself happens in the server, or in the app inside this command: here its user is shown where to go, and
//! what GitLab sends their browser back with is handed on.

mod browser;
mod callback;
mod device;
mod input;
pub(super) mod pat;
mod report;

use anyhow::{Context as _, bail};
use clap::Args;
use serde_json::{Value, json};

use crate::account::login::view::LoginView;
use crate::cli::client::Client;
use crate::cli::login::input::Lines;
use crate::cli::output;
use crate::config::{Config, is_redirect_path, redirect_uri};
use crate::domain::endpoint::{GatewayUrl, InstanceUrl};

/// Adds an account. A token or a secret is never a flag, where other users of the machine could read it.
#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of the command line")]
pub(super) struct Login {
    #[arg(
        help = "Shows a code to enter at GitLab with any device, where no browser can be sent back to this machine",
        long,
        conflicts_with = "pat"
    )]
    device: bool,
    #[arg(help = "Takes a personal access token, from GITLAB_PERSONAL_ACCESS_TOKEN or standard input", long)]
    pat: bool,
    #[arg(
        help = "Root of the GitLab instance [env: GITLAB_BASE_URL] [default: https://gitlab.com]",
        long,
        value_name = "URL"
    )]
    base_url: Option<String>,
    #[arg(
        help = "The AI gateway, where GitLab does not name the right one [env: GITLAB_AI_GATEWAY_URL]",
        long,
        value_name = "URL"
    )]
    gateway_url: Option<String>,
    #[arg(
        help = "Application ID of the OAuth application at GitLab [env: GITLAB_OAUTH_CLIENT_ID]",
        long,
        value_name = "ID",
        conflicts_with = "pat"
    )]
    client_id: Option<String>,
    #[arg(
        help = "Takes the application's secret from the first line of standard input [env: GITLAB_OAUTH_CLIENT_SECRET]",
        long,
        conflicts_with = "pat"
    )]
    client_secret_stdin: bool,
    #[arg(
        help = "Port on 127.0.0.1 that the browser is sent back to, as registered [env: GITLAB_OAUTH_REDIRECT_PORT] [default: 17171]",
        long,
        value_name = "PORT",
        value_parser = clap::value_parser!(u16).range(1..),
        conflicts_with_all = ["pat", "device"]
    )]
    callback_port: Option<u16>,
    #[arg(
        help = "Path that the browser is sent back to, as registered [env: GITLAB_OAUTH_REDIRECT_PATH] [default: /callback]",
        long,
        value_name = "PATH",
        conflicts_with_all = ["pat", "device"]
    )]
    callback_path: Option<String>,
    #[arg(
        help = "Only prints the address to open, as where the browser is on another machine",
        long,
        conflicts_with_all = ["pat", "device"]
    )]
    no_browser: bool,
    /// A name for people
    #[arg(long)]
    label: Option<String>,
    /// Which keys may use the account [default: default]
    #[arg(long)]
    pool: Option<String>,
    #[command(flatten)]
    json: output::Json,
}

/// Where the browser is sent back to.
struct Redirect {
    port: u16,
    path: String,
    uri: String,
}

impl Login {
    pub(super) async fn run(self, config: Config) -> anyhow::Result<()> {
        let base_url = match &self.base_url {
            Some(text) => InstanceUrl::parse(text).with_context(|| format!("--base-url {text}"))?,
            None => config.gitlab.base_url.clone(),
        };
        let gateway_url = self.gateway_url.as_deref().map(GatewayUrl::parse).transpose().context("--gateway-url")?;
        if self.pat {
            return pat::run(&self, config, &base_url, gateway_url.as_ref()).await;
        }
        let redirect = self.redirect(&config)?;
        let mut lines = Lines::start();
        let request = self.request(&config, &base_url, gateway_url.as_ref(), &redirect, &mut lines).await?;
        let client = Client::connect(config).await?;
        let login = if self.device {
            device::run(&client, &request, self.json).await
        } else {
            browser::run(&client, &request, &redirect, lines, &self).await
        };
        let told = match login {
            Ok(login) => report::tell(&client, &login, self.json).await,
            Err(error) => Err(error),
        };
        client.close().await;
        told
    }

    fn redirect(&self, config: &Config) -> anyhow::Result<Redirect> {
        let oauth = &config.gitlab.oauth;
        let port = self.callback_port.unwrap_or(oauth.redirect_port);
        let path = self.callback_path.clone().unwrap_or_else(|| oauth.redirect_path.clone());
        if !is_redirect_path(&path) {
            bail!("--callback-path {path}: must start with a slash, and have neither query nor spaces");
        }
        let uri = redirect_uri(port, &path);
        Ok(Redirect { port, path, uri })
    }

    /// Returns the order to begin the login. What this command's own settings leave open, the server's decide.
    async fn request(
        &self,
        config: &Config,
        base_url: &InstanceUrl,
        gateway_url: Option<&GatewayUrl>,
        redirect: &Redirect,
        lines: &mut Lines,
    ) -> anyhow::Result<Value> {
        let oauth = &config.gitlab.oauth;
        let configured = oauth.client_id.as_ref().filter(|_| *base_url == config.gitlab.base_url);
        let client_id = self.client_id.as_ref().or(configured);
        let client_secret = match &oauth.client_secret {
            _ if self.client_secret_stdin => Some(lines.secret().await?),
            secret => secret.clone().filter(|_| client_id.is_some() && client_id == configured),
        };
        let mut request = json!({ "kind": if self.device { "device" } else { "browser" }, "base_url": base_url });
        let mut set = |name: &str, value: Option<Value>| {
            if let Some(value) = value {
                request[name] = value;
            }
        };
        set("client_id", client_id.map(|id| json!(id)));
        set("client_secret", client_secret.map(|secret| json!(secret.expose())));
        set("redirect_uri", (!self.device).then(|| json!(redirect.uri)));
        // A server may be set up with scopes of its own, which fit its application.
        set("scopes", client_id.map(|_| json!(oauth.scopes)));
        set("gateway_url", gateway_url.map(|url| json!(url)));
        set("label", self.label.as_ref().map(|label| json!(label)));
        set("pool", self.pool.as_ref().map(|pool| json!(pool)));
        Ok(request)
    }
}

/// Says something to the user: on standard output, unless that is for a program.
fn say(json: output::Json, text: &str) -> anyhow::Result<()> {
    if json.json {
        eprintln!("{text}");
        return Ok(());
    }
    output::line(text)
}

/// Asks how far a login has come.
async fn look(client: &Client, id: &str) -> anyhow::Result<LoginView> {
    client.get(&format!("/admin/v1/logins/{id}")).await
}

/// Returns whether there is nothing more to wait for.
fn is_over(login: &LoginView) -> bool {
    login.status.is_final() || login.problem.is_some()
}
