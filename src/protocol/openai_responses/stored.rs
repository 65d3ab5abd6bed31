//! What a request refers to instead of saying it, and what of an answer can be referred to.
//!
//! `OpenAI` keeps answers for its clients unless told `store: false`; other providers do not, so the server keeps those of
//! their models for a while. Here is how references are read and answers taken apart; what is kept, for whom and how long
//! is not known here.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::protocol::json::{self, Str};
use crate::protocol::loss::Refusal;

/// Longest part of a client's id that it is told back, in characters.
const ID_CHARS_MAX: usize = 80;
/// What is said of references that lead nowhere.
const WAY_OUT: &str = "answers of Claude models are kept in memory only, until an hour after their last use, for the key \
                       that got them; send the whole conversation in `input`, with `store: false`";

/// What a request refers to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct References {
    /// The answer that it continues: `previous_response_id`.
    pub previous: Option<String>,
    /// The items that it names, as often as it does: `item_reference`.
    pub items: Vec<String>,
}

impl References {
    /// Reads the references of a request; none of a body that is no request.
    pub fn of(body: &[u8]) -> Self {
        let has = |word: &str| memchr::memmem::find(body, word.as_bytes()).is_some();
        // Nearly always there are none, which costs two searches.
        if !has("\"previous_response_id\"") && !has("\"item_reference\"") {
            return Self::default();
        }
        let Ok(request) = serde_json::from_slice::<Referring<'_>>(body) else { return Self::default() };
        let previous = request.previous_response_id.map(|Str(id)| id.into_owned());
        let items = list(request.input).into_iter().filter_map(|item| reference(item.get())).collect();
        Self { previous, items }
    }

    /// Returns whether the request says everything itself.
    pub fn is_empty(&self) -> bool {
        self.previous.is_none() && self.items.is_empty()
    }
}

/// What is known of that which a request refers to.
#[derive(Clone, Default)]
pub struct Kept {
    /// Everything that was said up to the answer that is continued, as items; `None` where that is not known.
    pub previous: Option<Vec<Arc<str>>>,
    /// The items that are known, by their ids.
    pub items: HashMap<String, Arc<str>>,
}

impl Kept {
    /// Returns all texts.
    pub(super) fn texts(&self) -> impl Iterator<Item = &str> {
        self.previous.iter().flatten().chain(self.items.values()).map(|text| &**text)
    }

    /// Returns the item that is called `id`.
    pub(super) fn item(&self, id: &str) -> Option<&RawValue> {
        self.items.get(id).and_then(|text| raw(text))
    }
}

/// Says how much there is; not what, which is a conversation.
impl fmt::Debug for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let previous = self.previous.as_ref().map(Vec::len);
        f.debug_struct("Kept").field("previous", &previous).field("items", &self.items.len()).finish()
    }
}

/// An answer, taken apart.
pub struct Answered {
    /// Its id.
    pub id: String,
    /// Its items with their ids.
    pub items: Vec<(String, Arc<str>)>,
}

impl Answered {
    /// Takes an answer apart that is written as one JSON body; `None` where it is not whole.
    pub fn of(body: &[u8]) -> Option<Self> {
        let response: Response<'_> = serde_json::from_slice(body).ok()?;
        Self::put_together(&response.id.0, response.output.iter().map(|item| item.get().as_bytes()))
    }

    pub(super) fn put_together<'a>(id: &str, items: impl Iterator<Item = &'a [u8]>) -> Option<Self> {
        let item = |json: &'a [u8]| {
            let text = std::str::from_utf8(json).ok()?;
            let id = serde_json::from_str::<Named<'_>>(text).ok()?.id?.0.into_owned();
            Some((id, Arc::from(text)))
        };
        Some(Self { id: id.to_owned(), items: items.map(item).collect::<Option<_>>()? })
    }
}

impl fmt::Debug for Answered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answered").field("id", &self.id).field("items", &self.items.len()).finish()
    }
}

/// Returns what a request says itself, as items; those that it names are put in their places. `None` where one is missing.
pub fn input_items(body: &[u8], kept: &Kept) -> Option<Vec<Arc<str>>> {
    let input = serde_json::from_slice::<Referring<'_>>(body).ok()?.input?;
    if input.get().starts_with('"') {
        return Some(vec![Arc::from(format!(r#"{{"role":"user","content":{}}}"#, input.get()))]);
    }
    let item = |item: &RawValue| match reference(item.get()) {
        Some(id) => kept.items.get(&id).map(Arc::clone),
        None => Some(Arc::from(item.get())),
    };
    list(Some(input)).into_iter().map(item).collect()
}

/// Refuses to continue an answer that is not known.
pub(super) fn unknown_answer(id: &str) -> Refusal {
    let message = format!("`previous_response_id`: answer `{}` is not known here: {WAY_OUT}", shown(id));
    Refusal::of("previous_response_id", message)
}

/// Refuses an item that is not known.
pub(super) fn unknown_item(path: &str, id: &str) -> Refusal {
    Refusal::of(format!("{path}.id"), format!("`{path}`: item `{}` is not known here: {WAY_OUT}", shown(id)))
}

/// Returns a kept text as JSON, which it is.
pub(super) fn raw(text: &str) -> Option<&RawValue> {
    serde_json::from_str(text).ok()
}

/// Returns the beginning of a client's id in a form that is safe to show.
fn shown(id: &str) -> String {
    id.chars().map(|char| if char.is_ascii_graphic() { char } else { '?' }).take(ID_CHARS_MAX).collect()
}

fn list(input: Option<&RawValue>) -> Vec<&RawValue> {
    input.and_then(|input| serde_json::from_str(input.get()).ok()).unwrap_or_default()
}

/// Returns the id in an item that is a reference.
fn reference(item: &str) -> Option<String> {
    // Most items are something else, and long.
    let kind = json::top_level_str(item.as_bytes(), b"type");
    if kind.is_some_and(|kind| kind != b"item_reference") {
        return None;
    }
    let named: Named<'_> = serde_json::from_str(item).ok()?;
    let is_one = named.kind.is_some_and(|Str(kind)| kind == "item_reference");
    named.id.filter(|_| is_one).map(|Str(id)| id.into_owned())
}

#[derive(Deserialize)]
struct Referring<'a> {
    #[serde(borrow, default)]
    previous_response_id: Option<Str<'a>>,
    #[serde(borrow, default)]
    input: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Named<'a> {
    #[serde(borrow, rename = "type", default)]
    kind: Option<Str<'a>>,
    #[serde(borrow, default)]
    id: Option<Str<'a>>,
}

#[derive(Deserialize)]
struct Response<'a> {
    #[serde(borrow)]
    id: Str<'a>,
    #[serde(borrow)]
    output: Vec<&'a RawValue>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::canonical::Block;
    use crate::protocol::openai_responses::read_request;

    fn kept(items: &[(&str, &str)]) -> Kept {
        let items = items.iter().map(|(id, text)| ((*id).to_owned(), Arc::from(*text))).collect();
        Kept { previous: None, items }
    }

    #[test]
    fn references_are_read_and_what_only_looks_like_one_is_not() {
        let body = br#"{"input":[{"type":"item_reference","id":"msg_1"},{"id":"x","role":"user","content":"item_reference"},
            {"id":"msg_2","type":"item\u005freference"},{"type":"item_reference","id":"msg_1"}],"previous_response_id":"resp_1"}"#;
        let found = References::of(body);
        assert_eq!(found.previous.as_deref(), Some("resp_1"));
        assert_eq!(found.items, ["msg_1", "msg_1"], "an escape in a type is nobody's habit");
        for none in [
            r#"{"input":"\"item_reference\""}"#,
            r#"{"input":[{"role":"user","content":"x"}],"previous_response_id":null}"#,
            r#"{"x":{"previous_response_id":"resp_1"}}"#,
            r#"{"input":{"type":"item_reference","id":"a"}}"#,
            "",
            "\"item_reference\"",
        ] {
            assert!(References::of(none.as_bytes()).is_empty(), "{none}");
        }
    }

    #[test]
    fn what_is_referred_to_stands_where_it_was_said() {
        let mut kept = kept(&[("msg_2", r#"{"id":"msg_2","type":"message","role":"assistant","content":"two"}"#)]);
        let past = [r#"{"role":"user","content":"zero"}"#, r#"{"id":"msg_1","role":"assistant","content":"one"}"#];
        kept.previous = Some(past.iter().map(|text| Arc::from(*text)).collect());
        let body = br#"{"model":"m","instructions":"I","previous_response_id":"resp_1","input":[
            {"role":"user","content":"a"},{"type":"item_reference","id":"msg_2"},{"role":"user","content":"b"}]}"#;
        let read = read_request(body, &kept).unwrap();
        let said: Vec<&str> = read.conversation.turns.iter().flat_map(|turn| &turn.blocks).map(text).collect();
        assert_eq!(said, ["I", "zero", "one", "a", "two", "b"]);
        assert!(read.dropped.paths().is_empty() && read.asked.is_stored());
        let members = String::from_utf8(read.asked.members).unwrap();
        assert!(members.contains(r#""previous_response_id":"resp_1""#) && members.contains(r#""store":true"#));
    }

    fn text<'a>(block: &'a Block<'_>) -> &'a str {
        if let Block::Text(text) = block { text } else { "" }
    }

    #[test]
    fn what_is_not_known_is_named_with_the_way_out() {
        let circle = kept(&[("msg_1", r#"{"type":"item_reference","id":"msg_1"}"#)]);
        for (body, kept, param, words) in [
            (r#"{"input":"x","previous_response_id":"resp_1"}"#, Kept::default(), "previous_response_id", "`resp_1`"),
            (r#"{"input":[{"type":"item_reference","id":"msg_1"}]}"#, Kept::default(), "input[0].id", "`msg_1`"),
            (r#"{"input":[{"type":"item_reference"}]}"#, Kept::default(), "input[0].id", "``"),
            (r#"{"input":[{"type":"item_reference","id":"msg_1"}]}"#, circle, "input[0]", "input[0]"),
        ] {
            let refusal = read_request(body.as_bytes(), &kept).unwrap_err();
            assert_eq!(refusal.param.as_deref(), Some(param), "{body}");
            assert!(refusal.message.contains(words), "{}", refusal.message);
            assert!(param == "input[0]" || refusal.message.contains("`store: false`"), "{}", refusal.message);
        }
    }

    #[test]
    fn the_input_is_kept_with_the_items_that_it_names() {
        let kept = kept(&[("msg_1", r#"{"id":"msg_1","type":"message"}"#)]);
        let items = |input: &str| {
            let items = input_items(format!(r#"{{"input":{input}}}"#).as_bytes(), &kept)?;
            Some(items.iter().map(ToString::to_string).collect::<Vec<_>>())
        };
        let named = r#"[{"type":"item_reference","id":"msg_1"}, {"role":"user" , "content":1.10}]"#;
        let wanted = [r#"{"id":"msg_1","type":"message"}"#, r#"{"role":"user" , "content":1.10}"#];
        assert_eq!(items(named).unwrap(), wanted);
        assert_eq!(items("\"a \\\" b\"").unwrap(), [r#"{"role":"user","content":"a \" b"}"#]);
        assert_eq!(items(r#"[{"type":"item_reference","id":"msg_2"}]"#), None);
        assert_eq!(input_items(b"{}", &kept), None);
    }

    #[test]
    fn an_answer_is_taken_apart_into_items_with_their_ids() {
        let body =
            br#"{"id":"resp_1","output":[{"id":"rs_1","type":"reasoning"}, {"id":"msg_1","n":1.10}],"usage":{}}"#;
        let answered = Answered::of(body).unwrap();
        assert_eq!(answered.id, "resp_1");
        let items: Vec<_> = answered.items.iter().map(|(id, text)| (id.as_str(), &**text)).collect();
        assert_eq!(items, [("rs_1", r#"{"id":"rs_1","type":"reasoning"}"#), ("msg_1", r#"{"id":"msg_1","n":1.10}"#)]);
        assert!(Answered::of(br#"{"id":"resp_1","output":[{"type":"reasoning"}]}"#).is_none());
        assert!(!format!("{answered:?}").contains("reasoning"));
    }

    #[test]
    fn what_a_client_calls_an_item_cannot_break_a_message() {
        let refusal = unknown_item("input[0]", &format!("a\r\n{}", "x".repeat(1_000)));
        assert!(refusal.message.contains("`a??xxx") && refusal.message.len() < 400, "{}", refusal.message);
        assert_eq!(refusal.param.as_deref(), Some("input[0].id"));
    }
}
