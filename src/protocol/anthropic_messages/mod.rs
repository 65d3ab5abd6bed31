//! Anthropic Messages, both as what a client speaks and as what an upstream does.
//!
//! **As a client's dialect.** Refused: files by id, MCP servers, threads, a forced tool that Anthropic runs, `max_tokens: 0`, blocks
//! nobody knows, messages of nothing but server-side work. Named in `x-duopool-dropped`: server-side tools other than web
//! search and their blocks, wanted citations, a last turn of the assistant (which others do not continue), what the model
//! cannot be asked for, and every member that is not known. Left out without a word, as they only tune cost, speed or
//! bookkeeping: `cache_control`, `service_tier`, `speed`, `inference_geo`, `context_management`, `diagnostics`,
//! `user_profile_id`, `betas`, `caller`, `defer_loading`, `eager_input_streaming`, `input_examples`, `allowed_callers`,
//! citations of earlier answers, Claude Code's billing header; and thinking of other providers, which nobody else can
//! verify.
//!
//! **As an upstream's dialect.** Named, by the name that the client's dialect has for it: sampling that the model does not
//! take, effort where it cannot think, `strict` and grammars (they are described, not enforced), JSON without a schema
//! (asked for in words), the provider's web search beside other tools. Left out without a word: limits of values in the
//! schema of an answer become words; effort above `high` is `high` where the model has no more; `verbosity`, prompt cache
//! keys. In answers: citations, server-side tool blocks, `stop_sequence`'s text. Marks for the prompt cache are added for
//! agents.

mod decode;
mod encode;
mod stream;
mod wire;

pub use decode::{Decoded, read_answer, read_request};
pub(in crate::protocol) use encode::{BUDGET_TOKENS_MIN, budget, effort_word};
pub use encode::{Encoded, NAME_RULES, write_answer, write_request};
pub use stream::{Reader, Writer};

use crate::protocol::canonical::Unmet;

/// Returns what Messages calls a wish.
pub const fn path(unmet: Unmet) -> &'static str {
    match unmet {
        Unmet::Temperature => "temperature",
        Unmet::TopP => "top_p",
        Unmet::TopK => "top_k",
        Unmet::Stop => "stop_sequences",
        Unmet::Effort => "thinking",
        Unmet::ToolChoice => "tool_choice",
        Unmet::Format => "output_config.format",
        Unmet::WebSearch => "tools[].web_search",
        Unmet::Strict => "tools[].strict",
        // Messages has no such member.
        Unmet::Grammar => "tools[].format",
    }
}
