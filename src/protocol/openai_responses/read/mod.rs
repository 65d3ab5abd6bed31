//! Answers of GPT in canonical terms: whole, or event by event.

mod item;
mod wire;

use serde::Deserialize;

use crate::protocol::canonical::{Answer, AnswerError, Delta, Fragment, StopReason};
use crate::protocol::json::{self, Str};
use crate::protocol::sse::Event;
use item::{Content, Item};
use wire::{Inside, OfItem, OfResponse, Response};

/// Most items of an answer.
const ITEMS_MAX: usize = 4096;

/// Reads an answer that came as one JSON body. An error body is malformed here: `error::read` understands it.
pub fn read_answer(body: &[u8]) -> Result<Answer<'_>, AnswerError> {
    let response: Response<'_> = parsed(body)?;
    let mut blocks = Vec::new();
    let mut content = Content::default();
    for item in response.output.unwrap_or_default() {
        content.note(&item);
        blocks.extend(item::blocks(item));
    }
    let status = response.status.map_or_else(|| "completed".into(), |Str(status)| status);
    let reason = response.incomplete_details.and_then(|details| details.reason);
    let stop = stop_reason(&status, reason.as_ref(), content).ok_or_else(|| {
        AnswerError::Malformed(format!("it is {}", if status == "cancelled" { "cancelled" } else { "failed" }))
    })?;
    Ok(Answer {
        id: response.id.0,
        model: response.model.unwrap_or_default().0,
        blocks,
        stop,
        stop_text: None,
        usage: response.usage.unwrap_or_default().into(),
    })
}

fn parsed<'a, T: Deserialize<'a>>(data: &'a [u8]) -> Result<T, AnswerError> {
    serde_json::from_slice(data).map_err(|error| AnswerError::Malformed(json::complaint(&error)))
}

/// Returns why an answer ended; `None` where it failed.
///
/// The limit wins over a call: the arguments of the last one are then cut off, and no client should run them.
fn stop_reason(status: &str, reason: Option<&Str<'_>>, content: Content) -> Option<StopReason> {
    match status {
        "failed" | "cancelled" => None,
        "incomplete" if reason.is_some_and(|Str(reason)| reason == "content_filter") => Some(StopReason::Refusal),
        "incomplete" => Some(StopReason::MaxTokens),
        _ if content.has_call => Some(StopReason::ToolUse),
        _ if content.has_refusal => Some(StopReason::Refusal),
        _ => Some(StopReason::EndTurn),
    }
}

/// Reads one stream.
#[derive(Debug, Default)]
pub struct Reader {
    started: bool,
    ended: bool,
    items: Vec<Item>,
    /// The number that the next block gets.
    next_block: u32,
    content: Content,
}

impl Reader {
    /// Reads the next event and hands what it says to `on_delta`. Events after the end are not looked at.
    pub fn read(&mut self, event: Event<'_>, on_delta: &mut impl FnMut(Delta<'_>)) -> Result<(), AnswerError> {
        if self.ended {
            return Ok(());
        }
        let data = event.data;
        let name =
            if event.name.is_empty() { json::top_level_str(data, b"type").unwrap_or_default() } else { event.name };
        let Some(name) = name.strip_prefix(b"response.") else {
            if name == b"error" {
                self.ended = true;
                on_delta(Delta::Failed(data));
            }
            return Ok(());
        };
        match name {
            b"output_text.delta"
            | b"refusal.delta"
            | b"reasoning_text.delta"
            | b"reasoning_summary_text.delta"
            | b"function_call_arguments.delta"
            | b"custom_tool_call_input.delta" => {
                let inside = match scanned(data) {
                    Some(inside) => inside,
                    None => parsed(data)?,
                };
                let refuses = name.starts_with(b"refusal");
                self.content.has_refusal |= refuses;
                let (item, next_block) = self.item(&inside, name)?;
                item.more(&inside, refuses, next_block, on_delta);
            }
            b"content_part.added" | b"reasoning_summary_part.added" => {
                let inside: Inside<'_> = parsed(data)?;
                let (item, next_block) = self.item(&inside, name)?;
                item.part_added(&inside, next_block, on_delta);
            }
            b"output_text.done"
            | b"refusal.done"
            | b"reasoning_text.done"
            | b"reasoning_summary_text.done"
            | b"function_call_arguments.done"
            | b"custom_tool_call_input.done" => {
                let inside: Inside<'_> = parsed(data)?;
                self.content.has_refusal |= name.starts_with(b"refusal");
                let (item, next_block) = self.item(&inside, name)?;
                item.whole(&inside, next_block, on_delta);
            }
            b"output_item.added" => self.added(&parsed(data)?, on_delta)?,
            b"output_item.done" => self.done(&parsed(data)?, on_delta)?,
            b"created" if !self.started => {
                let OfResponse { response } = parsed(data)?;
                self.started = true;
                on_delta(Delta::Started { id: response.id.0, model: response.model.unwrap_or_default().0 });
            }
            b"completed" | b"incomplete" | b"cancelled" => self.over(name, data, on_delta)?,
            b"failed" => {
                self.ended = true;
                on_delta(Delta::Failed(data));
            }
            _ => {}
        }
        Ok(())
    }

    fn must_have_started(&self) -> Result<(), AnswerError> {
        let missing = || AnswerError::Malformed("content before `response.created`".into());
        self.started.then_some(()).ok_or_else(missing)
    }

    /// Returns the item that an event is about, by its place: ids of one item may change on the way. Where nobody said
    /// that it began, it begins now.
    fn item(&mut self, inside: &Inside<'_>, name: &[u8]) -> Result<(&mut Item, &mut u32), AnswerError> {
        let at = self.items.iter().rposition(|item| item.output_index == inside.output_index);
        let at = match at {
            Some(at) => at,
            None => self.push(Item::implied(inside.output_index, name))?,
        };
        Ok((&mut self.items[at], &mut self.next_block))
    }

    fn push(&mut self, item: Item) -> Result<usize, AnswerError> {
        self.must_have_started()?;
        if self.items.len() == ITEMS_MAX {
            return Err(AnswerError::Malformed(format!("more than {ITEMS_MAX} items")));
        }
        self.items.push(item);
        Ok(self.items.len() - 1)
    }

    fn added(&mut self, added: &OfItem<'_>, on_delta: &mut impl FnMut(Delta<'_>)) -> Result<(), AnswerError> {
        self.content.note(&added.item);
        let at = self.push(Item::of(added.output_index, &added.item))?;
        self.items[at].open(&added.item, &mut self.next_block, on_delta);
        Ok(())
    }

    fn done(&mut self, done: &OfItem<'_>, on_delta: &mut impl FnMut(Delta<'_>)) -> Result<(), AnswerError> {
        self.content.note(&done.item);
        let at = self.items.iter().rposition(|item| item.output_index == done.output_index);
        let at = if let Some(at) = at {
            at
        } else {
            let at = self.push(Item::of(done.output_index, &done.item))?;
            self.items[at].open(&done.item, &mut self.next_block, on_delta);
            at
        };
        self.items[at].done(&done.item, &mut self.next_block, on_delta);
        Ok(())
    }

    fn over(&mut self, name: &[u8], data: &[u8], on_delta: &mut impl FnMut(Delta<'_>)) -> Result<(), AnswerError> {
        self.must_have_started()?;
        let OfResponse { response } = parsed(data)?;
        // Some upstreams say everything at the end alone.
        if self.items.is_empty() {
            for (output_index, item) in (0..).zip(response.output.unwrap_or_default()) {
                self.done(&OfItem { output_index, item }, on_delta)?;
            }
        }
        for item in &mut self.items {
            item.close(on_delta);
        }
        self.ended = true;
        let status = match (&response.status, name) {
            (Some(Str(status)), _) => &**status,
            (None, b"completed") => "completed",
            (None, b"cancelled") => "cancelled",
            (None, _) => "incomplete",
        };
        let reason = response.incomplete_details.and_then(|details| details.reason);
        on_delta(match stop_reason(status, reason.as_ref(), self.content) {
            Some(stop) => Delta::Ended { stop, stop_text: None, usage: response.usage.unwrap_or_default().into() },
            None => Delta::Failed(data),
        });
        Ok(())
    }
}

/// Reads the data of a delta by one look, which costs a fraction of a parse; `None` leaves it to the parser.
fn scanned(data: &[u8]) -> Option<Inside<'_>> {
    let mut inside = Inside::default();
    let mut has_index = false;
    json::walk(data, |key, value| match key {
        b"delta" => {
            let (delta, rest) = Fragment::read(value)?;
            inside.delta = Some(delta);
            Some(rest)
        }
        b"output_index" => {
            has_index = true;
            number(value, &mut inside.output_index)
        }
        b"content_index" => number(value, &mut inside.content_index),
        b"summary_index" => number(value, &mut inside.summary_index),
        // Odd in a delta: the parser knows what to make of it.
        b"text" | b"refusal" | b"arguments" | b"input" => None,
        _ => json::skip_value(value),
    })?;
    (has_index && inside.delta.is_some()).then_some(inside)
}

/// Reads the digits that `text` begins with, and returns what follows them.
fn number<'a>(text: &'a [u8], value: &mut u64) -> Option<&'a [u8]> {
    /// Every number of so many digits fits.
    const DIGITS_MAX: usize = 18;
    let digits = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    if digits == 0 || digits > DIGITS_MAX || (digits > 1 && text[0] == b'0') {
        return None;
    }
    *value = text[..digits].iter().fold(0, |sum, digit| sum * 10 + u64::from(digit - b'0'));
    Some(&text[digits..])
}

#[cfg(test)]
mod tests;
