//! The messages, as turns.

use std::borrow::Cow;
use std::collections::HashMap;

use serde_json::value::RawValue;

use super::parts::Content;
use super::{name_unknown, parsed, required, word};
use crate::protocol::canonical::{Block, Call, CallKind, CallResult, Role, Turn};
use crate::protocol::json::Str;
use crate::protocol::loss::{Dropped, Refusal};
use crate::protocol::openai_chat::wire::request::{FunctionCall, Message, ToolCall};

/// Members that are no part of what is said: what the model thought, which has no proof here and cannot be sent back, under
/// the names that gateways give it, and marks of caches and gateways.
const SILENT: [&str; 8] = [
    "reasoning_content",
    "reasoning",
    "reasoning_details",
    "thinking_blocks",
    "annotations",
    "cache_control",
    "provider_specific_fields",
    "tool_name",
];

/// Members of a call of the past that only gateways read.
const SILENT_IN_CALLS: [&str; 3] = ["cache_control", "provider_specific_fields", "extra_content"];

/// Turns in the making.
pub(super) struct Messages<'d, 'a> {
    pub(super) turns: Vec<Turn<'a>>,
    dropped: &'d mut Dropped,
    /// Names and ids of the older calls that have no result yet: those are told apart by name alone.
    /// The latest is the last: one that was interrupted never gets a result.
    functions: HashMap<Cow<'a, str>, Vec<Cow<'a, str>>>,
    /// Their names in order, for a result without one.
    called: Vec<Cow<'a, str>>,
}

impl<'d, 'a> Messages<'d, 'a> {
    pub(super) fn new(count: usize, dropped: &'d mut Dropped) -> Self {
        Self { turns: Vec::with_capacity(count), dropped, functions: HashMap::new(), called: Vec::new() }
    }

    /// Takes one message.
    pub(super) fn take(&mut self, index: usize, raw: &'a RawValue) -> Result<(), Refusal> {
        let path = format!("messages[{index}]");
        let mut message: Message<'a> = parsed(raw, &path)?;
        name_unknown(&message.unknown, &SILENT, "messages[].", self.dropped);
        let role = message.role.take();
        let role = match word(role.as_ref()) {
            Some("system" | "developer") => Role::System,
            Some("user") => Role::User,
            Some("assistant") => Role::Assistant,
            Some("tool") => return self.result(&path, message),
            Some("function") => return self.function_result(&path, message),
            _ => {
                let path = format!("{path}.role");
                return Err(Refusal::of(
                    &*path,
                    format!("`{path}` must be system, developer, user, assistant or tool"),
                ));
            }
        };
        if message.name.is_some() {
            self.dropped.add("messages[].name");
        }
        for (is_given, member) in [
            (message.audio.is_some(), "audio"),
            (
                role != Role::Assistant && message.tool_calls.as_ref().is_some_and(|calls| !calls.is_empty()),
                "tool_calls",
            ),
            (role != Role::Assistant && message.function_call.is_some(), "function_call"),
        ] {
            if is_given {
                let path = format!("{path}.{member}");
                return Err(Refusal::of(
                    &*path,
                    format!("`{path}` cannot be carried to this model, or not in this place"),
                ));
            }
        }
        let mut blocks = self.content(&path, role, &mut message)?;
        blocks.extend(message.refusal.map(|Str(text)| Block::Refusal(text)));
        for (at, raw) in message.tool_calls.into_iter().flatten().enumerate() {
            blocks.push(Block::Call(self.call(&format!("{path}.tool_calls[{at}]"), raw)?));
        }
        if let Some(raw) = message.function_call {
            blocks.push(Block::Call(self.function_call(index, &format!("{path}.function_call"), raw)?));
        }
        self.turns.push(Turn { role, blocks });
        Ok(())
    }

    fn content(&mut self, path: &str, role: Role, message: &mut Message<'a>) -> Result<Vec<Block<'a>>, Refusal> {
        match message.content.take() {
            None => Ok(Vec::new()),
            Some(content) => Content::new(role, self.dropped).read(&format!("{path}.content"), content),
        }
    }

    fn call(&mut self, path: &str, raw: &'a RawValue) -> Result<Call<'a>, Refusal> {
        let call: ToolCall<'a> = parsed(raw, path)?;
        name_unknown(&call.unknown, &SILENT_IN_CALLS, "messages[].tool_calls[].", self.dropped);
        // Without one, its result cannot find it; `repair` says so to the model.
        let id = call.id.map_or(Cow::Borrowed(""), |Str(id)| id);
        let (name, kind, arguments) = match (call.function, call.custom) {
            (Some(function), _) => {
                let arguments = function.arguments.map_or(Cow::Borrowed(""), text_of);
                (required(function.name, path, "function.name")?, CallKind::Function, arguments)
            }
            (None, Some(custom)) => {
                let input = custom.input.map_or(Cow::Borrowed(""), |Str(input)| input);
                (required(custom.name, path, "custom.name")?, CallKind::Custom, input)
            }
            (None, None) => {
                let path = format!("{path}.function");
                return Err(Refusal::of(&*path, format!("`{path}` is required")));
            }
        };
        Ok(Call { id, namespace: None, name, kind, arguments })
    }

    /// Reads an older call. It has no id, so it gets one by its place, which is the same in every request that follows.
    fn function_call(&mut self, index: usize, path: &str, raw: &'a RawValue) -> Result<Call<'a>, Refusal> {
        let call: FunctionCall<'a> = parsed(raw, path)?;
        let name = required(call.name, path, "name")?;
        let id: Cow<'a, str> = format!("function_{index}").into();
        self.functions.entry(name.clone()).or_default().push(id.clone());
        self.called.push(name.clone());
        let arguments = call.arguments.map_or(Cow::Borrowed(""), text_of);
        Ok(Call { id, namespace: None, name, kind: CallKind::Function, arguments })
    }

    /// Reads what a call brought. Some clients put Anthropic's form of a result inside: what is in it is the result.
    fn result_content(&mut self, path: &str, message: &mut Message<'a>) -> Result<Vec<Block<'a>>, Refusal> {
        let content = self.content(path, Role::User, message)?;
        let inner = content.into_iter().flat_map(|block| match block {
            Block::Result(result) => result.content,
            other => vec![other],
        });
        Ok(inner.collect())
    }

    fn result(&mut self, path: &str, mut message: Message<'a>) -> Result<(), Refusal> {
        let content = self.result_content(path, &mut message)?;
        // A result that names no call belongs to none: `repair` makes a text of it.
        let call = message.tool_call_id.map_or(Cow::Borrowed(""), |Str(id)| id);
        self.say(CallResult { call, content, is_error: false });
        Ok(())
    }

    /// Takes the latest older call that has no result yet.
    fn latest_call(&mut self) -> Option<Cow<'a, str>> {
        loop {
            let name = self.called.pop()?;
            if let Some(id) = self.functions.get_mut(&name).and_then(Vec::pop) {
                return Some(id);
            }
        }
    }

    fn function_result(&mut self, path: &str, mut message: Message<'a>) -> Result<(), Refusal> {
        let content = self.result_content(path, &mut message)?;
        let call = match word(message.name.as_ref()) {
            Some(name) => self.functions.get_mut(name).and_then(Vec::pop),
            None => self.latest_call(),
        };
        let call = call.unwrap_or_default();
        self.say(CallResult { call, content, is_error: false });
        Ok(())
    }

    fn say(&mut self, result: CallResult<'a>) {
        self.turns.push(Turn { role: Role::User, blocks: vec![Block::Result(result)] });
    }
}

/// Returns the text of a JSON string, and any other value as it stands: some clients send arguments that are no text yet.
pub(super) fn text_of(raw: &RawValue) -> Cow<'_, str> {
    serde_json::from_str::<Str<'_>>(raw.get()).map_or(Cow::Borrowed(raw.get()), |Str(text)| text)
}
