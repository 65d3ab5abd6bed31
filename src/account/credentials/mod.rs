//! An account's login over time: when its pair of OAuth tokens is exchanged for the next one, when it may be used, and
//! when only a person can help.
//!
//! Pure, and a part of [`super::state`], which runs it; [`super::exchange`] says how one exchange goes. What holds here:
//!
//! - **When.** A pair is exchanged ten to twenty minutes before its access token ends, whether or not anybody uses the
//!   account: so a refresh token is proven alive every two hours, there is time for some failures, and a mint seldom
//!   waits. Where nothing ticks, a call that finds the access token at its end has it exchanged first. Never sooner: an
//!   exchange ends the old access token at once.
//! - **One at a time**, and one more for the same pair only after `invalid_grant`, an unknown outcome or a refusal that
//!   left the pair alone.
//! - **`invalid_grant` proves nothing at once**: GitLab's replicas lag, and the same token works minutes later
//!   (gitlab#599181). It is asked again for three quarters of an hour before the account *needs login*; and a few times a
//!   day after that, since a wrong verdict must not last.
//! - **A 401 proves nothing on a new token** (gitlab!257390): while it is young the call is repeated with the same one,
//!   never answered by another exchange. A token that replaced a refused one stays young for longer, so that an answer
//!   of 401 to everything costs four exchanges an hour and not one per call.
//! - **An exchange whose answer never came** leaves a doubt, also over a restart: the pair is tried once more, and if it is
//!   refused to the end, that is the reason that is shown.
//! - **Personal access tokens** are used as they are. Their end is told two weeks ahead; they are never rotated, because a
//!   rotation that fails half-way revokes the whole family (gitlab#524639).
//!
//! Not here: what a grant that is still good does meanwhile. It serves.

use std::time::Duration;

use rand::{Rng, RngExt};
use serde::{Deserialize, Serialize};

use crate::account::api::Block;
use crate::account::blocks::next_block;
use crate::domain::fault::{Fault, Reason};
use crate::domain::id::Generation;
use crate::domain::time::Timestamp;
use crate::store::Credential;

/// A pair is exchanged between one and two of these before its access token ends.
/// Source: access tokens live 7,200 s (`config/initializers/doorkeeper.rb` of GitLab).
const EARLY: Duration = Duration::from_mins(10);
/// Of a short life, at most this share is given up to it.
const EARLY_SHARE: u32 = 4;
/// A call is not begun with an access token that ends within this time, or within a quarter of its life.
const CALL_ROOM: Duration = Duration::from_mins(1);
/// For so long a 401 may mean that GitLab's replicas have not heard of the token.
const YOUNG: Duration = Duration::from_mins(2);
/// The same for a token that replaced one that was refused.
const YOUNG_AFTER_REFUSAL: Duration = Duration::from_mins(15);
/// Waits after each `invalid_grant` in a row. Source: lag of minutes is reported in gitlab#599181.
const LAG_WAITS: [Duration; 6] = [
    Duration::from_secs(5),
    Duration::from_secs(20),
    Duration::from_mins(1),
    Duration::from_mins(4),
    Duration::from_mins(10),
    Duration::from_mins(30),
];
/// Each of them is drawn out by up to this factor, so that accounts that failed together do not try together.
const LAG_JITTER: f64 = 1.2;
/// Waits that a leap of time may cut short without counting. A machine whose clock leaps more often has no better one.
const LEAPS_FORGIVEN: usize = 2;
/// How often a pair is tried whose account needs a login.
const PROBE_EVERY: Duration = Duration::from_hours(6);
/// So long ahead people are told of a login that ends.
const WARN_AHEAD: Duration = Duration::from_hours(14 * 24);
const DAY: Duration = Duration::from_hours(24);

/// Whether calls can be made with the login.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// Yes.
    Ready,
    /// After an exchange, which may be begun.
    Renew,
    /// An exchange is under way.
    Busy,
    /// No.
    Closed(Block),
}

/// How an exchange ended, for the account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// What is stored is newer than the pair that was to be exchanged: its next pair, or that of a new login.
    Stored(Terms),
    /// GitLab does not take the refresh token.
    InvalidGrant,
    /// Nothing was exchanged, for a reason that leaves the pair alone.
    Refused(Fault),
    /// Nobody knows whether GitLab exchanged the pair.
    Unknown(Fault),
}

/// What is to be known of a login that can be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Terms {
    /// Serial number of the credential.
    pub(crate) generation: Generation,
    login: Login,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Login {
    /// A personal access token, and when it ends.
    Token(Option<Timestamp>),
    /// A pair: received, good until, and whether it can be exchanged.
    Pair { obtained_at: Timestamp, expires_at: Timestamp, refreshable: bool },
}

impl Terms {
    /// Reads them from a stored credential.
    pub(crate) fn of(credential: &Credential, generation: Generation) -> Self {
        let login = match credential {
            Credential::PersonalAccessToken { expires_on, .. } => {
                Login::Token(expires_on.as_deref().and_then(Timestamp::from_date))
            }
            Credential::OAuth { pair, .. } => Login::Pair {
                obtained_at: pair.obtained_at,
                expires_at: pair.expires_at,
                refreshable: pair.refresh_token.is_some(),
            },
        };
        Self { generation, login }
    }
}

/// What must outlive a restart, beside the credential itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Remembered {
    generation: Generation,
    trouble: Option<Block>,
    lag: usize,
    needs_login: bool,
}

/// The state of an account's login.
#[derive(Debug)]
pub(crate) struct Credentials {
    generation: Generation,
    kind: Kind,
    warned_at: Option<Timestamp>,
}

#[derive(Debug)]
enum Kind {
    Token(Option<Timestamp>),
    Pair(Pair),
}

#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "facts that are learnt, and forgotten, independently of each other")]
struct Pair {
    expires_at: Timestamp,
    life: Duration,
    renew_at: Timestamp,
    young_until: Timestamp,
    refreshable: bool,
    exchanging: bool,
    /// GitLab answered 401 to its access token.
    refused: bool,
    /// An exchange was begun whose answer never came.
    doubt: bool,
    /// Why the last exchange failed; of one under way, that its pair is not stored yet.
    trouble: Option<Block>,
    /// How often the refresh token was refused in a row.
    lag: usize,
    /// How many of these do not count, because time leapt.
    leaps: usize,
    needs_login: bool,
}

impl Credentials {
    /// Starts with a login; `doubt` says that an exchange of this pair was begun whose end is not known.
    pub(crate) fn new(terms: &Terms, doubt: bool, now: Timestamp, rng: &mut impl Rng) -> Self {
        let kind = match terms.login {
            Login::Token(ends) => Kind::Token(ends),
            Login::Pair { obtained_at, expires_at, refreshable } => {
                let life = expires_at.since(obtained_at);
                let early = EARLY.mul_f64(rng.random_range(1.0..2.0));
                let share = (life / EARLY_SHARE).mul_f64(rng.random_range(0.5..1.0));
                Kind::Pair(Pair {
                    expires_at,
                    life,
                    renew_at: expires_at - early.min(share),
                    young_until: (obtained_at + YOUNG).min(now + YOUNG),
                    refreshable,
                    exchanging: false,
                    refused: false,
                    doubt,
                    trouble: None,
                    lag: 0,
                    leaps: 0,
                    needs_login: false,
                })
            }
        };
        Self { generation: terms.generation, kind, warned_at: None }
    }

    /// Takes over what was remembered of this very credential.
    pub(crate) fn with_memory(mut self, memory: Remembered, now: Timestamp) -> Self {
        if let Kind::Pair(pair) = &mut self.kind
            && memory.generation == self.generation
        {
            (pair.trouble, pair.lag, pair.needs_login) = (memory.trouble, memory.lag, memory.needs_login);
        }
        // The clock may have been set back since it was written.
        self.clock_set_back(now);
        self
    }

    /// Returns what must outlive a restart.
    pub(crate) fn memory(&self) -> Remembered {
        let generation = self.generation;
        match &self.kind {
            Kind::Token(_) => Remembered { generation, ..Remembered::default() },
            Kind::Pair(pair) => {
                let Pair { lag, needs_login, .. } = *pair;
                Remembered { generation, trouble: pair.trouble.clone(), lag, needs_login }
            }
        }
    }

    /// Returns the serial number of the credential.
    pub(crate) fn generation(&self) -> Generation {
        self.generation
    }

    /// Returns whether calls can be made at `now`.
    pub(crate) fn access(&self, now: Timestamp) -> Access {
        let Kind::Pair(pair) = &self.kind else { return Access::Ready };
        if pair.exchanging {
            return Access::Busy;
        }
        if pair.is_usable(now) {
            return Access::Ready;
        }
        match &pair.trouble {
            Some(block) if block.holds(now) || !pair.refreshable => Access::Closed(block.clone()),
            _ if pair.refreshable => Access::Renew,
            _ => Access::Closed(pair.lapsed(now)),
        }
    }

    /// Returns whether an exchange is to be begun at `now` even if nobody asks for one.
    pub(crate) fn is_due(&self, now: Timestamp) -> bool {
        let Kind::Pair(pair) = &self.kind else { return false };
        let ready = match &pair.trouble {
            Some(block) => !block.holds(now),
            None => pair.refused || pair.doubt || now >= pair.renew_at,
        };
        ready && pair.refreshable && !pair.exchanging
    }

    /// Returns whether an exchange was begun whose end is not known, so that it comes before anything else.
    pub(crate) fn in_doubt(&self) -> bool {
        matches!(&self.kind, Kind::Pair(pair) if pair.doubt)
    }

    /// Returns what is wrong with the login, if something is.
    pub(crate) fn trouble(&self) -> Option<&Block> {
        match &self.kind {
            Kind::Token(_) => None,
            Kind::Pair(pair) => pair.trouble.as_ref(),
        }
    }

    /// Returns whether only a new login helps.
    pub(crate) fn needs_login(&self) -> bool {
        matches!(&self.kind, Kind::Pair(pair) if pair.needs_login)
    }

    /// Notices that a pair that cannot be exchanged has ended; returns whether that is new.
    pub(crate) fn lapse(&mut self, now: Timestamp) -> bool {
        match &mut self.kind {
            Kind::Pair(pair) if !pair.refreshable && !pair.needs_login && !pair.is_usable(now) => {
                (pair.trouble, pair.needs_login) = (Some(pair.lapsed(now)), true);
                true
            }
            Kind::Token(_) | Kind::Pair(_) => false,
        }
    }

    /// Returns whether an exchange is under way.
    pub(crate) fn is_exchanging(&self) -> bool {
        matches!(&self.kind, Kind::Pair(pair) if pair.exchanging)
    }

    /// Returns when the access token of a pair ends.
    pub(crate) fn expires_at(&self) -> Option<Timestamp> {
        match &self.kind {
            Kind::Token(_) => None,
            Kind::Pair(pair) => Some(pair.expires_at),
        }
    }

    /// Notes that an exchange begins.
    pub(crate) fn begin(&mut self) {
        if let Kind::Pair(pair) = &mut self.kind {
            pair.exchanging = true;
        }
    }

    /// Notes that GitLab handed out the next pair, and that it is not stored yet.
    pub(crate) fn unsaved(&mut self, block: Block) {
        if let Kind::Pair(pair) = &mut self.kind {
            pair.trouble = Some(block);
        }
    }

    /// Takes in how the exchange ended.
    pub(crate) fn ended(&mut self, end: Ended, now: Timestamp, rng: &mut impl Rng) {
        let Kind::Pair(pair) = &mut self.kind else { return };
        let refused = std::mem::take(&mut pair.refused);
        match end {
            Ended::Stored(terms) => {
                let warned_at = self.warned_at;
                *self = Self { warned_at, ..Self::new(&terms, false, now, rng) };
                if let Kind::Pair(pair) = &mut self.kind
                    && refused
                {
                    pair.young_until = now + YOUNG_AFTER_REFUSAL;
                }
                return;
            }
            Ended::InvalidGrant => pair.invalid_grant(now, rng),
            Ended::Refused(fault) => pair.wait(&fault, now, rng),
            Ended::Unknown(fault) => {
                pair.doubt = true;
                pair.wait(&fault, now, rng);
            }
        }
        pair.exchanging = false;
        pair.refused = refused;
    }

    /// Takes in that GitLab answered 401 to a call; returns whether an exchange follows, else the same token is used
    /// once more.
    pub(crate) fn refused(&mut self, now: Timestamp) -> bool {
        match &mut self.kind {
            Kind::Pair(pair) if now >= pair.young_until => {
                pair.refused = true;
                true
            }
            Kind::Token(_) | Kind::Pair(_) => false,
        }
    }

    /// Returns whether it is a pair of OAuth tokens.
    pub(crate) fn is_pair(&self) -> bool {
        matches!(self.kind, Kind::Pair(_))
    }

    /// Ends the wait for the next exchange, on a person's word.
    pub(crate) fn force(&mut self, now: Timestamp) {
        if let Kind::Pair(Pair { exchanging: false, trouble: Some(block), .. }) = &mut self.kind {
            block.until = block.until.min(now);
        }
    }

    /// Takes in that the clock was set back: a deadline of the old time may be hours away by the new one. Waits for
    /// GitLab's replicas begin anew, since they are what keeps a good pair from being given up.
    pub(crate) fn clock_set_back(&mut self, now: Timestamp) {
        let Kind::Pair(pair) = &mut self.kind else { return };
        pair.young_until = pair.young_until.min(now + YOUNG);
        pair.expires_at = pair.expires_at.min(now + pair.life);
        pair.renew_at = pair.renew_at.min(pair.expires_at);
        let wait = pair.lag_wait().mul_f64(LAG_JITTER);
        if let Some(block) = &mut pair.trouble {
            block.until = block.until.min(now + wait);
        }
    }

    /// Takes in that time leapt ahead, by a sleep or by a clock that was set: the wait that it cut short proves nothing.
    pub(crate) fn time_leapt(&mut self) {
        if let Kind::Pair(pair) = &mut self.kind
            && pair.lag > 0
            && pair.leaps < LEAPS_FORGIVEN
        {
            pair.lag -= 1;
            pair.leaps += 1;
        }
    }

    /// Returns when the login ends for good unless a person does something, if that is within two weeks.
    pub(crate) fn ends_soon(&self, now: Timestamp) -> Option<Timestamp> {
        let end = match &self.kind {
            Kind::Token(end) => (*end)?,
            Kind::Pair(pair) => (!pair.refreshable).then_some(pair.expires_at)?,
        };
        (now + WARN_AHEAD >= end).then_some(end)
    }

    /// Returns the end that people are to be warned of now: once a day.
    pub(crate) fn warning(&mut self, now: Timestamp) -> Option<Timestamp> {
        let end = self.ends_soon(now)?;
        let lately = self.warned_at.is_some_and(|at| at <= now && now < at + DAY);
        if lately {
            return None;
        }
        self.warned_at = Some(now);
        Some(end)
    }
}

impl Pair {
    fn lapsed(&self, now: Timestamp) -> Block {
        Block { reason: Reason::LoginNotRenewable, since: self.expires_at.min(now), until: now, attempts: 1 }
    }

    fn is_usable(&self, now: Timestamp) -> bool {
        let room = CALL_ROOM.min(self.life / EARLY_SHARE);
        !self.refused && (now + room < self.expires_at || now < self.young_until)
    }

    fn invalid_grant(&mut self, now: Timestamp, rng: &mut impl Rng) {
        self.lag = (self.lag + 1).min(LAG_WAITS.len() + 1);
        self.needs_login = self.needs_login || self.lag > LAG_WAITS.len();
        let reason = match (self.needs_login, self.doubt) {
            (false, false) => Reason::RenewalRefused,
            (false, true) => Reason::RenewalUncertain,
            (true, false) => Reason::LoginEnded,
            (true, true) => Reason::RenewalInterrupted,
        };
        let refusals = [Reason::RenewalRefused, Reason::LoginEnded, Reason::RenewalInterrupted];
        let last = self.trouble.as_ref().filter(|block| refusals.contains(&block.reason));
        self.trouble = Some(Block {
            reason,
            since: last.map_or(now, |block| block.since),
            until: now + self.lag_wait().mul_f64(rng.random_range(1.0..LAG_JITTER)),
            attempts: last.map_or(1, |block| block.attempts.saturating_add(1)),
        });
    }

    fn lag_wait(&self) -> Duration {
        if self.needs_login {
            return PROBE_EVERY;
        }
        LAG_WAITS[self.lag.saturating_sub(1).min(LAG_WAITS.len() - 1)]
    }

    fn wait(&mut self, fault: &Fault, now: Timestamp, rng: &mut impl Rng) {
        match &mut self.trouble {
            // What a probe met says nothing new about a login that has ended.
            Some(block) if self.needs_login => block.until = now + PROBE_EVERY.mul_f64(rng.random_range(0.9..1.1)),
            trouble => *trouble = Some(next_block(trouble.as_ref(), fault, now, rng)),
        }
    }
}

#[cfg(test)]
mod tests;
