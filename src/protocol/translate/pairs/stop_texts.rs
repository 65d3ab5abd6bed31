//! Stop texts on a model that knows none: the answer is ended on its way to the client.

use super::chat_answers::{choice, from_gpt};
use super::*;

const A_TO_R: Translation = Translation::MessagesToResponses;
const C_TO_R: Translation = Translation::ChatToResponses;

#[test]
fn an_answer_ends_before_the_stop_text_of_a_client_of_messages_and_says_which_it_was() {
    let sent = send(A_TO_R, &messages(&json!({ "stop_sequences": ["END", "STOP"], "top_k": 5, "temperature": 0.2 })));
    assert_eq!(sent.dropped, "temperature,top_k");
    assert!(sent.body.get("stop").is_none() && sent.body.get("temperature").is_none());
    let items = [message("one STOP two END"), function_call("call_1", "run", "{}")];
    let stream = checked(A_TO_R, &wire(&gpt(&items, "completed")), &sent.way_back);
    let streamed = assembled(&stream);
    let whole = A_TO_R.answer(gpt_whole(&items, "completed").to_string().as_bytes(), NOW, &sent.way_back).unwrap();
    let whole: Value = serde_json::from_slice(&whole).unwrap();
    for message in [&streamed, &whole] {
        assert_eq!(message["content"], json!([{ "type": "text", "text": "one " }]));
        assert_eq!(message["stop_reason"], "stop_sequence");
        assert_eq!(message["usage"]["output_tokens"], 30);
    }
    assert_eq!(
        (&stream.of("message_delta")[0]["delta"]["stop_sequence"], &whole["stop_sequence"]),
        (&json!("STOP"), &json!("STOP"))
    );
}

#[test]
fn a_longer_answer_than_a_stop_text_allows_is_announced() {
    let sent = send(A_TO_R, &messages(&json!({ "stop_sequences": vec!["END"; 65] })));
    assert_eq!(sent.dropped, "stop_sequences");
}

#[test]
fn an_answer_ends_before_the_stop_text_of_a_client_of_chat_completions() {
    let sent = send(C_TO_R, &chat(&json!({ "stop": ["END", "\n\n"] })));
    assert_eq!((sent.body.get("stop"), &*sent.dropped), (None, ""));
    let items = [message("one two E ENDING"), function_call("call_1", "run", "{}")];
    let told = choice(from_gpt(&items, "completed", &sent.way_back));
    assert_eq!((&told["message"]["content"], &told["finish_reason"]), (&json!("one two E "), &json!("stop")));
    assert!(told["message"].get("tool_calls").is_none(), "what follows is not told");
    let whole = choice(from_gpt(&[message("EN D")], "completed", &sent.way_back));
    assert_eq!(whole["message"]["content"], "EN D");
    // Usage is what it really cost.
    assert_eq!(from_gpt(&items, "completed", &sent.way_back).1["usage"]["completion_tokens"], 30);
}
