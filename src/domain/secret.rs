//! Values that must never be printed.

use std::borrow::Cow;
use std::fmt;

use memchr::memmem;

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
    /// Returns `text` with the secret struck out: whoever is sent a secret may quote it in the answer.
    pub fn struck_from<'a>(&self, text: &'a [u8]) -> Cow<'a, [u8]> {
        let (secret, mut clean, mut rest) = (self.0.as_bytes(), Vec::new(), text);
        if secret.is_empty() {
            return Cow::Borrowed(text);
        }
        while let Some(at) = memmem::find(rest, secret) {
            clean.extend_from_slice(&rest[..at]);
            clean.extend_from_slice(STRUCK);
            rest = &rest[at + secret.len()..];
        }
        if rest.len() == text.len() {
            return Cow::Borrowed(text);
        }
        clean.extend_from_slice(rest);
        Cow::Owned(clean)
    }
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
}
