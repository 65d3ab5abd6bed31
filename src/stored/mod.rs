//! The shelf: answers that a client may refer to instead of sending them again, for models whose provider keeps none.
//!
//! Clients of Responses may continue an answer by its id, or name its items by theirs. What that takes is kept here: in
//! memory only, apart for every client key, for an hour after it was last used, and never more than 64 MiB of all clients
//! together; what was not used for the longest time goes first. A piece of text is kept once, however many answers have it
//! in their past, so that a client that sends everything again with each request costs what it adds.
//!
//! Pure but for its lock. It knows texts and ids; what they mean is for `protocol` to say.

mod shelf;

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::domain::conversation::Conversation;
use crate::domain::time::Timestamp;
use shelf::Shelf;

/// How long an answer is kept after it was given, or last used.
pub(crate) const KEPT_FOR: Duration = Duration::from_hours(1);
/// Most that is kept, in bytes, with what the bookkeeping takes.
pub(crate) const BYTES_MAX: usize = 64 * 1024 * 1024;
/// Most that is kept of one answer with its request, in bytes: a larger one would push too many others out.
pub(crate) const ANSWER_BYTES_MAX: usize = 16 * 1024 * 1024;

/// An item, by the id that a client may name it by.
pub(crate) struct Item {
    /// Its id.
    pub(crate) id: String,
    /// The item as JSON.
    pub(crate) text: Arc<str>,
}

/// An answer to be kept.
pub(crate) struct Answer {
    /// Its id.
    pub(crate) id: String,
    /// The answer that it continues.
    pub(crate) previous: Option<String>,
    /// What it answers, apart from that: items as JSON.
    pub(crate) input: Vec<Arc<str>>,
    /// Its own items.
    pub(crate) output: Vec<Item>,
    /// The conversation that it belongs to.
    pub(crate) conversation: Option<Conversation>,
}

/// What a request refers to.
#[derive(Clone, Copy)]
pub(crate) struct Wish<'a> {
    /// The answer that it continues.
    pub(crate) previous: Option<&'a str>,
    /// Items that it names, as often as it does.
    pub(crate) items: &'a [String],
}

/// What there is of it.
#[derive(Default)]
pub(crate) struct Recalled {
    /// Everything that was said up to the answer that is continued, as items; `None` where that is not known.
    pub(crate) previous: Option<Vec<Arc<str>>>,
    /// The items that are known.
    pub(crate) items: HashMap<String, Arc<str>>,
}

/// What is referred to is longer than a request may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TooLong;

/// The answers of all clients.
#[derive(Default)]
pub(crate) struct Stored(Mutex<Shelf>);

impl Stored {
    /// Keeps an answer for `client`; one that is too large is not kept.
    pub(crate) fn keep(&self, client: usize, answer: Answer, now: Timestamp) {
        self.shelf().keep(client, answer, now);
    }

    /// Looks up what a request of `client` refers to; fails where it is more than `bytes_max` in all.
    pub(crate) fn recall(
        &self,
        client: usize,
        wish: Wish<'_>,
        bytes_max: usize,
        now: Timestamp,
    ) -> Result<Recalled, TooLong> {
        self.shelf().recall(client, wish, bytes_max, now)
    }

    /// Returns the conversation that an answer belongs to.
    pub(crate) fn conversation(&self, client: usize, id: &str, now: Timestamp) -> Option<Conversation> {
        self.shelf().conversation(client, id, now)
    }

    /// Forgets what was not used for too long.
    pub(crate) fn expire(&self, now: Timestamp) {
        self.shelf().expire(now);
    }

    fn shelf(&self) -> MutexGuard<'_, Shelf> {
        // Whoever died with the lock left a shelf that at worst lacks an answer.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Stored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (answers, bytes) = self.shelf().size();
        f.debug_struct("Stored").field("answers", &answers).field("bytes", &bytes).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
