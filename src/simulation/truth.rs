//! What is really the matter out there, which the product only learns from answers; and those answers.

use crate::account::shared_health::CreditGroup;
use crate::domain::catalogue::{Catalogue, Wanted};
use crate::domain::endpoint::{GatewayUrl, InstanceUrl};
use crate::domain::fault::Fault;
use crate::domain::id::AccountId;
use crate::domain::model::{ModelName, Provider};
use crate::gitlab::error::{Call, CallError, WaitHeaders, classify, of_read_error, of_send_error};
use crate::gitlab::upstream::{ReadError, SendError};

/// What clients ask for. The first two are of one family, the others alone in theirs or nearly so.
pub(super) const MODELS: [&str; 5] =
    ["claude-sonnet-5", "claude-sonnet-4-6", "claude-opus-5", "claude-haiku-4-5-20251001", "gpt-5.5-2026-04-23"];
/// What the gateway of the second instance does not know: one that has a substitute there, and one that has none.
const UNKNOWN_ELSEWHERE: [&str; 2] = ["claude-sonnet-5", "claude-haiku-4-5-20251001"];

/// How something that is down shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outage {
    Silent,
    Error,
    Page,
}

/// Something that goes wrong for a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trouble {
    /// The user has no credits left, for one model or for all.
    Credit { user: usize, model: Option<usize> },
    /// The namespace that pays is shut out of the proxies.
    Shut { instance: usize, root: usize },
    /// The user has lost the seat.
    Seat { user: usize },
    /// The token was revoked.
    Token { user: usize },
    /// The gateway refuses every grant of the user.
    Grants { user: usize },
    /// GitLab creates no gateway token for the user.
    Mint { user: usize },
    /// The user's answers take very long.
    Slow { user: usize },
    /// An instance fails.
    Instance { instance: usize, outage: Outage },
    /// An instance limits calls.
    Throttled { instance: usize },
    /// A gateway fails.
    Gateway { gateway: usize, outage: Outage },
    /// A gateway cannot reach its quota service.
    Quota { gateway: usize },
    /// A provider behind a gateway answers this status.
    Provider { gateway: usize, anthropic: bool, status: u16 },
    /// This machine is offline.
    Host,
    /// So many of a hundred connections break.
    Breaks { percent: u32 },
}

/// Whose fault it really is when an attempt fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Cause {
    Request,
    Model,
    Account,
    Grant,
    Namespace,
    Provider,
    Gateway,
    Unsupported,
    Host,
    /// A connection that broke, and an answer that never began.
    Chance,
    Silence,
}

/// How an attempt fails.
#[derive(Clone, Debug)]
pub(super) struct Refusal {
    pub(super) fault: Fault,
    pub(super) cause: Cause,
    /// Whether a model may have worked on it.
    pub(super) reached: bool,
}

/// Somebody at GitLab.
#[derive(Clone, Debug)]
pub(super) struct User {
    pub(super) id: AccountId,
    pub(super) instance: usize,
    /// Grants up to this number were revoked.
    pub(super) revoked: u64,
    pub(super) oauth: bool,
    /// Which of the instance's namespaces pays.
    pub(super) root: usize,
}

/// All of it.
#[derive(Debug, Default)]
pub(super) struct Truth {
    pub(super) users: Vec<User>,
    pub(super) troubles: Vec<Trouble>,
}

pub(super) fn instance_url(instance: usize) -> InstanceUrl {
    if instance == 0 { InstanceUrl::gitlab_com() } else { InstanceUrl::parse("https://git.example.com").unwrap() }
}

pub(super) fn gateway_url(gateway: usize) -> GatewayUrl {
    if gateway == 0 { GatewayUrl::cloud() } else { GatewayUrl::parse("https://gateway.example.com").unwrap() }
}

impl Truth {
    pub(super) fn has(&self, trouble: impl Fn(&Trouble) -> bool) -> bool {
        self.troubles.iter().any(trouble)
    }

    pub(super) fn offline(&self) -> bool {
        self.has(|trouble| *trouble == Trouble::Host)
    }

    pub(super) fn slow(&self, user: usize) -> bool {
        self.has(|trouble| *trouble == Trouble::Slow { user })
    }

    /// Returns how many of a hundred connections break.
    pub(super) fn breaks(&self) -> u32 {
        let percents = self.troubles.iter().map(|trouble| match trouble {
            Trouble::Breaks { percent } => *percent,
            _ => 0,
        });
        percents.max().unwrap_or_default()
    }

    pub(super) fn gateway_of(&self, user: usize) -> usize {
        self.users[user].instance
    }

    pub(super) fn user_of(&self, id: &AccountId) -> Option<usize> {
        self.users.iter().position(|user| user.id == *id)
    }

    pub(super) fn group_of(&self, user: usize) -> CreditGroup {
        let (instance, root) = (self.users[user].instance, self.users[user].root);
        CreditGroup::of(&instance_url(instance), Some(&root.to_string()))
    }

    pub(super) fn supports(gateway: usize, model: &ModelName) -> bool {
        gateway == 0 || !UNKNOWN_ELSEWHERE.contains(&model.as_str())
    }

    /// Returns the model that would really serve who wants `wanted` behind `gateway`.
    pub(super) fn model_for(wanted: &Wanted, gateway: usize, catalogue: &Catalogue) -> Option<ModelName> {
        let Wanted::Known(name) = wanted else { return None };
        if Self::supports(gateway, name) {
            return Some(name.clone());
        }
        catalogue.fallback(name, |name| !Self::supports(gateway, name)).map(|entry| entry.name.clone())
    }

    /// Returns whether the account of `user`, with grant number `grant`, would really get an answer from `model`.
    pub(super) fn is_able(&self, user: usize, grant: Option<u64>, model: &ModelName) -> bool {
        match grant {
            Some(grant) => self.at_gateway(user, grant, model).is_none(),
            None => self.mint_refusal(user).is_none() && self.at_gateway(user, u64::MAX, model).is_none(),
        }
    }

    /// Returns how the gateway, or what is before or behind it, refuses a request of `user`.
    pub(super) fn at_gateway(&self, user: usize, grant: u64, model: &ModelName) -> Option<Refusal> {
        let gateway = self.gateway_of(user);
        let anthropic = Provider::of_name(model.as_str()) == Some(Provider::Anthropic);
        let refusal = |cause, error: CallError| Some(Refusal { fault: error.fault, cause, reached: false });
        let answer = |cause, status, body: &str| refusal(cause, said(Call::Gateway, status, body));
        let lost = || of_send_error(Call::Gateway, &SendError::Connect("refused".to_owned()));
        if self.offline() {
            return refusal(Cause::Host, of_send_error(Call::Gateway, &no_network()));
        }
        for trouble in &self.troubles {
            match trouble {
                Trouble::Gateway { gateway: at, outage } if *at == gateway => {
                    return match outage {
                        Outage::Silent => refusal(Cause::Gateway, lost()),
                        Outage::Error => answer(Cause::Gateway, 502, "Bad Gateway"),
                        Outage::Page => answer(Cause::Gateway, 503, "<html>Service Temporarily Unavailable</html>"),
                    };
                }
                _ => {}
            }
        }
        if grant <= self.users[user].revoked || self.has(|trouble| *trouble == Trouble::Grants { user }) {
            return answer(Cause::Grant, 401, r#"{"error":"Forbidden by auth provider"}"#);
        }
        if self.has(|trouble| *trouble == Trouble::Seat { user }) {
            return answer(Cause::Account, 403, r#"{"detail":"Forbidden"}"#);
        }
        let (instance, root) = (self.users[user].instance, self.users[user].root);
        if self.has(|trouble| *trouble == Trouble::Shut { instance, root }) {
            return answer(Cause::Namespace, 402, r#"{"detail":"Model proxies are not enabled for this namespace"}"#);
        }
        if !Self::supports(gateway, model) {
            return answer(Cause::Unsupported, 400, r#"{"detail":"Unsupported model"}"#);
        }
        let of_model = MODELS.iter().position(|name| *name == model.as_str());
        if self.has(|trouble| {
            matches!(trouble, Trouble::Credit { user: of, model } if *of == user && (model.is_none() || *model == of_model))
        }) {
            let body = r#"{"error":"insufficient_credits","error_code":"USAGE_QUOTA_EXCEEDED","message":"Consumer does not have sufficient credits"}"#;
            return answer(Cause::Model, 402, body);
        }
        if self.has(|trouble| *trouble == Trouble::Quota { gateway }) {
            return answer(Cause::Model, 403, r#"{"error":"not_entitled","error_code":"USAGE_QUOTA_NOT_ENTITLED"}"#);
        }
        let status = self.troubles.iter().find_map(|trouble| match trouble {
            Trouble::Provider { gateway: at, anthropic: of, status } if *at == gateway && *of == anthropic => {
                Some(*status)
            }
            _ => None,
        });
        status.map(|status| Refusal { reached: true, ..of_provider(status) })
    }

    /// Returns how GitLab refuses a mint to `user`.
    pub(super) fn mint_refusal(&self, user: usize) -> Option<CallError> {
        self.gitlab_refusal(user, Call::Mint).or_else(|| {
            let answer = |status, body: &str| Some(said(Call::Mint, status, body));
            if self.has(|trouble| *trouble == Trouble::Token { user }) {
                return answer(401, r#"{"error":"invalid_token","error_description":"Token was revoked."}"#);
            }
            if self.has(|trouble| *trouble == Trouble::Seat { user }) {
                return answer(403, r#"{"message":"403 Forbidden"}"#);
            }
            if self.has(|trouble| *trouble == Trouble::Mint { user }) {
                return answer(503, r#"{"message":"503 Service Unavailable - Token creation failed"}"#);
            }
            None
        })
    }

    /// Returns how the instance of `user` fails any call.
    pub(super) fn gitlab_refusal(&self, user: usize, call: Call) -> Option<CallError> {
        let instance = self.users[user].instance;
        let lost = || of_send_error(call, &SendError::Connect("refused".to_owned()));
        if self.offline() {
            return Some(of_send_error(call, &no_network()));
        }
        self.troubles.iter().find_map(|trouble| match trouble {
            Trouble::Instance { instance: at, outage } if *at == instance => Some(match outage {
                Outage::Silent => lost(),
                Outage::Error => said(call, 500, "{}"),
                Outage::Page => said(call, 502, "<html>GitLab is not responding</html>"),
            }),
            Trouble::Throttled { instance: at } if *at == instance => Some(said(call, 429, "Retry later")),
            _ => None,
        })
    }
}

fn said(call: Call, status: u16, body: &str) -> CallError {
    classify(call, status, &WaitHeaders::default(), body.as_bytes())
}

fn no_network() -> SendError {
    SendError::Host("network unreachable".to_owned())
}

fn of_provider(status: u16) -> Refusal {
    let body = match status {
        429 => r#"{"type":"error","error":{"type":"rate_limit_error","message":"slow down"}}"#,
        529 => r#"{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}"#,
        _ => r#"{"type":"error","error":{"type":"api_error","message":"Internal server error"}}"#,
    };
    let fault = said(Call::Gateway, status, body).fault;
    Refusal { fault, cause: Cause::Provider, reached: true }
}

/// A request that no account could serve.
pub(super) fn of_own_fault(too_long: bool) -> Refusal {
    let body = if too_long {
        r#"{"type":"error","error":{"type":"invalid_request_error","message":"prompt is too long: 210000 tokens"}}"#
    } else {
        r#"{"type":"error","error":{"type":"invalid_request_error","message":"messages: Field required"}}"#
    };
    let fault = said(Call::Gateway, 400, body).fault;
    Refusal { fault, cause: Cause::Request, reached: true }
}

/// The connection broke while a model worked.
pub(super) fn of_break() -> Refusal {
    let fault = of_read_error(Call::Gateway, &ReadError::CutShort).fault;
    Refusal { fault, cause: Cause::Chance, reached: true }
}

/// No head came within the time.
pub(super) fn of_silence() -> Refusal {
    let fault = of_send_error(Call::Gateway, &SendError::Timeout).fault;
    Refusal { fault, cause: Cause::Silence, reached: true }
}
