//! The tools of a request, wherever they come: in `tools`, in namespaces, in items.

use std::borrow::Cow;
use std::collections::HashSet;

use serde_json::value::RawValue;

use super::{name_unknown, parsed, word};
use crate::protocol::canonical::{Tool, ToolChoice, ToolKind, WebSearch};
use crate::protocol::json::Str;
use crate::protocol::loss::{Dropped, Refusal};
use crate::protocol::openai_responses::wire;

/// Names of the tools that have item types of their own; the model gets them as functions.
pub(in crate::protocol::openai_responses) const LOCAL_SHELL: &str = "local_shell";
pub(in crate::protocol::openai_responses) const SHELL: &str = "shell";
pub(in crate::protocol::openai_responses) const PATCH: &str = "apply_patch";
pub(in crate::protocol::openai_responses) const TOOL_SEARCH: &str = "tool_search";
/// What a web search is called where it is chosen.
const WEB_SEARCH: &str = "web_search";

/// Most tools of a request.
const TOOLS_MAX: usize = 10_000;
/// Most tools that a choice names; each is looked for among all.
const ALLOWED_MAX: usize = 1_000;

/// Tools that the provider runs and no other has.
const HOSTED: [&str; 6] =
    ["file_search", "code_interpreter", "image_generation", "mcp", "programmatic_tool_calling", "collaboration"];

/// Members of a tool that only tune when it is loaded or who may call it.
const SILENT: [&str; 2] = ["allowed_callers", "output_schema"];

/// The arguments of the tools with item types of their own. Source: `LocalShellCallAction`, `ShellCallAction` and
/// `ApplyPatchCallOperation` of the openai SDK 3.54.
const LOCAL_SHELL_SCHEMA: &str = r#"{"type":"object","properties":{"command":{"type":"array","items":{"type":"string"},"description":"The program and its arguments."},"env":{"type":"object","additionalProperties":{"type":"string"}},"timeout_ms":{"type":"integer"},"user":{"type":"string"},"working_directory":{"type":"string"}},"required":["command"]}"#;
const SHELL_SCHEMA: &str = r#"{"type":"object","properties":{"commands":{"type":"array","items":{"type":"string"},"description":"Shell commands, run one after the other."},"timeout_ms":{"type":"integer"},"max_output_length":{"type":"integer"}},"required":["commands"]}"#;
const PATCH_SCHEMA: &str = r#"{"type":"object","properties":{"type":{"type":"string","enum":["create_file","update_file","delete_file"]},"path":{"type":"string"},"diff":{"type":"string","description":"The change as a V4A diff; not for delete_file."}},"required":["type","path"]}"#;
const ANY_SCHEMA: &str = r#"{"type":"object","properties":{}}"#;

/// What the tools in it have in common.
struct Namespace<'a> {
    name: Cow<'a, str>,
    description: Option<Cow<'a, str>>,
}

/// The tools so far.
#[derive(Default)]
pub(in crate::protocol::openai_responses) struct Tools<'a> {
    pub(super) list: Vec<Tool<'a>>,
    known: HashSet<(Cow<'a, str>, Cow<'a, str>)>,
    /// Names of those with item types of their own.
    pub(in crate::protocol::openai_responses) built_in: Vec<&'static str>,
    /// Kinds of those that cannot be carried.
    lost: Vec<String>,
}

impl<'a> Tools<'a> {
    pub(super) fn add_all(
        &mut self,
        tools: Option<Vec<&'a RawValue>>,
        path: &str,
        dropped: &mut Dropped,
    ) -> Result<(), Refusal> {
        for (index, tool) in tools.into_iter().flatten().enumerate() {
            self.add(tool, &format!("{path}.tools[{index}]"), dropped)?;
        }
        Ok(())
    }

    /// Adds one tool, or those of a namespace.
    pub(super) fn add(&mut self, raw: &'a RawValue, path: &str, dropped: &mut Dropped) -> Result<(), Refusal> {
        self.add_inside(raw, path, None, dropped)
    }

    fn add_inside(
        &mut self,
        raw: &'a RawValue,
        path: &str,
        inside: Option<&Namespace<'a>>,
        dropped: &mut Dropped,
    ) -> Result<(), Refusal> {
        let mut tool: wire::Tool<'a> = parsed(raw, path)?;
        let kind = tool.kind.take().map_or(Cow::Borrowed("function"), |Str(kind)| kind);
        let namespace = inside.map(|inside| inside.name.clone());
        let own = tool.description.take().map(|Str(text)| text).filter(|text| !text.is_empty());
        let description = described(own, inside);
        let kind = match &*kind {
            "namespace" => {
                if inside.is_some() {
                    return Err(Refusal::of(path, format!("`{path}`: a namespace cannot stand in another")));
                }
                let inside = Namespace { name: required_name(tool.name, path)?, description };
                for (index, tool) in tool.tools.into_iter().flatten().enumerate() {
                    self.add_inside(tool, &format!("{path}.tools[{index}]"), Some(&inside), dropped)?;
                }
                return Ok(());
            }
            "function" => ToolKind::Function { schema: tool.parameters, strict: tool.strict },
            "custom" => ToolKind::Custom { grammar: tool.format.take().and_then(grammar) },
            "web_search" | "web_search_preview" | "web_search_2025_08_26" | "web_search_preview_2025_03_11" => {
                let search = web_search(tool, path)?;
                return self.push(None, WEB_SEARCH.into(), description, ToolKind::WebSearch(search));
            }
            LOCAL_SHELL => {
                return self.built_in(LOCAL_SHELL, "Runs a program on the user's machine.", LOCAL_SHELL_SCHEMA);
            }
            SHELL => return self.built_in(SHELL, "Runs shell commands.", SHELL_SCHEMA),
            PATCH => return self.built_in(PATCH, "Creates, changes or deletes a file.", PATCH_SCHEMA),
            TOOL_SEARCH if word(tool.execution.as_ref()) == Some("client") => {
                self.built_in.push(TOOL_SEARCH);
                let schema = tool.parameters.or_else(|| raw_of(ANY_SCHEMA));
                let kind = ToolKind::Function { schema, strict: None };
                return self.push(None, TOOL_SEARCH.into(), description, kind);
            }
            // All tools are offered from the start, so there is nothing to search.
            TOOL_SEARCH => return Ok(()),
            hosted if HOSTED.contains(&hosted) => {
                dropped.add(&format!("tools[].{hosted}"));
                self.lost.push(hosted.to_owned());
                return Ok(());
            }
            _ => {
                let message =
                    format!("`{path}.type` is of a kind that is not translated to Claude; leave the tool out");
                return Err(Refusal::of(path, message));
            }
        };
        name_unknown(&tool.unknown, &SILENT, "tools[].", dropped);
        let name = required_name(tool.name, path)?;
        self.push(namespace, name, description, kind)
    }

    fn built_in(&mut self, name: &'static str, about: &'static str, schema: &'static str) -> Result<(), Refusal> {
        self.built_in.push(name);
        let kind = ToolKind::Function { schema: raw_of(schema), strict: None };
        self.push(None, name.into(), Some(about.into()), kind)
    }

    /// Adds a tool unless its name is taken: both vendors refuse a second one.
    fn push(
        &mut self,
        namespace: Option<Cow<'a, str>>,
        name: Cow<'a, str>,
        description: Option<Cow<'a, str>>,
        kind: ToolKind<'a>,
    ) -> Result<(), Refusal> {
        if self.list.len() == TOOLS_MAX {
            return Err(Refusal::of("tools", format!("`tools` must not have more than {TOOLS_MAX} members")));
        }
        if self.known.insert((namespace.clone().unwrap_or_default(), name.clone())) {
            self.list.push(Tool { namespace, name, description, kind });
        }
        Ok(())
    }

    /// Reads `tool_choice`; may take tools out of the list that are not allowed.
    pub(super) fn choice(
        &mut self,
        raw: Option<&'a RawValue>,
        dropped: &mut Dropped,
    ) -> Result<Option<ToolChoice<'a>>, Refusal> {
        let Some(raw) = raw else { return self.none_left() };
        if raw.get().starts_with('"') {
            let Str(choice) = parsed(raw, "tool_choice")?;
            let choice = match &*choice {
                "auto" => ToolChoice::Auto,
                "none" => ToolChoice::None,
                "required" => ToolChoice::Any,
                _ => return Err(Refusal::of("tool_choice", "`tool_choice` must be auto, none, required or an object")),
            };
            self.none_left()?;
            return Ok((!self.list.is_empty()).then_some(choice));
        }
        let choice: wire::ToolChoice<'a> = parsed(raw, "tool_choice")?;
        if word(choice.kind.as_ref()) == Some("allowed_tools") {
            return self.allowed(choice, dropped).map(Some);
        }
        let (namespace, name) = self.chosen(choice).ok_or_else(not_offered)?;
        Ok(Some(ToolChoice::Tool { namespace, name }))
    }

    /// Refuses a request whose only tools are none that can be carried: what was asked for could not be done.
    fn none_left(&self) -> Result<Option<ToolChoice<'a>>, Refusal> {
        match self.lost.first() {
            Some(kind) if self.list.is_empty() => Err(Refusal::of(
                "tools",
                format!("`tools`: a Claude model has no `{kind}`, and there is no other tool"),
            )),
            _ => Ok(None),
        }
    }

    /// Keeps only the tools that are named.
    fn allowed(&mut self, choice: wire::ToolChoice<'a>, dropped: &mut Dropped) -> Result<ToolChoice<'a>, Refusal> {
        let mut allowed = HashSet::new();
        if choice.tools.as_ref().is_some_and(|tools| tools.len() > ALLOWED_MAX) {
            let message = format!("`tool_choice.tools` names more than {ALLOWED_MAX} tools");
            return Err(Refusal::of("tool_choice.tools", message));
        }
        for (index, raw) in choice.tools.into_iter().flatten().enumerate() {
            let tool: wire::ToolChoice<'a> = parsed(raw, &format!("tool_choice.tools[{index}]"))?;
            match self.chosen(tool) {
                Some((namespace, name)) => {
                    allowed.insert((namespace.unwrap_or_default(), name));
                }
                None => dropped.add("tool_choice.tools"),
            }
        }
        self.list.retain(|tool| {
            let key = (tool.namespace.clone().unwrap_or_default(), tool.name.clone());
            allowed.contains(&key)
        });
        if self.list.is_empty() {
            return Err(not_offered());
        }
        Ok(if word(choice.mode.as_ref()) == Some("required") { ToolChoice::Any } else { ToolChoice::Auto })
    }

    /// Finds the tool that is meant; `None` where there is no such one.
    fn chosen(&self, choice: wire::ToolChoice<'a>) -> Option<(Option<Cow<'a, str>>, Cow<'a, str>)> {
        let kind = choice.kind.map_or(Cow::Borrowed(""), |Str(kind)| kind);
        let name = match choice.name {
            Some(Str(name)) => name,
            None if kind.starts_with(WEB_SEARCH) => WEB_SEARCH.into(),
            None => kind,
        };
        let wanted = choice.namespace.map(|Str(namespace)| namespace);
        let fits = |tool: &&Tool<'a>| tool.name == name && (wanted.is_none() || tool.namespace == wanted);
        self.list.iter().find(fits).map(|tool| (tool.namespace.clone(), tool.name.clone()))
    }
}

/// Returns what a tool is for; where it stands alone, it must say itself what its namespace is for.
fn described<'a>(own: Option<Cow<'a, str>>, inside: Option<&Namespace<'a>>) -> Option<Cow<'a, str>> {
    let common = inside.and_then(|inside| inside.description.clone());
    match (common, own) {
        (Some(common), Some(own)) => Some(Cow::Owned(format!("{common}\n\n{own}"))),
        (common, own) => own.or(common),
    }
}

fn not_offered() -> Refusal {
    Refusal::of(
        "tool_choice",
        "`tool_choice` names a tool that is not in `tools`, or that a Claude model does not have",
    )
}

fn required_name<'a>(name: Option<Str<'a>>, path: &str) -> Result<Cow<'a, str>, Refusal> {
    let name = name.map(|Str(name)| name).filter(|name| !name.is_empty());
    name.ok_or_else(|| Refusal::of(format!("{path}.name"), format!("`{path}.name` is required")))
}

fn grammar(format: wire::Format<'_>) -> Option<(Cow<'_, str>, Cow<'_, str>)> {
    let (syntax, definition) = (format.syntax?, format.definition?);
    Some((syntax.0, definition.0))
}

fn web_search<'a>(tool: wire::Tool<'a>, path: &str) -> Result<WebSearch<'a>, Refusal> {
    let mut search = WebSearch { user_location: tool.user_location.map(Cow::Borrowed), ..WebSearch::default() };
    if let Some(filters) = tool.filters {
        let domains = |raw: Option<&'a RawValue>| -> Result<Vec<Cow<'a, str>>, Refusal> {
            let list: Option<Vec<Str<'a>>> = raw.map(|raw| parsed(raw, &format!("{path}.filters"))).transpose()?;
            Ok(list.into_iter().flatten().map(|Str(domain)| domain).collect())
        };
        search.allowed_domains = domains(filters.allowed_domains)?;
        search.blocked_domains = domains(filters.blocked_domains)?;
    }
    Ok(search)
}

fn raw_of(schema: &'static str) -> Option<&'static RawValue> {
    serde_json::from_str(schema).ok()
}
