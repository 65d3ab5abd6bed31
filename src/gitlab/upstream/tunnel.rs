//! A connection through a proxy: `CONNECT` (RFC 9110, section 9.3.6).
//!
//! Everything goes by `CONNECT`, also what is not TLS, which is spoken to this machine alone: no proxy sees a token.

use std::io;
use std::sync::Arc;

use actix_tls::connect::rustls_0_23::TlsConnector;
use actix_tls::connect::{Connection, Host};
use actix_web::dev::Service as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::domain::route::Proxy;
use crate::gitlab::upstream::AGENT;
use crate::gitlab::upstream::connector::dial;
use crate::gitlab::upstream::failure::{ProxyFault, is_hosts_fault};
use crate::gitlab::upstream::line::Line;

/// Longest head of a proxy's answer, in bytes.
const HEAD_BYTES_MAX: usize = 16 * 1024;

/// Why there is no way through a proxy.
#[derive(Debug, thiserror::Error)]
pub(super) enum TunnelError {
    /// This machine could not even try.
    #[error("{0}")]
    Host(io::Error),
    /// Nobody is there.
    #[error("the proxy {proxy} cannot be reached: {source}")]
    Unreachable {
        /// Which one, without its credentials.
        proxy: String,
        /// What the system or rustls said.
        source: io::Error,
    },
    /// No answer.
    #[error("the proxy {0} did not answer in time")]
    Silent(String),
    /// An answer that is none.
    #[error("the proxy {0} answered something that is not HTTP")]
    NotHttp(String),
    /// It wants credentials.
    #[error("the proxy {proxy} {}", if *.shown { "does not accept the credentials" } else { "wants credentials" })]
    Credentials {
        /// Which one.
        proxy: String,
        /// Whether it was shown some.
        shown: bool,
    },
    /// It does not open the way.
    #[error("the proxy {proxy} answered {status}")]
    Refused {
        /// Which one.
        proxy: String,
        /// Its status.
        status: u16,
    },
}

impl TunnelError {
    /// Returns what is wrong with the proxy.
    pub(super) fn fault(&self) -> ProxyFault {
        match self {
            Self::Host(_) | Self::Unreachable { .. } | Self::Silent(_) | Self::NotHttp(_) => ProxyFault::Unreachable,
            Self::Credentials { .. } => ProxyFault::Credentials,
            Self::Refused { .. } => ProxyFault::Refused,
        }
    }
}

/// Connects to `host`, a name or an address without brackets, at `port` through `proxy`. Has no time limit of its own.
///
/// The proxy is the operator's word, so its address may be any. Where the name leads, the proxy decides.
pub(super) async fn open(
    proxy: &Proxy,
    tls: &Arc<rustls::ClientConfig>,
    host: &str,
    port: u16,
) -> Result<Line, TunnelError> {
    let unreachable = |source: io::Error| {
        if is_hosts_fault(&source) {
            return TunnelError::Host(source);
        }
        TunnelError::Unreachable { proxy: proxy.to_string(), source }
    };
    let stream = dial(&proxy.host, proxy.port).await.map_err(unreachable)?;
    let mut line =
        if proxy.tls { secured(tls, &proxy.host, stream).await.map_err(unreachable)? } else { Line::Plain(stream) };
    line.write_all(request(proxy, host, port).as_bytes()).await.map_err(unreachable)?;
    line.flush().await.map_err(unreachable)?;
    match status(&mut line).await.map_err(unreachable)? {
        Some(200..=299) => Ok(line),
        // 401 is wrong from a proxy, and what tinyproxy says to a wrong password.
        Some(401 | 407) => {
            Err(TunnelError::Credentials { proxy: proxy.to_string(), shown: proxy.credentials.is_some() })
        }
        Some(status) => Err(TunnelError::Refused { proxy: proxy.to_string(), status }),
        None => Err(TunnelError::NotHttp(proxy.to_string())),
    }
}

/// What a certificate must name: a name or an address without brackets. As a text, an IPv6 address would be taken apart at
/// its first colon.
struct Named(String);

impl Host for Named {
    fn hostname(&self) -> &str {
        &self.0
    }
}

/// Begins TLS with `host`, a name or an address without brackets.
pub(super) async fn secured(tls: &Arc<rustls::ClientConfig>, host: &str, stream: TcpStream) -> io::Result<Line> {
    let named = Connection::new(Named(host.to_owned()), stream);
    let connection = TlsConnector::service(Arc::clone(tls)).call(named).await?;
    Ok(Line::Tls(Box::new(connection.into_parts().0)))
}

fn request(proxy: &Proxy, host: &str, port: u16) -> String {
    let target = if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
    let credentials = proxy.credentials.as_ref();
    let credentials =
        credentials.map(|value| format!("Proxy-Authorization: {}\r\n", value.expose())).unwrap_or_default();
    format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\nUser-Agent: {AGENT}\r\n{credentials}\r\n")
}

/// Reads the head of an answer and returns its status; `None` if it is no head of HTTP/1, or not by itself: neither a server
/// of TLS nor one of HTTP speaks first, so nothing may follow it.
async fn status(line: &mut Line) -> io::Result<Option<u16>> {
    let mut head = Vec::with_capacity(1_024);
    loop {
        if line.read_buf(&mut head).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if !b"HTTP/1.".starts_with(&head[..head.len().min(7)]) || head.len() > HEAD_BYTES_MAX {
            return Ok(None);
        }
        if let Some(end) = memchr::memmem::find(&head, b"\r\n\r\n") {
            let status = status_of(&head);
            let success = status.is_some_and(|status| (200..300).contains(&status));
            // A refusal may explain itself; nobody reads that.
            return Ok(status.filter(|_| !success || end + 4 == head.len()));
        }
    }
}

fn status_of(head: &[u8]) -> Option<u16> {
    let line = head.split(|byte| *byte == b'\r').next()?;
    let status = std::str::from_utf8(line).ok()?.split(' ').nth(1)?;
    status.parse().ok().filter(|status| (100..1_000).contains(status))
}
