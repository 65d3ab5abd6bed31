//! A machine with a server on it, a GitLab that keeps what it hands out, and everything that was said and left behind.

use std::net::SocketAddr;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use duopool::simulator::{Decision, Effect, OauthApplication, Rule, Running};
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};

use super::search::{Kind, Place, Secrets, Shown};
use crate::support::{Answer, Machine, Request, Started, contents, simulated, token_of};

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_mins(1);
pub(super) const CLIENT_ID: &str = "an-application";
/// With all that is written in another way in a form, in JSON, in HTML and in an address.
pub(super) const CLIENT_SECRET: &str = "gloas-kwzqj/7+=&\"<%>\\'-client-secret";
pub(super) const ADMIN_KEY: &str = "admin-key-zqxwv-0123456789";
pub(super) const CLIENT_KEY: &str = "client-key-jqkxz-0123456789";
/// Bytes of the master key.
const MASTER_KEY: [u8; 32] = *b"\x8emaster+key\xfe\xff/of\x00the#test^012345";
const REDIRECT: &str = "http://127.0.0.1:17171/callback";

pub(super) struct Scene {
    pub(super) gitlab: Running,
    pub(super) machine: Machine,
    pub(super) address: SocketAddr,
    server: Option<Started>,
    pub(super) secrets: Secrets,
    places: Vec<Place>,
}

impl Scene {
    /// Starts GitLab and a server, with its log wide open, for users called `names`.
    pub(super) async fn new(names: &[&str]) -> Self {
        let gitlab = simulated(names).await;
        gitlab.handle.keep_secrets();
        gitlab.handle.add_application(OauthApplication::confidential(CLIENT_ID, CLIENT_SECRET, REDIRECT));
        gitlab.handle.change_instance(|instance| instance.oauth.device_interval_s = 1);
        let mut machine = Machine::beside(&gitlab);
        let mut secrets = Secrets::default();
        let master_key = STANDARD.encode(MASTER_KEY);
        secrets.add("the master key's bytes", MASTER_KEY, Shown::Never);
        for (variable, secret) in [
            ("DUOPOOL_MASTER_KEY", master_key.as_str()),
            ("DUOPOOL_ADMIN_KEY", ADMIN_KEY),
            ("DUOPOOL_CLIENT_KEYS", CLIENT_KEY),
            ("GITLAB_OAUTH_CLIENT_SECRET", CLIENT_SECRET),
        ] {
            machine.set(variable, secret);
            secrets.add(variable, secret, Shown::Never);
        }
        for name in names {
            secrets.add("a personal access token", token_of(name), Shown::Never);
        }
        machine.set("GITLAB_OAUTH_CLIENT_ID", CLIENT_ID);
        machine.set("DUOPOOL_LOG", "trace");
        machine.set("RUST_BACKTRACE", "full");
        machine.set("DUOPOOL_QUEUE_TIMEOUT_S", "1");
        let address = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut scene = Self { gitlab, machine, address, server: None, secrets, places: Vec::new() };
        scene.serve().await;
        scene
    }

    pub(super) async fn serve(&mut self) {
        let (server, address) = self.machine.serve().await;
        self.said_by_process("the server", &server);
        let run_file = std::fs::read(self.machine.data().join("run.json")).expect("run.json");
        self.add(Kind::File, "run.json", run_file);
        (self.server, self.address) = (Some(server), address);
    }

    /// Stops the server with a signal, and looks at what it said and left behind.
    pub(super) async fn stop(&mut self, signal: &str) {
        let server = self.server.take().expect("a server");
        let ended = server.stop(signal).await;
        assert!(ended.err.contains("DEBUG") || ended.err.contains("INFO"), "the log is empty");
        self.add(Kind::Answer, "the server's standard output", ended.out);
        self.add(Kind::Log, "the server's standard error", ended.err);
        self.look(&format!("after {signal}"));
    }

    /// Stops the server and starts it two hours later, as it seems to it; `before` it does, GitLab is told what comes.
    pub(super) async fn serve_hours_later(&mut self, before: impl FnOnce(&mut Self)) {
        self.stop("TERM").await;
        self.machine.let_pairs_age();
        before(self);
        self.serve().await;
    }

    /// Looks at every file of the machine.
    pub(super) fn look(&mut self, when: &str) {
        for (path, bytes) in contents(&self.machine.path("")) {
            let shown = path.strip_prefix(self.machine.path("")).unwrap_or(&path).display().to_string();
            self.add(Kind::File, &format!("the file {shown} {when}"), bytes);
        }
    }

    pub(super) fn add(&mut self, kind: Kind, name: &str, bytes: impl Into<Vec<u8>>) {
        self.places.push(Place { kind, name: name.to_owned(), bytes: bytes.into() });
    }

    pub(super) fn said_by_process(&mut self, name: &str, process: &Started) {
        let line = std::fs::read(format!("/proc/{}/cmdline", process.pid())).unwrap_or_default();
        self.add(Kind::CommandLine, &format!("the command line of {name}"), line);
    }

    /// Runs a command to its end.
    pub(super) async fn run(&mut self, arguments: &[&str], input: &str) -> Option<i32> {
        let ended = self.machine.run_with(arguments, input).await;
        let name = arguments.first().copied().unwrap_or_default();
        self.add(Kind::Answer, &format!("what `{name}` printed"), ended.out);
        self.add(Kind::Log, &format!("what `{name}` complained of"), ended.err);
        ended.code
    }

    /// Runs a command to its end, or until it serves; then it is told to end.
    pub(super) async fn run_briefly(&mut self, arguments: &[&str]) {
        self.run_briefly_behind(":", arguments).await;
    }

    /// As [`Scene::run_briefly`], behind a line of shell; returns what it complained of.
    pub(super) async fn run_briefly_behind(&mut self, shell: &str, arguments: &[&str]) -> String {
        let mut command = self.machine.start_behind(shell, arguments);
        let ended = match command.line_or_end("serves on http://").await {
            Some(_) => command.stop("TERM").await,
            None => command.ended().await,
        };
        let name = arguments.first().copied().unwrap_or_default();
        self.add(Kind::Answer, &format!("what `{name}` printed"), ended.out);
        self.add(Kind::Log, &format!("what `{name}` complained of"), ended.err.clone());
        ended.err
    }

    /// Waits for the end of a command that was started.
    pub(super) async fn ended(&mut self, name: &str, command: Started) -> Option<i32> {
        let ended = command.ended().await;
        self.add(Kind::Answer, &format!("what `{name}` printed"), ended.out);
        self.add(Kind::Log, &format!("what `{name}` complained of"), ended.err);
        ended.code
    }

    pub(super) async fn send(&mut self, request: Request) -> Answer {
        let mut answer = request.send().await;
        let body = std::mem::take(&mut answer.body);
        // Status and headers, and the body as it is.
        self.add(Kind::Answer, "an answer", [format!("{answer:?}\n").as_bytes(), &body].concat());
        answer.body = body;
        answer
    }

    pub(super) fn admin(&self, method: &str, path: &str) -> Request {
        Request::new(self.address, method, path).header("authorization", &format!("Bearer {ADMIN_KEY}"))
    }

    pub(super) async fn get(&mut self, path: &str) -> Value {
        let answer = self.send(self.admin("GET", path)).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        answer.json()
    }

    pub(super) async fn post(&mut self, path: &str, body: &Value) -> Answer {
        self.send(self.admin("POST", path).json(body)).await
    }

    /// Begins a login and returns what is shown of it.
    pub(super) async fn begin(&mut self, body: &Value) -> Value {
        let begun = self.post("/admin/v1/logins", body).await;
        assert_eq!(begun.status, 201, "{}", begun.text());
        let begun = begun.json();
        if let Some(url) = begun["authorize_url"].as_str() {
            self.secrets.add("a state", part(url, "state"), Shown::ToItsUser);
        }
        if let Some(code) = begun["user_code"].as_str() {
            self.secrets.add("a user code", code, Shown::ToItsUser);
        }
        begun
    }

    /// Signs in at GitLab and returns where the browser is sent.
    pub(super) fn sign_in(&mut self, name: &str, authorize_url: &str) -> String {
        let location =
            self.gitlab.handle.approve(name, authorize_url, Decision::Authorize).expect("GitLab's page works");
        self.secrets.add("a state", part(&location, "state"), Shown::ToItsUser);
        self.secrets.add("code", part(&location, "code"), Shown::Never);
        location
    }

    /// Begins a login and signs in; returns the path that takes the answer, and the answer.
    pub(super) async fn half_logged_in(&mut self, name: &str) -> (String, String) {
        let begun = self.begin(&json!({ "label": name })).await;
        let location = self.sign_in(name, begun["authorize_url"].as_str().expect("an address"));
        (format!("/admin/v1/logins/{}", begun["id"].as_str().expect("an id")), location)
    }

    /// Logs in, whatever comes of it.
    pub(super) async fn log_in(&mut self, name: &str) -> Value {
        let (path, location) = self.half_logged_in(name).await;
        let answer = self.post(&path, &json!({ "callback_url": location })).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json()
    }

    /// Logs in and returns the account's path.
    pub(super) async fn logged_in(&mut self, name: &str) -> String {
        let login = self.log_in(name).await;
        assert_eq!(login["status"], "done", "{login}");
        format!("/admin/v1/accounts/{}", login["account"].as_str().expect("an account"))
    }

    /// Lets the next call that `rule` is about go wrong.
    pub(super) fn next(&self, effect: Effect, aim: impl FnOnce(Rule) -> Rule) {
        self.gitlab.handle.add_rule(aim(Rule::once(effect)));
    }

    pub(super) fn rules_left(&self) -> usize {
        self.gitlab.handle.rules().len()
    }

    /// Waits until GitLab has used up every rule: each fault has happened.
    pub(super) async fn all_happened(&self) {
        let waiting = async {
            while self.rules_left() > 0 {
                sleep(Duration::from_millis(20)).await;
            }
        };
        let left = || self.gitlab.handle.rules();
        timeout(PATIENCE, waiting).await.unwrap_or_else(|_| panic!("these never happened: {:?}", left()));
    }

    /// Looks at all that operators can see.
    pub(super) async fn look_around(&mut self) {
        for path in ["accounts", "logins", "status", "config", "models"] {
            self.get(&format!("/admin/v1/{path}")).await;
        }
        let last = self.get("/admin/v1/requests").await;
        for request in last["requests"].as_array().expect("a list") {
            self.get(&format!("/admin/v1/requests/{}", request["id"].as_str().expect("an id"))).await;
        }
        self.post("/admin/v1/route", &json!({ "model": "claude-sonnet-4-6" })).await;
    }

    /// Stops the server, and returns what the search finds, and the kinds of secrets that came up.
    pub(super) async fn searched(mut self) -> (Vec<String>, Vec<String>) {
        if self.server.is_some() {
            self.stop("TERM").await;
        }
        for seen in self.gitlab.handle.seen_secrets() {
            self.secrets.add(&seen.kind, seen.value.expose(), Shown::Never);
        }
        (self.secrets.search(&self.places), self.secrets.names().map(str::to_owned).collect())
    }
}

/// Returns a part of the query of an address.
pub(super) fn part(url: &str, name: &str) -> String {
    let query = url.split_once('?').expect("a query").1;
    let mut pairs = url::form_urlencoded::parse(query.as_bytes());
    pairs.find(|(key, _)| *key == name).unwrap_or_else(|| panic!("no {name}")).1.into_owned()
}
