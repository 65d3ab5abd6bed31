//! `OpenAI` Chat Completions, as what a client speaks: requests come in, answers and chunks go out.
//!
//! Refused: audio, files by id, more than one choice, log probabilities, tools of unknown kinds, and tools that only
//! `OpenAI` runs where there is no other.
//!
//! Named in `x-duopool-dropped`: `seed`, `logit_bias`, penalties other than 0, tools that only `OpenAI` runs beside others,
//! `moderation`, `messages[].name`, a beginning of the answer that the model will not go on from, what the model cannot be
//! asked for (`temperature`, `top_p`, `stop`, `reasoning_effort`, `web_search_options`), and every member that is not known.
//!
//! Left out without a word, as they only tune cost, speed or bookkeeping: `service_tier`, `store`, `metadata`,
//! `prediction`, `prompt_cache_retention` and `prompt_cache_options`, `cache_control`, an image's `detail`, the size of a
//! search's context, the description of an answer's schema, `stream_options.include_obfuscation`; tool choices without
//! tools; and what earlier answers show beside their text (`reasoning_content`, `annotations`), which the upstream cannot
//! take back: the dialect has no place for a proof of it.
//!
//! The older `functions`, `function_call` and messages of the role `function` are read as tools, calls and results, and
//! [`Asked`] tells the answer to be of that form. Also read are forms that are not `OpenAI`'s own but sent by common
//! clients: `reasoning` and `thinking` objects, images in a tool's message, and tools, calls and results as Messages has
//! them.
//!
//! An answer has one place for all its text, one (`reasoning_content`, not `OpenAI`'s own) for all its reasoning, one for a
//! refusal, and its calls behind them: the order between these is lost. So are citations, work of the provider's own, and
//! which stop text was met. A client of the older functions gets the first call alone, since it can read no more.

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
