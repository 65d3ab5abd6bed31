//! What a client would ask the pool, and what the answer shows.
//!
//! As small as a request can be that a client might send: its dialect, its way to give the key, streamed, with a tool
//! where it is one that works with tools. It costs a few tokens. It does not pretend to be the client.

use serde::Serialize;
use serde_json::{Value, json};

use crate::domain::model::Dialect;
use crate::protocol::sse::{Decoder, SseError};

/// What is asked; models answer it in a word.
const QUESTION: &str = "Reply with the word ok.";
/// Enough for a model to think and to say one word, in tokens.
const OUTPUT_TOKENS: u32 = 1_024;
/// What is told of a text that somebody else wrote, in characters.
const SAID_CHARS_MAX: usize = 400;

/// How a client gives its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Credential {
    /// `Authorization: Bearer`.
    Bearer,
    /// `x-api-key`.
    ApiKey,
}

/// One request.
#[derive(Clone, Debug)]
pub(crate) struct Probe {
    /// What it is, for people.
    pub(crate) what: String,
    /// Path and query.
    pub(crate) path: &'static str,
    /// Headers beside the key and the content type.
    pub(crate) headers: Vec<(&'static str, &'static str)>,
    /// How the key is given.
    pub(crate) credential: Credential,
    /// The body.
    pub(crate) body: Value,
    dialect: Dialect,
}

/// What came of it.
#[derive(Clone, Debug)]
pub(crate) enum Outcome {
    /// No answer; why, in words.
    Unreachable(String),
    /// An answer, which broke off if `broken` says how.
    Answered(Answer),
}

/// An answer.
#[derive(Clone, Debug, Default)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) content_type: String,
    pub(crate) retry_after: Option<String>,
    pub(crate) body: Vec<u8>,
    pub(crate) broken: Option<String>,
}

/// What an answer shows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Finding {
    /// What was asked.
    pub(crate) check: String,
    /// Whether the client will get what it needs.
    pub(crate) ok: bool,
    /// What was found.
    pub(crate) message: String,
    /// What mends it; empty if nothing needs mending.
    pub(crate) fix: String,
}

fn what(dialect: &str, model: &str, has_tool: bool) -> String {
    format!("{model} by {dialect}, streamed{}", if has_tool { ", with a tool" } else { "" })
}

fn schema() -> Value {
    json!({ "type": "object", "properties": { "command": { "type": "string" } }, "required": ["command"] })
}

const TOOL: &str = "run_command";
const TOOL_IS_FOR: &str = "Runs a command in a shell.";

/// Asks as clients of Anthropic's API do.
pub(super) fn messages(model: &str, has_tool: bool, credential: Credential) -> Probe {
    let mut body = json!({
        "model": model,
        "max_tokens": OUTPUT_TOKENS,
        "stream": true,
        "messages": [{ "role": "user", "content": [{ "type": "text", "text": QUESTION }] }],
    });
    if has_tool {
        body["tools"] = json!([{ "name": TOOL, "description": TOOL_IS_FOR, "input_schema": schema() }]);
    }
    Probe {
        what: what("Messages", model, has_tool),
        path: "/v1/messages?beta=true",
        headers: vec![("anthropic-version", "2023-06-01"), ("accept", "application/json")],
        credential,
        body,
        dialect: Dialect::Messages,
    }
}

/// Asks as clients of OpenAI's newer API do.
pub(super) fn responses(model: &str, has_tool: bool) -> Probe {
    let message = |role: &str, text: &str| json!({ "type": "message", "role": role, "content": [{ "type": "input_text", "text": text }] });
    let mut body = json!({
        "model": model,
        "stream": true,
        "store": false,
        "include": ["reasoning.encrypted_content"],
        "input": [message("developer", "Be brief."), message("user", QUESTION)],
    });
    if has_tool {
        let tool = json!({ "type": "function", "name": TOOL, "description": TOOL_IS_FOR, "strict": false, "parameters": schema() });
        body["tools"] = json!([tool]);
        body["tool_choice"] = json!("auto");
    }
    Probe {
        what: what("Responses", model, has_tool),
        path: "/v1/responses",
        headers: vec![("accept", "text/event-stream")],
        credential: Credential::Bearer,
        body,
        dialect: Dialect::Responses,
    }
}

/// Asks as clients of OpenAI's older API do.
pub(super) fn chat(model: &str, has_tool: bool) -> Probe {
    let mut body = json!({ "model": model, "stream": true, "messages": [{ "role": "user", "content": QUESTION }] });
    if has_tool {
        let function = json!({ "name": TOOL, "description": TOOL_IS_FOR, "parameters": schema() });
        body["tools"] = json!([{ "type": "function", "function": function }]);
    }
    Probe {
        what: what("Chat Completions", model, has_tool),
        path: "/v1/chat/completions",
        headers: vec![("accept", "text/event-stream")],
        credential: Credential::Bearer,
        body,
        dialect: Dialect::ChatCompletions,
    }
}

/// Says what came of `probe` at the pool `url`; `key_name` is the variable that the key was taken from, and `has_key`
/// whether there was one.
pub(crate) fn judge(probe: &Probe, outcome: &Outcome, url: &str, key_name: &str, has_key: bool) -> Finding {
    let (ok, message, fix) = match outcome {
        Outcome::Unreachable(why) => {
            let fix = format!("start the server (`duopool serve`), or name its address with --url; asked was {url}");
            (false, format!("nobody answers: {why}"), fix)
        }
        Outcome::Answered(answer) if answer.status == 200 => streamed(probe, answer),
        Outcome::Answered(answer) => refused(answer, url, key_name, has_key),
    };
    Finding { check: probe.what.clone(), ok, message, fix }
}

fn refused(answer: &Answer, url: &str, key_name: &str, has_key: bool) -> (bool, String, String) {
    let status = answer.status;
    let said = message_of(&answer.body);
    let told = said.clone().map_or_else(|| format!("status {status}"), |said| format!("{said} (status {status})"));
    let later = answer.retry_after.as_ref().map(|time| format!(", in {time} s at the earliest")).unwrap_or_default();
    let fix = match status {
        _ if said.is_none() => format!("what answers at {url} may not be duopool: look at the address"),
        401 if has_key => format!("the key in {key_name} is not one of this pool's client keys"),
        401 => format!("set {key_name} to a client key of this pool, or name another variable with --key-env"),
        402 => format!("`duopool accounts list` says which accounts are out of credit; try again{later}"),
        403 => "do what the message says, on the server".to_owned(),
        404 => "`duopool models` lists the models there are; choose one with --model".to_owned(),
        429 | 503 => format!(
            "`duopool accounts list` and `duopool status` say what keeps accounts from serving; try again{later}"
        ),
        400..=499 => "choose another model with --model; `duopool models` lists those there are".to_owned(),
        _ => "`duopool explain` says what happened to the last requests".to_owned(),
    };
    (false, told, fix)
}

/// Returns the message of an error in any of the dialects.
fn message_of(body: &[u8]) -> Option<String> {
    let body: Value = serde_json::from_slice(body).ok()?;
    let message = body.pointer("/error/message").or_else(|| body.get("message"))?.as_str()?;
    Some(message.chars().filter(|char| !char.is_control()).take(SAID_CHARS_MAX).collect())
}

fn streamed(probe: &Probe, answer: &Answer) -> (bool, String, String) {
    let between = "something between here and duopool changes answers; a reverse proxy must not buffer or rewrite them";
    if !answer.content_type.starts_with("text/event-stream") {
        let kind =
            if answer.content_type.is_empty() { "nothing that says what it is" } else { answer.content_type.as_str() };
        return (false, format!("the answer is no stream but {kind}"), between.to_owned());
    }
    let stream = Stream::read(probe.dialect, &answer.body);
    let model = stream.model.unwrap_or_default();
    match (stream.error, stream.is_whole, &answer.broken) {
        (Some(error), ..) => (
            false,
            format!("the stream ends with an error: {error}"),
            "`duopool explain` says what happened".to_owned(),
        ),
        (None, true, _) if model.is_empty() => (true, "a whole stream came back".to_owned(), String::new()),
        (None, true, _) => (true, format!("{model} answered in a whole stream"), String::new()),
        (None, false, why) => {
            let why = why.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
            (false, format!("the stream broke off{why}"), between.to_owned())
        }
    }
}

/// What a stream came to.
#[derive(Default)]
struct Stream {
    is_whole: bool,
    error: Option<String>,
    model: Option<String>,
}

impl Stream {
    fn read(dialect: Dialect, bytes: &[u8]) -> Self {
        let (mut stream, mut decoder) = (Self::default(), Decoder::default());
        let mut take = |event: crate::protocol::sse::Event<'_>| -> Result<(), SseError> {
            stream.take(dialect, event.data);
            Ok(())
        };
        let read = decoder.feed(bytes, &mut take).and_then(|()| decoder.finish(&mut take));
        if let Err(error) = read {
            stream.error = Some(error.to_string());
        }
        stream
    }

    fn take(&mut self, dialect: Dialect, data: &[u8]) {
        if dialect == Dialect::ChatCompletions && data == b"[DONE]" {
            self.is_whole = true;
            return;
        }
        let Ok(event) = serde_json::from_slice::<Value>(data) else { return };
        let kind = event.get("type").and_then(Value::as_str).unwrap_or_default();
        let is_end = match dialect {
            Dialect::Messages => kind == "message_stop",
            // A model that thinks for long may come to the limit of its answer; the client sees that as its end.
            Dialect::Responses => matches!(kind, "response.completed" | "response.incomplete"),
            Dialect::ChatCompletions => false,
        };
        self.is_whole |= is_end;
        let model =
            ["/message/model", "/response/model", "/model"].iter().find_map(|path| event.pointer(path)?.as_str());
        self.model = self.model.take().or_else(|| model.map(str::to_owned));
        let is_error =
            kind == "error" || kind == "response.failed" || event.get("error").is_some_and(|error| !error.is_null());
        if is_error && self.error.is_none() {
            let inner = event.pointer("/response/error/message").and_then(Value::as_str).map(str::to_owned);
            self.error = inner.or_else(|| message_of(data)).or_else(|| Some("it does not say which".to_owned()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finding(probe: &Probe, answer: Answer) -> Finding {
        judge(probe, &Outcome::Answered(answer), "http://x", "DUOPOOL_KEY", false)
    }

    fn stream(body: &str) -> Answer {
        Answer {
            status: 200,
            content_type: "text/event-stream; charset=utf-8".to_owned(),
            body: body.into(),
            ..Answer::default()
        }
    }

    fn error(status: u16, message: &str) -> Answer {
        let body = json!({ "type": "error", "error": { "type": "x", "message": message } }).to_string().into_bytes();
        Answer { status, content_type: "application/json".to_owned(), body, ..Answer::default() }
    }

    #[test]
    fn a_whole_stream_is_what_a_client_needs() {
        let whole = [
            (
                messages("m", true, Credential::Bearer),
                "data: {\"type\":\"message_start\",\"message\":{\"model\":\"claude\"}}\n\ndata: {\"type\":\"message_stop\"}\n\n",
            ),
            (responses("m", true), "data: {\"type\":\"response.completed\",\"response\":{\"model\":\"claude\"}}\n\n"),
            (chat("m", true), "data: {\"model\":\"claude\",\"choices\":[]}\n\ndata: [DONE]\n\n"),
        ];
        for (probe, body) in &whole {
            let found = finding(probe, stream(body));
            assert!(found.ok && found.message.contains("claude answered") && found.fix.is_empty(), "{found:?}");
            let cut = finding(probe, stream("data: {\"type\":\"ping\"}\n\n"));
            assert!(!cut.ok && cut.message.contains("broke off"), "{cut:?}");
            let whole_json = Answer { content_type: "application/json".to_owned(), ..stream("{}") };
            assert!(finding(probe, whole_json).message.contains("no stream but application/json"));
        }
    }

    #[test]
    fn an_error_inside_a_stream_is_told() {
        for (probe, body) in [
            (
                messages("m", false, Credential::Bearer),
                "event: error\ndata: {\"type\":\"error\",\"error\":{\"message\":\"it broke\"}}\n\n",
            ),
            (
                responses("m", false),
                "data: {\"type\":\"response.failed\",\"response\":{\"error\":{\"message\":\"it broke\"}}}\n\n",
            ),
            (chat("m", false), "data: {\"error\":{\"message\":\"it broke\"}}\n\ndata: [DONE]\n\n"),
        ] {
            let found = finding(&probe, stream(body));
            assert!(!found.ok && found.message.contains("it broke"), "{found:?}");
        }
    }

    #[test]
    fn every_refusal_comes_with_what_mends_it() {
        let probe = messages("m", false, Credential::Bearer);
        for (status, fix) in [
            (400, "--model"),
            (401, "set DUOPOOL_KEY"),
            (402, "out of credit"),
            (403, "on the server"),
            (404, "duopool models"),
            (429, "in 30 s"),
            (500, "duopool explain"),
            (503, "in 30 s"),
        ] {
            let found = finding(&probe, Answer { retry_after: Some("30".to_owned()), ..error(status, "why") });
            assert!(!found.ok && found.message.contains("why") && found.fix.contains(fix), "{status}: {found:?}");
        }
        let wrong = judge(&probe, &Outcome::Answered(error(401, "no")), "http://x", "MY_KEY", true);
        assert!(wrong.fix.contains("the key in MY_KEY is not one"), "{wrong:?}");
        let nobody = judge(&probe, &Outcome::Unreachable("refused".to_owned()), "http://x", "K", false);
        assert!(nobody.message.contains("refused") && nobody.fix.contains("duopool serve"), "{nobody:?}");
        let page =
            Answer { status: 404, content_type: "text/html".to_owned(), body: b"<html>".to_vec(), ..Answer::default() };
        assert!(finding(&probe, page).fix.contains("may not be duopool"));
    }
}
