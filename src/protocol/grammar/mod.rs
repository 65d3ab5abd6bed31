//! A strict reading of the event streams that clients get: what the vendors' own streams keep to, as rules.
//!
//! For tests alone, and on its own: it reads JSON and nothing of this crate, so that it cannot agree with a bug of the
//! writers. The integration tests include this file by its path.

#![allow(
    dead_code,
    unreachable_pub,
    clippy::missing_docs_in_private_items,
    reason = "two test binaries, each uses a part"
)]

use std::collections::BTreeMap;

use serde_json::{Map, Value};

mod chat;
mod messages;
mod responses;

pub use chat::{chat, completion};
pub use messages::messages;
pub use responses::responses;

/// How a stream ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// With its terminal event.
    Properly,
    /// With an error event.
    ByError,
    /// With neither.
    CutShort,
}

/// A stream that keeps to the grammar.
#[derive(Debug)]
pub struct Checked {
    /// The data of its events, signs of life left out.
    pub events: Vec<Value>,
    /// How it ended.
    pub ended: Ended,
}

impl Checked {
    /// Returns the events of one type.
    pub fn of(&self, kind: &str) -> Vec<&Value> {
        self.events.iter().filter(|event| event["type"] == kind).collect()
    }
}

type Problem = Result<(), String>;

/// Splits a stream as we write it: an `event:` line, one `data:` line, an empty line; comments stand alone.
fn events(stream: &str) -> Result<Vec<Value>, String> {
    let mut found = Vec::new();
    for block in stream.split_terminator("\n\n") {
        if block.starts_with(':') {
            need(!block.contains('\n'), || format!("a comment with more lines: {block}"))?;
            continue;
        }
        let lines: Vec<&str> = block.split('\n').collect();
        let [name, data] = lines[..] else { return Err(format!("not an event of two lines: {block:?}")) };
        let name = name.strip_prefix("event: ").ok_or_else(|| format!("no `event:` line: {block:?}"))?;
        let data = data.strip_prefix("data: ").ok_or_else(|| format!("no `data:` line: {block:?}"))?;
        let data: Value = serde_json::from_str(data).map_err(|error| format!("{error}: {block:?}"))?;
        need(data["type"] == name, || format!("`event:` and `type` differ: {block:?}"))?;
        found.push(data);
    }
    need(stream.is_empty() || stream.ends_with("\n\n"), || "the last event has no empty line".into())?;
    Ok(found)
}

fn need(holds: bool, problem: impl FnOnce() -> String) -> Problem {
    if holds { Ok(()) } else { Err(problem()) }
}

fn kind(value: &Value) -> &str {
    value["type"].as_str().unwrap_or_default()
}

fn text<'a>(value: &'a Value, member: &str) -> Result<&'a str, String> {
    value[member].as_str().ok_or_else(|| format!("`{member}` is no text in {value}"))
}

fn count(value: &Value, member: &str) -> Result<u64, String> {
    value[member].as_u64().ok_or_else(|| format!("`{member}` is no count in {value}"))
}

fn object<'a>(value: &'a Value, member: &str) -> Result<&'a Map<String, Value>, String> {
    value[member].as_object().ok_or_else(|| format!("`{member}` is no object in {value}"))
}

fn list<'a>(value: &'a Value, member: &str) -> Result<&'a [Value], String> {
    value[member].as_array().map(Vec::as_slice).ok_or_else(|| format!("`{member}` is no list in {value}"))
}

/// Asserts that `value` has exactly these members, some of which may be missing.
fn only(value: &Value, must: &[&str], may: &[&str]) -> Problem {
    let members: BTreeMap<&str, &Value> =
        value.as_object().into_iter().flatten().map(|(key, value)| (key.as_str(), value)).collect();
    for key in must {
        need(members.contains_key(key), || format!("`{key}` is missing in {value}"))?;
    }
    for key in members.keys() {
        need(must.contains(key) || may.contains(key), || format!("`{key}` does not belong in {value}"))?;
    }
    Ok(())
}
