//! Why no answer came, or not to its end, and how far it was: told from the errors of awc, rustls and the system.

use awc::error::{ConnectError, SendRequestError};
use awc::http::Uri;
use rustls::CertificateError;

use crate::domain::endpoint::EndpointError;
use crate::gitlab::upstream::tunnel::TunnelError;

/// Why no head of an answer came.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SendError {
    /// No connection, for a reason that lies in this machine: the request was not sent.
    #[error("cannot connect: {0}")]
    Host(String),
    /// No connection: the request was not sent.
    #[error("cannot connect: {0}")]
    Connect(String),
    /// No connection, because of the proxy: the request was not sent.
    #[error("cannot connect: {1}")]
    Proxy(ProxyFault, String),
    /// A connection, but no TLS on it: the request was not sent.
    #[error("cannot connect: {1}")]
    Tls(TlsFault, String),
    /// The name leads to an address that is never connected to.
    #[error("cannot connect: the host name leads to an address that duopool never connects to")]
    ForbiddenAddress,
    /// The other side closed the connection without an answer, or answered something that is not HTTP.
    #[error("connection broke: {0}")]
    Broken(String),
    /// No head within the time.
    #[error("no answer in time")]
    Timeout,
}

/// What is wrong with a proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ProxyFault {
    /// It cannot be reached, does not answer, or answers something that is not HTTP.
    Unreachable,
    /// It wants credentials, or others.
    Credentials,
    /// It does not open the way: by its rules, or because it cannot reach the server itself.
    Refused,
}

/// Why there is no TLS on a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TlsFault {
    /// The certificate is signed by nobody who is trusted.
    Untrusted,
    /// The certificate has ended, or has not begun.
    Expired,
    /// The certificate is for another name.
    WrongHost,
    /// Anything else, such as a server that speaks no TLS.
    Other,
}

impl SendError {
    /// Returns whether the request has surely not been sent.
    pub(crate) fn is_unsent(&self) -> bool {
        match self {
            Self::Host(_) | Self::Connect(_) | Self::Proxy(..) | Self::Tls(..) | Self::ForbiddenAddress => true,
            Self::Broken(_) | Self::Timeout => false,
        }
    }
}

/// Why a body could not be read to its end.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReadError {
    /// It ended early, or the connection broke.
    #[error("answer cut short")]
    CutShort,
    /// It is longer than was allowed.
    #[error("answer too long")]
    TooLong,
    /// Silence for too long.
    #[error("answer stalled")]
    Stalled,
}

/// Returns whether the connection was closed before the first byte of an answer.
///
/// An answer that began and broke off is an error of kind `Other` of the codec, not one of the socket's.
pub(super) fn is_unanswered(error: &SendRequestError) -> bool {
    use std::io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, NotConnected, UnexpectedEof};
    let is_closed = |error: &std::io::Error| {
        matches!(error.kind(), BrokenPipe | ConnectionAborted | ConnectionReset | NotConnected | UnexpectedEof)
    };
    match error {
        SendRequestError::Connect(ConnectError::Disconnected) => true,
        SendRequestError::Send(error) | SendRequestError::Response(actix_web::error::ParseError::Io(error)) => {
            is_closed(error)
        }
        _ => false,
    }
}

/// Returns what it means that a request to `url` got no answer.
pub(super) fn send_error(error: SendRequestError, url: &Uri) -> SendError {
    match error {
        SendRequestError::Connect(ConnectError::Disconnected) => SendError::Broken("closed without an answer".into()),
        SendRequestError::Connect(ConnectError::Resolver(error)) => of_resolver(&*error, url),
        SendRequestError::Connect(ConnectError::Io(error)) if is_hosts_fault(&error) => {
            SendError::Host(error.to_string())
        }
        SendRequestError::Connect(ConnectError::Io(error)) => match tls_fault(&error) {
            Some(fault) => SendError::Tls(fault, at(url, &error)),
            None => SendError::Connect(error.to_string()),
        },
        SendRequestError::Connect(error) => SendError::Connect(error.to_string()),
        SendRequestError::Timeout => SendError::Timeout,
        SendRequestError::Url(error) => SendError::Connect(error.to_string()),
        other => SendError::Broken(other.to_string()),
    }
}

/// Returns what our own connector said: awc has no other place for it than the resolver's.
fn of_resolver(error: &(dyn std::error::Error + 'static), url: &Uri) -> SendError {
    if error.downcast_ref::<EndpointError>().is_some() {
        return SendError::ForbiddenAddress;
    }
    if let Some(error) = error.downcast_ref::<TunnelError>() {
        return match error {
            TunnelError::Host(error) => SendError::Host(error.to_string()),
            error => SendError::Proxy(error.fault(), at(url, error)),
        };
    }
    let is_hosts = error.downcast_ref::<std::io::Error>().is_some_and(is_hosts_fault);
    let said = error.to_string();
    if is_hosts { SendError::Host(said) } else { SendError::Connect(said) }
}

/// Says of which server an error is, which may be GitLab or the gateway, at the instance's own port or at another.
fn at(url: &Uri, error: &dyn std::fmt::Display) -> String {
    format!("{}: {error}", url.authority().map_or("", |authority| authority.as_str()))
}

/// Returns what rustls found wrong; `None` if the error is not one of its.
pub(super) fn tls_fault(error: &std::io::Error) -> Option<TlsFault> {
    use CertificateError::{
        Expired, ExpiredContext, NotValidForName, NotValidForNameContext, NotValidYet, NotValidYetContext,
        UnknownIssuer,
    };
    let rustls::Error::InvalidCertificate(wrong) = error.get_ref()?.downcast_ref::<rustls::Error>()? else {
        return Some(TlsFault::Other);
    };
    Some(match wrong {
        UnknownIssuer => TlsFault::Untrusted,
        Expired | ExpiredContext { .. } | NotValidYet | NotValidYetContext { .. } => TlsFault::Expired,
        NotValidForName | NotValidForNameContext { .. } => TlsFault::WrongHost,
        other if is_of_an_authority(other) => TlsFault::Untrusted,
        _ => TlsFault::Other,
    })
}

/// Returns whether a server was refused because it shows the certificate of an authority as its own, as those do that
/// `openssl req -x509` signs by themselves. It is looked at before who signed it, and rustls passes it on as a text.
pub(super) fn is_of_an_authority(wrong: &CertificateError) -> bool {
    matches!(wrong, CertificateError::Other(other) if other.to_string().contains("CaUsedAsEndEntity"))
}

/// Returns whether a failure to connect lies in this machine, whoever was to be reached: no network, no answer from DNS,
/// no file descriptor or port left.
///
/// What the resolver says comes as a text alone. Source: `gai_strerror(EAI_AGAIN)` of glibc, and of musl.
pub(super) fn is_hosts_fault(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{AddrNotAvailable, NetworkDown, NetworkUnreachable, OutOfMemory};
    /// `ENFILE` and `EMFILE`, which have no kind of their own; the same numbers on Linux and the BSDs.
    const NO_DESCRIPTORS: [i32; 2] = [23, 24];
    let said = error.to_string();
    matches!(error.kind(), AddrNotAvailable | NetworkDown | NetworkUnreachable | OutOfMemory)
        || error.raw_os_error().is_some_and(|code| NO_DESCRIPTORS.contains(&code))
        || said.contains("Temporary failure in name resolution")
        || said.ends_with("Try again")
}
