//! Calls whose argument is any text, through a model that only knows JSON.
//!
//! The model gets a function with one string member, `input`; what it writes there is the text. [`Unwrapper`] takes the
//! text out of the JSON while it comes, wherever it is cut. A model that writes something else is taken at its word: the
//! tool gets what was written, and can complain.

use crate::protocol::json;

/// Longest beginning of the JSON, in bytes, in which `{"input":"` must have come.
const HEAD_BYTES_MAX: usize = 256;

/// The longest escape is `\ud83e\udd80`.
const ESCAPE_BYTES_MAX: usize = 12;

/// Takes the text out of `{"input":"…"}`.
#[derive(Debug, Default)]
pub(super) struct Unwrapper {
    state: State,
    /// Of the beginning, or of an escape, what has come so far.
    held: String,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    /// Before the text.
    #[default]
    Head,
    /// In the text.
    Text,
    /// Behind the text.
    Past,
    /// It is no such JSON.
    Raw,
}

/// What a beginning is.
enum Head {
    /// Whole: the text begins at this offset.
    Begins(usize),
    /// It may become one.
    Open,
    /// It is none.
    Other,
}

impl Unwrapper {
    /// Takes more of the JSON; appends the text in it to `out`.
    pub(super) fn feed(&mut self, json: &str, out: &mut String) {
        match self.state {
            State::Head => {
                self.held.push_str(json);
                match head(&self.held) {
                    Head::Begins(at) => {
                        let held = std::mem::take(&mut self.held);
                        self.state = State::Text;
                        self.text(&held[at..], out);
                    }
                    Head::Open if self.held.len() <= HEAD_BYTES_MAX => {}
                    Head::Open | Head::Other => {
                        self.state = State::Raw;
                        // An object that is empty so far, and may be all there is.
                        out.push_str(&std::mem::take(&mut self.held));
                    }
                }
            }
            State::Text => self.text(json, out),
            State::Past => {}
            State::Raw => out.push_str(json),
        }
    }

    /// Ends the JSON; appends what was held back. Nothing, and an empty object, are an empty text.
    pub(super) fn finish(&mut self, out: &mut String) {
        let held = std::mem::take(&mut self.held);
        match self.state {
            State::Head if !is_empty_object(&held) => out.push_str(&held),
            // An escape that was cut off is dropped like what would have followed.
            State::Head | State::Text | State::Past | State::Raw => {}
        }
        self.state = State::Past;
    }

    fn text(&mut self, json: &str, out: &mut String) {
        let mut json = json;
        while !self.held.is_empty() {
            let Some(char) = json.chars().next() else { return };
            self.held.push(char);
            json = &json[char.len_utf8()..];
            if let Some(used) = escape_end(&self.held) {
                let held = std::mem::take(&mut self.held);
                json::unescape(&held[..used], out);
                if let Some(more) = held.get(used..).filter(|more| !more.is_empty()) {
                    // What came behind half of a pair was no other half.
                    let joined = format!("{more}{json}");
                    return self.text(&joined, out);
                }
            }
        }
        let mut rest = json;
        while let Some(at) = memchr::memchr2(b'"', b'\\', rest.as_bytes()) {
            out.push_str(&rest[..at]);
            rest = &rest[at..];
            if rest.starts_with('"') {
                self.state = State::Past;
                return;
            }
            let Some(used) = escape_end(rest) else {
                rest.clone_into(&mut self.held);
                return;
            };
            json::unescape(&rest[..used], out);
            rest = &rest[used..];
        }
        out.push_str(rest);
    }
}

/// Returns the text in the JSON of a whole call.
pub(super) fn unwrap(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    let mut unwrapper = Unwrapper::default();
    unwrapper.feed(json, &mut out);
    unwrapper.finish(&mut out);
    out
}

fn is_empty_object(text: &str) -> bool {
    let inner = text.trim().strip_prefix('{').map(str::trim_start);
    text.trim().is_empty() || inner == Some("}")
}

fn head(text: &str) -> Head {
    let mut rest = text;
    for token in ["{", "\"input\"", ":", "\""] {
        rest = rest.trim_start();
        match rest.strip_prefix(token) {
            Some(after) => rest = after,
            None if token.starts_with(rest) => return Head::Open,
            None if is_empty_object(text) => return Head::Open,
            None => return Head::Other,
        }
    }
    Head::Begins(text.len() - rest.len())
}

/// Returns the length of the escape that `text` begins with, both halves of a pair included; `None` where more must come.
fn escape_end(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    if *bytes.get(1)? != b'u' {
        return Some(1 + text[1..].chars().next().map_or(0, char::len_utf8));
    }
    let digits = bytes[2..].iter().take(4).take_while(|byte| byte.is_ascii_hexdigit()).count();
    if digits < 4 {
        return (bytes.len() > 2 + digits).then_some(2 + digits);
    }
    let is_high = matches!(&bytes[2..4], [b'd' | b'D', b'8' | b'9' | b'a' | b'b' | b'A' | b'B']);
    let after = &bytes[6..];
    if !is_high || (!after.is_empty() && !br"\u".starts_with(&after[..after.len().min(2)])) {
        return Some(6);
    }
    if after.len() >= 2 && after[2..].iter().take(4).any(|byte| !byte.is_ascii_hexdigit()) {
        return Some(6);
    }
    (bytes.len() >= ESCAPE_BYTES_MAX).then_some(ESCAPE_BYTES_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn in_pieces(json: &str, width: usize) -> String {
        let (mut unwrapper, mut out) = (Unwrapper::default(), String::new());
        let chars: Vec<char> = json.chars().collect();
        for piece in chars.chunks(width) {
            unwrapper.feed(&piece.iter().collect::<String>(), &mut out);
        }
        unwrapper.finish(&mut out);
        out
    }

    #[test]
    fn the_text_comes_out_wherever_the_json_is_cut() {
        for (json, text) in [
            (
                r#"{"input":"*** Begin Patch\n+\t\"a\"\\b\u00e9\ud83e\udd80\n"}"#,
                "*** Begin Patch\n+\t\"a\"\\b\u{e9}\u{1f980}\n",
            ),
            (" {\n \"input\" : \"caf\u{e9} \u{1f980}\" , \"more\": 1}\n", "caf\u{e9} \u{1f980}"),
            (r#"{"input":""}"#, ""),
            (
                r#"{"input":"half \ud83e and \ud83ex \ud83e\n \ud83e\u0041"}"#,
                "half \u{fffd} and \u{fffd}x \u{fffd}\n \u{fffd}A",
            ),
            ("", ""),
            (" { } ", ""),
        ] {
            for width in 1..=json.len().max(1) {
                assert_eq!(in_pieces(json, width), text, "{json} in pieces of {width}");
            }
        }
    }

    #[test]
    fn a_text_comes_as_early_as_its_json() {
        let (mut unwrapper, mut out) = (Unwrapper::default(), String::new());
        unwrapper.feed(r#"{"input":"a"#, &mut out);
        assert_eq!(out, "a");
        unwrapper.feed(r"b\", &mut out);
        assert_eq!(out, "ab");
        unwrapper.feed("nc", &mut out);
        assert_eq!(out, "ab\nc");
    }

    #[test]
    fn what_is_no_such_json_comes_out_as_it_is() {
        for json in ["*** Begin Patch", r#"{"patch":"x"}"#, r#"{"input":7}"#, r#"["input"]"#, r#"{"inputs":"x"}"#] {
            for width in [1, 3, 100] {
                assert_eq!(in_pieces(json, width), json, "pieces of {width}");
            }
        }
    }

    #[test]
    fn a_text_that_is_cut_off_ends_there() {
        for (json, text) in [(r#"{"input":"ab"#, "ab"), (r#"{"input":"ab\"#, "ab"), (r#"{"input":"ab\u00"#, "ab")] {
            assert_eq!(in_pieces(json, 1), text);
        }
    }

    #[test]
    fn what_is_wrapped_comes_out_again() {
        for text in ["", "a\n\"b\"\\ \u{1f980}\u{7f}\u{1}", "{\"input\":\"x\"}"] {
            let json = serde_json::json!({ "input": text }).to_string();
            assert_eq!(unwrap(&json), text);
        }
    }
}
