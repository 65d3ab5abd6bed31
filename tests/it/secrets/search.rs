//! The search: every form in which a secret may be written, in everything that was said or left behind.

use std::collections::{BTreeMap, HashMap};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use memchr::memmem;

/// By so many last bytes a form is looked up; a shorter one would be found by chance.
const KEY_BYTES: usize = 8;
/// Bytes of a line that a finding shows.
const SHOWN_BYTES: usize = 160;

/// Who may see a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shown {
    Never,
    /// It is a part of what the user is to open or to enter: in an admin's answer and on standard output.
    ToItsUser,
}

/// Where something was said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// To an operator, by HTTP or on standard output.
    Answer,
    Log,
    File,
    CommandLine,
}

/// A place that is searched.
pub(super) struct Place {
    pub(super) kind: Kind,
    pub(super) name: String,
    pub(super) bytes: Vec<u8>,
}

/// What must not be found.
#[derive(Default)]
pub(super) struct Secrets {
    known: Vec<(String, Vec<u8>, Shown)>,
}

impl Secrets {
    pub(super) fn add(&mut self, name: &str, secret: impl AsRef<[u8]>, shown: Shown) {
        let secret = secret.as_ref();
        assert!(secret.len() >= KEY_BYTES, "{name} is too short to be told from chance");
        if !self.known.iter().any(|(_, known, _)| known == secret) {
            self.known.push((name.to_owned(), secret.to_vec(), shown));
        }
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.known.iter().map(|(name, ..)| name.as_str())
    }

    /// Returns what was found, in words that have no secret in them.
    pub(super) fn search(&self, places: &[Place]) -> Vec<String> {
        let mut forms = Vec::new();
        for (name, secret, shown) in &self.known {
            forms.extend(written(secret).into_iter().map(|(form, bytes)| (name, form, bytes, *shown)));
        }
        let mut by_key: HashMap<&[u8], Vec<usize>> = HashMap::new();
        for (number, (_, _, bytes, _)) in forms.iter().enumerate() {
            by_key.entry(&bytes[bytes.len() - KEY_BYTES..]).or_default().push(number);
        }
        let sieve = Sieve::of(by_key.keys());
        let mut told = Vec::new();
        for place in places {
            // Of each secret the longest form: a half of it is in the whole as well.
            let mut found: BTreeMap<&str, (usize, String)> = BTreeMap::new();
            for (at, key) in place.bytes.windows(KEY_BYTES).enumerate() {
                if !sieve.lets_through(key) {
                    continue;
                }
                let Some(numbers) = by_key.get(key) else { continue };
                for (name, form, bytes, shown) in numbers.iter().map(|number| &forms[*number]) {
                    let end = at + KEY_BYTES;
                    let allowed = *shown == Shown::ToItsUser && place.kind == Kind::Answer;
                    if place.bytes[..end].ends_with(bytes) && !allowed {
                        let start = end - bytes.len();
                        if found.get(name.as_str()).is_none_or(|(length, _)| *length < bytes.len()) {
                            let beside = self.struck(&place.bytes[..start]);
                            let words = format!("{name} ({form}) is in {}, after `{beside}`", place.name);
                            found.insert(name, (bytes.len(), words));
                        }
                    }
                }
            }
            told.extend(found.into_values().map(|(_, words)| words));
        }
        told
    }

    /// Returns the end of `text`, without a secret.
    fn struck(&self, text: &[u8]) -> String {
        let line = text.rsplit(|byte| *byte == b'\n').next().unwrap_or_default();
        let mut line = line[line.len().saturating_sub(4_096)..].to_vec();
        for bytes in self.known.iter().flat_map(|(_, secret, _)| written(secret)).map(|(_, bytes)| bytes) {
            while let Some(at) = memmem::find(&line, &bytes) {
                line.splice(at..at + bytes.len(), *b"***");
            }
        }
        String::from_utf8_lossy(&line[line.len().saturating_sub(SHOWN_BYTES)..]).into_owned()
    }
}

/// Tells at once of nearly every piece of text that it is none of the keys: megabytes are searched, in a build that is not
/// optimised.
struct Sieve {
    holes: Vec<bool>,
}

impl Sieve {
    fn of<'k>(keys: impl Iterator<Item = &'k &'k [u8]>) -> Self {
        let mut holes = vec![false; 1 << 16];
        keys.for_each(|key| holes[Self::place(key)] = true);
        Self { holes }
    }

    fn lets_through(&self, key: &[u8]) -> bool {
        self.holes[Self::place(key)]
    }

    fn place(key: &[u8]) -> usize {
        let bytes = u32::from_le_bytes([key[4], key[5], key[6], key[7]]);
        (bytes.wrapping_mul(0x9E37_79B1) >> 16) as usize
    }
}

/// Returns every form in which `secret` may be written, each once, with its name.
fn written(secret: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
    let mut forms = vec![("as it is", secret.to_vec())];
    if secret.len() >= 4 * KEY_BYTES {
        let (first, second) = secret.split_at(secret.len() / 2);
        forms.extend([("its first half", first.to_vec()), ("its second half", second.to_vec())]);
    }
    let hex = |upper: bool| {
        let digits = |byte: &u8| if upper { format!("{byte:02X}") } else { format!("{byte:02x}") };
        secret.iter().map(digits).collect::<String>().into_bytes()
    };
    forms.extend([("in hexadecimal", hex(false)), ("in hexadecimal", hex(true))]);
    // In the middle of other bytes, base64 has one of three faces; what shares a letter with its neighbours is left out.
    for shift in 0..3 {
        let shifted = [&b"\0\0"[..shift], secret].concat();
        let skipped = [0, 2, 3][shift];
        for (name, text) in
            [("in base64", STANDARD_NO_PAD.encode(&shifted)), ("in base64url", URL_SAFE_NO_PAD.encode(&shifted))]
        {
            let whole = shifted.len() * 8 / 6;
            forms.push((name, text.as_bytes()[skipped..whole].to_vec()));
        }
    }
    // Of bytes that are no text there is an array in debug output, and that is all.
    let listed: Vec<String> = secret.iter().map(u8::to_string).collect();
    forms.push(("as a list of bytes", listed.join(", ").into_bytes()));
    if let Ok(text) = std::str::from_utf8(secret) {
        let quoted = serde_json::Value::from(text).to_string();
        forms.push(("in JSON", quoted.as_bytes()[1..quoted.len() - 1].to_vec()));
        forms.push(("in Debug", format!("{text:?}")[1..].trim_end_matches('"').as_bytes().to_vec()));
        forms.push(("as a form", url::form_urlencoded::byte_serialize(secret).collect::<String>().into_bytes()));
        forms.push(("percent-encoded", percent_encoded(secret, |byte| format!("%{byte:02X}"))));
        forms.push(("percent-encoded", percent_encoded(secret, |byte| format!("%{byte:02x}"))));
        let html = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;");
        forms.push(("in HTML", html.into_bytes()));
    }
    let mut once: Vec<(&'static str, Vec<u8>)> = Vec::new();
    for (name, bytes) in forms {
        if bytes.len() >= KEY_BYTES && !once.iter().any(|(_, known)| *known == bytes) {
            once.push((name, bytes));
        }
    }
    once
}

fn percent_encoded(secret: &[u8], encode: impl Fn(u8) -> String) -> Vec<u8> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte);
    secret
        .iter()
        .map(|byte| if is_plain(*byte) { char::from(*byte).into() } else { encode(*byte) })
        .collect::<String>()
        .into()
}

#[test]
fn the_search_finds_every_form_and_its_words_have_none_of_it() {
    let secret = "kwzqj/+=&\"<%>-0123456789-vbxyq-abcdef";
    let mut secrets = Secrets::default();
    secrets.add("the secret", secret, Shown::Never);
    secrets.add("another one", "another-secret-of-length", Shown::ToItsUser);
    for (form, bytes) in written(secret.as_bytes()) {
        let text = [b"a line\nbefore another-secret-of-length: ".as_slice(), &bytes, b" and after"].concat();
        let place = Place { kind: Kind::Answer, name: "a reply".to_owned(), bytes: text };
        let found = secrets.search(&[place]);
        assert_eq!(found, [format!("the secret ({form}) is in a reply, after `before ***: `")]);
    }
    let inside = STANDARD_NO_PAD.encode(format!("x{secret}y"));
    let place = Place { kind: Kind::File, name: "a file".to_owned(), bytes: inside.into_bytes() };
    assert!(secrets.search(&[place])[0].contains("(in base64) is in a file"));
    let shown = |kind| Place { kind, name: String::new(), bytes: b"to another-secret-of-length".to_vec() };
    assert!(secrets.search(&[shown(Kind::Answer)]).is_empty());
    assert_eq!(secrets.search(&[shown(Kind::Log)]).len(), 1);
}
