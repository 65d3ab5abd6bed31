//! The parts of a message's content.

use serde_json::value::RawValue;

use super::messages::text_of;
use super::{name_unknown, parsed, required, word};
use crate::protocol::canonical::{Block, Call, CallKind, CallResult, Document, DocumentSource, Image, Role};
use crate::protocol::image;
use crate::protocol::json::{Str, TextOr};
use crate::protocol::loss::{Dropped, Refusal};
use crate::protocol::openai_chat::wire::request::{AttachedFile, ImageUrl, Part, Source};

/// Members that only tune, or say again what is known.
const SILENT: [&str; 4] = ["cache_control", "caller", "annotations", "prompt_cache_breakpoint"];

/// What bare base64 of a PDF begins with.
const PDF_START: &str = "JVBERi";
const PDF: &str = "application/pdf";

/// Why a file by id cannot be carried.
const FILE_ID: &str = "is a file in another account, which this model cannot see; send the file itself";

/// Reads the content of one message.
pub(super) struct Content<'d> {
    role: Role,
    dropped: &'d mut Dropped,
    /// It is that of a result, in which there are neither calls nor results.
    is_nested: bool,
}

impl<'d> Content<'d> {
    /// Starts to read. What a tool said is a user's.
    pub(super) const fn new(role: Role, dropped: &'d mut Dropped) -> Self {
        Self { role, dropped, is_nested: false }
    }

    pub(super) fn read<'a>(
        &mut self,
        path: &str,
        content: TextOr<'a, &'a RawValue>,
    ) -> Result<Vec<Block<'a>>, Refusal> {
        let list = match content {
            TextOr::Text(text) => return Ok(vec![Block::Text(text)]),
            TextOr::List(list) => list,
        };
        let mut blocks = Vec::with_capacity(list.len());
        for (at, raw) in list.into_iter().enumerate() {
            blocks.extend(self.part(&format!("{path}[{at}]"), raw)?);
        }
        Ok(blocks)
    }

    /// Returns a part; `None` of what the model thought, which nobody could verify.
    fn part<'a>(&mut self, path: &str, raw: &'a RawValue) -> Result<Option<Block<'a>>, Refusal> {
        let mut part: Part<'a> = parsed(raw, path)?;
        let kind = part.kind.take();
        let Some(kind) = word(kind.as_ref()) else {
            return Err(Refusal::of(format!("{path}.type"), format!("`{path}.type` is required")));
        };
        let is_thought = matches!(kind, "thinking" | "redacted_thinking" | "reasoning");
        if is_thought && self.role == Role::Assistant {
            return Ok(None);
        }
        name_unknown(&part.unknown, &SILENT, "messages[].content[].", self.dropped);
        let is_seen = matches!(kind, "image_url" | "image" | "file");
        if is_seen && self.role != Role::User {
            let message = format!("`{path}`: only a user's or a tool's message can have an image or a file");
            return Err(Refusal::of(path, message));
        }
        Ok(Some(match kind {
            "text" => Block::Text(required(part.text, path, "text")?),
            "refusal" if self.role == Role::Assistant => Block::Refusal(required(part.refusal, path, "refusal")?),
            "refusal" => Block::Text(required(part.refusal, path, "refusal")?),
            "image_url" => image_url(part.image_url, path)?,
            "file" => file(part.file, path)?,
            // Anthropic's own, which Cursor sends here: see the type `Part`.
            "image" => Block::Image(image_of(part.source.unwrap_or_default(), path)?),
            "tool_use" if self.role == Role::Assistant => Block::Call(Call {
                id: part.id.unwrap_or_default().0,
                namespace: None,
                name: required(part.name, path, "name")?,
                kind: CallKind::Function,
                arguments: part.input.map_or("{}".into(), text_of),
            }),
            "tool_result" if self.role == Role::User && !self.is_nested => Block::Result(CallResult {
                call: part.tool_use_id.unwrap_or_default().0,
                content: match part.content {
                    None => Vec::new(),
                    Some(content) => {
                        let mut inner = Content { role: Role::User, dropped: self.dropped, is_nested: true };
                        inner.read(&format!("{path}.content"), content)?
                    }
                },
                is_error: part.is_error.unwrap_or(false),
            }),
            "input_audio" => {
                return Err(Refusal::of(path, format!("`{path}`: this model cannot hear; leave out the audio")));
            }
            _ => {
                let message = format!("`{path}.type` is of a kind that is not translated for this model, or not here");
                return Err(Refusal::of(path, message));
            }
        }))
    }
}

/// Reads an address, which some clients send without the object around it.
fn image_url<'a>(raw: Option<&'a RawValue>, path: &str) -> Result<Block<'a>, Refusal> {
    let place = format!("{path}.image_url");
    let (url, place) = match raw {
        Some(raw) if raw.get().starts_with('"') => (Some(parsed(raw, &place)?), place),
        Some(raw) => (parsed::<ImageUrl<'a>>(raw, &place)?.url, format!("{place}.url")),
        None => (None, format!("{place}.url")),
    };
    let Some(Str(url)) = url else { return Err(Refusal::of(&*place, format!("`{place}` is required"))) };
    let refusal = |what| Refusal::of(&*place, format!("`{place}` {what}"));
    image::of_url(url).map(Block::Image).map_err(refusal)
}

fn image_of<'a>(source: Source<'a>, path: &str) -> Result<Image<'a>, Refusal> {
    let place = format!("{path}.source");
    let refusal = |what| Refusal::of(&*place, format!("`{place}` {what}"));
    if let Some(Str(url)) = source.url {
        return image::of_url(url).map_err(refusal);
    }
    let label = source.media_type.unwrap_or_default().0;
    image::inline(&label, required(source.data, &place, "data")?).map_err(refusal)
}

/// Reads a file: an image as one, anything else as a document, of which the encoder knows whether its model takes it.
fn file<'a>(file: Option<AttachedFile<'a>>, path: &str) -> Result<Block<'a>, Refusal> {
    let path = format!("{path}.file");
    let file = file.unwrap_or_default();
    if file.file_id.is_some() {
        let path = format!("{path}.file_id");
        return Err(Refusal::of(&*path, format!("`{path}` {FILE_ID}")));
    }
    let title = file.filename.map(|Str(name)| name).filter(|name| !name.is_empty());
    let data = required(file.file_data, &path, "file_data")?;
    let refuse = |what: &str| Refusal::of(format!("{path}.file_data"), format!("`{path}.file_data` {what}"));
    if image::is_on_the_web(&data) {
        return Ok(Block::Document(Document { source: DocumentSource::Url(data), title }));
    }
    // Bare base64, as some clients send it: its first bytes say what it is.
    let (media_type, base64) =
        if data.starts_with(PDF_START) { (PDF.to_owned(), data) } else { image::data_url(data).map_err(refuse)? };
    if media_type.starts_with("image/") {
        return image::inline(&media_type, base64).map(Block::Image).map_err(refuse);
    }
    let source = DocumentSource::Inline { media_type: media_type.into(), base64 };
    Ok(Block::Document(Document { source, title }))
}
