//! The JSON of Chat Completions.

pub(super) mod answer;
pub(super) mod request;
