//! The loads: each runs against one target and returns a sample.

use std::cell::RefCell;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use futures::future::join_all;
use tokio::time::{Instant, sleep, timeout};

use crate::client::{Chunks, Client, request};
use crate::process::{CLIENT_KEY, Process};
use crate::upstream::{PlainUpstream, clock};

const WARM_UP: Duration = Duration::from_millis(300);
/// Longest wait for one answer: a stream that stalls is an error, not the end of the benchmark.
const ANSWER_MAX: Duration = Duration::from_mins(2);
/// Streams that are being opened at the same time.
const OPENERS: usize = 64;

/// What a load is put on.
pub(crate) struct Target {
    pub(crate) name: &'static str,
    pub(crate) address: SocketAddr,
    /// `None` for the upstream itself.
    pub(crate) process: Option<Process>,
}

impl Target {
    fn cpu(&self) -> u64 {
        self.process.as_ref().map_or(0, Process::cpu)
    }

    pub(crate) fn rss_mb(&self) -> f64 {
        self.process.as_ref().map_or(0.0, |process| count(process.rss_kb()) / 1_024.0)
    }
}

/// What a load showed.
#[derive(Clone, Default)]
pub(crate) struct Sample {
    /// Requests or events.
    pub(crate) count: u64,
    /// Times in nanoseconds, sorted by [`Sample::quantile`].
    times: Vec<u64>,
    seconds: f64,
    cpu: u64,
    pub(crate) errors: u64,
}

impl Sample {
    pub(crate) fn rate(&self) -> f64 {
        count(self.count) / self.seconds
    }

    /// Returns microseconds of CPU time for one request or event.
    pub(crate) fn cpu_each(&self) -> f64 {
        count(self.cpu) / count(self.count.max(1)) / 1e3
    }

    /// Returns the time in microseconds that so many of a thousand stay below.
    pub(crate) fn quantile(&mut self, per_mille: usize) -> f64 {
        self.times.sort_unstable();
        let last = self.times.len().saturating_sub(1);
        self.times.get(last * per_mille / 1_000).map_or(f64::NAN, |nanos| count(*nanos) / 1e3)
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts and nanoseconds of a benchmark stay far below 2^53")]
pub(crate) fn count(number: u64) -> f64 {
    number as f64
}

/// Builds a Messages request whose text is `text`.
pub(crate) fn messages(stream: bool, text: &str) -> Rc<Vec<u8>> {
    let body = format!(
        "{{\"model\":\"claude-sonnet-4-6\",\"max_tokens\":1000,\"stream\":{stream},\"messages\":[{{\"role\":\"user\",\
         \"content\":\"{text}\"}}]}}"
    );
    Rc::new(request("/v1/messages", CLIENT_KEY, &body))
}

/// Builds a Chat Completions request for a stream, which duopool translates.
pub(crate) fn chat(text: &str) -> Rc<Vec<u8>> {
    let body = format!(
        "{{\"model\":\"claude-sonnet-4-6\",\"stream\":true,\"messages\":[{{\"role\":\"user\",\"content\":\"{text}\"}}]}}"
    );
    Rc::new(request("/v1/chat/completions", CLIENT_KEY, &body))
}

/// Builds the text that orders a stream.
pub(crate) fn stream_of(events: u64, every: Duration) -> String {
    format!("#bench events={events} every_us={};", every.as_micros())
}

/// Runs `work` on so many connections, and measures the whole.
async fn measured<F: Future<Output = io::Result<()>> + 'static>(
    target: &Target,
    connections: usize,
    work: impl Fn(Client, Rc<RefCell<Sample>>) -> F,
) -> Sample {
    let sample = Rc::new(RefCell::new(Sample::default()));
    let mut clients = Vec::new();
    for _ in 0..connections {
        match Client::connect(target.address).await {
            Ok(client) => clients.push(client),
            Err(_) => sample.borrow_mut().errors += 1,
        }
    }
    let (cpu, started) = (target.cpu(), Instant::now());
    let runs = clients.into_iter().map(|client| actix_web::rt::spawn(work(client, Rc::clone(&sample))));
    for result in join_all(runs).await {
        if !matches!(result, Ok(Ok(()))) {
            sample.borrow_mut().errors += 1;
        }
    }
    let seconds = started.elapsed().as_secs_f64();
    let cpu = target.cpu() - cpu;
    let mut sample = sample.take();
    (sample.cpu, sample.seconds) = (cpu, seconds);
    sample
}

/// Asks again and again on so many connections, for so long; warms up before.
pub(crate) async fn requests(target: &Target, what: &Rc<Vec<u8>>, connections: usize, time: Duration) -> Sample {
    let mut last = Sample::default();
    for time in [WARM_UP, time] {
        let until = Instant::now() + time;
        last = measured(target, connections, |mut client, sample| {
            let what = Rc::clone(what);
            async move {
                while Instant::now() < until {
                    let asked = Instant::now();
                    let (status, _) = timeout(ANSWER_MAX, client.whole(&what)).await??;
                    note(&sample, status, asked);
                }
                Ok(())
            }
        })
        .await;
    }
    last
}

fn note(sample: &RefCell<Sample>, status: u16, asked: Instant) {
    let mut sample = sample.borrow_mut();
    sample.count += 1;
    sample.errors += u64::from(status != 200);
    sample.times.push(nanos(asked.elapsed()));
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// Reads streams of `events` events on so many connections until the time is over, but one on each at least; the times
/// are the delays from the upstream's writing to the client's reading.
pub(crate) async fn streams(target: &Target, what: &Rc<Vec<u8>>, events: u64, on: usize, time: Duration) -> Sample {
    let until = Instant::now() + time;
    measured(target, on, |mut client, sample| {
        let what = Rc::clone(what);
        async move {
            loop {
                let mut seen = 0;
                let head = client.ask(&what).await?;
                let mut chunks = Chunks::default();
                let mut note = |stamp: u64| {
                    seen += 1;
                    sample.borrow_mut().times.push(clock().saturating_sub(stamp));
                };
                while timeout(ANSWER_MAX, client.events(&mut chunks, &mut note)).await?? {}
                let mut sample = sample.borrow_mut();
                sample.count += seen;
                sample.errors += u64::from(head.status != 200 || seen != events);
                if Instant::now() >= until {
                    return Ok(());
                }
            }
        }
    })
    .await
}

/// Asks for short streams one after the other; the times are those from the request to the first event.
pub(crate) async fn first_events(target: &Target, rounds: u64) -> Sample {
    let what = messages(true, &stream_of(1, Duration::ZERO));
    measured(target, 1, |mut client, sample| {
        let what = Rc::clone(&what);
        async move {
            for _ in 0..rounds {
                let asked = Instant::now();
                let status = client.ask(&what).await?.status;
                let (mut chunks, mut first) = (Chunks::default(), None);
                while client.events(&mut chunks, &mut |_| first = first.or(Some(asked.elapsed()))).await? {}
                let mut sample = sample.borrow_mut();
                sample.count += 1;
                sample.errors += u64::from(status != 200 || first.is_none());
                sample.times.extend(first.map(nanos));
            }
            Ok(())
        }
    })
    .await
}

/// Streams that are held open.
pub(crate) struct OpenStreams {
    tasks: Vec<actix_web::rt::task::JoinHandle<()>>,
    refused: usize,
}

impl OpenStreams {
    /// Opens so many more, and reads from each an event a second.
    pub(crate) async fn open(&mut self, target: &Target, number: usize) {
        let what = messages(true, &stream_of(1_000_000, Duration::from_secs(1)));
        let address = target.address;
        let mut left = number;
        while left > 0 {
            let batch = left.min(OPENERS);
            left -= batch;
            let opening = (0..batch).map(|_| async {
                let mut client = Client::connect(address).await?;
                match client.ask(&what).await?.status {
                    200 => Ok(client),
                    _ => Err(io::Error::from(io::ErrorKind::InvalidData)),
                }
            });
            for opened in join_all(opening).await {
                let Ok(mut client) = opened else {
                    self.refused += 1;
                    continue;
                };
                self.tasks.push(actix_web::rt::spawn(async move {
                    let mut chunks = Chunks::default();
                    while matches!(client.events(&mut chunks, &mut |_| {}).await, Ok(true)) {}
                }));
            }
        }
    }

    /// Returns how many were not opened or have ended.
    pub(crate) fn errors(&self) -> usize {
        self.refused + self.tasks.iter().filter(|task| task.is_finished()).count()
    }

    pub(crate) fn new() -> Self {
        Self { tasks: Vec::new(), refused: 0 }
    }
}

impl Drop for OpenStreams {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

/// Hangs up again and again, one half before the head of an answer and one half in a stream that is silent; the times
/// are those until the upstream's connection closed.
pub(crate) async fn hang_ups(target: &Target, upstream: &mut PlainUpstream, rounds: u64) -> Sample {
    let mut sample = Sample::default();
    for round in 0..rounds {
        let before_head = round % 2 == 0;
        // What a round that failed left behind.
        while upstream.silences.try_recv().is_ok() || upstream.closes.try_recv().is_ok() {}
        let what = messages(true, if before_head { "#bench hang;" } else { "#bench stall;" });
        match timeout(Duration::from_secs(5), hang_up(target, upstream, &what, before_head)).await {
            Ok(Ok(time)) => sample.times.push(time),
            _ => sample.errors += 1,
        }
        sample.count += 1;
    }
    sample
}

async fn hang_up(target: &Target, upstream: &mut PlainUpstream, what: &[u8], before_head: bool) -> io::Result<u64> {
    let closed = || io::Error::from(io::ErrorKind::BrokenPipe);
    let mut client = Client::connect(target.address).await?;
    if before_head {
        // The answer never comes: this ends when the upstream has the request.
        let asking = std::pin::pin!(client.ask(what));
        let silent = std::pin::pin!(upstream.silences.recv());
        futures::future::select(asking, silent).await;
    } else {
        client.ask(what).await?;
        upstream.silences.recv().await.ok_or_else(closed)?;
    }
    sleep(Duration::from_millis(2)).await;
    let left = clock();
    drop(client);
    upstream.closes.recv().await.map(|at| at.saturating_sub(left)).ok_or_else(closed)
}
