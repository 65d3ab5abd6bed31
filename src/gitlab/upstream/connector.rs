//! How a connection is made: to an address that was checked, or through a proxy.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::task::{Context, Poll};

use actix_tls::connect::{ConnectError as TcpConnectError, ConnectInfo, Connection};
use actix_web::dev::Service;
use awc::http::Uri;
use futures::future::LocalBoxFuture;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::domain::endpoint::{AddressPolicy, EndpointError, is_metadata_name};
use crate::domain::route::{Names, Proxy};
use crate::gitlab::upstream::failure::is_hosts_fault;
use crate::gitlab::upstream::line::Line;
use crate::gitlab::upstream::settings::UpstreamSettings;
use crate::gitlab::upstream::tunnel::{self, TunnelError};

/// Resolves a name, drops every address that may not be connected to, connects to one that is left, and switches
/// Nagle's algorithm off; or has a proxy do so.
///
/// The address that was checked is the address that is connected to, so a name cannot change its mind in between. Where
/// a proxy looks the name up, it alone can check: what is refused here then is an address that is given as one, and the
/// names of metadata services.
#[derive(Clone)]
pub(super) struct GuardedConnector(pub(super) Rc<UpstreamSettings>);

impl Service<ConnectInfo<Uri>> for GuardedConnector {
    type Response = Connection<Uri, Line>;
    type Error = TcpConnectError;
    type Future = LocalBoxFuture<'static, Result<Self::Response, Self::Error>>;

    fn poll_ready(&self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&self, info: ConnectInfo<Uri>) -> Self::Future {
        let settings = Rc::clone(&self.0);
        Box::pin(async move {
            let line = settings.connect(info.hostname(), info.port()).await?;
            Ok(Connection::new(info.request().clone(), line))
        })
    }
}

impl UpstreamSettings {
    /// Returns the proxy through which `host` is reached; `None`: directly.
    pub(super) fn proxy_for(&self, host: &str, port: u16) -> Option<&Proxy> {
        self.route.detour.as_ref()?.proxy_for(host, port)
    }

    /// Connects to `host` itself or through the proxy, within the time for that; TLS to the server is not counted.
    pub(super) async fn connect(&self, host: &str, port: u16) -> Result<Line, TcpConnectError> {
        let most = self.route.timeouts.connect;
        let Some(proxy) = self.proxy_for(host, port) else {
            let direct = timeout(most, connect(&self.route.names, host, port)).await;
            let late = || TcpConnectError::Io(io::ErrorKind::TimedOut.into());
            return direct.unwrap_or_else(|_| Err(late())).map(Line::Plain);
        };
        let own = |error: Box<dyn std::error::Error>| TcpConnectError::Resolver(error);
        let host = bare(host);
        let forbidden = match host.parse::<IpAddr>() {
            Ok(ip) => AddressPolicy::for_host(Some(host)).check(ip).is_err(),
            Err(_) => is_metadata_name(host),
        };
        if forbidden {
            return Err(own(EndpointError::ForbiddenAddress.into()));
        }
        let opened = timeout(most, tunnel::open(proxy, &self.tls, host, port)).await;
        opened.unwrap_or_else(|_| Err(TunnelError::Silent(proxy.to_string()))).map_err(|error| own(error.into()))
    }
}

fn bare(host: &str) -> &str {
    host.trim_start_matches('[').trim_end_matches(']')
}

/// Connects to `host` itself, at an address that may be connected to.
pub(super) async fn connect(names: &Names, host: &str, port: u16) -> Result<TcpStream, TcpConnectError> {
    let host = bare(host);
    let found = look_up(names, host, port).await.map_err(|error| TcpConnectError::Resolver(Box::new(error)))?;
    first_of(allowed(host, found)?).await
}

/// Connects to `host`, wherever that is.
pub(super) async fn dial(host: &str, port: u16) -> io::Result<TcpStream> {
    let found = look_up(&Names::default(), host, port).await?;
    first_of(found).await.map_err(|error| match error {
        TcpConnectError::Io(error) => error,
        _ => io::Error::other("the host name leads to no address"),
    })
}

/// Returns the addresses of `host`, a name or an address without brackets.
pub(super) async fn look_up(names: &Names, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    match (host.parse::<IpAddr>(), names.of(host)) {
        (Ok(ip), _) => Ok(vec![SocketAddr::new(ip, port)]),
        (Err(_), Some(known)) => Ok(known.iter().map(|ip| SocketAddr::new(*ip, port)).collect()),
        (Err(_), None) => Ok(tokio::net::lookup_host((host, port)).await?.collect()),
    }
}

/// Connects to the first of `addresses` that takes the connection.
pub(super) async fn first_of(addresses: Vec<SocketAddr>) -> Result<TcpStream, TcpConnectError> {
    let mut failure = None;
    for address in addresses {
        match TcpStream::connect(address).await {
            Ok(stream) => {
                // Without it the delayed acknowledgement of small writes stalls a stream for 40 ms at a time.
                stream.set_nodelay(true).map_err(TcpConnectError::Io)?;
                return Ok(stream);
            }
            // A machine without IPv6 reaches none of those addresses: what the others say tells more.
            Err(error) if failure.as_ref().is_none_or(is_hosts_fault) => failure = Some(error),
            Err(_) => {}
        }
    }
    Err(failure.map_or(TcpConnectError::NoRecords, TcpConnectError::Io))
}

/// Returns those of `found` that `host` may be reached at; an error if there were some and none is left.
pub(super) fn allowed(host: &str, found: Vec<SocketAddr>) -> Result<Vec<SocketAddr>, TcpConnectError> {
    let policy = AddressPolicy::for_host(Some(host));
    let any = !found.is_empty();
    let kept: Vec<_> = found.into_iter().filter(|address| policy.check(address.ip()).is_ok()).collect();
    if any && kept.is_empty() {
        return Err(TcpConnectError::Resolver(Box::new(EndpointError::ForbiddenAddress)));
    }
    Ok(kept)
}
