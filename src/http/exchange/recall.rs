//! What a request refers to, and what later ones may: see `stored`.

use actix_web::web::Bytes;

use crate::domain::conversation::{Bond, Conversation};
use crate::http::door::Door;
use crate::http::error::ApiError;
use crate::http::exchange::Incoming;
use crate::protocol::openai_responses::{Answered, Kept, References, input_items};
use crate::stored::{Answer, Item, Recalled, Wish};

/// Returns what is known of that which a request refers to.
pub(super) fn recall(door: &Door, incoming: &Incoming) -> Result<Kept, ApiError> {
    let References { previous, items } = &incoming.references;
    if incoming.references.is_empty() {
        return Ok(Kept::default());
    }
    // What it refers to counts as if it had been sent.
    let limit = door.settings().body_bytes_max;
    let wish = Wish { previous: previous.as_deref(), items };
    let recalled = door.parts.stored.recall(incoming.scope.client, wish, limit, door.now());
    let Recalled { previous, items } = recalled.map_err(|_| ApiError::TooLarge { limit })?;
    Ok(Kept { previous, items })
}

/// Returns the conversation of the answer that a request continues: its own text is only the end of it.
pub(super) fn conversation(door: &Door, client: usize, references: &References) -> Option<Conversation> {
    let begun = door.parts.stored.conversation(client, references.previous.as_deref()?, door.now())?;
    // However it was known at its beginning: it is under way now.
    Some(Conversation { bond: Bond::Firm, ..begun })
}

/// What it takes to keep an answer that is on its way.
pub(in crate::http) struct Keep {
    client: usize,
    body: Bytes,
    previous: Option<String>,
    kept: Kept,
    conversation: Option<Conversation>,
}

impl Keep {
    pub(super) fn new(incoming: &Incoming, kept: Kept) -> Self {
        Self {
            client: incoming.scope.client,
            body: incoming.body.clone(),
            previous: incoming.references.previous.clone(),
            kept,
            conversation: incoming.conversation,
        }
    }

    /// Keeps the answer that has come, if it is whole.
    pub(in crate::http) fn answered(self, door: &Door, answered: Option<Answered>) {
        let Some((answered, input)) = answered.zip(input_items(&self.body, &self.kept)) else { return };
        let output = answered.items.into_iter().map(|(id, text)| Item { id, text }).collect();
        let (previous, conversation) = (self.previous, self.conversation);
        let answer = Answer { id: answered.id, previous, input, output, conversation };
        door.parts.stored.keep(self.client, answer, door.now());
    }
}
