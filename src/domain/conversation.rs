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
        let mut fingerprint = Fingerprint::default();
        fingerprint.add(name);
        fingerprint.conversation(Bond::Firm)
    }
}

/// What tells a conversation from others, as it is read piece by piece.
// Without a key of its own, so that every worker arrives at the same hash, also after a restart.
#[derive(Clone, Debug, Default)]
pub struct Fingerprint(DefaultHasher);

impl Fingerprint {
    /// Adds what comes next.
    pub fn add(&mut self, piece: &[u8]) {
        self.0.write_usize(piece.len());
        self.0.write(piece);
    }

    /// Returns the conversation with all that was added.
    pub fn conversation(&self, bond: Bond) -> Conversation {
        Conversation { key: self.0.finish(), bond }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_one_piece_ends_and_the_next_begins_makes_a_difference() {
        let key = |pieces: &[&str]| {
            let mut fingerprint = Fingerprint::default();
            for piece in pieces {
                fingerprint.add(piece.as_bytes());
            }
            fingerprint.conversation(Bond::Loose).key
        };
        assert_eq!(key(&["ab", "c"]), key(&["ab", "c"]));
        assert_ne!(key(&["ab", "c"]), key(&["a", "bc"]));
        assert_eq!(Conversation::named(b"ab").key, key(&["ab"]));
    }
}
