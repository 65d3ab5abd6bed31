//! Times of pure functions on the hot path: the choice among accounts, and the translation of one event.
//!
//! `cargo bench --bench micro`. Goals: a choice takes at most 2 us among 10 accounts and 50 us among 1,000; an event of
//! text is read and written anew in at most 0.45 us, any in at most 1.2 us; a request of 1 MB is translated in at most
//! 10 ms.

#![expect(clippy::expect_used, reason = "a benchmark that cannot run has nothing to say")]

mod samples;

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use duopool::bench::Crowd;
use duopool::domain::conversation::Conversation;
use duopool::domain::strategy::Strategy;
use duopool::domain::time::Timestamp;
use duopool::protocol::canonical::Target;
use duopool::protocol::translate::{Pipe, Translation, WayBack};

const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);

/// A stream that has begun, and an event that it goes on with.
struct Sample {
    name: &'static str,
    translation: Translation,
    opening: &'static str,
    event: &'static str,
}

const MESSAGES_TEXT: &str = concat!(
    "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"msg_01\",\"type\":\"message\",",
    "\"role\":\"assistant\",\"model\":\"claude-sonnet-4-6\",\"content\":[],\"stop_reason\":null,\"stop_sequence\":null,",
    "\"usage\":{\"input_tokens\":10,\"output_tokens\":1}}}\n\n",
    "event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":0,",
    "\"content_block\":{\"type\":\"text\",\"text\":\"\"}}\n\n",
);
const MESSAGES_TEXT_EVENT: &str = concat!(
    "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",",
    "\"text\":\"about as many words as one event of a model has, with a \\\"quote\\\" in them.\"}}\n\n",
);
const MESSAGES_CALL: &str = concat!(
    "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"msg_01\",\"type\":\"message\",",
    "\"role\":\"assistant\",\"model\":\"claude-sonnet-4-6\",\"content\":[],\"usage\":{\"input_tokens\":10}}}\n\n",
    "event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":0,\"content_block\":",
    "{\"type\":\"tool_use\",\"id\":\"toolu_01\",\"name\":\"Bash\",\"input\":{}}}\n\n",
);
const MESSAGES_CALL_EVENT: &str = concat!(
    "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":",
    "{\"type\":\"input_json_delta\",\"partial_json\":\"{\\\"command\\\":\\\"ls -l /tmp/\"}}\n\n",
);
const RESPONSES_TEXT: &str = concat!(
    "event: response.created\ndata: {\"type\":\"response.created\",\"sequence_number\":0,\"response\":{\"id\":\"resp_1\",",
    "\"object\":\"response\",\"status\":\"in_progress\",\"model\":\"gpt-5.5\",\"output\":[]}}\n\n",
    "event: response.output_item.added\ndata: {\"type\":\"response.output_item.added\",\"sequence_number\":1,",
    "\"output_index\":0,\"item\":{\"id\":\"msg_1\",\"type\":\"message\",\"status\":\"in_progress\",\"content\":[],",
    "\"role\":\"assistant\"}}\n\n",
    "event: response.content_part.added\ndata: {\"type\":\"response.content_part.added\",\"sequence_number\":2,",
    "\"item_id\":\"msg_1\",\"output_index\":0,\"content_index\":0,\"part\":{\"type\":\"output_text\",\"annotations\":[],",
    "\"logprobs\":[],\"text\":\"\"}}\n\n",
);
const RESPONSES_TEXT_EVENT: &str = concat!(
    "event: response.output_text.delta\ndata: {\"type\":\"response.output_text.delta\",\"sequence_number\":3,",
    "\"item_id\":\"msg_1\",\"output_index\":0,\"content_index\":0,\"delta\":\"about as many words as one event of a ",
    "model has, with a \\\"quote\\\" in them.\",\"logprobs\":[],\"obfuscation\":\"a1b2c3d4\"}\n\n",
);
const RESPONSES_CALL: &str = concat!(
    "event: response.created\ndata: {\"type\":\"response.created\",\"sequence_number\":0,\"response\":{\"id\":\"resp_1\",",
    "\"object\":\"response\",\"status\":\"in_progress\",\"model\":\"gpt-5.5\",\"output\":[]}}\n\n",
    "event: response.output_item.added\ndata: {\"type\":\"response.output_item.added\",\"sequence_number\":1,",
    "\"output_index\":0,\"item\":{\"id\":\"fc_1\",\"type\":\"function_call\",\"status\":\"in_progress\",",
    "\"arguments\":\"\",\"call_id\":\"call_1\",\"name\":\"Bash\"}}\n\n",
);
const RESPONSES_CALL_EVENT: &str = concat!(
    "event: response.function_call_arguments.delta\ndata: {\"type\":\"response.function_call_arguments.delta\",",
    "\"sequence_number\":2,\"item_id\":\"fc_1\",\"output_index\":0,",
    "\"delta\":\"{\\\"command\\\":\\\"ls -l /tmp/\"}\n\n",
);

const SAMPLES: [Sample; 8] = [
    Sample {
        name: "chat from messages, text",
        translation: Translation::ChatToMessages,
        opening: MESSAGES_TEXT,
        event: MESSAGES_TEXT_EVENT,
    },
    Sample {
        name: "chat from messages, arguments",
        translation: Translation::ChatToMessages,
        opening: MESSAGES_CALL,
        event: MESSAGES_CALL_EVENT,
    },
    Sample {
        name: "chat from responses, text",
        translation: Translation::ChatToResponses,
        opening: RESPONSES_TEXT,
        event: RESPONSES_TEXT_EVENT,
    },
    Sample {
        name: "chat from responses, arguments",
        translation: Translation::ChatToResponses,
        opening: RESPONSES_CALL,
        event: RESPONSES_CALL_EVENT,
    },
    Sample {
        name: "responses from messages, text",
        translation: Translation::ResponsesToMessages,
        opening: MESSAGES_TEXT,
        event: MESSAGES_TEXT_EVENT,
    },
    Sample {
        name: "responses from messages, arguments",
        translation: Translation::ResponsesToMessages,
        opening: MESSAGES_CALL,
        event: MESSAGES_CALL_EVENT,
    },
    Sample {
        name: "messages from responses, text",
        translation: Translation::MessagesToResponses,
        opening: RESPONSES_TEXT,
        event: RESPONSES_TEXT_EVENT,
    },
    Sample {
        name: "messages from responses, arguments",
        translation: Translation::MessagesToResponses,
        opening: RESPONSES_CALL,
        event: RESPONSES_CALL_EVENT,
    },
];

fn choice(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("choice");
    let conversation = Some(Conversation::named(b"5f0c-11"));
    let ways = Strategy::ALL.map(|strategy| (strategy.as_str(), strategy, None));
    for (name, strategy, conversation) in ways.into_iter().chain([("affinity", Strategy::Balanced, conversation)]) {
        for accounts in [10_u64, 1_000] {
            let mut crowd = Crowd::of(accounts, strategy, conversation).expect("the catalogue loads");
            group.bench_function(BenchmarkId::new(name, accounts), |bencher| {
                bencher.iter(|| assert!(black_box(&mut crowd).choose(), "somebody can serve"));
            });
        }
    }
    group.finish();
}

fn event(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("event");
    for Sample { name, translation, opening, event } in SAMPLES {
        let begun = || {
            let mut pipe = Pipe::Translate(Box::new(translation.stream(NOW, WayBack::default())));
            pipe.feed(opening.as_bytes(), &mut Vec::new()).expect("a stream begins");
            pipe
        };
        let (mut pipe, mut out, mut events) = (begun(), Vec::new(), 0_u32);
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                // A writer may keep the whole text, and no answer has millions of events.
                events += 1;
                if events.is_multiple_of(10_000) {
                    pipe = begun();
                }
                out.clear();
                pipe.feed(black_box(event.as_bytes()), &mut out).expect("an event");
                assert!(!black_box(&out).is_empty(), "something is said");
            });
        });
    }
    group.finish();
}

fn request(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("request");
    let target = Target {
        model: "m",
        output_tokens_max: Some(64_000),
        thinking: None,
        efforts: &[],
        accepts_sampling: true,
        effort: None,
    };
    for (name, translation) in [
        ("chat to messages, 1 MB", Translation::ChatToMessages),
        ("chat to responses, 1 MB", Translation::ChatToResponses),
        ("messages to responses, 1 MB", Translation::MessagesToResponses),
        ("responses to messages, 1 MB", Translation::ResponsesToMessages),
    ] {
        let body = samples::conversation(translation);
        group.bench_function(name, |bencher| {
            bencher.iter(|| translation.request(black_box(body.as_bytes()), &target, None).expect("a request"));
        });
    }
    group.finish();
}

criterion_group!(benches, choice, event, request);
criterion_main!(benches);
