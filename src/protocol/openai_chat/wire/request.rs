//! The JSON of a request, as far as it is understood.
//!
//! Lists stay raw until each member is looked at, so that never more than one of them is unfolded: a message of twenty
//! bytes becomes a struct of hundreds.

use serde::de::IgnoredAny;
use serde_json::value::RawValue;

use crate::protocol::json::{Str, TextOr, members};

members! {
    /// The body of a request.
    pub(in crate::protocol::openai_chat) struct Request<'a> {
        "messages" => messages: Vec<&'a RawValue>,
        "stream" => stream: bool,
        "stream_options" => stream_options: StreamOptions<'a>,
        "max_tokens" => max_tokens: u64,
        "max_completion_tokens" => max_completion_tokens: u64,
        "stop" => stop: TextOr<'a, Str<'a>>,
        "temperature" => temperature: f64,
        "top_p" => top_p: f64,
        "n" => n: u64,
        "logprobs" => logprobs: bool,
        "top_logprobs" => top_logprobs: u64,
        "logit_bias" => logit_bias: Anything<'a>,
        "presence_penalty" => presence_penalty: f64,
        "frequency_penalty" => frequency_penalty: f64,
        "modalities" => modalities: TextOr<'a, Str<'a>>,
        "audio" => audio: IgnoredAny,
        "tools" => tools: Vec<&'a RawValue>,
        "tool_choice" => tool_choice: &'a RawValue,
        "parallel_tool_calls" => parallel_tool_calls: bool,
        "functions" => functions: Vec<&'a RawValue>,
        "function_call" => function_call: &'a RawValue,
        "web_search_options" => web_search_options: &'a RawValue,
        "response_format" => response_format: &'a RawValue,
        "reasoning_effort" => reasoning_effort: Str<'a>,
        "reasoning" => reasoning: &'a RawValue,
        "thinking" => thinking: &'a RawValue,
        "verbosity" => verbosity: Str<'a>,
        "user" => user: Str<'a>,
        "safety_identifier" => safety_identifier: Str<'a>,
        "prompt_cache_key" => prompt_cache_key: Str<'a>,
    }
}

members! {
    pub(in crate::protocol::openai_chat) struct StreamOptions<'a> {
        "include_usage" => include_usage: bool,
        "include_obfuscation" => include_obfuscation: IgnoredAny,
    }
}

members! {
    /// An object of which only the names of the members count.
    pub(in crate::protocol::openai_chat) struct Anything<'a> {}
}

members! {
    /// How to think, as other gateways ask for it.
    pub(in crate::protocol::openai_chat) struct Reasoning<'a> {
        "effort" => effort: Str<'a>,
        "enabled" => enabled: bool,
        "max_tokens" => max_tokens: u64,
        "exclude" => exclude: bool,
        "summary" => summary: Str<'a>,
    }
}

members! {
    /// How to think, as Anthropic's own Chat Completions ask for it.
    pub(in crate::protocol::openai_chat) struct Thinking<'a> {
        "type" => kind: Str<'a>,
        "budget_tokens" => budget_tokens: u64,
        "display" => display: Str<'a>,
    }
}

members! {
    pub(in crate::protocol::openai_chat) struct ResponseFormat<'a> {
        "type" => kind: Str<'a>,
        "json_schema" => json_schema: &'a RawValue,
    }
}

members! {
    pub(in crate::protocol::openai_chat) struct JsonSchema<'a> {
        "name" => name: Str<'a>,
        "description" => description: IgnoredAny,
        "schema" => schema: &'a RawValue,
        "strict" => strict: bool,
    }
}

members! {
    pub(in crate::protocol::openai_chat) struct WebSearchOptions<'a> {
        "search_context_size" => search_context_size: IgnoredAny,
        "user_location" => user_location: UserLocation<'a>,
    }
}

members! {
    pub(in crate::protocol::openai_chat) struct UserLocation<'a> {
        "type" => kind: IgnoredAny,
        "approximate" => approximate: &'a RawValue,
    }
}

members! {
    /// A tool; what it is like stands in a member named after its type.
    pub(in crate::protocol::openai_chat) struct Tool<'a> {
        "type" => kind: Str<'a>,
        "function" => function: &'a RawValue,
        "custom" => custom: &'a RawValue,
    }
}

members! {
    /// What a tool is like.
    pub(in crate::protocol::openai_chat) struct Declared<'a> {
        "type" => kind: IgnoredAny,
        "name" => name: Str<'a>,
        "description" => description: Str<'a>,
        "parameters" => parameters: &'a RawValue,
        "input_schema" => input_schema: &'a RawValue,
        "strict" => strict: bool,
        "format" => format: ToolFormat<'a>,
        "user_location" => user_location: &'a RawValue,
    }
}

members! {
    pub(in crate::protocol::openai_chat) struct ToolFormat<'a> {
        "type" => kind: IgnoredAny,
        "grammar" => grammar: Grammar<'a>,
        "syntax" => syntax: Str<'a>,
        "definition" => definition: Str<'a>,
    }
}

members! {
    pub(in crate::protocol::openai_chat) struct Grammar<'a> {
        "syntax" => syntax: Str<'a>,
        "definition" => definition: Str<'a>,
    }
}

members! {
    pub(in crate::protocol::openai_chat) struct ToolChoice<'a> {
        "type" => kind: Str<'a>,
        "function" => function: Named<'a>,
        "custom" => custom: Named<'a>,
        "name" => name: Str<'a>,
        "allowed_tools" => allowed_tools: AllowedTools<'a>,
    }
}

members! {
    pub(in crate::protocol::openai_chat) struct Named<'a> {
        "name" => name: Str<'a>,
    }
}

members! {
    pub(in crate::protocol::openai_chat) struct AllowedTools<'a> {
        "mode" => mode: Str<'a>,
        "tools" => tools: Vec<&'a RawValue>,
    }
}

members! {
    pub(in crate::protocol::openai_chat) struct Message<'a> {
        "role" => role: Str<'a>,
        "content" => content: TextOr<'a, &'a RawValue>,
        "name" => name: Str<'a>,
        "refusal" => refusal: Str<'a>,
        "tool_calls" => tool_calls: Vec<&'a RawValue>,
        "tool_call_id" => tool_call_id: Str<'a>,
        "function_call" => function_call: &'a RawValue,
        "audio" => audio: IgnoredAny,
    }
}

members! {
    pub(in crate::protocol::openai_chat) struct ToolCall<'a> {
        "type" => kind: IgnoredAny,
        "id" => id: Str<'a>,
        "index" => index: IgnoredAny,
        "function" => function: FunctionCall<'a>,
        "custom" => custom: CustomCall<'a>,
    }
}

members! {
    pub(in crate::protocol::openai_chat) struct FunctionCall<'a> {
        "name" => name: Str<'a>,
        "arguments" => arguments: &'a RawValue,
    }
}

members! {
    pub(in crate::protocol::openai_chat) struct CustomCall<'a> {
        "name" => name: Str<'a>,
        "input" => input: Str<'a>,
    }
}

members! {
    /// A part of a message's content. The second half is Anthropic's, which Cursor sends here for models named after
    /// Claude.
    pub(in crate::protocol::openai_chat) struct Part<'a> {
        "type" => kind: Str<'a>,
        "text" => text: Str<'a>,
        "refusal" => refusal: Str<'a>,
        "image_url" => image_url: &'a RawValue,
        "file" => file: AttachedFile<'a>,
        "source" => source: Source<'a>,
        "id" => id: Str<'a>,
        "name" => name: Str<'a>,
        "input" => input: &'a RawValue,
        "tool_use_id" => tool_use_id: Str<'a>,
        "content" => content: TextOr<'a, &'a RawValue>,
        "is_error" => is_error: bool,
    }
}

members! {
    pub(in crate::protocol::openai_chat) struct ImageUrl<'a> {
        "url" => url: Str<'a>,
    }
}

members! {
    pub(in crate::protocol::openai_chat) struct AttachedFile<'a> {
        "file_data" => file_data: Str<'a>,
        "file_id" => file_id: Str<'a>,
        "filename" => filename: Str<'a>,
    }
}

members! {
    pub(in crate::protocol::openai_chat) struct Source<'a> {
        "type" => kind: IgnoredAny,
        "media_type" => media_type: Str<'a>,
        "data" => data: Str<'a>,
        "url" => url: Str<'a>,
    }
}
