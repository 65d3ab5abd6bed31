//! A whole duopool in front of a whole simulated GitLab, on free loopback ports.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use duopool::app::{self, Mode, Running, StartError};
use duopool::config::{Config, Layer};
use duopool::domain::endpoint::InstanceUrl;
use duopool::domain::id::{AccountId, Generation};
use duopool::domain::oauth::{OAuthApp, OAuthPair};
use duopool::domain::secret::Secret;
use duopool::domain::time::{Clock, SystemClock};
use duopool::simulator::{self, DEMO_PUBLIC_CLIENT_ID, DEMO_REDIRECT_URI, SimulatedAccount, SimulatorHandle};
use duopool::store::{AccountRecord, Credential, MasterKey, SledStore, Store as _};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::client::{Answer, Open, Request};

/// The operators' key of every test.
pub const ADMIN_KEY: &str = "test-admin-key-0123456789";

/// One server with its GitLab. Both end with it.
pub struct TestApp {
    /// GitLab's side: what it answers, and what it got.
    pub gitlab: SimulatorHandle,
    /// Root of the simulated instance.
    pub gitlab_url: String,
    simulator: simulator::Running,
    running: Option<Running>,
    folder: TempDir,
    layer: Layer,
    clock: Arc<dyn Clock>,
}

impl TestApp {
    /// Starts with the accounts called `names`, all of them in the pool and in good standing.
    pub async fn with_accounts(names: &[&str]) -> Self {
        let app = Self::start(names, |_| {}).await;
        for name in names {
            app.add(name).await;
        }
        app
    }

    /// Starts GitLab with users called `names`, and duopool with an empty pool and `change`d settings.
    pub async fn start(names: &[&str], change: impl FnOnce(&mut Layer)) -> Self {
        Self::start_at(names, Arc::new(SystemClock), change).await
    }

    /// As [`TestApp::start`], with both sides reading the time from `clock`.
    pub async fn start_at(names: &[&str], clock: Arc<dyn Clock>, change: impl FnOnce(&mut Layer)) -> Self {
        let simulator = simulated_at(names, Arc::clone(&clock)).await;
        let folder = tempfile::tempdir().expect("a folder for the data");
        let mut layer = Layer {
            listen: Some("127.0.0.1:0".to_owned()),
            data_dir: Some(folder.path().to_owned()),
            admin_key: Some(Secret::new(ADMIN_KEY.to_owned())),
            workers: Some(2),
            gitlab_base_url: Some(simulator.url()),
            // A bug in finding the gateway must not send a packet out.
            gitlab_ai_gateway_url: Some(simulator.gateway_url()),
            ..Layer::default()
        };
        change(&mut layer);
        let (gitlab, gitlab_url) = (simulator.handle.clone(), simulator.url());
        let running = Some(start(&layer, &clock).await.expect("duopool starts"));
        Self { gitlab, gitlab_url, simulator, running, folder, layer, clock }
    }

    /// Stops duopool, not GitLab, and starts it again on the same data with `change`d settings.
    pub async fn restart(&mut self, change: impl FnOnce(&mut Layer)) {
        self.stop().await;
        change(&mut self.layer);
        self.running = Some(start(&self.layer, &self.clock).await.expect("duopool starts"));
    }

    /// Stops duopool and tries to start it on the same data with `change`d settings, which are not kept; returns why it
    /// was refused.
    pub async fn refused_restart(&mut self, change: impl FnOnce(&mut Layer)) -> StartError {
        self.stop().await;
        let mut layer = self.layer.clone();
        change(&mut layer);
        match start(&layer, &self.clock).await {
            Ok(_) => panic!("duopool started"),
            Err(error) => error,
        }
    }

    /// Stops duopool, not GitLab.
    pub async fn stop(&mut self) {
        if let Some(running) = self.running.take() {
            running.stop().await;
        }
    }

    /// Adds the account of GitLab's user `name`, whose label is the name; returns its id.
    pub async fn add(&self, name: &str) -> String {
        self.add_with(name, &json!({})).await
    }

    /// As [`TestApp::add`], with the members of `more` in the order to add it.
    pub async fn add_with(&self, name: &str, more: &Value) -> String {
        let answer = self.try_add(name, more).await;
        assert_eq!(answer.status, 201, "{}", answer.text());
        answer.json()["id"].as_str().expect("an id").to_owned()
    }

    /// As [`TestApp::add_with`], but returns the answer, whatever it is.
    pub async fn try_add(&self, name: &str, more: &Value) -> Answer {
        let mut body = json!({ "base_url": self.gitlab_url, "personal_access_token": token_of(name), "label": name });
        for (member, value) in more.as_object().expect("an object") {
            body[member] = value.clone();
        }
        self.admin("POST", "/admin/v1/accounts").json(&body).send().await
    }

    /// Waits until no account has a request in flight.
    pub async fn at_rest(&self) {
        let list = self.admin("GET", "/admin/v1/accounts").send().await.json();
        for account in list["accounts"].as_array().expect("a list") {
            self.account_when(account["label"].as_str().expect("a label"), |account| account["in_flight"] == 0).await;
        }
    }

    /// Returns what the admin API says of the account labelled `name`.
    pub async fn account(&self, name: &str) -> Value {
        let list = self.admin("GET", "/admin/v1/accounts").send().await.json();
        let accounts = list["accounts"].as_array().expect("a list").clone();
        accounts
            .into_iter()
            .find(|account| account["label"] == name)
            .unwrap_or_else(|| panic!("no account {name}: {list}"))
    }

    /// Waits until the admin API says of the account labelled `name` what `wanted` wants.
    pub async fn account_when(&self, name: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        // The state is published when an actor has worked its messages off: asked again until then, with an end.
        for _ in 0..2_000 {
            let account = self.account(name).await;
            if wanted(&account) {
                return account;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("account {name} never came to that state: {}", self.account(name).await)
    }

    /// Returns a request to the client API.
    pub fn request(&self, method: &str, path: &str) -> Request {
        Request::new(self.address(), method, path)
    }

    /// Returns a POST of `body` to `path` of the client API, ready to be sent.
    pub fn post(&self, path: &str, body: &Value) -> Request {
        self.request("POST", path).json(body)
    }

    /// Sends `body` to `path` and reads the whole answer.
    pub async fn ask(&self, path: &str, body: &Value) -> Answer {
        self.post(path, body).send().await
    }

    /// Sends `body` to `path` and returns once the head of the answer is there.
    pub async fn open(&self, path: &str, body: &Value) -> Open {
        self.post(path, body).open().await
    }

    /// Returns a request to the admin API, with the key.
    pub fn admin(&self, method: &str, path: &str) -> Request {
        self.request(method, path).header("authorization", &format!("Bearer {ADMIN_KEY}"))
    }

    /// Stops duopool and stores an account of GitLab's user `name` that has just logged in by OAuth; its label is the name.
    pub async fn stop_and_store_login(&mut self, name: &str) {
        self.stop().await;
        let user_id = self.gitlab.accounts().iter().find(|account| account.username == name).expect("a user").user_id;
        let tokens = self.gitlab.issue_tokens(name, DEMO_PUBLIC_CLIENT_ID, &["api"]).expect("tokens");
        let now = self.clock.now();
        let instance = InstanceUrl::parse(&self.gitlab_url).expect("an address");
        let pair = OAuthPair {
            access_token: tokens.access_token,
            refresh_token: tokens.refresh_token,
            expires_at: now + Duration::from_secs(tokens.expires_in_s),
            obtained_at: now,
            scopes: tokens.scopes,
        };
        let client_id = DEMO_PUBLIC_CLIENT_ID.to_owned();
        let app = OAuthApp { client_id, client_secret: None, redirect_uri: Some(DEMO_REDIRECT_URI.to_owned()) };
        let record = AccountRecord {
            id: AccountId::of(&instance, user_id),
            instance,
            user_id,
            username: name.to_owned(),
            label: Some(name.to_owned()),
            pool: "default".to_owned(),
            priority: 0,
            weight: 1,
            max_concurrency: 16,
            enabled: true,
            gateway_url: None,
            reported_gateway: None,
            credential: Credential::OAuth { app, pair },
            credential_generation: Generation::default().next(),
            exchange_begun_at: None,
            added_at: now,
        };
        let key = MasterKey::load_or_create(self.folder.path()).expect("a key").key;
        let mut store = SledStore::open(self.folder.path(), &key).expect("the store opens");
        store.put_account(&record).expect("it is stored");
    }

    /// Returns where duopool listens.
    pub fn address(&self) -> SocketAddr {
        self.running.as_ref().expect("duopool runs").address()
    }

    /// Returns where the simulated GitLab listens.
    pub fn gitlab_address(&self) -> SocketAddr {
        self.simulator.address()
    }

    /// Returns the root of the simulated gateway.
    pub fn gateway_url(&self) -> String {
        self.simulator.gateway_url()
    }

    /// Returns the folder of duopool's data.
    pub fn folder(&self) -> &std::path::Path {
        self.folder.path()
    }

    /// Takes duopool out, to stop it in a way of the test's own.
    pub fn take_running(&mut self) -> Running {
        self.running.take().expect("duopool runs")
    }
}

/// Returns the personal access token of GitLab's user `name`.
pub fn token_of(name: &str) -> String {
    format!("glpat-test-{name}-0123456789")
}

/// Starts a GitLab with users called `names`, all of them in good standing.
pub async fn simulated(names: &[&str]) -> simulator::Running {
    simulated_at(names, Arc::new(SystemClock)).await
}

async fn simulated_at(names: &[&str], clock: Arc<dyn Clock>) -> simulator::Running {
    let accounts = (1_u64..).zip(names).map(|(id, name)| SimulatedAccount::new(name, id, &token_of(name))).collect();
    let settings = simulator::Settings { accounts, clock, ..simulator::Settings::default() };
    simulator::start(settings).await.expect("the simulator starts")
}

async fn start(layer: &Layer, clock: &Arc<dyn Clock>) -> Result<Running, StartError> {
    let config = Config::check(layer).expect("the settings are good");
    app::start(config, Mode::Private, Arc::clone(clock)).await
}
