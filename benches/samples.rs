//! Requests that are measured in more than one benchmark.

use duopool::protocol::translate::Translation;

/// About 1 MB of an agent's conversation: prose, calls and their results.
pub(crate) fn conversation(translation: Translation) -> String {
    let prose = "Some lines of code, with \\\"quotes\\\" and\\nline ends.\\n".repeat(60);
    let turns = (0..140).map(|turn| match translation {
        Translation::MessagesToResponses => format!(
            r#"{{"role":"assistant","content":[{{"type":"text","text":"{prose}"}},{{"type":"tool_use","id":"toolu_{turn}","name":"Bash","input":{{"command":"ls"}}}}]}},{{"role":"user","content":[{{"type":"tool_result","tool_use_id":"toolu_{turn}","content":"{prose}"}}]}}"#
        ),
        Translation::ResponsesToMessages => format!(
            r#"{{"type":"message","role":"assistant","content":[{{"type":"output_text","text":"{prose}"}}]}},{{"type":"function_call","call_id":"call_{turn}","name":"Bash","arguments":"{{\"command\":\"ls\"}}"}},{{"type":"function_call_output","call_id":"call_{turn}","output":"{prose}"}}"#
        ),
        Translation::ChatToMessages | Translation::ChatToResponses => format!(
            r#"{{"role":"assistant","content":"{prose}","tool_calls":[{{"id":"call_{turn}","type":"function","function":{{"name":"Bash","arguments":"{{\"command\":\"ls\"}}"}}}}]}},{{"role":"tool","tool_call_id":"call_{turn}","content":"{prose}"}}"#
        ),
    });
    let turns = turns.collect::<Vec<_>>().join(",");
    let list = if matches!(translation, Translation::ResponsesToMessages) { "input" } else { "messages" };
    format!(r#"{{"model":"m","{list}":[{{"role":"user","content":"go"}},{turns}],"stream":true}}"#)
}
