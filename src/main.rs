//! The `duopool` binary.
fn main() {}
