//! Values that must never be printed.

use std::borrow::Cow;
use std::fmt;

use memchr::memmem;
use serde_json::Value;
use url::form_urlencoded;

/// What is shown in place of a secret.
const STRUCK: &[u8] = b"***";

/// A value with no `Display`, no `Serialize`, a masking `Debug` and one door out, [`Secret::expose`].
///
/// `git grep expose` is the audit of every place where a secret leaves its wrapper.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret<T>(T);

impl<T> Secret<T> {
    /// Wraps `value`.
    pub const fn new(value: T) -> Self {
        Self(value)
    }

    /// Returns the secret itself.
    pub const fn expose(&self) -> &T {
        &self.0
    }
}

impl Secret<String> {
    /// Returns `text` with the secret struck out: whoever is sent a secret may quote it in the answer, as it is or as it
    /// was sent, in a form. JSON in which it could be written in yet another way is written anew.
    pub fn struck_from<'a>(&self, text: &'a [u8]) -> Cow<'a, [u8]> {
        if self.0.is_empty() {
            return Cow::Borrowed(text);
        }
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._*".contains(&byte);
        if self.0.bytes().all(is_plain) {
            return without(text, self.0.as_bytes());
        }
        let clean = match serde_json::from_slice::<Value>(text) {
            // Escapes are free to choose: GitLab writes `&` as `\u0026`.
            Ok(value) if text.contains(&b'\\') => value.to_string().into_bytes(),
            _ => text.to_vec(),
        };
        let forms = self.forms().into_iter();
        Cow::Owned(forms.fold(clean, |clean, form| without(&clean, form.as_bytes()).into_owned()))
    }

    /// Returns how the secret is written in an answer that quotes it.
    fn forms(&self) -> Vec<String> {
        let quoted = Value::from(self.0.as_str()).to_string();
        let in_json = quoted[1..quoted.len() - 1].to_owned();
        let in_form: String = form_urlencoded::byte_serialize(self.0.as_bytes()).collect();
        let in_address = in_form.replace('+', "%20");
        vec![self.0.clone(), in_json, in_form, in_address]
    }
}

/// Returns `text` without `what`.
fn without<'a>(text: &'a [u8], what: &[u8]) -> Cow<'a, [u8]> {
    let (mut clean, mut rest) = (Vec::new(), text);
    while let Some(at) = memmem::find(rest, what) {
        clean.extend_from_slice(&rest[..at]);
        clean.extend_from_slice(STRUCK);
        rest = &rest[at + what.len()..];
    }
    if rest.len() == text.len() {
        return Cow::Borrowed(text);
    }
    clean.extend_from_slice(rest);
    Cow::Owned(clean)
}

impl<T> fmt::Debug for Secret<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(***)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_does_not_show_in_debug_output() {
        let shown = format!("{:?}", Some(Secret::new("glpat-visible".to_owned())));
        assert_eq!(shown, "Some(Secret(***))");
    }

    #[test]
    fn a_secret_is_struck_from_a_text_that_quotes_it() {
        let struck = |secret: &str, text: &str| {
            let secret = Secret::new(secret.to_owned());
            String::from_utf8(secret.struck_from(text.as_bytes()).into_owned()).unwrap()
        };
        assert_eq!(struck("ab", "ab: xabab!"), "***: x******!");
        assert_eq!(struck("ab", "nothing here, a b"), "nothing here, a b");
        assert_eq!(struck("", "text"), "text");
        assert_eq!(struck("ab", ""), "");
    }

    #[test]
    fn a_secret_is_struck_in_every_way_in_which_it_may_be_quoted() {
        let secret = Secret::new("a+b/c=&\"<\\ d".to_owned());
        let struck = |text: &str| String::from_utf8(secret.struck_from(text.as_bytes()).into_owned()).unwrap();
        assert_eq!(struck("you sent a+b/c=&\"<\\ d"), "you sent ***");
        assert_eq!(struck("x=1&s=a%2Bb%2Fc%3D%26%22%3C%5C+d&y=2"), "x=1&s=***&y=2");
        assert_eq!(struck("/?s=a%2Bb%2Fc%3D%26%22%3C%5C%20d"), "/?s=***");
        assert_eq!(struck(r#"{"error":"a+b/c=&\"<\\ d!"}"#), r#"{"error":"***!"}"#);
        assert_eq!(struck(r#"{"error": "a+b\/c=\u0026\u0022\u003c\\ d!"}"#), r#"{"error":"***!"}"#);
        assert_eq!(struck(r#"{"b": "\"", "a": 1}"#), r#"{"b":"\"","a":1}"#);
    }
}
