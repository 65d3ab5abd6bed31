//! Follows a stream that passes through unchanged: has content begun, did it end properly, was there an error.
//!
//! Looks at line beginnings only and buffers no line whole, so the cost of an event is a search for its line ends.

use memchr::{memchr2, memmem};
use serde::de::IgnoredAny;

use crate::domain::model::Dialect;
use crate::protocol::{json, sse};

/// Most bytes that are kept of a line, and so of the data of an error event.
pub const ERROR_BYTES_MAX: usize = 16 * 1024;

/// What an event means for the fate of a stream.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Meaning {
    Other,
    ContentBegins,
    Ends,
    Fails,
    /// The terminal event itself reports the failure.
    EndsFailed,
}

/// Watches one stream of a dialect.
#[derive(Debug)]
pub struct StreamWatch {
    dialect: Dialect,
    place: Place,
    name: Vec<u8>,
    event_has_data: bool,
    content_started: bool,
    finished: bool,
    error: Option<Vec<u8>>,
    events: u64,
}

/// Where in the stream the last byte stands.
#[derive(Debug)]
struct Place {
    /// Beginning of a line whose end has not come, at most [`ERROR_BYTES_MAX`].
    line: Vec<u8>,
    line_is_open: bool,
    /// The last byte was a carriage return, so a line feed that follows belongs to it.
    after_return: bool,
    at_event_boundary: bool,
}

/// Longest `event:` value that is remembered, in bytes; all that have a meaning are shorter.
const NAME_BYTES_MAX: usize = 64;

impl StreamWatch {
    /// Starts to watch a stream of `dialect`.
    pub const fn new(dialect: Dialect) -> Self {
        let place = Place { line: Vec::new(), line_is_open: false, after_return: false, at_event_boundary: true };
        Self {
            dialect,
            place,
            name: Vec::new(),
            event_has_data: false,
            content_started: false,
            finished: false,
            error: None,
            events: 0,
        }
    }

    /// Looks at the next bytes.
    pub fn feed(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            if std::mem::take(&mut self.place.after_return) && bytes[0] == b'\n' {
                bytes = &bytes[1..];
                continue;
            }
            let Some(end) = memchr2(b'\n', b'\r', bytes) else {
                self.place.carry(bytes);
                return;
            };
            self.place.after_return = bytes[end] == b'\r';
            if self.place.line_is_open {
                self.place.carry(&bytes[..end]);
                self.carried_line_ends();
            } else {
                self.line_ends(&bytes[..end.min(ERROR_BYTES_MAX)]);
            }
            bytes = &bytes[end + 1..];
        }
    }

    /// Takes notice that the upstream sends nothing more. Its last line may lack an end, but counts only where its data
    /// is visibly whole, at most [`ERROR_BYTES_MAX`]: a cut-off stream must never look finished.
    pub fn finish(&mut self) {
        if self.place.line_is_open && is_whole(sse::field(&self.place.line).1) {
            self.carried_line_ends();
        }
    }

    /// Returns whether the client has got content that a second attempt would repeat: the first block of a Messages
    /// answer, the first output item of Responses, the first choice of Chat Completions.
    pub const fn content_started(&self) -> bool {
        self.content_started
    }

    /// Returns whether the event came that ends a stream of the dialect.
    pub const fn finished(&self) -> bool {
        self.finished
    }

    /// Returns the data of the first error event, cut to [`ERROR_BYTES_MAX`]; `error::read` understands it.
    pub fn error(&self) -> Option<&[u8]> {
        self.error.as_deref()
    }

    /// Returns whether an event may be put in here without tearing another one apart.
    pub const fn at_event_boundary(&self) -> bool {
        self.place.at_event_boundary
    }

    /// Returns the number of events with data so far, which in Responses is the next `sequence_number`.
    pub const fn events(&self) -> u64 {
        self.events
    }

    fn carried_line_ends(&mut self) {
        let line = std::mem::take(&mut self.place.line);
        self.line_ends(&line);
        self.place.line = line;
        self.place.line.clear();
        self.place.line_is_open = false;
    }

    /// Takes the beginning of a line that is complete.
    fn line_ends(&mut self, line: &[u8]) {
        if line.is_empty() {
            self.name.clear();
            self.event_has_data = false;
            self.place.at_event_boundary = true;
            return;
        }
        self.place.at_event_boundary = false;
        match sse::field(line) {
            (b"event", value) => {
                self.name.clear();
                self.name.extend_from_slice(&value[..value.len().min(NAME_BYTES_MAX)]);
            }
            (b"data", value) if !self.event_has_data => {
                self.event_has_data = true;
                self.events += 1;
                self.take_notice(value);
            }
            _ => {}
        }
    }

    fn take_notice(&mut self, data: &[u8]) {
        let meaning = match self.dialect {
            _ if self.name == b"error" => Meaning::Fails,
            Dialect::Messages => messages_event(self.name_or_type(data)),
            Dialect::Responses => responses_event(self.name_or_type(data)),
            Dialect::ChatCompletions => chat_chunk(data, self.content_started),
        };
        match meaning {
            Meaning::Other => {}
            Meaning::ContentBegins => self.content_started = true,
            Meaning::Ends => self.finished = true,
            Meaning::Fails => self.keep_error(data),
            Meaning::EndsFailed => {
                self.finished = true;
                self.keep_error(data);
            }
        }
    }

    fn keep_error(&mut self, data: &[u8]) {
        if self.error.is_none() {
            self.error = Some(data.to_vec());
        }
    }

    fn name_or_type<'a>(&'a self, data: &'a [u8]) -> &'a [u8] {
        if self.name.is_empty() { json::top_level_str(data, b"type").unwrap_or_default() } else { &self.name }
    }
}

impl Place {
    fn carry(&mut self, bytes: &[u8]) {
        let room = ERROR_BYTES_MAX - self.line.len();
        self.line.extend_from_slice(&bytes[..bytes.len().min(room)]);
        self.line_is_open = true;
        self.at_event_boundary = false;
    }
}

fn is_whole(data: &[u8]) -> bool {
    data == b"[DONE]" || serde_json::from_slice::<IgnoredAny>(data).is_ok()
}

fn messages_event(name: &[u8]) -> Meaning {
    match name {
        b"content_block_start" => Meaning::ContentBegins,
        b"message_stop" => Meaning::Ends,
        b"error" => Meaning::Fails,
        _ => Meaning::Other,
    }
}

fn responses_event(name: &[u8]) -> Meaning {
    match name {
        b"response.output_item.added" => Meaning::ContentBegins,
        b"response.completed" | b"response.incomplete" => Meaning::Ends,
        b"response.failed" => Meaning::EndsFailed,
        b"error" => Meaning::Fails,
        _ => Meaning::Other,
    }
}

fn chat_chunk(data: &[u8], content_started: bool) -> Meaning {
    if data.starts_with(b"[DONE]") {
        return Meaning::Ends;
    }
    // A quoted "error" inside a text would have its quotes escaped, so most chunks are told apart by this search alone.
    if memmem::find(data, b"\"error\"").is_some() {
        let error = json::top_level(data, b"error");
        if error.is_some_and(|value| !value.starts_with(b"null")) {
            return Meaning::Fails;
        }
    }
    if content_started {
        return Meaning::Other;
    }
    let choices = json::top_level(data, b"choices").and_then(|value| value.strip_prefix(b"["));
    match choices.map(<[u8]>::trim_ascii_start) {
        Some([b'{', ..]) => Meaning::ContentBegins,
        _ => Meaning::Other,
    }
}

#[cfg(test)]
mod tests {
    use rand::rngs::StdRng;
    use rand::{RngExt as _, SeedableRng as _};

    use super::*;

    const MESSAGES: &str = concat!(
        "event: message_start\ndata: {\"type\":\"message_start\"}\n\n: hi\n\nevent: ping\ndata: {\"type\": \"ping\"}\n\n",
        "event: content_block_start\r\ndata: {\"type\":\"content_block_start\"}\r\n\r\n",
        "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"delta\":{\"text\":\"\\\"type\\\":\\\"message_stop\\\"\"}}\n\n",
        "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n",
    );
    const RESPONSES: &str = concat!(
        "event: response.created\ndata: {\"type\":\"response.created\",\"sequence_number\":0}\n\n",
        "event: response.output_item.added\ndata: {\"type\":\"response.output_item.added\"}\n\n",
        "event: response.completed\ndata: {\"type\":\"response.completed\",\"response\":{\"error\":null}}\n\n",
    );
    const CHAT: &str = concat!(
        "data: {\"id\":\"c\",\"choices\":[],\"prompt_filter_results\":[]}\n\n",
        "data: {\"id\":\"c\",\"error\":null,\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\"}}]}\n\n",
        "data: {\"id\":\"c\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"error\"}}]}\n\n",
        "data: [DONE]\n\n",
    );

    /// Everything that can be asked of a watch.
    type State = (bool, bool, Option<Vec<u8>>, bool, u64);

    fn state(watch: &StreamWatch) -> State {
        (
            watch.content_started(),
            watch.finished(),
            watch.error().map(<[u8]>::to_vec),
            watch.at_event_boundary(),
            watch.events(),
        )
    }

    fn watched(dialect: Dialect, wire: &str) -> StreamWatch {
        let mut watch = StreamWatch::new(dialect);
        watch.feed(wire.as_bytes());
        watch
    }

    fn without_names(wire: &str) -> String {
        wire.split_inclusive('\n').filter(|line| !line.starts_with("event:")).collect()
    }

    #[test]
    fn content_and_the_end_are_seen_in_every_dialect() {
        for (dialect, wire, first) in [
            (Dialect::Messages, MESSAGES, "content_block_start\"}"),
            (Dialect::Responses, RESPONSES, "output_item.added\"}"),
            (Dialect::ChatCompletions, CHAT, "\"role\":\"assistant\"}}]}"),
        ] {
            for wire in [wire.to_owned(), without_names(wire)] {
                let until = wire.find(first).unwrap() + first.len();
                assert!(!watched(dialect, &wire[..until]).content_started(), "{dialect}: line not complete");
                let watch = watched(dialect, &wire[..=until]);
                assert!(watch.content_started() && !watch.finished(), "{dialect}");
                let watch = watched(dialect, &wire);
                assert!(watch.finished() && watch.at_event_boundary() && watch.error().is_none(), "{dialect}");
            }
        }
    }

    #[test]
    fn a_stream_that_is_cut_anywhere_before_its_last_event_is_not_finished() {
        for (dialect, wire) in
            [(Dialect::Messages, MESSAGES), (Dialect::Responses, RESPONSES), (Dialect::ChatCompletions, CHAT)]
        {
            let last = wire.trim_end().len();
            for cut in 0..=last {
                let mut watch = StreamWatch::new(dialect);
                watch.feed(&wire.as_bytes()[..cut]);
                assert!(!watch.finished(), "{dialect} cut at {cut}");
                watch.finish();
                assert_eq!(watch.finished(), cut == last, "{dialect} cut at {cut}");
            }
        }
    }

    #[test]
    fn a_last_line_without_its_end_counts_at_the_end() {
        let mut watch = watched(Dialect::ChatCompletions, "data: [DONE]");
        assert!(!watch.finished());
        watch.finish();
        assert!(watch.finished());
    }

    #[test]
    fn an_error_in_mid_stream_is_kept() {
        let overloaded = r#"{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}"#;
        let plain = r#"{"error":{"message":"boom","type":"server_error"}}"#;
        let failed = r#"{"type":"response.failed","response":{"status":"failed","error":{"code":"server_error"}}}"#;
        for (dialect, data, name, ends) in [
            (Dialect::Messages, overloaded, "event: error\n", false),
            (Dialect::Messages, overloaded, "", false),
            (Dialect::Responses, overloaded, "", false),
            (Dialect::Responses, failed, "event: response.failed\n", true),
            (Dialect::Responses, failed, "", true),
            (Dialect::ChatCompletions, plain, "", false),
            (Dialect::ChatCompletions, plain, "event: error\n", false),
            (Dialect::ChatCompletions, r#"{"id":"x","choices":[],"error":{"code":502}}"#, "", false),
        ] {
            let watch = watched(dialect, &format!("{name}data: {data}\n\ndata: {{\"error\":\"second\"}}\n\n"));
            assert_eq!(watch.error(), Some(data.as_bytes()), "{dialect} {name:?}");
            assert_eq!(watch.finished(), ends, "{dialect} {name:?}");
        }
    }

    #[test]
    fn a_huge_line_is_not_buffered() {
        let mut watch = StreamWatch::new(Dialect::Messages);
        watch.feed(b"event: error\ndata: {\"type\":\"error\",\"x\":\"");
        for _ in 0..100 {
            watch.feed(&[b'x'; 4096]);
            assert!(watch.place.line.capacity() <= 2 * ERROR_BYTES_MAX);
        }
        watch.feed(b"\"}\n\n");
        let kept = watch.error().unwrap().len();
        assert!((ERROR_BYTES_MAX - 16..=ERROR_BYTES_MAX).contains(&kept), "{kept}");
        assert!(watch.at_event_boundary());
    }

    #[test]
    fn a_boundary_is_where_a_blank_line_ended() {
        let mut watch = StreamWatch::new(Dialect::Messages);
        for (bytes, boundary) in [
            ("", true),
            ("event: ping", false),
            ("\n", false),
            ("data: {}\r\n", false),
            ("\r", true),
            ("\n", true),
            (": comment\n", false),
            ("\n", true),
        ] {
            watch.feed(bytes.as_bytes());
            assert_eq!(watch.at_event_boundary(), boundary, "after {bytes:?}");
        }
    }

    #[test]
    fn what_is_seen_does_not_depend_on_where_the_network_cuts_the_bytes() {
        for (dialect, wire) in
            [(Dialect::Messages, MESSAGES), (Dialect::Responses, RESPONSES), (Dialect::ChatCompletions, CHAT)]
        {
            let wire =
                format!("{wire}event: error\r\ndata: {{\"error\":{{\"message\":\"caf\u{e9}\"}}}}\r\n\r\ndata: x");
            for seed in 0..300 {
                let mut rng = StdRng::seed_from_u64(seed);
                let (mut cut, mut fed) = (StreamWatch::new(dialect), 0);
                while fed < wire.len() {
                    let next = (fed + rng.random_range(1..40)).min(wire.len());
                    cut.feed(&wire.as_bytes()[fed..next]);
                    fed = next;
                    let mut whole = StreamWatch::new(dialect);
                    whole.feed(&wire.as_bytes()[..fed]);
                    assert_eq!(state(&cut), state(&whole), "{dialect} seed {seed} at {fed}");
                }
            }
        }
    }
}
