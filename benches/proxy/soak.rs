//! The soak: mixed traffic with hang-ups, slow readers, faults, and accounts that die and return; then a look at what
//! is left. Memory must be flat, and every slot, connection and thread be given back.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use duopool::simulator::{self, Call, Credit, Effect, Rule, SimulatedAccount, SimulatorHandle};
use futures::future::join_all;
use memchr::memmem;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::time::{Instant, interval, sleep, timeout};

use crate::client::{Client, request};
use crate::process::{CLIENT_KEY, Duopool, OWN, Process};

const ACCOUNTS: u64 = 6;
const READERS: u64 = 32;
const LEAVERS: u64 = 16;
const SLOW_READERS: u64 = 6;
/// Every so often something goes wrong.
const TROUBLE_EVERY: Duration = Duration::from_secs(2);
/// An account without credit gets it back after this time.
const RETURN_AFTER: Duration = Duration::from_secs(3);
const SAMPLE_EVERY: Duration = Duration::from_secs(2);
/// The model whose answers are large, for slow readers.
const LARGE_MODEL: &str = "claude-opus-4-8";
/// About 10 MB: more than the sockets on the way take in.
const LARGE_EVENTS: usize = 60_000;
/// Longest wait for one answer, far above duopool's own limits as they are set here.
const ANSWER_MAX: Duration = Duration::from_mins(1);
/// duopool does not use a connection that was idle for 15 s, and closes it at the next request.
const POOL_EXPIRES: Duration = Duration::from_secs(17);
/// Memory may differ by this between the warm process and the end: allocators keep some of what they got.
const MEMORY_TOLERANCE: f64 = 1.10;
const MEMORY_TOLERANCE_MB: f64 = 8.0;
/// Connections that stay open for the next request, after all others were given back.
const FILES_TOLERANCE: usize = 8;

/// What the traffic has seen.
#[derive(Default)]
struct Seen {
    statuses: BTreeMap<u16, u64>,
    left: u64,
    told_errors: u64,
    /// Streams that ended without their last event and without an error: there must be none.
    torn: u64,
    /// What ended an exchange other than an answer, and how often.
    breaks: BTreeMap<String, u64>,
}

/// What the tasks of the soak share.
struct Scene {
    address: SocketAddr,
    stopping: Cell<bool>,
    seen: RefCell<Seen>,
}

/// A look at the process.
#[derive(Clone, Copy)]
struct Look {
    rss_mb: f64,
    files: usize,
    threads: usize,
}

fn look(process: &Process) -> Look {
    let rss_mb = crate::load::count(process.rss_kb()) / 1_024.0;
    Look { rss_mb, files: process.entries("fd"), threads: process.entries("task") }
}

/// Runs for `time`; returns whether nothing is left.
pub(crate) async fn run(time: Duration) -> bool {
    let accounts: Vec<_> = (1..=ACCOUNTS).map(|id| SimulatedAccount::new(&name(id), id, &token(id))).collect();
    let gitlab = simulator::start(simulator::Settings { accounts, ..simulator::Settings::default() }).await;
    let gitlab = gitlab.expect("the simulator starts");
    gitlab.handle.keep_requests(false);
    gitlab.handle.change_instance(|instance| instance.text_deltas = Some(60));
    gitlab.handle.add_rule(large_answer());
    gitlab.handle.add_rule(Rule::always(Effect::delay(Duration::from_millis(5), Duration::from_millis(4))));
    let settings = [
        ("DUOPOOL_IDLE_TIMEOUT_S", "5"),
        ("DUOPOOL_HEAD_TIMEOUT_STREAM_S", "5"),
        ("DUOPOOL_HEAD_TIMEOUT_WHOLE_S", "5"),
        ("GITLAB_BASE_URL", &gitlab.url()),
        ("GITLAB_AI_GATEWAY_URL", &gitlab.gateway_url()),
        ("DUOPOOL_LOG", "error"),
    ];
    let process =
        Rc::new(Process::duopool(&Duopool { binary: Path::new(OWN), cores: "0,1", workers: 2, settings: &settings }));
    for id in 1..=ACCOUNTS {
        process.add_account(&gitlab.url(), &token(id), None).await;
    }
    let seen = RefCell::new(Seen::default());
    let scene = Rc::new(Scene { address: process.address, stopping: Cell::new(false), seen });
    settle(&scene).await;
    let idle = look(&process);
    let until = Instant::now() + time;
    let tasks = traffic(&scene);
    let trouble = actix_web::rt::spawn(trouble(Rc::clone(&process), gitlab.handle.clone(), gitlab.url(), until));
    let looks = watch(&process, until).await;
    scene.stopping.set(true);
    join_all(tasks).await;
    drop(trouble.await);
    let slots = given_back(&process, &gitlab.handle).await;
    sleep(POOL_EXPIRES).await;
    settle(&scene).await;
    report(&scene.seen.borrow(), idle, &looks, look(&process), slots, &process)
}

fn name(id: u64) -> String {
    format!("user-{id}")
}

fn token(id: u64) -> String {
    format!("glpat-soak-{id}-0123456789")
}

fn large_answer() -> Rule {
    let event = "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\
                 \"text_delta\",\"text\":\"some words of a large answer, to be read slowly by its client\"}}\n\n";
    let body = format!(
        "event: content_block_start\ndata: {{\"type\":\"content_block_start\",\"index\":0,\"content_block\":\
         {{\"type\":\"text\",\"text\":\"\"}}}}\n\n{}event: message_stop\ndata: {{\"type\":\"message_stop\"}}\n\n",
        event.repeat(LARGE_EVENTS)
    );
    let content_type = "text/event-stream".to_owned();
    let answer = Effect::Answer { status: 200, body, content_type, headers: Vec::new() };
    Rule::always(answer).on(Call::Messages).for_model(LARGE_MODEL)
}

/// Lets every worker serve a few requests, so that it drops the connections that it no longer uses.
async fn settle(scene: &Scene) {
    for _ in 0..8 {
        let Ok(mut client) = Client::connect(scene.address).await else { continue };
        drop(client.whole(&body(0, false)).await);
    }
    sleep(Duration::from_secs(1)).await;
}

/// Returns one of the requests that clients send.
fn body(kind: u32, stream: bool) -> Vec<u8> {
    let (path, model) = match kind % 4 {
        0 => ("/v1/messages", "claude-sonnet-4-6"),
        1 => ("/v1/chat/completions", "claude-sonnet-4-6"),
        2 => ("/v1/responses", "gpt-5.5-2026-04-23"),
        _ => ("/v1/chat/completions", "gpt-5.5-2026-04-23"),
    };
    let text = "tell me something ".repeat(20);
    let body = match path {
        "/v1/responses" => format!("{{\"model\":\"{model}\",\"stream\":{stream},\"input\":\"{text}\"}}"),
        _ => format!(
            "{{\"model\":\"{model}\",\"max_tokens\":1000,\"stream\":{stream},\"messages\":[{{\"role\":\"user\",\
             \"content\":\"{}\"}}]}}",
            text.trim_end()
        ),
    };
    request(path, CLIENT_KEY, &body)
}

fn traffic(scene: &Rc<Scene>) -> Vec<actix_web::rt::task::JoinHandle<()>> {
    let mut tasks = Vec::new();
    for id in 0..READERS {
        let scene = Rc::clone(scene);
        tasks.push(actix_web::rt::spawn(async move { repeat(&scene, id, Role::Reads).await }));
    }
    for id in 0..LEAVERS {
        let scene = Rc::clone(scene);
        tasks.push(actix_web::rt::spawn(async move { repeat(&scene, 1_000 + id, Role::Leaves).await }));
    }
    for id in 0..SLOW_READERS {
        let scene = Rc::clone(scene);
        tasks.push(actix_web::rt::spawn(async move { repeat(&scene, 2_000 + id, Role::ReadsSlowly).await }));
    }
    tasks
}

#[derive(Clone, Copy, Debug)]
enum Role {
    /// To the end, and the next one on the same connection.
    Reads,
    /// In the middle.
    Leaves,
    /// A large answer.
    ReadsSlowly,
}

async fn repeat(scene: &Scene, seed: u64, role: Role) {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut client = None;
    while !scene.stopping.get() {
        let run = async {
            match role {
                Role::Reads => read(scene, &mut client, &mut rng).await,
                Role::Leaves => leave(scene, &mut rng).await,
                Role::ReadsSlowly => read_slowly(scene, &mut rng).await,
            }
        };
        let break_up = match timeout(ANSWER_MAX, run).await {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(format!("{role:?}: {:?}", error.kind())),
            Err(_) => Some(format!("{role:?}: no end in {ANSWER_MAX:?}")),
        };
        if let Some(what) = break_up {
            *scene.seen.borrow_mut().breaks.entry(what).or_default() += 1;
            client = None;
        }
        // Refusals are instant: clients of a pool that is down do not come back at once.
        sleep(Duration::from_millis(rng.random_range(10..60))).await;
    }
}

async fn read(scene: &Scene, client: &mut Option<Client>, rng: &mut StdRng) -> io::Result<()> {
    let connection = match client {
        Some(connection) => connection,
        None => client.insert(Client::connect(scene.address).await?),
    };
    let stream = rng.random_ratio(2, 3);
    let (status, text) = connection.whole(&body(rng.random(), stream)).await?;
    let mut seen = scene.seen.borrow_mut();
    *seen.statuses.entry(status).or_default() += 1;
    if status == 200 && stream {
        let has = |end: &[u8]| memmem::find(&text, end).is_some();
        let ended = has(b"message_stop") || has(b"[DONE]") || has(b"response.completed");
        let told = has(b"\"error\"") || has(b"event: error") || has(b"response.failed");
        seen.told_errors += u64::from(told && !ended);
        seen.torn += u64::from(!told && !ended);
    }
    Ok(())
}

async fn leave(scene: &Scene, rng: &mut StdRng) -> io::Result<()> {
    let mut client = Client::connect(scene.address).await?;
    let ask = body(rng.random(), rng.random_ratio(3, 4));
    let stay = Duration::from_millis(rng.random_range(0..200));
    let all = async {
        let head = client.ask(&ask).await?;
        client.rest(head).await
    };
    // Whether it was done by then is all the same.
    drop(timeout(stay, all).await);
    scene.seen.borrow_mut().left += 1;
    Ok(())
}

async fn read_slowly(scene: &Scene, rng: &mut StdRng) -> io::Result<()> {
    let mut client = Client::connect_narrow(scene.address, 64 * 1_024).await?;
    let ask = format!(
        "{{\"model\":\"{LARGE_MODEL}\",\"max_tokens\":1000,\"stream\":true,\"messages\":[{{\"role\":\"user\",\
         \"content\":\"hi\"}}]}}"
    );
    let head = client.ask(&request("/v1/messages", CLIENT_KEY, &ask)).await?;
    *scene.seen.borrow_mut().statuses.entry(head.status).or_default() += 1;
    // Some get to the end.
    let sips = rng.random_range(20..600);
    for _ in 0..sips {
        sleep(Duration::from_millis(20)).await;
        if head.status != 200 || !client.sip(64 * 1_024).await? {
            break;
        }
    }
    Ok(())
}

/// Lets things go wrong, one after the other.
async fn trouble(process: Rc<Process>, gitlab: SimulatorHandle, url: String, until: Instant) {
    let mut rng = StdRng::seed_from_u64(7);
    while Instant::now() < until {
        sleep(TROUBLE_EVERY).await;
        let id = rng.random_range(1..=ACCOUNTS);
        let once = |effect| gitlab.add_rule(Rule::once(effect));
        match rng.random_range(0..9) {
            0 => gitlab.revoke_grants(Some(&name(id))).expect("a known account"),
            1 => die_and_return(&process, &gitlab, &url, id).await,
            2 => once(Effect::Cut { after: 9 }),
            3 => once(Effect::Stall { after: 9 }),
            4 => once(Effect::ErrorEvent { after: 9, event: None }),
            5 => once(Effect::ErrorEvent { after: 0, event: None }),
            6 => once(Effect::Close),
            7 => once(Effect::Hang),
            _ => once(Effect::json(
                529,
                &serde_json::json!({
                    "type": "error", "error": { "type": "overloaded_error", "message": "Overloaded" },
                }),
            )),
        }
    }
}

/// Takes an account's credit away; gives it back, and logs the account in anew, as a person would who bought some.
async fn die_and_return(process: &Process, gitlab: &SimulatorHandle, url: &str, id: u64) {
    gitlab.set_credit(&name(id), Credit::Exhausted).expect("a known account");
    sleep(RETURN_AFTER).await;
    gitlab.set_credit(&name(id), Credit::Available).expect("a known account");
    let (_, list) = process.admin("GET", "/admin/v1/accounts", None).await;
    let accounts = list["accounts"].as_array().expect("a list of accounts");
    let gone = accounts.iter().find(|account| account["user_id"] == id).and_then(|account| account["id"].as_str());
    if let Some(gone) = gone {
        process.admin("DELETE", &format!("/admin/v1/accounts/{gone}"), None).await;
    }
    process.add_account(url, &token(id), None).await;
}

async fn watch(process: &Process, until: Instant) -> Vec<Look> {
    let mut looks = Vec::new();
    let mut pace = interval(SAMPLE_EVERY);
    while Instant::now() < until {
        pace.tick().await;
        looks.push(look(process));
    }
    looks
}

/// Waits until no slot is taken and no request open, for a while; returns what is left of both.
async fn given_back(process: &Process, gitlab: &SimulatorHandle) -> (u64, u64) {
    let mut left = (u64::MAX, u64::MAX);
    for _ in 0..60 {
        let (_, status) = process.admin("GET", "/admin/v1/status", None).await;
        left = (status["in_flight"].as_u64().unwrap_or(u64::MAX), gitlab.gauges().open_requests);
        if left == (0, 0) {
            break;
        }
        sleep(Duration::from_millis(500)).await;
    }
    left
}

fn median(looks: &[Look]) -> f64 {
    let mut all: Vec<f64> = looks.iter().map(|look| look.rss_mb).collect();
    all.sort_by(f64::total_cmp);
    all.get(all.len() / 2).copied().unwrap_or(f64::NAN)
}

fn report(seen: &Seen, idle: Look, looks: &[Look], end: Look, slots: (u64, u64), process: &Process) -> bool {
    println!("answers by status: {:?}; hang-ups: {}", seen.statuses, seen.left);
    println!("streams that ended in an error they told: {}", seen.told_errors);
    println!("connections that broke: {:?}", seen.breaks);
    for (number, look) in looks.iter().enumerate().step_by((looks.len() / 12).max(1)) {
        let at = SAMPLE_EVERY * u32::try_from(number).unwrap_or(u32::MAX);
        println!("after {at:?}: {:.1} MB, {} files, {} threads", look.rss_mb, look.files, look.threads);
    }
    // The first quarter fills pools and heaps.
    let quarter = looks.len() / 4;
    let (warm, last) = (median(&looks[quarter..2 * quarter]), median(&looks[looks.len() - quarter..]));
    let limit = (warm * MEMORY_TOLERANCE).max(warm + MEMORY_TOLERANCE_MB);
    let served = seen.statuses.get(&200).copied().unwrap_or_default();
    let all: u64 = seen.statuses.values().sum();
    let checks = [
        (
            last <= limit,
            format!("memory: {warm:.1} MB in the second quarter, {last:.1} MB in the last; at most {limit:.1}"),
        ),
        (slots.0 == 0, format!("slots that were not given back: {}", slots.0)),
        (slots.1 == 0, format!("requests that are open at the gateway: {}", slots.1)),
        (
            end.files <= idle.files + FILES_TOLERANCE,
            format!("open files: {} idle, {} at the end; {FILES_TOLERANCE} more allowed", idle.files, end.files),
        ),
        (end.threads <= idle.threads, format!("threads: {} idle, {} at the end", idle.threads, end.threads)),
        (seen.torn == 0, format!("streams that ended without a last word: {}", seen.torn)),
        (served * 10 >= all * 9, format!("answers that succeeded: {served} of {all}; 90 % wanted")),
    ];
    for (good, told) in &checks {
        println!("{} {told}", if *good { "ok  " } else { "FAIL" });
    }
    println!("memory at the end, idle again: {:.1} MB (at the start {:.1} MB)", end.rss_mb, idle.rss_mb);
    for line in process.log().lines().take(20) {
        println!("log: {line}");
    }
    checks.iter().all(|(good, _)| *good)
}
