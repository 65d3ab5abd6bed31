//! The tools of a request, newer and older.

use std::borrow::Cow;
use std::collections::HashSet;

use serde_json::value::RawValue;

use super::{name_unknown, parsed, word};
use crate::protocol::canonical::{Tool, ToolChoice, ToolKind, WebSearch};
use crate::protocol::json::Str;
use crate::protocol::loss::{Dropped, Refusal};
use crate::protocol::openai_chat::wire::request::{self as wire, Declared, Request, ToolFormat, WebSearchOptions};

/// What a web search is called where it is chosen, and what its types begin with.
const WEB_SEARCH: &str = "web_search";

/// Most tools of a request.
const TOOLS_MAX: usize = 10_000;

/// Tools that a provider runs. They are none of Chat Completions, but some clients send here what they send to Responses.
const HOSTED: [&str; 4] = ["file_search", "code_interpreter", "image_generation", "mcp"];

/// Members of a tool that only tune when it is loaded, cached or streamed.
const SILENT: [&str; 5] =
    ["cache_control", "defer_loading", "eager_input_streaming", "input_examples", "allowed_callers"];

/// The tools so far.
#[derive(Default)]
pub(super) struct Tools<'a> {
    pub(super) list: Vec<Tool<'a>>,
    known: HashSet<Cow<'a, str>>,
    /// Kinds of those that cannot be carried.
    lost: Vec<String>,
}

impl<'a> Tools<'a> {
    /// Reads all tools of a request; takes them out of it.
    pub(super) fn read(&mut self, request: &mut Request<'a>, dropped: &mut Dropped) -> Result<(), Refusal> {
        for (index, raw) in request.tools.take().into_iter().flatten().enumerate() {
            self.add(raw, &format!("tools[{index}]"), dropped)?;
        }
        for (index, raw) in request.functions.take().into_iter().flatten().enumerate() {
            let path = format!("functions[{index}]");
            let function = parsed(raw, &path)?;
            self.function(function, &path, "functions[].", dropped)?;
        }
        if let Some(raw) = request.web_search_options {
            self.search(raw, dropped)?;
        }
        Ok(())
    }

    fn add(&mut self, raw: &'a RawValue, path: &str, dropped: &mut Dropped) -> Result<(), Refusal> {
        let tool: wire::Tool<'a> = parsed(raw, path)?;
        let kind = word(tool.kind.as_ref()).unwrap_or("function");
        match (kind, tool.function, tool.custom) {
            ("function", Some(inner), _) => {
                name_unknown(&tool.unknown, &SILENT, "tools[].", dropped);
                let path = format!("{path}.function");
                self.function(parsed(inner, &path)?, &path, "tools[].function.", dropped)
            }
            ("custom", _, Some(inner)) => {
                name_unknown(&tool.unknown, &SILENT, "tools[].", dropped);
                let path = format!("{path}.custom");
                self.custom(parsed(inner, &path)?, &path, "tools[].custom.", dropped)
            }
            // As in Responses and in Messages: seen of Cursor, which sends the tools of the model's own API.
            ("function", None, _) => self.function(parsed(raw, path)?, path, "tools[].", dropped),
            ("custom", _, None) => {
                let declared: Declared<'a> = parsed(raw, path)?;
                if declared.input_schema.is_some() {
                    self.function(declared, path, "tools[].", dropped)
                } else {
                    self.custom(declared, path, "tools[].", dropped)
                }
            }
            (kind, ..) if kind.starts_with(WEB_SEARCH) => {
                let declared: Declared<'a> = parsed(raw, path)?;
                name_unknown(&declared.unknown, &["search_context_size"], "tools[].", dropped);
                let user_location = declared.user_location.map(Cow::Borrowed);
                self.push(
                    WEB_SEARCH.into(),
                    None,
                    ToolKind::WebSearch(WebSearch { user_location, ..WebSearch::default() }),
                )
            }
            (kind, ..) if HOSTED.contains(&kind) => {
                dropped.add(&format!("tools[].{kind}"));
                self.lost.push(kind.to_owned());
                Ok(())
            }
            _ => Err(Refusal::of(
                format!("{path}.type"),
                format!("`{path}.type` is of a kind that is not translated for this model; leave the tool out"),
            )),
        }
    }

    fn function(
        &mut self,
        mut tool: Declared<'a>,
        path: &str,
        prefix: &str,
        dropped: &mut Dropped,
    ) -> Result<(), Refusal> {
        name_unknown(&tool.unknown, &SILENT, prefix, dropped);
        let schema = tool.parameters.or(tool.input_schema);
        let kind = ToolKind::Function { schema, strict: tool.strict };
        self.push(required_name(tool.name.take(), path)?, tool.description, kind)
    }

    fn custom(&mut self, tool: Declared<'a>, path: &str, prefix: &str, dropped: &mut Dropped) -> Result<(), Refusal> {
        name_unknown(&tool.unknown, &SILENT, prefix, dropped);
        let kind = ToolKind::Custom { grammar: tool.format.and_then(grammar) };
        self.push(required_name(tool.name, path)?, tool.description, kind)
    }

    /// Adds a tool unless its name is taken: both vendors refuse a second one.
    fn push(&mut self, name: Cow<'a, str>, description: Option<Str<'a>>, kind: ToolKind<'a>) -> Result<(), Refusal> {
        if self.list.len() == TOOLS_MAX {
            return Err(Refusal::of("tools", format!("`tools` must not have more than {TOOLS_MAX} members")));
        }
        if self.known.insert(name.clone()) {
            let description = description.map(|Str(text)| text).filter(|text| !text.is_empty());
            self.list.push(Tool { namespace: None, name, description, kind });
        }
        Ok(())
    }

    /// Reads the wish that the answer be searched for on the web.
    fn search(&mut self, raw: &'a RawValue, dropped: &mut Dropped) -> Result<(), Refusal> {
        let options: WebSearchOptions<'a> = parsed(raw, "web_search_options")?;
        name_unknown(&options.unknown, &[], "web_search_options.", dropped);
        if self.known.contains(WEB_SEARCH) {
            // The client's own tool of that name is the one that it knows what to do with.
            dropped.add("web_search_options");
            return Ok(());
        }
        let place = options.user_location.and_then(|location| location.approximate);
        let user_location = place.and_then(approximate).map(Cow::Owned);
        self.push(WEB_SEARCH.into(), None, ToolKind::WebSearch(WebSearch { user_location, ..WebSearch::default() }))
    }

    /// Reads `tool_choice`, or the older `function_call`; may take tools out of the list that are not allowed.
    pub(super) fn choice(
        &mut self,
        request: &Request<'a>,
        dropped: &mut Dropped,
    ) -> Result<Option<ToolChoice<'a>>, Refusal> {
        let (raw, param) = match (request.tool_choice, request.function_call) {
            (Some(raw), _) => (raw, "tool_choice"),
            (None, Some(raw)) => (raw, "function_call"),
            (None, None) => return self.none_left(),
        };
        let unreadable =
            || Refusal::of(param, format!("`{param}` must be auto, none, required or an object that names a tool"));
        let choice: wire::ToolChoice<'a> = if raw.get().starts_with('"') {
            let kind: Str<'a> = parsed(raw, param)?;
            let is_choice = choice_of_word(&kind.0).is_some();
            if !is_choice {
                return Err(unreadable());
            }
            wire::ToolChoice { kind: Some(kind), ..wire::ToolChoice::default() }
        } else {
            parsed(raw, param)?
        };
        if let Some(choice) = word(choice.kind.as_ref()).and_then(choice_of_word) {
            self.none_left()?;
            return Ok((!self.list.is_empty()).then_some(choice));
        }
        if word(choice.kind.as_ref()) == Some("allowed_tools") {
            return self.allowed(choice.allowed_tools.ok_or_else(unreadable)?, dropped).map(Some);
        }
        let name = self.chosen(choice).ok_or_else(|| not_offered(param))?;
        Ok(Some(ToolChoice::Tool { namespace: None, name }))
    }

    /// Refuses a request whose only tools are none that can be carried: what was asked for could not be done.
    fn none_left(&self) -> Result<Option<ToolChoice<'a>>, Refusal> {
        match self.lost.first() {
            Some(kind) if self.list.is_empty() => Err(Refusal::of(
                "tools",
                format!("`tools`: this model has no `{kind}` here, and there is no other tool"),
            )),
            _ => Ok(None),
        }
    }

    /// Keeps only the tools that are named.
    fn allowed(&mut self, choice: wire::AllowedTools<'a>, dropped: &mut Dropped) -> Result<ToolChoice<'a>, Refusal> {
        let mut allowed = HashSet::new();
        for (index, raw) in choice.tools.into_iter().flatten().enumerate() {
            let tool: wire::ToolChoice<'a> = parsed(raw, &format!("tool_choice.allowed_tools.tools[{index}]"))?;
            match self.chosen(tool) {
                Some(name) => {
                    allowed.insert(name);
                }
                None => dropped.add("tool_choice.allowed_tools.tools"),
            }
        }
        self.list.retain(|tool| allowed.contains(&tool.name));
        if self.list.is_empty() {
            return Err(not_offered("tool_choice"));
        }
        Ok(if word(choice.mode.as_ref()) == Some("required") { ToolChoice::Any } else { ToolChoice::Auto })
    }

    /// Finds the tool that is meant; `None` where there is no such one.
    fn chosen(&self, choice: wire::ToolChoice<'a>) -> Option<Cow<'a, str>> {
        let inner = choice.function.or(choice.custom).and_then(|named| named.name);
        let name = match inner.or(choice.name) {
            Some(Str(name)) => name,
            None if word(choice.kind.as_ref())?.starts_with(WEB_SEARCH) => WEB_SEARCH.into(),
            None => return None,
        };
        self.known.get(&*name).cloned()
    }
}

/// Returns the choice that a word stands for. `any` is Anthropic's word.
fn choice_of_word<'a>(word: &str) -> Option<ToolChoice<'a>> {
    Some(match word {
        "auto" => ToolChoice::Auto,
        "none" => ToolChoice::None,
        "required" | "any" => ToolChoice::Any,
        _ => return None,
    })
}

fn not_offered(param: &str) -> Refusal {
    Refusal::of(param, format!("`{param}` names a tool that is not offered, or that this model does not have"))
}

fn required_name<'a>(name: Option<Str<'a>>, path: &str) -> Result<Cow<'a, str>, Refusal> {
    let name = name.map(|Str(name)| name).filter(|name| !name.is_empty());
    name.ok_or_else(|| Refusal::of(format!("{path}.name"), format!("`{path}.name` is required")))
}

fn grammar(format: ToolFormat<'_>) -> Option<(Cow<'_, str>, Cow<'_, str>)> {
    let (syntax, definition) = match format.grammar {
        Some(grammar) => (grammar.syntax?, grammar.definition?),
        // As in Responses.
        None => (format.syntax?, format.definition?),
    };
    Some((syntax.0, definition.0))
}

/// Returns a place as the other APIs have it: its type stands beside what it says, not around it.
fn approximate(place: &RawValue) -> Option<Box<RawValue>> {
    let members = place.get().strip_prefix('{')?.trim_start();
    let gap = if members.starts_with('}') { "" } else { "," };
    RawValue::from_string(format!(r#"{{"type":"approximate"{gap}{members}"#)).ok()
}
