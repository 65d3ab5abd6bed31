//! One look at a way, step by step, for whoever wants to know where it ends.

use std::net::IpAddr;
use std::time::Duration;

use actix_tls::connect::rustls_0_23::TlsConnector;
use actix_tls::connect::{ConnectError as TcpConnectError, Connection};
use actix_web::dev::Service as _;
use awc::error::{ConnectError, SendRequestError};
use awc::http::Uri;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::time::{Instant, timeout};

use crate::domain::time::Timestamp;
use crate::gitlab::upstream::certificate::Certificate;
use crate::gitlab::upstream::connector::{allowed, first_of, look_up};
use crate::gitlab::upstream::failure::send_error;
use crate::gitlab::upstream::line::Line;
use crate::gitlab::upstream::trust::Watched;
use crate::gitlab::upstream::{AGENT, SendError, Upstream};

/// Longest head of an answer, in bytes.
const HEAD_BYTES_MAX: usize = 64 * 1024;

/// How far it is to a server, and what was met on the way.
#[derive(Debug, Default)]
pub(crate) struct Probe {
    /// The proxy on the way, without its credentials.
    pub(crate) proxy: Option<String>,
    /// Where the name leads; empty where a proxy looks it up, or it leads nowhere.
    pub(crate) addresses: Vec<IpAddr>,
    /// How long it took to be connected, names and proxy included.
    pub(crate) connected: Option<Duration>,
    /// How long TLS took after that; `None` without TLS.
    pub(crate) secured: Option<Duration>,
    /// What the server showed, whether or not it is trusted.
    pub(crate) certificate: Option<Certificate>,
    /// What the server answered to a `HEAD`; any answer shows that it is one.
    pub(crate) status: Option<u16>,
    /// What the server takes for the present time, to a second.
    pub(crate) date: Option<Timestamp>,
    /// Where the way ends, if it does not lead to an answer.
    pub(crate) error: Option<SendError>,
}

impl Upstream {
    /// Goes to `url` on a connection of its own, and asks for its `HEAD`, without a token.
    ///
    /// Takes the time of this way for each step; an answer may take as long as a connection.
    pub(crate) async fn probe(&self, url: &Uri) -> Probe {
        let mut probe = Probe::default();
        if let Err(error) = self.go(url, &mut probe).await {
            probe.error = Some(error);
        }
        probe
    }

    async fn go(&self, url: &Uri, probe: &mut Probe) -> Result<(), SendError> {
        let settings = &self.settings;
        let most = settings.route.timeouts.connect;
        let of = |error: TcpConnectError| send_error(SendRequestError::Connect(error.into()), url);
        let late = || send_error(SendRequestError::Connect(ConnectError::Timeout), url);
        let host = url.host().unwrap_or_default();
        let is_tls = url.scheme_str() == Some("https");
        let port = url.port_u16().unwrap_or(if is_tls { 443 } else { 80 });
        let begun = Instant::now();
        probe.proxy = settings.proxy_for(host, port).map(ToString::to_string);
        let line = if probe.proxy.is_some() {
            settings.connect(host, port).await.map_err(of)?
        } else {
            let bare = host.trim_start_matches('[').trim_end_matches(']');
            let found = timeout(most, look_up(&settings.route.names, bare, port)).await.map_err(|_| late())?;
            let found = found.map_err(|error| of(TcpConnectError::Resolver(Box::new(error))))?;
            probe.addresses = found.iter().map(std::net::SocketAddr::ip).collect();
            let reached = timeout(most, first_of(allowed(bare, found).map_err(of)?)).await.map_err(|_| late())?;
            Line::Plain(reached.map_err(of)?)
        };
        probe.connected = Some(begun.elapsed());
        if !is_tls {
            return ask(line, url, most, probe).await;
        }
        let watched = Watched::new(&settings.route.authorities);
        let watched = watched.ok_or_else(|| SendError::Connect("no authority is trusted".to_owned()))?;
        let begun = Instant::now();
        let handshake = TlsConnector::service(watched.config()).call(Connection::new(url.clone(), line));
        let secured = timeout(most, handshake).await;
        probe.certificate = watched.seen().and_then(|certificate| Certificate::read(certificate));
        let secured = secured.map_err(|_| late())?.map_err(|error| of(TcpConnectError::Io(error)))?;
        probe.secured = Some(begun.elapsed());
        ask(secured.into_parts().0, url, most, probe).await
    }
}

/// Asks for the head of an answer and takes down what it says.
async fn ask<S: AsyncRead + AsyncWrite + Unpin>(
    mut stream: S,
    url: &Uri,
    most: Duration,
    probe: &mut Probe,
) -> Result<(), SendError> {
    let path = url.path_and_query().map_or("/", |path| path.as_str());
    let host = url.authority().map_or("", |authority| authority.as_str());
    let request = format!("HEAD {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: {AGENT}\r\nConnection: close\r\n\r\n");
    let broken = |error: std::io::Error| SendError::Broken(error.to_string());
    let asking = async {
        stream.write_all(request.as_bytes()).await?;
        stream.flush().await?;
        let mut head = Vec::with_capacity(1_024);
        while memchr::memmem::find(&head, b"\r\n\r\n").is_none() && head.len() < HEAD_BYTES_MAX {
            if stream.read_buf(&mut head).await? == 0 {
                break;
            }
        }
        Ok(head)
    };
    let head = timeout(most, asking).await.map_err(|_| SendError::Timeout)?.map_err(broken)?;
    let head = String::from_utf8_lossy(&head);
    let mut lines = head.split("\r\n");
    let status = lines.next().filter(|line| line.starts_with("HTTP/1.")).and_then(|line| line.split(' ').nth(1));
    probe.status = status.and_then(|status| status.parse().ok());
    if probe.status.is_none() {
        return Err(SendError::Broken("what was answered is not HTTP".to_owned()));
    }
    let date = lines.filter_map(|line| line.split_once(':')).find(|(name, _)| name.eq_ignore_ascii_case("date"));
    probe.date = date.and_then(|(_, value)| Timestamp::from_http_date(value.trim()));
    Ok(())
}
