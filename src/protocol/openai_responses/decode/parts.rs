//! The parts of a message's content, and of a tool's output.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::value::RawValue;

use super::{name_unknown, parsed, word};
use crate::protocol::canonical::{Block, Document, DocumentSource, Role};
use crate::protocol::image;
use crate::protocol::json::Str;
use crate::protocol::loss::{Dropped, Refusal};
use crate::protocol::openai_responses::wire::Part;

/// The one kind of document that models read as it is.
const PDF: &str = "application/pdf";

/// Reads a content that is a text or a list of parts.
pub(super) fn content<'a>(
    raw: &'a RawValue,
    path: &str,
    role: Role,
    dropped: &mut Dropped,
) -> Result<Vec<Block<'a>>, Refusal> {
    match raw.get().as_bytes().first() {
        Some(b'"') => {
            let Str(text) = parsed(raw, path)?;
            Ok(vec![Block::Text(text)])
        }
        Some(b'[') => {
            let parts: Vec<&'a RawValue> = parsed(raw, path)?;
            let parts = parts.into_iter().enumerate();
            parts.map(|(at, part)| block(part, &format!("{path}[{at}]"), role, dropped)).collect()
        }
        _ => Err(Refusal::of(path, format!("`{path}` must be a string or a list of parts"))),
    }
}

/// Joins the texts of parts.
pub(super) fn texts<'a>(parts: Option<Vec<Part<'a>>>, between: &str) -> Cow<'a, str> {
    let mut texts = parts.into_iter().flatten().filter_map(|part| part.text.map(|Str(text)| text));
    let Some(first) = texts.next() else { return Cow::Borrowed("") };
    texts.fold(first, |joined, text| Cow::Owned([&*joined, between, &*text].concat()))
}

fn block<'a>(raw: &'a RawValue, path: &str, role: Role, dropped: &mut Dropped) -> Result<Block<'a>, Refusal> {
    let mut part: Part<'a> = parsed(raw, path)?;
    name_unknown(&part.unknown, &[], "input[].content[].", dropped);
    let kind = part.kind.take();
    match word(kind.as_ref()) {
        Some("input_text" | "output_text" | "text" | "summary_text" | "reasoning_text") => {
            required(part.text, path, "text").map(Block::Text)
        }
        Some("refusal") => required(part.refusal, path, "refusal").map(Block::Text),
        Some("input_image" | "input_file") if role != Role::User => Err(Refusal::of(
            path,
            format!("`{path}`: only a user message or a tool's output can have an image or a file"),
        )),
        Some("input_image" | "input_file") if part.file_id.is_some() => Err(Refusal::of(
            format!("{path}.file_id"),
            format!(
                "`{path}.file_id` is a file in another account, which a Claude model cannot see; send the file itself"
            ),
        )),
        Some("input_image") => {
            let url = required(part.image_url, path, "image_url")?;
            let refusal = |what| Refusal::of(format!("{path}.image_url"), format!("`{path}.image_url` {what}"));
            image::of_url(url).map(Block::Image).map_err(refusal)
        }
        Some("input_file") => file(part, path),
        Some("input_audio") => {
            Err(Refusal::of(path, format!("`{path}`: Claude models cannot hear; leave out the audio")))
        }
        Some(_) => {
            Err(Refusal::of(path, format!("`{path}.type` is of a kind that is not translated to Claude; leave it out")))
        }
        None => Err(Refusal::of(format!("{path}.type"), format!("`{path}.type` is required"))),
    }
}

fn required<'a>(member: Option<Str<'a>>, path: &str, name: &str) -> Result<Cow<'a, str>, Refusal> {
    let refusal = || Refusal::of(format!("{path}.{name}"), format!("`{path}.{name}` is required"));
    member.map(|Str(text)| text).ok_or_else(refusal)
}

fn file<'a>(part: Part<'a>, path: &str) -> Result<Block<'a>, Refusal> {
    let title = part.filename.map(|Str(name)| name).filter(|name| !name.is_empty());
    if let Some(Str(url)) = part.file_url {
        return Ok(Block::Document(Document { source: DocumentSource::Url(url), title }));
    }
    let place = format!("{path}.file_data");
    let refuse = |what: &str| Refusal::of(&*place, format!("`{place}` {what}"));
    let data = required(part.file_data, path, "file_data")?;
    // Bare base64, as some clients send it: its first bytes say what it is.
    let (media_type, base64) =
        if data.starts_with("JVBERi") { (PDF.to_owned(), data) } else { image::data_url(data).map_err(refuse)? };
    if media_type == PDF {
        let source = DocumentSource::Inline { media_type: media_type.into(), base64 };
        return Ok(Block::Document(Document { source, title }));
    }
    if media_type.starts_with("image/") {
        return image::inline(&media_type, base64).map(Block::Image).map_err(refuse);
    }
    let is_text = media_type.starts_with("text/") || media_type == "application/json";
    let text = STANDARD.decode(&*base64).ok().and_then(|bytes| String::from_utf8(bytes).ok()).filter(|_| is_text);
    let text = text.ok_or_else(|| refuse("must be a PDF, an image or plain text for a Claude model"))?;
    Ok(Block::Text(match title {
        Some(title) => format!("{title}\n\n{text}").into(),
        None => text.into(),
    }))
}
