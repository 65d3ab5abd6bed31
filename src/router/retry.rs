//! When a request that failed is tried again, and where not.
//!
//! Pure: knows what became of the attempts so far and of the waits in between, and says what comes next. The request
//! itself is sent by `http::exchange`, which asks here after every attempt and whenever the router has nobody; the
//! simulation of the choice asks the same questions.
//!
//! Three bounds keep one request from becoming many: attempts that a model may have worked on, attempts that were refused
//! before that, and waits for a new grant. Time is the fourth, and kept by whoever asks.

use std::time::Duration;

use crate::domain::endpoint::GatewayUrl;
use crate::domain::fault::{Fault, Hold, Reason, Scope};
use crate::domain::id::AccountId;
use crate::domain::model::ModelName;
use crate::domain::time::Timestamp;
use crate::router::api::{NoAccount, Renewable};
use crate::router::policy::sooner;

/// Attempts that reached the model's provider: each may be billed.
pub(crate) const PROVIDER_ATTEMPTS_MAX: u32 = 3;
/// Attempts that were refused before it: credential, credit, connection.
pub(crate) const REFUSALS_MAX: u32 = 16;
/// Times a request waits for somebody's new grant.
pub(crate) const WAITS_MAX: u32 = 3;
/// Longest of these waits. Rails itself waits up to 30 s for the token service.
pub(crate) const WAIT_MAX: Duration = Duration::from_secs(35);
/// When an account comes back that only a person can mend: not soon.
const UNTIL_FIXED: Duration = Duration::from_mins(15);
/// When something comes back of which nothing is known.
pub(crate) const UNKNOWN_WAIT: Duration = Duration::from_secs(2);

/// An attempt that gave no answer.
#[derive(Debug)]
pub(crate) struct Setback {
    /// Whose it was.
    pub(crate) account: AccountId,
    /// What the account was asked for, and through which gateway.
    pub(crate) model: ModelName,
    pub(crate) gateway: GatewayUrl,
    /// What happened.
    pub(crate) fault: Fault,
    /// How to get a newer grant than the one it was sent under, where somebody hands them out.
    pub(crate) renewable: Option<Renewable>,
}

/// What comes after a setback.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// Another attempt, with another account or another model.
    Again,
    /// Nothing: the client is told.
    End,
}

/// Grants that are worth waiting for.
#[derive(Debug)]
pub(crate) struct Hope {
    /// Who may get one; nobody, once the request has waited often enough.
    pub(crate) renewable: Vec<Renewable>,
}

/// The memory of one request.
#[derive(Debug, Default)]
pub(crate) struct Retries {
    tried: Vec<AccountId>,
    refused: Vec<(GatewayUrl, ModelName)>,
    /// Accounts whose grant was refused: they get one more chance, with a new one.
    second_chances: Vec<Renewable>,
    /// Accounts that had theirs: a new grant that is refused as well will not get better by a third.
    renewed: Vec<AccountId>,
    provider_attempts: u32,
    refusals: u32,
    waits: u32,
    /// Whether the last of these waits brought nothing to the attempt that comes next.
    waited_in_vain: bool,
    /// Who was waited for in vain.
    in_vain: Vec<AccountId>,
    /// The account that recovers first, of those that failed.
    earliest: Option<(Timestamp, Reason)>,
}

impl Retries {
    /// Returns the number of the attempt that comes next, from 1.
    pub(crate) fn attempt(&self) -> u32 {
        self.provider_attempts + self.refusals + 1
    }

    /// Returns the accounts that have failed this request.
    pub(crate) fn tried(&self) -> &[AccountId] {
        &self.tried
    }

    /// Returns the models that gateways have refused in this request.
    pub(crate) fn refused(&self) -> &[(GatewayUrl, ModelName)] {
        &self.refused
    }

    /// Returns whether the wait for new grants brought nothing.
    pub(crate) fn waited_in_vain(&self) -> bool {
        self.waited_in_vain
    }

    /// Returns when the first of the accounts that failed recovers, and what ails it.
    pub(crate) fn earliest(&self) -> Option<(Timestamp, Reason)> {
        self.earliest
    }

    /// Takes in that the provider refused the request in a form that can be mended, so that the same account is asked again.
    pub(crate) fn count_attempt(&mut self) {
        self.provider_attempts += 1;
    }

    /// Takes in that an account is sought for the next attempt.
    pub(crate) fn begin(&mut self) {
        self.waited_in_vain = false;
        self.in_vain.clear();
    }

    /// Takes in a failed attempt; `in_time` says whether there is time for another one.
    pub(crate) fn failed(&mut self, setback: Setback, in_time: bool, now: Timestamp) -> Next {
        let Setback { account, model, gateway, fault, renewable } = setback;
        if reached_the_provider(&fault) {
            self.provider_attempts += 1;
        } else {
            self.refusals += 1;
        }
        if is_the_accounts(&fault) {
            self.remember(&fault, now);
        }
        let within = self.provider_attempts < PROVIDER_ATTEMPTS_MAX && self.refusals < REFUSALS_MAX;
        if !fault.curable || !in_time || !within {
            return Next::End;
        }
        if fault.reason == Reason::UnsupportedModel {
            self.refused.push((gateway, model));
            return Next::Again;
        }
        if fault.hold == Hold::UntilMinted && !self.renewed.contains(&account) {
            self.renewed.push(account.clone());
            self.second_chances.extend(renewable);
        }
        self.tried.push(account);
        Next::Again
    }

    /// Takes in that the router has nobody; returns the grants to wait for, if that may help. After every such wait the
    /// router is asked once more, since others may have recovered meanwhile.
    pub(crate) fn hope(&mut self, none: &NoAccount) -> Option<Hope> {
        let fresh = match none {
            NoAccount::Blocked { renewable, .. } => self.not_in_vain(renewable),
            _ => Vec::new(),
        };
        let others_fail = matches!(
            none,
            NoAccount::Blocked { .. } | NoAccount::Paused { .. } | NoAccount::Exhausted | NoAccount::Busy
        );
        let may_wait = self.waits < WAITS_MAX;
        // Who may not wait any more asks once more nevertheless, for those who have only too much to do.
        let renewable = if !fresh.is_empty() && (may_wait || !self.waited_in_vain) {
            fresh
        } else if others_fail && !self.second_chances.is_empty() {
            let chances = std::mem::take(&mut self.second_chances);
            self.tried.retain(|id| chances.iter().all(|chance| chance.account != *id));
            chances
        } else {
            return None;
        };
        self.in_vain.extend(renewable.iter().map(|one| one.account.clone()));
        self.waits += 1;
        Some(Hope { renewable: if may_wait { renewable } else { Vec::new() } })
    }

    /// Takes in whether one of those that were waited for got a new grant.
    pub(crate) fn waited(&mut self, renewed: bool) {
        self.waited_in_vain = !renewed;
        if renewed {
            self.in_vain.clear();
        }
    }

    /// Returns those that were not waited for in vain.
    fn not_in_vain(&self, renewable: &[Renewable]) -> Vec<Renewable> {
        renewable.iter().filter(|one| !self.in_vain.contains(&one.account)).cloned().collect()
    }

    fn remember(&mut self, fault: &Fault, now: Timestamp) {
        let wait = match fault.hold {
            Hold::For(time) => time,
            Hold::UntilFixed => UNTIL_FIXED,
            Hold::None | Hold::Backoff | Hold::UntilMinted => UNKNOWN_WAIT,
        };
        self.earliest = Some(sooner(self.earliest, (now + wait, fault.reason)));
    }
}

/// Returns whether it is the account that is at fault, so that the client is told when the pool has one again.
pub(crate) fn is_the_accounts(fault: &Fault) -> bool {
    matches!(fault.scope, Scope::Model | Scope::Account | Scope::Namespace)
}

/// Returns whether a model may have worked on the attempt, so that it may be billed.
fn reached_the_provider(fault: &Fault) -> bool {
    let answered = matches!(fault.scope, Scope::Request | Scope::Provider) && fault.reason != Reason::UnsupportedModel;
    answered || matches!(fault.reason, Reason::CutShort | Reason::Timeout)
}

#[cfg(test)]
mod tests {
    use std::pin::Pin;
    use std::sync::Arc;

    use super::*;
    use crate::account::api::{Block, Desk, News, Owner, Renew, SharedNews};
    use crate::account::shared_health::Shared;
    use crate::domain::endpoint::InstanceUrl;
    use crate::domain::id::Generation;

    const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);

    /// Nobody.
    struct Nobody;

    impl Owner for Nobody {
        fn tell(&self, _: News) {}

        fn tell_others(&self, _: SharedNews) {}

        fn shared(&self) -> Arc<Shared> {
            Arc::default()
        }

        fn renew(&self, _: Renew) -> Pin<Box<dyn Future<Output = Option<Result<Generation, Block>>>>> {
            Box::pin(std::future::ready(None))
        }
    }

    fn account(user: u64) -> AccountId {
        AccountId::of(&InstanceUrl::gitlab_com(), user)
    }

    fn renewable(user: u64) -> Renewable {
        Renewable { account: account(user), than: Generation::default(), desk: Desk(Arc::new(Nobody)) }
    }

    fn fault(scope: Scope, reason: Reason, hold: Hold, curable: bool) -> Fault {
        Fault { scope, reason, hold, curable }
    }

    fn setback(user: u64, fault: Fault) -> Setback {
        let model = ModelName::parse("claude-sonnet-5").unwrap();
        let (account, renewable) = (account(user), Some(renewable(user)));
        Setback { account, model, gateway: GatewayUrl::cloud(), fault, renewable }
    }

    fn refused_grant(user: u64) -> Setback {
        setback(user, fault(Scope::Account, Reason::GrantRefused, Hold::UntilMinted, true))
    }

    fn blocked(renewable: Vec<Renewable>) -> NoAccount {
        NoAccount::Blocked { reason: Reason::GrantMissing, until: NOW, renewable, busy: false }
    }

    fn names(hope: &Hope) -> Vec<AccountId> {
        hope.renewable.iter().map(|one| one.account.clone()).collect()
    }

    /// Fails with the same fault, on one account after the other; returns how many attempts there were.
    fn attempts(fault: &Fault) -> u64 {
        let mut retries = Retries::default();
        let last = (1..100).find(|user| retries.failed(setback(*user, fault.clone()), true, NOW) == Next::End);
        last.unwrap()
    }

    #[test]
    fn what_a_model_may_have_worked_on_is_tried_three_times_and_refusals_before_it_sixteen() {
        let cases = [
            (Scope::Provider, Reason::ProviderThrottled, 3),
            (Scope::Provider, Reason::ProviderError, 3),
            (Scope::Gateway, Reason::CutShort, 3),
            (Scope::Provider, Reason::Timeout, 3),
            (Scope::Account, Reason::NotEntitled, 16),
            (Scope::Model, Reason::QuotaExhausted, 16),
            (Scope::Gateway, Reason::GatewayUnreachable, 16),
            (Scope::Request, Reason::UnsupportedModel, 16),
        ];
        for (scope, reason, most) in cases {
            assert_eq!(attempts(&fault(scope, reason, Hold::Backoff, true)), most, "{reason:?}");
            assert_eq!(attempts(&fault(scope, reason, Hold::Backoff, false)), 1, "{reason:?}");
        }
    }

    #[test]
    fn each_bound_counts_its_own() {
        let mut retries = Retries::default();
        let throttled = fault(Scope::Provider, Reason::ProviderThrottled, Hold::Backoff, true);
        let empty = fault(Scope::Model, Reason::QuotaExhausted, Hold::Backoff, true);
        for user in 0..15 {
            assert_eq!(retries.failed(setback(user, empty.clone()), true, NOW), Next::Again);
        }
        for user in 20..22 {
            assert_eq!(retries.failed(setback(user, throttled.clone()), true, NOW), Next::Again);
        }
        assert_eq!((retries.attempt(), retries.tried().len()), (18, 17));
        assert_eq!(retries.failed(setback(30, throttled), true, NOW), Next::End);
        let mut late = Retries::default();
        assert_eq!(late.failed(setback(1, empty), false, NOW), Next::End);
    }

    #[test]
    fn a_model_is_refused_by_its_gateway_alone_and_the_account_is_not_tried() {
        let mut retries = Retries::default();
        let unsupported = fault(Scope::Request, Reason::UnsupportedModel, Hold::None, true);
        assert_eq!(retries.failed(setback(1, unsupported), true, NOW), Next::Again);
        let model = ModelName::parse("claude-sonnet-5").unwrap();
        assert_eq!(retries.refused(), [(GatewayUrl::cloud(), model)]);
        assert!(retries.tried().is_empty());
    }

    #[test]
    fn an_account_whose_grant_was_refused_gets_a_second_chance_and_no_third() {
        for none in [NoAccount::Exhausted, NoAccount::Busy, blocked(Vec::new())] {
            let mut retries = Retries::default();
            assert_eq!(retries.failed(refused_grant(1), true, NOW), Next::Again);
            assert_eq!(retries.tried(), [account(1)]);
            let hope = retries.hope(&none).unwrap();
            assert_eq!(names(&hope), [account(1)]);
            retries.waited(true);
            assert!(retries.tried().is_empty());
            assert_eq!(retries.failed(refused_grant(1), true, NOW), Next::Again);
            assert!(retries.hope(&none).is_none() && retries.tried() == [account(1)]);
        }
    }

    #[test]
    fn after_a_wait_in_vain_others_are_waited_for_and_nobody_twice() {
        let mut retries = Retries::default();
        assert_eq!(retries.failed(refused_grant(9), true, NOW), Next::Again);
        retries.begin();
        assert_eq!(names(&retries.hope(&blocked(vec![renewable(1)])).unwrap()), [account(1)]);
        retries.waited(false);
        assert!(retries.waited_in_vain());
        assert_eq!(names(&retries.hope(&blocked(vec![renewable(1), renewable(2)])).unwrap()), [account(2)]);
        retries.waited(false);
        // Nobody new: then the one whose grant was refused.
        assert_eq!(names(&retries.hope(&blocked(vec![renewable(1), renewable(2)])).unwrap()), [account(9)]);
        retries.waited(false);
        assert!(retries.hope(&blocked(vec![renewable(1), renewable(2)])).is_none());
    }

    #[test]
    fn a_request_waits_three_times_and_then_asks_once_more_for_the_busy() {
        let mut retries = Retries::default();
        for _ in 0..WAITS_MAX {
            retries.begin();
            assert_eq!(retries.hope(&blocked(vec![renewable(1)])).unwrap().renewable.len(), 1);
            retries.waited(true);
        }
        retries.begin();
        assert!(retries.hope(&blocked(vec![renewable(1)])).unwrap().renewable.is_empty());
        retries.waited(false);
        assert!(retries.waited_in_vain() && retries.hope(&blocked(vec![renewable(2)])).is_none());
    }
}
