//! `duopool demo` and `duopool simulate`: what they print must work when it is pasted.

use std::net::SocketAddr;

use serde_json::{Value, json};

use crate::support::{Answer, Machine, Request};

/// A `curl` line, taken apart.
struct Curl {
    address: SocketAddr,
    path: String,
    body: Option<String>,
}

impl Curl {
    fn parse(line: &str) -> Self {
        let url = line.split_whitespace().find(|word| word.starts_with("http://")).expect("a URL");
        let (address, path) = url.trim_start_matches("http://").split_once('/').expect("a path");
        let body = line.split_once(" -d '").map(|(_, rest)| rest.trim_end().trim_end_matches('\'').to_owned());
        assert_eq!(body.is_some(), line.contains("content-type: application/json"), "{line}");
        Self { address: address.parse().expect("an address"), path: format!("/{path}"), body }
    }

    async fn send(&self) -> Answer {
        match &self.body {
            Some(body) => Request::new(self.address, "POST", &self.path).bytes(body.clone().into_bytes()).send().await,
            None => Request::new(self.address, "GET", &self.path).send().await,
        }
    }
}

/// Returns whether a stream says in its own dialect that it is done.
fn ended_well(path: &str, answer: &Answer) -> bool {
    let events = answer.events();
    let last = events.last().expect("an event");
    match path {
        "/v1/messages" => last.name.as_deref() == Some("message_stop"),
        "/v1/responses" => last.name.as_deref() == Some("response.completed"),
        _ => last.data == "[DONE]",
    }
}

#[actix::test]
async fn every_line_of_the_demo_works_and_nothing_stays_behind() {
    let mut machine = Machine::new();
    // The demo takes nothing from the machine that it runs on.
    machine.set("DUOPOOL_LISTEN", "nonsense");
    machine.set("GITLAB_BASE_URL", "http://nowhere.example.com");
    let mut demo = machine.start(&["demo", "--listen", "127.0.0.1:0"]);
    demo.line("Ctrl-C").await;
    let curls: Vec<Curl> =
        demo.so_far().lines().filter(|line| line.trim_start().starts_with("curl ")).map(Curl::parse).collect();
    let mut streams = 0;
    // Several rounds: one of the three accounts is out of credit, and none of its turns may show.
    for _ in 0..3 {
        for curl in &curls {
            let answer = curl.send().await;
            assert!(answer.status == 200 && answer.complete, "{}: {}", curl.path, answer.text());
            let wanted: Value =
                curl.body.as_deref().map_or(Value::Null, |body| serde_json::from_str(body).expect("JSON"));
            if wanted["stream"] == json!(true) {
                assert!(ended_well(&curl.path, &answer), "{}: {}", curl.path, answer.text());
                streams += 1;
            } else {
                assert!(answer.json().is_object(), "{}", answer.text());
            }
        }
    }
    assert_eq!((curls.len(), streams), (5, 9), "{}", demo.so_far());
    let temporary = || std::fs::read_dir(machine.path("tmp")).expect("a folder").count();
    assert_eq!(temporary(), 1);
    let ended = demo.stop("INT").await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(!ended.err.contains("ERROR"), "{ended:?}");
    assert_eq!(temporary(), 0, "the demo left its data behind");
    assert!(!machine.data().exists() && !ended.out.contains("glpat-"), "{}", ended.out);
}

#[actix::test]
async fn a_simulators_tokens_open_it() {
    let mut machine = Machine::new();
    let mut simulator = machine.start(&["simulate", "--listen", "127.0.0.1:0"]);
    let hint = simulator.line("duopool login --pat --base-url").await;
    let url = hint.rsplit(' ').next().expect("an address").to_owned();
    let gateway = simulator
        .so_far()
        .lines()
        .find_map(|line| line.strip_prefix("its AI gateway is "))
        .expect("a gateway")
        .to_owned();
    machine.set("GITLAB_AI_GATEWAY_URL", &gateway);
    let tokens: Vec<String> = simulator
        .so_far()
        .lines()
        .filter_map(|line| line.split_whitespace().find(|word| word.starts_with("glpat-")))
        .map(str::to_owned)
        .collect();
    assert_eq!(tokens.len(), 3, "{}", simulator.so_far());
    for token in &tokens {
        let account = machine
            .run_with(&["login", "--pat", "--base-url", &url, "--gateway-url", &gateway, "--json"], token)
            .await
            .json();
        assert_eq!(account["base_url"], json!(url));
    }
    let ended = simulator.stop("INT").await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
}

#[actix::test]
async fn neither_can_be_reached_from_other_machines() {
    let machine = Machine::new();
    for command in ["simulate", "demo"] {
        for address in ["0.0.0.0:0", "[::]:0", "192.0.2.1:0"] {
            let refused = machine.run(&[command, "--listen", address]).await;
            let about = if command == "demo" { "other machines" } else { "loopback" };
            assert!(refused.refusal().contains(about), "{refused:?}");
        }
    }
    assert_eq!(std::fs::read_dir(machine.path("tmp")).expect("a folder").count(), 0);
}
