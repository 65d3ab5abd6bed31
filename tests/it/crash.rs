//! The server is killed without a warning at every step in which a credential changes hands, and started again.
//!
//! The simulated GitLab says when a step is reached and knows what it has committed; nothing in the product helps. After
//! the restart the account serves; only where GitLab committed an exchange whose answer was never received the pair is
//! lost, and then the account says so and a new login repairs it.
//!
//! Every kind of run is a part of the tests; `scripts/crash-test` makes many, with moments and second crashes by chance.

use std::env;
use std::net::SocketAddr;
use std::time::Duration;

use duopool::simulator::{DEMO_PUBLIC_CLIENT_ID, Decision, Flow, Hold, Running, Step, StepEvent};
use futures::StreamExt as _;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};

use crate::support::ask::messages;
use crate::support::{Answer, Machine, Request, Started, simulated};

const ADMIN_KEY: &str = "crash-test-admin-key-0123456789";
const MODEL: &str = "claude-sonnet-4-6";
/// Longer than a restart and a few calls take on a busy machine.
const PATIENCE: Duration = Duration::from_mins(1);
/// Runs at the same time: some of their time goes by in waiting.
const SIDE_BY_SIDE: usize = 8;

/// What is under way when the server dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Login,
    Refresh,
    Mint,
}

/// One run.
#[derive(Clone, Copy, Debug)]
struct Plan {
    way: Way,
    /// How far GitLab is at that moment.
    step: Step,
    /// How long after that the server dies.
    delay: Duration,
    /// How long the next one lives, if it dies as well.
    again: Option<Duration>,
}

const WAYS: [Way; 3] = [Way::Login, Way::Refresh, Way::Mint];
const STEPS: [Step; 3] = [Step::Arrived, Step::Committed, Step::Replied];

impl Plan {
    fn of(seed: u64) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let way = WAYS[rng.random_range(0..WAYS.len())];
        let step = STEPS[rng.random_range(0..STEPS.len())];
        let delay = Duration::from_micros(rng.random_range(0..20_000));
        let again = rng.random_bool(0.3).then(|| Duration::from_millis(rng.random_range(0..400)));
        Self { way, step, delay, again }
    }

    const fn flow(self) -> Flow {
        match self.way {
            Way::Login => Flow::CodeExchange,
            Way::Refresh => Flow::Refresh,
            Way::Mint => Flow::Mint,
        }
    }

    /// Whether the answer of an exchange certainly never arrived.
    fn is_lost(self) -> bool {
        self.way != Way::Mint && self.step == Step::Committed
    }
}

/// GitLab, and the machine on which duopool lives and dies.
struct Scene {
    gitlab: Running,
    machine: Machine,
    server: Option<Started>,
    address: SocketAddr,
}

impl Scene {
    async fn new() -> Self {
        let gitlab = simulated(&["ada"]).await;
        let mut machine = Machine::beside(&gitlab);
        machine.set("GITLAB_OAUTH_CLIENT_ID", DEMO_PUBLIC_CLIENT_ID);
        machine.set("DUOPOOL_ADMIN_KEY", ADMIN_KEY);
        let (server, address) = machine.serve().await;
        Self { gitlab, machine, server: Some(server), address }
    }

    fn admin(&self, method: &str, path: &str) -> Request {
        Request::new(self.address, method, path).header("authorization", &format!("Bearer {ADMIN_KEY}"))
    }

    async fn get(&self, path: &str) -> Value {
        let answer = self.admin("GET", path).send().await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        answer.json()
    }

    /// Returns the account, if there is one.
    async fn account(&self) -> Option<Value> {
        let accounts = self.get("/admin/v1/accounts").await;
        accounts["accounts"].as_array().expect("a list").first().cloned()
    }

    async fn ask(&self) -> Answer {
        Request::new(self.address, "POST", "/v1/messages").json(&messages(MODEL)).send().await
    }

    /// Begins a login, and returns the request that ends it.
    async fn login(&self) -> Request {
        let begun = self.admin("POST", "/admin/v1/logins").json(&json!({})).send().await;
        assert_eq!(begun.status, 201, "{}", begun.text());
        let begun = begun.json();
        let url = begun["authorize_url"].as_str().expect("an address to open");
        let callback = self.gitlab.handle.approve("ada", url, Decision::Authorize).expect("GitLab's page works");
        let path = format!("/admin/v1/logins/{}", begun["id"].as_str().expect("an id"));
        self.admin("POST", &path).json(&json!({ "callback_url": callback }))
    }

    /// Logs in from begin to end, and returns the account.
    async fn logged_in(&self) -> Value {
        let done = self.login().await.send().await;
        assert_eq!((done.status, &done.json()["status"]), (200, &json!("done")), "{}", done.text());
        self.account().await.expect("an account")
    }

    fn kill(&mut self) {
        // `Started` sends SIGKILL and waits for the end.
        self.server = None;
    }

    async fn start(&mut self) {
        let (server, address) = self.machine.serve().await;
        (self.server, self.address) = (Some(server), address);
    }
}

/// Waits until `found` finds something.
async fn until<T>(what: &str, scene: &Scene, found: impl AsyncFn(&Scene) -> Option<T>) -> T {
    let waiting = async {
        loop {
            if let Some(found) = found(scene).await {
                return found;
            }
            sleep(Duration::from_millis(20)).await;
        }
    };
    if let Ok(found) = timeout(PATIENCE, waiting).await {
        return found;
    }
    panic!("{what} never came: {:?}, {}", scene.account().await, scene.get("/admin/v1/logins").await)
}

/// Brings GitLab to the moment of the plan, and kills the server there.
async fn crash(scene: &mut Scene, plan: Plan) {
    let account = if plan.way == Way::Login { None } else { Some(scene.logged_in().await) };
    let (flow, step) = (plan.flow(), plan.step);
    if plan.way == Way::Refresh {
        let ended = scene.server.take().expect("a server").stop("TERM").await;
        assert_eq!(ended.code, Some(0), "{ended:?}");
        scene.machine.let_pairs_age();
    }
    if step != Step::Replied {
        scene.gitlab.handle.hold(Hold { flow, step, account: None, times: None });
    }
    let before = scene.gitlab.handle.steps().last().map_or(0, |event| event.number);
    // The connection stays open until the server is dead.
    let _asked = match plan.way {
        Way::Login => Some(scene.login().await.begin().await),
        Way::Mint => {
            let id = account.as_ref().and_then(|account| account["id"].as_str()).expect("an id").to_owned();
            Some(scene.admin("POST", &format!("/admin/v1/accounts/{id}/refresh")).begin().await)
        }
        // Comes by itself, since the access token has ended.
        Way::Refresh => {
            scene.start().await;
            None
        }
    };
    let is_it = |event: &StepEvent| event.number > before && event.flow == flow && event.step == step;
    timeout(PATIENCE, scene.gitlab.handle.reached(is_it)).await.unwrap_or_else(|_| panic!("{plan:?} never got there"));
    sleep(plan.delay).await;
    scene.kill();
    // What is let go before GitLab has seen its client leave is worked on all the same.
    let noticed =
        async |scene: &Scene| scene.gitlab.handle.holds().iter().all(|hold| hold.requests.is_empty()).then_some(());
    until("GitLab's notice", scene, noticed).await;
    scene.gitlab.handle.release_all();
}

async fn run(plan: Plan) {
    let mut scene = Scene::new().await;
    crash(&mut scene, plan).await;
    if let Some(life) = plan.again {
        scene.start().await;
        sleep(life).await;
        scene.kill();
    }
    scene.start().await;
    match plan.way {
        Way::Login => after_login(&scene, plan).await,
        Way::Refresh => after_refresh(&scene, plan).await,
        Way::Mint => serves(&scene).await,
    }
    let tally = scene.gitlab.handle.tally("ada").expect("ada");
    assert!(tally.refreshes_in_flight_max <= 1, "two refreshes of one token: {tally:?}");
    assert!(tally.mint_requests_in_300_s_max <= 10, "more mints than the budget: {tally:?}");
}

async fn serves(scene: &Scene) {
    until("an answer", scene, async |scene| (scene.ask().await.status == 200).then_some(())).await;
}

/// Either the account is there and serves, or the server says that a login was lost; and a new one is possible.
async fn after_login(scene: &Scene, plan: Plan) {
    let told = async |scene: &Scene| {
        let logins = scene.get("/admin/v1/logins").await;
        let failed = |login: &&Value| login["status"] == "failed" && login["problem"]["message"].is_string();
        logins["logins"].as_array().expect("a list").iter().find(failed).cloned()
    };
    let account = until("the account or the loss", scene, async |scene| match scene.account().await {
        Some(account) => Some(Some(account)),
        None => told(scene).await.map(|_| None),
    })
    .await;
    if plan.step != Step::Replied {
        assert_eq!(account, None, "GitLab's answer never came");
    }
    let known = account.map(|account| account["id"].clone());
    if known.is_some() {
        serves(scene).await;
    }
    let account = scene.logged_in().await;
    assert!(known.is_none_or(|id| id == account["id"]), "another account");
    serves(scene).await;
}

/// The grant serves in any case; and either the login goes on, or it says that it was lost and a new one repairs it.
async fn after_refresh(scene: &Scene, plan: Plan) {
    serves(scene).await;
    let account = until("the end of the doubt", scene, async |scene| {
        let account = scene.account().await?;
        let settled = account["login"] == "fresh" || account["trouble"]["reason"] == "renewal_uncertain";
        settled.then_some(account)
    })
    .await;
    let lost = account["login"] != "fresh";
    match plan.step {
        Step::Arrived => assert!(!lost, "GitLab had exchanged nothing: {account}"),
        Step::Committed => assert!(lost, "GitLab's answer never came: {account}"),
        Step::Replied => {}
    }
    let repaired = scene.logged_in().await;
    assert_eq!((&repaired["id"], &repaired["login"]), (&account["id"], &json!("fresh")), "{repaired}");
    serves(scene).await;
}

/// Runs `plans` side by side; says which one failed and how to repeat it.
async fn run_all(plans: Vec<(String, Plan)>) {
    let runs = plans.into_iter().map(|(name, plan)| async move {
        let ended = actix_web::rt::spawn(run(plan)).await;
        assert!(ended.is_ok(), "{name} failed: {plan:?}");
        plan
    });
    let done: Vec<Plan> = futures::stream::iter(runs).buffer_unordered(SIDE_BY_SIDE).collect().await;
    let lost = done.iter().filter(|plan| plan.is_lost()).count();
    println!("{} crashes survived, of which {lost} in the one moment in which an answer is lost", done.len());
}

#[actix::test]
async fn the_server_is_killed_at_every_step_and_no_account_is_lost() {
    let mut plans = Vec::new();
    for way in WAYS {
        for step in STEPS {
            let plan = Plan { way, step, delay: Duration::ZERO, again: None };
            plans.push((format!("{way:?} at {step:?}"), plan));
        }
    }
    let again = Some(Duration::from_millis(50));
    plans.push((
        "a second crash".to_owned(),
        Plan { way: Way::Refresh, step: Step::Replied, delay: Duration::from_millis(2), again },
    ));
    run_all(plans).await;
}

/// As many runs as `DUOPOOL_CRASH_RUNS` says, from seed `DUOPOOL_CRASH_SEED` on.
#[actix::test]
async fn crashes_by_chance_lose_no_account() {
    let number = |name: &str, default: u64| env::var(name).map_or(default, |text| text.parse().expect("a number"));
    let (runs, first) = (number("DUOPOOL_CRASH_RUNS", 6), number("DUOPOOL_CRASH_SEED", 1));
    let named = |seed| (format!("`scripts/crash-test 1 {seed}`"), Plan::of(seed));
    run_all((first..first + runs).map(named).collect()).await;
}
