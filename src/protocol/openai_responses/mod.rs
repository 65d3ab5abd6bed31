//! `OpenAI` Responses, both as what a client speaks and as what an upstream does.
//!
//! **As a client's dialect.** `previous_response_id` and `item_reference` are taken where the caller has kept what they refer
//! to, and refused where not (see `stored`). Refused: what refers to other state that `OpenAI` keeps (`conversation`,
//! `prompt`, `background`, compacted conversations), files by id, audio, log probabilities, items and tools of unknown kinds, a forced tool that only `OpenAI` runs, or such tools alone. Named in `x-duopool-dropped`:
//! tools that only `OpenAI` runs beside others and the transcripts of what they did, `truncation`, `max_tool_calls`,
//! `context_management`, `moderation`, what the model cannot be asked for, and every member that is not known. Left out
//! without a word, as they only tune cost, speed or bookkeeping: `service_tier`, `store`, `metadata`, `client_metadata`,
//! `prompt_cache_*`, `stream_options`, `include` but for log probabilities, `reasoning.context`, ids and states of items,
//! `phase`, an image's `detail`, annotations and log probabilities of earlier answers, `caller`, a search's context size
//! and content types; and reasoning of other providers, which nobody else can verify. Tools of namespaces and those that
//! come as items are offered like any other and their calls are told in the client's own form; so are the tools whose calls
//! are items of their own (`local_shell`, `shell`, `apply_patch`, `tool_search` of the client).
//!
//! Response objects repeat what was asked, as `OpenAI`'s do, but no member longer than 16 KiB.
//!
//! **As an upstream's dialect.** Nothing is stored; encrypted reasoning is asked for where the client wants thinking or
//! has tools. It has no stop texts: `translate` ends the answer where one is met. Named, by the name that the client's
//! dialect has for it: more stop texts than that looks for, `top_k`, sampling that the model does not take, effort where it
//! cannot think or cannot but think, blocked domains and the number of searches. Left out without a word: `strict` for a schema
//! that is not, effort above the most that the model has; limits are raised to the least and lowered to the most that is
//! taken. In answers: annotations, log probabilities, `phase`, items of work that `OpenAI` did itself.

mod asked;
mod decode;
mod encode;
mod read;
mod stored;
mod wire;
mod write;

pub use asked::Asked;
pub use decode::{Decoded, read_request};
pub(in crate::protocol) use encode::word as effort_word;
pub use encode::{Encoded, NAME_RULES, write_request};
pub use read::{Reader, read_answer};
pub use stored::{Answered, Kept, References, input_items};
pub use write::{Writer, write_answer};

use crate::protocol::canonical::Unmet;

/// Returns what Responses calls a wish.
pub const fn path(unmet: Unmet) -> &'static str {
    match unmet {
        Unmet::Temperature => "temperature",
        Unmet::TopP => "top_p",
        Unmet::Effort => "reasoning.effort",
        Unmet::ToolChoice => "tool_choice",
        Unmet::Format => "text.format",
        Unmet::WebSearch => "tools[].web_search",
        Unmet::Grammar => "tools[].format",
        Unmet::Strict => "tools[].strict",
        // Responses has no such members.
        Unmet::TopK => "top_k",
        Unmet::Stop => "stop",
    }
}
