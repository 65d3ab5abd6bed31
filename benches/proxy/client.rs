//! A client over a bare socket: it costs little, reuses its connection, and reads time stamps out of events.

use std::io::{self, Error, ErrorKind};
use std::net::SocketAddr;

use memchr::{memchr, memmem};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use crate::upstream::{STAMP_DIGITS, content_length};

/// Room for a head and a small answer.
const INPUT_BYTES: usize = 8 * 1_024;

/// Builds a request with the key that duopool asks for; others ignore it.
pub(crate) fn request(path: &str, key: &str, body: &str) -> Vec<u8> {
    format!(
        "POST {path} HTTP/1.1\r\nhost: localhost\r\nx-api-key: {key}\r\nanthropic-version: 2023-06-01\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

/// One connection.
pub(crate) struct Client {
    stream: TcpStream,
    input: Vec<u8>,
}

/// The head of an answer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Head {
    pub(crate) status: u16,
    length: Option<usize>,
}

impl Client {
    pub(crate) async fn connect(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, input: Vec::new() })
    }

    /// Connects with so small a buffer that the server soon feels a slow reader.
    pub(crate) async fn connect_narrow(address: SocketAddr, bytes: u32) -> io::Result<Self> {
        let socket = TcpSocket::new_v4()?;
        socket.set_recv_buffer_size(bytes)?;
        Ok(Self { stream: socket.connect(address).await?, input: Vec::new() })
    }

    async fn fill(&mut self) -> io::Result<()> {
        if self.input.capacity() == self.input.len() {
            self.input.reserve(INPUT_BYTES);
        }
        match self.stream.read_buf(&mut self.input).await? {
            0 => Err(ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }

    /// Sends a request and reads the head of its answer.
    pub(crate) async fn ask(&mut self, request: &[u8]) -> io::Result<Head> {
        self.stream.write_all(request).await?;
        loop {
            if let Some(end) = memmem::find(&self.input, b"\r\n\r\n") {
                let head = &self.input[..end + 4];
                let status = head.get(9..12).and_then(|text| std::str::from_utf8(text).ok()?.parse().ok());
                let status = status.ok_or_else(|| Error::from(ErrorKind::InvalidData))?;
                let length = content_length(head);
                self.input.drain(..end + 4);
                return Ok(Head { status, length });
            }
            self.fill().await?;
        }
    }

    /// Sends a request and reads its whole answer.
    pub(crate) async fn whole(&mut self, request: &[u8]) -> io::Result<(u16, Vec<u8>)> {
        let head = self.ask(request).await?;
        Ok((head.status, self.rest(head).await?))
    }

    /// Reads the body of an answer that told its length, or came in chunks.
    pub(crate) async fn rest(&mut self, head: Head) -> io::Result<Vec<u8>> {
        let Some(length) = head.length else {
            let (mut chunks, mut whole) = (Chunks::default(), Vec::new());
            while !chunks.ended {
                chunks.take(&mut self.input)?;
                whole.append(&mut chunks.text);
                if !chunks.ended {
                    self.fill().await?;
                }
            }
            return Ok(whole);
        };
        while self.input.len() < length {
            self.fill().await?;
        }
        let rest = self.input.split_off(length);
        Ok(std::mem::replace(&mut self.input, rest))
    }

    /// Reads on in a stream; tells the stamps of its events. Returns `false` at its end.
    pub(crate) async fn events(&mut self, chunks: &mut Chunks, seen: &mut impl FnMut(u64)) -> io::Result<bool> {
        if self.input.is_empty() {
            self.fill().await?;
        }
        let before = self.input.len();
        chunks.take(&mut self.input)?;
        chunks.stamps(seen);
        if !chunks.ended && self.input.len() == before {
            self.fill().await?;
        }
        Ok(!chunks.ended)
    }

    /// Reads at most `bytes` of a chunked body; returns `false` once its end was among them.
    pub(crate) async fn sip(&mut self, bytes: usize) -> io::Result<bool> {
        self.input.clear();
        let mut some = vec![0; bytes];
        let count = self.stream.read(&mut some).await?;
        Ok(count > 0 && !some[..count].ends_with(b"0\r\n\r\n"))
    }
}

/// Where in a chunked body the reader stands.
#[derive(Default)]
pub(crate) struct Chunks {
    /// Bytes of the chunk that are still to come, its line end included.
    left: usize,
    text: Vec<u8>,
    ended: bool,
}

impl Chunks {
    /// Moves what is complete from `input` into the text.
    fn take(&mut self, input: &mut Vec<u8>) -> io::Result<()> {
        let mut at = 0;
        while !self.ended {
            let rest = &input[at..];
            if self.left > 0 {
                let count = self.left.min(rest.len());
                let data = self.left.saturating_sub(2).min(count);
                self.text.extend_from_slice(&rest[..data]);
                (self.left, at) = (self.left - count, at + count);
                if count == rest.len() {
                    break;
                }
                continue;
            }
            let Some(end) = memmem::find(rest, b"\r\n") else { break };
            let size = std::str::from_utf8(&rest[..end]).ok().and_then(|text| usize::from_str_radix(text, 16).ok());
            match size.ok_or_else(|| Error::from(ErrorKind::InvalidData))? {
                0 if rest.len() < end + 4 => break,
                0 => (self.ended, at) = (true, at + end + 4),
                size => (self.left, at) = (size + 2, at + end + 2),
            }
        }
        input.drain(..at);
        Ok(())
    }

    /// Tells every stamp once, and keeps the beginning of one that is not whole.
    fn stamps(&mut self, seen: &mut impl FnMut(u64)) {
        let mut at = 0;
        while let Some(found) = memchr(b'@', &self.text[at..]) {
            at += found;
            let Some(digits) = self.text.get(at + 1..=at + STAMP_DIGITS) else {
                self.text.drain(..at);
                return;
            };
            if let Some(stamp) = std::str::from_utf8(digits).ok().and_then(|digits| digits.parse().ok()) {
                seen(stamp);
            }
            at += 1;
        }
        self.text.clear();
    }
}
