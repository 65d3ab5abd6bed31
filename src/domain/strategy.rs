//! How an account is chosen among those that could serve alike.

use std::fmt;
use std::str::FromStr;

/// The ways to choose within the highest tier.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Strategy {
    /// The fewest requests in flight for its weight, ties by chance.
    #[default]
    Balanced,
    /// In turn, by weight.
    RoundRobin,
    /// One account until it is blocked, then the next.
    FillFirst,
    /// By chance, by weight.
    Random,
}

impl Strategy {
    /// Every one.
    pub const ALL: [Self; 4] = [Self::Balanced, Self::RoundRobin, Self::FillFirst, Self::Random];

    /// Returns its name in the settings.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Balanced => "balanced",
            Self::RoundRobin => "round-robin",
            Self::FillFirst => "fill-first",
            Self::Random => "random",
        }
    }
}

impl fmt::Display for Strategy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A text that names no strategy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("is none of `balanced`, `round-robin`, `fill-first` and `random`")]
pub struct UnknownStrategy;

impl FromStr for Strategy {
    type Err = UnknownStrategy;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|strategy| strategy.as_str() == text).ok_or(UnknownStrategy)
    }
}
