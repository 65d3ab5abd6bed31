//! The plain upstream: an HTTP/1.1 server that answers at once with as little work as possible.
//!
//! It takes every path, so it stands behind nginx and behind duopool alike. What a request wants is written into its
//! body, since a proxy passes that on: `#bench events=200 every_us=5000;` asks for a stream, `#bench hang;` for no
//! answer, `#bench stall;` for one that begins and falls silent. Without an order it gives the 2 KB reply.

use std::cell::Cell;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::OnceLock;
use std::time::Duration;

use memchr::memmem;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::{Instant, interval_at};

/// The order stands within this many bytes of a body.
const ORDER_WITHIN: usize = 2_048;
const REPLY_BYTES: usize = 2_048;
const BACKLOG: u32 = 8_192;
/// Streams begin this many different parts of their pace apart, so that events do not come in bursts.
const PHASES: u32 = 100;
/// Length of a time stamp in an event.
pub(crate) const STAMP_DIGITS: usize = 16;

const STREAM_HEAD: &str =
    "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\ntransfer-encoding: chunked\r\n\r\n";
const OPENING: [&str; 2] = [
    concat!(
        "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"msg_01\",\"type\":\"message\",",
        "\"role\":\"assistant\",\"model\":\"claude-sonnet-4-6\",\"content\":[],\"stop_reason\":null,",
        "\"stop_sequence\":null,\"usage\":{\"input_tokens\":10,\"output_tokens\":1}}}\n\n",
    ),
    concat!(
        "event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":0,",
        "\"content_block\":{\"type\":\"text\",\"text\":\"\"}}\n\n",
    ),
];
const EVENT: &str = concat!(
    "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",",
    "\"text\":\"@0000000000000000 some words of the answer, as a model says them.\"}}\n\n",
);
const CLOSING: [&str; 3] = [
    "event: content_block_stop\ndata: {\"type\":\"content_block_stop\",\"index\":0}\n\n",
    concat!(
        "event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\",",
        "\"stop_sequence\":null},\"usage\":{\"output_tokens\":200}}\n\n",
    ),
    "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n",
];

/// Returns nanoseconds since the first call; all parts of the benchmark live in one process.
pub(crate) fn clock() -> u64 {
    static ORIGIN: OnceLock<Instant> = OnceLock::new();
    u64::try_from(ORIGIN.get_or_init(Instant::now).elapsed().as_nanos()).unwrap_or(u64::MAX)
}

/// The running upstream.
pub(crate) struct PlainUpstream {
    pub(crate) address: SocketAddr,
    /// When connections closed that were to hang or stall, by [`clock`].
    pub(crate) closes: UnboundedReceiver<u64>,
    /// When such requests arrived, or fell silent.
    pub(crate) silences: UnboundedReceiver<u64>,
}

struct Shared {
    closes: UnboundedSender<u64>,
    silences: UnboundedSender<u64>,
    reply: Vec<u8>,
    streams: Cell<u32>,
}

/// Starts the upstream on this thread.
pub(crate) fn start() -> io::Result<PlainUpstream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(SocketAddr::from(([127, 0, 0, 1], 0)))?;
    let listener = socket.listen(BACKLOG)?;
    let address = listener.local_addr()?;
    let (closes, closes_out) = unbounded_channel();
    let (silences, silences_out) = unbounded_channel();
    let shared = Rc::new(Shared { closes, silences, reply: json_reply(), streams: Cell::new(0) });
    actix_web::rt::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let shared = Rc::clone(&shared);
            actix_web::rt::spawn(async move {
                // A connection that breaks is counted by the client that sees it.
                drop(converse(stream, &shared).await);
            });
        }
    });
    Ok(PlainUpstream { address, closes: closes_out, silences: silences_out })
}

fn json_reply() -> Vec<u8> {
    let frame = |text: &str| {
        format!(
            "{{\"id\":\"msg_01\",\"type\":\"message\",\"role\":\"assistant\",\"model\":\"claude-sonnet-4-6\",\"content\":[\
             {{\"type\":\"text\",\"text\":\"{text}\"}}],\"stop_reason\":\"end_turn\",\"stop_sequence\":null,\"usage\":\
             {{\"input_tokens\":10,\"output_tokens\":500}}}}"
        )
    };
    let body = frame(&"word ".repeat(REPLY_BYTES / 5)[..REPLY_BYTES - frame("").len()]);
    let length = body.len();
    format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}").into_bytes()
}

#[derive(Clone, Copy)]
enum Order {
    Reply,
    Count,
    Hang,
    Stall,
    Stream { events: u64, every: Duration },
}

async fn converse(mut stream: TcpStream, shared: &Shared) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut input = Vec::with_capacity(4_096);
    while let Some(order) = next(&mut stream, &mut input).await? {
        match order {
            Order::Reply => stream.write_all(&shared.reply).await?,
            Order::Count => {
                let reply = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 19\r\n\r\n";
                stream.write_all(format!("{reply}{{\"input_tokens\":10}}").as_bytes()).await?;
            }
            Order::Hang => return silence(&mut stream, shared).await,
            Order::Stall => {
                stream.write_all(&opening()).await?;
                return silence(&mut stream, shared).await;
            }
            Order::Stream { events, every } => tell(&mut stream, shared, events, every).await?,
        }
    }
    Ok(())
}

/// Says nothing until the other side closes, and notes when that was.
async fn silence(stream: &mut TcpStream, shared: &Shared) -> io::Result<()> {
    shared.silences.send(clock()).ok();
    let read = stream.read(&mut [0; 64]).await;
    shared.closes.send(clock()).ok();
    read.map(drop)
}

/// Reads the next request; `None` once the other side has no more.
async fn next(stream: &mut TcpStream, input: &mut Vec<u8>) -> io::Result<Option<Order>> {
    let head_bytes = loop {
        if let Some(end) = memmem::find(input, b"\r\n\r\n") {
            break end + 4;
        }
        if stream.read_buf(input).await? == 0 {
            return Ok(None);
        }
    };
    let body_bytes = content_length(&input[..head_bytes]).unwrap_or(0);
    input.reserve((head_bytes + body_bytes).saturating_sub(input.len()));
    while input.len() < head_bytes + body_bytes {
        if stream.read_buf(input).await? == 0 {
            return Ok(None);
        }
    }
    let body = &input[head_bytes..head_bytes + body_bytes];
    let order = match memmem::find(&input[..head_bytes.min(128)], b"count_tokens") {
        Some(_) => Order::Count,
        None => order(&body[..body.len().min(ORDER_WITHIN)]),
    };
    input.drain(..head_bytes + body_bytes);
    Ok(Some(order))
}

/// Returns the value of the header that tells a body's length.
pub(crate) fn content_length(head: &[u8]) -> Option<usize> {
    let mut lines = head.split(|byte| *byte == b'\n');
    let line = lines.find(|line| line.len() > 15 && line[..15].eq_ignore_ascii_case(b"content-length:"))?;
    std::str::from_utf8(&line[15..]).ok()?.trim().parse().ok()
}

fn order(body: &[u8]) -> Order {
    const MARK: &[u8] = b"#bench ";
    let text = memmem::find(body, MARK).and_then(|at| body[at + MARK.len()..].split(|byte| *byte == b';').next());
    let Some(text) = text.and_then(|text| std::str::from_utf8(text).ok()) else { return Order::Reply };
    let number = |key: &str| {
        let pair = text.split(' ').find_map(|pair| pair.strip_prefix(key)?.strip_prefix('='));
        pair.and_then(|value| value.parse::<u64>().ok()).unwrap_or_default()
    };
    match text {
        "hang" => Order::Hang,
        "stall" => Order::Stall,
        _ => Order::Stream { events: number("events"), every: Duration::from_micros(number("every_us")) },
    }
}

fn chunk(text: &str) -> Vec<u8> {
    format!("{:x}\r\n{text}\r\n", text.len()).into_bytes()
}

fn opening() -> Vec<u8> {
    let mut out = STREAM_HEAD.as_bytes().to_vec();
    out.extend(OPENING.iter().flat_map(|event| chunk(event)));
    out
}

async fn tell(stream: &mut TcpStream, shared: &Shared, events: u64, every: Duration) -> io::Result<()> {
    stream.write_all(&opening()).await?;
    let mut event = chunk(EVENT);
    let stamp_at = memmem::find(&event, b"@").unwrap_or_default() + 1;
    let phase = shared.streams.get();
    shared.streams.set((phase + 1) % PHASES);
    // An interval of no time is not allowed; it is not used then.
    let period = every.max(Duration::from_micros(1));
    let mut pace = interval_at(Instant::now() + every * phase / PHASES, period);
    for _ in 0..events {
        if !every.is_zero() {
            pace.tick().await;
        }
        write_stamp(&mut event[stamp_at..stamp_at + STAMP_DIGITS], clock());
        stream.write_all(&event).await?;
    }
    let mut out: Vec<u8> = CLOSING.iter().flat_map(|event| chunk(event)).collect();
    out.extend_from_slice(b"0\r\n\r\n");
    stream.write_all(&out).await
}

fn write_stamp(digits: &mut [u8], mut value: u64) {
    for digit in digits.iter_mut().rev() {
        *digit = b"0123456789"[usize::try_from(value % 10).unwrap_or_default()];
        value /= 10;
    }
}
