//! What a trace says, in words for people and for programs.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::future::join_all;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::account::api::Describe;
use crate::account::registry::All;
use crate::domain::conversation::{Bond, Conversation};
use crate::domain::fault::{Reason, Scope};
use crate::domain::id::AccountId;
use crate::domain::model::Dialect;
use crate::http::door::Door;
use crate::router::policy::at_home;
use crate::trace::{Chosen, Decider, Seen, Tally, Verdict, Word};

/// An account as it was looked at.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct CandidateView {
    /// Its id.
    pub(crate) account: String,
    /// Its label or username; absent if it is gone by now.
    pub(crate) name: Option<String>,
    /// What was found: that it could serve, or the first thing that stood in the way.
    pub(crate) verdict: Word,
    /// The same as a sentence, of which the account is the subject.
    pub(crate) message: String,
    /// How far the block reaches, if it is one.
    #[schema(value_type = Option<String>)]
    pub(crate) scope: Option<Scope>,
    /// Why it is blocked or without a credential.
    #[schema(value_type = Option<String>)]
    pub(crate) reason: Option<Reason>,
    /// Until when, RFC 3339.
    pub(crate) until: Option<String>,
    /// Its tier.
    pub(crate) priority: i32,
    /// Its share in the tier.
    pub(crate) weight: u32,
    /// Requests in flight.
    pub(crate) in_flight: u32,
    /// Most of these.
    pub(crate) max_concurrency: u32,
    /// Whether it comes last, since an account that draws on the same credits ran out of them.
    pub(crate) comes_last: bool,
}

/// How many further accounts met what.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct CountView {
    /// What was found.
    pub(crate) verdict: Word,
    /// About so many.
    pub(crate) accounts: u32,
}

/// Who was chosen, and why.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct ChosenView {
    /// The account's id.
    pub(crate) account: String,
    /// Its label or username; absent if it is gone by now.
    pub(crate) name: Option<String>,
    /// The exact model that it is asked for.
    pub(crate) model: String,
    /// The dialect that it is asked in.
    #[schema(value_type = String)]
    pub(crate) dialect: Dialect,
    /// Whether the request finds out whether the account is well again.
    pub(crate) is_probe: bool,
    /// What decided, as a clause.
    pub(crate) because: String,
}

/// What became of the wish to keep a conversation on one account.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct AffinityView {
    /// Whether the conversation stayed where it is at home; absent where that cannot be told any more.
    pub(crate) followed: Option<bool>,
    /// The account where it is at home.
    pub(crate) home: Option<String>,
    /// The same as a sentence.
    pub(crate) message: String,
}

/// What people call the accounts there are.
pub(super) struct Names(BTreeMap<String, Called>);

struct Called {
    label: Option<String>,
    username: String,
}

impl Names {
    /// Asks every account.
    pub(super) async fn ask(door: &Door) -> Self {
        let addresses = door.parts.registry.send(All).await.unwrap_or_default();
        let views = join_all(addresses.iter().map(|address| address.send(Describe))).await;
        let called = |label, username| Called { label, username };
        Self(views.into_iter().flatten().map(|view| (view.id, called(view.label, view.username))).collect())
    }

    /// Returns what people call an account.
    pub(super) fn of(&self, id: &str) -> Option<String> {
        self.0.get(id).map(|called| called.label.clone().unwrap_or_else(|| called.username.clone()))
    }

    /// Returns the account that `text` means, by its id, its label or its username; the error says why there is none.
    pub(super) fn meant(&self, text: &str) -> Result<AccountId, String> {
        let is_meant = |called: &Called| called.label.as_deref() == Some(text) || called.username == text;
        let mut meant = self.0.iter().filter(|(id, called)| *id == text || is_meant(called)).map(|(id, _)| id);
        match (meant.next(), meant.next()) {
            (Some(id), None) => Ok(AccountId::from_text(id)),
            (Some(_), Some(_)) => Err("names more than one account: use its id".to_owned()),
            (None, _) => Err("is no account".to_owned()),
        }
    }

    /// Returns its name, or its id where it has none any more.
    pub(super) fn or_id(&self, id: &AccountId) -> String {
        self.of(id.as_str()).unwrap_or_else(|| id.to_string())
    }
}

impl CandidateView {
    pub(super) fn of(seen: &Seen, names: &Names) -> Self {
        let (scope, reason, until) = match seen.verdict {
            Verdict::Blocked { scope, reason, until } => (Some(scope), Some(reason), Some(until)),
            Verdict::NoGrant { reason, until } => (None, Some(reason), Some(until)),
            _ => (None, None, None),
        };
        Self {
            account: seen.account.to_string(),
            name: names.of(seen.account.as_str()),
            verdict: seen.verdict.word(),
            message: sentence(seen),
            scope,
            reason,
            until: until.map(|until| until.to_string()),
            priority: seen.priority,
            weight: seen.weight,
            in_flight: seen.in_flight,
            max_concurrency: seen.max_concurrency,
            comes_last: seen.hinted,
        }
    }
}

/// Returns what the account is or does, as the rest of a sentence.
fn sentence(seen: &Seen) -> String {
    match seen.verdict {
        Verdict::Fit if seen.hinted => {
            "could serve, and comes last: an account that may draw on the same credits ran out of them".to_owned()
        }
        Verdict::Fit => "could serve".to_owned(),
        Verdict::Probe => "could serve: its block has ended, and one request tries whether it is well".to_owned(),
        Verdict::OtherPool => "is in a pool that the request may not use".to_owned(),
        Verdict::Disabled => "is switched off".to_owned(),
        Verdict::NoModel => "its AI gateway does not support the model".to_owned(),
        Verdict::OtherDialect => "its model cannot be reached from the client's dialect".to_owned(),
        Verdict::Tried => "failed this request before".to_owned(),
        Verdict::Blocked { scope, reason, until } => format!("{} until {until}: {reason}", blocked(scope)),
        Verdict::NoGrant { reason: Reason::GrantMissing, .. } => "has no gateway credential at present".to_owned(),
        Verdict::NoGrant { reason, until } => {
            format!("has no gateway credential, and the next try is at {until}: {reason}")
        }
        Verdict::Full => format!("is full: {} of {} requests in flight", seen.in_flight, seen.max_concurrency),
        Verdict::Probing => "is in doubt, and another request is trying whether it is well".to_owned(),
        Verdict::LeftOut => "is left out, as asked".to_owned(),
    }
}

fn blocked(scope: Scope) -> &'static str {
    match scope {
        Scope::Model => "is blocked for this model",
        Scope::Request | Scope::Account => "is blocked",
        Scope::Provider => "is blocked with all that use this model's provider",
        Scope::Gateway => "is blocked with all that use its AI gateway",
        Scope::Instance => "is blocked with all of its GitLab instance",
    }
}

/// Returns counts for programs.
pub(super) fn counts(others: &Tally) -> Vec<CountView> {
    others.counts().map(|(verdict, accounts)| CountView { verdict, accounts }).collect()
}

impl ChosenView {
    /// Describes a choice among `seen`, of whom `before` had failed, and `others`.
    pub(super) fn of(chosen: &Chosen, seen: &[Seen], before: &[Chosen], others: &Tally, names: &Names) -> Self {
        Self {
            account: chosen.account.to_string(),
            name: names.of(chosen.account.as_str()),
            model: chosen.model.to_string(),
            dialect: chosen.dialect,
            is_probe: chosen.is_probe,
            because: because(chosen, seen, before, others).to_owned(),
        }
    }
}

fn because(chosen: &Chosen, seen: &[Seen], before: &[Chosen], others: &Tally) -> &'static str {
    let had_its_turn = |seen: &Seen| before.iter().any(|chosen| chosen.account == seen.account);
    let fit: Vec<&Seen> = seen.iter().filter(|seen| seen.verdict.word().is_fit() && !had_its_turn(seen)).collect();
    let all_listed = !others.counts().any(|(word, _)| word.is_fit());
    let tier = |seen: &Seen| (!seen.hinted, seen.priority);
    let own = fit.iter().find(|seen| seen.account == chosen.account).map(|seen| tier(seen));
    let peers = fit.iter().filter(|seen| Some(tier(seen)) == own).count();
    match (all_listed, fit.len(), peers, chosen.decider) {
        (true, 1, ..) => "the only one that could serve",
        (true, _, 1, _) => "the only one of the highest tier that could serve",
        (.., Decider::Conversation) => "its conversation is kept on one account",
        (.., Decider::Load) => "the fewest requests in flight, and chance among equals",
        (.., Decider::Share) => "furthest below its share by weight",
        (.., Decider::Turn) => "its turn",
        (.., Decider::InUse) => "the account in use until it is blocked",
        (.., Decider::Chance) => "chance",
    }
}

impl AffinityView {
    /// Says whether `conversation` stayed at home.
    pub(super) fn of(
        conversation: Conversation,
        chosen: &Chosen,
        seen: &[Seen],
        others: &Tally,
        names: &Names,
    ) -> Self {
        let unknown = |message: &str| Self { followed: None, home: None, message: message.to_owned() };
        if chosen.decider == Decider::InUse {
            return unknown("`fill-first` keeps everything on the account in use, conversation or not");
        }
        if conversation.bond == Bond::Loose {
            return unknown("its conversation has only begun, and decides among equally loaded accounts alone");
        }
        let there = |word: Word| !word.is_foreign() && !matches!(word, Word::NoModel | Word::OtherDialect);
        let at_hand = || seen.iter().filter(|seen| there(seen.verdict.word()));
        let tier = |seen: &Seen| (!seen.hinted, seen.priority);
        let highest = at_hand().map(tier).max();
        let peers = at_hand().filter(|seen| Some(tier(seen)) == highest);
        let home = at_home(conversation.key, peers.map(|seen| (seen.account.as_str(), seen.weight)));
        let Some(home) = at_hand().find(|seen| Some(seen.account.as_str()) == home) else {
            return unknown("its conversation has no account");
        };
        if others.counts().any(|(word, _)| there(word)) && home.account != chosen.account {
            return unknown("its conversation may be at home on an account that is not listed");
        }
        let followed = home.account == chosen.account;
        let name = names.or_id(&home.account);
        let message = match home.verdict {
            _ if followed => "its conversation is at home there".to_owned(),
            Verdict::Fit | Verdict::Probe => {
                format!("its conversation left {name}, which is much slower than its peers at present")
            }
            _ => format!("its conversation left {name}, which {}", sentence(home)),
        };
        Self { followed: Some(followed), home: Some(home.account.to_string()), message }
    }
}

/// Returns whole milliseconds.
pub(super) fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// Returns a time as people read it.
pub(super) fn shown(time: Duration) -> String {
    if time < Duration::from_secs(1) {
        format!("{} ms", time.as_millis())
    } else {
        format!("{:.1} s", time.as_secs_f64())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::model::ModelName;
    use crate::domain::time::Timestamp;

    const UNTIL: Timestamp = Timestamp::from_secs(1_800_000_000);

    fn seen(name: &str, verdict: Verdict, priority: i32) -> Seen {
        let account = AccountId::from_text(name);
        Seen { account, verdict, priority, weight: 1, in_flight: 2, max_concurrency: 2, hinted: false }
    }

    fn chosen(name: &str, decider: Decider) -> Chosen {
        let model = ModelName::parse("claude-sonnet-4-6").unwrap();
        Chosen { account: AccountId::from_text(name), model, dialect: Dialect::Messages, is_probe: false, decider }
    }

    fn nobody_named() -> Names {
        Names(BTreeMap::new())
    }

    #[test]
    fn the_reason_is_that_there_was_no_choice_where_there_was_none() {
        let (none, load) = (Tally::default(), |name| chosen(name, Decider::Load));
        let all = [seen("a", Verdict::Fit, 1), seen("b", Verdict::Probe, 1), seen("c", Verdict::Fit, 0)];
        assert_eq!(because(&load("a"), &all, &[], &none), "the fewest requests in flight, and chance among equals");
        assert_eq!(because(&load("b"), &all, &[load("a")], &none), "the only one of the highest tier that could serve");
        assert_eq!(because(&load("c"), &all, &[load("a"), load("b")], &none), "the only one that could serve");
    }

    #[test]
    fn why_a_conversation_left_is_told() {
        let conversation = Conversation::named(b"one");
        let home = at_home(conversation.key, [("a", 1), ("b", 1)].into_iter()).unwrap();
        let other = if home == "a" { "b" } else { "a" };
        let told = |verdict, to, bond, decider| {
            let all = [seen(home, verdict, 0), seen(other, Verdict::Fit, 0), seen("c", Verdict::OtherPool, 9)];
            let conversation = Conversation { bond, ..conversation };
            let view = AffinityView::of(conversation, &chosen(to, decider), &all, &Tally::default(), &nobody_named());
            (view.followed, view.message)
        };
        let firm = |verdict, to| told(verdict, to, Bond::Firm, Decider::Conversation);
        assert_eq!(firm(Verdict::Fit, home), (Some(true), "its conversation is at home there".to_owned()));
        let blocked = Verdict::Blocked { scope: Scope::Model, reason: Reason::QuotaExhausted, until: UNTIL };
        for (verdict, why) in [
            (blocked, "is blocked for this model until 2027-01-15T08:00:00Z: the account is out of GitLab Credits"),
            (Verdict::Full, "is full: 2 of 2 requests in flight"),
            (Verdict::Tried, "failed this request before"),
            (Verdict::Fit, "is much slower than its peers at present"),
        ] {
            assert_eq!(firm(verdict, other), (Some(false), format!("its conversation left {home}, which {why}")));
        }
        assert_eq!(told(Verdict::Fit, other, Bond::Loose, Decider::Load).0, None);
        assert_eq!(told(Verdict::Fit, other, Bond::Firm, Decider::InUse).0, None);
    }
}
