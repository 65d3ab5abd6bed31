//! Where the dialects meet: a conversation, an answer, and an answer bit by bit.
//!
//! Each dialect decodes to these values and encodes from them, so a rule lives once. Texts are borrowed from the body they
//! came in, and JSON that belongs to the client or the model (schemas, arguments) stays the text it is, so that no number
//! in it becomes a float. What is not here cannot be carried: audio, files by id, several choices, log probabilities,
//! citations, server-side tools other than web search.
//!
//! Reasoning comes with a [`Proof`], by which its provider knows it again. Client dialects only ever see it sealed: see
//! `reasoning`.

mod answer;
mod fragment;
mod request;

pub use answer::{Answer, AnswerError, Delta, Opening, Piece, StopReason, Usage};
pub use fragment::Fragment;
pub use request::{
    Block, Call, CallKind, CallResult, Conversation, Document, DocumentSource, Effort, Format, Image, Proof, Reasoning,
    Role, Settings, Target, Tool, ToolChoice, ToolKind, Turn, Unmet, WebSearch,
};
