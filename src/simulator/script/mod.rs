//! What shall go wrong: rules that change the answers to chosen calls.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::domain::time::Timestamp;
use crate::simulator::answer::Answer;
use crate::simulator::limits::RETRY_LATER;
use crate::simulator::mint_cases::{MintCase, unauthorized};
use crate::simulator::oauth::Refusal;

/// The calls that a rule can name and the log tells apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Call {
    /// `GET /api/v4/user`.
    User,
    /// `GET /api/v4/personal_access_tokens/self`.
    TokenSelf,
    /// `POST /api/v4/ai/third_party_agents/direct_access`.
    ThirdPartyDirectAccess,
    /// `POST /api/v4/code_suggestions/direct_access`.
    CodeSuggestionsDirectAccess,
    /// `POST /api/graphql`.
    #[serde(rename = "graphql")]
    GraphQl,
    /// `GET /api/v4/groups`.
    Groups,
    /// The gateway's Anthropic Messages.
    Messages,
    /// The gateway's token counting.
    CountTokens,
    /// The gateway's OpenAI Responses.
    Responses,
    /// The gateway's OpenAI Chat Completions.
    ChatCompletions,
    /// `/oauth/authorize`: the page and its form.
    Authorize,
    /// `POST /oauth/token` with an authorization code.
    CodeExchange,
    /// `POST /oauth/token` with a refresh token.
    Refresh,
    /// `POST /oauth/token` with a device code.
    DevicePoll,
    /// `POST /oauth/authorize_device`.
    AuthorizeDevice,
    /// `/oauth/device`: the page and its form.
    DevicePage,
    /// `POST /oauth/revoke`.
    Revoke,
    /// `GET /oauth/token/info`.
    TokenInfo,
    /// Anything else.
    Other,
}

/// What happens instead of, or to, the ordinary answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Effect {
    /// This answer is given in place of the ordinary one; nothing is checked before.
    Answer {
        /// HTTP status.
        status: u16,
        /// The whole body.
        body: String,
        /// Its content type.
        #[serde(default = "json_type")]
        content_type: String,
        /// Further headers.
        #[serde(default)]
        headers: Vec<(String, String)>,
    },
    /// As [`Effect::Answer`], but the answer quotes the request: in body and headers `{body}` stands for the request's body
    /// as it was sent, and `{secrets}` for the values of its secrets, separated by spaces.
    Quote {
        /// HTTP status.
        status: u16,
        /// The whole body.
        body: String,
        /// Its content type; in JSON what is quoted is escaped.
        #[serde(default = "json_type")]
        content_type: String,
        /// Further headers.
        #[serde(default)]
        headers: Vec<(String, String)>,
    },
    /// The ordinary answer comes slowly. Works together with one other effect.
    Delay {
        /// Milliseconds before the response head.
        #[serde(default)]
        first_byte_ms: u64,
        /// Milliseconds before each event of a stream but the first.
        #[serde(default)]
        between_events_ms: u64,
    },
    /// The connection closes after so many events of a stream, or so many bytes of another body, whose
    /// `content-length` still names the whole.
    Cut {
        /// Events or bytes that are sent.
        after: usize,
    },
    /// Nothing more comes after so many events or bytes, and the connection stays open.
    Stall {
        /// Events or bytes that are sent.
        after: usize,
    },
    /// After so many events of a stream comes an error event, and then its end. A call that is not streamed gets a 500
    /// that says so.
    ErrorEvent {
        /// Events that are sent before; 0 puts the error first.
        after: usize,
        /// The event as bytes on the wire; unset means the provider's event for an internal error.
        #[serde(default)]
        event: Option<String>,
    },
    /// After the second event of a stream of Messages come so many further text deltas: more than any buffer holds. Other
    /// answers come as they are.
    Flood {
        /// How many.
        deltas: usize,
        /// Bytes of each one's text.
        bytes: usize,
    },
    /// The request is taken and never answered; nothing is processed.
    Hang,
    /// The call is processed and never answered.
    HangProcessed,
    /// The call is processed; then the connection closes without a byte of an answer.
    Close,
    /// The connection closes without a byte of an answer; nothing is processed.
    CloseUnprocessed,
    /// The call is processed, and this is sent in place of its answer: a proxy's error.
    AnswerProcessed {
        /// HTTP status.
        status: u16,
        /// The whole body.
        body: String,
        /// Its content type.
        #[serde(default = "json_type")]
        content_type: String,
        /// Further headers.
        #[serde(default)]
        headers: Vec<(String, String)>,
    },
    /// The call's answer in JSON is changed by a merge patch (RFC 7396): null removes a member. Other answers come as
    /// they are.
    Merge {
        /// The patch.
        patch: Value,
    },
    /// The call's answer is followed by so many bytes of white space. A stream comes as it is.
    Pad {
        /// How many.
        bytes: usize,
    },
    /// A row of the tables of direct access. Applies to the call that the row is about, and to no other.
    MintCase {
        /// Its name.
        name: MintCase,
    },
}

fn json_type() -> String {
    "application/json".to_owned()
}

impl Effect {
    /// Returns an answer with a JSON body.
    pub fn json(status: u16, body: &serde_json::Value) -> Self {
        Self::Answer { status, body: body.to_string(), content_type: json_type(), headers: Vec::new() }
    }

    /// Returns GitLab's `invalid_grant`, as a replica that lags gives it for a refresh token that is good.
    pub fn invalid_grant() -> Self {
        Self::answering(Refusal::InvalidGrant.answer())
    }

    /// Returns a 401 that says no more, as a replica that lags gives it for an access token that is good.
    pub fn bare_401() -> Self {
        Self::answering(unauthorized())
    }

    /// Returns the answer of GitLab's edge to one who asks too often.
    pub fn throttled() -> Self {
        Self::answering(Answer::whole(429, "text/plain", RETRY_LATER))
    }

    /// Returns a change of an answer in JSON.
    pub fn merge(patch: Value) -> Self {
        Self::Merge { patch }
    }

    fn answering(answer: Answer) -> Self {
        let (status, content_type, body, headers) = answer.into_parts();
        Self::Answer { status, body, content_type, headers }
    }

    /// Returns the login page that a single sign-on proxy puts in front of an instance: HTML with status 200.
    pub fn login_page() -> Self {
        let body = "<!DOCTYPE html><html><head><title>Sign in</title></head><body>Please sign in</body></html>";
        Self::Answer {
            status: 200,
            body: body.to_owned(),
            content_type: "text/html; charset=utf-8".to_owned(),
            headers: Vec::new(),
        }
    }

    /// Returns a redirect to `location` that keeps method and body (307).
    pub fn redirect(location: &str) -> Self {
        Self::Answer {
            status: 307,
            body: String::new(),
            content_type: "text/html".to_owned(),
            headers: vec![("location".to_owned(), location.to_owned())],
        }
    }

    /// Returns a 200 that calls itself JSON and is not.
    pub fn garbage() -> Self {
        Self::Answer {
            status: 200,
            body: "\u{0}{\"half\": [".to_owned(),
            content_type: json_type(),
            headers: Vec::new(),
        }
    }

    /// Returns a delay of the response head and between events.
    pub fn delay(first_byte: Duration, between_events: Duration) -> Self {
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        Self::Delay { first_byte_ms: millis(first_byte), between_events_ms: millis(between_events) }
    }
}

/// An effect, and the calls it applies to. Of the rules that fit a call, the oldest applies; and beside it the oldest
/// delay.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// Only this account, by username.
    #[serde(default)]
    pub account: Option<String>,
    /// Only this call.
    #[serde(default)]
    pub call: Option<Call>,
    /// Only bodies with this `model`.
    #[serde(default)]
    pub model: Option<String>,
    /// How often it applies; unset means always.
    #[serde(default)]
    pub times: Option<u32>,
    /// For how many seconds of the simulator's clock it applies once it is there; unset means for good.
    #[serde(default)]
    pub for_s: Option<u64>,
    /// What happens.
    pub effect: Effect,
}

impl Rule {
    /// Returns a rule for every call of every account, for good.
    pub fn always(effect: Effect) -> Self {
        Self { account: None, call: None, model: None, times: None, for_s: None, effect }
    }

    /// Returns a rule that applies once.
    pub fn once(effect: Effect) -> Self {
        Self::always(effect).times(1)
    }

    /// Limits how often the rule applies.
    #[must_use]
    pub fn times(mut self, times: u32) -> Self {
        self.times = Some(times);
        self
    }

    /// Limits for how many seconds of the simulator's clock the rule applies.
    #[must_use]
    pub fn for_s(mut self, seconds: u64) -> Self {
        self.for_s = Some(seconds);
        self
    }

    /// Returns a rule that gives a row of the tables of direct access, for good.
    pub fn mint_case(name: MintCase) -> Self {
        Self::always(Effect::MintCase { name })
    }

    /// Limits the rule to one call.
    #[must_use]
    pub fn on(mut self, call: Call) -> Self {
        self.call = Some(call);
        self
    }

    /// Limits the rule to one account.
    #[must_use]
    pub fn by(mut self, username: &str) -> Self {
        self.account = Some(username.to_owned());
        self
    }

    /// Limits the rule to one model.
    #[must_use]
    pub fn for_model(mut self, model: &str) -> Self {
        self.model = Some(model.to_owned());
        self
    }

    fn fits(&self, account: Option<&str>, call: Call, model: Option<&str>) -> bool {
        let names =
            |wanted: &Option<String>, found: Option<&str>| wanted.as_deref().is_none_or(|wanted| found == Some(wanted));
        self.times != Some(0)
            && self.call.is_none_or(|wanted| wanted == call)
            && !matches!(self.effect, Effect::MintCase { name } if name.call() != call)
            && names(&self.account, account)
            && names(&self.model, model)
    }

    fn is_delay(&self) -> bool {
        matches!(self.effect, Effect::Delay { .. })
    }
}

/// How fast an answer comes.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Pace {
    pub(crate) first_byte: Duration,
    pub(crate) between_events: Duration,
}

/// What the rules say about one call.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    pub(crate) pace: Pace,
    pub(crate) effect: Option<Effect>,
}

/// The rules in force.
#[derive(Debug, Default)]
pub(crate) struct Script {
    rules: Vec<Rule>,
    /// Until when each rule applies, in their order.
    ends: Vec<Option<Timestamp>>,
}

impl Script {
    pub(crate) fn add(&mut self, rule: Rule, now: Timestamp) {
        self.ends.push(rule.for_s.map(|seconds| now + Duration::from_secs(seconds)));
        self.rules.push(rule);
    }

    fn retain(&mut self, keep: impl Fn(&Rule, Option<Timestamp>) -> bool) {
        let ends = std::mem::take(&mut self.ends);
        let rules = std::mem::take(&mut self.rules);
        let kept = rules.into_iter().zip(ends).filter(|(rule, end)| keep(rule, *end));
        (self.rules, self.ends) = kept.unzip();
    }

    pub(crate) fn clear(&mut self) {
        self.rules.clear();
        self.ends.clear();
    }

    pub(crate) fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// Returns whether a body must be read for its model before the rules can be asked.
    pub(crate) fn asks_for_model(&self) -> bool {
        self.rules.iter().any(|rule| rule.model.is_some())
    }

    /// Returns what shall happen to a call, and counts the rules that apply.
    pub(crate) fn take(&mut self, account: Option<&str>, call: Call, model: Option<&str>, now: Timestamp) -> Plan {
        let mut plan = Plan::default();
        if self.rules.is_empty() {
            return plan;
        }
        self.retain(|_, end| end.is_none_or(|end| now < end));
        let delay = self.rules.iter().position(|rule| rule.is_delay() && rule.fits(account, call, model));
        let other = self.rules.iter().position(|rule| !rule.is_delay() && rule.fits(account, call, model));
        for index in [delay, other].into_iter().flatten() {
            let rule = &mut self.rules[index];
            rule.times = rule.times.map(|times| times - 1);
            match &rule.effect {
                Effect::Delay { first_byte_ms, between_events_ms } => {
                    plan.pace.first_byte = Duration::from_millis(*first_byte_ms);
                    plan.pace.between_events = Duration::from_millis(*between_events_ms);
                }
                effect => plan.effect = Some(effect.clone()),
            }
        }
        self.retain(|rule, _| rule.times != Some(0));
        plan
    }
}

#[cfg(test)]
mod tests;
