//! The JSON of Messages, as far as it is understood.

pub(super) mod answer;
pub(super) mod client;
pub(super) mod reply;
pub(super) mod request;
