//! What the answer to a request must know of it.

/// What a client asked for that shows in the form of its answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Asked {
    /// Whether a stream is to end with a chunk of usage.
    pub include_usage: bool,
    /// Whether the tools came as the older `functions`: a client that sends those reads a call in `function_call`, of
    /// which there is one, and never looks at `tool_calls`.
    pub legacy_functions: bool,
}
