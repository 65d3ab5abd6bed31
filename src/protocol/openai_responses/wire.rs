//! The JSON of a Responses request, as far as it is understood.
//!
//! Lists of items, tools and parts stay raw until each is looked at, so that never more than one of them is unfolded: an
//! item of thirty bytes becomes a struct of hundreds.

use serde::de::IgnoredAny;
use serde_json::value::RawValue;

use crate::protocol::json::{Str, members};

members! {
    /// The body of a request.
    pub(super) struct Request<'a> {
        "model" => model: Str<'a>,
        "input" => input: &'a RawValue,
        "instructions" => instructions: &'a RawValue,
        "stream" => stream: bool,
        "stream_options" => stream_options: IgnoredAny,
        "max_output_tokens" => max_output_tokens: u64,
        "temperature" => temperature: f64,
        "top_p" => top_p: f64,
        "tools" => tools: Vec<&'a RawValue>,
        "tool_choice" => tool_choice: &'a RawValue,
        "parallel_tool_calls" => parallel_tool_calls: bool,
        "max_tool_calls" => max_tool_calls: u64,
        "reasoning" => reasoning: &'a RawValue,
        "text" => text: &'a RawValue,
        "include" => include: Vec<Str<'a>>,
        "top_logprobs" => top_logprobs: u64,
        "user" => user: Str<'a>,
        "safety_identifier" => safety_identifier: Str<'a>,
        "prompt_cache_key" => prompt_cache_key: Str<'a>,
        "prompt_cache_retention" => prompt_cache_retention: IgnoredAny,
        "prompt_cache_options" => prompt_cache_options: IgnoredAny,
        "metadata" => metadata: &'a RawValue,
        "client_metadata" => client_metadata: IgnoredAny,
        "service_tier" => service_tier: IgnoredAny,
        "store" => store: bool,
        "truncation" => truncation: Str<'a>,
        "context_management" => context_management: IgnoredAny,
        "moderation" => moderation: IgnoredAny,
        "previous_response_id" => previous_response_id: Str<'a>,
        "conversation" => conversation: IgnoredAny,
        "prompt" => prompt: IgnoredAny,
        "background" => background: bool,
    }
}

members! {
    pub(super) struct Reasoning<'a> {
        "effort" => effort: Str<'a>,
        "summary" => summary: Str<'a>,
        "generate_summary" => generate_summary: Str<'a>,
        "context" => context: IgnoredAny,
    }
}

members! {
    pub(super) struct Text<'a> {
        "format" => format: Format<'a>,
        "verbosity" => verbosity: Str<'a>,
    }
}

members! {
    /// The form of the answer's text, or of a freeform tool's input.
    pub(super) struct Format<'a> {
        "type" => kind: Str<'a>,
        "name" => name: Str<'a>,
        "description" => description: Str<'a>,
        "schema" => schema: &'a RawValue,
        "strict" => strict: bool,
        "syntax" => syntax: Str<'a>,
        "definition" => definition: Str<'a>,
    }
}

members! {
    pub(super) struct Tool<'a> {
        "type" => kind: Str<'a>,
        "name" => name: Str<'a>,
        "description" => description: Str<'a>,
        "parameters" => parameters: &'a RawValue,
        "strict" => strict: bool,
        "format" => format: Format<'a>,
        "tools" => tools: Vec<&'a RawValue>,
        "defer_loading" => defer_loading: bool,
        "execution" => execution: Str<'a>,
        "filters" => filters: Filters<'a>,
        "user_location" => user_location: &'a RawValue,
        "search_context_size" => search_context_size: IgnoredAny,
        "external_web_access" => external_web_access: bool,
        "search_content_types" => search_content_types: IgnoredAny,
        "environment" => environment: IgnoredAny,
    }
}

members! {
    pub(super) struct Filters<'a> {
        "allowed_domains" => allowed_domains: &'a RawValue,
        "blocked_domains" => blocked_domains: &'a RawValue,
    }
}

members! {
    pub(super) struct ToolChoice<'a> {
        "type" => kind: Str<'a>,
        "name" => name: Str<'a>,
        "namespace" => namespace: Str<'a>,
        "mode" => mode: Str<'a>,
        "tools" => tools: Vec<&'a RawValue>,
    }
}

members! {
    /// An item of the input. What members it has depends on its type; a message may leave the type out.
    pub(super) struct Item<'a> {
        "type" => kind: Str<'a>,
        "id" => id: Str<'a>,
        "status" => status: Str<'a>,
        "role" => role: Str<'a>,
        "phase" => phase: IgnoredAny,
        "content" => content: &'a RawValue,
        "call_id" => call_id: Str<'a>,
        "name" => name: Str<'a>,
        "namespace" => namespace: Str<'a>,
        "caller" => caller: IgnoredAny,
        "arguments" => arguments: &'a RawValue,
        "input" => input: Str<'a>,
        "output" => output: &'a RawValue,
        "summary" => summary: Vec<Part<'a>>,
        "encrypted_content" => encrypted_content: Str<'a>,
        "tools" => tools: Vec<&'a RawValue>,
        "execution" => execution: IgnoredAny,
        "action" => action: &'a RawValue,
        "operation" => operation: &'a RawValue,
        "max_output_length" => max_output_length: IgnoredAny,
    }
}

members! {
    /// A part of a message's content, of a result or of a summary.
    pub(super) struct Part<'a> {
        "type" => kind: Str<'a>,
        "text" => text: Str<'a>,
        "refusal" => refusal: Str<'a>,
        "image_url" => image_url: Str<'a>,
        "detail" => detail: IgnoredAny,
        "file_id" => file_id: Str<'a>,
        "file_data" => file_data: Str<'a>,
        "file_url" => file_url: Str<'a>,
        "filename" => filename: Str<'a>,
        "annotations" => annotations: IgnoredAny,
        "logprobs" => logprobs: IgnoredAny,
        "prompt_cache_breakpoint" => prompt_cache_breakpoint: IgnoredAny,
    }
}
