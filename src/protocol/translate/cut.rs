//! Ends an answer before the client's stop texts, where the upstream knows none.
//!
//! The first of them that is complete ends it, wherever the stream is cut. What the upstream says after it is not told,
//! but is waited for: only its end says what the answer cost.

use std::borrow::Cow;
use std::sync::Arc;

use crate::protocol::canonical::{Answer, Block, Delta, Fragment, Piece, StopReason};

/// Most stop texts that are looked for, and most bytes of all of them: `OpenAI` takes 4 in Chat Completions. Every bit of
/// an answer is compared with all of them.
const STOPS_MAX: usize = 64;
const STOP_BYTES_MAX: usize = 4096;

/// Texts before which an answer ends.
#[derive(Clone, Debug, Default)]
pub struct Stops(Arc<[String]>);

impl Stops {
    /// Takes the stop texts of a request; `None` where they are too many. One without a text never ends anything.
    pub(super) fn of(texts: &[Cow<'_, str>]) -> Option<Self> {
        let bytes: usize = texts.iter().map(|text| text.len()).sum();
        let given = texts.iter().filter(|text| !text.is_empty());
        (texts.len() <= STOPS_MAX && bytes <= STOP_BYTES_MAX).then(|| Self(given.map(ToString::to_string).collect()))
    }

    /// Returns where in `text` the first stop text that is complete begins, and which it is. Of two that end at the same
    /// place it is the longer one.
    fn find(&self, text: &str) -> Option<(usize, &str)> {
        let found = self.0.iter().filter_map(|stop| text.find(&**stop).map(|at| (at, &**stop)));
        found.min_by_key(|(at, stop)| (at + stop.len(), *at))
    }

    /// Returns from where on `text` may be the beginning of a stop text; its length where it is none.
    fn may_begin(&self, text: &str) -> usize {
        let longest = self.0.iter().map(String::len).max().unwrap_or(0);
        let from = text.ceil_char_boundary(text.len().saturating_sub(longest.saturating_sub(1)));
        let mut ends = text[from..].char_indices().map(|(at, _)| from + at);
        ends.find(|at| self.0.iter().any(|stop| stop.starts_with(&text[*at..]))).unwrap_or(text.len())
    }

    /// Ends a whole answer.
    pub(super) fn cut(&self, answer: &mut Answer<'_>) {
        for at in 0..answer.blocks.len() {
            let (Block::Text(text) | Block::Refusal(text)) = &mut answer.blocks[at] else { continue };
            let Some((end, stop)) = self.find(text) else { continue };
            *text = Cow::Owned(text[..end].to_owned());
            answer.blocks.truncate(at + 1);
            answer.stop = StopReason::StopSequence;
            answer.stop_text = Some(Cow::Owned(stop.to_owned()));
            return;
        }
    }
}

/// Ends a stream.
#[derive(Debug, Default)]
pub(super) struct Cutter {
    stops: Stops,
    /// What open blocks have said that may be the beginning of a stop text.
    held: Vec<(u32, String)>,
    /// The number that the next block has.
    next: u32,
    /// The stop text that was met. Blocks from `next` on, and all texts, are not told any more.
    met: Option<String>,
}

impl Cutter {
    pub(super) fn new(stops: Stops) -> Self {
        Self { stops, ..Self::default() }
    }

    /// Takes a delta, and hands what is left of it to `on_delta`.
    pub(super) fn pass(&mut self, delta: &Delta<'_>, on_delta: &mut impl FnMut(&Delta<'_>)) {
        if self.stops.0.is_empty() {
            return on_delta(delta);
        }
        match delta {
            Delta::More { block, piece: Piece::Text(text) } => return self.text(*block, text, on_delta),
            Delta::Opened { block, .. } if self.met.is_none() => self.next = block + 1,
            Delta::Opened { .. } => return,
            Delta::More { block, .. } | Delta::Proved { block, .. } | Delta::Closed { block }
                if *block >= self.next =>
            {
                return;
            }
            Delta::Closed { block } => {
                if let Some(at) = self.held.iter().position(|(held, _)| held == block) {
                    let (_, text) = self.held.swap_remove(at);
                    say(*block, &text, on_delta);
                }
            }
            Delta::Ended { usage, .. } if self.met.is_some() => {
                let stop_text = self.met.as_deref().map(Cow::Borrowed);
                return on_delta(&Delta::Ended { stop: StopReason::StopSequence, stop_text, usage: *usage });
            }
            _ => {}
        }
        on_delta(delta);
    }

    fn text(&mut self, block: u32, text: &Fragment<'_>, on_delta: &mut impl FnMut(&Delta<'_>)) {
        if self.met.is_some() {
            return;
        }
        let before = self.held.iter().position(|(held, _)| *held == block).map(|at| self.held.swap_remove(at).1);
        let is_new = before.is_none();
        let mut said = before.unwrap_or_default();
        text.append_to(&mut said);
        if let Some((end, stop)) = self.stops.find(&said) {
            say(block, &said[..end], on_delta);
            self.met = Some(stop.to_owned());
            self.held.clear();
            return;
        }
        let end = self.stops.may_begin(&said);
        if end == said.len() && is_new {
            return on_delta(&Delta::More { block, piece: Piece::Text(*text) });
        }
        say(block, &said[..end], on_delta);
        if end < said.len() {
            said.drain(..end);
            self.held.push((block, said));
        }
    }
}

fn say(block: u32, text: &str, on_delta: &mut impl FnMut(&Delta<'_>)) {
    if !text.is_empty() {
        on_delta(&Delta::More { block, piece: Piece::Text(text.into()) });
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::protocol::canonical::{Call, CallKind, Opening, Usage};

    fn stops(texts: &[&str]) -> Stops {
        Stops::of(&texts.iter().map(|text| Cow::Borrowed(*text)).collect::<Vec<_>>()).unwrap()
    }

    fn answer(text: &str) -> Answer<'_> {
        let call = Call {
            id: "c".into(),
            namespace: None,
            name: "run".into(),
            kind: CallKind::Function,
            arguments: "{\"a\":\"END\"}".into(),
        };
        let blocks = vec![Block::Call(call.clone()), Block::Text(text.into()), Block::Call(call)];
        let (stop, stop_text) = (StopReason::ToolUse, None);
        Answer { id: "r".into(), model: "m".into(), blocks, stop, stop_text, usage: Usage::default() }
    }

    /// Returns what is left of a whole answer: its text, how many blocks, and the stop text.
    fn cut(texts: &[&str], text: &str) -> (String, usize, Option<String>) {
        let mut answer = answer(text);
        stops(texts).cut(&mut answer);
        assert_eq!(answer.stop == StopReason::StopSequence, answer.stop_text.is_some());
        let Block::Text(text) = &answer.blocks[1] else { panic!("{answer:?}") };
        (text.to_string(), answer.blocks.len(), answer.stop_text.map(Cow::into_owned))
    }

    /// Returns the same of the same answer as a stream whose text comes in these bits.
    fn streamed(texts: &[&str], bits: &[&str]) -> (String, usize, Option<String>) {
        let mut cutter = Cutter::new(stops(texts));
        let (mut said, mut opened, mut closed, mut end) = (String::new(), 0, 0, None);
        let mut take = |delta: Delta<'_>| {
            cutter.pass(&delta, &mut |delta| match delta {
                Delta::Opened { .. } => opened += 1,
                Delta::Closed { .. } => closed += 1,
                Delta::More { piece: Piece::Text(text), .. } => {
                    assert!(!text.is_empty());
                    text.append_to(&mut said);
                }
                Delta::Ended { stop, stop_text, .. } => end = Some((*stop, stop_text.as_deref().map(str::to_owned))),
                _ => {}
            });
        };
        let call = || Opening::Call { id: "c".into(), namespace: None, name: "run".into(), kind: CallKind::Function };
        take(Delta::Opened { block: 0, opening: call() });
        take(Delta::More { block: 0, piece: Piece::Arguments("{\"a\":\"END\"}".into()) });
        take(Delta::Closed { block: 0 });
        take(Delta::Opened { block: 1, opening: Opening::Text });
        for bit in bits {
            take(Delta::More { block: 1, piece: Piece::Text((*bit).into()) });
        }
        take(Delta::Closed { block: 1 });
        take(Delta::Opened { block: 2, opening: call() });
        take(Delta::Closed { block: 2 });
        take(Delta::Ended { stop: StopReason::ToolUse, stop_text: None, usage: Usage::default() });
        let (stop, stop_text) = end.unwrap();
        assert_eq!((stop == StopReason::StopSequence, opened), (stop_text.is_some(), closed));
        assert!(cutter.held.is_empty());
        (said, opened, stop_text)
    }

    #[test]
    fn an_answer_ends_before_the_first_stop_text_that_is_complete() {
        for (texts, text, left, met) in [
            (&["END"][..], "a END b", "a ", Some("END")),
            (&["END"], "a EN", "a EN", None),
            (&["END"], "END", "", Some("END")),
            (&["abcd", "bc"], "xabcd", "xa", Some("bc")),
            (&["bc", "abc"], "xabc", "x", Some("abc")),
            (&["", "\n\n"], "a\nb\n\nc", "a\nb", Some("\n\n")),
            (&["\u{1f980}"], "caf\u{e9} \u{1f980}", "caf\u{e9} ", Some("\u{1f980}")),
            (&[], "END", "END", None),
        ] {
            let wanted = (left.to_owned(), if met.is_some() { 2 } else { 3 }, met.map(str::to_owned));
            assert_eq!(cut(texts, text), wanted, "{text}");
            assert_eq!(streamed(texts, &[text]), wanted, "{text}");
        }
    }

    #[test]
    fn what_may_be_a_stop_text_is_held_back_and_told_where_it_is_none() {
        assert_eq!(streamed(&["END"], &["a E", "N", "D b"]), ("a ".to_owned(), 2, Some("END".to_owned())));
        assert_eq!(streamed(&["END"], &["a E", "N", "T"]), ("a ENT".to_owned(), 3, None));
        assert_eq!(streamed(&["END"], &["a EN"]), ("a EN".to_owned(), 3, None));
        assert_eq!(streamed(&["aab"], &["aa", "ab"]), ("a".to_owned(), 2, Some("aab".to_owned())));
    }

    #[test]
    fn more_stop_texts_than_anybody_needs_are_not_looked_for() {
        let many = vec![Cow::Borrowed("x"); STOPS_MAX + 1];
        assert!(Stops::of(&many).is_none() && Stops::of(&many[1..]).is_some());
        assert!(Stops::of(&[Cow::Owned("x".repeat(STOP_BYTES_MAX + 1))]).is_none());
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn a_stream_ends_where_its_whole_answer_does(
            text in "[ab\u{e9}]{0,24}",
            texts in proptest::collection::vec("[ab\u{e9}]{1,4}", 1..4),
            bits in 1..8_usize,
        ) {
            let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
            let chars: Vec<char> = text.chars().collect();
            let bits: Vec<String> = chars.chunks(bits).map(|bit| bit.iter().collect()).collect();
            let bits: Vec<&str> = bits.iter().map(String::as_str).collect();
            prop_assert_eq!(streamed(&texts, &bits), cut(&texts, &text));
        }
    }
}
