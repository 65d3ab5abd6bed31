//! What the answer to a request must know of it.

use serde_json::value::RawValue;

use super::decode::Tools;
use super::wire::Request;
use crate::protocol::json::{self, Str};

/// Longest member that is told back in every response object, in bytes. `OpenAI` has no such limit, but three copies of
/// forty kilobytes of tools are of no use to anybody.
const ECHO_BYTES_MAX: usize = 16 * 1024;

/// The members of a request that its answer repeats, and the tools whose calls have item types of their own.
#[derive(Clone, Debug, Default)]
pub struct Asked {
    /// Members of a JSON object, each behind a comma.
    pub(super) members: Vec<u8>,
    pub(super) built_in: Vec<&'static str>,
    is_stored: bool,
}

impl Asked {
    /// Returns whether the client may refer to the answer later: it has not said `store: false`.
    pub const fn is_stored(&self) -> bool {
        self.is_stored
    }

    pub(super) fn of(request: &Request<'_>, tools: &Tools<'_>) -> Self {
        let is_stored = request.store != Some(false);
        let mut asked = Self { members: Vec::with_capacity(512), built_in: tools.built_in.clone(), is_stored };
        asked.raw("instructions", request.instructions, "null");
        asked.number("max_output_tokens", request.max_output_tokens);
        asked.number("max_tool_calls", request.max_tool_calls);
        asked.raw("metadata", request.metadata, "{}");
        asked.value("parallel_tool_calls", &request.parallel_tool_calls.unwrap_or(true));
        asked.text("previous_response_id", request.previous_response_id.as_ref());
        asked.text("prompt_cache_key", request.prompt_cache_key.as_ref());
        asked.raw("reasoning", request.reasoning, r#"{"effort":null,"summary":null}"#);
        asked.text("safety_identifier", request.safety_identifier.as_ref());
        asked.raw_text("service_tier", "\"default\"");
        asked.value("store", &is_stored);
        asked.value("temperature", &request.temperature.unwrap_or(1.0));
        asked.raw("text", request.text, r#"{"format":{"type":"text"}}"#);
        asked.raw("tool_choice", request.tool_choice, "\"auto\"");
        asked.tools(request.tools.as_deref());
        asked.value("top_logprobs", &0);
        asked.value("top_p", &request.top_p.unwrap_or(1.0));
        asked.raw_text("truncation", "\"disabled\"");
        asked.text("user", request.user.as_ref());
        asked.raw_text("background", "false");
        asked
    }

    fn key(&mut self, name: &str) {
        self.members.extend_from_slice(b",\"");
        self.members.extend_from_slice(name.as_bytes());
        self.members.extend_from_slice(b"\":");
    }

    fn raw_text(&mut self, name: &str, json: &str) {
        self.key(name);
        self.members.extend_from_slice(json.as_bytes());
    }

    fn raw(&mut self, name: &str, value: Option<&RawValue>, default: &str) {
        let value = value.map(RawValue::get).filter(|json| json.len() <= ECHO_BYTES_MAX);
        self.key(name);
        json::minify(value.unwrap_or(default), &mut self.members);
    }

    fn value(&mut self, name: &str, value: &impl serde::Serialize) {
        self.key(name);
        json::write(&mut self.members, value);
    }

    fn number(&mut self, name: &str, value: Option<u64>) {
        self.value(name, &value);
    }

    fn text(&mut self, name: &str, value: Option<&Str<'_>>) {
        self.value(name, &value.map(|Str(text)| &**text).filter(|text| text.len() <= ECHO_BYTES_MAX));
    }

    fn tools(&mut self, tools: Option<&[&RawValue]>) {
        self.key("tools");
        self.members.push(b'[');
        let tools = tools.unwrap_or_default();
        let is_short = tools.iter().map(|tool| tool.get().len()).sum::<usize>() <= ECHO_BYTES_MAX;
        for (at, tool) in tools.iter().enumerate().take_while(|_| is_short) {
            if at > 0 {
                self.members.push(b',');
            }
            json::minify(tool.get(), &mut self.members);
        }
        self.members.push(b']');
    }
}
