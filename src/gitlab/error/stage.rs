//! What it means that no answer came, or not to its end: one row for each stage and side.

use crate::domain::fault::{Fault, Hold, Reason, Scope};
use crate::gitlab::error::{Call, CallError, clean};
use crate::gitlab::upstream::{ProxyFault, ReadError, SendError, TlsFault};

/// How far a call came before it ended without an answer that could be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// This machine could not even try.
    Host,
    /// No connection: a name that leads nowhere, nobody there, or no answer in time.
    Connect,
    /// A name that leads to an address which is never connected to.
    ForbiddenAddress,
    /// No proxy, or none that answers.
    Proxy,
    /// A proxy that wants credentials, or others.
    ProxyCredentials,
    /// A proxy that does not open the way.
    ProxyRefused,
    /// A connection, but a certificate that nobody who is trusted has signed.
    TlsUntrusted,
    /// A connection, but a certificate that has ended or not begun.
    TlsExpired,
    /// A connection, but a certificate for another name.
    TlsWrongHost,
    /// A connection, but no TLS on it for another reason.
    Tls,
    /// The connection broke while the request was written or before an answer, or what came is not HTTP.
    Broken,
    /// No head of an answer in time.
    Head,
    /// A head, and then silence before the first piece of the body.
    Prelude,
    /// Silence inside the body.
    Body,
    /// The body ended before its end: before its promised length, or the event that ends a stream.
    CutShort,
    /// A whole answer that is not what its content type promises.
    Unreadable,
    /// A line of a stream that is longer than any event.
    LongLine,
    /// A body that is longer than any answer.
    TooLong,
    /// The client's request has taken as long as any may, whoever was slow.
    Deadline,
}

/// Which side was called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Gateway,
    GitLab,
}

struct Row {
    #[cfg_attr(not(test), expect(dead_code, reason = "names the row for the table test"))]
    name: &'static str,
    side: Side,
    stage: Stage,
    scope: Scope,
    reason: Reason,
    hold: Hold,
    curable: bool,
    #[cfg_attr(not(test), expect(dead_code, reason = "says where a row comes from; a test wants it filled"))]
    source: &'static str,
}

macro_rules! row {
    ($name:literal, $side:ident $stage:ident => $scope:ident $reason:ident, $hold:expr, $curable:expr, $source:literal) => {
        Row {
            name: $name,
            side: Side::$side,
            stage: Stage::$stage,
            scope: Scope::$scope,
            reason: Reason::$reason,
            hold: $hold,
            curable: $curable,
            source: $source,
        }
    };
}

use Hold::{Backoff, None as NoHold};

#[rustfmt::skip]
const STAGES: &[Row] = &[
    row!("gateway-host", Gateway Host                 => Host HostOffline, Backoff, true, "POSIX: ENETUNREACH, EMFILE, EADDRNOTAVAIL; EAI_AGAIN"),
    row!("gateway-connect", Gateway Connect           => Gateway GatewayUnreachable, Backoff, true, "own: nothing was sent"),
    row!("gateway-forbidden-address", Gateway ForbiddenAddress => Gateway GatewayUnreachable, Backoff, true, "own: link-local and metadata addresses are never connected to"),
    row!("gateway-proxy", Gateway Proxy               => Gateway ProxyUnreachable, Backoff, true, "own: nothing was sent"),
    row!("gateway-proxy-credentials", Gateway ProxyCredentials => Gateway ProxyUnauthorized, Backoff, true, "RFC 9110, section 15.5.8: 407; 401 seen from tinyproxy 1.11"),
    row!("gateway-proxy-refused", Gateway ProxyRefused => Gateway ProxyRefused, Backoff, true, "RFC 9110, section 9.3.6: anything but a 2xx to CONNECT; 403 by its rules, 500 to 504 where it cannot reach the server"),
    row!("gateway-tls-untrusted", Gateway TlsUntrusted => Gateway CertificateUntrusted, Backoff, true, "rustls: UnknownIssuer; CaUsedAsEndEntity, which a certificate that signs itself meets first"),
    row!("gateway-tls-expired", Gateway TlsExpired    => Gateway CertificateExpired, Backoff, true, "rustls: Expired, NotValidYet"),
    row!("gateway-tls-wrong-host", Gateway TlsWrongHost => Gateway CertificateWrongHost, Backoff, true, "rustls: NotValidForName"),
    row!("gateway-tls", Gateway Tls                   => Gateway TlsFailed, Backoff, true, "own: nothing was sent"),
    row!("gateway-broken", Gateway Broken             => Gateway GatewayUnreachable, Backoff, true, "own: closed without an answer, as a gateway does that restarts"),
    row!("gateway-head-timeout", Gateway Head         => Gateway Timeout, Backoff, false, "own: it may have been worked on, and billed"),
    row!("gateway-prelude-stall", Gateway Prelude     => Provider Timeout, NoHold, true, "own: a model that is slow to begin; nothing was seen yet"),
    row!("gateway-body-stall", Gateway Body           => Provider Timeout, NoHold, true, "own: as before; what was seen is never repeated"),
    row!("gateway-cut-short", Gateway CutShort        => Gateway CutShort, NoHold, true, "seen: pi#5611, streams that end after 90 s while all else is well"),
    row!("gateway-unreadable", Gateway Unreadable     => Gateway CutShort, NoHold, true, "own: the beginning of a JSON object is none itself"),
    row!("gateway-long-line", Gateway LongLine        => Request CutShort, NoHold, false, "own: an answer that no client could take either"),
    row!("gateway-too-long", Gateway TooLong          => Request CutShort, NoHold, false, "own: far above what a model can say"),
    row!("gateway-deadline", Gateway Deadline         => Request Timeout, NoHold, false, "own: our own limit, whoever was slow"),
    row!("gitlab-host", GitLab Host                   => Host HostOffline, Backoff, true, "POSIX: ENETUNREACH, EMFILE, EADDRNOTAVAIL; EAI_AGAIN"),
    row!("gitlab-connect", GitLab Connect             => Instance InstanceUnreachable, Backoff, true, "own"),
    row!("gitlab-forbidden-address", GitLab ForbiddenAddress => Instance InstanceUnreachable, Backoff, true, "own: link-local and metadata addresses are never connected to"),
    row!("gitlab-proxy", GitLab Proxy                 => Instance ProxyUnreachable, Backoff, true, "own"),
    row!("gitlab-proxy-credentials", GitLab ProxyCredentials => Instance ProxyUnauthorized, Backoff, true, "RFC 9110, section 15.5.8: 407; 401 seen from tinyproxy 1.11"),
    row!("gitlab-proxy-refused", GitLab ProxyRefused  => Instance ProxyRefused, Backoff, true, "RFC 9110, section 9.3.6: anything but a 2xx to CONNECT"),
    row!("gitlab-tls-untrusted", GitLab TlsUntrusted  => Instance CertificateUntrusted, Backoff, true, "rustls: UnknownIssuer, CaUsedAsEndEntity"),
    row!("gitlab-tls-expired", GitLab TlsExpired      => Instance CertificateExpired, Backoff, true, "rustls: Expired, NotValidYet"),
    row!("gitlab-tls-wrong-host", GitLab TlsWrongHost => Instance CertificateWrongHost, Backoff, true, "rustls: NotValidForName"),
    row!("gitlab-tls", GitLab Tls                     => Instance TlsFailed, Backoff, true, "own"),
    row!("gitlab-broken", GitLab Broken               => Instance InstanceUnexpected, Backoff, true, "own: closed without an answer, or not HTTP"),
    row!("gitlab-head-timeout", GitLab Head           => Instance InstanceUnreachable, Backoff, true, "own"),
    row!("gitlab-body-stall", GitLab Body             => Instance InstanceUnreachable, Backoff, true, "own"),
    row!("gitlab-cut-short", GitLab CutShort          => Instance InstanceUnexpected, Backoff, true, "own"),
    row!("gitlab-too-long", GitLab TooLong            => Instance InstanceUnexpected, Backoff, true, "own: answers of these routes have a few KiB"),
];

/// Decides what it means that a call came to `stage` and no further; `note` says it to a person.
pub(crate) fn of_stage(call: Call, stage: Stage, note: &str) -> CallError {
    let side = if call == Call::Gateway { Side::Gateway } else { Side::GitLab };
    let row = STAGES.iter().find(|row| row.side == side && row.stage == stage);
    let fault = row.map_or(
        Fault { scope: Scope::Gateway, reason: Reason::GatewayError, hold: Hold::None, curable: true },
        |row| Fault { scope: row.scope, reason: row.reason, hold: row.hold, curable: row.curable },
    );
    CallError { fault, status: None, note: clean(note) }
}

/// Decides what it means that no answer came.
pub(crate) fn of_send_error(call: Call, error: &SendError) -> CallError {
    let stage = match error {
        SendError::Host(_) => Stage::Host,
        SendError::Connect(_) => Stage::Connect,
        SendError::ForbiddenAddress => Stage::ForbiddenAddress,
        SendError::Proxy(ProxyFault::Unreachable, _) => Stage::Proxy,
        SendError::Proxy(ProxyFault::Credentials, _) => Stage::ProxyCredentials,
        SendError::Proxy(ProxyFault::Refused, _) => Stage::ProxyRefused,
        SendError::Tls(TlsFault::Untrusted, _) => Stage::TlsUntrusted,
        SendError::Tls(TlsFault::Expired, _) => Stage::TlsExpired,
        SendError::Tls(TlsFault::WrongHost, _) => Stage::TlsWrongHost,
        SendError::Tls(TlsFault::Other, _) => Stage::Tls,
        SendError::Broken(_) => Stage::Broken,
        SendError::Timeout => Stage::Head,
    };
    of_stage(call, stage, &error.to_string())
}

/// As [`of_send_error`], for a call on a way that one instance has to itself. Where it ends before the gateway, nothing is
/// said of that, which other instances may reach as ever: it is the business of the accounts on this way, each by itself.
pub(crate) fn of_send_error_apart(call: Call, error: &SendError) -> CallError {
    let mut told = of_send_error(call, error);
    if told.fault.reason.is_of_the_way() && told.fault.scope == Scope::Gateway && error.is_unsent() {
        told.fault.scope = Scope::Account;
    }
    told
}

/// Decides what it means that an answer did not come to its end.
pub(crate) fn of_read_error(call: Call, error: &ReadError) -> CallError {
    let stage = match error {
        ReadError::CutShort => Stage::CutShort,
        ReadError::TooLong => Stage::TooLong,
        ReadError::Stalled => Stage::Body,
    };
    of_stage(call, stage, &error.to_string())
}

/// Returns the names of the rows, in their order.
#[cfg(test)]
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    STAGES.iter().map(|row| row.name)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Stage; 19] = [
        Stage::Host,
        Stage::Connect,
        Stage::ForbiddenAddress,
        Stage::Proxy,
        Stage::ProxyCredentials,
        Stage::ProxyRefused,
        Stage::TlsUntrusted,
        Stage::TlsExpired,
        Stage::TlsWrongHost,
        Stage::Tls,
        Stage::Broken,
        Stage::Head,
        Stage::Prelude,
        Stage::Body,
        Stage::CutShort,
        Stage::Unreadable,
        Stage::LongLine,
        Stage::TooLong,
        Stage::Deadline,
    ];

    #[test]
    fn each_stage_has_one_row_at_most_on_either_side_and_each_row_a_source() {
        let rows = |side, stage| STAGES.iter().filter(|row| row.side == side && row.stage == stage).count();
        for stage in ALL {
            assert_eq!(rows(Side::Gateway, stage), 1, "{stage:?}");
            // GitLab streams nothing, and answers no request of a client.
            let gateways_alone = [Stage::Prelude, Stage::Unreadable, Stage::LongLine, Stage::Deadline];
            assert_eq!(rows(Side::GitLab, stage), usize::from(!gateways_alone.contains(&stage)), "{stage:?}");
        }
        assert!(STAGES.iter().all(|row| !row.source.is_empty()));
    }

    #[test]
    fn what_may_have_been_worked_on_is_not_sent_again() {
        assert!(!of_send_error(Call::Gateway, &SendError::Timeout).fault.curable);
        assert!(of_send_error(Call::Gateway, &SendError::Connect("refused".into())).fault.curable);
    }

    #[test]
    fn where_a_way_apart_ends_is_held_against_those_on_it_alone() {
        let unproxied = SendError::Proxy(ProxyFault::Unreachable, String::new());
        let unsecured = SendError::Tls(TlsFault::Untrusted, String::new());
        for error in [unproxied, unsecured, SendError::Connect(String::new())] {
            assert_eq!(of_send_error(Call::Gateway, &error).fault.scope, Scope::Gateway, "{error:?}");
            assert_eq!(of_send_error_apart(Call::Gateway, &error).fault.scope, Scope::Account, "{error:?}");
            assert_eq!(of_send_error_apart(Call::Mint, &error).fault.scope, Scope::Instance, "{error:?}");
        }
        for error in [SendError::Broken(String::new()), SendError::Timeout] {
            assert_eq!(of_send_error_apart(Call::Gateway, &error).fault.scope, Scope::Gateway, "{error:?}");
        }
        let host = SendError::Host(String::new());
        assert_eq!(of_send_error_apart(Call::Gateway, &host).fault.scope, Scope::Host);
    }

    #[test]
    fn our_own_limits_are_held_against_nobody() {
        for stage in [Stage::Deadline, Stage::TooLong, Stage::LongLine] {
            let fault = of_stage(Call::Gateway, stage, "").fault;
            assert_eq!((fault.scope, fault.hold, fault.curable), (Scope::Request, Hold::None, false), "{stage:?}");
        }
    }
}
