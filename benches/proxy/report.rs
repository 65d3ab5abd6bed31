//! The printed table, and the goals.

use std::fs;
use std::path::Path;

use crate::compare::{Figures, Load, Results};
use crate::load::Sample;

/// Requests per second on one core, of the same kind of machine, that other proxies were measured at in 2026.
const GO_REVERSE_PROXY: f64 = 12_100.0;
const LITELLM: f64 = 101.0;

const TARGETS: [&str; 4] = ["direct", "nginx", "duopool", "before"];

/// What is wanted of one number.
struct Goal {
    name: &'static str,
    unit: &'static str,
    value: f64,
    must: f64,
    /// `None` where there is only one limit.
    stretch: Option<f64>,
    /// Whether more is better.
    at_least: bool,
}

impl Goal {
    fn at_most(name: &'static str, unit: &'static str, value: f64, must: f64, stretch: impl Into<Option<f64>>) -> Self {
        Self { name, unit, value, must, stretch: stretch.into(), at_least: false }
    }

    fn at_least(name: &'static str, unit: &'static str, value: f64, must: f64, stretch: f64) -> Self {
        Self { name, unit, value, must, stretch: Some(stretch), at_least: true }
    }

    /// A value that could not be measured meets nothing.
    fn meets(&self, limit: f64) -> bool {
        if self.at_least { self.value >= limit } else { self.value <= limit }
    }

    /// Prints the row; returns whether what must be met is.
    fn print(&self) -> bool {
        let sign = if self.at_least { ">=" } else { "<=" };
        let yes = |limit| if self.meets(limit) { "yes" } else { "NO" };
        let stretch =
            self.stretch.map_or(("-".to_owned(), "-"), |limit| (format!("{sign} {limit} {}", self.unit), yes(limit)));
        println!(
            "| {} | {:.2} {} | {sign} {} {} | {} | {} | {} |",
            self.name,
            self.value,
            self.unit,
            self.must,
            self.unit,
            yes(self.must),
            stretch.0,
            stretch.1
        );
        self.meets(self.must)
    }
}

/// Prints everything, as medians of the rounds; returns whether every goal that must be met is. `micro` is the folder of criterion's results.
pub(crate) fn print(results: &mut Results, micro: Option<&Path>) -> bool {
    let with_before = results.samples.keys().any(|(_, target)| *target == "before");
    let targets = if with_before { &TARGETS[..] } else { &TARGETS[..3] };
    println!("\n| measured | {} |\n|---|{}", targets.join(" | "), "---|".repeat(targets.len()));
    let mut row = |name: &str, shows, load| self::row(results, targets, name, shows, load);
    row("JSON 2 KB, 64 connections: requests/s", RATE, Load::Json64);
    row("· CPU of the proxy, us/request", CPU, Load::Json64);
    row("· p50 / p99, us", QUANTILES, Load::Json64);
    row("JSON 2 KB, 1 connection: p50 / p99, us", QUANTILES, Load::Json1);
    row("100 KB request body: CPU, us/request", CPU, Load::Body100Kb);
    row("· p50 / p99, us", QUANTILES, Load::Body100Kb);
    row("1 MB request body: CPU, us/request", CPU, Load::Body1Mb);
    row("· p50 / p99, us", QUANTILES, Load::Body1Mb);
    row("100 streams, an event every 5 ms: CPU, us/event", CPU, Load::Paced);
    row("· delay of an event p50 / p99, us", QUANTILES, Load::Paced);
    row("the same, translated: CPU, us/event", CPU, Load::Translated);
    row("· delay of an event p50 / p99, us", QUANTILES, Load::Translated);
    row("first event p50 / p99, us", QUANTILES, Load::FirstEvent);
    row("16 streams at full speed: events/s", RATE, Load::FullSpeed);
    row("· CPU, us/event", CPU, Load::FullSpeed);
    row("· events/s with 2 workers on both cores", RATE, Load::FullSpeed2Cores);
    row("client's hang-up to upstream's close p50 / max, us", P50_MAX, Load::HangUp);
    let memory = |name: &str| results.memory.get(name).copied().unwrap_or_default();
    let (nginx, own) = (memory("nginx"), memory("duopool"));
    println!("| RSS idle, MB | - | {:.1} | {:.1} |", nginx.idle, own.idle);
    println!("| · with 1,000 open streams | - | {:.1} | {:.1} |", nginx.with_1000, own.with_1000);
    println!("| · with 5,000 open streams | - | {:.1} | {:.1} |", nginx.with_5000, own.with_5000);
    println!("| · errors in them | - | {} | {} |", nginx.errors, own.errors);
    let errors = TARGETS.map(|name| errors(results, name));
    println!("| errors in all else | {} | {} | {} |", errors[0], errors[1], errors[2]);
    println!("\n| goal | value | must | met | stretch | met |\n|---|---|---|---|---|---|");
    let mut goals = ratios(results);
    goals.extend(absolutes(results, micro));
    goals.push(Goal::at_most("errors in all loads on duopool", "", crate::load::count(errors[2]), 0.0, None));
    goals.iter().map(Goal::print).fold(true, |all, met| all & met)
}

type Show = fn(&mut Sample) -> f64;

/// Prints a row of medians of all rounds.
fn row(results: &mut Results, targets: &[&'static str], name: &str, shows: &[Show], load: Load) {
    let mut cell = |target: &&'static str| {
        if !results.samples.contains_key(&(load, *target)) {
            return "-".to_owned();
        }
        let figures = shows.iter().map(|show| results.median(load, target, show));
        let digits = |figure: f64| if figure < 100.0 { format!("{figure:.1}") } else { format!("{figure:.0}") };
        figures.map(digits).collect::<Vec<_>>().join(" / ")
    };
    let cells: Vec<String> = targets.iter().map(&mut cell).collect();
    println!("| {name} | {} |", cells.join(" | "));
}

const RATE: &[Show] = &[|sample| sample.rate()];
const CPU: &[Show] = &[|sample| sample.cpu_each()];
const QUANTILES: &[Show] = &[p50, p99];
const P50_MAX: &[Show] = &[p50, longest];

fn p50(sample: &mut Sample) -> f64 {
    sample.quantile(500)
}

fn p99(sample: &mut Sample) -> f64 {
    sample.quantile(990)
}

fn longest(sample: &mut Sample) -> f64 {
    sample.quantile(1_000)
}

fn errors(results: &Results, name: &str) -> u64 {
    let own = results.samples.iter().filter(|((_, target), _)| *target == name);
    own.flat_map(|(_, samples)| samples).map(|sample| sample.errors).sum()
}

/// The goals that compare.
fn ratios(results: &mut Results) -> Vec<Goal> {
    let ratio = |one, other| one / other;
    let difference = |one, other| one - other;
    let mut to_nginx = |load, show: Show, compare| {
        results.compared([(load, "duopool"), (load, "nginx")], Figures { show: &show, compare })
    };
    let cpu = to_nginx(Load::Json64, |s| s.cpu_each(), ratio);
    let p50_over = to_nginx(Load::Json1, p50, difference);
    let event_cpu = to_nginx(Load::Paced, |s| s.cpu_each(), ratio);
    let first = to_nginx(Load::FirstEvent, p50, ratio);
    let full = to_nginx(Load::FullSpeed2Cores, |s| s.rate(), ratio);
    let both = [(Load::Translated, "duopool"), (Load::Paced, "duopool")];
    let translated = results.compared(both, Figures { show: &|s| s.cpu_each(), compare: difference });
    let rate = results.median(Load::Json64, "duopool", &|s| s.rate());
    let (go, litellm) = (rate / GO_REVERSE_PROXY, rate / LITELLM);
    vec![
        Goal::at_most("CPU per JSON request, to nginx", "x", cpu, 3.0, 2.0),
        Goal::at_least("requests/s on one core, to Go's ReverseProxy (12.1 k, not of this run)", "x", go, 1.2, 2.0),
        Goal::at_least("requests/s on one core, to LiteLLM (101, not of this run)", "x", litellm, 100.0, 200.0),
        Goal::at_most("p50 of 1 connection, over nginx", "us", p50_over, 100.0, 40.0),
        Goal::at_most("CPU per event, to nginx", "x", event_cpu, 1.2, 1.0),
        Goal::at_most("CPU per translated event, over own", "us", translated, 3.0, 1.2),
        Goal::at_most("first event, to nginx", "x", first, 1.5, 1.1),
        Goal::at_least("events/s at full speed, 2 cores, to nginx", "x", full, 0.85, 1.0),
    ]
}

/// The goals that do not.
fn absolutes(results: &mut Results, micro: Option<&Path>) -> Vec<Goal> {
    let memory = results.memory.get("duopool").copied().unwrap_or_default();
    let per_stream_kb = (memory.with_5000 - memory.idle) * 1_024.0 / 5_000.0;
    let hang_up_ms = results.rounds(Load::HangUp, "duopool", &longest).into_iter().fold(f64::NAN, f64::max) / 1e3;
    let delay_ms = results.median(Load::Paced, "duopool", &p99) / 1e3;
    let body_cpu = results.median(Load::Body100Kb, "duopool", &|s| s.cpu_each());
    let open_errors = crate::load::count(u64::try_from(memory.errors).unwrap_or(u64::MAX));
    let nanos = |name: &str| criterion_nanos(micro, name).unwrap_or(f64::NAN);
    vec![
        Goal::at_most(
            "event read and written anew",
            "ns",
            nanos("event/messages from responses, text"),
            1_000.0,
            450.0,
        ),
        Goal::at_most("RSS idle", "MB", memory.idle, 40.0, 20.0),
        Goal::at_most("RSS per open stream", "KB", per_stream_kb, 80.0, 45.0),
        Goal::at_most("RSS with 5,000 open streams", "MB", memory.with_5000, 450.0, 250.0),
        Goal::at_most("errors in 5,000 open streams", "", open_errors, 0.0, None),
        Goal::at_most("hang-up to upstream's close, longest", "ms", hang_up_ms, 100.0, 30.0),
        Goal::at_most("CPU per request of 100 KB", "us", body_cpu, 250.0, 120.0),
        Goal::at_most("delay of an event, p99", "ms", delay_ms, 5.0, 1.0),
        Goal::at_most("choice among 10 accounts", "us", nanos("choice/balanced/10") / 1e3, 2.0, None),
        Goal::at_most("choice among 1,000 accounts", "us", nanos("choice/balanced/1000") / 1e3, 50.0, None),
    ]
}

/// Returns criterion's estimate of the median in nanoseconds.
fn criterion_nanos(folder: Option<&Path>, name: &str) -> Option<f64> {
    let text = fs::read_to_string(folder?.join(name).join("new/estimates.json")).ok()?;
    let estimates: serde_json::Value = serde_json::from_str(&text).ok()?;
    estimates["median"]["point_estimate"].as_f64()
}
