//! How many tokens a GPT model reads a conversation as.
//!
//! An estimate: text is counted with OpenAI's own published vocabulary, but how a request is laid out between the texts,
//! and what an image or a file comes to, only the provider knows. The vocabulary takes a third of a second and about
//! 45 MB when it is first needed, and a megabyte of text a tenth of a second, so callers count off the worker threads.

use crate::protocol::canonical::{Block, Conversation, DocumentSource, Format, Tool, ToolKind};

/// Around each message: who speaks, where it begins and ends.
/// Source: `OpenAI` cookbook, "How to count tokens with tiktoken".
const MESSAGE_TOKENS: u64 = 4;
/// Around each tool, call or result.
/// Source: `OpenAI` cookbook, the same page, rounded up.
const TOOL_TOKENS: u64 = 12;
/// The beginning of the answer.
const ANSWER_TOKENS: u64 = 3;
/// An image of 1024 x 1024 in high detail.
/// Source: `OpenAI` guide "Images and vision": 85 + 4 x 170.
const IMAGE_TOKENS: u64 = 765;
/// Bytes of a file per token: a page of a PDF has some 40 KB and comes to its text and a picture of it.
const FILE_BYTES_PER_TOKEN: u64 = 24;
/// A file that only the provider can fetch.
const FAR_FILE_TOKENS: u64 = 2_000;
/// Text is counted in pieces, since the time for a run of equal characters grows with its square. A cut adds a token at
/// most.
const PIECE_BYTES_MAX: usize = 4 * 1024;
/// Text beyond this is measured by its length: no model has room for it anyway.
const COUNTED_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// Bytes of English text or code per token, at least.
const BYTES_PER_TOKEN: u64 = 3;

/// Returns the number of input tokens, at least 1.
pub fn count(conversation: &Conversation<'_>) -> u64 {
    let mut counter = Counter { tokens: ANSWER_TOKENS, bytes: 0 };
    for turn in &conversation.turns {
        counter.tokens += MESSAGE_TOKENS;
        turn.blocks.iter().for_each(|block| counter.block(block));
    }
    conversation.tools.iter().for_each(|tool| counter.tool(tool));
    if let Some(Format::Schema { schema, .. }) = &conversation.format {
        counter.text(schema.get());
    }
    counter.tokens
}

struct Counter {
    tokens: u64,
    bytes: u64,
}

impl Counter {
    fn text(&mut self, text: &str) {
        let mut rest = text;
        while !rest.is_empty() {
            let (piece, after) = rest.split_at(rest.floor_char_boundary(PIECE_BYTES_MAX));
            let length = u64::try_from(piece.len()).unwrap_or(u64::MAX);
            self.bytes = self.bytes.saturating_add(length);
            self.tokens += if self.bytes > COUNTED_BYTES_MAX {
                length / BYTES_PER_TOKEN
            } else {
                u64::try_from(tiktoken_rs::o200k_base_singleton().count_ordinary(piece)).unwrap_or(u64::MAX)
            };
            rest = after;
        }
    }

    fn block(&mut self, block: &Block<'_>) {
        match block {
            Block::Text(text) | Block::Refusal(text) => self.text(text),
            Block::Image(_) => self.tokens += IMAGE_TOKENS,
            Block::Document(document) => {
                self.tokens += match &document.source {
                    DocumentSource::Inline { base64, .. } => {
                        u64::try_from(base64.len()).unwrap_or(u64::MAX) / 4 * 3 / FILE_BYTES_PER_TOKEN
                    }
                    DocumentSource::Url(_) => FAR_FILE_TOKENS,
                };
            }
            Block::Reasoning(reasoning) => self.text(&reasoning.text),
            Block::Call(call) => {
                self.tokens += TOOL_TOKENS;
                self.text(&call.name);
                self.text(&call.arguments);
            }
            Block::Result(result) => {
                self.tokens += TOOL_TOKENS;
                result.content.iter().for_each(|block| self.block(block));
            }
        }
    }

    fn tool(&mut self, tool: &Tool<'_>) {
        self.tokens += TOOL_TOKENS;
        self.text(&tool.name);
        self.text(tool.description.as_deref().unwrap_or_default());
        match &tool.kind {
            ToolKind::Function { schema: Some(schema), .. } => self.text(schema.get()),
            ToolKind::Custom { grammar: Some((_, definition)) } => self.text(definition),
            ToolKind::Function { .. } | ToolKind::Custom { .. } | ToolKind::WebSearch(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::canonical::{Role, Turn};

    fn of_text(text: &str) -> u64 {
        let turn = Turn { role: Role::User, blocks: vec![Block::Text(text.into())] };
        count(&Conversation { turns: vec![turn], ..Conversation::default() }) - MESSAGE_TOKENS - ANSWER_TOKENS
    }

    #[test]
    fn text_is_counted_with_the_vocabulary_of_gpt() {
        // As the tokenizer page of OpenAI shows them for GPT-4o and later.
        assert_eq!(of_text("hello world"), 2);
        assert_eq!(of_text("The quick brown fox jumps over the lazy dog."), 10);
        assert_eq!(of_text(""), 0);
    }

    #[test]
    fn a_cut_between_pieces_adds_a_token_at_most_and_never_splits_a_character() {
        let sentence = "Ein schöner Satz über Köln 🦀. ";
        let (one, text) = (of_text(sentence), sentence.repeat(500));
        let pieces = u64::try_from(text.len().div_ceil(PIECE_BYTES_MAX)).unwrap();
        let counted = of_text(&text);
        assert!(counted.abs_diff(one * 500) <= 500 + 2 * pieces, "{counted}");
    }

    #[test]
    fn an_endless_run_of_one_character_is_counted_in_bounded_pieces() {
        for run in ["a", " ", "\n", "\u{0}"] {
            assert!(of_text(&run.repeat(40_000)) > 0);
        }
    }

    #[test]
    fn what_is_no_text_counts_as_well() {
        let empty = count(&Conversation::default());
        let body = br#"{"model":"gpt-5.5","max_tokens":10,"messages":[{"role":"user","content":[{"type":"image","source":
            {"type":"base64","media_type":"image/png","data":"iVBORw0KGgoAAAANSUhEUg=="}}]}],"tools":[{"name":"read_file",
            "description":"Reads a file.","input_schema":{"type":"object","properties":{"path":{"type":"string"}}}}]}"#;
        let decoded = crate::protocol::anthropic_messages::read_request(body).unwrap();
        assert!(count(&decoded.conversation) > empty + IMAGE_TOKENS + TOOL_TOKENS + 10);
    }
}
