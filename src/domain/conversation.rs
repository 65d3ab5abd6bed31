//! What tells one conversation from another, so that its requests can be kept together.

use std::hash::{DefaultHasher, Hasher};

/// A conversation that a request belongs to, known by a hash alone: the text is neither kept nor shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conversation {
    /// The same for all its requests, on every worker.
    pub key: u64,
    /// How surely it is one.
    pub bond: Bond,
}

/// How surely a request belongs to a conversation of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bond {
    /// The client names it, or it is under way.
    Firm,
    /// Known by its opening alone, which others may share: so a thousand first requests of one script look alike.
    Loose,
}

impl Conversation {
    /// Returns the conversation that a client calls `name`.
    pub fn named(name: &[u8]) -> Self {
        Self::of([name], Bond::Firm)
    }

    /// Returns the conversation that is told from others by `parts`, in this order.
    pub fn of<'a>(parts: impl IntoIterator<Item = &'a [u8]>, bond: Bond) -> Self {
        // Without a key of its own, so that every worker arrives at the same hash, also after a restart.
        let mut hasher = DefaultHasher::new();
        for part in parts {
            hasher.write_usize(part.len());
            hasher.write(part);
        }
        Self { key: hasher.finish(), bond }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_one_part_ends_and_the_next_begins_makes_a_difference() {
        let key = |parts: &[&'static str]| Conversation::of(parts.iter().map(|part| part.as_bytes()), Bond::Loose).key;
        assert_eq!(key(&["ab", "c"]), key(&["ab", "c"]));
        assert_ne!(key(&["ab", "c"]), key(&["a", "bc"]));
        assert_eq!(Conversation::named(b"ab").key, key(&["ab"]));
    }
}
