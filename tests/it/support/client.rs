//! A plain HTTP/1.1 client over a socket of its own, so that a test can leave when it wants and see every byte.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Longer than anything takes that is waited for, GitLab's silence of 35 s among them.
const PATIENCE: Duration = Duration::from_mins(1);

/// A request to be sent.
pub struct Request {
    address: SocketAddr,
    method: String,
    path: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

/// A whole answer.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    /// Whether the body came to its end, by its length or its last chunk.
    pub complete: bool,
}

/// An event of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    pub name: Option<String>,
    pub data: String,
}

/// An answer whose body is still coming. Dropping it closes the connection.
pub struct Open {
    pub status: u16,
    headers: Vec<(String, String)>,
    stream: TcpStream,
    raw: Vec<u8>,
}

impl Request {
    pub fn new(address: SocketAddr, method: &str, path: &str) -> Self {
        let headers = vec![("host".to_owned(), address.to_string())];
        Self { address, method: method.to_owned(), path: path.to_owned(), headers, body: Vec::new() }
    }

    /// Sets a header; replaces one of the same name.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.retain(|(other, _)| other != name);
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Sets the body as JSON.
    pub fn json(self, body: &Value) -> Self {
        self.bytes(body.to_string().into_bytes())
    }

    /// Sets the body's bytes, which say they are JSON.
    pub fn bytes(mut self, body: Vec<u8>) -> Self {
        self.body = body;
        self.header("content-type", "application/json")
    }

    /// Sends, and reads the whole answer.
    pub async fn send(self) -> Answer {
        self.header("connection", "close").open().await.rest().await
    }

    /// Sends, and returns once the head of the answer is there.
    pub async fn open(self) -> Open {
        Open::on(self.begin().await).await.expect("the connection closed before an answer")
    }

    /// Sends, and returns the connection without waiting for anything.
    pub async fn begin(self) -> TcpStream {
        let mut stream = TcpStream::connect(self.address).await.expect("duopool takes connections");
        let headers: Vec<String> = self.headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        let (method, path, length) = (&self.method, &self.path, self.body.len());
        let head = format!("{method} {path} HTTP/1.1\r\n{}content-length: {length}\r\n\r\n", headers.concat());
        let mut bytes = head.into_bytes();
        bytes.extend_from_slice(&self.body);
        // A server that refuses a large body may close before it has read it.
        drop(stream.write_all(&bytes).await);
        stream
    }
}

impl Open {
    /// Reads the head of an answer; `None` if the connection closes before.
    pub async fn on(mut stream: TcpStream) -> Option<Self> {
        let mut raw = Vec::new();
        loop {
            if let Some(end) = raw.windows(4).position(|window| window == b"\r\n\r\n") {
                let (status, headers) = head(&raw[..end]);
                return Some(Self { status, headers, stream, raw: raw.split_off(end + 4) });
            }
            if !read(&mut stream, &mut raw).await {
                return None;
            }
        }
    }

    /// Returns a header's value.
    pub fn header(&self, name: &str) -> Option<&str> {
        find(&self.headers, name)
    }

    /// Reads until the raw bytes so far contain `text`; fails if the answer ends without it.
    pub async fn read_until(&mut self, text: &str) {
        while !String::from_utf8_lossy(&self.raw).contains(text) {
            let more = read(&mut self.stream, &mut self.raw).await;
            assert!(more, "the answer ended without `{text}`: {}", String::from_utf8_lossy(&self.raw));
        }
    }

    /// Returns the raw bytes so far, chunk sizes and all.
    pub fn so_far(&self) -> String {
        String::from_utf8_lossy(&self.raw).into_owned()
    }

    /// Reads until the other side closes the connection, for answers that are too long to be looked at as they come.
    pub async fn until_closed(mut self) -> Answer {
        while read(&mut self.stream, &mut self.raw).await {}
        let (body, complete) = dechunk(&self.raw);
        Answer { status: self.status, headers: self.headers, body, complete }
    }

    /// Reads the rest. The connection must be one that closes, or the answer one that tells its length.
    pub async fn rest(mut self) -> Answer {
        let length = self.header("content-length").and_then(|text| text.parse::<usize>().ok());
        let chunked = self.header("transfer-encoding") == Some("chunked");
        let bodiless = matches!(self.status, 204 | 304);
        loop {
            let done = match length {
                _ if bodiless => true,
                Some(length) => self.raw.len() >= length,
                None => chunked && dechunk(&self.raw).1,
            };
            if done || !read(&mut self.stream, &mut self.raw).await {
                break;
            }
        }
        let (body, complete) = match length {
            Some(length) => (self.raw.clone(), self.raw.len() == length),
            None if chunked => dechunk(&self.raw),
            None => (self.raw.clone(), true),
        };
        Answer { status: self.status, headers: self.headers, body, complete }
    }
}

impl Answer {
    /// Returns a header's value.
    pub fn header(&self, name: &str) -> Option<&str> {
        find(&self.headers, name)
    }

    /// Returns the body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// Returns the body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("no JSON ({error}): {}", self.text()))
    }

    /// Returns the body as events.
    pub fn events(&self) -> Vec<Event> {
        let text = self.text();
        let blocks = text.split("\n\n").filter(|block| !block.trim().is_empty());
        blocks
            .map(|block| {
                let lines = |field: &str| -> Vec<String> {
                    let prefix = format!("{field}:");
                    block
                        .lines()
                        .filter_map(|line| line.strip_prefix(&prefix))
                        .map(|v| v.trim_start().to_owned())
                        .collect()
                };
                Event { name: lines("event").first().cloned(), data: lines("data").join("\n") }
            })
            .collect()
    }
}

fn find<'a>(headers: &'a [(String, String)], name: &str) -> Option<&'a str> {
    headers.iter().find(|(other, _)| other.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
}

fn head(bytes: &[u8]) -> (u16, Vec<(String, String)>) {
    let text = String::from_utf8_lossy(bytes);
    let mut lines = text.split("\r\n");
    let status = lines.next().and_then(|line| line.split(' ').nth(1)).and_then(|code| code.parse().ok());
    let headers = lines.filter_map(|line| line.split_once(": ")).map(|(n, v)| (n.to_owned(), v.to_owned())).collect();
    (status.expect("a status line"), headers)
}

/// Returns the bytes of the whole chunks, and whether the last one was there.
fn dechunk(mut raw: &[u8]) -> (Vec<u8>, bool) {
    let mut body = Vec::new();
    loop {
        let Some(line) = raw.windows(2).position(|window| window == b"\r\n") else { return (body, false) };
        let size = usize::from_str_radix(&String::from_utf8_lossy(&raw[..line]), 16).expect("a chunk size");
        let rest = &raw[line + 2..];
        if size == 0 {
            return (body, true);
        }
        if rest.len() < size + 2 {
            body.extend_from_slice(&rest[..rest.len().min(size)]);
            return (body, false);
        }
        body.extend_from_slice(&rest[..size]);
        raw = &rest[size + 2..];
    }
}

/// Reads some more; `false` at the end.
async fn read(stream: &mut TcpStream, into: &mut Vec<u8>) -> bool {
    let Ok(result) = timeout(PATIENCE, stream.read_buf(into)).await else {
        panic!("no more bytes within {PATIENCE:?}: {}", String::from_utf8_lossy(into))
    };
    result.is_ok_and(|count| count > 0)
}
