//! Gateways that the simulator cannot play: one that sends bytes of the test's own, and one that is not there.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use actix::spawn;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::{AbortHandle, JoinHandle};

/// Starts a gateway that answers the first request of every connection with `bytes` and then falls silent; returns its
/// root. It ends with the test.
pub async fn silent_after(bytes: &str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    let bytes = bytes.as_bytes().to_vec();
    actix::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let bytes = bytes.clone();
            actix::spawn(async move {
                let mut asked = [0; 16 * 1024];
                if stream.read(&mut asked).await.is_ok_and(|count| count > 0) {
                    stream.write_all(&bytes).await.expect("duopool reads");
                    // Until the other side goes.
                    while stream.read(&mut asked).await.is_ok_and(|count| count > 0) {}
                }
            });
        }
    });
    url
}

/// A port of this machine that refuses connections for as long as this lives.
pub struct Closed {
    pub url: String,
    _socket: TcpSocket,
}

impl Closed {
    pub fn new() -> Self {
        // Bound, so that nobody else gets the port, and never listened on.
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.bind(([127, 0, 0, 1], 0).into()).expect("a free port");
        Self { url: format!("http://{}", socket.local_addr().expect("an address")), _socket: socket }
    }
}

/// A gateway that passes everything on to another one, until it dies with all that is on its way.
pub struct Mortal {
    pub url: String,
    accepting: JoinHandle<()>,
    connections: Rc<RefCell<Vec<AbortHandle>>>,
}

impl Mortal {
    /// Starts in front of the gateway whose root is `url`.
    pub async fn before(url: &str) -> Self {
        let (host, path) = url.strip_prefix("http://").and_then(|rest| rest.split_once('/')).expect("a root");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let own = format!("http://{}/{path}", listener.local_addr().expect("an address"));
        let (host, connections) = (host.to_owned(), Rc::new(RefCell::new(Vec::new())));
        let kept = Rc::clone(&connections);
        let accepting = spawn(async move {
            while let Ok((mut near, _)) = listener.accept().await {
                let host = host.clone();
                let connection = spawn(async move {
                    let mut far = TcpStream::connect(host).await.expect("the other gateway is there");
                    // Whoever goes first ends it.
                    drop(copy_bidirectional(&mut near, &mut far).await);
                });
                kept.borrow_mut().push(connection.abort_handle());
            }
        });
        Self { url: own, accepting, connections }
    }

    /// Cuts every connection, and takes no more.
    pub fn die(&self) {
        self.accepting.abort();
        self.connections.borrow_mut().drain(..).for_each(|connection| connection.abort());
    }
}

/// Starts a gateway that answers the first request of every connection with `bytes`, and then with `more` at each tick,
/// for as long as somebody listens; returns its root. It ends with the test.
pub async fn dribbling(bytes: &str, more: &'static str, tick: Duration) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    let bytes = bytes.as_bytes().to_vec();
    spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let bytes = bytes.clone();
            spawn(async move {
                let mut asked = [0; 16 * 1024];
                if !stream.read(&mut asked).await.is_ok_and(|count| count > 0) {
                    return;
                }
                let mut said = stream.write_all(&bytes).await;
                while said.is_ok() {
                    tokio::time::sleep(tick).await;
                    said = stream.write_all(more.as_bytes()).await;
                }
            });
        }
    });
    url
}
