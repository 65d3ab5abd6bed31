//! How often somebody may ask, and what is said to one who asks more often.
//!
//! GitLab counts in fixed windows, which let twice the number pass around a window's edge. Here windows slide, so that
//! a client which keeps within a limit here keeps within it there, and no test depends on where an edge falls.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::domain::time::Timestamp;
use crate::simulator::answer::Answer;

/// What GitLab's edge says to one who asks too often.
pub(crate) const RETRY_LATER: &str = "Retry later\n";
/// Windows that are remembered: far more than loopback addresses or users that tests use.
const WINDOWS_MAX: usize = 4_096;

/// So many calls in so many seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limit {
    /// Calls that pass.
    pub count: u32,
    /// Seconds in which they pass.
    pub window_s: u64,
}

/// The limits in force; unset means none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// All calls to the instance from one address.
    pub per_address: Option<Limit>,
    /// Authenticated API calls of one user.
    pub per_user: Option<Limit>,
    /// Calls of `/oauth/token` from one address.
    pub oauth_token_per_address: Option<Limit>,
    /// `third_party_agents/direct_access` of one user. GitLab's source has no such limit.
    pub third_party_per_user: Option<Limit>,
    /// `code_suggestions/direct_access` of one user. Source: GitLab's documentation, 10 in 5 minutes.
    pub code_suggestions_per_user: Option<Limit>,
    /// Whether a refusal has a `Retry-After`, which GitLab documents and has been seen without.
    pub retry_after: bool,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            per_address: None,
            per_user: None,
            oauth_token_per_address: None,
            third_party_per_user: None,
            code_suggestions_per_user: Some(Limit { count: 10, window_s: 300 }),
            retry_after: false,
        }
    }
}

/// Which limit a call counts against.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    Address,
    User,
    OauthToken,
    ThirdParty,
    CodeSuggestions,
}

impl Kind {
    fn limit(self, limits: &Limits) -> Option<Limit> {
        match self {
            Self::Address => limits.per_address,
            Self::User => limits.per_user,
            Self::OauthToken => limits.oauth_token_per_address,
            Self::ThirdParty => limits.third_party_per_user,
            Self::CodeSuggestions => limits.code_suggestions_per_user,
        }
    }

    fn refusal(self) -> Answer {
        match self {
            Self::Address | Self::User | Self::OauthToken => Answer::whole(429, "text/plain", RETRY_LATER),
            Self::ThirdParty | Self::CodeSuggestions => Answer::json(429, &json!({ "message": { "error": TOO_MANY } })),
        }
    }
}

/// Source: `lib/api/helpers/rate_limiter.rb` of GitLab.
pub(crate) const TOO_MANY: &str = "This endpoint has been requested too many times. Try again later.";

/// Who called when, as far as the limits need it.
#[derive(Debug, Default)]
pub(crate) struct Windows {
    passed: HashMap<(Kind, String), VecDeque<Timestamp>>,
}

impl Windows {
    /// Lets a call of `who` pass and remembers it, or returns GitLab's refusal.
    pub(crate) fn admit(&mut self, limits: &Limits, kind: Kind, who: &str, now: Timestamp) -> Result<(), Answer> {
        let Some(limit) = kind.limit(limits) else { return Ok(()) };
        if self.passed.len() >= WINDOWS_MAX {
            self.passed.clear();
        }
        let window = Duration::from_secs(limit.window_s);
        let passed = self.passed.entry((kind, who.to_owned())).or_default();
        while passed.front().is_some_and(|at| *at + window <= now) {
            passed.pop_front();
        }
        if passed.len() < usize::try_from(limit.count).unwrap_or(usize::MAX) {
            passed.push_back(now);
            return Ok(());
        }
        let free_at = passed.front().map_or(now + window, |at| *at + window);
        let refusal = kind.refusal();
        if !limits.retry_after {
            return Err(refusal);
        }
        Err(refusal.with_header("retry-after", &free_at.until_from(now).as_secs().max(1).to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_slides_and_refused_calls_do_not_count() {
        let limits = Limits { per_user: Some(Limit { count: 2, window_s: 10 }), ..Limits::default() };
        let mut windows = Windows::default();
        let mut passes = |who: &str, secs| windows.admit(&limits, Kind::User, who, Timestamp::from_secs(secs)).is_ok();
        assert_eq!([passes("a", 0), passes("a", 9), passes("a", 9), passes("b", 9)], [true, true, false, true]);
        assert_eq!([passes("a", 10), passes("a", 10), passes("a", 19)], [true, false, true]);
    }

    #[test]
    fn no_limit_lets_everything_pass() {
        let limits = Limits { code_suggestions_per_user: None, ..Limits::default() };
        let mut windows = Windows::default();
        let mut passes = || windows.admit(&limits, Kind::CodeSuggestions, "a", Timestamp::from_secs(1)).is_ok();
        assert!((0..100).all(|_| passes()));
    }
}
