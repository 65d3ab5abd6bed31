//! The rows: which call, status and body mean which fault.
//!
//! Tried from top to bottom; the first that fits decides. A row says where its knowledge comes from: *Rails* is GitLab's
//! own source (`ee/lib/api/ai/third_party_agents.rb`, `ee/lib/api/code_suggestions.rb`, `lib/api/api_guard.rb`), *OAuth*
//! RFC 6749 section 5.2, RFC 8628 section 3.5 and Doorkeeper, which GitLab answers them with, *gateway* the AI gateway's
//! (`ai_gateway/api/v1/proxy`, `lib/usage_quota`), *Anthropic* and *OpenAI* their API reference and SDKs, *seen* a report
//! by users, *own* our judgement.
//!
//! What a request brings about by itself never blocks anything: a firewall that dislikes a prompt has no hold.

use std::time::Duration;

use crate::domain::fault::{Fault, Hold, Reason, Scope};
use crate::gitlab::error::evidence::Evidence;
use crate::gitlab::error::headers::{Voice, WaitHeaders, units};
use crate::gitlab::error::{Call, contains_ignoring_case};

/// Which statuses a row fits.
#[derive(Clone, Copy)]
enum Status {
    Is(u16),
    In(u16, u16),
}

/// Which bodies a row fits.
#[derive(Clone, Copy)]
enum Body {
    Any,
    /// It is not JSON: a login page, a proxy's error page, plain text, nothing at all.
    NotJson,
    /// Member `error_code` has this value.
    ErrorCode(&'static str),
    /// Member `error` has this value, which is how OAuth names what is wrong.
    Error(&'static str),
    /// Any of the message members contains one of these texts, in any case.
    Says(&'static [&'static str]),
    /// It has the gateway's own member `detail`.
    Detail,
    /// Member `detail` contains this text, in any case. A provider's message may quote what the client wrote; this may not.
    DetailSays(&'static str),
    /// It has the gateway's own member `detail`, or `error` as a plain text.
    OfGateway,
    /// Member `error` is an object, as a provider has it.
    OfProvider,
    /// A provider's error whose code or type is one of these.
    Code(&'static [&'static str]),
}

/// Whose word is believed on how long it takes, and up to when.
#[derive(Clone, Copy)]
struct Asked {
    voice: Voice,
    most: Duration,
}

pub(super) struct Row {
    /// Names the row for tests and people.
    #[cfg_attr(not(test), expect(dead_code, reason = "names the row for the table test"))]
    pub(super) name: &'static str,
    pub(super) calls: &'static [Call],
    status: Status,
    body: Body,
    scope: Scope,
    reason: Reason,
    hold: Hold,
    curable: bool,
    /// Takes the place of `hold` where the answer names a time.
    asked: Option<Asked>,
    #[cfg_attr(not(test), expect(dead_code, reason = "says where a row comes from; a test wants it filled"))]
    pub(super) source: &'static str,
}

/// Quota answers are cached inside the gateway for an hour, give or take a tenth; asking sooner is useless.
/// Source: `lib/usage_quota` of the gateway (`max-age`, else 3600 s ±10 %).
const QUOTA_HOLD: Duration = Duration::from_mins(65);
/// GitLab names no time in most of its throttling answers; its limits are per minute.
const THROTTLE_HOLD: Duration = Duration::from_mins(1);
/// What is believed of a time that an answer names, at least: less would be no pause at all.
pub(super) const ASKED_MIN: Duration = Duration::from_secs(1);
/// Limits of gitlab.com are per minute or per hour.
const THROTTLED: Option<Asked> = Some(Asked { voice: Voice::GitLab, most: Duration::from_hours(1) });
/// A GitLab in maintenance names a time as well, which its administrator guessed.
const MAINTENANCE: Option<Asked> = Some(Asked { voice: Voice::GitLab, most: Duration::from_mins(5) });
/// A provider's limit is GitLab's as a whole and refills all the time: more than this is looked at again before.
const PROVIDERS: Option<Asked> = Some(Asked { voice: Voice::Provider, most: Duration::from_secs(30) });
/// Words of `OpenAI` before a time, in the message of a 429: the gateway passes no header on, but every body. Codex reads
/// them as well.
const TRY_AGAIN_IN: &str = "try again in ";

const REST: &[Call] = &[Call::Identity, Call::Mint, Call::CodeSuggestions, Call::Models];
const OAUTH: &[Call] = &[Call::CodeExchange, Call::Refresh, Call::DeviceStart, Call::DevicePoll, Call::Revoke];
const GITLAB: &[Call] = &[
    Call::Identity,
    Call::Mint,
    Call::CodeSuggestions,
    Call::Models,
    Call::CodeExchange,
    Call::Refresh,
    Call::DeviceStart,
    Call::DevicePoll,
    Call::Revoke,
];
const IDENTITY: &[Call] = &[Call::Identity];
const MINT: &[Call] = &[Call::Mint, Call::CodeSuggestions];
const AGENTS: &[Call] = &[Call::Mint];
const SUGGESTIONS: &[Call] = &[Call::CodeSuggestions];
const REFRESH: &[Call] = &[Call::Refresh];
const CODES: &[Call] = &[Call::CodeExchange, Call::DevicePoll];
const DEVICE_START: &[Call] = &[Call::DeviceStart];
const GATEWAY: &[Call] = &[Call::Gateway];

macro_rules! row {
    ($name:literal, $calls:expr, $status:expr, $body:expr => $scope:ident $reason:ident, $hold:expr, $curable:expr, $source:literal) => {
        row!($name, $calls, $status, $body => $scope $reason, $hold, $curable, $source; None)
    };
    ($name:literal, $calls:expr, $status:expr, $body:expr => $scope:ident $reason:ident, $hold:expr, $curable:expr, $source:literal; $asked:expr) => {
        Row {
            name: $name,
            calls: $calls,
            status: $status,
            body: $body,
            scope: Scope::$scope,
            reason: Reason::$reason,
            hold: $hold,
            curable: $curable,
            asked: $asked,
            source: $source,
        }
    };
}

use Body::{Any, Code, Detail, DetailSays, Error, ErrorCode, NotJson, OfGateway, OfProvider, Says};
use Hold::{Backoff, For, UntilFixed, UntilMinted};
use Status::{In, Is};

/// The words in which providers say that a conversation does not fit the model.
const OVERFLOW: &[&str] =
    &["prompt is too long", "exceed context limit", "maximum context length", "exceeds the context window"];
/// The words in which Anthropic says that the key's owner is out of credit, over a limit of his own, or closed.
const UNPAID: &[&str] = &["credit balance is too low", "specified API usage limits", "organization has been disabled"];

#[rustfmt::skip]
pub(super) const TABLE: &[Row] = &[
    // GitLab itself: tokens, direct access, GraphQL.
    row!("identity-400-not-a-pat", IDENTITY, Is(400), Says(&["personal access token"]) => Account TokenInvalid, UntilFixed, true, "Rails: personal_access_tokens/self answers so to an OAuth token"),
    row!("rest-401-expired", REST, Is(401), Says(&["expired"])         => Account TokenExpired, UntilFixed, true, "Rails: api_guard.rb"),
    row!("rest-401-revoked", REST, Is(401), Says(&["revoked"])         => Account TokenRevoked, UntilFixed, true, "Rails: api_guard.rb"),
    row!("rest-401-page", REST, Is(401), NotJson                       => Instance InstanceUnexpected, Backoff, true, "own: GitLab's 401 is JSON; a proxy's is not"),
    row!("suggestions-401", SUGGESTIONS, Is(401), Any                  => Account NotEntitled, UntilFixed, true, "Rails: code_suggestions.rb answers 401 where the seat is missing"),
    row!("rest-401", REST, Is(401), Any                                => Account TokenInvalid, UntilFixed, true, "Rails: api_guard.rb"),
    row!("rest-403-scope", REST, Is(403), Error("insufficient_scope")  => Account ScopeMissing, UntilFixed, true, "Rails: api_guard.rb"),
    row!("rest-403-page", REST, Is(403), NotJson                       => Instance InstanceUnexpected, Backoff, true, "own: a web firewall, not GitLab"),
    row!("mint-403-quota-unknown", MINT, Is(403), ErrorCode("USAGE_QUOTA_NOT_ENTITLED") => Account QuotaUnknown, Backoff, true, "Rails: code_suggestions.rb passes the gateway's status through; said by an outage of the quota service too"),
    row!("mint-403-direct-connections", MINT, Is(403), Says(&["Direct connections are disabled"]) => Account NotEntitled, UntilFixed, true, "Rails: code_suggestions.rb, disabled_direct_code_suggestions"),
    row!("mint-403-unpaid", MINT, Is(403), Says(&["paid, non-trial namespaces"]) => Account NotEntitled, UntilFixed, true, "Rails: code_suggestions.rb"),
    row!("mint-403", MINT, Is(403), Any                                => Account NotEntitled, UntilFixed, true, "Rails: third_party_agents.rb policy"),
    row!("rest-403", REST, Is(403), Any                                => Account NotEntitled, UntilFixed, true, "Rails: api_guard.rb: blocked, deactivated, password expired, terms not accepted"),
    row!("mint-402", MINT, Is(402), Any                                => Account QuotaExhausted, For(QUOTA_HOLD), true, "Rails: code_suggestions.rb passes the gateway's status through"),
    row!("mint-404-page", MINT, Is(404), NotJson                       => Instance InstanceUnexpected, Backoff, true, "own: GitLab's API answers an unknown route in JSON; a wrong address or a proxy does not"),
    row!("mint-404", MINT, Is(404), Any                                => Account InstanceTooOld, UntilFixed, true, "Rails: route exists from 18.4, Enterprise Edition"),
    row!("suggestions-400-no-model", SUGGESTIONS, Is(400), Says(&["No Code Completion model"]) => Account NotEntitled, UntilFixed, true, "Rails: gitlab!248253, from 19.1 where no completion model is set"),
    row!("mint-422-namespace", MINT, Is(422), Says(&["missing_default_duo_group"]) => Account NamespaceMissing, UntilFixed, true, "Rails: code_suggestions.rb"),
    row!("mint-429-user", MINT, Is(429), Says(&["requested too many times"]) => Account InstanceThrottled, For(THROTTLE_HOLD), true, "Rails: application_rate_limiter.rb counts by user"; THROTTLED),
    row!("mint-503-namespace", MINT, Is(503), Says(&["Missing default GitLab Duo namespace"]) => Account NamespaceMissing, UntilFixed, true, "Rails: third_party_agents.rb; seen opencode#23139"),
    row!("mint-503-duo-off", MINT, Is(503), Says(&["disabled for the billing namespace"]) => Account DuoDisabled, UntilFixed, true, "Rails: gitlab!255682"),
    row!("mint-503-hidden", MINT, Is(503), Says(&["Token creation failed"]) => Account MintFailed, Backoff, true, "Rails: token_service.rb hides quota, seat or outage"),
    row!("mint-503-service", AGENTS, Is(503), Says(&["Token is missing in response", "error occurred when creating a Direct Access Token"]) => Instance InstanceError, Backoff, true, "Rails: token_service.rb"),
    // OAuth: decided by what `error` says. Doorkeeper checks client, grant type, scopes and parameters before it does
    // anything, so none of these refusals leaves a token used; what says nothing of the kind may hide a proxy's error.
    row!("refresh-invalid-grant", REFRESH, In(100, 999), Error("invalid_grant") => Account LoginEnded, UntilFixed, true, "OAuth: status 400; seen as 401 (gitlab-foss#29468)"),
    row!("code-invalid-grant", CODES, In(100, 999), Error("invalid_grant") => Account CodeRefused, UntilFixed, true, "OAuth: used, expired, or another redirect URI or verifier"),
    row!("oauth-invalid-client", OAUTH, In(200, 499), Error("invalid_client") => Account ClientRefused, UntilFixed, true, "OAuth: wrong id or secret, status 401"),
    row!("oauth-unauthorized-client", OAUTH, In(200, 499), Error("unauthorized_client") => Account ClientRefused, UntilFixed, true, "OAuth: the application may not use this grant; Doorkeeper: no client in a revocation, status 403"),
    row!("oauth-grant-type", OAUTH, In(200, 499), Error("unsupported_grant_type") => Account LoginUnsupported, UntilFixed, true, "OAuth"),
    row!("oauth-scope", OAUTH, In(200, 499), Error("invalid_scope")    => Account ScopesRefused, UntilFixed, true, "OAuth: the application was registered without them"),
    row!("device-404", DEVICE_START, Is(404), Any                      => Account LoginUnsupported, UntilFixed, true, "Rails: route exists from 17.2, behind a flag until 17.9"),
    row!("gitlab-429", GITLAB, Is(429), Any                            => Instance InstanceThrottled, For(THROTTLE_HOLD), true, "Rails: often plain text `Retry later`"; THROTTLED),
    row!("gitlab-3xx", GITLAB, In(300, 399), Any                       => Instance InstanceUnexpected, Backoff, true, "own: redirects are never followed with a token"),
    row!("gitlab-2xx", GITLAB, In(200, 299), Any                       => Instance InstanceUnexpected, Backoff, true, "own: a success whose body is not the API's"),
    row!("gitlab-5xx", GITLAB, In(500, 599), Any                       => Instance InstanceError, Backoff, true, "own; maintenance mode names a time"; MAINTENANCE),
    row!("gitlab-else", GITLAB, In(100, 999), Any                      => Instance InstanceUnexpected, Backoff, true, "own"),
    // The gateway's own refusals, in the order of its checks, with the provider's of the same status beside them.
    row!("gateway-401-provider", GATEWAY, Is(401), OfProvider          => Provider ProviderRefused, Backoff, true, "Anthropic: authentication_error; OpenAI: invalid_api_key. The gateway's key, not ours"),
    row!("gateway-401-page", GATEWAY, Is(401), NotJson                 => Gateway GatewayError, Backoff, true, "own: the gateway's 401 is JSON; a proxy's is not"),
    row!("gateway-401", GATEWAY, Is(401), Any                          => Account GrantRefused, UntilMinted, true, "gateway: auth middleware; `Forbidden by auth provider`, `Header mismatch`"),
    row!("gateway-402-quota", GATEWAY, Is(402), ErrorCode("USAGE_QUOTA_EXCEEDED") => Model QuotaExhausted, For(QUOTA_HOLD), true, "gateway: usage_quota.md"),
    row!("gateway-402-closed", GATEWAY, Is(402), Detail                => Namespace ProxyNotEnabled, UntilFixed, true, "gateway: proxy allowlist of 2026-06-15, by namespace or instance"),
    row!("gateway-402-provider", GATEWAY, Is(402), OfProvider          => Provider ProviderRefused, Backoff, true, "Anthropic: billing_error. GitLab's bill, not the account's"),
    row!("gateway-402", GATEWAY, Is(402), Any                          => Model QuotaExhausted, For(QUOTA_HOLD), true, "own: any other payment refusal"),
    row!("gateway-403-page", GATEWAY, Is(403), NotJson                 => Gateway GatewayError, Hold::None, true, "own: a web firewall, which may have disliked this one request"),
    row!("gateway-403-quota-unknown", GATEWAY, Is(403), ErrorCode("USAGE_QUOTA_NOT_ENTITLED") => Model QuotaUnknown, Backoff, true, "gateway: also what it says while the quota service is down"),
    row!("gateway-403-mismatch", GATEWAY, Is(403), DetailSays("mismatch") => Account GrantRefused, UntilMinted, true, "gateway: headers and token do not belong together"),
    row!("gateway-403-gateway", GATEWAY, Is(403), OfGateway            => Account NotEntitled, Backoff, true, "gateway: token lacks the scope"),
    row!("gateway-403-provider", GATEWAY, Is(403), Any                 => Provider ProviderRefused, Backoff, true, "Anthropic: permission_error; OpenAI: country not supported. The gateway's key, not ours"),
    row!("gateway-400-unsupported-model", GATEWAY, Is(400), DetailSays("Unsupported model") => Request UnsupportedModel, Hold::None, true, "gateway: models.yml, exact names; decided before quota"),
    row!("gateway-400-unit-primitive", GATEWAY, Is(400), DetailSays("unit-primitive header") => Account GrantRefused, UntilMinted, true, "gateway: credential of the wrong kind"),
    row!("gateway-400-unit-primitive-unknown", GATEWAY, Is(400), DetailSays("unit primitive header") => Account GrantRefused, UntilMinted, true, "gateway: credential of the wrong kind"),
    row!("gateway-400-no-key", GATEWAY, Is(400), DetailSays("API key not found") => Provider ProviderRefused, Backoff, true, "gateway: self-hosted without this provider's key"),
    row!("gateway-400-gateway", GATEWAY, Is(400), OfGateway            => Request BadRequest, Hold::None, false, "gateway: `Invalid JSON`, `Failed to extract model name`"),
    row!("gateway-404-gateway", GATEWAY, Is(404), OfGateway            => Gateway GatewayError, Backoff, true, "gateway: path not allowed; an address that is not the gateway's"),
    row!("gateway-404-page", GATEWAY, Is(404), NotJson                 => Gateway GatewayError, Backoff, true, "own: an address that is not the gateway's; paths are a closed list, so no request can bring it about"),
    row!("gateway-429-page", GATEWAY, Is(429), NotJson                 => Gateway GatewayThrottled, Backoff, true, "own: an edge's limit, by address"; PROVIDERS),
    row!("gateway-429-gateway", GATEWAY, Is(429), OfGateway            => Gateway GatewayThrottled, Backoff, true, "own: none in the gateway's source today"; PROVIDERS),
    row!("gateway-3xx", GATEWAY, In(300, 399), Any                     => Gateway GatewayError, Backoff, true, "own: redirects are never followed with a token"),
    row!("gateway-2xx", GATEWAY, In(200, 299), Any                     => Gateway GatewayError, Backoff, true, "own: a success that is not the API's"),
    // The provider's answers, passed through by the gateway.
    row!("provider-400-overflow", GATEWAY, Is(400), Says(OVERFLOW)     => Request TooLong, Hold::None, false, "Anthropic, OpenAI: bodies seen; says `token`, and is none of a token's faults"),
    row!("provider-400-overflow-code", GATEWAY, Is(400), Code(&["context_length_exceeded"]) => Request TooLong, Hold::None, false, "OpenAI: error codes"),
    row!("provider-400-unpaid", GATEWAY, Is(400), Says(UNPAID)         => Provider ProviderRefused, Backoff, true, "Anthropic: an invalid_request_error about the key's owner; seen claude-code#2127, #38035"),
    row!("provider-400-encrypted-content", GATEWAY, Is(400), Code(&["invalid_encrypted_content"]) => Request BadRequest, Hold::None, false, "OpenAI: reasoning of another organisation; seen codex#8119"),
    row!("provider-400-signature", GATEWAY, Is(400), Says(&["`signature` in `thinking`"]) => Request BadRequest, Hold::None, false, "Anthropic: a thinking block that was changed; seen claude-code#10627"),
    row!("provider-400-string-length", GATEWAY, Is(400), Code(&["string_above_max_length"]) => Request BadRequest, Hold::None, false, "OpenAI: one member is too long, such as a call id; shortening the conversation does not help"),
    row!("provider-400", GATEWAY, Is(400), Any                         => Request BadRequest, Hold::None, false, "Anthropic: invalid_request_error; OpenAI: BadRequestError"),
    row!("provider-404-model", GATEWAY, Is(404), Code(&["model_not_found"]) => Provider UnsupportedModel, Hold::None, true, "OpenAI: error codes; the gateway lists what its provider's organisation lacks"),
    row!("provider-404-model-anthropic", GATEWAY, Is(404), Says(&["model:"]) => Provider UnsupportedModel, Hold::None, true, "Anthropic: not_found_error, `model: NAME`"),
    row!("provider-404", GATEWAY, Is(404), Any                         => Request BadRequest, Hold::None, false, "Anthropic: not_found_error, such as a file or container"),
    row!("provider-408", GATEWAY, Is(408), Any                         => Provider Timeout, Hold::None, true, "SDKs of OpenAI and Anthropic: sent again"),
    row!("provider-409", GATEWAY, Is(409), Any                         => Provider ProviderError, Hold::None, true, "SDKs of OpenAI and Anthropic: a lock that was not had in time, sent again"),
    row!("provider-413", GATEWAY, Is(413), Any                         => Request BadRequest, Hold::None, false, "Anthropic: request_too_large. More bytes than are taken, whatever they mean to the model"),
    row!("provider-422", GATEWAY, Is(422), Any                         => Request BadRequest, Hold::None, false, "gateway: validation; SDKs: UnprocessableEntityError"),
    row!("provider-429-unpaid", GATEWAY, Is(429), Code(&["insufficient_quota", "credit_balance_exhausted"]) => Provider ProviderRefused, Backoff, true, "OpenAI: error codes. GitLab's bill, not the account's"),
    row!("provider-429", GATEWAY, Is(429), Any                         => Provider ProviderThrottled, Backoff, true, "gateway: GitLab's shared limit, not the account's; Anthropic: rate_limit_error, OpenAI: rate_limit_exceeded, slow_down"; PROVIDERS),
    row!("gateway-500-no-key", GATEWAY, Is(500), DetailSays("API key not set") => Provider ProviderRefused, Backoff, true, "gateway: self-hosted without this provider's key"),
    row!("gateway-502", GATEWAY, Is(502), Any                          => Gateway GatewayError, Backoff, true, "gateway: `Bad Gateway`"; PROVIDERS),
    row!("gateway-5xx", GATEWAY, In(500, 599), OfGateway               => Gateway GatewayError, Backoff, true, "own: an error of the gateway itself"; PROVIDERS),
    row!("gateway-5xx-page", GATEWAY, In(500, 599), NotJson            => Gateway GatewayError, Backoff, true, "own: an edge's error page"; PROVIDERS),
    row!("provider-500", GATEWAY, Is(500), Any                         => Provider ProviderError, Backoff, true, "Anthropic: api_error; OpenAI: server_error"; PROVIDERS),
    row!("provider-503", GATEWAY, Is(503), Any                         => Provider ProviderError, Backoff, true, "OpenAI: server_is_overloaded, slow_down"; PROVIDERS),
    row!("provider-504", GATEWAY, Is(504), Any                         => Provider Timeout, Backoff, true, "Anthropic: timeout_error"; PROVIDERS),
    row!("provider-529", GATEWAY, Is(529), Any                         => Provider ProviderError, Backoff, true, "Anthropic: overloaded_error"; PROVIDERS),
    row!("provider-5xx", GATEWAY, In(500, 599), Any                    => Provider ProviderError, Backoff, true, "own: any other error in a provider's words"; PROVIDERS),
    row!("provider-4xx", GATEWAY, In(400, 499), Any                    => Request BadRequest, Hold::None, false, "Anthropic: invalid_request_error stands for other 4xx as well"),
    row!("gateway-else", GATEWAY, In(100, 999), Any                    => Gateway GatewayError, Hold::None, true, "own: unheard of"),
];

impl Row {
    pub(super) fn fits(&self, call: Call, status: u16, evidence: Option<&Evidence>, texts: &[String]) -> bool {
        let status_fits = match self.status {
            Is(wanted) => status == wanted,
            In(low, high) => (low..=high).contains(&status),
        };
        let says = |words: &&str| texts.iter().any(|text| contains_ignoring_case(text, words));
        let body_fits = || match self.body {
            Any => true,
            NotJson => evidence.is_none(),
            Error(value) => evidence.and_then(Evidence::error) == Some(value),
            ErrorCode(code) => evidence.and_then(Evidence::error_code) == Some(code),
            Says(any) => any.iter().any(says),
            Detail => evidence.is_some_and(|evidence| evidence.detail().is_some()),
            DetailSays(words) => {
                evidence.and_then(Evidence::detail).is_some_and(|detail| contains_ignoring_case(&detail, words))
            }
            OfGateway => evidence.is_some_and(Evidence::is_of_gateway),
            OfProvider => evidence.is_some_and(Evidence::is_of_provider),
            Code(any) => evidence.is_some_and(|evidence| any.iter().any(|word| evidence.is_providers(word))),
        };
        self.calls.contains(&call) && status_fits && body_fits()
    }

    /// Returns what the row says of an answer with `headers` and the message members `texts`.
    pub(super) fn fault(&self, headers: &WaitHeaders, texts: &[String]) -> Fault {
        let named = self.asked.and_then(|asked| {
            let time =
                headers.wait(asked.voice).or_else(|| said_wait(texts).filter(|_| asked.voice == Voice::Provider))?;
            Some(Hold::For(time.clamp(ASKED_MIN, asked.most)))
        });
        Fault { scope: self.scope, reason: self.reason, hold: named.unwrap_or(self.hold), curable: self.curable }
    }
}

/// Returns the time that a message names itself.
fn said_wait(texts: &[String]) -> Option<Duration> {
    texts.iter().find_map(|text| {
        let text = text.to_ascii_lowercase();
        let (_, rest) = text.split_once(TRY_AGAIN_IN)?;
        units(rest)
    })
}
