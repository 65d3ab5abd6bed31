//! The translators: what the three APIs say, and how to say the same in another one.
//!
//! Sans-IO: bytes in, bytes out. No async, no clock, no sockets, and nothing but `crate::domain` is imported, so every
//! translation can be replayed from a file. Everything works incrementally and is bounded by named constants.
//!
//! Same API on both sides: [`passthrough`] replaces the model name and leaves every other byte alone. Different APIs:
//! [`translate`] decodes the client's request into [`canonical`], encodes it for the upstream, and takes the answer the
//! same way back. Deliberately not here: which account serves, HTTP statuses and headers (`http` owns them), heartbeats.

pub mod anthropic_messages;
pub mod canonical;
pub mod error;
mod freeform;
#[cfg(test)]
mod grammar;
mod image;
mod json;
pub mod loss;
pub mod names;
pub mod openai_chat;
pub mod openai_responses;
pub mod passthrough;
pub mod reasoning;
pub mod repair;
mod schema;
pub mod sse;
pub mod tokens;
pub mod translate;
