//! Ground truth about each account: what really happened to its tokens, for tests that prove a client's promises.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::Duration;

use serde::Serialize;

use crate::domain::time::Timestamp;
use crate::simulator::script::Call;

/// The window of GitLab's limit on direct access.
const WINDOW: Duration = Duration::from_mins(5);

/// What happened to one account, in all of the simulator's life.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Tally {
    /// Authorization codes that became tokens.
    pub codes_exchanged: u64,
    /// Devices that got tokens.
    pub device_logins: u64,
    /// Refreshes that killed a pair and made another, whether or not the client got the answer.
    pub refreshes_committed: u64,
    /// Refreshes that the server itself refused, which changed nothing; what a rule answers does not count.
    pub refreshes_refused: u64,
    /// The most refreshes with one and the same token that were under way at the same time.
    pub refreshes_in_flight_max: u64,
    /// Refreshes with a token that was dead.
    pub dead_refresh_uses: u64,
    /// API calls with an OAuth access token that was revoked, by rotation or otherwise.
    pub dead_access_uses: u64,
    /// API calls with an OAuth access token that was expired.
    pub expired_access_uses: u64,
    /// Grants from `third_party_agents/direct_access`.
    pub mints_committed: u64,
    /// Grants from `code_suggestions/direct_access`.
    pub completion_mints_committed: u64,
    /// The most grants from `third_party_agents/direct_access` within five minutes.
    pub mints_in_300_s_max: u64,
    /// The most calls of either direct access within five minutes, whatever the answer.
    pub mint_requests_in_300_s_max: u64,
    /// Calls that a limit refused.
    pub throttled: u64,
    /// Fingerprints of the refresh tokens that work now.
    pub refresh_tokens_valid: Vec<String>,
    /// Fingerprints of the OAuth access tokens that work now.
    pub access_tokens_valid: Vec<String>,
}

#[derive(Debug, Default)]
struct Book {
    tally: Tally,
    mints: VecDeque<Timestamp>,
    mint_requests: VecDeque<Timestamp>,
}

/// The tallies of all accounts, by position.
#[derive(Debug, Default)]
pub(crate) struct Tallies {
    books: BTreeMap<usize, Book>,
    /// Refreshes under way, by fingerprint of their token.
    refreshing: HashMap<String, u64>,
}

impl Tallies {
    /// Returns an account's tally to add to.
    pub(crate) fn of(&mut self, account: usize) -> &mut Tally {
        &mut self.books.entry(account).or_default().tally
    }

    /// Returns an account's tally without the tokens, which it does not know.
    pub(crate) fn told(&self, account: usize) -> Tally {
        self.books.get(&account).map(|book| book.tally.clone()).unwrap_or_default()
    }

    /// Counts a refresh that begins.
    pub(crate) fn refresh_begins(&mut self, account: Option<usize>, token: &str) {
        let under_way = self.refreshing.entry(token.to_owned()).or_default();
        *under_way += 1;
        let under_way = *under_way;
        if let Some(account) = account {
            let tally = self.of(account);
            tally.refreshes_in_flight_max = tally.refreshes_in_flight_max.max(under_way);
        }
    }

    /// Counts a refresh that ended.
    pub(crate) fn refresh_ends(&mut self, token: &str) {
        if let Some(under_way) = self.refreshing.get_mut(token) {
            *under_way -= 1;
            if *under_way == 0 {
                self.refreshing.remove(token);
            }
        }
    }

    /// Counts a call of direct access.
    pub(crate) fn mint_requested(&mut self, account: usize, now: Timestamp) {
        let book = self.books.entry(account).or_default();
        let within = most(&mut book.mint_requests, now);
        book.tally.mint_requests_in_300_s_max = book.tally.mint_requests_in_300_s_max.max(within);
    }

    /// Counts a grant.
    pub(crate) fn minted(&mut self, account: usize, call: Call, now: Timestamp) {
        let book = self.books.entry(account).or_default();
        if call == Call::CodeSuggestionsDirectAccess {
            book.tally.completion_mints_committed += 1;
            return;
        }
        book.tally.mints_committed += 1;
        let within = most(&mut book.mints, now);
        book.tally.mints_in_300_s_max = book.tally.mints_in_300_s_max.max(within);
    }
}

/// Adds a time and returns how many lie within the window that ends with it.
fn most(times: &mut VecDeque<Timestamp>, now: Timestamp) -> u64 {
    while times.front().is_some_and(|at| *at + WINDOW <= now) {
        times.pop_front();
    }
    times.push_back(now);
    times.len() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_mints_within_five_minutes_are_kept() {
        let mut tallies = Tallies::default();
        for secs in [0, 100, 299, 300, 700] {
            tallies.minted(0, Call::ThirdPartyDirectAccess, Timestamp::from_secs(secs));
        }
        let tally = tallies.told(0);
        assert_eq!((tally.mints_committed, tally.mints_in_300_s_max), (5, 3));
    }

    #[test]
    fn refreshes_of_different_tokens_do_not_overlap() {
        let mut tallies = Tallies::default();
        tallies.refresh_begins(Some(0), "a");
        tallies.refresh_begins(Some(0), "b");
        assert_eq!(tallies.told(0).refreshes_in_flight_max, 1);
        tallies.refresh_ends("a");
        tallies.refresh_begins(Some(0), "a");
        assert_eq!(tallies.told(0).refreshes_in_flight_max, 1);
        tallies.refresh_begins(Some(0), "a");
        assert_eq!(tallies.told(0).refreshes_in_flight_max, 2);
    }
}
