//! One item of the output, from its first event to its last.

use crate::protocol::canonical::{CallKind, Fragment, Opening};
use crate::protocol::json;
use crate::protocol::openai_responses::decode::{LOCAL_SHELL, PATCH, SHELL, TOOL_SEARCH};

/// Where an item stands in its stream.
pub(super) struct Place<'a> {
    pub(super) index: usize,
    pub(super) sequence: &'a mut u64,
    /// What all ids of the answer end with.
    pub(super) tail: &'a str,
}

/// An item in the making.
#[derive(Debug)]
pub(super) struct Item {
    /// The block that it is written from; `None` once it is done.
    pub(super) block: Option<u32>,
    /// What makes reasoning one that can be sent back.
    pub(super) seal: Option<Vec<u8>>,
    kind: Kind,
    state: State,
    /// Members of the item that stand from its beginning on, as JSON behind commas: what is called.
    fixed: Vec<u8>,
    /// What was said in the part that is open, as the inside of a JSON string.
    said: Vec<u8>,
    /// Of an event with a delta, what stands between its number and the delta.
    middle: Vec<u8>,
    /// Parts that are complete, as JSON with commas between; of a done item all of it.
    json: Vec<u8>,
    parts: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Message,
    Reasoning,
    Function,
    Custom,
    /// A call whose arguments are an object of the item, without events of its own.
    BuiltIn(&'static str),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Its block is open.
    Open,
    /// Its block is closed; the item is finished when the next one begins or the answer ends, since only then it is known
    /// whether it was cut off, and whether more text follows in the same message.
    Ready,
    Done,
}

impl Kind {
    const fn prefix(self) -> &'static str {
        match self {
            Self::Message => "msg_",
            Self::Reasoning => "rs_",
            Self::Function => "fc_",
            Self::Custom => "ctc_",
            Self::BuiltIn(_) => "call_",
        }
    }

    /// Returns the name of the event of a delta.
    const fn delta(self) -> &'static str {
        match self {
            Self::Message => "response.output_text.delta",
            Self::Reasoning => "response.reasoning_summary_text.delta",
            Self::Function | Self::BuiltIn(_) => "response.function_call_arguments.delta",
            Self::Custom => "response.custom_tool_call_input.delta",
        }
    }
}

impl Item {
    pub(super) fn new(block: u32, opening: &Opening<'_>, built_in: Option<&'static str>) -> Self {
        let mut fixed = Vec::new();
        let kind = match opening {
            // No upstream of this pair has a part for it.
            Opening::Text | Opening::Refusal => Kind::Message,
            Opening::Reasoning => Kind::Reasoning,
            Opening::Call { id, namespace, name, kind } => {
                member("call_id", id, &mut fixed);
                if built_in.is_none() {
                    member("name", name, &mut fixed);
                    if let Some(namespace) = namespace {
                        member("namespace", namespace, &mut fixed);
                    }
                }
                match (built_in, kind) {
                    (Some(name), _) => Kind::BuiltIn(name),
                    (None, CallKind::Function) => Kind::Function,
                    (None, CallKind::Custom) => Kind::Custom,
                }
            }
        };
        Self {
            block: Some(block),
            seal: None,
            kind,
            state: State::Open,
            fixed,
            said: Vec::new(),
            middle: Vec::new(),
            json: Vec::new(),
            parts: 0,
        }
    }

    pub(super) fn is_ready(&self) -> bool {
        self.state == State::Ready
    }

    /// Returns whether another part may follow in the same item.
    pub(super) fn can_go_on(&self) -> bool {
        self.is_ready() && self.kind == Kind::Message
    }

    /// Returns the item as JSON; only of a done one.
    pub(super) fn json(&self) -> &[u8] {
        if self.state == State::Done { &self.json } else { b"null" }
    }

    /// Appends the events of the item's beginning.
    pub(super) fn opened(&mut self, place: &mut Place<'_>, out: &mut Vec<u8>) {
        if let Kind::BuiltIn(_) = self.kind {
            // Its arguments are an object, so there is nothing to show before they are whole.
            return;
        }
        begin("response.output_item.added", place.sequence, out);
        index_and_item(place, out);
        self.write_json(place, "in_progress", out);
        out.extend_from_slice(b"}\n\n");
        match self.kind {
            Kind::Message => self.part_opened(place, out),
            Kind::Function | Kind::Custom => self.set_middle(place, None),
            Kind::Reasoning | Kind::BuiltIn(_) => {}
        }
    }

    /// Begins another part of a message.
    pub(super) fn next_part(&mut self, block: u32, place: &mut Place<'_>, out: &mut Vec<u8>) {
        self.block = Some(block);
        self.state = State::Open;
        self.part_opened(place, out);
    }

    fn part_opened(&mut self, place: &mut Place<'_>, out: &mut Vec<u8>) {
        let (name, index) = match self.kind {
            Kind::Reasoning => ("response.reasoning_summary_part.added", "summary_index"),
            _ => ("response.content_part.added", "content_index"),
        };
        self.set_middle(place, Some(index));
        self.said.clear();
        begin(name, place.sequence, out);
        out.extend_from_slice(&self.middle);
        out.extend_from_slice(b",\"part\":");
        self.write_part(out);
        out.extend_from_slice(b"}\n\n");
    }

    fn set_middle(&mut self, place: &Place<'_>, part: Option<&str>) {
        let middle = &mut self.middle;
        middle.clear();
        middle.extend_from_slice(b",\"item_id\":\"");
        id(self.kind, place, middle);
        middle.extend_from_slice(b"\",\"output_index\":");
        number(place.index as u64, middle);
        if let Some(name) = part {
            middle.extend_from_slice(b",\"");
            middle.extend_from_slice(name.as_bytes());
            middle.extend_from_slice(b"\":");
            number(self.parts as u64, middle);
        }
    }

    /// Appends the event of more text.
    pub(super) fn more(&mut self, text: &Fragment<'_>, place: &mut Place<'_>, out: &mut Vec<u8>) {
        if let Kind::BuiltIn(_) = self.kind {
            let mut json = Vec::new();
            text.write_json(&mut json);
            self.said.extend_from_slice(&json[1..json.len() - 1]);
            return;
        }
        if self.kind == Kind::Reasoning && self.middle.is_empty() {
            self.part_opened(place, out);
        }
        begin(self.kind.delta(), place.sequence, out);
        out.extend_from_slice(&self.middle);
        out.extend_from_slice(b",\"delta\":");
        let at = out.len();
        text.write_json(out);
        self.said.extend_from_slice(&out[at + 1..out.len() - 1]);
        out.extend_from_slice(if self.kind == Kind::Message { b",\"logprobs\":[]}\n\n" } else { b"}\n\n" });
    }

    /// Takes notice that the block is closed; a part of a message or a summary is finished at once.
    pub(super) fn closed(&mut self, place: &mut Place<'_>, out: &mut Vec<u8>) {
        self.state = State::Ready;
        self.block = None;
        let has_part = match self.kind {
            Kind::Message => true,
            Kind::Reasoning => !self.middle.is_empty(),
            Kind::Function | Kind::Custom | Kind::BuiltIn(_) => false,
        };
        if !has_part {
            return;
        }
        let (text, part) = match self.kind {
            Kind::Reasoning => ("response.reasoning_summary_text.done", "response.reasoning_summary_part.done"),
            _ => ("response.output_text.done", "response.content_part.done"),
        };
        begin(text, place.sequence, out);
        out.extend_from_slice(&self.middle);
        out.extend_from_slice(b",\"text\":\"");
        out.extend_from_slice(&self.said);
        out.extend_from_slice(if self.kind == Kind::Message { b"\",\"logprobs\":[]}\n\n" } else { b"\"}\n\n" });
        begin(part, place.sequence, out);
        out.extend_from_slice(&self.middle);
        out.extend_from_slice(b",\"part\":");
        self.write_part(out);
        out.extend_from_slice(b"}\n\n");
        if self.parts > 0 {
            self.json.push(b',');
        }
        let mut json = std::mem::take(&mut self.json);
        self.write_part(&mut json);
        self.json = json;
        self.parts += 1;
        self.said.clear();
    }

    /// Finishes the item; `is_cut` if the answer ended inside it.
    pub(super) fn done(&mut self, is_cut: bool, place: &mut Place<'_>, out: &mut Vec<u8>) {
        let name = match self.kind {
            Kind::Function => {
                if self.said.is_empty() && !is_cut {
                    self.more(&Fragment::Plain("{}"), place, out);
                }
                Some(("response.function_call_arguments.done", "arguments"))
            }
            Kind::Custom => Some(("response.custom_tool_call_input.done", "input")),
            Kind::BuiltIn(_) => {
                self.settle_built_in(place, out);
                None
            }
            Kind::Message | Kind::Reasoning => None,
        };
        if let Some((name, member)) = name {
            begin(name, place.sequence, out);
            out.extend_from_slice(&self.middle);
            out.extend_from_slice(b",\"");
            out.extend_from_slice(member.as_bytes());
            out.extend_from_slice(b"\":\"");
            out.extend_from_slice(&self.said);
            out.extend_from_slice(b"\"}\n\n");
        }
        let mut json = Vec::with_capacity(self.json.len() + self.said.len() + 256);
        self.write_json(place, if is_cut { "incomplete" } else { "completed" }, &mut json);
        begin("response.output_item.done", place.sequence, out);
        index_and_item(place, out);
        out.extend_from_slice(&json);
        out.extend_from_slice(b"}\n\n");
        self.json = json;
        self.state = State::Done;
        (self.said, self.middle, self.fixed) = (Vec::new(), Vec::new(), Vec::new());
    }

    /// Looks at the arguments of a built-in call, now that they are whole: an object becomes a member of the item, and
    /// anything else is told as the call of a function of that name, which takes any text.
    fn settle_built_in(&mut self, place: &mut Place<'_>, out: &mut Vec<u8>) {
        let Kind::BuiltIn(name) = self.kind else { return };
        let quoted = [b"\"", self.said.as_slice(), b"\""].concat();
        let text = serde_json::from_slice::<json::Str<'_>>(&quoted).map(|text| text.0).unwrap_or_default();
        let is_object =
            text.trim_start().starts_with('{') && serde_json::from_str::<serde::de::IgnoredAny>(&text).is_ok();
        if is_object {
            let mut object = Vec::with_capacity(text.len());
            json::minify(&text, &mut object);
            if name == LOCAL_SHELL && json::top_level(&object, b"type").is_none() {
                let rest = object.split_off(1);
                object.extend_from_slice(b"\"type\":\"exec\"");
                if rest != b"}" {
                    object.push(b',');
                }
                object.extend_from_slice(&rest);
            }
            self.said = object;
        } else {
            member("name", name, &mut self.fixed);
            self.kind = Kind::Function;
            let said = std::mem::take(&mut self.said);
            self.opened(place, out);
            if !said.is_empty() {
                self.more(&Fragment::Plain(&text), place, out);
            }
            return;
        }
        begin("response.output_item.added", place.sequence, out);
        index_and_item(place, out);
        self.write_json(place, "in_progress", out);
        out.extend_from_slice(b"}\n\n");
    }

    /// Appends the part that is open, with what it said so far.
    fn write_part(&self, out: &mut Vec<u8>) {
        let kind: &[u8] = if self.kind == Kind::Reasoning { b"summary_text" } else { b"output_text" };
        out.extend_from_slice(b"{\"type\":\"");
        out.extend_from_slice(kind);
        out.extend_from_slice(b"\",\"text\":\"");
        out.extend_from_slice(&self.said);
        out.push(b'"');
        if self.kind == Kind::Message {
            out.extend_from_slice(b",\"annotations\":[],\"logprobs\":[]");
        }
        out.push(b'}');
    }

    /// Appends the item as it is.
    fn write_json(&self, place: &Place<'_>, status: &str, out: &mut Vec<u8>) {
        out.extend_from_slice(b"{\"id\":\"");
        id(self.kind, place, out);
        let is_open = status == "in_progress";
        let (kind, payload) = match self.kind {
            Kind::Message => ("message", None),
            Kind::Reasoning => ("reasoning", None),
            Kind::Function => ("function_call", Some("arguments")),
            Kind::Custom => ("custom_tool_call", Some("input")),
            Kind::BuiltIn(LOCAL_SHELL) => ("local_shell_call", Some("action")),
            Kind::BuiltIn(SHELL) => ("shell_call", Some("action")),
            Kind::BuiltIn(PATCH) => ("apply_patch_call", Some("operation")),
            Kind::BuiltIn(TOOL_SEARCH) => ("tool_search_call", Some("arguments")),
            Kind::BuiltIn(other) => (other, Some("arguments")),
        };
        out.extend_from_slice(b"\",\"type\":\"");
        out.extend_from_slice(kind.as_bytes());
        out.push(b'"');
        if self.kind != Kind::Reasoning {
            out.extend_from_slice(b",\"status\":\"");
            out.extend_from_slice(status.as_bytes());
            out.push(b'"');
        }
        out.extend_from_slice(&self.fixed);
        match self.kind {
            Kind::Message => {
                out.extend_from_slice(b",\"role\":\"assistant\",\"content\":[");
                out.extend_from_slice(&self.json);
                out.push(b']');
            }
            Kind::Reasoning => {
                out.extend_from_slice(b",\"summary\":[");
                out.extend_from_slice(&self.json);
                out.push(b']');
                if let Some(seal) = &self.seal {
                    // Base64 needs no escape.
                    out.extend_from_slice(b",\"encrypted_content\":\"");
                    out.extend_from_slice(seal);
                    out.push(b'"');
                }
            }
            Kind::BuiltIn(TOOL_SEARCH) => out.extend_from_slice(b",\"execution\":\"client\""),
            Kind::Function | Kind::Custom | Kind::BuiltIn(_) => {}
        }
        if let Some(payload) = payload {
            out.extend_from_slice(b",\"");
            out.extend_from_slice(payload.as_bytes());
            out.extend_from_slice(b"\":");
            let quote: &[u8] = if matches!(self.kind, Kind::BuiltIn(_)) { b"" } else { b"\"" };
            out.extend_from_slice(quote);
            if !is_open || matches!(self.kind, Kind::BuiltIn(_)) {
                out.extend_from_slice(&self.said);
            }
            out.extend_from_slice(quote);
        }
        out.push(b'}');
    }
}

fn index_and_item(place: &Place<'_>, out: &mut Vec<u8>) {
    out.extend_from_slice(b",\"output_index\":");
    number(place.index as u64, out);
    out.extend_from_slice(b",\"item\":");
}

fn id(kind: Kind, place: &Place<'_>, out: &mut Vec<u8>) {
    let prefix = match kind {
        Kind::BuiltIn(LOCAL_SHELL) => "lsh_",
        Kind::BuiltIn(SHELL) => "sh_",
        Kind::BuiltIn(PATCH) => "apc_",
        Kind::BuiltIn(TOOL_SEARCH) => "tsc_",
        kind => kind.prefix(),
    };
    out.extend_from_slice(prefix.as_bytes());
    out.extend_from_slice(place.tail.as_bytes());
    out.push(b'_');
    number(place.index as u64, out);
}

fn member(name: &str, value: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(b",\"");
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\":");
    json::write(out, value);
}

/// Begins an event, up to and with its number.
pub(super) fn begin(name: &str, sequence: &mut u64, out: &mut Vec<u8>) {
    for text in ["event: ", name, "\ndata: {\"type\":\"", name, "\",\"sequence_number\":"] {
        out.extend_from_slice(text.as_bytes());
    }
    number(*sequence, out);
    *sequence += 1;
}

/// Appends a number in decimal digits.
pub(super) fn number(value: u64, out: &mut Vec<u8>) {
    let mut digits = [0; 20];
    let mut at = digits.len();
    let mut rest = value;
    loop {
        at -= 1;
        digits[at] = b'0' + u8::try_from(rest % 10).unwrap_or(0);
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}
