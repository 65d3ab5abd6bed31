//! What must be true of every translation, whatever comes.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::domain::model::Thinking;
use crate::protocol::canonical::{CallKind, Delta, Opening, Piece, Proof, StopReason, Usage};
use crate::protocol::grammar::{self, Ended};

const NOW: Timestamp = Timestamp::from_secs(1_700_000_000);
const ALL: [Translation; 4] = [
    Translation::ChatToMessages,
    Translation::ChatToResponses,
    Translation::MessagesToResponses,
    Translation::ResponsesToMessages,
];

fn target(translation: Translation) -> Target<'static> {
    let thinking = match translation {
        Translation::ChatToResponses | Translation::MessagesToResponses => Thinking::Effort,
        Translation::ChatToMessages | Translation::ResponsesToMessages => Thinking::Adaptive,
    };
    Target {
        model: "model-x",
        output_tokens_max: Some(64_000),
        thinking: Some(thinking),
        efforts: &[],
        accepts_sampling: false,
        effort: None,
    }
}

fn sealer(origin: &str) -> Sealer {
    Sealer::new(&[7; 32], origin)
}

/// The way back of a request that uses all there is.
fn way_back(translation: Translation, origin: &str) -> WayBack {
    let body = match translation {
        Translation::ChatToMessages | Translation::ChatToResponses => {
            r#"{"model":"m","messages":[{"role":"user","content":"go"}],"stream":true}"#
        }
        Translation::MessagesToResponses => MESSAGES_REQUEST,
        Translation::ResponsesToMessages => RESPONSES_REQUEST,
    };
    translation.request(body.as_bytes(), &target(translation), Some(&sealer(origin))).unwrap().way_back
}

/// A block of an answer, and in how many bits it comes.
#[derive(Clone, Debug)]
enum Said {
    Text(String, usize),
    Thought(String, usize),
    Call(String, usize),
}

fn said() -> impl Strategy<Value = Said> {
    let text = "[a-z \\n\"\\\\\u{e9}\u{1f980}\u{2028}]{1,40}";
    let arguments = prop_oneof![
        Just("{}".to_owned()),
        Just(r#"{"n":12345678901234567890,"x":1.10,"s":"\u00e9\n\"}"}"#.to_owned()),
        text.prop_map(|text| json!({"command": text, "list": [1, null, {"a": true}]}).to_string()),
    ];
    prop_oneof![
        (text, 1..5_usize).prop_map(|(text, bits)| Said::Text(text, bits)),
        (text, 1..5_usize).prop_map(|(text, bits)| Said::Thought(text, bits)),
        (arguments, 1..9_usize).prop_map(|(arguments, bits)| Said::Call(arguments, bits)),
    ]
}

fn bits(text: &str, bits: usize) -> Vec<String> {
    let chars: Vec<char> = text.chars().collect();
    chars.chunks(chars.len().div_ceil(bits).max(1)).map(|bit| bit.iter().collect()).collect()
}

fn usage() -> Usage {
    Usage { output_tokens: 13, thinking_tokens: 3, ..Usage::of_input(23, 7, 0) }
}

/// Writes an answer as a stream of Messages.
fn messages(blocks: &[Said]) -> Vec<u8> {
    let (mut writer, mut out) = (anthropic_messages::Writer::default(), Vec::new());
    let mut write = |delta: Delta<'_>| writer.write(&delta, &mut out);
    write(Delta::Started { id: "msg_01".into(), model: "claude-x".into() });
    for (block, said) in (0_u32..).zip(blocks) {
        let id = format!("toolu_{block}").into();
        let (opening, text, count) = match said {
            Said::Text(text, count) => (Opening::Text, text, *count),
            Said::Thought(text, count) => (Opening::Reasoning, text, *count),
            Said::Call(text, count) => {
                let name = "Bash".into();
                (Opening::Call { id, namespace: None, name, kind: CallKind::Function }, text, *count)
            }
        };
        write(Delta::Opened { block, opening });
        for bit in bits(text, count) {
            let bit = bit.as_str().into();
            let piece = match said {
                Said::Text(..) => Piece::Text(bit),
                Said::Thought(..) => Piece::Reasoning(bit),
                Said::Call(..) => Piece::Arguments(bit),
            };
            write(Delta::More { block, piece });
        }
        if let Said::Thought(..) = said {
            write(Delta::Proved { block, proof: Proof::Sealed(format!("EqQB{block}").into()) });
        }
        write(Delta::Closed { block });
    }
    write(Delta::Ended { stop: StopReason::EndTurn, stop_text: None, usage: usage() });
    out
}

/// Pipes a stream, cut into pieces of these lengths, over and over.
fn piped(translation: Translation, origin: &str, stream: &[u8], cuts: &[usize]) -> Vec<u8> {
    let mut pipe = Pipe::Translate(Box::new(translation.stream(NOW, way_back(translation, origin))));
    let (mut out, mut rest, mut cuts) = (Vec::new(), stream, cuts.iter().cycle());
    while !rest.is_empty() {
        let (piece, after) = rest.split_at(cuts.next().map_or(rest.len(), |cut| *cut).min(rest.len()));
        pipe.feed(piece, &mut out).unwrap();
        rest = after;
    }
    assert_eq!(pipe.finish(&mut out), End::Complete);
    out
}

/// Tells what a stream of Messages says, block by block.
fn told(stream: &[u8]) -> (Vec<String>, Value) {
    let checked = grammar::messages(stream).unwrap();
    assert_eq!(checked.ended, Ended::Properly);
    let mut blocks: Vec<String> = Vec::new();
    for event in &checked.events {
        match event["type"].as_str().unwrap() {
            "content_block_start" => {
                let block = &event["content_block"];
                blocks.push(format!("{} {} {} ", block["type"], block["id"], block["name"]));
            }
            "content_block_delta" => {
                let delta = event["delta"].as_object().unwrap();
                let (_, text) = delta.iter().find(|(key, _)| *key != "type").unwrap();
                blocks.last_mut().unwrap().push_str(text.as_str().unwrap());
            }
            _ => {}
        }
    }
    (blocks, checked.of("message_delta")[0].clone())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn an_answer_survives_both_dialects_and_any_cut(
        blocks in proptest::collection::vec(said(), 0..6),
        cuts in proptest::collection::vec(1..90_usize, 1..20),
    ) {
        let original = messages(&blocks);
        let responses = piped(Translation::ResponsesToMessages, "a", &original, &[]);
        let checked = grammar::responses(&responses);
        prop_assert!(checked.is_ok(), "{:?}\n{}", checked.err(), String::from_utf8_lossy(&responses));
        prop_assert_eq!(&piped(Translation::ResponsesToMessages, "a", &original, &cuts), &responses);

        let back = piped(Translation::MessagesToResponses, "b", &responses, &[]);
        prop_assert_eq!(&piped(Translation::MessagesToResponses, "b", &responses, &cuts), &back);
        let ((before, end), (after, end_after)) = (told(&original), told(&back));
        prop_assert_eq!(&end["usage"], &end_after["usage"]);
        prop_assert_eq!(&end["delta"], &end_after["delta"]);
        prop_assert_eq!(before.len(), after.len());
        for (before, after) in before.iter().zip(&after) {
            if !before.starts_with("\"thinking\"") {
                prop_assert_eq!(before, after);
                continue;
            }
            // What Claude signed comes back exactly, once both seals are opened.
            let at = after.find("ZHVvcG9vbAEA").expect("a seal");
            let Some(Proof::Encrypted { content, .. }) = sealer("b").open(&after[at..]).unwrap().proof else {
                panic!("not what Responses had");
            };
            let opened = sealer("a").open(&content).unwrap();
            let Some(Proof::Signature(signature)) = opened.proof else { panic!("not what Claude had") };
            prop_assert_eq!(before, &format!("\"thinking\" null null {}{signature}", opened.text));
            prop_assert_eq!(&after[..at], &before[..before.len() - signature.len()]);
        }
    }

    #[test]
    fn no_bytes_of_an_upstream_do_harm(
        blocks in proptest::collection::vec(said(), 0..4),
        noise in proptest::collection::vec(any::<u8>(), 0..300),
        at in any::<proptest::sample::Index>(),
        other in any::<bool>(),
    ) {
        let mut stream = messages(&blocks);
        if other {
            stream = piped(Translation::ResponsesToMessages, "a", &stream, &[]);
        }
        let at = at.index(stream.len());
        let until = (at + noise.len() / 2).min(stream.len());
        stream.splice(at..until, noise);
        for translation in ALL {
            let mut pipe = Pipe::Translate(Box::new(translation.stream(NOW, way_back(translation, "a"))));
            let mut out = Vec::new();
            let fed = pipe.feed(&stream, &mut out).is_ok();
            let end = pipe.finish(&mut out);
            // All that is said is copied a few times at most: as it comes, in the item that is done, in the whole.
            prop_assert!(out.len() <= 8 * stream.len() + 16 * 1024, "{} of {}", out.len(), stream.len());
            prop_assert_eq!(end == End::Complete && fed, pipe.finished() && pipe.error().is_none() && fed);
            let _ = translation.answer(&stream, NOW, &way_back(translation, "a"));
        }
    }

    #[test]
    fn no_bytes_of_a_client_do_harm(
        noise in proptest::collection::vec(any::<u8>(), 0..60),
        at in any::<proptest::sample::Index>(),
        which in any::<proptest::sample::Index>(),
    ) {
        let bodies = [MESSAGES_REQUEST, RESPONSES_REQUEST];
        let mut body = which.get(&bodies).as_bytes().to_vec();
        let at = at.index(body.len());
        let until = (at + noise.len() / 2).min(body.len());
        body.splice(at..until, noise);
        for translation in ALL {
            if let Ok(translated) = translation.request(&body, &target(translation), Some(&sealer("a"))) {
                prop_assert!(serde_json::from_slice::<Value>(&translated.body).is_ok());
            }
        }
    }

    #[test]
    fn any_history_of_calls_becomes_one_that_both_vendors_take(
        items in proptest::collection::vec((0..5_u8, 0..4_u8), 0..14),
    ) {
        let input: Vec<Value> = items.iter().map(|(kind, id)| item(*kind, *id)).collect();
        let body = json!({"model": "m", "input": input, "tools": [{"type": "function", "name": "f", "parameters": null}]});
        let Ok(sent) = request(Translation::ResponsesToMessages, &body) else { return Ok(()) };
        well_formed_messages(&sent);
        let mut again = sent.clone();
        again.as_object_mut().unwrap().remove("system");
        well_formed_responses(&request(Translation::MessagesToResponses, &again).unwrap());
    }
}

/// An item of a history, however little sense it makes after the others.
fn item(kind: u8, id: u8) -> Value {
    let call_id = ["call_1", "call:2", "call_2", ""][usize::from(id)];
    match kind {
        0 => json!({"type": "function_call", "call_id": call_id, "name": "f", "arguments": "{\"a\":1}"}),
        1 => json!({"type": "function_call_output", "call_id": call_id, "output": "done"}),
        2 => json!({"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "a"}]}),
        3 => json!({"type": "message", "role": "user", "content": [{"type": "input_text", "text": "u"}]}),
        _ => json!({"type": "message", "role": "developer", "content": "d"}),
    }
}

fn request(translation: Translation, body: &Value) -> Result<Value, Refusal> {
    let sent = translation.request(body.to_string().as_bytes(), &target(translation), Some(&sealer("a")))?;
    Ok(serde_json::from_slice(&sent.body).unwrap())
}

/// Checks what Anthropic checks of a history.
fn well_formed_messages(body: &Value) {
    let messages = body["messages"].as_array().unwrap();
    let mut open: Vec<&str> = Vec::new();
    let mut ids = std::collections::HashSet::new();
    for (at, message) in messages.iter().enumerate() {
        assert_eq!(message["role"], ["user", "assistant"][at % 2], "{body}");
        let blocks = message["content"].as_array().unwrap();
        assert!(!blocks.is_empty(), "{body}");
        let of = |kind: &str| blocks.iter().filter(|block| block["type"] == kind).count();
        let answered: Vec<&str> = blocks.iter().map_while(|block| block["tool_use_id"].as_str()).collect();
        assert_eq!((&answered, of("tool_result")), (&open, open.len()), "{body}");
        open = blocks
            .iter()
            .filter(|block| block["type"] == "tool_use")
            .map(|block| block["id"].as_str().unwrap())
            .collect();
        for id in &open {
            assert!(ids.insert(*id), "`{id}` twice in {body}");
        }
    }
    assert!(open.is_empty(), "{body}");
}

/// Checks what `OpenAI` checks of a history.
fn well_formed_responses(body: &Value) {
    let (mut called, mut answered) = (Vec::new(), Vec::new());
    for item in body["input"].as_array().unwrap() {
        let id = item["call_id"].as_str();
        match (item["type"].as_str(), id) {
            (Some("function_call"), Some(id)) => called.push(id),
            (Some("function_call_output"), Some(id)) => {
                assert!(called.contains(&id), "{body}");
                answered.push(id);
            }
            _ => assert_eq!(id, None, "{body}"),
        }
    }
    assert_eq!(called, answered, "{body}");
}

const MESSAGES_REQUEST: &str = r#"{"model":"m","max_tokens":9,"stream":true,"system":[{"type":"text","text":"s"}],"messages":[{"role":"user","content":[{"type":"text","text":"go \u00e9"},{"type":"image","source":{"type":"base64","media_type":"image/png","data":"iVBORw0KGgoAAAAN"}},{"type":"document","source":{"type":"text","data":"x"}}]},{"role":"assistant","content":[{"type":"thinking","thinking":"h","signature":"EqQB"},{"type":"tool_use","id":"toolu_1","name":"B","input":{"a":1.10}}]},{"role":"user","content":[{"type":"tool_result","tool_use_id":"toolu_1","content":[{"type":"text","text":"r"}],"is_error":true}]},{"role":"system","content":"later"}],"tools":[{"name":"B","input_schema":{"type":"object","anyOf":[{"required":null}]}}],"tool_choice":{"type":"auto"},"thinking":{"type":"enabled","budget_tokens":2000},"metadata":{"user_id":"{\"session_id\":\"s\"}"}}"#;
const RESPONSES_REQUEST: &str = r#"{"model":"m","stream":true,"store":false,"instructions":"i","include":["reasoning.encrypted_content"],"reasoning":{"effort":"high","summary":"auto"},"input":[{"type":"message","role":"user","content":[{"type":"input_text","text":"go"},{"type":"input_image","image_url":"data:image/png;base64,iVBORw0KGgoAAAAN"}]},{"type":"reasoning","id":"rs_1","summary":[],"encrypted_content":"gAAAA"},{"type":"function_call","call_id":"c","name":"f","arguments":"{\"a\":1.10}"},{"type":"function_call_output","call_id":"c","output":"o"},{"type":"custom_tool_call","call_id":"d","name":"p","input":"x"},{"type":"custom_tool_call_output","call_id":"d","output":"y"}],"tools":[{"type":"function","name":"f","parameters":{"type":"object"},"strict":false},{"type":"custom","name":"p","format":{"type":"text"}},{"type":"namespace","name":"n","tools":[{"type":"function","name":"g","parameters":{}}]}],"text":{"format":{"type":"json_schema","name":"a","schema":{"type":"object"}}}}"#;

#[test]
fn every_recorded_request_is_served_by_the_other_vendor() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/clients");
    let mut served = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "json") {
            continue;
        }
        let fixture: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        let route = fixture["path"].as_str().unwrap();
        let translation = match route.rsplit('/').next().unwrap() {
            "messages" => Translation::MessagesToResponses,
            "responses" if fixture["body"].is_object() => Translation::ResponsesToMessages,
            _ => continue,
        };
        let sent = request(translation, &fixture["body"]);
        let sent = sent.unwrap_or_else(|refusal| panic!("{}: {refusal}", path.display()));
        if translation == Translation::MessagesToResponses {
            well_formed_responses(&sent);
        } else {
            well_formed_messages(&sent);
        }
        served += 1;
    }
    assert!(served >= 20, "{served}");
}
