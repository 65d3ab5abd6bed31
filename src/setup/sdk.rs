//! The vendors' SDKs and Vercel's: variables that they read, and programs to start from.

use super::Snippet;
use super::pool::Pool;
use super::probe::{self, Credential, Probe};

pub(super) const NO_FILE: &str = "an SDK has no settings file: `duopool setup sdk` prints variables and code to paste";

pub(super) fn environment(pool: &Pool) -> Vec<(String, String)> {
    let key = pool.shell_key();
    [
        ("ANTHROPIC_BASE_URL", pool.url.clone()),
        ("ANTHROPIC_API_KEY", key.clone()),
        ("OPENAI_BASE_URL", pool.v1()),
        ("OPENAI_API_KEY", key),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into()
}

pub(super) fn snippets(pool: &Pool) -> Vec<Snippet> {
    let claude = pool.claude().unwrap_or("claude-sonnet-5");
    let gpt = pool.gpt().unwrap_or("gpt-5.5");
    let filled = |text: &str| text.replace("{claude}", claude).replace("{gpt}", gpt).replace("{v1}", &pool.v1());
    let snippet = |title: &str, text: &str| Snippet { title: title.to_owned(), text: filled(text) };
    vec![
        snippet("Python, anthropic", PYTHON_ANTHROPIC),
        snippet("Python, openai", PYTHON_OPENAI),
        snippet("Node, @anthropic-ai/sdk", NODE_ANTHROPIC),
        snippet("Node, openai", NODE_OPENAI),
        snippet("Vercel ai, @ai-sdk/anthropic and @ai-sdk/openai", VERCEL),
    ]
}

const PYTHON_ANTHROPIC: &str = r#"from anthropic import Anthropic

client = Anthropic()
message = client.messages.create(
    model="{claude}", max_tokens=1024, messages=[{"role": "user", "content": "Hello!"}]
)
print(message.content)
"#;

const PYTHON_OPENAI: &str = r#"from openai import OpenAI

client = OpenAI()
print(client.responses.create(model="{gpt}", input="Hello!").output_text)
"#;

const NODE_ANTHROPIC: &str = r#"import Anthropic from "@anthropic-ai/sdk";

const client = new Anthropic();
const message = await client.messages.create({
  model: "{claude}",
  max_tokens: 1024,
  messages: [{ role: "user", content: "Hello!" }],
});
console.log(message.content);
"#;

const NODE_OPENAI: &str = r#"import OpenAI from "openai";

const client = new OpenAI();
const response = await client.responses.create({ model: "{gpt}", input: "Hello!" });
console.log(response.output_text);
"#;

const VERCEL: &str = r#"import { createAnthropic } from "@ai-sdk/anthropic";
import { createOpenAI } from "@ai-sdk/openai";
import { generateText } from "ai";

const anthropic = createAnthropic({ baseURL: "{v1}", apiKey: process.env.ANTHROPIC_API_KEY });
const openai = createOpenAI({ baseURL: "{v1}", apiKey: process.env.OPENAI_API_KEY });
for (const model of [anthropic("{claude}"), openai("{gpt}")]) {
  console.log((await generateText({ model, prompt: "Hello!" })).text);
}
"#;

pub(super) fn probes(pool: &Pool) -> Vec<Probe> {
    let claude = pool.claude().map(|model| probe::messages(model, false, Credential::Bearer));
    let gpt = pool.gpt().map(|model| probe::responses(model, false));
    let chat = pool.main_with_sampling().map(|model| probe::chat(model, false));
    claude.into_iter().chain(gpt).chain(chat).collect()
}

#[cfg(test)]
mod tests {
    use super::super::pool::{Key, sample};
    use super::*;

    #[test]
    fn code_names_this_pools_models_and_no_key() {
        let pool = sample(Key::Environment("K".to_owned()));
        for snippet in snippets(&pool) {
            let unfilled = ["{claude}", "{gpt}", "{v1}"].iter().any(|name| snippet.text.contains(name));
            assert!(
                !unfilled && (snippet.text.contains("claude-sonnet-5") || snippet.text.contains("gpt-5.5")),
                "{}",
                snippet.text
            );
        }
        assert!(environment(&pool).contains(&("OPENAI_API_KEY".to_owned(), "\"$K\"".to_owned())));
    }
}
