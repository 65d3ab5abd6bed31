//! What a message of Chat Completions makes of an answer: one text, one reasoning, and calls behind them.

use std::borrow::Cow;

use crate::protocol::canonical::StopReason;
use crate::protocol::names;

/// What stands between two texts that were never one.
pub(super) const BREAK: &str = "\n\n";

/// What a function is called with where the model gave nothing.
pub(super) const NO_ARGUMENTS: &str = "{}";

/// Longest id of a call, in characters, that a client can give back. Source: OpenAI's error "string too long … maximum
/// length 64".
const CALL_ID_CHARS_MAX: usize = 64;

/// What neighbouring blocks of text are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Texts {
    /// One text: Claude cuts it where it cites.
    Joined,
    /// Messages of their own, as in Responses.
    Apart,
}

/// What an answer has said so far, and where its next text follows.
#[derive(Debug)]
pub(super) struct Layout {
    texts: Texts,
    /// The block of the last text.
    text: Option<u32>,
    /// The block of the last reasoning.
    reasoning: Option<u32>,
    /// Whether something else came after the last text.
    is_interrupted: bool,
    pub(super) has_refusal: bool,
    pub(super) calls: u32,
}

impl Layout {
    pub(super) const fn new(texts: Texts) -> Self {
        Self { texts, text: None, reasoning: None, is_interrupted: false, has_refusal: false, calls: 0 }
    }

    /// Takes notice of text in a block; returns whether a [`BREAK`] comes before it.
    pub(super) fn text(&mut self, block: u32) -> bool {
        let is_another = self.text.replace(block).is_some_and(|last| last != block);
        let is_interrupted = std::mem::take(&mut self.is_interrupted);
        is_another && (is_interrupted || self.texts == Texts::Apart)
    }

    /// Takes notice of reasoning in a block; returns whether a [`BREAK`] comes before it.
    pub(super) fn reasoning(&mut self, block: u32) -> bool {
        self.is_interrupted = true;
        self.reasoning.replace(block).is_some_and(|last| last != block)
    }

    /// Takes notice of a call; returns its number.
    pub(super) const fn call(&mut self) -> u32 {
        self.is_interrupted = true;
        self.calls += 1;
        self.calls - 1
    }

    /// Returns whether there is neither text nor a call: the content is then empty, and not null.
    pub(super) const fn is_empty(&self) -> bool {
        self.text.is_none() && !self.has_refusal && self.calls == 0
    }

    /// Returns `finish_reason`.
    ///
    /// The limit wins over calls, the last of which is then cut off: no client should run it. A refusal that the model
    /// words itself ends like any other text: the openai SDKs raise `content_filter` as an error and would hide it.
    pub(super) const fn finish_reason(&self, stop: StopReason, legacy_functions: bool) -> &'static str {
        match stop {
            StopReason::MaxTokens => "length",
            StopReason::Refusal if !self.has_refusal => "content_filter",
            _ if self.calls == 0 => "stop",
            _ if legacy_functions => "function_call",
            _ => "tool_calls",
        }
    }
}

/// Returns the id of a completion, made from the upstream's id of the same answer.
pub(super) fn completion_id(upstream: &str) -> String {
    let bare = ["msg_", "resp_"].iter().find_map(|prefix| upstream.strip_prefix(prefix)).unwrap_or(upstream);
    format!("chatcmpl-{bare}")
}

/// Returns the id of a call: the upstream's own, where a client can give it back.
pub(super) fn call_id(upstream: &str) -> Cow<'_, str> {
    if !upstream.is_empty() && upstream.chars().count() <= CALL_ID_CHARS_MAX {
        return Cow::Borrowed(upstream);
    }
    names::id(upstream, CALL_ID_CHARS_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_stop_reason_has_its_finish_reason_and_a_call_needs_to_be_told() {
        for (stop, alone, with_call) in [
            (StopReason::EndTurn, "stop", "tool_calls"),
            (StopReason::StopSequence, "stop", "tool_calls"),
            (StopReason::Pause, "stop", "tool_calls"),
            (StopReason::ToolUse, "stop", "tool_calls"),
            (StopReason::MaxTokens, "length", "length"),
            (StopReason::Refusal, "content_filter", "content_filter"),
        ] {
            let mut layout = Layout::new(Texts::Joined);
            assert_eq!(layout.finish_reason(stop, false), alone, "{stop:?}");
            layout.call();
            assert_eq!(layout.finish_reason(stop, false), with_call, "{stop:?}");
            let legacy = if with_call == "tool_calls" { "function_call" } else { with_call };
            assert_eq!(layout.finish_reason(stop, true), legacy, "{stop:?}");
        }
        let refusing = Layout { has_refusal: true, ..Layout::new(Texts::Apart) };
        assert_eq!(refusing.finish_reason(StopReason::Refusal, false), "stop");
    }

    #[test]
    fn texts_that_were_never_one_are_kept_apart() {
        let mut joined = Layout::new(Texts::Joined);
        assert!(!joined.text(0) && !joined.text(0) && !joined.text(1), "Claude cuts one text");
        joined.call();
        assert!(joined.text(3) && !joined.text(3));
        assert!(!joined.reasoning(4) && !joined.reasoning(4) && joined.reasoning(5));
        assert!(joined.text(6));
        let mut apart = Layout::new(Texts::Apart);
        assert!(!apart.text(0) && !apart.text(0) && apart.text(1));
    }

    #[test]
    fn an_id_is_one_that_a_client_can_give_back() {
        for (upstream, id) in [("msg_1", "chatcmpl-1"), ("resp_1", "chatcmpl-1"), ("x", "chatcmpl-x")] {
            assert_eq!(completion_id(upstream), id);
        }
        assert_eq!(call_id("toolu_1"), "toolu_1");
        assert_eq!(call_id("call:1.a"), "call:1.a");
        let long = "x".repeat(65);
        assert!(
            !call_id("").is_empty() && call_id(&long).len() == 64 && call_id(&long) != call_id(&format!("{long}y"))
        );
    }
}
