//! The effort that a client asks for by a model's name, in a body that otherwise passes as it is.
//!
//! It is set where the dialect has its place, over what the body says; every other byte stays. In Messages effort goes
//! together with thinking, which is turned on where the client says nothing about it and nothing excludes it; a client
//! that turns thinking off for one request, as Claude Code does for a search, has its reasons.

use std::collections::BTreeMap;
use std::ops::Range;

use serde_json::value::RawValue;

use crate::domain::model::{Dialect, Effort, Thinking};
use crate::protocol::canonical::Target;
use crate::protocol::passthrough::peek::{edited, member, place, with_comma};
use crate::protocol::passthrough::seals::without_clearing;
use crate::protocol::{anthropic_messages, json, openai_responses};

/// Room that is left for the answer beside the thinking, in tokens.
const ANSWER_TOKENS: u64 = 8192;
/// Below this `top_p` a Claude model does not think. Source: Anthropic's guide "Extended thinking".
const TOP_P_MIN: f64 = 0.95;
/// Where thinking stands in Messages.
const THINKING: &str = "thinking";

/// A body that asks for an effort.
#[derive(Debug, PartialEq, Eq)]
pub struct Asking {
    /// The body.
    pub body: Vec<u8>,
    /// What had to go for it, or what could not be asked for.
    pub dropped: Vec<&'static str>,
}

/// Returns the body with the effort of `target`; `None` where it has none, or the body is no object.
pub fn with_effort(dialect: Dialect, body: &[u8], target: &Target<'_>) -> Option<Asking> {
    let effort = target.effort?;
    let body = std::str::from_utf8(body).ok()?;
    let of_gpt = || quoted(openai_responses::effort_word(effort, target.efforts));
    let plain = |body: String| Asking { body: body.into_bytes(), dropped: Vec::new() };
    match dialect {
        Dialect::Responses => with_inner(body, "reasoning", "effort", &of_gpt()).map(plain),
        Dialect::ChatCompletions => with_member(body, "reasoning_effort", &of_gpt()).map(plain),
        Dialect::Messages if effort == Effort::None => without_thinking(body),
        Dialect::Messages => match target.thinking {
            Some(Thinking::Manual) => with_budget(body, effort),
            mode => with_word(body, anthropic_messages::effort_word(effort, mode.unwrap_or(Thinking::Adaptive))),
        },
    }
}

fn without_thinking(body: &str) -> Option<Asking> {
    let body = with_member(body, THINKING, r#"{"type":"disabled"}"#)?;
    let body = without_clearing(&body).unwrap_or_else(|| body.into_bytes());
    Some(Asking { body, dropped: Vec::new() })
}

/// For a model that takes a word, and thinks as much as it likes.
fn with_word(body: &str, word: &str) -> Option<Asking> {
    let turns = Turns::of(body)?;
    let mut edits: Vec<_> = turns.efforts.iter().map(|at| (at.clone(), quoted(word).into_bytes())).collect();
    let body = String::from_utf8(edited(body.as_bytes(), &mut edits)).ok()?;
    let body = with_inner(&body, "output_config", "effort", &quoted(word))?;
    if turns.thinking.is_some() || turns.is_prefilled || turns.is_forced {
        return Some(Asking { body: body.into_bytes(), dropped: Vec::new() });
    }
    started(&body, r#"{"type":"adaptive"}"#)
}

/// For a model that is told how many tokens it may think.
fn with_budget(body: &str, effort: Effort) -> Option<Asking> {
    let turns = Turns::of(body)?;
    let most = turns.max_tokens.unwrap_or_default();
    let room = most.saturating_sub(ANSWER_TOKENS).max(most / 2);
    let budget = anthropic_messages::budget(effort).min(room);
    let thinking = format!(r#"{{"type":"enabled","budget_tokens":{budget}}}"#);
    let has_room = budget >= anthropic_messages::BUDGET_TOKENS_MIN;
    match turns.thinking.as_deref() {
        Some("enabled") if has_room => {
            let body = with_inner(body, THINKING, "budget_tokens", &budget.to_string())?;
            Some(Asking { body: body.into_bytes(), dropped: Vec::new() })
        }
        // A turn that goes on from a call must begin with the thinking before it.
        None if has_room && !turns.is_prefilled && !turns.is_forced && !turns.ends_with_result => {
            started(body, &thinking)
        }
        _ => Some(Asking { body: body.into(), dropped: vec![THINKING] }),
    }
}

/// Turns thinking on, and takes out the sampling that it excludes.
fn started(body: &str, thinking: &str) -> Option<Asking> {
    let mut body = with_member(body, THINKING, thinking)?;
    let mut dropped = Vec::new();
    for name in ["temperature", "top_p", "top_k"] {
        let value = members(&body)?.get(name).and_then(|value| value.get().parse::<f64>().ok());
        let goes = match name {
            "temperature" => value.is_some_and(|value| value < 1.0),
            "top_p" => value.is_some_and(|value| value < TOP_P_MIN),
            _ => value.is_some(),
        };
        if goes {
            body = without_member(&body, name)?;
            dropped.push(name);
        }
    }
    Some(Asking { body: body.into_bytes(), dropped })
}

/// What of a Messages request bears on thinking.
struct Turns {
    /// `thinking.type`.
    thinking: Option<String>,
    max_tokens: Option<u64>,
    /// Whether a tool must be called, which excludes thinking.
    is_forced: bool,
    /// Whether the model is to go on from its own words, which excludes it, too.
    is_prefilled: bool,
    ends_with_result: bool,
    /// Where messages say how hard to think from there on.
    efforts: Vec<Range<usize>>,
}

impl Turns {
    fn of(body: &str) -> Option<Self> {
        let top = members(body)?;
        let kind = |name: &str| text(top.get(name)?, "type");
        let messages: Vec<&RawValue> =
            top.get("messages").and_then(|list| serde_json::from_str(list.get()).ok()).unwrap_or_default();
        let last = messages.last();
        let blocks: Vec<&RawValue> = last
            .and_then(|last| members(last.get()))
            .and_then(|last| serde_json::from_str(last.get("content")?.get()).ok())
            .unwrap_or_default();
        let effort = |message: &&RawValue| {
            let config = *members(message.get())?.get("output_config")?;
            members(config.get())?.get("effort").map(|value| place(body, value))
        };
        Some(Self {
            thinking: kind(THINKING),
            max_tokens: top.get("max_tokens").and_then(|value| value.get().parse().ok()),
            is_forced: kind("tool_choice").is_some_and(|kind| kind == "any" || kind == "tool"),
            is_prefilled: last.and_then(|last| text(last, "role")).is_some_and(|role| role == "assistant"),
            ends_with_result: blocks.iter().any(|block| text(block, "type").is_some_and(|kind| kind == "tool_result")),
            efforts: messages.iter().filter_map(effort).collect(),
        })
    }
}

/// Returns the members of an object; of one that comes twice, the last.
fn members(object: &str) -> Option<BTreeMap<String, &RawValue>> {
    serde_json::from_str(object).ok()
}

fn text(object: &RawValue, name: &str) -> Option<String> {
    serde_json::from_str(members(object.get())?.get(name)?.get()).ok()
}

fn quoted(word: &str) -> String {
    String::from_utf8(json::to_vec(&word)).unwrap_or_default()
}

/// Returns the object with a member of this value in the place of the one it has, or before all others.
fn with_member(object: &str, name: &str, value: &str) -> Option<String> {
    let members = members(object)?;
    if let Some(old) = members.get(name) {
        let at = place(object, old);
        return Some([&object[..at.start], value, &object[at.end..]].concat());
    }
    let open = object.find('{')? + 1;
    let comma = if members.is_empty() { "" } else { "," };
    Some(format!("{}\"{name}\":{value}{comma}{}", &object[..open], &object[open..]))
}

/// Returns the object in which the object `outer` has a member of this value.
fn with_inner(object: &str, outer: &str, name: &str, value: &str) -> Option<String> {
    let members = members(object)?;
    let old = members.get(outer).map(|value| value.get()).filter(|value| value.starts_with('{'));
    with_member(object, outer, &with_member(old.unwrap_or("{}"), name, value)?)
}

/// Returns the object without a member, which must not be its only one.
fn without_member(object: &str, name: &str) -> Option<String> {
    let value = *members(object)?.get(name)?;
    let at = with_comma(object.as_bytes(), &member(object, value));
    String::from_utf8(edited(object.as_bytes(), &mut [(at, Vec::new())])).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(thinking: Thinking, efforts: &[String], effort: Effort) -> Target<'_> {
        Target {
            model: "m",
            output_tokens_max: None,
            thinking: Some(thinking),
            efforts,
            accepts_sampling: true,
            effort: Some(effort),
        }
    }

    /// Returns the body, and what had to go.
    fn asked(dialect: Dialect, thinking: Thinking, effort: Effort, body: &str) -> (String, Vec<&'static str>) {
        let asking = with_effort(dialect, body.as_bytes(), &target(thinking, &[], effort)).unwrap();
        let body = String::from_utf8(asking.body).unwrap();
        assert!(serde_json::from_str::<serde_json::Value>(&body).is_ok(), "{body}");
        (body, asking.dropped)
    }

    #[test]
    fn gpt_is_asked_in_its_own_place_and_every_other_byte_stays() {
        for (dialect, body, wanted) in [
            (Dialect::Responses, r#"{ "n":1.10}"#, r#"{"reasoning":{"effort":"high"}, "n":1.10}"#),
            (
                Dialect::Responses,
                r#"{"reasoning" : {"summary":"auto", "effort": "low" }, "n":1.10}"#,
                r#"{"reasoning" : {"summary":"auto", "effort": "high" }, "n":1.10}"#,
            ),
            (
                Dialect::Responses,
                r#"{"reasoning":{"summary":"auto"}}"#,
                r#"{"reasoning":{"effort":"high","summary":"auto"}}"#,
            ),
            (Dialect::Responses, r#"{"reasoning":null}"#, r#"{"reasoning":{"effort":"high"}}"#),
            (Dialect::ChatCompletions, r#"{"a":1}"#, r#"{"reasoning_effort":"high","a":1}"#),
            (
                Dialect::ChatCompletions,
                r#"{"a":{"reasoning_effort":"low"},"reasoning\u005feffort":null}"#,
                r#"{"a":{"reasoning_effort":"low"},"reasoning\u005feffort":"high"}"#,
            ),
        ] {
            assert_eq!(asked(dialect, Thinking::Effort, Effort::High, body), (wanted.to_owned(), vec![]), "{body}");
        }
    }

    #[test]
    fn gpt_is_asked_for_an_effort_that_it_has() {
        let efforts = ["low".to_owned(), "high".to_owned()];
        let word = |effort| {
            let asking =
                with_effort(Dialect::ChatCompletions, b"{}", &target(Thinking::Effort, &efforts, effort)).unwrap();
            String::from_utf8(asking.body).unwrap()
        };
        assert_eq!(word(Effort::Max), r#"{"reasoning_effort":"high"}"#);
        assert_eq!(word(Effort::None), r#"{"reasoning_effort":"low"}"#);
    }

    #[test]
    fn a_body_is_left_alone_where_no_name_asks_for_anything() {
        let none = Target { effort: None, ..target(Thinking::Effort, &[], Effort::High) };
        assert_eq!(with_effort(Dialect::Responses, b"{}", &none), None);
    }

    #[test]
    fn claude_gets_the_word_and_thinks_unless_the_request_excludes_it() {
        let word = |body: &str| asked(Dialect::Messages, Thinking::Adaptive, Effort::ExtraHigh, body);
        for (body, wanted, gone) in [
            (
                r#"{"n":1.10}"#,
                r#"{"thinking":{"type":"adaptive"},"output_config":{"effort":"xhigh"},"n":1.10}"#,
                vec![],
            ),
            (
                r#"{"thinking":{"type":"adaptive","display":"omitted"},"output_config":{"effort":"low"},"messages":[{"role":"system","output_config":{"effort":"medium"}}]}"#,
                r#"{"thinking":{"type":"adaptive","display":"omitted"},"output_config":{"effort":"xhigh"},"messages":[{"role":"system","output_config":{"effort":"xhigh"}}]}"#,
                vec![],
            ),
            (
                r#"{"thinking":{"type":"disabled"},"output_config":{"format":{}}}"#,
                r#"{"thinking":{"type":"disabled"},"output_config":{"effort":"xhigh","format":{}}}"#,
                vec![],
            ),
            (
                r#"{"tool_choice":{"type":"any"}}"#,
                r#"{"output_config":{"effort":"xhigh"},"tool_choice":{"type":"any"}}"#,
                vec![],
            ),
            (
                r#"{"messages":[{"role":"assistant","content":"So"}]}"#,
                r#"{"output_config":{"effort":"xhigh"},"messages":[{"role":"assistant","content":"So"}]}"#,
                vec![],
            ),
            (
                r#"{"temperature":0,"top_p":0.99, "top_k" : 5}"#,
                r#"{"thinking":{"type":"adaptive"},"output_config":{"effort":"xhigh"},"top_p":0.99}"#,
                vec!["temperature", "top_k"],
            ),
        ] {
            assert_eq!(word(body), (wanted.to_owned(), gone), "{body}");
        }
    }

    #[test]
    fn an_older_claude_gets_a_budget_within_its_limit() {
        let budget = |effort, body: &str| asked(Dialect::Messages, Thinking::Manual, effort, body);
        for (effort, body, wanted, gone) in [
            (
                Effort::High,
                r#"{"max_tokens":64000}"#,
                r#"{"thinking":{"type":"enabled","budget_tokens":16384},"max_tokens":64000}"#,
                vec![],
            ),
            (
                Effort::High,
                r#"{"max_tokens":4096,"temperature":0.5}"#,
                r#"{"thinking":{"type":"enabled","budget_tokens":2048},"max_tokens":4096}"#,
                vec!["temperature"],
            ),
            (Effort::High, r#"{"max_tokens":1024}"#, r#"{"max_tokens":1024}"#, vec![THINKING]),
            (
                Effort::Low,
                r#"{"max_tokens":32000,"thinking":{"type":"enabled","budget_tokens":31999,"display":"omitted"}}"#,
                r#"{"max_tokens":32000,"thinking":{"type":"enabled","budget_tokens":2048,"display":"omitted"}}"#,
                vec![],
            ),
            (
                Effort::Low,
                r#"{"max_tokens":32000,"messages":[{"role":"user","content":[{"type":"tool_result"}]}]}"#,
                r#"{"max_tokens":32000,"messages":[{"role":"user","content":[{"type":"tool_result"}]}]}"#,
                vec![THINKING],
            ),
        ] {
            assert_eq!(budget(effort, body), (wanted.to_owned(), gone), "{body}");
        }
    }

    #[test]
    fn none_turns_thinking_off_and_with_it_what_needs_it() {
        let (body, gone) = asked(
            Dialect::Messages,
            Thinking::Adaptive,
            Effort::None,
            r#"{"thinking":{"type":"adaptive"},"context_management":{"edits":[{"type":"clear_thinking_20251015"}]}}"#,
        );
        assert_eq!(body, r#"{"thinking":{"type":"disabled"},"context_management":{"edits":[]}}"#);
        assert!(gone.is_empty());
    }
}
