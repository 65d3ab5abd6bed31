//! How long it takes from a client's hang-up to the close of its upstream connection.
//!
//! `cargo bench --bench hangup` prints the distribution over 200 hang-ups, half of them before the head of the answer and
//! half in the middle of a stream whose upstream is silent. Goal: at most 100 ms.

#![expect(clippy::expect_used, reason = "a benchmark that cannot run has nothing to say")]

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use duopool::app::{self, Mode};
use duopool::config::{Config, Layer};
use duopool::domain::secret::Secret;
use duopool::domain::time::SystemClock;
use duopool::simulator::{self, Call, Effect, Rule, SimulatedAccount};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::Instant;

const ROUNDS: u64 = 200;
const ADMIN_KEY: &str = "bench-admin-key-0123456789";
const TOKEN: &str = "glpat-bench-0123456789";

fn main() {
    actix_web::rt::System::new().block_on(run());
}

async fn run() {
    let accounts = vec![SimulatedAccount::new("ada", 1, TOKEN)];
    let gitlab = simulator::start(simulator::Settings { accounts, ..simulator::Settings::default() }).await;
    let gitlab = gitlab.expect("the simulator starts");
    let folder = tempfile::tempdir().expect("a folder");
    let layer = Layer {
        listen: Some("127.0.0.1:0".to_owned()),
        data_dir: Some(folder.path().to_owned()),
        admin_key: Some(Secret::new(ADMIN_KEY.to_owned())),
        gitlab_base_url: Some(gitlab.url()),
        gitlab_ai_gateway_url: Some(gitlab.gateway_url()),
        ..Layer::default()
    };
    let config = Config::check(&layer).expect("good settings");
    let running = app::start(config, Mode::Private, Arc::new(SystemClock)).await.expect("duopool starts");
    let account = format!(r#"{{"base_url":"{}","personal_access_token":"{TOKEN}"}}"#, gitlab.url());
    let mut added = send(running.address(), "/admin/v1/accounts", &account).await;
    read_until(&mut added, "acct_").await;

    let ask =
        r#"{"model":"claude-sonnet-4-6","max_tokens":100,"stream":true,"messages":[{"role":"user","content":"hi"}]}"#;
    let mut times = Vec::new();
    for round in 0..ROUNDS {
        let before_head = round % 2 == 0;
        gitlab.handle.clear_rules();
        let effect = if before_head { Effect::Hang } else { Effect::Stall { after: 4 } };
        gitlab.handle.add_rule(Rule::always(effect).on(Call::Messages));
        let mut client = send(running.address(), "/v1/messages", ask).await;
        if !before_head {
            read_until(&mut client, "content_block_start").await;
        }
        gitlab.handle.counted(|gauges| gauges.open_requests == 1).await;
        let left = Instant::now();
        drop(client);
        gitlab.handle.closed_early(round + 1).await;
        times.push(left.elapsed());
    }
    report(&mut times);
    running.stop().await;
}

fn report(times: &mut [Duration]) {
    times.sort();
    let at = |share: usize| times[(times.len() - 1) * share / 100];
    println!(
        "hang-up to upstream close, {} rounds: p50 {:?}, p99 {:?}, max {:?}",
        times.len(),
        at(50),
        at(99),
        at(100)
    );
}

async fn send(address: SocketAddr, path: &str, body: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.expect("duopool listens");
    let request = format!(
        "POST {path} HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {ADMIN_KEY}\r\ncontent-type: application/json\r\n\
         content-length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).await.expect("a request is sent");
    stream
}

async fn read_until(stream: &mut TcpStream, text: &str) {
    let mut read = Vec::new();
    while !String::from_utf8_lossy(&read).contains(text) {
        let count = stream.read_buf(&mut read).await.expect("an answer comes");
        assert!(count > 0, "the answer ended without `{text}`: {}", String::from_utf8_lossy(&read));
    }
}
