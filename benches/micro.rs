//! Times of pure functions on the hot path: the choice among accounts, and the translation of one event.
//!
//! `cargo bench --bench micro`. Goals: a choice takes at most 2 us among 10 accounts and 50 us among 1,000; an event is
//! read and written anew in at most 1 us.

#![expect(clippy::expect_used, reason = "a benchmark that cannot run has nothing to say")]

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use duopool::bench::Crowd;
use duopool::domain::time::Timestamp;
use duopool::protocol::translate::{Pipe, Translation, WayBack};

const OPENING: &str = concat!(
    "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"msg_01\",\"type\":\"message\",",
    "\"role\":\"assistant\",\"model\":\"claude-sonnet-4-6\",\"content\":[],\"stop_reason\":null,\"stop_sequence\":null,",
    "\"usage\":{\"input_tokens\":10,\"output_tokens\":1}}}\n\n",
    "event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":0,",
    "\"content_block\":{\"type\":\"text\",\"text\":\"\"}}\n\n",
);
const EVENT: &str = concat!(
    "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",",
    "\"text\":\"about as many words as one event of a model has, with a \\\"quote\\\" in them.\"}}\n\n",
);

fn choice(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("choice");
    for accounts in [10_u64, 1_000] {
        let mut crowd = Crowd::of(accounts).expect("the catalogue loads");
        group.bench_function(BenchmarkId::from_parameter(accounts), |bencher| {
            bencher.iter(|| assert!(black_box(&mut crowd).choose(), "somebody can serve"));
        });
    }
    group.finish();
}

fn event(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("event");
    let stream = Translation::ChatToMessages.stream(Timestamp::from_secs(1_800_000_000), WayBack::default());
    let mut pipe = Pipe::Translate(Box::new(stream));
    let mut out = Vec::new();
    pipe.feed(OPENING.as_bytes(), &mut out).expect("a stream begins");
    group.bench_function("translated", |bencher| {
        bencher.iter(|| {
            out.clear();
            pipe.feed(black_box(EVENT.as_bytes()), &mut out).expect("an event");
            assert!(!black_box(&out).is_empty(), "something is said");
        });
    });
    group.finish();
}

criterion_group!(benches, choice, event);
criterion_main!(benches);
