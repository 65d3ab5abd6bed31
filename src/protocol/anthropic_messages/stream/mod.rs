//! Streams of Messages: read from an upstream, written for a client.

mod reader;
mod writer;

pub use reader::Reader;
pub use writer::Writer;
