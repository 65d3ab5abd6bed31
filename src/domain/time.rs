//! Wall time as a value, and the only place that reads a clock.

use std::fmt;
use std::ops::{Add, Sub};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Wall time in milliseconds since the Unix epoch.
///
/// Wall time and not monotonic time, because a laptop's sleep must count against a token's life.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(u64);

impl Timestamp {
    /// Builds a timestamp from milliseconds since the Unix epoch.
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis)
    }

    /// Builds a timestamp from seconds since the Unix epoch, the unit of GitLab's `expires_at`.
    pub const fn from_secs(secs: u64) -> Self {
        Self(secs.saturating_mul(1_000))
    }

    /// Returns milliseconds since the Unix epoch.
    pub const fn as_millis(self) -> u64 {
        self.0
    }

    /// Returns whole seconds since the Unix epoch.
    pub const fn as_secs(self) -> u64 {
        self.0 / 1_000
    }

    /// Returns how long it is from `earlier` to `self`; zero if `earlier` is later.
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }

    /// Returns how long it is from now until `self`; zero if it has passed.
    pub const fn until_from(self, now: Self) -> Duration {
        self.since(now)
    }

    /// Returns the start (00:00 UTC) of the month after this time's; far beyond the year 9000, the time itself.
    #[must_use]
    pub fn next_month(self) -> Self {
        let next = || {
            let time = jiff::Timestamp::from_second(i64::try_from(self.as_secs()).ok()?).ok()?;
            let first = jiff::tz::TimeZone::UTC.to_datetime(time).date().first_of_month();
            let next = first.checked_add(jiff::Span::new().months(1)).ok()?;
            let millis = next.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp().as_millisecond();
            u64::try_from(millis).ok().map(Self)
        };
        next().unwrap_or(self)
    }

    /// Returns the start (00:00 UTC) of a calendar day written `YYYY-MM-DD`, or `None` if it is not one.
    pub fn from_date(date: &str) -> Option<Self> {
        let date: jiff::civil::Date = date.parse().ok()?;
        let millis = date.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp().as_millisecond();
        u64::try_from(millis).ok().map(Self)
    }

    /// Reads a point in time as RFC 3339 writes it, such as `2026-11-22T09:30:00Z`; `None` if it is none or before 1970.
    pub fn from_rfc3339(text: &str) -> Option<Self> {
        Self::of(text.parse().ok()?)
    }

    /// Reads a date as HTTP writes it, such as `Sun, 22 Nov 2026 09:30:00 GMT`, which is one that RFC 2822 allows.
    pub fn from_http_date(text: &str) -> Option<Self> {
        Self::of(jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(text).ok()?)
    }

    fn of(time: jiff::Timestamp) -> Option<Self> {
        u64::try_from(time.as_millisecond()).ok().map(Self)
    }
}

impl fmt::Display for Timestamp {
    /// Writes RFC 3339 in UTC with whole seconds, such as `2026-11-22T09:30:00Z`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let secs = i64::try_from(self.as_secs()).unwrap_or(i64::MAX);
        match jiff::Timestamp::from_second(secs) {
            Ok(time) => write!(f, "{time}"),
            Err(_) => write!(f, "{secs} s after 1970"),
        }
    }
}

impl Add<Duration> for Timestamp {
    type Output = Self;

    fn add(self, rhs: Duration) -> Self {
        Self(self.0.saturating_add(millis(rhs)))
    }
}

impl Sub<Duration> for Timestamp {
    type Output = Self;

    fn sub(self, rhs: Duration) -> Self {
        Self(self.0.saturating_sub(millis(rhs)))
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Where actors read the time. Pure code takes a [`Timestamp`] instead.
pub trait Clock: Send + Sync + fmt::Debug {
    /// Returns the present wall time.
    fn now(&self) -> Timestamp;
}

/// The machine's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the machine's clock")]
    fn now(&self) -> Timestamp {
        let elapsed = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        Timestamp(elapsed.map_or(0, millis))
    }
}

/// A clock that stands still until it is told to move.
#[derive(Clone, Debug)]
pub struct TestClock(Arc<AtomicU64>);

impl TestClock {
    /// Starts at `now`.
    pub fn at(now: Timestamp) -> Self {
        Self(Arc::new(AtomicU64::new(now.0)))
    }

    /// Moves forward by `step`.
    pub fn advance(&self, step: Duration) {
        self.0.fetch_add(millis(step), Ordering::SeqCst);
    }
}

impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        Timestamp(self.0.load(Ordering::SeqCst))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timestamp_reads_as_rfc_3339() {
        assert_eq!(Timestamp::from_secs(1_793_178_000).to_string(), "2026-10-28T09:00:00Z");
    }

    #[test]
    fn a_calendar_day_starts_at_midnight_utc() {
        assert_eq!(Timestamp::from_date("2026-10-28").map(|t| t.to_string()).as_deref(), Some("2026-10-28T00:00:00Z"));
        assert_eq!(Timestamp::from_date("next week"), None);
    }

    #[test]
    fn a_point_in_time_is_read_as_others_write_it() {
        let time = Some(Timestamp::from_secs(1_793_178_000));
        assert_eq!(Timestamp::from_rfc3339("2026-10-28T09:00:00Z"), time);
        assert_eq!(Timestamp::from_rfc3339("2026-10-28T10:00:00+01:00"), time);
        assert_eq!(Timestamp::from_http_date("Wed, 28 Oct 2026 09:00:00 GMT"), time);
        for nonsense in ["", "soon", "2026-10-28", "1960-01-01T00:00:00Z"] {
            assert_eq!(Timestamp::from_rfc3339(nonsense), None, "{nonsense}");
            assert_eq!(Timestamp::from_http_date(nonsense), None, "{nonsense}");
        }
    }

    #[test]
    fn the_next_month_starts_at_midnight_utc_on_its_first_day() {
        let next = |day: &str| Timestamp::from_date(day).map(|time| (time + Duration::from_secs(86_399)).next_month());
        assert_eq!(next("2026-10-31"), Timestamp::from_date("2026-11-01"));
        assert_eq!(next("2026-11-01"), Timestamp::from_date("2026-12-01"));
        assert_eq!(next("2026-12-31"), Timestamp::from_date("2027-01-01"));
        assert_eq!(Timestamp::from_millis(u64::MAX).next_month(), Timestamp::from_millis(u64::MAX));
    }

    #[test]
    fn time_differences_never_go_below_zero() {
        let (early, late) = (Timestamp::from_secs(10), Timestamp::from_secs(12));
        assert_eq!(late.since(early), Duration::from_secs(2));
        assert_eq!(early.since(late), Duration::ZERO);
    }
}
