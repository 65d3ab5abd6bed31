//! How one pair of OAuth tokens becomes the next: the steps between deciding to exchange it and using what came of it.
//!
//! Pure; [`super::exchanger`] runs it, out of reach of whatever may happen to the account, its clients or the server.
//!
//! 1. *Note* on disk that the exchange begins. Only then
//! 2. *ask* GitLab, which ends the old pair the moment it answers. Only then
//! 3. *keep* the new pair, until it is on disk, however often that fails. Only then
//! 4. it is *done*, and the account hears of the new pair and uses it.
//!
//! Whatever step a crash cuts off: after 1 the note says that the outcome is unknown; after 2 as well, which is the one
//! loss nobody can prevent; after 3 the new pair is there, and the note went with the old one. A refusal that leaves the
//! pair alone takes its own note back, so that a note that is found means that an answer never came.

use rand::Rng;

use crate::account::api::Block;
use crate::account::blocks::next_block;
use crate::account::credentials::Ended;
use crate::domain::fault::{Fault, Hold, Reason, Scope};
use crate::domain::oauth::OAuthPair;
use crate::domain::time::Timestamp;

/// How far it is.
#[derive(Debug, PartialEq, Eq)]
enum Stage {
    Noting,
    Asking,
    Keeping(OAuthPair),
    Forgetting(Ended),
    Over,
}

/// What the runner heard.
#[derive(Debug)]
pub(crate) enum Heard {
    /// The note is on disk: `new` unless there was one already.
    Noted { new: bool },
    /// The note could not be written.
    NotNoted,
    /// GitLab handed out a pair.
    Issued(OAuthPair),
    /// GitLab did not.
    NotIssued(Ended),
    /// The pair is on disk.
    Kept,
    /// The pair could not be written, which may pass.
    NotKept,
    /// It is time to try again.
    Again,
    /// The note was taken back, or could not be.
    Forgotten,
}

/// What the runner is to do next.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Order {
    /// Write the note.
    Note,
    /// Ask GitLab.
    Ask,
    /// Write the pair in the place of the old one, and the note away.
    Keep(OAuthPair),
    /// Tell the account that the pair is not on disk, and say [`Heard::Again`] when the block ends.
    TryLater(Block),
    /// Take the note back.
    Forget,
    /// The old pair is still the one that counts: tell the account why.
    End(Ended),
    /// The new pair is on disk: tell the account.
    Done(OAuthPair),
}

/// One exchange.
#[derive(Debug)]
pub(crate) struct Attempt {
    stage: Stage,
    /// Whether the note is this attempt's own.
    noted: bool,
    unkept: Option<Block>,
}

impl Attempt {
    /// Begins with [`Order::Note`].
    pub(crate) fn begin() -> (Self, Order) {
        (Self { stage: Stage::Noting, noted: false, unkept: None }, Order::Note)
    }

    /// Takes in what was heard and returns what to do; `None` if it belongs to no step that is under way.
    pub(crate) fn step(&mut self, heard: Heard, now: Timestamp, rng: &mut impl Rng) -> Option<Order> {
        let (stage, order) = match (std::mem::replace(&mut self.stage, Stage::Over), heard) {
            (Stage::Noting, Heard::Noted { new }) => {
                self.noted = new;
                (Stage::Asking, Order::Ask)
            }
            (Stage::Noting, Heard::NotNoted) => (Stage::Over, Order::End(Ended::Refused(unstored()))),
            (Stage::Asking, Heard::Issued(pair)) | (Stage::Keeping(pair), Heard::Again) => {
                (Stage::Keeping(pair.clone()), Order::Keep(pair))
            }
            // An outcome that is not known keeps its note; an older note is of an outcome that never will be.
            (Stage::Asking, Heard::NotIssued(end)) if !self.noted || matches!(end, Ended::Unknown(_)) => {
                (Stage::Over, Order::End(end))
            }
            (Stage::Asking, Heard::NotIssued(end)) => (Stage::Forgetting(end), Order::Forget),
            (Stage::Forgetting(end), Heard::Forgotten) => (Stage::Over, Order::End(end)),
            (Stage::Keeping(pair), Heard::Kept) => (Stage::Over, Order::Done(pair)),
            (Stage::Keeping(pair), Heard::NotKept) => {
                let block = next_block(self.unkept.as_ref(), &unstored(), now, rng);
                self.unkept = Some(block.clone());
                (Stage::Keeping(pair), Order::TryLater(block))
            }
            (stage, _) => {
                self.stage = stage;
                return None;
            }
        };
        self.stage = stage;
        Some(order)
    }
}

/// Returns the fault of a disk that does not take what it must.
pub(super) fn unstored() -> Fault {
    Fault { scope: Scope::Account, reason: Reason::StoreFailed, hold: Hold::Backoff, curable: true }
}

#[cfg(test)]
mod tests;
