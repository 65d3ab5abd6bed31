//! What a model said, read from an answer of any dialect in either form.

use serde_json::Value;

use super::Answer;

/// Reads what a model said, in a stream or not.
pub type Read = fn(&Answer, bool) -> Said;

/// What a model said, whatever the dialect and the form.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Said {
    pub thinking: String,
    pub text: String,
    /// Names and arguments.
    pub calls: Vec<(String, String)>,
    pub stop: String,
    pub input_tokens: u64,
    pub output_tokens: u64,
}

/// Returns a text, or an empty one where there is none.
pub fn string(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// Reads an answer in Messages.
pub fn said_in_messages(answer: &Answer, streamed: bool) -> Said {
    let mut said = Said::default();
    if !streamed {
        let body = answer.json();
        for block in body["content"].as_array().expect("content") {
            said.thinking += &string(&block["thinking"]);
            said.text += &string(&block["text"]);
            if block["type"] == "tool_use" {
                said.calls.push((string(&block["name"]), block["input"].to_string()));
            }
        }
        said.stop = string(&body["stop_reason"]);
        said.input_tokens = body["usage"]["input_tokens"].as_u64().expect("a count");
        said.output_tokens = body["usage"]["output_tokens"].as_u64().expect("a count");
        return said;
    }
    for event in answer.events() {
        let data: Value = serde_json::from_str(&event.data).expect("JSON");
        match event.name.as_deref().expect("a name") {
            "message_start" => said.input_tokens = data["message"]["usage"]["input_tokens"].as_u64().expect("a count"),
            "content_block_start" if data["content_block"]["type"] == "tool_use" => {
                said.calls.push((string(&data["content_block"]["name"]), String::new()));
            }
            "content_block_delta" => {
                said.thinking += &string(&data["delta"]["thinking"]);
                said.text += &string(&data["delta"]["text"]);
                if let Some((_, arguments)) = said.calls.last_mut() {
                    *arguments += &string(&data["delta"]["partial_json"]);
                }
            }
            "message_delta" => {
                said.stop = string(&data["delta"]["stop_reason"]);
                said.output_tokens = data["usage"]["output_tokens"].as_u64().expect("a count");
            }
            _ => {}
        }
    }
    normalised(said)
}

/// Reads an answer in Chat Completions.
pub fn said_in_chat(answer: &Answer, streamed: bool) -> Said {
    let mut said = Said::default();
    let events = if streamed { answer.events() } else { Vec::new() };
    let mut pieces: Vec<Value> = events.iter().filter_map(|event| serde_json::from_str(&event.data).ok()).collect();
    if !streamed {
        pieces.push(answer.json());
    }
    for piece in pieces {
        let choice = &piece["choices"][0];
        let message = if streamed { &choice["delta"] } else { &choice["message"] };
        said.thinking += &string(&message["reasoning_content"]);
        said.text += &string(&message["content"]);
        for call in message["tool_calls"].as_array().into_iter().flatten() {
            if call["id"].is_string() {
                said.calls.push((string(&call["function"]["name"]), String::new()));
            }
            let (_, arguments) = said.calls.last_mut().expect("a call that began");
            *arguments += &string(&call["function"]["arguments"]);
        }
        if let Some(reason) = choice["finish_reason"].as_str() {
            reason.clone_into(&mut said.stop);
        }
        if piece["usage"].is_object() {
            said.input_tokens = piece["usage"]["prompt_tokens"].as_u64().expect("a count");
            said.output_tokens = piece["usage"]["completion_tokens"].as_u64().expect("a count");
        }
    }
    normalised(said)
}

/// Reads an answer in Responses.
pub fn said_in_responses(answer: &Answer, streamed: bool) -> Said {
    let response = if streamed {
        let last = answer.events().pop().expect("events");
        serde_json::from_str::<Value>(&last.data).expect("JSON")["response"].clone()
    } else {
        answer.json()
    };
    let mut said = Said::default();
    for item in response["output"].as_array().expect("output") {
        for part in item["summary"].as_array().into_iter().flatten() {
            said.thinking += &string(&part["text"]);
        }
        for part in item["content"].as_array().into_iter().flatten() {
            said.text += &string(&part["text"]);
        }
        if item["type"] == "function_call" {
            said.calls.push((string(&item["name"]), string(&item["arguments"])));
        }
    }
    if streamed {
        let deltas =
            answer.events().into_iter().filter(|event| event.name.as_deref() == Some("response.output_text.delta"));
        let text: String =
            deltas.map(|event| string(&serde_json::from_str::<Value>(&event.data).expect("JSON")["delta"])).collect();
        assert_eq!(text, said.text, "what came in pieces is what came at the end");
    }
    said.stop = string(&response["status"]);
    said.input_tokens = response["usage"]["input_tokens"].as_u64().expect("a count");
    said.output_tokens = response["usage"]["output_tokens"].as_u64().expect("a count");
    normalised(said)
}

/// Arguments as JSON without white space, however they were cut.
fn normalised(mut said: Said) -> Said {
    for (_, arguments) in &mut said.calls {
        *arguments = serde_json::from_str::<Value>(arguments).expect("arguments are JSON").to_string();
    }
    said
}
