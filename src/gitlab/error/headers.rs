//! When to come back, as the headers of an answer say it.
//!
//! No clock is read: where a header names a point in time, it is compared with the `Date` of the same answer, so a machine
//! whose clock is wrong still waits as long as it was told.

use std::time::Duration;

use crate::domain::time::Timestamp;

/// The time of the answer itself.
const DATE: &str = "date";
/// Above this number of seconds a time is one since 1970, and below it one from now: 1e9 s was in 2001.
const SINCE_1970: Duration = Duration::from_secs(1_000_000_000);

/// Who speaks in a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Voice {
    /// GitLab, or what stands before it.
    GitLab,
    /// The model's provider, or the gateway and its edge.
    Provider,
}

/// How a header writes a time.
#[derive(Clone, Copy)]
enum Form {
    /// Seconds from now, or a date as HTTP writes it.
    SecondsOrDate,
    /// Milliseconds from now.
    Millis,
    /// Seconds since 1970; a small number is one of seconds from now, as the IETF's draft has it.
    Epoch,
    /// A point in time as RFC 3339 writes it.
    Rfc3339,
    /// Numbers with units, such as `6m0s`, `1.5s` or `20ms`.
    Units,
}

/// One header that says when to come back.
struct Known {
    voices: &'static [Voice],
    name: &'static str,
    form: Form,
    /// The header beside it that says how much is left; unless that is nothing, the time says no more than when the
    /// limit is full again.
    remaining: Option<&'static str>,
    /// Of those that are there, the lowest rank decides, and within it the longest time.
    rank: u8,
    #[cfg_attr(not(test), expect(dead_code, reason = "says where a row comes from; a test wants it filled"))]
    source: &'static str,
}

const BOTH: &[Voice] = &[Voice::GitLab, Voice::Provider];
const GITLAB: &[Voice] = &[Voice::GitLab];
const PROVIDER: &[Voice] = &[Voice::Provider];

const fn known(
    voices: &'static [Voice],
    rank: u8,
    (name, form): (&'static str, Form),
    remaining: Option<&'static str>,
    source: &'static str,
) -> Known {
    Known { voices, name, form, remaining, rank, source }
}

#[rustfmt::skip]
const HEADERS: &[Known] = &[
    known(PROVIDER, 0, ("retry-after-ms", Form::Millis), None, "SDKs of OpenAI and Anthropic: read before `retry-after`"),
    known(BOTH, 1, ("retry-after", Form::SecondsOrDate), None, "RFC 9110 section 10.2.3"),
    known(GITLAB, 2, ("ratelimit-reset", Form::Epoch), Some("ratelimit-remaining"), "GitLab: user_and_ip_rate_limits.md"),
    known(PROVIDER, 2, ("anthropic-ratelimit-requests-reset", Form::Rfc3339), Some("anthropic-ratelimit-requests-remaining"), "Anthropic: rate limits, response headers"),
    known(PROVIDER, 2, ("anthropic-ratelimit-tokens-reset", Form::Rfc3339), Some("anthropic-ratelimit-tokens-remaining"), "Anthropic: rate limits, response headers"),
    known(PROVIDER, 2, ("anthropic-ratelimit-input-tokens-reset", Form::Rfc3339), Some("anthropic-ratelimit-input-tokens-remaining"), "Anthropic: rate limits, response headers"),
    known(PROVIDER, 2, ("anthropic-ratelimit-output-tokens-reset", Form::Rfc3339), Some("anthropic-ratelimit-output-tokens-remaining"), "Anthropic: rate limits, response headers"),
    known(PROVIDER, 2, ("x-ratelimit-reset-requests", Form::Units), Some("x-ratelimit-remaining-requests"), "OpenAI: rate limits in headers"),
    known(PROVIDER, 2, ("x-ratelimit-reset-tokens", Form::Units), Some("x-ratelimit-remaining-tokens"), "OpenAI: rate limits in headers"),
];

/// The headers of one answer that say when to come back, as they came.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct WaitHeaders(Vec<(&'static str, String)>);

impl WaitHeaders {
    /// Asks `header` for each that is known.
    pub(crate) fn of<'a>(header: impl Fn(&str) -> Option<&'a str>) -> Self {
        let names = HEADERS.iter().flat_map(|known| [Some(known.name), known.remaining]).flatten().chain([DATE]);
        let value = |name| Some((name, header(name)?.trim().to_owned()));
        Self(names.filter_map(value).collect())
    }

    /// Returns how long `voice` wants to be left alone; `None` where it does not say so in a way that is understood.
    pub(super) fn wait(&self, voice: Voice) -> Option<Duration> {
        let now = self.get(DATE).and_then(Timestamp::from_http_date);
        let told = HEADERS.iter().filter(|known| known.voices.contains(&voice)).filter_map(|known| {
            let used_up = known.remaining.and_then(|name| self.get(name)).is_none_or(|left| left == "0");
            let time = known.form.read(self.get(known.name)?, now).filter(|_| used_up)?;
            Some((known.rank, time))
        });
        told.min_by_key(|(rank, time)| (*rank, std::cmp::Reverse(*time))).map(|(_, time)| time)
    }

    /// Returns when to come back as the server put it, in seconds or as a date.
    pub(crate) fn retry_after(&self) -> Option<&str> {
        self.get("retry-after")
    }

    fn get(&self, wanted: &str) -> Option<&str> {
        self.0.iter().find(|(name, _)| *name == wanted).map(|(_, value)| value.as_str())
    }
}

impl Form {
    /// Returns how long it is from `now`, the answer's own time, until the time that `text` names.
    fn read(self, text: &str, now: Option<Timestamp>) -> Option<Duration> {
        let left = |until: Timestamp| now.map(|now| until.since(now));
        match self {
            Self::SecondsOrDate => seconds(text).or_else(|| left(Timestamp::from_http_date(text)?)),
            Self::Millis => seconds(text).map(|time| time / 1_000),
            Self::Epoch => {
                let time = seconds(text)?;
                if time < SINCE_1970 { Some(time) } else { left(Timestamp::from_secs(time.as_secs())) }
            }
            Self::Rfc3339 => left(Timestamp::from_rfc3339(text)?),
            Self::Units => units(text),
        }
    }
}

fn seconds(text: &str) -> Option<Duration> {
    Duration::try_from_secs_f64(text.parse().ok()?).ok()
}

/// Reads numbers with units, each a part of the whole; stops before what is neither.
pub(super) fn units(text: &str) -> Option<Duration> {
    let (mut rest, mut whole) = (text, None);
    loop {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let (number, after) = rest.split_at(end);
        let letters = after.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(after.len());
        let scale = match &after[..letters] {
            "ms" => 0.001,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3_600.0,
            "d" => 86_400.0,
            _ => return whole,
        };
        let Some(part) = number.parse::<f64>().ok().and_then(|n| Duration::try_from_secs_f64(n * scale).ok()) else {
            return whole;
        };
        whole = Some(whole.unwrap_or_default() + part);
        rest = &after[letters..];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(voice: Voice, pairs: &[(&str, &str)]) -> Option<f64> {
        let header = |wanted: &str| pairs.iter().find(|(name, _)| *name == wanted).map(|(_, value)| *value);
        WaitHeaders::of(header).wait(voice).map(|time| time.as_secs_f64())
    }

    const NOON: (&str, &str) = ("date", "Sun, 22 Nov 2026 12:00:00 GMT");

    #[test]
    fn every_header_names_its_source() {
        assert!(HEADERS.iter().all(|known| !known.source.is_empty()));
    }

    #[test]
    fn each_form_is_read() {
        use Voice::{GitLab, Provider};
        for voice in [GitLab, Provider] {
            assert_eq!(told(voice, &[("retry-after", "7")]), Some(7.0));
            assert_eq!(told(voice, &[("retry-after", " 1.5 ")]), Some(1.5));
            assert_eq!(told(voice, &[("retry-after", "Sun, 22 Nov 2026 12:00:09 GMT"), NOON]), Some(9.0));
            assert_eq!(told(voice, &[("retry-after", "Sun, 22 Nov 2026 11:00:00 GMT"), NOON]), Some(0.0));
        }
        assert_eq!(told(Provider, &[("retry-after-ms", "2500")]), Some(2.5));
        assert_eq!(told(GitLab, &[("ratelimit-reset", "1795348830"), NOON]), Some(30.0));
        assert_eq!(told(GitLab, &[("ratelimit-reset", "30")]), Some(30.0));
        assert_eq!(told(Provider, &[("anthropic-ratelimit-tokens-reset", "2026-11-22T12:00:20Z"), NOON]), Some(20.0));
        for (said, time) in [("1s", 1.0), ("6m0s", 360.0), ("20ms", 0.02), ("1h2m3.5s", 3_723.5), ("1d", 86_400.0)] {
            assert_eq!(told(Provider, &[("x-ratelimit-reset-requests", said)]), Some(time), "{said}");
        }
    }

    #[test]
    fn nonsense_says_nothing() {
        use Voice::{GitLab, Provider};
        for said in ["", "soon", "-1", "NaN", "inf", "1e300", "Sun, 22 Nov", "Sun, 22 Nov 2026 12:00:09 GMT"] {
            assert_eq!(told(Provider, &[("retry-after", said)]), None, "{said}");
        }
        for said in ["", "s", "5", "5y", "..s", "1e9s"] {
            assert_eq!(told(Provider, &[("x-ratelimit-reset-tokens", said)]), None, "{said}");
        }
        // Without the answer's own time a point in time says nothing.
        assert_eq!(told(GitLab, &[("ratelimit-reset", "1795348830")]), None);
        assert_eq!(told(Provider, &[("anthropic-ratelimit-requests-reset", "2026-11-22T12:00:20Z")]), None);
    }

    #[test]
    fn each_voice_has_its_own_headers_and_the_most_exact_one_decides() {
        use Voice::{GitLab, Provider};
        assert_eq!(told(GitLab, &[("retry-after-ms", "2500")]), None);
        assert_eq!(told(Provider, &[("ratelimit-reset", "30")]), None);
        assert_eq!(told(Provider, &[("retry-after", "9"), ("retry-after-ms", "8100")]), Some(8.1));
        assert_eq!(told(Provider, &[("x-ratelimit-reset-tokens", "6m0s"), ("retry-after", "2")]), Some(2.0));
    }

    #[test]
    fn a_limit_that_has_room_left_is_not_what_refused() {
        let reset = |requests, tokens| {
            told(
                Voice::Provider,
                &[
                    ("x-ratelimit-reset-requests", "3s"),
                    ("x-ratelimit-remaining-requests", requests),
                    ("x-ratelimit-reset-tokens", "8s"),
                    ("x-ratelimit-remaining-tokens", tokens),
                ],
            )
        };
        assert_eq!(reset("0", "17"), Some(3.0));
        assert_eq!(reset("17", "0"), Some(8.0));
        assert_eq!(reset("0", "0"), Some(8.0));
        assert_eq!(reset("1", "1"), None);
    }
}
