//! The listener, and the way of every request: identify, log, ask the rules, answer.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use actix_web::dev::ServerHandle;
use actix_web::http::Method;
use actix_web::http::header::HeaderMap;
use actix_web::web::{self, Bytes, PayloadConfig};
use actix_web::{App, HttpRequest, HttpResponse, HttpServer};
use serde_json::Value;
use tokio::net::TcpSocket;

use crate::domain::time::{Clock, SystemClock};
use crate::simulator::account::{SimulatedAccount, demo_accounts};
use crate::simulator::answer::{self, Exchange, ScriptedBody};
use crate::simulator::grants::Grants;
use crate::simulator::handle::SimulatorHandle;
use crate::simulator::journal::{Arrival, Gauges, Journal, fingerprint};
use crate::simulator::script::{Call, Effect, Plan, Script};
use crate::simulator::state::{Instance, Shared, State};
use crate::simulator::{control, gateway, gitlab_api, json};

/// Largest request body in bytes; above what any client of a model sends.
const BODY_BYTES_MAX: usize = 64 * 1_024 * 1_024;
/// Connections that may wait to be taken: a benchmark opens a thousand at once.
const BACKLOG: u32 = 4_096;
/// An idle connection stays open longer than a client's pool keeps it, so that no test meets a connection that closes.
const KEEP_ALIVE: Duration = Duration::from_secs(75);
/// Below it on the listener, whatever the instance's path prefix, is the gateway.
const GATEWAY_PREFIX: &str = "/ai";
/// Below it on the listener are the control routes.
const CONTROL_PREFIX: &str = "/simulator/v1";

/// How a simulator starts.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where it listens; must be a loopback address. Port 0 takes a free one.
    pub listen: SocketAddr,
    /// Its users.
    pub accounts: Vec<SimulatedAccount>,
    /// The instance.
    pub instance: Instance,
    /// Path that the instance lives below, such as `/gitlab`; empty for none. The gateway's path does not change.
    pub path_prefix: String,
    /// Whether requests are logged.
    pub keep_requests: bool,
    /// What tells the time of tokens and grants.
    pub clock: Arc<dyn Clock>,
}

impl Default for Settings {
    /// Returns a simulator with the demo's accounts on a free port of `127.0.0.1`.
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            accounts: demo_accounts(),
            instance: Instance::default(),
            path_prefix: String::new(),
            keep_requests: true,
            clock: Arc::new(SystemClock),
        }
    }
}

/// A simulator that runs. Dropping it stops it.
#[derive(Debug)]
pub struct Running {
    /// Controls it.
    pub handle: SimulatorHandle,
    server: ServerHandle,
}

impl Running {
    /// Returns the root of the simulated instance, such as `http://127.0.0.1:40001`.
    pub fn url(&self) -> String {
        self.handle.shared.url()
    }

    /// Returns the root of the simulated gateway: what `/v1/proxy/…` is appended to.
    pub fn gateway_url(&self) -> String {
        self.handle.shared.gateway_url()
    }

    /// Returns where it listens.
    pub fn address(&self) -> SocketAddr {
        self.handle.shared.address
    }

    /// Stops at once; requests that run are cut.
    pub async fn stop(self) {
        self.server.stop(false).await;
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // The order to stop is given by the call; waiting for it is optional.
        drop(self.server.stop(false));
    }
}

/// Starts a simulator inside the running actix system.
///
/// # Errors
/// `InvalidInput` where the address is not a loopback address, else what binding says.
pub async fn start(settings: Settings) -> io::Result<Running> {
    if !settings.listen.ip().is_loopback() {
        let told = format!("the simulator listens on loopback addresses only, not on {}", settings.listen);
        return Err(io::Error::new(io::ErrorKind::InvalidInput, told));
    }
    let socket = if settings.listen.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.set_reuseaddr(true)?;
    socket.bind(settings.listen)?;
    let listener = socket.listen(BACKLOG)?.into_std()?;
    let state = State {
        instance: settings.instance,
        accounts: settings.accounts,
        grants: Grants::default(),
        script: Script::default(),
        journal: Journal::new(settings.keep_requests),
        gauges: Gauges::default(),
    };
    let prefix = settings.path_prefix.trim_end_matches('/').to_owned();
    let shared = Arc::new(Shared::new(state, settings.clock, listener.local_addr()?, prefix));
    let handle = SimulatorHandle { shared: Arc::clone(&shared) };
    let server = HttpServer::new(move || {
        App::new()
            .app_data(web::Data::from(Arc::clone(&shared)))
            .app_data(PayloadConfig::new(BODY_BYTES_MAX))
            .default_service(web::to(entry))
    })
    .workers(1)
    .keep_alive(KEEP_ALIVE)
    .tcp_nodelay(true)
    .h1_allow_half_closed(false)
    .disable_signals()
    .listen(listener)?
    .run();
    let running = Running { handle, server: server.handle() };
    actix_web::rt::spawn(server);
    Ok(running)
}

/// A request as the groups of routes see it.
#[derive(Debug)]
pub(crate) struct Asked<'a> {
    pub(crate) method: &'a Method,
    /// Path below the group's own root.
    pub(crate) path: &'a str,
    pub(crate) query: &'a str,
    pub(crate) headers: &'a HeaderMap,
    pub(crate) body: &'a Bytes,
}

impl Asked<'_> {
    /// Returns the credential of a call to GitLab's API, which takes it in either of two headers.
    pub(crate) fn token(&self) -> Option<&str> {
        token_of(self.headers)
    }
}

fn token_of(headers: &HeaderMap) -> Option<&str> {
    let header = |name: &str| headers.get(name)?.to_str().ok();
    header("private-token").or_else(|| header("authorization")?.strip_prefix("Bearer "))
}

async fn entry(request: HttpRequest, body: Bytes, shared: web::Data<Shared>) -> HttpResponse<ScriptedBody> {
    let shared = shared.into_inner();
    let (path, query) = (request.path(), request.query_string());
    let asked = |path| Asked { method: request.method(), path, query, headers: request.headers(), body: &body };
    if let Some(path) = path.strip_prefix(CONTROL_PREFIX) {
        let (status, body) = control::answer(&SimulatorHandle { shared }, &asked(path));
        let mut response = HttpResponse::with_body(status, ScriptedBody::unwatched(body));
        response.headers_mut().insert(
            actix_web::http::header::CONTENT_TYPE,
            actix_web::http::header::HeaderValue::from_static("application/json"),
        );
        return response;
    }
    let gateway_path = path.strip_prefix(GATEWAY_PREFIX).filter(|rest| rest.is_empty() || rest.starts_with('/'));
    let instance_path = path.strip_prefix(shared.path_prefix.as_str());
    let call = match (gateway_path, instance_path) {
        (Some(path), _) => gateway::call_of(path),
        (None, Some(path)) => gitlab_api::call_of(path),
        (None, None) => Call::Other,
    };
    let (exchange, mut plan) = arrive(&shared, call, &request, &body);
    let answer = match plan.effect.take() {
        Some(Effect::Hang) => {
            // The exchange is dropped, and so recorded, when the client hangs up.
            match std::future::pending::<std::convert::Infallible>().await {}
        }
        Some(Effect::Answer { status, body, content_type, headers }) => {
            answer::of_rule(status, body, &content_type, headers)
        }
        other => {
            plan.effect = other;
            match (gateway_path, instance_path) {
                (Some(path), _) => gateway::answer(&shared, &asked(path)),
                (None, Some(path)) => gitlab_api::answer(&shared, &asked(path)),
                (None, None) => gitlab_api::not_found(),
            }
        }
    };
    if !plan.pace.first_byte.is_zero() {
        tokio::time::sleep(plan.pace.first_byte).await;
    }
    answer.send(plan, exchange)
}

/// Logs a request and asks the rules about it.
fn arrive(shared: &Arc<Shared>, call: Call, request: &HttpRequest, body: &Bytes) -> (Exchange, Plan) {
    let token = token_of(request.headers());
    let target = request.uri().path_and_query().map_or("", |target| target.as_str());
    let at = shared.clock.now();
    let (number, plan) = shared.change(|state| {
        let grant = token.and_then(|token| state.grants.of_token(token));
        let owner = grant.map(|grant| grant.account).or_else(|| state.owner(token?));
        let account = owner.map(|index| state.accounts[index].username.clone());
        let credential = if state.journal.is_kept() {
            grant.map(|grant| grant.fingerprint.clone()).or_else(|| token.map(fingerprint))
        } else {
            None
        };
        let model = state.script.asks_for_model().then(|| serde_json::from_slice::<Value>(body).ok()).flatten();
        let model = model.as_ref().and_then(|body| json::text(body, "model"));
        let plan = state.script.take(account.as_deref(), call, model);
        let grant = grant.map(|grant| grant.number);
        state.gauges.requests += 1;
        state.gauges.open_requests += 1;
        let (method, headers) = (request.method().as_str(), request.headers());
        let number = state.journal.add(Arrival { at, account, grant, call, method, target, headers, credential, body });
        (number, plan)
    });
    (Exchange::watch(Arc::clone(shared), number), plan)
}
