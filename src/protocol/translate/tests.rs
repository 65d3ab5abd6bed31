use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use super::*;
use crate::domain::model::Thinking;
use crate::protocol::error::{self, ErrorClass};
use crate::protocol::passthrough::StreamWatch;

const NOW: Timestamp = Timestamp::from_secs(1_700_000_000);

const TARGET: Target<'static> = Target {
    model: "claude-sonnet-5",
    output_tokens_max: Some(64_000),
    thinking: Some(Thinking::Adaptive),
    efforts: &[],
    accepts_sampling: false,
    effort: None,
};

const STREAM: &str = concat!(
    "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"msg_01\",\"type\":\"message\",\"role\":\"assistant\",\"model\":\"claude-sonnet-5\",\"content\":[],\"stop_reason\":null,\"usage\":{\"input_tokens\":12,\"cache_read_input_tokens\":30,\"output_tokens\":1}}   }\n\n",
    "event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":\"thinking\",\"thinking\":\"\",\"signature\":\"\"}}\n\n",
    "event: ping\ndata: {\"type\": \"ping\"}\n\n",
    "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"thinking_delta\",\"thinking\":\"Let me see\"}}\n\n",
    "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"signature_delta\",\"signature\":\"EqQB\"}}\n\n",
    "event: content_block_stop\ndata: {\"type\":\"content_block_stop\",\"index\":0}\n\n",
    "event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":1,\"content_block\":{\"type\":\"text\",\"text\":\"\"}}\n\n",
    "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":1,\"delta\":{\"type\":\"text_delta\",\"text\":\"caf\u{e9} \u{1f980}\\n\"}}\n\n",
    "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":1,\"delta\":{\"type\":\"text_delta\",\"text\":\"\\\"done\\\"\"}}\n\n",
    "event: content_block_stop\ndata: {\"type\":\"content_block_stop\",\"index\":1}\n\n",
    "event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\",\"stop_sequence\":null},\"usage\":{\"output_tokens\":15}}\n\n",
    "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n",
);

fn pipe() -> Pipe {
    Pipe::Translate(Box::new(Translation::ChatToMessages.stream(
        NOW,
        WayBack { chat: openai_chat::Asked { include_usage: true, ..Default::default() }, ..WayBack::default() },
    )))
}

fn piped<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> (String, End, Pipe) {
    let (mut pipe, mut out) = (pipe(), Vec::new());
    for piece in pieces {
        assert_eq!(pipe.feed(piece, &mut out), Ok(Flow::Rewritten));
    }
    let end = pipe.finish(&mut out);
    (String::from_utf8(out).unwrap(), end, pipe)
}

#[test]
fn every_pair_of_dialects_is_planned_or_named_impossible() {
    for client in [Dialect::Messages, Dialect::ChatCompletions, Dialect::Responses] {
        for upstream in [Dialect::Messages, Dialect::ChatCompletions, Dialect::Responses] {
            let wanted = match (client, upstream) {
                (client, upstream) if client == upstream => Some(Plan::PassThrough),
                (Dialect::ChatCompletions, Dialect::Messages) => Some(Plan::Translate(Translation::ChatToMessages)),
                (Dialect::ChatCompletions, Dialect::Responses) => Some(Plan::Translate(Translation::ChatToResponses)),
                (Dialect::Messages, Dialect::Responses) => Some(Plan::Translate(Translation::MessagesToResponses)),
                (Dialect::Responses, Dialect::Messages) => Some(Plan::Translate(Translation::ResponsesToMessages)),
                _ => None,
            };
            assert_eq!(plan(client, upstream), wanted, "{client} to {upstream}");
        }
    }
}

#[test]
fn a_request_is_translated_and_its_losses_are_named() {
    let body = br#"{"model":"alias","messages":[
        {"role":"system","content":"Be brief."},
        {"role":"user","name":"ann","content":[{"type":"text","text":"What is this?"},
            {"type":"image_url","image_url":{"url":"data:image/jpeg;base64,iVBORw0KGgoAAAANSUhEUg=="}}]},
        {"role":"assistant","content":"A square."},
        {"role":"developer","content":"Answer in French."},
        {"role":"user","content":"And the colour?"}],
        "max_completion_tokens":500,"temperature":0.2,"stop":["END"],"seed":1,"reasoning_effort":"low",
        "stream":true,"stream_options":{"include_usage":true},"user":"u-1"}"#;
    let translated = Translation::ChatToMessages.request(body, &TARGET, None).unwrap();
    assert!(translated.stream && translated.way_back.chat.include_usage);
    assert_eq!(translated.dropped.header().as_deref(), Some("seed,messages[].name,temperature"));
    insta::assert_snapshot!(String::from_utf8(translated.body).unwrap(), @r#"{"model":"claude-sonnet-5","max_tokens":500,"system":[{"type":"text","text":"Be brief.","cache_control":{"type":"ephemeral"}}],"messages":[{"role":"user","content":[{"type":"text","text":"What is this?"},{"type":"image","source":{"type":"base64","media_type":"image/png","data":"iVBORw0KGgoAAAANSUhEUg=="},"cache_control":{"type":"ephemeral"}}]},{"role":"assistant","content":[{"type":"text","text":"A square."}]},{"role":"user","content":[{"type":"text","text":"<system-reminder>\nAnswer in French.\n</system-reminder>"},{"type":"text","text":"And the colour?","cache_control":{"type":"ephemeral"}}]}],"stop_sequences":["END"],"metadata":{"user_id":"u-1"},"thinking":{"type":"adaptive","display":"summarized"},"output_config":{"effort":"low"},"stream":true}"#);
}

#[test]
fn an_answer_is_translated() {
    let body = br#"{"id":"msg_01","type":"message","role":"assistant","model":"claude-sonnet-5",
        "content":[{"type":"text","text":"Bonjour"}],"stop_reason":"stop_sequence","stop_sequence":"END",
        "usage":{"input_tokens":3,"output_tokens":2}}"#;
    let answer = Translation::ChatToMessages.answer(body, NOW, &WayBack::default()).unwrap();
    insta::assert_snapshot!(String::from_utf8(answer).unwrap(), @r#"{"id":"chatcmpl-01","object":"chat.completion","created":1700000000,"model":"claude-sonnet-5","choices":[{"index":0,"message":{"role":"assistant","content":"Bonjour","refusal":null,"annotations":[]},"logprobs":null,"finish_reason":"stop"}],"usage":{"prompt_tokens":3,"completion_tokens":2,"total_tokens":5,"prompt_tokens_details":{"cached_tokens":0,"cache_write_tokens":0,"audio_tokens":0},"completion_tokens_details":{"reasoning_tokens":0,"audio_tokens":0,"accepted_prediction_tokens":0,"rejected_prediction_tokens":0}}}"#);
    assert!(Translation::ChatToMessages.answer(b"<html>", NOW, &WayBack::default()).is_err());
}

#[test]
fn a_stream_is_translated() {
    let (out, end, pipe) = piped([STREAM.as_bytes()]);
    assert_eq!((end, pipe.content_started(), pipe.finished()), (End::Complete, true, true));
    insta::assert_snapshot!(out, @r#"
    data: {"id":"chatcmpl-01","object":"chat.completion.chunk","created":1700000000,"model":"claude-sonnet-5","choices":[{"index":0,"delta":{"role":"assistant"},"logprobs":null,"finish_reason":null}],"usage":null}

    data: {"id":"chatcmpl-01","object":"chat.completion.chunk","created":1700000000,"model":"claude-sonnet-5","choices":[{"index":0,"delta":{"reasoning_content":"Let me see"},"logprobs":null,"finish_reason":null}],"usage":null}

    data: {"id":"chatcmpl-01","object":"chat.completion.chunk","created":1700000000,"model":"claude-sonnet-5","choices":[{"index":0,"delta":{"content":"café 🦀\n"},"logprobs":null,"finish_reason":null}],"usage":null}

    data: {"id":"chatcmpl-01","object":"chat.completion.chunk","created":1700000000,"model":"claude-sonnet-5","choices":[{"index":0,"delta":{"content":"\"done\""},"logprobs":null,"finish_reason":null}],"usage":null}

    data: {"id":"chatcmpl-01","object":"chat.completion.chunk","created":1700000000,"model":"claude-sonnet-5","choices":[{"index":0,"delta":{},"logprobs":null,"finish_reason":"stop"}],"usage":null}

    data: {"id":"chatcmpl-01","object":"chat.completion.chunk","created":1700000000,"model":"claude-sonnet-5","choices":[],"usage":{"prompt_tokens":42,"completion_tokens":15,"total_tokens":57,"prompt_tokens_details":{"cached_tokens":30,"cache_write_tokens":0,"audio_tokens":0},"completion_tokens_details":{"reasoning_tokens":0,"audio_tokens":0,"accepted_prediction_tokens":0,"rejected_prediction_tokens":0}}}

    data: [DONE]
    "#);
}

#[test]
fn a_translated_stream_does_not_depend_on_where_the_network_cuts_the_bytes() {
    let (whole, ..) = piped([STREAM.as_bytes()]);
    for seed in 0..300 {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut pieces = Vec::new();
        let mut rest = STREAM.as_bytes();
        while !rest.is_empty() {
            let (piece, after) = rest.split_at(rng.random_range(1..60).min(rest.len()));
            pieces.push(piece);
            rest = after;
        }
        let (out, end, _) = piped(pieces);
        assert_eq!((out == whole, end), (true, End::Complete), "seed {seed}");
    }
}

#[test]
fn a_stream_that_is_cut_anywhere_never_ends_properly() {
    let last = STREAM.trim_end().len();
    for cut in 0..last {
        let (out, end, pipe) = piped([&STREAM.as_bytes()[..cut]]);
        assert_eq!((end, pipe.finished()), (End::CutShort, false), "cut at {cut}");
        assert!(!out.contains("[DONE]") && !out.contains("\"finish_reason\":\"stop\""), "cut at {cut}");
    }
    assert_eq!(piped([&STREAM.as_bytes()[..last]]).1, End::Complete);
}

#[test]
fn content_starts_with_the_first_block_and_not_before() {
    let (mut pipe, mut out) = (pipe(), Vec::new());
    let until = STREAM.find("event: content_block_start").unwrap();
    pipe.feed(&STREAM.as_bytes()[..until], &mut out).unwrap();
    assert!(!pipe.content_started() && !out.is_empty());
    pipe.feed(&STREAM.as_bytes()[until..until + 200], &mut out).unwrap();
    assert!(pipe.content_started() && !pipe.finished() && pipe.at_event_boundary());
}

#[test]
fn an_error_in_mid_stream_stops_the_translation_and_is_told() {
    let cut = STREAM.find("event: content_block_stop").unwrap();
    let error = r#"{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}"#;
    let wire = format!("{}event: error\ndata: {error}\n\n{}", &STREAM[..cut], &STREAM[cut..]);
    let (out, end, pipe) = piped([wire.as_bytes()]);
    assert_eq!((end, pipe.finished()), (End::Failed, false));
    assert!(out.contains("Let me see") && !out.contains("done") && !out.contains("[DONE]"));
    let read = error::read(pipe.error().unwrap()).unwrap();
    assert_eq!((read.class(), read.message.as_str()), (ErrorClass::Overloaded, "Overloaded"));
}

#[test]
fn an_empty_answer_is_a_whole_stream() {
    let wire = concat!(
        "data: {\"type\":\"message_start\",\"message\":{\"id\":\"msg_1\",\"model\":\"c\"}}\n\n",
        "data: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\"}}\n\n",
        "data: {\"type\":\"message_stop\"}\n\n",
    );
    let (out, end, _) = piped([wire.as_bytes()]);
    assert_eq!(end, End::Complete);
    assert!(
        out.contains("\"role\":\"assistant\"")
            && out.contains("\"finish_reason\":\"stop\"")
            && out.ends_with("data: [DONE]\n\n")
    );
}

#[test]
fn a_stream_that_is_none_is_an_error() {
    for wire in ["data: <html>\nevent: message_start\n\n", "event: content_block_delta\ndata: {}\n\n"] {
        assert!(pipe().feed(wire.as_bytes(), &mut Vec::new()).is_err(), "{wire}");
    }
}

#[test]
fn a_stream_that_passes_through_answers_the_same_questions() {
    let (mut pipe, mut out) = (Pipe::PassThrough(StreamWatch::new(Dialect::Messages)), Vec::new());
    assert_eq!(pipe.feed(STREAM.as_bytes(), &mut out), Ok(Flow::AsIs));
    assert!(pipe.content_started() && pipe.finished() && pipe.at_event_boundary() && pipe.error().is_none());
    assert_eq!((pipe.next_sequence_number(), pipe.finish(&mut out), out.len()), (12, End::Complete, 0));
    let mut cut = Pipe::PassThrough(StreamWatch::new(Dialect::Messages));
    assert_eq!(cut.feed(&STREAM.as_bytes()[..500], &mut out), Ok(Flow::AsIs));
    assert_eq!(cut.finish(&mut out), End::CutShort);
}
