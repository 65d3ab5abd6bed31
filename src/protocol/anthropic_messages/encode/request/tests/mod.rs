use serde_json::{Value, json};

use super::*;
use crate::domain::model::Thinking;
use crate::protocol::canonical::{Block, Effort, Image, Role, Settings, Turn};

mod agents;

fn turn(role: Role, text: &str) -> Turn<'_> {
    Turn { role, blocks: vec![Block::Text(text.into())] }
}

fn system(text: &str) -> Turn<'_> {
    turn(Role::System, text)
}

fn user(text: &str) -> Turn<'_> {
    turn(Role::User, text)
}

fn assistant(text: &str) -> Turn<'_> {
    turn(Role::Assistant, text)
}

fn text(text: &str) -> Value {
    json!({"type": "text", "text": text})
}

const TARGET: Target<'static> = Target {
    model: "claude-x",
    output_tokens_max: Some(64_000),
    thinking: None,
    efforts: &[],
    accepts_sampling: true,
    effort: None,
};

fn encoded(turns: Vec<Turn<'_>>, settings: Settings<'_>, target: Target<'_>) -> (Value, Vec<Unmet>) {
    let conversation = Conversation { turns, settings, ..Conversation::default() };
    let Encoded { body, unmet } = write_request(&conversation, &target, &Names::default()).unwrap();
    (serde_json::from_slice(&body).unwrap(), unmet)
}

fn with(settings: Settings<'_>, target: Target<'_>) -> (Value, Vec<Unmet>) {
    encoded(vec![user("hi")], settings, target)
}

/// Returns the messages without their marks for the cache.
fn messages(turns: Vec<Turn<'_>>) -> Value {
    let mut messages = encoded(turns, Settings::default(), TARGET).0["messages"].take();
    for message in messages.as_array_mut().unwrap() {
        for block in message["content"].as_array_mut().unwrap() {
            block.as_object_mut().unwrap().remove("cache_control");
        }
    }
    messages
}

#[test]
fn system_turns_at_the_beginning_become_system_blocks_in_order() {
    let two = Turn { role: Role::System, blocks: ["b", " ", "c"].map(|text| Block::Text(text.into())).into() };
    let (body, _) = encoded(vec![system("a"), two, system("\n"), user("hi")], Settings::default(), TARGET);
    assert_eq!(body["system"], json!([text("a"), text("b\n\nc")]));
    assert_eq!(body["messages"], json!([{"role": "user", "content": [text("hi")]}]));
}

#[test]
fn a_later_system_turn_stays_in_its_place_as_a_reminder() {
    let reminder = text("<system-reminder>\nnow in French\n</system-reminder>");
    assert_eq!(
        messages(vec![user("a"), assistant("b"), system("now in French"), user("c"), system(" ")]),
        json!([
            {"role": "user", "content": [text("a")]},
            {"role": "assistant", "content": [text("b")]},
            {"role": "user", "content": [reminder, text("c")]},
        ])
    );
}

#[test]
fn a_conversation_of_system_turns_alone_gets_a_user_turn() {
    let (body, _) = encoded(vec![system("a")], Settings::default(), TARGET);
    assert_eq!(body["system"], json!([text("a")]));
    assert_eq!(body["messages"], json!([{"role": "user", "content": [text(".")]}]));
}

#[test]
fn a_user_speaks_first_and_neighbours_of_one_role_are_merged() {
    assert_eq!(
        messages(vec![assistant("a"), assistant("b"), user("c"), user("d"), assistant("e")]),
        json!([
            {"role": "user", "content": [text(".")]},
            {"role": "assistant", "content": [text("a"), text("b")]},
            {"role": "user", "content": [text("c"), text("d")]},
            {"role": "assistant", "content": [text("e")]},
        ])
    );
}

#[test]
fn blank_texts_and_the_turns_they_leave_empty_are_skipped() {
    assert_eq!(
        messages(vec![user("a"), assistant(" \n\t"), user(""), user("b")]),
        json!([{"role": "user", "content": [text("a"), text("b")]}])
    );
}

#[test]
fn a_last_assistant_turn_has_no_white_space_at_its_end() {
    let sent = messages(vec![user(" a "), assistant("b \n"), user("c "), assistant(" { \n")]);
    let texts: Vec<_> = (0..4).map(|at| sent[at]["content"][0]["text"].as_str().unwrap().to_owned()).collect();
    assert_eq!(texts, [" a ", "b \n", "c ", " {"]);
}

#[test]
fn images_are_carried_inline_and_by_address() {
    let blocks = vec![
        Block::Image(Image::Inline { media_type: "image/png", base64: "AAAA".into() }),
        Block::Image(Image::Url("https://x/y".into())),
    ];
    assert_eq!(
        messages(vec![Turn { role: Role::User, blocks }])[0]["content"],
        json!([
            {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"}},
            {"type": "image", "source": {"type": "url", "url": "https://x/y"}},
        ])
    );
}

#[test]
fn max_tokens_is_the_clients_or_the_models_and_at_most_32000_by_default() {
    for (asked, most, sent) in [
        (None, Some(64_000), 32_000),
        (None, Some(8192), 8192),
        (None, None, 32_000),
        (Some(5), Some(64_000), 5),
        (Some(100_000), Some(64_000), 64_000),
        (Some(100_000), None, 100_000),
    ] {
        let settings = Settings { output_tokens_max: asked, ..Settings::default() };
        let (body, _) = with(settings, Target { output_tokens_max: most, ..TARGET });
        assert_eq!(body["max_tokens"], sent, "{asked:?} {most:?}");
    }
}

#[test]
fn sampling_is_clamped_and_never_sent_in_both_forms_or_where_it_is_refused() {
    let newest = Target { accepts_sampling: false, ..TARGET };
    let none = Value::Null;
    for (temperature, top_p, target, sent, unmet) in [
        (Some(0.5), None, TARGET, (json!(0.5), none.clone()), vec![]),
        (Some(1.7), None, TARGET, (json!(1.0), none.clone()), vec![]),
        (None, Some(0.9), TARGET, (none.clone(), json!(0.9)), vec![]),
        (Some(0.0), Some(0.9), TARGET, (json!(0.0), none.clone()), vec![Unmet::TopP]),
        (Some(0.0), Some(1.0), TARGET, (json!(0.0), none.clone()), vec![]),
        (Some(0.5), Some(0.5), newest, (none.clone(), none.clone()), vec![Unmet::Temperature, Unmet::TopP]),
        (Some(1.0), Some(1.0), newest, (none.clone(), none.clone()), vec![]),
    ] {
        let (body, found) = with(Settings { temperature, top_p, ..Settings::default() }, target);
        assert_eq!((body["temperature"].clone(), body["top_p"].clone()), sent, "{temperature:?} {top_p:?}");
        assert_eq!(found, unmet, "{temperature:?} {top_p:?}");
    }
}

#[test]
fn blank_stop_texts_are_left_out_and_told() {
    let settings = Settings { stop: vec!["END".into(), "\n".into()], ..Settings::default() };
    let (body, unmet) = with(settings, TARGET);
    assert_eq!((&body["stop_sequences"], unmet), (&json!(["END"]), vec![Unmet::Stop]));
}

#[test]
fn a_users_name_is_carried_and_a_long_one_as_its_digest() {
    let sent = |user: &str| {
        with(Settings { user: Some(user.to_owned().into()), ..Settings::default() }, TARGET).0["metadata"].take()
    };
    assert_eq!(sent("u-1"), json!({"user_id": "u-1"}));
    assert_eq!(sent(&"x".repeat(256)), json!({"user_id": "x".repeat(256)}));
    assert_eq!(sent("\u{e9}".repeat(257).as_str())["user_id"].as_str().unwrap().len(), 64);
}

fn thinking(effort: Effort, limit: Option<u64>, target: Target<'_>) -> (Value, Vec<Unmet>) {
    let settings = Settings { effort: Some(effort), output_tokens_max: limit, ..Settings::default() };
    let (mut body, unmet) = with(settings, target);
    (json!([body["thinking"].take(), body["output_config"].take(), body["max_tokens"].take()]), unmet)
}

#[test]
fn effort_is_a_budget_for_models_that_take_one() {
    let manual = Target { thinking: Some(Thinking::Manual), ..TARGET };
    let budget = |tokens: u64| json!({"type": "enabled", "budget_tokens": tokens});
    for (effort, limit, target, sent) in [
        (Effort::Minimal, None, manual, json!([budget(1024), null, 32_000])),
        (Effort::Low, None, manual, json!([budget(2048), null, 32_000])),
        (Effort::Medium, None, manual, json!([budget(8192), null, 32_000])),
        (Effort::High, None, manual, json!([budget(16_384), null, 32_000])),
        (Effort::Max, None, manual, json!([budget(32_768), null, 40_960])),
        (Effort::High, Some(4096), manual, json!([budget(2048), null, 4096])),
        (Effort::Max, None, Target { output_tokens_max: Some(8192), ..manual }, json!([budget(4096), null, 8192])),
    ] {
        assert_eq!(thinking(effort, limit, target), (sent, vec![]), "{effort:?} {limit:?}");
    }
    assert_eq!(thinking(Effort::High, Some(2000), manual), (json!([null, null, 2000]), vec![Unmet::Effort]));
}

#[test]
fn effort_is_a_word_together_with_adaptive_thinking_for_newer_models() {
    for (mode, much) in [(Thinking::Both, "high"), (Thinking::Adaptive, "xhigh")] {
        let target = Target { thinking: Some(mode), ..TARGET };
        for (effort, word) in [
            (Effort::Minimal, "low"),
            (Effort::Low, "low"),
            (Effort::Medium, "medium"),
            (Effort::High, "high"),
            (Effort::ExtraHigh, much),
            (Effort::Max, "max"),
        ] {
            let sent = json!([{"type": "adaptive"}, {"effort": word}, 100]);
            assert_eq!(thinking(effort, Some(100), target), (sent, vec![]), "{effort:?}");
        }
        assert_eq!(thinking(Effort::None, Some(9), target), (json!([null, null, 9]), vec![]));
    }
    assert_eq!(thinking(Effort::Low, Some(9), TARGET), (json!([null, null, 9]), vec![Unmet::Effort]));
}

#[test]
fn while_it_thinks_a_model_gets_no_temperature_and_only_a_high_top_p() {
    let target = Target { thinking: Some(Thinking::Adaptive), ..TARGET };
    let settings =
        |temperature, top_p| Settings { effort: Some(Effort::Low), temperature, top_p, ..Settings::default() };
    let (body, unmet) = with(settings(Some(0.2), Some(0.97)), target);
    assert_eq!((&body["temperature"], &body["top_p"], unmet), (&Value::Null, &json!(0.97), vec![Unmet::Temperature]));
    let (body, unmet) = with(settings(Some(1.0), Some(0.5)), target);
    assert_eq!((&body["temperature"], &body["top_p"], unmet), (&Value::Null, &Value::Null, vec![Unmet::TopP]));
}

#[test]
fn a_prefilled_answer_is_not_thought_about() {
    let target = Target { thinking: Some(Thinking::Adaptive), ..TARGET };
    let settings = Settings { effort: Some(Effort::High), ..Settings::default() };
    let (body, unmet) = encoded(vec![user("a"), assistant("{")], settings, target);
    assert_eq!((&body["thinking"], &body["output_config"], unmet), (&Value::Null, &Value::Null, vec![Unmet::Effort]));
}
