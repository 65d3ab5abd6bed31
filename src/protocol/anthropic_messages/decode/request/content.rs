//! Content blocks.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::name_unknown;
use crate::protocol::anthropic_messages::wire::client::{self, Citations, Source};
use crate::protocol::canonical::{
    Block, Call, CallKind, CallResult, Document, DocumentSource, Image, Proof, Reasoning, Role,
};
use crate::protocol::image;
use crate::protocol::json::{self, Str, TextOr};
use crate::protocol::loss::{Dropped, Refusal};

/// Members that only tune, or say again what is known.
const SILENT: [&str; 2] = ["cache_control", "caller"];

type Content<'a> = TextOr<'a, &'a RawValue>;

/// Reads the content of a message.
pub(super) fn blocks<'a>(
    path: &str,
    role: Role,
    content: Content<'a>,
    dropped: &mut Dropped,
) -> Result<Vec<Block<'a>>, Refusal> {
    let list = match content {
        TextOr::Text(text) => return Ok(vec![Block::Text(text)]),
        TextOr::List(list) => list,
    };
    let mut blocks = Vec::with_capacity(list.len());
    let mut reader = Reader { dropped, depth: 0 };
    for (at, raw) in list.iter().enumerate() {
        let path = format!("{path}[{at}]");
        reader.block(&path, role, read(&path, raw)?, &mut blocks)?;
    }
    if blocks.is_empty() && !list.is_empty() {
        let message =
            format!("`{path}` has nothing but work of Anthropic's own tools, which a GPT model cannot know of");
        return Err(Refusal::of(path, message));
    }
    Ok(blocks)
}

/// Reads content that can only be text.
pub(super) fn text_blocks<'a>(
    path: &str,
    content: Content<'a>,
    dropped: &mut Dropped,
) -> Result<Vec<Block<'a>>, Refusal> {
    let blocks = match content {
        TextOr::List(list) if list.is_empty() => Vec::new(),
        content => blocks(path, Role::System, content, dropped)?,
    };
    if blocks.iter().all(|block| matches!(block, Block::Text(_))) {
        return Ok(blocks);
    }
    Err(Refusal::of(path, format!("`{path}` must be text")))
}

fn read<'a, T: Deserialize<'a>>(path: &str, raw: &'a RawValue) -> Result<T, Refusal> {
    serde_json::from_str(raw.get())
        .map_err(|error| Refusal::of(path, format!("`{path}` cannot be read: {}", json::complaint(&error))))
}

/// Deepest nesting of content: a document of blocks in a result is two.
const DEPTH_MAX: u8 = 3;

/// Reads blocks, and remembers what was left out.
struct Reader<'d> {
    dropped: &'d mut Dropped,
    depth: u8,
}

impl Reader<'_> {
    fn block<'a>(
        &mut self,
        path: &str,
        role: Role,
        mut block: client::Block<'a>,
        out: &mut Vec<Block<'a>>,
    ) -> Result<(), Refusal> {
        name_unknown(&block.unknown, &SILENT, "messages[].content[].", self.dropped);
        let Some(Str(kind)) = block.kind.take() else {
            return Err(Refusal::of(format!("{path}.type"), format!("`{path}.type` is required")));
        };
        match &*kind {
            "text" => out.push(Block::Text(required(block.text, path, "text")?)),
            "image" => out.push(Block::Image(image(path, source(path, block.source)?)?)),
            "document" => self.document(path, block, out)?,
            "search_result" => {
                name_citations(block.citations, self.dropped);
                let title = [block.title, url_of(block.source)].into_iter().flatten().map(|Str(text)| text);
                heading(&title.collect::<Vec<_>>(), out);
                self.nested(path, block.content, out)?;
            }
            "thinking" if role == Role::Assistant => out.push(Block::Reasoning(Reasoning {
                text: block.thinking.map(|Str(text)| text).unwrap_or_default(),
                proof: sealed(block.signature),
            })),
            "redacted_thinking" if role == Role::Assistant => {
                out.push(Block::Reasoning(Reasoning { text: "".into(), proof: sealed(block.data) }));
            }
            "tool_use" if role == Role::Assistant => out.push(Block::Call(Call {
                id: block.id.unwrap_or_default().0,
                namespace: None,
                name: required(block.name, path, "name")?,
                kind: CallKind::Function,
                arguments: block.input.map_or("{}", RawValue::get).into(),
            })),
            "tool_result" if role == Role::User => {
                let mut content = Vec::new();
                self.nested(path, block.content, &mut content)?;
                let call = block.tool_use_id.unwrap_or_default().0;
                out.push(Block::Result(CallResult { call, content, is_error: block.is_error.unwrap_or(false) }));
            }
            "tool_reference" => {
                let name = required(block.tool_name, path, "tool_name")?;
                out.push(Block::Text(format!("The tool `{name}` is available now.").into()));
            }
            "server_tool_use" | "mcp_tool_use" | "mcp_tool_result" | "container_upload" | "fallback" => {
                self.dropped.add(&format!("messages[].content[].{kind}"));
            }
            kind if kind.ends_with("_tool_result") => self.dropped.add(&format!("messages[].content[].{kind}")),
            _ => {
                let message =
                    format!("`{path}`: a block of this type cannot be carried to a GPT model, or not in this place");
                return Err(Refusal::of(path, message));
            }
        }
        Ok(())
    }

    /// Reads the content of a block: of a result, a document or a search result.
    fn nested<'a>(
        &mut self,
        path: &str,
        content: Option<Content<'a>>,
        out: &mut Vec<Block<'a>>,
    ) -> Result<(), Refusal> {
        match content {
            None => {}
            Some(TextOr::Text(text)) => out.push(Block::Text(text)),
            Some(TextOr::List(_)) if self.depth == DEPTH_MAX => {
                return Err(Refusal::of(path, format!("`{path}` is nested too deep")));
            }
            Some(TextOr::List(list)) => {
                self.depth += 1;
                for (at, raw) in list.into_iter().enumerate() {
                    let path = format!("{path}.content[{at}]");
                    // The role of a system has neither calls nor results, and so neither has what is in a result.
                    self.block(&path, Role::System, read(&path, raw)?, out)?;
                }
                self.depth -= 1;
            }
        }
        Ok(())
    }

    /// A PDF stays one; text and blocks are put in its place.
    fn document<'a>(&mut self, path: &str, block: client::Block<'a>, out: &mut Vec<Block<'a>>) -> Result<(), Refusal> {
        name_citations(block.citations, self.dropped);
        let source = source(path, block.source)?;
        let (title, context) = (block.title.map(|Str(text)| text), block.context.map(|Str(text)| text));
        let source = match source.kind.as_ref().map(|Str(kind)| &**kind) {
            Some("base64") => DocumentSource::Inline {
                media_type: source.media_type.map_or("application/pdf".into(), |Str(label)| label),
                base64: required(source.data, path, "source.data")?,
            },
            Some("url") => DocumentSource::Url(required(source.url, path, "source.url")?),
            Some("text") => {
                heading(&[title, context].into_iter().flatten().collect::<Vec<_>>(), out);
                out.push(Block::Text(required(source.data, path, "source.data")?));
                return Ok(());
            }
            Some("content") => {
                heading(&[title, context].into_iter().flatten().collect::<Vec<_>>(), out);
                return self.nested(path, source.content, out);
            }
            _ => return Err(Refusal::of(format!("{path}.source"), format!("`{path}.source` {FILE}"))),
        };
        heading(&context.into_iter().collect::<Vec<_>>(), out);
        out.push(Block::Document(Document { source, title }));
        Ok(())
    }
}

/// Whatever stands there: whether it is of use is seen when it is opened.
fn sealed(text: Option<Str<'_>>) -> Option<Proof<'_>> {
    text.filter(|Str(text)| !text.is_empty()).map(|Str(text)| Proof::Sealed(text))
}

fn source<'a>(path: &str, source: Option<&'a RawValue>) -> Result<Source<'a>, Refusal> {
    let path = format!("{path}.source");
    match source {
        Some(raw) => read(&path, raw),
        None => Err(Refusal::of(&*path, format!("`{path}` is required"))),
    }
}

/// The source of a search result is the address itself.
fn url_of(source: Option<&RawValue>) -> Option<Str<'_>> {
    serde_json::from_str(source?.get()).ok()
}

fn image<'a>(path: &str, source: Source<'a>) -> Result<Image<'a>, Refusal> {
    let refused = |what: &str| Refusal::of(format!("{path}.source"), format!("`{path}.source` {what}"));
    match source.kind.as_ref().map(|Str(kind)| &**kind) {
        Some("base64") => {
            let label = source.media_type.unwrap_or_default().0;
            image::inline(&label, required(source.data, path, "source.data")?).map_err(refused)
        }
        Some("url") => image::of_url(required(source.url, path, "source.url")?).map_err(refused),
        _ => Err(refused(FILE)),
    }
}

/// Why something uploaded cannot be carried.
const FILE: &str = "must hold the content or its address: an uploaded file is in another account";

fn heading<'a>(lines: &[Cow<'a, str>], out: &mut Vec<Block<'a>>) {
    if !lines.is_empty() {
        out.push(Block::Text(lines.join("\n").into()));
    }
}

/// Citations of a user's document are wanted or not; those of an earlier answer are only history.
fn name_citations(citations: Option<&RawValue>, dropped: &mut Dropped) {
    let wanted = citations.and_then(|raw| serde_json::from_str::<Citations<'_>>(raw.get()).ok());
    if wanted.is_some_and(|citations| citations.enabled == Some(true)) {
        dropped.add("messages[].content[].citations");
    }
}

fn required<'a>(member: Option<Str<'a>>, path: &str, name: &str) -> Result<Cow<'a, str>, Refusal> {
    let refusal = || Refusal::of(format!("{path}.{name}"), format!("`{path}.{name}` is required"));
    member.map(|Str(text)| text).ok_or_else(refusal)
}
