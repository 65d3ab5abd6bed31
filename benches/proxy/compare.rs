//! The comparison: the upstream itself, nginx and duopool under the same loads, one after the other in every round.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use duopool::simulator::{self, SimulatedAccount};
use tokio::time::sleep;

use crate::load::{self, OpenStreams, Sample, Target};
use crate::process::{Duopool, OWN, Process, pin};
use crate::report;
use crate::upstream::{self, PlainUpstream};

const PROXY_CORE: &str = "0";
const LOAD_CORE: &str = "1";
const BOTH_CORES: &str = "0,1";
const TOKEN: &str = "glpat-bench-0123456789";
/// Pace of the streams whose events are timed.
const PACE: Duration = Duration::from_millis(5);
const PACED_STREAMS: usize = 100;
/// Events of a stream at full speed.
const EVENTS: u64 = 200;
/// Time for memory to settle once streams are open.
const SETTLE: Duration = Duration::from_secs(3);

/// How much is measured.
#[derive(Clone, Copy)]
pub(crate) struct Extent {
    pub(crate) rounds: usize,
    pub(crate) time: Duration,
    pub(crate) singles: u64,
}

impl Extent {
    pub(crate) const FULL: Self = Self { rounds: 5, time: Duration::from_secs(2), singles: 500 };
    pub(crate) const QUICK: Self = Self { rounds: 1, time: Duration::from_millis(700), singles: 200 };
}

/// One load, as a row of the results.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Load {
    Json64,
    Json1,
    Paced,
    Translated,
    FullSpeed,
    FirstEvent,
    Body100Kb,
    Body1Mb,
    HangUp,
    FullSpeed2Cores,
}

/// Memory of a target with open streams, in MB.
#[derive(Clone, Copy, Default)]
pub(crate) struct Memory {
    pub(crate) idle: f64,
    pub(crate) with_1000: f64,
    pub(crate) with_5000: f64,
    pub(crate) errors: usize,
}

/// Everything that was measured, by the name of the target.
#[derive(Default)]
pub(crate) struct Results {
    pub(crate) samples: BTreeMap<(Load, &'static str), Sample>,
    pub(crate) memory: BTreeMap<&'static str, Memory>,
}

impl Results {
    /// Of several rounds, the one with the lowest median counts: what else runs on the machine only ever slows a round
    /// down. Errors of all rounds count, and the longest time of all hang-ups.
    fn add(&mut self, load: Load, target: &Target, sample: Sample) {
        let known = self.samples.entry((load, target.name)).or_default();
        if load == Load::HangUp { known.merge(sample) } else { known.keep_better(sample) }
    }
}

/// Runs everything; returns whether every goal that must be met is.
pub(crate) async fn run(extent: Extent, micro: Option<&Path>, before: Option<&Path>) -> bool {
    pin(LOAD_CORE);
    let mut upstream = upstream::start().expect("the upstream starts");
    let accounts = vec![SimulatedAccount::new("ada", 1, TOKEN)];
    let gitlab = simulator::start(simulator::Settings { accounts, ..simulator::Settings::default() }).await;
    let gitlab = gitlab.expect("the simulator starts");
    let mut results = Results::default();
    memory(&mut results, &upstream, &gitlab.url()).await;
    let mut targets = targets(PROXY_CORE, 1, &upstream, &gitlab.url()).await;
    if let Some(binary) = before {
        let started = duopool(binary, (PROXY_CORE, 1), &upstream, &gitlab.url()).await;
        targets.push(Target { name: "before", ..started });
    }
    for _ in 0..extent.rounds {
        for target in &targets {
            one_core(&mut results, target, extent).await;
            let sample = load::hang_ups(target, &mut upstream, extent.singles / 10).await;
            results.add(Load::HangUp, target, sample);
        }
    }
    logs(&targets);
    drop(targets);
    pin(BOTH_CORES);
    let targets = self::targets(BOTH_CORES, 2, &upstream, &gitlab.url()).await;
    let what = load::messages(true, &load::stream_of(EVENTS, Duration::ZERO));
    for _ in 0..extent.rounds {
        for target in &targets {
            let sample = load::streams(target, &what, EVENTS, 16, extent.time).await;
            results.add(Load::FullSpeed2Cores, target, sample);
        }
    }
    logs(&targets);
    report::print(&mut results, micro)
}

/// Shows what went wrong inside, if something did.
fn logs(targets: &[Target]) {
    for target in targets {
        let log = target.process.as_ref().map(Process::log).unwrap_or_default();
        for line in log.lines().filter(|line| line.contains("WARN") || line.contains("ERROR")).take(20) {
            println!("{}: {line}", target.name);
        }
    }
}

async fn targets(cores: &str, workers: u32, upstream: &PlainUpstream, gitlab: &str) -> Vec<Target> {
    let direct = Target { name: "direct", address: upstream.address, process: None };
    let nginx = nginx(cores, workers, upstream);
    vec![direct, nginx, duopool(Path::new(OWN), (cores, workers), upstream, gitlab).await]
}

fn nginx(cores: &str, workers: u32, upstream: &PlainUpstream) -> Target {
    let process = Process::nginx(cores, workers, upstream.address);
    Target { name: "nginx", address: process.address, process: Some(process) }
}

async fn duopool(binary: &Path, (cores, workers): (&str, u32), upstream: &PlainUpstream, gitlab: &str) -> Target {
    let process = Process::duopool(&Duopool { binary, cores, workers, settings: &[] });
    process.add_account(gitlab, TOKEN, Some(&format!("http://{}", upstream.address))).await;
    Target { name: "duopool", address: process.address, process: Some(process) }
}

/// Measures memory on processes of its own, so that no earlier load has enlarged them.
async fn memory(results: &mut Results, upstream: &PlainUpstream, gitlab: &str) {
    let nginx = nginx(PROXY_CORE, 1, upstream);
    let duopool = duopool(Path::new(OWN), (PROXY_CORE, 1), upstream, gitlab).await;
    for target in [nginx, duopool] {
        let mut memory = Memory { idle: target.rss_mb(), ..Memory::default() };
        let mut open = OpenStreams::new();
        open.open(&target, 1_000).await;
        sleep(SETTLE).await;
        memory.with_1000 = target.rss_mb();
        open.open(&target, 4_000).await;
        sleep(SETTLE).await;
        memory.with_5000 = target.rss_mb();
        memory.errors = open.errors();
        results.memory.insert(target.name, memory);
    }
}

/// Puts every load on a target that has one core.
async fn one_core(results: &mut Results, target: &Target, extent: Extent) {
    let Extent { time, singles, .. } = extent;
    let hello = load::messages(false, "hello");
    results.add(Load::Json64, target, load::requests(target, &hello, 64, time).await);
    results.add(Load::Json1, target, load::requests(target, &hello, 1, time / 2).await);
    for (load, bytes) in [(Load::Body100Kb, 100 * 1_024), (Load::Body1Mb, 1_024 * 1_024)] {
        let body = load::messages(false, &"word ".repeat(bytes / 5));
        results.add(load, target, load::requests(target, &body, 4, time / 2).await);
    }
    let events = u64::try_from(time.as_micros() / PACE.as_micros()).unwrap_or(1);
    let order = load::stream_of(events, PACE);
    let paced = load::streams(target, &load::messages(true, &order), events, PACED_STREAMS, Duration::ZERO).await;
    results.add(Load::Paced, target, paced);
    if matches!(target.name, "duopool" | "before") {
        let paced = load::streams(target, &load::chat(&order), events, PACED_STREAMS, Duration::ZERO).await;
        results.add(Load::Translated, target, paced);
    }
    let what = load::messages(true, &load::stream_of(EVENTS, Duration::ZERO));
    results.add(Load::FullSpeed, target, load::streams(target, &what, EVENTS, 16, time / 2).await);
    results.add(Load::FirstEvent, target, load::first_events(target, singles).await);
}
