//! Values that must never be printed.

use std::fmt;

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
}
