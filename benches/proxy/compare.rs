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

/// What is put on targets that have one core, in this order; every load on all targets before the next.
const ONE_CORE: [Load; 9] = [
    Load::Json64,
    Load::Json1,
    Load::Body100Kb,
    Load::Body1Mb,
    Load::Paced,
    Load::Translated,
    Load::FullSpeed,
    Load::FirstEvent,
    Load::HangUp,
];

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
    /// One sample for each round, in order.
    pub(crate) samples: BTreeMap<(Load, &'static str), Vec<Sample>>,
    pub(crate) memory: BTreeMap<&'static str, Memory>,
}

impl Results {
    fn add(&mut self, load: Load, target: &Target, sample: Sample) {
        self.samples.entry((load, target.name)).or_default().push(sample);
    }

    /// Returns what `show` says of each round of a load.
    pub(crate) fn rounds(&mut self, load: Load, target: &'static str, show: &dyn Fn(&mut Sample) -> f64) -> Vec<f64> {
        self.samples.get_mut(&(load, target)).map(|samples| samples.iter_mut().map(show).collect()).unwrap_or_default()
    }

    /// Returns the median of all rounds.
    pub(crate) fn median(&mut self, load: Load, target: &'static str, show: &dyn Fn(&mut Sample) -> f64) -> f64 {
        median(self.rounds(load, target, show))
    }

    /// Returns the median of what `compare` makes of two figures of the same round. What else goes on on the machine
    /// differs from round to round, and mostly by more than what is to be compared.
    pub(crate) fn compared(&mut self, [one, other]: [(Load, &'static str); 2], figures: Figures<'_>) -> f64 {
        let one = self.rounds(one.0, one.1, figures.show);
        let other = self.rounds(other.0, other.1, figures.show);
        median(one.iter().zip(&other).map(|(one, other)| (figures.compare)(*one, *other)).collect())
    }
}

/// What is compared of two loads, and how.
#[derive(Clone, Copy)]
pub(crate) struct Figures<'a> {
    pub(crate) show: &'a dyn Fn(&mut Sample) -> f64,
    pub(crate) compare: fn(f64, f64) -> f64,
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
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
        for load in ONE_CORE {
            for target in &targets {
                // Only duopool translates.
                if load != Load::Translated || matches!(target.name, "duopool" | "before") {
                    results.add(load, target, measured(load, target, &mut upstream, extent).await);
                }
            }
        }
    }
    logs(&targets);
    drop(targets);
    pin(BOTH_CORES);
    let targets = self::targets(BOTH_CORES, 2, &upstream, &gitlab.url()).await;
    for _ in 0..extent.rounds {
        for target in &targets {
            let sample = measured(Load::FullSpeed2Cores, target, &mut upstream, extent).await;
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

/// Puts a load on a target.
async fn measured(load: Load, target: &Target, upstream: &mut PlainUpstream, extent: Extent) -> Sample {
    let Extent { time, singles, .. } = extent;
    let body = |bytes: usize| load::messages(false, &"word ".repeat(bytes / 5));
    let events = u64::try_from(time.as_micros() / PACE.as_micros()).unwrap_or(1);
    let order = load::stream_of(events, PACE);
    match load {
        Load::Json64 => load::requests(target, &load::messages(false, "hello"), 64, time).await,
        Load::Json1 => load::requests(target, &load::messages(false, "hello"), 1, time / 2).await,
        Load::Body100Kb => load::requests(target, &body(100 * 1_024), 4, time / 2).await,
        Load::Body1Mb => load::requests(target, &body(1_024 * 1_024), 4, time / 2).await,
        Load::Paced => {
            load::streams(target, &load::messages(true, &order), events, PACED_STREAMS, Duration::ZERO).await
        }
        Load::Translated => load::streams(target, &load::chat(&order), events, PACED_STREAMS, Duration::ZERO).await,
        Load::FullSpeed | Load::FullSpeed2Cores => {
            let what = load::messages(true, &load::stream_of(EVENTS, Duration::ZERO));
            load::streams(target, &what, EVENTS, 16, time / 2).await
        }
        Load::FirstEvent => load::first_events(target, singles).await,
        Load::HangUp => load::hang_ups(target, upstream, singles / 10).await,
    }
}
