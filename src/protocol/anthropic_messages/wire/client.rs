//! A request of Messages, as a client sends it.

use serde::de::IgnoredAny;
use serde_json::value::RawValue;

use crate::protocol::json::{Str, TextOr, members};

members! {
    /// The body.
    pub(in crate::protocol) struct Request<'a> {
        "messages" => messages: Vec<Message<'a>>,
        "system" => system: TextOr<'a, &'a RawValue>,
        "max_tokens" => max_tokens: u64,
        "stream" => stream: bool,
        "stop_sequences" => stop_sequences: Vec<Str<'a>>,
        "temperature" => temperature: f64,
        "top_p" => top_p: f64,
        "top_k" => top_k: u64,
        "tools" => tools: Vec<&'a RawValue>,
        "tool_choice" => tool_choice: ToolChoice<'a>,
        "thinking" => thinking: Thinking<'a>,
        "output_config" => output_config: OutputConfig<'a>,
        "output_format" => output_format: OutputFormat<'a>,
        "metadata" => metadata: Metadata<'a>,
        "mcp_servers" => mcp_servers: Vec<IgnoredAny>,
        "thread" => thread: IgnoredAny,
    }
}

members! {
    pub(in crate::protocol) struct Message<'a> {
        "role" => role: Str<'a>,
        "content" => content: TextOr<'a, &'a RawValue>,
        "output_config" => output_config: Box<OutputConfig<'a>>,
    }
}

members! {
    /// A content block of any kind: read one at a time, as it is much wider than what is kept of it.
    pub(in crate::protocol) struct Block<'a> {
        "type" => kind: Str<'a>,
        "text" => text: Str<'a>,
        "source" => source: &'a RawValue,
        "title" => title: Str<'a>,
        "context" => context: Str<'a>,
        "citations" => citations: &'a RawValue,
        "thinking" => thinking: Str<'a>,
        "signature" => signature: Str<'a>,
        "data" => data: Str<'a>,
        "id" => id: Str<'a>,
        "name" => name: Str<'a>,
        "input" => input: &'a RawValue,
        "tool_use_id" => tool_use_id: Str<'a>,
        "content" => content: TextOr<'a, &'a RawValue>,
        "is_error" => is_error: bool,
        "tool_name" => tool_name: Str<'a>,
    }
}

members! {
    /// Where an image or a document is.
    pub(in crate::protocol) struct Source<'a> {
        "type" => kind: Str<'a>,
        "media_type" => media_type: Str<'a>,
        "data" => data: Str<'a>,
        "url" => url: Str<'a>,
        "content" => content: TextOr<'a, &'a RawValue>,
    }
}

members! {
    pub(in crate::protocol) struct Citations<'a> {
        "enabled" => enabled: bool,
    }
}

members! {
    pub(in crate::protocol) struct Tool<'a> {
        "type" => kind: Str<'a>,
        "name" => name: Str<'a>,
        "description" => description: Str<'a>,
        "input_schema" => input_schema: &'a RawValue,
        "strict" => strict: bool,
        "max_uses" => max_uses: u64,
        "allowed_domains" => allowed_domains: Vec<Str<'a>>,
        "blocked_domains" => blocked_domains: Vec<Str<'a>>,
        "user_location" => user_location: &'a RawValue,
    }
}

members! {
    pub(in crate::protocol) struct ToolChoice<'a> {
        "type" => kind: Str<'a>,
        "name" => name: Str<'a>,
        "disable_parallel_tool_use" => disable_parallel_tool_use: bool,
    }
}

members! {
    pub(in crate::protocol) struct Thinking<'a> {
        "type" => kind: Str<'a>,
        "budget_tokens" => budget_tokens: u64,
        "display" => display: Str<'a>,
    }
}

members! {
    pub(in crate::protocol) struct OutputConfig<'a> {
        "effort" => effort: Str<'a>,
        "format" => format: OutputFormat<'a>,
    }
}

members! {
    pub(in crate::protocol) struct OutputFormat<'a> {
        "type" => kind: Str<'a>,
        "schema" => schema: &'a RawValue,
    }
}

members! {
    pub(in crate::protocol) struct Metadata<'a> {
        "user_id" => user_id: Str<'a>,
    }
}

members! {
    /// What Claude Code writes into `metadata.user_id`, as JSON.
    pub(in crate::protocol) struct UserId<'a> {
        "session_id" => session_id: Str<'a>,
    }
}
