//! Calls and their results, brought together.
//!
//! Both vendors refuse a conversation in which a call has no result or a result no call, and Messages also one whose
//! results do not follow their calls at once. Clients send such histories after an interruption, a cut or a bug of their
//! own, and would stay stuck with them. Nothing is invented but a note that a result is missing, and the word to go on.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use crate::protocol::canonical::{Block, CallResult, Conversation, Role, Turn};

/// What is said for a call without a result.
const MISSING: &str = "no result (interrupted)";

/// What is said before a result without a call.
const ORPHAN: &str = "Result of a tool call that is not part of this conversation:";

/// What the user says where the model is to go on after its own last words.
const GO_ON: &str = "Continue.";

/// Repairs a conversation: the results of every turn's calls stand in a user's turn right behind it, in the order of the
/// calls and each once; what stood between moves behind them. A result without a call becomes text; of several results of
/// one call the last counts; two calls of one id get two.
pub fn repair(conversation: &mut Conversation<'_>) {
    let turns = merged(std::mem::take(&mut conversation.turns));
    let mut found = Found::of(&turns);
    let turns: Vec<Turn<'_>> = turns.into_iter().map(|turn| found.take(turn)).collect();
    for turn in turns {
        let calls: Vec<Cow<'_, str>> = turn.blocks.iter().filter_map(call_id).cloned().collect();
        if !turn.blocks.is_empty() {
            conversation.turns.push(turn);
        }
        if !calls.is_empty() {
            let blocks = calls.into_iter().map(|call| Block::Result(found.result(call))).collect();
            conversation.turns.push(Turn { role: Role::User, blocks });
        }
    }
}

/// Makes a conversation end with somebody else than the model, which the newer Claude models insist on. Codex sends what it
/// has of a stream that broke off and expects a new answer, as OpenAI gives one. Reasoning that led to nothing goes: no
/// Claude model takes it at the end. Source: the API's errors "This model does not support assistant message prefill" and
/// "The final block in an assistant message cannot be `thinking`".
///
/// Returns whether the user had to be given words.
pub fn end_with_user(conversation: &mut Conversation<'_>) -> bool {
    let Some(last) = conversation.turns.last_mut().filter(|turn| turn.role == Role::Assistant) else { return false };
    while last.blocks.pop_if(|block| matches!(block, Block::Reasoning(_)) || block.is_blank()).is_some() {}
    if last.blocks.is_empty() {
        conversation.turns.pop();
        return false;
    }
    conversation.turns.push(Turn { role: Role::User, blocks: vec![Block::Text(GO_ON.into())] });
    true
}

/// Puts neighbouring turns of the model into one: the calls of all of them are answered together.
fn merged(turns: Vec<Turn<'_>>) -> Vec<Turn<'_>> {
    let mut merged: Vec<Turn<'_>> = Vec::with_capacity(turns.len());
    for turn in turns.into_iter().filter(|turn| !turn.blocks.is_empty()) {
        match merged.last_mut() {
            Some(last) if last.role == Role::Assistant && turn.role == Role::Assistant => {
                last.blocks.extend(turn.blocks);
            }
            _ => merged.push(turn),
        }
    }
    merged
}

fn call_id<'b, 'a>(block: &'b Block<'a>) -> Option<&'b Cow<'a, str>> {
    match block {
        Block::Call(call) => Some(&call.id),
        _ => None,
    }
}

/// What was found on the way through the turns.
struct Found<'a> {
    /// All ids that are taken.
    ids: HashSet<Cow<'a, str>>,
    /// For the id that a client gave a call: the id that its latest call has.
    latest: HashMap<Cow<'a, str>, Cow<'a, str>>,
    results: HashMap<Cow<'a, str>, CallResult<'a>>,
}

impl<'a> Found<'a> {
    fn of(turns: &[Turn<'a>]) -> Self {
        let ids = turns.iter().flat_map(|turn| &turn.blocks).filter_map(call_id).cloned().collect();
        Self { ids, latest: HashMap::new(), results: HashMap::new() }
    }

    /// Takes the results out of a turn, and gives its calls ids that no other call has.
    fn take(&mut self, turn: Turn<'a>) -> Turn<'a> {
        let mut blocks = Vec::with_capacity(turn.blocks.len());
        for block in turn.blocks {
            match block {
                Block::Call(mut call) => {
                    let given = call.id.clone();
                    if given.is_empty() || self.latest.contains_key(&given) {
                        call.id = self.fresh(&given);
                    }
                    if !given.is_empty() {
                        self.latest.insert(given, call.id.clone());
                    }
                    blocks.push(Block::Call(call));
                }
                Block::Result(result) => {
                    if let Some(call) = self.latest.get(&result.call) {
                        self.results.insert(call.clone(), CallResult { call: call.clone(), ..result });
                    } else {
                        blocks.push(Block::Text(ORPHAN.into()));
                        blocks.extend(result.content);
                    }
                }
                other => blocks.push(other),
            }
        }
        Turn { role: turn.role, blocks }
    }

    /// Returns an id for a second call of one id, or for one without; the same in every request of the conversation.
    fn fresh(&mut self, given: &str) -> Cow<'a, str> {
        let stem = if given.is_empty() { "call" } else { given };
        let mut number = self.latest.len();
        loop {
            number += 1;
            let id: Cow<'a, str> = format!("{stem}_{number}").into();
            if self.ids.insert(id.clone()) {
                return id;
            }
        }
    }

    fn result(&mut self, call: Cow<'a, str>) -> CallResult<'a> {
        let missing = |call| CallResult { call, content: vec![Block::Text(MISSING.into())], is_error: true };
        self.results.remove(&call).unwrap_or_else(|| missing(call))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::canonical::{Call, CallKind, Reasoning};

    fn text(text: &str) -> Block<'_> {
        Block::Text(text.into())
    }

    fn call(id: &str) -> Block<'_> {
        Block::Call(Call {
            id: id.into(),
            namespace: None,
            name: "Bash".into(),
            kind: CallKind::Function,
            arguments: "{}".into(),
        })
    }

    fn result<'a>(id: &'a str, said: &'a str) -> Block<'a> {
        Block::Result(CallResult { call: id.into(), content: vec![text(said)], is_error: false })
    }

    fn user(blocks: Vec<Block<'_>>) -> Turn<'_> {
        Turn { role: Role::User, blocks }
    }

    fn assistant(blocks: Vec<Block<'_>>) -> Turn<'_> {
        Turn { role: Role::Assistant, blocks }
    }

    /// Tells a conversation in one line per turn.
    fn repaired(turns: Vec<Turn<'_>>) -> Vec<String> {
        let mut conversation = Conversation { turns, ..Conversation::default() };
        repair(&mut conversation);
        let told = |block: &Block<'_>| match block {
            Block::Text(text) => format!("'{text}'"),
            Block::Call(call) => format!("call {}", call.id),
            Block::Result(result) => {
                let Some(Block::Text(said)) = result.content.first() else { panic!("no text") };
                format!("{} {}={said}", if result.is_error { "error" } else { "result" }, result.call)
            }
            other => format!("{other:?}"),
        };
        let turn = |turn: &Turn<'_>| {
            let blocks: Vec<String> = turn.blocks.iter().map(told).collect();
            format!("{:?}: {}", turn.role, blocks.join(", "))
        };
        conversation.turns.iter().map(turn).collect()
    }

    #[test]
    fn what_is_in_order_stays() {
        let turns = vec![
            user(vec![text("go")]),
            assistant(vec![text("a"), call("1"), call("2")]),
            user(vec![result("1", "x"), result("2", "y"), text("b")]),
        ];
        assert_eq!(
            repaired(turns),
            ["User: 'go'", "Assistant: 'a', call 1, call 2", "User: result 1=x, result 2=y", "User: 'b'"]
        );
    }

    #[test]
    fn results_come_in_the_order_of_their_calls_and_before_what_stood_between() {
        let system = Turn { role: Role::System, blocks: vec![text("s")] };
        let turns = vec![
            assistant(vec![call("1")]),
            assistant(vec![call("2")]),
            user(vec![text("wait")]),
            system,
            user(vec![result("2", "y")]),
            user(vec![result("1", "x")]),
        ];
        assert_eq!(
            repaired(turns),
            ["Assistant: call 1, call 2", "User: result 1=x, result 2=y", "User: 'wait'", "System: 's'"]
        );
    }

    #[test]
    fn calls_that_were_answered_one_by_one_stay_so() {
        let turns = vec![
            assistant(vec![call("1")]),
            user(vec![result("1", "x")]),
            assistant(vec![call("2")]),
            user(vec![result("2", "y")]),
        ];
        assert_eq!(repaired(turns), ["Assistant: call 1", "User: result 1=x", "Assistant: call 2", "User: result 2=y"]);
    }

    #[test]
    fn an_unanswered_call_is_answered_as_interrupted() {
        let turns = vec![assistant(vec![call("1"), call("2")]), user(vec![result("2", "y"), text("go on")])];
        assert_eq!(
            repaired(turns),
            ["Assistant: call 1, call 2", "User: error 1=no result (interrupted), result 2=y", "User: 'go on'"]
        );
        assert_eq!(
            repaired(vec![assistant(vec![call("1")])]),
            ["Assistant: call 1", "User: error 1=no result (interrupted)"]
        );
    }

    #[test]
    fn an_orphan_result_is_text_and_never_gets_an_invented_call() {
        let orphan = format!("User: '{ORPHAN}', 'x'");
        assert_eq!(repaired(vec![user(vec![result("9", "x")])]), [&*orphan]);
        assert_eq!(
            repaired(vec![user(vec![result("1", "x")]), assistant(vec![call("1")])]),
            [&*orphan, "Assistant: call 1", "User: error 1=no result (interrupted)"]
        );
        assert_eq!(
            repaired(vec![assistant(vec![call("")]), user(vec![result("", "x")])]),
            ["Assistant: call call_1", "User: error call_1=no result (interrupted)", &*orphan]
        );
    }

    #[test]
    fn of_two_results_the_last_counts() {
        let turns = vec![assistant(vec![call("1")]), user(vec![result("1", "x")]), user(vec![result("1", "y")])];
        assert_eq!(repaired(turns), ["Assistant: call 1", "User: result 1=y"]);
    }

    #[test]
    fn an_id_that_a_client_uses_again_is_made_unique_with_its_result() {
        let turns = vec![
            assistant(vec![call("1"), call("1_2")]),
            user(vec![result("1", "x"), result("1_2", "z")]),
            assistant(vec![call("1")]),
            user(vec![result("1", "y")]),
        ];
        assert_eq!(
            repaired(turns),
            [
                "Assistant: call 1, call 1_2",
                "User: result 1=x, result 1_2=z",
                "Assistant: call 1_3",
                "User: result 1_3=y"
            ]
        );
    }

    #[test]
    fn the_model_never_has_the_last_word() {
        let ended = |turns| {
            let mut conversation = Conversation { turns, ..Conversation::default() };
            end_with_user(&mut conversation);
            repaired(conversation.turns)
        };
        let thought = || Block::Reasoning(Reasoning { text: "hm".into(), proof: None });
        let asked = || user(vec![text("go")]);
        assert_eq!(ended(vec![asked(), assistant(vec![thought(), thought()])]), ["User: 'go'"]);
        let said = vec![asked(), assistant(vec![text("well"), thought()])];
        assert_eq!(ended(said), ["User: 'go'", "Assistant: 'well'", "User: 'Continue.'"]);
        assert_eq!(ended(vec![assistant(vec![text("well")]), asked()]), ["Assistant: 'well'", "User: 'go'"]);
        assert!(ended(Vec::new()).is_empty());
    }

    #[test]
    fn empty_turns_are_left_out() {
        assert_eq!(repaired(vec![user(vec![]), user(vec![text("a")]), assistant(vec![])]), ["User: 'a'"]);
    }
}
