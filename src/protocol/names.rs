//! Names of tools and ids of calls, made to fit the upstream, and found again in its answers.
//!
//! Messages takes 128 characters, `OpenAI` 64; neither knows the namespaces of Codex. Names are shortened and flattened
//! deterministically, so that a prompt cache meets them again, and no two tools of a request ever get one name. The map
//! travels with the translation. Ids need no map: a client only gives them back, and the same id is always fitted the
//! same way.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt::Write as _;

use sha2::{Digest as _, Sha256};

use crate::protocol::canonical::{Block, CallKind, Conversation, Opening, ToolChoice, ToolKind};

/// Hexadecimal digits of a hash that keep two shortened texts apart.
const HASH_CHARS: usize = 12;

/// What stands between a namespace and a name where the upstream has no namespaces.
const NAMESPACE_END: &str = "__";

/// What an upstream's names of tools may be.
#[derive(Clone, Copy, Debug)]
pub struct NameRules {
    /// Longest name, in characters. All vendors take letters, digits, `_` and `-`.
    pub chars_max: usize,
    /// Names that a tool of the client must not have, as they mean a tool of the provider there.
    pub reserved: &'static [&'static str],
    /// Whether the upstream has tools that take any text. If not, they are given to it as functions with one string
    /// member `input`.
    pub has_custom: bool,
}

/// What a client calls a tool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientName {
    /// Its namespace.
    pub namespace: Option<String>,
    /// Its name.
    pub name: String,
    /// What the client's tool takes.
    pub kind: CallKind,
}

/// The names of one request's tools, there and back.
#[derive(Clone, Debug, Default)]
pub struct Names {
    /// From the client's namespace and name, in that order. Only names that differ.
    there: HashMap<(String, String), String>,
    /// From the upstream's name. Only tools whose name or kind differs.
    back: HashMap<String, ClientName>,
    has_custom: bool,
}

impl Names {
    /// Fits the names of all tools of a conversation, those of its past calls included.
    pub fn of(conversation: &Conversation<'_>, rules: &NameRules) -> Self {
        let mut names = Self { has_custom: rules.has_custom, ..Self::default() };
        let mut taken: HashMap<String, (Option<String>, String)> = HashMap::new();
        let tools = conversation.tools.iter().filter_map(|tool| {
            let kind = match tool.kind {
                ToolKind::Function { .. } => CallKind::Function,
                ToolKind::Custom { .. } => CallKind::Custom,
                ToolKind::WebSearch(_) => return None,
            };
            Some((tool.namespace.as_deref(), &*tool.name, kind))
        });
        let calls = conversation.turns.iter().flat_map(|turn| &turn.blocks).filter_map(|block| match block {
            Block::Call(call) => Some((call.namespace.as_deref(), &*call.name, call.kind)),
            _ => None,
        });
        let choice = match &conversation.tool_choice {
            Some(ToolChoice::Tool { namespace, name }) => Some((namespace.as_deref(), &**name, CallKind::Function)),
            Some(ToolChoice::Auto | ToolChoice::Any | ToolChoice::None) | None => None,
        };
        // Names that fit as they are come first: no shortened one may take theirs.
        let all: Vec<_> = tools.chain(calls).collect();
        let hosted = |name: &str| {
            conversation.tools.iter().any(|tool| tool.name == name && matches!(tool.kind, ToolKind::WebSearch(_)))
        };
        let choice = choice.filter(|(_, name, _)| !hosted(name));
        let (fitting, others): (Vec<_>, Vec<_>) =
            all.into_iter().chain(choice).partition(|(namespace, name, _)| namespace.is_none() && rules.take(name));
        for (namespace, name, kind) in fitting.into_iter().chain(others) {
            names.add(namespace, name, kind, rules, &mut taken);
        }
        names
    }

    fn add(
        &mut self,
        namespace: Option<&str>,
        name: &str,
        kind: CallKind,
        rules: &NameRules,
        taken: &mut HashMap<String, (Option<String>, String)>,
    ) {
        let client = (namespace.map(str::to_owned), name.to_owned());
        let flat = match namespace.filter(|namespace| !namespace.is_empty()) {
            Some(namespace) => Cow::Owned(format!("{namespace}{NAMESPACE_END}{name}")),
            None => Cow::Borrowed(name),
        };
        let mut wire = if rules.take(&flat) { flat.to_string() } else { fitted(&flat, &flat, rules.chars_max) };
        // A flattened name may be another tool's own one. The salt ends the loop: every round hashes another text.
        let mut salt = 0_u32;
        while let Some(other) = taken.get(&wire) {
            if *other == client {
                return;
            }
            salt += 1;
            wire = fitted(&flat, &format!("{namespace:?}/{name}/{salt}"), rules.chars_max);
        }
        taken.insert(wire.clone(), client);
        let is_converted = kind == CallKind::Custom && !rules.has_custom;
        if wire != name || namespace.is_some() || is_converted {
            let known = ClientName { namespace: namespace.map(str::to_owned), name: name.to_owned(), kind };
            self.back.insert(wire.clone(), known);
        }
        if wire != name {
            self.there.insert((namespace.unwrap_or_default().to_owned(), name.to_owned()), wire);
        }
    }

    /// Returns the upstream's name of a client's tool.
    pub fn wire<'a>(&'a self, namespace: Option<&str>, name: &'a str) -> &'a str {
        if self.there.is_empty() {
            return name;
        }
        let key = (namespace.unwrap_or_default().to_owned(), name.to_owned());
        self.there.get(&key).map_or(name, String::as_str)
    }

    /// Returns what the client calls a tool of the upstream; `None` where it is the same.
    pub fn client(&self, wire: &str) -> Option<&ClientName> {
        self.back.get(wire)
    }

    /// Returns whether a call of the upstream's tool has its text wrapped in a JSON object.
    pub fn is_wrapped(&self, wire: &str) -> bool {
        !self.has_custom && self.client(wire).is_some_and(|client| client.kind == CallKind::Custom)
    }

    /// Gives the opening of a call the client's name.
    pub fn restore<'a>(&'a self, opening: &mut Opening<'a>) {
        if let Opening::Call { namespace, name, kind, .. } = opening
            && let Some(client) = self.back.get(&**name)
        {
            *namespace = client.namespace.as_deref().map(Cow::Borrowed);
            *name = Cow::Borrowed(&client.name);
            *kind = client.kind;
        }
    }
}

impl NameRules {
    fn take(&self, name: &str) -> bool {
        (1..=self.chars_max).contains(&name.len()) && name.bytes().all(is_legal) && !self.reserved.contains(&name)
    }
}

const fn is_legal(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-'
}

/// Returns an id of a call with at most `chars_max` letters, digits, `_` and `-`: itself where it is one already, else
/// one that no other id gets.
pub fn id(id: &str, chars_max: usize) -> Cow<'_, str> {
    if (1..=chars_max).contains(&id.len()) && id.bytes().all(is_legal) {
        return Cow::Borrowed(id);
    }
    Cow::Owned(fitted(id, id, chars_max))
}

/// Returns as much of `text` as fits before a hash of `hashed`.
fn fitted(text: &str, hashed: &str, chars_max: usize) -> String {
    let room = chars_max.saturating_sub(HASH_CHARS + 1);
    let mut name: String =
        text.chars().map(|char| if char.is_ascii() && is_legal(char as u8) { char } else { '_' }).take(room).collect();
    name.push('_');
    for byte in Sha256::digest(hashed.as_bytes()).iter().take(HASH_CHARS / 2) {
        // Writing to a String cannot fail.
        let _ = write!(name, "{byte:02x}");
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::canonical::Tool;

    const RULES: NameRules = NameRules { chars_max: 64, reserved: &["web_search"], has_custom: false };

    fn tool<'a>(namespace: Option<&'a str>, name: &'a str, is_custom: bool) -> Tool<'a> {
        let function = ToolKind::Function { schema: None, strict: None };
        let kind = if is_custom { ToolKind::Custom { grammar: None } } else { function };
        Tool { namespace: namespace.map(Cow::Borrowed), name: name.into(), description: None, kind }
    }

    fn names(tools: Vec<Tool<'_>>) -> Names {
        Names::of(&Conversation { tools, ..Conversation::default() }, &RULES)
    }

    /// Fits all names, and finds each again.
    fn there_and_back(tools: &[(Option<&str>, &str)]) -> Vec<String> {
        let names = names(tools.iter().map(|(namespace, name)| tool(*namespace, name, false)).collect());
        let wires: Vec<String> =
            tools.iter().map(|(namespace, name)| names.wire(*namespace, name).to_owned()).collect();
        for ((namespace, name), wire) in tools.iter().zip(&wires) {
            assert!(RULES.take(wire), "{wire}");
            let client = names.client(wire).map(|client| (client.namespace.as_deref(), &*client.name));
            assert_eq!(client.unwrap_or((None, wire)), (*namespace, *name));
        }
        let distinct: std::collections::HashSet<&String> = wires.iter().collect();
        assert_eq!(distinct.len(), wires.len(), "{wires:?}");
        wires
    }

    #[test]
    fn a_name_that_fits_stays() {
        assert_eq!(there_and_back(&[(None, "Bash"), (None, "mcp__a__b-c")]), ["Bash", "mcp__a__b-c"]);
    }

    #[test]
    fn long_names_that_begin_alike_do_not_collide() {
        let (one, two) = (format!("mcp__{}_1", "x".repeat(70)), format!("mcp__{}_2", "x".repeat(70)));
        there_and_back(&[(None, &one), (None, &two)]);
    }

    #[test]
    fn a_namespace_is_flattened_even_where_another_tool_has_that_name() {
        let wires = there_and_back(&[
            (Some("functions"), "exec"),
            (Some("collaboration"), "wait"),
            (Some("functions"), "wait"),
            (None, "functions__wait"),
            (None, "wait"),
        ]);
        assert_eq!(wires[..2], ["functions__exec", "collaboration__wait"]);
        assert_eq!(wires[3..], ["functions__wait", "wait"]);
    }

    #[test]
    fn a_plain_tool_with_a_reserved_name_is_renamed() {
        assert!(there_and_back(&[(None, "web_search")])[0].starts_with("web_search_"));
    }

    #[test]
    fn names_are_fitted_the_same_way_in_every_request() {
        let fitted = || there_and_back(&[(None, "a b"), (None, "a:b"), (Some("a"), "b.c")]);
        assert_eq!(fitted(), fitted());
    }

    #[test]
    fn an_opening_gets_the_clients_name_back() {
        let names = names(vec![tool(Some("functions"), "exec", true), tool(None, "Bash", false)]);
        let opening = |name: &'static str| Opening::Call {
            id: "c".into(),
            namespace: None,
            name: name.into(),
            kind: CallKind::Function,
        };
        let (mut exec, mut bash) = (opening("functions__exec"), opening("Bash"));
        names.restore(&mut exec);
        names.restore(&mut bash);
        let restored = Opening::Call {
            id: "c".into(),
            namespace: Some("functions".into()),
            name: "exec".into(),
            kind: CallKind::Custom,
        };
        assert_eq!((exec, bash), (restored, opening("Bash")));
        assert!(names.is_wrapped("functions__exec") && !names.is_wrapped("Bash"));
    }

    #[test]
    fn tools_of_the_past_are_known_by_their_calls() {
        let conversation: Conversation<'_> = Conversation {
            turns: vec![crate::protocol::canonical::Turn {
                role: crate::protocol::canonical::Role::Assistant,
                blocks: vec![Block::Call(crate::protocol::canonical::Call {
                    id: "c".into(),
                    namespace: None,
                    name: "gone tool".into(),
                    kind: CallKind::Function,
                    arguments: "{}".into(),
                })],
            }],
            ..Conversation::default()
        };
        let names = Names::of(&conversation, &RULES);
        assert!(RULES.take(names.wire(None, "gone tool")));
    }

    #[test]
    fn ids_of_calls_are_fitted_without_collisions() {
        let long = |last: char| format!("{}{last}", "x".repeat(64));
        let ids = ["call:1.a", "call:1_a", "call_1_a", "", &long('a'), &long('b'), "caf\u{e9}"];
        let fitted: std::collections::HashSet<Cow<'_, str>> = ids.iter().map(|given| id(given, 64)).collect();
        assert_eq!(fitted.len(), ids.len());
        assert!(fitted.iter().all(|id| (1..=64).contains(&id.len()) && id.bytes().all(is_legal)));
        assert_eq!(id("toolu_01AB-c", 64), "toolu_01AB-c");
    }
}
