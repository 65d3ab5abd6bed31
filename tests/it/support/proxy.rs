//! A proxy that does as the test says.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;

use actix::spawn;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};

use super::tls::Identity;

/// What a proxy does with a request.
#[derive(Clone)]
pub enum Manner {
    /// Opens the way, to wherever it is told that the wanted host is.
    Opens,
    /// Opens the way to whoever shows these credentials, as the header has them; asks all others for some.
    Asks(&'static str),
    /// Says this, and nothing more.
    Says(Vec<u8>),
    /// Says this, and closes.
    SaysAndCloses(Vec<u8>),
}

/// A proxy. It ends with the test.
pub struct Proxy {
    pub address: SocketAddr,
    heads: Rc<RefCell<Vec<String>>>,
}

impl Proxy {
    /// Starts a proxy that finds all hosts at `place`, whatever their names.
    pub async fn start(manner: Manner, place: SocketAddr) -> Self {
        Self::start_with(manner, place, None).await
    }

    /// As [`Proxy::start`], spoken to over TLS.
    pub async fn start_tls(manner: Manner, place: SocketAddr, identity: Identity) -> Self {
        Self::start_with(manner, place, Some(identity)).await
    }

    async fn start_with(manner: Manner, place: SocketAddr, identity: Option<Identity>) -> Self {
        let acceptor = identity.map(Identity::acceptor);
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let heads = Rc::new(RefCell::new(Vec::new()));
        let seen = Rc::clone(&heads);
        spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, manner, seen) = (acceptor.clone(), manner.clone(), Rc::clone(&seen));
                spawn(async move {
                    match acceptor {
                        None => serve(stream, &manner, place, &seen).await,
                        Some(acceptor) => {
                            let Ok(stream) = acceptor.accept(stream).await else { return };
                            serve(stream, &manner, place, &seen).await;
                        }
                    }
                });
            }
        });
        Self { address, heads }
    }

    /// Returns the heads of the requests so far.
    pub fn heads(&self) -> Vec<String> {
        self.heads.borrow().clone()
    }

    /// Returns what was asked for so far, such as `gitlab.test:443`, each once.
    pub fn targets(&self) -> Vec<String> {
        let target =
            |head: &String| head.strip_prefix("CONNECT ").and_then(|rest| rest.split(' ').next()).map(str::to_owned);
        let mut targets: Vec<String> = self.heads().iter().map(|head| target(head).expect("CONNECT")).collect();
        targets.sort();
        targets.dedup();
        targets
    }
}

async fn serve<S: AsyncRead + AsyncWrite + Unpin>(
    mut near: S,
    manner: &Manner,
    place: SocketAddr,
    seen: &RefCell<Vec<String>>,
) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        if near.read_buf(&mut head).await.unwrap_or(0) == 0 {
            return;
        }
    }
    let head = String::from_utf8(head).expect("text");
    seen.borrow_mut().push(head.clone());
    let answer: &[u8] = match manner {
        Manner::Asks(wanted) if !head.contains(&format!("\r\nProxy-Authorization: {wanted}\r\n")) => {
            b"HTTP/1.1 407 Proxy Authentication Required\r\nproxy-authenticate: Basic\r\ncontent-length: 3\r\n\r\nno!"
        }
        Manner::Opens | Manner::Asks(_) => {
            let mut far = TcpStream::connect(place).await.expect("somebody is there");
            if near.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").await.is_ok() {
                drop(near.flush().await);
                drop(copy_bidirectional(&mut near, &mut far).await);
            }
            return;
        }
        Manner::Says(answer) | Manner::SaysAndCloses(answer) => answer,
    };
    // Who has read enough goes away.
    drop(near.write_all(answer).await);
    drop(near.flush().await);
    if !matches!(manner, Manner::SaysAndCloses(_)) {
        let mut rest = Vec::new();
        while near.read_buf(&mut rest).await.unwrap_or(0) > 0 {}
    }
}
