//! `OpenAI` Chat Completions, as what a client speaks: requests come in, answers and chunks go out.
//!
//! Refused until they can be carried: tools, legacy functions, tool messages, structured output, files, audio, more than
//! one choice, log probabilities.
//!
//! Named in `x-duopool-dropped`: `seed`, `logit_bias`, penalties other than 0, `top_logprobs`, `web_search_options`,
//! `moderation`, `messages[].name`, what the model cannot be asked for (`temperature`, `top_p`, `stop`,
//! `reasoning_effort`), and every member that is not known.
//!
//! Left out without a word, as they only tune cost, speed or bookkeeping: `service_tier`, `store`, `metadata`,
//! `verbosity`, `prediction`, `prompt_cache_*`, `cache_control`, an image's `detail`,
//! `stream_options.include_obfuscation`; tool choices without tools; and `reasoning_content`, `annotations` of earlier
//! answers, which the upstream cannot take back.

mod asked;
mod decode;
mod encode;
mod layout;
mod stream;
mod wire;

pub use asked::Asked;
pub use decode::{Decoded, request};
pub use encode::answer;
pub use layout::Texts;
pub use stream::ChunkWriter;

use crate::protocol::canonical::Unmet;

/// Returns what Chat Completions calls a setting.
pub const fn path(unmet: Unmet) -> &'static str {
    match unmet {
        Unmet::Temperature => "temperature",
        Unmet::TopP => "top_p",
        Unmet::Stop => "stop",
        Unmet::Effort => "reasoning_effort",
        Unmet::ToolChoice => "tool_choice",
        Unmet::Format => "response_format",
        Unmet::WebSearch => "web_search_options",
        Unmet::Grammar => "tools[].custom.format",
        Unmet::Strict => "tools[].function.strict",
        // Chat Completions has no such member.
        Unmet::TopK => "top_k",
    }
}
