//! What a client asks.

use std::borrow::Cow;

use serde_json::value::RawValue;

pub use crate::domain::model::Effort;
use crate::domain::model::Thinking;

/// What a client asks, in the order it was said.
#[derive(Clone, Debug, Default)]
pub struct Conversation<'a> {
    /// The turns; system turns may stand anywhere.
    pub turns: Vec<Turn<'a>>,
    /// The tools that the model may call.
    pub tools: Vec<Tool<'a>>,
    /// Whether it may, must or must not call them; `None` leaves it to the model.
    pub tool_choice: Option<ToolChoice<'a>>,
    /// Whether several calls may come in one turn.
    pub parallel_calls: Option<bool>,
    /// The form of the answer, where it is not free text.
    pub format: Option<Format<'a>>,
    /// How the answer is to be made.
    pub settings: Settings<'a>,
    /// Whether the answer is to come bit by bit.
    pub stream: bool,
    /// Length of the body that it was read from, in bytes: about what it takes to write it. Zero where there was none.
    pub body_bytes: usize,
}

/// One message.
///
/// Results of calls stand in a user's turn, calls and reasoning in the model's. A decoder keeps the client's order;
/// `repair` brings calls and results together.
#[derive(Clone, Debug, PartialEq)]
pub struct Turn<'a> {
    /// Who speaks.
    pub role: Role,
    /// What is said, in order; may be empty.
    pub blocks: Vec<Block<'a>>,
}

/// Who speaks in a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The operator: `system` and `developer` alike.
    System,
    /// The user.
    User,
    /// The model.
    Assistant,
}

/// A piece of a turn, or of an answer.
#[derive(Clone, Debug, PartialEq)]
pub enum Block<'a> {
    /// Text; may be empty.
    Text(Cow<'a, str>),
    /// Text of the model that says why there is no answer; a text like any other to who has no place of its own for it.
    Refusal(Cow<'a, str>),
    /// An image.
    Image(Image<'a>),
    /// A document, such as a PDF.
    Document(Document<'a>),
    /// What the model thought.
    Reasoning(Reasoning<'a>),
    /// The model calls a tool.
    Call(Call<'a>),
    /// What a call brought.
    Result(CallResult<'a>),
}

impl Block<'_> {
    /// Returns whether there is nothing in it but white space.
    pub fn is_blank(&self) -> bool {
        match self {
            Self::Text(text) | Self::Refusal(text) => text.trim().is_empty(),
            Self::Image(_) | Self::Document(_) | Self::Reasoning(_) | Self::Call(_) | Self::Result(_) => false,
        }
    }
}

/// Where an image is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Image<'a> {
    /// In the request itself.
    Inline {
        /// As in `image/png`; the true one, not what a wrong label says.
        media_type: &'static str,
        /// Standard base64.
        base64: Cow<'a, str>,
    },
    /// At an http or https address, which the provider fetches.
    Url(Cow<'a, str>),
}

/// A document. One that is plain text anyway is a [`Block::Text`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document<'a> {
    /// Where it is.
    pub source: DocumentSource<'a>,
    /// Its title or file name.
    pub title: Option<Cow<'a, str>>,
}

/// Where a document is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DocumentSource<'a> {
    /// In the request itself.
    Inline {
        /// As in `application/pdf`.
        media_type: Cow<'a, str>,
        /// Standard base64.
        base64: Cow<'a, str>,
    },
    /// At an http or https address, which the provider fetches.
    Url(Cow<'a, str>),
}

/// What a model thought, as far as it lets see, and what it needs to go on from there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reasoning<'a> {
    /// What it lets see; may be empty. Several parts are joined by an empty line.
    pub text: Cow<'a, str>,
    /// By which the provider knows it again; without one it cannot be sent back.
    pub proof: Option<Proof<'a>>,
}

/// By what a provider knows its own reasoning again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Proof<'a> {
    /// As a client keeps it: the only form in which client dialects write it, and they read anything as it, whether it
    /// is ours or not. `reasoning` opens it.
    Sealed(Cow<'a, str>),
    /// Messages: `thinking.signature`, over exactly the text beside it.
    Signature(Cow<'a, str>),
    /// Messages: `redacted_thinking.data`; there is no text beside it.
    Redacted(Cow<'a, str>),
    /// Responses: a `reasoning` item.
    Encrypted {
        /// The item's id.
        id: Cow<'a, str>,
        /// Its `encrypted_content`.
        content: Cow<'a, str>,
        /// The parts of its summary; joined, they are the text beside it.
        summary: Vec<Cow<'a, str>>,
    },
}

/// The model calls a tool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call<'a> {
    /// By which its result refers to it. Encoders make it fit.
    pub id: Cow<'a, str>,
    /// The namespace of the tool, where it has one.
    pub namespace: Option<Cow<'a, str>>,
    /// The tool's name as the client knows it.
    pub name: Cow<'a, str>,
    /// What the arguments are.
    pub kind: CallKind,
    /// The arguments as text. Of a function it should be a JSON object, but nobody has looked: models and clients cut it
    /// off, or leave it empty.
    pub arguments: Cow<'a, str>,
}

/// What the arguments of a call are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CallKind {
    /// A JSON object.
    #[default]
    Function,
    /// Any text.
    Custom,
}

/// What a call brought.
#[derive(Clone, Debug, PartialEq)]
pub struct CallResult<'a> {
    /// The id of the call.
    pub call: Cow<'a, str>,
    /// Texts, images and documents; may be empty.
    pub content: Vec<Block<'a>>,
    /// Whether the call failed. Dialects without that flag say so in the text.
    pub is_error: bool,
}

/// A tool that the model may call.
#[derive(Clone, Debug)]
pub struct Tool<'a> {
    /// The namespace that it is in, where the client's dialect has them.
    pub namespace: Option<Cow<'a, str>>,
    /// Its name as the client knows it, unique in its namespace.
    pub name: Cow<'a, str>,
    /// What it is for.
    pub description: Option<Cow<'a, str>>,
    /// What it takes.
    pub kind: ToolKind<'a>,
}

/// What a tool takes, or does.
#[derive(Clone, Debug)]
pub enum ToolKind<'a> {
    /// A JSON object. The client runs it.
    Function {
        /// The JSON schema of the object.
        schema: Option<&'a RawValue>,
        /// Whether the model must keep to the schema exactly; `None` where the client does not say.
        strict: Option<bool>,
    },
    /// Any text. The client runs it.
    Custom {
        /// The grammar that the text must follow: its syntax (`lark`, `regex`) and its definition.
        grammar: Option<(Cow<'a, str>, Cow<'a, str>)>,
    },
    /// The provider searches the web while it answers.
    WebSearch(WebSearch<'a>),
}

/// How the provider may search the web.
#[derive(Clone, Debug, Default)]
pub struct WebSearch<'a> {
    /// Only these domains; empty means all.
    pub allowed_domains: Vec<Cow<'a, str>>,
    /// Not these.
    pub blocked_domains: Vec<Cow<'a, str>>,
    /// Most searches in one answer.
    pub uses_max: Option<u64>,
    /// Where the user is: an object of the members `type`, `city`, `region`, `country`, `timezone` in both APIs.
    pub user_location: Option<Cow<'a, RawValue>>,
}

/// Whether a model may, must or must not call tools.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ToolChoice<'a> {
    /// It may.
    Auto,
    /// It must call one.
    Any,
    /// It must not.
    None,
    /// It must call this one.
    Tool {
        /// The tool's namespace.
        namespace: Option<Cow<'a, str>>,
        /// Its name as the client knows it; also of a tool that the provider runs.
        name: Cow<'a, str>,
    },
}

/// The form of an answer.
#[derive(Clone, Debug)]
pub enum Format<'a> {
    /// JSON that follows a schema.
    Schema {
        /// What the schema is called.
        name: Option<Cow<'a, str>>,
        /// The JSON schema.
        schema: &'a RawValue,
        /// Whether it must be followed exactly; `None` where the client does not say.
        strict: Option<bool>,
    },
    /// Any JSON object.
    JsonObject,
}

/// How an answer is to be made. What is `None` the client left to the model.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Settings<'a> {
    /// Most tokens of the answer, thinking included; at least 1.
    pub output_tokens_max: Option<u64>,
    /// Temperature, 0 to 2.
    pub temperature: Option<f64>,
    /// Nucleus sampling, 0 to 1.
    pub top_p: Option<f64>,
    /// Sampling from the most likely tokens only.
    pub top_k: Option<u64>,
    /// Texts before which the answer ends.
    pub stop: Vec<Cow<'a, str>>,
    /// How hard to think.
    pub effort: Option<Effort>,
    /// Whether the client wants to see what the model thinks.
    pub show_reasoning: Option<bool>,
    /// How long the answer should be: `low`, `medium` or `high`.
    pub verbosity: Option<Cow<'a, str>>,
    /// Who asks, as the client calls them.
    pub user: Option<Cow<'a, str>>,
    /// What requests of one conversation have in common, for the provider's prompt cache.
    pub cache_key: Option<Cow<'a, str>>,
}

/// A wish that an encoder could not honour; the client's dialect has its own name for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unmet {
    /// [`Settings::temperature`].
    Temperature,
    /// [`Settings::top_p`].
    TopP,
    /// [`Settings::top_k`].
    TopK,
    /// Some of [`Settings::stop`].
    Stop,
    /// [`Settings::effort`].
    Effort,
    /// [`Conversation::tool_choice`].
    ToolChoice,
    /// [`Conversation::format`] is only asked for in words.
    Format,
    /// [`ToolKind::WebSearch`], or a part of it.
    WebSearch,
    /// The grammar of a [`ToolKind::Custom`] is only described to the model.
    Grammar,
    /// The schema of a [`ToolKind::Function`] is followed, but nothing enforces it.
    Strict,
}

/// What an encoder must know of the model.
#[derive(Clone, Copy, Debug)]
pub struct Target<'a> {
    /// The name that the gateway knows it by.
    pub model: &'a str,
    /// Most tokens it can put out, where known.
    pub output_tokens_max: Option<u64>,
    /// How it is asked to think; `None` where it cannot.
    pub thinking: Option<Thinking>,
    /// The words that it has for effort, where it is asked by them; empty where they are not known.
    pub efforts: &'a [String],
    /// Whether it takes temperature and `top_p`; the newest Claude models answer 400.
    pub accepts_sampling: bool,
    /// How hard it is to think, whatever the request says: the client asked so by the model's name.
    pub effort: Option<Effort>,
}
