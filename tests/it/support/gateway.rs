//! Gateways that the simulator cannot play: one that sends bytes of the test's own, and one that is not there.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket};

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
