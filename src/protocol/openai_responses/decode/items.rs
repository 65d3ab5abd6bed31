//! The items of the input, gathered into turns.

use std::borrow::Cow;

use serde_json::value::RawValue;

use super::parts::{content, texts};
use super::tools::{LOCAL_SHELL, PATCH, SHELL, TOOL_SEARCH, Tools};
use super::{name_unknown, parsed, word};
use crate::protocol::canonical::{Block, Call, CallKind, CallResult, Proof, Reasoning, Role, Turn};
use crate::protocol::json::Str;
use crate::protocol::loss::{Dropped, Refusal};
use crate::protocol::openai_responses::stored::{Kept, unknown_item};
use crate::protocol::openai_responses::wire::Item;

/// Transcripts of work that the provider did beside the model: its text carries the outcome.
const HOSTED: [&str; 9] = [
    "web_search_call",
    "file_search_call",
    "code_interpreter_call",
    "image_generation_call",
    "mcp_list_tools",
    "mcp_call",
    "mcp_approval_request",
    "program",
    "program_output",
];

/// What stands between the parts of a summary where they are one text.
const SUMMARY_BREAK: &str = "\n\n";

/// Turns in the making.
pub(super) struct Items<'a> {
    pub(super) turns: Vec<Turn<'a>>,
    /// Ids of shell calls with what their outputs may call them instead.
    shells: Vec<(Cow<'a, str>, Cow<'a, str>)>,
    /// What items may be named instead of sent.
    kept: &'a Kept,
}

impl<'a> Items<'a> {
    pub(super) const fn new(kept: &'a Kept) -> Self {
        Self { turns: Vec::new(), shells: Vec::new(), kept }
    }

    /// Adds a turn of one block.
    pub(super) fn say(&mut self, role: Role, block: Block<'a>) {
        self.turns.push(Turn { role, blocks: vec![block] });
    }

    /// Adds to the model's turn: one turn comes as many items.
    fn model(&mut self, blocks: impl IntoIterator<Item = Block<'a>>) {
        self.extend(Role::Assistant, blocks);
    }

    fn result(&mut self, result: CallResult<'a>) {
        // Results of one round stand together; a message of the user's own is a turn of its own.
        let together = self.turns.last().is_some_and(|turn| matches!(turn.blocks.last(), Some(Block::Result(_))));
        if together {
            self.extend(Role::User, [Block::Result(result)]);
        } else {
            self.say(Role::User, Block::Result(result));
        }
    }

    fn extend(&mut self, role: Role, blocks: impl IntoIterator<Item = Block<'a>>) {
        match self.turns.last_mut() {
            Some(turn) if turn.role == role => turn.blocks.extend(blocks),
            _ => self.turns.push(Turn { role, blocks: blocks.into_iter().collect() }),
        }
    }

    /// Takes one item, or the name of one.
    pub(super) fn take(
        &mut self,
        index: usize,
        raw: &'a RawValue,
        tools: &mut Tools<'a>,
        dropped: &mut Dropped,
    ) -> Result<(), Refusal> {
        let path = format!("input[{index}]");
        let item: Item<'a> = parsed(raw, &path)?;
        if word(item.kind.as_ref()) != Some("item_reference") {
            return self.add(&path, item, tools, dropped);
        }
        let id = word(item.id.as_ref()).unwrap_or_default();
        let known = self.kept.item(id).ok_or_else(|| unknown_item(&path, id))?;
        self.add(&path, parsed(known, &path)?, tools, dropped)
    }

    /// Adds one item that is itself.
    pub(super) fn add(
        &mut self,
        path: &str,
        mut item: Item<'a>,
        tools: &mut Tools<'a>,
        dropped: &mut Dropped,
    ) -> Result<(), Refusal> {
        name_unknown(&item.unknown, &[], "input[].", dropped);
        let kind = item.kind.take();
        match word(kind.as_ref()) {
            None | Some("message") => self.message(path, &item, dropped),
            Some("reasoning") => {
                self.reasoning(item);
                Ok(())
            }
            Some("function_call") => self.call(path, item, CallKind::Function),
            Some("custom_tool_call") => self.call(path, item, CallKind::Custom),
            Some("function_call_output" | "custom_tool_call_output") => self.output(path, item, dropped),
            Some("additional_tools") => tools.add_all(item.tools, path, dropped),
            Some("tool_search_call" | "tool_search_output") if item.call_id.is_none() => {
                // The provider itself searched; what it found is offered from the start here.
                tools.add_all(item.tools, path, dropped)
            }
            Some("tool_search_call") => {
                self.built_in_call(TOOL_SEARCH, item.arguments, item.call_id, item.id);
                Ok(())
            }
            Some("tool_search_output") => {
                let before = tools.list.len();
                tools.add_all(item.tools, path, dropped)?;
                let names: Vec<&str> = tools.list[before..].iter().map(|tool| &*tool.name).collect();
                let told = format!("Tools loaded: {}", names.join(", "));
                self.built_in_output(item.call_id, item.id, Block::Text(told.into()), false);
                Ok(())
            }
            Some("local_shell_call") => {
                self.built_in_call(LOCAL_SHELL, item.action, item.call_id, item.id);
                Ok(())
            }
            Some("shell_call") => {
                self.built_in_call(SHELL, item.action, item.call_id, item.id);
                Ok(())
            }
            Some("apply_patch_call") => {
                self.built_in_call(PATCH, item.operation, item.call_id, item.id);
                Ok(())
            }
            Some("local_shell_call_output" | "shell_call_output" | "apply_patch_call_output") => {
                let failed = item.status.as_ref().is_some_and(|status| status.0 == "failed");
                let text = item.output.map_or(Cow::Borrowed(""), text_of);
                self.built_in_output(item.call_id, item.id, Block::Text(text), failed);
                Ok(())
            }
            Some(hosted) if HOSTED.contains(&hosted) => {
                dropped.add(&format!("input[].{hosted}"));
                Ok(())
            }
            Some(other) => Err(impossible(path, other)),
        }
    }

    fn message(&mut self, path: &str, item: &Item<'a>, dropped: &mut Dropped) -> Result<(), Refusal> {
        let role = match word(item.role.as_ref()) {
            Some("user") => Role::User,
            Some("system" | "developer") => Role::System,
            Some("assistant") => Role::Assistant,
            _ => {
                let param = format!("{path}.role");
                let message = format!("`{param}` must be user, system, developer or assistant");
                return Err(Refusal::of(param, message));
            }
        };
        let place = format!("{path}.content");
        let missing = || Refusal::of(&*place, format!("`{place}` is required"));
        let blocks = content(item.content.ok_or_else(missing)?, &place, role, dropped)?;
        if role == Role::Assistant {
            self.model(blocks);
        } else {
            self.turns.push(Turn { role, blocks });
        }
        Ok(())
    }

    /// Reasoning without its encrypted content is only a text that nobody can verify: it is left out.
    fn reasoning(&mut self, item: Item<'a>) {
        let Some(Str(sealed)) = item.encrypted_content else { return };
        let text = texts(item.summary, SUMMARY_BREAK);
        self.model([Block::Reasoning(Reasoning { text, proof: Some(Proof::Sealed(sealed)) })]);
    }

    fn call(&mut self, path: &str, item: Item<'a>, kind: CallKind) -> Result<(), Refusal> {
        let required = |member: &str| {
            let param = format!("{path}.{member}");
            let message = format!("`{param}` is required");
            Refusal::of(param, message)
        };
        let arguments = match kind {
            CallKind::Function => text_of(item.arguments.ok_or_else(|| required("arguments"))?),
            CallKind::Custom => item.input.ok_or_else(|| required("input"))?.0,
        };
        self.model([Block::Call(Call {
            id: item.call_id.ok_or_else(|| required("call_id"))?.0,
            namespace: item.namespace.map(|Str(namespace)| namespace).filter(|namespace| !namespace.is_empty()),
            name: item.name.ok_or_else(|| required("name"))?.0,
            kind,
            arguments,
        })]);
        Ok(())
    }

    fn output(&mut self, path: &str, item: Item<'a>, dropped: &mut Dropped) -> Result<(), Refusal> {
        let place = format!("{path}.output");
        let missing = || Refusal::of(&*place, format!("`{place}` is required"));
        let content = content(item.output.ok_or_else(missing)?, &place, Role::User, dropped)?;
        // A result that names no call belongs to none: `repair` makes a text of it.
        let call = item.call_id.map_or(Cow::Borrowed(""), |Str(id)| id);
        self.result(CallResult { call, content, is_error: false });
        Ok(())
    }

    /// Adds a call of a tool that has an item type of its own; its arguments are an object, not a text.
    fn built_in_call(
        &mut self,
        name: &'static str,
        arguments: Option<&'a RawValue>,
        call_id: Option<Str<'a>>,
        id: Option<Str<'a>>,
    ) {
        let (call_id, id) = (call_id.map(|Str(id)| id), id.map(|Str(id)| id));
        if let (Some(call_id), Some(id)) = (&call_id, &id) {
            self.shells.push((id.clone(), call_id.clone()));
        }
        self.model([Block::Call(Call {
            id: call_id.or(id).unwrap_or_default(),
            namespace: None,
            name: name.into(),
            kind: CallKind::Function,
            arguments: arguments.map_or(Cow::Borrowed(""), text_of),
        })]);
    }

    fn built_in_output(&mut self, call_id: Option<Str<'a>>, id: Option<Str<'a>>, block: Block<'a>, is_error: bool) {
        // A local shell's output may know its call only by the item's id.
        let by_item = |id: Str<'a>| {
            let known = self.shells.iter().find(|(item, _)| *item == id.0);
            known.map_or(id.0, |(_, call)| call.clone())
        };
        let call = call_id.map(|Str(id)| id).or_else(|| id.map(by_item)).unwrap_or_default();
        self.result(CallResult { call, content: vec![block], is_error });
    }
}

/// Returns the text of a JSON string, and any other value as it stands.
fn text_of(raw: &RawValue) -> Cow<'_, str> {
    serde_json::from_str::<Str<'_>>(raw.get()).map_or(Cow::Borrowed(raw.get()), |Str(text)| text)
}

fn impossible(path: &str, kind: &str) -> Refusal {
    let message = match kind {
        "compaction" | "compaction_trigger" | "configuration_update" => {
            format!("`{path}`: a conversation that OpenAI compacted cannot be read by a Claude model; send it in full")
        }
        _ => format!("`{path}.type` is of a kind that is not translated to Claude; leave the item out"),
    };
    Refusal::of(path, message)
}
