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

use crate::domain::time::{Clock, SystemClock, Timestamp};
use crate::simulator::account::{SimulatedAccount, demo_accounts};
use crate::simulator::answer::{self, Answer, ScriptedBody};
use crate::simulator::exchange::{Exchange, Watched};
use crate::simulator::grants::Grants;
use crate::simulator::handle::SimulatorHandle;
use crate::simulator::journal::{Arrival, Gauges, Journal, fingerprint};
use crate::simulator::limits::{Kind, Windows};
use crate::simulator::oauth::{OauthApplication, Params, Vault, demo_applications};
use crate::simulator::script::{Call, Effect, Plan, Script};
use crate::simulator::seen_secrets::{SeenSecrets, quoting};
use crate::simulator::state::{Instance, Shared, State};
use crate::simulator::steps::{Flow, Step, Steps};
use crate::simulator::tally::Tallies;
use crate::simulator::{control, gateway, gitlab_api, json, oauth};

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
    /// Its OAuth applications.
    pub applications: Vec<OauthApplication>,
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
            applications: demo_applications(),
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
        applications: settings.applications,
        vault: Vault::default(),
        windows: Windows::default(),
        tallies: Tallies::default(),
        steps: Steps::default(),
        seen_secrets: SeenSecrets::default(),
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

/// A credential as a call to the API carries it.
#[derive(Clone, Copy)]
pub(crate) struct Credential<'a> {
    pub(crate) token: &'a str,
    /// Whether it came in the header for personal access tokens.
    pub(crate) in_private_header: bool,
}

impl Asked<'_> {
    /// Returns the credential of a call to GitLab's API, which takes it in either of two headers.
    pub(crate) fn credential(&self) -> Option<Credential<'_>> {
        let header = |name: &str| self.headers.get(name)?.to_str().ok();
        if let Some(token) = header("private-token") {
            return Some(Credential { token, in_private_header: true });
        }
        let token = header("authorization")?.strip_prefix("Bearer ")?;
        Some(Credential { token, in_private_header: false })
    }
}

/// Which part of the listener a request is for, with the path below that part's root.
#[derive(Clone, Copy)]
enum Part<'a> {
    Gateway(&'a str),
    Instance(&'a str),
    Nowhere,
}

impl<'a> Part<'a> {
    fn of(path: &'a str, instance_prefix: &str) -> Self {
        let below_gateway = path.strip_prefix(GATEWAY_PREFIX).filter(|rest| rest.is_empty() || rest.starts_with('/'));
        match (below_gateway, path.strip_prefix(instance_prefix)) {
            (Some(path), _) => Self::Gateway(path),
            (None, Some(path)) => Self::Instance(path),
            (None, None) => Self::Nowhere,
        }
    }

    fn path(self) -> &'a str {
        match self {
            Self::Gateway(path) | Self::Instance(path) => path,
            Self::Nowhere => "",
        }
    }

    fn call(self, asked: &Asked<'_>) -> Call {
        match self {
            Self::Gateway(path) => gateway::call_of(path),
            Self::Instance(path) => oauth::call_of(asked).unwrap_or_else(|| gitlab_api::call_of(path)),
            Self::Nowhere => Call::Other,
        }
    }

    fn answer(self, shared: &Shared, call: Call, asked: &Asked<'_>) -> Answer {
        match self {
            Self::Gateway(_) => gateway::answer(shared, asked),
            Self::Instance(path) if path.starts_with("/oauth/") => oauth::answer(shared, call, asked),
            Self::Instance(_) => gitlab_api::answer(shared, asked),
            Self::Nowhere => gitlab_api::not_found(),
        }
    }
}

async fn entry(request: HttpRequest, body: Bytes, shared: web::Data<Shared>) -> HttpResponse<ScriptedBody> {
    let shared = shared.into_inner();
    let (path, query) = (request.path(), request.query_string());
    let asked = |path| Asked { method: request.method(), path, query, headers: request.headers(), body: &body };
    if let Some(path) = path.strip_prefix(CONTROL_PREFIX) {
        let (status, body) = control::answer(&SimulatorHandle { shared }, &asked(path)).await;
        let mut response = HttpResponse::with_body(status, ScriptedBody::unwatched(body));
        response.headers_mut().insert(
            actix_web::http::header::CONTENT_TYPE,
            actix_web::http::header::HeaderValue::from_static("application/json"),
        );
        return response;
    }
    let part = Part::of(path, &shared.path_prefix);
    let asked = asked(part.path());
    let call = part.call(&asked);
    let (exchange, mut plan) = arrive(&shared, part, call, &request, &asked);
    if exchange.has_steps() {
        exchange.reach(Step::Arrived, None).await;
    }
    let answer = match plan.effect.take() {
        Some(Effect::Hang) => forever().await,
        Some(Effect::Answer { status, body, content_type, headers }) => {
            answer::of_rule(status, body, &content_type, headers)
        }
        Some(Effect::Quote { status, body, content_type, headers }) => {
            let quoted = |text: &str, in_json| quoting(text, &asked, in_json);
            let headers = headers.iter().map(|(name, value)| (name.clone(), quoted(value, false))).collect();
            answer::of_rule(status, quoted(&body, content_type.contains("json")), &content_type, headers)
        }
        Some(effect @ Effect::CloseUnprocessed) => {
            plan.effect = Some(effect);
            answer::of_rule(200, String::new(), "text/plain", Vec::new())
        }
        other => {
            plan.effect = other;
            processed(&shared, part, call, (&request, &asked), (&exchange, &plan)).await
        }
    };
    if !plan.pace.first_byte.is_zero() {
        tokio::time::sleep(plan.pace.first_byte).await;
    }
    answer.send(plan, exchange)
}

/// Never answers. The exchange is dropped, and so recorded, when the client hangs up.
async fn forever() -> Answer {
    match std::future::pending::<std::convert::Infallible>().await {}
}

/// Gives the ordinary answer, as far as limits and the rule in force let it.
async fn processed(
    shared: &Shared,
    part: Part<'_>,
    call: Call,
    (request, asked): (&HttpRequest, &Asked<'_>),
    (exchange, plan): (&Exchange, &Plan),
) -> Answer {
    if let Part::Instance(path) = part
        && let Err(refusal) = limited(shared, path, request, exchange)
    {
        return refusal;
    }
    if let Some(Effect::MintCase { name }) = &plan.effect
        && let Some(refusal) = name.answer()
    {
        return refusal;
    }
    let answer = part.answer(shared, call, asked);
    if shared.read(|state| state.seen_secrets.is_kept()) {
        shared.change(|state| state.seen_secrets.answer(&answer));
    }
    if exchange.has_steps() && matches!(answer.status, 200 | 201) {
        exchange.reach(Step::Committed, Some(answer.status)).await;
    }
    if plan.effect == Some(Effect::HangProcessed) {
        return forever().await;
    }
    answer.changed(plan.effect.as_ref())
}

/// Counts a call against the limits on addresses.
fn limited(shared: &Shared, path: &str, request: &HttpRequest, exchange: &Exchange) -> Result<(), Answer> {
    let now = shared.clock.now();
    let address = request.peer_addr().map_or_else(String::new, |address| address.ip().to_string());
    shared.change(|state| {
        let account = exchange.account().and_then(|username| state.account_index(username));
        state.throttle(Kind::Address, &address, account, now)?;
        if oauth::is_token_endpoint(path) {
            state.throttle(Kind::OauthToken, &address, account, now)?;
        }
        Ok(())
    })
}

/// Logs a request and asks the rules about it.
fn arrive(
    shared: &Arc<Shared>,
    part: Part<'_>,
    call: Call,
    request: &HttpRequest,
    asked: &Asked<'_>,
) -> (Exchange, Plan) {
    let is_oauth = matches!(part, Part::Instance(path) if path.starts_with("/oauth/"));
    let params = if is_oauth { Params::of(asked) } else { Params::default() };
    let token = asked.credential().map(|credential| credential.token);
    let target = request.uri().path_and_query().map_or("", |target| target.as_str());
    let masked = is_oauth.then(|| (oauth::masked_target(target), oauth::masked_body(asked.headers, asked.body)));
    let (target, body) = masked.as_ref().map_or((target, asked.body), |(target, body)| (target.as_str(), body));
    let at = shared.clock.now();
    let (number, plan, watched) = shared.change(|state| {
        let grant = token.and_then(|token| state.grants.of_token(token));
        let owner = grant.map(|grant| grant.account).or_else(|| {
            let of_oauth = |token| state.vault.of_access(token).map(|(_, pair)| pair.consent.account);
            let presented = || token.and_then(|token| state.owner(token).or_else(|| of_oauth(token)));
            oauth::owner(state, call, &params).or_else(presented)
        });
        let account = owner.map(|index| state.accounts[index].username.clone());
        let credential = if state.journal.is_kept() {
            grant.map(|grant| grant.fingerprint.clone()).or_else(|| token.map(fingerprint))
        } else {
            None
        };
        let model = state.script.asks_for_model().then(|| serde_json::from_slice::<Value>(body).ok()).flatten();
        let model = model.as_ref().and_then(|body| json::text(body, "model"));
        let plan = state.script.take(account.as_deref(), call, model, at);
        let grant = grant.map(|grant| grant.number);
        state.gauges.requests += 1;
        state.seen_secrets.request(asked);
        state.gauges.open_requests += 1;
        let (method, headers) = (request.method().as_str(), request.headers());
        let watched = watch(state, call, account.clone(), owner, &params, at);
        let number = state.journal.add(Arrival { at, account, grant, call, method, target, headers, credential, body });
        (number, plan, watched)
    });
    (Exchange::watch(Arc::clone(shared), number, watched), plan)
}

/// Counts a request that concerns tokens.
fn watch(
    state: &mut State,
    call: Call,
    account: Option<String>,
    owner: Option<usize>,
    params: &Params,
    now: Timestamp,
) -> Watched {
    let refreshing = (call == Call::Refresh).then(|| params.text("refresh_token").map(fingerprint)).flatten();
    if let Some(token) = &refreshing {
        state.tallies.refresh_begins(owner, token);
    }
    if let (Call::ThirdPartyDirectAccess | Call::CodeSuggestionsDirectAccess, Some(owner)) = (call, owner) {
        state.tallies.mint_requested(owner, now);
    }
    Watched { account, flow: Flow::of(call), refreshing }
}
