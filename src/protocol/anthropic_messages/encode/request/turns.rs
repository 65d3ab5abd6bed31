//! The turns of a request.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::value::RawValue;

use crate::protocol::anthropic_messages::wire::request::{Content, ContentKind, Input, Message, Source, ToolChoice};
use crate::protocol::canonical::{
    Block, Call, CallKind, CallResult, Document, DocumentSource, Image, Proof, Role, Turn,
};
use crate::protocol::loss::Refusal;
use crate::protocol::names::{self, Names};

pub(super) const USER: &str = "user";
pub(super) const ASSISTANT: &str = "assistant";

/// Longest id of a call. The API names no limit; 64 is what `OpenAI` takes, so such an id stays as it is.
const ID_CHARS_MAX: usize = 64;

/// What a user says where the API needs a user to speak and none did.
const FILLER: &str = ".";

/// Splits off the system turns at the beginning. Later ones stay where they stand, as marked text of the user: not
/// every model takes a system message there, and moved to the front they would overrule what was said since.
pub(super) fn split<'a>(
    turns: &'a [Turn<'a>],
    names: &'a Names,
) -> Result<(Vec<Content<'a>>, Vec<Message<'a>>), Refusal> {
    let leading = turns.iter().take_while(|turn| turn.role == Role::System).count();
    let (system, turns) = turns.split_at(leading);
    let system = system.iter().filter_map(joined_text).map(|text| ContentKind::Text { text }.into()).collect();

    let mut messages: Vec<Message<'a>> = Vec::new();
    for turn in turns {
        let (role, content) = match turn.role {
            Role::User => (USER, contents(&turn.blocks, names)?),
            Role::Assistant => (ASSISTANT, contents(&turn.blocks, names)?),
            Role::System => (USER, joined_text(turn).map(reminder).into_iter().collect()),
        };
        if content.is_empty() {
            continue;
        }
        match messages.last_mut() {
            Some(last) if last.role == role => last.content.extend(content),
            _ => messages.push(Message { role, content }),
        }
    }
    for message in messages.iter_mut().filter(|message| message.role == USER) {
        // Results come first; the sort keeps the order among them and among the rest.
        message.content.sort_by_key(|content| !is_result(content));
    }
    if messages.first().is_none_or(|first| first.role != USER) {
        let content = vec![ContentKind::Text { text: FILLER.into() }.into()];
        messages.insert(0, Message { role: USER, content });
    }
    if let Some(Message { role: ASSISTANT, content }) = messages.last_mut()
        && let Some(Content { kind: ContentKind::Text { text }, .. }) = content.last_mut()
    {
        *text = text.trim_end().to_owned().into();
    }
    Ok((system, messages))
}

/// What of the turns decides whether a model may think.
pub(super) struct Shape {
    /// The last turn is the assistant's own, which the API refuses to continue thinking.
    pub(super) is_prefilled: bool,
    /// The last turn of the assistant calls tools and does not begin with thinking, which a budget demands. Source: the
    /// API's error "Expected `thinking` or `redacted_thinking`, but found `tool_use`".
    pub(super) has_thoughtless_call: bool,
    /// A tool is forced, which excludes thinking.
    pub(super) is_forced: bool,
}

impl Shape {
    pub(super) fn of(messages: &[Message<'_>], choice: Option<&ToolChoice<'_>>) -> Self {
        let last = messages.iter().rev().find(|message| message.role == ASSISTANT);
        let begins_with_thinking = |message: &Message<'_>| {
            matches!(
                message.content.first().map(|content| &content.kind),
                Some(ContentKind::Thinking { .. } | ContentKind::RedactedThinking { .. })
            )
        };
        let calls = |message: &Message<'_>| {
            message.content.iter().any(|content| matches!(content.kind, ContentKind::ToolUse { .. }))
        };
        Self {
            is_prefilled: messages.last().is_some_and(|message| message.role == ASSISTANT),
            has_thoughtless_call: last.is_some_and(|message| calls(message) && !begins_with_thinking(message)),
            is_forced: matches!(choice, Some(ToolChoice::Any { .. } | ToolChoice::Tool { .. })),
        }
    }
}

fn is_result(content: &Content<'_>) -> bool {
    matches!(content.kind, ContentKind::ToolResult { .. })
}

/// Returns the texts of a turn as one, or `None` where there is nothing to read.
fn joined_text<'a>(turn: &'a Turn<'_>) -> Option<Cow<'a, str>> {
    let mut texts = turn.blocks.iter().filter_map(|block| match block {
        Block::Text(text) if !block.is_blank() => Some(&**text),
        _ => None,
    });
    let first = texts.next()?;
    Some(texts.fold(Cow::Borrowed(first), |all, next| Cow::Owned(format!("{all}\n\n{next}"))))
}

#[expect(clippy::needless_pass_by_value, reason = "maps over an Option of it")]
fn reminder(text: Cow<'_, str>) -> Content<'_> {
    ContentKind::Text { text: format!("<system-reminder>\n{text}\n</system-reminder>").into() }.into()
}

fn contents<'a>(blocks: &'a [Block<'a>], names: &'a Names) -> Result<Vec<Content<'a>>, Refusal> {
    let content = blocks.iter().filter(|block| !block.is_blank()).map(|block| content(block, names));
    content.filter_map(|content| content.transpose().map(|kind| kind.map(Content::from))).collect()
}

/// Returns a block as Messages has it; `None` for reasoning of others, which the provider would not know again.
fn content<'a>(block: &'a Block<'a>, names: &'a Names) -> Result<Option<ContentKind<'a>>, Refusal> {
    Ok(Some(match block {
        Block::Text(text) | Block::Refusal(text) => ContentKind::Text { text: Cow::Borrowed(text) },
        Block::Image(image) => ContentKind::Image { source: image_source(image) },
        Block::Document(document) => self::document(document)?,
        Block::Reasoning(reasoning) => match &reasoning.proof {
            Some(Proof::Signature(signature)) => ContentKind::Thinking { thinking: &reasoning.text, signature },
            Some(Proof::Redacted(data)) => ContentKind::RedactedThinking { data },
            Some(Proof::Sealed(_) | Proof::Encrypted { .. }) | None => return Ok(None),
        },
        Block::Call(call) => ContentKind::ToolUse {
            id: names::id(&call.id, ID_CHARS_MAX),
            name: names.wire(call.namespace.as_deref(), &call.name),
            input: input(call),
        },
        Block::Result(CallResult { call, content, is_error }) => ContentKind::ToolResult {
            tool_use_id: names::id(call, ID_CHARS_MAX),
            content: contents(content, names)?,
            is_error: *is_error,
        },
    }))
}

/// Returns the input of a call as an object, whatever it was: broken arguments are shown to the model as they are.
pub(in crate::protocol::anthropic_messages) fn input<'a>(call: &'a Call<'_>) -> Input<'a> {
    let text = call.arguments.trim();
    match call.kind {
        CallKind::Custom => Input::Freeform { input: &call.arguments },
        CallKind::Function if text.is_empty() => Input::Empty {},
        CallKind::Function => match serde_json::from_str::<&RawValue>(text) {
            Ok(object) if text.starts_with('{') => Input::Object(object),
            _ => Input::Broken { _raw: &call.arguments },
        },
    }
}

fn image_source<'a>(image: &'a Image<'_>) -> Source<'a> {
    match image {
        Image::Inline { media_type, base64 } => Source::Base64 { media_type, data: base64 },
        Image::Url(url) => Source::Url { url },
    }
}

/// Returns a document as Messages has it: a PDF as it is, text as text. Other kinds the API does not take.
fn document<'a>(document: &'a Document<'_>) -> Result<ContentKind<'a>, Refusal> {
    let title = document.title.as_deref();
    let source = match &document.source {
        DocumentSource::Url(url) => Source::Url { url },
        DocumentSource::Inline { media_type, base64 } if media_type == "application/pdf" => {
            Source::Base64 { media_type, data: base64 }
        }
        DocumentSource::Inline { media_type, base64 } => {
            let text = STANDARD.decode(&**base64).ok().and_then(|bytes| String::from_utf8(bytes).ok());
            let Some(data) = text else {
                let message =
                    format!("a Claude model takes no document of type `{media_type}`; send a PDF, or its text");
                return Err(Refusal { message, param: None });
            };
            Source::Text { media_type: "text/plain", data }
        }
    };
    Ok(ContentKind::Document { source, title })
}
