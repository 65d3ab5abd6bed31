//! The way home of an answer: the client's names for its tools, its own kinds of call, and reasoning it can keep.
//!
//! What is done here is the same for every pair of dialects, so that no reader knows the client's names and no writer
//! ever sees another provider's proofs.

use std::borrow::Cow;

use crate::protocol::canonical::{Answer, Block, Delta, Opening, Piece, Proof, Reasoning};
use crate::protocol::freeform::{self, Unwrapper};
use crate::protocol::names::Names;
use crate::protocol::reasoning::Sealer;
use crate::protocol::translate::cut::Stops;
use crate::protocol::{openai_chat, openai_responses};

/// Longest reasoning of one block that can be sealed, in bytes. A longer one is shown but cannot be sent back.
const REASONING_BYTES_MAX: usize = 4 * 1024 * 1024;

/// What the way back must know of a request.
#[derive(Clone, Debug, Default)]
pub struct WayBack {
    /// The names of its tools.
    pub names: Names,
    /// Seals reasoning for the client; without one it cannot be sent back.
    pub sealer: Option<Sealer>,
    /// The texts before which the answer ends, where the upstream was not asked to end it there.
    pub stops: Stops,
    /// What a chat completion must know of its request.
    pub chat: openai_chat::Asked,
    /// What a Response repeats of its request.
    pub response: openai_responses::Asked,
}

impl WayBack {
    /// Brings a whole answer home.
    pub(super) fn bring(&self, answer: &mut Answer<'_>) {
        answer.blocks.retain_mut(|block| match block {
            Block::Call(call) => {
                if self.names.is_wrapped(&call.name) {
                    call.arguments = freeform::unwrap(&call.arguments).into();
                }
                if let Some(client) = self.names.client(&call.name) {
                    call.kind = client.kind;
                    call.namespace = client.namespace.clone().map(Cow::Owned);
                    call.name = Cow::Owned(client.name.clone());
                }
                true
            }
            Block::Reasoning(Reasoning { text, proof }) => {
                let sealed = proof.as_ref().and_then(|proof| self.seal(text, proof));
                *proof = sealed.map(|seal| Proof::Sealed(seal.into()));
                proof.is_some() || !text.is_empty()
            }
            Block::Text(_) | Block::Refusal(_) | Block::Image(_) | Block::Document(_) | Block::Result(_) => true,
        });
        self.stops.cut(answer);
    }

    fn seal(&self, text: &str, proof: &Proof<'_>) -> Option<String> {
        self.sealer.as_ref().filter(|_| text.len() <= REASONING_BYTES_MAX)?.seal(text, proof)
    }
}

/// Brings a stream home, delta by delta.
#[derive(Debug, Default)]
pub(super) struct Home {
    way_back: WayBack,
    /// The open blocks that need something.
    open: Vec<(u32, Open)>,
}

#[derive(Debug)]
enum Open {
    /// A call whose text is taken out of its JSON.
    Wrapped(Unwrapper),
    /// The reasoning so far.
    Reasoning(String),
}

impl Home {
    pub(super) fn new(way_back: WayBack) -> Self {
        Self { way_back, open: Vec::new() }
    }

    /// Takes a delta of the reader; hands what the writer gets in its place to `on_delta`.
    pub(super) fn pass(&mut self, delta: Delta<'_>, on_delta: &mut impl FnMut(&Delta<'_>)) {
        match delta {
            Delta::Opened { block, mut opening } => {
                match &opening {
                    Opening::Call { name, .. } if self.way_back.names.is_wrapped(name) => {
                        self.open.push((block, Open::Wrapped(Unwrapper::default())));
                    }
                    Opening::Reasoning if self.way_back.sealer.is_some() => {
                        self.open.push((block, Open::Reasoning(String::new())));
                    }
                    Opening::Call { .. } | Opening::Reasoning | Opening::Text | Opening::Refusal => {}
                }
                self.way_back.names.restore(&mut opening);
                on_delta(&Delta::Opened { block, opening });
            }
            Delta::More { block, piece } => self.more(block, piece, on_delta),
            Delta::Proved { block, proof } => {
                let text = self.open.iter().find_map(|(open, state)| match state {
                    Open::Reasoning(text) if *open == block => Some(text.as_str()),
                    Open::Reasoning(_) | Open::Wrapped(_) => None,
                });
                if let Some(seal) = text.and_then(|text| self.way_back.seal(text, &proof)) {
                    on_delta(&Delta::Proved { block, proof: Proof::Sealed(seal.into()) });
                }
            }
            Delta::Closed { block } => {
                if let Some(at) = self.open.iter().position(|(open, _)| *open == block)
                    && let (_, Open::Wrapped(mut unwrapper)) = self.open.swap_remove(at)
                {
                    let mut rest = String::new();
                    unwrapper.finish(&mut rest);
                    say(block, &rest, on_delta);
                }
                on_delta(&delta);
            }
            Delta::Started { .. } | Delta::Untold | Delta::Ended { .. } | Delta::Failed(_) => on_delta(&delta),
        }
    }

    fn more(&mut self, block: u32, piece: Piece<'_>, on_delta: &mut impl FnMut(&Delta<'_>)) {
        let state = self.open.iter_mut().find(|(open, _)| *open == block).map(|(_, state)| state);
        match (state, &piece) {
            (Some(Open::Wrapped(unwrapper)), Piece::Arguments(json)) => {
                let mut text = String::new();
                unwrapper.feed(&json.text(), &mut text);
                return say(block, &text, on_delta);
            }
            // One byte more than can be sealed is enough to know it.
            (Some(Open::Reasoning(so_far)), Piece::Reasoning(text)) if so_far.len() <= REASONING_BYTES_MAX => {
                text.append_to(so_far);
            }
            _ => {}
        }
        on_delta(&Delta::More { block, piece });
    }
}

fn say(block: u32, text: &str, on_delta: &mut impl FnMut(&Delta<'_>)) {
    if !text.is_empty() {
        on_delta(&Delta::More { block, piece: Piece::Arguments(text.into()) });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::canonical::{Call, CallKind, Conversation, StopReason, Tool, ToolKind, Usage};
    use crate::protocol::names::NameRules;

    const RULES: NameRules = NameRules { chars_max: 64, reserved: &[], has_custom: false };

    /// The way back of a request with a freeform tool in a namespace.
    fn way_back() -> WayBack {
        let tool = Tool {
            namespace: Some("functions".into()),
            name: "exec".into(),
            description: None,
            kind: ToolKind::Custom { grammar: None },
        };
        let names = Names::of(&Conversation { tools: vec![tool], ..Conversation::default() }, &RULES);
        WayBack { names, sealer: Some(Sealer::new(&[7; 32], "a")), ..WayBack::default() }
    }

    fn passed(deltas: Vec<Delta<'_>>) -> Vec<String> {
        let (mut home, mut told) = (Home::new(way_back()), Vec::new());
        for delta in deltas {
            home.pass(delta, &mut |delta| told.push(format!("{delta:?}")));
        }
        assert!(home.open.is_empty(), "nothing is kept of a block that is closed");
        told
    }

    fn exec<'a>() -> Opening<'a> {
        Opening::Call { id: "c".into(), namespace: None, name: "functions__exec".into(), kind: CallKind::Function }
    }

    fn arguments(text: &str) -> Delta<'_> {
        Delta::More { block: 0, piece: Piece::Arguments(text.into()) }
    }

    #[test]
    fn a_freeform_call_comes_home_as_the_clients_own_while_it_comes() {
        let told = passed(vec![
            Delta::Opened { block: 0, opening: exec() },
            arguments("{\"input\":\"let a = \\"),
            arguments("\"b\\\";"),
            arguments("\"}"),
            Delta::Closed { block: 0 },
        ]);
        insta::assert_snapshot!(told.join("\n"), @r#"
        Opened { block: 0, opening: Call { id: "c", namespace: Some("functions"), name: "exec", kind: Custom } }
        More { block: 0, piece: Arguments("let a = ") }
        More { block: 0, piece: Arguments("\"b\";") }
        Closed { block: 0 }
        "#);
    }

    #[test]
    fn reasoning_is_sealed_with_all_its_text_and_only_where_it_can_be() {
        let proof = Proof::Signature("Eq".into());
        let told = passed(vec![
            Delta::Opened { block: 0, opening: Opening::Reasoning },
            Delta::More { block: 0, piece: Piece::Reasoning("I ".into()) },
            Delta::More { block: 0, piece: Piece::Reasoning("think".into()) },
            Delta::Proved { block: 0, proof: proof.clone() },
            Delta::Closed { block: 0 },
        ]);
        let seal = way_back().seal("I think", &proof).unwrap();
        assert_eq!(told[3], format!("Proved {{ block: 0, proof: Sealed({seal:?}) }}"));
        let mut home = Home::default();
        let mut told = 0;
        home.pass(Delta::Proved { block: 0, proof }, &mut |_| told += 1);
        assert_eq!(told, 0);
    }

    #[test]
    fn a_whole_answer_comes_home_like_its_stream() {
        let call = Call {
            id: "c".into(),
            namespace: None,
            name: "functions__exec".into(),
            kind: CallKind::Function,
            arguments: r#"{"input":"let a = \"b\";"}"#.into(),
        };
        let reasoning = |text: &'static str, proof| Block::Reasoning(Reasoning { text: text.into(), proof });
        let blocks = vec![reasoning("t", Some(Proof::Redacted("x".into()))), reasoning("", None), Block::Call(call)];
        let mut answer = Answer {
            id: "m".into(),
            model: "x".into(),
            blocks,
            stop: StopReason::ToolUse,
            stop_text: None,
            usage: Usage::default(),
        };
        way_back().bring(&mut answer);
        let [Block::Reasoning(Reasoning { proof: Some(Proof::Sealed(_)), .. }), Block::Call(call)] = &answer.blocks[..]
        else {
            panic!("{answer:?}")
        };
        assert_eq!((call.namespace.as_deref(), &*call.name, call.kind), (Some("functions"), "exec", CallKind::Custom));
        assert_eq!(call.arguments, "let a = \"b\";");
    }
}
