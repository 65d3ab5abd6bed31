//! The JSON of a request, as far as it is understood.

use serde::de::IgnoredAny;

use crate::protocol::json::{Str, TextOr, members};

members! {
    /// The body of a request.
    pub(in crate::protocol::openai_chat) struct Request<'a> {
        "messages" => messages: Vec<Message<'a>>,
        "stream" => stream: bool,
        "stream_options" => stream_options: StreamOptions<'a>,
        "max_tokens" => max_tokens: u64,
        "max_completion_tokens" => max_completion_tokens: u64,
        "stop" => stop: TextOr<'a, Str<'a>>,
        "temperature" => temperature: f64,
        "top_p" => top_p: f64,
        "n" => n: u64,
        "logprobs" => logprobs: bool,
        "logit_bias" => logit_bias: Anything<'a>,
        "presence_penalty" => presence_penalty: f64,
        "frequency_penalty" => frequency_penalty: f64,
        "modalities" => modalities: TextOr<'a, Str<'a>>,
        "audio" => audio: IgnoredAny,
        "tools" => tools: Vec<IgnoredAny>,
        "functions" => functions: Vec<IgnoredAny>,
        "response_format" => response_format: ResponseFormat<'a>,
        "reasoning_effort" => reasoning_effort: Str<'a>,
        "user" => user: Str<'a>,
        "safety_identifier" => safety_identifier: Str<'a>,
    }
}

members! {
    pub(in crate::protocol::openai_chat) struct StreamOptions<'a> {
        "include_usage" => include_usage: bool,
    }
}

members! {
    pub(in crate::protocol::openai_chat) struct ResponseFormat<'a> {
        "type" => kind: Str<'a>,
    }
}

members! {
    /// An object of which only the names of the members count.
    pub(in crate::protocol::openai_chat) struct Anything<'a> {}
}

members! {
    pub(in crate::protocol::openai_chat) struct Message<'a> {
        "role" => role: Str<'a>,
        "content" => content: TextOr<'a, Part<'a>>,
        "refusal" => refusal: Str<'a>,
        "tool_calls" => tool_calls: Vec<IgnoredAny>,
        "function_call" => function_call: IgnoredAny,
        "audio" => audio: IgnoredAny,
    }
}

members! {
    pub(in crate::protocol::openai_chat) struct Part<'a> {
        "type" => kind: Str<'a>,
        "text" => text: Str<'a>,
        "refusal" => refusal: Str<'a>,
        "image_url" => image_url: ImageUrl<'a>,
    }
}

members! {
    pub(in crate::protocol::openai_chat) struct ImageUrl<'a> {
        "url" => url: Str<'a>,
    }
}
