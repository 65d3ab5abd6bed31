//! What arrived: a bounded log of requests, and counts that stay when the log is switched off.

use std::collections::VecDeque;

use actix_web::http::header::HeaderMap;
use actix_web::web::Bytes;
use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::domain::id::hex;
use crate::domain::time::Timestamp;
use crate::simulator::script::Call;

/// Requests that are kept; older ones are forgotten.
const RECORDS_MAX: usize = 1_000;
/// Bytes that are kept of one body.
const BODY_KEPT_MAX: usize = 256 * 1_024;
/// Bytes that are kept of all bodies together.
const BODIES_KEPT_MAX: usize = 64 * 1_024 * 1_024;
/// Headers that carry a secret.
const SECRET_HEADERS: [&str; 4] = ["authorization", "private-token", "x-api-key", "cookie"];

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Ending {
    /// It has not ended yet.
    Open,
    /// The answer was handed to the connection whole.
    Complete,
    /// The client closed the connection before the end of the answer.
    ClosedByClient,
    /// A rule closed the connection.
    ClosedByRule,
}

/// One request.
#[derive(Clone, Debug, Serialize)]
pub struct Record {
    /// Serial number, from 1.
    pub number: u64,
    /// When it arrived.
    pub at: Timestamp,
    /// Whose credential it carried, by username.
    pub account: Option<String>,
    /// Which grant it carried: a serial number over all grants of this simulator.
    pub grant: Option<u64>,
    /// What it called.
    pub call: Call,
    /// HTTP method.
    pub method: String,
    /// Path and query as sent.
    pub target: String,
    /// Headers in the order of the connection's header table; values of secret headers read `***`.
    pub headers: Vec<(String, String)>,
    /// [`fingerprint`] of the bearer or private token.
    pub credential: Option<String>,
    /// The body, up to its first 256 KiB.
    #[serde(serialize_with = "as_text")]
    pub body: Bytes,
    /// Length of the whole body in bytes.
    pub body_bytes: usize,
    /// Status of the answer, once there is one.
    pub status: Option<u16>,
    /// How it ended.
    pub ending: Ending,
}

impl Record {
    /// Returns the value of a header by its name in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// Returns the body as JSON; null where it is none.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }
}

fn as_text<S: serde::Serializer>(body: &Bytes, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&String::from_utf8_lossy(body))
}

/// Returns what stands for a token in the log: the first 16 hexadecimal digits of its SHA-256.
pub fn fingerprint(token: &str) -> String {
    hex(&Sha256::digest(token)[..8])
}

/// Counts over the simulator's life.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Gauges {
    /// Requests that arrived; calls of the control route do not count.
    pub requests: u64,
    /// Requests that have not ended.
    pub open_requests: u64,
    /// Streams whose head was sent and that have not ended.
    pub open_streams: u64,
    /// Requests whose client closed the connection before the end of the answer.
    pub closed_early: u64,
    /// Calls that a limit refused.
    pub throttled: u64,
}

/// A request as it arrives.
pub(crate) struct Arrival<'a> {
    pub(crate) at: Timestamp,
    pub(crate) account: Option<String>,
    pub(crate) grant: Option<u64>,
    pub(crate) call: Call,
    pub(crate) method: &'a str,
    pub(crate) target: &'a str,
    pub(crate) headers: &'a HeaderMap,
    pub(crate) credential: Option<String>,
    pub(crate) body: &'a Bytes,
}

/// The log.
#[derive(Debug)]
pub(crate) struct Journal {
    keep: bool,
    records: VecDeque<Record>,
    bodies_kept: usize,
    next: u64,
}

impl Journal {
    pub(crate) fn new(keep: bool) -> Self {
        Self { keep, records: VecDeque::new(), bodies_kept: 0, next: 1 }
    }

    /// Switches the log on or off; switching it off forgets what was logged.
    pub(crate) fn keep(&mut self, keep: bool) {
        self.keep = keep;
        if !keep {
            self.clear();
        }
    }

    pub(crate) fn is_kept(&self) -> bool {
        self.keep
    }

    pub(crate) fn clear(&mut self) {
        self.records.clear();
        self.bodies_kept = 0;
    }

    pub(crate) fn records(&self) -> impl Iterator<Item = &Record> {
        self.records.iter()
    }

    /// Logs a request and returns its number.
    pub(crate) fn add(&mut self, arrival: Arrival<'_>) -> u64 {
        let number = self.next;
        self.next += 1;
        if !self.keep {
            return number;
        }
        let record = Record {
            number,
            at: arrival.at,
            account: arrival.account,
            grant: arrival.grant,
            call: arrival.call,
            method: arrival.method.to_owned(),
            target: arrival.target.to_owned(),
            headers: masked(arrival.headers),
            credential: arrival.credential,
            body: kept(arrival.body),
            body_bytes: arrival.body.len(),
            status: None,
            ending: Ending::Open,
        };
        self.bodies_kept += record.body.len();
        self.records.push_back(record);
        while self.records.len() > RECORDS_MAX || self.bodies_kept > BODIES_KEPT_MAX {
            let Some(oldest) = self.records.pop_front() else { break };
            self.bodies_kept -= oldest.body.len();
        }
        number
    }

    /// Returns the record of a request that is still kept.
    pub(crate) fn record_mut(&mut self, number: u64) -> Option<&mut Record> {
        let first = self.records.front()?.number;
        let index = usize::try_from(number.checked_sub(first)?).ok()?;
        self.records.get_mut(index)
    }
}

/// Returns the beginning of a body; a longer one is copied, since a slice would keep the whole of it alive.
fn kept(body: &Bytes) -> Bytes {
    if body.len() > BODY_KEPT_MAX { Bytes::copy_from_slice(&body[..BODY_KEPT_MAX]) } else { body.clone() }
}

fn masked(headers: &HeaderMap) -> Vec<(String, String)> {
    let shown = |name: &str, value: &[u8]| {
        if SECRET_HEADERS.contains(&name) { "***".to_owned() } else { String::from_utf8_lossy(value).into_owned() }
    };
    headers.iter().map(|(name, value)| (name.as_str().to_owned(), shown(name.as_str(), value.as_bytes()))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arrive(journal: &mut Journal, body: &Bytes) -> u64 {
        journal.add(Arrival {
            at: Timestamp::from_secs(1),
            account: None,
            grant: None,
            call: Call::User,
            method: "GET",
            target: "/api/v4/user",
            headers: &HeaderMap::new(),
            credential: None,
            body,
        })
    }

    #[test]
    fn the_log_forgets_the_oldest_requests_first() {
        let mut journal = Journal::new(true);
        for _ in 0..RECORDS_MAX + 5 {
            arrive(&mut journal, &Bytes::new());
        }
        assert_eq!(journal.records().count(), RECORDS_MAX);
        assert!(journal.record_mut(5).is_none());
        assert_eq!(journal.record_mut(6).map(|record| record.number), Some(6));
    }

    #[test]
    fn large_bodies_never_add_up_to_more_than_the_bound() {
        let mut journal = Journal::new(true);
        let body = Bytes::from(vec![b'x'; 2 * BODY_KEPT_MAX]);
        for _ in 0..300 {
            arrive(&mut journal, &body);
        }
        let kept: usize = journal.records().map(|record| record.body.len()).sum();
        assert_eq!(kept, BODIES_KEPT_MAX);
        assert!(journal.records().all(|record| record.body_bytes == 2 * BODY_KEPT_MAX));
    }

    #[test]
    fn a_log_that_is_off_still_numbers_requests() {
        let mut journal = Journal::new(false);
        assert_eq!([arrive(&mut journal, &Bytes::new()), arrive(&mut journal, &Bytes::new())], [1, 2]);
        assert_eq!(journal.records().count(), 0);
    }
}
