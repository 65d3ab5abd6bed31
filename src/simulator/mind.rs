//! What the simulated models think: the content of an answer, the same for every API and for both its forms.

use std::hash::{DefaultHasher, Hash, Hasher};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;

use crate::simulator::{json, plausible};

/// Characters of the prompt or of a tool's result that an answer quotes.
const QUOTE_CHARS_MAX: usize = 80;
/// Characters of one token; near enough for numbers that are only added up.
const CHARS_PER_TOKEN: usize = 4;
/// Words that make a model use a tool that it is offered.
const TOOL_WORDS: [&str; 5] = ["tool", "tools", "file", "files", "run"];

/// A tool that the model is offered.
#[derive(Debug)]
pub(crate) struct Tool {
    pub(crate) name: String,
    /// Namespace that the tool is listed in.
    pub(crate) namespace: Option<String>,
    /// Schema of the arguments; `None` for a tool that takes raw text.
    pub(crate) schema: Option<Value>,
}

/// Whether the model must call a tool.
#[derive(Debug, PartialEq)]
pub(crate) enum Choice {
    Auto,
    None,
    Required,
    Named(String),
}

/// The form that a text answer must have.
#[derive(Debug)]
pub(crate) enum Form {
    Text,
    AnyJson,
    Schema(Value),
}

/// What a request asks for, whatever API it came by.
#[derive(Debug)]
pub(crate) struct Ask {
    pub(crate) model: &'static str,
    /// The last text of the user.
    pub(crate) prompt: String,
    /// What a tool answered, if the conversation waits for the model since then.
    pub(crate) result: Option<String>,
    /// How many results of tools the conversation holds since the user's last text.
    pub(crate) results: usize,
    pub(crate) tools: Vec<Tool>,
    pub(crate) choice: Choice,
    pub(crate) thinks: bool,
    pub(crate) form: Form,
    pub(crate) output_tokens_max: Option<u64>,
    pub(crate) stop_sequences: Vec<String>,
    /// Messages or items in the request.
    pub(crate) turns: usize,
    /// Characters in the request.
    pub(crate) chars: usize,
    /// Number of words that a text answer must have, for benchmarks.
    pub(crate) words: Option<u32>,
}

/// A call that the model makes.
#[derive(Debug)]
pub(crate) struct ToolCall {
    pub(crate) name: String,
    pub(crate) namespace: Option<String>,
    /// Arguments as JSON, or raw text for a custom tool.
    pub(crate) arguments: Arguments,
}

#[derive(Debug)]
pub(crate) enum Arguments {
    Json(Value),
    Raw(String),
}

/// Why the model stopped.
#[derive(Debug, PartialEq)]
pub(crate) enum Stop {
    End,
    ToolCall,
    Length,
    Sequence(String),
}

/// What the model answers.
#[derive(Debug)]
pub(crate) struct Reply {
    seed: u64,
    pub(crate) thinking: Option<String>,
    pub(crate) text: String,
    pub(crate) call: Option<ToolCall>,
    pub(crate) stop: Stop,
    pub(crate) input_tokens: u64,
    pub(crate) output_tokens: u64,
    pub(crate) thinking_tokens: u64,
}

impl Ask {
    /// Returns the model's answer: the same for the same request.
    pub(crate) fn reply(&self) -> Reply {
        let call = self.tool().map(|tool| self.call(tool));
        let mut text = self.text(call.as_ref());
        let mut stop = if call.is_some() { Stop::ToolCall } else { Stop::End };
        if call.is_none() {
            stop = cut(&mut text, &self.stop_sequences, self.output_tokens_max);
        }
        let thinking = self.thinks.then(|| format!("The user says: {:?}. I am to answer that.", quote(&self.prompt)));
        let thinking_tokens = thinking.as_deref().map_or(0, tokens);
        let arguments = match call.as_ref().map(|call| &call.arguments) {
            Some(Arguments::Json(value)) => tokens(&value.to_string()),
            Some(Arguments::Raw(text)) => tokens(text),
            None => 0,
        };
        let mut hasher = DefaultHasher::new();
        (self.model, &self.prompt, &self.result, self.turns, self.chars).hash(&mut hasher);
        Reply {
            seed: hasher.finish(),
            output_tokens: (tokens(&text) + thinking_tokens + arguments).max(1),
            input_tokens: input_tokens(self.chars),
            thinking_tokens,
            thinking,
            text,
            call,
            stop,
        }
    }

    /// Returns the tool that the model calls.
    fn tool(&self) -> Option<&Tool> {
        let named = |name: &str| self.tools.iter().find(|tool| tool.name == name);
        match &self.choice {
            Choice::None => None,
            Choice::Named(name) => named(name),
            Choice::Auto if self.result.is_some() => self.next_step(),
            Choice::Auto if !self.wants_tool() => None,
            Choice::Auto | Choice::Required => self.next_step().or(self.mentioned()).or(self.tools.first()),
        }
    }

    fn mentioned(&self) -> Option<&Tool> {
        self.tools.iter().find(|tool| words(&self.prompt).any(|word| word == tool.name))
    }

    /// Returns the tool whose turn it is where the prompt names several: "the tool read, then the tool write".
    fn next_step(&self) -> Option<&Tool> {
        let words: Vec<&str> = words(&self.prompt).filter(|word| !word.is_empty()).collect();
        let named = words.windows(2).filter(|pair| pair[0].eq_ignore_ascii_case("tool")).map(|pair| pair[1]);
        named.filter_map(|name| self.tools.iter().find(|tool| tool.name == name)).nth(self.results)
    }

    fn wants_tool(&self) -> bool {
        words(&self.prompt).any(|word| TOOL_WORDS.iter().any(|wanted| word.eq_ignore_ascii_case(wanted)))
    }

    fn call(&self, tool: &Tool) -> ToolCall {
        let arguments = match &tool.schema {
            Some(schema) => Arguments::Json(Value::Object(plausible::arguments(schema, &tool.name, &self.prompt))),
            None => Arguments::Raw(plausible::raw_input(&tool.name, &self.prompt)),
        };
        ToolCall { name: tool.name.clone(), namespace: tool.namespace.clone(), arguments }
    }

    fn text(&self, call: Option<&ToolCall>) -> String {
        if let Some(call) = call {
            // A model that is forced to call says nothing before.
            let forced = self.choice != Choice::Auto;
            return if forced { String::new() } else { format!("I will use the tool {}.", call.name) };
        }
        match &self.form {
            Form::Text => {}
            Form::AnyJson => return serde_json::json!({ "answer": quote(&self.prompt) }).to_string(),
            Form::Schema(schema) => return plausible::value(schema, &self.prompt).to_string(),
        }
        let text = if let Some(result) = &self.result {
            format!("This is {}, simulated. The tool answered: {:?}. That is all.", self.model, quote(result))
        } else {
            let listing = plausible::listing(&self.prompt).map(|listing| format!("\n\n{listing}")).unwrap_or_default();
            format!("This is {}, simulated. You said: {:?}. That is all.{listing}", self.model, quote(&self.prompt))
        };
        match self.words {
            Some(count) => {
                let count = usize::try_from(count).unwrap_or(usize::MAX);
                text.split(' ').cycle().take(count).collect::<Vec<_>>().join(" ")
            }
            None => text,
        }
    }
}

impl Reply {
    /// Returns an id that is this answer's alone: `prefix` and 24 letters and digits that depend on the request and on
    /// `part`.
    pub(crate) fn id(&self, prefix: &str, part: u64) -> String {
        let mut id = prefix.to_owned();
        let mut hasher = DefaultHasher::new();
        (self.seed, prefix, part).hash(&mut hasher);
        let mut rest = u128::from(hasher.finish()) << 64 | u128::from(self.seed);
        for _ in 0..24 {
            let digit = u8::try_from(rest % 36).unwrap_or_default();
            id.push(char::from(if digit < 10 { b'0' + digit } else { b'a' + digit - 10 }));
            rest /= 36;
        }
        id
    }
}

/// Beginnings of texts that somebody else than the user puts in the user's place: reminders, and the order to go on after a
/// stream that broke off.
const NOT_THE_USERS: [&str; 3] = ["<system-reminder>", "Your response above was cut off mid-stream.", "Continue."];

/// Returns whether a text is the user's own, a new task.
pub(crate) fn is_own(text: &str) -> bool {
    !NOT_THE_USERS.iter().any(|start| text.starts_with(start))
}

/// Returns the tokens of a prompt with so many characters.
pub(crate) fn input_tokens(chars: usize) -> u64 {
    u64::try_from(chars / CHARS_PER_TOKEN).unwrap_or(u64::MAX).max(1)
}

fn tokens(text: &str) -> u64 {
    u64::try_from(text.chars().count().div_ceil(CHARS_PER_TOKEN)).unwrap_or(u64::MAX)
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !(c.is_alphanumeric() || c == '_' || c == '-'))
}

fn quote(text: &str) -> &str {
    json::beginning(text.trim(), QUOTE_CHARS_MAX)
}

/// Ends a text where the request says.
fn cut(text: &mut String, stop_sequences: &[String], output_tokens_max: Option<u64>) -> Stop {
    let mut stop = Stop::End;
    let first = stop_sequences.iter().filter_map(|sequence| Some((text.find(sequence.as_str())?, sequence))).min();
    if let Some((at, sequence)) = first {
        text.truncate(at);
        stop = Stop::Sequence(sequence.clone());
    }
    let chars_max = output_tokens_max.and_then(|tokens| usize::try_from(tokens).ok()?.checked_mul(CHARS_PER_TOKEN));
    if let Some(chars_max) = chars_max
        && text.chars().count() > chars_max
    {
        *text = json::beginning(text, chars_max).to_owned();
        stop = Stop::Length;
    }
    stop
}

/// Splits a text into the pieces that a stream sends: one for each word.
pub(crate) fn pieces(text: &str) -> impl Iterator<Item = &str> {
    text.split_inclusive(' ')
}

/// Splits arguments into the pieces that a stream sends.
pub(crate) fn fragments(arguments: &str) -> Vec<&str> {
    const CHARS: usize = 12;
    let mut fragments = Vec::new();
    let mut rest = arguments;
    while !rest.is_empty() {
        let (head, tail) = rest.split_at(json::beginning(rest, CHARS).len());
        fragments.push(head);
        rest = tail;
    }
    fragments
}

/// Returns something that stands for a provider's sealed reasoning: only who sealed it can tell that it is whole.
pub(crate) fn seal(prefix: &str, text: &str) -> String {
    let mut hasher = DefaultHasher::new();
    (prefix, text).hash(&mut hasher);
    format!("{prefix}{}", URL_SAFE_NO_PAD.encode(format!("simulated:{:016x}", hasher.finish())))
}

/// Returns whether `sealed` came from [`seal`] with this prefix and, where the text is known, for this text.
pub(crate) fn is_sealed(sealed: &str, prefix: &str, text: Option<&str>) -> bool {
    if let Some(text) = text {
        return sealed == seal(prefix, text);
    }
    let Some(encoded) = sealed.strip_prefix(prefix) else { return false };
    URL_SAFE_NO_PAD.decode(encoded).is_ok_and(|bytes| bytes.len() == 26 && bytes.starts_with(b"simulated:"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seal_holds_for_its_own_text_and_origin_only() {
        let sealed = seal("ErUB", "a thought");
        assert!(is_sealed(&sealed, "ErUB", Some("a thought")));
        assert!(is_sealed(&sealed, "ErUB", None));
        assert!(!is_sealed(&sealed, "ErUB", Some("another")));
        assert!(!is_sealed(&sealed, "gAAAA", None));
        assert!(!is_sealed("ErUBxxxx", "ErUB", None));
    }

    #[test]
    fn a_text_ends_at_its_limit_and_says_why() {
        let mut text = "one two three".to_owned();
        assert_eq!(cut(&mut text, &["three".to_owned(), "two".to_owned()], None), Stop::Sequence("two".to_owned()));
        assert_eq!(text, "one ");
        let mut text = "äöüäöüäöü".to_owned();
        assert_eq!(cut(&mut text, &[], Some(1)), Stop::Length);
        assert_eq!(text, "äöüä");
    }

    #[test]
    fn pieces_add_up_to_the_whole() {
        let text = "{\"path\": \"/tmp/ä ö\"}";
        assert_eq!(fragments(text).concat(), text);
        assert_eq!(pieces(text).collect::<String>(), text);
        assert!(fragments(text).len() > 1);
    }
}
