//! A server of bare sockets, which a test drives step by step.

use std::io::ErrorKind;
use std::net::Ipv4Addr;
use std::task::Poll;

use tokio::net::{TcpListener, TcpStream};

/// Nothing here takes long; what has not happened by then never will.
const STUCK: std::time::Duration = std::time::Duration::from_secs(20);

/// Waits for `future`, but not for ever.
pub(crate) async fn in_time<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(STUCK, future).await.expect("stuck")
}

/// Lets every other task go on.
pub(crate) async fn give_way() {
    let mut waited = false;
    std::future::poll_fn(|cx| {
        if std::mem::replace(&mut waited, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// A listening socket on loopback, on a port that was free.
pub(crate) struct RawServer(TcpListener);

impl RawServer {
    pub(crate) async fn start() -> Self {
        Self(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap())
    }

    pub(crate) fn port(&self) -> u16 {
        self.0.local_addr().unwrap().port()
    }

    /// Returns the server's address, `http://127.0.0.1:PORT`.
    pub(crate) fn root(&self) -> String {
        format!("http://127.0.0.1:{}", self.port())
    }

    pub(crate) async fn accept(&self) -> Peer {
        Peer { stream: in_time(self.0.accept()).await.unwrap().0, buffer: Vec::new() }
    }

    /// Returns whether somebody connected who was not accepted yet.
    pub(crate) async fn has_visitor(&self) -> bool {
        for _ in 0..100 {
            give_way().await;
        }
        futures::poll!(std::pin::pin!(self.0.accept())).is_ready()
    }

    /// Accepts one connection, reads one request, says `answer` and closes.
    pub(crate) async fn answer_once(&self, answer: &[u8]) -> Received {
        let mut peer = self.accept().await;
        let request = peer.request().await;
        peer.say(answer).await;
        request
    }
}

/// One connection, seen from the server.
pub(crate) struct Peer {
    stream: TcpStream,
    buffer: Vec<u8>,
}

/// A request as it came.
#[derive(Debug)]
pub(crate) struct Received {
    /// Method, path and version.
    pub(crate) line: String,
    /// Names in lower case.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Received {
    /// Returns every value of header `name`.
    pub(crate) fn header(&self, name: &str) -> Vec<&str> {
        self.headers.iter().filter(|(n, _)| n == name).map(|(_, value)| value.as_str()).collect()
    }
}

impl Peer {
    /// Reads one request with its body, which must have a length.
    pub(crate) async fn request(&mut self) -> Received {
        let head_end = loop {
            if let Some(at) = self.buffer.windows(4).position(|four| four == b"\r\n\r\n") {
                break at + 4;
            }
            assert!(self.more().await, "closed in the middle of a request");
        };
        let head = String::from_utf8(self.buffer.drain(..head_end).collect()).unwrap();
        let mut lines = head.trim_end().split("\r\n").map(str::to_owned);
        let line = lines.next().unwrap();
        let split = |line: String| line.split_once(": ").map(|(n, v)| (n.to_ascii_lowercase(), v.to_owned())).unwrap();
        let mut request = Received { line, headers: lines.map(split).collect(), body: Vec::new() };
        let length = request.header("content-length").first().map_or(0, |text| text.parse().unwrap());
        while self.buffer.len() < length {
            assert!(self.more().await, "closed in the middle of a body");
        }
        request.body = self.buffer.drain(..length).collect();
        request
    }

    /// Reads until the client closes; panics if it says anything.
    pub(crate) async fn closed(&mut self) {
        assert!(!self.more().await, "another request came");
    }

    /// Sends `bytes`, however long the client takes to read them, unless it leaves.
    pub(crate) async fn say(&mut self, bytes: &[u8]) {
        let mut left = bytes;
        while !left.is_empty() {
            in_time(self.stream.writable()).await.unwrap();
            match self.say_some(left) {
                Some(count) => left = &left[count..],
                None => return,
            }
        }
    }

    /// Sends what the socket takes at once, and returns how much that was; `None` if the client has left.
    pub(crate) fn say_some(&mut self, bytes: &[u8]) -> Option<usize> {
        match self.stream.try_write(bytes) {
            Ok(count) => Some(count),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Some(0),
            Err(error) if matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset) => None,
            Err(error) => panic!("{error}"),
        }
    }

    /// Reads some more; `false` at the end.
    pub(crate) async fn more(&mut self) -> bool {
        loop {
            in_time(self.stream.readable()).await.unwrap();
            match self.stream.try_read_buf(&mut self.buffer) {
                Ok(count) => return count > 0,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                // A connection that was dropped with unread bytes is reset, which is an end as well.
                Err(error) if error.kind() == ErrorKind::ConnectionReset => return false,
                Err(error) => panic!("{error}"),
            }
        }
    }
}
