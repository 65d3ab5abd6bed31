//! An answer as a chat completion.

use std::borrow::Cow;

use super::Asked;
use super::layout::{BREAK, Layout, NO_ARGUMENTS, Texts, call_id, completion_id};
use super::wire::answer::{self as wire, Called, Choice, Completion, Custom, Function, Message};
use crate::domain::time::Timestamp;
use crate::protocol::canonical::{Answer, Block, Call, CallKind};
use crate::protocol::json;

/// Writes an answer as one JSON body, `created` at the given time. `texts` says what its blocks of text are to each other.
pub fn answer(answer: &Answer<'_>, created: Timestamp, asked: Asked, texts: Texts) -> Vec<u8> {
    let mut layout = Layout::new(texts);
    let message = message(answer, asked, &mut layout);
    json::to_vec(&Completion {
        id: completion_id(&answer.id),
        object: "chat.completion",
        created: created.as_secs(),
        model: &answer.model,
        choices: [Choice {
            index: 0,
            message,
            logprobs: (),
            finish_reason: layout.finish_reason(answer.stop, asked.legacy_functions),
        }],
        usage: answer.usage.into(),
    })
}

fn message<'a>(answer: &'a Answer<'_>, asked: Asked, layout: &mut Layout) -> Message<'a> {
    let mut message = Message { role: "assistant", ..Message::default() };
    for (number, block) in (0..).zip(&answer.blocks) {
        match block {
            Block::Text(text) if !text.is_empty() => append(&mut message.content, layout.text(number), text),
            Block::Refusal(text) if !text.is_empty() => {
                layout.has_refusal = true;
                append(&mut message.refusal, false, text);
            }
            Block::Reasoning(reasoning) if !reasoning.text.is_empty() => {
                append(&mut message.reasoning_content, layout.reasoning(number), &reasoning.text);
            }
            Block::Call(call) if asked.legacy_functions => {
                if layout.call() == 0 {
                    message.function_call = Some(function(call));
                }
            }
            Block::Call(call) => {
                layout.call();
                message.tool_calls.push(wire::Call { index: None, id: call_id(&call.id), called: called(call) });
            }
            // Models answer with nothing else.
            Block::Text(_) | Block::Refusal(_) | Block::Reasoning(_) => {}
            Block::Result(_) | Block::Image(_) | Block::Document(_) => {}
        }
    }
    if layout.is_empty() {
        message.content = Some(Cow::Borrowed(""));
    }
    message
}

/// Appends a text to what has been said, which is copied only where there is something already.
fn append<'a>(said: &mut Option<Cow<'a, str>>, breaks: bool, text: &'a str) {
    match said {
        None => *said = Some(Cow::Borrowed(text)),
        Some(said) => {
            let said = said.to_mut();
            said.push_str(if breaks { BREAK } else { "" });
            said.push_str(text);
        }
    }
}

fn called<'a>(call: &'a Call<'_>) -> Called<'a> {
    match call.kind {
        CallKind::Function => Called::Function { function: function(call) },
        CallKind::Custom => Called::Custom { custom: Custom { name: &call.name, input: &call.arguments } },
    }
}

fn function<'a>(call: &'a Call<'_>) -> Function<'a> {
    let arguments = if call.arguments.is_empty() { NO_ARGUMENTS } else { &*call.arguments };
    Function { name: &call.name, arguments }
}

#[cfg(test)]
mod tests;
