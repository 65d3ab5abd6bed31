//! Speaks to the admin API.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use actix_web::web::Bytes;
use anyhow::{Context as _, anyhow, bail};
use awc::http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use awc::http::{Method, Uri};
use serde::de::DeserializeOwned;

use crate::app::{self, Mode, Running};
use crate::config::Config;
use crate::domain::secret::Secret;
use crate::domain::time::SystemClock;
use crate::gitlab::rest::bearer;
use crate::gitlab::upstream::{Outgoing, Upstream, UpstreamSettings};
use crate::http::admin::problem::Problem;

/// A login asks GitLab several times, each of which may take half a minute.
const ANSWER_MAX: Duration = Duration::from_secs(150);
const CONNECT_MAX: Duration = Duration::from_secs(5);
const BODY_BYTES_MAX: usize = 64 * 1024 * 1024;

/// A way to the admin API.
pub(super) struct Client {
    upstream: Upstream,
    address: SocketAddr,
    key: Secret<String>,
    /// The app inside this command, if there is no server.
    embedded: Option<Running>,
}

/// Why the server did not do what it was asked.
pub(super) enum Refused {
    /// It said so.
    Problem(Box<Problem>),
    /// It did not answer as it should.
    Broken(anyhow::Error),
}

impl From<anyhow::Error> for Refused {
    fn from(error: anyhow::Error) -> Self {
        Self::Broken(error)
    }
}

impl Client {
    /// Finds the server that has the data folder open, or starts the app inside this command.
    pub(super) async fn connect(config: Config) -> anyhow::Result<Self> {
        let upstream = Upstream::new(&UpstreamSettings::direct(CONNECT_MAX));
        if let Some(address) = running(&upstream, &config).await {
            let key = app::admin_key_of(&config).with_context(|| {
                format!("the server on {address} runs, but its admin key is not to be had: set DUOPOOL_ADMIN_KEY")
            })?;
            return Ok(Self { upstream, address, key, embedded: None });
        }
        let loopback = SocketAddr::from(([127, 0, 0, 1], 0));
        let config = Config { listen: loopback, admin_listen: None, ..config };
        let running = app::start(config, Mode::Embedded, Arc::new(SystemClock)).await?;
        let (address, key) = (running.address(), running.admin_key().clone());
        Ok(Self { upstream, address, key, embedded: Some(running) })
    }

    /// Speaks to an app whose address and key are known.
    pub(super) fn to(running: &Running) -> Self {
        let upstream = Upstream::new(&UpstreamSettings::direct(CONNECT_MAX));
        Self { upstream, address: running.admin_address(), key: running.admin_key().clone(), embedded: None }
    }

    /// Returns where the server is, if it is not this command itself.
    pub(super) fn server(&self) -> Option<SocketAddr> {
        self.embedded.is_none().then_some(self.address)
    }

    /// Ends the app inside this command, once everything is stored.
    pub(super) async fn close(self) {
        if let Some(running) = self.embedded {
            running.stop().await;
        }
    }

    pub(super) async fn get<T: DeserializeOwned>(&self, path: &str) -> anyhow::Result<T> {
        parsed(&self.send(Method::GET, path, Bytes::new()).await?)
    }

    pub(super) async fn post<T: DeserializeOwned>(&self, path: &str, body: &serde_json::Value) -> anyhow::Result<T> {
        parsed(&self.send(Method::POST, path, body.to_string().into()).await?)
    }

    pub(super) async fn patch<T: DeserializeOwned>(&self, path: &str, body: &serde_json::Value) -> anyhow::Result<T> {
        parsed(&self.send(Method::PATCH, path, body.to_string().into()).await?)
    }

    pub(super) async fn delete(&self, path: &str) -> anyhow::Result<()> {
        self.send(Method::DELETE, path, Bytes::new()).await.map(drop)
    }

    /// Deletes where the answer says what came of it.
    pub(super) async fn delete_for<T: DeserializeOwned>(&self, path: &str) -> anyhow::Result<T> {
        parsed(&self.send(Method::DELETE, path, Bytes::new()).await?)
    }

    /// Posts where what the server says against it matters.
    pub(super) async fn post_or_problem<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &serde_json::Value,
    ) -> Result<T, Refused> {
        Ok(parsed(&self.answer(Method::POST, path, body.to_string().into()).await?)?)
    }

    async fn send(&self, method: Method, path: &str, body: Bytes) -> anyhow::Result<Bytes> {
        match self.answer(method, path, body).await {
            Ok(body) => Ok(body),
            Err(Refused::Broken(error)) => Err(error),
            Err(Refused::Problem(problem)) => {
                let Problem { title, detail, fix, .. } = *problem;
                let said = if detail.is_empty() { title } else { detail };
                let fix = if fix.is_empty() { String::new() } else { format!("; to mend it: {fix}") };
                bail!("{said}{fix}")
            }
        }
    }

    async fn answer(&self, method: Method, path: &str, body: Bytes) -> Result<Bytes, Refused> {
        let url: Uri = format!("http://{}{path}", self.address).parse().context("an address")?;
        let key = bearer(&self.key).ok_or_else(|| anyhow!("the admin key has characters that no header may carry"))?;
        let headers = vec![(AUTHORIZATION, key), (CONTENT_TYPE, HeaderValue::from_static("application/json"))];
        let outgoing = Outgoing { method, url, headers, body, head_timeout: ANSWER_MAX };
        let reply = self.upstream.send(&outgoing).await.context("the server does not answer")?;
        let status = reply.status;
        let body = reply.read(BODY_BYTES_MAX, ANSWER_MAX).await.context("the server broke off its answer")?;
        if (200..300).contains(&status) {
            return Ok(body);
        }
        match serde_json::from_slice::<Problem>(&body) {
            Ok(problem) => Err(Refused::Problem(Box::new(problem))),
            Err(_) => Err(anyhow!("the server answered with status {status}").into()),
        }
    }
}

/// Returns where the server is that has the data folder open, if one runs.
pub(super) async fn find_server(config: &Config) -> Option<SocketAddr> {
    running(&Upstream::new(&UpstreamSettings::direct(CONNECT_MAX)), config).await
}

async fn running(upstream: &Upstream, config: &Config) -> Option<SocketAddr> {
    let address = app::find_running(&config.data_dir)?;
    is_duopool(upstream, address).await.then_some(address)
}

/// Asks who is there: a file may name an address that somebody else has by now.
async fn is_duopool(upstream: &Upstream, address: SocketAddr) -> bool {
    let Ok(url) = format!("http://{address}/").parse() else { return false };
    let (method, headers, body) = (Method::GET, Vec::new(), Bytes::new());
    let asked = upstream.send(&Outgoing { method, url, headers, body, head_timeout: CONNECT_MAX }).await;
    let Ok(reply) = asked else { return false };
    let body = reply.read(BODY_BYTES_MAX, CONNECT_MAX).await.unwrap_or_default();
    let hello: Option<serde_json::Value> = serde_json::from_slice(&body).ok();
    hello.is_some_and(|hello| hello.get("name").and_then(serde_json::Value::as_str) == Some("duopool"))
}

fn parsed<T: DeserializeOwned>(body: &[u8]) -> anyhow::Result<T> {
    serde_json::from_slice(body).context("the server's answer is not understood: is it another version?")
}
