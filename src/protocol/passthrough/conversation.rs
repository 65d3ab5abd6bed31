//! Which conversation a body belongs to.
//!
//! Clients name theirs in different members. Where one names none, its first turns tell it from others: they are sent
//! again with every further turn. A few bytes are looked at, and only their hash goes anywhere.

use crate::domain::conversation::{Bond, Conversation, Fingerprint};
use crate::protocol::json::{elements, string, top_level, top_level_str};

/// What is read of one text, in bytes.
const TEXT_BYTES_MAX: usize = 4 * 1024;
/// Turns that are looked at for the first one of the user; before it come instructions and the environment.
const OPENING_TURNS_MAX: usize = 8;
/// Turns after it that are looked at for an answer.
const FURTHER_TURNS_MAX: usize = 4;
/// Pieces of one turn that are read.
const PIECES_MAX: usize = 8;
/// What comes before the session in the `user_id` of Claude Code up to 2.0; newer ones send JSON.
const SESSION_MARK: &str = "_session_";

/// The members that tell conversations apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Signs<T> {
    prompt_cache_key: Option<T>,
    metadata: Option<T>,
    system: Option<T>,
    turns: Option<T>,
}

impl<T> Default for Signs<T> {
    fn default() -> Self {
        Self { prompt_cache_key: None, metadata: None, system: None, turns: None }
    }
}

impl<T> Signs<T> {
    /// Returns the place of the member called `name`, if it is one of them.
    pub(super) fn named(&mut self, name: &str) -> Option<&mut Option<T>> {
        match name {
            "prompt_cache_key" => Some(&mut self.prompt_cache_key),
            "metadata" => Some(&mut self.metadata),
            "system" | "instructions" => Some(&mut self.system),
            "messages" | "input" => Some(&mut self.turns),
            _ => None,
        }
    }

    /// Returns the same with every member changed.
    pub(super) fn map<'a, U>(&'a self, change: impl Fn(&'a T) -> U) -> Signs<U> {
        Signs {
            prompt_cache_key: self.prompt_cache_key.as_ref().map(&change),
            metadata: self.metadata.as_ref().map(&change),
            system: self.system.as_ref().map(&change),
            turns: self.turns.as_ref().map(&change),
        }
    }
}

/// Returns the conversation that a body with these members belongs to; they are valid JSON.
pub(super) fn of(signs: &Signs<&[u8]>) -> Option<Conversation> {
    let cache_key = signs.prompt_cache_key.and_then(string).filter(|key| !key.is_empty());
    let named = cache_key.map(Conversation::named);
    named.or_else(|| session_of(signs.metadata?)).or_else(|| opening(signs.system.unwrap_or_default(), signs.turns?))
}

/// Returns the session in `metadata.user_id`. A user alone is no conversation: one may hold many.
fn session_of(metadata: &[u8]) -> Option<Conversation> {
    let user_id: String = serde_json::from_slice(quoted(top_level(metadata, b"user_id")?)?).ok()?;
    let session = match top_level_str(user_id.as_bytes(), b"session_id") {
        Some(session) => session,
        None => user_id.split_once(SESSION_MARK)?.1.as_bytes(),
    };
    (!session.is_empty()).then(|| Conversation::named(session))
}

/// Returns the string that `value` begins with, in its quotes.
fn quoted(value: &[u8]) -> Option<&[u8]> {
    string(value).map(|text| &value[..text.len() + 2])
}

/// Returns the conversation that begins like this.
fn opening(system: &[u8], turns: &[u8]) -> Option<Conversation> {
    let mut fingerprint = Fingerprint::default();
    fingerprint.add(bounded(system));
    if let Some(text) = string(turns) {
        fingerprint.add(bounded(text));
        return Some(fingerprint.conversation(Bond::Loose));
    }
    let mut all = elements(turns);
    let mut said = 0;
    for turn in all.by_ref().take(OPENING_TURNS_MAX) {
        said += add_texts(turn, &mut fingerprint);
        if role(turn) == Some(b"user") {
            break;
        }
    }
    let under_way = all.take(FURTHER_TURNS_MAX).any(is_answer);
    let bond = if under_way { Bond::Firm } else { Bond::Loose };
    (said > 0).then(|| fingerprint.conversation(bond))
}

fn role(turn: &[u8]) -> Option<&[u8]> {
    top_level_str(turn, b"role")
}

/// Returns whether the model has said this: in Responses, whatever is no message is its, or follows from it.
fn is_answer(turn: &[u8]) -> bool {
    role(turn).map_or_else(|| top_level(turn, b"type").is_some(), |role| role == b"assistant")
}

/// Adds the texts of a turn, and returns how many there are. Nothing else of it: clients move the marks of their prompt
/// cache from turn to turn.
fn add_texts(turn: &[u8], fingerprint: &mut Fingerprint) -> usize {
    let Some(content) = top_level(turn, b"content") else { return 0 };
    let whole = string(content);
    let pieces = elements(content).take(PIECES_MAX).filter_map(|piece| top_level_str(piece, b"text"));
    whole.into_iter().chain(pieces).map(|text| fingerprint.add(bounded(text))).count()
}

fn bounded(text: &[u8]) -> &[u8] {
    text.get(..TEXT_BYTES_MAX).unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::protocol::passthrough::peek;

    fn told(body: &Value) -> Option<Conversation> {
        let mut body = body.clone();
        body["model"] = "m".into();
        let text = serde_json::to_string_pretty(&body).unwrap();
        peek(text.as_bytes()).unwrap().conversation(text.as_bytes())
    }

    #[test]
    fn a_name_comes_before_what_is_said() {
        let turns = json!([{ "role": "user", "content": "Hello!" }]);
        let named = Some(Conversation::named(b"5f0c-11"));
        let user_id = json!({ "device_id": "d", "account_uuid": "", "session_id": "5f0c-11" }).to_string();
        for body in [
            json!({ "messages": turns, "prompt_cache_key": "5f0c-11" }),
            json!({ "messages": turns, "metadata": { "a": [1], "user_id": user_id } }),
            json!({ "messages": turns, "metadata": { "user_id": "user_d_account__session_5f0c-11" } }),
        ] {
            assert_eq!(told(&body), named, "{body}");
        }
        for body in [
            json!({ "messages": turns, "metadata": { "user_id": "somebody" } }),
            json!({ "messages": turns, "metadata": { "user_id": null }, "prompt_cache_key": "" }),
            json!({ "messages": turns, "metadata": null }),
        ] {
            assert_eq!(told(&body), told(&json!({ "messages": turns })), "{body}");
        }
    }

    #[test]
    fn a_conversation_that_goes_on_stays_the_same_and_is_surer() {
        let user = |text: &str, marked: bool| {
            let mut piece = json!({ "type": "text", "text": text });
            if marked {
                piece["cache_control"] = json!({ "type": "ephemeral" });
            }
            json!({ "role": "user", "content": [piece] })
        };
        let answer = json!({ "role": "assistant", "content": [{ "type": "tool_use", "id": "t", "input": {} }] });
        let first = told(&json!({ "system": "Be brief.", "messages": [user("Hello!", true)] })).unwrap();
        let turns = json!([user("Hello!", false), answer, user("And now?", true)]);
        let second = told(&json!({ "system": "Be brief.", "messages": turns })).unwrap();
        assert_eq!((first.key, first.bond, second.bond), (second.key, Bond::Loose, Bond::Firm));
        for other in [
            json!({ "system": "Be long.", "messages": turns }),
            json!({ "system": "Be brief.", "messages": [user("Hi!", false), answer] }),
        ] {
            assert_ne!(told(&other).unwrap().key, first.key, "{other}");
        }
    }

    #[test]
    fn in_every_dialect_the_first_turn_of_the_user_decides() {
        let chat = |user: &str| json!({ "messages": [{ "role": "system", "content": "s" }, { "content": user, "role": "user" }] });
        let items = |user: &str| {
            json!({ "instructions": "s", "input": [{ "type": "message", "role": "developer", "content": "d" },
                { "role": "user", "content": [{ "type": "input_text", "text": user }] }, { "type": "reasoning", "id": "r" }] })
        };
        let text = |user: &str| json!({ "instructions": "s", "input": user });
        for body in [chat, items, text] as [fn(&str) -> Value; 3] {
            let (one, other) = (told(&body("a \"quote\"")).unwrap(), told(&body("b")).unwrap());
            assert_eq!(told(&body("a \"quote\"")), Some(one));
            assert_ne!(one.key, other.key);
        }
        assert_eq!(told(&items("a")).unwrap().bond, Bond::Firm);
        assert_eq!(told(&text("a")).unwrap().bond, Bond::Loose);
    }

    #[test]
    fn what_is_no_conversation_is_none_and_breaks_nothing() {
        for turns in [json!([]), json!(null), json!(7), json!({}), json!([[]]), json!([null, 1])] {
            assert_eq!(told(&json!({ "messages": turns })), None, "{turns}");
        }
        assert_eq!(told(&json!({ "prompt": "Hello!" })), None);
        let deep = format!("{{\"model\":\"m\",\"messages\":{}{}}}", "[".repeat(200_000), "]".repeat(200_000));
        assert_eq!(peek(deep.as_bytes()).unwrap().conversation(deep.as_bytes()), None);
    }
}
