//! The turns of a conversation as items.

use std::borrow::Cow;
use std::collections::HashMap;

use super::wire::{Item, Output, Part, Summary, Url};
use crate::protocol::canonical::{
    Block, Call, CallKind, CallResult, Document, DocumentSource, Proof, Reasoning, Role, Turn,
};
use crate::protocol::names::{self, Names};

/// Longest id of a call, in characters. Source: OpenAI's error "string too long … maximum length 64".
const CALL_ID_CHARS_MAX: usize = 64;

/// What begins the output of a call that failed: there is no flag for it.
const ERROR: &str = "Error: ";

/// A PDF without a name must still have one.
const DOCUMENT: &str = "document.pdf";

/// Returns the system's texts at the beginning of a conversation as one, and the turns behind them.
pub(super) fn instructions<'b, 'a>(turns: &'b [Turn<'a>]) -> (Option<Cow<'b, str>>, &'b [Turn<'a>]) {
    let count = turns.iter().take_while(|turn| turn.role == Role::System).count();
    // Where nothing follows, the system's words are all that is asked.
    let count = if count == turns.len() { 0 } else { count };
    let (system, rest) = turns.split_at(count);
    let mut texts = system.iter().flat_map(|turn| &turn.blocks).filter_map(text_of).filter(|text| !text.is_empty());
    let Some(first) = texts.next() else { return (None, rest) };
    let joined = texts.fold(Cow::Borrowed(first), |joined, text| Cow::Owned([&*joined, "\n\n", text].concat()));
    (Some(joined), rest)
}

/// Returns turns as items.
pub(super) fn items<'b>(turns: &'b [Turn<'_>], names: &'b Names) -> Vec<Item<'b>> {
    let mut input = Input { items: Vec::with_capacity(turns.len()), custom: HashMap::new(), names };
    for turn in turns {
        match turn.role {
            Role::System => input.message("developer", &turn.blocks),
            Role::User => input.user(&turn.blocks),
            Role::Assistant => input.assistant(&turn.blocks),
        }
    }
    input.items
}

struct Input<'b> {
    items: Vec<Item<'b>>,
    /// Ids of the calls so far, and whether they are of tools that take any text.
    custom: HashMap<&'b str, bool>,
    names: &'b Names,
}

impl<'b> Input<'b> {
    fn message(&mut self, role: &'static str, blocks: &'b [Block<'_>]) {
        let content: Vec<Part<'b>> = blocks.iter().filter_map(part).collect();
        if !content.is_empty() {
            self.items.push(Item::Message { role, content });
        }
    }

    /// Results are items of their own; what stands between them is one message each.
    fn user(&mut self, blocks: &'b [Block<'_>]) {
        for stretch in blocks.chunk_by(|one, other| is_result(one) == is_result(other)) {
            if !stretch.first().is_some_and(is_result) {
                self.message("user", stretch);
                continue;
            }
            for block in stretch {
                if let Block::Result(result) = block {
                    self.result(result);
                }
            }
        }
    }

    fn result(&mut self, result: &'b CallResult<'_>) {
        let call_id = names::id(&result.call, CALL_ID_CHARS_MAX);
        let output = output(result);
        self.items.push(if self.custom.get(&*result.call) == Some(&true) {
            Item::CustomToolCallOutput { call_id, output }
        } else {
            Item::FunctionCallOutput { call_id, output }
        });
    }

    fn assistant(&mut self, blocks: &'b [Block<'_>]) {
        for (at, block) in blocks.iter().enumerate() {
            match block {
                // Every text is a message of its own: two of them were never one.
                Block::Text(text) if !text.is_empty() => self.says(Part::OutputText { text }),
                Block::Refusal(text) if !text.is_empty() => self.says(Part::Refusal { refusal: text }),
                Block::Reasoning(reasoning) if leads_to_something(&blocks[at + 1..]) => {
                    self.items.extend(reasoning_item(reasoning));
                }
                Block::Call(call) => self.call(call),
                // A model's turn has nothing else.
                Block::Text(_)
                | Block::Refusal(_)
                | Block::Reasoning(_)
                | Block::Image(_)
                | Block::Document(_)
                | Block::Result(_) => {}
            }
        }
    }

    fn says(&mut self, part: Part<'b>) {
        self.items.push(Item::Message { role: "assistant", content: vec![part] });
    }

    fn call(&mut self, call: &'b Call<'_>) {
        let call_id = names::id(&call.id, CALL_ID_CHARS_MAX);
        let name = self.names.wire(call.namespace.as_deref(), &call.name);
        let is_custom = call.kind == CallKind::Custom;
        self.custom.insert(&call.id, is_custom);
        let arguments = &*call.arguments;
        self.items.push(if is_custom {
            Item::CustomToolCall { call_id, name, input: arguments }
        } else {
            let arguments = if arguments.trim().is_empty() { "{}" } else { arguments };
            Item::FunctionCall { call_id, name, arguments }
        });
    }
}

fn is_result(block: &Block<'_>) -> bool {
    matches!(block, Block::Result(_))
}

/// Returns whether reasoning may stand before `blocks`: it is refused without the item that it led to.
fn leads_to_something(blocks: &[Block<'_>]) -> bool {
    blocks.iter().any(|block| match block {
        Block::Text(text) | Block::Refusal(text) => !text.is_empty(),
        Block::Call(_) => true,
        Block::Reasoning(_) | Block::Image(_) | Block::Document(_) | Block::Result(_) => false,
    })
}

fn reasoning_item<'b>(reasoning: &'b Reasoning<'_>) -> Option<Item<'b>> {
    let Some(Proof::Encrypted { id, content, summary }) = &reasoning.proof else { return None };
    let summary = summary.iter().map(|text| Summary { text }).collect();
    Some(Item::Reasoning { id, summary, encrypted_content: content })
}

fn text_of<'b>(block: &'b Block<'_>) -> Option<&'b str> {
    match block {
        Block::Text(text) => Some(text),
        _ => None,
    }
}

fn part<'b>(block: &'b Block<'_>) -> Option<Part<'b>> {
    match block {
        Block::Text(text) | Block::Refusal(text) if text.is_empty() => None,
        Block::Text(text) | Block::Refusal(text) => Some(Part::InputText { text: Cow::Borrowed(text) }),
        Block::Image(image) => Some(Part::InputImage { image_url: Url::of(image), detail: "auto" }),
        Block::Document(document) => Some(file(document)),
        Block::Reasoning(_) | Block::Call(_) | Block::Result(_) => None,
    }
}

fn file<'b>(document: &'b Document<'_>) -> Part<'b> {
    let title = document.title.as_deref().filter(|title| !title.is_empty());
    match &document.source {
        DocumentSource::Inline { media_type, base64 } => Part::InputFile {
            filename: Some(title.unwrap_or(DOCUMENT)),
            file_data: Some(Url::Data { media_type, base64 }),
            file_url: None,
        },
        DocumentSource::Url(url) => Part::InputFile { filename: None, file_data: None, file_url: Some(url) },
    }
}

/// Returns what a call brought; that it failed is said in its first text, unless that says so already.
fn output<'b>(result: &'b CallResult<'_>) -> Output<'b> {
    let first = result.content.first().and_then(text_of).unwrap_or_default();
    let tells = result.is_error && !first.trim_start().to_ascii_lowercase().starts_with("error");
    let prefix = if tells { ERROR } else { "" };
    if result.content.iter().all(|block| text_of(block).is_some()) {
        let mut texts = result.content.iter().filter_map(text_of);
        let text = match (texts.next(), texts.next()) {
            (None, _) => Cow::Borrowed(prefix),
            (Some(text), None) if prefix.is_empty() => Cow::Borrowed(text),
            (Some(text), None) => Cow::Owned([prefix, text].concat()),
            (Some(_), Some(_)) => {
                let all: Vec<&str> = result.content.iter().filter_map(text_of).collect();
                Cow::Owned([prefix, &*all.join("\n")].concat())
            }
        };
        return Output::Text(text);
    }
    let told = (!prefix.is_empty()).then_some(Part::InputText { text: Cow::Borrowed(prefix) });
    Output::Parts(told.into_iter().chain(result.content.iter().filter_map(part)).collect())
}
