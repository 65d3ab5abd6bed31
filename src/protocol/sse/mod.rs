//! Event streams (`text/event-stream`): a decoder that takes bytes as the network cuts them, and an encoder.
//!
//! Follows the WHATWG HTML standard, section 9.2, with one exception that vendors need: an event whose blank line is
//! missing at the end of the stream is still delivered. Works on bytes, so a cut inside a UTF-8 sequence is harmless;
//! `id:`, `retry:` and comments are skipped.

use memchr::memchr2;

/// Longest line, and longest event, that is buffered: an image in an answer is one line of base64.
pub const LINE_BYTES_MAX: usize = 8 * 1024 * 1024;

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Why a stream cannot be read on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SseError {
    /// A line, or the data of one event, is longer than [`LINE_BYTES_MAX`].
    #[error("an event of the stream is longer than {LINE_BYTES_MAX} bytes")]
    TooLong,
}

/// One event, borrowed from the decoder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event<'a> {
    /// Value of the last `event:` line, empty where there was none.
    pub name: &'a [u8],
    /// Values of the `data:` lines, joined by line feeds.
    pub data: &'a [u8],
}

/// Cuts a stream of bytes into events.
#[derive(Debug, Default)]
pub struct Decoder {
    /// Begin of a line whose end has not come.
    line: Vec<u8>,
    name: Vec<u8>,
    data: Vec<u8>,
    has_data: bool,
    /// The last byte was a carriage return, so a line feed that follows belongs to it.
    after_return: bool,
    /// The first line, which may begin with a byte order mark, is behind us.
    past_first_line: bool,
}

impl Decoder {
    /// Takes the next bytes and hands every event that they complete to `on_event`, whose error ends the call.
    pub fn feed<E: From<SseError>>(
        &mut self,
        mut bytes: &[u8],
        on_event: &mut impl FnMut(Event<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        while !bytes.is_empty() {
            if std::mem::take(&mut self.after_return) && bytes[0] == b'\n' {
                bytes = &bytes[1..];
                continue;
            }
            let Some(end) = memchr2(b'\n', b'\r', bytes) else {
                self.carry(bytes)?;
                break;
            };
            self.after_return = bytes[end] == b'\r';
            if self.line.is_empty() {
                self.line_ends(&bytes[..end], on_event)?;
            } else {
                self.carry(&bytes[..end])?;
                self.carried_line_ends(on_event)?;
            }
            bytes = &bytes[end + 1..];
        }
        Ok(())
    }

    /// Ends the stream and delivers the last event where only its blank line, or its line end, was missing.
    pub fn finish<E: From<SseError>>(
        &mut self,
        on_event: &mut impl FnMut(Event<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        if !self.line.is_empty() {
            self.carried_line_ends(on_event)?;
        }
        self.line_ends(b"", on_event)
    }

    fn carry(&mut self, bytes: &[u8]) -> Result<(), SseError> {
        if self.line.len() + bytes.len() > LINE_BYTES_MAX {
            return Err(SseError::TooLong);
        }
        self.line.extend_from_slice(bytes);
        Ok(())
    }

    fn carried_line_ends<E: From<SseError>>(
        &mut self,
        on_event: &mut impl FnMut(Event<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let line = std::mem::take(&mut self.line);
        let result = self.line_ends(&line, on_event);
        self.line = line;
        self.line.clear();
        result
    }

    fn line_ends<E: From<SseError>>(
        &mut self,
        mut line: &[u8],
        on_event: &mut impl FnMut(Event<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        if !std::mem::replace(&mut self.past_first_line, true) {
            line = line.strip_prefix(BYTE_ORDER_MARK).unwrap_or(line);
        }
        if line.is_empty() {
            return self.event_ends(on_event);
        }
        match field(line) {
            (b"data", value) => self.add_data(value)?,
            (b"event", value) => {
                self.name.clear();
                self.name.extend_from_slice(value);
            }
            _ => {}
        }
        Ok(())
    }

    fn add_data(&mut self, value: &[u8]) -> Result<(), SseError> {
        if self.data.len() + value.len() > LINE_BYTES_MAX {
            return Err(SseError::TooLong);
        }
        if std::mem::replace(&mut self.has_data, true) {
            self.data.push(b'\n');
        }
        self.data.extend_from_slice(value);
        Ok(())
    }

    fn event_ends<E>(&mut self, on_event: &mut impl FnMut(Event<'_>) -> Result<(), E>) -> Result<(), E> {
        let result = if std::mem::take(&mut self.has_data) {
            on_event(Event { name: &self.name, data: &self.data })
        } else {
            Ok(())
        };
        self.name.clear();
        self.data.clear();
        result
    }
}

/// Splits a line into the name of its field and the value; one space after the colon belongs to neither.
pub(super) fn field(line: &[u8]) -> (&[u8], &[u8]) {
    let Some(colon) = memchr::memchr(b':', line) else { return (line, b"") };
    let value = &line[colon + 1..];
    (&line[..colon], value.strip_prefix(b" ").unwrap_or(value))
}

/// Appends one event; `data` is split into as many `data:` lines as it has lines.
pub fn write_event(out: &mut Vec<u8>, event: Option<&str>, data: &[u8]) {
    if let Some(event) = event {
        out.extend_from_slice(b"event: ");
        out.extend_from_slice(event.as_bytes());
        out.push(b'\n');
    }
    let mut rest = data;
    loop {
        let end = memchr2(b'\n', b'\r', rest);
        out.extend_from_slice(b"data: ");
        out.extend_from_slice(&rest[..end.unwrap_or(rest.len())]);
        out.push(b'\n');
        let Some(end) = end else { break };
        let width = if rest[end..].starts_with(b"\r\n") { 2 } else { 1 };
        rest = &rest[end + width..];
    }
    out.push(b'\n');
}

#[cfg(test)]
mod tests;
