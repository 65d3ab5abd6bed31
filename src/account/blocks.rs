//! How long a fault keeps something from being used.
//!
//! Pure. What is blocked, and by which faults, is decided by those who ask.

use std::time::Duration;

use rand::{Rng, RngExt};

use crate::account::api::Block;
use crate::domain::fault::{Fault, Hold, Reason};
use crate::domain::time::Timestamp;

/// First wait after a fault of unknown length; doubles with each further one.
const BACKOFF_FIRST: Duration = Duration::from_secs(2);
const BACKOFF_MAX: Duration = Duration::from_mins(5);
/// How often it is looked whether a person has mended what only a person can mend.
pub(super) const FIXED_YET: Duration = Duration::from_mins(15);
/// So long a refusal for want of credit may come from the gateway's memory. Source: `lib/usage_quota` of the gateway, an
/// hour give or take a tenth.
pub(super) const QUOTA_CACHE_MAX: Duration = Duration::from_mins(66);
/// No fault blocks anything for longer: an answer about credits is believed for 65 minutes, and a tenth more by chance.
/// What is longer was noted before the clock was set back.
pub(super) const LONGEST_HOLD: Duration = Duration::from_mins(75);

/// Returns the block that follows `previous` after a request failed; `None` if that one stays as it is.
///
/// Requests that were under way together fail together, which is one fault and not many in a row; and what ends sooner
/// does not cut short what ends later.
pub(super) fn block_after(
    previous: Option<&Block>,
    fault: &Fault,
    now: Timestamp,
    rng: &mut impl Rng,
) -> Option<Block> {
    let running = previous.filter(|block| block.holds(now));
    if running.is_some_and(|block| block.reason == fault.reason) {
        return None;
    }
    let block = next_block(previous, fault, now, rng);
    running.is_none_or(|running| running.until < block.until).then_some(block)
}

/// Returns the block that `fault` opens, or lengthens.
pub(super) fn next_block(previous: Option<&Block>, fault: &Fault, now: Timestamp, rng: &mut impl Rng) -> Block {
    let same = previous.filter(|block| block.reason == fault.reason);
    let attempts = same.map_or(1, |block| block.attempts.saturating_add(1));
    let hold = match fault.hold {
        Hold::For(time) => time.mul_f64(rng.random_range(1.0..1.1)),
        Hold::UntilFixed => FIXED_YET.mul_f64(rng.random_range(0.8..1.2)),
        Hold::Backoff | Hold::UntilMinted | Hold::None => backoff(attempts, rng),
    };
    let until = now + hold.min(LONGEST_HOLD);
    let until = if fault.reason == Reason::QuotaExhausted { until.min(credits_by(now)) } else { until };
    Block { reason: fault.reason, since: same.map_or(now, |block| block.since), until, attempts }
}

/// Returns when an account that is out of credits at `now` may have new ones, and be given them, at the latest.
///
/// Credits are renewed at the turn of the month (GitLab's documentation names the first day and no time zone; taken as
/// UTC). The gateway may go on refusing from its memory for as long as that lasts, so the first try that is not in vain
/// comes that much after the turn, and no hold reaches beyond. Before, a hold is not cut short either: to ask while the
/// gateway remembers its refusal would only be refused again.
fn credits_by(now: Timestamp) -> Timestamp {
    now.next_month() + QUOTA_CACHE_MAX
}

/// Capped exponential backoff with full jitter over its upper half, so that it is never nothing.
pub(super) fn backoff(attempts: u32, rng: &mut impl Rng) -> Duration {
    let doubled = BACKOFF_FIRST.saturating_mul(1 << attempts.saturating_sub(1).min(10));
    doubled.min(BACKOFF_MAX).mul_f64(rng.random_range(0.5..1.0))
}
