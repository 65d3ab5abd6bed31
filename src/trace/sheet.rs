//! What a look at the table found about each account.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::domain::fault::{Reason, Scope};
use crate::domain::id::AccountId;
use crate::domain::time::Timestamp;

/// Accounts that are kept one by one, of each look; of the others it is kept how many met what.
const PLACES: usize = 64;
/// Places that accounts may take which the request may not use at all: they shall not crowd out the others.
const FOREIGN_PLACES: usize = 32;

/// What was found about an account: that it could serve, or the first thing that stood in the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It could serve.
    Fit,
    /// It could serve, and the request would find out whether it is well again.
    Probe,
    /// It is in none of the pools that the key may use.
    OtherPool,
    /// An operator switched it off.
    Disabled,
    /// Its gateway supports neither the model nor one that may stand in for it.
    NoModel,
    /// The model does not speak a dialect that the client's can be brought into.
    OtherDialect,
    /// The request tried it and failed.
    Tried,
    /// It is blocked, or something that it depends on is.
    Blocked {
        /// What is: the model on this account, the account as a whole, or something that others share.
        scope: Scope,
        /// Why.
        reason: Reason,
        /// Until when.
        until: Timestamp,
    },
    /// It has no credential for the gateway.
    NoGrant {
        /// Why.
        reason: Reason,
        /// When it is tried again.
        until: Timestamp,
    },
    /// It has as many requests in flight as it may.
    Full,
    /// Another request is finding out whether it is well again.
    Probing,
    /// Whoever asks left it out.
    LeftOut,
}

/// A verdict without its particulars, as a word that programs may rely on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Word {
    /// It could serve.
    Fit,
    /// It could serve, and the request would find out whether it is well again.
    Probe,
    /// It is in none of the pools that the key may use.
    OtherPool,
    /// An operator switched it off.
    Disabled,
    /// Its gateway supports neither the model nor one that may stand in for it.
    NoModel,
    /// The model does not speak a dialect that the client's can be brought into.
    OtherDialect,
    /// The request tried it and failed.
    Tried,
    /// It is blocked, or something that it depends on is.
    Blocked,
    /// It has no credential for the gateway.
    NoGrant,
    /// It has as many requests in flight as it may.
    Full,
    /// Another request is finding out whether it is well again.
    Probing,
    /// Whoever asked left it out.
    LeftOut,
}

impl Word {
    /// Every one, in the order of their numbers.
    const ALL: [Self; 12] = [
        Self::Fit,
        Self::Probe,
        Self::OtherPool,
        Self::Disabled,
        Self::NoModel,
        Self::OtherDialect,
        Self::Tried,
        Self::Blocked,
        Self::NoGrant,
        Self::Full,
        Self::Probing,
        Self::LeftOut,
    ];

    /// Returns what it says of an account, for people.
    pub(crate) const fn text(self) -> &'static str {
        match self {
            Self::Fit => "could serve",
            Self::Probe => "could serve as a trial",
            Self::OtherPool => "in other pools",
            Self::Disabled => "switched off",
            Self::NoModel => "without the model",
            Self::OtherDialect => "in another dialect",
            Self::Tried => "tried before",
            Self::Blocked => "blocked",
            Self::NoGrant => "without a credential",
            Self::Full => "full",
            Self::Probing => "on trial",
            Self::LeftOut => "left out",
        }
    }

    /// Returns whether the account could serve.
    pub(crate) const fn is_fit(self) -> bool {
        matches!(self, Self::Fit | Self::Probe)
    }

    /// Returns whether the account is not there at all, as far as the request goes.
    pub(crate) const fn is_foreign(self) -> bool {
        matches!(self, Self::OtherPool | Self::Disabled | Self::LeftOut)
    }
}

impl Verdict {
    /// Returns its word.
    pub(crate) const fn word(self) -> Word {
        match self {
            Self::Fit => Word::Fit,
            Self::Probe => Word::Probe,
            Self::OtherPool => Word::OtherPool,
            Self::Disabled => Word::Disabled,
            Self::NoModel => Word::NoModel,
            Self::OtherDialect => Word::OtherDialect,
            Self::Tried => Word::Tried,
            Self::Blocked { .. } => Word::Blocked,
            Self::NoGrant { .. } => Word::NoGrant,
            Self::Full => Word::Full,
            Self::Probing => Word::Probing,
            Self::LeftOut => Word::LeftOut,
        }
    }
}

/// An account as it was looked at.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    /// Which one.
    pub(crate) account: AccountId,
    /// What was found.
    pub(crate) verdict: Verdict,
    /// Its tier.
    pub(crate) priority: i32,
    /// Its share in the tier.
    pub(crate) weight: u32,
    /// Requests in flight.
    pub(crate) in_flight: u32,
    /// Most of these.
    pub(crate) max_concurrency: u32,
    /// Whether it may be out of credit as another account is that draws on the same, and so comes last.
    pub(crate) hinted: bool,
}

/// How many accounts met what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally([u32; Word::ALL.len()]);

impl Tally {
    fn count(&mut self, word: Word) {
        self.0[word as usize] += 1;
    }

    /// Returns what was met by anybody, and by how many.
    pub(crate) fn counts(&self) -> impl Iterator<Item = (Word, u32)> {
        Word::ALL.into_iter().zip(self.0).filter(|(_, count)| *count > 0)
    }
}

/// What a look at the table found.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sheet {
    places: usize,
    foreign_places: usize,
    pub(super) seen: Vec<Seen>,
    /// Those that have no place.
    pub(super) others: Tally,
}

impl Sheet {
    /// Makes an empty sheet for a look at so many accounts, bounded in size.
    pub(crate) fn bounded(accounts: usize) -> Self {
        let places = accounts.min(PLACES);
        Self { places, foreign_places: FOREIGN_PLACES, seen: Vec::with_capacity(places), others: Tally::default() }
    }

    /// Makes an empty sheet with a place for each of so many accounts.
    pub(crate) fn whole(accounts: usize) -> Self {
        let (places, seen) = (accounts, Vec::with_capacity(accounts));
        Self { places, foreign_places: accounts, seen, others: Tally::default() }
    }

    /// Forgets what was noted, for another look.
    pub(crate) fn clear(&mut self) {
        self.seen.clear();
        self.others = Tally::default();
    }

    /// Notes an account; `seen` is asked for its particulars only where there is room for them.
    pub(crate) fn note(&mut self, verdict: Verdict, seen: impl FnOnce() -> Seen) {
        let word = verdict.word();
        let places = if word.is_foreign() { self.places.min(self.foreign_places) } else { self.places };
        if self.seen.len() < places {
            self.seen.push(seen());
        } else {
            self.others.count(word);
        }
    }

    /// Returns the accounts that have a place, in the order of the table.
    pub(crate) fn seen(&self) -> &[Seen] {
        &self.seen
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::trace) fn seen(name: &str, verdict: Verdict) -> Seen {
        Seen {
            account: AccountId::from_text(name),
            verdict,
            priority: 0,
            weight: 1,
            in_flight: 0,
            max_concurrency: 16,
            hinted: false,
        }
    }

    #[test]
    fn words_are_counted_where_they_belong() {
        for (number, word) in Word::ALL.into_iter().enumerate() {
            assert_eq!(word as usize, number);
        }
    }

    #[test]
    fn a_sheet_is_bounded_and_counts_whom_it_has_no_place_for() {
        let mut sheet = Sheet::bounded(1_000);
        for number in 0..1_000 {
            let verdict = if number % 2 == 0 { Verdict::OtherPool } else { Verdict::Full };
            sheet.note(verdict, || seen(&number.to_string(), verdict));
        }
        assert_eq!((sheet.seen.len(), sheet.seen.capacity()), (PLACES, PLACES));
        let foreign = sheet.seen.iter().filter(|seen| seen.verdict == Verdict::OtherPool).count();
        assert_eq!(foreign, FOREIGN_PLACES / 2, "the first half of the places went to both");
        let others: Vec<_> = sheet.others.counts().collect();
        assert_eq!(others, [(Word::OtherPool, 484), (Word::Full, 452)]);
        sheet.clear();
        assert!(sheet.seen.is_empty() && sheet.others == Tally::default());
    }

    #[test]
    fn a_whole_sheet_has_a_place_for_everybody() {
        let mut sheet = Sheet::whole(1_000);
        (0..1_000).for_each(|number| sheet.note(Verdict::OtherPool, || seen(&number.to_string(), Verdict::OtherPool)));
        assert_eq!((sheet.seen.len(), sheet.others), (1_000, Tally::default()));
    }
}
