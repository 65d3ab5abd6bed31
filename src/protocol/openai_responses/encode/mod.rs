//! A conversation as a request of Responses.

mod input;
mod schema;
mod wire;

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt::Write as _;

use sha2::{Digest as _, Sha256};

use crate::domain::model::Thinking;
use crate::protocol::canonical::{
    Conversation, Effort, Format, Settings, Target, Tool, ToolChoice, ToolKind, Unmet, WebSearch,
};
use crate::protocol::json;
use crate::protocol::loss::Refusal;
use crate::protocol::names::{self, NameRules, Names};

/// Names of `OpenAI`'s tools.
pub const NAME_RULES: NameRules = NameRules { chars_max: 64, reserved: &[], has_custom: true };

/// Least that `max_output_tokens` may be. Source: OpenAI's error "integer below minimum value".
const OUTPUT_TOKENS_MIN: u64 = 16;

/// Longest `safety_identifier` and `prompt_cache_key`, in characters.
const ID_CHARS_MAX: usize = 64;

/// Without it, `store: false` would leave nothing by which a model could go on thinking.
const INCLUDE: &[&str] = &["reasoning.encrypted_content"];

/// What a schema is called whose client has no name for it.
const FORMAT_NAME: &str = "response";

/// A request in the upstream's words.
#[derive(Debug)]
pub struct Encoded {
    /// Its body.
    pub body: Vec<u8>,
    /// What could not be asked for.
    pub unmet: Vec<Unmet>,
}

/// Writes a repaired conversation as the body of a request for `target`, its tools by the names in `names`.
pub fn write_request(conversation: &Conversation<'_>, target: &Target<'_>, names: &Names) -> Result<Encoded, Refusal> {
    let settings = &conversation.settings;
    let mut unmet = Vec::new();
    let (instructions, turns) = input::instructions(&conversation.turns);
    let input = input::items(turns, names);
    if input.is_empty() {
        return Err(Refusal { message: "there is nothing in the conversation to be answered".into(), param: None });
    }
    // A second tool of one name would be refused.
    let mut known = HashSet::new();
    let once = |tool: &&Tool<'_>| known.insert(names.wire(tool.namespace.as_deref(), &tool.name).to_owned());
    let tools = conversation.tools.iter().filter(once).map(|tool| self::tool(tool, names, &mut unmet));
    let tools: Vec<_> = tools.collect();
    let tool_choice = conversation.tool_choice.as_ref().filter(|_| !tools.is_empty());
    // A client that neither asked for thinking nor goes on after a call has no use for what it cannot read.
    let asks_to_think =
        settings.effort.is_some_and(|effort| effort != Effort::None) || settings.show_reasoning.is_some();
    let thinks = target.thinking.is_some() && (asks_to_think || !conversation.tools.is_empty());
    let reasoning = reasoning(settings, target, &mut unmet);
    let (temperature, top_p) = sampling(settings, target, &mut unmet);
    // Stop texts have no member either; whoever reads the answer ends it there.
    if settings.top_k.is_some() {
        unmet.push(Unmet::TopK);
    }
    let format = conversation.format.as_ref().map(format_of);
    let verbosity = settings.verbosity.as_deref();
    let body = json::to_vec_of(
        conversation.body_bytes,
        &wire::Request {
            model: target.model,
            instructions,
            input,
            tool_choice: tool_choice.map(|choice| choice_of(choice, conversation, names)),
            parallel_tool_calls: conversation.parallel_calls.filter(|_| !tools.is_empty()),
            tools,
            reasoning,
            text: (format.is_some() || verbosity.is_some()).then_some(wire::Text { format, verbosity }),
            max_output_tokens: settings.output_tokens_max.map(|most| limit(most, target)),
            temperature,
            top_p,
            prompt_cache_key: settings.cache_key.as_deref().map(short),
            safety_identifier: settings.user.as_deref().map(short),
            store: false,
            include: if thinks { INCLUDE } else { &[] },
            stream: conversation.stream,
        },
    );
    Ok(Encoded { body, unmet })
}

fn limit(most: u64, target: &Target<'_>) -> u64 {
    most.max(OUTPUT_TOKENS_MIN).min(target.output_tokens_max.unwrap_or(u64::MAX))
}

/// Returns how the model is asked to think. What a client leaves open is left to the model, but for the summary: without
/// it there would be nothing to show.
fn reasoning(settings: &Settings<'_>, target: &Target<'_>, unmet: &mut Vec<Unmet>) -> Option<wire::Reasoning> {
    let Some(Thinking::Effort) = target.thinking else {
        if settings.effort.is_some_and(|effort| effort != Effort::None) {
            unmet.push(Unmet::Effort);
        }
        return None;
    };
    let effort = settings.effort.map(|effort| word(effort, target.efforts));
    if settings.effort == Some(Effort::None) && effort != Some("none") {
        unmet.push(Unmet::Effort);
    }
    let wants_summary = settings.show_reasoning != Some(false) && effort != Some("none");
    let summary = wants_summary.then_some("auto").filter(|_| effort.is_some() || settings.show_reasoning.is_some());
    let reasoning = wire::Reasoning { effort, summary };
    (reasoning != wire::Reasoning { effort: None, summary: None }).then_some(reasoning)
}

/// Words for effort, the least first.
const EFFORTS: [(Effort, &str); 7] = [
    (Effort::None, "none"),
    (Effort::Minimal, "minimal"),
    (Effort::Low, "low"),
    (Effort::Medium, "medium"),
    (Effort::High, "high"),
    (Effort::ExtraHigh, "xhigh"),
    (Effort::Max, "max"),
];

/// What every model takes.
const EFFORTS_OF_ALL: [&str; 3] = ["low", "medium", "high"];

/// Returns the most effort up to the wanted one that the model has a word for, else the least it has: another word would
/// be a 400.
pub(in crate::protocol) fn word(wanted: Effort, known: &[String]) -> &'static str {
    let has = |word: &str| {
        if known.is_empty() { EFFORTS_OF_ALL.contains(&word) } else { known.iter().any(|one| one == word) }
    };
    let mut words = EFFORTS.iter().filter(|(_, word)| has(word));
    let least = words.clone().next();
    // Who wants a little thinking does not mean none.
    let floor = if wanted == Effort::None { Effort::None } else { Effort::Minimal };
    let least = words.clone().find(|(effort, _)| *effort >= floor).or(least);
    words.rfind(|(effort, _)| (floor..=wanted).contains(effort)).or(least).map_or("medium", |(_, word)| word)
}

fn sampling(settings: &Settings<'_>, target: &Target<'_>, unmet: &mut Vec<Unmet>) -> (Option<f64>, Option<f64>) {
    if target.accepts_sampling {
        return (settings.temperature, settings.top_p);
    }
    // The value that is the default anyway is no loss.
    let is_set = |value: Option<f64>| value.is_some_and(|value| (value - 1.0).abs() > f64::EPSILON);
    for (is_lost, what) in [(is_set(settings.temperature), Unmet::Temperature), (is_set(settings.top_p), Unmet::TopP)] {
        if is_lost {
            unmet.push(what);
        }
    }
    (None, None)
}

fn tool<'b>(tool: &'b Tool<'_>, names: &'b Names, unmet: &mut Vec<Unmet>) -> wire::Tool<'b> {
    let name = names.wire(tool.namespace.as_deref(), &tool.name);
    let description = tool.description.as_deref();
    match &tool.kind {
        ToolKind::Function { schema, strict } => {
            let parameters = schema::of_function(*schema);
            let strict = *strict == Some(true) && schema::is_strict(&parameters);
            wire::Tool::Function { name, description, parameters: wire::Raw(parameters), strict }
        }
        ToolKind::Custom { grammar } => {
            let format =
                grammar.as_ref().map(|(syntax, definition)| wire::Grammar { kind: "grammar", syntax, definition });
            wire::Tool::Custom { name, description, format }
        }
        ToolKind::WebSearch(search) => web_search(search, unmet),
    }
}

fn web_search<'b>(search: &'b WebSearch<'_>, unmet: &mut Vec<Unmet>) -> wire::Tool<'b> {
    if !search.blocked_domains.is_empty() || search.uses_max.is_some() {
        unmet.push(Unmet::WebSearch);
    }
    let allowed_domains: Vec<&str> = search.allowed_domains.iter().map(|domain| &**domain).collect();
    wire::Tool::WebSearch {
        filters: (!allowed_domains.is_empty()).then_some(wire::Filters { allowed_domains }),
        user_location: search.user_location.as_deref().map(|location| wire::Raw(Cow::Borrowed(location))),
    }
}

fn choice_of<'b>(
    choice: &'b ToolChoice<'_>,
    conversation: &Conversation<'_>,
    names: &'b Names,
) -> wire::ToolChoice<'b> {
    let (namespace, name) = match choice {
        ToolChoice::Auto => return wire::ToolChoice::Word("auto"),
        ToolChoice::Any => return wire::ToolChoice::Word("required"),
        ToolChoice::None => return wire::ToolChoice::Word("none"),
        ToolChoice::Tool { namespace, name } => (namespace, name),
    };
    let tool = conversation.tools.iter().find(|tool| tool.name == *name && tool.namespace == *namespace);
    let name = Some(names.wire(namespace.as_deref(), name));
    match tool.map(|tool| &tool.kind) {
        Some(ToolKind::WebSearch(_)) => wire::ToolChoice::Named { kind: "web_search", name: None },
        Some(ToolKind::Custom { .. }) => wire::ToolChoice::Named { kind: "custom", name },
        Some(ToolKind::Function { .. }) | None => wire::ToolChoice::Named { kind: "function", name },
    }
}

fn format_of<'b>(format: &'b Format<'_>) -> wire::Format<'b> {
    match format {
        Format::JsonObject => wire::Format::JsonObject,
        Format::Schema { name, schema, strict } => {
            let name = names::id(name.as_deref().unwrap_or(FORMAT_NAME), NAME_RULES.chars_max);
            let strict = *strict != Some(false) && schema::is_strict(schema);
            wire::Format::JsonSchema { name, schema: wire::Raw(Cow::Borrowed(schema)), strict }
        }
    }
}

/// Returns a text as it is where it is short enough, else its SHA-256 in hexadecimal digits.
fn short(text: &str) -> Cow<'_, str> {
    if text.chars().count() <= ID_CHARS_MAX {
        return Cow::Borrowed(text);
    }
    let mut hash = String::with_capacity(ID_CHARS_MAX);
    for byte in Sha256::digest(text.as_bytes()) {
        // Writing to a String cannot fail.
        let _ = write!(hash, "{byte:02x}");
    }
    Cow::Owned(hash)
}

#[cfg(test)]
mod tests;
